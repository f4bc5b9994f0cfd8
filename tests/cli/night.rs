//! The command that shows the cause and the remedy of each breakage, if the tool's own output does not. A
//! person on call needs at most one.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::time::{Duration, SystemTime};

use crate::disks::Mount;
use crate::proxies::answering;
use crate::servers::{self, Resource};
use crate::stand_in::{Astra, Reply};
use crate::world::{
    Call, World, closed_port, copy_binary, is_installed, needs, set_mode, transcript,
};

/// The host of the module registry. It needs a dot, and Terraform's configuration gives its URL.
const MODULES: &str = "registry.example.test";

/// A machine whose tools `setup` has set up, and the servers that they talk to.
struct Night {
    world: World,
    cluster: Resource,
    repository: Resource,
    registry: Resource,
    modules: Resource,
    /// Changes to the environment of the tools and of the person.
    env: Vec<(&'static str, Option<OsString>)>,
    /// The full disk of one breakage, which is unmounted in the end.
    disk: Option<Mount>,
    /// The path of this program that the person calls.
    program: &'static str,
}

#[derive(Clone, Copy, Debug)]
enum Tool {
    Kubectl,
    Git,
    Docker,
    Terraform,
    /// A job whose output is not kept.
    Silent,
}

impl Night {
    fn new() -> Self {
        let world = World::new();
        let (authority, astra) = (&world.authority, &world.astra);
        let night = Self {
            cluster: servers::kubernetes(authority, astra),
            repository: servers::git_repository_with_password(authority, astra),
            registry: servers::container_registry(authority, astra),
            modules: servers::module_registry(authority, astra),
            env: Vec::new(),
            disk: None,
            program: "bin/astra-credential",
            world,
        };
        night.install("bin");
        let modules = night.modules.url();
        let services = format!("services = {{ \"modules.v1\" = \"{modules}/v1/modules/\" }}");
        night.world.write(".terraformrc", format!("host \"{MODULES}\" {{\n  {services}\n}}\n"));
        let module = format!("source = \"{MODULES}/acme/demo/astra\"\n  version = \"1.0.0\"");
        fs::create_dir(night.world.path("work")).unwrap();
        night.world.write("work/main.tf", format!("module \"demo\" {{\n  {module}\n}}\n"));
        night
    }

    /// Installs a copy of this program in that folder.
    fn install(&self, folder: &str) {
        fs::create_dir_all(self.world.path(folder)).unwrap();
        copy_binary(&self.world.path(folder).join("astra-credential"));
    }

    fn set(&mut self, name: &'static str, value: impl Into<OsString>) {
        self.env.push((name, Some(value.into())));
    }

    fn unset(&mut self, name: &'static str) {
        self.env.push((name, None));
    }

    /// A call in the environment of the tools and of the person.
    fn call(&self, program: impl Into<std::path::PathBuf>, line: &str) -> Call<'_> {
        let call = self
            .world
            .call_as(program, line)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_SSL_CAINFO", self.world.path("ca.pem"))
            .env("CHECKPOINT_DISABLE", "1")
            .env("DOCKER_HOST", format!("unix://{}", self.world.path("no-daemon").display()));
        self.env.iter().fold(call, |call, (name, value)| match value {
            Some(value) => call.env(name, value),
            None => call.without(name),
        })
    }

    fn host(&self, tool: Tool) -> String {
        let port = match tool {
            Tool::Kubectl | Tool::Silent => self.cluster.port(),
            Tool::Git => self.repository.port(),
            Tool::Docker => self.registry.port(),
            Tool::Terraform => return MODULES.to_owned(),
        };
        format!("localhost:{port}")
    }

    fn set_up(&self, tool: Tool) {
        let host = self.host(tool);
        let line = match tool {
            Tool::Kubectl => "setup kubectl".to_owned(),
            Tool::Git => format!("setup git --host {host}"),
            Tool::Docker => format!("setup docker --host {host}"),
            Tool::Terraform => format!("setup terraform --host {host}"),
            Tool::Silent => return,
        };
        self.call(self.world.path(self.program), &line).run().quiet();
    }

