//! Says which references an applier would send before their targets, and what helps.

use std::cmp::Ordering;
use std::collections::HashMap;

use serde_json::Value;

use super::bundle::Object;
use crate::api::Target;
use crate::catalog::Action;
use crate::policy::{DryRunMode, Policy};
use crate::rules::{Finding, Reason, Reference, Shown, quote};

/// The code of a reference whose target comes too late.
const ORDER: &str = "order";
/// The field manager of Flux.
const FLUX: &str = "kustomize-controller";
/// Where Argo CD reads in which wave an object is synced.
const SYNC_WAVE: &str = "argocd.argoproj.io/sync-wave";

/// What brings manifests into the cluster, and in which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applier {
    /// In the order of the files.
    Kubectl,
    /// Custom resources by kind, then by name.
    Helm,
    /// By sync wave, then by kind, then by name.
    ArgoCd,
    /// All are tried in a dry-run first; then by kind, then by name.
    Flux,
}

/// The objects of a bundle in the order in which they are sent.
pub(super) struct Sequence<'o> {
    objects: &'o [Object<'o>],
    applier: Applier,
    /// The position of each object.
    ranks: Vec<usize>,
    /// The objects by group, kind and name.
    by_identity: HashMap<(&'o str, &'o str, &'o str), usize>,
}

impl<'o> Sequence<'o> {
    pub(super) fn new(objects: &'o [Object<'o>], applier: Applier) -> Self {
        let mut sent: Vec<usize> = (0..objects.len()).collect();
        // A stable sort: what is equal stays in the order of the files.
        sent.sort_by(|a, b| match (objects.get(*a), objects.get(*b)) {
            (Some(a), Some(b)) => compare(&a.value, &b.value, applier),
            _ => Ordering::Equal,
        });
        let mut ranks = vec![0; objects.len()];
        for (rank, index) in sent.into_iter().enumerate() {
            if let Some(slot) = ranks.get_mut(index) {
                *slot = rank;
            }
        }
        let mut by_identity = HashMap::new();
        for (index, object) in objects.iter().enumerate() {
            by_identity.entry(identity(&object.value)).or_insert(index);
        }
        Self { objects, applier, ranks, by_identity }
    }

    /// A warning, if the target of a reference is in the bundle and is sent after the object of that index.
    pub(super) fn advice(&self, index: usize, reference: &Reference, policy: &Policy) -> Option<Finding> {
        let target = &reference.target;
        let key = (target.kind.group.as_str(), target.kind.kind.as_str(), target.name.as_str());
        let of_target = *self.by_identity.get(&key)?;
        let dry_run = self.applier == Applier::Flux
            && policy.references.dry_run_mode(Some(FLUX)) == DryRunMode::Enforce;
        let too_early = self.ranks.get(index) < self.ranks.get(of_target);
        if !dry_run && !too_early {
            return None;
        }
        let kind = text(&self.objects.get(index)?.value["kind"]);
        Some(Finding {
            rule: reference.rule,
            code: Some(ORDER),
            field: reference.field(),
            reason: Reason::NotFound,
            value: Shown::Text(target.name.clone()),
            text: words(self.applier, dry_run, kind, target),
            action: Action::Warn,
            denies_from: None,
        })
    }
}

fn compare(a: &Value, b: &Value, applier: Applier) -> Ordering {
    let name = |object: &Value| text(&object["metadata"]["name"]).to_owned();
    let by_kind = || text(&a["kind"]).cmp(text(&b["kind"])).then_with(|| name(a).cmp(&name(b)));
    match applier {
        Applier::Kubectl => Ordering::Equal,
        Applier::Helm | Applier::Flux => by_kind(),
        Applier::ArgoCd => wave(a).cmp(&wave(b)).then_with(by_kind),
    }
}

/// Objects are in wave 0 unless they say otherwise.
fn wave(object: &Value) -> i64 {
    object["metadata"]["annotations"][SYNC_WAVE].as_str().and_then(|wave| wave.parse().ok()).unwrap_or(0)
}

fn identity(object: &Value) -> (&str, &str, &str) {
    let group = text(&object["apiVersion"]).split_once('/').map_or("", |(group, _)| group);
    (group, text(&object["kind"]), text(&object["metadata"]["name"]))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn words(applier: Applier, dry_run: bool, kind: &str, target: &Target) -> String {
    let it = format!("{} {}", target.kind.kind, quote(&target.name));
    let target = &target.kind.kind;
    match applier {
        Applier::Kubectl => format!(
            "kubectl applies in the order of the files, this {kind} before the {target}; put {it} into an earlier \
             document or file"
        ),
        Applier::Helm => format!(
            "Helm installs custom resources by kind, then by name, this {kind} before the {target}; put {it} into \
             a release that is installed before"
        ),
        Applier::ArgoCd => format!(
            "Argo CD syncs a wave by kind, then by name, this {kind} before the {target}; give {it} a lower \
             {SYNC_WAVE}"
        ),
        Applier::Flux if dry_run => format!(
            "Flux tries every object in a dry-run before it applies the {target}; put {it} into a Kustomization \
             that this one dependsOn, or let the policy's onDryRunByFieldManager say Warn for {FLUX}"
        ),
        Applier::Flux => format!(
            "Flux applies by kind, then by name, this {kind} before the {target}; put {it} into a Kustomization \
             that this one dependsOn"
        ),
    }
}
