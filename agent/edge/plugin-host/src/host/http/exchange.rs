//! One request with its redirects, each judged before it is sent.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use narthex_http_client::{Client, Error, HttpClientConfig, Redirect, Request, Response, redirect};
use tokio::time::Instant;
use url::Url;

use crate::bindings::http::{ErrorCode, Head, HttpError};
use crate::grant::Permits;
use crate::replay::{Answer, Exchange, Failure, Replay};
use crate::shared::Shared;

use super::clients::{Clients, combined, sets, without_secrets};

const REDIRECT_LIMIT: usize = 10;

/// Headers that are about the connection, which is the host's.
const CONNECTION_HEADERS: [&str; 8] = [
    "connection",
    "content-length",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
];

/// Headers that are meant for the host that was asked first.
const SECRET_HEADERS: [&str; 3] = ["authorization", "cookie", "x-amz-security-token"];

/// What is asked.
pub(super) struct Ask {
    pub(super) shared: Arc<Shared>,
    pub(super) clients: Arc<Clients>,
    pub(super) url: Url,
    pub(super) method: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
    /// The plugin's own.
    pub(super) options: HttpClientConfig,
    pub(super) timeout: Duration,
}

/// Sends the request and follows redirects. The body may still be on its way.
pub(super) async fn exchange(mut ask: Ask) -> Result<(Head, Reply), HttpError> {
    let deadline = Instant::now() + ask.timeout;
    let first = ask.url.clone();
    for _ in 0..=REDIRECT_LIMIT {
        let left = deadline.saturating_duration_since(Instant::now());
        let (response, may_follow) = send(&ask, left).await?;
        let redirect = match may_follow && ask.options.follow_redirects {
            true => response.redirect(&ask.url)?,
            false => None,
        };
        let Some(redirect) = redirect else {
            let head = Head {
                status: response.status(),
                headers: response.headers(),
                url: ask.url.into(),
            };
            return Ok((head, response));
        };
        ask.url = url_of(&redirect.url).map_err(|message| HttpError {
            code: ErrorCode::Other,
            message: format!("it redirects to {message}"),
        })?;
        if !redirect.keeps_method && ask.method != "HEAD" {
            ask.method = "GET".to_owned();
            ask.body = Bytes::new();
            ask.headers
                .retain(|(name, _)| !name.eq_ignore_ascii_case("content-type"));
        }
        if !is_same_place(&first, &ask.url) {
            ask.options = without_secrets(&ask.options);
            ask.headers
                .retain(|(name, _)| !is_one_of(name, &SECRET_HEADERS));
        }
    }
    Err(HttpError {
        code: ErrorCode::Other,
        message: format!("it redirects more than {REDIRECT_LIMIT} times"),
    })
}

/// Gives besides whether the grant lets redirects be followed.
async fn send(ask: &Ask, timeout: Duration) -> Result<(Reply, bool), HttpError> {
    let (config, may_follow) = {
        let permits = ask.shared.permits.load();
        let not_granted = |message| {
            ask.shared.metrics.note_refusal("http");
            HttpError {
                code: ErrorCode::NotGranted,
                message,
            }
        };
        let granted = permits.http(&ask.url, &ask.method).map_err(not_granted)?;
        let config = combined(&ask.options, granted);
        if granted.is_none_or(|granted| granted.proxy_url.is_none()) {
            check_proxy(&permits, &config).map_err(not_granted)?;
        }
        let may_follow = granted.is_none_or(|granted| granted.follow_redirects);
        (config, may_follow)
    };
    let replay = ask.shared.replay.as_ref();
    if let Some(replay) = replay.filter(|replay| !replay.records_http()) {
        let answer = replay.answer(&ask.method, ask.url.as_str())?;
        return Ok((Reply::Recorded(answer), may_follow));
    }
    let headers: Vec<(&str, &str)> = ask
        .headers
        .iter()
        .filter(|(name, _)| !sets(&config, name))
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let client = client(ask, config).await?;
    let request = Request {
        url: ask.url.as_str(),
        headers: &headers,
        timeout,
    };
    let body = Some(ask.body.clone()).filter(|body| !body.is_empty());
    let response = client.request(&ask.method, &request, body).await;
    let response = response.map_err(|error| {
        // A name that leads to where no grant of a name reaches.
        if matches!(error, Error::Refused { .. }) {
            ask.shared.metrics.note_refusal("http");
        }
        let error = http_error(&error);
        if let Some((replay, failure)) = replay.zip(Failure::by_code(error.code)) {
            replay.keep(exchanged(ask, Answer::Failed(failure)));
        }
        error
    })?;
    match replay {
        Some(replay) => Ok((record(ask, replay, response).await?, may_follow)),
        None => Ok((Reply::Live(response), may_follow)),
    }
}

