//! Entries on disk, the lock beside each, and the right to write.
//!
//! An entry is one sealed file per identity, replaced by renaming, never changed in place; so a
//! reader needs no lock. Who misses queues for the lock, and the [`Slot`] that comes out of the
//! [`Queue`] is the permission to write: who has not queued cannot write, who has written cannot
//! write again.
//!
//! Two rules hold everywhere in here. What is on disk is not believed: anything but a private
//! regular file of this user's that opens under the seal is a miss, never an error. And trouble
//! with the cache never costs the token: it is said in one line, and the program goes on without.
//!
//! A lock whose holder shows no sign of life is not waited for. `flock` cannot tell a holder that
//! waits for Astra from one that was stopped, so the holder touches the lock file while it waits.

mod failure;
mod holder;

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

#[cfg(unix)]
use rustix::io::retry_on_intr;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::ExchangeError;
use crate::message::LONG_WAIT;
use crate::seal::{self, Seal};
use crate::shown;
use crate::timestamp::{self, Heartbeat, Timestamp};
use crate::token::{LARGEST_BEARER, Secret, Token, Validity};

pub use self::failure::LastFailure;
pub use self::holder::Holder;

/// The cache of one identity.
pub struct Cache {
    place: Option<Place>,
    /// Whether trouble has been said aloud: one line a call.
    has_warned: Cell<bool>,
}

struct Place {
    dir: PathBuf,
    name: String,
    seal: Seal,
}

/// What is known of an identity: a token, a verdict of late, both, or nothing.
#[derive(Debug, Default)]
pub struct Entry {
    /// The last token, which may have expired.
    pub token: Option<Token>,
    /// Why the last exchange failed.
    pub verdict: Option<Verdict>,
}

/// A failed exchange, and for how long Astra is not asked again.
#[derive(Debug, Deserialize, Serialize)]
pub struct Verdict {
    /// What happened.
    pub trouble: ExchangeError,
    /// On which way to Astra.
    pub route: String,
    /// When.
    pub at: Timestamp,
    /// Not asked again before.
    pub until: Timestamp,
}

/// The largest entry that is read, in bytes: the largest token, and room for the rest.
const LARGEST_ENTRY: u64 = LARGEST_BEARER as u64 + 8 * 1024;

/// How often a holder that waits for Astra shows that it lives.
const BEAT: Duration = Duration::from_millis(100);

/// However short the time-out, some beats may be late before a waiter loses patience.
const SHORTEST_PATIENCE: Duration = Duration::from_millis(500);

/// How long a waiter sleeps between two looks: from the first to the last, doubling.
const PAUSE: std::ops::Range<Duration> = Duration::from_millis(2)..Duration::from_millis(64);

/// Seconds after which a temporary file belongs to nobody, and an entry to an account gone.
const STALE_TEMPORARY: i64 = 60 * 60;
const STALE_ENTRY: i64 = 30 * 24 * 60 * 60;

/// Names looked at when sweeping: the sweep is a courtesy, and must not cost time.
const SWEPT: usize = 1000;

impl Cache {
    /// The cache of the identity behind `seal`, in `dir`.
    pub fn new(dir: PathBuf, seal: Seal) -> Self {
        let name = seal.name();
        Self { place: Some(Place { dir, name, seal }), has_warned: Cell::new(false) }
    }

    /// A cache that holds nothing and keeps nothing.
    pub fn none() -> Self {
        Self { place: None, has_warned: Cell::new(false) }
    }

    /// The entry, without waiting for anybody. Anything odd is a miss.
    pub fn read(&self) -> Entry {
        self.look().unwrap_or_default()
    }

    /// The entry, or why the system does not let it be read. What is not there, or not what this
    /// program wrote, is an empty one.
    ///
    /// # Errors
    /// Those of opening and reading a file, but for a missing one.
    pub fn look(&self) -> io::Result<Entry> {
        self.place.as_ref().map_or_else(|| Ok(Entry::default()), Place::read)
    }

    /// Queues for the right to write, for `timeout` at the most.
    pub fn queue(&self, timeout: Duration) -> Queue<'_> {
        let now = Instant::now();
        Queue {
            cache: self,
            lock: None,
            explain_from: Some(now + LONG_WAIT),
            deadline: now + timeout,
            patience: (timeout / 3).max(SHORTEST_PATIENCE),
            alive: (now, None),
            pause: PAUSE.start,
        }
    }

    /// Says in one line that the cache cannot be used, and under `-v` whatever else is wrong.
    fn trouble(&self, place: &Place, why: &io::Error) {
        let dir = shown::path(&place.dir);
        let line = format!("cannot use the cache {dir} ({why}); going on without it");
        if self.has_warned.replace(true) {
            log::debug!("{line}");
        } else {
            log::warn!("{line}");
        }
    }
}

