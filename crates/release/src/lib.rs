//! Packs what a release consists of: archives, images, wheels, the chart and manifests.
//!
//! The same input gives the same bytes: files are sorted, have the time of the commit and no owner, and the compression
//! is that of `Cargo.lock`, not of the machine.

pub mod archive;
pub mod chart;
pub mod image;
pub mod install;
pub mod krew;
pub mod licences;
pub mod oci;
pub mod sbom;
pub mod wheel;

use std::path::Path;

use anyhow::Context;

/// The name of the program, of its image, chart and packages.
pub const NAME: &str = "crm-admission";
/// What the program is, in the descriptions of packages.
pub const DESCRIPTION: &str = "The admission webhook that guards CRM records in Kubernetes";
/// The licence of the program, as an SPDX expression.
pub const LICENCE: &str = env!("CARGO_PKG_LICENSE");

/// What all parts of a release have in common.
#[derive(Clone, Debug, clap::Args)]
pub struct Release {
    /// The version, such as 0.1.0.
    #[arg(long, default_value = env!("CARGO_PKG_VERSION"))]
    pub version: String,
    /// The commit.
    #[arg(long)]
    pub revision: String,
    /// The time of the commit, in seconds since 1970.
    #[arg(long)]
    pub time: u64,
    /// The name of the image without a tag, such as registry.example.com/crm-admission.
    #[arg(long, default_value = NAME)]
    pub image: String,
    /// The address of the directory that will have the files of this release.
    #[arg(long)]
    pub downloads: String,
    /// The address of the source, if it is public.
    #[arg(long)]
    pub source: Option<String>,
}

impl Release {
    /// The time of the commit as RFC 3339 has it.
    ///
    /// # Errors
    /// If the time is not one that a calendar has.
    pub fn created(&self) -> anyhow::Result<String> {
        let time = i64::try_from(self.time)
            .map_err(anyhow::Error::new)
            .and_then(|seconds| jiff::Timestamp::from_second(seconds).map_err(anyhow::Error::new));
        Ok(time.with_context(|| format!("not a time: {}", self.time))?.to_string())
    }
}

/// An architecture of Linux for which programs are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// x86-64.
    Amd64,
    /// AArch64.
    Arm64,
}

impl Architecture {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Amd64, Self::Arm64];

    /// The architecture of this program.
    pub const OWN: Self = if cfg!(target_arch = "aarch64") { Self::Arm64 } else { Self::Amd64 };

    /// Its name in Go, images and Kubernetes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// Its name in Python, Rust and `uname -m`.
    #[must_use]
    pub fn machine(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64",
            Self::Arm64 => "aarch64",
        }
    }
}

/// Reads a file, and names it in the error.
///
/// # Errors
/// If it cannot be read.
pub fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| path.display().to_string())
}

/// Writes a file and the directories above it, and names it in the error.
///
/// # Errors
/// If it cannot be written.
pub fn write(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let parent = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    parent.and_then(|()| std::fs::write(path, content)).with_context(|| path.display().to_string())
}

/// The SHA-256 of some bytes, in hexadecimal.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