    /// Runs a tool. Returns true if it succeeded, and all of its output.
    fn run(&self, tool: Tool) -> (bool, String) {
        let call = match tool {
            Tool::Kubectl => {
                let line = format!("60 kubectl --user=astra --server={}", self.cluster.url());
                let call = self.call("timeout", &line).arg("--certificate-authority");
                call.arg(self.world.path("ca.pem")).args("get pods")
            }
            Tool::Git => {
                let url = self.repository.url();
                self.call("timeout", &format!("60 git ls-remote {url}/demo.git"))
            }
            Tool::Docker => {
                let image = format!("localhost:{}/demo:latest", self.registry.port());
                self.call("timeout", &format!("60 docker manifest inspect {image}"))
            }
            Tool::Terraform => {
                let _ = fs::remove_dir_all(self.world.path("work/.terraform"));
                let folder = self.world.path("work");
                let line = format!("60 terraform -chdir={} init -no-color", folder.display());
                self.call("timeout", &line)
            }
            Tool::Silent => {
                let done = self.call(self.world.path(self.program), "token").run();
                return (done.code() == 0, String::new());
            }
        };
        let done = call.run();
        (done.code() == 0, done.stdout() + &done.stderr())
    }
}

/// The command that a person needs after the tool's own output.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Needs {
    Nothing,
    Status,
    Doctor,
    /// `doctor`, whose hint makes the tool work again.
    DoctorAndItsHint,
}

struct Row {
    breakage: &'static str,
    tool: Tool,
    breaks: fn(&mut Night),
    /// True if the tool fails.
    fails: bool,
    needs: Needs,
    /// The words that name the cause and the remedy.
    words: &'static [&'static str],
}

/// A rejected account.
const REJECTED: &[&str] =
    &["rejected the service account (401)", "hint: ", "astra-credential setup account"];

/// A cached token that a server may refuse.
const REFUSED: &[&str] = &["still accept", "`astra-credential forget`"];

const EXPIRED: &[&str] = &[
    "is not trusted: it expired",
    "clock shows",
    "issued by",
    "hint: have it renewed",
    "clock is wrong",
];

const SET_UP_AGAIN: &[&str] = &["failure", "hint: run `"];

const DAY: Duration = Duration::from_secs(24 * 3600);

fn wrong_secret(night: &mut Night) {
    night.world.astra.set_secret("00000000-fake-4000-8000-rotated0000");
}

fn overloaded(night: &mut Night) {
    let answer = |_: &_, _| Reply::error(503, "busy").with_header("Retry-After", "600");
    night.world.astra.set_answer(answer);
}

/// Lets the tool use a token, and revokes it then.
fn revoked(night: &mut Night, tool: Tool) {
    assert!(night.run(tool).0, "{}", night.run(tool).1);
    night.world.astra.revoke_all();
}

/// Starts an Astra whose certificate is valid between these days from now.
fn certificate(night: &mut Night, first: i32, last: i32) {
    let at = |days: i32| match u32::try_from(days) {
        Ok(days) => SystemTime::now() + DAY * days,
        Err(_) => SystemTime::now() - DAY * days.unsigned_abs(),
    };
    let leaf = night.world.authority.leaf_between(at(first), at(last));
    night.world.astra = Astra::start_with(leaf);
}

/// Starts a proxy that sends this answer to every request.
fn proxy(night: &mut Night, answer: &'static str) {
    let (port, _) = answering(answer);
    night.set("HTTPS_PROXY", format!("http://127.0.0.1:{port}"));
}

/// Moves the program to another folder of `PATH`.
fn moved(night: &mut Night) {
    fs::remove_file(night.world.path("bin/astra-credential")).unwrap();
    night.install("other");
    let path = night.world.path("other").display().to_string();
    night.set(
        "PATH",
        format!("{path}:{}:{}", night.world.path("bin").display(), crate::world::path()),
    );
    night.program = "other/astra-credential";
}

