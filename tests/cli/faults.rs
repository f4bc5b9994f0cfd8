//! Faults of the system: the process is killed at each system call, each call fails, disks are full, streams
//! are closed.
//!
//! `strace` injects the faults. A first run without faults lists the system calls of the main thread. Each is
//! then found again by its name and its number.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::processes::{PATIENCE, Process, at_once};
use crate::stand_in::Reply;
use crate::world::{BINARY, Done, World, contents, finish, is_ci, mode, needs, set_mode, skip};

/// The call into which faults are injected. A token of ten hours is enough for it, and one of an hour is not.
const CALL: &str = "token --min-valid 2h --timeout 10";

/// Errors that a file system may return from any call, with Linux's numbers.
const ERRORS: [(&str, i32); 11] = [
    ("ENOSPC", 28),
    ("EROFS", 30),
    ("EACCES", 13),
    ("EIO", 5),
    ("EDQUOT", 122),
    ("ENOLCK", 37),
    ("EOPNOTSUPP", 95),
    ("EINTR", 4),
    ("EMFILE", 24),
    ("ENOMEM", 12),
    ("EPERM", 1),
];

/// The time within which a call on loopback ends, unless it waits for an event that does not come.
const AT_ONCE: Duration = Duration::from_secs(5);

/// The state of the cache that [`CALL`] finds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// The cache folder does not exist.
    Cold,
    /// The token is not valid for long enough.
    Stale,
}

impl State {
    fn arrange(self, world: &World) {
        let cache = world.path(".cache");
        if cache.exists() {
            fs::remove_dir_all(cache).unwrap();
        }
        if self == Self::Stale {
            world.astra.set_lifetime(3600);
            world.token();
            world.astra.set_lifetime(36_000);
        }
    }
}

/// A system call of the main thread.
struct Site {
    name: String,
    /// The number of calls of that name so far, including this one.
    number: usize,
    /// The line of `strace`.
    shown: String,
}

/// Runs `line` under `strace` with these options, and returns the trace too.
fn traced<'a>(world: &'a World, options: &str, line: &str) -> (Done<'a>, String) {
    let trace = world.path("trace");
    let call = world.call_as("/usr/bin/env", "strace -y -o").arg(&trace);
    let words = options.split_whitespace().chain([BINARY]).chain(line.split_whitespace());
    let done = words.fold(call, |call, word| call.arg(word)).run();
    (done, String::from_utf8_lossy(&fs::read(trace).unwrap()).into_owned())
}

/// The system calls of [`CALL`] in this state that `is_wanted` selects, in order.
fn sites(world: &World, state: State, is_wanted: impl Fn(&str) -> bool) -> Vec<Site> {
    state.arrange(world);
    let (done, trace) = traced(world, "", CALL);
    done.quiet();
    let mut counts: HashMap<&str, usize> = HashMap::new();
    let mut found = Vec::new();
    for line in trace.lines() {
        let Some((name, _)) = line.split_once('(') else {
            continue;
        };
        let number = counts.entry(name).and_modify(|count| *count += 1).or_insert(1);
        if is_wanted(line) {
            found.push(Site { name: name.to_owned(), number: *number, shown: line.to_owned() });
        }
    }
    let wanted: &[&str] = match state {
        State::Cold => &["mkdir", "open", "flock", "utimensat", "write", "rename", "getdents"],
        State::Stale => &["open", "read", "flock", "utimensat", "write", "rename", "getdents"],
    };
    for name in wanted {
        assert!(found.iter().any(|site| site.name.starts_with(name)), "no `{name}` in\n{trace}");
    }
    found
}

/// The system calls on the cache.
fn sites_of_the_cache(world: &World, state: State) -> Vec<Site> {
    sites(world, state, |line| is_of_the_cache(world, line))
}

fn is_of_the_cache(world: &World, line: &str) -> bool {
    let home = world.home.path().to_str().unwrap();
    line.contains(home) && ![".config", "ca.pem"].iter().any(|other| line.contains(other))
}

/// Runs [`CALL`] in `state`, and does `what` to it at `site`.
fn with_fault<'a>(
    world: &'a World,
    state: State,
    site: &Site,
    what: &str,
    line: &str,
) -> (Done<'a>, String) {
    state.arrange(world);
    let Site { name, number, .. } = site;
    let options = format!("-e trace={name} -e inject={name}:{what}:when={number}");
    traced(world, &options, line)
}

/// The same with an error, which has to hit a system call on the cache.
fn with_an_error<'a>(
    world: &'a World,
    state: State,
    site: &Site,
    error: &str,
    line: &str,
) -> Done<'a> {
    let (done, trace) = with_fault(world, state, site, &format!("error={error}"), line);
    let hit = trace.lines().find(|line| line.contains("(INJECTED)"));
    assert!(hit.is_some_and(|line| is_of_the_cache(world, line)), "{}: {trace}", site.shown);
    done
}

