//! Compares an object with the expected one, and returns the paths of the fields that differ.

use serde_json::{Map, Value};

/// The keys by which Kubernetes identifies the entries of a list.
const KEYS: [&str; 3] = ["name", "jsonPath", "rule"];

/// The maximum number of fields in a message.
const MAX_NAMED: usize = 5;

/// Whether additional fields of the actual object are differences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extra {
    Allowed,
    Differs,
}

/// The paths below `path` at which `actual` differs from `wanted`, in order.
pub(super) fn differences(path: &str, wanted: &Value, actual: &Value, extra: Extra) -> Vec<String> {
    let mut found = Vec::new();
    compare(path, wanted, actual, extra, &mut found);
    found
}

/// The fields of `spec` that differ from the shipped object, shortened if there are many; `None` if there are none.
pub(super) fn changed_spec(shipped: &Value, live: &Value) -> Option<String> {
    name_some(&differences("spec", &shipped["spec"], &live["spec"], Extra::Differs))
}

/// The paths, shortened if there are many; `None` if there are none.
pub(super) fn name_some(paths: &[String]) -> Option<String> {
    let named = paths.iter().take(MAX_NAMED).cloned().collect::<Vec<_>>().join(", ");
    match paths.len() {
        0 => None,
        number if number > MAX_NAMED => Some(format!("{named} and {} more", number - MAX_NAMED)),
        _ => Some(named),
    }
}

fn compare(path: &str, wanted: &Value, actual: &Value, extra: Extra, found: &mut Vec<String>) {
    match (wanted, actual) {
        (Value::Object(wanted), Value::Object(actual)) => objects(path, wanted, actual, extra, found),
        (Value::Array(wanted), Value::Array(actual)) => match key(wanted) {
            Some(key) => keyed(path, key, (wanted, actual), extra, found),
            None if wanted.len() == actual.len() => {
                for (index, (wanted, actual)) in wanted.iter().zip(actual).enumerate() {
                    compare(&format!("{path}[{index}]"), wanted, actual, extra, found);
                }
            }
            None => found.push(path.to_owned()),
        },
        // 1.0 and 1 are the same number.
        (Value::Number(wanted), Value::Number(actual)) if wanted.as_f64() == actual.as_f64() => {}
        (wanted, actual) if wanted == actual => {}
        _ => found.push(path.to_owned()),
    }
}

fn objects(
    path: &str,
    wanted: &Map<String, Value>,
    actual: &Map<String, Value>,
    extra: Extra,
    found: &mut Vec<String>,
) {
    for (name, wanted) in wanted {
        match actual.get(name) {
            Some(actual) => compare(&join(path, name), wanted, actual, extra, found),
            None => found.push(join(path, name)),
        }
    }
    if extra == Extra::Differs {
        found.extend(actual.keys().filter(|name| !wanted.contains_key(*name)).map(|name| join(path, name)));
    }
}

/// Compares the entries with the same key in two lists.
fn keyed(
    path: &str,
    key: &str,
    (wanted, actual): (&[Value], &[Value]),
    extra: Extra,
    found: &mut Vec<String>,
) {
    let named = |entry: &Value| format!("{path}[{}]", entry[key].as_str().unwrap_or_default());
    for entry in wanted {
        match actual.iter().find(|other| other[key] == entry[key]) {
            Some(other) => compare(&named(entry), entry, other, extra, found),
            None => found.push(named(entry)),
        }
    }
    if extra == Extra::Differs {
        let is_new = |entry: &&Value| wanted.iter().all(|wanted| wanted[key] != entry[key]);
        found.extend(actual.iter().filter(is_new).map(named));
    }
}

/// The key that identifies each entry.
fn key(entries: &[Value]) -> Option<&'static str> {
    let has = |key: &&str| !entries.is_empty() && entries.iter().all(|entry| entry[*key].is_string());
    KEYS.into_iter().find(has)
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_are_named_by_their_paths() {
        let wanted = json!({"a": {"b": [1, 2]}, "c": "x", "d": 1.0, "e": [{"name": "one", "v": 1}]});
        let actual = json!({"a": {"b": [1, 3]}, "d": 1, "e": [{"name": "two"}, {"name": "one", "v": 2}]});
        assert_eq!(differences("", &wanted, &actual, Extra::Allowed), ["a.b[1]", "c", "e[one].v"]);
        assert_eq!(
            differences("spec", &wanted, &actual, Extra::Differs),
            ["spec.a.b[1]", "spec.c", "spec.e[one].v", "spec.e[two]"]
        );
    }

    #[test]
    fn additional_fields_are_differences_only_on_request() {
        let (wanted, actual) = (json!({"a": 1}), json!({"a": 1, "b": {}}));
        assert_eq!(differences("", &wanted, &actual, Extra::Allowed), [""; 0]);
        assert_eq!(differences("", &wanted, &actual, Extra::Differs), ["b"]);
    }

    #[test]
    fn lists_without_keys_are_compared_as_a_whole_if_their_lengths_differ() {
        assert_eq!(differences("l", &json!([1]), &json!([1, 2]), Extra::Allowed), ["l"]);
        assert_eq!(differences("l", &json!([]), &json!([]), Extra::Differs), [""; 0]);
    }
}
