//! What is between the webhook and the API server fails: answers follow the policy, in time, nothing is refused for a
//! wrong reason, and afterwards the process is as it was.

use crate::records::{company, person};
use crate::support::control_plane::ControlPlane;
use crate::support::kubectl::Kubectl;
use crate::support::manifest;
use crate::support::poll::{self, Seen};
use crate::support::process::Witness;
use crate::support::proxy::{Fault, Proxy, Scope};
use crate::support::webhook::{Reach, Webhook};
use serde_json::{Value, json};
use std::fs;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How long it may take until the webhook has noticed that all is well again: the longest pause between two tries of a
/// watch, and the time of a watch that says nothing.
const PATIENCE: Duration = Duration::from_secs(150);
/// Longer than the registration lets a look-up take (5 s).
const TOO_SLOW: Duration = Duration::from_secs(20);
/// How many reviews are sent at a time.
const BURST: usize = 24;

/// An installation whose webhook gets to the API server through a proxy only.
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
        let proxy = Proxy::start(&plane);
        let kubeconfig = plane.kubeconfig_through(&proxy.url(), "crm-admission");
        let webhook = Webhook::start_through(&plane, kubeconfig);
        Self { proxy, webhook, plane }
    }

    /// Has the policy say so, and waits until it is in force.
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

    /// Waits until references are judged as if nothing had ever been wrong. `existing` is a Company.
    fn await_recovery(&self, alice: &Kubectl, existing: &str) {
        let dry_run = |company: &str| {
            alice.run_with(&employee("recovered", company), ["create", "--dry-run=server", "-f", "-"])
        };
        poll::until("the usual verdicts", PATIENCE, || {
            match (dry_run(existing), dry_run("no-such-company")) {
                (there, missing) if there.ok() && is_not_found(&missing.stderr) => Seen::Ready(()),
                (there, missing) => Seen::NotYet(format!("{there}\n{missing}")),
            }
        });
    }
}

/// The stage, in order, with a webhook that is called.
struct Turn {
    _witness: Witness,
    stage: MutexGuard<'static, Stage>,
}

