//! The helper protocols on the built binary: what each answers, and to whom.

use crate::world::{World, transcript};

fn git_request(world: &World) -> String {
    format!("protocol=https\nhost=localhost:{}\n\n", world.astra.port())
}

#[test]
fn kubernetes_answers_in_the_version_asked_in() {
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
fn git_is_answered_in_the_form_that_it_knows() {
    let world = World::new();
    let request = git_request(&world);
    let newer = world.call("git get").input(format!("capability[]=authtype\n{request}")).run();
    let older =
        world.call_as(world.link("git-credential-astra"), "get").input(request.clone()).run();
    let capability = world.call("git capability").run();
    let store = world.call("git store").input(request.clone()).run();
    let unknown = world.call("git approve").input(request).run();
    for done in [&newer, &older, &capability, &store, &unknown] {
        done.quiet();
    }
    transcript!(newer, older, capability, store, unknown);
}

#[test]
fn git_is_met_with_silence_where_the_host_is_not_ours() {
    let world = World::new();
    let strangers = world.call("git get").input("protocol=https\nhost=evil.example\n\n").run();
    assert_eq!(strangers.quiet(), "");
    assert_eq!(world.astra.connections(), 0);
    let added = world
        .call("git get --host evil.example")
        .input("protocol=https\nhost=evil.example\n\n")
        .run();
    assert!(added.quiet().contains("password="));
    let listed = world.call("git get").env("ASTRA_CREDENTIAL_HOSTS", "a.example, evil.example");
    assert!(listed.input("url=https://EVIL.example/x.git\n").run().quiet().contains("password="));
}

#[test]
fn git_erase_drops_the_token_that_it_names_and_no_other() {
    let world = World::new();
    let token = world.token();
    let erase = |line: &str| {
        let request = format!("protocol=https\nhost=localhost:{}\n{line}\n", world.astra.port());
        assert_eq!(world.call("git erase").input(request).run().quiet(), "");
    };
    erase("password=another");
    erase("authtype=Bearer\ncredential=another");
    assert_eq!(world.token(), token);
    erase(&format!("authtype=Bearer\ncredential={token}"));
    let next = world.token();
    assert_ne!(next, token);
    // A slow loser must not wipe the winner's fresh token.
    erase(&format!("password={token}"));
    assert_eq!(world.token(), next);
    erase("");
    assert_ne!(world.token(), next);
    assert_eq!(world.astra.exchanges(), 3);
    let strangers = format!("protocol=https\nhost=evil.example\npassword={}\n", world.token());
    world.call("git erase").input(strangers).run().quiet();
    assert_eq!(world.astra.exchanges(), 3);
}

#[test]
fn bazel_gets_headers_and_an_expiry_in_whole_seconds() {
    let world = World::new();
    let request = |uri: &str| format!(r#"{{"uri":"{uri}"}}"#);
    let ours =
        world.call("bazel get").input(request(&format!("{}/x?y=z", world.astra.url()))).run();
    ours.quiet();
    let strangers = world.call("bazel get").input(request("https://evil.example/?localhost")).run();
    let verb = world.call("bazel store").input(request(&world.astra.url())).run();
    let malformed = world.call("bazel get").input("{}").run();
    for done in [&strangers, &verb, &malformed] {
        done.failure(1);
    }
    transcript!(ours, strangers, verb, malformed);
}

#[test]
fn the_expiry_given_out_is_when_this_program_itself_would_renew() {
    let world = World::new();
    let now = || std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let born = now();
    let reply = world.call("git get").input(git_request(&world)).run().quiet();
    let told: u64 = reply
        .lines()
        .find_map(|line| line.strip_prefix("password_expiry_utc="))
        .unwrap()
        .parse()
        .unwrap();
    let leeway = born + 36_000 - told;
    assert!((149..=301).contains(&leeway), "{leeway}");
    // The same for every later caller, and earlier for one who wants more.
    assert_eq!(world.call("git get").input(git_request(&world)).run().quiet(), reply);
    let wanted = world.call("git get --min-valid 1h").input(git_request(&world)).run().quiet();
    let told: u64 = wanted
        .lines()
        .find_map(|line| line.strip_prefix("password_expiry_utc="))
        .unwrap()
        .parse()
        .unwrap();
    assert!((0..=2).contains(&told.abs_diff(born + 36_000 - 3600)), "{told}");
    assert_eq!(world.astra.exchanges(), 1);
}

#[test]
fn docker_reads_errors_on_standard_output() {
    let world = World::new();
    let ours = format!("localhost:{}", world.astra.port());
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
    let strangers = world.call("docker get").input("evil.example").run();
    assert_eq!(strangers.stdout(), "credentials not found in native keychain\n");
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
    for done in [&strangers, &empty] {
        assert_eq!((done.code(), done.stderr().as_str()), (1, ""), "{done}");
    }
    // The commands of docker that keep its standard output to themselves pass standard error on.
    for done in [&verb, &setting, &failed] {
        assert_eq!(done.code(), 1);
        assert_eq!(done.stderr(), format!("astra-credential: {}", done.stdout()));
    }
    transcript!(get, url, store, list, version, strangers, empty, verb, setting, failed);
}

#[test]
fn terraform_is_told_nothing_of_a_stranger_and_cannot_store() {
    let world = World::new();
    let ours = format!("localhost:{}", world.astra.port());
    let get =
        world.call_as(world.link("terraform-credentials-astra"), &format!("get {ours}")).run();
    let strangers = world.call("terraform get evil.example").run();
    assert_eq!(strangers.quiet(), "{}\n");
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
    transcript!(get, strangers, hostless, verb, forget);
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
    transcript!(plain, broken, nested);
}
