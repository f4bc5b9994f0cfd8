//! The account file: a service account, or an application token.
//!
//! The two share `clientId`, so "`clientSecret` is missing" would be the most common and the most
//! confusing error: an application token (`AstraCS:…`) is recognised and served as it is.
//!
//! No message from here says what the file contains, only what is missing or wrong in it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Instant;

use serde::Deserialize;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::error::{Error, Shown, json_defect};
use crate::message::LONG_WAIT;
use crate::shown;
use crate::token::{self, Secret};

/// What the account file holds.
#[derive(Debug)]
pub enum Account {
    /// Exchanged for a bearer token.
    Service(ServiceAccount),
    /// The bearer token itself; it never expires and is never exchanged.
    Application(Secret),
}

impl Account {
    /// What it is called.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Service(_) => "service account",
            Self::Application(_) => "application token",
        }
    }

    /// Whose it is; an application token is `AstraCS:`, the client's id, `:`, the secret.
    pub fn client_id(&self) -> &str {
        match self {
            Self::Service(account) => &account.client_id,
            Self::Application(token) => token.expose().split(':').nth(1).unwrap_or_default(),
        }
    }
}

/// A service account, as Astra's dashboard copies it to the clipboard. All three are opaque and
/// never empty.
#[derive(Debug)]
pub struct ServiceAccount {
    /// `clientName`: an e-mail address for some organisations, a plain name for others.
    pub client_name: String,
    /// `clientId`.
    pub client_id: String,
    /// `clientSecret`.
    pub client_secret: Secret,
}

/// The largest account file that is read, in bytes; a real one has some 200.
pub const LARGEST_FILE: usize = 64 * 1024;

/// Reads the account file at `path`, which may be a pipe such as `/dev/stdin` or `<(…)`.
///
/// # Errors
/// Those of [`Error`] that begin with `Account`: the file is missing, unreadable or malformed; a
/// pipe stays silent until `deadline`; or a regular file is open to others, unless `allow_exposed`.
pub fn read(path: &Path, allow_exposed: bool, deadline: Instant) -> Result<Account, Error> {
    let unreadable = |why: io::Error| match why.kind() {
        _ if !shown::is_path(path) => Error::AccountInline,
        io::ErrorKind::NotFound => {
            let fix = "astra-credential setup account".to_owned();
            Error::AccountMissing { path: path.to_owned(), fix }
        }
        _ => Error::AccountUnreadable { path: path.to_owned(), why: why.to_string() },
    };
    let malformed = |defect| Error::AccountMalformed { path: path.to_owned(), defect };
    #[cfg(not(target_os = "linux"))]
    if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        forbid_core_dump();
        let bytes = read_in_thread(path, deadline).map_err(unreadable)?;
        return parse(&bytes).map_err(malformed);
    }
    let mut file = open(path).map_err(unreadable)?;
    // From here on this process may hold the secret.
    forbid_core_dump();
    let metadata = file.metadata().map_err(unreadable)?;
    if metadata.is_file()
        && !allow_exposed
        && let Some((exposure, fix)) = exposure(&metadata, path)
    {
        let path = path.to_owned();
        return Err(Error::AccountExposed { path, exposure, fix });
    }
    // What says that it is empty may be one of the kernel's own files.
    let length = Some(metadata.len()).filter(|length| metadata.is_file() && *length > 0);
    let length = length.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
    let await_input = |file: &File| await_input(file, path, deadline);
    let bytes = read_to_end(&mut file, length, await_input).map_err(unreadable)?;
    parse(&bytes).map_err(malformed)
}

/// Opens without waiting for a pipe's writer; the wait is bounded later.
#[cfg(unix)]
pub fn open(path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => Ok(file.into()),
        // Without /proc the link is dangling, and standard input is there all the same.
        Err(rustix::io::Errno::NOENT) if path == Path::new("/dev/stdin") => {
            Ok(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?.into())
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(unix))]
pub fn open(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// A core dump of this process would hold the client secret. `execve` turns dumps on again.
///
/// Done after opening: a process without dumps may not open `/dev/stdin` unless it is root's.
#[cfg(target_os = "linux")]
pub fn forbid_core_dump() {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    // Cannot fail with this argument, and a token is worth more than the refusal if it did.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// The limit stays as it is for processes that raise it again, such as a command of `exec`.
#[cfg(all(unix, not(target_os = "linux")))]
pub fn forbid_core_dump() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Core).maximum;
    // Lowering the limit cannot fail.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum });
}

/// Windows writes a dump only where an administrator has set that up.
#[cfg(not(unix))]
pub fn forbid_core_dump() {}

