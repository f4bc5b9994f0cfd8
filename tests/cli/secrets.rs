//! The client secret and the token appear nowhere but where they belong: the output and the files of every
//! kind of call are searched for pieces of them.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown, symlink};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use crate::processes::Process;
use crate::spellings::{SECRET, spellings};
use crate::stand_in::{Reply, Request};
use crate::world::{BINARY, Call, Done, World, contents, copy_binary, needs, path, set_mode, skip};

/// The length of the pieces of the secret that the search looks for.
const PIECE: usize = 8;
/// The length of the pieces of a token or of a misplaced value.
const LONG_PIECE: usize = 16;

/// All pieces of that length, in lower case.
fn pieces(bytes: &[u8], length: usize) -> HashSet<Vec<u8>> {
    bytes.to_ascii_lowercase().windows(length).map(<[u8]>::to_vec).collect()
}

/// The pieces of the secret, as it is and in each encoding.
static OF_SECRET: LazyLock<HashSet<Vec<u8>>> = LazyLock::new(|| {
    let hex: String = SECRET.bytes().map(|byte| format!("{byte:02x}")).collect();
    // Three characters are four of base64, and where they begin depends on the text before them.
    let coded = (0..3).map(|skipped| BASE64_STANDARD.encode(&SECRET[skipped..skipped + 33]));
    let forms = [SECRET.to_owned(), hex].into_iter().chain(coded);
    forms.flat_map(|form| pieces(form.as_bytes(), PIECE)).collect()
});

fn holds_secret(bytes: &[u8]) -> bool {
    !pieces(bytes, PIECE).is_disjoint(&OF_SECRET)
}

/// The pieces of a token's signature, which cannot be guessed.
fn pieces_of_token(token: &str) -> HashSet<Vec<u8>> {
    pieces(token.rsplit('.').next().unwrap().as_bytes(), LONG_PIECE)
}

fn holds_any(bytes: &[u8], hidden: &HashSet<Vec<u8>>) -> bool {
    !pieces(bytes, LONG_PIECE).is_disjoint(hidden)
}

/// A world whose account has [`SECRET`]. Runs calls, and searches their output and all files.
struct Witness {
    world: World,
    /// The working folder of the calls, which has to stay empty.
    folder: PathBuf,
    /// The pieces of every token that was issued.
    tokens: RefCell<HashSet<Vec<u8>>>,
}

impl Witness {
    fn new() -> Self {
        let world = World::new();
        world.astra.set_secret(SECRET);
        world.write_account(&world.astra.account_json());
        let folder = world.path("working");
        fs::create_dir(&folder).unwrap();
        Self { world, folder, tokens: RefCell::default() }
    }

    /// The same with a token in the cache.
    fn with_token() -> Self {
        let witness = Self::new();
        witness.world.token();
        witness
    }

    /// Runs a call that gets `value` where it does not belong. Neither its output nor a file may hold the
    /// value or the secret; a token may be on standard output only. A failure has to have a message.
    fn check_misplaced(&self, what: &str, value: &str, call: Call<'_>) {
        let done = self.run(what, value, call);
        let is_report = ["doctor", "status"].iter().any(|line| what.contains(line));
        let has_message = done.to_string().contains("! astra-credential: ");
        assert!(done.output.status.success() || is_report || has_message, "{what}: {done}");
    }

