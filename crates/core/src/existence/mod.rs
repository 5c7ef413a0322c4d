//! Whether the target of a reference exists: the answer of a directory, the resulting fact, and the text of a finding.
//!
//! *Architecture invariant:* pure; knows neither how a directory finds its answers nor what a policy does with a fact.

mod names;
mod nearest;
mod objects;

use crate::api::ResourceKind;
use crate::quote::quote;

pub use names::Names;
pub use objects::Objects;

/// The answer of a directory about an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It exists.
    Exists,
    /// It exists and is being deleted (`metadata.deletionTimestamp` is set).
    Terminating,
    /// It does not exist.
    Missing,
}

/// What the engine knows about the target of a reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// It exists.
    Exists,
    /// It exists and is being deleted.
    Terminating,
    /// It does not exist.
    Missing {
        /// An existing name that the user probably meant and that the requester may see.
        suggestion: Option<String>,
    },
    /// It is not a known object, and no API server could be asked.
    Unresolved {
        /// A known name that the user probably meant.
        suggestion: Option<String>,
    },
    /// The lookup failed.
    Unchecked,
}

/// The origin of the record with the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A request or a file.
    Written,
    /// The cluster.
    Stored,
}

/// The problem with a target, for a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetProblem {
    /// The reason code, if there is one.
    pub code: Option<&'static str>,
    /// The problem, and the name that the user probably meant.
    pub text: String,
    /// That name.
    pub suggestion: Option<String>,
}

/// The text about a lookup that failed.
pub const UNCHECKED: &str = "could not be checked, try again";

/// The code of a reference to an unknown object.
pub const UNRESOLVED: &str = "unresolved";

impl From<Presence> for Fact {
    /// A fact without a suggestion.
    fn from(presence: Presence) -> Self {
        match presence {
            Presence::Exists => Self::Exists,
            Presence::Terminating => Self::Terminating,
            Presence::Missing => Self::Missing { suggestion: None },
        }
    }
}

impl Fact {
    /// A word for tables: `exists`, `being deleted`, `missing` or `unknown`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Exists => "exists",
            Self::Terminating => "being deleted",
            Self::Missing { .. } => "missing",
            Self::Unresolved { .. } | Self::Unchecked => "unknown",
        }
    }

    /// Whether a reference to the target dangles, now or soon.
    pub const fn is_dangling(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::Terminating)
    }

    /// The name that the user probably meant.
    pub fn suggestion(&self) -> Option<&str> {
        match self {
            Self::Missing { suggestion } | Self::Unresolved { suggestion } => suggestion.as_deref(),
            Self::Exists | Self::Terminating | Self::Unchecked => None,
        }
    }

    /// The problem with a reference to a target of that kind; `None` if the target exists.
    pub fn problem(&self, kind: &ResourceKind, origin: Origin) -> Option<TargetProblem> {
        let text = match self {
            Self::Exists => return None,
            Self::Terminating => format!("the {} of that name is being deleted", kind.kind),
            Self::Missing { suggestion } => missing(kind, "", suggestion.as_deref()),
            Self::Unresolved { suggestion } => match origin {
                Origin::Stored => format!("could not check whether this {} exists", kind.kind),
                Origin::Written => missing(kind, " in these files", suggestion.as_deref()),
            },
            Self::Unchecked => UNCHECKED.to_owned(),
        };
        let code = matches!(self, Self::Unresolved { .. }).then_some(UNRESOLVED);
        Some(TargetProblem { code, text, suggestion: self.suggestion().map(str::to_owned) })
    }
}

fn missing(kind: &ResourceKind, place: &str, suggestion: Option<&str>) -> String {
    let mut text = format!("no {} of that name{place}", kind.kind);
    if let Some(name) = suggestion {
        text.push_str("; did you mean ");
        text.push_str(&quote(name));
        text.push('?');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(fact: &Fact, origin: Origin) -> Option<(Option<&'static str>, String)> {
        let problem = fact.problem(&ResourceKind::crm("Company", "companies"), origin)?;
        Some((problem.code, problem.text))
    }

    #[test]
    fn a_target_that_exists_is_no_problem() {
        assert_eq!(problem(&Presence::Exists.into(), Origin::Written), None);
    }

    #[test]
    fn the_text_about_a_target_that_is_missing_or_being_deleted_names_its_kind() {
        let text = |presence: Presence| problem(&presence.into(), Origin::Written).unwrap();
        assert_eq!(text(Presence::Missing), (None, "no Company of that name".to_owned()));
        assert_eq!(
            text(Presence::Terminating),
            (None, "the Company of that name is being deleted".to_owned())
        );
    }

    #[test]
    fn a_suggestion_is_quoted() {
        let fact = Fact::Missing { suggestion: Some("ac\"me".to_owned()) };
        let (_, text) = problem(&fact, Origin::Written).unwrap();
        assert_eq!(text, r#"no Company of that name; did you mean "ac\"me"?"#);
    }

    #[test]
    fn an_unresolved_target_has_a_code_and_a_suggestion_only_in_a_file() {
        let fact = Fact::Unresolved { suggestion: Some("acme".to_owned()) };
        let written = "no Company of that name in these files; did you mean \"acme\"?";
        assert_eq!(problem(&fact, Origin::Written), Some((Some(UNRESOLVED), written.to_owned())));
        let stored = "could not check whether this Company exists";
        assert_eq!(problem(&fact, Origin::Stored), Some((Some(UNRESOLVED), stored.to_owned())));
    }
}
