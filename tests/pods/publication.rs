//! Tests what `make release` has built as its users get it: pushed to a registry, signed, pulled by digest, and installed.
//! `make publication` runs this.

use super::changes::{NAMESPACE, assert_healthy, await_completion};
use crate::support::control_plane;
use crate::support::helm::Helm;
use crate::support::net;
use crate::support::pods::cluster::Cluster;
use crate::support::pods::family::Family;
use crate::support::process::{Log, Process};
use crate::support::repository;
use crate::support::workspace::Workspace;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);
const PORT: u16 = 5000;
/// The registry as programs on the first node see it.
const REGISTRY: &str = "localhost:5000";
const VERSION: &str = env!("CARGO_PKG_VERSION");

const COMPANY: &str = "apiVersion: crm.milo.io/v1alpha1\nkind: Company\nmetadata: {name: acme-corp}\nspec: {displayName: Acme}\n";

/// A cluster with a registry on its first node, which has the image and the chart of the release.
struct Publication {
    cluster: Cluster,
    /// The repository and the digest of the image and of the chart.
    image: String,
    chart: String,
    _registry: Process,
}

impl Publication {
    #[track_caller]
    fn start() -> Self {
        let cluster = Cluster::start(Family::Ipv4);
        let registry = start_registry(&cluster);
        let artifacts = artifacts().display().to_string();
        let publish = repository().join("scripts/publish");
        let printed = cluster.run(&publish, &[&artifacts, &format!("{REGISTRY}/example")]);
        let published = |name: &str| {
            let line = printed.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.unwrap_or_else(|| panic!("no {name} in {printed}")).to_owned()
        };
        Self { image: published("image"), chart: published("chart"), _registry: registry, cluster }
    }

    /// The result and the output of cosign, whose key pair is in a directory of the test.
    fn cosign(&self, args: &[&str]) -> (bool, String) {
        let keys = self.cluster.plane().workspace().file("keys", "cosign.key");
        cosign(self.cluster.command(program("cosign")), keys.parent().unwrap(), args)
    }

    /// Verifies the signature of what has this digest. The key is for the test, so no public log knows the signature.
    fn verify(&self, what: &str) -> (bool, String) {
        self.cosign(&[
            "verify",
            "--key=cosign.pub",
            "--insecure-ignore-tlog=true",
            "--allow-http-registry=true",
            what,
        ])
    }

    /// Signs the image and the chart.
    #[track_caller]
    fn sign(&self) {
        let sign = [
            "sign",
            "--key=cosign.key",
            "--tlog-upload=false",
            "--use-signing-config=false",
            "--allow-http-registry=true",
            "--yes",
        ];
        for args in [vec!["generate-key-pair"], [&sign[..], &[&self.image, &self.chart]].concat()] {
            let (success, printed) = self.cosign(&args);
            assert!(success, "cosign {args:?} failed\n{printed}");
        }
    }

    /// The file in which the registry keeps what has this digest.
    fn blob(&self, digest: &str) -> PathBuf {
        let hash = digest.rsplit_once(':').unwrap().1;
        let blobs = storage(&self.cluster).join("docker/registry/v2/blobs/sha256");
        blobs.join(&hash[..2]).join(hash).join("data")
    }
}

/// The result and the output of cosign in a directory with its keys.
fn cosign(mut command: Command, directory: &Path, args: &[&str]) -> (bool, String) {
    let output = command.env("COSIGN_PASSWORD", "").current_dir(directory).args(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout) + &text(&output.stderr))
}

/// A program that `tests/pods/publication/build` has built.
fn program(name: &str) -> PathBuf {
    let path = repository().join("target/pods/publication").join(name);
    assert!(path.is_file(), "{} is not built: run tests/pods/publication/build", path.display());
    path
}

/// The directory with the files of the release.
fn artifacts() -> PathBuf {
    let path = repository().join("target/release-artifacts");
    assert!(path.join("SHA256SUMS").is_file(), "{} has no release: run make release", path.display());
    path
}

fn storage(cluster: &Cluster) -> PathBuf {
    cluster.plane().workspace().path().join("registry")
}

