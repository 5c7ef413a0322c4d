//! The metrics of certificates.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::table::{self, register};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CertificateLabel {
    certificate: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ObjectLabel {
    object: &'static str,
}

/// The metrics of certificates.
pub struct Certificates {
    expiry: Family<CertificateLabel, Gauge>,
    reloads: Counter,
    reload_failed: Gauge,
    reload_failures: Counter,
    upkeep_failures: Counter,
    writes: Family<ObjectLabel, Counter>,
}

impl Certificates {
    pub(super) fn register(registry: &mut Registry) -> Self {
        Self {
            expiry: register(registry, table::CERTIFICATE_EXPIRY, Family::default()),
            reloads: register(registry, table::CERTIFICATE_RELOADS, Counter::default()),
            reload_failed: register(registry, table::CERTIFICATE_RELOAD_FAILED, Gauge::default()),
            reload_failures: register(registry, table::CERTIFICATE_RELOAD_FAILURES, Counter::default()),
            upkeep_failures: register(registry, table::CERTIFICATE_UPKEEP_FAILURES, Counter::default()),
            writes: register(registry, table::CERTIFICATE_WRITES, Family::default()),
        }
    }
}

impl Certificates {
    /// Sets when a certificate expires, in seconds of Unix time.
    pub fn expires(&self, certificate: &'static str, unix_seconds: i64) {
        self.expiry.get_or_create(&CertificateLabel { certificate }).set(unix_seconds);
    }

    /// Counts a certificate that was replaced.
    pub fn reloaded(&self) {
        self.reloads.inc();
    }

    /// Counts a new certificate that is invalid; the last valid one stays in use, until [`Self::up_to_date`].
    pub fn reload_failed(&self) {
        self.reload_failed.set(1);
        self.reload_failures.inc();
    }

    /// Records that the served certificate is that of the files.
    pub fn up_to_date(&self) {
        self.reload_failed.set(0);
    }

    /// Counts a failure to update the certificates in the cluster; it is retried.
    pub fn upkeep_failed(&self) {
        self.upkeep_failures.inc();
    }

    /// Counts a write of an `object` of the cluster to update certificates: `secret` or `ca-bundle`.
    pub fn written(&self, object: &'static str) {
        self.writes.get_or_create(&ObjectLabel { object }).inc();
    }
}
