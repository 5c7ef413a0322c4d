//! Finds all references of a record, even those that no rule checks.

use std::sync::Arc;

use serde_json::Value;

use super::table::{Link, NameFormat, ReferenceTarget};
use crate::api::names::is_label;
use crate::api::{CrmKind, ResourceKind, Target};
use crate::policy::References;

/// One reference of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkValue {
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

/// The references of a record with this spec, in the order of [`LINKS`](super::LINKS). Values of a wrong type are
/// ignored.
pub fn values(kind: CrmKind, spec: &Value, references: &References) -> Vec<LinkValue> {
    let of_link = |link: Link| match link.to {
        ReferenceTarget::Subject => subject(link, spec, references).into_iter().collect(),
        ReferenceTarget::Contact => contacts(link, spec, references),
        ReferenceTarget::Organization | ReferenceTarget::Company | ReferenceTarget::User => {
            by_name(link, spec, references).into_iter().collect::<Vec<_>>()
        }
    };
    Link::of(kind).flat_map(of_link).collect()
}

/// The accepted kind of subjects with that group and name.
pub fn subject_kind<'r>(
    references: &'r References,
    group: &str,
    kind: &str,
) -> Option<&'r Arc<ResourceKind>> {
    references.subjects.iter().find(|known| known.group == group && known.kind == kind)
}

/// The object of that kind, namespace and name; `None` if the namespace or name is invalid.
pub fn target_in(kind: &Arc<ResourceKind>, namespace: Option<&str>, name: &str) -> Option<Target> {
    let fits = namespace.is_some() == kind.namespaced && namespace.is_none_or(is_label);
    (fits && NameFormat::Subdomain.accepts(name)).then(|| target(kind, namespace, name))
}

fn by_name(link: Link, spec: &Value, references: &References) -> Option<LinkValue> {
    let name = non_empty(&spec[link.field]["name"])?;
    let kind = link.to.kinds(references).first();
    Some(LinkValue {
        field: link.name_field(),
        kind: kind.map_or(link.to.default_kind(), |kind| kind.kind.as_str()).to_owned(),
        namespace: None,
        name: name.to_owned(),
        target: kind.filter(|_| link.to.name_format().accepts(name)).map(|kind| target(kind, None, name)),
    })
}

/// The subject of a Note, of any kind.
fn subject(link: Link, spec: &Value, references: &References) -> Option<LinkValue> {
    let reference = &spec[link.field];
    let (kind, name) = (non_empty(&reference["kind"])?, non_empty(&reference["name"])?);
    let known = subject_kind(references, non_empty(&reference["apiGroup"]).unwrap_or_default(), kind);
    let namespace = non_empty(&reference["namespace"]);
    Some(link_value(link.name_field(), kind, known, namespace, name))
}

/// The contacts of a Person. They can be looked up only if the policy defines their kind or accepts it as a subject of
/// Notes.
fn contacts(link: Link, spec: &Value, references: &References) -> Vec<LinkValue> {
    let known = link.to.kinds(references).first();
    let of_contact = |(index, contact): (usize, &Value)| {
        let (name, namespace) = (non_empty(&contact["name"])?, non_empty(&contact["namespace"]));
        let field = format!("spec.{}[{index}].name", link.field);
        let kind = known.map_or(link.to.default_kind(), |known| known.kind.as_str());
        Some(link_value(field, kind, known, namespace, name))
    };
    spec[link.field].as_array().into_iter().flatten().enumerate().filter_map(of_contact).collect()
}

fn link_value(
    field: String,
    kind: &str,
    known: Option<&Arc<ResourceKind>>,
    namespace: Option<&str>,
    name: &str,
) -> LinkValue {
    LinkValue {
        field,
        kind: kind.to_owned(),
        namespace: namespace.map(str::to_owned),
        name: name.to_owned(),
        target: known.and_then(|known| target_in(known, namespace, name)),
    }
}

fn target(kind: &Arc<ResourceKind>, namespace: Option<&str>, name: &str) -> Target {
    Target { kind: Arc::clone(kind), namespace: namespace.map(str::to_owned), name: name.to_owned() }
}

fn non_empty(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::policy::Policy;

    fn of(kind: CrmKind, spec: &Value) -> Vec<LinkValue> {
        values(kind, spec, &Policy::default().references)
    }

    #[test]
    fn all_references_of_a_person_are_found_and_those_of_known_kinds_have_a_target() {
        let found = of(
            CrmKind::Person,
            &json!({
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
        assert_eq!(looked_up, ["Company"], "the built-in policy has no kind of users or contacts");
    }

    #[test]
    fn a_subject_has_a_target_if_its_kind_is_accepted_and_its_name_valid() {
        let target = |subject: Value| {
            let links = of(CrmKind::Note, &json!({"subjectRef": subject}));
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
