//! Compares what is read from bodies with what serde_json alone reads from them.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::strategy::Union;

use super::*;

/// How many bodies are compared. `READER_BODIES` sets another number.
const BODIES: u32 = 4_000;

/// Reads a body with serde_json alone.
fn with_serde_json(body: &[u8]) -> Result<Review<'_>, Unreadable> {
    let body = std::str::from_utf8(body).map_err(|_| not_utf8(body))?;
    check_is_object(body, THE_BODY)?;
    match serde_json::from_str::<Envelope<'_, ObjectParts<'_>>>(body) {
        Ok(envelope) => review(envelope),
        Err(_) => review(read::<Envelope<'_, &RawValue>>(body, THE_BODY)?),
    }
}

/// The text of a value that need not be JSON.
fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        4 => word(),
        4 => string(),
        2 => number(),
        1 => (55_usize..135).prop_map(|levels| "[".repeat(levels) + &"]".repeat(levels)),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|entries| format!("[{}]", entries.join(","))),
            prop::collection::vec((key(), inner), 0..4).prop_map(|fields| object_of(&fields)),
        ]
    })
}

fn word() -> impl Strategy<Value = String> {
    let usual = select(vec!["null", "true", "false", "{}", "[]"]);
    let wrong = select(vec!["", "nul", "truex", "NaN", "[1,]", "{,}", "{a:1}", "]", "}", "[}", "// x"]);
    prop_oneof![9 => usual, 1 => wrong].prop_map(str::to_owned)
}

fn number() -> impl Strategy<Value = String> {
    let usual = select(vec!["0", "17", "-1", "1.5", "1e5", "-0", "0.1", "1E+2", "18446744073709551615"]);
    let large = select(vec!["18446744073709551616", "-9223372036854775809", "1e308", "1e-400", "1e999"]);
    let wrong = select(vec!["01", "1.", ".5", "-", "+1", "1e", "1-2", "0x1"]);
    prop_oneof![6 => usual, 2 => large, 1 => wrong].prop_map(str::to_owned)
}

fn string() -> impl Strategy<Value = String> {
    let usual =
        select(vec!["", "acme", "CREATE", "Company", "crm.milo.io", "0123456", "01234567", "ü€😀", "\u{7f}"]);
    let escaped = select(vec!["\\n", "\\\"", "\\\\", "\\/", "\\u0061", "\\ud83d\\ude00", "{\\\"a\\\":1}"]);
    let wrong = select(vec!["\\ud800", "\\udc00", "\\u12", "\\x", "\\", "\t", "\u{0}", "\"", "\u{1f}"]);
    let part = prop_oneof![9 => usual, 4 => escaped, 1 => wrong];
    prop::collection::vec(part, 0..4).prop_map(|parts| format!("\"{}\"", parts.concat()))
}

/// Keys of every object in a review, so that some appear twice or in the wrong place.
fn key() -> impl Strategy<Value = String> {
    let known = select(vec![
        "apiVersion",
        "kind",
        "request",
        "uid",
        "operation",
        "userInfo",
        "username",
        "groups",
        "extra",
        "object",
        "oldObject",
        "options",
        "fieldManager",
        "dryRun",
        "metadata",
        "name",
        "generateName",
        "namespace",
        "labels",
        "ownerReferences",
        "managedFields",
        "annotations",
        "spec",
        "status",
    ]);
    let unusual = select(vec![
        "",
        "$serde_json::private::RawValue",
        "$serde_json::private::Number",
        "\\u0073pec",
        "k:{\\\"name\\\":1}",
    ]);
    prop_oneof![5 => known.prop_map(quoted), 2 => unusual.prop_map(quoted), 1 => string()]
}

fn quoted(key: &str) -> String {
    format!("\"{key}\"")
}

fn object_of(fields: &[(String, String)]) -> String {
    let fields: Vec<String> = fields.iter().map(|(key, value)| format!("{key}:{value}")).collect();
    format!("{{{}}}", fields.join(","))
}

