//! A place to try `astra-credential` without an Astra account: `cargo run --example sandbox`.
//!
//! Starts a stand-in for the Astra API on loopback, writes a throw-away account file, and shows the
//! main job with the real binary. With arguments, as in `cargo run --example sandbox -- sh`, runs that
//! command in the same environment instead: the binary and its links on PATH, a home of its own, and
//! servers on loopback that require the token: `$SANDBOX_URL`, `$SANDBOX_KUBERNETES`, `$SANDBOX_GIT`.

#![allow(clippy::print_stdout, reason = "showing is what this is for")]

#[path = "../tests/cli/servers.rs"]
mod servers;
#[path = "../tests/cli/stand_in.rs"]
mod stand_in;

use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use stand_in::{Astra, Authority};

/// The links to the binary.
const LINKS: [&str; 5] = [
    "astra-credential",
    "bazel-credential-astra",
    "git-credential-astra",
    "docker-credential-astra",
    "terraform-credentials-astra",
];

/// The prefixes of variables that point to the caller's own configuration.
const CALLERS: [&str; 9] = [
    "ASTRA_",
    "CARGO",
    "DOCKER_CONFIG",
    "GIT_CONFIG",
    "KUBECONFIG",
    "SSL_CERT_",
    "TERRAFORM_CONFIG",
    "TF_CLI_CONFIG",
    "XDG_",
];

/// The stand-in's delay of an exchange in the last part, so that the calls overlap.
const SLOW: Duration = Duration::from_millis(500);

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let command: Vec<OsString> = std::env::args_os().skip(1).collect();
    let outcome = Sandbox::new().and_then(|sandbox| match command.split_first() {
        Some((program, arguments)) => sandbox.run(program, arguments),
        None => sandbox.show().map(|()| ExitCode::SUCCESS),
    });
    outcome.unwrap_or_else(|error| {
        println!("the sandbox does not work: {error}");
        ExitCode::FAILURE
    })
}

struct Sandbox {
    authority: Authority,
    astra: Astra,
    home: tempfile::TempDir,
    links: PathBuf,
}

impl Sandbox {
    fn new() -> Outcome<Self> {
        let binary = binary()?;
        let home = tempfile::Builder::new().prefix("astra-sandbox-").tempdir()?;
        let authority = Authority::new();
        let astra = Astra::start(&authority);
        fs::write(home.path().join("ca.pem"), authority.pem())?;
        let config = home.path().join(".config/astra-credential");
        fs::create_dir_all(&config)?;
        private(&config.join("service-account.json"), &astra.account_json())?;
        let links = home.path().join(".local/bin");
        fs::create_dir_all(&links)?;
        for name in LINKS {
            link(&binary, &links.join(name))?;
        }
        Ok(Self { authority, astra, home, links })
    }

    /// Shows the main functions step by step.
    fn show(&self) -> Outcome<()> {
        println!("A stand-in for the Astra API listens on {}.\n", self.astra.url());
        let first = self.step("The first call costs one exchange:", &["token"], "")?;
        let second = self.step("The second costs none:", &["token"], "")?;
        println!("  the same token: {}\n", if first == second { "yes" } else { "no" });
        self.step("What kubectl gets:", &["kubernetes"], "")?;
        let request = format!("protocol=https\nhost=localhost:{}\n\n", self.astra.port());
        self.step("What git gets, for this host and no other:", &["git", "get"], &request)?;
        self.storm()?;
        println!("Now try `cargo run --example sandbox -- sh`: a shell in this environment.");
        Ok(())
    }

    /// Runs one call, and shows it with its time and its exchanges.
    fn step(&self, title: &str, arguments: &[&str], input: &str) -> Outcome<String> {
        println!("{title}");
        println!("  $ astra-credential {}", arguments.join(" "));
        let before = self.astra.exchanges();
        let (answer, took) = self.call(arguments, input)?;
        input.lines().filter(|line| !line.is_empty()).for_each(|line| println!("  < {line}"));
        answer.lines().for_each(|line| println!("  > {}", shortened(line)));
        let cost = self.astra.exchanges() - before;
        println!("  exchanges: {cost}, time: {} ms\n", took.as_millis());
        Ok(answer)
    }

    /// Runs many calls at the same time on an empty cache.
    fn storm(&self) -> Outcome<()> {
        const CALLS: usize = 50;
        fs::remove_dir_all(self.home.path().join(".cache"))?;
        self.astra.set_delay(SLOW);
        let (before, start) = (self.astra.exchanges(), Instant::now());
        let calls: Vec<_> = (0..CALLS)
            .map(|_| {
                self.command(self.links.join(LINKS[0])).arg("token").stdout(Stdio::piped()).spawn()
            })
            .collect::<Result<_, _>>()?;
        let mut tokens = Vec::new();
        for call in calls {
            tokens.push(call.wait_with_output()?.stdout);
        }
        tokens.dedup();
        let cost = self.astra.exchanges() - before;
        println!(
            "{CALLS} calls at once on an empty cache, the API taking {} ms:",
            SLOW.as_millis()
        );
        println!(
            "  tokens: {} different, exchanges: {cost}, time: {} ms\n",
            tokens.len(),
            start.elapsed().as_millis()
        );
        Ok(())
    }

