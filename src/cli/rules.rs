//! `rules`: the catalogue as a table, or one rule explained.

use anyhow::bail;
use clap::{Args, ValueEnum};
use crm_core::api::names::nearest;
use crm_core::catalog::{self, Rule, RuleId};
use serde_json::Value;

use super::{Outcome, print};

/// The minimum similarity of a suggested id (Jaro-Winkler, 0 to 1).
const NEAR_MISS: f64 = 0.8;

#[derive(Debug, Args)]
pub(super) struct Rules {
    /// The rule to explain; by default all rules are listed.
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
                Format::Json => pretty(&catalog::rules().iter().map(Rule::json).collect()),
                Format::Markdown => catalog::page(),
            });
        };
        let rule = match id.parse::<RuleId>() {
            Ok(id) => id.rule(),
            Err(error) => bail!("{error}{}", did_you_mean(id)),
        };
        print(&match self.format {
            Format::Text => rule.page_text(),
            Format::Json => pretty(&rule.json()),
            Format::Markdown => rule.section(),
        })
    }
}

fn did_you_mean(id: &str) -> String {
    match nearest(RuleId::ALL.map(RuleId::as_str), id, NEAR_MISS) {
        Some(known) => format!("; did you mean {known:?}?"),
        None => String::new(),
    }
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}
