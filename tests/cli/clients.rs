//! Clients that use git's, kubectl's or Docker's helper, or read a token from a command.
//!
//! `docs/clients.md` describes how each client behaves if its server refuses the token, and if there is no token.
//! These tests show it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::servers::{
    Resource, closed_lfs_store, container_registry, git_repository_with_password, kubernetes,
    lfs_store, webdav,
};
use crate::world::{BINARY, Call, Done, World, lacks, needs};

/// The Python of the virtual environment that `.ci/run` makes.
fn python() -> Option<PathBuf> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients/bin/python");
    (python.exists() || lacks("target/clients/bin/python")).then_some(python)
}

/// A script for that Python.
fn script<'a>(world: &'a World, python: &Path, text: &str) -> Call<'a> {
    let script = world.write("script.py", text);
    world.call_as("timeout", "60").arg(python).arg(script)
}

/// True if the last request was accepted with the last token.
fn is_accepted(world: &World, server: &Resource) -> bool {
    let asked = server.asked().pop().expect("a request");
    asked.status < 300 && asked.token() == world.astra.last_token()
}

/// Tests a client that does not report a refused token to its helper: it fails after a revocation until
/// `forget` is called. `refused` is a part of its message then. The client shows the helper's errors.
fn fails_until_forget<'a>(
    world: &'a World,
    server: &Resource,
    refused: &str,
    run: impl Fn() -> Done<'a>,
) {
    for _ in 0..2 {
        let done = run();
        assert_eq!(done.code(), 0, "{done}");
        assert!(is_accepted(world, server), "{done}");
    }
    assert_eq!(world.astra.exchanges(), 1);
    world.astra.revoke_all();
    for _ in 0..2 {
        let done = run();
        assert!(done.code() != 0 && done.stderr().contains(refused), "{done}");
        assert_eq!(server.asked().pop().expect("a request").status, 401);
    }
    assert_eq!(world.astra.exchanges(), 1);
    world.call("forget").run().quiet();
    let done = run();
    assert_eq!(done.code(), 0, "{done}");
    assert!(is_accepted(world, server), "{done}");
    assert_eq!(world.astra.exchanges(), 2);
    world.write_account("{}");
    let done = run();
    assert!(done.code() != 0 && done.stderr().contains("has no `clientId`"), "{done}");
}

/// git-lfs in a working copy whose one file is in that store.
fn git_lfs<'a>(world: &'a World, store: &Resource, oid: &str) -> Call<'a> {
    world.link("git-credential-astra");
    let config = format!(
        "[user]\n\tname = me\n\temail = me@example.test\n[http]\n\tsslCAInfo = {}\n\
         [lfs]\n\turl = {}/lfs\n[credential \"{}\"]\n\thelper = astra\n",
        world.path("ca.pem").display(),
        store.url(),
        store.url()
    );
    let config = world.write("gitconfig", config);
    let git = |line: &str| {
        let call = world.call_as("timeout", "60 git -C").arg(world.path("demo")).args(line);
        call.env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", &config)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("ASTRA_CREDENTIAL_HOSTS", format!("localhost:{}", store.port()))
    };
    let _ = fs::remove_dir_all(world.path("demo"));
    fs::create_dir(world.path("demo")).unwrap();
    let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 5\n");
    fs::write(world.path("demo/a.bin"), pointer).unwrap();
    fs::write(world.path("demo/.gitattributes"), "*.bin filter=lfs -text\n").unwrap();
    for line in ["init --quiet", "add .", "commit --quiet --message=one", "lfs install --local"] {
        let done = git(line).run();
        assert_eq!(done.code(), 0, "{done}");
    }
    git("lfs pull")
}

#[test]
fn git_lfs_erases_a_revoked_token_and_asks_again_by_itself() {
    needs!("git-lfs");
    let world = World::new();
    let (store, oid) = lfs_store(&world.authority, &world.astra);
    for exchanges in [1, 2] {
        let done = git_lfs(&world, &store, &oid).run();
        assert_eq!(done.code(), 0, "{done}");
        assert_eq!(fs::read_to_string(world.path("demo/a.bin")).unwrap(), "hello");
        assert!(is_accepted(&world, &store));
        assert_eq!(world.astra.exchanges(), exchanges);
        world.astra.revoke_all();
    }
}

const LIGHTKUBE: &str = "\
import sys
from lightkube import Client, KubeConfig
from lightkube.resources.core_v1 import Pod
client = Client(config=KubeConfig.from_file(sys.argv[1]).get())
print([pod.metadata.name for pod in client.list(Pod, namespace='default')])
";

const KR8S: &str = "\
import sys, kr8s
api = kr8s.api(kubeconfig=sys.argv[1])
print([pod.name for pod in api.get('pods', namespace='default')])
";

