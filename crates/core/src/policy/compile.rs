//! Compiles an AdmissionPolicy document: all of it holds together, or every problem is named.

use std::collections::HashSet;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};
use serde_json::Value;

use super::creator::{CreatorSource, SourceField};
use super::problem::{Problem, Problems};
use super::reader::{Fields, Notes, unsupported};
use super::settings::{
    Consistency, DryRunMode, Exemption, LabelRule, LookupErrorMode, NormalizationMode, Policy, RuleSetting,
};
use crate::api::names::{is_label, is_label_key, is_subdomain};
use crate::api::{ResourceKind, policy as document_kind};
use crate::catalog::{Action, RuleId};

/// How much memory a compiled expression may take, in bytes. The engine's time is linear in the text whatever the
/// expression, so this bounds the time too.
const PATTERN_BYTES: usize = 1024 * 1024;
/// The longest expression, in characters.
const PATTERN_CHARS: usize = 1024;

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

/// Compiles a document into a policy; what it does not say is as in the built-in one.
///
/// `origin` is what the policy is called in audit annotations, such as `default@3`.
///
/// # Errors
/// Every problem of the document, each with its field. Nothing of a document that has one is used.
pub fn compile(document: &Value, origin: impl Into<String>) -> Result<Policy, Problems> {
    let mut notes = Notes::default();
    let mut policy = Policy { origin: origin.into(), ..Policy::default() };
    if document.is_null() {
        let text = "the document is empty; an AdmissionPolicy is expected".to_owned();
        return Err(Problems(vec![Problem { field: String::new(), text }]));
    }
    let mut top = Fields::of("", Some(document), &mut notes);
    if top.are_given() {
        header(&mut top, &mut notes);
        let mut spec = top.object("spec", &mut notes);
        rules(&mut spec, &mut policy, &mut notes);
        normalization(&mut spec, &mut policy, &mut notes);
        creator(&mut spec, &mut policy, &mut notes);
        labels(&mut spec, &mut policy, &mut notes);
        references(&mut spec, &mut policy, &mut notes);
        exemptions(&mut spec, &mut policy, &mut notes);
        needed_kinds(&policy, &mut notes);
        spec.end(&mut notes);
    }
    top.end(&mut notes);
    if notes.0.is_empty() { Ok(policy) } else { Err(Problems(notes.0)) }
}

fn header(top: &mut Fields<'_>, notes: &mut Notes) {
    let version = format!("{}/{}", document_kind::GROUP, document_kind::VERSION);
    for (field, expected) in [("apiVersion", version.as_str()), ("kind", document_kind::KIND)] {
        match top.required_text(field, notes) {
            Some(found) if found != expected => notes.invalid(field, found, &format!("must be {expected}")),
            _ => {}
        }
    }
    // The API server's business, and in a file only a name.
    top.value("metadata");
    top.value("status");
    if top.value("spec").is_none() {
        notes.required("spec", "an empty one, {}, is the built-in policy");
    }
}

fn rules(spec: &mut Fields<'_>, policy: &mut Policy, notes: &mut Notes) {
    let mut seen = HashSet::new();
    for (path, entry) in spec.list("rules", notes).unwrap_or_default() {
        let Some(mut fields) = Fields::entry(&path, entry, notes) else { continue };
        let rule = fields.required_text("rule", notes).and_then(|id| rule_id(&fields.at("rule"), id, notes));
        let wanted = fields.choice("action", &ACTIONS, notes);
        let enforce_after = fields.time("enforceAfter", notes);
        if let Some(rule) = rule {
            let action = wanted.unwrap_or(rule.rule().default_action);
            policy.set_rule(rule, RuleSetting { action, enforce_after });
        }
        if let Some(rule) = rule.filter(|rule| !seen.insert(*rule)) {
            notes.invalid(&fields.at("rule"), rule.as_str(), "the rule is listed twice");
        }
        fields.end(notes);
    }
}

