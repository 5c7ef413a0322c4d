//! The baseline: a file with the findings that are known, so that only new ones count. It has hashes of values, and no
//! values.

use std::collections::BTreeMap;
use std::fmt::{self, Formatter};
use std::marker::PhantomData;

use crm_core::api::names::{NEAR_MISS, nearest};
use crm_core::catalog::{ReportedRule, RuleId, SUPPRESSION};
use crm_core::quote::quote;
use schemars::{JsonSchema, schema_for};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::diagnostic::Diagnostic;
use super::indented::pretty;

/// The version of the file.
const VERSION: u32 = 1;
/// What to do if a baseline cannot be used.
const WRITE_AGAIN: &str =
    "if this is a baseline, correct it, or delete it and write it again with --write-baseline";

/// The findings that are known. The same finding can be there several times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Baseline(Vec<Entry>);

/// The findings of `crm-admission check` that are known, as `--write-baseline` writes them.
// The order of the fields is the order in which they are written.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Baseline of crm-admission check")]
struct Document {
    /// Changes if programs of other versions cannot read the file.
    #[serde(deserialize_with = "version")]
    #[schemars(extend("const" = VERSION))]
    version: u32,
    /// The findings, sorted. One that is found several times is there as often.
    #[serde(deserialize_with = "entries")]
    findings: Vec<Entry>,
}

/// One known finding.
// The order of the fields is the order in which entries are sorted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Entry {
    /// The id of the rule.
    #[serde(deserialize_with = "rule")]
    #[schemars(with = "String", extend("enum" = rules()))]
    pub(super) rule: String,
    /// The reason code, if the rule has several.
    // With a function of its own, the field is required, even if it can be null.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schemars(with = "Value", extend("type" = ["string", "null"]))]
    pub(super) code: Option<String>,
    /// The kind of the object.
    pub(super) kind: String,
    /// The namespace of the object, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) namespace: Option<String>,
    /// The name of the object, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    /// The field, such as `spec.domains[1]`.
    pub(super) field: String,
    /// The SHA-256 of the value as JSON. A missing value is null.
    #[serde(deserialize_with = "sha256")]
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
    value_sha256: String,
}

/// The findings of a check, compared with a baseline.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    /// The file of the baseline.
    pub file: String,
    /// Of each finding, new or known, in the order of the check, whether it is known.
    pub is_known: Vec<bool>,
    /// The findings in the baseline. They do not count.
    pub known: Vec<Diagnostic>,
    /// What is in the baseline, but is no longer found.
    pub stale: Vec<Entry>,
}

/// A text is not a baseline that this program can use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}; {WRITE_AGAIN}")]
pub struct BadBaseline {
    /// From 1.
    pub line: usize,
    /// From 1.
    pub column: usize,
    /// The problem.
    pub message: String,
}

impl Baseline {
    /// The baseline in which exactly these findings are known.
    pub fn of(findings: &[Diagnostic]) -> Self {
        let mut entries: Vec<Entry> = findings.iter().filter_map(Entry::of).collect();
        entries.sort();
        Self(entries)
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// It is not JSON, not a baseline, or one of another version.
    pub fn parse(text: &str) -> Result<Self, BadBaseline> {
        let at_start = |message: &str| BadBaseline { line: 1, column: 1, message: message.to_owned() };
        if text.starts_with('\u{feff}') {
            return Err(at_start("the file starts with a byte order mark; save it as UTF-8 without one"));
        }
        if text.trim().is_empty() {
            return Err(at_start("the file is empty"));
        }
        match serde_json::from_str::<Object<Document>>(text) {
            Ok(Object(document)) => Ok(Self(document.findings)),
            Err(error) => Err(BadBaseline::from(&error)),
        }
    }

    /// The text of the file, with a line break at its end.
    pub fn text(&self) -> String {
        pretty(&Document { version: VERSION, findings: self.0.clone() })
    }

    /// The number of findings in it.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no finding is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Splits findings into new ones and those that are known. If one is found more often than it is in the baseline, the
    /// last ones are new. `file` is the name of the baseline in reports.
    pub(super) fn compare(&self, file: &str, findings: Vec<Diagnostic>) -> (Vec<Diagnostic>, Compared) {
        let mut left: BTreeMap<&Entry, usize> = BTreeMap::new();
        self.0.iter().for_each(|entry| *left.entry(entry).or_default() += 1);
        let mut is_known = |finding: &Diagnostic| {
            let count = Entry::of(finding).and_then(|entry| left.get_mut(&entry).filter(|count| **count > 0));
            count.is_some_and(|count| {
                *count -= 1;
                true
            })
        };
        let is_known: Vec<bool> = findings.iter().map(&mut is_known).collect();
        let mut marks = is_known.iter();
        let (known, new) = findings.into_iter().partition(|_| marks.next() == Some(&true));
        let stale = left.into_iter().flat_map(|(entry, count)| std::iter::repeat_n(entry.clone(), count));
        let stale = stale.collect();
        (new, Compared { file: file.to_owned(), is_known, known, stale })
    }
}

impl Compared {
    /// All findings in the order of the check, and whether each is known. `new` are those that are not.
    pub(super) fn all<'d>(
        &'d self,
        new: impl IntoIterator<Item = &'d Diagnostic>,
    ) -> impl Iterator<Item = (&'d Diagnostic, bool)> {
        let (mut known, mut new) = (self.known.iter(), new.into_iter());
        self.is_known.iter().filter_map(move |is_known| {
            let finding = if *is_known { known.next() } else { new.next() };
            Some((finding?, *is_known))
        })
    }
}

