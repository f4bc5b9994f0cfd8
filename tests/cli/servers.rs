//! Servers that require a token of the stand-in, with as much of each as the real client needs.
//!
//! Each is a [`Resource`], which answers 401 without an accepted token, and records its requests.

#![allow(dead_code, reason = "the tests and the example each use a part")]
#![allow(clippy::expect_used, reason = "a stand-in that cannot start has to stop the test")]

use super::stand_in::{Astra, Authority, Reply, Request, TlsServer};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::io::{Seek as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use tempfile::TempDir;

/// A server that requires a token, and its requests.
pub struct Resource {
    server: TlsServer,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// A request and the status of its answer.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The client's request.
    pub request: Request,
    /// The status of the answer.
    pub status: u16,
}

impl Asked {
    /// The token in the request: the bearer, or the password of a pair.
    pub fn token(&self) -> Option<String> {
        bearer(&self.request).or_else(|| password(&self.request))
    }
}

impl Resource {
    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// `https://localhost:PORT`, without a slash at the end.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Every request so far, in the order of arrival.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The same as lines to compare: `GET /path 200`.
    pub fn transcript(&self) -> Vec<String> {
        let line = |asked: &Asked| {
            format!("{} {} {}", asked.request.method, asked.request.path, asked.status)
        };
        self.asked().iter().map(line).collect()
    }

    fn start(
        authority: &Authority,
        astra: &Astra,
        guard: Guard,
        handler: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let (tokens, asked) = (astra.tokens(), Arc::<Mutex<Vec<Asked>>>::default());
        let record = Arc::clone(&asked);
        let server = TlsServer::start(authority, move |request| {
            let allowed = (guard.open)(request)
                || (guard.token)(request).is_some_and(|token| tokens.accepts(&token));
            let reply = if allowed {
                handler(request)
            } else {
                Reply::json(401, &guard.refusal).with_header("WWW-Authenticate", guard.challenge)
            };
            if let Reply::Http { status, .. } = reply {
                let asked = Asked { request: request.clone(), status };
                record.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
            }
            reply
        });
        Self { server, asked }
    }
}

/// The access rule of a server: the challenge and the refusal that it sends.
struct Guard {
    challenge: &'static str,
    refusal: Value,
    token: fn(&Request) -> Option<String>,
    open: fn(&Request) -> bool,
}

impl Guard {
    fn bearer() -> Self {
        Self {
            challenge: r#"Bearer realm="astra""#,
            refusal: json!({"error": "unauthorized"}),
            token: bearer,
            open: |_| false,
        }
    }

    fn basic() -> Self {
        Self { challenge: r#"Basic realm="astra""#, token: password, ..Self::bearer() }
    }
}

fn bearer(request: &Request) -> Option<String> {
    request.header("authorization")?.strip_prefix("Bearer ").map(str::to_owned)
}

fn password(request: &Request) -> Option<String> {
    let pair = STANDARD.decode(request.header("authorization")?.strip_prefix("Basic ")?).ok()?;
    let pair = String::from_utf8(pair).ok()?;
    pair.split_once(':').map(|(_, password)| password.to_owned())
}

/// A page for curl: `GET /`, with the token as the bearer.
pub fn protected(authority: &Authority, astra: &Astra) -> Resource {
    Resource::start(authority, astra, Guard::bearer(), |request| match request.path.as_str() {
        "/" => Reply::text(200, "welcome\n"),
        _ => Reply::text(404, "nothing here\n"),
    })
}

/// An API server for `kubectl get`, with two namespaces and one pod.
pub fn kubernetes(authority: &Authority, astra: &Astra) -> Resource {
    let mut guard = Guard::bearer();
    guard.refusal = status(401, "Unauthorized");
    Resource::start(authority, astra, guard, |request| {
        match request.path.split('?').next().unwrap_or_default().trim_end_matches('/') {
            "/version" => {
                Reply::json(200, &json!({"major": "1", "minor": "32", "gitVersion": "v1.32.4"}))
            }
            "/api" => Reply::json(200, &json!({"kind": "APIVersions", "versions": ["v1"]})),
            "/apis" => {
                Reply::json(200, &json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": []}))
            }
            "/api/v1" => Reply::json(200, &kubernetes_resources()),
            "/api/v1/namespaces" => listing(request, "Namespace", &["default", "kube-system"]),
            "/api/v1/namespaces/default/pods" => listing(request, "Pod", &["demo"]),
            _ => Reply::json(404, &status(404, "NotFound")),
        }
    })
}

fn status(code: u16, reason: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": reason, "reason": reason, "code": code,
    })
}

fn kubernetes_resources() -> Value {
    json!({
        "kind": "APIResourceList",
        "groupVersion": "v1",
        "resources": [
            {"name": "namespaces", "singularName": "namespace", "namespaced": false, "kind": "Namespace",
             "verbs": ["get", "list"], "shortNames": ["ns"]},
            {"name": "pods", "singularName": "pod", "namespaced": true, "kind": "Pod",
             "verbs": ["get", "list"], "shortNames": ["po"]},
        ],
    })
}

/// The answer to a listing: a table for kubectl, and a list for other clients.
fn listing(request: &Request, kind: &str, names: &[&str]) -> Reply {
    let object =
        |name: &&str| json!({"kind": kind, "apiVersion": "v1", "metadata": {"name": name}});
    if !request.header("accept").is_some_and(|accept| accept.contains("as=Table")) {
        let items: Vec<Value> = names.iter().map(object).collect();
        return Reply::json(
            200,
            &json!({"kind": format!("{kind}List"), "apiVersion": "v1", "metadata": {}, "items": items}),
        );
    }
    let rows: Vec<Value> =
        names.iter().map(|name| json!({"cells": [name], "object": object(name)})).collect();
    let columns = json!([{"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0}]);
    let table = json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {}, "columnDefinitions": columns, "rows": rows,
    });
    Reply::json(200, &table)
}

/// `/demo.git` through git's own HTTP server, with the token as the bearer.
pub fn git_repository(authority: &Authority, astra: &Astra) -> Resource {
    git_repository_for(authority, astra, Guard::bearer())
}

/// The same for clients that know user names and passwords only: the token is the password.
pub fn git_repository_with_password(authority: &Authority, astra: &Astra) -> Resource {
    git_repository_for(authority, astra, Guard::basic())
}

/// The same for either.
pub fn git_repository_with_either(authority: &Authority, astra: &Astra) -> Resource {
    let token = |request: &Request| bearer(request).or_else(|| password(request));
    let challenge = r#"Basic realm="astra", Bearer realm="astra""#;
    git_repository_for(authority, astra, Guard { challenge, token, ..Guard::bearer() })
}

fn git_repository_for(authority: &Authority, astra: &Astra, guard: Guard) -> Resource {
    let home = bare_repository();
    Resource::start(authority, astra, guard, move |request| {
        http_backend(home.path(), request).unwrap_or_else(|| Reply::text(500, "git failed\n"))
    })
}

/// A folder with `demo.git`, which has one commit: a module for Terraform.
fn bare_repository() -> TempDir {
    let home = tempfile::tempdir().expect("a folder for the repository");
    run_git(home.path(), &["init", "--quiet", "--bare", "--initial-branch=main", "demo.git"], b"");
    let module = "output \"greeting\" {\n  value = \"hello\"\n}\n";
    let history = format!(
        "commit refs/heads/main\ncommitter Test <test@example.test> 1700000000 +0000\ndata 5\nFirst\n\
         M 100644 inline main.tf\ndata {}\n{module}\n",
        module.len()
    );
    run_git(home.path(), &["--git-dir=demo.git", "fast-import", "--quiet"], history.as_bytes());
    home
}

/// git without this machine's configuration.
fn git(home: &Path) -> Command {
    let mut command = Command::new("git");
    command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command.env("HOME", home).env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    command.current_dir(home);
    command
}

fn run_git(home: &Path, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let output = git(home).args(arguments).stdin(file_of(input)).output().expect("git");
    assert!(
        output.status.success(),
        "git {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// A file with that content as standard input. With a pipe, another one would have to be read at the same
/// time.
fn file_of(bytes: &[u8]) -> Stdio {
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(bytes).and_then(|()| file.rewind()).expect("a temporary file to write to");
    Stdio::from(file)
}

/// One CGI call, see `git help http-backend`.
fn http_backend(home: &Path, request: &Request) -> Option<Reply> {
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let mut command = git(home);
    command.arg("http-backend").stdin(file_of(&request.body));
    command
        .env("GIT_PROJECT_ROOT", home)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REMOTE_USER", "token");
    command
        .env("REQUEST_METHOD", &request.method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query);
    command.env("CONTENT_LENGTH", request.body.len().to_string());
    for (variable, name) in [
        ("CONTENT_TYPE", "content-type"),
        ("HTTP_CONTENT_ENCODING", "content-encoding"),
        ("GIT_PROTOCOL", "git-protocol"),
    ] {
        command.envs(request.header(name).map(|value| (variable, value)));
    }
    let output = command.output().ok()?.stdout;
    let end = output.windows(4).position(|window| window == b"\r\n\r\n")?;
    let mut status = 200;
    let mut headers = Vec::new();
    for line in std::str::from_utf8(&output[..end]).ok()?.lines() {
        let (name, value) = line.split_once(": ")?;
        match name {
            "Status" => status = value.split(' ').next()?.parse().ok()?,
            _ => headers.push((name.to_owned(), value.to_owned())),
        }
    }
    Some(Reply::Http { status, headers, body: output[end + 4..].to_vec() })
}

/// A private registry with the module `acme/demo/astra`, version 1.0.0. Its service is `URL/v1/modules/`.
pub fn module_registry(authority: &Authority, astra: &Astra) -> Resource {
    let home = bare_repository();
    let archive =
        run_git(home.path(), &["--git-dir=demo.git", "archive", "--format=zip", "main"], b"");
    let mut guard = Guard::bearer();
    // Terraform downloads the archive without credentials.
    guard.open = |request| request.path == "/demo.zip";
    Resource::start(authority, astra, guard, move |request| match request.path.as_str() {
        "/v1/modules/acme/demo/astra/versions" => {
            Reply::json(200, &json!({"modules": [{"versions": [{"version": "1.0.0"}]}]}))
        }
        "/v1/modules/acme/demo/astra/1.0.0/download" => {
            Reply::text(204, "").with_header("X-Terraform-Get", "/demo.zip")
        }
        "/demo.zip" => Reply::new(200, "application/zip", archive.clone()),
        _ => Reply::text(404, "no such module\n"),
    })
}

/// A registry with the image `demo:latest`, with the token as the password.
pub fn container_registry(authority: &Authority, astra: &Astra) -> Resource {
    let config_type = "application/vnd.docker.container.image.v1+json";
    let manifest_type = "application/vnd.docker.distribution.manifest.v2+json";
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": []},
    });
    let config = config.to_string();
    let blob = format!("/v2/demo/blobs/{}", digest(&config));
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": manifest_type,
        "config": {"mediaType": config_type, "size": config.len(), "digest": digest(&config)},
        "layers": [],
    });
    let manifest = manifest.to_string();
    Resource::start(authority, astra, Guard::basic(), move |request| match request.path.as_str() {
        "/v2/" => Reply::json(200, &json!({})),
        "/v2/demo/manifests/latest" => Reply::new(200, manifest_type, manifest.clone())
            .with_header("Docker-Content-Digest", &digest(&manifest)),
        path if path == blob => Reply::new(200, config_type, config.clone()),
        _ => Reply::json(
            404,
            &json!({"errors": [{"code": "NAME_UNKNOWN", "message": "no such image"}]}),
        ),
    })
}

