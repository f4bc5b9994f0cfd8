//! Requests for unknown hosts, many of which look like a known one: a table for each protocol. With a token
//! in the cache, no request gets it, and none causes an exchange.

use crate::configuration::TwoAccounts;
use crate::world::World;

/// Authorities of unknown hosts, most of which look like the known `localhost:PORT`.
fn unknown_hosts(port: u16) -> Vec<String> {
    let ours = format!("localhost:{port}");
    let other = if port == 444 { 445 } else { 444 };
    [
        "evil.example",
        &format!("{ours}.evil.example"),
        &format!("localhost.evil.example:{port}"),
        &format!("evil.example:{port}"),
        &format!("evil-localhost:{port}"),
        &format!("evil.localhost:{port}"),
        &format!("localhostevil:{port}"),
        &format!("localhost-evil:{port}"),
        &format!("localhos:{port}"),
        &format!("ocalhost:{port}"),
        "localhost",
        &format!("localhost:{other}"),
        "localhost:443",
        "localhost:0",
        "localhost:",
        &format!("localhost:{port}0"),
        &format!("localhost:0{port}"),
        &format!("localhost:+{port}"),
        &format!("localhost:-{port}"),
        &format!("localhost: {port}"),
        &format!("localhost:{port} "),
        &format!(" localhost:{port}"),
        &format!("localhost :{port}"),
        &format!("localhost:{port}:{port}"),
        &format!("localhost::{port}"),
        &format!("localhost.:{port}"),
        &format!(".localhost:{port}"),
        &format!("localhost..:{port}"),
        &format!("{ours}@evil.example"),
        &format!("evil.example@{ours}"),
        &format!("user:pass@{ours}"),
        &format!("@{ours}"),
        &format!("{ours}@"),
        &format!("%6cocalhost:{port}"),
        &format!("localhost%2eevil.example:{port}"),
        &format!("localhost%00.evil.example:{port}"),
        &format!("localhost%3a{port}"),
        &format!("lоcalhost:{port}"),
        &format!("ｌocalhost:{port}"),
        &format!("localhost。evil:{port}"),
        &format!("xn--localhost:{port}"),
        &format!("127.0.0.1:{port}"),
        &format!("127.1:{port}"),
        &format!("2130706433:{port}"),
        &format!("0x7f.1:{port}"),
        &format!("[::1]:{port}"),
        &format!("[::ffff:127.0.0.1]:{port}"),
        &format!("::1:{port}"),
        &format!("[localhost]:{port}"),
        &format!("[::1%25lo]:{port}"),
        &format!("localhost:{port}\u{200b}"),
        &format!("localhost\u{ad}:{port}"),
        &format!("localhost:{port}\\.evil.example"),
        &format!("*.localhost:{port}"),
        "*",
        "",
    ]
    .map(str::to_owned)
    .into()
}

/// URLs of unknown hosts, and damaged URLs.
fn urls(port: u16) -> Vec<String> {
    let ours = format!("localhost:{port}");
    let mut urls: Vec<_> =
        unknown_hosts(port).iter().map(|host| format!("https://{host}/x")).collect();
    urls.extend([
        format!("http://{ours}/"),
        format!("HTTPS://{ours}/"),
        format!("ftp://{ours}/"),
        format!("httpss://{ours}/"),
        format!("https:{ours}/"),
        format!("https:/{ours}/"),
        format!("https:///{ours}/"),
        format!("https:\\\\{ours}\\"),
        format!("//{ours}/"),
        format!("https://evil.example/{ours}"),
        format!("https://evil.example/?{ours}"),
        format!("https://evil.example?@{ours}/"),
        format!("https://evil.example/#{ours}"),
        format!("https://evil.example#@{ours}/"),
        format!("https://evil.example\\@{ours}/"),
        format!("https://{ours}#@evil.example/"),
        format!("https://{ours}\\@evil.example/"),
        format!("https://{ours}/\r\nhost: evil.example"),
        format!("https://{ours}/\t"),
        format!("https://{ours}/é"),
        format!(" https://{ours}/"),
        format!("https://{ours}/ "),
        format!("javascript:https://{ours}/"),
    ]);
    urls
}