/// Asserts that the next call answers at once and without a message, that the one after is warm, and that all
/// files of the cache are private and whole. Returns the number of exchanges.
fn recovers(world: &World, what: &str) -> usize {
    let before = world.astra.exchanges();
    let start = Instant::now();
    let next = world.call(CALL).run();
    assert!(next.quiet().len() > 1000, "{what}: {next}");
    assert!(start.elapsed() < AT_ONCE, "{what}: {:?}", start.elapsed());
    let cost = world.astra.exchanges() - before;
    assert!(cost <= 1, "{what}: {cost} exchanges");
    let warm = world.call(CALL).run();
    assert_eq!(warm.quiet(), next.quiet(), "{what}");
    assert_eq!(world.astra.exchanges() - before, cost, "{what}: not warm");
    if cost == 0 {
        world.call("token --refresh").run().quiet();
    }
    is_tidy(world, what);
    cost
}

/// Asserts that the cache has one entry and its locks, which only this user can read, and nothing else.
fn is_tidy(world: &World, what: &str) {
    for folder in [world.path(".cache"), world.cache_dir()] {
        assert_eq!(mode(&folder), 0o700, "{what}: {}", folder.display());
    }
    let mut kinds = Vec::new();
    for (path, _) in contents(&world.path(".cache")) {
        assert_eq!(mode(&path), 0o600, "{what}: {}", path.display());
        kinds.push(path.extension().unwrap().to_owned());
    }
    kinds.sort();
    kinds.dedup();
    assert_eq!(kinds, ["entry", "lock"], "{what}");
}

/// Kills the program at each of its system calls on the cache and on the network, and checks the files.
fn killed_anywhere(state: State) {
    needs!(root, "strace");
    let world = World::new();
    let beyond = ["connect(", "sendto(", "recvfrom(", "clone", "write(1<", "exit_group("];
    let sites = sites(&world, state, |line| {
        is_of_the_cache(&world, line) || beyond.iter().any(|name| line.starts_with(name))
    });
    assert!(sites.len() > 25, "{}", sites.len());
    // The number of `recvfrom` calls depends on the network.
    for site in sites.iter().filter(|site| site.name != "recvfrom" || site.number == 1) {
        let (done, trace) = with_fault(&world, state, site, "signal=KILL", CALL);
        assert_eq!(done.output.status.signal(), Some(9), "{}: {trace}", site.shown);
        assert!(done.output.stdout.is_empty() || site.name == "exit_group", "{}", site.shown);
        // The files are private from the start.
        for (path, _) in contents(&world.path(".cache")) {
            assert_eq!(mode(&path), 0o600, "{}: {}", site.shown, path.display());
        }
        recovers(&world, &site.shown);
    }
}

#[test]
fn killed_at_any_call_with_an_empty_cache_nothing_is_torn() {
    killed_anywhere(State::Cold);
}

#[test]
fn killed_at_any_call_with_a_stale_cache_nothing_is_torn() {
    killed_anywhere(State::Stale);
}

#[test]
fn killed_before_the_new_entry_is_in_place_the_old_token_is_served() {
    needs!(root, "strace");
    let world = World::new();
    let sites = sites_of_the_cache(&world, State::Stale);
    let renamed = sites.iter().position(|site| site.name.starts_with("rename")).unwrap();
    for site in &sites[..=renamed] {
        let (done, _) = with_fault(&world, State::Stale, site, "signal=KILL", CALL);
        assert_eq!(done.output.status.signal(), Some(9));
        let before = world.astra.exchanges();
        world.token();
        assert_eq!(world.astra.exchanges(), before, "{}", site.shown);
    }
}

/// Lets each system call on the cache fail once with each error.
fn every_error(state: State) {
    needs!(root, "strace");
    let world = World::new();
    let mut lines = 0;
    for site in sites_of_the_cache(&world, state) {
        for (error, number) in ERRORS {
            let what = format!("{error} from {}", site.shown);
            let start = Instant::now();
            let done = with_an_error(&world, state, &site, error, CALL);
            prints_the_token(&world, &done, start, &what);
            lines += done.stderr().lines().count();
            let cost = recovers(&world, &what);
            let is_silent = done.output.stderr.is_empty();
            assert!(!is_silent || cost == 0, "{what}: not cached, and no warning");
            let is_named = done.stderr().contains(&format!("(os error {number})"));
            assert!(is_silent || is_named, "{what}: another error in the warning\n{done}");
        }
    }
    assert!(lines > 50, "only {lines} warnings");
}

/// Asserts that a call prints the token and at most one line on standard error.
fn prints_the_token(world: &World, done: &Done<'_>, start: Instant, what: &str) {
    assert!(start.elapsed() < AT_ONCE, "{what}: {:?}", start.elapsed());
    assert_eq!(done.output.status.code(), Some(0), "{what}: {done}");
    assert_eq!(done.stdout().trim_end(), world.astra.last_token().unwrap(), "{what}");
    assert!(done.stderr().lines().count() <= 1, "{what}: {done}");
}

