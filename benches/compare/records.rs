//! The whole records of the fake API server, with the conditions that programs write, and the Lease of the writer.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

use serde_json::{Value, json};
use tokio::sync::broadcast;

use crate::cases::{clean_company, person_at};

/// The number of written records that a slow watch may be behind.
const BACKLOG: usize = 16_384;
/// The resource version of everything in a list.
pub(crate) const LISTED: u64 = 1000;
/// The kinds whose conditions are written, with the beginning of the names of their records.
const KINDS: [(&str, &str, &str); 3] =
    [("companies", "Company", "company"), ("people", "Person", "person"), ("notes", "Note", "note")];

/// A record by kind and number.
pub(crate) type Id = (&'static str, u64);

/// The state of the records since the last start of a program.
pub(crate) struct Records {
    company: String,
    /// The name of the Company is in the place of the slot.
    person: [String; 2],
    /// Whether the records that nobody has written have the condition of a valid record.
    judged: AtomicBool,
    /// The resource version and the condition of the records that were written.
    written: Mutex<HashMap<Id, (u64, String)>>,
    /// Tells watches what was written.
    pub(crate) changes: broadcast::Sender<Id>,
    writes: AtomicU64,
    /// The number of lists of whole records that were read to the end.
    pub(crate) lists: AtomicUsize,
    lease: Mutex<Option<Value>>,
}

impl Default for Records {
    fn default() -> Self {
        const SLOT: &str = "SLOT";
        let person = person_at(SLOT).to_string();
        let (before, after) = person.split_once(SLOT).unwrap();
        Self {
            company: clean_company().to_string(),
            person: [before.to_owned(), after.to_owned()],
            judged: AtomicBool::new(false),
            written: Mutex::default(),
            changes: broadcast::Sender::new(BACKLOG),
            writes: AtomicU64::new(0),
            lists: AtomicUsize::new(0),
            lease: Mutex::default(),
        }
    }
}

/// The kind with this plural, and the number of the record in its name.
pub(crate) fn id(plural: &str, name: &str) -> Option<Id> {
    let (kind, prefix) = with_plural(plural)?;
    Some((kind, name.strip_prefix(prefix)?.strip_prefix('-')?.parse().ok()?))
}

/// The kind with this plural.
pub(crate) fn kind(plural: &str) -> Option<&'static str> {
    with_plural(plural).map(|(kind, _)| kind)
}

/// The kind with this plural, and the start of its names.
fn with_plural(plural: &str) -> Option<(&'static str, &'static str)> {
    KINDS.into_iter().find(|(of_kind, ..)| *of_kind == plural).map(|(_, kind, prefix)| (kind, prefix))
}

pub(crate) fn name((kind, number): Id) -> String {
    let prefix = KINDS.into_iter().find(|(_, of_kind, _)| *of_kind == kind).map_or("", |(.., prefix)| prefix);
    format!("{prefix}-{number:08}")
}

impl Records {
    /// Forgets what was written. `judged` says whether all records have their condition, as after a pass.
    pub(crate) fn reset(&self, judged: bool) {
        self.judged.store(judged, Relaxed);
        self.written.lock().unwrap().clear();
        self.lists.store(0, Relaxed);
        *self.lease.lock().unwrap() = None;
    }

    /// The number of conditions that were written so far.
    pub(crate) fn writes(&self) -> u64 {
        self.writes.load(Relaxed)
    }

    /// The resource version of a record.
    pub(crate) fn version(&self, id: Id) -> u64 {
        self.written.lock().unwrap().get(&id).map_or(LISTED, |(version, _)| *version)
    }

    /// Stores the condition in this apply.
    pub(crate) fn write(&self, id: Id, version: u64, applied: &Value) {
        let condition = &applied["status"]["conditions"][0];
        assert!(condition["type"] == "Compliant", "not the apply of a condition: {applied}");
        self.written.lock().unwrap().insert(id, (version, condition.to_string()));
        self.writes.fetch_add(1, Relaxed);
        // Without a watch, nobody listens.
        let _ = self.changes.send(id);
    }

    /// Writes a record as an API server returns it. There are this many Companies that a Person can refer to.
    pub(crate) fn show(&self, text: &mut String, id: Id, companies: u64) {
        let (kind, number) = id;
        let written = self.written.lock().unwrap().get(&id).cloned();
        let version = written.as_ref().map_or(LISTED, |(version, _)| *version);
        let spec = if kind == "Company" {
            self.company.clone()
        } else {
            let [before, after] = &self.person;
            format!("{before}{}{after}", name(("Company", number % companies.max(1))))
        };
        let status = match written {
            Some((_, condition)) => format!(r#","status":{{"conditions":[{condition}]}}"#),
            None if self.judged.load(Relaxed) => format!(r#","status":{{"conditions":[{VALID}]}}"#),
            None => String::new(),
        };
        let name = name(id);
        let is_written = write!(
            text,
            r#"{{"apiVersion":"crm.milo.io/v1alpha1","kind":"{kind}","metadata":{{"name":"{name}","uid":"6f1c7d1e-3a52-4c0e-9d3f-{number:012}","resourceVersion":"{version}","generation":1,"creationTimestamp":"2026-03-01T09:30:00Z","labels":{{"crm.milo.io/source":"referral"}},"managedFields":[{{"manager":"kubectl-create","operation":"Update","apiVersion":"crm.milo.io/v1alpha1","time":"2026-03-01T09:30:00Z","fieldsType":"FieldsV1","fieldsV1":{{"f:metadata":{{"f:labels":{{".":{{}},"f:crm.milo.io/source":{{}}}}}},"f:spec":{{".":{{}},"f:creatorRef":{{".":{{}},"f:name":{{}}}},"f:displayName":{{}},"f:linkedinProfile":{{}}}}}}}}]}},"spec":{spec}{status}}}"#
        );
        is_written.unwrap();
    }

    /// The Lease, if it exists.
    pub(crate) fn lease(&self) -> Option<Value> {
        self.lease.lock().unwrap().clone()
    }

    /// Stores the Lease. Returns it as it is then.
    pub(crate) fn hold(&self, mut lease: Value, version: u64) -> Value {
        lease["apiVersion"] = json!("coordination.k8s.io/v1");
        lease["kind"] = json!("Lease");
        lease["metadata"]["resourceVersion"] = version.to_string().into();
        *self.lease.lock().unwrap() = Some(lease.clone());
        lease
    }
}

/// The condition that the program writes for a record without findings.
const VALID: &str = r#"{"type":"Compliant","status":"True","reason":"Compliant","message":"The record complies with the policy.","observedGeneration":1,"lastTransitionTime":"2026-03-01T09:31:00Z"}"#;
