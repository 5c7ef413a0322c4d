//! Compares `crm-admission policy replay` with an API server: the writes that a policy would newly deny are exactly those
//! that the same writes, sent again under that policy, are denied.

use crate::program::run;
use crate::support::control_plane::{self, Auditing, ControlPlane};
use crate::support::installation::Installation;
use futures::StreamExt;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// The number of writes; `$REPLAY_WRITES` sets another.
const WRITES: usize = 5_000;
/// The number of series of writes in progress at a time.
const CONCURRENT: usize = 16;
const PATIENCE: Duration = Duration::from_secs(60);

/// Stricter than the built-in policy, except for domains.
const POLICY: &str = r#"
apiVersion: admission.crm.milo.io/v1alpha1
kind: AdmissionPolicy
metadata: {name: default}
spec:
  rules:
  - {rule: label-value, action: Deny}
  - {rule: creator-is-requester, action: Deny}
  - {rule: domain, action: Warn}
  - {rule: delete-referenced, action: Deny}
  normalization: {linkedinProfile: RequireCanonical}
  references: {onDryRunByFieldManager: [{manager: replay-agent, mode: Warn}]}
  exemptions:
  - {name: carol, users: [carol], groups: [], rules: [label-value], reason: a test, expires: "2099-01-01T00:00:00Z"}
"#;

/// The client of the writes, and a field manager in [`POLICY`].
const AGENT: &str = "replay-agent";

/// A write by one of the users.
#[derive(Clone)]
struct Write {
    user: &'static str,
    /// The user who is impersonated.
    acts_as: Option<&'static str>,
    /// The operation in the report.
    operation: &'static str,
    kind: &'static str,
    name: String,
    dry_run: bool,
    /// The parameter of the request.
    field_manager: Option<&'static str>,
    content: &'static str,
    body: Value,
}

/// Operation, object, user and dry run: what identifies a write, because no two of the same series are equal in all.
type Key = (String, String, String, bool);

/// What the API server answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Done,
    DeniedByWebhook,
    Failed,
}

impl Write {
    fn new(operation: &'static str, kind: &'static str, name: &str, labels: Value, spec: Value) -> Self {
        let body = json!({"apiVersion": "crm.milo.io/v1alpha1", "kind": kind,
            "metadata": {"name": name, "labels": labels}, "spec": spec});
        Self {
            user: "alice",
            acts_as: None,
            operation,
            kind,
            name: name.to_owned(),
            dry_run: false,
            field_manager: Some("replay"),
            content: "application/json",
            body,
        }
    }

    /// A write of a company that both policies allow.
    fn company(operation: &'static str, name: &str) -> Self {
        Self::new(operation, "Company", name, json!({}), json!({"displayName": "Acme"}))
    }

    /// A write of a company with a source that is not allowed.
    fn labelled(operation: &'static str, name: &str) -> Self {
        let labels = json!({"crm.milo.io/source": "hearsay"});
        Self::new(operation, "Company", name, labels, json!({"displayName": "Acme"}))
    }

    fn person(name: &str, company: &str) -> Self {
        let spec = json!({"displayName": "Ada", "companyRef": {"name": company}});
        Self::new("create", "Person", name, json!({}), spec)
    }

    fn by(self, user: &'static str) -> Self {
        Self { user, ..self }
    }

    fn acting_as(self, user: &'static str) -> Self {
        Self { user: "admin", acts_as: Some(user), ..self }
    }

    fn with(mut self, pointer: &str, value: Value) -> Self {
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        self.body.pointer_mut(parent).expect("a parent")[key] = value;
        self
    }

    fn dry(self) -> Self {
        Self { dry_run: true, ..self }
    }

    fn managed_by(self, field_manager: Option<&'static str>) -> Self {
        Self { field_manager, ..self }
    }

    fn merging(self) -> Self {
        Self { content: "application/merge-patch+json", ..self }
    }

