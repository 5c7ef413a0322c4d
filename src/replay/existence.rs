//! Finds out whether the targets of references exist: from the log, then from manifests, then from a cluster.

use std::collections::{HashMap, HashSet};

use crm_core::api::names::full_name;
use crm_core::api::{CrmKind, Target, VERSION, group_of};
use crm_core::existence::{Fact, Objects, Presence};
use crm_core::links::{Count, Dependents, Tally};
use serde_json::Value;

use super::state::State;
use crate::audit::{Existence, NoAnswer, Suggestions};
use crate::directory::LookUp;

/// What exists besides the objects in the log.
#[derive(Default)]
pub struct Existing {
    resources: Option<Vec<Value>>,
    cluster: Option<Box<dyn LookUp>>,
}

impl Existing {
    /// Only the log shows what exists.
    pub fn in_log() -> Self {
        Self::default()
    }

    /// These manifests have everything that exists besides the objects in the log.
    #[must_use]
    pub fn with_resources(self, manifests: Vec<Value>) -> Self {
        Self { resources: Some(manifests), ..self }
    }

    /// A cluster is asked about what neither the log nor the manifests have.
    #[must_use]
    pub fn with_cluster(self, cluster: Box<dyn LookUp>) -> Self {
        Self { cluster: Some(cluster), ..self }
    }
}

/// Answers questions about objects.
pub(super) struct Answers {
    resources: Option<Objects>,
    cluster: Option<Box<dyn LookUp>>,
    /// The answers of the cluster; `None` if the user may not ask.
    asked: HashMap<Target, Option<Fact>>,
}

impl Answers {
    /// The answers of `existing`. The state learns which records of the manifests refer to others.
    pub(super) fn new(existing: Existing, state: &mut State) -> Self {
        let Existing { resources, cluster } = existing;
        for manifest in resources.iter().flatten() {
            let text = |field: &Value| field.as_str().unwrap_or_default().to_owned();
            let metadata = &manifest["metadata"];
            let name = full_name(&text(&metadata["namespace"]), &text(&metadata["name"]));
            let version = text(&manifest["apiVersion"]);
            let kind = CrmKind::of(group_of(&version), VERSION, &text(&manifest["kind"]));
            let is_leaving = !metadata["deletionTimestamp"].is_null();
            if let (Some(kind), false, false) = (kind, name.is_empty(), is_leaving) {
                state.refers(kind, &name, &manifest["spec"]);
            }
        }
        let resources = resources.as_ref().map(Objects::new);
        Self { resources, cluster, asked: HashMap::new() }
    }

    /// Asks about these targets, and keeps the answers for [`Self::fact`].
    ///
    /// # Errors
    /// The cluster keeps failing.
    pub(super) async fn prepare(
        &mut self,
        targets: impl Iterator<Item = &Target>,
        state: &State,
    ) -> Result<(), NoAnswer> {
        let Some(cluster) = &self.cluster else { return Ok(()) };
        let is_open =
            |target: &&Target| self.here(target, state).is_none() && !self.asked.contains_key(*target);
        let open: HashSet<Target> = targets.filter(is_open).cloned().collect();
        if open.is_empty() {
            return Ok(());
        }
        let facts = Existence::new(cluster.as_ref(), Suggestions::None).facts(open).await?;
        let known = |fact| if matches!(fact, Fact::Unresolved { .. }) { None } else { Some(fact) };
        self.asked.extend(facts.into_iter().map(|(target, fact)| (target, known(fact))));
        Ok(())
    }

    /// Whether a target exists; `None` if nothing says so.
    pub(super) fn fact(&self, target: &Target, state: &State) -> Option<Fact> {
        let missing = || Presence::Missing.into();
        match (self.here(target, state), &self.cluster) {
            (Some(presence), _) => Some(presence.into()),
            (None, Some(_)) => self.asked.get(target).cloned().flatten(),
            // It may be one of those that were deleted, or it may never have existed.
            (None, None) if state.has_forgotten(&target.kind) => None,
            (None, None) => self.resources.as_ref().map(|_| missing()),
        }
    }

    /// What the log and the manifests say. The log is more exact, because it says what existed at that time.
    fn here(&self, target: &Target, state: &State) -> Option<Presence> {
        let resources = self.resources.as_ref().filter(|_| !state.has_forgotten(&target.kind));
        state.presence(target).or_else(|| resources?.presence(target))
    }

    /// Whether the log and the manifests have everything that exists.
    pub(super) fn knows_all(&self) -> bool {
        self.resources.is_some()
    }

    /// The dependents of a record, as far as they are known.
    pub(super) fn dependents(&self, question: &Dependents, state: &State) -> Tally {
        let (number, names) = state.dependents(question);
        let is_exact = number == 0 || (self.knows_all() && !state.has_forgotten(&question.kind.resource()));
        let count = if is_exact { Count::Exactly(number) } else { Count::AtLeast(number) };
        // Nothing says whether the record owns its dependents, so all of them count.
        Tally { count, names, ..Tally::none() }
    }
}
