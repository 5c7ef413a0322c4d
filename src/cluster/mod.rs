//! Talks to an API server within bounds: reads answers up to a size, and lists a page at a time.
//!
//! Whoever may write a record decides how large it is: finalizers, owner references and labels of one object can be
//! 1.4 MB. So everything that writers of records can make large is read here: records, what records refer to, and
//! reviews of access, which repeat what a request says of its user. What only admins can write (policies, Secrets,
//! webhook configurations, what `doctor` looks at) is read by kube's own client, and so is a watch, of which one event
//! is held at a time.
//!
//! *Architecture invariant:* it knows paths, sizes and pages, and neither kinds nor rules.

mod pages;
mod reading;
#[cfg(test)]
mod tests;

pub use pages::{Content, Listing, Page, Pager};
pub use reading::{Answer, Claim, ReadBudget, ReadError, Reader};
