//! Tests audits against a simulated API server with prepared answers.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use crm_check::conformance::Subject;
use crm_core::api::{CrmKind, Target};
use crm_core::catalog::{Action, RuleId};
use crm_core::comparison::Difference;
use crm_core::existence::{Fact, Objects};
use crm_core::policy::{Policy, RuleSetting};
use http::{Request, Response};
use http_body_util::BodyExt;
use jiff::Timestamp;
use kube::Client;
use kube::client::Body;
use rstest::rstest;
use serde_json::{Value, json};

use super::fix::{Fixed, Fixer};
use super::*;
use crate::cluster::Reader;
use crate::directory::{Listed, LookUp};

/// The requests: `PATCH /apis/…`, and the body.
type Asked = Arc<Mutex<Vec<(String, Value)>>>;

/// A reader of an API server that returns these answers, in this order.
fn scripted(answers: impl IntoIterator<Item = (u16, Value)>) -> (Reader, Asked) {
    let asked = Asked::default();
    let answers = Arc::new(Mutex::new(answers.into_iter().collect::<VecDeque<_>>()));
    let seen = Arc::clone(&asked);
    let service = tower::service_fn(move |request: Request<Body>| {
        let (answers, seen) = (Arc::clone(&answers), Arc::clone(&seen));
        async move {
            let line = format!("{} {}", request.method(), request.uri());
            let body = request.into_body().collect().await.unwrap().to_bytes();
            seen.lock().unwrap().push((line.clone(), serde_json::from_slice(&body).unwrap_or_default()));
            let answer = answers.lock().unwrap().pop_front();
            let (status, body) = answer.unwrap_or_else(|| panic!("unexpected request: {line}"));
            let response = Response::builder().status(status).body(Body::from(body.to_string().into_bytes()));
            Ok::<_, Infallible>(response.unwrap())
        }
    });
    (Reader::new(Client::new(service, "default")), asked)
}

fn denial(code: u16, message: &str) -> (u16, Value) {
    let status =
        json!({"kind": "Status", "status": "Failure", "code": code, "message": message, "reason": ""});
    (code, status)
}

fn acme(version: &str, domain: &str) -> Value {
    json!({
        "apiVersion": "crm.milo.io/v1alpha1", "kind": "Company",
        "metadata": {"name": "acme", "resourceVersion": version},
        "spec": {"displayName": "Acme", "domains": [domain], "creatorRef": {"name": "zoe"}},
    })
}

fn examiner(policy: Policy, in_force: Option<Policy>, scope: Scope) -> Examiner {
    Examiner::new(policy, in_force, scope, Timestamp::now()).unwrap()
}

async fn fixed(
    object: Value,
    answers: impl IntoIterator<Item = (u16, Value)>,
) -> (Fixed, Vec<(String, Value)>) {
    let (reader, asked) = scripted(answers);
    let examiner = examiner(Policy::default(), None, Scope::All);
    let fixed = Fixer::new(reader, &examiner).fix(CrmKind::Company, object).await.unwrap();
    let asked = asked.lock().unwrap().clone();
    (fixed, asked)
}

#[tokio::test]
async fn a_record_is_patched_only_if_it_is_unchanged() {
    let (fixed, asked) = self::fixed(acme("7", "Acme.com"), [(200, acme("8", "acme.com"))]).await;
    assert!(matches!(fixed, Fixed::Stored { values: 1, .. }), "{fixed:?}");
    let [(call, patch)] = asked.as_slice() else { panic!("{asked:?}") };
    assert!(call.starts_with("PATCH /apis/crm.milo.io/v1alpha1/companies/acme?"), "{call}");
    assert!(call.contains("fieldManager=crm-admission-audit"), "{call}");
    assert_eq!(
        *patch,
        json!([
            {"op": "test", "path": "/metadata/resourceVersion", "value": "7"},
            {"op": "replace", "path": "/spec/domains/0", "value": "acme.com"},
        ])
    );
}

/// The API server returns 409 if it notices the conflict itself, and 422 if the condition of the patch fails.
#[rstest]
#[case(409)]
#[case(422)]
#[tokio::test]
async fn a_record_that_was_changed_meanwhile_is_read_and_checked_again(#[case] code: u16) {
    let fresh = acme("8", "ACME.org");
    let answers = [denial(code, "conflict"), (200, fresh), (200, acme("9", "acme.org"))];
    let (fixed, asked) = fixed(acme("7", "Acme.com"), answers).await;
    assert!(matches!(fixed, Fixed::Stored { values: 1, .. }), "{fixed:?}");
    let (_, last) = asked.last().unwrap();
    assert_eq!(last[0]["value"], "8");
    assert_eq!(last[1], json!({"op": "replace", "path": "/spec/domains/0", "value": "acme.org"}));
}

