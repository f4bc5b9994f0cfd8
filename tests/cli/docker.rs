//! The docker CLI without a daemon, which runs the binary as its credential helper and talks to a
//! registry that requires the token.

use std::fs;

use serde_json::json;

use crate::servers::{Resource, container_registry};
use crate::world::{Call, World, needs};

/// docker with the helper `astra` for that registry, whose host is ours.
fn docker<'a>(world: &'a World, registry: &Resource, arguments: &str) -> Call<'a> {
    let host = format!("localhost:{}", registry.port());
    world.link("docker-credential-astra");
    fs::create_dir_all(world.path("docker")).unwrap();
    world.write("docker/config.json", json!({"credHelpers": {&host: "astra"}}).to_string());
    let call = world.call_as("timeout", &format!("60 docker {arguments}"));
    call.env("DOCKER_CONFIG", world.path("docker"))
        // No daemon is used, even if this machine has one.
        .env("DOCKER_HOST", format!("unix://{}", world.path("no-daemon").display()))
        .env("ASTRA_CREDENTIAL_HOSTS", host)
}

fn inspect<'a>(world: &'a World, registry: &Resource) -> Call<'a> {
    let image = format!("localhost:{}/demo:latest", registry.port());
    docker(world, registry, &format!("manifest inspect {image}"))
}

fn logout<'a>(world: &'a World, registry: &Resource) -> Call<'a> {
    docker(world, registry, &format!("logout localhost:{}", registry.port()))
}

/// The token of the last request that was accepted.
fn served(registry: &Resource) -> Option<String> {
    let asked = registry.asked();
    let manifest = |path: &str| path.ends_with("/manifests/latest");
    let found = asked.iter().rfind(|asked| manifest(&asked.request.path) && asked.status == 200);
    found.and_then(|asked| asked.token())
}

#[test]
fn manifest_inspect_gets_the_token_from_the_helper() {
    needs!("docker");
    let world = World::new();
    let registry = container_registry(&world.authority, &world.astra);
    for _ in 0..2 {
        let done = inspect(&world, &registry).run();
        assert!(done.quiet().contains("vnd.docker.distribution.manifest.v2+json"), "{done}");
    }
    assert!(served(&registry).is_some());
    assert_eq!(served(&registry), world.astra.last_token());
    assert_eq!(world.astra.exchanges(), 1);
}

#[test]
fn login_with_the_token_stores_nothing_and_logout_drops_the_token() {
    needs!("docker");
    let world = World::new();
    let registry = container_registry(&world.authority, &world.astra);
    let token = world.token();
    let login = format!("login -u token --password-stdin localhost:{}", registry.port());
    let done = docker(&world, &registry, &login).input(token.clone()).run();
    assert!(done.code() == 0 && done.stdout().contains("Login Succeeded"), "{done}");
    let config = fs::read_to_string(world.path("docker/config.json")).unwrap();
    assert!(!config.contains(&token), "{config}");
    inspect(&world, &registry).run().quiet();
    assert_eq!((served(&registry), world.astra.exchanges()), (Some(token.clone()), 1));
    logout(&world, &registry).run().quiet();
    assert_eq!(world.call("status").run().code(), 1, "a token is left");
    inspect(&world, &registry).run().quiet();
    assert_ne!(served(&registry), Some(token));
    assert_eq!(served(&registry), world.astra.last_token());
    assert_eq!(world.astra.exchanges(), 2);
}

#[test]
fn a_revoked_token_is_replaced_after_logout() {
    needs!("docker");
    let world = World::new();
    let registry = container_registry(&world.authority, &world.astra);
    inspect(&world, &registry).run().quiet();
    let revoked = served(&registry);
    world.astra.revoke_all();
    inspect(&world, &registry).run().failure(1);
    let refused = registry.asked().into_iter().rfind(|asked| asked.token().is_some()).unwrap();
    assert_eq!((refused.status, refused.token()), (401, revoked));
    assert_eq!(world.astra.exchanges(), 1);
    logout(&world, &registry).run().quiet();
    inspect(&world, &registry).run().quiet();
    assert_eq!(served(&registry), world.astra.last_token());
    assert_eq!(world.astra.exchanges(), 2);
}

#[test]
fn an_unknown_registry_gets_no_token_and_cannot_erase_one() {
    needs!("docker");
    let world = World::new();
    let registry = container_registry(&world.authority, &world.astra);
    let port = registry.port();
    for hosts in [String::new(), "localhost".into(), format!("xlocalhost:{port}")] {
        let done = inspect(&world, &registry).env("ASTRA_CREDENTIAL_HOSTS", hosts).run();
        let error = done.failure(1);
        assert!(error.contains("no basic auth credentials"), "{done}");
        // Docker's configuration names the helper for that host.
        assert!(error.contains(&format!("names this helper for `localhost:{port}`")), "{done}");
        let status = world.call("status").run().stdout();
        assert!(status.contains("no account is configured for that host"), "{status}");
        world.call("forget").run().quiet();
    }
    assert!(!registry.asked().is_empty());
    assert!(registry.asked().iter().all(|asked| asked.request.header("authorization").is_none()));
    assert_eq!(world.astra.exchanges(), 0);
    let token = world.token();
    logout(&world, &registry).without("ASTRA_CREDENTIAL_HOSTS").run();
    assert_eq!(world.token(), token);
    assert_eq!(world.astra.exchanges(), 1);
}

#[test]
fn a_rejected_account_sends_nothing() {
    needs!("docker");
    let world = World::new();
    let registry = container_registry(&world.authority, &world.astra);
    world.astra.set_secret("00000000-fake-4000-8000-rotated0000");
    // docker continues without a credential, and shows the helper's standard error.
    let error = inspect(&world, &registry).run().failure(1);
    assert!(error.contains("no basic auth credentials") && error.contains("rejected"), "{error}");
    assert!(!registry.asked().is_empty());
    assert!(registry.asked().iter().all(|asked| asked.request.header("authorization").is_none()));
    assert_eq!(world.astra.exchanges(), 1);
}
