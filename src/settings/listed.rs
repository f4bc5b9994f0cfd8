//! The settings as `status` shows them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::resolve::Settings;
use super::sourced::{Source, Sourced};
use crate::protocol::Host;
use crate::proxy;
use crate::shown::redacted;

/// A setting as `status` shows it. The value is safe to show.
#[derive(Debug, Serialize)]
pub struct ListedSetting {
    /// Its key.
    #[serde(skip)]
    pub name: &'static str,
    /// Its value.
    pub value: String,
    /// The place where it was set.
    pub source: Source,
}

/// A row of the list, with the value as `show` writes it.
fn row<T>(name: &'static str, set: &Sourced<T>, show: impl FnOnce(&T) -> String) -> ListedSetting {
    ListedSetting { name, value: show(&set.value), source: set.source.clone() }
}

/// A path, safe to show.
fn path(path: &Path) -> String {
    redacted(&path.to_string_lossy())
}

/// The same for an optional path.
fn path_or(none: &str, set: &Option<PathBuf>) -> String {
    set.as_deref().map_or(none.to_owned(), path)
}

fn duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

impl Settings {
    /// Every setting, in the order of the configuration file.
    pub fn listed(&self, hosts: &[Sourced<Host>]) -> Vec<ListedSetting> {
        let mut all = vec![
            row("file", &self.service_account, |file| path_or("none", file)),
            row("api_url", &self.api, |api| redacted(&api.base)),
        ];
        all.extend(hosts.iter().map(|host| row("hosts", host, |host| redacted(&host.to_string()))));
        all.push(match *self.common.no_cache {
            true => row("cache_dir", &self.common.no_cache, |_| "off".to_owned()),
            false => row("cache_dir", &self.common.cache_dir, |folder| path_or("none", folder)),
        });
        all.extend([
            row("ca_file", &self.ca_file, |file| match file {
                None if !self.ca_folders.is_empty() => {
                    self.ca_folders.iter().map(|folder| path(folder)).collect::<Vec<_>>().join(", ")
                }
                file => path_or("the system's", file),
            }),
            row("proxy", &self.proxy, |proxy| {
                proxy.as_deref().map_or("none".to_owned(), proxy::shown)
            }),
            row("timeout", &self.common.timeout, |timeout| duration(*timeout)),
            row("min_valid", &self.min_valid, |seconds| {
                let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
                seconds
                    .map_or("the leeway".to_owned(), |wanted| duration(Duration::from_secs(wanted)))
            }),
            row("exposed_file", &self.common.allow_exposed, |is_allowed| {
                if *is_allowed { "allowed" } else { "refused" }.to_owned()
            }),
        ]);
        all
    }
}

#[cfg(test)]
mod tests {
    use crate::settings::tests::listed;

    // Its paths are those of Unix.
    #[cfg(unix)]
    #[test]
    fn without_flags_variables_and_files_the_defaults_apply() {
        insta::assert_snapshot!(listed(&[], &[]), @"
        the account `default` (default)
        file: /home/x/.config/astra-credential/service-account.json (default)
        api_url: https://api.astra.datastax.com (default)
        hosts: api.astra.datastax.com (default)
        cache_dir: /home/x/.cache/astra-credential (default)
        ca_file: the system's (default)
        proxy: none (default)
        timeout: 30s (default)
        min_valid: the leeway (default)
        exposed_file: refused (default)
        ");
    }

    #[test]
    fn without_a_cache_its_folder_is_off() {
        let listed = listed(&["ASTRA_CREDENTIAL_NO_CACHE=1"], &[]);
        assert!(listed.contains("cache_dir: off (ASTRA_CREDENTIAL_NO_CACHE)"), "{listed}");
    }
}
