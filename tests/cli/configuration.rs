//! The configuration file: the account of each host, the owners from which the file is accepted, and the
//! messages about its defects.

use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::stand_in::{Astra, Reply};
use crate::world::{Call, World, needs, set_mode, skip, transcript};

/// A world with a second account, `prod`, at a second API.
pub struct TwoAccounts {
    pub world: World,
    /// The API of `prod`.
    pub prod: Astra,
}

/// The hosts that the file binds, besides those of the APIs.
const DEFAULTS: &str = "git.dev.example";
const PRODS: &str = "git.prod.example";

impl TwoAccounts {
    pub fn new() -> Self {
        let world = World::new();
        let prod = Astra::start(&world.authority);
        prod.set_secret("AnotherSecret0000000000000000000");
        let two = Self { world, prod };
        two.world.write(".config/astra-credential/prod.json", two.prod.account_json());
        two.world.write(
            CONFIG,
            format!(
                r#"{{
                  // Two accounts at two APIs.
                  "accounts": {{
                    "default": {{ "hosts": ["{DEFAULTS}"] }},
                    "prod": {{ "hosts": ["{PRODS}"], "api_url": "{}" }},
                  }},
                }}"#,
                two.prod.url()
            ),
        );
        two
    }

    fn prod_file(&self) -> PathBuf {
        self.world.path(".config/astra-credential/prod.json")
    }
}

const CONFIG: &str = ".config/astra-credential/config.json";

