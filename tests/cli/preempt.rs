//! Two operations at once, the first stopped at each of its calls while the second runs to its end.
//!
//! `strace` stops the first process after the given call on the cache's folder or on the socket. Then the
//! second process runs, the first one goes on, and a plain call shows what the cache holds. There are some
//! four thousand such runs. An ordinary `cargo test` does a sample of them, and all of them if the
//! variable `ASTRA_TEST_WHOLE` is set.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::stand_in::Reply;
use crate::world::{BINARY, World, contents, finish, mode, needs};

/// The answer of the API while an operation runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Api {
    Ok,
    Down,
    Rejects,
}

/// The content of the cache before the first operation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Empty,
    /// A token that has expired.
    Stale,
    /// A token of one hour.
    Fresh,
}

/// The part of the cache that an operation removes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Drops {
    Nothing,
    /// The token that was in the cache at the start.
    First,
    Everything,
}

#[derive(Clone, Copy, Debug)]
struct Operation {
    name: &'static str,
    line: &'static str,
    api: Api,
    state: State,
    drops: Drops,
}

const fn operation(name: &'static str, line: &'static str, api: Api, state: State) -> Operation {
    Operation { name, line, api, state, drops: Drops::Nothing }
}

const OPERATIONS: [Operation; 11] = [
    operation("cold", "token", Api::Ok, State::Empty),
    operation("stale, ok", "token", Api::Ok, State::Stale),
    operation("stale, 503", "token", Api::Down, State::Stale),
    operation("stale, 401", "token", Api::Rejects, State::Stale),
    operation("--refresh, ok", "token --refresh", Api::Ok, State::Fresh),
    operation("--refresh, 503", "token --refresh", Api::Down, State::Fresh),
    operation("--min-valid", "token --min-valid 2h", Api::Ok, State::Fresh),
    Operation { drops: Drops::Everything, ..operation("forget", "forget", Api::Ok, State::Fresh) },
    Operation {
        drops: Drops::Everything,
        ..operation("forget --all", "forget --all", Api::Ok, State::Fresh)
    },
    Operation { drops: Drops::First, ..operation("erase", "git erase", Api::Ok, State::Fresh) },
    operation("erase another", "git erase", Api::Ok, State::Fresh),
];

impl Operation {
    fn prints(self) -> bool {
        self.line.starts_with("token")
    }
}

/// A call of the main thread that an operation is stopped after.
#[derive(Clone, Debug)]
struct Point {
    name: String,
    /// How many of that name the process has made so far, this one included.
    number: usize,
    shown: String,
}

/// A world with prepared entries, whose API keeps a list of the tokens that it has issued.
struct Stage {
    world: World,
    api: Arc<AtomicUsize>,
    issued: Arc<Mutex<Vec<String>>>,
    /// The entry's file name, and its content in the states [`State::Stale`] and [`State::Fresh`].
    entry: std::path::PathBuf,
    stale: (Vec<u8>, String),
    fresh: (Vec<u8>, String),
}

impl Stage {
    fn new() -> Self {
        let world = World::new();
        let prepare = |lifetime| {
            world.astra.set_lifetime(lifetime);
            world.call("token --refresh").run().quiet();
            (fs::read(world.entry()).unwrap(), world.astra.last_token().unwrap())
        };
        let stale = prepare(1);
        let fresh = prepare(3600);
        world.astra.set_lifetime(36_000);
        let (api, issued) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let (tokens, mode, list) = (world.astra.tokens(), Arc::clone(&api), Arc::clone(&issued));
        world.astra.set_answer(move |_, _| match mode.load(Ordering::SeqCst) {
            0 => {
                let token = tokens.issue();
                list.lock().unwrap().push(token.clone());
                Reply::json(200, &json!({ "token": token }))
            }
            1 => Reply::error(503, "down").with_header("Retry-After", "30"),
            _ => Reply::error(401, "revoked"),
        });
        // The stale token has to expire.
        thread::sleep(Duration::from_millis(1500));
        Self { entry: world.entry(), world, api, issued, stale, fresh }
    }

    fn arrange(&self, state: State) {
        let _ = fs::remove_dir_all(self.world.path(".cache"));
        let content = match state {
            State::Empty => return,
            State::Stale => &self.stale.0,
            State::Fresh => &self.fresh.0,
        };
        for folder in [self.world.path(".cache"), self.world.cache_dir()] {
            fs::create_dir(&folder).unwrap();
            crate::world::set_mode(&folder, 0o700);
        }
        fs::write(&self.entry, content).unwrap();
        crate::world::set_mode(&self.entry, 0o600);
    }

    fn answer_as(&self, operation: Operation) {
        self.api.store(operation.api as usize, Ordering::SeqCst);
    }

