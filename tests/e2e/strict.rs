//! Compares `check` with strict dry-run creates on the API server, for many odd records.
//!
//! `ODD_RECORDS=2000 ODD_SEED=7` makes more of them, or others.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use crate::stage;
use crate::support::control_plane::{self, ControlPlane};
use crate::support::process;
use crate::support::webhook::product;

/// The default number of records.
const RECORDS: u64 = 600;

/// A source of numbers that depends only on its seed (xorshift64*).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(number).unwrap() % limit
    }

    fn one_of<'v>(&mut self, values: &'v [Value]) -> &'v Value {
        &values[self.below(values.len())]
    }
}

/// Odd values, by the path of the field that gets them.
fn oddities(kind: &str) -> Vec<(&'static str, Vec<Value>)> {
    let long = |length: usize| "x".repeat(length);
    let owner = |fields: Value| {
        let mut owner = json!({"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "1"});
        for (key, value) in fields.as_object().unwrap() {
            owner[key] = value.clone();
        }
        json!([owner])
    };
    let anything =
        || vec![json!(null), json!(1), json!(true), json!(""), json!(" "), json!([]), json!({}), json!(1.5)];
    let with_any = |values: &[Value]| [values, &anything()].concat();
    let time = [
        json!("2030-01-15T09:00:00Z"),
        json!("2030-01-15T09:00:00+02:00"),
        json!("2030-01-15"),
        json!("tomorrow"),
        json!("2030-01-15T09:00:00.123456789Z"),
        json!("2030-01-15t09:00:00z"),
        json!("2030-02-30T09:00:00Z"),
        json!("2030-01-15T24:00:00Z"),
        json!("2030-01-15T09:00:60Z"),
        json!("2030-01-15 09:00:00Z"),
    ];
    let mut odd = vec![
        (
            "metadata.labels",
            with_any(&[
                json!({"a": "b"}),
                json!({"a b": "c"}),
                json!({"a": "b c"}),
                json!({"a": long(64)}),
                json!({long(64): "a"}),
                json!({"crm.milo.io/source": "event"}),
                json!({"UPPER.com/a": "b"}),
                json!({"a": 1}),
                json!({"a": null}),
                json!({"/a": "b"}),
                json!({"a/": "b"}),
                json!({"a/b/c": "d"}),
                json!({"": "a"}),
            ]),
        ),
        (
            "metadata.annotations",
            with_any(&[
                json!({"a": "b"}),
                json!({"a b": "c"}),
                json!({"UPPER.com/A": "b"}),
                json!({"a": long(262_143)}),
                json!({"a": long(262_144)}),
                json!({"a": 1}),
                json!({"a": null}),
                json!({"a/b/c": "d"}),
                json!({"": "a"}),
            ]),
        ),
        (
            "metadata.finalizers",
            with_any(&[
                json!(["a.com/b"]),
                json!(["orphan"]),
                json!(["foregroundDeletion"]),
                json!(["orphan", "foregroundDeletion"]),
                json!(["a b"]),
                json!([""]),
                json!(["a", 1]),
                json!(["noslash"]),
                json!([null]),
            ]),
        ),
        (
            "metadata.ownerReferences",
            with_any(&[
                owner(json!({})),
                owner(json!({"uid": ""})),
                owner(json!({"uid": null})),
                owner(json!({"name": ""})),
                owner(json!({"kind": ""})),
                owner(json!({"apiVersion": ""})),
                owner(json!({"apiVersion": "a/b/c"})),
                owner(json!({"controller": true})),
                owner(json!({"controller": "yes"})),
                owner(json!({"extra": 1})),
                owner(json!({"kind": "Event"})),
                json!([1]),
                json!([null]),
                json!([
                    {"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "1", "controller": true},
                    {"apiVersion": "v1", "kind": "Pod", "name": "b", "uid": "2", "controller": true},
                ]),
            ]),
        ),
        (
            "metadata.name",
            with_any(&[
                json!("Acme"),
                json!("a_b"),
                json!("a..b"),
                json!("-a"),
                json!("a."),
                json!(long(253)),
                json!(long(254)),
                json!("a/b"),
                json!("é"),
                json!("."),
                json!("a b"),
            ]),
        ),
        ("metadata.generateName", with_any(&[json!("acme-"), json!("Acme-"), json!("a_"), json!(long(300))])),
        ("metadata.namespace", with_any(&[json!("default"), json!("A B")])),
        ("metadata.uid", with_any(&[json!("1")])),
        ("metadata.generation", with_any(&[json!(-1), json!("1"), json!(7)])),
        ("metadata.creationTimestamp", with_any(&time)),
        ("metadata.deletionTimestamp", with_any(&time)),
        ("metadata.deletionGracePeriodSeconds", with_any(&[json!(-1), json!(30)])),
        ("metadata.selfLink", with_any(&[json!("/x")])),
        ("metadata.clusterName", anything()),
        ("metadata.Labels", vec![json!({"a": "b"})]),
        (
            "status",
            with_any(&[
                json!({"conditions": []}),
                json!({"conditions": [{}]}),
                json!({"conditions": 1}),
                json!({"conditions": [{"type": "A", "status": "True", "reason": "B", "message": "", "lastTransitionTime": "x"}]}),
            ]),
        ),
        ("spec", anything()),
        ("spec.unknown", anything()),
        ("extra", anything()),
        (
            "spec.creatorRef",
            with_any(&[
                json!({"name": "alice"}),
                json!({"name": "a", "x": 1}),
                json!({"name": 1}),
                json!({"Name": "a"}),
            ]),
        ),
        ("spec.creatorRef.name", with_any(&[json!("alice"), json!("a/b"), json!(long(254)), json!("..")])),
    ];
    let name = [
        json!("Acme"),
        json!(" Acme "),
        json!(long(256)),
        json!(long(257)),
        json!("a\nb"),
        json!("\u{200b}"),
    ];
    odd.extend(match kind {
        "Company" => vec![
            ("spec.displayName", with_any(&name)),
            ("spec.description", with_any(&[json!(long(4096)), json!(long(4097)), json!("é".repeat(4096))])),
            ("spec.domains", with_any(&[
                json!(["acme.com"]), json!(["Acme.com", "acme.com"]), json!(["a b"]), json!([1]), json!([null]), json!([""]),
                json!(vec!["a.com"; 100]), json!(vec!["a.com"; 101]), json!([["a.com"]]), json!("acme.com"), json!(["co.uk"]),
            ])),
            ("spec.linkedinProfile", with_any(&[
                json!("linkedin.com/company/acme"), json!("https://example.com"), json!("linkedin.com/in/jane"), json!(long(3000)),
            ])),
            ("spec.organizationRef", with_any(&[json!({"name": "a"}), json!({"name": ""}), json!({"x": 1})])),
        ],
        "Person" => vec![
            ("spec.displayName", with_any(&name)),
            ("spec.companyRef", with_any(&[json!({"name": "odd-acme"}), json!({"name": "odd-none"}), json!({"name": ""}), json!({"x": 1})])),
            ("spec.contactRefs", with_any(&[
                json!([{"name": "a", "namespace": "b"}]), json!([{"name": "a"}]), json!([{}]), json!([1]),
                json!([{"name": "a", "namespace": "b", "primary": true}, {"name": "c", "namespace": "b", "primary": true}]),
            ])),
            ("spec.linkedinProfile", with_any(&[json!("linkedin.com/in/jane"), json!("linkedin.com/company/acme")])),
            ("spec.title", with_any(&[json!(long(256)), json!(long(257))])),
        ],
        _ => vec![
            ("spec.content", with_any(&[json!("x"), json!(long(1000)), json!(long(1001)), json!("\u{200b}")])),
            ("spec.subjectRef", with_any(&[
                json!({"apiGroup": "crm.milo.io", "kind": "Company", "name": "odd-acme"}),
                json!({"apiGroup": "crm.milo.io", "kind": "Company", "name": "odd-none"}),
                json!({"apiGroup": "crm.milo.io", "kind": "company", "name": "odd-acme"}),
                json!({"apiGroup": "example.com", "kind": "Company", "name": "odd-acme"}),
                json!({"kind": "Company"}), json!({"apiGroup": 1, "kind": "Company", "name": "odd-acme"}),
                json!({"apiGroup": "crm.milo.io", "kind": "Company", "name": "odd-acme", "namespace": "x"}),
            ])),
            ("spec.interactionTime", with_any(&time)),
            ("spec.nextActionTime", with_any(&time)),
            ("spec.nextAction", with_any(&[json!(long(200)), json!(long(5000))])),
            ("spec.followUp", with_any(&[json!("yes")])),
        ],
    });
    odd
}

/// A good record with one odd value, or two.
fn record(numbers: &mut Numbers, index: u64) -> Value {
    let kind = ["Company", "Person", "Note"][numbers.below(3)];
    let spec = match kind {
        "Company" => json!({"displayName": "Acme"}),
        "Person" => json!({"displayName": "Ada", "companyRef": {"name": "odd-acme"}}),
        _ => json!({
            "content": "x", "subjectRef": {"apiGroup": "crm.milo.io", "kind": "Company", "name": "odd-acme"},
        }),
    };
    let mut record = json!({
        "apiVersion": "crm.milo.io/v1alpha1", "kind": kind, "metadata": {"name": format!("odd-{index}")}, "spec": spec,
    });
    let oddities = oddities(kind);
    for _ in 0..=numbers.below(4) / 3 {
        let (path, values) = &oddities[numbers.below(oddities.len())];
        let value = numbers.one_of(values).clone();
        set(&mut record, path, value);
    }
    record
}

/// Sets a field, unless its parent is not an object.
fn set(record: &mut Value, path: &str, value: Value) {
    let mut at = record;
    let mut parts = path.split('.').peekable();
    while let Some(part) = parts.next() {
        if at.is_null() && parts.peek().is_none() {
            *at = json!({});
        }
        let Some(fields) = at.as_object_mut() else { return };
        at = fields.entry(part).or_insert(Value::Null);
    }
    *at = value;
}

/// The verdict of the API server, with its message.
async fn by_api_server(client: &Client, server: &str, record: &Value) -> (bool, String) {
    let plural = match record["kind"].as_str().unwrap() {
        "Company" => "companies",
        "Person" => "people",
        _ => "notes",
    };
    let url = format!("{server}/apis/crm.milo.io/v1alpha1/{plural}?dryRun=All&fieldValidation=Strict");
    let request = client.post(url).bearer_auth(control_plane::token("alice")).json(record);
    let answer = request.send().await.expect("an answer");
    let status = answer.status();
    let text = answer.text().await.expect("a body");
    (status == StatusCode::CREATED, text)
}

/// The files that `check` denies or cannot read, with its reasons.
fn by_check(plane: &ControlPlane, records: &[Value]) -> BTreeMap<usize, Vec<String>> {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    for (index, record) in records.iter().enumerate() {
        fs::write(directory.join(format!("{index}.json")), record.to_string()).unwrap();
    }
    let mut command = Command::new(product());
    process::clear_environment(&mut command);
    command.env("KUBECONFIG", plane.kubeconfig("admin")).current_dir(directory);
    command.args([
        "check",
        ".",
        "--cluster",
        "--as",
        "alice",
        "--as-group",
        "crm-editors",
        "--format",
        "json",
    ]);
    let output = command.output().expect("a program that starts");
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let mut denied: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    let findings = report["findings"].as_array().unwrap().iter().filter(|found| found["action"] == "Deny");
    for found in findings.chain(report["errors"].as_array().unwrap()) {
        let index = found["file"].as_str().unwrap().trim_end_matches(".json").parse().unwrap();
        denied.entry(index).or_default().push(format!("{}: {}", found["field"], found["message"]));
    }
    denied
}

#[test]
fn check_agrees_with_a_strict_dry_run_about_odd_records() {
    let stage = stage::shared();
    stage
        .plane
        .kubectl("alice")
        .apply(&crate::support::records::company("odd-acme", "{displayName: Odd}"))
        .succeeds();
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let mut numbers = Numbers(number("ODD_SEED").unwrap_or(20_261_130) * 2 + 1);
    let count = number("ODD_RECORDS").unwrap_or(RECORDS);
    let records: Vec<Value> = (0..count).map(|index| record(&mut numbers, index)).collect();
    let denied = by_check(&stage.plane, &records);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ca = reqwest::Certificate::from_pem(&stage.plane.ca()).unwrap();
    let client = Client::builder().tls_certs_only([ca]).build().unwrap();
    let server = format!("https://127.0.0.1:{}", stage.plane.ports()[1]);
    let (mut differences, mut allowed) = (Vec::new(), 0);
    for (index, record) in records.iter().enumerate() {
        let (created, answer) = runtime.block_on(by_api_server(&client, &server, record));
        allowed += usize::from(created);
        if created == denied.contains_key(&index) {
            let by_check = denied.get(&index);
            differences.push(format!("{record}\n  API server: {answer}\n  check: {by_check:?}"));
        }
    }
    let shown: Vec<&String> = differences.iter().take(20).collect();
    assert!(differences.is_empty(), "{} differences:\n{shown:#?}", differences.len());
    // Both verdicts are common, or the comparison proves little.
    let share = allowed as f64 / records.len() as f64;
    assert!((0.1..0.9).contains(&share), "{allowed} of {count} were created");
}
