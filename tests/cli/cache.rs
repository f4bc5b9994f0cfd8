//! The cache: its content on disk is not trusted, and an error of the cache does not cost the token.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::faults::{AT_ONCE, is_tidy};
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
fn no_entry_is_written_through_a_link() {
    let world = World::new();
    world.token();
    let entry = world.entry();
    let target = world.write("target", "untouched");
    fs::remove_file(&entry).unwrap();
    symlink(&target, &entry).unwrap();
    world.token();
    assert_eq!(fs::read_to_string(&target).unwrap(), "untouched");
    assert!(fs::symlink_metadata(&entry).unwrap().is_file());
}

#[test]
fn no_lock_file_is_created_through_a_link() {
    let world = World::new();
    world.token();
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
fn the_cache_folder_of_xdg_needs_no_home() {
    let world = World::new();
    let call = world.call("token --service-account").arg(world.account_file()).without("HOME");
    call.env("XDG_CACHE_HOME", world.path("xdg")).run().quiet();
    assert!(world.path("xdg/astra-credential").is_dir());
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

/// The paths of three files of another account in the cache: a temporary file, an entry and a lock.
fn files_of_another_account(world: &World) -> [PathBuf; 3] {
    let name = "ab".repeat(16);
    ["0123456789abcdef.tmp", "entry", "lock"]
        .map(|extension| world.cache_dir().join(format!("{name}.{extension}")))
}

#[test]
fn a_temporary_file_of_the_same_account_is_deleted_at_once() {
    let world = World::new();
    world.token();
    let own = world.entry().with_extension("0123456789abcdef.tmp");
    let others = files_of_another_account(&world);
    others.iter().chain([&own]).for_each(|path| fs::write(path, "x").unwrap());
    world.call("token --refresh").run().quiet();
    assert!(!own.exists() && others.iter().all(|path| path.exists()));
}

#[test]
fn old_files_of_another_account_are_deleted_and_those_of_other_programs_are_not() {
    let world = World::new();
    world.token();
    let others = files_of_another_account(&world);
    let foreign = world.cache_dir().join("notes.tmp");
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(31 * 24 * 3600);
    for path in others.iter().chain([&foreign]) {
        fs::write(path, "x").unwrap();
        fs::File::options().write(true).open(path).unwrap().set_modified(long_ago).unwrap();
    }
    world.call("token --refresh").run().quiet();
    assert!(!others.iter().any(|path| path.exists()));
    assert!(foreign.exists());
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

/// Random numbers that are the same in each run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        // The algorithm is xorshift.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next().to_le_bytes()[3]).collect()
    }
}

#[test]
fn only_bytes_that_the_program_has_sealed_are_an_entry() {
    let world = World::new();
    world.token();
    let entry = world.entry();
    let whole = fs::read(&entry).unwrap();
    let old = {
        world.call("token --refresh").run().quiet();
        fs::read(&entry).unwrap()
    };
    let numbers = &mut Numbers(0x9e37_79b9_7f4a_7c15);
    let mut damaged: Vec<Vec<u8>> = Vec::new();
    for _ in 0..20 {
        let length = numbers.below(4000);
        damaged.push(numbers.bytes(length));
        damaged.push(whole[..numbers.below(whole.len())].to_vec());
        let mut changed = whole.clone();
        for _ in 0..=numbers.below(4) {
            changed[numbers.below(whole.len())] ^= 1 << numbers.below(8);
        }
        damaged.push(changed);
    }
    let (start, end) = whole.split_at(whole.len() / 2);
    let (nonce, sealed) = whole.split_at(12);
    damaged.extend([
        [&whole[..], b"\n"].concat(),
        [b"\n", &whole[..]].concat(),
        [&whole[..], &whole[..]].concat(),
        [&old[..12], sealed].concat(),
        [nonce, &old[12..]].concat(),
        [end, start].concat(),
        whole[1..].to_vec(),
        whole[..12].to_vec(),
        whole[..28].to_vec(),
        whole.iter().rev().copied().collect(),
        whole.iter().map(|byte| !byte).collect(),
        [b"astra-credential 2\n", &whole[..]].concat(),
        br#"{"token":"a.b.c","validity":null,"verdict":null}"#.into(),
        numbers.bytes((64 + 8) << 10),
        numbers.bytes(((64 + 8) << 10) + 1),
        vec![0; 3 << 20],
    ]);
    assert!(damaged.len() > 70);
    let mut exchanges = world.astra.exchanges();
    for (at, bytes) in damaged.iter().enumerate() {
        fs::write(&entry, bytes).unwrap();
        set_mode(&entry, 0o600);
        let start = Instant::now();
        let done = world.call("token --timeout 5").run();
        assert_eq!(done.quiet().trim_end(), world.astra.last_token().unwrap(), "{at}");
        assert!(start.elapsed() < AT_ONCE, "{at}: {:?}", start.elapsed());
        exchanges += 1;
        assert_eq!(
            (world.token(), world.astra.exchanges()),
            (done.stdout().trim_end().to_owned(), exchanges),
            "{at}"
        );
    }
    is_tidy(&world, "damaged");
    // An entry that the program has written is read, although the test has copied it there.
    fs::write(&entry, &old).unwrap();
    world.token();
    assert_eq!(world.astra.exchanges(), exchanges);
}

#[test]
fn only_a_regular_file_is_an_entry() {
    let world = World::new();
    world.token();
    let entry = world.entry();
    let copy = world.path("copy");
    fs::copy(&entry, &copy).unwrap();
    let absent = world.path("absent");
    let put: [(&str, &dyn Fn()); 6] = [
        ("a link to an entry", &|| symlink(&copy, &entry).unwrap()),
        ("a link to nothing", &|| symlink(&absent, &entry).unwrap()),
        ("a link to itself", &|| symlink(&entry, &entry).unwrap()),
        ("a link to zeros", &|| symlink("/dev/zero", &entry).unwrap()),
        ("a socket", &|| drop(UnixListener::bind(&entry).unwrap())),
        ("a folder with something in it", &|| fs::create_dir_all(entry.join("a/b")).unwrap()),
    ];
    let kept = fs::read(&copy).unwrap();
    for (what, put) in put {
        fs::remove_file(&entry).unwrap();
        put();
        let before = world.astra.exchanges();
        let start = Instant::now();
        let done = world.call("token --timeout 5").run();
        assert!(done.quiet().len() > 1000, "{what}");
        assert!(start.elapsed() < AT_ONCE, "{what}: {:?}", start.elapsed());
        assert_eq!(world.token(), done.stdout().trim_end(), "{what}");
        assert_eq!(world.astra.exchanges(), before + 1, "{what}");
        assert!(fs::symlink_metadata(&entry).unwrap().is_file(), "{what}");
        assert_eq!(fs::read(&copy).unwrap(), kept, "{what}");
        assert!(!absent.exists(), "{what}");
    }
    assert_eq!(fs::metadata(&entry).unwrap().permissions().mode() & 0o777, 0o600);
}
