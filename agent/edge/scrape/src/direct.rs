//! Asking a target in the clear over HTTP/1.1, with a connection of its own that is kept.
//!
//! This is how most targets are asked, and often. The client for everything
//! (`narthex-http-client`) holds, for each connection that waits for its next use, a task and read
//! buffers of about the size of a page; here only the socket stays. What needs TLS, a proxy or
//! credentials, and what is redirected, is left to that client.
//!
//! Keeps true: all ends by the deadline; a connection is used again only if the last answer was
//! read whole, and one that its server has closed meanwhile is replaced without an error.

use std::error::Error as StdError;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{HeaderMap, Request, Response, Uri, header};
use hyper_util::rt::TokioIo;
use narthex_http_client::{Error, HttpClientConfig};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use crate::body::Body;
use crate::error::ScrapeError;

/// A connection that was not used for so long is not used again: what lies between may have
/// forgotten it.
const IDLE_LIMIT: Duration = Duration::from_secs(300);

/// What is read at once is about as long as the last body, within these.
const READ_BYTES: (usize, usize) = (16 << 10, 256 << 10);

/// A connection between two scrapes.
pub(crate) struct Kept {
    authority: String,
    stream: TcpStream,
    since: Instant,
}

/// What to ask for.
pub(crate) struct Ask<'a> {
    pub uri: &'a Uri,
    pub headers: HeaderMap,
    pub timeout: Duration,
    pub deadline: Instant,
    pub size_hint_bytes: usize,
    pub follow_redirects: bool,
}

/// Whether targets can be asked directly at all.
pub(crate) fn serves(config: &HttpClientConfig) -> bool {
    config.proxy_url.is_none()
        && !config.proxy_from_environment
        && config.basic_auth.is_none()
        && config.authorization.is_none()
        && config.headers.is_empty()
}

/// The URL of a target that can be asked directly.
pub(crate) fn target(url: &str) -> Option<Uri> {
    let uri: Uri = url.parse().ok()?;
    let authority = uri.authority()?;
    let plain = uri.scheme_str() == Some("http") && !authority.as_str().contains('@');
    (plain && !authority.host().is_empty()).then_some(uri)
}

/// Gets a page. `begin` judges the answer's head and makes what takes up its body. The connection
/// is kept if it can be. None: the answer says to ask elsewhere.
pub(crate) async fn get<T>(
    ask: &Ask<'_>,
    kept: &mut Option<Kept>,
    begin: impl FnOnce(&Response<()>) -> Result<(T, Body), ScrapeError>,
) -> Result<Option<(T, Vec<u8>)>, ScrapeError> {
    let authority = authority(ask.uri);
    let late = |what| Error::Timeout {
        host: authority.clone(),
        what,
        limit: ask.timeout,
    };
    let head = timeout_at(ask.deadline, head(ask, &authority, kept.take()));
    let (response, mut open) = head.await.map_err(|_| late("answer"))??;
    let (head, mut incoming) = {
        let (parts, incoming) = response.into_parts();
        (Response::from_parts(parts, ()), incoming)
    };
    if ask.follow_redirects && redirects(&head) {
        return Ok(None);
    }
    let (begun, mut body) = begin(&head)?;
    let rest = timeout_at(
        ask.deadline,
        open.read(&mut incoming, &mut body, &authority),
    );
    rest.await.map_err(|_| late("send the whole body"))??;
    drop(incoming);
    *kept = open.keep(authority).await;
    Ok(Some((begun, body.finish()?)))
}

/// A connection with an exchange on it. Dropping it closes it.
struct Open {
    sender: SendRequest<Empty<Bytes>>,
    /// None: it has ended.
    connection: Option<http1::Connection<TokioIo<TcpStream>, Empty<Bytes>>>,
}

/// Sends the request and waits for the answer's head.
async fn head(
    ask: &Ask<'_>,
    authority: &str,
    kept: Option<Kept>,
) -> Result<(Response<Incoming>, Open), Error> {
    let usable = |kept: &Kept| kept.authority == authority && kept.since.elapsed() < IDLE_LIMIT;
    if let Some(kept) = kept.filter(usable)
        && let Ok(answered) = send(ask, authority, kept.stream).await
    {
        return Ok(answered);
    }
    let stream = connect(authority, ask.deadline).await;
    let stream = stream.map_err(|error| Error::Connect {
        host: authority.to_owned(),
        reason: reason(&error),
    })?;
    let sent = send(ask, authority, stream).await;
    sent.map_err(|error| broken(authority, &error))
}

