//! Watches the Secret and the webhook configurations, so that a change is noticed at once.
//!
//! Only the metadata of the objects is watched: a turn of the keeper reads what it needs, in its own order.

use std::fmt::Debug;
use std::future::ready;
use std::time::Duration;

use crm_core::api::installation::CONFIGURATION;
use futures::FutureExt;
use futures::stream::{BoxStream, SelectAll, StreamExt, select_all};
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{Config, Error, Event};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, Resource};
use tokio::time::{Instant, sleep_until, timeout};

use super::Settings;
use crate::cluster::{RequestError, WATCH_SECONDS};

/// How long changes are collected: a change of an installation is usually several.
const COLLECTED: Duration = Duration::from_millis(50);

/// What a watch reports.
enum News {
    /// The object of this watch, by number, was created, changed or deleted, or may have been.
    Changed(usize),
    /// The watch failed and is started again.
    Failed(usize, String),
}

/// The changes of the watched objects.
pub(super) struct Changes {
    news: SelectAll<BoxStream<'static, News>>,
    /// The failure of each watch that does not work, by number.
    failures: [Option<String>; 3],
}

impl Changes {
    /// Watches the objects of one installation.
    pub(super) fn of(client: &Client, settings: &Settings) -> Self {
        let secrets = Api::<PartialObjectMeta<Secret>>::namespaced(client.clone(), &settings.namespace);
        let mutating = Api::<PartialObjectMeta<MutatingWebhookConfiguration>>::all(client.clone());
        let validating = Api::<PartialObjectMeta<ValidatingWebhookConfiguration>>::all(client.clone());
        Self {
            news: select_all([
                watch(0, secrets, &settings.secret),
                watch(1, mutating, CONFIGURATION),
                watch(2, validating, CONFIGURATION),
            ]),
            failures: Default::default(),
        }
    }

    /// Waits for a change, but not longer than `patience`. A change before `earliest` is reported then.
    pub(super) async fn wait(&mut self, patience: Duration, earliest: Instant) {
        let change = async {
            while let Some(news) = self.news.next().await {
                if self.note(news) {
                    return;
                }
            }
            // The watches never end. If they did, only the patience would count.
            std::future::pending().await
        };
        let end = Instant::now() + patience;
        if timeout(patience, change).await.is_ok() {
            sleep_until(earliest.min(end).max(Instant::now() + COLLECTED)).await;
            while let Some(Some(news)) = self.news.next().now_or_never() {
                self.note(news);
            }
        }
    }

    /// Why a watch does not work; `None` if all do.
    pub(super) fn failure(&self) -> Option<&str> {
        self.failures.iter().flatten().next().map(String::as_str)
    }

    /// Whether something has changed.
    fn note(&mut self, news: News) -> bool {
        let (number, failure) = match news {
            News::Changed(number) => (number, None),
            News::Failed(number, failure) => (number, Some(failure)),
        };
        let changed = failure.is_none();
        if let Some(known) = self.failures.get_mut(number) {
            *known = failure;
        }
        changed
    }
}

fn watch<K>(number: usize, objects: Api<PartialObjectMeta<K>>, name: &str) -> BoxStream<'static, News>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + 'static,
{
    let config = Config { timeout: Some(WATCH_SECONDS), ..Config::default() };
    let events = watcher(objects, config.fields(&format!("metadata.name={name}")))
        // Every attempt to list starts with this event, which would reset the pauses.
        .filter(|event| ready(!matches!(event, Ok(Event::Init))))
        .default_backoff();
    let news = move |event| match event {
        Ok(Event::Init | Event::InitApply(_)) => None,
        Ok(Event::InitDone | Event::Apply(_) | Event::Delete(_)) => Some(News::Changed(number)),
        Err(error) => failure(error, &K::kind(&())).map(|why| News::Failed(number, why)),
    };
    events.filter_map(move |event| ready(news(event))).boxed()
}

/// Why a watch failed. `None` if it only has to list again.
fn failure(error: Error, kind: &str) -> Option<String> {
    let cause = match error {
        Error::InitialListFailed(error) | Error::WatchStartFailed(error) | Error::WatchFailed(error) => {
            RequestError::from(error)
        }
        Error::WatchError(status) => RequestError::from(kube::Error::Api(status)),
        Error::NoResourceVersion => {
            return Some(format!("cannot watch {kind}: the API server did not send a resource version"));
        }
    };
    (cause.code() != Some(410)).then(|| format!("cannot watch {kind}: {cause}"))
}
