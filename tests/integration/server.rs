//! Servers for the agent to talk to: targets that behave and misbehave, and a receiver of webhooks.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

/// How a target answers.
#[derive(Clone)]
pub(crate) enum Answer {
    Metrics(String),
    Status(u16),
    Garbage,
    /// Takes the request and says nothing.
    Never,
    /// Metrics without end.
    Endless,
    /// One byte at a time, for longer than anybody waits.
    Slow,
}

/// A target; what it answers can be changed at any time.
pub(crate) struct Target {
    port: u16,
    answer: Arc<Mutex<Answer>>,
}

impl Target {
    pub(crate) fn start(answer: Answer) -> Self {
        let answer = Arc::new(Mutex::new(answer));
        let shared = answer.clone();
        let port = serve(move |_, mut stream| {
            let answer = shared.lock().unwrap().clone();
            // The agent may hang up at any time; that is part of the tests.
            let _ = give(&answer, &mut stream);
        });
        Target { port, answer }
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn set(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }
}

fn give(answer: &Answer, stream: &mut TcpStream) -> std::io::Result<()> {
    const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n";
    match answer {
        Answer::Metrics(text) => write!(stream, "{HEAD}{text}"),
        Answer::Status(code) => {
            write!(
                stream,
                "HTTP/1.1 {code} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            )
        }
        Answer::Garbage => write!(stream, "{HEAD}a 1\n}}{{ this is no metric\n"),
        Answer::Never => {
            std::thread::sleep(Duration::from_secs(60));
            Ok(())
        }
        Answer::Endless => {
            write!(stream, "{HEAD}")?;
            for i in 0.. {
                writeln!(stream, "endless{{n=\"{i}\"}} 1")?;
            }
            Ok(())
        }
        Answer::Slow => {
            write!(stream, "{HEAD}")?;
            for _ in 0..600 {
                stream.write_all(b"#")?;
                stream.flush()?;
                std::thread::sleep(Duration::from_millis(100));
            }
            Ok(())
        }
    }
}

/// Takes webhooks and keeps them.
pub(crate) struct Receiver {
    port: u16,
    received: Arc<Mutex<Vec<Value>>>,
}

impl Receiver {
    pub(crate) fn start() -> Self {
        let received = Arc::new(Mutex::new(Vec::new()));
        let shared = received.clone();
        let port = serve(move |body, mut stream| {
            if let Ok(value) = serde_json::from_slice(&body) {
                shared.lock().unwrap().push(value);
            }
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            );
        });
        Receiver { port, received }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    pub(crate) fn received(&self) -> Vec<Value> {
        self.received.lock().unwrap().clone()
    }

    /// The first notification with this status that carries an alert of this name.
    pub(crate) fn find(&self, status: &str, alertname: &str) -> Option<Value> {
        self.received().into_iter().find(|payload| {
            payload["status"] == status
                && payload["alerts"]
                    .as_array()
                    .is_some_and(|a| a.iter().any(|a| a["labels"]["alertname"] == alertname))
        })
    }
}

/// Serves on a free port, a thread per connection, one request each; gives the port.
fn serve(handle: impl Fn(Vec<u8>, TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let handle = Arc::new(handle);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let handle = handle.clone();
            std::thread::spawn(move || {
                if let Some(body) = read_request(&stream) {
                    handle(body, stream);
                }
            });
        }
    });
    port
}

/// The body of one request; None if the client hung up before its end.
fn read_request(stream: &TcpStream) -> Option<Vec<u8>> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(body)
}
