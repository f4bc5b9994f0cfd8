//! The account file: a service account, or an application token.
//!
//! Astra's dashboard shows both with a `clientId`, so users confuse them. Both are accepted: an application
//! token (`AstraCS:…`) is returned without an exchange.
//!
//! The messages of this module name the defect of a file. They never quote its content.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Instant;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::error::{AccountError, Malformed, json_defect};
use crate::message::LONG_WAIT;
use crate::shown;
#[cfg(unix)]
use crate::shown::shell_word;
use crate::token::{self, Secret};

/// The content of an account file.
#[derive(Debug)]
pub enum Account {
    /// A service account, which is exchanged for a bearer token.
    Service(ServiceAccount),
    /// An application token: a bearer token that never expires and is never exchanged.
    Application(Secret),
}

impl Account {
    /// The kind of account, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Service(_) => "service account",
            Self::Application(_) => "application token",
        }
    }

    /// The client id. An application token has the form `AstraCS:ID:SECRET`.
    pub fn client_id(&self) -> &str {
        match self {
            Self::Service(account) => &account.client_id,
            Self::Application(token) => token.expose().split(':').nth(1).unwrap_or_default(),
        }
    }
}

/// A service account. No field is empty.
#[derive(Debug)]
pub struct ServiceAccount {
    /// `clientName`: an e-mail address for some organisations, a plain name for others.
    pub client_name: String,
    /// `clientId`, an opaque text.
    pub client_id: String,
    /// `clientSecret`, an opaque text.
    pub client_secret: Secret,
}

/// The largest account file that is read, in bytes. Astra's have about 200.
pub const LARGEST_FILE: usize = 64 * 1024;

/// The path of standard input.
pub const INPUT: &str = "/dev/stdin";

/// Reads the account file at `path`, which may be a pipe such as `/dev/stdin` or `<(…)`.
///
/// # Errors
/// The file is missing, unreadable or malformed, a pipe has no data before `deadline`, or other users may read
/// the file and `allow_exposed` is false.
pub fn read(path: &Path, allow_exposed: bool, deadline: Instant) -> Result<Account, AccountError> {
    let unreadable = |why: io::Error| match why.kind() {
        _ if !shown::is_path(path) => AccountError::Inline,
        io::ErrorKind::NotFound => {
            let fix = Some("astra-credential setup account".to_owned());
            AccountError::Missing { path: path.to_owned(), fix }
        }
        _ => AccountError::Unreadable { path: path.to_owned(), why },
    };
    let malformed = |defect| AccountError::Malformed { path: path.to_owned(), defect };
    #[cfg(not(target_os = "linux"))]
    if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        forbid_core_dump();
        let opened = path.to_owned();
        // For a FIFO, opening waits for the writer.
        let bytes = read_in_thread(move || File::open(opened), path, deadline);
        let bytes = bytes.map_err(unreadable)?;
        return parse(&bytes).map_err(malformed);
    }
    let mut file = open(path).map_err(unreadable)?;
    // From here on this process may hold the secret.
    forbid_core_dump();
    let metadata = file.metadata().map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(AccountError::Folder { path: path.to_owned() });
    }
    if metadata.is_file()
        && !allow_exposed
        && let Some((exposure, fix)) = exposure(&metadata, path, true)
    {
        let path = path.to_owned();
        return Err(AccountError::Exposed { path, exposure, fix });
    }
    // Files in /proc report a length of 0, so a length of 0 means "read to the end".
    let length = Some(metadata.len()).filter(|length| metadata.is_file() && *length > 0);
    let length = length.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
    let await_input = |file: &File| await_input(file, path, deadline);
    let bytes = read_to_end(&mut file, length, await_input).map_err(unreadable)?;
    parse(&bytes).map_err(malformed)
}

/// Reads standard input.
///
/// # Errors
/// It cannot be read, is too large, or has no data before `deadline`.
#[cfg(target_os = "linux")]
pub fn read_input(deadline: Instant) -> io::Result<Zeroizing<Vec<u8>>> {
    read_to_end(&mut input()?, None, |file| await_input(file, Path::new(INPUT), deadline))
}

/// Reads standard input, see above.
///
/// # Errors
/// The same.
#[cfg(not(target_os = "linux"))]
pub fn read_input(deadline: Instant) -> io::Result<Zeroizing<Vec<u8>>> {
    read_in_thread(input, Path::new(INPUT), deadline)
}

#[cfg(unix)]
fn input() -> io::Result<File> {
    Ok(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?.into())
}

#[cfg(not(unix))]
fn input() -> io::Result<File> {
    use std::os::windows::io::AsHandle as _;
    Ok(io::stdin().as_handle().try_clone_to_owned()?.into())
}

/// Opens a file without waiting for the writer of a pipe. [`read`] waits later, with a time-out.
#[cfg(unix)]
pub fn open(path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => Ok(file.into()),
        // Without /proc the link `/dev/stdin` is dangling, although standard input is open.
        Err(rustix::io::Errno::NOENT) if path == Path::new(INPUT) => input(),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(unix))]
