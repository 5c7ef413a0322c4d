//! Requests to an API server within bounds: finds the cluster, limits the size of answers, lists page by page, retries,
//! and words the errors.
//!
//! Everything that asks a cluster gets its client from [`Source::connect`], which finds it as kubectl does, and shows a
//! failure as a [`RequestError`].
//!
//! Writers of records decide how large records are: the finalizers, owner references and labels of one object can be
//! 1.4 MB. Everything that they can make large is read here: records, the targets of records, and access reviews, which
//! repeat the user of a request. kube's client reads what only admins can write: policies, Secrets, webhook
//! configurations, and everything `doctor` reads.
//!
//! *Architecture invariant:* this room knows paths, sizes and pages, but no kinds or rules.

mod client;
mod credentials;
mod environment;
mod errors;
mod events;
mod kubeconfig;
mod pages;
mod proxy;
mod reading;
mod retry;
#[cfg(test)]
mod tests;
mod watch;

pub use client::{ConnectError, Connection, SILENCE, WATCH_SECONDS, bounded};
pub use credentials::CredentialError;
pub use errors::RequestError;
pub use kubeconfig::{ConfigError, Source};
pub use pages::{Content, Listing, Page, Pager};
pub use proxy::ProxyError;
pub use reading::{Answer, Claim, ReadBudget, ReadError, Reader};
pub use retry::{may_be_temporary, next_page, pauses, retried};
pub use watch::{Change, Changes, WatchError, Watchable, changes, list_by_watch};
