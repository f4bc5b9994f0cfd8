//! The checks of the tools. For each host that a tool is configured for: does the tool find this binary,
//! which account answers, and can that account be used?
//!
//! kubectl and git print their configuration. The files of the other tools are searched as text. A file that
//! cannot be read is skipped.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::finding::Finding;
use crate::account;
use crate::command::setup::{bazel, docker, terraform};
use crate::error::Error;
use crate::protocol::Host;
use crate::settings::{ChosenAccount, Configuration, DEFAULT_ACCOUNT, Environment, HOME, paths};
use crate::shown::{self, Escaped, redacted, shell_word};

/// The time-out of another program, and the largest output that is read, in bytes.
const LONGEST_ANSWER: Duration = Duration::from_secs(5);
const LARGEST_ANSWER: u64 = 1024 * 1024;

/// The largest configuration that is read, in bytes.
const LARGEST_FILE: u64 = 4 * 1024 * 1024;

/// The folders on the `PATH` of every process.
const USUAL_FOLDERS: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];

/// The inputs of the checks.
pub struct Tools<'a> {
    /// The configuration.
    pub configuration: &'a Configuration<'a>,
    /// The environment.
    pub env: &'a Environment<'a>,
    /// This program's own file.
    pub binary: Option<PathBuf>,
}

/// A tool's entry for this program.
struct Entry {
    /// The file or key that holds it, for messages.
    place: String,
    /// The program that the tool runs: a path, or a name that it looks up on `PATH`.
    program: PathBuf,
    /// The host as it is written there; `None` for all hosts.
    host: Option<String>,
    /// The account that its arguments name; `Some(None)` if they name a host or an account file.
    account: Option<Option<String>>,
    /// A problem outside of the entry, and its hint.
    obstacle: Option<(String, String)>,
}

/// Checks the binary, then the tools.
pub fn examine(examined: &Tools<'_>) -> Vec<Finding> {
    let tools = [
        ("kubectl", examined.kubectl()),
        ("git", examined.git()),
        ("bazel", examined.bazel()),
        ("docker", examined.docker()),
        ("terraform", examined.terraform()),
    ];
    let tools = tools.into_iter().flat_map(|(tool, entries)| match entries.as_slice() {
        [] => vec![Finding::ok(tool, "not configured")],
        entries => entries.iter().map(|entry| examined.entry(tool, entry)).collect(),
    });
    examined.binaries().into_iter().chain(tools).collect()
}

