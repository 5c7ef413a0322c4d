//! `rules`: the catalogue as a table, or one rule or code explained.

use anyhow::bail;
use clap::{Args, ValueEnum};
use crm_core::api::names::nearest;
use crm_core::catalog::{self, RuleId, UnknownId};
use serde_json::Value;

use super::{Outcome, print};
use crate::invocation::invocation;

/// The minimum similarity of a suggested id (Jaro-Winkler, 0 to 1).
const NEAR_MISS: f64 = 0.8;

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
        let (rule, code) = match catalog::find(id.trim_start_matches('[').trim_end_matches(']')) {
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
    let meant = match error {
        UnknownId::Rule(unknown) => nearest(RuleId::ALL.map(RuleId::as_str), &unknown.0, NEAR_MISS),
        UnknownId::Code { rule, code } => {
            nearest(rule.codes().into_iter().map(|known| known.id), code, NEAR_MISS)
        }
    };
    match meant {
        Some(known) => format!("; did you mean {known:?}?"),
        None => String::new(),
    }
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}
