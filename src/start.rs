//! The entry point on Linux, in place of the runtime's own.
//!
//! The runtime of the standard library reads `/proc/self/maps` at every start, to find the guard page of
//! its stack for a better message on overflow. That is a tenth of a warm call. This module does the rest
//! of the runtime's work that the program needs, and also records whether standard output is closed.
//!
//! All `unsafe` code is here: a symbol's name, the disposition of a signal, and the argument vector.

#![allow(unsafe_code)]

use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
use std::os::unix::ffi::OsStrExt as _;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use rustix::fs::{Mode, OFlags};
use rustix::io::fcntl_getfd;

/// Whether standard output was closed at the start.
static IS_OUTPUT_CLOSED: AtomicBool = AtomicBool::new(false);

/// The argument vector. Without the runtime, `std::env::args` is empty on musl.
static ARGUMENTS: AtomicPtr<*const c_char> = AtomicPtr::new(null_mut());

#[unsafe(no_mangle)]
extern "C" fn main(_count: c_int, arguments: *mut *const c_char) -> c_int {
    ARGUMENTS.store(arguments, Ordering::Relaxed);
    hold_standard_streams();
    // SAFETY: no handler is installed, and no other thread runs yet. With the signal ignored, a reader
    // that closes early causes a write error. `exec` gives its command the default disposition back.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    c_int::from(crate::start())
}

/// Opens `/dev/null` for each standard stream that is closed. Otherwise a file that is opened later, such
/// as a cache entry, would get the number 0, 1 or 2, and the token might be written to it.
fn hold_standard_streams() {
    let is_closed = [
        fcntl_getfd(rustix::stdio::stdin()).is_err(),
        fcntl_getfd(rustix::stdio::stdout()).is_err(),
        fcntl_getfd(rustix::stdio::stderr()).is_err(),
    ];
    IS_OUTPUT_CLOSED.store(is_closed[1], Ordering::Relaxed);
    for _ in is_closed.into_iter().filter(|is_closed| *is_closed) {
        // The kernel assigns the lowest free number.
        if let Ok(null) = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty()) {
            std::mem::forget(null);
        }
    }
}

/// Whether standard output was closed at the start.
pub fn is_output_closed() -> bool {
    IS_OUTPUT_CLOSED.load(Ordering::Relaxed)
}

/// The command line, from the program's own name on.
pub fn arguments() -> impl Iterator<Item = OsString> {
    let vector = ARGUMENTS.load(Ordering::Relaxed);
    let mut at = 0;
    std::iter::from_fn(move || {
        // SAFETY: `main` stored the vector before anything else ran. It ends with a null pointer, which
        // `at` never passes. It and its strings stay in place until the process ends.
        let argument = unsafe {
            let argument = *vector.add(at);
            (!argument.is_null()).then(|| CStr::from_ptr(argument))?
        };
        at += 1;
        Some(OsStr::from_bytes(argument.to_bytes()).to_owned())
    })
}

/// Keeps the resolver of a static C library to /etc/hosts and to DNS. For any other source in
/// nsswitch.conf it would load a module of the system's own C library, which is another version and
/// crashes the process.
#[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
pub fn resolve_without_modules() {
    unsafe extern "C" {
        fn __nss_configure_lookup(database: *const c_char, sources: *const c_char) -> c_int;
    }
    static ONCE: std::sync::Once = std::sync::Once::new();
    // SAFETY: both arguments are strings with a NUL at their end, and live for ever. Every lookup comes
    // after this, so that no other thread reads what it sets.
    ONCE.call_once(|| unsafe {
        __nss_configure_lookup(c"hosts".as_ptr(), c"files dns".as_ptr());
    });
}
