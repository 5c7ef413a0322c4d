//! The commands as users call them: what goes to which stream, and how they end.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper that fails fails the test")]

use std::fs;

use assert_cmd::Command;

fn crm_admission() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crm-admission"));
    // A developer's environment must not change what is tested.
    let ours = std::env::vars().map(|(name, _)| name).filter(|name| name.starts_with("CRM_ADMISSION_"));
    for name in ours {
        command.env_remove(name);
    }
    command.env_remove("KUBERNETES_SERVICE_HOST");
    command
}

/// Runs it and gives exit code, standard output and standard error.
fn run(args: &[&str]) -> (i32, String, String) {
    let output = crm_admission().args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn rules_lists_every_rule_with_its_default_action() {
    let (code, out, err) = run(&["rules"]);
    assert_eq!((code, err.as_str()), (0, ""));
    for rule in crm_admission::catalog::rules() {
        let id = rule.id.as_str();
        let line = out
            .lines()
            .find(|line| line.split_whitespace().next() == Some(id))
            .unwrap_or_else(|| panic!("{id}"));
        assert!(line.contains(rule.default_action.as_str()) && line.ends_with(rule.title), "{line}");
    }
}

#[test]
fn rules_explains_one_rule_with_example_and_fix() {
    let (code, out, _) = run(&["rules", "company-exists"]);
    assert_eq!(code, 0);
    for part in [
        "company-exists: The company",
        "Kinds:   Person",
        "Default: Deny",
        "Fix: ",
        "name: planet-expres\n",
        "name: planet-express\n",
    ] {
        assert!(out.contains(part), "{part:?} is not in {out}");
    }
}

#[test]
fn rules_can_be_read_by_machines() {
    let (code, out, _) = run(&["rules", "--format", "json"]);
    let rules: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, rules.as_array().unwrap().len()), (0, 18));
    let (_, out, _) = run(&["rules", "domain", "--format", "json"]);
    let rule: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(rule["defaultAction"], "Deny");
}

#[test]
fn an_unknown_rule_is_named_with_what_was_probably_meant() {
    let (code, out, err) = run(&["rules", "compny-exists"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("\"compny-exists\"") && err.contains("did you mean \"company-exists\"?"), "{err}");
}

#[test]
fn crds_prints_yaml_that_names_all_kinds() {
    let (code, out, err) = run(&["crds"]);
    assert_eq!((code, err.as_str()), (0, ""));
    for name in ["companies.crm.milo.io", "people.crm.milo.io", "notes.crm.milo.io"] {
        assert!(out.contains(&format!("  name: {name}\n")), "{name}");
    }
}

#[test]
fn certs_dev_makes_files_and_keeps_them_the_next_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("certs");
    let (code, out, _) = run(&["certs", "dev", path.to_str().unwrap()]);
    assert_eq!(code, 0);
    assert_eq!(out.lines().filter(|line| line.starts_with("made ")).count(), 3, "{out}");
    let made = fs::read(path.join("tls.crt")).unwrap();
    let (_, out, _) = run(&["certs", "dev", path.to_str().unwrap()]);
    assert!(out.lines().all(|line| line.starts_with("kept ")), "{out}");
    assert_eq!(fs::read(path.join("tls.crt")).unwrap(), made);
}

#[test]
fn usage_errors_end_with_2_and_say_what_is_missing() {
    for (args, part) in [
        (&["serve"][..], "--tls-dev"),
        (&["serve", "--tls-cert", "x"], "--tls-key"),
        (&["serve", "--tls-dev", "x", "--tls-self-managed"], "--tls-self-managed cannot be used with"),
        (&["serve", "--tls-dev", "x", "--client-name", "api"], "--client-ca"),
        (&["serve", "--tls-dev", "x", "--listen", "nowhere"], "nowhere"),
        (&["serve", "--tls-dev", "x", "--shutdown-delay", "soon"], "10s"),
        (&["serve", "--tls-dev", "x", "--directory", "paper"], "cluster, memory"),
        (&["no-such-command"], "no-such-command"),
        (&["certs", "dev"], "<DIR>"),
    ] {
        let (code, out, err) = run(args);
        assert_eq!((code, out.as_str()), (2, ""), "{args:?}");
        assert!(err.contains(part), "{args:?}: {err}");
    }
}

#[test]
fn serve_says_which_file_it_cannot_use() {
    let dir = tempfile::tempdir().unwrap();
    let certs = dir.path().join("certs");
    let certs = certs.to_str().unwrap();
    let (code, _, err) = run(&["serve", "--tls-cert", "no/tls.crt", "--tls-key", "no/tls.key"]);
    assert_eq!(code, 2);
    assert!(err.contains("no/tls.crt"), "{err}");
    let (code, _, err) = run(&["serve", "--tls-dev", certs, "--resources", "no/such.yaml"]);
    assert_eq!(code, 2);
    assert!(err.contains("no/such.yaml"), "{err}");
    let broken = dir.path().join("broken.yaml");
    fs::write(&broken, "a: [1\nb: 2\n").unwrap();
    let (code, _, err) = run(&["serve", "--tls-dev", certs, "--resources", broken.to_str().unwrap()]);
    assert_eq!(code, 2);
    assert!(err.contains("broken.yaml:2:"), "{err}");
}

#[test]
fn flags_can_be_given_as_environment_variables() {
    let output = crm_admission()
        .arg("serve")
        .env("CRM_ADMISSION_TLS_CERT", "from/env.crt")
        .env("CRM_ADMISSION_TLS_KEY", "from/env.key")
        .output()
        .unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(err.contains("from/env.crt"), "{err}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_crm-admission"))
        .arg("crds")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn policy_check_accepts_a_policy_that_holds_together() {
    let (code, out, err) = run(&["policy", "check", "manifests/policy/default.yaml"]);
    assert_eq!((code, out.as_str(), err.as_str()), (0, "manifests/policy/default.yaml: accepted\n", ""));
}

