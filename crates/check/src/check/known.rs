//! Knows which objects exist, from files and answers of a cluster.

use std::collections::{BTreeSet, HashMap};

use crm_core::api::{self, Target};
use crm_core::existence::{Fact, Objects, Presence};
use crm_manifest::{Expansion, Part, Step};
use serde_json::Value;

use super::built::Build;
use super::bundle::Bundle;
use super::file::Object;
use crate::report::InputError;

/// The known objects.
#[derive(Default)]
pub struct Known {
    /// The objects of the bundle.
    pub bundle: Existing,
    /// The objects of other files that exist.
    pub resources: Declared,
    /// The answers of a cluster.
    pub asked: HashMap<Target, Fact>,
    /// Whether these are all objects, so that every other one is missing.
    pub complete: bool,
}

/// The objects of a bundle.
///
/// Builds of kustomize that share records are variants, such as for development and production. They are deployed in
/// different places, so none has the objects of the other. All other objects exist together.
#[derive(Default)]
pub struct Existing {
    /// Those that exist without a build.
    standing: Declared,
    /// Those of each build, and the indexes of its variants.
    builds: Vec<(Declared, BTreeSet<usize>)>,
}

/// The objects in files.
#[derive(Default)]
pub struct Declared {
    objects: Objects,
    hidden: Vec<Hidden>,
}

/// An object whose kind or name depends on unknown variables, so it can be one of many.
struct Hidden {
    /// `None` if unknown, as for the others.
    group: Option<String>,
    kind: Option<String>,
    name: Expansion,
}

impl Existing {
    /// The objects of this bundle.
    pub fn new(bundle: &Bundle) -> Self {
        Self::with(bundle, std::iter::empty())
    }

    /// The objects of this bundle and, where it has none of their names, these.
    pub(super) fn with<'o>(bundle: &'o Bundle, others: impl Iterator<Item = &'o Object>) -> Self {
        let declared = |build: &Build| Declared::of(build.objects_alone());
        let builds = bundle.builds.iter().map(|build| (declared(build), build.variants.clone()));
        Self { standing: Declared::of(others.chain(bundle.standing_objects())), builds: builds.collect() }
    }

    /// Those that exist where the objects of a build are deployed; without a build, all.
    fn beside(&self, build: Option<usize>) -> impl Iterator<Item = &Declared> {
        let exists = move |variants: &BTreeSet<usize>| build.is_none_or(|build| !variants.contains(&build));
        let builds = self.builds.iter().filter(move |(_, variants)| exists(variants));
        std::iter::once(&self.standing).chain(builds.map(|(declared, _)| declared))
    }
}

/// Whether the kind or the name of an object depends on unknown variables.
pub(super) fn is_hidden(object: &Object) -> bool {
    Hidden::of(object).is_some()
}

impl Known {
    /// Whether a target exists, as far as known, for an object of this build, or of none; `None` if that depends on unknown
    /// variables.
    pub(super) fn fact(&self, target: &Target, build: Option<usize>) -> Option<Fact> {
        let everything = || self.bundle.beside(build).chain([&self.resources]);
        if let Some(presence) = everything().find_map(|declared| declared.objects.presence(target)) {
            return Some(presence.into());
        }
        let suggestion = || everything().find_map(|declared| declared.objects.nearest(target));
        let fact = match self.asked.get(target) {
            Some(Fact::Missing { suggestion: None }) => Fact::Missing { suggestion: suggestion() },
            Some(fact) => fact.clone(),
            None if self.complete => Fact::Missing { suggestion: suggestion() },
            None => Fact::Unresolved { suggestion: suggestion() },
        };
        let is_missing = matches!(fact, Fact::Missing { .. } | Fact::Unresolved { .. });
        let can_exist =
            || everything().flat_map(|declared| &declared.hidden).any(|hidden| hidden.can_be(target));
        (!is_missing || !can_exist()).then_some(fact)
    }

    /// Whether a target exists before any object of the bundle is applied.
    pub fn exists_already(&self, target: &Target) -> bool {
        self.resources.objects.presence(target) == Some(Presence::Exists)
            || self.asked.get(target) == Some(&Fact::Exists)
    }
}

impl Declared {
    /// The objects of files that stand for what exists, as [`Bundle::existing`] returns them.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn existing(bundle: &mut Bundle) -> Result<Self, Box<InputError>> {
        bundle.keep_existing()?;
        Ok(Self::of(bundle.standing_objects()))
    }

    /// These objects of a bundle.
    fn of<'o>(objects: impl Iterator<Item = &'o Object>) -> Self {
        let mut hidden = Vec::new();
        let known = objects.filter_map(|object| {
            let found = Hidden::of(object);
            let is_known = found.is_none();
            hidden.extend(found);
            is_known.then_some(&object.value)
        });
        let objects = Objects::new(known);
        Self { objects, hidden }
    }
}

impl Hidden {
    fn of(Object { value: object, substitution, .. }: &Object) -> Option<Self> {
        let name = |name: &str| Step::Name(name.to_owned());
        let unknown = |path: &[Step]| substitution.unknown_at(path);
        let (kind, version) = (unknown(&[name("kind")]), unknown(&[name("apiVersion")]));
        let own_name = unknown(&[name("metadata"), name("name")]);
        kind.or(version).or(own_name)?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let name_of = || Expansion {
            parts: vec![Part::Text(text(&object["metadata"]["name"]))],
            ..Expansion::default()
        };
        let group = || api::group_of(object["apiVersion"].as_str().unwrap_or_default()).to_owned();
        Some(Self {
            group: version.is_none().then(group),
            kind: kind.is_none().then(|| text(&object["kind"])),
            name: own_name.cloned().unwrap_or_else(name_of),
        })
    }

    fn can_be(&self, target: &Target) -> bool {
        let is = |own: &Option<String>, other: &str| own.as_deref().is_none_or(|own| own == other);
        is(&self.group, &target.kind.group)
            && is(&self.kind, &target.kind.kind)
            && self.name.can_be(&target.name)
    }
}
