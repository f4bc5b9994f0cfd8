//! git, which runs the binary as its credential helper and talks to a repository that wants the
//! token.

use std::fs;

use crate::servers::{Resource, git_repository, git_repository_with_password};
use crate::world::{Call, World, is_installed};

/// git with the helper `astra` for the repository's host, which the helper is told of if `is_ours`.
fn git<'a>(world: &'a World, repository: &Resource, is_ours: bool, arguments: &str) -> Call<'a> {
    let link = world.link("git-credential-astra");
    let config = format!(
        "[http]\n\tsslCAInfo = {}\n[credential \"{}\"]\n\thelper = astra\n",
        world.path("ca.pem").display(),
        repository.url()
    );
    let config = world.write("gitconfig", config);
    let path = format!("{}:{}", link.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let call = world
        .call_as("timeout", &format!("60 git {arguments}"))
        .env("PATH", path)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", config)
        .env("GIT_TERMINAL_PROMPT", "0");
    if is_ours {
        call.env("ASTRA_CREDENTIAL_HOSTS", format!("localhost:{}", repository.port()))
    } else {
        call
    }
}

fn ls_remote<'a>(world: &'a World, repository: &Resource) -> Call<'a> {
    git(world, repository, true, &format!("ls-remote {}/demo.git", repository.url()))
}

/// How git sends the token: not at all, or in which scheme, per request.
fn schemes(repository: &Resource) -> Vec<String> {
    let scheme = |asked: crate::servers::Asked| {
        let header = asked.request.header("authorization").unwrap_or("none");
        format!("{} {}", header.split(' ').next().unwrap_or_default(), asked.status)
    };
    repository.asked().into_iter().map(scheme).collect()
}

#[test]
fn ls_remote_and_clone_send_the_bearer_after_the_challenge() {
    if !is_installed("git") {
        return;
    }
    let world = World::new();
    let repository = git_repository(&world.authority, &world.astra);
    let refs = ls_remote(&world, &repository).run().quiet();
    assert!(refs.contains("refs/heads/main"), "{refs}");
    assert_eq!(schemes(&repository)[..2], ["none 401", "Bearer 200"]);
    let clone = format!("clone --quiet {}/demo.git", repository.url());
    assert_eq!(git(&world, &repository, true, &clone).arg(world.path("demo")).run().quiet(), "");
    assert!(fs::read_to_string(world.path("demo/main.tf")).unwrap().contains("hello"));
    assert_eq!(repository.asked().pop().unwrap().token(), world.astra.last_token());
    assert_eq!(world.astra.exchanges(), 1);
}

#[test]
fn the_host_may_be_named_where_git_names_the_helper() {
    if !is_installed("git") {
        return;
    }
    let world = World::new();
    let repository = git_repository(&world.authority, &world.astra);
    let helper = format!("astra --host localhost:{}", repository.port());
    let call = git(&world, &repository, false, "-c credential.helper=");
    let call = call.arg("-c").arg(format!("credential.{}.helper={helper}", repository.url()));
    let done = call.arg("ls-remote").arg(format!("{}/demo.git", repository.url())).run();
    assert!(done.quiet().contains("refs/heads/main"), "{done}");
    assert_eq!(repository.asked().pop().unwrap().token(), world.astra.last_token());
    assert_eq!(world.astra.exchanges(), 1);
}

#[test]
fn proactive_auth_sends_the_bearer_without_a_challenge() {
    if !is_installed("git") {
        return;
    }
    let world = World::new();
    let repository = git_repository(&world.authority, &world.astra);
    let line = format!("-c http.proactiveAuth=auto ls-remote {}/demo.git", repository.url());
    let done = git(&world, &repository, true, &line).run();
    assert!(done.quiet().contains("refs/heads/main"), "{done}");
    assert!(schemes(&repository).iter().all(|scheme| scheme == "Bearer 200"));
    assert_eq!(repository.asked().pop().unwrap().token(), world.astra.last_token());
    assert_eq!(world.astra.exchanges(), 1);
}

