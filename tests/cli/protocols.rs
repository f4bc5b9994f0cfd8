//! The helper protocols: the binary's answer to each request, for known and for unknown hosts.

use crate::world::{World, transcript};

#[test]
fn kubernetes_answers_in_the_version_of_the_request() {
    let world = World::new();
    let info = |version: &str| {
        format!(
            r#"{{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/{version}","spec":{{"interactive":false}}}}"#
        )
    };
    let unasked = world.call("kubernetes").run();
    let empty = world.call("exec-credential").env("KUBERNETES_EXEC_INFO", "").run();
    let beta = world.call("kubernetes").env("KUBERNETES_EXEC_INFO", info("v1beta1")).run();
    for done in [&unasked, &empty, &beta] {
        done.quiet();
    }
    let alpha = world.call("kubernetes").env("KUBERNETES_EXEC_INFO", info("v1alpha1")).run();
    let broken = world.call("kubernetes").env("KUBERNETES_EXEC_INFO", "{").run();
    for done in [&alpha, &broken] {
        done.failure(1);
    }
    assert_eq!(world.astra.exchanges(), 1);
    transcript!(unasked, empty, beta, alpha, broken);
}

#[test]
fn kubernetes_gives_a_token_to_a_known_cluster() {
    let world = World::new();
    let port = world.astra.port();
    let asks = |call: &str, version: &str, server: &str| {
        let info = format!(
            r#"{{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/{version}","spec":{{"cluster":{{"server":"{server}"}}}}}}"#
        );
        world.call(call).env("KUBERNETES_EXEC_INFO", info).run()
    };
    let ours = asks("kubernetes", "v1", &format!("https://localhost:{port}/k8s"));
    let named = "kubernetes --host evil.example:6443";
    let added = asks(named, "v1", "https://evil.example:6443");
    let stated = world.call("kubernetes --api-version v1beta1").run();
    let same = asks("kubernetes --api-version=v1beta1", "v1beta1", &world.astra.url());
    for done in [&ours, &added, &stated, &same] {
        done.quiet();
    }
    let other_host = asks("kubernetes", "v1", "https://evil.example:6443");
    let insecure = asks("kubernetes", "v1", &format!("http://localhost:{port}"));
    let other = asks("kubernetes --api-version v1beta1", "v1", &world.astra.url());
    for done in [&other_host, &insecure, &other] {
        done.failure(1);
    }
    let unknown = world.call("kubernetes --api-version v2").run();
    unknown.failure(2);
    assert_eq!(world.astra.exchanges(), 1);
    transcript!(ours, added, stated, same, other_host, insecure, other);
}

#[test]
fn kubernetes_does_not_read_standard_input() {
    let world = World::new();
    let call = world.call("kubernetes");
    let mut child = call.command().stdin(std::process::Stdio::piped()).spawn().unwrap();
    let stdin = child.stdin.take();
    let (code, stdout, _) = crate::world::finish(child);
    assert_eq!((code, stdout.contains("ExecCredential")), (0, true));
    drop(stdin);
}

#[test]
fn git_gets_the_form_that_it_knows() {
    let world = World::new();
    let request = world.git_request();
    let newer = world.call("git get").input(format!("capability[]=authtype\n{request}")).run();
    let basic = format!("capability[]=authtype\nwwwauth[]=Basic realm=\"x\"\n{request}");
    let basic = world.call("git get").input(basic).run();
    let older =
        world.call_as(world.link("git-credential-astra"), "get").input(request.clone()).run();
    let capability = world.call("git capability").run();
    let store = world.call("git store").input(request.clone()).run();
    let unknown = world.call("git approve").input(request).run();
    for done in [&newer, &basic, &older, &capability, &store, &unknown] {
        done.quiet();
    }
    transcript!(newer, basic, older, capability, store, unknown);
}

#[test]
fn git_gets_nothing_for_an_unknown_host() {
    let world = World::new();
    let other_host = world.call("git get").input("protocol=https\nhost=evil.example\n\n").run();
    assert_eq!(other_host.quiet(), "");
    assert_eq!(world.astra.connections(), 0);
}

#[test]
fn git_gets_the_token_for_a_host_in_a_flag_or_in_the_variable() {
    let world = World::new();
    let added = world
        .call("git get --host evil.example")
        .input("protocol=https\nhost=evil.example\n\n")
        .run();
    assert!(added.quiet().contains("password="));
    let listed = world.call("git get").env("ASTRA_CREDENTIAL_HOSTS", "a.example, evil.example");
    assert!(listed.input("url=https://EVIL.example/x.git\n").run().quiet().contains("password="));
    assert_eq!(world.astra.exchanges(), 1);
}