#[test]
fn every_error_of_every_call_to_an_empty_cache_is_at_most_a_warning() {
    every_error(State::Cold);
}

#[test]
fn every_error_of_every_call_to_a_stale_cache_is_at_most_a_warning() {
    every_error(State::Stale);
}

#[test]
fn a_lasting_error_of_the_cache_is_at_most_a_warning() {
    needs!(root, "strace");
    let world = World::new();
    world.token();
    let calls = "?open,?openat,?statx,?fstat,?newfstatat,?mkdir,?mkdirat,?chmod,?fchmod,?fchmodat,\
                 ?flock,?utimensat,?read,?rename,?renameat,?renameat2,?getdents64,?unlink,\
                 ?unlinkat,?close";
    // EINTR would be repeated without end.
    let errors = ERRORS.map(|(error, _)| (calls, error));
    let errors = errors.into_iter().filter(|(_, error)| *error != "EINTR");
    let errors: Vec<_> = errors.chain(calls.split(',').map(|call| (call, "EIO"))).collect();
    let mut hits = 0;
    for path in [world.entry(), world.cached("lock").remove(0), world.cache_dir()] {
        let path = path.display();
        for state in [State::Cold, State::Stale] {
            for (calls, error) in &errors {
                let what = format!("{error} from {calls} of {path}, {state:?}");
                state.arrange(&world);
                let options =
                    format!("-f -P {path} -e trace={calls} -e inject={calls}:error={error}");
                let start = Instant::now();
                let (done, trace) = traced(&world, &options, CALL);
                hits += usize::from(trace.contains("(INJECTED)"));
                prints_the_token(&world, &done, start, &what);
                recovers(&world, &what);
            }
        }
    }
    assert!(hits > 80, "{hits}");
}

#[test]
fn an_outage_and_an_error_of_the_cache_together_lose_no_valid_token() {
    needs!(root, "strace");
    let world = World::new();
    for site in sites_of_the_cache(&world, State::Stale) {
        for error in ["EIO", "EACCES", "EINTR"] {
            let what = format!("{error} from {}", site.shown);
            world.astra.clear_answer();
            State::Stale.arrange(&world);
            let old = world.token();
            world.astra.set_answer(|_, _| Reply::error(500, "down"));
            let Site { name, number, .. } = &site;
            let options = format!("-e trace={name} -e inject={name}:error={error}:when={number}");
            let (done, trace) = traced(&world, &options, CALL);
            assert!(trace.contains("(INJECTED)"), "{what}: {trace}");
            assert_eq!(
                (done.output.status.code(), done.stdout().trim_end()),
                (Some(0), &*old),
                "{what}: {done}"
            );
            // One line about the old token, and one about the cache.
            assert!((1..=2).contains(&done.stderr().lines().count()), "{what}: {done}");
            // The old token is still cached.
            assert_eq!(world.token(), old, "{what}");
        }
    }
}

#[test]
fn an_interrupted_system_call_is_repeated() {
    needs!(root, "strace");
    let world = World::new();
    // The calls whose manual page lists EINTR.
    let interruptible = ["open", "openat", "read", "write", "flock", "close", "fcntl"];
    for state in [State::Cold, State::Stale] {
        for site in sites_of_the_cache(&world, state) {
            if interruptible.contains(&site.name.as_str()) {
                let done = with_an_error(&world, state, &site, "EINTR", CALL);
                assert!(done.quiet().len() > 1000, "{}", site.shown);
                assert_eq!(recovers(&world, &site.shown), 0, "{}", site.shown);
            }
        }
    }
}

#[test]
fn a_lost_write_is_a_miss_for_the_next_call() {
    needs!(root, "strace");
    let world = World::new();
    for state in [State::Cold, State::Stale] {
        for site in sites_of_the_cache(&world, state) {
            if site.name != "write" {
                continue;
            }
            for (claimed, lines) in [(0, 1), (1, 0), (100, 0)] {
                let (done, trace) =
                    with_fault(&world, state, &site, &format!("retval={claimed}"), CALL);
                assert!(trace.contains("(INJECTED)"), "{trace}");
                assert_eq!((done.code(), done.stderr().lines().count()), (0, lines), "{done}");
                assert_eq!(recovers(&world, &site.shown), 1, "{claimed} bytes");
            }
        }
    }
}

