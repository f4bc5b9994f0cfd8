//! git's credential protocol: <https://git-scm.com/docs/git-credential#IOFMT> and
//! <https://git-scm.com/docs/gitcredentials#_custom_helpers>.
//!
//! Only LF ends a line. Helpers that accept a bare CR as a line end have sent passwords to other hosts
//! (CVE-2024-52006, CVE-2024-50338). `str::lines` is not used, because it strips a CR.
//!
//! For a host without an account the output is empty, and git calls its next helper.

use std::io::BufRead;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::Zeroizing;

use super::{Failed, Host, LARGEST_REQUEST, read_request, too_large};
use crate::error::Error;
use crate::token::{Credential, Secret};

mod challenge;

const PROTOCOL: &str = "git";

/// The user name, if the token is the password. Servers ignore it, but clients refuse an empty one.
const USERNAME: &str = "token";

/// The capability of git to read `authtype` and `credential`, since version 2.46.
const AUTHTYPE: &str = "authtype";

/// The output of a failed `get` for a configured host. git reads it despite the exit code. Without it, git would
/// prompt for a user name and a password.
const QUIT: &str = "quit=1\n";

/// The parts of a request that the answer depends on.
#[derive(Debug)]
struct Request {
    /// `None` if the request is not for `https`, or its host cannot be one of an account.
    host: Option<Host>,
    form: Form,
    /// The token in the request.
    named: Option<Secret>,
}

/// The form of the token for the caller.
#[derive(Clone, Copy, Debug)]
enum Form {
    /// `username` and `password`, for a caller without the capability `authtype`.
    Password,
    /// `authtype=Bearer`.
    Bearer,
    /// `authtype=Basic`, for a caller with that capability whose server accepts only passwords.
    Basic,
}

/// Answers one call of `git-credential-astra VERB`. `is_ours` returns true if an account is configured for the
/// host. It is called only if `serve` fails.
///
/// # Errors
/// The request is malformed, or `serve` or `forget` fails.
#[inline(never)]
pub fn answer(
    verb: &str,
    input: impl BufRead,
    is_ours: impl FnOnce(&Host) -> bool,
    serve: impl FnOnce(&Host) -> Result<Option<Credential>, Error>,
    forget: impl FnOnce(&Host, Option<&Secret>) -> Result<(), Error>,
) -> Result<Vec<u8>, Failed> {
    match verb {
        "capability" => Ok(format!("version 0\ncapability {AUTHTYPE}\n").into_bytes()),
        "get" => {
            let Request { host, form, named: _ } = read(input)?;
            let Some(host) = host else { return Ok(Vec::new()) };
            let credential = serve(&host).map_err(|error| {
                let stdout = if is_ours(&host) { QUIT } else { "" };
                Failed { stdout: stdout.to_owned(), ..Failed::from(error) }
            })?;
            Ok(credential.map_or_else(Vec::new, |credential| reply(&credential, form).into_bytes()))
        }
        "erase" => {
            let Request { host, form: _, named } = read(input)?;
            host.map_or(Ok(()), |host| forget(&host, named.as_ref()))?;
            Ok(Vec::new())
        }
        // `store` passes the token that `get` has returned, so there is nothing to do. Other verbs are ignored,
        // as git's documentation requires.
        _ => {
            let _ = read_request(PROTOCOL, input);
            Ok(Vec::new())
        }
    }
}

/// Writes the answer. It contains no key of the request. With a `host=`, git would connect to that host.
fn reply(credential: &Credential, form: Form) -> String {
    let token = credential.bearer.expose();
    // git ignores `authtype` and `credential` unless the capability comes first.
    let typed = |authtype: &str, credential: &str| {
        format!(
            "capability[]={AUTHTYPE}\nauthtype={authtype}\ncredential={credential}\nephemeral=1\n"
        )
    };
    let mut reply = match form {
        Form::Password => format!("username={USERNAME}\npassword={token}\n"),
        Form::Bearer => typed("Bearer", token),
        Form::Basic => {
            let pair = Zeroizing::new(format!("{USERNAME}:{token}"));
            typed("Basic", &Zeroizing::new(BASE64.encode(pair.as_bytes())))
        }
    };
    if let Some(expires) = credential.expires {
        reply += &format!("password_expiry_utc={}\n", expires.unix());
    }
    reply
}

