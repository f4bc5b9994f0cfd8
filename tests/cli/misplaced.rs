//! An account or a token in place of a setting, of an argument or of a tool's setting: neither shown nor kept.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use crate::secrets::{LONG_PIECE, Witness, holds_any, holds_secret, pieces};
use crate::spellings::{SECRET, spellings};
use crate::world::{BINARY, Call, Done, contents, needs, path};

/// The variables that are read, and a few that other programs read.
const VARIABLES: [&str; 19] = [
    "ASTRA_SERVICE_ACCOUNT",
    "ASTRA_CREDENTIAL_ACCOUNT",
    "ASTRA_CREDENTIAL_CONFIG",
    "ASTRA_API_URL",
    "ASTRA_CREDENTIAL_HOSTS",
    "ASTRA_CREDENTIAL_CACHE_DIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "ASTRA_CREDENTIAL_TIMEOUT",
    "ASTRA_CREDENTIAL_MIN_VALID",
    "ASTRA_CREDENTIAL_NO_CACHE",
    "ASTRA_CREDENTIAL_LOG",
    "ASTRA_CREDENTIAL_ALLOW_EXPOSED_FILE",
    "HTTPS_PROXY",
    "NO_PROXY",
    "KUBERNETES_EXEC_INFO",
    "XDG_CONFIG_HOME",
    "XDG_CACHE_HOME",
    "SHELL",
];

/// The command lines to which a value is appended.
const LINES: [&str; 39] = [
    "token --service-account",
    "token --account",
    "token --config",
    "token --api-url",
    "token --host",
    "token --cache-dir",
    "token --ca-file",
    "token --timeout",
    "token --min-valid",
    "token --format",
    "token --no-such-flag",
    "token --",
    "token",
    "--service-account",
    "header",
    "env",
    "env --shell",
    "exec",
    "exec --",
    "forget",
    "forget --service-account",
    "status",
    "status --service-account",
    "status --json --service-account",
    "status --cache-dir",
    "doctor",
    "kubernetes",
    "kubernetes --api-version",
    "help",
    "git",
    "bazel",
    "docker",
    "terraform",
    "terraform get",
    "setup",
    "setup account --service-account",
    "setup git --host",
    "setup git --host git.example.com --dry-run --service-account",
    "completions",
];

/// A quarter of the spellings, which differs from place to place; all of them if `is_whole`.
fn some_spellings(at: usize, is_whole: bool) -> impl Iterator<Item = (&'static str, String)> {
    let (first, step) = if is_whole { (0, 1) } else { (at % 4, 4) };
    spellings().into_iter().skip(first).step_by(step)
}

#[test]
fn an_account_in_any_spelling_in_any_variable_is_neither_shown_nor_kept() {
    let witness = Witness::with_token();
    for (at, name) in VARIABLES.into_iter().enumerate() {
        let is_of_the_network = name.contains("PROXY") || name.starts_with("SSL");
        let line = if is_of_the_network { "token --refresh --timeout 0.2 -v" } else { "token -v" };
        for (spelling, value) in some_spellings(at, name == "ASTRA_SERVICE_ACCOUNT") {
            for line in [line, "status"] {
                let call = witness.world.call(line).env(name, &value);
                witness.check_misplaced(&format!("{spelling} in {name}: {line}"), &value, call);
            }
            // The failure that was recorded.
            let call = witness.world.call("status --json");
            witness.check_misplaced(&format!("status after {spelling}"), &value, call);
        }
    }
}

#[test]
fn an_account_in_any_spelling_as_the_last_argument_is_neither_shown_nor_kept() {
    let witness = Witness::with_token();
    for (at, line) in LINES.into_iter().enumerate() {
        for (spelling, value) in some_spellings(at, line == "token --service-account") {
            let call = witness.world.call(line).env("ASTRA_CREDENTIAL_TIMEOUT", "0.5");
            let what = format!("{spelling} behind {line}");
            witness.check_misplaced(&what, &value, call.arg(&value));
        }
    }
}

#[test]
fn an_account_in_any_spelling_as_a_part_of_an_argument_is_neither_shown_nor_kept() {
    let witness = Witness::with_token();
    let lines = [("token", "--ca-file="), ("token", "--no-such-flag="), ("", "--"), ("", "-")];
    for (at, (line, start)) in lines.into_iter().enumerate() {
        for (spelling, value) in some_spellings(at, false) {
            let call = witness.world.call(line).env("ASTRA_CREDENTIAL_TIMEOUT", "0.5");
            let what = format!("{spelling} in {line} {start}");
            witness.check_misplaced(&what, &value, call.arg(format!("{start}{value}")));
        }
    }
}

