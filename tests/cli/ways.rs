//! The route to Astra: peers that are slow or break off, and addresses that fail.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::proxies::{proxy, server};
use crate::stand_in::Reply;
use crate::world::{World, is_installed, skip};

/// Sends `bytes` again and again, one byte each 100 ms, until the client closes the connection or 12 s are
/// over.
fn drip(mut client: TcpStream, bytes: &[u8]) {
    let mut reader = client.try_clone().unwrap();
    thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
    for byte in bytes.iter().cycle().take(120) {
        if client.write_all(&[*byte]).is_err() {
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_peer_that_drips_is_given_up_at_the_deadline() {
    let drips: [(&str, &'static [u8]); 7] = [
        ("http", b"HTTP/1.1 200 OK\r\nX-Padding: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
        ("http", b"X"),
        ("https", b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc\x03\x03"),
        ("socks5h", b"\x05\x00\x05\x00\x00\x03\xff"),
        ("socks5", b"\x05\x00\x05\x00\x00\x03\xff"),
        ("socks4a", b"\x00"),
        ("", b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc\x03\x03"),
    ];
    thread::scope(|scope| {
        for (scheme, bytes) in drips {
            scope.spawn(move || {
                let world = World::new();
                let port = server(move |client| drip(client, bytes));
                for arguments in
                    ["token --timeout 2", "doctor --timeout 2", "doctor --online --timeout 2"]
                {
                    let call = world.call(arguments);
                    let call = if scheme.is_empty() {
                        call.env("ASTRA_API_URL", format!("https://127.0.0.1:{port}"))
                    } else {
                        call.env("HTTPS_PROXY", format!("{scheme}://127.0.0.1:{port}"))
                    };
                    let start = Instant::now();
                    let done = call.run();
                    assert!(!done.output.status.success(), "{done}");
                    let most = if arguments.contains("online") { 6 } else { 4 };
                    assert!(start.elapsed() < Duration::from_secs(most), "{scheme} {done}");
                }
            });
        }
    });
}

#[test]
fn an_answer_that_drips_is_given_up_at_the_deadline() {
    let replies: [&'static [u8]; 2] = [
        b"HTTP/1.1 200 OK\r\nX: aaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        b"HTTP/1.1 200 OK\r\n\r\n{\"token\": \"aaaaaaaaaaaaaa",
    ];
    for reply in replies {
        let world = World::new();
        world.astra.set_answer(move |_, _| Reply::Drip(reply.to_vec()));
        let start = Instant::now();
        let done = world.call("token --timeout 1").run();
        done.failure(5);
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    }
}

#[test]
fn a_body_that_is_cut_off_is_no_token() {
    let world = World::new();
    let token = world.astra.tokens().issue();
    let json = format!(r#"{{"token":"{token}"}}"#);
    let half = &token[..token.len() / 2];
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
    let cuts = [
        ("bare, unframed", format!("{head}\r\n{half}")),
        ("bare, unframed, close", format!("{head}Connection: close\r\n\r\n{half}")),
        ("whole, unframed", format!("{head}\r\n{json}")),
        ("old, unframed", format!("HTTP/1.0 200 OK\r\n\r\n{token}")),
        ("with a length", format!("{head}Content-Length: {}\r\n\r\n{half}", token.len())),
        ("one byte short", format!("{head}Content-Length: {}\r\n\r\n{token}", token.len() + 1)),
        ("in chunks", format!("{head}Transfer-Encoding: chunked\r\n\r\n{}", chunk(half))),
        (
            "without the last chunk",
            format!("{head}Transfer-Encoding: chunked\r\n\r\n{}", chunk(&json)),
        ),
        ("within a chunk", format!("{head}Transfer-Encoding: chunked\r\n\r\nfff\r\n{half}")),
        ("in the header", head.to_owned()),
        ("after a line", "HTTP/1.1 200 OK\r\n".to_owned()),
    ];
    for (which, cut) in cuts {
        world.astra.set_answer(move |_, _| Reply::Cut(cut.clone().into_bytes()));
        let done = world.call("token --refresh --timeout 10").run();
        let error = done.failure(5);
        assert!(error.contains("broke off"), "{which}: {done}");
    }
}

#[test]
fn a_body_without_a_length_is_a_token_if_tls_ends_in_order() {
    let world = World::new();
    let token = world.astra.tokens().issue();
    let whole = format!("HTTP/1.1 200 OK\r\n\r\n{{\"token\":\"{token}\"}}");
    world.astra.set_answer(move |_, _| Reply::Raw(whole.clone().into_bytes()));
    assert_eq!(world.call("token").run().quiet().trim_end(), token);
}

#[test]
fn an_error_whose_body_is_cut_off_is_still_that_error() {
    let world = World::new();
    let cut = b"HTTP/1.1 401 No\r\n\r\n\"no such account\"";
    world.astra.set_answer(|_, _| Reply::Cut(cut.to_vec()));
    let done = world.call("token").run();
    assert!(done.failure(4).contains("no such account"), "{done}");
}

/// The variable that is set in a test which runs in its own namespaces.
const INSIDE: &str = "ASTRA_TEST_NAMESPACE";

/// True in a network and mount namespace that `script` has set up. Outside of one, starts the same test in
/// one, asserts that it passes there, and returns false.
fn is_inside(test: &str, script: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    if !is_installed("unshare") || !is_installed("ip") {
        return false;
    }
    let quiet = |arguments: &[&str]| {
        Command::new("unshare")
            .args(arguments)
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|s| s.success())
    };
    if !quiet(&["--net", "--mount", "true"]) {
        skip("network namespaces are not allowed here");
        return false;
    }
    let script = format!(
        "set -e; mount --make-rprivate /; ip link set lo up; {script}; \
         exec \"$0\" --exact {test} --nocapture"
    );
    let output = Command::new("unshare")
        .args(["--net", "--mount", "sh", "-c", &script])
        .arg(std::env::current_exe().unwrap())
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && report.contains("1 passed"),
        "{report}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    false
}

/// A port of 2001:db8::4 that does not answer, because its queue of connections is full.
struct Silent(#[expect(dead_code, reason = "held open")] TcpListener, Vec<TcpStream>);

impl Silent {
    fn new(port: u16) -> Self {
        // The setting of this namespace.
        std::fs::write("/proc/sys/net/core/somaxconn", "1").unwrap();
        let listener = TcpListener::bind(("2001:db8::4", port)).unwrap();
        let address = listener.local_addr().unwrap();
        let mut silent = Self(listener, Vec::new());
        while let Ok(client) = TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
            silent.1.push(client);
        }
        silent
    }
}

#[test]
fn every_address_is_tried_until_one_answers() {
    // These addresses are reserved for documentation, and the namespace has no route to elsewhere. With private
    // IPv6 addresses, musl's resolver would put IPv4 first.
    const SETUP: &str = "ip -6 addr add 2001:db8::f/64 dev lo nodad; \
         ip -6 rule add to 2001:db8::1 ipproto tcp prohibit; \
         ip -6 rule add to 2001:db8::2 ipproto tcp blackhole; \
         ip -6 rule add to 2001:db8::3 ipproto tcp unreachable; \
         ip -6 addr add 2001:db8::4/64 dev lo nodad; \
         ip -6 addr add 2001:db8::5/64 dev lo nodad; \
         hosts=$(mktemp); chmod 644 $hosts; \
         for at in 1:prohibited 2:dropped 3:unreachable 4:silent 5:refused; do \
           echo \"2001:db8::${at%:*} ${at#*:}.test\"; echo \"127.0.0.1 ${at#*:}.test\"; done >$hosts; \
         for at in 1 2 3 5; do echo \"2001:db8::$at all.test\"; done >>$hosts; \
         echo '127.0.0.1 all.test' >>$hosts; mount --bind $hosts /etc/hosts; rm $hosts";
    if !is_inside("ways::every_address_is_tried_until_one_answers", SETUP) {
        return;
    }
    let names = ["prohibited", "dropped", "unreachable", "refused", "all", "silent"];
    let names = names.map(|name| format!("{name}.test"));
    let world = World::new();
    let leaf = world.authority.leaf_for(&names.each_ref().map(String::as_str));
    let astra = crate::stand_in::Astra::start_with(leaf);
    world.write_account(&astra.account_json());
    let _silent = Silent::new(astra.port());
    for name in &names {
        let api = format!("https://{name}:{}", astra.port());
        let start = Instant::now();
        world.call("token --no-cache").env("ASTRA_API_URL", &api).run().quiet();
        let took = start.elapsed();
        let pause = if name == "silent.test" { 250 } else { 0 };
        assert!(took >= Duration::from_millis(pause), "{name}: {took:?}");
        assert!(took < Duration::from_millis(pause + 4000), "{name}: {took:?}");
        // The addresses of a proxy are tried in the same way.
        for (kind, scheme) in [("http", "http"), ("socks5", "socks5h"), ("socks4", "socks4a")] {
            let (port, targets) = proxy(kind, None);
            let _silent = Silent::new(port);
            let url = format!("{scheme}://{name}:{port}");
            let start = Instant::now();
            world.call("token --no-cache").env("HTTPS_PROXY", &url).run().quiet();
            targets.recv().unwrap();
            assert!(start.elapsed() < Duration::from_millis(pause + 4000), "{url}");
        }
    }
    assert_eq!(astra.exchanges(), names.len());
}
