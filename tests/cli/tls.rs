//! TLS with servers of OpenSSL: the messages about certificates and about demands of a server, and the
//! authorities that are trusted.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::world::{Done, World, closed_port, is_installed, needs, transcript};

/// A server of OpenSSL's, on a port of its own.
struct Server(Child, u16);

impl Server {
    fn start(world: &World, options: &str) -> Self {
        for _ in 0..20 {
            let port = closed_port();
            let mut child = Command::new("openssl")
                .args(["s_server", "-www", "-accept", &format!("127.0.0.1:{port}")])
                .args(options.split_whitespace())
                .current_dir(world.home.path())
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            if lines.any(|line| line.is_ok_and(|line| line.starts_with("ACCEPT"))) {
                // The rest of the output is read, so that the server does not block.
                thread::spawn(move || lines.for_each(drop));
                return Self(child, port);
            }
            let _ = child.wait();
        }
        unreachable!("openssl s_server {options} does not start");
    }

    /// A call of `token` against it, which fails.
    fn refused<'a>(&self, world: &'a World) -> Done<'a> {
        let api = format!("https://localhost:{}", self.1);
        let done = world.call("token --no-cache").env("ASTRA_API_URL", api).run();
        let error = done.failure(5);
        for raw in ["Other(", "Error", "[6, 9", "{", "https://docs.rs", "AlertReceived", "CaUsed"] {
            assert!(!error.contains(raw), "{raw}: {done}");
        }
        done
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs `openssl` in the home.
fn openssl(world: &World, arguments: &str) {
    let output = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(world.home.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Writes `NAME.pem` and `NAME.key`, signed by the authority in `ca.pem` and `ca.key`.
fn issue(world: &World, name: &str, key: &str, extensions: Option<&str>, options: &str) {
    openssl(
        world,
        &format!(
            "req -new -newkey {key} -nodes -keyout {name}.key -subj /CN={name} -out {name}.csr"
        ),
    );
    let extensions = extensions.map_or(String::new(), |extensions| {
        world.write("extensions", extensions);
        "-extfile extensions".to_owned()
    });
    openssl(
        world,
        &format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 \
             -out {name}.pem {extensions} {options}"
        ),
    );
}

/// Replaces the authority by one of OpenSSL's, with its key at hand.
fn new_authority(world: &World, key: &str) {
    openssl(
        world,
        &format!(
            "req -x509 -newkey {key} -nodes -keyout ca.key -out ca.pem -days 30 -subj /CN=Corp-CA"
        ),
    );
}

const SERVER: &str = "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n";

#[test]
fn each_defect_of_a_certificate_is_named() {
    needs!("openssl");
    let world = World::new();
    new_authority(&world, "rsa:2048");
    let mut shown = Vec::new();
    let mut refused = |name: &str, options: &str, part: &str| {
        let server = Server::start(&world, &format!("-cert {name}.pem -key {name}.key {options}"));
        let done = server.refused(&world);
        assert!(done.stderr().contains(part), "{name}: {done}");
        shown.push(done.stderr().replace(&*world.home.path().to_string_lossy(), "~"));
    };
    const OLD: &str = "-cipher DEFAULT@SECLEVEL=0";
    issue(&world, "sha1", "rsa:2048", Some(SERVER), "-sha1");
    refused("sha1", OLD, "signed with SHA-1");
    issue(&world, "weak", "rsa:1024", Some(SERVER), "");
    refused("weak", OLD, "has only 1024 bits");
    refused("weak", "-tls1_2 -cipher DEFAULT@SECLEVEL=0", "has only 1024 bits");
    issue(&world, "old", "rsa:2048", None, "");
    refused("old", "", "X.509 certificate of a version before 3");
    issue(&world, "nameless", "rsa:2048", Some("basicConstraints=CA:FALSE\n"), "");
    refused("nameless", "", "names no host among its subject alternative names");
    let other =
        "subjectAltName=DNS:a.example,DNS:*.b.example,IP:10.0.0.1\nbasicConstraints=CA:FALSE\n";
    issue(&world, "other", "rsa:2048", Some(other), "");
    refused("other", "", "`a.example`, `*.b.example`, `10.0.0.1`, issued by `Corp-CA`");
    let client = "subjectAltName=DNS:localhost\nextendedKeyUsage=clientAuth\n";
    issue(&world, "client", "rsa:2048", Some(client), "");
    refused("client", "", "extended key usage");
    let authority = "subjectAltName=DNS:localhost\nbasicConstraints=critical,CA:TRUE\n";
    issue(&world, "authority", "rsa:2048", Some(authority), "");
    refused("authority", "", "a certificate authority's own");
    refused("ca", "", "a certificate authority's own");
    openssl(
        &world,
        "req -new -newkey rsa:2048 -nodes -keyout self.key -subj /CN=self -out self.csr",
    );
    world.write("extensions", SERVER);
    openssl(&world, "x509 -req -in self.csr -signkey self.key -extfile extensions -out self.pem");
    refused("self", "", "signed by itself");
    transcript!(shown.join("\n"));
}

#[test]
fn a_weak_key_of_an_authority_is_named() {
    needs!("openssl");
    let world = World::new();
    new_authority(&world, "rsa:1024");
    issue(&world, "leaf", "rsa:2048", Some(SERVER), "");
    let server = Server::start(&world, "-cert leaf.pem -key leaf.key -cipher DEFAULT@SECLEVEL=0");
    let done = server.refused(&world);
    assert!(
        done.stderr().contains("the RSA key of its authority `Corp-CA` has only 1024 bits"),
        "{done}"
    );
}

#[test]
fn each_demand_of_a_tls_server_is_named() {
    needs!("openssl");
    let world = World::new();
    new_authority(&world, "rsa:2048");
    issue(&world, "leaf", "rsa:2048", Some(SERVER), "");
    let mut shown = Vec::new();
    let wants = [
        ("-tls1_3 -Verify 1 -verify_return_error -CAfile ca.pem", "client certificate"),
        ("-tls1_2 -Verify 1 -verify_return_error -CAfile ca.pem", "client certificate"),
        ("-tls1_1 -cipher DEFAULT@SECLEVEL=0", "only versions of TLS before 1.2"),
        ("-tls1 -cipher DEFAULT@SECLEVEL=0", "only versions of TLS before 1.2"),
        ("-tls1_2 -cipher AES128-SHA", "no cipher suite or key exchange in common"),
        ("-tls1_2 -cipher AES256-GCM-SHA384", "no cipher suite or key exchange in common"),
        ("-tls1_3 -groups P-521", "no cipher suite or key exchange in common"),
    ];
    for (options, part) in wants {
        let server = Server::start(&world, &format!("-cert leaf.pem -key leaf.key {options}"));
        let done = server.refused(&world);
        assert!(done.stderr().contains(part), "{options}: {done}");
        shown.push(done.stderr());
    }
    transcript!(shown.join("\n"));
}

#[test]
fn a_server_may_ask_for_a_client_certificate_without_requiring_it() {
    needs!("openssl");
    let world = World::new();
    new_authority(&world, "rsa:2048");
    issue(&world, "leaf", "rsa:2048", Some(SERVER), "");
    let server = Server::start(&world, "-cert leaf.pem -key leaf.key -verify 1 -CAfile ca.pem");
    let api = format!("https://localhost:{}", server.1);
    let done = world.call("token --no-cache --timeout 2").env("ASTRA_API_URL", api).run();
    // This server does not answer a POST.
    assert!(done.failure(5).contains("did not answer in time"), "{done}");
}

#[test]
fn a_server_without_tls_is_named_as_that() {
    let world = World::new();
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = plain.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut client in plain.incoming().flatten() {
            let _ = client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let api = format!("https://localhost:{port}");
    let done = world.call("token --no-cache").env("ASTRA_API_URL", api).run();
    assert!(done.failure(5).contains("does not speak TLS"), "{done}");
    transcript!(done, @"
    $ ASTRA_API_URL=https://localhost:<port> astra-credential token --no-cache
    ! astra-credential: `https://localhost:<port>` cannot be reached: it does not speak TLS on this port
    ! hint: check the network and `--api-url`; behind a proxy, set `HTTPS_PROXY`
    [exit status: 5]
    ");
}

/// The authority of a world, once more, in another form.
fn ca(world: &World) -> String {
    fs::read_to_string(world.path("ca.pem")).unwrap()
}

#[test]
fn a_ca_file_is_read_as_curl_reads_it() {
    let world = World::new();
    let pem = ca(&world);
    let mut forms = vec![
        format!("\u{feff}{pem}"),
        pem.replace('\n', "\r\n"),
        format!("\u{feff}{}", pem.replace('\n', "\r\n")),
        format!("# a comment\nsubject=x\n\n{pem}\ntext\n"),
        pem.lines().map(|line| format!("  {line}\n")).collect(),
        pem.trim_end().to_owned(),
        format!("-----BEGIN PRIVATE KEY-----\nMAAA\n-----END PRIVATE KEY-----\n{pem}"),
    ];
    if is_installed("openssl") {
        openssl(
            &world,
            "x509 -in ca.pem -trustout -addtrust serverAuth -setalias x -out trusted.pem",
        );
        let trusted = fs::read_to_string(world.path("trusted.pem")).unwrap();
        assert!(trusted.contains("BEGIN TRUSTED CERTIFICATE"));
        forms.push(trusted);
    }
    for form in forms {
        let file = world.write("form.pem", &form);
        world.call("token --no-cache --ca-file").arg(file).run().quiet();
    }
}

/// The bundle that Fedora makes for OpenSSL holds authorities that are not trusted for servers.
#[test]
fn a_trusted_certificate_counts_only_for_its_purposes() {
    let world = World::new();
    if !is_installed("openssl") {
        return;
    }
    let call = || world.call("token --no-cache --ca-file").arg(world.path("form.pem")).run();
    for (purposes, is_for_servers) in [
        ("-addtrust serverAuth -addtrust emailProtection", true),
        ("-addtrust anyExtendedKeyUsage", true),
        ("-addreject emailProtection -setalias x", true),
        ("-setalias x", true),
        ("-addtrust emailProtection", false),
        ("-addreject serverAuth", false),
        ("-addreject anyExtendedKeyUsage", false),
        ("-addtrust serverAuth -addreject serverAuth", false),
    ] {
        openssl(&world, &format!("x509 -in ca.pem -trustout {purposes} -out form.pem"));
        let done = call();
        assert_eq!(done.output.status.success(), is_for_servers, "{purposes}: {done}");
        if !is_for_servers {
            assert!(done.failure(1).contains("line 1 is not trusted for servers"), "{done}");
        }
    }
    // Beside a trusted certificate it is no warning.
    let refused = fs::read_to_string(world.path("form.pem")).unwrap();
    world.write("form.pem", refused + &ca(&world));
    call().quiet();
}

#[test]
fn a_ca_file_without_end_is_given_up() {
    let world = World::new();
    let silent = world.path("silent");
    assert!(Command::new("mkfifo").arg(&silent).status().unwrap().success());
    let start = Instant::now();
    let done = world.call("token --timeout 0.5 --ca-file").arg(&silent).run();
    assert!(done.failure(1).contains("nothing came out of it in time"), "{done}");
    let done = world.call("token --ca-file /dev/zero").run();
    assert!(done.failure(1).contains("too large"), "{done}");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn a_large_file_in_a_folder_of_certificates_is_not_read() {
    let world = World::new();
    let folder = world.path("folder");
    fs::create_dir(&folder).unwrap();
    fs::copy(world.path("ca.pem"), folder.join("ca.pem")).unwrap();
    fs::File::create(folder.join("image")).unwrap().set_len(1 << 30).unwrap();
    let start = Instant::now();
    let call = world.call("token --no-cache").without("SSL_CERT_FILE");
    call.env("SSL_CERT_DIR", &folder).run().quiet();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn skipped_blocks_of_a_ca_file_are_named() {
    let world = World::new();
    let pem = ca(&world);
    let damaged = pem.replacen("MII", "*II", 1);
    let other = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n";
    let file = world.write("ca.crt", format!("{damaged}{pem}{other}"));
    let part = world.call("token --no-cache --ca-file").arg(&file).run();
    assert!(part.output.status.success() && part.stderr().lines().count() == 1, "{part}");
    assert!(part.stderr().contains("line 1 ") && part.stderr().contains("ca.crt"), "{part}");
    let file = world.write("ca.crt", &damaged);
    let none = world.call("token --no-cache --ca-file").arg(&file).run();
    assert!(none.failure(1).contains("line 1 "), "{none}");
    world.write("ca.crt", [0x30, 0x82, 1, 0]);
    let der = world.call("token --no-cache --ca-file").arg(&file).run();
    assert!(der.failure(1).contains("DER, not PEM"), "{der}");
    world.write("ca.crt", damaged.repeat(9));
    let many = world.call("token --no-cache --ca-file").arg(&file).run();
    assert!(many.failure(1).contains("is damaged, and 5 more"), "{many}");
    transcript!(part.stderr().replace(&*world.home.path().to_string_lossy(), "~"), none, der, @"
    astra-credential: warning: `~/ca.crt` is trusted in part: the block at line 1 is damaged, the block at line 23 holds no X.509 certificate

    $ astra-credential token --no-cache --ca-file ~/ca.crt
    ! astra-credential: the certificate authorities for `https://localhost:<port>` cannot be used: `~/ca.crt`: the block at line 1 is damaged
    ! hint: name a file of PEM certificates with `--ca-file FILE` or `SSL_CERT_FILE`, or unset that and `SSL_CERT_DIR` to trust the system's
    [exit status: 1]

    $ astra-credential token --no-cache --ca-file ~/ca.crt
    ! astra-credential: the certificate authorities for `https://localhost:<port>` cannot be used: `~/ca.crt`: it is DER, not PEM; `openssl x509 -inform DER -in FILE` converts it
    ! hint: name a file of PEM certificates with `--ca-file FILE` or `SSL_CERT_FILE`, or unset that and `SSL_CERT_DIR` to trust the system's
    [exit status: 1]
    ");
}

#[test]
fn ssl_cert_dir_is_a_list_of_folders() {
    let world = World::new();
    let folder = |name: &str| -> PathBuf {
        let folder = world.path(name);
        fs::create_dir(&folder).unwrap();
        folder
    };
    let (empty, full, other) = (folder("empty"), folder("full"), folder("other"));
    fs::copy(world.path("ca.pem"), full.join("0a0a0a0a.0")).unwrap();
    fs::write(full.join("README"), "no certificate").unwrap();
    fs::write(other.join("other.pem"), crate::stand_in::Authority::new().pem()).unwrap();
    let missing = world.path("missing");
    let call = |folders: &[&PathBuf]| {
        let list = std::env::join_paths(folders).unwrap();
        world.call("token --no-cache").without("SSL_CERT_FILE").env("SSL_CERT_DIR", list).run()
    };
    call(&[&full]).quiet();
    call(&[&other, &full]).quiet();
    let list = format!(":{}:", full.display());
    let done =
        world.call("token --no-cache").without("SSL_CERT_FILE").env("SSL_CERT_DIR", list).run();
    done.quiet();
    // One folder of several: a warning, and the token.
    for bad in [&missing, &empty, &world.path("ca.pem")] {
        let done = call(&[bad, &full]);
        let name = bad.file_name().unwrap().to_string_lossy().into_owned();
        assert!(done.output.status.success() && done.stderr().contains(&name), "{done}");
        assert_eq!(done.stderr().lines().count(), 1, "{done}");
    }
    let (nothing, none) = (call(&[&empty]), call(&[&missing, &world.path("ca.pem")]));
    for done in [&nothing, &none] {
        assert!(!done.failure(1).contains("network"), "{done}");
    }
    let wrong = call(&[&other]);
    assert!(wrong.failure(5).contains("trusted are those in"), "{wrong}");
    transcript!(nothing, none, wrong, @"
    $ SSL_CERT_DIR=~/empty astra-credential token --no-cache
    ! astra-credential: the certificate authorities for `https://localhost:<port>` cannot be used: `SSL_CERT_DIR`: `~/empty`: it holds no PEM certificate
    ! hint: name a file of PEM certificates with `--ca-file FILE` or `SSL_CERT_FILE`, or unset that and `SSL_CERT_DIR` to trust the system's
    [exit status: 1]

    $ SSL_CERT_DIR=~/missing:~/ca.pem astra-credential token --no-cache
    ! astra-credential: the certificate authorities for `https://localhost:<port>` cannot be used: `SSL_CERT_DIR`: `~/missing`: No such file or directory (os error 2), `~/ca.pem`: Not a directory (os error 20)
    ! hint: name a file of PEM certificates with `--ca-file FILE` or `SSL_CERT_FILE`, or unset that and `SSL_CERT_DIR` to trust the system's
    [exit status: 1]

    $ SSL_CERT_DIR=~/other astra-credential token --no-cache
    ! astra-credential: the certificate of `https://localhost:<port>` is not trusted: no trusted certificate authority has signed it: the one that has is called `throw-away test authority` like one that is trusted, but has another key; trusted are those in `~/other`
    ! hint: put the certificate of the authority that issued it into a PEM file and name that with `--ca-file FILE` or `SSL_CERT_FILE`; where a gateway inspects TLS, the authority is your company's
    [exit status: 5]
    ");
}
