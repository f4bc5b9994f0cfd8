//! What is said on standard error: failures and warnings in a line each, what happens under `-v`, and,
//! on a terminal, why a call takes so long.
//!
//! Other modules speak through `log`: a warning stays, an info is for now. It stands on the terminal
//! until it is wiped by [`wipe`] or by whatever is said next; where standard error is no terminal,
//! it is not said.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// A wait of which a person wants to know the reason.
pub const LONG_WAIT: Duration = Duration::from_secs(1);

/// Whether something for now stands on the terminal.
static IS_SHOWN: AtomicBool = AtomicBool::new(false);

/// Back to the first column, and clear to the end of the line.
const WIPE: &str = "\r\x1b[K";

/// Tells whether the locale is one of UTF-8. A function, because most calls print no message.
static IS_UTF_8: OnceLock<fn() -> bool> = OnceLock::new();

/// Has messages printed in ASCII unless `is_utf_8`.
pub fn set_locale(is_utf_8: fn() -> bool) {
    let _ = IS_UTF_8.set(is_utf_8);
}

/// A text in the characters of the locale: in ASCII unless that is one of UTF-8.
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

/// One message on standard error. A full or closed one is no reason to fail.
pub fn say(message: &str) {
    let wipe = if IS_SHOWN.swap(false, Ordering::Relaxed) { WIPE } else { "" };
    let message = in_locale(message);
    let _ = io::stderr().write_all(format!("{wipe}astra-credential: {message}\n").as_bytes());
}

/// Prints a text of several lines on standard error, as it is.
pub fn show(text: &str) {
    let _ = io::stderr().write_all(in_locale(text).as_bytes());
}

/// Takes back what was said for now.
pub fn wipe() {
    if IS_SHOWN.swap(false, Ordering::Relaxed) {
        let _ = io::stderr().write_all(WIPE.as_bytes());
    }
}

/// Runs `work`; on a terminal, says `why` while it lasts for long.
pub fn explain<T>(why: impl Display + Send, work: impl FnOnce() -> T) -> T {
    if !io::stderr().is_terminal() {
        return work();
    }
    thread::scope(|scope| {
        let (done, is_done) = channel::<()>();
        let explain = move || {
            if is_done.recv_timeout(LONG_WAIT) == Err(RecvTimeoutError::Timeout) {
                log::info!("{why}");
            }
        };
        // Without a thread the wait goes unexplained.
        let _ = thread::Builder::new().stack_size(64 * 1024).spawn_scoped(scope, explain);
        let result = work();
        drop(done);
        result
    })
}

fn say_for_now(message: &dyn Display) {
    if io::stderr().is_terminal() {
        let line = format!("astra-credential: {message}");
        let line = in_locale(&line);
        // A line that wraps could not be wiped.
        let shown: String = line.chars().take(columns() - 1).collect();
        IS_SHOWN.store(true, Ordering::Relaxed);
        let _ = io::stderr().write_all(format!("{WIPE}{shown}").as_bytes());
    }
}

/// The terminal's width; one that does not tell is as wide as it takes.
fn columns() -> usize {
    #[cfg(unix)]
    if let Ok(size) = rustix::termios::tcgetwinsize(io::stderr())
        && size.ws_col > 0
    {
        return size.ws_col.into();
    }
    usize::MAX
}

/// Warnings always, what happens only when asked for; of this crate alone, since what others log
/// might hold a secret.
pub fn listen(is_verbose: bool) {
    struct Listener;
    impl log::Log for Listener {
        fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
            metadata.target().starts_with(env!("CARGO_CRATE_NAME"))
        }

        fn log(&self, record: &log::Record<'_>) {
            if self.enabled(record.metadata()) {
                match record.level() {
                    log::Level::Error | log::Level::Warn => {
                        say(&format!("warning: {}", record.args()));
                    }
                    log::Level::Info => say_for_now(record.args()),
                    log::Level::Debug | log::Level::Trace => say(&record.args().to_string()),
                }
            }
        }

        fn flush(&self) {}
    }
    if log::set_logger(&Listener).is_ok() {
        log::set_max_level(if is_verbose {
            log::LevelFilter::Debug
        } else {
            log::LevelFilter::Info
        });
    }
}
