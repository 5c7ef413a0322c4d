//! Keeps the names of a kind up to date: lists them, follows their changes, and begins anew when that fails.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use kube::Client;
use kube::api::Api;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, DefaultBackoff, Event, watcher};
use tokio::time::{sleep, timeout};

use super::ObjectHead;
use super::part::{Part, Trouble};
use crate::directory::Presence;
use crate::directory::names::Names;

/// How many objects a page of a list holds.
const PAGE: u32 = 500;

/// How long one watch call lasts, in seconds. The API server ends it then, and when it does not, the
/// connection has died without a word: for so long names can be believed that are not any more.
const WATCH_SECONDS: u32 = 60;

/// How long a connection of the client may say nothing: longer than a watch may.
pub(super) const SILENCE: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 15);

/// A watch that works again does not say so while nothing changes. One that has not failed for so long works:
/// an API server that does not answer would have been noticed by now.
const QUIET: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 20);

/// How long a page of a list may take. The API server gives up after 60 s, kube never does.
const PAGE_PATIENCE: Duration = Duration::from_secs(70);

/// The pause when the back-off has none to give, which its present definition rules out.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Keeps `work` going, which is meant never to end: when it panics it is started again, and the part says so.
pub(super) async fn supervise<F: Future>(part: &Part, work: impl Fn() -> F) {
    let mut pause = DefaultBackoff::default();
    loop {
        // What a panic may leave half done are the names, which the next run reads anew.
        let _ = AssertUnwindSafe(work()).catch_unwind().await;
        part.suffers(Trouble::Died, None);
        rest(&mut pause).await;
    }
}

/// Lists and watches the kind of `part`, for ever.
pub(super) async fn follow(part: &Part, client: &Client) {
    let mut pause = DefaultBackoff::default();
    loop {
        list_and_watch(part, client, &mut pause).await;
        rest(&mut pause).await;
    }
}

/// Lists the objects once and follows their changes, until all has to be listed anew.
///
/// The pauses between failures are made here and not by `default_backoff()`: that one forgets about failures
/// at every event, and every attempt to list begins with an event, so it would never slow down for a kind
/// that is absent.
async fn list_and_watch(part: &Part, client: &Client, pause: &mut DefaultBackoff) {
    let objects: Api<ObjectHead> = Api::all_with(client.clone(), &part.kind().api_resource());
    let mut events = pin!(watcher(objects, settings()));
    let mut listed: Option<Names> = None;
    loop {
        let patience = if listed.is_some() { PAGE_PATIENCE } else { QUIET };
        match timeout(patience, events.next()).await {
            Ok(Some(Ok(event))) => {
                if matches!(event, Event::Apply(_) | Event::Delete(_)) {
                    part.works();
                    pause.reset();
                }
                apply(event, part, &mut listed);
            }
            Ok(Some(Err(error))) => {
                let trouble = Trouble::of(&error);
                if trouble == Trouble::Expired {
                    // The API server is well again and only wants to be asked for a list.
                    pause.reset();
                }
                let can_resume = can_resume(&trouble);
                part.suffers(trouble, Some(&error));
                if !can_resume {
                    return;
                }
                rest(pause).await;
            }
            Ok(None) => return,
            Err(_) if listed.is_some() => return part.suffers(Trouble::Silent, None),
            Err(_) => {
                part.works();
                pause.reset();
            }
        }
    }
}

fn settings() -> watcher::Config {
    watcher::Config { timeout: Some(WATCH_SECONDS), page_size: Some(PAGE), ..watcher::Config::default() }
}

/// Enters one event into the names. A list is gathered aside in `listed`, so that what was known before goes
/// on to be answered until the list is complete.
fn apply(event: Event<ObjectHead>, part: &Part, listed: &mut Option<Names>) {
    match event {
        Event::Init => *listed = Some(Names::default()),
        Event::InitApply(object) => {
            if let Some(names) = listed {
                set(names, &object, object.presence());
            }
        }
        Event::InitDone => {
            if let Some(names) = listed.take() {
                part.replace(names);
            }
        }
        Event::Apply(object) => set(&part.names, &object, object.presence()),
        Event::Delete(object) => set(&part.names, &object, Presence::Missing),
    }
}

fn set(names: &Names, object: &ObjectHead, presence: Presence) {
    if let Some(name) = object.name() {
        names.set(object.namespace(), name, presence);
    }
}

/// Whether kube recovers by itself. It does not when the API server no longer knows the place or the kind: a
/// watch is then asked for at the same place for ever.
fn can_resume(trouble: &Trouble) -> bool {
    !matches!(trouble, Trouble::Absent | Trouble::Expired)
}

async fn rest(pause: &mut DefaultBackoff) {
    sleep(pause.next().unwrap_or(LONGEST_PAUSE)).await;
}
