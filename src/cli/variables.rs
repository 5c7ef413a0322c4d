//! Reads the variables of `--var`, and of its environment variable, which can hold several.

use std::collections::BTreeMap;
use std::ffi::OsStr;

use clap::builder::TypedValueParser;
use clap::parser::ValueSource;
use clap::{Arg, Command};
use crm_core::api::names::{NEAR_MISS, nearest};
use crm_core::quote::quote;
use crm_manifest::Variables;

/// One `NAME=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Assignment {
    name: String,
    value: String,
}

/// Those of one flag, or of the environment variable.
pub(super) type Assignments = Vec<Assignment>;

/// Reads one `NAME=VALUE`.
///
/// # Errors
/// What is wrong, and what was probably meant.
pub(super) fn parse(text: &str) -> Result<Assignment, String> {
    let Some((name, value)) = text.split_once('=') else {
        let name = if Variables::is_name(text) { text } else { "NAME" };
        return Err(format!("it has no value; write --var {name}=VALUE"));
    };
    check_name(name)?;
    Ok(Assignment { name: name.to_owned(), value: value.to_owned() })
}

/// Checks the name of a variable.
///
/// # Errors
/// What is wrong, and what was probably meant.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    if Variables::is_name(name) {
        return Ok(());
    }
    let bare = name.trim().trim_start_matches('$').trim_start_matches('{').trim_end_matches('}');
    let meant: String = bare.chars().map(|c| if matches!(c, '-' | '.' | ' ') { '_' } else { c }).collect();
    let advice = if Variables::is_name(&meant) {
        format!("did you mean {}?", quote(&meant))
    } else {
        "it consists of letters, digits and _, and does not start with a digit".to_owned()
    };
    Err(format!("{} cannot be the name of a variable: {advice}", quote(name)))
}

/// The variables of the configuration file, and those that are given, which replace them.
pub(super) fn collect(of_file: &BTreeMap<String, String>, given: &[&Assignment]) -> Variables {
    let mut variables = Variables::default();
    for (name, value) in of_file {
        variables.set(name, value);
    }
    for Assignment { name, value } in given {
        variables.set(name, value);
    }
    variables
}

/// Reads the value of `--var` or of its environment variable. Only in the latter, a comma before another `NAME=` separates
/// several.
#[derive(Clone, Debug)]
pub(super) struct Parser;

impl TypedValueParser for Parser {
    type Value = Assignments;

    fn parse_ref(
        &self,
        command: &Command,
        flag: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Self::Value, clap::Error> {
        parse.parse_ref(command, flag, value).map(|one| vec![one])
    }

    fn parse_ref_(
        &self,
        command: &Command,
        flag: Option<&Arg>,
        value: &OsStr,
        source: ValueSource,
    ) -> Result<Self::Value, clap::Error> {
        let one = parse.parse_ref(command, flag, value)?;
        Ok(if source == ValueSource::EnvVariable { split(&one) } else { vec![one] })
    }
}

fn split(one: &Assignment) -> Assignments {
    let mut split: Assignments = Vec::new();
    for part in format!("{}={}", one.name, one.value).split(',') {
        match (parse(part), split.last_mut()) {
            (Ok(assignment), _) => split.push(assignment),
            (Err(_), Some(last)) => last.value.extend([",", part]),
            (Err(_), None) => {}
        }
    }
    split
}

/// Notes about given variables that no value uses, but that are probably meant to be unknown ones.
pub(super) fn misspelled<'n>(
    given: &[&Assignment],
    used: impl Iterator<Item = &'n str> + Clone,
    unknown: impl Iterator<Item = &'n str> + Clone,
) -> Vec<String> {
    let note = |Assignment { name, .. }: &&Assignment| {
        if used.clone().any(|used| used == name) {
            return None;
        }
        let meant = nearest(unknown.clone(), name, NEAR_MISS)?;
        Some(format!("no value uses the variable {name}; did you mean {meant}?"))
    };
    given.iter().filter_map(note).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assignment(name: &str, value: &str) -> Assignment {
        Assignment { name: name.to_owned(), value: value.to_owned() }
    }

    #[test]
    fn an_assignment_has_a_name_and_a_value() {
        assert_eq!(parse("A=b=c,d"), Ok(assignment("A", "b=c,d")));
        assert_eq!(parse("A="), Ok(assignment("A", "")));
        let cases = [
            ("DOMAIN", "it has no value; write --var DOMAIN=VALUE"),
            ("acme.com", "it has no value; write --var NAME=VALUE"),
            (
                "=b",
                "\"\" cannot be the name of a variable: it consists of letters, digits and _, and does not start with a digit",
            ),
            ("${A}=b", "\"${A}\" cannot be the name of a variable: did you mean \"A\"?"),
            ("my-name=b", "\"my-name\" cannot be the name of a variable: did you mean \"my_name\"?"),
            (
                "1=b",
                "\"1\" cannot be the name of a variable: it consists of letters, digits and _, and does not start with a digit",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), Err(expected.to_owned()));
        }
    }

    #[test]
    fn commas_separate_assignments_but_not_parts_of_a_value() {
        let expected = [assignment("A", "x,y"), assignment("B", "1"), assignment("C", "[a, b]")];
        assert_eq!(split(&assignment("A", "x,y,B=1,C=[a, b]")), expected);
    }
}
