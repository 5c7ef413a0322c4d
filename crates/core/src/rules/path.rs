//! The path of a field in an object, for messages and JSON Patch.

use std::borrow::Cow;
use std::fmt;

use serde_json::Value;
use smallvec::SmallVec;

/// The path of a field, such as `spec.domains[1]`.
///
/// Rules create many paths, so the usual ones do not allocate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct FieldPath(SmallVec<[Segment; 3]>);

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Segment {
    /// A field of an object. Its name is a constant, or comes from a file.
    Field(Cow<'static, str>),
    /// An entry of a list.
    Index(usize),
    /// An entry of a map with arbitrary keys, such as labels.
    Key(String),
}

impl FieldPath {
    /// A path of fields, such as `["spec", "creatorRef", "name"]`.
    pub fn of(fields: &[&'static str]) -> Self {
        Self(fields.iter().map(|name| Segment::Field(Cow::Borrowed(name))).collect())
    }

    /// The path of a label.
    pub fn label(key: &str) -> Self {
        Self::of(&["metadata", "labels"]).key(key)
    }

    /// The path of a field in this object.
    pub fn field(&self, name: impl Into<Cow<'static, str>>) -> Self {
        self.then(Segment::Field(name.into()))
    }

    /// The path of an entry in this list.
    pub fn index(&self, index: usize) -> Self {
        self.then(Segment::Index(index))
    }

    fn then(&self, segment: Segment) -> Self {
        Self(self.0.iter().cloned().chain([segment]).collect())
    }

    /// Whether one of the paths is equal to the other or within it.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(ours, theirs)| ours == theirs)
    }

    /// The path of an entry in this map.
    pub fn key(&self, key: &str) -> Self {
        self.then(Segment::Key(key.to_owned()))
    }

    /// The path of the object with this field, and the name of the field; `None` for an entry of a list or a map.
    pub fn split_last(&self) -> Option<(Self, &str)> {
        match self.0.split_last() {
            Some((Segment::Field(name), parent)) => Some((Self(parent.into()), name)),
            _ => None,
        }
    }

    /// The path of another entry of the same list; `None` if this is not an entry of a list.
    pub fn sibling(&self, index: usize) -> Option<Self> {
        match self.0.split_last() {
            Some((Segment::Index(_), list)) => Some(Self(list.into()).index(index)),
            _ => None,
        }
    }

    /// The steps from the object to the field.
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// The value at this path, where `top` is the value at its first step; `None` if it is missing or null.
    pub fn resolve_below_root<'v>(&self, top: &'v Value) -> Option<&'v Value> {
        let below = self.0.get(1..).unwrap_or_default();
        let step = |value: &'v Value, segment: &Segment| match segment {
            Segment::Field(name) => value.get(name.as_ref()),
            Segment::Index(index) => value.get(index),
            Segment::Key(key) => value.get(key),
        };
        below.iter().try_fold(top, step).filter(|value| !value.is_null())
    }
}

/// As in causes and warnings: `spec.domains[1]`, `metadata.labels[crm.milo.io/source]`.
impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Field(name) if position == 0 => f.write_str(name)?,
                Segment::Field(name) => {
                    f.write_str(".")?;
                    f.write_str(name)?;
                }
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Key(key) => write!(f, "[{key}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_are_displayed_as_in_the_api_machinery() {
        assert_eq!(FieldPath::of(&["spec", "creatorRef"]).field("name").to_string(), "spec.creatorRef.name");
        assert_eq!(FieldPath::of(&["spec", "domains"]).index(1).to_string(), "spec.domains[1]");
        assert_eq!(FieldPath::label("crm.milo.io/source").to_string(), "metadata.labels[crm.milo.io/source]");
    }

    #[test]
    fn a_path_resolves_to_its_value_and_null_is_no_value() {
        let spec = json!({"domains": ["a", null], "creatorRef": null});
        let domains = FieldPath::of(&["spec", "domains"]);
        assert_eq!(domains.index(0).resolve_below_root(&spec), Some(&json!("a")));
        assert_eq!(domains.index(1).resolve_below_root(&spec), None);
        assert_eq!(domains.index(2).resolve_below_root(&spec), None);
        assert_eq!(FieldPath::of(&["spec", "creatorRef", "name"]).resolve_below_root(&spec), None);
    }
}