    fn call(&self, arguments: &[&str], input: &str) -> Outcome<(String, Duration)> {
        let stdin = self.home.path().join("stdin");
        fs::write(&stdin, input)?;
        let start = Instant::now();
        let output = self
            .command(self.links.join(LINKS[0]))
            .args(arguments)
            .stdin(fs::File::open(stdin)?)
            .stderr(Stdio::inherit())
            .output()?;
        let took = start.elapsed();
        if !output.status.success() {
            return Err(format!("`astra-credential {}` failed", arguments.join(" ")).into());
        }
        Ok((String::from_utf8(output.stdout)?, took))
    }

    /// Runs the caller's command in this environment, and returns its exit code.
    fn run(&self, program: &OsString, arguments: &[OsString]) -> Outcome<ExitCode> {
        let mut servers = vec![
            ("SANDBOX_URL", servers::protected(&self.authority, &self.astra), "/"),
            ("SANDBOX_KUBERNETES", servers::kubernetes(&self.authority, &self.astra), ""),
        ];
        if Command::new("git").arg("--exec-path").output().is_ok_and(|git| git.status.success()) {
            let repository = servers::git_repository(&self.authority, &self.astra);
            servers.push(("SANDBOX_GIT", repository, "/demo.git"));
        }
        let hosts: Vec<_> =
            servers.iter().map(|(_, server, _)| format!("localhost:{}", server.port())).collect();
        let mut command = self.command(program);
        command.args(arguments).env("ASTRA_CREDENTIAL_HOSTS", hosts.join(","));
        for (name, server, path) in &servers {
            command.env(name, server.url() + path);
            if std::io::stdin().is_terminal() {
                println!("{name}={}{path}", server.url());
            }
        }
        let status = command
            .status()
            .map_err(|error| format!("cannot run `{}`: {error}", program.to_string_lossy()))?;
        Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
    }

    /// A command with the binary first on PATH, a home of its own, and none of the caller's configuration.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(self.links.clone()).chain(std::env::split_paths(&path));
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if CALLERS.iter().any(|prefix| name.starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        // On some other systems the default folders are not below HOME.
        if !cfg!(target_os = "linux") {
            let account = self.home.path().join(".config/astra-credential/service-account.json");
            command.env("ASTRA_SERVICE_ACCOUNT", account);
            let cache = self.home.path().join(".cache/astra-credential");
            command.env("ASTRA_CREDENTIAL_CACHE_DIR", cache);
        }
        command
            .env("PATH", std::env::join_paths(folders).unwrap_or(path))
            .env("HOME", self.home.path())
            .env("ASTRA_API_URL", self.astra.url())
            .env("SSL_CERT_FILE", self.home.path().join("ca.pem"))
            .env("GIT_SSL_CAINFO", self.home.path().join("ca.pem"))
            .env("CURL_CA_BUNDLE", self.home.path().join("ca.pem"))
            .env("NO_PROXY", "localhost,127.0.0.1");
        command
    }
}

/// The path of the binary: `$SANDBOX_BINARY`, or a binary that is built now with this example's profile.
fn binary() -> Outcome<PathBuf> {
    if let Some(binary) = std::env::var_os("SANDBOX_BINARY") {
        return Ok(std::path::absolute(binary)?);
    }
    let example = std::env::current_exe()?;
    let folder = example.parent().and_then(Path::parent).ok_or("no target folder")?;
    let cargo = std::env::var_os("CARGO").ok_or("start it with `cargo run --example sandbox`")?;
    let mut build = Command::new(cargo);
    build
        .args(["build", "--quiet", "--bin", "astra-credential"])
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    if folder.ends_with("release") {
        build.arg("--release");
    }
    // With cargo's variables for this package in the environment, `ring` would be built again, now and at the
    // next `cargo run`.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "OUT_DIR"].iter().any(|start| name.starts_with(start))
        {
            build.env_remove(name);
        }
    }
    if !build.status()?.success() {
        return Err("`cargo build` failed".into());
    }
    Ok(folder.join(format!("astra-credential{}", std::env::consts::EXE_SUFFIX)))
}

/// Shortens a token, so that a line fits on a screen.
fn shortened(line: &str) -> String {
    const SHOWN: usize = 24;
    let is_token = |word: &str| word.len() > 200;
    let parts = line.split_inclusive(['"', '=']);
    let cut = |part: &str| match part.get(..SHOWN).zip(part.get(part.len().saturating_sub(2)..)) {
        Some((start, end)) if is_token(part) => {
            format!("{start}…{}", end.trim_start_matches(|c| c != '"'))
        }
        _ => part.to_owned(),
    };
    parts.map(cut).collect()
}

fn private(path: &Path, content: &str) -> std::io::Result<()> {
    fs::write(path, content)?;
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(())
}

#[cfg(unix)]
fn link(binary: &Path, name: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(binary, name)
}

#[cfg(not(unix))]
fn link(binary: &Path, name: &Path) -> std::io::Result<()> {
    fs::copy(binary, name.with_extension("exe")).map(drop)
}
