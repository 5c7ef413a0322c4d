//! Tests a control plane with two API servers on one etcd: both call the webhook, which watches only the first.

use crate::support::control_plane::Peer;
use crate::support::installation::Installation;
use crate::support::kubectl::Kubectl;
use crate::support::poll::{self, Seen};
use crate::support::records::{company, person};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// A Person who works at this Company.
fn employee(name: &str, company: &str) -> String {
    person(name, &format!("{{displayName: Ada, companyRef: {{name: {company}}}}}"))
}

/// Whether this API server answers a write with the decision of the webhook.
fn await_calls(alice: &Kubectl) {
    let probe = company("probe", "{displayName: Acme, domains: [Acme.com]}");
    poll::until("a call of the webhook", PATIENCE, || {
        match alice.run_with(&probe, ["create", "--dry-run=server", "-o", "json", "-f", "-"]) {
            tried if tried.ok() && tried.json()["spec"]["domains"][0] == "acme.com" => Seen::Ready(()),
            tried => Seen::NotYet(tried.to_string()),
        }
    });
}

/// An installation, and the second API server, which calls the webhook too.
fn start() -> (Peer, Installation) {
    let installation = Installation::start();
    installation.webhook.register();
    let peer = installation.plane.start_peer();
    await_calls(&peer.kubectl("alice"));
    (peer, installation)
}

#[test]
fn the_webhook_knows_at_once_what_is_written_through_either_api_server() {
    let (peer, installation) = start();
    let users = [installation.plane.kubectl("alice"), peer.kubectl("alice")];
    for (number, [one, other]) in
        [[0, 1], [1, 0]].map(|pair| pair.map(|user| &users[user])).iter().enumerate()
    {
        let acme = format!("acme-{number}");
        one.create(&company(&acme, "{displayName: Acme}")).succeeds();
        for (place, user) in [("one", one), ("other", other)] {
            user.create(&employee(&format!("ada-{place}-{number}"), &acme)).succeeds().without_warnings();
            let missing = user.create(&employee("bob", "no-such-company")).fails();
            missing.prints_error("spec.companyRef.name: Not found: ");
        }
        let ada = other.get("person", &format!("ada-one-{number}"));
        assert_eq!(ada["spec"]["creatorRef"]["name"], "alice", "{ada}");
        // The warning counts people from both API servers, once the webhook has seen them.
        poll::until("a warning about both people", PATIENCE, || {
            let deletion = one.run(["delete", "company", &acme, "--dry-run=server"]).succeeds();
            if deletion.stderr.contains("2 People") { Seen::Ready(()) } else { Seen::NotYet(deletion.stderr) }
        });
    }
}

#[test]
fn while_the_api_server_that_the_webhook_watches_is_down_the_other_one_still_calls_it() {
    let (peer, mut installation) = start();
    let alice = peer.kubectl("alice");
    alice.create(&company("acme", "{displayName: Acme, domains: [acme.com]}")).succeeds();
    // A deletion warns only about people that the webhook has seen.
    alice.create(&employee("ada", "acme")).succeeds();
    poll::until("a webhook that knows the person", PATIENCE, || {
        let deletion = alice.run(["delete", "company", "acme", "--dry-run=server"]).succeeds();
        if deletion.stderr.contains("1 Person") { Seen::Ready(()) } else { Seen::NotYet(deletion.stderr) }
    });
    installation.plane.stop_apiserver();
    alice.create(&employee("bob", "acme")).succeeds();
    let messy = company("globex", "{displayName: Globex, domains: [Globex.com]}");
    alice.create(&messy).succeeds();
    assert_eq!(alice.get("company", "globex")["spec"]["domains"][0], "globex.com");
    // What the webhook has not seen, it cannot look up.
    alice.create(&employee("carol", "globex")).fails().prints_error("could not be checked, try again");
    installation.plane.restart_apiserver();
    poll::until("the usual decisions", PATIENCE, || {
        let missing = alice.create(&employee("dora", "no-such-company"));
        if missing.stderr.contains("Not found: ") {
            Seen::Ready(())
        } else {
            Seen::NotYet(missing.to_string())
        }
    });
}
