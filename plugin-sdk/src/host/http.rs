//! Requests to HTTP servers that are declared and granted.
//!
//! A request is built by [`get`], [`request`] or a [`Client`]'s methods of the same names.
//! [`Request::fetch`] asks and waits for the whole answer; [`Request::send`] is for async code, and
//! gives the body as it comes.

use std::future::poll_fn;
use std::task::{Context, Poll};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::backend::http;
use crate::bindings::host::narthex::plugin::http as raw;
use crate::executor::Subscription;
use crate::{ConfigError, Error, HttpError, HttpErrorCode};

/// A request by the client without options.
pub fn get(url: impl Into<String>) -> Request {
    Client::new().get(url)
}

/// A request by the client without options.
pub fn request(method: impl Into<String>, url: impl Into<String>) -> Request {
    Client::new().request(method, url)
}

/// How requests are made: credentials, TLS, proxies, redirects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Client(raw::Client);

impl Client {
    /// The one without options.
    pub fn new() -> Self {
        Client::default()
    }

    /// By the fields of Prometheus's `http_config`, as [`crate::config::WithHttp`] takes them out of
    /// a plugin's configuration, or `serde_json::json!` writes them. Files that they name must be
    /// granted; relative paths are relative to `base_directory`. The host keeps it for as long as
    /// the instance lives: make one, not one a request.
    pub fn with_options(
        options: &impl Serialize,
        base_directory: &str,
    ) -> Result<Self, ConfigError> {
        let json = serde_json::to_string(options).map_err(|error| ConfigError::new("", error))?;
        if json == "{}" {
            return Ok(Client::new());
        }
        let id = http::make_client(&json, base_directory)?;
        Ok(Client(id))
    }

    pub fn get(&self, url: impl Into<String>) -> Request {
        self.request("GET", url)
    }

    pub fn request(&self, method: impl Into<String>, url: impl Into<String>) -> Request {
        Request(raw::Request {
            client: self.0,
            method: method.into(),
            url: url.into(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout_ms: None,
        })
    }
}

/// A request that is being built.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a request is made by `fetch` or `send`"]
pub struct Request(raw::Request);

impl Request {
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.headers.push((name.into(), value.into()));
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.0.body = body.into();
        self
    }

    /// A body in JSON, and the header that says so.
    pub fn json(self, body: &impl Serialize) -> Result<Self, Error> {
        let body = serde_json::to_vec(body)?;
        Ok(self.header("content-type", "application/json").body(body))
    }

    /// Until the body has come whole; for [`Request::send`], until its head has.
    pub fn timeout_ms(mut self, timeout_ms: u64) -> Self {
        self.0.timeout_ms = Some(timeout_ms);
        self
    }

    /// Asks and waits for the whole answer. In async code this stops all else: use
    /// [`Request::send`] there.
    pub fn fetch(self) -> Result<Response, HttpError> {
        let response = http::fetch(&self.0)?;
        Ok(Response {
            head: response.head.into(),
            body: response.body,
        })
    }

    /// Asks, and waits for the head of the answer. Dropped, it gives the request up.
    pub async fn send(self) -> Result<Incoming, HttpError> {
        let stream = Subscription::new(http::start(&self.0)?);
        match poll_fn(|context| poll_progress(&stream, context)).await? {
            raw::Progress::Head(head) => Ok(Incoming {
                head: head.into(),
                stream: Some(stream),
            }),
            _ => Err(HttpError {
                code: HttpErrorCode::Other,
                message: "the answer began without a head".to_owned(),
            }),
        }
    }
}

/// The beginning of an answer. Answers of any status are answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    /// Where redirects have led.
    pub url: String,
}

impl Head {
    /// The first header of this name, however it is written.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(&found.1)
    }

    /// An error unless the status is 200 to 299.
    pub fn check_status(&self) -> Result<(), Error> {
        match self.status {
            200..300 => Ok(()),
            status => Err(Error::new(format!(
                "{} answered with status {status}",
                self.url
            ))),
        }
    }
}

impl From<raw::Head> for Head {
    fn from(head: raw::Head) -> Self {
        Head {
            status: head.status,
            headers: head.headers,
            url: head.url,
        }
    }
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub head: Head,
    pub body: Vec<u8>,
}

impl Response {
    pub fn status(&self) -> u16 {
        self.head.status
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    /// The answer itself where its status is 200 to 299, else an error.
    pub fn ok(self) -> Result<Self, Error> {
        self.head.check_status()?;
        Ok(self)
    }

    /// The body, with what is no UTF-8 replaced by U+FFFD.
    pub fn text(self) -> String {
        super::files::text(self.body)
    }

    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Error::new(error).context(format!("the answer of {}", self.head.url)))
    }
}

/// An answer whose body comes piece by piece. Dropped, it gives up what has not come yet.
#[derive(Debug)]
pub struct Incoming {
    pub head: Head,
    /// Until the body has ended.
    stream: Option<Subscription>,
}

impl Incoming {
    pub fn status(&self) -> u16 {
        self.head.status
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    /// The next piece of the body, not empty; none after the last.
    pub async fn chunk(&mut self) -> Result<Option<Vec<u8>>, HttpError> {
        let Some(stream) = &self.stream else {
            return Ok(None);
        };
        let progress = poll_fn(|context| poll_progress(stream, context)).await;
        if let Ok(raw::Progress::Body(bytes)) = progress {
            return Ok(Some(bytes));
        }
        self.stream = None;
        progress.map(|_| None)
    }

    /// What is left of the body, whole.
    pub async fn whole(mut self) -> Result<Response, HttpError> {
        let mut body = Vec::new();
        while let Some(bytes) = self.chunk().await? {
            body.extend(bytes);
        }
        Ok(Response {
            head: self.head,
            body,
        })
    }
}

fn poll_progress(
    stream: &Subscription,
    context: &Context<'_>,
) -> Poll<Result<raw::Progress, HttpError>> {
    loop {
        match http::take(stream.id()) {
            Ok(raw::Progress::Pending) => {}
            given => return Poll::Ready(given.map_err(HttpError::from)),
        }
        // It may have fired before `take` was asked: then there may be something by now.
        if stream.poll_fired(context).is_pending() {
            return Poll::Pending;
        }
    }
}
