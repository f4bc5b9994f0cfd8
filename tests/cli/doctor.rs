//! `doctor`: the finding for each problem, and the cost of the checks.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{chown, symlink};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::processes::Process;
use crate::stand_in::{Astra, Authority, Reply};
use crate::world::{
    Call, Done, World, closed_port, contents, copy_binary, needs, set_mode, skip, transcript,
};

/// A copy of the binary in the home's `bin`, which is on `PATH`.
pub fn install(world: &World) -> PathBuf {
    let binary = world.path("bin/astra-credential");
    if !binary.exists() {
        fs::create_dir_all(world.path("bin")).unwrap();
        copy_binary(&binary);
    }
    binary
}

/// A call of the installed copy.
pub fn doctor<'a>(world: &'a World, arguments: &str) -> Call<'a> {
    let binary = install(world);
    // The address is a number, because the addresses of `localhost` differ from machine to machine.
    let api = world.astra.url().replace("localhost", "127.0.0.1");
    world.call_as(binary, &format!("doctor {arguments}")).env("ASTRA_API_URL", api)
}

/// The lines of a check with their hints, in the report's order.
pub fn all_findings(done: &Done<'_>, check: &str) -> Vec<String> {
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
pub fn finding(done: &Done<'_>, check: &str) -> String {
    let found = all_findings(done, check);
    let wrong = found.iter().find(|finding| !finding.starts_with("> ok "));
    wrong.or(found.first()).expect("a line of that check").clone()
}

/// All lines of a check as one text.
pub fn findings(done: &Done<'_>, check: &str) -> String {
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
    assert!(held.stdout().contains("which is requesting a token from Astra"), "{held}");
    holder.stop();
    let stopped = doctor(&world, "").run();
    assert!(stopped.stdout().contains(&format!("hint: run `kill -CONT {id}`")), "{stopped}");
    drop(holder);
    assert!(!doctor(&world, "").run().stdout().contains("held by"));
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
pub fn program(world: &World, folder: &str, name: &str, script: &str) -> PathBuf {
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
fn a_configuration_file_that_is_a_link_to_nothing_is_a_failure() {
    let world = World::new();
    let config = world.path(".config/astra-credential/config.json");
    symlink("/nowhere/config.json", config).unwrap();
    let done = doctor(&world, "").run();
    let found = finding(&done, "config");
    assert!(found.contains("failure") && found.contains("leads nowhere"), "{done}");
    assert_eq!(done.code(), 1);
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
        skip("needs root and a static binary, to run without other files");
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
