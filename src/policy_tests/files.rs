//! Finds the tests in files.

use std::path::PathBuf;

use crm_check::report::{Access, InputError};
use crm_core::api::names::{NEAR_MISS, nearest};
use crm_core::api::{group_of, policy as policy_kind};
use crm_core::policy::Problem;
use crm_core::quote::quote;
use crm_manifest::{Input, Inputs, ReadError, Walk, unfold};
use serde_json::Value;

use super::document::{self, KIND, api_version};
use super::place::Placed;
use super::suite::Suite;

/// The tests in files.
#[derive(Default)]
pub struct Tests {
    pub(super) suites: Vec<Suite>,
    /// What cannot be read, and every problem of an invalid test.
    pub(super) errors: Vec<InputError>,
    /// The number of files that were read.
    pub(super) files: usize,
    /// The number of documents of other kinds.
    pub(super) other: usize,
    /// The names of the directories given in which every manifest was left out.
    pub left_out: Vec<String>,
}

/// Reads files, directories and, for `-`, standard input, without what `walk` leaves out. `on_file` is called after each
/// file.
///
/// # Errors
/// The only path given cannot be read. If there are others, its error is part of the results.
pub fn read(paths: &[PathBuf], walk: &Walk, on_file: &(dyn Fn() + Sync)) -> Result<Tests, ReadError> {
    let Inputs { inputs, errors, left_out, .. } = crm_manifest::read(paths, &[], walk, on_file)?;
    let errors = errors.into_iter().map(InputError::from).collect();
    let mut tests = Tests { errors, left_out, files: inputs.len(), ..Tests::default() };
    inputs.iter().for_each(|input| tests.add(input));
    Ok(tests)
}

/// What an object is for the tests.
enum Matter {
    Test,
    /// An object of another kind.
    Other,
    /// It looks like a test and is none.
    Misspelled(Problem),
}

impl Tests {
    fn add(&mut self, input: &Input) {
        let (before, errors) = (self.suites.len(), self.errors.len());
        let syntax = input
            .errors()
            .iter()
            .map(|error| of_file(input, Some((error.line, error.column)), error.message.clone()));
        self.errors.extend(syntax);
        for document in input.documents() {
            let (objects, not_objects) = unfold(document);
            self.errors.extend(not_objects.iter().map(|not| {
                of_file(input, Some(input.text().line_and_column(not.at)), not.message.to_owned())
            }));
            for object in &objects {
                let placed = Placed { input, document, object };
                match matter(&object.value) {
                    Matter::Other => self.other += 1,
                    Matter::Misspelled(problem) => self.errors.push(placed.error(&problem)),
                    Matter::Test => match document::read(&placed) {
                        Ok(suite) => self.suites.push(suite),
                        Err(errors) => self.errors.extend(errors),
                    },
                }
            }
        }
        let is_named = input.is_named || input.path.is_none();
        if is_named && (before, errors) == (self.suites.len(), self.errors.len()) {
            let message =
                format!("has no document of kind {KIND}; `policy test --scaffold RECORD` writes one");
            self.errors.push(of_file(input, None, message));
        }
    }
}

fn of_file(input: &Input, position: Option<(usize, usize)>, message: String) -> InputError {
    InputError { file: input.name.clone(), access: Access::Read, position, message, excerpt: None }
}

fn matter(object: &Value) -> Matter {
    let (version, kind) = (object["apiVersion"].as_str(), object["kind"].as_str());
    if kind == Some(KIND) {
        return if version == Some(&api_version()) {
            Matter::Test
        } else {
            let shown = version.map(|version| format!("Unsupported value: {}: ", quote(version)));
            let text = format!("{}must be {}", shown.as_deref().unwrap_or("Required value: "), api_version());
            Matter::Misspelled(Problem { field: "apiVersion".to_owned(), text })
        };
    }
    if group_of(version.unwrap_or_default()) != policy_kind::GROUP || kind == Some(policy_kind::KIND) {
        return Matter::Other;
    }
    let kinds = [KIND, policy_kind::KIND];
    let kind = kind.unwrap_or_default();
    let advice = match nearest(kinds, kind, NEAR_MISS) {
        Some(meant) => format!("did you mean {}?", quote(meant)),
        None => format!("the kinds of this group are {}", kinds.join(" and ")),
    };
    let text = format!("Unsupported value: {}: {advice}", quote(kind));
    Matter::Misspelled(Problem { field: "kind".to_owned(), text })
}
