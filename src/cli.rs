//! What was typed: the command line's grammar, and the names that this binary answers to.
//!
//! Values stay text here; [`crate::settings`] says what they mean. Verbs stay text too, because each
//! protocol wants something else for a verb that it does not know.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::settings::Flags;

/// The command line.
#[derive(Debug)]
pub struct Line {
    /// The settings that were typed.
    pub flags: Flags,
    /// What is to be done.
    pub task: Task,
}

/// What is to be done.
#[derive(Debug, Eq, PartialEq)]
pub enum Task {
    /// Print the bare token.
    Token,
    /// Print an ExecCredential.
    Kubernetes,
    /// Speak git's credential protocol: the verb.
    Git(String),
    /// Speak the JSON `get`: the verb.
    Bazel(String),
}

/// A link is an alias: the name it has, and the word that it stands for.
const LINKS: [(&str, &str); 1] = [("git-credential-astra", "git")];

const EXAMPLES: &str = "\
Examples:
  astra-credential token
  kubectl config set-credentials astra --exec-command=astra-credential --exec-arg=kubernetes \\
    --exec-api-version=client.authentication.k8s.io/v1 --exec-interactive-mode=Never
  git config --global credential.https://git.example.com.helper astra

Exit codes:
  0  the answer is on standard output
  1  anything else
  2  the command line or a variable cannot be used
  3  the account file is missing, malformed or open to others
  4  Astra rejected the service account
  5  Astra cannot be reached";

/// Reads the command line, the program's own name included.
///
/// # Errors
/// What clap says of it: a mistake, or the help or version that was asked for.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Line, clap::Error> {
    let mut matches = command().try_get_matches_from(spelled_out(arguments))?;
    let (name, mut found) = matches.remove_subcommand().unwrap_or_default();
    let mut verb = || found.remove_one::<String>("verb").unwrap_or_default();
    let task = match name.as_str() {
        "kubernetes" => Task::Kubernetes,
        "git" => Task::Git(verb()),
        "bazel" => Task::Bazel(verb()),
        _ => Task::Token,
    };
    Ok(Line { flags: flags(&mut found), task })
}

/// `git-credential-astra get` is `astra-credential git get`.
fn spelled_out(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    let called = arguments.first().map(Path::new).and_then(Path::file_name).and_then(OsStr::to_str);
    let called = called.map(|name| name.strip_suffix(".exe").unwrap_or(name));
    if let Some((_, word)) = LINKS.iter().find(|(link, _)| Some(*link) == called) {
        arguments.insert(1, word.into());
    }
    arguments
}

fn command() -> Command {
    Command::new("astra-credential")
        .bin_name("astra-credential")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Hands out bearer tokens for the DataStax Astra DevOps API: exchanged once, cached, renewed when they expire")
        .after_help(EXAMPLES)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .args(settings())
        .subcommand(Command::new("token").about("Print the bare token and a newline"))
        .subcommand(
            Command::new("kubernetes")
                .alias("exec-credential")
                .about("Answer kubectl and other Kubernetes clients with an ExecCredential (v1, v1beta1)"),
        )
        .subcommand(
            Command::new("git")
                .about("Speak git's credential protocol (also as the link `git-credential-astra`)")
                .arg(verb("get, store, erase or capability")),
        )
        .subcommand(
            Command::new("bazel")
                .about("Answer Bazel, uv and others who speak the JSON `get`")
                .arg(verb("get")),
        )
}

fn verb(help: &'static str) -> Arg {
    Arg::new("verb").value_name("VERB").help(help).required(true)
}

