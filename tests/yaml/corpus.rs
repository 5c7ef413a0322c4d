//! The texts that are mutated: the examples, the texts in the sources of our tests, and generated ones.

use std::fs;
use std::path::Path;

use regex::Regex;

use super::mutate::Random;

/// Sources of tests with YAML in their strings.
const SOURCES: [&str; 5] = [
    "crates/manifest/src",
    "crates/manifest/src/edit",
    "crates/check/src/check",
    "crates/check/src/check/fix",
    "tests",
];
/// Longer texts are mutated where it is of no interest.
const MAX_LENGTH: usize = 4000;

const SCALARS: &[&str] = &[
    "a",
    "Acme Corp",
    "acme.com",
    "yes",
    "n",
    "~",
    "null",
    "''",
    "\"\"",
    "'it''s'",
    "\"a\\tb\\u00e9\"",
    "42",
    "-7",
    "010",
    "0x1F",
    "0b11",
    "0o17",
    "1_000",
    "1.5",
    ".5",
    "1e3",
    "1e400",
    "-0.0",
    "18446744073709551615",
    "9223372036854775808",
    "089",
    "2001-01-01",
    "2001-12-14t21:59:43.10-05:00",
    "12:30:45",
    "<<",
    "=",
    "a:b",
    "a#b",
    "a # b",
    "-a",
    "?a",
    ":a",
    "é 😀",
    "[a, b]",
    "{a: b}",
    "[]",
    "{}",
    "[a: b, c]",
    "{a, b: c}",
    "\"a\n  b\n\n  c\"",
    "a\n  b",
    "'a\n\n  b'",
    "",
    "!!str 5",
    "!!int '5'",
    "!!float 5",
    "!!binary aGk=",
    "!!timestamp 2001-01-01",
    "!x y",
    "! 5",
    "!!null ''",
    "&a b",
    "*a",
    "|\n  a\n  b\n",
    "|-\n  a\n\n",
    "|+\n  a\n\n",
    ">\n  a\n  b\n\n   c\n",
    ">-\n  a\n",
    "|2\n   a\n",
    "| # c\n  a\n",
    "[a,\nb\n]",
    "{\n  a: b,\n}",
    "[\n  'a', # c\n  \"b\"\n  ]",
    "\n- a\n- b",
    "\n  - a\n  -\n    b: c",
    "\n  a: b\n  c:\n  - d",
];

const FILES: &[&str] = &[
    "apiVersion: crm.milo.io/v1alpha1\nkind: Company\nmetadata:\n  name: acme\nspec:\n  displayName: Acme\n  domains: [acme.com, 'acme.io']\n",
    "x: &x {a: 1, b: 2}\ny: &z\n  <<: *x\n  b: 3\nw:\n  a: 0\n  <<: [*x, *z]\n  <<: {c: 4}\n",
    "a: &a\n- &b b\n- *b\nc: *a\n? d\n: e\n? |\n  f\n: g\n",
    "# c\n---\na: b # c\n...\n",
    "---\na: b\n---\n---\n# c\nd: e\n--- # f\ng: h\n",
    "\u{feff}a: b\r\nc:\r\n- d\r\n- |\r\n  e\r\n  f\r\n---\r\ng: \"h\r\n  i\"\r\n",
    "kind: List\napiVersion: v1\nitems:\n- kind: A\n- {kind: BList, items: [{kind: C}]}\n-\n  kind: D\n",
    "{\"kind\": \"A\", \"n\": [1, 2.5, 1e3, -0, true, null], \"s\": \"\\u00e9\\ud83d\\ude00\\/\"}\n",
    "{\"a\": 1}\n{\"b\": {\"c\": []}}\n{\"d\": \"e\"}\n",
    "{\"a\": 1}\n---\nb: c\n---\n{\"d\": 1}\n",
    "# KYAML\n---\n{\n  apiVersion: \"v1\",\n  kind: \"A\",\n  metadata: {\n    name: \"a\",  # c\n  },\n  items: [\n    \"a\",\n    {\n      b: \"c\\\n         \\ d\",\n    },\n  ],\n}\n",
    "- a: b\n  c: d\n- - e\n  - f\n-\n- \t g\n",
    "{a: b, c: [d, {e: f}], ? g : h, i, j:}\n",
    "a: 'b\n  c'\nd: \"e \\\n  f\"\ng: h\n  i\n\n  j\n",
];

/// All texts, each once.
pub(crate) fn texts() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts: Vec<String> = FILES.iter().map(|text| (*text).to_owned()).collect();
    for entry in sorted(&root.join("manifests/examples")) {
        texts.extend(fs::read_to_string(entry));
    }
    for source in SOURCES {
        let files =
            sorted(&root.join(source)).into_iter().filter(|file| file.extension().is_some_and(|e| e == "rs"));
        texts.extend(files.flat_map(|file| strings(&fs::read_to_string(file).unwrap())));
    }
    texts.extend(generated());
    texts.retain(|text| text.len() <= MAX_LENGTH);
    texts.sort();
    texts.dedup();
    texts
}

fn sorted(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// The strings in a source that look like YAML.
fn strings(source: &str) -> Vec<String> {
    let literal = Regex::new(r#""((?:[^"\\\n]|\\.)*)""#).unwrap();
    let texts = literal.captures_iter(source).map(|found| unescaped(&found[1]));
    let is_yaml = |text: &String| {
        text.contains('\n') && (text.contains(": ") || text.contains("- ") || text.contains('['))
    };
    texts.filter(is_yaml).collect()
}

fn unescaped(literal: &str) -> String {
    let escape = Regex::new(r"\\(u\{([0-9a-f]+)\}|.)").unwrap();
    let character = |found: &regex::Captures<'_>| match (&found[1], found.get(2)) {
        (_, Some(code)) => {
            u32::from_str_radix(code.as_str(), 16).ok().and_then(char::from_u32).unwrap_or('?').to_string()
        }
        ("n", _) => "\n".to_owned(),
        ("r", _) => "\r".to_owned(),
        ("t", _) => "\t".to_owned(),
        (other, _) => other.to_owned(),
    };
    escape.replace_all(literal, character).into_owned()
}

/// Scalars in all places.
fn generated() -> Vec<String> {
    let mut random = Random::new(0);
    let mut texts = Vec::new();
    for scalar in SCALARS {
        texts.push(format!("a: {scalar}\nb: c\n"));
        texts.push(format!("- {scalar}\n- c\n"));
        texts.push(format!("a: [{scalar}, c]\n"));
        texts.push(format!("{scalar}: a\n"));
        texts.push(format!("? {scalar}\n: {}\n", random.pick(SCALARS)));
        texts.push(format!("a:\n  b: {scalar}\n  c: {} # d\n", random.pick(SCALARS)));
        texts.push(format!("--- # a\n{scalar}"));
    }
    texts
}
