//! What the log says about objects: which exist, and the last state of each record.
//!
//! A record takes the bytes of its labels and its spec as JSON, and its name about five times.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use crm_core::api::names::{full_name, split_full_name};
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
    seen: Sightings,
}

/// What the log shows of the existence of objects. A name in neither set is one that the log says nothing about.
#[derive(Default)]
struct Sightings {
    exist: Names,
    gone: Names,
    /// Whether many of them were deleted, and the log does not say which.
    is_forgotten: bool,
}

/// What a write of which the log has no result says about the existence of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// It was created.
    Creation,
    /// It was changed. A record that is being deleted may be changed, too.
    Change,
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
#[serde(rename_all = "camelCase")]
struct RawMetadata<'a> {
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    namespace: Cow<'a, str>,
    #[serde(borrow)]
    deletion_timestamp: Option<&'a RawValue>,
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
    is_terminating: bool,
    json: String,
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
    let is_terminating = metadata.deletion_timestamp.is_some();
    Some(Stored { name: full_name(&metadata.namespace, &metadata.name), is_terminating, json })
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
    let namespace = split_full_name(name).0.map(str::to_owned);
    Some(Record { namespace, ..object.into_record() })
}

impl Sightings {
    fn set(&self, namespace: Option<&str>, name: &str, presence: Presence) {
        let is_there = presence == Presence::Exists;
        self.exist.set(namespace, name, if is_there { Presence::Exists } else { Presence::Missing });
        self.gone.set(namespace, name, if is_there { Presence::Missing } else { Presence::Exists });
    }

    /// `None` if the log does not say.
    fn get(&self, namespace: Option<&str>, name: &str) -> Option<Presence> {
        let is_in = |names: &Names| names.get(namespace, name) == Presence::Exists;
        match (is_in(&self.exist), is_in(&self.gone)) {
            (true, _) => Some(Presence::Exists),
            (false, true) => Some(Presence::Missing),
            (false, false) => None,
        }
    }

    /// Many objects are deleted, and the log does not say which.
    fn forget(&mut self) {
        self.exist.replace(Names::default());
        self.is_forgotten = true;
    }
}

impl Known {
    /// Takes what the log shows of an object, by its full name.
    fn set(&self, name: &str, presence: Presence) {
        if !name.is_empty() {
            let (namespace, name) = self.split(name);
            self.seen.set(namespace, name, presence);
        }
    }

    /// What the log shows of an object, by its full name.
    fn get(&self, name: &str) -> Option<Presence> {
        let (namespace, name) = self.split(name);
        self.seen.get(namespace, name)
    }

    fn split<'n>(&self, name: &'n str) -> (Option<&'n str>, &'n str) {
        let (namespace, name) = split_full_name(name);
        (namespace.filter(|_| self.kind.namespaced), name)
    }
}

