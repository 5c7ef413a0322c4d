//! Tests the policies of a cluster against a simulated API server.

use crm_core::catalog::{Action, RuleId};
use http::{Request, Response};
use kube::client::Body;
use tower_test::mock::{self, Handle};

use super::*;
use crate::policy_source::State;
use crate::telemetry::Metrics;

type Server = Handle<Request<Body>, Response<Body>>;

fn current() -> Arc<Current> {
    Arc::new(Current::new(Metrics::new(), |_| {}))
}

fn source() -> (Source, Server) {
    let (service, server) = mock::pair();
    let kind = GroupVersionKind::gvk(document_kind::GROUP, document_kind::VERSION, document_kind::KIND);
    let resource = ApiResource::from_gvk_with_plural(&kind, "admissionpolicies");
    (Source::new(Api::all_with(Client::new(service, "default"), &resource), current()), server)
}

fn policy(name: &str, generation: i64, spec: Value) -> DynamicObject {
    serde_json::from_value(json!({
        "apiVersion": "admission.crm.milo.io/v1alpha1",
        "kind": "AdmissionPolicy",
        "metadata": {"name": name, "generation": generation, "resourceVersion": "7"},
        "spec": spec,
    }))
    .unwrap()
}

fn strict() -> Value {
    json!({"rules": [{"rule": "label-value", "action": "Deny"}]})
}

fn action(current: &Current) -> Action {
    current.policy().load().rule(RuleId::LabelValue).action
}

fn broken() -> Value {
    json!({"rules": [{"rule": "no-such"}]})
}

/// The object with a status.
fn with_status(mut object: DynamicObject, status: &Value) -> DynamicObject {
    object.data["status"] = status.clone();
    object
}

/// An invalid `default` whose status keeps this version.
fn keeping(generation: i64, last: (i64, Value)) -> DynamicObject {
    let status = json!({"lastAccepted": {"generation": last.0, "spec": last.1}});
    with_status(policy("default", generation, broken()), &status)
}

fn origin(source: &Source) -> String {
    source.current.policy().load().origin.clone()
}

fn impairment(source: &Source) -> String {
    match source.current.state() {
        State::Impaired(why) => why,
        state => panic!("{state:?}"),
    }
}

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

/// Answers one request, and returns its method and path.
async fn answer(server: &mut Server, code: u16, body: Value) -> String {
    let (request, respond) = server.next_request().await.unwrap();
    let bytes = serde_json::to_vec(&body).unwrap();
    respond.send_response(Response::builder().status(code).body(Body::from(bytes)).unwrap());
    format!("{} {}", request.method(), request.uri().path())
}

fn failure(code: u16) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": "x", "message": "x"})
}

fn list(items: &[DynamicObject]) -> Value {
    json!({"apiVersion": "admission.crm.milo.io/v1alpha1", "kind": "AdmissionPolicyList", "metadata": {"resourceVersion": "9"}, "items": items})
}

#[tokio::test]
async fn an_invalid_policy_leaves_the_last_valid_one_in_force() {
    let (source, _server) = source();
    let judged = source.judge(&policy("default", 1, strict()));
    assert_eq!((judged.status, judged.reason), ("True", "Accepted"));
    assert_eq!(action(&source.current), Action::Deny);
    assert_eq!(source.current.policy().load().origin, "default@1");

    let judged = source.judge(&policy("default", 2, json!({"rules": [{"rule": "x"}, {"rule": "y"}]})));
    assert_eq!((judged.status, judged.reason), ("False", "Invalid"));
    assert!(
        judged.message.contains("spec.rules[0].rule") && judged.message.contains("spec.rules[1].rule"),
        "{judged:?}"
    );
    assert_eq!(source.current.policy().load().origin, "default@1");
    assert!(matches!(source.current.state(), State::Impaired(_)));
}

#[tokio::test]
async fn a_policy_that_was_created_again_with_the_same_generation_is_in_force() {
    let (source, _server) = source();
    source.judge(&policy("default", 1, strict()));
    source.judge(&policy("default", 1, json!({"rules": [{"rule": "label-value", "action": "Audit"}]})));
    assert_eq!(action(&source.current), Action::Audit);
}

#[tokio::test]
async fn a_policy_of_another_name_is_not_used() {
    let (source, _server) = source();
    let judged = source.judge(&policy("strict", 1, strict()));
    assert_eq!((judged.status, judged.reason), ("False", "NotUsed"));
    assert_eq!(source.current.policy().load().origin, "built-in");
}

#[tokio::test]
async fn two_replicas_write_the_status_once() {
    let (source, _server) = source();
    let object = policy("default", 3, strict());
    let judged = source.judge(&object);
    let first = new_status(&object, &judged, at("2026-11-23T12:00:00Z")).unwrap();
    assert_eq!(first["observedGeneration"], 3);
    let patch = json!(status_patch(&object, first.clone()));
    let version = json!({"op": "add", "path": "/metadata/resourceVersion", "value": "7"});
    assert_eq!(patch[0], version, "the slower replica fails");
    assert_eq!(patch[1], json!({"op": "add", "path": "/status", "value": first}));
    let current = with_status(object, &first);
    assert_eq!(new_status(&current, &judged, at("2026-11-23T12:00:05Z")), None);
}

