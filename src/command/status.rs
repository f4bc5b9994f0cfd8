//! `status`: the accounts, their tokens, the settings and the last failure, without a request.
//!
//! The output is safe to paste, because it contains no secret and no token. The command takes no lock and writes
//! nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::{Colour, State, Style};
use crate::account::Account;
use crate::cache::{Entry, FailedExchange, LastFailure, Refusal};
use crate::error::Error;
use crate::message;
use crate::service::{self, Inspected};
use crate::settings::{ChosenAccount, Configuration, ListedSetting, Settings, Source};
use crate::shown;
use crate::timestamp::Timestamp;
use crate::token::Validity;

/// Returns the answer and the exit code.
///
/// # Errors
/// A setting cannot be used.
pub fn run(configuration: &Configuration<'_>, style: Style) -> Result<(Vec<u8>, u8), Error> {
    let now = Timestamp::now();
    let settings = configuration.every_account()?;
    let dir = settings
        .first()
        .and_then(|settings| settings.cache_dir.as_deref().filter(|_| !*settings.no_cache));
    let unnamed = dir.and_then(LastFailure::read);
    let mut accounts = Vec::with_capacity(settings.len());
    for settings in settings {
        let hosts = configuration.hosts_of(&settings)?;
        let listed = settings.listed(&hosts);
        accounts.push(AccountReport::of(service::inspect(settings), listed, now));
    }
    let files = configuration.files().map(shown::path).collect();
    let report = Report { accounts, unnamed, files, now };
    let exit_code = report.exit_code();
    let answer = match style {
        Style::Json => super::line(&report.in_json()),
        Style::Text { is_verbose, colour } => {
            message::in_locale(&report.in_text(is_verbose, colour)).into_owned()
        }
    };
    Ok((answer.into_bytes(), exit_code))
}

/// The state of all accounts. The first account is the one for calls that name no host.
struct Report {
    accounts: Vec<AccountReport>,
    /// The last failure of a call that had not read an account.
    unnamed: Option<LastFailure>,
    /// The configuration files that were read.
    files: Vec<String>,
    now: Timestamp,
}

/// The state of one account.
struct AccountReport {
    settings: Settings,
    /// The settings with their sources, the hosts included.
    listed: Vec<ListedSetting>,
    /// The content of the account file, or the error.
    account: Result<Account, Error>,
    state: TokenState,
    /// The cached token's validity, and the time of its renewal.
    validity: Option<(Validity, Timestamp)>,
    /// The cached failure, with true if it applies to a call with these settings.
    failure: Option<(bool, FailedExchange)>,
    refusals: Vec<Refusal>,
    last_failure: Option<LastFailure>,
}

/// The state of an account's token.
#[derive(Clone, Copy, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum TokenState {
    /// An application token, which never expires.
    Endless,
    /// Valid; the next call returns it.
    Fresh,
    /// Valid, but the next call renews it.
    Due,
    /// Expired.
    Expired,
    /// No token is cached.
    None,
    /// The account file cannot be read, so its cache entry cannot be found.
    Unknown,
}

impl AccountReport {
    fn of(inspected: Inspected, listed: Vec<ListedSetting>, now: Timestamp) -> Self {
        let Inspected { settings, account, cache } = inspected;
        let Entry { token, failure, epoch: _, refusals } = cache.read();
        let validity = token.map(|cached| cached.token.validity);
        let min_valid = *settings.min_valid;
        let state = match (&account, &validity) {
            (Ok(Account::Application(_)), _) => TokenState::Endless,
            (_, Some(validity)) if validity.is_fresh(now, min_valid) => TokenState::Fresh,
            (_, Some(validity)) if validity.is_valid(now) => TokenState::Due,
            (_, Some(_)) => TokenState::Expired,
            (Ok(_), None) => TokenState::None,
            (Err(_), None) => TokenState::Unknown,
        };
        let validity = validity.map(|validity| (validity, validity.refresh_at(min_valid)));
        let route = cache.digest(settings.route().expose());
        let failure =
            failure.map(|failure| (failure.is_current(&route, now, *settings.timeout), failure));
        let last_failure = cache.last_failure();
        Self { settings, listed, account, state, validity, failure, refusals, last_failure }
    }

