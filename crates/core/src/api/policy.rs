//! The kind AdmissionPolicy: the settings of cluster admins for the rules, in the cluster or in a file.
//!
//! The same types are read from a file, which no API server has validated. So that the compiler of a policy can report
//! all problems at once, every restricted value is a plain `String` here, and a missing required string is read as
//! empty. The schema is strict: its enums are the constants of this module, and a test checks that the compiler has the
//! same ones.
//!
//! A missing field means the built-in default. The schema has no defaults for these fields, because the API server
//! would store today's default permanently. `required` and `namespaced` are exceptions, because their default cannot
//! change.
//!
//! Lists of entries are maps, and lists of strings are sets, so that a second manager can add to them by server-side
//! apply: a team with its own label, or an operator who exempts a migration. Two lists are atomic: the sources of a
//! creator, because their order matters, and the rules of an exemption.

#![allow(
    rustdoc::broken_intra_doc_links,
    rustdoc::invalid_html_tags,
    reason = "the descriptions are plain text for `kubectl explain`, with brackets as users write them"
)]

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, CustomResourceExt, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::borrow::Cow;

use super::{limits, schema};

/// The API group of the policy. The `kube` attribute of the kind repeats it: it takes only a literal.
pub const GROUP: &str = "admission.crm.milo.io";

/// The only version of the policy, served and stored.
pub const VERSION: &str = "v1alpha1";

/// The kind of the policy.
pub const KIND: &str = "AdmissionPolicy";

/// The allowed values of `rules[].action`.
pub const ACTIONS: [&str; 4] = ["Deny", "Warn", "Audit", "Disabled"];

/// The allowed values of the fields of `normalization`.
pub const NORMALIZATION_MODES: [&str; 2] = ["Normalize", "RequireCanonical"];

/// The allowed values of `labels[].kinds`.
pub const RECORD_KINDS: [&str; 3] = ["Company", "Person", "Note"];

/// The allowed values of `creator.sources[].from`.
pub const CREATOR_FIELDS: [&str; 3] = ["Username", "UID", "Extra"];

/// The allowed values of `references.onDryRun` and `references.onDryRunByFieldManager[].mode`.
pub const DRY_RUN_MODES: [&str; 3] = ["Enforce", "Warn", "Skip"];

/// The allowed values of `references.onLookupError`.
pub const LOOKUP_ERROR_MODES: [&str; 2] = ["Deny", "Allow"];

/// The allowed values of `references.consistency`.
pub const CONSISTENCIES: [&str; 2] = ["CacheThenLive", "Live"];

/// The settings of the policy. A field that is left out has the built-in default, so an empty spec changes nothing.
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
    doc = "AdmissionPolicy configures the rules for CRM records. It says which rules deny, warn, only \
           record or are disabled, who is exempt, and how creators and references are looked up. Only the \
           AdmissionPolicy named default is used. A change takes effect within seconds. An invalid policy \
           is denied with every problem. If the webhook cannot be called, it is stored but changes nothing; \
           the last valid one, status.lastAccepted, stays in force, and the condition Accepted lists every \
           problem. The command crm-admission policy check FILE reports the same problems before the \
           policy is applied.",
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
        description = "Why the policy is in force or not."
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Accepted")].message"#,
        description = "Every problem of an invalid policy, with its field.",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::unwrap_descriptions)]
pub struct AdmissionPolicySpec {
    /// The actions of rules, one entry for each rule. A rule that is not listed keeps its default action, which
    /// the command crm-admission rules shows. At most 100 entries. For example, rule label-value with
    /// action Deny denies records with a label value that is not allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::POLICY_ENTRIES))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["rule".into()]))]
    pub rules: Option<Vec<RuleSetting>>,

    /// What happens to values that are valid but not canonical.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalization: Option<Normalization>,

    /// How the creator of a record is determined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creator: Option<Creator>,

    /// The labels whose values are restricted, for the rule label-value, one entry for each label. The list
    /// replaces the default list, which restricts crm.milo.io/source on a Company. An empty list restricts no label. At
    /// most 100 entries. For example, key crm.milo.io/segment with allowed
    /// [smb, enterprise] restricts the segment and no other label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::POLICY_ENTRIES))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["key".into()]))]
    pub labels: Option<Vec<Label>>,

    /// The names of domains that are treated specially, for the rules domain and domain-hint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domains: Option<Domains>,

    /// What happens to Notes, besides the rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<Notes>,

    /// How references to other objects are checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub references: Option<References>,

    /// Who is exempt from which rules, why, and until when. By default nobody is. At most 100 entries. An
    /// exemption drops the findings of a rule; values are still normalized.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::POLICY_ENTRIES))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub exemptions: Option<Vec<Exemption>>,
}