/// A script that lists the pods of a cluster, whose kubeconfig runs the plugin for that version.
fn kubernetes_client(text: &str, version: &str) {
    let Some(python) = python() else { return };
    let world = World::new();
    let cluster = kubernetes(&world.authority, &world.astra);
    let exec = json!({
        "apiVersion": format!("client.authentication.k8s.io/{version}"), "command": BINARY,
        "args": ["kubernetes", "--api-version", version], "interactiveMode": "Never",
    });
    let server = json!({"server": cluster.url(), "certificate-authority": world.path("ca.pem")});
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "here",
        "clusters": [{"name": "here", "cluster": server}],
        "users": [{"name": "me", "user": {"exec": exec}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
    });
    let config = world.write("kubeconfig", config.to_string());
    let run = || script(&world, &python, text).arg(&config).run();
    assert_eq!(run().stdout(), "['demo']\n");
    fails_until_forget(&world, &cluster, "Unauthorized", run);
}

#[test]
fn lightkube_knows_v1beta1_alone_and_fails_until_forget() {
    kubernetes_client(LIGHTKUBE, "v1beta1");
}

#[test]
fn kr8s_fails_until_forget() {
    kubernetes_client(KR8S, "v1");
}

const PYGIT2: &str = "\
import subprocess, sys, pygit2
ca, url, folder = sys.argv[1:]
pygit2.settings.set_ssl_cert_locations(ca, None)
class Callbacks(pygit2.RemoteCallbacks):
    was_asked = False
    def credentials(self, url, username, allowed):
        if self.was_asked:
            sys.exit('refused')
        self.was_asked = True
        fill = ['git', 'credential', 'fill']
        done = subprocess.run(fill, input=f'url={url}\\n\\n', text=True, stdout=subprocess.PIPE)
        if done.returncode != 0:
            sys.exit('no credential')
        fields = dict(line.split('=', 1) for line in done.stdout.splitlines())
        return pygit2.UserPass(fields['username'], fields['password'])
pygit2.clone_repository(url, folder, callbacks=Callbacks())
";

#[test]
fn pygit2_with_git_credential_fill_fails_until_forget() {
    let Some(python) = python() else { return };
    let world = World::new();
    let repository = git_repository_with_password(&world.authority, &world.astra);
    let helper = world.link("git-credential-astra");
    let config =
        format!("[credential \"{}\"]\n\thelper = {}\n", repository.url(), helper.display());
    let config = world.write("gitconfig", config);
    fails_until_forget(&world, &repository, "refused", || {
        let _ = fs::remove_dir_all(world.path("demo"));
        script(&world, &python, PYGIT2)
            .arg(world.path("ca.pem"))
            .arg(format!("{}/demo.git", repository.url()))
            .arg(world.path("demo"))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", &config)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("ASTRA_CREDENTIAL_HOSTS", format!("localhost:{}", repository.port()))
            .run()
    });
}

#[test]
fn podman_fails_until_forget() {
    needs!("podman");
    let world = World::new();
    let registry = container_registry(&world.authority, &world.astra);
    let host = format!("localhost:{}", registry.port());
    world.link("docker-credential-astra");
    let helpers = world.write("auth.json", json!({"credHelpers": {&host: "astra"}}).to_string());
    fs::create_dir(world.path("certs")).unwrap();
    fs::copy(world.path("ca.pem"), world.path("certs/ca.crt")).unwrap();
    fails_until_forget(&world, &registry, "authentication required", || {
        world
            .call_as("timeout", "60 podman --storage-driver=vfs --root")
            .arg(world.path("root"))
            .arg("--runroot")
            .arg(world.path("run"))
            .args("pull --cert-dir")
            .arg(world.path("certs"))
            .arg(format!("{host}/demo:latest"))
            .env("REGISTRY_AUTH_FILE", &helpers)
            .env("ASTRA_CREDENTIAL_HOSTS", &host)
            .run()
    });
}

#[test]
fn rclone_with_a_bearer_token_command_fails_until_forget() {
    needs!("rclone");
    let world = World::new();
    let binary = world.link("astra-credential");
    let server = webdav(&world.authority, &world.astra);
    fails_until_forget(&world, &server, "401 Unauthorized", || {
        world
            .call_as("timeout", "60 rclone --config /dev/null lsf :webdav: --ca-cert")
            .arg(world.path("ca.pem"))
            .arg(format!("--webdav-url={}", server.url()))
            .arg(format!("--webdav-bearer-token-command={} token", binary.display()))
            .run()
    });
}

#[test]
fn git_lfs_ends_by_itself_at_a_host_that_refuses_every_token() {
    needs!("git-lfs");
    let world = World::new();
    let (store, oid) = closed_lfs_store(&world.authority, &world.astra);
    let refused = format!("`localhost:{}` refuses", store.port());
    for _ in 0..3 {
        let done = git_lfs(&world, &store, &oid).run();
        assert!(done.code() == 2 && done.stderr().contains(&refused), "{done}");
        // The first run does both exchanges. The next ones find the cached refusal.
        assert_eq!(world.astra.exchanges(), 2, "{done}");
    }
    // The refusal of one host does not apply to another.
    let request = format!("protocol=https\nhost=localhost:{}\n", world.astra.port());
    assert!(world.call("git get").input(request).run().quiet().contains("password="));
}
