//! A directory of objects that are known in advance, such as those of manifests.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crm_core::api::{CrmKind, ResourceKind, Target, VERSION, unfolded};
use crm_core::existence::Presence;
use crm_core::links::{Count, Dependants, NAMED, Sight, Tally};
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use k8s_openapi::api::authentication::v1::UserInfo;
use serde_json::Value;

use super::names::Names;
use super::{CountDependents, LookUp, LookupError, PartStatus};

/// The namespace of a manifest without one, as in kubectl.
const DEFAULT_NAMESPACE: &str = "default";

/// A directory that is filled once. All other objects are missing, and everyone may list everything.
#[derive(Default)]
pub struct Memory {
    /// By group and kind. The version does not matter: an object exists in all versions of its kind.
    kinds: HashMap<String, HashMap<String, Kind>>,
    /// The targets of CRM records, by kind and name of the record. Records that are being deleted are not included.
    referrers: BTreeMap<(CrmKind, String), (CrmKind, String)>,
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

impl Memory {
    /// A directory of the objects in these manifests. A `List` is replaced by its items. Objects without kind or name
    /// are skipped; those with a `deletionTimestamp` are being deleted.
    pub fn from_objects<'a>(objects: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut memory = Self::default();
        for object in objects.into_iter().flat_map(unfolded) {
            memory.add_manifest(&object);
        }
        memory
    }

    /// Records what is known of an object, and replaces earlier knowledge.
    pub fn add(&mut self, group: &str, kind: &str, namespace: Option<&str>, name: &str, presence: Presence) {
        let kinds = self.kinds.entry(group.to_owned()).or_default();
        let kind = kinds.entry(kind.to_owned()).or_default();
        kind.by_name.set(None, name, presence);
        kind.by_namespace.set(Some(namespace.unwrap_or(DEFAULT_NAMESPACE)), name, presence);
    }

    /// A similar name that is known, if there is one.
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
        let group = version.split_once('/').map_or("", |(group, _)| group);
        let namespace = metadata["namespace"].as_str().filter(|namespace| !namespace.is_empty());
        let presence =
            if metadata["deletionTimestamp"].is_null() { Presence::Exists } else { Presence::Terminating };
        self.add(group, kind, namespace, name, presence);
        if let Some(kind) = CrmKind::of(group, VERSION, kind) {
            self.add_referrer(kind, name, presence, &object["spec"]);
        }
    }

    fn add_referrer(&mut self, kind: CrmKind, name: &str, presence: Presence, spec: &Value) {
        let referrer = (kind, name.to_owned());
        match Dependants::referred(kind, spec) {
            Some((of, target)) if presence == Presence::Exists => {
                self.referrers.insert(referrer, (of, target.to_owned()));
            }
            _ => {
                self.referrers.remove(&referrer);
            }
        }
    }

    fn tally(&self, question: &Dependants) -> Tally {
        let refers = |(of, name): &(CrmKind, String)| *of == question.of && *name == question.name;
        let referrers = self.referrers.iter().filter(|((kind, _), to)| *kind == question.kind && refers(to));
        let names: Vec<&String> = referrers.map(|((_, name), _)| name).collect();
        Tally {
            count: Count::Exactly(names.len()),
            names: names.into_iter().take(NAMED).cloned().collect(),
            sight: Sight::Listed,
        }
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

impl LookUp for Memory {
    fn recall(&self, target: &Target) -> Option<Presence> {
        let names = self.kind(&target.kind)?.names(target);
        match names.get(target.namespace.as_deref(), &target.name) {
            Presence::Missing => None,
            known => Some(known),
        }
    }

    fn confirm<'a>(
        &'a self,
        target: &'a Target,
        _limit: Duration,
    ) -> BoxFuture<'a, Result<Presence, LookupError>> {
        ready(Ok(self.recall(target).unwrap_or(Presence::Missing))).boxed()
    }

    fn suggest<'a>(
        &'a self,
        target: &'a Target,
        _user: &'a UserInfo,
        _limit: Duration,
    ) -> BoxFuture<'a, Option<String>> {
        ready(self.nearest(target)).boxed()
    }

    fn status(&self) -> Vec<PartStatus> {
        let parts = self.kinds.iter().flat_map(|(group, kinds)| {
            kinds.iter().map(move |(kind, objects)| PartStatus {
                kind: if group.is_empty() { kind.clone() } else { format!("{kind}.{group}") },
                objects: objects.by_namespace.len(),
                not_ready: None,
                required: false,
                restarts: 0,
            })
        });
        let mut parts: Vec<_> = parts.collect();
        parts.sort_by(|a, b| a.kind.cmp(&b.kind));
        parts
    }
}

