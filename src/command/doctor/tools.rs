//! Whether each tool finds this binary: the links where it looks, and what its configuration names.
//!
//! A configuration is read as text, for the name that would have to be in it; nothing is concluded
//! from a file that cannot be read.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::{Finding, Patient};
use crate::account::quoted;
use crate::command::setup::{bazel, terraform};
use crate::error::{Shown, harmless};
use crate::protocol::Host;
use crate::shown;

/// How long another program may take for a question, and how many bytes it may say.
const LONGEST_ANSWER: Duration = Duration::from_secs(5);
const LARGEST_ANSWER: u64 = 1024 * 1024;

/// A configuration larger than this, in bytes, is nobody's.
const LARGEST_FILE: u64 = 4 * 1024 * 1024;

/// Where a tool is told of this program, and what that makes of it.
struct Configured {
    place: String,
    /// What the tool runs: a path, or a name that it looks for on `PATH`.
    program: PathBuf,
    /// For which hosts, as far as that can be told.
    hosts: Vec<String>,
    /// Whether they have to be named in the environment too, since the tool passes no arguments.
    is_mute: bool,
}

/// The binary, then the tools.
pub fn examine(patient: &Patient<'_>) -> Vec<Finding> {
    let tools = [
        ("kubectl", patient.kubectl()),
        ("git", patient.git()),
        ("bazel", patient.bazel()),
        ("docker", patient.docker()),
        ("terraform", patient.terraform()),
    ];
    let tools = tools.into_iter().map(|(tool, configured)| patient.tool(tool, configured));
    patient.binaries().into_iter().chain(tools).collect()
}

