//! The client secret and the token appear nowhere but where they belong: the output and the files of every
//! kind of call are searched for pieces of them.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::spellings::SECRET;
use crate::stand_in::{Reply, Request};
use crate::world::{Call, Done, World, contents, set_mode};

/// The length of the pieces of the secret that the search looks for.
const PIECE: usize = 8;
/// The length of the pieces of a token or of a misplaced value.
pub const LONG_PIECE: usize = 16;

/// All pieces of that length, in lower case.
pub fn pieces(bytes: &[u8], length: usize) -> HashSet<Vec<u8>> {
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

pub fn holds_secret(bytes: &[u8]) -> bool {
    !pieces(bytes, PIECE).is_disjoint(&OF_SECRET)
}

/// The pieces of a token's signature, which cannot be guessed.
fn pieces_of_token(token: &str) -> HashSet<Vec<u8>> {
    pieces(token.rsplit('.').next().unwrap().as_bytes(), LONG_PIECE)
}

pub fn holds_any(bytes: &[u8], hidden: &HashSet<Vec<u8>>) -> bool {
    !pieces(bytes, LONG_PIECE).is_disjoint(hidden)
}

/// A world whose account has [`SECRET`]. Runs calls, and searches their output and all files.
pub struct Witness {
    pub world: World,
    /// The working folder of the calls, which has to stay empty.
    folder: PathBuf,
    /// The pieces of every token that was issued.
    tokens: RefCell<HashSet<Vec<u8>>>,
}

impl Witness {
    pub fn new() -> Self {
        let world = World::new();
        world.astra.set_secret(SECRET);
        world.write_account(&world.astra.account_json());
        let folder = world.path("working");
        fs::create_dir(&folder).unwrap();
        Self { world, folder, tokens: RefCell::default() }
    }

    /// The same with a token in the cache.
    pub fn with_token() -> Self {
        let witness = Self::new();
        witness.world.token();
        witness
    }

    /// Runs a call that gets `value` where it does not belong. Neither its output nor a file may hold the
    /// value or the secret; a token may be on standard output only. A failure has to have a message.
    pub fn check_misplaced(&self, what: &str, value: &str, call: Call<'_>) {
        let done = self.run(what, value, call);
        let is_report = ["doctor", "status"].iter().any(|line| what.contains(line));
        let has_message = done.to_string().contains("! astra-credential: ");
        assert!(done.output.status.success() || is_report || has_message, "{what}: {done}");
    }

    pub fn run<'a>(&self, what: &str, value: &str, call: Call<'a>) -> Done<'a> {
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
    pub fn check<'a>(&'a self, what: &str, call: impl Fn(&'a World) -> Call<'a>) -> i32 {
        let first = self.run(what, "", call(&self.world));
        self.run(what, "", call(&self.world).env("ASTRA_CREDENTIAL_LOG", "1"));
        first.output.status.code().unwrap_or(-1)
    }

    /// Searches everything in the home, the account file aside.
    pub fn check_files(&self, what: &str, value: &HashSet<Vec<u8>>) {
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
