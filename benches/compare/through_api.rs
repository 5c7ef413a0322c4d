//! Measures creates through a real API server: without a webhook, with each webhook, and with native policies.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::cases::{self, Id};
use crate::contenders::{Contender, Running, Stable};
use crate::http::{self, Numbers, Place, Template};
use crate::load::{Client, Load, Pace, Sample};
use crate::report::{Bound, Report, Spread};
use crate::say;
use crate::settings::{Part, Settings};
use crate::support::control_plane::ControlPlane;
use crate::support::kubectl::Kubectl;
use crate::support::poll::{self, Seen};
use crate::support::{manifest, repository, webhook};

/// The label that selects the webhook for a record. So all webhooks are registered and can take turns.
const LABEL: &str = "bench";
const CONNECTIONS: [usize; 2] = [1, 16];
const PATIENCE: Duration = Duration::from_secs(60);

/// What decides about a create.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Nobody,
    Webhook(Contender),
    /// One call of the echo: the least that a webhook can add.
    OneEcho,
    /// One call of crm-admission, and the floor as the last check.
    OneCall,
    Policies,
}

impl Asked {
    /// The contender whose process answers.
    fn contender(self) -> Option<Contender> {
        match self {
            Self::Webhook(contender) => Some(contender),
            Self::OneEcho => Some(Contender::Echo),
            Self::OneCall => Some(Contender::Ours),
            Self::Nobody | Self::Policies => None,
        }
    }

    /// The webhooks that the API server must call.
    fn endpoints(self) -> &'static [&'static str] {
        match self {
            Self::Webhook(_) => &["mutate", "validate"],
            Self::OneEcho => &["validate"],
            Self::OneCall => &["mutate"],
            Self::Nobody | Self::Policies => &[],
        }
    }

    /// The value of the label.
    fn label(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Webhook(contender) => contender.name(),
            Self::OneEcho => "one-echo",
            Self::OneCall => "one-call",
            Self::Policies => "native",
        }
    }

    fn shown(self) -> &'static str {
        match self {
            Self::Nobody => "no webhook",
            Self::Webhook(contender) => contender.name(),
            Self::OneEcho => "echo, one call",
            Self::OneCall => "crm-admission, one call",
            Self::Policies => "native policies",
        }
    }

    /// Whether it completes an incomplete record.
    fn completes(self) -> bool {
        !matches!(self, Self::Nobody | Self::OneEcho | Self::Webhook(Contender::Echo))
    }
}

struct Case {
    name: &'static str,
    kind: &'static str,
    plural: &'static str,
    spec: Value,
    is_complete: bool,
}

fn cases() -> [Case; 3] {
    let case = |name, kind, plural, spec, is_complete| Case { name, kind, plural, spec, is_complete };
    [
        case(Id::Clean.name(), "Company", "companies", cases::clean_company(), true),
        case(Id::Hit.name(), "Person", "people", cases::person_at("acme-corp"), true),
        case(Id::Messy.name(), "Company", "companies", cases::messy_company(), false),
    ]
}

/// The address and credentials of the API server for the load.
struct Gate {
    place: Place,
    token: String,
    /// The API server.
    process: Option<u32>,
}

