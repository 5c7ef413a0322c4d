//! Tests failures between the webhook and the API server: answers follow the policy and are in time, no request is
//! denied for a wrong reason, and the process recovers completely.

use crate::support::control_plane::ControlPlane;
use crate::support::kubectl::Kubectl;
use crate::support::manifest;
use crate::support::poll::{self, Seen};
use crate::support::process::Witness;
use crate::support::proxy::{Fault, Proxy, Scope};
use crate::support::records::{company, person};
use crate::support::webhook::{Reach, Webhook};
use serde_json::{Value, json};
use std::fs;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long the webhook may take to recover: the longest pause between two attempts of a watch, and the time limit of a
/// silent watch.
const PATIENCE: Duration = Duration::from_secs(150);
/// Longer than the timeout in the registration (5 s).
const TOO_SLOW: Duration = Duration::from_secs(20);
/// How long etcd hangs. The API server gives up a request sooner.
const PAUSE: Duration = Duration::from_secs(30);
/// The number of reviews at the same time.
const BURST: usize = 24;

/// An installation whose webhook reaches the API server only through a proxy.
struct Stage {
    proxy: Proxy,
    webhook: Webhook,
    /// Dropped last: the others are its clients.
    plane: ControlPlane,
}

impl Stage {
    fn start() -> Self {
        let plane = ControlPlane::start();
        plane.install_kinds(&manifest("crds"));
        plane.install_roles();
        let proxy = Proxy::start(&plane, "crm-admission");
        let kubeconfig = plane.kubeconfig_through(&proxy.url(), "crm-admission");
        let webhook = Webhook::start_through(&plane, kubeconfig);
        Self { proxy, webhook, plane }
    }

    /// Sets `onLookupError` in the policy, and waits until it is in force.
    fn on_lookup_error(&self, action: &str) {
        let admin = self.plane.kubectl("admin");
        let api =
            "apiVersion: admission.crm.milo.io/v1alpha1\nkind: AdmissionPolicy\nmetadata: {name: default}\n";
        admin.apply(&format!("{api}spec: {{references: {{onLookupError: {action}}}}}\n")).succeeds();
        let generation = admin.get("admissionpolicy", "default")["metadata"]["generation"].clone();
        let origin = format!(r#"policy_info{{policy="default@{generation}"}}"#);
        poll::until("the policy in force", PATIENCE, || {
            if metrics(&self.webhook).contains(&origin) {
                Seen::Ready(())
            } else {
                Seen::NotYet(origin.clone())
            }
        });
    }

    /// Waits until references are checked as usual. `existing` is a Company.
    fn await_recovery(&self, alice: &Kubectl, existing: &str) {
        let dry_run = |company: &str| {
            alice.run_with(&employee("recovered", company), ["create", "--dry-run=server", "-f", "-"])
        };
        poll::until("the usual decisions", PATIENCE, || {
            match (dry_run(existing), dry_run("no-such-company")) {
                (there, missing) if there.ok() && is_not_found(&missing.stderr) => Seen::Ready(()),
                (there, missing) => Seen::NotYet(format!("{there}\n{missing}")),
            }
        });
    }
}

/// The stage of one test, without faults and with a registered webhook.
struct Turn {
    _witness: Witness,
    stage: MutexGuard<'static, Stage>,
}

impl Turn {
    fn begin() -> Self {
        static STAGE: LazyLock<Mutex<Stage>> = LazyLock::new(|| Mutex::new(Stage::start()));
        // A failed test must not affect the next one.
        let mut stage = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
        let logs = stage.plane.logs().chain([stage.webhook.log().clone()]);
        let witness = Witness::new(logs);
        stage.proxy.heal();
        stage.plane.resume_etcd();
        stage.webhook.ensure_running();
        stage.webhook.register();
        Self { _witness: witness, stage }
    }
}

impl Deref for Turn {
    type Target = Stage;

