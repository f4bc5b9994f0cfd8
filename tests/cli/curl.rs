//! curl with the line that `header` prints, against a page that requires the token.

use crate::servers::{Resource, protected};
use crate::stand_in::{Reply, TlsServer};
use crate::world::{BINARY, Call, World, is_installed};

const FROM_STDIN: &str = "\"$HELPER\" header | curl $OPTIONS -H @- \"$URL\"";
const FROM_A_FILE: &str = "curl $OPTIONS -H @<(\"$HELPER\" header) \"$URL\"";

/// A line of bash, as people type it.
fn bash<'a>(world: &'a World, url: &str, line: &str) -> Call<'a> {
    let options =
        format!("-sS --fail -L --max-time 30 --cacert {}", world.path("ca.pem").display());
    let call = world.call_as("timeout", "60 bash -o pipefail -c").arg(line);
    call.env("HELPER", BINARY).env("OPTIONS", options).env("URL", url)
}

fn is_here() -> bool {
    is_installed("curl") && is_installed("bash")
}

fn answers(page: &Resource) -> Vec<(u16, Option<String>)> {
    page.asked().into_iter().map(|asked| (asked.status, asked.token())).collect()
}

#[test]
fn header_is_what_curl_reads_from_a_pipe_and_from_a_file() {
    if !is_here() {
        return;
    }
    let world = World::new();
    let page = protected(&world.authority, &world.astra);
    for line in [FROM_STDIN, FROM_A_FILE] {
        assert_eq!(bash(&world, &page.url(), line).run().quiet(), "welcome\n");
    }
    let served = (200, world.astra.last_token());
    assert_eq!(answers(&page), [served.clone(), served]);
    assert_eq!(world.astra.exchanges(), 1);
}

#[test]
fn a_revoked_token_is_replaced_after_forget() {
    if !is_here() {
        return;
    }
    let world = World::new();
    let page = protected(&world.authority, &world.astra);
    bash(&world, &page.url(), FROM_STDIN).run().quiet();
    let revoked = world.astra.last_token();
    world.astra.revoke_all();
    let error = bash(&world, &page.url(), FROM_STDIN).run().failure(22);
    assert!(error.contains("401"), "{error}");
    let forget_first = format!("\"$HELPER\" forget && {FROM_STDIN}");
    assert_eq!(bash(&world, &page.url(), &forget_first).run().quiet(), "welcome\n");
    let served = (200, world.astra.last_token());
    assert_eq!(answers(&page), [(200, revoked.clone()), (401, revoked), served]);
    assert_eq!(world.astra.exchanges(), 2);
}

#[test]
fn another_host_does_not_get_the_token_by_a_redirect() {
    if !is_here() {
        return;
    }
    let world = World::new();
    let page = protected(&world.authority, &world.astra);
    let elsewhere = page.url();
    let redirect = TlsServer::start(&world.authority, move |request| {
        let status = if request.header("authorization").is_some() { 302 } else { 401 };
        Reply::text(status, "").with_header("Location", &elsewhere)
    });
    for line in [FROM_STDIN, FROM_A_FILE] {
        let error = bash(&world, &redirect.url(), line).run().failure(22);
        assert!(error.contains("401"), "{error}");
    }
    assert_eq!(answers(&page), [(401, None), (401, None)]);
}

#[test]
fn a_rejected_account_sends_nothing_and_fails_the_line() {
    if !is_here() {
        return;
    }
    let world = World::new();
    let page = protected(&world.authority, &world.astra);
    world.astra.set_secret("00000000-fake-4000-8000-rotated0000");
    let error = bash(&world, &page.url(), FROM_STDIN).run().failure(22);
    assert!(error.contains("rejected"), "{error}");
    assert_eq!(answers(&page), [(401, None)]);
    assert_eq!(world.astra.exchanges(), 1);
}