pub(crate) fn run(settings: &Settings) {
    if !programs_exist() {
        say(
            "etcd, kube-apiserver and kubectl do not exist (is Go installed?): skipping the part with an API server.",
        );
        return;
    }
    let plane = ControlPlane::start();
    plane.install_kinds(&manifest("crds"));
    plane.install_roles();
    let admin = plane.kubectl("admin");
    let acme = object("Company", "acme-corp", "nobody", &cases::clean_company());
    admin.apply(&acme.to_string()).succeeds();
    let stable = Stable::new(None);
    let kubeconfig = plane.kubeconfig("crm-admission");
    let running: Vec<Running> =
        Contender::present().into_iter().map(|contender| stable.start(contender, &kubeconfig)).collect();
    for running in &running {
        register(&admin, &stable, running, Asked::Webhook(running.contender));
        match running.contender {
            Contender::Echo => register(&admin, &stable, running, Asked::OneEcho),
            Contender::Ours => {
                apply_floor(&admin);
                register(&admin, &stable, running, Asked::OneCall);
            }
            _ => {}
        }
    }
    apply_policies(&admin);
    let asked: Vec<Asked> = [Asked::Nobody]
        .into_iter()
        .chain(running.iter().map(|running| Asked::Webhook(running.contender)))
        .chain([Asked::OneEcho, Asked::OneCall, Asked::Policies])
        .collect();
    let gate = Gate::of(&plane);
    let client = Client::start(None);
    let mut report = Report::default();
    report.line(
        "Creates with `dryRun=All`: the whole admission chain without a write to etcd; medians, with the number of \
         connections in brackets. crm-admission is registered as in `manifests/registration`: `clean` and `hit` are \
         complete and canonical, so each create calls only `/validate`; `messy` calls `/mutate` and `/validate`. The other \
         webhooks get both calls for every create. With one call, crm-admission gets only `/mutate`, and `manifests/floor` \
         checks the result; the echo gets only `/validate`. All programs share all cores. CPU and RSS are the webhook's, \
         but for the mean CPU of the API server.",
    );
    let mut table = Vec::new();
    for case in cases() {
        let asked: Vec<Asked> =
            asked.iter().copied().filter(|asked| case.is_complete || asked.completes()).collect();
        let results = measure(settings, &client, &gate, &running, &case, &asked);
        table.extend(rows(&case, &asked, &results));
        if case.is_complete {
            judge(&mut report, &case, &asked, &results);
        } else {
            compare_calls(&mut report, &case, &asked, &results);
        }
    }
    let head = [
        "case",
        "asked",
        "p50 µs (1)",
        "p99 µs (1)",
        "creates/s (16)",
        "p99 µs (16)",
        "CPU of API server µs/create (16)",
        "CPU µs/create (16)",
        "RSS MB (16)",
    ];
    report.table(&head, &table);
    report.publish(Part::Api, settings);
}

fn programs_exist() -> bool {
    let directory = std::env::var_os("KUBEBUILDER_ASSETS").filter(|directory| !directory.is_empty());
    let directory = directory.map_or_else(|| repository().join("target/kubernetes/bin"), Into::into);
    ["etcd", "kube-apiserver", "kubectl"].iter().all(|program| directory.join(program).is_file())
}

impl Gate {
    fn of(plane: &ControlPlane) -> Self {
        let kubeconfig = fs::read_to_string(plane.kubeconfig("admin")).unwrap();
        let config: Value = serde_json::from_str(&kubeconfig).unwrap();
        let cluster = &config["clusters"][0]["cluster"];
        let text = |value: &Value| value.as_str().expect("a text in the kubeconfig").to_owned();
        let authority = fs::read_to_string(text(&cluster["certificate-authority"])).unwrap();
        let port = text(&cluster["server"]).rsplit(':').next().unwrap().parse().unwrap();
        Self {
            place: Place { port, tls: Some(http::trust(&authority)) },
            token: text(&config["users"][0]["user"]["token"]),
            process: plane.process(),
        }
    }

    fn create(&self, case: &Case, asked: Asked) -> Template {
        let mut object = object(case.kind, "", asked.label(), &case.spec);
        object["metadata"]["generateName"] = "bench-".into();
        let headers = format!("Authorization: Bearer {}\r\n", self.token);
        let path = format!("/apis/crm.milo.io/v1alpha1/{}?dryRun=All&fieldManager=bench", case.plural);
        Template::post(&path, &headers, &object.to_string(), Numbers::Rising, 201)
    }
}

