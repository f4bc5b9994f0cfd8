//! `deploy/kubernetes/`: the manifests and the command of the job, with the real kubectl and an API server
//! that stores the applied objects and enforces their roles.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::stand_in::{Reply, Request, TlsServer};
use crate::world::{Call, Done, World, contents, is_installed, mode, needs, set_mode};

/// The bearer of the user that applies the manifests, and that of the job's service account.
const ADMIN: &str = "admin";
const JOB: &str = "job";

#[derive(Default)]
struct State {
    /// Each object by its path.
    objects: BTreeMap<String, Value>,
    /// `METHOD path status` of every request for an object.
    asked: Vec<String>,
    /// The status for the next request with this method.
    failure: Option<(&'static str, u16)>,
}

/// An API server with one namespace.
struct Cluster {
    server: TlsServer,
    state: Arc<Mutex<State>>,
}

impl Cluster {
    fn start(world: &World) -> Self {
        let state = Arc::<Mutex<State>>::default();
        let served = Arc::clone(&state);
        let server = TlsServer::start(&world.authority, move |request| {
            let mut state = served.lock().unwrap_or_else(PoisonError::into_inner);
            state.answer(request)
        });
        let cluster = Self { server, state };
        for name in [ADMIN, JOB] {
            let config = json!({
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "here",
                "clusters": [{"name": "here", "cluster": {
                    "server": cluster.server.url(), "certificate-authority": world.path("ca.pem"),
                }}],
                "users": [{"name": name, "user": {"token": name}}],
                "contexts": [{"name": "here", "context": {"cluster": "here", "user": name}}],
            });
            world.write(&format!("{name}.kubeconfig"), config.to_string());
        }
        cluster
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state().asked)
    }

    /// The token that a pod sees if it mounts the Secret.
    fn mounted(&self, key: &str) -> Option<String> {
        let state = self.state();
        let data = &state.objects[&path("secrets", "astra-token")]["data"][key];
        Some(String::from_utf8(STANDARD.decode(data.as_str()?).unwrap()).unwrap())
    }
}

fn path(resource: &str, name: &str) -> String {
    let group = match resource {
        "secrets" | "serviceaccounts" | "pods" => "/api/v1",
        "cronjobs" => "/apis/batch/v1",
        _ => "/apis/rbac.authorization.k8s.io/v1",
    };
    format!("{group}/namespaces/default/{resource}/{name}")
}

impl State {
    fn answer(&mut self, request: &Request) -> Reply {
        let path = request.path.split('?').next().unwrap_or_default();
        if let Some(found) = discovery(path) {
            return Reply::json(200, &found);
        }
        let Some((_, object)) = path.split_once("/namespaces/default/") else {
            return status(404, "NotFound", "no such resource");
        };
        let reply = self.change(request, path, object);
        if let Reply::Http { status, .. } = reply {
            self.asked.push(format!("{} {object} {status}", request.method));
        }
        reply
    }

    fn change(&mut self, request: &Request, path: &str, object: &str) -> Reply {
        let (resource, name) = object.split_once('/').unwrap_or((object, ""));
        let verb = match (request.method.as_str(), name) {
            ("GET", "") => "list",
            ("GET", _) => "get",
            ("POST", _) => "create",
            ("PATCH", _) => "patch",
            ("DELETE", _) => "delete",
            _ => "update",
        };
        let bearer = request.header("authorization").unwrap_or_default();
        let may = match bearer.strip_prefix("Bearer ") {
            Some(ADMIN) => true,
            Some(JOB) => self.may("astra-token", verb, resource, name),
            _ => return status(401, "Unauthorized", "Unauthorized"),
        };
        if !may {
            let message = format!("{resource} \"{name}\" is forbidden: cannot {verb}");
            return status(403, "Forbidden", &message);
        }
        if let Some((_, code)) = self.failure.take_if(|(method, _)| *method == request.method) {
            return status(code, "Conflict", "the object has been modified");
        }
        let missing = || status(404, "NotFound", &format!("{resource} \"{name}\" not found"));
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        match verb {
            "get" => self.objects.get(path).map_or_else(missing, |found| Reply::json(200, found)),
            "create" => {
                let path = format!("{path}/{}", body["metadata"]["name"].as_str().unwrap());
                self.objects.insert(path, stored(body.clone()));
                Reply::json(201, &body)
            }
            "patch" => match self.objects.get_mut(path) {
                Some(found) => {
                    merge(found, body);
                    *found = stored(found.take());
                    Reply::json(200, found)
                }
                None => missing(),
            },
            "delete" => self.objects.remove(path).map_or_else(missing, |it| Reply::json(200, &it)),
            _ => Reply::json(200, &json!({"kind": "SecretList", "apiVersion": "v1", "items": []})),
        }
    }