fn rule_id(path: &str, id: &str, notes: &mut Notes) -> Option<RuleId> {
    let rule = id.parse().ok();
    if rule.is_none() {
        notes.note(path, unsupported(id, &RuleId::ALL.map(RuleId::as_str)));
    }
    rule
}

fn normalization(spec: &mut Fields<'_>, policy: &mut Policy, notes: &mut Notes) {
    let mut fields = spec.object("normalization", notes);
    if let Some(mode) = fields.choice("domains", &NORMALIZATION, notes) {
        policy.normalization.domains = mode;
    }
    if let Some(mode) = fields.choice("linkedinProfile", &NORMALIZATION, notes) {
        policy.normalization.linkedin_profile = mode;
    }
    fields.end(notes);
}

fn creator(spec: &mut Fields<'_>, policy: &mut Policy, notes: &mut Notes) {
    let mut fields = spec.object("creator", notes);
    if let Some(entries) = fields.list("sources", notes) {
        let source = |(path, entry): (String, &Value)| creator_source(&path, entry, notes);
        policy.creator_sources = entries.into_iter().filter_map(source).collect();
    }
    fields.end(notes);
}

fn creator_source(path: &str, entry: &Value, notes: &mut Notes) -> Option<CreatorSource> {
    let mut fields = Fields::entry(path, entry, notes)?;
    let field = source_field(&mut fields, notes);
    let strip_prefix = fields.text("stripPrefix", notes).map(str::to_owned);
    let pattern_at = fields.at("pattern");
    let pattern = fields.text("pattern", notes).and_then(|text| pattern(&pattern_at, text, notes));
    fields.end(notes);
    Some(CreatorSource { from: field?, strip_prefix, pattern })
}

fn source_field(fields: &mut Fields<'_>, notes: &mut Notes) -> Option<SourceField> {
    let from = fields.choice("from", &[("Username", 0), ("UID", 1), ("Extra", 2)], notes);
    if fields.value("from").is_none() {
        notes.required(&fields.at("from"), "one of Username, UID, Extra");
    }
    let key = fields.text("key", notes).filter(|key| !key.is_empty());
    match (from?, key) {
        (2, Some(key)) => Some(SourceField::Extra(key.to_owned())),
        (2, None) => {
            notes.required(&fields.at("key"), "the key of the extra field whose value is taken");
            None
        }
        (_, Some(_)) => {
            notes.note(&fields.at("key"), "Forbidden: only the source Extra has a key".to_owned());
            None
        }
        (0, None) => Some(SourceField::Username),
        (_, None) => Some(SourceField::Uid),
    }
}

fn pattern(path: &str, text: &str, notes: &mut Notes) -> Option<Regex> {
    if text.chars().count() > PATTERN_CHARS {
        notes.note(path, format!("Invalid value: longer than {PATTERN_CHARS} characters"));
        return None;
    }
    let compiled = RegexBuilder::new(text).size_limit(PATTERN_BYTES).dfa_size_limit(PATTERN_BYTES).build();
    match compiled {
        Ok(regex) if regex.capture_names().flatten().any(|name| name == "name") => Some(regex),
        Ok(_) => {
            notes.invalid(path, text, "must have a group \"name\", as in ^(?<name>[^@]+)@corp\\.example$");
            None
        }
        Err(regex::Error::CompiledTooBig(_)) => {
            notes.invalid(path, text, "takes too much memory; make repetitions smaller");
            None
        }
        Err(error) => {
            // The library draws the error over several lines, the last of which says what is wrong.
            let drawn = error.to_string();
            let reason = drawn.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            notes.invalid(path, text, &format!("not a regular expression: {reason}"));
            None
        }
    }
}

