//! Checks the objects of a bundle as if each were created.

use std::collections::{HashMap, HashSet};

use crm_core::api::Target;
use crm_core::catalog::RuleId;
use crm_core::policy::Policy;
use crm_core::rules::{FieldPath, Finding, Reason, Reference, Segment};
use crm_manifest::Step;
use crm_manifest::edit;
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::UserInfo;
use rayon::prelude::*;

use super::bundle::{Bundle, Object, Placed};
use super::duplicates;
use super::known::Known;
use super::merge_order;
use super::order::{Applier, Sequence};
use crate::conformance::{Conformance, Identity, Subject, UnusableSchema};
use crate::report::{Diagnostic, Place, Report, Summary};

/// Checks the objects of files.
pub struct Judge {
    conformance: Conformance,
    requester: Option<UserInfo>,
}

impl Judge {
    /// A check under `policy`. Without a `requester` the user is unknown, and the rules that depend on the user are
    /// left to the cluster.
    ///
    /// # Errors
    /// The schemas of this program are invalid.
    pub fn new(policy: Policy, requester: Option<UserInfo>, now: Timestamp) -> Result<Self, UnusableSchema> {
        Ok(Self { conformance: Conformance::new(policy, now)?, requester })
    }

    /// The targets of all references, each once.
    pub fn targets(&self, bundle: &Bundle) -> HashSet<Target> {
        let references = bundle.objects().flat_map(|placed| self.references(placed.object));
        references.map(|reference| reference.target).collect()
    }

    /// The report about a bundle. `on_object` is called after each object.
    pub fn report(
        &self,
        bundle: &Bundle,
        known: &Known,
        applier: Option<Applier>,
        on_object: &(dyn Fn() + Sync),
    ) -> Report {
        let objects: Vec<Placed<'_>> = bundle.objects().collect();
        let judge = |placed: &Placed<'_>| {
            let findings = self.findings(placed.object, known).into_iter();
            let mut diagnostics: Vec<Diagnostic> =
                findings.map(|finding| diagnostic(placed, &finding, None)).collect();
            if placed.object.identity.kind().is_some() {
                let orders = merge_order::findings(placed, self.conformance.schema_action()).into_iter();
                diagnostics.extend(orders.map(|(at, finding)| diagnostic(placed, &finding, Some(at))));
            }
            on_object();
            diagnostics
        };
        let mut findings: Vec<Diagnostic> = objects.par_iter().flat_map_iter(judge).collect();
        let duplicates = duplicates::findings(&objects, self.conformance.schema_action(), position);
        findings.extend(duplicates.iter().map(|(placed, finding)| diagnostic(placed, finding, None)));
        if let Some(applier) = applier {
            findings.extend(self.order(&objects, known, applier));
        }
        sort(&mut findings, bundle);
        let count = |identity| objects.iter().filter(|placed| placed.object.identity == identity).count();
        let (other, encrypted) = (count(Identity::Other), count(Identity::Encrypted));
        Report {
            findings,
            errors: bundle.errors(),
            left_out: bundle.left_out().to_vec(),
            summary: Summary {
                files: bundle.len(),
                checked: objects.len() - other - encrypted,
                other,
                encrypted: bundle.encrypted(),
                fixed: bundle.fixed,
            },
        }
    }

    /// Warnings about references that an applier would send before their targets.
    fn order(&self, objects: &[Placed<'_>], known: &Known, applier: Applier) -> Vec<Diagnostic> {
        let sequence = Sequence::new(objects.iter().map(|placed| &placed.object.value).collect(), applier);
        let mut diagnostics = Vec::new();
        for (index, placed) in objects.iter().enumerate() {
            let references = self.references(placed.object).into_iter();
            for reference in references.filter(|reference| !known.exists_already(&reference.target)) {
                let advice = sequence.advice(index, &reference, self.conformance.policy());
                diagnostics.extend(advice.map(|finding| diagnostic(placed, &finding, None)));
            }
        }
        diagnostics
    }

    /// The changes that make the values of an object canonical.
    pub(super) fn fixes(&self, object: &Object) -> Vec<edit::Change> {
        let Some(subject) = self.subject(object) else {
            return Vec::new();
        };
        let changes = self.conformance.fixes(&subject).into_iter();
        changes.map(|change| edit::Change { path: steps(&change.field), value: change.after }).collect()
    }

    fn subject<'s>(&'s self, object: &'s Object) -> Option<Subject<'s>> {
        let kind = object.identity.kind()?;
        Some(Subject::created(kind, &object.value, self.requester.as_ref()))
    }

    fn references(&self, object: &Object) -> Vec<Reference> {
        self.subject(object).map(|subject| self.conformance.references(&subject)).unwrap_or_default()
    }

    fn findings(&self, object: &Object, known: &Known) -> Vec<Finding> {
        if let Identity::Misfit(field) = object.identity {
            return self.conformance.misfit(field, &object.value, self.requester.as_ref());
        }
        let Some(subject) = self.subject(object) else {
            return Vec::new();
        };
        let references = self.conformance.references(&subject).into_iter();
        let facts = references.map(|Reference { rule, target }| (rule, known.fact(&target))).collect();
        self.conformance.findings(&subject, &facts)
    }
}

/// Sorts by file, in the order of the bundle, and by place.
fn sort(findings: &mut [Diagnostic], bundle: &Bundle) {
    let names = bundle.files.iter().map(|file| file.input.name.as_str());
    let rank: HashMap<&str, usize> = names.enumerate().map(|(rank, name)| (name, rank)).collect();
    findings.sort_by_key(|finding| {
        finding.place.as_ref().map(|place| (rank.get(place.file.as_str()).copied(), place.line, place.column))
    });
}

/// A finding with its place: the given byte, or that of its field.
fn diagnostic(placed: &Placed<'_>, finding: &Finding, at: Option<usize>) -> Diagnostic {
    let Placed { file, document, object } = placed;
    let found = document.tree.find(object.root, &steps(&finding.field));
    let is_unknown_field = finding.rule == RuleId::Schema && finding.reason == Reason::Forbidden;
    let of_field = found.key.filter(|_| is_unknown_field).unwrap_or(found.position);
    let at = at.unwrap_or(of_field);
    let (line, column) = file.input.text().line_and_column(at);
    let place = Place { file: file.input.name.clone(), line, column, template: document.template.clone() };
    let metadata = &object.value["metadata"];
    let name = metadata["name"].as_str().filter(|name| !name.is_empty());
    let name = name.or_else(|| metadata["generateName"].as_str()).unwrap_or_default();
    let kind = object.value["kind"].as_str().unwrap_or_default();
    Diagnostic::new(Some(place), kind, name, finding)
}

/// The place of a field as text, such as `crm/a.yaml:3:19`.
fn position(placed: &Placed<'_>, field: &FieldPath) -> String {
    let Placed { file, document, object } = placed;
    let at = document.tree.find(object.root, &steps(field)).position;
    let (line, column) = file.input.text().line_and_column(at);
    format!("{}:{line}:{column}", file.input.name)
}

fn steps(path: &FieldPath) -> Vec<Step> {
    let step = |segment: &Segment| match segment {
        Segment::Field(name) => Step::Name(name.clone().into_owned()),
        Segment::Key(key) => Step::Name(key.clone()),
        Segment::Index(index) => Step::Index(*index),
    };
    path.segments().iter().map(step).collect()
}
