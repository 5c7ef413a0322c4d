//! Tests what `check` makes of directories with a kustomization file, without a tool to build them or with one that fails.
//! `make kustomize` tests real builds.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use rstest::rstest;

use crate::repository::{Ended, Repository};

const DENIED: &str =
    "apiVersion: crm.milo.io/v1alpha1\nkind: Company\nmetadata: {name: acme}\nspec: {displayName: ''}\n";
const FOUND: &str = "4:21 Deny spec.displayName [display-name]";

/// A unit with a denied record, and everything that is no record: patches, the data of generators, a component.
fn units() -> Repository {
    Repository::with(&[
        (
            "base/kustomization.yml",
            "resources: [company.yaml]\nconfigMapGenerator: [{name: a, files: [data.json, k=more.yaml]}]\n",
        ),
        ("base/company.yaml", DENIED),
        ("base/data.json", "[1]"),
        ("base/more.yaml", "no object"),
        (
            "dev/Kustomization",
            "resources: [../base]\ncomponents: [../component]\npatches: [{path: merge.yaml}, {path: ops.yaml}]\n",
        ),
        ("dev/merge.yaml", &DENIED.replace("displayName", "unknown")),
        ("dev/ops.yaml", "- {op: remove, path: /spec/domains}\n"),
        (
            "component/kustomization.yaml",
            "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nresources: [added.yaml]\n",
        ),
        ("component/added.yaml", &DENIED.replace("acme", "added")),
        (
            "plain.yaml",
            "apiVersion: crm.milo.io/v1alpha1\nkind: Person\nmetadata: {name: jane}\nspec: {displayName: Jane, companyRef: {name: added}}\n",
        ),
    ])
}

/// A check with this script as `kustomize`; without a script, with no program at all.
fn check(repository: &Repository, script: Option<&str>, args: &[&str]) -> Ended {
    let bin = bin(repository, script);
    repository.check_in(".", &[("PATH", bin.to_str().unwrap())], args)
}

