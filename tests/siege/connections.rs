//! Attacks with many connections that send little or nothing.

use crate::honest::everybody;
use crate::outcome::{Outcome, besiege};
use crate::program::Program;
use crate::requests;
use crate::support::pki::Authority;
use crate::swarm::{Attack, Origin, Swarm, hold, trickle};

/// More than the program accepts at a time.
const MANY: usize = 700;
/// How many TLS connections attackers open in a second. Handshakes at a higher rate would be an attack on the
/// processor, which is not what these tests are about.
const HANDSHAKES: u32 = 150;
/// How many connections without TLS attackers open in a second. They cost hardly any processor time.
const SOCKETS: u32 = 400;

/// TLS connections without a request.
pub(crate) fn idle_tls(origin: Origin, program: &Program) -> Swarm {
    Attack { origin, ..Attack::silent(program.webhook(), MANY, HANDSHAKES) }.start(hold)
}

/// Connections that never start a handshake.
fn silent_sockets(program: &Program) -> Swarm {
    Attack::silent(program.webhook_socket(), MANY, SOCKETS).start(hold)
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_tls_connections_block_nobody() {
    besiege("idle-tls", |program| idle_tls(Origin::ATTACKER, program)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_tls_connections_from_several_addresses_block_nobody() {
    besiege("idle-tls-7-addresses", |program| idle_tls(Origin::Several(7), program)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_sockets_block_nobody() {
    besiege("silent-sockets", silent_sockets).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_sockets_do_not_block_callers_with_a_certificate() {
    let clients = Authority::create("callers");
    let program = Program::start_for(&clients);
    let groups = everybody(&program, Some(&clients.client("kube-apiserver")));
    let attack = || Some(silent_sockets(&program));
    Outcome::of("silent-sockets-client-ca", &program, groups, attack).await.is_harmless();
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_after_a_request_block_nobody() {
    besiege("idle-after-request", |program| {
        let words = requests::honest().to_vec();
        Attack { words, ..Attack::silent(program.webhook(), MANY, HANDSHAKES) }.start(hold)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_headers_block_nobody() {
    besiege("half-headers", |program| {
        let words = vec![b"POST /mutate HTTP/1.1\r\nHost: 127.0.0.1\r\n"[..].into()];
        Attack { words, ..Attack::silent(program.webhook(), MANY, HANDSHAKES) }
            .start(|connection, words| trickle(connection, words, b"X-More: to come\r\n"))
    })
    .await;
}
