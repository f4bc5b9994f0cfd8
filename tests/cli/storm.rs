//! Many processes at once, outages and wrong clocks: the number of exchanges, and each call's answer.

use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use crate::frugal::{WARM, warm_world, watched};
use crate::processes::{PATIENCE, Process, at_once};
use crate::stand_in::Reply;
use crate::world::{BINARY, World, finish, needs, transcript};

#[test]
fn five_hundred_processes_on_an_empty_cache_cost_one_exchange() {
    let world = World::new();
    world.astra.set_delay(Duration::from_secs(2));
    let answers = at_once(500, &world.call("token"));
    let token = format!("{}\n", world.astra.last_token().unwrap());
    for answer in &answers {
        assert_eq!(*answer, (0, token.clone(), String::new()));
    }
    assert_eq!(world.astra.exchanges(), 1);
}

#[test]
fn a_stale_cache_costs_one_exchange_too() {
    let world = World::new();
    world.astra.set_lifetime(4);
    let old = world.token();
    world.astra.set_lifetime(36_000);
    world.astra.set_delay(Duration::from_millis(500));
    thread::sleep(Duration::from_millis(2500));
    let answers = at_once(100, &world.call("token"));
    assert!(answers.iter().all(|(code, token, _)| *code == 0 && token.trim_end() != old));
    assert_eq!(world.astra.exchanges(), 2);
}

#[test]
fn tokens_that_are_stale_at_once_are_never_exchanged_two_at_a_time() {
    let world = World::new();
    world.astra.set_lifetime(2);
    world.astra.set_delay(Duration::from_millis(100));
    let answers = at_once(24, &world.call("token"));
    assert!(answers.iter().all(|(code, ..)| *code == 0), "{answers:?}");
    assert!(world.astra.exchanges() > 1);
    assert_eq!(world.astra.most_in_flight(), 1);
}

