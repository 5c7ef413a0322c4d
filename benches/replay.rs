//! Measures `policy replay` on audit logs of 2 GB with writes of 10,000 records: one in which every event is a write of a
//! record, and one in which only every twentieth is. For comparison, it also measures counting the lines of the same file.
//! Both take turns in one run. `REPLAY_MB=100` makes the logs smaller.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark that cannot run should fail"
)]

mod measured;

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use measured::{Sample, run};

const MEGABYTES: u64 = 2000;
const RECORDS: usize = 10_000;
const ROUNDS: usize = 3;
/// How often the memory of the running program is read.
const GLANCE: Duration = Duration::from_millis(5);
const POLICY: &str = "apiVersion: admission.crm.milo.io/v1alpha1\nkind: AdmissionPolicy\nmetadata: {name: default}\n\
    spec: {rules: [{rule: label-value, action: Deny}]}\n";

/// A log, and which of its events are writes of records: every one, or every twentieth.
const LOGS: [(&str, usize); 2] = [("records.log", 1), ("all.log", 20)];

fn main() {
    let bytes = std::env::var("REPLAY_MB").map_or(MEGABYTES, |size| size.parse().unwrap()) * 1_000_000;
    let directory = tempfile::tempdir().unwrap();
    let policy = directory.path().join("policy.yaml");
    std::fs::write(&policy, POLICY).unwrap();
    for (name, every) in LOGS {
        let log = directory.path().join(name);
        let lines = write_log(&log, bytes, every);
        let (mut replays, mut reads, mut peak) = (Vec::new(), Vec::new(), 0);
        for _ in 0..ROUNDS {
            let start = Instant::now();
            assert_eq!(count_lines(&log), lines);
            reads.push(start.elapsed());
            let sample = replay(&policy, &log);
            replays.push(sample.took);
            peak = sample.peak.max(peak);
        }
        reads.sort();
        replays.sort();
        let (read, replayed) = (reads[ROUNDS / 2], replays[ROUNDS / 2]);
        let rate = |took: Duration| bytes as f64 / 1e6 / took.as_secs_f64();
        println!(
            "1 of {every} events is a write of one of {RECORDS} records, {} MB, {lines} lines, {ROUNDS} rounds",
            bytes / 1_000_000
        );
        println!(
            "  policy replay: median {replayed:.1?}, {:.0} MB/s, at most {} MiB",
            rate(replayed),
            peak / 1024
        );
        println!("  counting lines: median {read:.1?}, {:.0} MB/s", rate(read));
        println!("  ratio: {:.1}", replayed.as_secs_f64() / read.as_secs_f64());
        // The other log needs the room.
        std::fs::remove_file(log).unwrap();
    }
}

/// Writes a log of about that size. Returns the number of its lines.
fn write_log(path: &Path, bytes: u64, every: usize) -> usize {
    let mut out = BufWriter::new(File::create(path).unwrap());
    let (mut written, mut lines) = (0, 0);
    while written < bytes {
        let line = if lines % every == 0 { write_of(lines / every) } else { lease(lines) };
        out.write_all(line.as_bytes()).unwrap();
        written += line.len() as u64;
        lines += 1;
    }
    out.flush().unwrap();
    lines
}

/// The create of each record, and then updates in turns. Every hundredth has a source that is not allowed.
fn write_of(index: usize) -> String {
    let (record, turn) = (index % RECORDS, index / RECORDS);
    let (verb, code) = if turn == 0 { ("create", 201) } else { ("update", 200) };
    let source = if record % 100 == 0 && turn % 2 == 0 { "hearsay" } else { "referral" };
    let object = format!(
        r#"{{"apiVersion":"crm.milo.io/v1alpha1","kind":"Company","metadata":{{"name":"company-{record}","labels":{{"crm.milo.io/source":"{source}"}},"annotations":{{"example.com/owner":"sales"}}}},"spec":{{"displayName":"Company {record}","description":"Makes things, {turn} of them, and sells them to people who need things.","domains":["company-{record}.example.com","company-{record}.example.org"],"linkedinProfile":"https://www.linkedin.com/company/company-{record}","creatorRef":{{"name":"alice"}}}}}}"#
    );
    let uri = format!("/apis/crm.milo.io/v1alpha1/companies/company-{record}?fieldManager=kubectl-create");
    let of = format!(
        r#""resource":"companies","name":"company-{record}","apiGroup":"crm.milo.io","apiVersion":"v1alpha1""#
    );
    event(index, verb, code, &uri, &of, &format!(r#""requestObject":{object},"#))
}

/// What most events of an API server are about.
fn lease(index: usize) -> String {
    let uri = format!(
        "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/node-{}?timeout=10s",
        index % 500
    );
    let of = r#""resource":"leases","namespace":"kube-node-lease","name":"node","apiGroup":"coordination.k8s.io","apiVersion":"v1""#;
    let object = r#""requestObject":{"kind":"Lease","apiVersion":"coordination.k8s.io/v1","metadata":{"name":"node","namespace":"kube-node-lease","uid":"0e2f7f0c-7e1b-4d6c-9b3d-4b7a1c6f2d11","resourceVersion":"1234567"},"spec":{"holderIdentity":"node","leaseDurationSeconds":40,"renewTime":"2026-11-23T12:00:00.000000Z"}},"#;
    event(index, "update", 200, &uri, of, object)
}

fn event(index: usize, verb: &str, code: u16, uri: &str, of: &str, object: &str) -> String {
    let second = index / 100 % 60;
    format!(
        r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Request","auditID":"4f1c7e52-93aa-4c1b-8a55-{index:012x}","stage":"ResponseComplete","requestURI":"{uri}","verb":"{verb}","user":{{"username":"alice","uid":"alice","groups":["crm-editors","system:authenticated"],"extra":{{"authentication.kubernetes.io/credential-id":["X509SHA256=0f"]}}}},"sourceIPs":["10.0.0.7"],"userAgent":"kubectl/v1.37.2 (linux/amd64) kubernetes/abcdef0","objectRef":{{{of}}},"responseStatus":{{"metadata":{{}},"code":{code}}},{object}"requestReceivedTimestamp":"2026-11-23T12:00:{second:02}.000000Z","stageTimestamp":"2026-11-23T12:00:{second:02}.004711Z","annotations":{{"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":"RBAC: allowed by ClusterRoleBinding"}}}}
"#
    )
}

fn count_lines(path: &Path) -> usize {
    let mut file = File::open(path).unwrap();
    let mut buffer = vec![0; 256 * 1024];
    let mut lines = 0;
    loop {
        match file.read(&mut buffer).unwrap() {
            0 => return lines,
            read => lines += bytecount::count(&buffer[..read], b'\n'),
        }
    }
}

fn replay(policy: &Path, log: &Path) -> Sample {
    let command = |product: &mut Command| {
        product.args(["policy", "replay", "--policy"]).arg(policy).arg(log);
    };
    // Some writes would newly be denied.
    run(command, 1, GLANCE)
}
