//! `status`: the accounts, their tokens, the settings and the last failure, without a request.
//!
//! The output is safe to paste, because it contains no secret and no token. The command takes no lock and writes
//! nothing. [`Status`] is what it prints as JSON; the text is made of the same fields.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::{Colour, State, Style};
use crate::account::Account;
use crate::cache::{self, Entry, LastFailure};
use crate::error::Error;
use crate::message;
use crate::service::{self, Inspected};
use crate::settings::{ChosenAccount, Configuration, ListedSetting, Settings, Source};
use crate::shown;
use crate::timestamp::Timestamp;
use crate::token::Validity;

/// Returns the answer and the exit code: 0 if all accounts have a valid token, otherwise 1 or the exit code of an
/// account file's error.
///
/// # Errors
/// A setting cannot be used.
pub fn run(configuration: &Configuration<'_>, style: Style) -> Result<(Vec<u8>, u8), Error> {
    let now = Timestamp::now();
    let settings = configuration.every_account()?;
    let chosen = settings.first().filter(|settings| !*settings.common.no_cache);
    let dir = chosen.and_then(|settings| settings.common.cache_dir.as_deref());
    let unnamed = dir.and_then(|dir| LastFailure::read(dir, None));
    let account = |settings: Settings| {
        let listed = settings.listed(&configuration.hosts_of(&settings)?);
        Ok(AccountStatus::new(service::inspect(settings), listed, unnamed.as_ref(), now))
    };
    let accounts = settings.into_iter().map(account).collect::<Result<Vec<_>, Error>>()?;
    let files: Vec<_> = configuration.files().map(shown::path).collect();
    let status = Status { first: accounts.first(), accounts: &accounts, files: &files };
    let answer = match style {
        Style::Json => super::line(&status),
        Style::Text { is_verbose, colour } => {
            message::in_locale(&status.text(is_verbose, colour)).into_owned()
        }
    };
    let exit_code = accounts.iter().map(|account| account.exit_code).max();
    Ok((answer.into_bytes(), exit_code.unwrap_or_default()))
}

/// The state of all accounts.
#[derive(Serialize)]
struct Status<'a> {
    /// The account for calls that name no host. Its fields are also at the top level of the JSON.
    #[serde(flatten)]
    first: Option<&'a AccountStatus>,
    accounts: &'a [AccountStatus],
    /// The configuration files that were read.
    files: &'a [String],
}

/// The state of one account.
#[derive(Serialize)]
struct AccountStatus {
    name: Option<String>,
    account: AccountFile,
    #[serde(serialize_with = "as_map")]
    settings: Vec<ListedSetting>,
    hosts: Vec<ListedSetting>,
    token: TokenStatus,
    #[serde(rename = "verdict")]
    failed_exchange: Option<FailedExchange>,
    refusals: Vec<Refusal>,
    last_failure: Option<Failure>,
    /// The name, or the file of an account without a name.
    #[serde(skip)]
    title: String,
    /// The command that deletes this account's token.
    #[serde(skip)]
    forget: String,
    /// 0 if the next call returns a token without an exchange.
    #[serde(skip)]
    exit_code: u8,
}

/// The content of an account file, without secrets, or the error.
#[derive(Serialize)]
struct AccountFile {
    kind: Option<&'static str>,
    client_id: Option<String>,
    problem: Option<Problem>,
}

/// An error of the catalogue.
#[derive(Serialize)]
struct Problem {
    message: String,
    hint: String,
}

/// The cached token, without the token itself.
#[derive(Serialize)]
struct TokenStatus {
    state: TokenState,
    /// The time from which a call renews the token.
    renewed_at: Option<Time>,
    expires_at: Option<Time>,
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

/// The cached failure.
#[derive(Serialize)]
struct FailedExchange {
    message: String,
    at: Time,
    until: Time,
    /// True if the next call returns this failure and does no exchange.
    #[serde(rename = "stands")]
    is_current: bool,
    #[serde(skip)]
    hint: String,
}

/// A host that refused a token.
#[derive(Serialize)]
struct Refusal {
    host: String,
    at: Time,
    /// The end of the pause for the host.
    until: Option<Time>,
    /// True during the pause.
    #[serde(skip)]
    is_current: bool,
}

/// The last failure of the account, or of a call that had not read an account, if that was later.
#[derive(Serialize)]
struct Failure {
    at: Time,
    command: String,
    exit_code: u8,
    message: String,
    hint: String,
    /// True if an exchange has succeeded since.
    is_over: bool,
}

/// A time. In JSON it has the form of RFC 3339; in text its distance from now follows.
#[derive(Clone, Copy)]
struct Time {
    at: Timestamp,
    now: Timestamp,
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.at)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, now } = self;
        let seconds = at.since(*now);
        let distance = humantime::format_duration(Duration::from_secs(seconds.unsigned_abs()));
        match seconds > 0 {
            true => write!(f, "{at} (in {distance})"),
            false => write!(f, "{at} ({distance} ago)"),
        }
    }
}

