//! The reason codes of each rule, which messages show after the rule, and their texts.

use super::rule::{Rule, RuleId, UnknownRule};
use crate::api::names::{NEAR_MISS, nearest};
use crate::existence::UNRESOLVED;
use crate::normalize::{Code, Field, Hint, ProfileKind};

/// The code of a record that is in the checked files twice.
pub const DUPLICATE_OBJECT: &str = "duplicate-object";
/// The code of a merge key that overrides a key before it.
pub const MERGE_ORDER: &str = "merge-order";
/// The code of a reference that is sent before its target.
pub const ORDER: &str = "order";
/// The code of a suppression without a reason.
pub const NO_REASON: &str = "no-reason";
/// The code of a suppression of a rule that does not exist.
pub const UNKNOWN_RULE: &str = "unknown-rule";
/// The code of a suppression that suppresses nothing.
pub const UNUSED: &str = "unused";
/// The code of a value that is valid but not canonical.
pub const NOT_CANONICAL: &str = "not-canonical";

/// A reason code of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReasonCode {
    /// The code as messages show it after the rule.
    pub id: &'static str,
    /// The problem that it stands for.
    pub text: &'static str,
    /// What the user should do about it, if the fix of the rule does not fit.
    pub fix: Option<&'static str>,
}

impl ReasonCode {
    /// A code whose problem the fix of its rule solves.
    pub(super) const fn new(id: &'static str, text: &'static str) -> Self {
        Self { id, text, fix: None }
    }
}

/// An id or code that the catalogue does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownId {
    /// No rule has the id.
    #[error(transparent)]
    Rule(#[from] UnknownRule),
    /// The rule does not have the code.
    #[error("the rule {rule} has no code {code:?}")]
    Code {
        /// The rule.
        rule: RuleId,
        /// The unknown code.
        code: String,
    },
}

impl UnknownId {
    /// The id or code that was probably meant.
    pub fn meant(&self) -> Option<&'static str> {
        match self {
            Self::Rule(unknown) => nearest(RuleId::ALL.map(RuleId::as_str), &unknown.0, NEAR_MISS),
            Self::Code { rule, code } => {
                nearest(rule.codes().into_iter().map(|known| known.id), code, NEAR_MISS)
            }
        }
    }
}

/// The rule and the code that messages show in brackets, such as `domain/email`. A rule alone has no code.
///
/// # Errors
/// There is no such rule, or the rule has no such code.
pub fn find(shown: &str) -> Result<(&'static Rule, Option<ReasonCode>), UnknownId> {
    let (id, code) = shown.split_once('/').map_or((shown, None), |(id, code)| (id, Some(code)));
    let rule: RuleId = id.parse()?;
    let find = |code: &str| {
        let unknown = || UnknownId::Code { rule, code: code.to_owned() };
        rule.codes().into_iter().find(|known| known.id == code).ok_or_else(unknown)
    };
    Ok((rule.rule(), code.map(find).transpose()?))
}

impl RuleId {
    /// The reason codes that its findings can have.
    pub fn codes(self) -> Vec<ReasonCode> {
        let mut codes = match self {
            Self::Domain => values(Field::Domain),
            Self::LinkedinProfile => values(Field::LinkedinProfile(ProfileKind::Company)),
            Self::DomainHint => Hint::ALL.map(|hint| ReasonCode::new(hint.as_str(), hint.text())).to_vec(),
            _ => Vec::new(),
        };
        let others: &[ReasonCode] = match self {
            Self::DisplayName | Self::Domain | Self::LinkedinProfile => &[CANONICAL],
            Self::Schema => &FILES,
            Self::OrganizationExists
            | Self::CompanyExists
            | Self::ContactExists
            | Self::UserExists
            | Self::CreatorExists
            | Self::SubjectExists => &REFERENCES,
            _ => &[],
        };
        codes.extend(others);
        codes
    }
}

const CANONICAL: ReasonCode = ReasonCode::new(
    NOT_CANONICAL,
    "is valid, but not in the form in which it is stored, or a duplicate of an earlier entry; \
     the message shows what to write",
);

/// The codes of `check`, which reads files.
pub(super) const FILES: [ReasonCode; 2] = [
    ReasonCode {
        id: MERGE_ORDER,
        text: "a merge key (<<) overrides a key before it, which other tools read differently; put << first",
        fix: Some(
            "Put `<<` before the other keys of its map, so that every tool lets the key win. If the value behind `<<` is the right one, remove the key instead.",
        ),
    },
    ReasonCode {
        id: DUPLICATE_OBJECT,
        text: "an earlier document has the same kind, namespace and name; the message shows its place",
        fix: Some(
            "Remove one of the two documents, or give one of them another name. Which one the cluster would keep depends on the tool that applies them.",
        ),
    },
];

const REFERENCES: [ReasonCode; 2] = [
    ReasonCode::new(
        UNRESOLVED,
        "the object is not in the checked files, and no cluster or other file was asked whether it exists",
    ),
    ReasonCode {
        id: ORDER,
        text: "the tool that applies the files would send the reference before its target",
        fix: Some(
            "Let the tool send the target first, as the message says: put it earlier in the files, into an earlier wave, or into a Kustomization that this one depends on.",
        ),
    },
];

/// The codes of invalid values of a field.
fn values(field: Field) -> Vec<ReasonCode> {
    let of_field = Code::ALL.into_iter().filter(|code| code.applies_to(field));
    let text = |code: Code| match code {
        // A Company and a Person need different addresses.
        Code::WrongKind => code.text(),
        code => code.text_for(field),
    };
    of_field.map(|code| ReasonCode::new(code.as_str(), text(code))).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_rule_is_found_with_and_without_a_code() {
        let (rule, code) = find("domain/email").unwrap();
        assert_eq!((rule.id, code.unwrap().text), (RuleId::Domain, Code::Email.text()));
        let (rule, code) = find("linkedin-profile/wrong-kind").unwrap();
        assert_eq!((rule.id, code.unwrap().text), (RuleId::LinkedinProfile, Code::WrongKind.text()));
        let (rule, code) = find("company-exists").unwrap();
        assert_eq!((rule.id, code), (RuleId::CompanyExists, None));
    }

    #[test]
    fn an_unknown_rule_or_code_is_named() {
        let error = |shown| find(shown).unwrap_err().to_string();
        assert!(error("domains/email").starts_with("no rule has the id \"domains\""));
        assert_eq!(error("domain/wrong-kind"), "the rule domain has no code \"wrong-kind\"");
        assert_eq!(error("note-content/"), "the rule note-content has no code \"\"");
    }

    #[test]
    fn every_code_belongs_to_a_rule_once_and_has_a_text() {
        let mut found = BTreeSet::new();
        for id in RuleId::ALL {
            let codes = id.codes();
            let ids: BTreeSet<&str> = codes.iter().map(|code| code.id).collect();
            assert_eq!(ids.len(), codes.len(), "{id}");
            assert!(codes.iter().all(|code| !code.text.is_empty()), "{id}");
            found.extend(ids);
        }
        for code in Code::ALL {
            assert!(found.contains(code.as_str()), "{code}");
        }
    }
}
