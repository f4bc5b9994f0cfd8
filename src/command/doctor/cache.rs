//! The checks of the cache: its folder and its locks.

use std::io::ErrorKind;

use super::finding::Finding;
use super::folder::{network_file_system, not_private, open_above};
use super::subject::Subject;
use crate::cache;
use crate::shown;

/// The folder and the locks. The folder is the same for every account.
pub fn examine(accounts: &[Subject]) -> Vec<Finding> {
    const CHECK: &str = "cache";
    const ELSEWHERE: &str =
        "name a folder of your own with `--cache-dir DIR` or `ASTRA_CREDENTIAL_CACHE_DIR`";
    const LOCAL: &str = "name a folder on a local disk with `--cache-dir DIR`";
    let Some(Subject { settings, .. }) = accounts.first() else { return Vec::new() };
    if *settings.common.no_cache {
        let hint = "unset `ASTRA_CREDENTIAL_NO_CACHE`, unless that is meant";
        let detail = "it is switched off: each call does an exchange";
        return vec![Finding::warning(CHECK, detail, hint)];
    }
    let Some(dir) = settings.common.cache_dir.as_deref() else {
        let detail = "there is none without an absolute `HOME`: each call does an exchange";
        return vec![Finding::failure(CHECK, detail, ELSEWHERE)];
    };
    let shown = shown::path(dir);
    let tried = match cache::try_out(dir) {
        Ok(tried) => tried,
        Err(error) => {
            let detail = format!("{shown} cannot be used: {error}");
            let hint = match error.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                    "free space on its file system"
                }
                _ => ELSEWHERE,
            };
            return vec![Finding::failure(CHECK, detail, hint)];
        }
    };
    // On Windows the access list is not checked.
    let is_private = if cfg!(unix) { "is private and" } else { "exists and" };
    let private = || Finding::ok(CHECK, format!("{shown} {is_private} can be written"));
    let mut findings = if tried.has_modes {
        vec![not_private(CHECK, dir, ELSEWHERE).unwrap_or_else(private)]
    } else {
        let detail = "can be written; its file system has no permissions, and entries are sealed";
        vec![Finding::ok(CHECK, format!("{shown} {detail}"))]
    };
    findings.extend(open_above(CHECK, dir).filter(|_| tried.has_modes));
    findings.extend(network_file_system(dir).map(|kind| {
        let detail = format!("{shown} is on {kind}, where locks are slow and may not hold");
        Finding::warning(CHECK, detail, LOCAL)
    }));
    findings.push(match tried.lock {
        Ok(()) => Finding::ok("lock", "can be taken and released"),
        Err(error) => {
            let detail = "calls at the same time do an exchange each";
            Finding::warning("lock", format!("cannot be taken ({error}): {detail}"), LOCAL)
        }
    });
    findings.extend(accounts.iter().flat_map(Subject::lock));
    findings
}

impl Subject {
    /// The lock of this account's entry.
    fn lock(&self) -> impl Iterator<Item = Finding> {
        const CHECK: &str = "lock";
        let unusable = self.cache.unusable_lock().map(|(lock, why)| {
            let lock = shown::path(&lock);
            let detail = format!("{lock} cannot be opened ({why}): calls go on without the cache");
            let hint = format!("remove {lock}, which a call under `sudo` may have left");
            Finding::failure(CHECK, detail, hint)
        });
        let held = self.cache.holder().map(|holder| match holder.is_stopped {
            true => {
                let hint = format!("run `kill -CONT {0}`, or `kill {0}`", holder.id);
                Finding::warning(CHECK, format!("held by {holder}, which is stopped"), hint)
            }
            false => Finding::ok(
                CHECK,
                format!("held by {holder}, which is requesting a token from Astra"),
            ),
        });
        unusable.into_iter().chain(held)
    }
}
