//! Tests the output and the exit codes of `crm-admission policy replay`. `tests/e2e/replay.rs` compares its results with
//! a real API server.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Output;

use assert_cmd::Command;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

/// Denies an unlisted source, and otherwise does what the built-in policy does.
const STRICTER: &str = "{rules: [{rule: label-value, action: Deny}]}";
/// Does not check domains.
const LAXER: &str = "{rules: [{rule: domain, action: Disabled}]}";

/// One event about a record.
#[derive(Clone)]
struct Event(Value);

impl Event {
    /// A write by alice at the level Request, which succeeded.
    fn new(verb: &str, kind: &str, name: &str, spec: Value) -> Self {
        let plural = match kind {
            "Company" => "companies",
            "Person" => "people",
            _ => "notes",
        };
        let code = if verb == "create" { 201 } else { 200 };
        let uri = format!("/apis/crm.milo.io/v1alpha1/{plural}/{name}?fieldManager=kubectl-create");
        Self(json!({
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Request", "stage": "ResponseComplete",
            "requestURI": uri, "verb": verb, "user": {"username": "alice", "groups": ["system:authenticated"]},
            "objectRef": {"resource": plural, "name": name, "apiGroup": "crm.milo.io", "apiVersion": "v1alpha1"},
            "responseStatus": {"metadata": {}, "code": code},
            "requestObject": record(kind, name, spec),
            "requestReceivedTimestamp": "2026-11-23T12:00:00.000000Z",
            "stageTimestamp": "2026-11-23T12:00:00.100000Z",
        }))
    }

    fn with(mut self, pointer: &str, value: Value) -> Self {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        self.0.pointer_mut(parent).unwrap()[key] = value;
        self
    }

    fn without(mut self, key: &str) -> Self {
        self.0.as_object_mut().unwrap().remove(key);
        self
    }

    fn by(self, user: &str) -> Self {
        self.with("/user/username", json!(user))
    }

    fn labelled(self, source: &str) -> Self {
        self.with("/requestObject/metadata/labels", json!({"crm.milo.io/source": source}))
    }

    fn at(self, time: &str) -> Self {
        self.with("/requestReceivedTimestamp", json!(time)).with("/stageTimestamp", json!(time))
    }

    fn dry_run(self) -> Self {
        let uri = format!("{}&dryRun=All", self.0["requestURI"].as_str().unwrap());
        self.with("/requestURI", json!(uri))
    }

    fn answered(self, code: u16, message: &str) -> Self {
        self.with("/responseStatus", json!({"status": "Failure", "code": code, "message": message}))
    }

    fn denied_by_us(self) -> Self {
        self.answered(422, "admission webhook \"mutate.crm.milo.io\" denied the request: no")
    }

    /// The same at the level RequestResponse, if the write led to this spec.
    fn resulting_in(self, kind: &str, name: &str, spec: Value) -> Self {
        self.with("/responseObject", record(kind, name, spec))
    }
}

fn record(kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": "crm.milo.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn company(verb: &str, name: &str) -> Event {
    Event::new(verb, "Company", name, json!({"displayName": "Acme"}))
}

/// A company with a domain that the rule `domain` denies.
fn bad_domain(verb: &str, name: &str) -> Event {
    Event::new(verb, "Company", name, json!({"displayName": "Acme", "domains": ["co.uk"]}))
}

fn person(name: &str, company: &str) -> Event {
    Event::new("create", "Person", name, json!({"displayName": "Ada", "companyRef": {"name": company}}))
}

fn lines(events: &[Event]) -> String {
    events.iter().map(|event| format!("{}\n", event.0)).collect()
}

/// The output of a replay in a directory with a policy.
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// A directory with logs.
struct Logs(tempfile::TempDir);

impl Logs {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        fs::write(self.0.path().join(name), content).unwrap();
        self
    }

    fn policy(&self, name: &str, spec: &str) -> &Self {
        let head =
            "apiVersion: admission.crm.milo.io/v1alpha1\nkind: AdmissionPolicy\nmetadata: {name: default}";
        self.write(name, format!("{head}\nspec: {spec}\n"))
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crm-admission"));
        command.current_dir(self.0.path()).env("NO_COLOR", "1").env_remove("KUBECONFIG");
        command.args(["policy", "replay", "--policy", "new.yaml"]).args(args);
        command
    }

    fn replay(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).output().unwrap())
    }
}

impl Ran {
    fn of(Output { status, stdout, stderr }: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|_| panic!("{}\n{}", self.stdout, self.stderr))
    }

    /// The numbers of writes that were decided, would newly be denied, no longer, and be newly warned of.
    fn counts(&self) -> [u64; 4] {
        let summary = &self.json()["summary"];
        ["decided", "newlyDenied", "noLongerDenied", "newlyWarned"].map(|key| summary[key].as_u64().unwrap())
    }

    #[track_caller]
    fn says(&self, line: &str) -> &Self {
        assert!(
            self.stdout.lines().any(|printed| printed == line),
            "no {line:?} in\n{}\n{}",
            self.stdout,
            self.stderr
        );
        self
    }
}

