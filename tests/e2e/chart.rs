//! Compares the chart as a release has it with what `helm package` writes, and reads it with helm. Needs no cluster.

use crate::support::helm::Helm;
use crate::support::manifest;
use crm_release::{NAME, Release, chart};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const VERSION: &str = env!("CARGO_PKG_VERSION");
const IMAGE: &str = "images.example.org/crm-admission";
/// What helm packs only because it does not ignore it. It matters only for packing.
const IGNORED: &str = ".helmignore";

/// The chart of a release and that of helm, in one directory.
struct Packages {
    helm: Helm,
    /// The archive in the release.
    ours: PathBuf,
    /// The archive that `helm package` wrote.
    theirs: PathBuf,
    _directory: TempDir,
}

impl Packages {
    fn of_both() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |part: &str| directory.path().join(part);
        let helm = Helm::new(path("no-kubeconfig"), &path("home"));
        let source = manifest("chart").join(NAME);
        let release = Release {
            version: VERSION.to_owned(),
            revision: "abc".to_owned(),
            time: 1,
            image: IMAGE.to_owned(),
            downloads: String::new(),
            source: None,
        };
        let (package, _) = chart::pack(&source, &release).unwrap();
        let archive = format!("{NAME}-{VERSION}.tgz");
        let (ours, theirs) = (path("ours").join(&archive), path("theirs").join(&archive));
        crm_release::write(&ours, &package).unwrap();
        helm.succeeds(["package", text(&source), "--destination", text(theirs.parent().unwrap())]);
        Self { helm, ours, theirs, _directory: directory }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The files of an archive by their path in the chart.
fn files(archive: &Path) -> BTreeMap<String, String> {
    let directory = archive.with_extension("unpacked");
    fs::create_dir(&directory).unwrap();
    let status = Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(&directory).status().unwrap();
    assert!(status.success(), "tar cannot read {}", archive.display());
    let mut files = BTreeMap::new();
    collect(&directory.join(NAME), "", &mut files);
    files
}

fn collect(directory: &Path, prefix: &str, files: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{prefix}{}", path.file_name().unwrap().to_string_lossy());
        if path.is_dir() {
            collect(&path, &format!("{name}/"), files);
        } else {
            files.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn has_the_files_that_helm_packs() {
    let packages = Packages::of_both();
    let (mut ours, mut theirs) = (files(&packages.ours), files(&packages.theirs));
    assert!(theirs.remove(IGNORED).is_some(), "helm does not pack {IGNORED} any more");
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());

    // helm sorts the keys and drops the comments.
    let metadata = |files: &mut BTreeMap<String, String>| -> Value {
        serde_saphyr::from_str(&files.remove("Chart.yaml").unwrap()).unwrap()
    };
    let (our_metadata, mut their_metadata) = (metadata(&mut ours), metadata(&mut theirs));
    let images = &mut their_metadata["annotations"]["artifacthub.io/images"];
    *images = images.as_str().unwrap().replace(&format!("ghcr.io/example/{NAME}"), IMAGE).into();
    assert_eq!(our_metadata, their_metadata);
    assert!(!our_metadata.to_string().contains("ghcr.io"), "{our_metadata}");
    // In a release, these name its image, and its registry.
    let install = format!("oci://images.example.org/charts/{NAME} --version {VERSION}");
    assert!(ours["README.md"].contains(&install) && !ours["README.md"].contains("manifests/chart"));
    for file in ["values.yaml", "README.md"] {
        let (ours, theirs) = (ours.remove(file).unwrap(), theirs.remove(file).unwrap());
        assert!(ours.contains(IMAGE) && !theirs.contains(IMAGE), "{file} does not name the image");
    }
    for (file, content) in ours {
        assert!(theirs[&file] == content, "{file} is not as helm packs it");
    }
}

#[test]
fn helm_renders_it_like_its_own_package() {
    let Packages { helm, ours, theirs, _directory } = Packages::of_both();
    let image = format!("--set=image.repository={IMAGE}");
    let rendered = |archive: &Path, more: &[&str]| {
        helm.succeeds(["template", NAME, text(archive), "--include-crds"].iter().chain(more).copied())
    };
    let objects = rendered(&ours, &[]);
    assert!(objects.contains(&format!(r#"image: "{IMAGE}:{VERSION}""#)), "{objects}");
    assert!(objects == rendered(&theirs, &[&image]), "the objects of both differ");
}

#[test]
fn helm_accepts_it() {
    let packages = Packages::of_both();
    let archive = text(&packages.ours);
    packages.helm.succeeds(["lint", "--strict", archive]);
    let shown: Value = serde_saphyr::from_str(&packages.helm.succeeds(["show", "chart", archive])).unwrap();
    assert_eq!([&shown["name"], &shown["version"]], [NAME, VERSION]);
}