/// git asks its helpers for the password of a client certificate, too.
#[test]
fn git_gets_nothing_for_a_client_certificate() {
    let world = World::new();
    let cert = "protocol=cert\nhost=\npath=/home/me/client.pem\nusername=\n";
    for verb in ["get", "store", "erase"] {
        let done = world.call(&format!("git {verb}")).input(cert).run();
        assert_eq!(done.quiet(), "");
    }
    assert_eq!(world.astra.connections(), 0);
}

#[test]
fn git_gets_quit_after_a_failure_for_a_known_host_only() {
    let world = World::new();
    world.write_account("{}");
    let ours = world.call("git get").input(world.git_request()).run();
    assert_eq!((ours.code(), ours.stdout().as_str()), (3, "quit=1\n"), "{ours}");
    let other_host = world.call("git get").input("protocol=https\nhost=evil.example\n\n").run();
    assert_eq!(other_host.quiet(), "");
    // A setting that cannot be used is an error for every host. For an unknown host git may ask other helpers.
    let set = |line: &str, host: &str| {
        let call = world.call(line).env("ASTRA_API_URL", "http://api.example");
        call.input(format!("protocol=https\nhost={host}\n\n")).run()
    };
    assert_eq!(set("git get", "evil.example").failure(2).lines().count(), 2);
    let added = set("git get --host evil.example", "evil.example");
    assert_eq!((added.code(), added.stdout().as_str()), (2, "quit=1\n"), "{added}");
    let malformed = world.call("git get").input("protocol=https\n").run();
    malformed.failure(1);
    let setting = world.call("git get --timeout soon").input(world.git_request()).run();
    setting.failure(2);
    transcript!(ours, malformed, @"
    $ astra-credential git get
    < protocol=https
    < host=localhost:<port>
    <
    > quit=1
    ! astra-credential: the account file `~/.config/astra-credential/service-account.json` has no `clientId`
    ! hint: copy the service account (`clientId`, `clientName`, `clientSecret`) or the application token (`AstraCS:...`) from Astra's dashboard anew
    [exit status: 3]

    $ astra-credential git get
    < protocol=https
    ! astra-credential: git: `host` is missing
    ! hint: let the tool call this program itself; `astra-credential git --help` shows how
    [exit status: 1]
    ");
}

#[test]
fn git_erase_drops_the_token_that_it_names_and_no_other() {
    let world = World::new();
    let token = world.token();
    let host = world.host();
    erase(&world, &host, "password=another");
    erase(&world, &host, "authtype=Bearer\ncredential=another");
    assert_eq!(world.token(), token);
    erase(&world, &host, &format!("authtype=Bearer\ncredential={token}"));
    let next = world.token();
    assert_ne!(next, token);
    // A late `erase` of an old token must not delete the new one.
    erase(&world, &host, &format!("password={token}"));
    assert_eq!(world.token(), next);
    assert_eq!(world.astra.exchanges(), 2);
}

/// `git erase` for that host, with a credential.
fn erase(world: &World, host: &str, credential: &str) {
    let request = format!("protocol=https\nhost={host}\n{credential}\n");
    assert_eq!(world.call("git erase").input(request).run().quiet(), "");
}

#[test]
fn git_erase_without_a_credential_drops_the_token() {
    let world = World::new();
    let token = world.token();
    erase(&world, &world.host(), "");
    assert_ne!(world.token(), token);
}

#[test]
fn git_erase_for_an_unknown_host_drops_no_token() {
    let world = World::new();
    let token = world.token();
    erase(&world, "evil.example", &format!("password={token}"));
    assert_eq!(world.token(), token);
}

#[test]
fn a_host_that_refuses_every_token_costs_two_exchanges_in_each_protocol() {
    let authtype = "capability[]=authtype\nwwwauth[]=Basic";
    for (protocol, erase, more) in [
        ("git", "erase", ""),
        ("git", "erase", authtype),
        ("docker", "erase", ""),
        ("terraform", "forget", ""),
    ] {
        let world = World::new();
        let host = world.host();
        let call = |verb: &str, credential: &str| match protocol {
            "git" => world
                .call(&format!("git {verb}"))
                .input(format!("{more}\nprotocol=https\nhost={host}\n{credential}").trim_start())
                .run(),
            "docker" => world.call(&format!("docker {verb}")).input(host.clone()).run(),
            _ => world.call(&format!("terraform {verb} {host}")).run(),
        };
        let mut refused = 0;
        for _ in 0..5 {
            let got = call("get", "");
            if got.code() == 0 {
                // git sends back what it got.
                call(erase, &got.stdout().replace("capability[]=authtype\n", "")).quiet();
            } else {
                refused += 1;
                assert!((got.stdout() + &got.stderr()).contains("refuses the tokens"), "{got}");
            }
        }
        assert_eq!((refused, world.astra.exchanges()), (3, 2), "{protocol} {more}");
    }
}

#[test]
fn bazel_gets_headers_and_an_expiry_in_whole_seconds() {
    let world = World::new();
    let request = |uri: &str| format!(r#"{{"uri":"{uri}"}}"#);
    let ours =
        world.call("bazel get").input(request(&format!("{}/x?y=z", world.astra.url()))).run();
    ours.quiet();
    let other_host =
        world.call("bazel get").input(request("https://evil.example/?localhost")).run();
    let port = world.call("bazel get").input(request("https://localhost:1/")).run();
    let form = format!("https://localhost.:{}/", world.astra.port());
    let form = world.call("bazel get").input(request(&form)).run();
    let verb = world.call("bazel store").input(request(&world.astra.url())).run();
    let malformed = world.call("bazel get").input("{}").run();
    for done in [&other_host, &port, &form, &verb, &malformed] {
        done.failure(1);
    }
    transcript!(ours, other_host, port, form, verb, malformed);
}

#[test]
fn the_expiry_in_an_answer_is_the_time_of_renewal() {
    let world = World::new();
    let now = || std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let born = now();
    let reply = world.call("git get").input(world.git_request()).run().quiet();
    let expiry: u64 = reply
        .lines()
        .find_map(|line| line.strip_prefix("password_expiry_utc="))
        .unwrap()
        .parse()
        .unwrap();
    let leeway = born + 36_000 - expiry;
    assert!((149..=301).contains(&leeway), "{leeway}");
    // Later callers get the same time, and a caller with `--min-valid` an earlier one.
    assert_eq!(world.call("git get").input(world.git_request()).run().quiet(), reply);
    let wanted = world.call("git get --min-valid 1h").input(world.git_request()).run().quiet();
    let expiry: u64 = wanted
        .lines()
        .find_map(|line| line.strip_prefix("password_expiry_utc="))
        .unwrap()
        .parse()
        .unwrap();
    assert!((0..=2).contains(&expiry.abs_diff(born + 36_000 - 3600)), "{expiry}");
    assert_eq!(world.astra.exchanges(), 1);
}

#[test]
fn docker_reads_errors_on_standard_output() {
    let world = World::new();
    let ours = world.host();
    let get = world
        .call_as(world.link("docker-credential-astra"), "get")
        .input(format!("{ours}\n"))
        .run();
    let url = world.call("docker get").input(format!("https://{ours}/v1/")).run();
    let store =
        world.call("docker store").input(r#"{"ServerURL":"x","Username":"u","Secret":"s"}"#).run();
    let list = world.call("docker list --host registry.example.com").run();
    let version = world.call("docker version").run();
    for done in [&get, &url, &store, &list, &version] {
        done.quiet();
    }
    let other_host = world.call("docker get").input("evil.example").run();
    assert_eq!(other_host.stdout(), "credentials not found in native keychain\n");
    let empty = world.call("docker get").run();
    assert_eq!(empty.stdout(), "no credentials server URL\n");
    let verb = world.call("docker put").run();
    let setting = world.call("docker get --timeout soon").input(ours.clone()).run();
    let before = world.astra.exchanges();
    let erase = world.call("docker erase").input(ours.clone()).run();
    erase.quiet();
    world.token();
    assert_eq!(world.astra.exchanges(), before + 1);
    world.write_account("{}");
    let failed = world.call("docker get").input(ours).run();
    for done in [&other_host, &empty] {
        assert_eq!((done.code(), done.stderr().as_str()), (1, ""), "{done}");
    }
    // Some commands of docker do not show the helper's standard output, but all show its standard error.
    for done in [&verb, &setting, &failed] {
        assert_eq!(done.code(), 1);
        assert_eq!(done.stderr(), format!("astra-credential: {}", done.stdout()));
    }
    transcript!(get, url, store, list, version, other_host, empty, verb, setting, failed);
}

#[test]
fn docker_gets_a_message_for_an_unknown_host_that_its_configuration_names() {
    let world = World::new();
    std::fs::create_dir(world.path(".docker")).unwrap();
    let get = |server: &str| world.call("docker get").input(server).run();
    let configure = |json: &str| world.write(".docker/config.json", json);
    // Docker runs the helper in `credsStore` for every server.
    configure(r#"{"credsStore":"astra"}"#);
    let usual = get("https://index.docker.io/v1/");
    assert_eq!(usual.stderr(), "");
    assert_eq!(world.call("status").run().stdout().matches("no account is configured").count(), 0);
    configure(r#"{"credHelpers":{"registry.example.com":"astra","other.example.com":"x"}}"#);
    let other = get("other.example.com");
    assert_eq!(other.stderr(), "");
    let named = get("registry.example.com");
    for done in [&usual, &other, &named] {
        let sentence = "credentials not found in native keychain\n";
        assert_eq!((done.code(), done.stdout().as_str()), (1, sentence));
    }
    assert_eq!(named.stderr().lines().count(), 1);
    let status = world.call("status").run().stdout();
    assert_eq!(status.matches("no account is configured").count(), 1, "{status}");
    let elsewhere = world.write("config.json", r#"{"credHelpers":{"other.example.com":"astra"}}"#);
    let moved = world.call("docker get").env("DOCKER_CONFIG", elsewhere.parent().unwrap());
    assert_ne!(moved.input("other.example.com").run().stderr(), "");
    transcript!(usual, other, named, @"
    $ astra-credential docker get
    < https://index.docker.io/v1/
    > credentials not found in native keychain
    [exit status: 1]

    $ astra-credential docker get
    < other.example.com
    > credentials not found in native keychain
    [exit status: 1]

    $ astra-credential docker get
    < registry.example.com
    > credentials not found in native keychain
    ! astra-credential: docker: the configuration names this helper for `registry.example.com`, and no account is configured for that host; hint: if it takes tokens of Astra, run `astra-credential setup docker --host registry.example.com`, or name it in `ASTRA_CREDENTIAL_HOSTS`
    [exit status: 1]
    ");
}

#[test]
fn terraform_gets_an_empty_object_for_an_unknown_host_and_cannot_store() {
    let world = World::new();
    let ours = world.host();
    let get =
        world.call_as(world.link("terraform-credentials-astra"), &format!("get {ours}")).run();
    let other_host = world.call("terraform get evil.example").run();
    assert_eq!(other_host.quiet(), "{}\n");
    let store = world.call(&format!("terraform store {ours}")).input("x".repeat(200_000)).run();
    let store_line = store.failure(1);
    assert!(store_line.contains("nothing can be stored"));
    let hostless = world.call("terraform get").run();
    let verb = world.call(&format!("terraform put {ours}")).run();
    for done in [&hostless, &verb] {
        done.failure(1);
    }
    let forget = world.call(&format!("terraform forget {ours}")).run();
    for done in [&get, &forget] {
        done.quiet();
    }
    world.token();
    assert_eq!(world.astra.exchanges(), 2);
    world.call("terraform forget evil.example").run().quiet();
    world.token();
    assert_eq!(world.astra.exchanges(), 2);
    transcript!(get, other_host, hostless, verb, forget);
}

#[test]
fn terraform_external_is_an_object_of_strings() {
    let world = World::new();
    let plain = world.call("terraform external").input("{}").run();
    let query = world.call("terraform external").input(r#"{"any":"thing"}"#).run();
    assert_eq!(plain.quiet(), query.quiet());
    let broken = world.call("terraform external").input("[]").run();
    let nested = world.call("terraform external").input(r#"{"a":{}}"#).run();
    for done in [&broken, &nested] {
        done.failure(1);
    }
    transcript!(plain, broken, nested, @r#"
    $ astra-credential terraform external
    < {}
    > {"token":"<token>","expires":"<time>"}

    $ astra-credential terraform external
    < []
    ! astra-credential: terraform: the query is not a JSON object of strings: not a JSON object
    ! hint: let the tool call this program itself; `astra-credential terraform --help` shows how
    [exit status: 1]

    $ astra-credential terraform external
    < {"a":{}}
    ! astra-credential: terraform: the query is not a JSON object of strings: not of this form at line 1, column 5
    ! hint: let the tool call this program itself; `astra-credential terraform --help` shows how
    [exit status: 1]
    "#);
}
