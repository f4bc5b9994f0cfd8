//! The last failure, which is recorded because some tools do not show a helper's standard error.

use std::fs;
use std::thread;
use std::time::{Duration, SystemTime};

use crate::stand_in::Reply;
use crate::world::{World, contents, finish, mode, transcript};

/// The last failure that `status` shows.
fn last(world: &World) -> serde_json::Value {
    let done = world.call("status --json").run();
    serde_json::from_str::<serde_json::Value>(&done.stdout()).unwrap()["last_failure"].take()
}

fn wrong(world: &World) {
    world.write_account(&world.astra.account_json().replace("secret000000", "wrong0000000"));
}

#[test]
fn status_shows_the_last_failure_of_a_tool() {
    let world = World::new();
    wrong(&world);
    world.call("kubernetes").run().failure(4);
    let rejected = world.call("status").run();
    fs::remove_file(world.account_file()).unwrap();
    world.call_as(world.link("git-credential-astra"), "get").input(world.git_request()).run();
    let missing = world.call("status").run();
    transcript!(rejected, missing);
}

#[test]
fn a_failure_replaces_the_last_one_and_a_success_does_not() {
    let world = World::new();
    world.astra.set_answer(|_, _| Reply::error(500, "down"));
    world.call("header").run().failure(5);
    world.astra.clear_answer();
    world.call("token --refresh").run().quiet();
    assert_eq!(last(&world)["exit_code"], 5);
    world.astra.set_answer(|_, _| Reply::error(401, "revoked"));
    world.call("header --refresh").run().failure(4);
    assert_eq!(
        (&last(&world)["command"], &last(&world)["exit_code"]),
        (&"header".into(), &4.into())
    );
    assert_eq!(world.cached("failure").len(), 1);
}

#[test]
fn each_account_has_its_own_last_failure() {
    let world = World::new();
    let right = world.astra.account_json();
    wrong(&world);
    world.call("token").run().failure(4);
    world.write_account(&right);
    assert_eq!(last(&world), serde_json::Value::Null);
    wrong(&world);
    assert_eq!(last(&world)["exit_code"], 4);
}

#[test]
fn a_failure_before_the_account_is_known_is_recorded() {
    let world = World::new();
    world.call("token").env("ASTRA_CREDENTIAL_TIMEOUT", "soon").run().failure(2);
    assert_eq!(last(&world)["exit_code"], 2);
    world.call("bazel get").input("[]").run().failure(1);
    assert_eq!(last(&world)["command"], "bazel");
    world.write_account("{}");
    world.call_as(world.link("docker-credential-astra"), "get").input(world.astra.url()).run();
    // Docker's protocol has one exit code for all failures. The record has the usual one.
    assert_eq!(
        (&last(&world)["command"], &last(&world)["exit_code"]),
        (&"docker".into(), &3.into())
    );
}

#[test]
fn a_usage_error_is_recorded_without_its_values() {
    let world = World::new();
    let mut kept = String::new();
    for line in [
        "kubernetes --hst hush.example.com",
        "exec-credential hush",
        "git",
        "bazel get --timeout",
        "token --format hush",
        "token --hush=hush",
        "--timeout 3 hush hush",
        "",
    ] {
        assert_eq!(world.call(line).run().code(), 2);
        let failure = last(&world);
        assert_eq!(failure["exit_code"], 2, "{line}");
        let word = |name: &str| failure[name].as_str().unwrap().to_owned();
        let (command, message, hint) = (word("command"), word("message"), word("hint"));
        assert!(!(message.clone() + &hint).replace("--hush", "").contains("hush"), "{message}");
        kept += &format!("{line}: `{command}`\n  {message}\n  hint: {hint}\n");
    }
    transcript!(kept);
}

/// A person runs these commands and sees the error.
#[test]
fn a_usage_error_of_a_command_for_people_is_not_recorded() {
    let world = World::new();
    for line in ["status --hst", "doctor --hst", "setup --hst", "man hst", "completions"] {
        world.call(line).run().failure(2);
    }
    assert!(!world.path(".cache").exists());
}

/// A world with an account `prod` at the same API. `ASTRA_API_URL` does not apply to that account.
fn with_prod() -> World {
    let world = World::new();
    let line = format!("setup account --account prod --api-url {}", world.astra.url());
    let stored = world.call(&line).input(world.astra.account_json()).run();
    assert_eq!(stored.code(), 0, "{stored}");
    world
}

