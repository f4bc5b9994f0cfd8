//! The grammar of the command line, and the names under which this binary can be called.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use clap::builder::{PossibleValue, PossibleValuesParser, ValueParser};
use clap::{Arg, ArgAction, Command};

use super::help::{
    ABOUT, BAZEL, COMPLETIONS, DOCKER, DOCTOR, ENV, EXEC, FORGET, GIT, HEADER, HELP, KUBERNETES,
    MAN, MORE, PAGES, SETUP, STATUS, TERRAFORM, TOKEN,
};
use crate::command::{DIALECTS, Dialect};
use crate::settings::{
    ACCOUNT, API_URL, CA_FILE, CACHE_DIR, CONFIG, HOST, MIN_VALID, SERVICE_ACCOUNT, Setting,
    TIMEOUT,
};

/// This program's name.
pub const PROGRAM: &str = "astra-credential";

/// The version, the commit if known, and the target.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("BUILD"), ")");

/// The links: the name of each, and the command for which it is an alias.
pub const LINKS: [(&str, &str); 4] = [
    ("bazel-credential-astra", "bazel"),
    ("git-credential-astra", "git"),
    ("docker-credential-astra", "docker"),
    ("terraform-credentials-astra", "terraform"),
];

/// The verbs of each protocol. The adapters answer unknown verbs, see [`crate::protocol`].
pub const VERBS: [(&str, &[&str]); 4] = [
    ("git", &["get", "store", "erase", "capability"]),
    ("bazel", &["get"]),
    ("docker", &["get", "store", "erase", "list", "version"]),
    ("terraform", &["get", "store", "forget", "external"]),
];

/// Replaces the name of a link by the command: `git-credential-astra get` becomes `astra-credential git get`.
pub fn spelled_out(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    let called = arguments.first().map(Path::new).and_then(Path::file_name).and_then(OsStr::to_str);
    let called = called.map(|name| name.strip_suffix(".exe").unwrap_or(name));
    if let Some((_, word)) = LINKS.iter().find(|(link, _)| Some(*link) == called) {
        arguments.insert(1, word.into());
    }
    arguments
}

/// A command's name and help.
pub struct Name {
    pub name: &'static str,
    alias: Option<&'static str>,
    about: &'static str,
    after_help: &'static str,
    /// Returns the arguments, which only a call of this command needs.
    arguments: fn() -> Vec<Arg>,
}

static NAMES: [Name; 16] = [
    Name::new("token", "Print the bare token, or JSON", TOKEN, || {
        let help = "The output format [default: text]\n";
        vec![choice("format", "FORMAT", help, ["text", "json"])]
    }),
    Name::new("header", "Print a line `Authorization: Bearer TOKEN`, for curl", HEADER, Vec::new),
    Name::new("env", "Print `export ASTRA_API_TOKEN=TOKEN`, for eval", ENV, || {
        let value = |(_, names): (Dialect, &'static [&'static str])| {
            PossibleValue::new(names[0]).aliases(&names[1..])
        };
        let help = "The shell that evaluates it: sh, fish, csh, powershell,\ncmd, elvish, xonsh or json [default: sh, which is also\nbash, zsh, ksh and dash]";
        let shell = choice("shell", "SHELL", help, DIALECTS.map(value));
        vec![shell.hide_possible_values(true)]
    }),
    Name::new("exec", "Run a command with ASTRA_API_TOKEN in its environment", EXEC, || {
        let child = argument("command", "COMMAND", "The command and its arguments").num_args(1..);
        let child = child.value_parser(ValueParser::os_string()).required(true);
        vec![child.trailing_var_arg(true).allow_hyphen_values(true)]
    }),
    Name::new("forget", "Delete the cached token and failures", FORGET, || {
        vec![switch("all", "Delete those of every account")]
    }),
    Name::new("status", "Show settings, token and last failure, without a request", STATUS, || {
        vec![switch("json", "Print JSON")]
    }),
    Name::new("doctor", "Check what can be wrong, and show how to fix it", DOCTOR, || {
        let online = switch("online", "Also do an exchange for each account");
        vec![switch("json", "Print JSON"), online]
    }),
    Name::new("kubernetes", "Answer kubectl and other Kubernetes clients", KUBERNETES, || {
        let help =
            "The version of the answer, for a client\nthat does not state one [default: v1]\n";
        vec![choice("api-version", "VERSION", help, API_VERSIONS)]
    })
    .or("exec-credential"),
    Name::new("git", "Speak git's credential protocol", GIT, || {
        vec![verb("get, store, erase or capability")]
    }),
    Name::new("bazel", "Answer Bazel and others with the JSON `get` protocol", BAZEL, || {
        vec![verb("get")]
    }),
    Name::new("docker", "Speak Docker's credential helper protocol", DOCKER, || {
        vec![verb("get, store, erase, list or version")]
    }),
    Name::new("terraform", "Speak Terraform's credentials helper protocol", TERRAFORM, || {
        let host = argument("registry", "HOST", "The host; none for external");
        vec![verb("get, store, forget or external"), host]
    }),
    Name::new("setup", "Configure a tool, or store the account file", SETUP, || {
        let tools = ["account", "kubectl", "git", "docker", "bazel", "terraform"];
        let help = "The tool, or `account` to store the account file\n";
        let tool = argument("tool", "TOOL", help).value_parser(tools).required(true);
        let undo = switch("undo", "Revert the changes that setup made for the tool");
        let dry_run = switch("dry-run", "Show the changes without making them");
        let help = "The version that the clients expect [default: v1]\n";
        vec![tool, undo, dry_run, choice("api-version", "VERSION", help, API_VERSIONS)]
    }),
    Name::new("completions", "Print the completion script for a shell", COMPLETIONS, || {
        let shells = ["bash", "zsh", "fish", "powershell", "elvish"];
        let shell = argument("shell", "SHELL", "The shell\n").value_parser(shells);
        // The script passes the words of the line up to the cursor.
        let words = Arg::new("words").value_parser(ValueParser::os_string()).num_args(0..);
        vec![shell.required(true), words.last(true).hide(true)]
    }),
    Name::new("man", "Print the manual page of the program or of a link", MAN, || {
        let names = [PROGRAM].into_iter().chain(LINKS.map(|(link, _)| link));
        let page = argument("page", "NAME", PAGES).hide_possible_values(true);
        vec![page.value_parser(PossibleValuesParser::new(names))]
    }),
    Name::new("help", "Print this help, or that of a command", HELP, || {
        // A tool after `setup` or a verb after a protocol has no help of its own.
        vec![argument("subject", "COMMAND", "The command").num_args(0..=2)]
    }),
];

