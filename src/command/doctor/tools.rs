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
use crate::error::{Shown, harmless};

/// How long another program may take for a question, and how many bytes it may say.
const LONGEST_ANSWER: Duration = Duration::from_secs(5);
const LARGEST_ANSWER: u64 = 1024 * 1024;

/// A configuration larger than this, in bytes, is nobody's.
const LARGEST_FILE: u64 = 4 * 1024 * 1024;

/// The binary, then the tools.
pub fn examine(patient: &Patient<'_>) -> Vec<Finding> {
    let on_path = |name: &str| patient.on_path(name).next();
    let mut findings = patient.binaries();
    findings.push(patient.kubectl());
    for (tool, link, configured) in [
        ("git", "git-credential-astra", patient.git()),
        ("bazel", "bazel-credential-astra", patient.bazel()),
        ("docker", "docker-credential-astra", patient.docker()),
    ] {
        findings.push(patient.tool(
            tool,
            configured,
            on_path(link),
            &format!("`{link}` on `PATH`"),
        ));
    }
    let plugin = "~/.terraform.d/plugins/terraform-credentials-astra";
    let found = patient.home(&plugin[2..]).filter(|path| path.exists());
    findings.push(patient.tool("terraform", patient.terraform(), found, &format!("`{plugin}`")));
    findings
}

impl Patient<'_> {
    /// This binary, and others of its name on `PATH`.
    fn binaries(&self) -> Vec<Finding> {
        const CHECK: &str = "binary";
        let ours = env!("CARGO_PKG_VERSION");
        let own = self.binary.as_deref().map(shown).unwrap_or_default();
        let mut findings = vec![Finding::ok(CHECK, format!("`{own}`, version {ours}"))];
        let mut others: Vec<PathBuf> = Vec::new();
        for path in self.on_path("astra-credential").filter(|path| !self.is_this(path)) {
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

    /// One tool: where it is told of this program, and what it finds when it looks for `wanted`.
    fn tool(
        &self,
        tool: &'static str,
        configured: Option<String>,
        found: Option<PathBuf>,
        wanted: &str,
    ) -> Finding {
        let Some(configured) = configured else {
            return Finding::ok(tool, "not configured");
        };
        let detail = match found {
            Some(found) if self.is_this(&found) => {
                return Finding::ok(
                    tool,
                    format!("configured in {configured}, and finds this binary"),
                );
            }
            Some(found) => format!("configured in {configured}, but finds `{}`", shown(&found)),
            None => format!("configured in {configured}, but there is no {wanted}"),
        };
        Finding::warning(tool, detail, format!("run `astra-credential setup {tool}`"))
    }

    /// A kubeconfig names a command by its path, or by its name on `PATH`.
    fn kubectl(&self) -> Finding {
        let mut files = (self.paths)("KUBECONFIG");
        files.retain(|file| !file.as_os_str().is_empty());
        if files.is_empty() {
            files.extend(self.home(".kube/config"));
        }
        let command = files.iter().find_map(|file| Some((file, our_command(&text(file)?)?)));
        let found = command.as_ref().and_then(|(_, command)| {
            let path = Path::new(command);
            if path.is_absolute() {
                Some(path.to_owned()).filter(|path| path.is_file())
            } else {
                self.on_path(command).next()
            }
        });
        let (configured, wanted) = match &command {
            Some((file, command)) => {
                (Some(format!("`{}`", shown(file))), format!("`{}`", Shown(command)))
            }
            None => (None, String::new()),
        };
        self.tool("kubectl", configured, found, &wanted)
    }

    fn git(&self) -> Option<String> {
        let git = self.on_path("git").next()?;
        let settings = output_of(&git, &["config", "--list"])?;
        let names_us = |line: &str| {
            let (name, value) = line.split_once('=')?;
            let is_helper = name.starts_with("credential.") && name.ends_with("helper");
            (is_helper && value.contains("astra")).then(|| format!("`{}`", harmless(name)))
        };
        settings.lines().find_map(names_us)
    }

    fn bazel(&self) -> Option<String> {
        mentions(&self.home(".bazelrc")?, "credential-astra")
    }

    fn docker(&self) -> Option<String> {
        let folder = (self.env)("DOCKER_CONFIG").filter(|value| !value.is_empty());
        let folder = folder.map(PathBuf::from).or_else(|| self.home(".docker"))?;
        let file = folder.join("config.json");
        let config: Value = serde_json::from_str(&text(&file)?).ok()?;
        let is_us = |value: &Value| value == "astra";
        let helpers = config.get("credHelpers").and_then(Value::as_object);
        let is_helper = helpers.is_some_and(|helpers| helpers.values().any(is_us));
        (is_helper || config.get("credsStore").is_some_and(is_us))
            .then(|| format!("`{}`", shown(&file)))
    }

    fn terraform(&self) -> Option<String> {
        let named = ["TF_CLI_CONFIG_FILE", "TERRAFORM_CONFIG"].into_iter().find_map(self.env);
        let named = named.filter(|value| !value.is_empty()).map(PathBuf::from);
        let usual = [".terraformrc", ".tofurc"].into_iter().filter_map(|name| self.home(name));
        let files: Vec<_> = named.map_or_else(|| usual.collect(), |file| vec![file]);
        files.iter().find_map(|file| mentions(file, "credentials_helper \"astra\""))
    }

    fn home(&self, name: &str) -> Option<PathBuf> {
        let home = (self.env)("HOME").filter(|value| !value.is_empty())?;
        Some(PathBuf::from(home).join(name))
    }

    /// The files of that name on `PATH`, in its order.
    fn on_path(&self, name: &str) -> impl Iterator<Item = PathBuf> {
        let files = (self.paths)("PATH").into_iter().map(|folder| folder.join(name));
        files.filter(|path| path.is_file()).collect::<Vec<_>>().into_iter()
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

/// The file's name, if it holds `word`.
fn mentions(file: &Path, word: &str) -> Option<String> {
    text(file)?.contains(word).then(|| format!("`{}`", shown(file)))
}

fn text(file: &Path) -> Option<String> {
    // A pipe would have to be waited for.
    let length = fs::metadata(file).ok().filter(fs::Metadata::is_file)?.len();
    (length <= LARGEST_FILE).then(|| fs::read_to_string(file).ok()).flatten()
}

fn shown(path: &Path) -> String {
    harmless(&path.to_string_lossy())
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
