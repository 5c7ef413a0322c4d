//! A report as SARIF 2.1.0, for code scanning.

use std::collections::BTreeMap;

use crm_core::catalog::{self, Action, ReportedRule, Rule, RuleId, SUPPRESSION};
use serde_json::{Value, json};
use serde_sarif::sarif::{
    self, ArtifactLocation, Invocation, Location, LogicalLocation, Message, MultiformatMessageString,
    Notification, PhysicalLocation, PropertyBag, Region, ReportingConfiguration, ReportingDescriptor,
    Result as Finding, ResultLevel, Run, Sarif, Tool, ToolComponent,
};

use super::baseline::{Compared, Entry};
use super::diagnostic::{Diagnostic, InputError, Place, Suppressed};
use super::indented::pretty;
use super::results::{Results, UniqueNames, Unlisted, fingerprint, uri};

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// The key of the fingerprint. Its number changes if the fingerprints change. The key that GitHub itself uses is not
/// set: its upload action computes a hash of the line.
const FINGERPRINT: &str = "crmAdmission/v1";

/// The results as SARIF.
pub fn render(results: &Results<'_>) -> String {
    let mut names = UniqueNames::default();
    let run = Run::builder()
        .tool(Tool::builder().driver(driver()).build())
        .invocations(vec![invocation(results)])
        .column_kind(json!("unicodeCodePoints"))
        .results(all_findings(results, &mut names))
        .build();
    pretty(&Sarif::builder().schema(SCHEMA).version(json!("2.1.0")).runs(vec![run]).build())
}

/// The program, with all its rules.
fn driver() -> ToolComponent {
    ToolComponent::builder()
        .name("crm-admission")
        .version(env!("CARGO_PKG_VERSION"))
        .rules(catalog::rules().iter().map(of_rule).chain([of_suppression()]).collect::<Vec<_>>())
        .build()
}

fn of_rule(rule: &Rule) -> ReportingDescriptor {
    let help = (rule.help_text(), rule.help_markdown());
    let kinds = rule.kinds.iter().map(|kind| kind.as_str());
    descriptor(rule.id.as_str(), [rule.title, rule.explanation], help, rule.default_action, kinds)
}

fn of_suppression() -> ReportingDescriptor {
    let help = (SUPPRESSION.fix.to_owned(), SUPPRESSION.help_markdown());
    let texts = [SUPPRESSION.title, SUPPRESSION.explanation];
    descriptor(SUPPRESSION.id, texts, help, Action::Warn, [])
}

/// `texts` are the title and the explanation, and `help` is given as text and as Markdown.
fn descriptor<'k>(
    id: &str,
    texts: [&str; 2],
    (text, markdown): (String, String),
    action: Action,
    kinds: impl IntoIterator<Item = &'k str>,
) -> ReportingDescriptor {
    let [title, explanation] = texts.map(|text| MultiformatMessageString::builder().text(text).build());
    let tags: Vec<String> = ["kubernetes"].into_iter().chain(kinds).map(str::to_owned).collect();
    let mut descriptor = ReportingDescriptor::builder()
        .id(id)
        .short_description(title)
        .full_description(explanation)
        .help(MultiformatMessageString::builder().text(text).markdown(markdown).build())
        .default_configuration(configuration(action))
        .properties(PropertyBag::builder().tags(tags).additional_properties(precision()).build())
        .build();
    // SARIF allows no name that is the id in another case.
    descriptor.name = Some(pascal_case(id)).filter(|name| !name.eq_ignore_ascii_case(id));
    descriptor
}

/// GitHub sorts alerts by it. A rule is violated or not, so it is always very high.
fn precision() -> BTreeMap<String, Value> {
    BTreeMap::from([("precision".to_owned(), json!("very-high"))])
}

fn pascal_case(id: &str) -> String {
    let mut name = String::with_capacity(id.len());
    for word in id.split('-') {
        let (first, rest) = word.split_at_checked(1).unwrap_or((word, ""));
        name.push_str(&first.to_ascii_uppercase());
        name.push_str(rest);
    }
    name
}

fn configuration(action: Action) -> ReportingConfiguration {
    let configuration = ReportingConfiguration::builder();
    match action {
        Action::Disabled => configuration.enabled(false).build(),
        Action::Audit | Action::Warn | Action::Deny => configuration.level(json!(level(action))).build(),
    }
}

fn level(action: Action) -> ResultLevel {
    match action {
        Action::Deny => ResultLevel::Error,
        Action::Warn => ResultLevel::Warning,
        Action::Audit | Action::Disabled => ResultLevel::Note,
    }
}

