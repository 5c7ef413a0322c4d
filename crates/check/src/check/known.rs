//! Knows which objects exist, from files and answers of a cluster.

use std::collections::{BTreeSet, HashMap};

use crm_core::api::Target;
use crm_core::existence::{Fact, Objects, Presence};
use serde_json::Value;

use super::bundle::Bundle;

/// The known objects.
#[derive(Default)]
pub struct Known {
    /// The objects of the bundle.
    pub bundle: Existing,
    /// The objects of other files that exist.
    pub resources: Objects,
    /// The answers of a cluster.
    pub asked: HashMap<Target, Fact>,
    /// Whether these are all objects, so that every other one is missing.
    pub complete: bool,
}

/// The objects of a bundle.
///
/// Builds of kustomize that share resources are variants, such as for development and production. They are deployed in
/// different places, so none has the objects of the other. All other objects exist together.
#[derive(Default)]
pub struct Existing {
    /// Those that exist without a build.
    standing: Objects,
    /// Those of each build, and the indexes of its variants.
    builds: Vec<(Objects, BTreeSet<usize>)>,
}

impl Existing {
    /// The objects of this bundle.
    pub fn new(bundle: &Bundle) -> Self {
        Self::with(bundle, std::iter::empty())
    }

    /// The objects of this bundle and, where it has none of their names, these.
    pub(super) fn with<'v>(bundle: &'v Bundle, others: impl Iterator<Item = &'v Value>) -> Self {
        let builds = bundle.builds.iter().map(|build| (Objects::new(build.values()), build.variants.clone()));
        Self { standing: Objects::new(others.chain(bundle.standing_values())), builds: builds.collect() }
    }

    /// Those that exist where the objects of a build are deployed; without a build, all.
    fn beside(&self, build: Option<usize>) -> impl Iterator<Item = &Objects> {
        let exists = move |variants: &BTreeSet<usize>| build.is_none_or(|build| !variants.contains(&build));
        let builds = self.builds.iter().filter(move |(_, variants)| exists(variants));
        std::iter::once(&self.standing).chain(builds.map(|(objects, _)| objects))
    }
}

impl Known {
    /// Whether a target exists, as far as known, for an object of this build, or of none.
    pub(super) fn fact(&self, target: &Target, build: Option<usize>) -> Fact {
        let everything = || self.bundle.beside(build).chain([&self.resources]);
        if let Some(presence) = everything().find_map(|objects| objects.presence(target)) {
            return presence.into();
        }
        let suggestion = || everything().find_map(|objects| objects.nearest(target));
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