/// Keeps what the world answered, and gives it.
async fn record(ask: &Ask, replay: &Replay, response: Response) -> Result<Reply, HttpError> {
    let limit_bytes = ask.shared.limits.load().http_bytes;
    let status = response.status();
    let headers = response
        .headers()
        .filter(|(name, _)| !is_one_of(name, &CONNECTION_HEADERS))
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    let body = response.body(limit_bytes).await;
    let answer = Answer::Given {
        status,
        headers,
        body: body.map_err(|error| http_error(&error))?.into(),
        stays_open: false,
    };
    replay.keep(exchanged(ask, answer.clone()));
    Ok(Reply::Recorded(answer))
}

fn exchanged(ask: &Ask, answer: Answer) -> Exchange {
    Exchange {
        method: ask.method.clone(),
        url: ask.url.to_string(),
        answer,
    }
}

/// An answer, from the world or from a recording of it.
pub(super) enum Reply {
    Live(Response),
    Recorded(Answer),
}

impl Reply {
    fn status(&self) -> u16 {
        match self {
            Reply::Live(response) => response.status(),
            Reply::Recorded(Answer::Given { status, .. }) => *status,
            Reply::Recorded(Answer::Failed(_)) => 0,
        }
    }

    fn headers(&self) -> Vec<(String, String)> {
        match self {
            Reply::Live(response) => response
                .headers()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            Reply::Recorded(Answer::Given { headers, .. }) => headers.clone(),
            Reply::Recorded(Answer::Failed(_)) => Vec::new(),
        }
    }

    fn redirect(&self, url: &Url) -> Result<Option<Redirect>, HttpError> {
        let headers = self.headers();
        let location = headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("location"));
        let location = location.map(|(_, value)| value.as_str());
        redirect(self.status(), location, url).map_err(|error| http_error(&error))
    }

    pub(super) fn stays_open(&self) -> bool {
        let open = |answer: &Answer| {
            matches!(
                answer,
                Answer::Given {
                    stays_open: true,
                    ..
                }
            )
        };
        matches!(self, Reply::Recorded(answer) if open(answer))
    }

    /// The whole of it, if that is no more than the limit.
    pub(super) async fn body(self, limit_bytes: usize) -> Result<Vec<u8>, HttpError> {
        let body = match self {
            Reply::Live(response) => response.body(limit_bytes).await,
            Reply::Recorded(Answer::Given { body, .. }) if body.len() <= limit_bytes => {
                Ok(body.into())
            }
            Reply::Recorded(Answer::Given { .. }) => Err(Error::BodyTooLarge { limit_bytes }),
            Reply::Recorded(Answer::Failed(_)) => Ok(Vec::new()),
        };
        body.map_err(|error| http_error(&error))
    }
}

async fn client(ask: &Ask, config: HttpClientConfig) -> Result<Client, HttpError> {
    if let Some(client) = ask.clients.known(&config) {
        return Ok(client);
    }
    let (clients, names) = (ask.clients.clone(), ask.shared.services.names.clone());
    let built = tokio::task::spawn_blocking(move || clients.of(&config, &names)).await;
    let built = built.map_err(|error| error.to_string()).flatten();
    built.map_err(|message| HttpError {
        code: ErrorCode::Other,
        message,
    })
}

/// A proxy that the plugin names is asked by the host like any other server. The one of the
/// machine's environment is the user's choice.
fn check_proxy(permits: &Permits, config: &HttpClientConfig) -> Result<(), String> {
    let Some(proxy) = &config.proxy_url else {
        return Ok(());
    };
    let url = Url::parse(proxy).map_err(|error| format!("proxy_url: {error}"))?;
    permits
        .http(&url, "CONNECT")
        .map(|_| ())
        .map_err(|message| format!("proxy_url: {message}"))
}

/// As for Prometheus's own clients: the same host, and not in the clear where it was encrypted.
fn is_same_place(first: &Url, now: &Url) -> bool {
    let same_host = first.host_str() == now.host_str()
        && first.port_or_known_default() == now.port_or_known_default();
    let upgraded = first.host_str() == now.host_str() && now.scheme() == "https";
    (same_host && first.scheme() == now.scheme()) || (upgraded && first.scheme() == "http")
}

