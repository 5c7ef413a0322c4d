//! Replaces the variables in an object as Flux does, and knows what in it depends on unknown variables.

use std::collections::BTreeMap;

use crm_core::catalog::{Action, RuleId};
use crm_core::links::SUBJECT;
use crm_core::rules::{FieldPath, Finding, Reason, Reference, Shown};
use crm_manifest::{Expansion, Holder, Step, Variables, has_variables, reread};
use serde_json::{Map, Value};

use super::steps::{path, steps};

/// The label or annotation with which Flux replaces nothing in an object.
const SUBSTITUTE: &str = "kustomize.toolkit.fluxcd.io/substitute";
const DISABLED: &str = "disabled";
/// What stands in a spec for an unknown value: no rule takes it for a valid value, or for one that is there twice.
const HOLE: &str = "${}";

/// What became of the values of an object that hold variables. Paths are those of the object with the variables replaced.
#[derive(Clone, Debug, Default)]
pub(super) struct Substitution {
    values: BTreeMap<Vec<Step>, Replaced>,
    /// The fields whose keys hold variables.
    keys: BTreeMap<Vec<Step>, Key>,
}

/// What became of one value.
#[derive(Clone, Debug)]
enum Replaced {
    /// The value is known.
    Known(Expansion),
    /// A variable is unknown, or an expression is not evaluated.
    Unknown(Expansion),
    /// Flux cannot read the result, for this reason.
    Unreadable(Expansion, String),
}

/// A key with variables.
#[derive(Clone, Debug)]
struct Key {
    /// As it is in the file.
    written: String,
    expansion: Expansion,
}

impl Substitution {
    /// Replaces the variables in an object.
    pub(super) fn new(object: &mut Value, variables: &Variables) -> Self {
        let mut substitution = Self::default();
        if holds_variables(object) && !is_disabled(object) {
            let mut walk = Walk { variables, substitution: &mut substitution };
            walk.of(object, &mut Vec::new(), Holder::Map);
        }
        substitution
    }

    /// The path in the file of what is at this path after the variables are replaced. The path of a value in a list that
    /// a variable holds is that of the variable.
    pub(super) fn written(&self, path: &[Step]) -> Vec<Step> {
        let length = (0..=path.len()).find(|length| self.values.contains_key(upto(path, *length)));
        let path = upto(path, length.unwrap_or(path.len()));
        let step = |(index, step): (usize, &Step)| match self.keys.get(upto(path, index + 1)) {
            Some(key) => Step::Name(key.written.clone()),
            None => step.clone(),
        };
        path.iter().enumerate().map(step).collect()
    }

    /// Whether a value is from a variable, even if it is known. Then it may be another one in another place.
    pub(super) fn holds(&self, path: &[Step]) -> bool {
        self.at(path).is_some() || self.key_above(path).is_some()
    }

    /// Whether the value at this path, or a part of it, is unknown or unreadable.
    pub(super) fn hides(&self, path: &[Step]) -> bool {
        let is_part = |other: &[Step]| other.starts_with(path) || path.starts_with(other);
        let hidden = self.values.iter().filter(|(_, replaced)| !matches!(replaced, Replaced::Known(_)));
        let hidden = hidden.map(|(path, _)| path.as_slice());
        hidden.chain(self.open_keys().map(|(path, _)| path)).any(is_part)
    }

    /// Whether the values at, above and below this path are from the same variables as those of another object.
    pub(super) fn agrees(&self, other: &Self, path: &[Step]) -> bool {
        self.around(path).eq(other.around(path))
    }

    /// Takes what another object has at this path and below it.
    pub(super) fn take(&mut self, other: &Self, path: &[Step]) {
        self.values.retain(|place, _| !place.starts_with(path));
        self.keys.retain(|place, _| !place.starts_with(path));
        let values = other.values.iter().filter(|(place, _)| place.starts_with(path));
        self.values.extend(values.map(|(place, replaced)| (place.clone(), replaced.clone())));
        let keys = other.keys.iter().filter(|(place, _)| place.starts_with(path));
        self.keys.extend(keys.map(|(place, key)| (place.clone(), key.clone())));
    }

    /// The values and the keys at, above and below this path.
    fn around(&self, path: &[Step]) -> impl Iterator<Item = (&[Step], &Expansion)> {
        let values = self.values.iter().map(|(place, replaced)| (place.as_slice(), replaced.expansion()));
        let keys = self.keys.iter().map(|(place, key)| (place.as_slice(), &key.expansion));
        values.chain(keys).filter(move |(place, _)| place.starts_with(path) || path.starts_with(place))
    }

