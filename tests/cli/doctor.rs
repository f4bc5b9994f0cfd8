//! `doctor`: what can be wrong is found and named, and finding it costs nothing.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::stand_in::{Astra, Authority, Reply};
use crate::world::{Call, Done, World, contents, copy_binary, needs, set_mode, skip, transcript};

/// A call of a copy in the home's `bin`, which is on `PATH`.
fn doctor<'a>(world: &'a World, arguments: &str) -> Call<'a> {
    let folder = world.path("bin");
    fs::create_dir_all(&folder).unwrap();
    let binary = folder.join("astra-credential");
    if !binary.exists() {
        copy_binary(&binary);
    }
    // By number: which addresses `localhost` has differs from machine to machine.
    let api = world.astra.url().replace("localhost", "127.0.0.1");
    world.call_as(binary, &format!("doctor {arguments}")).env("ASTRA_API_URL", api)
}

/// The lines of a check with their hints, in the report's order.
fn all_findings(done: &Done<'_>, check: &str) -> Vec<String> {
    let shown = done.to_string();
    let lines: Vec<_> = shown.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if line.split_whitespace().nth(2) == Some(check) {
            let has_hint = lines.get(at + 1).is_some_and(|line| line.contains(" hint: "));
            found.push(lines[at..=at + usize::from(has_hint)].join("\n"));
        }
    }
    found
}

/// The first line of a check that is not `ok`, or else its first line, with the hint.
fn finding(done: &Done<'_>, check: &str) -> String {
    let found = all_findings(done, check);
    let wrong = found.iter().find(|finding| !finding.starts_with("> ok "));
    wrong.or(found.first()).expect("a line of that check").clone()
}

/// All lines of a check as one text.
fn findings(done: &Done<'_>, check: &str) -> String {
    all_findings(done, check).join("\n")
}

#[test]
fn nothing_is_wrong_and_looking_cost_nothing() {
    let world = World::new();
    let healthy = doctor(&world, "").run();
    healthy.quiet();
    let json = doctor(&world, "--json").run();
    let parsed: serde_json::Value = serde_json::from_str(&json.quiet()).unwrap();
    for finding in parsed["checks"].as_array().unwrap() {
        assert_eq!(finding["state"], "ok", "{finding}");
    }
    assert_eq!(world.astra.exchanges(), 0);
    for request in world.astra.requests() {
        assert_eq!((request.method.as_str(), request.path.as_str()), ("HEAD", "/"));
        assert!(request.body.is_empty() && request.header("authorization").is_none());
    }
    assert!(contents(&world.cache_dir()).is_empty());
    transcript!(healthy, json);
}

#[test]
fn online_costs_one_exchange_whose_token_serves() {
    let world = World::new();
    let before = world.call("token").env("ASTRA_API_URL", ip(&world)).run().quiet();
    let done = doctor(&world, "--online").run();
    assert!(finding(&done, "exchange").contains("brought a token"), "{done}");
    assert_eq!(world.astra.exchanges(), 2);
    assert!(!done.stdout().contains("qyJ") && !done.stdout().contains("secret0000"));
    let after = world.call("token").env("ASTRA_API_URL", ip(&world)).run().quiet();
    assert_ne!(before, after);
    assert_eq!(world.astra.exchanges(), 2);
    world.astra.set_answer(|_, _| Reply::error(401, "revoked"));
    let rejected = doctor(&world, "--online").run();
    assert_eq!(rejected.code(), 1);
    transcript!(done, rejected);
}

fn ip(world: &World) -> String {
    world.astra.url().replace("localhost", "127.0.0.1")
}

