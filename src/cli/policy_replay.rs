//! `policy replay`: decides the writes in audit logs under two policies, and reports the differences.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};
use crm_check::check::Bundle;
use crm_check::report::Colour;
use crm_core::policy::Policy;
use kube::Client;

use super::cluster::ClusterArgs;
use super::progress::Progress;
use super::{Outcome, block_on, joined, keep, output_file, print, warn_of_empty};
use crate::audit;
use crate::cluster::Reader;
use crate::policy_source;
use crate::replay::{self, Existing, Format, Heading, Listing, Policies, Tally, Unreadable, Values};

/// The names of the policies that are not files.
const BUILT_IN: &str = "builtin";
const CLUSTER: &str = "cluster";
/// The default number of examples of each rule.
const LISTED: &str = "20";

#[derive(Debug, Args)]
pub(super) struct Replay {
    /// Audit logs of the API server: JSON lines or an EventList, also compressed by gzip; `-` is standard input. Several
    /// are read in the order of time.
    #[arg(value_name = "AUDITLOG", required_unless_present = "files")]
    logs: Vec<PathBuf>,
    /// The same as AUDITLOG, as in kubectl.
    #[arg(short = 'f', long = "filename", num_args = 1, value_name = "AUDITLOG")]
    files: Vec<PathBuf>,
    /// The policy to try: a file, or `-` for standard input.
    #[arg(long, env = "CRM_ADMISSION_POLICY", value_name = "FILE")]
    policy: PathBuf,
    /// The policy to compare with: a file, `builtin` for the built-in policy, or `cluster` for the policy in force in the
    /// cluster of --kubeconfig and --context.
    #[arg(long, env = "CRM_ADMISSION_AGAINST", default_value = BUILT_IN, value_name = "FILE|builtin|cluster")]
    against: PathBuf,
    /// Files or directories with manifests of all objects that exist besides those in the log. References are looked up
    /// in them.
    #[arg(long, num_args = 1, env = "CRM_ADMISSION_RESOURCES", value_delimiter = ',', value_name = "PATH")]
    resources: Vec<PathBuf>,
    /// Look up references to objects that are not in the log in the cluster of --kubeconfig and --context, or of the
    /// current kubeconfig.
    #[arg(long, env = "CRM_ADMISSION_CLUSTER", value_parser = BoolishValueParser::new())]
    cluster: bool,
    #[command(flatten)]
    asked: ClusterArgs,
    /// Show values of fields, as in the messages of the webhook. By default, the report has only fields and rules, and
    /// the names of users and records.
    #[arg(long, env = "CRM_ADMISSION_SHOW_VALUES", value_parser = BoolishValueParser::new())]
    show_values: bool,
    /// Maximum number of examples, users and objects listed for each rule.
    #[arg(long, env = "CRM_ADMISSION_LIMIT", value_name = "NUMBER", default_value = LISTED)]
    limit: usize,
    /// Format of the report.
    #[arg(short = 'o', long, value_enum, default_value_t = FormatArg::Text, env = "CRM_ADMISSION_FORMAT")]
    format: FormatArg,
    /// Print only what differs: no summary and progress.
    #[arg(short, long, env = "CRM_ADMISSION_QUIET", value_parser = BoolishValueParser::new())]
    quiet: bool,
    /// Write the report to this file; by default or with `-` to standard output.
    #[arg(long, env = "CRM_ADMISSION_OUTPUT", value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FormatArg {
    Text,
    Json,
}

