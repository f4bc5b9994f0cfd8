//! Everything that comes with the binary: completions, manual pages, help, and the documentation.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::servers;
use crate::world::{BINARY, World, is_installed, needs, transcript};

#[path = "../../examples/fleet.rs"]
#[allow(dead_code, reason = "its `main` is the example's")]
mod fleet;

const LINKS: [&str; 4] = [
    "bazel-credential-astra",
    "git-credential-astra",
    "docker-credential-astra",
    "terraform-credentials-astra",
];

/// The commands, as `--help` lists them.
fn commands(world: &World) -> Vec<String> {
    let help = world.call("--help").run().quiet();
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = listed.take_while(|line| !line.is_empty());
    let first_word = |line: &str| line.split_whitespace().next().unwrap().to_owned();
    // Further lines of a description are indented more.
    names.filter(|line| !line.starts_with("   ")).map(first_word).collect()
}

/// The help of the program and of each command.
fn help(world: &World) -> String {
    let lines = commands(world).into_iter().map(|name| format!("{name} --help"));
    let all = std::iter::once("--help".to_owned()).chain(lines);
    all.map(|line| world.call(&line).run().quiet()).collect()
}

#[test]
fn help_is_ascii_and_fits_a_terminal_of_80_columns() {
    let help = help(&World::new());
    assert!(help.is_ascii(), "{help}");
    let wide: Vec<_> = help.lines().filter(|line| line.len() > 80).collect();
    assert!(wide.is_empty(), "{wide:#?}");
}

#[test]
fn manual_pages_are_there_for_every_name_and_are_well_formed() {
    let world = World::new();
    let program = world.call("man").run().quiet();
    assert_eq!(world.call("man astra-credential").run().quiet(), program);
    for name in commands(&world) {
        assert!(program.contains(&format!(".SS {name}")), "no `{name}`");
    }
    for flag in help(&world).split_whitespace().filter(|word| word.starts_with("--")) {
        let flag = flag.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        assert!(program.contains(&flag.replace('-', "\\-")), "no `{flag}`");
    }
    let pages = LINKS.map(|name| (name, world.call(&format!("man {name}")).run().quiet()));
    let all = [("astra-credential", program)].into_iter().chain(pages);
    for (name, page) in all {
        assert!(page.is_ascii() && page.contains(&format!(".TH {name} 1")), "{page}");
        let file = world.write(&format!("{name}.1"), &page);
        let checks: [(&str, &[&str]); 3] = [
            ("man", &["--warnings", "-l"]),
            ("groff", &["-ww", "-man", "-Tutf8", "-z"]),
            ("mandoc", &["-T", "lint", "-W", "error"]),
        ];
        for (tool, arguments) in checks.into_iter().filter(|(tool, _)| is_installed(tool)) {
            let read = Command::new(tool).args(arguments).arg(&file).output().unwrap();
            assert!(read.status.success() && read.stderr.is_empty(), "{tool} {name}: {read:?}");
        }
    }
    world.call("man kubectl").run().failure(2);
}

#[test]
fn a_manual_page_fits_80_columns() {
    needs!("man", "mandoc");
    let world = World::new();
    for name in ["astra-credential"].into_iter().chain(LINKS) {
        let page = world.write("page.1", world.call(&format!("man {name}")).run().quiet());
        let man = world.call_as("man", "-l").arg(&page).env("MANWIDTH", "80");
        let mandoc = world.call_as("mandoc", "-T utf8 -O width=78").arg(&page);
        for (tool, call) in [("man", man), ("mandoc", mandoc)] {
            let text = call.env("LC_ALL", "C.UTF-8").run().quiet();
            assert!(text.lines().count() > 20, "{tool}: {text}");
            // Bold is a letter, a backspace and the letter again.
            let width = |line: &&str| {
                line.chars().count() - 2 * line.chars().filter(|c| *c == '\u{8}').count()
            };
            let wide: Vec<_> = text.lines().filter(|line| width(line) > 80).collect();
            assert!(wide.is_empty(), "{tool} {name}: {wide:#?}");
        }
    }
}

#[test]
fn help_with_a_command_prints_the_help_of_that_command() {
    let world = World::new();
    for name in commands(&world) {
        let help = world.call(&format!("help {name}")).run().quiet();
        assert_eq!(help, world.call(&format!("{name} --help")).run().quiet());
    }
    assert_eq!(world.call("help").run().quiet(), world.call("--help").run().quiet());
    assert_eq!(
        world.call("help exec-credential").run().quiet(),
        world.call("help kubernetes").run().quiet()
    );
    // With a tool after `setup`, or with a verb, the command's help is printed.
    for (words, command) in [("setup git", "setup"), ("docker get", "docker")] {
        let help = world.call(&format!("help {words}")).run().quiet();
        assert_eq!(help, world.call(&format!("help {command}")).run().quiet());
    }
    let error = world.call("help forgot").run().failure(2);
    assert!(error.contains("close to it is `forget`"), "{error}");
    assert!(error.contains("`astra-credential --help`"), "{error}");
    assert!(!world.cache_dir().exists());
}