/// The action of one rule.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::unwrap_descriptions)]
pub struct RuleSetting {
    /// The id of the rule, such as label-value. The command crm-admission rules ID explains one.
    #[serde(default)]
    #[schemars(!default, with = "RuleId")]
    pub rule: String,

    /// What happens if a record breaks the rule. Deny denies the request; Warn allows it with a warning; Audit
    /// allows it and records it only in the audit log and the metrics; Disabled does not evaluate the rule,
    /// and does not normalize values either. Write Disabled, not Off, which YAML may read as
    /// false. If it is left out, the rule keeps its default action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("enum" = ACTIONS))]
    pub action: Option<String>,

    /// Until this time Deny acts as Warn, and the warning names the time, so that users can fix their records
    /// before the rule denies. An RFC 3339 time such as 2027-01-15T00:00:00Z. It has no effect on the
    /// other actions. If it is left out, Deny denies at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub enforce_after: Option<String>,
}

/// What happens to values that are valid but not canonical.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::unwrap_descriptions)]
pub struct Normalization {
    /// For spec.domains of a Company. Normalize rewrites HTTPS://Acme.com/ to acme.com, with a warning that shows
    /// the stored value. RequireCanonical never rewrites; a value that is not canonical breaks the rule domain,
    /// and the message shows the canonical value. Defaults to Normalize.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("enum" = NORMALIZATION_MODES))]
    pub domains: Option<String>,

    /// For spec.linkedinProfile of a Company or a Person. Normalize rewrites linkedin.com/company/Acme/ to
    /// https://linkedin.com/company/acme, with a warning that shows the stored value. RequireCanonical never
    /// rewrites; a value that is not canonical breaks the rule linkedin-profile, and the message shows the
    /// canonical value. Choose it if a GitOps tool would revert the change. Defaults to Normalize.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("enum" = NORMALIZATION_MODES))]
    pub linkedin_profile: Option<String>,
}

/// How the creator of a record is determined.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[schemars(transform = schema::unwrap_descriptions)]
pub struct Creator {
    /// Where the name of the creator comes from when a record is created without spec.creatorRef. The sources
    /// are tried in order, and the first that yields a valid name wins. The rule creator-is-requester compares
    /// a given creator with the same name. The list replaces the default list, which has one
    /// source, the unchanged Username. With an empty list everybody must set spec.creatorRef. At most 20
    /// sources.
    // Atomic, because the order matters, and parts of two owners have no order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::CREATOR_SOURCES))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub sources: Option<Vec<CreatorSource>>,
}

/// One way to derive the name of a creator from the requesting user.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::unwrap_descriptions)]
#[x_kube(
    validation = Rule::new("self.from != 'Extra' || has(self.key)")
        .message("set it to the key of the attribute, such as example.com/staff-id")
        .reason(Reason::FieldValueRequired)
        .field_path(".key"),
    validation = Rule::new("self.from == 'Extra' || !has(self.key)")
        .message("only allowed if from is Extra")
        .reason(Reason::FieldValueForbidden)
        .field_path(".key")
)]
pub struct CreatorSource {
    /// The attribute of the user. Username is the name of the user; UID is the id from the identity
    /// provider; Extra is another attribute, named by key, of which the first value that yields a name
    /// is used. The command kubectl auth whoami shows all three.
    #[serde(default)]
    #[schemars(!default, extend("enum" = CREATOR_FIELDS))]
    pub from: String,

    /// The key of the attribute, such as example.com/staff-id. Required if from is Extra, and not allowed
    /// otherwise. At most 317 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = limits::QUALIFIED_NAME))]
    pub key: Option<String>,

    /// A prefix of the value, such as "oidc:", which is removed before pattern is matched. A value without the
    /// prefix yields no name. At most 253 characters. If it is left out, nothing is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::NAME))]
    pub strip_prefix: Option<String>,

    /// A regular expression that the value must match, and whose group called name is the name of the creator.
    /// For example, ^(?<name>[^@]+)@corp\.example$ takes jane.doe out of jane.doe@corp.example. A value that
    /// does not match yields no name. The syntax is that of RE2, without look-around or back references. At
    /// most 1024 characters. If it is left out, the whole value is the name.
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

    /// The kinds of records whose label is restricted: Company, Person or Note. If it is left out, the label is
    /// restricted on all of them.
    // A set, like the values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<RecordKind>>", length(min = 1, max = RECORD_KINDS.len()))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub kinds: Option<Vec<String>>,