/// Replays these events under a policy with this spec, compared with the built-in one, as JSON.
fn replayed(spec: &str, events: &[Event]) -> Ran {
    Logs::new().policy("new.yaml", spec).write("audit.log", lines(events)).replay(&[
        "audit.log",
        "-o",
        "json",
    ])
}

#[test]
fn the_report_counts_by_rule_user_and_object() {
    let events = [
        company("create", "acme").labelled("cold-call").by("alice"),
        company("update", "acme").labelled("cold-call").by("alice"),
        company("create", "globex").labelled("hearsay").by("bob"),
        company("create", "initech").labelled("event"),
        company("create", "hooli").labelled("cold-call").by("alice").dry_run(),
    ];
    let logs = Logs::new();
    logs.policy("new.yaml", STRICTER).write("audit.log", lines(&events));
    let ran = logs.replay(&["audit.log"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    // The second write changes nothing, so both policies allow it.
    ran.says("newly denied: label-value: 3 writes")
        .says("  users: alice (2), bob (1)")
        .says("  objects: Company/acme (1), Company/globex (1), Company/hooli (1)")
        .says(
            "  2026-11-23T12:00:00Z alice: create Company/acme: metadata.labels[crm.milo.io/source]: Unsupported value \
             [label-value] (audit.log:1)",
        )
        .says(
            "  2026-11-23T12:00:00Z alice: create Company/hooli, dry run: metadata.labels[crm.milo.io/source]: \
             Unsupported value [label-value] (audit.log:5)",
        )
        .says("5 writes read, 5 decided; 3 would newly be denied, 0 no longer, 0 newly warned of.")
        .says("Policy new.yaml, compared with built-in.");
}

#[test]
fn values_are_shown_only_on_request() {
    let events = [company("create", "acme").labelled("cold-call")];
    let logs = Logs::new();
    logs.policy("new.yaml", STRICTER).write("audit.log", lines(&events));
    for format in ["text", "json"] {
        let hidden = logs.replay(&["audit.log", "-o", format]);
        assert!(!hidden.stdout.contains("cold-call"), "{}", hidden.stdout);
        let shown = logs.replay(&["audit.log", "-o", format, "--show-values"]);
        assert!(shown.stdout.contains("cold-call"), "{}", shown.stdout);
    }
}

#[test]
fn nothing_newly_denied_is_fine() {
    let ran = replayed(STRICTER, &[company("create", "acme")]);
    assert_eq!((ran.code, ran.counts()), (Some(0), [1, 0, 0, 0]));
    let warned =
        replayed("{rules: [{rule: domain, action: Warn}]}", &[bad_domain("create", "acme").denied_by_us()]);
    assert_eq!((warned.code, warned.counts()), (Some(0), [1, 0, 1, 0]));
    let warned = replayed(
        "{labels: [{key: crm.milo.io/source, kinds: [Company], allowed: [referral], required: true}]}",
        &[company("create", "acme")],
    );
    assert_eq!((warned.code, warned.counts()), (Some(0), [1, 0, 0, 1]));
}

#[test]
fn a_log_without_writes_says_so() {
    let other = company("create", "acme").with("/objectRef/apiGroup", json!("example.com"));
    let logs = Logs::new();
    logs.policy("new.yaml", STRICTER).write("audit.log", lines(&[other])).write("empty.log", "");
    for file in ["audit.log", "empty.log"] {
        let ran = logs.replay(&[file]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        ran.says("0 writes read, 0 decided; 0 would newly be denied, 0 no longer, 0 newly warned of.")
            .says("The log has no write of a Company, Person or Note.");
    }
}

#[test]
fn only_complete_requests_for_records_count_and_each_once() {
    let denied = || company("create", "acme").labelled("cold-call").with("/auditID", json!("a-1"));
    let ran = replayed(
        STRICTER,
        &[
            denied().with("/stage", json!("RequestReceived")).without("responseStatus"),
            denied(),
            denied(),
            denied().with("/auditID", json!("a-2")).with("/objectRef/subresource", json!("status")),
            denied().with("/auditID", json!("a-3")).with("/objectRef/resource", json!("contacts")),
            denied().with("/auditID", json!("a-4")).with("/verb", json!("list")),
        ],
    );
    assert_eq!(ran.json()["summary"]["read"], 1);
    assert_eq!(ran.counts(), [1, 1, 0, 0]);
}

#[test]
fn different_requests_with_the_same_id_are_different_writes() {
    // A client can choose the id.
    let write =
        |verb: &str, name: &str| company(verb, name).labelled("cold-call").with("/auditID", json!("mine"));
    let later = write("update", "b").with("/requestReceivedTimestamp", json!("2026-11-23T12:00:01Z"));
    let ran = replayed(STRICTER, &[write("create", "a"), write("create", "b"), later.clone(), later]);
    assert_eq!(ran.counts(), [3, 2, 0, 0]);
}

#[test]
fn the_impersonated_user_decides() {
    let exempt = "{rules: [{rule: label-value, action: Deny}], exemptions: [{name: m, users: [bob], groups: [], \
                  rules: [label-value], reason: r, expires: \"2027-01-01T00:00:00Z\"}]}";
    let create = |name| company("create", name).labelled("cold-call").by("admin");
    let ran = replayed(
        exempt,
        &[
            create("a").with("/impersonatedUser", json!({"username": "bob"})),
            create("b").by("bob"),
            create("c"),
        ],
    );
    assert_eq!(ran.counts()[1], 1);
    assert_eq!(ran.json()["groups"][0]["users"], json!([{"name": "admin", "writes": 1}]));
}

#[test]
fn dry_runs_are_judged_as_such_and_store_nothing() {
    let lenient = "{rules: [{rule: company-exists, action: Deny}], references: {onDryRun: Skip}}";
    let absent = || company("get", "acme").without("requestObject").answered(404, "not found");
    let strict = "{rules: [{rule: company-exists, action: Disabled}]}";
    let logs = Logs::new();
    let events = [absent(), person("ada", "acme").dry_run(), person("bob", "acme")];
    logs.policy("old.yaml", strict).policy("new.yaml", lenient).write("audit.log", lines(&events));
    let ran = logs.replay(&["audit.log", "-o", "json", "--against", "old.yaml"]);
    assert_eq!(ran.counts(), [2, 1, 0, 0]);
    assert_eq!(ran.json()["groups"][0]["objects"][0]["name"], "bob");
    // The company of a dry run does not exist.
    let events = [absent(), company("create", "acme").dry_run(), person("bob", "acme")];
    logs.write("audit.log", lines(&events));
    assert_eq!(logs.replay(&["audit.log", "-o", "json", "--against", "old.yaml"]).counts(), [2, 1, 0, 0]);
}

#[test]
fn the_field_manager_is_the_parameter() {
    let policy = "{rules: [{rule: company-exists, action: Deny}], references: {onDryRunByFieldManager: [{manager: flux, \
                  mode: Warn}]}}";
    let logs = Logs::new();
    let absent = company("get", "acme").without("requestObject").answered(404, "not found");
    let flux = person("ada", "acme").with("/requestURI", json!("/x?dryRun=All&fieldManager=flux"));
    // Admission does not see what the API server makes of the user agent.
    let agent = person("bob", "acme")
        .with("/requestURI", json!("/x?dryRun=All"))
        .with("/userAgent", json!("flux/v2"));
    logs.policy("old.yaml", "{rules: [{rule: company-exists, action: Disabled}]}").policy("new.yaml", policy);
    logs.write("audit.log", lines(&[absent, flux, agent]));
    let ran = logs.replay(&["audit.log", "-o", "json", "--against", "old.yaml"]);
    assert_eq!(ran.counts(), [2, 1, 0, 1]);
    assert_eq!(ran.json()["groups"][0]["objects"][0]["name"], "bob");
}

#[test]
fn an_update_is_judged_by_the_last_state_in_the_log() {
    let update = |name| company("update", name).labelled("cold-call");
    let unlabelled = Event::new("update", "Company", "a", json!({"displayName": "Other"}));
    let ran = replayed(
        STRICTER,
        &[
            company("create", "a").labelled("cold-call"),
            // The label is unchanged.
            update("a").with("/requestObject/spec/displayName", json!("Other")),
            unlabelled,
            // The label is new again.
            update("a"),
            // Nothing is known.
            update("b"),
            // Now it is.
            update("b").with("/requestObject/spec/displayName", json!("Other")),
        ],
    );
    assert_eq!(ran.counts(), [6, 3, 0, 0]);
    let json = ran.json();
    assert_eq!(json["summary"]["withoutOldObject"], 1);
    assert_eq!(json["summary"]["differencesWithoutOldObject"]["newlyDenied"], 1);
    let known: Vec<&Value> = json["groups"][0]["examples"]
        .as_array()
        .unwrap()
        .iter()
        .map(|example| &example["oldObjectKnown"])
        .collect();
    assert_eq!(known, [true, true, false]);
}

#[test]
fn without_the_old_object_immutable_fields_and_the_creator_are_no_reason() {
    let own =
        "{rules: [{rule: creator-is-requester, action: Deny}, {rule: creator-immutable, action: Deny}]}";
    let update =
        Event::new("update", "Company", "a", json!({"displayName": "A", "creatorRef": {"name": "zoe"}}));
    let ran = replayed(own, &[update]);
    assert_eq!(ran.counts(), [1, 0, 0, 0]);
}

#[test]
fn the_last_state_is_what_the_webhook_stored() {
    // The creator was set, and the domain was rewritten, so the update changes neither.
    let create = Event::new("create", "Company", "a", json!({"displayName": "A", "domains": ["Acme.com"]}));
    let spec = json!({"displayName": "A", "domains": ["acme.com"], "creatorRef": {"name": "alice"}});
    let update = Event::new("update", "Company", "a", spec).by("bob");
    let policy = "{rules: [{rule: domain, action: Deny}], normalization: {domains: RequireCanonical}}";
    let ran = replayed(policy, &[create, update]);
    assert_eq!(ran.counts(), [2, 1, 0, 0]);
    // The answer has the last word.
    let create = company("create", "a").resulting_in(
        "Company",
        "a",
        json!({"displayName": "A", "domains": ["co.uk"]}),
    );
    let update = Event::new("update", "Company", "a", json!({"displayName": "B", "domains": ["co.uk"]}));
    let logs = Logs::new();
    logs.policy("old.yaml", LAXER).policy("new.yaml", "{}").write("audit.log", lines(&[create, update]));
    assert_eq!(logs.replay(&["audit.log", "-o", "json", "--against", "old.yaml"]).counts(), [2, 0, 0, 1]);
}

#[test]
fn a_write_that_the_webhook_denied_is_decided_and_stores_nothing() {
    let events = [
        company("create", "a"),
        bad_domain("update", "a").denied_by_us(),
        bad_domain("update", "a"),
        bad_domain("create", "b").answered(409, "companies.crm.milo.io \"b\" already exists"),
        bad_domain("create", "c").answered(403, "forbidden"),
    ];
    let ran = replayed(LAXER, &events);
    // Both updates are new for the state of the create.
    assert_eq!(ran.counts(), [3, 0, 2, 0]);
    let summary = &ran.json()["summary"];
    assert_eq!((&summary["read"], &summary["notDecided"]["failedOtherwise"]), (&json!(5), &json!(2)));
}

#[test]
fn a_patch_is_decided_by_its_result() {
    let patch = |name: &str| {
        let event = company("patch", name).with("/requestObject", json!({"spec": {"displayName": "Other"}}));
        event.with("/responseStatus/code", json!(200))
    };
    let result = json!({"apiVersion": "crm.milo.io/v1alpha1", "kind": "Company",
        "metadata": {"name": "b", "labels": {"crm.milo.io/source": "cold-call"}}, "spec": {"displayName": "Other"}});
    let json_patch = patch("c").with("/requestObject", json!([{"op": "remove", "path": "/spec/domains"}]));
    let ran = replayed(
        STRICTER,
        &[
            company("create", "a"),
            patch("a"),
            // The patch lost the state of `a`.
            company("update", "a"),
            company("create", "b"),
            patch("b").with("/responseObject", result.clone()),
            json_patch,
            // A server-side apply that creates is a create.
            patch("d").with("/responseObject", result).with("/responseStatus/code", json!(201)),
            patch("e").denied_by_us(),
        ],
    );
    assert_eq!(ran.counts(), [5, 2, 0, 0]);
    let summary = &ran.json()["summary"];
    assert_eq!(summary["notDecided"]["patches"], 3);
    assert_eq!(summary["patchesByResult"], 2);
    assert_eq!(summary["withoutOldObject"], 1);
}

#[test]
fn references_are_looked_up_in_the_log() {
    let strict = "{rules: [{rule: company-exists, action: Deny}]}";
    let lax = "{rules: [{rule: company-exists, action: Disabled}]}";
    let logs = Logs::new();
    let delete = company("delete", "acme").without("requestObject");
    let events = [
        person("unknown", "acme"),
        company("create", "acme"),
        person("there", "acme"),
        delete.clone(),
        person("gone", "acme"),
        company("get", "globex").without("requestObject"),
        person("seen", "globex"),
        delete.with("/objectRef/name", json!("globex")).answered(403, "no"),
        person("still-there", "globex"),
    ];
    logs.policy("old.yaml", lax).policy("new.yaml", strict).write("audit.log", lines(&events));
    let ran = logs.replay(&["audit.log", "-o", "json", "--against", "old.yaml"]);
    assert_eq!(ran.json()["groups"][0]["objects"], json!([{"kind": "Person", "name": "gone", "writes": 1}]));
    assert_eq!(ran.json()["summary"]["referencesNotJudged"], 1);
    let text = logs.replay(&["audit.log", "--against", "old.yaml"]);
    text.says("Not decided: 1 request that failed, but not because of the webhook.");
    text.says("1 reference was not judged, because nothing says whether the target exists.");
}

#[test]
fn references_are_looked_up_in_manifests() {
    let logs = Logs::new();
    let lax = "{rules: [{rule: company-exists, action: Disabled}]}";
    logs.policy("old.yaml", lax).policy("new.yaml", "{}");
    logs.write("audit.log", lines(&[person("ada", "acme"), person("bob", "globex")]));
    logs.write("there.yaml", "apiVersion: crm.milo.io/v1alpha1\nkind: Company\nmetadata: {name: acme}\n");
    let args = ["audit.log", "-o", "json", "--against", "old.yaml", "--resources", "there.yaml"];
    let ran = logs.replay(&args);
    assert_eq!(ran.json()["groups"][0]["objects"][0]["name"], "bob");
    assert_eq!(ran.json()["summary"]["referencesNotJudged"], 0);
}

#[test]
fn a_path_of_resources_without_an_object_gets_a_warning() {
    let logs = Logs::new();
    logs.policy("new.yaml", "{}").write("audit.log", lines(&[company("create", "a")]));
    logs.write("empty.yaml", "# nothing\n");
    logs.write("there.yaml", "apiVersion: crm.milo.io/v1alpha1\nkind: Company\nmetadata: {name: acme}\n");
    fs::create_dir(logs.0.path().join("none")).unwrap();
    let ran = logs.replay(&["audit.log", "--resources", "there.yaml,empty.yaml,none"]);
    let warnings = ["empty.yaml", "none"]
        .map(|path| format!("warning: {path}: this path of --resources has no object; check the path\n"));
    assert_eq!((ran.code, ran.stderr), (Some(0), warnings.concat()));
    let ran = logs.replay(&["audit.log", "--resources", "there.yaml"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
}

#[test]
fn kinds_of_other_groups_are_looked_up_in_the_log() {
    let kinds =
        "references: {kinds: {user: {group: iam.example.com, version: v1, kind: User, plural: users}}}";
    let user = |verb: &str, name: &str| {
        let event = company(verb, name).with("/objectRef/apiGroup", json!("iam.example.com"));
        event.with("/objectRef/resource", json!("users"))
    };
    let person = |name: &str, user: &str| {
        Event::new("create", "Person", name, json!({"displayName": "A", "userRef": {"name": user}}))
    };
    let logs = Logs::new();
    let events = [
        user("create", "zoe"),
        person("a", "zoe"),
        user("delete", "zoe"),
        person("b", "zoe"),
        person("c", "max"),
    ];
    logs.policy("new.yaml", &format!("{{rules: [{{rule: user-exists, action: Deny}}], {kinds}}}"));
    logs.write("audit.log", lines(&events));
    let ran = logs.replay(&["audit.log", "-o", "json"]);
    assert_eq!(ran.counts(), [3, 1, 0, 0]);
    assert_eq!(ran.json()["groups"][0]["objects"][0]["name"], "b");
    assert_eq!(ran.json()["summary"]["referencesNotJudged"], 1);
}

#[test]
fn a_deletion_is_judged_by_the_dependents_in_the_log() {
    let policy = "{rules: [{rule: delete-referenced, action: Deny}]}";
    let delete = |name: &str| company("delete", name).without("requestObject");
    let events = [
        company("create", "acme"),
        person("ada", "acme"),
        delete("acme"),
        delete("globex"),
        Event::new("delete", "Note", "n", json!({})).without("requestObject"),
    ];
    let ran = replayed(policy, &events);
    assert_eq!(ran.counts(), [4, 1, 0, 0]);
    assert_eq!(ran.json()["summary"]["deletionsByLog"], 1);
    let options = json!({"kind": "DeleteOptions", "dryRun": ["All"]});
    let dry_run = company("delete", "acme").with("/requestObject", options);
    let ran = replayed(policy, &[company("create", "acme"), person("ada", "acme"), dry_run, delete("acme")]);
    assert_eq!(ran.counts(), [4, 2, 0, 0]);
}

#[test]
fn rules_act_as_at_the_time_of_the_write() {
    let dated = r#"{rules: [{rule: label-value, action: Deny, enforceAfter: "2026-11-24T00:00:00Z"}]}"#;
    let create = |name| company("create", name).labelled("cold-call");
    let ran =
        replayed(dated, &[create("a").at("2026-11-23T12:00:00Z"), create("b").at("2026-11-24T12:00:00Z")]);
    assert_eq!(ran.counts(), [2, 1, 0, 0]);
    assert_eq!(ran.json()["groups"][0]["objects"][0]["name"], "b");
}

fn gzipped(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn every_form_of_a_log_is_read() {
    let events = [company("create", "a").labelled("cold-call"), company("create", "b").labelled("cold-call")];
    let values: Vec<&Value> = events.iter().map(|event| &event.0).collect();
    let list = json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": values});
    let both = lines(&events);
    let members = [gzipped(&lines(&events[..1])), gzipped(&lines(&events[1..]))].concat();
    let logs = Logs::new();
    logs.policy("new.yaml", STRICTER)
        .write("lines", &both)
        .write("lines.gz", gzipped(&both))
        .write("members", members)
        .write("list", list.to_string())
        .write("pretty-list", format!("{list:#}\n"))
        .write("pretty-list.gz", gzipped(&format!("{list:#}")))
        .write("pretty", format!("{:#}\n{:#}\n", events[0].0, events[1].0));
    for file in ["lines", "lines.gz", "members", "list", "pretty-list", "pretty-list.gz", "pretty"] {
        let ran = logs.replay(&[file, "-o", "json"]);
        assert_eq!(ran.counts(), [2, 2, 0, 0], "{file}");
    }
    for file in ["lines", "lines.gz"] {
        let bytes = fs::read(logs.0.path().join(file)).unwrap();
        let output = logs.command(&["-", "-o", "json"]).write_stdin(bytes).output().unwrap();
        let ran = Ran::of(output);
        assert_eq!(ran.counts(), [2, 2, 0, 0], "{file}");
        assert_eq!(ran.json()["groups"][0]["examples"][0]["place"], "standard input:1");
    }
    let second = format!("{:#}", events[0].0).lines().count() + 1;
    let json = logs.replay(&["pretty", "-o", "json"]).json();
    assert_eq!(json["groups"][0]["examples"][1]["place"], format!("pretty:{second}"));
}

#[test]
fn files_are_read_in_the_order_of_time() {
    let create = company("create", "a").labelled("cold-call").at("2026-11-23T12:00:00Z");
    let update =
        Event::new("update", "Company", "a", json!({"displayName": "Other"})).at("2026-11-23T13:00:00Z");
    let again = company("update", "a").labelled("cold-call").at("2026-11-23T14:00:00Z");
    let other = || company("get", "x").without("requestObject").at("2026-11-23T11:00:00Z");
    let logs = Logs::new();
    // The second API server wrote the event in the middle.
    logs.policy("new.yaml", STRICTER)
        .write("1.log", lines(&[create.clone(), again.clone()]))
        .write("2.log.gz", gzipped(&lines(std::slice::from_ref(&update))))
        .write("all.log", lines(&[other(), create, update, again]));
    let names = |ran: &Ran| ran.json()["groups"][0]["examples"].as_array().unwrap().len();
    for args in [["2.log.gz", "1.log"], ["1.log", "2.log.gz"]] {
        let ran = logs.replay(&[&args[..], &["-o", "json"]].concat());
        assert_eq!((ran.counts(), names(&ran)), ([3, 2, 0, 0], 2), "{args:?}");
        assert_eq!(ran.json()["summary"]["withoutOldObject"], 0);
    }
}

#[test]
fn a_log_that_is_given_twice_counts_once() {
    let event = |id: &str| company("create", id).labelled("cold-call").with("/auditID", json!(id));
    let logs = Logs::new();
    logs.policy("new.yaml", STRICTER).write("audit.log", lines(&[event("a"), event("b")]));
    assert_eq!(logs.replay(&["audit.log", "./audit.log", "-o", "json"]).counts(), [2, 2, 0, 0]);
}

#[test]
fn unreadable_lines_are_counted_and_named_and_the_exit_code_is_not_green() {
    let good = lines(&[company("create", "a")]);
    let denied = lines(&[company("create", "b").labelled("cold-call")]);
    let wrong_type = lines(&[company("create", "c").with("/requestObject/metadata/labels", json!({"a": 1}))]);
    let no_time =
        lines(&[company("create", "d").without("requestReceivedTimestamp").without("stageTimestamp")]);
    let broken =
        format!("{good}\n{{\"cut\": \"crm.milo.io\n{{\"crm.milo.io\": nothing}}\n{wrong_type}{no_time}");
    let logs = Logs::new();
    logs.policy("new.yaml", STRICTER)
        .write("audit.log", &broken)
        .write("denied.log", format!("{broken}{denied}"));
    let ran = logs.replay(&["audit.log"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("events that could not be read: 4"), "{}", ran.stderr);
    ran.says("not read: 4 events")
        .says("  audit.log:3: the line ends inside a JSON object")
        .says("  audit.log:4: the event is not JSON")
        .says("  audit.log:5: the requestObject has a field of a wrong type")
        .says("  audit.log:6: the event has no requestReceivedTimestamp and no stageTimestamp")
        .says("1 write read, 1 decided; 0 would newly be denied, 0 no longer, 0 newly warned of.");
    // What would be denied is the more important result.
    assert_eq!(logs.replay(&["denied.log"]).code, Some(1));
}

#[test]
fn only_the_first_unreadable_lines_are_named() {
    let text = format!("{}{}", lines(&[company("create", "a")]), "no JSON\n".repeat(13));
    let logs = Logs::new();
    let ran = logs.policy("new.yaml", STRICTER).write("audit.log", text).replay(&["audit.log"]);
    ran.says("not read: 13 events").says("  audit.log:11: the line is no JSON object").says("  and 3 more");
}

#[test]
fn a_file_that_is_no_audit_log_is_an_error() {
    let logs = Logs::new();
    logs.policy("new.yaml", STRICTER)
        .write("text", "I am no log\n")
        .write("record.json", record("Company", "a", json!({})).to_string())
        .write("record-spread.json", format!("{:#}", record("Company", "a", json!({}))))
        .write("cut.gz", &gzipped(&lines(&[company("create", "a")]))[..60]);
    for (file, expected) in [
        ("text", "text: not an audit log: give JSON lines or an EventList"),
        ("text", "(text:1: the line is no JSON object)"),
        ("record.json", "(record.json:1: the object is no Event of audit.k8s.io)"),
        ("record-spread.json", "(record-spread.json:1: the object is no Event of audit.k8s.io)"),
        ("cut.gz", "cut.gz: the audit log cannot be read"),
        ("no/such.log", "no/such.log: the audit log cannot be read"),
        (".", ".: the audit log cannot be read"),
    ] {
        for others in [&[][..], &["new.yaml"]] {
            let ran = logs.replay(&[&[file][..], others].concat());
            assert_eq!(ran.code, Some(2), "{file}: {}", ran.stdout);
            assert!(ran.stderr.contains(expected), "{file}: {}", ran.stderr);
        }
    }
}

#[test]
fn a_log_that_cannot_be_read_does_not_hide_the_others() {
    let denied = |name: &str| company("create", name).labelled("cold-call");
    let logs = Logs::new();
    let whole = gzipped(&lines(&[denied("first"), denied("second")]));
    logs.policy("new.yaml", STRICTER)
        .write("good.log", lines(&[company("create", "a")]))
        .write("denied.log", lines(&[denied("b")]))
        .write("text", "I am no log\n")
        // The end of a compressed file is its length and checksum.
        .write("cut.gz", &whole[..whole.len() - 4]);
    let no_log = "text: not an audit log: give JSON lines or an EventList, as the API server writes them (text:1: the line \
                  is no JSON object)";
    let absent = "absent.log: the audit log cannot be read: No such file or directory (os error 2)";
    let ran = logs.replay(&["absent.log", "good.log", "text"]);
    assert_eq!(ran.code, Some(2));
    assert_eq!(ran.stderr, format!("error: the report is not complete: {absent}; {no_log}\n"));
    ran.says("not read: 2 audit logs")
        .says(&format!("  {absent}"))
        .says(&format!("  {no_log}"))
        .says("1 write read, 1 decided; 0 would newly be denied, 0 no longer, 0 newly warned of.")
        .says("2 audit logs could not be read, or not to the end.");
    // Lines that are no log are no events.
    assert!(!ran.stdout.contains("event"), "{}", ran.stdout);
    // What was read before the fault counts, and the exit code says that the work is not done.
    for args in [&["cut.gz"][..], &["cut.gz", "good.log"], &["-", "good.log"]] {
        let output = logs.command(args).args(["-o", "json"]).write_stdin(&whole[..whole.len() - 4]).output();
        let ran = Ran::of(output.unwrap());
        assert_eq!((ran.code, ran.counts()[1]), (Some(2), 2), "{args:?}: {}", ran.stderr);
        assert_eq!(ran.json()["summary"]["unreadableLogs"], 1);
        let said = ": the audit log cannot be read: ";
        assert!(ran.json()["unreadable"][0]["message"].as_str().unwrap().starts_with(&said[2..]));
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
    }
    let ran = logs.replay(&["denied.log", "text"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stdout);
    ran.says("newly denied: label-value: 1 write");
}

#[test]
fn if_no_log_can_be_read_there_is_no_report() {
    let logs = Logs::new();
    logs.policy("new.yaml", STRICTER).write("text", "I am no log\n");
    let ran = logs.replay(&["absent.log", "text"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
    assert!(ran.stderr.starts_with("error: absent.log: the audit log cannot be read: "), "{}", ran.stderr);
    assert!(ran.stderr.contains("; text: not an audit log: "), "{}", ran.stderr);
}

#[test]
fn an_item_of_a_list_that_is_no_object_does_not_hide_the_others() {
    let event = |name: &str| company("create", name).labelled("cold-call").0;
    let items = json!([event("a"), 1, event("b")]);
    let list = json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": items});
    let logs = Logs::new();
    logs.policy("new.yaml", STRICTER).write("audit.log", list.to_string());
    let ran = logs.replay(&["audit.log", "-o", "json"]);
    assert_eq!(ran.counts(), [2, 2, 0, 0]);
    let place = json!([{"place": "audit.log:1", "message": "the item is no JSON object"}]);
    assert_eq!(ran.json()["unreadable"], place);
}

#[test]
fn writes_that_cannot_be_decided_are_no_success() {
    let ran = replayed(STRICTER, &[company("create", "a").without("requestObject")]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("no write could be decided: the audit policy"), "{}", ran.stderr);
    let summary = &ran.json()["summary"];
    assert_eq!((&summary["read"], &summary["withoutObject"]), (&json!(0), &json!(1)));
}

#[test]
fn the_limit_bounds_examples_users_and_objects() {
    let create = |index: usize| {
        company("create", &format!("c{index}")).labelled("cold-call").by(&format!("user{index}"))
    };
    let events: Vec<Event> = (0..5).map(create).chain([create(4)]).collect();
    let logs = Logs::new();
    logs.policy("new.yaml", STRICTER).write("audit.log", lines(&events));
    let ran = logs.replay(&["audit.log", "--limit", "2"]);
    ran.says("  users: user4 (2), user0 (1), 3 more")
        .says("  objects: Company/c4 (2), Company/c0 (1), 3 more")
        .says("  and 4 more; --limit lists more");
    let ran = logs.replay(&["audit.log", "--limit", "0", "-o", "json"]);
    assert_eq!(ran.json()["groups"][0]["examples"], json!([]));
    assert_eq!(ran.json()["groups"][0]["otherUsers"], 5);
}

#[test]
fn json_has_a_version() {
    let ran = replayed(STRICTER, &[company("create", "a").labelled("cold-call")]);
    let json = ran.json();
    assert_eq!(
        (&json["version"], &json["policy"], &json["against"]),
        (&json!(1), &json!("new.yaml"), &json!("built-in"))
    );
    let group = &json["groups"][0];
    assert_eq!(
        (&group["difference"], &group["rule"], &group["writes"]),
        (&json!("newlyDenied"), &json!("label-value"), &json!(1))
    );
}

#[test]
fn quiet_prints_only_what_differs_and_output_names_a_file() {
    let logs = Logs::new();
    logs.policy("new.yaml", STRICTER).write("audit.log", lines(&[company("create", "a")]));
    assert_eq!(logs.replay(&["audit.log", "-q"]).stdout, "");
    let ran = logs.replay(&["-f", "audit.log", "--output", "report.txt"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""));
    let report = fs::read_to_string(logs.0.path().join(Path::new("report.txt"))).unwrap();
    assert!(report.contains("1 write read, 1 decided; "), "{report}");
}

#[test]
fn usage_errors_name_the_argument() {
    let logs = Logs::new();
    logs.policy("new.yaml", STRICTER).policy("bad.yaml", "{rules: [{rule: labels, action: Deny}]}");
    let fails = |args: &[&str], expected: &str| {
        let ran = logs.replay(args);
        assert!(ran.code == Some(2) && ran.stderr.contains(expected), "{args:?}: {}", ran.stderr);
    };
    fails(&[], "AUDITLOG");
    fails(&["-", "--against", "-"], "only one of --policy, --against and AUDITLOG can be `-`");
    fails(&["audit.log", "--against", "bad.yaml"], "spec.rules[0].rule");
    fails(&["audit.log", "--against", "no.yaml"], "no.yaml");
}

#[test]
fn the_creator_that_an_apply_did_not_give_is_filled_in_by_each_policy() {
    let apply = company("patch", "acme")
        .with("/requestObject/spec", json!({"displayName": "Acme"}))
        .with("/responseStatus/code", json!(201))
        .by("pam@corp.example")
        .resulting_in(
            "Company",
            "acme",
            json!({"displayName": "Acme", "creatorRef": {"name": "pam@corp.example"}}),
        );
    let policy = "{rules: [{rule: creator-is-requester, action: Deny}], creator: {sources: \
                  [{from: Username, pattern: '^(?<name>[^@]+)@corp\\.example$'}]}}";
    let ran = replayed(policy, std::slice::from_ref(&apply));
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    let given = apply.with("/requestObject/spec/creatorRef", json!({"name": "pam@corp.example"}));
    let ran = replayed(policy, &[given]);
    assert_eq!(ran.code, Some(1), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.json()["groups"][0]["rule"], "creator-is-requester");
}

#[test]
fn after_the_deletion_of_a_collection_manifests_do_not_say_what_exists() {
    let deleted = company("deletecollection", "").without("requestObject");
    let logs = Logs::new();
    logs.policy("new.yaml", "{}").policy("old.yaml", "{rules: [{rule: company-exists, action: Disabled}]}");
    logs.write("audit.log", lines(&[company("create", "k"), deleted, person("ada", "k")]));
    logs.write("resources.yaml", record("Company", "other", json!({"displayName": "Other"})).to_string());
    let ran =
        logs.replay(&["audit.log", "--against", "old.yaml", "--resources", "resources.yaml", "-o", "json"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.json()["summary"]["referencesNotJudged"], 1, "{}", ran.stdout);
}

#[test]
fn a_deletion_of_a_collection_that_is_a_dry_run_deletes_nothing() {
    let tried = company("deletecollection", "").with("/requestObject", json!({"dryRun": ["All"]}));
    let deny = "{rules: [{rule: delete-referenced, action: Deny}]}";
    let events =
        [company("create", "k"), person("ada", "k"), tried, company("delete", "k").without("requestObject")];
    let ran = replayed(deny, &events);
    assert_eq!(ran.json()["groups"][0]["rule"], "delete-referenced", "{}", ran.stdout);
}

#[test]
fn requests_that_were_forbidden_need_no_decision() {
    let forbidden = company("create", "a").without("requestObject").answered(403, "forbidden");
    let ran = replayed(STRICTER, &[forbidden]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(!ran.stdout.contains("audit policy"), "{}", ran.stdout);
}

#[test]
fn an_input_is_not_overwritten() {
    let logs = Logs::new();
    logs.policy("new.yaml", STRICTER).write("audit.log", lines(&[company("create", "a")]));
    let ran = logs.replay(&["audit.log", "--output", "audit.log"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("audit.log: --output would overwrite an input"), "{}", ran.stderr);
}
