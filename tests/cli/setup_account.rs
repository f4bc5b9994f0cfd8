//! `setup account`: the account file, and the prompt for its content.

use std::fs;
use std::io::{Read as _, Write as _};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::setup::tree;
use crate::world::{BINARY, Done, World, finish, mode, needs, set_mode};

/// `setup account` with that input.
fn store<'a>(world: &'a World, account: &str) -> Done<'a> {
    world.call("setup account").input(account).run()
}

#[test]
fn the_account_is_stored_privately() {
    let world = World::new();
    let account = world.astra.account_json();
    fs::remove_dir_all(world.path(".config")).unwrap();
    let stored = store(&world, &format!("\n{account}"));
    assert_eq!(stored.code(), 0, "{stored}");
    assert_eq!(fs::read_to_string(world.account_file()).unwrap(), format!("{}\n", account.trim()));
    assert_eq!(mode(&world.account_file()), 0o600);
    assert_eq!(mode(world.account_file().parent().unwrap()), 0o700);
    assert!(!world.token().is_empty());
}

#[test]
fn an_account_that_is_stored_already_is_found() {
    let world = World::new();
    let account = world.astra.account_json();
    store(&world, &account).quiet();
    let again = store(&world, &account);
    let found = again.quiet();
    assert!(found.starts_with("found service account 00000000-fake-"), "{again}");
    assert!(found.contains(&format!("stored in {}", world.account_file().display())), "{again}");
    set_mode(&world.account_file(), 0o640);
    assert!(store(&world, &account).quiet().starts_with("wrote "));
    assert_eq!(mode(&world.account_file()), 0o600);
}

/// The temporary file may hold the secret.
#[test]
fn the_temporary_file_of_a_killed_call_is_removed() {
    let world = World::new();
    let account = world.astra.account_json();
    let left = world.path(".config/astra-credential/.service-account.json.astra-1");
    fs::write(&left, &account).unwrap();
    store(&world, &account).quiet();
    assert!(!left.exists());
}

#[test]
fn a_new_secret_of_the_same_account_takes_the_place_of_the_old_one() {
    let world = World::new();
    let account = world.astra.account_json();
    set_mode(&world.account_file(), 0o644);
    set_mode(world.account_file().parent().unwrap(), 0o755);
    world.astra.set_secret("00000000-fake-4000-8000-rotated0000");
    let rotated = world.astra.account_json();
    assert_ne!(rotated, account);
    assert!(store(&world, &rotated).quiet().starts_with("wrote "));
    assert_eq!(mode(&world.account_file()), 0o600);
    assert_eq!(mode(world.account_file().parent().unwrap()), 0o700);
    assert!(!world.token().is_empty());
}

/// `setup account --min-valid 1h < /dev/null`
fn without_input(world: &World) -> Done<'_> {
    let line = r#"exec "$0" setup account --min-valid 1h < /dev/null"#;
    world.call_as("sh", "-c").arg(line).arg(BINARY).run()
}

#[test]
fn a_setting_of_a_stored_account_changes_without_its_secret() {
    let world = World::new();
    let before = fs::read(world.account_file()).unwrap();
    let done = without_input(&world);
    let shown = done.quiet();
    assert!(shown.starts_with("found service account 00000000-fake-"), "{done}");
    let config = fs::read_to_string(world.path(".config/astra-credential/config.json")).unwrap();
    assert!(config.contains("\"min_valid\": \"1h\""), "{config}");
    assert_eq!(fs::read(world.account_file()).unwrap(), before);
    let again = without_input(&world).quiet();
    assert!(again.lines().all(|line| line.starts_with("found ")), "{again}");
}

#[test]
fn no_new_secret_is_stored_for_an_account_whose_setting_cannot_be_written() {
    let world = World::new();
    let config = r#"{"accounts": {"default": {"min_valid": "2h"}}}"#;
    let path = world.write(".config/astra-credential/config.json", config);
    set_mode(&path, 0o600);
    world.astra.set_secret("00000000-fake-4000-8000-rotated0000");
    let before = tree(&world);
    let rotated = world.astra.account_json();
    let done = world.call("setup account --min-valid 1h").input(rotated).run();
    done.failure(1);
    assert_eq!(tree(&world), before, "{done}");
}

