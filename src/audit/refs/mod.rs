//! Who refers to a record, what it refers to, and which references point at nothing.

mod links;
mod render;

use std::collections::{HashMap, HashSet};

use crm_core::api::{CrmKind, Dependants, Target};
use crm_core::policy::Policy;
use crm_core::rules::Fact;
use serde_json::Value;

use super::lookup::{Existence, NoAnswer};
use super::pages::ListError;
use super::patience::Patience;
use super::stored::{Labels, stored};
use crate::check::record;
use crate::cluster::{Pager, ReadError, Reader};
use crate::directory::Referrer;

pub use links::{Link, links};
pub use render::{Format, dangling, relations};

/// How many names a page of a list holds at most.
const PAGE: u32 = 500;

/// Whether what is referred to is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It is.
    Exists,
    /// It is being deleted.
    Terminating,
    /// It is not.
    Missing,
    /// It could not be found out, or the policy does not say how.
    Unknown,
}

impl State {
    /// The state as reports spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exists => "exists",
            Self::Terminating => "being deleted",
            Self::Missing => "missing",
            Self::Unknown => "unknown",
        }
    }

    /// Whether a reference to it points at nothing, now or soon.
    pub fn is_dangling(self) -> bool {
        matches!(self, Self::Missing | Self::Terminating)
    }
}

/// A reference from a record, and whether what it names is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The kind of the record that refers.
    pub kind: CrmKind,
    /// Its name.
    pub name: String,
    /// What it says.
    pub link: Link,
    /// Whether what it names is there.
    pub state: State,
}

/// One record amid those that it refers to and that refer to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relations {
    /// The kind of the record.
    pub kind: CrmKind,
    /// Its name.
    pub name: String,
    /// Whether it is there.
    pub state: State,
    /// What it refers to.
    pub to: Vec<Edge>,
    /// The records that refer to it: kind, name, and the field that does.
    pub from: Vec<(CrmKind, String, &'static str)>,
}

/// Why references cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum RefsError {
    /// Records cannot be listed.
    #[error(transparent)]
    List(#[from] ListError),
    /// The API server refuses, or goes on failing.
    #[error("{what} cannot be read")]
    Read {
        /// What of.
        what: String,
        /// Why.
        #[source]
        source: ReadError,
    },
    /// It cannot be found out whether something is there.
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
}

/// Reads a record's references, both ways.
///
/// # Errors
/// The API server refuses, or goes on failing.
pub async fn of_record(
    reader: &Reader,
    kind: CrmKind,
    name: &str,
    policy: &Policy,
    existence: &Existence<'_>,
) -> Result<Relations, RefsError> {
    // No label is a reference.
    let object = stored(reader, kind, name, &Labels::new()).await.map_err(|source| {
        let what = format!("{}/{name}", kind.as_str());
        RefsError::Read { what, source }
    })?;
    let (state, to) = match object {
        None => (State::Missing, Vec::new()),
        Some(object) => {
            let terminating = !object["metadata"]["deletionTimestamp"].is_null();
            let state = if terminating { State::Terminating } else { State::Exists };
            (state, edges(kind, &[object], policy, existence).await?)
        }
    };
    let from = referring(reader, kind, name).await?;
    Ok(Relations { kind, name: name.to_owned(), state, to, from })
}

/// The references of these records, and whether what they name is there.
///
/// # Errors
/// The API server gives no answer about one of them.
pub async fn edges(
    kind: CrmKind,
    objects: &[Value],
    policy: &Policy,
    existence: &Existence<'_>,
) -> Result<Vec<Edge>, NoAnswer> {
    let of_object = |object: &Value| {
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let links = links(kind, &record(object), policy).into_iter();
        links.map(move |link| (name.clone(), link)).collect::<Vec<_>>()
    };
    let found: Vec<(String, Link)> = objects.iter().flat_map(of_object).collect();
    let targets: HashSet<Target> = found.iter().filter_map(|(_, link)| link.target.clone()).collect();
    let facts = existence.facts(targets).await?;
    let edge = |(name, link): (String, Link)| {
        let state = state(&link, &facts);
        Edge { kind, name, link, state }
    };
    Ok(found.into_iter().map(edge).collect())
}

fn state(link: &Link, facts: &HashMap<Target, Fact>) -> State {
    match link.target.as_ref().and_then(|target| facts.get(target)) {
        Some(Fact::Exists) => State::Exists,
        Some(Fact::Terminating) => State::Terminating,
        Some(Fact::Missing { .. }) => State::Missing,
        Some(Fact::Unresolved { .. } | Fact::Unchecked) | None => State::Unknown,
    }
}

/// The records that refer to one. The definitions make these fields selectable, so that only they are listed.
async fn referring(
    reader: &Reader,
    kind: CrmKind,
    name: &str,
) -> Result<Vec<(CrmKind, String, &'static str)>, RefsError> {
    let mut found = Vec::new();
    for question in Dependants::on(kind, name) {
        let names = selected(reader, &question).await?;
        found.extend(names.into_iter().map(|name| (question.kind, name, question.field())));
    }
    Ok(found)
}

async fn selected(reader: &Reader, question: &Dependants) -> Result<Vec<String>, RefsError> {
    let mut pages = Pager::new(reader.clone(), Referrer::listing(question));
    let failed = |source| {
        let what = format!("the {} with {}", question.kind.plural(), question.selector());
        RefsError::Read { what, source }
    };
    let mut names = Vec::new();
    let mut patience = Patience::default();
    loop {
        let Some(page) = patience.attempt(pages.next::<Referrer>(PAGE)).await else { continue };
        let Some(page) = page.map_err(failed)? else { return Ok(names) };
        names.extend(page.items.into_iter().filter_map(|record| record.name_if_counted(question)));
        patience = Patience::default();
    }
}
