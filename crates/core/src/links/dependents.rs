//! The dependents of a record: People refer to their Company, and Notes to a Company or a Person.

use serde_json::Value;

use super::table::{LINKS, Link, ReferenceTarget};
use crate::api::{CrmKind, VERSION, group_of};

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
    /// The number of those that will stay.
    pub count: Count,
    /// The number of those that the garbage collector will delete, because the record is their owner.
    pub owned: Count,
    /// The names of the first [`NAMED`] that will stay.
    pub names: Vec<String>,
    /// Whether the requester may list them.
    pub visibility: Visibility,
}

impl Tally {
    /// No dependents.
    pub const fn none() -> Self {
        let (count, owned) = (Count::Exactly(0), Count::Exactly(0));
        Self { count, owned, names: Vec::new(), visibility: Visibility::Visible }
    }

    /// The same if the garbage collector deletes none of them, because the deletion orphans them.
    #[must_use]
    pub fn orphaned(self) -> Self {
        Self { count: self.count.plus(self.owned), owned: Count::Exactly(0), ..self }
    }
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

impl Count {
    /// The number of both.
    const fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Self::Exactly(one), Self::Exactly(two)) => Self::Exactly(one + two),
            (Self::MoreThan(limit), _) | (_, Self::MoreThan(limit)) => Self::MoreThan(limit),
            (Self::Exactly(one) | Self::AtLeast(one), Self::Exactly(two) | Self::AtLeast(two)) => {
                Self::AtLeast(one + two)
            }
        }
    }

    /// Whether none were found.
    pub const fn is_none(self) -> bool {
        matches!(self, Self::Exactly(0) | Self::AtLeast(0))
    }
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
        // A record is cluster-scoped, and a note in a namespace is about an object there.
        let can_refer =
            |link: Link| move |kind: &CrmKind| !kind.is_namespaced() && link.kinds.contains(&kind.model());
        let of_link = |link: Link| {
            let kinds = CrmKind::ALL.into_iter().filter(can_refer(link));
            kinds.map(move |kind| Self { kind, of, name: name.to_owned(), link })
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
        self.link.selector().iter().map(is).collect::<Vec<_>>().join(",")
    }

    /// Whether an owner reference is to the record. The uid is not compared: what has the same name, but another uid, is
    /// gone, and the garbage collector removes such a reference.
    pub fn is_owner(&self, api_version: &str, kind: &str, name: &str) -> bool {
        Self::is_reference_to(self.of, &self.name, api_version, kind, name)
    }

    /// Whether an owner reference is to the record of that kind and name.
    pub(crate) fn is_reference_to(
        of: CrmKind,
        of_name: &str,
        api_version: &str,
        kind: &str,
        name: &str,
    ) -> bool {
        group_of(api_version) == of.group() && kind == of.as_str() && name == of_name
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
            let to = link.to;
            let of = match to {
                ReferenceTarget::Subject => {
                    let group = reference["apiGroup"].as_str().unwrap_or_default();
                    let of = CrmKind::of(group, VERSION, reference["kind"].as_str()?)?;
                    to.records().contains(&of).then_some(of)?
                }
                _ => *to.records().first()?,
            };
            Some((of, reference["name"].as_str()?))
        })
    }
}
