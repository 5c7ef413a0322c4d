//! `audit`: checks stored records as the webhook would, and fixes their values.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::builder::FalseyValueParser;
use clap::{Args, ValueEnum};
use crm_core::api::CrmKind;
use crm_core::catalog::{Action, RuleId};
use crm_core::policy::Policy;
use crm_core::rules;
use futures::StreamExt;
use jiff::Timestamp;
use kube::Client;
use serde_json::Value;

use super::progress::Progress;
use super::{Outcome, connect};
use crate::audit::report::{Entry, Format, Report, Totals};
use crate::audit::{
    self, Examined, Examiner, Existence, Fixed, Fixer, NotFixed, Pages, Scope, Suggestions, files,
};
use crate::check;
use crate::check::report::{Colour, printable};
use crate::cluster::Reader;
use crate::directory::{Listed, LookUp};
use crate::policy_source::{self, cluster::InForceError};

/// How many records are held at a time.
const PAGE: u32 = 250;
/// How many records are written at a time.
const CONCURRENT_WRITES: usize = 8;
/// How many records that could not be fixed are named.
const NAMED: usize = 100;
/// How many findings of a rule a report for people lists, and one for programs that keeps them all to its end.
const LISTED: usize = 20;
const LISTED_FOR_PROGRAMS: usize = 1000;

#[derive(Debug, Args)]
pub(super) struct Audit {
    /// Files or directories to audit instead of the cluster, such as the output of `kubectl get -o yaml`. If they contain
    /// any object of a kind, they are taken to contain all objects of that kind.
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Audit only these kinds.
    #[arg(long = "kind", env = "CRM_ADMISSION_KIND", value_delimiter = ',', value_name = "KIND", value_parser = kind)]
    kinds: Vec<CrmKind>,
    /// Audit only these rules.
    #[arg(long = "rule", env = "CRM_ADMISSION_RULE", value_delimiter = ',', value_name = "ID")]
    rules: Vec<RuleId>,
    /// Policy file; by default the policy in force in the cluster, or the built-in policy when files are audited. The
    /// report also says what the policy in this file would newly deny.
    #[arg(long, env = "CRM_ADMISSION_POLICY", value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Fix values: write their canonical form back to the cluster, with your permissions. Changes that others make
    /// meanwhile are not overwritten. You can interrupt the command and run it again.
    #[arg(long, env = "CRM_ADMISSION_FIX", value_parser = FalseyValueParser::new(), conflicts_with = "paths")]
    fix: bool,
    /// With --fix: print the changes, and write nothing. The report goes to standard error.
    #[arg(long, env = "CRM_ADMISSION_DRY_RUN", value_parser = FalseyValueParser::new(), requires = "fix")]
    dry_run: bool,
    /// Format of the report.
    #[arg(long, value_enum, default_value_t = FormatArg::Text, env = "CRM_ADMISSION_FORMAT")]
    format: FormatArg,
    /// Print only the numbers, as one line of JSON.
    #[arg(long, env = "CRM_ADMISSION_SUMMARY", value_parser = FalseyValueParser::new())]
    summary: bool,
    /// Maximum number of findings listed for each rule; 20 by default, 1000 for junit and sarif. json lists all.
    #[arg(long, env = "CRM_ADMISSION_LIMIT", value_name = "NUMBER")]
    limit: Option<usize>,
    /// Write the report to this file instead of standard output.
    #[arg(long, env = "CRM_ADMISSION_OUTPUT", value_name = "FILE")]
    output: Option<PathBuf>,
    /// Which findings make the command exit with 1.
    #[arg(long, value_enum, default_value_t = FailOn::Deny, env = "CRM_ADMISSION_FAIL_ON", value_name = "ACTION")]
    fail_on: FailOn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FormatArg {
    #[value(alias = "table")]
    Text,
    Json,
    Junit,
    Sarif,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// Findings that the webhook would deny.
    Deny,
    /// Those, and warnings.
    Warn,
    /// None: the exit code only tells whether the audit finished.
    Never,
}

/// Reads a kind as people type it.
pub(super) fn kind(text: &str) -> Result<CrmKind, String> {
    let text = text.to_ascii_lowercase();
    let named = |kind: &CrmKind| kind.as_str().to_ascii_lowercase() == text || kind.plural() == text;
    let unknown = || format!("not one of {}", CrmKind::ALL.map(CrmKind::as_str).join(", "));
    CrmKind::ALL.into_iter().find(named).ok_or_else(unknown)
}

/// What is being put together.
struct Run {
    report: Report<Box<dyn Write>>,
    totals: Totals,
    progress: Progress,
}

impl Audit {
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        runtime
            .block_on(async { if self.paths.is_empty() { self.cluster().await } else { self.files().await } })
    }

