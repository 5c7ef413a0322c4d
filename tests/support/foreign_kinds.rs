//! Kinds of other products in place of their own, for clusters without those products.

use serde_json::{Value, json};

const CERT_MANAGER: [[&str; 3]; 2] =
    [["cert-manager.io", "Certificate", "certificates"], ["cert-manager.io", "Issuer", "issuers"]];
const PROMETHEUS_OPERATOR: [[&str; 3]; 2] = [
    ["monitoring.coreos.com", "PrometheusRule", "prometheusrules"],
    ["monitoring.coreos.com", "ServiceMonitor", "servicemonitors"],
];

/// The kinds of cert-manager and of the Prometheus operator, without their schemas.
pub(crate) fn foreign_kinds() -> String {
    definitions(&[CERT_MANAGER, PROMETHEUS_OPERATOR].concat())
}

/// The kinds of the Prometheus operator, without their schemas.
pub(crate) fn prometheus_operator_kinds() -> String {
    definitions(&PROMETHEUS_OPERATOR)
}

/// Definitions of kinds, each given as its group, its kind and its resource.
fn definitions(kinds: &[[&str; 3]]) -> String {
    let definition = |[group, kind, plural]: &[&str; 3]| {
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
    };
    let definitions: Vec<Value> = kinds.iter().map(definition).collect();
    json!({"apiVersion": "v1", "kind": "List", "items": definitions}).to_string()
}
