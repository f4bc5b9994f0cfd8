//! The credentials helper of Terraform and OpenTofu, and the `external` data source:
//! <https://developer.hashicorp.com/terraform/internals/credentials-helpers>,
//! <https://registry.terraform.io/providers/hashicorp/external/latest/docs/data-sources/external>.
//!
//! The answer for a host without an account is `{}`, which is not a failure. `get` and `forget` do not read
//! standard input. `store` always fails, after it has read standard input to its end.

use std::collections::BTreeMap;
use std::io::Read;

use serde::Serialize;

use super::Host;
use crate::error::Error;
use crate::token::{Credential, Secret};

const PROTOCOL: &str = "terraform";

/// The answer of `get` and of `external`. All values are strings, because an external data source requires it.
#[derive(Serialize)]
struct Reply<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
}

/// Answers one call of `terraform-credentials-astra VERB HOST`. The verb `external` has no host.
///
/// # Errors
/// The verb is unknown or `store`, the host is missing, the query is malformed, or `serve` or `forget` fails.
#[inline(never)]
pub fn answer(
    verb: &str,
    host: Option<&str>,
    input: impl Read,
    serve: impl FnOnce(Option<&Host>) -> Result<Option<Credential>, Error>,
    forget: impl FnOnce(&Host, Option<&Secret>) -> Result<(), Error>,
) -> Result<Vec<u8>, Error> {
    let problem = |problem: String| Error::Request { protocol: PROTOCOL, problem };
    let host = || host.map(Host::parse).ok_or_else(|| problem(format!("`{verb}` needs a host")));
    match verb {
        "get" => {
            let credential = host()?.map_or(Ok(None), |host| serve(Some(&host)))?;
            let token = credential.as_ref().map(|credential| credential.bearer.expose());
            super::json_line(&Reply { token, expires: None })
        }
        "forget" => host()?.map_or(Ok(()), |host| forget(&host, None)).map(|()| Vec::new()),
        "store" => {
            super::read_request(PROTOCOL, input)?;
            Err(problem("nothing can be stored: tokens come from the service account".to_owned()))
        }
        "external" => {
            let query = super::read_request(PROTOCOL, input)?;
            super::json_object::<BTreeMap<String, String>>(&query).map_err(|error| {
                problem(format!("the query is not a JSON object of strings: {error}"))
            })?;
            let credential = serve(None)?;
            let credential = credential.ok_or(Error::NotOurs { protocol: PROTOCOL, host: None })?;
            let token = Some(credential.bearer.expose());
            let expires = credential.expires.map(|instant| instant.to_string());
            super::json_line(&Reply { token, expires })
        }
        _ => Err(super::unknown_verb(PROTOCOL, verb, "`get`, `store`, `forget` and `external`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{credential, serve_for};
    use proptest::prelude::*;

    fn answered(verb: &str, host: Option<&str>, query: &[u8]) -> Result<Vec<u8>, Error> {
        let serve = |host: Option<&Host>| {
            host.map_or(Ok(Some(credential())), serve_for("ours.example:8443"))
        };
        answer(verb, host, query, serve, |_, _| Ok(()))
    }

    #[test]
    fn every_value_of_an_external_data_source_is_a_string() {
        let reply = String::from_utf8(answered("external", None, b"{}").unwrap()).unwrap();
        assert_eq!(reply, "{\"token\":\"a.b.c\",\"expires\":\"2020-07-25T00:13:52Z\"}\n");
    }

    proptest! {
        #[test]
        fn no_query_makes_the_parser_panic(query in any::<Vec<u8>>()) {
            let _ = answered("external", None, &query);
        }

        #[test]
        fn a_host_is_ours_or_gets_an_empty_object(host in any::<String>()) {
            let reply = answered("get", Some(&host), b"").unwrap();
            prop_assert_eq!(reply, b"{}\n");
        }
    }
}
