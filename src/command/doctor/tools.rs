//! The checks of the tools. For each host that a tool is configured for: does the tool find this binary,
//! which account answers, and can that account be used?

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::finding::Finding;
use crate::account;
use crate::command::tool::place::{executable, on_path};
use crate::command::tool::{Entry, Hosts, Tool, process};
use crate::error::{AccountError, Error};
use crate::protocol::Host;
use crate::settings::{ChosenAccount, Configuration, DEFAULT_ACCOUNT, Environment};
use crate::shown::{self, Escaped, redacted, shell_word};

/// The time-out of another program.
const LONGEST_ANSWER: Duration = Duration::from_secs(5);

/// The variable that chooses an account.
const ACCOUNT: &str = "ASTRA_CREDENTIAL_ACCOUNT";

/// The folders on the `PATH` of every process.
const USUAL_FOLDERS: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];

/// The inputs of the checks.
pub struct Tools<'a> {
    /// The configuration.
    pub configuration: &'a Configuration<'a>,
    /// This program's own file.
    pub binary: Option<PathBuf>,
}

/// Checks the binary, then the tools.
pub fn examine(examined: &Tools<'_>) -> Vec<Finding> {
    let mut findings = examined.binaries();
    for tool in Tool::ALL {
        let entries = tool.entries(examined.env(), LONGEST_ANSWER);
        let entries = examined.to_check(tool, entries);
        if entries.is_empty() {
            findings.push(Finding::ok(tool.name(), "not configured"));
        }
        findings.extend(entries.iter().map(|entry| examined.entry(tool, entry)));
    }
    findings
}

