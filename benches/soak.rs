//! Runs the program under full load over a few connections, and prints its resource usage and its peak memory:
//! `make soak SECONDS=180` prints two tables. It has no targets that pass or fail.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a measurement that cannot continue should fail, and people read its output"
)]

#[path = "../tests/support/memory.rs"]
mod memory;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::{Certificate, Client};
use serde_json::{Value, json};

/// The number of connections that a busy API server keeps.
const CONNECTIONS: usize = 16;
/// The number of rows of the table, each for an equal time.
const ROWS: u32 = 20;
/// The number of existing companies.
const COMPANIES: usize = 1000;

fn main() {
    let seconds = std::env::var("SOAK_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(60);
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path());
    println!("{CONNECTIONS} connections, {seconds} s, {} kinds of reviews", reviews().len());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let rows = runtime.block_on(drive(&server, Duration::from_secs(seconds)));
    summarize(&rows);
    runtime.block_on(press(&server));
}

/// The program as a process, with a development certificate and companies in a file. Dropping it stops the process.
struct Server {
    process: Child,
    url: String,
    client: Client,
}

impl Server {
    fn start(directory: &Path) -> Self {
        let resources = directory.join("companies.json");
        fs::write(&resources, companies().to_string()).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_crm-admission"))
            .args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .args([
                "--directory",
                "memory",
                "--log-format",
                "json",
                "--log",
                "warn,crm_admission::server=info",
            ])
            .arg("--tls-dev")
            .arg(directory)
            .arg("--resources")
            .arg(&resources)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let serving = log.find_map(|line| {
            let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
            (line["message"] == "serving").then(|| line["listen"].as_str().unwrap().to_owned())
        });
        let url = format!("https://{}", serving.expect("the address of the program"));
        // Read the rest, because a full pipe would block the program.
        std::thread::spawn(move || log.for_each(drop));

        let _ = rustls::crypto::ring::default_provider().install_default();
        let authority = Certificate::from_pem(&fs::read(directory.join("ca.crt")).unwrap()).unwrap();
        let client = Client::builder()
            .tls_certs_only([authority])
            .http1_only()
            .pool_max_idle_per_host(CONNECTIONS)
            .build()
            .unwrap();
        Self { process, url, client }
    }

    /// Its current memory.
    fn memory_kib(&self) -> u64 {
        memory::current(self.process.id()).unwrap()
    }

    /// Its peak memory.
    fn peak_kib(&self) -> u64 {
        memory::peak(self.process.id()).unwrap()
    }

    fn files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.process.id())).unwrap().count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn companies() -> Value {
    let items = (0..COMPANIES).map(|number| {
        json!({
            "apiVersion": "crm.milo.io/v1alpha1",
            "kind": "Company",
            "metadata": {"name": format!("company-{number}")},
            "spec": {"displayName": "Acme", "creatorRef": {"name": "alice"}},
        })
    });
    json!({"apiVersion": "v1", "kind": "List", "items": items.collect::<Vec<_>>()})
}

/// A path, a body, and whether it is allowed.
type Case = (&'static str, Vec<u8>, bool);

/// The reviews, in turn: one with changes, one without, one with several findings, one with a reference to an existing
/// object, and one with a reference to a missing object.
fn reviews() -> Vec<Case> {
    let creator = json!({"name": "alice"});
    let case = |path, kind, spec, allowed| (path, review(kind, &spec), allowed);
    vec![
        case(
            "/mutate",
            "Company",
            json!({"displayName": " Acme ", "domains": ["HTTPS://Acme.example.com/"],
                "linkedinProfile": "http://linkedin.com/company/Acme/"}),
            true,
        ),
        case(
            "/validate",
            "Company",
            json!({"displayName": "Acme", "domains": ["acme.com"], "creatorRef": creator}),
            true,
        ),
        case("/mutate", "Company", json!({"displayName": "", "domains": ["localhost", "a b"]}), false),
        case(
            "/validate",
            "Person",
            json!({"displayName": "Ada", "companyRef": {"name": "company-7"}, "creatorRef": creator}),
            true,
        ),
        case("/mutate", "Person", json!({"displayName": "Ada", "companyRef": {"name": "compny-7"}}), false),
    ]
}

fn review(kind: &str, spec: &Value) -> Vec<u8> {
    let version = "crm.milo.io/v1alpha1";
    let object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": "acme"}, "spec": spec});
    let request = json!({
        "uid": "0c3a5e0e-2a6f-4d43-9f6a-0d5d6f3ab8a1",
        "kind": {"group": "crm.milo.io", "version": "v1alpha1", "kind": kind},
        "name": "acme",
        "operation": "CREATE",
        "userInfo": {"username": "alice", "groups": ["crm-editors", "system:authenticated"]},
        "object": object,
    });
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request});
    serde_json::to_vec(&review).unwrap()
}

/// The number of callers at the same time, and of requests of each caller for each shape.
const PRESSING: usize = 8;
const TIMES: usize = 3;

