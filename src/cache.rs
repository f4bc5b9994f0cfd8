//! Cache entries on disk.
//!
//! Each identity has one entry, a sealed file. The file is replaced by renaming and never changed in place, so
//! reading needs no lock. [`Cache::update`] is the only function that changes an entry: it applies a rule to
//! the entry as it is at that moment, and the result replaces exactly that entry (see `claim`). A process that
//! was stopped and continues later cannot overwrite the result of another one.
//!
//! The lock of [`Cache::queue`] keeps the number of exchanges small. Entries stay correct without it.
//!
//! The content of the folder is not trusted. A file is an entry only if it is regular and private and opens
//! under the seal. Any other file is a miss, and not an error. If the cache cannot be used, the program prints
//! a warning and continues without it.

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
pub use self::queue::{Permit, Turn, is_at, try_lock};

/// The cache of one identity.
pub struct Cache {
    /// `None` if the cache is switched off.
    place: Option<Place>,
    /// True after the first warning. A call prints only one.
    has_warned: Cell<bool>,
}

/// The folder, and the seal that gives the entry's name and key.
struct Place {
    dir: PathBuf,
    seal: Seal,
}

/// The largest entry that is read, in bytes: the largest token and 32 KiB for the other fields.
const LARGEST_ENTRY: u64 = LARGEST_BEARER as u64 + 32 * 1024;

/// The pause of a process that has lost its claim. It is doubled each time, from the first to the longest.
const PAUSE: std::ops::Range<Duration> = Duration::from_micros(500)..Duration::from_millis(50);

impl Cache {
    /// The cache of the identity of `seal`, in `dir`.
    pub fn new(dir: PathBuf, seal: Seal) -> Self {
        Self { place: Some(Place { dir, seal }), has_warned: Cell::new(false) }
    }

    /// A cache that is switched off. It is always empty.
    pub fn none() -> Self {
        Self { place: None, has_warned: Cell::new(false) }
    }

    /// The entry. It is empty if the file is missing, cannot be read, or does not open under the seal.
    pub fn read(&self) -> Entry {
        self.read_or_error().unwrap_or_default()
    }

    /// The entry. It is empty if the file is missing or does not open under the seal.
    ///
    /// # Errors
    /// I/O errors from opening or reading the entry, other than "not found".
    pub fn read_or_error(&self) -> io::Result<Entry> {
        self.place.as_ref().map_or_else(|| Ok(Entry::default()), Place::read)
    }

    /// Applies `rule` to the entry, replaces the entry by the result, and returns the rule's answer.
    ///
    /// The rule gets the entry as it is at that moment. If the entry cannot be read, its epoch is `None`. The
    /// rule returns the new entry, or `None` to leave the entry as it is, and the answer. It is called again,
    /// until `deadline`, if another process has changed the entry in between. The first attempt is made even
    /// after the deadline, so that the result of a late exchange is cached.
    ///
    /// `is_deletion` is true if the rule only removes tokens and failures. It then also works on a full disk.
    ///
    /// # Errors
    /// The entry cannot be replaced, or it cannot be read and the rule leaves it as it is.
    pub fn update<T>(
        &self,
        is_deletion: bool,
        deadline: Instant,
        mut rule: impl FnMut(&Entry) -> (Option<Entry>, T),
    ) -> io::Result<T> {
        let Some(place) = &self.place else {
            return Ok(rule(&Entry::default()).1);
        };
        // If the rule leaves the entry as it is, no claim is written.
        if let Ok(entry) = place.read()
            && let (None, answer) = rule(&entry)
        {
            return Ok(answer);
        }
        replace(&place.dir, &place.seal.name(), is_deletion, deadline, || {
            let read = place.read();
            let (new, answer) = match &read {
                Ok(entry) => rule(entry),
                Err(_) => rule(&Entry::default()),
            };
            let Some(new) = new else { return read.map(|_| (None, answer)) };
            let sealed = new.to_json().and_then(|json| place.seal.seal(json));
            let sealed = sealed.ok_or_else(|| io::Error::other("no random numbers"))?;
            Ok((Some(sealed), answer))
        })
    }

