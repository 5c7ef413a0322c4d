//! Tests the shipped kustomizations, chart and scripts: they create the same objects, the API server accepts them, and
//! no installation or uninstallation leaves a registration without a server.

use crate::support::control_plane::{Auditing, ControlPlane};
use crate::support::foreign_kinds::foreign_kinds;
use crate::support::helm::Helm;
use crate::support::installation::Installation;
use crate::support::kubectl::Kubectl;
use crate::support::poll::{self, Seen};
use crate::support::{manifest, process, repository};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const NAMESPACE: &str = "crm-admission-system";
const PATIENCE: Duration = Duration::from_secs(60);
/// Both webhook configurations, as arguments of kubectl.
const CONFIGURATIONS: &str = "mutatingwebhookconfigurations,validatingwebhookconfigurations";

/// A control plane on which one test at a time installs and uninstalls the product. The webhook runs as a process.
fn site() -> MutexGuard<'static, Installation> {
    static SITE: LazyLock<Mutex<Installation>> = LazyLock::new(|| {
        let site = Installation::start_on(ControlPlane::start_with(Auditing::On));
        site.plane.kubectl("admin").create(&foreign_kinds()).succeeds();
        Mutex::new(site)
    });
    SITE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A copy of the shipped kustomizations, to which a test can add others.
struct Kustomizations(tempfile::TempDir);

impl Kustomizations {
    fn copied() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for part in ["base", "registration", "guard", "floor", "overlays", "components"] {
            copy(&manifest(part), &directory.path().join(part));
        }
        Self(directory)
    }

    /// One of the overlays, or one from [`Kustomizations::add`].
    fn overlay(&self, name: &str) -> PathBuf {
        self.0.path().join("overlays").join(name)
    }

    fn add(&self, name: &str, kustomization: &Value) -> PathBuf {
        let directory = self.overlay(name);
        fs::create_dir_all(&directory).expect("a directory");
        fs::write(directory.join("kustomization.yaml"), kustomization.to_string()).expect("a kustomization");
        directory
    }

    /// One call for each write, with certificates of cert-manager.
    fn add_one_call(&self) -> PathBuf {
        self.add(
            "one-call-on-cert-manager",
            &json!({
                "resources": ["../cert-manager"],
                "components": ["../../components/one-call"],
            }),
        )
    }

    /// Everything that can be installed besides the server.
    fn add_everything(&self) -> PathBuf {
        let components = [
            "audit",
            "audit-metrics",
            "autoscaling",
            "conditions",
            "milo",
            "milo-audit",
            "milo-audit-metrics",
            "monitoring",
        ]
        .map(|part| format!("../../components/{part}"));
        self.add(
            "everything",
            &json!({
                "resources": ["../self-managed"],
                "components": components,
            }),
        )
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let path = entry.expect("an entry").path();
        let copied = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &copied);
        } else {
            fs::copy(&path, &copied).expect("a copy");
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

fn kustomized(kubectl: &Kubectl, directory: &Path) -> String {
    kubectl.run(["kustomize", text(directory)]).succeeds().stdout
}

fn helm(site: &Installation) -> Helm {
    Helm::new(site.plane.kubeconfig("admin"), &site.plane.workspace().file("homes", "helm"))
}

/// The path of a file of the chart, or of the chart itself.
fn chart(file: &str) -> String {
    text(&manifest("chart").join(file)).to_owned()
}

/// `helm template`, in the namespace of the kustomizations and like them without the CRDs.
fn templated(helm: &Helm, values: &[&str]) -> String {
    let chart = chart("crm-admission");
    let args = ["template", "crm-admission", &chart, "--namespace", NAMESPACE, "--set=crds.install=false"];
    helm.succeeds(args.into_iter().chain(values.iter().copied()))
}

/// Objects by kind, namespace and name.
fn objects(yaml: &str) -> BTreeMap<String, Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(yaml).expect("YAML");
    let mut objects = BTreeMap::new();
    for mut object in documents.into_iter().filter(|document| !document.is_null()) {
        if let Some(labels) = object.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
            // The labels that Helm recommends for charts, which describe the release and not the object.
            labels.remove("app.kubernetes.io/managed-by");
            labels.remove("helm.sh/chart");
        }
        let part = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let name = [part("/kind"), part("/metadata/namespace"), part("/metadata/name")].join(" ");
        assert!(objects.insert(name.clone(), object).is_none(), "{name} is there twice");
    }
    objects
}

#[track_caller]
fn same_objects(overlay: &str, kustomization: &str, chart: &str) {
    let [mut kustomization, chart] = [kustomization, chart].map(objects);
    // Helm itself creates the namespace, with --create-namespace.
    kustomization.remove(&format!("Namespace  {NAMESPACE}")).expect("a namespace");
    let [ours, theirs]: [Vec<&String>; 2] = [&kustomization, &chart].map(|objects| objects.keys().collect());
    assert_eq!(ours, theirs, "{overlay}");
    for (name, object) in &kustomization {
        assert_eq!(
            object, &chart[name],
            "{name}: the overlay {overlay} is on the left, the chart on the right"
        );
    }
}

/// The values of the chart for each kustomization: a file, and single values.
const VALUES: [(&str, Option<&str>, &[&str]); 7] = [
    ("self-managed", None, &[]),
    ("cert-manager", Some("cert-manager.yaml"), &[]),
    ("own-certificate", None, &["--set=tls.mode=secret,tls.caBundle=Q0E="]),
    ("development", Some("development.yaml"), &[]),
    ("one-call", None, &["--set=registration.oneCall=true"]),
    ("one-call-on-cert-manager", Some("cert-manager.yaml"), &["--set=registration.oneCall=true"]),
    (
        "everything",
        None,
        &[
            "--set=audit.enabled=true,audit.interval=6h",
            "--set=autoscaling.enabled=true",
            "--set=milo.enabled=true",
            "--set=conditions.enabled=true",
            "--set=monitoring.enabled=true",
        ],
    ),
];

