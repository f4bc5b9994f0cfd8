//! The completion scripts, loaded and used in the real shells.

use crate::world::{Call, World, is_installed, lacks, needs};
use std::fs;

const LINKS: [&str; 4] = [
    "bazel-credential-astra",
    "git-credential-astra",
    "docker-credential-astra",
    "terraform-credentials-astra",
];

/// A world with two hosts, two programs on PATH and a file `company-ca.pem` in the working folder.
fn world() -> World {
    let world = World::new();
    let folder = world.link("astra-credential").parent().unwrap().to_owned();
    for name in LINKS {
        world.link(name);
    }
    for name in ["zz-deploy", "zz-delete"] {
        let program = folder.join(name);
        fs::write(&program, "#!/bin/sh\n").unwrap();
        crate::world::set_mode(&program, 0o755);
    }
    fs::create_dir_all(world.path("work/company-cache")).unwrap();
    fs::write(world.path("work/company-ca.pem"), "").unwrap();
    for shell in ["bash", "zsh", "fish", "elvish"] {
        let script = world.call(&format!("completions {shell}")).run().quiet();
        world.write(&format!("completions.{shell}"), script);
    }
    world
}

/// True if a file exists. If not, that is announced as by [`is_installed`].
fn is_there(path: &str) -> bool {
    fs::exists(path).unwrap_or_default() || lacks(path)
}

fn shell<'a>(world: &'a World, shell: &str) -> Call<'a> {
    let call = world.call_as("timeout", "60 env -C").arg(world.path("work")).arg(shell);
    call.env("TERM", "dumb")
        .env("ASTRA_CREDENTIAL_HOSTS", "git.example.com,registry.example.com:5000")
}

/// The candidates of bash's completion function for the last word of a line that readline has split.
fn in_bash(world: &World, line: &str) -> Vec<String> {
    let complete = r#"source "$HOME/completions.bash"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        function=$(complete -p "$1" | sed 's/.* -F \([^ ]*\) .*/\1/')
        "$function" "$1" "${@: -1}" "${@: -2:1}"; printf '%s\n' "${COMPREPLY[@]}""#;
    let call = shell(world, "bash").arg("-c").arg(complete).arg("bash");
    let done = line.split(' ').fold(call, |call, word| call.arg(word)).run();
    done.quiet().lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

fn in_fish(world: &World, line: &str) -> Vec<String> {
    let complete = format!("source $HOME/completions.fish; complete -C '{line}'");
    let done = shell(world, "fish").arg("--no-config").arg("-c").arg(complete).run();
    let offered = done.quiet();
    offered.lines().map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect()
}

/// An interactive zsh in a terminal, in which Tab lists the choices and ends the shell. Every match that a
/// completion function adds is written to a file, and the content of the terminal is printed.
const ZSH: &str = r#"
zmodload zsh/zpty
cat > $HOME/.zshrc <<'END'
autoload -Uz compinit && compinit -D -u
source $HOME/completions.zsh
compadd() {
    if [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\ * ]]; then
        builtin compadd "$@"
        return
    fi
    local -a matches
    builtin compadd -A matches "$@"
    print -rl -- "$matches[@]" >> $HOME/offered
    builtin compadd "$@"
}
offer() { zle list-choices; exit }
zle -N offer
bindkey '^I' offer
END
: > $HOME/offered
export ZDOTDIR=$HOME
zpty terminal "zsh -d -i"
zpty -w -n terminal "$1"$'\t'
while zpty -r terminal text; do print -rn -- $text; done
"#;

