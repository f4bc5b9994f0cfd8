//! `setup` in an empty home, the real tools with the files that it has written, and `--undo`. Also the links
//! to the program, and errors.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::servers::{container_registry, git_repository, kubernetes, module_registry};
use crate::world::{
    BINARY, Call, Done, World, copy_binary, mode, needs, path, set_mode, transcript,
};

/// A call of the tool, after the steps that `setup` leaves to the user.
pub fn tool<'a>(world: &'a World, line: &str) -> Call<'a> {
    let bin = world.path(".local/bin");
    let path = format!("{}:{}", bin.display(), path());
    let call = world.call_as("timeout", &format!("60 {line}")).env("PATH", path);
    call.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_TERMINAL_PROMPT", "0")
}

/// The files, folders and links of the home: path, mode, and content or target.
pub type Tree = Vec<(PathBuf, u32, String)>;

pub fn tree(world: &World) -> Tree {
    fn visit(folder: &Path, found: &mut Tree) {
        for item in fs::read_dir(folder).unwrap() {
            let path = item.unwrap().path();
            let kind = path.symlink_metadata().unwrap().file_type();
            let content = match kind {
                kind if kind.is_symlink() => {
                    fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
                }
                kind if kind.is_dir() => Vec::new(),
                _ => fs::read(&path).unwrap(),
            };
            found.push((path.clone(), mode(&path), content.escape_ascii().to_string()));
            if kind.is_dir() {
                visit(&path, found);
            }
        }
    }
    let mut found = Vec::new();
    visit(world.home.path(), &mut found);
    // The caches of the tools and of this program are left out.
    found.retain(|(path, ..)| {
        let path = path.to_string_lossy();
        !path.contains("/.cache") && !path.contains("/.kube/cache")
    });
    found.sort();
    found
}

/// Runs `setup` with `--dry-run`, without it, a second time, and with `--undo`. `between` uses the files that
/// were written, before they are removed.
pub fn set_up_and_undo<'a>(world: &'a World, line: &str, between: impl FnOnce()) -> [Done<'a>; 4] {
    let before = tree(world);
    let shown = world.call(&format!("{line} --dry-run")).run();
    shown.quiet();
    assert_eq!(tree(world), before, "{shown}");
    let done = world.call(line).run();
    done.quiet();
    let after = tree(world);
    assert_ne!(after, before, "{done}");
    let again = world.call(line).run();
    assert!(again.quiet().starts_with("nothing to do\n"), "{again}");
    assert_eq!(tree(world), after, "{again}");
    between();
    let tool = line.split(' ').nth(1).unwrap();
    let undo = format!("setup {tool} --undo");
    let in_use = tree(world);
    assert_ne!(world.call(&format!("{undo} --dry-run")).run().quiet(), "nothing to do\n");
    assert_eq!(tree(world), in_use);
    let undone = world.call(&undo).run();
    undone.quiet();
    assert_eq!(tree(world), before, "{undone}");
    assert_eq!(world.call(&undo).run().quiet(), "nothing to do\n");
    assert_eq!(tree(world), before);
    [shown, done, again, undone]
}

#[test]
fn git_clones_after_setup_and_no_trace_is_left() {
    needs!("git");
    let world = World::new();
    let repository = git_repository(&world.authority, &world.astra);
    let line = format!("setup git --host localhost:{}", repository.port());
    let [shown, done, again, undone] = set_up_and_undo(&world, &line, || {
        let refs = tool(&world, &format!("git ls-remote {}/demo.git", repository.url()));
        let refs = refs.env("GIT_SSL_CAINFO", world.path("ca.pem")).run();
        assert!(refs.quiet().contains("refs/heads/main"), "{refs}");
        assert_eq!(repository.asked().pop().unwrap().token(), world.astra.last_token());
    });
    transcript!(shown, done, again, undone);
}

