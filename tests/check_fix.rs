//! Tests that `check --fix` changes values that are not canonical, and nothing else.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::LazyLock;

use assert_cmd::Command;
use crm_check::check::fix::file::Diff;
use crm_check::check::fix::fix;
use crm_check::check::{Bundle, Judge};
use crm_core::policy::Policy;
use crm_manifest::{Variables, Walk, documents};
use jiff::Timestamp;
use proptest::prelude::*;
use rstest::rstest;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::common::diff::{apply, by_git_and_patch};

static JUDGE: LazyLock<Judge> =
    LazyLock::new(|| Judge::new(Policy::default(), None, Timestamp::UNIX_EPOCH).unwrap());

const DOMAINS: [&str; 4] = ["acme.com", "acme.io", "xn--bcher-kva.example", "planetexpress.com"];

/// The start of a company, up to its annotations. Nothing in it needs a fix.
const HEAD: &str = "apiVersion: crm.milo.io/v1alpha1 # ours\nkind: Company\nmetadata:\n  annotations:\n    x: ' Not  Ours.com '\n";

/// How an entry of a list of domains is written.
#[derive(Clone, Debug)]
struct Entry {
    domain: &'static str,
    /// The string in the file that becomes the domain.
    spelling: String,
    style: Style,
    /// The text before it.
    properties: &'static str,
    /// A comment on a line above it, if the layout allows one.
    above: &'static str,
    /// A comment after it, if the layout allows one.
    behind: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Plain,
    Single,
    Double,
    Literal,
    Folded,
    /// By the anchor of an annotation.
    Alias,
}

#[derive(Clone, Copy, Debug)]
enum Layout {
    Block,
    Brackets,
    BracketsOverLines { last_comma: bool },
}

#[derive(Clone, Debug)]
struct Company {
    /// The display name before and after fixing, with its quotes.
    name: (&'static str, &'static str),
    entries: Vec<Entry>,
    layout: Layout,
    last: &'static str,
}

#[derive(Clone, Debug)]
struct File {
    companies: Vec<Company>,
    line_end: &'static str,
    start: &'static str,
    ends_with_line_end: bool,
}

/// The state of a file: before or after fixing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Before,
    After,
}

impl Entry {
    fn is_canonical(&self) -> bool {
        self.spelling == self.domain
    }

    fn text(&self, state: State) -> &str {
        if state == State::Before { &self.spelling } else { self.domain }
    }

    /// The scalar; block scalars need a second line.
    fn scalar(&self, state: State, alias: &str) -> String {
        let text = self.text(state);
        let scalar = match self.style {
            Style::Plain => text.to_owned(),
            Style::Single => format!("'{text}'"),
            Style::Double => format!("\"{text}\""),
            Style::Literal => format!("|-\n      {text}"),
            Style::Folded => format!(">2-{}\n    {text}", self.behind),
            Style::Alias if state == State::Before || self.is_canonical() => return format!("*{alias}"),
            Style::Alias => return text.to_owned(),
        };
        format!("{}{scalar}", self.properties)
    }

    fn in_brackets(&self, state: State, alias: &str) -> String {
        match self.style {
            Style::Literal | Style::Folded => format!("!!str \"{}\"", self.text(state)),
            _ => self.scalar(state, alias),
        }
    }
}

impl Company {
    /// The entries with the names of their aliases; after fixing, without duplicates.
    fn entries(&self, state: State) -> Vec<(&Entry, String, bool)> {
        let mut known = HashSet::new();
        let named = self.entries.iter().enumerate().map(|(index, entry)| {
            let stays = known.insert(entry.domain) || state == State::Before;
            (entry, format!("a{index}"), stays)
        });
        named.collect()
    }

    fn write(&self, state: State) -> String {
        let name = if state == State::Before { self.name.0 } else { self.name.1 };
        let mut text = HEAD.to_owned();
        for (entry, alias, _) in self.entries(state).iter().filter(|(entry, ..)| entry.style == Style::Alias)
        {
            text += &format!("    {alias}: &{alias} {}\n", entry.spelling);
        }
        text += &format!("spec:\n  displayName: {name}\n");
        text += &self.list(state);
        text + self.last
    }