/// Reads `key=value` lines up to a blank line or the end.
fn read(input: impl BufRead) -> Result<Request, Error> {
    let problem = |problem: String| Error::Request { protocol: PROTOCOL, problem };
    let mut lines = input.take(LARGEST_REQUEST + 1);
    let mut fields = Fields::default();
    loop {
        let mut line = Vec::new();
        lines
            .read_until(b'\n', &mut line)
            .map_err(|why| Error::RequestUnreadable { protocol: PROTOCOL, why })?;
        if lines.limit() == 0 {
            return Err(too_large(PROTOCOL));
        }
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        if line.is_empty() {
            break;
        }
        fields.take(line).map_err(problem)?;
    }
    fields.into_request().map_err(|defect| problem(defect.to_owned()))
}

/// The fields of a request.
#[derive(Default)]
struct Fields {
    protocol: Option<String>,
    host: Option<String>,
    url: Option<String>,
    has_authtype: bool,
    offers_basic: bool,
    offers_bearer: bool,
    authtype: Option<String>,
    credential: Option<Secret>,
    password: Option<Secret>,
}

impl Fields {
    /// Reads a line. The error is the defect, without the line.
    fn take(&mut self, line: &[u8]) -> Result<(), String> {
        let line = std::str::from_utf8(line).map_err(|_| "a line is not UTF-8".to_owned())?;
        if line.contains(['\r', '\0']) {
            return Err("a line holds a carriage return or a NUL".to_owned());
        }
        let (key, value) = line.split_once('=').ok_or("a line has no `=`")?;
        let set_once = |field: &mut Option<String>| match field.replace(value.to_owned()) {
            Some(_) => Err(format!("`{key}` is there twice")),
            None => Ok(()),
        };
        match key {
            "protocol" => set_once(&mut self.protocol)?,
            "host" => set_once(&mut self.host)?,
            "url" => set_once(&mut self.url)?,
            "authtype" => self.authtype = Some(value.to_owned()),
            "credential" => self.credential = Some(Secret::new(value.to_owned())),
            "password" => self.password = Some(Secret::new(value.to_owned())),
            // An empty value resets an array: <https://git-scm.com/docs/git-credential#IOFMT>.
            "capability[]" => {
                self.has_authtype = !value.is_empty() && (self.has_authtype || value == AUTHTYPE);
            }
            "wwwauth[]" => {
                let offers = |earlier: bool, scheme| {
                    !value.is_empty() && (earlier || challenge::has_scheme(value, scheme))
                };
                self.offers_basic = offers(self.offers_basic, "Basic");
                self.offers_bearer = offers(self.offers_bearer, "Bearer");
            }
            _ => {}
        }
        Ok(())
    }

    fn into_request(self) -> Result<Request, &'static str> {
        let host = match (self.protocol.as_deref(), self.host.as_deref(), self.url.as_deref()) {
            (None, None, Some(url)) => Host::of_url(url, &["https"]).ok(),
            (.., Some(_)) => return Err("`url` is given together with `protocol` or `host`"),
            (None, ..) => return Err("`protocol` is missing"),
            (Some(""), ..) => return Err("`protocol` is empty"),
            (Some("https"), None, _) => return Err("`host` is missing"),
            (Some("https"), Some(""), _) => return Err("`host` is empty"),
            (Some("https"), Some(host), _) => Host::parse(host),
            // No account is for another protocol. A host is not required there: git's own `cert`, for the
            // password of a client certificate, has none.
            _ => None,
        };
        let form = match (self.has_authtype, self.offers_basic, self.offers_bearer) {
            (false, ..) => Form::Password,
            (true, true, false) => Form::Basic,
            (true, ..) => Form::Bearer,
        };
        let is_basic = self.authtype.is_some_and(|it| it.eq_ignore_ascii_case("Basic"));
        // `erase` repeats the fields of the answer: `credential` with `authtype`, or `password`.
        let named = match self.credential {
            Some(credential) if is_basic => Some(password_of(&credential).unwrap_or(credential)),
            Some(credential) => Some(credential),
            None => self.password,
        };
        Ok(Request { host, form, named })
    }
}

