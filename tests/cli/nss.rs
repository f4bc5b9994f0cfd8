//! The static binary resolves names without the modules of the system's C library that nsswitch.conf names.

use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;
use std::thread;

use crate::stand_in::Astra;
use crate::world::{BINARY, World, is_installed, lacks, skip};

/// The address of the stand-in for a name server. Its port is fixed, so that each run of the tests needs
/// another address.
fn name_server() -> Ipv4Addr {
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 53, high, low)
}

/// The names that resolve: one in the file, and one by way of the name server.
const IN_THE_FILE: &str = "file.astra.test";
const BY_DNS: &str = "dns.astra.test";

/// nsswitch.conf as Debian, Fedora and Arch write it, and one that names nothing of use.
const CONFIGURATIONS: [&str; 4] = [
    "hosts: files mdns4_minimal [NOTFOUND=return] dns\n",
    "hosts: files myhostname resolve [!UNAVAIL=return] dns\n",
    "passwd: files sss\nhosts: mymachines resolve [!UNAVAIL=return] files myhostname dns\n",
    "hosts: nis\n",
];

/// True if the test can use a mount namespace, in which it changes /etc.
fn can_mount() -> bool {
    let mounts = || Command::new("unshare").args(["--mount", "true"]).output();
    is_installed("strace")
        && is_installed("unshare")
        && (mounts().is_ok_and(|output| output.status.success()) || lacks("a mount namespace"))
}

/// The answer of a name server that knows one name, which is 127.0.0.1.
fn answer(question: &[u8]) -> Option<Vec<u8>> {
    const HEADER: usize = 12;
    let (mut name, mut at) = (Vec::new(), HEADER);
    while *question.get(at)? != 0 {
        let end = at + 1 + usize::from(question[at]);
        name.push(String::from_utf8_lossy(question.get(at + 1..end)?).into_owned());
        at = end;
    }
    let kind = question.get(at + 1..at + 3)?;
    let is_known = name.join(".") == BY_DNS;
    // A response to a recursive question. Code 3 means that there is no such name.
    let mut answer = question.get(..2)?.to_vec();
    answer.extend([0x81, if is_known { 0x80 } else { 0x83 }, 0, 1]);
    answer.extend([0, u8::from(is_known && kind == [0, 1]), 0, 0, 0, 0]);
    answer.extend(question.get(HEADER..at + 5)?);
    if is_known && kind == [0, 1] {
        // The name of the question, an address, for 60 s, of four bytes.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
    }
    Some(answer)
}

#[test]
fn names_come_from_the_hosts_file_and_dns_and_no_module_is_opened() {
    if cfg!(not(target_feature = "crt-static")) {
        skip("the binary is dynamic, and follows nsswitch.conf");
        return;
    }
    if !can_mount() {
        return;
    }
    let name_server = name_server();
    let server = UdpSocket::bind((name_server, 53)).expect("port 53 of an address of loopback");
    thread::spawn(move || {
        let mut question = [0; 512];
        while let Ok((length, from)) = server.recv_from(&mut question) {
            if let Some(answer) = answer(&question[..length]) {
                let _ = server.send_to(&answer, from);
            }
        }
    });
    let mut world = World::new();
    world.astra = Astra::start_with(world.authority.leaf_for(&[IN_THE_FILE, BY_DNS]));
    world.write_account(&world.astra.account_json());
    world.write("hosts", format!("127.0.0.1 localhost {IN_THE_FILE}\n"));
    world.write("resolv.conf", format!("nameserver {name_server}\noptions timeout:1 attempts:2\n"));
    let script = "for file in hosts resolv.conf nsswitch.conf; do
            touch /etc/$file && mount --bind \"$HOME/$file\" /etc/$file || exit 99
        done
        exec strace -f -o \"$HOME/trace\" \"$0\" token --refresh";
    for configuration in CONFIGURATIONS {
        world.write("nsswitch.conf", configuration);
        for (name, is_known) in [(IN_THE_FILE, true), (BY_DNS, true), ("unknown.astra.test", false)]
        {
            let call = world.call_as("unshare", "--mount sh -c").arg(script).arg(BINARY);
            let url = format!("https://{name}:{}", world.astra.port());
            let done = call.env("ASTRA_API_URL", url).run();
            let trace = std::fs::read_to_string(world.path("trace")).expect("a trace");
            if is_known {
                assert!(done.quiet().len() > 1000, "{configuration}{done}");
            } else {
                assert!(done.failure(5).contains(name), "{configuration}{done}");
            }
            assert!(!trace.contains("libnss_") && !trace.contains(".so"), "{configuration}{trace}");
            assert!(trace.contains("/etc/hosts"), "{trace}");
        }
    }
}
