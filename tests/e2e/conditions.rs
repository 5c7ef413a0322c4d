//! Tests the conditions that the webhook writes into records, with records that are older than the rules.

use crate::program::run;
use crate::support::control_plane::{Auditing, ControlPlane, WEBHOOK_USER};
use crate::support::kubectl::Kubectl;
use crate::support::manifest;
use crate::support::poll::{self, Seen};
use crate::support::proxy::{Fault, Proxy, Scope};
use crate::support::records::{bundle, company, person, record};
use crate::support::webhook::Webhook;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(120);
/// How long a change may take until conditions show it.
const SOON: Duration = Duration::from_secs(30);
/// The number of companies, and of people and notes for each.
const COMPANIES: usize = 40;
const PEOPLE: usize = 3;
const NOTES: usize = 2;
/// The same in the test with 5,004 records.
const MANY_COMPANIES: usize = 834;
/// The rate there, in writes a second: 40 seconds for all records.
const RATE: usize = 125;
/// The longest time there.
const MINUTE: Duration = Duration::from_secs(60);
/// On a busy machine, a debug build and an API server write less than the rate. Then the records take longer, but at
/// most so many times as long as their creation, which takes up to 12 seconds if the machine is free.
const TIMES_THE_CREATION: u32 = 5;
/// The number of workers of the controller: so many writes can be on their way, and late.
const WORKERS: usize = 8;
/// The number of records that kubectl creates before it limits its own rate.
const UNLIMITED: usize = 250;
/// The longest time until another replica takes over: the duration of the Lease, two attempts, and a start of the work.
const TAKEOVER: Duration = Duration::from_secs(15 + 2 * 2 + 10);

const WRITING: [&str; 5] =
    ["--conditions", "--conditions-rate", "200", "--namespace", "crm-admission-system"];

