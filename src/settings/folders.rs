//! The default folders, and the files in them.

use std::path::PathBuf;

use super::setting::{Environment, variable};
use super::values::{DEFAULT_ACCOUNT, account_name};

/// The default folders; each is `None` without a home.
#[derive(Clone, Debug, Default)]
pub struct Folders {
    /// Holds the account files and `config.json`.
    pub config: Option<PathBuf>,
    /// Holds the cache.
    pub cache: Option<PathBuf>,
}

impl Folders {
    /// The platform's default folders in the environment of `env`. Without an absolute `HOME` there are none: the
    /// home directory in /etc/passwd is not used instead, because it is usually wrong in a container.
    pub fn of_user(env: &Environment<'_>) -> Self {
        let absolute = |name: &str| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = absolute("HOME");
        // `directories` reads the variables of this process. Those of `env` may be another one's.
        if cfg!(unix) && (home.is_none() || cfg!(not(target_vendor = "apple"))) {
            let folder = |variable: &str, in_home: &str| {
                let base = absolute(variable).or_else(|| Some(home.as_ref()?.join(in_home)));
                base.map(|base| base.join("astra-credential"))
            };
            return Self {
                config: folder("XDG_CONFIG_HOME", ".config"),
                cache: folder("XDG_CACHE_HOME", ".cache"),
            };
        }
        directories::ProjectDirs::from("", "", "astra-credential").map_or_else(
            Self::default,
            |folders| Self {
                // On Windows, secrets and paths do not belong into a roaming profile.
                config: Some(folders.config_local_dir().to_owned()),
                cache: Some(folders.cache_dir().to_owned()),
            },
        )
    }

    /// The usual places of the configuration file: the user's and the machine's.
    pub fn configuration_files(
        &self,
        env: &Environment<'_>,
    ) -> impl Iterator<Item = PathBuf> + use<> {
        let user = self.config.as_ref().map(|folder| folder.join("config.json"));
        user.into_iter().chain(machine_file(env))
    }

    /// The usual place of an account's file.
    pub fn account_file(&self, account: &str) -> Option<PathBuf> {
        let stem = if account == DEFAULT_ACCOUNT { "service-account" } else { account };
        self.config.as_ref().map(|folder| folder.join(format!("{stem}.json")))
    }

    /// The names of the accounts that have a file in the usual place, `default` first.
    pub fn stored_accounts(&self) -> impl Iterator<Item = String> + use<> {
        let has_default = self.account_file(DEFAULT_ACCOUNT).is_some_and(|file| file.exists());
        let default = has_default.then(|| DEFAULT_ACCOUNT.to_owned());
        let folder = self.config.as_ref().and_then(|folder| folder.read_dir().ok());
        let files = folder.into_iter().flatten().flatten().map(|file| file.path());
        let jsons = files.filter(|file| file.extension().is_some_and(|it| it == "json"));
        let names = jsons.filter_map(|file| account_name(file.file_stem()?.to_str()?).ok());
        let mut names: Vec<_> = names.filter(|name| name != DEFAULT_ACCOUNT).collect();
        names.sort();
        default.into_iter().chain(names)
    }
}

/// The configuration file for the whole machine.
fn machine_file(env: &Environment<'_>) -> Option<PathBuf> {
    if cfg!(windows) {
        let folder = PathBuf::from(variable(env, "ProgramData")?);
        return folder.is_absolute().then(|| folder.join(r"astra-credential\config.json"));
    }
    Some("/etc/astra-credential/config.json".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_accounts_are_sorted_with_default_first() {
        let folder = tempfile::tempdir().unwrap();
        let names: Vec<String> = ('a'..='z').map(String::from).collect();
        for name in names.iter().rev().map(String::as_str).chain(["service-account"]) {
            std::fs::write(folder.path().join(format!("{name}.json")), "{}").unwrap();
        }
        let folders = Folders { config: Some(folder.path().to_owned()), cache: None };
        let stored: Vec<_> = folders.stored_accounts().collect();
        assert_eq!(stored, [vec![DEFAULT_ACCOUNT.to_owned()], names].concat());
    }
}