    /// Server-side apply.
    fn applying(self) -> Self {
        Self { content: "application/apply-patch+yaml", ..self }
    }

    fn key(&self) -> Key {
        let user = self.acts_as.unwrap_or(self.user).to_owned();
        (self.operation.to_owned(), format!("{}/{}", self.kind, self.name), user, self.dry_run)
    }
}

/// One series of writes, which depend on each other. Only the last writes of a series differ between the policies,
/// because a denied one would change the answers to the later ones.
fn series(index: usize) -> Vec<Write> {
    let name = format!("replay-{index}");
    let name = name.as_str();
    let other = format!("replay-{index}-person");
    match index % 15 {
        0 => vec![Write::labelled("create", name).dry(), Write::labelled("create", name)],
        1 => vec![
            Write::company("create", name),
            Write::company("update", name).with("/spec/displayName", json!("Globex")).dry(),
            Write::labelled("update", name).by("carol"),
        ],
        2 => vec![Write::company("create", name), Write::labelled("patch", name).merging()],
        3 => vec![Write::labelled("patch", name).applying()],
        4 => vec![
            Write::company("create", name),
            Write::company("patch", name).applying().by("carol"),
            Write::company("delete", name),
        ],
        5 => vec![
            Write::company("create", name).with("/spec/domains", json!(["HTTPS://Acme.com/"])),
            Write::person(&other, name),
            Write::company("delete", name),
        ],
        6 => vec![Write::person(&other, "replay-nowhere"), Write::person(&other, "replay-nowhere").dry()],
        7 => vec![
            Write::company("create", name).with("/spec/domains", json!(["co.uk"])),
            Write::company("create", name).with("/spec/domains", json!(["co.uk"])).acting_as("carol"),
        ],
        8 => vec![
            Write::new(
                "create",
                "Person",
                &other,
                json!({}),
                json!({"displayName": "Ada", "creatorRef": {"name": "zoe"}}),
            )
            .by("dora"),
        ],
        // It exists already, may not be written, or was changed by another.
        9 => vec![
            Write::company("create", name),
            Write::labelled("create", name),
            Write::labelled("create", name).by("bob"),
            Write::labelled("update", name).with("/metadata/resourceVersion", json!("1")),
        ],
        10 => vec![Write::labelled("create", name).acting_as("carol"), Write::labelled("update", name)],
        11 => vec![
            Write::company("create", name)
                .with("/spec/linkedinProfile", json!("http://LinkedIn.com/company/acme")),
        ],
        12 => vec![
            Write::company("create", name),
            Write::new(
                "create",
                "Note",
                &other,
                json!({}),
                json!({"subjectRef": {"apiGroup": "crm.milo.io", "kind": "Company", "name": name}, "content": "met"}),
            ),
            Write::labelled("update", name).acting_as("alice"),
        ],
        13 => vec![Write::company("create", name).with("/spec/displayName", json!(" "))],
        // Nobody may refer to a company that does not exist, except for this field manager. Without the parameter, the
        // user agent, which has the same name, does not count.
        _ => vec![
            Write::company("delete", name),
            Write::person(&other, name).dry().managed_by(None),
            Write::person(name, name).dry().managed_by(Some(AGENT)),
        ],
    }
}

/// All series, with at least as many writes as asked for.
fn all_series() -> Vec<Vec<Write>> {
    let writes = std::env::var("REPLAY_WRITES").map_or(WRITES, |writes| writes.parse().expect("a number"));
    let mut written = 0;
    let mut all = Vec::new();
    while written < writes {
        let series = series(all.len());
        written += series.len();
        all.push(series);
    }
    all
}

/// Sends the writes to an API server.
struct Sender {
    client: Client,
    server: String,
}

