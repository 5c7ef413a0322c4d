//! Keeps the names of a kind up to date: lists them, watches changes, and starts again after a failure.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use crm_core::existence::Presence;
use futures::{FutureExt, StreamExt};
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::DefaultBackoff;
use tokio::time::{sleep, timeout};

use super::ObjectHead;
use super::part::{Part, Trouble};
use crate::cluster::{
    Change, Changes, Content, Listing, Pager, Reader, WATCH_SECONDS, WatchError, changes, list_by_watch,
};
use crm_core::existence::Names;

/// The maximum size of a page.
const PAGE: u32 = 500;

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
            Ok(changes) => watch(part, changes, &mut pause).await,
            Err(failure) => {
                suffer(part, &failure, &mut pause);
            }
        }
        rest(&mut pause).await;
    }
}

/// What to do after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Watch,
    List,
}

/// Records the problem, and returns what to do after a pause.
fn suffer(part: &Part, failure: &WatchError, pause: &mut DefaultBackoff) -> Next {
    let (trouble, error) = match failure {
        WatchError::Read(error) => (Trouble::of(error), Some(error)),
        WatchError::NoVersion | WatchError::Incomplete => (Trouble::Unreachable, None),
        WatchError::Short => (Trouble::Ended, None),
    };
    if trouble == Trouble::Expired {
        // The API server works and needs a new list.
        pause.reset();
    }
    part.suffers(trouble, error);
    if failure.needs_a_list() { Next::List } else { Next::Watch }
}

/// Lists the objects once; returns their changes since then. The old names stay in use until the list is complete.
async fn list(part: &Part, reader: &Reader) -> Result<Changes<ObjectHead>, WatchError> {
    let listing = Listing::all(&part.kind().api_resource(), Content::Metadata);
    match list_at_once(part, reader, listing.clone()).await {
        // No object can exist, so there are no pages either.
        Err(WatchError::Read(error)) if error.code() == Some(404) => Err(WatchError::Read(error)),
        // The API server may not offer this, or not be able to do it now.
        Err(_) => {
            let version = list_pages(part, reader, listing.clone()).await?;
            Ok(changes(reader.client(), listing, version))
        }
        listed => listed,
    }
}

/// Lists the objects by a watch.
async fn list_at_once(
    part: &Part,
    reader: &Reader,
    listing: Listing,
) -> Result<Changes<ObjectHead>, WatchError> {
    let names = Names::default();
    let changes = list_by_watch(reader.client(), listing, |change| {
        let (object, presence) = state(&change);
        record(&names, object, presence);
    });
    let changes = changes.await?;
    part.replace(names);
    Ok(changes)
}

/// Lists the objects page by page. Returns the version from which a watch can start, which is that of the last page.
async fn list_pages(part: &Part, reader: &Reader, listing: Listing) -> Result<String, WatchError> {
    let mut pages = Pager::new(reader.clone(), listing);
    let names = Names::default();
    let mut version = None;
    while let Some(page) = pages.next::<ObjectHead>(PAGE).await? {
        for object in &page.items {
            record(&names, object, object.presence());
        }
        version = page.resource_version;
    }
    let version = version.ok_or(WatchError::NoVersion)?;
    part.replace(names);
    Ok(version)
}

fn record(names: &Names, object: &ObjectHead, presence: Presence) {
    if let Some(name) = object.name() {
        names.set(object.namespace(), name, presence);
    }
}

/// The object of a change, and whether it exists now.
fn state(change: &Change<ObjectHead>) -> (&ObjectHead, Presence) {
    match change {
        Change::Stored(object) => (object, object.presence()),
        Change::Deleted(object) => (object, Presence::Missing),
    }
}

/// Follows changes until a new list is needed.
async fn watch(part: &Part, mut changes: Changes<ObjectHead>, pause: &mut DefaultBackoff) {
    loop {
        match timeout(QUIET, changes.next()).await {
            Ok(Some(Ok(change))) => {
                part.works();
                pause.reset();
                let (object, presence) = state(&change);
                part.changed(object, presence);
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

async fn rest(pause: &mut DefaultBackoff) {
    sleep(pause.next().unwrap_or(LONGEST_PAUSE)).await;
}
