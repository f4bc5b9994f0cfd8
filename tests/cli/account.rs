//! The account file: the contents and places that are accepted, and the messages about all others.

use std::fs;
use std::os::unix::fs::chown;

use crate::world::{Call, World, mode, needs, set_mode, transcript};

const APPLICATION: &str = r#"{"clientId":"i","secret":"s","token":"AstraCS:i:0f0f"}"#;

#[test]
fn an_application_token_is_served_with_no_network_no_cache_and_no_expiry() {
    let world = World::new();
    let mut parts = Vec::new();
    for content in [APPLICATION, "AstraCS:i:0f0f\n"] {
        world.write_account(content);
        for command in ["token", "kubernetes", "token --refresh --min-valid 2h"] {
            parts.push(world.call(command).run());
        }
    }
    parts.iter().for_each(|done| drop(done.quiet()));
    assert_eq!(world.astra.connections(), 0);
    assert!(!world.cache_dir().exists());
    let [token, kubernetes, ..] = &parts[..] else { unreachable!() };
    transcript!(token, kubernetes, @r#"
    $ astra-credential token
    > AstraCS:i:0f0f

    $ astra-credential kubernetes
    > {"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"AstraCS:i:0f0f"}}
    "#);
}

#[test]
fn a_defect_of_the_account_file_is_named_offline_and_its_content_is_not_shown() {
    let world = World::new();
    let mut shown = String::new();
    for content in [
        r#"{"clientId":"hush","clientName":"hush"}"#,
        r#"{"clientId":"hush","clientName":"hush","clientSecret":7}"#,
        r#"{"clientId":"hush","clientName":"","clientSecret":"hush"}"#,
        r#"{"clientId":"hush","secret":"hush"}"#,
        r#"{"clientId":"hush","clientName":"hush","clientSecret":"hush""#,
        r#"{"hush":{"clientId":"hush","clientName":"hush","clientSecret":"hush"}}"#,
        r#"[{"clientId":"hush","clientName":"hush","clientSecret":"hush"}]"#,
        r#"{"clientId":"hush","clientName":"hush","clientSecret":"${hush}"}"#,
        "{{ .hush }}",
        "eyJjbGllbnRJZCI6Imh1c2giLCJjbGllbnROYW1lIjoiaHVzaCIsImNsaWVudFNlY3JldCI6Imh1c2gifQ==",
        "clientId=hush\r\nclientSecret=hush\r\n",
        "AstraCS:hush",
        "hush",
        "",
    ] {
        world.write_account(content);
        let done = world.call("token").run();
        assert!(!done.failure(3).contains("hush"), "{done}");
        let content = content.replace("\r\n", "\\r\\n");
        shown += &done.to_string().replace("$ astra-credential token", &content);
        shown += "\n";
    }
    assert_eq!(world.astra.connections(), 0);
    transcript!(shown);
}

#[test]
fn an_account_file_in_utf_16_is_named_as_that() {
    let world = World::new();
    let utf_16 = r#"{"clientId":"hush"}"#.encode_utf16().flat_map(u16::to_le_bytes);
    fs::write(world.account_file(), utf_16.collect::<Vec<_>>()).unwrap();
    assert!(world.call("token").run().failure(3).contains("UTF-16"));
    assert_eq!(world.astra.connections(), 0);
}

#[test]
fn a_missing_file_and_a_folder_are_named() {
    let world = World::new();
    let missing = world.call("token --service-account ~/none.json").run();
    let folder = world.call("token").env("ASTRA_SERVICE_ACCOUNT", world.home.path()).run();
    let nowhere = world.call("token").without("HOME").run();
    let relative = world.call("token").env("HOME", "relative").run();
    for done in [&missing, &folder, &nowhere, &relative] {
        done.failure(3);
    }
    transcript!(missing, folder, nowhere, relative);
}

#[test]
fn a_file_that_is_open_to_others_is_refused_with_the_command_that_closes_it() {
    let world = World::new();
    let refuse = |open: u32, problem: &str| {
        set_mode(&world.account_file(), open);
        let refused = world.call("token").run();
        let stderr = refused.failure(3);
        assert!(stderr.contains(&format!("{problem} (mode {open:04o})\n")), "{refused}");
        let command = stderr.split('`').find(|part| part.starts_with("chmod ")).expect("a command");
        assert!(std::process::Command::new("sh").args(["-c", command]).status().unwrap().success());
        assert_eq!(mode(&world.account_file()), 0o600);
        world.token();
        refused
    };
    refuse(0o604, "may be read by everybody");
    let refused = refuse(0o644, "may be read by everybody");
    refuse(0o620, "may be changed by its group");
    refuse(0o602, "may be changed by everybody");
    refuse(0o666, "may be changed by everybody");
    transcript!(refused, @"
    $ astra-credential token
    ! astra-credential: the account file `~/.config/astra-credential/service-account.json` may be read by everybody (mode 0644)
    ! hint: run `chmod 600 ~/.config/astra-credential/service-account.json`; where that changes nothing, as on WSL's drives, CIFS and FAT, keep it on another file system, or set `ASTRA_CREDENTIAL_ALLOW_EXPOSED_FILE=1` to use it all the same
    [exit status: 3]
    ");
}

#[test]
fn a_file_that_is_open_to_others_is_used_where_that_is_allowed() {
    let world = World::new();
    for open in [0o604, 0o644, 0o620, 0o602, 0o666] {
        set_mode(&world.account_file(), open);
        let allowed = world.call("token").env("ASTRA_CREDENTIAL_ALLOW_EXPOSED_FILE", "1").run();
        allowed.quiet();
    }
}

/// A hint to change the owner would take the file from a user who has called the program under `sudo`.
#[test]
fn no_hint_takes_a_file_from_its_owner() {
    needs!(root);
    let world = World::new();
    chown(world.account_file(), Some(12345), None).unwrap();
    for line in ["token", "doctor --timeout 0.5", "status"] {
        let done = world.call(line).run();
        let text = done.stdout() + &done.stderr();
        assert!(text.contains("without `sudo`") && !text.contains("chown"), "{text}");
    }
    let config = world.write(".config/astra-credential/config.json", "{}");
    chown(config, Some(12345), None).unwrap();
    let text = world.call("token").run().failure(2);
    assert!(text.contains("without `sudo`") && !text.contains("chown"), "{text}");
}

/// On a file system without modes `chmod` has no effect, so that the hint has to name another way.
#[test]
fn a_file_that_everybody_may_change_has_a_hint_that_helps_without_chmod_too() {
    let world = World::new();
    set_mode(&world.account_file(), 0o777);
    let error = world.call("token").run().failure(3);
    assert!(error.contains("another file system") && !error.contains("sudo"), "{error}");
    assert!(error.contains("ASTRA_CREDENTIAL_ALLOW_EXPOSED_FILE=1"), "{error}");
}

#[test]
fn blanks_at_the_ends_of_a_field_are_named_when_the_account_is_rejected() {
    let world = World::new();
    let account = world.astra.account_json();
    world.write_account(&account.replace("secret000000", "secret000000\\n"));
    let rejected = world.call("token").run();
    rejected.failure(4);
    let doctor = world.call("doctor").run().stdout();
    assert!(doctor.contains("`clientSecret` has blanks"), "{doctor}");
    world.write_account(&account.replace("secret000000", "secret111111"));
    let rotated = world.call("token").run();
    assert!(rotated.failure(4).contains("`astra-credential setup account`"), "{rotated}");
    transcript!(rejected, rotated, @"
    $ astra-credential token
    ! astra-credential: `https://localhost:<port>` rejected the service account (401): invalid service account credentials
    ! hint: take the blanks or line ends off the ends of `clientSecret` in `~/.config/astra-credential/service-account.json`, unless they belong to it
    [exit status: 4]

    $ astra-credential token
    ! astra-credential: `https://localhost:<port>` rejected the service account (401): invalid service account credentials
    ! hint: check in Astra's dashboard that the service account in `~/.config/astra-credential/service-account.json` still exists, and that the organisation's IP access list admits this machine; if its secret was rotated, store the new one with `astra-credential setup account`
    [exit status: 4]
    ");
}

#[test]
fn a_file_of_another_user_is_refused_and_a_mounted_secret_of_root_is_not() {
    needs!(root);
    let world = World::new();
    chown(world.account_file(), Some(12345), None).unwrap();
    let refused = world.call("token").run();
    refused.failure(3);
    transcript!(refused, @"
    $ astra-credential token
    ! astra-credential: the account file `~/.config/astra-credential/service-account.json` belongs to another user (uid 12345)
    ! hint: run this without `sudo`, as the owner of the file, or set `ASTRA_CREDENTIAL_ALLOW_EXPOSED_FILE=1` to use it all the same
    [exit status: 3]
    ");
    // Kubernetes mounts a secret with this mode and owner, behind a link.
    chown(world.account_file(), Some(0), Some(12345)).unwrap();
    set_mode(&world.account_file(), 0o440);
    let link = world.path("mounted.json");
    std::os::unix::fs::symlink(world.account_file(), &link).unwrap();
    world.call("token --service-account").arg(&link).run().quiet();
}

#[test]
fn standard_input_and_a_process_substitution_work() {
    let world = World::new();
    let json = world.astra.account_json();
    fs::remove_file(world.account_file()).unwrap();
    let piped = world.call("token --service-account /dev/stdin").input(json.clone()).run().quiet();
    let file = world.write("elsewhere.json", &json);
    let script =
        format!("exec \"$0\" token --service-account <(sleep 0.2; cat {})", file.display());
    let substituted = world.call_as("/bin/bash", "-c").arg(script).arg(crate::world::BINARY).run();
    assert_eq!(substituted.quiet(), piped);
    assert_eq!(world.astra.exchanges(), 1);
}

#[test]
fn a_pipe_without_content_is_given_up_at_the_deadline() {
    let world = World::new();
    let pipe = world.path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let done = world.call("token --timeout 0.3 --service-account").arg(&pipe).run();
    done.failure(3);
    transcript!(done, @"
    $ astra-credential token --timeout 0.3 --service-account ~/pipe
    ! astra-credential: cannot read the account file `~/pipe`: nothing came out of it in time
    ! hint: make it a file that this user can read, or name another with `--service-account FILE` or `ASTRA_SERVICE_ACCOUNT`
    [exit status: 3]
    ");
}

/// A kubeconfig, a systemd unit or an `.env` file passes `~` on without a shell that replaces it.
#[test]
fn a_tilde_that_no_shell_has_replaced_is_the_home_in_every_path() {
    let world = World::new();
    let elsewhere = world.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::rename(world.account_file(), world.path("account.json")).unwrap();
    let in_elsewhere = |call: Call<'_>| call.in_folder(&elsewhere).run().quiet();
    let by_variables = || {
        world
            .call("token")
            .env("ASTRA_SERVICE_ACCOUNT", "~/account.json")
            .env("ASTRA_CREDENTIAL_CACHE_DIR", "~/tokens")
            .env("SSL_CERT_FILE", "~/ca.pem")
    };
    let token = in_elsewhere(by_variables());
    assert_eq!(token.trim_end(), world.astra.last_token().unwrap());
    assert!(world.path("tokens").is_dir());
    let flags = "token --service-account=~/account.json --cache-dir ~/tokens --ca-file ~/ca.pem";
    assert_eq!(in_elsewhere(world.call(flags)), token);
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
    in_elsewhere(world.call("setup account --account mine --service-account ~/account.json"));
    let config = fs::read_to_string(world.path(".config/astra-credential/config.json")).unwrap();
    assert!(config.contains(&format!("\"{}/account.json\"", world.home.path().display())));
    assert_eq!(world.astra.exchanges(), 1);
}

#[test]
fn a_tilde_that_stands_for_no_known_home_is_an_error() {
    let world = World::new();
    let account = world.call("token --service-account ~me/account.json").run();
    let cache = world.call("token").env("ASTRA_CREDENTIAL_CACHE_DIR", "~me").run();
    let authorities = world.call("token --ca-file ~me/ca.pem").run();
    let without_home = world.call("token --cache-dir ~/cache").without("HOME").run();
    let errors = [account, cache, authorities, without_home].map(|done| done.failure(2));
    transcript!(errors.join("\n"), @"
    astra-credential: `--service-account` is `~me/account.json`, which begins with `~` and a name, which is not replaced by a home
    hint: set `--service-account` to the absolute path of a file

    astra-credential: `ASTRA_CREDENTIAL_CACHE_DIR` is `~me`, which begins with `~` and a name, which is not replaced by a home
    hint: set `ASTRA_CREDENTIAL_CACHE_DIR` to the absolute path of a folder

    astra-credential: `--ca-file` is `~me/ca.pem`, which begins with `~` and a name, which is not replaced by a home
    hint: set `--ca-file` to the absolute path of a file of PEM certificates

    astra-credential: `--cache-dir` is `~/cache`, which begins with `~/`, and there is no absolute `HOME`
    hint: set `--cache-dir` to the absolute path of a folder
    ");
}

#[test]
fn the_hint_for_a_missing_file_fits_what_was_named() {
    let world = World::new();
    std::fs::remove_file(world.account_file()).unwrap();
    let default = world.call("token").run().failure(3);
    assert!(default.contains("run `astra-credential setup account` and paste"), "{default}");
    // `setup account` would not create the file that is named here.
    let named = world.call("token --service-account /none/account.json").run().failure(3);
    assert!(named.contains("name a file that exists, or leave"), "{named}");
}
