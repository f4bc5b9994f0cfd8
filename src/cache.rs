//! Cache entries on disk.
//!
//! An entry is one sealed file per identity. It is replaced by renaming and never changed in place, so
//! reading needs no lock. [`Cache::update`] is the only function that changes it: it applies a rule to the
//! entry as it is at that moment, and the result replaces exactly that entry (see `claim`). A process that
//! was stopped, or is late, cannot overwrite the result of another one.
//!
//! The lock of [`Cache::queue`] keeps the number of exchanges small. Entries stay correct without it.
//!
//! The content of the folder is not trusted: everything except a private regular file that opens under the
//! seal is a miss, never an error. If the cache cannot be used, the program prints a warning and continues
//! without it.

mod claim;
mod entry;
mod failure;
mod file;
mod holder;
mod queue;
mod sweep;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use self::claim::Claim;
use self::file::Kind;
use self::queue::Queue;
use crate::seal::{self, Seal};
use crate::shown;
use crate::token::LARGEST_BEARER;

pub use self::entry::{CachedToken, Entry, FIRST_EPOCH, FailedExchange, Refusal};
pub use self::failure::LastFailure;
pub use self::holder::Process;
pub use self::queue::{Hold, Turn};

/// The cache of one identity.
pub struct Cache {
    /// `None` without a cache.
    place: Option<Place>,
    /// True once a warning has been printed. A call prints one.
    has_warned: Cell<bool>,
}

struct Place {
    dir: PathBuf,
    seal: Seal,
}

/// The largest entry that is read, in bytes: the largest token, and space for the rest.
const LARGEST_ENTRY: u64 = LARGEST_BEARER as u64 + 32 * 1024;

/// The pause of a process that has lost its claim: the first pause and the longest, doubling in between.
const PAUSE: std::ops::Range<Duration> = Duration::from_micros(500)..Duration::from_millis(50);

impl Cache {
    /// The cache of the identity of `seal`, in `dir`.
    pub fn new(dir: PathBuf, seal: Seal) -> Self {
        Self { place: Some(Place { dir, seal }), has_warned: Cell::new(false) }
    }

    /// A cache that is switched off: it is always empty.
    pub fn none() -> Self {
        Self { place: None, has_warned: Cell::new(false) }
    }

    /// The entry; an empty one if it is missing, cannot be read, or is not what this program wrote.
    pub fn read(&self) -> Entry {
        self.read_or_error().unwrap_or_default()
    }

    /// The entry; an empty one if it is missing or is not what this program wrote.
    ///
    /// # Errors
    /// I/O errors from opening or reading the entry, other than "not found".
    pub fn read_or_error(&self) -> io::Result<Entry> {
        self.place.as_ref().map_or_else(|| Ok(Entry::default()), Place::read)
    }

    /// Applies `rule` to the entry, replaces the entry by the result, and returns the rule's answer.
    ///
    /// The rule gets the entry as it is at that moment, with `epoch: None` if it cannot be read. It
    /// returns the new entry, or `None` to leave the entry as it is, and the answer. It is called again
    /// whenever another process has changed the entry in between, until `deadline`. The first attempt
    /// is made even after the deadline, so that the result of a late exchange is cached.
    ///
    /// # Errors
    /// The entry cannot be replaced; or it cannot be read, and the rule leaves it as it is.
    pub fn update<T>(
        &self,
        deadline: Instant,
        mut rule: impl FnMut(&Entry) -> (Option<Entry>, T),
    ) -> io::Result<T> {
        let Some(place) = &self.place else {
            return Ok(rule(&Entry::default()).1);
        };
        // If the entry stays as it is, nothing is written.
        if let Ok(entry) = place.read()
            && let (None, answer) = rule(&entry)
        {
            return Ok(answer);
        }
        let identity = place.seal.name();
        let mut answer = None;
        replace(&place.dir, &identity, deadline, || {
            let (entry, error) = match place.read() {
                Ok(entry) => (entry, None),
                Err(error) => (Entry::default(), Some(error)),
            };
            let (new, answered) = rule(&entry);
            answer = Some(answered);
            match (new, error) {
                (None, Some(error)) => Err(error),
                (None, None) => Ok(None),
                (Some(new), _) => {
                    let sealed = new.to_json().and_then(|json| place.seal.seal(json));
                    let content = sealed.ok_or_else(|| io::Error::other("no random numbers"))?;
                    let drops = new.token.is_none() && new.failure.is_none();
                    Ok(Some(New { content, drops }))
                }
            }
        })?;
        answer.ok_or_else(|| io::Error::other("it was not read"))
    }

