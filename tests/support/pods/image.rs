//! Writes images as OCI archives, each with a single static program, so that nodes need no registry.

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io;
use std::path::Path;
use tar::{Builder, EntryType, Header};

/// An image with one program.
pub(crate) struct Image<'a> {
    /// With the tag.
    pub(crate) name: &'a str,
    pub(crate) program: &'a Path,
    /// The path of the program in the image, without the leading slash.
    pub(crate) path: &'a str,
    /// `UID:GID`.
    pub(crate) user: &'a str,
}

impl Image<'_> {
    /// Writes the archive.
    pub(crate) fn write(&self, archive: &Path) -> io::Result<()> {
        let layer = self.layer()?;
        let layer_digest = sha256(&layer);
        let config = self.config(&layer_digest).to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
        });
        let manifest = manifest.to_string().into_bytes();
        let mut builder = Builder::new(File::create(archive)?);
        append(&mut builder, "oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        append(&mut builder, "index.json", 0o644, self.index(&manifest).to_string().as_bytes())?;
        for blob in [&layer, &config, &manifest] {
            append(&mut builder, &format!("blobs/sha256/{}", sha256(blob)), 0o644, blob)?;
        }
        builder.into_inner()?.sync_data()
    }

    /// The file system: the program, and the directories above it.
    fn layer(&self) -> io::Result<Vec<u8>> {
        let mut builder = Builder::new(Vec::new());
        let above: Vec<&Path> = Path::new(self.path).ancestors().skip(1).collect();
        for directory in above.into_iter().rev().filter(|path| !path.as_os_str().is_empty()) {
            let mut header = header(0o755, 0);
            header.set_entry_type(EntryType::Directory);
            builder.append_data(&mut header, directory, io::empty())?;
        }
        append(&mut builder, self.path, 0o755, &fs::read(self.program)?)?;
        builder.into_inner()
    }

    fn config(&self, layer_digest: &str) -> Value {
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        json!({
            "architecture": architecture,
            "os": "linux",
            "config": {"Entrypoint": [format!("/{}", self.path)], "User": self.user},
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer_digest}")]},
        })
    }

    fn index(&self, manifest: &[u8]) -> Value {
        let mut described = descriptor("application/vnd.oci.image.manifest.v1+json", manifest);
        described["annotations"] = json!({"io.containerd.image.name": self.name});
        json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [described],
        })
    }
}

fn descriptor(media_type: &str, blob: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": format!("sha256:{}", sha256(blob)), "size": blob.len()})
}

fn sha256(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn append(builder: &mut Builder<impl io::Write>, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
    builder.append_data(&mut header(mode, content.len() as u64), path, content)
}

fn header(mode: u32, size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}