/// A place in the queue for an entry's lock.
pub struct Queue<'a> {
    cache: &'a Cache,
    lock: Option<File>,
    /// When to say why this takes so long, unless that has been said.
    explain_from: Option<Instant>,
    deadline: Instant,
    patience: Duration,
    /// When the holder was last seen alive, and by which sign.
    alive: (Instant, Option<Heartbeat>),
    pause: Duration,
}

/// What a step in the queue brought.
pub enum Turn<'a> {
    /// The right to write.
    Yours(Slot<'a>),
    /// Somebody else is at it; look again.
    Wait,
    /// The time is up.
    TooLate,
}

impl<'a> Queue<'a> {
    /// Tries for the lock, and sleeps a little when another process has it.
    pub fn step(&mut self) -> Turn<'a> {
        let cache = self.cache;
        let slot = |lock| Turn::Yours(Slot { cache, lock });
        let Some(place) = &cache.place else {
            return slot(None);
        };
        let lock = match self.lock.take().map_or_else(|| place.open_lock(), Ok) {
            Ok(lock) => lock,
            Err(error) => {
                cache.trouble(place, &error);
                return slot(None);
            }
        };
        // By its full path: the standard library's method of the same name would silently win.
        match fs2::FileExt::try_lock_exclusive(&lock) {
            Ok(()) => return slot(Some(lock)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if is_contended(&error) => {}
            Err(error) if cannot_lock(&error) => {
                log::debug!(
                    "the file system of the cache cannot lock ({error}); going on unlocked"
                );
                return slot(None);
            }
            Err(error) => {
                cache.trouble(place, &error);
                return slot(None);
            }
        }
        let now = Instant::now();
        let jitter = f64::from(seal::random() as u8) / 256.0;
        let heartbeat = timestamp::heartbeat(&lock);
        if self.alive.1.is_none() || self.alive.1 != heartbeat {
            self.alive = (now, heartbeat);
        // Spread over a quarter, so that not everybody loses patience in the same instant.
        } else if now - self.alive.0 > self.patience.mul_f64(1.0 + jitter / 4.0) {
            log::debug!("the holder of the lock shows no sign of life; going on without the lock");
            return slot(None);
        }
        let left = self.deadline.saturating_duration_since(now);
        if left.is_zero() {
            return Turn::TooLate;
        }
        thread::sleep(self.pause.mul_f64(0.5 + jitter).min(left));
        self.pause = (self.pause * 2).min(PAUSE.end);
        self.lock = Some(lock);
        Turn::Wait
    }

    /// Calls `explain` once when the wait has become long.
    pub fn when_long(&mut self, explain: impl FnOnce(Holder<'_>)) {
        if self.explain_from.take_if(|from| *from <= Instant::now()).is_some() {
            explain(Holder(self.lock.as_ref()));
        }
    }
}

/// The right to write an entry, once. Dropping it gives the lock back.
pub struct Slot<'a> {
    cache: &'a Cache,
    /// `None` where locking is not possible, or its holder is dead to the world.
    lock: Option<File>,
}

