//! The permissions of folders, and their file systems.

use std::path::Path;

use super::finding::{Check, Finding};
#[cfg(unix)]
use crate::shown::{self, shell_word};

/// A folder above `path` that other users may change: they could put another file in its place.
#[cfg(unix)]
pub fn open_above(check: Check, path: &Path) -> Option<Finding> {
    use std::os::unix::fs::MetadataExt as _;
    const STICKY: u32 = 0o1000;
    let caller = rustix::process::geteuid().as_raw();
    let path = path.canonicalize().ok()?;
    path.ancestors().skip(1).find_map(|folder| {
        let metadata = folder.metadata().ok()?;
        let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
        let above = format!("the folder {} above it", shown::path(folder));
        if owner != caller && owner != 0 {
            let detail = format!("{above} belongs to another user (uid {owner})");
            return Some(Finding::warning(check, detail, "keep it in a folder of your own"));
        }
        // Many systems give each user a group of the same number, with no other member.
        let group = if metadata.gid() == caller { 0 } else { 0o020 };
        if mode & (group | 0o002) == 0 || mode & STICKY != 0 {
            return None;
        }
        let fix = format!("run `chmod go-w {}`", shell_word(&folder.to_string_lossy()));
        let hint = match owner == caller {
            true => fix,
            false => format!("have root {fix}, or keep it in a folder of your own"),
        };
        let detail = format!("{above} may be changed by others (mode {mode:04o})");
        Some(Finding::warning(check, detail, hint))
    })
}

#[cfg(not(unix))]
pub fn open_above(_: Check, _: &Path) -> Option<Finding> {
    None
}

/// A folder that belongs to another user, or that other users can read.
#[cfg(unix)]
pub fn not_private(check: Check, dir: &Path, elsewhere: &str) -> Option<Finding> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = dir.metadata().ok()?;
    let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
    let shown = shown::path(dir);
    if owner != rustix::process::geteuid().as_raw() {
        let detail = format!("{shown} belongs to another user (uid {owner})");
        let hint = format!("run this as that user, or {elsewhere}");
        return Some(Finding::warning(check, detail, hint));
    }
    let detail = format!("others may look into {shown} (mode {mode:04o})");
    let hint = format!("run `chmod 700 {}`", shell_word(&dir.to_string_lossy()));
    (mode & 0o077 != 0).then(|| Finding::warning(check, detail, hint))
}

#[cfg(not(unix))]
pub fn not_private(_: Check, _: &Path, _: &str) -> Option<Finding> {
    None
}

/// The name of a network file system, by its number in statfs(2).
#[cfg(target_os = "linux")]
pub fn network_file_system(dir: &Path) -> Option<&'static str> {
    const KINDS: [(u32, &str); 8] = [
        (0x6969, "NFS"),
        (0x517b, "SMB"),
        (0xff53_4d42, "CIFS"),
        (0xfe53_4d42, "SMB"),
        (0x0102_1997, "9p"),
        (0x00c3_6400, "Ceph"),
        (0x5346_414f, "AFS"),
        (0x0bd0_0bd0, "Lustre"),
    ];
    // The number has 32 bits, but its type differs between architectures.
    let number = rustix::fs::statfs(dir).ok()?.f_type as u32;
    KINDS.iter().find(|(kind, _)| *kind == number).map(|(_, name)| *name)
}

#[cfg(not(target_os = "linux"))]
pub fn network_file_system(_: &Path) -> Option<&'static str> {
    None
}
