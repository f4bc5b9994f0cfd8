//! Manual pages. They are generated from the [`Command`] that parses the command line, so they list the flags
//! that exist. Each link has a page too, because its name is in the configuration of a tool.

use std::io::{self, Write as _};

use clap::builder::StyledStr;
use clap::{Arg, Command};
use clap_mangen::Man;

use crate::cli::{EXIT_CODES, LINKS};

/// The manual page of the program, or of the link `name`, in roff.
#[inline(never)]
pub fn page(name: Option<&str>, mut grammar: Command) -> Vec<u8> {
    grammar.build();
    // Writing to memory does not fail.
    let page = match LINKS.into_iter().find(|(link, _)| name == Some(link)) {
        Some((link, word)) => page_of_link(link, word, &grammar),
        None => page_of_program(grammar),
    };
    ascii(&page.unwrap_or_default()).into_bytes()
}

/// The one-line description in the section NAME.
const SUMMARY: &str = "bearer tokens for the DataStax Astra DevOps API";

/// The section ENVIRONMENT.
const ENVIRONMENT: &str = "\
A flag has precedence over its variable, which is named above next to the flag. These variables have no flag:

  ASTRA_CREDENTIAL_ALLOW_EXPOSED_FILE=1
      use an account file that other users can read
  HTTPS_PROXY, ALL_PROXY
      the proxy
  NO_PROXY
      hosts that are reached without the proxy
  XDG_CONFIG_HOME
      the configuration folder, instead of ~/.config
  XDG_CACHE_HOME
      the cache folder, instead of ~/.cache";

/// The section FILES.
const FILES: &str = "  ~/.config/astra-credential/service-account.json
      the account file, as copied from Astra's dashboard
  ~/.cache/astra-credential
      cached tokens, encrypted with a key derived from the account file";

/// The section EXAMPLES.
const EXAMPLES: &str = "  astra-credential token
  astra-credential header |
    curl -H @- https://api.astra.datastax.com/v2/databases
  astra-credential exec --min-valid 1h -- terraform apply";

fn page_of_program(grammar: Command) -> io::Result<Vec<u8>> {
    let about = grammar.get_about().cloned().unwrap_or_default();
    let more = text(grammar.get_after_help());
    let (_, exit_codes) = more.split_once(EXIT_CODES).unwrap_or_default();
    let man = Man::new(grammar.clone().about(SUMMARY).long_about(about));
    let name = escaped(grammar.get_name());
    let mut page = title(grammar.get_name(), &grammar);
    man.render_name_section(&mut page)?;
    writeln!(page, ".SH SYNOPSIS\n\\fB{name}\\fR [SETTINGS] COMMAND [ARGUMENTS]\n.br")?;
    writeln!(page, "\\fB{name}\\fR \\-\\-help | \\-\\-version")?;
    man.render_description_section(&mut page)?;
    writeln!(page, ".SH COMMANDS")?;
    for command in grammar.get_subcommands() {
        page.extend(section_of_command(command).bytes());
    }
    man.render_options_section(&mut page)?;
    for (title, text) in [
        ("ENVIRONMENT", ENVIRONMENT),
        ("FILES", FILES),
        ("EXIT STATUS", exit_codes),
        ("EXAMPLES", EXAMPLES),
    ] {
        write!(page, ".SH {title}\n{}", prose(text))?;
    }
    let links = LINKS.map(|(link, _)| format!("\\fB{}\\fR(1)", escaped(link))).join(",\n");
    writeln!(page, ".SH SEE ALSO\n{links}")?;
    Ok(page)
}

