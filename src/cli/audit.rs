//! `audit`: checks stored records as the webhook would, and fixes their values.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::builder::FalseyValueParser;
use clap::{Args, ValueEnum};
use crm_check::check::Bundle;
use crm_check::report::Colour;
use crm_core::api::CrmKind;
use crm_core::catalog::{Action, RuleId};
use crm_core::characters::printable;
use crm_core::policy::Policy;
use jiff::Timestamp;
use kube::Client;

use super::cluster::ClusterArgs;
use super::progress::Progress;
use super::{Outcome, block_on, joined, keep, output_file};
use crate::audit::files::Files;
use crate::audit::report::{Format, Report, Totals};
use crate::audit::{self, AuditError, Examiner, Existence, Fixing, ListError, Run, Scope, Suggestions};
use crate::cluster::Reader;
use crate::directory::LookUp;
use crate::policy_source::{self, cluster::InForceError};

/// The default number of listed findings of a rule: in a report for people, and in one for programs that is kept in
/// memory.
const LISTED: usize = 20;
const LISTED_FOR_PROGRAMS: usize = 1000;

#[derive(Debug, Args)]
pub(super) struct Audit {
    /// Files or directories to audit instead of the cluster, such as the output of `kubectl get -o yaml`. If they
    /// contain any object of a kind, they are assumed to contain all objects of that kind.
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The same as PATH, as in kubectl.
    #[arg(short = 'f', long = "filename", num_args = 1, value_name = "PATH")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    cluster: ClusterArgs,
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
    /// Write canonical values to the cluster, with your permissions. Never overwrites the changes of others. You can
    /// interrupt the command and run it again.
    #[arg(long, env = "CRM_ADMISSION_FIX", value_parser = FalseyValueParser::new(), conflicts_with_all = ["paths", "files"])]
    fix: bool,
    /// With --fix: print the changes, and write nothing. The report goes to standard error.
    #[arg(long, env = "CRM_ADMISSION_DRY_RUN", value_parser = FalseyValueParser::new(), requires = "fix")]
    dry_run: bool,
    /// Format of the report.
    #[arg(short = 'o', long, value_enum, default_value_t = FormatArg::Text, env = "CRM_ADMISSION_FORMAT")]
    format: FormatArg,
    /// Print only findings: no summary and progress.
    #[arg(short, long, env = "CRM_ADMISSION_QUIET", value_parser = FalseyValueParser::new())]
    quiet: bool,
    /// Print only the numbers, as one line of JSON.
    #[arg(long, env = "CRM_ADMISSION_SUMMARY", value_parser = FalseyValueParser::new())]
    summary: bool,
    /// Maximum number of findings listed for each rule; 20 by default, 1000 for junit and sarif. json lists all.
    #[arg(long, env = "CRM_ADMISSION_LIMIT", value_name = "NUMBER")]
    limit: Option<usize>,
    /// Write the report to this file; by default or with `-` to standard output.
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
    /// No findings: the exit code only shows whether the audit finished.
    Never,
}

/// Reads a kind as people type it, with or without its group, as in kubectl. Without a group, a kind of ours comes first.
pub(super) fn kind(text: &str) -> Result<CrmKind, String> {
    let text = text.to_ascii_lowercase();
    let (name, group) =
        text.split_once('.').map_or((text.as_str(), None), |(name, group)| (name, Some(group)));
    let named = |kind: &CrmKind| {
        (kind.as_str().to_ascii_lowercase() == name || kind.plural() == name)
            && group.is_none_or(|group| group == kind.group())
    };
    let unknown = || format!("not one of {}", CrmKind::ALL.map(CrmKind::label).join(", "));
    CrmKind::ALL.into_iter().find(named).ok_or_else(unknown)
}

/// Says that a kind is left out.
pub(super) fn left_out(error: &ListError) {
    // Without standard error, there is nobody to tell.
    let _ = writeln!(io::stderr(), "{}", error.note());
}