pub fn open(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// Disables core dumps, which would contain the client secret. `execve` enables them again.
///
/// Call this after the file is open. Once a process is not dumpable, its /proc/self/fd belongs to root, and
/// another user cannot open `/dev/stdin`.
#[cfg(target_os = "linux")]
pub fn forbid_core_dump() {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    // This does not fail with this argument. After an error, the call still has to return a token.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// Disables core dumps. The hard limit is kept, so that a command of `exec` can enable them again.
#[cfg(all(unix, not(target_os = "linux")))]
pub fn forbid_core_dump() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Core).maximum;
    // Lowering the limit does not fail.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum });
}

/// Does nothing: Windows writes core dumps only if an administrator has enabled them.
#[cfg(not(unix))]
pub fn forbid_core_dump() {}

/// The hint for a file that belongs to another user than `caller`, a user id.
#[cfg(unix)]
fn owner_hint(caller: u32) -> String {
    if caller == 0 {
        "run this without `sudo`, as the owner of the file".to_owned()
    } else {
        "run this as the owner of the file, or name a file of your own".to_owned()
    }
}

/// The defect of a regular file's permissions, and the hint. Other users must not change the file or, if it
/// `is_secret`, read it.
#[cfg(unix)]
pub fn exposure(
    metadata: &std::fs::Metadata,
    path: &Path,
    is_secret: bool,
) -> Option<(String, String)> {
    use std::os::unix::fs::MetadataExt as _;
    const ROOT: u32 = 0;
    let caller = rustix::process::geteuid().as_raw();
    let (owner, mode) = (metadata.uid(), metadata.mode() & 0o777);
    if owner != caller && owner != ROOT {
        return Some((format!("belongs to another user (uid {owner})"), owner_hint(caller)));
    }
    // A file in a Kubernetes secret volume belongs to root, and the pod reads it through its group.
    let group_may_read = owner == ROOT;
    let by = match mode {
        _ if mode & 0o002 != 0 => "may be changed by everybody",
        _ if mode & 0o020 != 0 => "may be changed by its group",
        _ if !is_secret => return None,
        _ if mode & 0o004 != 0 => "may be read by everybody",
        _ if mode & 0o040 != 0 && !group_may_read => "may be read by its group",
        _ => return None,
    };
    let file = shell_word(&path.to_string_lossy());
    let closed = if owner == caller { "600" } else { "440" };
    let fix = match is_secret {
        true => format!(
            "run `chmod {closed} {file}`; where that changes nothing, as on WSL's drives, CIFS and FAT, \
             keep it on another file system"
        ),
        false => format!("run `chmod go-w {file}`"),
    };
    Some((format!("{by} (mode {mode:04o})"), fix))
}

#[cfg(not(unix))]
pub fn exposure(_: &std::fs::Metadata, _: &Path, _: bool) -> Option<(String, String)> {
    None
}

/// Reads the whole file into memory that is zeroed on drop.
///
/// The buffer does not grow, because growing would leave a copy of the secret in freed memory. `length` is the
/// length of a regular file. If it is known, the system call that returns the end of the file is not made.
fn read_to_end(
    file: &mut File,
    length: Option<usize>,
    await_input: impl Fn(&File) -> io::Result<()>,
) -> io::Result<Zeroizing<Vec<u8>>> {
    use io::ErrorKind::{Interrupted, WouldBlock};
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
            Err(error) if [Interrupted, WouldBlock].contains(&error.kind()) => {}
            Err(error) => return Err(error),
        }
    }
    if count > LARGEST_FILE {
        return Err(io::Error::other("it is too large for an account file"));
    }
    bytes.truncate(count);
    Ok(bytes)
}

/// Waits until a pipe has data or is closed, until `deadline`. A message explains a long wait.
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
    Err(timed_out())
}

/// Does nothing: on these systems only regular files are read here, which are always ready.
#[cfg(not(target_os = "linux"))]
fn await_input(_: &File, _: &Path, _: Instant) -> io::Result<()> {
    Ok(())
}

fn timed_out() -> io::Error {
    io::Error::other("nothing came out of it in time")
}

/// Reads a pipe or a terminal in a thread, which is abandoned at `deadline`.
///
/// `poll` cannot be used. On macOS it does not support terminals, and it reports a FIFO without a writer as
/// closed. Windows has no `poll`.
#[cfg(any(not(target_os = "linux"), test))]
fn read_in_thread(
    open: impl FnOnce() -> io::Result<File> + Send + 'static,
    path: &Path,
    deadline: Instant,
) -> io::Result<Zeroizing<Vec<u8>>> {
    use std::sync::mpsc::{RecvTimeoutError, channel};
    let (sender, receiver) = channel();
    let read = || read_to_end(&mut open()?, None, |_| Ok(()));
    std::thread::Builder::new().spawn(move || sender.send(read()))?;
    let left = || deadline.saturating_duration_since(Instant::now());
    let mut read = receiver.recv_timeout(left().min(LONG_WAIT));
    if matches!(read, Err(RecvTimeoutError::Timeout)) && !left().is_zero() {
        log::info!("waiting for an account from {}", shown::path(path));
        read = receiver.recv_timeout(left());
    }
    read.unwrap_or_else(|_| Err(timed_out()))
}

