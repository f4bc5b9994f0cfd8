//! The commands for people and scripts: they print the token (bare, as JSON, as a header, as variables), run a
//! command with it, configure tools, and show the state.

pub mod doctor;
pub mod setup;
pub mod status;
pub mod tool;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::Command;

use serde::Serialize;

use crate::error::Error;
use crate::protocol::Failed;
use crate::settings::{Environment, Flags, variable};
use crate::token::Credential;

/// The variable for the token. Astra's Terraform provider reads it.
const TOKEN: &str = "ASTRA_API_TOKEN";

/// The variable for the token's expiry, in RFC 3339. It is the token's own expiry and not the time of renewal,
/// because a program that reads the variable cannot get another token.
const EXPIRES: &str = "ASTRA_API_TOKEN_EXPIRES_AT";

/// The output format of `token`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// The bare token.
    Text,
    /// `{"token","expires"}`.
    Json,
}

/// The language of the output of `env`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Dialect {
    /// The POSIX shell, and bash, zsh, ksh and dash.
    Sh,
    /// fish.
    Fish,
    /// The C shell.
    Csh,
    /// Windows PowerShell and pwsh.
    PowerShell,
    /// Windows' cmd.exe.
    Cmd,
    /// Elvish.
    Elvish,
    /// xonsh.
    Xonsh,
    /// An object of strings.
    Json,
}

/// The dialects, each with its names. The help shows the first name.
pub const DIALECTS: [(Dialect, &[&str]); 8] = [
    (Dialect::Sh, &["sh", "bash", "zsh", "ksh", "mksh", "dash", "ash", "posix"]),
    (Dialect::Fish, &["fish"]),
    (Dialect::Csh, &["csh", "tcsh"]),
    (Dialect::PowerShell, &["powershell", "pwsh"]),
    (Dialect::Cmd, &["cmd"]),
    (Dialect::Elvish, &["elvish"]),
    (Dialect::Xonsh, &["xonsh"]),
    (Dialect::Json, &["json"]),
];

impl Dialect {
    /// The dialect of that name.
    pub fn named(name: &str) -> Option<Self> {
        DIALECTS.iter().find(|(_, names)| names.contains(&name)).map(|(dialect, _)| *dialect)
    }

    /// The statement that sets an environment variable. It ends in a semicolon if a command substitution of
    /// the shell may join several lines to one.
    fn set(self, name: &str, value: &str) -> String {
        let closed = || value.replace('\'', r"'\''");
        let doubled = || value.replace('\'', "''");
        let escaped = || value.replace('\\', r"\\").replace('\'', r"\'");
        match self {
            Self::Sh => format!("export {name}='{}';\n", closed()),
            Self::Fish => format!("set -gx {name} '{}';\n", escaped()),
            // csh expands history references in quotes too.
            Self::Csh => format!("setenv {name} '{}';\n", closed().replace('!', r"\!")),
            Self::PowerShell => format!("$Env:{name} = '{}'\n", doubled()),
            // cmd.exe cannot quote the characters that `check_for_cmd` refuses.
            Self::Cmd => format!("set \"{name}={value}\"\n"),
            Self::Elvish => format!("set-env {name} '{}'\n", doubled()),
            Self::Xonsh => format!("${name} = '{}'\n", escaped()),
            Self::Json => String::new(),
        }
    }

    /// The statement that unsets an environment variable. It also works if the variable is not set.
    fn unset(self, name: &str) -> String {
        match self {
            Self::Sh => format!("unset {name};\n"),
            Self::Fish => format!("set -e {name};\n"),
            Self::Csh => format!("unsetenv {name};\n"),
            Self::PowerShell => format!("Remove-Item Env:{name} -ErrorAction SilentlyContinue\n"),
            Self::Cmd => self.set(name, ""),
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
        /// Includes the settings with their default values.
        is_verbose: bool,
        /// Colours the states.
        colour: Colour,
    },
}

impl Style {
    /// The style by the flags, the variables and the kind of standard output.
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

/// True if states are coloured, with ANSI escape codes.
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
    /// The name of the state in the text output.
    fn word(&self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failure => "failure",
        }
    }
}