    /// True if a role that is bound to the service account allows it.
    fn may(&self, account: &str, verb: &str, resource: &str, name: &str) -> bool {
        let of_kind =
            |kind: &'static str| self.objects.values().filter(move |object| object["kind"] == kind);
        let is_bound = |binding: &&Value| {
            let subjects = binding["subjects"].as_array().into_iter().flatten();
            subjects.into_iter().any(|it| it["kind"] == "ServiceAccount" && it["name"] == account)
        };
        let has = |list: &Value, word: &str| {
            list.as_array().is_some_and(|list| list.iter().any(|it| it == word || it == "*"))
        };
        of_kind("RoleBinding").filter(is_bound).any(|binding| {
            let roles = of_kind("Role");
            let mut roles =
                roles.filter(|role| role["metadata"]["name"] == binding["roleRef"]["name"]);
            roles.any(|role| {
                role["rules"].as_array().into_iter().flatten().any(|rule| {
                    has(&rule["verbs"], verb)
                        && has(&rule["resources"], resource)
                        && has(&rule["apiGroups"], "")
                        && (rule["resourceNames"].is_null() || has(&rule["resourceNames"], name))
                })
            })
        })
    }
}

/// A Secret's `stringData` is only for writing.
fn stored(mut object: Value) -> Value {
    if let Some(Value::Object(texts)) = object["stringData"].as_object().cloned().map(Value::Object)
    {
        for (key, text) in texts {
            object["data"][key] = STANDARD.encode(text.as_str().unwrap()).into();
        }
    }
    if let Some(object) = object.as_object_mut() {
        object.remove("stringData");
    }
    object
}

/// RFC 7386.
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        match value {
            Value::Null => drop(target.as_object_mut().and_then(|object| object.remove(&key))),
            value => merge(&mut target[key], value),
        }
    }
}

fn status(code: u16, reason: &str, message: &str) -> Reply {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    });
    Reply::json(code, &status)
}

fn discovery(path: &str) -> Option<Value> {
    let resources = |group: &str, kinds: &[(&str, &str)]| {
        let resource = |(name, kind): &(&str, &str)| {
            json!({
                "name": name, "singularName": kind.to_lowercase(), "namespaced": true, "kind": kind,
                "verbs": ["create", "delete", "get", "list", "patch", "update"],
            })
        };
        let resources: Vec<_> = kinds.iter().map(resource).collect();
        json!({"kind": "APIResourceList", "groupVersion": group, "resources": resources})
    };
    let group = |name: &str| {
        let version = json!({"groupVersion": format!("{name}/v1"), "version": "v1"});
        json!({"name": name, "versions": [version], "preferredVersion": version})
    };
    Some(match path {
        "/version" => json!({"major": "1", "minor": "32", "gitVersion": "v1.32.4"}),
        "/api" => json!({"kind": "APIVersions", "versions": ["v1"]}),
        "/apis" => json!({
            "kind": "APIGroupList", "apiVersion": "v1",
            "groups": [group("batch"), group("rbac.authorization.k8s.io")],
        }),
        "/api/v1" => resources(
            "v1",
            &[("secrets", "Secret"), ("serviceaccounts", "ServiceAccount"), ("pods", "Pod")],
        ),
        "/apis/batch/v1" => resources("batch/v1", &[("cronjobs", "CronJob")]),
        "/apis/rbac.authorization.k8s.io/v1" => resources(
            "rbac.authorization.k8s.io/v1",
            &[("roles", "Role"), ("rolebindings", "RoleBinding")],
        ),
        _ => return None,
    })
}

fn manifest() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kubernetes/astra-token.yaml")
}

fn kubectl<'a>(world: &'a World, arguments: &str) -> Call<'a> {
    let config = world.path("admin.kubeconfig");
    world.call_as("timeout", &format!("60 kubectl {arguments}")).env("KUBECONFIG", config)
}

/// A cluster in which the manifests are applied.
fn applied(world: &World) -> Cluster {
    let cluster = Cluster::start(world);
    let apply = || kubectl(world, "apply --validate=false -f").arg(manifest()).run().quiet();
    let created = apply();
    assert_eq!(created.lines().count(), 5, "{created}");
    assert!(created.lines().all(|line| line.ends_with(" created")), "{created}");
    let again = apply();
    assert!(again.lines().all(|line| line.ends_with(" unchanged")), "{again}");
    cluster.asked();
    cluster
}