    /// True if the folder exists. If it does not, no process has an exchange under way that could write
    /// an entry: the lock file is created before the request is sent.
    pub fn exists(&self) -> bool {
        // If that cannot be determined, the folder may exist.
        self.place.as_ref().is_some_and(|place| place.dir.try_exists().unwrap_or(true))
    }

    /// Queues for the exchange lock, until `deadline`.
    pub fn queue(&self, deadline: Instant) -> Queue {
        let identity = self.place.as_ref().map(|place| (place.dir.as_path(), place.seal.name()));
        Queue::new(identity, deadline)
    }

    /// Warns that the cache cannot be used. Further warnings of the same call are shown only under `-v`.
    pub fn warn(&self, why: &io::Error) {
        let dir = self.place.as_ref().map(|place| shown::path(&place.dir)).unwrap_or_default();
        let line = format!("cannot use the cache {dir} ({why}); going on without it");
        if self.has_warned.replace(true) {
            log::debug!("{line}");
        } else {
            log::warn!("{line}");
        }
    }

    /// Removes the files of dead processes and unused accounts from the folder.
    pub fn sweep(&self) {
        if let Some(place) = &self.place {
            sweep::sweep(&place.dir, &place.seal.name());
        }
    }

    /// A keyed digest of `text`. Without the client secret it can be neither reversed nor compared with the
    /// digest of a guess.
    pub fn digest(&self, text: &str) -> String {
        self.place.as_ref().and_then(|place| place.seal.digest(text)).unwrap_or_default()
    }

    /// Stores the last failure of this identity.
    pub fn keep_failure(&self, failure: &LastFailure) {
        if let Some(Place { dir, seal }) = &self.place {
            failure.keep_under(seal, dir);
        }
    }

    /// The last failure of this identity.
    pub fn last_failure(&self) -> Option<LastFailure> {
        let Place { dir, seal } = self.place.as_ref()?;
        LastFailure::read_under(seal, dir)
    }

    /// Removes the last failure of this identity.
    pub fn remove_failure(&self) {
        if let Some(Place { dir, seal }) = &self.place {
            LastFailure::remove_under(seal, dir);
        }
    }

    /// The lock file, if it exists and cannot be opened, and why. After a call under `sudo` it may be
    /// root's.
    pub fn closed_lock(&self) -> Option<(PathBuf, io::Error)> {
        let lock = self.lock()?;
        lock.symlink_metadata().ok()?;
        file::open_to_lock(&lock).err().map(|why| (lock, why))
    }

    /// The process that holds the lock.
    pub fn holder(&self) -> Option<Process> {
        Process::holding(&file::open_to_read(&self.lock()?).ok()?)
    }

    fn lock(&self) -> Option<PathBuf> {
        let Place { dir, seal } = self.place.as_ref()?;
        Some(queue::path(dir, &seal.name(), 1))
    }
}

impl Place {
    fn read(&self) -> io::Result<Entry> {
        let path = self.dir.join(format!("{}.entry", self.seal.name()));
        let mut file = match file::open_to_read(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Entry::foreign(&[]));
            }
            Err(error) => {
                log::debug!("the cache entry cannot be opened ({error}): a miss");
                return Err(error);
            }
        };
        let Some(length) = file::trusted_length(&file, &path, LARGEST_ENTRY)? else {
            log::debug!("the cache entry is not a private file of this user's: a miss");
            return Ok(Entry::foreign(&[]));
        };
        let mut sealed = file::read_exactly(&mut file, length)?;
        let foreign = Entry::foreign(&sealed);
        let entry = self.seal.open(&mut sealed).and_then(|json| Entry::from_json(json));
        if entry.is_none() {
            log::debug!("the cache entry is not what this program wrote: a miss");
        }
        Ok(entry.unwrap_or(foreign))
    }
}

