//! Finds references that an applier would send before their targets, and says how to avoid it.

use std::cmp::Ordering;
use std::collections::HashMap;

use crm_core::api::{self, Target};
use crm_core::catalog::{Action, ORDER};
use crm_core::policy::{DryRunMode, Policy};
use crm_core::quote::quote;
use crm_core::rules::{Finding, Reason, Reference, Shown};
use serde_json::Value;

/// The field manager of Flux.
const FLUX: &str = "kustomize-controller";
/// The annotation for the wave in which Argo CD syncs an object.
const SYNC_WAVE: &str = "argocd.argoproj.io/sync-wave";
/// The annotation for the phase in which Argo CD syncs an object.
const SYNC_HOOK: &str = "argocd.argoproj.io/hook";
/// The annotation of Helm for an object that is sent before or after the others. Argo CD reads it, too.
const HELM_HOOK: &str = "helm.sh/hook";
/// The annotation of Helm for the order of such objects. Argo CD treats it as a wave.
const HELM_WEIGHT: &str = "helm.sh/hook-weight";

/// The kinds that Helm and Argo CD send before all others (Helm's `InstallOrder`, which Argo CD copies). They compare
/// only the kind, not the group.
const HELM_FIRST: [&str; 36] = [
    "PriorityClass",
    "Namespace",
    "NetworkPolicy",
    "ResourceQuota",
    "LimitRange",
    "PodSecurityPolicy",
    "PodDisruptionBudget",
    "ServiceAccount",
    "Secret",
    "SecretList",
    "ConfigMap",
    "StorageClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleList",
    "ClusterRoleBinding",
    "ClusterRoleBindingList",
    "Role",
    "RoleList",
    "RoleBinding",
    "RoleBindingList",
    "Service",
    "DaemonSet",
    "Pod",
    "ReplicationController",
    "ReplicaSet",
    "Deployment",
    "HorizontalPodAutoscaler",
    "StatefulSet",
    "Job",
    "CronJob",
    "IngressClass",
    "Ingress",
    "APIService",
];
/// The kinds that Flux sends before all others (`ReconcileOrder` of its library for server-side apply), except those
/// with a stage of their own.
const FLUX_FIRST: [&str; 14] = [
    "ResourceQuota",
    "ServiceAccount",
    "Role",
    "ClusterRole",
    "RoleBinding",
    "ClusterRoleBinding",
    "ConfigMap",
    "Secret",
    "Service",
    "LimitRange",
    "Deployment",
    "StatefulSet",
    "CronJob",
    "PodDisruptionBudget",
];

/// The tool that applies manifests, and its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applier {
    /// In the order of the files.
    Kubectl,
    /// Custom resources by kind, those of one kind at the same time.
    Helm,
    /// By sync wave; in a wave custom resources by name, whatever their kind.
    ArgoCd,
    /// All objects first in a dry run; then by group, kind and name.
    Flux,
}

/// Objects in the order in which an applier sends them.
pub(super) struct Sequence<'o> {
    objects: Vec<&'o Value>,
    places: Vec<Place<'o>>,
    applier: Applier,
    /// The objects by group, kind and name.
    by_identity: HashMap<(&'o str, &'o str, &'o str), usize>,
}

/// The time at which an object is sent, most significant part first. Parts that an applier ignores have their default.
/// Of two objects with equal places, either may be sent first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Place<'o> {
    phase: Phase,
    wave: i64,
    of_kind: OfKind,
    group: &'o str,
    kind: &'o str,
    name: &'o str,
    in_files: usize,
}

/// Objects of a later phase wait for those of an earlier one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// Objects that others need.
    Definitions,
    Before,
    #[default]
    Main,
    After,
    /// Sent only after a failure, or not at all.
    Never,
}

/// Whether a kind is in the applier's list of kinds to send first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum OfKind {
    Listed,
    #[default]
    Other,
}