impl Sender {
    fn new(plane: &ControlPlane) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let authority = reqwest::Certificate::from_pem(&plane.ca()).expect("a certificate");
        let client =
            Client::builder().tls_certs_only([authority]).timeout(PATIENCE).build().expect("a client");
        Self { client, server: format!("https://127.0.0.1:{}/apis/crm.milo.io/v1alpha1", plane.ports()[1]) }
    }

    async fn send(&self, write: &Write) -> Answer {
        let plural = match write.kind {
            "Company" => "companies",
            "Person" => "people",
            _ => "notes",
        };
        let (method, object) = match write.operation {
            "create" => (Method::POST, String::new()),
            "update" => (Method::PUT, format!("/{}", write.name)),
            "patch" => (Method::PATCH, format!("/{}", write.name)),
            _ => (Method::DELETE, format!("/{}", write.name)),
        };
        let dry_run = if write.dry_run { "&dryRun=All" } else { "" };
        let manager =
            write.field_manager.map(|manager| format!("&fieldManager={manager}")).unwrap_or_default();
        let url = format!("{}/{plural}{object}?timeout=30s{manager}{dry_run}", self.server);
        let mut body = write.body.clone();
        if write.operation == "update" && body.pointer("/metadata/resourceVersion").is_none() {
            body["metadata"]["resourceVersion"] = self.version(&format!("{plural}{object}")).await;
        }
        let token = format!("Bearer {}", control_plane::token(write.user));
        let mut request = self.client.request(method, url).header(AUTHORIZATION, token);
        request = request.header(USER_AGENT, format!("{AGENT}/v1.0"));
        if let Some(user) = write.acts_as {
            request = request.header("Impersonate-User", user).header("Impersonate-Group", "crm-editors");
        }
        if write.operation != "delete" {
            request = request.header(CONTENT_TYPE, write.content).body(body.to_string());
        }
        let response = request.send().await.expect("an answer");
        let is_done = response.status().is_success();
        let text = response.text().await.expect("a body");
        assert!(!text.contains("failed calling webhook"), "{text}");
        let message = serde_json::from_str::<Value>(&text).unwrap_or_default()["message"].clone();
        let is_denied =
            message.as_str().is_some_and(|message| message.contains(".crm.milo.io\" denied the request"));
        match (is_done, is_denied) {
            (true, _) => Answer::Done,
            (false, true) => Answer::DeniedByWebhook,
            (false, false) => Answer::Failed,
        }
    }

    /// The resource version, which an update of a custom resource must have.
    async fn version(&self, path: &str) -> Value {
        let token = format!("Bearer {}", control_plane::token("admin"));
        let request = self.client.get(format!("{}/{path}", self.server)).header(AUTHORIZATION, token);
        let text = request.send().await.expect("an answer").text().await.expect("a body");
        serde_json::from_str::<Value>(&text).expect("JSON")["metadata"]["resourceVersion"].clone()
    }

    /// Sends all writes, those of a series one after the other.
    async fn send_all(&self, all: &[Vec<Write>]) -> Vec<Answer> {
        let each = futures::stream::iter(all).map(async |series| {
            let mut answers = Vec::new();
            for write in series {
                answers.push(self.send(write).await);
            }
            answers
        });
        each.buffered(CONCURRENT).collect::<Vec<_>>().await.concat()
    }

    /// Deletes all records.
    async fn clear(&self) {
        let token = format!("Bearer {}", control_plane::token("admin"));
        for plural in ["notes", "people", "companies"] {
            let request =
                self.client.delete(format!("{}/{plural}", self.server)).header(AUTHORIZATION, &token);
            assert!(request.send().await.expect("an answer").status().is_success());
        }
    }
}

/// The writes in the report with this difference.
fn reported(report: &Value, difference: &str) -> BTreeSet<Key> {
    let groups = report["groups"].as_array().expect("groups").iter();
    let examples = groups
        .filter(|group| group["difference"] == difference)
        .flat_map(|group| group["examples"].as_array().expect("examples"));
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let key = |example: &Value| {
        let object = format!("{}/{}", text(&example["kind"]), text(&example["name"]));
        (text(&example["operation"]), object, text(&example["user"]), example["dryRun"] == true)
    };
    examples.map(key).collect()
}

