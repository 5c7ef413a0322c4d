//! Reads the request of a case, and checks that an API server could send it.

use crm_check::conformance::Identity;
use crm_core::api::{self, CrmKind};
use crm_core::policy::reader::{Fields, ProblemList};
use crm_core::quote::quote;
use crm_core::rules::authenticated;
use k8s_openapi::api::authentication::v1::UserInfo;
use serde_json::Value;

use super::suite::{Operation, Request};

/// The user of a request, if the test names none.
pub(super) const SOMEBODY: &str = "somebody";

/// The request of a case; `None` if its operation is unknown.
pub(super) fn request(case: &mut Fields<'_>, problems: &mut ProblemList) -> Option<Request> {
    let user = user(case, problems);
    let has_operation = case.value("operation").is_some();
    let operation = case.choice("operation", &Operation::ALL, problems);
    let dry_run = case.flag("dryRun", problems).unwrap_or_default();
    let field_manager = case.string("fieldManager", problems).map(str::to_owned);
    let (at, old_at) = (case.at("object"), case.at("oldObject"));
    let (object, old) = (case.value("object"), case.value("oldObject"));
    // Without a valid operation, nobody knows which objects the request has.
    let operation = operation.or((!has_operation).then_some(Operation::Create))?;
    has_its_objects(operation, (&at, object), (&old_at, old), problems);
    let kind = object.and_then(|object| record(&at, object, operation, problems));
    let old_kind = old.and_then(|old| record(&old_at, old, Operation::Update, problems));
    if let (Operation::Update, Some(_), Some(_)) = (operation, kind, old_kind) {
        same_identity(&at, object.unwrap_or(&Value::Null), old.unwrap_or(&Value::Null), problems);
    }
    let (object, old_object) = match operation {
        Operation::Delete => (None, old.or(object).cloned()),
        Operation::Create | Operation::Update => (object.cloned(), old.cloned()),
    };
    Some(Request { operation, user, object, old_object, dry_run, field_manager })
}

/// Reports the objects that a request with this operation lacks or cannot have. Each has its path.
fn has_its_objects(
    operation: Operation,
    (at, object): (&str, Option<&Value>),
    (old_at, old): (&str, Option<&Value>),
    problems: &mut ProblemList,
) {
    match (operation, object, old) {
        (Operation::Create, _, Some(_)) => {
            let text = "only an UPDATE or a DELETE has an old object; set the operation, or remove it";
            problems.add(old_at, format!("Forbidden: {text}"));
        }
        (Operation::Update, _, None) => {
            problems.required(old_at, "set it to the stored record; an UPDATE changes one");
        }
        (Operation::Delete, None, None) => problems.required(old_at, "set it to the record that is deleted"),
        (Operation::Delete, Some(_), Some(_)) => {
            problems.add(at, "Forbidden: a DELETE has only an old object; remove it".to_owned());
        }
        _ => {}
    }
    if operation != Operation::Delete && object.is_none() {
        problems.required(at, "set it to the record that the user writes");
    }
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
    let kinds = CrmKind::OWN.map(CrmKind::as_str).join(", ");
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
