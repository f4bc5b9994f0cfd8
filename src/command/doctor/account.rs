//! The checks of an account: its file, its cached token, and what keeps it from getting another.

use super::finding::Finding;
use super::folder::open_above;
use super::subject::Subject;
use crate::account::Account;
use crate::cache::{Entry, Refusal};
use crate::settings::ChosenAccount;
use crate::shown;
use crate::timestamp::Timestamp;

impl Subject {
    /// The account file, and the folders above it.
    pub fn file(&self) -> Vec<Finding> {
        const CHECK: &str = "account";
        let prefix = &self.prefix;
        let path = self.settings.service_account.as_deref();
        let mut findings = vec![match &self.account {
            Err(error) => Finding::error(CHECK, prefix, error),
            Ok(_) if *self.settings.common.allow_exposed => Finding::warning(
                CHECK,
                format!("{prefix}its file's permissions are not checked"),
                "unset `ASTRA_CREDENTIAL_ALLOW_EXPOSED_FILE`, unless others are meant to read it",
            ),
            Ok(account) => {
                let path = path.map(shown::path).unwrap_or_default();
                let (kind, id) = (account.kind(), account.client_id());
                Finding::ok(CHECK, format!("{prefix}{path} holds {kind} {id}"))
            }
        }];
        if let Ok(Account::Service(account)) = &self.account
            && let Some(field) = account.padded_field()
        {
            let detail = "has blanks or line ends at its ends, which are sent too";
            let detail = format!("{prefix}its `{field}` {detail}");
            let hint = "take them off, unless they belong to it";
            findings.push(Finding::warning(CHECK, detail, hint));
        }
        findings.extend(path.filter(|path| path.exists()).and_then(|path| open_above(CHECK, path)));
        findings
    }

    /// The cached token, the cached failure and the refusals.
    pub fn token(&self, is_alone: bool) -> Vec<Finding> {
        const CHECK: &str = "token";
        let Self { prefix, settings, cache, .. } = self;
        let now = Timestamp::now();
        let Entry { token, failure, epoch: _, refusals } = cache.read();
        let forget = match &settings.account.value {
            ChosenAccount::Named(name) if !is_alone => {
                format!("astra-credential forget --account {name}")
            }
            _ => "astra-credential forget".to_owned(),
        };
        let route = cache.digest(settings.route().expose());
        let mut findings = Vec::new();
        if let Some(failure) = failure
            && failure.is_current(&route, now, *settings.common.timeout)
        {
            let detail = format!(
                "{prefix}{}, since {}; not asked again until {}",
                failure.error, failure.at, failure.until
            );
            let hint = self.error(failure.error).hint();
            let hint = format!("{hint}; to try again at once, run `{forget}`");
            findings.push(Finding::failure(CHECK, detail, hint));
        }
        let refusals = refusals.iter().filter(|refusal| refusal.is_current(now));
        findings.extend(refusals.map(|Refusal { host, at, until }| {
            let until = until.map(|until| format!(" until {until}")).unwrap_or_default();
            let detail = format!(
                "{prefix}`{host}` refused two tokens, the last at {at}; it gets none{until}"
            );
            let hint = "check in Astra's dashboard whether the account may use that host";
            Finding::failure(CHECK, detail, hint)
        }));
        let life = token.map(|cached| cached.token.validity).filter(|life| life.is_valid(now));
        findings.extend(life.map(|life| {
            let until = format!("{prefix}cached until {}", life.expires_at);
            let unknown = "only its server knows whether it is still accepted";
            Finding::ok(CHECK, format!("{until}; {unknown}: if it is refused, run `{forget}`"))
        }));
        findings
    }
}
