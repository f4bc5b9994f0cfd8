//! The cost of a warm call: its system calls and its instructions. Neither depends on the load of the machine.
//!
//! The tests count them in the debug build, and `cargo bench -- --guard` in the release build.

use std::ffi::OsString;
use std::fs;

use crate::world::{BINARY, World, needs};

/// The commands that other programs call hundreds of times for each exchange.
pub const WARM: [&str; 4] = ["token", "kubernetes", "git get", "bazel get"];

/// The most system calls of a warm call, in a debug and in a release build.
pub const MOST_SYSTEM_CALLS: usize = 60;

/// The most instructions of a warm call in a debug build, in thousands and in the order of [`WARM`]: a
/// quarter more than were measured. Two of the calls format an expiry, with code that is not optimised.
const MOST_THOUSANDS: [u64; 4] = [560, 1200, 615, 1225];

/// The system calls that a warm call may make, on any architecture. Others are missing on purpose, above all
/// `socket`, `clone`, `flock`, `fcntl`, `fsync`, `rename` and `unlink`.
pub const ALLOWED: [&str; 36] = [
    "access",
    "arch_prctl",
    "brk",
    "clock_gettime",
    "close",
    "execve",
    "exit_group",
    "fstat",
    "futex",
    "geteuid",
    "getrandom",
    "gettid",
    "madvise",
    "mmap",
    "mprotect",
    "mremap",
    "munmap",
    "newfstatat",
    "open",
    "openat",
    "poll",
    "ppoll",
    "prctl",
    "pread64",
    "prlimit64",
    "read",
    "readlink",
    "readlinkat",
    "rseq",
    "rt_sigaction",
    "sched_getaffinity",
    "set_robust_list",
    "set_tid_address",
    "sigaltstack",
    "statx",
    "write",
];

/// A world whose cache holds a token.
pub fn warm_world() -> World {
    let world = World::new();
    world.token();
    world
}

/// The standard input of a warm call.
pub fn input(world: &World, line: &str) -> String {
    match line.split(' ').next() {
        Some("git") => world.git_request(),
        Some("bazel") => format!(r#"{{"uri":"{}"}}"#, world.astra.url()),
        _ => String::new(),
    }
}

/// The names of a warm call's system calls, in order.
pub fn system_calls(world: &World, program: &str, line: &str) -> Vec<String> {
    // Each line has a process, a name and arguments in brackets. Lines about signals and exits have no name.
    let name = |call: &str| {
        // The standard library's own check, in a debug build alone.
        if call.contains("F_GETFD") {
            return None;
        }
        let (name, _) = call.split_once(' ')?.1.trim_start().split_once('(')?;
        let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        is_name.then(|| name.to_owned())
    };
    watched(world, program, line, "strace -f -o").lines().filter_map(name).collect()
}

/// The number of instructions of a warm call.
pub fn instructions(world: &World, program: &str, line: &str) -> u64 {
    let profile =
        watched(world, program, line, "valgrind --quiet --tool=callgrind --callgrind-out-file=");
    let total = profile.lines().find_map(|line| line.strip_prefix("summary: "));
    total.and_then(|total| total.trim().parse().ok()).expect("a sum in the profile")
}

/// The output of a tool that watches a warm call, read from the file that the tool's last option names.
pub fn watched(world: &World, program: &str, line: &str, tool: &str) -> String {
    let file = world.path("watched");
    let mut words: Vec<OsString> = tool.split(' ').map(OsString::from).collect();
    match words.last_mut() {
        Some(option) if tool.ends_with('=') => option.push(&file),
        _ => words.push(file.clone().into()),
    }
    words.push(program.into());
    words.extend(line.split(' ').map(OsString::from));
    let call =
        words.into_iter().fold(world.call_as("/usr/bin/env", ""), |call, word| call.arg(word));
    let done = call.input(input(world, line)).run();
    assert!(done.quiet().len() > 1000, "{done}");
    fs::read_to_string(file).expect("the output of the tool")
}

#[test]
fn a_warm_call_makes_few_system_calls() {
    needs!("strace");
    let world = warm_world();
    for line in WARM {
        let calls = system_calls(&world, BINARY, line);
        assert!((10..=MOST_SYSTEM_CALLS).contains(&calls.len()), "{line}: {calls:?}");
        let unheard_of: Vec<_> =
            calls.iter().filter(|call| !ALLOWED.contains(&call.as_str())).collect();
        assert!(unheard_of.is_empty(), "{line}: {unheard_of:?}");
    }
    assert_eq!(world.astra.exchanges(), 1);
}

#[test]
fn a_warm_call_takes_few_instructions() {
    needs!("valgrind");
    let world = warm_world();
    let counts = WARM.map(|line| instructions(&world, BINARY, line) / 1000);
    for ((line, thousands), most) in WARM.iter().zip(counts).zip(MOST_THOUSANDS) {
        assert!(thousands <= most, "{line}: {thousands} thousand instructions, not {most}");
    }
    assert_eq!(world.astra.exchanges(), 1);
}

/// The system calls that a configuration file of ten hosts may add to a call.
pub const MOST_CALLS_FOR_A_FILE: usize = 8;

/// The instructions that such a file may add in a debug build, in thousands: a quarter more than were
/// measured. For a release build, `cargo bench -- --guard` allows 25.
const MOST_THOUSANDS_FOR_A_FILE: u64 = 140;

/// Writes such a file.
pub fn write_configuration(world: &World) {
    let host = |number| format!("\"git{number}.example.com\"");
    let hosts = (1..=10).map(host).collect::<Vec<_>>().join(", ");
    let config =
        format!("{{\n  \"accounts\": {{\n    \"default\": {{ \"hosts\": [{hosts}] }}\n  }}\n}}\n");
    world.write(".config/astra-credential/config.json", config);
}

#[test]
fn a_configuration_file_adds_little_to_a_warm_call() {
    needs!("strace", "valgrind");
    let world = warm_world();
    let count = |line: &str| {
        (system_calls(&world, BINARY, line), instructions(&world, BINARY, line) / 1000)
    };
    let opened = |calls: &[String]| calls.iter().filter(|call| call.starts_with("open")).count();
    let before = WARM.map(count);
    write_configuration(&world);
    for (line, (calls, thousands)) in WARM.iter().zip(before) {
        let (with, more) = count(line);
        let further = with.len() - calls.len();
        assert!(further <= MOST_CALLS_FOR_A_FILE, "{line}: {further} calls more: {with:?}");
        // Without the file there is the same number of opens, which fail.
        assert_eq!(opened(&with), opened(&calls), "{line}");
        let more = more - thousands;
        assert!((1..=MOST_THOUSANDS_FOR_A_FILE).contains(&more), "{line}: {more} thousand more");
    }
    assert_eq!(world.astra.exchanges(), 1);
}
