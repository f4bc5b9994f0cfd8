//! The exchange: every kind of answer, certificates, proxies and servers that do not answer.

use std::io::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use crate::stand_in::{Astra, Reply};
use crate::world::{World, closed_port, transcript};

/// Asserts that the call fails with that exit code, one message and one hint; returns its transcript.
fn fails(world: &World, code: i32, answer: impl Fn() -> Reply + Send + Sync + 'static) -> String {
    world.astra.set_answer(move |_, _| answer());
    let done = world.call("token --no-cache").run();
    let stderr = done.failure(code);
    let lines: Vec<_> = stderr.lines().collect();
    assert!(lines.len() == 2 && lines[1].starts_with("hint: "), "{done}");
    assert!(lines[0].chars().count() < 400, "{done}");
    done.to_string()
}

#[test]
fn each_status_has_a_message_and_an_exit_code() {
    let world = World::new();
    let bad_request = fails(&world, 4, || Reply::error(400, "bad request"));
    let unauthorized = fails(&world, 4, || Reply::error(401, "no such service account"));
    let forbidden = fails(&world, 4, || Reply::json(403, &serde_json::json!("not from here")));
    let not_found = fails(&world, 1, || Reply::text(404, "<html>not here</html>"));
    let gone = fails(&world, 1, || Reply::error(410, "gone"));
    let teapot = fails(&world, 1, || Reply::json(418, &serde_json::Value::Null));
    let too_many = fails(&world, 5, || Reply::error(429, "slow down"));
    let broken = fails(&world, 5, || Reply::text(500, "oops"));
    let down = fails(&world, 5, || Reply::text(503, ""));
    transcript!(
        bad_request,
        unauthorized,
        forbidden,
        not_found,
        gone,
        teapot,
        too_many,
        broken,
        down
    );
}

