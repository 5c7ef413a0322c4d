//! The kind AdmissionPolicy: what cluster admins decide about the rules, in the cluster or in a file.
//!
//! The same types are read from a file, which no API server has checked. So that whoever compiles a policy can
//! report all its problems at once, whatever the schema restricts is a plain `String` here, and a required
//! text that is absent is read as empty. The schema stays strict: the values that it lists are the constants of
//! this module, and a test holds the compiler to the same ones.
//!
//! An absent field means the built-in default. The schema fills in none of those, as it would store today's
//! default for good, in a policy that said nothing. `required` and `namespaced` are the exception: no other
//! value than false can ever be meant by their absence.
//!
//! Lists of entries are maps by what names an entry, and lists of texts are sets, so that a server-side apply by
//! a second manager (a team that brings its own label, an operator who exempts a migration) adds to them. Two
//! lists are atomic: the sources of a creator, whose order counts, and the rules of an exemption.

// The descriptions are plain text for `kubectl explain`, and show what users write in brackets.
#![allow(rustdoc::broken_intra_doc_links, rustdoc::invalid_html_tags)]

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, CustomResourceExt, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

use super::{limits, schema};

/// The API group of the policy. The `kube` attribute of the kind repeats it: it takes only a literal.
pub const GROUP: &str = "admission.crm.milo.io";

/// The one version of the policy: served and stored.
pub const VERSION: &str = "v1alpha1";

/// The kind of the policy.
pub const KIND: &str = "AdmissionPolicy";

/// What `rules[].action` may be.
pub const ACTIONS: [&str; 4] = ["Deny", "Warn", "Audit", "Disabled"];

/// What the fields of `normalization` may be.
pub const NORMALIZATION_MODES: [&str; 2] = ["Normalize", "RequireCanonical"];

/// What `creator.sources[].from` may be.
pub const CREATOR_FIELDS: [&str; 3] = ["Username", "UID", "Extra"];

/// What `references.onDryRun` and `references.onDryRunByFieldManager[].mode` may be.
pub const DRY_RUN_MODES: [&str; 3] = ["Enforce", "Warn", "Skip"];

/// What `references.onLookupError` may be.
pub const LOOKUP_ERROR_MODES: [&str; 2] = ["Deny", "Allow"];

/// What `references.consistency` may be.
pub const CONSISTENCIES: [&str; 2] = ["CacheThenLive", "Live"];

/// What the policy decides. A field that is left out means the built-in default; an empty spec therefore changes
/// nothing.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[kube(
    group = "admission.crm.milo.io",
    version = "v1alpha1",
    kind = "AdmissionPolicy",
    plural = "admissionpolicies",
    singular = "admissionpolicy",
    status = "AdmissionPolicyStatus",
    derive = "Default",
    derive = "PartialEq",
    doc = "AdmissionPolicy is what cluster admins decide about the rules for CRM records. It says which \
           rules deny, warn, only record or are disabled, who is exempt, and how creators and references \
           are found. The AdmissionPolicy named default counts; one of another name is not used. A change \
           takes effect within seconds. A policy that does not hold together is refused whole, and the \
           one before it stays in force; the condition Accepted then lists every problem. The command \
           crm-admission policy check FILE says the same before the policy is applied.",
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Accepted")].status"#,
        description = "Whether the policy is in force."
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Accepted")].reason"#,
        description = "Why the policy is in force or not.",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::unwrap_descriptions)]
pub struct AdmissionPolicySpec {
    /// What single rules do, one entry for each rule. A rule that is not listed keeps its default action, which
    /// the command crm-admission rules shows. At most 100 entries. For example, rule label-value with
    /// action Deny refuses records with a label value that is not allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::POLICY_ENTRIES))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["rule".into()]))]
    pub rules: Option<Vec<RuleSetting>>,

    /// What is done with values that are valid but not in their canonical form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalization: Option<Normalization>,

    /// How the creator of a record is found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creator: Option<Creator>,

    /// The labels whose values are restricted, for the rule label-value, one entry for each label. The list
    /// replaces the default list, which restricts crm.milo.io/source. An empty list restricts no label. At
    /// most 100 entries. For example, key crm.milo.io/segment with allowed
    /// [smb, enterprise] restricts the segment, and nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::POLICY_ENTRIES))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["key".into()]))]
    pub labels: Option<Vec<Label>>,

    /// How references to other objects are checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub references: Option<References>,