fn in_zsh(world: &World, line: &str) -> Vec<String> {
    let done = shell(world, "zsh").arg("-f").arg("-c").arg(ZSH).arg("zsh").arg(line).run();
    let screen = done.stdout();
    for complaint in ["zsh:", "_arguments", "compadd:", "not found", "parse error", "invalid"] {
        assert!(!screen.contains(complaint), "{line}: {screen}");
    }
    let offered = fs::read_to_string(world.path("offered")).unwrap();
    offered.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// A shell's candidates for the last word of a line.
type Ask = fn(&World, &str) -> Vec<String>;

/// Asserts that each of the shells offers exactly these for the last word of the line.
fn each_offers(world: &World, line: &str, expected: &[&str]) {
    let shells: [(&str, Ask); 3] = [("bash", in_bash), ("fish", in_fish), ("zsh", in_zsh)];
    // Of `--flag=value`, some shells complete the whole word and some the value.
    let value = |word: &str| match word.split_once('=') {
        Some((flag, value)) if flag.starts_with("--") => value.to_owned(),
        _ => word.to_owned(),
    };
    let last = value(line.rsplit(' ').next().unwrap_or_default());
    for (name, ask) in shells {
        if !is_installed(name) {
            continue;
        }
        let mut offered: Vec<_> = ask(world, line).iter().map(|word| value(word)).collect();
        // zsh gets all candidates and chooses among them itself.
        offered.retain(|word| word.starts_with(&last));
        offered.iter_mut().for_each(|word| word.truncate(word.trim_end_matches('/').len()));
        offered.dedup();
        assert_eq!(offered, expected, "{name}: {line}");
    }
}

#[test]
fn commands_stand_alone_and_in_the_order_of_the_help() {
    let world = world();
    let help = world.call("--help").run().quiet();
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = listed.take_while(|line| !line.is_empty());
    let commands: Vec<_> = listed.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(commands.len() > 12);
    each_offers(&world, "astra-credential ", &commands);
    each_offers(&world, "astra-credential --timeout 5 tok", &["token"]);
    each_offers(&world, "astra-credential help st", &["status"]);
    each_offers(&world, "astra-credential nonsense ", &[]);
}

#[test]
fn a_commands_own_flags_stand_before_the_settings() {
    let world = world();
    each_offers(&world, "astra-credential token --fo", &["--format"]);
    // The help has the same order: `Options` and then `Settings`.
    let help = world.call("help setup").run().quiet();
    let lines = help.lines().filter(|line| line.starts_with("  ") && line.len() > 6);
    let flags = lines.filter_map(|line| line.get(6..)?.split([' ', '\n']).next());
    let flags: Vec<_> = flags.filter(|word| word.starts_with("--")).collect();
    assert!(flags.starts_with(&["--undo", "--dry-run"]) && flags.len() > 12, "{flags:?}");
    each_offers(&world, "astra-credential setup git --", &flags);
}

#[test]
fn values_are_offered_by_flag_and_by_command() {
    let world = world();
    for (line, expected) in [
        ("astra-credential token --format ", &["text", "json"][..]),
        ("astra-credential token --min-valid ", &["5m", "30m", "1h", "2h"]),
        ("astra-credential token --timeout ", &["5", "10", "30", "60"]),
        ("astra-credential token --api-url ", &[]),
        ("astra-credential env --shell po", &["powershell"]),
        ("astra-credential man git-", &["git-credential-astra"]),
        ("astra-credential setup ku", &["kubectl"]),
        ("astra-credential kubernetes --api-version ", &["v1", "v1beta1"]),
        ("astra-credential completions fi", &["fish"]),
        ("astra-credential git ", &["get", "store", "erase", "capability"]),
        ("astra-credential docker ", &["get", "store", "erase", "list", "version"]),
        ("astra-credential --refresh terraform ", &["get", "store", "forget", "external"]),
    ] {
        each_offers(&world, line, expected);
    }
    for name in ["git", "bazel", "docker", "terraform"] {
        let help = world.call(&format!("help {name}")).run().quiet();
        let line = help.lines().find(|line| line.contains("<VERB>  ")).unwrap_or_default();
        let verbs = line.replace("<VERB>", "").replace(" or ", ", ");
        let verbs: Vec<_> = verbs.split(',').map(str::trim).collect();
        each_offers(&world, &format!("astra-credential {name} "), &verbs);
    }
}

#[test]
fn configured_hosts_are_offered() {
    let world = world();
    let api = world.astra.url().replace("https://", "");
    let hosts = [&*api, "git.example.com", "registry.example.com:5000"];
    each_offers(&world, "astra-credential git --host ", &hosts);
    each_offers(&world, "astra-credential terraform get ", &hosts);
    each_offers(&world, "astra-credential git --host=gi", &["git.example.com"]);
    each_offers(
        &world,
        "astra-credential setup git --host registry.example.com:5",
        &["registry.example.com:5000"],
    );
}

#[test]
fn accounts_are_offered() {
    let world = world();
    let config = r#"{ "accounts": { "prod": { "hosts": ["git.prod.example"] }, "test": {} } }"#;
    world.write(".config/astra-credential/config.json", config);
    each_offers(&world, "astra-credential token --account ", &["default", "prod", "test"]);
    each_offers(&world, "astra-credential git --host git.p", &["git.prod.example"]);
    // An account may be stored without an entry.
    world.write(".config/astra-credential/stored.json", "{}");
    each_offers(
        &world,
        "astra-credential token --account ",
        &["default", "prod", "test", "stored"],
    );
    // With a defect in the file there are no candidates, and no error is printed.
    world.write(".config/astra-credential/config.json", "{");
    each_offers(&world, "astra-credential token --account ", &[]);
}

#[test]
fn accounts_and_hosts_of_the_configuration_file_are_offered() {
    let world = world();
    let configuration = r#"{"accounts": {
        "prod": {"hosts": ["git.prod.example.com", "registry.prod.example.com:5000"]},
        "test": {"hosts": ["git.test.example.com"], "api_url": "https://api.test.example.com"},
    }}"#;
    world.write(".config/astra-credential/config.json", configuration);
    each_offers(&world, "astra-credential token --account ", &["default", "prod", "test"]);
    each_offers(&world, "astra-credential token --account=pr", &["prod"]);
    each_offers(
        &world,
        "astra-credential git --host git.",
        &["git.example.com", "git.prod.example.com", "git.test.example.com"],
    );
    each_offers(
        &world,
        "terraform-credentials-astra get registry.prod.example.com:",
        &["registry.prod.example.com:5000"],
    );
    // Commands and flags are offered even if the file has a defect.
    world.write(".config/astra-credential/config.json", "{");
    each_offers(&world, "astra-credential tok", &["token"]);
    each_offers(&world, "astra-credential token --account ", &[]);
}