#[test]
fn help_names_the_command_that_deletes_a_revoked_token() {
    let world = World::new();
    for name in ["forget", "status", "kubernetes", "git", "bazel", "docker", "terraform"] {
        let help = world.call(&format!("help {name}")).run().quiet();
        let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in ["only its server knows that it is revoked", "astra-credential forget"] {
            assert!(words.contains(part), "{help}");
        }
    }
    for page in ["kubectl", "git", "bazel", "docker", "terraform"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/{page}.md"));
        assert!(fs::read_to_string(path).unwrap().contains("astra-credential forget"), "{page}");
    }
}

#[test]
fn the_manual_page_of_a_link_shows_its_purpose_and_its_set_up() {
    let world = World::new();
    transcript!(world.call("man git-credential-astra").run());
}

#[test]
fn every_command_has_an_example_in_its_help() {
    let world = World::new();
    assert!(commands(&world).len() >= 12);
    for name in commands(&world) {
        let help = world.call(&format!("{name} --help")).run().quiet();
        let settings = help.lines().skip_while(|line| *line != "Settings:");
        let mut after = settings.skip_while(|line| !line.is_empty());
        let is_example = |line: &str| line.starts_with("  ") && line.contains("astra");
        assert!(after.any(is_example), "`{name} --help` ends without an example:\n{help}");
    }
}

#[test]
fn the_version_names_its_commit_and_its_target() {
    let world = World::new();
    let version = world.call("--version").run().quiet();
    assert_eq!(world.call("-V").run().quiet(), version);
    let start = concat!("astra-credential ", env!("CARGO_PKG_VERSION"), " (");
    let build = version.strip_prefix(start).unwrap().strip_suffix(")\n").unwrap();
    let target = build.split(", ").last().unwrap();
    assert!(target.split('-').count() >= 3 && BINARY.contains(target), "{version}");
    let head = Command::new("git").args(["rev-parse", "HEAD"]).output();
    let head = head.map(|output| String::from_utf8(output.stdout).unwrap()).unwrap_or_default();
    if let Some((commit, _)) = build.split_once(", ") {
        assert!(commit.len() >= 7 && head.starts_with(commit), "{version}, at {head}");
    }
}

#[test]
fn an_old_glibc_is_not_linked_statically() {
    let world = World::new();
    let script = world.path("build-script");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("build.rs");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let compile = Command::new(rustc).arg("-o").arg(&script).arg(source).output().unwrap();
    assert!(compile.status.success(), "{compile:?}");
    let bin = world.path("bin");
    fs::create_dir(&bin).unwrap();
    let built = |version: &str, features: &str, target: &str| {
        let getconf = world.write("bin/getconf", format!("#!/bin/sh\necho '{version}'\n"));
        crate::world::set_mode(&getconf, 0o700);
        let call = world.call_as(&script, "").env("PATH", format!("{}:/bin", bin.display()));
        let call = call.env("CARGO_CFG_TARGET_OS", "linux").env("CARGO_CFG_TARGET_ENV", "gnu");
        let call = call.env("HOST", "x86_64-unknown-linux-gnu").env("TARGET", target);
        call.env("CARGO_CFG_TARGET_FEATURE", features).run()
    };
    let own = "x86_64-unknown-linux-gnu";
    for (version, features, target, is_refused) in [
        ("glibc 2.33", "crt-static,fxsr", own, true),
        ("glibc 2.31", "fxsr,crt-static", own, true),
        ("glibc 2.34", "crt-static", own, false),
        ("glibc 2.40.9000", "crt-static", own, false),
        ("glibc 2.31", "fxsr", own, false),
        ("glibc 2.31", "crt-static", "aarch64-unknown-linux-gnu", false),
        ("something else", "crt-static", own, false),
    ] {
        let done = built(version, features, target);
        assert_eq!(done.output.status.success(), !is_refused, "{version}, {features}: {done}");
        assert_eq!(done.stderr().contains("RUSTFLAGS="), is_refused, "{done}");
    }
}

