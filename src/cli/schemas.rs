//! `schemas`: writes the JSON Schemas of all kinds into a directory, for editors and other validators.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context, bail};
use crm_check::conformance::ManifestSchema;

use super::{Outcome, crds};
use crate::policy_tests::schema;

/// One file that the command writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// The path below the directory, such as `crm.milo.io/company_v1alpha1.json`.
    pub path: String,
    /// The schema, with a line break at its end.
    pub text: String,
}

/// All files.
///
/// # Errors
/// A definition is invalid. None of this program is known to be.
pub fn files() -> anyhow::Result<Vec<File>> {
    let schemas = crds::definitions().into_iter().map(|definition| {
        let ManifestSchema { path, schema } = ManifestSchema::of(&definition)?;
        Ok(File { path, text: crm_check::report::pretty(&schema) })
    });
    let of_tests = File { path: schema::path(), text: crm_check::report::pretty(&schema::schema()) };
    schemas.chain([Ok(of_tests)]).collect()
}

pub(super) fn write_to(directory: &Path) -> anyhow::Result<Outcome> {
    if directory.as_os_str() == crm_manifest::STANDARD_INPUT {
        bail!("schemas needs the name of a directory, not -");
    }
    for File { path, text } in files()? {
        let path = directory.join(path);
        write(&path, &text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(Outcome::Fine)
}

/// Writes a whole file or none, because an editor may read it at any time.
fn write(path: &Path, text: &str) -> io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    crm_manifest::put(path, text.as_bytes())
}
