//! Where the client secret and the token are to be found, and where not: every kind of call, looked
//! through byte by byte.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::spellings::{SECRET, spellings};
use crate::stand_in::{Reply, Request};
use crate::world::{Call, World, contents, needs, set_mode, skip};

/// Characters in a row that are no coincidence.
const PIECE: usize = 8;

/// A world whose account has that secret.
fn world() -> World {
    let world = World::new();
    world.astra.set_secret(SECRET);
    world.write_account(&world.astra.account_json());
    world
}

/// All pieces of that length, in lower case.
fn pieces(bytes: &[u8], length: usize) -> HashSet<Vec<u8>> {
    bytes.to_ascii_lowercase().windows(length).map(<[u8]>::to_vec).collect()
}

/// True if the text holds a piece of the secret, as it is or in an encoding.
fn holds_secret(bytes: &[u8]) -> bool {
    let found = pieces(bytes, PIECE);
    let hex: String = SECRET.bytes().map(|byte| format!("{byte:02x}")).collect();
    // Three characters are four of base64, and where they begin depends on what is in front.
    let coded = (0..3).map(|skipped| BASE64_STANDARD.encode(&SECRET[skipped..skipped + 33]));
    let mut forms = [SECRET.to_owned(), hex].into_iter().chain(coded);
    forms.any(|form| !pieces(form.as_bytes(), PIECE).is_disjoint(&found))
}

/// Whether what nobody can guess of a token is in there.
fn holds_token(bytes: &[u8], token: &str) -> bool {
    let signature = token.rsplit('.').next().unwrap();
    !pieces(signature.as_bytes(), 16).is_disjoint(&pieces(bytes, 16))
}

/// Runs calls, and looks through what they leave behind.
struct Witness {
    world: World,
    tokens: Vec<String>,
}

impl Witness {
    fn new() -> Self {
        Self { world: world(), tokens: Vec::new() }
    }

    /// Runs a call by itself and with everything said; gives the exit code of the first.
    fn watch(&mut self, what: &str, call: impl Fn(&World) -> Call<'_>) -> i32 {
        let mut first = None;
        for verbose in [false, true] {
            let call = call(&self.world);
            let call = if verbose { call.env("ASTRA_CREDENTIAL_LOG", "1") } else { call };
            let done = call.run();
            self.tokens.extend(self.world.astra.last_token());
            self.tokens.dedup();
            assert!(!holds_secret(&done.output.stdout), "{what}: the secret in {done}");
            assert!(!holds_secret(&done.output.stderr), "{what}: the secret in {done}");
            let is_told = |token: &String| holds_token(&done.output.stderr, token);
            assert!(!self.tokens.iter().any(is_told), "{what}: the token in {done}");
            assert!(!done.stderr().contains("panicked"), "{what}: {done}");
            first.get_or_insert(done.output.status.code().unwrap_or(-1));
        }
        self.look_around(what);
        first.unwrap()
    }

    /// Everything in the home, the account file aside.
    fn look_around(&self, what: &str) {
        let account = self.world.account_file();
        let mut files = 0;
        for (path, bytes) in contents(self.world.home.path()) {
            let name = path.to_string_lossy().into_owned();
            if path != account {
                assert!(!holds_secret(&bytes), "{what}: the secret in `{name}`");
                let is_kept = |token: &String| holds_token(&bytes, token);
                assert!(!self.tokens.iter().any(is_kept), "{what}: the token in `{name}`");
            }
            assert!(!holds_secret(name.as_bytes()), "{what}: the secret in the name `{name}`");
            files += 1;
        }
        assert!(files > 1);
    }
}

/// The search finds what it looks for.
#[test]
fn the_search_finds_a_secret_in_every_form() {
    let hidden = [
        format!("x{}x", &SECRET[9..17]),
        SECRET.to_uppercase(),
        BASE64_STANDARD.encode(format!("{{\"clientSecret\":\"{SECRET}\"}}")),
        SECRET.bytes().map(|byte| format!("{byte:02X}")).collect(),
    ];
    for text in hidden {
        assert!(holds_secret(text.as_bytes()), "{text}");
    }
    assert!(!holds_secret(format!("x{}x", &SECRET[9..16]).as_bytes()));
    let world = world();
    let token = world.token();
    assert!(holds_token(token.as_bytes(), &token));
    assert!(holds_secret(&fs::read(world.account_file()).unwrap()));
    assert!(holds_secret(&world.astra.requests()[0].body));
}

