//! Compiles an AdmissionPolicy document to a policy, or lists every problem of an invalid one.

use std::collections::HashSet;
use std::sync::Arc;

use regex::Regex;
use serde_json::Value;

use super::creator::{CreatorSource, SourceField};
use super::problem::{Problem, Problems};
use super::reader::{Fields, LONGEST_LIST, ProblemList, unsupported};
use super::settings::{
    Consistency, DryRunMode, Exemption, LabelRule, LookupErrorMode, NormalizationMode, Policy, RuleSetting,
};
use crate::api::names::{is_label, is_label_key, is_subdomain};
use crate::api::{CrmKind, ResourceKind, limits, policy as document_kind};
use crate::catalog::{Action, RuleId};
use crate::normalize::{Field, domain_name};

const ACTIONS: [(&str, Action); 4] = [
    ("Deny", Action::Deny),
    ("Warn", Action::Warn),
    ("Audit", Action::Audit),
    ("Disabled", Action::Disabled),
];
const NORMALIZATION: [(&str, NormalizationMode); 2] =
    [("Normalize", NormalizationMode::Normalize), ("RequireCanonical", NormalizationMode::RequireCanonical)];
const DRY_RUN: [(&str, DryRunMode); 3] =
    [("Enforce", DryRunMode::Enforce), ("Warn", DryRunMode::Warn), ("Skip", DryRunMode::Skip)];
const LOOKUP_ERROR: [(&str, LookupErrorMode); 2] =
    [("Deny", LookupErrorMode::Deny), ("Allow", LookupErrorMode::Allow)];
const CONSISTENCY: [(&str, Consistency); 2] =
    [("CacheThenLive", Consistency::CacheThenLive), ("Live", Consistency::Live)];

/// Compiles a document to a policy. Missing settings are those of the built-in policy.
///
/// `origin` is the name of the policy in audit annotations, such as `default@3`.
///
/// # Errors
/// All problems of an invalid document, each with its field. An invalid document is not used at all.
pub fn compile(document: &Value, origin: impl Into<String>) -> Result<Policy, Problems> {
    let mut problems = ProblemList::default();
    let mut policy = Policy { origin: origin.into(), ..Policy::default() };
    if document.is_null() {
        let text = "the document is empty; an AdmissionPolicy is expected".to_owned();
        return Err(Problems(vec![Problem { field: String::new(), text }]));
    }
    let mut top = Fields::of("", Some(document), &mut problems);
    if top.exists() {
        header(&mut top, &mut problems);
        let mut spec = top.object("spec", &mut problems);
        rules(&mut spec, &mut policy, &mut problems);
        normalization(&mut spec, &mut policy, &mut problems);
        creator(&mut spec, &mut policy, &mut problems);
        labels(&mut spec, &mut policy, &mut problems);
        domains(&mut spec, &mut policy, &mut problems);
        notes(&mut spec, &mut policy, &mut problems);
        references(&mut spec, &mut policy, &mut problems);
        exemptions(&mut spec, &mut policy, &mut problems);
        needed_kinds(&policy, &mut problems);
        spec.report_unknown(&mut problems);
    }
    top.report_unknown(&mut problems);
    if problems.is_empty() { Ok(policy) } else { Err(problems.into_problems()) }
}

fn header(top: &mut Fields<'_>, problems: &mut ProblemList) {
    let version = format!("{}/{}", document_kind::GROUP, document_kind::VERSION);
    for (field, expected) in [("apiVersion", version.as_str()), ("kind", document_kind::KIND)] {
        match top.required_string(field, problems) {
            Some(found) if found != expected => {
                problems.invalid(field, found, &format!("must be {expected}"))
            }
            _ => {}
        }
    }
    // The API server validates these.
    top.value("metadata");
    top.value("status");
    if top.value("spec").is_none() {
        problems.required("spec", "set it; an empty spec, {}, means the built-in policy");
    }
}