    /// Who is exempt from which rules, why, and until when. By default nobody is. At most 100 entries. An
    /// exemption drops what a rule finds; values are still brought to their canonical form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::POLICY_ENTRIES))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub exemptions: Option<Vec<Exemption>>,
}

/// What one rule does.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::unwrap_descriptions)]
pub struct RuleSetting {
    /// The id of the rule, such as label-value. The command crm-admission rules ID explains one.
    #[serde(default)]
    #[schemars(!default, with = "RuleId")]
    pub rule: String,

    /// What follows if a record breaks the rule. Deny refuses the request; Warn allows it with a warning; Audit
    /// allows it and records it in the audit log and the metrics only; Disabled does not look at all, and
    /// does not bring values to their canonical form either. Write Disabled, not Off, which YAML may read as
    /// false. Left out, the rule keeps its default action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("enum" = ACTIONS))]
    pub action: Option<String>,

    /// Until this time Deny acts as Warn, and the warning names the time, so that users can mend their records
    /// before the rule denies. An RFC 3339 time such as 2027-01-15T00:00:00Z. It changes nothing about the
    /// other actions. Left out, Deny denies at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub enforce_after: Option<String>,
}

/// What is done with values that are valid but not in their canonical form.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::unwrap_descriptions)]
pub struct Normalization {
    /// For spec.domains of a Company. Normalize rewrites HTTPS://Acme.com/ to acme.com, with a warning that says
    /// what was stored. RequireCanonical never rewrites; what is not canonical breaks the rule domain, and
    /// the message says the canonical form. Defaults to Normalize.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("enum" = NORMALIZATION_MODES))]
    pub domains: Option<String>,

    /// For spec.linkedinProfile of a Company or a Person. Normalize rewrites linkedin.com/company/Acme/ to
    /// https://linkedin.com/company/acme, with a warning that says what was stored. RequireCanonical never
    /// rewrites; what is not canonical breaks the rule linkedin-profile, and the message says the canonical
    /// form. Choose it where a GitOps tool would undo a rewrite. Defaults to Normalize.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("enum" = NORMALIZATION_MODES))]
    pub linkedin_profile: Option<String>,
}

/// How the creator of a record is found.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[schemars(transform = schema::unwrap_descriptions)]
pub struct Creator {
    /// Where the name of the creator comes from when a record is created without spec.creatorRef. The sources
    /// are tried in order, and the first that yields a valid name wins. The rule creator-is-requester compares
    /// a given creator with the same name. The list replaces the default list, which is one
    /// source from Username, as it is. With an empty list everybody has to write spec.creatorRef. At most 20
    /// sources.
    // Atomic, since the order counts: parts of two owners have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::CREATOR_SOURCES))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub sources: Option<Vec<CreatorSource>>,
}

/// One way to find a creator's name in what the API server knows about the requesting user.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::unwrap_descriptions)]
#[x_kube(
    validation = Rule::new("self.from != 'Extra' || has(self.key)")
        .message("say which attribute, such as example.com/staff-id")
        .reason(Reason::FieldValueRequired)
        .field_path(".key"),
    validation = Rule::new("self.from == 'Extra' || !has(self.key)")
        .message("only a source from Extra has a key")
        .reason(Reason::FieldValueForbidden)
        .field_path(".key")
)]
pub struct CreatorSource {
    /// What is looked at. Username is the name by which the user logged in; UID is the id that the identity
    /// provider gave; Extra is a further attribute, named by key, of which the first value that yields a name
    /// counts. The command kubectl auth whoami shows all three.
    #[serde(default)]
    #[schemars(!default, extend("enum" = CREATOR_FIELDS))]
    pub from: String,

    /// The key of the attribute, such as example.com/staff-id. Required if from is Extra, and not allowed
    /// otherwise. At most 317 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = limits::QUALIFIED_NAME))]
    pub key: Option<String>,

    /// What the text has to begin with, such as "oidc:", which is removed before pattern is matched. A text that does not begin with it yields no name. At most 253 characters. Left out, nothing
    /// is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::NAME))]
    pub strip_prefix: Option<String>,

    /// A regular expression that the text has to match, and whose group called name is the name of the creator.
    /// For example, ^(?<name>[^@]+)@corp\.example$ takes jane.doe out of jane.doe@corp.example. A text that
    /// does not match yields no name. The syntax is that of RE2, without look-around or back references. At
    /// most 1024 characters. Left out, the whole text is the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = limits::PATTERN))]
    pub pattern: Option<String>,
}

