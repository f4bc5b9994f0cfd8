//! Compares the cost of a call with that of the cheapest program for the same task: `cargo bench`.
//!
//! Prints one table: this program's figure, the reference's, their ratio, and the target. Times are medians
//! of runs in shuffled order, so that other load affects both sides. Every process has the same small
//! environment, its input from a file, and `/dev/null` as its output. `LANG` is set, as in a login session,
//! so that `cat` also reads the locale.
//!
//! Two builds are measured: with musl (`.ci/static`), which is in the packages, and with glibc, which
//! `cargo install` makes. Each is measured at two ages: *fresh* is a file that was just written and whose
//! pages are still those of the writer; *from disk* is a file whose pages were dropped and read again, as
//! after a restart of the machine. The age has as much effect as the program. The table names references
//! that are not installed.
//!
//! `cargo bench -- --guard` is for CI. It only counts, which takes seconds and gives the same result on a
//! busy machine. It fails if a target is missed or a tool is missing.

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
    ALLOWED, MOST_CALLS_FOR_A_FILE, WARM, input, instructions, system_calls, warm_world,
    write_configuration,
};
use world::{BINARY, World};

/// Runs of each program; the median counts.
const WARM_RUNS: usize = 1000;
const COLD_RUNS: usize = 200;
const STORMS: usize = 5;

/// The number of processes of a storm, and the issuer's delay in the second kind of storm.
const STORM: usize = 500;
const ISSUER: Duration = Duration::from_secs(1);

/// Targets: ratios.
const FRESH_AGAINST_CAT: f64 = 0.6;
const FROM_DISK_AGAINST_CAT: f64 = 0.7;
const GLIBC_AGAINST_CAT: f64 = 1.1;
const AGAINST_GIT: f64 = 0.75;
const AGAINST_FLOOR: f64 = 0.9;
const AGAINST_CURL: f64 = 1.0;
const STORM_AGAINST_CAT: f64 = 2.0;

/// The instructions that a configuration file of ten hosts may add.
const MOST_INSTRUCTIONS_FOR_A_FILE: u64 = 25_000;

/// Targets: bytes and kilobytes.
const LARGEST_BINARY: usize = 4_000_000;
const MOST_MEMORY: u64 = 3_000;

/// A build of the program, with the targets for a warm call.
struct Build {
    name: &'static str,
    path: Outcome<PathBuf>,
    instructions: u64,
    system_calls: usize,
    page_faults: u64,
}

/// The build of the packages, and that of `cargo install`.
fn builds() -> [Build; 2] {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/static");
    let mut build = Command::new("bash");
    let output = build.arg(script).stderr(Stdio::inherit()).output();
    let output = output.ok().filter(|output| output.status.success());
    let path = output.and_then(|output| {
        let lines = String::from_utf8(output.stdout).ok()?;
        Some(PathBuf::from(lines.lines().last()?))
    });
    let path = path.ok_or_else(|| "not built: `bash .ci/static`".to_owned());
    [
        Build { name: "musl", path, instructions: 190_000, system_calls: 30, page_faults: 56 },
        Build {
            name: "glibc",
            path: Ok(BINARY.into()),
            instructions: 220_000,
            system_calls: 36,
            page_faults: 92,
        },
    ]
}

/// The age of a file's pages.
#[derive(Clone, Copy)]
enum Age {
    Fresh,
    FromDisk,
}

impl Age {
    fn name(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::FromDisk => "from disk",
        }
    }

    /// A copy of a program of this age.
    fn copy(self, world: &World, program: &Path, name: &str) -> PathBuf {
        let copy = world.path(&format!("{name} {}", self.name()));
        fs::copy(program, &copy).expect("a copy");
        if matches!(self, Self::FromDisk) {
            let file = File::open(&copy).expect("the copy");
            file.sync_all().expect("the copy on disk");
            let dropped = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
            dropped.expect("a page cache without the pages");
        }
        copy
    }
}

/// The smallest program that prints a token: open, read, write.
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
    let builds = builds();
    let mut rows = Vec::new();
    if !is_guard {
        println!("{}", machine());
        println!(
            "fresh: the binary was just written; from disk: its pages were dropped and read again.\n"
        );
        rows.extend(warm_rows(&world, &builds));
        let packaged = builds[0].path.as_deref().unwrap_or(BINARY.as_ref());
        rows.push(cold_row(&world, packaged));
        rows.push(storm_row(&world, packaged, Duration::ZERO));
        rows.push(storm_row(&world, packaged, ISSUER));
        // The rows above may have left an empty cache.
        world.token();
    }
    rows.extend(builds.iter().flat_map(|build| counts(&world, build)));
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
    /// `None` if a tool is missing.
    is_met: Option<bool>,
}

const NOTHING: &str = "–";

