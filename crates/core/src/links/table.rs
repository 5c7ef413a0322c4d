//! The table of references: the field, the kinds that have it, its target and the rule that looks up the target.

use std::sync::Arc;

use crate::api::CrmKind::{self, Company, Note, Person};
use crate::api::ResourceKind;
use crate::api::names::{is_path_segment, is_subdomain};
use crate::catalog::RuleId;
use crate::policy::References;

/// A field that refers to another object by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Link {
    /// The kinds of records that have the field. Milo's notes have those of a Note.
    pub kinds: &'static [CrmKind],
    /// The field of `spec` that holds the reference, such as `companyRef`: an object, or for contacts a list of them.
    pub field: &'static str,
    /// The target.
    pub to: ReferenceTarget,
    /// The rule that looks up the target; `None` if there is no such rule.
    pub rule: Option<RuleId>,
}

/// The target of a reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReferenceTarget {
    /// A system organization. The policy may define its kind.
    Organization,
    /// A Company.
    Company,
    /// A system user. The policy may define its kind.
    User,
    /// A system contact. The policy may define its kind, or accept Notes about it.
    Contact,
    /// An object of a kind that Notes may be about. The reference names the kind.
    Subject,
}

/// The format of the names of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameFormat {
    /// A DNS subdomain.
    Subdomain,
    /// Any name that is safe as a segment of an API path.
    PathSegment,
}

/// The user who created a record.
pub const CREATOR: Link = Link {
    kinds: &CrmKind::OWN,
    field: "creatorRef",
    to: ReferenceTarget::User,
    rule: Some(RuleId::CreatorExists),
};

/// The contacts of a Person, a list of references.
pub const CONTACTS: Link = Link {
    kinds: &[Person],
    field: "contactRefs",
    to: ReferenceTarget::Contact,
    rule: Some(RuleId::ContactExists),
};

/// The subject of a Note.
pub const SUBJECT: Link = Link {
    kinds: &[Note],
    field: "subjectRef",
    to: ReferenceTarget::Subject,
    rule: Some(RuleId::SubjectExists),
};

/// All references. For each kind they are in the order in which they are reported.
pub const LINKS: [Link; 6] = [
    Link {
        kinds: &[Company],
        field: "organizationRef",
        to: ReferenceTarget::Organization,
        rule: Some(RuleId::OrganizationExists),
    },
    Link {
        kinds: &[Person],
        field: "companyRef",
        to: ReferenceTarget::Company,
        rule: Some(RuleId::CompanyExists),
    },
    Link { kinds: &[Person], field: "userRef", to: ReferenceTarget::User, rule: Some(RuleId::UserExists) },
    CONTACTS,
    SUBJECT,
    CREATOR,
];

impl Link {
    /// The references of records of a kind.
    pub fn of(kind: CrmKind) -> impl Iterator<Item = Self> {
        LINKS.into_iter().filter(move |link| link.kinds.contains(&kind.model()))
    }

    /// The reference whose target a rule looks up.
    pub fn of_rule(rule: RuleId) -> Option<Self> {
        LINKS.into_iter().find(|link| link.rule == Some(rule))
    }

    /// The field with the name, such as `spec.companyRef.name`.
    pub fn name_field(self) -> String {
        format!("spec.{}.name", self.field)
    }

    /// The selectable fields by which an API server lists the dependents of a record. Not the group of a subject:
    /// Milo's kinds of notes and the CRDs of older versions have no such selectable field.
    pub const fn selector(self) -> &'static [&'static str] {
        match self.to {
            ReferenceTarget::Company => &["name"],
            ReferenceTarget::Subject => &["kind", "name"],
            ReferenceTarget::Organization | ReferenceTarget::User | ReferenceTarget::Contact => &[],
        }
    }
}