/// The keys of both kinds of account. Other keys are ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireAccount {
    client_name: Option<Field>,
    client_id: Option<Field>,
    client_secret: Option<Field>,
    secret: Option<Field>,
    token: Option<Field>,
}

/// A JSON value: a string, or anything else.
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

/// Reads the content of an account file.
///
/// # Errors
/// The defect. It does not contain any part of the content.
pub fn parse(bytes: &[u8]) -> Result<Account, Malformed> {
    if is_utf_16(bytes) {
        return Err(malformed(
            "is UTF-16, not UTF-8",
            "save it as UTF-8 (in PowerShell: `Set-Content -Encoding utf8`)",
        ));
    }
    if bytes.starts_with(&[0x1f, 0x8b]) {
        return Err(malformed("is compressed by gzip", "decompress it with `gunzip`"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| malformed("is not UTF-8", COPY))?;
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        return Err(malformed("is empty", COPY));
    }
    let json_string: Option<Secret> =
        text.starts_with('"').then(|| serde_json::from_str(text).ok()).flatten();
    if let Some(bearer) = application_token(json_string.as_ref().map_or(text, Secret::expose)) {
        return bearer.map(Account::Application);
    }
    if !text.starts_with('{') || is_placeholder(text) {
        return Err(not_an_object(text, json_string.as_ref()));
    }
    let wire: WireAccount = serde_json::from_str(text).map_err(|error| {
        let what = if error.is_data() {
            // Values of all types are accepted, so the only possible data error is a duplicate key.
            format!("has a key twice, at line {}, column {}", error.line(), error.column())
        } else if text.contains(['\u{201c}', '\u{201d}']) {
            "has typographic quotation marks, which JSON does not know".to_owned()
        } else {
            format!("is {}", json_defect(&error))
        };
        malformed(what, COPY)
    })?;
    account(wire, text)
}

/// The hint to copy the account again.
const COPY: &str = "copy the service account (`clientId`, `clientName`, `clientSecret`) or the application \
                    token (`AstraCS:...`) from Astra's dashboard anew";

/// The hint for an encoded account.
const DECODE: &str = "decode it first, and store the JSON or the token alone";

/// The hint for a placeholder.
const REPLACE: &str = "have whatever writes this file put the account in its place, or store the account with \
                       `astra-credential setup account`";

fn malformed(what: impl Into<String>, fix: &'static str) -> Malformed {
    Malformed { what: what.into(), fix }
}

/// True for UTF-16, with or without a byte order mark. In ASCII text, every other byte is 0.
fn is_utf_16(bytes: &[u8]) -> bool {
    let are_zero = |first: usize| {
        let mut every_other = bytes.iter().skip(first).step_by(2).take(8);
        bytes.len() >= 4 && every_other.all(|byte| *byte == 0)
    };
    bytes.starts_with(&[0xff, 0xfe])
        || bytes.starts_with(&[0xfe, 0xff])
        || are_zero(0)
        || are_zero(1)
}

/// Describes a text that is neither an object nor a token. `string` is the value of a text that is a JSON
/// string.
fn not_an_object(text: &str, string: Option<&Secret>) -> Malformed {
    if let Some(defect) = encoded(string.map_or(text, Secret::expose)) {
        return defect;
    }
    let beginning = text.get(..64.min(text.len())).unwrap_or_default().to_ascii_lowercase();
    let begins_with = |starts: &[&str]| starts.iter().any(|start| beginning.starts_with(start));
    let holds_object = string.is_some_and(|string| string.expose().trim_start().starts_with('{'));
    let known = [
        (
            holds_object,
            "is a JSON string that holds an object",
            "store what is between the quotation marks, without the backslashes",
        ),
        (is_encrypted(text), "is encrypted", "decrypt it first, for example into `/dev/stdin`"),
        (is_placeholder(text), "is a placeholder that nothing has replaced", REPLACE),
        (begins_with(&["<!doctype", "<html", "<?xml"]), "is a web page or XML", COPY),
        (
            begins_with(&["authorization:", "bearer "]),
            "is a header, not an account",
            "store the application token alone, from `AstraCS:` on",
        ),
        (text.starts_with('['), "is a list, not one object", "store the JSON object alone"),
    ];
    if let Some((_, what, fix)) = known.into_iter().find(|(is_it, ..)| *is_it) {
        return malformed(what, fix);
    }
    let mut lines =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let first = lines.find(|line| *line != "---").unwrap_or_default();
    let is_field = |separator: char| {
        let (name, _) = first.split_once(separator).unwrap_or_default();
        let name = name.trim().trim_start_matches("export ").trim().trim_matches('"');
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        !name.is_empty() && name.bytes().all(is_plain)
    };
    let fix = "store the account as JSON, as Astra's dashboard gives it";
    if is_field('=') {
        let ends = if text.contains('\r') { ", with CR at the ends of its lines" } else { "" };
        let what = "consists of assignments (`NAME=value`), as an `.env` file does";
        malformed(format!("{what}{ends}"), fix)
    } else if is_field(':') {
        malformed("is YAML or a list of fields, not JSON", fix)
    } else {
        malformed("is neither a JSON object nor an application token", COPY)
    }
}

/// The defect of a text that is an account in base64, in hexadecimal or percent-encoded. `None` for any other
/// text.
fn encoded(text: &str) -> Option<Malformed> {
    if text.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("%7b")) {
        return Some(malformed("is percent-encoded", DECODE));
    }
    let joined = Zeroizing::new(text.split_whitespace().collect::<String>());
    let pairs = joined
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    let hexadecimal = Zeroizing::new(pairs.collect::<Option<Vec<u8>>>().unwrap_or_default());
    if begins_like_account(&hexadecimal) {
        return Some(malformed("is in hexadecimal", DECODE));
    }
    let standard = Zeroizing::new(joined.replace('-', "+").replace('_', "/"));
    let decoded =
        Zeroizing::new(UNPADDED.decode(standard.trim_end_matches('=')).unwrap_or_default());
    let is_encoded_twice =
        || UNPADDED.decode(decoded.trim_ascii()).is_ok_and(|twice| begins_like_account(&twice));
    let is_gzip = decoded.starts_with(&[0x1f, 0x8b]);
    let is_account = is_gzip
        || begins_like_account(&decoded)
        || is_utf_16(&decoded) && decoded.contains(&b'{')
        || is_encoded_twice();
    let fix = "decode it with `base64 -d`, and store the JSON or the token alone";
    is_account.then(|| malformed("is in base64", fix))
}

