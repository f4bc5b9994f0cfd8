//! What a call costs, next to the cheapest thing that does the same: `cargo bench`.
//!
//! Prints one table: our figure, the reference's, their ratio, and the target. Times are medians of
//! runs in shuffled order, so that a machine that is busy is busy for both sides; every process gets
//! the same small environment, its input from a file, and `/dev/null` for its output. `LANG` is set in
//! it as it is for everybody who logs in, which costs `cat` a look at the locale. The binary is the file
//! that the linker wrote: a fresh copy takes 5 % to 8 % less, until it has been read back from disk. A
//! reference that is not installed is named.
//!
//! `cargo bench -- --guard` only counts, which takes seconds and comes out the same on a busy
//! machine. It fails when a target is missed or a tool is missing: that is for CI.

#![allow(clippy::print_stdout, reason = "a table is what this is for")]
#![allow(clippy::expect_used, reason = "without the figure there is nothing to go on with")]

#[path = "../tests/cli/frugal.rs"]
#[allow(dead_code, unused_imports, reason = "its tests are run by `cargo test`")]
mod frugal;
#[path = "../tests/cli/stand_in.rs"]
mod stand_in;
#[path = "../tests/cli/world.rs"]
#[allow(dead_code, unused_imports, unused_macros, clippy::print_stderr, reason = "for the tests")]
mod world;

use std::env;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use frugal::{
    ALLOWED, MOST_CALLS_FOR_A_FILE, MOST_SYSTEM_CALLS, WARM, input, instructions, system_calls,
    warm_world, write_configuration,
};
use world::{BINARY, World};

/// Runs of each program; the median counts.
const WARM_RUNS: usize = 1000;
const COLD_RUNS: usize = 200;
const STORMS: usize = 5;

/// Processes of a storm, and how long the issuer takes to answer the second kind.
const STORM: usize = 500;
const ISSUER: Duration = Duration::from_secs(1);

/// Targets: ratios, a number of instructions, bytes, and kilobytes.
const AGAINST_CAT: f64 = 0.9;
const AGAINST_GIT: f64 = 0.75;
const AGAINST_FLOOR: f64 = 1.25;
const AGAINST_CURL: f64 = 1.0;
const STORM_AGAINST_CAT: f64 = 2.0;
const MOST_INSTRUCTIONS: u64 = 250_000;
/// What a configuration file of ten hosts may add.
const MOST_INSTRUCTIONS_FOR_A_FILE: u64 = 25_000;
const LARGEST_BINARY: usize = 4_000_000;
const MOST_MEMORY: u64 = 3_000;

/// The least that a program can do that hands out a token: open, read, write.
const FLOOR: &str = r"
#include <fcntl.h>
#include <unistd.h>

int main(int argc, char **argv) {
    static char token[65536];
    int file = open(argv[argc - 1], O_RDONLY);
    ssize_t length = file < 0 ? -1 : read(file, token, sizeof token);
    return length < 0 || write(1, token, length) != length;
}
";

