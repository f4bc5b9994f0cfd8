//! The rules of the crate's doc about absent code and imports, and the lists that have to be complete.

use std::fs;
use std::path::{Path, PathBuf};

/// The Rust files in a folder and below it.
pub fn sources(folder: &Path) -> Vec<PathBuf> {
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

/// The sources that have `word` in their code, without tests and comments.
fn who_says(word: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let says = |path: &PathBuf| {
        let code = code_of(path);
        let is_said = |line: &str| {
            let starts = line.match_indices(word).map(|(at, _)| &line[..at]);
            starts
                .into_iter()
                .any(|before| !before.ends_with(|c: char| c.is_alphanumeric() || c == '_'))
        };
        code.lines().any(is_said)
    };
    let name = |path: PathBuf| path.strip_prefix(&root).expect("below src").display().to_string();
    let mut found: Vec<_> = sources(&root).into_iter().filter(says).map(name).collect();
    found.sort();
    found
}

#[test]
fn each_part_of_the_system_is_used_in_one_place() {
    let doors: [(&str, &[&str]); 14] = [
        ("env::", &["main.rs", "settings/setting.rs"]),
        ("SystemTime", &["timestamp.rs"]),
        ("ureq::", &["exchange.rs", "exchange/connection.rs"]),
        (
            "rustls::",
            &["exchange.rs", "exchange/connection.rs", "exchange/tls.rs", "exchange/trust.rs"],
        ),
        ("fs2::", &["cache/queue.rs"]),
        (".try_lock()", &[]),
        ("ring::aead", &["seal.rs"]),
        ("ring::hkdf", &["seal.rs"]),
        ("ring::rand", &["seal.rs"]),
        ("clap_mangen::", &["manual.rs"]),
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
        ("crate::exchange::{self", &["command/doctor/network.rs"][..]),
        ("crate::exchange::Exchange", &["service.rs"]),
        ("crate::broker", &["service.rs"]),
        (
            "crate::cache",
            &[
                "broker.rs",
                "command/doctor/account.rs",
                "command/doctor/cache.rs",
                "command/doctor/subject.rs",
                "command/setup/lock.rs",
                "command/status.rs",
                "service.rs",
            ],
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

/// The code of a source, without its tests and comments.
fn code_of(path: &Path) -> String {
    let source = fs::read_to_string(path).expect("a source");
    let code = source.split("\nmod tests {").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// `command::setup` for `command/setup.rs`, and an empty path for `main.rs`.
fn module_of(path: &Path, root: &Path) -> Vec<String> {
    let below = path.strip_prefix(root).expect("below src").with_extension("");
    let names = below.iter().map(|name| name.to_string_lossy().into_owned());
    names.filter(|name| name != "main").collect()
}

/// Expands `a::{b, c::{d, e}}` to `a::b`, `a::c::d` and `a::c::e`.
fn expand(tree: &str) -> Vec<String> {
    let Some((before, rest)) = tree.split_once('{') else {
        return vec![tree.trim().to_owned()];
    };
    let inner = rest.rsplit_once('}').expect("a closing brace").0;
    let (mut depth, mut parts) = (0_u32, vec![String::new()]);
    for c in inner.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        match c {
            ',' if depth == 0 => parts.push(String::new()),
            c => parts.last_mut().expect("a part").push(c),
        }
    }
    let parts = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty());
    parts.flat_map(expand).map(|part| format!("{}{part}", before.trim())).collect()
}

/// The modules of this crate that the `code` of `module` names in a `use` or in a path.
fn imports(code: &str, module: &[String], modules: &[Vec<String>]) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    let starts_statement = |at: usize| {
        let before = code[..at].trim_end_matches("pub ").trim_end_matches("pub(super) ");
        let before = before.trim_end_matches(' ');
        before.is_empty() || before.ends_with(['\n', '{'])
    };
    for (at, _) in code.match_indices("use ").filter(|(at, _)| starts_statement(*at)) {
        let end = code[at..].find(';').expect("an end of the import") + at;
        paths.extend(expand(&code[at + "use ".len()..end]));
    }
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    paths.extend(code.split(|c| !is_part(c)).map(str::to_owned));
    let absolute = |path: &String| {
        let mut names: Vec<_> = path.split("::").map(str::to_owned).collect();
        let mut base = match names.first()?.as_str() {
            "crate" => Vec::new(),
            "self" | "super" => module.to_vec(),
            // The first name may be that of a child of the module.
            first if names.len() > 1 => {
                let child: Vec<_> = module.iter().cloned().chain([first.to_owned()]).collect();
                return modules.contains(&child).then_some(child);
            }
            _ => return None,
        };
        while let Some("super" | "self" | "crate") = names.first().map(String::as_str) {
            if names.remove(0) == "super" {
                base.pop();
            }
        }
        base.extend(names);
        // The longest start of the path that is a module. The rest are items in it.
        while !modules.contains(&base) {
            base.pop()?;
        }
        Some(base)
    };
    let mut found: Vec<_> = paths.iter().filter_map(absolute).collect();
    found.retain(|other| other != module && !other.is_empty());
    found.sort();
    found.dedup();
    found
}

#[test]
fn no_module_imports_itself_by_way_of_others() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let paths = sources(&root);
    let modules: Vec<_> = paths.iter().map(|path| module_of(path, &root)).collect();
    let mut waiting: Vec<_> = paths
        .iter()
        .zip(&modules)
        .map(|(path, module)| (module.clone(), imports(&code_of(path), module, &modules)))
        .collect();
    let edges: usize = waiting.iter().map(|(_, imports)| imports.len()).sum();
    assert!(edges > 50, "{edges} imports found");
    // Removes every module that imports none of the rest, or that none of the rest imports.
    loop {
        let before = waiting.clone();
        let is_left = |module: &Vec<String>| before.iter().any(|(left, _)| left == module);
        let is_imported =
            |module: &Vec<String>| before.iter().any(|(_, imports)| imports.contains(module));
        waiting.retain(|(module, imports)| imports.iter().any(is_left) && is_imported(module));
        if waiting.len() == before.len() {
            break;
        }
    }
    let left: Vec<_> = waiting.iter().map(|(module, _)| module.clone()).collect();
    let circles: Vec<String> = waiting
        .iter()
        .map(|(module, imports)| {
            let back = imports.iter().filter(|import| left.contains(import));
            let back: Vec<_> = back.map(|import| import.join("::")).collect();
            format!("{} imports {}", module.join("::"), back.join(", "))
        })
        .collect();
    assert!(circles.is_empty(), "circles, or modules between two:\n{}", circles.join("\n"));
}

/// The lines of the drawing in the crate's doc, each a list of modules.
fn drawing() -> Vec<Vec<String>> {
    let doc = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/main.rs"));
    let doc = doc.expect("the crate's doc");
    let (_, drawing) =
        doc.split_once("imports only modules of the lines above").expect("a drawing");
    let block = drawing.split("//! ```").nth(1).expect("a block");
    let lines = block.lines().skip(1).map(|line| line.trim_start_matches("//! "));
    lines.map(|line| line.split(", ").map(str::to_owned).collect()).collect()
}

#[test]
fn each_module_imports_only_modules_of_the_lines_above_it_in_the_crates_doc() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let paths = sources(&root);
    let modules: Vec<_> = paths.iter().map(|path| module_of(path, &root)).collect();
    let lines = drawing();
    let line_of = |name: &str| lines.iter().position(|line| line.iter().any(|it| it == name));
    for (path, module) in paths.iter().zip(&modules) {
        let Some(name) = module.first() else { continue };
        let line = line_of(name).unwrap_or_else(|| panic!("{name} is missing from the drawing"));
        for other in imports(&code_of(path), module, &modules).iter().map(|import| &import[0]) {
            let above = line_of(other).is_some_and(|other| other < line);
            assert!(above || other == name, "{} imports {other}", module.join("::"));
        }
    }
    let drawn = lines.concat().len();
    assert_eq!(drawn, modules.iter().filter(|module| module.len() == 1).count());
}

