//! The metrics of the directory and of the policy.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

use super::scraped::describe;
use super::table::{self, register};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LookupLabels {
    kind: Arc<str>,
    result: &'static str,
}

/// The metrics of lookups and of the policy.
pub struct Directory {
    lookups: Family<LookupLabels, Counter>,
    objects: Arc<DirectoryObjects>,
    policy: Arc<PolicyInfo>,
    policy_refused: Gauge,
    policy_refusals: Counter,
}

impl Directory {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let directory = Self {
            lookups: register(registry, table::DIRECTORY_LOOKUPS, Family::default()),
            objects: Arc::default(),
            policy: Arc::default(),
            policy_refused: register(registry, table::POLICY_REFUSED, Gauge::default()),
            policy_refusals: register(registry, table::POLICY_REFUSALS, Counter::default()),
        };
        registry.register_collector(Box::new(Arc::clone(&directory.objects)));
        registry.register_collector(Box::new(Arc::clone(&directory.policy)));
        directory
    }
}

impl Directory {
    /// Counts a lookup. `kind` comes from the policy, as `Company.crm.milo.io`: callers keep the `Arc` beside the kind,
    /// so that counting allocates nothing.
    pub fn lookup(&self, kind: &Arc<str>, result: &'static str) {
        let labels = LookupLabels { kind: Arc::clone(kind), result };
        self.lookups.get_or_create(&labels).inc();
    }

    /// From now on, `count` returns the kinds of the directory at every scrape. A kind that it no longer returns is no
    /// longer shown.
    pub fn count_objects(&self, count: impl Fn() -> Vec<DirectoryKind> + Send + Sync + 'static) {
        self.objects.count.store(Some(Arc::new(Box::new(count))));
    }

    /// Sets the policy in force, as `name@generation` or the digest of a file.
    pub fn policy_in_force(&self, policy: impl Into<String>) {
        self.policy.current.store(Some(Arc::new(policy.into())));
    }

    /// Records that the current policy is valid.
    pub fn policy_valid(&self) {
        self.policy_refused.set(0);
    }

    /// Counts an invalid policy; an earlier one is in force, until the next call of `policy_valid`.
    pub fn policy_invalid(&self) {
        self.policy_refused.set(1);
        self.policy_refusals.inc();
    }
}

type CountObjects = Box<dyn Fn() -> Vec<DirectoryKind> + Send + Sync>;

/// One kind of the directory, for the metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryKind {
    /// The kind as `Company.crm.milo.io`.
    pub kind: String,
    /// The number of known objects.
    pub objects: u64,
    /// Whether they are up to date; false for a kind that the cluster does not have.
    pub ready: bool,
    /// How often its task has stopped and was started again.
    pub restarts: u64,
}

/// Reads the numbers at each scrape, so that they are never stale.
#[derive(Default)]
struct DirectoryObjects {
    count: ArcSwapOption<CountObjects>,
}

impl fmt::Debug for DirectoryObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectoryObjects").finish_non_exhaustive()
    }
}

impl Collector for DirectoryObjects {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(count) = self.count.load_full() else {
            return Ok(());
        };
        let kinds = count();
        let mut family = describe(&mut encoder, &table::DIRECTORY_OBJECTS)?;
        for DirectoryKind { kind, objects, .. } in &kinds {
            let label = [("kind", kind.as_str())];
            ConstGauge::new(i64::try_from(*objects).unwrap_or(i64::MAX))
                .encode(family.encode_family(&label)?)?;
        }
        let mut family = describe(&mut encoder, &table::DIRECTORY_READY)?;
        for DirectoryKind { kind, ready, .. } in &kinds {
            ConstGauge::new(i64::from(*ready)).encode(family.encode_family(&[("kind", kind.as_str())])?)?;
        }
        let mut family = describe(&mut encoder, &table::TASK_RESTARTS)?;
        for DirectoryKind { kind, restarts, .. } in &kinds {
            // The name in /readyz.
            let label = [("task", format!("directory {kind}"))];
            ConstCounter::new(*restarts).encode(family.encode_family(&label)?)?;
        }
        Ok(())
    }
}

/// The policy in force. A family would keep the series of earlier policies.
#[derive(Debug, Default)]
struct PolicyInfo {
    current: ArcSwapOption<String>,
}

impl Collector for PolicyInfo {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(policy) = self.current.load_full() else {
            return Ok(());
        };
        describe(&mut encoder, &table::POLICY)?.encode_info(&[("policy", policy.as_str())])
    }
}
