//! Fixes the values of a bundle: plans the new text of each file.

pub mod file;
#[cfg(test)]
mod tests;

use crm_manifest::edit::{self, Edited};
use rayon::prelude::*;

use super::bundle::{Bundle, File};
use super::judge::Judge;
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
    let suppressions = file.suppressions();
    let changes: Vec<Vec<edit::Change>> = file
        .input
        .documents()
        .iter()
        .zip(&file.objects)
        .map(|(document, objects)| {
            let of_object = |object| {
                let changes = judge.fixes(document, object, &suppressions).into_iter();
                changes.map(|change| change.below(&object.place)).collect::<Vec<_>>()
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