    fn deref(&self) -> &Stage {
        &self.stage
    }
}

impl DerefMut for Turn {
    fn deref_mut(&mut self) -> &mut Stage {
        &mut self.stage
    }
}

/// A name that no other object of these tests has.
fn fresh(prefix: &str) -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("{prefix}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A Person who works at this Company.
fn employee(name: &str, company: &str) -> String {
    person(name, &format!("{{displayName: Ada, companyRef: {{name: {company}}}}}"))
}

fn is_not_found(text: &str) -> bool {
    text.contains("spec.companyRef.name: Not found: ")
}

fn metrics(webhook: &Webhook) -> String {
    let (code, page) = webhook.admin_page("/metrics").expect("the admin port answers");
    assert_eq!(code, 200);
    page
}

fn sample(page: &str, name: &str) -> i64 {
    let value = page.lines().find_map(|line| line.strip_prefix("crm_admission_")?.strip_prefix(name));
    let value = value.unwrap_or_else(|| panic!("no {name} in {page}"));
    value.trim().parse().unwrap()
}

/// Asserts that writes during the fault are denied or allowed, as the policy says, before the API server stops waiting
/// for the webhook.
fn the_policy_answers(fault: Fault, scope: Scope) {
    let turn = Turn::begin();
    let alice = turn.plane.kubectl("alice");
    for action in ["Deny", "Allow"] {
        turn.on_lookup_error(action);
        let met = turn.proxy.met();
        turn.proxy.inject(scope, fault);
        let unseen = fresh("unseen");
        if scope == Scope::Everything {
            // The watch does not report it any more, so the local copy does not have it.
            alice.create(&company(&unseen, "{displayName: Acme}")).succeeds();
        }
        let name = fresh("ada");
        let written = alice.create(&employee(&name, &unseen)).prints_no_error("failed calling webhook");
        let written = written.prints_no_error("Not found");
        if action == "Deny" {
            written
                .fails()
                .prints_error("spec.companyRef.name")
                .prints_error("could not be checked, try again");
        } else {
            let warning = format!("spec.companyRef.name: Invalid value: \"{unseen}\": could not be checked");
            written.succeeds().warns_about(&warning, "company-exists");
        }
        assert_eq!(alice.has("person", &name), action == "Allow");
        assert!(turn.proxy.met() > met, "the fault affected no request");

        turn.proxy.heal();
        if scope == Scope::Lookups {
            alice.create(&company(&unseen, "{displayName: Acme}")).succeeds();
        }
        turn.await_recovery(&alice, &unseen);
    }
}

#[test]
fn with_slow_lookups_answers_are_in_time() {
    the_policy_answers(Fault::Latency(TOO_SLOW), Scope::Lookups);
}

#[test]
fn failed_lookups_do_not_count_as_missing() {
    the_policy_answers(Fault::Status500, Scope::Lookups);
}

#[test]
fn lookups_with_a_broken_connection_do_not_count_as_missing() {
    the_policy_answers(Fault::Reset, Scope::Lookups);
}

#[test]
fn with_hanging_lookups_answers_are_in_time() {
    the_policy_answers(Fault::Hang, Scope::Lookups);
}

#[test]
fn with_only_broken_connections_nothing_counts_as_missing() {
    the_policy_answers(Fault::Reset, Scope::Everything);
}

#[test]
fn with_a_hanging_api_server_nothing_counts_as_missing() {
    the_policy_answers(Fault::Hang, Scope::Everything);
}

#[test]
fn slow_lookups_within_the_deadline_have_their_usual_answers() {
    let turn = Turn::begin();
    let alice = turn.plane.kubectl("alice");
    turn.on_lookup_error("Deny");
    let met = turn.proxy.met();
    turn.proxy.inject(Scope::Lookups, Fault::Latency(Duration::from_millis(700)));
    let written = alice.create(&employee(&fresh("ada"), "no-such-company")).fails();
    assert!(is_not_found(&written.stderr), "{written}");
    assert!(turn.proxy.met() > met, "the fault affected no request");
    turn.proxy.heal();
}

/// A review of a new Person who works at this Company.
fn review(company: &str) -> Value {
    let object = json!({
        "apiVersion": "crm.milo.io/v1alpha1",
        "kind": "Person",
        "metadata": {"name": "ada"},
        "spec": {"displayName": "Ada", "companyRef": {"name": company}, "creatorRef": {"name": "alice"}},
    });
    let request = json!({
        "uid": "u-1",
        "kind": {"group": "crm.milo.io", "version": "v1alpha1", "kind": "Person"},
        "resource": {"group": "crm.milo.io", "version": "v1alpha1", "resource": "people"},
        "name": "ada",
        "operation": "CREATE",
        "userInfo": {"username": "alice"},
        "object": object,
    });
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request})
}