    /// The values that the label may have, such as [referral, event]. At least one, and at most 500, of at most
    /// 63 characters.
    // A set: the order has no meaning, a duplicate is a mistake, and two teams can each add values.
    #[serde(default)]
    #[schemars(!default, length(min = 1, max = limits::LABEL_VALUES), inner(length(max = limits::LABEL)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub allowed: Vec<String>,

    /// Whether every record of these kinds must have the label. Defaults to false, that is, records without the label are
    /// valid.
    #[serde(default)]
    pub required: bool,
}

/// The names of domains that are treated specially. Each is in the canonical form, such as acme.com.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::unwrap_descriptions)]
pub struct Domains {
    /// Names that a Company may record although they are a public suffix or a shared site, because the company
    /// owns them, such as gov.uk. Only the name itself is meant, not its subdomains. By default there are none. At
    /// most 1000, of at most 253 characters.
    // Sets: the order has no meaning, a duplicate is a mistake, and two teams can each add names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::POLICY_DOMAINS), inner(length(min = 1, max = limits::DOMAIN)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub owned: Option<Vec<String>>,

    /// Sites on which many companies have a page, such as facebook.com. The rule domain denies an address of a
    /// page there, and on the subdomains of the site. The list replaces the default list, which the command
    /// crm-admission policy show prints. At most 1000, of at most 253 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::POLICY_DOMAINS), inner(length(min = 1, max = limits::DOMAIN)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub shared_hosts: Option<Vec<String>>,

    /// Names under which everybody can get a mailbox, such as gmail.com. The rule domain-hint reports them.
    /// The list replaces the default list, which the command crm-admission policy show prints. At most 1000, of
    /// at most 253 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::POLICY_DOMAINS), inner(length(min = 1, max = limits::DOMAIN)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub mail_providers: Option<Vec<String>>,
}

/// What happens to Notes, besides the rules.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::unwrap_descriptions)]
pub struct Notes {
    /// Whether a new Note gets its subject as an owner reference, so that the garbage collector deletes it with its
    /// subject. A Note that exists already stays as it is, and so does a Note about an object of another scope.
    /// Defaults to false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owned_by_subject: Option<bool>,
}

/// How references to other objects are checked.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::unwrap_descriptions)]
pub struct References {
    /// How references are checked in a dry run (kubectl apply --dry-run=server). Enforce treats it like a real
    /// request; Warn turns a denial into a warning; Skip does not check references. Defaults to Enforce.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("enum" = DRY_RUN_MODES))]
    pub on_dry_run: Option<String>,

    /// The same for dry runs of certain field managers, one entry for each manager. It is for tools that dry-run
    /// a whole bundle before they apply any of it, and would always fail because of a reference inside the
    /// bundle. The list replaces the default list, which is manager kustomize-controller with mode Warn, for
    /// Flux. At most 100 entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::POLICY_ENTRIES))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["manager".into()]))]
    pub on_dry_run_by_field_manager: Option<Vec<FieldManagerMode>>,

    /// What happens when a lookup fails, for example because the API server does not answer in time. Deny denies
    /// the request with the advice to try again; Allow allows it with a warning. Defaults to Deny.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("enum" = LOOKUP_ERROR_MODES))]
    pub on_lookup_error: Option<String>,

    /// How the webhook finds out whether an object exists. CacheThenLive uses the local copy if it has the object,
    /// and asks the API server otherwise. Live always asks the API server, so that even an object that was just
    /// deleted is missing; each reference then costs one call. Defaults to CacheThenLive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("enum" = CONSISTENCIES))]
    pub consistency: Option<String>,

    /// The kinds of users, organizations and contacts in the cluster, for the rules creator-exists, user-exists,
    /// organization-exists and contact-exists. A rule that needs a kind cannot be enabled without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kinds: Option<Kinds>,

    /// The kinds that Notes may be about, besides Company and Person, one entry for each group and kind. By
    /// default there are no others. At most 100 entries. The webhook needs permission to get, list and watch
    /// them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::POLICY_ENTRIES))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["group".into(), "kind".into()]))]
    pub subjects: Option<Vec<SubjectKind>>,
}

/// How references are checked in dry runs of one field manager.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[schemars(transform = schema::unwrap_descriptions)]
pub struct FieldManagerMode {
    /// The name of the field manager, such as kustomize-controller. At most 128 characters.
    #[serde(default)]
    #[schemars(!default, length(min = 1, max = limits::FIELD_MANAGER))]
    pub manager: String,

    /// The mode of its dry runs. Enforce treats them like real requests; Warn turns a denial into a warning; Skip
    /// does not check references.
    #[serde(default)]
    #[schemars(!default, extend("enum" = DRY_RUN_MODES))]
    pub mode: String,
}

