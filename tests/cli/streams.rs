//! Standard streams that are closed, full or without a reader, and a system without `/dev` or `/proc`.

use std::fs;

use crate::world::{BINARY, Done, World, is_ci, skip};

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
        let _ = fs::remove_dir_all(world.path(".cache"));
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
