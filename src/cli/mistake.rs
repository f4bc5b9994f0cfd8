//! A mistake in the command line, as an error that may be shown and stored.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::grammar::{Name, PROGRAM};
use crate::command::Dialect;
use crate::error::Error;
use crate::settings::{FLAGS, Flags};

/// A mistake. It holds names from the grammar. Arguments are dropped, since one may be a secret, except a flag
/// that has the form of a flag.
#[derive(Debug)]
pub struct Mistake {
    /// The command; the program's name without one.
    pub command: String,
    /// `--no-cache`, if it was given.
    pub flags: Flags,
    /// The error.
    pub error: Error,
    /// The help, which is shown in place of the error if there is no command. It repeats no argument.
    pub help: Option<String>,
    /// The shell that evaluates the output, if the command is `env`.
    pub shell: Option<Dialect>,
}

impl Mistake {
    /// The mistake that clap has found in these words.
    pub fn new(words: &[OsString], message: &clap::Error) -> Self {
        let no_cache = words.iter().any(|word| word == "--no-cache");
        let found = command(words);
        let command = found.map_or(PROGRAM, |(command, _)| command.name);
        let help = match command {
            PROGRAM | "help" => format!("{PROGRAM} --help"),
            command => format!("{PROGRAM} {command} --help"),
        };
        let shell = found.filter(|(command, _)| command.name == "env");
        let is_help = message.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
        Self {
            command: command.to_owned(),
            flags: Flags { no_cache, ..Flags::default() },
            error: Error::Usage { problem: problem(message), help },
            help: is_help.then(|| message.to_string()),
            shell: shell.map(|(_, rest)| shell_of_env(rest)),
        }
    }
}

/// The command, and the words after its name. The value of a flag before it may be the name of a command too.
fn command(words: &[OsString]) -> Option<(&'static Name, &[OsString])> {
    let mut rest = words.get(1..)?;
    while let [word, after @ ..] = rest {
        let word = word.to_str().unwrap_or_default();
        if let Some(name) = Name::find(word) {
            return Some((name, after));
        }
        rest = after.get(usize::from(FLAGS.contains(&word))..).unwrap_or_default();
    }
    None
}

/// The shell in the words after `env`.
fn shell_of_env(words: &[OsString]) -> Dialect {
    let mut words = words.iter().map(|word| word.to_str().unwrap_or_default());
    let mut shell = "";
    while let Some(word) = words.next() {
        match word.strip_prefix("--shell") {
            Some("") => shell = words.next().unwrap_or_default(),
            Some(value) => shell = value.trim_start_matches('='),
            None => {}
        }
    }
    // The statements for sh fail in every other shell too.
    Dialect::named(shell).unwrap_or(Dialect::Sh)
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
