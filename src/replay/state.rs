//! What the log says about objects: which exist, and the last state of each record.
//!
//! A record takes the bytes of its labels and its spec as JSON, and its name about five times.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use crm_core::api::{CrmKind, ResourceKind, Target, VERSION, group_of};
use crm_core::existence::{Names, Presence};
use crm_core::links::{Dependents, Link, NAMED};
use crm_core::rules::Record;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// A record by its kind and its full name.
type Key = (CrmKind, Box<str>);

/// What the log has said so far.
pub(super) struct State {
    kinds: Vec<Known>,
    records: HashMap<Key, Last>,
    /// The records that refer to a record.
    referring: HashMap<Key, BTreeSet<Key>>,
}

/// The objects of one kind.
struct Known {
    kind: ResourceKind,
    /// The kind of record, if these are records.
    record: Option<CrmKind>,
    seen: Names,
    gone: Names,
}

/// The last state of a record.
#[derive(Default)]
struct Last {
    /// Labels and spec, as an object in JSON; `None` if a write changed them in an unknown way.
    json: Option<Box<str>>,
    /// The record that it refers to.
    to: Option<Key>,
}

/// The fields of an object that rules read.
#[derive(Deserialize)]
struct Object {
    metadata: Option<Metadata>,
    #[serde(default)]
    spec: Value,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    name: Option<String>,
    generate_name: Option<String>,
    namespace: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<Owner>>,
}

#[derive(Deserialize)]
struct Owner {
    uid: Option<String>,
}

/// The same fields as text.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw<'a> {
    #[serde(borrow, default)]
    api_version: Cow<'a, str>,
    #[serde(borrow, default)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    metadata: Option<RawMetadata<'a>>,
    #[serde(borrow)]
    spec: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct RawMetadata<'a> {
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    namespace: Cow<'a, str>,
    #[serde(borrow)]
    labels: Option<&'a RawValue>,
}

/// What is kept of a record.
#[derive(Serialize)]
struct Kept<'a> {
    metadata: KeptMetadata<'a>,
    spec: &'a Value,
}

#[derive(Serialize)]
struct KeptMetadata<'a> {
    labels: &'a BTreeMap<String, String>,
}

/// A record in a request or in an answer.
pub(super) struct Given {
    /// The full name, or its prefix if the API server generates it.
    pub(super) name: String,
    /// Whether that is the whole name.
    pub(super) is_named: bool,
    pub(super) record: Record,
}

/// A stored record in an answer.
pub(super) struct Stored {
    name: String,
    json: String,
}

/// The name of a record in reports: in a namespace, `NAMESPACE/NAME`. An empty name stays empty.
pub(super) fn full_name(namespace: &str, name: &str) -> String {
    if namespace.is_empty() || name.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") }
}

/// Reads an object that is written in a namespace, which is empty for other objects; `None` if a field that rules read has
/// a wrong type.
pub(super) fn given(object: &RawValue, namespace: &str) -> Option<Given> {
    // Serde would accept a list for a struct.
    if !object.get().starts_with('{') {
        return None;
    }
    let mut object: Object = serde_json::from_str(object.get()).ok()?;
    let metadata = object.metadata.get_or_insert_default();
    if !namespace.is_empty() {
        metadata.namespace = Some(namespace.to_owned());
    }
    let name = metadata.name.take().filter(|name| !name.is_empty());
    let is_named = name.is_some();
    let name = name.or(metadata.generate_name.take()).unwrap_or_default();
    Some(Given { name: full_name(namespace, &name), is_named, record: object.into_record() })
}

