//! `doctor`: checks everything that can be wrong, prints a line for each check, and a hint for each failure.
//!
//! Run it in the environment in which a tool fails. It sends no secret, except in the exchange of
//! `--online`. All checks of the network together end within `--timeout`, each within five seconds.

mod finding;
mod tools;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;

use self::finding::Finding;
use self::tools::Tools;
use super::{State, Style};
use crate::account::Account;
use crate::cache::{self, Cache, Entry, Refusal};
use crate::error::{Error, ExchangeError};
use crate::exchange::{self, Exchange};
use crate::message;
use crate::proxy::Proxy;
use crate::service::{self, Inspected};
use crate::settings::{self, ChosenAccount, Configuration, Settings, Sourced};
use crate::shown::{self, shell_word};
use crate::timestamp::Timestamp;

/// The inputs of all checks.
pub struct Context<'a> {
    /// The configuration.
    pub configuration: &'a Configuration<'a>,
    /// The accounts; the first answers calls that name no host.
    pub accounts: Vec<Subject>,
}

/// One account.
pub struct Subject {
    /// The account's name before each of its lines; empty if there is no other account.
    prefix: String,
    settings: Settings,
    account: Result<Account, Error>,
    cache: Cache,
}

/// The time for all checks of the network together. The remaining checks share the rest of it, so that a
/// server that does not answer does not use up the time of the others.
struct Budget {
    deadline: Instant,
    /// The number of remaining checks.
    checks: u32,
}

impl Budget {
    /// The time for the next check.
    fn next(&mut self) -> Duration {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let share = left / self.checks.max(1);
        self.checks = self.checks.saturating_sub(1);
        share
    }
}

/// The time-out of one check of the network.
const LONGEST_CHECK: Duration = Duration::from_secs(5);

/// Seconds by which the clocks may differ. A `Date` has whole seconds, and takes time to arrive.
const CLOCK_TOLERANCE: i64 = 30;

/// Returns the answer and the exit code. `binary` is this program's own file. `is_online` also does an
/// exchange for each account.
///
/// # Errors
/// A setting cannot be used.
pub fn run(
    configuration: &Configuration<'_>,
    binary: Option<PathBuf>,
    is_online: bool,
    style: Style,
) -> Result<(Vec<u8>, u8), Error> {
    let settings = configuration.every_account()?;
    let is_alone = settings.len() == 1;
    let subject = |settings: Settings| {
        let prefix = if is_alone { String::new() } else { format!("{}: ", settings.account.value) };
        let Inspected { settings, account, cache } = service::inspect(settings);
        Subject { prefix, settings, account, cache }
    };
    let examine = || {
        let accounts = settings.into_iter().map(subject).collect::<Vec<_>>();
        let tools = Tools { configuration, env: configuration.sources.env, binary };
        let context = Context { configuration, accounts };
        // The network comes first, so that the cache is shown as it is after the exchanges.
        let network = context.network(is_online);
        let mut findings = context.configuration();
        findings.extend(context.accounts.iter().flat_map(Subject::account_file));
        findings.extend(context.accounts.iter().flat_map(|subject| subject.token(is_alone)));
        findings.extend(context.cache());
        findings.extend(network);
        findings.extend(tools::examine(&tools));
        findings
    };
    let findings = message::explain_wait("checking what can be wrong", examine);
    message::wipe();
    let has_failed = findings.iter().any(|finding| finding.state == State::Failure);
    let answer = match style {
        Style::Json => {
            #[derive(Serialize)]
            struct Findings {
                checks: Vec<Finding>,
            }
            super::line(&Findings { checks: findings })
        }
        Style::Text { colour, .. } => {
            let lines: String = findings.iter().map(|finding| finding.lines(colour)).collect();
            message::in_locale(&lines).into_owned()
        }
    };
    Ok((answer.into_bytes(), u8::from(has_failed)))
}