    /// True if the next call returns a token without an exchange.
    fn is_valid(&self) -> bool {
        self.account.is_ok() && matches!(self.state, TokenState::Endless | TokenState::Fresh)
    }

    /// The cached failure, if the next call returns it and does no exchange.
    fn current_failure(&self) -> Option<&FailedExchange> {
        self.failure.as_ref().filter(|(is_current, _)| *is_current).map(|(_, failure)| failure)
    }

    /// The time of the exchange whose token is cached.
    fn last_success(&self) -> Option<Timestamp> {
        self.validity.map(|(validity, _)| validity.requested_at)
    }

    /// The account's name, or its file if it has no name.
    fn name(&self) -> String {
        match &self.settings.account.value {
            ChosenAccount::Named(name) => name.clone(),
            ChosenAccount::File(path) => shown::redacted(&path.to_string_lossy()),
        }
    }

    /// The command that deletes this account's token.
    fn forget(&self) -> String {
        format!("`{}`", self.settings.forget_command())
    }
}

/// The answer in JSON: the fields of the first account, and all accounts.
#[derive(Serialize)]
struct Status {
    #[serde(flatten)]
    first: Option<OneStatus>,
    accounts: Vec<OneStatus>,
    files: Vec<String>,
}

/// One account in JSON.
#[derive(Clone, Serialize)]
struct OneStatus {
    name: Option<String>,
    account: AccountStatus,
    settings: BTreeMap<&'static str, SettingStatus>,
    hosts: Vec<SettingStatus>,
    token: TokenStatus,
    #[serde(rename = "verdict")]
    failed_exchange: Option<FailedExchangeStatus>,
    refusals: Vec<RefusalStatus>,
    last_failure: Option<FailureStatus>,
}

/// A setting with its source.
#[derive(Clone, Serialize)]
struct SettingStatus {
    value: String,
    source: String,
}

/// The content of an account file, without secrets, or the error.
#[derive(Clone, Serialize)]
struct AccountStatus {
    kind: Option<&'static str>,
    client_id: Option<String>,
    problem: Option<Problem>,
}

/// An error of the catalogue.
#[derive(Clone, Serialize)]
struct Problem {
    message: String,
    hint: String,
}

/// The state of the cached token, without the token.
#[derive(Clone, Serialize)]
struct TokenStatus {
    state: TokenState,
    /// The time from which a call renews the token.
    renewed_at: Option<String>,
    expires_at: Option<String>,
}

/// The cached failure.
#[derive(Clone, Serialize)]
struct FailedExchangeStatus {
    message: String,
    at: String,
    until: String,
    /// True if the failure applies to a call with these settings.
    #[serde(rename = "stands")]
    is_current: bool,
}

/// A host that refused a token.
#[derive(Clone, Serialize)]
struct RefusalStatus {
    host: String,
    at: String,
    /// The end of the pause for the host.
    until: Option<String>,
}

/// The last failure, see [`LastFailure`].
#[derive(Clone, Serialize)]
struct FailureStatus {
    at: String,
    command: String,
    exit_code: u8,
    message: String,
    hint: String,
    /// True if an exchange has succeeded since.
    is_over: bool,
}

impl Report {
    /// 0 if all accounts have a valid token, otherwise 1 or the exit code of an account file's error.
    fn exit_code(&self) -> u8 {
        let codes = self.accounts.iter().map(|report| match &report.account {
            Err(error) => error.exit_code(),
            Ok(_) => u8::from(!report.is_valid()),
        });
        codes.max().unwrap_or_default()
    }