fn rules(spec: &mut Fields<'_>, policy: &mut Policy, problems: &mut ProblemList) {
    let mut seen = HashSet::new();
    for (path, entry) in spec.list_of("rules", LONGEST_LIST, problems).unwrap_or_default() {
        let Some(mut fields) = Fields::entry(&path, entry, problems) else { continue };
        let rule =
            fields.required_string("rule", problems).and_then(|id| rule_id(&fields.at("rule"), id, problems));
        let wanted = fields.choice("action", &ACTIONS, problems);
        let enforce_after = fields.time("enforceAfter", problems);
        if let Some(rule) = rule {
            let action = wanted.unwrap_or(rule.rule().default_action);
            policy.set_rule(rule, RuleSetting { action, enforce_after });
        }
        if let Some(rule) = rule.filter(|rule| !seen.insert(*rule)) {
            problems.invalid(&fields.at("rule"), rule.as_str(), "the rule is listed twice");
        }
        fields.report_unknown(problems);
    }
}

fn rule_id(path: &str, id: &str, problems: &mut ProblemList) -> Option<RuleId> {
    let rule = id.parse().ok();
    if rule.is_none() {
        problems.add(path, unsupported(id, &RuleId::ALL.map(RuleId::as_str)));
    }
    rule
}

fn normalization(spec: &mut Fields<'_>, policy: &mut Policy, problems: &mut ProblemList) {
    let mut fields = spec.object("normalization", problems);
    if let Some(mode) = fields.choice("domains", &NORMALIZATION, problems) {
        policy.normalization.domains = mode;
    }
    if let Some(mode) = fields.choice("linkedinProfile", &NORMALIZATION, problems) {
        policy.normalization.linkedin_profile = mode;
    }
    fields.report_unknown(problems);
}

fn creator(spec: &mut Fields<'_>, policy: &mut Policy, problems: &mut ProblemList) {
    let mut fields = spec.object("creator", problems);
    if let Some(entries) = fields.list_of("sources", limits::CREATOR_SOURCES, problems) {
        let source = |(path, entry): (String, &Value)| creator_source(&path, entry, problems);
        policy.creator_sources = entries.into_iter().filter_map(source).collect();
    }
    fields.report_unknown(problems);
}

fn creator_source(path: &str, entry: &Value, problems: &mut ProblemList) -> Option<CreatorSource> {
    let mut fields = Fields::entry(path, entry, problems)?;
    let field = source_field(&mut fields, problems);
    let strip_prefix = fields.string("stripPrefix", problems).map(str::to_owned);
    let pattern = fields.pattern("pattern", problems).filter(|regex| has_name(regex, &fields, problems));
    fields.report_unknown(problems);
    Some(CreatorSource { from: field?, strip_prefix, pattern })
}

fn source_field(fields: &mut Fields<'_>, problems: &mut ProblemList) -> Option<SourceField> {
    let from = fields.choice("from", &[("Username", 0), ("UID", 1), ("Extra", 2)], problems);
    if fields.value("from").is_none() {
        problems.required(&fields.at("from"), "set it to one of Username, UID, Extra");
    }
    let key = fields.string("key", problems).filter(|key| !key.is_empty());
    match (from?, key) {
        (2, Some(key)) => Some(SourceField::Extra(key.to_owned())),
        (2, None) => {
            problems.required(
                &fields.at("key"),
                "set it to the key of the attribute, such as example.com/staff-id",
            );
            None
        }
        (_, Some(_)) => {
            problems.add(&fields.at("key"), "Forbidden: only allowed if from is Extra".to_owned());
            None
        }
        (0, None) => Some(SourceField::Username),
        (_, None) => Some(SourceField::Uid),
    }
}

fn has_name(pattern: &Regex, source: &Fields<'_>, problems: &mut ProblemList) -> bool {
    let has_name = pattern.capture_names().flatten().any(|name| name == "name");
    if !has_name {
        let text = "must have a group \"name\", as in ^(?<name>[^@]+)@corp\\.example$";
        problems.invalid(&source.at("pattern"), pattern.as_str(), text);
    }
    has_name
}