/// Reads the record in an answer; `None` if the answer is something else, such as a Status.
pub(super) fn stored(kind: CrmKind, object: &RawValue) -> Option<Stored> {
    let raw: Raw<'_> = serde_json::from_str(object.get()).ok()?;
    if CrmKind::of(group_of(&raw.api_version), VERSION, &raw.kind) != Some(kind) {
        return None;
    }
    let metadata = raw.metadata?;
    let text = |raw: Option<&RawValue>| raw.map_or("null", RawValue::get).to_owned();
    let (labels, spec) = (text(metadata.labels), text(raw.spec));
    let json = format!(r#"{{"metadata":{{"labels":{labels}}},"spec":{spec}}}"#);
    Some(Stored { name: full_name(&metadata.namespace, &metadata.name), json })
}

impl Stored {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The record; `None` if a field that rules read has a wrong type.
    pub(super) fn record(&self) -> Option<Record> {
        record(&self.name, &self.json)
    }
}

impl Object {
    fn into_record(self) -> Record {
        let Metadata { labels, namespace, owner_references, .. } = self.metadata.unwrap_or_default();
        let uids = |owners: Vec<Owner>| owners.into_iter().filter_map(|owner| owner.uid).collect();
        Record {
            labels: labels.unwrap_or_default(),
            spec: self.spec,
            namespace,
            owners: owner_references.map(uids),
        }
    }
}

/// The record of this full name. Its owners matter only when it is created, so they are not kept.
fn record(name: &str, json: &str) -> Option<Record> {
    let object: Object = serde_json::from_str(json).ok()?;
    let namespace = name.split_once('/').map(|(namespace, _)| namespace.to_owned());
    Some(Record { namespace, ..object.into_record() })
}

impl Known {
    fn set(&self, namespace: &str, name: &str, presence: Presence) {
        if name.is_empty() {
            return;
        }
        let namespace = Some(namespace).filter(|_| self.kind.namespaced);
        let is_there = presence == Presence::Exists;
        self.seen.set(namespace, name, if is_there { Presence::Exists } else { Presence::Missing });
        self.gone.set(namespace, name, if is_there { Presence::Missing } else { Presence::Exists });
    }
}

impl State {
    /// Nothing is known yet. `kinds` are the kinds that are looked up, besides those of records.
    pub(super) fn new<'k>(kinds: impl IntoIterator<Item = &'k ResourceKind>) -> Self {
        let mut state = Self { kinds: Vec::new(), records: HashMap::new(), referring: HashMap::new() };
        let records = CrmKind::ALL.into_iter().map(|kind| (kind.resource(), Some(kind)));
        for (kind, record) in records.chain(kinds.into_iter().map(|kind| (kind.clone(), None))) {
            if state.known(&kind.group, &kind.plural).is_none() {
                state.kinds.push(Known { kind, record, seen: Names::default(), gone: Names::default() });
            }
        }
        state
    }

    /// Whether objects of this group and plural matter, and which records they are.
    pub(super) fn kind(&self, group: &str, plural: &str) -> Option<Option<CrmKind>> {
        self.known(group, plural).map(|known| known.record)
    }

    fn known(&self, group: &str, plural: &str) -> Option<&Known> {
        self.kinds.iter().find(|known| known.kind.plural == plural && known.kind.group == group)
    }

    /// The log shows that an object exists, or that there is none of that name.
    pub(super) fn observe(
        &mut self,
        group: &str,
        plural: &str,
        namespace: &str,
        name: &str,
        presence: Presence,
    ) {
        if let Some(known) = self.known(group, plural) {
            known.set(namespace, name, presence);
        }
    }

    /// The same for a record, by its full name.
    pub(super) fn observe_record(&mut self, kind: CrmKind, name: &str, presence: Presence) {
        if let Some(known) = self.kinds.iter().find(|known| known.record == Some(kind)) {
            let (namespace, name) = name.split_once('/').unwrap_or(("", name));
            known.set(namespace, name, presence);
        }
    }

    /// Whether an object exists; `None` if the log does not say.
    pub(super) fn presence(&self, target: &Target) -> Option<Presence> {
        let known = self.known(&target.kind.group, &target.kind.plural)?;
        let is_in = |names: &Names| names.get(target.namespace.as_deref(), &target.name) == Presence::Exists;
        match (is_in(&known.seen), is_in(&known.gone)) {
            (true, _) => Some(Presence::Exists),
            (false, true) => Some(Presence::Missing),
            (false, false) => None,
        }
    }

    /// Keeps the state of a record as the answer has it.
    pub(super) fn keep(&mut self, kind: CrmKind, stored: &Stored) {
        let to = refers_to_records(kind).then(|| stored.record()).flatten();
        let to = to.and_then(|record| target(kind, &record.spec));
        self.set(kind, &stored.name, Last { json: Some(stored.json.as_str().into()), to });
    }

    /// Keeps the state of a record.
    pub(super) fn keep_record(&mut self, kind: CrmKind, name: &str, record: &Record) {
        let kept = Kept { metadata: KeptMetadata { labels: &record.labels }, spec: &record.spec };
        // Strings, numbers and maps with string keys always have a JSON form.
        let json = serde_json::to_string(&kept).ok().map(Box::from);
        self.set(kind, name, Last { json, to: target(kind, &record.spec) });
    }

    /// A write changed a record in a way that the log does not show.
    pub(super) fn lose(&mut self, kind: CrmKind, name: &str) {
        self.set(kind, name, Last::default());
    }

    /// A record is deleted. It may be written until its finalizers are removed, so its state stays.
    pub(super) fn delete(&mut self, kind: CrmKind, name: &str) {
        if let Some(last) = self.records.get(&(kind, name.into())) {
            let json = last.json.clone();
            self.set(kind, name, Last { json, to: None });
        }
        self.observe_record(kind, name, Presence::Missing);
    }

    /// Many records of a kind are deleted, and the log does not say which.
    pub(super) fn forget(&mut self, group: &str, plural: &str) {
        let Some(known) = self.known(group, plural) else { return };
        known.seen.replace(Names::default());
        if let Some(kind) = known.record {
            self.records.retain(|(of, _), _| *of != kind);
            self.referring.retain(|_, referring| {
                referring.retain(|(of, _)| *of != kind);
                !referring.is_empty()
            });
        }
    }

    /// A record that exists outside of the log refers to another.
    pub(super) fn refers(&mut self, kind: CrmKind, name: &str, spec: &Value) {
        let (key, to) = ((kind, Box::from(name)), target(kind, spec));
        self.set_target(&key, to.clone());
        self.records.insert(key, Last { json: None, to });
    }

    /// The last state of a record; `None` if the log does not have it.
    pub(super) fn last(&self, kind: CrmKind, name: &str) -> Option<Record> {
        record(name, self.records.get(&(kind, name.into()))?.json.as_deref()?)
    }

    /// The number of dependents that the log shows, and the names of the first.
    pub(super) fn dependents(&self, question: &Dependents) -> (usize, Vec<String>) {
        let referring = self.referring.get(&(question.of, question.name.as_str().into()));
        let of_kind = referring.into_iter().flatten().filter(|(kind, _)| *kind == question.kind);
        let names = of_kind.clone().take(NAMED).map(|(_, name)| name.to_string());
        (of_kind.clone().count(), names.collect())
    }

    fn set(&mut self, kind: CrmKind, name: &str, last: Last) {
        if name.is_empty() {
            return;
        }
        self.observe_record(kind, name, Presence::Exists);
        let key = (kind, Box::from(name));
        self.set_target(&key, last.to.clone());
        self.records.insert(key, last);
    }

    fn set_target(&mut self, key: &Key, to: Option<Key>) {
        let before = self.records.get(key).and_then(|last| last.to.clone());
        if before == to && before.is_some() {
            return;
        }
        if let Some(before) = before
            && let Some(referring) = self.referring.get_mut(&before)
        {
            referring.remove(key);
            if referring.is_empty() {
                self.referring.remove(&before);
            }
        }
        if let Some(to) = to {
            self.referring.entry(to).or_default().insert(key.clone());
        }
    }
}