    fn in_json(self) -> Status {
        let Self { accounts, unnamed, files, now: _ } = self;
        let accounts: Vec<_> =
            accounts.into_iter().map(|report| report.in_json(unnamed.as_ref())).collect();
        Status { first: accounts.first().cloned(), accounts, files }
    }

    fn in_text(&self, is_verbose: bool, colour: Colour) -> String {
        let mut rows = Vec::new();
        let text = match &self.accounts[..] {
            [one] => {
                rows.extend(one.rows(self.now, colour));
                rows.extend(self.last_failure(Some(one)));
                rows.extend(one.settings(is_verbose));
                String::new()
            }
            several => {
                rows.extend(self.last_failure(several.first()));
                self.table(colour)
            }
        };
        if !self.files.is_empty() {
            rows.push(("config".to_owned(), self.files.join(", then ")));
        }
        text + &aligned(&rows)
    }

    /// A line for each account, then the problems.
    fn table(&self, colour: Colour) -> String {
        let lines: Vec<_> = self.accounts.iter().map(AccountReport::line).collect();
        let width = |column: fn(&Line) -> &str| {
            lines.iter().map(|line| column(line).chars().count()).max().unwrap_or_default()
        };
        let (names, tokens) = (width(|line| &line.name), width(|line| &line.token));
        let mut text = String::new();
        for Line { state, name, token, hosts } in &lines {
            let state = colour.paint(state, &format!("{:8}", state.word()));
            let line = format!("{state} {name:names$}  {token:tokens$}  {hosts}");
            let _ = writeln!(text, "{}", line.trim_end());
        }
        text.push('\n');
        for report in &self.accounts {
            if let Some((message, hint)) = report.problem() {
                let _ = writeln!(text, "{}: {message}\nhint: {hint}\n", report.name());
            }
        }
        if self.accounts.iter().any(|report| report.validity.is_some()) {
            text.push_str(
                "Only a server knows whether it still accepts a cached token. If one refuses it, run\n\
                 `astra-credential forget --account NAME`.\n\n",
            );
        }
        text
    }

    /// The rows of the latest failure. It is that of an account, or of a call that had not read one. The latter
    /// is over after a success of the `first` account.
    fn last_failure(&self, first: Option<&AccountReport>) -> Vec<(String, String)> {
        let of_account = self
            .accounts
            .iter()
            .filter_map(|report| Some((report.last_failure.as_ref()?, report.last_success())));
        let success = first.and_then(AccountReport::last_success);
        let unnamed = self.unnamed.iter().map(|failure| (failure, success));
        let last = of_account.chain(unnamed).max_by_key(|(failure, _)| failure.at);
        let Some((LastFailure { at, command, exit_code, message, hint }, success)) = last else {
            return Vec::new();
        };
        let is_over = success.is_some_and(|success| *at < success);
        let since = if is_over { "; an exchange has succeeded since" } else { "" };
        let happened =
            format!("{}, `{command}`, exit code {exit_code}{since}", when(*at, self.now));
        let mut rows = vec![("last failure".to_owned(), happened)];
        let mut problems = self.accounts.iter().filter_map(AccountReport::problem);
        // The message is left out if the table contains it.
        if self.accounts.len() == 1 || !problems.any(|(shown, _)| shown == *message) {
            rows.push((String::new(), message.clone()));
            rows.push((String::new(), format!("hint: {hint}")));
        }
        rows
    }
}

/// An account's line in the table.
struct Line {
    state: State,
    name: String,
    token: String,
    hosts: String,
}

impl AccountReport {
    /// The error that keeps this account from getting a token, and the hint.
    fn problem(&self) -> Option<(String, String)> {
        match &self.account {
            Err(error) => Some((error.to_string(), error.hint())),
            Ok(Account::Application(_)) => None,
            Ok(Account::Service(account)) => {
                let error = self.current_failure()?.error.clone();
                let error = service::exchange_error(&self.settings, account, error, None);
                Some((error.to_string(), error.hint()))
            }
        }
    }