#[test]
fn the_hint_for_a_host_that_refuses_tokens_names_its_account() {
    let world = with_prod();
    let terraform = |verb: &str| {
        let line = format!("terraform --account prod --host git.example.com {verb}");
        world.call(&line).arg("git.example.com").run()
    };
    for verb in ["get", "forget", "get", "forget"] {
        assert_eq!(terraform(verb).code(), 0, "{verb}");
    }
    let refused = terraform("get").failure(4);
    assert!(refused.contains("`astra-credential forget --account prod` makes"), "{refused}");
}

#[test]
fn the_hint_for_a_rejected_account_names_the_account_or_its_file() {
    let world = with_prod();
    world.astra.set_answer(|_, _| Reply::error(401, "no such service account"));
    let rejected = world.call("token --refresh --account prod").run().failure(4);
    assert!(rejected.contains("`astra-credential setup account --account prod`"), "{rejected}");
    let rejected = world.call("token --refresh").run().failure(4);
    assert!(rejected.contains("with `astra-credential setup account`"), "{rejected}");
    let file = world.write("mine.json", world.astra.account_json().replace("client0", "client1"));
    let rejected = world.call("token --service-account").arg(file).run().failure(4);
    assert!(rejected.contains("mine.json` still exists"), "{rejected}");
    assert!(!rejected.contains("setup account"), "{rejected}");
}

#[test]
fn a_mistake_in_the_last_argument_is_named() {
    let world = World::new();
    let unknown = world.call("man nope").run().failure(2);
    assert!(unknown.contains("`[NAME]` is one of `astra-credential`"), "{unknown}");
    for flag in ["--timeout", "--min-valid"] {
        let negative = world.call("token").args(flag).arg("-1").run().failure(2);
        assert!(negative.contains(&format!("`{flag}` is `-1`, which is not")), "{negative}");
    }
}

#[test]
fn an_account_in_place_of_an_argument_is_neither_shown_nor_kept() {
    let world = World::new();
    let account = world.astra.account_json();
    for line in ["token", "setup account", "git --format"] {
        for slip in [account.as_str(), "AstraCS:i:5ecret000"] {
            let error = world.call(line).arg(slip).run().failure(2);
            assert!(!error.contains("secret000") && !error.contains("5ecret"), "{error}");
            for (_, bytes) in contents(&world.cache_dir()) {
                let text = String::from_utf8_lossy(&bytes);
                assert!(!text.contains("secret000") && !text.contains("5ecret"), "{text}");
            }
        }
    }
}

#[test]
fn doctor_does_not_replace_the_last_failure_of_a_tool() {
    let world = World::new();
    wrong(&world);
    world.call("kubernetes").run().failure(4);
    assert_eq!(world.call("doctor --online").run().code(), 1);
    assert_eq!(last(&world)["command"], "kubernetes");
}

#[test]
fn a_failure_is_private_and_sealed_if_the_account_is_known() {
    let world = World::new();
    wrong(&world);
    world.call("token").run().failure(4);
    for (path, bytes) in contents(&world.cache_dir()) {
        let text = String::from_utf8_lossy(&bytes);
        for word in ["localhost", "rejected", "token", "client", ".config"] {
            assert!(!text.contains(word), "{word} in {}", path.display());
        }
    }
    world.write_account("{}");
    world.call("token").run().failure(3);
    assert_eq!(world.cached("failure").len(), 2);
    for path in world.cached("failure") {
        assert_eq!(mode(&path), 0o600);
    }
}

#[test]
fn an_account_in_place_of_its_file_is_not_kept() {
    let world = World::new();
    let account = world.astra.account_json();
    for slip in [account.as_str(), "AstraCS:i:5ecret000"] {
        world.call("token").env("ASTRA_SERVICE_ACCOUNT", slip).run().failure(3);
        world.call("token").env("ASTRA_API_URL", slip).run().failure(2);
        for line in ["status", "status --json"] {
            let shown = world.call(line).env("ASTRA_SERVICE_ACCOUNT", slip).run().stdout();
            assert!(!shown.contains("secret000") && !shown.contains("5ecret"), "{shown}");
        }
        for (_, bytes) in contents(&world.cache_dir()) {
            let text = String::from_utf8_lossy(&bytes);
            assert!(!text.contains("secret000") && !text.contains("5ecret"), "{text}");
        }
    }
}

#[test]
fn a_failure_from_the_cache_is_stored_without_the_times_of_its_call() {
    let world = World::new();
    wrong(&world);
    world.call("token").run().failure(4);
    let first = last(&world)["message"].clone();
    let again = world.call("token").run().failure(4);
    assert!(again.contains(" s ago; not asked again"), "{again}");
    assert_eq!(last(&world)["message"], first);
}