#[test]
fn policy_check_lists_every_problem_and_ends_with_1() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policy.yaml");
    fs::write(&file, "apiVersion: admission.crm.milo.io/v1alpha1\nkind: AdmissionPolicy\nspec: {rules: [{rule: x, action: Off}, {rule: user-exists, action: Deny}]}\n").unwrap();
    let (code, out, err) = run(&["policy", "check", file.to_str().unwrap()]);
    assert_eq!((code, err.as_str()), (1, ""));
    for part in [
        "policy.yaml: spec.rules[0].rule: ",
        "policy.yaml: spec.rules[0].action: ",
        "policy.yaml: spec.references.kinds.user: ",
    ] {
        assert!(out.contains(part), "{part} is not in {out}");
    }
    let (code, out, err) = run(&["policy", "show", file.to_str().unwrap()]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("spec.rules[0].rule: "), "{err}");
    fs::write(&file, "").unwrap();
    let (code, out, _) = run(&["policy", "check", file.to_str().unwrap()]);
    assert!(code == 1 && out.contains("empty"), "{out}");
}

#[test]
fn policy_check_ends_with_2_where_there_is_nothing_to_check() {
    let (code, out, err) = run(&["policy", "check", "no/such.yaml"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("no/such.yaml"), "{err}");
}

#[test]
fn policy_show_prints_the_policy_that_is_in_force_without_one() {
    let (code, out, err) = run(&["policy", "show"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let (_, shown) = crm_admission::check::documents(&out).unwrap().remove(0);
    let (_, shipped) =
        crm_admission::check::documents(include_str!("../manifests/policy/default.yaml")).unwrap().remove(0);
    assert_eq!(shown, shipped);
}

#[test]
fn serve_does_not_start_with_a_policy_that_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policy.yaml");
    fs::write(
        &file,
        "apiVersion: admission.crm.milo.io/v1alpha1\nkind: AdmissionPolicy\nspec: {rules: 1, labels: 2}\n",
    )
    .unwrap();
    let certs = dir.path().join("certs");
    let (code, _, err) =
        run(&["serve", "--tls-dev", certs.to_str().unwrap(), "--policy", file.to_str().unwrap()]);
    assert_eq!(code, 2);
    assert!(err.contains("spec.rules: ") && err.contains("spec.labels: "), "{err}");
}

#[test]
fn an_address_that_is_taken_is_said_once_and_an_empty_log_variable_is_none() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let certs = dir.path().join("certs");
    let args = [
        "serve",
        "--tls-dev",
        certs.to_str().unwrap(),
        "--listen",
        &address,
        "--admin-listen",
        "127.0.0.1:0",
    ];
    let output = crm_admission().args(args).env("CRM_ADMISSION_LOG", "").output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(err.matches("in use").count(), 1, "{err}");
    assert!(err.contains(&address) && err.contains("--listen"), "{err}");
    assert!(err.contains("INFO"), "the default filter shows what is informative: {err}");
}

/// Runs `doctor` with this kubeconfig.
fn doctor(kubeconfig: &std::path::Path, args: &[&str]) -> (i32, String, String) {
    let output = crm_admission().arg("doctor").args(args).env("KUBECONFIG", kubeconfig).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn doctor_without_a_kubeconfig_could_not_do_its_work() {
    let directory = tempfile::tempdir().unwrap();
    let (code, out, err) = doctor(&directory.path().join("absent"), &[]);
    assert_eq!((code, out.as_str()), (2, ""), "{err}");
    assert!(err.starts_with("error: no cluster: "), "{err}");
}

#[test]
fn doctor_without_an_api_server_could_not_do_its_work() {
    let directory = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let kubeconfig = directory.path().join("kubeconfig");
    let content = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": format!("http://127.0.0.1:{port}")}}],
        "users": [{"name": "c", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
    });
    fs::write(&kubeconfig, content.to_string()).unwrap();
    let (code, out, err) = doctor(&kubeconfig, &[]);
    assert_eq!((code, out.as_str()), (2, ""), "{err}");
    assert!(err.starts_with("error: the API server cannot be asked: ") && err.contains("refused"), "{err}");
}

#[test]
fn doctor_takes_only_names_and_addresses() {
    for (flag, value, text) in [
        ("--namespace", "../default", "not a name such as crm-admission"),
        ("--service", "a/b", "not a name such as crm-admission"),
        ("--tls-secret", "A", "not a name such as crm-admission-tls"),
        ("--connect", "9443", "not HOST:PORT, such as 127.0.0.1:9443"),
        ("--timeout", "10", "not a duration"),
    ] {
        let (code, _, err) = run(&["doctor", flag, value]);
        assert!(code == 2 && err.contains(text), "{flag}: {err}");
    }
}

#[test]
fn serve_goes_on_where_its_log_cannot_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut serve = std::process::Command::new(env!("CARGO_BIN_EXE_crm-admission"))
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            &address.to_string(),
            "--shutdown-delay",
            "0s",
        ])
        .args(["--directory", "memory", "--tls-dev", dir.path().to_str().unwrap()])
        .stderr(full)
        .spawn()
        .unwrap();
    while std::net::TcpStream::connect(address).is_err() {
        assert!(serve.try_wait().unwrap().is_none(), "it has ended");
        std::thread::yield_now();
    }
    let told = std::process::Command::new("kill").arg(serve.id().to_string()).status().unwrap();
    assert!(told.success());
    assert_eq!(serve.wait().unwrap().code(), Some(0));
}