    /// The account's line in the table.
    fn line(&self) -> Line {
        let state = match &self.account {
            _ if self.problem().is_some() => State::Failure,
            _ if self.is_valid() => State::Ok,
            _ => State::Warning,
        };
        let token = match (&self.account, self.current_failure()) {
            (Err(_), _) => "no usable account file".to_owned(),
            (Ok(_), Some(failure)) => format!("not asked again until {}", failure.until),
            (Ok(_), None) => token_line(self.state, self.validity, |time| time.to_string()),
        };
        let hosts = self.listed.iter().filter(|listed| listed.name == "hosts");
        let hosts: Vec<_> = hosts.map(|host| host.value.as_str()).collect();
        Line { state, name: self.name(), token, hosts: hosts.join(", ") }
    }

    /// The rows about the account and its token.
    fn rows(&self, now: Timestamp, colour: Colour) -> Vec<(String, String)> {
        let mut rows = Vec::new();
        let mut row = |name: &str, value: String| rows.push((name.to_owned(), value));
        let state = self.line().state;
        match &self.account {
            Ok(account) => {
                let (kind, id) = (account.kind(), account.client_id());
                row("account", format!("{}: {kind}, client id {id}", self.name()));
            }
            Err(error) => {
                row(
                    "account",
                    format!("{}: {}", self.name(), colour.paint(&state, &error.to_string())),
                );
                row("", format!("hint: {}", error.hint()));
            }
        }
        if self.account.is_ok() {
            row(
                "token",
                colour
                    .paint(&state, &token_line(self.state, self.validity, |time| when(time, now))),
            );
        }
        if matches!(self.state, TokenState::Fresh | TokenState::Due) {
            row(
                "",
                format!(
                    "only its server knows whether it is still accepted; if it is refused, run {}",
                    self.forget()
                ),
            );
        }
        if let Some(failed) = failure_line(self.failure.as_ref(), now) {
            row("cached error", failed);
        }
        for refusal in &self.refusals {
            row("refused by", refusal_line(refusal, now));
        }
        rows
    }

    /// The rows of the settings: the account file and the hosts, then the other settings that do not have their
    /// default values. If `is_verbose`, the rest follows.
    fn settings(&self, is_verbose: bool) -> Vec<(String, String)> {
        let is_default = |listed: &&ListedSetting| listed.source == Source::Default;
        let is_first = |listed: &&ListedSetting| ["file", "hosts"].contains(&listed.name);
        let row = |listed: &ListedSetting| {
            (listed.name.to_owned(), format!("{} ({})", listed.value, listed.source))
        };
        let first = self.listed.iter().filter(is_first);
        let others = || self.listed.iter().filter(|listed| !is_first(listed));
        let set = others().filter(|listed| !is_default(listed));
        let defaults = others().filter(|listed| is_verbose && is_default(listed));
        first.chain(set).chain(defaults).map(row).collect()
    }

