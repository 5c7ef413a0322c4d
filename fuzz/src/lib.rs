//! Mutates JSON documents so that they stay JSON.
//!
//! Nearly every change of a byte makes a document unreadable, and an unreadable document tests only the parser.

use libfuzzer_sys::fuzzer_mutate;
use serde_json::{Value, json};

/// Mutates the first `size` bytes of `data`, which has room for `max_size`, and returns the new size. For
/// `libfuzzer_sys::fuzz_mutator`.
///
/// In one of eight cases, and if the bytes are not JSON, any bytes may change. In half of the other cases, each value
/// keeps its type and each string becomes another that can stand in such a document: one of `words`, or one that the
/// document has already. Otherwise nearly every document would be denied for its first change.
pub fn mutate_json(data: &mut [u8], size: usize, max_size: usize, seed: u32, words: &[&str]) -> usize {
    let mut random = Random(u64::from(seed) + 1);
    let document = (random.below(8) > 0).then(|| serde_json::from_slice(&data[..size]).ok()).flatten();
    let Some(mut document) = document else { return fuzzer_mutate(data, size, max_size) };
    let careful = random.below(2) == 0;
    for _ in 0..=random.below(3) {
        if careful {
            exchange(&mut document, &mut random, words);
        } else {
            mutate(&mut document, &mut random);
        }
    }
    let json = document.to_string();
    if json.len() > max_size {
        return fuzzer_mutate(data, size, max_size);
    }
    data[..json.len()].copy_from_slice(json.as_bytes());
    json.len()
}

/// Exchanges one value of a document for another of the same type.
fn exchange(document: &mut Value, random: &mut Random, words: &[&str]) {
    let mut places = Vec::new();
    collect(document, String::new(), &mut places);
    let strings: Vec<String> =
        places.iter().filter_map(|place| document.pointer(place)?.as_str().map(str::to_owned)).collect();
    let place: &String = random.pick(&places);
    let Some(value) = document.pointer_mut(place) else { return };
    match value {
        Value::Object(fields) => {
            let keys: Vec<String> = fields.keys().cloned().collect();
            if !keys.is_empty() {
                fields.remove::<String>(random.pick(&keys));
            }
        }
        Value::Array(entries) if !entries.is_empty() => {
            let index = random.below(entries.len());
            if random.below(2) == 0 {
                entries.push(entries[index].clone());
            } else {
                entries.remove(index);
            }
        }
        Value::String(text) if !strings.is_empty() && random.below(2) == 0 => {
            *text = random.pick(&strings).clone();
        }
        Value::String(text) if !words.is_empty() => *text = (*random.pick(words)).to_owned(),
        Value::Bool(flag) => *flag = !*flag,
        Value::Number(number) => *number = (random.below(2000) as i64 - 1000).into(),
        _ => {}
    }
}

/// Changes one value of a document.
fn mutate(document: &mut Value, random: &mut Random) {
    let mut places = Vec::new();
    collect(document, String::new(), &mut places);
    let place = random.pick(&places).clone();
    let other: &String = random.pick(&places);
    let other = document.pointer(other).cloned().unwrap_or_default();
    let Some(value) = document.pointer_mut(&place) else { return };
    match (random.below(8), value) {
        (0, Value::Object(fields)) => {
            let keys: Vec<String> = fields.keys().cloned().collect();
            if !keys.is_empty() {
                let key = random.pick(&keys);
                let moved = fields.remove(key).unwrap_or_default();
                fields.insert(mutated(key), moved);
            }
        }
        (1, Value::Object(fields)) => {
            let keys: Vec<String> = fields.keys().cloned().collect();
            if !keys.is_empty() {
                fields.remove(random.pick(&keys));
            }
        }
        (0, Value::Array(entries)) if !entries.is_empty() => {
            entries.remove(random.below(entries.len()));
        }
        (1, Value::Array(entries)) if !entries.is_empty() => entries.push(random.pick(entries).clone()),
        (2, Value::Array(entries)) => entries.push(other),
        (3, value) => *value = other,
        (4, value) => {
            let values =
                [json!(null), json!(true), json!(0), json!(-1), json!(1.5), json!(""), json!([]), json!({})];
            *value = random.pick(&values).clone();
        }
        (_, Value::String(text)) => *text = mutated(text),
        (_, value) => *value = other,
    }
}

/// The JSON pointers of a value and of all values in it.
fn collect(value: &Value, at: String, places: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                collect(value, format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), places);
            }
        }
        Value::Array(entries) => {
            for (index, value) in entries.iter().enumerate() {
                collect(value, format!("{at}/{index}"), places);
            }
        }
        _ => {}
    }
    places.push(at);
}

/// A string as the fuzzer changes it. It knows the strings with which the program compares.
fn mutated(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let size = bytes.len();
    bytes.resize(size + 32, 0);
    let room = bytes.len();
    let size = fuzzer_mutate(&mut bytes, size, room);
    String::from_utf8_lossy(&bytes[..size]).into_owned()
}

/// Numbers that depend only on the seed (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % limit
    }

    fn pick<'v, T>(&mut self, values: &'v [T]) -> &'v T {
        &values[self.below(values.len())]
    }
}