/// The kinds of users, organizations and contacts in the cluster.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[schemars(transform = schema::unwrap_descriptions)]
pub struct Kinds {
    /// The kind that a creatorRef and a Person's userRef name, for the rules creator-exists and user-exists. It is
    /// cluster-scoped. For example, group iam.miloapis.com, version v1alpha1, kind User and plural
    /// users. By default there is none.
    // Atomic, as are all kinds outside lists: parts of two kinds do not make a valid one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(merge_strategy = MapMerge::Atomic)]
    pub user: Option<ClusterKind>,

    /// The kind that a Company's organizationRef names, for the rule organization-exists. It is cluster-scoped.
    /// For example, group resourcemanager.miloapis.com, version v1alpha1, kind Organization and plural
    /// organizations. By default there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(merge_strategy = MapMerge::Atomic)]
    pub organization: Option<ClusterKind>,

    /// The kind that a Person's contactRefs name, for the rule contact-exists. It is namespaced. For example, group
    /// notification.miloapis.com, version v1alpha1, kind Contact and plural contacts. By default there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(merge_strategy = MapMerge::Atomic)]
    pub contact: Option<NamespacedKind>,
}

/// A cluster-scoped kind. References to it have no namespace.
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

    /// The kind as it is written in manifests, such as User. At most 63 characters.
    #[serde(default)]
    #[schemars(!default, length(min = 1, max = limits::LABEL), regex(pattern = schema::KIND_PATTERN))]
    pub kind: String,

    /// The plural in lower case, as the command kubectl api-resources lists it, such as users. At most 63
    /// characters.
    #[serde(default)]
    #[schemars(!default, length(min = 1, max = limits::LABEL), regex(pattern = schema::LABEL_PATTERN))]
    pub plural: String,
}

/// A namespaced kind. References to it have a namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[schemars(transform = schema::unwrap_descriptions)]
pub struct NamespacedKind {
    /// The API group, such as notification.miloapis.com, without the version. Empty means the core group. At most 253
    /// characters.
    #[serde(default)]
    #[schemars(!default, length(max = limits::NAME), regex(pattern = schema::GROUP_PATTERN))]
    pub group: String,

    /// The API version, such as v1alpha1. At most 63 characters.
    #[serde(default)]
    #[schemars(!default, length(min = 1, max = limits::LABEL), regex(pattern = schema::LABEL_PATTERN))]
    pub version: String,

    /// The kind as it is written in manifests, such as Contact. At most 63 characters.
    #[serde(default)]
    #[schemars(!default, length(min = 1, max = limits::LABEL), regex(pattern = schema::KIND_PATTERN))]
    pub kind: String,

    /// The plural in lower case, as the command kubectl api-resources lists it, such as contacts. At most 63
    /// characters.
    #[serde(default)]
    #[schemars(!default, length(min = 1, max = limits::LABEL), regex(pattern = schema::LABEL_PATTERN))]
    pub plural: String,

    /// Always true. It may be left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaced: Option<bool>,
}

/// A kind of object that Notes may be about.
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

    /// The kind as it is written in manifests, such as Contact. At most 63 characters.
    #[serde(default)]
    #[schemars(!default, length(min = 1, max = limits::LABEL), regex(pattern = schema::KIND_PATTERN))]
    pub kind: String,

    /// The plural in lower case, as the command kubectl api-resources lists it, such as contacts. At most 63
    /// characters.
    #[serde(default)]
    #[schemars(!default, length(min = 1, max = limits::LABEL), regex(pattern = schema::LABEL_PATTERN))]
    pub plural: String,

    /// Whether the kind is namespaced, so that a Note must give the namespace. Defaults to false.
    #[serde(default)]
    pub namespaced: bool,
}

/// Users who are exempt from the same rules for the same reason.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[schemars(transform = schema::unwrap_descriptions)]
#[x_kube(
    validation = Rule::new("has(self.users) && size(self.users) > 0 || has(self.groups) && size(self.groups) > 0")
        .message("list the users or groups that are exempt")
        .reason(Reason::FieldValueRequired)
)]
pub struct Exemption {
    /// The name of the exemption in the audit log, such as migration. It consists of
    /// lower-case letters, digits and hyphens. At most 63 characters.
    #[serde(default)]
    #[schemars(!default, length(min = 1, max = limits::LABEL), regex(pattern = schema::LABEL_PATTERN))]
    pub name: String,

    /// Groups whose members are exempt, such as crm-migrators. At most 100, of at most 1024
    /// characters.
    // A set, like the users: the order has no meaning, and a duplicate is a mistake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::POLICY_ENTRIES), inner(length(min = 1, max = limits::IDENTITY)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub groups: Option<Vec<String>>,