impl Colour {
    /// Colours `text` by `state`, if colours are on.
    fn paint(self, state: &State, text: &str) -> String {
        let code = match state {
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

/// The output of `token`.
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

/// The output of `header`: a line for `curl -H @-`. With it, the token is in no argument list.
pub fn header(credential: &Credential) -> String {
    format!("Authorization: Bearer {}\n", credential.bearer.expose())
}

/// The output of `env`: statements for `eval`. A token without expiry unsets the expiry of an earlier token.
///
/// # Errors
/// [`Error::NotForCmd`]: cmd.exe would not set the variable to this token.
pub fn environment(shell: Dialect, credential: &Credential) -> Result<String, Error> {
    let token = credential.bearer.expose();
    let expires = accepted_until(credential);
    if shell == Dialect::Json {
        let expires = expires.as_deref().map(|expires| (EXPIRES, expires));
        return Ok(line(&BTreeMap::from_iter([(TOKEN, token)].into_iter().chain(expires))));
    }
    if shell == Dialect::Cmd {
        check_for_cmd(token)?;
    }
    let expiry =
        expires.map_or_else(|| shell.unset(EXPIRES), |expires| shell.set(EXPIRES, &expires));
    Ok(shell.set(TOKEN, token) + &expiry)
}

/// Fails if cmd.exe would set the variable to another value.
fn check_for_cmd(token: &str) -> Result<(), Error> {
    /// A line has at most 8191 characters, the statement around the token included.
    const LONGEST: usize = 8000;
    let is_literal = |c: char| c.is_ascii_graphic() && !"%!\"^&|<>".contains(c);
    if token.len() > LONGEST {
        Err(Error::NotForCmd { defect: "has more than 8000 characters" })
    } else if !token.chars().all(is_literal) {
        Err(Error::NotForCmd { defect: "has a character that cmd.exe interprets" })
    } else {
        Ok(())
    }
}

/// A failed call of `env`. Standard output has statements that unset the variables and fail: a shell ignores the
/// exit code of a command substitution, so `eval` itself has to fail, and an earlier token must not stay in the
/// variables. On a terminal nothing is printed, because nothing evaluates it.
pub fn failed_environment(error: Error, shell: Dialect, is_terminal: bool) -> Failed {
    let stdout = if is_terminal { String::new() } else { no_environment(shell) };
    Failed { stdout, ..Failed::from(error) }
}

/// The statements that unset the variables and fail.
fn no_environment(shell: Dialect) -> String {
    let unset = || shell.unset(TOKEN) + &shell.unset(EXPIRES);
    match shell {
        Dialect::Sh | Dialect::Fish | Dialect::Csh => unset() + "false;\n",
        Dialect::PowerShell => unset() + "throw 'astra-credential: no token'\n",
        // `exit /b 1` would end a batch file, and at the prompt cmd.exe itself.
        Dialect::Cmd => unset() + "cmd /c exit 1\n",
        Dialect::Elvish => unset() + "fail 'astra-credential: no token'\n",
        Dialect::Xonsh => unset() + "raise RuntimeError('astra-credential: no token')\n",
        Dialect::Json => String::new(),
    }
}

/// Runs `command` with the token in its environment. On Unix the command replaces this process, and so has its
/// terminal, its signals and its exit code. Returns only if the command cannot be started.
pub fn exec(command: &[OsString], credential: &Credential, env: &Environment<'_>) -> Error {
    let Some((program, arguments)) = command.split_first() else {
        return not_started("", std::io::ErrorKind::NotFound.into());
    };
    let start = |mut child: Command| {
        child.args(arguments).env(TOKEN, credential.bearer.expose());
        match accepted_until(credential) {
            Some(expires) => child.env(EXPIRES, expires),
            None => child.env_remove(EXPIRES),
        };
        #[cfg(all(unix, not(test)))]
        crate::start::restore_signals(&mut child);
        replace_process(child)
    };
    let error = start(Command::new(program));
    if let Some(script) = script(program, &error, env) {
        let mut shell = Command::new("/bin/sh");
        shell.arg(script);
        return not_started(&program.to_string_lossy(), start(shell));
    }
    not_started(&program.to_string_lossy(), error)
}

/// The file of a script without `#!`, if that is the reason for `error`. POSIX has a shell run such a script. The
/// `execvp` of musl does not do that.
#[cfg(unix)]
fn script(program: &OsStr, error: &std::io::Error, env: &Environment<'_>) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    if error.raw_os_error() != Some(rustix::io::Errno::NOEXEC.raw_os_error()) {
        return None;
    }
    let is_executable = |file: &PathBuf| {
        file.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
    };
    match program.to_str() {
        Some(name) if !name.contains('/') => tool::place::on_path(env, name).find(is_executable),
        _ => Some(program.into()),
    }
}

#[cfg(not(unix))]
fn script(_: &OsStr, _: &std::io::Error, _: &Environment<'_>) -> Option<PathBuf> {
    None
}

#[cfg(unix)]
fn replace_process(mut command: Command) -> std::io::Error {
    std::os::unix::process::CommandExt::exec(&mut command)
}

/// Runs the command and ends with its exit code.
///
/// Ctrl-C is sent to every process of a console. This process ignores it. Otherwise it would end before the
/// command, and the command's exit code would be lost.
#[cfg(not(unix))]
fn replace_process(mut command: Command) -> std::io::Error {
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

/// One line of JSON.
fn line(value: &impl Serialize) -> String {
    // A struct of strings can always be serialised.
    serde_json::to_string(value).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_of_env_is_evaluated_except_on_a_terminal() {
        let stdout = |is_terminal| {
            let error = Error::Output(std::io::Error::other("closed"));
            failed_environment(error, Dialect::Sh, is_terminal).stdout
        };
        assert_eq!(stdout(true), "");
        assert_eq!(
            stdout(false),
            "unset ASTRA_API_TOKEN;\nunset ASTRA_API_TOKEN_EXPIRES_AT;\nfalse;\n"
        );
    }

    #[test]
    fn a_token_that_a_line_of_cmd_cannot_hold_is_refused() {
        let is_refused = |token: &str| check_for_cmd(token).is_err();
        for token in ["AstraCS:aB0:9f", "eyJh.eyJl.a-b_c~+/==", &"a".repeat(8000)] {
            assert!(!is_refused(token), "{token}");
        }
        for wrong in "%!\"^&|<>\r\n\t \0\u{1b}\u{7f}é".chars() {
            assert!(is_refused(&format!("a{wrong}b")), "{wrong:?}");
        }
        assert!(is_refused(&"a".repeat(8001)));
    }
}
