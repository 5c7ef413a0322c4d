//! Finds the references of a record, even if no rule checks them.

use std::sync::Arc;

use crm_core::api::names::{is_label, is_path_segment, is_subdomain};
use crm_core::api::{CrmKind, ResourceKind, Target};
use crm_core::policy::Policy;
use crm_core::rules::Record;
use serde_json::Value;

/// One reference of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The field with the name, such as `spec.companyRef.name`.
    pub field: String,
    /// The kind of the target.
    pub kind: String,
    /// Its namespace, if the kind is namespaced.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// The target to look up; `None` if the policy does not define its kind or the name is invalid.
    pub target: Option<Target>,
}

/// The references of a record, in the order of its fields. Values of a wrong type are ignored.
pub fn links(kind: CrmKind, record: &Record, policy: &Policy) -> Vec<Link> {
    let references = &policy.references;
    let spec = &record.spec;
    let user = references.user.as_ref();
    let found = match kind {
        CrmKind::Company => {
            vec![plain(
                spec,
                "organizationRef",
                "Organization",
                references.organization.as_ref(),
                is_subdomain,
            )]
        }
        CrmKind::Person => {
            let mut found = vec![
                plain(spec, "companyRef", "Company", Some(&references.company), is_subdomain),
                plain(spec, "userRef", "User", user, is_path_segment),
            ];
            found.extend(contacts(spec, policy));
            found
        }
        CrmKind::Note => vec![subject(spec, policy)],
    };
    let creator = plain(spec, "creatorRef", "User", user, is_path_segment);
    found.into_iter().chain([creator]).flatten().collect()
}

fn plain(
    spec: &Value,
    field: &str,
    called: &str,
    kind: Option<&Arc<ResourceKind>>,
    fits: fn(&str) -> bool,
) -> Option<Link> {
    let name = given(&spec[field]["name"])?;
    let target = kind.filter(|_| fits(name)).map(|kind| target(kind, None, name));
    Some(Link {
        field: format!("spec.{field}.name"),
        kind: kind.map_or(called, |kind| kind.kind.as_str()).to_owned(),
        namespace: None,
        name: name.to_owned(),
        target,
    })
}

/// A Note's subject, of any kind.
fn subject(spec: &Value, policy: &Policy) -> Option<Link> {
    let reference = &spec["subjectRef"];
    let (kind, name) = (given(&reference["kind"])?, given(&reference["name"])?);
    let group = given(&reference["apiGroup"]).unwrap_or_default();
    let namespace = given(&reference["namespace"]);
    let mut subjects = policy.references.subjects.iter();
    let known = subjects.find(|known| known.kind == kind && known.group == group);
    Some(Link {
        field: "spec.subjectRef.name".to_owned(),
        kind: kind.to_owned(),
        namespace: namespace.map(str::to_owned),
        name: name.to_owned(),
        target: known.and_then(|known| placed(known, namespace, name)),
    })
}

/// A Person's contacts. They can be looked up if the policy accepts Contacts as subjects of notes, because only then is
/// their kind known.
fn contacts<'a>(spec: &'a Value, policy: &'a Policy) -> impl Iterator<Item = Option<Link>> + 'a {
    let known = policy.references.subjects.iter().find(|kind| kind.kind == "Contact");
    let contacts = spec["contactRefs"].as_array().into_iter().flatten().enumerate();
    contacts.map(move |(index, contact)| {
        let (name, namespace) = (given(&contact["name"])?, given(&contact["namespace"]));
        Some(Link {
            field: format!("spec.contactRefs[{index}].name"),
            kind: "Contact".to_owned(),
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
            target: known.and_then(|known| placed(known, namespace, name)),
        })
    })
}

fn placed(kind: &Arc<ResourceKind>, namespace: Option<&str>, name: &str) -> Option<Target> {
    let fits = namespace.is_some() == kind.namespaced && namespace.is_none_or(is_label) && is_subdomain(name);
    fits.then(|| target(kind, namespace, name))
}

fn target(kind: &Arc<ResourceKind>, namespace: Option<&str>, name: &str) -> Target {
    Target { kind: Arc::clone(kind), namespace: namespace.map(str::to_owned), name: name.to_owned() }
}

fn given(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(kind: CrmKind, spec: Value) -> Vec<Link> {
        links(kind, &Record { spec, ..Record::default() }, &Policy::default())
    }

    #[test]
    fn all_references_of_a_person_are_told_and_those_of_known_kinds_looked_up() {
        let found = of(
            CrmKind::Person,
            json!({
                "companyRef": {"name": "acme"}, "userRef": {"name": "ada@corp.example"},
                "contactRefs": [{"name": "ada-work", "namespace": "crm"}, 7], "creatorRef": {"name": "zoe"},
            }),
        );
        let fields: Vec<&str> = found.iter().map(|link| link.field.as_str()).collect();
        assert_eq!(
            fields,
            ["spec.companyRef.name", "spec.userRef.name", "spec.contactRefs[0].name", "spec.creatorRef.name"]
        );
        let looked_up: Vec<&str> =
            found.iter().filter(|link| link.target.is_some()).map(|link| link.kind.as_str()).collect();
        assert_eq!(looked_up, ["Company"], "the built-in policy knows no users and no contacts");
    }

    #[test]
    fn a_subject_is_looked_up_where_its_kind_is_accepted_and_its_name_can_be_one() {
        let target = |subject: Value| {
            let links = of(CrmKind::Note, json!({"subjectRef": subject}));
            links.into_iter().next().and_then(|link| link.target)
        };
        let good = json!({"apiGroup": "crm.milo.io", "kind": "Person", "name": "ada"});
        assert_eq!(target(good.clone()).map(|target| target.name), Some("ada".to_owned()));
        for (field, value) in [("apiGroup", "v1"), ("kind", "Pod"), ("name", "a/b"), ("namespace", "x")] {
            let mut bad = good.clone();
            bad[field] = value.into();
            assert_eq!(target(bad), None, "{field}");
        }
    }
}
