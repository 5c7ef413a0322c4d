//! Fixes the values of a bundle: plans the new text of each file.

pub mod file;
#[cfg(test)]
mod tests;

use crm_core::rules::Change;
use crm_manifest::Document;
use crm_manifest::edit::{self, Edited};
use rayon::prelude::*;

use super::bundle::{Bundle, File, Object};
use super::judge::{Judge, steps};
use file::{Outside, Rewritten};

/// The changes of one bundle.
#[derive(Clone, Debug, Default)]
pub struct Fixes {
    /// The files to write.
    pub rewritten: Vec<Rewritten>,
    /// The files that would change but are outside of the given paths.
    pub outside: Vec<Outside>,
}

/// Plans the changes that make all values canonical, if possible, but those whose findings a comment suppresses. The
/// bundle and the files stay as they are.
pub fn fix(bundle: &Bundle, judge: &Judge) -> Fixes {
    let planned: Vec<(&File, Edited)> =
        bundle.files.par_iter().filter_map(|file| Some((file, edited(file, judge)?))).collect();
    let mut fixes = Fixes::default();
    for (file, edited) in planned {
        match (file.input.is_outside, &file.input.real) {
            (true, Some(target)) => {
                fixes.outside.push(Outside { name: file.input.name.clone(), target: target.clone() });
            }
            _ => fixes.rewritten.push(Rewritten::new(&file.input, edited)),
        }
    }
    fixes
}

fn edited(file: &File, judge: &Judge) -> Option<Edited> {
    selected(file, judge, |_, _, _| true)
}

/// The file with those changes for which `wanted` is true, given the document, the object and the change.
pub(super) fn selected(
    file: &File,
    judge: &Judge,
    wanted: impl Fn(&Document, &Object, &Change) -> bool,
) -> Option<Edited> {
    let suppressions = file.suppressions();
    let changes: Vec<Vec<edit::Change>> = file
        .input
        .documents()
        .iter()
        .zip(&file.objects)
        .map(|(document, objects)| {
            let of_object = |object: &Object| {
                let changes = judge.fixes(document, object, &suppressions).into_iter();
                let changes = changes.filter(|change| wanted(document, object, change));
                changes.map(|change| edit_of(object, change)).collect::<Vec<_>>()
            };
            objects.iter().flat_map(of_object).collect()
        })
        .collect();
    if changes.iter().all(Vec::is_empty) {
        return None;
    }
    let edited = edit::edit(&file.input, &changes);
    (edited.count > 0).then_some(edited)
}

/// The change of a field as one of its document.
fn edit_of(object: &Object, change: Change) -> edit::Change {
    edit::Change { path: steps(&change.field), value: change.after }.below(&object.place)
}