    async fn cluster(&self) -> anyhow::Result<Outcome> {
        let client = connect().await?;
        let (policy, in_force) = self.policies(Some(&client)).await?;
        let examiner = self.examiner(policy, in_force)?;
        let reader = Reader::new(client);
        let directory = listed(&reader, examiner.policy(), examiner.in_force(), &self.kinds()).await?;
        let existence = Existence::new(&directory, Suggestions::Given);
        let fixer = Fixer::new(reader.clone(), &examiner);
        let mut run = self.begin(&examiner)?;
        for kind in self.kinds() {
            let mut pages = Pages::new(reader.clone(), kind, PAGE, examiner.labels());
            while let Some(objects) = pages.next().await? {
                let mut examined = examiner.examine(kind, &objects, &existence).await?;
                if self.fix && !self.dry_run {
                    let stored = fix(kind, objects, examined, &fixer, &mut run.totals).await?;
                    examined = examiner.examine(kind, &stored.changed, &existence).await?;
                    examined.extend(stored.left);
                    examined.sort_by(|one, other| one.name.cmp(&other.name));
                }
                self.take(&mut run, kind, &examined)?;
            }
        }
        self.end(run)
    }

    async fn files(&self) -> anyhow::Result<Outcome> {
        let objects = files::unfolded(&check::read_objects(&self.paths)?);
        let (policy, in_force) = self.policies(None).await?;
        let examiner = self.examiner(policy, in_force)?;
        let directory = files::Files::new(&objects);
        let existence = Existence::new(&directory, Suggestions::Given);
        let mut run = self.begin(&examiner)?;
        for kind in self.kinds() {
            let records = objects.iter().filter(|object| files::kind(object) == Some(kind));
            let records: Vec<Value> = records.cloned().collect();
            for page in records.chunks(PAGE as usize) {
                let examined = examiner.examine(kind, page, &existence).await?;
                self.take(&mut run, kind, &examined)?;
            }
        }
        self.end(run)
    }

    /// The policy to judge by, and where it is a file the one in force that it is compared with.
    async fn policies(&self, client: Option<&Client>) -> anyhow::Result<(Policy, Option<Policy>)> {
        let file = self.policy.as_deref().filter(|path| !path.as_os_str().is_empty());
        let given = file.map(policy_source::read).transpose()?;
        let in_force = match client {
            Some(client) => in_force(client, file).await?,
            None => Some(Policy::default()),
        };
        match (given, in_force) {
            (Some(given), in_force) => Ok((given, in_force)),
            (None, in_force) => Ok((in_force.unwrap_or_default(), None)),
        }
    }

    fn examiner(&self, policy: Policy, in_force: Option<Policy>) -> anyhow::Result<Examiner> {
        let rules: BTreeSet<RuleId> = self.rules.iter().copied().collect();
        let scope = if rules.is_empty() { Scope::All } else { Scope::Only(rules) };
        Ok(Examiner::new(policy, in_force, scope, Timestamp::now())?)
    }

    fn kinds(&self) -> Vec<CrmKind> {
        let wanted = |kind: &CrmKind| self.kinds.is_empty() || self.kinds.contains(kind);
        CrmKind::ALL.into_iter().filter(wanted).collect()
    }

    fn begin(&self, examiner: &Examiner) -> anyhow::Result<Run> {
        let format = match self.format {
            _ if self.summary => Format::Summary,
            FormatArg::Text => Format::Text,
            FormatArg::Json => Format::Json,
            FormatArg::Junit => Format::Junit,
            FormatArg::Sarif => Format::Sarif,
        };
        let listed = if format == Format::Text { LISTED } else { LISTED_FOR_PROGRAMS };
        let (out, colour) = self.out()?;
        let policy = match &self.policy {
            Some(path) if !path.as_os_str().is_empty() => path.display().to_string(),
            _ => examiner.policy().origin.clone(),
        };
        let in_force = examiner.in_force().map(|policy| policy.origin.clone());
        Ok(Run {
            report: Report::new(out, format, colour, self.limit.unwrap_or(listed)),
            totals: Totals { policy, in_force, ..Totals::default() },
            progress: Progress::new("records audited"),
        })
    }

    /// Where the report goes. Colours are only for those who can see them.
    fn out(&self) -> anyhow::Result<(Box<dyn Write>, Colour)> {
        if let Some(path) = &self.output {
            let file =
                File::create(path).with_context(|| format!("{}: cannot be written", path.display()))?;
            return Ok((Box::new(BufWriter::new(file)), Colour::Plain));
        }
        let out: Box<dyn Write> = match self.fix && self.dry_run {
            true => Box::new(BufWriter::new(anstream::stderr())),
            false => Box::new(BufWriter::new(anstream::stdout())),
        };
        Ok((out, Colour::Ansi))
    }