/// What is wrong with the permissions of a regular file, and the command that mends it.
#[cfg(unix)]
fn exposure(metadata: &std::fs::Metadata, path: &Path) -> Option<(String, String)> {
    use std::os::unix::fs::MetadataExt as _;
    const ROOT: u32 = 0;
    let caller = rustix::process::geteuid().as_raw();
    let (owner, mode) = (metadata.uid(), metadata.mode() & 0o777);
    let quoted = || quoted(&path.to_string_lossy());
    if owner != caller && owner != ROOT {
        let exposure = format!("belongs to another user (uid {owner})");
        return Some((exposure, format!("chown {caller} {}", quoted())));
    }
    // A Kubernetes secret volume gives a file to its pod through root's group.
    let group_may_read = owner == ROOT;
    let by = match mode {
        _ if mode & 0o002 != 0 => "may be changed by everybody",
        _ if mode & 0o020 != 0 => "may be changed by its group",
        _ if mode & 0o004 != 0 => "may be read by everybody",
        _ if mode & 0o040 != 0 && !group_may_read => "may be read by its group",
        _ => return None,
    };
    let closed = if owner == caller { "600" } else { "440" };
    Some((format!("{by} (mode {mode:04o})"), format!("chmod {closed} {}", quoted())))
}

/// A word as a shell takes it, in quotes only where it needs them.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@:,=".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    let safe = Shown(word).to_string();
    format!("'{}'", safe.replace('\'', r"'\''"))
}

#[cfg(not(unix))]
fn exposure(_: &std::fs::Metadata, _: &Path) -> Option<(String, String)> {
    None
}

/// The whole file, in memory that is zeroed and large enough from the start, so that no copy stays
/// behind. `length` is that of a regular file, which saves asking for the end.
fn read_to_end(
    file: &mut File,
    length: Option<usize>,
    await_input: impl Fn(&File) -> io::Result<()>,
) -> io::Result<Zeroizing<Vec<u8>>> {
    let room = length.unwrap_or(LARGEST_FILE).min(LARGEST_FILE) + 1;
    let mut bytes = Zeroizing::new(vec![0; room]);
    let mut count = 0;
    while count < room && Some(count) != length {
        if length.is_none() {
            await_input(file)?;
        }
        match file.read(&mut bytes[count..]) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    if count > LARGEST_FILE {
        return Err(io::Error::other("it is too large for an account file"));
    }
    bytes.truncate(count);
    Ok(bytes)
}

/// Waits until a pipe has something to read or its writer is gone, and says so when that takes long.
#[cfg(target_os = "linux")]
fn await_input(file: &File, path: &Path, deadline: Instant) -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let is_ready = |until: Instant| {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).unwrap_or_default();
        match poll(&mut [PollFd::new(file, PollFlags::IN)], Some(&left)) {
            Ok(0) => Ok(false),
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(true),
            Err(error) => Err(error),
        }
    };
    let soon = deadline.min(Instant::now() + LONG_WAIT);
    if is_ready(soon)? {
        return Ok(());
    }
    if soon < deadline {
        log::info!("waiting for an account from {}", shown::path(path));
        if is_ready(deadline)? {
            return Ok(());
        }
    }
    Err(is_silent())
}

/// A regular file is always ready.
#[cfg(not(target_os = "linux"))]
fn await_input(_: &File, _: &Path, _: Instant) -> io::Result<()> {
    Ok(())
}

fn is_silent() -> io::Error {
    io::Error::other("nothing came out of it in time")
}

/// Reads a pipe or a terminal in a thread, which is left behind if nothing came until `deadline`. On macOS
/// `poll` does not know terminals, and a FIFO without a writer is at its end instead of silent; on Windows
/// there is no `poll`.
#[cfg(any(not(target_os = "linux"), test))]
fn read_in_thread(path: &Path, deadline: Instant) -> io::Result<Zeroizing<Vec<u8>>> {
    use std::sync::mpsc::{RecvTimeoutError, channel};
    let (sender, receiver) = channel();
    let opened = path.to_owned();
    let read = move || {
        // Waits for the writer of a FIFO.
        let mut file = File::open(&opened)?;
        read_to_end(&mut file, None, |_| Ok(()))
    };
    std::thread::Builder::new().spawn(move || sender.send(read()))?;
    let left = || deadline.saturating_duration_since(Instant::now());
    let mut read = receiver.recv_timeout(left().min(LONG_WAIT));
    if matches!(read, Err(RecvTimeoutError::Timeout)) && !left().is_zero() {
        log::info!("waiting for an account from {}", shown::path(path));
        read = receiver.recv_timeout(left());
    }
    read.unwrap_or_else(|_| Err(is_silent()))
}