/// The password in a credential of the scheme `Basic` (RFC 7617).
fn password_of(credential: &Secret) -> Option<Secret> {
    let pair = Zeroizing::new(BASE64.decode(credential.expose()).ok()?);
    let (_, password) = std::str::from_utf8(&pair).ok()?.split_once(':')?;
    Some(Secret::new(password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::AccountError;
    use crate::protocol::{credential, serve_for};
    use proptest::prelude::*;

    /// The answer to `request`. An error, and a call of `forget` for our host, is in brackets.
    fn answered(verb: &str, request: &[u8]) -> String {
        let forgotten = std::cell::Cell::new(String::new());
        let forget = |host: &Host, named: Option<&Secret>| {
            if host.to_string() == "ours.example" {
                forgotten.set(format!("[forget {:?}]", named.map(Secret::expose)));
            }
            Ok(())
        };
        match answer(verb, request, |_| true, serve_for("ours.example"), forget) {
            Ok(reply) => String::from_utf8(reply).unwrap() + &forgotten.take(),
            Err(Failed { error, stdout, .. }) => format!("[{error}]{stdout}"),
        }
    }

    /// The form of the answer to a `get` for our host with those lines.
    fn form(lines: &str) -> &'static str {
        let request = format!("{lines}\nprotocol=https\nhost=ours.example\n");
        match answered("get", request.as_bytes()) {
            reply if reply.starts_with("username=token\npassword=a.b.c\n") => "password",
            reply if reply.contains("\nauthtype=Bearer\ncredential=a.b.c\n") => "Bearer",
            reply if reply.contains("\nauthtype=Basic\ncredential=dG9rZW46YS5iLmM=\n") => "Basic",
            reply => panic!("{reply}"),
        }
    }

    #[test]
    fn a_caller_that_knows_authtype_gets_a_bearer() {
        let request = b"capability[]=authtype\ncapability[]=state\nprotocol=https\nhost=ours.example\nwwwauth[]=Bearer\n\n";
        insta::assert_snapshot!(answered("get", request), @"
        capability[]=authtype
        authtype=Bearer
        credential=a.b.c
        ephemeral=1
        password_expiry_utc=1595636032
        ");
    }

    #[test]
    fn a_server_that_takes_basic_alone_gets_the_same_token_in_that_form() {
        let request = b"capability[]=authtype\nprotocol=https\nhost=ours.example\nwwwauth[]=Basic realm=\"x\"\n";
        insta::assert_snapshot!(answered("get", request), @"
        capability[]=authtype
        authtype=Basic
        credential=dG9rZW46YS5iLmM=
        ephemeral=1
        password_expiry_utc=1595636032
        ");
    }

    #[test]
    fn the_form_follows_the_capability_and_the_schemes_of_the_server() {
        let cases = [
            "x=",
            "capability[]=state",
            "capability[]=authtypes",
            "capability[]=authtype\ncapability[]=state",
            "capability[]=state\ncapability[]=authtype",
            "capability[]=authtype\ncapability[]=",
            "capability[]=authtype\ncapability[]=\ncapability[]=authtype",
            "wwwauth[]=Basic",
            "wwwauth[]=Bearer",
            "capability[]=authtype\nwwwauth[]=Basic",
            "wwwauth[]=bAsIc realm=\"x\"\ncapability[]=authtype",
            "capability[]=authtype\nwwwauth[]=Bearer\nwwwauth[]=Basic",
            "capability[]=authtype\nwwwauth[]=Basic\nwwwauth[]=Bearer",
            "capability[]=authtype\nwwwauth[]=Digest a=b, Basic\nwwwauth[]=Negotiate",
            "capability[]=authtype\nwwwauth[]=Negotiate, Digest a=b",
            "capability[]=authtype\nwwwauth[]=Basic\nwwwauth[]=",
            "capability[]=authtype\nwwwauth[]=Bearer\nwwwauth[]=\nwwwauth[]=Basic",
            "capability[]=authtype\nwwwauth=Basic",
        ];
        let table = cases.map(|case| format!("{}: {case:?}", form(case)));
        insta::assert_snapshot!(table.join("\n"), @r#"
        password: "x="
        password: "capability[]=state"
        password: "capability[]=authtypes"
        Bearer: "capability[]=authtype\ncapability[]=state"
        Bearer: "capability[]=state\ncapability[]=authtype"
        password: "capability[]=authtype\ncapability[]="
        Bearer: "capability[]=authtype\ncapability[]=\ncapability[]=authtype"
        password: "wwwauth[]=Basic"
        password: "wwwauth[]=Bearer"
        Basic: "capability[]=authtype\nwwwauth[]=Basic"
        Basic: "wwwauth[]=bAsIc realm=\"x\"\ncapability[]=authtype"
        Bearer: "capability[]=authtype\nwwwauth[]=Bearer\nwwwauth[]=Basic"
        Bearer: "capability[]=authtype\nwwwauth[]=Basic\nwwwauth[]=Bearer"
        Basic: "capability[]=authtype\nwwwauth[]=Digest a=b, Basic\nwwwauth[]=Negotiate"
        Bearer: "capability[]=authtype\nwwwauth[]=Negotiate, Digest a=b"
        Bearer: "capability[]=authtype\nwwwauth[]=Basic\nwwwauth[]="
        Basic: "capability[]=authtype\nwwwauth[]=Bearer\nwwwauth[]=\nwwwauth[]=Basic"
        Bearer: "capability[]=authtype\nwwwauth=Basic"
        "#);
    }

    #[test]
    fn a_failure_for_a_host_of_ours_tells_git_to_quit() {
        let fails = |request: &str| {
            let is_ours = |host: &Host| host.to_string() == "ours.example";
            let serve = |_: &Host| Err(Error::Account(AccountError::Unnamed));
            answer("get", request.as_bytes(), is_ours, serve, |_, _| Ok(())).unwrap_err().stdout
        };
        assert_eq!(fails("protocol=https\nhost=ours.example\n"), "quit=1\n");
        assert_eq!(fails("protocol=https\nhost=evil.example\n"), "");
        assert_eq!(fails("protocol=https\nhost=ours.example\nhost=x\n"), "");
        let erase = b"protocol=https\nhost=ours.example\n".as_slice();
        let forget = |_: &Host, _: Option<&Secret>| Err(Error::Account(AccountError::Unnamed));
        let serve = serve_for("ours.example");
        let failed = answer("erase", erase, |_| true, serve, forget).unwrap_err();
        assert_eq!(failed.stdout, "");
    }

    #[test]
    fn an_older_caller_gets_a_username_and_a_password() {
        insta::assert_snapshot!(answered("get", b"protocol=https\nhost=OURS.example:443\npath=x\n"), @"
        username=token
        password=a.b.c
        password_expiry_utc=1595636032
        ");
    }

    #[test]
    fn a_token_without_expiry_has_no_expiry_line() {
        let endless = Credential { expires: None, ..credential() };
        assert_eq!(reply(&endless, Form::Password), "username=token\npassword=a.b.c\n");
    }

    #[test]
    fn a_url_stands_in_for_protocol_and_host() {
        assert!(answered("get", b"url=https://ours.example/x.git\n").starts_with("username="));
        assert_eq!(answered("get", b"url=https://ours.example@evil.example/\n"), "");
    }

    #[test]
    fn only_what_is_ours_is_answered() {
        let hosts = [
            "evil.example",
            "ours.example.evil",
            "evil-ours.example",
            "ours.example:444",
            "ours.example.",
            "ours.example@evil.example",
            "evil@ours.example",
            "ours.example/",
            "ours%2eexample",
            "ours.example:",
            "[::1]",
            " ours.example",
        ];
        for host in hosts {
            let request = format!("protocol=https\nhost={host}\n\n");
            assert_eq!(answered("get", request.as_bytes()), "", "{host}");
            assert_eq!(answered("erase", request.as_bytes()), "", "{host}");
        }
        assert_eq!(answered("get", b"protocol=http\nhost=ours.example\n\n"), "");
        assert_eq!(answered("get", b"protocol=HTTPS\nhost=ours.example\n\n"), "");
    }

    #[test]
    fn another_protocol_than_https_is_not_ours_even_without_a_host() {
        // git's own, for the password of a client certificate.
        let cert = b"protocol=cert\nhost=\npath=/home/me/client.pem\nusername=\n";
        assert_eq!(answered("get", cert), "");
        assert_eq!(answered("erase", cert), "");
        for protocol in ["http", "imap", "imaps", "smtp", "ssh", "socks5", "file", "cert"] {
            for host in ["host=ours.example\n", "host=\n", ""] {
                let request = format!("protocol={protocol}\n{host}");
                assert_eq!(answered("get", request.as_bytes()), "", "{request}");
            }
        }
        assert_eq!(answered("get", b"url=cert:///home/me/client.pem\n"), "");
    }

    #[test]
    fn a_malformed_request_is_refused() {
        let requests: [&[u8]; 14] = [
            b"",
            b"\n",
            b"protocol=https\n",
            b"host=ours.example\n",
            b"protocol=\nhost=ours.example\n",
            b"protocol=https\nhost=\n",
            b"protocol=https\nhost=ours.example\nhost=evil.example\n",
            b"protocol=https\nprotocol=https\nhost=ours.example\n",
            b"protocol=https\nhost=ours.example\r\n",
            b"protocol=https\nhost=evil.example\rhost=ours.example\n",
            b"protocol=https\nhost=ours.example\0\n",
            b"protocol=https\nhost=ours.example\nnonsense\n",
            b"protocol=https\nhost=ours.example\nx=\xff\n",
            b"url=https://ours.example/\nhost=evil.example\n",
        ];
        let table: Vec<_> = requests.map(|request| answered("get", request)).into();
        insta::assert_snapshot!(table.join("\n"), @"
        [git: `protocol` is missing]
        [git: `protocol` is missing]
        [git: `host` is missing]
        [git: `protocol` is missing]
        [git: `protocol` is empty]
        [git: `host` is empty]
        [git: `host` is there twice]
        [git: `protocol` is there twice]
        [git: a line holds a carriage return or a NUL]
        [git: a line holds a carriage return or a NUL]
        [git: a line holds a carriage return or a NUL]
        [git: a line has no `=`]
        [git: a line is not UTF-8]
        [git: `url` is given together with `protocol` or `host`]
        ");
    }

    #[test]
    fn erase_names_the_token_it_was_given() {
        let names = |lines: &str| {
            let request = format!("protocol=https\nhost=ours.example\n{lines}");
            answered("erase", request.as_bytes())
        };
        for lines in [
            "password=x.y.z\n",
            "authtype=Bearer\ncredential=x.y.z\n",
            "authtype=Basic\ncredential=dG9rZW46eC55Lno=\n",
            "credential=dG9rZW46eC55Lno=\nauthtype=basic\n",
        ] {
            assert_eq!(names(lines), r#"[forget Some("x.y.z")]"#, "{lines}");
        }
        // The credential of another helper does not name a token of ours.
        let other = names("authtype=Basic\ncredential=%%%\n");
        assert_eq!(other, r#"[forget Some("%%%")]"#);
        let other = names("authtype=Bearer\ncredential=dG9rZW46eC55Lno=\n");
        assert_eq!(other, r#"[forget Some("dG9rZW46eC55Lno=")]"#);
        assert_eq!(answered("erase", b"protocol=https\nhost=ours.example\n"), "[forget None]");
    }

    #[test]
    fn capability_lists_the_capabilities_and_other_verbs_print_nothing() {
        assert_eq!(answered("capability", b""), "version 0\ncapability authtype\n");
        for verb in ["store", "approve", "", "GET"] {
            assert_eq!(answered(verb, b"protocol=https\nhost=ours.example\npassword=x\n\n"), "");
        }
    }

    #[test]
    fn a_line_of_64_kib_is_read_and_an_endless_one_refused() {
        let long = "x".repeat(64 * 1024);
        let request = format!("protocol=https\nwwwauth[]={long}\nhost=ours.example\n");
        assert!(answered("get", request.as_bytes()).starts_with("username="));
        let endless = vec![b'x'; 2 * 1024 * 1024];
        assert_eq!(answered("get", &endless), "[git: the request is larger than 1 MiB]");
        let padded = |length| {
            let mut request = b"protocol=https\nhost=ours.example\nx=".to_vec();
            request.resize(length, b'x');
            answered("get", &request)
        };
        assert!(padded(1 << 20).starts_with("username="));
        assert_eq!(padded((1 << 20) + 1), "[git: the request is larger than 1 MiB]");
    }

    proptest! {
        #[test]
        fn no_request_makes_the_parser_panic(request in any::<Vec<u8>>()) {
            let _ = read(request.as_slice());
        }

        #[test]
        fn no_line_in_between_gets_a_token_out_for_another_host(line in "[a-z=\\[\\]\r\t /:@.]{0,40}") {
            let request = format!("protocol=https\n{line}\nhost=evil.example\n\n");
            prop_assert!(!answered("get", request.as_bytes()).contains("a.b.c"));
        }

        #[test]
        fn the_servers_text_does_not_decide_if_there_is_an_answer(text in "[^\r\n\0]{0,60}") {
            form(&format!("capability[]=authtype\nwwwauth[]={text}"));
        }
    }
}