/// The directory with this script as `kustomize`.
fn bin(repository: &Repository, script: Option<&str>) -> PathBuf {
    let bin = repository.path().join("bin");
    if let Some(script) = script {
        fs::create_dir_all(&bin).unwrap();
        let program = bin.join("kustomize");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    bin
}

#[test]
fn without_builds_resources_are_checked_as_they_stand_and_nothing_else_is_a_record() {
    let ended = check(&units(), None, &["--kustomize", "skip", "--format", "json"]);
    assert_eq!(ended.ends_with(1).findings(), [format!("base/company.yaml:{FOUND}")]);
    assert_eq!(ended.err, "");
    // The record of the component exists, and is not checked.
    assert_eq!(ended.json()["summary"]["checked"], 2);
}

#[test]
fn without_a_tool_the_resources_are_checked_as_they_stand_and_a_note_says_so() {
    let ended = check(&units(), None, &["--format", "json"]);
    assert_eq!(ended.ends_with(1).findings(), [format!("base/company.yaml:{FOUND}")]);
    let note = "note: neither kustomize nor kubectl is on the PATH, so 1 directory with a kustomization file is not built: \
                its resources are checked as they stand; install one, or give --kustomize skip\n";
    assert_eq!(ended.err, note);
    assert_eq!(check(&units(), None, &["--quiet"]).err, "");
    // Only where there is something to build.
    assert_eq!(check(&units(), None, &["plain.yaml"]).err, "");
}

#[test]
fn without_a_tool_the_resources_of_a_base_outside_of_the_paths_are_checked_too() {
    let ended = check(&units(), None, &["--format", "json", "dev"]);
    assert_eq!(ended.ends_with(1).findings(), [format!("base/company.yaml:{FOUND}")]);
    // What is left out on purpose is left out.
    let args = ["--kustomize", "skip", "--exclude", "/base", "--format", "json"];
    assert!(check(&units(), None, &args).ends_with(0).findings().is_empty());
}

#[test]
fn units_that_are_not_built_can_have_the_same_record_and_one_cannot_have_it_twice() {
    let valid = DENIED.replace("''", "Acme");
    let repository = Repository::with(&[
        ("dev/kustomization.yaml", "resources: [company.yaml]\n"),
        ("dev/company.yaml", &valid),
        ("prod/kustomization.yaml", "resources: [company.yaml]\n"),
        ("prod/company.yaml", &valid),
    ]);
    let findings =
        |path| check(&repository, None, &["--kustomize", "skip", "--format", "json", path]).findings();
    assert_eq!(findings("."), [] as [&str; 0]);
    repository.write("prod/kustomization.yaml", "resources: [company.yaml, again.yaml]\n");
    repository.write("prod/again.yaml", &valid);
    assert_eq!(findings("."), ["prod/company.yaml:3:18 Warn metadata.name [schema/duplicate-object]"]);
    // What is in no unit can be deployed beside each.
    repository.write("all.yaml", &valid);
    let beside = ["dev/company.yaml", "prod/again.yaml", "prod/company.yaml"];
    assert_eq!(
        findings("."),
        beside.map(|file| format!("{file}:3:18 Warn metadata.name [schema/duplicate-object]"))
    );
}

#[test]
fn a_tool_cannot_reach_the_network_by_default() {
    let says = "echo \"Error: $HTTP_PROXY,$HTTPS_PROXY,$http_proxy,$https_proxy,$NO_PROXY,$no_proxy,${GIT_ALLOW_PROTOCOL-all}\" >&2";
    let ended = check(&units(), Some(&format!("{says}; exit 1")), &["--format", "json"]);
    let nowhere = ["http://127.0.0.1:9"; 4].join(",");
    let said = format!("error: dev/Kustomization: kustomize build fails: {nowhere},,,; ");
    assert!(ended.ends_with(2).err.starts_with(&said), "{}", ended.err);
}

#[test]
fn a_directory_for_temporary_files_in_the_unit_is_an_error_with_the_fix() {
    let repository = units();
    repository.write("dev/tmp/none", "");
    let (bin, temporary) = (repository.path().join("bin"), repository.path().join("dev/tmp"));
    check(&repository, Some("exit 1"), &[]).ends_with(2);
    let environment = [("PATH", bin.to_str().unwrap()), ("TMPDIR", temporary.to_str().unwrap())];
    let ended = repository.check_in(".", &environment, &["--format", "json"]);
    let said = format!(
        "error: dev/Kustomization: cannot prepare the build: the directory for temporary files, {}, is inside of the \
         directory to build; set TMPDIR to one outside; ",
        temporary.display()
    );
    assert!(ended.ends_with(2).err.starts_with(&said), "{}", ended.err);
}

#[test]
fn build_without_a_tool_is_an_error() {
    let ended = check(&units(), None, &["--kustomize", "build"]);
    let said = "error: --kustomize build needs the program kustomize or kubectl, and neither is on the PATH; install one ";
    assert!(ended.ends_with(2).err.starts_with(said), "{}", ended.err);
    let repository = units();
    repository.write(".crm-admission.yaml", "kustomize: build\n");
    assert!(check(&repository, None, &[]).ends_with(2).err.starts_with(said));
    check(&repository, None, &["--kustomize", "skip"]).ends_with(1);
}

#[test]
fn existing_objects_can_be_in_units() {
    let ended = check(&units(), None, &["plain.yaml", "--resources", ".", "--format", "json"]);
    assert!(ended.ends_with(0).findings().is_empty(), "{}", ended.out);
}

#[test]
fn a_path_of_resources_without_an_object_gets_a_warning() {
    let repository = units();
    repository.write("none/kustomization.yaml", "patches: [{path: merge.yaml}]\n");
    repository.write("none/merge.yaml", DENIED);
    let said = |resources| {
        check(&repository, None, &["plain.yaml", "--resources", resources, "--format", "json"]).err
    };
    let warning = "warning: none: this path of --resources has no object; check the path\n";
    assert_eq!(said("none"), warning);
    // Its objects are those of its base.
    assert_eq!(said("dev"), "");
}

#[test]
fn an_unknown_mode_is_an_error() {
    let ended = check(&units(), None, &["--kustomize", "never"]);
    assert!(ended.ends_with(2).err.contains("[possible values: auto, build, skip]"), "{}", ended.err);
    let repository = units();
    repository.write(".crm-admission.yaml", "kustomize: bild\n");
    let ended = check(&repository, None, &[]);
    assert!(ended.ends_with(2).err.contains("did you mean \"build\"?"), "{}", ended.err);
}

#[test]
fn a_patch_that_is_named_is_read() {
    let args = ["--kustomize", "skip", "--format", "json", ".", "dev/merge.yaml"];
    let ended = check(&units(), None, &args);
    let expected = [
        "base/company.yaml:4:21 Deny spec.displayName [display-name]",
        "dev/merge.yaml:4:1 Deny spec.displayName [display-name]",
        "dev/merge.yaml:4:8 Deny spec.unknown [schema]",
    ];
    let mut found = ended.ends_with(1).findings();
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn a_build_that_fails_is_an_error_and_the_rest_is_checked() {
    let repository = units();
    repository.write("other.yaml", &DENIED.replace("acme", "other"));
    let ended = check(&repository, Some("echo 'Error: no luck' >&2; exit 1"), &["--format", "json"]);
    // Its records exist for others.
    assert_eq!(ended.ends_with(2).findings(), [format!("other.yaml:{FOUND}")]);
    let said = "error: dev/Kustomization: kustomize build fails: no luck; if it needs flags, build it and check the output: \
                kustomize build dev … | crm-admission check -\n";
    assert_eq!(ended.err, said);
}

#[rstest]
#[case::no_yaml("echo 'a: ['", "the output of the build cannot be read: line 2, column 1: ")]
#[case::no_object("echo '- a'", "the output of the build cannot be read: no object: ")]
#[case::no_text("printf '\\377'", "kustomize build cannot be run: its output is not UTF-8 text")]
#[case::no_reason("exit 3", "kustomize build fails: exit status: 3; ")]
#[case::too_large("while :; do printf '%065536d' 0; done", "kustomize build renders more than 64 MiB; ")]
fn a_tool_that_answers_something_else_is_an_error(#[case] script: &str, #[case] expected: &str) {
    let ended = check(&units(), Some(script), &["--format", "json"]);
    let expected = format!("error: dev/Kustomization: {expected}");
    assert!(ended.ends_with(2).err.starts_with(&expected), "{}", ended.err);
}

#[test]
fn a_path_that_does_not_exist_is_an_error_at_its_place_and_nothing_is_built() {
    let repository = units();
    repository.write("base/kustomization.yml", "resources:\n- company.yaml\n- ../absent\nconfigMapGenerator: [{name: a, files: [data.json, k=more.yaml]}]\n");
    for mode in ["auto", "build"] {
        let ended =
            check(&repository, Some("echo run >&2; exit 1"), &["--kustomize", mode, "--format", "json"]);
        let said = "error: base/kustomization.yml:3:3: \"../absent\": cannot be read: No such file or directory (os error 2); \
                    correct it, or give --kustomize skip\n";
        assert_eq!(ended.ends_with(2).err, said);
    }
}

#[rstest]
#[case::a_url(
    "resources: ['https://example.com/a.yaml', company.yaml]",
    "1:13: \"https://example.com/a.yaml\": check reads nothing from the network"
)]
#[case::a_repository(
    "resources: [company.yaml, 'example.com/a//b?ref=v1']",
    "1:27: \"example.com/a//b?ref=v1\": check reads nothing from the network"
)]
#[case::data(
    "resources: [company.yaml]\nconfigMapGenerator: [{name: a, files: ['k=https://example.com/a']}]",
    "2:40: \"https://example.com/a\": check reads nothing from the network"
)]
#[case::charts(
    "resources: [company.yaml]\nhelmCharts: [{name: a}]",
    "2:13: kustomize renders charts only with --enable-helm, which check does not use"
)]
fn what_needs_the_network_is_not_built(#[case] kustomization: &str, #[case] expected: &str) {
    let repository = Repository::with(&[("a/kustomization.yaml", kustomization), ("a/company.yaml", DENIED)]);
    let script = Some("echo run >&2; exit 1");
    let ended = check(&repository, script, &["--format", "json"]);
    assert_eq!(ended.ends_with(1).findings(), [format!("a/company.yaml:{FOUND}")]);
    let note = format!(
        "note: a is not built, and its resources are checked as they stand: a/kustomization.yaml:{expected}\n"
    );
    assert_eq!(ended.err, note);
    let ended = check(&repository, script, &["--format", "json", "--kustomize", "build"]);
    let error = format!("error: a/kustomization.yaml:{expected}; ");
    assert!(ended.ends_with(2).err.starts_with(&error), "{}", ended.err);
}

