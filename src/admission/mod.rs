//! AdmissionReview in, AdmissionReview out: parse, look up, decide, answer.
//!
//! *Architecture invariant:* this room knows neither sockets nor HTTP; the server passes bodies and a time limit.

mod answer;
mod lookups;
mod message;
mod pipeline;
mod policy;
mod review;

pub use pipeline::{Endpoint, Pipeline, Reviewed};
pub use review::Unreadable;
