//! The cache: its content on disk is not trusted, and an error of the cache does not cost the token.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, chown, symlink};
use std::path::Path;
use std::process::Command;

use crate::world::{World, copy_binary, is_root, mode, needs, set_mode, transcript};

/// Damages the entry with `spoil`. The next call has to do an exchange and replace it, and the one after has
/// to be warm.
fn is_a_miss(what: &str, damage: impl FnOnce(&Path)) {
    let world = World::new();
    let before = world.token();
    let entry = world.entry();
    damage(&entry);
    let done = world.call("token").run();
    assert_ne!(done.quiet().trim_end(), before, "{what}");
    assert_eq!(world.astra.exchanges(), 2, "{what}");
    assert_eq!(world.token(), done.stdout().trim_end(), "{what}");
    assert_eq!(world.astra.exchanges(), 2, "{what}");
    assert_eq!(mode(&entry), 0o600, "{what}");
    assert!(world.cached("tmp").is_empty(), "{what}");
}

#[test]
fn a_damaged_entry_is_a_miss() {
    is_a_miss("empty", |entry| fs::write(entry, "").unwrap());
    is_a_miss("foreign", |entry| fs::write(entry, "{\"token\":\"abc\"}").unwrap());
    is_a_miss("zeros", |entry| fs::write(entry, vec![0; 2000]).unwrap());
    is_a_miss("open to others", |entry| set_mode(entry, 0o644));
    is_a_miss("missing", |entry| fs::remove_file(entry).unwrap());
    is_a_miss("4 GiB", |entry| {
        fs::File::options().write(true).open(entry).unwrap().set_len(4 << 30).unwrap()
    });
    is_a_miss("a folder", |entry| {
        fs::remove_file(entry).unwrap();
        fs::create_dir(entry).unwrap();
    });
    is_a_miss("a pipe", |entry| {
        fs::remove_file(entry).unwrap();
        assert!(Command::new("mkfifo").arg(entry).status().unwrap().success());
        assert!(fs::metadata(entry).unwrap().file_type().is_fifo());
    });
    if is_root() {
        is_a_miss("another user's", |entry| chown(entry, Some(12345), None).unwrap());
    }
}

#[test]
fn every_flipped_bit_and_every_truncation_is_a_miss() {
    let world = World::new();
    world.token();
    let whole = fs::read(world.entry()).unwrap();
    let mut exchanges = 1;
    for at in (0..whole.len()).step_by(97) {
        let mut flipped = whole.clone();
        flipped[at] ^= 4;
        for damaged in [&flipped[..], &whole[..at]] {
            fs::write(world.entry(), damaged).unwrap();
            world.call("token").run().quiet();
            exchanges += 1;
            assert_eq!(world.astra.exchanges(), exchanges, "at byte {at}");
        }
    }
}

#[test]
fn an_entry_of_another_account_cannot_be_opened() {
    let world = World::new();
    world.token();
    let first = world.entry();
    world.astra.set_secret("00000000-fake-4000-8000-rotated0000");
    world.write_account(&world.astra.account_json());
    world.token();
    let second = world.cached("entry").into_iter().find(|path| *path != first).unwrap();
    fs::copy(&first, &second).unwrap();
    world.token();
    assert_eq!(world.astra.exchanges(), 3);
}

#[test]
fn nothing_is_written_through_a_link() {
    let world = World::new();
    world.token();
    let entry = world.entry();
    let target = world.write("target", "untouched");
    fs::remove_file(&entry).unwrap();
    symlink(&target, &entry).unwrap();
    world.token();
    assert_eq!(fs::read_to_string(&target).unwrap(), "untouched");
    assert!(fs::symlink_metadata(&entry).unwrap().is_file());

    let lock = world.cached("lock").remove(0);
    fs::remove_file(&lock).unwrap();
    symlink(world.path("created"), &lock).unwrap();
    let done = world.call("token --refresh").run();
    assert_eq!((done.code(), done.stderr().lines().count()), (0, 1), "{done}");
    assert!(!world.path("created").exists());
}

/// Asserts that a call whose cache cannot be used prints the token and one warning.
fn prints_the_token_and_a_warning(arrange: impl FnOnce(&World)) -> String {
    let world = World::new();
    arrange(&world);
    let done = world.call("token").run();
    assert_eq!(done.code(), 0, "{done}");
    assert_eq!(done.stdout().trim_end(), world.astra.last_token().unwrap());
    assert_eq!(done.stderr().lines().count(), 1, "{done}");
    done.to_string()
}

