//! Late, stopped and concurrent processes: each gets a valid answer, and none removes the result of another.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::processes::{Process, at_once};
use crate::proxies::answering;
use crate::stand_in::Reply;
use crate::world::{
    Done, World, contents, finish, is_installed, needs, set_mode, skip, transcript,
};

fn is_success(answers: &[(i32, String, String)]) -> bool {
    answers
        .iter()
        .all(|(code, stdout, stderr)| *code == 0 && !stdout.is_empty() && stderr.is_empty())
}

fn git(world: &World, verb: &str, host: &str, token: &str) -> (i32, String, String) {
    let password = if token.is_empty() { String::new() } else { format!("password={token}\n") };
    let line = format!("git {verb} --host other.example --host localhost:{}", world.astra.port());
    let request = format!("protocol=https\nhost={host}\nusername=token\n{password}\n");
    let done = world.call(&line).input(request).run();
    (done.code(), done.stdout(), done.stderr())
}

#[test]
fn a_call_that_was_overtaken_prints_and_keeps_the_newer_token() {
    for reply in [None, Some(503), Some(401)] {
        let world = World::new();
        world.astra.set_answer(move |_, number| match (number, reply) {
            (1, None) => Some(Reply::Hang),
            (1, Some(status)) => {
                thread::sleep(Duration::from_millis(2500));
                Some(Reply::error(status, "late").with_header("Retry-After", "60"))
            }
            _ => None,
        });
        let loser = Process::that_asks(&world, &world.call("token --timeout 4"));
        loser.stop();
        let winner = world.call("token --timeout 3").run().quiet();
        loser.signal("-CONT");
        let (code, stdout, stderr) = loser.finish();
        assert_eq!((code, stdout, stderr.as_str()), (0, winner.clone(), ""), "{reply:?}");
        assert_eq!(world.call("token").run().quiet(), winner);
        assert_eq!(world.astra.exchanges(), 2);
    }
}

#[test]
fn sixty_waiters_behind_a_stopped_holder_cost_one_exchange_more() {
    let world = World::new();
    world.astra.set_answer(|_, number| {
        if number == 1 {
            return Some(Reply::Hang);
        }
        // Long enough for all waiting processes to give up on the lock.
        thread::sleep(Duration::from_secs(1));
        None
    });
    let holder = Process::that_asks(&world, &world.call("token"));
    holder.stop();
    let start = Instant::now();
    let answers = at_once(60, &world.call("token --timeout 6"));
    assert!(start.elapsed() < Duration::from_secs(7), "{:?}", start.elapsed());
    assert!(is_success(&answers), "{answers:?}");
    assert!(world.astra.exchanges() <= 4, "{}", world.astra.exchanges());
}

#[test]
fn waiters_behind_a_stopped_holder_share_a_passing_failure_too() {
    let world = World::new();
    world.astra.set_answer(|_, number| match number {
        1 => Reply::Hang,
        _ => {
            thread::sleep(Duration::from_secs(1));
            Reply::error(429, "slow down").with_header("Retry-After", "60")
        }
    });
    let holder = Process::that_asks(&world, &world.call("token"));
    holder.stop();
    let answers = at_once(20, &world.call("token --timeout 4"));
    assert!(answers.iter().all(|(code, ..)| *code == 5), "{answers:?}");
    assert!(world.astra.exchanges() <= 4, "{}", world.astra.exchanges());
}

#[test]
fn a_token_that_is_on_its_way_during_a_forget_is_not_cached() {
    for line in ["forget", "forget --all"] {
        for refresh in [false, true] {
            let world = World::new();
            let old = if refresh { world.token() } else { String::new() };
            world.astra.set_delay(Duration::from_millis(800));
            let asking = Process::that_asks(&world, &world.call("token --refresh"));
            world.call(line).run().quiet();
            let (code, on_its_way, _) = asking.finish();
            assert_eq!(code, 0, "the call itself gets the token");
            world.astra.set_delay(Duration::ZERO);
            let exchanges = world.astra.exchanges();
            let new = world.token();
            assert!(new != on_its_way.trim_end() && new != old, "{line}");
            assert_eq!(world.astra.exchanges(), exchanges + 1, "{line}");
        }
    }
}

