//! Validates objects by the schemas in the CustomResourceDefinitions, and metadata as the API server does.

use std::collections::BTreeMap;

use crm_core::api::names::{NEAR_MISS, is_label_key, is_label_value, is_subdomain, nearest, parse_time};
use crm_core::api::{self, CrmKind};
use crm_core::quote::{quote, wrong_type};
use crm_core::rules::{FieldPath, Reason, Shown};
use jsonschema::error::ValidationErrorKind;
use jsonschema::paths::LocationSegment;
use jsonschema::{Draft, ValidationError, Validator};
use serde_json::{Map, Value, json};

use super::metadata;
use super::violation::Violation;

/// The compiled schemas of all kinds.
pub(super) struct Schemas(BTreeMap<CrmKind, Schema>);

struct Schema {
    document: Value,
    validator: Validator,
}

/// A schema of this program is invalid.
#[derive(Debug, thiserror::Error)]
#[error("the schema of {kind} cannot be used")]
pub struct UnusableSchema {
    /// The kind.
    kind: String,
    /// The cause.
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl UnusableSchema {
    pub(super) fn new(kind: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { kind: kind.to_owned(), source: source.into() }
    }
}

impl Schema {
    fn new(kind: CrmKind, document: Value) -> Result<Self, UnusableSchema> {
        let validator = validator(&document).map_err(|error| UnusableSchema::new(kind.label(), error))?;
        Ok(Self { document, validator })
    }
}

impl Schemas {
    /// Compiles the schemas.
    pub(super) fn new() -> Result<Self, UnusableSchema> {
        let mut schemas = BTreeMap::new();
        for crd in api::crds(&[]) {
            let Some(kind) = CrmKind::of(&crd.spec.group, api::VERSION, &crd.spec.names.kind) else {
                continue;
            };
            let crd =
                serde_json::to_value(&crd).map_err(|error| UnusableSchema::new(kind.as_str(), error))?;
            let document = object_schema(&crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]);
            if kind == CrmKind::Note {
                for kind in
                    CrmKind::ALL.into_iter().filter(|kind| !kind.is_own() && kind.model() == CrmKind::Note)
                {
                    schemas.insert(kind, Schema::new(kind, milo_note(document.clone()))?);
                }
            }
            schemas.insert(kind, Schema::new(kind, document)?);
        }
        Ok(Self(schemas))
    }

    /// All violations of the schema of a kind.
    pub(super) fn violations(&self, kind: CrmKind, object: &Value) -> Vec<Violation> {
        let Some(schema) = self.0.get(&kind) else {
            return Vec::new();
        };
        let object = without_missing(object.clone(), &schema.document);
        let errors = schema.validator.iter_errors(&object);
        let mut violations: Vec<Violation> =
            errors.flat_map(|error| violations(&error, &schema.document)).collect();
        violations.extend(metadata::violations(&object["metadata"]));
        if kind == CrmKind::Person {
            violations.extend(primary_contacts(&object));
        }
        violations
    }
}

fn validator(schema: &Value) -> Result<Validator, ValidationError<'static>> {
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .should_validate_formats(true)
        .should_ignore_unknown_formats(true)
        .with_format("date-time", |text: &str| parse_time(text).is_some())
        .with_format(OBJECT_NAME, is_subdomain)
        .with_format(NAME_PREFIX, |text: &str| is_subdomain(text.trim_end_matches('-')))
        .with_format(LABEL_VALUE, is_label_value)
        .with_format(LABEL_KEY, is_label_key)
        // The API server ignores their case.
        .with_format(ANNOTATION_KEY, |key: &str| is_label_key(&key.to_ascii_lowercase()))
        .with_format(FINALIZER, is_label_key)
        .with_format(API_VERSION, |text: &str| text.matches('/').count() <= 1)
        // Go parses it, which accepts no lower-case letters.
        .with_format(METADATA_TIME, |text: &str| {
            parse_time(text).is_some() && !text.contains(|c: char| c.is_ascii_lowercase())
        })
        .build(schema)
}

const OBJECT_NAME: &str = "object-name";
const NAME_PREFIX: &str = "name-prefix";
const LABEL_VALUE: &str = "label-value";
const LABEL_KEY: &str = "label-key";
const ANNOTATION_KEY: &str = "annotation-key";
const FINALIZER: &str = "finalizer";
pub(super) const METADATA_TIME: &str = "metadata-time";
const API_VERSION: &str = "api-version";