impl Context<'_> {
    /// The configuration files, and the variables that contradict them.
    fn configuration(&self) -> Vec<Finding> {
        const CHECK: &str = "config";
        let files: Vec<_> = self.configuration.files().map(shown::path).collect();
        let mut findings = Vec::new();
        if !files.is_empty() {
            findings.push(Finding::ok(CHECK, files.join(", then ")));
        }
        // Other calls treat a dangling link as a missing file, which saves a system call.
        let places = self.configuration.sources.places();
        let is_dangling = |place: &&PathBuf| place.is_symlink() && !place.exists();
        findings.extend(places.iter().filter(is_dangling).map(|place| {
            let detail = format!("{} is a link that leads nowhere", shown::path(place));
            Finding::failure(
                CHECK,
                detail,
                "restore the file to which it leads, or remove the link",
            )
        }));
        match settings::contradictions(&self.configuration.sources) {
            Ok(found) => findings.extend(found.into_iter().map(|(variable, says)| {
                let hint = format!("unset `{variable}` where the tools are started from");
                Finding::warning(CHECK, format!("`{variable}` {says}"), hint)
            })),
            Err(error) => findings.push(Finding::failure(CHECK, error.to_string(), error.hint())),
        }
        findings
    }

    fn cache(&self) -> Vec<Finding> {
        const CHECK: &str = "cache";
        const ELSEWHERE: &str =
            "name a folder of your own with `--cache-dir DIR` or `ASTRA_CREDENTIAL_CACHE_DIR`";
        // The folder is the same for every account.
        let Some(Subject { settings, .. }) = self.accounts.first() else {
            return Vec::new();
        };
        if *settings.no_cache {
            return vec![Finding::warning(
                CHECK,
                "it is switched off: each call does an exchange",
                "unset `ASTRA_CREDENTIAL_NO_CACHE`, unless that is meant",
            )];
        }
        let Some(dir) = settings.cache_dir.as_deref() else {
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
            let detail =
                "can be written; its file system has no permissions, and entries are sealed";
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
        findings.extend(self.accounts.iter().flat_map(Subject::lock));
        findings
    }

    /// The routes to the APIs, each once, then an exchange for each account if `is_online`.
    fn network(&self, is_online: bool) -> Vec<Finding> {
        let mut routes: Vec<&Subject> = Vec::new();
        for subject in &self.accounts {
            let is_same = |other: &&Subject| {
                let [one, other] = [subject, other].map(|subject| &subject.settings);
                one.api.base == other.api.base && one.route().expose() == other.route().expose()
            };
            if !routes.iter().any(is_same) {
                routes.push(subject);
            }
        }
        let timeout = self.accounts.first().map(|subject| *subject.settings.timeout);
        let exchanges = if is_online { self.accounts.len() } else { 0 };
        let mut budget = Budget {
            deadline: Instant::now() + timeout.unwrap_or_default(),
            checks: u32::try_from(routes.len() + exchanges).unwrap_or(u32::MAX),
        };
        let mut findings = Vec::new();
        for route in routes {
            findings.extend(route.network(budget.next()));
        }
        for subject in &self.accounts {
            let time = is_online.then(|| budget.next());
            findings.push(subject.exchange(time));
        }
        findings
    }
}

impl Subject {
    fn network(&self, time: Duration) -> Vec<Finding> {
        let Settings { api, proxy, ca_file, ca_folders, .. } = &self.settings;
        let deadline = Instant::now() + LONGEST_CHECK.min(time);
        let exchange = Exchange {
            api: &api.base,
            ca_file: ca_file.as_deref(),
            ca_folders,
            proxy: proxy.as_deref(),
            deadline,
        };
        let mut findings = Vec::new();
        let (host, named) = match proxy.as_deref().map(Proxy::parse) {
            None => {
                findings.push(Finding::ok("proxy", "none"));
                (api.host.name().to_owned(), api.host.with_port())
            }
            // With a proxy, the proxy resolves the API's name, so only its own is resolved here.
            Some(Ok(proxy)) => {
                findings.push(Finding::ok("proxy", shown::quoted(&proxy.to_string())));
                (proxy.host.clone(), proxy.to_string())
            }
            Some(Err(_)) => {
                let error = exchange.probe().err().map(|error| self.error(error));
                findings.extend(
                    error.map(|error| Finding::failure("proxy", error.to_string(), error.hint())),
                );
                return findings;
            }
        };
        match exchange::addresses(&host, deadline) {
            Ok(addresses) => {
                let detail = format!("{} is {}", shown::quoted(&named), addresses.join(", "));
                findings.push(Finding::ok("name", detail));
            }
            Err(why) => {
                let detail = format!("{} is not known here: {why}", shown::quoted(&named));
                let hint = if proxy.is_some() {
                    "check the proxy in `HTTPS_PROXY` or `ALL_PROXY`, or name the API's host in \
                     `NO_PROXY`"
                } else {
                    "check the network, `--api-url` and the name server; behind a proxy, set \
                     `HTTPS_PROXY`"
                };
                findings.push(Finding::failure("name", detail, hint));
                return findings;
            }
        }
        match exchange.probe() {
            Err(error) => {
                let error = self.error(error);
                findings.push(Finding::failure("server", error.to_string(), error.hint()));
            }
            Ok(probe) => {
                let detail = format!(
                    "{} is trusted, and answered in {} ms",
                    shown::quoted(&api.base),
                    probe.took.as_millis()
                );
                findings.push(Finding::ok("server", detail));
                findings.push(match probe.clock_ahead {
                    None => Finding::ok("clock", "not compared: the server does not tell the time"),
                    Some(ahead) if ahead.abs() <= CLOCK_TOLERANCE => {
                        Finding::ok("clock", format!("within {CLOCK_TOLERANCE} s of the server's"))
                    }
                    Some(ahead) => {
                        let by =
                            humantime::format_duration(Duration::from_secs(ahead.unsigned_abs()));
                        let way = if ahead > 0 { "ahead of" } else { "behind" };
                        Finding::warning(
                            "clock",
                            format!("this machine's is {by} {way} the server's"),
                            "set this machine's clock: certificates are checked against it",
                        )
                    }
                });
            }
        }
        findings
    }
}