/// The objects of each kustomization, and those of the chart with the equivalent values.
fn rendered(site: &Installation) -> Vec<(&'static str, [String; 2])> {
    let kustomizations = Kustomizations::copied();
    kustomizations.add_everything();
    kustomizations.add_one_call();
    let (kubectl, helm) = (site.plane.kubectl("admin"), helm(site));
    let both = VALUES.map(|(overlay, file, values)| {
        let file = file.map(|file| format!("--values={}", chart(&format!("values/{file}"))));
        let values: Vec<&str> = file.as_deref().into_iter().chain(values.iter().copied()).collect();
        let kustomized = kustomized(&kubectl, &kustomizations.overlay(overlay));
        // The chart takes an own CA as a value. The kustomization has no CA until the script adds it.
        let templated = templated(&helm, &values).replace("    caBundle: Q0E=\n", "");
        (overlay, [kustomized, templated])
    });
    both.into()
}

#[test]
fn the_chart_has_the_objects_of_every_kustomization() {
    for (overlay, [kustomized, templated]) in rendered(&site()) {
        same_objects(overlay, &kustomized, &templated);
    }
}

#[test]
fn milos_notes_and_one_call_stand_beside_each_other_in_any_order() {
    let site = site();
    let kustomizations = Kustomizations::copied();
    let (kubectl, helm) = (site.plane.kubectl("admin"), helm(&site));
    let rendered = [["milo", "one-call"], ["one-call", "milo"]].map(|order| {
        let components = order.map(|part| format!("../../components/{part}"));
        let kustomization = json!({"resources": ["../self-managed"], "components": components});
        kustomized(&kubectl, &kustomizations.add(&order.join("-then-"), &kustomization))
    });
    let templated = templated(&helm, &["--set=registration.oneCall=true,milo.enabled=true"]);
    for kustomized in &rendered {
        same_objects("milo and one-call", kustomized, &templated);
    }
    let objects = objects(&rendered[0]);
    let groups = |configuration: &str, webhook: &str| -> Option<Vec<String>> {
        let webhooks = objects[configuration]["webhooks"].as_array().expect("webhooks");
        let webhook = webhooks.iter().find(|it| it["name"] == webhook)?;
        let rules = webhook["rules"].as_array().expect("rules").iter();
        Some(rules.map(|rule| rule["apiGroups"].to_string()).collect())
    };
    let (crm, milo) = (r#"["crm.milo.io"]"#.to_owned(), r#"["notes.miloapis.com"]"#.to_owned());
    let (mutating, validating) =
        ("MutatingWebhookConfiguration  crm-admission", "ValidatingWebhookConfiguration  crm-admission");
    assert_eq!(groups(mutating, "mutate.crm.milo.io"), Some(vec![crm.clone(), milo.clone(), milo]));
    assert_eq!(groups(validating, "validate.crm.milo.io"), None);
    assert_eq!(groups(validating, "delete.crm.milo.io"), Some(vec![crm]));
}

/// The service accounts to which the objects grant permission to change webhook configurations.
fn may_change_configurations(objects: &BTreeMap<String, Value>) -> Vec<String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let has = |rule: &Value, field: &str, wanted: fn(&str) -> bool| {
        list(&rule[field]).iter().any(|it| it == "*" || it.as_str().is_some_and(wanted))
    };
    let changes = |rule: &Value| {
        has(rule, "resources", |resource| resource.ends_with("webhookconfigurations"))
            && has(rule, "verbs", |verb| !["get", "list", "watch"].contains(&verb))
    };
    let of_kind = |kind: &'static str| objects.values().filter(move |object| object["kind"] == kind);
    let roles = of_kind("ClusterRole").filter(|role| list(&role["rules"]).iter().any(changes));
    let names: Vec<&Value> = roles.map(|role| &role["metadata"]["name"]).collect();
    let bindings =
        of_kind("ClusterRoleBinding").filter(|binding| names.contains(&&binding["roleRef"]["name"]));
    let account = |subject: &Value| {
        let part = |field: &str| subject[field].as_str().expect("a service account").to_owned();
        format!("system:serviceaccount:{}:{}", part("namespace"), part("name"))
    };
    bindings.flat_map(|binding| list(&binding["subjects"])).map(|subject| account(&subject)).collect()
}

/// The service account that the guard limits, if the guard is among the objects.
fn guarded(objects: &BTreeMap<String, Value>) -> Option<String> {
    let policy = objects.get("ValidatingAdmissionPolicy  crm-admission-guard")?;
    let binding = objects.get("ValidatingAdmissionPolicyBinding  crm-admission-guard")?;
    assert_eq!(binding["spec"], json!({"policyName": "crm-admission-guard", "validationActions": ["Deny"]}));
    let condition = policy["spec"]["matchConditions"][0]["expression"].as_str()?;
    Some(condition.strip_prefix("request.userInfo.username == '")?.strip_suffix('\'')?.to_owned())
}

#[test]
fn the_permission_to_patch_webhook_configurations_always_comes_with_the_guard() {
    let site = site();
    let mut granted = 0;
    for (overlay, both) in rendered(&site) {
        for objects in both.map(|rendered| objects(&rendered)) {
            let accounts = may_change_configurations(&objects);
            assert_eq!(guarded(&objects).into_iter().collect::<Vec<_>>(), accounts, "{overlay}");
            granted += accounts.len();
        }
    }
    // self-managed, development, one-call and everything, by kustomization and by chart.
    assert_eq!(granted, 8);
    // Another namespace has another service account.
    let chart = chart("crm-admission");
    let elsewhere = helm(&site).succeeds(["template", "crm-admission", &chart, "--namespace", "crm"]);
    let elsewhere = objects(&elsewhere);
    let account = "system:serviceaccount:crm:crm-admission";
    assert_eq!(may_change_configurations(&elsewhere), [account]);
    assert_eq!(guarded(&elsewhere).as_deref(), Some(account));
}

