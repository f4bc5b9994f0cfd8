//! `status`: the settings, the token and the last failure, without a request and without secrets.

use std::thread;
use std::time::Duration;

use crate::processes::Process;
use crate::stand_in::Reply;
use crate::world::{Done, World, contents, needs, set_mode, transcript};

#[test]
fn the_exit_code_is_0_with_a_valid_token_only() {
    let world = World::new();
    let none = world.call("status").run();
    assert_eq!((none.code(), none.stderr().as_str()), (1, ""));
    assert!(!world.path(".cache").exists(), "a cache folder exists");
    assert_eq!(world.astra.connections(), 0);
    world.token();
    let fresh = world.call("status").run();
    fresh.quiet();
    // The token is valid, but for less time than the call requires.
    let wanting = world.call("status --min-valid 20h").run();
    assert_eq!(wanting.code(), 1);
    world.call("forget").run().quiet();
    assert_eq!(world.call("status").run().code(), 1);
    transcript!(none, fresh, wanting);
}

#[test]
fn a_token_in_its_leeway_and_an_expired_one_are_no_valid_token() {
    let world = World::new();
    world.astra.set_lifetime(5);
    world.token();
    thread::sleep(Duration::from_millis(2500));
    let due = world.call("status").run();
    thread::sleep(Duration::from_millis(3500));
    let expired = world.call("status").run();
    assert_eq!((due.code(), expired.code()), (1, 1));
    let token = |text: &str| {
        text.lines().find(|line| line.starts_with("token ")).map(str::to_owned).unwrap()
    };
    assert!(token(&due.stdout()).ends_with("renewed by the next call"), "{due}");
    assert!(token(&expired.stdout()).contains(" expired "), "{expired}");
}

#[test]
fn a_problem_of_the_account_file_is_shown_beside_the_settings() {
    let world = World::new();
    world.token();
    set_mode(&world.account_file(), 0o644);
    let exposed = world.call("status").run();
    let json = world.call("status --json").run();
    std::fs::remove_file(world.account_file()).unwrap();
    let missing = world.call("status").run();
    for done in [&exposed, &json, &missing] {
        assert_eq!((done.code(), done.stderr().as_str()), (3, ""), "{done}");
    }
    let json = shown_json(&json);
    assert_eq!(json["token"]["state"], "unknown");
    transcript!(exposed, format!("{}\n", json["account"]), missing);
}

/// The object on standard output as a transcript shows it.
fn shown_json(done: &Done<'_>) -> serde_json::Value {
    let shown = done.to_string();
    let object = shown.lines().find_map(|line| line.strip_prefix("> ")).expect("an object");
    serde_json::from_str(object).expect("JSON")
}

