//! Runs the tests of a policy: documents of kind AdmissionPolicyTest, each with requests and what is expected of the
//! webhook.
//!
//! A test asks the webhook's own [`Pipeline`](crate::admission::Pipeline) as the API server does, without a cluster.
//!
//! *Architecture invariant:* it knows no arguments and no cluster, and not how a rule decides.

mod compare;
mod decide;
mod document;
mod expectation;
mod files;
mod place;
pub mod report;
mod request;
mod run;
mod scaffold;
pub mod schema;
mod suite;

pub use compare::{Line, Mismatch};
pub use files::{Tests, read};
pub use run::{CaseResult, Results, run};
pub use scaffold::scaffold;