#[test]
fn the_api_server_accepts_everything_that_is_shipped() {
    let site = site();
    let admin = site.plane.kubectl("admin");
    admin.apply_path(&manifest("base/namespace.yaml")).succeeds();
    for (overlay, both) in rendered(&site) {
        for objects in both {
            let outcome = admin.run_with(&objects, ["apply", "--dry-run=server", "-f", "-"]);
            // The namespace warns about pods that violate the restricted profile.
            let told = outcome.succeeds().without_warnings().stdout;
            assert!(told.contains("deployment.apps/crm-admission"), "{overlay}: {told}");
        }
    }
    // The documented commands apply the guard and the registration by their labels.
    let overlay = manifest("overlays/self-managed");
    let dry_run = ["apply", "--dry-run=server", "-o", "name", "-k", text(&overlay), "-l"];
    let chosen = |label| admin.run(dry_run.into_iter().chain([label])).succeeds().stdout;
    let registration = chosen("app.kubernetes.io/component=registration");
    assert_eq!(
        registration
            .lines()
            .filter(|name| name.ends_with("webhookconfiguration.admissionregistration.k8s.io/crm-admission"))
            .count(),
        2
    );
    assert_eq!(registration.lines().count(), 2);
    let guard = chosen("app.kubernetes.io/component=guard");
    let parts = ["validatingadmissionpolicy", "validatingadmissionpolicybinding"]
        .map(|part| format!("{part}.admissionregistration.k8s.io/crm-admission-guard\n"));
    assert_eq!(guard, parts.concat());
    let rest = chosen("app.kubernetes.io/component!=registration");
    assert!(
        rest.contains("deployment.apps/crm-admission") && !rest.contains("webhookconfiguration"),
        "{rest}"
    );
    let floor = manifest("floor");
    admin.run(["apply", "--dry-run=server", "-k", text(&floor)]).succeeds().without_warnings();
    let floor = templated(&helm(&site), &["--set=floor.enabled=true", "--show-only=templates/floor.yaml"]);
    admin.run_with(&floor, ["apply", "--dry-run=server", "-f", "-"]).succeeds().prints("crm-admission-floor");
}

#[test]
fn server_side_apply_leaves_a_namespace_selector_to_its_manager() {
    let site = site();
    let admin = site.plane.kubectl("admin");
    let registration = kustomized(&admin, &manifest("registration"));
    let apply = || admin.run_with(&registration, ["apply", "--server-side", "-f", "-"]).succeeds();
    apply();
    // As AKS does it with every webhook.
    let selector =
        json!({"matchExpressions": [{"key": "control-plane", "operator": "NotIn", "values": ["true"]}]});
    let patch = json!([{"op": "replace", "path": "/webhooks/0/namespaceSelector", "value": selector}]);
    let manager = "--field-manager=admissionsenforcer";
    let run = ["patch", "mutatingwebhookconfiguration", "crm-admission", "--type=json", manager, "-p"];
    admin.run(run.map(str::to_owned).into_iter().chain([patch.to_string()])).succeeds();
    apply();
    let stored = admin.get("mutatingwebhookconfiguration", "crm-admission");
    assert_eq!(stored["webhooks"][0]["namespaceSelector"], selector);
    admin.run(["delete", CONFIGURATIONS, "crm-admission"]).succeeds();
}

#[test]
fn the_values_of_the_chart_have_their_effect() {
    let site = site();
    let values = [
        "--set=image.repository=registry.example.com/crm,image.tag=v2,image.pullSecrets[0].name=registry",
        "--set=webhook.port=10250,webhook.timeoutSeconds=7,log=debug,extraArgs[0]=--policy=/policy.yaml",
        "--set=tls.mode=secret,tls.secretName=own,tls.caBundle=Q0E=,priorityClassName=high",
        "--set=networkPolicy.metricsFrom=null",
        "--set=podAnnotations.a=b,podLabels.team=crm,serviceAccount.annotations.role=r,serviceAccount.labels.l=m",
        "--set=extraEnv[0].name=RUST_BACKTRACE,extraEnv[0].value=x",
        "--set=extraVolumes[0].name=policy,extraVolumes[0].configMap.name=policy",
        "--set=extraVolumeMounts[0].name=policy,extraVolumeMounts[0].mountPath=/policy",
        "--set=registration.annotations.owner=crm,registration.failurePolicy=Ignore",
        "--set=extraRules[0].apiGroups={iam.example.com},extraRules[0].resources={users},extraRules[0].verbs={get}",
        // As on OpenShift.
        "--set=podSecurityContext.runAsUser=null,podSecurityContext.runAsGroup=null,podSecurityContext.fsGroup=null",
        "--set=policy.dryRun=Warn",
        "--api-versions=admission.crm.milo.io/v1alpha1/AdmissionPolicy",
    ];
    let objects = objects(&templated(&helm(&site), &values));
    let deployment = &objects[&format!("Deployment {NAMESPACE} crm-admission")];
    let pod = &deployment["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(container["image"], "registry.example.com/crm:v2");
    assert_eq!(pod["imagePullSecrets"], json!([{"name": "registry"}]));
    assert_eq!(pod["priorityClassName"], "high");
    assert_eq!(pod["volumes"][0]["secret"]["secretName"], "own");
    assert_eq!(container["ports"][0]["containerPort"], 10250);
    let args = container["args"].as_array().expect("arguments");
    for arg in ["--tls-cert=/tls/tls.crt", "--listen=[::]:10250", "--log=debug", "--policy=/policy.yaml"] {
        assert!(args.contains(&json!(arg)), "no {arg} in {args:?}");
    }
    assert!(!args.contains(&json!("--tls-self-managed")));
    assert_eq!(container["env"][1], json!({"name": "RUST_BACKTRACE", "value": "x"}));
    assert_eq!(pod["volumes"][1], json!({"name": "policy", "configMap": {"name": "policy"}}));
    assert_eq!(container["volumeMounts"][1], json!({"name": "policy", "mountPath": "/policy"}));
    let security = json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}});
    assert_eq!(pod["securityContext"], security);
    let template = &deployment["spec"]["template"]["metadata"];
    assert_eq!((&template["annotations"]["a"], &template["labels"]["team"]), (&json!("b"), &json!("crm")));
    let account = &objects[&format!("ServiceAccount {NAMESPACE} crm-admission")]["metadata"];
    assert_eq!((&account["annotations"]["role"], &account["labels"]["l"]), (&json!("r"), &json!("m")));
    let rules = objects["ClusterRole  crm-admission"]["rules"].as_array().expect("rules");
    assert!(
        rules.contains(&json!({"apiGroups": ["iam.example.com"], "resources": ["users"], "verbs": ["get"]}))
    );
    assert_eq!(objects["AdmissionPolicy  default"]["spec"], json!({"dryRun": "Warn"}));
    assert_eq!(
        objects[&format!("NetworkPolicy {NAMESPACE} crm-admission")]["spec"]["ingress"][1],
        Value::Null
    );
    for kind in ["Mutating", "Validating"] {
        let webhook = &objects[&format!("{kind}WebhookConfiguration  crm-admission")]["webhooks"][0];
        assert_eq!(webhook["clientConfig"]["caBundle"], "Q0E=");
        assert_eq!(webhook["timeoutSeconds"], 7);
        assert_eq!(webhook["failurePolicy"], "Ignore");
        let configuration = &objects[&format!("{kind}WebhookConfiguration  crm-admission")];
        assert_eq!(configuration["metadata"]["annotations"], json!({"owner": "crm"}));
    }
}

