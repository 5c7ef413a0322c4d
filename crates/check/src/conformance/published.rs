//! The JSON Schemas of manifests, for editors and other validators: the same as those of `schema`, but in the dialect that
//! these programs know, and for objects as users write them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};

use super::schema::{METADATA_TIME, UnusableSchema, object_schema};

/// The dialect, which kubeconform and the YAML language server read.
const DIALECT: &str = "http://json-schema.org/draft-07/schema#";
/// The only format of the definitions that JSON Schema has, too.
const TIME: &str = "date-time";

/// The JSON Schema of one kind.
#[derive(Clone, Debug, PartialEq)]
pub struct ManifestSchema {
    /// Its path in a catalog of schemas, such as `crm.milo.io/company_v1alpha1.json`.
    pub path: String,
    /// The schema.
    pub schema: Value,
}

impl ManifestSchema {
    /// The schema of the objects that a definition defines.
    ///
    /// # Errors
    /// The definition is invalid.
    pub fn of(definition: &CustomResourceDefinition) -> Result<Self, UnusableSchema> {
        let (group, kind) = (&definition.spec.group, &definition.spec.names.kind);
        let unusable = |error: serde_json::Error| UnusableSchema::new(kind, error);
        let versions = serde_json::to_value(&definition.spec.versions).map_err(unusable)?;
        let version = versions[0]["name"].as_str().unwrap_or_default();
        let openapi = &versions[0]["schema"]["openAPIV3Schema"];
        let mut schema = object_schema(openapi);
        translate(&mut schema);
        schema["$schema"] = json!(DIALECT);
        schema["title"] = json!(kind);
        schema["required"] = json!(["apiVersion", "kind", "metadata", "spec"]);
        let properties = &mut schema["properties"];
        properties["apiVersion"] =
            json!({"const": format!("{group}/{version}"), "description": "The API group and its version."});
        properties["kind"] = json!({"const": kind, "description": "The kind of the object."});
        properties["metadata"]["description"] = json!("The name, labels and annotations of the object.");
        properties["status"] = json!({
            "type": ["object", "null"],
            "description": "What controllers report about the object. It has no effect in a file.",
        });
        accept_nulls(&mut properties["metadata"]);
        leave_creator_to_webhook(&mut properties["spec"]);
        let path = format!("{group}/{}_{version}.json", kind.to_lowercase());
        Ok(Self { path, schema })
    }
}

/// Removes what other programs do not know: the keywords of Kubernetes, and the formats that only this program validates.
fn translate(schema: &mut Value) {
    match schema {
        Value::Object(keywords) => {
            if keywords.get("format").is_some_and(|format| format == METADATA_TIME) {
                keywords.insert("format".to_owned(), json!(TIME));
            }
            keywords.retain(|keyword, value| match keyword.as_str() {
                // A property of this name is not a string.
                "format" => !value.is_string() || value == TIME,
                // It holds nothing but a format.
                "propertyNames" => false,
                other => !other.starts_with("x-kubernetes-"),
            });
            keywords.values_mut().for_each(translate);
        }
        Value::Array(schemas) => schemas.iter_mut().for_each(translate),
        _ => {}
    }
}

/// For the API server, a null in the metadata means the same as no field or an empty string, and kubectl writes
/// `creationTimestamp: null`.
fn accept_nulls(metadata: &mut Value) {
    for map in ["labels", "annotations"] {
        if let Some(values) = metadata["properties"][map].get_mut("additionalProperties") {
            or_null(values);
        }
    }
    let fields = metadata["properties"].as_object_mut();
    fields.into_iter().flat_map(|fields| fields.values_mut()).for_each(or_null);
}

fn or_null(schema: &mut Value) {
    let own = schema["type"].take();
    schema["type"] = json!([own, "null"]);
}

/// The webhook sets the creator, so users leave it out. For it, a creator that is null or has no name is absent.
fn leave_creator_to_webhook(spec: &mut Value) {
    // The policy has none.
    let Some(creator) = spec["properties"].get_mut("creatorRef") else {
        return;
    };
    or_null(creator);
    let name = &mut creator["properties"]["name"];
    or_null(name);
    if let Some(keywords) = name.as_object_mut() {
        keywords.remove("minLength");
    }
    if let Some(keywords) = creator.as_object_mut() {
        keywords.remove("required");
    }
    if let Some(required) = spec["required"].as_array_mut() {
        required.retain(|field| field != "creatorRef");
    }
}

#[cfg(test)]
mod tests {
    use crm_core::api;
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    /// The schema of a kind.
    fn schema(kind: &str) -> ManifestSchema {
        let definitions = api::crds(&["some-rule"]);
        let definition = definitions.iter().find(|crd| crd.spec.names.kind == kind).unwrap();
        ManifestSchema::of(definition).unwrap()
    }

    /// The places of the problems that a validator finds in a Company whose parts are merged with `parts`.
    fn problems(parts: Value) -> Vec<String> {
        let mut company = json!({
            "apiVersion": "crm.milo.io/v1alpha1",
            "kind": "Company",
            "metadata": {"name": "acme"},
            "spec": {"displayName": "Acme"},
        });
        json_patch::merge(&mut company, &parts);
        problems_of(&company)
    }

