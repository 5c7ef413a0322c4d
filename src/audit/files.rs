//! Reads stored records from files, such as the output of `kubectl get -o yaml`.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crm_core::api::{self, ResourceKind, Target};
use crm_core::existence::{Objects, Presence};
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use k8s_openapi::api::authentication::v1::UserInfo;
use serde_json::Value;

use crate::directory::{Found, LookUp, LookupError, PartStatus};

/// The objects of files as a directory. If the files have any object of a kind, they are assumed to have all of that
/// kind; of other kinds nothing is known.
pub struct Files {
    objects: Objects,
    /// Group and kind.
    held: HashSet<(String, String)>,
}

/// The files have no object of that kind.
#[derive(Debug, thiserror::Error)]
#[error("the files have no object of that kind")]
pub(super) struct NotHeld;

impl Files {
    /// A directory of these objects.
    pub fn new<'a>(objects: impl IntoIterator<Item = &'a Value> + Clone) -> Self {
        let held = objects.clone().into_iter().filter_map(|object| {
            let group = api::group_of(object["apiVersion"].as_str()?);
            Some((group.to_owned(), object["kind"].as_str()?.to_owned()))
        });
        Self { held: held.collect(), objects: Objects::new(objects) }
    }

    fn holds(&self, kind: &ResourceKind) -> bool {
        self.held.contains(&(kind.group.clone(), kind.kind.clone()))
    }
}

impl LookUp for Files {
    fn recall(&self, target: &Target) -> Option<Presence> {
        self.objects.presence(target)
    }

    fn confirm<'a>(
        &'a self,
        target: &'a Target,
        _limit: Duration,
    ) -> BoxFuture<'a, Result<Presence, LookupError>> {
        let answer = match self.holds(&target.kind) {
            true => Ok(self.recall(target).unwrap_or(Presence::Missing)),
            false => Err(LookupError::Failed(Arc::new(NotHeld))),
        };
        ready(answer).boxed()
    }

    fn identify<'a>(
        &'a self,
        target: &'a Target,
        limit: Duration,
    ) -> BoxFuture<'a, Result<Found, LookupError>> {
        self.objects.identify(target, limit)
    }

    fn suggest<'a>(
        &'a self,
        target: &'a Target,
        _user: &'a UserInfo,
        _limit: Duration,
    ) -> BoxFuture<'a, Option<String>> {
        ready(self.objects.nearest(target)).boxed()
    }

    fn status(&self) -> Vec<PartStatus> {
        self.objects.status()
    }
}
