//! `docs/promises.md` names the tests that show each promise. This test checks the names.

use std::fs;
use std::path::{Path, PathBuf};

use crate::tidy::sources;

/// True if `module::name` is a test, beside the source or in this folder.
fn exists(test: &str, files: &[PathBuf]) -> bool {
    let Some((module, name)) = test.split_once("::") else {
        return false;
    };
    let of_module = files.iter().filter(|file| file.file_stem().is_some_and(|it| it == module));
    let has_test = |file: &PathBuf| {
        let source = fs::read_to_string(file);
        source.is_ok_and(|source| source.contains(&format!("fn {name}(")))
    };
    of_module.into_iter().any(has_test)
}

#[test]
fn every_promise_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files: Vec<_> = ["src", "tests/cli"].map(|folder| sources(&root.join(folder))).concat();
    let page = fs::read_to_string(root.join("docs/promises.md")).expect("the page of promises");
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
            assert!(exists(name, &files), "no such test: {name}");
        }
    }
}
