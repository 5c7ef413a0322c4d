//! Tests what the garbage collector of a real cluster does with notes when their subject is deleted, in each way.

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
fn notes_are_deleted_with_their_company_unless_they_are_orphaned() {
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
    let create = |name: &str| {
        let subject = format!("{{apiGroup: crm.milo.io, kind: Company, name: {name}}}");
        let call = milo_note_on(&format!("{name}-call"), None, &subject, "");
        let mail = note_on(name, &format!("{name}-mail"));
        let records = bundle([company(name, "{displayName: Noted}"), call, mail]);
        admin.run_with(&records, ["create", "-f", "-"].into_iter().chain(as_alice)).succeeds();
    };
    let delete = |name: &str, cascade: &str| {
        admin.run(["delete", "company", name, cascade].into_iter().chain(as_alice)).succeeds()
    };
    let notes = || {
        let kinds = "clusternotes.notes.miloapis.com,notes.crm.milo.io";
        admin.run(["get", kinds, "-o", "name"]).succeeds().stdout
    };
    let no_notes = || match notes() {
        left if left.is_empty() => Seen::Ready(()),
        left => Seen::NotYet(left),
    };
    // In the foreground, the garbage collector deletes first what blocks the deletion. Notes do not.
    for (name, cascade) in [("acme", "--cascade=background"), ("globex", "--cascade=foreground")] {
        create(name);
        delete(name, cascade).warns(&format!(
            "metadata.name: \"{name}\": 1 Note and 1 ClusterNote will be deleted with it [delete-referenced]"
        ));
        poll::until("no notes", PATIENCE, no_notes);
        assert!(!admin.has("company", name), "{name}");
    }

    create("initech");
    // Without names, which are collected only of notes without an owner.
    delete("initech", "--cascade=orphan").warns(
        "metadata.name: \"initech\": still referred to by 1 Note and 1 ClusterNote [delete-referenced]",
    );
    let gone = || match admin.has("company", "initech") {
        false => Seen::Ready(()),
        true => Seen::NotYet("it is still there".to_owned()),
    };
    poll::until("the end of the Company", PATIENCE, gone);
    // The garbage collector has removed the references of both, although the policy keeps notes immutable.
    for (kind, note) in
        [("clusternotes.notes.miloapis.com", "initech-call"), ("notes.crm.milo.io", "initech-mail")]
    {
        let stored = admin.get(kind, note);
        assert!(stored["metadata"]["ownerReferences"].is_null(), "{stored}");
    }
}