    fn issued(&self) -> usize {
        self.issued.lock().unwrap().len()
    }

    /// The input of an `erase`.
    fn input(&self, operation: Operation) -> String {
        let token = match operation.name {
            "erase" => &self.fresh.1,
            "erase another" => "another.token.x",
            _ => return String::new(),
        };
        let port = self.world.astra.port();
        format!("protocol=https\nhost=localhost:{port}\nusername=token\npassword={token}\n\n")
    }

    /// Starts an operation under `strace` with these options.
    fn traced(&self, options: &str, operation: Operation, timeout: &str) -> Child {
        let call = self.world.call_as("/usr/bin/env", "strace -y -o").arg(self.world.path("trace"));
        let words = options.split_whitespace().chain([BINARY]);
        let line = operation.line.split_whitespace().chain(["--timeout", timeout]);
        let call = words.chain(line).fold(call, |call, word| call.arg(word));
        let mut child = call.command().stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let _ = stdin.write_all(self.input(operation).as_bytes());
        child
    }

    /// The calls on the cache's folder and on the socket.
    fn points(&self, operation: Operation) -> Vec<Point> {
        self.arrange(operation.state);
        self.answer_as(operation);
        finish(self.traced("", operation, "10"));
        let trace = fs::read_to_string(self.world.path("trace")).unwrap();
        let folder = self.world.path(".cache").display().to_string();
        let mut counts: HashMap<&str, usize> = HashMap::new();
        let mut points = Vec::new();
        for line in trace.lines() {
            let Some((name, _)) = line.split_once('(') else {
                continue;
            };
            let number = *counts.entry(name).and_modify(|count| *count += 1).or_insert(1);
            // The standard library's own check, in a debug build alone.
            if line.contains("F_GETFD") {
                continue;
            }
            let is_of_socket = ["connect", "sendto", "recvfrom"].contains(&name);
            // The number of `recvfrom` calls depends on the network.
            let is_steady = name != "recvfrom" || number == 1;
            if line.contains(&folder) || (is_of_socket && is_steady) {
                let shown = line.chars().take(120).collect();
                points.push(Point { name: name.to_owned(), number, shown });
            }
        }
        assert!(points.len() >= 3, "{}: {trace}", operation.name);
        points
    }

    /// Runs the pair, and returns the invariants that do not hold, or `None` if the first process ended before
    /// it reached the point.
    fn run(&self, first: Operation, second: Operation, point: &Point) -> Option<Vec<String>> {
        let Self { world, .. } = self;
        self.arrange(first.state);
        let exchanges = world.astra.exchanges();
        self.issued.lock().unwrap().clear();
        self.answer_as(first);
        let _ = fs::remove_file(world.path("trace"));
        let Point { name, number, .. } = point;
        let options = format!("-e trace={name} -e inject={name}:signal=SIGSTOP:when={number}");
        let mut stopped = self.traced(&options, first, "10");
        if !self.is_stopped(&mut stopped) {
            let _ = stopped.wait();
            return None;
        }
        if ["connect", "sendto", "recvfrom"].contains(&name.as_str()) {
            // A request that has been sent is to be answered in the first operation's way.
            thread::sleep(Duration::from_millis(20));
        }

        self.answer_as(second);
        let before_second = self.issued();
        let had_asked = world.astra.exchanges() > exchanges;
        let call = world.call(second.line).arg("--timeout").arg("1.6").input(self.input(second));
        let begun = Instant::now();
        let second_done = call.run();
        let took = begun.elapsed();

        self.answer_as(first);
        self.resume(&mut stopped);
        let (code, stdout, stderr) = finish(stopped);
        let cost = world.astra.exchanges() - exchanges;

        self.api.store(Api::Ok as usize, Ordering::SeqCst);
        let plain = world.call("token").run();
        let plain_cost = world.astra.exchanges() - exchanges - cost;
        let issued = self.issued.lock().unwrap().clone();
        let has_been_issued =
            |token: &str| token == self.fresh.1 || issued.iter().any(|t| t == token);

        let mut broken = Vec::new();
        let mut check = |holds: bool, what: &str| {
            if !holds {
                broken.push(what.to_owned());
            }
        };
        let ends = [
            (first, code, stdout.trim_end().to_owned()),
            (second, second_done.code(), second_done.stdout().trim_end().to_owned()),
        ];
        let mut has_succeeded = false;
        for (operation, code, printed) in &ends {
            if operation.prints() {
                check((*code == 0) != printed.is_empty(), "prints a token if it ends with 0");
                check(*code != 0 || has_been_issued(printed), "prints a token that lives");
                let is_new = issued.contains(printed);
                has_succeeded |= *code == 0 && is_new;
                let has_failed = [first, second].iter().any(|one| one.api != Api::Ok);
                check(*code == 0 || has_failed, "a call succeeds if the API answers");
            } else {
                check(*code == 0, "forget and erase end with 0");
            }
        }
        check(took < Duration::from_millis(2600), "the second ends within its time-out and 1 s");
        check(cost <= 2, "at most two exchanges");
        let plain_token = plain.stdout().trim_end().to_owned();
        check(plain.code() != 0 || has_been_issued(&plain_token), "the plain call's token lives");

        let drops = [first.drops, second.drops];
        if drops.iter().all(|drops| *drops == Drops::Nothing) {
            let is_kept = plain.code() == 0 && plain_cost == 0;
            check(!has_succeeded || is_kept, "a token that was issued is cached");
            let is_rejected = [first, second].iter().any(|one| one.api == Api::Rejects);
            let was_fresh = first.state == State::Fresh && !is_rejected;
            check(!was_fresh || is_kept, "a token that was cached stays");
        } else {
            check(
                plain_token != self.fresh.1 && plain_token != self.stale.1,
                "a token that was dropped stays dropped",
            );
        }
        if second.drops == Drops::Everything {
            check(plain.code() == 0 || !had_asked, "no failure from before a forget");
            let old = &issued[..before_second];
            check(!old.contains(&plain_token), "no token from before a forget");
        }

        for (path, _) in contents(&world.path(".cache")) {
            let kind = path.extension().unwrap_or_default().to_string_lossy().into_owned();
            let is_known = ["entry", "lock", "failure"].contains(&kind.as_str());
            check(is_known, "nothing is left but the entry, locks and the failure");
            check(mode(&path) == 0o600, "everything is private");
        }
        if !broken.is_empty() {
            broken.push(format!(
                "first: {code}, {cost} exchanges; {}{second_done}{plain}",
                stderr.lines().next().unwrap_or_default()
            ));
        }
        Some(broken)
    }

