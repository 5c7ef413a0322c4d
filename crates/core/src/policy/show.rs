//! Converts a policy to a document that compiles to it, with all defaults filled in.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::creator::{CreatorSource, SourceField};
use super::settings::{Consistency, DryRunMode, Exemption, LookupErrorMode, NormalizationMode, Policy};
use crate::api::{CrmKind, ResourceKind, policy as document_kind};
use crate::catalog::RuleId;

/// The document of an effective policy.
pub fn document(policy: &Policy) -> Value {
    json!({
        "apiVersion": format!("{}/{}", document_kind::GROUP, document_kind::VERSION),
        "kind": document_kind::KIND,
        "metadata": {"name": "default"},
        "spec": {
            "rules": RuleId::ALL.map(|id| rule(policy, id)),
            "normalization": {
                "domains": normalization(policy.normalization.domains),
                "linkedinProfile": normalization(policy.normalization.linkedin_profile),
            },
            "creator": {"sources": policy.creator_sources.iter().map(source).collect::<Vec<_>>()},
            "labels": policy.labels.iter().map(|label| {
                without_nulls(json!({
                    "key": label.key,
                    "kinds": label.kinds.as_ref().map(|kinds| kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>()),
                    "allowed": label.allowed,
                    "required": label.required,
                }))
            }).collect::<Vec<_>>(),
            "domains": {
                "owned": policy.domains.owned,
                "sharedHosts": policy.domains.shared_hosts,
                "mailProviders": policy.domains.mail_providers,
            },
            "notes": {"ownedBySubject": policy.owned_by_subject},
            "references": references(policy),
            "exemptions": exemptions(policy),
        },
    })
}

fn rule(policy: &Policy, id: RuleId) -> Value {
    let setting = policy.rule(id);
    without_nulls(json!({
        "rule": id.as_str(),
        "action": setting.action.as_str(),
        "enforceAfter": setting.enforce_after.map(time),
    }))
}

fn normalization(mode: NormalizationMode) -> &'static str {
    match mode {
        NormalizationMode::Normalize => "Normalize",
        NormalizationMode::RequireCanonical => "RequireCanonical",
    }
}

fn source(source: &CreatorSource) -> Value {
    let (from, key) = match &source.from {
        SourceField::Username => ("Username", None),
        SourceField::Uid => ("UID", None),
        SourceField::Extra(key) => ("Extra", Some(key)),
    };
    let pattern = source.pattern.as_ref().map(|pattern| pattern.as_str());
    without_nulls(json!({"from": from, "key": key, "stripPrefix": source.strip_prefix, "pattern": pattern}))
}

fn references(policy: &Policy) -> Value {
    let references = &policy.references;
    let by_manager = references.on_dry_run_by_field_manager.iter();
    // Company and Person are always accepted subjects and must not be listed.
    let own = [CrmKind::Company, CrmKind::Person].map(CrmKind::resource);
    let added = references.subjects.iter().filter(|kind| !own.contains(kind));
    json!({
        "onDryRun": dry_run(references.on_dry_run),
        "onDryRunByFieldManager": by_manager
            .map(|(manager, mode)| json!({"manager": manager, "mode": dry_run(*mode)}))
            .collect::<Vec<_>>(),
        "onLookupError": match references.on_lookup_error {
            LookupErrorMode::Deny => "Deny",
            LookupErrorMode::Allow => "Allow",
        },
        "consistency": match references.consistency {
            Consistency::CacheThenLive => "CacheThenLive",
            Consistency::Live => "Live",
        },
        "kinds": without_nulls(json!({
            "user": references.user.as_deref().map(cluster_kind),
            "organization": references.organization.as_deref().map(cluster_kind),
            "contact": references.contact.as_deref().map(resource_kind),
        })),
        "subjects": added.map(|kind| resource_kind(kind)).collect::<Vec<_>>(),
    })
}

fn dry_run(mode: DryRunMode) -> &'static str {
    match mode {
        DryRunMode::Enforce => "Enforce",
        DryRunMode::Warn => "Warn",
        DryRunMode::Skip => "Skip",
    }
}

fn cluster_kind(kind: &ResourceKind) -> Value {
    json!({"group": kind.group, "version": kind.version, "kind": kind.kind, "plural": kind.plural})
}

fn resource_kind(kind: &ResourceKind) -> Value {
    let mut shown = cluster_kind(kind);
    shown["namespaced"] = json!(kind.namespaced);
    shown
}

fn exemptions(policy: &Policy) -> Vec<Value> {
    let exemption = |exemption: &Exemption| {
        without_nulls(json!({
            "name": exemption.name,
            "users": exemption.users,
            "groups": exemption.groups,
            "rules": exemption.rules.iter().map(|rule| rule.as_str()).collect::<Vec<_>>(),
            "reason": exemption.reason,
            "expires": exemption.expires.map(time),
        }))
    };
    policy.exemptions.iter().map(exemption).collect()
}

fn time(time: Timestamp) -> String {
    time.to_string()
}

/// The object without the fields that are null.
fn without_nulls(mut object: Value) -> Value {
    if let Some(fields) = object.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    object
}