/// By kind and name: the reason of the condition, and a part of its message.
type Expected = BTreeMap<(String, String), (&'static str, String)>;

/// Records, and what their conditions should be.
#[derive(Default)]
struct Planted {
    manifests: Vec<String>,
    expected: Expected,
}

impl Planted {
    fn add(&mut self, kind: &str, name: &str, spec: &str, reason: &'static str, message: &str) {
        self.manifests.push(record(kind, &format!("{{name: {name}}}"), spec));
        self.expects(kind, name, reason, message);
    }

    fn expects(&mut self, kind: &str, name: &str, reason: &'static str, message: &str) {
        self.expected.insert((kind.to_owned(), name.to_owned()), (reason, message.to_owned()));
    }

    /// One in ten companies and people, and one in seven notes, has a flaw.
    fn of_all_kinds(companies: usize) -> Self {
        let mut planted = Self::default();
        for number in 0..companies {
            let name = format!("c{number:04}");
            let (domains, reason, message) = match number % 20 {
                3 => ("[no domain]", "Denied", "spec.domains[0]: "),
                13 => ("[HTTPS://Acme.example/]", "Warned", "[domain/not-canonical]"),
                _ => ("[acme.example]", "Compliant", ""),
            };
            let spec = format!("{{displayName: Acme, domains: {domains}, creatorRef: {{name: zoe}}}}");
            planted.add("Company", &name, &spec, reason, message);
        }
        for number in 0..companies * PEOPLE {
            let company = format!("c{:04}", number % companies);
            let (company, reason, message) = match number % 10 {
                7 => ("gone".to_owned(), "Denied", "spec.companyRef.name: no Company of that name"),
                _ => (company, "Compliant", ""),
            };
            let spec =
                format!("{{displayName: Ada, companyRef: {{name: {company}}}, creatorRef: {{name: zoe}}}}");
            planted.add("Person", &format!("p{number:05}"), &spec, reason, message);
        }
        for number in 0..companies * NOTES {
            let (subject, reason, message) = match number % 7 {
                5 => ("gone".to_owned(), "Denied", "[subject-exists]"),
                _ => (format!("p{number:05}"), "Compliant", ""),
            };
            let subject = format!("{{apiGroup: crm.milo.io, kind: Person, name: {subject}}}");
            let spec = format!("{{subjectRef: {subject}, content: text, creatorRef: {{name: zoe}}}}");
            planted.add("Note", &format!("n{number:05}"), &spec, reason, message);
        }
        planted
    }
}

/// A control plane with the permissions to write conditions, where nothing checks what is written.
fn plane(auditing: Auditing) -> ControlPlane {
    let plane = ControlPlane::start_with(auditing);
    plane.install_kinds(&manifest("crds"));
    plane.install_roles();
    plane.kubectl("admin").apply_path(&manifest("components/conditions/rbac.yaml")).succeeds();
    plane
}

fn start(plane: &ControlPlane) -> Webhook {
    let mut webhook = Webhook::start(plane);
    webhook.restart_with(&WRITING);
    webhook
}

/// All records with the condition of each.
fn conditions(admin: &Kubectl) -> BTreeMap<(String, String), (Value, Value)> {
    let list = admin.run(["get", "companies,people,notes", "-o", "json"]).succeeds().json();
    let items = list["items"].as_array().expect("a list").iter();
    let of = |item: &Value| {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let conditions = item["status"]["conditions"].as_array().into_iter().flatten();
        let condition = conditions.into_iter().find(|condition| condition["type"] == "Compliant").cloned();
        (
            (text(&item["kind"]), text(&item["metadata"]["name"])),
            (item.clone(), condition.unwrap_or_default()),
        )
    };
    items.map(of).collect()
}

/// Where the conditions are not as expected.
fn differences(admin: &Kubectl, expected: &Expected) -> String {
    let found = conditions(admin);
    let mut differences = String::new();
    for ((kind, name), (reason, message)) in expected {
        let Some((item, condition)) = found.get(&(kind.clone(), name.clone())) else {
            writeln!(differences, "{kind}/{name} is missing").expect("a text");
            continue;
        };
        let status = match *reason {
            "Compliant" => "True",
            "NotChecked" => "Unknown",
            _ => "False",
        };
        let is_right = condition["reason"] == *reason
            && condition["status"] == status
            && condition["message"].as_str().is_some_and(|text| text.contains(message))
            && condition["observedGeneration"] == item["metadata"]["generation"];
        if !is_right {
            writeln!(differences, "{kind}/{name} should be {reason}: {condition}").expect("a text");
        }
    }
    differences
}

#[track_caller]
fn await_conditions(admin: &Kubectl, expected: &Expected, within: Duration) -> Duration {
    let begin = Instant::now();
    poll::until("right conditions", within, || match differences(admin, expected) {
        none if none.is_empty() => Seen::Ready(()),
        some => {
            let first: Vec<&str> = some.lines().take(5).collect();
            Seen::NotYet(format!("{} differ, such as {first:#?}", some.lines().count()))
        }
    });
    begin.elapsed()
}

/// A condition that was written.
struct Written {
    record: String,
    time: Timestamp,
}

/// The conditions that were written, in the order of the answers. A request that was denied, such as with an old
/// resource version, has written nothing.
fn written(plane: &ControlPlane) -> Vec<Written> {
    let is_write = |event: &Value| {
        event["user"]["username"] == WEBHOOK_USER
            && event["verb"] == "patch"
            && event["objectRef"]["apiGroup"] == "crm.milo.io"
            && event["objectRef"]["subresource"] == "status"
            && event["responseStatus"]["code"] == 200
    };
    let events = plane.audited().into_iter().filter(is_write);
    let of = |event: Value| {
        let object = &event["objectRef"];
        let time = event["stageTimestamp"].as_str().expect("a time");
        Written {
            record: format!("{}/{}", object["resource"], object["name"]),
            time: time.parse().expect("a time"),
        }
    };
    events.map(of).collect()
}

/// Each of these records has its condition, and none was written twice.
#[track_caller]
fn assert_written_once(written: &[Written], expected: &Expected) {
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for Written { record, .. } in written {
        *times.entry(record).or_default() += 1;
    }
    let twice: Vec<_> = times.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    assert_eq!(times.len(), expected.len());
}

fn metric(webhook: &Webhook, name: &str) -> Option<f64> {
    let (_, page) = webhook.admin_page("/metrics").ok()?;
    page.lines().find_map(|line| line.strip_prefix(&format!("crm_admission_{name} "))?.parse().ok())
}

/// Waits until all records have been judged again twice.
fn await_passes(webhook: &Webhook) {
    for _ in 0..2 {
        let last = || metric(webhook, "conditions_last_pass_timestamp_seconds").unwrap_or_default();
        let before = last();
        poll::until("a pass over all records", SOON, || {
            if last() > before { Seen::Ready(()) } else { Seen::NotYet(format!("{before}")) }
        });
    }
}

fn policy(admin: &Kubectl, spec: &str) {
    let head =
        "apiVersion: admission.crm.milo.io/v1alpha1\nkind: AdmissionPolicy\nmetadata: {name: default}\n";
    admin.apply(&format!("{head}spec: {spec}\n")).succeeds();
}

#[test]
fn records_tell_whether_they_comply_and_follow_every_change() {
    let plane = plane(Auditing::On);
    let admin = plane.kubectl("admin");
    let mut planted = Planted::of_all_kinds(COMPANIES);
    admin.apply_server_side(&bundle(&planted.manifests)).succeeds();
    let webhook = start(&plane);
    await_conditions(&admin, &planted.expected, PATIENCE);
    // People see it.
    admin.run(["get", "company", "c0003"]).succeeds().prints("COMPLIANT").prints("False");
    admin.run(["wait", "company", "c0000", "--for=condition=Compliant", "--timeout=5s"]).succeeds();

    // The spec of a record changes.
    admin.patch("company", "c0003", &json!({"spec": {"domains": ["acme.example"]}})).succeeds();
    planted.expects("Company", "c0003", "Compliant", "");
    // Somebody else changes the condition.
    let other = json!({"status": {"conditions": [{
        "type": "Compliant", "status": "Unknown", "reason": "Other", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]}});
    let patch =
        ["patch", "person", "p00001", "--subresource=status", "--type=merge", "-p", &other.to_string()];
    admin.run(patch).succeeds();
    // A company appears, and another disappears.
    admin.apply(&company("gone", "{displayName: Gone, creatorRef: {name: zoe}}")).succeeds();
    admin.run(["delete", "company", "c0001"]).succeeds();
    planted.expected.remove(&("Company".to_owned(), "c0001".to_owned()));
    planted.expects("Company", "gone", "Compliant", "");
    for number in 0..COMPANIES * PEOPLE {
        let name = format!("p{number:05}");
        if number % 10 == 7 {
            planted.expects("Person", &name, "Compliant", "");
        } else if number % COMPANIES == 1 {
            planted.expects("Person", &name, "Denied", "no Company of that name");
        }
    }
    let took = await_conditions(&admin, &planted.expected, SOON);
    assert!(took < Duration::from_secs(20), "{took:?}");

    // The audit agrees, but with a condition that is false.
    let audited = run(&plane, "admin", &["audit", "--format", "json"]).json();
    assert_eq!(audited["contradictedConditions"], json!([]), "{audited}");

    // Another policy turns those that it is about, and no others.
    let versions = || {
        let found = conditions(&admin).into_iter();
        let version = |(item, _): (Value, Value)| item["metadata"]["resourceVersion"].clone();
        found.map(|(key, found)| (key, version(found))).collect::<BTreeMap<_, _>>()
    };
    let before = versions();
    policy(&admin, "{rules: [{rule: company-exists, action: Warn}]}");
    let mut turned = Vec::new();
    for (key, (reason, _)) in &mut planted.expected {
        if key.0 == "Person" && *reason == "Denied" {
            *reason = "Warned";
            turned.push(key.clone());
        }
    }
    assert!(!turned.is_empty());
    await_conditions(&admin, &planted.expected, SOON);
    let after = versions();
    let written: Vec<_> = after.iter().filter(|(key, version)| before.get(*key) != Some(*version)).collect();
    assert_eq!(written.into_iter().map(|(key, _)| key.clone()).collect::<Vec<_>>(), turned);

    // A kind that the webhook may not look up.
    let spec = "{displayName: Ada, userRef: {name: ada}, creatorRef: {name: zoe}}";
    admin.apply(&person("with-user", spec)).succeeds();
    policy(
        &admin,
        "{rules: [{rule: company-exists, action: Warn}, {rule: user-exists, action: Deny}], references: {kinds: \
         {user: {group: iam.example.com, version: v1, kind: User, plural: users}}}}",
    );
    planted.expects("Person", "with-user", "NotChecked", "[user-exists");
    await_conditions(&admin, &planted.expected, SOON);
    assert!(webhook.admin_page("/readyz").expect("the admin port").0 == 200);
}

#[test]
fn an_idle_cluster_sees_no_writes_and_no_condition_is_written_twice() {
    let plane = plane(Auditing::Answers);
    let admin = plane.kubectl("admin");
    let planted = Planted::of_all_kinds(COMPANIES);
    let mut webhook = Webhook::start(&plane);
    admin.apply_server_side(&bundle(&planted.manifests)).succeeds();
    webhook.restart_with(&[&WRITING[..], &["--conditions-interval", "2s"]].concat());
    await_conditions(&admin, &planted.expected, PATIENCE);
    await_passes(&webhook);
    assert_written_once(&written(&plane), &planted.expected);
    for result in ["gone", "conflict", "denied", "failed"] {
        let writes = metric(&webhook, &format!("conditions_writes_total{{result=\"{result}\"}}"));
        assert_eq!(writes, Some(0.0), "{result}");
    }
    assert_eq!(metric(&webhook, "conditions_waiting_records"), Some(0.0));
    let counted = metric(&webhook, r#"conditions_records{kind="Company",reason="Denied"}"#);
    let denied =
        planted.expected.iter().filter(|((kind, _), (reason, _))| kind == "Company" && *reason == "Denied");
    assert_eq!(counted, Some(denied.count() as f64));

    // Nobody corrects a condition now, and an audit tells.
    webhook.stop();
    for (name, status, reason) in [("c0003", "True", "Compliant"), ("c0013", "False", "Denied")] {
        let wrong = json!({"status": {"conditions": [{
            "type": "Compliant", "status": status, "reason": reason, "message": "", "observedGeneration": 1,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }]}});
        let patch =
            ["patch", "company", name, "--subresource=status", "--type=merge", "-p", &wrong.to_string()];
        admin.run(patch).succeeds();
    }
    let contradicted = |args: &[&str]| run(&plane, "admin", args).json()["contradictedConditions"].clone();
    let expected = json!([
        {"kind": "Company", "name": "c0003", "condition": "True", "conditionReason": "Compliant",
         "audit": "False", "reason": "Denied"},
        {"kind": "Company", "name": "c0013", "condition": "False", "conditionReason": "Denied",
         "audit": "False", "reason": "Warned"},
    ]);
    assert_eq!(contradicted(&["audit", "--format", "json"]), expected);
    assert_eq!(contradicted(&["audit", "--format", "json", "--rule", "domain"]), json!([]));
}

/// Creates records faster than one kubectl does.
fn create_many(admin: &Kubectl, manifests: &[String]) {
    let bundles: Vec<String> = manifests.chunks(UNLIMITED).map(bundle).collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(bundle) = bundles.get(next.fetch_add(1, Ordering::Relaxed)) {
                    admin.create(bundle).succeeds();
                }
            });
        }
    });
}

