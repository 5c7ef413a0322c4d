//! The chart as Helm packs it, and as an OCI artifact as `helm push` stores it.

use std::path::Path;

use anyhow::Context;
use serde_json::{Value, json};

use crate::archive::{self, File};
use crate::oci::{Layout, MANIFEST};
use crate::{NAME, Release};

/// What the chart says of its image in the repository, where no registry has it.
const UNPUBLISHED: &str = "This image is in no registry: build it, push it to yours, and set its name here.";
/// The same in a release.
const PUBLISHED: &str = "The image of this release.";
/// The line in `values.yaml` with the name of the image.
const REPOSITORY: &str = "\n  repository: crm-admission\n";
/// The row of the chart's README with that name.
const ROW: &str = "| `image.repository` | string | `\"crm-admission\"` |";
/// How the README installs the chart from a clone.
const FROM_CLONE: &str = ", and an image in a registry that your nodes can reach. From the root of the
repository:

```sh
helm install crm-admission manifests/chart/crm-admission \\
  --namespace crm-admission-system --create-namespace \\
  --set image.repository=registry.example.com/crm-admission
```
";
/// The annotation of `Chart.yaml` that names the image for Artifact Hub.
const IMAGES: &str = "artifacthub.io/images";

/// The `.tgz` of the chart in a directory, with the image of the release, and what `Chart.yaml` says.
///
/// # Errors
/// If the chart cannot be read, or is not of this version.
pub fn pack(directory: &Path, release: &Release) -> anyhow::Result<(Vec<u8>, Value)> {
    let mut files = archive::below(directory, NAME)?;
    let mut metadata = Value::Null;
    for file in &mut files {
        let text = String::from_utf8_lossy(&file.content);
        if file.path == format!("{NAME}/Chart.yaml") {
            let image = format!("{}:{}", release.image, release.version);
            let text = replaced(&text, &[(&listed_image(&text)?, &image)])?;
            metadata = serde_saphyr::from_str(&text).context("Chart.yaml")?;
            file.content = text.into_bytes();
        } else if file.path == format!("{NAME}/values.yaml") {
            let line = format!("\n  repository: {}\n", release.image);
            file.content = replaced(&text, &[(UNPUBLISHED, PUBLISHED), (REPOSITORY, &line)])?.into_bytes();
        } else if file.path == format!("{NAME}/README.md") {
            let row = ROW.replace(NAME, &release.image);
            let parts = [(UNPUBLISHED, PUBLISHED), (ROW, &row), (FROM_CLONE, &from_registry(release)?)];
            file.content = replaced(&text, &parts)?.into_bytes();
        }
    }
    let version = &metadata["version"];
    anyhow::ensure!(
        *version == release.version,
        "Chart.yaml has the version {version}, not {}",
        release.version
    );
    Ok((archive::gzip(&archive::tar(files, release.time)?)?, metadata))
}

/// The image that `Chart.yaml` lists.
fn listed_image(text: &str) -> anyhow::Result<String> {
    let metadata: Value = serde_saphyr::from_str(text).context("Chart.yaml")?;
    let listed = metadata["annotations"][IMAGES].as_str().unwrap_or_default();
    let images: Value = serde_saphyr::from_str(listed).context(IMAGES)?;
    images[0]["image"].as_str().map(str::to_owned).with_context(|| format!("Chart.yaml has no {IMAGES}"))
}

/// How the README installs the chart of a release, which is in the registry of its image.
fn from_registry(release: &Release) -> anyhow::Result<String> {
    let Release { image, version, .. } = release;
    let (registry, _) =
        image.rsplit_once('/').with_context(|| format!("the image {image} has no registry"))?;
    Ok(format!(
        ":\n\n```sh\nhelm install crm-admission oci://{registry}/charts/{NAME} --version {version} \\\n  \
         --namespace crm-admission-system --create-namespace\n```\n"
    ))
}

fn replaced(text: &str, parts: &[(&str, &str)]) -> anyhow::Result<String> {
    parts.iter().try_fold(text.to_owned(), |text, (old, new)| {
        anyhow::ensure!(text.contains(old), "the chart does not have the text {old:?}");
        Ok(text.replace(old, new))
    })
}

/// The chart as an OCI artifact, with its SBOM.
///
/// # Errors
/// If the time is not one.
pub fn artifact(
    package: Vec<u8>,
    metadata: &Value,
    sbom: &File,
    release: &Release,
) -> anyhow::Result<Layout> {
    let mut layout = Layout::default();
    let layer = layout.blob("application/vnd.cncf.helm.chart.content.v1.tar+gzip", package);
    let config = layout.json("application/vnd.cncf.helm.config.v1+json", metadata);
    let annotations = json!({
        "org.opencontainers.image.created": release.created()?,
        "org.opencontainers.image.description": metadata["description"],
        "org.opencontainers.image.title": NAME,
        "org.opencontainers.image.version": release.version,
    });
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer], "annotations": annotations,
    });
    let manifest = layout.json(MANIFEST, &manifest);
    let created = json!({"org.opencontainers.image.created": release.created()?});
    let sbom = layout.artifact(crate::sbom::MEDIA_TYPE, sbom, Some(&manifest), &created);
    layout.list(manifest, &[("org.opencontainers.image.ref.name", &release.version)]);
    layout.list(sbom, &[]);
    Ok(layout)
}
