//! `setup` and `--undo` in files that have other content, and beside changes of the user.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use crate::setup::{Tree, set_up_and_undo, tree};
use crate::world::{BINARY, Done, World, finish, mode, needs, set_mode, transcript};

/// Each file that setup edits itself.
const EDITED: [(&str, &str); 3] =
    [("docker", ".docker/config.json"), ("bazel", ".bazelrc"), ("terraform", ".terraformrc")];

/// The path of a tool's file in the home.
fn file_of(tool: &str) -> &'static str {
    EDITED.into_iter().find(|(name, _)| *name == tool).expect("a file of that tool").1
}

/// A world in which a tool's file has that content.
fn world_with(tool: &str, content: impl AsRef<[u8]>) -> World {
    let world = World::new();
    fs::create_dir_all(world.path(file_of(tool)).parent().unwrap()).unwrap();
    world.write(file_of(tool), content);
    world
}

/// Contents of the files that setup can add to, by tool.
fn contents_to_edit() -> impl Iterator<Item = (&'static str, &'static str)> {
    let contents: [(&str, &[&str]); 3] = [
        (
            "docker",
            &[
                "",
                " \n",
                "{}",
                "{\n}",
                "{\"auths\":{}}",
                "{\r\n\t\"auths\" : { },\r\n\t\"credsStore\": \"x\"\r\n}\r\n",
                "{ \"credHelpers\" : {\"x\":\"y\" } , \"a\":\"}\\\"\" }",
                "{\n  \"credHelpers\": {},\n  \"b\": [\n1]\n}\n\n",
            ],
        ),
        (
            "bazel",
            &["", "\n", "build -c opt", "# c\r\nbuild -c opt\r\n", "\ttest\t--x\n\n\n", "é\n"],
        ),
        (
            "terraform",
            &[
                "",
                "\n",
                "plugin_cache_dir = \"/x\" # }",
                "// {\r\ncredentials \"h\" {\r\n\ttoken = \"x\"\r\n}\r\n",
                "/*\ncredentials_helper \"astra\" {}\n*/\n",
                "/* credentials_helper \"x\" {\n*/\na = <<EOT\n{\nEOT\n",
            ],
        ),
    ];
    contents.into_iter().flat_map(|(tool, contents)| contents.iter().map(move |it| (tool, *it)))
}

#[test]
fn undo_restores_a_file_byte_for_byte() {
    for (tool, content) in contents_to_edit() {
        let world = world_with(tool, content);
        let file = world.path(file_of(tool));
        set_mode(&file, 0o644);
        let line = format!("setup {tool} --host a.example.com --host b.example.com");
        set_up_and_undo(&world, &line, || {
            assert_ne!(fs::read_to_string(&file).unwrap(), content);
            assert_eq!(mode(&file), 0o644);
        });
    }
}

/// Windows' editors write a byte order mark, which the reader of the settings skips.
#[test]
fn a_byte_order_mark_of_the_configuration_file_stays() {
    needs!("git");
    let contents = ["{}", "{\n}\n", "// mine\r\n{\r\n  \"timeout\": \"9s\",\r\n}\r\n"];
    for content in contents.map(|content| format!("\u{feff}{content}")) {
        let world = World::new();
        let config = world.write(".config/astra-credential/config.json", &content);
        set_mode(&config, 0o600);
        set_up_and_undo(&world, "setup git --host a.example.com", || {
            let bound = fs::read_to_string(&config).unwrap();
            assert!(bound.starts_with('\u{feff}') && bound.contains("a.example.com"), "{bound:?}");
            assert_eq!(bound.matches('\u{feff}').count(), 1, "{bound:?}");
        });
        world.call("setup account --min-valid 1h").input(world.astra.account_json()).run().quiet();
        let entered = fs::read_to_string(&config).unwrap();
        assert!(entered.starts_with('\u{feff}') && entered.contains("1h"), "{entered:?}");
    }
}

