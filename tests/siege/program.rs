//! The program under attack: a process on free ports, with its memory and its log.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use serde_json::Value;

use crate::support::http::{Place, trust_as};
use crate::support::pki::{Authority, Identity};
use crate::support::process::{Log, Process, Witness};
use crate::support::workspace::Workspace;
use crate::support::{manifest, memory, net};

/// The environment variable with the path of another program to attack.
const PROGRAM: &str = "SIEGE_PROGRAM";
/// The usual soft limit on open files. Here it is the hard limit too, because it can be that in production.
const FILES: u32 = 1024;
/// How long a start may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running program. Dropping it stops the program.
pub(crate) struct Program {
    _witness: Witness,
    process: Process,
    log: Log,
    ports: [u16; 2],
    authority: String,
    workspace: Workspace,
}

impl Program {
    /// Starts the program and waits until it is ready.
    pub(crate) fn start() -> Self {
        Self::start_with(Workspace::create(), &[])
    }

    /// Starts a program that accepts only callers with a certificate of `clients`.
    pub(crate) fn start_for(clients: &Authority) -> Self {
        let workspace = Workspace::create();
        let file = workspace.write("clients", "ca.crt", &clients.pem);
        Self::start_with(workspace, &["--client-ca", file.to_str().unwrap()])
    }

    fn start_with(workspace: Workspace, args: &[&str]) -> Self {
        let log = Log::new(workspace.file("logs", "crm-admission.log"));
        let certificates = workspace.file("tls", "");
        let mut process = None;
        let mut ports = [0, 0];
        net::on_free_ports(|free| {
            ports = free;
            let mut command = Process::command("sh");
            command.args(["-c", r#"ulimit -n "$0" && exec "$@""#]).arg(FILES.to_string());
            command.arg(program()).arg("serve");
            command.arg("--listen").arg(format!("127.0.0.1:{}", free[0]));
            command.arg("--admin-listen").arg(format!("127.0.0.1:{}", free[1]));
            command.arg("--tls-dev").arg(&certificates);
            command.args(["--directory", "memory", "--resources"]).arg(manifest("examples"));
            command.args(["--log-format", "json"]).args(args);
            let started = process.insert(Process::start("crm-admission", command, &log));
            started.ready(PATIENCE, || match net::get(free[1], "/readyz") {
                Ok((200, _)) => Ok(()),
                Ok((code, body)) => Err(format!("{code} {body}")),
                Err(error) => Err(error.to_string()),
            })
        });
        let authority = fs::read_to_string(certificates.join("ca.crt")).expect("the development CA");
        let witness = Witness::new([log.clone()]);
        let process = process.expect("a started process");
        Self { _witness: witness, process, log, ports, authority, workspace }
    }

    /// Replaces the client CA of a program that [`Program::start_for`] started.
    pub(crate) fn change_clients(&self, clients: &Authority) {
        let new = self.workspace.write("clients", "new", &clients.pem);
        // In one step, like a mounted Secret. A half-written file would only be read again ten seconds later.
        fs::rename(new, self.workspace.file("clients", "ca.crt")).expect("another file in its place");
    }

    /// The port for reviews.
    pub(crate) fn webhook(&self) -> Place {
        self.webhook_as(None)
    }

    /// The port for reviews, for a caller with this certificate.
    pub(crate) fn webhook_as(&self, identity: Option<&Identity>) -> Place {
        let mut tls: ClientConfig = Arc::unwrap_or_clone(trust_as(&self.authority, identity));
        // Like the API server, which does not resume sessions.
        tls.resumption = rustls::client::Resumption::disabled();
        Place { port: self.ports[0], tls: Some(Arc::new(tls)) }
    }

    /// The port of the webhook, without TLS.
    pub(crate) fn webhook_socket(&self) -> Place {
        Place { port: self.ports[0], tls: None }
    }

    /// The port for probes.
    pub(crate) fn admin(&self) -> Place {
        Place { port: self.ports[1], tls: None }
    }

    /// The peak of its resident memory, in MiB.
    pub(crate) fn peak_mib(&self) -> u64 {
        let id = self.process.id().expect("the id of a program that runs");
        memory::peak(id).expect("the peak of a process that runs") / 1024
    }

    /// How many warnings and errors it has logged.
    pub(crate) fn warnings(&self) -> usize {
        let log = fs::read_to_string(self.log.path()).expect("the log");
        let is_warning = |line: &&str| {
            let line: Value = serde_json::from_str(line).unwrap_or_default();
            line["level"] == "WARN" || line["level"] == "ERROR"
        };
        log.lines().filter(is_warning).count()
    }
}

fn program() -> PathBuf {
    let built = env!("CARGO_BIN_EXE_crm-admission");
    std::env::var_os(PROGRAM).map_or_else(|| built.into(), PathBuf::from)
}