fn object(kind: &str, name: &str, label: &str, spec: &Value) -> Value {
    let mut metadata = json!({"labels": {"crm.milo.io/source": "referral", (LABEL): label}});
    if !name.is_empty() {
        metadata["name"] = name.into();
    }
    json!({"apiVersion": "crm.milo.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec})
}

/// The shipped webhook configurations, with one or two calls for each write.
fn configurations(admin: &Kubectl, asked: Asked) -> Vec<Value> {
    let mut objects =
        if asked == Asked::OneCall { webhook::one_call(admin) } else { webhook::shipped(admin) };
    objects.retain(|object| object["webhooks"].is_array());
    objects
}

/// Registers a webhook like the shipped registration, for the records with this label, and waits until the API server
/// calls all of its endpoints. Only crm-admission tells the API server which records need no changes.
fn register(admin: &Kubectl, stable: &Stable, running: &Running, asked: Asked) {
    let name = asked.label();
    let bundle = STANDARD.encode(&stable.authority.pem);
    for mut configuration in configurations(admin, asked) {
        configuration["metadata"]["name"] = format!("bench-{name}").into();
        let webhooks = configuration["webhooks"].as_array_mut().unwrap();
        for webhook in webhooks.iter_mut() {
            let path = webhook["clientConfig"]["service"]["path"].as_str().unwrap().to_owned();
            let url = format!("https://127.0.0.1:{}{path}", running.place.port);
            webhook["clientConfig"] = json!({"url": url, "caBundle": bundle});
            webhook["objectSelector"] = json!({"matchLabels": {(LABEL): name}});
            if running.contender != Contender::Ours {
                webhook["matchConditions"] = json!([]);
            }
        }
        let short = |webhook: &Value| webhook["name"].as_str().unwrap().replace(".crm.milo.io", "");
        webhooks.retain(|webhook| asked.endpoints().contains(&short(webhook).as_str()));
        for webhook in webhooks.iter_mut() {
            webhook["name"] = format!("{}.{name}.bench", short(webhook)).into();
        }
        admin.apply(&configuration.to_string()).succeeds();
    }
    // Not canonical, so that it is sent to all of them; and complete, because not all contenders complete it.
    let mut probe = object("Company", "probe", name, &cases::clean_company());
    probe["spec"]["displayName"] = " Acme ".into();
    let probe = probe.to_string();
    poll::until(&format!("calls of {name}"), PATIENCE, || {
        let tried = admin.run_with(&probe, ["create", "--dry-run=server", "-f", "-"]);
        let metrics = admin.run(["get", "--raw", "/metrics"]).succeeds().stdout;
        let is_called = |endpoint: &&str| {
            let wanted = format!(r#"name="{endpoint}.{name}.bench""#);
            let mut counts =
                metrics.lines().filter(|line| line.starts_with("apiserver_admission_webhook_request_total{"));
            counts.any(|line| line.contains(&wanted))
        };
        if tried.ok() && asked.endpoints().iter().all(is_called) {
            Seen::Ready(())
        } else {
            Seen::NotYet(tried.to_string())
        }
    });
}

/// Applies the floor to the records with one call, and waits until it is in force.
fn apply_floor(admin: &Kubectl) {
    let label = Asked::OneCall.label();
    for mut object in admin.read(&manifest("floor/floor.yaml")) {
        if object["kind"] == "ValidatingAdmissionPolicy" {
            object["spec"]["matchConstraints"]["objectSelector"] = json!({"matchLabels": {(LABEL): label}});
        }
        admin.apply(&object.to_string()).succeeds();
    }
    let mut blank = object("Company", "probe", label, &cases::clean_company());
    blank["spec"]["displayName"] = " ".into();
    poll::until("the floor", PATIENCE, || {
        let refused = admin.run_with(&blank.to_string(), ["create", "--dry-run=server", "-f", "-"]);
        if refused.stderr.contains("crm-admission-floor") {
            Seen::Ready(())
        } else {
            Seen::NotYet(refused.to_string())
        }
    });
}

/// Applies the native policies and waits until both are in force.
fn apply_policies(admin: &Kubectl) {
    admin.apply_path(&repository().join("benches/native-policies.yaml")).succeeds();
    let label = Asked::Policies.label();
    let messy = object("Company", "probe", label, &cases::messy_company()).to_string();
    let mut blank = object("Company", "probe", label, &cases::clean_company());
    blank["spec"]["displayName"] = " ".into();
    poll::until("native policies", PATIENCE, || {
        let mutated = admin.run_with(&messy, ["create", "--dry-run=server", "-o", "json", "-f", "-"]);
        let refused = admin.run_with(&blank.to_string(), ["create", "--dry-run=server", "-f", "-"]);
        if mutated.ok() && refused.stderr.contains("displayName must not be blank") {
            let spec = &mutated.json()["spec"];
            assert_eq!(spec["domains"], json!(["acme.com", "acme.io"]), "{mutated}");
            assert_eq!(spec["linkedinProfile"], "https://linkedin.com/company/acme-corp", "{mutated}");
            assert_eq!(spec["creatorRef"]["name"], "admin", "{mutated}");
            Seen::Ready(())
        } else {
            Seen::NotYet(format!("{mutated}\n{refused}"))
        }
    });
}

/// By number of connections, then by decider, then by round.
type Results = Vec<Vec<Vec<Sample>>>;

fn measure(
    settings: &Settings,
    client: &Client,
    gate: &Gate,
    running: &[Running],
    case: &Case,
    asked: &[Asked],
) -> Results {
    let mut results = vec![vec![Vec::new(); asked.len()]; CONNECTIONS.len()];
    for round in 0..settings.turns() {
        say(&format!("API server, round {} of {}: {}", round + 1, settings.turns(), case.name));
        for (connections, results) in CONNECTIONS.into_iter().zip(&mut results) {
            for step in 0..asked.len() {
                let index = (step + round) % asked.len();
                let server =
                    running.iter().find(|running| asked[index].contender() == Some(running.contender));
                results[index].push(client.measure(Load {
                    place: gate.place.clone(),
                    request: Arc::new(gate.create(case, asked[index])),
                    connections,
                    pace: Pace::Closed,
                    time: settings.turn(),
                    process: server.map(|running| running.server.pid),
                    api_server: gate.process,
                }));
            }
        }
    }
    results
}

/// The rows of a case, with the medians of both loads.
fn rows(case: &Case, asked: &[Asked], results: &Results) -> Vec<Vec<String>> {
    let [one, many] = [&results[0], &results[1]];
    let row = |(index, asked): (usize, &Asked)| {
        let median =
            |load: &[Vec<Sample>], figure: fn(&Sample) -> f64| Spread::over(&load[index], figure).shown();
        let mut row = vec![
            case.name.to_owned(),
            asked.shown().to_owned(),
            median(one, |sample| sample.p50),
            median(one, |sample| sample.p99),
            median(many, |sample| sample.rate),
            median(many, |sample| sample.p99),
            format!("{:.0}", cpu_of_api_server(&many[index])),
        ];
        if asked.contender().is_some() {
            row.push(median(many, |sample| sample.cpu));
            row.push(median(many, |sample| sample.resident / 1e6));
        } else {
            row.extend(["–".to_owned(), "–".to_owned()]);
        }
        row
    };
    asked.iter().enumerate().map(row).collect()
}

/// Microseconds of the API server for a create, over all turns: a turn in which it collects garbage costs much more than
/// the others, so a median would be that of one or of the other.
fn cpu_of_api_server(turns: &[Sample]) -> f64 {
    let creates: f64 = turns.iter().map(|turn| turn.rate).sum();
    turns.iter().map(|turn| turn.api_server_cpu * turn.rate).sum::<f64>() / creates
}

/// The samples of a decider, with this number of connections.
fn samples(asked: &[Asked], results: &Results, connections: usize, wanted: Asked) -> Vec<Sample> {
    let index = asked.iter().position(|asked| *asked == wanted).unwrap();
    let connections = CONNECTIONS.iter().position(|other| *other == connections).unwrap();
    results[connections][index].clone()
}

fn judge(report: &mut Report, case: &Case, asked: &[Asked], results: &Results) {
    let of = |connections: usize, wanted: Asked| samples(asked, results, connections, wanted);
    let [echo, ours] = [Contender::Echo, Contender::Ours].map(Asked::Webhook);
    let nobody = of(1, Asked::Nobody);
    let added = |asked| -> Vec<f64> {
        of(1, asked).iter().zip(&nobody).map(|(asked, nobody)| asked.p50 - nobody.p50).collect()
    };
    let latency =
        |asked| Spread::of(added(asked).into_iter().zip(added(echo)).map(|(asked, echo)| asked / echo));
    let rate = |asked| Spread::paired(&of(16, asked), &of(16, echo), |asked, echo| asked.rate / echo.rate);
    // One call of the echo shows what can be reached.
    report.target(
        &format!(
            "{}: time added to p50 (1), vs. two calls of echo (one call of echo: {} ×)",
            case.name,
            latency(Asked::OneEcho)
        ),
        Bound::AtMost(0.5),
        " ×",
        latency(ours),
    );
    report.target(
        &format!(
            "{}: creates/s (16), vs. two calls of echo (one call of echo: {} ×)",
            case.name,
            rate(Asked::OneEcho)
        ),
        Bound::AtLeast(1.3),
        " ×",
        rate(ours),
    );
}

/// Compares one call with two, on a case for which the API server makes both.
fn compare_calls(report: &mut Report, case: &Case, asked: &[Asked], results: &Results) {
    let of = |wanted| samples(asked, results, 1, wanted);
    report.ratio(
        &format!("{}: p50 (1) with one call, vs. two calls", case.name),
        Bound::AtMost(0.95),
        [&of(Asked::OneCall), &of(Asked::Webhook(Contender::Ours))],
        |sample| sample.p50,
    );
}