/// Sends the bodies that need the most memory for their size: lists of small values, first of the largest accepted
/// length and then of the maximum size of a body.
async fn press(server: &Server) {
    println!(
        "{:>12} {:>9} {:>6} {:>6} {:>6} {:>9} {:>9}",
        "list of", "body KiB", "200", "413", "503", "RSS KiB", "peak KiB"
    );
    for (value, weight) in
        [("0", 66), (r#""a""#, 68), ("[0]", 228), (r#"{"":0}"#, 839), (r#"{"a":"b"}"#, 842)]
    {
        for entries in [(60 << 20) / weight, (6 << 20) / (value.len() + 1)] {
            let list = vec![value; entries].join(",");
            let body = review("Company", &json!({"displayName": "Acme", "domains": ["LIST"]}));
            let body = String::from_utf8(body).unwrap().replace(r#""LIST""#, &list);
            let counts = press_with(server, &body).await;
            let [fine, heavy, busy] =
                [200, 413, 503].map(|status| counts.iter().filter(|it| **it == status).count());
            let (size, memory, peak) = (body.len() / 1024, server.memory_kib(), server.peak_kib());
            println!("{value:>12} {size:>9} {fine:>6} {heavy:>6} {busy:>6} {memory:>9} {peak:>9}");
        }
    }
}

/// The statuses of the answers; none for a connection that was closed while the body was sent.
async fn press_with(server: &Server, body: &str) -> Vec<u16> {
    let callers = (0..PRESSING).map(|_| {
        let (client, url, body) = (server.client.clone(), format!("{}/mutate", server.url), body.to_owned());
        tokio::spawn(async move {
            let mut statuses = Vec::new();
            for _ in 0..TIMES {
                let request = client.post(&url).header("content-type", "application/json");
                if let Ok(answer) = request.body(body.clone()).send().await {
                    statuses.push(answer.status().as_u16());
                }
            }
            statuses
        })
    });
    let callers: Vec<_> = callers.collect();
    let mut statuses = Vec::new();
    for caller in callers {
        statuses.extend(caller.await.unwrap());
    }
    statuses
}

/// The measurements of one period.
struct Row {
    rate: f64,
    p50: Duration,
    p99: Duration,
    longest: Duration,
    memory_kib: u64,
    files: usize,
}

/// Sends reviews for this time, one after the other on each connection, and measures the process now and then.
async fn drive(server: &Server, time: Duration) -> Vec<Row> {
    let load = Arc::new(Load::default());
    let callers: Vec<_> = (0..CONNECTIONS)
        .map(|number| {
            let (load, client, url) = (Arc::clone(&load), server.client.clone(), server.url.clone());
            tokio::spawn(async move { load.call(&client, &url, number).await })
        })
        .collect();
    println!(
        "{:>8} {:>10} {:>8} {:>8} {:>8} {:>9} {:>6}",
        "s", "reviews/s", "p50 ms", "p99 ms", "max ms", "RSS KiB", "files"
    );
    let started = Instant::now();
    let mut rows = Vec::new();
    for _ in 0..ROWS {
        let begin = Instant::now();
        tokio::time::sleep(time / ROWS).await;
        let mut times = std::mem::take(&mut *load.times.lock().unwrap());
        times.sort_unstable();
        let at = |share: f64| times.get((times.len() as f64 * share) as usize).copied().unwrap_or_default();
        let row = Row {
            rate: times.len() as f64 / begin.elapsed().as_secs_f64(),
            p50: at(0.5),
            p99: at(0.99),
            longest: times.last().copied().unwrap_or_default(),
            memory_kib: server.memory_kib(),
            files: server.files(),
        };
        let [p50, p99, longest] = [row.p50, row.p99, row.longest].map(|time| time.as_secs_f64() * 1000.0);
        let (passed, Row { rate, memory_kib, files, .. }) = (started.elapsed().as_secs_f64(), &row);
        println!(
            "{passed:>8.0} {rate:>10.0} {p50:>8.2} {p99:>8.2} {longest:>8.1} {memory_kib:>9} {files:>6}"
        );
        rows.push(row);
    }
    load.done.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    println!("{} reviews, all answered as they should be", load.count.load(Ordering::Relaxed));
    rows
}

#[derive(Default)]
struct Load {
    done: AtomicBool,
    count: AtomicUsize,
    times: Mutex<Vec<Duration>>,
}

impl Load {
    async fn call(&self, client: &Client, url: &str, number: usize) {
        let cases = reviews();
        for (path, body, allowed) in cases.iter().cycle().skip(number) {
            if self.done.load(Ordering::Relaxed) {
                return;
            }
            let begin = Instant::now();
            let request =
                client.post(format!("{url}{path}?timeout=5s")).header("content-type", "application/json");
            let answer = request.body(body.clone()).send().await.unwrap();
            let answer = answer.error_for_status().unwrap().bytes().await.unwrap();
            self.times.lock().unwrap().push(begin.elapsed());
            self.count.fetch_add(1, Ordering::Relaxed);
            let answer: Value = serde_json::from_slice(&answer).unwrap();
            assert_eq!(answer["response"]["allowed"], *allowed, "{answer}");
        }
    }
}

fn summarize(rows: &[Row]) {
    let quarter = rows.len() / 4;
    let mean = |rows: &[Row], value: fn(&Row) -> f64| rows.iter().map(value).sum::<f64>() / rows.len() as f64;
    let compare = |what, value| {
        let (first, last) = (mean(&rows[..quarter], value), mean(&rows[rows.len() - quarter..], value));
        println!("{what}: {first:.0} in the first quarter, {last:.0} in the last: ratio {:.3}", last / first);
    };
    compare("RSS KiB", |row| row.memory_kib as f64);
    compare("files", |row| row.files as f64);
    compare("reviews/s", |row| row.rate);
}