impl Tools<'_> {
    /// This binary, and others of its name on `PATH`.
    fn binaries(&self) -> Vec<Finding> {
        const CHECK: &str = "binary";
        let ours = env!("CARGO_PKG_VERSION");
        let Some(own) = self.binary.as_deref() else {
            let detail = format!("version {ours}; where it is cannot be told without `/proc`");
            return vec![Finding::ok(CHECK, detail)];
        };
        let mut findings = vec![Finding::ok(CHECK, format!("`{}`, version {ours}", shown(own)))];
        let mut others: Vec<PathBuf> = Vec::new();
        let on_path = paths(self.env, "PATH")
            .into_iter()
            .map(|folder| folder.join(executable("astra-credential")));
        for path in on_path.filter(|path| path.is_file() && !self.is_this(path)) {
            // Several links to one binary count as one.
            if let Ok(other) = path.canonicalize()
                && !others.contains(&other)
            {
                others.push(other);
            }
        }
        for other in others {
            let output = output_of(&other, &["--version"]);
            let version = output.as_deref().and_then(|output| output.split_whitespace().nth(1));
            let other = shown(&other);
            findings.push(match version {
                Some(version) if version == ours => {
                    Finding::ok(CHECK, format!("`{other}` is another, of the same version"))
                }
                _ => Finding::warning(
                    CHECK,
                    format!(
                        "`{other}` is another, of version {}",
                        Escaped(version.unwrap_or("unknown"))
                    ),
                    "remove the older one, or put the newer one's folder first in `PATH`",
                ),
            });
        }
        findings
    }

    /// Checks one entry: the tool must find this program, and an account must answer for the host.
    fn entry(&self, tool: &'static str, entry: &Entry) -> Finding {
        let Entry { place, program, host, account, obstacle } = entry;
        let host_shown = host.as_deref().map(|host| format!(" for `{}`", redacted(host)));
        let detail = |end: String| {
            format!("configured in {place}{}, {end}", host_shown.as_deref().unwrap_or_default())
        };
        let (found, leftover) = self.find_program(program);
        let Some(found) = found else {
            let sought = if program.is_absolute() { "" } else { " on `PATH`" };
            let missing = detail(format!("but there is no `{}`{sought}", shown(program)));
            return Finding::failure(
                tool,
                missing,
                self.setup_hint(tool, entry, leftover.as_deref()),
            );
        };
        let mut finds = "finds this binary".to_owned();
        if !self.is_this(&found) {
            let (version, found) = (version_of(&found), shown(&found));
            match version {
                Some(version) if version == env!("CARGO_PKG_VERSION") => {
                    finds = format!("finds `{found}` of this version");
                }
                Some(version) => {
                    return Finding::warning(
                        tool,
                        detail(format!("but finds `{found}`, of version {}", Escaped(&version))),
                        self.setup_hint(tool, entry, None),
                    );
                }
                None => {
                    return Finding::failure(
                        tool,
                        detail(format!("but finds `{found}`")),
                        self.setup_hint(tool, entry, Some(Path::new(&found))),
                    );
                }
            }
        }
        let answering = match self.answering(host.as_deref(), account.as_ref()) {
            Ok(answering) => answering,
            Err(error) => {
                let problem = detail(format!("which gets no token: {error}"));
                return Finding::failure(tool, problem, error.hint());
            }
        };
        let Some(answering) = answering else {
            let problem = detail("which is bound to no account and gets no token".to_owned());
            return Finding::failure(tool, problem, self.setup_hint(tool, entry, None));
        };
        if let Some((problem, hint)) = obstacle {
            return Finding::warning(tool, detail(problem.clone()), hint.clone());
        }
        let mut finding = Finding::ok(tool, detail(format!("and {finds}{answering}")));
        let folder = found.parent().unwrap_or(Path::new(""));
        if tool == "docker" && !USUAL_FOLDERS.iter().any(|usual| folder == Path::new(usual)) {
            let link = shell_word(&found.to_string_lossy());
            finding.hint = Some(format!(
                "started with a shorter `PATH`, as by a service, docker does not find it: as root, \
                 `ln -s {link} /usr/local/bin/`"
            ));
        }
        finding
    }

    /// The account that answers, in words; `None` if there is none for the host.
    fn answering(
        &self,
        host: Option<&str>,
        account: Option<&Option<String>>,
    ) -> Result<Option<String>, Error> {
        let deadline = Instant::now() + LONGEST_ANSWER;
        let settings = match (account, host.and_then(Host::parse)) {
            (Some(None), _) | (None, None) => return Ok(Some(String::new())),
            (Some(Some(name)), _) => self.configuration.settings_of(name)?,
            (None, Some(host)) => match self.configuration.owner_of(&host) {
                Some(name) => self.configuration.settings_of(name)?,
                None => match self.configuration.settings_for(&host)? {
                    Some(settings) => settings,
                    None => return Ok(None),
                },
            },
        };
        let file = settings.service_account.as_deref().ok_or(Error::AccountUnnamed)?;
        account::read(file, *settings.allow_exposed, deadline)
            .map_err(|error| settings.of_account(error))?;
        Ok(Some(match &settings.account.value {
            ChosenAccount::Named(name) => format!(" and the account `{name}`"),
            ChosenAccount::File(file) => format!(" and the account in `{}`", shown(file)),
        }))
    }

    /// The command that corrects an entry. `obstacle` is a file in the place of the link, and has to be moved
    /// first.
    fn setup_hint(&self, tool: &str, entry: &Entry, obstacle: Option<&Path>) -> String {
        // `setup git` would add an entry with a path, and leave this one as it is. A link corrects it.
        if tool == "git"
            && !entry.program.is_absolute()
            && let Some(own) = self.binary.as_deref()
        {
            let folders = paths(self.env, "PATH");
            let beside = folders
                .into_iter()
                .find(|folder| self.is_this(&folder.join(executable("astra-credential"))));
            let link = beside.unwrap_or("/usr/local/bin".into()).join(&entry.program);
            let [own, link] = [own, &link].map(|path| shell_word(&path.to_string_lossy()));
            return format!("run `ln -sf {own} {link}`");
        }
        let mut setup = format!("astra-credential setup {tool}");
        // Bazel names a host without its port.
        let host = entry.host.as_deref().and_then(Host::parse).map(|host| {
            let bound = self.configuration.hosts().unwrap_or_default();
            bound.into_iter().find(|bound| bound.name() == host.name()).unwrap_or(host)
        });
        let name = match (&entry.account, &host) {
            (Some(account), _) => account.as_deref(),
            (None, Some(host)) => self.configuration.owner_of(host),
            (None, None) => None,
        };
        if let Some(host) = host {
            setup += &format!(" --host {}", shell_word(&host.to_string()));
        }
        if let Some(name) = name.filter(|name| *name != DEFAULT_ACCOUNT) {
            setup += &format!(" --account {}", shell_word(name));
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
        let folders = paths(self.env, "PATH");
        let places: Vec<_> = if program.is_absolute() {
            vec![program.to_owned()]
        } else {
            let name = executable(plain(&program.to_string_lossy()));
            folders.iter().map(|folder| folder.join(&name)).collect()
        };
        let first = |is_it: fn(&Path) -> bool| places.iter().find(|place| is_it(place)).cloned();
        (first(Path::is_file), first(Path::is_symlink))
    }

    /// The entries in kubeconfigs. A command is a path relative to the kubeconfig, or a name on `PATH`.
    fn kubectl(&self) -> Vec<Entry> {
        let mut files = paths(self.env, "KUBECONFIG");
        if files.is_empty() {
            files.extend(self.home(".kube/config"));
        }
        let kubectl = self.find_program(Path::new("kubectl")).0;
        let mut entries: Vec<Entry> = Vec::new();
        for file in &files {
            let Some(text) = text(file) else { continue };
            let file = std::path::absolute(file).unwrap_or_else(|_| file.clone());
            // Without kubectl on this machine, other programs may use the kubeconfig.
            let commands = kubectl
                .as_deref()
                .and_then(|kubectl| commands_by_kubectl(kubectl, &file))
                .unwrap_or_else(|| commands_in(&text));
            for (command, arguments) in commands {
                if !plain(&command).ends_with("astra-credential") {
                    continue;
                }
                let is_path = command.contains('/');
                let program = file.parent().filter(|_| is_path).map(|folder| folder.join(&command));
                let default = || Some(Some(DEFAULT_ACCOUNT.to_owned()));
                entries.push(Entry {
                    place: format!("`{}`", shown(&file)),
                    program: program.unwrap_or_else(|| command.into()),
                    host: None,
                    account: account_in(&arguments).or_else(default),
                    obstacle: None,
                });
            }
        }
        entries
    }

    /// The entries in git's configuration. git calls each helper whose key fits the host, in the order of the
    /// configuration. An empty helper removes those before it.
    fn git(&self) -> Vec<Entry> {
        let settings = self
            .find_program(Path::new("git"))
            .0
            .and_then(|git| output_of(&git, &["config", "--list", "-z"]));
        let settings = settings.unwrap_or_default();
        let helpers: Vec<(&str, &str, &str)> = settings
            .split('\0')
            .filter_map(|setting| setting.split_once('\n'))
            .filter_map(|(key, value)| {
                let url = key.strip_prefix("credential.")?.strip_suffix("helper")?;
                Some((key, url.trim_end_matches('.'), value))
            })
            .collect();
        let ours: Vec<_> = helpers
            .iter()
            .enumerate()
            .filter_map(|(at, helper)| Some((at, helper, helper_of_git(helper.2)?)))
            .collect();
        let host_of = |url: &str| url.split_once("://").map(|(_, host)| host.to_owned());
        let hosts: Vec<_> = ours.iter().filter_map(|(_, helper, _)| host_of(helper.1)).collect();
        let mut entries: Vec<Entry> = Vec::new();
        for (at, (key, url, value), (program, arguments)) in ours {
            let host = host_of(url);
            // libgit2 ignores the port, so `setup` also writes an entry for the host without its port.
            let is_portless = host.as_deref().is_some_and(|host| {
                !host.contains(':')
                    && hosts.iter().any(|other| other.starts_with(&format!("{host}:")))
            });
            let is_bound = host.as_deref().and_then(Host::parse).is_some_and(|host| {
                matches!(self.configuration.settings_for(&host), Ok(Some(_)) | Err(_))
            });
            if is_portless && !is_bound {
                continue;
            }
            let mut first = None;
            for (key, _, helper) in helpers[..at].iter().filter(|helper| fits(helper.1, url)) {
                let is_foreign = helper_of_git(helper).is_none();
                match helper.is_empty() {
                    true => first = None,
                    false => first = first.or(is_foreign.then_some((*key, *helper))),
                }
            }
            let obstacle = first;
            let obstacle = obstacle.map(|(other_key, other)| {
                let word = first_word(other);
                let (key, value) = (shell_word(key), shell_word(value));
                let problem = format!(
                    "but `{}` of `{}` is asked before",
                    shown::file(Path::new(&word)),
                    shown_key(other_key)
                );
                let hint = format!(
                    "run `git config --global --replace-all {key} ''`, then `git config --global \
                     --add {key} {value}`: the empty helper keeps out those before it"
                );
                (problem, hint)
            });
            entries.push(Entry {
                place: format!("`{}`", shown_key(key)),
                program: program.into(),
                host,
                account: account_in(&arguments.split(' ').map(str::to_owned).collect::<Vec<_>>()),
                obstacle,
            });
        }
        entries
    }

    /// The entries in `.bazelrc`: of the workspace, which may be a folder above this one, or of the user.
    fn bazel(&self) -> Vec<Entry> {
        let here = Path::new(".").canonicalize().unwrap_or_default();
        let above = here.ancestors().map(|folder| folder.join(".bazelrc"));
        let found = above.chain(self.home(".bazelrc")).find_map(|file| {
            let mut helpers = bazel::helpers(&text(&file)?);
            helpers.retain(|(_, program)| program.ends_with("bazel-credential-astra"));
            (!helpers.is_empty()).then_some((file, helpers))
        });
        let Some((file, helpers)) = found else { return Vec::new() };
        let folder = file.parent().unwrap_or(Path::new("")).to_string_lossy().into_owned();
        let bound = self.configuration.hosts().unwrap_or_default();
        let mut entries = Vec::new();
        for (name, program) in helpers {
            // Bazel names a host without its port, which stands for all ports.
            let of_name = bound.iter().filter(|host| host.name() == name).map(Host::to_string);
            let mut hosts: Vec<_> = of_name.map(Some).collect();
            if hosts.is_empty() {
                hosts.push(Some(name).filter(|name| !name.is_empty()));
            }
            entries.extend(hosts.into_iter().map(|host| Entry {
                place: format!("`{}`", shown(&file)),
                program: program.replace("%workspace%", &folder).into(),
                host,
                account: None,
                obstacle: None,
            }));
        }
        entries
    }

    fn docker(&self) -> Vec<Entry> {
        let file = docker::config_file(self.env);
        let config = file.as_deref().and_then(text);
        let config = config.and_then(|text| serde_json::from_str::<Value>(&text).ok());
        let (Some(file), Some(config)) = (file, config) else { return Vec::new() };
        let is_us = |value: &Value| value == "astra";
        let helpers = config.get("credHelpers").and_then(Value::as_object);
        let ours = helpers.into_iter().flatten().filter(|(_, value)| is_us(value));
        let mut hosts: Vec<_> = ours.map(|(host, _)| Some(host.clone())).collect();
        if config.get("credsStore").is_some_and(is_us) {
            hosts.push(None);
        }
        let entry = |host| Entry {
            place: format!("`{}`", shown(&file)),
            program: executable("docker-credential-astra").into(),
            host,
            account: None,
            obstacle: None,
        };
        hosts.into_iter().map(entry).collect()
    }

    /// The entry in Terraform's configuration: in the file of a variable, or else the user's file and those
    /// in Terraform's folder.
    fn terraform(&self) -> Vec<Entry> {
        let windows = || Some(PathBuf::from((self.env)("APPDATA")?).join("terraform.d"));
        let folder = if cfg!(windows) { windows() } else { self.home(".terraform.d") };
        let named = ["TF_CLI_CONFIG_FILE", "TERRAFORM_CONFIG"].into_iter().find_map(self.env);
        let named = named.filter(|value| !value.is_empty()).map(PathBuf::from);
        let files = named.map_or_else(
            || {
                let usual = [".terraformrc", ".tofurc"].into_iter();
                let further = folder.as_deref().map(terraform::further_files).unwrap_or_default();
                let windows = folder.as_deref().filter(|_| cfg!(windows)).and_then(Path::parent);
                let windows = windows.map(|folder| folder.join("terraform.rc"));
                usual.filter_map(|name| self.home(name)).chain(windows).chain(further).collect()
            },
            |file| vec![file],
        );
        let file = files.iter().find(|file| terraform::names_us(file));
        let (Some(file), Some(folder)) = (file, folder) else { return Vec::new() };
        vec![Entry {
            place: format!("`{}`", shown(file)),
            program: folder.join("plugins").join(executable("terraform-credentials-astra")),
            host: None,
            account: None,
            obstacle: None,
        }]
    }

    fn home(&self, name: &str) -> Option<PathBuf> {
        let home = (self.env)(HOME).filter(|value| !value.is_empty())?;
        Some(PathBuf::from(home).join(name))
    }

    fn is_this(&self, path: &Path) -> bool {
        let own = self.binary.as_deref().and_then(|own| own.canonicalize().ok());
        own.is_some() && path.canonicalize().ok() == own
    }
}

