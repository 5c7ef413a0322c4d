//! Runs the product inside a real control plane: etcd, kube-apiserver, kubectl and the webhook as processes.
//!
//! The end-to-end tests, the attacks, the benchmarks and `make cluster` use it. A control plane needs the programs
//! that `tests/control-plane/build` builds (or `$KUBEBUILDER_ASSETS` names), a shell, and nothing else. `pods` adds nodes.
#![allow(dead_code, reason = "compiled into several programs, none of which uses everything")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test cannot continue without its control plane"
)]

pub(crate) mod balancer;
pub(crate) mod collector;
pub(crate) mod control_plane;
pub(crate) mod foreign_kinds;
pub(crate) mod helm;
pub(crate) mod http;
pub(crate) mod installation;
pub(crate) mod janitor;
pub(crate) mod kubectl;
pub(crate) mod memory;
pub(crate) mod net;
pub(crate) mod pki;
pub(crate) mod place;
pub(crate) mod pods;
pub(crate) mod poll;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod records;
pub(crate) mod relay;
pub(crate) mod steady;
pub(crate) mod webhook;
pub(crate) mod workspace;
pub(crate) mod writers;

use std::path::{Path, PathBuf};

/// The root of the repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The path of a file or directory in `manifests/`.
pub(crate) fn manifest(name: &str) -> PathBuf {
    repository().join("manifests").join(name)
}
