//! The types of the catalogue: a rule, its id, its default action and its example.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::api::CrmKind;

/// What happens to a request that breaks a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Action {
    /// The rule is not evaluated, and the change that it would make is not made.
    Disabled,
    /// The request is allowed. The finding is in the audit annotations and metrics.
    Audit,
    /// The request is allowed with an admission warning.
    Warn,
    /// The request is denied.
    Deny,
}

impl Action {
    /// All actions, the strictest last.
    pub const ALL: [Self; 4] = [Self::Disabled, Self::Audit, Self::Warn, Self::Deny];

    /// The action as it is written in policies.
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

/// One rule and the texts that explain it.
#[derive(Debug)]
pub struct Rule {
    /// Its stable id.
    pub id: RuleId,
    /// The kinds of records that it checks. A rule for Notes also checks Milo's notes.
    pub kinds: &'static [CrmKind],
    /// Its action in the built-in policy.
    pub default_action: Action,
    /// What it requires, in one line.
    pub title: &'static str,
    /// Why, and in which cases.
    pub explanation: &'static str,
    /// What the user should do about a finding.
    pub fix: &'static str,
    /// A record that breaks it, and the same record fixed.
    pub example: Example,
}

impl Rule {
    /// Whether it checks records of this kind.
    pub fn checks(&self, kind: CrmKind) -> bool {
        self.kinds.contains(&kind.model())
    }
}

/// Manifests that show what a rule denies and what it allows.
#[derive(Debug)]
pub struct Example {
    /// The stored record, for rules about updates.
    pub stored: Option<&'static str>,
    /// A manifest that breaks the rule.
    pub bad: &'static str,
    /// The fixed manifest.
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

            /// The id as it is written in messages and policies.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $id,)*
                }
            }
        }
    };
}

rule_ids! {
    /// Fields have the correct type.
    Schema = "schema",
    /// The display name is set and valid.
    DisplayName = "display-name",
    /// The creator is set and has a valid name.
    CreatorRef = "creator-ref",
    /// An update does not change the creator.
    CreatorImmutable = "creator-immutable",
    /// The creator is the user who creates the record.
    CreatorIsRequester = "creator-is-requester",
    /// The creator exists.
    CreatorExists = "creator-exists",
    /// Domains are full domain names without duplicates.
    Domain = "domain",
    /// A valid domain is probably the company's own.
    DomainHint = "domain-hint",
    /// The LinkedIn profile is the address of a profile page.
    LinkedinProfile = "linkedin-profile",
    /// Labels that the policy lists have an allowed value.
    LabelValue = "label-value",
    /// The system Organization exists.
    OrganizationExists = "organization-exists",
    /// The company that a person works for exists.
    CompanyExists = "company-exists",
    /// The contacts of a person exist.
    ContactExists = "contact-exists",
    /// The system User exists.
    UserExists = "user-exists",
    /// A note is about an object of an accepted kind.
    SubjectKind = "subject-kind",
    /// The subject of a note exists.
    SubjectExists = "subject-exists",
    /// An update does not change the subject of a note.
    SubjectImmutable = "subject-immutable",
    /// A note has content, and not too much.
    NoteContent = "note-content",
    /// The next action is not in the past.
    NextActionTime = "next-action-time",
    /// No record refers to a deleted record.
    DeleteReferenced = "delete-referenced",
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// An unknown rule id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no rule has the id {0:?}")]
pub struct UnknownRule(pub String);

impl FromStr for RuleId {
    type Err = UnknownRule;

    fn from_str(id: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|known| known.as_str() == id).ok_or_else(|| UnknownRule(id.to_owned()))
    }
}
