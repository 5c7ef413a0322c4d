//! What `check` and `lsp` judge records by: the flags, completed by the configuration file.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use clap::builder::BoolishValueParser;
use crm_check::check::{Applier, Judge};
use crm_core::api::Target;
use crm_core::existence::Fact;
use crm_core::policy::Policy;
use crm_core::quote::quote;
use crm_core::rules::authenticated;
use crm_manifest::{Ignored, Variables, Walk};
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::UserInfo;
use kube::Client;

use super::block_on;
use super::cluster::ClusterArgs;
use super::configuration::{ApplierArg, Located};
use super::progress::Progress;
use super::variables::{self, Assignment, Assignments};
use crate::cluster::Reader;
use crate::directory::Live;
use crate::policy_source;

/// The maximum number of lookups in the cluster at the same time.
const CONCURRENT_LOOKUPS: usize = 16;
/// The time limit of one lookup.
const LOOKUP_LIMIT: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, Args)]
pub(super) struct Judging {
    /// Leave out the files and directories that match this glob, which has the syntax of a line in .gitignore; may be
    /// given more than once. A file that is given as PATH is always read.
    #[arg(long, num_args = 1, env = "CRM_ADMISSION_EXCLUDE", value_delimiter = ',', value_name = "GLOB")]
    exclude: Vec<String>,
    /// Read also the files of directories that git ignores: those in .gitignore, .ignore and the global excludes.
    #[arg(long, env = "CRM_ADMISSION_NO_IGNORE", value_parser = BoolishValueParser::new())]
    no_ignore: bool,
    /// Files or directories with manifests of other objects. References are looked up in them, but they are neither
    /// checked nor fixed.
    #[arg(long, num_args = 1, env = "CRM_ADMISSION_RESOURCES", value_delimiter = ',', value_name = "PATH")]
    pub(super) resources: Vec<PathBuf>,
    /// Look up references in the cluster of --kubeconfig and --context, or of the current kubeconfig.
    #[arg(long, env = "CRM_ADMISSION_CLUSTER", value_parser = BoolishValueParser::new())]
    pub(super) cluster: bool,
    /// The files contain every object that exists: a reference to any other object has the action of its rule, and is not
    /// only a warning. --resources and --cluster have the same effect.
    #[arg(long, env = "CRM_ADMISSION_COMPLETE", value_parser = BoolishValueParser::new())]
    complete: bool,
    #[command(flatten)]
    asked: ClusterArgs,
    /// Policy file; by default the built-in policy.
    #[arg(long, env = "CRM_ADMISSION_POLICY", value_name = "FILE")]
    pub(super) policy: Option<PathBuf>,
    /// The user who will create the records. Without it, the rules that depend on the user are skipped.
    #[arg(long = "as", env = "CRM_ADMISSION_AS", value_name = "USER")]
    as_user: Option<String>,
    /// A group of that user; may be given more than once.
    #[arg(long, num_args = 1, env = "CRM_ADMISSION_AS_GROUP", value_delimiter = ',', value_name = "GROUP")]
    as_group: Vec<String>,
    /// The value of a variable such as ${NAME} in the files, as Flux substitutes it; may be given more than once. What
    /// depends on a variable without a value and a default is not checked. In the environment variable, commas separate
    /// several.
    #[arg(
        long,
        num_args = 1,
        env = "CRM_ADMISSION_VAR",
        hide_env_values = true,
        value_parser = variables::Parser,
        value_name = "NAME=VALUE"
    )]
    var: Vec<Assignments>,
    /// The tool that applies the files: warn about references that it would apply before their targets.
    #[arg(long, value_enum, env = "CRM_ADMISSION_APPLIER")]
    pub(super) applier: Option<ApplierArg>,
    /// Configuration file with values for flags; by default the nearest .crm-admission.yaml, in the current directory or
    /// above it up to the root of the git work tree. Flags and variables replace its values.
    #[arg(long, env = "CRM_ADMISSION_CONFIG", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Use no configuration file.
    #[arg(long, env = "CRM_ADMISSION_NO_CONFIG", value_parser = BoolishValueParser::new())]
    pub(super) no_config: bool,
    /// The variables of the configuration file.
    #[arg(skip)]
    configured: BTreeMap<String, String>,
    /// The directory to which the globs of --exclude are relative, if it is not the current one.
    #[arg(skip)]
    pub(super) excluded_from: Option<PathBuf>,
}