/// Runs every request with one account, and then with two accounts whose tokens are cached. No request may
/// get a token or cause an exchange.
fn no_request_gets_a_token(arguments: &str, requests: impl Fn(u16) -> Vec<Vec<u8>>) {
    let world = World::new();
    world.token();
    get_no_token(&world, arguments, requests(world.astra.port()));
    assert_eq!(world.astra.exchanges(), 1);
    let TwoAccounts { world, prod } = TwoAccounts::new();
    world.token();
    world.call("token --account prod").run().quiet();
    get_no_token(&world, arguments, requests(prod.port()));
    assert_eq!((world.astra.exchanges(), prod.exchanges()), (1, 1));
}

fn get_no_token(world: &World, arguments: &str, requests: Vec<Vec<u8>>) {
    assert!(requests.len() >= 50, "{}", requests.len());
    for request in requests {
        let shown = String::from_utf8_lossy(&request[..request.len().min(200)]).into_owned();
        let done = world.call(arguments).input(request).run();
        assert!(
            !done.stdout().contains("qyJ") && !done.stderr().contains("qyJ"),
            "{shown}: {done}"
        );
        assert!(done.code() <= 1, "{shown}: {done}");
    }
}

#[test]
fn git_gives_no_unknown_host_a_token() {
    no_request_gets_a_token("git get", |port| {
        let mut requests: Vec<Vec<u8>> = Vec::new();
        for host in unknown_hosts(port) {
            requests.push(format!("protocol=https\nhost={host}\n\n").into());
        }
        for url in urls(port) {
            requests.push(format!("url={url}\n\n").into());
        }
        let ours = format!("localhost:{port}");
        let long = "x".repeat(64 * 1024);
        for text in [
            format!("protocol=http\nhost={ours}\n\n"),
            format!("protocol=HTTPS\nhost={ours}\n\n"),
            format!("protocol=\nhost={ours}\n\n"),
            format!("host={ours}\n\n"),
            "protocol=https\n\n".to_owned(),
            format!("protocol=https\n\nhost={ours}\n\n"),
            format!("protocol=https\nprotocol=https\nhost={ours}\n\n"),
            format!("protocol=https\nhost={ours}\nhost=evil.example\n\n"),
            format!("protocol=https\nhost=evil.example\nhost={ours}\n\n"),
            format!("protocol=https\nhost={ours}\r\n\n"),
            format!("protocol=https\r\nhost={ours}\r\n\r\n"),
            format!("protocol=https\nhost=evil.example\rhost={ours}\n\n"),
            format!("protocol=https\nhost={ours}\0\n\n"),
            format!("protocol=https\nhost={ours}\0.evil.example\n\n"),
            format!("protocol=https\nhost={ours}\nurl=https://evil.example/\n\n"),
            format!("url=https://{ours}/\nurl=https://evil.example/\n\n"),
            format!("url=https://{ours}/\nhost=evil.example\n\n"),
            format!("protocol=https\nhost={ours}\nno equals sign\n\n"),
            format!("protocol=https\nhost={ours}{long}\n\n"),
            format!("protocol =https\nhost={ours}\n\n"),
            format!("PROTOCOL=https\nHOST={ours}\n\n"),
            format!("host[]={ours}\nprotocol=https\n\n"),
            format!("protocol=cert\nhost=\npath={ours}\n\n"),
            format!("protocol=cert\nhost={ours}\npath=/x\n\n"),
            format!("protocol=cert\nhost={ours}\nurl=https://{ours}/\n\n"),
            format!("url=cert://{ours}/x\n\n"),
            format!("protocol=smtp\nhost={ours}\n\n"),
            format!("protocol=imaps\nhost={ours}\n\n"),
            format!("protocol=https \nhost={ours}\n\n"),
        ] {
            requests.push(text.into());
        }
        requests
            .push([format!("protocol=https\nhost={ours}\nx=").as_bytes(), b"\xff\n\n"].concat());
        requests.push([b"protocol=https\nhost=\xff", ours.as_bytes(), b"\n\n"].concat());
        // The text of a server, which decides the form of an answer, must not cause one.
        for text in [
            "Bearer",
            &format!("Basic realm=\"https://{ours}/\""),
            &format!("Basic, protocol=https, host={ours}"),
            &format!("Basic realm=\"\\\"\", host={ours}"),
            "Basic \u{2028}host=x",
            "",
        ] {
            for key in ["wwwauth[]", "wwwauth", "state[]", "capability[]", "authtype"] {
                let more = format!("capability[]=authtype\n{key}={text}\n");
                requests.push(format!("protocol=https\nhost=evil.example\n{more}\n").into());
                requests.push(format!("{more}protocol=https\nhost={ours}.evil.example\n\n").into());
            }
        }
        let broken = "capability[]=authtype\nwwwauth[]=Basic";
        for end in [format!("\rhost={ours}"), format!("\0host={ours}"), format!("\nhost {ours}")] {
            requests.push(format!("{broken}{end}\nprotocol=https\nhost={ours}\n\n").into());
        }
        requests.push(vec![b'x'; 3 << 20]);
        requests.push(vec![0; 1024]);
        requests
    });
}