/// Settings as an object, sorted by their names.
fn as_map<S: Serializer>(settings: &[ListedSetting], serializer: S) -> Result<S::Ok, S::Error> {
    let map: BTreeMap<_, _> = settings.iter().map(|setting| (setting.name, setting)).collect();
    map.serialize(serializer)
}

impl AccountStatus {
    fn new(
        Inspected { settings, account, cache }: Inspected,
        listed: Vec<ListedSetting>,
        unnamed: Option<&LastFailure>,
        now: Timestamp,
    ) -> Self {
        let Entry { token, failure, epoch: _, refusals } = cache.read();
        let validity = token.map(|cached| cached.token.validity);
        let token = TokenStatus::new(&account, validity, *settings.min_valid, now);
        let is_valid = matches!(token.state, TokenState::Endless | TokenState::Fresh);
        let failed_exchange = match &account {
            Ok(Account::Service(account)) => failure.map(|failure| {
                let route = cache.digest(settings.route().expose());
                FailedExchange {
                    message: failure.error.to_string(),
                    at: Time { at: failure.at, now },
                    until: Time { at: failure.until, now },
                    is_current: failure.is_current(&route, now, *settings.common.timeout),
                    hint: service::exchange_error(&settings, account, failure.error, None).hint(),
                }
            }),
            _ => None,
        };
        let refusals = refusals.into_iter().map(|refusal| Refusal::new(refusal, now));
        let last = cache.last_failure().into_iter().chain(unnamed.cloned());
        let last = last.max_by_key(|last| last.at);
        let (hosts, others) = listed.into_iter().partition(|setting| setting.name == "hosts");
        let (name, title) = match &settings.account.value {
            ChosenAccount::Named(name) => {
                let name = shown::name(name).unwrap_or_else(|| shown::NOT_SHOWN.to_owned());
                (Some(name.clone()), name)
            }
            ChosenAccount::File(path) => (None, shown::redacted(&path.to_string_lossy())),
        };
        Self {
            name,
            exit_code: account.as_ref().map_or_else(Error::exit_code, |_| u8::from(!is_valid)),
            account: AccountFile::new(account),
            settings: others,
            hosts,
            token,
            failed_exchange,
            refusals: refusals.collect(),
            last_failure: last.map(|last| Failure::new(last, validity, now)),
            title,
            forget: settings.forget_command(),
        }
    }

    /// The message and the hint of the error that keeps this account from getting a token.
    fn problem(&self) -> Option<(&str, &str)> {
        let failed = self.failed_exchange.as_ref().filter(|failed| failed.is_current);
        let failed = failed.map(|failed| (&*failed.message, &*failed.hint));
        self.account.problem.as_ref().map(|error| (&*error.message, &*error.hint)).or(failed)
    }

    fn state(&self) -> State {
        match self.problem() {
            Some(_) => State::Failure,
            None if self.exit_code == 0 => State::Ok,
            None => State::Warning,
        }
    }

    /// The token in the table of the accounts.
    fn token_or_pause(&self) -> String {
        match &self.failed_exchange {
            _ if self.account.problem.is_some() => "no usable account file".to_owned(),
            Some(failed) if failed.is_current => {
                format!("not asked again until {}", failed.until.at)
            }
            _ => self.token.text(|time| time.at.to_string()),
        }
    }