impl Turn {
    fn begin() -> Self {
        static STAGE: LazyLock<Mutex<Stage>> = LazyLock::new(|| Mutex::new(Stage::start()));
        // A test that failed says nothing about the next one.
        let mut stage = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
        let logs = stage.plane.logs().chain([stage.webhook.log().clone()]);
        let witness = Witness::new(logs);
        stage.proxy.heal();
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

/// Writes meet the fault under both policies: they are refused or let through, as the policy says, before the API
/// server gives the webhook up.
fn the_policy_answers(fault: Fault, scope: Scope) {
    let turn = Turn::begin();
    let alice = turn.plane.kubectl("alice");
    for action in ["Deny", "Allow"] {
        turn.on_lookup_error(action);
        let met = turn.proxy.met();
        turn.proxy.inject(scope, fault);
        let unseen = fresh("unseen");
        if scope == Scope::Everything {
            // No watch tells of it any more, so that the local copy does not know it.
            alice.create(&company(&unseen, "{displayName: Acme}")).succeeds();
        }
        let name = fresh("ada");
        let written = alice.create(&employee(&name, &unseen)).never_says("failed calling webhook");
        let written = written.never_says("Not found");
        if action == "Deny" {
            written.fails().complains("spec.companyRef.name").complains("could not be checked, try again");
        } else {
            let warning = format!("spec.companyRef.name: Invalid value: \"{unseen}\": could not be checked");
            written.succeeds().warns_about(&warning, "company-exists");
        }
        assert_eq!(alice.has("person", &name), action == "Allow");
        assert!(turn.proxy.met() > met, "nothing met the fault");

        turn.proxy.heal();
        if scope == Scope::Lookups {
            alice.create(&company(&unseen, "{displayName: Acme}")).succeeds();
        }
        turn.await_recovery(&alice, &unseen);
    }
}

#[test]
fn look_ups_that_take_too_long_are_answered_in_time() {
    the_policy_answers(Fault::Latency(TOO_SLOW), Scope::Lookups);
}

#[test]
fn look_ups_that_fail_are_not_taken_for_answers() {
    the_policy_answers(Fault::Status500, Scope::Lookups);
}

#[test]
fn look_ups_whose_connection_breaks_are_not_taken_for_answers() {
    the_policy_answers(Fault::Reset, Scope::Lookups);
}

#[test]
fn look_ups_that_hang_are_answered_in_time() {
    the_policy_answers(Fault::Hang, Scope::Lookups);
}

#[test]
fn an_api_server_that_breaks_every_connection_is_not_taken_for_an_empty_one() {
    the_policy_answers(Fault::Reset, Scope::Everything);
}

#[test]
fn an_api_server_that_hangs_in_everything_is_not_taken_for_an_empty_one() {
    the_policy_answers(Fault::Hang, Scope::Everything);
}

#[test]
fn look_ups_that_are_slow_but_in_time_have_their_usual_answers() {
    let turn = Turn::begin();
    let alice = turn.plane.kubectl("alice");
    turn.on_lookup_error("Deny");
    let met = turn.proxy.met();
    turn.proxy.inject(Scope::Lookups, Fault::Latency(Duration::from_millis(700)));
    let written = alice.create(&employee(&fresh("ada"), "no-such-company")).fails();
    assert!(is_not_found(&written.stderr), "{written}");
    assert!(turn.proxy.met() > met, "nothing met the fault");
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

/// What a refusal says. An answer that allows says nothing, and fails the test.
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

/// What the process takes up.
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

    /// Whether nothing of many bursts is left. Connections that wait for their next use may be more or fewer than
    /// before, by less than one burst.
    fn is_as(self, before: Self) -> bool {
        self.files < before.files + BURST
            && self.threads <= before.threads
            && self.tasks < before.tasks + i64::try_from(BURST).unwrap()
            && (self.requests, self.request_bytes) == (0, 0)
            && self.memory_kib <= before.memory_kib + MEMORY_MARGIN_KIB
    }
}

/// What the allocator may keep for the next burst. Were what one request takes (64 KiB and more, with its connections
/// and buffers) not given back, the rounds that are compared would leave three times as much.
const MEMORY_MARGIN_KIB: i64 = 8 * 1024;
/// How many rounds are compared with the state before them.
const ROUNDS: usize = 4;

/// As many reviews at a time as a burst has, each of another Company that does not exist, under every fault and under
/// none.
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
fn after_any_number_of_faults_the_process_is_as_it_was() {
    let turn = Turn::begin();
    turn.on_lookup_error("Deny");
    // What is made once and kept: threads, pools, caches.
    meet_every_fault(&turn);
    let before = Footprint::of(&turn.webhook);
    let met = turn.proxy.met();
    for _ in 0..ROUNDS {
        meet_every_fault(&turn);
    }
    assert!(turn.proxy.met() >= met + ROUNDS * 4 * BURST);
    let after = poll::until("the footprint of before", PATIENCE, || {
        let after = Footprint::of(&turn.webhook);
        if after.is_as(before) {
            Seen::Ready(after)
        } else {
            Seen::NotYet(format!("{before:?}, now {after:?}"))
        }
    });
    println!("before {before:?}\nafter  {after:?}");
}

/// How many companies the API server has, by its own count, and the webhook by its.
fn companies(turn: &Turn, webhook: &Webhook) -> (i64, i64) {
    let list = turn.plane.kubectl("admin").run(["get", "companies", "-o", "name"]).succeeds();
    let known = sample(&metrics(webhook), r#"directory_objects{kind="Company.crm.milo.io"}"#);
    (i64::try_from(list.stdout.lines().count()).unwrap(), known)
}

fn await_knowledge(turn: &Turn, webhook: &Webhook) {
    poll::until("a webhook that knows all companies", PATIENCE, || match companies(turn, webhook) {
        (there, known) if there == known => Seen::Ready(()),
        seen => Seen::NotYet(format!("{seen:?}")),
    });
}

#[test]
fn an_api_server_that_stops_and_comes_back_is_followed_again_and_nothing_is_refused_wrongly() {
    let mut turn = Turn::begin();
    let alice = turn.plane.kubectl("alice");
    turn.on_lookup_error("Deny");
    let (old, new) = (fresh("old"), fresh("new"));
    alice.create(&company(&old, "{displayName: Acme}")).succeeds();
    // One that has no proxy between it and the API server.
    let webhook = Webhook::start(&turn.plane);
    webhook.register();
    await_knowledge(&turn, &webhook);

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
        // Also when what follows fails, or the other thread would go on for ever.
        let _finish = Finish(&done);
        turn.plane.stop_apiserver();
        for _ in 0..5 {
            assert_unchecked(&webhook.review("/mutate", &review("no-such-company")));
        }
        assert_eq!(webhook.admin_page("/readyz").unwrap().0, 200, "it serves from what it knows");
        turn.plane.restart_apiserver();
        done.store(true, Ordering::Relaxed);
        assert!(known.join().expect("every answer allows") > 0);
    });

    webhook.await_reach(Reach::Called);
    alice.create(&company(&new, "{displayName: Globex}")).succeeds();
    // At once: what no watch has told of yet is looked up.
    alice.create(&employee(&fresh("ada"), &new)).succeeds();
    alice.create(&employee(&fresh("ada"), &old)).succeeds();
    let missing = alice.create(&employee(&fresh("ada"), "no-such-company")).fails();
    assert!(is_not_found(&missing.stderr), "{missing}");
    await_knowledge(&turn, &webhook);
    poll::until("a webhook that is ready in all its parts", PATIENCE, || {
        let (code, ready) = webhook.admin_page("/readyz").expect("the admin port answers");
        if code == 200 && !ready.contains("[!]") { Seen::Ready(()) } else { Seen::NotYet(ready) }
    });
}

/// Says that all is done when it is dropped.
struct Finish<'a>(&'a AtomicBool);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
