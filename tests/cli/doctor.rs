//! `doctor`: what can be wrong is found and named, and finding it costs nothing.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::stand_in::{Astra, Authority, Reply};
use crate::world::{BINARY, Call, Done, World, contents, is_installed, set_mode, transcript};

/// A call of a copy in the home's `bin`, with that folder and the system's on `PATH`.
fn doctor<'a>(world: &'a World, arguments: &str) -> Call<'a> {
    let folder = world.path("bin");
    fs::create_dir_all(&folder).unwrap();
    let binary = folder.join("astra-credential");
    if !binary.exists() {
        // By another process: what this one has open for writing cannot be started.
        assert!(Command::new("cp").arg(BINARY).arg(&binary).status().unwrap().success());
    }
    // By number: which addresses `localhost` has differs from machine to machine.
    let api = world.astra.url().replace("localhost", "127.0.0.1");
    world
        .call_as(binary, &format!("doctor {arguments}"))
        .env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", folder.display()))
        .env("ASTRA_API_URL", api)
}

/// The line of that check, and its hint.
fn finding(done: &Done<'_>, check: &str) -> String {
    let shown = done.to_string();
    let lines: Vec<_> = shown.lines().collect();
    let is_of = |line: &&str| line.split_whitespace().nth(2) == Some(check);
    let is_wrong = |line: &&str| is_of(line) && !line.contains(" ok ");
    let at = lines.iter().position(is_wrong).or_else(|| lines.iter().position(is_of));
    let at = at.expect("a line of that check");
    lines[at..lines.len().min(at + 2)].join("\n")
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
    transcript!(findings[0], findings[1], missing);
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
    // A folder in which only its owner may replace a file is as good as closed.
    set_mode(&world.path(".config"), 0o1777);
    let sticky = doctor(&world, "").run();
    assert!(finding(&sticky, "account").contains(" ok "), "{sticky}");
    transcript!(done);
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
    transcript!(finding(&unusable, "cache"), finding(&off, "cache"), finding(&homeless, "cache"));
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
    );
    assert!(finding(&unknown, "name").starts_with("> failure"), "{unknown}");
}

#[test]
fn a_server_that_stays_silent_is_left_in_time() {
    let world = World::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let start = Instant::now();
    let api = format!("--api-url https://{} --timeout 1", silent.local_addr().unwrap());
    let done = doctor(&world, &api).run();
    assert_eq!(done.code(), 1);
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
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
    program(&world, "stuck", "astra-credential", "exec sleep 60");
    let path = ["bin", "old", "stuck"].map(|name| world.path(name).display().to_string());
    let start = Instant::now();
    let done = doctor(&world, "").env("PATH", path.join(":")).run();
    assert!(start.elapsed() < Duration::from_secs(15));
    assert_eq!(done.code(), 0);
    let lines: Vec<_> = done.stdout().lines().map(str::to_owned).collect();
    let of_binaries = lines.iter().filter(|line| line.contains("another, of version"));
    assert_eq!(of_binaries.count(), 2, "{done}");
}

#[test]
fn each_tools_configuration_is_found_and_a_missing_link_named() {
    if !is_installed("git") {
        return;
    }
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
    let unlinked = doctor(&world, "").run();
    let binary = world.path("bin/astra-credential");
    for link in ["git-credential-astra", "bazel-credential-astra", "docker-credential-astra"] {
        std::os::unix::fs::symlink(&binary, world.path("bin").join(link)).unwrap();
    }
    let plugins = world.path(".terraform.d/plugins");
    fs::create_dir_all(&plugins).unwrap();
    std::os::unix::fs::symlink(&binary, plugins.join("terraform-credentials-astra")).unwrap();
    world.write(".kube/config", user("astra-credential"));
    let linked = doctor(&world, "").run();
    world.write(".kube/config", user(&binary.display().to_string()));
    let by_path = doctor(&world, "").run();
    fs::remove_file(world.path("bin/git-credential-astra")).unwrap();
    program(&world, "bin", "git-credential-astra", "exit 1");
    let foreign = doctor(&world, "").run();
    for done in [&unlinked, &linked, &foreign] {
        assert_eq!(done.code(), 0, "{done}");
    }
    assert!(!linked.stdout().contains("warning"), "{linked}");
    transcript!(unlinked, linked, finding(&by_path, "kubectl"), finding(&foreign, "git"));
}

#[test]
fn what_setup_sets_up_is_found() {
    if !is_installed("git") || !is_installed("kubectl") {
        return;
    }
    let world = World::new();
    let binary = world.path("bin/astra-credential");
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", world.path("bin").display());
    doctor(&world, "").run().quiet();
    for tool in ["kubectl", "git", "bazel", "docker", "terraform"] {
        let line = format!("setup {tool} --host tool.example.com");
        let done = world.call_as(&binary, &line).env("PATH", &path).run();
        assert_eq!(done.code(), 0, "{done}");
        let found = finding(&doctor(&world, "").run(), tool);
        assert!(found.contains(", and finds this binary"), "{found}");
    }
}