    fn problems_of(company: &Value) -> Vec<String> {
        let options = jsonschema::options().should_validate_formats(true);
        let validator = options.build(&schema("Company").schema).unwrap();
        validator.iter_errors(company).map(|error| error.instance_path().to_string()).collect()
    }

    #[test]
    fn each_kind_has_its_path_in_catalogs() {
        let paths =
            api::crds(&[]).iter().map(|crd| ManifestSchema::of(crd).unwrap().path).collect::<Vec<_>>();
        let expected = [
            "admission.crm.milo.io/admissionpolicy_v1alpha1.json",
            "crm.milo.io/company_v1alpha1.json",
            "crm.milo.io/note_v1alpha1.json",
            "crm.milo.io/person_v1alpha1.json",
        ];
        assert_eq!(paths, expected);
    }

    #[test]
    fn a_record_as_users_write_it_is_valid() {
        let written = json!({
            "metadata": {"labels": {"crm.milo.io/source": "referral"}, "annotations": null},
            "spec": {"domains": ["HTTPS://Acme.com/"], "description": null},
        });
        assert_eq!(problems(written), [] as [&str; 0]);
        let mut company = json!({
            "apiVersion": "crm.milo.io/v1alpha1",
            "kind": "Company",
            "metadata": {"name": "acme", "labels": {"a": null}, "annotations": {"a": null}},
            "spec": {"displayName": "Acme"},
        });
        assert_eq!(problems_of(&company), [] as [&str; 0]);
        company["metadata"]["annotations"]["a"] = json!(1);
        assert_eq!(problems_of(&company), ["/metadata/annotations/a"]);
    }

    #[rstest]
    #[case::given(json!({"spec": {"creatorRef": {"name": "jane"}}}))]
    #[case::without_a_name(json!({"spec": {"creatorRef": {}}}))]
    #[case::with_an_empty_name(json!({"spec": {"creatorRef": {"name": ""}}}))]
    fn a_creator_may_be_given_or_left_to_the_webhook(#[case] parts: Value) {
        assert_eq!(problems(parts), [] as [&str; 0]);
    }

    #[test]
    fn an_object_that_kubectl_has_printed_is_valid() {
        let mut company = json!({
            "apiVersion": "crm.milo.io/v1alpha1",
            "kind": "Company",
            "metadata": {"name": "acme", "creationTimestamp": null, "uid": "1", "generation": 2, "managedFields": []},
            "spec": {"displayName": "Acme", "creatorRef": null},
            "status": {"conditions": [], "of a later version": true},
        });
        assert_eq!(problems_of(&company), [] as [&str; 0]);
        company["metadata"]["creationTimestamp"] = json!("2027-01-15T09:30:00Z");
        assert_eq!(problems_of(&company), [] as [&str; 0]);
        company["metadata"]["creationTimestamp"] = json!("yesterday");
        assert_eq!(problems_of(&company), ["/metadata/creationTimestamp"]);
    }

    #[rstest]
    #[case::unknown_field(json!({"spec": {"domain": "acme.com"}}), "/spec")]
    #[case::unknown_field_at_the_root(json!({"specs": {}}), "")]
    #[case::unknown_metadata(json!({"metadata": {"label": {}}}), "/metadata")]
    #[case::wrong_type(json!({"spec": {"domains": "acme.com"}}), "/spec/domains")]
    #[case::too_long(json!({"spec": {"displayName": "x".repeat(257)}}), "/spec/displayName")]
    #[case::missing_field(json!({"spec": {"displayName": null}}), "/spec")]
    #[case::without_a_name(json!({"metadata": {"name": null}}), "/metadata")]
    #[case::another_kind(json!({"kind": "Person"}), "/kind")]
    #[case::another_version(json!({"apiVersion": "crm.milo.io/v1"}), "/apiVersion")]
    #[case::without_a_version(json!({"apiVersion": null}), "")]
    fn a_mistake_is_found_at_its_place(#[case] parts: Value, #[case] at: &str) {
        assert_eq!(problems(parts), [at]);
    }

    #[test]
    fn the_other_kinds_and_the_policy_have_the_same_form() {
        for crd in api::crds(&["some-rule"]) {
            let ManifestSchema { path, schema } = ManifestSchema::of(&crd).unwrap();
            assert!(jsonschema::draft7::meta::is_valid(&schema), "{path}");
            assert_eq!(schema["additionalProperties"], false, "{path}");
            let text = schema.to_string();
            for unknown in ["x-kubernetes-", "nullable", "int64", "object-name", "label-key"] {
                assert!(!text.contains(unknown), "{path} has {unknown}");
            }
            assert!(schema["properties"]["spec"]["properties"].as_object().unwrap().len() > 2, "{path}");
        }
        let rules = &schema("AdmissionPolicy").schema["properties"]["spec"]["properties"]["rules"];
        assert_eq!(rules["items"]["properties"]["rule"]["enum"], json!(["some-rule"]));
    }
}