impl Patient<'_> {
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
        let on_path =
            (self.paths)("PATH").into_iter().map(|folder| folder.join("astra-credential"));
        for path in on_path.filter(|path| path.is_file() && !self.is_this(path)) {
            // Several links to one binary are one.
            if let Ok(other) = path.canonicalize()
                && !others.contains(&other)
            {
                others.push(other);
            }
        }
        for other in others {
            let said = output_of(&other, &["--version"]);
            let version = said.as_deref().and_then(|said| said.split_whitespace().nth(1));
            let other = shown(&other);
            findings.push(match version {
                Some(version) if version == ours => {
                    Finding::ok(CHECK, format!("`{other}` is another, of the same version"))
                }
                _ => Finding::warning(
                    CHECK,
                    format!(
                        "`{other}` is another, of version {}",
                        Shown(version.unwrap_or("unknown"))
                    ),
                    "remove the older one, or put the newer one's folder first in `PATH`",
                ),
            });
        }
        findings
    }

    /// One tool: whether what it runs is this program, and gives it a token.
    fn tool(&self, tool: &'static str, configured: Option<Configured>) -> Finding {
        let Some(Configured { place, program, hosts, is_mute }) = configured else {
            return Finding::ok(tool, "not configured");
        };
        let host = hosts.iter().find(|host| Host::parse(host).is_some());
        let host = host.map_or("HOST".to_owned(), |host| quoted(host));
        let setup = format!("run `astra-credential setup {tool} --host {host}`");
        // What is in the way of a link has to go first. A kubeconfig may be somebody's own.
        let own = self.binary.as_deref().map(shown).unwrap_or_default();
        let hint = |obstacle: Option<&Path>| match obstacle {
            _ if tool == "kubectl" => format!("write `{own}` in its place"),
            Some(path) => format!("take `{}` out of the way and {setup}", shown(path)),
            None => setup.clone(),
        };
        let (found, leftover) = self.look_for(&program);
        let Some(found) = found else {
            let sought = if program.is_absolute() { "" } else { " on `PATH`" };
            let detail =
                format!("configured in {place}, but there is no `{}`{sought}", shown(&program));
            return Finding::warning(tool, detail, hint(leftover.as_deref()));
        };
        if !self.is_this(&found) {
            let detail = format!("configured in {place}, but finds `{}`", shown(&found));
            return Finding::warning(tool, detail, hint(Some(&found)));
        }
        let is_unheard = |host: &&String| {
            Host::parse(host)
                .is_some_and(|host| !matches!(self.configuration.settings_for(&host), Ok(Some(_))))
        };
        match hosts.iter().find(is_unheard).filter(|_| is_mute) {
            Some(host) => Finding::warning(
                tool,
                format!(
                    "configured in {place} for `{}`, which gets no token",
                    shown(host.as_ref())
                ),
                format!(
                    "add it to `ASTRA_CREDENTIAL_HOSTS` in the environment in which {tool} runs"
                ),
            ),
            None => Finding::ok(tool, format!("configured in {place}, and finds this binary")),
        }
    }

    /// The file that a tool runs, or else a link in its place that leads nowhere.
    fn look_for(&self, program: &Path) -> (Option<PathBuf>, Option<PathBuf>) {
        let folders = (self.paths)("PATH");
        let paths: Vec<_> = if program.is_absolute() {
            vec![program.to_owned()]
        } else {
            folders.iter().map(|folder| folder.join(program)).collect()
        };
        let first = |is_it: fn(&Path) -> bool| paths.iter().find(|path| is_it(path)).cloned();
        (first(Path::is_file), first(Path::is_symlink))
    }

    /// A kubeconfig names a command by its path, from its own folder, or by its name on `PATH`.
    fn kubectl(&self) -> Option<Configured> {
        let mut files = (self.paths)("KUBECONFIG");
        if files.is_empty() {
            files.extend(self.home(".kube/config"));
        }
        let (file, command) =
            files.iter().find_map(|file| Some((file, our_command(&text(file)?)?)))?;
        let is_path = command.contains('/');
        let file = std::path::absolute(file).unwrap_or_else(|_| file.clone());
        let program = file.parent().filter(|_| is_path).map(|folder| folder.join(&command));
        Some(Configured {
            place: format!("`{}`", shown(&file)),
            program: program.unwrap_or_else(|| command.into()),
            hosts: Vec::new(),
            is_mute: false,
        })
    }

    fn git(&self) -> Option<Configured> {
        let git = self.look_for(Path::new("git")).0?;
        let settings = output_of(&git, &["config", "--list"])?;
        let names_us = |line: &str| {
            let (name, value) = line.split_once('=')?;
            let url = name.strip_prefix("credential.")?.strip_suffix("helper")?;
            let authority = url.split("://").nth(1).unwrap_or_default().trim_end_matches('.');
            Some(Configured {
                place: match url.trim_end_matches('.') {
                    "" => "`credential.helper`".to_owned(),
                    url => format!("`credential.{}.helper`", harmless(url)),
                },
                program: helper_of_git(value)?.into(),
                hosts: Host::parse(authority).map(|host| host.to_string()).into_iter().collect(),
                is_mute: false,
            })
        };
        settings.lines().find_map(names_us)
    }

    /// Bazel reads the file of the workspace, somewhere above, and the user's.
    fn bazel(&self) -> Option<Configured> {
        let here = Path::new(".").canonicalize().unwrap_or_default();
        let above = here.ancestors().map(|folder| folder.join(".bazelrc"));
        above.chain(self.home(".bazelrc")).find_map(|file| {
            let mut helpers = bazel::helpers(&text(&file)?);
            helpers.retain(|(_, program)| program.ends_with("bazel-credential-astra"));
            let (_, program) = helpers.first()?;
            let folder = file.parent()?.to_string_lossy().into_owned();
            Some(Configured {
                place: format!("`{}`", shown(&file)),
                program: program.replace("%workspace%", &folder).into(),
                hosts: helpers.iter().map(|(host, _)| host.clone()).collect(),
                is_mute: true,
            })
        })
    }

    fn docker(&self) -> Option<Configured> {
        let folder = (self.env)("DOCKER_CONFIG").filter(|value| !value.is_empty());
        let folder = folder.map(PathBuf::from).or_else(|| self.home(".docker"))?;
        let file = folder.join("config.json");
        let config: Value = serde_json::from_str(&text(&file)?).ok()?;
        let is_us = |value: &Value| value == "astra";
        let helpers = config.get("credHelpers").and_then(Value::as_object);
        let ours = helpers.into_iter().flatten().filter(|(_, value)| is_us(value));
        let hosts: Vec<_> = ours.map(|(host, _)| host.clone()).collect();
        let is_configured = !hosts.is_empty() || config.get("credsStore").is_some_and(is_us);
        is_configured.then(|| Configured {
            place: format!("`{}`", shown(&file)),
            program: "docker-credential-astra".into(),
            hosts,
            is_mute: true,
        })
    }

    /// Terraform reads a file that is named to it, or else the user's and those in its folder.
    fn terraform(&self) -> Option<Configured> {
        let folder = self.home(".terraform.d");
        let named = ["TF_CLI_CONFIG_FILE", "TERRAFORM_CONFIG"].into_iter().find_map(self.env);
        let named = named.filter(|value| !value.is_empty()).map(PathBuf::from);
        let files = named.map_or_else(
            || {
                let usual = [".terraformrc", ".tofurc"].into_iter();
                let further = folder.as_deref().map(terraform::further_files).unwrap_or_default();
                usual.filter_map(|name| self.home(name)).chain(further).collect()
            },
            |file| vec![file],
        );
        let file = files.iter().find(|file| terraform::names_us(file))?;
        Some(Configured {
            place: format!("`{}`", shown(file)),
            program: folder?.join("plugins/terraform-credentials-astra"),
            hosts: Vec::new(),
            is_mute: false,
        })
    }

    fn home(&self, name: &str) -> Option<PathBuf> {
        let home = (self.env)("HOME").filter(|value| !value.is_empty())?;
        Some(PathBuf::from(home).join(name))
    }

    fn is_this(&self, path: &Path) -> bool {
        let own = self.binary.as_deref().and_then(|own| own.canonicalize().ok());
        own.is_some() && path.canonicalize().ok() == own
    }
}