#[test]
fn a_cache_that_cannot_be_used_is_a_warning_and_the_token_is_printed() {
    let a_file =
        prints_the_token_and_a_warning(|world| drop(world.write(".cache", "not a folder")));
    let a_dangling_link = prints_the_token_and_a_warning(|world| {
        symlink(world.path("nowhere/at/all"), world.path(".cache")).unwrap()
    });
    let a_link_to_itself = prints_the_token_and_a_warning(|world| {
        symlink(world.path(".cache"), world.path(".cache")).unwrap()
    });
    transcript!(a_file, a_dangling_link, a_link_to_itself, @"
    $ astra-credential token
    > <token>
    ! astra-credential: warning: cannot use the cache `~/.cache/astra-credential` (Not a directory (os error 20)); going on without it

    $ astra-credential token
    > <token>
    ! astra-credential: warning: cannot use the cache `~/.cache/astra-credential` (File exists (os error 17)); going on without it

    $ astra-credential token
    > <token>
    ! astra-credential: warning: cannot use the cache `~/.cache/astra-credential` (Too many levels of symbolic links (os error 40)); going on without it
    ");
}

#[test]
fn without_a_home_there_is_a_warning_and_no_cache() {
    let world = World::new();
    let account = world.account_file();
    let without = world.call("token --service-account").arg(&account).without("HOME").run();
    let relative = world.call("token --service-account").arg(&account).env("HOME", "here").run();
    for done in [&without, &relative] {
        assert_eq!((done.code(), done.stderr().lines().count()), (0, 1), "{done}");
        assert!(done.stdout().len() > 1000);
    }
    let named = world.call("token --service-account").arg(&account).without("HOME");
    named.env("XDG_CACHE_HOME", world.path("xdg")).run().quiet();
    assert!(world.path("xdg/astra-credential").is_dir());
    transcript!(without, relative, @"
    $ astra-credential token --service-account ~/.config/astra-credential/service-account.json
    > <token>
    ! astra-credential: warning: no cache: without an absolute `HOME`, name a folder with `ASTRA_CREDENTIAL_CACHE_DIR`

    $ HOME=here astra-credential token --service-account ~/.config/astra-credential/service-account.json
    > <token>
    ! astra-credential: warning: no cache: without an absolute `HOME`, name a folder with `ASTRA_CREDENTIAL_CACHE_DIR`
    ");
}

#[test]
fn a_read_only_cache_still_serves_what_it_holds() {
    needs!(root);
    let world = World::new();
    // Root may write to any folder, so that the call needs another user.
    for path in [world.home.path().to_owned(), world.account_file(), world.path("ca.pem")] {
        chown(path, Some(12345), Some(12345)).unwrap();
    }
    for folder in [".config", ".config/astra-credential"] {
        chown(world.path(folder), Some(12345), Some(12345)).unwrap();
    }
    // Other users may have no access to the target folder.
    let binary = world.path("astra-credential");
    copy_binary(&binary);
    let as_user = |line: &str| {
        use std::os::unix::process::CommandExt as _;
        world.call_as(&binary, line).command().uid(12345).gid(12345).output().unwrap()
    };
    let first = as_user("token");
    assert!(first.status.success() && first.stderr.is_empty(), "{first:?}");
    set_mode(&world.cache_dir(), 0o500);
    let warm = as_user("token");
    assert_eq!((warm.stdout, warm.stderr), (first.stdout, Vec::new()));
    let refreshed = as_user("token --refresh");
    assert!(refreshed.status.success());
    assert_eq!(String::from_utf8(refreshed.stderr).unwrap().lines().count(), 1);
    assert_eq!(world.astra.exchanges(), 2);
}

#[test]
fn files_of_dead_processes_and_old_entries_are_deleted() {
    let world = World::new();
    world.token();
    let own = world.entry().with_extension("0123456789abcdef.tmp");
    let others = world.cache_dir().join(format!("{}.0123456789abcdef.tmp", "ab".repeat(16)));
    let old_entry = world.cache_dir().join(format!("{}.entry", "cd".repeat(16)));
    let old_lock = world.cache_dir().join(format!("{}.lock", "cd".repeat(16)));
    let not_ours = world.cache_dir().join("notes.tmp");
    for path in [&own, &others, &old_entry, &old_lock, &not_ours] {
        fs::write(path, "x").unwrap();
    }
    world.call("token --refresh").run().quiet();
    assert!(!own.exists() && others.exists() && old_entry.exists());
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(31 * 24 * 3600);
    for path in [&others, &old_entry, &old_lock, &not_ours] {
        fs::File::options().write(true).open(path).unwrap().set_modified(long_ago).unwrap();
    }
    world.call("token --refresh").run().quiet();
    assert!(!others.exists() && !old_entry.exists() && !old_lock.exists());
    assert!(not_ours.exists());
}

#[test]
fn a_given_folder_is_made_private_and_used() {
    let world = World::new();
    let folder = world.path("a/b/c");
    world.call("token --cache-dir").arg(&folder).run().quiet();
    for made in ["a", "a/b", "a/b/c"] {
        assert_eq!(fs::metadata(world.path(made)).unwrap().permissions().mode() & 0o777, 0o700);
    }
    world.call("token").env("ASTRA_CREDENTIAL_CACHE_DIR", &folder).run().quiet();
    assert_eq!(world.astra.exchanges(), 1);
}
