//! The image: a single static program for each architecture, without a shell and without root.

use std::io;

use serde_json::{Value, json};

use crate::archive::{self, File};
use crate::oci::{INDEX, Layout, MANIFEST};
use crate::{Architecture, DESCRIPTION, LICENCE, NAME, Release, sha256};

/// The path of the program in the image.
pub const PATH: &str = "usr/local/bin/crm-admission";
/// The user and the group, which have no name and no home. Numbers, so that the kubelet can check `runAsNonRoot`.
pub const USER: &str = "65532:65532";

/// An image for one architecture.
#[derive(Debug)]
pub struct Image<'a> {
    /// The architecture.
    pub architecture: Architecture,
    /// The program.
    pub program: File,
    /// `UID:GID`.
    pub user: &'a str,
    /// The ports, such as `9443/tcp`.
    pub ports: &'a [&'a str],
    /// The labels, which are the annotations too.
    pub labels: Value,
    /// The time, as RFC 3339 has it and in seconds.
    pub created: (&'a str, u64),
    /// Whether the layer is compressed.
    pub compressed: bool,
}

impl Image<'_> {
    /// Adds the image to a layout, and returns its descriptor.
    ///
    /// # Errors
    /// If the path of the program is too long.
    pub fn add(&self, layout: &mut Layout) -> io::Result<Value> {
        let content = archive::tar(vec![self.program.clone()], self.created.1)?;
        let layer_digest = sha256(&content);
        let layer = match self.compressed {
            true => layout.blob("application/vnd.oci.image.layer.v1.tar+gzip", archive::gzip(&content)?),
            false => layout.blob("application/vnd.oci.image.layer.v1.tar", content),
        };
        let config = layout.json("application/vnd.oci.image.config.v1+json", &self.config(&layer_digest));
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer], "annotations": self.labels,
        });
        let mut descriptor = layout.json(MANIFEST, &manifest);
        descriptor["platform"] = json!({"architecture": self.architecture.name(), "os": "linux"});
        Ok(descriptor)
    }

    fn config(&self, layer_digest: &str) -> Value {
        let ports: serde_json::Map<String, Value> =
            self.ports.iter().map(|port| ((*port).to_owned(), json!({}))).collect();
        json!({
            "created": self.created.0,
            "architecture": self.architecture.name(),
            "os": "linux",
            "config": {
                "Entrypoint": [format!("/{}", self.program.path)],
                "ExposedPorts": ports,
                "Labels": self.labels,
                "User": self.user,
                "WorkingDir": "/",
            },
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer_digest}")]},
            "history": [{"created": self.created.0, "created_by": "crm-release"}],
        })
    }
}

/// The image of a release, for all its architectures.
#[derive(Debug)]
pub struct Multi {
    /// The layout, which has the SBOM too.
    pub layout: Layout,
    /// The digest of the image, such as `sha256:…`.
    pub digest: String,
    /// What `docker load` of older versions reads, which know neither layouts nor platforms.
    pub docker: File,
}

impl Multi {
    /// Makes the image from the programs. `sbom` makes the SBOM of an image with this digest.
    ///
    /// # Errors
    /// If something in it is not valid.
    pub fn new(
        release: &Release,
        programs: &[(Architecture, Vec<u8>)],
        sbom: impl Fn(&str) -> anyhow::Result<File>,
    ) -> anyhow::Result<Self> {
        let (created, labels) = (release.created()?, labels(release)?);
        let mut layout = Layout::default();
        let mut manifests = Vec::new();
        for (architecture, program) in programs {
            let image = Image {
                architecture: *architecture,
                program: File::program(PATH, program.clone()),
                user: USER,
                ports: &["9443/tcp", "8080/tcp"],
                labels: labels.clone(),
                created: (&created, release.time),
                compressed: true,
            };
            manifests.push(image.add(&mut layout)?);
        }
        let index =
            json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests, "annotations": labels});
        let index = layout.json(INDEX, &index);
        let digest = index["digest"].as_str().unwrap_or_default().to_owned();
        let docker = docker(release, &layout, &manifests)?;
        let annotations = json!({"org.opencontainers.image.created": created});
        let sbom = layout.artifact(crate::sbom::MEDIA_TYPE, &sbom(&digest)?, Some(&index), &annotations);
        let name = format!("{}:{}", release.image, release.version);
        let names = [
            ("io.containerd.image.name", name.as_str()),
            ("org.opencontainers.image.ref.name", &release.version),
        ];
        layout.list(index, &names);
        layout.list(sbom, &[]);
        Ok(Self { layout, digest, docker })
    }
}

fn labels(release: &Release) -> anyhow::Result<Value> {
    let mut labels = json!({
        "org.opencontainers.image.created": release.created()?,
        "org.opencontainers.image.description": DESCRIPTION,
        "org.opencontainers.image.licenses": LICENCE,
        "org.opencontainers.image.revision": release.revision,
        "org.opencontainers.image.title": NAME,
        "org.opencontainers.image.version": release.version,
    });
    if let Some(source) = &release.source {
        labels["org.opencontainers.image.source"] = json!(source);
    }
    Ok(labels)
}

