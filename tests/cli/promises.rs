//! `docs/promises.md` names the tests that show each promise; this keeps the names true.

use std::fs;
use std::path::Path;

/// True if `module::name` is a test, beside the source or in this folder.
fn exists(test: &str) -> bool {
    let Some((module, name)) = test.split_once("::") else {
        return false;
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [
        "tests/cli",
        "src",
        "src/protocol",
        "src/command",
        "src/settings",
        "src/exchange",
        "src/error",
    ];
    folders.iter().any(|folder| {
        let source = fs::read_to_string(root.join(folder).join(module).with_extension("rs"));
        source.is_ok_and(|source| source.contains(&format!("fn {name}(")))
    })
}

#[test]
fn every_promise_names_tests_that_exist() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/promises.md");
    let page = fs::read_to_string(page).expect("the page of promises");
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| promise |"))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    assert!(rows.len() >= 30, "{} rows", rows.len());
    for row in rows {
        assert_eq!(row.len(), 3, "{row:?}");
        let (promise, tests, figure) = (row[0], row[1], row[2]);
        assert!(!promise.is_empty() && !figure.is_empty(), "{row:?}");
        let names: Vec<_> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test for: {promise}");
        for name in names {
            assert!(exists(name), "no such test: {name}");
        }
    }
}
