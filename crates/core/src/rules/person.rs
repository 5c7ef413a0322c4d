//! The rules for a Person, in the order in which their findings are reported.

use super::evaluation::Evaluation;
use super::{addresses, text};
use crate::normalize::ProfileKind;

/// Evaluates the rules for a Person.
pub(super) fn person(evaluation: &mut Evaluation<'_>) {
    text::display_name(evaluation);
    addresses::linkedin_profile(evaluation, ProfileKind::Person);
}
