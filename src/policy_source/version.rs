//! A version of the policy `default`: the current one, or the last valid one, which the status keeps.

use crm_core::api::policy::{GROUP, KIND, VERSION};
use crm_core::policy::{self, Policy, Problems};
use kube::ResourceExt;
use kube::api::DynamicObject;
use serde_json::{Value, json};

/// The maximum size of a spec that the status keeps, in bytes of JSON. The object then has it twice, and etcd takes
/// 1.5 MiB by default. kubectl apply has the same limit for its annotation.
const MAX_KEPT: usize = 256 * 1024;

/// One version of the spec of a policy.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Version {
    pub(super) generation: i64,
    spec: Value,
}

impl Version {
    /// The current version.
    pub(super) fn current(object: &DynamicObject) -> Self {
        Self {
            generation: object.metadata.generation.unwrap_or_default(),
            spec: object.data.get("spec").cloned().unwrap_or_default(),
        }
    }

    /// The last valid version, according to the status.
    pub(super) fn last_accepted(object: &DynamicObject) -> Option<Self> {
        let kept = object.data.pointer("/status/lastAccepted")?;
        Some(Self { generation: kept["generation"].as_i64()?, spec: kept.get("spec")?.clone() })
    }

    /// The form in the status; `None` if it is too large.
    pub(super) fn kept(&self) -> Option<Value> {
        let size = self.spec.to_string().len();
        (size <= MAX_KEPT).then(|| json!({"generation": self.generation, "spec": self.spec}))
    }

    /// The name in audit annotations and metrics, such as `default@3`.
    pub(super) fn origin(&self, object: &DynamicObject) -> String {
        format!("{}@{}", object.name_any(), self.generation)
    }

    /// Compiles this version of `object`.
    pub(super) fn compile(&self, object: &DynamicObject) -> Result<Policy, Problems> {
        let document = json!({"apiVersion": format!("{GROUP}/{VERSION}"), "kind": KIND, "spec": self.spec});
        policy::compile(&document, self.origin(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(filler: usize) -> Version {
        Version { generation: 7, spec: json!({"rules": "x".repeat(filler)}) }
    }

    #[test]
    fn a_version_that_would_make_the_object_too_large_is_not_kept() {
        let around = json!({"rules": ""}).to_string().len();
        let largest = version(MAX_KEPT - around);
        assert_eq!(largest.kept().unwrap()["generation"], 7);
        assert_eq!(version(MAX_KEPT - around + 1).kept(), None);
    }

    #[test]
    fn what_is_not_a_version_is_no_version() {
        for kept in [json!(1), json!({}), json!({"generation": "1", "spec": {}}), json!({"generation": 1})] {
            let object = json!({"metadata": {"name": "default"}, "status": {"lastAccepted": kept}});
            let object: DynamicObject = serde_json::from_value(object).unwrap();
            assert_eq!(Version::last_accepted(&object), None);
        }
    }
}