    fn run<'a>(&self, what: &str, value: &str, call: Call<'a>) -> Done<'a> {
        let done = call.in_folder(&self.folder).run();
        let last = self.world.astra.last_token();
        self.tokens.borrow_mut().extend(last.iter().flat_map(|token| pieces_of_token(token)));
        let value = pieces(value.as_bytes(), LONG_PIECE);
        for stream in [&done.output.stdout, &done.output.stderr] {
            assert!(!holds_secret(stream), "{what}: the secret in {done}");
            assert!(!holds_any(stream, &value), "{what}: the value in {done}");
        }
        let is_shown = holds_any(&done.output.stderr, &self.tokens.borrow());
        assert!(!is_shown, "{what}: the token in {done}");
        assert!(!done.to_string().contains("panicked"), "{what}: {done}");
        self.check_files(what, &value);
        done
    }

    /// Runs a call, and once more with the log, and searches for the secret and the tokens in the same way.
    /// Returns the exit code of the first.
    fn check<'a>(&'a self, what: &str, call: impl Fn(&'a World) -> Call<'a>) -> i32 {
        let first = self.run(what, "", call(&self.world));
        self.run(what, "", call(&self.world).env("ASTRA_CREDENTIAL_LOG", "1"));
        first.output.status.code().unwrap_or(-1)
    }

    /// Searches everything in the home, the account file aside.
    fn check_files(&self, what: &str, value: &HashSet<Vec<u8>>) {
        assert_eq!(fs::read_dir(&self.folder).unwrap().count(), 0, "{what}: a file is left");
        let files = contents(self.world.home.path());
        assert!(files.len() > 1);
        for (path, bytes) in files {
            let name = path.to_string_lossy().into_owned();
            let is_name_clean =
                !holds_secret(name.as_bytes()) && !holds_any(name.as_bytes(), value);
            assert!(is_name_clean, "{what}: the name `{name}`");
            if path != self.world.account_file() {
                assert!(!holds_secret(&bytes), "{what}: the secret in `{name}`");
                assert!(!holds_any(&bytes, value), "{what}: the value in `{name}`");
                let is_kept = holds_any(&bytes, &self.tokens.borrow());
                assert!(!is_kept, "{what}: the token in `{name}`");
            }
        }
    }
}

#[test]
fn the_search_finds_a_piece_of_the_secret_in_every_form() {
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
}

#[test]
fn the_search_finds_the_secret_and_the_token_where_they_belong() {
    let Witness { world, .. } = Witness::new();
    let token = world.token();
    assert!(holds_any(token.as_bytes(), &pieces_of_token(&token)));
    assert!(holds_secret(&fs::read(world.account_file()).unwrap()));
    assert!(holds_secret(&world.astra.requests()[0].body));
}

#[test]
fn no_call_that_succeeds_shows_the_secret_or_keeps_the_token() {
    let witness = Witness::with_token();
    let (host, token) = (witness.world.host(), witness.world.token());
    let question = witness.world.git_request();
    let credential = format!("protocol=https\nhost={host}\nusername=x\npassword={token}\n\n");
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
        ("git get", &question),
        ("git store", &credential),
        ("git erase", &credential),
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
        let code = witness.check(line, |world| world.call(line).input(input));
        // Docker's `store` prints that it stores nothing.
        assert!(code == 0 || line == "docker store", "{line}: {code}");
    }
    assert!(witness.world.astra.exchanges() > 5, "{}", witness.world.astra.exchanges());
}

#[test]
fn the_command_of_exec_gets_the_token_and_not_the_secret() {
    let witness = Witness::with_token();
    let script = "env; tr '\\0' '\\n' </proc/$$/cmdline; ls -l /proc/$$/fd";
    witness.check("exec", |world| world.call("exec -- sh -c").arg(script));
    let done = witness.world.call("exec -- env").run();
    assert!(done.quiet().contains(&format!("ASTRA_API_TOKEN={}", witness.world.token())));
}

