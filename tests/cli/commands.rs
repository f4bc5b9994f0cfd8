//! What people and scripts type: JSON, headers, variables, `exec` and `forget`.

use std::process::{Command, Stdio};

use crate::world::{World, finish, is_installed, transcript};

#[test]
fn token_prints_json_when_asked() {
    let world = World::new();
    let json = world.call("token --format json").run();
    let parsed: serde_json::Value = serde_json::from_str(&json.quiet()).unwrap();
    assert_eq!(parsed["token"], world.astra.last_token().unwrap());
    world.write_account("AstraCS:i:0f0f");
    let endless = world.call("token --format json").run();
    assert_eq!(endless.quiet(), "{\"token\":\"AstraCS:i:0f0f\"}\n");
    transcript!(json, endless, world.call("header").run());
}

#[test]
fn env_is_written_for_its_shell() {
    let world = World::new();
    let parts = ["sh", "fish", "powershell", "json"]
        .map(|shell| world.call(&format!("env --shell {shell}")).run());
    parts.iter().for_each(|done| drop(done.quiet()));
    for (path, shell) in [("/usr/bin/fish", 1), ("/opt/pwsh", 2), ("/bin/zsh", 0), ("", 0)] {
        let guessed = world.call("env").env("SHELL", path).run();
        assert_eq!(guessed.quiet(), parts[shell].quiet(), "{path}");
    }
    let [sh, fish, powershell, json] = parts;
    world.write_account("AstraCS:i:0f0f");
    let endless = world.call("env").run();
    transcript!(sh, fish, powershell, json, endless);
}

#[test]
fn env_sets_the_variables_under_eval() {
    let world = World::new();
    for shell in ["sh", "bash", "fish"] {
        let is_there = Command::new(shell).args(["-c", "true"]).status().is_ok();
        if !is_there {
            eprintln!("SKIPPED: `{shell}` is not installed");
            continue;
        }
        let script = match shell {
            "fish" => {
                "$BIN env --shell fish | source; printf '%s %s' $ASTRA_API_TOKEN $ASTRA_API_TOKEN_EXPIRES_AT"
            }
            _ => {
                "eval \"$($BIN env)\"; printf '%s %s' \"$ASTRA_API_TOKEN\" \"$ASTRA_API_TOKEN_EXPIRES_AT\""
            }
        };
        let done =
            world.call_as(shell, "-c").arg(script).env("BIN", crate::world::BINARY).run().quiet();
        let (token, expires) = done.split_once(' ').unwrap();
        assert_eq!(token, world.token());
        assert!(expires.ends_with('Z') && expires.len() == 20, "{expires}");
    }
}

/// The expiry of the stand-in's tokens is ten hours away, and they are renewed minutes before it.
#[test]
fn the_variable_holds_the_expiry_of_the_token_and_json_the_instant_of_renewal() {
    let world = World::new();
    let variable = world.call("exec -- printenv ASTRA_API_TOKEN_EXPIRES_AT").run().quiet();
    assert!(world.call("env").run().quiet().contains(&format!("'{}'", variable.trim_end())));
    let status = world.call("status --json").run().stdout();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["token"]["expires_at"], variable.trim_end());
    let json = world.call("token --format json").run().quiet();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["expires"], status["token"]["renewed_at"]);
    assert_ne!(json["expires"], status["token"]["expires_at"]);
    // A token that lives for less than is asked for too, which is renewed at once.
    let wanting = "exec --min-valid 20h -- printenv ASTRA_API_TOKEN_EXPIRES_AT";
    assert!(world.call(wanting).run().stdout() >= variable);
}

#[test]
fn exec_gives_the_command_the_token_and_is_replaced_by_it() {
    let world = World::new();
    let shown = world.call("exec -- sh -c").arg("printf %s \"$ASTRA_API_TOKEN\"").run().quiet();
    assert_eq!(shown, world.token());
    // Without `--` too, flags of the command included.
    assert_eq!(world.call("exec printenv ASTRA_API_TOKEN").run().quiet().trim_end(), shown);
    assert_eq!(world.call("exec -- sh -c").arg("exit 42").run().code(), 42);
    let killed = world.call("exec -- sh -c").arg("kill -TERM $$").run();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&killed.output.status), Some(15));
    let child = world.call("exec -- sh -c").arg("echo $$").start();
    let id = child.id();
    assert_eq!(finish(child).1.trim_end(), id.to_string());
    assert_eq!(world.call("exec -- cat").input("typed").run().quiet(), "typed");
}

