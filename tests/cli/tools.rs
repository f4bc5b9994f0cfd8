//! The tools after `setup`, on a machine with two accounts. Each is started from another folder, with an
//! empty cache, and with only `HOME` and `PATH` set.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::servers::{
    Resource, container_registry, git_repository_with_either, kubernetes, module_registry,
};
use crate::stand_in::Astra;
use crate::world::{BINARY, World, contents, copy_binary, needs, path, set_mode, transcript};

/// A home with this program and the accounts `default` and `prod`, each at an Astra of its own.
struct Machine {
    world: World,
    prod: Astra,
}

impl Machine {
    fn new() -> Self {
        let world = World::new();
        let prod = Astra::start(&world.authority);
        fs::remove_file(world.account_file()).unwrap();
        fs::create_dir_all(world.path("bin")).unwrap();
        fs::create_dir(world.path("elsewhere")).unwrap();
        copy_binary(&world.path("bin/astra-credential"));
        let machine = Self { world, prod };
        for (account, astra) in [("default", &machine.world.astra), ("prod", &machine.prod)] {
            let line = format!(
                "setup account --account {account} --api-url {} --ca-file {}",
                astra.url(),
                machine.world.path("ca.pem").display()
            );
            let stored = machine.run("bin/astra-credential", &line, &astra.account_json());
            assert!(stored.status.success(), "{stored:?}");
        }
        machine
    }

    fn path(&self) -> String {
        format!("{}:{}", self.world.path("bin").display(), path())
    }

    /// A command in another folder, with only `HOME` and `PATH` set.
    fn bare(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.env_clear().env("HOME", self.world.home.path()).env("PATH", self.path());
        command.current_dir(self.world.path("elsewhere"));
        command.stdin(Stdio::null());
        command
    }

    /// Runs a program in the home with that input.
    fn run(&self, program: &str, line: &str, input: &str) -> Output {
        let file = self.world.path("elsewhere/input");
        fs::write(&file, input).unwrap();
        let mut command = self.bare(self.world.path(program));
        command.args(line.split(' ')).stdin(fs::File::open(&file).unwrap());
        let output = command.output().unwrap();
        fs::remove_file(file).unwrap();
        output
    }