/// The schema of a whole object: that of the definition without unknown fields, and that of the metadata, which the API
/// server validates itself. The status is not validated: the API server drops it when a record is created.
pub(super) fn object_schema(definition: &Value) -> Value {
    let mut schema = json_schema(definition.clone());
    schema["properties"]["apiVersion"] = json!({"type": "string"});
    schema["properties"]["kind"] = json!({"type": "string"});
    schema["properties"]["metadata"] = metadata_schema();
    schema["properties"]["status"] = json!(true);
    schema["required"] = json!(["metadata", "spec"]);
    schema
}

/// The schema of Milo's notes. It has the fields of a Note, but requires others, and of their sizes it limits only that
/// of the content.
fn milo_note(mut note: Value) -> Value {
    let spec = &mut note["properties"]["spec"];
    let content = spec["properties"]["content"]["maxLength"].take();
    without_sizes(spec);
    spec["properties"]["content"]["maxLength"] = content;
    spec["required"] = json!(["content", "subjectRef"]);
    spec["properties"]["subjectRef"]["required"] = json!(["apiGroup", "kind", "name"]);
    note
}

/// Removes the sizes of all strings.
fn without_sizes(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else { return };
    fields.retain(|key, _| key != "maxLength" && key != "minLength");
    if let Some(Value::Object(properties)) = fields.get_mut("properties") {
        properties.values_mut().for_each(without_sizes);
    }
}

/// Converts OpenAPI of a CustomResourceDefinition to JSON Schema.
fn json_schema(mut schema: Value) -> Value {
    let Some(fields) = schema.as_object_mut() else {
        return schema;
    };
    if let Some(Value::Object(properties)) = fields.get_mut("properties") {
        for property in properties.values_mut() {
            *property = json_schema(property.take());
        }
        fields.insert("additionalProperties".to_owned(), json!(false));
    }
    if let Some(items) = fields.get_mut("items") {
        *items = json_schema(items.take());
    }
    if fields.remove("nullable") == Some(json!(true)) {
        let own = fields.remove("type").unwrap_or_default();
        fields.insert("type".to_owned(), json!([own, "null"]));
    }
    schema
}

/// The schema of the metadata of cluster-scoped objects.
fn metadata_schema() -> Value {
    let text = json!({"type": "string"});
    json!({
        "type": "object",
        "additionalProperties": false,
        "anyOf": [{"required": ["name"]}, {"required": ["generateName"]}],
        "properties": {
            "name": {"type": "string", "format": OBJECT_NAME},
            "generateName": {"type": "string", "format": NAME_PREFIX},
            "labels": {
                "type": "object",
                "propertyNames": {"format": LABEL_KEY},
                "additionalProperties": {"type": "string", "format": LABEL_VALUE},
            },
            "annotations": {
                "type": "object",
                "propertyNames": {"format": ANNOTATION_KEY},
                "additionalProperties": text,
            },
            "finalizers": {"type": "array", "items": {"type": "string", "format": FINALIZER}},
            "ownerReferences": {"type": "array", "items": owner_reference_schema()},
            "managedFields": {"type": "array", "items": {"type": "object"}},
            "namespace": text, "uid": text, "resourceVersion": text, "selfLink": text,
            "generation": {"type": "integer"}, "deletionGracePeriodSeconds": {"type": "integer"},
            "creationTimestamp": {"type": "string", "format": METADATA_TIME},
            "deletionTimestamp": {"type": "string", "format": METADATA_TIME},
        },
    })
}

/// The schema of an owner reference.
fn owner_reference_schema() -> Value {
    let text = json!({"type": "string", "minLength": 1});
    let flag = json!({"type": "boolean"});
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["apiVersion", "kind", "name", "uid"],
        "properties": {
            "apiVersion": {"type": "string", "minLength": 1, "format": API_VERSION},
            "kind": text, "name": text, "uid": text, "controller": flag, "blockOwnerDeletion": flag,
        },
    })
}