/// What git before 2.46 asks its helper: the same, without the capabilities.
fn older_git<'a>(world: &'a World, repository: &Resource) -> Call<'a> {
    let helper = world.link("git-credential-astra");
    let helper = format!("!f() {{ grep -v ^capability | '{}' \"$1\"; }}; f", helper.display());
    let call = git(world, repository, true, "-c credential.helper=");
    let call = call.arg("-c").arg(format!("credential.helper={helper}"));
    call.arg("ls-remote").arg(format!("{}/demo.git", repository.url()))
}

#[test]
fn an_older_git_sends_the_token_as_the_password() {
    if !is_installed("git") {
        return;
    }
    let world = World::new();
    let repository = git_repository_with_password(&world.authority, &world.astra);
    let done = older_git(&world, &repository).run();
    assert!(done.quiet().contains("refs/heads/main"), "{done}");
    assert_eq!(schemes(&repository)[..2], ["none 401", "Basic 200"]);
    assert_eq!(repository.asked().pop().unwrap().token(), world.astra.last_token());
    assert_eq!(world.astra.exchanges(), 1);
}

#[test]
fn a_revoked_token_costs_one_failure_because_git_erases_it() {
    if !is_installed("git") {
        return;
    }
    for older in [false, true] {
        let world = World::new();
        let (authority, astra) = (&world.authority, &world.astra);
        let repository = if older {
            git_repository_with_password(authority, astra)
        } else {
            git_repository(authority, astra)
        };
        let run = || match older {
            true => older_git(&world, &repository).run(),
            false => ls_remote(&world, &repository).run(),
        };
        run().quiet();
        world.astra.revoke_all();
        let said = run().failure(128);
        assert!(said.contains("Authentication failed") || said.contains("401"), "{said}");
        assert_eq!(repository.asked().pop().unwrap().status, 401);
        assert_eq!(world.call("status").run().code(), 1, "a token is left");
        run().quiet();
        assert_eq!(repository.asked().pop().unwrap().token(), world.astra.last_token());
        assert_eq!(world.astra.exchanges(), 2);
    }
}

#[test]
fn a_host_that_is_not_ours_gets_no_token_and_cannot_erase_one() {
    if !is_installed("git") {
        return;
    }
    let world = World::new();
    let repository = git_repository(&world.authority, &world.astra);
    let line = format!("ls-remote {}/demo.git", repository.url());
    let said = git(&world, &repository, false, &line).run().failure(128);
    // Nothing but git's own complaint that nobody gave it a name.
    assert!(said.starts_with("fatal: could not read Username"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    let call = git(&world, &repository, false, "-c http.proactiveAuth=auto");
    call.arg("ls-remote").arg(format!("{}/demo.git", repository.url())).run().failure(128);
    assert!(schemes(&repository).iter().all(|scheme| scheme == "none 401"));
    assert_eq!(world.astra.exchanges(), 0);
    let token = world.token();
    let reject = git(&world, &repository, false, "credential reject");
    let request = format!("url={}\npassword={token}\nusername=token\n\n", repository.url());
    reject.input(request).run().quiet();
    assert_eq!(world.token(), token);
    assert_eq!(world.astra.exchanges(), 1);
}

#[test]
fn a_rejected_account_fails_with_our_reason_and_sends_nothing() {
    if !is_installed("git") {
        return;
    }
    let world = World::new();
    let repository = git_repository(&world.authority, &world.astra);
    world.astra.set_secret("00000000-fake-4000-8000-rotated0000");
    let said = ls_remote(&world, &repository).run().failure(128);
    assert!(said.contains("rejected"), "{said}");
    // git does not go on to ask for a user name.
    assert!(said.contains("told us to quit") && !said.contains("Username"), "{said}");
    assert_eq!(schemes(&repository), ["none 401"]);
    assert_eq!(world.astra.exchanges(), 1);
}