#[test]
fn an_account_in_place_of_the_host_of_a_request_is_neither_shown_nor_kept() {
    let witness = Witness::with_token();
    let folder = tempfile::tempdir().unwrap();
    for (spelling, value) in spellings() {
        for host in [value.clone(), format!("{value}.example.com"), format!("{value}.datastax.com")]
        {
            let docker = json!({"credHelpers": {host.clone(): "astra"}});
            fs::write(folder.path().join("config.json"), docker.to_string()).unwrap();
            let url = format!("https://{host}/");
            let cluster = json!({
                "kind": "ExecCredential",
                "apiVersion": "client.authentication.k8s.io/v1",
                "spec": {"cluster": {"server": url}},
            });
            let calls = [
                ("bazel get", json!({"uri": url}).to_string(), Some(1)),
                ("docker get", host.clone(), Some(1)),
                ("kubernetes", String::new(), Some(1)),
                // Several lines are a malformed request.
                ("git get", format!("protocol=https\nhost={host}\n\n"), None),
                ("status --json", String::new(), Some(0)),
            ];
            for (line, input, code) in calls {
                let call = witness.world.call(line).input(input);
                let call = call.env("KUBERNETES_EXEC_INFO", cluster.to_string());
                let call = call.env("DOCKER_CONFIG", folder.path());
                let done = witness.run(&format!("{spelling} for {line}"), &value, call);
                assert!(code.is_none_or(|code| done.code() == code), "{spelling}: {done}");
            }
        }
    }
}

#[test]
fn doctor_shows_no_account_in_any_spelling() {
    let witness = Witness::with_token();
    // Each call connects to the server.
    for (spelling, value) in spellings().into_iter().step_by(9) {
        for name in [VARIABLES[0], VARIABLES[4], VARIABLES[5], VARIABLES[6]] {
            let call = witness.world.call("doctor --timeout 0.5").env(name, &value);
            witness.check_misplaced(&format!("doctor: {spelling} in {name}"), &value, call);
        }
    }
}

/// A host, an account's name, a path and an argument in a tool's configuration may be the account.
#[test]
fn doctor_shows_no_account_that_is_in_a_tools_configuration() {
    needs!("git");
    let Witness { world, .. } = Witness::with_token();
    let check = |what: &str, value: &str, call: Call<'_>| {
        let shown = call.run().stdout();
        assert!(shown.matches("configured in").count() > 3, "{what}: {shown}");
        let is_clean = !holds_secret(shown.as_bytes())
            && !holds_any(shown.as_bytes(), &pieces(value.as_bytes(), LONG_PIECE));
        assert!(is_clean, "{what}: {shown}");
    };
    for folder in [".kube", ".docker", "bin"] {
        fs::create_dir(world.path(folder)).unwrap();
    }
    for (spelling, value) in spellings().into_iter().step_by(4) {
        let exec = |command: &str, arguments: serde_json::Value, env: serde_json::Value| {
            let exec = json!({"command": command, "args": arguments, "env": env});
            json!({"user": {"exec": exec}})
        };
        let account = json!([{"name": "ASTRA_CREDENTIAL_ACCOUNT", "value": value}]);
        let users = [
            exec("/no/astra-credential", json!(["--account", value]), json!(null)),
            exec("/no/astra-credential", json!([]), account.clone()),
            exec("astra-credential", json!([]), account),
            exec(&format!("{value}/astra-credential"), json!([]), json!(null)),
        ];
        let named = |(name, mut user): (usize, serde_json::Value)| {
            user["name"] = name.to_string().into();
            user
        };
        let users: Vec<_> = users.into_iter().enumerate().map(named).collect();
        world.write(".kube/config", json!({"users": users}).to_string());
        let docker = json!({"credHelpers": {value.clone(): "astra"}});
        world.write(".docker/config.json", docker.to_string());
        let _ = fs::remove_file(world.path(".gitconfig"));
        let _ = fs::remove_file(world.path(".bazelrc"));
        let path = format!("{}:{}", world.path("bin").display(), path());
        let doctor = || {
            let call = world.call("doctor --timeout 0.5").env("PATH", &path);
            call.env("ASTRA_CREDENTIAL_HOSTS", "a.example.com,b.example.com,c.example.com")
        };
        check(&format!("{spelling} in JSON"), &value, doctor());
        let word = value.replace(['\\', '"', '\n', '\r', '\'', '#', ' ', '\t', ';'], "");
        let helper = "/no/astra-credential git";
        let git = format!(
            "[credential]\n\thelper = store\n\
             [credential \"https://a.example.com\"]\n\thelper = astra --account {word}\n\
             [credential \"https://b.example.com\"]\n\thelper = {helper} --account {word}\n\
             [credential \"https://c.example.com\"]\n\thelper = /{word}/astra-credential git\n\
             [credential \"https://{word}\"]\n\thelper = {helper}\n\
             [credential \"https://{word}@d.example.com\"]\n\thelper = {helper}\n"
        );
        world.write(".gitconfig", git);
        let bazel = format!(
            "common --credential_helper={word}=/no/bazel-credential-astra\n\
             common --credential_helper=a.example.com=/{word}/bazel-credential-astra\n"
        );
        world.write(".bazelrc", bazel);
        fs::remove_file(world.path(".kube/config")).unwrap();
        fs::remove_file(world.path(".docker/config.json")).unwrap();
        for link in [true, false] {
            // With the link, the accounts and the helpers that git asks before are examined too.
            let at = world.path("bin/git-credential-astra");
            let _ = fs::remove_file(&at);
            if link {
                symlink(BINARY, at).unwrap();
            }
            check(&format!("{spelling} in text"), &word, doctor());
        }
    }
}