#[tokio::test]
async fn the_status_keeps_the_last_valid_version_as_a_whole() {
    let (source, _server) = source();
    let object = policy("default", 1, strict());
    let first = new_status(&object, &source.judge(&object), at("2026-11-23T12:00:00Z")).unwrap();
    assert_eq!(first["lastAccepted"], json!({"generation": 1, "spec": strict()}));
    let object = with_status(policy("default", 2, json!({"labels": []})), &first);
    let second = new_status(&object, &source.judge(&object), at("2026-11-23T12:00:00Z")).unwrap();
    assert_eq!(second["lastAccepted"], json!({"generation": 2, "spec": {"labels": []}}));
    let object = with_status(policy("default", 3, broken()), &second);
    let third = new_status(&object, &source.judge(&object), at("2026-11-23T12:00:00Z")).unwrap();
    assert_eq!(third["lastAccepted"], second["lastAccepted"]);
    assert_eq!(
        (&third["observedGeneration"], &third["conditions"][0]["status"]),
        (&json!(3), &json!("False"))
    );
}

#[tokio::test]
async fn a_policy_that_is_too_large_to_keep_replaces_the_one_that_was_kept() {
    let (source, _server) = source();
    let value = |index: usize| format!("{index:063}");
    let labels: Vec<Value> = (0..20)
        .map(|key| json!({"key": format!("k{key}"), "allowed": (0..500).map(value).collect::<Vec<_>>()}))
        .collect();
    let mut large = keeping(2, (1, strict()));
    large.data["spec"] = json!({"labels": labels});
    let status = new_status(&large, &source.judge(&large), at("2026-11-23T12:00:00Z")).unwrap();
    let condition = &status["conditions"][0];
    assert_eq!(condition["status"], "True");
    assert!(condition["message"].as_str().unwrap().contains("too large to be kept"), "{condition}");
    assert_eq!(status.get("lastAccepted"), None);
}

#[tokio::test]
async fn a_replica_that_starts_with_an_invalid_policy_uses_its_last_valid_version() {
    let (source, _server) = source();
    let judged = source.judge(&keeping(3, (2, strict())));
    assert_eq!((judged.status, judged.reason), ("False", "Invalid"));
    assert_eq!((origin(&source).as_str(), action(&source.current)), ("default@2", Action::Deny));
    let why = impairment(&source);
    assert!(why.starts_with("default@3 is invalid, default@2 stays in force: spec.rules[0].rule"), "{why}");
    assert_eq!(judged.last_accepted.unwrap()["generation"], 2);
}

#[tokio::test]
async fn without_a_valid_version_the_built_in_policy_is_in_force_and_the_state_says_why() {
    let (source, _server) = source();
    let judged = source.judge(&keeping(3, (2, json!({"labels": 1}))));
    assert_eq!(origin(&source), "built-in");
    let why = impairment(&source);
    assert!(why.starts_with("default@3 is invalid, built-in stays in force: spec.rules[0].rule"), "{why}");
    assert!(
        why.ends_with("status.lastAccepted is invalid, too: spec.labels: Invalid value: must be a list"),
        "{why}"
    );
    assert_eq!(
        judged.last_accepted.unwrap()["spec"],
        json!({"labels": 1}),
        "another version may understand it"
    );
}

#[tokio::test]
async fn a_valid_version_that_only_this_replica_saw_gets_into_the_status() {
    let (source, _server) = source();
    source.judge(&policy("default", 2, strict()));
    let judged = source.judge(&keeping(3, (1, json!({}))));
    assert_eq!(origin(&source), "default@2");
    assert_eq!(judged.last_accepted, Some(json!({"generation": 2, "spec": strict()})));
}

#[tokio::test]
async fn a_replica_follows_to_a_valid_version_that_it_missed() {
    let (source, _server) = source();
    source.judge(&policy("default", 1, json!({})));
    source.judge(&policy("default", 3, broken()));
    assert_eq!(origin(&source), "default@1");
    source.judge(&keeping(3, (2, strict())));
    assert_eq!((origin(&source).as_str(), action(&source.current)), ("default@2", Action::Deny));
}

#[tokio::test]
async fn a_version_of_a_deleted_policy_does_not_count() {
    let (source, _server) = source();
    let mut old = policy("default", 5, strict());
    old.metadata.uid = Some("old".to_owned());
    source.judge(&old);
    let mut new = policy("default", 1, broken());
    new.metadata.uid = Some("new".to_owned());
    assert_eq!(source.judge(&new).last_accepted, None);
    assert_eq!(origin(&source), "built-in");
}

#[tokio::test]
async fn the_policy_in_force_of_a_cluster_with_an_invalid_one_is_its_last_valid_version() {
    let ask = async |object: DynamicObject| {
        let (service, mut server) = mock::pair();
        let client = Client::new(service, "default");
        tokio::join!(in_force(client), answer(&mut server, 200, json!(object))).0
    };
    assert_eq!(ask(keeping(3, (2, strict()))).await.unwrap().origin, "default@2");
    let error = ask(keeping(3, (2, broken()))).await.unwrap_err();
    assert!(error.to_string().contains("is invalid: spec.rules[0].rule"), "{error}");
}