/// Runs the container's command from the stored CronJob in a new pod. The mounts of the pod are folders of
/// the test, and its service account is that of the job.
fn run_job<'a>(world: &'a World, cluster: &Cluster, pod: &str) -> Done<'a> {
    job(world, cluster, pod, &world.astra.account_json(), &["/bin/sh"]).run()
}

/// The same, with that account file and that shell in place of `/bin/sh`.
fn job<'a>(
    world: &'a World,
    cluster: &Cluster,
    pod: &str,
    account: &str,
    shell: &[&str],
) -> Call<'a> {
    let job = cluster.state().objects[&path("cronjobs", "astra-token")].clone();
    let container = &job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0];
    let in_pod = |path: &Value| format!("{}{}", world.path(pod).display(), path.as_str().unwrap());
    let list = |value: &Value| value.as_array().unwrap().clone();
    for mount in list(&container["volumeMounts"]) {
        fs::create_dir_all(in_pod(&mount["mountPath"])).unwrap();
    }
    let call = world.call_as("timeout", "60 env -C").arg(in_pod(&container["workingDir"]));
    let mut call = shell.iter().fold(call, |call, word| call.arg(*word));
    assert_eq!(container["command"][0], "/bin/sh");
    for word in list(&container["command"]).iter().skip(1).chain(&list(&container["args"])) {
        call = call.arg(word.as_str().unwrap());
    }
    for variable in list(&container["env"]) {
        let (name, value) = (variable["name"].as_str().unwrap(), in_pod(&variable["value"]));
        if name == "ASTRA_SERVICE_ACCOUNT" {
            let _ = fs::remove_file(&value);
            fs::write(&value, account).unwrap();
            set_mode(Path::new(&value), 0o400);
        }
        call = call.env(name, value);
    }
    // A wrapper logs the arguments of every call of kubectl.
    world.link("astra-credential");
    let wrapper = world.path("bin/kubectl");
    let mut real = std::env::split_paths(crate::world::path()).map(|folder| folder.join("kubectl"));
    let real = real.find(|path| path.exists()).unwrap();
    let log = world.path("kubectl.log");
    let log = format!("#!/bin/sh\necho \"$@\" >> '{}'\n", log.display());
    fs::write(&wrapper, format!("{log}exec '{}' \"$@\"\n", real.display())).unwrap();
    set_mode(&wrapper, 0o755);
    call.env("KUBECONFIG", world.path("job.kubeconfig"))
}

fn page() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/kubernetes-fleet.md");
    fs::read_to_string(page).unwrap()
}

/// The world, the cluster and one run of the job; `None` where kubectl is missing.
fn filled() -> Option<(World, Cluster)> {
    if !is_installed("kubectl") {
        return None;
    }
    let world = World::new();
    let cluster = applied(&world);
    let done = run_job(&world, &cluster, "first");
    assert_eq!(done.quiet(), "secret/astra-token patched\n");
    assert_eq!(cluster.mounted("token"), world.astra.last_token());
    cluster.asked();
    Some((world, cluster))
}

/// Sets the expiry in the Secret to a time that is over.
fn expire(cluster: &Cluster) {
    let soon = STANDARD.encode("2001-01-01T00:00:00Z");
    let path = path("secrets", "astra-token");
    cluster.state().objects.get_mut(&path).unwrap()["data"]["expires"] = soon.into();
}

const READ: &str = "GET secrets/astra-token 200";
const WRITTEN: &str = "PATCH secrets/astra-token 200";

#[test]
fn one_exchange_fills_the_secret_and_lasts_until_an_hour_before_expiry() {
    let Some((world, cluster)) = filled() else { return };
    let first = cluster.mounted("token");
    for pod in ["second", "third"] {
        let text = run_job(&world, &cluster, pod).quiet();
        assert!(text.starts_with("the token is valid for another hour: "), "{text}");
        assert_eq!(cluster.asked(), [READ]);
    }
    assert_eq!(world.astra.exchanges(), 1);
    // The pod of the next job has an empty cache.
    expire(&cluster);
    assert_eq!(run_job(&world, &cluster, "fourth").quiet(), "secret/astra-token patched\n");
    assert_eq!(cluster.asked(), [READ, READ, WRITTEN]);
    assert_eq!(world.astra.exchanges(), 2);
    assert_ne!(cluster.mounted("token"), first);
    assert_eq!(cluster.mounted("token"), world.astra.last_token());
    let expires = cluster.mounted("expires").unwrap();
    assert!(expires.ends_with('Z') && expires.as_str() > "2001-01-01T00:00:00Z", "{expires}");
}

