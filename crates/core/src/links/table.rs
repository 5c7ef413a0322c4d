//! The table: which field of which kind refers to what, and which rule looks it up.

use std::sync::Arc;

use crate::api::CrmKind::{self, Company, Note, Person};
use crate::api::ResourceKind;
use crate::api::names::{is_path_segment, is_subdomain};
use crate::catalog::RuleId;
use crate::policy::References;

/// A field that refers to another object by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Link {
    /// The kinds of records that have the field.
    pub kinds: &'static [CrmKind],
    /// The field of `spec` that holds the reference, such as `companyRef`: an object, or for contacts a list of them.
    pub field: &'static str,
    /// What it refers to.
    pub to: Referent,
    /// The rule that the target exists; `None` if no rule looks it up.
    pub rule: Option<RuleId>,
}

/// What a field refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Referent {
    /// A system organization, if the policy says which kind that is.
    Organization,
    /// One of our companies.
    Company,
    /// A system user, if the policy says which kind that is.
    User,
    /// A system contact, of the kind that Notes may be about if the policy accepts one.
    Contact,
    /// An object of one of the kinds that Notes may be about. The reference says which kind.
    Subject,
}

/// What the names of a kind look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameForm {
    /// A DNS subdomain.
    Subdomain,
    /// Anything that is safe as a segment of an API path.
    PathSegment,
}

/// The user who created a record.
pub const CREATOR: Link =
    Link { kinds: &CrmKind::ALL, field: "creatorRef", to: Referent::User, rule: Some(RuleId::CreatorExists) };

/// What a Note is about.
pub const SUBJECT: Link =
    Link { kinds: &[Note], field: "subjectRef", to: Referent::Subject, rule: Some(RuleId::SubjectExists) };

/// All references. Those of one kind are in the order in which they are reported.
pub const LINKS: [Link; 6] = [
    Link {
        kinds: &[Company],
        field: "organizationRef",
        to: Referent::Organization,
        rule: Some(RuleId::OrganizationExists),
    },
    Link { kinds: &[Person], field: "companyRef", to: Referent::Company, rule: Some(RuleId::CompanyExists) },
    Link { kinds: &[Person], field: "userRef", to: Referent::User, rule: Some(RuleId::UserExists) },
    Link { kinds: &[Person], field: "contactRefs", to: Referent::Contact, rule: None },
    SUBJECT,
    CREATOR,
];

impl Link {
    /// The references of a kind.
    pub fn of(kind: CrmKind) -> impl Iterator<Item = Self> {
        LINKS.into_iter().filter(move |link| link.kinds.contains(&kind))
    }

    /// The reference that a rule looks up.
    pub fn of_rule(rule: RuleId) -> Option<Self> {
        LINKS.into_iter().find(|link| link.rule == Some(rule))
    }

    /// The field with the name, such as `spec.companyRef.name`.
    pub fn name_field(self) -> String {
        format!("spec.{}.name", self.field)
    }

    /// The fields of the reference that the CRDs make selectable, so that an API server can list who refers to a record.
    pub const fn selectable(self) -> &'static [&'static str] {
        match self.to {
            Referent::Company => &["name"],
            Referent::Subject => &["kind", "name"],
            Referent::Organization | Referent::User | Referent::Contact => &[],
        }
    }
}

impl Referent {
    /// The kinds of our records that it can be.
    pub const fn records(self) -> &'static [CrmKind] {
        match self {
            Self::Company => &[Company],
            Self::Subject => &[Company, Person],
            Self::Organization | Self::User | Self::Contact => &[],
        }
    }

    /// The kinds to look up under a policy; none if the policy does not say.
    pub fn kinds(self, references: &References) -> &[Arc<ResourceKind>] {
        match self {
            Self::Organization => references.organization.as_slice(),
            Self::Company => std::slice::from_ref(&references.company),
            Self::User => references.user.as_slice(),
            Self::Contact => {
                references.subjects.iter().find(|kind| kind.kind == CONTACT).map_or(&[], std::slice::from_ref)
            }
            Self::Subject => &references.subjects,
        }
    }

    /// What reports call the kind if the policy does not say. The reference of a subject says it.
    pub const fn usual_kind(self) -> &'static str {
        match self {
            Self::Organization => "Organization",
            Self::Company => "Company",
            Self::User => "User",
            Self::Contact => CONTACT,
            Self::Subject => "",
        }
    }

    /// What its names look like.
    pub const fn name_form(self) -> NameForm {
        match self {
            // Names of users are often mail addresses.
            Self::User => NameForm::PathSegment,
            Self::Organization | Self::Company | Self::Contact | Self::Subject => NameForm::Subdomain,
        }
    }
}

/// The kind of a system contact.
const CONTACT: &str = "Contact";

impl NameForm {
    /// Whether a name has this form.
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
    fn the_definitions_make_the_fields_of_the_table_selectable_and_no_others() {
        for kind in CrmKind::ALL {
            let of_link = |link: Link| {
                let fields = link.selectable().iter();
                fields.map(move |field| format!(".spec.{}.{field}", link.field)).collect::<Vec<_>>()
            };
            let expected: BTreeSet<String> = Link::of(kind).flat_map(of_link).collect();
            let crds = api::crds(&[]);
            let crd = crds.iter().find(|crd| crd.spec.names.kind == kind.as_str()).unwrap();
            let fields = crd.spec.versions[0].selectable_fields.iter().flatten();
            let selectable: BTreeSet<String> = fields.map(|field| field.json_path.clone()).collect();
            assert_eq!(selectable, expected, "{kind:?}");
        }
    }

    #[test]
    fn every_field_of_the_table_is_in_the_schema_and_every_reference_of_the_schema_in_the_table() {
        for kind in CrmKind::ALL {
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
    fn a_rule_is_about_the_kinds_that_have_its_field() {
        for link in LINKS {
            if let Some(rule) = link.rule {
                assert_eq!(rule.rule().kinds, link.kinds, "{rule:?}");
            }
        }
    }
}
