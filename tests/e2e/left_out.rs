//! Tests which records the registration leaves out of `mutate`: only those that `/mutate` would not change under any
//! policy. `validate` still judges them.

use crate::canonical_floor::{Vector, vectors};
use crate::specs::{complete, disturbed, kind, spec};
use crate::stage;
use crate::stranger::{Stranger, Turn};
use crate::support::control_plane;
use crate::support::installation::{Installation, Witnessed};
use crate::support::kubectl::{Kubectl, Outcome};
use crate::support::poll::{self, Seen};
use crate::support::records::{bundle, record};
use crm_core::api::{CrmKind, limits};
use crm_core::normalize::{
    CANONICAL_DOMAIN_PATTERN, CANONICAL_LINKEDIN_PATTERN, NOT_CERTAIN_DOMAIN_PATTERN,
    NOT_CERTAIN_LINKEDIN_PATTERN,
};
use crm_core::policy::{Policy, compile};
use crm_core::rules::{Facts, Operation, Record, Request, evaluate};
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::UserInfo;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use regex::Regex;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
/// The number of requests at the same time.
const CONCURRENT: usize = 8;
/// The number of random creates, and of random updates of each kind.
const CREATES: usize = 400;
const UPDATES: usize = 50;
const KINDS: [&str; 3] = ["Company", "Person", "Note"];

/// The shared installation, with the record to which the others refer.
fn site() -> Witnessed<&'static Installation> {
    let site = stage::shared();
    let acme = record("Company", "{name: acme-corp}", "{displayName: Acme}");
    site.plane.kubectl("alice").apply_server_side(&acme).succeeds();
    site
}

/// One write of a record, which stores nothing, and what the API server did.
struct Write {
    kind: &'static str,
    name: String,
    spec: Value,
    /// The stored spec, if it is an update.
    stored: Option<Value>,
}

impl Write {
    fn create(kind: &'static str, name: String, spec: Value) -> Self {
        Self { kind, name, spec, stored: None }
    }

    fn operation(&self) -> &'static str {
        if self.stored.is_some() { "UPDATE" } else { "CREATE" }
    }
}

/// Sends the writes as dry runs, and asserts that the API server could evaluate the condition for each.
fn send(site: &Installation, writes: &[Write]) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let authority = reqwest::Certificate::from_pem(&site.plane.ca()).expect("a certificate");
    let client = reqwest::Client::builder().tls_certs_only([authority]).http1_only().timeout(PATIENCE);
    let client = client.build().expect("a client");
    let root = format!("https://127.0.0.1:{}/apis/crm.milo.io/v1alpha1", site.plane.ports()[1]);
    let request = |write: &Write| {
        let plural = match write.kind {
            "Company" => "companies",
            "Person" => "people",
            _ => "notes",
        };
        let request = match &write.stored {
            None => client.post(format!("{root}/{plural}?dryRun=All")).json(&json!({
                "apiVersion": "crm.milo.io/v1alpha1", "kind": write.kind, "metadata": {"name": write.name}, "spec": write.spec,
            })),
            Some(_) => client
                .patch(format!("{root}/{plural}/{}?dryRun=All", write.name))
                .header(CONTENT_TYPE, "application/json-patch+json")
                .body(json!([{"op": "replace", "path": "/spec", "value": write.spec}]).to_string()),
        };
        let request = request.bearer_auth(control_plane::token("alice"));
        let about = format!("{} {}: {}", write.kind, write.name, write.spec);
        async move {
            let answer = request.send().await.expect("an answer");
            let status = answer.status().as_u16();
            // A condition that cannot be evaluated is answered with 403.
            let about = format!("{status} for {about}");
            assert!(
                [200, 201, 400, 422].contains(&status),
                "{about}\n{}",
                answer.text().await.unwrap_or_default()
            );
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(futures::stream::iter(writes).for_each_concurrent(CONCURRENT, request));
}

/// Endpoint, operation and name of each call so far. The webhook logs a call before it answers.
fn calls(site: &Installation) -> Vec<[String; 3]> {
    let log = std::fs::read(site.webhook.log().path()).expect("a log");
    let field = |line: &str, key: &str| {
        let (_, rest) = line.split_once(&format!(" {key}=\""))?;
        Some(rest.split('"').next()?.to_owned())
    };
    let log = String::from_utf8_lossy(&log);
    let call = |line: &str| Some([field(line, "endpoint")?, field(line, "operation")?, field(line, "name")?]);
    log.lines().filter_map(call).collect()
}

/// Sends the writes, and returns those for which `mutate` was not called. Asserts that it would have changed nothing.
fn left_out<'w>(site: &Installation, writes: &'w [Write]) -> Vec<&'w Write> {
    send(site, writes);
    let calls: BTreeSet<[String; 3]> = calls(site).into_iter().collect();
    let is_left_out =
        |write: &&Write| !calls.contains(&["mutate", write.operation(), &write.name].map(str::to_owned));
    let left_out: Vec<&Write> = writes.iter().filter(is_left_out).collect();
    for write in &left_out {
        for policy in &*POLICIES {
            assert_eq!(changes(write, policy), Vec::<String>::new(), "{}: {}", write.kind, write.spec);
        }
    }
    left_out
}

