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
use crate::settings::{ChosenAccount, Configuration, DEFAULT_ACCOUNT, Environment, Settings};
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

/// The account that an entry's arguments or variables name.
enum Named {
    /// An account.
    Account(String),
    /// A host or an account file, which needs no other argument.
    Other,
    /// Neither.
    Nothing,
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
        let mut findings =
            vec![Finding::ok(CHECK, format!("`{}`, version {ours}", shown::file(own)))];
        let mut others: Vec<PathBuf> = Vec::new();
        let places = on_path(self.env(), "astra-credential");
        for path in places.filter(|path| path.is_file() && !self.is_this(path)) {
            // Several links to one binary count as one.
            if let Ok(other) = path.canonicalize()
                && !others.contains(&other)
            {
                others.push(other);
            }
        }
        for other in others {
            let version = version_of(&other);
            let other = shown::file(&other);
            findings.push(match version {
                Some(version) if version == ours => {
                    Finding::ok(CHECK, format!("`{other}` is another, of the same version"))
                }
                version => Finding::warning(
                    CHECK,
                    format!(
                        "`{other}` is another, of version {}",
                        Escaped(version.as_deref().unwrap_or("unknown"))
                    ),
                    "remove the older one, or put the newer one's folder first in `PATH`",
                ),
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
                    let Hosts::One(name) = &entry.hosts else { return vec![entry] };
                    let same = bound.iter().filter(|host| host.name() == name);
                    let hosts: Vec<_> = same.map(|host| Hosts::One(host.to_string())).collect();
                    match hosts.is_empty() {
                        true => vec![entry],
                        false => hosts
                            .into_iter()
                            .map(|hosts| Entry { hosts, ..entry.clone() })
                            .collect(),
                    }
                };
                entries.into_iter().flat_map(with_ports).collect()
            }
            // libgit2 ignores the port, so `setup` also writes an entry for the host without its port.
            Tool::Git => {
                let host_of = |entry: &Entry| match &entry.hosts {
                    Hosts::One(host) => Some(host.clone()),
                    Hosts::Any | Hosts::Unnamed => None,
                };
                let hosts: Vec<_> = entries.iter().filter_map(host_of).collect();
                entries.retain(|entry| {
                    let Hosts::One(host) = &entry.hosts else { return true };
                    let with_port = format!("{host}:");
                    let is_portless = !host.contains(':')
                        && hosts.iter().any(|host| host.starts_with(&with_port));
                    let is_bound = Host::parse(host).is_some_and(|host| {
                        matches!(self.configuration.settings_for(&host), Ok(Some(_)) | Err(_))
                    });
                    !is_portless || is_bound
                });
                entries
            }
            Tool::Kubectl | Tool::Docker | Tool::Terraform => entries,
        }
    }

    /// Checks one entry: the tool must find this program, and an account must answer for the host.
    fn entry(&self, tool: Tool, entry: &Entry) -> Finding {
        let Entry { place, program, hosts, obstacle, .. } = entry;
        let check = tool.name();
        let host = match hosts {
            Hosts::One(host) => format!(" for `{}`", redacted(host)),
            Hosts::Any | Hosts::Unnamed => String::new(),
        };
        let detail = |end: String| format!("configured in {place}{host}, {end}");
        let (found, leftover) = self.find_program(program);
        let Some(found) = found else {
            let sought = if program.is_absolute() { "" } else { " on `PATH`" };
            let missing = detail(format!("but there is no `{}`{sought}", shown::file(program)));
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
                    let other = format!("but finds `{shown}`, of version {}", Escaped(&version));
                    return Finding::warning(check, detail(other), self.hint(tool, entry, None));
                }
                None => {
                    let hint = self.hint(tool, entry, Some(Path::new(&shown)));
                    return Finding::failure(check, detail(format!("but finds `{shown}`")), hint);
                }
            }
        }
        let answering = match self.answering(entry) {
            Ok(answering) => answering,
            Err(error) => {
                let problem = detail(format!("which gets no token: {error}"));
                return Finding::failure(check, problem, error.hint());
            }
        };
        let Some(answering) = answering else {
            let problem = detail("which is bound to no account and gets no token".to_owned());
            return Finding::failure(check, problem, self.hint(tool, entry, None));
        };
        if let Some((problem, hint)) = obstacle {
            return Finding::warning(check, detail(problem.clone()), hint.clone());
        }
        let mut finding = Finding::ok(check, detail(format!("and {finds}{answering}")));
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
        // The accounts of the configuration file that this flag names are not known here.
        if entry.arguments.iter().any(|word| word == "--config" || word.starts_with("--config=")) {
            return Ok(Some(String::new()));
        }
        let settings = match (named(&entry.arguments), &entry.hosts) {
            (Named::Other, _) | (Named::Nothing, Hosts::Any) => return Ok(Some(String::new())),
            // Another flag, such as `--host`, may have an effect on the hosts.
            (Named::Account(name), Hosts::One(host)) if has_no_other_flag(&entry.arguments) => {
                self.settings_in(entry, Some(&name), Host::parse(host).as_ref())?
            }
            (Named::Account(name), _) => self.settings_in(entry, Some(&name), None)?,
            (Named::Nothing, Hosts::Unnamed) => self.settings_in(entry, None, None)?,
            (Named::Nothing, Hosts::One(host)) => {
                let Some(host) = Host::parse(host) else { return Ok(Some(String::new())) };
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

    /// The settings of a call in the environment that the tool gives it; `None` if no account is configured for
    /// `host`.
    fn settings_in(
        &self,
        entry: &Entry,
        account: Option<&str>,
        host: Option<&Host>,
    ) -> Result<Option<Settings>, Error> {
        let env = |name: &str| match variable(entry, name) {
            Some(value) => Some(value.into()),
            None => (self.env())(name),
        };
        self.configuration.settings_in(&env, account, host)
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
        let host = match &entry.hosts {
            Hosts::One(host) => Host::parse(host),
            Hosts::Any | Hosts::Unnamed => None,
        };
        // Bazel names a host without its port.
        let host = host.map(|host| {
            let bound = self.configuration.hosts().unwrap_or_default();
            bound.into_iter().find(|bound| bound.name() == host.name()).unwrap_or(host)
        });
        let name = match (named(&entry.arguments), &host) {
            (Named::Account(name), _) => Some(name),
            (Named::Other, _) => None,
            (Named::Nothing, Some(host)) => self.configuration.owner_of(host).map(str::to_owned),
            (Named::Nothing, None) => variable(entry, ACCOUNT).map(str::to_owned),
        };
        if let Some(host) = host {
            setup += &format!(" --host {}", safe(&host.to_string(), "HOST[:PORT]"));
        }
        if let Some(name) = name.filter(|name| *name != DEFAULT_ACCOUNT) {
            setup += &format!(" --account {}", safe(&name, "NAME"));
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
        let paths: Vec<_> = if program.is_absolute() {
            vec![program.to_owned()]
        } else {
            on_path(self.env(), &program.to_string_lossy()).collect()
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
fn named(arguments: &[String]) -> Named {
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        if word == "--account" {
            return words.next().map_or(Named::Other, |name| Named::Account(name.clone()));
        }
        if let Some(name) = word.strip_prefix("--account=") {
            return Named::Account(name.to_owned());
        }
    }
    let is_other =
        |word: &String| word.starts_with("--host") || word.starts_with("--service-account");
    if arguments.iter().any(is_other) { Named::Other } else { Named::Nothing }
}

/// True if no argument is a flag but `--account`.
fn has_no_other_flag(arguments: &[String]) -> bool {
    let mut flags = arguments.iter().filter(|word| word.starts_with("--"));
    flags.all(|flag| flag == "--account" || flag.starts_with("--account="))
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