/// Base64 with or without padding.
const UNPADDED: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// True if the bytes begin like an account: with `AstraCS:`, or with an object, a list or a string that
/// contains `client`.
fn begins_like_account(bytes: &[u8]) -> bool {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let text = text.trim_start_matches('\u{feff}').trim_start();
    text.starts_with("AstraCS:") || text.starts_with(['{', '[', '"']) && text.contains("client")
}

/// True for a placeholder that nothing has replaced.
fn is_placeholder(text: &str) -> bool {
    /// The beginning and the end of a variable or an expression, and a rule for the part in between.
    type Between = (&'static str, &'static str, fn(&str) -> bool);
    const BETWEEN: [Between; 10] = [
        ("$", "", is_name),
        ("%", "%", |name| is_name(name.trim_matches('%'))),
        ("__", "__", is_name),
        ("${", "}", |_| true),
        ("$(", ")", |_| true),
        ("{{", "}}", |_| true),
        ("#{", "}", |_| true),
        ("#{", "}#", |_| true),
        ("<%", "%>", |_| true),
        // No element of HTML or XML, which has an end tag.
        ("<", ">", |text| !text.contains('\n') && text.split('<').all(|tag| !tag.starts_with('/'))),
    ];
    /// The beginnings of an omission and of a reference to a secret store.
    const BEGINNINGS: [&str; 7] =
        ["...", "\u{2026}", "op://", "vault:", "ref+", "arn:aws:", "@Microsoft.KeyVault("];
    const WORDS: [&str; 5] = ["CHANGEME", "CHANGE_ME", "REPLACEME", "REPLACE_ME", "TODO"];
    let text = text.trim();
    let is_between = |(start, end, is_content): &Between| {
        let content = text.strip_prefix(start).and_then(|rest| rest.strip_suffix(end));
        content.is_some_and(is_content)
    };
    let is_blank = |mark: u8| text.len() > 3 && text.bytes().all(|b| b == mark);
    // `your-client-id`, but not the name `your-team@example.com`.
    let is_yours = |your: &&str| {
        let start = text.get(..your.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(your)) && !text.contains('@')
    };
    BETWEEN.iter().any(is_between)
        || BEGINNINGS.iter().any(|beginning| text.starts_with(beginning))
        || WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
        || ["your-", "your_"].iter().any(is_yours)
        || is_blank(b'*')
        || is_blank(b'_')
}

/// True for the name of a variable in capitals.
fn is_name(text: &str) -> bool {
    let is_part = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    !text.is_empty() && text.bytes().all(is_part)
}

/// True for the beginning of a text that SOPS, Ansible, OpenPGP or age has encrypted.
fn is_encrypted(text: &str) -> bool {
    ["ENC[", "$ANSIBLE_VAULT", "-----BEGIN ", "age-encryption.org"]
        .iter()
        .any(|start| text.starts_with(start))
}