#[test]
fn the_network_policy_of_the_chart_allows_the_collector_of_traces() {
    let site = site();
    for (endpoint, port) in [
        ("http://otel-collector.monitoring:4318", 4318),
        ("http://[fd00::1]:14318/otlp", 14318),
        ("https://collector.example.com", 443),
        ("http://collector.example.com/otlp", 80),
    ] {
        let objects = objects(&templated(&helm(&site), &[&format!("--set=traces.endpoint={endpoint}")]));
        let deployment = &objects[&format!("Deployment {NAMESPACE} crm-admission")];
        let args = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
        let flag = json!(format!("--otlp-endpoint={endpoint}"));
        assert!(args.as_array().expect("arguments").contains(&flag), "{args}");
        let policy = &objects[&format!("NetworkPolicy {NAMESPACE} crm-admission")];
        let egress = policy["spec"]["egress"].as_array().expect("rules");
        assert_eq!(egress.last(), Some(&json!({"ports": [{"port": port, "protocol": "TCP"}]})), "{endpoint}");
    }
}

#[test]
fn a_flag_of_the_chart_is_not_given_twice() {
    let site = site();
    let values = ["--set=webhook.port=10250", "--set=extraArgs={--listen=0.0.0.0:10250}"];
    let objects = objects(&templated(&helm(&site), &values));
    let deployment = &objects[&format!("Deployment {NAMESPACE} crm-admission")];
    let args = deployment["spec"]["template"]["spec"]["containers"][0]["args"].clone();
    let listens = |arg: &&Value| arg.as_str().is_some_and(|arg| arg.starts_with("--listen"));
    let given: Vec<&Value> = args.as_array().expect("arguments").iter().filter(listens).collect();
    assert_eq!(given, ["--listen=0.0.0.0:10250"]);
}

#[test]
fn pods_in_the_network_of_their_node_can_roll_out() {
    let site = site();
    let kustomizations = Kustomizations::copied();
    let components = json!(["../../components/host-network"]);
    kustomizations.add("host-network", &json!({"resources": ["../self-managed"], "components": components}));
    let overlay = kustomized(&site.plane.kubectl("admin"), &kustomizations.overlay("host-network"));
    let chart = templated(&helm(&site), &["--set=hostNetwork=true"]);
    same_objects("host-network", &overlay, &chart);
    for rendered in [overlay, chart] {
        let spec = objects(&rendered)[&format!("Deployment {NAMESPACE} crm-admission")]["spec"].clone();
        assert_eq!(spec["strategy"]["rollingUpdate"], json!({"maxUnavailable": 1, "maxSurge": 0}));
        assert_eq!(spec["template"]["spec"]["hostNetwork"], true);
    }
}

/// Writes 0.0 as 0, as Helm does.
fn with_whole_numbers(value: Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(float) if float.fract() == 0.0 && float.abs() < 1e9 => json!(float as i64),
            _ => Value::Number(number),
        },
        Value::Array(entries) => entries.into_iter().map(with_whole_numbers).collect(),
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (name, with_whole_numbers(value))).collect()
        }
        value => value,
    }
}

#[test]
fn the_chart_installs_and_keeps_the_crds_of_this_version() {
    let site = site();
    let (admin, helm, chart) = (site.plane.kubectl("admin"), helm(&site), chart("crm-admission"));
    let template = |values: &[&str]| {
        let args = ["template", "crm-admission", &chart, "--show-only=templates/crds.yaml"];
        objects(&helm.succeeds(args.into_iter().chain(values.iter().copied())))
    };
    let kept = json!("keep");
    for mut shipped in admin.read(&manifest("crds")) {
        let name = format!("CustomResourceDefinition  {}", shipped["metadata"]["name"].as_str().unwrap());
        let not_kept = &template(&["--set=crds.keep=false"])[&name];
        assert!(not_kept["metadata"]["annotations"]["helm.sh/resource-policy"].is_null(), "{not_kept}");
        let chart = &template(&[])[&name];
        shipped["metadata"]["annotations"]["helm.sh/resource-policy"] = kept.clone();
        assert!(*chart == with_whole_numbers(shipped), "{name} of the chart differs");
    }
}

#[test]
fn invalid_values_are_rejected() {
    let site = site();
    let chart = chart("crm-admission");
    helm(&site).succeeds(["lint", "--strict", &chart]);
    for (value, told) in [
        ("replica=3", "replica"),
        ("tls.mode=selfmanaged", "/tls/mode"),
        ("tls.mode=secret", "caBundle"),
        ("tls.caBundle=Q0E=", "caBundle"),
        ("webhook.port=443", "/webhook/port"),
        ("replicas=two", "/replicas"),
        ("registration.failurePolicy=fail", "/registration/failurePolicy"),
        ("extraEnv[0].value=x", "name"),
        ("traces.endpoint=otel-collector:4318", "/traces/endpoint"),
    ] {
        let complaint = helm(&site).fails(["template", "crm-admission", &chart, "--set", value]);
        assert!(complaint.contains(told), "{value}: {complaint}");
    }
}

/// The deletions since the event with this number, as `resource name`, in order.
fn deleted(plane: &ControlPlane, since: usize) -> Vec<String> {
    let events = plane.audited().into_iter().skip(since).filter(|event| event["verb"] == "delete");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    events
        .map(|event| [&event["objectRef"]["resource"], &event["objectRef"]["name"]].map(text).join(" "))
        .collect()
}

