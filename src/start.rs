//! The entry point on Linux, in place of the runtime's own.
//!
//! That one reads `/proc/self/maps` at every start to find the guard page of its stack, for the sake of
//! a better message on overflow: a tenth of a warm call. What else it does and this program needs is
//! done here, and one thing better: a closed standard output is noticed.
//!
//! The only unsafe code: a symbol's name and the disposition of a signal.

#![allow(unsafe_code)]

use std::ffi::{c_char, c_int};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Mode, OFlags};
use rustix::io::fcntl_getfd;

/// Whether standard output was closed at the start.
static IS_OUTPUT_CLOSED: AtomicBool = AtomicBool::new(false);

#[unsafe(no_mangle)]
extern "C" fn main(_count: c_int, _arguments: *const *const c_char) -> c_int {
    hold_standard_streams();
    // SAFETY: no handler is installed, and no other thread runs yet. A reader that leaves early is
    // then an error of writing. `exec` hands the default on to its command.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    c_int::from(crate::start())
}

/// Keeps the numbers 0, 1 and 2 from files that are opened later, which a token might end up in.
fn hold_standard_streams() {
    let is_closed = [
        fcntl_getfd(rustix::stdio::stdin()).is_err(),
        fcntl_getfd(rustix::stdio::stdout()).is_err(),
        fcntl_getfd(rustix::stdio::stderr()).is_err(),
    ];
    IS_OUTPUT_CLOSED.store(is_closed[1], Ordering::Relaxed);
    for _ in is_closed.into_iter().filter(|is_closed| *is_closed) {
        // Takes the lowest number that is free.
        if let Ok(null) = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty()) {
            std::mem::forget(null);
        }
    }
}

/// Whether an answer has nowhere to go.
pub fn is_output_closed() -> bool {
    IS_OUTPUT_CLOSED.load(Ordering::Relaxed)
}
