//! The contents of a report for programs, from any command.

use std::collections::HashMap;

use crm_core::catalog::{Action, RuleId};
use crm_manifest::STANDARD_INPUT;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::baseline::Compared;
use super::diagnostic::{Diagnostic, InputError, Suppressed, plain_path};

/// The contents of a report.
#[derive(Clone, Debug)]
pub struct Results<'r> {
    /// The command, such as `crm-admission check`.
    pub command: &'static str,
    /// The listed findings.
    pub findings: Vec<&'r Diagnostic>,
    /// The findings that comments suppress.
    pub suppressed: &'r [Suppressed],
    /// What a baseline makes of the findings, if one is used.
    pub baseline: Option<&'r Compared>,
    /// The inputs that cannot be read.
    pub errors: &'r [InputError],
    /// The findings that are not listed, by rule.
    pub unlisted: Vec<Unlisted>,
    /// The report in one sentence.
    pub summary: String,
    /// The least action that makes the command fail; `None` if none does.
    pub fails_on: Option<Action>,
}

impl Results<'_> {
    /// All findings in the order of the check, and whether each is known.
    pub(super) fn all(&self) -> Box<dyn Iterator<Item = (&Diagnostic, bool)> + '_> {
        let new = self.findings.iter().copied();
        match self.baseline {
            Some(compared) => Box::new(compared.all(new)),
            None => Box::new(new.map(|finding| (finding, false))),
        }
    }

    /// Whether a finding with this action makes the command fail.
    pub(super) fn fails(&self, action: Action) -> bool {
        self.fails_on.is_some_and(|least| action >= least)
    }
}

/// All characters but the unreserved ones of a path segment (RFC 3986) and the slash between segments. The colon is
/// encoded, too, because in the first segment of a relative reference it would end a scheme.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Findings of one rule that are not listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unlisted {
    /// The rule.
    pub rule: RuleId,
    /// Their number.
    pub count: u64,
    /// The strictest action among them.
    pub action: Action,
}

/// Makes names unique within a class.
#[derive(Debug, Default)]
pub struct UniqueNames(HashMap<(String, String), usize>);

impl UniqueNames {
    /// `name` for its first use in the class, `name (2)` for the second.
    pub fn unique(&mut self, class: &str, name: String) -> String {
        let times = self.0.entry((class.to_owned(), name.clone())).or_default();
        *times += 1;
        if *times == 1 { name } else { format!("{name} ({times})") }
    }
}

/// The identity of a finding. Does not change if lines move, so that an alert is not closed and opened again.
pub(super) fn fingerprint(finding: &Diagnostic, names: &mut UniqueNames) -> String {
    let file = finding.place.as_ref().map_or_else(|| "stored".to_owned(), |place| uri(&place.file));
    let place = format!("{file}#{}", finding.qualified_name());
    names.unique(finding.rule.as_str(), format!("{}#{place}", finding.rule_and_code()))
}

/// The file as a URI, relative if its path is.
pub(super) fn uri(file: &str) -> String {
    if file == STANDARD_INPUT {
        return "stdin".to_owned();
    }
    let path = utf8_percent_encode(plain_path(file), ENCODED);
    if file.starts_with('/') { format!("file://{path}") } else { path.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_names_of_a_class_are_numbered() {
        let mut names = UniqueNames::default();
        let called = [("x", "a"), ("x", "b"), ("x", "a"), ("y", "a"), ("x", "a")];
        let unique = called.map(|(class, name)| names.unique(class, name.to_owned()));
        assert_eq!(unique, ["a", "b", "a (2)", "a", "a (3)"]);
    }
}
