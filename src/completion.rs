//! Completion for shells: a short script for each, which calls this program for the candidates.
//!
//! A script passes the words of the line, up to the cursor, to `completions SHELL -- WORDS`. The first line of
//! the answer is its kind: `values`, `file`, `directory` or `command N`. For `values`, each further line is a
//! candidate and its description, separated by a tab. For the other kinds the shell itself completes a file, a
//! folder, or the command line that begins at word N.
//!
//! The scripts of `clap_complete` are not used, because they do not contain the configured hosts. The dynamic
//! completion of that crate could, but it is marked as unstable.

use std::ffi::OsString;
use std::path::Path;

use clap::{Arg, Command};

use crate::cli::{self, LINKS, PROGRAM, VERBS};
use crate::settings::{Configuration, Sources};
use crate::shown;

/// The completion script for a shell or, given the words of a line, the candidates for the last of them.
/// The program was `called` by that name. A configuration with a defect has no hosts and no accounts.
#[inline(never)]
pub fn run(shell: &str, words: &[OsString], called: &Path, mut sources: Sources<'_>) -> Vec<u8> {
    if words.is_empty() {
        return script(shell, called);
    }
    let configured = sources.read_files().and_then(|()| {
        let configuration = Configuration::new(sources)?;
        let hosts = configuration.hosts()?.iter().map(ToString::to_string).collect();
        let accounts = configuration.every_account()?;
        let names = accounts.iter().filter_map(|settings| settings.account.name());
        Ok(Configured { hosts, accounts: names.filter_map(shown::name).collect() })
    });
    answer(shell, words, cli::command(), &configured.unwrap_or_default())
}

/// The completion script for a shell. It calls the program by its name, or by its absolute path if `called`, the
/// program's first argument, is a path.
fn script(shell: &str, called: &Path) -> Vec<u8> {
    let is_path = called.components().nth(1).is_some();
    let path = std::path::absolute(called).ok().filter(|_| is_path);
    let program = path.map_or(PROGRAM.to_owned(), |path| path.to_string_lossy().into_owned());
    let (script, separator, quoted) = match shell {
        "zsh" => (include_str!("completion/zsh"), " ", program.replace('\'', r"'\''")),
        "fish" => {
            let quoted = program.replace('\\', r"\\").replace('\'', r"\'");
            (include_str!("completion/fish"), " ", quoted)
        }
        "powershell" => (include_str!("completion/powershell"), ", ", program.replace('\'', "''")),
        "elvish" => (include_str!("completion/elvish"), " ", program.replace('\'', "''")),
        _ => (include_str!("completion/bash"), " ", program.replace('\'', r"'\''")),
    };
    let names: Vec<_> = [PROGRAM].into_iter().chain(LINKS.map(|(link, _)| link)).collect();
    script.replace("NAMES", &names.join(separator)).replace("PROGRAM", &quoted).into_bytes()
}

/// The hosts and accounts in the configuration.
#[derive(Default)]
struct Configured {
    /// The hosts that get a token.
    hosts: Vec<String>,
    /// The names of the accounts.
    accounts: Vec<String>,
}

/// The answer to a script: the completions of the last of `words`.
fn answer(
    shell: &str,
    words: &[OsString],
    mut grammar: Command,
    configured: &Configured,
) -> Vec<u8> {
    let words = cli::spelled_out(words.iter().cloned());
    let mut words: Vec<_> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    // Windows PowerShell drops an empty argument, so its script adds a space to the last word.
    if shell == "powershell"
        && let Some(last) = words.last_mut()
    {
        last.truncate(last.trim_end().len());
    }
    grammar.build();
    let last = words.last().map_or("", String::as_str);
    match offer(&words, &grammar, configured) {
        Offer::Values(candidates) => {
            // The other shells filter the candidates themselves, by the user's settings.
            let is_filtered = ["bash", "powershell"].contains(&shell);
            let lines = candidates
                .into_iter()
                .filter(|(value, _)| !is_filtered || value.starts_with(last))
                .map(|(value, about)| format!("{value}\t{about}\n"));
            std::iter::once("values\n".to_owned()).chain(lines).collect::<String>()
        }
        Offer::File => "file\n".to_owned(),
        Offer::Directory => "directory\n".to_owned(),
        Offer::CommandLine(start) => format!("command {start}\n"),
    }
    .into_bytes()
}