fn settings() -> [Arg; 10] {
    let value = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name(value)
            .help(help)
            .value_parser(ValueParser::os_string())
            .overrides_with(name)
            .global(true)
    };
    let switch = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .help(help)
            .action(ArgAction::SetTrue)
            .overrides_with(name)
            .global(true)
    };
    [
        value("service-account", "FILE", "The account file [env: ASTRA_SERVICE_ACCOUNT]"),
        value("api-url", "URL", "The API's base, without /v2 [env: ASTRA_API_URL] [default: https://api.astra.datastax.com]"),
        Arg::new("host")
            .long("host")
            .value_name("HOST[:PORT]")
            .help("A further host that the token is for; repeatable [env: ASTRA_CREDENTIAL_HOSTS, comma-separated]")
            .value_parser(ValueParser::os_string())
            .action(ArgAction::Append)
            .global(true),
        value("cache-dir", "DIR", "The cache's folder [env: ASTRA_CREDENTIAL_CACHE_DIR]"),
        value("ca-file", "FILE", "Trust these PEM certificates instead of the system's [env: SSL_CERT_FILE]"),
        value("timeout", "SECONDS", "How long the whole call may take [env: ASTRA_CREDENTIAL_TIMEOUT] [default: 30]"),
        value("min-valid", "DURATION", "Renew a token that is valid for less than this, such as 90s, 30m or 2h [env: ASTRA_CREDENTIAL_MIN_VALID]"),
        switch("refresh", "Get a new token, whatever is cached or remembered"),
        switch("no-cache", "Neither read nor write the cache [env: ASTRA_CREDENTIAL_NO_CACHE=1]"),
        switch("verbose", "Say on standard error what happens [env: ASTRA_CREDENTIAL_LOG=1]").short('v'),
    ]
}

fn flags(found: &mut ArgMatches) -> Flags {
    let mut value = |name| found.remove_one::<OsString>(name);
    Flags {
        service_account: value("service-account"),
        api_url: value("api-url"),
        cache_dir: value("cache-dir"),
        ca_file: value("ca-file"),
        timeout: value("timeout"),
        min_valid: value("min-valid"),
        host: found.remove_many("host").map(Iterator::collect).unwrap_or_default(),
        refresh: found.get_flag("refresh"),
        no_cache: found.get_flag("no-cache"),
        verbose: found.get_flag("verbose"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> String {
        match parse(line.split(' ').map(OsString::from)) {
            Ok(Line { flags, task }) => {
                format!("{task:?} timeout {:?} verbose {}", flags.timeout, flags.verbose)
            }
            Err(error) => error.kind().to_string(),
        }
    }

    #[test]
    fn the_grammar_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn flags_go_anywhere_and_the_last_one_counts() {
        let lines = [
            "astra-credential token",
            "astra-credential --timeout 3 token",
            "astra-credential token --timeout=3",
            "astra-credential -v git --timeout 2 get --timeout 3",
            "astra-credential exec-credential",
            "astra-credential bazel get",
            "astra-credential bazel",
            "astra-credential",
            "astra-credential tokens",
        ];
        let table: Vec<_> = lines.map(|line| format!("{line}: {}", parsed(line))).into();
        insta::assert_snapshot!(table.join("\n"), @r#"
        astra-credential token: Token timeout None verbose false
        astra-credential --timeout 3 token: Token timeout Some("3") verbose false
        astra-credential token --timeout=3: Token timeout Some("3") verbose false
        astra-credential -v git --timeout 2 get --timeout 3: Git("get") timeout Some("3") verbose true
        astra-credential exec-credential: Kubernetes timeout None verbose false
        astra-credential bazel get: Bazel("get") timeout None verbose false
        astra-credential bazel: one or more required arguments were not provided
        astra-credential: 
        astra-credential tokens: unrecognized subcommand
        "#);
    }

    #[test]
    fn a_link_is_an_alias() {
        for name in
            ["git-credential-astra", "/usr/bin/git-credential-astra", "git-credential-astra.exe"]
        {
            assert_eq!(
                parsed(&format!("{name} --timeout 3 get")),
                parsed("astra-credential git --timeout 3 get")
            );
        }
        assert_eq!(parsed("some-other-name token"), parsed("astra-credential token"));
    }
}