#[test]
fn git_keeps_the_rest_of_its_file() {
    needs!("git");
    let contents: [&[u8]; 10] = [
        b"",
        b"[user]\n\tname = x # c",
        b"[user]\r\n\tname = x\r\n",
        b"[a]\n[b] ; c\n\td\n",
        b"[user]\n\tname = J\xf6rg",
        b"[user]\n\tname = x\n# vim: ft=gitconfig",
        b"[user]\n\tname = x\n; [user]\n",
        b"\n[user]\n\tname = x\n\n\n",
        b"[credential \"https://a.example.com\"]\n\thelper =\n[b]\n\tc\n",
        b"[credential \"https://a.example.com\"]\n\tusername = x\n# c\n",
    ];
    for content in contents {
        let world = World::new();
        world.write(".gitconfig", content);
        set_mode(&world.path(".gitconfig"), 0o640);
        let line = "setup git --host a.example.com --host b.example.com:8443";
        set_up_and_undo(&world, line, || {
            assert_eq!(mode(&world.path(".gitconfig")), 0o640);
        });
    }
}

#[test]
fn a_git_configuration_that_the_user_has_written_so_already_is_left_alone() {
    needs!("git");
    let world = World::new();
    // git's configuration has the path without quotes.
    let binary = world.path("astra-credential");
    copy_binary(&binary);
    let helper = format!("helper = {} git", binary.display());
    let section = format!("[credential \"https://a.example.com\"]\n\t{helper}\n");
    world.write(".gitconfig", &section);
    world.call_as(&binary, "setup git --host a.example.com").run().quiet();
    assert_eq!(fs::read_to_string(world.path(".gitconfig")).unwrap(), section);
}

/// `setup` with git's own configuration in another file.
fn at<'a>(world: &'a World, config: &Path, line: &str) -> Done<'a> {
    world.call(line).env("GIT_CONFIG_GLOBAL", config).run()
}

#[test]
fn gits_variable_names_the_file_that_is_written() {
    needs!("git");
    let world = World::new();
    let config = world.write("my gitconfig", "# mine\n");
    at(&world, &config, "setup git --host a.example.com").quiet();
    assert!(!world.path(".gitconfig").exists());
    let text = fs::read_to_string(&config).unwrap();
    assert!(text.starts_with("# mine\n[credential"), "{text}");
}

#[test]
fn a_helper_of_this_program_that_the_user_has_changed_stays() {
    needs!("git");
    let world = World::new();
    let config = world.write("my gitconfig", "");
    at(&world, &config, "setup git --host a.example.com").quiet();
    let text = fs::read_to_string(&config).unwrap();
    // The command ends with a quotation mark if the binary's path has odd characters.
    let changed = text.replace(" git\n", " -v git\n").replace(" git\"\n", " -v git\"\n");
    fs::write(&config, changed).unwrap();
    let undone = at(&world, &config, "setup git --undo");
    assert!(undone.quiet().contains("changed since"), "{undone}");
    assert!(fs::read_to_string(&config).unwrap().contains(" -v git"), "{undone}");
    let other = at(&world, &config, "setup git --host a.example.com");
    assert!(
        other.failure(1).contains("has another command of this program for `credential"),
        "{other}"
    );
}

/// As root, git would put a file in the place of `/dev/null`.
#[test]
fn a_git_configuration_that_is_not_a_file_is_refused() {
    needs!("git");
    let world = World::new();
    let null = at(&world, Path::new("/dev/null"), "setup git --host b.example.com --dry-run");
    assert!(null.failure(1).contains("`/dev/null` is not a regular file"), "{null}");
}

/// A section behind a line that goes on would be a part of that line.
#[test]
fn a_git_configuration_that_ends_in_the_middle_of_a_line_is_refused() {
    needs!("git");
    let world = World::new();
    let config = world.write("my gitconfig", "[user]\n\tname = x\\\n");
    let open = at(&world, &config, "setup git --host b.example.com");
    assert!(open.failure(1).contains("ends in the middle of a line"), "{open}");
}

#[test]
fn a_git_configuration_that_git_cannot_read_is_left_alone() {
    needs!("git");
    let world = World::new();
    let config = world.write("my gitconfig", "[user\n");
    let before = tree(&world);
    let refused = at(&world, &config, "setup git --host b.example.com");
    assert!(refused.failure(1).contains("git config"), "{refused}");
    assert_eq!(tree(&world), before);
}

