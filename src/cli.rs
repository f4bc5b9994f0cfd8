//! The grammar of the command line, and the names under which this binary can be called.
//!
//! Values stay text here; [`crate::settings`] parses them. Verbs stay text too, because each protocol has
//! its own answer to an unknown verb.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use clap::builder::{PossibleValue, PossibleValuesParser, ValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::command::setup::Order;
use crate::command::tool::Tool;
use crate::command::{DIALECTS, Dialect, Format};
use crate::error::Error;
use crate::settings::Flags;

/// The command line.
#[derive(Debug)]
pub struct Line {
    /// The command's name.
    pub name: String,
    /// The flags of the settings.
    pub flags: Flags,
    /// The task.
    pub task: Task,
}

/// The command, with its own arguments.
#[derive(Debug, Eq, PartialEq)]
pub enum Task {
    /// Print the token.
    Token(Format),
    /// Print a header line.
    Header,
    /// Print variables for a shell.
    Env(Dialect),
    /// Run a command with the token in its environment.
    Exec(Vec<OsString>),
    /// Delete what is cached for this account, or for all accounts.
    Forget {
        /// For all accounts.
        all: bool,
    },
    /// Show settings, token and last failure without a request.
    Status {
        /// As JSON.
        json: bool,
    },
    /// Check what can be wrong.
    Doctor {
        /// As JSON.
        json: bool,
        /// Also do an exchange.
        online: bool,
    },
    /// Print an ExecCredential, in this version if the caller states none.
    Kubernetes(Option<String>),
    /// Speak git's credential protocol: the verb.
    Git(String),
    /// Speak the JSON `get`: the verb.
    Bazel(String),
    /// Speak Docker's helper protocol: the verb.
    Docker(String),
    /// Speak Terraform's: the verb and the host.
    Terraform(String, Option<String>),
    /// Configure a tool.
    Setup(Order),
    /// Store the account file.
    SetupAccount,
    /// Print the completion script for a shell or, given the words of a line, the candidates for the last.
    Completions {
        /// The shell.
        shell: String,
        /// The words, the program's name included.
        words: Vec<OsString>,
    },
    /// Print the manual page of the program, or of a link.
    Man(Option<String>),
}

impl Task {
    /// True for the tasks of `setup`.
    pub fn is_setup(&self) -> bool {
        matches!(self, Self::Setup(_) | Self::SetupAccount)
    }
}

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

const ABOUT: &str = "\
Provides bearer tokens for the DataStax Astra DevOps API: exchanges a service
account for a token once, caches the token, renews it when it expires, and
passes it to each tool by that tool's own protocol";

/// The heading of the list of exit codes.
pub const EXIT_CODES: &str = "Exit codes:\n";

const MORE: &str = "\
First steps:
  astra-credential setup account
  astra-credential token
  astra-credential setup git --host git.example.com

`astra-credential help COMMAND` has examples, and shows how to configure a tool
by hand.

Exit codes:
  0  success; the answer is on standard output
  1  any other failure
  2  a wrong command line, variable or setting
  3  the account file is missing, malformed or open to others
  4  Astra rejected the service account
  5  Astra cannot be reached";