impl State {
    /// Nothing is known yet. `kinds` are the kinds that are looked up, besides those of records.
    pub(super) fn new<'k>(kinds: impl IntoIterator<Item = &'k ResourceKind>) -> Self {
        let mut state = Self { kinds: Vec::new(), records: HashMap::new(), referring: HashMap::new() };
        let records = CrmKind::ALL.into_iter().map(|kind| (kind.resource(), Some(kind)));
        for (kind, record) in records.chain(kinds.into_iter().map(|kind| (kind.clone(), None))) {
            if state.known(&kind.group, &kind.plural).is_none() {
                state.kinds.push(Known { kind, record, seen: Sightings::default() });
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

    /// What is known of the records of a kind.
    fn records_of(&self, kind: CrmKind) -> Option<&Known> {
        self.kinds.iter().find(|known| known.record == Some(kind))
    }

    /// The log shows that an object of this full name exists, or that there is none.
    pub(super) fn observe(&mut self, group: &str, plural: &str, name: &str, presence: Presence) {
        if let Some(known) = self.known(group, plural) {
            known.set(name, presence);
        }
    }

    /// The same for a record.
    pub(super) fn observe_record(&mut self, kind: CrmKind, name: &str, presence: Presence) {
        if let Some(known) = self.records_of(kind) {
            known.set(name, presence);
        }
    }

    /// Whether an object exists; `None` if the log does not say.
    pub(super) fn presence(&self, target: &Target) -> Option<Presence> {
        let known = self.known(&target.kind.group, &target.kind.plural)?;
        known.seen.get(target.namespace.as_deref(), &target.name)
    }

    /// Whether many objects of a kind were deleted, and the log does not say which.
    pub(super) fn has_forgotten(&self, kind: &ResourceKind) -> bool {
        self.known(&kind.group, &kind.plural).is_some_and(|known| known.seen.is_forgotten)
    }

    /// Keeps the state of a record as the answer has it. One that is being deleted does not count as existing.
    pub(super) fn keep(&mut self, kind: CrmKind, stored: &Stored) {
        let to = refers_to_records(kind).then(|| stored.record()).flatten();
        let to = to.and_then(|record| target(kind, &record.spec));
        let presence = if stored.is_terminating { Presence::Missing } else { Presence::Exists };
        self.set(kind, &stored.name, Last { json: Some(stored.json.as_str().into()), to }, presence);
    }

    /// Keeps the state of a record.
    pub(super) fn keep_record(&mut self, kind: CrmKind, name: &str, record: &Record, sign: Sign) {
        let kept = Kept { metadata: KeptMetadata { labels: &record.labels }, spec: &record.spec };
        // Strings, numbers and maps with string keys always have a JSON form.
        let json = serde_json::to_string(&kept).ok().map(Box::from);
        let presence = self.presence_after(kind, name, sign);
        self.set(kind, name, Last { json, to: target(kind, &record.spec) }, presence);
    }

    /// A write changed a record in a way that the log does not show.
    pub(super) fn lose(&mut self, kind: CrmKind, name: &str, sign: Sign) {
        let presence = self.presence_after(kind, name, sign);
        self.set(kind, name, Last::default(), presence);
    }

    /// A record that is known to be gone exists again only if it is created.
    fn presence_after(&self, kind: CrmKind, name: &str, sign: Sign) -> Presence {
        let known = self.records_of(kind).and_then(|known| known.get(name));
        let is_gone = known == Some(Presence::Missing);
        if is_gone && sign == Sign::Change { Presence::Missing } else { Presence::Exists }
    }

    /// A record is deleted. It may be written until its finalizers are removed, so its state stays.
    pub(super) fn delete(&mut self, kind: CrmKind, name: &str) {
        if let Some(last) = self.records.get(&(kind, name.into())) {
            let json = last.json.clone();
            self.set(kind, name, Last { json, to: None }, Presence::Missing);
        }
        self.observe_record(kind, name, Presence::Missing);
    }

    /// Many records of a kind are deleted, and the log does not say which.
    pub(super) fn forget(&mut self, group: &str, plural: &str) {
        let mut kinds = self.kinds.iter_mut();
        let known = kinds.find(|known| known.kind.plural == plural && known.kind.group == group);
        let Some(known) = known else { return };
        known.seen.forget();
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

    fn set(&mut self, kind: CrmKind, name: &str, mut last: Last, presence: Presence) {
        if name.is_empty() {
            return;
        }
        self.observe_record(kind, name, presence);
        if presence != Presence::Exists {
            // Dependents that are being deleted do not count.
            last.to = None;
        }
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
        state.keep_record(CrmKind::Person, "ada", &person("acme"), Sign::Creation);
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
    fn a_change_of_a_deleted_record_does_not_bring_it_back() {
        let mut state = State::new([]);
        state.keep_record(CrmKind::Person, "ada", &person("acme"), Sign::Creation);
        state.delete(CrmKind::Person, "ada");
        state.lose(CrmKind::Person, "ada", Sign::Change);
        assert_eq!(presence(&state, CrmKind::Person, "ada"), Some(Presence::Missing));
        state.keep_record(CrmKind::Person, "ada", &person("acme"), Sign::Change);
        assert_eq!(presence(&state, CrmKind::Person, "ada"), Some(Presence::Missing));
        assert_eq!(people_of(&state, "acme"), [""; 0]);
        state.keep_record(CrmKind::Person, "ada", &person("acme"), Sign::Creation);
        assert_eq!(presence(&state, CrmKind::Person, "ada"), Some(Presence::Exists));
        assert_eq!(people_of(&state, "acme"), ["ada"]);
    }

    #[test]
    fn a_result_that_is_being_deleted_does_not_exist() {
        let mut state = State::new([]);
        let mut object = company(&json!({}));
        object["metadata"]["deletionTimestamp"] = json!("2026-11-23T12:00:00Z");
        state.keep(CrmKind::Company, &stored(CrmKind::Company, &raw(&object)).unwrap());
        assert_eq!(presence(&state, CrmKind::Company, "acme"), Some(Presence::Missing));
    }

    #[test]
    fn an_unknown_change_loses_the_state_but_not_the_record() {
        let mut state = State::new([]);
        state.keep_record(CrmKind::Person, "ada", &person("acme"), Sign::Creation);
        state.lose(CrmKind::Person, "ada", Sign::Change);
        assert_eq!(state.last(CrmKind::Person, "ada"), None);
        assert_eq!(presence(&state, CrmKind::Person, "ada"), Some(Presence::Exists));
        assert_eq!(people_of(&state, "acme"), [""; 0]);
    }

    #[test]
    fn dependents_follow_their_references() {
        let mut state = State::new([]);
        for name in ["ada", "bob", "cem", "dan"] {
            state.keep_record(CrmKind::Person, name, &person("acme"), Sign::Creation);
        }
        state.keep_record(CrmKind::Person, "bob", &person("globex"), Sign::Creation);
        assert_eq!(people_of(&state, "acme"), ["ada", "cem", "dan"]);
        assert_eq!(people_of(&state, "globex"), ["bob"]);
    }

    #[test]
    fn after_the_deletion_of_a_collection_nothing_is_known_of_it() {
        let mut state = State::new([]);
        state.keep_record(CrmKind::Person, "ada", &person("acme"), Sign::Creation);
        state.keep_record(CrmKind::Company, "acme", &Record::default(), Sign::Creation);
        state.forget("crm.milo.io", "people");
        assert_eq!(presence(&state, CrmKind::Person, "ada"), None);
        assert_eq!(state.last(CrmKind::Person, "ada"), None);
        assert_eq!(people_of(&state, "acme"), [""; 0]);
        assert_eq!(presence(&state, CrmKind::Company, "acme"), Some(Presence::Exists));
        assert!(state.has_forgotten(&CrmKind::Person.resource()));
        assert!(!state.has_forgotten(&CrmKind::Company.resource()));
    }
}
