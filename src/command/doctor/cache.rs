//! The checks of the cache: its folder and its locks.

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
    let Some(Subject { settings, .. }) = accounts.first() else {
        return Vec::new();
    };
    if *settings.common.no_cache {
        return vec![Finding::warning(
            CHECK,
            "it is switched off: each call does an exchange",
            "unset `ASTRA_CREDENTIAL_NO_CACHE`, unless that is meant",
        )];
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
            let is_full = matches!(
                error.kind(),
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
            );
            let hint = if is_full { "free space on its file system" } else { ELSEWHERE };
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
        Finding::warning(CHECK, detail, "name a folder on a local disk with `--cache-dir DIR`")
    }));
    findings.push(match tried.lock {
        Ok(()) => Finding::ok("lock", "can be taken and released"),
        Err(error) => Finding::warning(
            "lock",
            format!("cannot be taken ({error}): calls at the same time do an exchange each"),
            "name a folder on a local disk with `--cache-dir DIR`",
        ),
    });
    findings.extend(accounts.iter().flat_map(Subject::lock));
    findings
}

impl Subject {
    /// The lock of this account's entry.
    fn lock(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        findings.extend(self.cache.unusable_lock().map(|(lock, why)| {
            let lock = shown::path(&lock);
            Finding::failure(
                "lock",
                format!("{lock} cannot be opened ({why}): calls go on without the cache"),
                format!("remove {lock}, which a call under `sudo` may have left"),
            )
        }));
        findings.extend(self.cache.holder().map(|holder| {
            if holder.is_stopped {
                let hint = format!("run `kill -CONT {0}`, or `kill {0}`", holder.id);
                Finding::warning("lock", format!("held by {holder}, which is stopped"), hint)
            } else {
                Finding::ok(
                    "lock",
                    format!("held by {holder}, which is requesting a token from Astra"),
                )
            }
        }));
        findings
    }
}
