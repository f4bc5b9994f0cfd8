//! The credential helper of Bazel, with EngFlow's specification:
//! <https://github.com/EngFlow/credential-helper-spec/blob/main/spec.md>.
//!
//! Bazel calls the helper once for each distinct URI, in parallel, with a time-out of 10 s. It ignores a reply
//! without `headers`, and a reply whose expiry has a fraction of a second.

use std::io::Read;

use serde::{Deserialize, Serialize};

use super::Host;
use crate::error::Error;
use crate::token::{Credential, Secret};

const PROTOCOL: &str = "bazel";

/// The request. Other properties are ignored.
#[derive(Deserialize)]
struct Request {
    uri: String,
}

#[derive(Serialize)]
struct Reply<'a> {
    headers: Headers<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
}

#[derive(Serialize)]
struct Headers<'a> {
    #[serde(rename = "Authorization")]
    authorization: [&'a str; 1],
}

/// Answers one call of `HELPER VERB`.
///
/// # Errors
/// The verb is not `get`, the request is malformed, no account is configured for the URI's host, or `serve`
/// fails.
#[inline(never)]
pub fn answer(
    verb: &str,
    input: impl Read,
    serve: impl FnOnce(&Host) -> Result<Option<Credential>, Error>,
) -> Result<Vec<u8>, Error> {
    if verb != "get" {
        return Err(super::unknown_verb(PROTOCOL, verb, "`get`"));
    }
    let request = super::read_request(PROTOCOL, input)?;
    let Request { uri } = super::json_object(&request).map_err(|error| Error::Request {
        protocol: PROTOCOL,
        problem: format!("the request is not `{{\"uri\":\"https://…\"}}`: {error}"),
    })?;
    let host = Host::of_url(&uri, &["https", "grpcs"]);
    let host = host.map_err(|why| Error::Url { protocol: PROTOCOL, part: "the URI", why })?;
    let credential = serve(&host)?
        .ok_or_else(|| Error::NotOurs { protocol: PROTOCOL, host: Some(host.to_string()) })?;
    let header = Secret::new(format!("Bearer {}", credential.bearer.expose()));
    let reply = Reply {
        headers: Headers { authorization: [header.expose()] },
        expires: credential.expires.map(|instant| instant.to_string()),
    };
    super::json_line(&reply)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{credential, serve_for};
    use proptest::prelude::*;

    fn answered(verb: &str, request: &[u8]) -> String {
        match answer(verb, request, serve_for("ours.example")) {
            Ok(reply) => String::from_utf8(reply).unwrap(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_uri_of_ours_gets_the_header() {
        insta::assert_snapshot!(answered("get", br#"{"uri":"https://ours.example/a?b=c","more":[1]}"#), @r#"{"headers":{"Authorization":["Bearer a.b.c"]},"expires":"2020-07-25T00:13:52Z"}"#);
        assert!(answered("get", br#"{"uri":"grpcs://ours.example"}"#).contains("Bearer a.b.c"));
    }

    #[test]
    fn a_token_without_expiry_leaves_the_field_out() {
        let endless = |_: &Host| Ok(Some(Credential { expires: None, ..credential() }));
        let reply = answer("get", br#"{"uri":"https://ours.example"}"#.as_slice(), endless);
        insta::assert_snapshot!(String::from_utf8(reply.unwrap()).unwrap(), @r#"{"headers":{"Authorization":["Bearer a.b.c"]}}"#);
    }

    #[test]
    fn anything_else_is_an_error() {
        let deep = "[".repeat(10_000);
        let cases = [
            ("get", r#"{"uri":"https://evil.example/?ours.example"}"#),
            ("get", r#"{"uri":"https://ours.example@evil.example/"}"#),
            ("get", r#"{"uri":"https://ours.example:444/"}"#),
            ("get", r#"{"uri":"http://ours.example/"}"#),
            ("get", r#"{"uri":"https://me@ours.example/"}"#),
            ("get", r#"{"uri":"https://ours.example:0443/"}"#),
            ("get", r#"{"uri":"https://ours.example./"}"#),
            ("get", r#"{"uri":"https://ours.example/#x"}"#),
            ("get", r#"{"uri":"https://ours.example/a b"}"#),
            ("get", r#"{"uri":"ours.example"}"#),
            ("get", r#"{"uri":"https://ours.example","uri":"https://ours.example"}"#),
            ("get", r#"{"uri":"https://ours.example"} x"#),
            ("get", r#"{"uri":null}"#),
            ("get", "{}"),
            ("get", ""),
            ("get", &deep),
            ("fetch", r#"{"uri":"https://ours.example"}"#),
        ];
        let table: Vec<_> = cases.map(|(verb, request)| answered(verb, request.as_bytes())).into();
        insta::assert_snapshot!(table.join("\n"), @r#"
        bazel: no account is configured for the host `evil.example`
        bazel: the URI names a user in front of the host, and gets no token
        bazel: no account is configured for the host `ours.example:444`
        bazel: the URI does not begin with `https://`, and gets no token
        bazel: the URI names a user in front of the host, and gets no token
        bazel: the URI has a port that is not a plain number from 1 to 65535, and gets no token
        bazel: the URI has a dot at the end of the host's name, and gets no token
        bazel: the URI has a fragment, which no request has, and gets no token
        bazel: the URI has a backslash, a space or another character that no URL has, and gets no token
        bazel: the URI does not begin with `https://`, and gets no token
        bazel: the request is not `{"uri":"https://…"}`: not of this form at line 1, column 35
        bazel: the request is not `{"uri":"https://…"}`: not JSON at line 1, column 32
        bazel: the request is not `{"uri":"https://…"}`: not of this form at line 1, column 11
        bazel: the request is not `{"uri":"https://…"}`: not of this form at line 1, column 2
        bazel: the request is not `{"uri":"https://…"}`: not a JSON object
        bazel: the request is not `{"uri":"https://…"}`: not a JSON object
        bazel: unknown verb `fetch`, known are `get`
        "#);
    }

    proptest! {
        #[test]
        fn no_request_makes_the_parser_panic(request in any::<Vec<u8>>()) {
            answered("get", &request);
        }

        #[test]
        fn no_uri_gets_a_token_out_for_another_host(uri in "https://[a-z.@:/?#\\\\]{0,20}evil[a-z.@:/?#]{0,20}") {
            let request = serde_json::json!({ "uri": uri }).to_string();
            let reply = answered("get", request.as_bytes());
            prop_assert!(!reply.contains("a.b.c") || uri.starts_with("https://ours.example/"));
        }
    }
}