#[test]
fn an_account_file_that_cannot_be_used_is_a_failure() {
    let world = World::new();
    set_mode(&world.account_file(), 0o644);
    let exposed = doctor(&world, "").run();
    let allowed = doctor(&world, "").env("ASTRA_CREDENTIAL_ALLOW_EXPOSED_FILE", "1").run();
    fs::remove_file(world.account_file()).unwrap();
    let missing = doctor(&world, "--online").run();
    assert_eq!([exposed.code(), allowed.code(), missing.code()], [1, 0, 1]);
    assert_eq!(world.astra.exchanges(), 0);
    let findings = [&exposed, &allowed, &missing].map(|done| finding(done, "account"));
    transcript!(findings[0], findings[1], findings[2], finding(&missing, "exchange"), @"
    > failure  account       the account file `~/.config/astra-credential/service-account.json` may be read by everybody (mode 0644)
    >                        hint: run `chmod 600 ~/.config/astra-credential/service-account.json`; where that changes nothing, as on WSL's drives, CIFS and FAT, keep it on another file system, or set `ASTRA_CREDENTIAL_ALLOW_EXPOSED_FILE=1` to use it all the same
    > warning  account       its file's permissions are not checked
    >                        hint: unset `ASTRA_CREDENTIAL_ALLOW_EXPOSED_FILE`, unless others are meant to read it
    > failure  account       no account file: `~/.config/astra-credential/service-account.json` does not exist
    >                        hint: run `astra-credential setup account` and paste the service account copied from Astra's dashboard, or name another file with `--service-account FILE` or `ASTRA_SERVICE_ACCOUNT`
    > ok       exchange      not tried without an account
    ");
}

#[test]
fn folders_that_others_may_change_are_named() {
    let world = World::new();
    set_mode(&world.path(".config"), 0o777);
    doctor(&world, "").run().quiet();
    fs::create_dir_all(world.cache_dir()).unwrap();
    set_mode(&world.path(".cache"), 0o777);
    set_mode(&world.cache_dir(), 0o755);
    let done = doctor(&world, "").run();
    assert_eq!(done.code(), 0, "{done}");
    transcript!(findings(&done, "account"), findings(&done, "cache"), @"
    > ok       account       `~/.config/astra-credential/service-account.json` holds service account 00000000-fake-4000-8000-client000000
    > warning  account       the folder `~/.config` above it may be changed by others (mode 0777)
    >                        hint: run `chmod go-w ~/.config`
    > warning  cache         others may look into `~/.cache/astra-credential` (mode 0755)
    >                        hint: run `chmod 700 ~/.cache/astra-credential`
    > warning  cache         the folder `~/.cache` above it may be changed by others (mode 0777)
    >                        hint: run `chmod go-w ~/.cache`
    ");
}

#[test]
fn a_folder_in_which_only_owners_replace_files_is_well() {
    let world = World::new();
    set_mode(&world.path(".config"), 0o1777);
    let sticky = doctor(&world, "").run();
    assert!(finding(&sticky, "account").contains(" ok "), "{sticky}");
}

#[test]
fn a_group_counts_as_others_unless_it_is_the_users_own() {
    needs!(root);
    let world = World::new();
    set_mode(&world.path(".config"), 0o775);
    let own = doctor(&world, "").run();
    assert!(finding(&own, "account").contains(" ok "), "{own}");
    std::os::unix::fs::chown(world.path(".config"), None, Some(12345)).unwrap();
    let others = doctor(&world, "").run();
    assert!(finding(&others, "account").contains("changed by others (mode 0775)"), "{others}");
}

#[test]
fn a_folder_of_another_user_is_named() {
    needs!(root);
    let world = World::new();
    std::os::unix::fs::chown(world.path(".config"), Some(12345), None).unwrap();
    let foreign = doctor(&world, "").run();
    assert!(finding(&foreign, "account").contains("belongs to another user (uid 12345)"));
}

#[test]
fn a_cache_that_cannot_be_used_is_a_failure_and_one_switched_off_a_warning() {
    let world = World::new();
    world.write(".cache", "not a folder");
    let unusable = doctor(&world, "").run();
    assert_eq!(unusable.code(), 1);
    let off = doctor(&world, "--no-cache").run();
    assert_eq!(off.code(), 0);
    let homeless = doctor(&world, "").without("HOME").run();
    assert_eq!(homeless.code(), 1);
    transcript!(finding(&unusable, "cache"), finding(&off, "cache"), finding(&homeless, "cache"), @"
    > failure  cache         `~/.cache/astra-credential` cannot be used: Not a directory (os error 20)
    >                        hint: name a folder of your own with `--cache-dir DIR` or `ASTRA_CREDENTIAL_CACHE_DIR`
    > warning  cache         it is switched off: each call does an exchange
    >                        hint: unset `ASTRA_CREDENTIAL_NO_CACHE`, unless that is meant
    > failure  cache         there is none without an absolute `HOME`: each call does an exchange
    >                        hint: name a folder of your own with `--cache-dir DIR` or `ASTRA_CREDENTIAL_CACHE_DIR`
    ");
}

#[test]
fn who_holds_the_lock_is_named() {
    let world = World::new();
    world.astra.set_answer(|_, _| Reply::Hang);
    let mut holder = world.call("token").env("ASTRA_API_URL", ip(&world)).start();
    assert!(world.astra.wait_for_exchanges(1, Duration::from_secs(10)));
    let id = holder.id().to_string();
    let signal =
        |name: &str| assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    let held = doctor(&world, "").run();
    assert!(held.stdout().contains(&format!("held by process {id} (started by ")), "{held}");
    assert!(held.stdout().contains("which is asking Astra"), "{held}");
    signal("-STOP");
    let is_stopped = || fs::read_to_string(format!("/proc/{id}/stat")).unwrap().contains(") T ");
    while !is_stopped() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let stopped = doctor(&world, "").run();
    assert!(stopped.stdout().contains(&format!("hint: run `kill -CONT {id}`")), "{stopped}");
    signal("-KILL");
    holder.wait().unwrap();
    assert!(!doctor(&world, "").run().stdout().contains("held by"));
}

#[test]
fn a_server_that_is_not_there_or_not_trusted_is_a_failure() {
    let world = World::new();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nobody = doctor(&world, &format!("--api-url https://127.0.0.1:{closed}")).run();
    let stranger = Astra::start(&Authority::new());
    let untrusted =
        doctor(&world, &format!("--api-url https://127.0.0.1:{}", stranger.port())).run();
    // A label of this length is never asked for.
    let unknown = doctor(&world, &format!("--api-url https://{}.example", "x".repeat(64))).run();
    let proxy = doctor(&world, "")
        .env("HTTPS_PROXY", format!("http://me:password@127.0.0.1:{closed}"))
        .run();
    for done in [&nobody, &untrusted, &unknown, &proxy] {
        assert_eq!(done.code(), 1, "{done}");
    }
    assert!(!proxy.stdout().contains("password"));
    transcript!(
        finding(&nobody, "server"),
        finding(&untrusted, "server"),
        finding(&proxy, "proxy"),
        finding(&proxy, "server"),
        @"
    > failure  server        `https://127.0.0.1:<port>` cannot be reached: Connection refused (os error 111)
    >                        hint: check the network and `--api-url`; behind a proxy, set `HTTPS_PROXY`
    > failure  server        the certificate of `https://127.0.0.1:<port>` is not trusted: no trusted certificate authority has signed it: the one that has is called `throw-away test authority` like one that is trusted, but has another key; trusted are those in `~/ca.pem`
    >                        hint: put the certificate of the authority that issued it into a PEM file and name that with `--ca-file FILE` or `SSL_CERT_FILE`; where a gateway inspects TLS, the authority is your company's
    > ok       proxy         `127.0.0.1:<port>`
    > failure  server        `https://127.0.0.1:<port>` cannot be reached through the proxy `127.0.0.1:<port>`: Connection refused (os error 111)
    >                        hint: check the proxy in `HTTPS_PROXY` or `ALL_PROXY`, or name the host in `NO_PROXY`
    "
    );
    assert!(finding(&unknown, "name").starts_with("> failure"), "{unknown}");
}

#[test]
fn a_server_that_stays_silent_is_left_in_time() {
    let world = World::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("https://{}", silent.local_addr().unwrap());
    let start = Instant::now();
    let done = doctor(&world, &format!("--api-url {silent} --timeout 1")).run();
    assert_eq!(done.code(), 1);
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    // The looks and the exchanges of all accounts share the time, and a silent server does not take that
    // of another account's.
    let entries = ["a", "b", "c"].map(|name| {
        let file = world.account_file();
        format!("\"{name}\": {{ \"file\": {file:?}, \"api_url\": \"{silent}/{name}\" }}")
    });
    let entries = entries.join(", ");
    world.write(
        ".config/astra-credential/config.json",
        format!("{{ \"accounts\": {{ {entries} }} }}"),
    );
    let start = Instant::now();
    let done = doctor(&world, "--online --timeout 4").run();
    assert!(start.elapsed() < Duration::from_millis(5_500), "{:?}", start.elapsed());
    let silent = done.stdout().matches("did not answer in time").count();
    assert_eq!((done.code(), silent), (1, 6), "{done}");
    assert!(done.stdout().contains("the account `default`: brought a token"), "{done}");
}

#[test]
fn a_clock_that_differs_from_the_servers_is_named() {
    let world = World::new();
    let mut parts = Vec::new();
    for offset in [-7200, 600] {
        world.astra.set_clock(offset);
        let done = doctor(&world, "").run();
        assert_eq!(done.code(), 0);
        let line = finding(&done, "clock");
        assert!(line.starts_with("> warning"), "{line}");
        parts.push(line);
    }
    assert!(parts[0].contains(" ahead of ") && parts[1].contains(" behind "), "{parts:?}");
}

/// A program of that content in a folder of its own.
fn program(world: &World, folder: &str, name: &str, script: &str) -> PathBuf {
    fs::create_dir_all(world.path(folder)).unwrap();
    let path = world.write(&format!("{folder}/{name}"), format!("#!/bin/sh\n{script}\n"));
    set_mode(&path, 0o700);
    path
}

#[test]
fn another_version_on_path_is_named_and_not_waited_for() {
    let world = World::new();
    program(&world, "old", "astra-credential", "echo astra-credential 0.0.9");
    program(&world, "stuck", "astra-credential", "echo $$ > ~/stuck/id; exec sleep 60");
    fs::create_dir(world.path("again")).unwrap();
    let other = world.path("old/astra-credential");
    std::os::unix::fs::symlink(other, world.path("again/astra-credential")).unwrap();
    let folders = ["bin", "old", "again", "stuck"];
    let path = folders.map(|name| world.path(name).display().to_string());
    let path = [path.join(":").as_str(), "/usr/bin", "/bin"].join(":");
    let start = Instant::now();
    let done = doctor(&world, "").env("PATH", path).run();
    let id = fs::read_to_string(world.path("stuck/id")).unwrap();
    assert!(!PathBuf::from("/proc").join(id.trim()).exists(), "it still runs");
    assert!(start.elapsed() < Duration::from_secs(15));
    assert_eq!(done.code(), 0);
    let lines: Vec<_> = done.stdout().lines().map(str::to_owned).collect();
    let of_binaries = lines.iter().filter(|line| line.contains("another, of version"));
    assert_eq!(of_binaries.count(), 2, "{done}");
}

#[test]
fn each_tools_configuration_is_found_and_a_missing_link_named() {
    needs!("git");
    let world = World::new();
    fs::create_dir_all(world.path(".kube")).unwrap();
    fs::create_dir_all(world.path(".docker")).unwrap();
    let user = |command: &str| format!("users:\n- user:\n    exec:\n      command: {command}\n");
    world.write(".kube/config", user("/no/such/astra-credential"));
    world.write(".docker/config.json", r#"{"credHelpers":{"registry.example.com":"astra"}}"#);
    world
        .write(".bazelrc", "common --credential_helper=cache.example.com=bazel-credential-astra\n");
    world.write(".terraformrc", "credentials_helper \"astra\" {\n}\n");
    world.write(
        ".gitconfig",
        "[credential \"https://git.example.com\"]\n\thelper = astra --host git.example.com\n",
    );
    let hosts = "cache.example.com,registry.example.com";
    let doctor = |world| doctor(world, "").env("ASTRA_CREDENTIAL_HOSTS", hosts);
    let unlinked = doctor(&world).run();
    let binary = world.path("bin/astra-credential");
    for link in ["git-credential-astra", "bazel-credential-astra", "docker-credential-astra"] {
        std::os::unix::fs::symlink(&binary, world.path("bin").join(link)).unwrap();
    }
    let plugins = world.path(".terraform.d/plugins");
    fs::create_dir_all(&plugins).unwrap();
    std::os::unix::fs::symlink(&binary, plugins.join("terraform-credentials-astra")).unwrap();
    world.write(".kube/config", user("astra-credential"));
    let linked = doctor(&world).run();
    world.write(".kube/config", user(&binary.display().to_string()));
    let by_path = doctor(&world).run();
    let pathless = doctor(&world).without("PATH").run();
    assert_eq!(finding(&pathless, "kubectl"), finding(&by_path, "kubectl"));
    world.write(".kube/config", user("../bin/astra-credential"));
    let from_its_folder = doctor(&world).run();
    assert_eq!(finding(&from_its_folder, "kubectl"), finding(&by_path, "kubectl"));
    fs::remove_file(world.path("bin/git-credential-astra")).unwrap();
    program(&world, "bin", "git-credential-astra", "exit 1");
    let foreign = doctor(&world).run();
    assert_eq!([unlinked.code(), linked.code(), foreign.code()], [1, 0, 1], "{unlinked}{foreign}");
    assert!(!linked.stdout().contains("warning"), "{linked}");
    transcript!(unlinked, linked, finding(&by_path, "kubectl"), finding(&foreign, "git"));
}

#[test]
fn a_host_that_is_bound_to_no_account_is_a_failure() {
    let world = World::new();
    fs::create_dir_all(world.path(".docker")).unwrap();
    let config = r#"{"credHelpers":{"a.example.com":"astra","b.example.com":"astra","c":"other"}}"#;
    world.write(".docker/config.json", config);
    world.write(".bazelrc", "build --credential_helper 'b.example.com=bazel-credential-astra'\n");
    doctor(&world, "").run();
    for link in ["bazel-credential-astra", "docker-credential-astra"] {
        let link = world.path("bin").join(link);
        std::os::unix::fs::symlink(world.path("bin/astra-credential"), link).unwrap();
    }
    let bind = |hosts: &str| {
        let bound = format!("{{\"accounts\": {{\"default\": {{\"hosts\": [{hosts}]}}}}}}");
        world.write(".config/astra-credential/config.json", bound);
    };
    bind("\"a.example.com\"");
    let one = doctor(&world, "").run();
    bind("\"a.example.com\", \"b.example.com:8443\", \"b.example.com\"");
    let both = doctor(&world, "").run();
    assert_eq!([one.code(), both.code()], [1, 0], "{one}{both}");
    for tool in ["kubectl", "git", "terraform"] {
        assert!(finding(&one, tool).ends_with(" not configured"), "{one}");
    }
    transcript!(findings(&one, "bazel"), findings(&one, "docker"), findings(&both, "bazel"), findings(&both, "docker"), @"
    > failure  bazel         configured in `~/.bazelrc` for `b.example.com`, which is bound to no account and gets no token
    >                        hint: run `astra-credential setup bazel --host b.example.com`
    > ok       docker        configured in `~/.docker/config.json` for `a.example.com`, and finds this binary and the account `default`
    >                        hint: started with a shorter `PATH`, as by a service, docker does not find it: as root, `ln -s ~/bin/docker-credential-astra /usr/local/bin/`
    > failure  docker        configured in `~/.docker/config.json` for `b.example.com`, which is bound to no account and gets no token
    >                        hint: run `astra-credential setup docker --host b.example.com`
    > ok       bazel         configured in `~/.bazelrc` for `b.example.com:8443`, and finds this binary and the account `default`
    > ok       bazel         configured in `~/.bazelrc` for `b.example.com`, and finds this binary and the account `default`
    > ok       docker        configured in `~/.docker/config.json` for `a.example.com`, and finds this binary and the account `default`
    >                        hint: started with a shorter `PATH`, as by a service, docker does not find it: as root, `ln -s ~/bin/docker-credential-astra /usr/local/bin/`
    > ok       docker        configured in `~/.docker/config.json` for `b.example.com`, and finds this binary and the account `default`
    >                        hint: started with a shorter `PATH`, as by a service, docker does not find it: as root, `ln -s ~/bin/docker-credential-astra /usr/local/bin/`
    ");
}

#[test]
fn a_host_whose_account_cannot_be_used_is_a_failure() {
    needs!("git");
    let world = World::new();
    doctor(&world, "").run();
    let accounts = r#"{"accounts": {"prod": {"hosts": ["prod.example.com"]}, "open": {"hosts": ["open.example.com"]}}}"#;
    world.write(".config/astra-credential/config.json", accounts);
    world.write(".config/astra-credential/open.json", world.astra.account_json());
    set_mode(&world.path(".config/astra-credential/open.json"), 0o644);
    let binary = world.path("bin/astra-credential").display().to_string();
    let section = |host: &str| {
        format!("[credential \"https://{host}\"]\n\thelper =\n\thelper = {binary} git\n")
    };
    world.write(".gitconfig", section("prod.example.com") + &section("open.example.com"));
    let done = doctor(&world, "").run();
    assert_eq!(done.code(), 1);
    transcript!(findings(&done, "git"), @"
    > failure  git           configured in `credential.https://prod.example.com.helper` for `prod.example.com`, which gets no token: no account file: `~/.config/astra-credential/prod.json` does not exist
    >                        hint: run `astra-credential setup account --account prod` and paste the service account copied from Astra's dashboard, or name another file with `--service-account FILE` or `ASTRA_SERVICE_ACCOUNT`
    > failure  git           configured in `credential.https://open.example.com.helper` for `open.example.com`, which gets no token: the account file `~/.config/astra-credential/open.json` may be read by everybody (mode 0644)
    >                        hint: run `chmod 600 ~/.config/astra-credential/open.json`; where that changes nothing, as on WSL's drives, CIFS and FAT, keep it on another file system, or set `ASTRA_CREDENTIAL_ALLOW_EXPOSED_FILE=1` to use it all the same
    ");
}

#[test]
fn a_helper_that_is_asked_before_ours_is_named() {
    needs!("git");
    let world = World::new();
    doctor(&world, "").run();
    let binary = world.path("bin/astra-credential").display().to_string();
    let [host, other] = ["git.example.com", "other.example.com"];
    let bound =
        format!("{{\"accounts\": {{\"default\": {{\"hosts\": [\"{host}\", \"{other}\"]}}}}}}");
    world.write(".config/astra-credential/config.json", bound);
    let global = "[credential]\n\thelper = store\n";
    let ours = format!(
        "[credential \"https://{host}\"]\n\thelper = {binary} git\n\
         [credential \"https://{other}\"]\n\thelper =\n\thelper = {binary} git\n"
    );
    world.write(".gitconfig", format!("{global}{ours}"));
    let before = doctor(&world, "").run();
    assert_eq!(before.code(), 0, "{before}");
    // The hint mends it.
    let shown = finding(&before, "git");
    let (_, hint) = shown.split_once("hint: run `").unwrap();
    let (first, rest) = hint.split_once("`, then `").unwrap();
    let (second, _) = rest.split_once('`').unwrap();
    let line = format!("{first} && {second}").replace('~', world.home.path().to_str().unwrap());
    assert_eq!(world.call_as("sh", "-c").arg(line).run().quiet(), "");
    let mended = doctor(&world, "").run();
    assert!(!mended.stdout().contains("asked before"), "{mended}");
    // A helper behind ours is asked only if ours has no answer.
    world.write(".gitconfig", format!("{ours}{global}"));
    let behind = doctor(&world, "").run();
    assert!(!behind.stdout().contains("asked before"), "{behind}");
    transcript!(shown, @"
    > warning  git           configured in `credential.https://git.example.com.helper` for `git.example.com`, but `store` of `credential.helper` is asked before
    >                        hint: run `git config --global --replace-all credential.https://git.example.com.helper ''`, then `git config --global --add credential.https://git.example.com.helper '~/bin/astra-credential git'`: the empty helper keeps out those before it
    ");
}

#[test]
fn a_helper_is_found_however_it_is_written() {
    needs!("git");
    let world = World::new();
    doctor(&world, "").run();
    let binary = world.path("bin/astra-credential").display().to_string();
    let link = world.path("bin/git-credential-astra").display().to_string();
    std::os::unix::fs::symlink(&binary, &link).unwrap();
    let git = |helper: &str| {
        world.write(".gitconfig", format!("[credential]\n\thelper = \"{helper}\"\n"));
        finding(&doctor(&world, "").run(), "git")
    };
    for helper in ["astra", &link, "!astra-credential git", &format!("{binary} git")] {
        assert!(git(helper).contains("`credential.helper`, and finds this"), "{}", git(helper));
    }
    assert!(git("/no/such/git-credential-astra").contains("but there is no `/no/such/git-"));
    for helper in ["store", "!astra", "/home/astra/bin/keyring", "store --file ~/astra"] {
        assert!(git(helper).contains("not configured"), "{}", git(helper));
    }
}

#[test]
fn terraforms_folder_and_a_bazel_workspace_are_read_too() {
    let world = World::new();
    let terraform = |name: &str, text: &str| {
        let folder = world.path(".terraform.d");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder).unwrap();
        world.write(&format!(".terraform.d/{name}"), text);
        let named = |file| doctor(&world, "").env("TF_CLI_CONFIG_FILE", world.path(file));
        let elsewhere = finding(&named("none").run(), "terraform");
        assert!(elsewhere.contains("not configured"), "{elsewhere}");
        finding(&doctor(&world, "").run(), "terraform")
    };
    for (name, text) in [
        ("a.tfrc", "# ours\ncredentials_helper   \"astra\" {}\n"),
        ("b.tfrc.json", r#"{"credentials_helper": {"astra": {}}}"#),
    ] {
        let found = terraform(name, text);
        assert!(found.contains(&format!("configured in `~/.terraform.d/{name}`, but")), "{found}");
    }
    for text in ["# credentials_helper \"astra\" {}", "credentials_helper \"other\" {}"] {
        let found = terraform("a.tfrc", text);
        assert!(found.contains("not configured"), "{found}");
    }
    fs::create_dir_all(world.path("work/src/deep")).unwrap();
    let line = "common --credential_helper %workspace%/tools/bazel-credential-astra # ours\n";
    world.write("work/.bazelrc", line);
    let shown = doctor(&world, "").in_folder(world.path("work/src/deep")).run().stdout();
    let workspace = world.path("work").canonicalize().unwrap().display().to_string();
    let expected = format!(
        "configured in `{workspace}/.bazelrc`, but there is no `{workspace}/tools/bazel-cred"
    );
    assert!(shown.contains(&expected), "{shown}");
}

#[test]
fn a_kubeconfig_is_understood_in_every_form_and_with_the_account_of_its_user() {
    needs!("kubectl");
    let world = World::new();
    fs::create_dir_all(world.path(".kube")).unwrap();
    world.write(".config/astra-credential/prod.json", "{");
    let config = |form: &str, account: &str| {
        let user = |exec: String| format!("{{users: [{{name: a, user: {{exec: {{{exec}}}}}}}]}}");
        match form {
            "json" => {
                user(format!(r#""command":"astra-credential","args":["kubernetes",{account}]"#))
                    .replace("users", "\"users\"")
                    .replace("name: a, user:", "\"name\":\"a\",\"user\":")
                    .replace("exec:", "\"exec\":")
            }
            "one line" => user(format!("command: astra-credential, args: [kubernetes, {account}]")),
            "command first" => format!(
                "users:\n- name: a\n  user:\n    exec:\n      command: astra-credential\n      \
                 args: [kubernetes, {account}]\n"
            ),
            _ => format!(
                "users:\n- name: a\n  user:\n    exec: &exec\n      args:\n      - kubernetes\n      \
                 - {}\n      command: >-\n        astra-credential\n",
                account.replace(", ", "\n      - ")
            ),
        }
    };
    for form in ["json", "one line", "command first", "block"] {
        for account in ["\"--account\", \"prod\"", "\"--account=prod\""] {
            world.write(".kube/config", config(form, account));
            let done = doctor(&world, "").run();
            let found = finding(&done, "kubectl");
            let is_told = found.contains("failure")
                && found.contains("`~/.config/astra-credential/prod.json`");
            assert!(is_told, "{form}, {account}: {found}");
        }
        // An account file stands for itself, and `default` is not asked.
        fs::rename(world.account_file(), world.path("moved")).unwrap();
        world.write(".kube/config", config(form, "\"--service-account=/moved\""));
        let done = doctor(&world, "").run();
        assert!(finding(&done, "kubectl").contains("ok"), "{form}: {done}");
        fs::rename(world.path("moved"), world.account_file()).unwrap();
    }
}

#[test]
fn a_configuration_file_that_is_a_link_to_nothing_is_a_failure() {
    let world = World::new();
    let config = world.path(".config/astra-credential/config.json");
    std::os::unix::fs::symlink("/nowhere/config.json", config).unwrap();
    let done = doctor(&world, "").run();
    let found = finding(&done, "config");
    assert!(found.contains("failure") && found.contains("leads nowhere"), "{done}");
    assert_eq!(done.code(), 1);
}

#[test]
fn a_configuration_is_looked_for_where_the_tool_looks() {
    let world = World::new();
    fs::create_dir_all(world.path(".kube")).unwrap();
    fs::create_dir_all(world.path(".docker")).unwrap();
    fs::create_dir_all(world.path("docker")).unwrap();
    let user = "users:\n- user:\n    exec:\n      command: astra-credential\n";
    world.write(".kube/config", user);
    world.write("other", "users: []\n");
    world.write("third", user);
    world.write(".docker/config.json", r#"{"credsStore":"astra"}"#);
    let line = "build --credential_helper=bazel-credential-astra\n";
    let large = world.write(".bazelrc", line);
    fs::File::options().write(true).open(large).unwrap().set_len(5 * 1024 * 1024).unwrap();
    let usual = doctor(&world, "").run();
    assert!(finding(&usual, "kubectl").contains("configured in `~/.kube/config`"), "{usual}");
    assert!(finding(&usual, "docker").contains("configured in `~/.docker/config.json`"));
    // Nobody's configuration has 5 MiB.
    assert!(finding(&usual, "bazel").contains("not configured"), "{usual}");
    world.write(".bazelrc", line);
    assert!(finding(&doctor(&world, "").run(), "bazel").contains("configured in `~/.bazelrc`"));
    let other = world.path("other").display().to_string();
    let named = |kubeconfig: &str| {
        let call = doctor(&world, "").env("KUBECONFIG", kubeconfig);
        call.env("DOCKER_CONFIG", world.path("docker")).run()
    };
    let elsewhere = named(&other);
    for tool in ["kubectl", "docker"] {
        assert!(finding(&elsewhere, tool).contains("not configured"), "{elsewhere}");
    }
    let several = named(&format!("{other}:{}", world.path("third").display()));
    assert!(finding(&several, "kubectl").contains("configured in `~/third`"), "{several}");
}

#[test]
fn a_link_that_leads_nowhere_is_named_and_the_hint_mends_it() {
    needs!("git");
    let world = World::new();
    world.write(
        ".gitconfig",
        "[credential \"https://git.example.com\"]\n\thelper = astra --host git.example.com\n",
    );
    doctor(&world, "").run();
    let link = world.path("bin/git-credential-astra");
    std::os::unix::fs::symlink("/no/such/file", &link).unwrap();
    let dangling = finding(&doctor(&world, "").run(), "git");
    fs::remove_file(link).unwrap();
    let missing = doctor(&world, "").run();
    let shown = finding(&missing, "git");
    let (_, rest) = shown.split_once("hint: run `").unwrap();
    let line = rest.split_once('`').unwrap().0.replace('~', world.home.path().to_str().unwrap());
    world.call_as("sh", "-c").arg(line).run().quiet();
    let mended = finding(&doctor(&world, "").run(), "git");
    transcript!(dangling, shown, mended, @"
    > failure  git           configured in `credential.https://git.example.com.helper` for `git.example.com`, but there is no `git-credential-astra` on `PATH`
    >                        hint: run `ln -sf ~/bin/astra-credential ~/bin/git-credential-astra`
    > failure  git           configured in `credential.https://git.example.com.helper` for `git.example.com`, but there is no `git-credential-astra` on `PATH`
    >                        hint: run `ln -sf ~/bin/astra-credential ~/bin/git-credential-astra`
    > ok       git           configured in `credential.https://git.example.com.helper` for `git.example.com`, and finds this binary
    ");
}

#[test]
fn what_a_call_as_root_left_behind_is_named() {
    needs!(root);
    let world = World::new();
    world.call("token").env("ASTRA_API_URL", ip(&world)).run().quiet();
    let lock = world.cached("lock").remove(0);
    fs::remove_file(&lock).unwrap();
    fs::create_dir(&lock).unwrap();
    let closed = doctor(&world, "").run();
    fs::remove_dir(&lock).unwrap();
    assert_eq!(closed.code(), 1);
    assert!(!lock.exists());
    std::os::unix::fs::chown(world.cache_dir(), Some(12345), None).unwrap();
    let owned = doctor(&world, "").run();
    assert_eq!(owned.code(), 1);
    let name = lock.file_stem().unwrap().to_str().unwrap();
    let closed = closed.to_string().replace(name, "<identity>");
    let at = closed.find("failure  lock").unwrap();
    let closed: Vec<_> = closed[at..].lines().take(2).collect();
    transcript!(closed.join("\n"), finding(&owned, "cache"), @"
    failure  lock          `~/.cache/astra-credential/<identity>.lock` cannot be opened (Is a directory (os error 21)): calls go on without the cache
    >                        hint: remove `~/.cache/astra-credential/<identity>.lock`, which a call under `sudo` may have left
    > failure  cache         `~/.cache/astra-credential` cannot be used: it belongs to another user (uid 12345); run this without `sudo`
    >                        hint: name a folder of your own with `--cache-dir DIR` or `ASTRA_CREDENTIAL_CACHE_DIR`
    ");
}

#[test]
fn who_is_not_root_is_told_what_root_has_to_do() {
    use std::os::unix::process::CommandExt as _;
    needs!(root);
    let world = World::new();
    let call = doctor(&world, "");
    for path in [".", ".config", ".config/astra-credential", "ca.pem", "bin"] {
        std::os::unix::fs::chown(world.path(path), Some(12345), Some(12345)).unwrap();
    }
    std::os::unix::fs::chown(world.account_file(), Some(12345), Some(12345)).unwrap();
    fs::create_dir(world.path(".cache")).unwrap();
    set_mode(&world.path(".cache"), 0o777);
    let output = call.command().uid(12345).gid(12345).output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("hint: have root run `chmod go-w "), "{shown}");
}

#[test]
fn without_proc_this_binary_is_not_taken_for_another() {
    if !rustix::process::geteuid().is_root() || !cfg!(all(target_os = "linux", target_env = "gnu"))
    {
        skip("takes root and a static binary, to run where there is nothing else");
        return;
    }
    let world = World::new();
    doctor(&world, "").run().quiet();
    let done = world
        .call_as("chroot", &world.home.path().display().to_string())
        .env("PATH", "/bin:/usr/bin:/usr/sbin")
        .arg("/bin/astra-credential")
        .arg("doctor")
        .arg("--cache-dir=/cache")
        .env("SSL_CERT_FILE", "/ca.pem")
        .env("ASTRA_API_URL", ip(&world))
        .run();
    let of_binaries: Vec<_> = done.stdout().lines().map(str::to_owned).collect();
    let of_binaries = of_binaries.iter().filter(|line| line.contains(" binary "));
    assert_eq!(of_binaries.count(), 1, "{done}");
    assert!(finding(&done, "binary").contains("where it is cannot be told"), "{done}");
}

#[test]
fn a_cache_on_another_machine_is_named() {
    needs!("strace");
    let world = World::new();
    doctor(&world, "").run().quiet();
    let binary = world.path("bin/astra-credential");
    let traced = |inject: &str| {
        let call = world.call_as("strace", &format!("-o /dev/null -e inject={inject}"));
        call.arg(&binary).arg("doctor").env("ASTRA_API_URL", ip(&world)).run()
    };
    // NFS's number, as statfs(2) gives it.
    let nfs = traced("statfs:poke_exit=@arg2=6969000000000000");
    let lockless = traced("flock:error=ENOLCK");
    assert_eq!((nfs.code(), lockless.code()), (0, 0));
    transcript!(finding(&nfs, "cache"), finding(&lockless, "lock"), @"
    > warning  cache         `~/.cache/astra-credential` is on NFS, where locks are slow and may not hold
    >                        hint: name a folder on a local disk with `--cache-dir DIR`
    > warning  lock          cannot be taken (No locks available (os error 37)): calls at the same time do an exchange each
    >                        hint: name a folder on a local disk with `--cache-dir DIR`
    ");
}

#[test]
fn a_proxy_that_is_not_known_is_named_with_where_it_was_said() {
    let world = World::new();
    // A label of this length is never asked for.
    let proxy = format!("http://{}.example:3128", "x".repeat(64));
    let done = doctor(&world, "").env("HTTPS_PROXY", proxy).run();
    let found = finding(&done, "name");
    assert!(found.contains("hint: check the proxy in `HTTPS_PROXY`"), "{found}");
    // A port may be left out.
    let done = doctor(&world, "--timeout 1").env("HTTPS_PROXY", "http://127.0.0.1").run();
    assert!(finding(&done, "name").contains("`127.0.0.1:80` is 127.0.0.1"), "{done}");
}

#[test]
fn what_setup_sets_up_is_found() {
    needs!("git", "kubectl");
    let world = World::new();
    let binary = world.path("bin/astra-credential");
    doctor(&world, "").run().quiet();
    for tool in ["kubectl", "git", "bazel", "docker", "terraform"] {
        let line = format!("setup {tool} --host tool.example.com");
        let done = world.call_as(&binary, &line).run();
        assert_eq!(done.code(), 0, "{done}");
        let found = finding(&doctor(&world, "").run(), tool);
        assert!(found.contains(", and finds this binary"), "{found}");
    }
}

#[test]
fn it_is_coloured_on_a_terminal_that_has_colours_and_nowhere_else() {
    needs!("script");
    let world = World::new();
    let on_a_terminal = |setting: &str| {
        let binary = world.link("astra-credential");
        let line = format!("{setting} exec {} doctor", binary.display());
        let shown = world.call_as("script", "-qec").arg(line).arg("/dev/null").run();
        let plain = shown.stdout().replace("\x1b[32mok      \x1b[0m ", "ok       ");
        assert!(plain.contains("ok       cache ") && !plain.contains('\x1b'), "{shown}");
        shown.stdout().contains("\x1b[32m")
    };
    assert!(on_a_terminal("TERM=xterm"));
    assert!(on_a_terminal("TERM=xterm NO_COLOR="));
    assert!(!on_a_terminal("TERM=xterm NO_COLOR=1"));
    assert!(!on_a_terminal("TERM=dumb"));
    assert!(!world.call("doctor").env("TERM", "xterm").run().stdout().contains('\x1b'));
}
