//! Kinds of other products in place of their own, for clusters without those products.

use serde_json::json;

/// The kinds of cert-manager and of the Prometheus operator, without their schemas.
pub(crate) fn foreign_kinds() -> String {
    let kinds = [
        ("cert-manager.io", "Certificate", "certificates"),
        ("cert-manager.io", "Issuer", "issuers"),
        ("monitoring.coreos.com", "PrometheusRule", "prometheusrules"),
        ("monitoring.coreos.com", "ServiceMonitor", "servicemonitors"),
    ];
    let definitions = kinds.map(|(group, kind, plural)| {
        json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {
                "name": format!("{plural}.{group}"),
                "annotations": {"api-approved.kubernetes.io": "unapproved, a replacement for a test"},
            },
            "spec": {
                "group": group,
                "scope": "Namespaced",
                "names": {"kind": kind, "plural": plural},
                "versions": [{
                    "name": "v1",
                    "served": true,
                    "storage": true,
                    "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
                }],
            },
        })
    });
    json!({"apiVersion": "v1", "kind": "List", "items": definitions}).to_string()
}