fn labels(spec: &mut Fields<'_>, policy: &mut Policy, problems: &mut ProblemList) {
    let Some(entries) = spec.list_of("labels", LONGEST_LIST, problems) else { return };
    policy.labels.clear();
    for (path, entry) in entries {
        let Some(mut fields) = Fields::entry(&path, entry, problems) else { continue };
        let key = fields.required_string("key", problems);
        let allowed = fields.strings("allowed", problems).unwrap_or_default();
        let allowed: Vec<String> = allowed.into_iter().map(|(_, value)| value.to_owned()).collect();
        if allowed.is_empty() {
            problems.required(&fields.at("allowed"), "list at least one value");
        }
        let kinds = label_kinds(&mut fields, problems);
        let required = fields.flag("required", problems).unwrap_or_default();
        if let Some(key) = key {
            let listed = policy.labels.iter().any(|label| label.key == key);
            if listed {
                problems.invalid(&fields.at("key"), key, "the label is listed twice");
            } else if !is_label_key(key) {
                problems.invalid(&fields.at("key"), key, "must be a label key such as crm.milo.io/source");
            }
            policy.labels.push(LabelRule { key: key.to_owned(), kinds, allowed, required });
        }
        fields.report_unknown(problems);
    }
}

/// The kinds of records whose label is restricted; `None` for all.
fn label_kinds(fields: &mut Fields<'_>, problems: &mut ProblemList) -> Option<Vec<CrmKind>> {
    let entries = fields.strings("kinds", problems)?;
    if entries.is_empty() {
        problems
            .required(&fields.at("kinds"), "list at least one kind, or leave it out, which means all kinds");
    }
    let mut kinds = Vec::new();
    for (path, name) in entries {
        match CrmKind::OWN.into_iter().find(|kind| kind.as_str() == name) {
            Some(kind) if kinds.contains(&kind) => {}
            Some(kind) => kinds.push(kind),
            None => problems.add(&path, unsupported(name, &document_kind::RECORD_KINDS)),
        }
    }
    Some(kinds)
}

fn domains(spec: &mut Fields<'_>, policy: &mut Policy, problems: &mut ProblemList) {
    let mut fields = spec.object("domains", problems);
    for (name, list) in [
        ("owned", &mut policy.domains.owned),
        ("sharedHosts", &mut policy.domains.shared_hosts),
        ("mailProviders", &mut policy.domains.mail_providers),
    ] {
        if let Some(entries) = fields.strings(name, problems) {
            *list = entries.into_iter().filter_map(|(path, text)| canonical(&path, text, problems)).collect();
        }
    }
    fields.report_unknown(problems);
}

/// A canonical domain. Any other name would never be found.
fn canonical(path: &str, text: &str, problems: &mut ProblemList) -> Option<String> {
    let problem = match domain_name(text) {
        Ok(name) if name == text => return Some(name.into_owned()),
        Ok(name) => format!("not in its canonical form; write {name:?}"),
        Err(invalid) => invalid.text(Field::Domain),
    };
    problems.invalid(path, text, &problem);
    None
}

fn notes(spec: &mut Fields<'_>, policy: &mut Policy, problems: &mut ProblemList) {
    let mut fields = spec.object("notes", problems);
    policy.owned_by_subject = fields.flag("ownedBySubject", problems).unwrap_or_default();
    fields.report_unknown(problems);
}

