//! The route to Astra: proxies of each kind, peers that are slow or break off, addresses that fail.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::stand_in::{Leaf, Reply};
use crate::world::{Done, World, is_installed, skip, transcript};

/// Starts a server of raw TCP on 127.0.0.1, and returns its port.
fn server(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(client));
        }
    });
    port
}

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

/// Copies both ways until both sides are done.
fn splice(client: TcpStream, server: TcpStream) {
    let copy = |mut from: TcpStream, mut to: TcpStream| {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    };
    let (a, b) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let back = thread::spawn(move || copy(b, a));
    copy(client, server);
    back.join().unwrap();
}

fn read<const N: usize>(client: &mut TcpStream) -> [u8; N] {
    let mut bytes = [0; N];
    client.read_exact(&mut bytes).unwrap();
    bytes
}

fn read_until(client: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end) {
        bytes.extend(read::<1>(client));
    }
    bytes
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

/// Starts a proxy that speaks `scheme` and requires `login`. Returns its port and the targets that it is
/// asked for.
fn proxy(
    scheme: &'static str,
    login: Option<(&'static [u8], &'static [u8])>,
) -> (u16, Receiver<String>) {
    let (sender, targets) = channel();
    let sender = Mutex::new(sender);
    let port = server(move |mut client| {
        let target = match scheme {
            "http" => {
                let head = String::from_utf8(read_until(&mut client, b"\r\n\r\n")).unwrap();
                let target = head.split(' ').nth(1).unwrap().to_owned();
                if let Some((user, password)) = login {
                    use base64::Engine as _;
                    let pair = [user, b":", password].concat();
                    let basic = base64::prelude::BASE64_STANDARD.encode(pair);
                    if !head.contains(&format!("Proxy-Authorization: Basic {basic}\r\n")) {
                        let answer = "HTTP/1.1 407 Proxy Authentication Required\r\n\
                                      Proxy-Authenticate: Basic realm=\"x\"\r\n\r\n";
                        client.write_all(answer.as_bytes()).unwrap();
                        return;
                    }
                }
                client.write_all(b"HTTP/1.0 200 Connection established\r\nVia: x\r\n\r\n").unwrap();
                target
            }
            "socks5" => {
                let [version, count] = read(&mut client);
                let mut methods = vec![0; count.into()];
                client.read_exact(&mut methods).unwrap();
                assert_eq!(version, 5);
                if let Some((user, password)) = login {
                    if !methods.contains(&2) {
                        client.write_all(&[5, 0xff]).unwrap();
                        return;
                    }
                    client.write_all(&[5, 2]).unwrap();
                    let [_, length] = read(&mut client);
                    let mut named = vec![0; length.into()];
                    client.read_exact(&mut named).unwrap();
                    let [length] = read(&mut client);
                    let mut given = vec![0; length.into()];
                    client.read_exact(&mut given).unwrap();
                    let is_right = (&named[..], &given[..]) == (user, password);
                    client.write_all(&[1, u8::from(!is_right)]).unwrap();
                    if !is_right {
                        return;
                    }
                } else {
                    client.write_all(&[5, 0]).unwrap();
                }
                let [_, _, _, kind] = read(&mut client);
                let host = match kind {
                    1 => Ipv4Addr::from(read::<4>(&mut client)).to_string(),
                    3 => {
                        let [length] = read(&mut client);
                        let mut name = vec![0; length.into()];
                        client.read_exact(&mut name).unwrap();
                        String::from_utf8(name).unwrap()
                    }
                    _ => format!("[{}]", std::net::Ipv6Addr::from(read::<16>(&mut client))),
                };
                let port = u16::from_be_bytes(read(&mut client));
                // `localhost` may have an IPv6 address, on which the stand-in does not listen.
                if host == "[::1]" {
                    client.write_all(&[5, 5, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
                    return;
                }
                client.write_all(&[5, 0, 0, 3, 2, b'h', b'i', 0, 0]).unwrap();
                format!("{host}:{port}")
            }
            _ => {
                let [_, _, high, low, a, b, c, d] = read(&mut client);
                let user = read_until(&mut client, &[0]);
                if let Some((name, _)) = login
                    && user[..user.len() - 1] != *name
                {
                    client.write_all(&[0, 93, 0, 0, 0, 0, 0, 0]).unwrap();
                    return;
                }
                let host = if [a, b, c] == [0; 3] {
                    let name = read_until(&mut client, &[0]);
                    String::from_utf8(name[..name.len() - 1].to_vec()).unwrap()
                } else {
                    Ipv4Addr::from([a, b, c, d]).to_string()
                };
                client.write_all(&[0, 90, 0, 0, 0, 0, 0, 0]).unwrap();
                format!("{host}:{}", u16::from_be_bytes([high, low]))
            }
        };
        sender.lock().unwrap().send(target.clone()).unwrap();
        let server = TcpStream::connect(target.replace("localhost", "127.0.0.1")).unwrap();
        splice(client, server);
    });
    (port, targets)
}

/// Each kind of proxy with a scheme that names it, and the host that it is asked for if Astra's is
/// `localhost`.
const KINDS: [(&str, &str, &str); 6] = [
    ("http", "http://", "localhost"),
    ("http", "", "localhost"),
    ("socks5", "socks5h://", "localhost"),
    ("socks5", "socks5://", "127.0.0.1"),
    ("socks4", "socks4a://", "localhost"),
    ("socks4", "SOCKS4://", "127.0.0.1"),
];

/// The target that a proxy of that kind is asked for.
fn target(kind: &'static str, scheme: &str, world: &World, api: &str) -> String {
    let (port, targets) = proxy(kind, None);
    let call = world.call("token --no-cache").env("ASTRA_API_URL", api);
    call.env("HTTPS_PROXY", format!("{scheme}127.0.0.1:{port}")).run().quiet();
    targets.recv().unwrap()
}

#[test]
fn each_kind_of_proxy_is_asked_for_the_name_or_the_address_as_curl_does() {
    let world = World::new();
    for (kind, scheme, host) in KINDS {
        let target = target(kind, scheme, &world, &world.astra.url());
        assert_eq!(target, format!("{host}:{}", world.astra.port()), "{scheme}");
    }
}

#[test]
fn each_kind_of_proxy_is_asked_for_a_numeric_host_as_it_is() {
    let world = World::new();
    for (kind, scheme, _) in KINDS {
        let host = format!("127.0.0.1:{}", world.astra.port());
        assert_eq!(target(kind, scheme, &world, &format!("https://{host}")), host, "{scheme}");
    }
}

/// Starts a proxy that accepts its clients over TLS, and returns its port.
fn tls_proxy(leaf: Leaf) -> u16 {
    let config = leaf.config();
    server(move |client| {
        let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut client = rustls::StreamOwned::new(connection, client);
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            // A client that does not trust this proxy closes the connection.
            if !client.read(&mut byte).is_ok_and(|count| count == 1) {
                return;
            }
            head.extend(byte);
        }
        let head = String::from_utf8(head).unwrap();
        let target = head.split(' ').nth(1).unwrap().replace("localhost", "127.0.0.1");
        let mut server = TcpStream::connect(target).unwrap();
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        for socket in [&client.sock, &server] {
            socket.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        }
        let mut buffer = [0; 4096];
        let is_late = |error: &std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
        loop {
            match client.read(&mut buffer) {
                Ok(count) if count > 0 => server.write_all(&buffer[..count]).unwrap(),
                Err(error) if is_late(&error) => {}
                _ => return,
            }
            match server.read(&mut buffer) {
                Ok(count) if count > 0 => client.write_all(&buffer[..count]).unwrap(),
                Err(error) if is_late(&error) => {}
                _ => {
                    client.conn.send_close_notify();
                    let _ = client.flush();
                    return;
                }
            }
        }
    })
}

/// Runs `token` through a proxy over TLS on that port.
fn through_tls(world: &World, port: u16) -> Done<'_> {
    world.call("token").env("HTTPS_PROXY", format!("https://localhost:{port}")).run()
}