/// The name of a program's file.
fn executable(name: &str) -> String {
    if cfg!(windows) { format!("{name}.exe") } else { name.to_owned() }
}

/// The commands of a kubeconfig's users with their arguments, as kubectl reads it.
fn commands_by_kubectl(kubectl: &Path, file: &Path) -> Option<Vec<(String, Vec<String>)>> {
    let option = format!("--kubeconfig={}", file.to_str()?);
    let answer = output_of(kubectl, &[&option, "config", "view", "-o", "json"])?;
    let config: Value = serde_json::from_str(&answer).ok()?;
    let users = config.get("users")?.as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let of_user = |user: &Value| {
        let exec = user.get("user")?.get("exec")?;
        let arguments = exec.get("args").and_then(Value::as_array);
        let arguments = arguments.into_iter().flatten().filter_map(text).collect();
        Some((text(exec.get("command")?)?, arguments))
    };
    Some(users.iter().filter_map(of_user).collect())
}

/// Searches the text of a kubeconfig for the same, for machines without kubectl. kubectl writes a command
/// after its arguments.
fn commands_in(config: &str) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    let mut words = Vec::new();
    let word = |text: &str| text.trim().trim_matches(['"', '\'']).to_owned();
    for line in config.lines().map(str::trim) {
        match line.trim_start_matches("- ").strip_prefix("command:") {
            Some(command) => found.push((word(command), std::mem::take(&mut words))),
            None => words.extend(line.strip_prefix("- ").map(word)),
        }
    }
    found
}