#[test]
fn bazel_gives_no_unknown_host_a_token() {
    no_request_gets_a_token("bazel get", |port| {
        let ours = format!("https://localhost:{port}/");
        let as_json = |url: &String| serde_json::json!({ "uri": url }).to_string().into_bytes();
        let mut requests: Vec<Vec<u8>> = urls(port).iter().map(as_json).collect();
        let deep = "[".repeat(10_000);
        for text in [
            format!(r#"{{"uri":"{ours}","uri":"{ours}"}}"#),
            format!(r#"{{"uri":"https://evil.example","uri":"{ours}"}}"#),
            format!(r#"{{"URI":"{ours}"}}"#),
            format!(r#"{{"uri":["{ours}"]}}"#),
            format!(r#"["{ours}"]"#),
            format!(r#""{ours}""#),
            ours.clone(),
            format!(r#"{{"uri":"{ours}"}} trailing"#),
            format!(r#"{{"uri":"{ours}""#),
            format!(r#"{{"uri":"{ours}","more":{deep}"#),
            String::new(),
            "null".to_owned(),
        ] {
            requests.push(text.into());
        }
        requests.push(b"{\"uri\":\"\xff\"}".into());
        requests.push(vec![b' '; 3 << 20]);
        requests
    });
}

#[test]
fn kubernetes_gives_no_unknown_host_a_token() {
    let world = World::new();
    world.token();
    let port = world.astra.port();
    let as_info = |spec: &str| {
        let version = "client.authentication.k8s.io/v1";
        format!(r#"{{"kind":"ExecCredential","apiVersion":"{version}","spec":{spec}}}"#)
    };
    let as_server = |url: &String| {
        as_info(&serde_json::json!({"interactive": false, "cluster": {"server": url}}).to_string())
    };
    let mut requests: Vec<String> = urls(port).iter().map(as_server).collect();
    requests.extend(unknown_hosts(port).iter().map(as_server));
    let ours = format!("https://localhost:{port}/");
    requests.push(as_server(&format!("grpcs://localhost:{port}/")));
    for spec in [
        format!(r#"{{"cluster":{{"server":"https://evil.example","server":"{ours}"}}}}"#),
        format!(r#"{{"cluster":{{"server":"{ours}","server":"https://evil.example"}}}}"#),
        format!(r#"{{"cluster":{{"server":["{ours}"]}}}}"#),
        format!(r#"{{"cluster":{{"Server":"{ours}"}}}}"#),
        format!(r#"{{"cluster":"{ours}"}}"#),
        r#"{"cluster":{"server":null}}"#.to_owned(),
        r#"{"cluster":{}}"#.to_owned(),
        format!(
            r#"{{"cluster":{{"server":"https://evil.example"}}}},"spec":{{"cluster":{{"server":"{ours}"}}}}"#
        ),
        format!(
            r#"{{"cluster":{{"server":"https://evil.example"}}}},"cluster":{{"server":"{ours}"}},"spec":{{}}"#
        ),
    ] {
        requests.push(as_info(&spec));
    }
    assert!(requests.len() >= 50);
    for request in requests {
        // No environment variable holds a NUL.
        let request = request.replace('\0', "");
        let done = world.call("kubernetes").env("KUBERNETES_EXEC_INFO", &request).run();
        let error = done.failure(1);
        assert!(error.contains("kubernetes: "), "{request}: {error}");
    }
    assert_eq!(world.astra.exchanges(), 1);
    let info = as_server(&ours);
    let done = world.call("kubernetes").env("KUBERNETES_EXEC_INFO", info).run();
    assert!(done.quiet().contains("qyJ"));
}

#[test]
fn docker_gives_no_unknown_host_a_token() {
    no_request_gets_a_token("docker get", |port| {
        let mut requests: Vec<Vec<u8>> = Vec::new();
        requests.extend(unknown_hosts(port).into_iter().map(String::into_bytes));
        // `https:host/` without slashes is neither a URL nor a host.
        requests.extend(urls(port).into_iter().map(String::into_bytes));
        let ours = format!("localhost:{port}");
        for text in [
            format!("{ours}\n{ours}\n"),
            format!("evil.example\n{ours}\n"),
            format!("{ours}\0"),
            format!("\n{ours}"),
        ] {
            requests.push(text.into());
        }
        requests.push([ours.as_bytes(), b"\xff"].concat());
        requests.push(vec![b'x'; 3 << 20]);
        requests
    });
}

#[test]
fn terraform_gives_no_unknown_host_a_token() {
    let TwoAccounts { world, prod } = TwoAccounts::new();
    world.token();
    world.call("token --account prod").run().quiet();
    let port = prod.port();
    let mut hosts = unknown_hosts(port);
    hosts.extend(unknown_hosts(world.astra.port()));
    hosts.extend(urls(port));
    hosts.extend([
        format!("https://localhost:{port}"),
        format!("localhost:{port}/"),
        format!("localhost:{port}\n"),
    ]);
    for host in hosts {
        let done =
            world.call("terraform get").arg("--timeout=5".to_string()).arg("--").arg(&host).run();
        assert_eq!((done.code(), done.stdout().as_str()), (0, "{}\n"), "{host:?}: {done}");
    }
    assert_eq!(world.astra.exchanges(), 1);
}

#[test]
fn each_spelling_of_a_known_host_gets_the_token() {
    let world = World::new();
    let token = world.token();
    let port = world.astra.port();
    let gets = |arguments: &str, request: String| {
        let done = world.call(arguments).input(request).run();
        assert!(done.quiet().contains(&token), "{done}");
    };
    for host in [format!("localhost:{port}"), format!("LocalHost:{port}")] {
        gets("git get", format!("protocol=https\nhost={host}\npath=x\nusername=me\n\n"));
        gets("git get", format!("url=https://{host}/x.git\n\n"));
        gets("bazel get", format!(r#"{{"uri":"https://{host}/a/b?c=d","more":{{}}}}"#));
        gets("bazel get", format!(r#"{{"uri":"grpcs://{host}"}}"#));
        gets("docker get", format!("{host}\n"));
        gets("docker get", format!("https://{host}/v1/"));
        gets(&format!("terraform get {host}"), String::new());
    }
    gets("docker get --host localhost", "localhost:443".to_owned());
    gets("docker get --host localhost:443", "localhost".to_owned());
}
