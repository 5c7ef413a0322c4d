//! Reads the stored records of one kind, a page at a time.

use kube::Client;
use kube::Resource;
use kube::api::{Api, DynamicObject, ListParams};
use kube::core::Request;
use serde::Deserialize;
use serde_json::Value;

use super::patience::patiently;
use crate::api::CrmKind;

/// The records of a kind that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{kind} cannot be listed{hint}", kind = kind.plural(), hint = hint(source))]
pub struct ListError {
    /// Which kind.
    kind: CrmKind,
    /// Why.
    #[source]
    source: kube::Error,
}

fn hint(error: &kube::Error) -> &'static str {
    match error {
        kube::Error::Api(status) if status.code == 403 => {
            " (an audit needs the right to list companies, people and notes)"
        }
        _ => "",
    }
}

/// The records of one kind, in the order of their names.
pub struct Pages {
    client: Client,
    kind: CrmKind,
    next: Option<ListParams>,
}

/// What is read of a list.
#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    metadata: ListMetadata,
    /// Some API servers write an empty list as null.
    items: Option<Vec<Value>>,
}

#[derive(Default, Deserialize)]
struct ListMetadata {
    #[serde(default, rename = "continue")]
    token: String,
}

impl Pages {
    /// Pages of at most `size` records.
    pub fn new(client: Client, kind: CrmKind, size: u32) -> Self {
        Self { client, kind, next: Some(ListParams::default().limit(size)) }
    }

    /// The next page; `None` after the last one.
    ///
    /// # Errors
    /// The API server refuses, or goes on failing.
    pub async fn next(&mut self) -> Result<Option<Vec<Value>>, ListError> {
        let Some(mut params) = self.next.take() else {
            return Ok(None);
        };
        let failed = |source| ListError { kind: self.kind, source };
        let mut answer = patiently(|| get(&self.client, self.kind, &params)).await;
        // A list that takes long outlives its snapshot. The API server then says where to go on, in what is there now.
        if let Some(token) = answer.as_ref().err().and_then(fresh_token) {
            params.continue_token = Some(token);
            answer = patiently(|| get(&self.client, self.kind, &params)).await;
        }
        let page = answer.map_err(failed)?;
        if !page.metadata.token.is_empty() {
            params.continue_token = Some(page.metadata.token);
            self.next = Some(params);
        }
        let mut items = page.items.unwrap_or_default();
        items.iter_mut().for_each(drop_managed_fields);
        Ok(Some(items))
    }
}

async fn get(client: &Client, kind: CrmKind, params: &ListParams) -> kube::Result<Page> {
    let request = Request::new(DynamicObject::url_path(&kind.resource().api_resource(), None)).list(params);
    client.request(request.map_err(kube::Error::BuildRequest)?).await
}

fn fresh_token(error: &kube::Error) -> Option<String> {
    let kube::Error::Api(status) = error else { return None };
    let token = status.metadata.as_ref().and_then(|metadata| metadata.continue_.clone());
    token.filter(|token| status.code == 410 && !token.is_empty())
}

/// One stored object; `None` where there is none.
pub(super) async fn stored(objects: &Api<DynamicObject>, name: &str) -> kube::Result<Option<DynamicObject>> {
    match patiently(|| objects.get(name)).await {
        Ok(object) => Ok(Some(object)),
        // By the code: kube's `get_opt` goes by the reason, which an absent kind does not have.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

/// Most of a small object, and no rule looks at it.
pub(super) fn drop_managed_fields(object: &mut Value) {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
}