#[test]
fn an_application_token_is_always_valid_and_not_shown() {
    let world = World::new();
    world.write_account("AstraCS:its-id:0f0f0f0f");
    let done = world.call("status").run();
    assert!(!done.quiet().contains("0f0f"));
    transcript!(done, world.call("status --json").run(), @r#"
    $ astra-credential status
    > account  default: application token, client id its-id
    > token    the application token itself, which does not expire
    > file     ~/.config/astra-credential/service-account.json (default)
    > hosts    localhost:<port> (ASTRA_API_URL)
    > api_url  https://localhost:<port> (ASTRA_API_URL)
    > ca_file  ~/ca.pem (SSL_CERT_FILE)

    $ astra-credential status --json
    > {"name":"default","account":{"kind":"application token","client_id":"its-id","problem":null},"settings":{"api_url":{"value":"https://localhost:<port>","source":"ASTRA_API_URL"},"ca_file":{"value":"~/ca.pem","source":"SSL_CERT_FILE"},"cache_dir":{"value":"~/.cache/astra-credential","source":"default"},"exposed_file":{"value":"refused","source":"default"},"file":{"value":"~/.config/astra-credential/service-account.json","source":"default"},"min_valid":{"value":"the leeway","source":"default"},"proxy":{"value":"none","source":"default"},"timeout":{"value":"30s","source":"default"}},"hosts":[{"value":"localhost:<port>","source":"ASTRA_API_URL"}],"token":{"state":"endless","renewed_at":null,"expires_at":null},"verdict":null,"refusals":[],"last_failure":null,"accounts":[{"name":"default","account":{"kind":"application token","client_id":"its-id","problem":null},"settings":{"api_url":{"value":"https://localhost:<port>","source":"ASTRA_API_URL"},"ca_file":{"value":"~/ca.pem","source":"SSL_CERT_FILE"},"cache_dir":{"value":"~/.cache/astra-credential","source":"default"},"exposed_file":{"value":"refused","source":"default"},"file":{"value":"~/.config/astra-credential/service-account.json","source":"default"},"min_valid":{"value":"the leeway","source":"default"},"proxy":{"value":"none","source":"default"},"timeout":{"value":"30s","source":"default"}},"hosts":[{"value":"localhost:<port>","source":"ASTRA_API_URL"}],"token":{"state":"endless","renewed_at":null,"expires_at":null},"verdict":null,"refusals":[],"last_failure":null}],"files":[]}
    "#);
}

#[test]
fn each_setting_says_where_it_comes_from() {
    let world = World::new();
    let flags = world
        .call("status --host git.example.com --timeout 2.5 --min-valid 90s --no-cache -v")
        .arg("--service-account")
        .arg(world.account_file())
        .run();
    let variables = world
        .call("status")
        .env("ASTRA_CREDENTIAL_HOSTS", "git.example.com,mirror.example.com:444")
        .env("ASTRA_CREDENTIAL_TIMEOUT", "40")
        .env("ASTRA_CREDENTIAL_CACHE_DIR", world.path("elsewhere"))
        .env("HTTPS_PROXY", "http://me:password@proxy.example.com:3128")
        .run();
    let exempt =
        world.call("status").env("ALL_PROXY", "http://p:1").env("NO_PROXY", "localhost").run();
    assert!(!variables.stdout().contains("password"));
    transcript!(flags, variables, exempt);
    let folder = world.call("status").without("SSL_CERT_FILE").env("SSL_CERT_DIR", "/certs").run();
    assert!(folder.stdout().contains("/certs (SSL_CERT_DIR)"), "{folder}");
}

#[test]
fn a_cached_error_is_shown_with_the_time_of_its_end() {
    let world = World::new();
    world.astra.set_answer(|_, _| Reply::error(503, "down").with_header("Retry-After", "1"));
    world.call("git get").input(world.git_request()).run();
    let stands = world.call("status").run();
    let json = world.call("status --json").run();
    assert_eq!((stands.code(), json.code()), (1, 1));
    let json = shown_json(&json);
    transcript!(stands, json["verdict"], json["last_failure"], @r#"
    $ astra-credential status
    > account       default: service account, client id 00000000-fake-4000-8000-client000000
    > token         none in the cache
    > cached error  `https://localhost:<port>` cannot answer now (503): down, <time> (<n> ago); not asked again until <time> (in <n>)
    >               hint: try again later
    > last failure  <time> (<n> ago), `git`, exit code 5: the error above
    > file          ~/.config/astra-credential/service-account.json (default)
    > hosts         localhost:<port> (ASTRA_API_URL)
    > api_url       https://localhost:<port> (ASTRA_API_URL)
    > ca_file       ~/ca.pem (SSL_CERT_FILE)
    [exit status: 1]

    {"at":"<time>","message":"`https://localhost:<port>` cannot answer now (503): down","stands":true,"until":"<time>"}
    {"at":"<time>","command":"git","exit_code":5,"hint":"try again later","is_over":false,"message":"`https://localhost:<port>` cannot answer now (503): down"}
    "#);
}

#[test]
fn a_cached_error_of_another_route_to_astra_does_not_apply_to_this_one() {
    let world = World::new();
    let proxied = |line: &str| world.call(line).env("HTTPS_PROXY", "http://127.0.0.1:1").run();
    proxied("token").failure(5);
    let stands = |done: &Done<'_>| {
        serde_json::from_str::<serde_json::Value>(&done.stdout()).unwrap()["verdict"]["stands"]
            .as_bool()
            .unwrap()
    };
    assert!(stands(&proxied("status --json")));
    assert!(!stands(&world.call("status --json").run()));
    let other = world.call("status").run();
    assert!(other.stdout().contains("; does not apply to this proxy"), "{other}");
    // A rejection applies to every route.
    world.astra.set_answer(|_, _| Reply::error(401, "no"));
    world.call("token").run().failure(4);
    assert!(stands(&proxied("status --json")));
}

#[test]
fn the_json_has_the_same_content() {
    let world = World::new();
    world.token();
    let done = world.call("status --json --no-cache").run();
    assert_eq!(done.code(), 1);
    let done = world.call("status --json").run();
    let parsed: serde_json::Value = serde_json::from_str(&done.quiet()).unwrap();
    assert_eq!(parsed["token"]["state"], "fresh");
    assert_eq!(parsed["last_failure"], serde_json::Value::Null);
    assert_eq!(parsed["settings"]["cache_dir"]["source"], "default");
    transcript!(done, @r#"
    $ astra-credential status --json
    > {"name":"default","account":{"kind":"service account","client_id":"00000000-fake-4000-8000-client000000","problem":null},"settings":{"api_url":{"value":"https://localhost:<port>","source":"ASTRA_API_URL"},"ca_file":{"value":"~/ca.pem","source":"SSL_CERT_FILE"},"cache_dir":{"value":"~/.cache/astra-credential","source":"default"},"exposed_file":{"value":"refused","source":"default"},"file":{"value":"~/.config/astra-credential/service-account.json","source":"default"},"min_valid":{"value":"the leeway","source":"default"},"proxy":{"value":"none","source":"default"},"timeout":{"value":"30s","source":"default"}},"hosts":[{"value":"localhost:<port>","source":"ASTRA_API_URL"}],"token":{"state":"fresh","renewed_at":"<time>","expires_at":"<time>"},"verdict":null,"refusals":[],"last_failure":null,"accounts":[{"name":"default","account":{"kind":"service account","client_id":"00000000-fake-4000-8000-client000000","problem":null},"settings":{"api_url":{"value":"https://localhost:<port>","source":"ASTRA_API_URL"},"ca_file":{"value":"~/ca.pem","source":"SSL_CERT_FILE"},"cache_dir":{"value":"~/.cache/astra-credential","source":"default"},"exposed_file":{"value":"refused","source":"default"},"file":{"value":"~/.config/astra-credential/service-account.json","source":"default"},"min_valid":{"value":"the leeway","source":"default"},"proxy":{"value":"none","source":"default"},"timeout":{"value":"30s","source":"default"}},"hosts":[{"value":"localhost:<port>","source":"ASTRA_API_URL"}],"token":{"state":"fresh","renewed_at":"<time>","expires_at":"<time>"},"verdict":null,"refusals":[],"last_failure":null}],"files":[]}
    "#);
}

#[test]
fn status_shows_neither_secret_nor_token_nor_a_claim_of_one() {
    let world = World::new();
    let token = world.token();
    world.astra.set_answer(|_, _| Reply::error(401, "no"));
    world.call("token --refresh").run().failure(4);
    for line in ["status", "status --json", "status -v"] {
        let done = world.call(line).run();
        let shown = done.stdout() + &done.stderr();
        for piece in token.split('.') {
            assert!(!shown.contains(&piece[..12.min(piece.len())]), "{done}");
        }
        assert!(!shown.contains("secret0000") && !shown.contains("robot@example.test"), "{done}");
    }
}

#[test]
fn status_sends_no_request_takes_no_lock_and_writes_nothing() {
    let world = World::new();
    world.token();
    let before = contents(world.home.path());
    let connections = world.astra.connections();
    world.call("status").run().quiet();
    assert!(contents(world.home.path()) == before);
    assert_eq!(world.astra.connections(), connections);
    needs!("strace");
    let trace = world.path("trace");
    let call = world.call_as("/usr/bin/env", "strace -f -o").arg(&trace);
    call.arg(crate::world::BINARY).arg("status").run();
    let calls = std::fs::read_to_string(&trace).unwrap();
    for absent in
        ["flock(", "socket(", "clone(", "clone3(", ".lock", "O_WRONLY", "O_RDWR", "O_CREAT"]
    {
        assert!(!calls.contains(absent), "{absent} in\n{calls}");
    }
}

#[test]
fn status_does_not_wait_for_the_lock() {
    let world = World::new();
    world.astra.set_answer(|_, _| Reply::Hang);
    let _holder = Process::that_asks(&world, &world.call("token"));
    let start = std::time::Instant::now();
    assert_eq!(world.call("status").run().code(), 1);
    assert!(start.elapsed() < Duration::from_secs(2));
}
