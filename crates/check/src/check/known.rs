//! Knows which objects exist, from files and answers of a cluster.

use std::collections::HashMap;

use crm_core::api::Target;
use crm_core::existence::{Fact, Objects, Presence};

/// The known objects.
#[derive(Default)]
pub struct Known {
    /// The objects of the bundle.
    pub bundle: Objects,
    /// The objects of other files that exist.
    pub resources: Objects,
    /// The answers of a cluster.
    pub asked: HashMap<Target, Fact>,
    /// Whether these are all objects, so that every other one is missing.
    pub complete: bool,
}

impl Known {
    /// Whether a target exists, as far as known.
    pub(super) fn fact(&self, target: &Target) -> Fact {
        if let Some(presence) = self.bundle.presence(target).or_else(|| self.resources.presence(target)) {
            return presence.into();
        }
        let suggestion = || self.bundle.nearest(target).or_else(|| self.resources.nearest(target));
        match self.asked.get(target) {
            Some(Fact::Missing { suggestion: None }) => Fact::Missing { suggestion: suggestion() },
            Some(fact) => fact.clone(),
            None if self.complete => Fact::Missing { suggestion: suggestion() },
            None => Fact::Unresolved { suggestion: suggestion() },
        }
    }

    /// Whether a target exists before any object of the bundle is applied.
    pub fn exists_already(&self, target: &Target) -> bool {
        self.resources.presence(target) == Some(Presence::Exists)
            || self.asked.get(target) == Some(&Fact::Exists)
    }
}