    /// The unknown values and keys, with their paths.
    pub(super) fn unknown(&self) -> impl Iterator<Item = (&[Step], &Expansion)> {
        let values = self.values.iter().filter_map(|(path, replaced)| match replaced {
            Replaced::Unknown(expansion) => Some((path.as_slice(), expansion)),
            Replaced::Known(_) | Replaced::Unreadable(..) => None,
        });
        values.chain(self.open_keys())
    }

    /// All variables of the object that a value depends on.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let of_values = self.values.values().map(Replaced::expansion);
        let of_keys = self.keys.values().map(|key| &key.expansion);
        of_values.chain(of_keys).flat_map(|expansion| &expansion.names).map(String::as_str)
    }

    /// The expansion of the unknown value at this path or above it.
    pub(super) fn unknown_at(&self, path: &[Step]) -> Option<&Expansion> {
        match self.at(path)? {
            (_, Replaced::Unknown(expansion)) => Some(expansion),
            _ => None,
        }
    }

    /// Whether all fields of a reference are known.
    pub(super) fn shows(&self, reference: &Reference) -> bool {
        let field = reference.field();
        let parent = field.split_last().map_or_else(|| field.clone(), |(parent, _)| parent);
        !self.hides(&steps(&parent))
    }

    /// Leaves out the findings that depend on unknown values, says of the others which variables their values come from,
    /// and adds one for each value that Flux cannot read. `action` is that of the rule `schema`.
    pub(super) fn judged(&self, findings: Vec<Finding>, action: Action) -> Vec<Finding> {
        if self.values.is_empty() && self.keys.is_empty() {
            return findings;
        }
        let known = findings.into_iter().filter(|finding| !self.is_open(finding));
        let known = known.map(|finding| self.with_origin(finding));
        known.chain(self.unreadable(action)).collect()
    }

    /// Whether a finding depends on a value that is unknown or unreadable.
    fn is_open(&self, finding: &Finding) -> bool {
        let path = steps(&finding.field);
        let is_unknown_field = finding.rule == RuleId::Schema && finding.reason == Reason::Forbidden;
        let hidden = self.at(&path).is_some_and(|(depth, replaced)| {
            // A field is unknown whatever its value is.
            let is_about_key = is_unknown_field && depth == path.len();
            !is_about_key && !matches!(replaced, Replaced::Known(_))
        });
        // The missing field can be the one with the unknown key.
        let can_be_given = |(key, _): (&[Step], _)| {
            key.split_last().is_some_and(|(_, map)| path.len() > map.len() && path.starts_with(map))
        };
        let given = finding.reason == Reason::Required && self.open_keys().any(can_be_given);
        let of_open_key = self.open_keys().any(|(key, _)| path.starts_with(key));
        hidden
            || given
            || of_open_key
            || self.depends_on_subject(finding)
            || self.depends_on_size(finding, &path)
    }

    /// Which group, kind and namespace of a subject are valid depends on the others.
    fn depends_on_subject(&self, finding: &Finding) -> bool {
        let subject = FieldPath::of(&["spec", SUBJECT.field]);
        let [group, kind, namespace] = ["apiGroup", "kind", "namespace"].map(|field| subject.field(field));
        let is_about_kind = finding.rule == RuleId::SubjectKind || finding.reason == Reason::Required;
        is_about_kind
            && [&group, &kind, &namespace].contains(&&finding.field)
            && (self.hides(&steps(&group)) || self.hides(&steps(&kind)))
    }

    /// The size of all annotations depends on each.
    fn depends_on_size(&self, finding: &Finding, path: &[Step]) -> bool {
        finding.field == FieldPath::of(&["metadata", "annotations"]) && self.hides(path)
    }

    fn with_origin(&self, mut finding: Finding) -> Finding {
        let path = steps(&finding.field);
        let value = self.at(&path).map(|(_, replaced)| replaced.expansion());
        let Some(expansion) = value.or_else(|| self.key_above(&path)) else { return finding };
        if expansion.names.is_empty() {
            return finding;
        }
        let names: Vec<String> = expansion.names.iter().map(|name| format!("${{{name}}}")).collect();
        finding.text += &format!("; the value comes from {}", names.join(" and "));
        if finding.text.starts_with("must be a string, not ") {
            finding.text += ", which Flux inserts without quotes";
        }
        finding
    }

    fn unreadable(&self, action: Action) -> impl Iterator<Item = Finding> {
        let unreadable = self.values.iter().filter_map(|(path, replaced)| match replaced {
            Replaced::Unreadable(expansion, why) => Some((path, expansion, why)),
            Replaced::Known(_) | Replaced::Unknown(_) => None,
        });
        let findings = unreadable.map(move |(steps, expansion, why)| Finding {
            rule: RuleId::Schema,
            code: None,
            field: path(steps),
            reason: Reason::Invalid,
            value: Shown::of(&Value::String(expansion.text().unwrap_or_default())),
            text: format!(
                "Flux cannot read it: {why}; put double quotes into the value of {}",
                expansion.names.iter().cloned().collect::<Vec<_>>().join(" or ")
            ),
            action,
            suggestion: None,
            denies_from: None,
        });
        findings.filter(move |_| action != Action::Disabled)
    }

    /// What became of the value at this path or above it, and the length of its path.
    fn at(&self, path: &[Step]) -> Option<(usize, &Replaced)> {
        (0..=path.len()).find_map(|length| Some((length, self.values.get(upto(path, length))?)))
    }

    /// The key with variables on the way to this path.
    fn key_above(&self, path: &[Step]) -> Option<&Expansion> {
        let key = (1..=path.len()).find_map(|length| self.keys.get(upto(path, length)));
        key.map(|key| &key.expansion)
    }

    fn open_keys(&self) -> impl Iterator<Item = (&[Step], &Expansion)> {
        let open = self.keys.iter().filter(|(_, key)| key.expansion.text().is_none());
        open.map(|(path, key)| (path.as_slice(), &key.expansion))
    }
}

