//! `setup account`: reads the account file's content from standard input or a prompt without echo, and
//! stores it for its owner alone.
//!
//! A new secret for the same account replaces the old one, so that secrets can be rotated. The file of
//! another account is never overwritten.

use std::fs;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::context::Context;
use super::file;
use super::lock::Lock;
use crate::account::{self, Account, LARGEST_FILE};
use crate::error::{AccountError, Error};
use crate::settings::account_command;
use crate::shown::{self, Escaped, shell_word};

/// Checks the account in an existing file, and returns a line for the output.
///
/// # Errors
/// The file does not exist, or is not a usable account file.
pub fn found(file: &Path, context: &Context<'_>) -> Result<String, AccountError> {
    if !shown::is_usable_path(file) {
        return Err(AccountError::Inline);
    }
    if !file.exists() {
        let fix = Some(account_command(&context.account.name));
        return Err(AccountError::Missing { path: file.to_owned(), fix });
    }
    let account =
        account::read(file, *context.configuration.common.allow_exposed, context.deadline)?;
    Ok(line("found", &account, "in", file))
}

/// Reads an account and stores it. Returns a line for the output. If `may_be_kept` is true and an account is
/// stored already, an account is read from a pipe or a file only. An empty one is an error even then: the
/// command that was to print a new secret has failed.
///
/// # Errors
/// The input is not an account, another account is stored there, or the file cannot be written.
pub fn store(context: &Context<'_>, may_be_kept: bool) -> Result<String, Error> {
    let folder = context.folder.as_path();
    let path = context.account.file.as_deref().ok_or(AccountError::Unnamed)?;
    account::forbid_core_dump();
    let source = || PathBuf::from(account::INPUT);
    if may_be_kept && path.is_file() && is_input_a_device() {
        return Ok(found(path, context)?);
    }
    let given = match io::stdin().is_terminal() {
        true => prompt(),
        false => account::read_input(context.deadline),
    };
    let given = given.map_err(|why| AccountError::Unreadable { path: source(), why })?;
    let new = account::parse(&given)
        .map_err(|defect| AccountError::Malformed { path: source(), defect })?;
    let _lock = Lock::take(folder, context.deadline)?;
    file::sweep(path);
    if let Ok(metadata) = fs::metadata(path) {
        // Reading a pipe could block, and a pipe or device should not be moved away.
        if !metadata.is_file() {
            return Err(file::unusable(path, "is not a regular file"));
        }
        let kept = Zeroizing::new(fs::read(path).unwrap_or_default());
        if !account::parse(&kept).is_ok_and(|old| old.client_id() == new.client_id()) {
            let quoted = shell_word(&path.to_string_lossy());
            let fix = format!("mv {quoted} {quoted}.old");
            return Err(AccountError::Kept { path: path.to_owned(), fix }.into());
        }
        let is_stored = kept.trim_ascii() == given.trim_ascii();
        if is_stored && is_private(path) {
            return Ok(line("found", &new, "stored in", path));
        }
    }
    let mut content = Zeroizing::new(Vec::with_capacity(given.len() + 1));
    content.extend_from_slice(given.trim_ascii());
    content.push(b'\n');
    let written = file::write(path, &content, Some(0o600)).and_then(|()| match path.parent() {
        Some(above) if above == folder => close(folder),
        _ => Ok(()),
    });
    written.map_err(|why| file::not_written(path, why))?;
    Ok(format!("wrote {}\n", file::escaped(path)))
}

fn line(verb: &str, account: &Account, place: &str, path: &Path) -> String {
    let (kind, id) = (account.kind(), Escaped(account.client_id()).to_string());
    format!("{verb} {kind} {id} {place} {}\n", file::escaped(path))
}

/// True if standard input is a terminal, or another device such as /dev/null.
#[cfg(unix)]
fn is_input_a_device() -> bool {
    use rustix::fs::{FileType, fstat};
    fstat(rustix::stdio::stdin())
        .is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice)
}

