//! Starts a real control plane with the webhook registered, to try things in until Ctrl-C.
//!
//! `make cluster` builds the programs that it needs and runs it.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a program for people at a terminal, which cannot continue without its control plane"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::path::Path;
use support::installation::Installation;
use support::kubectl::Kubectl;

/// A company with domains and an address as people paste them, and without a creator.
const MESSY: &str = r#"apiVersion: crm.milo.io/v1alpha1
kind: Company
metadata:
  name: acme-corp
spec:
  displayName: Acme Corporation
  domains: ["HTTPS://Acme.com/", www.acme.io]
  linkedinProfile: uk.linkedin.com/company/Acme-Corp/about/
"#;

/// A person whose company is misspelled.
const MISSPELLED: &str = r#"apiVersion: crm.milo.io/v1alpha1
kind: Person
metadata:
  name: ada
spec:
  displayName: Ada Lovelace
  companyRef:
    name: acme-crop
"#;

fn main() {
    println!("Starting etcd, kube-apiserver and crm-admission …");
    let mut installation = Installation::start();
    installation.webhook.register();
    introduce(&installation);
    wait_for_ctrl_c();
    println!("\nStopping …");
    let ended = installation.webhook.stop();
    drop(installation);
    println!("crm-admission stopped ({ended}); the control plane and its files were removed.");
}

/// Prints the users and some commands to try.
fn introduce(installation: &Installation) {
    let plane = &installation.plane;
    let file = |name, content| plane.workspace().write("try", name, content);
    let [messy, misspelled] = [file("messy.yaml", MESSY), file("misspelled.yaml", MISSPELLED)];
    println!("\nThe cluster is ready. KUBECONFIG selects the user:");
    for (user, may) in [
        ("alice", "writes companies, people and notes"),
        ("bob", "reads companies and people, not notes"),
        ("admin", "may do everything"),
    ] {
        println!("  {user:5} {may}\n        export KUBECONFIG={}", plane.kubeconfig(user).display());
    }
    println!("\nThree commands to try, in this order:");
    let alice = plane.kubectl("alice");
    for (why, args) in [
        ("values that are not canonical are normalized, and the creator is set", apply(&messy)),
        ("the stored record", "get company acme-corp -o yaml".to_owned()),
        ("a denial names the problem and the fix", apply(&misspelled)),
    ] {
        println!("  # {why}\n  {}", command_line(&alice, &plane.kubeconfig("alice"), &args));
    }
    println!("\nMetrics and readiness: {}/metrics, /readyz", installation.webhook.admin_url());
    println!("Logs: {}", plane.workspace().path().join("logs").display());
    println!("\nCtrl-C stops everything.");
}

fn apply(file: &Path) -> String {
    format!("apply -f {}", file.display())
}

fn command_line(kubectl: &Kubectl, kubeconfig: &Path, args: &str) -> String {
    format!("{} --kubeconfig {} {args}", kubectl.program().display(), kubeconfig.display())
}

fn wait_for_ctrl_c() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(tokio::signal::ctrl_c()).expect("a signal handler");
}