/// The section of a command: its name, description, arguments and examples. The settings are not repeated; they
/// have a section of their own.
fn section_of_command(command: &Command) -> String {
    let usage = format!(".SS {} {}", escaped(command.get_name()), positionals(command));
    let is_its_own = |argument: &&Arg| {
        argument.get_help_heading().is_none()
            && argument.get_id() != "help"
            && !argument.is_hide_set()
    };
    let about = escaped(&text(command.get_about()));
    let mut section = format!("{}\n{about}.\n", usage.trim_end());
    for argument in command.get_arguments().filter(is_its_own) {
        let choices = argument.get_possible_values();
        let names: Vec<_> = choices.iter().map(|choice| choice.get_name()).collect();
        let is_hidden = names.is_empty() || argument.is_hide_possible_values_set();
        let choices = if is_hidden { String::new() } else { format!(": {}", names.join(", ")) };
        let help = text(argument.get_help()).trim_end().to_owned() + &choices;
        let argument = escaped(&argument.to_string());
        section.push_str(&format!(".TP\n\\fB{argument}\\fR\n{}\n", escaped(&help)));
    }
    section + ".PP\n" + &prose(&text(command.get_after_help()))
}

fn page_of_link(link: &'static str, word: &str, grammar: &Command) -> io::Result<Vec<u8>> {
    let command = grammar.find_subcommand(word).cloned().unwrap_or_default();
    let program = grammar.get_name();
    let mut page = title(link, grammar);
    Man::new(command.clone().name(link).display_name(link)).render_name_section(&mut page)?;
    let (name, words) = (escaped(link), positionals(&command));
    writeln!(page, ".SH SYNOPSIS\n\\fB{name}\\fR {words}")?;
    let description = format!(
        "`{link}` is the name by which the tool finds `{program}`. It does the same as \
         `{program} {word}`, and takes the same arguments, settings and variables. \
         Called by hand, it prints what the tool gets."
    );
    write!(page, ".SH DESCRIPTION\n{}", prose(&description))?;
    write!(page, ".SH SET-UP\n{}", prose(&text(command.get_after_help())))?;
    writeln!(page, ".SH SEE ALSO\n\\fB{}\\fR(1)", escaped(program))?;
    Ok(page)
}

/// A text of the grammar; empty if there is none.
fn text(text: Option<&StyledStr>) -> String {
    text.map(ToString::to_string).unwrap_or_default()
}

/// The positional arguments, for a synopsis.
fn positionals(command: &Command) -> String {
    let shown = command.get_positionals().filter(|word| !word.is_hide_set());
    shown.map(|word| escaped(&word.to_string())).collect::<Vec<_>>().join(" ")
}

/// The first line of a page, with the name and version for the footer. clap_mangen's own line has no date, so
/// that `man` shows the version in its place. Here the date is an empty word.
fn title(name: &str, grammar: &Command) -> Vec<u8> {
    let version = grammar.get_version().unwrap_or_default();
    let number = version.split(' ').next().unwrap_or_default();
    format!(".TH {name} 1 \"\" \"{} {number}\"\n", grammar.get_name()).into_bytes()
}

/// Converts help text to roff. An empty line ends a paragraph. Indented lines keep their line breaks; the first
/// two spaces are dropped, because the page has its own indentation.
fn prose(text: &str) -> String {
    let mut roff = String::new();
    let mut before = None;
    for line in text.lines() {
        let now = (!line.is_empty()).then(|| line.starts_with(' '));
        if now != before {
            let end = if before == Some(true) { ".fi\n" } else { "" };
            let gap = if roff.is_empty() || now.is_none() { "" } else { ".PP\n" };
            let start = if now == Some(true) { ".nf\n" } else { "" };
            roff.extend([end, gap, start]);
        }
        if now.is_some() {
            roff.push_str(&(escaped(line.strip_prefix("  ").unwrap_or(line)) + "\n"));
        }
        before = now;
    }
    roff + if before == Some(true) { ".fi\n" } else { "" }
}

/// Escapes backslashes, hyphens and apostrophes, and a dot at the beginning, which would be a roff request.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
    if text.starts_with('.') { format!("\\&{text}") } else { text }
}

/// Replaces letters outside ASCII by their numbers, so that a page is readable in every locale.
fn ascii(page: &[u8]) -> String {
    let letter = |letter: char| match letter {
        _ if letter.is_ascii() => letter.to_string(),
        _ => format!("\\[u{:04X}]", u32::from(letter)),
    };
    String::from_utf8_lossy(page).chars().map(letter).collect()
}
