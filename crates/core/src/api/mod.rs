//! The custom resource types of the CRM records and of the policy, and the schemas that the API server enforces.
//!
//! The schemas define required fields, types, sizes and one CEL rule. The API server enforces them under every policy
//! and without the webhook. They do not require canonical or non-blank values, because rules do: if an admin sets such
//! a rule to `Warn`, the value must pass the schema.
//!
//! The doc comments of the specs and their fields become the descriptions in the CRDs, so they are plain text
//! for the reader of `kubectl explain`. A long description has no colon followed by a space, because YAML would then
//! quote it on a single line.
//!
//! An optional field is an `Option`, even for lists, and therefore `nullable` in the schema, so that a null in
//! a manifest means the same as no field. Without `nullable` the API server drops a null from a plain create
//! or update, but denies it in a server-side apply, which GitOps controllers use. An enum is not `nullable`: the API
//! server accepts no null for it, even if the enum lists null.
//!
//! *Architecture invariant:* pure; knows neither the rules nor where an object comes from.

#![allow(rustdoc::bare_urls, reason = "the descriptions show addresses as users write them")]
#![allow(unreachable_pub, reason = "KubeSchema copies each struct and its `pub` into a function")]
#![allow(clippy::duplicated_attributes, reason = "printer columns have the same type")]

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

mod company;
pub mod installation;
pub mod limits;
pub mod names;
mod note;
mod person;
pub mod policy;
mod record;
mod resource;
mod schema;

pub use company::{Company, CompanySpec, OrganizationReference};
pub use note::{Note, NoteSpec, SubjectReference};
pub use person::{CompanyReference, ContactReference, Person, PersonSpec, UserReference};
pub use policy::{AdmissionPolicy, AdmissionPolicySpec, AdmissionPolicyStatus};
pub use record::{CreatorReference, GROUP, RecordStatus, VERSION};
pub use resource::{CrmKind, MILO_NOTES_GROUP, ResourceKind, Target};

/// The custom resource definitions of all kinds, ordered by group and name.
///
/// `rule_ids` are the ids that a policy may name. The caller passes those of the catalogue, because this room does not
/// know the catalogue.
pub fn crds(rule_ids: &[&str]) -> Vec<CustomResourceDefinition> {
    vec![policy::crd(rule_ids), Company::crd(), Note::crd(), Person::crd()]
}