#[test]
fn files_are_offered_for_flags_that_take_a_file() {
    let world = world();
    each_offers(&world, "astra-credential token --ca-file company-ca.", &["company-ca.pem"]);
    each_offers(&world, "astra-credential token --ca-file=company-ca.", &["company-ca.pem"]);
    for line in ["astra-credential token --cache-dir c", "git-credential-astra --cache-dir c"] {
        each_offers(&world, line, &["company-cache"]);
    }
}

#[test]
fn a_link_is_completed_as_the_command_it_stands_for() {
    let world = world();
    each_offers(&world, "git-credential-astra ", &["get", "store", "erase", "capability"]);
    each_offers(&world, "bazel-credential-astra g", &["get"]);
    each_offers(&world, "docker-credential-astra l", &["list"]);
    each_offers(&world, "terraform-credentials-astra --host gi", &["git.example.com"]);
}

#[test]
fn exec_completes_the_command_that_follows() {
    let world = world();
    for line in ["exec -- zz-de", "exec zz-de", "exec --min-valid 1h -- zz-de"] {
        each_offers(&world, &format!("astra-credential {line}"), &["zz-delete", "zz-deploy"]);
    }
    each_offers(&world, "astra-credential exec -- zz-deploy company-ca.", &["company-ca.pem"]);
}

