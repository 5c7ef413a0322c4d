//! Whether the target of a reference exists: the answer of a directory, the fact that follows, and what a finding says.
//!
//! *Architecture invariant:* pure; knows neither how a directory finds its answers nor what a policy makes of a fact.

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
    /// There is no such object.
    Missing,
}

/// What is known of the target of a reference when the engine runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// It exists.
    Exists,
    /// It exists and is being deleted.
    Terminating,
    /// It does not exist.
    Missing {
        /// A name that does exist, that the requester may know of, and that may have been meant.
        suggestion: Option<String>,
    },
    /// It is not among the known objects, and nobody could be asked about the others.
    Unresolved {
        /// A known name that may have been meant.
        suggestion: Option<String>,
    },
    /// The lookup failed.
    Unchecked,
}

/// Where the record with the reference is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// In a request or in a file.
    Written,
    /// In the cluster already.
    Stored,
}

/// What a finding says of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The reason code, if there is one.
    pub code: Option<&'static str>,
    /// What is wrong, and the name that may have been meant.
    pub text: String,
}

/// The code of a reference to an object that is not among the known ones.
pub const UNRESOLVED: &str = "unresolved";

impl From<Presence> for Fact {
    /// The fact without a suggestion.
    fn from(presence: Presence) -> Self {
        match presence {
            Presence::Exists => Self::Exists,
            Presence::Terminating => Self::Terminating,
            Presence::Missing => Self::Missing { suggestion: None },
        }
    }
}

impl Fact {
    /// What is wrong with a reference to a target of that kind; `None` if the target exists.
    pub fn fault(&self, kind: &ResourceKind, holder: Holder) -> Option<Fault> {
        let text = match self {
            Self::Exists => return None,
            Self::Terminating => format!("the {} of that name is being deleted", kind.kind),
            Self::Missing { suggestion } => missing(kind, "", suggestion.as_deref()),
            Self::Unresolved { suggestion } => match holder {
                Holder::Stored => format!("it could not be found out whether this {} exists", kind.kind),
                Holder::Written => missing(kind, " among these files", suggestion.as_deref()),
            },
            Self::Unchecked => "could not be checked, try again".to_owned(),
        };
        let code = matches!(self, Self::Unresolved { .. }).then_some(UNRESOLVED);
        Some(Fault { code, text })
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

    fn told(fact: &Fact, holder: Holder) -> Option<(Option<&'static str>, String)> {
        let fault = fact.fault(&ResourceKind::crm("Company", "companies"), holder)?;
        Some((fault.code, fault.text))
    }

    #[test]
    fn nothing_is_said_of_a_target_that_exists() {
        assert_eq!(told(&Presence::Exists.into(), Holder::Written), None);
    }

    #[test]
    fn a_target_that_is_missing_or_being_deleted_is_told_with_its_kind() {
        let text = |presence: Presence| told(&presence.into(), Holder::Written).unwrap();
        assert_eq!(text(Presence::Missing), (None, "no Company of that name".to_owned()));
        assert_eq!(
            text(Presence::Terminating),
            (None, "the Company of that name is being deleted".to_owned())
        );
    }

    #[test]
    fn a_suggestion_is_quoted() {
        let fact = Fact::Missing { suggestion: Some("ac\"me".to_owned()) };
        let (_, text) = told(&fact, Holder::Written).unwrap();
        assert_eq!(text, r#"no Company of that name; did you mean "ac\"me"?"#);
    }

    #[test]
    fn an_unresolved_target_has_a_code_and_no_name_from_files_is_suggested_for_a_stored_record() {
        let fact = Fact::Unresolved { suggestion: Some("acme".to_owned()) };
        let written = "no Company of that name among these files; did you mean \"acme\"?";
        assert_eq!(told(&fact, Holder::Written), Some((Some(UNRESOLVED), written.to_owned())));
        let stored = "it could not be found out whether this Company exists";
        assert_eq!(told(&fact, Holder::Stored), Some((Some(UNRESOLVED), stored.to_owned())));
    }
}
