//! Lists of objects, as kubectl and the API server write them.

use std::borrow::Cow;

use serde_json::Value;

/// The objects that a manifest stands for: the items of a `List` of any kind, else itself.
///
/// As kubectl does, an item that says neither its kind nor its version is given the list's.
pub fn unfolded(object: &Value) -> Vec<Cow<'_, Value>> {
    let kind = object["kind"].as_str().and_then(|kind| kind.strip_suffix("List"));
    let (Some(kind), Some(items)) = (kind, object["items"].as_array()) else {
        return vec![Cow::Borrowed(object)];
    };
    let of_item = |item| match named(item, kind, &object["apiVersion"]) {
        Some(named) => vec![Cow::Owned(named)],
        None => unfolded(item),
    };
    items.iter().flat_map(of_item).collect()
}

/// The item with the kind and version of its list, if it has none of its own.
fn named(item: &Value, kind: &str, version: &Value) -> Option<Value> {
    let says = |field: &str| item.get(field).is_some_and(|text| !text.is_null() && text != "");
    if kind.is_empty() || !item.is_object() || says("kind") || says("apiVersion") {
        return None;
    }
    let mut item = item.clone();
    item["kind"] = Value::from(kind);
    item["apiVersion"] = version.clone();
    Some(item)
}