fn references(spec: &mut Fields<'_>, policy: &mut Policy, problems: &mut ProblemList) {
    let mut fields = spec.object("references", problems);
    let settings = &mut policy.references;
    if let Some(mode) = fields.choice("onDryRun", &DRY_RUN, problems) {
        settings.on_dry_run = mode;
    }
    if let Some(entries) = fields.list_of("onDryRunByFieldManager", LONGEST_LIST, problems) {
        settings.on_dry_run_by_field_manager = dry_run_by_manager(entries, problems);
    }
    if let Some(mode) = fields.choice("onLookupError", &LOOKUP_ERROR, problems) {
        settings.on_lookup_error = mode;
    }
    if let Some(mode) = fields.choice("consistency", &CONSISTENCY, problems) {
        settings.consistency = mode;
    }
    let mut kinds = fields.object("kinds", problems);
    settings.user = cluster_kind(&mut kinds, "user", problems);
    settings.organization = cluster_kind(&mut kinds, "organization", problems);
    settings.contact = namespaced_kind(&mut kinds, "contact", problems);
    kinds.report_unknown(problems);
    for (path, entry) in fields.list_of("subjects", LONGEST_LIST, problems).unwrap_or_default() {
        let Some(fields) = Fields::entry(&path, entry, problems) else { continue };
        let Some(kind) = resource_kind(fields, problems) else { continue };
        let known =
            settings.subjects.iter().any(|known| known.group == kind.group && known.kind == kind.kind);
        if known {
            problems.invalid(&path, &kind.to_string(), "Notes may already be about this kind");
        } else {
            settings.subjects.push(Arc::new(kind));
        }
    }
    fields.report_unknown(problems);
}

fn dry_run_by_manager(
    entries: Vec<(String, &Value)>,
    problems: &mut ProblemList,
) -> Vec<(String, DryRunMode)> {
    let mut modes: Vec<(String, DryRunMode)> = Vec::new();
    for (path, entry) in entries {
        let Some(mut fields) = Fields::entry(&path, entry, problems) else { continue };
        let manager = fields.required_string("manager", problems);
        let mode = fields.choice("mode", &DRY_RUN, problems);
        if fields.value("mode").is_none() {
            problems.required(&fields.at("mode"), "set it to one of Enforce, Warn, Skip");
        }
        if let Some(manager) = manager {
            if modes.iter().any(|(known, _)| known == manager) {
                problems.invalid(&fields.at("manager"), manager, "the field manager is listed twice");
            }
            modes.extend(mode.map(|mode| (manager.to_owned(), mode)));
        }
        fields.report_unknown(problems);
    }
    modes
}

/// A cluster-scoped kind.
fn cluster_kind(
    kinds: &mut Fields<'_>,
    name: &'static str,
    problems: &mut ProblemList,
) -> Option<Arc<ResourceKind>> {
    let fields = kinds.object(name, problems);
    if !fields.exists() {
        return None;
    }
    let path = fields.at("namespaced");
    let kind = resource_kind(fields, problems)?;
    if kind.namespaced {
        problems.invalid(
            &path,
            "true",
            "must be a cluster-scoped kind, because the reference has no namespace",
        );
    }
    Some(Arc::new(kind))
}

/// A namespaced kind, whether it says so or not.
fn namespaced_kind(
    kinds: &mut Fields<'_>,
    name: &'static str,
    problems: &mut ProblemList,
) -> Option<Arc<ResourceKind>> {
    let mut fields = kinds.object(name, problems);
    if !fields.exists() {
        return None;
    }
    if fields.value("namespaced") == Some(&Value::Bool(false)) {
        let text = "must be a namespaced kind, because the reference has a namespace";
        problems.invalid(&fields.at("namespaced"), "false", text);
    }
    let kind = resource_kind(fields, problems)?;
    Some(Arc::new(ResourceKind { namespaced: true, ..kind }))
}