#[test]
fn an_undo_removes_the_configuration_file_that_got_a_byte_order_mark_since() {
    needs!("git");
    let world = World::new();
    let before = tree(&world);
    world.call("setup git --host a.example.com").run().quiet();
    let config = world.path(".config/astra-credential/config.json");
    let content = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("\u{feff}{content}")).unwrap();
    world.call("setup git --undo").run().quiet();
    assert_eq!(tree(&world), before);
}

#[test]
fn a_host_that_is_added_later_is_undone_with_the_first() {
    for (tool, content) in contents_to_edit() {
        let world = world_with(tool, content);
        world.call(&format!("setup {tool} --host a.example.com")).run().quiet();
        let once = tree(&world);
        let line = format!("setup {tool} --host a.example.com --host b.example.com");
        world.call(&line).run().quiet();
        assert_ne!(tree(&world), once);
        world.call(&format!("setup {tool} --undo")).run().quiet();
        assert_eq!(fs::read_to_string(world.path(file_of(tool))).unwrap(), content, "{tool}");
    }
}

#[test]
fn a_dry_run_shows_no_secret_of_the_file() {
    let contents: [(&str, &[&str]); 3] = [
        (
            "docker",
            &[
                "{\n\t\"auths\": {\n\t\t\"r\": {\n\t\t\t\"auth\": \"hunter2\"\n\t\t}\n\t}\n}\n",
                "{\"auths\":{\"r\":{\"auth\":\"hunter2\"}}}",
                "{\"credHelpers\":{\"x\":\"y\"},\"auths\":{\"r\":{\"auth\":\"hunter2\"}}}\n",
            ],
        ),
        ("bazel", &["build --remote_header=x=hunter2\n", "build --remote_header=x=hunter2"]),
        (
            "terraform",
            &[
                "credentials \"h\" {\n  token = \"hunter2\"\n}\n",
                "credentials \"h\" { token = \"hunter2\" }",
            ],
        ),
    ];
    let mut parts = Vec::new();
    for (tool, contents) in contents {
        let file = file_of(tool);
        for content in contents {
            let world = world_with(tool, content);
            let line = format!("setup {tool} --host a.example.com");
            let done = world.call(&format!("{line} --dry-run")).run();
            world.call(&line).run().quiet();
            let undone = world.call(&format!("setup {tool} --undo --dry-run")).run();
            let lines = content.lines().map(|line| format!("> {line}\n"));
            parts.push(format!("$ cat ~/{file}\n{}", lines.collect::<String>()));
            for shown in [&done, &undone] {
                assert!(!shown.quiet().contains("hunter2"), "{shown}");
                parts.push(with_difference_of(shown, file));
            }
        }
    }
    transcript!(parts.join("\n"));
}

/// The transcript of a `--dry-run`, with the difference of this file of the home alone.
fn with_difference_of(done: &Done<'_>, file: &str) -> String {
    let shown = done.to_string();
    let (command, rest) = shown.split_once('\n').expect("a command");
    let (_, difference) = rest.split_once(&format!("> --- ~/{file}\n")).expect("a difference");
    let is_of_it = |line: &&str| !line.starts_with("> --- ") && !line.starts_with("> remains: ");
    let lines = difference.lines().take_while(is_of_it).map(|line| format!("{line}\n"));
    format!("{command}\n> --- ~/{file}\n{}", lines.collect::<String>())
}

#[test]
fn a_link_to_a_file_stays_a_link() {
    for (tool, file) in EDITED {
        for is_there in [true, false] {
            let world = World::new();
            fs::create_dir_all(world.path(file).parent().unwrap()).unwrap();
            if is_there {
                fs::create_dir(world.path("dotfiles")).unwrap();
                world.write("dotfiles/it", "");
            }
            symlink(world.path("dotfiles/it"), world.path(file)).unwrap();
            set_up_and_undo(&world, &format!("setup {tool} --host a.example.com"), || {
                assert!(world.path(file).is_symlink());
                assert!(!fs::read(world.path("dotfiles/it")).unwrap().is_empty());
            });
        }
    }
}