/// The keys that matter; unknown ones are ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireAccount {
    client_name: Option<Field>,
    client_id: Option<Field>,
    client_secret: Option<Field>,
    secret: Option<Field>,
    token: Option<Field>,
}

/// A string, or anything else; whatever it is, no message shows it.
#[derive(Deserialize)]
#[serde(from = "Value")]
enum Field {
    Text(Secret),
    Other,
}

impl From<Value> for Field {
    fn from(value: Value) -> Self {
        match value {
            Value::String(text) => Self::Text(Secret::new(text)),
            _ => Self::Other,
        }
    }
}

/// Reads the file's content; the error completes "the account file …".
pub fn parse(bytes: &[u8]) -> Result<Account, String> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err("is UTF-16, not UTF-8".to_owned());
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())?;
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    if let Some(bearer) = application_token(text) {
        return bearer.map(Account::Application);
    }
    if text.starts_with('"') {
        let quoted: Result<Secret, _> = serde_json::from_str(text);
        if let Some(bearer) = quoted.ok().and_then(|text| application_token(text.expose())) {
            return bearer.map(Account::Application);
        }
    }
    if !text.starts_with('{') {
        return Err("is neither a JSON object nor an application token".to_owned());
    }
    let wire: WireAccount = serde_json::from_str(text).map_err(|error| match error.is_data() {
        // Every value is taken as it comes, so this is the only fault left.
        true => format!("has a key twice, at line {}, column {}", error.line(), error.column()),
        false => format!("is {}", json_defect(&error)),
    })?;
    account(wire)
}

fn account(wire: WireAccount) -> Result<Account, String> {
    let WireAccount { client_name, client_id, client_secret, secret, token } = wire;
    if client_secret.is_none() {
        if let Some(Field::Text(text)) = &token
            && let Some(bearer) = application_token(text.expose())
        {
            return bearer.map(Account::Application);
        }
        if secret.is_some() || token.is_some() {
            let defect = "looks like an application token's, but its `token` is not `AstraCS:…`";
            return Err(defect.to_owned());
        }
    }
    let text = |name: &str, field: Option<Field>| match field {
        Some(Field::Text(text)) if !text.expose().is_empty() => Ok(text),
        Some(Field::Text(_)) => Err(format!("has an empty `{name}`")),
        Some(Field::Other) => Err(format!("has a `{name}` that is not a string")),
        None => Err(format!("has no `{name}`")),
    };
    Ok(Account::Service(ServiceAccount {
        client_id: text("clientId", client_id)?.expose().to_owned(),
        client_name: text("clientName", client_name)?.expose().to_owned(),
        client_secret: text("clientSecret", client_secret)?,
    }))
}

