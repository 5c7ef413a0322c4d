//! What the controller needs.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use crm_core::api::CrmKind;
use crm_core::policy::Policy;

use crate::cluster::Reader;
use crate::directory::{Changes, LookUp};
use crate::telemetry::Metrics;

/// The kinds whose conditions are written.
pub(super) const KINDS: [CrmKind; 3] = [CrmKind::Company, CrmKind::Person, CrmKind::Note];
/// How often it is checked whether the policy is known, and whether it has changed.
pub(super) const GLANCE: Duration = Duration::from_secs(1);

/// What the controller needs.
pub struct Conditions {
    /// The cluster, with a budget of its own, so that no review waits for the lists of the controller.
    pub reader: Reader,
    /// The namespace of the Lease.
    pub namespace: String,
    /// Answers lookups, with the same reader.
    pub directory: Arc<dyn LookUp>,
    /// What the directory learns.
    pub changes: Arc<Changes>,
    /// The policy in force.
    pub policy: Arc<ArcSwap<Policy>>,
    /// Whether the policy has been read. Before that, the policy in force is not the one of the cluster.
    pub policy_is_known: Box<dyn Fn() -> bool + Send + Sync>,
    /// Receives numbers.
    pub metrics: Metrics,
    /// The time in which every record is judged again.
    pub interval: Duration,
    /// The maximum number of writes a second.
    pub rate: u32,
}