#[test]
fn a_file_that_cannot_be_parsed_is_not_touched() {
    let contents: [(&str, &[&[u8]]); 3] = [
        (
            "docker",
            &[
                b"{",
                b"[]",
                b"// c\n{}",
                b"{\"a\":1,}",
                b"\xef\xbb\xbf{}",
                b"{\"credHelpers\":[]}",
                b"\xff",
                b"{\"credHelpers\":{},\"credHelpers\":{}}",
                b"{\"credHelpers\":{\"a.example.com\":\"other\"}}",
            ],
        ),
        (
            "bazel",
            &[
                b"build \\\n",
                b"# c \\",
                b"\xff",
                b"build --credential_helper=a.example.com=other\n",
                b"common --credential_helper=\"a.example.com=other\"\n",
                b"common --credential_helper a.example.com=other\n",
                b"build --jobs=4 \\\n--credential_helper=a.example.com=other\n",
            ],
        ),
        (
            "terraform",
            &[
                b"host \"h\" {",
                b"a = \"x",
                b"}",
                b"/* ",
                b"a = <<E\n",
                b"{}",
                b"\xff",
                b"credentials_helper \"other\" {}\n",
                b"credentials_helper \"astra\" {\n  args = [\"-v\"]\n}\n",
            ],
        ),
    ];
    for (tool, contents) in contents {
        for content in contents {
            let world = world_with(tool, content);
            let before = tree(&world);
            for option in ["", "--dry-run"] {
                let line = format!("setup {tool} --host a.example.com {option}");
                let error = world.call(&line).run().failure(1);
                assert!(error.contains(file_of(tool)), "{error}");
                assert_eq!(tree(&world), before, "{content:?}");
            }
        }
    }
}

#[test]
fn a_folder_in_place_of_a_file_is_refused() {
    for (tool, file) in EDITED {
        let world = World::new();
        fs::create_dir_all(world.path(file)).unwrap();
        let line = format!("setup {tool} --host a.example.com");
        assert!(world.call(&line).run().failure(1).contains("not a regular file"));
    }
}

/// Terraform allows one helper in all files that it reads.
#[test]
fn another_helper_in_terraforms_folder_is_named() {
    let world = World::new();
    fs::create_dir(world.path(".terraform.d")).unwrap();
    world.write(".terraform.d/x.tfrc", "credentials_helper \"other\" {}\n");
    let refused = world.call("setup terraform --host a.example.com").run();
    assert!(refused.failure(1).contains("x.tfrc"), "{refused}");
}

/// A world in which a user has set up Docker by hand for `a.example.com`.
fn world_set_up_by_hand() -> World {
    let helpers = json!({"credHelpers": {"a.example.com": "astra"}});
    let world = world_with("docker", helpers.to_string());
    fs::create_dir_all(world.path(".local/bin")).unwrap();
    symlink(BINARY, world.path(".local/bin/docker-credential-astra")).unwrap();
    let bound = json!({"accounts": {"default": {"hosts": ["a.example.com"]}}});
    world.write(".config/astra-credential/config.json", bound.to_string());
    world
}

#[test]
fn what_was_there_before_setup_stays() {
    let world = world_set_up_by_hand();
    let before = tree(&world);
    let done = world.call("setup docker --host a.example.com").run();
    assert!(done.quiet().starts_with("nothing to do\n"), "{done}");
    world.call("setup docker --undo").run().quiet();
    assert_eq!(tree(&world), before);
}

#[test]
fn of_two_hosts_only_the_one_that_setup_has_added_is_removed() {
    let world = world_set_up_by_hand();
    let before = tree(&world);
    world.call("setup docker --host a.example.com --host b.example.com").run().quiet();
    assert_ne!(tree(&world), before);
    world.call("setup docker --undo").run().quiet();
    assert_eq!(tree(&world), before);
}

