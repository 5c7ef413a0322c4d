//! Expands lists of objects, as kubectl and the API server write them.

use std::borrow::Cow;

use serde_json::Value;

/// The objects of a manifest: the items of a `List` of any kind, or else the object itself.
///
/// An item without kind and version gets those of the list, as in kubectl.
pub fn unfolded(object: &Value) -> Vec<Cow<'_, Value>> {
    let kind = object["kind"].as_str().and_then(|kind| kind.strip_suffix("List"));
    let (Some(kind), Some(items)) = (kind, object["items"].as_array()) else {
        return vec![Cow::Borrowed(object)];
    };
    let expand = |item| match with_kind_of_list(item, kind, &object["apiVersion"]) {
        Some(item) => vec![Cow::Owned(item)],
        None => unfolded(item),
    };
    items.iter().flat_map(expand).collect()
}

/// The item with the kind and version of its list; `None` if it has its own.
fn with_kind_of_list(item: &Value, kind: &str, version: &Value) -> Option<Value> {
    let has = |field: &str| item.get(field).is_some_and(|text| !text.is_null() && text != "");
    if kind.is_empty() || !item.is_object() || has("kind") || has("apiVersion") {
        return None;
    }
    let mut item = item.clone();
    item["kind"] = Value::from(kind);
    item["apiVersion"] = version.clone();
    Some(item)
}
