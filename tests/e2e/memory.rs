//! Tests that the product stays below its shipped memory limit, even if the metadata of records is as large as
//! possible.
#![allow(clippy::print_stderr, reason = "people read the measurements")]

use crate::program::{forget_peak_memory, peak_memory, run};
use crate::support::control_plane::{ControlPlane, token};
use crate::support::manifest;
use crate::support::poll::{self, Seen};
use crate::support::records::{self, bundle, company};
use crate::support::webhook::Webhook;
use futures::StreamExt;
use serde_json::{Value, json};
use std::fmt::Write;
use std::thread;
use std::time::{Duration, Instant};

/// The default number of people.
const PEOPLE: usize = 150;
const PEOPLE_VARIABLE: &str = "MEMORY_PEOPLE";
/// The number of people for the background audit, which is slow.
const FEW: usize = 24;
/// The size of the metadata of each person, in bytes. etcd accepts requests of 1.5 MiB.
const METADATA: usize = 1_400_000;
/// The number of companies. Half of the people work at the first.
const COMPANIES: usize = 8;
/// Of this many people, two have many small values in their metadata, which takes an API server seconds to store. The
/// others have one large value.
const MANY_VALUES: usize = 25;
/// Of this many people, one has a value that can be fixed. For all of them, etcd would have no space.
const TO_FIX: usize = 5;
/// The number of people that are changed while the webhook watches.
const CHANGED: usize = 20;
/// The number of requests in progress at a time.
const CONCURRENT: usize = 4;
const PATIENCE: Duration = Duration::from_secs(600);

/// The maximum in MiB. The shipped limit is 256 MiB, which includes other memory of the container.
const MOST: u64 = 200;
const MOST_AT_THE_START: u64 = 150;

/// A policy without the local copy, so that every reference is one GET.
const LIVE: &str = "apiVersion: admission.crm.milo.io/v1alpha1
kind: AdmissionPolicy
metadata: {name: live}
spec: {references: {consistency: Live}}
";

