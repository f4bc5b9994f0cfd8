//! git, which runs the binary as its credential helper and talks to a repository that requires the
//! token.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::servers::{
    Resource, git_repository, git_repository_with_either, git_repository_with_password,
};
use crate::stand_in::{Astra, Authority};
use crate::world::{Call, World, lacks, needs, set_mode};

/// A git of this machine.
#[derive(Clone)]
struct Git {
    path: PathBuf,
    /// 2.46 and later.
    has_authtype: bool,
}

/// One git without `authtype` and one with it. If one is not installed, that is announced, and is an error
/// under `CI=true`.
fn gits() -> Vec<Git> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&folders).chain(["/usr/bin".into()]);
    let installed = folders.filter_map(|folder| {
        let path = folder.join("git");
        let output = Command::new(&path).arg("--version").output().ok()?;
        let version = String::from_utf8(output.stdout).ok()?;
        let mut numbers = version.strip_prefix("git version ")?.split('.').map(str::parse::<u32>);
        let version = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        Some(Git { path, has_authtype: version >= (2, 46) })
    });
    let installed: Vec<_> = installed.collect();
    let one = |has_authtype, name| {
        let found = installed.iter().find(|git| git.has_authtype == has_authtype);
        found.cloned().or_else(|| {
            lacks(name);
            None
        })
    };
    [one(false, "git before 2.46"), one(true, "git 2.46 or later")].into_iter().flatten().collect()
}

/// git with the helper `astra` for the repository's host, which the helper knows if `is_ours`.
fn git<'a>(world: &'a World, repository: &Resource, is_ours: bool, arguments: &str) -> Call<'a> {
    git_at(Path::new("git"), world, repository, is_ours, arguments)
}

/// The same with another git.
fn git_at<'a>(
    git: &Path,
    world: &'a World,
    repository: &Resource,
    is_ours: bool,
    arguments: &str,
) -> Call<'a> {
    world.link("git-credential-astra");
    let config = format!(
        "[http]\n\tsslCAInfo = {}\n[credential \"{}\"]\n\thelper = astra\n",
        world.path("ca.pem").display(),
        repository.url()
    );
    let config = world.write("gitconfig", config);
    let call = world
        .call_as("timeout", &format!("60 {} {arguments}", git.display()))
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

/// The scheme of each request's credential, or `none`, and the status of the answer.
fn schemes(repository: &Resource) -> Vec<String> {
    let scheme = |asked: crate::servers::Asked| {
        let header = asked.request.header("authorization").unwrap_or("none");
        format!("{} {}", header.split(' ').next().unwrap_or_default(), asked.status)
    };
    repository.asked().into_iter().map(scheme).collect()
}

