//! Finds out from the bytes of an event whether it may matter, before it is parsed.

use std::collections::BTreeSet;

use crm_core::api::{CrmKind, ResourceKind};
use memchr::memmem::Finder;

/// Strings of which every event that matters has at least one.
pub(in crate::replay) struct Needles(Vec<Finder<'static>>);

impl Needles {
    /// For events about records, and about objects of these kinds.
    pub(in crate::replay) fn new<'k>(kinds: impl IntoIterator<Item = &'k ResourceKind>) -> Self {
        let records = CrmKind::ALL.map(|kind| kind.resource().group);
        let groups: BTreeSet<String> = records.into_iter().collect();
        // By the plural, because the core group has no name. The event has it as the value of a field.
        let others = kinds.into_iter().filter(|kind| !groups.contains(&kind.group));
        let plurals: BTreeSet<String> = others.map(|kind| format!("\"{}\"", kind.plural)).collect();
        Self(groups.iter().chain(&plurals).map(|needle| Finder::new(needle).into_owned()).collect())
    }

    /// Whether an event may matter.
    pub(super) fn are_in(&self, event: &[u8]) -> bool {
        self.0.iter().any(|needle| needle.find(event).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_about_records_and_about_kinds_to_look_up_matter() {
        let user = ResourceKind {
            group: "iam.example.com".to_owned(),
            plural: "users".to_owned(),
            ..ResourceKind::crm("User", "users")
        };
        let matters = |kinds: &[ResourceKind], event: &str| Needles::new(kinds).are_in(event.as_bytes());
        let company = r#"{"objectRef":{"resource":"companies","apiGroup":"crm.milo.io"}}"#;
        let of_a_user = r#"{"objectRef": {"resource": "users", "apiGroup": "iam.example.com"}}"#;
        assert!(matters(&[], company));
        assert!(!matters(&[], of_a_user));
        assert!(matters(&[user], of_a_user));
    }
}