#[test]
fn a_kustomization_of_flux_is_an_object_and_its_directory_no_unit() {
    let flux = "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: a}\nspec: {path: ./a}\n";
    let repository = Repository::with(&[("kustomization.yaml", flux), ("company.yaml", DENIED)]);
    let ended = check(&repository, Some("exit 1"), &["--format", "json"]);
    assert_eq!(ended.ends_with(1).json()["summary"]["other"], 1);
}

#[test]
fn units_that_refer_to_each_other_in_a_circle_are_left_to_the_tool() {
    let repository = Repository::with(&[
        ("a/kustomization.yaml", "resources: [../b]"),
        ("b/kustomization.yaml", "resources: [../a]"),
    ]);
    let ended = check(&repository, Some("echo 'Error: cycle' >&2; exit 1"), &["--format", "json"]);
    assert!(
        ended.ends_with(2).err.contains("a/kustomization.yaml: kustomize build fails: cycle"),
        "{}",
        ended.err
    );
}

/// Waits until something is true. The limit is that of the test runner.
fn wait_until(is_true: impl Fn() -> bool) {
    while !is_true() {
        sleep(Duration::from_millis(5));
    }
}

/// Whether a process runs, and has not only not been waited for.
fn is_running(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

fn signal(name: &str, process: u32) {
    let status = Command::new("kill").args(["-s", name, &process.to_string()]).status().unwrap();
    assert!(status.success());
}

#[rstest]
#[case::interrupt("INT", 2)]
#[case::terminate("TERM", 15)]
fn a_signal_during_a_build_leaves_no_process_and_no_file_behind(#[case] name: &str, #[case] number: i32) {
    let repository = units();
    repository.write("tmp/none", "");
    // The second process is not the one that the check has started.
    let bin = bin(&repository, Some("sleep 1000 & echo $$ $! > started.part; mv started.part started; wait"));
    let temporary = repository.path().join("tmp");
    let mut child = Command::new(env!("CARGO_BIN_EXE_crm-admission"))
        .args(["check", "--no-config", "."])
        .current_dir(repository.path())
        .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
        .env("TMPDIR", &temporary)
        .spawn()
        .unwrap();
    let started = repository.path().join("started");
    wait_until(|| started.exists());
    let files = |directory: &Path| fs::read_dir(directory).unwrap().count();
    assert_eq!(files(&temporary), 2);
    signal(name, child.id());
    assert_eq!(child.wait().unwrap().signal(), Some(number));
    assert_eq!(files(&temporary), 1);
    let pids = fs::read_to_string(started).unwrap();
    wait_until(|| !pids.split(' ').any(is_running));
}

#[test]
fn a_signal_after_the_builds_ends_the_check_at_once() {
    let repository = units();
    let bin = bin(&repository, Some("exit 0"));
    // The lookup of a company waits for this server.
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let kubeconfig = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: a\nclusters: [{{name: a, cluster: {{server: 'http://{address}'}}}}]\n\
         users: [{{name: a, user: {{}}}}]\ncontexts: [{{name: a, context: {{cluster: a, user: a}}}}]\n"
    );
    repository.write("kubeconfig", &kubeconfig);
    let mut child = Command::new(env!("CARGO_BIN_EXE_crm-admission"))
        .args(["check", "--no-config", "--cluster", "--kubeconfig", "kubeconfig", "."])
        .current_dir(repository.path())
        .env("PATH", &bin)
        .spawn()
        .unwrap();
    let _waiting = server.accept().unwrap();
    signal("INT", child.id());
    assert_eq!(child.wait().unwrap().signal(), Some(2));
}