#[test]
fn exec_fails_as_a_shell_does() {
    let world = World::new();
    let missing = world.call("exec -- no-such-command").run();
    missing.failure(127);
    let file = world.write("not-executable", "");
    let closed = world.call("exec --").arg(file).run();
    closed.failure(126);
    let nothing = world.call("exec").run();
    nothing.failure(2);
    world.write_account("{}");
    world.call("exec -- true").run().failure(3);
    transcript!(missing, closed, nothing);
}

#[test]
fn the_child_of_exec_inherits_no_descriptor_and_can_dump_core() {
    let world = World::new();
    for _ in ["cold", "warm"] {
        let listed = world.call("exec -- ls -l /proc/self/fd").run().quiet();
        assert!(!listed.contains("astra-credential") && !listed.contains("socket:"), "{listed}");
    }
    let limits = world.call("exec -- cat /proc/self/limits").run().quiet();
    let ours = std::fs::read_to_string("/proc/self/limits").unwrap();
    let core =
        |text: &str| text.lines().find(|line| line.starts_with("Max core")).map(str::to_owned);
    assert_eq!(core(&limits), core(&ours));
}

#[test]
fn broken_pipes_end_the_child_of_exec_as_usual() {
    let world = World::new();
    let script = "\"$BIN\" exec -- sh -c 'yes; echo $? >&2' | head -n 1; exit ${PIPESTATUS[0]}";
    let done = world.call_as("bash", "-c").arg(script).env("BIN", crate::world::BINARY).run();
    // `yes` dies of SIGPIPE instead of complaining of it.
    assert!(!done.stderr().contains("Broken pipe"), "{done}");
}

#[test]
fn the_secret_is_in_no_argument_and_no_environment() {
    let world = World::new();
    let script = "tr '\\0' '\\n' < /proc/self/environ; tr '\\0' '\\n' < /proc/self/cmdline";
    let shown = world.call("exec -- sh -c").arg(script).run().quiet();
    assert!(shown.contains("ASTRA_API_TOKEN=") && !shown.contains("secret0000"));
}

#[test]
fn forget_drops_this_accounts_token_or_all() {
    let world = World::new();
    world.call("forget").run().quiet();
    world.call("forget --all").run().quiet();
    assert!(!world.cache_dir().exists());
    let first = world.token();
    let right = world.astra.account_json();
    world.astra.set_secret("00000000-fake-4000-8000-rotated0000");
    world.write_account(&world.astra.account_json());
    let second = world.token();
    assert_eq!(world.call("forget").run().quiet(), "");
    assert_ne!(world.token(), second);
    world.write_account(&right);
    assert_eq!(world.token(), first);
    let foreign = world.cache_dir().join("notes.entry");
    std::fs::write(&foreign, "mine").unwrap();
    assert_eq!(world.call("forget --all").run().quiet(), "");
    assert_eq!(std::fs::read(&foreign).unwrap(), b"mine");
    assert_eq!(world.cached("lock").len(), 2);
    let exchanges = world.astra.exchanges();
    world.astra.set_secret("00000000-fake-4000-8000-secret000000");
    assert_ne!(world.token(), first);
    assert_eq!(world.astra.exchanges(), exchanges + 1);
}

#[test]
fn forget_clears_a_remembered_rejection() {
    let world = World::new();
    let right = world.astra.account_json();
    world.astra.set_secret("another");
    world.call("token").run().failure(4);
    world.astra.set_secret("00000000-fake-4000-8000-secret000000");
    assert_eq!(right, world.astra.account_json());
    world.call("token").run().failure(4);
    world.call("forget").run().quiet();
    world.token();
}

#[test]
fn a_link_under_any_other_name_is_the_full_program() {
    let world = World::new();
    for name in ["kubectl-astra", "astra", "astra-credential.exe"] {
        assert_eq!(
            world.call_as(world.link(name), "token").run().quiet().trim_end(),
            world.token()
        );
    }
    let request = format!(r#"{{"uri":"{}"}}"#, world.astra.url());
    let bazel = world.call_as(world.link("bazel-credential-astra"), "get").input(request).run();
    assert!(bazel.quiet().contains("Bearer"));
    let request = format!("protocol=https\nhost=localhost:{}\n\n", world.astra.port());
    let exe = world.call_as(world.link("git-credential-astra.exe"), "get").input(request).run();
    assert!(exe.quiet().starts_with("username="));
}

#[test]
fn kubectl_finds_it_as_a_plugin() {
    if !is_installed("kubectl") {
        return;
    }
    let world = World::new();
    let folder = world.link("kubectl-astra").parent().unwrap().to_owned();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let mut child = world.call_as("kubectl", "astra token").env("PATH", path).command();
    let output = child.stdin(Stdio::null()).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim_end(), world.token());
}
