//! `doctor`: the finding for each problem, and the cost of the checks.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{chown, symlink};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::processes::Process;
use crate::stand_in::{Astra, Authority, Reply};
use crate::world::{Call, Done, World, contents, copy_binary, needs, set_mode, skip, transcript};

/// A copy of the binary in the home's `bin`, which is on `PATH`.
fn install(world: &World) -> PathBuf {
    let binary = world.path("bin/astra-credential");
    if !binary.exists() {
        fs::create_dir_all(world.path("bin")).unwrap();
        copy_binary(&binary);
    }
    binary
}

/// Links to that copy, in the same folder.
fn install_links(world: &World, links: &[&str]) {
    let binary = install(world);
    for link in links {
        symlink(&binary, binary.with_file_name(link)).unwrap();
    }
}

/// A configuration of git that names the helper by its link.
const GIT_CONFIG: &str =
    "[credential \"https://git.example.com\"]\n\thelper = astra --host git.example.com\n";

/// Runs the command that stands between backquotes behind `before` in a hint.
fn run_hint(world: &World, hint: &str, before: &str) {
    let (_, rest) = hint.split_once(&format!("{before} `")).expect("a command");
    let command = rest.split('`').next().unwrap_or_default();
    let command = command.replace('~', world.home.path().to_str().unwrap());
    assert_eq!(world.call_as("sh", "-c").arg(command).run().quiet(), "");
}

