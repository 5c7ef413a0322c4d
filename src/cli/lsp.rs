//! `lsp`: the language server, on standard input and output.

use std::path::{Path, PathBuf};

use clap::Args;
use crm_check::check::Applier;

use super::judging::Judging;
use super::{Outcome, configuration, with_causes};
use crate::lsp::{self, Exit, Host, Setup};

#[derive(Debug, Args)]
pub(super) struct Lsp {
    #[command(flatten)]
    judging: Judging,
    /// Accepted because many editors add it. The server always uses standard input and output.
    #[arg(long, hide = true)]
    stdio: bool,
}

impl Lsp {
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        let Self { mut judging, .. } = self;
        // The folders of the editor are somewhere else.
        let paths = judging.resources.iter_mut().chain(&mut judging.policy).chain(&mut judging.config);
        for path in paths {
            *path = std::path::absolute(&path)?;
        }
        let asking = judging.clone();
        let look_up: Option<lsp::LookUp> = judging.cluster.then(|| -> lsp::LookUp {
            Box::new(move |targets| asking.look_up(targets, true).map_err(|error| with_causes(&error)))
        });
        let set_up: lsp::SetUp =
            Box::new(move |root| set_up(judging.clone(), root).map_err(|error| with_causes(&error)));
        Ok(match lsp::serve(Host { set_up, look_up }) {
            Exit::Clean => Outcome::Fine,
            Exit::Early => Outcome::Findings,
        })
    }
}

/// The flags for a folder, completed by its configuration file.
fn set_up(mut judging: Judging, root: &Path) -> anyhow::Result<Setup> {
    judging.excluded_from = Some(root.to_owned());
    let mut paths = Vec::new();
    let mut sources: Vec<PathBuf> = Vec::new();
    if !judging.no_config {
        let located = configuration::read_for(judging.config.as_deref(), root)?;
        judging.add_configuration(&located);
        paths = located.paths(located.configuration.paths.as_ref());
    }
    sources.extend(judging.config.clone());
    sources.extend(judging.policy.clone());
    Ok(Setup {
        judge: judging.judge()?,
        applier: judging.applier.map(Applier::from),
        walk: judging.walk()?,
        variables: judging.variables(),
        is_complete: judging.is_complete(),
        paths,
        resources: judging.resources,
        sources,
    })
}