    /// True if the folder exists. Without it, no exchange is under way that could write an entry: the lock file
    /// is created before the request is sent.
    pub fn exists(&self) -> bool {
        // After an error, the folder may exist.
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

    /// Removes the files of killed processes and unused accounts from the folder.
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
    pub fn store_failure(&self, failure: &LastFailure) {
        if let Some(Place { dir, seal }) = &self.place {
            failure.store(dir, Some(seal));
        }
    }

    /// The last failure of this identity.
    pub fn last_failure(&self) -> Option<LastFailure> {
        let Place { dir, seal } = self.place.as_ref()?;
        LastFailure::read(dir, Some(seal))
    }

    /// Removes the last failure of this identity.
    pub fn remove_failure(&self) {
        if let Some(Place { dir, seal }) = &self.place {
            LastFailure::remove(dir, Some(seal));
        }
    }

    /// The lock file and the error, if the file exists and cannot be opened. After a call under `sudo` it may
    /// belong to root.
    pub fn unusable_lock(&self) -> Option<(PathBuf, io::Error)> {
        let lock = self.lock()?;
        lock.symlink_metadata().ok()?;
        file::open_to_lock(&lock).err().map(|why| (lock, why))
    }

    /// The process that holds the lock; `None` if there is none or it is unknown.
    pub fn holder(&self) -> Option<Process> {
        Process::holding(&file::open_to_read(&self.lock()?).ok()?)
    }

    /// The path of the first lock file.
    fn lock(&self) -> Option<PathBuf> {
        let Place { dir, seal } = self.place.as_ref()?;
        Some(queue::path(dir, &seal.name(), 1))
    }
}

impl Place {
    fn read(&self) -> io::Result<Entry> {
        let path = self.dir.join(format!("{}.entry", self.seal.name()));
        let read = file::read(&path, LARGEST_ENTRY)
            .inspect_err(|error| log::debug!("the cache entry cannot be read ({error}): a miss"));
        let Some(mut sealed) = read? else {
            return Ok(Entry::foreign(&[]));
        };
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

/// Claims the entry of `identity`, and replaces it by the content that `decide` returns, or leaves it as it is
/// without content. Returns the answer of `decide`. If another process has claimed the entry in between, starts
/// again, until `deadline`.
fn replace<T>(
    dir: &Path,
    identity: &str,
    is_deletion: bool,
    deadline: Instant,
    mut decide: impl FnMut() -> io::Result<(Option<Vec<u8>>, T)>,
) -> io::Result<T> {
    let mut pause = PAUSE.start;
    loop {
        let claim = Claim::new(dir, identity, is_deletion)?;
        let (content, answer) = decide()?;
        let Some(content) = content else { return Ok(answer) };
        if claim.publish(&content)? {
            return Ok(answer);
        }
        let now = Instant::now();
        if now >= deadline {
            return Err(io::Error::other("other processes kept changing it"));
        }
        thread::sleep(seal::jittered(pause).min(deadline - now));
        pause = (pause * 2).min(PAUSE.end);
    }
}

/// Deletes the tokens and failures of all identities in `dir`. Continues after an error.
///
/// The keys of other accounts' entries are unknown. So each entry is replaced by random bytes, which open
/// under no seal and are the entry's new epoch. An account whose first exchange is under way has a lock file
/// and no entry. It gets an entry of random bytes too.
///
/// # Errors
/// The first error, with the name of the file.
pub fn forget_all(dir: &Path, deadline: Instant) -> io::Result<()> {
    let names = match file::names(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        names => names?,
    };
    file::check_owner(dir)?;
    let mut errors = Vec::new();
    let mut note = |name: &str, done: io::Result<()>| {
        errors.extend(done.err().map(|error| io::Error::other(format!("`{name}`: {error}"))));
    };
    let mut identities = BTreeSet::new();
    for name in names {
        let Ok(name) = name.map_err(|error| note("", Err(error))) else { break };
        let (path, shown) = (dir.join(&name), name.to_string_lossy());
        match file::parse(&name) {
            Some((_, Kind::Failure)) => note(&shown, file::remove(&path)),
            // A process may be about to rename a file that is not old.
            Some((_, Kind::Temporary)) if sweep::is_older(&path, sweep::STALE_TEMPORARY) => {
                note(&shown, file::remove(&path));
            }
            Some((_, Kind::Temporary) | (file::UNNAMED, _)) | None => {}
            Some((identity, Kind::Entry | Kind::Lock | Kind::Claim)) => {
                identities.insert(identity.to_owned());
            }
        }
    }
    for identity in identities {
        let random = || Ok((Some([seal::random().to_le_bytes(); 4].concat()), ()));
        note(&format!("{identity}.entry"), replace(dir, &identity, true, deadline, random));
    }
    errors.into_iter().next().map_or(Ok(()), Err)
}

/// The result of [`try_out`].
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