/// The versions of the ExecCredential API.
const API_VERSIONS: [&str; 2] = ["v1", "v1beta1"];

impl Name {
    const fn new(
        name: &'static str,
        about: &'static str,
        after_help: &'static str,
        arguments: fn() -> Vec<Arg>,
    ) -> Self {
        Self { name, alias: None, about, after_help, arguments }
    }

    const fn or(self, alias: &'static str) -> Self {
        Self { alias: Some(alias), ..self }
    }

    pub fn find(word: &str) -> Option<&'static Self> {
        NAMES.iter().find(|name| name.name == word || name.alias == Some(word))
    }

    pub fn command(&self) -> Command {
        let command = Command::new(self.name).about(self.about).after_help(self.after_help);
        with_settings(command.args((self.arguments)()).args_override_self(true))
    }
}

/// The names of the commands.
pub fn names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().map(|name| name.name)
}

/// The grammar of the whole line.
pub fn command() -> Command {
    let command = Command::new(PROGRAM)
        .bin_name(PROGRAM)
        .version(VERSION)
        .about(ABOUT)
        .after_help(MORE)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .args_override_self(true)
        .subcommands(NAMES.iter().map(|name| name.command().aliases(name.alias)));
    with_settings(command)
}

/// Adds the settings, which may be before and after the command's name.
fn with_settings(command: Command) -> Command {
    command.next_help_heading("Settings").args(settings())
}

/// A flag whose value is one of several.
fn choice(
    name: &'static str,
    value: &'static str,
    help: &'static str,
    of: impl IntoIterator<Item = impl Into<PossibleValue>>,
) -> Arg {
    argument(name, value, help).long(name).value_parser(PossibleValuesParser::new(of))
}

fn verb(help: &'static str) -> Arg {
    argument("verb", "VERB", help).required(true)
}

/// A positional argument.
fn argument(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).value_name(value).help(help)
}

/// A flag without a value. `SetTrue` would parse a default for it at every call.
fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).help(help).num_args(0).action(ArgAction::Append)
}

fn settings() -> [Arg; 12] {
    fn value<T>(setting: &Setting<T>, value: &'static str, help: &'static str) -> Arg {
        let flag = argument(setting.flag, value, help).long(setting.flag.trim_start_matches('-'));
        flag.value_parser(ValueParser::os_string())
    }
    [
        value(&ACCOUNT, "NAME", "The account, by its name in the configuration\nfile [env: ASTRA_CREDENTIAL_ACCOUNT]\n[default: default]"),
        value(&SERVICE_ACCOUNT, "FILE", "The account file [env: ASTRA_SERVICE_ACCOUNT]\n[default: service-account.json in the\nconfiguration folder]"),
        value(&API_URL, "URL", "The API's base, without /v2 [env: ASTRA_API_URL]\n[default: https://api.astra.datastax.com]"),
        value(&HOST, "HOST[:PORT]", "Another host that may get the token; repeatable\n[env: ASTRA_CREDENTIAL_HOSTS, comma-separated]").action(ArgAction::Append),
        value(&CONFIG, "FILE", "Read this configuration file alone\n[env: ASTRA_CREDENTIAL_CONFIG] [default:\nconfig.json in the configuration folder, then in\n/etc/astra-credential]"),
        value(&CACHE_DIR, "DIR", "The folder for cached tokens [default: the cache\nfolder] [env: ASTRA_CREDENTIAL_CACHE_DIR]"),
        value(&CA_FILE, "FILE", "Trust these PEM certificates instead of the\nsystem's [env: SSL_CERT_FILE]"),
        value(&TIMEOUT, "SECONDS", "The time-out of the whole call [default: 30]\n[env: ASTRA_CREDENTIAL_TIMEOUT]").allow_negative_numbers(true),
        value(&MIN_VALID, "DURATION", "Renew a token that expires sooner than this,\nsuch as 90s, 30m or 2h\n[env: ASTRA_CREDENTIAL_MIN_VALID]").allow_negative_numbers(true),
        switch("refresh", "Get a new token, even if a valid one is cached"),
        switch("no-cache", "Do not use the cache\n[env: ASTRA_CREDENTIAL_NO_CACHE=1]"),
        switch("verbose", "Log to standard error\n[env: ASTRA_CREDENTIAL_LOG=1]").short('v'),
    ]
}