#[test]
fn an_undo_leaves_another_tools_set_up_alone() {
    let world = world_set_up_by_hand();
    world.call("setup bazel --host a.example.com").run().quiet();
    let before = tree(&world);
    world.call("setup docker --host a.example.com --host b.example.com").run().quiet();
    world.call("setup docker --undo").run().quiet();
    let remove_record = |mut tree: Tree| {
        tree.retain(|(path, ..)| !path.ends_with("setup.json"));
        tree
    };
    assert_eq!(remove_record(tree(&world)), remove_record(before));
}

#[test]
fn what_was_changed_since_setup_stays() {
    let world = world_set_up_by_hand();
    let before = tree(&world);
    let link = world.path(".local/bin/bazel-credential-astra");
    world.call("setup bazel --host a.example.com").run().quiet();
    fs::write(world.path(".bazelrc"), "# build --credential_helper=a.example.com=x\n").unwrap();
    fs::remove_file(&link).unwrap();
    symlink("/bin/true", &link).unwrap();
    let taken = world.call("setup bazel --host a.example.com").run();
    let undone = world.call("setup bazel --undo").run();
    assert!(link.is_symlink());
    fs::remove_file(link).unwrap();
    fs::remove_file(world.path(".bazelrc")).unwrap();
    assert_eq!(tree(&world), before);
    transcript!(taken, undone, @"
    $ astra-credential setup bazel --host a.example.com
    ! astra-credential: `~/.local/bin/bazel-credential-astra` is there and leads elsewhere
    ! hint: `setup` replaces only its own entries: remove this one by hand, and try again
    [exit status: 1]

    $ astra-credential setup bazel --undo
    > nothing to do
    > left ~/.bazelrc as it is: it was changed since
    > left ~/.local/bin/bazel-credential-astra as it is: it was changed since
    ");
}

#[test]
fn an_undo_is_silent_about_files_that_do_not_exist_any_more() {
    let world = world_set_up_by_hand();
    world.call("setup bazel --host a.example.com").run().quiet();
    fs::remove_file(world.path(".bazelrc")).unwrap();
    fs::remove_dir_all(world.path(".local/bin")).unwrap();
    assert_eq!(world.call("setup bazel --undo").run().quiet(), "nothing to do\n");
}

#[test]
fn set_ups_at_once_are_all_undone() {
    let world = World::new();
    let before = tree(&world);
    for _ in 0..3 {
        let lines = ["docker", "bazel", "terraform"]
            .map(|tool| format!("setup {tool} --host a.example.com"));
        for lines in [lines, ["docker", "bazel", "terraform"].map(|t| format!("setup {t} --undo"))]
        {
            let started: Vec<_> = lines.iter().map(|line| world.call(line).start()).collect();
            for child in started {
                let (code, _, stderr) = finish(child);
                assert_eq!((code, stderr.as_str()), (0, ""));
            }
        }
        assert_eq!(tree(&world), before);
    }
}

#[test]
fn a_set_up_that_is_killed_anywhere_is_undone_without_a_trace() {
    needs!("strace");
    let world = World::new();
    let before = tree(&world);
    let [setup, undo] = ["setup docker --host a.example.com", "setup docker --undo"];
    let mut killed = 0;
    for call in
        ["mkdir", "symlink", "?open", "openat", "write", "fsync", "rename", "unlink", "rmdir"]
    {
        for when in 1..7 {
            let inject = format!("-qq -o /dev/null -e inject={call}:signal=KILL:when={when}");
            for line in [setup, undo] {
                let done = world.call_as("strace", &inject).arg(BINARY).args(line).run();
                killed += usize::from(done.output.status.code().is_none());
                // The undo removes all that is left, and the next setup succeeds.
                world.call(undo).run().quiet();
                assert_eq!(tree(&world), before, "{done}");
                world.call(setup).run().quiet();
            }
            world.call(undo).run().quiet();
        }
    }
    assert_eq!(tree(&world), before);
    assert!(killed > 20, "{killed}");
}
