//! The checks of the network: the routes to the APIs, and an exchange for each account.

use std::time::{Duration, Instant};

use super::finding::Finding;
use super::subject::Subject;
use crate::account::Account;
use crate::exchange::{self, Exchange};
use crate::proxy::Proxy;
use crate::service;
use crate::settings::Settings;
use crate::shown;

/// The time-out of one check of the network.
const LONGEST_CHECK: Duration = Duration::from_secs(5);

/// Seconds by which the clocks may differ. A `Date` has whole seconds, and takes time to arrive.
const CLOCK_TOLERANCE: i64 = 30;

/// The routes to the APIs, each once, then an exchange for each account if `is_online`.
pub fn examine(accounts: &[Subject], is_online: bool) -> Vec<Finding> {
    let mut routes: Vec<&Subject> = Vec::new();
    for subject in accounts {
        let is_same = |other: &&Subject| {
            let [one, other] = [subject, other].map(|subject| &subject.settings);
            one.api.base == other.api.base && one.route().expose() == other.route().expose()
        };
        if !routes.iter().any(is_same) {
            routes.push(subject);
        }
    }
    // The remaining checks share the rest of the time, so that a server that does not answer does not use up
    // the time of the others.
    let timeout = accounts.first().map(|subject| *subject.settings.common.timeout);
    let deadline = Instant::now() + timeout.unwrap_or_default();
    let exchanges = if is_online { accounts.len() } else { 0 };
    let mut checks = u32::try_from(routes.len() + exchanges).unwrap_or(u32::MAX);
    let mut share = || {
        let share = deadline.saturating_duration_since(Instant::now()) / checks.max(1);
        checks = checks.saturating_sub(1);
        share
    };
    let mut findings: Vec<_> =
        routes.into_iter().flat_map(|route| route.network(share())).collect();
    findings.extend(accounts.iter().map(|it| it.exchange(is_online.then(&mut share))));
    findings
}

impl Subject {
    /// The proxy, the host's name, the server's certificate and its clock.
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
        let (host, named, shown) = match proxy.as_deref().map(Proxy::parse) {
            None => (api.host.name().to_owned(), api.host.with_port(), "none".to_owned()),
            // With a proxy, the proxy resolves the API's name, so only its own is resolved here.
            Some(Ok(proxy)) => {
                let named = proxy.to_string();
                let shown = shown::quoted(&named);
                (proxy.host, named, shown)
            }
            Some(Err(_)) => {
                let error = exchange.probe().err().map(|error| self.error(error));
                return error.iter().map(|error| Finding::error("proxy", "", error)).collect();
            }
        };
        let mut findings = vec![Finding::ok("proxy", shown)];
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
        findings.extend(self.server(&exchange));
        findings
    }

    /// The server's certificate, and its clock.
    fn server(&self, exchange: &Exchange<'_>) -> Vec<Finding> {
        let probe = match exchange.probe() {
            Ok(probe) => probe,
            Err(error) => {
                return vec![Finding::error("server", "", &self.error(error))];
            }
        };
        let (api, took) = (shown::quoted(exchange.api), probe.took.as_millis());
        let clock = match probe.clock_ahead {
            None => Finding::ok("clock", "not compared: the server does not tell the time"),
            Some(ahead) if ahead.abs() <= CLOCK_TOLERANCE => {
                Finding::ok("clock", format!("within {CLOCK_TOLERANCE} s of the server's"))
            }
            Some(ahead) => {
                let by = humantime::format_duration(Duration::from_secs(ahead.unsigned_abs()));
                let way = if ahead > 0 { "ahead of" } else { "behind" };
                let detail = format!("this machine's is {by} {way} the server's");
                let hint = "set this machine's clock: certificates are checked against it";
                Finding::warning("clock", detail, hint)
            }
        };
        let trusted = format!("{api} is trusted, and answered in {took} ms");
        vec![Finding::ok("server", trusted), clock]
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
        let mut anew = Settings { refresh: true, ..self.settings.clone() };
        anew.common.timeout.value = time;
        match service::serve(&anew, None, None) {
            Ok(credential) => {
                let until = credential.expires.map(|instant| format!(" until {instant}"));
                ok(&format!("brought a token that is valid{}", until.unwrap_or_default()))
            }
            Err(error) => Finding::error(CHECK, prefix, &error),
        }
    }
}
