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
    /// Adds the arguments and the long help, which only a call of this command needs.
    rest: fn(Command) -> Command,
}

static NAMES: [Name; 16] = [
    Name::new("token", "Print the bare token, or JSON", |command| {
        let help = "The output format [default: text]\n";
        command.arg(choice("format", "FORMAT", help, &["text", "json"])).after_help(TOKEN)
    }),
    Name::new("header", "Print a line `Authorization: Bearer TOKEN`, for curl", |command| {
        command.after_help(HEADER)
    }),
    Name::new("env", "Print `export ASTRA_API_TOKEN=TOKEN`, for eval", |command| {
        let value = |(_, names): &(Dialect, &'static [&'static str])| {
            PossibleValue::new(names[0]).aliases(names[1..].iter().copied())
        };
        let shells = PossibleValuesParser::new(DIALECTS.iter().map(value));
        let help = "The shell that evaluates it: sh, fish, csh, powershell,\ncmd, elvish, xonsh or json [default: sh, which is also\nbash, zsh, ksh and dash]";
        command
            .arg(
                Arg::new("shell")
                    .long("shell")
                    .value_name("SHELL")
                    .help(help)
                    .value_parser(shells)
                    .hide_possible_values(true),
            )
            .after_help(ENV)
    }),
    Name::new("exec", "Run a command with ASTRA_API_TOKEN in its environment", |command| {
        let child = Arg::new("command")
            .value_name("COMMAND")
            .help("The command and its arguments")
            .value_parser(ValueParser::os_string())
            .num_args(1..)
            .required(true)
            .trailing_var_arg(true)
            .allow_hyphen_values(true);
        command.arg(child).after_help(EXEC)
    }),
    Name::new("forget", "Delete the cached token and failures", |command| {
        command.arg(switch("all", "Delete those of every account")).after_help(FORGET)
    }),
    Name::new("status", "Show settings, token and last failure, without a request", |command| {
        command.arg(switch("json", "Print JSON")).after_help(STATUS)
    }),
    Name::new("doctor", "Check what can be wrong, and show how to fix it", |command| {
        let online = switch("online", "Also do an exchange for each account");
        command.args([switch("json", "Print JSON"), online]).after_help(DOCTOR)
    }),
    Name::new("kubernetes", "Answer kubectl and other Kubernetes clients", |command| {
        let help =
            "The version of the answer, for a client\nthat does not state one [default: v1]\n";
        let versions = &["v1", "v1beta1"];
        command.arg(choice("api-version", "VERSION", help, versions)).after_help(KUBERNETES)
    })
    .or("exec-credential"),
    Name::new("git", "Speak git's credential protocol", |command| {
        command.arg(verb("get, store, erase or capability")).after_help(GIT)
    }),
    Name::new("bazel", "Answer Bazel and others with the JSON `get` protocol", |command| {
        command.arg(verb("get")).after_help(BAZEL)
    }),
    Name::new("docker", "Speak Docker's credential helper protocol", |command| {
        command.arg(verb("get, store, erase, list or version")).after_help(DOCKER)
    }),
    Name::new("terraform", "Speak Terraform's credentials helper protocol", |command| {
        let host = Arg::new("registry").value_name("HOST").help("The host; none for external");
        command.args([verb("get, store, forget or external"), host]).after_help(TERRAFORM)
    }),
    Name::new("setup", "Configure a tool, or store the account file", |command| {
        let tools = ["account", "kubectl", "git", "docker", "bazel", "terraform"];
        let tool = Arg::new("tool")
            .value_name("TOOL")
            .help("The tool, or `account` to store the account file\n")
            .value_parser(PossibleValuesParser::new(tools))
            .required(true);
        let undo = switch("undo", "Revert the changes that setup made for the tool");
        let dry_run = switch("dry-run", "Show the changes without making them");
        let api_version = choice(
            "api-version",
            "VERSION",
            "The version that the clients expect [default: v1]\n",
            &["v1", "v1beta1"],
        );
        command.args([tool, undo, dry_run, api_version]).after_help(SETUP)
    }),
    Name::new("completions", "Print the completion script for a shell", |command| {
        let shell = Arg::new("shell").value_name("SHELL").help("The shell\n").required(true);
        let shells = ["bash", "zsh", "fish", "powershell", "elvish"];
        let shell = shell.value_parser(PossibleValuesParser::new(shells));
        // The script passes the words of the line up to the cursor.
        let words = Arg::new("words").value_parser(ValueParser::os_string()).num_args(0..);
        command.args([shell, words.last(true).hide(true)]).after_help(COMPLETIONS)
    }),
    Name::new("man", "Print the manual page of the program or of a link", |command| {
        let page = Arg::new("page").value_name("NAME").help(PAGES).hide_possible_values(true);
        let names = [PROGRAM].into_iter().chain(LINKS.map(|(link, _)| link));
        command.arg(page.value_parser(PossibleValuesParser::new(names))).after_help(MAN)
    }),
    Name::new("help", "Print this help, or that of a command", |command| {
        // A tool after `setup` or a verb after a protocol has no help of its own.
        let subject = Arg::new("subject").value_name("COMMAND").num_args(0..=2);
        let subject = subject.help("The command");
        command.arg(subject).after_help(HELP)
    }),
];

impl Name {
    const fn new(name: &'static str, about: &'static str, rest: fn(Command) -> Command) -> Self {
        Self { name, alias: None, about, rest }
    }

    const fn or(self, alias: &'static str) -> Self {
        Self { alias: Some(alias), ..self }
    }

    pub fn find(word: &str) -> Option<&'static Self> {
        NAMES.iter().find(|name| name.name == word || name.alias == Some(word))
    }

    pub fn command(&self) -> Command {
        let command = Command::new(self.name).about(self.about).args_override_self(true);
        with_settings((self.rest)(command))
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

fn choice(
    name: &'static str,
    value: &'static str,
    help: &'static str,
    of: &'static [&'static str],
) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name(value)
        .help(help)
        .value_parser(PossibleValuesParser::new(of))
}

fn verb(help: &'static str) -> Arg {
    Arg::new("verb").value_name("VERB").help(help).required(true)
}

/// A flag without a value. `SetTrue` would parse a default for it at every call.
fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).help(help).num_args(0).action(ArgAction::Append)
}

/// True if that word is the flag of a setting whose value is the next word.
pub fn takes_value(word: &str) -> bool {
    let flag = word.strip_prefix("--").unwrap_or_default();
    let setting = settings().into_iter().find(|setting| setting.get_long() == Some(flag));
    setting.is_some_and(|setting| setting.get_num_args().is_none_or(|count| count.takes_values()))
}

fn settings() -> [Arg; 12] {
    fn value<T>(setting: &Setting<T>, value: &'static str, help: &'static str) -> Arg {
        Arg::new(setting.flag)
            .long(setting.flag.trim_start_matches('-'))
            .value_name(value)
            .help(help)
            .value_parser(ValueParser::os_string())
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