/// Asserts that the registration was deleted first, and then everything else.
#[track_caller]
fn went_in_order(deleted: &[String]) {
    let first = |resource: &str| {
        let named = |deleted: &String| deleted == &format!("{resource} crm-admission");
        deleted.iter().position(named).unwrap_or_else(|| panic!("no {resource} in {deleted:?}"))
    };
    let registration =
        ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"].map(first).into_iter().max();
    let rest =
        ["deployments", "services", "serviceaccounts", "clusterroles", "clusterrolebindings"].map(first);
    assert!(registration < rest.into_iter().min(), "{deleted:?}");
}

/// Asserts that the guard was deleted after the permission that it limits.
#[track_caller]
fn guard_went_after_the_right(deleted: &[String]) {
    let place = |object: &str| {
        deleted.iter().position(|it| it == object).unwrap_or_else(|| panic!("no {object} in {deleted:?}"))
    };
    let right = place("clusterrolebindings crm-admission-certificates");
    for guard in ["validatingadmissionpolicybindings", "validatingadmissionpolicies"] {
        assert!(right < place(&format!("{guard} crm-admission-guard")), "{deleted:?}");
    }
}

/// Does the work of controllers, which do not run here: makes Deployments available, and removes namespaces that are
/// being deleted.
fn stand_in_for_controllers(admin: &Kubectl, running: &mut Child) {
    poll::until("the end of a script", 3 * PATIENCE, || {
        if let Some(status) = running.try_wait().expect("the state of a child process") {
            return if status.success() { Seen::Ready(()) } else { Seen::Never(status.to_string()) };
        }
        let deployment = admin.run(["-n", NAMESPACE, "get", "deployment", "crm-admission", "-o", "json"]);
        if deployment.ok() {
            let status = json!({"status": {
                "observedGeneration": deployment.json()["metadata"]["generation"],
                "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2,
                "conditions": [{"type": "Available", "status": "True"}],
            }});
            let args = ["-n", NAMESPACE, "patch", "deployment", "crm-admission", "--subresource=status"];
            let patch = ["--type=merge".to_owned(), "-p".to_owned(), status.to_string()];
            // It may have been deleted just now.
            let _ = admin.run(args.map(str::to_owned).into_iter().chain(patch));
        }
        finalize_namespace(admin);
        Seen::NotYet("it is still running".to_owned())
    });
}

fn finalize_namespace(admin: &Kubectl) {
    let namespace = admin.run(["get", "namespace", NAMESPACE, "-o", "json"]);
    if namespace.ok() && namespace.json()["status"]["phase"] == "Terminating" {
        let mut namespace = namespace.json();
        namespace["spec"]["finalizers"] = json!([]);
        let path = format!("/api/v1/namespaces/{NAMESPACE}/finalize");
        let _ = admin.run_with(&namespace.to_string(), ["replace", "--raw", &path, "-f", "-"]);
    }
}

/// A command that runs one of the shipped scripts as an admin.
fn command(site: &Installation, name: &str) -> Command {
    let admin = site.plane.kubectl("admin");
    let programs = admin.program().parent().expect("a directory");
    let mut command = Command::new(repository().join("scripts").join(name));
    process::clear_environment(&mut command);
    let path = std::env::var("PATH").unwrap_or_default();
    command
        .env("PATH", format!("{}:{path}", text(programs)))
        .env("HOME", site.plane.workspace().file("homes", "script"))
        .env("KUBECONFIG", site.plane.kubeconfig("admin"))
        .stdin(Stdio::null());
    command
}

/// Runs one of the shipped scripts as an admin, and returns its output.
#[track_caller]
fn script(site: &Installation, name: &str, args: &[&str]) -> String {
    let admin = site.plane.kubectl("admin");
    let log = site.plane.workspace().file("logs", name);
    let output = fs::File::create(&log).expect("a log");
    let mut running = command(site, name)
        .args(args)
        .stdout(output.try_clone().expect("a second handle"))
        .stderr(output)
        .spawn()
        .expect("a script that starts");
    let printed = || fs::read_to_string(&log).unwrap_or_default();
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        stand_in_for_controllers(&admin, &mut running);
    }));
    assert!(ended.is_ok(), "{name} {args:?}\n{}", printed());
    printed()
}

/// The number of calls for each write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Calls {
    One,
    Two,
}

/// An overlay whose Service has the address of the webhook process, so that the API server calls it by the name of the
/// Service.
fn reachable(site: &Installation, kustomizations: &Kustomizations, calls: Calls) -> PathBuf {
    let port = site.webhook.port();
    let client = |webhook| {
        let path = format!("/webhooks/{webhook}/clientConfig/service/port");
        json!([{"op": "replace", "path": path, "value": port}])
    };
    let service = json!([
        {"op": "replace", "path": "/spec/type", "value": "ExternalName"},
        {"op": "remove", "path": "/spec/ipFamilyPolicy"},
        {"op": "add", "path": "/spec/externalName", "value": "localhost"},
    ]);
    let patch = |kind: &str, patch: &Value| json!({"target": {"kind": kind}, "patch": patch.to_string()});
    let mut patches = vec![
        patch("Service", &service),
        patch("MutatingWebhookConfiguration", &client(0)),
        patch("ValidatingWebhookConfiguration", &client(0)),
        patch("ValidatingWebhookConfiguration", &client(1)),
    ];
    let mut components = Vec::new();
    match calls {
        Calls::One => components.push("../../components/one-call"),
        Calls::Two => patches.push(patch("ValidatingWebhookConfiguration", &client(2))),
    }
    let kustomization =
        json!({"resources": ["../own-certificate"], "components": components, "patches": patches});
    kustomizations.add("reachable", &kustomization)
}

