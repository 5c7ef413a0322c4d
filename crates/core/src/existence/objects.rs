//! Stores which objects exist, and what refers to them, for objects that are known in advance, such as those of manifests.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::Presence;
use super::names::Names;
use crate::api::{CrmKind, ResourceKind, Target, VERSION, group_of};
use crate::links::{Count, Dependents, NAMED, Tally, Visibility};

/// The namespace of a manifest without one, as in kubectl.
const DEFAULT_NAMESPACE: &str = "default";

/// A set of objects. Only kind and name of each are kept, and for records the target of their reference.
#[derive(Default)]
pub struct Objects {
    /// By group and kind. The version does not matter: an object exists in all versions of its kind.
    kinds: HashMap<String, HashMap<String, Kind>>,
    /// The targets of CRM records, by kind, namespace and name of the record. Records that are being deleted are not
    /// included.
    referrers: BTreeMap<(CrmKind, String, String), Referrer>,
    /// The uids of objects that have one, by group, kind, namespace and name. They are stored both ways, too.
    uids: HashMap<(String, String, Option<String>, String), String>,
}

/// The target of a record.
struct Referrer {
    of: CrmKind,
    name: String,
    /// Whether the target is an owner of the record.
    is_owned: bool,
}

/// The objects of one kind.
///
/// A manifest does not show whether its kind is namespaced: a namespaced object may omit the namespace, and the API
/// server ignores the namespace of a cluster-scoped object. Only the question knows the scope, so each object is stored
/// both ways.
#[derive(Default)]
struct Kind {
    by_name: Names,
    by_namespace: Names,
}

