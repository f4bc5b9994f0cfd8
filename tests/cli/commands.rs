//! Commands for people and scripts: JSON, headers, variables, `exec` and `forget`.

use std::process::Stdio;

use crate::world::{World, finish, is_installed, needs, set_mode, transcript};

#[test]
fn token_prints_json_when_asked() {
    let world = World::new();
    let json = world.call("token --format json").run();
    let parsed: serde_json::Value = serde_json::from_str(&json.quiet()).unwrap();
    assert_eq!(parsed["token"], world.astra.last_token().unwrap());
    world.write_account("AstraCS:i:0f0f");
    let endless = world.call("token --format json").run();
    assert_eq!(endless.quiet(), "{\"token\":\"AstraCS:i:0f0f\"}\n");
    transcript!(json, endless, world.call("header").run(), @r#"
    $ astra-credential token --format json
    > {"token":"<token>","expires":"<time>"}

    $ astra-credential token --format json
    > {"token":"AstraCS:i:0f0f"}

    $ astra-credential header
    > Authorization: Bearer AstraCS:i:0f0f
    "#);
}

#[test]
fn without_a_command_the_help_is_on_standard_error_in_place_of_the_error() {
    let world = World::new();
    let help = world.call("--help").run().quiet();
    let done = world.call("").run();
    assert_eq!((done.code(), done.stdout(), done.stderr()), (2, String::new(), help));
}

/// Each value of `--shell`, without its other names.
const FORMS: [&str; 8] = ["sh", "fish", "csh", "powershell", "cmd", "elvish", "xonsh", "json"];

#[test]
fn env_is_written_for_its_shell() {
    let world = World::new();
    let mut shown = Vec::new();
    for shell in FORMS {
        let done = world.call(&format!("env --shell {shell}")).run();
        done.quiet();
        shown.push(done.to_string());
    }
    world.write_account("AstraCS:i:0f0f");
    shown.push(world.call("env").run().to_string());
    std::fs::remove_file(world.account_file()).unwrap();
    let failed = world.call("env").run();
    shown.push(failed.to_string());
    for shell in FORMS {
        let done = world.call(&format!("env --shell {shell}")).run();
        assert_eq!((done.code(), done.stderr()), (3, failed.stderr()), "{done}");
        // The message, which is the same for all shells, is shown once.
        let lines = done.to_string();
        let lines = lines.lines().filter(|line| !line.starts_with("! "));
        shown.push(lines.map(|line| format!("{line}\n")).collect());
    }
    transcript!(shown.join("\n"));
}

#[test]
fn env_takes_other_names_of_a_shell_and_ignores_the_login_shell() {
    let world = World::new();
    let with_shell = |line: &str, path: &str| world.call(line).env("SHELL", path).run().quiet();
    let named = |name: &str| with_shell(&format!("env --shell {name}"), "/usr/bin/fish");
    for (name, other) in
        [("bash", "sh"), ("zsh", "sh"), ("dash", "sh"), ("tcsh", "csh"), ("pwsh", "powershell")]
    {
        assert_eq!(named(name), named(other), "{name}");
    }
    for path in ["/usr/bin/fish", "/opt/pwsh", "/bin/tcsh", "/usr/bin/nu", ""] {
        assert_eq!(with_shell("env", path), named("sh"), "{path}");
    }
}

#[test]
fn a_token_that_is_too_long_for_cmd_is_refused_and_the_variables_are_unset() {
    let world = World::new();
    world.write_account(&format!("AstraCS:i:{}", "0f".repeat(4000)));
    let done = world.call("env --shell cmd").run();
    assert_eq!(done.code(), 1, "{done}");
    transcript!(done, @r#"
    $ astra-credential env --shell cmd
    > set "ASTRA_API_TOKEN="
    > set "ASTRA_API_TOKEN_EXPIRES_AT="
    > cmd /c exit 1
    ! astra-credential: cmd.exe cannot take the token: it has more than 8000 characters
    ! hint: run `astra-credential exec -- COMMAND`, which needs no shell
    [exit status: 1]
    "#);
    drop(world.call("env --shell powershell").run().quiet());
}

#[test]
fn env_for_an_unknown_shell_is_an_error() {
    let world = World::new();
    let parts = ["nu", "cmd.exe", "no-such-shell"].map(|name| {
        let done = world.call(&format!("env --shell {name}")).run();
        assert_eq!(done.code(), 2, "{done}");
        done
    });
    let [nu, ..] = parts;
    transcript!(nu, @"
    $ astra-credential env --shell nu
    > unset ASTRA_API_TOKEN;
    > unset ASTRA_API_TOKEN_EXPIRES_AT;
    > false;
    ! astra-credential: the command line cannot be used: `--shell` is one of `sh`, `fish`, `csh`, `powershell`, `cmd`, `elvish`, `xonsh`, `json`
    ! hint: compare the command line, or the tool's configuration, with `astra-credential env --help`
    [exit status: 2]
    ");
}

#[test]
fn a_wrong_command_line_of_env_unsets_the_variables_too() {
    let world = World::new();
    std::fs::remove_file(world.account_file()).unwrap();
    for (line, shell) in [
        ("env --timeout soon --shell fish", "fish"),
        ("env --shell csh --no-such-flag", "csh"),
        ("env --shell cmd surplus", "cmd"),
        ("env --no-such-flag --shell=elvish", "elvish"),
        ("env --no-such-flag", "sh"),
        ("env --shell no-such-shell", "sh"),
        ("--timeout 3 env surplus", "sh"),
    ] {
        let (done, expected) =
            (world.call(line).run(), world.call(&format!("env --shell {shell}")).run());
        assert_eq!((done.code(), done.stdout()), (2, expected.stdout()), "{line}");
        assert_ne!(done.stdout(), "", "{line}");
    }
}

#[test]
fn a_wrong_command_line_prints_nothing_where_nothing_is_evaluated() {
    let world = World::new();
    for line in ["token --no-such-flag", "header --no-such-flag", "env --shell json surplus"] {
        world.call(line).run().failure(2);
    }
}

/// Each shell with its arguments, and a script that evaluates the output of `$BIN env $FLAGS` and shows the
/// status of the evaluation and both variables between brackets.
const SHELLS: [(&str, &str, &str); 11] = [
    ("sh", "-c", SH),
    ("dash", "-c", SH),
    ("bash", "-c", SH),
    // Without quotes, the lines become words.
    ("bash", "-c", "eval $($BIN env $FLAGS); echo \"$? [$ASTRA_API_TOKEN] [$ASTRA_API_TOKEN_EXPIRES_AT]\""),
    ("ksh", "-c", SH),
    ("mksh", "-c", SH),
    ("zsh", "-fyc", SH),
    (
        "fish",
        "-Nc",
        "eval $BIN env --shell fish $FLAGS | source
        echo $status \"[$ASTRA_API_TOKEN] [$ASTRA_API_TOKEN_EXPIRES_AT]\"",
    ),
    (
        "tcsh",
        "-fc",
        "eval \"`$BIN env --shell csh $FLAGS`\"
        echo $status \"[`printenv ASTRA_API_TOKEN`] [`printenv ASTRA_API_TOKEN_EXPIRES_AT`]\"",
    ),
    (
        "elvish",
        "-norc -c",
        "use re; var status = 0
        var flags = [(re:find '[^ ]+' $E:FLAGS | each {|found| put $found[text] })]
        try { (external $E:BIN) env --shell elvish $@flags > $E:HOME/printed } catch { nop }
        try { eval (slurp < $E:HOME/printed) } catch { set status = 1 }
        var show = {|name| if (has-env $name) { print ' ['(get-env $name)']' } else { print ' []' } }
        print $status; $show ASTRA_API_TOKEN; $show ASTRA_API_TOKEN_EXPIRES_AT",
    ),
    (
        "xonsh",
        "--no-rc -c",
        "
status = 0
try:
    execx($(@($BIN) env --shell xonsh @($FLAGS.split())))
except Exception:
    status = 1
names = ['ASTRA_API_TOKEN', 'ASTRA_API_TOKEN_EXPIRES_AT']
print(status, *('[' + str(${...}.get(name, '')) + ']' for name in names))",
    ),
];

const SH: &str = "eval \"$($BIN env $FLAGS)\"
    echo \"$? [${ASTRA_API_TOKEN-}] [${ASTRA_API_TOKEN_EXPIRES_AT-}]\"";

/// The status and the variables that `shell` shows. Both variables are set at its start.
fn evaluated(world: &World, shell: (&str, &str, &str), flags: &str) -> String {
    let (program, arguments, script) = shell;
    let call = world.call_as("/usr/bin/env", program);
    let call = arguments.split(' ').fold(call, |call, word| call.arg(word)).arg(script);
    let call = call
        .env("BIN", world.link("astra-credential"))
        .env("FLAGS", flags)
        .env("LC_ALL", "C.UTF-8");
    let call = call.env("ASTRA_API_TOKEN", "old").env("ASTRA_API_TOKEN_EXPIRES_AT", "old");
    call.run().stdout().trim_end().to_owned()
}

#[test]
fn env_sets_the_variables_under_eval_and_unsets_them_when_it_fails() {
    let world = World::new();
    let token = world.token();
    for shell in SHELLS.into_iter().filter(|(program, ..)| is_installed(program)) {
        let what = format!("{} {}", shell.0, shell.2);
        world.write_account(&world.astra.account_json());
        let shown = evaluated(&world, shell, "");
        let is_set = shown.starts_with(&format!("0 [{token}] [2")) && shown.ends_with("Z]");
        assert!(is_set, "{what}: {shown}");
        for flags in ["--no-such-flag", "--timeout soon", "surplus"] {
            // zsh passes the variable as one argument, which is an error too.
            assert_eq!(evaluated(&world, shell, flags), "1 [] []", "{what}: {flags}");
        }
        std::fs::remove_file(world.account_file()).unwrap();
        assert_eq!(evaluated(&world, shell, ""), "1 [] []", "{what}");
        world.write_account("AstraCS:i:0f0f");
        assert_eq!(evaluated(&world, shell, ""), "0 [AstraCS:i:0f0f] []", "{what}");
    }
}

#[test]
fn a_script_that_stops_at_errors_stops_where_env_fails() {
    let world = World::new();
    world.write_account("{}");
    for shell in ["sh", "dash", "bash", "ksh", "mksh", "zsh"] {
        if is_installed(shell) {
            let script = "set -e; eval \"$($BIN env)\"; echo went on";
            let call = world.call_as("/usr/bin/env", shell).arg("-c").arg(script);
            assert_ne!(
                call.env("BIN", world.link("astra-credential")).run().failure(1),
                "",
                "{shell}"
            );
        }
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
    // A token that is valid for less than `--min-valid` has its own expiry as well.
    let wanting = "exec --min-valid 20h -- printenv ASTRA_API_TOKEN_EXPIRES_AT";
    assert!(world.call(wanting).run().stdout() >= variable);
}

#[test]
fn exec_gives_the_command_the_token_with_and_without_two_hyphens() {
    let world = World::new();
    let shown = world.call("exec -- sh -c").arg("printf %s \"$ASTRA_API_TOKEN\"").run().quiet();
    assert_eq!(shown, world.token());
    // The command may have flags.
    assert_eq!(world.call("exec printenv ASTRA_API_TOKEN").run().quiet().trim_end(), shown);
}

#[test]
fn the_command_of_exec_has_the_process_of_the_call_and_its_standard_input() {
    let world = World::new();
    let child = world.call("exec -- sh -c").arg("echo $$").start();
    let id = child.id();
    assert_eq!(finish(child).1.trim_end(), id.to_string());
    assert_eq!(world.call("exec -- cat").input("typed").run().quiet(), "typed");
}

#[test]
fn exec_ends_with_the_exit_code_or_the_signal_of_its_command() {
    let world = World::new();
    assert_eq!(world.call("exec -- sh -c").arg("exit 42").run().code(), 42);
    let killed = world.call("exec -- sh -c").arg("kill -TERM $$").run();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&killed.output.status), Some(15));
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
    transcript!(missing, closed, nothing, @"
    $ astra-credential exec -- no-such-command
    ! astra-credential: cannot run `no-such-command`: No such file or directory (os error 2)
    ! hint: check the command's name, its permissions and `PATH`
    [exit status: 127]

    $ astra-credential exec -- ~/not-executable
    ! astra-credential: cannot run `~/not-executable`: Permission denied (os error 13)
    ! hint: check the command's name, its permissions and `PATH`
    [exit status: 126]

    $ astra-credential exec
    ! astra-credential: the command line cannot be used: `<COMMAND>` is missing
    ! hint: compare the command line, or the tool's configuration, with `astra-credential exec --help`
    [exit status: 2]
    ");
}

#[test]
fn exec_has_a_shell_run_a_script_without_an_interpreter() {
    let world = World::new();
    std::fs::create_dir(world.path("bin")).unwrap();
    let script = world.write("bin/deploy", "printf '%s %.3s' \"$2\" \"$ASTRA_API_TOKEN\"");
    world.write("deploy", "not executable");
    set_mode(&script, 0o755);
    let folders = [world.home.path(), &world.path("bin"), "/usr/bin".as_ref(), "/bin".as_ref()];
    let path = std::env::join_paths(folders).unwrap();
    // The first file of that name on `PATH` may not be executed.
    for program in ["bin/deploy", "deploy"] {
        let call = world.call("exec --").arg(program).args("-x two").env("PATH", &path);
        assert_eq!(call.in_folder(world.home.path()).run().quiet(), "two qyJ");
    }
    let garbage = world.write("garbage", [0x7f, b'E', b'L', b'F', 0, 0]);
    set_mode(&garbage, 0o755);
    assert_ne!(world.call("exec --").arg(garbage).run().code(), 0);
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
    let done =
        world.call_as("bash", "-c").arg(script).env("BIN", world.link("astra-credential")).run();
    // SIGPIPE kills `yes`, so that it prints no message.
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
fn forget_without_a_cache_creates_none() {
    let world = World::new();
    world.call("forget").run().quiet();
    world.call("forget --all").run().quiet();
    assert!(!world.cache_dir().exists());
}

/// A world with tokens of two accounts. Returns the first token, its account, and the second token, whose
/// account is in the account file.
fn with_two_tokens() -> (World, String, String, String) {
    let world = World::new();
    let (first, account) = (world.token(), world.astra.account_json());
    world.astra.set_secret("00000000-fake-4000-8000-rotated0000");
    world.write_account(&world.astra.account_json());
    let second = world.token();
    (world, first, account, second)
}

#[test]
fn forget_deletes_the_token_of_its_own_account_only() {
    let (world, first, account, second) = with_two_tokens();
    assert_eq!(world.call("forget").run().quiet(), "");
    assert_ne!(world.token(), second);
    world.write_account(&account);
    assert_eq!(world.token(), first);
}

#[test]
fn forget_all_deletes_every_token_and_no_other_file() {
    let (world, first, account, second) = with_two_tokens();
    let foreign = world.cache_dir().join("notes.entry");
    std::fs::write(&foreign, "mine").unwrap();
    assert_eq!(world.call("forget --all").run().quiet(), "");
    assert_eq!(std::fs::read(&foreign).unwrap(), b"mine");
    assert_eq!(world.cached("lock").len(), 2);
    assert_ne!(world.token(), second);
    world.astra.set_secret("00000000-fake-4000-8000-secret000000");
    world.write_account(&account);
    assert_ne!(world.token(), first);
    assert_eq!(world.astra.exchanges(), 4);
}

#[test]
fn forget_deletes_a_cached_rejection() {
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
}

#[test]
fn a_link_of_a_tool_is_its_command_with_and_without_exe() {
    let world = World::new();
    let request = format!(r#"{{"uri":"{}"}}"#, world.astra.url());
    let bazel = world.call_as(world.link("bazel-credential-astra"), "get").input(request).run();
    assert!(bazel.quiet().contains("Bearer"));
    let request = world.git_request();
    let exe = world.call_as(world.link("git-credential-astra.exe"), "get").input(request).run();
    assert!(exe.quiet().starts_with("username="));
}

#[test]
fn kubectl_finds_it_as_a_plugin() {
    needs!("kubectl");
    let world = World::new();
    world.link("kubectl-astra");
    let mut child = world.call_as("kubectl", "astra token").command();
    let output = child.stdin(Stdio::null()).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim_end(), world.token());
}

#[test]
fn the_child_of_exec_ignores_the_signals_that_its_caller_ignored() {
    let world = World::new();
    for ignored in ["", "PIPE", "XFSZ", "PIPE XFSZ"] {
        let trap = if ignored.is_empty() { String::new() } else { format!("trap '' {ignored}; ") };
        // The bits of signals 13 and 25 among those that the process ignores.
        let shown = |program: &str| {
            let script = format!("{trap}exec {program} grep SigIgn /proc/self/status");
            let call = world.call_as("/bin/bash", "-c").arg(script);
            let line = call.env("BIN", world.link("astra-credential")).run().quiet();
            let ignored = u64::from_str_radix(line.split_whitespace().last().unwrap(), 16).unwrap();
            ignored & (1 << 12 | 1 << 24)
        };
        assert_eq!(shown("\"$BIN\" exec --"), shown("env"), "{ignored}");
    }
}
