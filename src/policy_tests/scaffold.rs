//! Writes a first test of a policy from records: what the webhook does with them today is what it expects.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, bail};
use crm_check::conformance::Identity;
use crm_core::existence::Objects;
use crm_core::policy::Policy;
use crm_core::quote::quote;
use crm_core::rules::authenticated;
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::UserInfo;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::decide::{Decision, decide};
use super::document::{KIND, api_version};
use super::run::pipeline;
use super::suite::{ExpectedFinding, Operation, Request, Suite};

/// The user in the cases.
const USER: &str = "alice";
/// What the API server adds to the metadata of a stored record.
const OF_SERVER: [&str; 6] =
    ["creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid"];
/// The fields by which people know an object.
const FIRST: [&str; 5] = ["apiVersion", "kind", "name", "generateName", "displayName"];
/// What comes before the cases.
const HEAD: &str = r#"# A test of a policy. To run it: crm-admission policy test FILE
apiVersion: API_VERSION
kind: KIND
metadata:
  name: my-policy
spec:
  # The path of the policy, relative to this file. Without it, the built-in policy is tested.
  # policy: policy.yaml
  # The time of all requests. It matters for nextActionTime, enforceAfter and expires.
  now: "NOW"
"#;

/// A test with a case for each record among the objects. All objects exist. Without a policy, the built-in one is tested.
///
/// # Errors
/// There is no record, or one that the API server could not send.
pub async fn scaffold(objects: &[Value], now: Timestamp) -> anyhow::Result<String> {
    let now = Timestamp::from_second(now.as_second()).context("the time cannot be written")?;
    let suite = Suite {
        file: String::new(),
        name: String::new(),
        policy: Policy::default(),
        existing: Arc::new(Objects::new(objects)),
        now: Some(now),
        cases: Vec::new(),
    };
    let pipeline = pipeline(&suite, now);
    let mut names = BTreeMap::new();
    let mut cases = String::new();
    for object in objects {
        if let Identity::Misfit(field) = Identity::of(object) {
            bail!(
                "{field} {}: no record has it; correct it",
                quote(object[field].as_str().unwrap_or_default())
            );
        }
        if Identity::of(object).kind().is_none() {
            continue;
        }
        if object["metadata"]["name"].as_str().is_none_or(str::is_empty) {
            bail!("metadata.name: Required value: give the record a name");
        }
        let request = request(object);
        let decision = decide(&pipeline, &request).await.with_context(|| name(object))?;
        let times: &mut usize = names.entry(name(object)).or_default();
        *times += 1;
        let number = if *times == 1 { String::new() } else { format!(" ({times})") };
        let name = format!("{}{number}", name(object));
        let notes = if cases.is_empty() { Notes::Shown } else { Notes::LeftOut };
        cases += &case(&name, request.record(), &decision, notes);
    }
    if cases.is_empty() {
        bail!("there is no Company, Person or Note; a test needs a record");
    }
    let head =
        HEAD.replace("API_VERSION", &api_version()).replace("KIND", KIND).replace("NOW", &now.to_string());
    Ok(format!("{head}{}  cases:\n{cases}", existing(objects)))
}

/// Such as `Company acme-corp is created`.
fn name(object: &Value) -> String {
    let metadata = &object["metadata"];
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let name = text(&metadata["name"]).or_else(|| text(&metadata["generateName"])).unwrap_or_default();
    format!("{} {name} is created", text(&object["kind"]).unwrap_or_default())
}

/// The request to create a record.
fn request(object: &Value) -> Request {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.retain(|key, _| !OF_SERVER.contains(&key.as_str()));
    }
    Request {
        operation: Operation::Create,
        user: authenticated(UserInfo { username: Some(USER.to_owned()), ..UserInfo::default() }),
        object: Some(object),
        old_object: None,
        dry_run: false,
        field_manager: None,
    }
}