    /// Waits until the process is stopped, or has ended.
    fn is_stopped(&self, child: &mut Child) -> bool {
        let patience = Instant::now() + Duration::from_secs(20);
        while !self.trace().contains("--- stopped by SIGSTOP ---") {
            if child.try_wait().unwrap().is_some() {
                return false;
            }
            assert!(Instant::now() < patience, "not stopped: {}", self.trace());
            thread::sleep(Duration::from_millis(1));
        }
        true
    }

    /// Continues the process, whose parent `strace` is.
    fn resume(&self, child: &mut Child) {
        let id = child.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        let process = children.split_whitespace().next().expect("a traced process");
        assert!(Command::new("kill").args(["-CONT", process]).status().unwrap().success());
    }

    fn trace(&self) -> String {
        fs::read_to_string(self.world.path("trace")).unwrap_or_default()
    }
}

#[test]
fn two_interleaved_operations_lose_no_token_and_restore_no_dropped_one() {
    needs!(root, "strace");
    let is_whole = std::env::var_os("ASTRA_TEST_WHOLE").is_some();
    let points = {
        let stage = Stage::new();
        OPERATIONS.map(|operation| stage.points(operation))
    };
    let mut runs = Vec::new();
    for (first, points) in OPERATIONS.iter().zip(&points) {
        for point in points {
            runs.extend(OPERATIONS.iter().map(|second| (*first, *second, point.clone())));
        }
    }
    assert!(runs.len() > 2000, "{} runs", runs.len());
    let stride = if is_whole { 1 } else { 37 };
    let chosen: Vec<_> = runs.iter().step_by(stride).collect();
    let next = AtomicUsize::new(0);
    let report = Mutex::new(String::new());
    let (violations, missed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    // A run sleeps for most of its time.
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let stage = Stage::new();
                while let Some((first, second, point)) =
                    chosen.get(next.fetch_add(1, Ordering::SeqCst))
                {
                    let Some(broken) = stage.run(*first, *second, point) else {
                        missed.fetch_add(1, Ordering::SeqCst);
                        continue;
                    };
                    if !broken.is_empty() {
                        violations.fetch_add(1, Ordering::SeqCst);
                        let Point { number, shown, .. } = point;
                        let (first, second) = (first.name, second.name);
                        let what = broken.join("\n  ");
                        let mut report = report.lock().unwrap();
                        let _ = writeln!(
                            report,
                            "`{first}` stopped after #{number} {shown}\nwith `{second}`:\n  {what}"
                        );
                    }
                }
            });
        }
    });
    // The number of some calls depends on the network.
    let (violations, missed) = (violations.into_inner(), missed.into_inner());
    assert!(missed * 20 < chosen.len(), "{missed} of {} did not reach the point", chosen.len());
    assert_eq!(violations, 0, "in {} runs:\n{}", chosen.len(), report.into_inner().unwrap());
}