/// The group in the `apiVersion` of an object; empty for the core group.
pub fn group_of(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

#[cfg(test)]
mod tests {
    use kube::Resource;
    use serde_json::{Value, json};

    use super::*;

    /// The definitions, with ids that no rule has, so that tests notice any other.
    fn all_crds() -> Vec<CustomResourceDefinition> {
        crds(&["some-rule", "other-rule"])
    }

    /// The definitions of the CRM records.
    fn record_crds() -> impl Iterator<Item = CustomResourceDefinition> {
        all_crds().into_iter().filter(|crd| crd.spec.group == GROUP)
    }

    /// The name of each kind and its schema in the CRD.
    fn schemas() -> Vec<(String, Value)> {
        all_crds()
            .into_iter()
            .map(|crd| {
                let schema = crd.spec.versions[0].schema.clone().unwrap().open_api_v3_schema.unwrap();
                (crd.spec.names.kind, serde_json::to_value(schema).unwrap())
            })
            .collect()
    }

    fn schema_of(kind: &str) -> Value {
        schemas().into_iter().find(|(name, _)| name == kind).unwrap().1
    }

    /// Calls `visit` with the path and the schema of every field below `schema`, those of list entries
    /// included.
    fn for_each_field(path: &str, schema: &Value, visit: &mut impl FnMut(&str, &Value)) {
        if let Some(items) = schema.get("items") {
            for_each_field(&format!("{path}[]"), items, visit);
        }
        for (name, field) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let path = format!("{path}.{name}");
            visit(&path, field);
            for_each_field(&path, field, visit);
        }
    }

    #[test]
    fn the_kinds_belong_to_the_group_and_version_of_the_constants() {
        assert_eq!((Company::group(&()), Company::version(&())), (GROUP.into(), VERSION.into()));
        assert_eq!((Note::group(&()), Note::version(&())), (GROUP.into(), VERSION.into()));
        assert_eq!((Person::group(&()), Person::version(&())), (GROUP.into(), VERSION.into()));
        let policy = (AdmissionPolicy::group(&()), AdmissionPolicy::version(&()));
        assert_eq!(policy, (policy::GROUP.into(), policy::VERSION.into()));
    }

    #[test]
    fn the_records_are_in_the_category_crm_and_the_policy_has_no_category() {
        for crd in record_crds() {
            assert_eq!(crd.spec.names.categories, Some(vec!["crm".to_owned()]), "{}", crd.spec.names.kind);
        }
        assert_eq!(AdmissionPolicy::crd().spec.names.categories, None);
    }

    #[test]
    fn every_crd_is_cluster_scoped_with_a_status_and_an_age() {
        for crd in all_crds() {
            let kind = &crd.spec.names.kind;
            assert_eq!(crd.spec.scope, "Cluster", "{kind}");
            let [version] = crd.spec.versions.as_slice() else { panic!("{kind} has one version") };
            assert!(version.served && version.storage, "{kind}");
            assert!(version.subresources.as_ref().unwrap().status.is_some(), "{kind}");
            let columns = version.additional_printer_columns.as_ref().unwrap();
            let shown = columns.iter().rfind(|column| column.priority.unwrap_or_default() == 0);
            assert_eq!(shown.unwrap().name, "Age", "{kind}");
        }
    }

    #[test]
    fn the_plurals_are_irregular() {
        let names: Vec<_> = record_crds().map(|crd| crd.metadata.name.unwrap()).collect();
        assert_eq!(names, ["companies.crm.milo.io", "notes.crm.milo.io", "people.crm.milo.io"]);
    }

    #[test]
    fn every_field_has_a_description_without_line_breaks_in_its_paragraphs() {
        for (kind, schema) in schemas() {
            assert!(schema["description"].is_string(), "{kind}");
            for_each_field(&kind, &schema, &mut |path, field| {
                let description = field["description"].as_str().unwrap_or_default();
                assert!(description.ends_with('.'), "{path}: {description:?}");
                assert!(!description.replace("\n\n", "").contains('\n'), "{path}: {description:?}");
            });
        }
    }

    #[test]
    fn a_field_is_nullable_exactly_if_it_is_optional_and_has_no_default_and_no_enum() {
        fn check(path: &str, object: &Value) {
            let required = object["required"].as_array().cloned().unwrap_or_default();
            for (name, field) in object["properties"].as_object().into_iter().flatten() {
                let optional = !required.contains(&json!(name));
                let nullable = optional && field.get("default").is_none() && field.get("enum").is_none();
                assert_eq!(field.get("nullable").is_some(), nullable, "{path}.{name}");
                check(&format!("{path}.{name}"), field.get("items").unwrap_or(field));
            }
        }
        for (kind, schema) in schemas() {
            check(&kind, &schema["properties"]["spec"]);
        }
    }

    #[test]
    fn every_string_has_a_length_format_or_enum_and_every_list_a_size() {
        for (kind, schema) in schemas() {
            for_each_field("spec", &schema["properties"]["spec"], &mut |path, field| {
                let bounds: &[&str] = match field["type"].as_str().unwrap() {
                    "string" => &["maxLength", "format", "enum"],
                    "array" => &["maxItems"],
                    _ => return,
                };
                assert!(bounds.iter().any(|bound| field.get(bound).is_some()), "{kind} {path}");
            });
        }
    }

    #[test]
    fn required_fields() {
        for (kind, spec) in [
            ("Company", json!(["creatorRef", "displayName"])),
            ("Note", json!(["content", "creatorRef", "subjectRef"])),
            ("Person", json!(["creatorRef", "displayName"])),
        ] {
            let schema = schema_of(kind);
            assert_eq!(schema["required"], json!(["spec"]), "{kind}");
            let properties = &schema["properties"]["spec"];
            assert_eq!(properties["required"], spec, "{kind}");
            assert_eq!(properties["properties"]["creatorRef"]["required"], json!(["name"]), "{kind}");
        }
        let note = schema_of("Note");
        let subject = &note["properties"]["spec"]["properties"]["subjectRef"];
        assert_eq!(subject["required"], json!(["kind", "name"]));
        let person = schema_of("Person");
        let contact = &person["properties"]["spec"]["properties"]["contactRefs"]["items"];
        assert_eq!(contact["required"], json!(["name", "namespace"]));
    }

    #[test]
    fn sizes_are_those_of_the_documentation() {
        let company = schema_of("Company");
        let company = &company["properties"]["spec"]["properties"];
        assert_eq!(company["displayName"]["maxLength"], 256);
        assert_eq!(company["domains"]["maxItems"], 100);
        assert_eq!(company["domains"]["items"]["maxLength"], 253);
        assert_eq!(company["linkedinProfile"]["maxLength"], 2048);
        assert_eq!(company["creatorRef"]["properties"]["name"]["maxLength"], 253);
        let note = schema_of("Note");
        assert_eq!(note["properties"]["spec"]["properties"]["content"]["maxLength"], 1000);
    }

    #[test]
    fn domains_and_contacts_are_atomic_and_conditions_are_a_map_by_type() {
        let (company, person) = (schema_of("Company"), schema_of("Person"));
        assert_eq!(
            company["properties"]["spec"]["properties"]["domains"]["x-kubernetes-list-type"],
            "atomic"
        );
        assert_eq!(
            person["properties"]["spec"]["properties"]["contactRefs"]["x-kubernetes-list-type"],
            "atomic"
        );
        let conditions = &company["properties"]["status"]["properties"]["conditions"];
        assert_eq!(conditions["x-kubernetes-list-type"], "map");
        assert_eq!(conditions["x-kubernetes-list-map-keys"], json!(["type"]));
    }

    #[test]
    fn records_are_selectable_by_what_they_refer_to_and_notes_by_the_next_action() {
        let selectable = |crd: &CustomResourceDefinition| -> Vec<String> {
            let fields = crd.spec.versions[0].selectable_fields.iter().flatten();
            fields.map(|field| field.json_path.clone()).collect()
        };
        assert_eq!(selectable(&Company::crd()), [".spec.creatorRef.name", ".spec.organizationRef.name"]);
        assert_eq!(
            selectable(&Person::crd()),
            [".spec.companyRef.name", ".spec.creatorRef.name", ".spec.userRef.name"]
        );
        assert_eq!(
            selectable(&Note::crd()),
            [
                ".spec.subjectRef.apiGroup",
                ".spec.subjectRef.kind",
                ".spec.subjectRef.name",
                ".spec.subjectRef.namespace",
                ".spec.creatorRef.name",
                ".spec.followUp",
                ".spec.nextActionTime",
            ]
        );
    }

    #[test]
    fn the_status_has_the_creator_of_milo() {
        for (kind, schema) in schemas() {
            if kind != "AdmissionPolicy" {
                let field = &schema["properties"]["status"]["properties"]["createdBy"];
                assert_eq!((&field["type"], &field["nullable"]), (&json!("string"), &json!(true)), "{kind}");
            }
        }
    }

    #[test]
    fn a_manifest_with_only_the_required_fields_is_read_and_written_unchanged() {
        let manifest = json!({
            "apiVersion": "crm.milo.io/v1alpha1",
            "kind": "Person",
            "metadata": { "name": "jane-doe" },
            "spec": {
                "displayName": "Jane Doe",
                "contactRefs": [{ "name": "jane-doe-work", "namespace": "crm-contacts" }],
                "creatorRef": { "name": "alice" },
            },
        });
        let person: Person = serde_json::from_value(manifest.clone()).unwrap();
        assert_eq!(person.spec.company_ref, None);
        assert_eq!(serde_json::to_value(&person).unwrap(), manifest);
    }

    #[test]
    fn a_stored_null_is_read_as_absent() {
        let spec = json!({
            "displayName": "Acme",
            "domains": null,
            "description": null,
            "organizationRef": null,
            "creatorRef": { "name": "alice" },
        });
        let spec: CompanySpec = serde_json::from_value(spec).unwrap();
        assert_eq!((spec.domains, spec.description, spec.organization_ref), (None, None, None));
    }

    #[test]
    fn follow_up_defaults_to_false_in_the_schema_and_in_rust() {
        let note = schema_of("Note");
        assert_eq!(note["properties"]["spec"]["properties"]["followUp"]["default"], json!(false));
        let spec = json!({
            "subjectRef": { "apiGroup": GROUP, "kind": "Company", "name": "acme-corp" },
            "content": "Called.",
            "creatorRef": { "name": "alice" },
        });
        let spec: NoteSpec = serde_json::from_value(spec).unwrap();
        assert!(!spec.follow_up);
    }
}
