//! An attack on the admin port, where the kubelet probes.

use crate::outcome::besiege;
use crate::requests;
use crate::swarm::{Attack, hold};

#[tokio::test(flavor = "multi_thread")]
async fn admin_connections_that_are_held_keep_no_probe_out() {
    besiege("admin-port", |program| {
        // Nothing, half a request, and a complete one: a hundred attackers each.
        let request = requests::get("/livez");
        let words = vec![[].into(), request[..20].into(), request];
        Attack { words, ..Attack::silent(program.admin(), 300, 300) }.start(hold)
    })
    .await;
}
