//! Checks the objects of a bundle as if each were created.

use std::collections::{HashMap, HashSet};

use crm_core::api::Target;
use crm_core::catalog::{Action, NOT_CANONICAL, ReportedRule, RuleId};
use crm_core::policy::Policy;
use crm_core::rules::{Change, Effect, FieldPath, Finding, Reason, Reference};
use crm_manifest::edit;
use crm_manifest::{Content, Document, Found, Part, Step};
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::UserInfo;
use rayon::prelude::*;

use super::bundle::{Bundle, File, Object, Placed};
use super::duplicates;
use super::known::Known;
use super::merge_order;
use super::order::{Applier, Sequence};
use super::steps::steps;
use super::suppressions::{Fault, Spot, Suppressions};
use crate::conformance::{Conformance, Identity, Subject, UnusableSchema};
use crate::report::{Diagnostic, NotJudged, Place, Report, Summary, Suppressed};

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
            let examined = self.examined(placed, known);
            on_object();
            examined
        };
        let examined: Vec<Examined> = objects.par_iter().map(judge).collect();
        let (mut found, mut open) = (Vec::new(), Vec::new());
        for (placed, examined) in objects.iter().zip(examined) {
            found.extend(examined.found);
            open.extend(examined.open.into_iter().map(|spot| (placed.file.input.name.as_str(), spot)));
        }
        let duplicates = duplicates::findings(&objects, self.conformance.schema_action(), position);
        found.extend(duplicates.iter().map(|(placed, finding)| located(placed, finding, None)));
        if let Some(applier) = applier {
            found.extend(self.order(&objects, known, applier));
        }
        let (mut findings, mut suppressed) = without_suppressed(found, &open, bundle);
        sort(&mut findings, bundle, |finding| finding);
        sort(&mut suppressed, bundle, |suppressed| &suppressed.finding);
        let count = |identity| objects.iter().filter(|placed| placed.object.identity == identity).count();
        let aside = [Identity::Other, Identity::Encrypted, Identity::Hidden].map(count);
        Report {
            findings,
            suppressed,
            errors: bundle.errors(),
            left_out: bundle.left_out().to_vec(),
            not_judged: not_judged(&objects),
            summary: Summary {
                files: bundle.len(),
                checked: objects.len() - aside.iter().sum::<usize>(),
                other: count(Identity::Other),
                encrypted: bundle.encrypted(),
                fixed: bundle.fixed,
            },
        }
    }

    /// Warnings about references that an applier would send before their targets.
    fn order(&self, objects: &[Placed<'_>], known: &Known, applier: Applier) -> Vec<Located> {
        // The place of an object depends on its name and annotations.
        let is_placed = |placed: &&Placed<'_>| {
            let place = [&["kind"][..], &["apiVersion"], &["metadata", "name"], &["metadata", "annotations"]];
            !place.iter().any(|field| placed.object.substitution.hides(&steps(&FieldPath::of(field))))
        };
        let objects: Vec<&Placed<'_>> = objects.iter().filter(is_placed).collect();
        let sequence = Sequence::new(objects.iter().map(|placed| &placed.object.value).collect(), applier);
        let mut found = Vec::new();
        for (index, placed) in objects.into_iter().enumerate() {
            let references = self.references(placed.object).into_iter();
            for reference in references.filter(|reference| !known.exists_already(&reference.target)) {
                let advice = sequence.advice(index, &reference, self.conformance.policy());
                found.extend(advice.map(|finding| located(placed, &finding, None)));
            }
        }
        found
    }

    /// The changes that make the values of an object canonical.
    pub(super) fn fixes(
        &self,
        document: &Document,
        object: &Object,
        suppressions: &Suppressions,
    ) -> Vec<edit::Change> {
        let Some(subject) = self.subject(object) else {
            return Vec::new();
        };
        let mut changes = self.conformance.fixes(&subject);
        changes.retain(|change| {
            let found = document.tree.find(object.root, &steps(&change.field));
            !is_of_variable(object, change)
                && !suppressions.cover(
                    change.rule,
                    Some(NOT_CANONICAL),
                    &spot(document, &found, found.position),
                )
        });
        let changes = changes.into_iter();
        changes.map(|change| edit::Change { path: steps(&change.field), value: change.after }).collect()
    }

    fn subject<'s>(&'s self, object: &'s Object) -> Option<Subject<'s>> {
        let kind = object.identity.kind()?;
        Some(Subject::created(kind, &object.value, self.requester.as_ref()))
    }

    /// The references of an object to known targets.
    fn references(&self, object: &Object) -> Vec<Reference> {
        let references = self.subject(object).map(|subject| self.conformance.references(&subject));
        let mut references = references.unwrap_or_default();
        references.retain(|reference| object.substitution.shows(reference));
        references
    }

    /// Checks one object.
    fn examined(&self, placed: &Placed<'_>, known: &Known) -> Examined {
        let Placed { document, object, .. } = placed;
        let references = self.references(object).into_iter();
        let (answered, unanswered): (Vec<_>, Vec<_>) = references
            .map(|reference| {
                let fact = known.fact(&reference.target);
                (reference, fact)
            })
            .partition(|(_, fact)| fact.is_some());
        let facts =
            answered.into_iter().filter_map(|(reference, fact)| Some((reference.rule, fact?))).collect();
        let findings = match object.identity {
            Identity::Misfit(field) => self.conformance.misfit(field, &object.value, self.requester.as_ref()),
            _ => self
                .subject(object)
                .map_or_else(Vec::new, |subject| self.conformance.findings(&subject, &facts)),
        };
        let findings = object.substitution.judged(findings, self.conformance.schema_action()).into_iter();
        let mut found: Vec<Located> = findings.map(|finding| located(placed, &finding, None)).collect();
        if object.identity.kind().is_some() {
            let orders = merge_order::findings(placed, self.conformance.schema_action()).into_iter();
            found.extend(orders.map(|(at, finding)| located(placed, &finding, Some(at))));
        }
        let spot_of = |path: &[Step]| {
            let found = document.tree.find(object.root, &object.substitution.written(path));
            spot(document, &found, found.position)
        };
        let unknown = object.substitution.unknown().map(|(path, _)| spot_of(path));
        let unanswered = unanswered.iter().map(|(reference, _)| spot_of(&steps(&reference.field())));
        Examined { found, open: unknown.chain(unanswered).collect() }
    }
}

