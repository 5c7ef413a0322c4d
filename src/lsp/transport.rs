//! Reads messages from standard input and writes them to standard output.

use std::io::{self, BufRead, Read, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use lsp_server::{ErrorCode, Message};
use serde_json::json;

/// The maximum size of a message, in bytes: that of a file that `check` reads, with every character escaped.
const MAX_MESSAGE: usize = 128 * 1024 * 1024;
/// The maximum size of the header, in bytes.
const MAX_HEADER: u64 = 16 * 1024;

/// What arrives from the client.
#[derive(Debug)]
pub(super) enum Incoming {
    Message(Message),
    /// A message that is not JSON-RPC.
    Malformed(String),
    /// Nothing more arrives, because of this problem if there is one.
    Closed(Option<String>),
}

/// Sends messages. They are written on a thread of their own, so that a client that does not read blocks nothing.
pub(super) struct Output {
    sender: Sender<Vec<u8>>,
    writer: JoinHandle<()>,
}

/// Calls `deliver` for everything that arrives on standard input, on a thread of its own.
pub(super) fn listen(deliver: impl Fn(Incoming) -> bool + Send + 'static) {
    thread::spawn(move || {
        let mut input = io::stdin().lock();
        loop {
            let incoming = read(&mut input);
            let is_last = matches!(incoming, Incoming::Closed(_));
            if !deliver(incoming) || is_last {
                return;
            }
        }
    });
}

fn read(input: &mut impl BufRead) -> Incoming {
    match read_body(input) {
        Ok(Some(body)) => match serde_json::from_slice(&body) {
            Ok(message) => Incoming::Message(message),
            Err(error) => Incoming::Malformed(error.to_string()),
        },
        Ok(None) => Incoming::Closed(None),
        Err(error) => Incoming::Closed(Some(error.to_string())),
    }
}

/// The next message; `None` at the end of the input.
fn read_body(input: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut header = input.by_ref().take(MAX_HEADER);
    let mut length = None;
    let mut line = String::new();
    loop {
        line.clear();
        if header.read_line(&mut line)? == 0 {
            return if header.limit() == 0 { Err(bad("the header is too long")) } else { Ok(None) };
        }
        let field = line.trim_end();
        if field.is_empty() {
            break;
        }
        let (name, value) = field.split_once(':').ok_or_else(|| bad("a line of the header has no colon"))?;
        if name.eq_ignore_ascii_case("Content-Length") {
            length = Some(value.trim().parse::<usize>().map_err(|_| bad("Content-Length is not a number"))?);
        }
    }
    let length = length.ok_or_else(|| bad("the header has no Content-Length"))?;
    if length > MAX_MESSAGE {
        return Err(bad("the message is too large"));
    }
    let mut body = Vec::new();
    input.by_ref().take(length as u64).read_to_end(&mut body)?;
    Ok(Some(body).filter(|body| body.len() == length))
}

fn bad(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

impl Output {
    /// The output to standard output.
    pub(super) fn stdout() -> Self {
        let (sender, messages) = channel();
        let writer = thread::spawn(move || write_all(&messages));
        Self { sender, writer }
    }

    pub(super) fn send(&self, message: &Message) {
        let mut framed = Vec::new();
        // Writing to memory does not fail. If the client is gone, its input ends, too.
        if message.write(&mut framed).is_ok() {
            let _ = self.sender.send(framed);
        }
    }

    /// Answers a message that could not be read, so its id is unknown.
    pub(super) fn reject(&self, problem: &str) {
        let error = json!({"code": ErrorCode::ParseError as i32, "message": problem});
        let body = json!({"jsonrpc": "2.0", "id": null, "error": error}).to_string();
        let _ = self.sender.send(format!("Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes());
    }

    /// Waits until everything is written.
    pub(super) fn finish(self) {
        drop(self.sender);
        let _ = self.writer.join();
    }
}

fn write_all(messages: &Receiver<Vec<u8>>) {
    let mut output = io::stdout().lock();
    for message in messages {
        if output.write_all(&message).and_then(|()| output.flush()).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incoming(text: &str) -> Incoming {
        read(&mut text.as_bytes())
    }

    fn problem(text: &str) -> Option<String> {
        match incoming(text) {
            Incoming::Closed(problem) => problem,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn messages_are_read_one_after_the_other() {
        let body = r#"{"jsonrpc":"2.0","method":"exit"}"#;
        let text = format!("Content-Length: {}\r\nContent-Type: x\r\n\r\n{body}", body.len());
        let twice = text.repeat(2);
        let mut input = twice.as_bytes();
        for _ in 0..2 {
            assert!(matches!(read(&mut input), Incoming::Message(Message::Notification(_))));
        }
        assert!(matches!(read(&mut input), Incoming::Closed(None)));
    }

    #[test]
    fn what_is_no_message_is_malformed_and_the_next_one_is_read() {
        let mut input = "Content-Length: 2\r\n\r\n{]Content-Length: 4\r\n\r\nnull".as_bytes();
        assert!(matches!(read(&mut input), Incoming::Malformed(_)));
        assert!(matches!(read(&mut input), Incoming::Malformed(_)));
    }

    #[test]
    fn a_bad_header_ends_the_input_and_is_named() {
        assert_eq!(problem("oops\r\n\r\n").unwrap(), "a line of the header has no colon");
        assert_eq!(problem("A: 1\r\n\r\n").unwrap(), "the header has no Content-Length");
        assert_eq!(problem("Content-Length: x\r\n\r\n").unwrap(), "Content-Length is not a number");
        assert_eq!(problem("Content-Length: 999999999999\r\n\r\n").unwrap(), "the message is too large");
        assert_eq!(problem(&"a".repeat(20_000)).unwrap(), "a line of the header has no colon");
        assert_eq!(problem(&"a: b\r\n".repeat(5_000)).unwrap(), "the header is too long");
    }

    #[test]
    fn a_message_that_is_cut_off_ends_the_input() {
        assert_eq!(problem("Content-Length: 20\r\n\r\n{}"), None);
        assert_eq!(problem(""), None);
    }
}