/// The findings, those that a comment suppresses, and with a baseline those in it, found or not.
fn all_findings(results: &Results<'_>, names: &mut UniqueNames) -> Vec<Finding> {
    let (mut found, mut known) = (Vec::new(), Vec::new());
    for (finding, is_known) in results.all() {
        let list = if is_known { &mut known } else { &mut found };
        list.push(result(finding, names));
    }
    for Suppressed { finding, reason } in results.suppressed {
        let suppression = sarif::Suppression::builder().kind(json!("inSource"));
        let suppression = match reason.as_str() {
            "" => suppression.build(),
            reason => suppression.justification(reason).build(),
        };
        found.push(Finding { suppressions: Some(vec![suppression]), ..result(finding, names) });
    }
    if let Some(Compared { file, stale, .. }) = results.baseline {
        let in_state = |state: &str, finding| Finding { baseline_state: Some(json!(state)), ..finding };
        found = found.into_iter().map(|finding| in_state("new", finding)).collect();
        // Some programs hide what is suppressed, but not what is unchanged.
        let external = sarif::Suppression::builder().kind(json!("external")).build();
        let known = known.into_iter().map(|finding| in_state("unchanged", finding));
        found.extend(known.map(|finding| Finding { suppressions: Some(vec![external.clone()]), ..finding }));
        found.extend(stale.iter().map(|entry| in_state("absent", no_longer_found(entry, file))));
    }
    found
}

/// A known finding that is no longer found. GitHub rejects a file with a result that is in no file, so it is at the start
/// of that of the baseline.
fn no_longer_found(entry: &Entry, baseline: &str) -> Finding {
    let Entry { rule, code, kind, name, field, .. } = entry;
    let object = [kind.as_str(), name.as_deref().unwrap_or_default(), field.as_str()];
    let object = object.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
    let logical = LogicalLocation::builder().fully_qualified_name(object.as_str()).kind("object").build();
    let location = Location::builder()
        .logical_locations(vec![logical])
        .physical_location(physical(baseline, Some((1, 1))))
        .build();
    let rule_and_code = code.as_ref().map_or_else(|| rule.clone(), |code| format!("{rule}/{code}"));
    let text = format!("{object}: no longer found; write the baseline again [{rule_and_code}]");
    Finding::builder()
        .rule_id(rule.as_str())
        .level(ResultLevel::Note)
        .message(Message::builder().text(text).build())
        .locations(vec![location])
        .build()
}

fn result(finding: &Diagnostic, names: &mut UniqueNames) -> Finding {
    let logical =
        LogicalLocation::builder().fully_qualified_name(finding.qualified_name()).kind("object").build();
    let location = Location::builder().logical_locations(vec![logical]);
    let location = match &finding.place {
        Some(Place { file, line, column, .. }) => {
            location.physical_location(physical(file, Some((*line, *column)))).build()
        }
        None => location.build(),
    };
    Finding::builder()
        .rule_id(finding.rule.as_str())
        .rule_index(rule_index(finding.rule))
        .level(level(finding.action))
        .message(Message::builder().text(finding.message.clone() + &finding.origin()).build())
        .locations(vec![location])
        .partial_fingerprints(BTreeMap::from([(FINGERPRINT.to_owned(), fingerprint(finding, names))]))
        .properties(properties(finding))
        .build()
}

/// The catalogue lists the rules in the order of their ids, and so does [`driver`].
fn rule_index(rule: ReportedRule) -> i64 {
    match rule {
        ReportedRule::Rule(rule) => rule as i64,
        ReportedRule::Suppression => number(RuleId::ALL.len()),
    }
}

fn properties(finding: &Diagnostic) -> PropertyBag {
    let mut properties = BTreeMap::from([
        ("action".to_owned(), json!(finding.action.as_str())),
        ("code".to_owned(), json!(finding.code)),
        ("field".to_owned(), json!(finding.field)),
        ("kind".to_owned(), json!(finding.kind)),
        ("name".to_owned(), json!(finding.name)),
    ]);
    if let Some(source) = finding.place.as_ref().and_then(|place| place.rendered_from.as_deref()) {
        properties.insert("source".to_owned(), Value::from(source));
    }
    PropertyBag::builder().additional_properties(properties).build()
}

fn physical(file: &str, place: Option<(usize, usize)>) -> PhysicalLocation {
    let artifact = ArtifactLocation::builder().uri(uri(file)).build();
    let location = PhysicalLocation::builder().artifact_location(artifact);
    match place {
        Some((line, column)) => location
            .region(Region::builder().start_line(number(line)).start_column(number(column)).build())
            .build(),
        None => location.build(),
    }
}