/// The program that git runs for a helper, and its arguments, if it is this program. A helper is a shell
/// command (`!`), a path, or the end of a name.
fn helper_of_git(value: &str) -> Option<(String, String)> {
    let command = value.strip_prefix('!');
    let text = command.unwrap_or(value);
    let word = first_word(text);
    let arguments = text.split_once(' ').map_or("", |(_, rest)| rest).to_owned();
    let is_ours = ["astra-credential", "git-credential-astra"]
        .iter()
        .any(|name| plain(&word).ends_with(name));
    match word.as_str() {
        "astra" if command.is_none() => Some(("git-credential-astra".to_owned(), arguments)),
        _ => (is_ours && (command.is_some() || Path::new(&word).is_absolute()))
            .then_some((word, arguments)),
    }
}

/// A key of git's configuration, safe to show. A URL in it may contain a user name and a password.
fn shown_key(key: &str) -> String {
    let host = key.split_once("://").map(|(_, host)| host.trim_end_matches(".helper"));
    let is_plain = host.is_none_or(|host| {
        host.chars().all(|c| c.is_ascii_alphanumeric() || ".-:*[]_".contains(c))
    });
    if is_plain { Escaped(key).to_string() } else { "credential.URL.helper".to_owned() }
}

/// True if git calls the helpers of the URL `pattern` for `url` too. An empty pattern stands for all hosts,
/// and `*` for one label of a host.
fn fits(pattern: &str, url: &str) -> bool {
    let labels = |url: &str| url.split('.').map(str::to_owned).collect::<Vec<_>>();
    let (pattern, url) = (labels(pattern), labels(url));
    let is_like = |(pattern, label): (&String, &String)| {
        pattern == label || pattern.trim_start_matches("https://") == "*"
    };
    pattern == [""] || pattern.len() == url.len() && pattern.iter().zip(&url).all(is_like)
}

