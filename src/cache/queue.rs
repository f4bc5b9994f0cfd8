//! The exchange lock, which keeps the number of exchanges small. Nothing else depends on it.
//!
//! Processes that need a token queue for a file lock. One does the exchange, and the others read the result
//! from the cache.
//!
//! The holder updates the modification time of the lock file while it waits for Astra: its heartbeat. This
//! shows that it is not stopped, which `flock` does not show. A waiting process gives up on a holder without a
//! heartbeat, and queues for the next of [`LEVELS`] locks. So one of the waiting processes does an exchange,
//! and not all of them.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::file;
use super::holder::Holder;
use crate::message::{LONG_WAIT, meanwhile};
use crate::seal;
use crate::timestamp::{self, Heartbeat};

/// A place in the queue for the exchange lock.
pub struct Queue {
    /// `None` without a cache.
    locks: Option<Locks>,
    /// The time at which a message explains the wait; `None` after it has been printed.
    explain_from: Option<Instant>,
    deadline: Instant,
    pause: Duration,
}

/// The locks of one identity. The process queues for the lock at `level`.
struct Locks {
    dir: PathBuf,
    identity: String,
    level: u32,
    lock: Option<File>,
    /// The time after which the process gives up on a holder without a heartbeat.
    heartbeat_timeout: Duration,
    /// The last heartbeat of the holder, and the time at which this process first saw it.
    last_beat: (Instant, Option<Heartbeat>),
}

/// The result of a step in the queue.
pub enum Turn {
    /// This process has to do the exchange.
    Exchange(Permit),
    /// Another process does the exchange; read the entry again.
    Wait,
    /// The deadline has passed.
    TooLate,
}

/// The permission to do an exchange. Dropping it releases the lock.
///
/// It contains no lock if there is no cache, if the file system cannot lock, or if the holders of all locks are
/// stopped. Several processes may then do an exchange at the same time.
pub struct Permit(Option<File>);

/// The number of locks. The second is used if the holder of the first is stopped, and the third if the
/// process that took over is stopped too. After that, processes do the exchange without a lock.
const LEVELS: u32 = 3;

/// The interval of a holder's heartbeat.
const BEAT: Duration = Duration::from_millis(100);

/// The shortest heartbeat time-out. On a busy machine some heartbeats are late.
const SHORTEST_HEARTBEAT_TIMEOUT: Duration = Duration::from_millis(500);

/// The shortest heartbeat time-out for the second and third lock. The heartbeat time-out is halved for each of
/// them, so that the three together take less than two thirds of the call's time-out. The rest is left for an
/// exchange.
const SHORTEST_LATER_HEARTBEAT_TIMEOUT: Duration = Duration::from_millis(150);

/// The pause between two steps. It is doubled each time, from the first to the longest.
const PAUSE: std::ops::Range<Duration> = Duration::from_millis(2)..Duration::from_millis(64);

impl Queue {
    /// A queue for `identity` in `dir`, until `deadline`.
    pub fn new(identity: Option<(&Path, String)>, deadline: Instant) -> Self {
        let now = Instant::now();
        let third = deadline.saturating_duration_since(now) / 3;
        let locks = identity.map(|(dir, identity)| Locks {
            dir: dir.to_owned(),
            identity,
            level: 1,
            lock: None,
            heartbeat_timeout: third.max(SHORTEST_HEARTBEAT_TIMEOUT),
            last_beat: (now, None),
        });
        Self { locks, explain_from: Some(now + LONG_WAIT), deadline, pause: PAUSE.start }
    }

    /// Tries to take the lock. Sleeps for a moment if another process holds it.
    ///
    /// # Errors
    /// The lock file cannot be used.
    pub fn step(&mut self) -> io::Result<Turn> {
        let Some(locks) = &mut self.locks else {
            return Ok(Turn::Exchange(Permit(None)));
        };
        let now = Instant::now();
        if let Some(permit) = locks.take(now)? {
            return Ok(Turn::Exchange(permit));
        }
        let left = self.deadline.saturating_duration_since(now);
        if left.is_zero() {
            return Ok(Turn::TooLate);
        }
        thread::sleep(seal::jittered(self.pause).min(left));
        self.pause = (self.pause * 2).min(PAUSE.end);
        Ok(Turn::Wait)
    }

