//! Sockets: listening, TLS and its reload, limits, routes, the admin port and shutdown.
//!
//! *Architecture invariant:* the server knows bytes, deadlines and certificates, but no kinds or rules. The
//! [`Reviewer`] decides what a body means.

mod admin;
mod connections;
mod deadline;
pub mod dev_certificate;
mod failures;
mod limits;
mod listen;
pub mod readiness;
mod reviewer;
mod router;
mod seat;
mod serve;
mod shares;
mod signals;
mod tasks;
pub mod tls;
mod weight;

pub use admin::admin_router;
pub use deadline::parse_duration;
pub use limits::{ConnectionLimits, Limits};
pub use readiness::{Part, PartReport, PartState, Readiness};
pub use reviewer::{Reviewer, Unreadable};
pub use router::router;
pub use serve::{Addresses, Parts, ServeError, Server, ServerConfig, serve};
pub use signals::Signals;
pub use tasks::Tasks;
pub use tls::{ClientCa, ClientCaFile, Pem, Tls, TlsError, TlsFiles, TlsMaterial};
