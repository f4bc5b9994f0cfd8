//! The main job: the first call does an exchange, and the next ones use the cache.

use std::time::Duration;

use crate::stand_in::Reply;
use crate::world::{Done, World, mode, transcript};

#[test]
fn the_first_call_exchanges_and_the_second_does_not() {
    let world = World::new();
    let first = world.call("token").run();
    let second = world.call("token").run();
    assert_eq!(first.quiet(), second.quiet());
    assert_eq!(first.quiet(), format!("{}\n", world.astra.last_token().unwrap()));
    assert_eq!(world.astra.exchanges(), 1);
    transcript!(first, second, @"
    $ astra-credential token
    > <token>

    $ astra-credential token
    > <token>
    ");
}

#[test]
fn the_request_is_what_the_api_documents_and_nothing_else() {
    let world = World::new();
    world.write_account(
        r#"{"clientId":"i","clientName":"n\"é","clientSecret":"s","more":"never sent"}"#,
    );
    world.call("token").run().failure(4);
    let request = &world.astra.requests()[0];
    assert_eq!(request.method, "POST");
    assert_eq!(request.path, "/v2/authenticateServiceAccount");
    let body = String::from_utf8(request.body.clone()).unwrap();
    assert_eq!(body, r#"{"clientName":"n\"é","clientId":"i","clientSecret":"s"}"#);
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("accept"), Some("application/json"));
    assert_eq!(request.header("authorization"), None);
    assert!(request.header("user-agent").unwrap().starts_with("astra-credential/"));
}

#[test]
fn verbose_logs_each_step_and_neither_secret_nor_token() {
    let world = World::new();
    let cold = world.call("token -v").run();
    let warm = world.call("token").env("ASTRA_CREDENTIAL_LOG", "1").run();
    for done in [&cold, &warm] {
        assert!(!done.stderr().is_empty());
        assert!(!done.stderr().contains("secret0000") && !done.stderr().contains("eyJ"), "{done}");
    }
    transcript!(cold, warm, @"
    $ astra-credential token -v
    > <token>
    ! astra-credential: requesting a token from `https://localhost:<port>`

    $ ASTRA_CREDENTIAL_LOG=1 astra-credential token
    > <token>
    ! astra-credential: a cached token serves, valid until <time>
    ");
}

#[test]
fn refresh_exchanges_whatever_is_cached() {
    let world = World::new();
    let before = world.token();
    let refreshed = world.call("token --refresh").run().quiet();
    assert_ne!(refreshed.trim_end(), before);
    assert_eq!(world.token(), refreshed.trim_end());
    assert_eq!(world.astra.exchanges(), 2);
}

#[test]
fn without_a_cache_nothing_is_read_or_written() {
    let world = World::new();
    world.call("token --no-cache").run().quiet();
    assert!(!world.cache_dir().exists());
    world.token();
    world.call("token").env("ASTRA_CREDENTIAL_NO_CACHE", "1").run().quiet();
    assert_eq!(world.astra.exchanges(), 3);
}

#[test]
fn a_token_that_cannot_serve_for_min_valid_is_renewed() {
    let world = World::new();
    world.astra.set_lifetime(3600);
    let short = world.token();
    world.astra.set_lifetime(36_000);
    assert_eq!(world.call("token --min-valid 30m").run().quiet().trim_end(), short);
    let long = world.call("token").env("ASTRA_CREDENTIAL_MIN_VALID", "2h").run().quiet();
    assert_ne!(long.trim_end(), short);
    assert_eq!(world.astra.exchanges(), 2);
}

#[test]
fn a_min_valid_that_no_token_meets_is_a_warning_and_causes_no_loop() {
    let world = World::new();
    let first = world.call("token --min-valid 20h").run();
    let second = world.call("token --min-valid 20h").run();
    assert_eq!((first.code(), first.stdout()), (0, second.stdout()));
    assert_eq!(first.stderr().lines().count(), 1);
    assert_eq!(world.astra.exchanges(), 1);
    transcript!(first, second, @"
    $ astra-credential token --min-valid 20h
    > <token>
    ! astra-credential: warning: the token is valid for <n> s, less than the 72000 s asked for

    $ astra-credential token --min-valid 20h
    > <token>
    ! astra-credential: warning: the token is valid for <n> s, less than the 72000 s asked for
    ");
}

#[test]
fn an_expired_token_is_renewed_and_a_valid_one_is_not() {
    let world = World::new();
    world.astra.set_lifetime(7);
    let first = world.token();
    assert_eq!(world.token(), first);
    // The leeway is at most five of its seven seconds.
    let renewed = std::iter::repeat_with(|| {
        std::thread::sleep(Duration::from_millis(100));
        world.token()
    })
    .take(80)
    .find(|token| *token != first);
    assert!(renewed.is_some());
    assert_eq!(world.astra.exchanges(), 2);
}

#[test]
fn a_corrected_or_rotated_secret_is_another_entry() {
    let world = World::new();
    let before = world.token();
    world.astra.set_secret("00000000-fake-4000-8000-rotated0000");
    world.write_account(&world.astra.account_json());
    assert_ne!(world.token(), before);
    assert_eq!(world.cached("entry").len(), 2);
}

#[test]
fn another_api_base_is_another_entry() {
    let world = World::new();
    world.token();
    let other = world.astra.url().replace("localhost", "127.0.0.1");
    world.call("token --api-url").arg(other).run().quiet();
    assert_eq!(world.astra.exchanges(), 2);
    // The same host in capital letters is the same base.
    let same = world.astra.url().replace("localhost", "LOCALHOST") + "/";
    world.call("token --api-url").arg(same).run().quiet();
    assert_eq!(world.astra.exchanges(), 2);
}

#[test]
fn every_answer_form_of_the_api_is_taken() {
    let world = World::new();
    let token = world.astra.tokens().issue();
    let forms = [
        format!(r#"{{"token":"{token}"}}"#),
        format!(r#"{{"token":"Bearer {token}","more":[]}}"#),
        format!(r#"{{"token":"bearer {token}"}}"#),
        format!(r#""{token}""#),
        format!("{token}\n"),
        format!("Bearer {token}"),
    ];
    for form in forms {
        world.astra.set_answer({
            let form = form.clone();
            move |_, _| Reply::text(200, &form)
        });
        let answer = world.call("token --refresh").run().quiet();
        assert_eq!(answer.trim_end(), token, "{form}");
    }
}

#[test]
fn everything_in_the_cache_is_private_whatever_the_umask() {
    for umask in ["000", "022", "077", "777"] {
        let world = World::new();
        let script = format!("umask {umask}; exec \"$0\" token");
        let call = world.call_as("/bin/sh", "-c").arg(script).arg(crate::world::BINARY);
        assert!(call.run().quiet().len() > 1000);
        assert_eq!(mode(&world.cache_dir()), 0o700, "umask {umask}");
        assert_eq!(mode(&world.path(".cache")), 0o700, "umask {umask}");
        for file in world.cached("entry").into_iter().chain(world.cached("lock")) {
            assert_eq!(mode(&file), 0o600, "umask {umask}: {}", file.display());
        }
        world.token();
        assert_eq!(world.astra.exchanges(), 1);
    }
}

#[test]
fn a_copied_cache_holds_neither_token_nor_secret() {
    let world = World::new();
    let token = world.token();
    let secret = "00000000-fake-4000-8000-secret000000";
    for (path, bytes) in crate::world::contents(&world.cache_dir()) {
        let holds = |text: &str| {
            bytes.windows(16).any(|piece| text.as_bytes().windows(16).any(|other| other == piece))
        };
        assert!(!holds(&token) && !holds(secret), "{}", path.display());
    }
}

/// The lines of a help from `Settings:` to the next empty line.
fn settings(help: &str) -> String {
    let (_, settings) = help.split_once("Settings:\n").expect("settings");
    settings.split("\n\n").next().expect("a block").to_owned()
}

#[test]
fn help_and_version_are_answers() {
    let world = World::new();
    let parts =
        ["--help", "--version", "token --help", "git --help"].map(|line| world.call(line).run());
    let shown = settings(&parts[0].quiet());
    // The settings, which are the same in each help, are shown once.
    let once = |done: &Done<'_>| {
        assert_eq!(settings(&done.quiet()), shown);
        let block = shown.lines().map(|line| format!("> {line}\n")).collect::<String>();
        done.to_string().replace(&block, "> (as above)\n")
    };
    let [help, version, token, git] = &parts;
    version.quiet();
    transcript!(help, version, once(token), once(git));
}

#[test]
fn usage_errors_have_exit_code_2() {
    let world = World::new();
    let lines = [
        "tokens",
        "token --timeout soon",
        "token --api-url http://localhost:1",
        "git",
        "token --host a/b",
    ];
    let parts = lines.map(|line| world.call(line).run());
    parts.iter().for_each(|done| drop(done.failure(2)));
    assert_eq!(world.astra.connections(), 0);
    let [word, timeout, http, verb, host] = parts;
    transcript!(word, timeout, http, verb, host);
}

#[test]
fn without_arguments_the_help_is_an_error() {
    let world = World::new();
    let help = world.call("--help").run().quiet();
    assert_eq!(world.call("").run().failure(2), help);
}

#[test]
fn a_full_disk_on_standard_output_fails_and_one_on_standard_error_does_not() {
    let world = World::new();
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = world.call("token").command().stdout(full()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("standard output"));
    let output = world.call("token -v").command().stderr(full()).output().unwrap();
    assert!(output.status.success() && output.stdout.len() > 1000);
}

#[test]
fn a_reader_that_leaves_early_is_an_error_and_no_panic() {
    let world = World::new();
    let mut child = world.call("token --refresh").start();
    drop(child.stdout.take());
    let (code, _, stderr) = crate::world::finish(child);
    assert_eq!(code, 1);
    assert!(stderr.contains("standard output") && !stderr.contains("panic"), "{stderr}");
}

/// A service manager, a container or an old terminal often has another locale.
#[test]
fn messages_are_in_ascii_unless_the_locale_is_one_of_utf_8() {
    let world = World::new();
    world.astra.set_answer(|_, _| Reply::error(418, "d\u{e9}faut \u{201c}x\u{201d}\u{2026}"));
    let output = |names: &[(&str, &str)], line: &str| {
        let call = names
            .iter()
            .fold(world.call(line).without("LANG"), |call, (name, value)| call.env(name, *value));
        let done = call.run();
        done.stdout() + &done.stderr()
    };
    let ascii: [&[(&str, &str)]; 5] = [
        &[],
        &[("LANG", "C")],
        &[("LANG", "de_DE.ISO-8859-1")],
        &[("LANG", "C.UTF-8"), ("LC_ALL", "POSIX")],
        &[("LANG", "C.UTF-8"), ("LC_CTYPE", "C")],
    ];
    for names in ascii {
        for line in
            ["token --refresh", "status", "doctor --online", "token --help", "", "env --help"]
        {
            let output = output(names, line);
            assert!(output.is_ascii(), "{names:?} {line}: {output}");
        }
        assert!(output(names, "token --refresh").contains(r#"d\u{e9}faut "x"..."#));
    }
    let utf_8: [&[(&str, &str)]; 3] = [
        &[("LANG", "C.utf8")],
        &[("LC_ALL", "en_GB.UTF-8"), ("LANG", "C")],
        &[("LC_ALL", ""), ("LANG", "C.UTF-8")],
    ];
    for names in utf_8 {
        assert!(
            output(names, "token --refresh").contains("d\u{e9}faut \u{201c}x\u{201d}\u{2026}"),
            "{names:?}"
        );
    }
}