#[test]
fn the_page_shows_a_pod_that_mounts_the_token() {
    let Some((world, cluster)) = filled() else { return };
    let page = page();
    let (_, pod) = page.split_once("```yaml\n").unwrap();
    let (pod, _) = pod.split_once("```").unwrap();
    let pod = world.write("pod.yaml", pod);
    kubectl(&world, "apply --validate=false -f").arg(pod).run().quiet();
    let pod = cluster.state().objects[&path("pods", "worker")].clone();
    let secret = &pod["spec"]["volumes"][0]["secret"];
    assert_eq!(secret["secretName"], "astra-token");
    assert_eq!(
        cluster.mounted(secret["items"][0]["key"].as_str().unwrap()),
        world.astra.last_token()
    );
}

#[test]
fn short_lived_tokens_are_renewed_at_every_run() {
    let Some((world, cluster)) = filled() else { return };
    world.astra.set_lifetime(1800);
    expire(&cluster);
    for pod in ["second", "third"] {
        let done = run_job(&world, &cluster, pod);
        assert_eq!(done.code(), 0, "{done}");
        assert_eq!(cluster.mounted("token"), world.astra.last_token());
    }
    assert_eq!(world.astra.exchanges(), 3);
}

#[test]
fn a_failed_patch_costs_no_second_exchange() {
    let Some((world, cluster)) = filled() else { return };
    expire(&cluster);
    let before = cluster.mounted("token");
    for code in [409, 500] {
        cluster.state().failure = Some(("PATCH", code));
        let error = run_job(&world, &cluster, "second").failure(1);
        assert!(error.contains("Error from server"), "{error}");
        assert_eq!(cluster.mounted("token"), before);
    }
    // `restartPolicy: OnFailure` starts the container again in the same pod, with its cache.
    assert_eq!(run_job(&world, &cluster, "second").quiet(), "secret/astra-token patched\n");
    assert_eq!(cluster.mounted("token"), world.astra.last_token());
    assert_eq!(world.astra.exchanges(), 2);
}

#[test]
fn a_deleted_secret_and_a_missing_right_fail_before_any_exchange() {
    let Some((world, cluster)) = filled() else { return };
    let secret = cluster.state().objects.remove(&path("secrets", "astra-token")).unwrap();
    let error = run_job(&world, &cluster, "second").failure(1);
    assert!(error.contains("(NotFound)"), "{error}");
    cluster.state().objects.insert(path("secrets", "astra-token"), secret);
    cluster.state().objects.remove(&path("rolebindings", "astra-token"));
    let error = run_job(&world, &cluster, "third").failure(1);
    assert!(error.contains("(Forbidden)"), "{error}");
    assert_eq!(world.astra.exchanges(), 1);
    // After the manifests are applied again, the job works, and the token in the Secret is the same.
    let before = cluster.mounted("token");
    kubectl(&world, "apply --validate=false -f").arg(manifest()).run().quiet();
    assert_eq!(cluster.mounted("token"), before);
    assert_eq!(run_job(&world, &cluster, "fourth").code(), 0);
}

#[test]
fn a_deleted_secret_that_is_applied_again_is_filled_by_the_next_job() {
    let Some((world, cluster)) = filled() else { return };
    cluster.state().objects.remove(&path("secrets", "astra-token"));
    kubectl(&world, "apply --validate=false -f").arg(manifest()).run().quiet();
    assert_eq!(cluster.mounted("token"), None);
    run_job(&world, &cluster, "second").quiet();
    assert_eq!(cluster.mounted("token"), world.astra.last_token());
}

#[test]
fn the_secret_keeps_its_token_while_astra_rejects_the_account_or_is_down() {
    let Some((world, cluster)) = filled() else { return };
    expire(&cluster);
    let before = cluster.mounted("token");
    world.astra.set_answer(|_: &Request, _| Reply::error(503, "later"));
    let error = run_job(&world, &cluster, "second").failure(5);
    assert!(error.contains("503"), "{error}");
    world.astra.clear_answer();
    world.astra.set_answer(|_: &Request, _| Reply::error(401, "no such account"));
    let error = run_job(&world, &cluster, "third").failure(4);
    assert!(error.contains("rejected"), "{error}");
    assert!(!cluster.asked().contains(&WRITTEN.to_owned()));
    assert_eq!(cluster.mounted("token"), before);
}

