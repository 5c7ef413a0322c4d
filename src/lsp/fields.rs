//! The fields of records with their descriptions, from the schemas that `crds` prints.

use std::collections::BTreeMap;

use crm_core::api::{self, CrmKind};
use crm_manifest::Step;
use serde_json::{Value, json};

/// The schema of each kind.
pub(super) struct Fields(BTreeMap<CrmKind, Value>);

impl Fields {
    pub(super) fn new() -> Self {
        let mut kinds = BTreeMap::new();
        for crd in api::crds(&[]) {
            let Some(kind) = CrmKind::of(&crd.spec.group, api::VERSION, &crd.spec.names.kind) else {
                continue;
            };
            let schema = crd.spec.versions.first().and_then(|version| version.schema.as_ref());
            let schema = schema.and_then(|schema| serde_json::to_value(&schema.open_api_v3_schema).ok());
            let mut schema = schema.unwrap_or_default();
            complete(&mut schema, kind);
            kinds.insert(kind, schema);
        }
        Self(kinds)
    }

    /// The schema of a field; `None` if it does not exist.
    pub(super) fn at(&self, kind: CrmKind, path: &[Step]) -> Option<&Value> {
        path.iter().try_fold(self.0.get(&kind.model())?, |schema, step| match step {
            Step::Index(_) => schema.get("items"),
            Step::Name(name) => {
                let others = schema.get("additionalProperties").filter(|others| others.is_object());
                schema.get("properties").and_then(|fields| fields.get(name)).or(others)
            }
        })
    }

    /// The fields of a map with their schemas.
    pub(super) fn below(&self, kind: CrmKind, path: &[Step]) -> impl Iterator<Item = (&str, &Value)> {
        let fields = self.at(kind, path).and_then(|schema| schema["properties"].as_object());
        fields.into_iter().flatten().map(|(name, schema)| (name.as_str(), schema))
    }
}

/// Adds what every object has, which a definition does not describe. Nobody writes a status.
fn complete(schema: &mut Value, kind: CrmKind) {
    let text = |description: &str| json!({"type": "string", "description": description});
    let map = |description: &str| json!({"type": "object", "additionalProperties": {"type": "string"}, "description": description});
    let metadata = json!({
        "type": "object",
        "description": "The name of the object, its labels and its annotations.",
        "properties": {
            "name": text("The name, unique among the objects of this kind."),
            "generateName": text("What the API server starts the name with, if there is no name."),
            "labels": map("Short values by which objects are selected."),
            "annotations": map("Other values, for people and tools."),
        },
    });
    let version = format!("{}/{}", api::GROUP, api::VERSION);
    schema["properties"]["apiVersion"] =
        json!({"type": "string", "enum": [version], "description": "The group and version of the kind."});
    schema["properties"]["kind"] =
        json!({"type": "string", "enum": [kind.as_str()], "description": "The kind of the object."});
    schema["properties"]["metadata"] = metadata;
    if let Some(fields) = schema["properties"].as_object_mut() {
        fields.remove("status");
    }
}

/// The type of a field for people.
pub(super) fn type_name(schema: &Value) -> String {
    let name = schema["type"].as_str().unwrap_or("value");
    match (name, schema["items"]["type"].as_str()) {
        ("array", Some(entry)) => format!("list of {entry}s"),
        ("array", None) => "list".to_owned(),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(names: &[&str]) -> Vec<Step> {
        names.iter().map(|name| Step::Name((*name).to_owned())).collect()
    }

    #[test]
    fn fields_have_a_description_and_a_type() {
        let fields = Fields::new();
        let domains = fields.at(CrmKind::Company, &path(&["spec", "domains"])).unwrap();
        assert!(domains["description"].as_str().unwrap().len() > 10);
        assert_eq!(type_name(domains), "list of strings");
        assert!(fields.at(CrmKind::Company, &path(&["spec", "companyRef"])).is_none());
        let names: Vec<&str> =
            fields.below(CrmKind::Person, &path(&["spec", "companyRef"])).map(|(n, _)| n).collect();
        assert_eq!(names, ["name"]);
    }

    #[test]
    fn labels_may_have_any_key_and_a_status_is_not_written() {
        let fields = Fields::new();
        assert!(fields.at(CrmKind::Note, &path(&["metadata", "labels", "any"])).is_some());
        let names: Vec<&str> = fields.below(CrmKind::Note, &[]).map(|(name, _)| name).collect();
        assert_eq!(names, ["apiVersion", "kind", "metadata", "spec"]);
    }
}