fn documentation() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = fs::read_dir(root.join("docs")).unwrap().map(|page| page.unwrap().path());
    let paths =
        pages.chain(["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|name| root.join(name)));
    let read = |path: std::path::PathBuf| {
        (
            path.file_name().unwrap().to_string_lossy().into_owned(),
            fs::read_to_string(&path).unwrap(),
        )
    };
    let mut pages: Vec<_> = paths.map(read).collect();
    pages.sort();
    pages
}

#[test]
fn the_documentation_names_only_flags_variables_and_pages_that_exist() {
    let world = World::new();
    let sources = ["src/settings.rs", "src/command.rs", "src/manual.rs"]
        .map(|path| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap());
    let known = help(&world) + &sources.concat();
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let words: std::collections::BTreeSet<_> = known.split(|c| !is_part(c)).collect();
    let pages = documentation();
    for (page, text) in &pages {
        for name in text.split(|c| !is_part(c)).filter(|word| word.starts_with("ASTRA_")) {
            assert!(words.contains(name), "{page}: `{name}`");
        }
        // A flag of this program is behind its name, or alone in backticks.
        for line in text.lines() {
            let ours = line.split("astra-credential ").skip(1);
            let ours =
                ours.map(|rest| rest.split([';', '|', '`', '\'']).next().unwrap_or_default());
            let ours = ours.map(|rest| rest.split(" -- ").next().unwrap_or_default());
            let alone = line.split("`--").skip(1).map(|rest| &rest[..rest.find('`').unwrap_or(0)]);
            let flags = ours.flat_map(|rest| rest.split(" --").skip(1)).chain(alone);
            for flag in flags.filter_map(|flag| flag.split(|c| !is_part(c)).next()) {
                let is_foreign = ["", "exec-command", "exec-arg", "exec-env"].contains(&flag);
                assert!(is_foreign || words.contains(&*format!("--{flag}")), "{page}: `--{flag}`");
            }
        }
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let folder = if text.starts_with("# astra-credential") { "" } else { "docs" };
            let root = Path::new(env!("CARGO_MANIFEST_DIR"));
            let heading = |line: &str| {
                let title = line.trim_start_matches('#').trim().to_lowercase();
                line.starts_with('#') && link == format!("#{}", title.replace(' ', "-"))
            };
            let is_page = link.contains(':')
                || text.lines().any(heading)
                || [folder, ""].iter().any(|folder| root.join(folder).join(link).exists());
            assert!(is_page, "{page}: no `{link}`");
        }
    }
}

#[test]
fn the_commands_of_the_documentation_work_in_the_sandbox() {
    let mut tried = Vec::new();
    for (page, text) in documentation() {
        let Some((_, part)) = text.split_once("## Try it in the sandbox") else {
            continue;
        };
        let (_, script) = part.split_once("```sh\n").unwrap();
        let (script, _) = script.split_once("```").unwrap();
        let client = page.trim_end_matches(".md");
        if ["kubectl", "git"].contains(&client) && !is_installed(client) {
            continue;
        }
        let world = World::new();
        let page_server = servers::protected(&world.authority, &world.astra);
        let cluster = servers::kubernetes(&world.authority, &world.astra);
        let repository = servers::git_repository(&world.authority, &world.astra);
        let ports = [&page_server, &cluster, &repository].map(|server| server.port());
        for name in LINKS {
            world.link(name);
        }
        world.link("astra-credential");
        let done = world
            .call_as("timeout", "60 sh -eu -c")
            .arg(script)
            .env("SANDBOX_URL", page_server.url() + "/")
            .env("SANDBOX_KUBERNETES", cluster.url())
            .env("SANDBOX_GIT", repository.url() + "/demo.git")
            .env("GIT_SSL_CAINFO", world.path("ca.pem"))
            .env("CURL_CA_BUNDLE", world.path("ca.pem"))
            .env("NO_PROXY", "localhost,127.0.0.1")
            .env("ASTRA_CREDENTIAL_HOSTS", ports.map(|port| format!("localhost:{port}")).join(","))
            .run();
        assert!(done.output.status.success(), "{page}: {done}");
        assert!(!done.stdout().contains("not found") && !done.stdout().contains("{}"), "{done}");
        assert_eq!(world.astra.exchanges(), 1, "{page}: {done}");
        tried.push(page);
    }
    assert!(tried.len() >= 5, "{tried:?}");
}

#[test]
fn each_action_of_a_workflow_is_pinned() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(".github/workflows");
    let files = fs::read_dir(folder).unwrap().map(|item| item.unwrap().path());
    let texts: String = files.map(|path| fs::read_to_string(path).unwrap()).collect();
    let mut actions = texts.lines().filter_map(|line| line.trim().strip_prefix("- uses: "));
    let pinned = |action: &str| {
        let (_, version) = action.split_once('@').unwrap();
        let (commit, tag) = version.split_once(" # v").unwrap_or_default();
        commit.len() == 40 && commit.bytes().all(|b| b.is_ascii_hexdigit()) && !tag.is_empty()
    };
    assert_eq!(actions.find(|action| !pinned(action)), None);
}

#[test]
fn the_page_about_fleets_quotes_the_simulation() {
    let (_, page) = documentation().into_iter().find(|(name, _)| name == "fleet.md").unwrap();
    let report = fleet::report();
    assert!(page.contains(report.trim_end()), "docs/fleet.md is to quote:\n{report}");
}

