//! Messages on standard error: failures, warnings, the log of `-v` and, on a terminal, the reason for a
//! long wait.
//!
//! Other modules use `log`:
//! - `warn!` prints a line;
//! - `info!` prints a temporary line, on a terminal only. The next message or [`wipe`] erases it;
//! - `debug!` prints a line under `-v`.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use log::{Level, LevelFilter};

/// The time after which a message explains a wait.
pub const LONG_WAIT: Duration = Duration::from_secs(1);

/// True while a temporary line is on the terminal.
static IS_SHOWN: AtomicBool = AtomicBool::new(false);

/// Moves the cursor to the first column and clears the line.
const WIPE: &str = "\r\x1b[K";

/// Determines if the locale uses UTF-8. It is called for the first message, because most calls print none.
static IS_UTF_8: OnceLock<fn() -> bool> = OnceLock::new();

/// Sets the function that determines if messages may contain UTF-8.
pub fn set_locale(is_utf_8: fn() -> bool) {
    let _ = IS_UTF_8.set(is_utf_8);
}

/// Converts a text to ASCII, unless the locale uses UTF-8.
pub fn in_locale(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || IS_UTF_8.get().is_none_or(|is_utf_8| is_utf_8()) {
        return Cow::Borrowed(text);
    }
    let mut ascii = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{2026}' => ascii.push_str("..."),
            '\u{2018}' | '\u{2019}' => ascii.push('\''),
            '\u{201c}' | '\u{201d}' => ascii.push('"'),
            '\u{2010}'..='\u{2015}' => ascii.push('-'),
            '\u{2192}' => ascii.push_str("->"),
            c if c.is_ascii() => ascii.push(c),
            c => ascii.extend(c.escape_unicode()),
        }
    }
    Cow::Owned(ascii)
}

/// Prints a message on standard error. Errors are ignored, because standard error may be full or closed.
pub fn print_line(message: &str) {
    let wipe = if IS_SHOWN.swap(false, Ordering::Relaxed) { WIPE } else { "" };
    let message = in_locale(message);
    let _ = io::stderr().write_all(format!("{wipe}astra-credential: {message}\n").as_bytes());
}

/// Prints a text of several lines on standard error, without a prefix.
pub fn print_text(text: &str) {
    let _ = io::stderr().write_all(in_locale(text).as_bytes());
}

/// Erases the temporary line.
pub fn wipe() {
    if IS_SHOWN.swap(false, Ordering::Relaxed) {
        let _ = io::stderr().write_all(WIPE.as_bytes());
    }
}

/// Runs `work`. On a terminal, prints `why` as a temporary line if `work` takes longer than [`LONG_WAIT`].
pub fn explain_wait<T>(why: &str, work: impl FnOnce() -> T) -> T {
    if !io::stderr().is_terminal() {
        return work();
    }
    meanwhile(work, |is_under_way| {
        if is_under_way(LONG_WAIT) {
            log::info!("{why}");
        }
    })
}

/// Runs `work` and, in a thread, `other`. `other` gets a function that waits for a time, and returns `false` as soon
/// as `work` has ended. If the thread cannot be started, only `work` runs.
pub fn meanwhile<T>(
    work: impl FnOnce() -> T,
    other: impl FnOnce(&dyn Fn(Duration) -> bool) + Send,
) -> T {
    thread::scope(|scope| {
        let (done, is_done) = channel::<()>();
        let other = move || {
            other(&|time| is_done.recv_timeout(time) == Err(RecvTimeoutError::Timeout));
        };
        let _ = thread::Builder::new().stack_size(64 * 1024).spawn_scoped(scope, other);
        let result = work();
        drop(done);
        result
    })
}

/// Prints a temporary line, on a terminal only.
fn print_temporary(message: &dyn Display) {
    if io::stderr().is_terminal() {
        let line = format!("astra-credential: {message}");
        let line = in_locale(&line);
        // A line that wraps cannot be erased.
        let shown: String = line.chars().take(columns() - 1).collect();
        IS_SHOWN.store(true, Ordering::Relaxed);
        let _ = io::stderr().write_all(format!("{WIPE}{shown}").as_bytes());
    }
}

/// The terminal's width; the largest number if it is unknown.
fn columns() -> usize {
    #[cfg(unix)]
    if let Ok(size) = rustix::termios::tcgetwinsize(io::stderr())
        && size.ws_col > 0
    {
        return size.ws_col.into();
    }
    usize::MAX
}

/// Starts the log. `debug!` is included if `is_verbose`. Messages of other crates are dropped, since one might
/// contain a secret.
pub fn start_log(is_verbose: bool) {
    struct Listener;
    impl log::Log for Listener {
        fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
            metadata.target().starts_with(env!("CARGO_CRATE_NAME"))
        }

        fn log(&self, record: &log::Record<'_>) {
            let message = record.args();
            match record.level() {
                _ if !self.enabled(record.metadata()) => {}
                Level::Error | Level::Warn => print_line(&format!("warning: {message}")),
                Level::Info => print_temporary(message),
                Level::Debug | Level::Trace => print_line(&message.to_string()),
            }
        }

        fn flush(&self) {}
    }
    if log::set_logger(&Listener).is_ok() {
        log::set_max_level(if is_verbose { LevelFilter::Debug } else { LevelFilter::Info });
    }
}
