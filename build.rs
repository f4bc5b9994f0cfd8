//! Says which commit this is and for which target, for `--version`. Without git, or outside of a
//! clone, as in a package from crates.io, the target alone.

#![allow(clippy::print_stdout, reason = "this is how cargo is spoken to")]

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // What a commit, a checkout or a garbage collection changes. A path that is not there would have
    // cargo run this at every build.
    for name in ["HEAD", "refs/heads", "packed-refs", "reftable"] {
        let path = git(&["rev-parse", "--git-path", name]);
        if let Some(path) = path.filter(|path| Path::new(path).exists()) {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    let target = std::env::var("TARGET").unwrap_or_default();
    let commit = git(&["rev-parse", "--short=7", "HEAD"]);
    let build = commit.map_or(target.clone(), |commit| format!("{commit}, {target}"));
    println!("cargo:rustc-env=BUILD={build}");
}

/// Asks git about this folder's own clone: a package unpacked in somebody else's is not from there.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("--git-dir=.git").args(arguments).output().ok()?;
    let line = String::from_utf8(output.stdout).ok()?.trim_end().to_owned();
    (output.status.success() && !line.is_empty()).then_some(line)
}