#[tokio::test]
async fn a_value_that_somebody_else_fixed_meanwhile_is_not_changed() {
    let theirs = acme("8", "theirs.example");
    let (fixed, asked) = fixed(acme("7", "Acme.com"), [denial(409, "conflict"), (200, theirs.clone())]).await;
    let Fixed::Stored { object, values: 0 } = fixed else { panic!("{fixed:?}") };
    assert_eq!(object["spec"], theirs["spec"]);
    assert_eq!(asked.iter().filter(|(call, _)| call.starts_with("PATCH")).count(), 1);
}

#[tokio::test]
async fn a_denied_record_is_reported_with_the_reason() {
    let same = acme("7", "Acme.com");
    let (fixed, _) = fixed(same.clone(), [denial(422, "creatorRef: Required"), (200, same)]).await;
    let Fixed::Not(not) = fixed else { panic!("{fixed:?}") };
    assert_eq!((not.name.as_str(), not.reason.as_str()), ("acme", "creatorRef: Required"));
    let (denied, asked) = self::fixed(acme("7", "Acme.com"), [denial(403, "forbidden")]).await;
    assert!(matches!(denied, Fixed::Not(_)) && asked.len() == 1, "{denied:?}");
}

#[tokio::test]
async fn a_deleted_record_is_not_a_failure() {
    let not_found = || denial(404, "not found");
    let (fixed, _) = fixed(acme("7", "Acme.com"), [not_found(), not_found()]).await;
    assert!(matches!(fixed, Fixed::Gone), "{fixed:?}");
}

#[tokio::test]
async fn a_record_that_is_being_deleted_counts_as_not_fixed() {
    let mut going = acme("7", "Acme.com");
    going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    let (fixed, asked) = self::fixed(going.clone(), []).await;
    let Fixed::Not(not) = fixed else { panic!("{fixed:?}") };
    assert_eq!((not.reason.as_str(), asked.len()), ("it is being deleted", 0));
    going["spec"]["domains"] = json!(["acme.com"]);
    let (fixed, _) = self::fixed(going, []).await;
    assert!(matches!(fixed, Fixed::Stored { values: 0, .. }), "{fixed:?}");
}

