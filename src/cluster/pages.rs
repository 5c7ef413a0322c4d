//! Lists page by page, and adapts the size of the pages to the bytes received.

use std::time::Duration;

use kube::Resource;
use kube::api::{ApiResource, DynamicObject, ListParams, WatchParams};
use kube::core::{Request, request};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use tokio::time::timeout;

use super::reading::{Answer, LARGEST, ReadError, Reader};

/// The size of the first page. If objects are as large as possible, the API server reads 70 MB for it in vain; for a
/// first page of 500 it would be 700 MB. If they are small, pages reach 400 after three pages.
const FIRST: u32 = 50;

/// The target size of a page: half of the maximum, because the next objects can be twice as large.
const AIM: usize = LARGEST / 2;

/// How long the API server may take for one page. It stops after 60 s itself.
const PATIENCE: Duration = Duration::from_secs(70);

/// What to list or watch: the objects of a kind in all namespaces.
#[derive(Clone, Debug)]
pub struct Listing {
    path: String,
    /// The name of the kind in errors.
    kind: String,
    content: Content,
    fields: Option<String>,
}

impl Listing {
    /// All objects of a kind.
    pub fn all(resource: &ApiResource, content: Content) -> Self {
        Self {
            path: DynamicObject::url_path(resource, None),
            kind: format!("{}.{}", resource.kind, resource.group),
            content,
            fields: None,
        }
    }

    /// Only the objects that match a field selector.
    #[must_use]
    pub fn selected(self, fields: String) -> Self {
        Self { fields: Some(fields), ..self }
    }

    /// The request for one page: the first one, or the one of a token.
    fn page(&self, limit: u32, token: Option<&str>) -> Result<http::Request<Vec<u8>>, request::Error> {
        let mut list = ListParams::default().limit(limit);
        list.field_selector.clone_from(&self.fields);
        list.continue_token = token.map(str::to_owned);
        let request = Request::new(self.path.as_str());
        match self.content {
            Content::Metadata => request.list_metadata(&list),
            Content::Whole => request.list(&list),
        }
    }

    /// The request for the changes since a version.
    pub(super) fn watch(
        &self,
        mut parameters: WatchParams,
        version: &str,
    ) -> Result<http::Request<Vec<u8>>, request::Error> {
        parameters.field_selector.clone_from(&self.fields);
        let request = Request::new(self.path.as_str());
        match self.content {
            Content::Metadata => request.watch_metadata(&parameters, version),
            Content::Whole => request.watch(&parameters, version),
        }
    }
}

/// Which part of each object to request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Only its metadata.
    Metadata,
    /// The whole object.
    Whole,
}

/// A list that is read page by page.
///
/// All pages show one state of the collection, which the API server forgets after some minutes. It then answers with
/// status 410 and may give a token, with which [`Pager::continue_at`] continues in the current state.
pub struct Pager {
    reader: Reader,
    listing: Listing,
    /// The number of objects to request next.
    size: u32,
    token: Option<String>,
    is_at_end: bool,
}

/// One page of a list, read as `T`.
#[derive(Debug)]
pub struct Page<T> {
    /// The objects.
    pub items: Vec<T>,
    /// The state of the collection, from which a watch can start.
    pub resource_version: Option<String>,
}

#[derive(Deserialize)]
struct List<T> {
    metadata: ListMetadata,
    // Not an `Option`, which could also be missing: without items it is not a list.
    #[serde(bound(deserialize = "T: Deserialize<'de>"), deserialize_with = "list_or_null")]
    items: Vec<T>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMetadata {
    #[serde(rename = "continue")]
    token: Option<String>,
    resource_version: Option<String>,
}

/// The API server writes an empty list of metadata as null.
fn list_or_null<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl Pager {
    /// A pager that has requested nothing yet.
    pub fn new(reader: Reader, listing: Listing) -> Self {
        Self { reader, listing, size: FIRST, token: None, is_at_end: false }
    }

    /// The next page, with at most `most` objects; `None` after the last one.
    ///
    /// A page that is too large is requested again with half as many objects. After a failure or a dropped call, the
    /// same page can be requested again; a size that was too large stays known.
    ///
    /// # Errors
    /// The API server denies the request, fails, or takes too long; or a single object is too large.
    pub async fn next<T: DeserializeOwned>(&mut self, most: u32) -> Result<Option<Page<T>>, ReadError> {
        if self.is_at_end {
            return Ok(None);
        }
        let (asked, answer) = self.ask(most).await?;
        let List { metadata, items } = answer.parse::<List<T>>()?;
        self.size = next_size(asked, items.len(), answer.len());
        drop(answer);
        self.token = metadata.token.filter(|token| !token.is_empty());
        self.is_at_end = self.token.is_none();
        let resource_version = metadata.resource_version.filter(|version| !version.is_empty());
        Ok(Some(Page { items, resource_version }))
    }

    /// Continues with the page of this token.
    pub fn continue_at(&mut self, token: String) {
        self.token = Some(token);
    }

    /// An answer that is not too large, and the number of objects that were requested.
    async fn ask(&mut self, most: u32) -> Result<(u32, Answer), ReadError> {
        loop {
            let asked = self.size.min(most).max(1);
            let request = self.listing.page(asked, self.token.as_deref())?;
            match timeout(PATIENCE, self.reader.read(request)).await {
                Err(_) => return Err(ReadError::Late(PATIENCE)),
                Ok(Err(ReadError::TooLarge)) if asked > 1 => self.size = asked / 2,
                Ok(Err(ReadError::TooLarge)) => {
                    return Err(ReadError::ObjectTooLarge { kind: self.listing.kind.clone() });
                }
                Ok(answer) => return Ok((asked, answer?)),
            }
        }
    }
}

/// How many objects make a page of the target size, if they are like those of the last page: at least one, and at most
/// twice as many as were requested.
fn next_size(asked: u32, items: usize, bytes: usize) -> u32 {
    let fitting = items.max(1).saturating_mul(AIM) / bytes.max(1);
    u32::try_from(fitting).unwrap_or(u32::MAX).clamp(1, asked.saturating_mul(2))
}