impl CountDependents for Memory {
    fn dependents<'a>(
        &'a self,
        question: &'a Dependants,
        _user: &'a UserInfo,
        _limit: Duration,
    ) -> BoxFuture<'a, Result<Tally, LookupError>> {
        ready(Ok(self.tally(question))).boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn memory() -> Memory {
        Memory::from_objects(&[
            json!({"apiVersion": "crm.milo.io/v1alpha1", "kind": "Company", "metadata": {"name": "acme-corp"}}),
            json!({"apiVersion": "crm.milo.io/v9", "kind": "Company", "metadata": {"name": "globex", "namespace": "x"}}),
            json!({"apiVersion": "crm.milo.io/v1alpha1", "kind": "Company",
                "metadata": {"name": "initech", "deletionTimestamp": "2026-01-01T00:00:00Z"}}),
            json!({"apiVersion": "other.example/v1", "kind": "Company", "metadata": {"name": "hooli"}}),
            json!({"apiVersion": "v1", "kind": "List", "items": [
                {"apiVersion": "example.com/v1", "kind": "Contact", "metadata": {"name": "bob", "namespace": "sales"}},
                {"apiVersion": "example.com/v1", "kind": "Contact", "metadata": {"name": "eve"}},
            ]}),
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

    fn limit() -> Duration {
        Duration::from_secs(1)
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
    #[tokio::test]
    async fn answers(#[case] target: Target, #[case] expected: Option<Presence>) {
        let memory = memory();
        assert_eq!(memory.recall(&target), expected);
        let confirmed = memory.confirm(&target, limit()).await.unwrap();
        assert_eq!(confirmed, expected.unwrap_or(Presence::Missing));
    }

    #[tokio::test]
    async fn everyone_is_given_suggestions() {
        let memory = memory();
        let nobody = UserInfo::default();
        let suggested = memory.suggest(&company("acme-crop"), &nobody, limit()).await;
        assert_eq!(suggested.as_deref(), Some("acme-corp"));
        let suggested = memory.suggest(&contact("sales", "bobb"), &nobody, limit()).await;
        assert_eq!(suggested.as_deref(), Some("bob"));
        assert_eq!(memory.suggest(&company("umbrella"), &nobody, limit()).await, None);
        assert_eq!(memory.suggest(&contact("support", "bobb"), &nobody, limit()).await, None);
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
        let memory = Memory::from_objects(&[
            person("dan", "acme"),
            person("ada", "acme"),
            person("cem", "acme"),
            person("bob", "acme"),
            leaving,
            person("eve", "globex"),
            note("of-company", "crm.milo.io", "Company", "acme"),
            note("of-person", "crm.milo.io", "Person", "acme"),
            note("of-another-group", "example.com", "Company", "acme"),
            // The last word counts, as for names.
            note("moved", "crm.milo.io", "Company", "acme"),
            note("moved", "crm.milo.io", "Company", "globex"),
        ]);
        let found = |of: CrmKind, name: &str| -> Vec<(Count, Vec<String>)> {
            let questions = Dependants::on(of, name).into_iter();
            questions
                .map(|question| memory.tally(&question))
                .map(|tally| (tally.count, tally.names))
                .collect()
        };
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let at_acme = (Count::Exactly(4), names(&["ada", "bob", "cem"]));
        assert_eq!(found(CrmKind::Company, "acme"), [at_acme, (Count::Exactly(1), names(&["of-company"]))]);
        assert_eq!(found(CrmKind::Person, "acme"), [(Count::Exactly(1), names(&["of-person"]))]);
        assert_eq!(
            found(CrmKind::Company, "initech"),
            [(Count::Exactly(0), vec![]), (Count::Exactly(0), vec![])]
        );
        assert_eq!(found(CrmKind::Note, "of-person"), []);
    }

    #[test]
    fn the_last_word_on_an_object_counts() {
        let mut memory = memory();
        memory.add("crm.milo.io", "Company", None, "acme-corp", Presence::Terminating);
        assert_eq!(memory.recall(&company("acme-corp")), Some(Presence::Terminating));
    }

    #[test]
    fn every_kind_is_ready_and_counted() {
        let parts: Vec<_> = memory().status().into_iter().map(|part| (part.kind, part.objects)).collect();
        let expected = [
            ("Company.crm.milo.io", 3),
            ("Company.other.example", 1),
            ("ConfigMap", 1),
            ("Contact.example.com", 2),
        ];
        assert_eq!(parts, expected.map(|(kind, objects)| (kind.to_owned(), objects)));
    }
}