impl Subject {
    fn account_file(&self) -> Vec<Finding> {
        const CHECK: &str = "account";
        let prefix = &self.prefix;
        let path = self.settings.service_account.as_deref();
        let mut findings = vec![match &self.account {
            Err(error) => Finding::failure(CHECK, format!("{prefix}{error}"), error.hint()),
            Ok(_) if *self.settings.allow_exposed => Finding::warning(
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
            findings.push(Finding::warning(
                CHECK,
                format!(
                    "{prefix}its `{field}` has blanks or line ends at its ends, which are sent too"
                ),
                "take them off, unless they belong to it",
            ));
        }
        findings.extend(path.filter(|path| path.exists()).and_then(|path| open_above(CHECK, path)));
        findings
    }

    /// The cached token, the cached failure and the refusals.
    fn token(&self, is_alone: bool) -> Vec<Finding> {
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
            && failure.is_current(&route, now, *settings.timeout)
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
        let life = token.map(|cached| cached.token.validity).filter(|life| life.is_alive(now));
        findings.extend(life.map(|life| {
            let detail = format!(
                "{prefix}cached until {}; only its server knows whether it is still accepted: if it is \
                 refused, run `{forget}`",
                life.expires_at
            );
            Finding::ok(CHECK, detail)
        }));
        findings
    }

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
                Finding::ok("lock", format!("held by {holder}, which is asking Astra"))
            }
        }));
        findings
    }

    /// The outcome of an exchange, if there is `time` for one.
    fn exchange(&self, time: Option<Duration>) -> Finding {
        const CHECK: &str = "exchange";
        let prefix = &self.prefix;
        let ok = |detail: &str| Finding::ok(CHECK, format!("{prefix}{detail}"));
        let time = match (&self.account, time) {
            (Err(_), _) => return ok("not tried without an account"),
            (Ok(Account::Application(_)), _) => {
                return ok("not needed: an application token is served as it is");
            }
            (Ok(_), None) => return ok("not tried: `--online` does an exchange"),
            (Ok(_), Some(time)) => time,
        };
        let timeout = Sourced::new(time, self.settings.timeout.source.clone());
        let anew = Settings { refresh: true, timeout, ..self.settings.clone() };
        match service::serve(&anew, None, None) {
            Ok(credential) => {
                let until = credential.expires.map(|instant| format!(" until {instant}"));
                ok(&format!("brought a token that is valid{}", until.unwrap_or_default()))
            }
            Err(error) => Finding::failure(CHECK, format!("{prefix}{error}"), error.hint()),
        }
    }

    /// The error of the catalogue for a failed probe.
    fn error(&self, error: ExchangeError) -> Error {
        let account = self.settings.service_account.value.clone().unwrap_or_default();
        let store = self.settings.store_command();
        Error::Exchange { error, remembered: None, account, padded: None, store }
    }
}

/// A folder above `path` that other users may change: they could put another file in its place.
#[cfg(unix)]
fn open_above(check: &'static str, path: &Path) -> Option<Finding> {
    use std::os::unix::fs::MetadataExt as _;
    const STICKY: u32 = 0o1000;
    let caller = rustix::process::geteuid().as_raw();
    let path = path.canonicalize().ok()?;
    path.ancestors().skip(1).find_map(|folder| {
        let metadata = folder.metadata().ok()?;
        let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
        let shown = shown::path(folder);
        // Many systems give each user a group of the same number, with no other member.
        let group = if metadata.gid() == caller { 0 } else { 0o020 };
        if owner != caller && owner != 0 {
            let detail =
                format!("the folder {shown} above it belongs to another user (uid {owner})");
            Some(Finding::warning(check, detail, "keep it in a folder of your own"))
        } else if mode & (group | 0o002) != 0 && mode & STICKY == 0 {
            let detail =
                format!("the folder {shown} above it may be changed by others (mode {mode:04o})");
            let fix = format!("`chmod go-w {}`", shell_word(&folder.to_string_lossy()));
            Some(Finding::warning(
                check,
                detail,
                if owner == caller {
                    format!("run {fix}")
                } else {
                    format!("have root run {fix}, or keep it in a folder of your own")
                },
            ))
        } else {
            None
        }
    })
}

#[cfg(not(unix))]
fn open_above(_: &'static str, _: &Path) -> Option<Finding> {
    None
}

/// A folder that belongs to another user, or that other users can read.
#[cfg(unix)]
fn not_private(check: &'static str, dir: &Path, elsewhere: &str) -> Option<Finding> {
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
fn not_private(_: &'static str, _: &Path, _: &str) -> Option<Finding> {
    None
}

/// The name of a network file system, by its number in statfs(2).
#[cfg(target_os = "linux")]
fn network_file_system(dir: &Path) -> Option<&'static str> {
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
fn network_file_system(_: &Path) -> Option<&'static str> {
    None
}
