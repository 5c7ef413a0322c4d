//! Writes images as OCI archives, each with a single static program, so that nodes need no registry.

use crm_release::archive::{self, File};
use crm_release::oci::Layout;
use crm_release::{Architecture, image, read, write};
use serde_json::json;
use std::path::Path;

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
    pub(crate) fn write(&self, archive: &Path) -> anyhow::Result<()> {
        let image = image::Image {
            architecture: Architecture::OWN,
            program: File::program(self.path, read(self.program)?),
            user: self.user,
            ports: &[],
            labels: json!({}),
            created: ("1970-01-01T00:00:00Z", 0),
            // Nodes would only decompress it again.
            compressed: false,
        };
        let mut layout = Layout::default();
        let descriptor = image.add(&mut layout)?;
        layout.list(descriptor, &[("io.containerd.image.name", self.name)]);
        write(archive, &archive::tar(layout.files(), 0)?)
    }
}
