//! The dependents of a record: People refer to their Company, and Notes to a Company or a Person.

use serde_json::Value;

use super::table::{LINKS, Link, ReferenceTarget};
use crate::api::{CrmKind, VERSION};

/// The records of one kind that refer to one record, as a question for the directory.
///
/// The name has been validated: it is a DNS subdomain and so safe in a field selector.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Dependents {
    /// The kind of the dependents.
    pub kind: CrmKind,
    /// The kind of the record that they refer to.
    pub of: CrmKind,
    /// Its name.
    pub name: String,
    /// The reference.
    link: Link,
}

/// The number and names of dependents. Those that are being deleted do not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// The number.
    pub count: Count,
    /// The names of the first [`NAMED`].
    pub names: Vec<String>,
    /// Whether the requester may list them.
    pub visibility: Visibility,
}

/// The maximum number of dependents that a message names.
pub const NAMED: usize = 3;

/// The number of dependents, as far as they were counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Exactly this number.
    Exactly(usize),
    /// This number was counted before counting failed or took too long.
    AtLeast(usize),
    /// More than this number, which is the limit of counting.
    MoreThan(usize),
}

/// Whether the requester may list the records of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// The requester may list them, so messages may count and name them.
    Visible,
    /// The requester may not list them, so messages must not reveal them.
    Hidden,
}

impl Dependents {
    /// All possible dependents of the record of that kind and name. A Note has none.
    pub fn of(of: CrmKind, name: &str) -> Vec<Self> {
        let referring = LINKS.into_iter().filter(|link| link.to.records().contains(&of));
        let of_link = |link: Link| {
            link.kinds.iter().map(move |kind| Self { kind: *kind, of, name: name.to_owned(), link })
        };
        referring.flat_map(of_link).collect()
    }

    /// The field selector that finds them by selectable fields. It also finds Notes about an object of another API
    /// group with the same kind and name, see [`Self::selects_group`].
    pub fn selector(&self) -> String {
        let is = |field: &&str| {
            let value = if *field == "kind" { self.of.as_str() } else { &self.name };
            format!("spec.{}.{field}={value}", self.link.field)
        };
        self.link.selectable().iter().map(is).collect::<Vec<_>>().join(",")
    }

    /// The field with the reference, such as `spec.companyRef.name`.
    pub fn field(&self) -> String {
        self.link.name_field()
    }

    /// Whether the selector finds only references to CRM kinds. It does not for Notes, because the API group of a
    /// subject is not selectable.
    pub fn selects_group(&self) -> bool {
        self.link.to != ReferenceTarget::Subject
    }

    /// The record that a record of that kind refers to.
    pub fn target(kind: CrmKind, spec: &Value) -> Option<(CrmKind, &str)> {
        Link::of(kind).find_map(|link| {
            let reference = &spec[link.field];
            let of = match link.to {
                ReferenceTarget::Subject => {
                    let group = reference["apiGroup"].as_str().unwrap_or_default();
                    CrmKind::of(group, VERSION, reference["kind"].as_str()?)?
                }
                to => *to.records().first()?,
            };
            Some((of, reference["name"].as_str()?))
        })
    }
}
