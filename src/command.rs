//! The commands that people and scripts call: they print the token (bare, as JSON, as a header, as
//! variables), run a command with it, set tools up, and show the state.

pub mod doctor;
pub mod setup;
pub mod status;

use std::ffi::OsString;
use std::process::Command;

use serde::Serialize;

use crate::error::Error;
use crate::protocol::Failed;
use crate::settings::{Environment, Flags, variable};
use crate::token::Credential;

/// The variable that Astra's Terraform provider reads.
const TOKEN: &str = "ASTRA_API_TOKEN";

/// The expiry of the token in [`TOKEN`], in RFC 3339. It is the token's own and not the instant of
/// renewal: a program that holds the variable cannot ask for another token.
const EXPIRES: &str = "ASTRA_API_TOKEN_EXPIRES_AT";

/// The output format of `token`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// The bare token.
    Text,
    /// `{"token","expires"}`.
    Json,
}

/// The language that `env` prints.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Dialect {
    /// POSIX.
    Sh,
    /// fish.
    Fish,
    /// The C shell.
    Csh,
    /// Windows PowerShell and pwsh.
    PowerShell,
    /// Elvish.
    Elvish,
    /// xonsh.
    Xonsh,
    /// An object of strings.
    Json,
}

/// The names of each dialect; the first is shown in the help.
pub const DIALECTS: [(Dialect, &[&str]); 7] = [
    (Dialect::Sh, &["sh", "bash", "zsh", "ksh", "mksh", "dash", "ash", "posix"]),
    (Dialect::Fish, &["fish"]),
    (Dialect::Csh, &["csh", "tcsh"]),
    (Dialect::PowerShell, &["powershell", "pwsh"]),
    (Dialect::Elvish, &["elvish"]),
    (Dialect::Xonsh, &["xonsh"]),
    (Dialect::Json, &["json"]),
];

impl Dialect {
    /// The dialect of that name.
    pub fn named(name: &str) -> Option<Self> {
        DIALECTS.iter().find(|(_, names)| names.contains(&name)).map(|(dialect, _)| *dialect)
    }

    /// The statement that sets an environment variable. It ends in a semicolon where a command substitution
    /// may make one line of several.
    fn set(self, name: &str, value: &str) -> String {
        match self {
            Self::Sh => format!("export {name}='{}';\n", value.replace('\'', r"'\''")),
            Self::Fish => {
                let value = value.replace('\\', r"\\").replace('\'', r"\'");
                format!("set -gx {name} '{value}';\n")
            }
            // History expansion takes place in quotes too.
            Self::Csh => {
                let value = value.replace('\'', r"'\''").replace('!', r"\!");
                format!("setenv {name} '{value}';\n")
            }
            Self::PowerShell => format!("$Env:{name} = '{}'\n", value.replace('\'', "''")),
            Self::Elvish => format!("set-env {name} '{}'\n", value.replace('\'', "''")),
            Self::Xonsh => {
                let value = value.replace('\\', r"\\").replace('\'', r"\'");
                format!("${name} = '{value}'\n")
            }
            Self::Json => String::new(),
        }
    }

    /// The statement that unsets an environment variable. It also works if the variable is not set.
    fn unset(self, name: &str) -> String {
        match self {
            Self::Sh => format!("unset {name};\n"),
            Self::Fish => format!("set -e {name};\n"),
            Self::Csh => format!("unsetenv {name};\n"),
            Self::PowerShell => {
                format!("Remove-Item Env:{name} -ErrorAction SilentlyContinue\n")
            }
            Self::Elvish => format!("unset-env {name}\n"),
            Self::Xonsh => format!("${{...}}.pop('{name}', None)\n"),
            Self::Json => String::new(),
        }
    }
}

/// The output format of `status` and `doctor`.
#[derive(Clone, Copy, Debug)]
pub enum Style {
    /// As JSON.
    Json,
    /// For people.
    Text {
        /// Includes the settings that have their default values.
        is_verbose: bool,
        /// Colours the states.
        colour: Colour,
    },
}

impl Style {
    /// The style of a call that writes to a terminal or elsewhere.
    pub fn new(is_json: bool, is_terminal: bool, flags: &Flags, env: &Environment<'_>) -> Self {
        if is_json {
            return Self::Json;
        }
        // <https://no-color.org>
        let is_plain = variable(env, "NO_COLOR").is_some();
        let is_dumb = env("TERM").is_none_or(|terminal| terminal == "dumb");
        let colour = Colour(is_terminal && !is_plain && !is_dumb);
        Self::Text { is_verbose: flags.verbose, colour }
    }
}

/// True if states are coloured with ANSI escape codes.
#[derive(Clone, Copy, Debug)]
pub struct Colour(pub bool);