    fn list(&self, state: State) -> String {
        let entries = self.entries(state);
        let staying = entries.iter().filter(|(.., stays)| *stays);
        match self.layout {
            Layout::Block => {
                let line = |(entry, alias, stays): &(&Entry, String, bool)| {
                    let (above, behind) = (
                        entry.above,
                        if matches!(entry.style, Style::Folded | Style::Literal) { "" } else { entry.behind },
                    );
                    let scalar = entry.scalar(state, alias);
                    if *stays { format!("{above}  - {scalar}{behind}\n") } else { above.to_owned() }
                };
                format!("  domains: # all\n{}", entries.iter().map(line).collect::<String>())
            }
            Layout::Brackets => {
                let texts: Vec<String> =
                    staying.map(|(entry, alias, _)| entry.in_brackets(state, alias)).collect();
                format!("  domains: [ {} ] # all\n", texts.join(", "))
            }
            Layout::BracketsOverLines { last_comma } => {
                let last = staying.clone().count() - 1;
                let mut seen = 0;
                let line = |(entry, alias, stays): &(&Entry, String, bool)| {
                    if !*stays {
                        return entry.above.to_owned();
                    }
                    let comma = if seen < last || last_comma { "," } else { "" };
                    seen += 1;
                    let scalar = entry.in_brackets(state, alias);
                    format!("{}    {scalar}{comma}{}\n", entry.above, entry.behind)
                };
                format!("  domains: [\n{}  ]\n", entries.iter().map(line).collect::<String>())
            }
        }
    }

    fn value(&self) -> Value {
        let staying = self.entries(State::After).into_iter().filter(|(.., stays)| *stays);
        staying.map(|(entry, ..)| entry.domain).collect()
    }
}

impl File {
    fn write(&self, state: State) -> String {
        let companies: Vec<String> = self.companies.iter().map(|company| company.write(state)).collect();
        let text = format!("{}{}", self.start, companies.join("---\n"));
        let text = if self.ends_with_line_end { &text } else { text.strip_suffix('\n').unwrap() };
        text.replace('\n', self.line_end)
    }
}

fn entry() -> impl Strategy<Value = Entry> {
    let spelling = prop::sample::select(vec!["{}", "{}", "https://{}/", "www.{}", "{}.", "{}:443"]);
    let style = prop::sample::select(vec![
        Style::Plain,
        Style::Plain,
        Style::Single,
        Style::Double,
        Style::Literal,
        Style::Folded,
        Style::Alias,
    ]);
    let properties = prop::sample::select(vec!["", "", "&here ", "!!str ", "!!str &here "]);
    let above = prop::sample::select(vec!["", "", "  # about - it,\n", "\n"]);
    let behind = prop::sample::select(vec!["", "", " # [why, 'not", "  "]);
    let upper = any::<bool>();
    (prop::sample::select(DOMAINS.to_vec()), spelling, upper, style, properties, above, behind).prop_map(
        |(domain, spelling, upper, style, properties, above, behind)| {
            let spelled = spelling.replace("{}", domain);
            let spelling = if upper { spelled.to_uppercase() } else { spelled };
            Entry { domain, spelling, style, properties, above, behind }
        },
    )
}

fn company() -> impl Strategy<Value = Company> {
    let name = prop::sample::select(vec![
        ("Acme", "Acme"),
        ("' It''s Acme '  # trimmed", "'It''s Acme'  # trimmed"),
        ("\"\\tAcme: \\\"\\u00c4\\\"\"", "\"Acme: \\\"Ä\\\"\""),
        ("&name \"Acme  \\\n    Corp \"", "&name \"Acme  \\\n    Corp\""),
        (">-\n    Acme\n    Corp", ">-\n    Acme\n    Corp"),
        ("|+ # x\n    Ácme  \n\n", "|- # x\n    Ácme\n\n"),
    ]);
    let layout = prop_oneof![
        Just(Layout::Block),
        Just(Layout::Brackets),
        any::<bool>().prop_map(|last_comma| Layout::BracketsOverLines { last_comma }),
    ];
    let last = prop::sample::select(vec!["", "  description: |\n    Acme.com \n\n", "# end\n"]);
    (name, prop::collection::vec(entry(), 1..7), layout, last)
        .prop_map(|(name, entries, layout, last)| Company { name, entries, layout, last })
}

