//! Comments that suppress findings: `# crm-admission: ignore RULE[,RULE…]: why`.
//!
//! On the line of a value, or alone on the line before it, a comment holds for the findings there; before the first key
//! of a document, for the whole document. Everything is compared by bytes, so what looks like a comment in a string does
//! not count.

use std::ops::Range;

use crm_core::catalog::{self, NO_REASON, RuleId, UNKNOWN_RULE, UNUSED};
use crm_core::quote::quote;
use crm_manifest::{Document, Text};

/// What such a comment starts with, after its `#`.
const PREFIX: &str = "crm-admission:";
const IGNORE: &str = "ignore";

/// The suppressions of one file.
#[derive(Debug, Default)]
pub(super) struct Suppressions(Vec<Suppression>);

#[derive(Debug)]
struct Suppression {
    /// The byte of the comment.
    at: usize,
    /// The bytes in which it holds.
    scope: Range<usize>,
    rules: Vec<Named>,
    /// Empty if there is none.
    reason: String,
}

/// One `RULE` or `RULE/CODE` of a comment.
#[derive(Debug)]
struct Named {
    written: String,
    /// The rule and the code, or why there is no such rule.
    meaning: Result<(RuleId, Option<&'static str>), String>,
    is_used: bool,
}

/// The bytes of what a finding is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    /// The first byte of the key, if there is one.
    pub(super) key: Option<usize>,
    /// The value, or the place where it is missing.
    pub(super) value: Range<usize>,
}

/// A problem with a comment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// The byte of the comment.
    pub(super) at: usize,
    pub(super) code: &'static str,
    pub(super) message: String,
}

/// A comment that suppresses a `RULE` or `RULE/CODE`, up to its reason.
pub(super) fn comment(rule: &str) -> String {
    format!("# {PREFIX} {IGNORE} {rule}: ")
}

impl Suppressions {
    /// The suppressions in the comments of a file. `loose` are those outside of documents that can be read.
    pub(super) fn new<'d>(
        text: &Text,
        documents: impl Iterator<Item = &'d Document>,
        loose: &[Range<usize>],
    ) -> Self {
        let mut suppressions = Vec::new();
        for document in documents {
            let tree = &document.tree;
            let whole = tree.node(tree.root).range.clone();
            for comment in &document.comments {
                let scope = if comment.start < whole.start {
                    whole.start..whole.end + 1
                } else {
                    lines(text, comment, &document.comments)
                };
                suppressions.extend(Suppression::read(text, comment, scope));
            }
        }
        suppressions.extend(loose.iter().filter_map(|comment| Suppression::read(text, comment, 0..0)));
        Self(suppressions)
    }

    /// The reason for which a finding is suppressed; empty if the comment gives none.
    pub(super) fn suppress(&mut self, rule: RuleId, code: Option<&str>, spot: &Spot) -> Option<String> {
        let mut reason = None;
        for suppression in self.0.iter_mut().filter(|suppression| suppression.holds_at(spot)) {
            for named in suppression.rules.iter_mut().filter(|named| named.is(rule, code)) {
                named.is_used = true;
                reason.get_or_insert_with(|| suppression.reason.clone());
            }
        }
        reason
    }

    /// Counts the suppressions there as used: what is there was not judged, so they may be needed.
    pub(super) fn excuse(&mut self, spot: &Spot) {
        for suppression in self.0.iter_mut().filter(|suppression| suppression.holds_at(spot)) {
            suppression.rules.iter_mut().for_each(|named| named.is_used = true);
        }
    }

    /// Whether a finding would be suppressed.
    pub(super) fn cover(&self, rule: RuleId, code: Option<&str>, spot: &Spot) -> bool {
        let mut here = self.0.iter().filter(|suppression| suppression.holds_at(spot));
        here.any(|suppression| suppression.rules.iter().any(|named| named.is(rule, code)))
    }

    /// The problems of the comments, when all findings of the file are known.
    pub(super) fn faults(&self) -> Vec<Fault> {
        self.0.iter().flat_map(Suppression::faults).collect()
    }
}

/// The line of a comment, or if it is alone there, the next line that is not a comment.
fn lines(text: &Text, comment: &Range<usize>, comments: &[Range<usize>]) -> Range<usize> {
    let line_of = |byte: usize| text.line_start(byte)..text.line_end(byte);
    let is_alone = |comment: &Range<usize>| {
        let before = text.as_str().get(line_of(comment.start).start..comment.start);
        before.is_some_and(|before| before.trim().is_empty())
    };
    let mut line = line_of(comment.start);
    if !is_alone(comment) {
        return line;
    }
    let holds_a_comment = |line: &Range<usize>| {
        comments.iter().any(|comment| line.contains(&comment.start) && is_alone(comment))
    };
    while holds_a_comment(&line) && line.end < text.as_str().len() {
        line = line_of(line.end);
    }
    line
}

impl Suppression {
    /// `None` if the comment is about something else.
    fn read(text: &Text, comment: &Range<usize>, scope: Range<usize>) -> Option<Self> {
        let written = text.as_str().get(comment.clone())?.trim_start_matches('#').trim();
        let directive = written.strip_prefix(PREFIX)?.trim_start().strip_prefix(IGNORE)?;
        if directive.starts_with(|c: char| c.is_alphanumeric() || c == '-') {
            return None;
        }
        let (rules, reason) = directive.split_once(':').unwrap_or((directive, ""));
        let rules = rules.split(',').map(|rule| Named::read(rule.trim())).collect();
        Some(Self { at: comment.start, scope, rules, reason: reason.trim().to_owned() })
    }

    fn holds_at(&self, spot: &Spot) -> bool {
        let touches = |range: &Range<usize>| range.start < self.scope.end && self.scope.start < range.end;
        spot.key.is_some_and(|key| self.scope.contains(&key)) || touches(&spot.value)
    }

    fn faults(&self) -> Vec<Fault> {
        let fault = |code, message| Fault { at: self.at, code, message };
        let mut faults = Vec::new();
        if self.reason.is_empty() {
            let rules: Vec<&str> = self.rules.iter().map(|named| named.written.as_str()).collect();
            let message =
                format!("give the reason: # {PREFIX} {IGNORE} {}: why this is accepted", rules.join(","));
            faults.push(fault(NO_REASON, message));
        }
        for named in &self.rules {
            match &named.meaning {
                Err(why) => faults.push(fault(UNKNOWN_RULE, why.clone())),
                Ok(_) if named.is_used => {}
                Ok(_) => {
                    let message = format!(
                        "no finding of {} is here; remove it from the comment, or move the comment to the line of \
                         the value or alone to the line before it",
                        named.written
                    );
                    faults.push(fault(UNUSED, message));
                }
            }
        }
        faults
    }
}

impl Named {
    fn read(written: &str) -> Self {
        let meaning = match catalog::find(written) {
            Ok((rule, code)) => Ok((rule.id, code.map(|code| code.id))),
            Err(_) if written.is_empty() => Err("name the rule after ignore, such as domain".to_owned()),
            Err(unknown) => Err(match unknown.meant() {
                Some(meant) => format!("{unknown}; did you mean {}?", quote(meant)),
                None => unknown.to_string(),
            }),
        };
        Self { written: written.to_owned(), meaning, is_used: false }
    }

    fn is(&self, rule: RuleId, code: Option<&str>) -> bool {
        match self.meaning {
            Ok((named, None)) => named == rule,
            Ok((named, only)) => named == rule && only == code,
            Err(_) => false,
        }
    }
}
