//! Tests manifests and docs without a cluster: manifests are YAML and use existing metrics, and the
//! links in the docs have a target.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use crm_admission::telemetry::metrics::{self, PREFIX, Type};
use crm_admission::telemetry::{ConditionRecords, DirectoryKind, Metrics};
use crm_core::api::installation::CONDITIONS_LEASE;
use crm_core::rules::SKIPPED_USERS;
use ignore::Walk;
use regex::Regex;
use serde_json::Value;

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

fn read(file: &str) -> String {
    std::fs::read_to_string(path(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

#[track_caller]
fn yaml(file: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&read(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The YAML files below a directory, except the templates of the chart, which are not YAML before Helm renders them.
fn manifests(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("templates") {
            manifests(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            found.push(path);
        }
    }
}

#[test]
fn every_manifest_is_yaml_and_has_a_kind() {
    let mut found = Vec::new();
    manifests(&path("manifests"), &mut found);
    assert!(found.len() > 25, "{found:?}");
    for file in found {
        let name = file.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().to_str().unwrap();
        let no_object = ["Chart.yaml", "values.yaml"].iter().any(|end| name.ends_with(end))
            || name.starts_with("manifests/chart/values/");
        for document in yaml(name) {
            assert!(no_object || document["kind"].is_string(), "{name}: {document}");
        }
    }
}

#[test]
fn the_registration_excludes_the_controllers_whose_deletions_are_not_checked() {
    let registration = read("manifests/registration/webhooks.yaml");
    assert_eq!(registration.matches("'system:serviceaccount:").count(), SKIPPED_USERS.len());
    for cleaner in SKIPPED_USERS {
        assert!(registration.contains(&format!("'{cleaner}'")), "{cleaner}");
    }
}

#[test]
fn the_image_is_built_with_the_toolchain_of_this_repository() {
    let dockerfile = read("Dockerfile");
    let toolchain = read("rust-toolchain.toml");
    let (_, rest) = toolchain.split_once("channel = \"").unwrap();
    let channel = rest.split('"').next().unwrap();
    assert!(dockerfile.contains(&format!(" rust:{channel}-")), "not the toolchain {channel}");
}

#[test]
fn the_image_is_built_from_every_package_of_the_workspace() {
    let [dockerfile, ignored] = [read("Dockerfile"), read(".dockerignore")];
    let mut directories = BTreeSet::from(["crates", "src", "scripts"].map(str::to_owned));
    directories.extend(included("src").iter().chain(&included("crates")).map(|file| top(file)));
    assert!(directories.contains("manifests"), "the program contains the registration");
    for directory in directories {
        assert!(path(&directory).is_dir(), "{directory}");
        assert!(dockerfile.contains(&format!("\nCOPY {directory} ./{directory}\n")), "{directory}");
        assert!(ignored.contains(&format!("\n!{directory}\n")), "{directory}");
    }
}

/// The files that the sources below a directory include, as paths in the repository.
fn included(directory: &str) -> Vec<PathBuf> {
    let include = Regex::new(r#"include_(?:str|bytes)!\("([^"]+)"\)"#).unwrap();
    let files = Walk::new(path(directory)).map(Result::unwrap);
    let sources = files.filter(|file| file.path().extension().is_some_and(|extension| extension == "rs"));
    let mut included = Vec::new();
    for source in sources {
        let text = std::fs::read_to_string(source.path()).unwrap();
        for (_, [file]) in include.captures_iter(&text).map(|found| found.extract()) {
            let file = source.path().parent().unwrap().join(file).canonicalize().unwrap();
            included.push(file.strip_prefix(path("").canonicalize().unwrap()).unwrap().to_owned());
        }
    }
    included
}

/// The first directory of a path.
fn top(file: &Path) -> String {
    file.iter().next().unwrap().to_string_lossy().into_owned()
}

#[test]
fn the_values_of_the_chart_and_its_schema_match() {
    let values = &yaml("manifests/chart/crm-admission/values.yaml")[0];
    let schema: Value =
        serde_json::from_str(&read("manifests/chart/crm-admission/values.schema.json")).unwrap();
    let keys = |value: &Value| -> BTreeSet<String> {
        value
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, _)| key.clone())
            .filter(|key| key != "global")
            .collect()
    };
    assert_eq!(keys(values), keys(&schema["properties"]));
    for key in keys(values) {
        let properties = &schema["properties"][&key]["properties"];
        if properties.is_object() {
            assert_eq!(keys(&values[&key]), keys(properties), "{key}");
        }
    }
}

/// The files below a directory with this extension, as paths in the repository.
fn below(directory: &str, end: &str) -> Vec<String> {
    let mut found = Vec::new();
    manifests(&path(directory), &mut found);
    let relative =
        |file: &PathBuf| file.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().to_str().unwrap().to_owned();
    found.iter().map(relative).filter(|file| file.ends_with(end)).collect()
}

/// Whether the objects grant permission to change webhook configurations.
fn grants_configurations(objects: &[Value]) -> bool {
    let has = |rule: &Value, field: &str, wanted: &[&str]| {
        rule[field].as_array().into_iter().flatten().any(|it| wanted.contains(&it.as_str().unwrap()))
    };
    let resources = ["mutatingwebhookconfigurations", "validatingwebhookconfigurations", "*"];
    let verbs = ["create", "update", "patch", "delete", "deletecollection", "*"];
    objects.iter().filter(|object| object["kind"] == "ClusterRole").any(|role| {
        let rules = role["rules"].as_array().into_iter().flatten();
        rules.into_iter().any(|rule| has(rule, "resources", &resources) && has(rule, "verbs", &verbs))
    })
}

/// The objects of a kustomization and of all its bases, before patches.
fn objects_of(directory: &Path) -> Vec<Value> {
    let read = |file: &Path| {
        let text = std::fs::read_to_string(file).unwrap();
        serde_saphyr::from_multiple::<Value>(&text).unwrap_or_else(|error| panic!("{file:?}: {error}"))
    };
    let kustomization = &read(&directory.join("kustomization.yaml"))[0];
    let parts = ["resources", "components"].map(|field| kustomization[field].as_array().cloned());
    let parts = parts.into_iter().flatten().flatten().map(|part| directory.join(part.as_str().unwrap()));
    parts.flat_map(|part| if part.is_dir() { objects_of(&part) } else { read(&part) }).collect()
}

#[test]
fn the_permission_to_patch_webhook_configurations_comes_with_the_guard() {
    let mut granting = Vec::new();
    for kustomization in below("manifests", "kustomization.yaml") {
        let directory = Path::new(&kustomization).parent().unwrap().to_owned();
        let objects = objects_of(&path(directory.to_str().unwrap()));
        if grants_configurations(&objects) {
            let guard = |object: &&Value| object["metadata"]["name"] == "crm-admission-guard";
            let kinds: Vec<_> =
                objects.iter().filter(guard).map(|object| object["kind"].as_str().unwrap()).collect();
            let both = ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"];
            assert_eq!(kinds, both, "{kustomization}");
            granting.push(directory.file_name().unwrap().to_str().unwrap().to_owned());
        }
    }
    granting.sort_unstable();
    assert_eq!(granting, ["development", "one-call", "self-managed"]);
}

/// The kind in lower case and the name of each object below these directories, generated ConfigMaps included.
fn objects_below(directories: &[&str]) -> BTreeSet<(String, String)> {
    let mut files = Vec::new();
    for directory in directories {
        manifests(&path(&format!("manifests/{directory}")), &mut files);
    }
    let documents = files
        .iter()
        .flat_map(|file| yaml(file.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().to_str().unwrap()));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let names = documents.flat_map(|document| {
        let generated = document["configMapGenerator"].as_array().into_iter().flatten();
        let generated = generated.map(|map| ("configmap".to_owned(), text(&map["name"])));
        let object = (text(&document["kind"]).to_lowercase(), text(&document["metadata"]["name"]));
        generated.chain([object]).collect::<Vec<_>>()
    });
    names.filter(|(_, name)| !name.is_empty()).collect()
}

#[test]
fn the_scripts_know_every_object_that_only_some_installations_have() {
    let script = read("scripts/lib/objects");
    let (_, listed) = script.split_once("cat <<TEXT\n").unwrap();
    let (listed, _) = listed.split_once("\nTEXT").unwrap();
    let listed: BTreeSet<(String, String)> = listed
        .lines()
        .map(|line| {
            let mut words = line.split(' ');
            let (resource, name) = (words.next().unwrap(), words.next().unwrap());
            (resource.split('.').next().unwrap().to_owned(), name.to_owned())
        })
        .collect();
    let always = objects_below(&["base", "registration"]);
    let mut optional = objects_below(&["overlays", "components", "guard", "floor"]);
    // The program creates it.
    optional.insert(("lease".to_owned(), CONDITIONS_LEASE.to_owned()));
    assert_eq!(listed, optional.difference(&always).cloned().collect());
}

#[test]
fn the_chart_has_the_guard_wherever_it_grants_the_permission() {
    let template = |name: &str| read(&format!("manifests/chart/crm-admission/templates/{name}.yaml"));
    let condition = |name: &str| template(name).lines().next().unwrap().to_owned();
    assert_eq!(condition("guard"), condition("rbac-certificates"));
    assert!(condition("guard").starts_with("{{- if "));
    for file in std::fs::read_dir(path("manifests/chart/crm-admission/templates")).unwrap() {
        let file = file.unwrap().path();
        let grants = std::fs::read_to_string(&file).unwrap().contains("webhookconfigurations, ");
        assert!(!grants || file.ends_with("rbac-certificates.yaml"), "{}", file.display());
    }
}

#[test]
fn the_program_accepts_the_flags_of_the_deployment() {
    let container = &yaml("manifests/base/deployment.yaml")[0]["spec"]["template"]["spec"]["containers"][0];
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let base: Vec<String> = container["args"].as_array().unwrap().iter().map(text).collect();
    for part in [
        "components/audit-metrics",
        "components/milo",
        "components/conditions",
        "components/mounted-certificate",
        "overlays/development",
        "overlays/self-managed",
    ] {
        let kustomization = &yaml(&format!("manifests/{part}/kustomization.yaml"))[0];
        let patch: Vec<Value> =
            serde_saphyr::from_str(kustomization["patches"][0]["patch"].as_str().unwrap()).unwrap();
        let added = patch.iter().filter(|operation| operation["path"].as_str().unwrap().ends_with("/args/-"));
        let added: Vec<String> = added.map(|operation| text(&operation["value"])).collect();
        assert!(!added.is_empty(), "{part}");
        // `--help` comes last, because an unknown flag before it is an error.
        let output = Command::new(env!("CARGO_BIN_EXE_crm-admission"))
            .args(base.iter().chain(&added))
            .arg("--help")
            .output()
            .unwrap();
        assert!(output.status.success(), "{part}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn the_audit_accepts_the_flags_of_the_cron_job() {
    let job = &yaml("manifests/components/audit/cronjob.yaml")[0]["spec"]["jobTemplate"];
    let args = job["spec"]["template"]["spec"]["containers"][0]["args"].as_array().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_crm-admission"))
        .args(args.iter().map(|arg| arg.as_str().unwrap()))
        .arg("--help")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The scraped metrics after each kind of event was counted once.
fn scraped() -> String {
    let metrics = Metrics::new();
    metrics.decisions().decided("mutate", "Company", "CREATE", "denied", Duration::from_millis(1));
    metrics.decisions().finding("domain", "Deny");
    metrics.decisions().change("domain");
    metrics.directory().lookup(&Arc::from("Company.crm.milo.io"), "failed");
    metrics.directory().count_objects(|| {
        let kind = "Company.crm.milo.io".to_owned();
        vec![DirectoryKind { kind, objects: 1, ready: true, restarts: 0 }]
    });
    metrics.serving().count_tasks(|| 1);
    metrics.directory().policy_in_force("built-in");
    metrics.certificates().expires("serving", 1);
    metrics.certificates().written("secret");
    metrics.serving().count_read_bytes(|| 1);
    metrics.serving().connection_failed("handshake");
    metrics.audit().found("Person", "company-exists", 1, 1);
    metrics.audit().finished(1, 1);
    metrics.audit().failed();
    metrics.conditions().leads(|| ConditionRecords { judged: vec![("Company", "Compliant", 1)], waiting: 1 });
    metrics.conditions().wrote("written");
    metrics.conditions().restarted();
    metrics.conditions().passed(1);
    metrics.traces().dropped();
    metrics.text().unwrap()
}

/// The names of metrics, and those of the labels of each, with `le` and its values.
struct Exported(Vec<(String, String)>);

impl Exported {
    fn by_the_program() -> Self {
        let text = scraped();
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let split = |line: &str| {
            let end = line.find(['{', ' ']).unwrap();
            (line[..end].to_owned(), line[end..].to_owned())
        };
        Self(samples.map(split).collect())
    }

    /// The labels of an exported metric, as written in its samples.
    fn labels(&self, metric: &str) -> Option<String> {
        let samples: Vec<&str> =
            self.0.iter().filter(|(name, _)| name == metric).map(|(_, rest)| rest.as_str()).collect();
        (!samples.is_empty()).then(|| samples.join("\n"))
    }
}

/// The expressions of the alerts, by the name of the alert.
fn alerts() -> Vec<(String, String)> {
    let rule = &yaml("manifests/components/monitoring/prometheusrule.yaml")[0];
    let groups = rule["spec"]["groups"].as_array().unwrap();
    let rules = groups.iter().flat_map(|group| group["rules"].as_array().unwrap());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    rules.map(|rule| (text(&rule["alert"]), text(&rule["expr"]))).collect()
}

/// The expressions of the dashboard, by the title of the panel.
fn panels() -> Vec<(String, String)> {
    let dashboard: Value =
        serde_json::from_str(&read("manifests/components/monitoring/dashboard.json")).unwrap();
    let mut expressions = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            expressions.push((text(&panel["title"]), text(&target["expr"])));
        }
    }
    expressions
}

#[test]
fn the_program_exports_the_metrics_of_its_table() {
    let (text, exported) = (scraped(), Exported::by_the_program());
    let label = Regex::new(r#"([a-z]+)=""#).unwrap();
    for metric in metrics::ALL {
        let unit = if metric.in_seconds { "_seconds" } else { "" };
        let line = format!("# TYPE {PREFIX}_{}{unit} {}", metric.name, metric.of_type);
        assert!(text.lines().any(|found| found == line), "no {line}");
        let sample = match metric.of_type {
            Type::Histogram => format!("{PREFIX}_{}_count", metric.full_name()),
            _ => format!("{PREFIX}_{}", metric.full_name()),
        };
        let samples = exported.labels(&sample).unwrap_or_else(|| panic!("no {sample}"));
        let first = samples.lines().next().unwrap();
        let labels: Vec<&str> = label.captures_iter(first).map(|found| found.extract::<1>().1[0]).collect();
        assert_eq!(labels, metric.labels, "{sample}");
    }
    let types = text.lines().filter(|line| line.starts_with("# TYPE")).count();
    assert_eq!(types, metrics::ALL.len(), "{text}");
}

#[test]
fn the_monitoring_page_lists_the_metrics_of_the_table() {
    let page = read("docs/monitoring.md");
    let row = Regex::new(r"(?m)^\| `([a-z_]+)(?:\{([a-z,]+)\})?` \| (gauge|histogram|always 1)?").unwrap();
    let rows = row.captures_iter(&page).filter(|found| !found[1].starts_with("apiserver_"));
    let listed: BTreeSet<(String, String, String)> = rows
        .map(|found| {
            let labels = found.get(2).map_or("", |labels| labels.as_str());
            let of_type = match found.get(3).map(|of_type| of_type.as_str()) {
                None => "counter",
                Some("always 1") => "info",
                Some(of_type) => of_type,
            };
            (found[1].to_owned(), labels.to_owned(), of_type.to_owned())
        })
        .collect();
    let expected = metrics::ALL
        .iter()
        .map(|metric| (metric.full_name(), metric.labels.join(","), metric.of_type.to_string()))
        .collect();
    assert_eq!(listed, expected);
}

#[test]
fn alerts_and_dashboard_use_existing_metrics_and_labels() {
    let exported = Exported::by_the_program();
    let selector = Regex::new(r"(crm_admission_[a-z_]+)(?:\{([^}]*)\})?").unwrap();
    let matcher = Regex::new(r#"([a-z_]+)(=~|!~|!=|=)"([^"]*)""#).unwrap();
    let mut used = BTreeSet::new();
    for (name, expression) in alerts().into_iter().chain(panels()) {
        assert_eq!(expression.matches('(').count(), expression.matches(')').count(), "{name}: {expression}");
        for found in selector.captures_iter(&expression) {
            let metric = &found[1];
            let labels = exported.labels(metric).unwrap_or_else(|| panic!("{name}: there is no {metric}"));
            used.insert(metric.to_owned());
            for label in matcher.captures_iter(found.get(2).map_or("", |labels| labels.as_str())) {
                assert!(
                    labels.contains(&format!("{}=\"", &label[1])),
                    "{name}: {metric} has no label {}",
                    &label[1]
                );
                if &label[1] == "le" {
                    assert!(labels.contains(&label[0]), "{name}: {metric} has no bucket {}", &label[3]);
                }
            }
        }
    }
    // Every metric is used, except these and the parts of a histogram.
    // Traces are off by default.
    let left_out = [
        "crm_admission_certificate_reloads_total",
        "crm_admission_read_bytes",
        "crm_admission_trace_spans_total",
    ];
    let shown = |metric: &str| {
        let part = ["_sum", "_count", "_bucket"].iter().any(|end| metric.ends_with(end));
        part || used.contains(metric) || left_out.contains(&metric)
    };
    let hidden: BTreeSet<&String> =
        exported.0.iter().map(|(name, _)| name).filter(|name| !shown(name)).collect();
    assert!(hidden.is_empty(), "not used in an alert or in the dashboard: {hidden:?}");
}

#[test]
fn every_alert_has_a_description_and_a_runbook() {
    let rule = &yaml("manifests/components/monitoring/prometheusrule.yaml")[0];
    let groups = rule["spec"]["groups"].as_array().unwrap();
    let mut names = BTreeSet::new();
    for alert in groups.iter().flat_map(|group| group["rules"].as_array().unwrap()) {
        let name = alert["alert"].as_str().unwrap();
        assert!(name.starts_with("CrmAdmission") && names.insert(name), "{name}");
        for field in ["/labels/severity", "/annotations/summary", "/annotations/description"] {
            assert!(alert.pointer(field).is_some_and(Value::is_string), "{name} has no {field}");
        }
    }
}

/// The labels that Prometheus and the ServiceMonitor add, as far as the tests of the alerts use them.
const LABELS_OF_TARGETS: [&str; 2] = ["instance", "job"];

/// The labels of the other metrics in alerts. Those of the API server are in `k8s.io/apiserver`,
/// `pkg/admission/metrics/metrics.go`.
const FOREIGN_METRICS: [(&str, &[&str]); 3] = [
    ("up", &[]),
    ("apiserver_admission_webhook_fail_open_count", &["name", "type"]),
    (
        "apiserver_admission_webhook_rejection_count",
        &["error_type", "name", "operation", "rejection_code", "type"],
    ),
];

/// The labels of a metric in alphabetical order, without those of its target.
fn labels_of(metric: &str) -> Vec<&'static str> {
    if let Some((_, labels)) = FOREIGN_METRICS.iter().find(|(name, _)| *name == metric) {
        return labels.to_vec();
    }
    let is = |found: &&metrics::Definition| {
        let name = format!("{PREFIX}_{}", found.full_name());
        let is_part = |end| metric.strip_suffix(end).is_some_and(|start| start == name);
        match found.of_type {
            Type::Histogram => is_part("_bucket") || is_part("_count"),
            _ => name == metric,
        }
    };
    let definition = metrics::ALL.iter().find(is).unwrap_or_else(|| panic!("there is no {metric}"));
    let mut labels = definition.labels.to_vec();
    if metric.ends_with("_bucket") {
        labels.push("le");
    }
    labels.sort_unstable();
    labels
}

#[test]
fn every_alert_has_a_test_in_which_it_fires_and_one_in_which_it_does_not() {
    let rule = &yaml("manifests/components/monitoring/prometheusrule.yaml")[0];
    let list = |value: &Value| value.as_array().unwrap().clone();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut files = BTreeSet::new();
    for group in list(&rule["spec"]["groups"]) {
        let file =
            format!("tests/alerts/{}.yaml", text(&group["name"]).strip_prefix("crm-admission.").unwrap());
        let tests = list(&yaml(&file)[0]["tests"]);
        let checks = tests.iter().flat_map(|test| list(&test["alert_rule_test"]));
        let (fires, silent): (Vec<Value>, Vec<Value>) =
            checks.partition(|check| !list(&check["exp_alerts"]).is_empty());
        let names = |checks: &[Value], name: &str| -> BTreeSet<String> {
            checks.iter().map(|check| text(&check[name])).collect()
        };
        // promtool accepts a misspelt name that does not fire.
        let alerts = names(&list(&group["rules"]), "alert");
        assert_eq!(names(&fires, "alertname"), alerts, "{file}: alerts that fire");
        assert_eq!(names(&silent, "alertname"), alerts, "{file}: alerts that do not fire");
        files.insert(path(&file));
    }
    assert_eq!(tests_of_alerts(), files);
}

/// The files that promtool runs.
fn tests_of_alerts() -> BTreeSet<PathBuf> {
    let found = std::fs::read_dir(path("tests/alerts")).unwrap().map(|file| file.unwrap().path());
    found.filter(|file| file.extension().is_some_and(|end| end == "yaml")).collect()
}

#[test]
fn the_tests_of_the_alerts_use_existing_series() {
    let series = Regex::new(r#"(?m)^ *(?:- )?series: ([a-z_]+)(?:\{(.*)\})?$"#).unwrap();
    let label = Regex::new(r#"([a-z_]+)=""#).unwrap();
    for file in tests_of_alerts() {
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(series.find_iter(&text).count(), text.matches("series: ").count(), "{}", file.display());
        for found in series.captures_iter(&text) {
            let labels = found.get(2).map_or("", |labels| labels.as_str());
            let mut labels: Vec<&str> =
                label.captures_iter(labels).map(|found| found.extract::<1>().1[0]).collect();
            labels.retain(|label| !LABELS_OF_TARGETS.contains(label));
            labels.sort_unstable();
            assert_eq!(labels, labels_of(&found[1]), "{}: {}", file.display(), &found[0]);
        }
    }
}

/// The pages, from the root of the repository.
fn pages() -> Vec<String> {
    let of = |directory: &str| {
        let files = std::fs::read_dir(path(directory)).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let pages = names.filter(|name| name.ends_with(".md"));
        pages.map(|name| if directory == "." { name } else { format!("{directory}/{name}") }).collect()
    };
    let (root, docs): (Vec<_>, Vec<_>) = (of("."), of("docs"));
    [root, docs].concat()
}

/// A page without its code blocks, which contain no headings or links.
fn prose(page: &str) -> String {
    let mut is_code = false;
    let text = read(page);
    let lines = text.lines().filter(|line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The anchors of the headings of a page, as GitHub and GitLab create them.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for heading in prose(page).lines().filter(|line| line.starts_with('#')) {
        let kept = |c: &char| c.is_alphanumeric() || "-_ ".contains(*c);
        let text: String =
            heading.trim_start_matches('#').trim().to_lowercase().chars().filter(kept).collect();
        let anchor = text.replace(' ', "-");
        let again = (1..).map(|number| format!("{anchor}-{number}"));
        let free = std::iter::once(anchor.clone()).chain(again).find(|anchor| !anchors.contains(anchor));
        anchors.extend(free);
    }
    anchors
}

#[test]
fn every_link_in_the_docs_has_a_target() {
    let link = Regex::new(r"\]\(([^)\s]+)\)").unwrap();
    let mut broken = Vec::new();
    for page in pages() {
        for target in link.captures_iter(&prose(&page)).map(|link| link[1].to_owned()) {
            if target.contains("://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let beside = Path::new(&page).parent().unwrap().join(file);
            let file = if file.is_empty() { PathBuf::from(&page) } else { beside };
            let exists = path(file.to_str().unwrap()).exists();
            let is_page = file.extension().is_some_and(|extension| extension == "md");
            if !exists || (is_page && !anchor.is_empty() && !anchors(file.to_str().unwrap()).contains(anchor))
            {
                broken.push(format!("{page}: {target}"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}