#[test]
fn the_scripts_install_and_uninstall_without_denying_a_write() {
    let mut site = site();
    site.webhook.ensure_running();
    let site = &*site;
    let kustomizations = Kustomizations::copied();
    let overlay = reachable(site, &kustomizations, Calls::Two);
    let admin = site.plane.kubectl("admin");
    let image = "registry.example.com/crm-admission:7";
    let ca = site.plane.workspace().write("identities", "webhook-ca.crt", site.webhook.ca());
    let install = ["--overlay", text(&overlay), "--ca", text(&ca)];

    let printed = script(site, "install", &[&install[..], &["--image", image]].concat());
    assert!(printed.contains(r#"Records that you create get the creator "admin""#), "{printed}");
    let order = [
        "--- custom resource definitions",
        "--- server",
        "successfully rolled out",
        "--- webhook configurations",
        "--- CA in the webhook configurations",
        "--- test records",
    ];
    let places = order.map(|step| printed.find(step).unwrap_or_else(|| panic!("no {step:?} in {printed}")));
    assert!(places.is_sorted(), "{printed}");
    let before = printed.find("mutatingwebhookconfiguration.admissionregistration.k8s.io/crm-admission");
    assert!(before > Some(places[3]), "{printed}");
    let deployment = admin.run(["-n", NAMESPACE, "get", "deployment", "crm-admission", "-o", "json"]);
    let deployment = deployment.succeeds().json();
    assert_eq!(deployment["spec"]["template"]["spec"]["containers"][0]["image"], image);

    // Installing again is an upgrade: the webhooks that are there keep their policy.
    let printed = script(site, "install", &install);
    assert!(!printed.contains("--- CA in the webhook configurations"), "{printed}");
    for configuration in ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"] {
        let stored = admin.get(configuration, "crm-admission");
        assert_eq!(stored["webhooks"][0]["failurePolicy"], "Fail", "{stored}");
    }

    let record = "apiVersion: crm.milo.io/v1alpha1\nkind: Company\nmetadata: {name: deployment-kept}\nspec: {displayName: Kept}\n";
    admin.apply(record).succeeds();
    let since = site.plane.audited().len();
    script(site, "uninstall", &["--overlay", text(&overlay)]);
    went_in_order(&deleted(&site.plane, since));
    admin.run(["get", CONFIGURATIONS, "-o", "name"]).succeeds().prints_nothing();
    assert!(!admin.has("namespace", NAMESPACE));
    // The records stay and can be written without the webhook.
    admin.patch("company", "deployment-kept", &json!({"spec": {"displayName": "Still kept"}})).succeeds();
    // Objects that are missing already are not an error.
    script(site, "uninstall", &["--overlay", text(&overlay)]);

    script(site, "uninstall", &["--overlay", text(&overlay), "--with-records"]);
    poll::until("the deletion of the kinds", PATIENCE, || {
        match admin.run(["get", "crd", "companies.crm.milo.io", "--ignore-not-found", "-o", "name"]).stdout {
            found if found.is_empty() => Seen::Ready(()),
            found => Seen::NotYet(found),
        }
    });
}

/// The kind of webhook configuration that kubectl has changed first, by its output.
fn first_changed(printed: &str) -> String {
    let end = "webhookconfiguration.admissionregistration.k8s.io/crm-admission configured";
    printed.lines().find_map(|line| line.strip_suffix(end)).unwrap_or_default().to_owned()
}

/// The names of the entries of a list.
fn names(list: &Value) -> Vec<&str> {
    let entries = list.as_array().into_iter().flatten();
    entries.map(|entry| entry["name"].as_str().expect("a name")).collect()
}

#[test]
fn an_installation_can_be_changed_to_one_call() {
    let mut site = site();
    site.webhook.ensure_running();
    let site = &*site;
    let kustomizations = Kustomizations::copied();
    let admin = site.plane.kubectl("admin");
    let ca = site.plane.workspace().write("identities", "webhook-ca.crt", site.webhook.ca());
    // Installs, and returns the kind of configuration that was changed first.
    let install = |calls: Calls| {
        let overlay = reachable(site, &kustomizations, calls);
        let printed = script(site, "install", &["--overlay", text(&overlay), "--ca", text(&ca)]);
        let [mutating, validating] = ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"]
            .map(|configuration| admin.get(configuration, "crm-admission")["webhooks"].clone());
        for webhook in mutating.as_array().into_iter().chain(validating.as_array()).flatten() {
            assert_eq!(webhook["clientConfig"]["caBundle"], site.webhook.ca_bundle());
        }
        let both = ["validate.crm.milo.io", "delete.crm.milo.io", "validate.admissionpolicies.crm.milo.io"];
        // The second condition leaves complete records to `validate`.
        let conditions = ["spec-or-labels-change", "may-need-changes"];
        let (webhooks, conditions) = match calls {
            Calls::One => (&both[1..], &conditions[..1]),
            Calls::Two => (&both[..], &conditions[..]),
        };
        assert_eq!(names(&validating), webhooks);
        assert_eq!(names(&mutating[0]["matchConditions"]), conditions);
        assert!(calls == Calls::One || validating[0]["failurePolicy"] == "Fail", "{validating}");
        first_changed(&printed)
    };
    install(Calls::Two);
    // While the number of calls changes, no record may be left to a webhook that is not registered.
    assert_eq!(install(Calls::One), "mutating");
    assert!(admin.has("validatingadmissionpolicybinding", "crm-admission-floor"));
    // And back. The floor goes with the component that brought it.
    assert_eq!(install(Calls::Two), "validating");
    assert!(!admin.has("validatingadmissionpolicybinding", "crm-admission-floor"));
    assert!(!admin.has("validatingadmissionpolicy", "crm-admission-floor"));
    // A floor that an admin applied stays.
    admin.run(["apply", "-k", text(&manifest("floor"))]).succeeds();
    install(Calls::Two);
    assert!(admin.has("validatingadmissionpolicybinding", "crm-admission-floor"));
    script(site, "uninstall", &["--overlay", text(&reachable(site, &kustomizations, Calls::Two))]);
    assert!(admin.has("validatingadmissionpolicybinding", "crm-admission-floor"));
    admin.run(["delete", "-k", text(&manifest("floor"))]).succeeds();
}

/// The objects that the scripts know as optional: those with our label that exist, as `resource name`.
fn optional(admin: &Kubectl) -> Vec<String> {
    let resources = "leases,cronjobs,networkpolicies,serviceaccounts,horizontalpodautoscalers,servicemonitors,\
                     prometheusrules,configmaps,certificates,issuers,rolebindings,clusterrolebindings,\
                     validatingadmissionpolicies,validatingadmissionpolicybindings";
    let label = ["-l", "app.kubernetes.io/name=crm-admission", "-o", "name"];
    let found = admin.run(["-n", NAMESPACE, "get", resources].into_iter().chain(label)).succeeds().stdout;
    found.lines().map(str::to_owned).collect()
}

/// The Lease of the replica that writes conditions, as the program creates it.
fn lease() -> String {
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {
            "name": "crm-admission-conditions", "namespace": NAMESPACE,
            "labels": {"app.kubernetes.io/name": "crm-admission"},
        },
        "spec": {},
    });
    lease.to_string()
}