#[test]
fn an_api_server_that_is_down_costs_no_exchange() {
    let Some((world, cluster)) = filled() else { return };
    expire(&cluster);
    let config = fs::read_to_string(world.path("job.kubeconfig")).unwrap();
    // Nothing listens on the discard port.
    let config = config.replace(&cluster.server.url(), "https://localhost:9");
    let call = job(&world, &cluster, "second", &world.astra.account_json(), &["/bin/sh"]);
    let done = call.env("KUBECONFIG", world.write("down.kubeconfig", config)).run();
    assert!(done.failure(1).contains("refused"), "{done}");
    assert_eq!(world.astra.exchanges(), 1);
}

#[test]
fn the_command_means_the_same_to_the_shell_of_the_image() {
    let Some((world, cluster)) = filled() else { return };
    needs!("busybox");
    for applet in ["date", "cat"] {
        let script = format!("#!/bin/sh\nexec busybox {applet} \"$@\"\n");
        fs::write(world.path(&format!("bin/{applet}")), script).unwrap();
        set_mode(&world.path(&format!("bin/{applet}")), 0o755);
    }
    let run = |pod: &str| {
        let account = world.astra.account_json();
        job(&world, &cluster, pod, &account, &["busybox", "sh"]).run().quiet()
    };
    assert!(run("second").starts_with("the token is valid for another hour: "));
    expire(&cluster);
    assert_eq!(run("third"), "secret/astra-token patched\n");
    assert_eq!(cluster.mounted("token"), world.astra.last_token());
}

#[test]
fn an_emptied_secret_gets_the_token_of_a_rotated_account() {
    let Some((world, cluster)) = filled() else { return };
    world.astra.set_secret("00000000-fake-4000-8000-rotated0000");
    let page = page();
    let empty = page.lines().find(|line| line.starts_with("kubectl patch")).unwrap();
    let config = world.path("admin.kubeconfig");
    world.call_as("sh", "-c").arg(empty).env("KUBECONFIG", config).run().quiet();
    assert_eq!(cluster.mounted("token"), None);
    run_job(&world, &cluster, "second").quiet();
    assert_eq!(cluster.mounted("token"), world.astra.last_token());
    assert_eq!(world.astra.exchanges(), 2);
}

#[test]
fn an_application_token_leaves_no_expiry_of_an_earlier_one() {
    let Some((world, cluster)) = filled() else { return };
    expire(&cluster);
    let token = format!("AstraCS:stand-in:{}", "0".repeat(64));
    let done = job(&world, &cluster, "second", &token, &["/bin/sh"]).run();
    assert_eq!(done.quiet(), "secret/astra-token patched\n");
    assert_eq!((cluster.mounted("token"), cluster.mounted("expires")), (Some(token), None));
}

#[test]
fn the_token_is_in_no_argument_and_in_no_file_that_others_can_read() {
    let Some((world, _)) = filled() else { return };
    let log = fs::read_to_string(world.path("kubectl.log")).unwrap();
    assert_eq!(log.lines().count(), 2, "{log}");
    let token = world.astra.last_token().unwrap();
    assert!(!log.contains("qyJ") && !log.contains(&token), "{log}");
    let mut with_token = 0;
    for (path, content) in contents(&world.path("first")) {
        if content.windows(token.len()).any(|part| part == token.as_bytes()) {
            assert_eq!(mode(&path), 0o600, "{}", path.display());
            with_token += 1;
        }
    }
    assert_eq!(with_token, 2);
}

#[test]
fn the_job_may_read_and_change_one_secret_and_nothing_else() {
    let Some((world, cluster)) = filled() else { return };
    let ask = |arguments: &str| {
        kubectl(&world, arguments).env("KUBECONFIG", world.path("job.kubeconfig")).run()
    };
    let rule = json!({
        "apiGroups": [""],
        "resources": ["secrets"],
        "resourceNames": ["astra-token"],
        "verbs": ["get", "patch"],
    });
    let role = cluster.state().objects[&path("roles", "astra-token")].clone();
    assert_eq!(role["rules"], json!([rule]));
    assert_eq!(ask("get secret astra-token --output name").quiet(), "secret/astra-token\n");
    for refused in [
        "get secrets",
        "get secret astra-account",
        "delete secret astra-token",
        "create secret generic another",
        "get pods",
        "get cronjob astra-token",
        "get role astra-token",
    ] {
        let done = ask(refused);
        assert!(done.failure(1).contains("orbidden"), "{done}");
    }
}