#[test]
fn a_kustomization_file_that_cannot_be_read_is_one_error_and_its_files_are_no_records() {
    let repository = units();
    repository.write("base/kustomization.yml", "resources: [company.yaml\nx: y\n");
    repository.write("base/patches/name.yaml", DENIED);
    repository.write("other.yaml", &DENIED.replace("acme", "other"));
    let script = Some("echo run >&2; exit 1");
    for (script, mode) in [(script, "auto"), (script, "build"), (script, "skip"), (None, "auto")] {
        let ended = check(&repository, script, &["--kustomize", mode, "--format", "json"]);
        assert_eq!(ended.ends_with(2).findings(), [format!("other.yaml:{FOUND}")], "{mode}");
        let errors = ended.json()["errors"].clone();
        let errors = errors.as_array().unwrap();
        let place = |key: &str| errors[0][key].clone();
        assert_eq!(errors.len(), 1, "{mode}: {errors:?}");
        assert_eq!((place("file"), place("line")), ("base/kustomization.yml".into(), 2.into()));
    }
    // Also if it is outside of the given paths, or named.
    for paths in [&["dev"][..], &["dev", "base"], &["dev", "base/kustomization.yml"]] {
        let ended = check(&repository, script, &[paths, &["--format", "json"]].concat());
        let errors = ended.ends_with(2).json()["errors"].clone();
        assert_eq!(errors.as_array().unwrap().len(), 1, "{paths:?}: {errors}");
    }
    // A unit below its directory is a unit of its own.
    repository.write("base/own/kustomization.yaml", "resources: [company.yaml]\n");
    repository.write("base/own/company.yaml", &DENIED.replace("acme", "own"));
    let args = ["--kustomize", "skip", "--format", "json", "base"];
    let found = check(&repository, None, &args).ends_with(2).findings();
    assert_eq!(found, [format!("base/own/company.yaml:{FOUND}")]);
}

