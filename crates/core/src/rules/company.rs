//! The rules for a Company, in the order in which their findings are reported.

use super::evaluation::Evaluation;
use super::{addresses, text};
use crate::normalize::ProfileKind;

/// Evaluates the rules for a Company.
pub(super) fn company(evaluation: &mut Evaluation<'_>) {
    text::display_name(evaluation);
    addresses::domains(evaluation);
    addresses::linkedin_profile(evaluation, ProfileKind::Company);
}
