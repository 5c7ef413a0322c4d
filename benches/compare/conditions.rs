//! Measures what `--conditions` costs: memory for each record, and the latency of reviews while conditions are written.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cases::Id;
use crate::contenders::{Contender, Running, Stable};
use crate::fake_api::FakeApi;
use crate::load::{Client, Load, Pace, Sample};
use crate::report::{Bound, Report, Spread};
use crate::say;
use crate::server::Pinned;
use crate::settings::{Part, Settings};

/// The number of records of a full run, and of a short one.
const RECORDS: [u64; 2] = [100_000, 20_000];
/// One record of so many is a Company, and the others are People.
const COMPANY_EVERY: u64 = 5;
/// The number of reviews a second, far below what the program can do: a queue would hide what is added.
const REVIEWS: f64 = 2000.0;
const CONNECTIONS: usize = 16;
/// The number of measurements after each start.
const TURNS: usize = 4;
/// The kinds whose records are listed as a whole.
const LISTS: usize = 3;
/// The time limit of these lists.
const PATIENCE: Duration = Duration::from_secs(120);
/// The time between two looks at them.
const GLANCE: Duration = Duration::from_millis(20);
/// The time for background work after a start.
const SETTLING: Duration = Duration::from_secs(1);

/// What the program does besides reviews.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Nothing: it runs without `--conditions`.
    Without,
    /// All records have the right condition.
    Idle,
    /// No record has a condition, and this many are written a second.
    Writing(u32),
}

/// The default of `--conditions-rate`, and its maximum.
const MODES: [Mode; 4] = [Mode::Without, Mode::Idle, Mode::Writing(20), Mode::Writing(1000)];

impl Mode {
    fn name(self) -> String {
        match self {
            Self::Without => "without `--conditions`".to_owned(),
            Self::Idle => "all conditions are right".to_owned(),
            Self::Writing(rate) => format!("writing, `--conditions-rate={rate}`"),
        }
    }

    fn flags(self) -> Vec<String> {
        match self {
            Self::Without => Vec::new(),
            Self::Idle => vec!["--conditions".to_owned()],
            Self::Writing(rate) => vec!["--conditions".to_owned(), format!("--conditions-rate={rate}")],
        }
    }
}

/// The results of one mode.
#[derive(Default)]
struct Results {
    records: u64,
    /// Resident memory after the first list, in bytes, by start.
    idle: Vec<f64>,
    /// By turn.
    samples: Vec<Sample>,
    /// Conditions written a second, by turn.
    writes: Vec<f64>,
}

pub(crate) fn run(settings: &Settings) {
    let _pinned = Pinned::to(settings.cores);
    let client = Client::start(settings.cores);
    let stable = Stable::new(settings.cores);
    let [full, short] = RECORDS;
    let records = if settings.is_full() { full } else { short };
    let companies = records / COMPANY_EVERY;
    let api = FakeApi::with_people(&client, &stable.workspace, companies, records - companies);
    let mut results: [Results; MODES.len()] = Default::default();
    results.iter_mut().for_each(|results| results.records = records);
    for round in 0..settings.starts() {
        // The order changes, so that no mode is always first or after the same one.
        for index in (0..MODES.len()).map(|step| (step + round) % MODES.len()) {
            let mode = MODES[index];
            say(&format!("conditions, round {} of {}: {}", round + 1, settings.starts(), mode.name()));
            // The others would share its core, so only one runs at a time.
            let running = start(&stable, &api, mode);
            results[index].idle.push(running.server.resident());
            for _ in 0..TURNS {
                load(settings, &client, &api, &running, &mut results[index]);
            }
            check(mode, &results[index]);
        }
    }
    let mut report = Report::default();
    tabulate(&mut report, &results);
    judge(&mut report, &results);
    report.publish(Part::Conditions, settings);
}

/// Starts the program, and waits until it has judged all records once.
fn start(stable: &Stable, api: &FakeApi, mode: Mode) -> Running {
    api.reset_conditions(!matches!(mode, Mode::Writing(_)));
    let running = stable.start_with(Contender::Ours, &api.kubeconfig, &mode.flags());
    let deadline = Instant::now() + PATIENCE;
    while mode != Mode::Without && api.lists_of_records() < LISTS {
        assert!(Instant::now() < deadline, "{}: not all records were listed", mode.name());
        std::thread::sleep(GLANCE);
    }
    std::thread::sleep(SETTLING);
    running
}