async fn send(
    ask: &Ask<'_>,
    authority: &str,
    stream: TcpStream,
) -> hyper::Result<(Response<Incoming>, Open)> {
    let (least, most) = READ_BYTES;
    let (sender, connection) = http1::Builder::new()
        .read_buf_exact_size(Some(ask.size_hint_bytes.clamp(least, most)))
        .handshake(TokioIo::new(stream))
        .await?;
    let mut open = Open {
        sender,
        connection: Some(connection),
    };
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = path_and_query(ask.uri);
    *request.headers_mut() = ask.headers.clone();
    if let Ok(host) = header::HeaderValue::from_str(host_header(ask.uri, authority)) {
        request.headers_mut().insert(header::HOST, host);
    }
    let Open { sender, connection } = &mut open;
    let response = drive(connection, sender.send_request(request)).await?;
    Ok((response, open))
}

impl Open {
    async fn read(
        &mut self,
        incoming: &mut Incoming,
        body: &mut Body,
        authority: &str,
    ) -> Result<(), ScrapeError> {
        while let Some(frame) = drive(&mut self.connection, incoming.frame()).await {
            let frame = frame.map_err(|error| broken(authority, &error))?;
            if let Some(piece) = frame.data_ref() {
                body.add(piece)?;
            }
        }
        Ok(())
    }

    /// The bare connection, if the server leaves it open and nothing is left on it.
    async fn keep(mut self, authority: String) -> Option<Kept> {
        let Open { sender, connection } = &mut self;
        // It is ready at once or never.
        let ready = timeout(Duration::ZERO, drive(connection, sender.ready()));
        ready.await.ok()?.ok()?;
        let parts = self.connection?.into_parts();
        parts.read_buf.is_empty().then(|| Kept {
            authority,
            stream: parts.io.into_inner(),
            since: Instant::now(),
        })
    }
}

/// Waits for `work`, which the connection has to be run for.
async fn drive<T>(
    connection: &mut Option<http1::Connection<TokioIo<TcpStream>, Empty<Bytes>>>,
    work: impl Future<Output = T>,
) -> T {
    let mut work = pin!(work);
    poll_fn(|context| {
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(done);
        }
        let ended = match connection {
            Some(connection) => connection.poll_without_shutdown(context).is_ready(),
            None => false,
        };
        if ended {
            // What it still had for `work` stays there, and what it had not is an error now.
            *connection = None;
        }
        work.as_mut().poll(context)
    })
    .await
}

/// Tries the addresses of a host one after the other; each gets its share of the time.
async fn connect(authority: &str, deadline: Instant) -> io::Result<TcpStream> {
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host(authority).await?.collect();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (tried, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let untried = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        match timeout(left / untried.max(1), TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}

fn redirects(head: &Response<()>) -> bool {
    let code = head.status().as_u16();
    matches!(code, 301 | 302 | 303 | 307 | 308) && head.headers().contains_key(header::LOCATION)
}

/// Host and port.
fn authority(uri: &Uri) -> String {
    let host = uri.host().unwrap_or_default();
    format!("{host}:{}", uri.port_u16().unwrap_or(80))
}

/// The host as the URL has it, so without the port where that is the usual one.
fn host_header<'a>(uri: &'a Uri, authority: &'a str) -> &'a str {
    match uri.port_u16() {
        None | Some(80) => uri.host().unwrap_or(authority),
        Some(_) => authority,
    }
}

fn path_and_query(uri: &Uri) -> Uri {
    let path = uri.path_and_query().cloned();
    path.map(Uri::from).unwrap_or_default()
}

fn broken(authority: &str, error: &hyper::Error) -> Error {
    Error::Broken {
        host: authority.to_owned(),
        reason: reason(error),
    }
}

/// The innermost cause, in plain words where it is a common one.
fn reason(error: &(dyn StdError + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let kind = innermost.downcast_ref::<io::Error>().map(io::Error::kind);
    match kind {
        Some(io::ErrorKind::ConnectionRefused) => "connection refused".to_owned(),
        Some(io::ErrorKind::ConnectionReset) => "the connection was reset".to_owned(),
        Some(io::ErrorKind::TimedOut) => "the connection timed out".to_owned(),
        _ => innermost.to_string(),
    }
}

#[cfg(test)]
mod tests;