fn labels(spec: &mut Fields<'_>, policy: &mut Policy, notes: &mut Notes) {
    let Some(entries) = spec.list("labels", notes) else { return };
    policy.labels.clear();
    for (path, entry) in entries {
        let Some(mut fields) = Fields::entry(&path, entry, notes) else { continue };
        let key = fields.required_text("key", notes);
        let allowed = fields.texts("allowed", notes).unwrap_or_default();
        let allowed: Vec<String> = allowed.into_iter().map(|(_, value)| value.to_owned()).collect();
        if allowed.is_empty() {
            notes.required(&fields.at("allowed"), "list at least one value");
        }
        let required = fields.flag("required", notes).unwrap_or_default();
        if let Some(key) = key {
            let listed = policy.labels.iter().any(|label| label.key == key);
            if listed {
                notes.invalid(&fields.at("key"), key, "the label is listed twice");
            } else if !is_label_key(key) {
                notes.invalid(&fields.at("key"), key, "must be a label key such as crm.milo.io/source");
            }
            policy.labels.push(LabelRule { key: key.to_owned(), allowed, required });
        }
        fields.end(notes);
    }
}

fn references(spec: &mut Fields<'_>, policy: &mut Policy, notes: &mut Notes) {
    let mut fields = spec.object("references", notes);
    let settings = &mut policy.references;
    if let Some(mode) = fields.choice("onDryRun", &DRY_RUN, notes) {
        settings.on_dry_run = mode;
    }
    if let Some(entries) = fields.list("onDryRunByFieldManager", notes) {
        settings.on_dry_run_by_field_manager = dry_run_by_manager(entries, notes);
    }
    if let Some(mode) = fields.choice("onLookupError", &LOOKUP_ERROR, notes) {
        settings.on_lookup_error = mode;
    }
    if let Some(mode) = fields.choice("consistency", &CONSISTENCY, notes) {
        settings.consistency = mode;
    }
    let mut kinds = fields.object("kinds", notes);
    settings.user = cluster_kind(&mut kinds, "user", notes);
    settings.organization = cluster_kind(&mut kinds, "organization", notes);
    kinds.end(notes);
    for (path, entry) in fields.list("subjects", notes).unwrap_or_default() {
        let Some(fields) = Fields::entry(&path, entry, notes) else { continue };
        let Some(kind) = resource_kind(fields, notes) else { continue };
        let known =
            settings.subjects.iter().any(|known| known.group == kind.group && known.kind == kind.kind);
        if known {
            notes.invalid(&path, &kind.to_string(), "notes may be about this kind already");
        } else {
            settings.subjects.push(Arc::new(kind));
        }
    }
    fields.end(notes);
}

fn dry_run_by_manager(entries: Vec<(String, &Value)>, notes: &mut Notes) -> Vec<(String, DryRunMode)> {
    let mut modes: Vec<(String, DryRunMode)> = Vec::new();
    for (path, entry) in entries {
        let Some(mut fields) = Fields::entry(&path, entry, notes) else { continue };
        let manager = fields.required_text("manager", notes);
        let mode = fields.choice("mode", &DRY_RUN, notes);
        if fields.value("mode").is_none() {
            notes.required(&fields.at("mode"), "one of Enforce, Warn, Skip");
        }
        if let Some(manager) = manager {
            if modes.iter().any(|(known, _)| known == manager) {
                notes.invalid(&fields.at("manager"), manager, "the field manager is listed twice");
            }
            modes.extend(mode.map(|mode| (manager.to_owned(), mode)));
        }
        fields.end(notes);
    }
    modes
}

/// A kind whose objects are named without a namespace.
fn cluster_kind(kinds: &mut Fields<'_>, name: &'static str, notes: &mut Notes) -> Option<Arc<ResourceKind>> {
    let fields = kinds.object(name, notes);
    if !fields.are_given() {
        return None;
    }
    let path = fields.at("namespaced");
    let kind = resource_kind(fields, notes)?;
    if kind.namespaced {
        notes.invalid(&path, "true", "must be a cluster-scoped kind: the reference has a name only");
    }
    Some(Arc::new(kind))
}