/// The end of each tool's help.
macro_rules! revoked {
    () => {
        "

A revoked token is served until it expires, since only its server knows that it
is revoked. If the server refuses the token (401, \"Unauthorized\"), run:
  astra-credential forget"
    };
}

const TOKEN: &str = "\
Examples:
  astra-credential token
  astra-credential token --format json    # with the time of renewal";

const FORGET: &str = "\
A revoked token is served until it expires, since only its server knows that it
is revoked. If a server refuses the token (kubectl prints \"Unauthorized\", Docker
\"no such manifest\", Terraform 401), run:
  astra-credential forget
The next call gets a new token.";

const COMPLETIONS: &str = "\
Examples:
  source <(astra-credential completions bash)       # in ~/.bashrc
  astra-credential completions zsh > \"${fpath[1]}/_astra-credential\"
  astra-credential completions fish \\
    > ~/.config/fish/conf.d/astra-credential.fish
  astra-credential completions powershell | Out-String | Invoke-Expression
  eval (astra-credential completions elvish | slurp)   # in rc.elv

The scripts complete the links, too. They call the program by its name, or by
its path if that is how it was called here.";

const PAGES: &str = "\
The program or a link: astra-credential,
bazel-credential-astra, git-credential-astra,
docker-credential-astra or terraform-credentials-astra
[default: astra-credential]";

const MAN: &str = "\
Examples:
  astra-credential man | man -l -
  astra-credential man git-credential-astra | man -l -";

const HELP: &str = "\
Example:
  astra-credential help status";

const HEADER: &str = "\
Example:
  astra-credential header |
    curl -H @- https://api.astra.datastax.com/v2/databases";

const ENV: &str = "\
Examples:
  eval \"$(astra-credential env)\"               # sh, bash, zsh, ksh, dash
  astra-credential env --shell fish | source
  eval \"`astra-credential env --shell csh`\"
  eval (astra-credential env --shell elvish | slurp)
  execx($(astra-credential env --shell xonsh))
  astra-credential env --shell powershell | Out-String | Invoke-Expression
  for /f \"delims=\" %i in ('astra-credential env --shell cmd') do @%i

In a batch file, write %%i for %i, and end it if there is no token:
  if not defined ASTRA_API_TOKEN exit /b 1

$SHELL does not count, since another shell may evaluate the output. For nu and
every other shell there is `astra-credential exec`.

On failure the output unsets both variables and makes the evaluation fail.";

const EXEC: &str = "\
Terraform's provider reads the token once, so ask for one that outlives the run:
  astra-credential exec --min-valid 1h -- terraform apply

Exit codes: the command's own; 127 if the command is not found, 126 if it cannot
be started.";

const STATUS: &str = "\
Shows the last failure, also when the tool that called this program did not
print it:
  astra-credential status

A revoked token is served until it expires, since only its server knows that it
is revoked. If a server refuses the token that is shown here, run:
  astra-credential forget

Exit codes:
  0  a valid token is cached, or the account has an application token
  1  no valid token is cached
  2  a wrong command line, variable or setting
  3  the account file is missing, malformed or open to others";

const DOCTOR: &str = "\
If a tool does not work, run this in the same environment:
  astra-credential doctor --online

Exit codes: 0 if no check failed, 1 if one failed, 2 for a wrong command line,
variable or setting.";

const KUBERNETES: &str = concat!(
    "\
Set-up:
  astra-credential setup kubectl

By hand:
  kubectl config set-credentials astra --exec-command=astra-credential \\
    --exec-arg=kubernetes --exec-interactive-mode=Never \\
    --exec-api-version=client.authentication.k8s.io/v1",
    revoked!()
);

const GIT: &str = "\
Set-up:
  astra-credential setup git --host git.example.com

By hand, with the host in config.json:
  git config --global credential.https://git.example.com.helper \\
    '/usr/local/bin/astra-credential git'

git erases a token that its server refuses, and the next call gets a new one.
Other tools do not: they are served a revoked token until it expires, since only
its server knows that it is revoked. To delete it for all of them:
  astra-credential forget";

const BAZEL: &str = concat!(
    "\
Set-up:
  astra-credential setup bazel --host cache.example.com

By hand, in .bazelrc, with the host in config.json and a link:
  common --credential_helper=cache.example.com=/PATH/bazel-credential-astra",
    revoked!()
);

const DOCKER: &str = concat!(
    "\
Set-up:
  astra-credential setup docker --host registry.example.com

By hand, in ~/.docker/config.json, with the host in config.json of this program
and a link named `docker-credential-astra` on PATH:
  { \"credHelpers\": { \"registry.example.com\": \"astra\" } }",
    revoked!()
);

const TERRAFORM: &str = concat!(
    "\
Set-up for registries:
  astra-credential setup terraform --host registry.example.com

By hand, in ~/.terraformrc, with the host in config.json and a link named
`terraform-credentials-astra` in ~/.terraform.d/plugins:
  credentials_helper \"astra\" {}

An external data source stores the token in the state, in clear text:
  data \"external\" \"astra\" {
    program = [\"astra-credential\", \"terraform\", \"external\"]
  }
Better let the provider read the token from the environment:
  astra-credential exec --min-valid 1h -- terraform apply",
    revoked!()
);

const SETUP: &str = "\
Examples:
  astra-credential setup account
  astra-credential setup git --host git.example.com --dry-run
  astra-credential setup git --host git.example.com
  astra-credential setup git --undo

The hosts are bound to the account in config.json in the configuration folder.
What was done is kept in setup.json there, for --undo.";

/// Reads the command line, the program's own name included.
///
/// # Errors
/// clap's error for a mistake, or its message for `--help` and `--version`.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Line, clap::Error> {
    let arguments = spelled_out(arguments);
    if let Some(line) = frequent_call(&arguments) {
        return Ok(line);
    }
    // If the first argument is a command, only that command's grammar is built, which saves most of the work.
    let first = arguments.get(1).and_then(|first| Name::find(first.to_str()?));
    let (name, mut found, before) = match first {
        Some(name) => {
            let grammar = name.command().bin_name(format!("{PROGRAM} {}", name.name));
            (name.name.to_owned(), matches(grammar, &arguments[1..])?, Flags::default())
        }
        None => {
            let mut matches = matches(command(), &arguments)?;
            let (name, found) = matches.remove_subcommand().unwrap_or_default();
            (name, found, flags(&mut matches))
        }
    };
    let mut word = |name: &str| found.remove_one::<String>(name);
    let task = match name.as_str() {
        "header" => Task::Header,
        "env" => {
            let shell = word("shell").and_then(|name| Dialect::named(&name));
            Task::Env(shell.unwrap_or(Dialect::Sh))
        }
        "exec" => {
            Task::Exec(found.remove_many("command").map(Iterator::collect).unwrap_or_default())
        }
        "forget" => Task::Forget { all: found.contains_id("all") },
        "status" => Task::Status { json: found.contains_id("json") },
        "doctor" => {
            Task::Doctor { json: found.contains_id("json"), online: found.contains_id("online") }
        }
        "kubernetes" => Task::Kubernetes(word("api-version")),
        "git" => Task::Git(word("verb").unwrap_or_default()),
        "bazel" => Task::Bazel(word("verb").unwrap_or_default()),
        "docker" => Task::Docker(word("verb").unwrap_or_default()),
        "terraform" => Task::Terraform(word("verb").unwrap_or_default(), word("registry")),
        "setup" => {
            let tool = word("tool").and_then(|name| Tool::named(&name));
            let api_version = word("api-version");
            let [undo, dry_run] = ["undo", "dry-run"].map(|switch| found.contains_id(switch));
            match tool {
                Some(tool) => Task::Setup(Order { tool, undo, dry_run, api_version }),
                None if undo || dry_run => return Err(not_for_account()),
                None => Task::SetupAccount,
            }
        }
        "completions" => Task::Completions {
            shell: word("shell").unwrap_or_default(),
            words: found.remove_many("words").map(Iterator::collect).unwrap_or_default(),
        },
        // `help COMMAND` is `COMMAND --help`.
        "help" => {
            let command = word("subject").map(OsString::from);
            let line = [Some(PROGRAM.into()), command, Some("--help".into())];
            return parse(line.into_iter().flatten());
        }
        "man" => Task::Man(word("page")),
        _ => Task::Token(match word("format").as_deref() {
            Some("json") => Format::Json,
            _ => Format::Text,
        }),
    };
    // Settings may be before and after the command's name. Those after it take precedence.
    Ok(Line { name, flags: flags(&mut found).or(before), task })
}

/// Recognises the most frequent calls without clap, if they have no flags. Building clap's `Command` would be
/// a seventh of a warm call.
fn frequent_call(arguments: &[OsString]) -> Option<Line> {
    let mut words = arguments.iter().skip(1).map(|word| word.to_str());
    let (name, verb, None) = (words.next()??, words.next(), words.next()) else { return None };
    let task = match (name, verb) {
        ("token", None) => Task::Token(Format::Text),
        ("kubernetes", None) => Task::Kubernetes(None),
        ("git", Some(Some("get"))) => Task::Git("get".to_owned()),
        ("bazel", Some(Some("get"))) => Task::Bazel("get".to_owned()),
        ("docker", Some(Some("get"))) => Task::Docker("get".to_owned()),
        _ => return None,
    };
    Some(Line { name: name.to_owned(), flags: Flags::default(), task })
}

/// Converts clap's error to an [`Error`] that may be shown and stored. It holds the subcommand, the flag
/// `--no-cache`, the kind of mistake and names from the grammar. Arguments are dropped, since one may be a
/// secret, except a flag that has the form of a flag.
pub fn mistake(
    arguments: impl IntoIterator<Item = OsString>,
    message: &clap::Error,
) -> (String, Flags, Error) {
    let words = spelled_out(arguments);
    let flags =
        Flags { no_cache: words.iter().any(|word| word == "--no-cache"), ..Flags::default() };
    let command = words.iter().skip(1).find_map(|word| Name::find(word.to_str()?));
    let helped = command.filter(|command| command.name != "help");
    let help = helped.map_or(String::new(), |command| format!(" {}", command.name));
    let help = format!("{PROGRAM}{help} --help");
    let name = command.map_or(PROGRAM, |command| command.name);
    (name.to_owned(), flags, Error::Usage { problem: problem(message), help })
}

/// The shell for which a refused command line calls `env`; `None` for any other command.
pub fn shell_of_env(arguments: impl IntoIterator<Item = OsString>) -> Option<Dialect> {
    let words = spelled_out(arguments);
    let mut words = words.iter().skip(1).map(|word| word.to_str().unwrap_or_default());
    words.find(|word| Name::find(word).is_some()).filter(|word| *word == "env")?;
    let mut shell = "";
    while let Some(word) = words.next() {
        match word.strip_prefix("--shell") {
            Some("") => shell = words.next().unwrap_or_default(),
            Some(value) => shell = value.trim_start_matches('='),
            None => {}
        }
    }
    // The statements for sh fail in every other shell too.
    Some(Dialect::named(shell).unwrap_or(Dialect::Sh))
}

/// Describes a mistake: its kind, the argument, and similar words of the grammar.
fn problem(message: &clap::Error) -> String {
    let strings = |kind| match message.get(kind) {
        Some(ContextValue::String(word)) => std::slice::from_ref(word),
        Some(ContextValue::Strings(words)) => words.as_slice(),
        _ => &[],
    };
    let listed = |words: &[String]| -> String {
        words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
    };
    let kind = message.kind();
    // The error of `not_for_account`, which has a text and no context.
    if kind == ErrorKind::ArgumentConflict && message.context().next().is_none() {
        return message.to_string().trim_start_matches("error: ").trim_end().to_owned();
    }
    let arguments: Vec<_> =
        strings(ContextKind::InvalidArg).iter().filter_map(|word| grammars_name(word)).collect();
    let argument = listed(&arguments);
    let close = [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg];
    let close = close.map(|kind| listed(strings(kind))).concat();
    let close = if close.is_empty() { close } else { format!("; close to it is {close}") };
    let choices = listed(strings(ContextKind::ValidValue));
    match kind {
        ErrorKind::UnknownArgument if argument.is_empty() => {
            format!("it has an argument too many{close}")
        }
        ErrorKind::UnknownArgument => format!("there is no {argument} here{close}"),
        ErrorKind::InvalidSubcommand => format!("there is no such command{close}"),
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            "it names no command".to_owned()
        }
        ErrorKind::MissingRequiredArgument => format!("{argument} is missing"),
        ErrorKind::InvalidValue if !choices.is_empty() => format!("{argument} is one of {choices}"),
        ErrorKind::InvalidValue => format!("{argument} has no value"),
        _ => kind.as_str().unwrap_or("it does not follow the grammar").to_owned(),
    }
}

/// A flag or the name of a value, without the value that follows it: `--timeout <SECONDS>` is `--timeout`.
fn grammars_name(argument: &str) -> Option<String> {
    let is_part = |c: char| c.is_ascii_lowercase() || c == '-';
    let is_value = |c: char| c.is_ascii_uppercase() || "<>[]_".contains(c);
    if let Some(flag) = argument.strip_prefix("--") {
        let flag = &flag[..flag.find([' ', '=']).unwrap_or(flag.len())];
        let is_flag = (1..=20).contains(&flag.len()) && flag.chars().all(is_part);
        return is_flag.then(|| format!("--{flag}"));
    }
    let name = &argument[..argument.find(['>', ']']).map_or(argument.len(), |end| end + 1)];
    (name.starts_with(['<', '[']) && name.chars().all(is_value)).then(|| name.to_owned())
}

fn not_for_account() -> clap::Error {
    let message = "`--undo` and `--dry-run` are for tools; the account file is yours to remove\n";
    clap::Error::raw(ErrorKind::ArgumentConflict, message)
}

fn matches(grammar: Command, arguments: &[OsString]) -> Result<ArgMatches, clap::Error> {
    // Leaked on purpose: the process is about to end, and dropping a `Command` takes time.
    Box::leak(Box::new(grammar)).try_get_matches_from_mut(arguments)
}

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
struct Name {
    name: &'static str,
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
    Name::new("forget", "Delete the cached token and remembered failures", |command| {
        command.arg(switch("all", "Delete those of every account")).after_help(FORGET)
    }),
    Name::new("status", "Show settings, token and last failure, without a request", |command| {
        command.arg(switch("json", "Print JSON")).after_help(STATUS)
    }),
    Name::new("doctor", "Check what can be wrong, and show how to fix it", |command| {
        let online = switch("online", "Also do one exchange with Astra");
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

    fn find(word: &str) -> Option<&'static Self> {
        NAMES.iter().find(|name| name.name == word || name.alias == Some(word))
    }

    fn command(&self) -> Command {
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

fn settings() -> [Arg; 12] {
    let value = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name(value)
            .help(help)
            .value_parser(ValueParser::os_string())
    };
    [
        value("account", "NAME", "The account, by its name in the configuration\nfile [env: ASTRA_CREDENTIAL_ACCOUNT]\n[default: default]"),
        value("service-account", "FILE", "The account file [env: ASTRA_SERVICE_ACCOUNT]\n[default: service-account.json in the\nconfiguration folder]"),
        value("api-url", "URL", "The API's base, without /v2 [env: ASTRA_API_URL]\n[default: https://api.astra.datastax.com]"),
        Arg::new("host")
            .long("host")
            .value_name("HOST[:PORT]")
            .help("Another host that may get the token; repeatable\n[env: ASTRA_CREDENTIAL_HOSTS, comma-separated]")
            .value_parser(ValueParser::os_string())
            .action(ArgAction::Append),
        value("config", "FILE", "Read this configuration file alone\n[env: ASTRA_CREDENTIAL_CONFIG] [default:\nconfig.json in the configuration folder, then in\n/etc/astra-credential]"),
        value("cache-dir", "DIR", "The folder for cached tokens [default: the cache\nfolder] [env: ASTRA_CREDENTIAL_CACHE_DIR]"),
        value("ca-file", "FILE", "Trust these PEM certificates instead of the\nsystem's [env: SSL_CERT_FILE]"),
        value("timeout", "SECONDS", "The time-out of the whole call [default: 30]\n[env: ASTRA_CREDENTIAL_TIMEOUT]").allow_negative_numbers(true),
        value("min-valid", "DURATION", "Renew a token that expires sooner than this,\nsuch as 90s, 30m or 2h\n[env: ASTRA_CREDENTIAL_MIN_VALID]").allow_negative_numbers(true),
        switch("refresh", "Get a new token, even if a valid one is cached"),
        switch("no-cache", "Do not use the cache\n[env: ASTRA_CREDENTIAL_NO_CACHE=1]"),
        switch("verbose", "Log to standard error\n[env: ASTRA_CREDENTIAL_LOG=1]").short('v'),
    ]
}

fn flags(found: &mut ArgMatches) -> Flags {
    let mut value = |name| found.remove_one::<OsString>(name);
    Flags {
        account: value("account"),
        service_account: value("service-account"),
        config: value("config"),
        api_url: value("api-url"),
        cache_dir: value("cache-dir"),
        ca_file: value("ca-file"),
        timeout: value("timeout"),
        min_valid: value("min-valid"),
        host: found.remove_many("host").map(Iterator::collect).unwrap_or_default(),
        refresh: found.contains_id("refresh"),
        no_cache: found.contains_id("no-cache"),
        verbose: found.contains_id("verbose"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> String {
        match parse(line.split(' ').map(OsString::from)) {
            Ok(Line { name: _, flags, task }) => {
                format!("{task:?} timeout {:?} verbose {}", flags.timeout, flags.verbose)
            }
            Err(error) => error.kind().to_string(),
        }
    }

    #[test]
    fn clap_accepts_the_grammar() {
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
        astra-credential token: Token(Text) timeout None verbose false
        astra-credential --timeout 3 token: Token(Text) timeout Some("3") verbose false
        astra-credential token --timeout=3: Token(Text) timeout Some("3") verbose false
        astra-credential -v git --timeout 2 get --timeout 3: Git("get") timeout Some("3") verbose true
        astra-credential exec-credential: Kubernetes(None) timeout None verbose false
        astra-credential bazel get: Bazel("get") timeout None verbose false
        astra-credential bazel: one or more required arguments were not provided
        astra-credential: 
        astra-credential tokens: unrecognized subcommand
        "#);
    }

    #[test]
    fn frequent_calls_mean_the_same_with_and_without_clap() {
        for line in ["token", "kubernetes", "git get", "bazel get", "docker get"] {
            let words: Vec<OsString> = format!("x {line}").split(' ').map(Into::into).collect();
            let Line { name, flags, task } = frequent_call(&words).unwrap();
            // The same call with a setting in it goes by the grammar.
            let verbose = parse(words.into_iter().chain(["-v".into()])).unwrap();
            assert_eq!((name, task), (verbose.name, verbose.task));
            assert_eq!(Flags { verbose: true, ..flags }, verbose.flags);
        }
        for line in ["", "git", "git store", "token -v", "token token", "kubernetes get", "status"]
        {
            let words: Vec<OsString> = format!("x {line}").split(' ').map(Into::into).collect();
            assert!(frequent_call(&words).is_none(), "{line}");
        }
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