    fn setup(&self, line: &str) -> String {
        let output = self.run("bin/astra-credential", &format!("setup {line}"), "");
        assert!(output.status.success(), "{line}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The home as text, without caches and this program.
    fn tree(&self) -> String {
        tree(&self.world)
    }

    /// Checks that both servers got tokens, each of its own account and of no other.
    fn check(&self, default: &Resource, prod: &Resource) {
        for (server, astra) in [(default, &self.world.astra), (prod, &self.prod)] {
            let tokens: Vec<_> = server.asked().iter().filter_map(|asked| asked.token()).collect();
            assert!(!tokens.is_empty());
            assert!(tokens.iter().all(|token| Some(token) == astra.last_token().as_ref()));
        }
        assert_ne!(self.world.astra.last_token(), self.prod.last_token());
    }
}

fn tree(world: &World) -> String {
    let mut found = contents(world.home.path());
    found.retain(|(path, _)| {
        let path = path.to_string_lossy();
        let is_cache = path.contains("/.cache") || path.contains("/.kube/cache");
        !is_cache && !path.ends_with("/astra-credential") && !path.ends_with("-astra")
    });
    found.sort();
    let show = |(path, content): (PathBuf, Vec<u8>)| {
        format!("== {}\n{}\n", path.display(), String::from_utf8_lossy(&content))
    };
    found.into_iter().map(show).collect()
}

fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn host(server: &Resource) -> String {
    format!("localhost:{}", server.port())
}

#[test]
fn git_gets_each_accounts_token_for_its_host() {
    needs!("git");
    for git in
        ["/usr/bin/git", "/usr/local/bin/git"].map(Path::new).iter().filter(|git| git.exists())
    {
        let machine = Machine::new();
        let config = format!("[http]\n\tsslCAInfo = {}\n", machine.world.path("ca.pem").display());
        machine.world.write(".gitconfig", config);
        let before = machine.tree();
        let default = git_repository_with_either(&machine.world.authority, &machine.world.astra);
        let prod = git_repository_with_either(&machine.world.authority, &machine.prod);
        machine.setup(&format!("git --host {}", host(&default)));
        machine.setup(&format!("git --host {} --account prod", host(&prod)));
        for server in [&default, &prod] {
            let url = format!("{}/demo.git", server.url());
            let refs = succeed(machine.bare(git).args(["ls-remote", &url]));
            assert!(refs.contains("refs/heads/main"), "{refs}");
        }
        machine.check(&default, &prod);
        machine.setup("git --undo");
        assert_eq!(machine.tree(), before);
    }
}

#[test]
fn no_earlier_helper_of_git_is_run_or_stores_the_token() {
    needs!("git");
    for git in
        ["/usr/bin/git", "/usr/local/bin/git"].map(Path::new).iter().filter(|git| git.exists())
    {
        let machine = Machine::new();
        let config = format!(
            "[http]\n\tsslCAInfo = {}\n[credential]\n\thelper = store\n",
            machine.world.path("ca.pem").display()
        );
        machine.world.write(".gitconfig", config);
        let repository = git_repository_with_either(&machine.world.authority, &machine.world.astra);
        machine.setup(&format!("git --host {}", host(&repository)));
        let url = format!("{}/demo.git", repository.url());
        succeed(machine.bare(git).args(["ls-remote", &url]));
        assert!(!machine.world.path(".git-credentials").exists());
    }
}

#[test]
fn kubectl_has_a_user_for_each_account() {
    needs!("kubectl");
    let machine = Machine::new();
    let before = machine.tree();
    let default = kubernetes(&machine.world.authority, &machine.world.astra);
    let prod = kubernetes(&machine.world.authority, &machine.prod);
    machine.setup("kubectl");
    machine.setup("kubectl --account prod");
    for (user, server) in [("astra", &default), ("astra-prod", &prod)] {
        let server = format!("--server={}", server.url());
        let authority =
            format!("--certificate-authority={}", machine.world.path("ca.pem").display());
        let user = format!("--user={user}");
        let pods =
            machine.bare("kubectl").args([&user, &server, &authority, "get", "pods"]).output();
        let pods = pods.unwrap();
        assert!(pods.status.success(), "{pods:?}");
    }
    machine.check(&default, &prod);
    fs::remove_dir_all(machine.world.path(".kube/cache")).unwrap();
    machine.setup("kubectl --undo");
    assert!(!machine.world.path(".kube").exists());
    assert_eq!(machine.tree(), before);
}

#[test]
fn docker_gets_each_accounts_token_for_its_registry() {
    needs!("docker");
    let machine = Machine::new();
    let before = machine.tree();
    let default = container_registry(&machine.world.authority, &machine.world.astra);
    let prod = container_registry(&machine.world.authority, &machine.prod);
    machine.setup(&format!("docker --host {}", host(&default)));
    machine.setup(&format!("docker --host {} --account prod", host(&prod)));
    for server in [&default, &prod] {
        let image = format!("{}/demo:latest", host(server));
        // For Docker's own connection to the registry.
        let authority = machine.world.path("ca.pem");
        let manifest = succeed(
            machine
                .bare("docker")
                .env("SSL_CERT_FILE", authority)
                .env("DOCKER_HOST", "unix:///nowhere")
                .args(["manifest", "inspect", &image]),
        );
        assert!(manifest.contains("vnd.docker.distribution"), "{manifest}");
    }
    machine.check(&default, &prod);
    machine.setup("docker --undo");
    let _ = fs::remove_dir_all(machine.world.path(".docker"));
    assert_eq!(machine.tree(), before);
}

#[test]
fn terraform_gets_each_accounts_token_for_its_registry() {
    needs!("terraform");
    let machine = Machine::new();
    let servers = [
        ("a.example.test", module_registry(&machine.world.authority, &machine.world.astra)),
        ("b.example.test", module_registry(&machine.world.authority, &machine.prod)),
    ];
    let blocks = servers.each_ref().map(|(host, server)| {
        let services = format!("{{ \"modules.v1\" = \"{}/v1/modules/\" }}", server.url());
        format!("host \"{host}\" {{\n  services = {services}\n}}\n")
    });
    machine.world.write(".terraformrc", format!("disable_checkpoint = true\n{}", blocks.concat()));
    let before = machine.tree();
    machine.setup("terraform --host a.example.test");
    machine.setup("terraform --host b.example.test --account prod");
    for (host, _) in &servers {
        let folder = machine.world.path("elsewhere").join(host);
        fs::create_dir(&folder).unwrap();
        let source = format!("source = \"{host}/acme/demo/astra\"\n  version = \"1.0.0\"");
        fs::write(folder.join("main.tf"), format!("module \"demo\" {{\n  {source}\n}}\n")).unwrap();
        let authority = machine.world.path("ca.pem");
        let mut init = machine.bare("terraform");
        succeed(
            init.env("SSL_CERT_FILE", authority).current_dir(&folder).args(["init", "-no-color"]),
        );
        fs::remove_dir_all(folder).unwrap();
    }
    machine.check(&servers[0].1, &servers[1].1);
    machine.setup("terraform --undo");
    for further in ["checkpoint_cache", "checkpoint_signature"] {
        let _ = fs::remove_file(machine.world.path(".terraform.d").join(further));
    }
    assert_eq!(machine.tree(), before);
}

/// Sends Bazel's request to the command in `.bazelrc`.
fn bazel(machine: &Machine, host: &str) -> Output {
    let rc = fs::read_to_string(machine.world.path(".bazelrc")).unwrap();
    let name = host.split(':').next().unwrap();
    let flag = format!("common --credential_helper={name}=");
    let helper = rc.lines().find_map(|line| line.strip_prefix(&flag)).unwrap();
    let helper = Path::new(helper).strip_prefix(machine.world.home.path()).unwrap();
    machine.run(helper.to_str().unwrap(), "get", &format!("{{\"uri\":\"https://{host}/x\"}}"))
}

#[test]
fn bazel_gets_each_accounts_token_for_its_cache() {
    let machine = Machine::new();
    let before = machine.tree();
    machine.setup("bazel --host a.example.com");
    machine.setup("bazel --host b.example.com:8443 --account prod");
    for (host, astra) in
        [("a.example.com", &machine.world.astra), ("b.example.com:8443", &machine.prod)]
    {
        let got = bazel(&machine, host);
        let token = astra.last_token().unwrap();
        assert!(String::from_utf8_lossy(&got.stdout).contains(&token), "{got:?}");
    }
    assert_ne!(machine.world.astra.last_token(), machine.prod.last_token());
    assert!(!bazel(&machine, "b.example.com").status.success());
    machine.setup("bazel --undo");
    assert_eq!(machine.tree(), before);
}

#[test]
fn a_second_setup_repairs_each_tool_after_the_binary_has_moved() {
    needs!("git", "kubectl");
    let machine = Machine::new();
    let before = machine.tree();
    let repository = git_repository_with_either(&machine.world.authority, &machine.world.astra);
    let tools = ["git", "docker", "bazel", "terraform", "kubectl"];
    for tool in tools {
        machine.setup(&format!("{tool} --host {}", host(&repository)));
    }
    let moved = machine.world.path("elsewhere/astra-credential");
    fs::rename(machine.world.path("bin/astra-credential"), &moved).unwrap();
    let setup = |line: &str| {
        let elsewhere = machine.world.path("elsewhere");
        let path = format!("{}:{}", elsewhere.display(), machine.path());
        let mut command = machine.bare(&moved);
        succeed(command.env("PATH", path).arg("setup").args(line.split(' ')))
    };
    for tool in tools {
        let repaired = setup(&format!("{tool} --host {}", host(&repository)));
        assert!(!repaired.starts_with("nothing to do"), "{tool}: {repaired}");
        let again = setup(tool);
        assert!(again.starts_with("nothing to do"), "{tool}: {again}");
    }
    let written = machine.tree();
    assert!(!written.contains("/bin/astra-credential"), "{written}");
    for tool in tools {
        let undone = setup(&format!("{tool} --undo"));
        let places: Vec<_> = undone.lines().filter_map(|line| line.split(' ').nth(1)).collect();
        let left = undone.lines().filter(|line| line.starts_with("left "));
        assert!(left.count() == 0 && !places.is_empty(), "{undone}");
    }
    fs::rename(&moved, machine.world.path("bin/astra-credential")).unwrap();
    let _ = fs::remove_dir_all(machine.world.path(".kube"));
    assert_eq!(machine.tree(), before);
}

#[test]
fn the_shared_binding_stays_until_the_last_tool_is_undone() {
    let machine = Machine::new();
    let config = machine.world.path(".config/astra-credential/config.json");
    let before = fs::read_to_string(&config).unwrap();
    machine.setup("bazel --host a.example.com");
    machine.setup("terraform --host a.example.com");
    machine.setup("bazel --undo");
    assert!(fs::read_to_string(&config).unwrap().contains("a.example.com"));
    machine.setup("terraform --undo");
    assert_eq!(fs::read_to_string(&config).unwrap(), before);
}

/// A world whose configuration file, which a user has written, binds `a.example.com` to `prod`.
fn world_with_prod() -> World {
    let world = World::new();
    world.write(".config/astra-credential/prod.json", world.astra.account_json());
    world.write(
        ".config/astra-credential/config.json",
        "{\n  // mine\n  \"accounts\": { \"prod\": { \"hosts\": [\"a.example.com\"], }, },\n}\n",
    );
    world
}

fn config(world: &World) -> String {
    fs::read_to_string(world.path(".config/astra-credential/config.json")).unwrap()
}

#[test]
fn setup_refuses_a_host_of_another_account_and_an_unknown_account() {
    let world = world_with_prod();
    let before = tree(&world);
    let bound = world.call("setup bazel --host a.example.com").run();
    let unknown = world.call("setup bazel --host b.example.com --account none").run();
    assert_eq!(tree(&world), before);
    world.call("setup bazel --host b.example.com").run().quiet();
    let other_tool = world.call("setup terraform --host b.example.com --account prod").run();
    for done in [&bound, &unknown, &other_tool] {
        done.failure(2);
    }
    transcript!(bound, unknown, other_tool, @"
    $ astra-credential setup bazel --host a.example.com
    ! astra-credential: `a.example.com` is bound to the account `prod`, not to `default`
    ! hint: name `--account prod`, or take `a.example.com` out of its hosts in `~/.config/astra-credential/config.json` first
    [exit status: 2]

    $ astra-credential setup bazel --host b.example.com --account none
    ! astra-credential: there is no account `none`, which `--account` names
    ! hint: run `astra-credential setup account --account none`
    [exit status: 2]

    $ astra-credential setup terraform --host b.example.com --account prod
    ! astra-credential: `b.example.com` is bound to the account `default`, not to `prod`
    ! hint: name `--account default`, or take `b.example.com` out of its hosts in `~/.config/astra-credential/config.json` first
    [exit status: 2]
    ");
}

#[test]
fn setup_moves_a_host_that_it_has_bound_itself_to_another_account() {
    let world = world_with_prod();
    let before = tree(&world);
    world.call("setup bazel --host b.example.com").run().quiet();
    world.call("setup bazel --host b.example.com --account prod").run().quiet();
    transcript!(config(&world), @r#"
    {
      // mine
      "accounts": { "prod": { "hosts": ["a.example.com", "b.example.com"], }, },
    }
    "#);
    world.call("setup bazel --undo").run().quiet();
    assert_eq!(tree(&world), before);
}

#[test]
fn setup_without_an_account_leaves_a_host_with_the_account_that_it_has() {
    let world = world_with_prod();
    world.call("setup bazel --host b.example.com --account prod").run().quiet();
    let before = tree(&world);
    let again = world.call("setup bazel --host b.example.com").run().quiet();
    assert_eq!(again, "nothing to do\n");
    assert_eq!(tree(&world), before);
}

#[test]
fn setup_writes_no_configuration_that_cannot_be_read() {
    let world = World::new();
    let hosts: Vec<_> = (0..999).map(|number| format!("h{number}.example")).collect();
    let config = json!({"ca_file": "~/ca.pem", "accounts": {"default": {"hosts": hosts}}});
    world.write(".config/astra-credential/config.json", config.to_string());
    let before = tree(&world);
    for line in ["", " --dry-run"] {
        let line = format!("setup bazel --host a.example --host b.example{line}");
        let error = world.call(&line).run().failure(2);
        assert!(error.contains("binds more than 1000 hosts"), "{error}");
        assert_eq!(tree(&world), before);
    }
    world.call("setup bazel --host a.example").run().quiet();
    world.call("token").run().quiet();
}

#[test]
fn an_account_is_entered_with_what_differs_from_the_default() {
    let world = World::new();
    let file = world.write("ci.json", world.astra.account_json());
    let entered = world
        .call("setup account --account ci --api-url https://api.example.com --min-valid 1h")
        .arg("--service-account")
        .arg(&file)
        .run();
    entered.quiet();
    let again = world.call("setup account --account ci --service-account").arg(&file).run();
    again.quiet();
    let bad = world.call("setup account --account ci --api-url http://api.example.com").run();
    assert_eq!(bad.code(), 2, "{bad}");
    let none = world.path("none.json");
    let missing = world.call("setup account --account ci --service-account").arg(none).run();
    assert_eq!(missing.code(), 3, "{missing}");
    let config = config(&world).replace(world.home.path().to_str().unwrap(), "~");
    transcript!(entered, again, bad, missing, config);
}

#[test]
fn as_root_nothing_is_written_into_another_users_home() {
    needs!(root);
    let world = World::new();
    let before = tree(&world);
    std::os::unix::fs::chown(world.home.path(), Some(12345), Some(12345)).unwrap();
    for line in ["setup bazel --host a.example.com", "setup bazel --undo", "setup account"] {
        let refused = world.call(line).input(world.astra.account_json()).run();
        let shown = refused.failure(1);
        assert!(shown.contains("belongs to another user (uid 12345)"), "{shown}");
        assert!(shown.contains("run it without `sudo`"), "{shown}");
    }
    assert_eq!(tree(&world), before);
}

#[test]
fn setup_does_not_lock_the_home() {
    let world = World::new();
    let home = fs::File::open(world.home.path()).unwrap();
    home.lock().unwrap();
    world.call("setup bazel --host a.example.com --timeout 10").run().quiet();
    assert!(!world.path(".config/astra-credential/setup.lock").exists());
}

/// Takes the lock of `setup`, until the file is dropped.
fn lock_setup(world: &World) -> fs::File {
    let lock = world.path(".config/astra-credential/setup.lock");
    fs::write(&lock, "").unwrap();
    let held = fs::File::open(&lock).unwrap();
    held.lock().unwrap();
    held
}

#[test]
fn a_dry_run_of_setup_needs_no_lock() {
    let world = World::new();
    let _held = lock_setup(&world);
    world.call("setup bazel --host a.example.com --timeout 0.3 --dry-run").run().quiet();
}

#[test]
fn setup_waits_for_its_lock_until_the_deadline() {
    let world = World::new();
    let _held = lock_setup(&world);
    let start = Instant::now();
    let refused = world.call("setup bazel --host a.example.com --timeout 0.3").run();
    assert!(start.elapsed() < Duration::from_secs(10));
    transcript!(refused, @"
    $ astra-credential setup bazel --host a.example.com --timeout 0.3
    ! astra-credential: another `astra-credential setup` holds `~/.config/astra-credential/setup.lock`
    ! hint: try again when it has ended, or give it longer with `--timeout SECONDS`
    [exit status: 1]
    ");
}

#[test]
fn a_login_between_reading_and_writing_is_not_lost() {
    needs!("strace");
    let world = World::new();
    fs::create_dir(world.path(".docker")).unwrap();
    let config = world.write(".docker/config.json", "{}\n");
    let line = "-qq -o /dev/null -e inject=fsync:delay_enter=700000";
    let call = world.call_as("strace", line).arg(BINARY).args("setup docker --host a.example.com");
    let child = call.start();
    // The temporary file is beside the configuration as long as `strace` delays fsync.
    let is_writing = || {
        let names = fs::read_dir(world.path(".docker")).unwrap().flatten();
        names.map(|item| item.file_name()).any(|name| name.to_string_lossy().contains(".astra-"))
    };
    let start = Instant::now();
    while !is_writing() {
        assert!(start.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(2));
    }
    fs::write(&config, "{\"auths\": {\"r.example.com\": {\"auth\": \"x\"}}}\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let after = fs::read_to_string(&config).unwrap();
    assert!(
        after.contains("r.example.com") && after.contains("\"a.example.com\": \"astra\""),
        "{after}"
    );
}

#[test]
fn an_undo_of_a_file_that_is_blank_by_now_does_nothing_to_it() {
    for blank in ["\n", "", " \n\n"] {
        let world = World::new();
        world.call("setup docker --host a.example.com").run().quiet();
        world.write(".docker/config.json", blank);
        let undone = world.call("setup docker --undo").run();
        assert!(undone.quiet().contains("config.json as it is"), "{undone}");
        assert_eq!(fs::read_to_string(world.path(".docker/config.json")).unwrap(), blank);
    }
}

#[test]
fn root_links_docker_where_every_path_finds_it() {
    needs!(root, "unshare");
    let world = World::new();
    let script = "mount -t tmpfs tmpfs /usr/local/bin && \"$0\" setup docker --host a.example.com && \
        readlink /usr/local/bin/docker-credential-astra && \"$0\" setup docker --undo && \
        ls -A /usr/local/bin";
    let call = world.call_as("unshare", "-m sh -c").arg(script).arg(BINARY);
    let done = call.env("PATH", "/usr/local/bin:/usr/bin:/bin").run();
    let shown = done.quiet();
    assert!(
        shown.contains(&format!("\n{BINARY}\n")) && shown.contains("linked /usr/local/bin/"),
        "{shown}"
    );
    assert!(shown.ends_with("config.json\n"), "{shown}");
}

#[test]
fn a_path_that_needs_quoting_is_quoted_for_each_tool() {
    needs!("git");
    let machine = Machine::new();
    let odd = machine.world.path("it's [1] \"bin\"");
    fs::create_dir(&odd).unwrap();
    let binary = odd.join("astra-credential");
    copy_binary(&binary);
    let config = format!("[http]\n\tsslCAInfo = {}\n", machine.world.path("ca.pem").display());
    machine.world.write(".gitconfig", config);
    let repository = git_repository_with_either(&machine.world.authority, &machine.world.astra);
    let line = format!("setup git --host {}", host(&repository));
    succeed(machine.bare(&binary).args(line.split(' ')));
    fs::remove_file(machine.world.path("bin/astra-credential")).unwrap();
    let url = format!("{}/demo.git", repository.url());
    succeed(machine.bare("git").args(["ls-remote", &url]));
    set_mode(&odd, 0o700);
}

#[test]
fn a_tool_that_hangs_does_not_make_setup_wait_for_longer_than_the_deadline() {
    let world = World::new();
    fs::create_dir(world.path("bin")).unwrap();
    for tool in ["git", "kubectl"] {
        let hanging = world.write(&format!("bin/{tool}"), "#!/bin/sh\nexec sleep 60\n");
        set_mode(&hanging, 0o755);
        for line in ["", " --dry-run"] {
            let start = Instant::now();
            let line = format!("setup {tool} --host git.example.com --timeout 1{line}");
            let done = world.call(&line).run();
            assert!(done.failure(1).contains(tool), "{done}");
            assert!(start.elapsed() < Duration::from_secs(20), "{done}");
        }
    }
}