/// Mostly one of these texts.
fn mostly(usual: Vec<&'static str>) -> BoxedStrategy<String> {
    prop_oneof![40 => select(usual).prop_map(str::to_owned), 1 => value()].boxed()
}

/// Mostly an object with these fields, some of which can be missing, and perhaps others.
fn mostly_object(fields: Vec<(&'static str, BoxedStrategy<String>)>) -> BoxedStrategy<String> {
    let fields: Vec<_> = fields
        .into_iter()
        .map(|(key, value)| prop::option::weighted(0.97, value.prop_map(move |value| (quoted(key), value))))
        .collect();
    let others = prop::collection::vec((any::<Index>(), key(), value()), 0..2);
    let object = (fields, others).prop_map(|(fields, others)| {
        let mut fields: Vec<(String, String)> = fields.into_iter().flatten().collect();
        for (at, key, value) in others {
            fields.insert(at.index(fields.len() + 1), (key, value));
        }
        object_of(&fields)
    });
    prop_oneof![40 => object, 1 => value()].boxed()
}

/// The text of a review, most often a valid one.
fn body() -> impl Strategy<Value = String> {
    let kind = mostly_object(vec![
        ("group", mostly(vec![r#""crm.milo.io""#, r#""apps""#])),
        ("version", mostly(vec![r#""v1alpha1""#])),
        ("kind", mostly(vec![r#""Company""#, r#""Note""#, r#""AdmissionPolicy""#, r#""Deployment""#])),
    ]);
    let user = mostly_object(vec![
        ("username", mostly(vec![r#""alice""#, r#""al\u0069ce""#, "null"])),
        ("groups", mostly(vec![r#"["sales","system:authenticated"]"#, "null", "[]"])),
        ("extra", mostly(vec![r#"{"scopes":["a"],"b":null}"#, "null"])),
    ]);
    let options = mostly_object(vec![
        ("fieldManager", mostly(vec![r#""kubectl""#, "null"])),
        ("propagationPolicy", mostly(vec![r#""Orphan""#, "null"])),
        ("orphanDependents", mostly(vec!["true", "null"])),
    ]);
    let request = mostly_object(vec![
        ("uid", mostly(vec![r#""705ab4f5""#])),
        ("kind", kind),
        ("subResource", mostly(vec!["null", r#""""#, r#""status""#])),
        ("name", mostly(vec![r#""acme""#, r#""""#, "null"])),
        ("operation", mostly(vec![r#""CREATE""#, r#""UPDATE""#, r#""DELETE""#])),
        ("userInfo", user),
        ("object", stored()),
        ("oldObject", Union::new([stored(), mostly(vec!["null"])]).boxed()),
        ("dryRun", mostly(vec!["false", "true", "null"])),
        ("options", options),
    ]);
    mostly_object(vec![
        ("apiVersion", mostly(vec![r#""admission.k8s.io/v1""#])),
        ("kind", mostly(vec![r#""AdmissionReview""#])),
        ("request", request),
    ])
}

/// A record.
fn stored() -> BoxedStrategy<String> {
    let metadata = mostly_object(vec![
        ("name", mostly(vec![r#""acme""#, "null"])),
        ("generateName", mostly(vec![r#""acme-""#, "null"])),
        ("namespace", mostly(vec![r#""sales""#, "null"])),
        ("labels", mostly(vec![r#"{"crm.milo.io/source":"referral","a":"b"}"#, "null"])),
        ("ownerReferences", mostly(vec![r#"[{"uid":"b1ce","kind":"Company"},{}]"#, r#"[["u"]]"#, "null"])),
        ("annotations", mostly(vec![r#"{"last-applied":"{\"spec\":{\"a\":\"\\\"\"}}"}"#])),
        ("managedFields", mostly(vec![r#"[{"fieldsV1":{"f:spec":{".":{},"k:{\"a\":1}":{}}}}]"#])),
    ]);
    let spec = mostly_object(vec![
        ("displayName", mostly(vec![r#""Acme""#, r#""Acme \u0026 Söhne""#])),
        ("domains", mostly(vec![r#"["acme.com","acme.io"]"#])),
        ("creatorRef", mostly(vec![r#"{"name":"alice"}"#])),
    ]);
    mostly_object(vec![("metadata", metadata), ("spec", spec), ("status", value().boxed())])
}

/// A change of some bytes.
#[derive(Clone, Debug)]
enum Change {
    Remove(Index, usize),
    Insert(Index, &'static [u8]),
    Replace(Index, u8),
    Repeat(Index, usize),
    Cut(Index),
}

fn change() -> impl Strategy<Value = Change> {
    let signs: Vec<&[u8]> = vec![
        b"\"",
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b" ",
        b"\n",
        b"\r\t",
        b"0",
        b"-",
        b".",
        b"e",
        b"\\u",
        b"null",
        b"\0",
        b"\x1f",
        b"\xff",
        b"\xc3",
        b"\xc3\xbc",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b"\\\"",
        b"\"\"",
    ];
    prop_oneof![
        2 => (any::<Index>(), 1_usize..20).prop_map(|(at, bytes)| Change::Remove(at, bytes)),
        4 => (any::<Index>(), select(signs)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        2 => any::<(Index, u8)>().prop_map(|(at, byte)| Change::Replace(at, byte)),
        2 => (any::<Index>(), 1_usize..40).prop_map(|(at, bytes)| Change::Repeat(at, bytes)),
        1 => any::<Index>().prop_map(Change::Cut),
    ]
}

impl Change {
    fn apply(self, body: &mut Vec<u8>) {
        if body.is_empty() {
            return;
        }
        let length = body.len();
        match self {
            Self::Remove(at, bytes) => {
                drop(body.drain(at.index(length)..(at.index(length) + bytes).min(length)))
            }
            Self::Insert(at, bytes) => {
                let at = at.index(length);
                body.splice(at..at, bytes.iter().copied());
            }
            Self::Replace(at, byte) => body[at.index(length)] = byte,
            Self::Repeat(at, bytes) => {
                let at = at.index(length);
                body.extend_from_within(at..(at + bytes).min(length));
                body[at..].rotate_right(bytes.min(length - at));
            }
            Self::Cut(at) => body.truncate(at.index(length)),
        }
    }
}

fn bodies() -> u32 {
    std::env::var("READER_BODIES").map_or(BODIES, |bodies| bodies.parse().expect("READER_BODIES is a number"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: bodies(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_body_is_read_as_serde_json_reads_it(
        body in body(),
        space in select(vec!["", "", " ", "\t\r\n"]),
        changes in prop_oneof![2 => Just(vec![]), 1 => prop::collection::vec(change(), 1..4)],
    ) {
        // None of these signs is in a string of a valid review.
        let mut body = body.replace("},", &format!("}}{space},")).replace("{\"", &format!("{{{space}\"")).into_bytes();
        for change in changes {
            change.apply(&mut body);
        }
        let text = String::from_utf8_lossy(&body);
        prop_assert_eq!(format!("{:?}", parse(&body)), format!("{:?}", with_serde_json(&body)), "{}", text);
    }
}

/// Otherwise the comparison would compare serde_json with itself.
#[test]
fn usual_bodies_are_not_left_to_serde_json() {
    let object = r#"{"metadata":{"name":"acme","managedFields":[{"fieldsV1":{"f:a":{"k:{\"b\":1}":{}}}}],"generation":1},
        "spec":{"displayName":"Acme \u0026 Söhne","x":[1.5,null,true]},"status":{}}"#;
    let body = format!(
        r#"{{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{{"uid":"u","operation":"UPDATE",
        "userInfo":{{"username":"alice","groups":["a"],"extra":{{"b":["c"]}}}},"object":{object},"oldObject":{object}}}}}"#
    );
    assert!(json::read::<Envelope<'_, ObjectParts<'_>>>(&body).is_some());
}