impl Row {
    /// Compares a time with the reference's.
    fn time(
        what: &str,
        ours: &Outcome<Duration>,
        theirs: &Outcome<Duration>,
        by: &str,
        target: f64,
    ) -> Self {
        let ratio = ours.as_ref().ok().zip(theirs.as_ref().ok());
        let ratio = ratio.map(|(ours, theirs)| ours.as_secs_f64() / theirs.as_secs_f64());
        let shown = |time: &Outcome<Duration>| time.clone().map_or_else(|missing| missing, millis);
        Self {
            what: what.to_owned(),
            ours: shown(ours),
            reference: format!("{by} {}", shown(theirs)),
            ratio: ratio.map_or(NOTHING.to_owned(), |ratio| format!("{ratio:.2}")),
            target: format!("≤ {target:.2}"),
            is_met: ratio.map(|ratio| ratio <= target),
        }
    }

    /// A count, which is the same on every machine.
    fn count(what: &str, counted: Outcome<(String, bool)>, target: String) -> Self {
        let (ours, reference, is_met) = match counted {
            Ok((ours, is_met)) => (ours, NOTHING.to_owned(), Some(is_met)),
            Err(missing) => (NOTHING.to_owned(), missing, None),
        };
        Self { what: what.to_owned(), ours, reference, ratio: NOTHING.to_owned(), target, is_met }
    }
}

/// The error names the program that is not installed.
type Outcome<T> = Result<T, String>;

/// A program with its arguments, and the file that it reads.
struct Program {
    command: Command,
    input: PathBuf,
}

impl Program {
    /// A program in the same environment as ours.
    fn new(world: &World, program: impl Into<PathBuf>, arguments: &[&str]) -> Self {
        let call = world.call_as(program, "").env("LANG", "C.UTF-8");
        let call = arguments.iter().fold(call, |call, argument| call.arg(*argument));
        let mut command = call.command();
        command.stdout(null()).stderr(null());
        Self { command, input: "/dev/null".into() }
    }

    /// A build of this program, with the input that its caller would write.
    fn ours(world: &World, binary: &Path, line: &str) -> Self {
        let arguments: Vec<&str> = line.split(' ').collect();
        Self::new(world, binary, &arguments).reading(world, &input(world, line))
    }

    fn reading(self, world: &World, input: &str) -> Self {
        let name = format!("input {}", input.len());
        Self { input: world.write(&name, input), ..self }
    }

    /// Checks that the program prints `token`.
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

    /// Runs the program, and returns the time from start to end.
    fn run(&mut self) -> Duration {
        self.open_input();
        let start = Instant::now();
        let status = self.start().wait().expect("the program ends");
        let took = start.elapsed();
        assert!(status.success(), "{:?}: {status}", self.command);
        took
    }