fn main() -> ExitCode {
    let options: Vec<String> = env::args().skip(1).filter(|option| option != "--bench").collect();
    let is_guard = options == ["--guard"];
    if !is_guard && !options.is_empty() {
        println!("usage: cargo bench [-- --guard]");
        return ExitCode::from(2);
    }
    let world = warm_world();
    let mut rows = Vec::new();
    if !is_guard {
        println!("{}", machine());
        rows.extend(warm_rows(&world));
        rows.push(cold_row(&world));
        rows.push(storm_row(&world, Duration::ZERO));
        rows.push(storm_row(&world, ISSUER));
        // Whatever became of the cache by now.
        world.token();
    }
    rows.extend(counts(&world));
    print!("{}", table(&rows));
    let is_met = rows.iter().all(|row| row.is_met == Some(true));
    if is_guard && !is_met { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// A line of the table.
struct Row {
    what: String,
    ours: String,
    reference: String,
    ratio: String,
    target: String,
    /// `None` when something is missing to tell.
    is_met: Option<bool>,
}

const NOTHING: &str = "–";

impl Row {
    /// A time against the reference's.
    fn time(what: &str, ours: Duration, theirs: &Outcome<Duration>, by: &str, target: f64) -> Self {
        let ratio = theirs.as_ref().ok().map(|theirs| ours.as_secs_f64() / theirs.as_secs_f64());
        Self {
            what: what.to_owned(),
            ours: millis(ours),
            reference: theirs.as_ref().map_or_else(
                |missing| format!("{by} {missing}"),
                |theirs| format!("{by} {}", millis(*theirs)),
            ),
            ratio: ratio.map_or(NOTHING.to_owned(), |ratio| format!("{ratio:.2}")),
            target: format!("≤ {target:.2}"),
            is_met: ratio.map(|ratio| ratio <= target),
        }
    }

    /// A figure that is the same wherever it is taken.
    fn count(what: &str, counted: Outcome<(String, bool)>, target: String) -> Self {
        let (ours, reference, is_met) = match counted {
            Ok((ours, is_met)) => (ours, NOTHING.to_owned(), Some(is_met)),
            Err(missing) => (NOTHING.to_owned(), missing, None),
        };
        Self { what: what.to_owned(), ours, reference, ratio: NOTHING.to_owned(), target, is_met }
    }
}

/// An `Err` says what is not installed.
type Outcome<T> = Result<T, String>;

/// A program with its arguments, and the file that it reads.
struct Program {
    command: Command,
    input: PathBuf,
}

impl Program {
    /// A program in the same surroundings as ours.
    fn new(world: &World, program: impl Into<PathBuf>, arguments: &[&str]) -> Self {
        let call = world.call_as(program, "").env("LANG", "C.UTF-8");
        let call = arguments.iter().fold(call, |call, argument| call.arg(*argument));
        let mut command = call.command();
        command.stdout(null()).stderr(null());
        Self { command, input: "/dev/null".into() }
    }

    /// Ours, and what its caller would write to it.
    fn ours(world: &World, line: &str) -> Self {
        let arguments: Vec<&str> = line.split(' ').collect();
        Self::new(world, BINARY, &arguments).reading(world, &input(world, line))
    }

    fn reading(self, world: &World, input: &str) -> Self {
        let name = format!("input {}", input.len());
        Self { input: world.write(&name, input), ..self }
    }

    /// The same, once it has been seen to print `token`.
    fn checked(mut self, token: &str) -> Self {
        self.open_input();
        let output = self.command.stdout(Stdio::piped()).output().expect("the program starts");
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(answer.contains(token), "{:?}: {answer}", self.command);
        self.command.stdout(null());
        self
    }

    fn start(&mut self) -> Child {
        self.command.spawn().expect("the program starts")
    }

    fn open_input(&mut self) {
        self.command.stdin(File::open(&self.input).expect("an input"));
    }

    /// How long it takes from its start to its end.
    fn run(&mut self) -> Duration {
        self.open_input();
        let start = Instant::now();
        let status = self.start().wait().expect("the program ends");
        let took = start.elapsed();
        assert!(status.success(), "{:?}: {status}", self.command);
        took
    }

    /// How long many of them take that are started at once.
    fn storm(&mut self) -> Duration {
        let start = Instant::now();
        let children: Vec<_> = (0..STORM)
            .map(|_| {
                self.open_input();
                self.start()
            })
            .collect();
        for mut child in children {
            let status = child.wait().expect("the program ends");
            assert!(status.success(), "{:?}: {status}", self.command);
        }
        start.elapsed()
    }
}

/// `/dev/null`, opened once and not at every start.
fn null() -> File {
    File::options().write(true).open("/dev/null").expect("/dev/null")
}

/// The medians of all programs, in rounds of one run each, every round in another order.
fn medians<const N: usize>(
    rounds: usize,
    mut programs: [Outcome<&mut Program>; N],
    mut run: impl FnMut(usize, &mut Program) -> Duration,
) -> [Outcome<Duration>; N] {
    let mut taken: [Vec<Duration>; N] = std::array::from_fn(|_| Vec::with_capacity(rounds));
    let mut order: [usize; N] = std::array::from_fn(|at| at);
    let mut dice = 1_usize;
    for _ in 0..rounds {
        for at in (1..N).rev() {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            order.swap(at, (dice >> 33) % (at + 1));
        }
        for at in order {
            if let Ok(program) = &mut programs[at] {
                taken[at].push(run(at, program));
            }
        }
    }
    let mut taken = taken.into_iter();
    programs.map(|program| {
        let mut taken = taken.next().unwrap_or_default();
        taken.sort_unstable();
        program.map(|_| taken[rounds / 2])
    })
}

fn warm_rows(world: &World) -> Vec<Row> {
    let token = world.token();
    let file = world.write("token", format!("{token}\n")).display().to_string();
    let mut ours = WARM.map(|line| Program::ours(world, line).checked(&token));
    let cat = find("cat").map(|cat| Program::new(world, cat, &[&file]));
    let mut references = [cat, git_store(world, &token), floor(world, &file)]
        .map(|reference| reference.map(|program| program.checked(&token)));
    let [token, kubernetes, git, bazel] = ours.each_mut().map(Ok);
    let [cat, store, floor] = references.each_mut().map(|it| it.as_mut().map_err(|it| it.clone()));
    let programs = [token, kubernetes, git, bazel, cat, store, floor];
    let [token, kubernetes, git, bazel, cat, store, floor] =
        medians(WARM_RUNS, programs, |_, program| program.run());
    let mut rows = Vec::new();
    for (theirs, by, target) in [
        (cat, "`cat`", AGAINST_CAT),
        (store, "`git-credential-store get`", AGAINST_GIT),
        (floor, "static C", AGAINST_FLOOR),
    ] {
        for (line, ours) in WARM.into_iter().zip([&token, &kubernetes, &git, &bazel]) {
            let ours = *ours.as_ref().expect("our own program");
            rows.push(Row::time(&format!("warm `{line}`"), ours, &theirs, by, target));
        }
    }
    rows
}

/// git's own helper, by its own name, with the token in its store.
fn git_store(world: &World, token: &str) -> Outcome<Program> {
    let output = Command::new(find("git")?).arg("--exec-path").output().expect("git starts");
    let folder = String::from_utf8_lossy(&output.stdout).into_owned();
    let helper = find(&format!("{}/git-credential-store", folder.trim_end()))?;
    let line = format!("https://oauth2:{token}@localhost%3a{}\n", world.astra.port());
    let store = format!("--file={}", world.write("store", line).display());
    let program = Program::new(world, helper, &[&store, "get"]);
    Ok(program.reading(world, &input(world, "git get")))
}

fn floor(world: &World, file: &str) -> Outcome<Program> {
    let compiler = find("cc")?;
    let (source, program) = (world.write("floor.c", FLOOR), world.path("floor"));
    let mut compile = Command::new(compiler);
    compile.args(["-static", "-O2", "-o"]).arg(&program).arg(source).stderr(Stdio::null());
    match compile.status() {
        Ok(status) if status.success() => Ok(Program::new(world, program, &[file])),
        _ => Err("not installed: a static libc".to_owned()),
    }
}

fn cold_row(world: &World) -> Row {
    let mut ours = Program::ours(world, "token");
    let account = format!("@{}", world.account_file().display());
    let (url, ca) = (format!("{}{}", world.astra.url(), stand_in::EXCHANGE), world.path("ca.pem"));
    let mut curl = find("curl").map(|curl| {
        let ca = ca.display().to_string();
        let json = "content-type: application/json";
        let post =
            ["--silent", "--fail", "--cacert", &ca, "--header", json, "--data", &account, &url];
        Program::new(world, curl, &post).checked("token")
    });
    let curl = curl.as_mut().map_err(|missing| missing.clone());
    let [ours, curl] = medians(COLD_RUNS, [Ok(&mut ours), curl], |at, program| {
        if at == 0 {
            make_cold(world);
        }
        program.run()
    });
    let ours = ours.expect("our own program");
    Row::time("cold `token`", ours, &curl, "`curl`, the same POST", AGAINST_CURL)
}

/// Many at once on an empty cache, while the issuer takes `delay`, which is subtracted.
fn storm_row(world: &World, delay: Duration) -> Row {
    let mut ours = Program::ours(world, "token");
    let file = world.path("token").display().to_string();
    let mut cat = find("cat").map(|cat| Program::new(world, cat, &[&file]));
    world.astra.set_delay(delay);
    let cat = cat.as_mut().map_err(|missing| missing.clone());
    let [ours, cat] = medians(STORMS, [Ok(&mut ours), cat], |at, program| {
        if at != 0 {
            return program.storm();
        }
        make_cold(world);
        let before = world.astra.exchanges();
        let took = program.storm();
        assert_eq!(world.astra.exchanges() - before, 1, "exchanges of a storm");
        took.saturating_sub(delay)
    });
    world.astra.set_delay(Duration::ZERO);
    let what = match delay.as_secs() {
        0 => format!("{STORM} cold `token` at once"),
        delay => format!("the same, less the {delay} s that the issuer takes"),
    };
    let by = format!("{STORM} × `cat`");
    Row::time(&what, ours.expect("our own program"), &cat, &by, STORM_AGAINST_CAT)
}

fn make_cold(world: &World) {
    let _ = fs::remove_dir_all(world.cache_dir());
}

/// What does not depend on the clock.
fn counts(world: &World) -> Vec<Row> {
    let instructions = find("valgrind").map(|_| {
        let count = instructions(world, "token");
        (format!("{} k", count.div_ceil(1000)), count <= MOST_INSTRUCTIONS)
    });
    let calls = find("strace").map(|_| most_system_calls(world));
    let binary = fs::read(BINARY).expect("the binary");
    let (size, is_static) = (binary.len(), is_static(&binary));
    let shown = format!("{:.2} MB{}", size as f64 / 1e6, if is_static { "" } else { ", dynamic" });
    let memory = match cfg!(target_os = "linux") {
        true => Ok(memory(world)),
        false => Err("not installed: Linux's /proc".to_owned()),
    };
    let memory = memory
        .map(|kilobytes| (format!("{:.2} MB", kilobytes as f64 / 1e3), kilobytes <= MOST_MEMORY));
    let with_file = find("valgrind").and_then(|_| find("strace")).map(|_| with_a_file());
    vec![
        Row::count("instructions, warm `token`", instructions, "≤ 250 k".to_owned()),
        Row::count(
            "more with a configuration file of ten hosts",
            with_file,
            format!("≤ 25 k, {MOST_CALLS_FOR_A_FILE} system calls"),
        ),
        Row::count(
            "system calls of a warm call, the most",
            calls,
            format!("≤ {MOST_SYSTEM_CALLS}, no socket, thread, lock"),
        ),
        Row::count(
            "binary, stripped",
            Ok((shown, is_static && size <= LARGEST_BINARY)),
            "≤ 4 MB, static".to_owned(),
        ),
        Row::count("memory at most, warm `token`", memory, "≤ 3 MB".to_owned()),
    ]
}

/// What a configuration file adds to a warm `token`.
fn with_a_file() -> (String, bool) {
    let world = warm_world();
    let count = || (instructions(&world, "token"), system_calls(&world, "token").len());
    let before = count();
    write_configuration(&world);
    let after = count();
    let (more, calls) = (after.0.saturating_sub(before.0), after.1.saturating_sub(before.1));
    let is_met = more <= MOST_INSTRUCTIONS_FOR_A_FILE && calls <= MOST_CALLS_FOR_A_FILE;
    (format!("{} k, {calls} system calls", more.div_ceil(1000)), is_met)
}

fn most_system_calls(world: &World) -> (String, bool) {
    let traces = WARM.map(|line| system_calls(world, line));
    let most = traces.iter().map(Vec::len).max().unwrap_or_default();
    let mut odd: Vec<&str> = traces.iter().flatten().map(String::as_str).collect();
    odd.retain(|call| !ALLOWED.contains(call));
    odd.sort_unstable();
    odd.dedup();
    let odd_ones = odd.iter().map(|call| format!(", `{call}`")).collect::<String>();
    (format!("{most}{odd_ones}"), most <= MOST_SYSTEM_CALLS && odd.is_empty())
}

/// The most memory that a warm call holds, in kilobytes: asked while it waits with its answer before
/// a full pipe, since the kernel's account of a process that is gone counts its parent's memory in.
fn memory(world: &World) -> u64 {
    let (reader, writer) = io::pipe().expect("a pipe");
    let mut filler = writer.try_clone().expect("a pipe");
    let filler = thread::spawn(move || while filler.write_all(&[0; 4096]).is_ok() {});
    // Long enough to fill the pipe.
    thread::sleep(Duration::from_millis(50));
    let mut program = Program::ours(world, "token");
    program.open_input();
    let mut child = program.command.stdout(writer).spawn().expect("the program starts");
    // The end that the command keeps.
    program.command.stdout(null());
    // Long enough to come to the answer.
    thread::sleep(Duration::from_millis(500));
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).expect("its status");
    drop(reader);
    let _ = child.wait();
    let _ = filler.join();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().split(' ').next()?.parse().ok());
    kilobytes.expect("a process that waits")
}

