//! Turns changes into a JSON Patch (RFC 6902) that touches only the changed fields, or makes them.

use json_patch::jsonptr::{PointerBuf, Token};
use json_patch::{AddOperation, Patch, PatchOperation, RemoveOperation, ReplaceOperation};
use serde_json::{Value, json};

use crate::rules::{Change, Effect, FieldPath, OwnerReference, Record, Segment};

/// The patch that makes `changes` in `object`. It is valid for that object only.
pub fn patch(object: &Record, changes: &[Change]) -> Patch {
    let mut operations = Vec::with_capacity(changes.len());
    if object.spec.is_null() && !changes.is_empty() {
        operations.push(add(FieldPath::of(&["spec"]), json!({})));
    }
    // Removals come last and in reverse order, so that every index stays correct.
    let mut removals = Vec::new();
    for change in changes {
        match (change.effect, &change.after) {
            (Effect::Defaulted | Effect::Restored, Some(after)) => {
                operations.push(set(object, &change.field, after));
            }
            (_, Some(after)) => operations.push(PatchOperation::Replace(ReplaceOperation {
                path: pointer(&change.field),
                value: Value::String(after.clone()),
            })),
            (_, None) => {
                removals.push(PatchOperation::Remove(RemoveOperation { path: pointer(&change.field) }));
            }
        }
    }
    operations.extend(removals.into_iter().rev());
    Patch(operations)
}

/// The record after these changes, which must be changes of it.
pub fn applied(record: &Record, changes: &[Change]) -> Record {
    if changes.is_empty() {
        return record.clone();
    }
    let mut object = json!({"metadata": {}, "spec": record.spec});
    // If the changes are not those of this record, it stays as it is.
    let is_changed = json_patch::patch(&mut object, &patch(record, changes)).is_ok();
    let spec = if is_changed { object["spec"].take() } else { record.spec.clone() };
    Record { spec, ..record.clone() }
}

/// The operation that adds an owner reference to the object.
pub fn add_owner(object: &Record, owner: &OwnerReference) -> PatchOperation {
    let list = OwnerReference::field();
    let entry = json!(owner);
    if object.owners.is_none() {
        return add(list, json!([entry]));
    }
    let mut path = pointer(&list);
    path.push_back(Token::new("-"));
    PatchOperation::Add(AddOperation { path, value: entry })
}

/// Sets a field of a reference. A reference that is missing or null is created; an existing one keeps its other fields.
fn set(object: &Record, field: &FieldPath, value: &str) -> PatchOperation {
    if let Some((parent, name)) = field.split_last()
        && !matches!(parent.resolve_below_root(&object.spec), Some(Value::Object(_)))
    {
        return add(parent, json!({ name: value }));
    }
    add(field.clone(), Value::String(value.to_owned()))
}

fn add(field: FieldPath, value: Value) -> PatchOperation {
    PatchOperation::Add(AddOperation { path: pointer(&field), value })
}

fn pointer(field: &FieldPath) -> PointerBuf {
    PointerBuf::from_tokens(field.segments().iter().map(|segment| match segment {
        Segment::Field(name) => Token::from(name.as_ref()),
        Segment::Index(index) => Token::from(*index),
        Segment::Key(key) => Token::from(key),
    }))
}