/// A store for git-lfs at `/lfs`, with the token as the password, and the name of its one object.
pub fn lfs_store(authority: &Authority, astra: &Astra) -> (Resource, String) {
    lfs_store_for(authority, astra, Guard::basic())
}

/// The same with a server that accepts no token.
pub fn closed_lfs_store(authority: &Authority, astra: &Astra) -> (Resource, String) {
    lfs_store_for(authority, astra, Guard { token: |_| None, ..Guard::basic() })
}

fn lfs_store_for(authority: &Authority, astra: &Astra, guard: Guard) -> (Resource, String) {
    let oid = digest("hello").replace("sha256:", "");
    let object = json!({"oid": oid, "size": 5});
    let resource =
        Resource::start(authority, astra, guard, move |request| match request.path.as_str() {
            "/lfs/objects/batch" => {
                let host = request.header("host").unwrap_or_default();
                let mut object = object.clone();
                object["actions"] =
                    json!({"download": {"href": format!("https://{host}/lfs/hello")}});
                let reply = json!({"transfer": "basic", "objects": [object]});
                Reply::new(200, "application/vnd.git-lfs+json", reply.to_string())
            }
            "/lfs/hello" => Reply::text(200, "hello"),
            _ => Reply::text(404, "nothing here\n"),
        });
    (resource, oid)
}

/// A WebDAV server for rclone with one file, with the token as the bearer.
pub fn webdav(authority: &Authority, astra: &Astra) -> Resource {
    let entry = |href: &str, kind: &str| {
        format!(
            "<d:response><d:href>{href}</d:href><d:propstat><d:prop>{kind}</d:prop>\
             <d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>"
        )
    };
    let folder = entry("/", "<d:resourcetype><d:collection/></d:resourcetype>");
    let file = entry("/hello.txt", "<d:resourcetype/><d:getcontentlength>5</d:getcontentlength>");
    let listing = format!(
        "<?xml version=\"1.0\"?><d:multistatus xmlns:d=\"DAV:\">{folder}{file}</d:multistatus>"
    );
    Resource::start(authority, astra, Guard::bearer(), move |request| {
        match (request.method.as_str(), request.path.as_str()) {
            ("PROPFIND", "/") => Reply::new(207, "application/xml", listing.clone()),
            _ => Reply::text(404, "nothing here\n"),
        }
    })
}

fn digest(text: &str) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    hash.as_ref().iter().fold("sha256:".to_owned(), |hex, byte| format!("{hex}{byte:02x}"))
}