#[test]
fn kubectl_gets_pods_after_setup_and_no_trace_is_left() {
    needs!("kubectl");
    let world = World::new();
    let cluster = kubernetes(&world.authority, &world.astra);
    let [shown, done, again, undone] = set_up_and_undo(&world, "setup kubectl", || {
        let config = fs::read_to_string(world.path(".kube/config")).unwrap();
        let get = format!("kubectl --user=astra --server={} get pods", cluster.url());
        let get = tool(&world, &get).arg("--certificate-authority").arg(world.path("ca.pem")).run();
        assert!(get.quiet().contains("demo"), "{get}\n{config}");
        assert_eq!(cluster.asked().pop().unwrap().token(), world.astra.last_token());
        fs::remove_dir_all(world.path(".kube/cache")).unwrap();
    });
    transcript!(shown, done, again, undone);
}

/// kubectl ignores a path in the list that does not exist, whatever its form.
#[test]
fn of_several_kubeconfigs_the_first_that_exists_gets_the_user() {
    needs!("kubectl");
    let world = World::new();
    let config = world.write("second", "");
    let listed = format!("~/none:{}:{}", config.display(), world.path("third").display());
    world.call("setup kubectl").env("KUBECONFIG", listed).run().quiet();
    assert!(fs::read_to_string(config).unwrap().contains("name: astra"));
    assert!(!world.path("third").exists());
}

#[test]
fn a_kubectl_user_gets_the_new_path_of_the_binary_and_stays_in_its_contexts() {
    needs!("kubectl");
    let world = World::new();
    world.call("setup kubectl").run().quiet();
    tool(&world, "kubectl config set-context here --user=astra").run().quiet();
    let moved = world.path("moved");
    fs::create_dir(&moved).unwrap();
    let moved = moved.join("astra-credential");
    copy_binary(&moved);
    let done = world.call_as(&moved, "setup kubectl").run();
    let shown = done.quiet();
    assert!(shown.contains("set-credentials astra") && shown.lines().count() == 1, "{done}");
    let config = fs::read_to_string(world.path(".kube/config")).unwrap();
    assert!(config.contains(&format!("command: {}\n", moved.display())), "{config}");
}

#[test]
fn kubectl_keeps_other_users() {
    needs!("kubectl");
    let world = World::new();
    let config = world.path("kube config");
    let at = |line: &str| tool(&world, line).env("KUBECONFIG", &config).run();
    at("kubectl config set-credentials me --token=its-a-secret").quiet();
    at("kubectl config set-context here --user=me").quiet();
    let before = tree(&world);
    world.call("setup kubectl").env("KUBECONFIG", &config).run().quiet();
    assert_ne!(tree(&world), before);
    world.call("setup kubectl --undo").run().quiet();
    let _ = fs::remove_dir_all(world.path(".kube"));
    assert_eq!(tree(&world), before);
}

#[test]
fn kubectls_user_stays_if_it_was_changed_since_setup() {
    needs!("kubectl");
    let world = World::new();
    let config = world.path("kube config");
    world.call("setup kubectl").env("KUBECONFIG", &config).run().quiet();
    let changed = fs::read_to_string(&config).unwrap().replace("Never", "IfAvailable");
    fs::write(&config, &changed).unwrap();
    let kept = world.call("setup kubectl --undo --dry-run").run();
    assert!(kept.quiet().contains("changed since"), "{kept}");
    let refused = world.call("setup kubectl").env("KUBECONFIG", &config).run();
    assert!(refused.failure(1).contains("has another user `astra`"), "{refused}");
    assert_eq!(fs::read_to_string(&config).unwrap(), changed);
}

