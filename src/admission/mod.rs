//! AdmissionReview in, AdmissionReview out: read, ask the directory, decide, answer.
//!
//! *Architecture invariant:* it knows neither sockets nor HTTP; the server hands it bodies and a time limit.

mod answer;
mod message;
mod pipeline;
mod review;

pub use pipeline::{Clock, Endpoint, Pipeline};
pub use review::Unreadable;