fn resource_kind(mut fields: Fields<'_>, notes: &mut Notes) -> Option<ResourceKind> {
    let group = fields.text("group", notes).unwrap_or_default();
    if !group.is_empty() && !is_subdomain(group) {
        notes.invalid(&fields.at("group"), group, "must be an API group such as iam.example.com, or empty");
    }
    // All of these become part of an API path.
    let version = fields.required_text("version", notes);
    let plural = fields.required_text("plural", notes);
    for (name, text) in [("version", version), ("plural", plural)] {
        if let Some(text) = text.filter(|text| !is_label(text)) {
            notes.invalid(&fields.at(name), text, "must be lower-case letters, digits and \"-\"");
        }
    }
    let kind = fields.required_text("kind", notes);
    if let Some(kind) = kind.filter(|kind| !is_label(&kind.to_ascii_lowercase())) {
        notes.invalid(&fields.at("kind"), kind, "must be a kind such as Contact");
    }
    let namespaced = fields.flag("namespaced", notes).unwrap_or_default();
    fields.end(notes);
    Some(ResourceKind {
        group: group.to_owned(),
        version: version?.to_owned(),
        kind: kind?.to_owned(),
        plural: plural?.to_owned(),
        namespaced,
    })
}

fn exemptions(spec: &mut Fields<'_>, policy: &mut Policy, notes: &mut Notes) {
    for (path, entry) in spec.list("exemptions", notes).unwrap_or_default() {
        let Some(mut fields) = Fields::entry(&path, entry, notes) else { continue };
        let name = fields.required_text("name", notes);
        let users = owned(fields.texts("users", notes));
        let groups = owned(fields.texts("groups", notes));
        if users.is_empty() && groups.is_empty() {
            notes.required(&path, "name users or groups that are exempt");
        }
        let ids = fields.texts("rules", notes).unwrap_or_default();
        if ids.is_empty() {
            notes.required(&fields.at("rules"), "list the rules that they are exempt from");
        }
        let rules = ids.into_iter().filter_map(|(path, id)| rule_id(&path, id, notes)).collect();
        let reason = fields.text("reason", notes).map(str::to_owned);
        let expires = fields.time("expires", notes);
        if let Some(name) = name {
            if policy.exemptions.iter().any(|known| known.name == name) {
                notes.invalid(&fields.at("name"), name, "the exemption is listed twice");
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
        fields.end(notes);
    }
}

fn owned(texts: Option<Vec<(String, &str)>>) -> Vec<String> {
    texts.unwrap_or_default().into_iter().map(|(_, text)| text.to_owned()).collect()
}

/// A rule that looks up a kind can only be enabled where the kind is given.
fn needed_kinds(policy: &Policy, notes: &mut Notes) {
    let needed = [
        (RuleId::UserExists, "user", policy.references.user.is_none()),
        (RuleId::CreatorExists, "user", policy.references.user.is_none()),
        (RuleId::OrganizationExists, "organization", policy.references.organization.is_none()),
    ];
    for (rule, kind, absent) in needed {
        // One that is given and wrong has a problem of its own.
        let path = format!("spec.references.kinds.{kind}");
        let reported = notes.0.iter().any(|problem| problem.field.starts_with(&path));
        if absent && !reported && policy.is_enabled(rule) {
            notes.required(
                &path,
                &format!("the rule {rule} looks this kind up; give it, or disable the rule"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_the_schema() {
        fn words<T: Copy, const N: usize>(choices: [(&'static str, T); N]) -> [&'static str; N] {
            choices.map(|(word, _)| word)
        }
        assert_eq!(words(ACTIONS), document_kind::ACTIONS);
        assert_eq!(words(NORMALIZATION), document_kind::NORMALIZATION_MODES);
        assert_eq!(words(DRY_RUN), document_kind::DRY_RUN_MODES);
        assert_eq!(words(LOOKUP_ERROR), document_kind::LOOKUP_ERROR_MODES);
        assert_eq!(words(CONSISTENCY), document_kind::CONSISTENCIES);
    }
}