/// Removes fields that the API server treats as missing: nulls, and empty names of objects. A null in an unknown field
/// stays, because the field is unknown whatever its value is.
fn without_missing(mut value: Value, schema: &Value) -> Value {
    remove_nulls(&mut value, schema);
    if let Some(metadata) = value["metadata"].as_object_mut() {
        metadata.retain(|key, value| !(value == "" && (key == "name" || key == "generateName")));
    }
    value
}

fn remove_nulls(value: &mut Value, schema: &Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|key, value| !value.is_null() || of_field(schema, key).is_none());
            for (key, value) in fields {
                if let Some(schema) = of_field(schema, key) {
                    remove_nulls(value, schema);
                }
            }
        }
        Value::Array(entries) => entries.iter_mut().for_each(|entry| remove_nulls(entry, &schema["items"])),
        _ => {}
    }
}

/// The schema of a field of a map; `None` if the field is unknown.
fn of_field<'s>(schema: &'s Value, key: &str) -> Option<&'s Value> {
    let others = &schema["additionalProperties"];
    schema["properties"].get(key).or_else(|| others.is_object().then_some(others))
}

/// The only CEL rule of the schemas: at most one entry of spec.contactRefs of a Person is primary.
fn primary_contacts(person: &Value) -> Option<Violation> {
    let contacts = person["spec"]["contactRefs"].as_array()?;
    let primary = contacts.iter().filter(|contact| contact["primary"] == json!(true)).count();
    (primary > 1).then(|| Violation {
        field: FieldPath::of(&["spec", "contactRefs"]),
        reason: Reason::Invalid,
        value: Shown::Text(format!("{primary} primary contacts")),
        text: "at most one contact can be primary".to_owned(),
        suggestion: None,
    })
}

fn violations(error: &ValidationError<'_>, schema: &Value) -> Vec<Violation> {
    let field = field(error);
    let instance = error.instance();
    let one =
        |field, reason, value, text: String| vec![Violation { field, reason, value, text, suggestion: None }];
    let required = |field, text: &str| one(field, Reason::Required, Shown::Nothing, text.to_owned());
    let invalid = |text| one(field.clone(), Reason::Invalid, Shown::of(instance), text);
    match error.kind() {
        ValidationErrorKind::Required { property } => {
            required(field.field(property.as_str().unwrap_or_default().to_owned()), "set it")
        }
        ValidationErrorKind::AnyOf { .. } => required(field.field("name"), "give the object a name"),
        ValidationErrorKind::MinLength { .. } => required(field, "must not be empty"),
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let known = &part(schema, error)["properties"];
            unexpected.iter().map(|name| unknown_field(&field, name, known)).collect()
        }
        ValidationErrorKind::Type { .. } => {
            let expected = &part(schema, error)["type"];
            let expected = expected.as_str().or(expected[0].as_str()).unwrap_or_default();
            invalid(wrong_type(if expected == "array" { "list" } else { expected }, instance))
        }
        ValidationErrorKind::MaxLength { limit } => {
            let length = instance.as_str().map_or(0, |text| text.chars().count());
            invalid(format!("must be at most {limit} characters, has {length}"))
        }
        ValidationErrorKind::MaxItems { limit } => {
            let count = instance.as_array().map_or(0, Vec::len);
            invalid(format!("must have at most {limit} entries, has {count}"))
        }
        ValidationErrorKind::Enum { options } => {
            let text = format!("must be one of {options}");
            one(field.clone(), Reason::NotSupported, Shown::of(instance), text)
        }
        ValidationErrorKind::Format { format } => invalid(form(format)),
        ValidationErrorKind::PropertyNames { error } => {
            let key = error.instance().as_str().unwrap_or_default();
            let names = &part(schema, error)["propertyNames"]["format"];
            let format = names.as_str().unwrap_or_default();
            one(field.key(key), Reason::Invalid, Shown::of(error.instance()), form(format))
        }
        // No schema of ours uses other keywords yet, so the library words them.
        _ => invalid(error.to_string()),
    }
}

fn unknown_field(parent: &FieldPath, name: &str, known: &Value) -> Violation {
    let known = known.as_object().into_iter().flat_map(Map::keys).map(String::as_str);
    let meant = nearest(known, name, NEAR_MISS);
    let text = match meant {
        Some(meant) => format!("unknown field; did you mean {}?", quote(meant)),
        None => "unknown field; remove it".to_owned(),
    };
    let (field, suggestion) = (parent.field(name.to_owned()), meant.map(str::to_owned));
    Violation { field, reason: Reason::Forbidden, value: Shown::Nothing, text, suggestion }
}

