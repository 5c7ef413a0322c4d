//! Finds the places of problems in a document.

use crm_check::report::{Access, InputError};
use crm_core::policy::Problem;
use crm_manifest::{Document, Input, Object, Step};
use serde_json::Value;

/// How a problem with a field that must not be there starts. Its place is the key.
const FORBIDDEN: &str = "Forbidden: ";

/// One object in a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed<'d> {
    pub(super) input: &'d Input,
    pub(super) document: &'d Document,
    pub(super) object: &'d Object,
}

impl Placed<'_> {
    /// A problem as an error with its place.
    pub(super) fn error(&self, problem: &Problem) -> InputError {
        let found = self.document.tree.find(self.object.root, &steps(&self.object.value, &problem.field));
        let at = match found.key {
            Some(key) if problem.text.starts_with(FORBIDDEN) => key.start,
            _ => found.position,
        };
        InputError {
            file: self.input.name.clone(),
            access: Access::Read,
            position: Some(self.input.text().line_and_column(at)),
            message: problem.to_string(),
            excerpt: None,
        }
    }

    /// Line and column of a field, both from 1.
    pub(super) fn position(&self, field: &str) -> (usize, usize) {
        let found = self.document.tree.find(self.object.root, &steps(&self.object.value, field));
        self.input.text().line_and_column(found.position)
    }
}

/// The steps of a path such as `spec.cases[0].name`. A key may contain dots and brackets itself, so the longest key that
/// exists is taken.
fn steps(value: &Value, path: &str) -> Vec<Step> {
    let (mut at, mut rest, mut steps) = (value, path, Vec::new());
    while !rest.is_empty() {
        let step = match at {
            Value::Array(_) => index(rest),
            Value::Object(fields) => {
                let rest = rest.strip_prefix('.').unwrap_or(rest);
                let after = |key: &str| {
                    rest.strip_prefix(key).filter(|after| after.is_empty() || after.starts_with(['.', '[']))
                };
                let keys = fields.keys().filter(|key| after(key).is_some());
                let known = keys.max_by_key(|key| key.len()).map(String::as_str);
                let name = known.or_else(|| Some(name(rest)).filter(|name| !name.is_empty()));
                name.map(|name| (Step::Name(name.to_owned()), rest.strip_prefix(name).unwrap_or_default()))
            }
            _ => Some((Step::Name(name(rest).to_owned()), "")),
        };
        let Some((step, after)) = step else { break };
        at = match &step {
            Step::Name(name) => &at[name.as_str()],
            Step::Index(index) => &at[*index],
        };
        steps.push(step);
        rest = after;
    }
    steps
}

/// The index at the start of a path, and the rest.
fn index(path: &str) -> Option<(Step, &str)> {
    let (index, after) = path.strip_prefix('[')?.split_once(']')?;
    Some((Step::Index(index.parse().ok()?), after))
}

/// The name at the start of a path.
fn name(path: &str) -> &str {
    let path = path.strip_prefix('.').unwrap_or(path);
    path.split(['.', '[']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::nested("spec.cases[1].name", &["spec", "cases", "1", "name"])]
    #[case::key_with_dots("spec.changes.spec.domains[0]", &["spec", "changes", "spec.domains[0]"])]
    #[case::missing("spec.policy", &["spec", "policy"])]
    #[case::below_what_is_missing("spec.nothing.more", &["spec", "nothing", "more"])]
    #[case::not_an_entry("spec.cases.name", &["spec", "cases"])]
    #[case::not_a_list("spec[0]", &["spec"])]
    #[case::the_document("", &[])]
    fn a_path_leads_to_its_field(#[case] path: &str, #[case] expected: &[&str]) {
        let value = json!({"spec": {
            "cases": [{"name": "a"}, {"name": "b"}], "changes": {"spec.domains[0]": "c", "spec": "d"},
        }});
        let spelled = |step: &Step| match step {
            Step::Name(name) => name.clone(),
            Step::Index(index) => index.to_string(),
        };
        assert_eq!(steps(&value, path).iter().map(spelled).collect::<Vec<_>>(), expected);
    }
}
