//! The entry point on Unix, in place of the runtime's own.
//!
//! On Linux, the runtime of the standard library reads `/proc/self/maps` at every start, to find the guard
//! page of its stack for a better message on overflow. That is a tenth of a warm call. On every Unix, it opens
//! `/dev/null` for a closed standard output. The answer would then be lost without an error.
//! This module does the rest of the runtime's work that the program needs.
//!
//! All `unsafe` code is here: a symbol's name, the dispositions of two signals, the argument vector, the
//! protection of relocated data, and the allocator.

#![allow(unsafe_code)]

use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{fcntl_getfd, retry_on_intr};

/// The signals of failed writes. By default each ends the process without a message: a reader that closes
/// early sends SIGPIPE, and a file that grows beyond `RLIMIT_FSIZE` sends SIGXFSZ. Ignored, both are
/// errors of the write.
const IGNORED: [c_int; 2] = [libc::SIGXFSZ, libc::SIGPIPE];

/// True if each of [`IGNORED`] was ignored at the start.
static WAS_IGNORED: [AtomicBool; 2] = [const { AtomicBool::new(false) }; 2];

/// True if standard output was closed at the start.
static IS_OUTPUT_CLOSED: AtomicBool = AtomicBool::new(false);

/// The argument vector. Without the runtime, `std::env::args` is empty on musl.
static ARGUMENTS: AtomicPtr<*const c_char> = AtomicPtr::new(null_mut());

#[unsafe(no_mangle)]
extern "C" fn main(_count: c_int, arguments: *mut *const c_char) -> c_int {
    #[cfg(all(target_env = "musl", target_feature = "crt-static"))]
    relocated::protect();
    ARGUMENTS.store(arguments, Ordering::Relaxed);
    if !hold_standard_streams() {
        return 1;
    }
    ignore_signals();
    c_int::from(crate::start())
}

/// Opens a file for each standard stream that is closed; `false` if that is not possible. Otherwise a
/// file that is opened later, such as the lock, would get the number 0, 1 or 2, and messages or the
/// token would be written to it.
fn hold_standard_streams() -> bool {
    let streams = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    // Without events, poll(2) returns at once and reports the closed ones, and on macOS every device.
    let mut polled = streams.map(|stream| PollFd::from_borrowed_fd(stream, PollFlags::empty()));
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    if retry_on_intr(|| poll(&mut polled, Some(&now))) == Ok(0) {
        return true;
    }
    let is_closed = streams.map(|stream| fcntl_getfd(stream).is_err());
    IS_OUTPUT_CLOSED.store(is_closed[1], Ordering::Relaxed);
    // Reading from the root folder and writing to it fail, as for a closed stream.
    #[cfg(target_os = "linux")]
    let unusable = OFlags::PATH;
    #[cfg(not(target_os = "linux"))]
    let unusable = OFlags::RDONLY;
    // The kernel assigns the lowest free number.
    is_closed.into_iter().filter(|is_closed| *is_closed).all(|_| {
        let null = open("/dev/null", OFlags::RDWR, Mode::empty());
        null.or_else(|_| open("/", unusable, Mode::empty())).map(std::mem::forget).is_ok()
    })
}

/// True if standard output was closed at the start.
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

/// Ignores the signals of failed writes.
fn ignore_signals() {
    for (signal, was_ignored) in IGNORED.iter().zip(&WAS_IGNORED) {
        // SAFETY: no handler is installed, and no other thread runs yet.
        let before = unsafe { libc::signal(*signal, libc::SIG_IGN) };
        was_ignored.store(before == libc::SIG_IGN, Ordering::Relaxed);
    }
}