/// The first word of a shell command.
fn first_word(command: &str) -> String {
    let mut word = String::new();
    let mut is_quoted = false;
    let mut chars = command.chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' => is_quoted = !is_quoted,
            '\\' if !is_quoted => word.extend(chars.next()),
            ' ' if !is_quoted => break,
            c => word.push(c),
        }
    }
    word
}

/// The account that a helper's arguments name; `Some(None)` if they name a host or an account file.
fn account_in(arguments: &[String]) -> Option<Option<String>> {
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        if word == "--account" {
            return Some(words.next().cloned());
        }
        if let Some(name) = word.strip_prefix("--account=") {
            return Some(Some(name.to_owned()));
        }
    }
    let names = |word: &String| word.starts_with("--host") || word.starts_with("--service-account");
    arguments.iter().any(names).then_some(None)
}

/// A program's path or name without `.exe`.
fn plain(program: &str) -> &str {
    program.strip_suffix(".exe").unwrap_or(program)
}

/// The version of another program with this program's name, links followed.
fn version_of(program: &Path) -> Option<String> {
    let program = program.canonicalize().ok()?;
    let is_named = program.file_name().is_some_and(|name| *name == *executable("astra-credential"));
    let output = is_named.then(|| output_of(&program, &["--version"])).flatten()?;
    output.split_whitespace().nth(1).map(str::to_owned)
}

fn text(file: &Path) -> Option<String> {
    // Reading a pipe could block.
    let length = fs::metadata(file).ok().filter(fs::Metadata::is_file)?.len();
    (length <= LARGEST_FILE).then(|| fs::read_to_string(file).ok()).flatten()
}

fn shown(path: &Path) -> String {
    shown::file(path)
}

/// The standard output of a program, if it ends in time.
fn output_of(program: &Path, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    let stdout = child.stdout.take()?;
    let (sender, receiver) = channel();
    let read = move || {
        let mut output = String::new();
        let read = stdout.take(LARGEST_ANSWER).read_to_string(&mut output);
        let _ = sender.send(read.is_ok().then_some(output));
    };
    let reader = thread::Builder::new().spawn(read);
    let output = reader.ok().and_then(|_| receiver.recv_timeout(LONGEST_ANSWER).ok()).flatten();
    // It has ended, or has reached the time-out.
    let _ = child.kill();
    let _ = child.wait();
    output
}
