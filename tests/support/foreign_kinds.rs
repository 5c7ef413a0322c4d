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

/// The kinds of Milo to which notes and records refer, without their schemas: group, kind, resource and scope.
const MILO: [[&str; 4]; 3] = [
    ["iam.miloapis.com", "User", "users", "Cluster"],
    ["resourcemanager.miloapis.com", "Organization", "organizations", "Cluster"],
    ["notification.miloapis.com", "Contact", "contacts", "Namespaced"],
];

/// The kinds of Milo, written for the tests. Both kinds of notes have the schema of Milo's.
pub(crate) fn milo_kinds() -> String {
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let others = MILO.map(|kind| milo_kind(kind, &open, &[]));
    let fields = ["creatorRef.name", "subjectRef.name", "subjectRef.kind", "nextActionTime", "followUp"];
    let selectable: Vec<Value> =
        fields.iter().map(|field| json!({"jsonPath": format!(".spec.{field}")})).collect();
    let group = "notes.miloapis.com";
    let notes = [[group, "ClusterNote", "clusternotes", "Cluster"], [group, "Note", "notes", "Namespaced"]]
        .map(|kind| milo_kind(kind, &milo_note(), &selectable));
    let items: Vec<Value> = others.into_iter().chain(notes).collect();
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

fn milo_kind([group, kind, plural, scope]: [&str; 4], schema: &Value, selectable: &[Value]) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {
            "group": group,
            "scope": scope,
            "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase()},
            "versions": [{
                "name": "v1alpha1",
                "served": true,
                "storage": true,
                "schema": {"openAPIV3Schema": schema},
                "subresources": {"status": {}},
                "selectableFields": selectable,
            }],
        },
    })
}

/// The schema of Milo's notes, without its descriptions.
fn milo_note() -> Value {
    let text = json!({"type": "string"});
    let time = json!({"type": "string", "format": "date-time"});
    let immutable = |what: &str| {
        let rule = "type(oldSelf) == null_type || self == oldSelf";
        json!([{"rule": rule, "message": format!("{what} type is immutable")}])
    };
    json!({
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "required": ["content", "subjectRef"],
                "properties": {
                    "content": {"type": "string", "maxLength": 1000},
                    "creatorRef": {
                        "type": "object", "required": ["name"], "properties": {"name": text},
                        "x-kubernetes-validations": immutable("creatorRef"),
                    },
                    "followUp": {"type": "boolean", "default": false},
                    "interactionTime": time, "nextAction": text, "nextActionTime": time,
                    "subjectRef": {
                        "type": "object", "required": ["apiGroup", "kind", "name"],
                        "properties": {"apiGroup": text, "kind": text, "name": text, "namespace": text},
                        "x-kubernetes-validations": immutable("subject"),
                    },
                },
            },
            "status": {
                "type": "object",
                "properties": {
                    "conditions": {
                        "type": "array",
                        "default": [{
                            "type": "Ready", "status": "Unknown", "reason": "Unknown",
                            "message": "Waiting for control plane to reconcile",
                            "lastTransitionTime": "1970-01-01T00:00:00Z",
                        }],
                        "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                    },
                    "createdBy": text,
                },
            },
        },
    })
}

/// What these kinds need besides their definitions: a User, a namespace, and permissions for the group `crm-editors`.
pub(crate) fn milo_objects(user: &str) -> String {
    let of_group = |group: &str, resources: &[&str]| json!({"apiGroups": [group], "resources": resources, "verbs": ["*"]});
    let items = [
        json!({
            "apiVersion": "iam.miloapis.com/v1alpha1", "kind": "User", "metadata": {"name": user},
            "spec": {"email": "alice@example.com"},
        }),
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "crm"}}),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": "milo-editors"},
            "rules": [
                of_group("notes.miloapis.com", &["clusternotes", "notes"]),
                of_group("notification.miloapis.com", &["contacts"]),
            ],
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": "milo-editors"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "milo-editors"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "crm-editors"}],
        }),
    ];
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

/// A manifest of one of Milo's notes about an object; `namespace` is its own, if it has one.
pub(crate) fn milo_note_on(name: &str, namespace: Option<&str>, subject: &str, more: &str) -> String {
    let (kind, place) = match namespace {
        Some(namespace) => ("Note", format!(", namespace: {namespace}")),
        None => ("ClusterNote", String::new()),
    };
    format!(
        "apiVersion: notes.miloapis.com/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}{place}}}\n\
         spec: {{subjectRef: {subject}, content: called them{more}}}\n"
    )
}