fn number(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn invocation(results: &Results<'_>) -> Invocation {
    let invocation = Invocation::builder().execution_successful(results.errors.is_empty());
    let errors = results.errors.iter().map(notification);
    let notifications: Vec<_> = errors.chain(results.unlisted.iter().map(not_listed)).collect();
    if notifications.is_empty() {
        return invocation.build();
    }
    invocation.tool_execution_notifications(notifications).build()
}

fn not_listed(unlisted: &Unlisted) -> Notification {
    let Unlisted { rule, count, .. } = unlisted;
    let text = format!("{count} more findings of {rule} are not listed; --format json lists all");
    Notification::builder().level(json!("note")).message(Message::builder().text(text).build()).build()
}

fn notification(error: &InputError) -> Notification {
    let location = Location::builder().physical_location(physical(&error.file, error.position)).build();
    Notification::builder()
        .level(json!("error"))
        .message(Message::builder().text(error.message.clone()).build())
        .locations(vec![location])
        .build()
}

#[cfg(test)]
mod tests {
    use super::super::baseline::Baseline;
    use super::super::lasting::Lasting;
    use super::super::samples;
    use super::super::summary::Report;
    use super::*;

    fn parsed(report: &Report) -> (Sarif, Value) {
        let text = render(&report.results(None));
        (serde_json::from_str(&text).unwrap(), serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn each_finding_is_a_result() {
        let (_, value) = parsed(&samples::report());
        insta::assert_snapshot!(pretty(&value["runs"][0]["results"]));
    }

    #[test]
    fn a_baseline_gives_each_result_a_state() {
        let mut report = samples::report();
        let finding = &mut report.findings[1];
        finding.lasting = Some(Lasting::default().with_value(&json!("gold")));
        let mut gone = finding.clone();
        gone.field = "spec.domains[0]".to_owned();
        let baseline = Baseline::of(&[finding.clone(), gone]);
        let suppressed = Suppressed { finding: report.findings.remove(2), reason: "why".to_owned() };
        report.suppressed.push(suppressed);
        report.errors.clear();
        report.compare("ci/known.json", &baseline);
        let (_, value) = parsed(&report);
        let results = value["runs"][0]["results"].as_array().unwrap();
        let states: Vec<_> = results.iter().map(|result| result["baselineState"].as_str().unwrap()).collect();
        assert_eq!(states, ["new", "new", "unchanged", "absent"]);
        let hidden: Vec<_> = results.iter().map(|result| &result["suppressions"][0]["kind"]).collect();
        assert_eq!(hidden, [&Value::Null, &json!("inSource"), &json!("external"), &Value::Null]);
        insta::assert_snapshot!(pretty(&results[3]));
    }

    #[test]
    fn a_stored_object_has_only_a_logical_location_and_unlisted_findings_are_notes() {
        let findings = samples::stored_findings();
        let value: Value = serde_json::from_str(&render(&samples::stored(&findings))).unwrap();
        insta::assert_snapshot!(pretty(&json!({
            "results": value["runs"][0]["results"], "invocations": value["runs"][0]["invocations"],
        })));
    }

    #[test]
    fn the_file_names_the_program_and_the_unit_of_columns() {
        let (sarif, value) = parsed(&Report::default());
        assert_eq!(sarif.runs.len(), 1);
        assert_eq!(value["version"], "2.1.0");
        assert_eq!(value["$schema"], SCHEMA);
        assert_eq!(value["runs"][0]["columnKind"], "unicodeCodePoints");
        assert_eq!(value["runs"][0]["tool"]["driver"]["name"], "crm-admission");
        assert_eq!(value["runs"][0]["tool"]["driver"]["version"], env!("CARGO_PKG_VERSION"));
        // Without the list, a run does not count as a scan, and alerts of earlier runs would stay open.
        assert_eq!(value["runs"][0]["results"], json!([]));
        assert_eq!(value["runs"][0]["invocations"], json!([{"executionSuccessful": true}]));
    }

    #[test]
    fn every_rule_index_is_that_of_its_id() {
        let mut report = samples::report();
        let finding = report.findings[0].clone();
        let rules = RuleId::ALL.map(ReportedRule::Rule).into_iter().chain([ReportedRule::Suppression]);
        report.findings = rules.map(|rule| Diagnostic { rule, code: None, ..finding.clone() }).collect();
        let (sarif, _) = parsed(&report);
        let run = &sarif.runs[0];
        let rules = run.tool.driver.rules.as_ref().unwrap();
        assert_eq!(rules.len(), RuleId::ALL.len() + 1);
        for result in run.results.as_ref().unwrap() {
            let index = usize::try_from(result.rule_index.unwrap()).unwrap();
            assert_eq!(Some(&rules[index].id), result.rule_id.as_ref());
        }
    }

    #[test]
    fn every_rule_is_explained() {
        let (sarif, value) = parsed(&Report::default());
        for rule in sarif.runs[0].tool.driver.rules.as_ref().unwrap() {
            let help = rule.help.as_ref().unwrap();
            assert!(
                !help.text.is_empty() && help.markdown.as_ref().unwrap().contains("```yaml\n"),
                "{}",
                rule.id
            );
            assert!(rule.short_description.is_some() && rule.full_description.is_some(), "{}", rule.id);
            // GitHub rejects a file with more.
            assert!(rule.properties.as_ref().unwrap().tags.as_ref().unwrap().len() <= 20, "{}", rule.id);
        }
        let rules = &value["runs"][0]["tool"]["driver"]["rules"];
        assert_eq!(rules[1]["name"], "DisplayName");
        assert_eq!((&rules[0]["id"], rules[0].get("name")), (&json!("schema"), None));
        assert_eq!(rules[1]["defaultConfiguration"], json!({"level": "error"}));
        assert_eq!(
            rules[1]["properties"],
            json!({"tags": ["kubernetes", "Company", "Person"], "precision": "very-high"})
        );
        assert_eq!(rules[4]["defaultConfiguration"], json!({"enabled": false}));
    }

    #[test]
    fn default_actions_become_levels() {
        let configured = Action::ALL.map(|action| serde_json::to_value(configuration(action)).unwrap());
        let expected = [
            json!({"enabled": false}),
            json!({"level": "note"}),
            json!({"level": "warning"}),
            json!({"level": "error"}),
        ];
        assert_eq!(configured, expected);
    }

    #[test]
    fn an_input_that_cannot_be_read_makes_the_run_unsuccessful() {
        let (_, value) = parsed(&samples::report());
        insta::assert_snapshot!(pretty(&value["runs"][0]["invocations"]));
    }

    #[test]
    fn files_are_named_by_uris() {
        assert_eq!(uri("crm/a b.yaml"), "crm/a%20b.yaml");
        assert_eq!(uri("./crm/a.yaml"), "crm/a.yaml");
        assert_eq!(uri("../a-b_c~d.yaml"), "../a-b_c~d.yaml");
        assert_eq!(uri("a:b/100%?#[é].yaml"), "a%3Ab/100%25%3F%23%5B%C3%A9%5D.yaml");
        assert_eq!(uri("/srv/a b.yaml"), "file:///srv/a%20b.yaml");
        assert_eq!(uri("-"), "stdin");
        assert_eq!(uri("a\n\u{1b}\\.yaml"), "a%0A%1B%5C.yaml");
    }

    #[test]
    fn a_fingerprint_is_unique_and_stays_when_lines_move() {
        let report = samples::report();
        let moved = samples::moved();
        let fingerprints = |report| -> Vec<String> {
            let (sarif, _) = parsed(report);
            let results = sarif.runs.into_iter().flat_map(|run| run.results.unwrap());
            results.map(|result| result.partial_fingerprints.unwrap()[FINGERPRINT].clone()).collect()
        };
        let (before, after) = (fingerprints(&report), fingerprints(&moved));
        assert_eq!(before, after[..3]);
        assert_eq!(after[3], format!("{} (2)", after[0]));
    }

    #[test]
    fn a_fingerprint_is_the_same_with_a_baseline() {
        let fingerprints = |report: &Report| -> BTreeMap<usize, String> {
            let (sarif, _) = parsed(report);
            let results = sarif.runs.into_iter().flat_map(|run| run.results.unwrap());
            let of = |result: Finding| {
                let line = result.locations.unwrap()[0].physical_location.clone()?.region?.start_line?;
                Some((usize::try_from(line).unwrap(), result.partial_fingerprints?.get(FINGERPRINT)?.clone()))
            };
            results.filter_map(of).collect()
        };
        let mut report = samples::twins();
        let before = fingerprints(&report);
        report.compare("b.json", &Baseline::of(&report.findings[1..]));
        assert_eq!((report.findings.len(), before.len()), (1, 2));
        assert_eq!(fingerprints(&report), before);
    }

    #[test]
    fn text_of_users_is_unchanged() {
        let report = samples::hostile();
        assert!(!render(&report.results(None)).contains(['\u{1b}', '\u{0}', '\r']));
        let (_, value) = parsed(&report);
        let result = &value["runs"][0]["results"][0];
        let finding = &report.findings[0];
        assert_eq!(
            result["message"]["text"],
            format!("{} (from {})", finding.message, finding.place.as_ref().unwrap().file)
        );
        assert_eq!(result["properties"]["field"], finding.field);
        let file = "a%25%0D%0A%3A%3Aerror%3A%3A%2Cb%3A%1B%5B31m%00%3C%26%22%5D%5D%3E%E2%80%AE%EF%BF%BE";
        assert_eq!(result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"], file);
    }
}
