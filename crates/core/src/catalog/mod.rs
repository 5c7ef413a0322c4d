//! The only list of rules: ids, kinds, default actions and the words that explain each one.
//!
//! Messages, warnings, metrics, reports, the policy's schema and `docs/rules.md` all take them from here.
//!
//! *Architecture invariant:* the catalogue does not know how a rule is decided.

mod entries;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::api::CrmKind;

/// What happens to a request that breaks a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Action {
    /// The rule is not evaluated, and the change that it would make is not made.
    Disabled,
    /// Allowed; recorded in audit annotations and metrics.
    Audit,
    /// Allowed, with an admission warning.
    Warn,
    /// Refused.
    Deny,
}

impl Action {
    /// All actions, the strictest last.
    pub const ALL: [Self; 4] = [Self::Disabled, Self::Audit, Self::Warn, Self::Deny];

    /// The action as policies spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "Disabled",
            Self::Audit => "Audit",
            Self::Warn => "Warn",
            Self::Deny => "Deny",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One rule, with all that people are told about it.
#[derive(Debug)]
pub struct Rule {
    /// Its stable id.
    pub id: RuleId,
    /// The kinds that it looks at.
    pub kinds: &'static [CrmKind],
    /// What it does when no policy says otherwise.
    pub default_action: Action,
    /// What it demands, in one line.
    pub title: &'static str,
    /// Why, and in which cases it holds.
    pub explanation: &'static str,
    /// What a person does about a finding.
    pub fix: &'static str,
    /// A record that breaks it, and the same record mended.
    pub example: Example,
}

/// Manifests that show a rule at work.
#[derive(Debug)]
pub struct Example {
    /// What is stored before, for rules about updates.
    pub stored: Option<&'static str>,
    /// A manifest that breaks the rule.
    pub bad: &'static str,
    /// The manifest mended.
    pub good: &'static str,
}

macro_rules! rule_ids {
    ($($(#[$doc:meta])* $name:ident = $id:literal,)*) => {
        /// The stable name of a rule.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum RuleId {
            $($(#[$doc])* $name,)*
        }

        impl RuleId {
            /// All rules, in the order in which they are documented.
            pub const ALL: [Self; [$($id),*].len()] = [$(Self::$name),*];

            /// The id as messages and policies spell it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $id,)*
                }
            }
        }
    };
}

rule_ids! {
    /// Fields have the types that the rules need.
    Schema = "schema",
    /// A display name is there and fit to be shown.
    DisplayName = "display-name",
    /// The creator is there and well formed.
    CreatorRef = "creator-ref",
    /// The creator stays who it was.
    CreatorImmutable = "creator-immutable",
    /// The creator is whoever creates the record.
    CreatorIsRequester = "creator-is-requester",
    /// The creator exists.
    CreatorExists = "creator-exists",
    /// Domains are domain names.
    Domain = "domain",
    /// A LinkedIn profile is the address of one.
    LinkedinProfile = "linkedin-profile",
    /// Listed labels have allowed values.
    LabelValue = "label-value",
    /// The system Organization exists.
    OrganizationExists = "organization-exists",
    /// The company that a person works for exists.
    CompanyExists = "company-exists",
    /// The system User exists.
    UserExists = "user-exists",
    /// A note is about a kind that notes may be about.
    SubjectKind = "subject-kind",
    /// What a note is about exists.
    SubjectExists = "subject-exists",
    /// A note stays about what it was about.
    SubjectImmutable = "subject-immutable",
    /// A note says something, in bounds.
    NoteContent = "note-content",
    /// A next action lies ahead.
    NextActionTime = "next-action-time",
    /// Nothing refers to a record that is deleted.
    DeleteReferenced = "delete-referenced",
}

impl RuleId {
    /// The catalogue's entry.
    pub fn rule(self) -> &'static Rule {
        // `entries::RULES` is in the order of the enum; a test holds it so.
        &entries::RULES[self as usize]
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A rule id that the catalogue does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no rule has the id {0:?}; `crm-admission rules` lists them")]
pub struct UnknownRule(pub String);

impl FromStr for RuleId {
    type Err = UnknownRule;

    fn from_str(id: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|known| known.as_str() == id).ok_or_else(|| UnknownRule(id.to_owned()))
    }
}

/// All rules, in the order in which they are documented.
pub fn rules() -> &'static [Rule] {
    &entries::RULES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_stand_in_the_order_of_the_ids() {
        let listed: Vec<RuleId> = rules().iter().map(|rule| rule.id).collect();
        assert_eq!(listed, RuleId::ALL);
    }

    #[test]
    fn ids_are_read_back_and_unknown_ones_are_named() {
        for id in RuleId::ALL {
            assert_eq!(id.as_str().parse(), Ok(id));
            assert_eq!(id.rule().id, id);
        }
        let error = "domains".parse::<RuleId>().unwrap_err();
        assert!(error.to_string().contains("\"domains\""), "{error}");
    }

    #[test]
    fn the_schema_of_the_policy_lists_the_actions() {
        let mut actions = Action::ALL.map(Action::as_str);
        actions.reverse();
        assert_eq!(actions, crate::api::policy::ACTIONS);
    }

    #[test]
    fn every_entry_says_something_everywhere() {
        for rule in rules() {
            for text in [rule.title, rule.explanation, rule.fix, rule.example.bad, rule.example.good] {
                assert!(!text.trim().is_empty(), "{} has an empty text", rule.id);
            }
            assert!(!rule.kinds.is_empty(), "{} looks at nothing", rule.id);
        }
    }
}