#[test]
fn forget_deletes_the_last_failure() {
    let world = World::new();
    for line in ["forget", "forget --all"] {
        wrong(&world);
        world.call("token").run().failure(4);
        let account = fs::read(world.account_file()).unwrap();
        world.write_account("{}");
        world.call("token").run().failure(3);
        world.write_account(&String::from_utf8(account).unwrap());
        assert_eq!(world.cached("failure").len(), 2);
        world.call(line).run().quiet();
        assert_eq!(world.cached("failure").len(), 0, "{line}");
        let shown = world.call("status").run();
        assert!(!shown.stdout().contains("cached error"), "{shown}");
        assert_eq!(last(&world), serde_json::Value::Null, "{line}");
    }
}

#[test]
fn forget_deletes_the_last_failure_with_an_application_token_too() {
    let world = World::new();
    world.write_account("{}");
    world.call("token").run().failure(3);
    world.write_account("AstraCS:i:0f0f");
    assert_ne!(last(&world), serde_json::Value::Null);
    world.call("forget").run().quiet();
    assert_eq!(last(&world), serde_json::Value::Null);
}

#[test]
fn a_failure_is_deleted_after_a_month() {
    let world = World::new();
    wrong(&world);
    world.call("token").run().failure(4);
    world.write_account("{}");
    world.call("token").run().failure(3);
    world.write_account(&world.astra.account_json());
    world.token();
    assert_eq!(world.cached("failure").len(), 2);
    let long_ago = SystemTime::now() - Duration::from_secs(31 * 24 * 3600);
    for path in world.cached("failure") {
        fs::File::options().write(true).open(path).unwrap().set_modified(long_ago).unwrap();
    }
    world.call("token --refresh").run().quiet();
    assert_eq!(world.cached("failure").len(), 0);
}

#[test]
fn without_a_cache_no_failure_is_recorded() {
    let world = World::new();
    wrong(&world);
    world.call("token --no-cache").run().failure(4);
    world.write_account("{}");
    world.call("token").env("ASTRA_CREDENTIAL_NO_CACHE", "1").run().failure(3);
    world.call("token --no-cache --hst").run().failure(2);
    assert!(!world.path(".cache").exists());
}

#[test]
fn status_without_a_cache_shows_no_recorded_failure() {
    let world = World::new();
    world.write_account("{}");
    world.call("token").run().failure(3);
    assert!(world.call("status").run().stdout().contains("last failure"));
    let done = world.call("status --no-cache").run();
    assert!(!done.stdout().contains("last failure"), "{done}");
}

#[test]
fn an_unknown_host_and_an_error_of_status_are_not_recorded() {
    let world = World::new();
    // Docker and git run their helpers for unknown hosts too.
    world.call("docker get").input("https://unknown.example").run();
    world.call("git get").input("protocol=https\nhost=unknown.example\n\n").run();
    // A person who calls `status` sees the error.
    world.call("status").run();
    world.call("status").env("ASTRA_CREDENTIAL_TIMEOUT", "soon").run().failure(2);
    assert!(!world.path(".cache").exists());
}

#[test]
fn the_latest_failure_is_shown_whether_its_account_was_known_or_not() {
    let world = World::new();
    wrong(&world);
    for line in ["bazel get", "token", "bazel get"] {
        world.call(line).input("[]").run();
        assert_eq!(last(&world)["command"], line.split(' ').next().unwrap());
        // The recorded times are whole seconds.
        thread::sleep(Duration::from_millis(1100));
    }
}

#[test]
fn a_failure_that_cannot_be_recorded_changes_no_message() {
    let world = World::new();
    world.write_account("{}");
    let kept = world.call("token").run().failure(3);
    fs::remove_dir_all(world.path(".cache")).unwrap();
    world.write(".cache", "not a folder");
    assert_eq!(world.call("token").run().failure(3), kept);
    fs::remove_file(world.path(".cache")).unwrap();
    // A folder in place of the file is moved away.
    fs::create_dir_all(world.cache_dir().join("last.failure")).unwrap();
    assert_eq!(world.call("token").run().failure(3), kept);
    assert_eq!(last(&world)["exit_code"], 3);
}

#[test]
fn many_failures_at_once_leave_one_whole_file() {
    let world = World::new();
    wrong(&world);
    let children: Vec<_> = (0..100).map(|_| world.call("token").start()).collect();
    for child in children {
        assert_eq!(finish(child).0, 4);
    }
    assert_eq!((world.cached("failure").len(), world.cached("tmp").len()), (1, 0));
    assert_eq!(last(&world)["exit_code"], 4);
}