#[tokio::test]
async fn replicas_that_word_the_status_differently_do_not_keep_overwriting_each_other() {
    let (source, mut server) = source();
    let object = policy("default", 1, strict());
    let (unwritten, written) =
        tokio::join!(source.take(object.clone()), answer(&mut server, 200, json!(object)));
    assert!(unwritten.is_none() && written.starts_with("PATCH "), "{written}");
    let mut other = object;
    other.data["status"] =
        json!({"conditions": [{"type": ACCEPTED, "status": "True", "reason": "Fine", "message": "x"}]});
    // Would wait for a server that does not exist.
    drop(server);
    assert!(source.take(other).await.is_none());
}

#[tokio::test]
async fn the_transition_time_of_a_condition_changes_only_with_its_status() {
    let (source, _server) = source();
    let object = policy("default", 1, strict());
    let judged = source.judge(&object);
    let first = new_status(&object, &judged, at("2026-11-23T12:00:00Z")).unwrap();
    let mut newer = with_status(policy("default", 2, strict()), &first);
    newer.data["status"]["conditions"]
        .as_array_mut()
        .unwrap()
        .push(json!({"type": "Other", "status": "True"}));
    let again = new_status(&newer, &judged, at("2026-11-23T13:00:00Z")).unwrap();
    let conditions = again["conditions"].as_array().unwrap();
    assert_eq!(conditions.len(), 2, "conditions of others stay");
    let ours = conditions.iter().find(|condition| condition["type"] == ACCEPTED).unwrap();
    assert_eq!(ours["lastTransitionTime"], "2026-11-23T12:00:00Z");
    let invalid = source.judge(&policy("default", 3, json!({"rules": 1})));
    let changed = new_status(&newer, &invalid, at("2026-11-23T14:00:00Z")).unwrap();
    assert!(changed.to_string().contains("2026-11-23T14:00:00Z"), "{changed}");
}

#[tokio::test(start_paused = true)]
async fn a_cluster_without_the_kind_has_the_built_in_policy() {
    let (source, mut server) = source();
    let current = Arc::clone(&source.current);
    let mut pause = DefaultBackoff::default();
    let (_, asked) = tokio::join!(source.list_and_watch(&mut pause), answer(&mut server, 404, failure(404)));
    assert_eq!(asked, "GET /apis/admission.crm.milo.io/v1alpha1/admissionpolicies");
    assert_eq!(current.state(), State::Fine);
    assert_eq!(current.policy().load().origin, "built-in");
}

#[tokio::test(start_paused = true)]
async fn after_a_denied_list_the_last_policy_stays_in_force() {
    let (source, mut server) = source();
    let current = Arc::clone(&source.current);
    let mut pause = DefaultBackoff::default();
    tokio::join!(source.list_and_watch(&mut pause), answer(&mut server, 403, failure(403)));
    assert!(matches!(current.state(), State::Starting(why) if why.contains("403")));
    source.judge(&policy("default", 1, strict()));
    tokio::join!(source.list_and_watch(&mut pause), answer(&mut server, 500, failure(500)));
    assert_eq!(action(&current), Action::Deny);
    assert!(matches!(current.state(), State::Impaired(why) if why.contains("500")));
}

#[tokio::test(start_paused = true)]
async fn a_list_without_the_policy_restores_the_built_in_one_and_a_conflict_is_ignored() {
    let (source, mut server) = source();
    let current = Arc::clone(&source.current);
    let mut pause = DefaultBackoff::default();
    let play = async {
        answer(&mut server, 200, list(&[policy("default", 1, strict())])).await;
        let written = answer(&mut server, 409, failure(409)).await;
        assert_eq!(written, "PATCH /apis/admission.crm.milo.io/v1alpha1/admissionpolicies/default/status");
        answer(&mut server, 403, failure(403)).await;
        server
    };
    let (_, mut server) = tokio::join!(source.list_and_watch(&mut pause), play);
    assert_eq!(action(&current), Action::Deny);
    let play = async {
        answer(&mut server, 200, list(&[])).await;
        answer(&mut server, 403, failure(403)).await;
    };
    tokio::join!(source.list_and_watch(&mut pause), play);
    assert_eq!(current.policy().load().origin, "built-in");
}

#[tokio::test(start_paused = true)]
async fn a_status_that_could_not_be_written_is_retried() {
    let (source, mut server) = source();
    let mut pause = DefaultBackoff::default();
    let play = async {
        answer(&mut server, 200, list(&[policy("default", 1, strict())])).await;
        answer(&mut server, 500, failure(500)).await;
        // The watch is requested and stays silent.
        let (watch, _silent) = server.next_request().await.unwrap();
        assert_eq!(watch.method(), "GET");
        let again = answer(&mut server, 200, json!(policy("default", 1, strict()))).await;
        assert!(again.starts_with("PATCH "), "{again}");
    };
    tokio::select! {
        _ = source.list_and_watch(&mut pause) => panic!("the watch did not fail"),
        () = play => {}
    }
}
