//! An attack on the admin port, where the kubelet probes.

use crate::outcome::besiege;
use crate::requests;
use crate::swarm::{Attack, hold};

#[tokio::test(flavor = "multi_thread")]
async fn held_admin_connections_do_not_block_probes() {
    besiege("admin-port", |program| {
        // Nothing, half a request, and a complete one: a hundred attackers each.
        let request = requests::get("/livez");
        let words = vec![[].into(), request[..20].into(), request];
        Attack { words, ..Attack::silent(program.admin(), 300, 300) }.start(hold)
    })
    .await;
}