    /// The rows about the account and its token.
    fn rows(&self, colour: Colour) -> Vec<Row> {
        let paint = |text: &str| colour.paint(&self.state(), text);
        let Self { title, account: AccountFile { kind, client_id, problem }, .. } = self;
        let mut rows = Vec::new();
        if let Some(Problem { message, hint }) = problem {
            rows.push(("account", format!("{title}: {}", paint(message))));
            rows.push(("", format!("hint: {hint}")));
        } else {
            let (kind, id) = (kind.unwrap_or_default(), client_id.as_deref().unwrap_or_default());
            rows.push(("account", format!("{title}: {kind}, client id {id}")));
            rows.push(("token", paint(&self.token.text(Time::to_string))));
        }
        if matches!(self.token.state, TokenState::Fresh | TokenState::Due) {
            let doubt = "only its server knows whether it is still accepted";
            rows.push(("", format!("{doubt}; if it is refused, run `{}`", self.forget)));
        }
        rows.extend(self.failed_exchange.iter().flat_map(FailedExchange::rows));
        rows.extend(self.refusals.iter().map(|refusal| ("refused by", refusal.text())));
        rows
    }

    /// The rows of the settings: the account file and the hosts, then the other settings that do not have their
    /// default values. If `is_verbose`, the rest follows.
    fn setting_rows(&self, is_verbose: bool) -> impl Iterator<Item = Row> {
        let is_file = |listed: &&ListedSetting| listed.name == "file";
        let is_default = |listed: &&ListedSetting| listed.source == Source::Default;
        let others = move || self.settings.iter().filter(move |listed| !is_file(listed));
        let set = others().filter(move |listed| !is_default(listed));
        let defaults = others().filter(move |listed| is_verbose && is_default(listed));
        let all =
            self.settings.iter().filter(is_file).chain(&self.hosts).chain(set).chain(defaults);
        all.map(|listed| (listed.name, format!("{} ({})", listed.value, listed.source)))
    }
}

impl AccountFile {
    fn new(account: Result<Account, Error>) -> Self {
        let problem = |error: Error| Problem { message: error.to_string(), hint: error.hint() };
        Self {
            kind: account.as_ref().ok().map(Account::kind),
            client_id: account.as_ref().ok().map(|account| account.client_id().to_owned()),
            problem: account.err().map(problem),
        }
    }
}

impl TokenStatus {
    fn new(
        account: &Result<Account, Error>,
        validity: Option<Validity>,
        min_valid: Option<i64>,
        now: Timestamp,
    ) -> Self {
        let state = match (account, validity) {
            (Err(_), _) => TokenState::Unknown,
            (Ok(Account::Application(_)), _) => TokenState::Endless,
            (Ok(_), None) => TokenState::None,
            (Ok(_), Some(validity)) if validity.is_fresh(now, min_valid) => TokenState::Fresh,
            (Ok(_), Some(validity)) if validity.is_valid(now) => TokenState::Due,
            (Ok(_), Some(_)) => TokenState::Expired,
        };
        let time = |at| Time { at, now };
        Self {
            state,
            renewed_at: validity.map(|validity| time(validity.refresh_at(min_valid))),
            expires_at: validity.map(|validity| time(validity.expires_at)),
        }
    }

    /// The token's state and times, each time as `show` writes it.
    fn text(&self, show: impl Fn(&Time) -> String) -> String {
        let show = |time: &Option<Time>| time.as_ref().map(&show).unwrap_or_default();
        let (renewal, expiry) = (show(&self.renewed_at), show(&self.expires_at));
        match self.state {
            TokenState::Fresh => format!("valid until {expiry}, renewed from {renewal}"),
            TokenState::Due => format!("valid until {expiry}, renewed by the next call"),
            TokenState::Expired => format!("expired {expiry}"),
            TokenState::Endless => "the application token itself, which does not expire".to_owned(),
            TokenState::None | TokenState::Unknown => "none in the cache".to_owned(),
        }
    }
}

impl FailedExchange {
    /// The failure and its consequence, with the hint if the next call fails. None if it is no longer cached.
    fn rows(&self) -> Vec<Row> {
        let Self { message, at, until, is_current, hint } = self;
        let row = |consequence: &str| ("cached error", format!("{message}, {at}; {consequence}"));
        if *is_current {
            vec![row(&format!("not asked again until {until}")), ("", format!("hint: {hint}"))]
        } else if at.at <= at.now && at.now < until.at {
            vec![row("does not apply to this proxy, these authorities and this time-out")]
        } else {
            Vec::new()
        }
    }
}

impl Refusal {
    fn new(refusal: cache::Refusal, now: Timestamp) -> Self {
        let time = |at| Time { at, now };
        let is_current = refusal.is_current(now);
        let cache::Refusal { host, at, until } = refusal;
        Self { host, at: time(at), until: until.map(time), is_current }
    }

