//! The rules about what is absent, which the crate's doc states.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for item in fs::read_dir(folder).expect("a folder of sources") {
        let path = item.expect("a name").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The sources that say `word` in code, tests and comments aside.
fn who_says(word: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let says = |path: &PathBuf| {
        let source = fs::read_to_string(path).expect("a source");
        let code = source.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().to_owned();
        let is_said = |line: &str| {
            let starts = line.match_indices(word).map(|(at, _)| &line[..at]);
            starts
                .into_iter()
                .any(|before| !before.ends_with(|c: char| c.is_alphanumeric() || c == '_'))
        };
        code.lines().any(|line| !line.trim_start().starts_with("//") && is_said(line))
    };
    let name = |path: PathBuf| path.strip_prefix(&root).expect("below src").display().to_string();
    let mut found: Vec<_> = sources(&root).into_iter().filter(says).map(name).collect();
    found.sort();
    found
}

#[test]
fn each_part_of_the_world_has_one_door() {
    let doors: [(&str, &[&str]); 13] = [
        ("env::", &["main.rs", "settings.rs"]),
        ("SystemTime", &["timestamp.rs"]),
        ("ureq::", &["exchange.rs", "exchange/connection.rs"]),
        (
            "rustls::",
            &["exchange.rs", "exchange/connection.rs", "exchange/tls.rs", "exchange/trust.rs"],
        ),
        ("fs2::", &["cache/queue.rs"]),
        ("ring::aead", &["seal.rs"]),
        ("ring::hkdf", &["seal.rs"]),
        ("ring::rand", &["seal.rs"]),
        ("clap_mangen::", &["command/manual.rs"]),
        ("println!", &[]),
        ("io::stdout()", &["main.rs"]),
        ("io::stderr()", &["message.rs"]),
        ("unsafe ", &["start.rs"]),
    ];
    for (word, places) in doors {
        assert_eq!(who_says(word), places, "who says `{word}`");
    }
}

#[test]
fn adapters_never_import_each_other_and_the_broker_knows_no_http() {
    for adapter in ["kubernetes", "git", "bazel", "docker", "terraform"] {
        let word = format!("protocol::{adapter}");
        assert_eq!(who_says(&word), ["main.rs"], "who says `{word}`");
        let sibling = format!("super::{adapter}");
        assert_eq!(who_says(&sibling), [""; 0], "who says `{sibling}`");
    }
    for (word, places) in [
        ("crate::exchange::{self", &["command/doctor.rs"][..]),
        ("crate::exchange::Exchange", &["service.rs"]),
        ("crate::broker", &["service.rs"]),
        (
            "crate::cache",
            &["broker.rs", "command/doctor.rs", "command/status.rs", "main.rs", "service.rs"],
        ),
        (
            "crate::seal",
            &[
                "cache.rs",
                "cache/failure.rs",
                "cache/file.rs",
                "cache/queue.rs",
                "cache/sweep.rs",
                "exchange.rs",
                "service.rs",
            ],
        ),
    ] {
        assert_eq!(who_says(word), places, "who says `{word}`");
    }
}

#[test]
fn nothing_is_left_for_later() {
    for word in ["todo!", "unimplemented!", "dbg!", "FIXME"] {
        assert_eq!(who_says(word), [""; 0], "who says `{word}`");
    }
}

fn page(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect("a page")
}

#[test]
fn the_pages_for_users_name_every_flag_and_every_variable() {
    let sources: String = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
        .iter()
        .map(|path| fs::read_to_string(path).expect("a source"))
        .collect();
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let words = sources.split(|c| !is_part(c));
    let mut names: Vec<_> = words
        .filter(|word| {
            word.starts_with("ASTRA_") || word.starts_with("--") && !word.starts_with("---")
        })
        .filter(|word| {
            word.len() > 6 && !word.contains("exec-") && !word.contains("credential_helper")
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    assert!(names.len() > 15, "{names:?}");
    let folder = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")).expect("docs");
    let pages = folder.map(|item| fs::read_to_string(item.expect("a page").path()));
    let pages: String = pages.map(|text| text.expect("a page")).collect();
    let pages = pages + &page("README.md");
    for name in names {
        assert!(
            [
                "--help",
                "--weird",
                "--shell",
                "--global",
                "--get-all",
                "--replace-all",
                "--kubeconfig"
            ]
            .contains(&name)
                || pages.contains(name),
            "{name}"
        );
    }
}

#[test]
fn the_readme_counts_the_crates() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let tree =
        "tree --offline --prefix none -e normal,no-proc-macro --target x86_64-unknown-linux-gnu";
    let output = std::process::Command::new(cargo)
        .args(tree.split(' '))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo");
    let listed = String::from_utf8(output.stdout).expect("UTF-8");
    let crates: std::collections::BTreeSet<_> =
        listed.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    let others = crates.len() - 1;
    assert!(
        page("README.md").contains(&format!("has {others} other crates linked in")),
        "{others}"
    );
}
