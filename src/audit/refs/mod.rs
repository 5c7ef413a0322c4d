//! Lists the dependents of a record, its references, and references to missing objects.

mod render;

use std::collections::{HashMap, HashSet};

use crm_core::api::{CrmKind, Target};
use crm_core::catalog::RuleId;
use crm_core::existence::Fact;
use crm_core::links::Dependents;
use crm_core::links::{LinkValue, values};
use crm_core::policy::{Policy, RuleSetting};
use serde_json::Value;

use super::examine::full_name;
use super::lookup::{Existence, NoAnswer};
use super::pages::{ListError, Pages};
use super::stored::{Labels, stored};
use crate::cluster::{Pager, ReadError, Reader, next_page};
use crate::directory::Referrer;

pub use render::{Format, dangling, relations};

/// The maximum size of a page of names, and of a page of whole records.
const PAGE: u32 = 500;
const PAGE_OF_RECORDS: u32 = 250;

/// A reference of a record, and whether its target exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The kind of the record.
    pub kind: CrmKind,
    /// Its name.
    pub name: String,
    /// The reference.
    pub link: LinkValue,
    /// Whether its target exists.
    pub fact: Fact,
}

/// One record, its references and its dependents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relations {
    /// The kind of the record.
    pub kind: CrmKind,
    /// Its name.
    pub name: String,
    /// Whether it exists.
    pub fact: Fact,
    /// Its references.
    pub to: Vec<Edge>,
    /// Its dependents: kind, name, and the field of the reference.
    pub from: Vec<(CrmKind, String, String)>,
}

/// Why references cannot be listed.
#[derive(Debug, thiserror::Error)]
pub enum RefsError {
    /// Records cannot be listed.
    #[error(transparent)]
    List(#[from] ListError),
    /// The API server denies the request or keeps failing.
    #[error("{what} cannot be read")]
    Read {
        /// The object.
        what: String,
        /// The cause.
        #[source]
        source: ReadError,
    },
    /// A lookup failed.
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
}

/// Reads a record's references and dependents. The name of a namespaced record is after its namespace: `crm/call`.
/// `on_left_out` is called if the user may not list a kind of Milo, whose dependents are then left out.
///
/// # Errors
/// The API server denies the request or keeps failing.
pub async fn of_record(
    reader: &Reader,
    kind: CrmKind,
    name: &str,
    policy: &Policy,
    existence: &Existence<'_>,
    on_left_out: &dyn Fn(&ListError),
) -> Result<Relations, RefsError> {
    // No label is a reference.
    let object = stored(reader, kind, name, &Labels::new()).await.map_err(|source| {
        let what = format!("{}/{name}", kind.label());
        RefsError::Read { what, source }
    })?;
    let (fact, to) = match object {
        None => (Fact::Missing { suggestion: None }, Vec::new()),
        Some(object) => {
            let terminating = !object["metadata"]["deletionTimestamp"].is_null();
            let fact = if terminating { Fact::Terminating } else { Fact::Exists };
            (fact, edges(kind, &[object], policy, existence).await?)
        }
    };
    let from = referring(reader, kind, name, on_left_out).await?;
    Ok(Relations { kind, name: name.to_owned(), fact, to, from })
}

/// All references to missing objects. `on_record` is called for each record, and `on_left_out` if the user may not list a
/// kind of Milo.
///
/// # Errors
/// The API server denies the request or keeps failing.
pub async fn all_dangling(
    reader: &Reader,
    policy: &Policy,
    existence: &Existence<'_>,
    on_record: &dyn Fn(),
    on_left_out: &dyn Fn(&ListError),
) -> Result<Vec<Edge>, RefsError> {
    let mut dangling = Vec::new();
    for kind in CrmKind::ALL {
        // No label is a reference.
        let mut pages = Pages::new(reader.clone(), kind, PAGE_OF_RECORDS, Labels::new());
        loop {
            let objects = match pages.next().await {
                Ok(Some(objects)) => objects,
                Ok(None) => break,
                Err(error) if error.can_be_left_out(reader, on_left_out).await => break,
                Err(error) => return Err(error.into()),
            };
            let edges = edges(kind, &objects, policy, existence).await?;
            dangling.extend(edges.into_iter().filter(|edge| edge.fact.is_dangling()));
            objects.iter().for_each(|_| on_record());
        }
    }
    Ok(dangling)
}

/// The policy with all rules about references enabled. References are listed even if no rule checks them.
pub fn with_all_references(policy: &Policy) -> Policy {
    let mut policy = policy.clone();
    for rule in [
        RuleId::CompanyExists,
        RuleId::SubjectExists,
        RuleId::ContactExists,
        RuleId::UserExists,
        RuleId::CreatorExists,
        RuleId::OrganizationExists,
    ] {
        policy.set_rule(rule, RuleSetting::default());
    }
    policy
}

/// The references of these records, and whether their targets exist.
///
/// # Errors
/// The API server did not answer a lookup.
pub async fn edges(
    kind: CrmKind,
    objects: &[Value],
    policy: &Policy,
    existence: &Existence<'_>,
) -> Result<Vec<Edge>, NoAnswer> {
    let of_object = |object: &Value| {
        let name = full_name(object);
        let links = values(kind, &object["spec"], &policy.references).into_iter();
        links.map(move |link| (name.clone(), link)).collect::<Vec<_>>()
    };
    let found: Vec<(String, LinkValue)> = objects.iter().flat_map(of_object).collect();
    let targets: HashSet<Target> = found.iter().filter_map(|(_, link)| link.target.clone()).collect();
    let facts = existence.facts(targets).await?;
    let edge = |(name, link): (String, LinkValue)| {
        let fact = fact(&link, &facts);
        Edge { kind, name, link, fact }
    };
    Ok(found.into_iter().map(edge).collect())
}

/// The fact about a target; unchecked if the policy does not define its kind.
fn fact(link: &LinkValue, facts: &HashMap<Target, Fact>) -> Fact {
    link.target.as_ref().and_then(|target| facts.get(target)).cloned().unwrap_or(Fact::Unchecked)
}

/// The dependents of a record. The CRDs make these fields selectable, so only dependents are listed.
async fn referring(
    reader: &Reader,
    kind: CrmKind,
    name: &str,
    on_left_out: &dyn Fn(&ListError),
) -> Result<Vec<(CrmKind, String, String)>, RefsError> {
    let mut found = Vec::new();
    for question in Dependents::of(kind, name) {
        let names = match selected(reader, &question).await {
            Err(RefsError::List(error)) if error.can_be_left_out(reader, on_left_out).await => Vec::new(),
            answer => answer?,
        };
        found.extend(names.into_iter().map(|name| (question.kind, name, question.field())));
    }
    Ok(found)
}

async fn selected(reader: &Reader, question: &Dependents) -> Result<Vec<String>, RefsError> {
    let mut pages = Pager::new(reader.clone(), Referrer::listing(question));
    let failed = |source| {
        if !question.kind.is_own() {
            return RefsError::List(ListError::new(question.kind, source));
        }
        let what = format!("the {} with {}", question.kind.plural(), question.selector());
        RefsError::Read { what, source }
    };
    let mut names = Vec::new();
    while let Some(page) = next_page::<Referrer>(&mut pages, PAGE).await.map_err(failed)? {
        names.extend(
            page.items.into_iter().filter_map(|record| record.counted(question)).map(|record| record.name),
        );
    }
    Ok(names)
}
