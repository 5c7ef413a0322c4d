//! Watches the objects of a kind, call after call.

use std::fmt::Debug;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};
use kube::Resource;
use kube::api::{Api, WatchEvent, WatchParams};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::client::{SILENCE, WATCH_SECONDS};
use super::reading::ReadError;

/// How long a watch call may be silent before it is replaced.
const IDLE: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 5);

// Otherwise the client would end watches.
const _: () = assert!(IDLE.as_secs() < SILENCE.as_secs());

/// One change of an object.
#[derive(Debug)]
pub enum Change<K> {
    /// It was created or changed.
    Stored(K),
    /// It was deleted; this is its last state.
    Deleted(K),
}

/// Why a watch failed. It continues where it was, unless the API server has forgotten that position.
#[derive(Debug)]
pub enum WatchError {
    /// The call failed.
    Read(ReadError),
    /// An object or a list has no resource version from which a watch could continue.
    NoVersion,
}

impl<E: Into<ReadError>> From<E> for WatchError {
    fn from(error: E) -> Self {
        Self::Read(error.into())
    }
}

impl WatchError {
    /// Whether only a new list helps: the API server no longer knows the position or the kind.
    pub fn needs_a_list(&self) -> bool {
        match self {
            Self::Read(error) => matches!(error.code(), Some(404 | 410)),
            Self::NoVersion => true,
        }
    }
}

/// The changes of `objects` from `version`. The stream does not end; after a failure it continues where it was.
///
/// It holds one event at a time, as a line in a buffer that doubles, and copies it once to parse it. With metadata of
/// the maximum size in etcd, 1.5 MiB, that takes up to 4 MiB for each watch.
pub fn changes<K>(objects: Api<K>, version: String) -> impl Stream<Item = Result<Change<K>, WatchError>>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let watch = Watch { objects, version, events: None };
    // The future lives in the stream, so that nothing is lost if a caller stops waiting.
    stream::unfold(watch, |mut watch| async {
        let change = watch.next().await;
        Some((change, watch))
    })
}

/// A watch that consists of many calls.
struct Watch<K> {
    objects: Api<K>,
    version: String,
    /// `None` between two calls.
    events: Option<BoxStream<'static, kube::Result<WatchEvent<K>>>>,
}

impl<K: Resource + Clone + DeserializeOwned + Debug + Send + 'static> Watch<K> {
    async fn next(&mut self) -> Result<Change<K>, WatchError> {
        loop {
            let events = match &mut self.events {
                Some(events) => events,
                none => {
                    let parameters = WatchParams::default().timeout(WATCH_SECONDS);
                    let events = self.objects.watch(&parameters, &self.version).await?;
                    none.insert(events.boxed())
                }
            };
            match timeout(IDLE, events.next()).await {
                Ok(Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)))) => {
                    self.advance(&object)?;
                    return Ok(Change::Stored(object));
                }
                Ok(Some(Ok(WatchEvent::Deleted(object)))) => {
                    self.advance(&object)?;
                    return Ok(Change::Deleted(object));
                }
                Ok(Some(Ok(WatchEvent::Bookmark(bookmark)))) => {
                    self.version = bookmark.metadata.resource_version;
                }
                Ok(Some(Ok(WatchEvent::Error(status)))) => {
                    return Err(kube::Error::Api(status.boxed()).into());
                }
                Ok(Some(Err(error))) => {
                    // An event may be lost. The next call returns it again.
                    self.events = None;
                    return Err(error.into());
                }
                // The call has finished, or the connection is dead: the next call continues from there.
                Ok(None) | Err(_) => self.events = None,
            }
        }
    }

    fn advance(&mut self, object: &K) -> Result<(), WatchError> {
        let version = object.meta().resource_version.as_deref().filter(|version| !version.is_empty());
        self.version = version.ok_or(WatchError::NoVersion)?.to_owned();
        Ok(())
    }
}