impl Slot<'_> {
    /// The entry once more, now that nobody else writes; where it cannot be read now, what was
    /// `seen` of it a moment ago.
    pub fn read(&self, seen: Entry) -> Entry {
        self.cache.look().unwrap_or(seen)
    }

    /// Runs `work` while showing those who wait that this process lives.
    pub fn hold<T>(&self, work: impl FnOnce() -> T) -> T {
        let Some(lock) = &self.lock else {
            return work();
        };
        let show_life = || {
            let _ = timestamp::beat(lock);
        };
        show_life();
        thread::scope(|scope| {
            let (done, is_done) = std::sync::mpsc::channel::<()>();
            let beats = move || {
                while is_done.recv_timeout(BEAT) == Err(std::sync::mpsc::RecvTimeoutError::Timeout)
                {
                    show_life();
                }
            };
            // Without a thread the others lose patience, which costs an exchange and no token.
            let _ = thread::Builder::new().stack_size(64 * 1024).spawn_scoped(scope, beats);
            let result = work();
            drop(done);
            result
        })
    }

    /// Writes `entry`, and sweeps what earlier processes left behind.
    pub fn fill(self, entry: &Entry) {
        let Some(place) = &self.cache.place else {
            return;
        };
        match place.write(entry) {
            Ok(()) => place.sweep(self.lock.is_some()),
            Err(error) => self.cache.trouble(place, &error),
        }
    }

    /// Removes the entry.
    ///
    /// # Errors
    /// The entry is there and cannot be removed.
    pub fn clear(self) -> io::Result<()> {
        let Some(place) = &self.cache.place else {
            return Ok(());
        };
        match fs::remove_file(place.file("entry")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl Place {
    fn file(&self, extension: &str) -> PathBuf {
        self.dir.join(format!("{}.{extension}", self.name))
    }

    fn read(&self) -> io::Result<Entry> {
        let mut file = match open_to_read(&self.file("entry")) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Entry::default()),
            Err(error) => {
                log::debug!("the cache entry cannot be opened ({error}): a miss");
                return Err(error);
            }
        };
        let entry = match private_length(&file)? {
            Some(length) => {
                let mut sealed = read_exactly(&mut file, length)?;
                self.seal.open(&mut sealed).and_then(|json| Entry::from_json(json))
            }
            None => None,
        };
        if entry.is_none() {
            log::debug!("the cache entry is not what this program wrote: a miss");
        }
        Ok(entry.unwrap_or_default())
    }

    /// Opens the lock file, and makes it and the folder if they are not there.
    fn open_lock(&self) -> io::Result<File> {
        let path = self.file("lock");
        let lock = match open_to_lock(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_private_dir(&self.dir)?;
                open_to_lock(&path)
            }
            opened => opened,
        }?;
        if !lock.metadata()?.is_file() {
            return Err(io::Error::other("its lock is not a regular file"));
        }
        make_private(&lock)?;
        Ok(lock)
    }

    fn write(&self, entry: &Entry) -> io::Result<()> {
        let sealed = entry.to_json().and_then(|json| self.seal.seal(json));
        let sealed = sealed.ok_or_else(|| io::Error::other("no random numbers"))?;
        replace(&self.dir, &self.name, "entry", &sealed)
    }

    /// Removes temporary files of processes that died, entries of accounts long unused, and failures
    /// long past.
    fn sweep(&self, is_locked: bool) {
        let Ok(names) = names(&self.dir) else {
            return;
        };
        let now = Timestamp::now();
        for file_name in names.take(SWEPT).flatten() {
            let path = self.dir.join(&file_name);
            let Some((identity, rest)) = parts_of_name(&file_name) else {
                continue;
            };
            let age = || Some(now.since(Timestamp::of_change(&fs::symlink_metadata(&path).ok()?)?));
            let is_older = |limit: i64| age().is_some_and(|age| age > limit);
            let is_nobodys = match rest {
                "entry" => identity != self.name && is_older(STALE_ENTRY),
                "failure" => is_older(STALE_ENTRY),
                "lock" => false,
                _ => (is_locked && identity == self.name) || is_older(STALE_TEMPORARY),
            };
            if is_nobodys {
                let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
            }
        }
    }
}

/// Replaces a file of this cache's in one step. Not synced: what a power cut leaves behind does not
/// open under the seal, and is a miss.
fn replace(dir: &Path, name: &str, extension: &str, content: &[u8]) -> io::Result<()> {
    let named = |extension: &str| dir.join(format!("{name}.{extension}"));
    let temporary = named(&format!("{:016x}.tmp", seal::random()));
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let path = named(extension);
    let written = options.open(&temporary).and_then(|mut opened| {
        make_private(&opened)?;
        opened.write_all(content)?;
        drop(opened);
        fs::rename(&temporary, &path).or_else(|error| {
            // Something that cannot be replaced, such as a folder, is moved out of the way.
            if !fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir()) {
                return Err(error);
            }
            fs::rename(&path, named(&format!("{:016x}.tmp", seal::random())))?;
            fs::rename(&temporary, &path)
        })
    });
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Makes `dir` if it is not there, and writes, locks and removes a file in it. Whether it can be locked
/// is an answer of its own.
///
/// # Errors
/// The folder cannot be used.
pub fn try_out(dir: &Path) -> io::Result<io::Result<()>> {
    make_private_dir(dir)?;
    let path = dir.join(format!("{}.{:016x}.tmp", failure::UNNAMED, seal::random()));
    let mut file = open_to_lock(&path)?;
    let written = file.write_all(b"doctor");
    let locked = fs2::FileExt::try_lock_exclusive(&file);
    fs::remove_file(&path).and(written).map(|()| locked)
}

/// Removes the entries and failures of all identities in `dir`, and whatever is half written.
///
/// # Errors
/// One of them cannot be removed.
pub fn clear_all(dir: &Path) -> io::Result<()> {
    let names = match names(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        names => names?,
    };
    for file_name in names {
        let file_name = file_name?;
        // A lock stays: somebody may hold it.
        if parts_of_name(&file_name).is_some_and(|(_, rest)| rest != "lock") {
            fs::remove_file(dir.join(&file_name))?;
        }
    }
    Ok(())
}