/// Converts the fields of a JSON object, whose text is `json`, to an account.
fn account(wire: WireAccount, json: &str) -> Result<Account, Malformed> {
    let WireAccount { client_name, client_id, client_secret, secret, token } = wire;
    if client_id.is_none() && client_secret.is_none() && token.is_none() && has_nested(json) {
        let fix = "store the inner object alone";
        return Err(malformed("holds the account inside of another object or a list", fix));
    }
    if client_secret.is_none() {
        if let Some(Field::Text(text)) = &token
            && let Some(bearer) = application_token(text.expose())
        {
            return bearer.map(Account::Application);
        }
        if secret.is_some() || token.is_some() {
            token.or(secret).map(|field| checked("token", field)).transpose()?;
            let what = "looks like an application token's, but its `token` is not `AstraCS:...`";
            return Err(malformed(what, COPY));
        }
    }
    let text = |name: &str, field: Option<Field>| match field
        .map(|field| checked(name, field))
        .transpose()?
    {
        Some(Field::Text(text)) if !text.expose().is_empty() => Ok(text),
        Some(Field::Text(_)) => Err(malformed(format!("has an empty `{name}`"), COPY)),
        Some(Field::Other) => Err(malformed(format!("has a `{name}` that is not a string"), COPY)),
        None => Err(malformed(format!("has no `{name}`"), COPY)),
    };
    Ok(Account::Service(ServiceAccount {
        client_id: text("clientId", client_id)?.expose().to_owned(),
        client_name: text("clientName", client_name)?.expose().to_owned(),
        client_secret: text("clientSecret", client_secret)?,
    }))
}

/// Returns the field, or the defect if it is a placeholder or encrypted.
fn checked(name: &str, field: Field) -> Result<Field, Malformed> {
    if let Field::Text(text) = &field {
        if is_encrypted(text.expose()) {
            let fix = "decrypt the file first, for example into `/dev/stdin`";
            return Err(malformed(format!("has an encrypted `{name}`"), fix));
        }
        if is_placeholder(text.expose()) {
            let what = format!("has a placeholder for its `{name}` that nothing has replaced");
            return Err(malformed(what, REPLACE));
        }
    }
    Ok(field)
}

/// True if an object or string inside of a JSON text is an account.
fn has_nested(json: &str) -> bool {
    fn is_or_has_account(value: &Value, depth: u8) -> bool {
        let is_inner = |value| depth > 0 && is_or_has_account(value, depth - 1);
        let is_key = |key: &str| ["clientSecret", "clientId"].contains(&key);
        match value {
            Value::Object(fields) => {
                fields.keys().any(|key| is_key(key)) || fields.values().any(is_inner)
            }
            Value::Array(items) => items.iter().any(is_inner),
            Value::String(text) => begins_like_account(text.as_bytes()) || encoded(text).is_some(),
            _ => false,
        }
    }
    // This copy is not zeroed. The call is about to fail.
    serde_json::from_str(json).is_ok_and(|value| is_or_has_account(&value, 4))
}

impl ServiceAccount {
    /// The name of the first field that begins or ends with blanks or line ends. They are sent, because they
    /// may belong to the field.
    pub fn padded_field(&self) -> Option<&'static str> {
        let fields = [
            ("clientSecret", self.client_secret.expose()),
            ("clientId", &self.client_id),
            ("clientName", &self.client_name),
        ];
        fields.into_iter().find(|(_, value)| value.trim() != *value).map(|(name, _)| name)
    }
}

