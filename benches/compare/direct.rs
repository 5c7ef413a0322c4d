//! Measures the webhooks directly, without an API server.

use std::sync::Arc;
use std::time::Duration;

use crate::cases::{self, Case, Id, SLOW};
use crate::contenders::{CONSTANT, Contender, READING, Running, Stable};
use crate::fake_api::{FakeApi, company_path};
use crate::http::{Connection, Numbers, SLOT, Template};
use crate::load::{Client, Load, Pace, Sample};
use crate::report::{Bound, Report, Spread};
use crate::say;
use crate::server::Pinned;
use crate::settings::{Part, Settings};

const COMPANIES: u64 = 1000;
const PATH: &str = "/mutate";
/// The number of equal requests at the same time, to count the calls to the API server.
const CROWD: usize = 64;

/// The type of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Closed(usize),
    /// At half of the rate of the slowest contender, on this many connections.
    Open(usize),
}

const MODES: [Mode; 4] = [Mode::Closed(1), Mode::Closed(16), Mode::Closed(64), Mode::Open(16)];

impl Mode {
    fn connections(self) -> usize {
        match self {
            Self::Closed(connections) | Self::Open(connections) => connections,
        }
    }
}

/// All samples of one case: by mode, then by contender, then by round.
struct Results {
    case: Case,
    samples: Vec<Vec<Vec<Sample>>>,
    /// The rate of the open loop.
    rate: f64,
}

impl Results {
    fn of(&self, mode: Mode, contender: usize) -> &[Sample] {
        let mode = MODES.iter().position(|other| *other == mode).unwrap();
        &self.samples[mode][contender]
    }
}

/// Additional measurements.
#[derive(Default)]
struct Extras {
    /// A GET that is sent directly to the API server, without and with a delay.
    get: Vec<Sample>,
    slow_get: Vec<Sample>,
    /// The clean Company with the echo that parses it, on 1 connection and on 16.
    reading: [Vec<Sample>; 2],
    /// The number of GETs for equal concurrent misses: of a Company that exists, and of one that does not.
    gets_found: Vec<f64>,
    gets_missing: Vec<f64>,
}

struct Lab<'a> {
    settings: &'a Settings,
    client: Client,
    api: FakeApi,
    running: Vec<Running>,
}

pub(crate) fn run(settings: &Settings) {
    let _pinned = Pinned::to(settings.cores);
    let client = Client::start(settings.cores);
    let stable = Stable::new(settings.cores);
    let api = FakeApi::start(&client, &stable.workspace, COMPANIES);
    let running = Contender::present()
        .into_iter()
        .chain(Contender::of_releases())
        .map(|contender| stable.start(contender, &api.kubeconfig))
        .collect();
    let lab = Lab { settings, client, api, running };
    lab.check();
    let wanted = |case: &Case| settings.cases.as_ref().is_none_or(|wanted| wanted.contains(&case.id));
    let mut results: Vec<Results> =
        cases::all().into_iter().filter(wanted).map(|case| lab.empty(case)).collect();
    let mut extras = Extras::default();
    for round in 0..settings.rounds {
        for result in &mut results {
            say(&format!("direct, round {} of {}: {}", round + 1, settings.rounds, result.case.title));
            lab.measure(round, result);
        }
        lab.measure_extras(&mut extras);
    }
    let mut report = Report::default();
    report.line(
        "Keep-alive HTTP/1.1 over TLS, medians of the rounds; in brackets, the number of connections. The fixed rate \
         is half of what the slowest webhook reaches on 16 connections.",
    );
    lab.tabulate(&mut report, &results);
    lab.judge(&mut report, &results, &extras);
    report.publish(Part::Direct, settings);
}