#[cfg(not(unix))]
fn is_input_a_device() -> bool {
    io::stdin().is_terminal()
}

fn too_large() -> io::Error {
    io::Error::other("it is too large for an account file")
}

#[cfg(unix)]
fn is_private(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o777 == 0o600)
}

#[cfg(unix)]
fn close(folder: &Path) -> io::Result<()> {
    fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o700))
}

#[cfg(not(unix))]
fn is_private(_: &Path) -> bool {
    true
}

#[cfg(not(unix))]
fn close(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Prompts on the terminal, without echo. Keys that send signals are read as characters, so that the echo is
/// always restored, unless another process kills this one.
#[cfg(unix)]
fn prompt() -> io::Result<Zeroizing<Vec<u8>>> {
    use rustix::process::{Signal, getpid, kill_process};
    use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr};
    use std::io::Write as _;
    let mut terminal = fs::OpenOptions::new().read(true).write(true).open("/dev/tty")?;
    let before = tcgetattr(&terminal)?;
    let mut silent = before.clone();
    silent.local_modes -= LocalModes::ECHO | LocalModes::ECHONL;
    silent.local_modes -= LocalModes::ICANON | LocalModes::ISIG | LocalModes::IEXTEN;
    silent.special_codes[SpecialCodeIndex::VMIN] = 1;
    silent.special_codes[SpecialCodeIndex::VTIME] = 0;
    tcsetattr(&terminal, OptionalActions::Drain, &silent)?;
    let read = terminal.write_all(PROMPT.as_bytes()).and_then(|()| read_keys(&terminal));
    // Pasted text after the end must not reach the shell.
    tcsetattr(&terminal, OptionalActions::Flush, &before)?;
    terminal.write_all(b"\n")?;
    read?.map_or_else(
        || {
            kill_process(getpid(), Signal::INT)?;
            Err(io::ErrorKind::Interrupted.into())
        },
        Ok,
    )
}

/// Reads the keys up to the end; `None` after Ctrl-C.
#[cfg(unix)]
fn read_keys(mut terminal: &fs::File) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    use std::io::Read as _;
    const INTERRUPT: u8 = 3;
    const END: u8 = 4;
    const BACKSPACE: u8 = 8;
    const CLEAR: u8 = 21;
    const DELETE: u8 = 127;
    let mut bytes = Zeroizing::new(Vec::with_capacity(LARGEST_FILE));
    let mut key = [0];
    loop {
        match terminal.read_exact(&mut key).map(|()| key[0]) {
            Ok(INTERRUPT) => return Ok(None),
            Ok(END) => return Ok(Some(bytes)),
            Ok(b'\n') if is_whole(&bytes) => return Ok(Some(bytes)),
            Ok(BACKSPACE | DELETE) => drop(bytes.pop()),
            Ok(CLEAR) => bytes.clear(),
            Ok(_) if bytes.len() == LARGEST_FILE => return Err(too_large()),
            Ok(key) => bytes.push(key),
            Err(error) => return Err(error),
        }
    }
}

const PROMPT: &str = "\
Paste the service account or application token copied from Astra's dashboard, then press Enter.
It is not shown: ";

/// True if the input is complete at the end of a line. JSON may have several lines.
fn is_whole(bytes: &[u8]) -> bool {
    let parsed = serde_json::from_slice::<serde::de::IgnoredAny>(bytes);
    !bytes.trim_ascii_start().starts_with(b"{") || !parsed.is_err_and(|error| error.is_eof())
}

/// Prompts on the console, without echo.
#[cfg(not(unix))]
fn prompt() -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(LARGEST_FILE));
    let mut line = Zeroizing::new(rpassword::prompt_password(PROMPT)?);
    loop {
        if bytes.len() + line.len() >= LARGEST_FILE {
            return Err(too_large());
        }
        bytes.extend_from_slice(line.as_bytes());
        if is_whole(&bytes) {
            return Ok(bytes);
        }
        bytes.push(b'\n');
        line = Zeroizing::new(rpassword::read_password()?);
    }
}