#[test]
fn a_file_system_that_cannot_lock_is_a_message_with_v_and_nothing_else() {
    needs!(root, "strace");
    let world = World::new();
    for error in ["ENOLCK", "EOPNOTSUPP", "ENOSYS"] {
        for state in [State::Cold, State::Stale] {
            for line in [CALL, &format!("{CALL} -v")] {
                state.arrange(&world);
                let options = format!("-f -e trace=flock -e inject=flock:error={error}");
                let (done, trace) = traced(&world, &options, line);
                assert!(trace.contains("(INJECTED)"), "{trace}");
                assert_eq!(done.output.status.code(), Some(0), "{done}");
                let says =
                    done.stderr().lines().filter(|line| line.contains("cannot lock")).count();
                assert_eq!(says, usize::from(line.ends_with("-v")), "{done}");
                assert!(line.ends_with("-v") || done.output.stderr.is_empty(), "{done}");
                assert_eq!(recovers(&world, error), 0, "{error}: not cached");
            }
        }
    }
}

#[test]
fn a_lock_that_cannot_be_taken_is_given_up_before_the_deadline() {
    needs!(root, "strace");
    let world = World::new();
    for error in ["EAGAIN", "EINTR"] {
        State::Cold.arrange(&world);
        let start = Instant::now();
        let options = format!("-e trace=flock -e inject=flock:error={error}");
        let (done, trace) = traced(&world, &options, "token --timeout 2");
        assert!(trace.contains("(INJECTED)"), "{trace}");
        assert!(done.quiet().len() > 1000, "{error}");
        assert!(start.elapsed() < Duration::from_secs(2), "{error}: {:?}", start.elapsed());
        assert_eq!(recovers(&world, error), 0, "{error}: not cached");
    }
}

#[test]
fn no_call_waits_for_the_disk() {
    needs!(root, "strace");
    let world = World::new();
    for state in [State::Cold, State::Stale] {
        state.arrange(&world);
        let syncs = "fsync,fdatasync,sync,syncfs,sync_file_range,msync";
        let options = format!("-f -e trace=?rename,?renameat,?renameat2,{syncs}");
        let (done, trace) = traced(&world, &options, CALL);
        done.quiet();
        assert!(trace.contains("rename") && !trace.contains("sync"), "{trace}");
    }
}

/// A container may have a limit of processes and threads.
#[test]
fn without_threads_there_is_no_panic() {
    needs!(root, "strace");
    let world = World::new();
    for number in ["1", "2", "1+"] {
        let options =
            format!("-e trace=clone,?clone3 -e inject=clone,?clone3:error=EAGAIN:when={number}");
        let (done, trace) = traced(&world, &options, "token --refresh");
        assert!(trace.contains("(INJECTED)"), "{trace}");
        assert!(!done.stderr().contains("panicked"), "{number}: {done}");
        assert!([Some(0), Some(5)].contains(&done.output.status.code()), "{number}: {done}");
    }
}

#[test]
fn a_call_during_a_write_reads_the_old_entry_whole() {
    needs!(root, "strace");
    let world = World::new();
    State::Stale.arrange(&world);
    let old = world.token();
    let exchanges = world.astra.exchanges();
    let options = "strace -f -o /dev/null -e trace=write,?rename,?renameat,?renameat2 -e \
                   inject=write,?rename,?renameat,?renameat2:delay_enter=400000:delay_exit=400000";
    let call = CALL
        .split(' ')
        .fold(world.call_as("/usr/bin/env", options).arg(BINARY), |call, word| call.arg(word));
    let mut writer = call.start();
    assert!(world.astra.wait_for_exchanges(exchanges + 1, PATIENCE));
    let patience = Instant::now() + PATIENCE;
    while world.cached("tmp").is_empty() && Instant::now() < patience {
        thread::sleep(Duration::from_millis(5));
    }
    let mut reads = 0;
    while !world.cached("tmp").is_empty() {
        let read = world.call("token").run();
        // The last read may be after the rename.
        assert!(read.quiet().trim_end() == old || world.cached("tmp").is_empty(), "{read}");
        reads += 1;
    }
    assert!(reads > 10, "{reads}");
    assert!(writer.try_wait().unwrap().is_none(), "it was not held back");
    let (code, new, _) = finish(writer);
    assert_eq!((code, world.token()), (0, new.trim_end().to_owned()));
    assert_eq!(world.astra.exchanges(), exchanges + 1);
    is_tidy(&world, "after reading");
}

/// A file system that is unmounted when it is dropped.
pub struct Mount(PathBuf);

