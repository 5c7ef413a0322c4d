//! `check`: checks the records in files as the webhook would, and fixes their values.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use clap::builder::BoolishValueParser;
use crm_check::check::fix::file::{Diff, Rewritten};
use crm_check::check::fix::{Fixes, fix};
use crm_check::check::{Applier, Bundle, Declared, Existing, Judge, Known};
use crm_check::report::baseline::Baseline;
use crm_check::report::{self, Access, Colour, InputError, Report};
use crm_core::catalog::Action;
use crm_core::characters::printable;
use crm_manifest::Walk;

use super::baseline::BaselineFile;
use super::configuration::{self, FailOn, FormatArg, Located};
use super::judging::Judging;
use super::progress::Progress;
use super::variables;
use super::{Outcome, block_on, joined, keep, output_file, print, print_exactly, warn_of_empty};
use crate::kustomize::{self, Mode};

#[derive(Debug, Args)]
pub(super) struct Check {
    /// Files, directories to search for *.yaml, *.yml and *.json, or `-` for standard input. [default: .]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The same as PATH, as in kubectl.
    #[arg(short = 'f', long = "filename", num_args = 1, value_name = "PATH")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    judging: Judging,
    /// Write canonical values to the files. Nothing else in the files changes. Does not write files outside PATH through
    /// symbolic links.
    #[arg(long, env = "CRM_ADMISSION_FIX", value_parser = BoolishValueParser::new())]
    fix: bool,
    /// Print the changes that --fix would make as a unified diff, and write nothing.
    #[arg(long, env = "CRM_ADMISSION_DIFF", value_parser = BoolishValueParser::new())]
    diff: bool,
    /// What to do with a directory that has a kustomization.yaml: check what `kustomize build` or `kubectl kustomize`
    /// renders, or its resources as they stand. [default: auto]
    #[arg(long, value_enum, env = "CRM_ADMISSION_KUSTOMIZE", value_name = "MODE")]
    kustomize: Option<Mode>,
    /// Format of the report. [default: full if it is printed on a terminal, else text]
    #[arg(short = 'o', long, value_enum, env = "CRM_ADMISSION_FORMAT")]
    format: Option<FormatArg>,
    /// Print only findings: no summary, notes and progress.
    #[arg(short, long, env = "CRM_ADMISSION_QUIET", value_parser = BoolishValueParser::new())]
    quiet: bool,
    /// Write the report to this file; by default or with `-` to standard output, or to standard error with --diff or if
    /// --fix writes to standard output.
    #[arg(long, env = "CRM_ADMISSION_OUTPUT", value_name = "FILE")]
    output: Option<PathBuf>,
    /// Which findings make the command exit with 1. [default: deny]
    #[arg(long, value_enum, env = "CRM_ADMISSION_FAIL_ON", value_name = "ACTION")]
    fail_on: Option<FailOn>,
    /// File with known findings. They do not affect the exit code; the report gives their number, and json and sarif list
    /// them.
    #[arg(long, env = "CRM_ADMISSION_BASELINE", value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Write all present findings to the file of --baseline, and exit with 0.
    #[arg(long, env = "CRM_ADMISSION_WRITE_BASELINE", value_parser = BoolishValueParser::new())]
    write_baseline: bool,
}

impl FailOn {
    /// The least action that makes the command fail.
    fn least(self) -> Action {
        match self {
            Self::Deny => Action::Deny,
            Self::Warn => Action::Warn,
        }
    }
}

/// Whether all changes of --fix were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delivery {
    Complete,
    Partial,
}

impl Check {
    pub(super) fn run(mut self) -> anyhow::Result<Outcome> {
        let located = match self.judging.no_config {
            true => Located::default(),
            false => configuration::read(self.judging.config.as_deref())?,
        };
        self.add_configuration(&located);
        let paths = self.paths();
        let inputs = paths.iter().chain(&self.judging.resources);
        let inputs = inputs.chain(&self.judging.policy).chain(&located.file);
        keep("an input", inputs, self.output.as_deref())?;
        let mut baseline = self.baseline_file()?;
        let judge = self.judging.judge()?;
        let variables = self.judging.variables();
        let no_walk = Walk::default();
        let mut resources = Bundle::read(&self.judging.resources, &[], &no_walk, variables.clone(), &|| ())?;
        let declared = Declared::existing(&mut resources)?;
        if !self.quiet {
            warn_of_empty(&resources, &self.judging.resources)?;
        }
        let progress = Progress::new("files read", self.quiet);
        let walk = self.judging.walk()?;
        let mut bundle = Bundle::read(&paths, &self.not_checked(), &walk, variables, &|| progress.step())?;
        drop(progress);
        let not_built = self.build(&mut bundle)?;

        let fixes = self.fixes(&mut bundle, &judge);
        let mut known = Known { resources: declared, complete: self.judging.knows_all(), ..Known::default() };
        let mut report = self.report(&bundle, &judge, &mut known)?;
        // Before the report: if the report cannot be written, the changes are not lost.
        if self.deliver(&mut bundle, &fixes.rewritten)? == Delivery::Partial {
            // Files that could not be written are judged as they are.
            report = self.report(&bundle, &judge, &mut known)?;
        }
        if let Some(file) = &mut baseline {
            self.compare(&mut report, file)?;
        }
        self.write_report(&report)?;
        let unknown = report.not_judged.variables.iter().map(String::as_str);
        let used: BTreeSet<&str> = bundle.variables().collect();
        let misspelled = variables::misspelled(&self.judging.given(), used.iter().copied(), unknown);
        let notes = not_built.into_iter().chain(unfixed(&fixes)).chain(misspelled);
        self.note(&notes.map(|note| format!("note: {note}\n")).collect::<String>())?;
        Ok(self.outcome(&report))
    }