/// Makes a file one that cannot be read.
type Break = fn(&Path);

#[rstest]
#[case::not_text(
    |file: &Path| fs::write(file, b"resources: [company.yaml]\n# caf\xe9\n").unwrap(),
    "base/kustomization.yml:2:6: cannot be read: not UTF-8 text"
)]
#[case::too_large(
    |file: &Path| fs::File::create(file).unwrap().set_len((64 << 20) + 1).unwrap(),
    "base/kustomization.yml: cannot be read: larger than 64 MiB"
)]
fn a_kustomization_file_without_a_text_is_one_error_and_its_files_are_no_records(
    #[case] break_file: Break,
    #[case] expected: &str,
) {
    let repository = units();
    break_file(&repository.path().join("base/kustomization.yml"));
    repository.write("base/patches/name.yaml", DENIED);
    repository.write("other.yaml", &DENIED.replace("acme", "other"));
    let script = Some("echo run >&2; exit 1");
    for (script, mode) in [(script, "auto"), (script, "build"), (script, "skip"), (None, "auto")] {
        // Also if the directory is outside of the given paths.
        for paths in [&["."][..], &["dev", "other.yaml"]] {
            let args = [paths, &["--kustomize", mode, "--format", "json"]].concat();
            let ended = check(&repository, script, &args);
            assert_eq!(ended.ends_with(2).findings(), [format!("other.yaml:{FOUND}")], "{mode} {paths:?}");
            assert_eq!(ended.err, format!("error: {expected}\n"), "{mode} {paths:?}");
        }
    }
}