#[test]
fn ls_remote_and_clone_send_the_bearer_after_the_challenge() {
    needs!("git");
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
fn a_host_may_be_a_flag_of_gits_helper() {
    needs!("git");
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
    needs!("git");
    let world = World::new();
    let repository = git_repository(&world.authority, &world.astra);
    let line = format!("-c http.proactiveAuth=auto ls-remote {}/demo.git", repository.url());
    let done = git(&world, &repository, true, &line).run();
    assert!(done.quiet().contains("refs/heads/main"), "{done}");
    assert!(schemes(&repository).iter().all(|scheme| scheme == "Bearer 200"));
    assert_eq!(repository.asked().pop().unwrap().token(), world.astra.last_token());
    assert_eq!(world.astra.exchanges(), 1);
}

/// A server, and the schemes in which a git with `authtype` and one without it send the token to it.
type Server = (fn(&Authority, &Astra) -> Resource, &'static str, &'static str);

const SERVERS: [Server; 3] = [
    (git_repository, "Bearer", "none"),
    (git_repository_with_password, "Basic", "Basic"),
    (git_repository_with_either, "Bearer", "Basic"),
];

#[test]
fn each_git_sends_the_token_in_a_form_that_its_server_takes() {
    for git in gits() {
        for (server, newer, older) in SERVERS {
            let world = World::new();
            let repository = server(&world.authority, &world.astra);
            let line = format!("clone --quiet {}/demo.git", repository.url());
            let call = git_at(&git.path, &world, &repository, true, &line);
            // A second helper, which stores the credential that git passes to it.
            let call =
                call.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", "credential.helper");
            let store = format!("store --file={}", world.path("stored").display());
            let done = call.env("GIT_CONFIG_VALUE_0", store).arg(world.path("demo")).run();
            let scheme = if git.has_authtype { newer } else { older };
            if scheme == "none" {
                done.failure(128);
                assert!(schemes(&repository).iter().all(|scheme| scheme == "none 401"));
                continue;
            }
            assert_eq!(done.quiet(), "", "{done}");
            let (with, without) = (format!("{scheme} 200"), "none 401".to_owned());
            let schemes = schemes(&repository);
            assert!(schemes.iter().all(|it| *it == with || *it == without), "{schemes:?}");
            assert_eq!((schemes.first(), schemes.last()), (Some(&without), Some(&with)));
            assert_eq!(repository.asked().pop().unwrap().token(), world.astra.last_token());
            assert_eq!(world.astra.exchanges(), 1);
            // With `ephemeral`, git does not pass the token to the second helper.
            assert_eq!(world.path("stored").exists(), !git.has_authtype);
        }
    }
}

#[test]
fn a_revoked_token_costs_one_failure_because_git_erases_it() {
    for git in gits() {
        for (server, ..) in SERVERS.into_iter().skip(usize::from(!git.has_authtype)) {
            let world = World::new();
            let repository = server(&world.authority, &world.astra);
            let line = format!("ls-remote {}/demo.git", repository.url());
            let run = || git_at(&git.path, &world, &repository, true, &line).run();
            run().quiet();
            world.astra.revoke_all();
            let error = run().failure(128);
            assert!(error.contains("Authentication failed") || error.contains("401"), "{error}");
            assert_eq!(repository.asked().pop().unwrap().status, 401);
            assert_eq!(world.call("status").run().code(), 1, "a token is left");
            run().quiet();
            assert_eq!(repository.asked().pop().unwrap().token(), world.astra.last_token());
            assert_eq!(world.astra.exchanges(), 2);
        }
    }
}

#[test]
fn after_a_failure_git_does_not_prompt_its_user() {
    for git in gits() {
        let world = World::new();
        let repository = git_repository_with_password(&world.authority, &world.astra);
        world.astra.set_secret("00000000-fake-4000-8000-rotated0000");
        let line = format!("ls-remote {}/demo.git", repository.url());
        let asks = world.write("ask", "#!/bin/sh\ntouch \"$HOME/asked\"\necho me\n");
        set_mode(&asks, 0o700);
        let call = git_at(&git.path, &world, &repository, true, &line).env("GIT_ASKPASS", asks);
        let error = call.run().failure(128);
        assert!(error.contains("rejected") && error.contains("told us to quit"), "{error}");
        assert!(!world.path("asked").exists());
        assert_eq!(schemes(&repository), ["none 401"]);
    }
}

#[test]
fn an_unknown_host_gets_no_token_and_cannot_erase_one() {
    needs!("git");
    let world = World::new();
    let repository = git_repository(&world.authority, &world.astra);
    let line = format!("ls-remote {}/demo.git", repository.url());
    let error = git(&world, &repository, false, &line).run().failure(128);
    // The only message is git's own, that it has no user name.
    assert!(error.starts_with("fatal: could not read Username"), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
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
    needs!("git");
    let world = World::new();
    let repository = git_repository(&world.authority, &world.astra);
    world.astra.set_secret("00000000-fake-4000-8000-rotated0000");
    let error = ls_remote(&world, &repository).run().failure(128);
    assert!(error.contains("rejected"), "{error}");
    assert_eq!(schemes(&repository), ["none 401"]);
    assert_eq!(world.astra.exchanges(), 1);
}