#[tokio::test]
async fn a_record_that_keeps_changing_is_reported_as_not_fixed() {
    let answers = (0..5).flat_map(|turn| {
        let fresh = acme(&format!("{}", 8 + turn), "Acme.com");
        [denial(409, "conflict"), (200, fresh)]
    });
    let (fixed, asked) = fixed(acme("7", "Acme.com"), answers.collect::<Vec<_>>()).await;
    let Fixed::Not(not) = fixed else { panic!("{fixed:?}") };
    assert!(not.reason.contains("others changed it"), "{}", not.reason);
    assert_eq!(asked.len(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_busy_api_server_gets_a_retry() {
    let answers = [denial(429, "slow down"), denial(503, "busy"), (200, acme("8", "acme.com"))];
    let (fixed, asked) = fixed(acme("7", "Acme.com"), answers).await;
    assert!(matches!(fixed, Fixed::Stored { values: 1, .. }), "{fixed:?}");
    assert_eq!(asked.len(), 3);
}

#[test]
fn a_fix_sets_no_creator_and_only_changes_values_of_the_selected_rules() {
    let object = json!({"spec": {"displayName": " Acme ", "domains": ["Acme.com"]}});
    let rules = |scope| {
        let changes =
            examiner(Policy::default(), None, scope).changes(&Subject::stored(CrmKind::Company, &object));
        changes.into_iter().map(|change| change.rule).collect::<Vec<_>>()
    };
    assert_eq!(rules(Scope::All), [RuleId::DisplayName, RuleId::Domain]);
    assert_eq!(rules(Scope::Only(BTreeSet::from([RuleId::Domain]))), [RuleId::Domain]);
}

fn list(names: &[&str], token: &str) -> (u16, Value) {
    let items: Vec<Value> = names.iter().map(|name| json!({"metadata": {"name": name}})).collect();
    (200, json!({"kind": "CompanyList", "metadata": {"continue": token}, "items": items}))
}

#[tokio::test]
async fn an_expired_list_continues_with_the_token_of_the_api_server() {
    let mut expired = denial(410, "too old");
    expired.1["metadata"] = json!({"continue": "fresh"});
    let (reader, asked) = scripted([list(&["a"], "old"), expired, list(&["b"], "")]);
    let mut pages = Pages::new(reader, CrmKind::Company, 1, BTreeSet::new());
    let mut names = Vec::new();
    while let Some(page) = pages.next().await.unwrap() {
        names.extend(page.iter().map(|object| object["metadata"]["name"].as_str().unwrap().to_owned()));
    }
    assert_eq!(names, ["a", "b"]);
    let asked = asked.lock().unwrap();
    assert!(asked[1].0.contains("continue=old") && asked[2].0.contains("continue=fresh"), "{asked:?}");
}

#[tokio::test]
async fn a_denied_list_names_the_missing_permission() {
    let (reader, _) = scripted([denial(403, "forbidden")]);
    let error = Pages::new(reader, CrmKind::Note, 1, BTreeSet::new()).next().await.unwrap_err();
    assert!(error.to_string().starts_with("notes cannot be listed (an audit needs permission"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_denied_lookup_is_unresolved_and_a_failed_lookup_is_an_error() {
    let target = Target { kind: Arc::new(CrmKind::Company.resource()), namespace: None, name: "acme".into() };
    let fact = async |answers: Vec<(u16, Value)>| {
        let (reader, _) = scripted(answers);
        let directory = Listed::new(reader);
        let existence = Existence::new(&directory, Suggestions::Given);
        existence.facts(HashSet::from([target.clone()])).await.map(|facts| facts[&target].clone())
    };
    let missing = fact(vec![denial(404, "not found")]).await.unwrap();
    assert_eq!(missing, Fact::Missing { suggestion: None });
    let forbidden = fact(vec![denial(403, "forbidden")]).await.unwrap();
    assert_eq!(forbidden, Fact::Unresolved { suggestion: None });
    let found = fact(vec![denial(503, "busy"), (200, acme("1", "acme.com"))]).await.unwrap();
    assert_eq!(found, Fact::Exists);
    let error = fact(vec![denial(500, "broken"); 5]).await.unwrap_err();
    assert!(error.to_string().contains(r#"Company.crm.milo.io "acme" exists"#), "{error}");
}

async fn examined(examiner: &Examiner, kind: CrmKind, spec: Value) -> Examined {
    let directory: &dyn LookUp = &Objects::default();
    let object = json!({
        "apiVersion": "crm.milo.io/v1alpha1", "kind": kind.as_str(), "metadata": {"name": "x"}, "spec": spec,
    });
    let existence = Existence::new(directory, Suggestions::None);
    examiner.examine(kind, &[object], &existence).await.unwrap().remove(0)
}

fn messages(examined: &Examined) -> Vec<(RuleId, Option<&'static str>, Action)> {
    examined.findings.iter().map(|finding| (finding.rule, finding.code, finding.action)).collect()
}

#[tokio::test]
async fn a_missing_creator_is_one_finding() {
    let examiner = examiner(Policy::default(), None, Scope::All);
    let examined = examined(&examiner, CrmKind::Company, json!({"displayName": "Acme"})).await;
    assert_eq!(messages(&examined), [(RuleId::CreatorRef, None, Action::Deny)]);
    assert_eq!(examined.standing, Standing::Denied);
}

#[tokio::test]
async fn a_past_next_action_of_a_stored_record_is_not_a_finding() {
    let examiner = examiner(Policy::default(), None, Scope::Only(BTreeSet::from([RuleId::NextActionTime])));
    let spec = json!({"nextActionTime": "2020-01-01T00:00:00Z"});
    assert_eq!(messages(&examined(&examiner, CrmKind::Note, spec).await), []);
}

#[tokio::test]
async fn only_denials_that_the_policy_in_force_does_not_have_are_new() {
    let mut stricter = Policy::default();
    stricter.set_rule(RuleId::LabelValue, RuleSetting::default());
    stricter.labels[0].required = true;
    let examiner = examiner(stricter, Some(Policy::default()), Scope::All);
    let good = json!({"displayName": "Acme", "creatorRef": {"name": "zoe"}});
    assert_eq!(examined(&examiner, CrmKind::Company, good).await.difference, Some(Difference::NewlyDenied));
    let bad = json!({"displayName": " ", "creatorRef": {"name": "zoe"}});
    let bad = examined(&examiner, CrmKind::Company, bad).await;
    assert_eq!((bad.standing, bad.difference), (Standing::Denied, None));
}

#[tokio::test]
async fn files_are_complete_for_the_kinds_that_they_contain() {
    let objects = [acme("1", "acme.com")];
    let directory = files::Files::new(&objects);
    let existence = Existence::new(&directory, Suggestions::None);
    let target = |kind: CrmKind, name: &str| Target {
        kind: Arc::new(kind.resource()),
        namespace: None,
        name: name.to_owned(),
    };
    let asked = [
        (target(CrmKind::Company, "acme"), Fact::Exists),
        (target(CrmKind::Company, "globex"), Fact::Missing { suggestion: None }),
        (target(CrmKind::Person, "ada"), Fact::Unresolved { suggestion: None }),
    ];
    let facts = existence.facts(asked.iter().map(|(target, _)| target.clone()).collect()).await.unwrap();
    for (target, expected) in asked {
        assert_eq!(facts[&target], expected, "{target:?}");
    }
}

#[tokio::test]
async fn notes_about_another_group_and_records_being_deleted_are_not_dependents() {
    let person =
        |name: &str, deleted: Value| json!({"metadata": {"name": name, "deletionTimestamp": deleted}});
    let note = |name: &str, group: &str, deleted: Value| {
        let subject = json!({"apiGroup": group, "kind": "Company", "name": "acme"});
        json!({"metadata": {"name": name, "deletionTimestamp": deleted}, "spec": {"subjectRef": subject}})
    };
    let time = json!("2026-01-01T00:00:00Z");
    let people = [person("ada", Value::Null), person("bob", time.clone())];
    let notes = [
        note("ours", "crm.milo.io", Value::Null),
        note("theirs", "example.com", Value::Null),
        note("going", "crm.milo.io", time),
    ];
    let answers = [
        (200, acme("7", "acme.com")),
        (200, json!({"metadata": {}, "items": people})),
        (200, json!({"metadata": {}, "items": notes})),
        // The cluster does not have Milo's kinds.
        denial(404, "no such kind"),
    ];
    let (reader, asked) = scripted(answers);
    let directory = Objects::default();
    let existence = Existence::new(&directory, Suggestions::None);
    let policy = Policy::default();
    let relations =
        refs::of_record(&reader, CrmKind::Company, "acme", &policy, &existence, &|_| {}).await.unwrap();
    let expected = [
        (CrmKind::Person, "ada".to_owned(), "spec.companyRef.name".to_owned()),
        (CrmKind::Note, "ours".to_owned(), "spec.subjectRef.name".to_owned()),
    ];
    assert_eq!(relations.from, expected);
    let calls = asked.lock().unwrap();
    let selectors = [
        "companies/acme",
        "people?&fieldSelector=spec.companyRef.name%3Dacme",
        "notes?&fieldSelector=spec.subjectRef.kind%3DCompany%2Cspec.subjectRef.name%3Dacme",
    ];
    for ((call, _), selector) in calls.iter().zip(selectors) {
        assert!(call.contains(selector), "{call}");
    }
}

/// How often users are told that a kind of Milo is left out, after these answers about it.
async fn times_told(about_milo: &[(u16, Value)]) -> usize {
    let empty = || (200, json!({"metadata": {}, "items": []}));
    let answers = [(200, acme("7", "acme.com")), empty(), empty()];
    let (reader, asked) = scripted(answers.into_iter().chain(about_milo.iter().cloned()));
    let directory = Objects::default();
    let existence = Existence::new(&directory, Suggestions::None);
    let told = std::cell::RefCell::new(Vec::new());
    let tell = |error: &ListError| told.borrow_mut().push(error.note());
    let policy = Policy::default();
    let relations =
        refs::of_record(&reader, CrmKind::Company, "acme", &policy, &existence, &tell).await.unwrap();
    assert_eq!(relations.from, []);
    assert_eq!(asked.lock().unwrap().len(), 3 + about_milo.len());
    let told = told.into_inner();
    let note = "note: clusternotes.notes.miloapis.com are left out, because you may not list them";
    assert!(told.iter().all(|text| text == note), "{told:?}");
    told.len()
}

#[tokio::test]
async fn milos_notes_are_left_out_with_a_note_if_the_cluster_has_them_and_they_may_not_be_listed() {
    let failure = |code| denial(code, "no");
    let group = (200, json!({"kind": "APIResourceList"}));
    assert_eq!(times_told(&[failure(403), group]).await, 1);
    assert_eq!(times_told(&[failure(403), failure(404)]).await, 0);
    assert_eq!(times_told(&[failure(404)]).await, 0);
}
