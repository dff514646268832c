//! Requests to HTTP servers.
//!
//! Keeps true: each URL that is asked, redirects' too, is declared and granted when it is asked;
//! what a grant adds goes only to the URLs that it means, and to nobody who could read it on the
//! way by a plugin's options; a request ends by its deadline and with its instance.

mod clients;
mod exchange;
mod stream;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use narthex_http_client::{HttpClientConfig, SecretSource};

use crate::bindings::files::ErrorCode as FileErrorCode;
use crate::bindings::http::{ErrorCode, Host, HttpError, Progress, Request, Response};
use crate::bindings::plugin::ConfigError;

use super::State;
use clients::Clients;
use exchange::{Ask, exchange, method_of, url_of};
pub(crate) use stream::Stream;

/// What a stream holds that was not taken yet, if the limit allows it.
const STREAM_BYTES: usize = 256 << 10;

/// One instance's clients.
#[derive(Default)]
pub(crate) struct Http {
    /// By what `make-client` has given.
    options: BTreeMap<u64, HttpClientConfig>,
    built: Arc<Clients>,
}

impl Host for State {
    fn make_client(&mut self, options: String, base_directory: String) -> Result<u64, ConfigError> {
        let wrong = |message: String| ConfigError {
            field: String::new(),
            message,
        };
        let limit = self.shared.limits.load().subscriptions;
        if self.http.options.len() >= limit {
            self.shared.metrics.note_limit("subscriptions");
            return Err(wrong(format!(
                "more than {limit} clients (plugins.limits.subscriptions)"
            )));
        }
        let read = &self.shared.services.outside.http_config;
        let options = read(&options, Path::new(&base_directory)).map_err(|fault| ConfigError {
            field: fault.field,
            message: fault.message,
        })?;
        match self.with_files_read(&options) {
            Ok(read) => clients::check(read).map_err(wrong)?,
            // It may come to be there before it is needed.
            Err((FileErrorCode::NotFound, _)) => {}
            Err((_, message)) => return Err(wrong(message)),
        }
        let id = self.http.options.len() as u64 + 1;
        self.http.options.insert(id, options);
        Ok(id)
    }

    fn fetch(&mut self, request: Request) -> wasmtime::Result<Result<Response, HttpError>> {
        let limit_bytes = self.shared.limits.load().http_bytes;
        let ask = match self.ask(request, true) {
            Ok(ask) => ask,
            Err(error) => return Ok(Err(error)),
        };
        let fetched = self.wait_for(async {
            let (head, response) = exchange(ask).await?;
            let body = response.body(limit_bytes).await?;
            Ok(Response { head, body })
        })?;
        Ok(fetched.map_err(|mut error: HttpError| {
            if error.code == ErrorCode::TooLarge {
                self.shared.metrics.note_limit("http_bytes");
                error.message += " (plugins.limits.http_bytes)";
            }
            error
        }))
    }

    fn start(&mut self, request: Request) -> Result<u64, HttpError> {
        if let Err(message) = self.events_with_room() {
            let code = ErrorCode::Limit;
            return Err(HttpError { code, message });
        }
        let ask = self.ask(request, false)?;
        if self.shared.replay.is_some() {
            return Ok(self.start_in_replay(ask));
        }
        let limit_bytes = self.shared.limits.load().http_bytes.min(STREAM_BYTES);
        let runtime = &self.shared.services.runtime;
        let stream = Stream::start(ask, self.events.waker(), limit_bytes, runtime);
        Ok(self.events.add_stream(stream))
    }

    fn take(&mut self, stream: u64) -> Result<Progress, HttpError> {
        let Some(open) = self.events.stream(stream) else {
            return Err(HttpError {
                code: ErrorCode::Invalid,
                message: format!("there is no stream {stream}"),
            });
        };
        let taken = open.take();
        if matches!(taken, Ok(Progress::End) | Err(_)) {
            self.events.close(stream);
        }
        taken
    }
}

impl State {
    /// In a recorded world the whole answer is there at once. As a stream it may be of any length.
    fn start_in_replay(&mut self, ask: Ask) -> u64 {
        let answered = self.wait_for(async {
            let (head, reply) = exchange(ask).await?;
            let stays_open = reply.stays_open();
            Ok((head, reply.body(usize::MAX).await?, stays_open))
        });
        let stopped = |stop: super::Stop| HttpError {
            code: ErrorCode::Timeout,
            message: stop.to_string(),
        };
        let stream = Stream::complete(answered.map_err(stopped).flatten(), self.events.waker());
        self.events.add_stream(stream)
    }

    /// What the plugin asks, as far as it can be judged now. `waits`: the call ends with the
    /// answer.
    fn ask(&mut self, request: Request, waits: bool) -> Result<Ask, HttpError> {
        let invalid = |message| HttpError {
            code: ErrorCode::Invalid,
            message,
        };
        let url = url_of(&request.url).map_err(invalid)?;
        let method = method_of(&request.method).map_err(invalid)?;
        let headers = exchange::headers_of(request.headers, &url).map_err(invalid)?;
        let none = HttpClientConfig::default();
        let options = match request.client {
            0 => &none,
            id => self
                .http
                .options
                .get(&id)
                .ok_or_else(|| invalid(format!("there is no client {id}")))?,
        };
        let options = self
            .with_files_read(options)
            .map_err(|(code, message)| HttpError {
                code: match code {
                    FileErrorCode::NotGranted => ErrorCode::NotGranted,
                    _ => ErrorCode::Other,
                },
                message,
            })?;
        // Before it is counted, so that a refusal is no use of anything.
        let permits = self.shared.permits.load();
        let granted = permits.http(&url, &method);
        granted.map_err(|message| {
            self.shared.metrics.note_refusal("http");
            HttpError {
                code: ErrorCode::NotGranted,
                message,
            }
        })?;
        self.count_request().map_err(|message| HttpError {
            code: ErrorCode::Limit,
            message,
        })?;
        self.shared.metrics.http_requests.inc();
        Ok(Ask {
            shared: self.shared.clone(),
            clients: self.http.built.clone(),
            url,
            method,
            headers,
            body: request.body.into(),
            options,
            timeout: self.timeout(request.timeout_ms, waits),
        })
    }

    /// By when an answer must have come. One that the call waits for comes somewhat before the
    /// call's own deadline, so that the plugin can still say what was missing.
    fn timeout(&self, timeout_ms: Option<u64>, waits: bool) -> Duration {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let left = match waits {
            true => left.saturating_sub((left / 10).min(Duration::from_millis(500))),
            false => Duration::from_millis(self.shared.limits.load().call_timeout_ms),
        };
        match timeout_ms.map(Duration::from_millis) {
            Some(asked) if waits => asked.min(left),
            Some(asked) => asked,
            None => left,
        }
    }

    /// The options with the files' contents in place of their paths, as they are now and as far as
    /// the plugin may read them.
    fn with_files_read(
        &self,
        options: &HttpClientConfig,
    ) -> Result<HttpClientConfig, (FileErrorCode, String)> {
        let mut options = options.clone();
        for source in clients::sources(&mut options) {
            let SecretSource::File(path) = source else {
                continue;
            };
            let path = path.display().to_string();
            let named = |error: &str| format!("{path}: {error}");
            let content = self.read_file(&path);
            let content = content.map_err(|error| (error.code, named(&error.message)))?;
            let text = String::from_utf8(content);
            let text = text.map_err(|_| (FileErrorCode::Other, named("is not UTF-8")))?;
            *source = clients::inline(text.trim());
        }
        Ok(options)
    }
}