impl Mount {
    /// Mounts an empty `tmpfs` in the home. Returns `None`, and announces that, if it is not allowed.
    pub fn new(world: &World, options: &str) -> Option<Self> {
        let path = world.path("mount");
        fs::create_dir_all(&path).unwrap();
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("mode=0700,{options}"), "none"])
            .arg(&path)
            .stderr(Stdio::null())
            .status();
        if !done.is_ok_and(|status| status.success()) {
            skip("mounting is not allowed here");
            return None;
        }
        Some(Self(path))
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        let done = Command::new("mount").args(["-o", &options]).arg(&self.0).status().unwrap();
        assert!(done.success(), "{options}");
    }

    /// A call with its cache on this disk.
    fn call<'a>(&self, world: &'a World, line: &str) -> Done<'a> {
        world.call(line).env("ASTRA_CREDENTIAL_CACHE_DIR", self.cache()).run()
    }

    pub fn cache(&self) -> PathBuf {
        self.0.join("cache")
    }

    /// Asserts that a call prints the token and one warning about the cache.
    fn prints_the_token_and_a_warning(&self, world: &World, line: &str) {
        let done = self.call(world, line);
        assert_eq!((done.code(), done.stderr().lines().count()), (0, 1), "{done}");
        assert!(done.stderr().contains("cannot use the cache"), "{done}");
        assert_eq!(done.stdout().trim_end(), world.astra.last_token().unwrap());
    }

    /// Fills the disk with a file, and returns its path.
    pub fn fill_up(&self) -> PathBuf {
        let path = self.0.join("filling");
        fs::write(&path, vec![0; 1 << 20]).unwrap_err();
        path
    }

    fn temporary_files(&self) -> usize {
        let is_temporary = |path: &Path| path.extension().is_some_and(|kind| kind == "tmp");
        contents(&self.cache()).iter().filter(|(path, _)| is_temporary(path)).count()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_a_warning_and_the_token_is_printed() {
    let world = World::new();
    let Some(disk) = Mount::new(&world, "size=16k") else {
        return;
    };
    let filling = disk.fill_up();
    disk.prints_the_token_and_a_warning(&world, "token");
    disk.prints_the_token_and_a_warning(&world, "token");
    assert_eq!((world.astra.exchanges(), disk.temporary_files()), (2, 0));
    fs::remove_file(filling).unwrap();
    let first = disk.call(&world, "token").quiet();
    assert_eq!(disk.call(&world, "token").quiet(), first);
}

#[test]
fn a_disk_that_fills_up_keeps_the_old_entry_whole() {
    let world = World::new();
    let Some(disk) = Mount::new(&world, "size=16k") else {
        return;
    };
    let first = disk.call(&world, "token").quiet();
    disk.fill_up();
    disk.prints_the_token_and_a_warning(&world, "token --refresh");
    assert_eq!(disk.call(&world, "token").quiet(), first);
    assert_eq!((world.astra.exchanges(), disk.temporary_files()), (2, 0));
}

#[test]
fn a_disk_without_inodes_is_a_warning_and_the_token_is_printed() {
    let world = World::new();
    // There is an inode for the root, one for the folder, and one for the lock.
    for inodes in [1, 2, 3] {
        let Some(disk) = Mount::new(&world, &format!("nr_inodes={inodes}")) else {
            return;
        };
        disk.prints_the_token_and_a_warning(&world, "token");
        disk.remount("nr_inodes=10");
        let first = disk.call(&world, "token").quiet();
        assert_eq!(disk.call(&world, "token").quiet(), first, "{inodes}");
        disk.remount("nr_inodes=4");
        disk.prints_the_token_and_a_warning(&world, "token --refresh");
        assert_eq!(disk.call(&world, "token").quiet(), first, "{inodes}");
        assert_eq!(disk.temporary_files(), 0);
    }
}

#[test]
fn a_read_only_disk_serves_its_token_without_a_warning() {
    let world = World::new();
    let Some(disk) = Mount::new(&world, "size=64k") else {
        return;
    };
    disk.remount("ro");
    disk.prints_the_token_and_a_warning(&world, "token");
    disk.remount("rw");
    let first = disk.call(&world, "token").quiet();
    disk.remount("ro");
    assert_eq!(disk.call(&world, "token").quiet(), first);
    disk.prints_the_token_and_a_warning(&world, "token --refresh");
    assert_eq!(disk.call(&world, "token").quiet(), first);
    assert_eq!(world.astra.exchanges(), 3);
}

/// A token that a server refuses must not be served until there is room again.
#[test]
fn without_room_for_a_new_entry_the_token_is_dropped_all_the_same() {
    let world = World::new();
    let Some(disk) = Mount::new(&world, "size=16k") else {
        return;
    };
    let host = world.git_request();
    for line in ["forget", "forget --all", "git erase"] {
        let first = disk.call(&world, "token").quiet();
        let filling = disk.fill_up();
        let call = world.call(line).env("ASTRA_CREDENTIAL_CACHE_DIR", disk.cache());
        assert_eq!(call.input(&*host).run().quiet(), "", "{line}");
        fs::remove_file(filling).unwrap();
        assert_ne!(disk.call(&world, "token").quiet(), first, "{line}");
        assert_eq!(disk.temporary_files(), 0, "{line}");
    }
}

/// A call with a limit on the size of files, in KiB, as a service manager sets it by `LimitFSIZE=`. A write
/// beyond the limit sends SIGXFSZ, which kills a process by default.
fn limited<'a>(world: &'a World, limit: u32, line: &str) -> Done<'a> {
    let script = format!("ulimit -f {limit}; exec \"$0\" {line}");
    world.call_as("/bin/bash", "-c").arg(script).arg(BINARY).run()
}

