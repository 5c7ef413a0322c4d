//! Reads a document of kind AdmissionPolicyTest, or lists every problem of an invalid one.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crm_check::check::Bundle;
use crm_check::report::InputError;
use crm_core::api::policy as policy_kind;
use crm_core::existence::Objects;
use crm_core::policy::Policy;
use crm_core::policy::reader::{Fields, ProblemList};
use crm_manifest::STANDARD_INPUT;
use serde_json::Value;

use super::expectation::expectation;
use super::place::Placed;
use super::request::request;
use super::suite::{Case, Suite};
use crate::policy_source::{self, PolicyFileError};

/// The kind of the documents.
pub(super) const KIND: &str = "AdmissionPolicyTest";
/// The maximum number of cases of one test.
pub(super) const MAX_CASES: usize = 10_000;

/// The `apiVersion` of the documents.
pub(super) fn api_version() -> String {
    format!("{}/{}", policy_kind::GROUP, policy_kind::VERSION)
}

/// Reads a test, with its policy and the files that it names.
///
/// # Errors
/// All problems, each with its place.
pub(super) fn read(placed: &Placed<'_>) -> Result<Suite, Vec<InputError>> {
    let mut problems = ProblemList::default();
    let value = &placed.object.value;
    let mut top = Fields::of("", Some(value), &mut problems);
    top.value("apiVersion");
    top.value("kind");
    let name = name(&mut top, &mut problems);
    let mut spec = top.object("spec", &mut problems);
    if top.value("spec").is_none() {
        problems.required("spec", "set it to the cases of the test");
    }
    let base = placed.input.path.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
    let policy = policy(&mut spec, base, &mut problems);
    let existing = existing(&mut spec, base, &mut problems);
    let now = spec.time("now", &mut problems);
    let cases = cases(&mut spec, placed, &mut problems);
    spec.report_unknown(&mut problems);
    top.report_unknown(&mut problems);
    match policy {
        Some(policy) if problems.is_empty() => {
            let existing = Arc::new(Objects::new(&existing));
            Ok(Suite { file: placed.input.name.clone(), name, policy, existing, now, cases })
        }
        _ => Err(problems.into_problems().0.iter().map(|problem| placed.error(problem)).collect()),
    }
}

/// The name of the test; empty if it has none. Labels and annotations are for people and other programs.
fn name(top: &mut Fields<'_>, problems: &mut ProblemList) -> String {
    let mut metadata = top.object("metadata", problems);
    let name = metadata.string("name", problems).unwrap_or_default().to_owned();
    metadata.value("labels");
    metadata.value("annotations");
    metadata.report_unknown(problems);
    name
}

/// The path of another file, relative to the directory of the test.
fn path(at: &str, base: &Path, text: &str, problems: &mut ProblemList) -> Option<PathBuf> {
    if text.is_empty() || text == STANDARD_INPUT {
        problems.invalid(at, text, "must be a path, relative to the directory of this file");
        return None;
    }
    Some(base.join(text))
}

/// The policy of the test. All problems of an invalid one are reported.
fn policy(spec: &mut Fields<'_>, base: &Path, problems: &mut ProblemList) -> Option<Policy> {
    let at = spec.at("policy");
    if spec.value("policy").is_none() {
        return Some(Policy::default());
    }
    let file = path(&at, base, spec.string("policy", problems)?, problems)?;
    match policy_source::read(&file) {
        Ok(policy) => return Some(policy),
        Err(PolicyFileError::Unreadable(error)) => {
            problems.add(&at, format!("Invalid value: {}", InputError::from(error)));
        }
        Err(PolicyFileError::Invalid { path, problems: found }) => {
            for problem in &found.0 {
                problems.add(&at, format!("Invalid value: {}: {problem}", path.display()));
            }
        }
    }
    None
}

/// The uid of an object that has none in its file.
const UID: &str = "00000000-0000-0000-0000-000000000000";

/// The objects that exist.
fn existing(spec: &mut Fields<'_>, base: &Path, problems: &mut ProblemList) -> Vec<Value> {
    let mut objects = Vec::new();
    for (at, entry) in spec.list("existing", problems).unwrap_or_default() {
        match entry {
            Value::String(text) => {
                let Some(file) = path(&at, base, text, problems) else { continue };
                match Bundle::existing(&[file]) {
                    Ok(found) => objects.extend(found),
                    Err(error) => problems.add(&at, format!("Invalid value: {error}")),
                }
            }
            Value::Object(_) => {
                if let Some(field) = missing_identity(entry) {
                    problems.required(&format!("{at}.{field}"), "an object that exists has it");
                }
                objects.push(entry.clone());
            }
            _ => problems.add(&at, "Invalid value: must be a path or an object".to_owned()),
        }
    }
    // The uid of an object that exists becomes that of an owner.
    for object in &mut objects {
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.entry("uid").or_insert_with(|| Value::from(UID));
        }
    }
    objects
}

/// The first field that an existing object lacks.
fn missing_identity(object: &Value) -> Option<&'static str> {
    let has = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    let fields = [
        ("apiVersion", &object["apiVersion"]),
        ("kind", &object["kind"]),
        ("metadata.name", &object["metadata"]["name"]),
    ];
    fields.into_iter().find(|(_, value)| !has(value)).map(|(field, _)| field)
}

fn cases(spec: &mut Fields<'_>, placed: &Placed<'_>, problems: &mut ProblemList) -> Vec<Case> {
    let at = spec.at("cases");
    let known = problems.len();
    let entries = spec.list("cases", problems).unwrap_or_default();
    if entries.len() > MAX_CASES {
        problems.add(&at, format!("Invalid value: has more than {MAX_CASES} cases; use several files"));
        return Vec::new();
    }
    if spec.exists() && entries.is_empty() && problems.len() == known {
        problems.required(&at, "list at least one case");
    }
    let mut names = HashSet::new();
    let mut cases = Vec::new();
    for (at, entry) in entries {
        let Some(mut fields) = Fields::entry(&at, entry, problems) else { continue };
        let name = fields.required_string("name", problems);
        if let Some(name) = name.filter(|name| !names.insert(*name)) {
            problems.invalid(&fields.at("name"), name, "another case has this name; give each its own");
        }
        let request = request(&mut fields, problems);
        let expect = expectation(&mut fields, problems);
        fields.report_unknown(problems);
        if let (Some(name), Some(request), Some(expect)) = (name, request, expect) {
            let position = placed.position(&at);
            cases.push(Case { name: name.to_owned(), position, request, expect });
        }
    }
    cases
}