fn root(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The archives of a release by the workflow's matrix, each with a different checksum.
fn checksums() -> Vec<(String, String)> {
    let workflow = fs::read_to_string(root(".github/workflows/release.yml")).unwrap();
    let targets =
        workflow.lines().filter_map(|line| line.split_once(", target: ")?.1.strip_suffix(" }"));
    let archive = |(number, target): (usize, &str)| {
        let suffix = if target.contains("windows") { "zip" } else { "tar.gz" };
        let name = format!("astra-credential-v{}-{target}.{suffix}", env!("CARGO_PKG_VERSION"));
        (format!("{:064x}", number + 0xabc), name)
    };
    targets.enumerate().map(archive).collect()
}

/// Fills the templates from these checksums, in the folder `filled` of the home.
fn filled<'a>(world: &'a World, sums: &[(String, String)]) -> crate::world::Done<'a> {
    let text: String = sums.iter().map(|(sum, name)| format!("{sum}  {name}\n")).collect();
    let sums = world.write("SHA256SUMS", text);
    let folder = world.path("filled");
    fs::create_dir_all(&folder).unwrap();
    let fill = world.call_as("bash", "").arg(root("packaging/fill")).arg("owner/name");
    fill.arg(sums).arg(folder).run()
}

#[test]
fn a_release_fills_the_formula_and_the_krew_manifest() {
    let world = World::new();
    let sums = checksums();
    assert_eq!(sums.len(), 5, "{sums:?}");
    filled(&world, &sums).quiet();
    let read = |name: &str| fs::read_to_string(world.path("filled").join(name)).unwrap();
    let (formula, manifest) = (read("astra-credential.rb"), read("astra-credential.yaml"));
    for (sum, name) in &sums {
        let url = format!(
            "https://github.com/owner/name/releases/download/v{}/{name}",
            env!("CARGO_PKG_VERSION")
        );
        let entry = format!("uri: {url}\n      sha256: \"{sum}\"\n");
        assert!(manifest.contains(&entry), "{entry}{manifest}");
        if !name.contains("windows") {
            let entry = format!("url \"{url}\"\n      sha256 \"{sum}\"\n");
            assert!(formula.contains(&entry), "{entry}{formula}");
        }
    }
    for text in [&formula, &manifest] {
        assert!(!text.contains('@') && text.contains(env!("CARGO_PKG_VERSION")), "{text}");
    }
    assert!(LINKS.iter().all(|link| formula.contains(link)), "{formula}");
}

#[test]
fn templates_are_not_filled_without_a_checksum_for_each_archive() {
    let world = World::new();
    for missing in 0..checksums().len() {
        let mut sums = checksums();
        let (_, name) = sums.remove(missing);
        let error = filled(&world, &sums).failure(1);
        assert!(error.starts_with("fill: no ") && !name.is_empty(), "{error}");
    }
}

#[test]
fn binstall_finds_the_archives_of_a_release() {
    let manifest = fs::read_to_string(root("Cargo.toml")).unwrap();
    let value = |section: &str, key: &str| {
        let (_, rest) = manifest.split_once(&format!("[package.metadata.binstall{section}]\n"))?;
        let section = rest.split("\n[").next()?;
        let line = section.lines().find_map(|line| line.strip_prefix(&format!("{key} = \"")))?;
        line.strip_suffix('"')
    };
    let mut targets =
        vec!["x86_64-unknown-linux-gnu".to_owned(), "aarch64-unknown-linux-gnu".to_owned()];
    let version = env!("CARGO_PKG_VERSION");
    let start = format!("astra-credential-v{version}-");
    let archives: Vec<_> = checksums().into_iter().map(|(_, name)| name).collect();
    for archive in &archives {
        let target = archive.strip_prefix(&start).unwrap();
        targets.push(target.replace(".tar.gz", "").replace(".zip", ""));
    }
    for target in targets {
        let section = format!(".overrides.{target}");
        let own = |key| value(&section, key).or_else(|| value("", key)).unwrap();
        let suffix = if own("pkg-fmt") == "zip" { ".zip" } else { ".tar.gz" };
        let url = own("pkg-url").replace("{ name }", "astra-credential");
        let url = url.replace("{ version }", version).replace("{ target }", &target);
        let (before, archive) = url.rsplit_once('/').unwrap();
        assert_eq!(before, format!("{{ repo }}/releases/download/v{version}"));
        assert!(archives.contains(&archive.to_owned()), "{target}: {archive}");
        let folder = own("bin-dir").replace("{ name }", "astra-credential");
        let folder = folder.replace("{ version }", version).replace("{ target }", &target);
        let folder = folder.split('/').next().unwrap();
        assert_eq!(archive, format!("{folder}{suffix}"));
    }
}