#[test]
fn a_rejection_is_shared_and_a_corrected_file_works_at_once() {
    let world = World::new();
    let right = world.astra.account_json();
    world.write_account(&right.replace("secret000000", "wrong0000000"));
    let answers = at_once(200, &world.call("token"));
    assert!(answers.iter().all(|(code, stdout, _)| *code == 4 && stdout.is_empty()));
    assert_eq!(world.astra.exchanges(), 1);
    let remembered = world.call("token").run();
    assert!(remembered.failure(4).contains("not asked again"));
    assert_eq!(world.astra.exchanges(), 1);
    let forced = world.call("token --refresh").run();
    forced.failure(4);
    assert_eq!(world.astra.exchanges(), 2);
    transcript!(remembered, forced, @"
    $ astra-credential token
    ! astra-credential: `https://localhost:<port>` rejected the service account (401): invalid service account credentials (<n> s ago; not asked again for another <n> s)
    ! hint: check in Astra's dashboard that the service account in `~/.config/astra-credential/service-account.json` still exists, and that the organisation's IP access list admits this machine; if its secret was rotated, store the new one with `astra-credential setup account`
    [exit status: 4]

    $ astra-credential token --refresh
    ! astra-credential: `https://localhost:<port>` rejected the service account (401): invalid service account credentials
    ! hint: check in Astra's dashboard that the service account in `~/.config/astra-credential/service-account.json` still exists, and that the organisation's IP access list admits this machine; if its secret was rotated, store the new one with `astra-credential setup account`
    [exit status: 4]
    ");
    world.write_account(&right);
    world.token();
}

#[test]
fn an_outage_is_shared() {
    let world = World::new();
    world.astra.set_answer(|_, _| Reply::Hang);
    let start = Instant::now();
    let answers = at_once(100, &world.call("token --timeout 4"));
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    assert!(answers.iter().all(|(code, stdout, _)| *code == 5 && stdout.is_empty()), "{answers:?}");
    assert!(world.astra.exchanges() <= 5, "{}", world.astra.exchanges());
}

#[test]
fn a_valid_token_outlives_an_outage_and_an_expired_one_does_not() {
    let world = World::new();
    world.astra.set_lifetime(5);
    let old = world.token();
    world.astra.set_answer(|_, _| Reply::error(500, "down"));
    // The token is within its leeway, which is between three and five of its five seconds.
    thread::sleep(Duration::from_millis(2500));
    let served = world.call("token").run();
    assert_eq!((served.code(), served.stdout().trim_end()), (0, old.as_str()), "{served}");
    assert_eq!(served.stderr().lines().count(), 1);
    let again = world.call("git get").input(world.git_request()).run();
    assert_eq!(again.code(), 0);
    assert_eq!(world.astra.exchanges(), 2, "not retried on every call");
    thread::sleep(Duration::from_millis(3500));
    let expired = world.call("token").run();
    expired.failure(5);
    transcript!(served, expired, @"
    $ astra-credential token
    > <token>
    ! astra-credential: warning: `https://localhost:<port>` cannot answer now (500): down; the cached token serves until <time>

    $ astra-credential token
    ! astra-credential: `https://localhost:<port>` cannot answer now (500): down (<n> s ago; not asked again for another <n> s)
    ! hint: try again later
    [exit status: 5]
    ");
}

#[test]
fn a_rejection_is_an_error_even_with_a_valid_token() {
    let world = World::new();
    world.token();
    world.astra.set_answer(|_, _| Reply::error(401, "revoked"));
    world.call("token --refresh").run().failure(4);
    world.call("token").run().failure(4);
    assert_eq!(world.astra.exchanges(), 2);
}

#[test]
fn a_refresh_with_a_passing_failure_is_an_error_and_keeps_the_old_token() {
    let world = World::new();
    let old = world.token();
    world.astra.set_answer(|_, _| Reply::error(500, "down"));
    world.call("token --refresh").run().failure(5);
    assert_eq!(world.token(), old);
}

#[test]
fn a_stopped_holder_of_the_lock_is_not_waited_for() {
    let world = World::new();
    world.astra.set_answer(|_, number| (number == 1).then_some(Reply::Hang));
    let holder = Process::that_asks(&world, &world.call("token"));
    holder.stop();
    let start = Instant::now();
    let answers = at_once(10, &world.call("token --timeout 3"));
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    assert!(answers.iter().all(|(code, ..)| *code == 0), "{answers:?}");
}

#[test]
fn a_holder_that_waits_for_a_slow_issuer_is_waited_for() {
    let world = World::new();
    world.astra.set_delay(Duration::from_millis(2500));
    let answers = at_once(10, &world.call("token --timeout 4"));
    assert!(answers.iter().all(|(code, ..)| *code == 0), "{answers:?}");
    assert_eq!(world.astra.exchanges(), 1);
}

#[test]
fn a_waiter_keeps_its_own_deadline() {
    let world = World::new();
    world.astra.set_answer(|_, _| Reply::Hang);
    let _holder = Process::that_asks(&world, &world.call("token"));
    let start = Instant::now();
    let waiter = world.call("token --timeout 0.5").run();
    waiter.failure(5);
    assert!(start.elapsed() < Duration::from_millis(1500));
    assert_eq!(world.astra.exchanges(), 1);
    transcript!(waiter, @"
    $ astra-credential token --timeout 0.5
    ! astra-credential: another process is still waiting for `https://localhost:<port>`
    ! hint: try again, or give it longer with `--timeout SECONDS`
    [exit status: 5]
    ");
}

#[test]
fn a_process_held_back_before_it_locks_finds_the_others_token() {
    needs!("strace");
    let world = World::new();
    let call = world.call_as(
        "/usr/bin/env",
        "strace -f -o /dev/null -e trace=flock -e inject=flock:delay_enter=1500000",
    );
    let mut held = call.arg(BINARY).arg("token").command().spawn().unwrap();
    // As soon as the lock file exists, the process has had its miss.
    let patience = Instant::now() + PATIENCE;
    while world.cached("lock").is_empty() && Instant::now() < patience {
        thread::sleep(Duration::from_millis(5));
    }
    let token = world.token();
    assert!(held.try_wait().unwrap().is_none(), "the process was not delayed");
    let (code, stdout, _) = finish(held);
    assert_eq!((code, stdout.trim_end()), (0, token.as_str()));
    assert_eq!(world.astra.exchanges(), 1);
}

#[test]
fn clocks_that_differ_from_astras_cause_no_further_exchange() {
    for offset in [-600, 600, -7200, 7200] {
        let world = World::new();
        world.astra.set_clock(offset);
        let token = world.token();
        for _ in 0..3 {
            assert_eq!(world.token(), token);
        }
        assert_eq!(world.astra.exchanges(), 1, "{offset}");
    }
}

#[test]
fn a_warm_call_takes_no_lock_and_opens_no_socket_starts_no_thread_and_reads_no_ca_bundle() {
    needs!("strace");
    let world = warm_world();
    for line in WARM {
        let calls = watched(&world, BINARY, line, "strace -f -o");
        assert!(calls.contains(".entry"), "{line}: the trace shows the cache");
        for absent in [
            "flock(",
            "socket(",
            "connect(",
            "clone(",
            "clone3(",
            "fork(",
            ".lock",
            "ca.pem",
            "ssl/certs",
            "O_WRONLY",
            "O_RDWR",
            "O_CREAT",
        ] {
            assert!(!calls.contains(absent), "{line}: {absent} in\n{calls}");
        }
    }
    assert_eq!(world.astra.exchanges(), 1);
}

#[test]
fn a_stopped_holder_and_a_silent_astra_keep_no_call_past_its_deadline() {
    let world = World::new();
    world.astra.set_answer(|_, _| Reply::Hang);
    let holder = Process::that_asks(&world, &world.call("token"));
    holder.stop();
    let start = Instant::now();
    for (code, stdout, stderr) in at_once(10, &world.call("token --timeout 2")) {
        assert_eq!((code, stdout.as_str(), stderr.lines().count()), (5, "", 2), "{stderr}");
    }
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

#[test]
fn a_waiting_call_takes_the_lock_of_a_killed_holder() {
    let world = World::new();
    world.astra.set_answer(|_, number| (number == 1).then_some(Reply::Hang));
    let holder = Process::that_asks(&world, &world.call("token"));
    let call = world.call("token");
    let waiters: Vec<Child> = (0..5).map(|_| call.start()).collect();
    thread::sleep(Duration::from_millis(300));
    assert_eq!(world.astra.exchanges(), 1, "they did not wait");
    holder.signal("-KILL");
    let start = Instant::now();
    for (code, stdout, stderr) in waiters.into_iter().map(finish) {
        assert_eq!((code, stderr.as_str()), (0, ""));
        assert_eq!(stdout.trim_end(), world.astra.last_token().unwrap());
    }
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(world.astra.exchanges(), 2);
}