/// The built-in policy, and one under which as much as possible is changed.
static POLICIES: LazyLock<[Policy; 2]> = LazyLock::new(|| {
    let eager = json!({
        "apiVersion": "admission.crm.milo.io/v1alpha1",
        "kind": "AdmissionPolicy",
        "metadata": {"name": "default"},
        "spec": {
            "creator": {"sources": [{"from": "UID"}, {"from": "Username"}]},
            "domains": {"owned": ["co.uk", "com.au", "test.ck"], "sharedHosts": [], "mailProviders": []},
            "notes": {"ownedBySubject": true},
            "references": {"subjects": [{
                "group": "notification.miloapis.com", "version": "v1alpha1", "kind": "Contact", "plural": "contacts",
                "namespaced": true,
            }]},
        },
    });
    [Policy::default(), compile(&eager, "eager").unwrap_or_else(|problems| panic!("{problems:?}"))]
});

/// The fields that `/mutate` would change, if the subject of a note exists.
fn changes(write: &Write, policy: &Policy) -> Vec<String> {
    let of = |spec: &Value| Record { spec: spec.clone(), ..Record::default() };
    let (object, stored) = (of(&write.spec), write.stored.as_ref().map(of));
    let user =
        UserInfo { username: Some("alice".to_owned()), uid: Some("u-1".to_owned()), ..UserInfo::default() };
    let request = Request {
        kind: CrmKind::of("crm.milo.io", "v1alpha1", write.kind).expect("a kind"),
        object: &object,
        operation: stored.as_ref().map_or(Operation::Create, Operation::Update),
        requester: Some(&user),
        dry_run: false,
        field_manager: None,
    };
    let facts = Facts::default().with_subject_uid(Some("u-2".to_owned()));
    let verdict = evaluate(&request, &facts, policy, Timestamp::UNIX_EPOCH);
    let owner = verdict.owner.iter().map(|owner| format!("owner {}", owner.name));
    verdict.changes.iter().map(|change| change.field.to_string()).chain(owner).collect()
}