/// A label whose values are restricted.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[schemars(transform = schema::unwrap_descriptions)]
pub struct Label {
    /// The key of the label, such as crm.milo.io/source. At most 317 characters.
    #[serde(default)]
    #[schemars(!default, length(min = 1, max = limits::QUALIFIED_NAME))]
    pub key: String,

    /// The values that the label may have, such as [referral, event]. At least one, and at most 500, of at most
    /// 63 characters.
    // A set: the order means nothing, a value that is listed twice is a slip, and two teams may each bring
    // values of their own.
    #[serde(default)]
    #[schemars(!default, length(min = 1, max = limits::LABEL_VALUES), inner(length(max = limits::LABEL)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub allowed: Vec<String>,

    /// Whether every record must have the label. Defaults to false, that is, only the values of records that have
    /// the label are looked at.
    #[serde(default)]
    pub required: bool,
}

/// How references to other objects are checked.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::unwrap_descriptions)]
pub struct References {
    /// What a dry run (kubectl apply --dry-run=server) learns about references. Enforce treats it like a real
    /// request; Warn turns a refusal into a warning; Skip does not look. Defaults to Enforce.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("enum" = DRY_RUN_MODES))]
    pub on_dry_run: Option<String>,

    /// The same for dry runs of single field managers, one entry for each manager. It is for tools that dry-run
    /// a whole bundle before they apply any of it, and would never get past a reference inside the bundle. The
    /// list replaces the default list, which is manager kustomize-controller with mode Warn, for Flux. At
    /// most 100 entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::POLICY_ENTRIES))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["manager".into()]))]
    pub on_dry_run_by_field_manager: Option<Vec<FieldManagerMode>>,

    /// What happens when it cannot be found out whether an object exists, because the API server does not answer
    /// in time. Deny refuses the request with the advice to try again; Allow lets it through with a warning.
    /// Defaults to Deny.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("enum" = LOOKUP_ERROR_MODES))]
    pub on_lookup_error: Option<String>,

    /// Who is asked whether an object exists. CacheThenLive believes the local copy if it has the object, and
    /// asks the API server otherwise. Live always asks the API server, so that not even an object that was
    /// deleted a moment ago is accepted; each reference then costs one call. Defaults to CacheThenLive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("enum" = CONSISTENCIES))]
    pub consistency: Option<String>,

    /// The kinds of the cluster's users and organizations, for the rules creator-exists, user-exists and
    /// organization-exists. A rule that needs a kind cannot be enabled without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kinds: Option<Kinds>,

    /// The kinds that Notes may be about, besides Company and Person, one entry for each group and kind. By
    /// default there are no others. At most 100 entries. The webhook needs the right to get, list and watch
    /// them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::POLICY_ENTRIES))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["group".into(), "kind".into()]))]
    pub subjects: Option<Vec<SubjectKind>>,
}

/// What dry runs of one field manager learn about references.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[schemars(transform = schema::unwrap_descriptions)]
pub struct FieldManagerMode {
    /// The name of the field manager, such as kustomize-controller. At most 128 characters.
    #[serde(default)]
    #[schemars(!default, length(min = 1, max = limits::FIELD_MANAGER))]
    pub manager: String,

    /// What its dry runs learn. Enforce treats them like real requests; Warn turns a refusal into a warning; Skip
    /// does not look.
    #[serde(default)]
    #[schemars(!default, extend("enum" = DRY_RUN_MODES))]
    pub mode: String,
}

/// The kinds of the cluster's users and organizations.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[schemars(transform = schema::unwrap_descriptions)]
pub struct Kinds {
    /// The kind that a creatorRef and a Person's userRef name, for the rules creator-exists and user-exists. It is
    /// cluster-scoped. For example, group iam.miloapis.com, version v1alpha1, kind User and plural
    /// users. By default there is none.
    // Atomic, as are all kinds outside of lists: the halves of two kinds do not make a third.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(merge_strategy = MapMerge::Atomic)]
    pub user: Option<ClusterKind>,

    /// The kind that a Company's organizationRef names, for the rule organization-exists. It is cluster-scoped.
    /// For example, group resourcemanager.miloapis.com, version v1alpha1, kind Organization and plural
    /// organizations. By default there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(merge_strategy = MapMerge::Atomic)]
    pub organization: Option<ClusterKind>,
}