/// The output of `setup account --timeout 0.5s` with that pipe as its input, which stays open.
fn with_open_pipe(world: &World, written: &[u8]) -> (i32, String, String) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(written).unwrap();
    let start = Instant::now();
    let mut command = world.call("setup account --timeout 0.5s").command();
    let done = finish(command.stdin(reader).spawn().unwrap());
    drop(writer);
    assert!(start.elapsed() < Duration::from_secs(20));
    done
}

#[test]
fn a_pipe_that_stays_open_has_a_time_out() {
    let world = World::new();
    let before = tree(&world);
    let account = world.astra.account_json();
    for written in ["", "{", account.as_str()] {
        let (code, stdout, stderr) = with_open_pipe(&world, written.as_bytes());
        assert_eq!((code, stdout.as_str()), (3, ""), "{stderr}");
        let expected = "cannot read the account file `/dev/stdin`: nothing came out of it in time";
        assert!(stderr.contains(expected), "{stderr}");
    }
    assert_eq!(tree(&world), before);
}

#[test]
fn an_account_that_comes_in_parts_through_a_pipe_is_stored() {
    let (world, _) = world_without_account();
    let account = world.astra.account_json();
    let script = r#"(printf '%s' "$1"; sleep 0.2; printf '%s' "$2") | exec "$0" setup account"#;
    let (start, end) = account.split_at(20);
    world.call_as("sh", "-c").arg(script).arg(BINARY).arg(start).arg(end).run().quiet();
    assert_eq!(fs::read_to_string(world.account_file()).unwrap().trim(), account.trim());
}

#[test]
fn an_empty_pipe_is_no_consent_to_keep_the_stored_account() {
    let world = World::new();
    let before = tree(&world);
    let done = world.call("setup account --min-valid 1h").input("\n").run();
    assert!(done.failure(3).contains("is empty"), "{done}");
    assert_eq!(tree(&world), before);
}

#[test]
fn a_setting_of_a_stored_account_and_its_new_secret_change_together() {
    let world = World::new();
    world.astra.set_secret("00000000-fake-4000-8000-rotated0000");
    let rotated = world.astra.account_json();
    world.call("setup account --min-valid 1h").input(rotated.as_str()).run().quiet();
    assert_eq!(fs::read_to_string(world.account_file()).unwrap().trim(), rotated.trim());
    let config = fs::read_to_string(world.path(".config/astra-credential/config.json")).unwrap();
    assert!(config.contains("\"min_valid\": \"1h\""), "{config}");
}

#[test]
fn no_setting_is_written_for_an_account_that_is_not_stored_or_cannot_be_used() {
    let world = World::new();
    set_mode(&world.account_file(), 0o644);
    let before = tree(&world);
    let exposed = without_input(&world);
    assert!(exposed.failure(3).contains("may be read by everybody"), "{exposed}");
    let missing = world.call("setup account --account prod --min-valid 1h").run();
    assert!(missing.failure(3).contains("is empty"), "{missing}");
    assert_eq!(tree(&world), before);
}

