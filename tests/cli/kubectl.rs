//! kubectl, which runs the binary as its exec plugin and talks to a cluster that requires the token.

use std::fs;
use std::process::Stdio;

use serde_json::json;

use crate::servers::{Asked, Resource, kubernetes};
use crate::world::{BINARY, Call, World, finish, needs};

const V1: &str = "client.authentication.k8s.io/v1";
const V1BETA1: &str = "client.authentication.k8s.io/v1beta1";

const PLUGIN: [&str; 2] = [BINARY, "kubernetes"];

/// `kubectl get pods`, with a kubeconfig that names the plugin for that version of the protocol.
fn get_pods<'a>(world: &'a World, cluster: &Resource, version: &str, plugin: &[&str]) -> Call<'a> {
    write_config(world, cluster, version, "Never", plugin);
    world.call_as("timeout", "60 kubectl get pods").env("KUBECONFIG", world.path("kubeconfig"))
}

fn write_config(world: &World, cluster: &Resource, version: &str, mode: &str, plugin: &[&str]) {
    let exec = json!({
        "apiVersion": version, "command": plugin[0], "args": plugin[1..], "interactiveMode": mode,
        // The plugin inherits the rest of the environment.
        "env": [{"name": "ASTRA_SERVICE_ACCOUNT", "value": world.account_file()}],
    });
    let server = json!({"server": cluster.url(), "certificate-authority": world.path("ca.pem")});
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "here", "cluster": server}],
        "users": [{"name": "me", "user": {"exec": exec}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
    });
    world.write("kubeconfig", config.to_string());
}

/// True if every request was accepted, with the token that was issued last.
fn was_accepted(world: &World, cluster: &Resource) -> bool {
    let asked = cluster.asked();
    let let_in = |asked: &Asked| asked.status == 200 && asked.token() == world.astra.last_token();
    !asked.is_empty() && asked.iter().all(let_in)
}

#[test]
fn both_versions_of_the_protocol_work_and_share_one_exchange() {
    needs!("kubectl");
    let world = World::new();
    let cluster = kubernetes(&world.authority, &world.astra);
    for version in [V1, V1BETA1] {
        let done = get_pods(&world, &cluster, version, &PLUGIN).run();
        assert!(done.quiet().contains("demo"), "{done}");
    }
    assert!(was_accepted(&world, &cluster), "{:#?}", cluster.transcript());
    assert_eq!(world.astra.exchanges(), 1);
}

/// The output of `kubectl get pods`, and the number of times that it ran the plugin.
fn counted(world: &World, cluster: &Resource) -> (String, usize) {
    let runs = world.path("runs");
    let binary = world.link("astra-credential");
    let plugin = format!("echo run >> {}; exec {} kubernetes", runs.display(), binary.display());
    let done = get_pods(world, cluster, V1, &["sh", "-c", &plugin]).run();
    (done.stdout() + &done.stderr(), fs::read_to_string(runs).unwrap().lines().count())
}

#[test]
fn the_expiry_spares_kubectl_a_call_for_each_request() {
    needs!("kubectl");
    let world = World::new();
    let cluster = kubernetes(&world.authority, &world.astra);
    let (text, runs) = counted(&world, &cluster);
    assert!(text.contains("demo"), "{text}");
    assert!(cluster.asked().len() > 3, "{:#?}", cluster.transcript());
    // Some kubectl commands start another version of kubectl, and each of the two runs the plugin.
    assert!(runs <= 2, "{runs} runs for {:#?}", cluster.transcript());
}

#[test]
fn an_open_standard_input_and_a_terminal_are_left_alone() {
    needs!("kubectl", "script");
    let world = World::new();
    let cluster = kubernetes(&world.authority, &world.astra);
    let still_open = |call: Call<'_>| {
        let call = call.env("KUBECONFIG", world.path("kubeconfig"));
        let mut child = call.command().stdin(Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.take();
        let (code, stdout, stderr) = finish(child);
        assert_eq!((code, stdout.contains("demo")), (0, true), "{stdout}{stderr}");
        drop(stdin);
    };
    for mode in ["Never", "IfAvailable"] {
        write_config(&world, &cluster, V1, mode, &PLUGIN);
        still_open(world.call_as("timeout", "60 kubectl get pods"));
    }
    // With `Always`, kubectl passes its terminal to the plugin, and fails without one.
    write_config(&world, &cluster, V1, "Always", &PLUGIN);
    let terminal = world.call_as("timeout", "60 script -qec");
    still_open(terminal.arg("timeout --foreground 50 kubectl get pods").arg("/dev/null"));
    assert!(was_accepted(&world, &cluster));
    assert_eq!(world.astra.exchanges(), 1);
}

#[test]
fn a_rejected_account_costs_one_exchange_however_often_kubectl_asks() {
    needs!("kubectl");
    let world = World::new();
    let cluster = kubernetes(&world.authority, &world.astra);
    world.astra.set_secret("00000000-fake-4000-8000-rotated0000");
    let (text, runs) = counted(&world, &cluster);
    assert!(text.contains("rejected"), "{text}");
    assert!(runs > 1);
    assert_eq!(cluster.transcript(), [""; 0]);
    assert_eq!(world.astra.exchanges(), 1);
}

#[test]
fn a_revoked_token_is_replaced_after_forget() {
    needs!("kubectl");
    let world = World::new();
    let cluster = kubernetes(&world.authority, &world.astra);
    get_pods(&world, &cluster, V1, &PLUGIN).run().quiet();
    world.astra.revoke_all();
    // kubectl does not report a refused token to its plugin, which returns it until `forget` is called.
    for _ in 0..2 {
        let error = get_pods(&world, &cluster, V1, &PLUGIN).run().failure(1);
        assert!(error.contains("You must be logged in to the server"), "{error}");
    }
    assert_eq!(cluster.asked().last().unwrap().status, 401);
    assert_eq!(world.astra.exchanges(), 1);
    assert_eq!(world.call("forget").run().quiet(), "");
    assert!(get_pods(&world, &cluster, V1, &PLUGIN).run().quiet().contains("demo"));
    let asked = cluster.asked().pop().unwrap();
    assert_eq!((asked.status, asked.token()), (200, world.astra.last_token()));
    assert_eq!(world.astra.exchanges(), 2);
}