impl Entry {
    fn of(finding: &Diagnostic) -> Option<Self> {
        let lasting = finding.lasting.as_ref()?;
        Some(Self {
            rule: finding.rule.as_str().to_owned(),
            code: finding.code.map(str::to_owned),
            kind: finding.kind.clone(),
            namespace: lasting.namespace.clone(),
            name: lasting.name.clone(),
            field: finding.field.clone(),
            value_sha256: lasting.value_sha256.clone(),
        })
    }
}

/// The JSON schema of the file, with a line break at its end.
pub fn schema() -> String {
    pretty(&schema_for!(Document))
}

/// The ids that a finding can have.
fn rules() -> Vec<&'static str> {
    RuleId::ALL.map(RuleId::as_str).into_iter().chain([SUPPRESSION.id]).collect()
}

/// What a baseline writes as an object.
trait Described {
    /// What it is, for errors.
    const WHAT: &'static str;
}

impl Described for Document {
    const WHAT: &'static str = "an object with version and findings";
}

impl Described for Entry {
    const WHAT: &'static str = "an object that describes a finding";
}

/// Reads a value from an object only. A derived `Deserialize` also reads an array of the values of all fields.
struct Object<T>(T);

impl<'de, T: Deserialize<'de> + Described> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de> + Described> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(T::WHAT)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

fn entries<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Entry>, D::Error> {
    let entries = Vec::<Object<Entry>>::deserialize(deserializer)?;
    Ok(entries.into_iter().map(|Object(entry)| entry).collect())
}

fn version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let version = Value::deserialize(deserializer)?;
    if version == VERSION {
        return Ok(VERSION);
    }
    Err(D::Error::custom(format!(
        "the baseline has version {version}, and this program reads version {VERSION}"
    )))
}

fn rule<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let id = String::deserialize(deserializer)?;
    if id.parse::<ReportedRule>().is_ok() {
        return Ok(id);
    }
    let advice = nearest(rules(), &id, NEAR_MISS).map(|meant| format!("; did you mean {}?", quote(meant)));
    Err(D::Error::custom(format!("no rule has the id {}{}", quote(&id), advice.unwrap_or_default())))
}

fn sha256<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() == 64 && text.bytes().all(is_digit) {
        return Ok(text);
    }
    Err(D::Error::custom(format!("{} is not a SHA-256 in 64 lower-case hexadecimal digits", quote(&text))))
}