fn file() -> impl Strategy<Value = File> {
    let start = prop::sample::select(vec!["", "\u{feff}", "# é\n---\n", "---\n"]);
    let line_end = prop::sample::select(vec!["\n", "\r\n"]);
    (prop::collection::vec(company(), 1..4), line_end, start, any::<bool>()).prop_map(
        |(companies, line_end, start, ends_with_line_end)| File {
            companies,
            line_end,
            start,
            ends_with_line_end,
        },
    )
}

/// The text that `--fix` would write; `None` if it would not write.
fn fixed(text: &str) -> Option<String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.yaml");
    fs::write(&path, text).unwrap();
    let bundle = Bundle::read(&[path], &[], &Walk::default(), Variables::default(), &|| ()).unwrap();
    let rewritten = fix(&bundle, &JUDGE).rewritten;
    assert!(rewritten.len() <= 1);
    let diff = Diff::new(&rewritten, &directory.path().canonicalize().unwrap()).text;
    let after = rewritten.into_iter().next()?.after;
    assert_eq!(by_git_and_patch("a.yaml", text, &diff), [after.clone(), after.clone()]);
    Some(after)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn only_values_that_are_not_canonical_change_and_only_once(file in file()) {
        let (before, after) = (file.write(State::Before), file.write(State::After));
        let expected = (before != after).then(|| after.clone());
        prop_assert_eq!(fixed(&before), expected, "{}", before);
        prop_assert_eq!(fixed(&after), None);
        let values = documents(&after).unwrap();
        let domains: Vec<Value> = values.iter().map(|(_, value)| value["spec"]["domains"].clone()).collect();
        let expected: Vec<Value> = file.companies.iter().map(Company::value).collect();
        prop_assert_eq!(domains, expected);
    }
}

/// One line of a vector file: an input, and either its canonical value or its reason code.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    input: String,
    #[serde(default = "company_kind")]
    kind: String,
    expect: Option<String>,
    reject: Option<String>,
}

fn company_kind() -> String {
    "Company".to_owned()
}

