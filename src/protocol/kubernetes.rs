//! Kubernetes `ExecCredential`, `client.authentication.k8s.io/v1` and `v1beta1`:
//! <https://kubernetes.io/docs/reference/config-api/client-authentication.v1/>.
//!
//! The request is a variable, not stdin, which may be a terminal or a pipe that never ends. A reply
//! in another version than the request's is refused by the client, so the version is echoed.

use serde::{Deserialize, Serialize};

use super::Host;
use crate::error::{Error, Shown};
use crate::token::Credential;

const PROTOCOL: &str = "kubernetes";
const V1: &str = "client.authentication.k8s.io/v1";
const V1BETA1: &str = "client.authentication.k8s.io/v1beta1";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    api_version: String,
    kind: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reply<'a> {
    api_version: &'static str,
    kind: &'static str,
    status: Status<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status<'a> {
    token: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration_timestamp: Option<String>,
}

/// Answers the request in `KUBERNETES_EXEC_INFO`; without one, as v1.
///
/// # Errors
/// The request is no `ExecCredential` of a version that is spoken here, or `serve` fails.
#[inline(never)]
pub fn answer(
    exec_info: Option<&str>,
    serve: impl FnOnce(Option<&Host>) -> Result<Option<Credential>, Error>,
) -> Result<Vec<u8>, Error> {
    let api_version = exec_info
        .map_or(Ok(V1), version)
        .map_err(|problem| Error::Request { protocol: PROTOCOL, problem })?;
    let credential = serve(None)?.ok_or(Error::NotOurs { protocol: PROTOCOL })?;
    let reply = Reply {
        api_version,
        kind: "ExecCredential",
        status: Status {
            token: credential.bearer.expose(),
            expiration_timestamp: credential.expires.map(|instant| instant.to_string()),
        },
    };
    super::json_line(PROTOCOL, &reply)
}

fn version(exec_info: &str) -> Result<&'static str, String> {
    let request: Request = super::json_object(exec_info.as_bytes())
        .map_err(|error| format!("`KUBERNETES_EXEC_INFO` is no ExecCredential: {}", error))?;
    if request.kind != "ExecCredential" {
        return Err(format!(
            "`KUBERNETES_EXEC_INFO` is of kind `{}`, not `ExecCredential`",
            Shown(&request.kind)
        ));
    }
    match request.api_version.as_str() {
        V1 => Ok(V1),
        V1BETA1 => Ok(V1BETA1),
        other => Err(format!(
            "`apiVersion: {}` is not spoken here; write `{V1}` into the kubeconfig",
            Shown(other)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::credential;
    use proptest::prelude::*;

    fn answered(exec_info: Option<&str>) -> String {
        match answer(exec_info, |_| Ok(Some(credential()))) {
            Ok(reply) => String::from_utf8(reply).unwrap(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn without_a_request_the_answer_is_v1() {
        insta::assert_snapshot!(answered(None), @r#"{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"a.b.c","expirationTimestamp":"2020-07-25T00:13:52Z"}}"#);
    }

    #[test]
    fn the_version_asked_in_is_answered_in() {
        let asked = r#"{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1","spec":{"interactive":false}}"#;
        insta::assert_snapshot!(answered(Some(asked)), @r#"{"apiVersion":"client.authentication.k8s.io/v1beta1","kind":"ExecCredential","status":{"token":"a.b.c","expirationTimestamp":"2020-07-25T00:13:52Z"}}"#);
    }

    #[test]
    fn a_token_without_expiry_leaves_the_field_out() {
        let endless = |_: Option<&Host>| Ok(Some(Credential { expires: None, ..credential() }));
        let reply = answer(None, endless).unwrap();
        insta::assert_snapshot!(String::from_utf8(reply).unwrap(), @r#"{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"a.b.c"}}"#);
    }

    #[test]
    fn any_other_request_is_an_error() {
        let deep = "[".repeat(10_000);
        let cases = [
            r#"{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1alpha1"}"#,
            r#"{"kind":"ExecCredential","apiVersion":"v1"}"#,
            r#"{"kind":"ExecCredential"}"#,
            r#"{"kind":"Pod","apiVersion":"client.authentication.k8s.io/v1"}"#,
            r#"{"apiVersion":"client.authentication.k8s.io/v1"}"#,
            r#"{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","apiVersion":"v1"}"#,
            "null",
            "[]",
            "not json",
            "{",
            "\u{1b}[31m",
            &deep,
        ];
        let table: Vec<_> = cases.map(|case| answered(Some(case))).into();
        insta::assert_snapshot!(table.join("\n"), @"
        kubernetes: `apiVersion: client.authentication.k8s.io/v1alpha1` is not spoken here; write `client.authentication.k8s.io/v1` into the kubeconfig
        kubernetes: `apiVersion: v1` is not spoken here; write `client.authentication.k8s.io/v1` into the kubeconfig
        kubernetes: `KUBERNETES_EXEC_INFO` is no ExecCredential: not of this form at line 1, column 25
        kubernetes: `KUBERNETES_EXEC_INFO` is of kind `Pod`, not `ExecCredential`
        kubernetes: `KUBERNETES_EXEC_INFO` is no ExecCredential: not of this form at line 1, column 48
        kubernetes: `KUBERNETES_EXEC_INFO` is no ExecCredential: not of this form at line 1, column 84
        kubernetes: `KUBERNETES_EXEC_INFO` is no ExecCredential: not a JSON object
        kubernetes: `KUBERNETES_EXEC_INFO` is no ExecCredential: not a JSON object
        kubernetes: `KUBERNETES_EXEC_INFO` is no ExecCredential: not a JSON object
        kubernetes: `KUBERNETES_EXEC_INFO` is no ExecCredential: not JSON at line 1, column 1
        kubernetes: `KUBERNETES_EXEC_INFO` is no ExecCredential: not a JSON object
        kubernetes: `KUBERNETES_EXEC_INFO` is no ExecCredential: not a JSON object
        ");
    }

    proptest! {
        #[test]
        fn no_request_makes_the_parser_panic(request in any::<String>()) {
            let _ = version(&request);
        }
    }
}
