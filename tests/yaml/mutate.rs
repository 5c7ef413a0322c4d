//! Changes texts at random.

use std::ops::Range;

/// What is inserted: indicators, white space of all kinds, characters that are not allowed, and short pieces of YAML.
const PIECES: &[&str] = &[
    " ",
    " ",
    "  ",
    "\t",
    "\n",
    "\n",
    "\r",
    "\r\n",
    "\u{85}",
    "\u{2028}",
    "\u{2029}",
    "\u{a0}",
    "\u{feff}",
    "\u{b}",
    "\u{1b}",
    "\u{7f}",
    "\u{7}",
    "\u{9b}",
    "\u{0}",
    "\u{fffd}",
    "\u{fffe}",
    "é",
    "😀",
    "-",
    "- ",
    "--",
    "---",
    "\n---\n",
    "--- ",
    "---\t#",
    "...",
    "\n...\n",
    ":",
    ": ",
    "? ",
    "?",
    ",",
    "[",
    "]",
    "{",
    "}",
    "{}",
    "[]",
    "#",
    " #",
    "&",
    "&a ",
    "&a.b ",
    "*",
    "*a",
    "*a ",
    "!",
    "! ",
    "!!",
    "!!str ",
    "!!int ",
    "!!float ",
    "!!bool ",
    "!!null ",
    "!!binary ",
    "!!timestamp ",
    "!!map ",
    "!!seq ",
    "!!merge ",
    "!x ",
    "!x!y ",
    "!<x> ",
    "!%41 ",
    "|",
    ">",
    "|-\n",
    ">+\n",
    "|2\n",
    "'",
    "''",
    "\"",
    "\\",
    "\\\n",
    "\\'",
    "\\/",
    "\\x41",
    "\\u00e9",
    "\\ud83d",
    "\\U0001f600",
    "\\N",
    "%",
    "%YAML 1.1\n",
    "%TAG ! x\n",
    "@",
    "`",
    "<<",
    "<<: ",
    "<<: *a\n",
    "~",
    "null",
    "yes",
    "n",
    "0",
    "0x1F",
    "0b1",
    "010",
    "1e3",
    "1_0",
    ".5",
    ".inf",
    ".nan",
    "2001-01-01",
    "=",
    "a",
    "a: ",
    "a: b\n",
    "\"a\": ",
    "kind: List\n",
    "items:\n",
];

/// A generator of numbers: SplitMix64.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, or 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % (end.max(1) as u64)).unwrap()
    }

    pub(crate) fn pick<'t, T>(&mut self, from: &'t [T]) -> &'t T {
        &from[self.below(from.len())]
    }
}

/// A text of the corpus with some changes, mostly one.
pub(crate) fn mutated(corpus: &[String], random: &mut Random) -> String {
    let mut text = random.pick(corpus).clone();
    for _ in 0..=[0, 0, 0, 0, 1, 1, 2, 4][random.below(8)] {
        mutate(&mut text, corpus, random);
    }
    text
}

fn mutate(text: &mut String, corpus: &[String], random: &mut Random) {
    match random.below(12) {
        0..=3 => {
            let at = place(text, random);
            let piece = random.pick(PIECES);
            text.insert_str(at, piece);
        }
        4 => text.replace_range(characters(text, random), ""),
        5 | 6 => {
            let range = characters(text, random);
            let piece = random.pick(PIECES);
            text.replace_range(range, piece);
        }
        7 => {
            let piece = text[characters(text, random)].to_owned();
            let at = place(text, random);
            text.insert_str(at, &piece);
        }
        8 => text.replace_range(line(text, random), ""),
        9 => {
            let piece = text[line(text, random)].to_owned();
            let at = line(text, random).start;
            text.insert_str(at, &piece);
        }
        10 => indent(text, random),
        _ => {
            let other = random.pick(corpus);
            splice(text, other, random);
        }
    }
}

/// The start of a character, or the end.
fn place(text: &str, random: &mut Random) -> usize {
    text.floor_char_boundary(random.below(text.len() + 1))
}

/// Up to four characters.
fn characters(text: &str, random: &mut Random) -> Range<usize> {
    let start = place(text, random);
    let length: usize = text[start..].chars().take(1 + random.below(4)).map(char::len_utf8).sum();
    start..start + length
}

fn line(text: &str, random: &mut Random) -> Range<usize> {
    let at = place(text, random);
    let start = text[..at].rfind('\n').map_or(0, |line_end| line_end + 1);
    let end = text[at..].find('\n').map_or(text.len(), |line_end| at + line_end + 1);
    start..end
}

/// Moves a line to the left or right.
fn indent(text: &mut String, random: &mut Random) {
    let start = line(text, random).start;
    match random.below(3) {
        0 if text[start..].starts_with(' ') => {
            text.remove(start);
        }
        1 => text.insert(start, '\t'),
        _ => text.insert(start, ' '),
    }
}

/// Ends a text with the end of another one.
fn splice(text: &mut String, other: &str, random: &mut Random) {
    let (at, from) = match random.below(2) {
        0 => (place(text, random), place(other, random)),
        _ => (line(text, random).start, line(other, random).start),
    };
    text.truncate(at);
    text.push_str(&other[from..]);
}