/// The result of a check, in `status` and `doctor`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nothing is wrong.
    Ok,
    /// It works, but may not be intended.
    Warning,
    /// It does not work.
    Failure,
}

impl State {
    fn word(&self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failure => "failure",
        }
    }
}

impl Colour {
    fn paint(self, verdict: &State, text: &str) -> String {
        let code = match verdict {
            State::Ok => 32,
            State::Warning => 33,
            State::Failure => 31,
        };
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[derive(Serialize)]
struct TokenJson<'a> {
    token: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
}

#[derive(Serialize)]
struct EnvironmentJson<'a> {
    #[serde(rename = "ASTRA_API_TOKEN")]
    token: &'a str,
    #[serde(rename = "ASTRA_API_TOKEN_EXPIRES_AT", skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
}

/// The token, on a line of its own.
pub fn token(format: Format, credential: &Credential) -> String {
    let token = credential.bearer.expose();
    match format {
        Format::Text => format!("{token}\n"),
        Format::Json => {
            let expires = credential.expires.map(|instant| instant.to_string());
            line(&TokenJson { token, expires })
        }
    }
}

/// A header line for `curl -H @-`, which keeps the token out of every argument list.
pub fn header(credential: &Credential) -> String {
    format!("Authorization: Bearer {}\n", credential.bearer.expose())
}

/// Assignments for `eval`. Values are quoted, although no character of a token needs it. A token without
/// expiry unsets the expiry of an earlier one.
pub fn environment(shell: Dialect, credential: &Credential) -> String {
    let token = credential.bearer.expose();
    let expires = accepted_until(credential);
    if shell == Dialect::Json {
        return line(&EnvironmentJson { token, expires });
    }
    let expiry =
        expires.map_or_else(|| shell.unset(EXPIRES), |expires| shell.set(EXPIRES, &expires));
    shell.set(TOKEN, token) + &expiry
}

/// A failed call of `env`. A shell ignores the exit code of a command substitution, so the statements on
/// standard output make `eval` itself fail, and the variables do not keep an earlier token. A terminal
/// evaluates nothing.
pub fn failed_environment(error: Error, shell: Dialect, is_terminal: bool) -> Failed {
    let stdout = if is_terminal { String::new() } else { no_environment(shell) };
    Failed { stdout, ..Failed::from(error) }
}

fn no_environment(shell: Dialect) -> String {
    let unset = || shell.unset(TOKEN) + &shell.unset(EXPIRES);
    match shell {
        Dialect::Sh | Dialect::Fish | Dialect::Csh => unset() + "false;\n",
        Dialect::PowerShell => unset() + "throw 'astra-credential: no token'\n",
        Dialect::Elvish => unset() + "fail 'astra-credential: no token'\n",
        Dialect::Xonsh => unset() + "raise RuntimeError('astra-credential: no token')\n",
        Dialect::Json => String::new(),
    }
}

/// Runs `command` with the token in its environment. On Unix the command replaces this process, so that
/// exit code, signals and terminal are its own. Returns only if the command cannot be started.
pub fn exec(command: &[OsString], credential: &Credential) -> Error {
    let Some((program, arguments)) = command.split_first() else {
        return not_started("", std::io::ErrorKind::NotFound.into());
    };
    let mut child = Command::new(program);
    child.args(arguments).env(TOKEN, credential.bearer.expose());
    match accepted_until(credential) {
        Some(expires) => child.env(EXPIRES, expires),
        None => child.env_remove(EXPIRES),
    };
    #[cfg(all(unix, not(test)))]
    crate::start::restore_signals(&mut child);
    not_started(&program.to_string_lossy(), replace_process(child))
}

#[cfg(unix)]
fn replace_process(mut command: Command) -> std::io::Error {
    std::os::unix::process::CommandExt::exec(&mut command)
}

/// Runs the command and ends with its exit code. Ctrl-C reaches every process of a console: this one
/// ignores it, so that the command decides what happens and its exit code is not lost.
#[cfg(not(unix))]
fn replace_process(mut command: Command) -> std::io::Error {
    // Without the handler, Ctrl-C ends this process before the command.
    let _ = ctrlc::set_handler(|| {});
    match command.status() {
        Ok(status) => std::process::exit(status.code().unwrap_or(1)),
        Err(error) => error,
    }
}

fn not_started(program: &str, error: std::io::Error) -> Error {
    Error::Command { program: program.to_owned(), why: error }
}

fn accepted_until(credential: &Credential) -> Option<String> {
    credential.accepted_until.map(|instant| instant.to_string())
}

fn line(value: &impl Serialize) -> String {
    // Structs of strings always serialise.
    serde_json::to_string(value).unwrap_or_default() + "\n"
}
