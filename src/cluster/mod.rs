//! Requests to an API server within bounds: limits the size of answers, lists page by page,
//! and retries.
//!
//! Writers of records decide how large records are: the finalizers, owner references and labels of one object can be
//! 1.4 MB. Everything that they can make large is read here: records, the targets of records, and access reviews, which
//! repeat the user of a request. kube's client reads what only admins can write (policies, Secrets, webhook
//! configurations, everything `doctor` reads), and also watches, one event at a time.
//!
//! *Architecture invariant:* this room knows paths, sizes and pages, but no kinds or rules.

mod pages;
mod reading;
mod retry;
#[cfg(test)]
mod tests;

pub use pages::{Content, Listing, Page, Pager};
pub use reading::{Answer, Claim, ReadBudget, ReadError, Reader};
pub use retry::{may_be_temporary, may_pass_of_kube, next_page, pauses, retried};
