//! A long wait is explained on a terminal, and nowhere else. `script` is the terminal.

use std::process::Command;
use std::time::Duration;

use crate::stand_in::Reply;
use crate::world::{BINARY, World, needs};

const WIPE: &str = "\r\u{1b}[K";

/// The content of a terminal of `columns` while the binary runs there, without the answer.
fn on_a_terminal(world: &World, columns: u32, line: &str) -> String {
    let binary = world.link("astra-credential");
    let script = format!("stty cols {columns}; exec {} {line} > answer", binary.display());
    let call = world.call_as("script", "-qec").arg(script).arg("/dev/null");
    let output = call.command().current_dir(world.home.path()).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn answer(world: &World) -> String {
    std::fs::read_to_string(world.path("answer")).unwrap().trim_end().to_owned()
}

#[test]
fn a_slow_answer_is_explained_and_the_line_wiped() {
    needs!("script");
    let world = World::new();
    world.astra.set_delay(Duration::from_millis(1500));
    for line in ["token", "token --no-cache"] {
        let shown = on_a_terminal(&world, 200, line);
        let why = format!("astra-credential: waiting for `{}`", world.astra.url());
        assert_eq!(shown, format!("{WIPE}{why}{WIPE}"));
        assert_eq!(answer(&world), world.astra.last_token().unwrap());
    }
}

#[test]
fn a_quick_answer_and_a_warm_cache_need_no_explanation() {
    needs!("script");
    let world = World::new();
    world.astra.set_delay(Duration::from_millis(300));
    assert_eq!(on_a_terminal(&world, 200, "token"), "");
    world.astra.set_delay(Duration::from_secs(5));
    assert_eq!(on_a_terminal(&world, 200, "token"), "");
    assert_eq!(answer(&world), world.astra.last_token().unwrap());
}

#[test]
fn a_wait_for_the_lock_names_its_holder() {
    needs!("script");
    let world = World::new();
    world.astra.set_answer(|_, number| (number == 1).then_some(Reply::Hang));
    let mut holder = world.call_as("sh", "-c").arg("\"$0\" token & echo $!; wait").arg(BINARY);
    holder = holder.env("PS1", "");
    let mut holder = holder.start();
    let mut id = String::new();
    let stdout = holder.stdout.as_mut().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut id).unwrap();
    assert!(world.astra.wait_for_exchanges(1, Duration::from_secs(10)));
    let shown = on_a_terminal(&world, 200, "token --timeout 2");
    let elsewhere = world.call("token --timeout 2").run().failure(5);
    assert!(Command::new("kill").arg(id.trim()).status().unwrap().success());
    holder.wait().unwrap();
    let why = format!(
        "{WIPE}astra-credential: waiting for process {} (started by sh), which is requesting a token from `{}`",
        id.trim(),
        world.astra.url()
    );
    // At the deadline the error replaces the line.
    let then = format!("{WIPE}astra-credential: another process is still waiting for");
    assert!(shown.starts_with(&(why + &then)), "{shown:?}");
    assert!(elsewhere.starts_with("astra-credential: another process"), "{elsewhere:?}");
}

#[test]
fn a_failure_replaces_the_line_and_the_line_fits_a_narrow_terminal() {
    needs!("script");
    let world = World::new();
    world.astra.set_answer(|_, _| Reply::Hang);
    let shown = on_a_terminal(&world, 40, "token --timeout 2");
    let start = format!("{WIPE}astra-credential: waiting for `https://{WIPE}astra-credential: `");
    assert!(shown.starts_with(&start), "{shown:?}");
}

#[test]
fn a_slow_doctor_is_explained() {
    needs!("script");
    let world = World::new();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let line = format!("doctor --timeout 1.5 --api-url https://{}", silent.local_addr().unwrap());
    let shown = on_a_terminal(&world, 200, &line);
    assert_eq!(shown, format!("{WIPE}astra-credential: checking what can be wrong{WIPE}"));
    assert!(answer(&world).contains("did not answer in time"));
}

#[test]
fn a_pipe_that_brings_no_account_is_named() {
    needs!("script");
    let world = World::new();
    assert!(Command::new("mkfifo").arg(world.path("pipe")).status().unwrap().success());
    let why = format!("{WIPE}astra-credential: waiting for an account from `pipe`{WIPE}");
    let failed = on_a_terminal(&world, 200, "token --service-account pipe --timeout 1.2");
    assert!(failed.starts_with(&(why.clone() + "astra-credential: cannot read")), "{failed:?}");
    let wiped = on_a_terminal(&world, 200, "status --service-account pipe --timeout 1.2");
    assert_eq!(wiped, why);
    let quick = on_a_terminal(&world, 200, "status --service-account pipe --timeout 0.3");
    assert_eq!(quick, "");
}

#[test]
fn nothing_is_explained_where_there_is_no_terminal() {
    let world = World::new();
    assert!(Command::new("mkfifo").arg(world.path("pipe")).status().unwrap().success());
    let pipe = world.call("status --timeout 1.2 --service-account").arg(world.path("pipe")).run();
    assert_eq!(pipe.stderr(), "");
    world.astra.set_delay(Duration::from_millis(1500));
    world.call("token").run().quiet();
}