#[test]
fn a_change_of_overlay_removes_what_only_the_old_one_had() {
    let mut site = site();
    site.webhook.ensure_running();
    let site = &*site;
    let kustomizations = Kustomizations::copied();
    let admin = site.plane.kubectl("admin");
    let ca = site.plane.workspace().write("identities", "webhook-ca.crt", site.webhook.ca());
    let install = |overlay: &Path| script(site, "install", &["--overlay", text(overlay), "--ca", text(&ca)]);
    let replicas = || {
        let get = ["-n", NAMESPACE, "get", "deployment", "crm-admission", "-o", "jsonpath={.spec.replicas}"];
        admin.run(get).succeeds().stdout
    };
    // The harness has granted the permissions of self-managed certificates.
    script(site, "uninstall", &[]);
    let plain = reachable(site, &kustomizations, Calls::Two);
    install(&plain);
    let few = optional(&admin);

    let components = ["audit", "audit-metrics", "autoscaling", "conditions", "monitoring"];
    let components = components.map(|part| format!("../../components/{part}"));
    let everything =
        kustomizations.add("more", &json!({"resources": ["../reachable"], "components": components}));
    let image = "registry.example.com/crm-admission:8";
    let args = ["--overlay", text(&everything), "--ca", text(&ca), "--image", image];
    script(site, "install", &args);
    assert!(optional(&admin).len() > few.len() + 6);
    let audit = ["-n", NAMESPACE, "get", "cronjob", "crm-admission-audit", "-o"];
    let audit_image = "jsonpath={.spec.jobTemplate.spec.template.spec.containers[*].image}";
    assert_eq!(admin.run(audit.into_iter().chain([audit_image])).succeeds().stdout, image);
    // The autoscaler starts with the number that was there.
    assert_eq!(replicas(), "2");
    // Not ours, although it has our name.
    let helm =
        ["label", "--overwrite", "configmap", "crm-admission-dashboard", "app.kubernetes.io/managed-by=Helm"];
    admin.run(["-n", NAMESPACE].into_iter().chain(helm)).succeeds();

    install(&plain);
    let mut expected = few;
    expected.push("configmap/crm-admission-dashboard".to_owned());
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    assert_eq!(sorted(optional(&admin)), sorted(expected));
    assert_eq!(replicas(), "2");
    admin.run(["-n", NAMESPACE, "delete", "configmap", "crm-admission-dashboard"]).succeeds();
    // Whatever overlay is given, nothing of another one is left. The program creates the Lease, and still uses it.
    admin.apply(&lease()).succeeds();
    install(&everything);
    assert!(optional(&admin).contains(&"lease.coordination.k8s.io/crm-admission-conditions".to_owned()));
    script(site, "uninstall", &["--overlay", text(&plain)]);
    assert_eq!(optional(&admin), Vec::<String>::new());
}

#[test]
fn an_installation_that_does_not_become_ready_registers_nothing() {
    let site = site();
    for (args, complaint) in [
        (
            &["--timeout", "2", "--no-guard-test"][..],
            "install: the server is not ready, so the webhook configurations were not applied",
        ),
        (&["--overlay", "own-certificate"], "install: no CA for the webhook configurations"),
        (&["--overlay", "own-certificat"], "install: overlay not found: own-certificat"),
    ] {
        install_fails(&site, args, complaint);
    }
    let kustomizations = Kustomizations::copied();
    let foreign = "apiVersion: example.com/v1\nkind: Cache\nmetadata: {name: crm}\n";
    let overlay = kustomizations.add("needy", &json!({"resources": ["../self-managed", "cache.yaml"]}));
    fs::write(overlay.join("cache.yaml"), foreign).expect("a manifest");
    let told = install_fails(
        &site,
        &["--overlay", text(&overlay)],
        "install: the cluster does not have example.com/v1, which",
    );
    assert!(!told.contains("created") && !told.contains("configured"), "{told}");
    // A directory of the user needs no `./`.
    let output = command(&site, "install")
        .current_dir(overlay.parent().expect("a directory"))
        .args(["--overlay", "needy"])
        .output()
        .expect("a script that starts");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        told.contains("install: the cluster does not have example.com/v1, which ./needy needs"),
        "{told}"
    );
    // Restore the state that other tests expect.
    script(&site, "uninstall", &[]);
}

/// Runs `scripts/install`, which must fail with this error and register nothing. Returns its output.
#[track_caller]
fn install_fails(site: &Installation, args: &[&str], complaint: &str) -> String {
    install_fails_as(site, site.plane.kubeconfig("admin"), args, complaint)
}

/// Like [`install_fails`], as the user of this kubeconfig.
#[track_caller]
fn install_fails_as(site: &Installation, kubeconfig: PathBuf, args: &[&str], complaint: &str) -> String {
    let output = command(site, "install")
        .env("KUBECONFIG", kubeconfig)
        .args(args)
        .output()
        .expect("a script that starts");
    let told = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(!output.status.success() && told[1].contains(complaint), "{told:?}");
    site.plane.kubectl("admin").run(["get", CONFIGURATIONS, "-o", "name"]).succeeds().prints_nothing();
    told.concat()
}

/// The role of [`some_admin`], and its binding.
const SOME_ADMIN: &str = "some-admin";