    /// The names of exempt users, as the API server knows them, such as
    /// system:serviceaccount:crm:importer. At most 100, of at most 1024 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::POLICY_ENTRIES), inner(length(min = 1, max = limits::IDENTITY)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub users: Option<Vec<String>>,

    /// The rules from which they are exempt, such as company-exists. At least one, and at most 100.
    // Atomic: in a set, two managers with an exemption of the same name would exempt each other's users from more rules
    // than intended. So the second manager must list the same rules, or gets a conflict.
    #[serde(default)]
    #[schemars(!default, with = "Vec<RuleId>", length(min = 1, max = limits::POLICY_ENTRIES))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub rules: Vec<String>,

    /// Why they are exempt, for reviewers of the policy, such as bulk import. At most 1024 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::REASON))]
    pub reason: Option<String>,

    /// When the exemption ends, as an RFC 3339 time such as 2027-02-01T00:00:00Z. If it is left out, it
    /// never ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub expires: Option<String>,
}

/// Whether the policy is in force. The webhook writes it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = schema::unwrap_descriptions)]
pub struct AdmissionPolicyStatus {
    /// The metadata.generation of the policy that was last validated. If it is lower than that of the object, the
    /// status is out of date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// The current state of the policy. The condition Accepted says whether it is in force, and if not, its
    /// message lists every problem with its field. Wait for it with kubectl wait --for=condition=Accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,

    /// The last valid version of the policy. It is in force while the current one is invalid, also in a program that
    /// starts then. A policy of more than 256 KiB is not kept here.
    // Atomic: one manager writes it, and a part of a policy means nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(merge_strategy = MapMerge::Atomic)]
    pub last_accepted: Option<LastAccepted>,
}

/// The last valid version of a policy.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[schemars(transform = schema::unwrap_descriptions)]
pub struct LastAccepted {
    /// The metadata.generation of that version.
    pub generation: i64,

    /// The spec of that version.
    // Any object, so that a stricter schema of a later release does not make the status invalid.
    #[schemars(schema_with = "schema::any_object")]
    pub spec: Map<String, Value>,
}

/// The schema of the kind of a record.
struct RecordKind;

impl JsonSchema for RecordKind {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "RecordKind".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": RECORD_KINDS })
    }
}

/// The schema of a rule id, before [`crd`] adds the ids.
struct RuleId;

impl RuleId {
    /// Not a format of JSON Schema. It marks where [`crd`] adds the ids.
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

/// The custom resource definition, in which the API server accepts only `rule_ids` as ids.
///
/// The caller passes the ids, because the catalogue is the only list of them and this room does not know it.
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
    use serde_json::json;

    use super::*;

    const IDS: [&str; 2] = ["some-rule", "other-rule"];

    /// The schema of `spec` in the CRD.
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
    fn the_ids_of_rules_are_those_of_the_caller() {
        for path in ["rules[].rule", "exemptions[].rules[]"] {
            assert_eq!(field(path)["enum"], json!(IDS), "{path}");
            assert_eq!(field(path).get("format"), None, "{path}");
        }
    }

    #[test]
    fn lists_of_entries_are_maps_by_their_identifying_fields() {
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
    fn lists_of_strings_are_sets_and_two_lists_are_atomic() {
        for path in [
            "labels[].kinds",
            "labels[].allowed",
            "domains.owned",
            "domains.sharedHosts",
            "domains.mailProviders",
            "exemptions[].groups",
            "exemptions[].users",
        ] {
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
            ("references.kinds.contact", json!(["group", "kind", "plural", "version"])),
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
    fn the_schema_has_defaults_only_for_two_flags() {
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
    fn the_values_of_an_enum_are_listed() {
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
            "labels": [{
                "key": "crm.milo.io/source", "kinds": ["Person"], "allowed": ["referral"], "required": true,
            }],
            "domains": { "owned": ["gov.uk"], "sharedHosts": [], "mailProviders": ["gmail.com"] },
            "notes": { "ownedBySubject": true },
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
    fn an_empty_list_is_not_a_missing_list() {
        let read = |spec| serde_json::from_value::<AdmissionPolicySpec>(spec).unwrap().labels;
        assert_eq!(read(json!({})), None);
        assert_eq!(read(json!({ "labels": null })), None);
        assert_eq!(read(json!({ "labels": [] })), Some(Vec::new()));
    }

    /// The compiler reports invalid and missing values, all at once.
    #[test]
    fn a_file_with_invalid_and_missing_strings_is_read() {
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