#[test]
fn an_account_in_place_of_its_path_has_an_error_of_its_own() {
    let Witness { world, .. } = Witness::new();
    for (spelling, value) in spellings() {
        let error = world.call("token").env("ASTRA_SERVICE_ACCOUNT", &value).run().failure(3);
        let is_named = error.contains("not certainly a path") && error.contains("/dev/stdin");
        assert!(is_named, "{spelling}");
    }
}

#[test]
fn no_account_in_place_of_its_name_becomes_the_name_of_a_file() {
    let witness = Witness::with_token();
    for (spelling, value) in spellings() {
        for line in ["setup account", "setup git --host git.example.com"] {
            let call = witness.world.call(line).arg("--account").arg(&value);
            let call = call.input(witness.world.astra.account_json());
            witness.run(&format!("{spelling} behind {line}"), &value, call).failure(2);
        }
    }
}

#[test]
fn a_secret_in_place_of_a_name_is_not_shown_when_the_account_is_refused() {
    let witness = Witness::with_token();
    let folder = tempfile::tempdir().unwrap();
    for (_, name) in names_of_accounts() {
        let run_text = |line: &str, accounts: &str| {
            let done = run_accounts(&witness, folder.path(), &name, line, accounts);
            assert_eq!(done.code(), 2, "{done}");
            done.stderr()
        };
        let run = |line: &str, accounts: serde_json::Value| run_text(line, &accounts.to_string());
        let bound = json!({ "hosts": ["git.example.com"] });
        let refused = run(&format!("git get --account {name}"), json!({ "default": bound }));
        assert!(refused.contains("`git.example.com` is bound"), "{refused}");
        let other = json!({ "hosts": ["other.example.com"] });
        let two = json!({ "default": other, &name: bound });
        let refused = run("git get --account default", two.clone());
        assert!(refused.contains("`git.example.com` is bound"), "{refused}");
        let refused = run("setup git --account default --host git.example.com --dry-run", two);
        assert!(refused.contains("`git.example.com` is bound"), "{refused}");
        let twice = run("token", json!({ "default": bound, &name: bound }));
        assert!(twice.contains("binds the host"), "{twice}");
        let no_object = run("token", json!({ &name: "account.json" }));
        assert!(no_object.contains("wrong type"), "{no_object}");
        let near = format!("{}x", &name[..name.len() - 1]);
        let near = run(&format!("token --account {near}"), json!({ &name: bound }));
        assert!(near.contains("there is no account"), "{near}");
        let text = format!(r#"{{ "{name}": {{}}, "{name}": {{}} }}"#);
        let twice = run_text("token", &text);
        assert!(twice.contains("twice"), "{twice}");
    }
}

#[test]
fn a_secret_in_place_of_a_name_in_the_configuration_file_is_not_shown() {
    let witness = Witness::with_token();
    let folder = tempfile::tempdir().unwrap();
    for (_, name) in names_of_accounts() {
        let accounts = json!({ &name: { "hosts": ["git.example.com"] } }).to_string();
        for (line, code) in [
            ("git get", 3),
            ("status", 3),
            ("status --json", 3),
            ("doctor --timeout 0.5", 1),
            ("completions bash -- astra-credential --account=", 0),
        ] {
            let done = run_accounts(&witness, folder.path(), &name, line, &accounts);
            assert_eq!(done.code(), code, "{done}");
        }
        for line in ["token", "status", "forget"] {
            let line = format!("{line} --account {name}");
            let done = run_accounts(&witness, folder.path(), &name, &line, &accounts);
            assert_eq!(done.code(), 3, "{done}");
        }
    }
}

/// The spellings that have the form of an account's name.
fn names_of_accounts() -> Vec<(&'static str, String)> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let is_name = |name: &str| name.len() <= 64 && name.chars().all(is_plain);
    let names: Vec<_> = spellings().into_iter().filter(|(_, value)| is_name(value)).collect();
    assert!(names.len() > 2);
    names
}

/// Runs `line` with a configuration file that has these accounts.
fn run_accounts<'a>(
    witness: &'a Witness,
    folder: &std::path::Path,
    name: &str,
    line: &str,
    accounts: &str,
) -> Done<'a> {
    let config = folder.join("config.json");
    fs::write(&config, format!(r#"{{ "accounts": {accounts} }}"#)).unwrap();
    let request = "protocol=https\nhost=git.example.com\n\n";
    let call = witness.world.call(line).env("ASTRA_CREDENTIAL_CONFIG", &config).input(request);
    witness.run(line, name, call)
}

#[test]
fn no_account_in_place_of_a_path_is_written_by_setup() {
    let witness = Witness::with_token();
    let names = || {
        let all = contents(witness.world.home.path());
        let paths = all.into_iter().map(|(path, _)| path);
        paths.filter(|path| !path.ends_with("last.failure")).collect::<Vec<_>>()
    };
    let before = names();
    for (spelling, value) in spellings() {
        for line in [
            "setup git --host git.example.com --dry-run --config",
            "setup docker --host git.example.com --config",
            "setup account --config",
            "setup account --ca-file",
        ] {
            let call = witness.world.call(line).arg(&value).in_folder(witness.world.home.path());
            let call = call.input(witness.world.astra.account_json());
            witness.run(&format!("{spelling} behind {line}"), &value, call).failure(2);
            assert_eq!(names(), before, "{spelling} behind {line}");
        }
        let config = json!({"cache_dir": value}).to_string();
        witness.world.write(".config/astra-credential/config.json", config);
        witness.world.call("token").without("ASTRA_CREDENTIAL_CACHE_DIR").run();
        fs::remove_file(witness.world.path(".config/astra-credential/config.json")).unwrap();
        assert_eq!(names(), before, "{spelling} in `cache_dir`");
        for (tool, variable) in [
            ("git", "GIT_CONFIG_GLOBAL"),
            ("kubectl", "KUBECONFIG"),
            ("docker", "DOCKER_CONFIG"),
            ("terraform", "TF_CLI_CONFIG_FILE"),
        ] {
            // kubectl's variable is a list, whose parts may be ordinary names.
            let value = value.replace(':', "");
            let line = format!("setup {tool} --host git.example.com");
            let call = witness.world.call(&line).env(variable, &value);
            let call = call.in_folder(witness.world.home.path());
            witness.run(&format!("{spelling} in {variable}"), &value, call).failure(2);
            assert_eq!(names(), before, "{spelling} in {variable}");
        }
    }
}

#[test]
fn a_name_of_an_account_may_look_random() {
    let Witness { world, .. } = Witness::new();
    for name in ["prod", "vhLkzQnWXbJmTYrGsPdCfAoE"] {
        let call = world.call("setup account --account").arg(name);
        let done = call.input(world.astra.account_json()).run();
        assert_eq!(done.code(), 0, "{done}");
    }
}

#[test]
fn a_value_that_is_certainly_a_path_is_shown() {
    let Witness { world, .. } = Witness::new();
    let missing = world.call("token --service-account /none/astra/account.json").run().failure(3);
    assert!(missing.contains("`/none/astra/account.json`"), "{missing}");
}

#[test]
fn a_file_and_a_folder_may_have_names_that_look_like_secrets() {
    let Witness { world, .. } = Witness::new();
    let account = world.write(&format!("{SECRET}.json"), world.astra.account_json());
    world.call("token --service-account").arg(account).run().quiet();
    let hash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let cache = world.path(hash).join("cache");
    world.call("token --cache-dir").arg(&cache).run().quiet();
    assert!(cache.is_dir());
}
