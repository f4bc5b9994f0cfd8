//! `doctor`: the findings about the tools' configurations.

use std::fs;
use std::os::unix::fs::symlink;

use crate::doctor::{doctor, finding, findings, install, program};
use crate::world::{World, needs, set_mode, transcript};

/// Links to that copy, in the same folder.
fn install_links(world: &World, links: &[&str]) {
    let binary = install(world);
    for link in links {
        symlink(&binary, binary.with_file_name(link)).unwrap();
    }
}

/// A configuration of git that names the helper by its link.
const GIT_CONFIG: &str =
    "[credential \"https://git.example.com\"]\n\thelper = astra --host git.example.com\n";

/// Runs the command that stands between backquotes behind `before` in a hint.
fn run_hint(world: &World, hint: &str, before: &str) {
    let (_, rest) = hint.split_once(&format!("{before} `")).expect("a command");
    let command = rest.split('`').next().unwrap_or_default();
    let command = command.replace('~', world.home.path().to_str().unwrap());
    assert_eq!(world.call_as("sh", "-c").arg(command).run().quiet(), "");
}

#[test]
fn each_tools_configuration_is_found_and_a_missing_link_named() {
    needs!("git");
    let world = World::new();
    fs::create_dir_all(world.path(".kube")).unwrap();
    fs::create_dir_all(world.path(".docker")).unwrap();
    let user = |command: &str| format!("users:\n- user:\n    exec:\n      command: {command}\n");
    world.write(".kube/config", user("/no/such/astra-credential"));
    world.write(".docker/config.json", r#"{"credHelpers":{"registry.example.com":"astra"}}"#);
    world
        .write(".bazelrc", "common --credential_helper=cache.example.com=bazel-credential-astra\n");
    world.write(".terraformrc", "credentials_helper \"astra\" {\n}\n");
    world.write(".gitconfig", GIT_CONFIG);
    let hosts = "cache.example.com,registry.example.com";
    let doctor = |world| doctor(world, "").env("ASTRA_CREDENTIAL_HOSTS", hosts);
    let unlinked = doctor(&world).run();
    let links = ["git-credential-astra", "bazel-credential-astra", "docker-credential-astra"];
    install_links(&world, &links);
    let plugins = world.path(".terraform.d/plugins");
    fs::create_dir_all(&plugins).unwrap();
    symlink(install(&world), plugins.join("terraform-credentials-astra")).unwrap();
    world.write(".kube/config", user("astra-credential"));
    let linked = doctor(&world).run();
    assert_eq!([unlinked.code(), linked.code()], [1, 0], "{unlinked}");
    assert!(!linked.stdout().contains("warning"), "{linked}");
    transcript!(unlinked, linked);
}

#[test]
fn kubectls_command_is_found_by_name_by_path_and_from_the_folder_of_the_kubeconfig() {
    let world = World::new();
    fs::create_dir_all(world.path(".kube")).unwrap();
    let kubectl = |command: &str| {
        let user = format!("users:\n- user:\n    exec:\n      command: {command}\n");
        world.write(".kube/config", user);
        doctor(&world, "")
    };
    let by_name = finding(&kubectl("astra-credential").run(), "kubectl");
    let path = install(&world).display().to_string();
    assert_eq!(finding(&kubectl(&path).run(), "kubectl"), by_name);
    assert_eq!(finding(&kubectl(&path).without("PATH").run(), "kubectl"), by_name);
    assert_eq!(finding(&kubectl("../bin/astra-credential").run(), "kubectl"), by_name);
    transcript!(by_name, @"> ok       kubectl       configured in `~/.kube/config`, and finds this binary and the account `default`");
}

#[test]
fn another_program_under_the_name_of_a_link_is_a_failure() {
    needs!("git");
    let world = World::new();
    world.write(".gitconfig", GIT_CONFIG);
    program(&world, "bin", "git-credential-astra", "exit 1");
    let done = doctor(&world, "").run();
    assert_eq!(done.code(), 1);
    transcript!(finding(&done, "git"), @"
    > failure  git           configured in `credential.https://git.example.com.helper` for `git.example.com`, but finds `~/bin/git-credential-astra`
    >                        hint: run `ln -sf ~/bin/astra-credential ~/bin/git-credential-astra`
    ");
}

#[test]
fn a_host_that_is_bound_to_no_account_is_a_failure() {
    let world = World::new();
    fs::create_dir_all(world.path(".docker")).unwrap();
    let config = r#"{"credHelpers":{"a.example.com":"astra","b.example.com":"astra","c":"other"}}"#;
    world.write(".docker/config.json", config);
    world.write(".bazelrc", "build --credential_helper 'b.example.com=bazel-credential-astra'\n");
    install_links(&world, &["bazel-credential-astra", "docker-credential-astra"]);
    let bind = |hosts: &str| {
        let bound = format!("{{\"accounts\": {{\"default\": {{\"hosts\": [{hosts}]}}}}}}");
        world.write(".config/astra-credential/config.json", bound);
    };
    bind("\"a.example.com\"");
    let one = doctor(&world, "").run();
    bind("\"a.example.com\", \"b.example.com:8443\", \"b.example.com\"");
    let both = doctor(&world, "").run();
    assert_eq!([one.code(), both.code()], [1, 0], "{one}{both}");
    for tool in ["kubectl", "git", "terraform"] {
        assert!(finding(&one, tool).ends_with(" not configured"), "{one}");
    }
    transcript!(findings(&one, "bazel"), findings(&one, "docker"), findings(&both, "bazel"), findings(&both, "docker"), @"
    > failure  bazel         configured in `~/.bazelrc` for `b.example.com`, which is bound to no account and gets no token
    >                        hint: run `astra-credential setup bazel --host b.example.com`
    > ok       docker        configured in `~/.docker/config.json` for `a.example.com`, and finds this binary and the account `default`
    >                        hint: started with a shorter `PATH`, as by a service, docker does not find it: as root, `ln -s ~/bin/docker-credential-astra /usr/local/bin/`
    > failure  docker        configured in `~/.docker/config.json` for `b.example.com`, which is bound to no account and gets no token
    >                        hint: run `astra-credential setup docker --host b.example.com`
    > ok       bazel         configured in `~/.bazelrc` for `b.example.com:8443`, and finds this binary and the account `default`
    > ok       bazel         configured in `~/.bazelrc` for `b.example.com`, and finds this binary and the account `default`
    > ok       docker        configured in `~/.docker/config.json` for `a.example.com`, and finds this binary and the account `default`
    >                        hint: started with a shorter `PATH`, as by a service, docker does not find it: as root, `ln -s ~/bin/docker-credential-astra /usr/local/bin/`
    > ok       docker        configured in `~/.docker/config.json` for `b.example.com`, and finds this binary and the account `default`
    >                        hint: started with a shorter `PATH`, as by a service, docker does not find it: as root, `ln -s ~/bin/docker-credential-astra /usr/local/bin/`
    ");
}

#[test]
fn a_host_that_is_not_of_the_account_in_gits_entry_is_a_failure() {
    needs!("git");
    let world = World::new();
    let binary = install(&world);
    world.write(
        ".config/astra-credential/config.json",
        r#"{ "accounts": {
            "default": { "hosts": ["git.example.com"] },
            "prod": { "file": "service-account.json", "hosts": ["git.prod.example"] }
        } }"#,
    );
    let found = |host: &str, flags: &str| {
        let helper = format!("{} git --account prod{flags}", binary.display());
        let entry = format!("[credential \"https://{host}\"]\n\thelper = {helper}\n");
        world.write(".gitconfig", entry);
        finding(&doctor(&world, "").run(), "git")
    };
    let of_another = found("git.example.com", "");
    assert!(of_another.starts_with("> failure "), "{of_another}");
    assert!(
        of_another.contains("`git.example.com` is bound to the account `default`"),
        "{of_another}"
    );
    let unbound = found("git.other.example", "");
    assert!(unbound.starts_with("> failure "), "{unbound}");
    assert!(unbound.contains("setup git --host git.other.example --account prod`"), "{unbound}");
    for (host, flags) in
        [("git.prod.example", ""), ("git.other.example", " --host git.other.example")]
    {
        let bound = found(host, flags);
        assert!(bound.starts_with("> ok ") && bound.contains("account `prod`"), "{bound}");
    }
}

#[test]
fn a_host_whose_account_cannot_be_used_is_a_failure() {
    needs!("git");
    let world = World::new();
    let accounts = r#"{"accounts": {"prod": {"hosts": ["prod.example.com"]}, "open": {"hosts": ["open.example.com"]}}}"#;
    world.write(".config/astra-credential/config.json", accounts);
    world.write(".config/astra-credential/open.json", world.astra.account_json());
    set_mode(&world.path(".config/astra-credential/open.json"), 0o644);
    let binary = install(&world).display().to_string();
    let section = |host: &str| {
        format!("[credential \"https://{host}\"]\n\thelper =\n\thelper = {binary} git\n")
    };
    world.write(".gitconfig", section("prod.example.com") + &section("open.example.com"));
    let done = doctor(&world, "").run();
    assert_eq!(done.code(), 1);
    transcript!(findings(&done, "git"), @"
    > failure  git           configured in `credential.https://prod.example.com.helper` for `prod.example.com`, which gets no token: no account file: `~/.config/astra-credential/prod.json` does not exist
    >                        hint: run `astra-credential setup account --account prod` and paste the service account copied from Astra's dashboard, or name another file with `--service-account FILE` or `ASTRA_SERVICE_ACCOUNT`
    > failure  git           configured in `credential.https://open.example.com.helper` for `open.example.com`, which gets no token: the account file `~/.config/astra-credential/open.json` may be read by everybody (mode 0644)
    >                        hint: run `chmod 600 ~/.config/astra-credential/open.json`; where that changes nothing, as on WSL's drives, CIFS and FAT, keep it on another file system, or set `ASTRA_CREDENTIAL_ALLOW_EXPOSED_FILE=1` to use it all the same
    ");
}

/// A helper for all hosts.
const STORE: &str = "[credential]\n\thelper = store\n";

/// Binds two hosts, and returns git's configuration for both. For the second it names no other helper.
fn bind_for_git(world: &World) -> String {
    let hosts = r#"["git.example.com", "other.example.com"]"#;
    let bound = format!(r#"{{"accounts": {{"default": {{"hosts": {hosts}}}}}}}"#);
    world.write(".config/astra-credential/config.json", bound);
    let binary = install(world).display().to_string();
    format!(
        "[credential \"https://git.example.com\"]\n\thelper = {binary} git\n\
         [credential \"https://other.example.com\"]\n\thelper =\n\thelper = {binary} git\n"
    )
}

#[test]
fn a_helper_that_git_runs_after_this_one_is_no_finding() {
    needs!("git");
    let world = World::new();
    let ours = bind_for_git(&world);
    world.write(".gitconfig", ours + STORE);
    let done = doctor(&world, "").run();
    assert!(done.stdout().contains("finds this binary"), "{done}");
    assert!(!done.stdout().contains("asked before"), "{done}");
}

#[test]
fn a_helper_that_git_runs_before_this_one_is_named_with_commands_that_help() {
    needs!("git");
    let world = World::new();
    let ours = bind_for_git(&world);
    world.write(".gitconfig", STORE.to_owned() + &ours);
    let before = doctor(&world, "").run();
    assert_eq!(before.code(), 0, "{before}");
    let shown = finding(&before, "git");
    run_hint(&world, &shown, "hint: run");
    run_hint(&world, &shown, "then");
    let after = doctor(&world, "").run();
    assert!(!after.stdout().contains("asked before"), "{after}");
    transcript!(shown, @"
    > warning  git           configured in `credential.https://git.example.com.helper` for `git.example.com`, but `store` of `credential.helper` is asked before
    >                        hint: run `git config --global --replace-all credential.https://git.example.com.helper ''`, then `git config --global --add credential.https://git.example.com.helper '~/bin/astra-credential git'`: the empty helper keeps out those before it
    ");
}

#[test]
fn a_helper_is_found_however_it_is_written() {
    needs!("git");
    let world = World::new();
    install_links(&world, &["git-credential-astra"]);
    let binary = install(&world).display().to_string();
    let link = world.path("bin/git-credential-astra").display().to_string();
    let git = |helper: &str| {
        world.write(".gitconfig", format!("[credential]\n\thelper = \"{helper}\"\n"));
        finding(&doctor(&world, "").run(), "git")
    };
    for helper in ["astra", &link, "!astra-credential git", &format!("{binary} git")] {
        assert!(git(helper).contains("`credential.helper`, and finds this"), "{}", git(helper));
    }
    assert!(git("/no/such/git-credential-astra").contains("but there is no `/no/such/git-"));
    for helper in ["store", "!astra", "/home/astra/bin/keyring", "store --file ~/astra"] {
        assert!(git(helper).contains("not configured"), "{}", git(helper));
    }
}

#[test]
fn the_files_in_terraforms_folder_are_read_unless_its_variable_names_a_file() {
    let world = World::new();
    let terraform = |name: &str, text: &str| {
        let folder = world.path(".terraform.d");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder).unwrap();
        world.write(&format!(".terraform.d/{name}"), text);
        let named = |file| doctor(&world, "").env("TF_CLI_CONFIG_FILE", world.path(file));
        let elsewhere = finding(&named("none").run(), "terraform");
        assert!(elsewhere.contains("not configured"), "{elsewhere}");
        finding(&doctor(&world, "").run(), "terraform")
    };
    for (name, text) in [
        ("a.tfrc", "# ours\ncredentials_helper   \"astra\" {}\n"),
        ("b.tfrc.json", r#"{"credentials_helper": {"astra": {}}}"#),
    ] {
        let found = terraform(name, text);
        assert!(found.contains(&format!("configured in `~/.terraform.d/{name}`, but")), "{found}");
    }
    for text in ["# credentials_helper \"astra\" {}", "credentials_helper \"other\" {}"] {
        let found = terraform("a.tfrc", text);
        assert!(found.contains("not configured"), "{found}");
    }
}

#[test]
fn the_bazelrc_of_the_workspace_is_read() {
    let world = World::new();
    fs::create_dir_all(world.path("work/src/deep")).unwrap();
    let line = "common --credential_helper %workspace%/tools/bazel-credential-astra # ours\n";
    world.write("work/.bazelrc", line);
    let shown = doctor(&world, "").in_folder(world.path("work/src/deep")).run().stdout();
    let workspace = world.path("work").canonicalize().unwrap().display().to_string();
    let expected = format!(
        "configured in `{workspace}/.bazelrc`, but there is no `{workspace}/tools/bazel-cred"
    );
    assert!(shown.contains(&expected), "{shown}");
}

#[test]
fn a_helper_in_an_imported_bazelrc_is_found_at_its_place() {
    let world = World::new();
    for folder in ["work/src", "work/tools", "my rc"] {
        fs::create_dir_all(world.path(folder)).unwrap();
    }
    world.write("work/MODULE.bazel", "");
    let helper = "common --credential_helper=%workspace%/bazel-credential-astra\n";
    let bazel = || {
        let done = doctor(&world, "").in_folder(world.path("work/src")).run();
        finding(&done, "bazel")
    };
    let home = world.home.path().canonicalize().unwrap().display().to_string();
    let imported = [
        ("import %workspace%/tools/a.bazelrc\n".to_owned(), "work/tools/a.bazelrc"),
        (
            "build -c opt\n\ttry-import  %workspace%/tools/a.bazelrc # c\n".to_owned(),
            "work/tools/a.bazelrc",
        ),
        (format!("try-import '{home}/my rc/b'\n"), "my rc/b"),
        (format!("import {home}/my\\ rc/b"), "my rc/b"),
        ("try-import \\\r\n../tools/a.bazelrc\r\n".to_owned(), "work/tools/a.bazelrc"),
    ];
    for rc in ["work/.bazelrc", ".bazelrc"] {
        for (line, file) in &imported {
            world.write(file, helper);
            world.write(rc, format!("try-import /no/such\n{line}"));
            let found = bazel();
            assert!(found.contains("configured in `"), "{line}: {found}");
            let place = format!("/{file}`, but there is no `{home}/work/bazel-cred");
            assert!(found.replace("~/", &format!("{home}/")).contains(&place), "{line}: {found}");
            fs::remove_file(world.path(file)).unwrap();
            assert!(bazel().contains("not configured"), "{line}: {}", bazel());
        }
        fs::remove_file(world.path(rc)).unwrap();
    }
}

#[test]
fn bazelrcs_that_import_each_other_are_read_once() {
    let world = World::new();
    let [a, b] = ["a", "b"].map(|name| world.path(name).display().to_string());
    world.write(".bazelrc", format!("import {a}\nimport {b}\nimport {a}\n"));
    world.write("a", format!("import {b}\nimport {a}\n"));
    world.write("b", format!("import {a}\ncommon --credential_helper=bazel-credential-astra\n"));
    let found = findings(&doctor(&world, "").run(), "bazel");
    assert_eq!(found.matches("configured in `~/b`").count(), 1, "{found}");
    for line in ["# import FILE", "import", "import FILE more", "build import FILE"] {
        world.write(".bazelrc", line.replace("FILE", &b));
        let found = finding(&doctor(&world, "").run(), "bazel");
        assert!(found.contains("not configured"), "{line}: {found}");
    }
}

#[test]
fn a_bazelrc_is_split_into_words_as_bazel_does() {
    let world = World::new();
    fs::create_dir(world.path("a b")).unwrap();
    let link = world.path("a b/bazel-credential-astra");
    symlink(install(&world), &link).unwrap();
    let host = "h.example.com";
    let link = link.display().to_string();
    for word in [
        format!("\"--credential_helper={host}={link}\""),
        format!("--credential_helper={host}='{link}'"),
        format!("--credential_helper={host}={}", link.replace(' ', "\\ ")),
        format!("--credential_helper \"{host}={link}\"#c"),
    ] {
        world.write(".bazelrc", format!("common {word}\n"));
        let done = doctor(&world, "").env("ASTRA_CREDENTIAL_HOSTS", host).run();
        let found = finding(&done, "bazel");
        assert!(found.contains(&format!("for `{host}`, and finds this binary")), "{word}: {found}");
    }
}

/// A kubeconfig in each form of YAML, whose user has these further arguments.
fn kubeconfigs(arguments: &str) -> [String; 4] {
    let user = |exec: String| format!("{{users: [{{name: a, user: {{exec: {{{exec}}}}}}}]}}");
    let json = user(format!(r#""command":"astra-credential","args":["kubernetes",{arguments}]"#));
    [
        json.replace("users", "\"users\"")
            .replace("name: a, user:", "\"name\":\"a\",\"user\":")
            .replace("exec:", "\"exec\":"),
        user(format!("command: astra-credential, args: [kubernetes, {arguments}]")),
        format!(
            "users:\n- name: a\n  user:\n    exec:\n      command: astra-credential\n      \
             args: [kubernetes, {arguments}]\n"
        ),
        format!(
            "users:\n- name: a\n  user:\n    exec: &exec\n      args:\n      - kubernetes\n      \
             - {}\n      command: >-\n        astra-credential\n",
            arguments.replace(", ", "\n      - ")
        ),
    ]
}

#[test]
fn the_account_of_kubectls_user_is_checked_whatever_the_form_of_the_kubeconfig() {
    needs!("kubectl");
    let world = World::new();
    fs::create_dir_all(world.path(".kube")).unwrap();
    world.write(".config/astra-credential/prod.json", "{");
    for account in ["\"--account\", \"prod\"", "\"--account=prod\""] {
        for config in kubeconfigs(account) {
            world.write(".kube/config", &config);
            let found = finding(&doctor(&world, "").run(), "kubectl");
            assert!(found.starts_with("> failure "), "{config}: {found}");
            assert!(found.contains("`~/.config/astra-credential/prod.json`"), "{config}: {found}");
        }
    }
}

#[test]
fn no_account_of_kubectls_user_is_checked_if_its_arguments_name_a_file() {
    needs!("kubectl");
    let world = World::new();
    fs::create_dir_all(world.path(".kube")).unwrap();
    fs::remove_file(world.account_file()).unwrap();
    let in_another_file = "\"--config=/moved.json\", \"--account\", \"prod\"";
    for arguments in ["\"--service-account=/moved\"", in_another_file] {
        for config in kubeconfigs(arguments) {
            world.write(".kube/config", &config);
            let found = finding(&doctor(&world, "").run(), "kubectl");
            let is_ok = found.starts_with("> ok ") && found.contains("configured in");
            assert!(is_ok, "{config}: {found}");
        }
    }
}

/// The line of kubectl for a user with these variables, in an environment with that account.
fn kubectl_with(world: &World, variables: &[(&str, &str)], account: &str) -> String {
    let variables: Vec<_> = variables
        .iter()
        .map(|(name, value)| format!("      - name: {name}\n        value: {value}\n"))
        .collect();
    let env = if variables.is_empty() {
        " null\n".to_owned()
    } else {
        format!("\n{}", variables.concat())
    };
    fs::create_dir_all(world.path(".kube")).unwrap();
    world.write(
        ".kube/config",
        format!(
            "users:\n- name: a\n  user:\n    exec:\n      args:\n      - kubernetes\n      command: \
             astra-credential\n      env:{env}"
        ),
    );
    finding(&doctor(world, "").env("ASTRA_CREDENTIAL_ACCOUNT", account).run(), "kubectl")
}

#[test]
fn the_account_of_a_kubectl_user_is_that_of_its_variables_or_of_the_environment() {
    let world = World::new();
    world.write(".config/astra-credential/prod.json", "{");
    let prod = "`~/.config/astra-credential/prod.json`";
    let account = "ASTRA_CREDENTIAL_ACCOUNT";
    needs!("kubectl");
    for is_there in [true, false] {
        if !is_there {
            // Then the text of the file is searched.
            program(&world, "bin", "kubectl", "exit 1");
        }
        let by_user = kubectl_with(&world, &[(account, "prod")], "");
        assert!(by_user.contains("failure") && by_user.contains(prod), "{by_user}");
        let by_environment = kubectl_with(&world, &[], "prod");
        assert!(by_environment.contains("failure") && by_environment.contains(prod));
        let both = kubectl_with(&world, &[(account, "default")], "prod");
        assert!(both.contains("finds this binary and the account `default`"), "{both}");
        let neither = kubectl_with(&world, &[("OTHER", "prod")], "");
        assert!(neither.contains("finds this binary and the account `default`"), "{neither}");
        let file = kubectl_with(&world, &[("ASTRA_SERVICE_ACCOUNT", "/no/such")], "");
        assert!(file.contains("failure") && file.contains("`/no/such` does not exist"), "{file}");
        let own = world.write("own.json", world.astra.account_json()).display().to_string();
        let file = kubectl_with(&world, &[("ASTRA_SERVICE_ACCOUNT", &own)], "");
        assert!(file.contains("and the account in `~/own.json`"), "{file}");
    }
}

#[test]
fn the_folders_of_a_kubectl_user_are_those_of_its_variables() {
    needs!("kubectl");
    let world = World::new();
    let other = world.path("other");
    fs::create_dir_all(other.join(".config/astra-credential")).unwrap();
    fs::create_dir_all(other.join("xdg/astra-credential")).unwrap();
    let [home, config] = [other.clone(), other.join("xdg")].map(|it| it.display().to_string());
    let by_home = [("HOME", &*home)];
    let by_xdg = [("XDG_CONFIG_HOME", &*config)];
    let by_both = [("HOME", &*home), ("XDG_CONFIG_HOME", &*config)];
    let ignored = [("HOME", &*home), ("XDG_CONFIG_HOME", "relative")];
    for is_there in [true, false] {
        if !is_there {
            program(&world, "bin", "kubectl", "exit 1");
        }
        for (variables, folder) in
            [(&by_home[..], ".config"), (&by_xdg, "xdg"), (&by_both, "xdg"), (&ignored, ".config")]
        {
            let file = format!("other/{folder}/astra-credential/service-account.json");
            let missing = kubectl_with(&world, variables, "");
            let expected = format!("`~/{file}` does not exist");
            assert!(missing.contains(&expected), "{variables:?}: {missing}");
            world.write(&file, world.astra.account_json());
            let found = kubectl_with(&world, variables, "");
            assert!(found.contains("finds this binary and the account `default`"), "{found}");
            fs::remove_file(world.path(&file)).unwrap();
            // The configuration file is there too.
            let named = world.write("named.json", world.astra.account_json());
            let entry = format!(r#"{{"accounts": {{"default": {{"file": {named:?}}}}}}}"#);
            let config = file.replace("service-account", "config");
            set_mode(&world.write(&config, entry), 0o600);
            let found = kubectl_with(&world, variables, "");
            assert!(found.contains("finds this binary and the account `default`"), "{found}");
            fs::remove_file(world.path(&config)).unwrap();
        }
        let nowhere = kubectl_with(&world, &[("HOME", "relative")], "");
        assert!(nowhere.contains("failure"), "{nowhere}");
    }
}

/// A kubeconfig whose user runs this program.
const KUBECONFIG: &str = "users:\n- user:\n    exec:\n      command: astra-credential\n";

#[test]
fn a_configuration_at_its_default_place_is_found() {
    let world = World::new();
    fs::create_dir(world.path(".kube")).unwrap();
    world.write(".kube/config", KUBECONFIG);
    fs::create_dir(world.path(".docker")).unwrap();
    world.write(".docker/config.json", r#"{"credsStore":"astra"}"#);
    world.write(".bazelrc", "build --credential_helper=bazel-credential-astra\n");
    let done = doctor(&world, "").run();
    for (tool, file) in
        [("kubectl", ".kube/config"), ("docker", ".docker/config.json"), ("bazel", ".bazelrc")]
    {
        assert!(finding(&done, tool).contains(&format!("configured in `~/{file}`")), "{done}");
    }
}

#[test]
fn a_configuration_of_5_mib_is_not_read() {
    let world = World::new();
    let large = world.write(".bazelrc", "build --credential_helper=bazel-credential-astra\n");
    fs::File::options().write(true).open(large).unwrap().set_len(5 * 1024 * 1024).unwrap();
    let done = doctor(&world, "").run();
    assert!(finding(&done, "bazel").contains("not configured"), "{done}");
}

#[test]
fn a_tools_variable_names_its_configuration() {
    let world = World::new();
    fs::create_dir(world.path(".kube")).unwrap();
    world.write(".kube/config", KUBECONFIG);
    fs::create_dir(world.path(".docker")).unwrap();
    world.write(".docker/config.json", r#"{"credsStore":"astra"}"#);
    fs::create_dir(world.path("docker")).unwrap();
    let other = world.write("other", "users: []\n").display().to_string();
    let call = doctor(&world, "").env("KUBECONFIG", &other);
    let elsewhere = call.env("DOCKER_CONFIG", world.path("docker")).run();
    for tool in ["kubectl", "docker"] {
        assert!(finding(&elsewhere, tool).contains("not configured"), "{elsewhere}");
    }
    let third = world.write("third", KUBECONFIG);
    let files = format!("{other}:~/none:{}", third.display());
    let several = doctor(&world, "").env("KUBECONFIG", files).run();
    assert!(finding(&several, "kubectl").contains("configured in `~/third`"), "{several}");
}

#[test]
fn a_link_to_nothing_counts_as_missing() {
    needs!("git");
    let world = World::new();
    world.write(".gitconfig", GIT_CONFIG);
    let link = install(&world).with_file_name("git-credential-astra");
    let missing = finding(&doctor(&world, "").run(), "git");
    symlink("/no/such/file", link).unwrap();
    assert_eq!(finding(&doctor(&world, "").run(), "git"), missing);
}

#[test]
fn the_hint_for_a_missing_link_makes_it() {
    needs!("git");
    let world = World::new();
    world.write(".gitconfig", GIT_CONFIG);
    let missing = finding(&doctor(&world, "").run(), "git");
    run_hint(&world, &missing, "hint: run");
    let found = finding(&doctor(&world, "").run(), "git");
    transcript!(missing, found, @"
    > failure  git           configured in `credential.https://git.example.com.helper` for `git.example.com`, but there is no `git-credential-astra` on `PATH`
    >                        hint: run `ln -sf ~/bin/astra-credential ~/bin/git-credential-astra`
    > ok       git           configured in `credential.https://git.example.com.helper` for `git.example.com`, and finds this binary
    ");
}

/// For libgit2, `setup` adds an entry without the port. It is an entry of its own only if that host is bound.
#[test]
fn gits_entry_without_a_port_is_shown_if_that_host_is_bound() {
    needs!("git");
    let world = World::new();
    let binary = install(&world);
    let shown = |host: &str| {
        let done = doctor(&world, "").run();
        findings(&done, "git").contains(&format!(" for `{host}`"))
    };
    world.call_as(&binary, "setup git --host a.example.com:8443").run().quiet();
    assert!(shown("a.example.com:8443") && !shown("a.example.com"));
    world.call_as(&binary, "setup git --host a.example.com").run().quiet();
    assert!(shown("a.example.com:8443") && shown("a.example.com"));
}

#[test]
fn a_helper_of_this_program_that_git_runs_before_is_no_finding() {
    needs!("git");
    let world = World::new();
    let binary = install(&world);
    let helper = format!("\thelper = {} git\n", binary.display());
    world.write(
        ".gitconfig",
        format!("[credential]\n{helper}[credential \"https://a.example.com\"]\n{helper}"),
    );
    let call = doctor(&world, "").env("ASTRA_CREDENTIAL_HOSTS", "a.example.com");
    let shown = findings(&call.run(), "git");
    assert!(!shown.contains("is asked before") && shown.contains("a.example.com"), "{shown}");
}

#[test]
fn the_account_of_a_kubectl_user_may_be_in_the_configuration_that_a_flag_names() {
    let world = World::new();
    fs::create_dir_all(world.path(".kube")).unwrap();
    world.write(
        ".kube/config",
        "users:\n- name: a\n  user:\n    exec:\n      args:\n      - --account=ci\n      command: \
         astra-credential\n",
    );
    let entry = format!(r#"{{"accounts": {{"ci": {{"file": {:?}}}}}}}"#, world.account_file());
    let config = world.write("named.json", entry);
    let unknown = finding(&doctor(&world, "").run(), "kubectl");
    assert!(unknown.contains("there is no account `ci`, which `--account` names"), "{unknown}");
    let known = doctor(&world, &format!("--config {}", config.display())).run();
    let known = finding(&known, "kubectl");
    assert!(known.contains("finds this binary and the account `ci`"), "{known}");
}

#[test]
fn the_hint_for_a_kubectl_user_names_the_account_of_its_variables() {
    let world = World::new();
    fs::create_dir_all(world.path(".kube")).unwrap();
    world.write(
        ".kube/config",
        "users:\n- name: a\n  user:\n    exec:\n      command: /no/astra-credential\n      env:\n      \
         - name: ASTRA_CREDENTIAL_ACCOUNT\n        value: prod\n",
    );
    let found = finding(&doctor(&world, "").run(), "kubectl");
    assert!(found.contains("run `astra-credential setup kubectl --account prod`"), "{found}");
}

#[test]
fn each_tools_set_up_by_setup_is_found() {
    needs!("git", "kubectl");
    let world = World::new();
    let binary = install(&world);
    for tool in ["kubectl", "git", "bazel", "docker", "terraform"] {
        let line = format!("setup {tool} --host tool.example.com");
        let done = world.call_as(&binary, &line).run();
        assert_eq!(done.code(), 0, "{done}");
        let found = finding(&doctor(&world, "").run(), tool);
        assert!(found.contains(", and finds this binary"), "{found}");
    }
}
