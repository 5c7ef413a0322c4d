//! The file of `check --baseline`: reading and writing it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use crm_check::report::baseline::Baseline;

/// A baseline and its file.
#[derive(Debug)]
pub(super) struct BaselineFile {
    path: PathBuf,
    /// The text that was read; `None` if there is no file yet.
    before: Option<String>,
    /// What is in it.
    pub(super) baseline: Baseline,
}

impl BaselineFile {
    /// Reads a baseline. A file that does not exist or is empty is an error, unless it `is_written`.
    pub(super) fn read(path: &Path, is_written: bool) -> anyhow::Result<Self> {
        let name = path.display();
        if path.as_os_str() == crm_manifest::STANDARD_INPUT {
            bail!("--baseline needs the name of a file, not -");
        }
        let before = match crm_manifest::text(path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == ErrorKind::NotFound && path.is_symlink() => {
                bail!(
                    "{name}: the baseline is a link to a file that does not exist; correct or delete the link"
                )
            }
            Err(error) if error.kind() == ErrorKind::NotFound && is_written => None,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                bail!("{name}: the baseline does not exist; --write-baseline creates it")
            }
            Err(error) => return Err(anyhow!(error).context(format!("{name}: the baseline cannot be read"))),
        };
        let baseline = match before.as_deref() {
            None => Baseline::default(),
            Some(text) if is_written && text.trim().is_empty() => Baseline::default(),
            Some(text) => Baseline::parse(text).map_err(|error| anyhow!("{name}:{error}"))?,
        };
        Ok(Self { path: path.to_owned(), before, baseline })
    }

    /// Its name in reports.
    pub(super) fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// Replaces the baseline. A file that has changed since it was read stays as it is. Follows links.
    pub(super) fn write(&mut self, baseline: Baseline) -> anyhow::Result<()> {
        let text = baseline.text();
        let written = match &self.before {
            Some(before) if *before == text => Ok(()),
            Some(before) => fs::canonicalize(&self.path)
                .and_then(|path| crm_manifest::replace(&path, before.as_bytes(), text.as_bytes())),
            None => crm_manifest::create(&self.path, text.as_bytes()),
        };
        written.with_context(|| format!("{}: the baseline cannot be written", self.path.display()))?;
        self.baseline = baseline;
        Ok(())
    }
}