impl Replay {
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        let logs = joined(&self.logs, &self.files);
        self.check_inputs(&logs)?;
        let after = policy_source::read(&self.policy)?;
        let heading = |before: &Policy| Heading {
            policy: self.policy.display().to_string(),
            against: if self.is_against_a_file() {
                self.against.display().to_string()
            } else {
                before.origin.clone()
            },
            limit: self.limit,
        };
        let (tally, heading) = block_on(async {
            if self.asks_a_cluster() {
                self.asked
                    .ask(async |client| {
                        let before = self.before(Some(&client)).await?;
                        let heading = heading(&before);
                        Ok((self.replayed(&logs, Policies { before, after }, Some(client)).await?, heading))
                    })
                    .await
            } else {
                let before = self.before(None).await?;
                let heading = heading(&before);
                Ok((self.replayed(&logs, Policies { before, after }, None).await?, heading))
            }
        })?;
        self.report(&tally, &heading, logs.len())
    }

    /// Standard input can be read only once, and no input may be overwritten.
    fn check_inputs(&self, logs: &[PathBuf]) -> anyhow::Result<()> {
        let is_input = |path: &&PathBuf| path.as_os_str() == crm_manifest::STANDARD_INPUT;
        let policies = [&self.policy, &self.against];
        let inputs = logs.iter().chain(policies).chain(&self.resources);
        keep("an input", inputs, self.output.as_deref())?;
        if logs.iter().chain(policies).filter(is_input).count() > 1 {
            bail!(
                "only one of --policy, --against and AUDITLOG can be `-`, because standard input can be read only once"
            );
        }
        Ok(())
    }

    fn is_against_a_file(&self) -> bool {
        ![BUILT_IN, CLUSTER].map(Path::new).contains(&self.against.as_path())
    }

    fn asks_a_cluster(&self) -> bool {
        self.cluster || self.against.as_os_str() == CLUSTER
    }

    /// The policy to compare with.
    async fn before(&self, client: Option<&Client>) -> anyhow::Result<Policy> {
        if self.is_against_a_file() {
            return Ok(policy_source::read(&self.against)?);
        }
        match client.filter(|_| self.against.as_os_str() == CLUSTER) {
            Some(client) => {
                let in_force = policy_source::cluster::in_force(client.clone()).await;
                in_force.context("give a policy with --against FILE or --against builtin")
            }
            None => Ok(Policy::default()),
        }
    }

    async fn replayed(
        &self,
        logs: &[PathBuf],
        policies: Policies,
        client: Option<Client>,
    ) -> anyhow::Result<Tally> {
        let mut existing = Existing::in_log();
        if !self.resources.is_empty() {
            let resources = Bundle::of_existing(&self.resources)?;
            if !self.quiet {
                warn_of_empty(&resources, &self.resources)?;
            }
            existing = existing.with_resources(resources.existing_objects());
        }
        if let Some(client) = client.filter(|_| self.cluster) {
            let reader = Reader::new(client);
            let names = Progress::new("names read", self.quiet);
            let kinds = crm_core::api::CrmKind::ALL;
            let each = [&policies.before, &policies.after];
            let listed = audit::listed(&reader, each, &kinds, &|| names.step()).await?;
            existing = existing.with_cluster(Box::new(listed));
        }
        let progress = Progress::new("writes read", self.quiet);
        let values = if self.show_values { Values::Shown } else { Values::Hidden };
        let listing = Listing { limit: self.limit, values };
        Ok(replay::replay(logs, &policies, existing, listing, &|| progress.step()).await?)
    }

    fn report(&self, tally: &Tally, heading: &Heading, logs: usize) -> anyhow::Result<Outcome> {
        if tally.is_without_logs(logs) {
            bail!(broken(&tally.unreadable));
        }
        let format = match self.format {
            FormatArg::Text if self.quiet => Format::Findings,
            FormatArg::Text => Format::Text,
            FormatArg::Json => Format::Json,
        };
        if let Some(path) = output_file(self.output.as_deref()) {
            let text = replay::render(tally, heading, format, Colour::Plain);
            fs::write(path, text).with_context(|| format!("{}: cannot be written", path.display()))?;
        } else {
            print(&replay::render(tally, heading, format, Colour::Ansi))?;
        }
        outcome(tally)
    }
}

/// The logs that cannot be read, with the reasons.
fn broken(unreadable: &Unreadable) -> String {
    let each = unreadable.files.iter().map(|(file, why)| format!("{file}: {why}"));
    each.collect::<Vec<_>>().join("; ")
}

/// A green exit code means that all that was given would be allowed. Without a whole log, the work is not done.
fn outcome(tally: &Tally) -> anyhow::Result<Outcome> {
    if !tally.unreadable.files.is_empty() {
        bail!("the report is not complete: {}", broken(&tally.unreadable));
    }
    if tally.denies_more() {
        return Ok(Outcome::Findings);
    }
    if tally.decides_nothing() {
        bail!(
            "no write could be decided: the audit policy of the API server must log crm.milo.io at the level Request or \
             RequestResponse"
        );
    }
    if tally.unreadable.count > 0 {
        bail!("the log is not complete: events that could not be read: {}", tally.unreadable.count);
    }
    Ok(Outcome::Fine)
}
