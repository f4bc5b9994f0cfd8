//! Finds the process that holds a lock, in /proc/locks (proc_locks(5)). On systems other than Linux the holder
//! is unknown.

use std::fmt;
use std::fs::File;

use crate::shown::Escaped;

/// The holder of a lock, for a message. The process is looked up when this is formatted.
pub struct Holder<'a>(pub Option<&'a File>);

/// A process that holds a lock.
#[derive(Debug)]
pub struct Process {
    /// The process id.
    pub id: u32,
    /// True if a signal has stopped it.
    pub is_stopped: bool,
    /// The name of the parent process. The process itself is always `astra-credential`.
    parent: Option<String>,
}

impl fmt::Display for Holder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.and_then(Process::holding) {
            Some(process) => process.fmt(f),
            None => f.write_str("another process"),
        }
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.id)?;
        match &self.parent {
            Some(parent) => write!(f, " (started by {})", Escaped(parent)),
            None => Ok(()),
        }
    }
}

impl Process {
    /// Finds the process that holds the lock on this file.
    #[cfg(target_os = "linux")]
    pub fn holding(lock: &File) -> Option<Self> {
        use rustix::fs::{major, minor};
        use std::os::unix::fs::MetadataExt as _;
        let metadata = lock.metadata().ok()?;
        let (dev, inode) = (metadata.dev(), metadata.ino());
        let place = format!("{:02x}:{:02x}:{inode}", major(dev), minor(dev));
        let table = std::fs::read_to_string("/proc/locks").ok()?;
        let id = table.lines().find_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                [_, "FLOCK", _, _, id, at, ..] if at == place => id.parse().ok(),
                _ => None,
            }
        })?;
        // proc_pid_stat(5): `ID (NAME) STATE PARENT …`. A process of another namespace has the id 0 in
        // /proc/locks, and no such file.
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let mut words = stat.rsplit_once(')')?.1.split_whitespace();
        let is_stopped = words.next() == Some("T");
        let name = |parent| std::fs::read_to_string(format!("/proc/{parent}/comm")).ok();
        let parent = words.next().and_then(name).map(|name| name.trim_end().to_owned());
        Some(Self { id, is_stopped, parent })
    }

    /// Unknown on this system.
    #[cfg(not(target_os = "linux"))]
    pub fn holding(_: &File) -> Option<Self> {
        None
    }
}