impl ReferenceTarget {
    /// The CRM kinds that the target can have.
    pub const fn records(self) -> &'static [CrmKind] {
        match self {
            Self::Company => &[Company],
            Self::Subject => &[Company, Person],
            Self::Organization | Self::User | Self::Contact => &[],
        }
    }

    /// The kinds to look up under a policy; empty if the policy does not define any.
    pub fn kinds(self, references: &References) -> &[Arc<ResourceKind>] {
        match self {
            Self::Organization => references.organization.as_slice(),
            Self::Company => std::slice::from_ref(&references.company),
            Self::User => references.user.as_slice(),
            Self::Contact => {
                let subject =
                    || references.subjects.iter().find(|kind| kind.kind == CONTACT && kind.namespaced);
                references.contact.as_ref().or_else(subject).map_or(&[], std::slice::from_ref)
            }
            Self::Subject => &references.subjects,
        }
    }

    /// The kind in reports if the policy does not define it. The reference to a subject names its kind.
    pub const fn default_kind(self) -> &'static str {
        match self {
            Self::Organization => "Organization",
            Self::Company => "Company",
            Self::User => "User",
            Self::Contact => CONTACT,
            Self::Subject => "",
        }
    }

    /// The format of its names.
    pub const fn name_format(self) -> NameFormat {
        match self {
            // Names of users are often e-mail addresses.
            Self::User => NameFormat::PathSegment,
            Self::Organization | Self::Company | Self::Contact | Self::Subject => NameFormat::Subdomain,
        }
    }
}

/// The kind of a system contact.
const CONTACT: &str = "Contact";

impl NameFormat {
    /// Whether a name has this format.
    pub fn accepts(self, name: &str) -> bool {
        match self {
            Self::Subdomain => is_subdomain(name),
            Self::PathSegment => is_path_segment(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::api;

    #[test]
    fn every_reference_but_those_in_lists_is_selectable_by_all_its_fields() {
        for kind in CrmKind::OWN {
            let crds = api::crds(&[]);
            let crd = crds.iter().find(|crd| crd.spec.names.kind == kind.as_str()).unwrap();
            let schema = serde_json::to_value(&crd.spec.versions[0].schema).unwrap();
            let spec = &schema["openAPIV3Schema"]["properties"]["spec"]["properties"];
            let of_link = |link: Link| {
                let fields = spec[link.field]["properties"].as_object().into_iter().flatten();
                fields.map(move |(field, _)| format!(".spec.{}.{field}", link.field)).collect::<Vec<_>>()
            };
            let expected: BTreeSet<String> = Link::of(kind).flat_map(of_link).collect();
            let fields = crd.spec.versions[0].selectable_fields.iter().flatten();
            let selectable = fields.map(|field| field.json_path.clone()).filter(|path| path.contains("Ref."));
            assert_eq!(selectable.collect::<BTreeSet<_>>(), expected, "{kind:?}");
        }
    }

    #[test]
    fn the_fields_of_selectors_are_selectable() {
        for link in LINKS {
            for kind in link.kinds {
                let crds = api::crds(&[]);
                let crd = crds.iter().find(|crd| crd.spec.names.kind == kind.as_str()).unwrap();
                let fields: Vec<&String> = crd.spec.versions[0]
                    .selectable_fields
                    .iter()
                    .flatten()
                    .map(|field| &field.json_path)
                    .collect();
                for field in link.selector() {
                    assert!(fields.contains(&&format!(".spec.{}.{field}", link.field)), "{kind:?} {field}");
                }
            }
        }
    }

    #[test]
    fn the_table_and_the_schema_have_the_same_references() {
        for kind in CrmKind::OWN {
            let crds = api::crds(&[]);
            let crd = crds.iter().find(|crd| crd.spec.names.kind == kind.as_str()).unwrap();
            let schema = serde_json::to_value(&crd.spec.versions[0].schema).unwrap();
            let spec = schema["openAPIV3Schema"]["properties"]["spec"]["properties"].as_object().unwrap();
            let is_reference = |field: &&String| field.ends_with("Ref") || field.ends_with("Refs");
            let in_schema: BTreeSet<&str> = spec.keys().filter(is_reference).map(String::as_str).collect();
            let in_table: BTreeSet<&str> = Link::of(kind).map(|link| link.field).collect();
            assert_eq!(in_table, in_schema, "{kind:?}");
        }
    }

    #[test]
    fn a_rule_checks_the_kinds_that_have_its_field() {
        for link in LINKS {
            if let Some(rule) = link.rule {
                assert_eq!(rule.rule().kinds, link.kinds, "{rule:?}");
            }
        }
    }
}
