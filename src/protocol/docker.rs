//! Docker's credential helper: <https://github.com/docker/docker-credential-helpers#development>.
//!
//! An error is a text on standard *output*, with exit code 1. The caller recognises two of these texts: see
//! [`failed`].

use std::collections::BTreeMap;
use std::io::Read;

use serde::{Deserialize, Serialize};

use super::{Failed, Host};
use crate::error::Error;
use crate::token::{Credential, Secret};

const PROTOCOL: &str = "docker";

/// The name of this helper in Docker's configuration, for `docker-credential-astra`.
const NAME: &str = "astra";

/// The message for a server without a credential.
const NOT_FOUND: &str = "credentials not found in native keychain\n";

/// The user name. It may be any word except `<token>`, for which clients would send the secret as a refresh
/// token.
const USERNAME: &str = "token";

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Reply<'a> {
    #[serde(rename = "ServerURL")]
    server_url: &'a str,
    username: &'static str,
    secret: &'a str,
}

/// The part of Docker's `config.json` that has a helper for each server.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Configuration {
    cred_helpers: Option<BTreeMap<String, String>>,
}

/// Answers one call of `docker-credential-astra VERB`. `hosts` returns the hosts for `list`, and
/// `configuration` returns the content of Docker's `config.json`.
///
/// # Errors
/// The verb is unknown, the request is empty, no account is configured for the host of a `get`, or `serve` or
/// `forget` fails. [`failed`] converts the error to the protocol's form.
#[inline(never)]
pub fn answer(
    verb: &str,
    input: impl Read,
    hosts: impl FnOnce() -> Result<Vec<Host>, Error>,
    configuration: impl FnOnce() -> Option<Vec<u8>>,
    serve: impl FnOnce(&Host) -> Result<Option<Credential>, Error>,
    forget: impl FnOnce(&Host, Option<&Secret>) -> Result<(), Error>,
) -> Result<Vec<u8>, Error> {
    match verb {
        "get" => {
            let server = server(input)?;
            let host = host_of(&server);
            let credential = host.as_ref().map_or(Ok(None), serve)?;
            let credential = credential.ok_or_else(|| {
                let host = host.map(|host| host.to_string());
                if configuration().is_some_and(|json| names(&json, &server)) {
                    Error::Unbound { server: server.clone(), host }
                } else {
                    Error::NotOurs { protocol: PROTOCOL, host }
                }
            })?;
            super::json_line(&Reply {
                server_url: &server,
                username: USERNAME,
                secret: credential.bearer.expose(),
            })
        }
        "erase" => {
            let host = host_of(&server(input)?);
            host.map_or(Ok(()), |host| forget(&host, None)).map(|()| Vec::new())
        }
        // `docker login` stores the token that `get` has returned, so there is nothing to do.
        "store" => super::read_request(PROTOCOL, input).map(|_| Vec::new()),
        "list" => {
            let names = hosts()?.into_iter().map(|host| (host.to_string(), USERNAME));
            super::json_line(&names.collect::<BTreeMap<_, _>>())
        }
        "version" => Ok(concat!("astra-credential ", env!("CARGO_PKG_VERSION"), "\n").into()),
        _ => Err(super::unknown_verb(
            PROTOCOL,
            verb,
            "`get`, `store`, `erase`, `list` and `version`",
        )),
    }
}

/// A failed call: the text of `error` on standard output, the line on standard error, and exit code 1.
///
/// The protocol specifies the texts for a server without a credential and for an empty request. Any other text
/// is printed on both, because some of Docker's commands do not show a helper's standard output.
pub fn failed(error: Error) -> Failed {
    let line = format!("{error}; hint: {}", error.hint());
    let (stdout, stderr) = match error {
        Error::NotOurs { .. } => (NOT_FOUND.to_owned(), None),
        Error::Unbound { .. } => (NOT_FOUND.to_owned(), Some(line)),
        Error::EmptyRequest { .. } => ("no credentials server URL\n".to_owned(), None),
        _ => (format!("{line}\n"), Some(line)),
    };
    Failed { error, stderr, stdout, exit_code: 1 }
}

/// Reads the server's URL, unchanged.
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

/// The host of a server. Docker names a server with or without a scheme and a path.
fn host_of(server: &str) -> Option<Host> {
    let url = if server.contains("://") { server.to_owned() } else { format!("https://{server}") };
    Host::of_url(&url, &["https"]).ok()
}

/// True if `credHelpers` in Docker's configuration names this helper for that server.
fn names(configuration: &[u8], server: &str) -> bool {
    let Ok(configuration) = super::json_object::<Configuration>(configuration) else {
        return false;
    };
    let host = host_of(server);
    let is_server = |key: &str| key == server || (host.is_some() && host_of(key) == host);
    let helpers = configuration.cred_helpers.into_iter().flatten();
    helpers.into_iter().any(|(key, helper)| helper == NAME && is_server(&key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::serve_for;
    use proptest::prelude::*;

    fn answered(request: &[u8]) -> Result<Vec<u8>, Error> {
        let hosts = || Ok(Vec::new());
        answer("get", request, hosts, || None, serve_for("ours.example"), |_, _| Ok(()))
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

    #[test]
    fn a_server_with_this_helper_in_the_configuration_is_recognised() {
        let json = |helpers: &str| format!(r#"{{"auths":{{"x":{{}}}},"credHelpers":{helpers}}}"#);
        let cases = [
            ("evil.example", json(r#"{"evil.example":"astra"}"#)),
            ("https://EVIL.example/v1/\n", json(r#"{"evil.example":"astra"}"#)),
            ("evil.example.", json(r#"{"evil.example.":"astra"}"#)),
            ("evil.example", json(r#"{"evil.example":"gcloud","other.example":"astra"}"#)),
            ("evil.example", json(r#"{"evil.example:5000":"astra"}"#)),
            ("evil.example", json("null")),
            ("evil.example", r#"{"credsStore":"astra"}"#.to_owned()),
            ("evil.example", "[]".to_owned()),
            ("evil.example", String::new()),
            ("..", json(r#"{"...":"astra"}"#)),
        ];
        let table = cases.map(|(server, json)| {
            let json = || Some(json.clone().into_bytes());
            let serve = serve_for("ours.example");
            let hosts = || Ok(Vec::new());
            let done = answer("get", server.as_bytes(), hosts, json, serve, |_, _| Ok(()));
            let Failed { stdout, stderr, .. } = failed(done.unwrap_err());
            assert_eq!(stdout, "credentials not found in native keychain\n");
            format!("{server:?}: {}", stderr.as_deref().unwrap_or("no message"))
        });
        insta::assert_snapshot!(table.join("\n"), @r#"
        "evil.example": docker: the configuration names this helper for `evil.example`, and no account is configured for that host; hint: if it takes tokens of Astra, run `astra-credential setup docker --host evil.example`, or name it in `ASTRA_CREDENTIAL_HOSTS`
        "https://EVIL.example/v1/\n": docker: the configuration names this helper for `https://EVIL.example/v1/`, and no account is configured for that host; hint: if it takes tokens of Astra, run `astra-credential setup docker --host evil.example`, or name it in `ASTRA_CREDENTIAL_HOSTS`
        "evil.example.": docker: the configuration names this helper for `evil.example.`, and no account is configured for that host; hint: if it takes tokens of Astra, run `astra-credential setup docker --host HOST[:PORT]`, or name it in `ASTRA_CREDENTIAL_HOSTS`
        "evil.example": no message
        "evil.example": no message
        "evil.example": no message
        "evil.example": no message
        "evil.example": no message
        "evil.example": no message
        "..": no message
        "#);
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