    fn in_json(self, unnamed: Option<&LastFailure>) -> OneStatus {
        let success = self.last_success();
        let Self { settings, listed, account, state, validity, failure, refusals, last_failure } =
            self;
        let problem = |error: &Error| Problem { message: error.to_string(), hint: error.hint() };
        let last = last_failure.as_ref().into_iter().chain(unnamed).max_by_key(|last| last.at);
        let in_json = |ListedSetting { name, value, source }: ListedSetting| {
            (name, SettingStatus { value, source: source.to_string() })
        };
        let (hosts, other_settings): (Vec<_>, Vec<_>) =
            listed.into_iter().map(in_json).partition(|(name, _)| *name == "hosts");
        OneStatus {
            name: match settings.account.value {
                ChosenAccount::Named(name) => Some(name),
                ChosenAccount::File(_) => None,
            },
            account: AccountStatus {
                kind: account.as_ref().ok().map(Account::kind),
                client_id: account.as_ref().ok().map(|account| account.client_id().to_owned()),
                problem: account.as_ref().err().map(problem),
            },
            settings: other_settings.into_iter().collect(),
            hosts: hosts.into_iter().map(|(_, host)| host).collect(),
            token: TokenStatus {
                state,
                renewed_at: validity.map(|(_, renewed_at)| renewed_at.to_string()),
                expires_at: validity.map(|(validity, _)| validity.expires_at.to_string()),
            },
            failed_exchange: failure.map(|(is_current, failure)| FailedExchangeStatus {
                message: failure.error.to_string(),
                at: failure.at.to_string(),
                until: failure.until.to_string(),
                is_current,
            }),
            refusals: refusals
                .into_iter()
                .map(|Refusal { host, at, until }| RefusalStatus {
                    host,
                    at: at.to_string(),
                    until: until.map(|until| until.to_string()),
                })
                .collect(),
            last_failure: last.map(|LastFailure { at, command, exit_code, message, hint }| {
                FailureStatus {
                    at: at.to_string(),
                    command: command.clone(),
                    exit_code: *exit_code,
                    message: message.clone(),
                    hint: hint.clone(),
                    is_over: success.is_some_and(|success| *at < success),
                }
            }),
        }
    }
}

/// Aligns the rows in two columns. A name that is equal to the one above is left out.
fn aligned(rows: &[(String, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let names = rows.iter().map(|(name, _)| name.as_str());
    let above = [""].into_iter().chain(names.clone());
    rows.iter()
        .zip(above)
        .map(|((name, value), above)| {
            let name = if name == above { "" } else { name };
            format!("{name:width$}  {value}\n")
        })
        .collect()
}

/// The token's state and times.
fn token_line(
    state: TokenState,
    validity: Option<(Validity, Timestamp)>,
    when: impl Fn(Timestamp) -> String,
) -> String {
    match (state, validity.map(|(validity, renewed_at)| (when(validity.expires_at), renewed_at))) {
        (TokenState::Fresh, Some((expiry, renewed_at))) => {
            format!("valid until {expiry}, renewed from {}", when(renewed_at))
        }
        (TokenState::Due, Some((expiry, _))) => {
            format!("valid until {expiry}, renewed by the next call")
        }
        (TokenState::Expired, Some((expiry, _))) => format!("expired {expiry}"),
        (TokenState::Endless, _) => {
            "the application token itself, which does not expire".to_owned()
        }
        _ => "none in the cache".to_owned(),
    }
}

/// The cached failure; `None` if it is no longer cached.
fn failure_line(failure: Option<&(bool, FailedExchange)>, now: Timestamp) -> Option<String> {
    let (is_current, failure) = failure?;
    let consequence = if *is_current {
        format!("not asked again until {}", when(failure.until, now))
    } else if failure.at <= now && now < failure.until {
        "does not apply to this proxy, these authorities and this time-out".to_owned()
    } else {
        return None;
    };
    Some(format!("{}, {}; {consequence}", failure.error, when(failure.at, now)))
}

/// The host that refused a token, and the end of its pause.
fn refusal_line(refusal: &Refusal, now: Timestamp) -> String {
    let Refusal { host, at, until } = refusal;
    let until = until.filter(|_| refusal.is_current(now));
    let pause = until.map(|until| format!("; it gets no token until {}", when(until, now)));
    format!("{host}, {}{}", when(*at, now), pause.unwrap_or_default())
}

/// The time, and its distance from now.
fn when(instant: Timestamp, now: Timestamp) -> String {
    let seconds = instant.since(now);
    let distance = humantime::format_duration(Duration::from_secs(seconds.unsigned_abs()));
    if seconds > 0 {
        format!("{instant} (in {distance})")
    } else {
        format!("{instant} ({distance} ago)")
    }
}
