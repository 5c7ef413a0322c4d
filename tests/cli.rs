//! Tests the commands as users call them: output streams and exit codes.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use assert_cmd::Command;

fn crm_admission() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crm-admission"));
    // The developer's environment must not affect the test.
    let names = std::env::vars().map(|(name, _)| name);
    for name in names.filter(|name| name.starts_with("CRM_ADMISSION_") || name.starts_with("OTEL_")) {
        command.env_remove(name);
    }
    command.env_remove("KUBERNETES_SERVICE_HOST");
    command
}

/// Runs the program. Returns the exit code, standard output and standard error.
pub(crate) fn run(args: &[&str]) -> (i32, String, String) {
    let output = crm_admission().args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn rules_lists_every_rule_with_its_default_action() {
    let (code, out, err) = run(&["rules"]);
    assert_eq!((code, err.as_str()), (0, ""));
    for rule in crm_core::catalog::rules() {
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
fn rules_explains_what_a_message_shows_in_brackets() {
    for id in ["domain/email", "[domain/email]"] {
        let (code, out, _) = run(&["rules", id]);
        assert_eq!(code, 0);
        for part in [
            "domain: Domains are",
            "\nCode:    email: looks like an e-mail address; give only the domain, the part after the @\n",
            "Fix: ",
        ] {
            assert!(out.contains(part), "{part:?} is not in {out}");
        }
    }
    let (_, out, _) = run(&["rules", "domain-hint/unknown-tld", "--format", "json"]);
    let rule: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&rule["id"], &rule["code"]["id"]), (&"domain-hint".into(), &"unknown-tld".into()));
    let (code, out, err) = run(&["rules", "domain/emial"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("the rule domain has no code \"emial\"; did you mean \"email\"?"), "{err}");
}

#[test]
fn rules_can_be_read_by_machines() {
    let (code, out, _) = run(&["rules", "--format", "json"]);
    let rules: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, rules.as_array().unwrap().len()), (0, 20));
    let (_, out, _) = run(&["rules", "domain", "--format", "json"]);
    let rule: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(rule["defaultAction"], "Deny");
}

#[test]
fn an_unknown_rule_gets_a_suggestion() {
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
fn certs_dev_creates_files_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("certs");
    let (code, out, _) = run(&["certs", "dev", path.to_str().unwrap()]);
    assert_eq!(code, 0);
    assert_eq!(out.lines().filter(|line| line.starts_with("created ")).count(), 3, "{out}");
    let made = fs::read(path.join("tls.crt")).unwrap();
    let (_, out, _) = run(&["certs", "dev", path.to_str().unwrap()]);
    assert!(out.lines().all(|line| line.starts_with("kept ")), "{out}");
    assert_eq!(fs::read(path.join("tls.crt")).unwrap(), made);
}

#[test]
fn usage_errors_exit_with_2_and_have_a_message() {
    for (args, part) in [
        (&["serve"][..], "--tls-dev"),
        (&["serve", "--tls-cert", "x"], "--tls-key"),
        (&["serve", "--tls-dev", "x", "--tls-self-managed"], "--tls-self-managed cannot be used with"),
        (&["serve", "--tls-dev", "x", "--client-name", "api"], "--client-ca"),
        (&["serve", "--tls-dev", "x", "--listen", "nowhere"], "nowhere"),
        (&["serve", "--tls-dev", "x", "--shutdown-delay", "soon"], "10s"),
        (&["serve", "--tls-dev", "x", "--directory", "paper"], "cluster, memory"),
        (&["serve", "--tls-dev", "x", "--conditions", "--conditions-interval", "10ms"], "at least 1s"),
        (&["serve", "--tls-dev", "x", "--conditions", "--conditions-rate", "0"], "1..=1000"),
        (&["no-such-command"], "no-such-command"),
        (&["certs", "dev"], "<DIR>"),
    ] {
        let (code, out, err) = run(args);
        assert_eq!((code, out.as_str()), (2, ""), "{args:?}");
        assert!(err.contains(part), "{args:?}: {err}");
        let usage = err.lines().nth(1).unwrap_or_default();
        // The program itself reports flags that exclude each other.
        assert!(args.contains(&"x") || usage.starts_with("Usage: crm-admission "), "{args:?}: {err}");
    }
}