    /// Starts many processes at once, and returns the time until all have ended.
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

/// Opens `/dev/null` once, and not at every start.
fn null() -> File {
    File::options().write(true).open("/dev/null").expect("/dev/null")
}

/// The medians of all programs, in rounds of one run each, every round in another order.
fn medians(
    rounds: usize,
    programs: &mut [Outcome<Program>],
    mut run: impl FnMut(usize, &mut Program) -> Duration,
) -> Vec<Outcome<Duration>> {
    let mut taken = vec![Vec::with_capacity(rounds); programs.len()];
    let mut order: Vec<usize> = (0..programs.len()).collect();
    let mut dice = 1_usize;
    for _ in 0..rounds {
        for at in (1..order.len()).rev() {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            order.swap(at, (dice >> 33) % (at + 1));
        }
        for at in &order {
            if let Ok(program) = &mut programs[*at] {
                taken[*at].push(run(*at, program));
            }
        }
    }
    let median = |(program, mut taken): (&mut Outcome<Program>, Vec<Duration>)| {
        taken.sort_unstable();
        program.as_ref().map(|_| taken[rounds / 2]).map_err(Clone::clone)
    };
    programs.iter_mut().zip(taken).map(median).collect()
}

fn warm_rows(world: &World, builds: &[Build]) -> Vec<Row> {
    use Age::{Fresh, FromDisk};
    let token = world.token();
    let file = world.write("token", format!("{token}\n")).display().to_string();
    let floor = compiled_floor(world);
    let floor = |age: Age| {
        let floor = age.copy(world, floor.as_ref().map_err(Clone::clone)?, "floor");
        Ok(Program::new(world, floor, &[&file]))
    };
    let references = [
        ("`cat`", find("cat").map(|cat| Program::new(world, cat, &[&file]))),
        ("`git-credential-store get`", git_store(world, &token)),
        ("static C, fresh,", floor(Fresh)),
        ("static C, from disk,", floor(FromDisk)),
    ];
    const CAT: usize = 0;
    const STORE: usize = 1;
    const FLOOR: usize = 2;
    const OLD_FLOOR: usize = 3;
    let [musl, glibc] = [&builds[0], &builds[1]];
    let old = FROM_DISK_AGAINST_CAT;
    let ours = [
        (musl, Fresh, "token", vec![(CAT, FRESH_AGAINST_CAT), (FLOOR, AGAINST_FLOOR)]),
        (musl, FromDisk, "token", vec![(CAT, old), (OLD_FLOOR, AGAINST_FLOOR)]),
        (musl, FromDisk, "kubernetes", vec![(CAT, old)]),
        (musl, FromDisk, "git get", vec![(CAT, old), (STORE, AGAINST_GIT)]),
        (musl, FromDisk, "bazel get", vec![(CAT, old)]),
        (glibc, Fresh, "token", vec![(CAT, GLIBC_AGAINST_CAT)]),
        (glibc, FromDisk, "token", vec![(CAT, GLIBC_AGAINST_CAT)]),
    ];
    let (names, mut programs): (Vec<_>, Vec<_>) = references.into_iter().unzip();
    for (build, age, line, _) in &ours {
        programs.push(build.path.as_ref().map_err(Clone::clone).map(|path| {
            let binary = age.copy(world, path, build.name);
            Program::ours(world, &binary, line)
        }));
    }
    let mut programs: Vec<_> =
        programs.into_iter().map(|program| Ok(program?.checked(&token))).collect();
    let taken = medians(WARM_RUNS, &mut programs, |_, program| program.run());
    let (theirs, times) = taken.split_at(names.len());
    let mut rows = Vec::new();
    for ((build, age, line, targets), time) in ours.into_iter().zip(times) {
        for (reference, target) in targets {
            let what = format!("warm `{line}`, {}, {}", build.name, age.name());
            rows.push(Row::time(&what, time, &theirs[reference], names[reference], target));
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

fn compiled_floor(world: &World) -> Outcome<PathBuf> {
    let compiler = find("cc")?;
    let (source, program) = (world.write("floor.c", FLOOR), world.path("floor"));
    let mut compile = Command::new(compiler);
    compile.args(["-static", "-O2", "-o"]).arg(&program).arg(source).stderr(Stdio::null());
    match compile.status() {
        Ok(status) if status.success() => Ok(program),
        _ => Err("not installed: a static libc".to_owned()),
    }
}

fn cold_row(world: &World, binary: &Path) -> Row {
    let account = format!("@{}", world.account_file().display());
    let (url, ca) = (format!("{}{}", world.astra.url(), stand_in::EXCHANGE), world.path("ca.pem"));
    let curl = find("curl").map(|curl| {
        let ca = ca.display().to_string();
        let json = "content-type: application/json";
        let post =
            ["--silent", "--fail", "--cacert", &ca, "--header", json, "--data", &account, &url];
        Program::new(world, curl, &post).checked("token")
    });
    let mut programs = [Ok(Program::ours(world, binary, "token")), curl];
    let taken = medians(COLD_RUNS, &mut programs, |at, program| {
        if at == 0 {
            make_cold(world);
        }
        program.run()
    });
    Row::time("cold `token`", &taken[0], &taken[1], "`curl`, the same POST", AGAINST_CURL)
}

/// Many calls at the same time on an empty cache. The issuer answers after `delay`, which is subtracted.
fn storm_row(world: &World, binary: &Path, delay: Duration) -> Row {
    let file = world.path("token").display().to_string();
    let cat = find("cat").map(|cat| Program::new(world, cat, &[&file]));
    world.astra.set_delay(delay);
    let mut programs = [Ok(Program::ours(world, binary, "token")), cat];
    let taken = medians(STORMS, &mut programs, |at, program| {
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
    Row::time(&what, &taken[0], &taken[1], &format!("{STORM} × `cat`"), STORM_AGAINST_CAT)
}

fn make_cold(world: &World) {
    let _ = fs::remove_dir_all(world.cache_dir());
}

/// The figures that do not depend on the clock.
fn counts(world: &World, build: &Build) -> Vec<Row> {
    let path = || build.path.as_deref().map_err(Clone::clone);
    let count = |count: u64, most: u64| (count.to_string(), count <= most);
    let instructions = find("valgrind").and_then(|_| path()).map(|path| {
        let found = instructions(world, &path.to_string_lossy(), "token");
        (format!("{} k", found.div_ceil(1000)), found <= build.instructions)
    });
    let calls = find("strace").and_then(|_| path());
    let calls = calls.map(|path| most_system_calls(world, path, build.system_calls));
    let size = path().map(|path| {
        let binary = fs::read(path).expect("the binary");
        let (size, is_static) = (binary.len(), is_static(&binary));
        let shown =
            format!("{:.2} MB{}", size as f64 / 1e6, if is_static { "" } else { ", dynamic" });
        (shown, is_static && size <= LARGEST_BINARY)
    });
    let waiting = match cfg!(target_os = "linux") {
        true => path().map(|path| while_waiting(world, path)),
        false => Err("not installed: Linux's /proc".to_owned()),
    };
    let faults = waiting.clone().map(|(_, faults)| count(faults, build.page_faults));
    let memory = waiting
        .map(|(memory, _)| (format!("{:.2} MB", memory as f64 / 1e3), memory <= MOST_MEMORY));
    let Build { name, instructions: most, system_calls, page_faults, .. } = build;
    let with_file = find("valgrind").and_then(|_| find("strace")).and_then(|_| path());
    let with_file = with_file.map(with_a_file);
    vec![
        Row::count(
            &format!("instructions, warm `token`, {name}"),
            instructions,
            format!("≤ {} k", most / 1000),
        ),
        Row::count(
            &format!("more with a configuration file of ten hosts, {name}"),
            with_file,
            format!("≤ 25 k, {MOST_CALLS_FOR_A_FILE} system calls"),
        ),
        Row::count(
            &format!("system calls of a warm call, the most, {name}"),
            calls,
            format!("≤ {system_calls}, no socket, thread, lock"),
        ),
        Row::count(
            &format!("page faults, warm `token`, {name}, from disk"),
            faults,
            format!("≤ {page_faults}"),
        ),
        Row::count(&format!("binary, stripped, {name}"), size, "≤ 4 MB, static".to_owned()),
        Row::count(&format!("memory at most, warm `token`, {name}"), memory, "≤ 3 MB".to_owned()),
    ]
}

/// The instructions that a configuration file adds to a warm `token`.
fn with_a_file(binary: &Path) -> (String, bool) {
    let world = warm_world();
    let binary = binary.to_string_lossy();
    let count =
        || (instructions(&world, &binary, "token"), system_calls(&world, &binary, "token").len());
    world.call_as(&*binary, "token").run().quiet();
    let before = count();
    write_configuration(&world);
    let after = count();
    let (more, calls) = (after.0.saturating_sub(before.0), after.1.saturating_sub(before.1));
    let is_met = more <= MOST_INSTRUCTIONS_FOR_A_FILE && calls <= MOST_CALLS_FOR_A_FILE;
    (format!("{} k, {calls} system calls", more.div_ceil(1000)), is_met)
}

fn most_system_calls(world: &World, binary: &Path, target: usize) -> (String, bool) {
    let traces = WARM.map(|line| system_calls(world, &binary.to_string_lossy(), line));
    let most = traces.iter().map(Vec::len).max().unwrap_or_default();
    let mut odd: Vec<&str> = traces.iter().flatten().map(String::as_str).collect();
    odd.retain(|call| !ALLOWED.contains(call));
    odd.sort_unstable();
    odd.dedup();
    let odd_ones = odd.iter().map(|call| format!(", `{call}`")).collect::<String>();
    (format!("{most}{odd_ones}"), most <= target && odd.is_empty())
}

/// The peak memory of a warm call, in kilobytes, and its page faults. Both are read while the process waits
/// at a full pipe to write its answer, because after its end the kernel includes its parent's memory.
fn while_waiting(world: &World, binary: &Path) -> (u64, u64) {
    let binary = Age::FromDisk.copy(world, binary, "waiting");
    // The first run reads the file back.
    Program::ours(world, &binary, "token").run();
    let (reader, writer) = io::pipe().expect("a pipe");
    let mut filler = writer.try_clone().expect("a pipe");
    let filler = thread::spawn(move || while filler.write_all(&[0; 4096]).is_ok() {});
    // Long enough to fill the pipe.
    thread::sleep(Duration::from_millis(50));
    let mut program = Program::ours(world, &binary, "token");
    program.open_input();
    let mut child = program.command.stdout(writer).spawn().expect("the program starts");
    // The end of the pipe that the command keeps.
    program.command.stdout(null());
    // Long enough to reach the answer.
    thread::sleep(Duration::from_millis(500));
    let read = |name: &str| fs::read_to_string(format!("/proc/{}/{name}", child.id()));
    let (status, stat) = (read("status").expect("its status"), read("stat").expect("its figures"));
    drop(reader);
    let _ = child.wait();
    let _ = filler.join();
    let memory = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let memory = memory.and_then(|line| line.trim().split(' ').next()?.parse().ok());
    // `minflt` is the tenth word of proc_pid_stat(5); the name, the second, ends in a bracket.
    let faults = stat.rsplit_once(')').and_then(|(_, words)| words.split(' ').nth(8)?.parse().ok());
    memory.zip(faults).expect("a process that waits")
}

/// True if an ELF file names no loader; true of any other.
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

/// The time and the machine of the measurement.
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

/// Formats the rows as a Markdown table.
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