impl Objects {
    /// The set of the objects in these manifests. Those without kind or name are skipped; those with a
    /// `deletionTimestamp` are being deleted.
    pub fn new<'a>(manifests: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut objects = Self::default();
        for manifest in manifests {
            objects.add_manifest(manifest);
        }
        objects
    }

    /// Records what is known of an object, and replaces earlier knowledge.
    pub fn add(&mut self, group: &str, kind: &str, namespace: Option<&str>, name: &str, presence: Presence) {
        let kinds = self.kinds.entry(group.to_owned()).or_default();
        let kind = kinds.entry(kind.to_owned()).or_default();
        kind.by_name.set(None, name, presence);
        kind.by_namespace.set(Some(namespace.unwrap_or(DEFAULT_NAMESPACE)), name, presence);
    }

    /// Whether an object exists or is being deleted; `None` if it is not in the set.
    pub fn presence(&self, target: &Target) -> Option<Presence> {
        let names = self.kind(&target.kind)?.names(target);
        match names.get(target.namespace.as_deref(), &target.name) {
            Presence::Missing => None,
            known => Some(known),
        }
    }

    /// A similar name of that kind in the set, if there is one.
    pub fn nearest(&self, target: &Target) -> Option<String> {
        let names = self.kind(&target.kind)?.names(target);
        names.nearest(target.namespace.as_deref(), &target.name)
    }

    fn add_manifest(&mut self, object: &Value) {
        let Some(kind) = object["kind"].as_str() else {
            return;
        };
        let (Some(version), Some(name)) =
            (object["apiVersion"].as_str(), object["metadata"]["name"].as_str())
        else {
            return;
        };
        if name.is_empty() {
            return;
        }
        let metadata = &object["metadata"];
        let group = group_of(version);
        let namespace = metadata["namespace"].as_str().filter(|namespace| !namespace.is_empty());
        let presence =
            if metadata["deletionTimestamp"].is_null() { Presence::Exists } else { Presence::Terminating };
        self.add(group, kind, namespace, name, presence);
        if let Some(uid) = metadata["uid"].as_str().filter(|uid| !uid.is_empty()) {
            for namespace in [None, Some(namespace.unwrap_or(DEFAULT_NAMESPACE).to_owned())] {
                self.uids
                    .insert((group.to_owned(), kind.to_owned(), namespace, name.to_owned()), uid.to_owned());
            }
        }
        if let Some(kind) = CrmKind::of(group, VERSION, kind) {
            self.add_referrer(kind, namespace, name, presence, object);
        }
    }

    fn add_referrer(
        &mut self,
        kind: CrmKind,
        namespace: Option<&str>,
        name: &str,
        presence: Presence,
        object: &Value,
    ) {
        let namespace = namespace.filter(|_| kind.is_namespaced()).unwrap_or_default();
        let key = (kind, namespace.to_owned(), name.to_owned());
        match Dependents::target(kind, &object["spec"]) {
            Some((of, target)) if presence == Presence::Exists => {
                let owners = object["metadata"]["ownerReferences"].as_array();
                let is_target = |owner: &Value| {
                    let text = |field: &str| owner[field].as_str().unwrap_or_default();
                    Dependents::is_reference_to(of, target, text("apiVersion"), text("kind"), text("name"))
                };
                // With another owner, it stays.
                let is_owned = owners.is_some_and(|all| !all.is_empty() && all.iter().all(is_target));
                self.referrers.insert(key, Referrer { of, name: target.to_owned(), is_owned });
            }
            _ => {
                self.referrers.remove(&key);
            }
        }
    }

    /// The uid of an object, if it is in the set and has one.
    pub fn uid(&self, target: &Target) -> Option<&str> {
        let ResourceKind { group, kind, .. } = &*target.kind;
        let key = (group.clone(), kind.clone(), target.namespace.clone(), target.name.clone());
        self.uids.get(&key).map(String::as_str)
    }

    /// The dependents of a record in the set.
    pub fn dependents(&self, question: &Dependents) -> Tally {
        let refers = |to: &Referrer| to.of == question.of && to.name == question.name;
        let referrers = self.referrers.iter().filter(|((kind, ..), to)| *kind == question.kind && refers(to));
        let (owned, others): (Vec<_>, Vec<_>) = referrers.partition(|(_, to)| to.is_owned);
        let names: Vec<&String> = others.into_iter().map(|((_, _, name), _)| name).collect();
        Tally {
            count: Count::Exactly(names.len()),
            owned: Count::Exactly(owned.len()),
            names: names.into_iter().take(NAMED).cloned().collect(),
            visibility: Visibility::Visible,
        }
    }

    /// The kinds in the set, as `Company.crm.milo.io`, and the number of objects of each, sorted.
    pub fn kinds(&self) -> Vec<(String, usize)> {
        let kinds = self.kinds.iter().flat_map(|(group, kinds)| {
            kinds.iter().map(move |(kind, objects)| {
                let name = if group.is_empty() { kind.clone() } else { format!("{kind}.{group}") };
                (name, objects.by_namespace.count())
            })
        });
        let mut kinds: Vec<_> = kinds.collect();
        kinds.sort();
        kinds
    }

    fn kind(&self, kind: &ResourceKind) -> Option<&Kind> {
        self.kinds.get(&kind.group)?.get(&kind.kind)
    }
}