/// One request for a host in each protocol.
fn requests<'a>(world: &'a World, host: &str) -> Vec<Call<'a>> {
    let exec_info = format!(
        r#"{{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","spec":{{"interactive":false,"cluster":{{"server":"https://{host}"}}}}}}"#
    );
    vec![
        world.call("git get").input(format!("protocol=https\nhost={host}\n\n")),
        world
            .call_as(world.link("git-credential-astra"), "get")
            .input(format!("protocol=https\nhost={host}\n\n")),
        world.call("bazel get").input(format!(r#"{{"uri":"https://{host}/x"}}"#)),
        world
            .call_as(world.link("bazel-credential-astra"), "get")
            .input(format!(r#"{{"uri":"https://{host}/x"}}"#)),
        world.call("docker get").input(host),
        world.call_as(world.link("docker-credential-astra"), "get").input(host),
        world.call(&format!("terraform get {host}")),
        world.call_as(world.link("terraform-credentials-astra"), &format!("get {host}")),
        world.call("kubernetes").env("KUBERNETES_EXEC_INFO", exec_info),
    ]
}

#[test]
fn each_protocol_gives_a_host_the_token_of_its_own_account() {
    let TwoAccounts { world, prod } = &TwoAccounts::new();
    let token = world.token();
    let other = world.call("token --account prod").run().quiet().trim().to_owned();
    assert!(world.astra.accepts(&token) && prod.accepts(&other) && token != other);
    let prod_file = world.path(".config/astra-credential/prod.json");
    let variables: [&[(&str, String)]; 5] = [
        &[],
        // The variables of the other account, for either.
        &[
            ("ASTRA_SERVICE_ACCOUNT", prod_file.display().to_string()),
            ("ASTRA_CREDENTIAL_HOSTS", format!("{PRODS},{DEFAULTS}")),
        ],
        &[
            ("ASTRA_SERVICE_ACCOUNT", world.account_file().display().to_string()),
            ("ASTRA_CREDENTIAL_HOSTS", format!("{PRODS},{DEFAULTS}")),
        ],
        &[("ASTRA_CREDENTIAL_ACCOUNT", "prod".to_owned())],
        &[("ASTRA_CREDENTIAL_ACCOUNT", "default".to_owned())],
    ];
    let api = world.host();
    let prods_api = format!("localhost:{}", prod.port());
    for variables in variables {
        // The host of an API is bound to the account whose API it is.
        let is_default = !variables.iter().any(|(_, value)| value.contains("prod"));
        let mut cases =
            vec![(DEFAULTS, &token, &other), (PRODS, &other, &token), (&prods_api, &other, &token)];
        if is_default {
            cases.push((&api, &token, &other));
        }
        for (host, own, others) in cases {
            for call in requests(world, host) {
                let call = variables.iter().fold(call, |call, (name, value)| call.env(name, value));
                let done = call.run();
                let answer = done.quiet();
                assert!(answer.contains(own) && !answer.contains(others), "{host}: {done}");
            }
        }
    }
    assert_eq!((world.astra.exchanges(), prod.exchanges()), (1, 1));
}

#[test]
fn a_flag_chooses_the_account_except_for_a_host_of_another() {
    let two = TwoAccounts::new();
    let world = &two.world;
    let token = world.token();
    let other = world.call("token --account prod").run().quiet().trim().to_owned();
    for flag in
        ["--account=prod".to_owned(), format!("--service-account={}", two.prod_file().display())]
    {
        for call in requests(world, DEFAULTS) {
            let refused = call.arg(&flag).run();
            assert_ne!(refused.code(), 0, "{refused}");
            let text = refused.stdout() + &refused.stderr();
            assert!(text.contains("`default`") && text.contains("`prod`"), "{refused}");
            assert!(!text.contains(&token) && !text.contains(&other), "{refused}");
        }
        for call in requests(world, PRODS) {
            let done = call.arg(&flag).run();
            assert!(done.quiet().contains(&other), "{done}");
        }
        for call in requests(world, "further.example") {
            let done = call.arg(&flag).arg("--host=further.example").run();
            assert!(done.quiet().contains(&other), "{done}");
        }
    }
    let header = world.call("header --account prod").run();
    let env = world.call("env --account prod --shell json").run();
    let exec = world.call("exec --account prod -- printenv ASTRA_API_TOKEN").run();
    for done in [header, env, exec] {
        assert!(done.quiet().contains(&other), "{done}");
    }
    let refused = world
        .call("git get --account prod")
        .input(format!("protocol=https\nhost={DEFAULTS}\n\n"))
        .run();
    let unknown = world.call("token --account prd").run();
    let missing = world.call("token").env("ASTRA_CREDENTIAL_ACCOUNT", "nobody").run();
    let both = world.call("token --account prod --service-account x.json").run();
    for done in [&unknown, &missing, &both] {
        done.failure(2);
    }
    transcript!(refused, unknown, missing, both);
}

#[test]
fn no_variable_sends_the_secret_of_an_account_elsewhere() {
    let two = TwoAccounts::new();
    let world = &two.world;
    // The environment names the API of `default`, to which the secret of `prod` must not be sent.
    let other = world.call("token --account prod").run().quiet();
    assert!(two.prod.accepts(other.trim()));
    let request = format!("protocol=https\nhost={PRODS}\n\n");
    let done = world.call("git get").env("ASTRA_CREDENTIAL_ACCOUNT", "prod").input(request).run();
    assert!(done.quiet().contains(other.trim()), "{done}");
    assert_eq!((world.astra.connections(), two.prod.exchanges()), (0, 1));
}

#[test]
fn the_file_of_an_account_is_that_account_however_its_path_is_written() {
    let two = TwoAccounts::new();
    let world = &two.world;
    let other = world.call("token --account prod").run().quiet();
    let folder = world.path(".config/astra-credential");
    symlink(two.prod_file(), world.path("link.json")).unwrap();
    symlink(&folder, world.path("folder")).unwrap();
    let up = folder.join("../astra-credential/prod.json").display().to_string();
    for path in ["prod.json", "./prod.json", &up, "~/link.json", "~/folder/prod.json"] {
        for call in requests(world, PRODS).into_iter().chain([world.call("token")]) {
            let done = call.arg("--service-account").arg(path).in_folder(&folder).run();
            assert!(done.quiet().contains(other.trim()), "{path}: {done}");
        }
        let call = world.call("token").env("ASTRA_SERVICE_ACCOUNT", path).in_folder(&folder);
        assert_eq!(call.run().quiet(), other, "{path}");
    }
    assert_eq!((world.astra.connections(), two.prod.exchanges()), (0, 1));
}

#[test]
fn forget_drops_the_token_of_one_account_or_of_all() {
    let two = TwoAccounts::new();
    let world = &two.world;
    let call = |line: &str| world.call(line).run().quiet();
    let (token, other) = (call("token"), call("token --account prod"));
    call("forget --account prod");
    assert_eq!(call("token"), token);
    assert_ne!(call("token --account prod"), other);
    call("forget");
    assert_ne!(call("token"), token);
    assert_eq!((world.astra.exchanges(), two.prod.exchanges()), (2, 2));
    let (token, other) = (call("token"), call("token --account prod"));
    call("forget --all");
    assert!(call("token") != token && call("token --account prod") != other);
}

#[test]
fn an_erase_for_a_host_deletes_the_token_of_its_account() {
    let two = TwoAccounts::new();
    let world = &two.world;
    let call = |line: &str| world.call(line).run().quiet();
    let (token, other) = (call("token"), call("token --account prod"));
    let erase = format!("protocol=https\nhost={PRODS}\nusername=token\npassword={other}\n");
    world.call("git erase").input(erase).run().quiet();
    assert_eq!(call("token"), token);
    assert_ne!(call("token --account prod"), other);
}

#[test]
fn an_account_may_have_a_file_and_no_entry() {
    let world = World::new();
    world.write(".config/astra-credential/other.json", "AstraCS:its-id:0f0f0f0f");
    assert_eq!(world.call("token --account other").run().quiet(), "AstraCS:its-id:0f0f0f0f\n");
    let done = world.call("token").env("ASTRA_CREDENTIAL_ACCOUNT", "other").run();
    assert_eq!(done.quiet(), "AstraCS:its-id:0f0f0f0f\n");
}

#[test]
fn paths_are_relative_to_the_file_that_names_them() {
    let world = World::new();
    fs::create_dir(world.path("elsewhere")).unwrap();
    world.write("elsewhere/account.json", world.astra.account_json());
    world.write("elsewhere/ca.pem", world.authority.pem());
    let config = r#"{
      "accounts": { "default": { "file": "account.json", "hosts": ["git.example.com"] } },
      "ca_file": "ca.pem", "cache_dir": "~/cache", "timeout": 20,
    }"#;
    let file = world.write("elsewhere/config.json", config);
    fs::remove_file(world.account_file()).unwrap();
    // A file of that name in the working folder is not read.
    world.write("config.json", "{");
    let call = |line: &str| world.call(line).without("SSL_CERT_FILE").in_folder(world.home.path());
    call("token --config elsewhere/config.json").run().quiet();
    assert!(world.path("cache").is_dir() && !world.path(".cache").exists());
    call("token").env("ASTRA_CREDENTIAL_CONFIG", &file).run().quiet();
}

/// A relative path in the variable would name a file of any repository in which the program is called.
#[test]
fn a_variable_with_a_relative_path_of_the_file_is_refused() {
    let world = World::new();
    let relative = world.call("token").env("ASTRA_CREDENTIAL_CONFIG", "config.json").run();
    relative.failure(2);
    transcript!(relative, @"
    $ ASTRA_CREDENTIAL_CONFIG=config.json astra-credential token
    ! astra-credential: `ASTRA_CREDENTIAL_CONFIG` is `config.json`, which is not absolute
    ! hint: set `ASTRA_CREDENTIAL_CONFIG` to the absolute path of a file
    [exit status: 2]
    ");
}

#[test]
fn a_file_that_is_named_and_does_not_exist_is_an_error() {
    let world = World::new();
    let missing = world.call("token --config").arg(world.path("nowhere.json")).run();
    missing.failure(2);
    transcript!(missing, @"
    $ astra-credential token --config ~/nowhere.json
    ! astra-credential: the configuration file `~/nowhere.json` does not exist
    ! hint: name a file that exists with `--config FILE` or `ASTRA_CREDENTIAL_CONFIG`
    [exit status: 2]
    ");
}

#[test]
fn a_file_that_others_may_change_is_refused() {
    let two = TwoAccounts::new();
    let world = &two.world;
    world.token();
    let file = world.path(CONFIG);
    let mut refused = Vec::new();
    for mode in [0o666, 0o620, 0o602] {
        set_mode(&file, mode);
        let done = world.call("token").run();
        done.failure(2);
        refused.push(done);
    }
    for mode in [0o644, 0o444, 0o600] {
        set_mode(&file, mode);
        world.call("token").run().quiet();
    }
    let [everybody, group, _] = &refused[..] else { unreachable!() };
    transcript!(everybody, group, @"
    $ astra-credential token
    ! astra-credential: the configuration file `~/.config/astra-credential/config.json` may be changed by everybody (mode 0666)
    ! hint: run `chmod go-w ~/.config/astra-credential/config.json`
    [exit status: 2]

    $ astra-credential token
    ! astra-credential: the configuration file `~/.config/astra-credential/config.json` may be changed by its group (mode 0620)
    ! hint: run `chmod go-w ~/.config/astra-credential/config.json`
    [exit status: 2]
    ");
}

#[test]
fn a_file_of_another_user_is_refused_also_behind_a_link() {
    needs!(root);
    let two = TwoAccounts::new();
    let world = &two.world;
    let file = world.path(CONFIG);
    chown(&file, Some(12345), None).unwrap();
    let refused = world.call("token").run();
    refused.failure(2);
    let moved = world.path("config-of-another.json");
    fs::rename(&file, &moved).unwrap();
    symlink(&moved, &file).unwrap();
    assert!(world.call("token").run().failure(2).contains("belongs to another user"));
    chown(&moved, Some(0), None).unwrap();
    world.call("token").run().quiet();
    transcript!(refused, @"
    $ astra-credential token
    ! astra-credential: the configuration file `~/.config/astra-credential/config.json` belongs to another user (uid 12345)
    ! hint: run this without `sudo`, as the owner of the file
    [exit status: 2]
    ");
}

#[test]
fn a_pipe_a_folder_and_a_large_file_are_refused_in_time() {
    let two = TwoAccounts::new();
    let world = &two.world;
    let file = world.path(CONFIG);
    let config = fs::read_to_string(&file).unwrap();
    fs::remove_file(&file).unwrap();
    let refused = |problem: &str| {
        let start = Instant::now();
        let error = world.call("token").run().failure(2);
        assert!(error.contains(problem), "{error}");
        assert!(start.elapsed() < Duration::from_secs(5), "{problem}");
    };
    let made = Command::new("mkfifo").arg(&file).status().unwrap();
    assert!(made.success());
    refused("is not a regular file");
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    refused("is not a regular file");
    fs::remove_dir(&file).unwrap();
    world.write(CONFIG, "{}");
    fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(1 << 30).unwrap();
    refused("is larger than 1 MiB");
    for (content, problem) in [
        ("".as_bytes(), "is empty"),
        (b"\0\0\0\0", "is not JSON"),
        (b"\xff\xfe{\0}\0", "is not UTF-8"),
        ("[".repeat(1 << 20).as_bytes(), "is not JSON"),
    ] {
        world.write(CONFIG, content);
        refused(problem);
    }
    let many = |count: u32| {
        let hosts: Vec<_> = (0..count).map(|number| format!("\"h{number}.example\"")).collect();
        format!(r#"{{"accounts":{{"prod":{{"hosts":[{}]}}}}}}"#, hosts.join(","))
    };
    world.write(CONFIG, many(10_000));
    refused("binds more than 1000 hosts");
    // A large file without a defect is read.
    world.write(CONFIG, many(1_000));
    world.call("token").run().quiet();
    symlink("/nowhere/config.json", world.path("dangling")).unwrap();
    world.call("token --config").arg(world.path("dangling")).run().failure(2);
    world.write(CONFIG, config);
    world.call("token").run().quiet();
}

#[test]
fn a_link_to_nowhere_is_named_if_the_answer_may_be_in_its_file() {
    let world = World::new();
    symlink("/nowhere/config.json", world.path(CONFIG)).unwrap();
    world.call("token").run().quiet();
    for call in requests(&world, "git.dev.example") {
        let done = call.run();
        assert!(done.to_string().contains("is a link that leads nowhere"), "{done}");
        assert!([1, 2].contains(&done.code()), "{done}");
    }
    let unknown = world.call("token --account prod").run().failure(2);
    assert!(unknown.contains("is a link that leads nowhere"), "{unknown}");
    std::fs::remove_file(world.account_file()).unwrap();
    let missing = world.call("token").run().failure(2);
    assert!(missing.contains("is a link that leads nowhere"), "{missing}");
}

#[test]
fn a_defect_is_an_error_of_every_call_with_its_line_and_column() {
    let two = TwoAccounts::new();
    let world = &two.world;
    world.token();
    world.write(CONFIG, "{\n  \"acounts\": {}\n}");
    let calls =
        ["header", "env --shell json", "exec -- true", "kubernetes", "status", "doctor", "forget"];
    for line in calls {
        let done = world.call(line).run();
        assert_eq!(done.code(), 2, "{done}");
        assert!(done.stderr().contains("line 2, column 3"), "{done}");
    }
    for call in requests(world, DEFAULTS) {
        let done = call.run();
        assert_ne!(done.code(), 0, "{done}");
        let text = done.stdout() + &done.stderr();
        assert!(text.contains("acounts") && !text.contains("qyJ"), "{done}");
    }
}

#[test]
fn a_call_that_needs_no_settings_ignores_a_defect() {
    let world = World::new();
    world.write(CONFIG, "{");
    for line in ["man", "completions bash", "--help"] {
        world.call(line).run().quiet();
    }
}

#[test]
fn a_wrong_key_and_a_host_of_two_accounts_have_hints() {
    let world = World::new();
    let with = |content: &str| {
        world.write(CONFIG, content);
        world.call("token").run()
    };
    let wrong_key = with("{\n  \"acounts\": {}\n}");
    let account = with(&world.astra.account_json());
    let twice = with(
        "{ \"accounts\": { \"a\": { \"hosts\": [\"h.example\"] },\n  \"b\": { \"hosts\": [\"h.example\"] } } }",
    );
    for done in [&wrong_key, &account, &twice] {
        assert!(!done.failure(2).contains("ecret0"), "{done}");
    }
    transcript!(wrong_key, account, twice, @"
    $ astra-credential token
    ! astra-credential: the configuration file `~/.config/astra-credential/config.json` has the unknown key `acounts` at line 2, column 3
    ! hint: write `accounts`
    [exit status: 2]

    $ astra-credential token
    ! astra-credential: the configuration file `~/.config/astra-credential/config.json` has the unknown key `clientId` at line 1, column 2
    ! hint: keep the account in a file of its own, with `astra-credential setup account`
    [exit status: 2]

    $ astra-credential token
    ! astra-credential: the configuration file `~/.config/astra-credential/config.json` binds the host `h.example` to the accounts `a` and `b` at line 2, column 20
    ! hint: leave it with one of the two
    [exit status: 2]
    ");
}

#[test]
fn all_spellings_of_an_address_are_one_host_of_one_account() {
    let TwoAccounts { world, .. } = &TwoAccounts::new();
    world.write(".config/astra-credential/prod.json", "AstraCS:its-id:0f0f0f0f");
    world.write(CONFIG, r#"{ "accounts": { "prod": { "hosts": ["[fd00::a]:8443"] } } }"#);
    for host in ["[fd00::a]:8443", "[FD00:0:0:0::A]:8443", "[fd00::0:000a]:8443"] {
        for call in requests(world, host) {
            let done = call.env("ASTRA_CREDENTIAL_HOSTS", "[fd00:0::a]:8443").run();
            assert!(done.quiet().contains("AstraCS:its-id"), "{done}");
        }
    }
    assert_eq!(world.astra.exchanges(), 0);
    world.write(
        CONFIG,
        r#"{ "accounts": { "a": { "hosts": ["[::1]"] }, "b": { "hosts": ["[0::1]"] } } }"#,
    );
    assert!(world.call("token").run().failure(2).contains("to the accounts `a` and `b`"));
}

/// True if a process may have an /etc of its own.
fn is_mount_allowed() -> bool {
    let unshare = Command::new("unshare").args(["--map-root-user", "--mount", "true"]).status();
    unshare.unwrap().success()
}

/// A call with a new /etc, in which `machine` is this program's folder. A copy of the machine's /etc would need
/// more rights.
fn on_machine<'a>(world: &'a World, machine: &Path, arguments: &[&str]) -> Call<'a> {
    let script = format!(
        "set -e; cp /etc/hosts {0}/hosts; mount -t tmpfs etc /etc; cp {0}/hosts /etc/hosts; \
         cp -r {0} /etc/astra-credential; exec \"$0\" \"$@\"",
        machine.display()
    );
    let call = world.call_as("/usr/bin/env", "unshare --map-root-user --mount sh -c");
    let call = call.arg(&script).arg(crate::world::BINARY);
    arguments.iter().fold(call, |call, argument| call.arg(argument))
}

#[test]
fn the_users_file_takes_precedence_over_the_machines() {
    needs!("unshare");
    let two = TwoAccounts::new();
    let world = &two.world;
    let token = world.token();
    let other = world.call("token --account prod").run().quiet().trim().to_owned();
    // The machine's file binds both hosts to `prod`. The user's file takes precedence.
    let machine = world.path("machine");
    fs::create_dir(&machine).unwrap();
    fs::write(machine.join("prod.json"), two.prod.account_json()).unwrap();
    set_mode(&machine.join("prod.json"), 0o600);
    fs::write(
        machine.join("config.json"),
        format!(
            r#"{{ "accounts": {{ "prod": {{
                "file": "prod.json", "hosts": ["{PRODS}", "{DEFAULTS}"], "api_url": "{}"
            }} }} }}"#,
            two.prod.url()
        ),
    )
    .unwrap();
    if !is_mount_allowed() {
        skip("mount namespaces are not allowed here");
        return;
    }
    let on_machine = |host: &str| {
        let call = on_machine(world, &machine, &["git", "get"]);
        call.input(format!("protocol=https\nhost={host}\n\n")).run()
    };
    let done = on_machine(DEFAULTS);
    assert!(done.quiet().contains(&token), "{done}");
    fs::remove_file(world.path(CONFIG)).unwrap();
    for host in [DEFAULTS, PRODS] {
        let done = on_machine(host);
        assert!(done.quiet().contains(&other), "{done}");
    }
}

#[test]
fn a_setting_for_the_machines_account_is_refused_and_nothing_is_written() {
    needs!("unshare");
    let two = TwoAccounts::new();
    let world = &two.world;
    let machine = world.path("machine");
    fs::create_dir(&machine).unwrap();
    fs::rename(world.path(CONFIG), machine.join("config.json")).unwrap();
    if !is_mount_allowed() {
        skip("mount namespaces are not allowed here");
        return;
    }
    // An entry in the user's file would replace the machine's, and the secret would go to another API.
    let rotated = two.prod.account_json().replace("AnotherSecret", "RotatedSecret");
    let setup = ["setup", "account", "--account", "prod"];
    let files = || fs::read_dir(world.path(CONFIG).parent().unwrap()).unwrap().count();
    let before = files();
    let done = on_machine(world, &machine, &[&setup[..], &["--min-valid", "5m"]].concat());
    let done = done.input(rotated.as_str()).run();
    let message = done.failure(2);
    assert!(message.contains("the account `prod` is the whole machine's"), "{done}");
    assert!(message.contains("have `min_valid` of `prod` set in"), "{done}");
    assert_eq!(files(), before);
    let prod = world.path(".config/astra-credential/prod.json");
    assert_eq!(fs::read_to_string(&prod).unwrap(), two.prod.account_json());
    on_machine(world, &machine, &setup).input(rotated.as_str()).run().quiet();
    assert_eq!(fs::read_to_string(&prod).unwrap().trim(), rotated.trim());
}

#[test]
fn status_shows_every_account_in_a_line_and_one_in_full() {
    let two = TwoAccounts::new();
    let world = &two.world;
    world.token();
    let cold = world.call("status").run();
    assert_eq!(cold.code(), 1, "`prod` has no token: {cold}");
    world.call("token --account prod").run().quiet();
    let warm = world.call("status").run();
    warm.quiet();
    let one = world.call("status --account prod").run();
    one.quiet();
    let json: serde_json::Value =
        serde_json::from_str(&world.call("status --json").run().quiet()).unwrap();
    let names: Vec<_> =
        json["accounts"].as_array().unwrap().iter().map(|account| &account["name"]).collect();
    assert_eq!(names, ["default", "prod"]);
    assert_eq!(json["accounts"][1]["settings"]["api_url"]["value"], two.prod.url());
    assert_eq!(json["accounts"][1]["hosts"][1]["value"], PRODS);
    assert_eq!(json["name"], "default");
    // The first account is the one that is used without a host.
    let chosen = world.call("status").env("ASTRA_CREDENTIAL_ACCOUNT", "prod").run().quiet();
    assert!(chosen.starts_with("ok       prod "), "{chosen}");
    transcript!(cold, warm, one);
}

#[test]
fn status_and_doctor_name_the_account_that_is_rejected() {
    let two = TwoAccounts::new();
    let world = &two.world;
    world.token();
    two.prod.set_answer(|_, _| Reply::error(401, "no such client"));
    world.call("token --account prod").run().failure(4);
    let status = world.call("status").run();
    let doctor = world.call("doctor").run();
    assert_eq!((status.code(), doctor.code()), (1, 1));
    let accounts = |done: &str| -> String {
        let is_tool = |line: &&str| !line.contains("binary") && !line.contains("configured");
        done.lines().filter(is_tool).map(|line| format!("{line}\n")).collect()
    };
    let report = accounts(&doctor.stdout());
    for part in [
        "failure  token",
        "the account `prod`",
        "(401)",
        "since",
        "not asked again until",
        "astra-credential forget --account prod",
    ] {
        assert!(report.contains(part), "{part}: {doctor}");
    }
    let online = world.call("doctor --online").run().stdout();
    assert!(
        online.contains("ok       exchange      the account `default`: brought a token"),
        "{online}"
    );
    assert!(online.contains("failure  exchange      the account `prod`: "), "{online}");
    transcript!(status, @"
    $ astra-credential status
    > ok       default  valid until <time>, renewed from <time>  localhost:<port>, git.dev.example
    > failure  prod     not asked again until <time>                           localhost:<port>, git.prod.example
    >
    > prod: `https://localhost:<port>` rejected the service account (401): no such client
    > hint: check in Astra's dashboard that the service account in `~/.config/astra-credential/prod.json` still exists, and that the organisation's IP access list admits this machine; if its secret was rotated, store the new one with `astra-credential setup account --account prod`
    >
    > Only a server knows whether it still accepts a cached token. If one refuses it, run
    > `astra-credential forget --account NAME`.
    >
    > last failure  <time> (<n> ago), `token`, exit code 4: the error above
    > config        `~/.config/astra-credential/config.json`
    [exit status: 1]
    ");
}

#[test]
fn a_cached_error_has_its_own_hint_and_not_that_of_a_later_failure() {
    let two = TwoAccounts::new();
    let world = &two.world;
    two.prod.set_answer(|_, _| Reply::error(503, "down").with_header("Retry-After", "60"));
    world.call("token --account prod").run().failure(5);
    let later = world.call("token --account prod --ca-file").arg(world.path("none.pem")).run();
    assert!(later.stderr().contains("none.pem"), "{later}");
    let status = world.call("status").run().stdout();
    let (_, prod) = status.split_once("\nprod: ").unwrap();
    let lines: Vec<_> = prod.lines().take(2).collect();
    assert!(lines[0].contains("cannot answer now (503)"), "{status}");
    assert_eq!(lines[1], "hint: try again later", "{status}");
}

#[test]
fn the_error_of_a_rejected_account_is_shown_once_however_many_calls_failed() {
    let two = TwoAccounts::new();
    let world = &two.world;
    two.prod.set_answer(|_, _| Reply::error(401, "no such client"));
    for _ in 0..2 {
        world.call("token --account prod").run().failure(4);
    }
    for line in ["status", "status --account prod"] {
        let status = world.call(line).run().stdout();
        assert!(status.contains("last failure"), "{status}");
        assert_eq!(status.matches("no such client").count(), 1, "{status}");
        assert_eq!(status.matches("hint: ").count(), 1, "{status}");
    }
}

#[test]
fn a_failure_before_the_last_success_is_marked() {
    let world = World::new();
    world.astra.set_answer(|_, number| (number == 1).then(|| Reply::error(401, "no")));
    world.call("token").run().failure(4);
    assert!(!world.call("status").run().stdout().contains("succeeded since"));
    // The times of the failure and of the success are whole seconds, and must differ.
    let last = |world: &World| world.call("status").run().stdout();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !last(&world).contains("succeeded since") {
        world.call("token --refresh").run().quiet();
        assert!(Instant::now() < deadline, "{}", last(&world));
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn doctor_names_the_variables_that_contradict_the_file() {
    let two = TwoAccounts::new();
    let world = &two.world;
    let doctor = world
        .call("doctor")
        .env("ASTRA_SERVICE_ACCOUNT", two.prod_file())
        .env("ASTRA_CREDENTIAL_HOSTS", format!("{DEFAULTS},{PRODS}"))
        .run()
        .stdout();
    let warnings: Vec<_> =
        doctor.lines().filter(|line| line.starts_with("warning  config")).collect();
    assert_eq!(warnings.len(), 3, "{doctor}");
    for (line, variable) in
        warnings.iter().zip(["ASTRA_SERVICE_ACCOUNT", "ASTRA_CREDENTIAL_HOSTS", "ASTRA_API_URL"])
    {
        assert!(line.contains(variable), "{doctor}");
    }
    let none = world.call("doctor").run().stdout();
    assert!(!none.contains("warning  config"), "{none}");
}