/// A kind of cluster-scoped objects. References to it hold a name only, so there are no others.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[schemars(transform = schema::unwrap_descriptions)]
pub struct ClusterKind {
    /// The API group, such as iam.miloapis.com, without the version. Empty means the core group. At most 253
    /// characters.
    #[serde(default)]
    #[schemars(!default, length(max = limits::NAME), regex(pattern = schema::GROUP_PATTERN))]
    pub group: String,

    /// The API version, such as v1alpha1. At most 63 characters.
    #[serde(default)]
    #[schemars(!default, length(min = 1, max = limits::LABEL), regex(pattern = schema::LABEL_PATTERN))]
    pub version: String,

    /// The kind as manifests spell it, such as User. At most 63 characters.
    #[serde(default)]
    #[schemars(!default, length(min = 1, max = limits::LABEL), regex(pattern = schema::KIND_PATTERN))]
    pub kind: String,

    /// The plural in lower case, as the command kubectl api-resources lists it, such as users. At most 63
    /// characters.
    #[serde(default)]
    #[schemars(!default, length(min = 1, max = limits::LABEL), regex(pattern = schema::LABEL_PATTERN))]
    pub plural: String,
}

/// A kind of objects that Notes may be about.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[schemars(transform = schema::unwrap_descriptions)]
pub struct SubjectKind {
    /// The API group, such as notification.miloapis.com, without the version. Empty means the core group. At most
    /// 253 characters.
    #[serde(default)]
    #[schemars(!default, length(max = limits::NAME), regex(pattern = schema::GROUP_PATTERN))]
    pub group: String,

    /// The API version, such as v1alpha1. At most 63 characters.
    #[serde(default)]
    #[schemars(!default, length(min = 1, max = limits::LABEL), regex(pattern = schema::LABEL_PATTERN))]
    pub version: String,

    /// The kind as manifests spell it, such as Contact. At most 63 characters.
    #[serde(default)]
    #[schemars(!default, length(min = 1, max = limits::LABEL), regex(pattern = schema::KIND_PATTERN))]
    pub kind: String,

    /// The plural in lower case, as the command kubectl api-resources lists it, such as contacts. At most 63
    /// characters.
    #[serde(default)]
    #[schemars(!default, length(min = 1, max = limits::LABEL), regex(pattern = schema::LABEL_PATTERN))]
    pub plural: String,

    /// Whether objects of the kind live in namespaces, so that a Note has to give one. Defaults to false.
    #[serde(default)]
    pub namespaced: bool,
}

/// Users who are exempt from the same rules for the same reason.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[schemars(transform = schema::unwrap_descriptions)]
pub struct Exemption {
    /// What the exemption is called in the audit log, such as migration. It consists of
    /// lower-case letters, digits and hyphens. At most 63 characters.
    #[serde(default)]
    #[schemars(!default, length(min = 1, max = limits::LABEL), regex(pattern = schema::LABEL_PATTERN))]
    pub name: String,

    /// Every user in one of these groups is exempt, such as crm-migrators. At most 100, of at most 1024
    /// characters.
    // A set, like the users: the order means nothing, and a name that is listed twice is a slip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::POLICY_ENTRIES), inner(length(min = 1, max = limits::IDENTITY)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub groups: Option<Vec<String>>,

    /// These users are exempt, by the names that the API server knows, such as
    /// system:serviceaccount:crm:importer. At most 100, of at most 1024 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::POLICY_ENTRIES), inner(length(min = 1, max = limits::IDENTITY)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub users: Option<Vec<String>>,

    /// The rules from which they are exempt, such as company-exists. At least one, and at most 100.
    // Atomic: were it a set, two managers who meet in one name would free each other's users from rules that
    // neither meant for them. So the second has to list the same rules, or is told of the conflict.
    #[serde(default)]
    #[schemars(!default, with = "Vec<RuleId>", length(min = 1, max = limits::POLICY_ENTRIES))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub rules: Vec<String>,

    /// Why they are exempt, for whoever reviews the policy, such as bulk import. At most 1024 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::REASON))]
    pub reason: Option<String>,

    /// When the exemption ends, as an RFC 3339 time such as 2027-02-01T00:00:00Z. Left out, it never does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub expires: Option<String>,
}

