//! A busy API server, whose calls all come from one address: no limit of a peer may affect it.

use std::time::Duration;

use crate::connections;
use crate::honest::{CALLER, Connections, Group, Rhythm, everybody};
use crate::outcome::Outcome;
use crate::program::Program;
use crate::swarm::Origin;

/// How many connections it keeps, and the time between two calls on each: 300 calls a second in all.
const KEPT: u32 = 64;
const PERIOD: Duration = Duration::from_millis(213);
/// How many calls come at the same moment besides, each on a new connection, and how often.
const BURST: u32 = 100;
const BURST_PERIOD: Duration = Duration::from_millis(2500);
/// How long it waits for a webhook by default.
const PATIENCE: Duration = Duration::from_secs(10);

/// The calls of the API server and of the kubelet. `percent` of the API server's calls must be answered.
fn calls(program: &Program, percent: usize) -> Vec<Group> {
    let everybody = everybody(program, None);
    let [_, kept, livez, readyz] = <[Group; 4]>::try_from(everybody).ok().expect("four groups");
    let steady = Group { callers: KEPT, period: PERIOD, patience: PATIENCE, percent, ..kept };
    let bursts = Group {
        name: "bursts on new connections",
        callers: BURST,
        period: BURST_PERIOD,
        rhythm: Rhythm::Together,
        connections: Connections::New,
        ..steady.clone()
    };
    vec![bursts, steady, livez, readyz]
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_do_not_affect_a_busy_api_server() {
    let program = Program::start();
    Outcome::of("busy-api-server", &program, calls(&program, 100), || None).await.is_harmless();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attack_from_the_address_of_the_api_server_leaves_the_program_alive() {
    let program = Program::start();
    // The program cannot distinguish the two, so there are no assertions about these calls. The line shows them.
    let attack = || Some(connections::idle_tls(Origin::One(CALLER), &program));
    Outcome::of("api-server-same-address", &program, calls(&program, 0), attack).await.is_harmless();
}