    /// Takes what neither a flag nor a variable gives from the configuration file.
    fn add_configuration(&mut self, located: &Located) {
        let file = &located.configuration;
        if self.paths.is_empty() && self.files.is_empty() {
            self.paths = located.paths(file.paths.as_ref());
        }
        self.judging.add_configuration(located);
        self.format = self.format.or(file.format);
        self.fail_on = self.fail_on.or(file.fail_on);
        self.kustomize = self.kustomize.or(file.kustomize);
        if self.baseline.is_none() {
            self.baseline = file.baseline.as_deref().map(|baseline| located.path(baseline));
        }
    }

    /// Builds the directories with a kustomization file, and returns notes about those that are not built.
    fn build(&self, bundle: &mut Bundle) -> anyhow::Result<Vec<String>> {
        let mode = self.kustomize.unwrap_or_default();
        block_on(async { Ok(kustomize::build(bundle, mode).await?) })
    }

    fn format(&self) -> FormatArg {
        let is_for_terminal = || match self.takes_standard_output() {
            _ if self.output_file().is_some() => false,
            true => io::stderr().is_terminal(),
            false => io::stdout().is_terminal(),
        };
        self.format.unwrap_or_else(|| if is_for_terminal() { FormatArg::Full } else { FormatArg::Text })
    }

    /// The baseline, if there is one.
    fn baseline_file(&self) -> anyhow::Result<Option<BaselineFile>> {
        if self.write_baseline && self.diff {
            bail!("--diff writes nothing, so use it without --write-baseline");
        }
        keep("the baseline", self.baseline.iter(), self.output.as_deref())?;
        match self.baseline.as_deref() {
            Some(path) => Ok(Some(BaselineFile::read(path, self.write_baseline)?)),
            None if self.write_baseline => {
                bail!("--write-baseline needs --baseline <FILE> (baseline in the configuration file)")
            }
            None => Ok(None),
        }
    }

    /// Writes the baseline if that is wanted, and leaves only the findings that are not in it. An incomplete check writes
    /// none, because the findings in what cannot be read would be missing.
    fn compare(&self, report: &mut Report, file: &mut BaselineFile) -> anyhow::Result<()> {
        if self.write_baseline && report.errors.is_empty() {
            file.write(Baseline::of(&report.findings))?;
            let number = file.baseline.len();
            let findings = if number == 1 { "finding" } else { "findings" };
            self.note(&format!("note: {number} {findings} written to {}\n", printable(&file.name())))?;
        } else if self.write_baseline {
            report.errors.push(InputError {
                file: file.name(),
                access: Access::Write,
                position: None,
                message: "the baseline is not written, because not all files could be checked".to_owned(),
                excerpt: None,
            });
        }
        report.compare(&file.name(), &file.baseline);
        Ok(())
    }

    /// The files that are not to be checked, even if they are in a directory to check.
    fn not_checked(&self) -> Vec<PathBuf> {
        self.judging.resources.iter().chain(&self.baseline).cloned().collect()
    }

    /// The least action that makes the command fail.
    fn fails_on(&self) -> Action {
        self.fail_on.unwrap_or(FailOn::Deny).least()
    }

    /// The changes of `--fix` or `--diff`. With `--diff` nothing is written, so the files are judged as they are.
    fn fixes(&self, bundle: &mut Bundle, judge: &Judge) -> Fixes {
        if !self.fix && !self.diff {
            return Fixes::default();
        }
        let fixes = fix(bundle, judge);
        if !self.diff {
            fixes.rewritten.iter().for_each(|file| bundle.accept(file));
        }
        fixes
    }

    fn paths(&self) -> Vec<PathBuf> {
        let given = joined(&self.paths, &self.files);
        if given.is_empty() { vec![PathBuf::from(".")] } else { given }
    }

    /// Prints notes on standard error, unless the command is to be quiet.
    fn note(&self, notes: &str) -> anyhow::Result<()> {
        if !self.quiet {
            io::stderr().write_all(notes.as_bytes())?;
        }
        Ok(())
    }