/// The kinds of completion.
enum Offer {
    /// The candidates, each with its description.
    Values(Vec<(String, String)>),
    /// A file.
    File,
    /// A folder.
    Directory,
    /// The command line of another program, which begins at this word.
    CommandLine(usize),
}

/// Parses the words before the last one by the grammar, and returns the completion of the last one.
fn offer(words: &[String], grammar: &Command, configured: &Configured) -> Offer {
    let nothing = Offer::Values(Vec::new());
    let [_, before @ .., last] = words else { return nothing };
    let mut command = grammar;
    let mut flag = None;
    let mut positionals = 0;
    let mut are_flags_over = false;
    for (word, index) in before.iter().zip(1..) {
        if flag.take().is_some() {
            continue;
        } else if !are_flags_over && word == "--" {
            are_flags_over = true;
        } else if !are_flags_over && word.starts_with('-') {
            flag = word.strip_prefix("--").and_then(|name| flag_with_value(command, name));
        } else if command.has_subcommands() {
            let Some(named) = command.find_subcommand(word) else { return nothing };
            command = named;
        } else if positional(command, positionals).is_some_and(is_command_line) {
            return Offer::CommandLine(index);
        } else {
            positionals += 1;
        }
    }
    if let Some(flag) = flag {
        return values(command, flag, "", configured);
    }
    if !are_flags_over && last.starts_with('-') {
        let Some((name, _)) = last.split_once('=') else { return Offer::Values(flags(command)) };
        let flag = flag_with_value(command, name.trim_start_matches('-'));
        return flag.map_or(nothing, |flag| values(command, flag, &format!("{name}="), configured));
    }
    match positional(command, positionals) {
        _ if command.has_subcommands() => Offer::Values(
            command
                .get_subcommands()
                .map(|it| (it.get_name().into(), text(it.get_about())))
                .collect(),
        ),
        Some(argument) if is_command_line(argument) => Offer::CommandLine(words.len() - 1),
        Some(argument) => values(command, argument, "", configured),
        None if are_flags_over => nothing,
        None => Offer::Values(flags(command)),
    }
}

/// The completion of an argument's value. Candidates begin with `prefix`.
fn values(command: &Command, argument: &Arg, prefix: &str, configured: &Configured) -> Offer {
    let possible = argument.get_possible_values();
    let values: Vec<&str> = match argument.get_id().as_str() {
        "--service-account" | "--config" | "--ca-file" => return Offer::File,
        "--cache-dir" => return Offer::Directory,
        "--host" | "registry" => configured.hosts.iter().map(String::as_str).collect(),
        "--account" => configured.accounts.iter().map(String::as_str).collect(),
        "--timeout" => vec!["5", "10", "30", "60"],
        "--min-valid" => vec!["5m", "30m", "1h", "2h"],
        "verb" => {
            let verbs = VERBS.iter().find(|(name, _)| *name == command.get_name());
            verbs.map(|(_, verbs)| verbs.to_vec()).unwrap_or_default()
        }
        "subject" => cli::names().collect(),
        _ => possible.iter().map(|value| value.get_name()).collect(),
    };
    Offer::Values(values.iter().map(|value| (format!("{prefix}{value}"), String::new())).collect())
}

/// The flags of a command, with their descriptions. The settings, which all commands have, come last.
fn flags(command: &Command) -> Vec<(String, String)> {
    let (settings, own): (Vec<_>, Vec<_>) =
        command.get_arguments().partition(|flag| flag.get_help_heading().is_some());
    let flags = own.into_iter().chain(settings);
    flags
        .filter_map(|flag| Some((format!("--{}", flag.get_long()?), text(flag.get_help()))))
        .collect()
}

/// The flag `--NAME`, if it has a value.
fn flag_with_value<'a>(command: &'a Command, name: &str) -> Option<&'a Arg> {
    command.get_opts().find(|flag| flag.get_long() == Some(name))
}

/// The positional argument at `index`, without the hidden ones.
fn positional(command: &Command, index: usize) -> Option<&Arg> {
    command.get_positionals().filter(|argument| !argument.is_hide_set()).nth(index)
}

/// True for an argument that is the command line of another program.
fn is_command_line(argument: &Arg) -> bool {
    argument.is_trailing_var_arg_set()
}

/// An argument's help on one line, without the variable and the default value.
fn text(help: Option<&clap::builder::StyledStr>) -> String {
    let help = help.map(ToString::to_string).unwrap_or_default();
    help.split('[').next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}
