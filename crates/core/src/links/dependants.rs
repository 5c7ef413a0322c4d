//! Which records refer to another record: People to their Company, Notes to a Company or a Person.

use serde_json::Value;

use super::table::{LINKS, Link, Referent};
use crate::api::{CrmKind, VERSION};

/// The records of one kind that refer to one record, before anybody has looked for them.
///
/// Whoever makes one has checked the name: it is a DNS subdomain, and so safe in a field selector.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Dependants {
    /// The kind of those who refer.
    pub kind: CrmKind,
    /// The kind of the record that is referred to.
    pub of: CrmKind,
    /// Its name.
    pub name: String,
    /// How they refer to it.
    link: Link,
}

/// What was found of [`Dependants`]. Those that are being deleted do not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// How many there are.
    pub count: Count,
    /// The names of the first [`NAMED`].
    pub names: Vec<String>,
    /// Whether the requester may know of them.
    pub sight: Sight,
}

/// How many names of dependants are told.
pub const NAMED: usize = 3;

/// How many dependants there are, as far as was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// So many.
    Exactly(usize),
    /// So many were counted; then counting failed or time ran out.
    AtLeast(usize),
    /// More than the bound up to which is counted.
    MoreThan(usize),
}

/// Whether somebody may list the records of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// They may, so that they can be told what there is.
    Listed,
    /// They may not, so that they learn nothing from us.
    Hidden,
}

impl Dependants {
    /// All that may refer to the record of that kind and name; nothing refers to a Note.
    pub fn on(of: CrmKind, name: &str) -> Vec<Self> {
        let referring = LINKS.into_iter().filter(|link| link.to.records().contains(&of));
        let of_link = |link: Link| {
            link.kinds.iter().map(move |kind| Self { kind: *kind, of, name: name.to_owned(), link })
        };
        referring.flat_map(of_link).collect()
    }

    /// The field selector that finds them, over fields that the CRDs make selectable. It finds Notes about an
    /// object of another group too, if that has the same kind and name: [`Self::group_is_selected`].
    pub fn selector(&self) -> String {
        let is = |field: &&str| {
            let value = if *field == "kind" { self.of.as_str() } else { &self.name };
            format!("spec.{}.{field}={value}", self.link.field)
        };
        self.link.selectable().iter().map(is).collect::<Vec<_>>().join(",")
    }

    /// The field by which they refer, such as `spec.companyRef.name`.
    pub fn field(&self) -> String {
        self.link.name_field()
    }

    /// Whether all that the selector finds refers to a record of our group. The group of a Note's subject is not
    /// selectable.
    pub fn group_is_selected(&self) -> bool {
        self.link.to != Referent::Subject
    }

    /// The record that a record of that kind refers to.
    pub fn referred(kind: CrmKind, spec: &Value) -> Option<(CrmKind, &str)> {
        Link::of(kind).find_map(|link| {
            let reference = &spec[link.field];
            let of = match link.to {
                Referent::Subject => {
                    let group = reference["apiGroup"].as_str().unwrap_or_default();
                    CrmKind::of(group, VERSION, reference["kind"].as_str()?)?
                }
                to => *to.records().first()?,
            };
            Some((of, reference["name"].as_str()?))
        })
    }
}
