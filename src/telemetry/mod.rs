//! Logs and metrics, through which operators see the program.
//!
//! *Architecture invariant:* telemetry knows the names of events and labels, but not what causes events. No label
//! contains text of a request, and the log shows such text escaped and shortened.

pub mod logs;
pub mod metrics;

pub use logs::{LogFormat, LogsError};
pub use metrics::{BytesInFlight, DirectoryKind, InFlight, Metrics, OpenConnection};