/// Reads an application token, `AstraCS:ID:SECRET`. Returns `None` if the text does not begin with `AstraCS:`,
/// and an error for a damaged token.
fn application_token(text: &str) -> Option<Result<Secret, Malformed>> {
    let rest = text.strip_prefix("AstraCS:")?;
    let parts: Vec<_> = rest.split(':').collect();
    let is_whole = parts.len() == 2 && parts.iter().all(|part| token::bearer(part) == Some(part));
    Some(if is_whole && text.len() <= token::LARGEST_BEARER {
        Ok(Secret::new(text.to_owned()))
    } else {
        Err(malformed("holds a damaged application token (not `AstraCS:...:...`)", COPY))
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
            Err(Malformed { what, fix }) if fix == COPY => format!("the file {what}"),
            Err(Malformed { what, fix }) => format!("the file {what}: {fix}"),
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
        let read_until = |deadline| {
            let opened = fifo.clone();
            read_in_thread(|| File::open(opened), &fifo, deadline)
        };
        let silent = read_until(start + Duration::from_millis(50)).unwrap_err();
        assert_eq!(silent.to_string(), "nothing came out of it in time");
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        // The abandoned thread still reads from this FIFO, so the next reader gets another one.
        std::fs::remove_file(&fifo).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let writer = std::thread::spawn({
            let fifo = fifo.clone();
            move || std::fs::write(fifo, "an account").unwrap()
        });
        let read = read_until(start + Duration::from_secs(60)).unwrap();
        assert_eq!(read.as_slice(), b"an account");
        writer.join().unwrap();
    }

    #[test]
    fn each_content_is_taken_or_its_defect_named() {
        let contents: [&str; 68] = [
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
            "eyJjbGllbnRJZCI6ImkiLCJjbGllbnROYW1lIjoibiIsImNsaWVudFNlY3JldCI6InMifQ==",
            "eyJjbGllbnRJZCI6ImkiLCJjbGll\nbnROYW1lIjoibiIsImNsaWVudFNlY3JldCI6InMifQ",
            "QXN0cmFDUzppOjBm",
            "\"eyJjbGllbnRJZCI6ImkiLCJjbGllbnROYW1lIjoibiIsImNsaWVudFNlY3JldCI6InMifQ==\"",
            "7b22636c69656e744964223a2269227d",
            "%7B%22clientId%22%3A%22i%22%7D",
            r#""{\"clientId\":\"i\"}""#,
            r#"[{"clientId":"i","clientName":"n","clientSecret":"s"}]"#,
            r#"{"astra":{"clientId":"i","clientName":"n","clientSecret":"s"}}"#,
            r#"{"accounts":[{"clientId":"i","clientName":"n","clientSecret":"s"}]}"#,
            r#"{"kind":"Secret","data":{"account.json":"eyJjbGllbnRJZCI6ImkifQ=="}}"#,
            r#"{"clientId":"i","clientName":"n","clientSecret":"$CLIENT_SECRET"}"#,
            r#"{"clientId":"${CLIENT_ID}","clientName":"n","clientSecret":"s"}"#,
            r#"{"clientId":"i","clientName":"{{ .Values.name }}","clientSecret":"s"}"#,
            r#"{"clientId":"i","clientName":"n","clientSecret":"<your client secret>"}"#,
            r#"{"clientId":"i","clientName":"n","clientSecret":"ENC[AES256_GCM,data:x]"}"#,
            r#"{"clientId":"i","clientName":"n","clientSecret":"$ecret"}"#,
            r#"{"clientId":"i","clientName":"n","clientSecret":"__SECRET__"}"#,
            r##"{"clientId":"i","clientName":"n","clientSecret":"#{secret}#"}"##,
            r#"{"clientId":"i","clientName":"n","clientSecret":"********"}"#,
            r#"{"clientId":"i","clientName":"n","clientSecret":"arn:aws:secretsmanager:eu-west-1:1:secret:x"}"#,
            r#"{"clientId":"i","clientName":"n","clientSecret":"@Microsoft.KeyVault(SecretUri=https://h/s)"}"#,
            r#"{"clientId":"your-client-id","clientName":"n","clientSecret":"s"}"#,
            r#"{"clientId":"i","clientName":"your-team@h","clientSecret":"changeme"}"#,
            r#"{"clientId":"i","clientName":"n","clientSecret":"__s__t__"}"#,
            r#"{"clientId":"i","clientName":"n","clientSecret":"***s"}"#,
            r#"{"clientId":"<id>","secret":"s","token":"$TOKEN"}"#,
            "{{ .Values.account }}",
            "$ACCOUNT",
            "${ACCOUNT}",
            "<account>",
            "%ACCOUNT%",
            "op://vault/item",
            "ENC[AES256_GCM,data:x]",
            "$ANSIBLE_VAULT;1.1;AES256\n0f",
            "-----BEGIN PGP MESSAGE-----",
            "<!DOCTYPE html><html></html>",
            "Authorization: Bearer AstraCS:i:0f",
            "clientId=i\nclientSecret=s\n",
            "export CLIENT_ID=i\r\nexport CLIENT_SECRET=s\r\n",
            "ACCOUNT={\"clientId\":\"i\"}",
            "---\nclientId: i\nclientName: n\n",
            "{\u{201c}clientId\u{201d}:\u{201c}i\u{201d}}",
            "{'clientId':'i'}",
        ];
        let table: Vec<_> =
            contents.map(|content| format!("{content:?}\n  {}", read_as(content))).into();
        insta::assert_snapshot!(table.join("\n"), @r##"
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
          the file holds a damaged application token (not `AstraCS:...:...`)
        "AstraCS:i:0 f"
          the file holds a damaged application token (not `AstraCS:...:...`)
        "AstraCS:"
          the file holds a damaged application token (not `AstraCS:...:...`)
        ""
          the file is empty
        " \n"
          the file is empty
        "null"
          the file is neither a JSON object nor an application token
        "[]"
          the file is a list, not one object: store the JSON object alone
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
          the file looks like an application token's, but its `token` is not `AstraCS:...`
        "{\"clientId\":\"i\",\"secret\":\"s\"}"
          the file looks like an application token's, but its `token` is not `AstraCS:...`
        "eyJjbGllbnRJZCI6ImkiLCJjbGllbnROYW1lIjoibiIsImNsaWVudFNlY3JldCI6InMifQ=="
          the file is in base64: decode it with `base64 -d`, and store the JSON or the token alone
        "eyJjbGllbnRJZCI6ImkiLCJjbGll\nbnROYW1lIjoibiIsImNsaWVudFNlY3JldCI6InMifQ"
          the file is in base64: decode it with `base64 -d`, and store the JSON or the token alone
        "QXN0cmFDUzppOjBm"
          the file is in base64: decode it with `base64 -d`, and store the JSON or the token alone
        "\"eyJjbGllbnRJZCI6ImkiLCJjbGllbnROYW1lIjoibiIsImNsaWVudFNlY3JldCI6InMifQ==\""
          the file is in base64: decode it with `base64 -d`, and store the JSON or the token alone
        "7b22636c69656e744964223a2269227d"
          the file is in hexadecimal: decode it first, and store the JSON or the token alone
        "%7B%22clientId%22%3A%22i%22%7D"
          the file is percent-encoded: decode it first, and store the JSON or the token alone
        "\"{\\\"clientId\\\":\\\"i\\\"}\""
          the file is a JSON string that holds an object: store what is between the quotation marks, without the backslashes
        "[{\"clientId\":\"i\",\"clientName\":\"n\",\"clientSecret\":\"s\"}]"
          the file is a list, not one object: store the JSON object alone
        "{\"astra\":{\"clientId\":\"i\",\"clientName\":\"n\",\"clientSecret\":\"s\"}}"
          the file holds the account inside of another object or a list: store the inner object alone
        "{\"accounts\":[{\"clientId\":\"i\",\"clientName\":\"n\",\"clientSecret\":\"s\"}]}"
          the file holds the account inside of another object or a list: store the inner object alone
        "{\"kind\":\"Secret\",\"data\":{\"account.json\":\"eyJjbGllbnRJZCI6ImkifQ==\"}}"
          the file holds the account inside of another object or a list: store the inner object alone
        "{\"clientId\":\"i\",\"clientName\":\"n\",\"clientSecret\":\"$CLIENT_SECRET\"}"
          the file has a placeholder for its `clientSecret` that nothing has replaced: have whatever writes this file put the account in its place, or store the account with `astra-credential setup account`
        "{\"clientId\":\"${CLIENT_ID}\",\"clientName\":\"n\",\"clientSecret\":\"s\"}"
          the file has a placeholder for its `clientId` that nothing has replaced: have whatever writes this file put the account in its place, or store the account with `astra-credential setup account`
        "{\"clientId\":\"i\",\"clientName\":\"{{ .Values.name }}\",\"clientSecret\":\"s\"}"
          the file has a placeholder for its `clientName` that nothing has replaced: have whatever writes this file put the account in its place, or store the account with `astra-credential setup account`
        "{\"clientId\":\"i\",\"clientName\":\"n\",\"clientSecret\":\"<your client secret>\"}"
          the file has a placeholder for its `clientSecret` that nothing has replaced: have whatever writes this file put the account in its place, or store the account with `astra-credential setup account`
        "{\"clientId\":\"i\",\"clientName\":\"n\",\"clientSecret\":\"ENC[AES256_GCM,data:x]\"}"
          the file has an encrypted `clientSecret`: decrypt the file first, for example into `/dev/stdin`
        "{\"clientId\":\"i\",\"clientName\":\"n\",\"clientSecret\":\"$ecret\"}"
          service account n i $ecret
        "{\"clientId\":\"i\",\"clientName\":\"n\",\"clientSecret\":\"__SECRET__\"}"
          the file has a placeholder for its `clientSecret` that nothing has replaced: have whatever writes this file put the account in its place, or store the account with `astra-credential setup account`
        "{\"clientId\":\"i\",\"clientName\":\"n\",\"clientSecret\":\"#{secret}#\"}"
          the file has a placeholder for its `clientSecret` that nothing has replaced: have whatever writes this file put the account in its place, or store the account with `astra-credential setup account`
        "{\"clientId\":\"i\",\"clientName\":\"n\",\"clientSecret\":\"********\"}"
          the file has a placeholder for its `clientSecret` that nothing has replaced: have whatever writes this file put the account in its place, or store the account with `astra-credential setup account`
        "{\"clientId\":\"i\",\"clientName\":\"n\",\"clientSecret\":\"arn:aws:secretsmanager:eu-west-1:1:secret:x\"}"
          the file has a placeholder for its `clientSecret` that nothing has replaced: have whatever writes this file put the account in its place, or store the account with `astra-credential setup account`
        "{\"clientId\":\"i\",\"clientName\":\"n\",\"clientSecret\":\"@Microsoft.KeyVault(SecretUri=https://h/s)\"}"
          the file has a placeholder for its `clientSecret` that nothing has replaced: have whatever writes this file put the account in its place, or store the account with `astra-credential setup account`
        "{\"clientId\":\"your-client-id\",\"clientName\":\"n\",\"clientSecret\":\"s\"}"
          the file has a placeholder for its `clientId` that nothing has replaced: have whatever writes this file put the account in its place, or store the account with `astra-credential setup account`
        "{\"clientId\":\"i\",\"clientName\":\"your-team@h\",\"clientSecret\":\"changeme\"}"
          the file has a placeholder for its `clientSecret` that nothing has replaced: have whatever writes this file put the account in its place, or store the account with `astra-credential setup account`
        "{\"clientId\":\"i\",\"clientName\":\"n\",\"clientSecret\":\"__s__t__\"}"
          service account n i __s__t__
        "{\"clientId\":\"i\",\"clientName\":\"n\",\"clientSecret\":\"***s\"}"
          service account n i ***s
        "{\"clientId\":\"<id>\",\"secret\":\"s\",\"token\":\"$TOKEN\"}"
          the file has a placeholder for its `token` that nothing has replaced: have whatever writes this file put the account in its place, or store the account with `astra-credential setup account`
        "{{ .Values.account }}"
          the file is a placeholder that nothing has replaced: have whatever writes this file put the account in its place, or store the account with `astra-credential setup account`
        "$ACCOUNT"
          the file is a placeholder that nothing has replaced: have whatever writes this file put the account in its place, or store the account with `astra-credential setup account`
        "${ACCOUNT}"
          the file is a placeholder that nothing has replaced: have whatever writes this file put the account in its place, or store the account with `astra-credential setup account`
        "<account>"
          the file is a placeholder that nothing has replaced: have whatever writes this file put the account in its place, or store the account with `astra-credential setup account`
        "%ACCOUNT%"
          the file is a placeholder that nothing has replaced: have whatever writes this file put the account in its place, or store the account with `astra-credential setup account`
        "op://vault/item"
          the file is a placeholder that nothing has replaced: have whatever writes this file put the account in its place, or store the account with `astra-credential setup account`
        "ENC[AES256_GCM,data:x]"
          the file is encrypted: decrypt it first, for example into `/dev/stdin`
        "$ANSIBLE_VAULT;1.1;AES256\n0f"
          the file is encrypted: decrypt it first, for example into `/dev/stdin`
        "-----BEGIN PGP MESSAGE-----"
          the file is encrypted: decrypt it first, for example into `/dev/stdin`
        "<!DOCTYPE html><html></html>"
          the file is a web page or XML
        "Authorization: Bearer AstraCS:i:0f"
          the file is a header, not an account: store the application token alone, from `AstraCS:` on
        "clientId=i\nclientSecret=s\n"
          the file consists of assignments (`NAME=value`), as an `.env` file does: store the account as JSON, as Astra's dashboard gives it
        "export CLIENT_ID=i\r\nexport CLIENT_SECRET=s\r\n"
          the file consists of assignments (`NAME=value`), as an `.env` file does, with CR at the ends of its lines: store the account as JSON, as Astra's dashboard gives it
        "ACCOUNT={\"clientId\":\"i\"}"
          the file consists of assignments (`NAME=value`), as an `.env` file does: store the account as JSON, as Astra's dashboard gives it
        "---\nclientId: i\nclientName: n\n"
          the file is YAML or a list of fields, not JSON: store the account as JSON, as Astra's dashboard gives it
        "{“clientId”:“i”}"
          the file has typographic quotation marks, which JSON does not know
        "{'clientId':'i'}"
          the file is not JSON at line 1, column 2
        "##);
    }

    #[test]
    fn a_field_with_blanks_at_its_ends_is_named() {
        let padded = |id: &str, secret: &str| {
            let json =
                serde_json::json!({"clientId": id, "clientName": "n", "clientSecret": secret});
            match parse(json.to_string().as_bytes()).unwrap() {
                Account::Service(account) => account.padded_field(),
                Account::Application(_) => None,
            }
        };
        assert_eq!(padded("i", "s s"), None);
        assert_eq!(padded("i", "s\n"), Some("clientSecret"));
        assert_eq!(padded(" i", "s"), Some("clientId"));
    }

    #[test]
    fn utf_16_is_named() {
        let utf_16 =
            |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
        for bytes in [b"\xff\xfe{\0".to_vec(), utf_16(r#"{"clientId":"i"}"#), {
            r#"{"clientId":"i"}"#.encode_utf16().flat_map(u16::to_be_bytes).collect()
        }] {
            assert_eq!(parse(&bytes).unwrap_err().what, "is UTF-16, not UTF-8");
        }
        assert_eq!(parse(b"\xc3").unwrap_err().what, "is not UTF-8");
        assert_eq!(parse(b"\x1f\x8b\x08\0").unwrap_err().what, "is compressed by gzip");
    }

    proptest! {
        #[test]
        fn no_content_makes_the_parser_panic_or_shows_up_in_the_defect(content in "\\PC{6,40}") {
            for text in [content.clone(), format!(r#"{{"clientId":{content:?}}}"#)] {
                if let Err(Malformed { what, .. }) = parse(text.as_bytes()) {
                    prop_assert!(!what.contains(&content));
                }
            }
        }

        #[test]
        fn no_bytes_make_the_parser_panic(bytes in any::<Vec<u8>>()) {
            let _ = parse(&bytes);
        }
    }
}
