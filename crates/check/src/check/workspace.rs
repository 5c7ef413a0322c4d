//! Files that are judged again and again while some of them change. Only what a change affects is judged anew.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use crm_core::api::Target;
use crm_core::catalog::{ReportedRule, RuleId};
use crm_core::existence::Fact;
use crm_core::policy::Policy;
use crm_core::rules::Reason;
use crm_manifest::edit::{self, Edited};
use crm_manifest::{Input, Step, Text};
use jiff::Timestamp;
use rayon::prelude::*;
use serde_json::Value;

use super::bundle::Bundle;
use super::file::{Fault, File, Object, Placed};
use super::fix;
use super::judge::{Answered, Examined, Judge, Located, about_comment};
use super::known::{Declared, Existing, Known, is_hidden};
use super::order::Applier;
use super::suppressions::{self, Spot};
use crate::report::{Diagnostic, InputError};

/// The files of a workspace, with what is known about each.
pub struct Workspace {
    judge: Judge,
    applier: Option<Applier>,
    root: PathBuf,
    bundle: Bundle,
    /// The files that hold no records in their own right, such as patches of kustomize.
    aside: HashSet<PathBuf>,
    /// One for each file of the bundle, in the same order.
    states: Vec<State>,
    resources: Bundle,
    known: Known,
    /// The objects that have appeared or disappeared since the last judgment.
    moved: HashSet<Key>,
    /// The targets whose answer has not arrived yet.
    awaited: HashSet<Target>,
    /// The targets with an old answer.
    doubted: HashSet<Target>,
}

/// What is known about a file.
#[derive(Default)]
struct State {
    /// The findings about each object alone; `None` if they must be found anew.
    own: Option<Vec<Located>>,
    /// What was not judged in them.
    open: Vec<Spot>,
    /// The findings about its objects that depend on other objects.
    across: Vec<Located>,
    /// The targets of its references.
    facts: Vec<Answered>,
    /// The objects of its last text without syntax errors, if its text has one now: a document that cannot be read while
    /// somebody edits it still exists.
    remembered: Vec<Object>,
}

/// An object, as references see it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Key {
    group: String,
    kind: String,
    namespace: String,
    name: String,
    is_being_deleted: bool,
    /// Whether its kind or name depends on unknown variables, so that it can be one of many.
    is_hidden: bool,
}

/// The result for one file.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The path of the file.
    pub path: PathBuf,
    /// Those that no comment suppresses, in the order of the text.
    pub findings: Vec<Marked>,
    /// What cannot be read.
    pub faults: Vec<Fault>,
}

/// A finding, and the bytes that it is about.
#[derive(Clone, Debug, PartialEq)]
pub struct Marked {
    /// The finding.
    pub diagnostic: Diagnostic,
    /// The bytes of the value or of the key.
    pub bytes: Range<usize>,
    /// The kind of problem; `None` for one with a comment.
    pub reason: Option<Reason>,
    /// What the user probably meant.
    pub suggestion: Option<String>,
    /// The index of the document.
    document: usize,
    /// The path of the field in the document.
    path: Vec<Step>,
}

impl Workspace {
    /// The workspace of these files. Names of files in `root` are relative to it. `resources` are objects that exist
    /// elsewhere; `complete` says whether every object that is known nowhere is missing.
    ///
    /// # Errors
    /// A file of `resources` cannot be read.
    pub fn new(
        judge: Judge,
        applier: Option<Applier>,
        root: &Path,
        mut bundle: Bundle,
        mut resources: Bundle,
        complete: bool,
    ) -> Result<Self, Box<InputError>> {
        let declared = Declared::existing(&mut resources)?;
        // kustomize runs too long to run while somebody types.
        let units = bundle.units();
        let mut aside = paths(&bundle);
        bundle.without_builds(&units);
        let kept = paths(&bundle);
        aside.retain(|path| !kept.contains(path));
        for file in &mut bundle.files {
            if let Some(relative) = file.input.path.as_ref().and_then(|path| path.strip_prefix(root).ok()) {
                file.input.name = crm_manifest::name(relative);
            }
        }
        let mut workspace = Self {
            judge,
            applier,
            root: root.to_owned(),
            states: bundle.files.iter().map(|_| State::default()).collect(),
            bundle,
            aside,
            known: Known { resources: declared, complete, ..Known::default() },
            resources,
            moved: HashSet::new(),
            awaited: HashSet::new(),
            doubted: HashSet::new(),
        };
        workspace.known.bundle = workspace.objects();
        Ok(workspace)
    }