fn resource_kind(mut fields: Fields<'_>, problems: &mut ProblemList) -> Option<ResourceKind> {
    let group = fields.string("group", problems).unwrap_or_default();
    if !group.is_empty() && !is_subdomain(group) {
        problems.invalid(
            &fields.at("group"),
            group,
            "must be an API group such as iam.example.com, or empty",
        );
    }
    // These are part of an API path.
    let version = fields.required_string("version", problems);
    let plural = fields.required_string("plural", problems);
    for (name, text) in [("version", version), ("plural", plural)] {
        if let Some(text) = text.filter(|text| !is_label(text)) {
            problems.invalid(&fields.at(name), text, "must consist of lower-case letters, digits and \"-\"");
        }
    }
    let kind = fields.required_string("kind", problems);
    if let Some(kind) = kind.filter(|kind| !is_label(&kind.to_ascii_lowercase())) {
        problems.invalid(&fields.at("kind"), kind, "must be a kind such as Contact");
    }
    let namespaced = fields.flag("namespaced", problems).unwrap_or_default();
    fields.report_unknown(problems);
    Some(ResourceKind {
        group: group.to_owned(),
        version: version?.to_owned(),
        kind: kind?.to_owned(),
        plural: plural?.to_owned(),
        namespaced,
    })
}

fn exemptions(spec: &mut Fields<'_>, policy: &mut Policy, problems: &mut ProblemList) {
    for (path, entry) in spec.list_of("exemptions", LONGEST_LIST, problems).unwrap_or_default() {
        let Some(mut fields) = Fields::entry(&path, entry, problems) else { continue };
        let name = fields.required_string("name", problems);
        let users = owned(fields.strings("users", problems));
        let groups = owned(fields.strings("groups", problems));
        if users.is_empty() && groups.is_empty() {
            problems.required(&path, "list the users or groups that are exempt");
        }
        let ids = fields.strings("rules", problems).unwrap_or_default();
        if ids.is_empty() {
            problems.required(&fields.at("rules"), "list the rules that they are exempt from");
        }
        let rules = ids.into_iter().filter_map(|(path, id)| rule_id(&path, id, problems)).collect();
        let reason = fields.string("reason", problems).map(str::to_owned);
        let expires = fields.time("expires", problems);
        if let Some(name) = name {
            if policy.exemptions.iter().any(|known| known.name == name) {
                problems.invalid(&fields.at("name"), name, "the exemption is listed twice");
            }
            policy.exemptions.push(Exemption {
                name: name.to_owned(),
                users,
                groups,
                rules,
                reason,
                expires,
            });
        }
        fields.report_unknown(problems);
    }
}

fn owned(texts: Option<Vec<(String, &str)>>) -> Vec<String> {
    texts.unwrap_or_default().into_iter().map(|(_, text)| text.to_owned()).collect()
}

/// A rule that looks up a kind can only be enabled if the policy has the kind.
fn needed_kinds(policy: &Policy, problems: &mut ProblemList) {
    let needed = [
        (RuleId::UserExists, "user", policy.references.user.is_none()),
        (RuleId::CreatorExists, "user", policy.references.user.is_none()),
        (RuleId::OrganizationExists, "organization", policy.references.organization.is_none()),
        (RuleId::ContactExists, "contact", policy.references.contact.is_none()),
    ];
    for (rule, kind, missing) in needed {
        // An invalid kind has a problem already.
        let path = format!("spec.references.kinds.{kind}");
        if missing && !problems.has_at(&path) && policy.is_enabled(rule) {
            problems
                .required(&path, &format!("the rule {rule} looks up this kind; set it, or disable the rule"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_are_those_of_the_schema() {
        fn words<T: Copy, const N: usize>(choices: [(&'static str, T); N]) -> [&'static str; N] {
            choices.map(|(word, _)| word)
        }
        assert_eq!(words(ACTIONS), document_kind::ACTIONS);
        assert_eq!(words(NORMALIZATION), document_kind::NORMALIZATION_MODES);
        assert_eq!(words(DRY_RUN), document_kind::DRY_RUN_MODES);
        assert_eq!(words(LOOKUP_ERROR), document_kind::LOOKUP_ERROR_MODES);
        assert_eq!(words(CONSISTENCY), document_kind::CONSISTENCIES);
        assert_eq!(CrmKind::OWN.map(CrmKind::as_str), document_kind::RECORD_KINDS);
    }
}
