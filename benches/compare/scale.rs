//! Measures how start, memory and cost grow with the number of objects in the directory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cases::{self, Case, Id};
use crate::contenders::{Contender, Running, Stable};
use crate::fake_api::FakeApi;
use crate::http::{Connection, Numbers, Template};
use crate::load::{Client, Load, Pace, Sample};
use crate::report::{Bound, Report, Spread};
use crate::say;
use crate::server::Pinned;
use crate::settings::{Part, Settings};

/// The smallest directory has only the Company of the requests.
const SIZES: [u64; 4] = [1, 10_000, 100_000, 1_000_000];
/// The largest directory of the webhook on controller-runtime, which stores much more of each object.
const LARGEST_OF_GO: u64 = 100_000;
/// The page size of crm-admission.
const PAGE: u64 = 500;
/// How often all sizes take their turn, after each start.
const TURNS: usize = 2;
/// The time for background work after a start.
const SETTLING: Duration = Duration::from_secs(1);

/// The results of one contender with a directory of one size.
#[derive(Default)]
struct Growth {
    ready: Vec<f64>,
    /// The duration of the webhook's list.
    list: Vec<f64>,
    idle: Vec<f64>,
    single: Vec<Sample>,
    many: Vec<Sample>,
    misspelled: Vec<Sample>,
}

struct Subject {
    contender: Contender,
    api: usize,
    growth: Growth,
}

pub(crate) fn run(settings: &Settings) {
    let _pinned = Pinned::to(settings.cores);
    let client = Client::start(settings.cores);
    let stable = Stable::new(settings.cores);
    let apis: Vec<FakeApi> =
        SIZES.iter().map(|size| FakeApi::start(&client, &stable.workspace, *size)).collect();
    let mut subjects: Vec<Subject> = Contender::present()
        .into_iter()
        .filter(|contender| *contender != Contender::Echo)
        .flat_map(|contender| {
            let most = if contender == Contender::Go { LARGEST_OF_GO } else { u64::MAX };
            let sizes = (0..SIZES.len()).filter(move |api| SIZES[*api] <= most);
            sizes.map(move |api| Subject { contender, api, growth: Growth::default() })
        })
        .collect();
    let mut bare = vec![Vec::new(); SIZES.len()];
    for round in 0..settings.starts() {
        say(&format!("scale, round {} of {}: starting all", round + 1, settings.starts()));
        for (api, bare) in apis.iter().zip(&mut bare) {
            bare.push(read_list(&client, api));
        }
        let running: Vec<Running> = subjects
            .iter_mut()
            .map(|subject| start(&stable, &apis[subject.api], subject.contender, &mut subject.growth))
            .collect();
        for turn in 0..TURNS {
            say(&format!("scale, round {}: turn {} of {TURNS}", round + 1, turn + 1));
            for (subject, running) in subjects.iter_mut().zip(&running) {
                load(settings, &client, &apis[subject.api], running, &mut subject.growth);
            }
        }
    }
    let mut report = Report::default();
    tabulate(&mut report, &subjects, &bare);
    judge(&mut report, &subjects, &bare);
    report.publish(Part::Scale, settings);
}

/// The time only to read the list, page by page, in seconds.
fn read_list(client: &Client, api: &FakeApi) -> f64 {
    let place = api.place();
    let pages: Vec<String> =
        (0..api.companies()).step_by(PAGE as usize).map(|start| api.page(PAGE, start)).collect();
    client.run(async move {
        let start = Instant::now();
        let mut connection = Connection::open(&place).await.unwrap();
        let mut request = Vec::new();
        for page in pages {
            Template::get(&page, Numbers::Rising, 200).fill(&mut request);
            assert_eq!(connection.call(&request).await.unwrap().status, 200);
        }
        start.elapsed().as_secs_f64()
    })
}

fn start(stable: &Stable, api: &FakeApi, contender: Contender, growth: &mut Growth) -> Running {
    api.take_listing();
    let running = stable.start(contender, &api.kubeconfig);
    growth.ready.push(running.server.start.as_secs_f64());
    growth.list.push(api.take_listing().as_secs_f64());
    std::thread::sleep(SETTLING);
    growth.idle.push(running.server.resident());
    running
}

