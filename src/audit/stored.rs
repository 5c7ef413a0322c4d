//! Reads those parts of a stored record that rules and schemas need.

use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::fmt;

use crm_core::api::CrmKind;
use crm_core::api::names::split_full_name;
use kube::Resource;
use kube::api::{DynamicObject, GetParams};
use kube::core::Request;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::compliance::Condition;
use crate::cluster::{ReadError, Reader, retried};

/// The keys of the labels that are checked.
pub type Labels = BTreeSet<String>;

/// A stored record.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The fields for the engine.
    pub object: Value,
    /// Which object it is, of all that have had its name.
    pub uid: Option<String>,
    /// The number of its spec.
    pub generation: Option<i64>,
    /// Its condition `Compliant`.
    pub condition: Option<Condition>,
}

impl Borrow<Value> for Record {
    fn borrow(&self) -> &Value {
        &self.object
    }
}

impl Record {
    /// Its name.
    pub fn name(&self) -> &str {
        self.object["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// Whether it is being deleted.
    pub fn is_terminating(&self) -> bool {
        !self.object["metadata"]["deletionTimestamp"].is_null()
    }
}

/// A record without the parts that nothing checks: finalizers, owner references, annotations and managed fields, which
/// can be 1.4 MB of text and ten times that as values; and the status, which users do not write, but for one condition.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stored {
    api_version: Option<Value>,
    kind: Option<Value>,
    #[serde(default)]
    metadata: Metadata,
    spec: Option<Value>,
    #[serde(default, rename = "status", deserialize_with = "Condition::of_status")]
    condition: Option<Condition>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    name: Option<Value>,
    namespace: Option<Value>,
    uid: Option<String>,
    generation: Option<i64>,
    resource_version: Option<Value>,
    deletion_timestamp: Option<Value>,
    /// Unparsed, because nothing else limits their number.
    labels: Option<Box<RawValue>>,
}

impl Stored {
    /// The record with only the `wanted` labels.
    pub fn into_record(self, wanted: &Labels) -> Record {
        let Metadata { name, namespace, uid, generation, resource_version, deletion_timestamp, labels } =
            self.metadata;
        let labels = labels.and_then(|labels| {
            let mut text = serde_json::Deserializer::from_str(labels.get());
            Wanted(wanted).deserialize(&mut text).ok()
        });
        let metadata = [
            ("name", name),
            ("namespace", namespace),
            ("resourceVersion", resource_version),
            ("deletionTimestamp", deletion_timestamp),
            ("labels", labels.map(Value::Object)),
        ];
        let object = [
            ("apiVersion", self.api_version),
            ("kind", self.kind),
            ("metadata", Some(present(metadata))),
            ("spec", self.spec),
        ];
        Record { object: present(object), uid, generation, condition: self.condition }
    }

    /// The same without what the engine does not need.
    pub(super) fn into_value(self, wanted: &Labels) -> Value {
        self.into_record(wanted).object
    }
}

fn present<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    let present = fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    Value::Object(present.collect())
}

/// Reads the wanted labels, and skips the others.
struct Wanted<'w>(&'w Labels);

impl<'de> DeserializeSeed<'de> for Wanted<'_> {
    type Value = Map<String, Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Wanted<'_> {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("labels")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut labels: M) -> Result<Self::Value, M::Error> {
        let mut found = Map::new();
        while let Some(key) = labels.next_key::<String>()? {
            if self.0.contains(&key) {
                found.insert(key, labels.next_value()?);
            } else {
                labels.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// The request for one record. The name of a namespaced one is after its namespace: `crm/call`.
///
/// # Errors
/// The name cannot be in a path.
pub fn get(kind: CrmKind, name: &str) -> Result<http::Request<Vec<u8>>, ReadError> {
    let (path, name) = path(kind, name);
    Ok(Request::new(path).get(name, &GetParams::default())?)
}

/// One stored record by its name as for [`get`]; `None` if it does not exist.
pub(super) async fn stored(
    reader: &Reader,
    kind: CrmKind,
    name: &str,
    labels: &Labels,
) -> Result<Option<Value>, ReadError> {
    let get = || async { reader.read(get(kind, name)?).await?.parse::<Stored>() };
    match retried(get).await {
        Ok(object) => Ok(Some(object.into_value(labels))),
        // Use the code: kube's `get_opt` checks the reason, which is missing for a kind that does not exist.
        Err(error) if error.code() == Some(404) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The URL path of the records beside this one, and its name alone.
pub fn path(kind: CrmKind, name: &str) -> (String, &str) {
    let (namespace, name) = if kind.is_namespaced() { split_full_name(name) } else { (None, name) };
    (DynamicObject::url_path(&kind.resource().api_resource(), namespace), name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kept(object: &Value, labels: &[&str]) -> Value {
        let stored: Stored = serde_json::from_str(&object.to_string()).unwrap();
        stored.into_value(&labels.iter().map(|key| (*key).to_owned()).collect())
    }

    #[test]
    fn only_checked_fields_are_kept() {
        let object = json!({
            "apiVersion": "crm.milo.io/v1alpha1", "kind": "Company",
            "metadata": {
                "name": "acme", "resourceVersion": "7", "uid": "1", "finalizers": ["a/b"], "annotations": {"a": "b"},
                "ownerReferences": [{"name": "x"}], "managedFields": [{"manager": "m"}],
                "labels": {"a": "1", "crm.milo.io/source": "event", "b": "2"},
            },
            "spec": {"displayName": "Acme"}, "status": {"conditions": []},
        });
        let expected = json!({
            "apiVersion": "crm.milo.io/v1alpha1", "kind": "Company",
            "metadata": {
                "name": "acme", "resourceVersion": "7", "labels": {"crm.milo.io/source": "event"},
            },
            "spec": {"displayName": "Acme"},
        });
        assert_eq!(kept(&object, &["crm.milo.io/source", "crm.milo.io/segment"]), expected);
    }

    #[test]
    fn missing_fields_stay_missing() {
        let object = json!({"metadata": {"name": "acme", "deletionTimestamp": "2026-01-01T00:00:00Z"}});
        assert_eq!(kept(&object, &[]), object);
    }
}