#[test]
fn the_finder_of_circles_reads_every_form_of_an_import() {
    let modules: Vec<Vec<String>> = ["a", "a::b", "a::c", "d"]
        .map(|module| module.split("::").map(str::to_owned).collect())
        .into();
    let found = |code: &str| -> Vec<String> {
        let here = ["a".to_owned(), "b".to_owned()];
        imports(code, &here, &modules).iter().map(|module| module.join("::")).collect()
    };
    assert_eq!(found("use crate::d::Item;"), ["d"]);
    assert_eq!(found("use crate::{a::c::{Item, Other}, d};"), ["a::c", "d"]);
    assert_eq!(found("use super::Item;"), ["a"]);
    assert_eq!(found("fn f() { super::c::g() }"), ["a::c"]);
    assert_eq!(found("fn f() -> crate::d::Item { g() }"), ["d"]);
    assert_eq!(found("use std::fs; fn f() { serde_json::to_vec() }"), [""; 0]);
}

/// With musl and an entry point of its own, `std::env::args` is empty.
#[test]
fn the_arguments_come_from_one_function() {
    let source = page("src/main.rs");
    assert_eq!(source.matches("args_os()").count(), 1, "all others call `arguments`");
    assert_eq!(who_says("env::args()"), [""; 0]);
}

#[test]
fn no_todo_is_left() {
    for word in ["todo!", "unimplemented!", "dbg!", "FIXME"] {
        assert_eq!(who_says(word), [""; 0], "who says `{word}`");
    }
}

fn page(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect("a page")
}

#[test]
fn every_transcript_belongs_to_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for item in fs::read_dir(root.join("snapshots")).expect("the transcripts") {
        let file = item.expect("a name").file_name().to_string_lossy().into_owned();
        let Some(name) = file.strip_suffix(".snap") else { continue };
        let (module, test) = name.split_once("__").expect("a module and a test");
        let module = module.trim_start_matches(|c: char| c.is_ascii_digit() || c == '_');
        let source = page(&format!("tests/cli/{module}.rs"));
        assert!(source.contains(&format!("fn {test}()")), "no test writes {file}");
    }
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
