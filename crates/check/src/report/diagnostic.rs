//! One diagnostic with its place, for all commands and formats.

use std::fmt;

use crm_core::api::limits;
use crm_core::catalog::{Action, ReportedRule};
use crm_core::characters::printable;
use crm_core::quote::quote_truncated;
use crm_core::rules::Finding;
use crm_manifest::ReadError;

use super::excerpt::Excerpt;
use super::lasting::Lasting;

/// A finding about one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Its place in a file; `None` for a stored object.
    pub place: Option<Place>,
    /// The kind of the object, as written.
    pub kind: String,
    /// The name of the object, or its `generateName`; empty if it has neither.
    pub name: String,
    /// The leaf field, such as `spec.domains[1]`.
    pub field: String,
    /// The rule.
    pub rule: ReportedRule,
    /// The reason code, if the rule has several.
    pub code: Option<&'static str>,
    /// The action in the cluster.
    pub action: Action,
    /// The problem and the fix, in the words of a status cause of the webhook.
    pub message: String,
    /// What stays when lines move; `None` if no baseline is about it.
    pub lasting: Option<Lasting>,
}

/// A finding that a comment in its file suppresses. The cluster knows no suppressions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suppressed {
    /// The finding.
    pub finding: Diagnostic,
    /// The reason that the comment gives; empty if it gives none.
    pub reason: String,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The path as given or found, with `/` between its parts; `-` for standard input.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in Unicode characters.
    pub column: usize,
    /// What the object was rendered from: the Helm template according to the `# Source:` comment of the document; or the
    /// directories that kustomize has built, if the object does not stand in the file so.
    pub rendered_from: Option<String>,
    /// What is there.
    pub excerpt: Excerpt,
}

/// A file that cannot be read or written, or a part of one that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputError {
    /// As in [`Place::file`].
    pub file: String,
    /// What failed.
    pub access: Access,
    /// Line and column, both from 1; `None` if the problem is with the whole file.
    pub position: Option<(usize, usize)>,
    /// The problem.
    pub message: String,
    /// What is at the position.
    pub excerpt: Option<Excerpt>,
}

/// What fails on a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading.
    Read,
    /// Writing its fixed text.
    Write,
}

impl Diagnostic {
    /// A finding about an object of this kind and name.
    pub fn new(place: Option<Place>, kind: &str, name: &str, finding: &Finding) -> Self {
        Self {
            place,
            kind: kind.to_owned(),
            name: name.to_owned(),
            field: finding.field.to_string(),
            rule: finding.rule.into(),
            code: finding.code,
            action: finding.action,
            message: finding.message(),
            lasting: None,
        }
    }

    /// The rule, and the reason code if it has one: `domain/bad-label`.
    pub fn rule_and_code(&self) -> String {
        match self.code {
            Some(code) => format!("{}/{code}", self.rule),
            None => self.rule.to_string(),
        }
    }

    /// `Company/acme`, printable.
    pub fn object(&self) -> String {
        joined([&self.kind, &self.name], '/')
    }

    /// `companies.yaml:7:5`, printable; empty for a stored object.
    pub(super) fn position(&self) -> String {
        self.place.as_ref().map(Place::position).unwrap_or_default()
    }

    /// `Company "acme": spec.domains[1]: …`, on one printable line.
    pub(super) fn sentence(&self) -> String {
        let mut sentence = printable(&self.kind);
        if !self.name.is_empty() {
            sentence.push(' ');
            sentence.push_str(&printable(&quote_truncated(&self.name, limits::NAME)));
        }
        if !self.field.is_empty() {
            sentence.push_str(": ");
            sentence.push_str(&printable(&self.field));
        }
        if !sentence.is_empty() {
            sentence.push_str(": ");
        }
        sentence.push_str(&printable(&self.message));
        sentence.push_str(&printable(&self.origin()));
        sentence
    }

    /// `companies.yaml:7:5: Company "acme": …`, on one printable line.
    pub(super) fn located(&self) -> String {
        match &self.place {
            Some(place) => format!("{}: {}", place.position(), self.sentence()),
            None => self.sentence(),
        }
    }

    /// What the object was rendered from in parentheses, as the end of a sentence; empty if it stands in the file.
    pub(super) fn origin(&self) -> String {
        let source = self.place.as_ref().and_then(|place| place.rendered_from.as_ref());
        source.map(|source| format!(" (from {source})")).unwrap_or_default()
    }

    /// `Company/acme/spec.domains[1]`.
    pub(super) fn qualified_name(&self) -> String {
        let parts = [&self.kind, &self.name, &self.field];
        parts.into_iter().filter(|part| !part.is_empty()).map(String::as_str).collect::<Vec<_>>().join("/")
    }
}

fn joined<const N: usize>(parts: [&str; N], separator: char) -> String {
    let mut joined = String::new();
    for part in parts.into_iter().filter(|part| !part.is_empty()) {
        if !joined.is_empty() {
            joined.push(separator);
        }
        joined.push_str(&printable(part));
    }
    joined
}

impl Place {
    fn position(&self) -> String {
        position(&self.file, Some((self.line, self.column)))
    }
}

impl InputError {
    /// `companies.yaml:7:5`, or only the file, printable.
    pub(super) fn position(&self) -> String {
        position(&self.file, self.position)
    }
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.position(), printable(&self.message))
    }
}

impl std::error::Error for InputError {}

impl From<ReadError> for InputError {
    fn from(error: ReadError) -> Self {
        let file = error.file();
        match error {
            ReadError::Io { source, .. } => {
                let message = format!("cannot be read: {source}");
                Self { file, access: Access::Read, position: None, message, excerpt: None }
            }
            ReadError::Syntax { fault, .. } => {
                let position = Some((fault.line, fault.column));
                Self { file, access: Access::Read, position, message: fault.message, excerpt: None }
            }
        }
    }
}

/// `companies.yaml:7:5`, printable.
pub(super) fn position(file: &str, position: Option<(usize, usize)>) -> String {
    match position {
        Some((line, column)) => format!("{}:{line}:{column}", printable(file)),
        None => printable(file),
    }
}

/// The path as other tools write it, without `./` at its start.
pub(super) fn plain_path(file: &str) -> &str {
    file.strip_prefix("./").unwrap_or(file)
}
