//! Asking a target for its page: what is offered to it, and what its answer's head means.

use std::time::Duration;

use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT,
};
use hyper::{HeaderMap, StatusCode};
use narthex_exposition::Format;
use narthex_http_client::{Client, Request};
use tokio::time::Instant;

use crate::body::Body;
use crate::config::{JobConfig, ScrapeProtocol};
use crate::direct::{self, Ask, Kept};
use crate::error::ScrapeError;
use crate::ingest::Answer;

/// Where the configuration sets no limit, so that no target can take all memory.
const DEFAULT_BODY_LIMIT_BYTES: u64 = 256 << 20;

const TIMEOUT_HEADER: HeaderName = HeaderName::from_static("x-prometheus-scrape-timeout-seconds");

/// What stays the same for all requests of a job.
#[derive(Clone)]
pub(crate) struct Fetcher {
    pub client: Client,
    /// But for the timeout.
    headers: HeaderMap,
    body_limit_bytes: u64,
    fallback: Option<ScrapeProtocol>,
}

impl Fetcher {
    pub(crate) fn new(client: Client, job: &JobConfig, user_agent: &str) -> Self {
        let encoding = match job.enable_compression {
            true => "gzip",
            false => "identity",
        };
        let mut headers = HeaderMap::new();
        for (name, value) in [
            (ACCEPT, accept(&job.scrape_protocols).as_str()),
            (ACCEPT_ENCODING, encoding),
            (USER_AGENT, user_agent),
        ] {
            // All of them are plain text; what isn't could not be sent.
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        }
        Fetcher {
            client,
            headers,
            body_limit_bytes: match job.limits.body_size_bytes {
                0 => DEFAULT_BODY_LIMIT_BYTES,
                limit => limit,
            },
            fallback: job.fallback_scrape_protocol,
        }
    }