#[track_caller]
fn start_registry(cluster: &Cluster) -> Process {
    let workspace = cluster.plane().workspace();
    let configuration = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: ':{PORT}'}}\n",
        storage(cluster).display()
    );
    let file = workspace.write("registry-configuration", "registry.yaml", &configuration);
    let place = cluster.plane().place();
    let mut command = place.command(program("registry"));
    command.arg("serve").arg(file);
    let mut registry = Process::start("registry", command, &Log::new(workspace.file("logs", "registry.log")));
    let answer = || place.within(|| net::get(PORT, "/v2/"));
    registry
        .ready(PATIENCE, || match answer() {
            Ok((200, _)) => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .unwrap_or_else(|why| panic!("{why}"));
    registry
}

/// The manifest that installs the release, and the names of its image: with the digest and without the tag, as the kubelet
/// asks for that of the manifest, and with the tag, as the chart has it.
fn install_manifest() -> (PathBuf, [String; 2]) {
    let file = artifacts().join("install-self-managed.yaml");
    let text = fs::read_to_string(&file).unwrap();
    let image =
        text.lines().find_map(|line| line.trim_start().trim_start_matches("- ").strip_prefix("image: "));
    let (tagged, digest) = image.and_then(|image| image.split_once('@')).expect("an image with its digest");
    let (repository, _) = tagged.rsplit_once(':').expect("a tag");
    (file, [format!("{repository}@{digest}"), tagged.to_owned()])
}

#[test]
fn a_release_is_published_signed_pulled_by_digest_and_installed() {
    let publication = Publication::start();
    let cluster = &publication.cluster;
    publication.sign();
    for what in [&publication.image, &publication.chart] {
        let (success, printed) = publication.verify(what);
        assert!(success, "{printed}");
    }

    let (manifest, names) = install_manifest();
    let (_, image) = publication.image.split_once('/').unwrap();
    let from_nodes = format!("{}:{PORT}/{image}", Family::Ipv4.node(1)[0]);
    for node in cluster.nodes() {
        node.pull(&from_nodes, &names).unwrap_or_else(|why| panic!("{why}"));
    }
    let admin = cluster.plane().kubectl("admin");
    admin.apply_path(&manifest).succeeds();
    await_completion(cluster.plane());
    assert_healthy(cluster);
    admin.apply(COMPANY).succeeds();
    let uninstall = artifacts().join("uninstall-self-managed.yaml");
    admin.run(["delete", "-f", uninstall.to_str().unwrap()]).succeeds();
    admin.run(["get", "company", "acme-corp"]).succeeds();
    admin.run(["delete", "-f", manifest.to_str().unwrap(), "--ignore-not-found"]).succeeds();

    let chart = format!("oci://{REGISTRY}/example/charts/crm-admission");
    let install =
        ["install", "crm-admission", &chart, "--version", VERSION, "--plain-http", "--wait", "--timeout=60s"];
    cluster
        .run(&Helm::program(), &[&install[..], &["--namespace", NAMESPACE, "--create-namespace"]].concat());
    await_completion(cluster.plane());
    assert_healthy(cluster);
}

#[test]
fn the_signature_of_the_checksums_covers_every_byte() {
    let workspace = Workspace::create();
    let cosign = |args: &[&str]| cosign(Command::new(program("cosign")), workspace.path(), args);
    let sums = workspace.path().join("SHA256SUMS");
    fs::copy(artifacts().join("SHA256SUMS"), &sums).unwrap();
    let bundle = "--bundle=SHA256SUMS.sigstore.json";
    let sign =
        ["sign-blob", "--key=cosign.key", "--tlog-upload=false", "--use-signing-config=false", "--yes"];
    for args in [&["generate-key-pair"][..], &[&sign[..], &[bundle, "SHA256SUMS"]].concat()] {
        let (success, printed) = cosign(args);
        assert!(success, "cosign {args:?} failed\n{printed}");
    }
    let verify = ["verify-blob", "--key=cosign.pub", "--insecure-ignore-tlog=true", bundle, "SHA256SUMS"];
    let (success, printed) = cosign(&verify);
    assert!(success, "{printed}");
    alter(&sums);
    let (success, printed) = cosign(&verify);
    assert!(!success && printed.contains("signature"), "{printed}");
}

/// Changes the last byte of a file.
fn alter(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(file, bytes).unwrap();
}

#[test]
fn what_was_altered_in_the_registry_is_refused() {
    let publication = Publication::start();
    publication.sign();
    let cluster = &publication.cluster;
    let read = |digest: &str| -> Value {
        serde_json::from_slice(&fs::read(publication.blob(digest)).unwrap()).unwrap()
    };
    // An index has the digest of each manifest, and a manifest those of its layers.
    let index = read(&publication.image);
    for manifest in index["manifests"].as_array().unwrap() {
        for layer in read(text(&manifest["digest"]))["layers"].as_array().unwrap() {
            alter(&publication.blob(text(&layer["digest"])));
        }
    }
    let error = cluster.nodes()[0].pull(&publication.image, &[]).unwrap_err();
    assert!(error.contains("digest"), "{error}");
    // The signature covers the digest of the index, and nothing that has another one.
    let (name, _) = publication.image.split_once('@').unwrap();
    let unsigned = format!("{name}@{}", text(&index["manifests"][0]["digest"]));
    let (success, printed) = publication.verify(&unsigned);
    assert!(!success && printed.contains("no signatures found"), "{printed}");

    alter(&publication.blob(text(&read(&publication.chart)["layers"][0]["digest"])));
    let (repository, _) = publication.chart.split_once('@').unwrap();
    let pull = ["pull", &format!("oci://{repository}"), "--version", VERSION, "--plain-http"];
    let output = cluster.command(Helm::program()).args(pull).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && error.contains("digest"), "{error}");
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[test]
fn krew_accepts_the_manifest_and_installs_a_plugin_of_kubectl() {
    let root = Workspace::create();
    let manifest = artifacts().join("crm-admission.krew.yaml");
    // A manifest for Krew has the name of its plugin.
    let named = root.write("index", "crm-admission.yaml", &fs::read_to_string(&manifest).unwrap());
    let run = |program: &Path, args: &[&str]| {
        let kubectl = control_plane::programs();
        let output = Command::new(program)
            .args(args)
            .env("KREW_ROOT", root.path())
            .env("PATH", format!("{}/bin:{}:/usr/bin:/bin", root.path().display(), kubectl.display()))
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let printed = text(&output.stdout) + &text(&output.stderr);
        assert!(output.status.success(), "{} {args:?} failed\n{printed}", program.display());
        printed
    };
    let manifest_flag = format!("--manifest={}", named.display());
    run(&program("validate-krew-manifest"), &[&manifest_flag, "-skip-install"]);
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let archive = artifacts().join(format!("crm-admission-{VERSION}-linux-{architecture}.tar.gz"));
    run(&program("krew"), &["install", &manifest_flag, &format!("--archive={}", archive.display())]);
    let help = run(&control_plane::programs().join("kubectl"), &["crm-admission", "check", "--help"]);
    assert!(help.contains("Usage: kubectl crm-admission check [OPTIONS]"), "{help}");
}