/// The kubeconfig of a user who may change every object but not impersonate anybody.
fn some_admin(site: &Installation) -> PathBuf {
    let verbs = "--verb=get,list,watch,create,update,patch,delete";
    let admin = site.plane.kubectl("admin");
    admin.run(["create", "clusterrole", SOME_ADMIN, verbs, "--resource=*.*"]).succeeds();
    let bind = ["create", "clusterrolebinding", SOME_ADMIN, "--clusterrole", SOME_ADMIN, "--user=alice"];
    admin.run(bind).succeeds();
    // The authorizer follows the bindings with a watch.
    poll::until("the permissions of some admin", PATIENCE, || {
        let asked = site.plane.kubectl("alice").run(["auth", "can-i", "patch", "deployments"]);
        if asked.ok() { Seen::Ready(()) } else { Seen::NotYet(asked.to_string()) }
    });
    site.plane.kubeconfig("alice")
}

/// The binding that grants the service account permission to patch webhook configurations.
const PATCH_BINDING: [&str; 2] = ["clusterrolebinding", "crm-admission-certificates"];

#[test]
fn the_scripts_grant_permission_to_patch_configurations_only_with_the_guard_in_force() {
    let site = site();
    let admin = site.plane.kubectl("admin");
    // The harness and other tests have granted it.
    script(&site, "uninstall", &[]);
    let kustomizations = Kustomizations::copied();
    let idle = json!({"op": "replace", "path": "/spec/validationActions", "value": ["Audit"]});
    let idle = kustomizations.add(
        "idle-guard",
        &json!({
            "resources": ["../self-managed"],
            "patches": [{
                "target": {"kind": "ValidatingAdmissionPolicyBinding"}, "patch": json!([idle]).to_string(),
            }],
        }),
    );
    let complaint = "install: waited 3 s for the guard to deny a request; nothing else was applied";
    install_fails(&site, &["--overlay", text(&idle), "--timeout", "3"], complaint);
    assert!(!admin.has(PATCH_BINDING[0], PATCH_BINDING[1]));
    script(&site, "uninstall", &["--overlay", text(&idle)]);

    let absent =
        "$patch: delete\napiVersion: admissionregistration.k8s.io/v1\nkind: any\nmetadata: {name: any}\n";
    let unguarded = kustomizations.add(
        "unguarded",
        &json!({
            "resources": ["../self-managed"],
            "patches": [{
                "target": {"kind": "ValidatingAdmissionPolicy.*", "name": "crm-admission-guard"}, "patch": absent,
            }],
        }),
    );
    let complaint = "grants permission to patch webhook configurations without the guard";
    install_fails(&site, &["--overlay", text(&unguarded)], complaint);
    assert!(!admin.has(PATCH_BINDING[0], PATCH_BINDING[1]));

    let complaint = "cannot test the guard, and nothing else was applied; --no-guard-test waits for it";
    let told = install_fails_as(&site, some_admin(&site), &["--timeout", "20"], complaint);
    assert!(told.contains("cannot impersonate"), "{told}");
    assert!(!admin.has(PATCH_BINDING[0], PATCH_BINDING[1]));
    admin.run(["delete", "clusterrolebinding,clusterrole", SOME_ADMIN]).succeeds();
    script(&site, "uninstall", &[]);

    // The only error is that no pod becomes ready.
    let printed = install_fails(&site, &["--timeout", "8"], "install: the server is not ready");
    let place = |text: &str| printed.find(text).unwrap_or_else(|| panic!("no {text:?} in {printed}"));
    let guard =
        place("validatingadmissionpolicybinding.admissionregistration.k8s.io/crm-admission-guard created");
    assert!(guard < place("clusterrolebinding.rbac.authorization.k8s.io/crm-admission-certificates"));
    let since = site.plane.audited().len();
    script(&site, "uninstall", &[]);
    guard_went_after_the_right(&deleted(&site.plane, since));
}

#[test]
fn helm_keeps_the_ca_of_the_program_and_uninstalls_the_registration_first() {
    let site = site();
    let admin = site.plane.kubectl("admin");
    let helm = helm(&site);
    let chart = chart("crm-admission");
    let release = ["crm-admission", &chart, "--namespace", NAMESPACE];
    // Helm creates the guard last. To have it in force before the permission, apply it first.
    let guard =
        ["template", "crm-admission", &chart, "--namespace", NAMESPACE, "--show-only=templates/guard.yaml"];
    admin.apply(&helm.succeeds(guard)).succeeds();
    site.plane.await_guard();
    // The harness has granted the permissions already. The release takes them over, and the guard.
    let install = ["install", "--create-namespace", "--take-ownership"].into_iter().chain(release);
    let notes = helm.succeeds(install);
    assert!(notes.contains(
        "kubectl delete mutatingwebhookconfiguration,validatingwebhookconfiguration crm-admission"
    ));

    // Like the program: with its own permissions, one field of each webhook.
    let program = site.plane.kubectl("crm-admission");
    let bundle = site.webhook.ca_bundle();
    let add = |webhook| json!({"op": "add", "path": format!("/webhooks/{webhook}/clientConfig/caBundle"), "value": bundle});
    for (configuration, patch) in [
        ("mutatingwebhookconfiguration", json!([add(0)])),
        ("validatingwebhookconfiguration", json!([add(0), add(1), add(2)])),
    ] {
        program
            .run(["patch", configuration, "crm-admission", "--type=json", "-p", &patch.to_string()])
            .succeeds();
    }
    let timeout = ["upgrade", "--set=webhook.timeoutSeconds=7"].into_iter().chain(release);
    helm.succeeds(timeout);
    for configuration in ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"] {
        let stored = admin.get(configuration, "crm-admission");
        for webhook in stored["webhooks"].as_array().expect("webhooks") {
            assert_eq!(webhook["clientConfig"]["caBundle"], bundle, "{webhook}");
            // `delete` has it too, so the upgrade had an effect.
            assert_eq!(webhook["timeoutSeconds"], 7);
        }
    }

    let since = site.plane.audited().len();
    helm.succeeds(["uninstall", "crm-admission", "--namespace", NAMESPACE]);
    let deleted = deleted(&site.plane, since);
    went_in_order(&deleted);
    guard_went_after_the_right(&deleted);
    admin.run(["get", CONFIGURATIONS, "-o", "name"]).succeeds().prints_nothing();
    assert!(admin.has("crd", "companies.crm.milo.io"), "the kinds stay");
}
