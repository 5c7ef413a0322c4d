//! Runs the program that reads files as kubectl does.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

/// What kubectl makes of one file.
pub(crate) struct Read {
    /// The documents up to the first error.
    pub(crate) documents: Vec<Value>,
    pub(crate) error: Option<String>,
    /// Whether a map has a key twice.
    pub(crate) has_duplicates: bool,
    /// Whether kubectl does not read all of the text.
    pub(crate) leaves_out: bool,
    /// The number of levels.
    pub(crate) depth: u64,
}

pub(crate) struct Kubectl {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Kubectl {
    pub(crate) fn start() -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/kubectl-yaml/kubectl-yaml");
        let mut child = Command::new(&program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; `make yaml` builds it", program.display()));
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdin, stdout }
    }

    pub(crate) fn read_all(&mut self, texts: &[String]) -> Vec<Read> {
        let Self { stdin, stdout, .. } = self;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for text in texts {
                    send(stdin, text);
                }
            });
            texts.iter().map(|_| receive(stdout)).collect()
        })
    }

    pub(crate) fn read(&mut self, text: &str) -> Read {
        send(&mut self.stdin, text);
        receive(&mut self.stdout)
    }
}

impl Drop for Kubectl {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn send(stdin: &mut ChildStdin, text: &str) {
    let message = format!("{}\n{text}", text.len());
    stdin.write_all(message.as_bytes()).unwrap();
}

fn receive(stdout: &mut BufReader<ChildStdout>) -> Read {
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    let mut answer: Value = without_depth_limit(&line);
    Read {
        documents: answer["documents"].as_array_mut().map(std::mem::take).unwrap_or_default(),
        error: answer["error"].as_str().map(str::to_owned),
        has_duplicates: answer["duplicates"] == true,
        leaves_out: answer["leftOut"] == true,
        depth: answer["depth"].as_u64().unwrap(),
    }
}

/// A document that is too deep for the library counts as one without values.
fn without_depth_limit(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| {
        assert!(error.to_string().contains("recursion limit"), "{error}: {line}");
        serde_json::json!({ "depth": u64::MAX })
    })
}
