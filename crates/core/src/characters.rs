//! Escapes text from outside, so that it cannot control a terminal, forge a line in a log or hide characters.

use std::fmt::Write;

/// Whether `c` is one of the *invisible* characters of the normalization contract (section 1), such as soft hyphen,
/// zero-width space and directional marks.
///
/// ZWNJ and ZWJ (U+200C, U+200D) are not, because names in some scripts and emoji need them.
pub fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{AD}'
            | '\u{61C}'
            | '\u{180E}'
            | '\u{200B}'
            | '\u{200E}'
            | '\u{200F}'
            | '\u{202A}'..='\u{202E}'
            | '\u{2060}'..='\u{2064}'
            | '\u{2066}'..='\u{2069}'
            | '\u{FEFF}'
    )
}

/// Whether `c` starts, overrides, isolates or ends a direction of text, so that other characters appear in another order
/// than they are stored in.
pub fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Whether `text` has nothing to see: only white space, invisible characters and letters without a shape, which are
/// the Hangul fillers and the empty Braille pattern.
pub fn is_blank(text: &str) -> bool {
    let is_empty = |c: char| matches!(c, '\u{115F}' | '\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{FFA0}');
    text.chars().all(|c| c.is_whitespace() || is_invisible(c) || is_empty(c))
}

/// The regular expression that matches exactly the texts that are blank, see [`is_blank`].
pub const BLANK_PATTERN: &str = concat!(
    r"^[\t-\r \x{85}\x{A0}\x{AD}\x{61C}\x{115F}\x{1160}\x{1680}\x{180E}\x{2000}-\x{200B}\x{200E}\x{200F}",
    r"\x{2028}-\x{202F}\x{205F}-\x{2064}\x{2066}-\x{2069}\x{2800}\x{3000}\x{3164}\x{FEFF}\x{FFA0}]*$"
);

/// Whether `c` is visible or a space: it is not a control character, other white space or an invisible character.
///
/// White space includes the line breaks U+0085, U+2028 and U+2029. Invisible characters include those that change the
/// direction of text.
fn is_visible(c: char) -> bool {
    c == ' ' || !(c.is_control() || c.is_whitespace() || is_invisible(c))
}

/// The characters that get a backslash between quotes.
pub const ESCAPED_IN_QUOTES: &[char] = &['"', '\\'];

/// Appends `c`, or its escape if it is not visible. The characters in `also` get a backslash.
pub fn push_escaped(into: &mut String, c: char, also: &[char]) {
    match c {
        // The most frequent case.
        'a'..='z' | 'A'..='Z' | '0'..='9' => into.push(c),
        '\n' => into.push_str("\\n"),
        '\r' => into.push_str("\\r"),
        '\t' => into.push_str("\\t"),
        c if also.contains(&c) => into.extend(['\\', c]),
        c if is_visible(c) => into.push(c),
        c => {
            // Writing into a String cannot fail.
            let _ = write!(into, "\\u{:04x}", u32::from(c));
        }
    }
}

/// `text` on one line, without characters that a terminal obeys.
pub fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    text.chars().for_each(|c| push_printable(&mut printable, c));
    printable
}

/// Writes one character of [`printable`] text. Quotes and backslashes stay, because messages are escaped already.
pub fn push_printable(into: &mut String, c: char) {
    match c {
        // XML cannot contain these.
        '\u{fffe}' | '\u{ffff}' => {
            // Writing into a String cannot fail.
            let _ = write!(into, "\\u{:04x}", u32::from(c));
        }
        c => push_escaped(into, c, &[]),
    }
}

