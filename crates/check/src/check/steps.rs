//! Converts the paths of findings to those of documents, and back.

use crm_core::rules::{FieldPath, Segment};
use crm_manifest::Step;

/// The path in a document.
pub(super) fn steps(path: &FieldPath) -> Vec<Step> {
    let step = |segment: &Segment| match segment {
        Segment::Field(name) => Step::Name(name.clone().into_owned()),
        Segment::Key(key) => Step::Name(key.clone()),
        Segment::Index(index) => Step::Index(*index),
    };
    path.segments().iter().map(step).collect()
}

/// The path of a finding.
pub(super) fn path(steps: &[Step]) -> FieldPath {
    steps.iter().fold(FieldPath::default(), |path, step| match step {
        Step::Name(name) => path.field(name.clone()),
        Step::Index(index) => path.index(*index),
    })
}