/// `None` when `text` is no application token; an error when it is a damaged one.
fn application_token(text: &str) -> Option<Result<Secret, String>> {
    let rest = text.strip_prefix("AstraCS:")?;
    let parts: Vec<_> = rest.split(':').collect();
    let is_whole = parts.len() == 2 && parts.iter().all(|part| token::bearer(part) == Some(part));
    Some(if is_whole && text.len() <= token::LARGEST_BEARER {
        Ok(Secret::new(text.to_owned()))
    } else {
        Err("holds a damaged application token (not `AstraCS:…:…`)".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read_as(content: &str) -> String {
        match parse(content.as_bytes()) {
            Ok(Account::Service(account)) => format!(
                "service account {} {} {}",
                account.client_name,
                account.client_id,
                account.client_secret.expose()
            ),
            Ok(Account::Application(token)) => format!("application token {}", token.expose()),
            Err(defect) => format!("the file {defect}"),
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_fifo_is_read_in_a_thread_up_to_the_deadline() {
        use std::time::Duration;
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let start = Instant::now();
        let silent = read_in_thread(&fifo, start + Duration::from_millis(50)).unwrap_err();
        assert_eq!(silent.to_string(), "nothing came out of it in time");
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        // The thread that was left behind is a reader too, and must not get what is meant for the next.
        std::fs::remove_file(&fifo).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let writer = std::thread::spawn({
            let fifo = fifo.clone();
            move || std::fs::write(fifo, "an account").unwrap()
        });
        let read = read_in_thread(&fifo, start + Duration::from_secs(60)).unwrap();
        assert_eq!(read.as_slice(), b"an account");
        writer.join().unwrap();
    }

    #[test]
    fn each_content_is_taken_or_its_defect_named() {
        let contents = [
            r#"{"clientId":"i","clientName":"n","clientSecret":"s"}"#,
            "\u{feff} {\"clientId\":\"i\",\"clientName\":\"n@x\",\"clientSecret\":\"s\",\"more\":{}}\n",
            r#"{"clientId":"i","secret":"s","token":"AstraCS:i:0f"}"#,
            "AstraCS:i:0f\n",
            "\"AstraCS:i:0f\"",
            "AstraCS:i",
            "AstraCS:i:0 f",
            "AstraCS:",
            "",
            " \n",
            "null",
            "[]",
            "hello",
            "{",
            r#"{"clientId":"i"}"#,
            r#"{"clientId":"i","clientName":"n"}"#,
            r#"{"clientId":"i","clientSecret":"s"}"#,
            r#"{"clientName":"n","clientSecret":"s"}"#,
            r#"{"clientId":"","clientName":"n","clientSecret":"s"}"#,
            r#"{"clientId":"i","clientName":7,"clientSecret":"s"}"#,
            r#"{"clientId":"i","clientName":"n","clientSecret":null}"#,
            r#"{"clientId":"i","clientId":"j","clientName":"n","clientSecret":"s"}"#,
            r#"{"clientId":"i","secret":"s","token":"other"}"#,
            r#"{"clientId":"i","secret":"s"}"#,
        ];
        let table: Vec<_> =
            contents.map(|content| format!("{content:?}\n  {}", read_as(content))).into();
        insta::assert_snapshot!(table.join("\n"), @r#"
        "{\"clientId\":\"i\",\"clientName\":\"n\",\"clientSecret\":\"s\"}"
          service account n i s
        "\u{feff} {\"clientId\":\"i\",\"clientName\":\"n@x\",\"clientSecret\":\"s\",\"more\":{}}\n"
          service account n@x i s
        "{\"clientId\":\"i\",\"secret\":\"s\",\"token\":\"AstraCS:i:0f\"}"
          application token AstraCS:i:0f
        "AstraCS:i:0f\n"
          application token AstraCS:i:0f
        "\"AstraCS:i:0f\""
          application token AstraCS:i:0f
        "AstraCS:i"
          the file holds a damaged application token (not `AstraCS:…:…`)
        "AstraCS:i:0 f"
          the file holds a damaged application token (not `AstraCS:…:…`)
        "AstraCS:"
          the file holds a damaged application token (not `AstraCS:…:…`)
        ""
          the file is empty
        " \n"
          the file is empty
        "null"
          the file is neither a JSON object nor an application token
        "[]"
          the file is neither a JSON object nor an application token
        "hello"
          the file is neither a JSON object nor an application token
        "{"
          the file is not JSON at line 1, column 1
        "{\"clientId\":\"i\"}"
          the file has no `clientName`
        "{\"clientId\":\"i\",\"clientName\":\"n\"}"
          the file has no `clientSecret`
        "{\"clientId\":\"i\",\"clientSecret\":\"s\"}"
          the file has no `clientName`
        "{\"clientName\":\"n\",\"clientSecret\":\"s\"}"
          the file has no `clientId`
        "{\"clientId\":\"\",\"clientName\":\"n\",\"clientSecret\":\"s\"}"
          the file has an empty `clientId`
        "{\"clientId\":\"i\",\"clientName\":7,\"clientSecret\":\"s\"}"
          the file has a `clientName` that is not a string
        "{\"clientId\":\"i\",\"clientName\":\"n\",\"clientSecret\":null}"
          the file has no `clientSecret`
        "{\"clientId\":\"i\",\"clientId\":\"j\",\"clientName\":\"n\",\"clientSecret\":\"s\"}"
          the file has a key twice, at line 1, column 26
        "{\"clientId\":\"i\",\"secret\":\"s\",\"token\":\"other\"}"
          the file looks like an application token's, but its `token` is not `AstraCS:…`
        "{\"clientId\":\"i\",\"secret\":\"s\"}"
          the file looks like an application token's, but its `token` is not `AstraCS:…`
        "#);
    }

    #[test]
    fn utf_16_is_named() {
        assert_eq!(parse(b"\xff\xfe{\0").unwrap_err(), "is UTF-16, not UTF-8");
        assert_eq!(parse(b"\xc3").unwrap_err(), "is not UTF-8");
    }

    proptest! {
        #[test]
        fn no_content_makes_the_parser_panic_or_shows_up_in_the_defect(content in "\\PC{6,40}") {
            for text in [content.clone(), format!(r#"{{"clientId":{content:?}}}"#)] {
                if let Err(defect) = parse(text.as_bytes()) {
                    prop_assert!(!defect.contains(&content));
                }
            }
        }

        #[test]
        fn no_bytes_make_the_parser_panic(bytes in any::<Vec<u8>>()) {
            let _ = parse(&bytes);
        }
    }
}