    /// Calls `explain` once, after [`LONG_WAIT`].
    pub fn when_long(&mut self, explain: impl FnOnce(Holder<'_>)) {
        if self.explain_from.take_if(|from| *from <= Instant::now()).is_some() {
            explain(Holder(self.locks.as_ref().and_then(|locks| locks.lock.as_ref())));
        }
    }
}

impl Locks {
    /// Takes the lock. Returns `None` if the process has to wait for it.
    fn take(&mut self, now: Instant) -> io::Result<Option<Permit>> {
        let path = path(&self.dir, &self.identity, self.level);
        let lock = match self.lock.take().filter(|lock| is_at(lock, &path)) {
            Some(lock) => lock,
            None => file::open_to_lock(&path)?,
        };
        match try_lock(&lock) {
            Ok(true) if is_at(&lock, &path) => return Ok(Some(Permit(Some(lock)))),
            // The lock file was removed before it was locked. The next step opens the current one.
            Ok(true) => return Ok(None),
            Ok(false) => {}
            Err(error) if cannot_lock(&error) => {
                log::debug!(
                    "the file system of the cache cannot lock ({error}); going on unlocked"
                );
                return Ok(Some(Permit(None)));
            }
            Err(error) => return Err(error),
        }
        let heartbeat = timestamp::heartbeat(&lock);
        if self.last_beat.1.is_none() || self.last_beat.1 != heartbeat {
            self.last_beat = (now, heartbeat);
        } else if now - self.last_beat.0 > self.heartbeat_timeout {
            if self.level == LEVELS {
                log::debug!("no holder of a lock has a heartbeat; going on without a lock");
                return Ok(Some(Permit(None)));
            }
            log::debug!("the holder of the lock has no heartbeat; going on with the next lock");
            self.level += 1;
            self.heartbeat_timeout =
                (self.heartbeat_timeout / 2).max(SHORTEST_LATER_HEARTBEAT_TIMEOUT);
            self.last_beat = (now, None);
            return Ok(None);
        }
        self.lock = Some(lock);
        Ok(None)
    }
}

impl Permit {
    /// The permission of a process that cannot use the lock file.
    pub fn unlocked() -> Self {
        Self(None)
    }

    /// Runs `work`. A thread updates the heartbeat meanwhile, until `deadline` at the latest.
    pub fn with_heartbeat<T>(&self, deadline: Instant, work: impl FnOnce() -> T) -> T {
        let Some(lock) = &self.0 else {
            return work();
        };
        let mut last = timestamp::beat(lock, None);
        // If the thread cannot be started, there is no heartbeat. Another process then gives up on this lock and
        // does an exchange of its own.
        meanwhile(work, |is_under_way| {
            while Instant::now() < deadline && is_under_way(BEAT) {
                last = timestamp::beat(lock, last);
            }
        })
    }
}

/// The lock file of a level, from 1 to [`LEVELS`].
pub fn path(dir: &Path, identity: &str, level: u32) -> PathBuf {
    match level {
        1 => dir.join(format!("{identity}.lock")),
        _ => dir.join(format!("{identity}.{level}.lock")),
    }
}

/// Tries to take a lock without waiting. Returns `false` if another process holds it.
///
/// # Errors
/// The file system cannot lock, or returns another error.
pub fn try_lock(file: &File) -> io::Result<bool> {
    // Called by its full path. Otherwise the compiler would choose the standard library's method of that name.
    match fs2::FileExt::try_lock_exclusive(file) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
        Err(error) if error.raw_os_error() == fs2::lock_contended_error().raw_os_error() => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// True if the open `file` is the one at `path`. A lock on a removed file does not exclude other processes.
#[cfg(unix)]
pub fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    let there = path.symlink_metadata().map(identity);
    // After an error, the open file counts as the one at `path`.
    match (file.metadata().map(identity), there) {
        (Ok(ours), Ok(there)) => ours == there,
        (_, Err(error)) => error.kind() != io::ErrorKind::NotFound,
        (Err(_), _) => true,
    }
}

#[cfg(not(unix))]
pub fn is_at(_: &File, path: &Path) -> bool {
    path.exists()
}

/// True if the error means that the file system does not support locks. Some NFS mounts do not.
fn cannot_lock(error: &io::Error) -> bool {
    #[cfg(unix)]
    {
        use rustix::io::Errno;
        let unable = [Errno::NOLCK, Errno::OPNOTSUPP, Errno::NOSYS];
        unable.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
    }
    #[cfg(not(unix))]
    {
        error.kind() == io::ErrorKind::Unsupported
    }
}