/// The names in a folder. Not by way of the standard library, which panics where closing one fails.
#[cfg(unix)]
fn names(dir: &Path) -> io::Result<impl Iterator<Item = io::Result<OsString>>> {
    use rustix::fs::{Dir, Mode, OFlags};
    use std::os::unix::ffi::OsStringExt as _;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = retry_on_intr(|| rustix::fs::open(dir, flags, Mode::empty()))?;
    let name = |item: rustix::fs::DirEntry| OsString::from_vec(item.file_name().to_bytes().into());
    Ok(Dir::new(opened)?.map(move |item| Ok(name(item?))))
}

#[cfg(not(unix))]
fn names(dir: &Path) -> io::Result<impl Iterator<Item = io::Result<OsString>>> {
    Ok(fs::read_dir(dir)?.map(|item| Ok(item?.file_name())))
}

/// A file's identity and the rest of its name, if it is one of this cache's.
fn parts_of_name(name: &OsStr) -> Option<(&str, &str)> {
    let (identity, rest) = name.to_str()?.split_once('.')?;
    let is_hex = identity.len() == 32 && identity.bytes().all(|b| b.is_ascii_hexdigit());
    let is_identity = is_hex || identity == failure::UNNAMED;
    let is_known = ["entry", "failure", "lock"].contains(&rest) || rest.ends_with(".tmp");
    (is_identity && is_known).then_some((identity, rest))
}

/// What lies under the seal.
#[derive(Serialize)]
struct WireEntry<'a> {
    token: Option<&'a str>,
    validity: Option<Validity>,
    verdict: &'a Option<Verdict>,
}

#[derive(Deserialize)]
struct ReadEntry {
    token: Option<Secret>,
    validity: Option<Validity>,
    verdict: Option<Verdict>,
}

impl Entry {
    fn to_json(&self) -> Option<Vec<u8>> {
        let Self { token, verdict } = self;
        let wire = WireEntry {
            token: token.as_ref().map(|token| token.bearer.expose()),
            validity: token.as_ref().map(|token| token.validity),
            verdict,
        };
        serde_json::to_vec(&wire).ok()
    }

    fn from_json(json: &[u8]) -> Option<Self> {
        let ReadEntry { token, validity, verdict } = serde_json::from_slice(json).ok()?;
        let token = token.zip(validity).map(|(bearer, validity)| Token { bearer, validity });
        Some(Self { token, verdict })
    }
}

#[cfg(unix)]
fn open_to_read(path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    // Neither through a link nor waiting for a pipe's writer.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    Ok(retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty()))?.into())
}

#[cfg(not(unix))]
fn open_to_read(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// For reading and writing: NFS refuses an exclusive lock on anything less.
#[cfg(unix)]
fn open_to_lock(path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags =
        OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    Ok(retry_on_intr(|| rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR))?.into())
}

#[cfg(not(unix))]
fn open_to_lock(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create(true).truncate(false).open(path)
}

/// The length of a file that only this user can have written; `None` for any other.
fn private_length(file: &File) -> io::Result<Option<usize>> {
    let metadata = file.metadata()?;
    #[cfg(unix)]
    let is_private = {
        use std::os::unix::fs::MetadataExt as _;
        let is_ours = metadata.uid() == rustix::process::geteuid().as_raw();
        is_ours && metadata.mode() & 0o077 == 0
    };
    #[cfg(not(unix))]
    let is_private = true;
    let is_sound = is_private && metadata.is_file() && metadata.len() <= LARGEST_ENTRY;
    Ok(usize::try_from(metadata.len()).ok().filter(|_| is_sound))
}

/// What a file of `length` bytes holds, in memory that is zeroed.
fn read_exactly(file: &mut File, length: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(vec![0; length]);
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Mode 0600 whatever the umask was, by way of the open file.
#[cfg(unix)]
fn make_private(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    if file.metadata()?.permissions().mode() & 0o777 == 0o600 {
        return Ok(());
    }
    file.set_permissions(fs::Permissions::from_mode(0o600))
}

#[cfg(not(unix))]
fn make_private(_: &File) -> io::Result<()> {
    Ok(())
}

/// Makes the folder and those above it that are missing, each for this user alone.
fn make_private_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    // Otherwise an account that was given in place of a path would be the name of a folder.
    if !shown::is_usable_path(dir) {
        return Err(io::Error::other("no folder of that name is made"));
    }
    if let Some(above) = dir.parent().filter(|above| !above.as_os_str().is_empty()) {
        make_private_dir(above)?;
    }
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(dir) {
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => return Ok(()),
        made => made?,
    }
    // The umask may have taken away what this user needs.
    #[cfg(unix)]
    fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    Ok(())
}

fn is_contended(error: &io::Error) -> bool {
    error.raw_os_error() == fs2::lock_contended_error().raw_os_error()
}

/// Whether locks are unknown to this file system, as they are to some NFS mounts.
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