#[test]
fn an_answer_without_a_usable_token_is_an_error() {
    let world = World::new();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let jwt = |exp: u64| {
        use base64::Engine as _;
        let payload = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(format!(r#"{{"exp":{exp}}}"#));
        format!(r#"{{"token":"x.{payload}.y"}}"#)
    };
    let bodies: Vec<Vec<u8>> = vec![
        b"".into(),
        b"null".into(),
        b"[]".into(),
        b"{}".into(),
        b"true".into(),
        b"12".into(),
        b"OK".into(),
        b"<html><body>log in</body></html>".into(),
        br#"{"token":null}"#.into(),
        br#"{"token":""}"#.into(),
        br#"{"token":7}"#.into(),
        br#"{"token":["a"]}"#.into(),
        br#"{"token":"a b"}"#.into(),
        br#"{"token":"a\nb"}"#.into(),
        br#"{"token":"a\u0000"}"#.into(),
        br#"{"token":"a;b"}"#.into(),
        br#"{"token":"a","token":"b"}"#.into(),
        br#"{"token":"abc""#.into(),
        br#"{"Token":"abc"}"#.into(),
        br#"{"errors":[{"ID":1,"message":"no"}]}"#.into(),
        b"\xff\xfe".into(),
        b"\"\"".into(),
        b"\"a b\"".into(),
        "[".repeat(10_000).into(),
        format!(r#"{{"token":{}"#, "[".repeat(10_000)).into(),
        format!(r#"{{"token":"{}"}}"#, "a".repeat(65_537)).into(),
        jwt(now - 5).into(),
        jwt(0).into(),
    ];
    for body in bodies {
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        let body = body.clone();
        let transcript =
            fails(&world, 1, move || Reply::new(200, "application/json", body.clone()));
        assert!(transcript.contains("without a usable token"), "{shown}: {transcript}");
    }
    assert_eq!(world.astra.exchanges(), 28);
}

#[test]
fn a_header_of_1_mib_is_an_error_and_one_of_60_kib_is_read() {
    let world = World::new();
    let cookie = |length: usize| {
        move |_: &_, _: usize| {
            Some(
                Reply::json(200, &serde_json::json!({"token": "abc"}))
                    .with_header("Set-Cookie", &"a".repeat(length)),
            )
        }
    };
    world.astra.set_answer(cookie(60 * 1024));
    world.call("token --no-cache").run().quiet();
    world.astra.set_answer(cookie(1024 * 1024));
    let error = world.call("token --no-cache").run().failure(1);
    assert!(error.contains("header is too big"), "{error}");
}

#[test]
fn an_unusable_answer_caches_no_token() {
    let world = World::new();
    world.astra.set_answer(|_, _| Reply::text(200, "<html>"));
    world.call("token").run().failure(1);
    world.astra.clear_answer();
    let remembered = world.call("token").run().failure(1);
    assert!(remembered.contains("not asked again"), "{remembered}");
    world.call("token --refresh").run().quiet();
}

#[test]
fn no_redirect_is_followed() {
    let world = World::new();
    let elsewhere = Astra::start(&world.authority);
    for status in [300, 301, 302, 303, 307, 308, 399] {
        for target in [
            elsewhere.url() + "/v2/authenticateServiceAccount",
            world.astra.url() + "/other",
            "//evil".to_owned(),
            String::new(),
        ] {
            fails(&world, 1, move || Reply::text(status, "").with_header("Location", &target));
        }
    }
    assert_eq!(elsewhere.connections(), 0);
    assert_eq!(world.astra.connections(), 28);
    let shown =
        fails(&world, 1, || Reply::text(307, "").with_header("Location", "https://evil.example/"));
    transcript!(shown, @"
    $ astra-credential token --no-cache
    ! astra-credential: `https://localhost:<port>` answered with a redirect (307), which is never followed
    ! hint: check that `--api-url` or `ASTRA_API_URL` is Astra's API, and that no login page or gateway answers in its place
    [exit status: 1]
    ");
}

#[test]
fn only_a_passing_failure_is_retried() {
    for (status, tries) in
        [(429, 3), (502, 3), (503, 3), (504, 3), (500, 1), (400, 1), (401, 1), (403, 1), (404, 1)]
    {
        let world = World::new();
        world.astra.set_answer(move |_, _| Reply::error(status, "no"));
        assert!(!world.call("token").run().output.status.success());
        assert_eq!(world.astra.exchanges(), tries, "{status}");
    }
}

#[test]
fn a_third_attempt_may_bring_the_token() {
    let world = World::new();
    world.astra.set_answer(|_, number| (number < 3).then(|| Reply::error(503, "later")));
    world.call("token").run().quiet();
    assert_eq!(world.astra.exchanges(), 3);
    world.astra.set_answer(|_, number| (number < 6).then_some(Reply::Close));
    world.call("token --refresh").run().quiet();
    assert_eq!(world.astra.exchanges(), 6);
}

#[test]
fn a_short_retry_after_is_waited_for() {
    let world = World::new();
    world.astra.set_answer(|_, number| {
        (number == 1).then(|| Reply::error(429, "later").with_header("Retry-After", "1"))
    });
    let start = Instant::now();
    world.call("token").run().quiet();
    assert!(start.elapsed() >= Duration::from_secs(1));
}

#[test]
fn a_long_retry_after_is_cached_as_a_minute() {
    let world = World::new();
    world.astra.set_answer(|_, _| Reply::error(429, "later").with_header("Retry-After", "600"));
    let start = Instant::now();
    let first = world.call("token").run();
    first.failure(5);
    let second = world.call("token").run();
    assert!(
        second.failure(5).contains("another 60 s") || second.stderr().contains("another 59 s"),
        "{second}"
    );
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_eq!(world.astra.exchanges(), 1);
    transcript!(first, second, @"
    $ astra-credential token
    ! astra-credential: `https://localhost:<port>` cannot answer now (429): later
    ! hint: try again later
    [exit status: 5]

    $ astra-credential token
    ! astra-credential: `https://localhost:<port>` cannot answer now (429): later (<n> s ago; not asked again for another <n> s)
    ! hint: try again later
    [exit status: 5]
    ");
}

#[test]
fn a_retry_after_beyond_every_number_means_the_longest_wait() {
    for value in ["99999999999999999999", "9223372036854775808", "Fri, 31 Dec 9999 23:59:59 GMT"] {
        let world = World::new();
        world
            .astra
            .set_answer(move |_, _| Reply::error(503, "later").with_header("Retry-After", value));
        world.call("token").run().failure(5);
        let second = world.call("token").run().failure(5);
        assert!(second.contains("another 60 s") || second.contains("another 59 s"), "{second}");
        assert_eq!(world.astra.exchanges(), 1, "{value}");
    }
}

/// The expiry of the cached token, in Unix seconds.
fn cached_expiry(world: &World) -> u64 {
    let status = world.call("status --json").run().stdout();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let text = status["token"]["expires_at"].as_str().expect("an expiry");
    let instant = humantime::parse_rfc3339(text).unwrap();
    instant.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

fn now() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

#[test]
fn a_late_answer_does_not_make_a_token_valid_longer() {
    let world = World::new();
    world.astra.set_lifetime(60);
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    world.astra.set_answer(move |_, _| {
        let _ = held.lock().unwrap().recv_timeout(Duration::from_secs(20));
        None
    });
    let call = world.call("token").start();
    assert!(world.astra.wait_for_exchanges(1, Duration::from_secs(20)));
    let signal = |name: &str| {
        let id = call.id().to_string();
        assert!(std::process::Command::new("kill").args([name, &id]).status().unwrap().success());
    };
    signal("-STOP");
    let issued = now();
    release.send(()).unwrap();
    thread::sleep(Duration::from_secs(4));
    signal("-CONT");
    assert_eq!(crate::world::finish(call).0, 0);
    let expiry = cached_expiry(&world);
    assert!(expiry <= issued + 61, "valid for {} s", expiry - issued);
}

#[test]
fn a_token_that_expires_on_its_way_is_exchanged_again() {
    let world = World::new();
    world.astra.set_lifetime(2);
    world.astra.set_answer(|_, number| {
        if number == 1 {
            let reply = Reply::json(200, &serde_json::json!({"token": jwt(now(), now() + 2)}));
            thread::sleep(Duration::from_secs(3));
            return Some(reply.with_header(
                "Date",
                &httpdate::fmt_http_date(std::time::SystemTime::now() - Duration::from_secs(3)),
            ));
        }
        None
    });
    let done = world.call("token").run();
    assert!(world.astra.accepts(done.stdout().trim_end()), "{done}");
    assert_eq!(world.astra.exchanges(), 2);
}

/// A token with these claims.
fn jwt(iat: u64, exp: u64) -> String {
    use base64::Engine as _;
    let claims = format!(r#"{{"iat":{iat},"exp":{exp}}}"#);
    format!("x.{}.y", base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(claims))
}

#[test]
fn a_wrong_date_makes_no_token_valid_longer_than_its_claims() {
    let world = World::new();
    for date in ["Fri, 24 Jul 2020 14:16:22 GMT", "Thu, 01 Jan 1970 00:00:00 GMT"] {
        let token = jwt(now(), now() + 300);
        world.astra.set_answer(move |_, _| {
            Reply::json(200, &serde_json::json!({"token": token})).with_header("Date", date)
        });
        world.call("token --refresh").run().quiet();
        let life = cached_expiry(&world) - now();
        assert!((290..=300).contains(&life), "valid for {life} s");
    }
}

#[test]
fn a_server_that_never_answers_is_given_up_at_the_deadline() {
    let world = World::new();
    world.astra.set_answer(|_, _| Reply::Hang);
    let start = Instant::now();
    let done = world.call("token --timeout 1").run();
    done.failure(5);
    assert!((Duration::from_millis(900)..Duration::from_secs(2)).contains(&start.elapsed()));
    transcript!(done, @"
    $ astra-credential token --timeout 1
    ! astra-credential: `https://localhost:<port>` did not answer in time
    ! hint: try again later, or give it longer with `--timeout SECONDS`
    [exit status: 5]
    ");
}

#[test]
fn a_body_without_end_is_bounded_in_time_and_memory() {
    let world = World::new();
    world.astra.set_answer(|_, _| Reply::flood(1 << 30));
    // KiB of memory that can be written to: 64 MiB.
    let script = "ulimit -d 65536; exec \"$0\" token --no-cache --timeout 20";
    let done = world.call_as("/bin/sh", "-c").arg(script).arg(crate::world::BINARY).run();
    assert!(done.failure(1).contains("larger than"), "{done}");
}

#[test]
fn no_body_takes_more_memory_than_there_is() {
    const SIZE: usize = 1024 * 1024;
    let world = World::new();
    let filled = |head: &str, part: &str, tail: &str| {
        let count = (SIZE - head.len() - tail.len()) / part.len();
        let part = if part.ends_with(',') {
            part.repeat(count).trim_end_matches(',').to_owned()
        } else {
            part.repeat(count)
        };
        format!("{head}{part}{tail}")
    };
    let bodies = [
        filled("[", r#"{"":0},"#, "]"),
        filled(r#"{"errors":["#, r#"{"":0},"#, "]}"),
        filled(r#"{"errors":["#, r#"{"message":"m"},"#, "]}"),
        filled(r#"{"errors":["#, r#""","#, "]}"),
        filled(r#"{"errors":["#, "0,", "]}"),
        filled(r#"{"token":["#, r#"{"":0},"#, "]}"),
        filled(r#"{"more":["#, r#"{"":0},"#, "]}"),
        filled("{", r#""":0,"#, "}"),
        filled("", r#"{"":0}"#, ""),
        filled("", "[", ""),
        filled(r#"{"errors":"#, "[", ""),
        filled(r#"{"errors":["#, r#"{"":"#, ""),
        filled("", r#"[{"":"#, ""),
        filled("\"", "\\u0041", "\""),
        filled("", "\u{e9}", ""),
        filled("", "\u{1b}", ""),
        filled("", "a ", ""),
    ];
    for (at, body) in bodies.into_iter().enumerate() {
        for status in [200, 401] {
            let body = body.clone();
            world
                .astra
                .set_answer(move |_, _| Reply::new(status, "application/json", body.clone()));
            // KiB of memory that can be written to: 32 MiB, stacks of threads included.
            let script = "ulimit -d 32768; exec \"$0\" token --no-cache";
            let done = world.call_as("/bin/sh", "-c").arg(script).arg(crate::world::BINARY).run();
            done.failure(if status == 200 { 1 } else { 4 });
            assert!(done.stderr().lines().all(|line| line.chars().count() < 400), "{at}: {done}");
        }
    }
}

#[test]
fn a_compressed_answer_is_read_and_a_bomb_is_not() {
    let world = World::new();
    let gzip = |content: &[u8]| {
        let mut child = std::process::Command::new("gzip")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let content = content.to_vec();
        let writer = thread::spawn(move || stdin.write_all(&content));
        let zipped = child.wait_with_output().unwrap().stdout;
        writer.join().unwrap().unwrap();
        zipped
    };
    let token = world.astra.tokens().issue();
    let body = gzip(format!(r#"{{"token":"{token}"}}"#).as_bytes());
    world.astra.set_answer(move |_, _| {
        Reply::new(200, "application/json", body.clone()).with_header("Content-Encoding", "gzip")
    });
    assert_eq!(world.call("token --no-cache").run().quiet().trim_end(), token);
    let bomb = gzip(&vec![b' '; 64 << 20]);
    assert!(bomb.len() < 1 << 20);
    fails(&world, 1, move || {
        Reply::new(200, "application/json", bomb.clone()).with_header("Content-Encoding", "gzip")
    });
}

#[test]
fn a_certificate_that_is_not_trusted_is_named_and_not_asked_again() {
    let world = World::new();
    let other = World::new();
    let unknown = world.call("token").env("ASTRA_API_URL", other.astra.url()).run();
    let expired = Astra::start_with(world.authority.expired_leaf());
    let expired = world.call("token").env("ASTRA_API_URL", expired.url()).run();
    let another = Astra::start_with(world.authority.leaf_for(&["another.example"]));
    let another = world.call("token").env("ASTRA_API_URL", another.url()).run();
    for done in [&unknown, &expired, &another] {
        done.failure(5);
    }
    assert_eq!(other.astra.exchanges(), 0);
    assert_eq!(other.astra.connections(), 1);
    transcript!(unknown, expired, another, @"
    $ ASTRA_API_URL=https://localhost:<port> astra-credential token
    ! astra-credential: the certificate of `https://localhost:<port>` is not trusted: no trusted certificate authority has signed it: the one that has is called `throw-away test authority` like one that is trusted, but has another key; trusted are those in `~/ca.pem`
    ! hint: put the certificate of the authority that issued it into a PEM file and name that with `--ca-file FILE` or `SSL_CERT_FILE`; where a gateway inspects TLS, the authority is your company's
    [exit status: 5]

    $ ASTRA_API_URL=https://localhost:<port> astra-credential token
    ! astra-credential: the certificate of `https://localhost:<port>` is not trusted: it expired on <time>, and this machine's clock shows <time>; it is for `stand-in`, issued by `throw-away test authority`
    ! hint: have it renewed at the server or the gateway in between, unless this machine's clock is wrong
    [exit status: 5]

    $ ASTRA_API_URL=https://localhost:<port> astra-credential token
    ! astra-credential: the certificate of `https://localhost:<port>` is not trusted: it is for `another.example`, issued by `throw-away test authority`
    ! hint: check the host in `--api-url` or `ASTRA_API_URL`, and that nothing answers in its place; else have a certificate issued for it
    [exit status: 5]
    ");
}

#[test]
fn a_ca_file_that_cannot_be_used_is_named_and_the_error_is_not_cached() {
    let world = World::new();
    let missing = world.call("token --ca-file ~/none.pem").run();
    let empty = world.call("token").env("SSL_CERT_FILE", world.write("empty.pem", "")).run();
    for done in [&missing, &empty] {
        done.failure(1);
    }
    assert_eq!(world.astra.connections(), 0);
    world.token();
    transcript!(missing, empty, @"
    $ astra-credential token --ca-file ~/none.pem
    ! astra-credential: the certificate authorities for `https://localhost:<port>` cannot be used: `~/none.pem`: No such file or directory (os error 2)
    ! hint: name a file of PEM certificates with `--ca-file FILE` or `SSL_CERT_FILE`, or unset that and `SSL_CERT_DIR` to trust the system's
    [exit status: 1]

    $ SSL_CERT_FILE=~/empty.pem astra-credential token
    ! astra-credential: the certificate authorities for `https://localhost:<port>` cannot be used: `~/empty.pem`: it holds no PEM certificate
    ! hint: name a file of PEM certificates with `--ca-file FILE` or `SSL_CERT_FILE`, or unset that and `SSL_CERT_DIR` to trust the system's
    [exit status: 1]
    ");
}

#[test]
fn a_closed_port_is_unreachable() {
    let world = World::new();
    let port = closed_port();
    let refused =
        world.call("token").env("ASTRA_API_URL", format!("https://localhost:{port}")).run();
    refused.failure(5);
    transcript!(refused, @"
    $ ASTRA_API_URL=https://localhost:<port> astra-credential token
    ! astra-credential: `https://localhost:<port>` cannot be reached: Connection refused (os error 111)
    ! hint: check the network and `--api-url`; behind a proxy, set `HTTPS_PROXY`
    [exit status: 5]
    ");
}

#[test]
fn an_echoed_secret_is_not_shown() {
    let world = World::new();
    world.astra.set_answer(|request, _| Reply::error(401, &String::from_utf8_lossy(&request.body)));
    let json = world.call("token --refresh").run();
    world.astra.set_answer(|request, _| Reply::new(400, "text/plain", request.body.clone()));
    let text = world.call("token --refresh -v").run();
    for done in [&json, &text] {
        assert!(!done.failure(4).contains("secret0000"), "{done}");
    }
    transcript!(json, @r#"
    $ astra-credential token --refresh
    ! astra-credential: `https://localhost:<port>` rejected the service account (401): {"clientName":"robot@example.test","clientId":"[redacted]clien[redacted]","client[redacted]":"[redacted]"}
    ! hint: check in Astra's dashboard that the service account in `~/.config/astra-credential/service-account.json` still exists, and that the organisation's IP access list admits this machine; if its secret was rotated, store the new one with `astra-credential setup account`
    [exit status: 4]
    "#);
}

#[test]
fn a_secret_that_a_server_sends_back_as_the_token_is_no_token() {
    let world = World::new();
    world.astra.set_answer(|request, _| {
        let sent: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        Reply::json(200, &serde_json::json!({"token": sent["clientSecret"]}))
    });
    let done = world.call("token").run();
    assert!(!done.failure(1).contains("secret0000"), "{done}");
}

#[test]
fn control_characters_of_a_server_are_escaped() {
    let world = World::new();
    let shown = fails(&world, 4, || Reply::error(401, "\u{1b}[2Jgone\r\n\u{7}\u{202e}"));
    transcript!(shown, @r#"
    $ astra-credential token --no-cache
    ! astra-credential: `https://localhost:<port>` rejected the service account (401): \u{1b}[2Jgone \u{7}\u{202e}
    ! hint: check in Astra's dashboard that the service account in `~/.config/astra-credential/service-account.json` still exists, and that the organisation's IP access list admits this machine; if its secret was rotated, store the new one with `astra-credential setup account`
    [exit status: 4]
    "#);
}

#[test]
fn an_empty_ssl_cert_file_counts_as_absent() {
    let world = World::new();
    let done = world.call("token").env("SSL_CERT_FILE", "").run();
    // The system's authorities were used, and none of them has signed the stand-in's certificate.
    assert!(done.failure(5).contains("no trusted certificate authority has signed it"), "{done}");
}

#[test]
fn ssl_cert_dir_names_a_folder_to_trust() {
    let world = World::new();
    let folder = world.path("trusted");
    std::fs::create_dir(&folder).unwrap();
    std::fs::copy(world.path("ca.pem"), folder.join("ca.pem")).unwrap();
    world.call("token").without("SSL_CERT_FILE").env("SSL_CERT_DIR", folder).run().quiet();
}
