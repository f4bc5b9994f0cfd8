//! Kubernetes `ExecCredential`, `client.authentication.k8s.io/v1` and `v1beta1`:
//! <https://kubernetes.io/docs/reference/config-api/client-authentication.v1/>.
//!
//! The request is in the variable `KUBERNETES_EXEC_INFO`. Standard input is not read, because it may be a
//! terminal or a pipe without an end. The reply has the version of the request. A client refuses any other.

use serde::{Deserialize, Serialize};

use super::Host;
use crate::error::Error;
use crate::shown::{self, Escaped, quoted};
use crate::token::Credential;

const PROTOCOL: &str = "kubernetes";

/// The known versions. The first is the default.
const VERSIONS: [&str; 2] =
    ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];

/// The request, an `ExecCredential`. Other fields are ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    api_version: String,
    kind: String,
    spec: Option<Spec>,
}

#[derive(Deserialize)]
struct Spec {
    /// Present if the kubeconfig has `provideClusterInfo: true`.
    cluster: Option<Cluster>,
}

#[derive(Deserialize)]
struct Cluster {
    /// The URL of the API server.
    server: String,
}

/// The answer, an `ExecCredential`.
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

/// Answers the request in `KUBERNETES_EXEC_INFO`. `stated` is the version on the command line. Without a request,
/// the answer has that version or v1.
///
/// # Errors
/// The request is not an `ExecCredential` of a known version, its version is not the stated one, no account is
/// configured for its cluster, or `serve` fails.
#[inline(never)]
pub fn answer(
    exec_info: Option<&str>,
    stated: Option<&str>,
    serve: impl FnOnce(Option<&Host>) -> Result<Option<Credential>, Error>,
) -> Result<Vec<u8>, Error> {
    let (api_version, cluster) = read(exec_info, stated)
        .map_err(|problem| Error::Request { protocol: PROTOCOL, problem })?;
    let host = cluster.map(|cluster| Host::of_url(&cluster.server, &["https"])).transpose();
    let part = "the server of the cluster";
    let host = host.map_err(|why| Error::Url { protocol: PROTOCOL, part, why })?;
    let credential = serve(host.as_ref())?.ok_or_else(|| Error::NotOurs {
        protocol: PROTOCOL,
        host: host.map(|host| host.to_string()),
    })?;
    let reply = Reply {
        api_version,
        kind: "ExecCredential",
        status: Status {
            token: credential.bearer.expose(),
            expiration_timestamp: credential.expires.map(|instant| instant.to_string()),
        },
    };
    super::json_line(&reply)
}