/// The message of a denial. The test fails if the answer allows the request.
#[track_caller]
fn refusal(answer: &Value) -> (i64, &str) {
    let response = &answer["response"];
    assert_eq!(response["allowed"], false, "{answer}");
    (response["status"]["code"].as_i64().unwrap(), response["status"]["message"].as_str().unwrap())
}

#[track_caller]
fn assert_unchecked(answer: &Value) {
    let (code, message) = refusal(answer);
    assert_eq!(code, 503, "{message}");
    assert!(message.contains("could not be checked, try again") && !is_not_found(message), "{message}");
}

#[track_caller]
fn assert_missing(answer: &Value) {
    let (code, message) = refusal(answer);
    assert_eq!(code, 422, "{message}");
    assert!(is_not_found(message), "{message}");
}

/// The resources that the process uses.
#[derive(Clone, Copy, Debug)]
struct Footprint {
    files: usize,
    threads: usize,
    tasks: i64,
    requests: i64,
    request_bytes: i64,
    memory_kib: i64,
}

impl Footprint {
    fn of(webhook: &Webhook) -> Self {
        let process = format!("/proc/{}", webhook.id());
        let status = fs::read_to_string(format!("{process}/status")).unwrap();
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let page = metrics(webhook);
        Self {
            files: fs::read_dir(format!("{process}/fd")).unwrap().count(),
            threads: fs::read_dir(format!("{process}/task")).unwrap().count(),
            tasks: sample(&page, "tasks"),
            requests: sample(&page, "inflight_requests"),
            request_bytes: sample(&page, "inflight_bytes"),
            memory_kib: memory.trim().trim_end_matches("kB").trim().parse().unwrap(),
        }
    }

    /// Whether the resources are about the same. The number of idle connections may differ by less than one burst.
    fn is_as(self, before: Self) -> bool {
        self.files < before.files + BURST
            && self.threads <= before.threads
            && self.tasks < before.tasks + i64::try_from(BURST).unwrap()
            && (self.requests, self.request_bytes) == (0, 0)
            && self.memory_kib <= before.memory_kib + MEMORY_MARGIN_KIB
    }
}

/// How much memory the allocator may keep for the next burst. If the memory of requests (at least 64 KiB each, with
/// connections and buffers) were not released, the compared rounds would use three times as much.
const MEMORY_MARGIN_KIB: i64 = 8 * 1024;
/// The number of rounds that are compared with the state before them.
const ROUNDS: usize = 4;

/// Sends a burst of reviews, each with another missing Company, under every fault and under none.
fn meet_every_fault(turn: &Turn) {
    let faults =
        [Some(Fault::Latency(TOO_SLOW)), Some(Fault::Status500), Some(Fault::Reset), Some(Fault::Hang), None];
    for fault in faults {
        match fault {
            Some(fault) => turn.proxy.inject(Scope::Lookups, fault),
            None => turn.proxy.heal(),
        }
        let webhook = &turn.webhook;
        thread::scope(|scope| {
            for _ in 0..BURST {
                scope.spawn(|| {
                    let answer = webhook.review("/mutate?timeout=2s", &review(&fresh("missing")));
                    match fault {
                        Some(_) => assert_unchecked(&answer),
                        None => assert_missing(&answer),
                    }
                });
            }
        });
    }
}

#[test]
#[allow(clippy::print_stdout, reason = "docs/performance.md has these figures; `--nocapture` shows them")]
fn after_many_faults_the_process_uses_no_more_resources() {
    let turn = Turn::begin();
    turn.on_lookup_error("Deny");
    // The first round creates threads, pools and caches, which stay.
    meet_every_fault(&turn);
    let before = Footprint::of(&turn.webhook);
    let met = turn.proxy.met();
    for _ in 0..ROUNDS {
        meet_every_fault(&turn);
    }
    assert!(turn.proxy.met() >= met + ROUNDS * 4 * BURST);
    let after = poll::until("the earlier resource usage", PATIENCE, || {
        let after = Footprint::of(&turn.webhook);
        if after.is_as(before) {
            Seen::Ready(after)
        } else {
            Seen::NotYet(format!("{before:?}, now {after:?}"))
        }
    });
    println!("before {before:?}\nafter  {after:?}");
}