    fn take(&self, run: &mut Run, kind: CrmKind, examined: &[Examined]) -> anyhow::Result<()> {
        for examined in examined {
            run.totals.tally.add(kind, examined);
            run.progress.step();
            for finding in &examined.findings {
                told(run.report.add(Entry::new(kind, &examined.name, finding)))?;
            }
            if self.fix && self.dry_run {
                super::print_exactly(&audit::values(kind, &examined.name, &examined.changes))?;
            }
        }
        Ok(())
    }

    fn end(&self, run: Run) -> anyhow::Result<Outcome> {
        drop(run.progress);
        told(run.report.finish(&run.totals))?;
        let least = match self.fail_on {
            FailOn::Deny => Action::Deny,
            FailOn::Warn => Action::Warn,
            FailOn::Never => return Ok(Outcome::Fine),
        };
        let tally = &run.totals.tally;
        let found =
            Action::ALL.into_iter().filter(|action| *action >= least).any(|action| tally.count(action) > 0);
        Ok(if found || run.totals.all_not_fixed > 0 { Outcome::Findings } else { Outcome::Fine })
    }
}

/// The policy in force in the cluster. Where it cannot be known, a file that is given is judged by without comparison.
async fn in_force(client: &Client, file: Option<&Path>) -> anyhow::Result<Option<Policy>> {
    match (policy_source::cluster::in_force(client.clone()).await, file) {
        (Ok(policy), _) => Ok(Some(policy)),
        (Err(error), Some(_)) => {
            let text = format!(
                "warning: {}; the report does not compare the two policies\n",
                printable(&cause(&error))
            );
            io::stderr().write_all(text.as_bytes())?;
            Ok(None)
        }
        (Err(error), None) => Err(anyhow::Error::new(error).context("give a policy with --policy")),
    }
}

fn cause(error: &InForceError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// A reader that has seen enough and closed its end is no error.
fn told(written: io::Result<()>) -> anyhow::Result<()> {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(error).context("the report cannot be written"))
        }
        _ => Ok(()),
    }
}

/// The names of what records of these kinds refer to. What may not be listed is asked for object by object.
pub(super) async fn listed(
    reader: &Reader,
    policy: &Policy,
    in_force: Option<&Policy>,
    kinds: &[CrmKind],
) -> anyhow::Result<Listed> {
    let mut directory = Listed::new(reader.clone());
    let progress = Progress::new("names read");
    let mut done = BTreeSet::new();
    for policy in [Some(policy), in_force].into_iter().flatten() {
        for kind in rules::looked_up(policy, kinds) {
            if !done.insert(kind.to_string()) {
                continue;
            }
            match directory.list(&kind, &|| progress.step()).await {
                Ok(()) => {}
                // Nobody may list everything, and a cluster need not have every kind.
                Err(error) if matches!(error.code(), Some(401 | 403 | 404 | 405)) => {}
                Err(error) => {
                    return Err(anyhow::Error::new(error).context(format!("cannot list {kind}")));
                }
            }
        }
    }
    tracing::debug!(kinds = directory.status().len(), "names read");
    Ok(directory)
}

/// Records after an attempt to fix them.
struct AfterFixing {
    /// Those that are stored otherwise now, to be examined again.
    changed: Vec<Value>,
    /// Those that are as they were.
    left: Vec<Examined>,
}

/// Fixes the records of a page, some at a time.
async fn fix(
    kind: CrmKind,
    objects: Vec<Value>,
    examined: Vec<Examined>,
    fixer: &Fixer<'_>,
    totals: &mut Totals,
) -> anyhow::Result<AfterFixing> {
    let fixed = objects.into_iter().zip(examined).map(async |(object, examined)| {
        if examined.changes.is_empty() {
            return Ok((examined, None));
        }
        let fixed = fixer.fix(kind, object).await;
        let name = &examined.name;
        let fixed = fixed.with_context(|| format!("{}/{name} cannot be written", kind.as_str()))?;
        anyhow::Ok((examined, Some(fixed)))
    });
    let mut fixed = futures::stream::iter(fixed).buffered(CONCURRENT_WRITES);
    let mut after = AfterFixing { changed: Vec::new(), left: Vec::new() };
    while let Some(record) = fixed.next().await {
        match record? {
            (_, Some(Fixed::Stored { object, values })) => {
                totals.fixed += values;
                totals.records_fixed += u64::from(values > 0);
                after.changed.push(object);
            }
            (_, Some(Fixed::Gone)) => {}
            (examined, Some(Fixed::Not(not))) => {
                keep(not, totals);
                after.left.push(examined);
            }
            (examined, None) => after.left.push(examined),
        }
    }
    Ok(after)
}

fn keep(not: NotFixed, totals: &mut Totals) {
    totals.all_not_fixed += 1;
    if totals.not_fixed.len() < NAMED {
        totals.not_fixed.push(not);
    }
}
