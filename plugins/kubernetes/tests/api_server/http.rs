//! As much of HTTP as the server needs: one request a connection.

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;

use serde_json::Value;

/// A request for objects.
pub(super) struct Asked {
    /// Path and query.
    pub(super) target: String,
    pub(super) resource: String,
    namespace: Option<String>,
    query: Vec<(String, String)>,
    pub(super) token: Option<String>,
}

impl Asked {
    pub(super) fn read(stream: &TcpStream) -> io::Result<Asked> {
        let mut lines = BufReader::new(stream).lines();
        let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
        let target = first.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut token = None;
        for line in lines {
            let line = line?;
            match line.split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                    token = value.strip_prefix("Bearer ").map(str::to_owned);
                }
                _ if line.is_empty() => break,
                _ => {}
            }
        }
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let mut segments = path.split('/').rev();
        let resource = segments.next().unwrap_or_default().to_owned();
        let name = segments.next().map(str::to_owned);
        Ok(Asked {
            resource,
            namespace: name.filter(|_| segments.next() == Some("namespaces")),
            query: query
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .map(|(name, value)| (name.to_owned(), decode(value)))
                .collect(),
            token,
            target,
        })
    }

    pub(super) fn query(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(of, _)| of == name)?;
        Some(&found.1)
    }

    pub(super) fn is_watch(&self) -> bool {
        self.query("watch") == Some("true")
    }

    /// Whether the object lies in the namespace and has the labels that are asked for.
    pub(super) fn chooses(&self, object: &Value) -> bool {
        let meta = &object["metadata"];
        let namespace = self.namespace.as_deref();
        let labels = self.query("labelSelector").unwrap_or_default();
        let mut labels = labels.split(',').filter_map(|label| label.split_once('='));
        namespace.is_none_or(|namespace| meta["namespace"] == namespace)
            && labels.all(|(name, value)| meta["labels"][name] == value)
    }
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (first, byte) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn head(code: u16, length: &str) -> String {
    format!(
        "HTTP/1.1 {code} Status\r\nContent-Type: application/json\r\nConnection: close\r\n\
         {length}\r\n\r\n"
    )
}

pub(super) fn answer(mut stream: &TcpStream, code: u16, body: &str) -> io::Result<()> {
    let head = head(code, &format!("Content-Length: {}", body.len()));
    stream.write_all((head + body).as_bytes())
}

/// Half of the body, and then the connection breaks.
pub(super) fn part_of_answer(mut stream: &TcpStream, code: u16, body: &str) -> io::Result<()> {
    let head = head(code, &format!("Content-Length: {}", body.len()));
    stream.write_all(head.as_bytes())?;
    stream.write_all(&body.as_bytes()[..body.len() / 2])
}

/// A body that comes piece by piece.
pub(super) struct Body<'a> {
    stream: &'a TcpStream,
}

impl<'a> Body<'a> {
    pub(super) fn start(mut stream: &'a TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.write_all(head(200, "Transfer-Encoding: chunked").as_bytes())?;
        Ok(Body { stream })
    }

    pub(super) fn write(&mut self, text: &str) -> io::Result<()> {
        self.stream
            .write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes())
    }

    pub(super) fn end(&mut self) -> io::Result<()> {
        self.stream.write_all(b"0\r\n\r\n")
    }
}