/// The number of companies, according to the API server and to the webhook.
fn companies(turn: &Turn, webhook: &Webhook) -> (i64, i64) {
    let list = turn.plane.kubectl("admin").run(["get", "companies", "-o", "name"]).succeeds();
    let known = sample(&metrics(webhook), r#"directory_objects{kind="Company.crm.milo.io"}"#);
    (i64::try_from(list.stdout.lines().count()).unwrap(), known)
}

fn await_known_companies(turn: &Turn, webhook: &Webhook) {
    poll::until("a webhook that knows all companies", PATIENCE, || match companies(turn, webhook) {
        (there, known) if there == known => Seen::Ready(()),
        seen => Seen::NotYet(format!("{seen:?}")),
    });
}

#[test]
fn after_an_api_server_restart_watches_continue_and_no_request_is_denied_wrongly() {
    let mut turn = Turn::begin();
    let alice = turn.plane.kubectl("alice");
    turn.on_lookup_error("Deny");
    let (old, new) = (fresh("old"), fresh("new"));
    alice.create(&company(&old, "{displayName: Acme}")).succeeds();
    // A webhook without a proxy.
    let webhook = Webhook::start(&turn.plane);
    webhook.register();
    await_known_companies(&turn, &webhook);

    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let known = scope.spawn(|| {
            let mut answered = 0;
            while !done.load(Ordering::Relaxed) {
                let answer = webhook.review("/validate", &review(&old));
                assert_eq!(answer["response"]["allowed"], true, "{answer}");
                answered += 1;
            }
            answered
        });
        // Even if the test fails, because the other thread would never stop otherwise.
        let _finish = Finish(&done);
        turn.plane.stop_apiserver();
        for _ in 0..5 {
            assert_unchecked(&webhook.review("/mutate", &review("no-such-company")));
        }
        assert_eq!(webhook.admin_page("/readyz").unwrap().0, 200, "it serves with its local copy");
        turn.plane.restart_apiserver();
        done.store(true, Ordering::Relaxed);
        assert!(known.join().expect("every answer allows") > 0);
    });

    webhook.await_reach(Reach::Called);
    alice.create(&company(&new, "{displayName: Globex}")).succeeds();
    // At once, because names that no watch has reported yet are looked up.
    alice.create(&employee(&fresh("ada"), &new)).succeeds();
    alice.create(&employee(&fresh("ada"), &old)).succeeds();
    let missing = alice.create(&employee(&fresh("ada"), "no-such-company")).fails();
    assert!(is_not_found(&missing.stderr), "{missing}");
    await_known_companies(&turn, &webhook);
    poll::until("a webhook whose parts are all ready", PATIENCE, || {
        let (code, ready) = webhook.admin_page("/readyz").expect("the admin port answers");
        if code == 200 && !ready.contains("[!]") { Seen::Ready(()) } else { Seen::NotYet(ready) }
    });
}

#[test]
fn while_etcd_hangs_known_references_are_allowed_and_no_other_is_denied_as_missing() {
    let mut turn = Turn::begin();
    let alice = turn.plane.kubectl("alice");
    turn.on_lookup_error("Deny");
    let old = fresh("old");
    alice.create(&company(&old, "{displayName: Acme}")).succeeds();
    await_known_companies(&turn, &turn.webhook);

    turn.plane.pause_etcd();
    let start = Instant::now();
    while start.elapsed() < PAUSE {
        let known = turn.webhook.review("/validate", &review(&old));
        assert_eq!(known["response"]["allowed"], true, "{known}");
        // Each asks the API server, which waits for etcd, until the time of the review is over.
        assert_unchecked(&turn.webhook.review("/mutate?timeout=2s", &review(&fresh("missing"))));
        assert_eq!(turn.webhook.admin_page("/readyz").unwrap().0, 200, "it serves with its local copy");
    }
    turn.plane.resume_etcd();

    turn.await_recovery(&alice, &old);
    alice.create(&company(&fresh("new"), "{displayName: Globex}")).succeeds();
    await_known_companies(&turn, &turn.webhook);
}

/// Sets the flag when it is dropped.
struct Finish<'a>(&'a AtomicBool);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