#[track_caller]
fn assert_same(found: &BTreeSet<Key>, expected: &BTreeSet<Key>, what: &str) {
    let missing: Vec<_> = expected.difference(found).take(5).collect();
    let surplus: Vec<_> = found.difference(expected).take(5).collect();
    assert!(
        missing.is_empty() && surplus.is_empty(),
        "{what}: {} of {}; not found: {missing:?}; only found: {surplus:?}",
        found.len(),
        expected.len()
    );
    assert!(!expected.is_empty(), "no write is {what}");
}

#[test]
fn a_replay_names_the_writes_that_the_policy_then_denies() {
    let mut installed = Installation::start_on(ControlPlane::start_with(Auditing::Writes));
    let _witness = installed.witness();
    installed.webhook.ensure_running();
    installed.webhook.register();
    let plane = &installed.plane;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (sender, all) = (Sender::new(plane), all_series());
    // Registering waits until the webhook answers, which takes some dry runs.
    let probes = plane.audited().len();
    let before = runtime.block_on(sender.send_all(&all));

    let log = plane.workspace().file("audit", "first.log");
    std::fs::copy(plane.audit_log(), &log).expect("a copy of the audit log");
    let policy = plane.workspace().write("policies", "new.yaml", POLICY);
    let (log, policy) = (log.to_str().expect("a path"), policy.to_str().expect("a path"));
    let args = ["policy", "replay", "--policy", policy, log, "-o", "json", "--limit", "1000000"];
    let ran = run(plane, "admin", &args).ends_with(1);
    let report = ran.json();
    // The cluster has no policy yet, so the built-in one is in force.
    let in_cluster = [&args[..], &["--against", "cluster", "--cluster"]].concat();
    let asked = run(plane, "admin", &in_cluster).ends_with(1).json();
    assert_eq!(asked["groups"], report["groups"]);
    assert_eq!(asked["summary"]["referencesNotJudged"], 0);

    installed.webhook.unregister();
    runtime.block_on(sender.clear());
    plane.kubectl("admin").apply(POLICY).succeeds();
    let wait = ["wait", "--for=condition=Accepted", "admissionpolicy/default", "--timeout=60s"];
    plane.kubectl("admin").run(wait).succeeds();
    installed.webhook.register();
    let after = runtime.block_on(sender.send_all(&all));

    let answers = || all.iter().flatten().zip(before.iter().zip(&after));
    let changed = |from: Answer, to: fn(Answer) -> bool| -> BTreeSet<Key> {
        let changed = answers().filter(|(_, (before, after))| **before == from && to(**after));
        changed.map(|(write, _)| write.key()).collect()
    };
    let denied = changed(Answer::Done, |after| after == Answer::DeniedByWebhook);
    assert_same(&reported(&report, "newlyDenied"), &denied, "newly denied");
    let allowed = changed(Answer::DeniedByWebhook, |after| after != Answer::DeniedByWebhook);
    assert_same(&reported(&report, "noLongerDenied"), &allowed, "no longer denied");

    let summary = &report["summary"];
    let failed = before.iter().filter(|answer| **answer == Answer::Failed).count();
    let without_object = summary["withoutObject"].as_u64().expect("a number");
    let read = summary["read"].as_u64().expect("a number") + without_object;
    assert_eq!(read as usize, before.len() + probes, "{summary}");
    let undecided = summary["notDecided"]["failedOtherwise"].as_u64().expect("a number") + without_object;
    assert_eq!(undecided as usize, failed, "{summary}");
    assert_eq!(
        (&summary["withoutOldObject"], &summary["notDecided"]["patches"]),
        (&json!(0), &json!(0)),
        "{summary}"
    );
    assert_eq!(summary["unreadable"], 0);
}