/// The most conditions that were written in any second.
fn most_in_a_second(written: &[Written]) -> usize {
    let mut times: Vec<Timestamp> = written.iter().map(|written| written.time).collect();
    times.sort_unstable();
    let second = SignedDuration::from_secs(1);
    let from = |(index, begin): (usize, &Timestamp)| {
        times[index..].partition_point(|time| time.duration_since(*begin) < second)
    };
    times.iter().enumerate().map(from).max().unwrap_or_default()
}

/// The time from the begin of the leader to the last write.
fn time_of_all(admin: &Kubectl, written: &[Written]) -> Duration {
    let lease = ["get", "lease", "-n", "crm-admission-system", "crm-admission-conditions", "-o", "json"];
    let lease = admin.run(lease).succeeds().json();
    let begin: Timestamp = lease["spec"]["acquireTime"].as_str().expect("a time").parse().expect("a time");
    let end = written.iter().map(|written| written.time).max();
    end.expect("a write").duration_since(begin).unsigned_abs()
}

#[test]
fn five_thousand_records_tell_within_a_minute_at_the_given_rate() {
    let plane = plane(Auditing::Answers);
    let admin = plane.kubectl("admin");
    let planted = Planted::of_all_kinds(MANY_COMPANIES);
    assert_eq!(planted.expected.len(), 5004);
    let begin = Instant::now();
    create_many(&admin, &planted.manifests);
    let limit = MINUTE.max(begin.elapsed() * TIMES_THE_CREATION);
    let mut webhook = Webhook::start(&plane);
    let rate = RATE.to_string();
    webhook.restart_with(&[
        "--conditions",
        "--conditions-rate",
        &rate,
        "--namespace",
        "crm-admission-system",
    ]);
    let count = || metric(&webhook, r#"conditions_writes_total{result="written"}"#).unwrap_or_default();
    poll::until("a condition for each record", limit + SOON, || match count() {
        all if all >= planted.expected.len() as f64 => Seen::Ready(()),
        some => Seen::NotYet(some.to_string()),
    });
    let written = written(&plane);
    assert_written_once(&written, &planted.expected);
    assert_eq!(differences(&admin, &planted.expected), "");
    let took = time_of_all(&admin, &written);
    assert!(took <= limit, "{took:?} of {limit:?}");
    let most = most_in_a_second(&written);
    assert!(most <= RATE + 1 + WORKERS, "{most}");
}

#[test]
fn another_replica_takes_over_and_writes_nothing_again() {
    let plane = plane(Auditing::Answers);
    let admin = plane.kubectl("admin");
    let planted = Planted::of_all_kinds(COMPANIES);
    admin.apply_server_side(&bundle(&planted.manifests)).succeeds();
    let slow = ["--conditions", "--conditions-rate", "40", "--namespace", "crm-admission-system"];
    let [mut one, mut other] = [Webhook::start(&plane), Webhook::start(&plane)];
    one.restart_with(&slow);
    let leads = |webhook: &Webhook| metric(webhook, "conditions_leader") == Some(1.0);
    let await_leader = |webhook: &Webhook| {
        let begin = Instant::now();
        poll::until("a leader", PATIENCE, || {
            if leads(webhook) { Seen::Ready(()) } else { Seen::NotYet("it does not lead".to_owned()) }
        });
        begin.elapsed()
    };
    await_leader(&one);
    other.restart_with(&slow);
    poll::until("some conditions", SOON, || match written(&plane).len() {
        some if some > 40 => Seen::Ready(()),
        some => Seen::NotYet(some.to_string()),
    });
    assert!(!leads(&other));
    one.kill();
    let took = await_leader(&other);
    assert!(took <= TAKEOVER, "{took:?}");
    await_conditions(&admin, &planted.expected, PATIENCE);
    // A write that was on its way when its process was killed either came first, and the other replica has seen it, or
    // fails: each write has the resource version of the record that was judged as a condition.
    assert_written_once(&written(&plane), &planted.expected);
    let spec = "{displayName: Acme, domains: [acme.example], creatorRef: {name: zoe}}";
    let late = record("Company", r#"{name: c0000, resourceVersion: "1"}"#, spec);
    admin.apply_server_side(&late).fails().prints_error("the object has been modified");

    // A replica that stops lets the other lead at once.
    one.restart_with(&slow);
    assert!(!leads(&one));
    other.stop();
    let took = await_leader(&one);
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn failures_of_the_api_server_lose_nothing() {
    let plane = plane(Auditing::Off);
    let admin = plane.kubectl("admin");
    let proxy = Proxy::start(&plane, "crm-admission");
    let kubeconfig = plane.kubeconfig_through(&proxy.url(), "crm-admission");
    let mut webhook = Webhook::start_through(&plane, kubeconfig);
    let mut planted = Planted::of_all_kinds(COMPANIES);
    let spec = |company: usize, fault: usize| {
        format!("{{displayName: Ada, companyRef: {{name: c{company:04}}}, creatorRef: {{name: f{fault}}}}}")
    };
    admin.apply_server_side(&bundle(&planted.manifests)).succeeds();
    webhook.restart_with(&WRITING);
    for (number, fault) in [Fault::Status500, Fault::Reset, Fault::Hang].into_iter().enumerate() {
        let met = proxy.met();
        proxy.inject(Scope::Everything, fault);
        // New records, a company less, and a company more, while nothing can be read or written.
        let name = format!("during-{number}");
        admin.apply(&person(&name, &spec(number + 21, number))).succeeds();
        planted.expects("Person", &name, "Compliant", "");
        let gone = format!("c{number:04}");
        admin.run(["delete", "company", &gone]).succeeds();
        planted.expected.remove(&("Company".to_owned(), gone));
        for person in 0..COMPANIES * PEOPLE {
            if person % COMPANIES == number && person % 10 != 7 {
                planted.expects("Person", &format!("p{person:05}"), "Denied", "no Company of that name");
            }
        }
        poll::until("requests that fail", SOON, || match proxy.met() - met {
            some if some >= 3 => Seen::Ready(()),
            some => Seen::NotYet(some.to_string()),
        });
        proxy.heal();
        await_conditions(&admin, &planted.expected, Duration::from_secs(180));
    }
    assert_eq!(metric(&webhook, "conditions_restarts_total"), Some(0.0));
}
