//! Proxies: the choice by the environment, each kind, logins, TLS and errors.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::stand_in::Leaf;
use crate::world::{Done, World, closed_port, transcript};

/// Starts a server of raw TCP on 127.0.0.1, and returns its port.
pub fn server(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
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

pub fn read_until(client: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end) {
        bytes.extend(read::<1>(client));
    }
    bytes
}

/// Starts a proxy that speaks `scheme` and requires `login`. Returns its port and the targets that it is
/// asked for.
pub fn proxy(
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

/// Starts an HTTP proxy that sends `answer` to every request. Returns its port and the number of its
/// connections.
pub fn answering(answer: &'static str) -> (u16, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let port = server(move |mut client| {
        counted.fetch_add(1, Ordering::SeqCst);
        let _ = client.read(&mut [0; 4096]);
        let _ = client.write_all(answer.as_bytes());
    });
    (port, count)
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
    astra-credential: `https://localhost:<port>` cannot be reached through the proxy `127.0.0.1:<port>`: the proxy requires a user name and a password (407)
    hint: write them into the URL in `HTTPS_PROXY` or `ALL_PROXY` as `http://USER:PASSWORD@HOST:PORT`, with odd characters percent-encoded: `@` as `%40`, `/` as `%2F`, `:` as `%3A`, `#` as `%23`
    astra-credential: `https://localhost:<port>` cannot be reached through the proxy `127.0.0.1:<port>`: the proxy refuses the user name and password in its URL (407)
    hint: write them into the URL in `HTTPS_PROXY` or `ALL_PROXY` as `http://USER:PASSWORD@HOST:PORT`, with odd characters percent-encoded: `@` as `%40`, `/` as `%2F`, `:` as `%3A`, `#` as `%23`
    astra-credential: `https://localhost:<port>` cannot be reached through the proxy `127.0.0.1:<port>`: the proxy requires a user name and a password
    hint: write them into the URL in `HTTPS_PROXY` or `ALL_PROXY` as `http://USER:PASSWORD@HOST:PORT`, with odd characters percent-encoded: `@` as `%40`, `/` as `%2F`, `:` as `%3A`, `#` as `%23`
    astra-credential: `https://localhost:<port>` cannot be reached through the proxy `127.0.0.1:<port>`: the proxy refuses the user name and password in its URL
    hint: write them into the URL in `HTTPS_PROXY` or `ALL_PROXY` as `http://USER:PASSWORD@HOST:PORT`, with odd characters percent-encoded: `@` as `%40`, `/` as `%2F`, `:` as `%3A`, `#` as `%23`
    astra-credential: `https://localhost:<port>` cannot be reached through the proxy `127.0.0.1:<port>`: the proxy requires a login by Negotiate or NTLM, and this program supports only Basic (407)
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
    let dead = closed_port();
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

#[test]
fn a_proxy_is_used_where_the_environment_names_one() {
    let world = World::new();
    let (port, targets) = proxy("http", None);
    let url = format!("http://me:hush@127.0.0.1:{port}");
    world.call("token --no-cache").env("HTTPS_PROXY", &url).run().quiet();
    world.call("token --no-cache").env("all_proxy", &url).run().quiet();
    assert_eq!(targets.try_iter().count(), 2);
}

#[test]
fn neither_http_proxy_nor_no_proxy_leads_to_a_proxy() {
    let world = World::new();
    let (port, targets) = proxy("http", None);
    let url = format!("http://me:hush@127.0.0.1:{port}");
    world.call("token --no-cache").env("HTTP_PROXY", &url).run().quiet();
    let call = world.call("token --no-cache").env("HTTPS_PROXY", &url);
    call.env("NO_PROXY", "localhost").run().quiet();
    assert_eq!(targets.try_iter().count(), 0);
}

#[test]
fn a_bad_proxy_is_named_without_its_password() {
    let world = World::new();
    let dead = closed_port();
    let dead =
        world.call("token").env("HTTPS_PROXY", format!("http://me:hush@127.0.0.1:{dead}")).run();
    dead.failure(5);
    let (port, _) = answering("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
    let refusing =
        world.call("token").env("HTTPS_PROXY", format!("http://me:hush@127.0.0.1:{port}")).run();
    refusing.failure(5);
    let nonsense = world.call("token").env("HTTPS_PROXY", "gopher://me:hush@proxy").run();
    nonsense.failure(1);
    for done in [&dead, &refusing, &nonsense] {
        assert!(!done.stderr().contains("hush"), "{done}");
    }
    // The cached failure of a proxy does not apply to the direct route.
    world.token();
    transcript!(
        dead.to_string().replace("me:hush@", ""),
        refusing.to_string().replace("me:hush@", ""),
        @"
    $ HTTPS_PROXY=http://127.0.0.1:<port> astra-credential token
    ! astra-credential: `https://localhost:<port>` cannot be reached through the proxy `127.0.0.1:<port>`: Connection refused (os error 111)
    ! hint: check the proxy in `HTTPS_PROXY` or `ALL_PROXY`, or name the host in `NO_PROXY`
    [exit status: 5]

    $ HTTPS_PROXY=http://127.0.0.1:<port> astra-credential token
    ! astra-credential: `https://localhost:<port>` cannot be reached through the proxy `127.0.0.1:<port>`: the proxy refuses the user name and password in its URL (407)
    ! hint: write them into the URL in `HTTPS_PROXY` or `ALL_PROXY` as `http://USER:PASSWORD@HOST:PORT`, with odd characters percent-encoded: `@` as `%40`, `/` as `%2F`, `:` as `%3A`, `#` as `%23`
    [exit status: 5]
    "
    );
}
