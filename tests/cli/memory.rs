//! The process that holds the secret: its files in `/proc`, its core dumps, and the protection of its memory.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::processes::Process;
use crate::secrets::{Witness, holds_secret};
use crate::stand_in::Reply;
use crate::world::{BINARY, World, copy_binary, needs, skip};

#[test]
fn the_secret_is_not_in_the_files_of_proc_about_the_process() {
    let witness = Witness::new();
    witness.world.astra.set_answer(|_, _| Reply::Hang);
    for line in ["token -v", "exec -- true", "kubernetes"] {
        let hanging = Process::that_asks(&witness.world, &witness.world.call(line));
        for name in ["environ", "cmdline", "comm", "status"] {
            let Ok(bytes) = fs::read(hanging.file(name)) else {
                skip(&format!("only root can read `{name}` of a process without dumps"));
                continue;
            };
            assert!(!bytes.is_empty() && !holds_secret(&bytes), "{line}: the secret in {name}");
        }
        witness.check_files(line, &HashSet::new());
    }
}

/// Kills the process with that signal. True if it leaves a core, in the folder `cores` if it can.
fn leaves_a_core(world: &World, signal: &str, child: &mut Child) -> bool {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    let status = child.wait().unwrap();
    assert!(status.signal().is_some(), "{status}");
    let files = fs::read_dir(world.path("cores")).unwrap().count();
    status.core_dumped() || files > 0
}

/// A program without a limit on the size of a core, in the folder `cores`.
fn unlimited(world: &World, program: &str, arguments: &str) -> Command {
    fs::create_dir_all(world.path("cores")).unwrap();
    let script = format!("ulimit -c unlimited && exec \"$0\" {arguments}");
    let call = world.call_as("/bin/sh", "-c").arg(script).arg(program);
    call.in_folder(world.path("cores")).command()
}

#[test]
fn a_process_that_holds_the_secret_leaves_no_core() {
    let Witness { world, .. } = Witness::new();
    world.astra.set_answer(|_, _| Reply::Hang);
    // Not `QUIT`, which a shell sets to be ignored in its background jobs and their children.
    for signal in ["-ABRT", "-SEGV"] {
        let mut command = unlimited(&world, BINARY, "token");
        let mut hanging = Process::that_asks_as(&world, &mut command);
        assert!(!leaves_a_core(&world, signal, hanging.child()), "{signal}: a core");
    }
    // Another program leaves one, if the kernel writes cores at all.
    let mut sleep = unlimited(&world, "sleep", "10").stdout(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    if !leaves_a_core(&world, "-ABRT", &mut sleep) {
        let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
        skip(&format!("nothing leaves a core here (core_pattern is `{}`)", pattern.trim()));
    }
}

#[test]
fn only_root_can_look_into_a_process_that_holds_the_secret() {
    needs!(root);
    const USER: u32 = 12345;
    let Witness { world, .. } = Witness::new();
    let binary = world.path("astra-credential");
    copy_binary(&binary);
    for path in [
        world.home.path().to_owned(),
        world.path(".config"),
        world.path(".config/astra-credential"),
        world.account_file(),
        world.path("ca.pem"),
    ] {
        chown(path, Some(USER), Some(USER)).unwrap();
    }
    let mut command = world.call_as(&binary, "token").command();
    command.uid(USER).gid(USER);
    world.astra.set_answer(|_, _| Reply::Hang);
    let hanging = Process::that_asks_as(&world, &mut command);
    assert_eq!(fs::metadata(hanging.file("")).unwrap().uid(), USER);
    for name in ["mem", "environ", "maps"] {
        let file = hanging.file(name);
        assert_eq!(fs::metadata(&file).unwrap().uid(), 0, "{name}");
        let mut read = Command::new("head");
        let read = read.args(["-c", "1", &file]).uid(USER).gid(USER).output().unwrap();
        assert!(!read.status.success(), "{name}");
    }
    let start = Instant::now();
    drop(hanging);
    assert!(start.elapsed() < Duration::from_secs(5));
}

/// The number of `0x…`, which readelf prints.
fn hex(word: &str) -> usize {
    usize::from_str_radix(word.trim_start_matches("0x"), 16).unwrap()
}

#[test]
fn tables_of_functions_are_read_only_while_the_program_runs() {
    needs!("readelf");
    let Witness { world, .. } = Witness::new();
    world.astra.set_answer(|_, _| Reply::Hang);
    let hanging = Process::that_asks(&world, &world.call("token"));
    let Ok(maps) = fs::read_to_string(hanging.file("maps")) else {
        skip("only root can read `maps` of a process without dumps");
        return;
    };
    let headers = Command::new("readelf").args(["-lW", BINARY]).output().unwrap();
    let headers = String::from_utf8(headers.stdout).unwrap();
    // Type, offset, virtual address, physical address, size in the file, size in memory.
    let header = |kind: &str| -> Vec<&str> {
        let line = headers.lines().find(|line| line.trim_start().starts_with(kind));
        line.unwrap_or_else(|| panic!("no {kind}: {headers}")).split_whitespace().collect()
    };
    let mappings: Vec<(usize, usize, &str)> = maps
        .lines()
        .filter(|line| line.ends_with("/astra-credential"))
        .map(|line| {
            let (range, rest) = line.split_once(' ').unwrap();
            let (begin, end) = range.split_once('-').unwrap();
            (hex(begin), hex(end), &rest[..4])
        })
        .collect();
    let base = mappings[0].0 - hex(header("LOAD")[2]);
    let protected = header("GNU_RELRO");
    let begin = base + hex(protected[2]);
    let end = begin + hex(protected[5]);
    // The pages that hold nothing else.
    let of_it = |&&(first, last, _): &&(usize, usize, &str)| first < end && last > begin;
    let found: Vec<_> = mappings.iter().filter(of_it).collect();
    assert!(!found.is_empty(), "{begin:x}-{end:x}: {maps}");
    assert!(found.iter().all(|(.., mode)| *mode == "r--p"), "{begin:x}-{end:x}: {maps}");
}