/// What became of the policy. The webhook writes it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::unwrap_descriptions)]
pub struct AdmissionPolicyStatus {
    /// The metadata.generation of the policy that was last judged. If it is lower than the object's own, the
    /// status is out of date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// The current state of the policy. The condition Accepted says whether it is in force, and if not, its
    /// message lists every problem with its field. Wait for it with kubectl wait --for=condition=Accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}

/// The schema of a rule's id, before [`crd`] puts the ids into it.
struct RuleId;

impl RuleId {
    /// No format of JSON Schema: it only marks where the ids belong.
    const FORMAT: &str = "rule-id";
}

impl JsonSchema for RuleId {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "RuleId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": Self::FORMAT })
    }
}

/// The custom resource definition, with `rule_ids` as the only ids that the API server accepts.
///
/// The ids come from the caller: the catalogue is the only list of them, and it builds on this room.
pub(super) fn crd(rule_ids: &[&str]) -> CustomResourceDefinition {
    let mut crd = AdmissionPolicy::crd();
    let ids: Vec<JSON> = rule_ids.iter().map(|id| JSON((*id).into())).collect();
    let validations = crd.spec.versions.iter_mut().filter_map(|version| version.schema.as_mut());
    for schema in validations.filter_map(|validation| validation.open_api_v3_schema.as_mut()) {
        list_rule_ids(schema, &ids);
    }
    crd
}

