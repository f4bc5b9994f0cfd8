//! Runs a program of another vendor.

use std::ffi::OsStr;
use std::io::{self, Read, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::SetupError;
use crate::shown::{Escaped, shell_word};

/// The largest output that is read, in bytes.
const LARGEST_OUTPUT: u64 = 16 * 1024 * 1024;

/// The largest number of characters of an error message that are shown.
const LONGEST_MESSAGE: usize = 300;

/// The interval at which a program's exit code is polled, after it has closed its outputs.
const INTERVAL: Duration = Duration::from_millis(1);

/// Runs a command and returns its standard output. The command is killed if it has not ended after `longest`.
///
/// # Errors
/// The command cannot be run, fails, or is too slow.
pub fn run(
    command: &[impl AsRef<OsStr>],
    input: &[u8],
    longest: Duration,
) -> Result<String, SetupError> {
    let not_run = |why: io::Error| SetupError::ToolNotRun { command: line(command), why };
    let Some((program, arguments)) = command.split_first() else {
        return Err(not_run(io::ErrorKind::InvalidInput.into()));
    };
    let deadline = Instant::now() + longest;
    let mut child = Command::new(program);
    child.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().map_err(not_run)?;
    let finished = finish(&mut child, input, deadline);
    // This fails if the process has ended, as it should have.
    let _ = child.kill();
    let status = child.wait().map_err(not_run)?;
    let (stdout, stderr) = finished.map_err(not_run)?;
    if status.success() {
        return Ok(String::from_utf8_lossy(&stdout).into_owned());
    }
    let message = String::from_utf8_lossy(&stderr);
    let message = match message.trim() {
        "" => status.to_string(),
        message => Escaped(&message.chars().take(LONGEST_MESSAGE).collect::<String>()).to_string(),
    };
    Err(SetupError::ToolFailed { command: line(command), message })
}

/// Gives the process its input, and returns its standard output and standard error once it has ended.
fn finish(child: &mut Child, input: &[u8], deadline: Instant) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let late = || io::Error::from(io::ErrorKind::TimedOut);
    let left = || deadline.saturating_duration_since(Instant::now());
    let stdout = read(child.stdout.take())?;
    let stderr = read(child.stderr.take())?;
    if let Some(mut stdin) = child.stdin.take() {
        let input = input.to_vec();
        // This fails if the command has ended already. Its exit code is then the error.
        thread::Builder::new().spawn(move || drop(stdin.write_all(&input)))?;
    }
    let stdout = stdout.recv_timeout(left()).map_err(|_| late())??;
    let stderr = stderr.recv_timeout(left()).map_err(|_| late())??;
    while child.try_wait()?.is_none() {
        if left().is_zero() {
            return Err(late());
        }
        thread::sleep(INTERVAL);
    }
    Ok((stdout, stderr))
}

/// Reads an output in a thread.
fn read(output: Option<impl Read + Send + 'static>) -> io::Result<Receiver<io::Result<Vec<u8>>>> {
    let (sender, receiver) = channel();
    let read = move || {
        let mut bytes = Vec::new();
        let read = output.map(|output| output.take(LARGEST_OUTPUT).read_to_end(&mut bytes));
        let _ = sender.send(read.transpose().map(|_| bytes));
    };
    thread::Builder::new().spawn(read)?;
    Ok(receiver)
}

/// A command line for a shell.
pub fn line(command: &[impl AsRef<OsStr>]) -> String {
    let words = command.iter().map(|word| shell_word(&word.as_ref().to_string_lossy()));
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn shell(script: &str, input: &[u8], longest: Duration) -> Result<String, SetupError> {
        run(&["sh", "-c", script], input, longest)
    }

    #[test]
    fn a_program_that_writes_much_before_it_reads_gets_its_whole_input() {
        let input = [b'x'; 300_000];
        let script = "head -c 300000 /dev/zero; cat";
        let printed = shell(script, &input, Duration::from_secs(60)).unwrap();
        assert_eq!(printed.len(), 600_000);
    }

    #[test]
    fn a_program_that_is_too_slow_is_killed() {
        for script in ["exec sleep 60", "exec sleep 60 >/dev/null 2>&1"] {
            let start = Instant::now();
            let slow = shell(script, b"", Duration::from_millis(100));
            let is_late = |why: &io::Error| why.kind() == io::ErrorKind::TimedOut;
            assert!(matches!(slow, Err(SetupError::ToolNotRun { why, .. }) if is_late(&why)));
            assert!(start.elapsed() < Duration::from_secs(30));
        }
    }

    #[test]
    fn the_message_of_a_program_or_its_exit_code_is_the_error() {
        let failed = |script| {
            let failed = shell(script, b"", Duration::from_secs(60)).unwrap_err();
            crate::error::Error::from(failed).to_string()
        };
        assert_eq!(
            failed("echo no such key >&2; exit 3"),
            "`sh -c 'echo no such key >&2; exit 3'` failed: no such key"
        );
        assert_eq!(failed("exit 3"), "`sh -c 'exit 3'` failed: exit status: 3");
    }
}
