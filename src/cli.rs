//! The command line: the task and the flags of the settings.
//!
//! Values stay text here; [`crate::settings`] parses them. Verbs stay text too, because each protocol has
//! its own answer to an unknown verb.
//!
//! Imports, bottom up: `help` ← `grammar` ← `mistake` ← this file.

mod grammar;
mod help;
mod mistake;

use std::ffi::OsString;

use clap::{ArgMatches, Command};

use self::grammar::Name;
pub use self::grammar::{LINKS, PROGRAM, VERBS, command, names, spelled_out};
pub use self::help::EXIT_CODES;
pub use self::mistake::Mistake;
use crate::command::setup::Order;
use crate::command::tool::Tool;
use crate::command::{Dialect, Format};
use crate::settings::{FLAGS, Flags};

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
    /// A command that works even if the configuration has a defect.
    Page(Page),
    /// A command that needs the configuration.
    Call(Call),
}

/// The commands that print a page about the program.
#[derive(Debug, Eq, PartialEq)]
pub enum Page {
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

/// The commands that need the configuration.
#[derive(Debug, Eq, PartialEq)]
pub enum Call {
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
    /// Speak Terraform's protocol: the verb and the host.
    Terraform(String, Option<String>),
    /// Configure a tool, or store the account file.
    Setup(Order),
}

/// A command line without a task.
#[derive(Debug)]
pub enum Stop {
    /// The help or the version, for standard output.
    Help(String),
    /// A mistake.
    Mistake(Box<Mistake>),
}

/// Reads the command line, the program's own name included.
///
/// # Errors
/// A mistake, or the text for `--help` and `--version`.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Line, Stop> {
    let words = spelled_out(arguments);
    if let Some(line) = frequent_call(&words) {
        return Ok(line);
    }
    parse_with_clap(&words).map_err(|message| match message.use_stderr() {
        true => Stop::Mistake(Box::new(Mistake::new(&words, &message))),
        false => Stop::Help(message.to_string()),
    })
}

/// Recognises the most frequent calls without clap, if they have no flags. Building clap's `Command` would be
/// a seventh of a warm call.
fn frequent_call(words: &[OsString]) -> Option<Line> {
    let mut words = words.iter().skip(1).map(|word| word.to_str());
    let (name, verb, None) = (words.next()??, words.next(), words.next()) else { return None };
    let call = match (name, verb) {
        ("token", None) => Call::Token(Format::Text),
        ("kubernetes", None) => Call::Kubernetes(None),
        ("git", Some(Some("get"))) => Call::Git("get".to_owned()),
        ("bazel", Some(Some("get"))) => Call::Bazel("get".to_owned()),
        ("docker", Some(Some("get"))) => Call::Docker("get".to_owned()),
        _ => return None,
    };
    Some(Line { name: name.to_owned(), flags: Flags::default(), task: Task::Call(call) })
}

fn parse_with_clap(words: &[OsString]) -> Result<Line, clap::Error> {
    // If the first word is a command, only that command's grammar is built, which saves most of the work.
    let first = words.get(1).and_then(|first| Name::find(first.to_str()?));
    let (name, mut found, before) = match first {
        Some(name) => {
            let grammar = name.command().bin_name(format!("{PROGRAM} {}", name.name));
            (name.name.to_owned(), matches(grammar, &words[1..])?, Flags::default())
        }
        None => {
            let mut matches = matches(command(), words)?;
            let (name, found) = matches.remove_subcommand().unwrap_or_default();
            (name, found, flags(&mut matches))
        }
    };
    let mut word = |name: &str| found.remove_one::<String>(name);
    let task = match name.as_str() {
        "completions" => Task::Page(Page::Completions {
            shell: word("shell").unwrap_or_default(),
            words: found.remove_many("words").map(Iterator::collect).unwrap_or_default(),
        }),
        "man" => Task::Page(Page::Man(word("page"))),
        // `help COMMAND` is `COMMAND --help`.
        "help" => {
            let command = word("subject").map(OsString::from);
            let line = [Some(PROGRAM.into()), command, Some("--help".into())];
            return parse_with_clap(&line.into_iter().flatten().collect::<Vec<_>>());
        }
        name => Task::Call(call(name, &mut found)),
    };
    // Settings may be before and after the command's name. Those after it take precedence.
    Ok(Line { name, flags: flags(&mut found).or(before), task })
}

