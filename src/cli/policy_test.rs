//! `policy test`: runs tests of a policy, or writes a first one.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};
use crm_check::check::Bundle;
use crm_check::report::Colour;
use crm_core::characters::printable;
use crm_manifest::{Ignored, Walk};
use jiff::Timestamp;

use super::progress::Progress;
use super::{Outcome, block_on, joined, keep, output_file, print};
use crate::policy_tests::{self, Results, Tests, report};

#[derive(Debug, Args)]
pub(super) struct PolicyTest {
    /// Files, directories to search for *.yaml, *.yml and *.json, or `-` for standard input. [default: .]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The same as PATH, as in kubectl.
    #[arg(short = 'f', long = "filename", num_args = 1, value_name = "PATH")]
    files: Vec<PathBuf>,
    /// Format of the report.
    #[arg(short = 'o', long, value_enum, default_value_t, env = "CRM_ADMISSION_FORMAT")]
    format: Format,
    /// Print only failures and errors: no summary, notes and progress.
    #[arg(short, long, env = "CRM_ADMISSION_QUIET", value_parser = BoolishValueParser::new())]
    quiet: bool,
    /// Write the report to this file; by default or with `-` to standard output.
    #[arg(long, env = "CRM_ADMISSION_OUTPUT", value_name = "FILE")]
    output: Option<PathBuf>,
    /// Run nothing, but write a first test to standard output: that alice creates the records of this file, or of `-`, and
    /// what the webhook does under the built-in policy.
    #[arg(long, env = "CRM_ADMISSION_SCAFFOLD", value_name = "RECORD", conflicts_with_all = ["paths", "files"])]
    scaffold: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people: each failure with what was expected and what the webhook does.
    #[default]
    Text,
    /// For programs: schemas/policy-test-report.json describes it.
    Json,
    /// JUnit XML, for CI servers.
    Junit,
}

impl From<Format> for report::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Text => Self::Text,
            Format::Json => Self::Json,
            Format::Junit => Self::Junit,
        }
    }
}

impl PolicyTest {
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        if let Some(file) = &self.scaffold {
            return self.scaffold(file);
        }
        let given = joined(&self.paths, &self.files);
        let paths = if given.is_empty() { vec![PathBuf::from(".")] } else { given };
        keep("an input", paths.iter(), self.output.as_deref())?;
        let tests = self.read(&paths)?;
        let results = block_on(async { Ok(policy_tests::run(tests, Timestamp::now()).await) })?;
        self.write(&results)?;
        Ok(if !results.errors.is_empty() {
            Outcome::Incomplete
        } else if results.failed() > 0 {
            Outcome::Findings
        } else {
            Outcome::Fine
        })
    }

    /// Writes a first test. A test that somebody has written is not overwritten.
    fn scaffold(&self, file: &Path) -> anyhow::Result<Outcome> {
        let objects = Bundle::existing(&[file.to_owned()])?;
        let written = block_on(policy_tests::scaffold(&objects, Timestamp::now()));
        let written = written.with_context(|| file.display().to_string())?;
        let Some(path) = output_file(self.output.as_deref()) else { return print(&written) };
        let mut created = fs::File::create_new(path)
            .with_context(|| format!("{}: the test cannot be created there", path.display()))?;
        created
            .write_all(written.as_bytes())
            .with_context(|| format!("{}: cannot be written", path.display()))?;
        Ok(Outcome::Fine)
    }

    fn read(&self, paths: &[PathBuf]) -> anyhow::Result<Tests> {
        let progress = Progress::new("files read", self.quiet);
        let walk = Walk::new(Ignored::LeftOut, Path::new("."), &[])?;
        let tests = policy_tests::read(paths, &walk, &|| progress.step())?;
        drop(progress);
        for directory in tests.left_out.iter().filter(|_| !self.quiet) {
            let note = format!("note: git ignores all manifests in {}\n", printable(directory));
            io::stderr().write_all(note.as_bytes())?;
        }
        Ok(tests)
    }

    fn write(&self, results: &Results) -> anyhow::Result<()> {
        let render = |colour| match self.format {
            Format::Text if self.quiet => report::problems(results, colour),
            format => report::render(results, format.into(), colour),
        };
        match output_file(self.output.as_deref()) {
            Some(path) => fs::write(path, render(Colour::Plain))
                .with_context(|| format!("{}: cannot be written", path.display()))?,
            None => drop(print(&render(Colour::Ansi))?),
        }
        // People see errors in their report. Programs read the other reports, so people get the errors here.
        if self.format != Format::Text || output_file(self.output.as_deref()).is_some() {
            let lines: String = results.errors.iter().map(|error| format!("error: {error}\n")).collect();
            io::stderr().write_all(lines.as_bytes())?;
        }
        Ok(())
    }
}