/// The objects that exist, each on a line.
fn existing(objects: &[Value]) -> String {
    let mut text =
        "  # What exists: objects, and paths of files with objects, relative to this file.\n".to_owned();
    let mut lines: Vec<String> = Vec::new();
    for object in objects {
        let field = |value: &Value| value.as_str().map(|text| Value::from(text).to_string());
        let metadata = &object["metadata"];
        let (Some(version), Some(kind), Some(name)) =
            (field(&object["apiVersion"]), field(&object["kind"]), field(&metadata["name"]))
        else {
            continue;
        };
        let namespace = field(&metadata["namespace"]).map(|namespace| format!(", namespace: {namespace}"));
        let name = format!("{name}{}", namespace.unwrap_or_default());
        let line = format!("  - {{apiVersion: {version}, kind: {kind}, metadata: {{name: {name}}}}}\n");
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    text += if lines.is_empty() { "  existing: []\n" } else { "  existing:\n" };
    text + &lines.concat()
}

/// Whether a case explains its fields. The first one does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Notes {
    Shown,
    LeftOut,
}

impl Notes {
    /// A comment on a line of its own.
    fn line(self, indent: usize, comment: &str) -> String {
        match self {
            Self::Shown => format!("{:indent$}# {comment}\n", ""),
            Self::LeftOut => String::new(),
        }
    }
}

fn case(name: &str, object: &Value, decision: &Decision, notes: Notes) -> String {
    let mut text = format!("  - name: {}\n", Value::from(name));
    text += &notes.line(4, "The user who sends the request. Also: uid, groups, extra.");
    text += &format!("    user: {{name: {USER}}}\n");
    text += &notes.line(4, "CREATE, UPDATE (with oldObject, too) or DELETE (with oldObject only).");
    text += "    operation: CREATE\n";
    text += &format!("    object:\n{}", indented(&block(object), 6));
    text += &notes.line(4, "What is expected. What is not named here is not compared.");
    text += &format!("    expect:\n      allowed: {}\n", decision.allowed);
    text += &findings(decision, notes);
    if decision.allowed {
        text += &changes(decision, notes);
    }
    text
}

/// An object as YAML. If kubectl would read that differently, as JSON, which is YAML, too.
fn block(object: &Value) -> String {
    let yaml = serde_saphyr::to_string(&NamesFirst(object)).ok().filter(|yaml| {
        let read = crm_manifest::documents(&format!("object:\n{}", indented(yaml, 2)));
        read.is_ok_and(
            |documents| matches!(documents.as_slice(), [(_, document)] if document["object"] == *object),
        )
    });
    yaml.unwrap_or_else(|| crm_check::report::pretty(object))
}

/// A value whose maps begin with the fields by which people know an object.
struct NamesFirst<'v>(&'v Value);

impl Serialize for NamesFirst<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(fields) => {
                let place = |key: &str| FIRST.iter().position(|first| *first == key).unwrap_or(FIRST.len());
                let mut fields: Vec<(&String, NamesFirst<'_>)> =
                    fields.iter().map(|(key, value)| (key, NamesFirst(value))).collect();
                fields.sort_by_key(|(key, _)| place(key));
                serializer.collect_map(fields)
            }
            Value::Array(entries) => serializer.collect_seq(entries.iter().map(NamesFirst)),
            scalar => scalar.serialize(serializer),
        }
    }
}

fn indented(text: &str, width: usize) -> String {
    let line = |line: &str| if line.is_empty() { "\n".to_owned() } else { format!("{:width$}{line}\n", "") };
    text.lines().map(line).collect()
}

fn findings(decision: &Decision, notes: Notes) -> String {
    let mut text =
        notes.line(6, "All findings. The rule is enough: a code, the action and the field are optional.");
    if decision.findings.is_empty() {
        return text + "      findings: []\n";
    }
    text += "      findings:\n";
    for finding in &decision.findings {
        text += &format!("      - {}\n", ExpectedFinding::of(finding));
    }
    text
}

fn changes(decision: &Decision, notes: Notes) -> String {
    let mut text =
        notes.line(6, "The fields that the webhook changes, with their new values; null for a removed one.");
    if decision.changes.is_empty() {
        return text + "      changes: {}\n";
    }
    text += "      changes:\n";
    for change in &decision.changes {
        let after = change.after.as_deref().map_or(Value::Null, Value::from);
        text += &format!("        {}: {after}\n", change.field);
    }
    text
}