/// A call of the installed copy.
fn doctor<'a>(world: &'a World, arguments: &str) -> Call<'a> {
    let binary = install(world);
    // The address is a number, because the addresses of `localhost` differ from machine to machine.
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
fn doctor_without_findings_does_no_exchange_and_writes_nothing() {
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
fn online_does_one_exchange_whose_token_is_cached() {
    let world = World::new();
    let before = world.call("token").env("ASTRA_API_URL", ip(&world)).run().quiet();
    let done = doctor(&world, "--online").run();
    assert!(finding(&done, "exchange").contains("brought a token"), "{done}");
    assert_eq!(world.astra.exchanges(), 2);
    assert!(!done.stdout().contains("qyJ") && !done.stdout().contains("secret0000"));
    let after = world.call("token").env("ASTRA_API_URL", ip(&world)).run().quiet();
    assert_ne!(before, after);
    assert_eq!(world.astra.exchanges(), 2);
    transcript!(done);
}

#[test]
fn online_shows_the_rejection_of_the_exchange_and_of_the_cached_failure() {
    let world = World::new();
    world.call("token").env("ASTRA_API_URL", ip(&world)).run().quiet();
    world.astra.set_answer(|_, _| Reply::error(401, "revoked"));
    let rejected = doctor(&world, "--online").run();
    assert_eq!(rejected.code(), 1);
    transcript!(finding(&rejected, "token"), finding(&rejected, "exchange"), @"
    > failure  token         `https://127.0.0.1:<port>` rejected the service account (401): revoked, since <time>; not asked again until <time>
    >                        hint: check in Astra's dashboard that the service account in `~/.config/astra-credential/service-account.json` still exists, and that the organisation's IP access list admits this machine; if its secret was rotated, store the new one with `astra-credential setup account`; to try again at once, run `astra-credential forget`
    > failure  exchange      `https://127.0.0.1:<port>` rejected the service account (401): revoked
    >                        hint: check in Astra's dashboard that the service account in `~/.config/astra-credential/service-account.json` still exists, and that the organisation's IP access list admits this machine; if its secret was rotated, store the new one with `astra-credential setup account`
    ");
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
fn a_folder_with_the_sticky_bit_is_no_finding() {
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
    chown(world.path(".config"), None, Some(12345)).unwrap();
    let others = doctor(&world, "").run();
    assert!(finding(&others, "account").contains("changed by others (mode 0775)"), "{others}");
}

#[test]
fn a_folder_of_another_user_is_named() {
    needs!(root);
    let world = World::new();
    chown(world.path(".config"), Some(12345), None).unwrap();
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
fn the_process_that_holds_the_lock_is_named_and_how_to_continue_it_if_it_is_stopped() {
    let world = World::new();
    world.astra.set_answer(|_, _| Reply::Hang);
    let call = world.call("token").env("ASTRA_API_URL", ip(&world));
    let holder = Process::that_asks(&world, &call);
    let id = holder.id();
    let held = doctor(&world, "").run();
    assert!(held.stdout().contains(&format!("held by process {id} (started by ")), "{held}");
    assert!(held.stdout().contains("which is asking Astra"), "{held}");
    holder.stop();
    let stopped = doctor(&world, "").run();
    assert!(stopped.stdout().contains(&format!("hint: run `kill -CONT {id}`")), "{stopped}");
    drop(holder);
    assert!(!doctor(&world, "").run().stdout().contains("held by"));
}

/// A port of 127.0.0.1 on which nothing listens.
fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn a_server_that_does_not_exist_is_a_failure() {
    let world = World::new();
    let done = doctor(&world, &format!("--api-url https://127.0.0.1:{}", closed_port())).run();
    assert_eq!(done.code(), 1, "{done}");
    transcript!(finding(&done, "server"), @"
    > failure  server        `https://127.0.0.1:<port>` cannot be reached: Connection refused (os error 111)
    >                        hint: check the network and `--api-url`; behind a proxy, set `HTTPS_PROXY`
    ");
}

#[test]
fn a_server_that_is_not_trusted_is_a_failure() {
    let world = World::new();
    let other = Astra::start(&Authority::new());
    let done = doctor(&world, &format!("--api-url https://127.0.0.1:{}", other.port())).run();
    assert_eq!(done.code(), 1, "{done}");
    transcript!(finding(&done, "server"), @"
    > failure  server        the certificate of `https://127.0.0.1:<port>` is not trusted: no trusted certificate authority has signed it: the one that has is called `throw-away test authority` like one that is trusted, but has another key; trusted are those in `~/ca.pem`
    >                        hint: put the certificate of the authority that issued it into a PEM file and name that with `--ca-file FILE` or `SSL_CERT_FILE`; where a gateway inspects TLS, the authority is your company's
    ");
}

/// The URL of a host that no resolver is asked for, because a label of a name has at most 63 characters.
fn unknown_host() -> String {
    format!("{}.example", "x".repeat(64))
}

#[test]
fn a_server_whose_name_is_unknown_is_a_failure() {
    let world = World::new();
    let done = doctor(&world, &format!("--api-url https://{}", unknown_host())).run();
    assert_eq!(done.code(), 1, "{done}");
    assert!(finding(&done, "name").starts_with("> failure"), "{done}");
}

#[test]
fn a_proxy_that_does_not_exist_is_named_without_its_password() {
    let world = World::new();
    let url = format!("http://me:password@127.0.0.1:{}", closed_port());
    let done = doctor(&world, "").env("HTTPS_PROXY", url).run();
    assert_eq!(done.code(), 1, "{done}");
    assert!(!done.stdout().contains("password"));
    transcript!(finding(&done, "proxy"), finding(&done, "server"), @"
    > ok       proxy         `127.0.0.1:<port>`
    > failure  server        `https://127.0.0.1:<port>` cannot be reached through the proxy `127.0.0.1:<port>`: Connection refused (os error 111)
    >                        hint: check the proxy in `HTTPS_PROXY` or `ALL_PROXY`, or name the host in `NO_PROXY`
    ");
}

/// A server that accepts no connection, and its URL.
fn silent_server() -> (TcpListener, String) {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", silent.local_addr().unwrap());
    (silent, url)
}

#[test]
fn a_server_that_stays_silent_is_given_up_at_the_deadline() {
    let world = World::new();
    let (_silent, url) = silent_server();
    let start = Instant::now();
    let done = doctor(&world, &format!("--api-url {url} --timeout 1")).run();
    assert_eq!(done.code(), 1);
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}

/// All accounts share the time-out, and a silent server does not take the time of another account.
#[test]
fn silent_servers_of_several_accounts_are_given_up_at_one_deadline() {
    let world = World::new();
    let (_silent, silent) = silent_server();
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

/// Writes a script to a new folder, and returns its path.
fn program(world: &World, folder: &str, name: &str, script: &str) -> PathBuf {
    fs::create_dir_all(world.path(folder)).unwrap();
    let path = world.write(&format!("{folder}/{name}"), format!("#!/bin/sh\n{script}\n"));
    set_mode(&path, 0o700);
    path
}

#[test]
fn another_version_on_path_is_named_and_one_that_hangs_is_killed() {
    let world = World::new();
    program(&world, "old", "astra-credential", "echo astra-credential 0.0.9");
    program(&world, "stuck", "astra-credential", "echo $$ > ~/stuck/id; exec sleep 60");
    fs::create_dir(world.path("again")).unwrap();
    let other = world.path("old/astra-credential");
    symlink(other, world.path("again/astra-credential")).unwrap();
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
    world.write(".gitconfig", GIT_CONFIG);
    let hosts = "cache.example.com,registry.example.com";
    let doctor = |world| doctor(world, "").env("ASTRA_CREDENTIAL_HOSTS", hosts);
    let unlinked = doctor(&world).run();
    let links = ["git-credential-astra", "bazel-credential-astra", "docker-credential-astra"];
    install_links(&world, &links);
    let plugins = world.path(".terraform.d/plugins");
    fs::create_dir_all(&plugins).unwrap();
    symlink(install(&world), plugins.join("terraform-credentials-astra")).unwrap();
    world.write(".kube/config", user("astra-credential"));
    let linked = doctor(&world).run();
    assert_eq!([unlinked.code(), linked.code()], [1, 0], "{unlinked}");
    assert!(!linked.stdout().contains("warning"), "{linked}");
    transcript!(unlinked, linked);
}

#[test]
fn kubectls_command_is_found_by_name_by_path_and_from_the_folder_of_the_kubeconfig() {
    let world = World::new();
    fs::create_dir_all(world.path(".kube")).unwrap();
    let kubectl = |command: &str| {
        let user = format!("users:\n- user:\n    exec:\n      command: {command}\n");
        world.write(".kube/config", user);
        doctor(&world, "")
    };
    let by_name = finding(&kubectl("astra-credential").run(), "kubectl");
    let path = install(&world).display().to_string();
    assert_eq!(finding(&kubectl(&path).run(), "kubectl"), by_name);
    assert_eq!(finding(&kubectl(&path).without("PATH").run(), "kubectl"), by_name);
    assert_eq!(finding(&kubectl("../bin/astra-credential").run(), "kubectl"), by_name);
    transcript!(by_name, @"> ok       kubectl       configured in `~/.kube/config`, and finds this binary and the account `default`");
}

#[test]
fn another_program_under_the_name_of_a_link_is_a_failure() {
    needs!("git");
    let world = World::new();
    world.write(".gitconfig", GIT_CONFIG);
    program(&world, "bin", "git-credential-astra", "exit 1");
    let done = doctor(&world, "").run();
    assert_eq!(done.code(), 1);
    transcript!(finding(&done, "git"), @"
    > failure  git           configured in `credential.https://git.example.com.helper` for `git.example.com`, but finds `~/bin/git-credential-astra`
    >                        hint: run `ln -sf ~/bin/astra-credential ~/bin/git-credential-astra`
    ");
}

#[test]
fn a_host_that_is_bound_to_no_account_is_a_failure() {
    let world = World::new();
    fs::create_dir_all(world.path(".docker")).unwrap();
    let config = r#"{"credHelpers":{"a.example.com":"astra","b.example.com":"astra","c":"other"}}"#;
    world.write(".docker/config.json", config);
    world.write(".bazelrc", "build --credential_helper 'b.example.com=bazel-credential-astra'\n");
    install_links(&world, &["bazel-credential-astra", "docker-credential-astra"]);
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
    let accounts = r#"{"accounts": {"prod": {"hosts": ["prod.example.com"]}, "open": {"hosts": ["open.example.com"]}}}"#;
    world.write(".config/astra-credential/config.json", accounts);
    world.write(".config/astra-credential/open.json", world.astra.account_json());
    set_mode(&world.path(".config/astra-credential/open.json"), 0o644);
    let binary = install(&world).display().to_string();
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

/// A helper for all hosts.
const STORE: &str = "[credential]\n\thelper = store\n";

/// Binds two hosts, and returns git's configuration for both. For the second it names no other helper.
fn bind_for_git(world: &World) -> String {
    let hosts = r#"["git.example.com", "other.example.com"]"#;
    let bound = format!(r#"{{"accounts": {{"default": {{"hosts": {hosts}}}}}}}"#);
    world.write(".config/astra-credential/config.json", bound);
    let binary = install(world).display().to_string();
    format!(
        "[credential \"https://git.example.com\"]\n\thelper = {binary} git\n\
         [credential \"https://other.example.com\"]\n\thelper =\n\thelper = {binary} git\n"
    )
}

#[test]
fn a_helper_that_git_runs_after_this_one_is_no_finding() {
    needs!("git");
    let world = World::new();
    let ours = bind_for_git(&world);
    world.write(".gitconfig", ours + STORE);
    let done = doctor(&world, "").run();
    assert!(done.stdout().contains("finds this binary"), "{done}");
    assert!(!done.stdout().contains("asked before"), "{done}");
}

#[test]
fn a_helper_that_git_runs_before_this_one_is_named_with_commands_that_help() {
    needs!("git");
    let world = World::new();
    let ours = bind_for_git(&world);
    world.write(".gitconfig", STORE.to_owned() + &ours);
    let before = doctor(&world, "").run();
    assert_eq!(before.code(), 0, "{before}");
    let shown = finding(&before, "git");
    run_hint(&world, &shown, "hint: run");
    run_hint(&world, &shown, "then");
    let after = doctor(&world, "").run();
    assert!(!after.stdout().contains("asked before"), "{after}");
    transcript!(shown, @"
    > warning  git           configured in `credential.https://git.example.com.helper` for `git.example.com`, but `store` of `credential.helper` is asked before
    >                        hint: run `git config --global --replace-all credential.https://git.example.com.helper ''`, then `git config --global --add credential.https://git.example.com.helper '~/bin/astra-credential git'`: the empty helper keeps out those before it
    ");
}

#[test]
fn a_helper_is_found_however_it_is_written() {
    needs!("git");
    let world = World::new();
    install_links(&world, &["git-credential-astra"]);
    let binary = install(&world).display().to_string();
    let link = world.path("bin/git-credential-astra").display().to_string();
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
fn the_files_in_terraforms_folder_are_read_unless_its_variable_names_a_file() {
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
}

#[test]
fn the_bazelrc_of_the_workspace_is_read() {
    let world = World::new();
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

/// A kubeconfig in each form of YAML, whose user has these further arguments.
fn kubeconfigs(arguments: &str) -> [String; 4] {
    let user = |exec: String| format!("{{users: [{{name: a, user: {{exec: {{{exec}}}}}}}]}}");
    let json = user(format!(r#""command":"astra-credential","args":["kubernetes",{arguments}]"#));
    [
        json.replace("users", "\"users\"")
            .replace("name: a, user:", "\"name\":\"a\",\"user\":")
            .replace("exec:", "\"exec\":"),
        user(format!("command: astra-credential, args: [kubernetes, {arguments}]")),
        format!(
            "users:\n- name: a\n  user:\n    exec:\n      command: astra-credential\n      \
             args: [kubernetes, {arguments}]\n"
        ),
        format!(
            "users:\n- name: a\n  user:\n    exec: &exec\n      args:\n      - kubernetes\n      \
             - {}\n      command: >-\n        astra-credential\n",
            arguments.replace(", ", "\n      - ")
        ),
    ]
}

#[test]
fn the_account_of_kubectls_user_is_checked_whatever_the_form_of_the_kubeconfig() {
    needs!("kubectl");
    let world = World::new();
    fs::create_dir_all(world.path(".kube")).unwrap();
    world.write(".config/astra-credential/prod.json", "{");
    for account in ["\"--account\", \"prod\"", "\"--account=prod\""] {
        for config in kubeconfigs(account) {
            world.write(".kube/config", &config);
            let found = finding(&doctor(&world, "").run(), "kubectl");
            assert!(found.starts_with("> failure "), "{config}: {found}");
            assert!(found.contains("`~/.config/astra-credential/prod.json`"), "{config}: {found}");
        }
    }
}

#[test]
fn no_account_of_kubectls_user_is_checked_if_its_arguments_name_a_file() {
    needs!("kubectl");
    let world = World::new();
    fs::create_dir_all(world.path(".kube")).unwrap();
    fs::remove_file(world.account_file()).unwrap();
    for config in kubeconfigs("\"--service-account=/moved\"") {
        world.write(".kube/config", &config);
        let found = finding(&doctor(&world, "").run(), "kubectl");
        assert!(found.starts_with("> ok ") && found.contains("configured in"), "{config}: {found}");
    }
}

/// The line of kubectl for a user with these variables, in an environment with that account.
fn kubectl_with(world: &World, variables: &[(&str, &str)], account: &str) -> String {
    let variables: Vec<_> = variables
        .iter()
        .map(|(name, value)| format!("      - name: {name}\n        value: {value}\n"))
        .collect();
    let env = if variables.is_empty() {
        " null\n".to_owned()
    } else {
        format!("\n{}", variables.concat())
    };
    fs::create_dir_all(world.path(".kube")).unwrap();
    world.write(
        ".kube/config",
        format!(
            "users:\n- name: a\n  user:\n    exec:\n      args:\n      - kubernetes\n      command: \
             astra-credential\n      env:{env}"
        ),
    );
    finding(&doctor(world, "").env("ASTRA_CREDENTIAL_ACCOUNT", account).run(), "kubectl")
}

#[test]
fn the_account_of_a_kubectl_user_is_that_of_its_variables_or_of_the_environment() {
    let world = World::new();
    world.write(".config/astra-credential/prod.json", "{");
    let prod = "`~/.config/astra-credential/prod.json`";
    let account = "ASTRA_CREDENTIAL_ACCOUNT";
    needs!("kubectl");
    for is_there in [true, false] {
        if !is_there {
            // Then the text of the file is searched.
            program(&world, "bin", "kubectl", "exit 1");
        }
        let by_user = kubectl_with(&world, &[(account, "prod")], "");
        assert!(by_user.contains("failure") && by_user.contains(prod), "{by_user}");
        let by_environment = kubectl_with(&world, &[], "prod");
        assert!(by_environment.contains("failure") && by_environment.contains(prod));
        let both = kubectl_with(&world, &[(account, "default")], "prod");
        assert!(both.contains("finds this binary and the account `default`"), "{both}");
        let neither = kubectl_with(&world, &[("OTHER", "prod")], "");
        assert!(neither.contains("finds this binary and the account `default`"), "{neither}");
        let file = kubectl_with(&world, &[("ASTRA_SERVICE_ACCOUNT", "/no/such")], "");
        assert!(file.contains("failure") && file.contains("`/no/such` does not exist"), "{file}");
        let own = world.write("own.json", world.astra.account_json()).display().to_string();
        let file = kubectl_with(&world, &[("ASTRA_SERVICE_ACCOUNT", &own)], "");
        assert!(file.contains("and the account in `~/own.json`"), "{file}");
    }
}

#[test]
fn a_configuration_file_that_is_a_link_to_nothing_is_a_failure() {
    let world = World::new();
    let config = world.path(".config/astra-credential/config.json");
    symlink("/nowhere/config.json", config).unwrap();
    let done = doctor(&world, "").run();
    let found = finding(&done, "config");
    assert!(found.contains("failure") && found.contains("leads nowhere"), "{done}");
    assert_eq!(done.code(), 1);
}

/// A kubeconfig whose user runs this program.
const KUBECONFIG: &str = "users:\n- user:\n    exec:\n      command: astra-credential\n";

#[test]
fn a_configuration_at_its_default_place_is_found() {
    let world = World::new();
    fs::create_dir(world.path(".kube")).unwrap();
    world.write(".kube/config", KUBECONFIG);
    fs::create_dir(world.path(".docker")).unwrap();
    world.write(".docker/config.json", r#"{"credsStore":"astra"}"#);
    world.write(".bazelrc", "build --credential_helper=bazel-credential-astra\n");
    let done = doctor(&world, "").run();
    for (tool, file) in
        [("kubectl", ".kube/config"), ("docker", ".docker/config.json"), ("bazel", ".bazelrc")]
    {
        assert!(finding(&done, tool).contains(&format!("configured in `~/{file}`")), "{done}");
    }
}

#[test]
fn a_configuration_of_5_mib_is_not_read() {
    let world = World::new();
    let large = world.write(".bazelrc", "build --credential_helper=bazel-credential-astra\n");
    fs::File::options().write(true).open(large).unwrap().set_len(5 * 1024 * 1024).unwrap();
    let done = doctor(&world, "").run();
    assert!(finding(&done, "bazel").contains("not configured"), "{done}");
}

#[test]
fn a_tools_variable_names_its_configuration() {
    let world = World::new();
    fs::create_dir(world.path(".kube")).unwrap();
    world.write(".kube/config", KUBECONFIG);
    fs::create_dir(world.path(".docker")).unwrap();
    world.write(".docker/config.json", r#"{"credsStore":"astra"}"#);
    fs::create_dir(world.path("docker")).unwrap();
    let other = world.write("other", "users: []\n").display().to_string();
    let call = doctor(&world, "").env("KUBECONFIG", &other);
    let elsewhere = call.env("DOCKER_CONFIG", world.path("docker")).run();
    for tool in ["kubectl", "docker"] {
        assert!(finding(&elsewhere, tool).contains("not configured"), "{elsewhere}");
    }
    let third = world.write("third", KUBECONFIG);
    let files = format!("{other}:~/none:{}", third.display());
    let several = doctor(&world, "").env("KUBECONFIG", files).run();
    assert!(finding(&several, "kubectl").contains("configured in `~/third`"), "{several}");
}

#[test]
fn a_link_to_nothing_counts_as_missing() {
    needs!("git");
    let world = World::new();
    world.write(".gitconfig", GIT_CONFIG);
    let link = install(&world).with_file_name("git-credential-astra");
    let missing = finding(&doctor(&world, "").run(), "git");
    symlink("/no/such/file", link).unwrap();
    assert_eq!(finding(&doctor(&world, "").run(), "git"), missing);
}

#[test]
fn the_hint_for_a_missing_link_makes_it() {
    needs!("git");
    let world = World::new();
    world.write(".gitconfig", GIT_CONFIG);
    let missing = finding(&doctor(&world, "").run(), "git");
    run_hint(&world, &missing, "hint: run");
    let found = finding(&doctor(&world, "").run(), "git");
    transcript!(missing, found, @"
    > failure  git           configured in `credential.https://git.example.com.helper` for `git.example.com`, but there is no `git-credential-astra` on `PATH`
    >                        hint: run `ln -sf ~/bin/astra-credential ~/bin/git-credential-astra`
    > ok       git           configured in `credential.https://git.example.com.helper` for `git.example.com`, and finds this binary
    ");
}

#[test]
fn a_lock_file_that_cannot_be_opened_is_a_failure() {
    let world = World::new();
    world.call("token").env("ASTRA_API_URL", ip(&world)).run().quiet();
    let lock = world.cached("lock").remove(0);
    fs::remove_file(&lock).unwrap();
    fs::create_dir(&lock).unwrap();
    let done = doctor(&world, "").run();
    assert_eq!(done.code(), 1);
    let name = lock.file_stem().unwrap().to_str().unwrap();
    transcript!(finding(&done, "lock").replace(name, "<identity>"), @"
    > failure  lock          `~/.cache/astra-credential/<identity>.lock` cannot be opened (Is a directory (os error 21)): calls go on without the cache
    >                        hint: remove `~/.cache/astra-credential/<identity>.lock`, which a call under `sudo` may have left
    ");
}

#[test]
fn a_cache_folder_of_another_user_is_a_failure() {
    needs!(root);
    let world = World::new();
    world.call("token").env("ASTRA_API_URL", ip(&world)).run().quiet();
    chown(world.cache_dir(), Some(12345), None).unwrap();
    let done = doctor(&world, "").run();
    assert_eq!(done.code(), 1);
    transcript!(finding(&done, "cache"), @"
    > failure  cache         `~/.cache/astra-credential` cannot be used: it belongs to another user (uid 12345); run this without `sudo`
    >                        hint: name a folder of your own with `--cache-dir DIR` or `ASTRA_CREDENTIAL_CACHE_DIR`
    ");
}

#[test]
fn a_hint_for_another_user_than_root_says_what_root_has_to_do() {
    use std::os::unix::process::CommandExt as _;
    needs!(root);
    let world = World::new();
    let call = doctor(&world, "");
    for path in [".", ".config", ".config/astra-credential", "ca.pem", "bin"] {
        chown(world.path(path), Some(12345), Some(12345)).unwrap();
    }
    chown(world.account_file(), Some(12345), Some(12345)).unwrap();
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
    install(&world);
    let done = world
        .call_as("chroot", &world.home.path().display().to_string())
        .env("PATH", "/bin:/usr/bin:/usr/sbin")
        .arg("/bin/astra-credential")
        .arg("doctor")
        .arg("--cache-dir=/cache")
        .env("SSL_CERT_FILE", "/ca.pem")
        .env("ASTRA_API_URL", ip(&world))
        .run();
    assert_eq!(all_findings(&done, "binary").len(), 1, "{done}");
    assert!(finding(&done, "binary").contains("where it is cannot be told"), "{done}");
}

/// A `doctor` to whose system calls `strace` does that.
fn with_injection<'a>(world: &'a World, injection: &str) -> Done<'a> {
    let call = world.call_as("strace", &format!("-o /dev/null -e inject={injection}"));
    let done = call.arg(install(world)).arg("doctor").env("ASTRA_API_URL", ip(world)).run();
    assert_eq!(done.code(), 0);
    done
}

#[test]
fn a_cache_on_another_machine_has_a_warning() {
    needs!("strace");
    let world = World::new();
    // The number of NFS in statfs(2).
    let done = with_injection(&world, "statfs:poke_exit=@arg2=6969000000000000");
    transcript!(finding(&done, "cache"), @"
    > warning  cache         `~/.cache/astra-credential` is on NFS, where locks are slow and may not hold
    >                        hint: name a folder on a local disk with `--cache-dir DIR`
    ");
}

#[test]
fn a_cache_on_a_file_system_that_cannot_lock_has_a_warning() {
    needs!("strace");
    let world = World::new();
    let done = with_injection(&world, "flock:error=ENOLCK");
    transcript!(finding(&done, "lock"), @"
    > warning  lock          cannot be taken (No locks available (os error 37)): calls at the same time do an exchange each
    >                        hint: name a folder on a local disk with `--cache-dir DIR`
    ");
}

#[test]
fn a_proxy_whose_name_is_unknown_has_a_hint_with_its_variable() {
    let world = World::new();
    let proxy = format!("http://{}:3128", unknown_host());
    let done = doctor(&world, "").env("HTTPS_PROXY", proxy).run();
    let found = finding(&done, "name");
    assert!(found.contains("hint: check the proxy in `HTTPS_PROXY`"), "{found}");
}

#[test]
fn a_proxy_without_a_port_has_port_80() {
    let world = World::new();
    let done = doctor(&world, "--timeout 1").env("HTTPS_PROXY", "http://127.0.0.1").run();
    assert!(finding(&done, "name").contains("`127.0.0.1:80` is 127.0.0.1"), "{done}");
}

#[test]
fn each_tools_set_up_by_setup_is_found() {
    needs!("git", "kubectl");
    let world = World::new();
    let binary = install(&world);
    for tool in ["kubectl", "git", "bazel", "docker", "terraform"] {
        let line = format!("setup {tool} --host tool.example.com");
        let done = world.call_as(&binary, &line).run();
        assert_eq!(done.code(), 0, "{done}");
        let found = finding(&doctor(&world, "").run(), tool);
        assert!(found.contains(", and finds this binary"), "{found}");
    }
}

#[test]
fn output_is_coloured_only_on_a_terminal_with_colours() {
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