#[test]
fn a_proxy_over_tls_is_used() {
    let world = World::new();
    through_tls(&world, tls_proxy(world.authority.leaf())).quiet();
}

#[test]
fn a_proxy_over_tls_that_does_not_speak_tls_is_named_as_that() {
    let world = World::new();
    let port = server(|mut client| {
        let _ = client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let plain = through_tls(&world, port);
    assert!(plain.failure(5).contains("does not speak TLS"), "{plain}");
}

#[test]
fn the_certificate_of_a_proxy_over_tls_is_verified() {
    let world = World::new();
    let expired = through_tls(&world, tls_proxy(world.authority.expired_leaf()));
    assert!(expired.failure(5).contains("certificate of the proxy"), "{expired}");
    transcript!(expired, @"
    $ HTTPS_PROXY=https://localhost:<port> astra-credential token
    ! astra-credential: `https://localhost:<port>` cannot be reached through the proxy `localhost:<port>`: the certificate of the proxy is not trusted: it expired on <time>, and this machine's clock shows <time>; it is for `stand-in`, issued by `throw-away test authority`
    ! hint: check the proxy in `HTTPS_PROXY` or `ALL_PROXY`, or name the host in `NO_PROXY`
    [exit status: 5]
    ");
}

#[test]
fn a_user_name_and_password_reach_the_proxy_as_curl_sends_them() {
    let world = World::new();
    let cases: [(&str, &'static [u8], &'static [u8]); 8] = [
        ("me:hush", b"me", b"hush"),
        ("me:S3cr%2Ft%40%23%3f", b"me", b"S3cr/t@#?"),
        ("me:a@b:c", b"me", b"a@b:c"),
        (r"DOM\me:hush", br"DOM\me", b"hush"),
        ("mé:pä", "mé".as_bytes(), "pä".as_bytes()),
        ("m%C3%A9:%ff", "mé".as_bytes(), b"\xff"),
        ("me:100%", b"me", b"100%"),
        ("me:+%20", b"me", b"+ "),
    ];
    for (login, user, password) in cases {
        for kind in ["http", "socks5", "socks4"] {
            let (port, targets) = proxy(kind, Some((user, password)));
            let url = format!("{kind}://{login}@127.0.0.1:{port}");
            let done = world.call("token --no-cache").env("HTTPS_PROXY", &url).run();
            done.quiet();
            targets.recv().unwrap();
        }
    }
}

#[test]
fn a_user_name_without_a_password_reaches_the_proxy() {
    let world = World::new();
    let (port, targets) = proxy("http", Some((b"me", b"")));
    let url = format!("http://me@127.0.0.1:{port}");
    world.call("token --no-cache").env("HTTPS_PROXY", &url).run().quiet();
    targets.recv().unwrap();
}

#[test]
fn the_hint_for_a_proxys_login_shows_its_place() {
    let world = World::new();
    let mut shown = Vec::new();
    for kind in ["http", "socks5"] {
        let (port, _targets) = proxy(kind, Some((b"me", b"hush")));
        for login in ["", "me:hushhush@"] {
            let url = format!("{kind}://{login}127.0.0.1:{port}");
            let done = world.call("token").env("HTTPS_PROXY", &url).run();
            let error = done.failure(5);
            assert!(
                error.contains("`http://USER:PASSWORD@HOST:PORT`") && error.contains("%40"),
                "{done}"
            );
            assert!(!error.contains("407/407") && !error.contains("hushhush"), "{done}");
            shown.push(error);
        }
    }
    let port = server(|mut client| {
        read_until(&mut client, b"\r\n\r\n");
        let answer =
            "HTTP/1.1 407 x\r\nProxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM\r\n\r\n";
        client.write_all(answer.as_bytes()).unwrap();
    });
    let done = world
        .call("token")
        .env("HTTPS_PROXY", format!("http://me:hushhush@127.0.0.1:{port}"))
        .run();
    shown.push(done.failure(5));
    transcript!(shown.concat(), @"
    astra-credential: `https://localhost:<port>` cannot be reached through the proxy `127.0.0.1:<port>`: the proxy wants a user name and a password (407)
    hint: write them into the URL in `HTTPS_PROXY` or `ALL_PROXY` as `http://USER:PASSWORD@HOST:PORT`, with odd characters percent-encoded: `@` as `%40`, `/` as `%2F`, `:` as `%3A`, `#` as `%23`
    astra-credential: `https://localhost:<port>` cannot be reached through the proxy `127.0.0.1:<port>`: the proxy refuses the user name and password in its URL (407)
    hint: write them into the URL in `HTTPS_PROXY` or `ALL_PROXY` as `http://USER:PASSWORD@HOST:PORT`, with odd characters percent-encoded: `@` as `%40`, `/` as `%2F`, `:` as `%3A`, `#` as `%23`
    astra-credential: `https://localhost:<port>` cannot be reached through the proxy `127.0.0.1:<port>`: the proxy wants a user name and a password
    hint: write them into the URL in `HTTPS_PROXY` or `ALL_PROXY` as `http://USER:PASSWORD@HOST:PORT`, with odd characters percent-encoded: `@` as `%40`, `/` as `%2F`, `:` as `%3A`, `#` as `%23`
    astra-credential: `https://localhost:<port>` cannot be reached through the proxy `127.0.0.1:<port>`: the proxy refuses the user name and password in its URL
    hint: write them into the URL in `HTTPS_PROXY` or `ALL_PROXY` as `http://USER:PASSWORD@HOST:PORT`, with odd characters percent-encoded: `@` as `%40`, `/` as `%2F`, `:` as `%3A`, `#` as `%23`
    astra-credential: `https://localhost:<port>` cannot be reached through the proxy `127.0.0.1:<port>`: the proxy wants a login by Negotiate or NTLM, and this program knows only Basic (407)
    hint: check the proxy in `HTTPS_PROXY` or `ALL_PROXY`, or name the host in `NO_PROXY`
    ");
}

#[test]
fn the_right_password_ignores_the_cached_failure_of_the_wrong_one() {
    let world = World::new();
    let (port, targets) = proxy("http", Some((b"me", b"right")));
    let url = |password: &str| format!("http://me:{password}@127.0.0.1:{port}");
    world.call("token").env("HTTPS_PROXY", url("wrong")).run().failure(5);
    let again = world.call("token").env("HTTPS_PROXY", url("wrong")).run();
    assert!(again.failure(5).contains("not asked again"), "{again}");
    world.call("token").env("HTTPS_PROXY", url("right")).run().quiet();
    targets.recv().unwrap();
}

#[test]
fn a_token_is_renewed_through_a_proxy_with_a_login_of_each_kind() {
    let world = World::new();
    for kind in ["http", "socks5"] {
        let (port, targets) = proxy(kind, Some((b"me", b"hush")));
        let url = format!("{kind}://me:hush@127.0.0.1:{port}");
        for line in ["token --refresh", "forget", "token"] {
            world.call(line).env("HTTPS_PROXY", &url).run().quiet();
        }
        assert_eq!(targets.try_iter().count(), 2, "{kind}");
    }
}

#[test]
fn no_part_of_a_proxys_login_is_shown_or_looked_up() {
    let world = World::new();
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let logins = [
        "hush-user:hush-w0rt",
        "hush-user:hush/w0rt",
        "hush-user:hush#w0rt",
        "hush-user:hush?w0rt",
        "hush-user:hush w0rt",
        "hush-user:hush@w0rt",
        "hush-user:@hush/@w0rt",
        "hush-user:hush%w0rt",
        "hush-user:hush%2fw0rt",
        "hush-user:hush\\w0rt",
        "hush-user:hush://w0rt",
        "hush-user:hüsh",
        "hush-user",
        "hush/user",
        ":hush",
        "hush:1234/",
        "hush-user:[hush]",
    ];
    for scheme in ["http://", "https://", "socks5h://", "gopher://", ""] {
        for login in logins {
            let url = format!("{scheme}{login}@127.0.0.1:{dead}");
            for arguments in ["token -v", "status", "status --json", "doctor", "doctor --json"] {
                let done = world.call(arguments).env("HTTPS_PROXY", &url).run();
                let all = done.stdout() + &done.stderr();
                for part in ["hush", "w0rt", "hüsh"] {
                    // Neither the path of the home nor the account holds such a part.
                    assert!(!all.contains(part), "{url} {arguments}: {all}");
                }
            }
        }
    }
}

#[test]
fn a_password_of_a_proxy_that_has_to_be_encoded_is_refused_with_that_hint() {
    let world = World::new();
    let refused = world.call("token").env("HTTPS_PROXY", "http://hush:hu/sh@127.0.0.1:1").run();
    assert!(refused.failure(1).contains("percent-encoded"), "{refused}");
}

#[test]
fn a_proxy_that_is_not_utf_8_is_an_error() {
    let world = World::new();
    let bytes = b"http://me:h\xff@127.0.0.1:1".to_vec();
    let bytes: OsString = std::os::unix::ffi::OsStringExt::from_vec(bytes);
    let refused = world.call("token").env("HTTPS_PROXY", bytes).run();
    assert!(refused.failure(1).contains("is not UTF-8"), "{refused}");
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