/// The part of the schema that a value violates.
fn part<'s>(schema: &'s Value, error: &ValidationError<'_>) -> &'s Value {
    error.instance_path().iter().fold(schema, |schema, segment| match segment {
        LocationSegment::Property(name) => match schema["properties"].get(name.as_ref()) {
            Some(property) => property,
            None => &schema["additionalProperties"],
        },
        LocationSegment::Index(_) => &schema["items"],
    })
}

fn field(error: &ValidationError<'_>) -> FieldPath {
    let mut path = FieldPath::default();
    for segment in error.instance_path() {
        path = match segment {
            LocationSegment::Index(index) => path.index(index),
            LocationSegment::Property(key) if has_free_keys(&path) => path.key(&key),
            LocationSegment::Property(name) => path.field(name.into_owned()),
        };
    }
    path
}

fn has_free_keys(path: &FieldPath) -> bool {
    [["metadata", "labels"], ["metadata", "annotations"]].iter().any(|map| *path == FieldPath::of(map))
}

fn form(format: &str) -> String {
    let form = match format {
        OBJECT_NAME => {
            "must consist of lower-case letters, digits, \"-\" and \".\", such as acme-corp, with at most 253 characters"
        }
        NAME_PREFIX => "must be a name prefix of lower-case letters, digits, \"-\" and \".\", such as acme-",
        LABEL_VALUE => {
            "must be at most 63 letters, digits, \"-\", \"_\" and \".\", starting and ending with a letter or digit"
        }
        LABEL_KEY => "must be a label key, such as crm.milo.io/source",
        ANNOTATION_KEY => "must be an annotation key, such as crm.milo.io/source",
        API_VERSION => "must be VERSION or GROUP/VERSION, such as apps/v1",
        FINALIZER => "must be a finalizer name, such as crm.milo.io/cleanup",
        "date-time" | METADATA_TIME => "must be an RFC 3339 time, such as 2027-01-15T09:00:00Z",
        other => return format!("must have the format {other}"),
    };
    form.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn company(spec: Value) -> Value {
        json!({"apiVersion": "crm.milo.io/v1alpha1", "kind": "Company", "metadata": {"name": "acme"}, "spec": spec})
    }

    fn texts(kind: CrmKind, object: &Value) -> Vec<String> {
        let texts =
            |violation: Violation| format!("{}: {:?}: {}", violation.field, violation.reason, violation.text);
        Schemas::new().unwrap().violations(kind, object).into_iter().map(texts).collect()
    }

    fn good() -> Value {
        company(json!({"displayName": "Acme", "creatorRef": {"name": "alice"}}))
    }

    #[track_caller]
    fn holds(pointer: &str, value: Value, expected: &str) {
        let mut object = good();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        object.pointer_mut(parent).unwrap()[key] = value;
        assert_eq!(texts(CrmKind::Company, &object), [expected]);
    }

    #[test]
    fn milos_notes_need_a_group_but_no_creator_and_only_the_content_has_a_size() {
        let note = |subject: Value, content: String| {
            json!({
                "apiVersion": "notes.miloapis.com/v1alpha1", "kind": "ClusterNote", "metadata": {"name": "call"},
                "spec": {"subjectRef": subject, "content": content, "nextAction": "x".repeat(2000)},
            })
        };
        let subject = json!({"apiGroup": "crm.milo.io", "kind": "Company", "name": "acme"});
        for kind in [CrmKind::ClusterNote, CrmKind::NamespacedNote] {
            assert_eq!(texts(kind, &note(subject.clone(), "Called.".to_owned())), [] as [&str; 0]);
            assert_eq!(
                texts(kind, &note(subject.clone(), "x".repeat(1001))),
                ["spec.content: Invalid: must be at most 1000 characters, has 1001"]
            );
            let missing = "spec.subjectRef.apiGroup: Required: set it";
            assert_eq!(
                texts(kind, &note(json!({"kind": "Company", "name": "acme"}), "Called.".to_owned())),
                [missing]
            );
        }
        let mut unknown = note(subject, "Called.".to_owned());
        unknown["spec"]["contents"] = json!("typo");
        let expected = "spec.contents: Forbidden: unknown field; did you mean \"content\"?";
        assert_eq!(texts(CrmKind::NamespacedNote, &unknown), [expected]);
    }

    #[test]
    fn a_valid_object_has_no_violation_and_nulls_count_as_missing() {
        assert_eq!(texts(CrmKind::Company, &good()), Vec::<String>::new());
        let mut object = good();
        object["spec"]["domains"] = json!(null);
        object["status"] = json!({"conditions": [{}], "anything": 1});
        assert_eq!(texts(CrmKind::Company, &object), Vec::<String>::new());
    }

    #[test]
    fn every_violation_has_its_message() {
        holds(
            "/spec/displayname",
            json!("x"),
            "spec.displayname: Forbidden: unknown field; did you mean \"displayName\"?",
        );
        holds("/spec/qqq", json!(null), "spec.qqq: Forbidden: unknown field; remove it");
        holds("/spec/qqq", json!(1), "spec.qqq: Forbidden: unknown field; remove it");
        holds(
            "/spec/creatorRef",
            json!({"name": "a", "uid": 1}),
            "spec.creatorRef.uid: Forbidden: unknown field; remove it",
        );
        holds("/extra", json!(1), "extra: Forbidden: unknown field; remove it");
        holds("/spec/displayName", json!(42), "spec.displayName: Invalid: must be a string, not a number");
        holds("/spec/domains", json!("a.com"), "spec.domains: Invalid: must be a list, not a string");
        holds(
            "/spec/domains",
            json!(["a.com", 1]),
            "spec.domains[1]: Invalid: must be a string, not a number",
        );
        holds("/spec/displayName", json!(null), "spec.displayName: Required: set it");
        holds("/spec/displayName", json!(""), "spec.displayName: Required: must not be empty");
        holds(
            "/spec/description",
            json!("é".repeat(4097)),
            "spec.description: Invalid: must be at most 4096 characters, has 4097",
        );
        holds(
            "/spec/domains",
            json!(vec!["a.com"; 101]),
            "spec.domains: Invalid: must have at most 100 entries, has 101",
        );
    }

    #[test]
    fn metadata_is_validated_as_by_the_api_server() {
        holds("/metadata", json!({}), "metadata.name: Required: give the object a name");
        holds(
            "/metadata/nmae",
            json!("x"),
            "metadata.nmae: Forbidden: unknown field; did you mean \"name\"?",
        );
        let name = form(OBJECT_NAME);
        holds("/metadata/name", json!("Acme"), &format!("metadata.name: Invalid: {name}"));
        let value = form(LABEL_VALUE);
        holds("/metadata/labels", json!({"a": "b c"}), &format!("metadata.labels[a]: Invalid: {value}"));
        let key = form(LABEL_KEY);
        holds("/metadata/labels", json!({"a b": "c"}), &format!("metadata.labels[a b]: Invalid: {key}"));
        let annotation = "metadata.annotations[a/b]: Invalid: must be a string, not a boolean";
        holds("/metadata/annotations", json!({"a/b": true}), annotation);
        let mut object = good();
        object["metadata"] = json!({"generateName": "acme-"});
        assert_eq!(texts(CrmKind::Company, &object), Vec::<String>::new());
    }

    #[test]
    fn at_most_one_contact_is_primary_which_is_the_only_cel_rule() {
        let person = |contacts: Value| json!({"metadata": {"name": "a"}, "spec": {"displayName": "A", "creatorRef": {"name": "b"}, "contactRefs": contacts}});
        let contact =
            |primary: bool| json!({"name": "c", "namespace": "d", "type": "email", "primary": primary});
        let texts = texts(CrmKind::Person, &person(json!([contact(true), contact(false), contact(true)])));
        assert_eq!(texts, ["spec.contactRefs: Invalid: at most one contact can be primary"]);
        let rules: Vec<String> = api::crds(&[])
            .iter()
            .filter(|crd| crd.spec.group == api::GROUP)
            .flat_map(|crd| {
                let text = serde_json::to_string(crd).unwrap();
                text.match_indices("\"rule\":\"")
                    .map(|(at, _)| text[at..].chars().take(90).collect())
                    .collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(rules.len(), 1, "{rules:?}");
        assert!(rules[0].contains("contact.primary"), "{rules:?}");
    }
}