/// Creates a record for each vector, and fixes and checks all of them at once.
#[track_caller]
fn check_vectors(
    vectors: &str,
    field: &str,
    rule: &str,
    in_spec: impl Fn(&str) -> Value,
    value: fn(&Value) -> &Value,
) {
    let vectors: Vec<Vector> = vectors
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let document = |(index, vector): (usize, &Vector)| {
        let Value::Object(fields) = in_spec(&vector.input) else { panic!("the spec is not an object") };
        let fields: String = fields.iter().map(|(name, value)| format!("  {name}: {value}\n")).collect();
        format!(
            "apiVersion: crm.milo.io/v1alpha1\nkind: {}\nmetadata: {{name: v{index}}}\nspec:\n  displayName: V\n{fields}",
            vector.kind
        )
    };
    let input: Vec<String> = vectors.iter().enumerate().map(document).collect();
    let (out, report) = fix_standard_input(&input.join("---\n"));
    let fixed = documents(&out).unwrap();
    assert_eq!((report["errors"].clone(), fixed.len()), (json!([]), vectors.len()));
    let findings = report["findings"].as_array().unwrap();
    let mut failures = String::new();
    for (index, (vector, (_, fixed))) in vectors.iter().zip(&fixed).enumerate() {
        // A hint says nothing against a value.
        let of_vector = findings
            .iter()
            .filter(|finding| finding["name"] == format!("v{index}") && finding["rule"] != "domain-hint");
        let codes: Vec<_> =
            of_vector.map(|finding| json!([finding["field"], finding["rule"], finding["code"]])).collect();
        let expected_codes: Vec<_> = vector.reject.iter().map(|code| json!([field, rule, code])).collect();
        let expected = vector.expect.as_ref().unwrap_or(&vector.input);
        let actual = value(&fixed["spec"]);
        if actual != expected || codes != expected_codes {
            failures += &format!("{:?}: {actual}, not {expected:?}: {codes:?}\n", vector.input);
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

fn check() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crm-admission"));
    // The developer's environment must not affect the test.
    let ours = std::env::vars().map(|(name, _)| name).filter(|name| name.starts_with("CRM_ADMISSION_"));
    for name in ours {
        command.env_remove(name);
    }
    command.env_remove("KUBERNETES_SERVICE_HOST").env("KUBECONFIG", "/nonexistent/kubeconfig").arg("check");
    command
}

/// The fixed stream, and the report about it.
fn fix_standard_input(input: &str) -> (String, Value) {
    let output = check().args(["--fix", "--format", "json", "-"]).write_stdin(input).output().unwrap();
    let report = String::from_utf8(output.stderr).unwrap();
    let json = serde_json::from_str(&report).unwrap_or_else(|error| panic!("{error}: {report}"));
    (String::from_utf8(output.stdout).unwrap(), json)
}

#[test]
fn every_domain_vector_is_fixed_or_reported() {
    let vectors = include_str!("vectors/domains.jsonl");
    let in_spec = |input: &str| json!({ "domains": [input] });
    check_vectors(vectors, "spec.domains[0]", "domain", in_spec, |spec| &spec["domains"][0]);
}

#[test]
fn every_linkedin_vector_is_fixed_or_reported() {
    let vectors = include_str!("vectors/linkedin.jsonl");
    let in_spec = |input: &str| json!({ "linkedinProfile": input });
    check_vectors(
        vectors,
        "spec.linkedinProfile",
        "linkedin-profile",
        in_spec,
        |spec| &spec["linkedinProfile"],
    );
}

const MESSY: &str = "apiVersion: crm.milo.io/v1alpha1\nkind: Company\nmetadata: {name: acme}\nspec: {displayName: Acme, domains: [www.acme.com]}\n";

fn tidy() -> String {
    MESSY.replace("www.", "")
}

/// A directory `records`, which is checked, beside other directories, which are not.
struct Tree(tempfile::TempDir);

/// The result of a check: exit code, standard output and standard error.
type Ended = (Option<i32>, String, String);

impl Tree {
    /// A tree with these files, which need a fix, and these links with their targets.
    fn new(files: &[&str], links: &[(&str, &str)]) -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        fs::create_dir(tree.path("records")).unwrap();
        for name in files {
            fs::create_dir_all(tree.path(name).parent().unwrap()).unwrap();
            fs::write(tree.path(name), MESSY).unwrap();
        }
        for (name, target) in links {
            symlink(target.replace("ROOT", tree.path("").to_str().unwrap()), tree.path(name)).unwrap();
        }
        tree
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().canonicalize().unwrap().join(name)
    }

    fn check(&self, args: &[&str]) -> Ended {
        let output = check().current_dir(self.0.path()).args(args).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Asserts that the file is unchanged and alone in its directory.
    #[track_caller]
    fn is_untouched(&self, file: &str) {
        assert_eq!(self.read(file), MESSY);
        assert_eq!(fs::read_dir(self.path(file).parent().unwrap()).unwrap().count(), 1);
    }

    /// The note about a link to a file outside of the directory.
    fn note(&self, link: &str, target: &str) -> String {
        let target = self.path(target);
        let target = target.display();
        format!(
            "note: {link}: not fixed, because it is a link to {target}, outside the given paths; pass that path to fix it\n"
        )
    }
}

#[rstest]
#[case::relative(&[("records/a.yaml", "../elsewhere/a.yaml")])]
#[case::absolute(&[("records/a.yaml", "ROOT/elsewhere/a.yaml")])]
#[case::roundabout(&[("records/a.yaml", "../records/../elsewhere/./a.yaml")])]
#[case::by_another_link(&[("records/a.yaml", ".b"), ("records/.b", "../elsewhere/a.yaml")])]
#[case::by_a_link_outside(&[("records/a.yaml", "../b.yaml"), ("b.yaml", "elsewhere/a.yaml")])]
#[case::by_a_link_to_a_directory(&[("records/d", "../elsewhere"), ("records/a.yaml", "d/a.yaml")])]
#[case::back_in_by_a_link_to_a_directory(&[("records/d", "../elsewhere"), ("records/a.yaml", "../records/d/a.yaml")])]
fn a_file_behind_a_link_outside_of_the_directory_is_not_written(#[case] links: &[(&str, &str)]) {
    let tree = Tree::new(&["elsewhere/a.yaml"], links);
    let (code, out, err) = tree.check(&["--fix", "records"]);
    assert_eq!((code, err), (Some(0), tree.note("records/a.yaml", "elsewhere/a.yaml")));
    assert!(out.contains("records/a.yaml:4:37: warn: ") && !out.contains("fixed"), "{out}");
    tree.is_untouched("elsewhere/a.yaml");
    for (link, _) in links {
        assert!(fs::symlink_metadata(tree.path(link)).unwrap().is_symlink());
    }
    // The finding remains, so it sets the exit code.
    assert_eq!(tree.check(&["--fix", "--fail-on", "warn", "records"]).0, Some(1));
}

#[test]
fn a_directory_with_the_same_prefix_is_outside() {
    let tree = Tree::new(&["records-old/a.yaml"], &[("records/a.yaml", "../records-old/a.yaml")]);
    assert_eq!(tree.check(&["--fix", "records"]).2, tree.note("records/a.yaml", "records-old/a.yaml"));
    tree.is_untouched("records-old/a.yaml");
}

#[test]
fn other_files_are_fixed_and_every_link_to_outside_is_reported() {
    let links = [("records/b.yaml", "../elsewhere/b.yaml"), ("records/c\n.yaml", "../other/c.yaml")];
    let tree = Tree::new(&["records/a.yaml", "elsewhere/b.yaml", "other/c.yaml"], &links);
    let (code, out, err) = tree.check(&["--fix", "--format", "json", "records"]);
    let notes =
        tree.note("records/b.yaml", "elsewhere/b.yaml") + &tree.note("records/c\\n.yaml", "other/c.yaml");
    assert_eq!((code, err), (Some(0), notes));
    let report: Value = serde_json::from_str(&out).unwrap();
    let findings = report["findings"].as_array().unwrap().iter();
    let not_fixed = findings.filter(|finding| finding["code"] == "not-canonical").count();
    assert_eq!((&report["summary"]["fixed"], not_fixed), (&json!(1), 2));
    assert_eq!(tree.read("records/a.yaml"), tidy());
    tree.is_untouched("elsewhere/b.yaml");
    tree.is_untouched("other/c.yaml");
}

#[test]
fn a_link_to_a_file_that_needs_no_fix_is_not_reported() {
    let tree = Tree::new(&["elsewhere/a.yaml"], &[("records/a.yaml", "../elsewhere/a.yaml")]);
    fs::write(tree.path("elsewhere/a.yaml"), tidy()).unwrap();
    assert_eq!(tree.check(&["--fix", "records"]).2, "");
    // The same if nothing is fixed.
    fs::write(tree.path("elsewhere/a.yaml"), MESSY).unwrap();
    assert_eq!(tree.check(&["records"]).2, "");
}

#[rstest]
#[case::beside(&[("records/a.yaml", "sub/b.yaml")])]
#[case::roundabout(&[("records/a.yaml", "../records/sub/b.yaml")])]
#[case::absolute(&[("records/a.yaml", "ROOT/records/sub/b.yaml")])]
#[case::by_another_link(&[("records/a.yaml", "../out.yaml"), ("out.yaml", "records/sub/b.yaml")])]
#[case::by_a_link_to_a_directory(&[("records/a.yaml", "d/b.yaml"), ("records/d", "sub")])]
fn a_file_behind_a_link_within_the_directory_is_written(#[case] links: &[(&str, &str)]) {
    let tree = Tree::new(&["records/sub/b.yaml"], links);
    let (code, out, err) = tree.check(&["--fix", "--fail-on", "warn", "records"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains("1 value fixed"), "{out}");
    assert_eq!(tree.read("records/sub/b.yaml"), tidy());
    assert!(!fs::symlink_metadata(tree.path("records/sub/b.yaml")).unwrap().is_symlink());
    for (link, target) in links.iter().filter(|(_, target)| !target.starts_with("ROOT")) {
        assert_eq!(fs::read_link(tree.path(link)).unwrap(), PathBuf::from(target));
    }
}

#[rstest]
#[case::the_link(&["records/a.yaml"])]
#[case::the_link_and_its_directory(&["records", "records/a.yaml"])]
#[case::the_target(&["records", "elsewhere/a.yaml"])]
#[case::the_directory_of_the_target(&["records", "elsewhere"])]
fn a_link_is_followed_if_its_target_is_given_too(#[case] paths: &[&str]) {
    let tree = Tree::new(&["elsewhere/a.yaml"], &[("records/a.yaml", "../elsewhere/a.yaml")]);
    let (code, out, err) = tree.check(&[&["--fix", "--fail-on", "warn"], paths].concat());
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert_eq!(tree.read("elsewhere/a.yaml"), tidy());
    assert_eq!(fs::read_link(tree.path("records/a.yaml")).unwrap(), PathBuf::from("../elsewhere/a.yaml"));
}

#[test]
fn a_directory_given_by_a_link_is_fixed_as_usual() {
    let links =
        [("link", "records"), ("records/b.yaml", "../elsewhere/b.yaml"), ("records/c.yaml", "a.yaml")];
    let tree = Tree::new(&["records/a.yaml", "elsewhere/b.yaml"], &links);
    assert_eq!(tree.check(&["--fix", "link"]).2, tree.note("link/b.yaml", "elsewhere/b.yaml"));
    assert_eq!(tree.read("records/a.yaml"), tidy());
    tree.is_untouched("elsewhere/b.yaml");
}

#[test]
fn a_diff_omits_and_reports_files_that_would_not_be_written() {
    let tree =
        Tree::new(&["records/a.yaml", "elsewhere/b.yaml"], &[("records/b.yaml", "../elsewhere/b.yaml")]);
    let (_, out, err) = tree.check(&["--diff", "records"]);
    assert!(out.starts_with("--- a/records/a.yaml\n") && !out.contains("b.yaml\n"), "{out}");
    assert!(err.ends_with(&tree.note("records/b.yaml", "elsewhere/b.yaml")), "{err}");
    assert_eq!((tree.read("records/a.yaml"), tree.read("elsewhere/b.yaml")), (MESSY.into(), MESSY.into()));
}

const COMPANY_ON_A_LINE: &str = "apiVersion: crm.milo.io/v1alpha1\nkind: Company\nmetadata: {name: acme}\nspec: {displayName: A, domains: [A.com]}\n";

#[rstest]
#[case::plain("a.yaml", "\n")]
#[case::crlf("a.yaml", "\r\n")]
#[case::spaces("my records/a  b.yaml", "\n")]
#[case::quotes("\"a\"\\é.yaml", "\n")]
#[case::a_tab("a\tb.yaml", "\n")]
#[case::a_line_break("a\nb.yaml", "\n")]
fn git_and_patch_take_the_diff_and_give_what_fix_gives(#[case] name: &str, #[case] line_end: &str) {
    let text = format!("# x\r# y\n{COMPANY_ON_A_LINE}# z\r").replace('\n', line_end);
    let tree = tempfile::tempdir().unwrap();
    let path = tree.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, &text).unwrap();
    let run = |arg: &str| {
        let output = check().current_dir(tree.path()).args([arg, "."]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let diff = run("--diff");
    run("--fix");
    let expected = fs::read_to_string(path).unwrap();
    assert_ne!(expected, text);
    assert_eq!(by_git_and_patch(name, &text, &diff), [expected.clone(), expected]);
}

#[rstest]
#[case::absolute("work", &["ROOT/work/a.yaml"], "work")]
#[case::up_and_down("work/sub", &["../sub/../sub/a.yaml"], "work/sub")]
#[case::above("work/sub", &["../a.yaml"], "work")]
#[case::above_and_here("work/sub", &["..", "a.yaml"], "work")]
fn a_diff_has_paths_that_can_be_applied(#[case] directory: &str, #[case] paths: &[&str], #[case] base: &str) {
    let tree = tempfile::tempdir().unwrap();
    let root = tree.path().canonicalize().unwrap();
    fs::create_dir_all(root.join("work/sub")).unwrap();
    fs::create_dir_all(root.join("work/.git")).unwrap();
    for file in ["work/a.yaml", "work/sub/a.yaml"] {
        fs::write(root.join(file), COMPANY_ON_A_LINE).unwrap();
    }
    let paths = paths.iter().map(|path| path.replace("ROOT", root.to_str().unwrap()));
    let output = check().current_dir(root.join(directory)).arg("--diff").args(paths).output().unwrap();
    let (diff, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    apply("patch", &["-p1"], &root.join(base), &diff);
    let note = format!("the paths in the diff are relative to {}; apply it there", root.join(base).display());
    assert_eq!(err.contains(&note), base != directory, "{err}");
}