    fn report(&self, bundle: &Bundle, judge: &Judge, known: &mut Known) -> anyhow::Result<Report> {
        known.bundle = Existing::new(bundle);
        if self.judging.cluster {
            let targets = judge.targets(bundle).into_iter();
            let unknown = targets.filter(|target| !known.exists_already(target)).collect();
            known.asked.extend(self.judging.look_up(unknown, self.quiet)?);
        }
        let progress = Progress::new("records checked", self.quiet);
        Ok(judge.report(bundle, known, self.judging.applier.map(Applier::from), &|| progress.step()))
    }

    /// Writes the fixed files, or prints the changes. A file that cannot be written does not stop the others.
    fn deliver(&self, bundle: &mut Bundle, rewritten: &[Rewritten]) -> anyhow::Result<Delivery> {
        let mut delivery = Delivery::Complete;
        if self.diff {
            let current = std::env::current_dir().and_then(fs::canonicalize).unwrap_or_default();
            let diff = Diff::new(rewritten, &current);
            print_exactly(&diff.text)?;
            if diff.base != current {
                let base = printable(&diff.base.display().to_string());
                let note = format!("note: the paths in the diff are relative to {base}; apply it there\n");
                self.note(&note)?;
            }
        } else if self.fix {
            for file in rewritten {
                if let Err(error) = file.write() {
                    bundle.restore(file, &error);
                    delivery = Delivery::Partial;
                }
            }
            if let Some(text) = bundle.standard_input() {
                print_exactly(text)?;
            } else if self.reads_standard_input() {
                bundle.add_error(
                    "-",
                    Access::Write,
                    "nothing is written to standard output, because the input cannot be read",
                );
                delivery = Delivery::Partial;
            }
        }
        Ok(delivery)
    }

    fn reads_standard_input(&self) -> bool {
        self.paths().iter().any(|path| path.as_os_str() == "-")
    }

    /// Whether standard output is used for something other than the report.
    fn takes_standard_output(&self) -> bool {
        self.diff || (self.fix && self.reads_standard_input())
    }

    fn write_report(&self, report: &Report) -> anyhow::Result<()> {
        if let Some(path) = self.output_file() {
            let text = self.rendered(report, Colour::Plain);
            fs::write(path, text).with_context(|| format!("{}: cannot be written", path.display()))?;
        } else if self.takes_standard_output() {
            let mut stderr = anstream::stderr();
            stderr.write_all(self.rendered(report, Colour::Ansi).as_bytes())?;
            return Ok(());
        } else {
            print(&self.rendered(report, Colour::Ansi))?;
        }
        // People see errors in their report. Programs read the other reports, so people get the errors here.
        if !self.is_for_people() || self.output_file().is_some() {
            let lines: String = report.errors.iter().map(|error| format!("error: {error}\n")).collect();
            io::stderr().write_all(lines.as_bytes())?;
        }
        Ok(())
    }

    fn is_for_people(&self) -> bool {
        matches!(self.format(), FormatArg::Text | FormatArg::Full)
    }

    fn rendered(&self, report: &Report, colour: Colour) -> String {
        match self.format() {
            FormatArg::Text if self.quiet => return report::text::findings(report, colour),
            FormatArg::Full if self.quiet => return report::full::findings(report, colour),
            _ => {}
        }
        report::render(report, self.format().into(), self.fails_on(), colour)
    }

    fn output_file(&self) -> Option<&Path> {
        output_file(self.output.as_deref())
    }

    fn outcome(&self, report: &Report) -> Outcome {
        if !report.errors.is_empty() {
            Outcome::Incomplete
        } else if !self.write_baseline
            && report.findings.iter().any(|finding| finding.action >= self.fails_on())
        {
            Outcome::Findings
        } else {
            Outcome::Fine
        }
    }
}

/// What `--fix` leaves as it is, and why.
fn unfixed(fixes: &Fixes) -> impl Iterator<Item = String> {
    let outside = fixes.outside.iter().map(ToString::to_string);
    let rendered = match fixes.rendered {
        0 => None,
        1 => Some(
            "1 value comes from a patch, a generator or a transformer of kustomize; fix it there".to_owned(),
        ),
        many => Some(format!(
            "{many} values come from patches, generators or transformers of kustomize; fix them there"
        )),
    };
    outside.chain(rendered)
}

impl From<FormatArg> for report::Format {
    fn from(format: FormatArg) -> Self {
        match format {
            FormatArg::Text => Self::Text,
            FormatArg::Full => Self::Full,
            FormatArg::Json => Self::Json,
            FormatArg::Junit => Self::Junit,
            FormatArg::Sarif => Self::Sarif,
            FormatArg::Github => Self::Github,
            FormatArg::Gitlab => Self::Gitlab,
        }
    }
}