    /// The policy.
    pub fn policy(&self) -> &Policy {
        self.judge.policy()
    }

    /// The file with this path.
    pub fn input(&self, path: &Path) -> Option<&Input> {
        self.file(path).map(|file| &file.input)
    }

    /// The paths of all files.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.bundle.files.iter().filter_map(|file| file.input.path.as_deref())
    }

    /// Replaces the text of a file, or adds the file, unless it holds no records in its own right.
    pub fn set(&mut self, path: &Path, text: String) {
        if self.aside.contains(path) {
            return;
        }
        let index = match self.index(path) {
            Some(index) => index,
            None => self.add(path),
        };
        let before = self.keys(index);
        let (Some(file), Some(state)) = (self.bundle.files.get_mut(index), self.states.get_mut(index)) else {
            return;
        };
        if file.input.text().as_str() == text && state.own.is_some() {
            return;
        }
        let had_errors = !file.input.errors().is_empty();
        let objects = file.set_text(text, &self.bundle.variables);
        if file.input.errors().is_empty() {
            state.remembered.clear();
        } else if !had_errors {
            state.remembered = objects.into_iter().flatten().collect();
        }
        state.own = None;
        let after = self.keys(index);
        self.moved.extend(before.symmetric_difference(&after).cloned());
    }

    /// Removes a file.
    pub fn remove(&mut self, path: &Path) {
        if let Some(index) = self.index(path) {
            let gone = self.keys(index);
            self.moved.extend(gone);
            self.bundle.files.remove(index);
            self.states.remove(index);
        }
    }

    /// Takes over answers of a cluster.
    pub fn answer(&mut self, answers: impl IntoIterator<Item = (Target, Fact)>) {
        let answers: HashMap<Target, Fact> = answers.into_iter().collect();
        for state in &mut self.states {
            let is_news =
                |(target, fact): &Answered| answers.get(target).is_some_and(|new| fact.as_ref() != Some(new));
            if state.facts.iter().any(is_news) {
                state.own = None;
            }
        }
        self.awaited.retain(|target| !answers.contains_key(target));
        self.known.asked.extend(answers);
    }

    /// Takes the answers of a cluster about objects that did not exist for old, so that [`Self::ask`] asks again.
    pub fn doubt(&mut self) {
        let missing = self.known.asked.iter().filter(|(_, fact)| **fact != Fact::Exists);
        self.doubted = missing.map(|(target, _)| target.clone()).collect();
    }

    /// The targets of references that only a cluster can know, after a judgment, each once. Until [`Self::answer`] has the
    /// answer, nothing is said about them.
    pub fn ask(&mut self) -> HashSet<Target> {
        let facts = self.states.iter().flat_map(|state| &state.facts);
        let unknown = facts
            .filter(|(target, fact)| is_unsettled(fact.as_ref()) && !self.known.asked.contains_key(target));
        let mut targets: HashSet<Target> = unknown.map(|(target, _)| target.clone()).collect();
        self.answer(targets.iter().map(|target| (target.clone(), Fact::Exists)));
        self.awaited.extend(targets.iter().cloned());
        targets.extend(std::mem::take(&mut self.doubted));
        targets
    }

    /// The names of the known objects of a kind, with the display names of records.
    pub fn names(&self, group: &str, kind: &str) -> BTreeMap<String, Option<String>> {
        let mut names = BTreeMap::new();
        for object in self.existing().chain(self.resources.standing_objects()) {
            let key = Key::of(object).filter(|key| key.group == group && key.kind == kind);
            let Some(key) = key.filter(|key| !key.is_hidden) else { continue };
            let field = ["spec", "displayName"].map(|name| Step::Name(name.to_owned()));
            let title = object.value["spec"]["displayName"].as_str();
            let title = title.filter(|_| !object.substitution.hides(&field));
            names.insert(key.name, title.map(str::to_owned));
        }
        let answered = self.known.asked.iter().filter(|(target, _)| !self.awaited.contains(*target));
        let exists = answered.filter(|(_, fact)| **fact == Fact::Exists);
        for (target, _) in exists.filter(|(target, _)| target.kind.group == group && target.kind.kind == kind)
        {
            names.entry(target.name.clone()).or_default();
        }
        names
    }

    /// Judges what the changes since the last judgment affect, as at this time. Returns the files whose result may have
    /// changed.
    pub fn judge(&mut self, now: Timestamp) -> Vec<Checked> {
        self.judge.set_now(now);
        if !self.moved.is_empty() {
            self.known.bundle = self.objects();
            let moved = std::mem::take(&mut self.moved);
            for state in &mut self.states {
                if state.facts.iter().any(|(target, fact)| depends(target, fact.as_ref(), &moved)) {
                    state.own = None;
                }
            }
        }
        let stale: BTreeSet<usize> = self
            .states
            .iter()
            .enumerate()
            .filter(|(_, state)| state.own.is_none())
            .map(|(at, _)| at)
            .collect();
        self.judge_files(&stale);
        let mut changed = stale;
        changed.extend(self.judge_across());
        let mut changed: Vec<usize> = changed.into_iter().collect();
        changed.sort_unstable();
        changed.into_iter().filter_map(|index| self.checked(index)).collect()
    }

    /// The file with canonical values: all of them, or only the value of one finding.
    pub fn fixed(&self, path: &Path, only: Option<&Marked>) -> Option<Edited> {
        fix::selected(self.file(path)?, &self.judge, |document, path| {
            only.is_none_or(|marked| marked.document == document && marked.path == path)
        })
    }

    /// The file with what the user probably meant at a finding.
    pub fn suggested(&self, path: &Path, marked: &Marked) -> Option<Edited> {
        let input = &self.file(path)?.input;
        let meant = marked.suggestion.as_deref()?;
        if marked.diagnostic.rule == RuleId::Schema.into() && marked.reason == Some(Reason::Forbidden) {
            return edit::rename(input, marked.document, &marked.path, meant);
        }
        let change = edit::Change { path: marked.path.clone(), value: Some(meant.to_owned()) };
        let mut changes: Vec<Vec<edit::Change>> = input.documents().iter().map(|_| Vec::new()).collect();
        changes.get_mut(marked.document)?.push(change);
        let edited = edit::edit(input, &changes);
        (edited.count > 0).then_some(edited)
    }

    /// The file with a comment that suppresses a finding, and has no reason yet.
    pub fn suppressed(&self, path: &Path, marked: &Marked) -> Option<Edited> {
        let ReportedRule::Rule(_) = marked.diagnostic.rule else { return None };
        let input = &self.file(path)?.input;
        let comment = suppressions::comment(&marked.diagnostic.rule_and_code());
        edit::comment(input, marked.document, marked.bytes.start, &comment)
    }

    fn index(&self, path: &Path) -> Option<usize> {
        self.bundle.files.iter().position(|file| file.input.path.as_deref() == Some(path))
    }

    fn file(&self, path: &Path) -> Option<&File> {
        self.bundle.files.get(self.index(path)?)
    }

    fn add(&mut self, path: &Path) -> usize {
        let mut input = Input::new(path.strip_prefix(&self.root).unwrap_or(path), String::new());
        input.path = Some(path.to_owned());
        self.bundle.files.push(File::new(input, &self.bundle.variables));
        self.states.push(State::default());
        self.states.len() - 1
    }

    /// Every object that exists in the files.
    fn existing(&self) -> impl Iterator<Item = &Object> {
        // First, so that what is in the text now counts.
        let remembered = self.states.iter().flat_map(|state| &state.remembered);
        remembered.chain(self.bundle.standing_objects())
    }

    fn objects(&self) -> Existing {
        Existing::with(&self.bundle, self.states.iter().flat_map(|state| &state.remembered))
    }

    fn keys(&self, index: usize) -> BTreeSet<Key> {
        let placed = self.bundle.files.get(index).into_iter().flat_map(File::objects);
        let objects = placed.map(|placed| placed.object);
        let remembered = self.states.get(index).into_iter().flat_map(|state| &state.remembered);
        objects.chain(remembered).filter_map(Key::of).collect()
    }

    fn judge_files(&mut self, stale: &BTreeSet<usize>) {
        let is_stale = |(index, file): &(usize, &File)| stale.contains(index) && file.is_judged();
        let files = self.bundle.files.iter().enumerate().filter(is_stale);
        let placed: Vec<(usize, Placed<'_>)> =
            files.flat_map(|(index, file)| file.objects().map(move |placed| (index, placed))).collect();
        let examine =
            |(index, placed): &(usize, Placed<'_>)| (*index, self.judge.examined(placed, &self.known));
        let examined: Vec<(usize, Examined)> = placed.par_iter().map(examine).collect();
        for index in stale {
            if let Some(state) = self.states.get_mut(*index) {
                (state.own, state.open, state.facts) = (Some(Vec::new()), Vec::new(), Vec::new());
            }
        }
        for (index, Examined { found, open, facts }) in examined {
            if let Some(state) = self.states.get_mut(index) {
                state.own.get_or_insert_default().extend(found);
                state.open.extend(open);
                state.facts.extend(facts);
            }
        }
    }

    /// The files whose findings that depend on other objects have changed.
    fn judge_across(&mut self) -> Vec<usize> {
        let objects: Vec<Placed<'_>> = self.bundle.objects().collect();
        let found = self.judge.across(&objects, &self.known, self.applier);
        let mut by_name: HashMap<String, Vec<Located>> = HashMap::new();
        for located in found {
            let file = located.diagnostic.place.as_ref().map(|place| place.file.clone()).unwrap_or_default();
            by_name.entry(file).or_default().push(located);
        }
        let mut changed = Vec::new();
        for (index, (file, state)) in self.bundle.files.iter().zip(&mut self.states).enumerate() {
            let across = by_name.remove(&file.input.name).unwrap_or_default();
            if across != state.across {
                state.across = across;
                changed.push(index);
            }
        }
        changed
    }

    fn checked(&self, index: usize) -> Option<Checked> {
        let (file, state) = (self.bundle.files.get(index)?, self.states.get(index)?);
        let mut suppressions = file.suppressions();
        state.open.iter().for_each(|spot| suppressions.excuse(spot));
        let mut findings = Vec::new();
        for located in state.own.iter().flatten().chain(&state.across) {
            if suppressions.suppress(located.rule, located.diagnostic.code, &located.spot).is_none() {
                findings.push(Marked::new(located.clone()));
            }
        }
        let faults = if file.has_findings() { suppressions.faults() } else { Vec::new() };
        for fault in faults {
            findings.push(Marked::comment(file.input.text(), fault.at, about_comment(file, &fault)));
        }
        findings.sort_by_key(|marked| marked.bytes.start);
        Some(Checked { path: file.input.path.clone()?, findings, faults: file.faults() })
    }
}

fn paths(bundle: &Bundle) -> HashSet<PathBuf> {
    bundle.files.iter().filter_map(|file| file.input.path.clone()).collect()
}

/// Whether the files do not have a target, or may have it.
fn is_unsettled(fact: Option<&Fact>) -> bool {
    matches!(fact, None | Some(Fact::Missing { .. } | Fact::Unresolved { .. }))
}

/// Whether the fact about a target may be another one since these objects have appeared or disappeared. A suggestion may
/// be another one whatever their names are.
fn depends(target: &Target, fact: Option<&Fact>, moved: &HashSet<Key>) -> bool {
    let is_unsettled = is_unsettled(fact);
    moved.iter().any(|key| {
        let is_of_kind = key.kind == target.kind.kind && key.group == target.kind.group;
        (is_of_kind && key.name == target.name) || (is_unsettled && (is_of_kind || key.is_hidden))
    })
}

impl Key {
    fn of(object: &Object) -> Option<Self> {
        let is_hidden = is_hidden(object);
        let object = &object.value;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let metadata = &object["metadata"];
        let version = object["apiVersion"].as_str()?;
        let key = Self {
            group: version.split_once('/').map_or("", |(group, _)| group).to_owned(),
            kind: text(&object["kind"]),
            namespace: text(&metadata["namespace"]),
            name: text(&metadata["name"]),
            is_being_deleted: !metadata["deletionTimestamp"].is_null(),
            is_hidden,
        };
        (!key.kind.is_empty() && !key.name.is_empty()).then_some(key)
    }
}

impl Marked {
    fn new(located: Located) -> Self {
        let Located { bytes, reason, suggestion, document, path, diagnostic, .. } = located;
        Self { diagnostic, bytes, reason: Some(reason), suggestion, document, path }
    }

    fn comment(text: &Text, at: usize, diagnostic: Diagnostic) -> Self {
        let end =
            text.as_str().get(at..).map_or(at, |rest| at + rest.lines().next().unwrap_or_default().len());
        Self { diagnostic, bytes: at..end, reason: None, suggestion: None, document: 0, path: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use crm_manifest::Variables;

    use super::*;

    fn noon() -> Timestamp {
        "2026-11-23T12:00:00Z".parse().unwrap()
    }

    fn workspace(files: &[(&str, &str)]) -> Workspace {
        let inputs = files.iter().map(|(path, text)| Input::new(Path::new(path), (*text).to_owned()));
        let judge = Judge::new(Policy::default(), None, noon()).unwrap();
        let bundle = Bundle::new(inputs.collect(), Variables::default());
        Workspace::new(judge, None, Path::new("/w"), bundle, Bundle::default(), true).unwrap()
    }

    fn company(name: &str) -> String {
        format!(
            "apiVersion: crm.milo.io/v1alpha1\nkind: Company\nmetadata: {{name: {name}}}\nspec: {{displayName: A}}\n"
        )
    }

    fn person(name: &str, company: &str) -> String {
        format!(
            "apiVersion: crm.milo.io/v1alpha1\nkind: Person\nmetadata: {{name: {name}}}\nspec: {{displayName: A, companyRef: {{name: {company}}}}}\n"
        )
    }

    fn messages(checked: &[Checked]) -> Vec<(String, String)> {
        let message = |checked: &Checked| {
            let messages = checked.findings.iter().map(|marked| marked.diagnostic.message.clone());
            (checked.path.display().to_string(), messages.collect::<Vec<_>>().join("; "))
        };
        checked.iter().map(message).collect()
    }

    #[test]
    fn a_change_is_judged_where_it_matters_and_nowhere_else() {
        let mut workspace = workspace(&[
            ("/w/a.yaml", &company("acme")),
            ("/w/b.yaml", &person("bob", "acme")),
            ("/w/c.yaml", &company("globex")),
        ]);
        assert_eq!(workspace.judge(noon()).len(), 3);
        assert!(workspace.judge(noon()).is_empty());
        workspace.set(Path::new("/w/a.yaml"), company("acme-corp"));
        let changed = messages(&workspace.judge(noon()));
        let paths: Vec<&str> = changed.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["/w/a.yaml", "/w/b.yaml"]);
        assert!(changed[1].1.contains("did you mean \"acme-corp\"?"), "{changed:?}");
        workspace.set(Path::new("/w/a.yaml"), company("acme-corp").replace("A}", "B}"));
        assert_eq!(messages(&workspace.judge(noon())), [("/w/a.yaml".to_owned(), String::new())]);
    }

    #[test]
    fn a_removed_file_takes_its_objects_with_it() {
        let mut workspace =
            workspace(&[("/w/a.yaml", &company("acme")), ("/w/b.yaml", &person("bob", "acme"))]);
        workspace.judge(noon());
        workspace.remove(Path::new("/w/a.yaml"));
        let changed = messages(&workspace.judge(noon()));
        assert!(changed[0].1.contains("no Company of that name"), "{changed:?}");
        workspace.set(Path::new("/w/new.yaml"), company("acme"));
        let changed = messages(&workspace.judge(noon()));
        assert_eq!(changed[0], ("/w/b.yaml".to_owned(), String::new()));
    }

    #[test]
    fn a_document_that_cannot_be_read_now_still_exists() {
        let mut workspace =
            workspace(&[("/w/a.yaml", &company("acme")), ("/w/b.yaml", &person("bob", "acme"))]);
        workspace.judge(noon());
        workspace.set(Path::new("/w/a.yaml"), format!("{}oops\n", company("acme")));
        let checked = workspace.judge(noon());
        assert_eq!(messages(&checked), [("/w/a.yaml".to_owned(), String::new())]);
        assert_eq!(checked[0].faults.len(), 1);
        workspace.set(Path::new("/w/a.yaml"), company("globex"));
        assert_eq!(workspace.judge(noon()).len(), 2);
    }

    #[test]
    fn the_place_of_a_duplicate_follows_the_first() {
        let mut workspace = workspace(&[("/w/a.yaml", &company("acme")), ("/w/b.yaml", &company("acme"))]);
        let first = messages(&workspace.judge(noon()));
        assert!(first[1].1.contains("is at a.yaml:3:18"), "{first:?}");
        workspace.set(Path::new("/w/a.yaml"), format!("# moved\n{}", company("acme")));
        let moved = messages(&workspace.judge(noon()));
        assert!(moved[1].1.contains("is at a.yaml:4:18"), "{moved:?}");
    }

    #[test]
    fn nothing_is_said_until_a_cluster_has_answered() {
        let mut workspace = workspace(&[("/w/b.yaml", &person("bob", "acme"))]);
        workspace.judge(noon());
        let asked = workspace.ask();
        assert_eq!(asked.len(), 1);
        assert_eq!(messages(&workspace.judge(noon())), [("/w/b.yaml".to_owned(), String::new())]);
        assert!(workspace.ask().is_empty() && workspace.names("crm.milo.io", "Company").is_empty());
        let missing = asked.iter().map(|target| (target.clone(), Fact::Missing { suggestion: None }));
        workspace.answer(missing.collect::<Vec<_>>());
        assert!(messages(&workspace.judge(noon()))[0].1.contains("no Company of that name"));
        // Asked again, the old answer holds until the new one is there.
        workspace.doubt();
        assert_eq!(workspace.ask(), asked);
        assert!(workspace.judge(noon()).is_empty() && workspace.ask().is_empty());
        workspace.answer(asked.into_iter().map(|target| (target, Fact::Exists)));
        assert_eq!(messages(&workspace.judge(noon())), [("/w/b.yaml".to_owned(), String::new())]);
        assert_eq!(workspace.names("crm.milo.io", "Company").keys().collect::<Vec<_>>(), ["acme"]);
    }

    #[test]
    fn a_finding_is_repaired_in_every_way_that_fits() {
        let text = person("bob", "acme-crop").replace("displayName: A", "displayName: A, jobTitel: x");
        let mut workspace = workspace(&[("/w/a.yaml", &company("acme-corp")), ("/w/b.yaml", &text)]);
        let checked = workspace.judge(noon());
        let path = Path::new("/w/b.yaml");
        let texts: Vec<String> = checked[1]
            .findings
            .iter()
            .map(|marked| workspace.suggested(path, marked).unwrap().text)
            .collect();
        assert!(texts.iter().any(|text| text.contains("jobTitle: x")), "{texts:?}");
        assert!(texts.iter().any(|text| text.contains("{name: acme-corp}")), "{texts:?}");
        let suppressed = workspace.suppressed(path, &checked[1].findings[0]).unwrap().text;
        assert!(suppressed.contains("\n# crm-admission: ignore schema: \nspec:"), "{suppressed}");
    }

    #[test]
    fn objects_without_a_name_are_no_targets() {
        let workspace =
            workspace(&[("/w/a.yaml", "apiVersion: v1\nkind: A\nmetadata: {generateName: a-}\n")]);
        let objects: Vec<&Object> = workspace.existing().collect();
        assert_eq!((objects.len(), Key::of(objects[0])), (1, None));
    }
}