/// Whether records of a kind refer to others.
fn refers_to_records(kind: CrmKind) -> bool {
    Link::of(kind).any(|link| !link.to.records().is_empty())
}

/// The record that a record refers to.
fn target(kind: CrmKind, spec: &Value) -> Option<Key> {
    Dependents::target(kind, spec).map(|(of, name)| (of, name.into()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn raw(object: &Value) -> Box<RawValue> {
        RawValue::from_string(object.to_string()).unwrap()
    }

    fn company(spec: &Value) -> Value {
        json!({"apiVersion": "crm.milo.io/v1alpha1", "kind": "Company",
            "metadata": {"name": "acme", "labels": {"a": "b"}, "uid": "1"}, "spec": spec, "status": {}})
    }

    fn person(company: &str) -> Record {
        Record { spec: json!({"companyRef": {"name": company}}), ..Record::default() }
    }

    fn people_of(state: &State, company: &str) -> Vec<String> {
        let questions = Dependents::of(CrmKind::Company, company);
        state.dependents(questions.iter().find(|question| question.kind == CrmKind::Person).unwrap()).1
    }

    fn presence(state: &State, kind: CrmKind, name: &str) -> Option<Presence> {
        let kind = std::sync::Arc::new(kind.resource());
        state.presence(&Target { kind, namespace: None, name: name.to_owned() })
    }

    #[test]
    fn the_last_state_is_labels_and_spec() {
        let mut state = State::new([]);
        let object = raw(&company(&json!({"displayName": "Acme"})));
        state.keep(CrmKind::Company, &stored(CrmKind::Company, &object).unwrap());
        let last = state.last(CrmKind::Company, "acme").unwrap();
        assert_eq!(last, given(&object, "").unwrap().record);
        assert_eq!(last.labels["a"], "b");
        assert_eq!(presence(&state, CrmKind::Company, "acme"), Some(Presence::Exists));
        assert_eq!(presence(&state, CrmKind::Person, "acme"), None);
    }

    #[test]
    fn an_answer_may_be_something_else_than_the_record() {
        let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "spec": {}});
        assert!(stored(CrmKind::Company, &raw(&status)).is_none());
        assert!(stored(CrmKind::Person, &raw(&company(&json!({})))).is_none());
    }

    #[test]
    fn a_patch_is_no_object() {
        assert!(given(&raw(&json!([{"op": "remove", "path": "/spec"}])), "").is_none());
        assert!(given(&raw(&json!({"metadata": {"labels": {"a": 1}}})), "").is_none());
    }

    #[test]
    fn a_generated_name_is_shown_by_its_prefix() {
        let object = given(&raw(&json!({"metadata": {"generateName": "acme-"}})), "").unwrap();
        assert_eq!((object.name.as_str(), object.is_named), ("acme-", false));
    }

    #[test]
    fn a_deleted_record_is_gone_and_its_last_state_stays() {
        let mut state = State::new([]);
        state.keep_record(CrmKind::Person, "ada", &person("acme"));
        state.delete(CrmKind::Person, "ada");
        assert_eq!(presence(&state, CrmKind::Person, "ada"), Some(Presence::Missing));
        assert_eq!(state.last(CrmKind::Person, "ada"), Some(person("acme")));
        assert_eq!(people_of(&state, "acme"), [""; 0]);
    }

    #[test]
    fn records_of_two_namespaces_are_two_records() {
        let note = |namespace: &str, content: &str| {
            stored(
                CrmKind::NamespacedNote,
                &raw(&json!({"apiVersion": "notes.miloapis.com/v1alpha1", "kind": "Note",
                    "metadata": {"name": "call", "namespace": namespace}, "spec": {"content": content}})),
            )
            .unwrap()
        };
        let mut state = State::new([]);
        state.keep(CrmKind::NamespacedNote, &note("sales", "a"));
        state.keep(CrmKind::NamespacedNote, &note("support", "b"));
        state.delete(CrmKind::NamespacedNote, "support/call");
        let last = state.last(CrmKind::NamespacedNote, "sales/call").unwrap();
        assert_eq!((last.namespace.as_deref(), &last.spec["content"]), (Some("sales"), &json!("a")));
        let presence = |namespace: &str| {
            let kind = std::sync::Arc::new(CrmKind::NamespacedNote.resource());
            state.presence(&Target { kind, namespace: Some(namespace.to_owned()), name: "call".to_owned() })
        };
        assert_eq!(presence("sales"), Some(Presence::Exists));
        assert_eq!(presence("support"), Some(Presence::Missing));
    }

    #[test]
    fn an_unknown_change_loses_the_state_but_not_the_record() {
        let mut state = State::new([]);
        state.keep_record(CrmKind::Person, "ada", &person("acme"));
        state.lose(CrmKind::Person, "ada");
        assert_eq!(state.last(CrmKind::Person, "ada"), None);
        assert_eq!(presence(&state, CrmKind::Person, "ada"), Some(Presence::Exists));
        assert_eq!(people_of(&state, "acme"), [""; 0]);
    }

    #[test]
    fn dependents_follow_their_references() {
        let mut state = State::new([]);
        for name in ["ada", "bob", "cem", "dan"] {
            state.keep_record(CrmKind::Person, name, &person("acme"));
        }
        state.keep_record(CrmKind::Person, "bob", &person("globex"));
        assert_eq!(people_of(&state, "acme"), ["ada", "cem", "dan"]);
        assert_eq!(people_of(&state, "globex"), ["bob"]);
    }

    #[test]
    fn after_the_deletion_of_a_collection_nothing_is_known_of_it() {
        let mut state = State::new([]);
        state.keep_record(CrmKind::Person, "ada", &person("acme"));
        state.keep_record(CrmKind::Company, "acme", &Record::default());
        state.forget("crm.milo.io", "people");
        assert_eq!(presence(&state, CrmKind::Person, "ada"), None);
        assert_eq!(state.last(CrmKind::Person, "ada"), None);
        assert_eq!(people_of(&state, "acme"), [""; 0]);
        assert_eq!(presence(&state, CrmKind::Company, "acme"), Some(Presence::Exists));
    }
}
