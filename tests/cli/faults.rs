//! Faults of the system: the process is killed at each system call, or the call fails.
//!
//! `strace` injects the faults. A first run without faults lists the system calls of the main thread. Each is
//! then found again by its name and its number.

use std::collections::HashMap;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::thread;
use std::time::{Duration, Instant};

use crate::processes::PATIENCE;
use crate::stand_in::Reply;
use crate::world::{BINARY, Done, World, contents, finish, mode, needs};

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
pub const AT_ONCE: Duration = Duration::from_secs(5);

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

/// The system calls on the cache. On a loaded machine, the number of a call may differ from run to run. Two runs
/// in a row have to agree.
fn sites_of_the_cache(world: &World, state: State) -> Vec<Site> {
    let list = || sites(world, state, |line| is_of_the_cache(world, line));
    let numbers = |sites: &[Site]| -> Vec<_> {
        sites.iter().map(|site| (site.name.clone(), site.number)).collect()
    };
    let mut listings = vec![list()];
    loop {
        let next = list();
        if listings.last().is_some_and(|last| numbers(last) == numbers(&next)) {
            return next;
        }
        listings.push(next);
        assert!(listings.len() < 10, "the system calls differ in each run");
    }
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

/// The same with an error, which has to hit a system call on the cache. If it hits another call, the run is
/// repeated, up to four times.
fn with_an_error<'a>(
    world: &'a World,
    state: State,
    site: &Site,
    error: &str,
    line: &str,
) -> Done<'a> {
    let mut traces = Vec::new();
    loop {
        let (done, trace) = with_fault(world, state, site, &format!("error={error}"), line);
        let hit = trace.lines().find(|line| line.contains("(INJECTED)"));
        if hit.is_some_and(|line| is_of_the_cache(world, line)) {
            return done;
        }
        traces.push(trace);
        assert!(traces.len() < 5, "{}: {traces:#?}", site.shown);
    }
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
pub fn is_tidy(world: &World, what: &str) {
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