/// Appends at most `limit` characters of `text`, escaped as in [`push_escaped`]. An ellipsis marks the truncation.
///
/// Escapes count, so that escaping cannot make a string longer.
pub fn push_truncated(into: &mut String, text: &str, limit: usize, also: &[char]) {
    // Most strings have only such characters, so this is fast.
    let is_plain =
        |byte: &u8| (byte.is_ascii_graphic() || *byte == b' ') && !also.contains(&char::from(*byte));
    let mut length = text.bytes().take(limit).take_while(is_plain).count();
    let (plain, rest) = text.split_at_checked(length).unwrap_or(("", text));
    into.push_str(plain);
    for c in rest.chars() {
        let start = into.len();
        push_escaped(into, c, also);
        let bytes = into.len() - start;
        // An escape has several characters, all ASCII.
        length += if bytes == c.len_utf8() { 1 } else { bytes };
        if length > limit {
            into.truncate(start);
            into.push('…');
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_invisible_characters_are_those_of_the_contract() {
        let mut listed = vec![0xAD, 0x61C, 0x180E, 0x200B, 0x200E, 0x200F, 0xFEFF];
        listed.extend(0x202A..=0x202E);
        listed.extend(0x2060..=0x2064);
        listed.extend(0x2066..=0x2069);
        listed.sort_unstable();
        let found: Vec<u32> = ('\0'..=char::MAX).filter(|c| is_invisible(*c)).map(u32::from).collect();
        assert_eq!(found, listed);
    }

    #[test]
    fn a_text_without_anything_to_see_is_blank() {
        for text in
            ["", " \t\u{a0}", "\u{200b}\u{feff} \u{ad}", "\u{3164}", "\u{2800}\u{115f}\u{1160}\u{ffa0}"]
        {
            assert!(is_blank(text), "{text:?}");
        }
        for text in ["a", " . ", "\u{200b}a", "\u{0}", "\u{200d}"] {
            assert!(!is_blank(text), "{text:?}");
        }
    }

    #[test]
    fn the_pattern_matches_what_is_blank() {
        let pattern = regex::Regex::new(BLANK_PATTERN).unwrap();
        let differs = |c: &char| {
            let text = format!(" {c}");
            pattern.is_match(&text) != is_blank(&text)
        };
        let different: Vec<char> = ('\0'..=char::MAX).filter(differs).collect();
        assert!(different.is_empty(), "{different:?}");
        assert!(pattern.is_match("") && !pattern.is_match("a\n") && !pattern.is_match("\na"));
    }

    #[test]
    fn line_breaks_and_control_characters_are_escaped() {
        for c in
            ['\u{0}', '\u{1b}', '\u{7f}', '\u{85}', '\u{9b}', '\u{a0}', '\u{2028}', '\u{2029}', '\u{202e}']
        {
            let mut shown = String::new();
            push_escaped(&mut shown, c, &[]);
            assert_eq!(shown, format!("\\u{:04x}", u32::from(c)));
        }
    }

    #[test]
    fn an_excerpt_never_ends_within_an_escape() {
        let excerpt = |text: &str, limit| {
            let mut shown = String::new();
            push_truncated(&mut shown, text, limit, ESCAPED_IN_QUOTES);
            shown
        };
        assert_eq!(excerpt("🏢🏢🏢", 3), "🏢🏢🏢");
        assert_eq!(excerpt("🏢🏢🏢", 2), "🏢🏢…");
        assert_eq!(excerpt("a\u{1b}b", 6), "a…");
        assert_eq!(excerpt("a\"", 2), "a…");
        assert_eq!(
            (excerpt("a b", 3), excerpt("a b", 2), excerpt("ab\n", 2)),
            ("a b".into(), "a …".into(), "ab…".into())
        );
    }

    #[test]
    fn printable_text_has_no_control_characters_and_keeps_quotes() {
        assert_eq!(printable("a\r\n\tb\u{1b}[31m\u{9b}\u{7f}"), r"a\r\n\tb\u001b[31m\u009b\u007f");
        assert_eq!(printable("a\u{202e}b\u{2028}c\u{ffff}"), r"a\u202eb\u2028c\uffff");
        assert_eq!(printable(r#"bücher "🏢" \n"#), r#"bücher "🏢" \n"#);
    }
}
