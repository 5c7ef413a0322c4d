//! Tests the registration of only `mutate`, with the floor: which requests are still denied, and which are not checked.

use crate::stranger::{Stranger, Turn};
use crate::support::installation::{Installation, Witnessed};
use crate::support::kubectl::{Kubectl, Outcome};
use crate::support::poll::{self, Seen};
use crate::support::records::{bundle, company, note_about, person};
use crate::support::webhook::calls;
use serde_json::{Value, json};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
/// The webhooks for a write or a deletion.
const HOOKS: [&str; 3] = ["mutate.crm.milo.io", "validate.crm.milo.io", "delete.crm.milo.io"];

/// The first minor version with stable MutatingAdmissionPolicies (KEP-3962).
const MUTATING_POLICIES: u32 = 36;

/// One test at a time, because they count calls, and some register both webhooks.
fn site() -> Witnessed<MutexGuard<'static, Installation>> {
    static SITE: LazyLock<Mutex<Installation>> = LazyLock::new(|| Mutex::new(Installation::start()));
    let site = Witnessed::new(SITE.lock().unwrap_or_else(PoisonError::into_inner));
    site.webhook.register_for_one_call();
    site
}

/// How often each of [`HOOKS`] was called during `write`.
#[track_caller]
fn called(admin: &Kubectl, write: impl FnOnce()) -> [u64; 3] {
    let counted = || HOOKS.map(|hook| calls(admin, hook));
    let before = counted();
    write();
    let after = counted();
    std::array::from_fn(|hook| after[hook] - before[hook])
}

fn for_show(user: &Kubectl, record: &str) -> Outcome {
    user.run_with(record, ["create", "--dry-run=server", "-o", "json", "-f", "-"])
}

/// A JSON Patch that sets fields of the spec.
fn set(fields: &[(&str, Value)]) -> Value {
    fields
        .iter()
        .map(|(field, value)| json!({"op": "add", "path": format!("/spec/{field}"), "value": value}))
        .collect()
}