impl<'o> Sequence<'o> {
    /// The order of these objects, which are in the order of the files.
    pub(super) fn new(objects: Vec<&'o Value>, applier: Applier) -> Self {
        let place = |(index, object): (usize, &&'o Value)| place(object, index, applier);
        let places = objects.iter().enumerate().map(place).collect();
        let mut by_identity = HashMap::new();
        for (index, object) in objects.iter().enumerate() {
            by_identity.entry(identity(object)).or_insert(index);
        }
        Self { objects, places, applier, by_identity }
    }

    /// A warning if the target of a reference may be sent after the object with this index.
    pub(super) fn advice(&self, index: usize, reference: &Reference, policy: &Policy) -> Option<Finding> {
        let target = &reference.target;
        let key = (target.kind.group.as_str(), target.kind.kind.as_str(), target.name.as_str());
        let of_target = self.places.get(*self.by_identity.get(&key)?)?;
        let of_object = self.places.get(index)?;
        // Flux applies a phase before it tries the next one.
        let dry_run = self.applier == Applier::Flux
            && of_target.phase == of_object.phase
            && policy.references.dry_run_mode(Some(FLUX)) == DryRunMode::Enforce;
        let order = of_object.cmp(of_target);
        if !dry_run && order == Ordering::Greater {
            return None;
        }
        let kind = text(&self.objects.get(index)?["kind"]);
        Some(Finding {
            rule: reference.key.rule,
            code: Some(ORDER),
            field: reference.field(),
            reason: Reason::NotFound,
            value: Shown::Text(target.name.clone()),
            text: advice_text(self.applier, dry_run, kind, order, target),
            action: Action::Warn,
            suggestion: None,
            denies_from: None,
        })
    }
}

fn place(object: &Value, in_files: usize, applier: Applier) -> Place<'_> {
    let (group, kind, name) = identity(object);
    match applier {
        Applier::Kubectl => Place { in_files, ..Place::default() },
        Applier::Helm => {
            let phase = helm_phase(object).unwrap_or_default();
            // Only hooks have a weight.
            let wave = if phase == Phase::Main { 0 } else { number(object, HELM_WEIGHT).unwrap_or(0) };
            Place { phase, wave, of_kind: of_kind(kind, &HELM_FIRST), kind, ..Place::default() }
        }
        Applier::ArgoCd => {
            let phase = argo_phase(object);
            let wave = number(object, SYNC_WAVE).or_else(|| number(object, HELM_WEIGHT)).unwrap_or(0);
            Place { phase, wave, of_kind: of_kind(kind, &HELM_FIRST), name, ..Place::default() }
        }
        Applier::Flux => {
            let of_kind = of_kind(kind, &FLUX_FIRST);
            Place { phase: flux_stage(kind), of_kind, group, kind, name, ..Place::default() }
        }
    }
}

fn of_kind(kind: &str, listed: &[&str]) -> OfKind {
    if listed.contains(&kind) { OfKind::Listed } else { OfKind::Other }
}

fn annotation<'o>(object: &'o Value, key: &str) -> Option<&'o str> {
    object["metadata"]["annotations"][key].as_str()
}

fn number(object: &Value, key: &str) -> Option<i64> {
    annotation(object, key)?.parse().ok()
}

/// The first phase that an object has by an annotation; `None` without the annotation.
fn phase(object: &Value, key: &str, named: impl Fn(&str) -> Phase) -> Option<Phase> {
    annotation(object, key)?.split(',').map(|hook| named(hook.trim())).min()
}

fn helm_phase(object: &Value) -> Option<Phase> {
    phase(object, HELM_HOOK, |hook| match hook {
        "pre-install" | "pre-upgrade" => Phase::Before,
        "post-install" | "post-upgrade" => Phase::After,
        _ => Phase::Never,
    })
}

fn argo_phase(object: &Value) -> Phase {
    let own = phase(object, SYNC_HOOK, |hook| match hook {
        "PreSync" => Phase::Before,
        "Sync" => Phase::Main,
        "PostSync" => Phase::After,
        _ => Phase::Never,
    });
    own.or_else(|| helm_phase(object)).unwrap_or_default()
}

fn flux_stage(kind: &str) -> Phase {
    match kind {
        "CustomResourceDefinition" | "Namespace" => Phase::Definitions,
        kind if kind.ends_with("Class") => Phase::Before,
        _ => Phase::Main,
    }
}

fn identity(object: &Value) -> (&str, &str, &str) {
    let group = api::group_of(text(&object["apiVersion"]));
    (group, text(&object["kind"]), text(&object["metadata"]["name"]))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn advice_text(applier: Applier, dry_run: bool, kind: &str, order: Ordering, target: &Target) -> String {
    let it = format!("{} {}", target.kind.kind, quote(&target.name));
    let target = &target.kind.kind;
    let before = if order == Ordering::Equal { "perhaps before" } else { "before" };
    match applier {
        Applier::Kubectl => format!(
            "kubectl applies objects in the order of the files, this {kind} before the {target}; move {it} to an earlier \
             document or file"
        ),
        Applier::Helm => format!(
            "Helm installs custom resources by kind, this {kind} {before} the {target}; move {it} to a release \
             that is installed earlier"
        ),
        Applier::ArgoCd => format!(
            "Argo CD syncs the custom resources of a wave by name, this {kind} {before} the {target}; give {it} a \
             lower {SYNC_WAVE}"
        ),
        Applier::Flux if dry_run => format!(
            "Flux tries every object in a dry run before it applies the {target}; move {it} to a Kustomization \
             that this one dependsOn, or set onDryRunByFieldManager of the policy to Warn for {FLUX}"
        ),
        Applier::Flux => format!(
            "Flux applies custom resources by group, then by kind, then by name, this {kind} before the {target}; \
             move {it} to a Kustomization that this one dependsOn"
        ),
    }
}