impl Kind {
    fn names(&self, target: &Target) -> &Names {
        if target.kind.namespaced { &self.by_namespace } else { &self.by_name }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn objects() -> Objects {
        Objects::new(&[
            json!({"apiVersion": "crm.milo.io/v1alpha1", "kind": "Company", "metadata": {"name": "acme-corp"}}),
            json!({"apiVersion": "crm.milo.io/v9", "kind": "Company", "metadata": {"name": "globex", "namespace": "x"}}),
            json!({"apiVersion": "crm.milo.io/v1alpha1", "kind": "Company",
                "metadata": {"name": "initech", "deletionTimestamp": "2026-01-01T00:00:00Z"}}),
            json!({"apiVersion": "other.example/v1", "kind": "Company", "metadata": {"name": "hooli"}}),
            json!({"apiVersion": "example.com/v1", "kind": "Contact", "metadata": {"name": "bob", "namespace": "sales"}}),
            json!({"apiVersion": "example.com/v1", "kind": "Contact", "metadata": {"name": "eve"}}),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}}),
            json!({"apiVersion": "crm.milo.io/v1alpha1", "kind": "Company", "metadata": {"generateName": "a-"}}),
            json!({"apiVersion": "crm.milo.io/v1alpha1", "kind": "Company", "metadata": {"name": ""}}),
            json!({"kind": "Company", "metadata": {"name": "no-version"}}),
            json!({"apiVersion": "crm.milo.io/v1alpha1", "metadata": {"name": "no-kind"}}),
            json!("no object"),
        ])
    }

    fn company(name: &str) -> Target {
        Target {
            kind: Arc::new(ResourceKind::crm("Company", "companies")),
            namespace: None,
            name: name.into(),
        }
    }

    fn contact(namespace: &str, name: &str) -> Target {
        let kind = ResourceKind {
            group: "example.com".into(),
            version: "v1".into(),
            kind: "Contact".into(),
            plural: "contacts".into(),
            namespaced: true,
        };
        Target { kind: Arc::new(kind), namespace: Some(namespace.into()), name: name.into() }
    }

    #[rstest]
    #[case::present(company("acme-corp"), Some(Presence::Exists))]
    #[case::another_version_with_a_needless_namespace(company("globex"), Some(Presence::Exists))]
    #[case::being_deleted(company("initech"), Some(Presence::Terminating))]
    #[case::of_another_group(company("hooli"), None)]
    #[case::without_a_version(company("no-version"), None)]
    #[case::without_a_name(company(""), None)]
    #[case::namespaced(contact("sales", "bob"), Some(Presence::Exists))]
    #[case::in_another_namespace(contact("support", "bob"), None)]
    #[case::in_the_default_namespace(contact("default", "eve"), Some(Presence::Exists))]
    #[case::not_in_the_default_namespace(contact("sales", "eve"), None)]
    fn presence(#[case] target: Target, #[case] expected: Option<Presence>) {
        assert_eq!(objects().presence(&target), expected);
    }

    #[rstest]
    #[case::cluster_scoped(company("acme-crop"), Some("acme-corp"))]
    #[case::namespaced(contact("sales", "bobb"), Some("bob"))]
    #[case::nothing_similar(company("umbrella"), None)]
    #[case::similar_in_another_namespace(contact("support", "bobb"), None)]
    fn nearest(#[case] target: Target, #[case] expected: Option<&str>) {
        assert_eq!(objects().nearest(&target).as_deref(), expected);
    }

    fn person(name: &str, company: &str) -> Value {
        json!({"apiVersion": "crm.milo.io/v1alpha1", "kind": "Person", "metadata": {"name": name},
            "spec": {"companyRef": {"name": company}}})
    }

    fn note(name: &str, group: &str, kind: &str, subject: &str) -> Value {
        json!({"apiVersion": "crm.milo.io/v1alpha1", "kind": "Note", "metadata": {"name": name},
            "spec": {"subjectRef": {"apiGroup": group, "kind": kind, "name": subject}}})
    }

    #[test]
    fn those_who_refer_to_a_record_are_counted_and_the_first_are_named() {
        let mut leaving = person("zoe", "acme");
        leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let objects = Objects::new(&[
            person("dan", "acme"),
            person("ada", "acme"),
            person("cem", "acme"),
            person("bob", "acme"),
            leaving,
            person("eve", "globex"),
            note("of-company", "crm.milo.io", "Company", "acme"),
            note("of-person", "crm.milo.io", "Person", "acme"),
            note("of-another-group", "example.com", "Company", "acme"),
            json!({"apiVersion": "notes.miloapis.com/v1alpha1", "kind": "ClusterNote", "metadata": {"name": "of-milo"},
                "spec": {"subjectRef": {"apiGroup": "crm.milo.io", "kind": "Company", "name": "acme"}}}),
            // About an object in its namespace, whatever it says.
            json!({"apiVersion": "notes.miloapis.com/v1alpha1", "kind": "Note", "metadata": {"name": "in-a-namespace"},
                "spec": {"subjectRef": {"apiGroup": "crm.milo.io", "kind": "Company", "name": "acme"}}}),
            // The last word counts, as for names.
            note("moved", "crm.milo.io", "Company", "acme"),
            note("moved", "crm.milo.io", "Company", "globex"),
        ]);
        let found = |of: CrmKind, name: &str| -> Vec<(Count, Vec<String>)> {
            let questions = Dependents::of(of, name).into_iter();
            questions
                .map(|question| objects.dependents(&question))
                .map(|tally| (tally.count, tally.names))
                .collect()
        };
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let at_acme = (Count::Exactly(4), names(&["ada", "bob", "cem"]));
        let none = (Count::Exactly(0), vec![]);
        assert_eq!(
            found(CrmKind::Company, "acme"),
            [at_acme, (Count::Exactly(1), names(&["of-company"])), (Count::Exactly(1), names(&["of-milo"]))]
        );
        assert_eq!(
            found(CrmKind::Person, "acme"),
            [(Count::Exactly(1), names(&["of-person"])), none.clone()]
        );
        assert_eq!(found(CrmKind::Company, "initech"), [none.clone(), none.clone(), none]);
        assert_eq!(found(CrmKind::Note, "of-person"), []);
    }

    #[test]
    fn those_that_the_record_owns_are_counted_apart() {
        let owned_by = |mut note: Value, api_version: &str, kind: &str, name: &str| {
            note["metadata"]["ownerReferences"] =
                json!([{"apiVersion": api_version, "kind": kind, "name": name, "uid": "u-1"}]);
            note
        };
        let about_acme = |name: &str| note(name, "crm.milo.io", "Company", "acme");
        let objects = Objects::new(&[
            about_acme("free"),
            owned_by(about_acme("owned"), "crm.milo.io/v1alpha1", "Company", "acme"),
            owned_by(about_acme("of-a-later-version"), "crm.milo.io/v1", "Company", "acme"),
            owned_by(about_acme("of-another-group"), "example.com/v1", "Company", "acme"),
            owned_by(about_acme("of-another-kind"), "crm.milo.io/v1alpha1", "Person", "acme"),
            owned_by(about_acme("of-another-name"), "crm.milo.io/v1alpha1", "Company", "globex"),
        ]);
        let questions = Dependents::of(CrmKind::Company, "acme");
        let notes = questions.iter().find(|question| question.kind == CrmKind::Note).unwrap();
        let tally = objects.dependents(notes);
        assert_eq!((tally.count, tally.owned), (Count::Exactly(4), Count::Exactly(2)));
        assert_eq!(tally.names, ["free", "of-another-group", "of-another-kind"]);
    }

    #[test]
    fn uids_are_known_if_the_manifests_have_them() {
        let mut acme = person("ada", "acme");
        acme["metadata"]["uid"] = json!("u-1");
        let mut bob = json!({"apiVersion": "example.com/v1", "kind": "Contact", "metadata": {"name": "bob", "namespace": "sales"}});
        bob["metadata"]["uid"] = json!("u-2");
        let objects = Objects::new(&[acme, bob]);
        let person =
            Target { kind: Arc::new(CrmKind::Person.resource()), namespace: None, name: "ada".into() };
        assert_eq!(objects.uid(&person), Some("u-1"));
        assert_eq!(objects.uid(&contact("sales", "bob")), Some("u-2"));
        assert_eq!(objects.uid(&contact("support", "bob")), None);
        assert_eq!(objects.uid(&company("acme")), None);
    }

    #[test]
    fn the_last_word_on_an_object_counts() {
        let mut objects = objects();
        objects.add("crm.milo.io", "Company", None, "acme-corp", Presence::Terminating);
        assert_eq!(objects.presence(&company("acme-corp")), Some(Presence::Terminating));
    }

    #[test]
    fn every_kind_is_counted() {
        let expected = [
            ("Company.crm.milo.io", 3),
            ("Company.other.example", 1),
            ("ConfigMap", 1),
            ("Contact.example.com", 2),
        ];
        assert_eq!(objects().kinds(), expected.map(|(kind, objects)| (kind.to_owned(), objects)));
    }
}