fn list_rule_ids(schema: &mut JSONSchemaProps, ids: &[JSON]) {
    if schema.format.as_deref() == Some(RuleId::FORMAT) {
        schema.format = None;
        schema.enum_ = Some(ids.to_vec());
    }
    for field in schema.properties.iter_mut().flat_map(|fields| fields.values_mut()) {
        list_rule_ids(field, ids);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        list_rule_ids(items, ids);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const IDS: [&str; 2] = ["some-rule", "other-rule"];

    /// The schema of `spec`, as it stands in the CRD.
    fn spec() -> Value {
        let schema = crd(&IDS).spec.versions.remove(0).schema.unwrap().open_api_v3_schema.unwrap();
        serde_json::to_value(schema).unwrap()["properties"]["spec"].take()
    }

    /// The schema of a field of the spec, such as `labels[].key`.
    fn field(path: &str) -> Value {
        path.split('.').fold(spec(), |schema, segment| {
            let name = segment.trim_end_matches("[]");
            let field = schema["properties"][name].clone();
            assert!(!field.is_null(), "{path}: no {name}");
            if segment.ends_with("[]") { field["items"].clone() } else { field }
        })
    }

    #[test]
    fn the_ids_of_rules_are_those_that_the_caller_gives() {
        for path in ["rules[].rule", "exemptions[].rules[]"] {
            assert_eq!(field(path)["enum"], json!(IDS), "{path}");
            assert_eq!(field(path).get("format"), None, "{path}");
        }
    }

    #[test]
    fn lists_of_entries_are_maps_by_what_names_an_entry() {
        for (path, keys) in [
            ("rules", json!(["rule"])),
            ("labels", json!(["key"])),
            ("references.onDryRunByFieldManager", json!(["manager"])),
            ("references.subjects", json!(["group", "kind"])),
            ("exemptions", json!(["name"])),
        ] {
            assert_eq!(field(path)["x-kubernetes-list-type"], "map", "{path}");
            assert_eq!(field(path)["x-kubernetes-list-map-keys"], keys, "{path}");
        }
    }

    #[test]
    fn lists_of_texts_are_sets_but_two_lists_have_one_owner() {
        for path in ["labels[].allowed", "exemptions[].groups", "exemptions[].users"] {
            assert_eq!(field(path)["x-kubernetes-list-type"], "set", "{path}");
        }
        for path in ["creator.sources", "exemptions[].rules"] {
            assert_eq!(field(path)["x-kubernetes-list-type"], "atomic", "{path}");
        }
    }

    #[test]
    fn required_fields() {
        assert_eq!(spec().get("required"), None);
        for (path, required) in [
            ("rules[]", json!(["rule"])),
            ("creator.sources[]", json!(["from"])),
            ("labels[]", json!(["allowed", "key"])),
            ("references.onDryRunByFieldManager[]", json!(["manager", "mode"])),
            ("references.kinds.user", json!(["group", "kind", "plural", "version"])),
            ("references.kinds.organization", json!(["group", "kind", "plural", "version"])),
            ("references.subjects[]", json!(["group", "kind", "plural", "version"])),
            ("exemptions[]", json!(["name", "rules"])),
        ] {
            assert_eq!(field(path)["required"], required, "{path}");
        }
        for path in ["normalization", "creator", "references", "references.kinds"] {
            assert_eq!(field(path).get("required"), None, "{path}");
        }
    }

    #[test]
    fn the_schema_fills_in_only_what_absence_can_never_mean_otherwise() {
        fn defaults(path: &str, schema: &Value, found: &mut Vec<String>) {
            if schema.get("default").is_some() {
                found.push(format!("{path} = {}", schema["default"]));
            }
            if let Some(items) = schema.get("items") {
                defaults(&format!("{path}[]"), items, found);
            }
            for (name, field) in schema["properties"].as_object().into_iter().flatten() {
                defaults(&format!("{path}.{name}"), field, found);
            }
        }
        let mut found = Vec::new();
        defaults("spec", &spec(), &mut found);
        assert_eq!(
            found,
            ["spec.labels[].required = false", "spec.references.subjects[].namespaced = false"]
        );
    }

    #[test]
    fn choices_are_listed() {
        for (path, values) in [
            ("rules[].action", json!(ACTIONS)),
            ("normalization.domains", json!(NORMALIZATION_MODES)),
            ("normalization.linkedinProfile", json!(NORMALIZATION_MODES)),
            ("creator.sources[].from", json!(CREATOR_FIELDS)),
            ("references.onDryRun", json!(DRY_RUN_MODES)),
            ("references.onDryRunByFieldManager[].mode", json!(DRY_RUN_MODES)),
            ("references.onLookupError", json!(LOOKUP_ERROR_MODES)),
            ("references.consistency", json!(CONSISTENCIES)),
        ] {
            assert_eq!(field(path)["enum"], values, "{path}");
        }
    }

    #[test]
    fn a_full_policy_is_read_and_written_unchanged() {
        let spec = json!({
            "rules": [
                { "rule": "label-value", "action": "Deny", "enforceAfter": "2027-01-15T00:00:00Z" },
                { "rule": "creator-is-requester" },
            ],
            "normalization": { "domains": "Normalize", "linkedinProfile": "RequireCanonical" },
            "creator": { "sources": [
                { "from": "Extra", "key": "example.com/staff-id" },
                { "from": "Username", "stripPrefix": "oidc:", "pattern": r"^(?<name>[^@]+)@corp\.example$" },
            ] },
            "labels": [{ "key": "crm.milo.io/source", "allowed": ["referral"], "required": true }],
            "references": {
                "onDryRun": "Enforce",
                "onDryRunByFieldManager": [{ "manager": "kustomize-controller", "mode": "Warn" }],
                "onLookupError": "Deny",
                "consistency": "CacheThenLive",
                "kinds": { "user": {
                    "group": "iam.miloapis.com", "version": "v1alpha1", "kind": "User", "plural": "users",
                } },
                "subjects": [{
                    "group": "", "version": "v1", "kind": "Secret", "plural": "secrets", "namespaced": true,
                }],
            },
            "exemptions": [{
                "name": "migration",
                "groups": ["crm-migrators"],
                "users": [],
                "rules": ["company-exists"],
                "reason": "bulk import",
                "expires": "2027-02-01T00:00:00Z",
            }],
        });
        let read: AdmissionPolicySpec = serde_json::from_value(spec.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), spec);
    }

    #[test]
    fn an_empty_list_is_not_an_absent_one() {
        let read = |spec| serde_json::from_value::<AdmissionPolicySpec>(spec).unwrap().labels;
        assert_eq!(read(json!({})), None);
        assert_eq!(read(json!({ "labels": null })), None);
        assert_eq!(read(json!({ "labels": [] })), Some(Vec::new()));
    }

    /// They are the compiler's business, which reports them all together.
    #[test]
    fn a_file_is_read_whatever_its_texts_say_and_whichever_are_missing() {
        let read: AdmissionPolicySpec = serde_json::from_value(json!({
            "rules": [{ "rule": "no-such", "action": "Off", "enforceAfter": "soon" }, {}],
            "creator": { "sources": [{}] },
            "labels": [{}],
            "references": {
                "onDryRun": "Perhaps", "onDryRunByFieldManager": [{}], "kinds": { "user": {} }, "subjects": [{}],
            },
            "exemptions": [{ "expires": "never" }],
            "misspelled": true,
        }))
        .unwrap();
        let rules = read.rules.unwrap();
        assert_eq!(rules[0].action.as_deref(), Some("Off"));
        assert_eq!(rules[1].rule, "");
        assert_eq!(read.exemptions.unwrap()[0].reason, None);
    }
}