pub(super) fn url_of(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("{text:?} is no URL: {error}"))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        scheme => Err(format!(
            "{text:?}: the scheme {scheme} is not http or https"
        )),
    }
}

pub(super) fn method_of(text: &str) -> Result<String, String> {
    let is_token = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphabetic());
    let method = text.to_ascii_uppercase();
    match is_token && method != "CONNECT" {
        true => Ok(method),
        false => Err(format!("{text:?} is no method that can be asked with")),
    }
}

/// Without those that are the host's to set.
pub(super) fn headers_of(
    headers: Vec<(String, String)>,
    url: &Url,
) -> Result<Vec<(String, String)>, String> {
    let mut kept = Vec::with_capacity(headers.len() + 1);
    for (name, value) in headers {
        if name.eq_ignore_ascii_case("host") {
            // Another one would ask what the URL, which is granted, does not mean.
            let own = url.host_str().unwrap_or_default();
            let with_port = url
                .port_or_known_default()
                .map(|port| format!("{own}:{port}"));
            if value != own && Some(&value) != with_port.as_ref() {
                return Err(format!(
                    "the header Host says {value:?}, and the URL {own:?}"
                ));
            }
        } else if !is_one_of(&name, &CONNECTION_HEADERS)
            && !name.to_ascii_lowercase().starts_with("proxy-")
        {
            kept.push((name, value));
        }
    }
    if !kept
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("user-agent"))
    {
        let own = concat!("Narthex/", env!("CARGO_PKG_VERSION"));
        kept.push(("User-Agent".to_owned(), own.to_owned()));
    }
    Ok(kept)
}

fn is_one_of(name: &str, list: &[&str]) -> bool {
    list.iter().any(|own| own.eq_ignore_ascii_case(name))
}

pub(super) fn http_error(error: &Error) -> HttpError {
    let code = match error {
        Error::Url { .. } | Error::Configuration(_) => ErrorCode::Invalid,
        Error::Name { .. } => ErrorCode::Name,
        Error::Refused { .. } => ErrorCode::NotGranted,
        Error::Connect { .. } | Error::Broken { .. } => ErrorCode::Connection,
        Error::Tls { .. } => ErrorCode::Tls,
        Error::Timeout { .. } => ErrorCode::Timeout,
        Error::BodyTooLarge { .. } => ErrorCode::TooLarge,
        Error::TooManyRedirects { .. } => ErrorCode::Other,
    };
    HttpError {
        code,
        message: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_stay_with_the_host_that_was_asked() {
        for (first, now, expected) in [
            ("http://a.test/x", "http://a.test/y", true),
            ("http://a.test/x", "https://a.test/y", true),
            ("https://a.test/x", "http://a.test/y", false),
            ("https://a.test/x", "https://a.test:8443/y", false),
            ("https://a.test/x", "https://b.test/x", false),
        ] {
            let parse = |text| Url::parse(text).unwrap();
            assert_eq!(
                is_same_place(&parse(first), &parse(now)),
                expected,
                "{first} {now}"
            );
        }
    }

    #[test]
    fn the_connections_headers_are_the_hosts() {
        let url = Url::parse("https://a.test/x").unwrap();
        let headers = |pairs: &[(&str, &str)]| {
            let pairs = pairs
                .iter()
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
            headers_of(pairs.collect(), &url)
        };
        let kept = headers(&[
            ("Host", "a.test"),
            ("host", "a.test:443"),
            ("Content-Length", "7"),
            ("Proxy-Authorization", "x"),
            ("X-Own", "1"),
            ("user-agent", "me"),
        ]);
        let expected = [("X-Own", "1"), ("user-agent", "me")];
        let expected = expected.map(|(n, v)| (n.to_owned(), v.to_owned()));
        assert_eq!(kept.unwrap(), expected);
        assert!(headers(&[("Host", "b.test")]).is_err());
        assert!(headers(&[]).unwrap()[0].1.starts_with("Narthex/"));
        for (method, expected) in [
            ("get", Ok("GET".to_owned())),
            ("CONNECT", Err(())),
            ("", Err(())),
            ("A B", Err(())),
        ] {
            assert_eq!(method_of(method).map_err(|_| ()), expected, "{method}");
        }
    }
}