/// The peaks of memory in MiB, by what was done.
#[derive(Default)]
struct Peaks(Vec<(&'static str, u64, u64)>);

impl Peaks {
    fn add(&mut self, what: &'static str, peak: Option<u64>, bound: u64) {
        let peak = peak.expect("a system that reports the peak") / 1024;
        eprintln!("memory: {what}: {peak} MiB");
        self.0.push((what, peak, bound));
    }

    fn told(&self) -> String {
        self.0.iter().fold(String::new(), |mut told, (what, peak, bound)| {
            writeln!(told, "{what}: {peak} MiB of {bound}").expect("a longer text");
            told
        })
    }
}

#[test]
fn large_metadata_stays_below_the_memory_limit() {
    let people =
        std::env::var(PEOPLE_VARIABLE).map_or(PEOPLE, |number| number.parse().expect("a number of people"));
    let plane = ControlPlane::start();
    plane.install_kinds(&manifest("crds"));
    plane.install_roles();
    let companies = (0..COMPANIES)
        .map(|number| company(&format!("c{number}"), "{displayName: Large, creatorRef: {name: alice}}"));
    plane.kubectl("alice").apply(&bundle(companies)).succeeds();
    let mut peaks = Peaks::default();
    audits_in_the_background(&plane, FEW.min(people), &mut peaks);
    plant(&plane, FEW.min(people)..people);
    starts_and_counts(&plane, people, &mut peaks);
    runs_commands(&plane, people, &mut peaks);
    eprintln!("{people} people with {METADATA} bytes of metadata each:\n{}", peaks.told());
    assert!(peaks.0.iter().all(|(_, peak, bound)| (1..*bound).contains(peak)), "{}", peaks.told());
}

fn audits_in_the_background(plane: &ControlPlane, people: usize, peaks: &mut Peaks) {
    plant(plane, 0..people);
    let mut webhook = Webhook::start(plane);
    webhook.restart_with(&["--audit-interval", "1s"]);
    await_metric(&webhook, &format!("crm_admission_audit_records {}", people + COMPANIES));
    peaks.add("an audit in the background", peak_memory(webhook.id()), MOST);
}

fn starts_and_counts(plane: &ControlPlane, people: usize, peaks: &mut Peaks) {
    let mut webhook = Webhook::start(plane);
    await_names(&webhook, people);
    peaks.add("a fresh start", peak_memory(webhook.id()), MOST_AT_THE_START);

    let alice = plane.kubectl("alice");
    let delete = |number: usize| {
        let args = ["delete", "company", &format!("c{number}"), "--dry-run=server"];
        alice.run(args).succeeds().stderr
    };
    forget_peak_memory(webhook.id());
    let change = json!({"metadata": {"annotations": {"changed": "yes"}}});
    at_once(CHANGED, |number| {
        alice.patch("person", &format!("p{number:04}"), &change).succeeds().stdout.len()
    });
    // The event of this person comes after all others.
    let last = records::person("last", "{displayName: Ada, creatorRef: {name: alice}}");
    alice.apply(&last).succeeds();
    await_names(&webhook, people + 1);
    peaks.add("changes that are watched", peak_memory(webhook.id()), MOST);
    alice.run(["delete", "person", "last"]).succeeds();

    webhook.register();
    forget_peak_memory(webhook.id());
    let said = delete(0);
    peaks.add("one deletion", peak_memory(webhook.id()), MOST);
    // Some are counted before the deadline, but not all.
    assert!(said.contains("\"c0\": still referred to by "), "{said}");
    forget_peak_memory(webhook.id());
    at_once(6, delete);
    peaks.add("six deletions at once", peak_memory(webhook.id()), MOST);
    webhook.unregister();

    forget_peak_memory(webhook.id());
    at_once(8, |number| review_deletion(&webhook, number));
    peaks.add("eight reviews of deletions at once", peak_memory(webhook.id()), MOST);
    forget_peak_memory(webhook.id());
    at_once(64, |number| review_deletion(&webhook, number));
    peaks.add("64 reviews of deletions at once", peak_memory(webhook.id()), MOST);

    let live = plane.workspace().write("policies", "live.yaml", LIVE);
    webhook.restart_with(&["--policy", live.to_str().expect("a path in UTF-8")]);
    await_names(&webhook, people);
    forget_peak_memory(webhook.id());
    at_once(64, |number| review_note(&webhook, number % people));
    peaks.add("64 reviews of notes at once, subjects looked up live", peak_memory(webhook.id()), MOST);
}

fn runs_commands(plane: &ControlPlane, people: usize, peaks: &mut Peaks) {
    let audit = ["audit", "--fail-on", "never", "--summary"];
    for (what, args) in [
        ("audit", audit.as_slice()),
        ("audit --fix", &[&audit[..], &["--fix"]].concat()),
        ("refs of a company", &["refs", "company", "c0"]),
        ("refs of a person", &["refs", "person", "p0000"]),
        ("refs --dangling", &["refs", "--dangling"]),
    ] {
        let started = Instant::now();
        let ran = run(plane, "admin", args).ends_with(0);
        eprintln!("{what} took {:.1} s", started.elapsed().as_secs_f64());
        peaks.add(what, Some(ran.peak), MOST);
        if what == "audit --fix" {
            assert_eq!(ran.json()["fixed"], people.div_ceil(TO_FIX), "{}", ran.told());
        }
    }
}

/// Runs this several times in parallel.
fn at_once<T: Send>(times: usize, work: impl Fn(usize) -> T + Sync) {
    thread::scope(|scope| {
        for number in 0..times {
            let work = &work;
            scope.spawn(move || work(number));
        }
    });
}

/// A review that any client of the port can send.
fn review_deletion(webhook: &Webhook, number: usize) -> Value {
    let company = format!("c{}", number % COMPANIES);
    let record = json!({
        "apiVersion": "crm.milo.io/v1alpha1", "kind": "Company", "metadata": {"name": company}, "spec": {},
    });
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "1", "operation": "DELETE", "name": company, "userInfo": {"username": "nobody"},
            "kind": {"group": "crm.milo.io", "version": "v1alpha1", "kind": "Company"},
            "resource": {"group": "crm.milo.io", "version": "v1alpha1", "resource": "companies"},
            "oldObject": record,
        },
    });
    webhook.review("/validate?timeout=10s", &review)
}