impl Lab<'_> {
    fn empty(&self, case: Case) -> Results {
        Results { case, samples: vec![vec![Vec::new(); self.running.len()]; MODES.len()], rate: 0.0 }
    }

    fn contender(&self, wanted: Contender) -> &Running {
        self.running.iter().find(|running| running.contender == wanted).unwrap()
    }

    fn request(&self, case: &Case, contender: Contender) -> Arc<Template> {
        let path = if contender == Contender::Echo { CONSTANT } else { PATH };
        Arc::new(case.request(path, COMPANIES))
    }

    /// Checks the answers, because a comparison of wrong answers is useless.
    fn check(&self) {
        for case in cases::all() {
            for running in self.running.iter().filter(|running| running.contender != Contender::Echo) {
                let request = self.request(&case, running.contender);
                let (_, body) = self.client.call(&running.place, &request);
                case.check(running.contender.name(), &body);
            }
        }
    }

    fn measure(&self, round: usize, result: &mut Results) {
        self.api.set_delay(result.case.delay);
        for (index, mode) in MODES.into_iter().enumerate() {
            // The order changes, so that no contender is always first or after the same one.
            let count = self.running.len();
            for contender in (0..count).map(|step| (step + round) % count) {
                let pace = match mode {
                    Mode::Closed(_) => Pace::Closed,
                    Mode::Open(_) => Pace::Open(self.rate(result)),
                };
                let running = &self.running[contender];
                let request = self.request(&result.case, running.contender);
                let sample = self.client.measure(Load {
                    place: running.place.clone(),
                    request,
                    connections: mode.connections(),
                    pace,
                    time: self.settings.time,
                    process: Some(running.server.pid),
                    api_server: None,
                });
                result.samples[index][contender].push(sample);
            }
        }
    }

    /// The first round sets the rate.
    fn rate(&self, result: &mut Results) -> f64 {
        if result.rate == 0.0 {
            let slowest = (0..self.running.len())
                .filter_map(|contender| result.of(Mode::Closed(16), contender).first())
                .map(|sample| sample.rate)
                .fold(f64::INFINITY, f64::min);
            result.rate = (slowest / 2.0).round().max(10.0);
        }
        result.rate
    }

    fn measure_extras(&self, extras: &mut Extras) {
        for (delay, samples) in [(Duration::ZERO, &mut extras.get), (SLOW, &mut extras.slow_get)] {
            self.api.set_delay(delay);
            let path = company_path(&format!("late-{SLOT}"));
            samples.push(self.client.measure(Load {
                place: self.api.place(),
                request: Arc::new(Template::get(&path, Numbers::Rising, 200)),
                connections: 1,
                pace: Pace::Closed,
                time: self.settings.time,
                process: None,
                api_server: None,
            }));
        }
        let echo = self.contender(Contender::Echo);
        let clean = Id::Clean.case();
        for (connections, samples) in [1, 16].into_iter().zip(&mut extras.reading) {
            samples.push(self.client.measure(Load {
                place: echo.place.clone(),
                request: Arc::new(clean.request(READING, COMPANIES)),
                connections,
                pace: Pace::Closed,
                time: self.settings.time,
                process: Some(echo.server.pid),
                api_server: None,
            }));
        }
        // Long enough for all of them to be sent before the first answer.
        self.api.set_delay(Duration::from_millis(100));
        extras.gets_found.push(self.crowd("late-crowd"));
        extras.gets_missing.push(self.crowd("nowhere-at-all"));
        self.api.set_delay(Duration::ZERO);
    }

    /// The number of GETs for many equal requests at the same time.
    fn crowd(&self, company: &str) -> f64 {
        let ours = self.contender(Contender::Ours);
        let mut case = Id::Miss.case();
        case.spec["companyRef"]["name"] = company.into();
        let request = Arc::new(case.request(PATH, COMPANIES));
        let place = ours.place.clone();
        self.api.take_gets();
        self.client.run(async move {
            let mut connections = Vec::new();
            for _ in 0..CROWD {
                connections.push(Connection::open(&place).await.unwrap());
            }
            let calls = connections.into_iter().map(|mut connection| {
                let request = Arc::clone(&request);
                tokio::spawn(async move {
                    let mut bytes = Vec::new();
                    request.fill(&mut bytes);
                    assert_eq!(connection.call(&bytes).await.unwrap().status, 200);
                })
            });
            for call in calls.collect::<Vec<_>>() {
                call.await.unwrap();
            }
        });
        self.api.take_gets() as f64
    }

    /// A row for each case and webhook, with the medians of its loads.
    fn tabulate(&self, report: &mut Report, results: &[Results]) {
        let head = [
            "case",
            "webhook",
            "p50 µs (1)",
            "p99 µs (1)",
            "requests/s (16)",
            "CPU µs/request (16)",
            "p99 µs (16)",
            "p99 µs (64)",
            "RSS MB (64)",
            "fixed rate/s",
            "p99 µs at this rate",
        ];
        let [one, many, most, open] = MODES;
        let mut rows = Vec::new();
        for result in results {
            for (contender, running) in self.running.iter().enumerate() {
                let median = |mode, figure: fn(&Sample) -> f64| {
                    Spread::over(result.of(mode, contender), figure).shown()
                };
                rows.push(vec![
                    result.case.id.name().to_owned(),
                    running.contender.name().to_owned(),
                    median(one, |sample| sample.p50),
                    median(one, |sample| sample.p99),
                    median(many, |sample| sample.rate),
                    median(many, |sample| sample.cpu),
                    median(many, |sample| sample.p99),
                    median(most, |sample| sample.p99),
                    median(most, |sample| sample.resident / 1e6),
                    format!("{:.0}", result.rate),
                    median(open, |sample| sample.p99),
                ]);
            }
        }
        report.table(&head, &rows);
    }

    fn judge(&self, report: &mut Report, results: &[Results], extras: &Extras) {
        let index = |wanted| self.running.iter().position(|running| running.contender == wanted);
        let (echo, ours) = (index(Contender::Echo).unwrap(), index(Contender::Ours).unwrap());
        let head = [
            "case",
            "CPU/request (16), of echo's",
            "p50 (1), of echo's",
            "requests/s (16), of controller-runtime's",
            "p99 (16), of controller-runtime's",
            "p99 at the fixed rate, of controller-runtime's",
        ];
        let go = index(Contender::Go);
        let rows: Vec<_> = results.iter().map(|result| ratios(result, ours, echo, go)).collect();
        report.line("Ratios within a round, with their targets:");
        report.table(&head, &rows);
        if let Some(released) = index(Contender::Static) {
            judge_static(report, results, ours, released);
        }
        judge_live(report, results, extras, ours);
        let [one, many] = &extras.reading;
        report.line(&format!(
            "An echo that also parses the uid and spec of `clean` with serde_json: p50 {} µs on 1 connection, {} µs of \
             CPU per request on 16.",
            Spread::over(one, |sample| sample.p50),
            Spread::over(many, |sample| sample.cpu),
        ));
    }
}

