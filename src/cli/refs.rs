//! `refs`: shows the references of a record and its dependents, or lists dangling references.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, ValueEnum};
use crm_core::api::{CrmKind, names};
use crm_core::policy::Policy;
use kube::Client;

use super::audit::{kind, left_out};
use super::cluster::ClusterArgs;
use super::progress::Progress;
use super::{Outcome, block_on, print};
use crate::audit::refs::{self, Format};
use crate::audit::{self, Existence, Suggestions};
use crate::cluster::Reader;
use crate::directory::Listed;
use crate::policy_source;

#[derive(Debug, Args)]
pub(super) struct Refs {
    /// The kind of the record: company, person, note, or one of Milo's, clusternote and note.notes.miloapis.com.
    #[arg(value_name = "KIND", value_parser = kind, required_unless_present = "dangling", requires = "name")]
    kind: Option<CrmKind>,
    /// The name of the record. A namespaced one is named with its namespace: NAMESPACE/NAME.
    #[arg(value_name = "NAME", value_parser = name)]
    name: Option<String>,
    /// List all references to objects that do not exist.
    #[arg(long, conflicts_with_all = ["kind", "name"])]
    dangling: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Policy file; by default the policy in force in the cluster, or the built-in policy if you may not read it.
    #[arg(long, env = "CRM_ADMISSION_POLICY", value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Output format.
    #[arg(short = 'o', long, value_enum, default_value_t = FormatArg::Table, env = "CRM_ADMISSION_FORMAT")]
    format: FormatArg,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FormatArg {
    Table,
    Json,
    /// A graph for Graphviz.
    Dot,
}

fn name(text: &str) -> Result<String, &'static str> {
    let is_name = match text.split_once('/') {
        Some((namespace, name)) => names::is_label(namespace) && names::is_subdomain(name),
        None => names::is_subdomain(text),
    };
    if is_name { Ok(text.to_owned()) } else { Err("not a name such as acme-corp") }
}

/// Records of some kinds have a namespace, and those of others have none.
fn check_namespace(kind: CrmKind, name: &str) -> anyhow::Result<()> {
    match (kind.is_namespaced(), name.contains('/')) {
        (true, false) => bail!("{} {name:?} is in a namespace: write NAMESPACE/{name}", kind.label()),
        (false, true) => bail!("{} is cluster-scoped: write the name without a namespace", kind.label()),
        _ => Ok(()),
    }
}

impl Refs {
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        block_on(self.cluster.ask(async |client| self.show(client).await))
    }

    /// The policy says which kinds references can have.
    async fn policy(&self, client: &Client) -> anyhow::Result<Policy> {
        if let Some(path) = &self.policy {
            return Ok(policy_source::read(path)?);
        }
        match policy_source::cluster::in_force(client.clone()).await {
            Err(error) if error.is_forbidden() => {
                let note =
                    "note: you may not read the policy of the cluster, so the built-in policy is used\n";
                io::stderr().write_all(note.as_bytes())?;
                Ok(Policy::default())
            }
            policy => Ok(policy?),
        }
    }

    async fn show(&self, client: Client) -> anyhow::Result<Outcome> {
        let policy = self.policy(&client).await?;
        let reader = Reader::new(client);
        let format = match self.format {
            FormatArg::Table => Format::Table,
            FormatArg::Json => Format::Json,
            FormatArg::Dot => Format::Dot,
        };
        let found = match (self.kind, &self.name) {
            (Some(kind), Some(name)) => {
                check_namespace(kind, name)?;
                let directory = Listed::new(reader.clone());
                let existence = Existence::new(&directory, Suggestions::None);
                let relations = refs::of_record(&reader, kind, name, &policy, &existence, &left_out).await?;
                print(&refs::relations(&relations, format))?;
                relations.fact.is_dangling() || relations.to.iter().any(|edge| edge.fact.is_dangling())
            }
            _ => {
                let names = Progress::new("names read", false);
                let policy = refs::with_all_references(&policy);
                let directory = audit::listed(&reader, [&policy], &CrmKind::ALL, &|| names.step()).await?;
                drop(names);
                let existence = Existence::new(&directory, Suggestions::None);
                let progress = Progress::new("records read", false);
                let dangling =
                    refs::all_dangling(&reader, &policy, &existence, &|| progress.step(), &left_out).await?;
                drop(progress);
                print(&refs::dangling(&dangling, format))?;
                !dangling.is_empty()
            }
        };
        Ok(if found { Outcome::Findings } else { Outcome::Fine })
    }
}