#[test]
fn an_account_from_a_pipe_is_neither_shown_nor_kept() {
    let witness = Witness::with_token();
    let account = witness.world.astra.account_json();
    let code = witness.check("a pipe", |world| {
        world.call("token --refresh --service-account /dev/stdin").input(account.clone())
    });
    assert_eq!(code, 0);
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
fn no_answer_of_astras_makes_a_call_show_the_secret() {
    let witness = Witness::new();
    let host = witness.world.host();
    for (what, echo) in echoes() {
        witness.world.astra.set_answer(move |request, _| echo(request));
        let code = witness.check(what, |world| world.call("token --refresh --timeout 0.7"));
        assert!([1, 4, 5].contains(&code), "{what}: {code}");
        // The cached failure has the same message, in another form.
        witness.check(what, |world| world.call("docker get").input(&*host));
    }
    is_in_bodies_alone(&witness.world.astra.requests());
}

#[test]
fn an_exchange_sends_the_secret_in_its_body_alone() {
    let witness = Witness::new();
    for line in ["token", "token --refresh -v", "git get", "kubernetes --refresh"] {
        witness.world.call(line).input(witness.world.git_request()).run();
    }
    is_in_bodies_alone(&witness.world.astra.requests());
}

fn is_in_bodies_alone(requests: &[Request]) {
    assert!(requests.len() > 2, "{}", requests.len());
    for request in requests {
        assert!(holds_secret(&request.body));
        assert!(!holds_secret(request.path.as_bytes()), "{}", request.path);
        for (name, value) in &request.headers {
            assert!(!holds_secret(value.as_bytes()), "{name}");
        }
    }
}

#[test]
fn no_bad_route_to_astra_makes_a_call_show_the_secret() {
    let witness = Witness::new();
    let routes: [(&str, &str, &str); 9] = [
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
    for (name, before, after) in routes {
        let value =
            if after.is_empty() { before.to_owned() } else { format!("{before}{SECRET}{after}") };
        let code = witness
            .check(&value, |world| world.call("token --refresh --timeout 0.7").env(name, &value));
        assert!([1, 2, 5].contains(&code), "{name}={value}: {code}");
    }
}

#[test]
fn no_missing_answer_makes_a_call_show_the_secret() {
    let witness = Witness::new();
    witness.world.astra.set_answer(|_, _| Reply::Hang);
    witness.check("silence", |world| world.call("token --refresh --timeout 0.3"));
    witness.world.astra.set_answer(|_, _| Reply::Close);
    witness.check("a broken connection", |world| world.call("token --refresh --timeout 0.7"));
}

#[test]
fn no_malformed_account_file_is_quoted() {
    let witness = Witness::new();
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
    let host = witness.world.host();
    for account in accounts {
        witness.world.write_account(&account);
        for line in ["token", "kubernetes", "docker get", "forget"] {
            let code = witness.check(&account, |world| world.call(line).input(&*host));
            // Docker has an exit code of its own.
            assert!(code == 3 || line == "docker get" && code == 1, "{account}: {line}: {code}");
        }
    }
    assert_eq!(witness.world.astra.connections(), 0);
}

#[test]
fn an_account_file_that_is_open_to_others_is_not_quoted() {
    let witness = Witness::new();
    set_mode(&witness.world.account_file(), 0o644);
    assert_eq!(witness.check("exposed", |world| world.call("token")), 3);
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

/// The command lines to which a value is appended.
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

/// A quarter of the spellings, which differs from place to place; all of them if `is_whole`.
fn some_spellings(at: usize, is_whole: bool) -> impl Iterator<Item = (&'static str, String)> {
    let (first, step) = if is_whole { (0, 1) } else { (at % 4, 4) };
    spellings().into_iter().skip(first).step_by(step)
}

#[test]
fn an_account_in_any_spelling_in_any_variable_is_neither_shown_nor_kept() {
    let witness = Witness::with_token();
    for (at, name) in VARIABLES.into_iter().enumerate() {
        let is_of_the_network = name.contains("PROXY") || name.starts_with("SSL");
        let line = if is_of_the_network { "token --refresh --timeout 0.2 -v" } else { "token -v" };
        for (spelling, value) in some_spellings(at, name == "ASTRA_SERVICE_ACCOUNT") {
            for line in [line, "status"] {
                let call = witness.world.call(line).env(name, &value);
                witness.check_misplaced(&format!("{spelling} in {name}: {line}"), &value, call);
            }
            // The failure that was recorded.
            let call = witness.world.call("status --json");
            witness.check_misplaced(&format!("status after {spelling}"), &value, call);
        }
    }
}

#[test]
fn an_account_in_any_spelling_as_the_last_argument_is_neither_shown_nor_kept() {
    let witness = Witness::with_token();
    for (at, line) in LINES.into_iter().enumerate() {
        for (spelling, value) in some_spellings(at, line == "token --service-account") {
            let call = witness.world.call(line).env("ASTRA_CREDENTIAL_TIMEOUT", "0.5");
            let what = format!("{spelling} behind {line}");
            witness.check_misplaced(&what, &value, call.arg(&value));
        }
    }
}

#[test]
fn an_account_in_any_spelling_as_a_part_of_an_argument_is_neither_shown_nor_kept() {
    let witness = Witness::with_token();
    let lines = [("token", "--ca-file="), ("token", "--no-such-flag="), ("", "--"), ("", "-")];
    for (at, (line, start)) in lines.into_iter().enumerate() {
        for (spelling, value) in some_spellings(at, false) {
            let call = witness.world.call(line).env("ASTRA_CREDENTIAL_TIMEOUT", "0.5");
            let what = format!("{spelling} in {line} {start}");
            witness.check_misplaced(&what, &value, call.arg(format!("{start}{value}")));
        }
    }
}

#[test]
fn doctor_shows_no_account_in_any_spelling() {
    let witness = Witness::with_token();
    // Each call connects to the server.
    for (spelling, value) in spellings().into_iter().step_by(9) {
        for name in [VARIABLES[0], VARIABLES[4], VARIABLES[5], VARIABLES[6]] {
            let call = witness.world.call("doctor --timeout 0.5").env(name, &value);
            witness.check_misplaced(&format!("doctor: {spelling} in {name}"), &value, call);
        }
    }
}

/// A host, an account's name, a path and an argument in a tool's configuration may be the account.
#[test]
fn doctor_shows_no_account_that_is_in_a_tools_configuration() {
    needs!("git");
    let Witness { world, .. } = Witness::with_token();
    let check = |what: &str, value: &str, call: Call<'_>| {
        let shown = call.run().stdout();
        assert!(shown.matches("configured in").count() > 3, "{what}: {shown}");
        let is_clean = !holds_secret(shown.as_bytes())
            && !holds_any(shown.as_bytes(), &pieces(value.as_bytes(), LONG_PIECE));
        assert!(is_clean, "{what}: {shown}");
    };
    for folder in [".kube", ".docker", "bin"] {
        fs::create_dir(world.path(folder)).unwrap();
    }
    for (spelling, value) in spellings().into_iter().step_by(4) {
        let exec = |command: &str, arguments: serde_json::Value, env: serde_json::Value| {
            let exec = json!({"command": command, "args": arguments, "env": env});
            json!({"user": {"exec": exec}})
        };
        let account = json!([{"name": "ASTRA_CREDENTIAL_ACCOUNT", "value": value}]);
        let users = [
            exec("/no/astra-credential", json!(["--account", value]), json!(null)),
            exec("/no/astra-credential", json!([]), account.clone()),
            exec("astra-credential", json!([]), account),
            exec(&format!("{value}/astra-credential"), json!([]), json!(null)),
        ];
        let named = |(name, mut user): (usize, serde_json::Value)| {
            user["name"] = name.to_string().into();
            user
        };
        let users: Vec<_> = users.into_iter().enumerate().map(named).collect();
        world.write(".kube/config", json!({"users": users}).to_string());
        let docker = json!({"credHelpers": {value.clone(): "astra"}});
        world.write(".docker/config.json", docker.to_string());
        let _ = fs::remove_file(world.path(".gitconfig"));
        let _ = fs::remove_file(world.path(".bazelrc"));
        let path = format!("{}:{}", world.path("bin").display(), path());
        let doctor = || {
            let call = world.call("doctor --timeout 0.5").env("PATH", &path);
            call.env("ASTRA_CREDENTIAL_HOSTS", "a.example.com,b.example.com,c.example.com")
        };
        check(&format!("{spelling} in JSON"), &value, doctor());
        let word = value.replace(['\\', '"', '\n', '\r', '\'', '#', ' ', '\t', ';'], "");
        let helper = "/no/astra-credential git";
        let git = format!(
            "[credential]\n\thelper = store\n\
             [credential \"https://a.example.com\"]\n\thelper = astra --account {word}\n\
             [credential \"https://b.example.com\"]\n\thelper = {helper} --account {word}\n\
             [credential \"https://c.example.com\"]\n\thelper = /{word}/astra-credential git\n\
             [credential \"https://{word}\"]\n\thelper = {helper}\n\
             [credential \"https://{word}@d.example.com\"]\n\thelper = {helper}\n"
        );
        world.write(".gitconfig", git);
        let bazel = format!(
            "common --credential_helper={word}=/no/bazel-credential-astra\n\
             common --credential_helper=a.example.com=/{word}/bazel-credential-astra\n"
        );
        world.write(".bazelrc", bazel);
        fs::remove_file(world.path(".kube/config")).unwrap();
        fs::remove_file(world.path(".docker/config.json")).unwrap();
        for link in [true, false] {
            // With the link, the accounts and the helpers that git asks before are examined too.
            let at = world.path("bin/git-credential-astra");
            let _ = fs::remove_file(&at);
            if link {
                symlink(BINARY, at).unwrap();
            }
            check(&format!("{spelling} in text"), &word, doctor());
        }
    }
}

#[test]
fn an_account_in_place_of_its_path_has_an_error_of_its_own() {
    let Witness { world, .. } = Witness::new();
    for (spelling, value) in spellings() {
        let error = world.call("token").env("ASTRA_SERVICE_ACCOUNT", &value).run().failure(3);
        let is_named = error.contains("not certainly a path") && error.contains("/dev/stdin");
        assert!(is_named, "{spelling}");
    }
}

#[test]
fn no_account_in_place_of_its_name_becomes_the_name_of_a_file() {
    let witness = Witness::with_token();
    for (spelling, value) in spellings() {
        for line in ["setup account", "setup git --host git.example.com"] {
            let call = witness.world.call(line).arg("--account").arg(&value);
            let call = call.input(witness.world.astra.account_json());
            witness.run(&format!("{spelling} behind {line}"), &value, call).failure(2);
        }
    }
}

#[test]
fn a_name_of_an_account_may_look_random() {
    let Witness { world, .. } = Witness::new();
    for name in ["prod", "vhLkzQnWXbJmTYrGsPdCfAoE"] {
        let call = world.call("setup account --account").arg(name);
        let done = call.input(world.astra.account_json()).run();
        assert_eq!(done.code(), 0, "{done}");
    }
}

#[test]
fn a_value_that_is_certainly_a_path_is_shown() {
    let Witness { world, .. } = Witness::new();
    let missing = world.call("token --service-account /none/astra/account.json").run().failure(3);
    assert!(missing.contains("`/none/astra/account.json`"), "{missing}");
}

#[test]
fn a_file_and_a_folder_may_have_names_that_look_like_secrets() {
    let Witness { world, .. } = Witness::new();
    let account = world.write(&format!("{SECRET}.json"), world.astra.account_json());
    world.call("token --service-account").arg(account).run().quiet();
    let hash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let cache = world.path(hash).join("cache");
    world.call("token --cache-dir").arg(&cache).run().quiet();
    assert!(cache.is_dir());
}

#[test]
fn the_secret_is_not_in_the_files_of_proc_about_the_process() {
    let witness = Witness::new();
    witness.world.astra.set_answer(|_, _| Reply::Hang);
    for line in ["token -v", "exec -- true", "kubernetes"] {
        let hanging = Process::that_asks(&witness.world, &witness.world.call(line));
        for name in ["environ", "cmdline", "comm", "status"] {
            let Ok(bytes) = fs::read(hanging.file(name)) else {
                skip(&format!("only root can read `{name}` of a process without dumps"));
                continue;
            };
            assert!(!bytes.is_empty() && !holds_secret(&bytes), "{line}: the secret in {name}");
        }
        witness.check_files(line, &HashSet::new());
    }
}

/// Kills the process with that signal. True if it leaves a core, in the folder `cores` if it can.
fn leaves_a_core(world: &World, signal: &str, child: &mut Child) -> bool {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    let status = child.wait().unwrap();
    assert!(status.signal().is_some(), "{status}");
    let files = fs::read_dir(world.path("cores")).unwrap().count();
    status.core_dumped() || files > 0
}

/// A program without a limit on the size of a core, in the folder `cores`.
fn unlimited(world: &World, program: &str, arguments: &str) -> Command {
    fs::create_dir_all(world.path("cores")).unwrap();
    let script = format!("ulimit -c unlimited && exec \"$0\" {arguments}");
    let call = world.call_as("/bin/sh", "-c").arg(script).arg(program);
    call.in_folder(world.path("cores")).command()
}

#[test]
fn a_process_that_holds_the_secret_leaves_no_core() {
    let Witness { world, .. } = Witness::new();
    world.astra.set_answer(|_, _| Reply::Hang);
    // Not `QUIT`, which a shell sets to be ignored in its background jobs and their children.
    for signal in ["-ABRT", "-SEGV"] {
        let mut command = unlimited(&world, BINARY, "token");
        let mut hanging = Process::that_asks_as(&world, &mut command);
        assert!(!leaves_a_core(&world, signal, hanging.child()), "{signal}: a core");
    }
    // Another program leaves one, if the kernel writes cores at all.
    let mut sleep = unlimited(&world, "sleep", "10").stdout(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    if !leaves_a_core(&world, "-ABRT", &mut sleep) {
        let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
        skip(&format!("nothing leaves a core here (core_pattern is `{}`)", pattern.trim()));
    }
}

#[test]
fn only_root_can_look_into_a_process_that_holds_the_secret() {
    needs!(root);
    const USER: u32 = 12345;
    let Witness { world, .. } = Witness::new();
    let binary = world.path("astra-credential");
    copy_binary(&binary);
    for path in [
        world.home.path().to_owned(),
        world.path(".config"),
        world.path(".config/astra-credential"),
        world.account_file(),
        world.path("ca.pem"),
    ] {
        chown(path, Some(USER), Some(USER)).unwrap();
    }
    let mut command = world.call_as(&binary, "token").command();
    command.uid(USER).gid(USER);
    world.astra.set_answer(|_, _| Reply::Hang);
    let hanging = Process::that_asks_as(&world, &mut command);
    assert_eq!(fs::metadata(hanging.file("")).unwrap().uid(), USER);
    for name in ["mem", "environ", "maps"] {
        let file = hanging.file(name);
        assert_eq!(fs::metadata(&file).unwrap().uid(), 0, "{name}");
        let mut read = Command::new("head");
        let read = read.args(["-c", "1", &file]).uid(USER).gid(USER).output().unwrap();
        assert!(!read.status.success(), "{name}");
    }
    let start = Instant::now();
    drop(hanging);
    assert!(start.elapsed() < Duration::from_secs(5));
}

/// The number of `0x…`, which readelf prints.
fn hex(word: &str) -> usize {
    usize::from_str_radix(word.trim_start_matches("0x"), 16).unwrap()
}

#[test]
fn tables_of_functions_are_read_only_while_the_program_runs() {
    needs!("readelf");
    let Witness { world, .. } = Witness::new();
    world.astra.set_answer(|_, _| Reply::Hang);
    let hanging = Process::that_asks(&world, &world.call("token"));
    let Ok(maps) = fs::read_to_string(hanging.file("maps")) else {
        skip("only root can read `maps` of a process without dumps");
        return;
    };
    let headers = Command::new("readelf").args(["-lW", BINARY]).output().unwrap();
    let headers = String::from_utf8(headers.stdout).unwrap();
    // Type, offset, virtual address, physical address, size in the file, size in memory.
    let header = |kind: &str| -> Vec<&str> {
        let line = headers.lines().find(|line| line.trim_start().starts_with(kind));
        line.unwrap_or_else(|| panic!("no {kind}: {headers}")).split_whitespace().collect()
    };
    let mappings: Vec<(usize, usize, &str)> = maps
        .lines()
        .filter(|line| line.ends_with("/astra-credential"))
        .map(|line| {
            let (range, rest) = line.split_once(' ').unwrap();
            let (begin, end) = range.split_once('-').unwrap();
            (hex(begin), hex(end), &rest[..4])
        })
        .collect();
    let base = mappings[0].0 - hex(header("LOAD")[2]);
    let protected = header("GNU_RELRO");
    let begin = base + hex(protected[2]);
    let end = begin + hex(protected[5]);
    // The pages that hold nothing else.
    let of_it = |&&(first, last, _): &&(usize, usize, &str)| first < end && last > begin;
    let found: Vec<_> = mappings.iter().filter(of_it).collect();
    assert!(!found.is_empty(), "{begin:x}-{end:x}: {maps}");
    assert!(found.iter().all(|(.., mode)| *mode == "r--p"), "{begin:x}-{end:x}: {maps}");
}