/// Starts `command` with the dispositions that this process inherited, as env(1) does.
pub fn restore_signals(command: &mut Command) {
    let restore = || {
        for (signal, was_ignored) in IGNORED.iter().zip(&WAS_IGNORED) {
            let was_ignored = was_ignored.load(Ordering::Relaxed);
            let disposition = if was_ignored { libc::SIG_IGN } else { libc::SIG_DFL };
            // SAFETY: no handler is installed.
            unsafe { libc::signal(*signal, disposition) };
        }
        Ok(())
    };
    // SAFETY: signal(2) is safe between fork and exec.
    unsafe { command.pre_exec(restore) };
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

/// The data that is constant once the addresses in it are relocated: tables of functions and of strings.
#[cfg(all(target_env = "musl", target_feature = "crt-static"))]
mod relocated {
    use std::ffi::{c_int, c_void};
    use std::ptr::null_mut;
    use std::slice;

    /// Makes this data read-only. glibc's start code and every dynamic loader do this, musl's start code of a
    /// static binary does not.
    pub fn protect() {
        // SAFETY: the callback has the right type, and needs no data.
        unsafe { libc::dl_iterate_phdr(Some(protect_object), null_mut()) };
    }

    unsafe extern "C" fn protect_object(
        object: *mut libc::dl_phdr_info,
        _size: usize,
        _data: *mut c_void,
    ) -> c_int {
        // SAFETY: the C library passes a valid object. The linker has put no variable into these pages.
        unsafe {
            let object = &*object;
            let headers = slice::from_raw_parts(object.dlpi_phdr, object.dlpi_phnum.into());
            for header in headers.iter().filter(|header| header.p_type == libc::PT_GNU_RELRO) {
                let page = libc::sysconf(libc::_SC_PAGESIZE) as usize;
                let begin = (object.dlpi_addr + header.p_vaddr) as usize;
                let end = begin + header.p_memsz as usize;
                let (begin, end) = (begin & !(page - 1), end & !(page - 1));
                libc::mprotect(begin as *mut c_void, end - begin, libc::PROT_READ);
            }
        }
        0
    }
}

/// An allocator that serves the first allocations from zeroed memory of the binary. It is enough for a warm
/// call, which therefore requests no memory from the kernel and touches few pages.
#[cfg(target_os = "linux")]
mod arena {
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::cell::UnsafeCell;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// The size of the arena, in bytes. Further allocations are the system allocator's. A warm call uses a
    /// fifth of it; a page that is not touched needs no memory.
    const ARENA: usize = 64 * 1024;

    /// Alignments up to this one are served from the arena.
    const ALIGNMENT: usize = 16;

    /// Allocates from the start of the arena. Freed memory is reused only if it was the last allocation.
    ///
    /// `used` is next to the first allocations, and nothing is aligned to a page, because each page that is
    /// touched costs a page fault.
    #[repr(C)]
    struct Arena {
        used: AtomicUsize,
        bytes: Bytes,
    }

    #[repr(align(16))]
    struct Bytes(UnsafeCell<[u8; ARENA]>);

    const _: () = assert!(align_of::<Bytes>() == ALIGNMENT);

    // SAFETY: `used` changes atomically, and each byte below it belongs to one allocation.
    unsafe impl Sync for Arena {}

    #[global_allocator]
    static HEAP: Arena =
        Arena { used: AtomicUsize::new(0), bytes: Bytes(UnsafeCell::new([0; ARENA])) };

    impl Arena {
        /// The offset of memory from the arena; `None` for the system's.
        fn offset(&self, memory: *mut u8) -> Option<usize> {
            let offset = memory.addr().wrapping_sub(self.bytes.0.get().addr());
            (offset < ARENA).then_some(offset)
        }

        /// Moves the end of the last allocation, which begins at `start`; `false` if another came after it or
        /// there is no room.
        fn resize(&self, start: usize, from: usize, to: usize) -> bool {
            let end = start.saturating_add(to);
            let moved = || {
                self.used.compare_exchange(start + from, end, Ordering::Relaxed, Ordering::Relaxed)
            };
            end <= ARENA && moved().is_ok()
        }
    }

    // SAFETY: each allocation has its own bytes, in the arena or from the system's allocator, and goes back
    // to the one that it came from.
    unsafe impl GlobalAlloc for Arena {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            let take = |used: usize| {
                let end = used.next_multiple_of(ALIGNMENT).checked_add(layout.size())?;
                (end <= ARENA && layout.align() <= ALIGNMENT).then_some(end)
            };
            match self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
                // SAFETY: the closure has checked that the end is within the arena.
                Ok(used) => unsafe {
                    self.bytes.0.get().cast::<u8>().add(used.next_multiple_of(ALIGNMENT))
                },
                // SAFETY: the caller's promises about the layout hold here, too.
                Err(_) => unsafe { System.alloc(layout) },
            }
        }

        unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
            match self.offset(memory) {
                Some(start) => drop(self.resize(start, layout.size(), 0)),
                // SAFETY: what is not in the arena came from there.
                None => unsafe { System.dealloc(memory, layout) },
            }
        }

        unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            let Some(start) = self.offset(memory) else {
                // SAFETY: what is not in the arena came from there.
                return unsafe { System.realloc(memory, layout, size) };
            };
            if self.resize(start, layout.size(), size) {
                return memory;
            }
            // SAFETY: the new memory is another piece than the old, and both hold the shorter length.
            unsafe {
                let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
                if !new.is_null() {
                    memory.copy_to_nonoverlapping(new, layout.size().min(size));
                    self.dealloc(memory, layout);
                }
                new
            }
        }
    }
}