#[test]
fn kubectls_contexts_that_lose_their_user_are_named() {
    needs!("kubectl");
    let world = World::new();
    world.call("setup kubectl").run().quiet();
    for context in ["one --user=astra", "two --user=astra", "three --user=me"] {
        tool(&world, &format!("kubectl config set-context {context}")).run().quiet();
    }
    let undone = world.call("setup kubectl --undo").run();
    transcript!(undone, @"
    $ astra-credential setup kubectl --undo
    > ran kubectl --kubeconfig=~/.kube/config config unset users.astra
    > remains: the context `one` names the user `astra`, which is gone
    > remains: the context `two` names the user `astra`, which is gone
    ");
}

#[test]
fn docker_inspects_after_setup_and_no_trace_is_left() {
    needs!("docker");
    let world = World::new();
    let registry = container_registry(&world.authority, &world.astra);
    let host = format!("localhost:{}", registry.port());
    let line = format!("setup docker --host {host}");
    let [shown, done, again, undone] = set_up_and_undo(&world, &line, || {
        let inspect = tool(&world, &format!("docker manifest inspect {host}/demo:latest"));
        let inspect = inspect
            .env("DOCKER_HOST", format!("unix://{}", world.path("no-daemon").display()))
            .run();
        assert!(inspect.quiet().contains("vnd.docker.distribution"), "{inspect}");
        let served = registry.asked().into_iter().rfind(|asked| asked.status == 200).unwrap();
        assert_eq!(served.token(), world.astra.last_token());
    });
    transcript!(shown, done, again, undone);
}

#[test]
fn undo_finds_dockers_entry_after_docker_has_rewritten_the_file() {
    needs!("docker");
    let world = World::new();
    world.call("setup docker --host a.example.com").run().quiet();
    let registry = container_registry(&world.authority, &world.astra);
    // At a login to another registry docker writes the whole file anew.
    let login = format!("docker login -u token --password-stdin localhost:{}", registry.port());
    let login = tool(&world, &login).input(world.token()).run();
    assert_eq!(login.code(), 0, "{login}");
    let written = fs::read_to_string(world.path(".docker/config.json")).unwrap();
    assert!(written.contains("auths") && written.contains("a.example.com"), "{written}");
    world.call("setup docker --undo").run().quiet();
    let left = fs::read_to_string(world.path(".docker/config.json")).unwrap();
    let left: serde_json::Value = serde_json::from_str(&left).unwrap();
    assert!(left["auths"].is_object() && left.as_object().unwrap().len() == 1, "{left}");
    assert!(!world.path(".local").exists());
}

#[test]
fn terraform_fetches_the_module_after_setup_and_no_trace_is_left() {
    needs!("terraform");
    let world = World::new();
    let registry = module_registry(&world.authority, &world.astra);
    let host = "registry.example.test";
    // The user's own file gives the URL of the registry.
    let services = format!("services = {{ \"modules.v1\" = \"{}/v1/modules/\" }}", registry.url());
    world.write(".terraformrc", format!("host \"{host}\" {{\n  {services}\n}}"));
    let source = format!("source = \"{host}/acme/demo/astra\"\n  version = \"1.0.0\"");
    fs::create_dir(world.path("work")).unwrap();
    world.write("work/main.tf", format!("module \"demo\" {{\n  {source}\n}}\n"));
    let line = format!("setup terraform --host {host}");
    let [shown, done, again, undone] = set_up_and_undo(&world, &line, || {
        let init = format!("terraform -chdir={} init -no-color", world.path("work").display());
        tool(&world, &init).env("CHECKPOINT_DISABLE", "1").run().quiet();
        let served = registry.asked().into_iter().rev().find_map(|asked| asked.token());
        assert!(served.is_some() && served == world.astra.last_token());
        fs::remove_dir_all(world.path("work/.terraform")).unwrap();
        for further in ["checkpoint_cache", "checkpoint_signature"] {
            let _ = fs::remove_file(world.path(".terraform.d").join(further));
        }
    });
    transcript!(shown, done, again, undone);
}

#[test]
fn terraforms_own_variable_names_the_file() {
    needs!("terraform");
    let world = World::new();
    let config = world.write("my.tfrc", "disable_checkpoint = true\n");
    let setup = world.call("setup terraform --host registry.example.test");
    setup.env("TF_CLI_CONFIG_FILE", &config).run().quiet();
    assert!(fs::read_to_string(&config).unwrap().ends_with("credentials_helper \"astra\" {}\n"));
    assert!(!world.path(".terraformrc").exists());
}

#[test]
fn the_file_of_opentofu_is_named() {
    let world = World::new();
    let line = "setup terraform --host a.example.com";
    let at = |file: &str| world.call(line).env("TF_CLI_CONFIG_FILE", world.path(file)).run();
    assert!(!world.call(line).run().quiet().contains("OpenTofu"));
    let before = world.write(".tofurc", "");
    let named = world.call(line).run();
    at(".tofurc").quiet();
    assert!(fs::read_to_string(&before).unwrap().contains("credentials_helper"));
    assert_eq!(world.call(line).run().quiet(), "nothing to do\n");
    world.call("setup terraform --undo").run().quiet();
    assert_eq!(fs::read_to_string(&before).unwrap(), "");
    transcript!(named, @"
    $ astra-credential setup terraform --host a.example.com
    > nothing to do
    > remains: for OpenTofu, the same with `TF_CLI_CONFIG_FILE=~/.tofurc` before it
    ");
}

#[test]
fn bazels_file_is_written_and_no_trace_is_left() {
    let world = World::new();
    let line = "setup bazel --host cache.example.com:8443 --host other.example.com";
    let [shown, done, again, undone] = set_up_and_undo(&world, line, || {
        let text = fs::read_to_string(world.path(".bazelrc")).unwrap();
        let helper = world.path(".local/bin/bazel-credential-astra");
        let line = |host| format!("common --credential_helper={host}={}\n", helper.display());
        assert_eq!(text, line("cache.example.com") + &line("other.example.com"));
        let get =
            world.call_as(helper, "get").input(r#"{"uri":"https://cache.example.com:8443/x"}"#);
        let get = get.run();
        assert!(get.quiet().contains(&world.astra.last_token().unwrap()), "{get}");
    });
    transcript!(shown, done, again, undone);
}

#[test]
fn links_go_beside_the_program_if_its_folder_is_on_path() {
    let world = World::new();
    fs::create_dir(world.path("bin")).unwrap();
    let program = world.path("bin/astra-credential");
    copy_binary(&program);
    let path = format!("{}:/usr/bin:/bin", world.path("bin").display());
    let setup = || world.call_as(&program, "setup bazel --host a.example.com").env("PATH", &path);
    setup().run().quiet();
    assert_eq!(fs::read_link(world.path("bin/bazel-credential-astra")).unwrap(), program);
    assert!(!world.path(".local").exists());
    let again = setup().run();
    assert!(again.quiet().starts_with("nothing to do\n"), "{again}");
}

#[test]
fn a_link_on_path_that_the_user_has_made_is_used_and_stays() {
    let world = World::new();
    world.link("docker-credential-astra");
    let before = tree(&world);
    let done = world.call("setup docker --host a.example.com").run();
    assert!(!done.quiet().contains("linked"), "{done}");
    assert!(!world.path(".local").exists());
    world.call("setup docker --undo").run().quiet();
    assert_eq!(tree(&world), before);
}

#[test]
fn another_program_that_path_finds_under_the_name_of_a_link_is_refused() {
    let world = World::new();
    fs::create_dir(world.path("bin")).unwrap();
    set_mode(&world.write("bin/docker-credential-astra", "#!/bin/sh\n"), 0o700);
    let before = tree(&world);
    let error = world.call("setup docker --host a.example.com").run().failure(1);
    assert!(error.contains("bin/docker-credential-astra"), "{error}");
    assert_eq!(tree(&world), before);
}

#[test]
fn a_folder_of_path_that_does_not_exist_yet_needs_no_hint() {
    let world = World::new();
    let path = format!("{}:/usr/bin:/bin", world.path(".local/bin").display());
    let on_path = world.call("setup docker --dry-run --host a.example.com").env("PATH", path).run();
    assert!(!on_path.quiet().contains("on `PATH`"), "{on_path}");
}

#[test]
fn links_go_to_the_homes_folder_if_the_programs_folder_is_not_on_path() {
    let world = World::new();
    let not_on_path = world.call("setup bazel --host a.example.com").run();
    assert!(world.path(".local/bin/bazel-credential-astra").is_symlink(), "{not_on_path}");
    transcript!(not_on_path, @"
    $ astra-credential setup bazel --host a.example.com
    > linked ~/.local/bin/bazel-credential-astra to <binary>
    > wrote ~/.config/astra-credential/config.json
    > wrote ~/.bazelrc
    ");
}

#[test]
fn the_program_is_named_as_path_finds_it_so_that_an_update_changes_nothing() {
    let world = World::new();
    fs::create_dir_all(world.path("versions/1")).unwrap();
    fs::create_dir(world.path("bin")).unwrap();
    let [one, two] = ["versions/1/astra-credential", "versions/2/astra-credential"];
    copy_binary(&world.path(one));
    let program = world.path("bin/astra-credential");
    symlink(world.path(one), &program).unwrap();
    let line = "setup bazel --host a.example.com";
    world.call_as(world.path(one), line).run().quiet();
    assert_eq!(fs::read_link(world.path("bin/bazel-credential-astra")).unwrap(), program);
    fs::rename(world.path("versions/1"), world.path("versions/2")).unwrap();
    fs::remove_file(&program).unwrap();
    symlink(world.path(two), &program).unwrap();
    let again = world.call_as(&program, line).run();
    assert!(again.quiet().starts_with("nothing to do\n"), "{again}");
}

#[test]
fn kubectls_command_is_the_program_as_path_finds_it() {
    needs!("kubectl");
    let world = World::new();
    fs::create_dir(world.path("version")).unwrap();
    copy_binary(&world.path("version/astra-credential"));
    fs::create_dir(world.path("bin")).unwrap();
    let program = world.path("bin/astra-credential");
    symlink(world.path("version/astra-credential"), &program).unwrap();
    world.call_as(&program, "setup kubectl").run().quiet();
    let config = fs::read_to_string(world.path(".kube/config")).unwrap();
    assert!(config.contains(&format!("command: {}\n", program.display())), "{config}");
}

#[test]
fn a_flag_that_a_tool_cannot_keep_is_refused_with_its_place() {
    let world = World::new();
    let before = tree(&world);
    let flags = [
        "--api-url https://a.example.com",
        "--ca-file ca.pem",
        "--min-valid 1h",
        "--cache-dir c",
        "--no-cache",
        "--service-account a.json",
    ];
    let refused = flags.map(|flag| {
        let done = world.call(&format!("setup git --host a.example.com {flag}")).run();
        done.failure(2)
    });
    assert_eq!(tree(&world), before);
    insta::assert_snapshot!(refused.join("\n"), @"
    astra-credential: `--api-url` is not written into a tool's configuration
    hint: keep it with the account: `astra-credential setup account --api-url URL`

    astra-credential: `--ca-file` is not written into a tool's configuration
    hint: keep it with the account: `astra-credential setup account --ca-file FILE`

    astra-credential: `--min-valid` is not written into a tool's configuration
    hint: keep it with the account: `astra-credential setup account --min-valid DURATION`

    astra-credential: `--cache-dir` is not written into a tool's configuration
    hint: write `cache_dir` into `config.json`

    astra-credential: `--no-cache` is not written into a tool's configuration
    hint: set `ASTRA_CREDENTIAL_NO_CACHE=1` where the tool runs

    astra-credential: `--service-account` is not written into a tool's configuration
    hint: keep it with the account: `astra-credential setup account --service-account FILE`
    ");
}

#[test]
fn without_a_host_or_a_home_nothing_is_set_up() {
    let world = World::new();
    let before = tree(&world);
    for tool in ["git", "docker", "bazel", "terraform"] {
        let error = world.call(&format!("setup {tool}")).run().failure(2);
        assert!(error.contains(tool), "{error}");
    }
    let no_host = world.call("setup git").run();
    let no_home = world.call("setup git --host a.example.com").without("HOME").run();
    let no_tool = world.call("setup kubectl").env("PATH", "/nowhere").run();
    let no_such_tool = world.call("setup svn").run();
    let not_undone = world.call("setup account --undo").run();
    assert_eq!(no_home.code(), 2, "{no_home}");
    assert_eq!(no_tool.code(), 1, "{no_tool}");
    assert_eq!(tree(&world), before);
    transcript!(no_host, no_home, no_tool, no_such_tool, not_undone);
}

#[test]
fn a_record_that_cannot_be_read_stops_setup_and_undo() {
    let world = World::new();
    let record = world.path(".config/astra-credential/setup.json");
    fs::write(&record, "{").unwrap();
    let before = tree(&world);
    for option in ["--host a.example.com", "--undo"] {
        let error = world.call(&format!("setup bazel {option}")).run().failure(1);
        assert!(error.contains("setup.json"), "{error}");
    }
    assert_eq!(tree(&world), before);
}

#[test]
fn a_file_in_place_of_a_folder_is_named_and_nothing_is_written() {
    let world = World::new();
    fs::write(world.path(".local"), "").unwrap();
    let before = tree(&world);
    let error = world.call("setup bazel --host a.example.com").run().failure(1);
    assert!(error.contains("cannot write"), "{error}");
    assert_eq!(tree(&world), before);
}

#[test]
fn a_set_up_that_fails_half_way_leaves_nothing() {
    let world = World::new();
    // The limit is too small for the file, or for the record.
    world.call("setup terraform --host a.example.com").run().quiet();
    fs::create_dir(world.path(".docker")).unwrap();
    world.write(".docker/config.json", "{}".to_owned() + &" ".repeat(8192));
    let before = tree(&world);
    for (blocks, file) in [(8, "config.json"), (0, "setup.json")] {
        let limited = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
        let call = world.call_as("sh", "-c").arg(limited).arg("sh").arg(BINARY);
        let line = ["setup", "docker", "--host", "a.example.com"];
        let done = line.into_iter().fold(call, Call::arg).run();
        assert!(done.failure(1).contains(&format!("{file}`: File too large")), "{done}");
        assert_eq!(tree(&world), before, "{done}");
    }
}

#[test]
fn a_missing_account_is_named_as_a_step_that_remains() {
    let world = World::new();
    fs::remove_file(world.account_file()).unwrap();
    let shown = world.call("setup bazel --dry-run --host a.example.com").run().quiet();
    assert!(shown.ends_with("remains: `astra-credential setup account`\n"), "{shown}");
}

/// An `.env` file and a systemd unit pass `~/x` on as it is, and the tools do not replace `~` either.
#[test]
fn a_tools_variable_that_is_no_usable_path_makes_no_folder() {
    let world = World::new();
    let folder = world.path("working");
    fs::create_dir(&folder).unwrap();
    let account = world.astra.account_json();
    for (tool, variable) in [
        ("git --host git.example.com", "GIT_CONFIG_GLOBAL"),
        ("docker --host docker.example.com", "DOCKER_CONFIG"),
        ("kubectl", "KUBECONFIG"),
        ("terraform --host tf.example.com", "TF_CLI_CONFIG_FILE"),
        ("terraform --host tf.example.com", "TERRAFORM_CONFIG"),
    ] {
        for value in ["~/x/config", "~x", &account] {
            let call = world.call(&format!("setup {tool}")).env(variable, value);
            let error = call.in_folder(&folder).run().failure(2);
            assert!(error.contains(&format!("`{variable}`")), "{error}");
            assert!(!error.contains("clientSecret"), "{error}");
            assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "{variable}={value}");
        }
    }
}

/// A conflicting value in a tool's configuration may be the account itself.
#[test]
fn setup_shows_no_account_that_is_in_a_tools_configuration() {
    let world = World::new();
    let binary = world.link("astra-credential");
    for (spelling, value) in crate::spellings::spellings() {
        let word = value.replace(['\\', '"', '\n', '\r', '\'', '#', ' ', '\t'], "");
        let value = serde_json::to_string(&value).unwrap();
        world.write(
            ".gitconfig",
            format!(
                "[credential \"https://h.example.com\"]\n\thelper = \"{} git --account {word}\"\n",
                binary.display()
            ),
        );
        world.write(".bazelrc", format!("common --credential_helper=h.example.com={word}\n"));
        fs::create_dir_all(world.path(".docker")).unwrap();
        world.write(
            ".docker/config.json",
            format!(r#"{{"credHelpers":{{"h.example.com":{value}}}}}"#),
        );
        for tool in ["git", "bazel", "docker"] {
            let done = world.call(&format!("setup {tool} --host h.example.com")).run();
            assert_ne!(done.code(), 0, "{tool}: {done}");
            let piece = &word.as_bytes()[word.len() / 2..][..8];
            let piece = String::from_utf8_lossy(piece);
            assert!(!done.stderr().contains(&*piece), "{spelling} in {tool}: {done}");
        }
    }
}