#[test]
fn a_limit_on_the_size_of_files_is_a_warning_and_the_token_is_printed() {
    let world = World::new();
    // An entry is larger than either.
    for limit in [0, 1] {
        let done = limited(&world, limit, "token");
        assert_eq!((done.code(), done.stderr().lines().count()), (0, 1), "{done}");
        assert!(done.stderr().contains("(os error 27)"), "{done}");
        assert_eq!(done.stdout().trim_end(), world.astra.last_token().unwrap());
        assert_eq!((world.cached("tmp").len(), world.cached("entry").len()), (0, 0));
    }
}

#[test]
fn a_limit_on_the_size_of_files_does_not_keep_forget_from_dropping_the_token() {
    let world = World::new();
    let first = world.token();
    limited(&world, 0, "forget").quiet();
    assert_ne!(world.token(), first);
}

#[test]
fn a_limit_on_the_size_of_files_that_the_answer_exceeds_is_a_failure() {
    let world = World::new();
    let line = format!("token > {}", world.path("answer").display());
    let done = limited(&world, 0, &line);
    assert!(done.failure(1).contains("standard output"), "{done}");
}

#[test]
fn a_limit_on_the_size_of_files_does_not_change_a_failure_that_cannot_be_recorded() {
    let world = World::new();
    world.token();
    world.write_account("{}");
    assert_eq!(limited(&world, 0, "token").code(), 3);
    assert_eq!(world.cached("tmp").len(), 0);
}

/// A call through a shell in a mount namespace that `arrange` sets up. `how` is a redirection. If that is
/// not allowed here, the test is announced as skipped, and `None` is returned.
fn in_a_namespace<'a>(world: &'a World, arrange: &str, line: &str, how: &str) -> Option<Done<'a>> {
    let script = format!("{arrange} && echo arranged >&2 && exec \"$0\" {line} {how}");
    let call = world.call_as("/usr/bin/env", "unshare --mount /bin/sh -c").arg(script).arg(BINARY);
    let done = call.input(world.astra.account_json()).run();
    if !done.stderr().contains("arranged") {
        assert!(!is_ci(), "CI allows mount namespaces: {done}");
        skip("no mount namespace is allowed here");
        return None;
    }
    Some(done)
}

#[test]
fn without_the_null_device_no_message_lands_in_a_file() {
    let world = World::new();
    for how in ["2>&-", ">&- 2>&-", "<&- >&- 2>&-", "<&- 2>&-", "<&-"] {
        State::Cold.arrange(&world);
        for line in ["token -v", "token -v --refresh"] {
            let Some(done) = in_a_namespace(&world, "mount -t tmpfs none /dev", line, how) else {
                return;
            };
            // An answer that cannot be written is a failure.
            let is_served = !how.starts_with(">&-") && !how.contains(" >&-");
            assert_eq!(
                (done.code() == 0, done.stdout().len() > 1000),
                (is_served, is_served),
                "{done}"
            );
            assert!(!done.stderr().contains("panicked"), "{how}: {done}");
            for lock in world.cached("lock") {
                assert_eq!(fs::read_to_string(lock).unwrap(), "", "{how}: {line}");
            }
            let token = world.call("token").run();
            assert_eq!(
                token.quiet().trim_end(),
                world.astra.last_token().unwrap(),
                "{how}: {line}"
            );
        }
    }
}

#[test]
fn standard_input_is_read_without_proc_too() {
    let world = World::new();
    fs::remove_file(world.account_file()).unwrap();
    let line = "token --service-account /dev/stdin";
    if let Some(done) = in_a_namespace(&world, "mount -t tmpfs none /proc", line, "") {
        assert_eq!((done.code(), done.stdout().len() > 1000), (0, true), "{done}");
    }
}

#[test]
fn a_name_of_the_program_that_is_not_utf_8_needs_no_proc() {
    use std::os::unix::ffi::OsStringExt as _;
    let world = World::new();
    let odd = std::ffi::OsString::from_vec(b"odd\xff".to_vec());
    let script =
        "mount -t tmpfs none /proc && exec bash -c 'exec -a \"$1\" \"$0\" $2' \"$0\" \"$1\" \"$2\"";
    for line in ["token", "doctor --timeout 1", "setup git --host h --dry-run", "no-such-command"] {
        let call = world.call_as("/usr/bin/env", "unshare --mount /bin/sh -c").arg(script);
        let done = call.arg(BINARY).arg(&odd).arg(line).run();
        if String::from_utf8_lossy(&done.output.stderr).contains("unshare") {
            skip("no mount namespace is allowed here");
            return;
        }
        let error = String::from_utf8_lossy(&done.output.stderr).into_owned();
        assert!(done.output.status.code().is_some_and(|code| code < 3), "{line}: {error}");
        assert!(!error.contains("panicked"), "{line}: {error}");
    }
}