/// Whether an ELF file names no loader; true of any other.
fn is_static(binary: &[u8]) -> bool {
    const INTERPRETER: u32 = 3;
    let number = |at: usize, length: usize| {
        let bytes = binary.get(at..at + length).unwrap_or_default();
        bytes.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
    };
    let (start, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    let is_elf_64 = binary.starts_with(b"\x7fELF\x02\x01");
    let kind = |header: usize| number(start + header * size, 4);
    !is_elf_64 || (0..count).all(|header| kind(header) != INTERPRETER as usize)
}

/// A program's path, in a folder of `PATH` if it is a bare name.
fn find(program: &str) -> Outcome<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut places = env::split_paths(&path).map(|folder| folder.join(program));
    let name = Path::new(program).file_name().unwrap_or_default();
    places
        .find(|place| place.is_file())
        .ok_or_else(|| format!("not installed: {}", name.to_string_lossy()))
}

/// When and where the figures were taken.
fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let processors = read("/proc/cpuinfo");
    let model =
        processors.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let load = read("/proc/loadavg");
    format!(
        "{}; {} {}, {} × {}, load {}\n",
        httpdate::fmt_http_date(SystemTime::now()),
        env::consts::OS,
        read("/proc/sys/kernel/osrelease").trim_end(),
        thread::available_parallelism().map_or(1, usize::from),
        model.unwrap_or(env::consts::ARCH),
        load.split(' ').next().unwrap_or("unknown"),
    )
}

fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

/// Markdown, in columns.
fn table(rows: &[Row]) -> String {
    let head = ["what", "ours", "reference", "ratio", "target", "met"].map(str::to_owned);
    let cells = |row: &Row| {
        let Row { what, ours, reference, ratio, target, is_met } = row;
        let is_met = match is_met {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "?",
        };
        [what, ours, reference, ratio, target, is_met].map(str::to_owned)
    };
    let lines: Vec<[String; 6]> = std::iter::once(head).chain(rows.iter().map(cells)).collect();
    let width =
        |at: usize| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or_default();
    let widths: [usize; 6] = std::array::from_fn(width);
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        let padded: Vec<String> =
            line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text += &format!("| {} |\n", padded.join(" | "));
        if number == 0 {
            text += &format!("|{}|\n", widths.map(|width| "-".repeat(width + 2)).join("|"));
        }
    }
    text
}
