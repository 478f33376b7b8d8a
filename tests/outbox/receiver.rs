//! A receiver of webhooks: an HTTP server of the test's own that records requests and answers as it is told.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use serde_json::Value;

use crate::support::eventually;

/// What a request gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// This status and nothing else.
    Status(u16),
    /// This status with a header, as `Retry-After: 1`.
    With(u16, &'static str),
    /// This status with a body.
    Body(u16, &'static str),
    /// The status 200 and the start of a body that never ends.
    EndlessBody,
    /// The connection is closed without an answer.
    Close,
    /// Nothing until [`Receiver::release`], then 200.
    Hold,
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// A header's value, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self
            .headers
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }

    /// One text field of the body.
    pub fn text(&self, field: &str) -> String {
        self.json()[field].as_str().expect("a text").to_owned()
    }
}

#[derive(Default)]
struct State {
    requests: Vec<Request>,
    script: VecDeque<Answer>,
    released: bool,
    closed: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The server. It answers the requests in order from its script, and 200 when that is at its end.
pub struct Receiver {
    port: u16,
    shared: Arc<Shared>,
}

impl Receiver {
    /// A receiver with this script.
    pub fn answering(script: &[Answer]) -> Self {
        Self::at(0, script)
    }

    /// A port where nobody listens for now.
    pub fn free_port() -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        listener.local_addr().expect("bound").port()
    }

    /// As [`Receiver::answering`], at a port.
    pub fn at(port: u16, script: &[Answer]) -> Self {
        let listener = eventually("the port is free", || {
            TcpListener::bind(("127.0.0.1", port)).ok()
        });
        let shared = Arc::new(Shared::default());
        shared.lock().script = script.iter().cloned().collect();
        let port = listener.local_addr().expect("bound").port();
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if serving.lock().closed {
                    return;
                }
                let shared = Arc::clone(&serving);
                thread::spawn(move || serve(&shared, stream));
            }
        });
        Self { port, shared }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        url(self.port)
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.lock().requests.clone()
    }

    /// Waits for so many requests.
    #[track_caller]
    pub fn received(&self, count: usize) -> Vec<Request> {
        eventually(&format!("{count} requests"), || {
            let requests = self.requests();
            (requests.len() >= count).then_some(requests)
        })
    }

    /// Answers what is held.
    pub fn release(&self) {
        self.shared.lock().released = true;
        self.shared.changed.notify_all();
    }
}

/// The address of a receiver at a port.
pub fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}/hooks/a?token=in-the-url")
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.release();
        // The listener wakes up once more, and sees that it is over.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn serve(shared: &Shared, stream: TcpStream) {
    let Some(request) = read_request(&stream) else {
        return;
    };
    let answer = {
        let mut state = shared.lock();
        state.requests.push(request);
        state.script.pop_front().unwrap_or(Answer::Status(200))
    };
    let mut out = &stream;
    let head = |status: u16, more: &str| format!("HTTP/1.1 {status} Said\r\n{more}");
    let text = match answer {
        Answer::Status(204) => head(204, "\r\n"),
        Answer::Status(status) => head(status, "Content-Length: 0\r\n\r\n"),
        Answer::With(status, header) => {
            head(status, &format!("{header}\r\nContent-Length: 0\r\n\r\n"))
        }
        Answer::Body(status, body) => head(
            status,
            &format!("Content-Length: {}\r\n\r\n{body}", body.len()),
        ),
        Answer::EndlessBody => {
            let _ = out.write_all(head(200, "Content-Length: 100\r\n\r\nstart").as_bytes());
            wait_for_release(shared);
            return;
        }
        Answer::Close => {
            let _ = stream.shutdown(Shutdown::Both);
            return;
        }
        Answer::Hold => {
            wait_for_release(shared);
            head(200, "Content-Length: 0\r\n\r\n")
        }
    };
    let _ = out.write_all(text.as_bytes());
}

fn wait_for_release(shared: &Shared) {
    let mut state = shared.lock();
    while !state.released {
        state = shared
            .changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner);
    }
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut request = Request {
        method,
        path,
        headers,
        body: Vec::new(),
    };
    let length = request.header("Content-Length")?.parse().ok()?;
    reader.take(length).read_to_end(&mut request.body).ok()?;
    Some(request)
}
