//! Tests that Milo's notes are deleted with their subject, by the garbage collector of a real cluster.

use super::changes::overlay_with;
use crate::support::foreign_kinds::{milo_kinds, milo_note_on, milo_objects};
use crate::support::manifest;
use crate::support::pods::cluster::Cluster;
use crate::support::pods::family::Family;
use crate::support::poll::{self, Seen};
use crate::support::records::{bundle, company, note_on};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn notes_are_deleted_with_their_company() {
    let cluster = Cluster::start(Family::Ipv4);
    let admin = cluster.plane().kubectl("admin");
    admin.create(&milo_kinds()).succeeds();
    poll::until("Milo's kinds", PATIENCE, || match admin.apply(&milo_objects("user-7f3")) {
        applied if applied.ok() => Seen::Ready(()),
        other => Seen::NotYet(other.to_string()),
    });
    let overlay = overlay_with(&cluster, "milo", "self-managed", &["milo"]);
    cluster.install_with(&["--overlay", &overlay]);
    admin.apply_path(&manifest("policy/milo.yaml")).succeeds();
    let as_alice = ["--as=alice", "--as-group=crm-editors", "--as-uid=user-7f3"];
    let acme = company("acme", "{displayName: Acme}");
    // The policy is in force when the UID is taken.
    poll::until("a Company of user-7f3", PATIENCE, || {
        let shown = admin.run_with(
            &acme,
            ["create", "--dry-run=server", "-o", "yaml", "-f", "-"].into_iter().chain(as_alice),
        );
        if shown.stdout.contains("user-7f3") { Seen::Ready(()) } else { Seen::NotYet(shown.to_string()) }
    });
    let subject = "{apiGroup: crm.milo.io, kind: Company, name: acme}";
    let records = bundle([acme, milo_note_on("call", None, subject, ""), note_on("acme", "mail")]);
    admin.run_with(&records, ["create", "-f", "-"].into_iter().chain(as_alice)).succeeds();
    let kinds = "clusternotes.notes.miloapis.com,notes.crm.milo.io";
    admin.run(["delete", "company", "acme"].into_iter().chain(as_alice)).succeeds().warns(
        "metadata.name: \"acme\": 1 Note and 1 ClusterNote will be deleted with it [delete-referenced]",
    );
    poll::until("no notes", PATIENCE, || match admin.run(["get", kinds, "-o", "name"]).succeeds().stdout {
        left if left.is_empty() => Seen::Ready(()),
        left => Seen::NotYet(left),
    });
}
