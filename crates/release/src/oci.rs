//! Writes OCI image layouts: a directory, or a tar archive, with blobs that are named by their digests.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::archive::File;
use crate::{sha256, write};

/// The media type of an image, or of another artifact.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of a list of images for several platforms.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The media type of a config that says nothing.
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// The blobs of a layout, and what its index lists.
#[derive(Debug, Default)]
pub struct Layout {
    blobs: BTreeMap<String, Vec<u8>>,
    listed: Vec<Value>,
}

impl Layout {
    /// Adds a blob, and returns its descriptor.
    pub fn blob(&mut self, media_type: &str, content: Vec<u8>) -> Value {
        let digest = sha256(&content);
        let descriptor =
            json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": content.len()});
        self.blobs.insert(digest, content);
        descriptor
    }

    /// Adds a blob of JSON, and returns its descriptor.
    pub fn json(&mut self, media_type: &str, content: &Value) -> Value {
        self.blob(media_type, content.to_string().into_bytes())
    }

    /// Adds an artifact that is no image: a single file, with what it is about if it belongs to something.
    pub fn artifact(
        &mut self,
        kind: &str,
        file: &File,
        subject: Option<&Value>,
        annotations: &Value,
    ) -> Value {
        let mut layer = self.blob(kind, file.content.clone());
        layer["annotations"] = json!({"org.opencontainers.image.title": file.path});
        let config = self.blob(EMPTY, b"{}".to_vec());
        let mut manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": kind, "config": config, "layers": [layer],
            "annotations": annotations,
        });
        if let Some(subject) = subject {
            manifest["subject"] = subject.clone();
        }
        let mut descriptor = self.json(MANIFEST, &manifest);
        descriptor["artifactType"] = json!(kind);
        descriptor
    }

    /// Lists a manifest in the index, with these annotations.
    pub fn list(&mut self, mut descriptor: Value, annotations: &[(&str, &str)]) {
        let map: Map<String, Value> =
            annotations.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        if !map.is_empty() {
            descriptor["annotations"] = Value::Object(map);
        }
        self.listed.push(descriptor);
    }

    /// The files of the layout.
    #[must_use]
    pub fn files(&self) -> Vec<File> {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": self.listed});
        let blobs = self
            .blobs
            .iter()
            .map(|(digest, content)| File::data(format!("blobs/sha256/{digest}"), content.clone()));
        let head = [
            File::data("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#),
            File::data("index.json", index.to_string()),
        ];
        head.into_iter().chain(blobs).collect()
    }

    /// Writes the layout into a directory, which must not exist or is replaced.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write(&self, directory: &Path) -> anyhow::Result<()> {
        if directory.exists() {
            std::fs::remove_dir_all(directory)?;
        }
        self.files().iter().try_for_each(|file| write(&directory.join(&file.path), &file.content))
    }
}