#[test]
fn a_link_that_leads_nowhere_is_a_kustomization_file_that_cannot_be_read() {
    let repository = units();
    let file = repository.path().join("base/kustomization.yml");
    fs::remove_file(&file).unwrap();
    symlink("nowhere", file).unwrap();
    let ended = check(&repository, None, &["--format", "json", "base"]);
    assert!(ended.ends_with(2).findings().is_empty(), "{}", ended.out);
    let said = "error: base/kustomization.yml: cannot be read: No such file or directory (os error 2)\n";
    assert_eq!(ended.err, said);
}

#[test]
fn a_file_of_a_unit_outside_of_the_paths_that_cannot_be_read_is_an_error() {
    let repository = units();
    fs::write(repository.path().join("base/company.yaml"), b"kind: \xff").unwrap();
    let ended = check(&repository, None, &["--kustomize", "skip", "--format", "json", "dev"]);
    assert_eq!(ended.ends_with(2).err, "error: base/company.yaml:1:7: cannot be read: not UTF-8 text\n");
}

#[test]
fn a_kustomization_file_that_is_a_list_cannot_be_read_either() {
    let repository =
        Repository::with(&[("kustomization.yaml", "- company.yaml\n"), ("company.yaml", DENIED)]);
    let ended = check(&repository, None, &[]);
    let said = "kustomization.yaml:1:1: error: no object: a manifest is a map with apiVersion and kind\n";
    assert!(ended.ends_with(2).out.starts_with(said), "{}", ended.out);
}

#[test]
fn what_exists_elsewhere_is_not_checked_if_a_build_renders_it() {
    let repository = Repository::with(&[
        ("base/kustomization.yaml", "resources: [c.yaml]\n"),
        ("base/c.yaml", DENIED),
        ("dev/kustomization.yaml", "resources: [../base, person.yaml]\n"),
        (
            "dev/person.yaml",
            "apiVersion: crm.milo.io/v1alpha1\nkind: Person\nmetadata: {name: jane}\nspec: {displayName: '', companyRef: {name: acme}}\n",
        ),
    ]);
    let origin = |path: &str, file: &str| {
        let annotation =
            format!("metadata: {{annotations: {{config.kubernetes.io/origin: 'path: {path}'}}, ");
        let text = repository.read(file).replace("metadata: {", &annotation);
        format!("cat <<'E'\n{text}---\nE\n")
    };
    let directory = repository.path().canonicalize().unwrap();
    let of = |file: &str| origin(&format!("{}/{file}", directory.display()), file);
    let script = format!("PATH=/usr/bin:/bin\n{}{}", of("base/c.yaml"), of("dev/person.yaml"));
    let expected = ["dev/person.yaml:4:21 Deny spec.displayName [display-name]"];
    for paths in [&["."][..], &["dev"]] {
        let args = [paths, &["--resources", "base/c.yaml", "--format", "json"]].concat();
        for script in [Some(script.as_str()), None] {
            let ended = check(&repository, script, &args);
            assert_eq!(ended.ends_with(1).findings(), expected, "{paths:?} {script:?}");
        }
    }
    // Without the flag, it is.
    assert_eq!(check(&repository, Some(&script), &["--format", "json"]).ends_with(1).findings().len(), 2);
}

#[test]
fn the_command_in_an_error_names_the_directory_as_a_shell_reads_it() {
    let repository = Repository::with(&[("my team/kustomization.yaml", "resources: []\n")]);
    let ended = check(&repository, Some("exit 1"), &["--format", "json"]);
    assert!(
        ended.ends_with(2).err.contains(": kustomize build 'my team' … | crm-admission"),
        "{}",
        ended.err
    );
}