#[test]
fn a_stopped_holder_and_a_silent_astra_keep_no_call_past_its_deadline() {
    let world = World::new();
    world.astra.set_answer(|_, _| Reply::Hang);
    let holder = Process::that_asks(&world, &world.call("token"));
    holder.stop();
    let start = Instant::now();
    for (code, stdout, stderr) in at_once(10, &world.call("token --timeout 2")) {
        assert_eq!((code, stdout.as_str(), stderr.lines().count()), (5, "", 2), "{stderr}");
    }
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

#[test]
fn a_waiting_call_takes_the_lock_of_a_killed_holder() {
    let world = World::new();
    world.astra.set_answer(|_, number| (number == 1).then_some(Reply::Hang));
    let holder = Process::that_asks(&world, &world.call("token"));
    let call = world.call("token");
    let waiters: Vec<Child> = (0..5).map(|_| call.start()).collect();
    thread::sleep(Duration::from_millis(300));
    assert_eq!(world.astra.exchanges(), 1, "they did not wait");
    holder.signal("-KILL");
    let start = Instant::now();
    for (code, stdout, stderr) in waiters.into_iter().map(finish) {
        assert_eq!((code, stderr.as_str()), (0, ""));
        assert_eq!(stdout.trim_end(), world.astra.last_token().unwrap());
    }
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(world.astra.exchanges(), 2);
}

/// A call through a shell with the redirections `how`.
fn redirected<'a>(world: &'a World, line: &str, how: &str) -> Done<'a> {
    let script = format!("exec \"$0\" {line} {how}");
    let call = world.call_as("/bin/sh", "-c").arg(script).arg(BINARY);
    let request = world.git_request();
    let done = call.input(request).run();
    assert!(!done.stderr().contains("panicked"), "{done}");
    done
}

/// Asserts that each command that prints a token fails, with a message if standard error works.
fn is_a_failure(how: &str) {
    let world = World::new();
    for line in ["token", "token --format json", "header", "env", "kubernetes", "git get"] {
        // Without a request on standard input `git get` prints nothing.
        if !how.contains("<&-") || line != "git get" {
            let done = redirected(&world, line, how);
            assert_eq!(done.code(), 1, "{done}");
            assert_eq!(done.stderr().contains("standard output"), !how.contains("2>"), "{done}");
        }
    }
}

#[test]
fn an_answer_to_a_full_disk_is_a_failure() {
    is_a_failure(">/dev/full");
    is_a_failure(">/dev/full 2>/dev/full");
    is_a_failure(">/dev/full 2>&- <&-");
}

#[test]
fn an_answer_to_a_closed_stream_is_a_failure() {
    is_a_failure(">&-");
    is_a_failure(">&- 2>&-");
    is_a_failure(">&- 2>&- <&-");
}

#[test]
fn a_help_that_cannot_be_written_is_a_failure() {
    let world = World::new();
    for line in ["--help", "--version", "token --help"] {
        for how in [">/dev/full", ">&-"] {
            let done = redirected(&world, line, how);
            assert_eq!(done.code(), 1, "{done}");
            assert!(done.stderr().contains("standard output"), "{done}");
        }
    }
}

#[test]
fn an_answer_to_the_null_device_is_a_success() {
    let world = World::new();
    // Python and node open it for reading too.
    for how in [">/dev/null", "1<>/dev/null"] {
        assert_eq!(redirected(&world, "token", how).code(), 0);
    }
}

/// Calls that write to standard error, and their exit codes.
fn calls_with_messages(world: &World) -> [(String, i32); 5] {
    let file = world.write("file", "not a folder");
    [
        ("token -v".to_owned(), 0),
        (format!("token --cache-dir {}/x", file.display()), 0),
        ("token --no-cache --api-url https://localhost:1".to_owned(), 5),
        ("token --timeout soon".to_owned(), 2),
        ("no-such-command".to_owned(), 2),
    ]
}

#[test]
fn messages_that_cannot_be_written_change_nothing() {
    let world = World::new();
    for (line, code) in calls_with_messages(&world) {
        for how in ["2>&-", "2>&- <&-", "2>/dev/full"] {
            let done = redirected(&world, &line, how);
            let has_token = done.stdout().len() > 1000;
            assert_eq!((done.code(), has_token), (code, code == 0), "{how}: {done}");
            assert!(has_token || done.stdout().is_empty(), "{done}");
        }
    }
}

#[test]
fn messages_to_a_pipe_without_a_reader_change_nothing() {
    let world = World::new();
    for (line, code) in calls_with_messages(&world) {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = world.call(&line).command().stderr(writer).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{line}");
        assert_eq!(output.stdout.len() > 1000, code == 0, "{line}");
    }
}