/// `manifest.json`, in which each platform is an image with a tag of its own.
fn docker(release: &Release, layout: &Layout, manifests: &[Value]) -> anyhow::Result<File> {
    let files = layout.files();
    let blob = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().unwrap_or_default();
        format!("blobs/{}", digest.replace(':', "/"))
    };
    let image = |descriptor: &Value| -> anyhow::Result<Value> {
        let path = blob(descriptor);
        let file = files.iter().find(|file| file.path == path);
        let manifest: Value = serde_json::from_slice(file.map_or(&[], |file| file.content.as_slice()))?;
        let architecture = descriptor["platform"]["architecture"].as_str().unwrap_or_default();
        Ok(json!({
            "Config": blob(&manifest["config"]),
            "Layers": [blob(&manifest["layers"][0])],
            "RepoTags": [format!("{}:{}-{architecture}", release.image, release.version)],
        }))
    };
    let images: anyhow::Result<Vec<Value>> = manifests.iter().map(image).collect();
    Ok(File::data("manifest.json", Value::Array(images?).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn multi() -> Multi {
        let release = Release {
            version: "1.2.3".to_owned(),
            revision: "abc".to_owned(),
            time: 1,
            image: "registry.example.com/crm".to_owned(),
            downloads: String::new(),
            source: None,
        };
        let programs = Architecture::ALL.map(|one| (one, one.name().as_bytes().to_vec()));
        Multi::new(&release, &programs, |digest| Ok(File::data("sbom.json", digest))).unwrap()
    }

    /// The JSON of the blob that a descriptor names, if size and digest are those of the blob.
    fn blob(multi: &Multi, descriptor: &Value) -> Value {
        let digest = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        let path = format!("blobs/sha256/{digest}");
        let file = multi.layout.files().into_iter().find(|file| file.path == path).unwrap();
        assert_eq!(
            (file.content.len() as u64, sha256(&file.content).as_str()),
            (descriptor["size"].as_u64().unwrap(), digest)
        );
        serde_json::from_slice(&file.content).unwrap_or_default()
    }

    fn listed(multi: &Multi) -> Vec<Value> {
        let file = multi.layout.files().into_iter().find(|file| file.path == "index.json").unwrap();
        let index: Value = serde_json::from_slice(&file.content).unwrap();
        index["manifests"].as_array().unwrap().clone()
    }

    #[test]
    fn each_architecture_has_its_program_without_root() {
        let multi = multi();
        let index = blob(&multi, &listed(&multi)[0]);
        let manifests = index["manifests"].as_array().unwrap();
        let platforms: Vec<&Value> = manifests.iter().map(|one| &one["platform"]["architecture"]).collect();
        assert_eq!(platforms, ["amd64", "arm64"]);
        for descriptor in manifests {
            let manifest = blob(&multi, descriptor);
            let config = blob(&multi, &manifest["config"]);
            assert_eq!(config["architecture"], descriptor["platform"]["architecture"]);
            assert_eq!(config["config"]["User"], USER);
            assert_eq!(config["config"]["Entrypoint"], json!([format!("/{PATH}")]));
            assert_eq!(config["config"]["Labels"]["org.opencontainers.image.revision"], "abc");
            assert_eq!(manifest["layers"].as_array().unwrap().len(), 1);
            blob(&multi, &manifest["layers"][0]);
        }
        assert_ne!(blob(&multi, &manifests[0])["layers"], blob(&multi, &manifests[1])["layers"]);
    }

    #[test]
    fn the_sbom_refers_to_the_image() {
        let multi = multi();
        let [image, sbom] = listed(&multi).try_into().unwrap();
        assert_eq!(image["digest"], multi.digest);
        assert_eq!(image["annotations"]["io.containerd.image.name"], "registry.example.com/crm:1.2.3");
        let manifest = blob(&multi, &sbom);
        assert_eq!(manifest["subject"]["digest"], multi.digest);
        assert_eq!(manifest["artifactType"], crate::sbom::MEDIA_TYPE);
    }

    #[test]
    fn older_versions_of_docker_find_an_image_for_each_architecture() {
        let multi = multi();
        let files = multi.layout.files();
        let images: Vec<Value> = serde_json::from_slice(&multi.docker.content).unwrap();
        let tags: Vec<&Value> = images.iter().map(|image| &image["RepoTags"][0]).collect();
        assert_eq!(tags, ["registry.example.com/crm:1.2.3-amd64", "registry.example.com/crm:1.2.3-arm64"]);
        for path in images.iter().flat_map(|image| [&image["Config"], &image["Layers"][0]]) {
            assert!(files.iter().any(|file| *path == file.path), "{path}");
        }
    }
}
