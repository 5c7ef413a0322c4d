//! Fixes the values of a bundle: plans the new text of each file.

pub mod file;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crm_manifest::Step;
use crm_manifest::edit::{self, Edited};
use rayon::prelude::*;

use super::bundle::Bundle;
use super::file::{File, Placed};
use super::judge::Judge;
use file::{Outside, Rewritten};

/// The changes of one bundle.
#[derive(Clone, Debug, Default)]
pub struct Fixes {
    /// The files to write.
    pub rewritten: Vec<Rewritten>,
    /// The files that would change but are outside of the given paths.
    pub outside: Vec<Outside>,
    /// The number of values that would change but stand in no file: kustomize has patched or generated them.
    pub rendered: usize,
}

/// Plans the changes that make all values canonical, if possible, but those whose findings a comment suppresses. The
/// bundle and the files stay as they are.
pub fn fix(bundle: &Bundle, judge: &Judge) -> Fixes {
    let mut by_file: HashMap<&str, Vec<Placed<'_>>> = HashMap::new();
    for placed in bundle.objects() {
        by_file.entry(&placed.file.input.name).or_default().push(placed);
    }
    let planned: Vec<(&File, Plan)> = bundle
        .files
        .par_iter()
        .filter_map(|file| {
            Some((file, Plan::new(file, by_file.get(file.input.name.as_str())?, judge, |_, _| true)))
        })
        .collect();
    let mut fixes = Fixes::default();
    for (file, plan) in planned {
        fixes.rendered += plan.rendered;
        match (plan.edited, file.input.is_outside, &file.input.real) {
            (None, ..) => {}
            (Some(_), true, Some(target)) => {
                let (name, target) = (file.input.name.clone(), target.clone());
                fixes.outside.push(Outside { name, target, is_link: !file.is_extra });
            }
            (Some(edited), ..) => fixes.rewritten.push(Rewritten::new(&file.input, edited)),
        }
    }
    fixes
}

/// The file with those changes for which `wanted` is true, given the index of the document and the path in it.
pub(super) fn selected(
    file: &File,
    judge: &Judge,
    wanted: impl Fn(usize, &[Step]) -> bool,
) -> Option<Edited> {
    let objects: Vec<Placed<'_>> = file.objects().filter(|_| file.is_judged()).collect();
    Plan::new(file, &objects, judge, wanted).edited
}

/// The changes of one file.
struct Plan {
    edited: Option<Edited>,
    /// As in [`Fixes::rendered`].
    rendered: usize,
}

impl Plan {
    /// The changes for which `wanted` is true, given the index of the document and the path in it.
    fn new(
        file: &File,
        objects: &[Placed<'_>],
        judge: &Judge,
        wanted: impl Fn(usize, &[Step]) -> bool,
    ) -> Self {
        let suppressions = file.suppressions();
        // Several builds can render the same object, so each change is planned once.
        let mut planned: Vec<BTreeMap<Vec<Step>, edit::Change>> =
            vec![BTreeMap::new(); file.input.documents().len()];
        let mut rendered = BTreeSet::new();
        for placed in objects {
            let document = placed.document_index;
            for change in judge.fixes(placed, &suppressions) {
                let change_there = change.clone().below(&placed.object.place);
                if !wanted(document, &change_there.path) {
                    continue;
                }
                match planned.get_mut(document) {
                    Some(changes) if placed.stands(list_of(&change.path)) => {
                        changes.entry(change_there.path.clone()).or_insert(change_there);
                    }
                    _ => drop(rendered.insert((document, change_there.path, change_there.value))),
                }
            }
        }
        let changes: Vec<Vec<edit::Change>> =
            planned.into_iter().map(|changes| changes.into_values().collect()).collect();
        let is_changed = changes.iter().any(|changes| !changes.is_empty());
        let edited = is_changed.then(|| edit::edit(&file.input, &changes)).filter(|edited| edited.count > 0);
        Self { edited, rendered: rendered.len() }
    }
}

/// The path of the list that an entry is in; that of the value itself, if it is in no list. An entry stands in its file only
/// if the whole list does.
fn list_of(path: &[Step]) -> &[Step] {
    match path {
        [list @ .., Step::Index(_)] => list,
        _ => path,
    }
}