    /// The host, and the end of its pause.
    fn text(&self) -> String {
        let Self { host, at, until, is_current } = self;
        let until = until.filter(|_| *is_current);
        let pause = until.map(|until| format!("; it gets no token until {until}"));
        format!("{host}, {at}{}", pause.unwrap_or_default())
    }
}

impl Failure {
    /// The last failure of a call. `validity` is that of the cached token.
    fn new(last: LastFailure, validity: Option<Validity>, now: Timestamp) -> Self {
        let LastFailure { at, command, exit_code, message, hint } = last;
        let is_over = validity.is_some_and(|validity| at < validity.requested_at);
        Self { at: Time { at, now }, command, exit_code, message, hint, is_over }
    }
}

/// A row of text: its name, and a value.
type Row = (&'static str, String);

impl Status<'_> {
    fn text(&self, is_verbose: bool, colour: Colour) -> String {
        let config = (!self.files.is_empty()).then(|| ("config", self.files.join(", then ")));
        match self.accounts {
            [one] => {
                let mut rows = one.rows(colour);
                rows.extend(self.last_failure(&aligned(&rows)));
                rows.extend(one.setting_rows(is_verbose));
                rows.extend(config);
                aligned(&rows)
            }
            _ => {
                let table = self.table(colour);
                let mut rows = self.last_failure(&table);
                rows.extend(config);
                table + &aligned(&rows)
            }
        }
    }

    /// A line for each account, then the problems.
    fn table(&self, colour: Colour) -> String {
        let tokens: Vec<_> = self.accounts.iter().map(AccountStatus::token_or_pause).collect();
        let token_width = width(tokens.iter().map(String::as_str));
        let title_width = width(self.accounts.iter().map(|account| &*account.title));
        let mut text = String::new();
        for (account, token) in self.accounts.iter().zip(&tokens) {
            let AccountStatus { title, hosts, .. } = account;
            let state = account.state();
            let state = colour.paint(&state, &format!("{:8}", state.word()));
            let hosts: Vec<_> = hosts.iter().map(|host| host.value.as_str()).collect();
            let hosts = hosts.join(", ");
            let line = format!("{state} {title:title_width$}  {token:token_width$}  {hosts}");
            let _ = writeln!(text, "{}", line.trim_end());
        }
        text.push('\n');
        for account in self.accounts {
            if let Some((message, hint)) = account.problem() {
                let _ = writeln!(text, "{}: {message}\nhint: {hint}\n", account.title);
            }
        }
        if self.accounts.iter().any(|account| account.token.expires_at.is_some()) {
            text.push_str(
                "Only a server knows whether it still accepts a cached token. If one refuses it, run\n\
                 `astra-credential forget --account NAME`.\n\n",
            );
        }
        text
    }

    /// The rows of the latest failure. The text `above` them is not repeated.
    fn last_failure(&self, above: &str) -> Vec<Row> {
        // A failure without an account can be the last one of each account. `is_over` is then that of the first.
        let last = self.accounts.iter().rev().filter_map(|account| account.last_failure.as_ref());
        let Some(last) = last.max_by_key(|last| last.at.at) else { return Vec::new() };
        let Failure { at, command, exit_code, message, hint, is_over } = last;
        let since = if *is_over { "; an exchange has succeeded since" } else { "" };
        let same = if above.contains(message) { ": the error above" } else { "" };
        let happened = format!("{at}, `{command}`, exit code {exit_code}{same}{since}");
        let details = [message.clone(), format!("hint: {hint}")];
        let details = details.into_iter().filter(|detail| !above.contains(detail));
        let details = details.map(|detail| ("", detail));
        [("last failure", happened)].into_iter().chain(details).collect()
    }
}

/// Aligns the rows in two columns. A name that is equal to the one above is left out.
fn aligned(rows: &[Row]) -> String {
    let names = rows.iter().map(|(name, _)| *name);
    let width = width(names.clone());
    let above = [""].into_iter().chain(names);
    let line = |((name, value), above): (&Row, &str)| {
        let name = if *name == above { "" } else { name };
        format!("{name:width$}  {value}\n")
    };
    rows.iter().zip(above).map(line).collect()
}

/// The width of a column, in characters.
fn width<'a>(texts: impl Iterator<Item = &'a str>) -> usize {
    texts.map(|text| text.chars().count()).max().unwrap_or_default()
}
