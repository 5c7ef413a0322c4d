//! A directory of names that are listed once, page by page, and of the API server for what they do not know.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crm_core::api::{Dependants, ResourceKind, Tally, Target};
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use k8s_openapi::api::authentication::v1::UserInfo;
use tokio::time::timeout;

use super::cluster::{Live, ObjectHead};
use super::names::Names;
use super::{Directory, LookupError, PartStatus, Presence};
use crate::cluster::{Content, Listing, Pager, ReadError, Reader};

/// How many objects a page of a list holds at most. Only their metadata is asked for.
const PAGE: u32 = 500;

/// What a cluster holds, as far as it has been listed.
///
/// Whoever may list names may also be told them, so everyone gets suggestions.
pub struct Listed {
    reader: Reader,
    live: Live,
    kinds: HashMap<Arc<ResourceKind>, Names>,
}

impl Listed {
    /// A directory that has listed nothing yet: every question is put to the API server.
    pub fn new(reader: Reader) -> Self {
        Self { live: Live::new(reader.clone()), reader, kinds: HashMap::new() }
    }

    /// Lists the names of a kind. `on_name` hears of each.
    ///
    /// # Errors
    /// The API server refuses, or cannot be reached; then nothing of the kind is kept.
    pub async fn list(&mut self, kind: &Arc<ResourceKind>, on_name: &dyn Fn()) -> Result<(), ReadError> {
        let listing = Listing::all(&kind.api_resource(), Content::Metadata);
        let mut pages = Pager::new(self.reader.clone(), listing);
        let names = Names::default();
        while let Some(page) = pages.next::<ObjectHead>(PAGE).await? {
            for object in &page.items {
                if let Some(name) = object.name() {
                    names.set(object.namespace(), name, object.presence());
                    on_name();
                }
            }
        }
        self.kinds.insert(Arc::clone(kind), names);
        Ok(())
    }
}

/// Who refers to a record is not among the names.
#[derive(Debug, thiserror::Error)]
#[error("names alone do not tell who refers to a record")]
struct NotCounted;

impl Directory for Listed {
    fn recall(&self, target: &Target) -> Option<Presence> {
        match self.kinds.get(&target.kind)?.get(target.namespace.as_deref(), &target.name) {
            Presence::Missing => None,
            known => Some(known),
        }
    }

    fn confirm<'a>(
        &'a self,
        target: &'a Target,
        limit: Duration,
    ) -> BoxFuture<'a, Result<Presence, LookupError>> {
        let answer = timeout(limit, self.live.presence(target));
        async move { answer.await.unwrap_or(Err(LookupError::Late(limit))) }.boxed()
    }

    fn suggest<'a>(
        &'a self,
        target: &'a Target,
        _user: &'a UserInfo,
        _limit: Duration,
    ) -> BoxFuture<'a, Option<String>> {
        let names = self.kinds.get(&target.kind);
        ready(names.and_then(|names| names.nearest(target.namespace.as_deref(), &target.name))).boxed()
    }

    fn dependants<'a>(
        &'a self,
        _question: &'a Dependants,
        _user: &'a UserInfo,
        _limit: Duration,
    ) -> BoxFuture<'a, Result<Tally, LookupError>> {
        ready(Err(LookupError::Failed(Arc::new(NotCounted)))).boxed()
    }

    fn status(&self) -> Vec<PartStatus> {
        let part = |(kind, names): (&Arc<ResourceKind>, &Names)| PartStatus {
            kind: kind.to_string(),
            objects: names.len(),
            not_ready: None,
            required: false,
            restarts: 0,
        };
        self.kinds.iter().map(part).collect()
    }
}
