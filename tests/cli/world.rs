//! The environment of each test: a home, a stand-in for Astra with a certificate authority, and the real
//! binary, which is started with an empty environment.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::stand_in::{Astra, Authority};

/// The binary under test: the one that cargo has built for the tests, or the one at the absolute path in
/// `ASTRA_CREDENTIAL_BIN` when the tests are compiled.
pub const BINARY: &str = match option_env!("ASTRA_CREDENTIAL_BIN") {
    Some(path) => path,
    None => env!("CARGO_BIN_EXE_astra-credential"),
};

/// A home with an account file at its default place, and an Astra that accepts the account.
pub struct World {
    pub home: tempfile::TempDir,
    pub authority: Authority,
    pub astra: Astra,
}

impl World {
    pub fn new() -> Self {
        let authority = Authority::new();
        let astra = Astra::start(&authority);
        let home = tempfile::tempdir().expect("a folder for the test");
        let world = Self { home, authority, astra };
        world.write("ca.pem", world.authority.pem());
        fs::create_dir_all(world.account_file().parent().expect("a folder")).expect("a folder");
        world.write_account(&world.astra.account_json());
        world
    }

    /// A path in the home.
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Writes a file in the home, for its owner only.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).expect("a file in the home");
        set_mode(&path, 0o600);
        path
    }

    pub fn account_file(&self) -> PathBuf {
        self.path(".config/astra-credential/service-account.json")
    }

    pub fn write_account(&self, content: &str) {
        fs::write(self.account_file(), content).expect("an account file");
        set_mode(&self.account_file(), 0o600);
    }

    pub fn cache_dir(&self) -> PathBuf {
        self.path(".cache/astra-credential")
    }

    /// The names in the cache's folder that end in `extension`.
    pub fn cached(&self, extension: &str) -> Vec<PathBuf> {
        let Ok(names) = fs::read_dir(self.cache_dir()) else {
            return Vec::new();
        };
        let paths = names.map(|name| name.expect("a name").path());
        paths.filter(|path| path.extension() == Some(OsStr::new(extension))).collect()
    }

    /// The one entry in the cache.
    pub fn entry(&self) -> PathBuf {
        let mut entries = self.cached("entry");
        assert_eq!(entries.len(), 1, "{entries:?}");
        entries.remove(0)
    }

    /// A call of the binary with these arguments, split at spaces. `PATH` begins with the home's `bin`,
    /// which holds the links that [`World::link`] has made.
    pub fn call(&self, arguments: &str) -> Call<'_> {
        self.call_as(BINARY, arguments)
    }

    /// The same by another path, such as that of a link.
    pub fn call_as(&self, program: impl Into<PathBuf>, arguments: &str) -> Call<'_> {
        let arguments = arguments.split_whitespace().map(OsString::from).collect();
        let environment = vec![
            ("HOME".into(), self.home.path().into()),
            ("PATH".into(), format!("{}:{}", self.path("bin").display(), path()).into()),
            ("LANG".into(), "C.UTF-8".into()),
            ("ASTRA_API_URL".into(), self.astra.url().into()),
            ("SSL_CERT_FILE".into(), self.path("ca.pem").into()),
        ];
        let (program, input) = (program.into(), Vec::new());
        Call { world: self, program, arguments, environment, input, folder: None }
    }

    /// The host of [`World::astra`], which may get its tokens.
    pub fn host(&self) -> String {
        format!("localhost:{}", self.astra.port())
    }

    /// The input of `git get` for that host.
    pub fn git_request(&self) -> String {
        format!("protocol=https\nhost={}\n\n", self.host())
    }

    /// Calls `token` and returns the token.
    pub fn token(&self) -> String {
        let done = self.call("token").run();
        assert!(done.output.status.success(), "{done}");
        done.stdout().trim_end().to_owned()
    }

    /// Makes a link to the binary in the home's `bin`, and returns its path.
    pub fn link(&self, name: &str) -> PathBuf {
        let folder = self.path("bin");
        fs::create_dir_all(&folder).expect("a folder");
        let link = folder.join(name);
        if !link.exists() {
            std::os::unix::fs::symlink(BINARY, &link).expect("a link");
        }
        link
    }
}

/// `PATH`, in which two kinds of folders are replaced by folders of links to their other programs:
/// `/usr/local/bin`, to which `setup docker` writes as root, and those in which this program is installed.
pub fn path() -> &'static str {
    static PATH: OnceLock<String> = OnceLock::new();
    PATH.get_or_init(|| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&path).map(|folder| {
            let of_folder = fs::read_dir(&folder).into_iter().flatten().flatten();
            let programs: Vec<_> = of_folder.map(|program| program.file_name()).collect();
            let is_ours = |name: &OsString| name.to_string_lossy().contains("astra");
            if folder != Path::new("/usr/local/bin") && !programs.iter().any(is_ours) {
                return folder;
            }
            let name = folder.to_string_lossy().replace(['/', ':'], "-");
            let links = Path::new(env!("CARGO_TARGET_TMPDIR")).join("path").join(name);
            fs::create_dir_all(&links).expect("a folder for links");
            for program in programs.iter().filter(|name| !is_ours(name)) {
                let _ = std::os::unix::fs::symlink(folder.join(program), links.join(program));
            }
            links
        });
        let path = std::env::join_paths(folders).expect("a PATH");
        path.into_string().expect("UTF-8")
    })
}

