//! Logs, metrics and traces for operators.
//!
//! *Architecture invariant:* telemetry knows the names of events and labels, but not what causes events. No label
//! or attribute contains text of a request, and logs escape and shorten such text.

pub mod logs;
pub mod metrics;
pub mod traces;

pub use logs::{LogFormat, LogsError};
pub use metrics::{BytesInFlight, ConditionRecords, DirectoryKind, InFlight, Metrics, OpenConnection};
pub use traces::{Span, Traces};
