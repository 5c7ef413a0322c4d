//! A directory for background work, which takes nothing from reviews.

use std::sync::Arc;
use std::time::Duration;

use crm_core::api::Target;
use crm_core::existence::Presence;
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use k8s_openapi::api::authentication::v1::UserInfo;

use super::cluster::Live;
use super::{Found, LookUp, LookupError, PartStatus};
use crate::cluster::Reader;

/// What another directory knows, and for all other objects the API server.
///
/// Questions to the API server go through a reader of its own, so no review waits for a connection or for the memory
/// that they take. There are no suggestions.
pub struct Background {
    known: Arc<dyn LookUp>,
    live: Live,
}

impl Background {
    /// A directory that shares the names of `known`, and asks the API server through `reader`.
    pub fn new(known: Arc<dyn LookUp>, reader: Reader) -> Self {
        Self { known, live: Live::new(reader) }
    }
}

impl LookUp for Background {
    fn recall(&self, target: &Target) -> Option<Presence> {
        self.known.recall(target)
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
        _target: &'a Target,
        _user: &'a UserInfo,
        _limit: Duration,
    ) -> BoxFuture<'a, Option<String>> {
        ready(None).boxed()
    }

    fn status(&self) -> Vec<PartStatus> {
        self.known.status()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use crm_core::api::ResourceKind;
    use crm_core::existence::Objects;
    use http::{Request, Response};
    use http_body_util::Full;
    use kube::Client;
    use kube::client::Body;
    use serde_json::json;

    use super::*;

    fn company(name: &str) -> Target {
        Target {
            kind: Arc::new(ResourceKind::crm("Company", "companies")),
            namespace: None,
            name: name.to_owned(),
        }
    }

    #[tokio::test]
    async fn names_come_from_the_other_directory_and_answers_from_the_own_reader() {
        let answer = tower::service_fn(async |_: Request<Body>| {
            let object = json!({
                "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
                "metadata": {"name": "globex", "uid": "own"},
            });
            Ok::<_, Infallible>(Response::new(Full::new(bytes::Bytes::from(object.to_string()))))
        });
        let acme = json!({
            "apiVersion": "crm.milo.io/v1alpha1", "kind": "Company", "metadata": {"name": "acme"},
        });
        let known = Arc::new(Objects::new(&[acme]));
        let directory = Background::new(known, Reader::new(Client::new(answer, "default")));
        assert_eq!(directory.recall(&company("acme")), Some(Presence::Exists));
        assert_eq!(directory.recall(&company("globex")), None);
        let found = directory.identify(&company("globex"), Duration::from_secs(1)).await.unwrap();
        assert_eq!(found, Found { presence: Presence::Exists, uid: Some("own".to_owned()) });
    }
}