#[test]
fn the_version_and_completions_are_commands() {
    let version = format!("crm-admission {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(run(&["version"]), (0, version.clone(), String::new()));
    assert_eq!(run(&["--version"]).1, version);
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let (code, script, _) = run(&["completion", shell]);
        assert!(code == 0 && script.contains("crm-admission"), "{shell}: {script}");
    }
}

#[test]
fn a_plugin_of_kubectl_says_how_to_call_it() {
    let directory = tempfile::tempdir().unwrap();
    let plugin = directory.path().join("kubectl-crm_admission");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_crm-admission"), &plugin).unwrap();
    for (args, part) in [
        (&["--help"][..], "\nUsage: kubectl crm-admission <COMMAND>\n"),
        (&["check", "--help"], "\nUsage: kubectl crm-admission check [OPTIONS]"),
        (&["completions", "--help"], "source <(kubectl crm-admission completions bash)"),
        (&["policy"], "\nUsage: kubectl crm-admission policy <COMMAND>\n"),
        (&["no-such-command"], "\nUsage: kubectl crm-admission <COMMAND>\n"),
        (&["certs", "dev"], "\nUsage: kubectl crm-admission certs dev <DIR>\n"),
        (&["rules", "domains"], "; `kubectl crm-admission rules` lists them"),
    ] {
        let output = Command::new(&plugin).args(args).output().unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        assert!(said.contains(part), "{args:?}: {said}");
        let (_, out, err) = run(args);
        let alone = part.replace("kubectl crm-admission", "crm-admission");
        assert!((out.clone() + &err).contains(&alone), "{args:?}: {out}{err}");
    }
    let version = Command::new(&plugin).arg("version").output().unwrap();
    assert_eq!(String::from_utf8(version.stdout).unwrap(), run(&["version"]).1);
}

#[test]
fn every_command_has_a_man_page() {
    let directory = tempfile::tempdir().unwrap();
    let new = directory.path().join("share/man1");
    let (code, out, err) = run(&["man", new.to_str().unwrap()]);
    assert_eq!((code, out.as_str(), err.as_str()), (0, "", ""));
    for page in ["crm-admission.1", "crm-admission-check.1", "crm-admission-policy-check.1"] {
        let text = fs::read_to_string(new.join(page)).unwrap_or_else(|error| panic!("{page}: {error}"));
        assert!(text.contains(".SH SYNOPSIS"), "{page}: {text}");
    }
    let (code, _, err) = run(&["man", "/dev/null/pages"]);
    assert!(code == 2 && err.contains("/dev/null/pages"), "{err}");
}

#[test]
fn schemas_are_written_in_the_layout_of_catalogs() {
    let directory = tempfile::tempdir().unwrap();
    let new = directory.path().join("new/schemas");
    let file = new.join("crm.milo.io/company_v1alpha1.json");
    for _ in 0..2 {
        let (code, out, err) = run(&["schemas", new.to_str().unwrap()]);
        assert_eq!((code, out.as_str(), err.as_str()), (0, "", ""));
        let committed =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/crm.milo.io/company_v1alpha1.json");
        assert_eq!(fs::read_to_string(&file).unwrap(), fs::read_to_string(committed).unwrap());
        // The second run replaces what is there.
        fs::write(&file, "{}").unwrap();
    }
    assert!(new.join("admission.crm.milo.io/admissionpolicy_v1alpha1.json").is_file());
    // Others may read the files, and no temporary file is left.
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let plain = new.join("plain");
    fs::write(&plain, "").unwrap();
    assert_eq!(mode(&new.join("crm.milo.io/person_v1alpha1.json")), mode(&plain));
    assert_eq!(fs::read_dir(new.join("crm.milo.io")).unwrap().count(), 3);
    let (code, _, err) = run(&["schemas", "/dev/null/schemas"]);
    assert!(code == 2 && err.contains("cannot write /dev/null/schemas/"), "{err}");
    let (code, _, err) = run(&["schemas", "-"]);
    assert_eq!((code, err.as_str()), (2, "error: schemas needs the name of a directory, not -\n"));
}