/// Binds git's host to an account `prod` that Astra rejects.
fn second_account(night: &mut Night) {
    let host = night.host(Tool::Git);
    let api = night.world.astra.url();
    let prod = format!(r#"{{"hosts": ["{host}"], "api_url": "{api}"}}"#);
    let accounts = format!(r#"{{"accounts": {{"prod": {prod}}}}}"#);
    night.world.write(".config/astra-credential/config.json", accounts);
    let account = night.world.astra.account_json().replace("secret000000", "wrong0000000");
    night.world.write(".config/astra-credential/prod.json", account);
}

/// Writes git's configuration with the name of the link, as a person writes it by hand.
fn by_hand(night: &Night, before: &str) {
    let host = night.host(Tool::Git);
    night.world.write(
        ".gitconfig",
        format!("{before}[credential \"https://{host}\"]\n\thelper = astra --host {host}\n"),
    );
}

const ROWS: &[Row] = &[
    Row {
        breakage: "a wrong secret",
        tool: Tool::Kubectl,
        breaks: wrong_secret,
        fails: true,
        needs: Needs::Nothing,
        words: REJECTED,
    },
    Row {
        breakage: "a rejection that is remembered",
        tool: Tool::Kubectl,
        breaks: |night| {
            wrong_secret(night);
            night.run(Tool::Kubectl);
        },
        fails: true,
        needs: Needs::Nothing,
        words: REJECTED,
    },
    Row {
        breakage: "a rejection in a job whose output is lost",
        tool: Tool::Silent,
        breaks: wrong_secret,
        fails: true,
        needs: Needs::Doctor,
        words: &["failure", "(401)", "since", "not asked again until", "`astra-credential forget`"],
    },
    Row {
        breakage: "a rejection in a job whose output is lost",
        tool: Tool::Silent,
        breaks: wrong_secret,
        fails: true,
        needs: Needs::Status,
        words: &["failure", "(401)", "not asked again until", "setup account"],
    },
    Row {
        breakage: "Astra is overloaded",
        tool: Tool::Git,
        breaks: overloaded,
        fails: true,
        needs: Needs::Nothing,
        words: &["(503)", "hint: "],
    },
    Row {
        breakage: "an overload in a job whose output is lost",
        tool: Tool::Silent,
        breaks: overloaded,
        fails: true,
        needs: Needs::Doctor,
        words: &["failure", "(503)", "since", "not asked again until", "`astra-credential forget`"],
    },
    Row {
        breakage: "a token that the cluster has revoked",
        tool: Tool::Kubectl,
        breaks: |night| revoked(night, Tool::Kubectl),
        fails: true,
        needs: Needs::Status,
        words: REFUSED,
    },
    Row {
        breakage: "a token that the cluster has revoked",
        tool: Tool::Kubectl,
        breaks: |night| revoked(night, Tool::Kubectl),
        fails: true,
        needs: Needs::Doctor,
        words: REFUSED,
    },
    Row {
        breakage: "a token that the registry has revoked",
        tool: Tool::Docker,
        breaks: |night| revoked(night, Tool::Docker),
        fails: true,
        needs: Needs::Status,
        words: REFUSED,
    },
    Row {
        breakage: "a token that the module registry has revoked",
        tool: Tool::Terraform,
        breaks: |night| revoked(night, Tool::Terraform),
        fails: true,
        needs: Needs::Status,
        words: REFUSED,
    },
    Row {
        breakage: "a Docker host that is bound to no account",
        tool: Tool::Docker,
        breaks: |night| {
            fs::remove_file(night.world.path(".config/astra-credential/config.json")).unwrap();
        },
        fails: true,
        needs: Needs::Nothing,
        words: &[
            "no account is configured for that host",
            "hint: ",
            "`astra-credential setup docker --host localhost:",
        ],
    },
    Row {
        breakage: "a second account that is rejected",
        tool: Tool::Git,
        breaks: second_account,
        fails: true,
        needs: Needs::Nothing,
        words: &[
            "rejected the service account",
            "/prod.json",
            "hint: ",
            "`astra-credential setup account --account prod`",
        ],
    },
    Row {
        breakage: "a second account that is rejected, and git's output is lost",
        tool: Tool::Silent,
        breaks: |night| {
            night.set_up(Tool::Git);
            second_account(night);
            night.run(Tool::Git);
        },
        fails: false,
        needs: Needs::Doctor,
        words: &["failure", "prod", "rejected the service account", "not asked again until"],
    },
    Row {
        breakage: "kubectl's configuration names a binary that is gone",
        tool: Tool::Kubectl,
        breaks: moved,
        fails: true,
        needs: Needs::DoctorAndItsHint,
        words: SET_UP_AGAIN,
    },
    Row {
        breakage: "git's configuration names a binary that is gone",
        tool: Tool::Git,
        breaks: moved,
        fails: true,
        needs: Needs::DoctorAndItsHint,
        words: SET_UP_AGAIN,
    },
    Row {
        breakage: "Docker's link leads to a binary that is gone",
        tool: Tool::Docker,
        breaks: moved,
        fails: true,
        needs: Needs::DoctorAndItsHint,
        words: SET_UP_AGAIN,
    },
    Row {
        breakage: "Terraform's link leads to a binary that is gone",
        tool: Tool::Terraform,
        breaks: moved,
        fails: true,
        needs: Needs::DoctorAndItsHint,
        words: SET_UP_AGAIN,
    },
    Row {
        breakage: "git's link is missing",
        tool: Tool::Git,
        breaks: |night| by_hand(night, ""),
        fails: true,
        needs: Needs::DoctorAndItsHint,
        words: &["failure", "there is no `git-credential-astra`", "hint: run `ln -s"],
    },
    Row {
        breakage: "Docker's link is missing",
        tool: Tool::Docker,
        breaks: |night| {
            let folder = fs::read_dir(night.world.path("bin")).unwrap().flatten();
            let link = folder
                .map(|item| item.path())
                .find(|path| path.ends_with("docker-credential-astra"));
            fs::remove_file(link.expect("a link in bin")).unwrap();
        },
        fails: true,
        needs: Needs::DoctorAndItsHint,
        words: &["failure", "there is no `docker-credential-astra`", "setup docker --host"],
    },
    Row {
        breakage: "a helper that answers before ours",
        tool: Tool::Git,
        breaks: |night| {
            night.world.link("git-credential-astra");
            by_hand(
                night,
                "[credential]\n\thelper = \"!echo username=me; echo password=mine; :\"\n",
            );
        },
        fails: true,
        needs: Needs::DoctorAndItsHint,
        words: &["warning", "is asked before", "hint: run `git config"],
    },
    Row {
        breakage: "a certificate that has expired",
        tool: Tool::Kubectl,
        breaks: |night| certificate(night, -300, -30),
        fails: true,
        needs: Needs::Nothing,
        words: EXPIRED,
    },
    Row {
        breakage: "a proxy that wants a password",
        tool: Tool::Kubectl,
        breaks: |night| {
            let answer = "HTTP/1.1 407 Proxy Authentication Required\r\n\
                          Proxy-Authenticate: Basic realm=\"x\"\r\n\r\n";
            proxy(night, answer);
        },
        fails: true,
        needs: Needs::Nothing,
        words: &["(407)", "hint: ", "http://USER:PASSWORD@HOST:PORT", "`%40`"],
    },
    Row {
        breakage: "Astra is down",
        tool: Tool::Kubectl,
        breaks: |night| {
            night.set("ASTRA_API_URL", format!("https://127.0.0.1:{}", closed_port()));
        },
        fails: true,
        needs: Needs::Nothing,
        words: &["cannot be reached", "hint: "],
    },
    Row {
        breakage: "Astra's name is unknown to DNS",
        tool: Tool::Git,
        // No resolver is asked for a label of this length.
        breaks: |night| {
            let name = "no-such-host-".repeat(5);
            night.set("ASTRA_API_URL", format!("https://{name}.example"));
        },
        fails: true,
        needs: Needs::Nothing,
        words: &["cannot be reached", "hint: "],
    },
    Row {
        breakage: "a clock that is a day ahead, and a certificate that has expired by it",
        tool: Tool::Kubectl,
        breaks: |night| certificate(night, -30, -1),
        fails: true,
        needs: Needs::Nothing,
        words: EXPIRED,
    },
    Row {
        breakage: "a clock that is a day behind, and a certificate that is not valid yet by it",
        tool: Tool::Kubectl,
        breaks: |night| certificate(night, 1, 30),
        fails: true,
        needs: Needs::Nothing,
        words: &[
            "is not trusted: it is valid only from",
            "clock shows",
            "issued by",
            "clock is wrong",
        ],
    },
    Row {
        breakage: "a clock that is a day behind, and nothing that minds",
        tool: Tool::Kubectl,
        breaks: |night| night.world.astra.set_clock(24 * 3600),
        fails: false,
        needs: Needs::Doctor,
        words: &["warning", "behind the server's", "hint: set this machine's clock"],
    },
    Row {
        breakage: "an account file that everybody may read",
        tool: Tool::Docker,
        breaks: |night| set_mode(&night.world.account_file(), 0o644),
        fails: true,
        needs: Needs::Nothing,
        words: &["may be read by everybody (mode 0644)", "hint: run `chmod 600 "],
    },
    Row {
        breakage: "an account file that is a folder",
        tool: Tool::Git,
        breaks: |night| {
            fs::remove_file(night.world.account_file()).unwrap();
            fs::create_dir(night.world.account_file()).unwrap();
        },
        fails: true,
        needs: Needs::Nothing,
        words: &["is a folder", "hint: ", "ASTRA_SERVICE_ACCOUNT"],
    },
    Row {
        breakage: "no account file",
        tool: Tool::Docker,
        breaks: |night| fs::remove_file(night.world.account_file()).unwrap(),
        fails: true,
        needs: Needs::Nothing,
        words: &["no account file", "hint: ", "astra-credential setup account"],
    },
    Row {
        breakage: "no account file, and Terraform, which shows nothing of its helper",
        tool: Tool::Terraform,
        breaks: |night| fs::remove_file(night.world.account_file()).unwrap(),
        fails: true,
        needs: Needs::Status,
        words: &["no account file", "hint: ", "astra-credential setup account"],
    },
    Row {
        breakage: "HOME is unset",
        tool: Tool::Kubectl,
        breaks: |night| {
            night.set("KUBECONFIG", night.world.path(".kube/config"));
            night.unset("HOME");
        },
        fails: true,
        needs: Needs::Nothing,
        words: &["without an absolute `HOME`", "hint: ", "ASTRA_SERVICE_ACCOUNT"],
    },
    Row {
        breakage: "an older binary stands first on PATH",
        tool: Tool::Kubectl,
        breaks: |night| {
            let older = "#!/bin/sh\n[ \"$1\" = --version ] && exec echo astra-credential 0.0.9\n\
                         echo \"error: unrecognized subcommand '$1'\" >&2; exit 2\n";
            fs::create_dir(night.world.path("older")).unwrap();
            set_mode(&night.world.write("older/astra-credential", older), 0o700);
            let path = [night.world.path("older"), night.world.path("bin")]
                .map(|path| path.display().to_string());
            night.set("PATH", format!("{}:{}", path.join(":"), crate::world::path()));
            let config = fs::read_to_string(night.world.path(".kube/config")).unwrap();
            let ours = night.world.path("bin/astra-credential").display().to_string();
            assert!(config.contains(&ours), "{config}");
            night.world.write(".kube/config", config.replace(&ours, "astra-credential"));
        },
        fails: true,
        needs: Needs::Doctor,
        words: &[
            "older/astra-credential` is another, of version 0.0.9",
            "hint: remove the older one",
        ],
    },
];

/// The breakage that needs root, to mount a disk.
const FULL_DISK: Row = Row {
    breakage: "the cache is on a full disk",
    tool: Tool::Kubectl,
    breaks: |night| {
        night.disk = Mount::new(&night.world, "size=16k");
        let disk = night.disk.as_ref().unwrap();
        disk.fill_up();
        night.set("ASTRA_CREDENTIAL_CACHE_DIR", disk.cache());
    },
    fails: false,
    needs: Needs::Nothing,
    words: &["cannot use the cache", "No space left on device", "going on without it"],
};

/// The first line that holds each of these words; `None` if some word is in none.
fn lines_with(text: &str, words: &[&str]) -> Option<Vec<String>> {
    let lines: Vec<_> = text.lines().collect();
    let found = words.iter().map(|word| lines.iter().position(|line| line.contains(word)));
    let found = found.collect::<Option<BTreeSet<_>>>()?;
    Some(found.into_iter().map(|at| lines[at].to_owned()).collect())
}

/// Breaks a tool, and returns the lines that name the cause and the remedy. The tool's own output must not
/// have them if the row states a command.
fn relevant_lines(row: &Row) -> String {
    let Row { breakage, tool, breaks, fails, needs, words } = row;
    let mut night = Night::new();
    night.set_up(*tool);
    breaks(&mut night);
    let (works, shown) = night.run(*tool);
    assert_eq!(works, !fails, "{breakage}: {shown}");
    let person = |line: &str| {
        let done = night.call(night.world.path(night.program), line).run();
        (done.code(), done.stdout() + &done.stderr())
    };
    let found = lines_with(&shown, words);
    let (command, found) = match needs {
        Needs::Nothing => ("nothing".to_owned(), found.ok_or(shown)),
        Needs::Status | Needs::Doctor | Needs::DoctorAndItsHint => {
            assert!(found.is_none(), "{breakage}: the tool's own output suffices: {shown}");
            let line = if *needs == Needs::Status { "status" } else { "doctor" };
            let (code, answer) = person(line);
            // The exit code is 1 only for a failure, not for a warning or for a token that only its server refuses.
            let is_failure = words.contains(&"failure");
            assert!(!is_failure || code == 1, "{breakage}: {code} {answer}");
            (format!("`{line}`"), lines_with(&answer, words).ok_or(answer))
        }
    };
    let found = found.map_err(|shown| format!("{breakage}: {words:?} not in\n{shown}")).unwrap();
    if *needs == Needs::DoctorAndItsHint {
        let (_, answer) = person("doctor");
        let of_tool = format!("{tool:?}").to_lowercase();
        let mut lines =
            answer.lines().skip_while(|line| line.starts_with("ok") || !line.contains(&of_tool));
        let hint = lines.nth(1).unwrap_or_default();
        // The commands of a hint are between backquotes.
        let commands: Vec<_> = hint.split('`').skip(1).step_by(2).collect();
        let line = commands.join(" && ").replace('~', "$HOME");
        let repaired = night.call("sh", "-ec").arg(&line).run();
        assert_eq!(repaired.code(), 0, "{breakage}: {repaired}");
        let (works, shown) = night.run(*tool);
        assert!(works, "{breakage}: `{line}` does not help: {shown}");
    }
    let tool = format!("{tool:?}").to_lowercase();
    let home = night.world.home.path().display().to_string();
    format!("{breakage} ({tool}) needs {command}:\n  {}\n", found.join("\n  ")).replace(&home, "~")
}

#[test]
fn each_breakage_takes_one_command_at_most() {
    let is_here = |tool: Tool| match tool {
        Tool::Silent => true,
        tool => is_installed(&format!("{tool:?}").to_lowercase()),
    };
    let rows = ROWS.iter().filter(|row| is_here(row.tool));
    let mut wrong = Vec::new();
    let mut shown = Vec::new();
    for row in rows {
        match std::panic::catch_unwind(|| relevant_lines(row)) {
            Ok(lines) => shown.push(lines),
            Err(_) => wrong.push(row.breakage),
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
    transcript!(shown.join("\n"));
}

#[test]
fn a_full_disk_takes_no_command() {
    needs!(root, "kubectl");
    if Mount::new(&World::new(), "size=16k").is_some() {
        transcript!(relevant_lines(&FULL_DISK), @"
        the cache is on a full disk (kubectl) needs nothing:
          astra-credential: warning: cannot use the cache `~/mount/cache` (No space left on device (os error 28)); going on without it
        ");
    }
}
