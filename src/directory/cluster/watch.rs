//! Keeps the names of a kind up to date: lists them, watches changes, and starts again after a failure.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::time::Duration;

use crm_core::existence::Presence;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, Stream, StreamExt};
use kube::api::{Api, WatchEvent, WatchParams};
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::DefaultBackoff;
use tokio::time::{sleep, timeout};

use super::ObjectHead;
use super::part::{Part, Trouble};
use crate::cluster::{Content, Listing, Pager, ReadError, Reader, SILENCE, WATCH_SECONDS};
use crm_core::existence::Names;

/// The maximum size of a page.
const PAGE: u32 = 500;

/// How long a watch call may be silent before it is replaced.
const IDLE: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 5);

// Otherwise the client would end watches.
const _: () = assert!(IDLE.as_secs() < SILENCE.as_secs());

/// A watch that works again shows no sign while nothing changes. If it has not failed for this long, it works: an API
/// server that does not answer would have been noticed.
const QUIET: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 20);

/// The pause if the backoff has none, which does not happen with its current definition.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Runs `work`, which should never finish: after a panic it is started again, and the part reports it.
pub(super) async fn supervise<F: Future>(part: &Part, work: impl Fn() -> F) {
    let mut pause = DefaultBackoff::default();
    loop {
        // A panic can leave only the names incomplete, and the next run reads them again.
        let _ = AssertUnwindSafe(work()).catch_unwind().await;
        part.suffers(Trouble::Panicked, None);
        rest(&mut pause).await;
    }
}

/// Lists and watches the kind of `part`, forever.
///
/// The pauses after failures are made here: kube's `default_backoff()` resets at every event, so it would never slow
/// down for a missing kind.
pub(super) async fn follow(part: &Part, reader: &Reader) {
    let mut pause = DefaultBackoff::default();
    loop {
        match list(part, reader).await {
            Ok(version) => watch(part, reader, version, &mut pause).await,
            Err(failure) => {
                suffer(part, &failure, &mut pause);
            }
        }
        rest(&mut pause).await;
    }
}

/// Why a list or a watch failed.
#[derive(Debug)]
enum Failure {
    Read(ReadError),
    /// An object or a list has no resource version from which a watch could continue.
    NoVersion,
}

impl<E: Into<ReadError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Read(error.into())
    }
}

/// What to do after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Watch,
    List,
}

/// Records the problem, and returns what to do after a pause.
fn suffer(part: &Part, failure: &Failure, pause: &mut DefaultBackoff) -> Next {
    let (trouble, error) = match failure {
        Failure::Read(error) => (Trouble::of(error), Some(error)),
        Failure::NoVersion => (Trouble::Unreachable, None),
    };
    // The API server no longer knows the position or the kind, so repeating the watch is useless.
    let is_lost = matches!(trouble, Trouble::Absent | Trouble::Expired);
    if trouble == Trouble::Expired {
        // The API server works and needs a new list.
        pause.reset();
    }
    part.suffers(trouble, error);
    if is_lost || matches!(failure, Failure::NoVersion) { Next::List } else { Next::Watch }
}

/// Lists the objects once; returns where a watch starts. The old names stay in use until the list is complete.
async fn list(part: &Part, reader: &Reader) -> Result<String, Failure> {
    let listing = Listing::all(&part.kind().api_resource(), Content::Metadata);
    let mut pages = Pager::new(reader.clone(), listing);
    let names = Names::default();
    // The version of the last page.
    let mut version = None;
    while let Some(page) = pages.next::<ObjectHead>(PAGE).await? {
        page.items.iter().for_each(|object| set(&names, object, object.presence()));
        version = page.resource_version;
    }
    let version = version.ok_or(Failure::NoVersion)?;
    part.replace(names);
    Ok(version)
}

/// Watches changes from `version` until a new list is needed.
async fn watch(part: &Part, reader: &Reader, version: String, pause: &mut DefaultBackoff) {
    let mut changes = pin!(changes(part, reader, version));
    loop {
        match timeout(QUIET, changes.next()).await {
            Ok(Some(Ok((object, presence)))) => {
                part.works();
                pause.reset();
                set(&part.names, &object, presence);
            }
            Ok(Some(Err(failure))) => match suffer(part, &failure, pause) {
                Next::List => return,
                Next::Watch => rest(pause).await,
            },
            Ok(None) => return,
            Err(_) => {
                part.works();
                pause.reset();
            }
        }
    }
}

type Change = (ObjectHead, Presence);

/// The changes from `version`. The stream does not end; after a failure it continues where it was.
fn changes(
    part: &Part,
    reader: &Reader,
    version: String,
) -> impl Stream<Item = Result<Change, Failure>> + use<> {
    let objects = Api::all_with(reader.client().clone(), &part.kind().api_resource());
    let watch = Watch { objects, version, events: None };
    // The future lives in the stream, so that nothing is lost if a caller stops waiting.
    stream::unfold(watch, |mut watch| async {
        let change = watch.next().await;
        Some((change, watch))
    })
}

/// A watch that consists of many calls.
///
/// It holds one event at a time, as a line in a buffer that doubles, and copies it once to parse it. With metadata of
/// the maximum size in etcd, 1.5 MiB, that takes up to 4 MiB for each watched kind. Two of these kinds are records;
/// other kinds of a policy are not written by the writers of records.
struct Watch {
    objects: Api<ObjectHead>,
    version: String,
    /// `None` between two calls.
    events: Option<BoxStream<'static, kube::Result<WatchEvent<ObjectHead>>>>,
}

impl Watch {
    async fn next(&mut self) -> Result<Change, Failure> {
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
                    let presence = object.presence();
                    return self.changed(object, presence);
                }
                Ok(Some(Ok(WatchEvent::Deleted(object)))) => return self.changed(object, Presence::Missing),
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

    fn changed(&mut self, object: ObjectHead, presence: Presence) -> Result<Change, Failure> {
        let version = object.resource_version().filter(|version| !version.is_empty());
        self.version = version.ok_or(Failure::NoVersion)?.to_owned();
        Ok((object, presence))
    }
}

fn set(names: &Names, object: &ObjectHead, presence: Presence) {
    if let Some(name) = object.name() {
        names.set(object.namespace(), name, presence);
    }
}

async fn rest(pause: &mut DefaultBackoff) {
    sleep(pause.next().unwrap_or(LONGEST_PAUSE)).await;
}