impl Audit {
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        let totals = block_on(async {
            let paths = joined(&self.paths, &self.files);
            keep("an input", paths.iter().chain(&self.policy), self.output.as_deref())?;
            if paths.is_empty() {
                self.cluster.ask(async |client| self.stored(client).await).await
            } else {
                self.files(&paths).await
            }
        })?;
        Ok(if totals.fails() { Outcome::Findings } else { Outcome::Fine })
    }

    async fn stored(&self, client: Client) -> anyhow::Result<Totals> {
        let (policy, in_force) = self.policies(Some(&client)).await?;
        let examiner = self.examiner(policy, in_force)?;
        let reader = Reader::new(client);
        let names = Progress::new("names read", self.quiet);
        let directory = audit::listed(&reader, examiner.policies(), &self.kinds(), &|| names.step()).await?;
        drop(names);
        self.audited(&examiner, &directory, async |run| run.cluster(&reader).await).await
    }

    async fn files(&self, paths: &[PathBuf]) -> anyhow::Result<Totals> {
        let objects = Bundle::existing(paths)?;
        let (policy, in_force) = self.policies(None).await?;
        let examiner = self.examiner(policy, in_force)?;
        let directory = Files::new(&objects);
        self.audited(&examiner, &directory, async |run| run.files(&objects).await).await
    }

    async fn audited(
        &self,
        examiner: &Examiner,
        directory: &dyn LookUp,
        run: impl AsyncFnOnce(Run<'_>) -> Result<Totals, AuditError>,
    ) -> anyhow::Result<Totals> {
        let progress = Progress::new("records audited", self.quiet);
        let policy = match self.policy_file() {
            Some(path) => path.display().to_string(),
            None => examiner.policy().origin.clone(),
        };
        let in_force = examiner.in_force().map(|policy| policy.origin.clone());
        let on_record = || progress.step();
        let mut changes = io::stdout();
        let run = run(Run {
            examiner,
            existence: Existence::new(directory, Suggestions::Given),
            kinds: self.kinds(),
            needs_all_kinds: !self.kinds.is_empty(),
            on_left_out: &left_out,
            is_in_force: self.policy_file().is_none(),
            fixing: self.fixing(),
            report: self.report()?,
            totals: Totals { policy, in_force, fails_on: self.fail_on.least(), ..Totals::default() },
            changes: &mut changes,
            on_record: &on_record,
        });
        Ok(run.await?)
    }

    fn policy_file(&self) -> Option<&Path> {
        self.policy.as_deref().filter(|path| !path.as_os_str().is_empty())
    }

    /// The policy for the audit, and the one in force if the first is from a file.
    async fn policies(&self, client: Option<&Client>) -> anyhow::Result<(Policy, Option<Policy>)> {
        let file = self.policy_file();
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

    fn fixing(&self) -> Fixing {
        match (self.fix, self.dry_run) {
            (false, _) => Fixing::Off,
            (true, true) => Fixing::Shown,
            (true, false) => Fixing::Written,
        }
    }

    fn report(&self) -> anyhow::Result<Report<Box<dyn Write>>> {
        let format = match self.format {
            _ if self.summary => Format::Summary,
            FormatArg::Text if self.quiet => Format::Findings,
            FormatArg::Text => Format::Text,
            FormatArg::Json => Format::Json,
            FormatArg::Junit => Format::Junit,
            FormatArg::Sarif => Format::Sarif,
        };
        let listed =
            if matches!(format, Format::Text | Format::Findings) { LISTED } else { LISTED_FOR_PROGRAMS };
        let (out, colour) = self.out()?;
        Ok(Report::new(out, format, colour, self.limit.unwrap_or(listed)))
    }

    /// The destination of the report. Files are not coloured; a stream removes the colours if it is not a terminal.
    fn out(&self) -> anyhow::Result<(Box<dyn Write>, Colour)> {
        if let Some(path) = output_file(self.output.as_deref()) {
            let file =
                File::create(path).with_context(|| format!("{}: cannot be written", path.display()))?;
            return Ok((Box::new(BufWriter::new(file)), Colour::Plain));
        }
        let out: Box<dyn Write> = match self.fixing() {
            Fixing::Shown => Box::new(BufWriter::new(anstream::stderr())),
            Fixing::Off | Fixing::Written => Box::new(BufWriter::new(anstream::stdout())),
        };
        Ok((out, Colour::Ansi))
    }
}

impl FailOn {
    /// The least action that makes the command fail.
    fn least(self) -> Option<Action> {
        match self {
            Self::Deny => Some(Action::Deny),
            Self::Warn => Some(Action::Warn),
            Self::Never => None,
        }
    }
}

/// The policy in force in the cluster. If it is unknown, a policy from a file is used without comparison.
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