impl Tools<'_> {
    fn env(&self) -> &Environment<'_> {
        self.configuration.sources.env
    }

    /// This binary, and others of its name on `PATH`.
    fn binaries(&self) -> Vec<Finding> {
        const CHECK: &str = "binary";
        let ours = env!("CARGO_PKG_VERSION");
        let Some(own) = self.binary.as_deref() else {
            let detail = format!("version {ours}; where it is cannot be told without `/proc`");
            return vec![Finding::ok(CHECK, detail)];
        };
        let own = shown::file(own);
        let mut findings = vec![Finding::ok(CHECK, format!("`{own}`, version {ours}"))];
        let places = on_path(self.env(), "astra-credential");
        let others = places.filter(|path| path.is_file() && !self.is_this(path));
        let others: Vec<_> = others.filter_map(|path| path.canonicalize().ok()).collect();
        for (at, other) in others.iter().enumerate() {
            // Several links to one binary count as one.
            if others[..at].contains(other) {
                continue;
            }
            let another = format!("`{}` is another, of", shown::file(other));
            findings.push(match version_of(other).as_deref() {
                Some(version) if version == ours => {
                    Finding::ok(CHECK, format!("{another} the same version"))
                }
                version => {
                    let version = Escaped(version.unwrap_or("unknown"));
                    let hint =
                        "remove the older one, or put the newer one's folder first in `PATH`";
                    Finding::warning(CHECK, format!("{another} version {version}"), hint)
                }
            });
        }
        findings
    }

    /// The entries to check, one for each host.
    fn to_check(&self, tool: Tool, mut entries: Vec<Entry>) -> Vec<Entry> {
        match tool {
            // Bazel's configuration has a host without its port, which means all ports.
            Tool::Bazel => {
                let bound = self.configuration.hosts().unwrap_or_default();
                let with_ports = |entry: Entry| {
                    let same = bound.iter().filter(|host| entry.host() == Some(host.name()));
                    let hosts = same.map(|host| Hosts::One(host.to_string()));
                    let mut entries: Vec<_> =
                        hosts.map(|hosts| Entry { hosts, ..entry.clone() }).collect();
                    if entries.is_empty() {
                        entries.push(entry);
                    }
                    entries
                };
                entries.into_iter().flat_map(with_ports).collect()
            }
            // libgit2 ignores the port, so `setup` also writes an entry for the host without its port.
            Tool::Git => {
                let hosts = entries.iter().filter_map(Entry::host).map(str::to_owned);
                let hosts: Vec<_> = hosts.collect();
                entries.retain(|entry| {
                    let Some(host) = entry.host() else { return true };
                    let with_port = format!("{host}:");
                    let is_portless = !host.contains(':')
                        && hosts.iter().any(|other| other.starts_with(&with_port));
                    let is_bound =
                        |host| !matches!(self.configuration.settings_for(&host), Ok(None));
                    !is_portless || Host::parse(host).is_some_and(is_bound)
                });
                entries
            }
            Tool::Kubectl | Tool::Docker | Tool::Terraform => entries,
        }
    }

    /// Checks one entry: the tool must find this program, and an account must answer for the host.
    fn entry(&self, tool: Tool, entry: &Entry) -> Finding {
        let Entry { place, program, obstacle, .. } = entry;
        let check = tool.name();
        let host = entry.host().map(|host| format!(" for `{}`", redacted(host)));
        let start = format!("configured in {place}{}, ", host.unwrap_or_default());
        let (found, leftover) = self.find_program(program);
        let Some(found) = found else {
            let sought = if program.is_absolute() { "" } else { " on `PATH`" };
            let missing = format!("{start}but there is no `{}`{sought}", shown::file(program));
            return Finding::failure(check, missing, self.hint(tool, entry, leftover.as_deref()));
        };
        let mut finds = "finds this binary".to_owned();
        if !self.is_this(&found) {
            let shown = shown::file(&found);
            match version_of_named(&found) {
                Some(version) if version == env!("CARGO_PKG_VERSION") => {
                    finds = format!("finds `{shown}` of this version");
                }
                Some(version) => {
                    let version = Escaped(&version);
                    let other = format!("{start}but finds `{shown}`, of version {version}");
                    return Finding::warning(check, other, self.hint(tool, entry, None));
                }
                None => {
                    let hint = self.hint(tool, entry, Some(Path::new(&shown)));
                    return Finding::failure(check, format!("{start}but finds `{shown}`"), hint);
                }
            }
        }
        let answering = match self.answering(entry) {
            Ok(Some(answering)) => answering,
            Ok(None) => {
                let problem = format!("{start}which is bound to no account and gets no token");
                return Finding::failure(check, problem, self.hint(tool, entry, None));
            }
            Err(error) => return Finding::error(check, &(start + "which gets no token: "), &error),
        };
        if let Some((problem, hint)) = obstacle {
            return Finding::warning(check, start + problem, hint);
        }
        let mut finding = Finding::ok(check, format!("{start}and {finds}{answering}"));
        let folder = found.parent().unwrap_or(Path::new(""));
        if tool == Tool::Docker && !USUAL_FOLDERS.iter().any(|usual| folder == Path::new(usual)) {
            let link = shell_word(&found.to_string_lossy());
            finding.hint = Some(format!(
                "started with a shorter `PATH`, as by a service, docker does not find it: as root, \
                 `ln -s {link} /usr/local/bin/`"
            ));
        }
        finding
    }

    /// The account that answers, in words; `None` if there is none for the host.
    fn answering(&self, entry: &Entry) -> Result<Option<String>, Error> {
        let Entry { arguments, hosts, .. } = entry;
        let unknown = Ok(Some(String::new()));
        let env = |name: &str| match variable(entry, name) {
            Some(value) => Some(value.into()),
            None => (self.env())(name),
        };
        // The settings of a call in the environment that the tool gives it.
        let settings_in = |account, host| self.configuration.settings_in(&env, account, host);
        let settings = match (named(arguments), hosts) {
            // The accounts of the configuration file that this flag names are not known here.
            _ if arguments.iter().any(|word| is_flag(word, "--config")) => return unknown,
            // Another flag, such as `--host`, may have an effect on the hosts.
            (Some(name), Hosts::One(host)) if has_no_other_flag(arguments) => {
                settings_in(Some(name), Host::parse(host).as_ref())?
            }
            (Some(name), _) => settings_in(Some(name), None)?,
            (None, Hosts::Any) => return unknown,
            (None, _) if needs_no_account(arguments) => return unknown,
            (None, Hosts::Unnamed) => settings_in(None, None)?,
            (None, Hosts::One(host)) => {
                let Some(host) = Host::parse(host) else { return unknown };
                match self.configuration.owner_of(&host) {
                    Some(name) => Some(self.configuration.settings_of(name)?),
                    None => self.configuration.settings_for(&host)?,
                }
            }
        };
        let Some(settings) = settings else { return Ok(None) };
        let file = settings.service_account.as_deref().ok_or(AccountError::Unnamed)?;
        account::read(file, *settings.common.allow_exposed, Instant::now() + LONGEST_ANSWER)
            .map_err(|error| settings.of_account(error))?;
        Ok(Some(match &settings.account.value {
            ChosenAccount::Named(name) => format!(" and the account `{name}`"),
            ChosenAccount::File(file) => format!(" and the account in `{}`", shown::file(file)),
        }))
    }

    /// The command that corrects an entry. `obstacle` is a file in the place of the link, and has to be moved
    /// first.
    fn hint(&self, tool: Tool, entry: &Entry, obstacle: Option<&Path>) -> String {
        // `setup git` would add an entry with a path, and leave this one as it is. A link corrects it.
        if tool == Tool::Git
            && !entry.program.is_absolute()
            && let Some(own) = self.binary.as_deref()
        {
            let beside = on_path(self.env(), "astra-credential").find(|path| self.is_this(path));
            let beside = beside.as_deref().and_then(Path::parent);
            let link = beside.unwrap_or(Path::new("/usr/local/bin")).join(&entry.program);
            let [own, link] = [own, &link].map(|path| shell_word(&path.to_string_lossy()));
            return format!("run `ln -sf {own} {link}`");
        }
        let mut setup = format!("astra-credential setup {}", tool.name());
        let host = entry.host().and_then(Host::parse);
        // Bazel names a host without its port.
        let host = host.map(|host| {
            let bound = self.configuration.hosts().unwrap_or_default();
            bound.into_iter().find(|bound| bound.name() == host.name()).unwrap_or(host)
        });
        let name = match (named(&entry.arguments), &host) {
            (Some(name), _) => Some(name),
            (None, _) if needs_no_account(&entry.arguments) => None,
            (None, Some(host)) => self.configuration.owner_of(host),
            (None, None) => variable(entry, ACCOUNT),
        };
        if let Some(host) = &host {
            setup += &format!(" --host {}", safe(&host.to_string(), "HOST[:PORT]"));
        }
        if let Some(name) = name.filter(|name| *name != DEFAULT_ACCOUNT) {
            setup += &format!(" --account {}", safe(name, "NAME"));
        }
        match obstacle {
            Some(path) => {
                let path = shell_word(&path.to_string_lossy());
                format!("run `mv {path} {path}.old`, then `{setup}`")
            }
            None => format!("run `{setup}`"),
        }
    }

    /// The file that a tool runs, and a dangling link in its place.
    fn find_program(&self, program: &Path) -> (Option<PathBuf>, Option<PathBuf>) {
        let paths: Vec<_> = match program.is_absolute() {
            true => vec![program.to_owned()],
            false => on_path(self.env(), &program.to_string_lossy()).collect(),
        };
        let first = |is_it: fn(&Path) -> bool| paths.iter().find(|path| is_it(path)).cloned();
        (first(Path::is_file), first(Path::is_symlink))
    }

    fn is_this(&self, path: &Path) -> bool {
        let own = self.binary.as_deref().and_then(|own| own.canonicalize().ok());
        own.is_some() && path.canonicalize().ok() == own
    }
}

