//! What a finding of a report can be about: a rule of policies, or a comment that suppresses findings.

use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};

use super::codes::{NO_REASON, ReasonCode, UNKNOWN_RULE, UNUSED};
use super::rule::{RuleId, UnknownRule};

/// What a finding of a report is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReportedRule {
    /// A rule, whose action the policy sets.
    Rule(RuleId),
    /// A comment in a file. The webhook does not see it, so no policy knows this rule.
    Suppression,
}

/// The entry of [`ReportedRule::Suppression`] in the catalogue.
#[derive(Debug)]
pub struct Suppression {
    /// Its stable id.
    pub id: &'static str,
    /// What it requires, in one line.
    pub title: &'static str,
    /// Why, and in which cases.
    pub explanation: &'static str,
    /// What the user should do about a finding.
    pub fix: &'static str,
    /// A line of a manifest with such a comment.
    pub example: &'static str,
    /// Its reason codes.
    pub codes: &'static [ReasonCode],
}

/// The entry for comments that suppress findings.
pub static SUPPRESSION: Suppression = Suppression {
    id: "suppression",
    title: "A comment that suppresses findings names rules that exist, gives a reason, and suppresses something",
    explanation: "In files, the comment `# crm-admission: ignore RULE[,RULE]: why` suppresses findings of `check`. It holds for the value on its line or, if it is alone on its line, on the next line; before the first key of a document, it holds for the whole document. RULE can be a rule with a code, such as domain/public-suffix. The webhook does not see comments: it denies what it would deny without them. Only `check` reports this rule, always as a warning; a policy cannot set it.",
    fix: "Give the reason after a colon, correct the id of the rule, or remove the comment.",
    example: "displayName: \" \"  # crm-admission: ignore display-name: the import fills it in\n",
    codes: &[
        ReasonCode::new(NO_REASON, "the comment gives no reason after a colon"),
        ReasonCode::new(UNKNOWN_RULE, "there is no such rule, or the rule has no such code"),
        ReasonCode::new(UNUSED, "the comment suppresses no finding of this rule"),
    ],
};

impl ReportedRule {
    /// The id as it is written in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rule(rule) => rule.as_str(),
            Self::Suppression => SUPPRESSION.id,
        }
    }

    /// What the user should do about a finding with this code.
    pub fn fix(self, code: Option<&str>) -> &'static str {
        match self {
            Self::Rule(rule) => {
                let known = rule.codes().into_iter().find(|known| Some(known.id) == code);
                known.and_then(|known| known.fix).unwrap_or(rule.rule().fix)
            }
            Self::Suppression => SUPPRESSION.fix,
        }
    }
}

impl fmt::Display for ReportedRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for ReportedRule {
    type Err = UnknownRule;

    fn from_str(id: &str) -> Result<Self, Self::Err> {
        if id == SUPPRESSION.id { Ok(Self::Suppression) } else { id.parse().map(Self::Rule) }
    }
}

impl From<RuleId> for ReportedRule {
    fn from(rule: RuleId) -> Self {
        Self::Rule(rule)
    }
}

impl Suppression {
    /// The whole entry as plain text.
    pub fn page_text(&self) -> String {
        let Self { id, title, explanation, fix, example, .. } = self;
        let codes = self.each_code(|code| format!("Code:    {}: {}\n", code.id, code.text));
        format!("{id}: {title}\n\n{codes}\n{explanation}\n\nFix: {fix}\n\nExample:\n\n    {example}")
    }

    /// The whole entry as a section in Markdown.
    pub fn section(&self) -> String {
        let codes = self.each_code(|code| format!("- `{}`: {}\n", code.id, code.text));
        format!("## {}\n\n{}.\n\n{codes}\n{}", self.id, self.title, self.help_markdown())
    }

    /// The explanation, the fix and the example as Markdown, without a heading.
    pub fn help_markdown(&self) -> String {
        let Self { explanation, fix, example, .. } = self;
        format!("{explanation}\n\n**Fix.** {fix}\n\nExample:\n\n```yaml\n{example}```\n")
    }

    /// The whole entry as JSON.
    pub fn json(&self) -> Value {
        let codes = self.codes.iter().map(|code| json!({"id": code.id, "text": code.text}));
        json!({
            "id": self.id, "title": self.title, "explanation": self.explanation, "fix": self.fix,
            "example": self.example, "codes": codes.collect::<Vec<_>>(),
        })
    }

    fn each_code(&self, line: impl Fn(&ReasonCode) -> String) -> String {
        self.codes.iter().map(line).collect()
    }
}
