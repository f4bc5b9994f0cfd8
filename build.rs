//! Sets the commit and the target for `--version`. Without git, or outside of a clone, as in a published
//! package, sets only the target. Fails if an old glibc would be linked statically. Adds the order of
//! functions to a link with musl.

#![allow(clippy::print_stdout, reason = "this is how cargo is spoken to")]

use std::path::Path;
use std::process::Command;

/// The minor version of the first glibc 2 that can be linked statically. An older one opens the name
/// service modules of the system that it runs on, which are those of another version, and crashes.
const OLDEST_STATIC_GLIBC: u32 = 34;

fn main() -> Result<(), String> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/warm.ld");
    check_glibc()?;
    order_functions();
    // The paths that a commit, a checkout or a garbage collection changes. With a path that does not
    // exist, cargo would run this at every build.
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
    Ok(())
}

/// Fails if this machine's glibc would be linked statically and is too old for that. In a cross build,
/// glibc is not checked.
fn check_glibc() -> Result<(), String> {
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|found| found == value);
    let features = std::env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    let is_static = features.split(',').any(|feature| feature == "crt-static");
    let is_glibc = is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu");
    let is_native = std::env::var("HOST") == std::env::var("TARGET");
    let version = is_static && is_glibc && is_native;
    let Some(version) = version.then(|| output("getconf", &["GNU_LIBC_VERSION"])).flatten() else {
        return Ok(());
    };
    let minor = version.strip_prefix("glibc 2.").and_then(|rest| rest.split('.').next());
    match minor.and_then(|minor| minor.parse::<u32>().ok()) {
        Some(minor) if minor < OLDEST_STATIC_GLIBC => Err(format!(
            "a binary with {version} linked statically would crash on other machines (that takes 2.34 or newer): \
             build with `RUSTFLAGS=` in the environment for a dynamic one, or with `bash .ci/static` for a static one"
        )),
        _ => Ok(()),
    }
}

/// Gives src/warm.ld to the linker if the target is musl. mold reads no linker scripts.
fn order_functions() {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let is_musl =
        variable("CARGO_CFG_TARGET_OS") == "linux" && variable("CARGO_CFG_TARGET_ENV") == "musl";
    let is_mold = ["RUSTC_LINKER", "CARGO_ENCODED_RUSTFLAGS"]
        .iter()
        .any(|name| variable(name).contains("mold"));
    if is_musl && !is_mold {
        println!("cargo:rustc-link-arg-bins=-T{}/src/warm.ld", variable("CARGO_MANIFEST_DIR"));
    }
}

/// Runs git for this folder's own clone. A clone around it is ignored, since a package may be unpacked in
/// one.
fn git(arguments: &[&str]) -> Option<String> {
    output("git", &[&["--git-dir=.git"], arguments].concat())
}

/// The output of a program, if it succeeds and prints something.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let line = String::from_utf8(output.stdout).ok()?.trim_end().to_owned();
    (output.status.success() && !line.is_empty()).then_some(line)
}