/// Asserts that of the values in the vectors, exactly those are left out of which the patterns are certain.
fn every_vector(file: &str, patterns: [&str; 2], longest: usize, with: fn(&mut Value, &str)) {
    let site = site();
    let texts = |vector: &Vector| [Some(vector.input.clone()), vector.expect.clone()].into_iter().flatten();
    let kind = |vector: &Vector| if vector.kind.as_deref() == Some("Person") { "Person" } else { "Company" };
    let values: BTreeSet<(&'static str, String)> = vectors(file)
        .iter()
        .flat_map(|vector| texts(vector).map(move |text| (kind(vector), text)).collect::<Vec<_>>())
        .collect();
    let write = |(index, (kind, text)): (usize, &(&'static str, String))| {
        let mut spec = complete(kind);
        with(&mut spec, text);
        Write::create(kind, format!("left-out-{}-{index}", file.replace('.', "-")), spec)
    };
    let writes: Vec<Write> = values.iter().enumerate().map(write).collect();
    let left_out: BTreeSet<&str> = left_out(&site, &writes).iter().map(|write| &*write.name).collect();
    let [canonical, not_certain] = patterns.map(|pattern| Regex::new(pattern).expect("a pattern"));
    let is_certain = |text: &str| {
        text.chars().count() <= longest && canonical.is_match(text) && !not_certain.is_match(text)
    };
    let certain: BTreeSet<&str> = writes
        .iter()
        .zip(&values)
        .filter(|(_, (_, text))| is_certain(text))
        .map(|(write, _)| &*write.name)
        .collect();
    assert_eq!(left_out, certain);
    assert!(certain.len() > 20 && certain.len() < writes.len() / 2, "{} of {}", certain.len(), writes.len());
}

#[test]
fn the_domains_of_the_vectors_are_left_out_exactly_if_the_patterns_are_certain() {
    let patterns = [CANONICAL_DOMAIN_PATTERN, NOT_CERTAIN_DOMAIN_PATTERN];
    every_vector("domains.jsonl", patterns, limits::DOMAIN, |spec, text| spec["domains"] = json!([text]));
}

#[test]
fn the_profiles_of_the_vectors_are_left_out_exactly_if_the_patterns_are_certain() {
    let patterns = [CANONICAL_LINKEDIN_PATTERN, NOT_CERTAIN_LINKEDIN_PATTERN];
    let with = |spec: &mut Value, text: &str| spec["linkedinProfile"] = json!(text);
    every_vector("linkedin.jsonl", patterns, limits::LINKEDIN_PROFILE, with);
}

fn drawn<S: Strategy>(runner: &mut TestRunner, strategy: &S) -> S::Value {
    strategy.new_tree(runner).expect("a value").current()
}

#[test]
fn of_any_creates_only_those_that_need_no_changes_are_left_out() {
    let site = site();
    let mut runner = TestRunner::deterministic();
    let mut create = |index: usize| {
        let kind = drawn(&mut runner, &kind());
        let spec = if index.is_multiple_of(4) {
            drawn(&mut runner, &spec())
        } else {
            drawn(&mut runner, &disturbed(kind))
        };
        Write::create(kind, format!("left-out-any-{index}"), spec)
    };
    let writes: Vec<Write> = (0..CREATES).map(&mut create).collect();
    let left_out = left_out(&site, &writes);
    assert!(left_out.len() > CREATES / 20 && left_out.len() < CREATES / 2, "{}", left_out.len());
    assert!(left_out.iter().all(|write| write.kind != "Note"));
}

#[test]
fn of_any_updates_only_those_that_need_no_changes_are_left_out() {
    let site = site();
    let mut runner = TestRunner::deterministic();
    let alice = site.plane.kubectl("alice");
    let mut writes = Vec::new();
    for kind in KINDS {
        let stored = complete(kind);
        for index in 0..UPDATES {
            let spec = drawn(&mut runner, &disturbed(kind));
            let name = format!("left-out-{}-{index}", kind.to_lowercase());
            writes.push(Write { kind, name, spec, stored: Some(stored.clone()) });
        }
    }
    let stored = |write: &Write| {
        record(write.kind, &format!("{{name: {}}}", write.name), &complete(write.kind).to_string())
    };
    alice.create(&bundle(writes.iter().map(stored))).succeeds();
    let left_out = left_out(&site, &writes);
    for kind in KINDS {
        let number = left_out.iter().filter(|write| write.kind == kind).count();
        assert!(number > UPDATES / 10 && number < UPDATES, "{kind}: {number}");
    }
}

#[test]
fn a_value_of_a_wrong_type_is_sent_and_no_error_of_the_condition() {
    let site = site();
    let odd =
        [json!("x"), json!(7), json!(1.5), json!(true), json!([]), json!({}), json!(["x"]), json!({"x": 1})];
    let mut writes = Vec::new();
    for (kind, path) in [
        ("Company", "/displayName"),
        ("Company", "/domains"),
        ("Company", "/domains/0"),
        ("Company", "/linkedinProfile"),
        ("Company", "/creatorRef"),
        ("Company", "/creatorRef/name"),
        ("Company", ""),
        ("Note", "/subjectRef"),
        ("Note", "/subjectRef/apiGroup"),
        ("Note", ""),
    ] {
        for value in odd.iter().chain([&Value::Null]) {
            let mut spec = complete(kind);
            *spec.pointer_mut(path).expect("a field") = value.clone();
            let name = format!("left-out-odd-{}", writes.len());
            writes.push(Write::create(kind, name, spec));
        }
    }
    let left_out = left_out(&site, &writes);
    // A name can be any string, and a field without an entry is like none.
    for write in left_out {
        let spec = &write.spec;
        let is_fine = spec["displayName"].is_string()
            && spec["creatorRef"]["name"].is_string()
            && (spec["domains"].is_null()
                || spec["domains"] == json!([])
                || spec["domains"] == json!(["acme.com", "acme.io"]))
            && (spec["linkedinProfile"].is_null()
                || spec["linkedinProfile"] == complete("Company")["linkedinProfile"]);
        assert!(is_fine, "{spec}");
    }
}

#[test]
fn a_record_of_the_largest_size_is_left_out_and_lists_that_are_longer_are_sent() {
    let site = site();
    let label = "x".repeat(60);
    let domains = |number: usize| -> Vec<String> {
        (0..number)
            .map(|index| format!("d{index:03}.{label}.{label}.{label}.{}.example", "y".repeat(57)))
            .collect()
    };
    let company = |name: &str, number: usize| {
        let spec = json!({
            "displayName": "ü".repeat(256), "description": "ü".repeat(4096), "domains": domains(number),
            "linkedinProfile": format!("https://linkedin.com/company/{}", "x".repeat(150)),
            "creatorRef": {"name": "z".repeat(253)},
        });
        Write::create("Company", format!("left-out-large-{name}"), spec)
    };
    let writes = [company("most", 20), company("more", 21), company("hundred", 100)];
    let names: Vec<&str> = left_out(&site, &writes).iter().map(|write| &*write.name).collect();
    assert_eq!(names, ["left-out-large-most"]);
}

#[test]
fn white_space_around_a_name_and_a_blank_name_are_sent() {
    let site = site();
    let mut writes = Vec::new();
    // Some characters are no white space for the webhook, but blank.
    let around = ('\0'..=char::MAX).filter(|c| c.is_whitespace() || ['\u{200b}', '\u{feff}'].contains(c));
    for c in around {
        for name in [format!("{c}Acme"), format!("Acme{c}"), c.to_string()] {
            let mut spec = complete("Company");
            spec["displayName"] = json!(name);
            writes.push(Write::create("Company", format!("left-out-space-{}", writes.len()), spec));
        }
    }
    let left_out: Vec<&Value> = left_out(&site, &writes).iter().map(|write| &write.spec).collect();
    assert_eq!(left_out, Vec::<&Value>::new());
}

/// How often `mutate` and `validate` were called for this write.
fn called(site: &Installation, name: &str, operation: &str) -> [usize; 2] {
    let calls = calls(site);
    let number = |endpoint| calls.iter().filter(|call| **call == [endpoint, operation, name]).count();
    ["mutate", "validate"].map(number)
}

#[test]
fn a_complete_record_costs_one_call_and_a_messy_one_two() {
    let site = site();
    let alice = site.plane.kubectl("alice");
    let create = |kind: &str, name: &str, edit: fn(&mut Value)| {
        let mut spec = complete(kind);
        edit(&mut spec);
        alice.create(&record(kind, &format!("{{name: {name}}}"), &spec.to_string())).succeeds();
        called(&site, name, "CREATE")
    };
    assert_eq!(create("Company", "left-out-clean", |_| {}), [0, 1]);
    assert_eq!(create("Person", "left-out-clean-person", |_| {}), [0, 1]);
    assert_eq!(create("Company", "left-out-messy", |spec| spec["domains"] = json!(["Acme.com"])), [1, 1]);
    assert_eq!(
        create("Company", "left-out-twice", |spec| spec["domains"] = json!(["acme.com", "acme.com"])),
        [1, 1]
    );
    assert_eq!(create("Company", "left-out-nobody", |spec| spec["creatorRef"] = Value::Null), [1, 1]);
    // Under another policy, the note could get an owner.
    assert_eq!(create("Note", "left-out-note", |_| {}), [1, 1]);

    let update = |kind: &str, name: &str, fields: Value| {
        alice.patch(kind, name, &json!({"spec": fields})).succeeds();
        called(&site, name, "UPDATE")
    };
    assert_eq!(update("company", "left-out-clean", json!({"description": "Anvils"})), [0, 1]);
    assert_eq!(update("company", "left-out-clean", json!({"displayName": "Acme Ltd "})), [1, 2]);
    assert_eq!(update("note", "left-out-note", json!({"content": "Called again."})), [0, 1]);
}

#[test]
fn a_record_that_is_left_out_is_still_judged_and_warned_of() {
    let site = site();
    let alice = site.plane.kubectl("alice");
    let person = |name: &str, fields: Value| -> Outcome {
        let mut spec = complete("Person");
        spec.as_object_mut().expect("fields").extend(fields.as_object().expect("fields").clone());
        alice.create(&record("Person", &format!("{{name: {name}}}"), &spec.to_string()))
    };
    person(
        "left-out-denied",
        json!({"companyRef": {"name": "left-out-nowhere"}, "linkedinProfile": "https://linkedin.com/company/acme"}),
    )
    .fails()
    .prints_error("[company-exists]")
    .prints_error("[linkedin-profile/wrong-kind]");
    assert_eq!(called(&site, "left-out-denied", "CREATE"), [0, 1]);

    let mut spec = complete("Company");
    spec["domains"] = json!(["gmail.com"]);
    let labelled = "{name: left-out-warned, labels: {crm.milo.io/source: cold-call}}";
    alice
        .create(&record("Company", labelled, &spec.to_string()))
        .succeeds()
        .warns_about("spec.domains[0]", "domain-hint/mail-provider")
        .warns_about("metadata.labels[crm.milo.io/source]", "label-value");
    assert_eq!(called(&site, "left-out-warned", "CREATE"), [0, 1]);
}

#[test]
fn a_complete_record_that_a_later_webhook_changes_is_denied() {
    let site = site();
    let alice = site.plane.kubectl("alice");
    let _messy = Stranger::start(
        &site,
        "complete-messy",
        Turn::After,
        |_| json!([{"op": "add", "path": "/spec/domains", "value": ["HTTPS://Acme.com/"]}]),
    );
    // The API server has not called `mutate` in the first round, so it does not in the second.
    alice
        .create(&record("Company", "{name: complete-messy}", &complete("Company").to_string()))
        .fails()
        .prints_error("spec.domains[0]")
        .prints_error("[domain/not-canonical]");
    assert_eq!(called(&site, "complete-messy", "CREATE"), [0, 1]);
    alice.create(&record("Company", "{name: complete-messy-2}", "{displayName: Acme}")).succeeds();
    assert_eq!(called(&site, "complete-messy-2", "CREATE"), [2, 1]);
    assert_eq!(alice.get("company", "complete-messy-2")["spec"]["domains"], json!(["acme.com"]));
}

/// Tries a create until it fails with this text, because API servers learn of a changed registration with a delay.
fn await_refusal(user: &Kubectl, manifest: &str, text: &str) -> Outcome {
    poll::until("a refusal", PATIENCE, || {
        let tried = user.run_with(manifest, ["create", "--dry-run=server", "-f", "-"]);
        if tried.stderr.contains(text) { Seen::Ready(tried) } else { Seen::NotYet(tried.to_string()) }
    })
}

#[test]
fn a_condition_that_leaves_out_too_much_denies_and_stores_nothing_unchecked() {
    let mut stage = stage::exclusive();
    stage.webhook.ensure_running();
    stage.webhook.register();
    let (admin, alice) = (stage.plane.kubectl("admin"), stage.plane.kubectl("alice"));
    let patch =
        json!([{"op": "replace", "path": "/webhooks/0/matchConditions/1/expression", "value": "false"}]);
    let run = ["patch", "mutatingwebhookconfiguration", "crm-admission", "--type=json", "-p"];
    admin.run(run.map(str::to_owned).into_iter().chain([patch.to_string()])).succeeds();
    let company = |edit: fn(&mut Value)| {
        let mut spec = complete("Company");
        edit(&mut spec);
        record("Company", "{name: left-out-hole}", &spec.to_string())
    };
    let nobody = company(|spec| spec["creatorRef"] = Value::Null);
    await_refusal(&alice, &nobody, "spec.creatorRef");
    let create = |manifest: &str| alice.create(manifest).fails();
    create(&company(|spec| spec["domains"] = json!(["Acme.com"]))).prints_error("[domain/not-canonical]");
    create(&company(|spec| spec["displayName"] = json!(" Acme")))
        .prints_error("[display-name/not-canonical]");
    create(&company(|spec| spec["linkedinProfile"] = json!("linkedin.com/company/Acme")))
        .prints_error("[linkedin-profile/not-canonical]");
    create(&nobody).prints_error("spec.creatorRef");
    assert!(!admin.has("company", "left-out-hole"));
    // The next test needs a complete registration.
    stage.webhook.unregister();
}
