//! Variables that contradict a configuration file, for `doctor`. They are often left over from an earlier
//! set-up.

use super::choice::{self, hosts_of_variable};
use super::file::Entry;
use super::setting::{API_URL, HOST};
use super::sourced::Source;
use super::sources::Sources;
use crate::error::Error;
use crate::shown;

/// The contradictions: each variable with a predicate such as "names `prod`, which …".
///
/// # Errors
/// A variable cannot be used.
pub fn contradictions(sources: &Sources<'_>) -> Result<Vec<(&'static str, String)>, Error> {
    let mut found = Vec::new();
    let chosen = choice::untyped(sources)?;
    let account = &chosen.value;
    let is_other = |entry: &&Entry| account.name() != Some(&entry.name);
    let binds = |entry: &&Entry| !entry.hosts.is_empty() && is_other(entry);
    if let Source::Variable(name) = chosen.source
        && let Some(entry) = sources.entries().find(binds)
    {
        let place = shown::path(&entry.place);
        let answers = format!("answers for no host that {place} binds to another account");
        found.push((name, format!("names {account}, which {answers}")));
    }
    for host in &hosts_of_variable(sources)?.value {
        if let Some(owner) = choice::owner(sources, host).filter(is_other) {
            let (host, place) = (shown::quoted(&host.to_string()), shown::path(&owner.place));
            let owner = shown::account(&owner.name);
            let says = format!("names {host}, which {place} binds to the account {owner}");
            found.push((HOST.variable, says));
        }
    }
    if let Some(entry) = account.name().and_then(|name| sources.entry(name))
        && let Some(api) = &entry.api
        && let Ok(Some(variable)) = sources.variable(&API_URL)
        && variable.value != *api
    {
        let (place, base) = (shown::path(&entry.place), shown::quoted(&api.base));
        let whose = format!("{account}, whose `api_url` in {place} is {base}");
        found.push((API_URL.variable, format!("does not count for {whose}")));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::contradictions;
    use crate::settings::tests::{ACCOUNTS, USER, with};

    #[test]
    fn left_over_variables_that_contradict_a_file_are_named() {
        let found_in = |files: &[(&str, &str)], words: &[&str]| {
            let found = with(words, files, |said| contradictions(&said.sources)).unwrap();
            let lines = found.into_iter().map(|(name, says)| format!("{name} {says}"));
            lines.collect::<Vec<_>>().join("\n")
        };
        let found = |words: &[&str]| found_in(&ACCOUNTS, words);
        insta::assert_snapshot!(
            found(&[
                "ASTRA_SERVICE_ACCOUNT=/x.json",
                "ASTRA_CREDENTIAL_HOSTS=git.prod.example,other.example",
            ]), @"
        ASTRA_SERVICE_ACCOUNT names `/x.json`, which answers for no host that `/home/x/.config/astra-credential/config.json` binds to another account
        ASTRA_CREDENTIAL_HOSTS names `git.prod.example`, which `/home/x/.config/astra-credential/config.json` binds to the account `prod`
        ");
        insta::assert_snapshot!(found(&["ASTRA_CREDENTIAL_ACCOUNT=alone", "ASTRA_API_URL=https://h"]), @"
        ASTRA_CREDENTIAL_ACCOUNT names the account `alone`, which answers for no host that `/home/x/.config/astra-credential/config.json` binds to another account
        ASTRA_API_URL does not count for the account `alone`, whose `api_url` in `/home/x/.config/astra-credential/config.json` is `https://api.alone.example`
        ");
        let ours = ["ASTRA_CREDENTIAL_HOSTS=git.example.com", "ASTRA_API_URL=https://h"];
        assert_eq!(found(&ours), "");
        let same = ["ASTRA_CREDENTIAL_ACCOUNT=alone", "ASTRA_API_URL=https://api.alone.example/"];
        assert!(!found(&same).contains("ASTRA_API_URL"));
        let one_bound = r#"{ "accounts": { "prod": { "hosts": ["h.example"] }, "test": {} } }"#;
        assert_eq!(found_in(&[(USER, one_bound)], &["ASTRA_CREDENTIAL_ACCOUNT=prod"]), "");
    }
}
