//! Counts who refers to a record, by lists in which the API server selects, one small page after the other.

use std::sync::Arc;

use kube::Client;
use kube::api::{Api, DynamicObject, ListParams};
use kube::core::Request;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use tokio::time::{Instant, timeout_at};

use crate::api::{Count, Dependants, GROUP, NAMED};
use crate::directory::LookupError;

/// How many records a page holds. A page of Notes comes with their content, up to some kilobytes each, and is the
/// most that is ever held of it.
const PAGE: usize = 250;

/// Up to how many is counted. Whoever deletes a record with more dependants need not know how many exactly, and has
/// an answer within a second or so.
pub(super) const MOST: usize = 1000;

/// Dependants as far as they were counted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) count: Count,
    /// The first few.
    pub(super) names: Vec<String>,
}

/// What is read of a page; the rest is passed over.
#[derive(Debug, Deserialize)]
struct Page {
    metadata: PageMetadata,
    // The API server writes an empty list of metadata as null.
    #[serde(deserialize_with = "list_or_null")]
    items: Vec<Item>,
}

#[derive(Debug, Deserialize)]
struct PageMetadata {
    #[serde(rename = "continue")]
    next: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Item {
    metadata: ItemMetadata,
    /// Only Notes come with it.
    spec: Option<Spec>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ItemMetadata {
    name: String,
    deletion_timestamp: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    subject_ref: Option<Subject>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Subject {
    api_group: Option<String>,
}

/// Not an `Option`, which could be left out as well: what has no items is no list.
fn list_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Item>, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Counts the dependants until `deadline`. It names no resource version, so the API server answers with the latest
/// state.
pub(super) async fn count(
    client: &Client,
    question: &Dependants,
    deadline: Instant,
) -> Result<Counted, Failure> {
    let mut names = Vec::new();
    let mut counted = 0;
    let mut next = None;
    loop {
        // One more than the bound says that there are more; that pages go on says nothing, as the API server does not
        // know whether the rest holds anything that is selected.
        let limit = PAGE.min(MOST + 1 - counted);
        let page = match timeout_at(deadline, page(client, question, limit, next.as_deref())).await {
            Ok(Ok(page)) => page,
            // What was counted is true all the same.
            Ok(Err(_)) | Err(_) if counted > 0 => {
                return Ok(Counted { count: Count::AtLeast(counted), names });
            }
            Ok(Err(error)) => return Err(Failure::Failed(error)),
            Err(_) => return Err(Failure::Late),
        };
        for item in page.items.into_iter().filter(|item| counts(question, item)) {
            counted += 1;
            if names.len() < NAMED {
                names.push(item.metadata.name);
            }
        }
        next = page.metadata.next.filter(|next| !next.is_empty());
        let count = match next {
            _ if counted > MOST => Count::MoreThan(MOST),
            None => Count::Exactly(counted),
            Some(_) => continue,
        };
        return Ok(Counted { count, names });
    }
}

/// Why nothing was counted.
#[derive(Debug)]
pub(super) enum Failure {
    Late,
    Failed(kube::Error),
}

impl Failure {
    /// The error of a question that had this much time.
    pub(super) fn within(self, limit: std::time::Duration) -> LookupError {
        match self {
            Self::Late => LookupError::Late(limit),
            Self::Failed(error) => LookupError::Failed(Arc::new(error)),
        }
    }
}

async fn page(
    client: &Client,
    question: &Dependants,
    limit: usize,
    next: Option<&str>,
) -> kube::Result<Page> {
    let resource = question.kind.resource().api_resource();
    let path = Api::<DynamicObject>::all_with(client.clone(), &resource).resource_url().to_owned();
    let mut list = ListParams::default().fields(&question.selector());
    list.limit = u32::try_from(limit).ok();
    list.continue_token = next.map(str::to_owned);
    let request = Request::new(path);
    let request =
        if question.group_is_selected() { request.list_metadata(&list) } else { request.list(&list) };
    client.request(request.map_err(kube::Error::BuildRequest)?).await
}

/// Whether a record that was selected does refer to the one in question, and stays.
fn counts(question: &Dependants, item: &Item) -> bool {
    let group = || item.spec.as_ref()?.subject_ref.as_ref()?.api_group.as_deref();
    item.metadata.deletion_timestamp.is_none() && (question.group_is_selected() || group() == Some(GROUP))
}