fn load(settings: &Settings, client: &Client, api: &FakeApi, running: &Running, results: &mut Results) {
    let hit = Id::Hit.case();
    let request = Arc::new(hit.request("/mutate", api.companies()));
    let (_, body) = client.call(&running.place, &request);
    hit.check(running.contender.name(), &body);
    let (written, start) = (api.writes(), Instant::now());
    let sample = client.measure(Load {
        place: running.place.clone(),
        request,
        connections: CONNECTIONS,
        pace: Pace::Open(REVIEWS),
        time: settings.time,
        process: Some(running.server.pid),
        api_server: None,
    });
    results.samples.push(sample);
    results.writes.push((api.writes() - written) as f64 / start.elapsed().as_secs_f64());
}

/// A controller that does something else than the name of the mode says would make the comparison useless.
fn check(mode: Mode, results: &Results) {
    let writes = results.writes.iter().copied().fold(0.0, f64::max);
    let is_expected = match mode {
        Mode::Without | Mode::Idle => writes == 0.0,
        Mode::Writing(_) => writes > 0.0,
    };
    assert!(is_expected, "{}: {writes} conditions a second", mode.name());
}

fn tabulate(report: &mut Report, results: &[Results; MODES.len()]) {
    report.line(&format!(
        "Medians with {} records, each fifth a Company and the others People. {REVIEWS} reviews a second, on \
         {CONNECTIONS} connections, each of a Person whose Company is in the directory. Ratios are within a round, to the \
         program without `--conditions`.",
        results[0].records,
    ));
    let head = [
        "the controller",
        "conditions written/s",
        "RSS MB",
        "bytes/record",
        "p50 µs",
        "p99 µs",
        "CPU µs/review",
        "p99, ratio",
        "CPU/review, ratio",
        "CPU µs/condition",
    ];
    let without = &results[0];
    let rows: Vec<Vec<String>> = MODES
        .into_iter()
        .zip(results)
        .map(|(mode, own)| {
            let ratio = |figure: fn(&Sample) -> f64| match mode {
                Mode::Without => "–".to_owned(),
                _ => compared(own, without, figure).to_string(),
            };
            vec![
                mode.name(),
                Spread::of(own.writes.iter().copied()).shown(),
                Spread::of(own.idle.iter().map(|bytes| bytes / 1e6)).shown(),
                if mode == Mode::Without { "–".to_owned() } else { per_record(own, without).to_string() },
                Spread::over(&own.samples, |sample| sample.p50).shown(),
                Spread::over(&own.samples, |sample| sample.p99).shown(),
                Spread::over(&own.samples, |sample| sample.cpu).shown(),
                ratio(|sample| sample.p99),
                ratio(|sample| sample.cpu),
                per_condition(mode, own, without).map_or("–".to_owned(), |cost| cost.to_string()),
            ]
        })
        .collect();
    report.table(&head, &rows);
}

fn compared(own: &Results, without: &Results, figure: fn(&Sample) -> f64) -> Spread {
    Spread::paired(&own.samples, &without.samples, |own, without| figure(own) / figure(without))
}

/// The additional memory for each record.
fn per_record(own: &Results, without: &Results) -> Spread {
    let records = own.records as f64;
    Spread::of(own.idle.iter().zip(&without.idle).map(|(own, without)| (own - without) / records))
}

/// The additional processor time for each condition. At the default rate, it is less than the noise.
fn per_condition(mode: Mode, own: &Results, without: &Results) -> Option<Spread> {
    let is_fast = matches!(mode, Mode::Writing(rate) if f64::from(rate) * 10.0 >= REVIEWS);
    let turns = own.samples.iter().zip(&without.samples).zip(&own.writes);
    is_fast.then(|| {
        Spread::of(turns.map(|((own, without), writes)| (own.cpu - without.cpu) * REVIEWS / writes.max(1.0)))
    })
}

fn judge(report: &mut Report, results: &[Results; MODES.len()]) {
    let [without, idle, default, _] = results;
    report.target("memory for each record", Bound::AtMost(200.0), " bytes", per_record(idle, without));
    report.target(
        "p99 while conditions are written at the default rate, relative to none",
        Bound::AtMost(1.1),
        " ×",
        compared(default, without, |sample| sample.p99),
    );
    report.target(
        "CPU per review while conditions are written at the default rate, relative to none",
        Bound::AtMost(1.1),
        " ×",
        compared(default, without, |sample| sample.cpu),
    );
}
