//! Checks the objects of a bundle as if each were created.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use crm_core::api::Target;
use crm_core::catalog::{Action, NOT_CANONICAL, ReportedRule, RuleId};
use crm_core::existence::Fact;
use crm_core::policy::Policy;
use crm_core::rules::{Change, Effect, Facts, FieldPath, Finding, Reason, Reference};
use crm_manifest::edit;
use crm_manifest::{Content, Document, Found, Part, Step, Style};
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::UserInfo;
use rayon::prelude::*;

use super::bundle::Bundle;
use super::duplicates;
use super::file::{File, Object, Placed};
use super::known::Known;
use super::merge_order;
use super::order::{Applier, Sequence};
use super::steps::steps;
use super::suppressions::{Fault, Spot, Suppressions};
use crate::conformance::{Conformance, Identity, Subject, UnusableSchema};
use crate::report::{Diagnostic, Excerpt, Lasting, NotJudged, Place, Report, Summary, Suppressed};

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
        found.extend(self.across(&objects, known, applier));
        let found = without_repetitions(found);
        let (mut findings, mut suppressed) = without_suppressed(found, &open, bundle);
        sort(&mut findings, bundle, |finding| finding);
        sort(&mut suppressed, bundle, |suppressed| &suppressed.finding);
        let count = |identity| objects.iter().filter(|placed| placed.object.identity == identity).count();
        let aside = [Identity::Other, Identity::Encrypted, Identity::Hidden].map(count);
        Report {
            findings,
            suppressed,
            baseline: None,
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

    /// Judges as at this time from now on.
    pub fn set_now(&mut self, now: Timestamp) {
        self.conformance.set_now(now);
    }

    /// The policy.
    pub fn policy(&self) -> &Policy {
        self.conformance.policy()
    }

    /// The findings about objects that depend on other objects of the bundle.
    pub(super) fn across(
        &self,
        objects: &[Placed<'_>],
        known: &Known,
        applier: Option<Applier>,
    ) -> Vec<Located> {
        let duplicates = duplicates::findings(objects, self.conformance.schema_action(), position);
        let mut found: Vec<Located> =
            duplicates.into_iter().map(|(placed, finding)| located(placed, finding, None)).collect();
        if let Some(applier) = applier {
            // Each build is applied by itself.
            let same_build = |a: &Placed<'_>, b: &Placed<'_>| build(a) == build(b);
            found
                .extend(objects.chunk_by(same_build).flat_map(|objects| self.order(objects, known, applier)));
        }
        found
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
                found.extend(advice.map(|finding| located(placed, finding, None)));
            }
        }
        found
    }

    /// The changes that make the values of an object canonical.
    pub(super) fn fixes(&self, placed: &Placed<'_>, suppressions: &Suppressions) -> Vec<edit::Change> {
        let Some(subject) = self.subject(placed.object) else {
            return Vec::new();
        };
        let mut changes = self.conformance.fixes(&subject);
        changes.retain(|change| {
            let found = placed.find(&steps(&change.field));
            let spot = spot(placed.document, &found, found.position);
            !is_of_variable(placed.object, change)
                && !suppressions.cover(change.rule, Some(NOT_CANONICAL), &spot)
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

    /// Checks one object alone.
    pub(super) fn examined(&self, placed: &Placed<'_>, known: &Known) -> Examined {
        let Placed { document, object, .. } = placed;
        let (mut answered, mut unanswered) = (Vec::new(), Vec::new());
        let mut facts = Vec::new();
        for reference in self.references(object) {
            let fact = known.fact(&reference.target, build(placed));
            match fact.clone() {
                Some(fact) => answered.push((reference.key, fact)),
                None => unanswered.push(reference.field()),
            }
            facts.push((reference.target, fact));
        }
        let findings = self.findings(object, &answered.into_iter().collect());
        let findings = object.substitution.judged(findings, self.conformance.schema_action()).into_iter();
        let mut found: Vec<Located> = findings.map(|finding| located(placed, finding, None)).collect();
        // What kustomize has rendered has no merge keys any more.
        if object.identity.kind().is_some() && placed.rendering.is_none() {
            let orders = merge_order::findings(placed, self.conformance.schema_action()).into_iter();
            found.extend(orders.map(|(at, finding)| located(placed, finding, Some(at))));
        }
        let spot_of = |path: &[Step]| {
            let found = placed.find(path);
            spot(document, &found, found.position)
        };
        let unknown = object.substitution.unknown().map(|(path, _)| spot_of(path));
        let unanswered = unanswered.iter().map(|field| spot_of(&steps(field)));
        Examined { found, open: unknown.chain(unanswered).collect(), facts }
    }

    fn findings(&self, object: &Object, facts: &Facts) -> Vec<Finding> {
        if let Identity::Misfit(field) = object.identity {
            return self.conformance.misfit(field, &object.value, self.requester.as_ref());
        }
        let subject = self.subject(object);
        subject.map_or_else(Vec::new, |subject| self.conformance.findings(&subject, facts))
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

/// The values on which nothing is judged, because they depend on unknown variables. Several builds can render the same
/// value.
fn not_judged(objects: &[Placed<'_>]) -> NotJudged {
    let (mut not_judged, mut places) = (NotJudged::default(), HashSet::new());
    for placed in objects {
        let object = placed.object;
        if matches!(object.identity, Identity::Other | Identity::Encrypted) {
            continue;
        }
        for (path, expansion) in object.substitution.unknown() {
            let patched_by = build(placed).filter(|_| !placed.stands(path));
            if !places.insert((&placed.file.input.name, placed.find(path).position, path, patched_by)) {
                continue;
            }
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
pub(super) struct Examined {
    pub(super) found: Vec<Located>,
    /// What was not judged. A comment that suppresses findings there may be needed.
    pub(super) open: Vec<Spot>,
    pub(super) facts: Vec<Answered>,
}

/// The target of a reference, and what is known about it; `None` if that depends on unknown variables.
pub(super) type Answered = (Target, Option<Fact>);

/// A finding, and the bytes that it is about.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Located {
    pub(super) rule: RuleId,
    pub(super) spot: Spot,
    /// The bytes to show.
    pub(super) bytes: Range<usize>,
    pub(super) reason: Reason,
    pub(super) suggestion: Option<String>,
    /// The index of the document.
    pub(super) document: usize,
    /// The path of the field in the document.
    pub(super) path: Vec<Step>,
    pub(super) diagnostic: Diagnostic,
    /// Whether kustomize has rendered the object.
    pub(super) is_rendered: bool,
    /// Whether it is at the place of another object.
    pub(super) is_displaced: bool,
}

/// The index of the build that has rendered an object.
fn build(placed: &Placed<'_>) -> Option<usize> {
    placed.rendering.map(|rendering| rendering.build)
}

/// The findings, each once: several builds can render the same object, which can also be checked as it stands. The names of
/// these builds are joined.
fn without_repetitions(found: Vec<Located>) -> Vec<Located> {
    if !found.iter().any(|located| located.is_rendered) {
        return found;
    }
    let mut places: HashMap<_, usize> = HashMap::new();
    let mut kept: Vec<Located> = Vec::with_capacity(found.len());
    for located in found {
        let Diagnostic { place, field, message, kind, name, .. } = &located.diagnostic;
        let Some(place) = place else {
            kept.push(located);
            continue;
        };
        // Several objects whose own places are unknown are at the same one.
        let object = located.is_displaced.then(|| (kind.clone(), name.clone()));
        let key = (place.file.clone(), place.line, place.column, field.clone(), message.clone(), object);
        let first = places.get(&key).filter(|_| located.is_rendered).and_then(|index| kept.get_mut(*index));
        match first.and_then(|first| first.diagnostic.place.as_mut()) {
            Some(first) => {
                first.rendered_from = joined(first.rendered_from.take(), place.rendered_from.as_deref())
            }
            None => {
                places.insert(key, kept.len());
                kept.push(located);
            }
        }
    }
    kept
}

/// The names of several builds, each once; `None` if the finding is about what stands in the file.
fn joined(names: Option<String>, name: Option<&str>) -> Option<String> {
    let (names, name) = (names?, name?);
    // One build can render a file twice, with different names.
    let is_known = names.split(", ").any(|known| known == name);
    Some(if is_known { names } else { format!("{names}, {name}") })
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
    for Located { rule, spot, diagnostic, .. } in found {
        let file = diagnostic.place.as_ref().map_or("", |place| place.file.as_str());
        let of_file = suppressions.get_mut(file);
        match of_file.and_then(|suppressions| suppressions.suppress(rule, diagnostic.code, &spot)) {
            Some(reason) => suppressed.push(Suppressed { finding: diagnostic, reason }),
            None => findings.push(diagnostic),
        }
    }
    // Comments in a file outside of the given paths can be for a build that is not among them.
    for file in bundle.files.iter().filter(|file| file.has_findings() && !file.is_extra) {
        let faults = suppressions.get(file.input.name.as_str()).map(Suppressions::faults);
        findings.extend(faults.unwrap_or_default().into_iter().map(|fault| about_comment(file, &fault)));
    }
    (findings, suppressed)
}

/// A finding about a comment, with the first object of its document.
pub(super) fn about_comment(file: &File, fault: &Fault) -> Diagnostic {
    let mut documents = file.input.documents().iter().zip(&file.objects);
    let has_it = |document: &Document| document.comments.iter().any(|comment| comment.start == fault.at);
    let found = documents.find(|(document, _)| has_it(document));
    let (kind, name) = found.and_then(|(_, objects)| objects.first()).map(kind_and_name).unwrap_or_default();
    let rule = ReportedRule::Suppression;
    let comment = file.input.text().as_str().get(fault.at..).and_then(|rest| rest.lines().next());
    let comment = comment.unwrap_or_default();
    let document = found.map(|(document, _)| document);
    let lasting = found.and_then(|(_, objects)| objects.first());
    Diagnostic {
        place: Some(place(
            file,
            document.and_then(|document| document.template.clone()),
            fault.at..fault.at + comment.len(),
        )),
        kind: kind.to_owned(),
        name: name.to_owned(),
        field: String::new(),
        rule,
        code: Some(fault.code),
        action: Action::Warn,
        message: format!("{} [{rule}/{}]", fault.message, fault.code),
        lasting: Some(lasting.map_or_else(Lasting::default, lasting_of).with_value(&comment.into())),
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

/// A finding with its place: the given bytes, or those of its field.
fn located(placed: &Placed<'_>, finding: Finding, at: Option<Range<usize>>) -> Located {
    let Placed { file, document, object, .. } = placed;
    let path = steps(&finding.field);
    let found = placed.find(&path);
    let is_unknown_field = finding.rule == RuleId::Schema && finding.reason == Reason::Forbidden;
    let key = found.key.clone().filter(|_| is_unknown_field);
    let bytes = at.or(key).unwrap_or_else(|| marked(file, document, &found));
    let (kind, name) = kind_and_name(object);
    let value = placed.value(&path).cloned().unwrap_or_default();
    let rendered_from = placed.rendered_from().map(str::to_owned).or_else(|| document.template.clone());
    let diagnostic = Diagnostic::new(Some(place(file, rendered_from, bytes.clone())), kind, name, &finding);
    Located {
        rule: finding.rule,
        spot: spot(document, &found, bytes.start),
        bytes,
        reason: finding.reason,
        // A variable has its value elsewhere.
        suggestion: finding.suggestion.filter(|_| !object.substitution.holds(&path)),
        document: placed.document_index,
        path: [object.place.as_slice(), &path].concat(),
        diagnostic: Diagnostic { lasting: Some(lasting_of(object).with_value(&value)), ..diagnostic },
        is_rendered: placed.rendering.is_some(),
        is_displaced: placed.is_displaced(),
    }
}

/// The bytes of a field to show. Of a block scalar this is its indicator.
fn marked(file: &File, document: &Document, found: &Found) -> Range<usize> {
    let node = found.node.map(|node| document.tree.node(node));
    let is_block = node.is_some_and(|node| {
        node.range.start == found.position
            && matches!(node.content, Content::Scalar { style: Style::Block, .. })
    });
    let text = file.input.text().as_str().get(found.position..found.end).unwrap_or_default();
    let word = text.find(char::is_whitespace).filter(|_| is_block);
    found.position..word.map_or(found.end, |length| found.position + length)
}

/// The bytes of a field with a finding at the byte `at`: those of its key, and of a scalar all.
fn spot(document: &Document, found: &Found, at: usize) -> Spot {
    let tree = &document.tree;
    let node = found.node.map(|node| tree.node(node));
    let scalar = node.filter(|node| node.range.start == at && matches!(node.content, Content::Scalar { .. }));
    Spot {
        key: found.key.as_ref().map(|key| key.start),
        value: at..scalar.map_or(at, |node| node.range.end).max(at + 1),
    }
}

fn place(file: &File, rendered_from: Option<String>, bytes: Range<usize>) -> Place {
    let text = file.input.text();
    let (line, column) = text.line_and_column(bytes.start);
    let (shown, start) = text.line_around(bytes.start);
    let excerpt = Excerpt::at_byte(shown, start, text.as_str().get(bytes).unwrap_or_default());
    Place { file: file.input.name.clone(), line, column, rendered_from, excerpt }
}

/// The kind of an object, and its name or what its name will start with.
fn kind_and_name(object: &Object) -> (&str, &str) {
    let metadata = &object.value["metadata"];
    let name = metadata["name"].as_str().filter(|name| !name.is_empty());
    let name = name.or_else(|| metadata["generateName"].as_str()).unwrap_or_default();
    (object.value["kind"].as_str().unwrap_or_default(), name)
}

/// What a baseline knows of an object: no generated name, because each create makes another one.
fn lasting_of(object: &Object) -> Lasting {
    let text = |field: &str| {
        let value = object.value["metadata"][field].as_str();
        value.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    Lasting { namespace: text("namespace"), name: text("name"), ..Lasting::default() }
}

/// The place of a field as text, such as `crm/a.yaml:3:19`.
fn position(placed: &Placed<'_>, field: &FieldPath) -> String {
    let input = &placed.file.input;
    let (line, column) = input.text().line_and_column(placed.find(&steps(field)).position);
    format!("{}:{line}:{column}", input.name)
}