/// Whether a change would replace a variable, or remove an entry because of one.
fn is_of_variable(object: &Object, change: &Change) -> bool {
    let first = match change.effect {
        Effect::DuplicateRemoved { first } => change.field.sibling(first),
        _ => None,
    };
    [Some(&change.field), first.as_ref()]
        .into_iter()
        .flatten()
        .any(|field| object.substitution.holds(&steps(field)))
}

/// The values on which nothing is judged, because they depend on unknown variables.
fn not_judged(objects: &[Placed<'_>]) -> NotJudged {
    let mut not_judged = NotJudged::default();
    for Placed { object, .. } in objects {
        if matches!(object.identity, Identity::Other | Identity::Encrypted) {
            continue;
        }
        for (_, expansion) in object.substitution.unknown() {
            not_judged.values += 1;
            for part in &expansion.parts {
                match part {
                    Part::Text(_) => {}
                    Part::Unknown(name) => drop(not_judged.variables.insert(name.clone())),
                    Part::Expression(text) => drop(not_judged.expressions.insert(text.clone())),
                }
            }
        }
    }
    not_judged
}

/// What is known about one object.
struct Examined {
    found: Vec<Located>,
    /// What was not judged. A comment that suppresses findings there may be needed.
    open: Vec<Spot>,
}

/// A finding, and the bytes that it is about.
struct Located {
    rule: RuleId,
    spot: Spot,
    diagnostic: Diagnostic,
}

/// The findings that count, those about comments included, and the suppressed ones.
fn without_suppressed(
    found: Vec<Located>,
    open: &[(&str, Spot)],
    bundle: &Bundle,
) -> (Vec<Diagnostic>, Vec<Suppressed>) {
    let mut suppressions: HashMap<&str, Suppressions> =
        bundle.files.iter().map(|file| (file.input.name.as_str(), file.suppressions())).collect();
    for (file, spot) in open {
        if let Some(suppressions) = suppressions.get_mut(file) {
            suppressions.excuse(spot);
        }
    }
    let (mut findings, mut suppressed) = (Vec::new(), Vec::new());
    for Located { rule, spot, diagnostic } in found {
        let file = diagnostic.place.as_ref().map_or("", |place| place.file.as_str());
        let of_file = suppressions.get_mut(file);
        match of_file.and_then(|suppressions| suppressions.suppress(rule, diagnostic.code, &spot)) {
            Some(reason) => suppressed.push(Suppressed { finding: diagnostic, reason }),
            None => findings.push(diagnostic),
        }
    }
    for file in &bundle.files {
        let faults = suppressions.get(file.input.name.as_str()).map(Suppressions::faults);
        findings.extend(faults.unwrap_or_default().into_iter().map(|fault| about_comment(file, fault)));
    }
    (findings, suppressed)
}

/// A finding about a comment, with the first object of its document.
fn about_comment(file: &File, fault: Fault) -> Diagnostic {
    let mut documents = file.input.documents().iter().zip(&file.objects);
    let has_it = |document: &Document| document.comments.iter().any(|comment| comment.start == fault.at);
    let found = documents.find(|(document, _)| has_it(document));
    let (kind, name) = found.and_then(|(_, objects)| objects.first()).map(kind_and_name).unwrap_or_default();
    let rule = ReportedRule::Suppression;
    Diagnostic {
        place: Some(place(file, found.map(|(document, _)| document), fault.at)),
        kind: kind.to_owned(),
        name: name.to_owned(),
        field: String::new(),
        rule,
        code: Some(fault.code),
        action: Action::Warn,
        message: format!("{} [{rule}/{}]", fault.message, fault.code),
    }
}

/// Sorts by file, in the order of the bundle, and by place.
fn sort<T>(findings: &mut [T], bundle: &Bundle, diagnostic: impl Fn(&T) -> &Diagnostic) {
    let names = bundle.files.iter().map(|file| file.input.name.as_str());
    let rank: HashMap<&str, usize> = names.enumerate().map(|(rank, name)| (name, rank)).collect();
    findings.sort_by_key(|finding| {
        let place = diagnostic(finding).place.as_ref();
        place.map(|place| (rank.get(place.file.as_str()).copied(), place.line, place.column))
    });
}

/// A finding with its place: the given byte, or that of its field.
fn located(placed: &Placed<'_>, finding: &Finding, at: Option<usize>) -> Located {
    let Placed { file, document, object } = placed;
    let found = document.tree.find(object.root, &object.substitution.written(&steps(&finding.field)));
    let is_unknown_field = finding.rule == RuleId::Schema && finding.reason == Reason::Forbidden;
    let of_field = found.key.filter(|_| is_unknown_field).unwrap_or(found.position);
    let at = at.unwrap_or(of_field);
    let (kind, name) = kind_and_name(object);
    Located {
        rule: finding.rule,
        spot: spot(document, &found, at),
        diagnostic: Diagnostic::new(Some(place(file, Some(document), at)), kind, name, finding),
    }
}

/// The bytes of a field with a finding at the byte `at`: those of its key, and of a scalar all.
fn spot(document: &Document, found: &Found, at: usize) -> Spot {
    let tree = &document.tree;
    let node = found.node.map(|node| tree.node(node));
    let scalar = node.filter(|node| node.range.start == at && matches!(node.content, Content::Scalar { .. }));
    Spot { key: found.key, value: at..scalar.map_or(at, |node| node.range.end).max(at + 1) }
}

fn place(file: &File, document: Option<&Document>, at: usize) -> Place {
    let (line, column) = file.input.text().line_and_column(at);
    let template = document.and_then(|document| document.template.clone());
    Place { file: file.input.name.clone(), line, column, template }
}

/// The kind of an object, and its name or what its name will start with.
fn kind_and_name(object: &Object) -> (&str, &str) {
    let metadata = &object.value["metadata"];
    let name = metadata["name"].as_str().filter(|name| !name.is_empty());
    let name = name.or_else(|| metadata["generateName"].as_str()).unwrap_or_default();
    (object.value["kind"].as_str().unwrap_or_default(), name)
}

/// The place of a field as text, such as `crm/a.yaml:3:19`.
fn position(placed: &Placed<'_>, field: &FieldPath) -> String {
    let Placed { file, document, object } = placed;
    let at = document.tree.find(object.root, &object.substitution.written(&steps(field))).position;
    let (line, column) = file.input.text().line_and_column(at);
    format!("{}:{line}:{column}", file.input.name)
}
