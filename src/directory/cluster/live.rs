//! Asks the API server about single objects.

use std::sync::Arc;
use std::time::Duration;

use crm_core::api::Target;
use crm_core::existence::Presence;
use futures::FutureExt;
use kube::Resource;
use kube::api::{DynamicObject, GetParams};
use kube::core::Request;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::timeout;

use super::ObjectHead;
use super::flights::{Age, Flights};
use crate::cluster::{ReadError, Reader};
use crate::directory::{Found, LookupError};

/// The characters to escape in a path segment: all but the unreserved characters of RFC 3986 and `:`, `@` and `+`. kube
/// does not escape names, and the name of a user may contain `?`, which would end the path.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b':')
    .remove(b'@')
    .remove(b'+');

/// Asks the API server whether single objects exist.
pub struct Live {
    reader: Reader,
    flights: Flights<Target, Answer>,
}

type Answer = Result<Found, LookupError>;

/// The answer is about another object.
#[derive(Debug, thiserror::Error)]
#[error("the API server answered with another object than requested")]
struct OtherObject;

impl Live {
    /// Create the client of `reader` with [`crate::cluster::Source::connect`].
    pub fn new(reader: Reader) -> Self {
        Self { reader, flights: Flights::new() }
    }

    /// Whether the target exists, within `limit`, by one call that equal questions at the same time share.
    ///
    /// Failures are shared as well: repeating them for everyone would add load to an API server in trouble.
    ///
    /// # Errors
    /// The call failed, or took longer.
    pub async fn presence(&self, target: &Target, limit: Duration) -> Result<Presence, LookupError> {
        self.found(target, limit).await.map(|found| found.presence)
    }

    /// The same with the uid of the target.
    ///
    /// # Errors
    /// The call failed, or took longer.
    pub async fn found(&self, target: &Target, limit: Duration) -> Result<Found, LookupError> {
        let call = || {
            let (reader, target) = (self.reader.clone(), target.clone());
            (async move { get(&reader, &target).await }.boxed(), ())
        };
        let age = |answer: &Answer| match answer {
            Ok(Found { presence: Presence::Missing, .. }) => Age::FreshOnly,
            Ok(_) | Err(_) => Age::Any,
        };
        let answer = timeout(limit, self.flights.ask(target, call, age, |()| {})).await;
        answer.unwrap_or(Err(LookupError::Late(limit)))
    }
}

/// Gets the metadata of the object. Without a resource version, the API server answers with the latest state.
async fn get(reader: &Reader, target: &Target) -> Answer {
    match head(reader, target).await {
        // An answer about another object does not come from the API server.
        Ok(object) if object.name() != Some(&target.name) => Err(LookupError::Failed(Arc::new(OtherObject))),
        Ok(object) => Ok(Found { presence: object.presence(), uid: object.uid().map(str::to_owned) }),
        // Use the code: for a kind that the cluster does not have, the API server returns 404 without a reason, and
        // kube's `is_not_found` checks the reason. Objects of such a kind do not exist either.
        Err(error) if error.code() == Some(404) => Ok(Found { presence: Presence::Missing, uid: None }),
        Err(error) => Err(error.into()),
    }
}

async fn head(reader: &Reader, target: &Target) -> Result<ObjectHead, ReadError> {
    let namespace = target.namespace.as_deref().filter(|_| target.kind.namespaced);
    let path = DynamicObject::url_path(&target.kind.api_resource(), namespace);
    let name = utf8_percent_encode(&target.name, ESCAPED).to_string();
    reader.read(Request::new(path).get_metadata(&name, &GetParams::default())?).await?.parse()
}
