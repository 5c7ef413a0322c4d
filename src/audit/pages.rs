//! Reads the stored records of one kind, page by page.

use crm_core::api::{CrmKind, VERSION};
use kube::api::GetParams;
use kube::core::Request;
use serde_json::Value;

use super::stored::{Labels, Stored};
use crate::cluster::{Content, Listing, Page, Pager, ReadError, Reader, next_page};

/// The records of a kind could not be listed.
#[derive(Debug, thiserror::Error)]
#[error("{kind} cannot be listed{hint}", kind = plural(*kind), hint = hint(source))]
pub struct ListError {
    /// The kind.
    kind: CrmKind,
    /// The cause.
    #[source]
    source: ReadError,
}

/// The plural of the kind, as kubectl takes it.
fn plural(kind: CrmKind) -> String {
    if kind.is_own() { kind.plural().to_owned() } else { format!("{}.{}", kind.plural(), kind.group()) }
}

impl ListError {
    pub(super) fn new(kind: CrmKind, source: ReadError) -> Self {
        Self { kind, source }
    }

    /// Whether the kind can be left out: it is Milo's, and the cluster does not have it, or the user may not list it. In
    /// the second case, `tell` is called.
    pub(super) async fn can_be_left_out(&self, reader: &Reader, tell: &dyn Fn(&Self)) -> bool {
        match self.source.code() {
            _ if self.kind.is_own() => false,
            Some(404) => true,
            // Without permission, this is the answer about a kind that does not exist, too.
            Some(403) => {
                if is_served(reader, self.kind).await {
                    tell(self);
                }
                true
            }
            _ => false,
        }
    }

    /// The note for users about a kind that is left out.
    pub fn note(&self) -> String {
        format!("note: {} are left out, because you may not list them", plural(self.kind))
    }
}

/// Whether the API server serves the group of a kind. Everybody may ask that; without an answer, it may.
async fn is_served(reader: &Reader, kind: CrmKind) -> bool {
    let groups = Request::new(format!("/apis/{}", kind.group()));
    let Ok(request) = groups.get(VERSION, &GetParams::default()) else { return true };
    !matches!(reader.read(request).await, Err(error) if error.code() == Some(404))
}

fn hint(error: &ReadError) -> &'static str {
    match error.code() {
        Some(403) => " (an audit needs permission to list companies, people and notes)",
        _ => "",
    }
}

/// The records of one kind, sorted by name.
pub struct Pages {
    pages: Pager,
    kind: CrmKind,
    size: u32,
    labels: Labels,
}

impl Pages {
    /// Pages of at most `size` records with only these `labels`.
    pub fn new(reader: Reader, kind: CrmKind, size: u32, labels: Labels) -> Self {
        let listing = Listing::all(&kind.resource().api_resource(), Content::Whole);
        Self { pages: Pager::new(reader, listing), kind, size, labels }
    }

    /// The next page; `None` after the last one.
    ///
    /// # Errors
    /// The API server denies the request or keeps failing.
    pub async fn next(&mut self) -> Result<Option<Vec<Value>>, ListError> {
        let mut answer = next_page(&mut self.pages, self.size).await;
        // A slow list outlives its snapshot. The API server then returns a token to continue in the current state.
        if let Some(token) = answer.as_ref().err().and_then(fresh_token) {
            self.pages.continue_at(token);
            answer = next_page(&mut self.pages, self.size).await;
        }
        let page = answer.map_err(|source| ListError { kind: self.kind, source })?;
        let kept = |page: Page<Stored>| {
            page.items.into_iter().map(|record| record.into_value(&self.labels)).collect()
        };
        Ok(page.map(kept))
    }
}

fn fresh_token(error: &ReadError) -> Option<String> {
    let ReadError::Failed(error) = error else { return None };
    let status = error.status()?;
    let token = status.metadata.as_ref().and_then(|metadata| metadata.continue_.clone());
    token.filter(|token| status.code == 410 && !token.is_empty())
}