/// Copies the binary. Another process does it: as long as this one, or a child that it has just forked, has
/// a file open for writing, the file cannot be started.
pub fn copy_binary(to: &Path) {
    assert!(Command::new("cp").arg(BINARY).arg(to).status().expect("cp").success());
}

pub fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("permissions");
}

pub fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("metadata").permissions().mode() & 0o7777
}

/// One call of the binary, to be run.
pub struct Call<'a> {
    world: &'a World,
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    input: Vec<u8>,
    folder: Option<PathBuf>,
}

impl<'a> Call<'a> {
    /// Adds an argument that may hold spaces.
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds arguments, split at spaces.
    pub fn args(mut self, arguments: &str) -> Self {
        self.arguments.extend(arguments.split_whitespace().map(OsString::from));
        self
    }

    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self = self.without(name);
        self.environment.push((name.into(), value.into()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.environment.retain(|(key, _)| key != name);
        self
    }

    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// Sets the working folder.
    pub fn in_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// The command, for a test that starts it in another way.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env_clear().envs(self.environment.iter().cloned());
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts it, with nothing on its standard input.
    pub fn start(&self) -> Child {
        self.command().spawn().expect("the binary starts")
    }

    /// Runs it to its end.
    pub fn run(self) -> Done<'a> {
        let mut child = self.command().stdin(Stdio::piped()).spawn().expect("the binary starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        let input = self.input.clone();
        // The write fails if the call does not read its input. That is no error.
        let writer = thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output().expect("the binary ends");
        let _ = writer.join();
        Done { call: self, output }
    }
}

/// Everything that a caller can observe of a call, as a transcript.
pub struct Done<'a> {
    call: Call<'a>,
    pub output: Output,
}

impl Done<'_> {
    pub fn stdout(&self) -> String {
        String::from_utf8(self.output.stdout.clone()).expect("UTF-8 on standard output")
    }

    pub fn stderr(&self) -> String {
        String::from_utf8(self.output.stderr.clone()).expect("UTF-8 on standard error")
    }

    pub fn code(&self) -> i32 {
        self.output.status.code().expect("an exit code")
    }

    /// Asserts success and an empty standard error; returns standard output.
    pub fn quiet(&self) -> String {
        assert!(self.output.status.success() && self.output.stderr.is_empty(), "{self}");
        self.stdout()
    }

    /// Asserts a failure with that exit code and an empty standard output; returns standard error.
    pub fn failure(&self, code: i32) -> String {
        assert_eq!((self.code(), self.stdout().as_str()), (code, ""), "{self}");
        self.stderr()
    }
}

/// `$` the command, `<` its input, `>` standard output, `!` standard error.
impl fmt::Display for Done<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Call { world, program, arguments, environment, input, .. } = &self.call;
        let home = world.home.path().to_string_lossy().into_owned();
        // A path with odd characters is quoted for a shell, and by git once more.
        let for_shell = BINARY.replace('\'', r"'\''");
        let for_git = format!("\"!'{}' git\"", for_shell.replace('\\', r"\\"));
        let shown = |text: &[u8]| {
            String::from_utf8_lossy(text)
                .replace(&home, "~")
                .replace(&for_git, "<binary> git")
                .replace(&format!("'--exec-command={for_shell}'"), "--exec-command=<binary>")
                .replace(BINARY, "<binary>")
        };
        write!(f, "$")?;
        let usual = world.call("").environment;
        for (name, value) in environment.iter().filter(|pair| !usual.contains(pair)) {
            write!(f, " {}={}", name.to_string_lossy(), shown(value.as_encoded_bytes()))?;
        }
        write!(f, " {}", program.file_name().unwrap_or_default().to_string_lossy())?;
        for argument in arguments {
            write!(f, " {}", shown(argument.as_encoded_bytes()))?;
        }
        writeln!(f)?;
        for (mark, text) in [("<", input), (">", &self.output.stdout), ("!", &self.output.stderr)] {
            shown(text)
                .lines()
                .try_for_each(|line| writeln!(f, "{}", format!("{mark} {line}").trim_end()))?;
        }
        if !self.output.status.success() {
            writeln!(f, "[{}]", self.output.status)?;
        }
        Ok(())
    }
}