#[test]
fn no_call_that_succeeds_shows_the_secret_or_keeps_the_token() {
    let mut witness = Witness::new();
    let port = witness.world.astra.port();
    let host = format!("localhost:{port}");
    let token = witness.world.token();
    let asked = format!("protocol=https\nhost={host}\n\n");
    let told = format!("protocol=https\nhost={host}\nusername=x\npassword={token}\n\n");
    let login = format!(r#"{{"ServerURL":"{host}","Username":"token","Secret":"{token}"}}"#);
    let uri = format!(r#"{{"uri":"https://{host}/"}}"#);
    let terraform_get = format!("terraform get {host}");
    let terraform_forget = format!("terraform forget {host}");
    let calls: [(&str, &str); 22] = [
        ("forget", ""),
        ("token", ""),
        ("token -v", ""),
        ("token --refresh", ""),
        ("token --format json", ""),
        ("token --no-cache", ""),
        ("token --min-valid 20h", ""),
        ("header", ""),
        ("env", ""),
        ("env --shell json", ""),
        ("kubernetes", ""),
        ("git get", &asked),
        ("git store", &told),
        ("git erase", &told),
        ("bazel get", &uri),
        ("docker get", &host),
        ("docker list", ""),
        ("docker store", &login),
        ("docker erase", &host),
        (&terraform_get, ""),
        (&terraform_forget, ""),
        ("forget --all", ""),
    ];
    for (line, input) in calls {
        let code = witness.watch(line, |world| world.call(line).input(input));
        // Docker's `store` says that it stores nothing.
        assert!(code == 0 || line == "docker store", "{line}: {code}");
    }
    // The command that takes the program over gets the token, and nothing else.
    let script = "env; tr '\\0' '\\n' </proc/$$/cmdline; ls -l /proc/$$/fd";
    witness.watch("exec", |world| world.call("exec -- sh -c").arg(script));
    let done = witness.world.call("exec -- env").run();
    assert!(done.quiet().contains(&format!("ASTRA_API_TOKEN={}", witness.world.token())));
    let account = witness.world.astra.account_json();
    let code = witness.watch("a pipe", |world| {
        world.call("token --refresh --service-account /dev/stdin").input(account.clone())
    });
    assert_eq!(code, 0);
    assert!(witness.tokens.len() > 5, "{}", witness.tokens.len());
}

type Echo = fn(&Request) -> Reply;

/// The ways in which a server may misuse a request.
fn echoes() -> Vec<(&'static str, Echo)> {
    fn body(request: &Request) -> String {
        String::from_utf8_lossy(&request.body).into_owned()
    }
    fn raw(text: &str) -> Reply {
        Reply::Raw(text.as_bytes().to_vec())
    }
    vec![
        ("400, as a message", |request| Reply::error(400, &body(request))),
        ("401, as a message", |request| Reply::error(401, &body(request))),
        ("403, as text", |request| Reply::text(403, &body(request))),
        ("404, as text after words", |request| Reply::text(404, &format!("no: {}", body(request)))),
        ("418, as JSON", |request| Reply::new(418, "application/json", request.body.clone())),
        ("500, as a string", |request| Reply::json(500, &body(request).into())),
        ("500, in capitals", |_| Reply::text(500, &SECRET.to_uppercase())),
        ("500, in halves", |_| {
            let (start, end) = SECRET.split_at(SECRET.len() / 2);
            Reply::json(500, &serde_json::json!({"errors": [{"message": start}, end]}))
        }),
        ("500, beyond what is shown", |_| {
            Reply::text(500, &format!("{}{SECRET}", "x".repeat(190)))
        }),
        ("500, a piece", |_| Reply::text(500, &format!("bad: ...{}...", &SECRET[11..22]))),
        ("500, with breaks", |_| {
            let (start, end) = SECRET.split_at(SECRET.len() / 2);
            Reply::text(500, &format!("{start}\r\n{end}"))
        }),
        ("200, as text", |_| Reply::text(200, &format!("got {SECRET}"))),
        ("200, as a token with a blank", |_| {
            Reply::json(200, &serde_json::json!({"token": format!("x {SECRET}")}))
        }),
        ("307, where to go", |_| {
            Reply::text(307, "").with_header("Location", &format!("https://evil.example/{SECRET}"))
        }),
        ("429, when to come again", |_| Reply::text(429, "no").with_header("Retry-After", SECRET)),
        ("200, how it is coded", |_| {
            Reply::text(200, "no").with_header("Content-Encoding", SECRET)
        }),
        ("200, how long it is", |_| Reply::text(200, "no").with_header("Content-Length", SECRET)),
        ("no HTTP", |_| raw(SECRET)),
        ("a status", |_| raw(&format!("HTTP/1.1 {SECRET} {SECRET}\r\n\r\n"))),
        ("a reason", |_| raw(&format!("HTTP/1.1 500 {SECRET}\r\nContent-Length: 0\r\n\r\n"))),
        ("a header", |_| raw(&format!("HTTP/1.1 200 OK\r\n{SECRET}\r\n\r\n"))),
        ("a header's name", |_| raw(&format!("HTTP/1.1 200 OK\r\n{SECRET} x: 1\r\n\r\n"))),
        ("a chunk", |_| {
            raw(&format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{SECRET}\r\n"))
        }),
    ]
}

#[test]
fn no_answer_of_astras_brings_the_secret_out() {
    let mut witness = Witness::new();
    for (what, echo) in echoes() {
        witness.world.astra.set_answer(move |request, _| echo(request));
        let code = witness.watch(what, |world| world.call("token --refresh --timeout 0.7"));
        assert!([1, 4, 5].contains(&code), "{what}: {code}");
        // What is remembered of it is told in the other ways too.
        let host = format!("localhost:{}", witness.world.astra.port());
        witness.watch(what, |world| world.call("docker get").input(host.clone()));
    }
    let requests = witness.world.astra.requests();
    assert!(requests.iter().all(|request| holds_secret(&request.body)));
    let elsewhere = |request: &Request| {
        holds_secret(request.path.as_bytes())
            || request.headers.iter().any(|(_, value)| holds_secret(value.as_bytes()))
    };
    assert!(!requests.iter().any(elsewhere), "the secret outside of a body");
}

#[test]
fn no_bad_way_to_astra_brings_the_secret_out() {
    let mut witness = Witness::new();
    let ways: [(&str, &str, &str); 9] = [
        ("ASTRA_API_URL", "https://localhost:1", ""),
        ("ASTRA_API_URL", "https://no-such-host.invalid", ""),
        ("HTTPS_PROXY", "http://me:", "@127.0.0.1:1"),
        ("HTTPS_PROXY", "gopher://me:", "@127.0.0.1:1"),
        ("HTTPS_PROXY", "", "@@@"),
        ("ALL_PROXY", "socks5://me:", "@127.0.0.1:1"),
        ("ASTRA_API_URL", "https://me:", "@localhost"),
        ("ASTRA_API_URL", "http://me:", "@localhost"),
        ("SSL_CERT_FILE", "/no/such/file", ""),
    ];
    for (name, before, after) in ways {
        let value =
            if after.is_empty() { before.to_owned() } else { format!("{before}{SECRET}{after}") };
        let code = witness
            .watch(&value, |world| world.call("token --refresh --timeout 0.7").env(name, &value));
        assert!([1, 2, 5].contains(&code), "{name}={value}: {code}");
    }
    witness.world.astra.set_answer(|_, _| Reply::Hang);
    witness.watch("silence", |world| world.call("token --refresh --timeout 0.3"));
    witness.world.astra.set_answer(|_, _| Reply::Close);
    witness.watch("a broken connection", |world| world.call("token --refresh --timeout 0.7"));
}

#[test]
fn no_malformed_account_file_is_quoted() {
    let mut witness = Witness::new();
    let id = r#""clientId":"i","clientName":"n""#;
    let accounts = [
        SECRET.to_owned(),
        format!("\"{SECRET}\""),
        format!("clientSecret={SECRET}"),
        format!("{{{id},\"clientSecret\":\"{SECRET}\""),
        format!("{{{id},\"clientSecret\":\"{SECRET}"),
        format!("{{{id},\"clientSecret\":{SECRET}}}"),
        format!("{{{id},\"clientSecret\":[\"{SECRET}\"]}}"),
        format!("{{{id},\"clientSecret\":{{\"{SECRET}\":1}}}}"),
        format!("{{{id},\"clientSecret\":\"{SECRET}\\q\"}}"),
        format!("{{{id},\"clientSecret\":\"{SECRET}\",\"clientSecret\":\"{SECRET}\"}}"),
        format!("{{{id},\"{SECRET}\":\"clientSecret\"}}"),
        format!("{{\"clientSecret\":\"{SECRET}\"}}"),
        format!("{{\"clientId\":7,\"clientName\":\"n\",\"clientSecret\":\"{SECRET}\"}}"),
        format!("{{{id},\"clientSecret\":\"{SECRET}\"}} trailing"),
        format!("[{{{id},\"clientSecret\":\"{SECRET}\"}}]"),
        format!("{{{id},\"clientSecret\":\"{SECRET}\n\"}}"),
    ];
    let host = format!("localhost:{}", witness.world.astra.port());
    for account in accounts {
        witness.world.write_account(&account);
        for line in ["token", "kubernetes", "docker get", "forget"] {
            let code = witness.watch(&account, |world| world.call(line).input(host.clone()));
            // Docker has an exit code of its own.
            assert!(code == 3 || line == "docker get" && code == 1, "{account}: {line}: {code}");
        }
    }
    witness.world.write_account(&witness.world.astra.account_json());
    set_mode(&witness.world.account_file(), 0o644);
    assert_eq!(witness.watch("exposed", |world| world.call("token")), 3);
    assert_eq!(witness.world.astra.connections(), 0);
}

/// The variables that are read, and a few that other programs read.
const VARIABLES: [&str; 19] = [
    "ASTRA_SERVICE_ACCOUNT",
    "ASTRA_CREDENTIAL_ACCOUNT",
    "ASTRA_CREDENTIAL_CONFIG",
    "ASTRA_API_URL",
    "ASTRA_CREDENTIAL_HOSTS",
    "ASTRA_CREDENTIAL_CACHE_DIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "ASTRA_CREDENTIAL_TIMEOUT",
    "ASTRA_CREDENTIAL_MIN_VALID",
    "ASTRA_CREDENTIAL_NO_CACHE",
    "ASTRA_CREDENTIAL_LOG",
    "ASTRA_CREDENTIAL_ALLOW_EXPOSED_FILE",
    "HTTPS_PROXY",
    "NO_PROXY",
    "KUBERNETES_EXEC_INFO",
    "XDG_CONFIG_HOME",
    "XDG_CACHE_HOME",
    "SHELL",
];

/// The lines that a value is put at the end of.
const LINES: [&str; 39] = [
    "token --service-account",
    "token --account",
    "token --config",
    "token --api-url",
    "token --host",
    "token --cache-dir",
    "token --ca-file",
    "token --timeout",
    "token --min-valid",
    "token --format",
    "token --no-such-flag",
    "token --",
    "token",
    "--service-account",
    "header",
    "env",
    "env --shell",
    "exec",
    "exec --",
    "forget",
    "forget --service-account",
    "status",
    "status --service-account",
    "status --json --service-account",
    "status --cache-dir",
    "doctor",
    "kubernetes",
    "kubernetes --api-version",
    "help",
    "git",
    "bazel",
    "docker",
    "terraform",
    "terraform get",
    "setup",
    "setup account --service-account",
    "setup git --host",
    "setup git --host git.example.com --dry-run --service-account",
    "completions",
];

/// Whether text that is in `value` and in nothing else is in there.
fn holds_piece(bytes: &[u8], value: &str) -> bool {
    !pieces(value.as_bytes(), 16).is_disjoint(&pieces(bytes, 16))
}

/// Runs calls that get `value` where it does not belong, with and without `-v`.
struct Misplaced {
    world: World,
    folder: std::path::PathBuf,
}

impl Misplaced {
    fn new() -> Self {
        let world = world();
        world.token();
        let folder = world.path("working");
        fs::create_dir(&folder).unwrap();
        Self { world, folder }
    }

    fn check(&self, what: &str, value: &str, call: &Call<'_>) {
        let output = call.command().current_dir(&self.folder).output().unwrap();
        let told = [&output.stdout[..], &output.stderr].concat();
        let told_text = String::from_utf8_lossy(&told);
        assert!(!holds_secret(&told) && !holds_piece(&told, value), "{what}: {told_text}");
        assert!(!told_text.contains("panicked"), "{what}: {told_text}");
        if output.status.code() != Some(0) && !what.contains("doctor") && !what.contains("status") {
            assert!(told_text.contains("astra-credential: "), "{what}: {told_text}");
        }
        self.nothing_is_kept(what, value);
    }

    fn nothing_is_kept(&self, what: &str, value: &str) {
        assert_eq!(fs::read_dir(&self.folder).unwrap().count(), 0, "{what}: a file is left");
        for (path, bytes) in contents(self.world.home.path()) {
            if path != self.world.account_file() {
                let name = path.to_string_lossy().into_owned();
                assert!(!holds_secret(&bytes) && !holds_piece(&bytes, value), "{what}: {name}");
                assert!(!holds_piece(name.as_bytes(), value), "{what}: {name}");
            }
        }
    }
}

/// A quarter of the spellings, which differs from place to place; all of them where `is_whole`.
fn some_spellings(at: usize, is_whole: bool) -> impl Iterator<Item = (&'static str, String)> {
    let (first, step) = if is_whole { (0, 1) } else { (at % 4, 4) };
    spellings().into_iter().skip(first).step_by(step)
}

#[test]
fn an_account_in_any_spelling_in_any_variable_is_neither_shown_nor_kept() {
    let misplaced = Misplaced::new();
    for (at, name) in VARIABLES.into_iter().enumerate() {
        let is_of_the_network = name.contains("PROXY") || name.starts_with("SSL");
        let line = if is_of_the_network { "token --refresh --timeout 0.2 -v" } else { "token -v" };
        for (spelling, value) in some_spellings(at, name == "ASTRA_SERVICE_ACCOUNT") {
            for line in [line, "status"] {
                let call = misplaced.world.call(line).env(name, &value);
                misplaced.check(&format!("{spelling} in {name}: {line}"), &value, &call);
            }
            // The failure that was kept.
            misplaced.check(
                &format!("status after {spelling}"),
                &value,
                &misplaced.world.call("status --json"),
            );
        }
    }
}

#[test]
fn an_account_in_any_spelling_in_any_argument_is_neither_shown_nor_kept() {
    let misplaced = Misplaced::new();
    for (at, line) in LINES.into_iter().enumerate() {
        for (spelling, value) in some_spellings(at, line == "token --service-account") {
            let what = format!("{spelling} behind {line}");
            let call = misplaced.world.call(line).env("ASTRA_CREDENTIAL_TIMEOUT", "0.5");
            misplaced.check(&what, &value, &call.arg(&value));
        }
    }
    for (at, line) in ["token --ca-file=", "token --no-such-flag=", "--", "-"].iter().enumerate() {
        for (spelling, value) in some_spellings(at, false) {
            let call = misplaced.world.call("").env("ASTRA_CREDENTIAL_TIMEOUT", "0.5");
            let (before, last) = line.rsplit_once(' ').unwrap_or(("", line));
            let call = before.split_whitespace().fold(call, |call, word| call.arg(word));
            let call = call.arg(format!("{last}{value}"));
            misplaced.check(&format!("{spelling} in {line}"), &value, &call);
        }
    }
}

#[test]
fn doctor_shows_no_account_in_any_spelling() {
    let misplaced = Misplaced::new();
    // Each costs a look at the network.
    for (spelling, value) in spellings().into_iter().step_by(9) {
        for name in [VARIABLES[0], VARIABLES[4], VARIABLES[5], VARIABLES[6]] {
            let call = misplaced.world.call("doctor --timeout 0.5").env(name, &value);
            misplaced.check(&format!("doctor: {spelling} in {name}"), &value, &call);
        }
    }
}

#[test]
fn an_account_in_place_of_its_path_has_an_error_of_its_own() {
    let world = world();
    for (spelling, value) in spellings() {
        let said = world.call("token").env("ASTRA_SERVICE_ACCOUNT", &value).run().failure(3);
        assert!(said.contains("not certainly a path") && said.contains("/dev/stdin"), "{spelling}");
    }
}

#[test]
fn no_account_in_place_of_its_name_becomes_the_name_of_a_file() {
    let misplaced = Misplaced::new();
    for (spelling, value) in spellings() {
        for line in ["setup account", "setup git --host git.example.com"] {
            let call = misplaced.world.call(line).arg("--account").arg(&value);
            let done = call.input(misplaced.world.astra.account_json()).run();
            done.failure(2);
            misplaced.nothing_is_kept(&format!("{spelling} behind {line}"), &value);
        }
    }
    let account = misplaced.world.astra.account_json();
    for name in ["prod", "vhLkzQnWXbJmTYrGsPdCfAoE"] {
        let done = misplaced.world.call("setup account --account").arg(name).input(&*account).run();
        assert_eq!(done.code(), 0, "{done}");
    }
}

/// What is certainly a path is still named, and a file that exists works whatever its name is.
#[test]
fn a_path_is_shown_and_an_odd_one_works() {
    let world = world();
    let missing = world.call("token --service-account /none/astra/account.json").run().failure(3);
    assert!(missing.contains("`/none/astra/account.json`"), "{missing}");
    let odd = world.write(&format!("{SECRET}.json"), world.astra.account_json());
    world.call("token --service-account").arg(odd).run().quiet();
    let hash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let cache = world.path(hash).join("cache");
    world.call("token --cache-dir").arg(&cache).run().quiet();
    assert!(cache.is_dir());
}

/// A call that has sent its request and gets no answer, as long as it is wanted.
struct Hanging(Child);

impl Hanging {
    fn start(world: &World, mut command: Command) -> Self {
        world.astra.set_answer(|_, _| Reply::Hang);
        let before = world.astra.exchanges();
        let hanging = Self(command.spawn().unwrap());
        assert!(world.astra.wait_for_exchanges(before + 1, Duration::from_secs(10)));
        hanging
    }

    fn file(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.0.id())
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_secret_is_not_in_what_the_system_tells_of_the_process() {
    let witness = Witness::new();
    for line in ["token -v", "exec -- true", "kubernetes"] {
        let hanging = Hanging::start(&witness.world, witness.world.call(line).command());
        for name in ["environ", "cmdline", "comm", "status"] {
            let Ok(bytes) = fs::read(hanging.file(name)) else {
                skip(&format!("only root can read `{name}` of a process without dumps"));
                continue;
            };
            assert!(!bytes.is_empty() && !holds_secret(&bytes), "{line}: the secret in {name}");
        }
        witness.look_around(line);
    }
}

/// Whether it left a core when it was told to, in a folder of its own where it may.
fn leaves_a_core(world: &World, signal: &str, child: &mut Child) -> bool {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    let status = child.wait().unwrap();
    assert!(status.signal().is_some(), "{status}");
    let files = fs::read_dir(world.path("cores")).unwrap().count();
    status.core_dumped() || files > 0
}

#[test]
fn a_process_that_holds_the_secret_leaves_no_core() {
    let world = world();
    fs::create_dir(world.path("cores")).unwrap();
    let unlimited = |program: &str, arguments: &str| {
        let script = format!("ulimit -c unlimited && exec \"$0\" {arguments}");
        let mut command = world.call_as("/bin/sh", "-c").arg(script).arg(program).command();
        command.current_dir(world.path("cores"));
        command
    };
    // Not `QUIT`, which a shell has its background jobs ignore, and with them whatever they start.
    for signal in ["-ABRT", "-SEGV"] {
        let mut hanging = Hanging::start(&world, unlimited(crate::world::BINARY, "token"));
        assert!(!leaves_a_core(&world, signal, &mut hanging.0), "{signal}: a core");
    }
    // The same with a program that does not mind: the kernel says of a core that it left one.
    let mut sleep = unlimited("sleep", "10").stdout(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    if !leaves_a_core(&world, "-ABRT", &mut sleep) {
        let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
        skip(&format!("nothing leaves a core here (core_pattern is `{}`)", pattern.trim()));
    }
}

#[test]
fn nobody_but_root_looks_into_a_process_that_holds_the_secret() {
    needs!(root);
    const SOMEBODY: u32 = 12345;
    let world = world();
    let binary = world.path("astra-credential");
    fs::copy(crate::world::BINARY, &binary).unwrap();
    for path in [
        world.home.path().to_owned(),
        world.path(".config"),
        world.path(".config/astra-credential"),
        world.account_file(),
        world.path("ca.pem"),
    ] {
        chown(path, Some(SOMEBODY), Some(SOMEBODY)).unwrap();
    }
    let mut command = world.call_as(&binary, "token").command();
    command.uid(SOMEBODY).gid(SOMEBODY);
    let hanging = Hanging::start(&world, command);
    let owner = |name: &str| fs::metadata(hanging.file(name)).unwrap().uid();
    assert_eq!(fs::metadata(format!("/proc/{}", hanging.0.id())).unwrap().uid(), SOMEBODY);
    for name in ["mem", "environ", "maps"] {
        assert_eq!(owner(name), 0, "{name}");
        let tried = Command::new("head")
            .args(["-c", "1", &hanging.file(name)])
            .uid(SOMEBODY)
            .gid(SOMEBODY)
            .output()
            .unwrap();
        assert!(!tried.status.success(), "{name}");
    }
    let start = Instant::now();
    drop(hanging);
    assert!(start.elapsed() < Duration::from_secs(5));
}
