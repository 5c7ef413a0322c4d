//! Asks the API server about single objects.

use std::sync::Arc;

use crm_core::api::Target;
use futures::FutureExt;
use kube::Resource;
use kube::api::{DynamicObject, GetParams};
use kube::core::Request;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::ObjectHead;
use super::flights::{Age, Flights};
use crate::cluster::{ReadError, Reader};
use crate::directory::{LookupError, Presence};

/// What is escaped in a segment of a path: all but the unreserved characters of RFC 3986 and `:`, `@` and
/// `+`. kube takes a name as it is, and the name of a user may hold `?`, after which a path is no path any
/// more.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b':')
    .remove(b'@')
    .remove(b'+');

/// The API server as the authority on single objects.
pub struct Live {
    reader: Reader,
    flights: Flights<Target, Answer>,
}

type Answer = Result<Presence, LookupError>;

/// An answer that is none.
#[derive(Debug, thiserror::Error)]
#[error("the API server answered with another object than was asked for")]
struct OtherObject;

impl Live {
    /// The client of `reader` should be one whose configuration has gone through [`super::Cluster::client_config`].
    pub fn new(reader: Reader) -> Self {
        Self { reader, flights: Flights::new() }
    }

    /// Whether the target exists, by one call that concurrent equal questions share. The deadline is the
    /// caller's.
    ///
    /// Failures are shared as well: to repeat them for everyone would press on an API server that is in
    /// trouble.
    ///
    /// # Errors
    /// It could not be found out.
    pub async fn presence(&self, target: &Target) -> Result<Presence, LookupError> {
        let call = || {
            let (reader, target) = (self.reader.clone(), target.clone());
            (async move { get(&reader, &target).await }.boxed(), ())
        };
        let age = |answer: &Answer| match answer {
            Ok(Presence::Missing) => Age::FreshOnly,
            Ok(Presence::Exists | Presence::Terminating) | Err(_) => Age::Any,
        };
        self.flights.ask(target, call, age, |()| {}).await
    }
}

/// One GET of the object's metadata. It names no resource version, so the API server answers with the latest
/// state.
async fn get(reader: &Reader, target: &Target) -> Answer {
    match head(reader, target).await {
        // A success that does not come from the API server proves nothing.
        Ok(object) if object.name() != Some(&target.name) => Err(LookupError::Failed(Arc::new(OtherObject))),
        Ok(object) => Ok(object.presence()),
        // By the code: for a kind that the cluster does not have, whose objects do not exist either, the API
        // server says 404 without a reason, and kube's `is_not_found` goes by the reason.
        Err(error) if error.code() == Some(404) => Ok(Presence::Missing),
        Err(error) => Err(error.into()),
    }
}

async fn head(reader: &Reader, target: &Target) -> Result<ObjectHead, ReadError> {
    let namespace = target.namespace.as_deref().filter(|_| target.kind.namespaced);
    let path = DynamicObject::url_path(&target.kind.api_resource(), namespace);
    let name = utf8_percent_encode(&target.name, ESCAPED).to_string();
    reader.read(Request::new(path).get_metadata(&name, &GetParams::default())?).await?.parse()
}