/// The command in a kubeconfig that is this program by its name.
fn our_command(config: &str) -> Option<String> {
    let commands = config.lines().filter_map(|line| {
        let value = line.trim().trim_start_matches("- ").strip_prefix("command:")?;
        Some(value.trim().trim_matches(['"', '\'']))
    });
    let mut ours = commands.filter(|command| command.ends_with("astra-credential"));
    ours.next().map(str::to_owned)
}

/// What git runs for that helper, if it is this program: a shell's command, a path, or the end of a name.
fn helper_of_git(value: &str) -> Option<&str> {
    let command = value.strip_prefix('!');
    let word = command.unwrap_or(value).split_whitespace().next()?;
    let is_ours = word.ends_with("astra-credential") || word.ends_with("git-credential-astra");
    match word {
        "astra" if command.is_none() => Some("git-credential-astra"),
        _ => (is_ours && (command.is_some() || word.starts_with('/'))).then_some(word),
    }
}

fn text(file: &Path) -> Option<String> {
    // A pipe would have to be waited for.
    let length = fs::metadata(file).ok().filter(fs::Metadata::is_file)?.len();
    (length <= LARGEST_FILE).then(|| fs::read_to_string(file).ok()).flatten()
}

fn shown(path: &Path) -> String {
    shown::file(path)
}

/// What a program says on standard output, if it does so in time.
fn output_of(program: &Path, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    let stdout = child.stdout.take()?;
    let (tell, told) = channel();
    let read = move || {
        let mut said = String::new();
        let read = stdout.take(LARGEST_ANSWER).read_to_string(&mut said);
        let _ = tell.send(read.is_ok().then_some(said));
    };
    let reader = thread::Builder::new().spawn(read);
    let said = reader.ok().and_then(|_| told.recv_timeout(LONGEST_ANSWER).ok()).flatten();
    // Whether it has ended, or will not: nothing more is wanted of it.
    let _ = child.kill();
    let _ = child.wait();
    said
}
