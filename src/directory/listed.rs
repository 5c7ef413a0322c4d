//! A directory that lists names once, page by page, and asks the API server about all others.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crm_core::api::{ResourceKind, Target};
use crm_core::existence::{Names, Presence};
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use k8s_openapi::api::authentication::v1::UserInfo;

use super::cluster::{Live, ObjectHead};
use super::{Found, LookUp, LookupError, PartStatus};
use crate::cluster::{Content, Listing, Pager, ReadError, Reader};

/// The maximum size of a page. Only metadata is requested.
const PAGE: u32 = 500;

/// The objects of a cluster that have been listed.
///
/// The user who lists names may see them, so everyone gets suggestions.
pub struct Listed {
    reader: Reader,
    live: Live,
    kinds: HashMap<Arc<ResourceKind>, Names>,
}

impl Listed {
    /// A directory that has listed nothing yet, so all questions go to the API server.
    pub fn new(reader: Reader) -> Self {
        Self { live: Live::new(reader.clone()), reader, kinds: HashMap::new() }
    }

    /// Lists the names of a kind. Calls `on_name` for each.
    ///
    /// # Errors
    /// The API server denies the request or cannot be reached; then no names of the kind are stored.
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

impl LookUp for Listed {
    fn recall(&self, target: &Target) -> Option<Presence> {
        match self.kinds.get(&target.kind)?.get(target.namespace.as_deref(), &target.name) {
            Presence::Missing => None,
            known => Some(known),
        }
    }

    fn identify<'a>(
        &'a self,
        target: &'a Target,
        limit: Duration,
    ) -> BoxFuture<'a, Result<Found, LookupError>> {
        self.live.found(target, limit).boxed()
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

    fn status(&self) -> Vec<PartStatus> {
        let part = |(kind, names): (&Arc<ResourceKind>, &Names)| PartStatus {
            kind: kind.to_string(),
            objects: names.count(),
            not_ready: None,
            required: false,
            restarts: 0,
        };
        self.kinds.iter().map(part).collect()
    }
}