#[test]
fn a_write_is_one_call_and_is_stored_completely() {
    let site = site();
    let (admin, alice) = (site.plane.kubectl("admin"), site.plane.kubectl("alice"));
    let name = "one-call-good";
    let raw = company(name, r#"{displayName: " Acme ", domains: ["HTTPS://Acme.com/"]}"#);
    assert_eq!(called(&admin, || drop(alice.apply(&raw).succeeds())), [1, 0, 0]);
    let spec = &alice.get("company", name)["spec"];
    let expected = json!({"displayName": "Acme", "domains": ["acme.com"], "creatorRef": {"name": "alice"}});
    for (field, value) in expected.as_object().expect("fields") {
        assert_eq!(&spec[field], value);
    }
    let write = |change: Value| called(&admin, || drop(alice.patch("company", name, &change).succeeds()));
    assert_eq!(write(json!({"spec": {"domains": ["WWW.Acme.com", "acme.io"]}})), [1, 0, 0]);
    assert_eq!(alice.get("company", name)["spec"]["domains"], json!(["acme.com", "acme.io"]));
    assert_eq!(write(json!({"metadata": {"annotations": {"example.com/seen": "yes"}}})), [0, 0, 0]);
}

#[test]
fn a_complete_record_is_checked_too() {
    let site = site();
    let (admin, alice) = (site.plane.kubectl("admin"), site.plane.kubectl("alice"));
    let spec = |company: &str| {
        format!("{{displayName: Ada, companyRef: {{name: {company}}}, creatorRef: {{name: zoe}}}}")
    };
    let refused = || {
        let refused = alice.create(&person("one-call-complete", &spec("one-call-nowhere"))).fails();
        refused.prints_error("[company-exists]");
    };
    assert_eq!(called(&admin, refused), [1, 0, 0]);
    alice.create(&company("one-call-somewhere", "{displayName: Acme}")).succeeds();
    let complete = person("one-call-complete", &spec("one-call-somewhere"));
    assert_eq!(called(&admin, || drop(alice.create(&complete).succeeds())), [1, 0, 0]);
}

#[test]
fn an_invalid_record_is_denied_by_one_call_with_every_cause() {
    let site = site();
    let (admin, alice) = (site.plane.kubectl("admin"), site.plane.kubectl("alice"));
    let spec = "{displayName: ' ', linkedinProfile: 'https://example.com/ada', companyRef: {name: one-call-nowhere}}";
    let refused = || {
        let refused = alice.create(&person("one-call-bad", spec)).fails();
        let refused = refused.prints_error("spec.displayName").prints_error("spec.linkedinProfile");
        refused.prints_error("[company-exists]").prints_no_error("crm-admission-floor");
    };
    assert_eq!(called(&admin, refused), [1, 0, 0]);
    alice.create(&note_about("one-call-nobody", "one-call-bad")).fails().prints_error("[subject-exists]");
    let kept = "one-call-kept";
    alice.create(&company(kept, "{displayName: Acme}")).succeeds();
    for (change, rule) in [
        (json!({"creatorRef": {"name": "zoe"}}), "[creator-immutable]"),
        (json!({"domains": ["co.uk"]}), "[domain"),
        (json!({"displayName": " "}), "[display-name"),
    ] {
        alice.patch("company", kept, &json!({"spec": change})).fails().prints_error(rule);
    }
}

#[test]
fn a_deletion_still_warns_about_dependents() {
    let site = site();
    let (admin, alice) = (site.plane.kubectl("admin"), site.plane.kubectl("alice"));
    let employee = person("one-call-ada", "{displayName: Ada, companyRef: {name: one-call-employer}}");
    alice.apply(&bundle([company("one-call-employer", "{displayName: Acme}"), employee])).succeeds();
    let delete = ["delete", "company", "one-call-employer"];
    poll::until("a call of delete.crm.milo.io", PATIENCE, || {
        match called(&admin, || drop(alice.run(delete.into_iter().chain(["--dry-run=server"])).succeeds())) {
            [0, 0, 1] => Seen::Ready(()),
            calls => Seen::NotYet(format!("{calls:?}")),
        }
    });
    alice.run(delete).succeeds().warns_about("metadata.name", "delete-referenced");
}

#[test]
fn changes_by_a_mutating_admission_policy_are_checked() {
    let site = site();
    let (admin, alice) = (site.plane.kubectl("admin"), site.plane.kubectl("alice"));
    let name = "one-call-cel";
    let mutation = |path: &str, value: &str| {
        let expression = format!(r#"[JSONPatch{{op: "add", path: "{path}", value: {value}}}]"#);
        json!({"patchType": "JSONPatch", "jsonPatch": {"expression": expression}})
    };
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "reinvocationPolicy": "IfNeeded",
            "matchConstraints": {"resourceRules": [{
                "apiGroups": ["crm.milo.io"], "apiVersions": ["*"], "resources": ["*"],
                "operations": ["CREATE", "UPDATE"],
            }]},
            "matchConditions": [{"name": "own", "expression": format!("object.metadata.?name.orValue('').startsWith('{name}')")}],
            "mutations": [
                mutation("/spec/linkedinProfile", r#""linkedin.com/in/Ada/""#),
                mutation("/spec/companyRef", r#"Object.spec.companyRef{name: "one-call-nowhere"}"#),
            ],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name},
    });
    let policies = bundle([policy.to_string(), binding.to_string()]);
    if site.plane.minor() < MUTATING_POLICIES {
        // No such policy can change a record.
        let unknown =
            r#"no matches for kind "MutatingAdmissionPolicy" in version "admissionregistration.k8s.io/v1""#;
        admin.create(&policies).fails().prints_error(unknown);
        return;
    }
    alice.create(&person("one-call-cel-old", "{displayName: Ada}")).succeeds();
    admin.create(&policies).succeeds();
    let refused = poll::until("a mutation by a policy", PATIENCE, || {
        let tried = for_show(&alice, &person("one-call-cel-new", "{displayName: Ada}"));
        if tried.ok() { Seen::NotYet(tried.to_string()) } else { Seen::Ready(tried) }
    });
    refused.prints_error("[company-exists]").prints_no_error("linkedinProfile");
    // Policies run first, so an update that does not match our webhook can become one that does.
    let annotate = ["annotate", "person", "one-call-cel-old", "example.com/seen=yes"];
    alice.run(annotate).fails().prints_error("[company-exists]");
    admin.run(["delete", "mutatingadmissionpolicy,mutatingadmissionpolicybinding", name]).succeeds();
}

#[test]
fn changes_by_an_earlier_webhook_are_checked_in_one_call() {
    let site = site();
    let (admin, alice) = (site.plane.kubectl("admin"), site.plane.kubectl("alice"));
    let name = "early";
    alice.create(&company(name, "{displayName: Acme}")).succeeds();
    let _early =
        Stranger::start(&site, name, Turn::Before, |_| set(&[("domains", json!(["HTTPS://Acme.com/"]))]));
    let annotate = ["annotate", "--dry-run=server", "-o", "json", "company", name, "example.com/seen=yes"];
    let written = || {
        let stored = alice.run(annotate).succeeds().json();
        assert_eq!(stored["spec"]["domains"], json!(["acme.com"]));
    };
    assert_eq!(called(&admin, written), [1, 0, 0]);
}

#[test]
fn changes_by_a_later_webhook_are_checked_by_reinvocation() {
    let site = site();
    let (admin, alice) = (site.plane.kubectl("admin"), site.plane.kubectl("alice"));
    let _messy = Stranger::start(&site, "once-messy", Turn::After, |_| {
        set(&[("displayName", json!(" Acme ")), ("domains", json!(["HTTPS://Acme.com/"]))])
    });
    let written = || {
        let stored = for_show(&alice, &company("once-messy", "{displayName: Other}")).succeeds().json();
        assert_eq!(stored["spec"]["domains"], json!(["acme.com"]));
        assert_eq!(stored["spec"]["displayName"], "Acme");
    };
    // Two calls, because of the reinvocation.
    assert_eq!(called(&admin, written), [2, 0, 0]);

    let nowhere = |_: &Value| set(&[("companyRef", json!({"name": "one-call-nowhere"}))]);
    let _wrong = Stranger::start(&site, "once-wrong", Turn::After, nowhere);
    for_show(&alice, &person("once-wrong", "{displayName: Ada}")).fails().prints_error("[company-exists]");
    let _stubborn = Stranger::start(&site, "always-wrong", Turn::AfterAndAgain, nowhere);
    for_show(&alice, &person("always-wrong", "{displayName: Ada}")).fails().prints_error("[company-exists]");
}

#[test]
fn the_floor_denies_values_that_a_later_webhook_changed_back() {
    let site = site();
    let alice = site.plane.kubectl("alice");
    let _stubborn = Stranger::start(&site, "always-messy", Turn::AfterAndAgain, |_| {
        set(&[("domains", json!(["HTTPS://Acme.com/"]))])
    });
    for_show(&alice, &company("always-messy", "{displayName: Acme}"))
        .fails()
        .prints_error("crm-admission-floor")
        .prints_error("spec.domains");
}

/// A webhook that first writes an address, which we rewrite, and at its reinvocation an employer that does not exist.
fn in_two_steps(person: &Value) -> Value {
    if person["spec"]["linkedinProfile"].is_null() {
        set(&[("linkedinProfile", json!("linkedin.com/in/Ada/"))])
    } else {
        set(&[("companyRef", json!({"name": "one-call-nowhere"}))])
    }
}

#[test]
fn a_reference_that_a_later_webhook_writes_at_its_reinvocation_is_not_checked() {
    let site = site();
    let alice = site.plane.kubectl("alice");
    let _steps = Stranger::start(&site, "two-steps", Turn::AfterAndAgain, in_two_steps);
    let write = || for_show(&alice, &person("two-steps", "{displayName: Ada}"));
    let missed = write().succeeds().json();
    assert_eq!(missed["spec"]["companyRef"]["name"], "one-call-nowhere");
    assert_eq!(missed["spec"]["linkedinProfile"], "https://linkedin.com/in/ada");
    // With two calls, it is checked.
    site.webhook.register();
    write().fails().prints_error("[company-exists]");
}

#[test]
fn only_the_floor_checks_a_spec_that_a_later_webhook_changes_with_annotations() {
    let site = site();
    let alice = site.plane.kubectl("alice");
    let name = "by-annotation";
    alice.create(&person(name, "{displayName: Ada}")).succeeds();
    let _mover = Stranger::start(&site, name, Turn::AfterAndAgain, |person| {
        let annotations = &person["metadata"]["annotations"];
        let fields = [
            ("displayName", &annotations["example.com/name"], json!(" ")),
            ("companyRef", &annotations["example.com/employer"], json!({"name": "one-call-nowhere"})),
            ("creatorRef", &annotations["example.com/creator"], json!({"name": "zoe"})),
        ];
        fields
            .into_iter()
            .filter(|(_, asked, _)| asked.is_string())
            .flat_map(|(field, _, value)| set(&[(field, value)]).as_array().cloned().unwrap_or_default())
            .collect()
    });
    let annotate =
        |annotation| alice.run(["annotate", "--dry-run=server", "-o", "json", "person", name, annotation]);
    annotate("example.com/name=none")
        .fails()
        .prints_error("crm-admission-floor")
        .prints_error("spec.displayName");
    let missed = annotate("example.com/employer=none").succeeds().json();
    assert_eq!(missed["spec"]["companyRef"]["name"], "one-call-nowhere");
    annotate("example.com/creator=none")
        .fails()
        .prints_error("crm-admission-floor")
        .prints_error("spec.creatorRef.name: field is immutable");
    // With two calls, it is checked.
    site.webhook.register();
    annotate("example.com/employer=none").fails().prints_error("[company-exists]");
    annotate("example.com/creator=none").fails().prints_error("spec.creatorRef.name: field is immutable");
}
