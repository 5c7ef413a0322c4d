//! `rules`: the catalogue as a table, or one rule or code explained.

use anyhow::bail;
use clap::{Args, ValueEnum};
use crm_core::catalog::{self, UnknownId};
use serde_json::Value;

use super::{Outcome, print};
use crate::invocation::invocation;

#[derive(Debug, Args)]
pub(super) struct Rules {
    /// The rule to explain, or what a message shows in brackets, such as domain/email; by default all rules
    /// are listed.
    id: Option<String>,
    /// Output format.
    #[arg(short = 'o', long, value_enum, default_value_t = Format::Text, env = "CRM_ADMISSION_FORMAT")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
    Markdown,
}

impl Rules {
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        let Some(id) = &self.id else {
            return print(&match self.format {
                Format::Text => catalog::table(),
                Format::Json => pretty(&catalog::rules().iter().map(|rule| rule.json(None)).collect()),
                Format::Markdown => catalog::page(),
            });
        };
        let shown = id.trim_start_matches('[').trim_end_matches(']');
        if shown.split('/').next() == Some(catalog::SUPPRESSION.id) {
            return print(&match self.format {
                Format::Text => catalog::SUPPRESSION.page_text(),
                Format::Json => pretty(&catalog::SUPPRESSION.json()),
                Format::Markdown => catalog::SUPPRESSION.section(),
            });
        }
        let (rule, code) = match catalog::find(shown) {
            Ok(found) => found,
            Err(error) => bail!("{error}{}{}", where_listed(&error), did_you_mean(&error)),
        };
        print(&match self.format {
            Format::Text => rule.page_text(code),
            Format::Json => pretty(&rule.json(code)),
            Format::Markdown => rule.section(code),
        })
    }
}

fn where_listed(error: &UnknownId) -> String {
    match error {
        UnknownId::Rule(_) => format!("; `{} rules` lists them", invocation()),
        UnknownId::Code { .. } => String::new(),
    }
}

fn did_you_mean(error: &UnknownId) -> String {
    error.meant().map(|known| format!("; did you mean {known:?}?")).unwrap_or_default()
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}