/// A word of a command line, or `placeholder` if it may be a secret.
fn safe(word: &str, placeholder: &str) -> String {
    shown::value(word).map_or_else(|| placeholder.to_owned(), |word| shell_word(&word))
}

/// The value of a variable that an entry sets.
fn variable<'a>(entry: &'a Entry, name: &str) -> Option<&'a str> {
    let set = entry.variables.iter().rev().find(|(set, _)| set == name);
    set.map(|(_, value)| value.as_str())
}

/// The account that arguments name.
fn named(arguments: &[String]) -> Option<&str> {
    let at = arguments.iter().position(|word| is_flag(word, "--account"))?;
    let name = arguments[at].strip_prefix("--account=");
    name.or_else(|| arguments.get(at + 1).map(String::as_str))
}

/// True if arguments name a host or an account file, or lack the name of an account.
fn needs_no_account(arguments: &[String]) -> bool {
    let flags = ["--host", "--service-account", "--account"];
    arguments.iter().any(|word| flags.iter().any(|flag| word.starts_with(flag)))
}

/// True if no argument is a flag but `--account`.
fn has_no_other_flag(arguments: &[String]) -> bool {
    arguments.iter().all(|word| !word.starts_with("--") || is_flag(word, "--account"))
}

/// True for that flag, with or without a value in the same word.
fn is_flag(word: &str, flag: &str) -> bool {
    word.strip_prefix(flag).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
}

/// The version of another program with this program's name, links followed.
fn version_of_named(program: &Path) -> Option<String> {
    let program = program.canonicalize().ok()?;
    program.file_name().filter(|name| **name == *executable("astra-credential"))?;
    version_of(&program)
}

/// The version that a program prints.
fn version_of(program: &Path) -> Option<String> {
    let command = [program.as_os_str(), "--version".as_ref()];
    let output = process::run(&command, &[], LONGEST_ANSWER).ok()?;
    output.split_whitespace().nth(1).map(str::to_owned)
}
