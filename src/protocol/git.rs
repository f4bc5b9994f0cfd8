//! git's credential protocol: <https://git-scm.com/docs/git-credential#IOFMT> and
//! <https://git-scm.com/docs/gitcredentials#_custom_helpers>.
//!
//! Lines end in LF and in nothing else. Helpers that took a bare CR for a line end sent tokens to
//! strangers (CVE-2024-52006, CVE-2024-50338), and `str::lines` strips one.
//!
//! A host that is not ours is answered by silence, so that git asks its next helper.

use std::io::BufRead;

use super::{Host, LARGEST_REQUEST, read_request};
use crate::error::Error;
use crate::token::{Credential, Secret};

const PROTOCOL: &str = "git";

/// Clients refuse an empty user name; which one it is does not matter next to a bearer token.
const USERNAME: &str = "token";

/// The capability under which git understands `Bearer` (since 2.46).
const AUTHTYPE: &str = "authtype";

/// The parts of a request that the answer depends on.
#[derive(Debug, Default)]
struct Request {
    host: Option<Host>,
    knows_authtype: bool,
    password: Option<Secret>,
}

/// Answers one call of `git-credential-astra VERB`.
///
/// # Errors
/// A malformed `get` or `erase`, or `serve` or `forget` fails.
#[inline(never)]
pub fn answer(
    verb: &str,
    input: impl BufRead,
    serve: impl FnOnce(&Host) -> Result<Option<Credential>, Error>,
    forget: impl FnOnce(&Host, Option<&Secret>) -> Result<(), Error>,
) -> Result<Vec<u8>, Error> {
    match verb {
        "capability" => Ok(format!("version 0\ncapability {AUTHTYPE}\n").into_bytes()),
        "get" => {
            let request = read(input)?;
            let credential = request.host.map_or(Ok(None), |host| serve(&host))?;
            Ok(credential.map_or_else(Vec::new, |credential| {
                reply(&credential, request.knows_authtype).into_bytes()
            }))
        }
        "erase" => {
            let Request { host, password, .. } = read(input)?;
            host.map_or(Ok(()), |host| forget(&host, password.as_ref())).map(|()| Vec::new())
        }
        // git stores the token that it got from `get`: there is nothing to keep. git's documentation
        // wants an unknown verb ignored.
        _ => {
            let _ = read_request(PROTOCOL, input);
            Ok(Vec::new())
        }
    }
}

/// Never an echo of the request: a `host=` in a reply sends git elsewhere.
fn reply(credential: &Credential, knows_authtype: bool) -> String {
    let token = credential.bearer.expose();
    let mut reply = if knows_authtype {
        // The capability goes first, or git does not take the lines that it covers.
        format!("capability[]={AUTHTYPE}\nauthtype=Bearer\ncredential={token}\nephemeral=1\n")
    } else {
        format!("username={USERNAME}\npassword={token}\n")
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
    let mut total = 0;
    loop {
        let mut line = Vec::new();
        let length = lines
            .read_until(b'\n', &mut line)
            .map_err(|error| problem(format!("cannot read the request: {error}")))?;
        total += length as u64;
        if total > LARGEST_REQUEST {
            return Err(problem("the request is larger than 1 MiB".to_owned()));
        }
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        if line.is_empty() {
            break;
        }
        fields.take(line).map_err(problem)?;
    }
    fields.into_request().map_err(problem)
}

#[derive(Default)]
struct Fields {
    protocol: Option<String>,
    host: Option<String>,
    url: Option<String>,
    knows_authtype: bool,
    password: Option<Secret>,
}

impl Fields {
    fn take(&mut self, line: &[u8]) -> Result<(), String> {
        let line = std::str::from_utf8(line).map_err(|_| "a line is not UTF-8".to_owned())?;
        if line.contains(['\r', '\0']) {
            return Err("a line holds a carriage return or a NUL".to_owned());
        }
        let (key, value) = line.split_once('=').ok_or("a line has no `=`")?;
        let field = match key {
            "protocol" => &mut self.protocol,
            "host" => &mut self.host,
            "url" => &mut self.url,
            // git sends back what it got: `credential` beside `authtype`, else `password`.
            "credential" | "password" => {
                self.password = Some(Secret::new(value.to_owned()));
                return Ok(());
            }
            "capability[]" => {
                self.knows_authtype |= value == AUTHTYPE;
                return Ok(());
            }
            _ => return Ok(()),
        };
        if field.replace(value.to_owned()).is_some() {
            return Err(format!("`{key}` is there twice"));
        }
        Ok(())
    }

    fn into_request(self) -> Result<Request, String> {
        let host = match (self.protocol, self.host, self.url) {
            (None, None, Some(url)) => Host::of_url(&url, &["https"]),
            (Some(protocol), Some(host), None) => {
                for (key, value) in [("protocol", &protocol), ("host", &host)] {
                    if value.is_empty() {
                        return Err(format!("`{key}` is empty"));
                    }
                }
                Host::parse(&host).filter(|_| protocol == "https")
            }
            (_, _, Some(_)) => return Err("`url` stands beside `protocol` or `host`".to_owned()),
            (None, _, None) => return Err("`protocol` is missing".to_owned()),
            (_, None, None) => return Err("`host` is missing".to_owned()),
        };
        Ok(Request { host, knows_authtype: self.knows_authtype, password: self.password })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        match answer(verb, request, serve_for("ours.example"), forget) {
            Ok(reply) => String::from_utf8(reply).unwrap() + &forgotten.take(),
            Err(error) => format!("[{error}]"),
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
        assert_eq!(reply(&endless, false), "username=token\npassword=a.b.c\n");
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
        [git: `url` stands beside `protocol` or `host`]
        ");
    }

    #[test]
    fn erase_names_the_token_it_was_given() {
        let named = b"protocol=https\nhost=ours.example\nauthtype=Bearer\ncredential=x.y.z\n";
        assert_eq!(answered("erase", named), r#"[forget Some("x.y.z")]"#);
        assert_eq!(answered("erase", b"protocol=https\nhost=ours.example\n"), "[forget None]");
    }

    #[test]
    fn capability_says_what_is_known_and_anything_else_is_met_with_silence() {
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
    }
}
