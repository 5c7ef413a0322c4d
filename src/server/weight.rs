//! Estimates how much memory a parsed body takes.

/// A list: its value, and space for its first entries.
const LIST: usize = 160;
/// An object: its value, and a tree node with space for eleven fields.
const OBJECT: usize = 704;
/// One more entry of a list or object: its value, space for the next one, and the allocation of a string.
const ENTRY: usize = 64;
/// The key of a field.
const KEY: usize = 64;

/// An upper bound for the memory of a JSON body in bytes: the body itself and the values parsed from it. A list of
/// small objects takes a hundred times as much memory as its JSON.
///
/// The estimate is high: it also counts characters inside strings and values that the parser skips.
pub(super) fn weight(body: &[u8]) -> usize {
    let signs = [(b'[', LIST), (b'{', OBJECT), (b',', ENTRY), (b':', KEY)];
    let values = signs.map(|(sign, bytes)| bytecount::count(body, sign) * bytes);
    body.len() + values.iter().sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_weighs_its_length() {
        assert_eq!(weight(br#""abcdef""#), 8);
    }

    #[test]
    fn values_weigh_more_than_their_json() {
        assert_eq!(weight(br#"{"a":[0,1]}"#), 11 + OBJECT + KEY + LIST + ENTRY);
    }

    #[test]
    fn every_value_of_a_long_body_counts() {
        let body = "[".repeat(1000);
        assert_eq!(weight(body.as_bytes()), 1000 + 1000 * LIST);
    }
}
