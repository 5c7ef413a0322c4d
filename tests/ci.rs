//! Tests the hooks, the action and the examples for CI: they are well-formed, use existing flags, and are the same in
//! docs/ci.md.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use rstest::rstest;
use serde_json::Value;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_crm-admission");

fn at_root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(at_root(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[track_caller]
fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Files by name below `directory`.
fn files(directory: &str) -> Vec<String> {
    let entries = fs::read_dir(at_root(directory)).unwrap().map(|entry| entry.unwrap());
    let mut files = Vec::new();
    for entry in entries {
        let path = format!("{directory}/{}", entry.file_name().into_string().unwrap());
        if entry.path().is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files
}

/// A directory with the records of the examples.
fn copy_of_examples() -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in files("examples/ci") {
        let to = copy.path().join(file.strip_prefix("examples/ci/").unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(at_root(&file), to).unwrap();
    }
    copy
}

/// A command that is independent of the developer's environment.
fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    let ours = |name: &str| name.starts_with("CRM_ADMISSION_") || name.starts_with("INPUT_");
    for (name, _) in std::env::vars().filter(|(name, _)| ours(name)) {
        command.env_remove(name);
    }
    command.env("KUBECONFIG", "/nonexistent/kubeconfig");
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Whether `check` accepts these arguments. It reads no files, because `--help` is among them.
#[track_caller]
fn is_accepted(arguments: &[&str]) {
    let output = command(PROGRAM).args(arguments).arg("--help").output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
}

// Hooks.

#[test]
fn hooks_run_this_program_on_all_files_whenever_a_manifest_changes() {
    let hooks = yaml(".pre-commit-hooks.yaml");
    let ids: Vec<&str> = hooks.as_array().unwrap().iter().map(|hook| hook["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["crm-admission-check", "crm-admission-fix"]);
    for hook in hooks.as_array().unwrap() {
        assert_eq!(hook["language"], "script");
        assert_eq!(hook["pass_filenames"], false);
        assert_eq!(hook["require_serial"], true);
        assert_eq!(hook["types_or"], serde_json::json!(["yaml", "json"]));
        // Arguments would replace `paths` of the configuration.
        assert!(hook["args"].is_null(), "{hook}");
        let called: Vec<&str> = hook["entry"].as_str().unwrap().split(' ').collect();
        assert_eq!(called[0], "scripts/hook");
        is_accepted(&called[1..]);
    }
}

#[test]
fn the_example_of_a_configuration_uses_an_existing_hook_and_existing_flags() {
    let configuration = yaml("examples/ci/pre-commit-config.yaml");
    let hooks = yaml(".pre-commit-hooks.yaml");
    for hook in configuration["repos"][0]["hooks"].as_array().unwrap() {
        assert!(hooks.as_array().unwrap().iter().any(|offered| offered["id"] == hook["id"]), "{hook}");
        let args = hook["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap());
        is_accepted(&std::iter::once("check").chain(args).collect::<Vec<_>>());
    }
}

// The action.

/// Runs the script of the action in this directory with these inputs, and the defaults of action.yml for the others.
fn act(directory: &Path, inputs: &[(&str, &str)]) -> Output {
    let mut command = command(at_root("scripts/action"));
    let action = yaml("action.yml");
    for (name, input) in action["inputs"].as_object().unwrap() {
        command.env(variable(name), input["default"].as_str().unwrap_or_default());
    }
    for (name, value) in inputs {
        command.env(variable(name), value);
    }
    command.args(["check", PROGRAM]).current_dir(directory).output().unwrap()
}

fn variable(input: &str) -> String {
    format!("INPUT_{}", input.to_uppercase().replace('-', "_"))
}

/// Writes a company of this name to a file with a space in its path.
fn company(directory: &Path, name: &str, domain: &str) {
    let path = directory.join(format!("my records/{name}.yaml"));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let company = format!(
        "apiVersion: crm.milo.io/v1alpha1\nkind: Company\nmetadata: {{name: {name}}}\nspec: {{displayName: A, domains: [{domain}]}}\n"
    );
    fs::write(path, company).unwrap();
}

#[test]
fn every_input_is_a_variable_of_the_script_and_never_part_of_its_code() {
    let action = yaml("action.yml");
    let steps = action["runs"]["steps"].as_array().unwrap();
    let script = read("scripts/action");
    let mut passed = HashSet::new();
    for step in steps {
        assert!(!step["run"].as_str().unwrap().contains("${{"), "{step}");
        let variables = step["env"].as_object().into_iter().flatten();
        // The others say where the action is from.
        for (name, value) in variables.filter(|(name, _)| !name.starts_with("ACTION_")) {
            let input =
                value.as_str().unwrap().strip_prefix("${{ inputs.").unwrap().strip_suffix(" }}").unwrap();
            assert_eq!(*name, variable(input));
            assert!(script.contains(&format!("${{{name}:-")), "the script does not read {name}");
            passed.insert(input.to_owned());
        }
    }
    let inputs: HashSet<String> = action["inputs"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(passed, inputs);
}

#[test]
fn the_action_succeeds_for_valid_records() {
    let directory = tempfile::tempdir().unwrap();
    company(directory.path(), "fine", "a.com");
    let output = act(directory.path(), &[("paths", "my records\n")]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "1 record in 1 file checked: no findings.\n");
}

#[test]
fn the_action_annotates_denied_records_and_writes_a_report_for_code_scanning() {
    let directory = tempfile::tempdir().unwrap();
    company(directory.path(), "bad", "a_b.com");
    let output = act(directory.path(), &[("paths", "my records"), ("sarif", "my report.sarif")]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let log = text(&output.stdout);
    let annotation =
        "::error file=my records/bad.yaml,line=4,col=34,title=domain/bad-char::Company \"bad\": ";
    assert!(log.starts_with(annotation), "{log}");
    let report = fs::read_to_string(directory.path().join("my report.sarif")).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    let results = report["runs"][0]["results"].as_array().unwrap();
    assert_eq!(results.len(), 1);
    let location = &results[0]["locations"][0]["physicalLocation"]["artifactLocation"];
    assert_eq!(location["uri"], "my%20records/bad.yaml");
}

#[test]
fn the_action_distinguishes_unreadable_files_from_denied_records() {
    let directory = tempfile::tempdir().unwrap();
    company(directory.path(), "bad", "[");
    let output = act(directory.path(), &[("sarif", "report.sarif")]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stdout));
    assert!(
        text(&output.stdout).starts_with("::error file=my records/bad.yaml,line="),
        "{}",
        text(&output.stdout)
    );
    assert!(directory.path().join("report.sarif").exists());
}

#[test]
fn the_action_fails_if_the_report_cannot_be_written() {
    let directory = tempfile::tempdir().unwrap();
    company(directory.path(), "fine", "a.com");
    let output = act(directory.path(), &[("sarif", "absent/report.sarif")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("absent/report.sarif: cannot be written"),
        "{}",
        text(&output.stderr)
    );
}

#[rstest]
#[case::fail_on(&[("fail-on", "warn")], 1, "::warning file=my records/long.yaml")]
#[case::format(&[("format", "text")], 0, "my records/long.yaml:4:34: warn: ")]
#[case::policy(&[("policy", "my policy.yaml")], 1, "::error file=my records/long.yaml")]
#[case::applier(&[("applier", "flux")], 0, "::warning file=my records/long.yaml")]
#[case::user(&[("as", "alice"), ("policy", "exempt.yaml")], 0, "1 record in 1 file checked: no findings.")]
#[case::arguments(&[("args", "--fail-on=warn\n--as=alice"), ("fail-on", "")], 1, "::warning")]
#[case::a_flag_that_there_is_not(&[("args", "--no-such-flag")], 2, "")]
#[case::a_path_is_no_flag(&[("paths", "--help")], 2, "")]
#[case::a_value_is_not_a_command(&[("policy", "$(touch owned)`touch owned`; touch owned")], 2, "")]
fn inputs_have_the_effect_of_the_flags_with_the_same_name(
    #[case] inputs: &[(&str, &str)],
    #[case] code: i32,
    #[case] starts: &str,
) {
    let directory = tempfile::tempdir().unwrap();
    company(directory.path(), "long", "A.com");
    let policy = |spec: &str| {
        format!(
            "apiVersion: admission.crm.milo.io/v1alpha1\nkind: AdmissionPolicy\nmetadata: {{name: default}}\nspec: {spec}\n"
        )
    };
    let strict = policy("{normalization: {domains: RequireCanonical}}");
    fs::write(directory.path().join("my policy.yaml"), strict).unwrap();
    let exempt = "{normalization: {domains: RequireCanonical}, exemptions: [{name: x, users: [alice], rules: [domain], reason: x}]}";
    fs::write(directory.path().join("exempt.yaml"), policy(exempt)).unwrap();
    let paths = [("paths", "my records")];
    let output = act(directory.path(), &[&paths, inputs].concat());
    assert_eq!(output.status.code(), Some(code), "{}{}", text(&output.stdout), text(&output.stderr));
    assert!(text(&output.stdout).starts_with(starts), "{}", text(&output.stdout));
    assert!(!directory.path().join("owned").exists());
}

#[test]
fn several_paths_and_resources_are_separate_lines() {
    let directory = tempfile::tempdir().unwrap();
    company(directory.path(), "a", "a.com");
    company(directory.path(), "b", "b.com");
    let person = "apiVersion: crm.milo.io/v1alpha1\nkind: Person\nmetadata: {name: p}\nspec: {displayName: P, companyRef: {name: NAME}}\n";
    for name in ["a", "b", "c"] {
        fs::write(directory.path().join(format!("{name}.yaml")), person.replace("NAME", name)).unwrap();
    }
    let resources = ("resources", "my records/a.yaml\r\nmy records/b.yaml");
    let output = act(directory.path(), &[("paths", "a.yaml\n\nb.yaml\n"), resources]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    let output = act(directory.path(), &[("paths", "c.yaml\n"), resources]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
}

#[test]
fn an_installed_program_is_not_built_again() {
    let root = tempfile::tempdir().unwrap();
    let bin = root.path().join("bin");
    fs::create_dir(&bin).unwrap();
    // Not a copy: another thread may start a process while the file is open for writing, and then it cannot be run.
    std::os::unix::fs::symlink(PROGRAM, bin.join("crm-admission")).unwrap();
    // Without cargo in PATH, a build would fail.
    let output = command(at_root("scripts/action"))
        .args(["install", root.path().to_str().unwrap()])
        .env("PATH", "/usr/bin:/bin")
        .env("CARGO_HOME", root.path())
        .output()
        .unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
}

/// A server of releases on this machine, which answers with these files and 404 for any other, or always with a status.
struct Releases {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Releases {
    fn serve(files: HashMap<String, Vec<u8>>, always: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        // Ends with the test program.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let mut lines = BufReader::new(&stream).lines().map(Result::unwrap);
                let path = lines.next().unwrap().split(' ').nth(1).unwrap().to_owned();
                assert!(lines.any(|line| line.is_empty()));
                let found = files.get(&path).filter(|_| always.is_none());
                let status = always.unwrap_or(if found.is_some() { "200 OK" } else { "404 Not Found" });
                log.lock().unwrap().push(path);
                let body = found.map_or(&[][..], Vec::as_slice);
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                (&stream).write_all(&[head.as_bytes(), body].concat()).unwrap();
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// Where the files of the release of this version are, and the name of its archive for this machine.
fn release() -> (String, String) {
    let version = env!("CARGO_PKG_VERSION");
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    (
        format!("/owner/fork/releases/download/v{version}"),
        format!("crm-admission-{version}-linux-{architecture}"),
    )
}

/// The files of a release with this program, by their paths on the server.
fn released(program: &str) -> HashMap<String, Vec<u8>> {
    let (base, name) = release();
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join(&name)).unwrap();
    executable(&directory.path().join(&name).join("crm-admission"), program);
    let shell = format!("tar -c -z -f {name}.tar.gz {name} && sha256sum {name}.tar.gz >SHA256SUMS");
    assert!(command("sh").args(["-c", &shell]).current_dir(directory.path()).status().unwrap().success());
    let file = |name: &str| (format!("{base}/{name}"), fs::read(directory.path().join(name)).unwrap());
    HashMap::from([file("SHA256SUMS"), file(&format!("{name}.tar.gz"))])
}

/// Another process writes it: a file that this one has open for writing may be busy when it is run.
fn executable(path: &Path, script: &str) {
    let write = r#"printf '#!/bin/sh\n%s\n' "$1" >"$2" && chmod 755 "$2""#;
    let status = command("sh").args(["-c", write, "sh", script]).arg(path).status().unwrap();
    assert!(status.success(), "{}", path.display());
}

/// What `install` did: its exit code, its last line, and what the installed program prints.
#[derive(Debug, PartialEq)]
struct Installed {
    code: Option<i32>,
    said: String,
    prints: Option<String>,
}

/// The PATH with a `cargo` in this directory that installs a program that prints "built".
fn path_with_cargo(tools: &Path) -> String {
    fs::create_dir(tools).unwrap();
    executable(&tools.join("rustup"), "true");
    // The last argument of `cargo install` is the directory.
    let cargo = "for root; do :; done; mkdir -p $root/bin; printf '#!/bin/sh\\necho built\\n' >$root/bin/crm-admission; chmod +x $root/bin/crm-admission";
    executable(&tools.join("cargo"), cargo);
    format!("{}:{}", tools.display(), std::env::var("PATH").unwrap())
}

/// Installs as the action at this ref of owner/fork does.
fn install(releases: &Releases, repository: &str, reference: &str) -> Installed {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    let output = command(at_root("scripts/action"))
        .args(["install", root.to_str().unwrap()])
        .env("PATH", path_with_cargo(&directory.path().join("tools")))
        .env("GITHUB_SERVER_URL", &releases.address)
        .env("ACTION_REPOSITORY", repository)
        .env("ACTION_REF", reference)
        .env("no_proxy", "*")
        .output()
        .unwrap();
    let program = root.join("bin/crm-admission");
    let prints = program.exists().then(|| text(&Command::new(program).output().unwrap().stdout));
    let said = text(&output.stderr).lines().last().unwrap_or_default().replace(&releases.address, "SERVER");
    Installed { code: output.status.code(), said, prints }
}

/// The tag of this version.
const TAG: &str = concat!("v", env!("CARGO_PKG_VERSION"));
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const OTHER_COMMIT: &str = "fedcba9876543210fedcba9876543210fedcba98";

/// What git asks a server for that has only files, and its answer if this commit has the tag of this version.
fn tagged(commit: &str) -> (String, Vec<u8>) {
    let tags = format!(
        "1111111111111111111111111111111111111111\trefs/tags/{TAG}\n{commit}\trefs/tags/{TAG}^{{}}\n"
    );
    ("/owner/fork/info/refs?service=git-upload-pack".to_owned(), tags.into_bytes())
}

#[rstest]
#[case::of_a_tag(TAG)]
#[case::of_the_commit_of_a_tag(COMMIT)]
fn the_action_installs_the_released_program(#[case] reference: &str) {
    let mut files = released("echo released");
    files.extend([tagged(COMMIT)]);
    let releases = Releases::serve(files, None);
    let (base, name) = release();
    let installed = install(&releases, "owner/fork", reference);
    let said = format!("downloaded crm-admission from SERVER{base}");
    assert_eq!(installed, Installed { code: Some(0), said, prints: Some("released\n".to_owned()) });
    let downloads = [format!("{base}/SHA256SUMS"), format!("{base}/{name}.tar.gz")];
    assert!(releases.asked().ends_with(&downloads), "{:?}", releases.asked());
}

#[test]
fn the_action_refuses_a_release_with_a_changed_byte() {
    let (base, name) = release();
    let mut files = released("echo released");
    let archive = files.get_mut(&format!("{base}/{name}.tar.gz")).unwrap();
    let middle = archive.len() / 2;
    archive[middle] ^= 1;
    let installed = install(&Releases::serve(files, None), "owner/fork", TAG);
    assert_eq!((installed.code, &installed.prints), (Some(2), &None), "{installed:?}");
    assert!(installed.said.contains(".tar.gz has another checksum than SHA256SUMS says"), "{installed:?}");
}

#[rstest]
#[case::without_its_archive("", "does not exist, although SHA256SUMS lists it")]
#[case::whose_checksums_lack_it("other.tar.gz", "SHA256SUMS does not list")]
fn the_action_refuses_an_incomplete_release(#[case] listed: &str, #[case] part: &str) {
    let (base, name) = release();
    let mut files = released("echo released");
    files.remove(&format!("{base}/{name}.tar.gz"));
    if !listed.is_empty() {
        files.insert(format!("{base}/SHA256SUMS"), format!("00  {listed}\n").into_bytes());
    }
    let installed = install(&Releases::serve(files, None), "owner/fork", TAG);
    assert_eq!((installed.code, &installed.prints), (Some(2), &None), "{installed:?}");
    assert!(installed.said.contains(part), "{installed:?}");
}

#[test]
fn the_action_does_not_take_an_error_of_the_server_for_an_absent_release() {
    let releases = Releases::serve(HashMap::new(), Some("403 Forbidden"));
    let installed = install(&releases, "owner/fork", TAG);
    assert_eq!((installed.code, &installed.prints), (Some(2), &None), "{installed:?}");
    assert!(installed.said.ends_with("SHA256SUMS cannot be read: the answer is 403"), "{installed:?}");
}

#[rstest]
#[case::without_a_release("owner/fork", TAG, 1, concat!("owner/fork has no release v", env!("CARGO_PKG_VERSION")))]
#[case::at_a_branch("owner/fork", "main", 0, concat!("\"main\" is neither the tag v", env!("CARGO_PKG_VERSION"), " nor its commit"))]
#[case::at_a_commit_that_has_another_tag(
    "owner/fork", OTHER_COMMIT, 0,
    concat!("\"", "fedcba9876543210fedcba9876543210fedcba98", "\" is neither the tag v", env!("CARGO_PKG_VERSION"), " nor its commit")
)]
#[case::in_its_own_repository("", "", 0, "this copy has no address on GitHub")]
fn the_action_builds(
    #[case] repository: &str,
    #[case] reference: &str,
    #[case] calls: usize,
    #[case] why: &str,
) {
    // A branch can be newer than a release, so it is built even if there is one.
    let mut files = if calls == 0 { released("echo released") } else { HashMap::new() };
    files.extend([tagged(COMMIT)]);
    let releases = Releases::serve(files, None);
    let installed = install(&releases, repository, reference);
    let said = format!("building crm-admission, because {why}");
    assert_eq!(installed, Installed { code: Some(0), said, prints: Some("built\n".to_owned()) });
    let downloads = |path: &String| path.contains("/releases/download/");
    assert_eq!(releases.asked().into_iter().filter(downloads).count(), calls);
}

// The script of the hooks.

/// A clone as pre-commit has it.
struct Clone {
    directory: TempDir,
    path: String,
}

impl Clone {
    fn create() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = path_with_cargo(&directory.path().join("tools"));
        let clone = Self { directory, path };
        fs::create_dir_all(clone.at("scripts/lib")).unwrap();
        for file in ["scripts/hook", "scripts/action", "scripts/lib/version", "Cargo.toml"] {
            fs::copy(at_root(file), clone.at(file)).unwrap();
        }
        clone.git(&["init", "--quiet"]);
        clone.git(&["add", "scripts", "Cargo.toml"]);
        let author = ["-c", "user.name=a", "-c", "user.email=a@example.com"];
        clone.git(&[&author[..], &["commit", "--quiet", "--message=All"]].concat());
        clone
    }

    fn at(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    fn git(&self, args: &[&str]) -> String {
        let output = command("git").args(args).current_dir(self.directory.path()).output().unwrap();
        assert!(output.status.success(), "git {args:?}: {}", text(&output.stderr));
        text(&output.stdout).trim().to_owned()
    }

    /// Runs the hook in another repository while git commits there: what it prints, and the last line of its messages.
    fn hook(&self, releases: &Releases) -> (String, String) {
        let committed = tempfile::tempdir().unwrap();
        let output = command(self.at("scripts/hook"))
            .arg("check")
            .current_dir(&committed)
            .env("GIT_DIR", committed.path().join(".git"))
            .env("PATH", &self.path)
            .env("GITHUB_SERVER_URL", &releases.address)
            .env("no_proxy", "*")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        let said = text(&output.stderr).lines().last().unwrap_or_default().to_owned();
        (text(&output.stdout), said.replace(&releases.address, "SERVER"))
    }
}

#[test]
fn a_hook_downloads_the_release_of_its_commit_once() {
    let clone = Clone::create();
    let mut files = released("echo released $1");
    files.extend([tagged(&clone.git(&["rev-parse", "HEAD"]))]);
    let releases = Releases::serve(files, None);
    clone.git(&["remote", "add", "origin", &format!("{}/owner/fork.git", releases.address)]);
    let (base, _) = release();
    let said = format!("downloaded crm-admission from SERVER{base}");
    assert_eq!(clone.hook(&releases), ("released check\n".to_owned(), said));
    let asked = releases.asked().len();
    assert_eq!(clone.hook(&releases), ("released check\n".to_owned(), String::new()));
    assert_eq!(releases.asked().len(), asked);
}

#[rstest]
#[case::of_another_server("https://git.example.com/owner/fork", "this copy has no address on GitHub")]
#[case::of_a_commit_without_a_release("SERVER/owner/fork", "is neither the tag v")]
fn a_hook_builds(#[case] origin: &str, #[case] why: &str) {
    let clone = Clone::create();
    let mut files = released("echo released");
    files.extend([tagged(OTHER_COMMIT)]);
    let releases = Releases::serve(files, None);
    clone.git(&["remote", "add", "origin", &origin.replace("SERVER", &releases.address)]);
    let (printed, said) = clone.hook(&releases);
    assert_eq!(printed, "built\n");
    assert!(said.starts_with("building crm-admission, because ") && said.contains(why), "{said}");
}

// Examples.

#[test]
fn the_example_with_a_wheel_is_the_hook_with_another_language() {
    let example = yaml("examples/ci/pre-commit-config-wheel.yaml");
    let mut hook = example["repos"][0]["hooks"][0].clone();
    let wheel = concat!(env!("CARGO_PKG_NAME"), "==", env!("CARGO_PKG_VERSION"));
    assert_eq!(hook["additional_dependencies"], serde_json::json!([wheel]));
    let hooks = yaml(".pre-commit-hooks.yaml");
    let offered = hooks.as_array().unwrap().iter().find(|offered| offered["id"] == hook["id"]).unwrap();
    let args = hook["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap());
    is_accepted(&std::iter::once("check").chain(args).collect::<Vec<_>>());
    // What users choose, and what differs.
    let entry = offered["entry"].as_str().unwrap().replace("scripts/hook", env!("CARGO_PKG_NAME"));
    assert_eq!(hook["entry"], entry);
    for key in ["args", "files", "entry", "language", "additional_dependencies", "description"] {
        hook.as_object_mut().unwrap().remove(key);
    }
    for (key, value) in hook.as_object().unwrap() {
        assert_eq!(value, &offered[key], "{key}");
    }
}

#[test]
fn the_example_of_a_workflow_uses_existing_inputs() {
    let inputs = yaml("action.yml")["inputs"].clone();
    let workflow = yaml("examples/ci/github-workflow.yml");
    let steps = workflow["jobs"]["check"]["steps"].as_array().unwrap();
    let ours = steps.iter().find(|step| step["uses"].as_str().unwrap().contains("/crm-admission@")).unwrap();
    for name in ours["with"].as_object().unwrap().keys() {
        assert!(inputs.get(name).is_some(), "{name}");
    }
    let upload = steps.iter().find(|step| step["uses"].as_str().unwrap().contains("upload-sarif")).unwrap();
    assert_eq!(upload["with"]["sarif_file"], ours["with"]["sarif"]);
}

#[test]
fn the_example_for_gitlab_writes_a_report_and_fails_for_denied_records() {
    let job = yaml("examples/ci/gitlab-ci.yml")["crm-records"].clone();
    let directory = copy_of_examples();
    fs::copy(at_root("manifests/policy/default.yaml"), directory.path().join("policy.yaml")).unwrap();
    let bin = directory.path().join(".crm-admission/bin");
    fs::create_dir_all(&bin).unwrap();
    // Not a copy: another thread may start a process while the file is open for writing, and then it cannot be run.
    std::os::unix::fs::symlink(PROGRAM, bin.join("crm-admission")).unwrap();
    let lines = job["script"].as_array().unwrap().iter().map(|line| line.as_str().unwrap());
    let script = lines.collect::<Vec<_>>().join("\n");
    let output = command("sh").args(["-e", "-c", &script]).current_dir(directory.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("crm/people.yaml:15:16: deny: "), "{}", text(&output.stdout));
    let report = directory.path().join(job["artifacts"]["reports"]["junit"].as_str().unwrap());
    assert!(fs::read_to_string(report).unwrap().contains("failures=\"1\""));
}

// docs/ci.md.

/// The code blocks of docs/ci.md in this language.
fn blocks(language: &str) -> Vec<String> {
    let document = read("docs/ci.md");
    let opening = format!("\n```{language}\n");
    let blocks = document.split(&opening).skip(1).map(|rest| rest.split_once("\n```\n").unwrap().0);
    blocks.map(|block| format!("{block}\n")).collect()
}

#[test]
fn docs_show_the_examples_unchanged() {
    let shown: HashSet<String> = blocks("yaml").into_iter().collect();
    let example_texts: HashSet<String> = files("examples/ci").iter().map(|file| read(file)).collect();
    assert_eq!(shown, example_texts);
}

#[test]
fn docs_show_the_real_output_for_the_examples() {
    let program = Path::new(PROGRAM).parent().unwrap().to_str().unwrap();
    let path = format!("{program}:{}", std::env::var("PATH").unwrap());
    let blocks = blocks("console");
    assert!(!blocks.is_empty());
    for block in blocks {
        let directory = copy_of_examples();
        let commands = block.lines().filter_map(|line| line.strip_prefix("$ "));
        let mut output_text = String::new();
        for line in commands {
            let mut shell = command("sh");
            shell
                .args(["-c", &format!("exec 2>&1\n{line}")])
                .env("PATH", &path)
                .current_dir(directory.path());
            output_text += &format!("$ {line}\n{}", text(&shell.output().unwrap().stdout));
        }
        assert_eq!(output_text, block);
    }
}