fn matches(grammar: Command, words: &[OsString]) -> Result<ArgMatches, clap::Error> {
    // Leaked on purpose: the process is about to end, and dropping a `Command` takes time.
    Box::leak(Box::new(grammar)).try_get_matches_from_mut(words)
}

fn call(name: &str, found: &mut ArgMatches) -> Call {
    let mut word = |name: &str| found.remove_one::<String>(name);
    match name {
        "header" => Call::Header,
        "env" => {
            let shell = word("shell").and_then(|name| Dialect::named(&name));
            Call::Env(shell.unwrap_or(Dialect::Sh))
        }
        "exec" => {
            Call::Exec(found.remove_many("command").map(Iterator::collect).unwrap_or_default())
        }
        "forget" => Call::Forget { all: found.contains_id("all") },
        "status" => Call::Status { json: found.contains_id("json") },
        "doctor" => {
            Call::Doctor { json: found.contains_id("json"), online: found.contains_id("online") }
        }
        "kubernetes" => Call::Kubernetes(word("api-version")),
        "git" => Call::Git(word("verb").unwrap_or_default()),
        "bazel" => Call::Bazel(word("verb").unwrap_or_default()),
        "docker" => Call::Docker(word("verb").unwrap_or_default()),
        "terraform" => Call::Terraform(word("verb").unwrap_or_default(), word("registry")),
        "setup" => {
            let tool = word("tool").and_then(|name| Tool::named(&name));
            let api_version = word("api-version");
            let [undo, dry_run] = ["undo", "dry-run"].map(|switch| found.contains_id(switch));
            Call::Setup(Order { tool, undo, dry_run, api_version })
        }
        _ => Call::Token(match word("format").as_deref() {
            Some("json") => Format::Json,
            _ => Format::Text,
        }),
    }
}

/// The flags of the settings.
fn flags(found: &mut ArgMatches) -> Flags {
    let mut values = Vec::new();
    for flag in FLAGS {
        values.extend(found.remove_many(flag).into_iter().flatten().map(|value| (flag, value)));
    }
    Flags {
        values,
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
                format!("{task:?} timeout {:?} verbose {}", flags.value("--timeout"), flags.verbose)
            }
            Err(Stop::Help(text)) => text,
            Err(Stop::Mistake(mistake)) => mistake.error.to_string(),
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
        astra-credential token: Call(Token(Text)) timeout None verbose false
        astra-credential --timeout 3 token: Call(Token(Text)) timeout Some("3") verbose false
        astra-credential token --timeout=3: Call(Token(Text)) timeout Some("3") verbose false
        astra-credential -v git --timeout 2 get --timeout 3: Call(Git("get")) timeout Some("3") verbose true
        astra-credential exec-credential: Call(Kubernetes(None)) timeout None verbose false
        astra-credential bazel get: Call(Bazel("get")) timeout None verbose false
        astra-credential bazel: the command line cannot be used: `<VERB>` is missing
        astra-credential: the command line cannot be used: it names no command
        astra-credential tokens: the command line cannot be used: there is no such command; close to it is `token`
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
    fn the_command_of_a_mistake_is_not_the_value_of_a_flag() {
        let mistake = |line: &str| match parse(line.split(' ').map(OsString::from)) {
            Err(Stop::Mistake(mistake)) => (mistake.command, mistake.shell),
            _ => panic!("{line}"),
        };
        let of_env = |shell| ("env".to_owned(), Some(shell));
        for (line, found) in [
            ("x --account git env --bad", of_env(Dialect::Sh)),
            ("x --account env git --bad", ("git".to_owned(), None)),
            ("x --account=git --verbose env --shell fish --bad", of_env(Dialect::Fish)),
            ("x -v --no-cache env --bad", of_env(Dialect::Sh)),
            ("x env --account git --bad --shell=cmd", of_env(Dialect::Cmd)),
            ("x --account", (PROGRAM.to_owned(), None)),
        ] {
            assert_eq!(mistake(line), found, "{line}");
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