impl Replaced {
    fn expansion(&self) -> &Expansion {
        let (Self::Known(expansion) | Self::Unknown(expansion) | Self::Unreadable(expansion, _)) = self;
        expansion
    }
}

fn upto(path: &[Step], length: usize) -> &[Step] {
    path.get(..length).unwrap_or(path)
}

fn holds_variables(value: &Value) -> bool {
    match value {
        Value::String(text) => has_variables(text),
        Value::Array(entries) => entries.iter().any(holds_variables),
        Value::Object(fields) => {
            fields.iter().any(|(key, value)| has_variables(key) || holds_variables(value))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn is_disabled(object: &Value) -> bool {
    let metadata = &object["metadata"];
    ["labels", "annotations"].iter().any(|map| metadata[map][SUBSTITUTE] == DISABLED)
}

/// Replaces variables, value by value.
struct Walk<'w> {
    variables: &'w Variables,
    substitution: &'w mut Substitution,
}

impl Walk<'_> {
    fn of(&mut self, value: &mut Value, path: &mut Vec<Step>, holder: Holder) {
        match value {
            Value::String(text) => {
                if let Some((replacement, replaced)) = self.replaced(text, path, holder) {
                    *value = replacement;
                    self.substitution.values.insert(path.clone(), replaced);
                }
            }
            Value::Array(entries) => {
                for (index, entry) in entries.iter_mut().enumerate() {
                    path.push(Step::Index(index));
                    self.of(entry, path, Holder::List);
                    path.pop();
                }
            }
            Value::Object(fields) => self.of_map(fields, path),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn of_map(&mut self, fields: &mut Map<String, Value>, path: &mut Vec<Step>) {
        if fields.keys().any(|key| has_variables(key)) {
            self.keys(fields, path);
        }
        for (key, value) in fields {
            // The API server drops the status of a new object.
            if path.is_empty() && key == "status" {
                continue;
            }
            path.push(Step::Name(key.clone()));
            self.of(value, path, Holder::Map);
            path.pop();
        }
    }

    /// Replaces the variables in the keys of a map. A key that another field has already stays.
    fn keys(&mut self, fields: &mut Map<String, Value>, path: &[Step]) {
        for (written, value) in std::mem::take(fields) {
            let Some(expansion) = self.variables.expand(&written) else {
                fields.insert(written, value);
                continue;
            };
            let key = expansion.text().filter(|key| !fields.contains_key(key));
            let key = key.unwrap_or_else(|| written.clone());
            fields.insert(key.clone(), value);
            let at = [path, &[Step::Name(key)]].concat();
            self.substitution.keys.insert(at, Key { written, expansion });
        }
    }

    fn replaced(&self, written: &str, path: &[Step], holder: Holder) -> Option<(Value, Replaced)> {
        let expansion = self.variables.expand(written)?;
        let Some(text) = expansion.text() else {
            let is_in_spec = path.first().is_some_and(|step| *step == Step::Name("spec".to_owned()));
            let shown = if is_in_spec { HOLE } else { written };
            return Some((Value::String(shown.to_owned()), Replaced::Unknown(expansion)));
        };
        Some(match reread(written, &text, holder) {
            Ok(value) => (value, Replaced::Known(expansion)),
            Err(why) => (Value::String(text), Replaced::Unreadable(expansion, why)),
        })
    }
}
