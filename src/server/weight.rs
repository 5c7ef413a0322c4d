//! How much memory a body takes once it is read.

/// What a list takes: its value, and room for its first entries.
const LIST: usize = 160;
/// What an object takes: its value, and a tree node with room for eleven fields.
const OBJECT: usize = 704;
/// What one more entry of a list or of an object takes: its value, room for the next, and a text's own allocation.
const ENTRY: usize = 64;
/// What the key of a field takes.
const KEY: usize = 64;

/// The most that a body of JSON takes in memory, in bytes: itself, and the values that are read out of it. A list of
/// small objects is a hundred times as large as its text.
///
/// It is an estimate from above: signs in texts count as well, and so do values that are skipped.
pub(super) fn weight(body: &[u8]) -> usize {
    let signs = [(b'[', LIST), (b'{', OBJECT), (b',', ENTRY), (b':', KEY)];
    let values = signs.map(|(sign, bytes)| bytecount::count(body, sign) * bytes);
    body.len() + values.iter().sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_weighs_what_it_is_long() {
        assert_eq!(weight(br#""abcdef""#), 8);
    }

    #[test]
    fn values_weigh_more_than_their_text() {
        assert_eq!(weight(br#"{"a":[0,1]}"#), 11 + OBJECT + KEY + LIST + ENTRY);
    }

    #[test]
    fn every_value_of_a_long_body_weighs() {
        let body = "[".repeat(1000);
        assert_eq!(weight(body.as_bytes()), 1000 + 1000 * LIST);
    }
}