/// A random number, for a new epoch.
pub fn random() -> u64 {
    seal::random()
}

/// The new content of an entry.
struct New {
    content: Vec<u8>,
    /// True if the new entry only records that the token was deleted.
    drops: bool,
}

/// Claims the entry of `identity` and replaces it by the content that `decide` returns, or leaves it if
/// that is `None`. Starts again while other processes claim the entry, until `deadline`.
fn replace(
    dir: &Path,
    identity: &str,
    deadline: Instant,
    mut decide: impl FnMut() -> io::Result<Option<New>>,
) -> io::Result<()> {
    let mut pause = PAUSE.start;
    loop {
        let claim = Claim::new(dir, identity)?;
        match decide()? {
            Some(New { content, drops }) if !claim.publish(&content, drops)? => {}
            _ => return Ok(()),
        }
        let now = Instant::now();
        if now >= deadline {
            return Err(io::Error::other("other processes kept changing it"));
        }
        let jitter = f64::from(seal::random() as u8) / 256.0;
        thread::sleep(pause.mul_f64(0.5 + jitter).min(deadline - now));
        pause = (pause * 2).min(PAUSE.end);
    }
}

/// Deletes the tokens and failures of all identities in `dir`. Continues after an error.
///
/// The keys of other accounts' entries are unknown, so each entry is replaced by random bytes, which open
/// under no seal. They are the entry's new epoch. An account whose first exchange is under way has a lock
/// file and no entry yet; it gets an entry of random bytes too.
///
/// # Errors
/// The first error, with the name of its file.
pub fn forget_all(dir: &Path, deadline: Instant) -> io::Result<()> {
    let names = match file::names(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        names => names?,
    };
    file::check_owner(dir)?;
    let mut result = Ok(());
    let mut keep = |name: &str, done: io::Result<()>| {
        if let (Ok(()), Err(error)) = (&result, done) {
            result = Err(io::Error::other(format!("`{name}`: {error}")));
        }
    };
    let mut identities = BTreeSet::new();
    for name in names {
        let name = match name {
            Ok(name) => name,
            Err(error) => {
                keep("", Err(error));
                break;
            }
        };
        let path = dir.join(&name);
        let Some((identity, kind)) = file::parse(&name) else {
            continue;
        };
        let shown = name.to_string_lossy();
        match kind {
            Kind::Failure => keep(&shown, file::remove(&path)),
            // A young file may belong to a process that is about to rename it.
            Kind::Temporary if sweep::is_older(&path, sweep::STALE_TEMPORARY) => {
                keep(&shown, file::remove(&path));
            }
            Kind::Temporary => {}
            _ if identity == file::UNNAMED => {}
            Kind::Entry | Kind::Lock | Kind::Claim => {
                identities.insert(identity.to_owned());
            }
        }
    }
    for identity in identities {
        let content = || [seal::random().to_le_bytes(); 4].concat();
        let tombstone = || Ok(Some(New { content: content(), drops: true }));
        keep(&format!("{identity}.entry"), replace(dir, &identity, deadline, tombstone));
    }
    result
}

/// The properties of a folder, found by [`try_out`].
pub struct Tried {
    /// The result of locking a file in it.
    pub lock: io::Result<()>,
    /// True if a file that is created with mode 0600 has that mode.
    pub has_modes: bool,
}

/// Creates `dir` if it is missing, and writes, locks and removes a file in it.
///
/// # Errors
/// The folder cannot be used.
pub fn try_out(dir: &Path) -> io::Result<Tried> {
    let path = file::temporary(dir, file::UNNAMED);
    let mut file = file::open_to_lock(&path)?;
    let written = file.write_all(b"doctor");
    let lock = queue::try_lock(&file).map(drop);
    let has_modes = file::is_private(&file);
    file::remove(&path).and(written).map(|()| Tried { lock, has_modes })
}