#[test]
fn a_policy_can_come_from_standard_input() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crm-admission"));
    let output = command.args(["policy", "check", "-"]).write_stdin("spec: {rules: 1}").output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.code() == Some(1) && out.starts_with("-: "), "{out}");
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
fn flags_can_be_set_by_environment_variables() {
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
fn a_closed_pipe_is_not_an_error() {
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_crm-admission"))
        .arg("crds")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn policy_check_accepts_a_valid_policy() {
    let (code, out, err) = run(&["policy", "check", "manifests/policy/default.yaml"]);
    assert_eq!((code, out.as_str(), err.as_str()), (0, "manifests/policy/default.yaml: accepted\n", ""));
}

#[test]
fn policy_check_warns_of_what_is_surely_not_meant_and_exits_with_0() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policy.yaml");
    fs::write(&file, "apiVersion: admission.crm.milo.io/v1alpha1\nkind: AdmissionPolicy\nmetadata: {name: strict}\nspec: {rules: [{rule: domain, action: Warn, enforceAfter: \"2027-01-15T00:00:00Z\"}], exemptions: [{name: x, users: [jane], rules: [domain], expires: \"2020-01-01T00:00:00Z\"}]}\n").unwrap();
    let (code, out, err) = run(&["policy", "check", file.to_str().unwrap()]);
    assert_eq!((code, err.as_str()), (0, ""));
    let file = file.display();
    let expected = [
        format!(
            "{file}: warning: metadata.name: \"strict\": has no effect: only the AdmissionPolicy named default is used [NotUsed]"
        ),
        format!(
            "{file}: warning: spec.rules[0].enforceAfter: has no effect: the action of domain is Warn, and only Deny has a start date"
        ),
        format!(
            "{file}: warning: spec.exemptions[0].expires: the exemption ended at 2020-01-01T00:00:00Z; remove it, or set a later time"
        ),
        format!("{file}: accepted"),
    ];
    assert_eq!(out.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn policy_check_lists_every_problem_and_exits_with_1() {
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
fn an_error_that_quotes_a_file_is_one_line_without_control_characters() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a\nerror: b\u{1b}[2J\u{9b}2J\u{202e}.yaml");
    let shown = r"a\nerror: b\u001b[2J\u009b2J\u202e.yaml";
    for command in [&["check"][..], &["policy", "show"], &["policy", "check"], &["audit"]] {
        let output = crm_admission().args(command).arg(&file).output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{command:?}: {err}");
        assert!(err.starts_with("error: ") && err.contains(shown), "{command:?}: {err:?}");
        assert!(
            err.lines().count() == 1 && !err.trim_end().contains(char::is_control),
            "{command:?}: {err:?}"
        );
    }
    let policy =
        "apiVersion: admission.crm.milo.io/v1alpha1\nkind: AdmissionPolicy\nspec: {\"x\\e[2J\\ny\": 1}\n";
    fs::write(&file, policy).unwrap();
    let output = crm_admission().args(["policy", "check"]).arg(&file).output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{out}");
    assert!(out.contains(shown) && out.contains(r"x\u001b[2J\ny"), "{out:?}");
    assert!(out.lines().count() == 1 && !out.trim_end().contains(char::is_control), "{out:?}");
}

#[test]
fn policy_check_exits_with_2_if_the_file_cannot_be_read() {
    let (code, out, err) = run(&["policy", "check", "no/such.yaml"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("no/such.yaml"), "{err}");
}

#[test]
fn policy_show_prints_the_built_in_policy_by_default() {
    let (code, out, err) = run(&["policy", "show"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let (_, shown) = crm_manifest::documents(&out).unwrap().remove(0);
    let (_, shipped) =
        crm_manifest::documents(include_str!("../manifests/policy/default.yaml")).unwrap().remove(0);
    assert_eq!(shown, shipped);
}

#[test]
fn serve_does_not_start_with_an_invalid_policy() {
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
fn an_address_in_use_is_reported_once_and_an_empty_log_variable_is_ignored() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
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
    assert!(err.contains("INFO"), "the default filter shows the level INFO: {err}");
}

/// Runs `doctor` with this kubeconfig.
fn doctor(kubeconfig: &Path, args: &[&str]) -> (i32, String, String) {
    let output = crm_admission().arg("doctor").args(args).env("KUBECONFIG", kubeconfig).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// Writes a kubeconfig for an API server without TLS into the directory.
fn kubeconfig(directory: &Path, address: SocketAddr) -> PathBuf {
    let kubeconfig = directory.join("kubeconfig");
    let content = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": format!("http://{address}")}}],
        "users": [{"name": "c", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
    });
    fs::write(&kubeconfig, content.to_string()).unwrap();
    kubeconfig
}

/// An API server that has nothing but a version. It ends with the test program.
fn empty_cluster() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || listener.incoming().for_each(|stream| answer(&stream.unwrap())));
    address
}

fn answer(mut stream: &TcpStream) {
    let mut reader = BufReader::new(stream);
    let head: Vec<String> =
        reader.by_ref().lines().map(Result::unwrap).take_while(|line| !line.is_empty()).collect();
    let length =
        head.iter().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    reader.read_exact(&mut vec![0; length.unwrap_or(0)]).unwrap();
    let (status, body) = match head[0].starts_with("GET /version ") {
        true => (
            "200 OK",
            r#"{"major": "1", "minor": "37", "gitVersion": "v1.37.0", "gitCommit": "", "gitTreeState": "", "buildDate": "", "goVersion": "", "compiler": "", "platform": ""}"#,
        ),
        false => (
            "404 Not Found",
            r#"{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404, "message": "not found"}"#,
        ),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n",
        body.len()
    );
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).unwrap();
}

#[test]
fn the_fixes_of_doctor_call_the_program_as_it_was_called() {
    let directory = tempfile::tempdir().unwrap();
    let kubeconfig = kubeconfig(directory.path(), empty_cluster());
    let plugin = directory.path().join("kubectl-crm_admission");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_crm-admission"), &plugin).unwrap();
    let apply = " crds | kubectl apply --server-side --force-conflicts -f -";
    let (code, alone, err) = doctor(&kubeconfig, &[]);
    assert_eq!((code, alone.matches(&format!(" crm-admission{apply}")).count()), (1, 4), "{alone}{err}");
    let output = Command::new(plugin).arg("doctor").env("KUBECONFIG", kubeconfig).output().unwrap();
    let as_plugin = String::from_utf8(output.stdout).unwrap();
    assert_eq!(as_plugin.matches(&format!(" kubectl crm-admission{apply}")).count(), 4, "{as_plugin}");
}

#[test]
fn doctor_without_a_kubeconfig_exits_with_2() {
    let directory = tempfile::tempdir().unwrap();
    let (code, out, err) = doctor(&directory.path().join("absent"), &[]);
    assert_eq!((code, out.as_str()), (2, ""), "{err}");
    assert!(err.starts_with("error: no cluster: "), "{err}");
}

#[test]
fn doctor_without_an_api_server_exits_with_2() {
    let directory = tempfile::tempdir().unwrap();
    // An address of its own: another test may get a port that is free for a moment.
    let address = TcpListener::bind("127.3.8.4:0").unwrap().local_addr().unwrap();
    let kubeconfig = kubeconfig(directory.path(), address);
    let (code, out, err) = doctor(&kubeconfig, &[]);
    assert_eq!((code, out.as_str()), (2, ""), "{err}");
    let place = format!("error: context \"c\" of {} (http://{address}): ", kubeconfig.display());
    assert_eq!(err, format!("{place}the API server cannot be reached: Connection refused\n"));
}

#[test]
fn the_flags_of_the_cluster_are_variables_too_and_empty_ones_count_as_not_set() {
    let directory = tempfile::tempdir().unwrap();
    let run = |variables: &[(&str, &str)]| {
        let mut command = crm_admission();
        command.args(["refs", "--dangling"]).env("HOME", directory.path()).env("KUBECONFIG", "");
        let output = command.envs(variables.iter().copied()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let err = run(&[("CRM_ADMISSION_KUBECONFIG", "/absent/kubeconfig")]);
    assert!(err.starts_with("error: the kubeconfig /absent/kubeconfig cannot be read: "), "{err}");
    let err = run(&[("CRM_ADMISSION_KUBECONFIG", ""), ("CRM_ADMISSION_CONTEXT", "")]);
    let home = directory.path().join(".kube/config");
    assert!(
        err.starts_with(&format!("error: no cluster: there is no kubeconfig {}", home.display())),
        "{err}"
    );
    // kubectl fails, too, if a context was asked for.
    let err = run(&[("CRM_ADMISSION_CONTEXT", "absent")]);
    assert!(err.contains("there is no context \"absent\""), "{err}");
}

#[test]
fn doctor_accepts_only_valid_names_and_addresses() {
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
fn serve_continues_if_its_log_cannot_be_written() {
    let dir = tempfile::tempdir().unwrap();
    // An address of its own: another test may get a port that is free for a moment.
    let listener = TcpListener::bind("127.3.8.3:0").unwrap();
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
        assert!(serve.try_wait().unwrap().is_none(), "the program has exited");
        std::thread::yield_now();
    }
    let killed = std::process::Command::new("kill").arg(serve.id().to_string()).status().unwrap();
    assert!(killed.success());
    assert_eq!(serve.wait().unwrap().code(), Some(0));
}

#[test]
fn patches_of_kustomize_are_no_objects_of_a_directory_in_memory() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    let company = "apiVersion: crm.milo.io/v1alpha1\nkind: Company\nmetadata: {name: acme}\n";
    write("kustomization.yaml", "resources: [acme.yaml]\npatches: [{path: patch.yaml}]\n");
    write("acme.yaml", company);
    write("patch.yaml", &company.replace("acme", "other"));
    let serving = Serving::start("json", &["--resources", directory.path().to_str().unwrap()]);
    let at = |company: &str| {
        let mut request = hostile_requests().swap_remove(0);
        request["kind"]["kind"] = "Person".into();
        request["resource"]["resource"] = "people".into();
        request["object"] = serde_json::json!({
            "apiVersion": "crm.milo.io/v1alpha1", "kind": "Person", "metadata": {"name": "jane"},
            "spec": {"displayName": "Jane", "companyRef": {"name": company}},
        });
        request
    };
    let [stored, patch] = serving.review(&[at("acme"), at("other")]).try_into().unwrap();
    assert_eq!(stored["message"], serde_json::Value::Null);
    assert!(patch["message"].as_str().unwrap().contains("no Company of that name"), "{patch}");
}

#[test]
fn a_bad_endpoint_for_traces_is_an_error_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let args = ["serve", "--directory", "memory", "--tls-dev", directory.path().to_str().unwrap()];
    let (code, out, err) = run(&[&args[..], &["--otlp-endpoint", "collector:4318"]].concat());
    assert_eq!((code, out.as_str()), (2, ""));
    let expected =
        r#"--otlp-endpoint: "collector:4318" does not begin with http:// or https://; give the URL"#;
    assert!(err.contains(expected), "{err}");
    let output = crm_admission().args(args).env("OTEL_EXPORTER_OTLP_ENDPOINT", "nonsense").output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(err.contains(r#"OTEL_EXPORTER_OTLP_ENDPOINT: "nonsense" does not begin"#), "{err}");
}

#[test]
fn a_collector_of_traces_that_cannot_be_reached_does_not_stop_the_program() {
    // Nobody listens on port 1.
    let serving = Serving::start("json", &["--otlp-endpoint", "http://localhost:1"]);
    let answers = serving.review(&hostile_requests());
    assert!(answers.iter().all(|status| status["code"] == 422), "{answers:?}");
    let lines = serving.stop();
    let warnings = lines.iter().filter(|line| line.contains("spans could not be delivered")).count();
    // Either the delivery has failed, or it was still retried when the time for the last spans was over.
    let late = lines.iter().filter(|line| line.contains("the last spans could not be delivered")).count();
    assert!(warnings + late >= 1, "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains(r#""message":"stopped""#)), "{lines:#?}");
}

/// A `serve` process, which is killed at the end of the test.
struct Serving {
    process: std::process::Child,
    log: BufReader<std::process::ChildStderr>,
    /// What it has logged before it started to serve.
    start: Vec<String>,
    address: String,
    certificates: tempfile::TempDir,
}

impl Serving {
    fn start(log_format: &str, args: &[&str]) -> Self {
        let certificates = tempfile::tempdir().unwrap();
        let mut process = std::process::Command::new(env!("CARGO_BIN_EXE_crm-admission"))
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--admin-listen",
                "127.0.0.1:0",
                "--shutdown-delay",
                "0s",
            ])
            .args(["--directory", "memory", "--log-format", log_format])
            .args(args)
            .args(["--tls-dev", certificates.path().to_str().unwrap()])
            .env_remove("CRM_ADMISSION_LOG")
            .env_remove("RUST_LOG")
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let mut start = Vec::new();
        let address = loop {
            let mut line = String::new();
            assert!(log.read_line(&mut line).unwrap() > 0, "the program has exited");
            // `listen=127.0.0.1:1` or `"listen":"127.0.0.1:1"`, before the address of the admin port.
            if let Some((_, rest)) = line.split_once("127.0.0.1:") {
                let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
                break format!("localhost:{port}");
            }
            start.push(line);
        };
        Self { process, log, start, address, certificates }
    }

    /// Sends the requests. Returns the status in each answer, in the order of the requests.
    fn review(&self, requests: &[serde_json::Value]) -> Vec<serde_json::Value> {
        // Another test in this process may have installed it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let ca = fs::read(self.certificates.path().join("ca.crt")).unwrap();
        let ca = reqwest::Certificate::from_pem(&ca).unwrap();
        let client = reqwest::Client::builder().tls_certs_only([ca]).build().unwrap();
        let each = async {
            let mut answers = Vec::new();
            for request in requests {
                let review = serde_json::json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request});
                let call = client.post(format!("https://{}/mutate", self.address)).json(&review);
                let answer: serde_json::Value = call.send().await.unwrap().json().await.unwrap();
                answers.push(answer["response"]["status"].clone());
            }
            answers
        };
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(each)
    }

    /// Stops the program. Returns what it has logged since it started to serve.
    fn stop(mut self) -> Vec<String> {
        let killed = std::process::Command::new("kill").arg(self.process.id().to_string()).status().unwrap();
        assert!(killed.success());
        let mut log = String::new();
        self.log.read_to_string(&mut log).unwrap();
        // Not `lines`, which would hide a carriage return.
        log.split_terminator('\n').map(str::to_owned).collect()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // The process may have exited already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn serve_logs_the_warnings_about_its_policy_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policy.yaml");
    let policy = "apiVersion: admission.crm.milo.io/v1alpha1\nkind: AdmissionPolicy\nmetadata: {name: mine}\n\
                  spec: {rules: [{rule: domain, action: Warn, enforceAfter: \"2027-01-15T00:00:00Z\"}]}\n";
    fs::write(&file, policy).unwrap();
    let serving = Serving::start("json", &["--policy", file.to_str().unwrap()]);
    let lines = serving.start.iter().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let warnings: Vec<_> = lines.filter(|line| line["level"] == "WARN").collect();
    // The name is no warning: the file is in force whatever its name is.
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let expected = "spec.rules[0].enforceAfter: has no effect: the action of domain is Warn, and only Deny has a start date";
    assert_eq!(warnings[0]["warning"], expected);
    // It was read once, and has not changed since.
    let later = serving.stop();
    assert!(!later.iter().any(|line| line.contains("enforceAfter")), "{later:?}");
}

/// Requests to create companies without a display name, with names that no API server would accept.
fn hostile_requests() -> Vec<serde_json::Value> {
    let request = |uid: &str, metadata: serde_json::Value, user: &str| {
        serde_json::json!({
            "uid": uid,
            "kind": {"group": "crm.milo.io", "version": "v1alpha1", "kind": "Company"},
            "resource": {"group": "crm.milo.io", "version": "v1alpha1", "resource": "companies"},
            "operation": "CREATE",
            "userInfo": {"username": user, "groups": ["system:authenticated"]},
            "object": {"apiVersion": "crm.milo.io/v1alpha1", "kind": "Company", "metadata": metadata, "spec": {}},
        })
    };
    let forged = "acme\n2026-11-24T00:00:00.000000Z  INFO decided user=mallory\u{1b}[2J";
    let forged_json =
        "acme\n{\"level\":\"INFO\",\"message\":\"decided\",\"user\":\"mallory\"}\r\u{9b}2J\u{2028}";
    vec![
        request("u-1", serde_json::json!({"name": forged}), "alice"),
        request("u-2\n\u{202e}", serde_json::json!({"generateName": forged_json}), "bob\n\u{1b}]0;x\u{7}"),
        request("u-3", serde_json::json!({"name": "é".repeat(1_250_000)}), "carol"),
    ]
}

/// Sends the hostile requests to `serve`. Returns the log lines about their decisions.
fn lines_of_hostile_requests(log_format: &str) -> Vec<String> {
    let serving = Serving::start(log_format, &[]);
    let answers = serving.review(&hostile_requests());
    assert!(answers.iter().all(|status| status["code"] == 422), "{answers:?}");
    let lines = serving.stop();
    for line in &lines {
        assert!(!line.contains(|c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{202e}')), "{line:?}");
        assert!(line.chars().count() < 1000, "{} characters", line.chars().count());
    }
    lines.into_iter().filter(|line| line.contains("decided")).collect()
}

#[test]
fn a_name_cannot_forge_a_log_line_or_control_a_terminal() {
    let lines = lines_of_hostile_requests("text");
    assert_eq!(lines.len(), 3, "{lines:#?}");
    let shown =
        r#"name="acme\n2026-11-24T00:00:00.000000Z  INFO decided user=mallory\u001b[2J" user="alice""#;
    assert!(lines[0].contains(shown), "{}", lines[0]);
    assert!(lines[1].contains(r#"uid="u-2\n\u202e""#), "{}", lines[1]);
    assert!(lines[1].contains(r#"user="bob\n\u001b]0;x\u0007""#), "{}", lines[1]);
    assert!(lines[2].contains(&format!("name=\"{}…\"", "é".repeat(253))), "{}", lines[2]);
}

#[test]
fn a_name_cannot_forge_a_json_log_line_or_control_a_terminal() {
    let lines = lines_of_hostile_requests("json");
    let read = |line: &String| serde_json::from_str(line).unwrap();
    let objects: Vec<serde_json::Value> = lines.iter().map(read).collect();
    assert_eq!(objects.len(), 3, "{lines:#?}");
    let users: Vec<&serde_json::Value> = objects.iter().map(|object| &object["user"]).collect();
    assert_eq!(users, ["alice", r"bob\n\u001b]0;x\u0007", "carol"]);
    let name = r#"acme\n{"level":"INFO","message":"decided","user":"mallory"}\r\u009b2J\u2028"#;
    assert_eq!(objects[1]["name"], name);
    assert_eq!(objects[2]["name"], format!("{}…", "é".repeat(253)));
    assert!(objects.iter().all(|object| object["duration_us"].is_u64() && object["decision"] == "denied"));
}

#[test]
fn no_report_overwrites_an_input() {
    const COMPANY: &str =
        "apiVersion: crm.milo.io/v1alpha1\nkind: Company\nmetadata: {name: a}\nspec: {displayName: A}\n";
    const POLICY: &str =
        "apiVersion: admission.crm.milo.io/v1alpha1\nkind: AdmissionPolicy\nmetadata: {name: default}\n";
    let test = format!(
        "apiVersion: admission.crm.milo.io/v1alpha1\nkind: AdmissionPolicyTest\n\
         spec: {{cases: [{{name: c, object: {{{}}}, expect: {{allowed: true}}}}]}}\n",
        "apiVersion: crm.milo.io/v1alpha1, kind: Company, metadata: {name: a}, spec: {displayName: A}"
    );
    let files = [
        ("crm/company.yaml", COMPANY),
        ("other/company.yaml", &COMPANY.replace("name: a", "name: b")),
        ("other/kustomization.yaml", "resources: [company.yaml]\n"),
        ("policy.yaml", POLICY),
        ("tests/test.yaml", &test),
        (".crm-admission.yaml", "failOn: warn\n"),
    ];
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    for (name, text) in files {
        fs::create_dir_all(path(name).parent().unwrap()).unwrap();
        fs::write(path(name), text).unwrap();
    }
    let run = |args: &[&str]| crm_admission().current_dir(directory.path()).args(args).output().unwrap();
    for (args, output) in [
        (&["check", "crm/company.yaml"][..], "crm/company.yaml"),
        (&["check", "crm"], "./crm/company.yaml"),
        (&["check"], "crm/company.yaml"),
        (&["check", "crm", "--resources", "other"], "other/company.yaml"),
        (&["check", "crm", "--resources", "other"], "other/kustomization.yaml"),
        (&["check", "crm", "--policy", "policy.yaml"], "policy.yaml"),
        (&["check", "crm"], ".crm-admission.yaml"),
        (&["audit", "-f", "crm/company.yaml"], "crm/company.yaml"),
        (&["audit", "crm"], "crm/company.yaml"),
        (&["audit", "crm", "--policy", "policy.yaml"], "policy.yaml"),
        (&["policy", "test", "tests"], "tests/test.yaml"),
    ] {
        let ended = run(&[args, &["--output", output]].concat());
        let expected =
            format!("error: {output}: --output would overwrite an input; give the report another name\n");
        assert_eq!(String::from_utf8(ended.stderr).unwrap(), expected, "{args:?}");
        assert_eq!(ended.status.code(), Some(2), "{args:?}");
    }
    for (name, text) in files {
        assert_eq!(fs::read_to_string(path(name)).unwrap(), text, "{name}");
    }
    // A report in a directory that is read can be written again.
    for _ in 0..2 {
        let ended = run(&["check", "--format", "json", "--output", "crm/report.json"]);
        assert_eq!(ended.status.code(), Some(0), "{}", String::from_utf8(ended.stderr).unwrap());
    }
}