#[test]
fn a_failure_brings_no_dropped_token_back_and_does_not_outlive_a_forget() {
    for line in ["forget", "forget --all", "git erase"] {
        let world = World::new();
        let old = world.token();
        world.astra.set_delay(Duration::from_millis(800));
        world.astra.set_answer(|_, _| Reply::error(503, "down").with_header("Retry-After", "60"));
        let asking = Process::that_asks(&world, &world.call("token --refresh"));
        if line == "git erase" {
            assert_eq!(git(&world, "erase", &world.host(), &old).0, 0);
        } else {
            world.call(line).run().quiet();
        }
        assert_eq!(asking.finish().0, 5);
        world.astra.clear_answer();
        world.astra.set_delay(Duration::ZERO);
        assert_ne!(world.call("token").run().quiet().trim_end(), old, "{line}");
    }
}

#[test]
fn a_refresh_is_satisfied_by_any_token_that_was_asked_for_after_it_began() {
    let world = World::new();
    world.token();
    world.astra.set_delay(Duration::from_secs(1));
    let answers = at_once(20, &world.call("token --refresh --timeout 6"));
    assert!(is_success(&answers), "{answers:?}");
    assert!(world.astra.exchanges() <= 1 + 3, "{}", world.astra.exchanges());
    world.astra.set_delay(Duration::ZERO);
    // Two refreshes one after the other get two tokens.
    let exchanges = world.astra.exchanges();
    let tokens = [(); 2].map(|()| world.call("token --refresh").run().quiet());
    assert_ne!(tokens[0], tokens[1]);
    assert_eq!(world.astra.exchanges(), exchanges + 2);
}

#[test]
fn a_time_out_is_cached_for_calls_without_more_time_only() {
    let world = World::new();
    world.astra.set_delay(Duration::from_secs(1));
    world.call("token --timeout 0.4").run().failure(5);
    let same = world.call("token --timeout 0.4").run().failure(5);
    assert!(same.contains("not asked again"), "{same}");
    assert_eq!(world.astra.exchanges(), 1);
    world.call("token --timeout 20").run().quiet();
    assert_eq!(world.astra.exchanges(), 2);
}

#[test]
fn a_call_without_any_time_sends_no_request_and_caches_no_failure() {
    let world = World::new();
    world.call("token --timeout 1e-9").run().failure(5);
    assert_eq!(world.astra.connections(), 0);
    world.call("token").run().quiet();
    // A cached token needs no time.
    world.call("token --timeout 1e-9").run().quiet();
}

