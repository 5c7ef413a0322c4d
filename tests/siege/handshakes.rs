//! Attacks with failing handshakes, which must not fill the log.

use crate::honest::everybody;
use crate::outcome::{Outcome, besiege};
use crate::program::Program;
use crate::support::pki::Authority;
use crate::swarm::{Attack, hold};

/// Sent instead of a TLS hello: the alert of a client that does not know our CA, bytes that are not TLS, and HTTP.
const BAD_HELLOS: [&[u8]; 3] = [b"\x15\x03\x01\x00\x02\x02\x30", &[0xff; 64], b"GET /livez HTTP/1.1\r\n\r\n"];

#[tokio::test(flavor = "multi_thread")]
async fn bad_hellos_block_nobody_and_do_not_fill_the_log() {
    besiege("bad-hellos", |program| {
        let words = BAD_HELLOS.map(Into::into).to_vec();
        Attack { words, ..Attack::silent(program.webhook_socket(), 64, 800) }.start(hold)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_without_a_certificate_block_nobody_and_do_not_fill_the_log() {
    let clients = Authority::create("callers");
    let program = Program::start_for(&clients);
    let groups = everybody(&program, Some(&clients.client("kube-apiserver")));
    // For a TLS 1.3 client the handshake succeeds. It learns of the missing certificate when it reads.
    let attack = || Some(Attack::silent(program.webhook(), 64, 100).start(hold));
    Outcome::of("no-certificate", &program, groups, attack).await.is_harmless();
}