#[test]
fn another_account_and_damaged_content_are_refused() {
    let world = World::new();
    let account = fs::read_to_string(world.account_file()).unwrap();
    let bad = store(&world, "{\"clientId\":\"i\",\"clientSecret\":\"hunter2\"}");
    let other = store(&world, &account.replace("client000000", "another00000"));
    let empty = store(&world, "");
    for done in [&bad, &other, &empty] {
        assert!(!done.stderr().contains("hunter2") && done.code() == 3, "{done}");
        assert!(!done.stderr().contains("secret000"), "{done}");
    }
    assert_eq!(fs::read_to_string(world.account_file()).unwrap(), account);
    let errors = [bad, other, empty].map(|done| done.stderr()).join("\n");
    let home = world.home.path().to_string_lossy().into_owned();
    insta::assert_snapshot!(errors.replace(&home, "~"), @"
    astra-credential: the account file `/dev/stdin` has no `clientName`
    hint: copy the service account (`clientId`, `clientName`, `clientSecret`) or the application token (`AstraCS:...`) from Astra's dashboard anew

    astra-credential: `~/.config/astra-credential/service-account.json` is not the file of the same account, and is kept
    hint: move it away first: `mv ~/.config/astra-credential/service-account.json ~/.config/astra-credential/service-account.json.old`

    astra-credential: the account file `/dev/stdin` is empty
    hint: copy the service account (`clientId`, `clientName`, `clientSecret`) or the application token (`AstraCS:...`) from Astra's dashboard anew
    ");
}

/// Types keys on a terminal at `setup account`. Returns the exit code and the output of the terminal, which
/// ends with its modes and with the input that was not read.
fn typed(world: &World, keys: &str) -> (i32, String) {
    let rest = "code=$?; stty -a; timeout --foreground 0.3 head -n 1; exit $code";
    let binary = world.link("astra-credential");
    let script =
        format!("stty echo icanon isig iexten; {} setup account; {rest}", binary.display());
    let call = world.call_as("timeout", "30 script -qec").arg(script).arg("/dev/null");
    let mut child = call.command().stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut shown = Vec::new();
    while !shown.ends_with(b"not shown: ") {
        let mut byte = [0];
        stdout.read_exact(&mut byte).unwrap();
        shown.extend(byte);
    }
    stdin.write_all(keys.as_bytes()).unwrap();
    stdout.read_to_end(&mut shown).unwrap();
    (finish(child).0, String::from_utf8(shown).unwrap())
}

/// Types keys without an account at the prompt of `setup account`, which fails and writes no file.
fn typed_without_success(keys: impl Fn(&str) -> String) -> i32 {
    let (world, secret) = world_without_account();
    let (code, shown) = typed(&world, &keys(&secret));
    assert!(code != 0 && is_restored(&shown) && !shown.contains(&secret), "{code} {shown}");
    assert!(!world.account_file().exists());
    code
}

/// Types keys with an account at the prompt of `setup account`, which stores it.
fn typed_with_success(keys: impl Fn(&World) -> String) {
    let (world, secret) = world_without_account();
    let (code, shown) = typed(&world, &keys(&world));
    assert!(code == 0 && is_restored(&shown) && !shown.contains(&secret), "{code} {shown}");
    assert!(shown.contains("It is not shown") && shown.contains("wrote "), "{shown}");
    assert!(!shown.contains("pasted too much"), "{shown}");
    assert!(fs::read_to_string(world.account_file()).unwrap().contains(&secret));
    assert_eq!(mode(&world.account_file()), 0o600);
}

/// A world without an account file, and the secret of its account.
fn world_without_account() -> (World, String) {
    let world = World::new();
    let text = fs::read_to_string(world.account_file()).unwrap();
    let account: serde_json::Value = serde_json::from_str(&text).unwrap();
    fs::remove_file(world.account_file()).unwrap();
    (world, account["clientSecret"].as_str().unwrap().to_owned())
}

/// True if the terminal has the modes of a shell.
fn is_restored(shown: &str) -> bool {
    let words: Vec<_> = shown.split([' ', ';', '\r', '\n']).collect();
    ["echo", "icanon", "isig", "iexten"].iter().all(|mode| words.contains(mode))
}

#[test]
fn a_prompt_that_ctrl_c_ends_shows_nothing_and_restores_the_terminal() {
    needs!("script");
    typed_without_success(|secret| format!("{secret}\u{3}"));
}

#[test]
fn a_prompt_shows_nothing_of_what_is_no_account_and_restores_the_terminal() {
    needs!("script");
    assert_eq!(typed_without_success(|secret| format!("{secret}\n")), 3);
}

#[test]
fn a_prompt_takes_an_account_in_one_line_with_a_key_corrected() {
    needs!("script");
    typed_with_success(|world| format!("x\u{7f}{}\n", world.astra.account_json()));
}

#[test]
fn a_prompt_takes_an_account_in_several_lines_and_discards_the_rest() {
    needs!("script");
    typed_with_success(|world| {
        let account: serde_json::Value = serde_json::from_str(&world.astra.account_json()).unwrap();
        let pretty = serde_json::to_string_pretty(&account).unwrap();
        format!("{pretty}\necho pasted too much\n")
    });
}

#[test]
fn a_terminal_is_not_asked_for_a_secret_that_is_stored() {
    needs!("script");
    let world = World::new();
    let line = format!("{} setup account --min-valid 1h", world.link("astra-credential").display());
    let done = world.call_as("timeout", "30 script -qec").arg(line).arg("/dev/null").run();
    assert_eq!(done.code(), 0, "{done}");
    assert!(done.stdout().starts_with("found service account "), "{done}");
}
