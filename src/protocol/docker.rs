//! Docker's credential helpers: <https://github.com/docker/docker-credential-helpers#development>.
//!
//! Errors are text on standard *output* with exit code 1, and two sentences mean something to the
//! caller: see [`failure`].

use std::collections::BTreeMap;
use std::io::Read;

use serde::Serialize;

use super::Host;
use crate::error::Error;
use crate::token::{Credential, Secret};

const PROTOCOL: &str = "docker";

/// Any fixed word but `<token>`, which would make clients send the secret as a refresh token.
const USERNAME: &str = "token";

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Reply<'a> {
    #[serde(rename = "ServerURL")]
    server_url: &'a str,
    username: &'static str,
    secret: &'a str,
}

/// Answers one call of `docker-credential-astra VERB`. `hosts` gives the hosts that `list` names.
///
/// # Errors
/// An unknown verb, an empty request, a `get` for a host that is not ours, or `serve` or `forget`
/// fails; to be written as [`failure`] says.
#[inline(never)]
pub fn answer(
    verb: &str,
    input: impl Read,
    hosts: impl FnOnce() -> Result<Vec<Host>, Error>,
    serve: impl FnOnce(&Host) -> Result<Option<Credential>, Error>,
    forget: impl FnOnce(&Host, Option<&Secret>) -> Result<(), Error>,
) -> Result<Vec<u8>, Error> {
    match verb {
        "get" => {
            let server = server(input)?;
            let credential = host_of(&server).map_or(Ok(None), |host| serve(&host))?;
            let credential = credential.ok_or(Error::NotOurs { protocol: PROTOCOL })?;
            super::json_line(
                PROTOCOL,
                &Reply {
                    server_url: &server,
                    username: USERNAME,
                    secret: credential.bearer.expose(),
                },
            )
        }
        "erase" => {
            let host = host_of(&server(input)?);
            host.map_or(Ok(()), |host| forget(&host, None)).map(|()| Vec::new())
        }
        // `docker login` stores the token that it got from `get`: there is nothing to keep.
        "store" => super::read_request(PROTOCOL, input).map(|_| Vec::new()),
        "list" => {
            let names = hosts()?.into_iter().map(|host| (host.to_string(), USERNAME));
            super::json_line(PROTOCOL, &names.collect::<BTreeMap<_, _>>())
        }
        "version" => Ok(concat!("astra-credential ", env!("CARGO_PKG_VERSION"), "\n").into()),
        _ => Err(super::unknown_verb(
            PROTOCOL,
            verb,
            "`get`, `store`, `erase`, `list` and `version`",
        )),
    }
}

/// What standard output says of `error`: a sentence that clients know, or a line that is for people,
/// which the second value tells.
pub fn failure(error: &Error) -> (String, bool) {
    match error {
        Error::NotOurs { .. } => ("credentials not found in native keychain\n".to_owned(), false),
        Error::EmptyRequest { .. } => ("no credentials server URL\n".to_owned(), false),
        other => (format!("{other}; hint: {}\n", other.hint()), true),
    }
}

/// The server's URL, as the caller wrote it.
fn server(input: impl Read) -> Result<String, Error> {
    let request = super::read_request(PROTOCOL, input)?;
    let text = String::from_utf8(request).map_err(|_| Error::Request {
        protocol: PROTOCOL,
        problem: "the server's URL is not UTF-8".to_owned(),
    })?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() {
        return Err(Error::EmptyRequest { protocol: PROTOCOL });
    }
    Ok(line.to_owned())
}

/// The host of a server, which Docker names with or without scheme and path.
fn host_of(server: &str) -> Option<Host> {
    let url = if server.contains("://") { server.to_owned() } else { format!("https://{server}") };
    Host::of_url(&url, &["https"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::serve_for;
    use proptest::prelude::*;

    fn answered(request: &[u8]) -> Result<Vec<u8>, Error> {
        answer("get", request, || Ok(Vec::new()), serve_for("ours.example"), |_, _| Ok(()))
    }

    #[test]
    fn a_server_is_named_with_or_without_scheme_and_path() {
        for server in
            ["ours.example", "ours.example\n", "https://OURS.example/v1/\r\n", "ours.example:443/x"]
        {
            let reply = String::from_utf8(answered(server.as_bytes()).unwrap()).unwrap();
            assert!(reply.contains(r#""Username":"token","Secret":"a.b.c""#), "{reply}");
        }
    }

    proptest! {
        #[test]
        fn no_request_makes_the_parser_panic_or_gets_a_stranger_a_token(
            request in any::<Vec<u8>>(),
            name in "(https?://)?[a-z.@:/?#\\\\]{0,12}evil[a-z.@:/?#]{0,12}",
        ) {
            prop_assert!(answered(&request).is_err());
            let is_ours = name.starts_with("ours.example/") || name.starts_with("https://ours.example/");
            prop_assert!(is_ours || answered(name.as_bytes()).is_err());
        }
    }
}