/// The ratios of crm-admission to the others in a case, by round, with their targets.
fn ratios(result: &Results, ours: usize, echo: usize, go: Option<usize>) -> Vec<String> {
    let id = result.case.id;
    let [one, many, _, open] = MODES;
    let cpu = match id {
        Id::Clean | Id::Hit => Some(Bound::AtMost(1.5)),
        Id::Messy => Some(Bound::AtMost(2.0)),
        _ => None,
    };
    let latency = matches!(id, Id::Messy | Id::Clean | Id::Hit | Id::Note).then_some(Bound::AtMost(1.2));
    let ratio = |bound: Option<Bound>, other: Option<usize>, mode, figure: fn(&Sample) -> f64| {
        let Some((bound, other)) = bound.zip(other) else { return "–".to_owned() };
        let [ours, other] = [ours, other].map(|contender| result.of(mode, contender));
        let seen = Spread::paired(ours, other, |ours, other| figure(ours) / figure(other));
        format!("{seen} {bound} {}", bound.sign(seen))
    };
    vec![
        id.name().to_owned(),
        ratio(cpu, Some(echo), many, |sample| sample.cpu),
        ratio(latency, Some(echo), one, |sample| sample.p50),
        ratio(Some(Bound::AtLeast(10.0)), go, many, |sample| sample.rate),
        ratio(Some(Bound::AtMost(0.1)), go, many, |sample| sample.p99),
        ratio(Some(Bound::AtMost(0.1)), go, open, |sample| sample.p99),
    ]
}

/// The program of releases, which has another C library and allocator, relative to the one that cargo builds here.
fn judge_static(report: &mut Report, results: &[Results], ours: usize, released: usize) {
    let [one, many, most, _] = MODES;
    let ratio = |result: &Results, mode, figure: fn(&Sample) -> f64| {
        let [released, ours] = [released, ours].map(|contender| result.of(mode, contender));
        Spread::paired(released, ours, |released, ours| figure(released) / figure(ours))
    };
    let row = |result: &Results| {
        let cpu = ratio(result, many, |sample| sample.cpu);
        let bound = Bound::AtMost(1.03);
        vec![
            result.case.id.name().to_owned(),
            format!("{cpu} {bound} {}", bound.sign(cpu)),
            ratio(result, one, |sample| sample.p50).to_string(),
            ratio(result, many, |sample| sample.rate).to_string(),
            ratio(result, most, |sample| sample.resident).to_string(),
        ]
    };
    report.line("The static program of releases, relative to the other build of crm-admission:");
    let head = ["case", "CPU/request (16)", "p50 (1)", "requests/s (16)", "RSS (64)"];
    report.table(&head, &results.iter().map(row).collect::<Vec<_>>());
}

/// The additional time of a live GET, and the number of GETs.
fn judge_live(report: &mut Report, results: &[Results], extras: &Extras, ours: usize) {
    let of = |id| {
        let result = results.iter().find(|result| result.case.id == id)?;
        Some(result.of(Mode::Closed(1), ours))
    };
    for (id, gets, api) in
        [(Id::Miss, &extras.get, "at once"), (Id::SlowMiss, &extras.slow_get, "after 2 ms")]
    {
        let Some((misses, hits)) = of(id).zip(of(Id::Hit)) else { continue };
        let added = misses.iter().zip(hits).zip(gets).map(|((miss, hit), get)| {
            // In milliseconds.
            (miss.p50 - hit.p50 - get.p50) / 1000.0
        });
        report.target(
            &format!("time that a live GET adds to its round trip, API server answering {api}: p50 (1)"),
            Bound::AtMost(0.2),
            " ms",
            Spread::of(added),
        );
        let trip = Spread::over(gets, |sample| sample.p50);
        report.line(&format!("A GET of an API server that answers {api} takes {trip} µs (p50)."));
    }
    for (which, gets) in
        [("a Company that exists", &extras.gets_found), ("one that does not", &extras.gets_missing)]
    {
        report.target(
            &format!("GETs for {CROWD} equal concurrent misses of {which}"),
            Bound::AtMost(1.0),
            "",
            Spread::of(gets.iter().copied()),
        );
    }
}
