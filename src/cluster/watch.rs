//! Watches the objects of a kind, call after call, and lists them by a watch.

use std::time::Duration;

use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use kube::Client;
use kube::api::{WatchEvent, WatchParams};
use kube::core::watch::Bookmark;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout};

use super::client::{SILENCE, WATCH_SECONDS};
use super::events::Events;
use super::pages::Listing;
use super::reading::ReadError;

/// How long a watch call may be silent before it is replaced.
const IDLE: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 5);

/// How long a list by a watch may be silent.
const PATIENCE: Duration = Duration::from_secs(70);

/// If a call ends earlier and without an event, the next one may too, so it must not follow at once. client-go has the
/// same limit.
const SHORT: Duration = Duration::from_secs(1);

/// The annotation of the event that ends a list:
/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#streaming-lists>.
const END_OF_LIST: &str = "k8s.io/initial-events-end";

// Otherwise the client would end watches.
const _: () = assert!(IDLE.as_secs() < SILENCE.as_secs());

/// An object, with what is read of it.
pub trait Watchable: DeserializeOwned + Send + 'static {
    /// Its resource version, from which a watch can continue.
    fn resource_version(&self) -> Option<&str>;
}

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
    /// A list by a watch ended too early.
    Incomplete,
    /// A call ended at once, without an event.
    Short,
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
            Self::NoVersion | Self::Incomplete => true,
            Self::Short => false,
        }
    }
}

/// The changes of objects from `version`. The stream does not end; after a failure it continues where it was.
pub fn changes<K: Watchable>(client: &Client, listing: Listing, version: String) -> Changes<K> {
    Watch { client: client.clone(), listing, version, call: None }.changes()
}

/// Lists objects by a watch, and returns their changes since then. `report` gets each object, and changes during the
/// list.
///
/// The API server sends every object and marks the end of the list. Unlike pages, this list comes from the memory of the
/// API server and not from etcd, and no more than one object is held.
///
/// # Errors
/// The call fails, or ends before the list does. With status 400 or 422, the API server does not offer this; it is on by
/// default in Kubernetes 1.32 and from 1.34.
pub async fn list_by_watch<K: Watchable>(
    client: &Client,
    listing: Listing,
    mut report: impl FnMut(Change<K>),
) -> Result<Changes<K>, WatchError> {
    let parameters = WatchParams::default().timeout(WATCH_SECONDS).initial_events();
    // Without a version, the list shows the latest state.
    let mut call = Call::new(Events::watch(client, listing.watch(parameters, "")?).await?);
    let mut watch = Watch { client: client.clone(), listing, version: String::new(), call: None };
    loop {
        let event = timeout(PATIENCE, call.events.next()).await.map_err(|_| ReadError::Late(PATIENCE))?;
        match watch.read(event?.ok_or(WatchError::Incomplete)?)? {
            Event::Change(change) => report(change),
            Event::Position => {}
            Event::EndOfList => {
                call.is_empty = false;
                watch.call = Some(call);
                return Ok(watch.changes());
            }
        }
    }
}

/// The changes of objects, without an end.
pub type Changes<K> = BoxStream<'static, Result<Change<K>, WatchError>>;

/// A watch that consists of many calls.
struct Watch<K> {
    client: Client,
    listing: Listing,
    version: String,
    /// `None` between two calls.
    call: Option<Call<K>>,
}

struct Call<K> {
    events: Events<K>,
    began: Instant,
    /// Whether it has had no event.
    is_empty: bool,
}

impl<K> Call<K> {
    fn new(events: Events<K>) -> Self {
        Self { events, began: Instant::now(), is_empty: true }
    }
}

/// What an event of a watch says.
enum Event<K> {
    Change(Change<K>),
    /// A later call can start from a later version.
    Position,
    /// All objects that existed when the call began have been sent.
    EndOfList,
}

impl<K: Watchable> Watch<K> {
    fn changes(self) -> Changes<K> {
        // The future lives in the stream, so that nothing is lost if a caller stops waiting.
        let changes = stream::unfold(self, |mut watch| async {
            let change = watch.next().await;
            Some((change, watch))
        });
        changes.boxed()
    }

    async fn next(&mut self) -> Result<Change<K>, WatchError> {
        loop {
            let call = match &mut self.call {
                Some(call) => call,
                none => {
                    let parameters = WatchParams::default().timeout(WATCH_SECONDS);
                    let request = self.listing.watch(parameters, &self.version)?;
                    none.insert(Call::new(Events::watch(&self.client, request).await?))
                }
            };
            match timeout(IDLE, call.events.next()).await {
                Ok(Ok(Some(event))) => {
                    call.is_empty = false;
                    if let Event::Change(change) = self.read(event)? {
                        return Ok(change);
                    }
                }
                Ok(Ok(None)) => {
                    let is_short = call.is_empty && call.began.elapsed() < SHORT;
                    self.call = None;
                    if is_short {
                        return Err(WatchError::Short);
                    }
                }
                // An event may be lost. The next call returns it again.
                Ok(Err(error)) => {
                    self.call = None;
                    return Err(error.into());
                }
                // The connection is dead.
                Err(_) => self.call = None,
            }
        }
    }

    /// What an event says. The next call starts after it.
    fn read(&mut self, event: WatchEvent<K>) -> Result<Event<K>, WatchError> {
        Ok(match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                self.advance(&object)?;
                Event::Change(Change::Stored(object))
            }
            WatchEvent::Deleted(object) => {
                self.advance(&object)?;
                Event::Change(Change::Deleted(object))
            }
            WatchEvent::Bookmark(Bookmark { metadata, .. }) => {
                self.version = metadata.resource_version;
                let is_end = metadata.annotations.get(END_OF_LIST).is_some_and(|value| value == "true");
                if is_end { Event::EndOfList } else { Event::Position }
            }
            WatchEvent::Error(status) => return Err(kube::Error::Api(status.boxed()).into()),
        })
    }

    fn advance(&mut self, object: &K) -> Result<(), WatchError> {
        let version = object.resource_version().filter(|version| !version.is_empty());
        version.ok_or(WatchError::NoVersion)?.clone_into(&mut self.version);
        Ok(())
    }
}
