//! Reads a document of kind AdmissionPolicyTest, or lists every problem of an invalid one.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crm_check::conformance::Identity;
use crm_check::report::InputError;
use crm_core::api::{self, CrmKind, policy as policy_kind};
use crm_core::existence::Objects;
use crm_core::policy::Policy;
use crm_core::policy::reader::{Fields, ProblemList};
use crm_core::quote::quote;
use crm_core::rules::authenticated;
use crm_manifest::STANDARD_INPUT;
use k8s_openapi::api::authentication::v1::UserInfo;
use serde_json::Value;

use super::expectation::expectation;
use super::place::Placed;
use super::suite::{Case, Operation, Request, Suite};
use crate::policy_source::{self, PolicyFileError};

/// The kind of the documents.
pub(super) const KIND: &str = "AdmissionPolicyTest";
/// The maximum number of cases of one test.
pub(super) const MAX_CASES: usize = 10_000;
/// The user of a request, if the test names none.
pub(super) const SOMEBODY: &str = "somebody";

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
        Some(policy) if problems.0.is_empty() => {
            let existing = Arc::new(Objects::new(&existing));
            Ok(Suite { file: placed.input.name.clone(), name, policy, existing, now, cases })
        }
        _ => Err(problems.0.iter().map(|problem| placed.error(problem)).collect()),
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

/// The objects that exist.
fn existing(spec: &mut Fields<'_>, base: &Path, problems: &mut ProblemList) -> Vec<Value> {
    let mut objects = Vec::new();
    for (at, entry) in spec.list("existing", problems).unwrap_or_default() {
        match entry {
            Value::String(text) => {
                let Some(file) = path(&at, base, text, problems) else { continue };
                match crm_manifest::read_objects(&[file]) {
                    Ok(found) => objects.extend(found),
                    Err(error) => problems.add(&at, format!("Invalid value: {}", InputError::from(error))),
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
    let known = problems.0.len();
    let entries = spec.list("cases", problems).unwrap_or_default();
    if entries.len() > MAX_CASES {
        problems.add(&at, format!("Invalid value: has more than {MAX_CASES} cases; use several files"));
        return Vec::new();
    }
    if spec.exists() && entries.is_empty() && problems.0.len() == known {
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

fn request(case: &mut Fields<'_>, problems: &mut ProblemList) -> Option<Request> {
    let user = user(case, problems);
    let has_operation = case.value("operation").is_some();
    let operation = case.choice("operation", &Operation::ALL, problems);
    let dry_run = case.flag("dryRun", problems).unwrap_or_default();
    let field_manager = case.string("fieldManager", problems).map(str::to_owned);
    // Without a valid operation, nobody knows which objects the request has.
    let operation = operation.or((!has_operation).then_some(Operation::Create));
    let (at, old_at) = (case.at("object"), case.at("oldObject"));
    let (object, old) = (case.value("object"), case.value("oldObject"));
    let operation = operation?;
    let needs_object = operation == Operation::Update || operation == Operation::Create;
    match (operation, object, old) {
        (Operation::Create, _, Some(_)) => {
            problems.add(
                &old_at,
                "Forbidden: only an UPDATE or a DELETE has an old object; set the operation, or remove it"
                    .to_owned(),
            );
        }
        (Operation::Update, _, None) => {
            problems.required(&old_at, "set it to the stored record; an UPDATE changes one");
        }
        (Operation::Delete, None, None) => {
            problems.required(&old_at, "set it to the record that is deleted");
        }
        (Operation::Delete, Some(_), Some(_)) => {
            problems.add(&at, "Forbidden: a DELETE has only an old object; remove it".to_owned());
        }
        _ => {}
    }
    if needs_object && object.is_none() {
        problems.required(&at, "set it to the record that the user writes");
    }
    let kind = object.and_then(|object| record(&at, object, operation, problems));
    let old_kind = old.and_then(|old| record(&old_at, old, Operation::Update, problems));
    if let (Operation::Update, Some(object), Some(old), Some(_), Some(_)) =
        (operation, object, old, kind, old_kind)
    {
        same_identity(&at, object, old, problems);
    }
    let (object, old_object) = match operation {
        Operation::Delete => (None, old.or(object).cloned()),
        _ => (object.cloned(), old.cloned()),
    };
    Some(Request { operation, user, object, old_object, dry_run, field_manager })
}

/// The user of a request, whom the API server has authenticated.
fn user(case: &mut Fields<'_>, problems: &mut ProblemList) -> UserInfo {
    let mut fields = case.object("user", problems);
    let username = match fields.value("name") {
        None => SOMEBODY.to_owned(),
        Some(_) => fields.required_string("name", problems).unwrap_or_default().to_owned(),
    };
    let uid = fields.string("uid", problems).map(str::to_owned);
    let groups = fields.strings("groups", problems).unwrap_or_default();
    let groups = groups.into_iter().map(|(_, group)| group.to_owned()).collect();
    let extra = fields.map_of_strings("extra", problems);
    fields.report_unknown(problems);
    authenticated(UserInfo { username: Some(username), uid, groups: Some(groups), extra })
}

/// The kind of a record that the API server could send. A problem names the field that is wrong.
fn record(at: &str, object: &Value, operation: Operation, problems: &mut ProblemList) -> Option<CrmKind> {
    if !object.is_object() {
        problems.add(at, "Invalid value: must be an object".to_owned());
        return None;
    }
    let field = match Identity::of(object) {
        Identity::Record(kind) => {
            return has_name(at, object, operation, problems).then_some(kind);
        }
        Identity::Misfit(field) => field,
        Identity::Other | Identity::Encrypted | Identity::Hidden => "apiVersion",
    };
    let at = format!("{at}.{field}");
    let kinds = CrmKind::ALL.map(CrmKind::as_str).join(", ");
    let text =
        format!("the webhook sees only records: apiVersion {}/{}, kind {kinds}", api::GROUP, api::VERSION);
    match object[field].as_str() {
        Some(value) => problems.invalid(&at, value, &text),
        None => problems.required(&at, &text),
    }
    None
}

/// Whether a record has a name, or for a create a prefix of one.
fn has_name(at: &str, object: &Value, operation: Operation, problems: &mut ProblemList) -> bool {
    let metadata = &object["metadata"];
    let has = |field: &str| metadata[field].as_str().is_some_and(|name| !name.is_empty());
    let has_name = has("name") || (operation == Operation::Create && has("generateName"));
    if !has_name {
        problems.required(&format!("{at}.metadata.name"), "give the record a name");
    }
    has_name
}

/// An update cannot change the kind or the name of a record.
fn same_identity(at: &str, object: &Value, old: &Value, problems: &mut ProblemList) {
    let name = |object: &Value| object["metadata"]["name"].clone();
    for (field, new, stored) in
        [("kind", object["kind"].clone(), old["kind"].clone()), ("metadata.name", name(object), name(old))]
    {
        if new != stored {
            let text =
                format!("must be that of the old object, {}", quote(stored.as_str().unwrap_or_default()));
            problems.invalid(&format!("{at}.{field}"), new.as_str().unwrap_or_default(), &text);
        }
    }
}