/// The version of the answer, and the cluster if the request names one.
fn read(
    exec_info: Option<&str>,
    stated: Option<&str>,
) -> Result<(&'static str, Option<Cluster>), String> {
    let known = |version: &str| VERSIONS.into_iter().find(|known| *known == version);
    let stated = stated.map(|version| {
        known(&format!("client.authentication.k8s.io/{version}"))
            .ok_or_else(|| format!("`--api-version` is {}, not v1 or v1beta1", quoted(version)))
    });
    let stated = stated.transpose()?;
    let Some(exec_info) = exec_info else { return Ok((stated.unwrap_or(VERSIONS[0]), None)) };
    let request: Request = super::json_object(exec_info.as_bytes())
        .map_err(|error| format!("`KUBERNETES_EXEC_INFO` is no ExecCredential: {error}"))?;
    if request.kind != "ExecCredential" {
        return Err(format!(
            "`KUBERNETES_EXEC_INFO` is of kind {}, not `ExecCredential`",
            quoted(&request.kind)
        ));
    }
    let requested = known(&request.api_version).ok_or_else(|| {
        let (asked, v1) = (&request.api_version, VERSIONS[0]);
        // The value may be a secret, except for a short version of this group.
        let group = v1.trim_end_matches("v1");
        let is_known = asked.strip_prefix(group).is_some_and(|version| version.len() <= 10);
        let version = if is_known { Escaped(asked).to_string() } else { shown::redacted(asked) };
        format!("`apiVersion: {version}` is not spoken here; write `{v1}` into the kubeconfig")
    })?;
    if let Some(stated) = stated.filter(|stated| *stated != requested) {
        return Err(format!(
            "the client asks for `{requested}`, and `--api-version` is `{stated}`; leave it out, or write \
             the same into the kubeconfig"
        ));
    }
    Ok((requested, request.spec.and_then(|spec| spec.cluster)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{credential, serve_for};
    use proptest::prelude::*;

    fn answered(exec_info: Option<&str>) -> String {
        answered_as(None, exec_info)
    }

    /// The same with `--api-version`. The one cluster of ours is `ours.example:6443`.
    fn answered_as(stated: Option<&str>, exec_info: Option<&str>) -> String {
        let serve = |host: Option<&Host>| {
            host.map_or(Ok(Some(credential())), serve_for("ours.example:6443"))
        };
        match answer(exec_info, stated, serve) {
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
        let requested = r#"{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1","spec":{"interactive":false}}"#;
        insta::assert_snapshot!(answered(Some(requested)), @r#"{"apiVersion":"client.authentication.k8s.io/v1beta1","kind":"ExecCredential","status":{"token":"a.b.c","expirationTimestamp":"2020-07-25T00:13:52Z"}}"#);
    }

    #[test]
    fn a_version_on_the_command_line_is_for_a_client_that_states_none() {
        let asks = |version: &str| {
            format!(
                r#"{{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/{version}"}}"#
            )
        };
        let table = ["v1", "v1beta1"].map(|stated| {
            let unasked = answered_as(Some(stated), None);
            assert!(unasked.contains(&format!(r#"k8s.io/{stated}","kind""#)), "{unasked}");
            assert_eq!(answered_as(Some(stated), Some(&asks(stated))), unasked);
            ["v1", "v1beta1"].map(|requested| answered_as(Some(stated), Some(&asks(requested))))
        });
        assert!(table[0][0].contains("a.b.c") && table[1][1].contains("a.b.c"));
        insta::assert_snapshot!([table[0][1].as_str(), &table[1][0]].join("\n"), @"
        kubernetes: the client asks for `client.authentication.k8s.io/v1beta1`, and `--api-version` is `client.authentication.k8s.io/v1`; leave it out, or write the same into the kubeconfig
        kubernetes: the client asks for `client.authentication.k8s.io/v1`, and `--api-version` is `client.authentication.k8s.io/v1beta1`; leave it out, or write the same into the kubeconfig
        ");
    }

    #[test]
    fn a_cluster_that_is_named_decides_who_gets_the_token() {
        let cases = [
            r#""cluster":{"server":"https://ours.example:6443"}"#,
            r#""cluster":{"server":"https://OURS.example:6443/k8s/c-1","certificate-authority-data":"","config":null}"#,
            r#""cluster":null"#,
            r#""interactive":false"#,
            r#""cluster":{"server":"https://evil.example:6443"}"#,
            r#""cluster":{"server":"https://ours.example"}"#,
            r#""cluster":{"server":"https://ours.example:6443@evil.example"}"#,
            r#""cluster":{"server":"http://ours.example:6443"}"#,
            r#""cluster":{"server":"ours.example:6443"}"#,
            r#""cluster":{"server":"https://ours.example.:6443"}"#,
            r#""cluster":{"server":""}"#,
            r#""cluster":{"server":null}"#,
            r#""cluster":{}"#,
            r#""cluster":"https://ours.example:6443""#,
            r#""cluster":{"server":"https://evil.example","server":"https://ours.example:6443"}"#,
            r#""cluster":{"server":"https://evil.example"},"cluster":{"server":"https://ours.example:6443"}"#,
        ];
        let table: Vec<_> = cases
            .map(|spec| {
                let requested = format!(
                    r#"{{"kind":"ExecCredential","apiVersion":"{}","spec":{{{spec}}}}}"#,
                    VERSIONS[0]
                );
                let reply = answered(Some(&requested));
                let shown = if reply.contains("a.b.c") { "the token" } else { reply.trim_end() };
                format!("{spec}\n  {shown}")
            })
            .into();
        insta::assert_snapshot!(table.join("\n"), @r#"
        "cluster":{"server":"https://ours.example:6443"}
          the token
        "cluster":{"server":"https://OURS.example:6443/k8s/c-1","certificate-authority-data":"","config":null}
          the token
        "cluster":null
          the token
        "interactive":false
          the token
        "cluster":{"server":"https://evil.example:6443"}
          kubernetes: no account is configured for the host `evil.example:6443`
        "cluster":{"server":"https://ours.example"}
          kubernetes: no account is configured for the host `ours.example`
        "cluster":{"server":"https://ours.example:6443@evil.example"}
          kubernetes: the server of the cluster names a user in front of the host, and gets no token
        "cluster":{"server":"http://ours.example:6443"}
          kubernetes: the server of the cluster does not begin with `https://`, and gets no token
        "cluster":{"server":"ours.example:6443"}
          kubernetes: the server of the cluster does not begin with `https://`, and gets no token
        "cluster":{"server":"https://ours.example.:6443"}
          kubernetes: the server of the cluster has a dot at the end of the host's name, and gets no token
        "cluster":{"server":""}
          kubernetes: the server of the cluster does not begin with `https://`, and gets no token
        "cluster":{"server":null}
          kubernetes: `KUBERNETES_EXEC_INFO` is no ExecCredential: not of this form at line 1, column 104
        "cluster":{}
          kubernetes: `KUBERNETES_EXEC_INFO` is no ExecCredential: not of this form at line 1, column 92
        "cluster":"https://ours.example:6443"
          kubernetes: `KUBERNETES_EXEC_INFO` is no ExecCredential: not of this form at line 1, column 117
        "cluster":{"server":"https://evil.example","server":"https://ours.example:6443"}
          kubernetes: `KUBERNETES_EXEC_INFO` is no ExecCredential: not of this form at line 1, column 131
        "cluster":{"server":"https://evil.example"},"cluster":{"server":"https://ours.example:6443"}
          kubernetes: `KUBERNETES_EXEC_INFO` is no ExecCredential: not of this form at line 1, column 133
        "#);
    }

    #[test]
    fn a_token_without_expiry_leaves_the_field_out() {
        let endless = |_: Option<&Host>| Ok(Some(Credential { expires: None, ..credential() }));
        let reply = answer(None, None, endless).unwrap();
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
            r#"{"kind":"ExecCredential","apiVersion":"AstraCS:kQwZtYbN:9f2c4e8a1b7d3056"}"#,
            r#"{"kind":"9f2c4e8a1b7d3056c9e2","apiVersion":"client.authentication.k8s.io/v1"}"#,
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
        kubernetes: `apiVersion: (not shown: it may hold a secret)` is not spoken here; write `client.authentication.k8s.io/v1` into the kubeconfig
        kubernetes: `KUBERNETES_EXEC_INFO` is of kind (not shown: it may hold a secret), not `ExecCredential`
        kubernetes: `KUBERNETES_EXEC_INFO` is no ExecCredential: not JSON at line 1, column 1
        kubernetes: `KUBERNETES_EXEC_INFO` is no ExecCredential: not a JSON object
        kubernetes: `KUBERNETES_EXEC_INFO` is no ExecCredential: not a JSON object
        ");
    }

    proptest! {
        #[test]
        fn no_request_makes_the_parser_panic(request in any::<String>()) {
            let _ = read(Some(&request), None);
        }
    }
}