fn load(settings: &Settings, client: &Client, api: &FakeApi, running: &Running, growth: &mut Growth) {
    let hit = Id::Hit.case();
    let measure = |case: &Case, connections| {
        let request = Arc::new(case.request("/mutate", api.companies()));
        let (_, body) = client.call(&running.place, &request);
        case.check(running.contender.name(), &body);
        client.measure(Load {
            place: running.place.clone(),
            request,
            connections,
            pace: Pace::Closed,
            time: settings.time,
            process: Some(running.server.pid),
            api_server: None,
        })
    };
    // In real clusters, objects change all the time.
    api.set_changes(true);
    growth.single.push(measure(&hit, 1));
    growth.many.push(measure(&hit, 16));
    growth.misspelled.push(measure(&cases::misspelled(), 1));
    api.set_changes(false);
}

fn tabulate(report: &mut Report, subjects: &[Subject], bare: &[Vec<f64>]) {
    report.line(
        "Medians. The API server sends 100 changes a second under load. \"List\" is the time from the request for the \
         first page to the answer with the last; \"only read\" is the same for a client that discards the pages. Each \
         request is for a Person whose Company is in the directory. In brackets: the number of connections.",
    );
    let head = [
        "Companies",
        "webhook",
        "ready s",
        "list s",
        "only read s",
        "idle RSS MB",
        "RSS MB under load",
        "bytes/object",
        "p50 µs (1)",
        "requests/s (16)",
        "p99 µs (16)",
        "CPU µs/request (16)",
        "misspelled name: p50 µs (1)",
    ];
    let rows: Vec<Vec<String>> = subjects
        .iter()
        .map(|subject| {
            let growth = &subject.growth;
            let size = SIZES[subject.api];
            let count = if size == 1 { "0 (1)".to_owned() } else { size.to_string() };
            vec![
                count,
                subject.contender.name().to_owned(),
                Spread::of(growth.ready.iter().copied()).shown(),
                Spread::of(growth.list.iter().copied()).shown(),
                Spread::of(bare[subject.api].iter().copied()).shown(),
                megabytes(&growth.idle),
                Spread::over(&growth.many, |sample| sample.resident / 1e6).shown(),
                per_object(subjects, subject).map_or("–".to_owned(), |bytes| bytes.shown()),
                Spread::over(&growth.single, |sample| sample.p50).shown(),
                Spread::over(&growth.many, |sample| sample.rate).shown(),
                Spread::over(&growth.many, |sample| sample.p99).shown(),
                Spread::over(&growth.many, |sample| sample.cpu).shown(),
                Spread::over(&growth.misspelled, |sample| sample.p50).shown(),
            ]
        })
        .collect();
    report.table(&head, &rows);
}

fn megabytes(bytes: &[f64]) -> String {
    Spread::of(bytes.iter().map(|bytes| bytes / 1e6)).shown()
}

/// The additional memory for each object, compared with an empty directory.
fn per_object(subjects: &[Subject], subject: &Subject) -> Option<Spread> {
    let empty = smallest(subjects, subject.contender);
    let objects = SIZES[subject.api] - SIZES[empty.api];
    let pairs = subject.growth.idle.iter().zip(&empty.growth.idle);
    (objects > 0).then(|| Spread::of(pairs.map(|(full, empty)| (full - empty) / objects as f64)))
}

fn smallest(subjects: &[Subject], contender: Contender) -> &Subject {
    subjects.iter().find(|subject| subject.contender == contender && subject.api == 0).unwrap()
}

fn judge(report: &mut Report, subjects: &[Subject], bare: &[Vec<f64>]) {
    let empty = smallest(subjects, Contender::Ours);
    let ours = |subject: &&Subject| subject.contender == Contender::Ours;
    let full = subjects.iter().filter(ours).max_by_key(|subject| subject.api).unwrap();
    let million = |growth: &Growth| Spread::of(growth.idle.iter().map(|bytes| bytes / 1e6));
    report.target("idle RSS, no objects", Bound::AtMost(15.0), " MB", million(&empty.growth));
    report.target("idle RSS, 1 M objects", Bound::AtMost(120.0), " MB", million(&full.growth));
    report.target(
        "memory for each object, 1 M objects",
        Bound::AtMost(75.0),
        " bytes",
        per_object(subjects, full).unwrap(),
    );
    for (list, took) in [("the list", &full.growth.list), ("only reading", &bare[full.api])] {
        let waits = full.growth.ready.iter().zip(took).map(|(ready, list)| ready - list);
        let what = format!("time to ready beyond {list}, 1 M objects");
        report.target(&what, Bound::AtMost(1.0), " s", Spread::of(waits));
    }
    let cost = Spread::paired(&full.growth.many, &empty.growth.many, |full, empty| full.cpu / empty.cpu);
    report.target("CPU per request, 1 M objects relative to none", Bound::AtMost(1.05), " ×", cost);
}