/// The parts of a transcript that differ from run to run: ports, times and tokens, and nothing else.
pub const FILTERS: &[(&str, &str)] = &[
    (r"qyJ[\w-]+\.[\w-]+\.[\w-]+", "<token>"),
    (r"(localhost\.?|127\.0\.0\.1):\d{2,5}", "$1:<port>"),
    (r"credential=dG9rZW46[\w+/]+=*", "credential=<token:token in base64>"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "<time>"),
    (r"password_expiry_utc=\d+", "password_expiry_utc=<time>"),
    (r"(astra-credential \d+\.\d+\.\d+) \([^)]*\)", "$1 (<commit>, <target>)"),
    (r"\b\d+ s (ago|less)\b", "<n> s $1"),
    (r"another \d+ s\b", "another <n> s"),
    (r"(again|answered) in \d+ ms", "$1 in <n> ms"),
    // Each C library has its own words.
    (r"(failed to lookup address information): .*", "$1: <reason>"),
    // The words of musl for ELOOP.
    (r"Symbolic link loop", "Too many levels of symbolic links"),
    (r"valid for \d+ s", "valid for <n> s"),
    (r"\((in )?(\d+[a-z]+ ?)+( ago)?\)", "($1<n>$3)"),
];

/// Compares a transcript with the one at the end of the call, or else with the file in the top-level
/// `snapshots/`, which holds those of more than some twelve lines.
macro_rules! transcript {
    ($($done:expr),+, @$expected:literal) => {
        insta::with_settings!({filters => crate::world::FILTERS.iter().copied()}, {
            insta::assert_snapshot!([$($done.to_string()),+].join("\n"), @$expected);
        })
    };
    ($($done:expr),+ $(,)?) => {{
        fn here() {}
        let name = crate::world::transcript_name(std::any::type_name_of_val(&here));
        insta::with_settings!({
            snapshot_path => concat!(env!("CARGO_MANIFEST_DIR"), "/snapshots"),
            prepend_module_to_snapshot => false,
            omit_expression => true,
            filters => crate::world::FILTERS.iter().copied(),
        }, {
            insta::assert_snapshot!(name, [$($done.to_string()),+].join("\n"));
        })
    }};
}
pub(crate) use transcript;

/// The modules that have transcripts in `snapshots/`, in the order in which a person reads them. `setup` also
/// stands for modules like `setup_files`.
const TOUR: [&str; 14] = [
    "token",
    "account",
    "commands",
    "protocols",
    "setup",
    "tools",
    "configuration",
    "status",
    "failure",
    "doctor",
    "night",
    "network",
    "tls",
    "packages",
];

/// The file name of a transcript: the number of its module in [`TOUR`], the module and the test. `here` is
/// the path of an item in the test.
pub fn transcript_name(here: &str) -> String {
    let mut names = here.split("::").skip(1);
    let (module, test) = (names.next().expect("a module"), names.next().expect("a test"));
    let chapter = module.split('_').next();
    let at = TOUR.iter().position(|name| Some(*name) == chapter);
    let at = at.expect("the module is missing in TOUR");
    format!("{:02}_{module}__{test}", at + 1)
}

/// Ends a test unless each of these programs is installed, or unless it runs as root. The skipped test is
/// announced, and fails under `CI=true`.
macro_rules! needs {
    (root) => {
        if !crate::world::is_root() {
            return;
        }
    };
    (root, $($client:expr),+) => {
        needs!(root);
        needs!($($client),+);
    };
    ($($client:expr),+) => {
        if $(!crate::world::is_installed($client))||+ {
            return;
        }
    };
}
pub(crate) use needs;

/// True if a client is installed. A missing one is announced, and fails the test under `CI=true`.
pub fn is_installed(client: &str) -> bool {
    let is_there = Command::new("sh")
        .args(["-c", "command -v \"$0\"", client])
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    is_there || lacks(&format!("`{client}`"))
}

/// True if the tests run as root. If not, that is announced, and fails the test under `CI=true`.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root() || lacks("root")
}

/// True under `CI=true`.
pub fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty())
}

/// Announces that a requirement is missing, which fails the test under `CI=true`: `.ci/run` installs all.
pub fn lacks(what: &str) -> bool {
    assert!(!is_ci(), "CI needs {what}");
    skip(&format!("needs {what}"));
    false
}

/// Announces a test, or a part of one, that does not run here. The line goes to the real standard error,
/// which the test harness does not capture, and to the file `skipped` in cargo's folder for temporary files,
/// which `.ci/run` counts. The number of the last line is the number of skips of this run.
pub fn skip(why: &str) {
    static COUNT: AtomicUsize = AtomicUsize::new(1);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let thread = thread::current();
    let line = format!("{}: {why}\n", thread.name().unwrap_or("a test"));
    let _ = std::io::stderr().write_all(format!("SKIPPED {count}: {line}").as_bytes());
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("skipped");
    let file = fs::File::options().create(true).append(true).open(kept);
    let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
}

/// A port of 127.0.0.1 on which nothing listens.
pub fn closed_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// Reads a child to its end.
pub fn finish(child: Child) -> (i32, String, String) {
    let output = child.wait_with_output().expect("the process ends");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

/// The path and the content of every file in a folder and below it.
pub fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for item in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = item.path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            let mut bytes = Vec::new();
            let _ = fs::File::open(&path).and_then(|mut file| file.read_to_end(&mut bytes));
            found.push((path, bytes));
        }
    }
    found
}