#[test]
fn no_input_is_an_empty_request() {
    let world = World::new();
    let token = world.token();
    assert_eq!(redirected(&world, "token", "<&-").quiet().trim_end(), token);
    for line in ["git get", "bazel get", "docker get"] {
        let (closed, empty) =
            (redirected(&world, line, "<&-"), redirected(&world, line, "</dev/null"));
        assert_eq!(closed.output, empty.output, "{line}");
        assert!(!closed.stdout().contains("qyJ"));
    }
}

/// Random numbers that are the same in each run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        // The algorithm is xorshift.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next().to_le_bytes()[3]).collect()
    }
}

#[test]
fn only_bytes_that_the_program_has_sealed_are_an_entry() {
    let world = World::new();
    world.token();
    let entry = world.entry();
    let whole = fs::read(&entry).unwrap();
    let old = {
        world.call("token --refresh").run().quiet();
        fs::read(&entry).unwrap()
    };
    let numbers = &mut Numbers(0x9e37_79b9_7f4a_7c15);
    let mut damaged: Vec<Vec<u8>> = Vec::new();
    for _ in 0..20 {
        let length = numbers.below(4000);
        damaged.push(numbers.bytes(length));
        damaged.push(whole[..numbers.below(whole.len())].to_vec());
        let mut changed = whole.clone();
        for _ in 0..=numbers.below(4) {
            changed[numbers.below(whole.len())] ^= 1 << numbers.below(8);
        }
        damaged.push(changed);
    }
    let (start, end) = whole.split_at(whole.len() / 2);
    let (nonce, sealed) = whole.split_at(12);
    damaged.extend([
        [&whole[..], b"\n"].concat(),
        [b"\n", &whole[..]].concat(),
        [&whole[..], &whole[..]].concat(),
        [&old[..12], sealed].concat(),
        [nonce, &old[12..]].concat(),
        [end, start].concat(),
        whole[1..].to_vec(),
        whole[..12].to_vec(),
        whole[..28].to_vec(),
        whole.iter().rev().copied().collect(),
        whole.iter().map(|byte| !byte).collect(),
        [b"astra-credential 2\n", &whole[..]].concat(),
        br#"{"token":"a.b.c","validity":null,"verdict":null}"#.into(),
        numbers.bytes((64 + 8) << 10),
        numbers.bytes(((64 + 8) << 10) + 1),
        vec![0; 3 << 20],
    ]);
    assert!(damaged.len() > 70);
    let mut exchanges = world.astra.exchanges();
    for (at, bytes) in damaged.iter().enumerate() {
        fs::write(&entry, bytes).unwrap();
        set_mode(&entry, 0o600);
        let start = Instant::now();
        let done = world.call("token --timeout 5").run();
        assert_eq!(done.quiet().trim_end(), world.astra.last_token().unwrap(), "{at}");
        assert!(start.elapsed() < AT_ONCE, "{at}: {:?}", start.elapsed());
        exchanges += 1;
        assert_eq!(
            (world.token(), world.astra.exchanges()),
            (done.stdout().trim_end().to_owned(), exchanges),
            "{at}"
        );
    }
    is_tidy(&world, "spoilt");
    // An entry that the program has written is read, although the test has copied it there.
    fs::write(&entry, &old).unwrap();
    world.token();
    assert_eq!(world.astra.exchanges(), exchanges);
}

#[test]
fn only_a_regular_file_is_an_entry() {
    let world = World::new();
    world.token();
    let entry = world.entry();
    let copy = world.path("copy");
    fs::copy(&entry, &copy).unwrap();
    let absent = world.path("absent");
    let put: [(&str, &dyn Fn()); 6] = [
        ("a link to an entry", &|| symlink(&copy, &entry).unwrap()),
        ("a link to nothing", &|| symlink(&absent, &entry).unwrap()),
        ("a link to itself", &|| symlink(&entry, &entry).unwrap()),
        ("a link to zeros", &|| symlink("/dev/zero", &entry).unwrap()),
        ("a socket", &|| drop(UnixListener::bind(&entry).unwrap())),
        ("a folder with something in it", &|| fs::create_dir_all(entry.join("a/b")).unwrap()),
    ];
    let kept = fs::read(&copy).unwrap();
    for (what, put) in put {
        fs::remove_file(&entry).unwrap();
        put();
        let before = world.astra.exchanges();
        let start = Instant::now();
        let done = world.call("token --timeout 5").run();
        assert!(done.quiet().len() > 1000, "{what}");
        assert!(start.elapsed() < AT_ONCE, "{what}: {:?}", start.elapsed());
        assert_eq!(world.token(), done.stdout().trim_end(), "{what}");
        assert_eq!(world.astra.exchanges(), before + 1, "{what}");
        assert!(fs::symlink_metadata(&entry).unwrap().is_file(), "{what}");
        assert_eq!(fs::read(&copy).unwrap(), kept, "{what}");
        assert!(!absent.exists(), "{what}");
    }
    assert_eq!(fs::metadata(&entry).unwrap().permissions().mode() & 0o777, 0o600);
}