/// A review of a valid note, which needs a lookup of its subject.
fn review_note(webhook: &Webhook, person: usize) -> Value {
    let subject = json!({"apiGroup": "crm.milo.io", "kind": "Person", "name": format!("p{person:04}")});
    let note = json!({
        "apiVersion": "crm.milo.io/v1alpha1", "kind": "Note", "metadata": {"name": "n"},
        "spec": {"subjectRef": subject, "content": "met", "creatorRef": {"name": "nobody"}},
    });
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "1", "operation": "CREATE", "name": "n", "userInfo": {"username": "nobody"},
            "kind": {"group": "crm.milo.io", "version": "v1alpha1", "kind": "Note"},
            "resource": {"group": "crm.milo.io", "version": "v1alpha1", "resource": "notes"},
            "object": note,
        },
    });
    let answer = webhook.review("/validate?timeout=30s", &review);
    assert_eq!(answer["response"]["allowed"], true, "{answer}");
    answer
}

/// Waits until the names of all people are known.
fn await_names(webhook: &Webhook, people: usize) {
    await_metric(
        webhook,
        &format!("crm_admission_directory_objects{{kind=\"Person.crm.milo.io\"}} {people}"),
    );
}

fn await_metric(webhook: &Webhook, line: &str) {
    poll::until(line, PATIENCE, || {
        let (_, page) = webhook.admin_page("/metrics").unwrap_or_default();
        let name = line.split([' ', '{']).next().unwrap_or_default();
        let seen = page.lines().filter(|line| line.starts_with(name)).collect::<Vec<_>>().join("\n");
        if page.lines().any(|seen| seen == line) { Seen::Ready(()) } else { Seen::NotYet(seen) }
    });
}

/// Stores people as alice, without the webhook.
fn plant(plane: &ControlPlane, people: std::ops::Range<usize>) {
    // Another test may have installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let started = Instant::now();
    let count = people.len();
    let authority = reqwest::Certificate::from_pem(&plane.ca()).expect("a certificate");
    let client = reqwest::Client::builder().tls_certs_only([authority]).build().expect("a client");
    let url = format!("https://127.0.0.1:{}/apis/crm.milo.io/v1alpha1/people", plane.ports()[1]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let post = |number| client.post(&url).bearer_auth(token("alice")).json(&person(number)).send();
        let mut answers = futures::stream::iter(people.map(post)).buffer_unordered(CONCURRENT);
        while let Some(answer) = answers.next().await {
            let answer = answer.expect("an answer");
            let status = answer.status();
            let text = answer.text().await.unwrap_or_default();
            assert!(status.is_success(), "{status}: {}", text.chars().take(1000).collect::<String>());
        }
    });
    eprintln!("{count} people stored in {:.1} s", started.elapsed().as_secs_f64());
}

/// A person with large metadata: one long string, or many short ones. The API server stores each label and each
/// finalizer once more, as a managed field.
fn person(number: usize) -> Value {
    let text = |start: &str, each: usize| {
        let fits = METADATA / each;
        (0..fits).map(move |entry| format!("{start}{entry:06}")).collect::<Vec<_>>()
    };
    let company = if number.is_multiple_of(2) { 0 } else { number % COMPANIES };
    let mut metadata = json!({"name": format!("p{number:04}")});
    match number % MANY_VALUES {
        0 => metadata["finalizers"] = text("example.com/a-finalizer-as-any-other-", 115).into(),
        5 => {
            metadata["labels"] = text("example.com/a-label-as-any-other-", 115)
                .into_iter()
                .map(|key| (key, json!("")))
                .collect()
        }
        _ => {
            metadata["ownerReferences"] = json!([{
                "apiVersion": "v1", "kind": "ConfigMap", "uid": "1", "name": "x".repeat(METADATA),
            }]);
        }
    }
    json!({
        "apiVersion": "crm.milo.io/v1alpha1", "kind": "Person", "metadata": metadata,
        "spec": {
            "displayName": if number.is_multiple_of(TO_FIX) { " Ada " } else { "Ada" },
            "companyRef": {"name": format!("c{company}")}, "creatorRef": {"name": "alice"},
        },
    })
}