/// A line after Tab in an interactive bash, in a terminal.
fn typed_in_bash(world: &World, line: &str) -> String {
    world.write(
        "bashrc",
        r#"source /usr/share/bash-completion/bash_completion 2>/dev/null
        source "$HOME/completions.bash"
        bind -x '"\C-g": printf "%s" "$READLINE_LINE" > "$HOME/completed"; exit'
        "#,
    );
    let terminal = shell(world, "script").arg("-qec").arg("bash --rcfile $HOME/bashrc -i");
    let done = terminal.arg("/dev/null").input(format!("{line}\t\x07")).run();
    let completed = fs::read_to_string(world.path("completed"));
    assert!(completed.is_ok(), "{done}");
    completed.unwrap()
}

#[test]
fn readline_puts_a_candidate_in_place_of_its_part_of_the_word() {
    let world = world();
    needs!("script");
    for (line, expected) in [
        ("astra-credential tok", "astra-credential token "),
        ("astra-credential git --host gi", "astra-credential git --host git.example.com "),
        ("astra-credential git --host=gi", "astra-credential git --host=git.example.com "),
        (
            "astra-credential git --host registry.example.com:5",
            "astra-credential git --host registry.example.com:5000 ",
        ),
        (
            "astra-credential git --host=registry.example.com:",
            "astra-credential git --host=registry.example.com:5000 ",
        ),
        (
            "astra-credential token --ca-file=company-ca.",
            "astra-credential token --ca-file=company-ca.pem ",
        ),
        (
            "astra-credential token --cache-dir company-",
            "astra-credential token --cache-dir company-cache/",
        ),
        ("docker-credential-astra l", "docker-credential-astra list "),
        ("astra-credential token --min-valid c", "astra-credential token --min-valid c"),
    ] {
        assert_eq!(typed_in_bash(&world, line), expected);
    }
}

#[test]
fn exec_passes_the_rest_of_the_line_to_that_commands_own_completion() {
    let world = world();
    let line = "astra-credential exec --min-valid=1h -- astra-credential sta";
    if is_installed("fish") {
        assert_eq!(in_fish(&world, line), ["status"]);
    }
    if is_installed("zsh") {
        assert!(in_zsh(&world, line).contains(&"status".to_owned()));
    }
    // Bash has a function for it in the package bash-completion.
    if is_there("/usr/share/bash-completion/bash_completion") && is_installed("script") {
        assert_eq!(typed_in_bash(&world, line), format!("{line}tus "));
    }
}

#[test]
fn a_script_names_the_program_as_it_was_called() {
    let world = world();
    for name in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let arguments = format!("completions {name}");
        let path = world.link("astra-credential");
        let by_path = world.call_as(&path, &arguments).run().quiet();
        let path = path.to_str().unwrap();
        assert!(by_path.contains(path), "{name}: {by_path}");
        let call = shell(&world, "astra-credential").arg("completions").arg(name);
        let by_name = call.run().quiet();
        assert!(by_name.contains("'astra-credential'"), "{name}: {by_name}");
        assert!(!by_name.contains(path) && !by_name.contains("PROGRAM"));
        let without_argument = by_name.replace(" completions", "");
        assert!(LINKS.iter().all(|link| without_argument.contains(link)), "{name}: {by_name}");
    }
    world.call("completions tcsh").run().failure(2);
    world.call("completions").run().failure(2);
}

#[test]
fn a_completion_without_an_answer_prints_nothing() {
    let world = world();
    for words in
        ["", "astra-credential nonsense ", "astra-credential token text extra ", "x -- -- "]
    {
        let call = world.call("completions bash --");
        let done = words.split(' ').fold(call, |call, word| call.arg(word)).run();
        assert!(done.quiet().starts_with("values\n"), "{done}");
    }
    assert_eq!(world.astra.connections(), 0);
    assert!(!world.cache_dir().exists());
}
