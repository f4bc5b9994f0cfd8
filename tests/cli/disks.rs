//! Disks that are full, read-only or without inodes, and limits on the size of files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::processes::Process;
use crate::world::{BINARY, Done, World, contents, skip};

/// A file system that is unmounted when it is dropped.
pub struct Mount(PathBuf);

impl Mount {
    /// Mounts an empty `tmpfs` in the home. Returns `None`, and announces that, if it is not allowed.
    pub fn new(world: &World, options: &str) -> Option<Self> {
        let path = world.path("mount");
        fs::create_dir_all(&path).unwrap();
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("mode=0700,{options}"), "none"])
            .arg(&path)
            .stderr(Stdio::null())
            .status();
        if !done.is_ok_and(|status| status.success()) {
            skip("mounting is not allowed here");
            return None;
        }
        Some(Self(path))
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        let done = Command::new("mount").args(["-o", &options]).arg(&self.0).status().unwrap();
        assert!(done.success(), "{options}");
    }

    /// A call with its cache on this disk.
    fn call<'a>(&self, world: &'a World, line: &str) -> Done<'a> {
        world.call(line).env("ASTRA_CREDENTIAL_CACHE_DIR", self.cache()).run()
    }

    pub fn cache(&self) -> PathBuf {
        self.0.join("cache")
    }

    /// Asserts that a call prints the token and one warning about the cache.
    fn prints_the_token_and_a_warning(&self, world: &World, line: &str) {
        let done = self.call(world, line);
        assert_eq!((done.code(), done.stderr().lines().count()), (0, 1), "{done}");
        assert!(done.stderr().contains("cannot use the cache"), "{done}");
        assert_eq!(done.stdout().trim_end(), world.astra.last_token().unwrap());
    }

    /// Fills the disk with a file, and returns its path.
    pub fn fill_up(&self) -> PathBuf {
        let path = self.0.join("filling");
        fs::write(&path, vec![0; 1 << 20]).unwrap_err();
        path
    }

    fn temporary_files(&self) -> usize {
        let is_temporary = |path: &Path| path.extension().is_some_and(|kind| kind == "tmp");
        contents(&self.cache()).iter().filter(|(path, _)| is_temporary(path)).count()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_a_warning_and_the_token_is_printed() {
    let world = World::new();
    let Some(disk) = Mount::new(&world, "size=16k") else {
        return;
    };
    let filling = disk.fill_up();
    disk.prints_the_token_and_a_warning(&world, "token");
    disk.prints_the_token_and_a_warning(&world, "token");
    assert_eq!((world.astra.exchanges(), disk.temporary_files()), (2, 0));
    fs::remove_file(filling).unwrap();
    let first = disk.call(&world, "token").quiet();
    assert_eq!(disk.call(&world, "token").quiet(), first);
}

#[test]
fn a_disk_that_fills_up_keeps_the_old_entry_whole() {
    let world = World::new();
    let Some(disk) = Mount::new(&world, "size=16k") else {
        return;
    };
    let first = disk.call(&world, "token").quiet();
    disk.fill_up();
    disk.prints_the_token_and_a_warning(&world, "token --refresh");
    assert_eq!(disk.call(&world, "token").quiet(), first);
    assert_eq!((world.astra.exchanges(), disk.temporary_files()), (2, 0));
}

#[test]
fn a_disk_without_inodes_is_a_warning_and_the_token_is_printed() {
    let world = World::new();
    // There is an inode for the root, one for the folder, and one for the lock.
    for inodes in [1, 2, 3] {
        let Some(disk) = Mount::new(&world, &format!("nr_inodes={inodes}")) else {
            return;
        };
        disk.prints_the_token_and_a_warning(&world, "token");
        disk.remount("nr_inodes=10");
        let first = disk.call(&world, "token").quiet();
        assert_eq!(disk.call(&world, "token").quiet(), first, "{inodes}");
        disk.remount("nr_inodes=4");
        disk.prints_the_token_and_a_warning(&world, "token --refresh");
        assert_eq!(disk.call(&world, "token").quiet(), first, "{inodes}");
        assert_eq!(disk.temporary_files(), 0);
    }
}

#[test]
fn a_read_only_disk_serves_its_token_without_a_warning() {
    let world = World::new();
    let Some(disk) = Mount::new(&world, "size=64k") else {
        return;
    };
    disk.remount("ro");
    disk.prints_the_token_and_a_warning(&world, "token");
    disk.remount("rw");
    let first = disk.call(&world, "token").quiet();
    disk.remount("ro");
    assert_eq!(disk.call(&world, "token").quiet(), first);
    disk.prints_the_token_and_a_warning(&world, "token --refresh");
    assert_eq!(disk.call(&world, "token").quiet(), first);
    assert_eq!(world.astra.exchanges(), 3);
}

/// A token that a server refuses must not be served until there is room again.
#[test]
fn without_room_for_a_new_entry_the_token_is_dropped_all_the_same() {
    let world = World::new();
    let Some(disk) = Mount::new(&world, "size=16k") else {
        return;
    };
    let host = world.git_request();
    for line in ["forget", "forget --all", "git erase"] {
        let first = disk.call(&world, "token").quiet();
        let filling = disk.fill_up();
        let call = world.call(line).env("ASTRA_CREDENTIAL_CACHE_DIR", disk.cache());
        assert_eq!(call.input(&*host).run().quiet(), "", "{line}");
        fs::remove_file(filling).unwrap();
        assert_ne!(disk.call(&world, "token").quiet(), first, "{line}");
        assert_eq!(disk.temporary_files(), 0, "{line}");
    }
}

#[test]
fn without_an_inode_for_a_new_entry_the_token_is_dropped_all_the_same() {
    let world = World::new();
    let Some(disk) = Mount::new(&world, "nr_inodes=10") else {
        return;
    };
    let host = world.git_request();
    for line in ["forget", "forget --all", "git erase"] {
        for is_under_way in [false, true] {
            let first = disk.call(&world, "token").quiet();
            // One inode each for the root, the folder, the lock and the entry.
            disk.remount("nr_inodes=4");
            let refresh = world.call("token --refresh");
            let refresh = refresh.env("ASTRA_CREDENTIAL_CACHE_DIR", disk.cache());
            world.astra.set_delay(Duration::from_millis(800));
            let refresh = is_under_way.then(|| Process::that_asks(&world, &refresh));
            let call = world.call(line).env("ASTRA_CREDENTIAL_CACHE_DIR", disk.cache());
            assert_eq!(call.input(&*host).run().quiet(), "", "{line}");
            let late = refresh.map_or(String::new(), |refresh| refresh.finish().1);
            world.astra.set_delay(Duration::ZERO);
            disk.remount("nr_inodes=10");
            let next = disk.call(&world, "token").quiet();
            assert!(next != first && next != late, "{line}");
            assert_eq!(disk.temporary_files(), 0, "{line}");
        }
    }
}

/// A call with a limit on the size of files, in KiB, as a service manager sets it by `LimitFSIZE=`. A write
/// beyond the limit sends SIGXFSZ, which kills a process by default.
fn limited<'a>(world: &'a World, limit: u32, line: &str) -> Done<'a> {
    let script = format!("ulimit -f {limit}; exec \"$0\" {line}");
    world.call_as("/bin/bash", "-c").arg(script).arg(BINARY).run()
}