impl From<&serde_json::Error> for BadBaseline {
    fn from(error: &serde_json::Error) -> Self {
        let text = error.to_string();
        // The error has its position at its end.
        let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
        Self { line: error.line().max(1), column: error.column().max(1), message: message.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::super::lasting::Lasting;
    use super::super::samples;
    use super::*;

    /// The findings of the samples, of which the first two are about the same value, in the order of the files.
    fn findings() -> Vec<Diagnostic> {
        let mut findings = samples::report().findings;
        findings.insert(1, findings[0].clone());
        for finding in &mut findings {
            let name = Some(finding.name.clone()).filter(|name| !name.is_empty());
            let lasting = Lasting { name, ..Lasting::default() };
            finding.lasting = Some(lasting.with_value(&json!(finding.message)));
        }
        findings
    }

    #[test]
    fn a_baseline_is_sorted_and_has_no_values() {
        let mut findings = findings();
        findings.reverse();
        let text = Baseline::of(&findings).text();
        insta::assert_snapshot!(text);
        assert_eq!(Baseline::parse(&text).unwrap(), Baseline::of(&findings));
        assert!(!text.contains("a_b.com"), "{text}");
    }

    #[test]
    fn a_baseline_fits_its_schema() {
        let schema = serde_json::from_str(&schema()).unwrap();
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        let value = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let hash = "0".repeat(64);
        for findings in [&findings()[..], &[]] {
            assert!(validator.is_valid(&value(&Baseline::of(findings).text())));
        }
        for text in [
            r#"{"version": 2, "findings": []}"#,
            r#"{"version": 1, "findings": [], "more": 1}"#,
            r#"{"version": 1, "findings": [{"rule": "no", "code": null, "kind": "", "field": "", "valueSha256": ""}]}"#,
            "[1, []]",
            &format!(
                r#"{{"version": 1, "findings": [["domain", null, "Company", null, null, "", "{hash}"]]}}"#
            ),
            &format!(
                r#"{{"version": 1, "findings": [{{"rule": "domain", "kind": "", "field": "", "valueSha256": "{hash}"}}]}}"#
            ),
        ] {
            assert!(!validator.is_valid(&value(text)) && Baseline::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_found_again_is_known_as_often_as_it_is_in_the_baseline() {
        let all = findings();
        let baseline = Baseline::of(&all);
        let (new, compared) = baseline.compare("b.json", all.clone());
        assert_eq!((new, compared.known, compared.stale), (vec![], all.clone(), vec![]));
        // One of two is fixed.
        let (new, compared) = baseline.compare("b.json", all[1..].to_vec());
        assert_eq!((new.len(), compared.known.len()), (0, 3));
        assert_eq!(compared.stale, Baseline::of(&all[..1]).0);
        // There is one more.
        let (new, compared) = Baseline::of(&all[1..]).compare("b.json", all.clone());
        assert_eq!((new, compared.known.len(), compared.stale), (all[1..2].to_vec(), 3, vec![]));
    }

    #[rstest]
    #[case::value(|finding: &mut Diagnostic| finding.lasting = Some(Lasting { name: Some(finding.name.clone()), ..Lasting::default() }.with_value(&json!("b"))))]
    #[case::namespace(|finding: &mut Diagnostic| finding.lasting.as_mut().unwrap().namespace = Some("b".to_owned()))]
    #[case::name(|finding: &mut Diagnostic| finding.lasting.as_mut().unwrap().name = Some("b".to_owned()))]
    #[case::field(|finding: &mut Diagnostic| finding.field = "spec.domains[2]".to_owned())]
    #[case::kind(|finding: &mut Diagnostic| finding.kind = "Person".to_owned())]
    #[case::rule(|finding: &mut Diagnostic| finding.rule = RuleId::DomainHint.into())]
    #[case::code(|finding: &mut Diagnostic| finding.code = None)]
    fn another_finding_is_new(#[case] change: fn(&mut Diagnostic)) {
        let baseline = Baseline::of(&findings()[..1]);
        let mut found = findings()[..1].to_vec();
        change(&mut found[0]);
        let (new, compared) = baseline.compare("b.json", found.clone());
        assert_eq!((new, compared.known.len(), compared.stale.len()), (found, 0, 1));
    }

    #[test]
    fn the_line_the_message_and_the_action_do_not_matter() {
        let baseline = Baseline::of(&findings()[..1]);
        let mut found = findings()[..1].to_vec();
        found[0].place = None;
        found[0].message = "b".to_owned();
        found[0].action = crm_core::catalog::Action::Audit;
        assert_eq!(baseline.compare("b.json", found).0, []);
    }

    #[rstest]
    #[case::empty("", "1:1: the file is empty")]
    #[case::blank(" \n", "1:1: the file is empty")]
    #[case::byte_order_mark("\u{feff}{}", "1:1: the file starts with a byte order mark")]
    #[case::no_json("version: 1\n", "1:1: expected value")]
    #[case::conflict("{\n<<<<<<< ours\n", "2:1: key must be a string")]
    #[case::no_baseline("[]", "1:1: invalid type: sequence, expected an object with version and findings")]
    #[case::array("[1, []]", "1:1: invalid type: sequence, expected an object with version and findings")]
    #[case::finding_as_array(
        "{\"version\": 1, \"findings\": [[\"domain\"]]}",
        "1:28: invalid type: sequence, expected an object that describes a finding"
    )]
    #[case::no_finding(
        "{\"version\": 1, \"findings\": [7]}",
        "1:29: invalid type: integer `7`, expected an object that describes a finding"
    )]
    #[case::version(
        "{\"version\": 2, \"findings\": []}",
        "1:13: the baseline has version 2, and this program reads version 1"
    )]
    #[case::version_as_string(
        "{\"version\": \"1\", \"findings\": []}",
        "1:15: the baseline has version \"1\", and this"
    )]
    #[case::without_version("{\"findings\": []}", "1:16: missing field `version`")]
    #[case::unknown_field(
        "{\"version\": 1, \"finding\": []}",
        "1:24: unknown field `finding`, expected `version` or `findings`"
    )]
    #[case::unknown_rule(
        "{\"version\": 1, \"findings\": [{\"rule\": \"domian\"}]}",
        "1:46: no rule has the id \"domian\"; did you mean \"domain\"?"
    )]
    #[case::hash(
        "{\"version\": 1, \"findings\": [{\"rule\": \"domain\", \"valueSha256\": \"1\"}]}",
        "1:66: \"1\" is not a SHA-256"
    )]
    #[case::more("{\"version\": 1, \"findings\": []} {}", "1:32: trailing characters")]
    fn a_mistake_is_an_error_with_its_place(#[case] text: &str, #[case] expected: &str) {
        let error = Baseline::parse(text).unwrap_err().to_string();
        assert!(error.starts_with(expected) && error.ends_with(WRITE_AGAIN), "{error}");
    }
}