#[test]
fn forget_needs_no_lock_and_ignores_no_cache() {
    let world = World::new();
    let first = world.token();
    world.call("forget").env("ASTRA_CREDENTIAL_NO_CACHE", "1").run().quiet();
    let second = world.token();
    assert_ne!(second, first);
    world.call("forget --no-cache").run().quiet();
    assert_ne!(world.token(), second);
    world.astra.set_answer(|_, _| Reply::Hang);
    let holder = Process::that_asks(&world, &world.call("token --refresh"));
    holder.stop();
    let start = Instant::now();
    for line in ["forget --timeout 2", "forget --all --timeout 2"] {
        world.call(line).run().quiet();
    }
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
fn forget_all_during_refreshes_fails_no_call() {
    let world = World::new();
    world.token();
    let (refresh, forget) = (world.call("token --refresh"), world.call("forget --all"));
    for _ in 0..20 {
        let children = [&refresh, &forget, &refresh, &forget].map(|call| call.start());
        for (code, _, stderr) in children.map(finish) {
            assert_eq!((code, stderr.as_str()), (0, ""));
        }
    }
    let is_left = |path: &Path| path.extension().is_some_and(|kind| kind == "tmp");
    assert!(!contents(&world.cache_dir()).iter().any(|(path, _)| is_left(path)));
}

#[test]
fn a_folder_in_an_entrys_place_does_not_keep_other_tokens_from_being_forgotten() {
    let world = World::new();
    let token = world.token();
    for digit in ["0", "f"] {
        let folder = world.cache_dir().join(format!("{}.entry", digit.repeat(32)));
        fs::create_dir_all(folder.join("something")).unwrap();
    }
    let young = world.cache_dir().join("last.failure.0123456789abcdef.tmp");
    fs::write(&young, "x").unwrap();
    world.call("forget --all").run().quiet();
    assert!(young.exists());
    assert_ne!(world.token(), token);
}

#[test]
fn a_lock_file_that_was_removed_is_taken_anew() {
    let world = World::new();
    world.astra.set_delay(Duration::from_secs(2));
    let holder = Process::that_asks(&world, &world.call("token"));
    let waiting: Vec<_> = (0..3).map(|_| world.call("token").start()).collect();
    thread::sleep(Duration::from_millis(300));
    fs::remove_file(world.cached("lock").remove(0)).unwrap();
    let answers = at_once(3, &world.call("token"));
    assert!(is_success(&answers), "{answers:?}");
    assert!(is_success(&waiting.into_iter().map(finish).collect::<Vec<_>>()));
    assert_eq!(holder.finish().0, 0);
    assert!(world.astra.most_in_flight() <= 2, "{}", world.astra.most_in_flight());
}

/// A new file system, whose times are whole seconds.
struct Coarse(std::path::PathBuf);

impl Coarse {
    /// Returns `None`, and announces that, if it cannot be mounted.
    fn new(world: &World) -> Option<Self> {
        if !is_installed("mkfs.ext4") {
            return None;
        }
        let (image, path) = (world.path("image"), world.path("coarse"));
        fs::create_dir(&path).unwrap();
        fs::File::create(&image).unwrap().set_len(4 << 20).unwrap();
        let run = |program: &str, arguments: &[&str], last: &Path| {
            let mut command = Command::new(program);
            command.args(arguments).arg(&image).arg(last).output().is_ok_and(|o| o.status.success())
        };
        // An inode of 128 bytes has no room for parts of a second.
        let format = ["-q", "-F", "-I", "128", "-E", "root_owner=0:0"];
        let formatted = Command::new("mkfs.ext4").args(format).arg(&image).output();
        let is_formatted = formatted.is_ok_and(|output| output.status.success());
        if !is_formatted || !run("mount", &["-o", "loop"], &path) {
            skip("a file system cannot be made and mounted here");
            return None;
        }
        Some(Self(path))
    }
}

impl Drop for Coarse {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_holder_is_waited_for_where_times_are_whole_seconds() {
    let world = World::new();
    let Some(disk) = Coarse::new(&world) else {
        return;
    };
    world.astra.set_delay(Duration::from_millis(1800));
    let call = world.call("token --timeout 2.6 --cache-dir").arg(disk.0.join("cache"));
    let answers = at_once(8, &call);
    assert!(is_success(&answers), "{answers:?}");
    assert_eq!(world.astra.exchanges(), 1);
}

#[test]
fn all_old_files_are_deleted_in_the_end() {
    let world = World::new();
    world.token();
    let name = |number: usize, extension: &str| {
        world.cache_dir().join(format!("{number:032x}.{extension}"))
    };
    let write = |path: &Path, age: u64| {
        fs::write(path, "x").unwrap();
        let then = SystemTime::now() - Duration::from_secs(age);
        fs::File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
    };
    const DAY: u64 = 24 * 3600;
    for number in 0..3000 {
        write(&name(number, "entry"), 29 * DAY);
    }
    let old =
        [("entry", 31 * DAY), ("lock", 31 * DAY), ("2.lock", 31 * DAY), ("failure", 31 * DAY)];
    let temporary = [("0123456789abcdef.tmp", 7200), ("failure.0123456789abcdef.tmp", 7200)];
    for (extension, age) in old.into_iter().chain(temporary) {
        for number in 5000..5100 {
            write(&name(number, extension), age);
        }
    }
    let is_left = || {
        (5000..5100).any(|number| {
            old.iter().chain(&temporary).any(|(extension, _)| name(number, extension).exists())
        })
    };
    for _ in 0..20 {
        if !is_left() {
            break;
        }
        world.call("token --refresh").run().quiet();
    }
    assert!(!is_left());
    assert!((0..3000).all(|number| name(number, "entry").exists()));
}

#[test]
fn another_proxy_password_is_another_route_and_is_neither_shown_nor_stored() {
    let world = World::new();
    let answer = "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n";
    let (port, count) = answering(answer);
    let call = |line: &str, password: &str| {
        let proxy = format!("http://me:{password}@127.0.0.1:{port}");
        world.call(line).env("HTTPS_PROXY", proxy).run()
    };
    call("token", "pass-word-1").failure(5);
    let after_first = count.load(Ordering::SeqCst);
    let same = call("token", "pass-word-1").failure(5);
    assert!(same.contains("not asked again"), "{same}");
    assert_eq!(count.load(Ordering::SeqCst), after_first);
    let other = call("token", "pass-word-2").failure(5);
    assert!(!other.contains("not asked again"), "{other}");
    assert!(count.load(Ordering::SeqCst) > after_first);
    let shown = call("status --json", "pass-word-2").stdout() + &same + &other;
    assert!(!shown.contains("pass-word"), "{shown}");
    for (path, bytes) in contents(&world.cache_dir()) {
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("pass-word"), "{}", path.display());
    }
}

#[test]
fn a_host_that_refuses_costs_two_exchanges_and_then_an_error_with_the_reason() {
    let world = World::new();
    let host = world.host();
    let token_in = |answer: &str| {
        let line = answer.lines().find_map(|line| line.strip_prefix("password="));
        line.unwrap_or_default().to_owned()
    };
    let mut refused = None;
    for round in 0..10 {
        let (code, stdout, stderr) = git(&world, "get", &host, "");
        if code != 0 {
            assert_eq!(round, 2, "{stderr}");
            refused = Some((code, stderr));
            break;
        }
        assert_eq!(git(&world, "erase", &host, &token_in(&stdout)).0, 0);
    }
    let (code, stderr) = refused.expect("a refusal");
    assert_eq!(code, 4);
    assert!(stderr.contains(&format!("`{host}` refuses the tokens that Astra issues")), "{stderr}");
    assert_eq!(world.astra.exchanges(), 2);
    for _ in 0..3 {
        assert_eq!(git(&world, "get", &host, "").0, 4);
    }
    assert_eq!(world.astra.exchanges(), 2);
    let status = world.call("status").run().stdout();
    transcript!(status.lines().find(|line| line.starts_with("refused by")).expect("a row of it"), @"refused by    localhost:<port>, <time> (<n> ago); it gets no token until <time> (in <n>)");
    // The refusal does not apply to another host, or to a call without a host.
    assert_eq!(git(&world, "get", "other.example", "").0, 0);
    assert_eq!(world.astra.exchanges(), 3);
    world.token();
    assert_eq!(git(&world, "get", &host, "").0, 4);
    // `forget` deletes the refusal too.
    world.call("forget").run().quiet();
    assert_eq!(git(&world, "get", &host, "").0, 0);
    assert_eq!(world.astra.exchanges(), 4);
}

#[test]
fn an_erase_without_a_name_counts_as_one_of_the_cached_token() {
    let world = World::new();
    let docker = |verb: &str| world.call(&format!("docker {verb}")).input(world.host()).run();
    let mut served = 0;
    for _ in 0..10 {
        let done = docker("get");
        if done.code() != 0 {
            assert!(done.stdout().contains("refuses the tokens"), "{done}");
            break;
        }
        served += 1;
        docker("erase").quiet();
    }
    assert_eq!((served, world.astra.exchanges()), (2, 2));
}

#[test]
fn a_late_erase_of_an_old_token_blocks_no_host() {
    let world = World::new();
    let host = world.host();
    let first = world.token();
    for _ in 0..5 {
        assert_eq!(git(&world, "erase", &host, &first).0, 0);
    }
    assert_eq!(git(&world, "get", &host, "").0, 0);
    for _ in 0..5 {
        assert_eq!(git(&world, "erase", &host, &first).0, 0);
    }
    assert_eq!(git(&world, "get", &host, "").0, 0);
    assert_eq!(world.astra.exchanges(), 2);
}

/// A file system that shows every file as open to everybody, as WSL's drives and CIFS do.
struct Modeless(std::path::PathBuf);

impl Modeless {
    /// Returns `None`, and announces that, if it cannot be mounted.
    fn new(world: &World, chmod: &str) -> Option<Self> {
        if !is_installed("bindfs") {
            return None;
        }
        let (below, path) = (world.path("below"), world.path("modeless"));
        fs::create_dir(&below).unwrap();
        fs::create_dir(&path).unwrap();
        let mut command = Command::new("bindfs");
        command.args(["--no-allow-other", "-p", "0777", chmod]).arg(&below).arg(&path);
        if !command.output().unwrap().status.success() {
            skip("mounting is not allowed here");
            return None;
        }
        Some(Self(path))
    }
}

impl Drop for Modeless {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_file_system_without_modes_keeps_a_cache() {
    for chmod in ["--chmod-ignore", "--chmod-deny"] {
        let world = World::new();
        let Some(disk) = Modeless::new(&world, chmod) else {
            return;
        };
        let call =
            |line: &str| world.call(line).env("ASTRA_CREDENTIAL_CACHE_DIR", disk.0.join("a/b"));
        world.astra.set_delay(Duration::from_millis(300));
        let answers = at_once(20, &call("token"));
        assert!(is_success(&answers), "{answers:?}");
        assert_eq!(world.astra.exchanges(), 1, "{chmod}");
        // This umask removes all permissions, which the file system shows all the same.
        let masked = world.call_as("/bin/sh", "-c").arg("umask 777; exec \"$0\" token --refresh");
        let masked = masked.arg(crate::world::BINARY);
        let masked = masked.env("ASTRA_CREDENTIAL_CACHE_DIR", disk.0.join("a/b"));
        let token = masked.run().quiet();
        assert_eq!(call("token").run().quiet(), token);
        call("forget").run().quiet();
        assert_ne!(call("token").run().quiet(), token);
        assert_eq!(world.astra.exchanges(), 3, "{chmod}");
        let doctor = call("doctor").run().stdout();
        let cache = doctor.lines().find(|line| line.contains(" cache ")).unwrap();
        assert!(cache.starts_with("ok ") && cache.contains("no permissions"), "{doctor}");
        assert!(!doctor.contains("chmod"), "{doctor}");
    }
}

#[test]
fn an_entry_of_any_mode_is_read_if_its_seal_is_right() {
    let world = World::new();
    let token = world.token();
    // On a file system without modes the folder and its files are open to all users.
    for (folder, file) in [(0o777, 0o777), (0o755, 0o755), (0o755, 0o644)] {
        set_mode(&world.cache_dir(), folder);
        set_mode(&world.entry(), file);
        assert_eq!(world.token(), token);
    }
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(world.cache_dir(), Some(12345), None).unwrap();
        std::os::unix::fs::chown(world.entry(), Some(12345), None).unwrap();
        assert_eq!(world.token(), token);
        std::os::unix::fs::chown(world.entry(), Some(12346), None).unwrap();
        assert_ne!(world.call("token").run().stdout().trim_end(), token);
    }
}

#[test]
fn root_writes_nothing_into_the_home_of_another_user() {
    needs!(root);
    let give_away = |path: &Path| std::os::unix::fs::chown(path, Some(12345), Some(12345)).unwrap();
    let world = World::new();
    give_away(world.home.path());
    let run = |line: &str| {
        let call = world.call(line).env("ASTRA_CREDENTIAL_ALLOW_EXPOSED_FILE", "1");
        call.run()
    };
    let has_warning = |done: &Done<'_>| {
        assert_eq!((done.code(), done.stderr().lines().count()), (0, 1), "{done}");
        assert!(done.stderr().contains("run this without `sudo`"), "{done}");
        assert_eq!(done.stdout().trim_end(), world.astra.last_token().unwrap());
    };
    has_warning(&run("token"));
    assert!(!world.path(".cache").exists());
    for path in [world.path(".cache"), world.cache_dir()] {
        fs::create_dir(&path).unwrap();
        give_away(&path);
    }
    has_warning(&run("token"));
    world.astra.set_answer(|_, _| Reply::error(401, "no"));
    run("token").code();
    run("token --timeout soon").failure(2);
    run("forget").failure(1);
    run("forget --all").failure(1);
    assert_eq!(contents(&world.cache_dir()).len(), 0);
}