#[test]
fn a_limit_on_the_size_of_files_is_a_warning_and_the_token_is_printed() {
    let world = World::new();
    // An entry is larger than either.
    for limit in [0, 1] {
        let done = limited(&world, limit, "token");
        assert_eq!((done.code(), done.stderr().lines().count()), (0, 1), "{done}");
        assert!(done.stderr().contains("(os error 27)"), "{done}");
        assert_eq!(done.stdout().trim_end(), world.astra.last_token().unwrap());
        assert_eq!((world.cached("tmp").len(), world.cached("entry").len()), (0, 0));
    }
}

#[test]
fn a_limit_on_the_size_of_files_does_not_keep_forget_from_dropping_the_token() {
    let world = World::new();
    let first = world.token();
    limited(&world, 0, "forget").quiet();
    assert_ne!(world.token(), first);
}

#[test]
fn a_limit_on_the_size_of_files_that_the_answer_exceeds_is_a_failure() {
    let world = World::new();
    let line = format!("token > {}", world.path("answer").display());
    let done = limited(&world, 0, &line);
    assert!(done.failure(1).contains("standard output"), "{done}");
}

#[test]
fn a_limit_on_the_size_of_files_does_not_change_a_failure_that_cannot_be_recorded() {
    let world = World::new();
    world.token();
    world.write_account("{}");
    assert_eq!(limited(&world, 0, "token").code(), 3);
    assert_eq!(world.cached("tmp").len(), 0);
}
