//! Logs and metrics: what an operator sees of the program from outside.
//!
//! *Architecture invariant:* telemetry knows names of events and of labels, and nothing of what makes them happen.
//! No label is made from the text of a request, and the log shows such text only escaped and cut.

pub mod logs;
pub mod metrics;

pub use logs::{LogFormat, LogsError};
pub use metrics::{BytesInFlight, DirectoryKind, InFlight, Metrics, OpenConnection};
