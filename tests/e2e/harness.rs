//! Tests the harness: the control plane, its users, the shipped registration, and the cleanup.

use crate::stage;
use crate::support::control_plane::{ControlPlane, WEBHOOK_USER};
use crate::support::manifest;
use crate::support::net;
use crate::support::poll::{self, Seen};
use crate::support::process::{Log, Process};
use crate::support::webhook;
use crate::support::workspace::Workspace;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

#[test]
fn a_dropped_control_plane_leaves_nothing_behind() {
    let plane = ControlPlane::start();
    plane.kubectl("admin").run(["version"]).succeeds().prints("Server Version");
    let directory = plane.workspace().path().to_owned();
    let ports = plane.ports();
    drop(plane);
    assert_eq!(ports.map(net::listens), [false, false]);
    assert!(!directory.exists(), "{} is still there", directory.display());
}

/// The variable with the path of the file in which [`hold_a_program`] reports its program and directory.
const HOLDER: &str = "CRM_ADMISSION_TEST_HOLDER";

#[test]
fn a_killed_test_program_leaves_no_programs_or_files_behind() {
    let workspace = Workspace::create();
    let report = workspace.file("report", "held");
    let mut holder = Command::new(std::env::current_exe().expect("the path of this program"))
        .args(["--ignored", "--exact", "harness::hold_a_program"])
        .env(HOLDER, &report)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("this program can be started again");
    let held = poll::until("the report of the held program", Duration::from_secs(30), || {
        let content = std::fs::read_to_string(&report).unwrap_or_default();
        match content.trim_end().split_once('\n') {
            Some((pid, directory)) => Seen::Ready((pid.to_owned(), directory.to_owned())),
            None => Seen::NotYet(format!("{content:?}")),
        }
    });
    let (pid, directory) = held;
    assert!(runs(&pid) && Path::new(&directory).exists());
    holder.kill().expect("this program can be killed");
    holder.wait().expect("the end of it");
    poll::until("the end of the held program", Duration::from_secs(30), || {
        match (runs(&pid), Path::new(&directory).exists()) {
            (false, false) => Seen::Ready(()),
            (running, left) => Seen::NotYet(format!("running: {running}, files left: {left}")),
        }
    });
}

/// Not a test: holds a program and a directory until it is killed by the test above.
#[test]
#[ignore = "started by a_killed_test_program_leaves_no_programs_or_files_behind"]
fn hold_a_program() {
    let Some(report) = std::env::var_os(HOLDER) else {
        return;
    };
    let workspace = Workspace::create();
    let log = Log::new(workspace.file("logs", "sleep.log"));
    let mut command = Process::command("sh");
    command.args([
        "-c",
        r#"echo $$ >"$2.new"; echo "$1" >>"$2.new"; mv "$2.new" "$2"; exec sleep 600"#,
        "sh",
    ]);
    command.arg(workspace.path()).arg(report);
    let mut process = Process::start("sleep", command, &log);
    process.wait(Duration::from_secs(600));
}

fn runs(pid: &str) -> bool {
    Command::new("kill").args(["-0", pid]).stderr(Stdio::null()).status().expect("kill").success()
}

#[test]
fn a_signal_reaches_the_program_and_its_status_is_returned() {
    let workspace = Workspace::create();
    let log = Log::new(workspace.file("logs", "trap.log"));
    let mut command = Process::command("sh");
    command.args(["-c", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done"]);
    let mut process = Process::start("trap", command, &log);
    let printed = || std::fs::read_to_string(log.path()).unwrap_or_default();
    let waiting = process.ready(Duration::from_secs(30), || match printed() {
        text if text.contains("ready") => Ok(()),
        text => Err(text),
    });
    assert_eq!(waiting, Ok(()));
    process.signal("TERM");
    assert_eq!(process.wait(Duration::from_secs(30)).code(), Some(7));
}

#[test]
fn the_control_plane_has_the_version_that_was_asked_for() {
    let stage = stage::shared();
    let version = stage.plane.kubectl("admin").run(["version", "-o", "json"]).succeeds().json();
    // Without the variable, any version is right.
    let asked = std::env::var("KUBERNETES").unwrap_or_default();
    for program in ["clientVersion", "serverVersion"] {
        let number = |part: &str| version[program][part].as_str().expect("a number");
        let (major, minor) = (number("major"), number("minor"));
        assert!(asked.is_empty() || asked == format!("{major}.{minor}"), "{program}: {version}");
    }
}

#[test]
fn users_have_the_permissions_that_the_tests_need() {
    let stage = stage::shared();
    let may = |user, verb, resource| stage.plane.kubectl(user).run(["auth", "can-i", verb, resource]).ok();
    for (user, verb, resource, allowed) in [
        ("alice", "create", "notes.crm.milo.io", true),
        ("alice", "create", "configmaps", false),
        ("bob", "list", "people.crm.milo.io", true),
        ("bob", "create", "people.crm.milo.io", false),
        ("bob", "list", "notes.crm.milo.io", false),
        ("dora", "create", "people.crm.milo.io", true),
        ("dora", "list", "companies.crm.milo.io", false),
        ("erin", "deletecollection", "companies.crm.milo.io", true),
        ("erin", "list", "notes.crm.milo.io", false),
        ("crm-admission", "list", "notes.crm.milo.io", true),
        ("crm-admission", "get", "notes.crm.milo.io", false),
        ("crm-admission", "watch", "companies.crm.milo.io", true),
        ("crm-admission", "create", "subjectaccessreviews.authorization.k8s.io", true),
        ("crm-admission", "update", "companies.crm.milo.io", false),
        ("crm-admission", "list", "secrets", false),
    ] {
        assert_eq!(may(user, verb, resource), allowed, "{user} {verb} {resource}");
    }
    stage.plane.kubectl("crm-admission").run(["auth", "whoami"]).succeeds().prints(WEBHOOK_USER);
    stage.plane.kubectl("alice").run(["get", "companies"]).succeeds();
    stage.plane.kubectl("bob").run(["get", "notes"]).fails().prints_error("notes.crm.milo.io is forbidden");
}

#[test]
fn the_api_server_adds_nothing_to_the_shipped_webhooks_and_policies() {
    let stage = stage::shared();
    let admin = stage.plane.kubectl("admin");
    let guard = admin.read(&manifest("guard/guard.yaml"));
    let shipped = webhook::shipped(&admin).into_iter().chain(webhook::one_call(&admin)).chain(guard);
    for configuration in shipped {
        let text = renamed(&configuration).to_string();
        let mut stored =
            admin.run_with(&text, ["create", "--dry-run=server", "-o", "json", "-f", "-"]).succeeds().json();
        // Left to AKS. Tools compare the fields that a manifest has.
        for webhook in stored["webhooks"].as_array_mut().into_iter().flatten() {
            let selector = webhook.as_object_mut().and_then(|fields| fields.remove("namespaceSelector"));
            assert_eq!(selector, Some(json!({})));
        }
        for part in ["webhooks", "spec"] {
            assert_eq!(stored[part], configuration[part], "GitOps tools would see drift");
        }
    }
}

/// The configuration with another name, because it is registered already.
fn renamed(configuration: &Value) -> Value {
    let mut configuration = configuration.clone();
    configuration["metadata"]["name"] = "crm-admission-as-shipped".into();
    configuration
}