    /// Gets the page. The timeout covers all of it.
    pub(crate) async fn fetch(
        &self,
        url: &str,
        timeout: Duration,
        size_hint_bytes: usize,
        kept: &mut Option<Kept>,
    ) -> Result<Answer, ScrapeError> {
        let deadline = Instant::now() + timeout;
        if let Some(uri) = direct::target(url).filter(|_| direct::serves(self.client.config())) {
            let ask = Ask {
                uri: &uri,
                headers: self.headers(timeout),
                timeout,
                deadline,
                size_hint_bytes,
                follow_redirects: self.client.config().follow_redirects,
            };
            if let Some(answer) = self.fetch_directly(&ask, kept).await? {
                return Ok(answer);
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        self.fetch_by_client(url, left, size_hint_bytes).await
    }

    /// None: the target redirects, which is left to the client.
    async fn fetch_directly(
        &self,
        ask: &Ask<'_>,
        kept: &mut Option<Kept>,
    ) -> Result<Option<Answer>, ScrapeError> {
        let text = |head: &hyper::Response<()>, name| {
            let value = head.headers().get(name);
            let text = value.and_then(|value| value.to_str().ok());
            text.unwrap_or_default().to_owned()
        };
        let begin = |head: &hyper::Response<()>| {
            let status = head.status();
            if status != StatusCode::OK {
                let reason = status.canonical_reason().unwrap_or_default();
                let text = format!("{} {reason}", status.as_u16());
                return Err(ScrapeError::Status(text.trim_end().to_owned()));
            }
            self.begin(
                &text(head, CONTENT_TYPE),
                &text(head, CONTENT_ENCODING),
                ask.size_hint_bytes,
            )
        };
        let page = direct::get(ask, kept, begin).await?;
        Ok(page.map(|(format, body)| Answer::Page { format, body }))
    }

    async fn fetch_by_client(
        &self,
        url: &str,
        timeout: Duration,
        size_hint_bytes: usize,
    ) -> Result<Answer, ScrapeError> {
        let headers = self.headers(timeout);
        let headers: Vec<(&str, &str)> = headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
            .collect();
        let request = Request {
            url,
            headers: &headers,
            timeout,
        };
        let mut response = self.client.get(&request).await?;
        if response.status() != 200 {
            return Err(ScrapeError::Status(response.status_text()));
        }
        let (format, mut body) = self.begin(
            response.header("content-type").unwrap_or(""),
            response.header("content-encoding").unwrap_or(""),
            size_hint_bytes,
        )?;
        while let Some(piece) = response.chunk().await? {
            body.add(&piece)?;
        }
        let body = body.finish()?;
        Ok(Answer::Page { format, body })
    }

    fn begin(
        &self,
        content_type: &str,
        encoding: &str,
        size_hint_bytes: usize,
    ) -> Result<(Format, Body), ScrapeError> {
        let format = format_of(content_type, self.fallback)?;
        let body = Body::new(encoding, size_hint_bytes, self.body_limit_bytes);
        Ok((format, body))
    }

    fn headers(&self, timeout: Duration) -> HeaderMap {
        let mut headers = self.headers.clone();
        let seconds = timeout.as_secs_f64().to_string();
        if let Ok(seconds) = HeaderValue::from_str(&seconds) {
            headers.insert(TIMEOUT_HEADER, seconds);
        }
        headers
    }
}

/// The Accept header: most wanted first. The protobuf format is not read here, so it is not
/// offered.
fn accept(protocols: &[ScrapeProtocol]) -> String {
    // The weights start one above the number of protocols that there are.
    let mut weight = 6;
    let mut header = String::new();
    for media_type in protocols.iter().filter_map(|p| media_type(*p)) {
        header.push_str(&format!("{media_type};q=0.{weight},"));
        weight -= 1;
    }
    header.push_str(&format!("*/*;q=0.{weight}"));
    header
}

fn media_type(protocol: ScrapeProtocol) -> Option<&'static str> {
    match protocol {
        ScrapeProtocol::PrometheusProto => None,
        ScrapeProtocol::PrometheusText0_0_4 => Some("text/plain;version=0.0.4"),
        ScrapeProtocol::PrometheusText1_0_0 => {
            Some("text/plain;version=1.0.0;escaping=allow-utf-8")
        }
        ScrapeProtocol::OpenMetricsText0_0_1 => Some("application/openmetrics-text;version=0.0.1"),
        ScrapeProtocol::OpenMetricsText1_0_0 => {
            Some("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8")
        }
    }
}

/// The media type alone decides, whatever version it names.
fn format_of(content_type: &str, fallback: Option<ScrapeProtocol>) -> Result<Format, ScrapeError> {
    let media_type = content_type.split(';').next().unwrap_or("").trim();
    let fallback_format = fallback.and_then(|protocol| match protocol {
        ScrapeProtocol::PrometheusProto => None,
        ScrapeProtocol::PrometheusText0_0_4 | ScrapeProtocol::PrometheusText1_0_0 => {
            Some(Format::Text)
        }
        ScrapeProtocol::OpenMetricsText0_0_1 | ScrapeProtocol::OpenMetricsText1_0_0 => {
            Some(Format::OpenMetrics)
        }
    });
    match media_type.to_ascii_lowercase().as_str() {
        "text/plain" => Ok(Format::Text),
        "application/openmetrics-text" => Ok(Format::OpenMetrics),
        "application/vnd.google.protobuf" => Err(ScrapeError::ContentType(
            "the target sends the protobuf format, which was not asked for and is not supported"
                .to_owned(),
        )),
        other => fallback_format.ok_or_else(|| {
            let found = if other.is_empty() {
                "no Content-Type".to_owned()
            } else {
                format!("the unsupported Content-Type {content_type:?}")
            };
            ScrapeError::ContentType(format!(
                "the target sends {found} and no fallback_scrape_protocol is set for it"
            ))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ScrapeProtocol::{
        OpenMetricsText0_0_1, OpenMetricsText1_0_0, PrometheusProto, PrometheusText0_0_4,
        PrometheusText1_0_0,
    };

    #[test]
    fn accept_headers() {
        let default = [
            OpenMetricsText1_0_0,
            OpenMetricsText0_0_1,
            PrometheusText1_0_0,
            PrometheusText0_0_4,
        ];
        assert_eq!(
            accept(&default),
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,\
             text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
             text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
        );
        assert_eq!(
            accept(&[PrometheusProto, PrometheusText0_0_4]),
            "text/plain;version=0.0.4;q=0.6,*/*;q=0.5"
        );
    }

    #[test]
    fn the_media_type_alone_decides() {
        for (content_type, fallback, expected) in [
            ("text/plain; version=9", None, Some(Format::Text)),
            ("Text/Plain", Some(OpenMetricsText1_0_0), Some(Format::Text)),
            (
                "application/openmetrics-text",
                None,
                Some(Format::OpenMetrics),
            ),
            ("text/html", None, None),
            ("", None, None),
            ("text/html", Some(PrometheusText0_0_4), Some(Format::Text)),
            ("", Some(OpenMetricsText0_0_1), Some(Format::OpenMetrics)),
            (
                "application/vnd.google.protobuf",
                Some(PrometheusText0_0_4),
                None,
            ),
        ] {
            assert_eq!(
                format_of(content_type, fallback).ok(),
                expected,
                "{content_type}"
            );
        }
    }
}