impl Judging {
    /// Whether every object is known without asking a cluster.
    pub(super) fn is_complete(&self) -> bool {
        self.complete || !self.resources.is_empty()
    }

    /// Whether every object is known, so that a reference to another one is wrong.
    pub(super) fn knows_all(&self) -> bool {
        self.cluster || self.is_complete()
    }

    /// Takes what neither a flag nor a variable gives from the configuration file.
    pub(super) fn add_configuration(&mut self, located: &Located) {
        let file = &located.configuration;
        if let (true, Some(exclude)) = (self.exclude.is_empty(), &file.exclude) {
            self.exclude.clone_from(exclude);
            self.excluded_from = Some(located.base().to_owned());
        }
        if self.resources.is_empty() {
            self.resources = located.paths(file.resources.as_ref());
        }
        if self.policy.is_none() {
            self.policy = file.policy.as_deref().map(|policy| located.path(policy));
        }
        // The groups of the file are those of its user, and not those of another one.
        let is_same_user = self.as_user.is_none() || file.as_user.is_none();
        if is_same_user && self.as_group.is_empty() {
            self.as_group = file.as_groups.clone().unwrap_or_default();
        }
        self.as_user = self.as_user.take().or_else(|| file.as_user.clone());
        self.applier = self.applier.or(file.applier);
        self.configured = file.variables.clone().unwrap_or_default();
    }

    /// The variables that are given by flags.
    pub(super) fn given(&self) -> Vec<&Assignment> {
        self.var.iter().flatten().collect()
    }

    /// The variables in the files.
    pub(super) fn variables(&self) -> Variables {
        variables::collect(&self.configured, &self.given())
    }

    pub(super) fn judge(&self) -> anyhow::Result<Judge> {
        if self.as_user.is_none() && !self.as_group.is_empty() {
            bail!("--as-group (asGroups in the configuration file) needs --as <USER>");
        }
        let policy = match &self.policy {
            Some(path) => policy_source::read(path)?,
            None => Policy::default(),
        };
        Ok(Judge::new(policy, self.requester(), Timestamp::now())?)
    }

    pub(super) fn walk(&self) -> anyhow::Result<Walk> {
        let ignored = if self.no_ignore { Ignored::Read } else { Ignored::LeftOut };
        Walk::new(ignored, self.excluded_from.as_deref().unwrap_or(Path::new(".")), &self.exclude)
            .context("--exclude")
    }

    /// Looks up these objects in the cluster.
    pub(super) fn look_up(
        &self,
        targets: HashSet<Target>,
        is_quiet: bool,
    ) -> anyhow::Result<HashMap<Target, Fact>> {
        block_on(self.asked.ask(async |client| look_up(client, targets, is_quiet).await))
    }

    fn requester(&self) -> Option<UserInfo> {
        let username = self.as_user.clone()?;
        let groups = Some(self.as_group.clone());
        Some(authenticated(UserInfo { username: Some(username), groups, ..UserInfo::default() }))
    }
}

/// Looks up these objects in a cluster.
async fn look_up(
    client: Client,
    targets: HashSet<Target>,
    is_quiet: bool,
) -> anyhow::Result<HashMap<Target, Fact>> {
    let live = Live::new(Reader::new(client));
    let progress = Progress::new("references looked up", is_quiet);
    let answers = futures::stream::iter(targets).map(|target| {
        let (live, progress) = (&live, &progress);
        async move {
            let answer = live.presence(&target, LOOKUP_LIMIT).await;
            progress.step();
            match answer {
                Ok(presence) => Ok((target, presence.into())),
                Err(error) => Err(anyhow::Error::new(error).context(lookup_failed(&target))),
            }
        }
    });
    // Stop at the first failure: the user asked for a result that includes the cluster.
    let mut answers = answers.buffer_unordered(CONCURRENT_LOOKUPS);
    let mut facts = HashMap::new();
    while let Some(answer) = answers.next().await {
        facts.extend([answer?]);
    }
    Ok(facts)
}

fn lookup_failed(target: &Target) -> String {
    format!("cannot look up {} {} in the cluster", target.kind, quote(&target.name))
}

impl From<ApplierArg> for Applier {
    fn from(applier: ApplierArg) -> Self {
        match applier {
            ApplierArg::Kubectl => Self::Kubectl,
            ApplierArg::Helm => Self::Helm,
            ApplierArg::Argocd => Self::ArgoCd,
            ApplierArg::Flux => Self::Flux,
        }
    }
}
