//! Asking a target for its page: headers, decompression, the limit on its size.

use std::io::{self, Write};
use std::time::Duration;

use flate2::write::MultiGzDecoder;
use narthex_exposition::Format;
use narthex_http_client::{Client, Request, Response};

use crate::config::{JobConfig, ScrapeProtocol};
use crate::error::ScrapeError;
use crate::ingest::Answer;

/// Where the configuration sets no limit, so that no target can take all memory.
const DEFAULT_BODY_LIMIT_BYTES: u64 = 256 << 20;

/// What stays the same for all requests of a job.
#[derive(Clone)]
pub(crate) struct Fetcher {
    pub client: Client,
    accept: String,
    accept_encoding: &'static str,
    user_agent: String,
    body_limit_bytes: u64,
    fallback: Option<ScrapeProtocol>,
}

impl Fetcher {
    pub(crate) fn new(client: Client, job: &JobConfig, user_agent: String) -> Self {
        Fetcher {
            client,
            accept: accept(&job.scrape_protocols),
            accept_encoding: if job.enable_compression {
                "gzip"
            } else {
                "identity"
            },
            user_agent,
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
    ) -> Result<Answer, ScrapeError> {
        let timeout_seconds = timeout.as_secs_f64().to_string();
        let headers = [
            ("Accept", self.accept.as_str()),
            ("Accept-Encoding", self.accept_encoding),
            ("User-Agent", self.user_agent.as_str()),
            (
                "X-Prometheus-Scrape-Timeout-Seconds",
                timeout_seconds.as_str(),
            ),
        ];
        let request = Request {
            url,
            headers: &headers,
            timeout,
        };
        let response = self.client.get(&request).await?;
        if response.status() != 200 {
            return Err(ScrapeError::Status(response.status_text()));
        }
        let format = format_of(response.header("content-type").unwrap_or(""), self.fallback)?;
        let body = self.body(response, size_hint_bytes).await?;
        Ok(Answer::Page { format, body })
    }

    async fn body(
        &self,
        mut response: Response,
        size_hint_bytes: usize,
    ) -> Result<Vec<u8>, ScrapeError> {
        let encoding = response.header("content-encoding").unwrap_or("");
        let zipped = encoding.trim().eq_ignore_ascii_case("gzip");
        let page = Bounded {
            bytes: Vec::with_capacity(size_hint_bytes),
            limit_bytes: self.body_limit_bytes,
            exceeded: false,
        };
        if !zipped {
            let mut page = page;
            while let Some(chunk) = response.chunk().await? {
                if page.write_all(&chunk).is_err() {
                    return Err(page.limit_error());
                }
            }
            return Ok(page.bytes);
        }
        let mut decoder = MultiGzDecoder::new(page);
        while let Some(chunk) = response.chunk().await? {
            if let Err(error) = decoder.write_all(&chunk) {
                return Err(gzip_error(decoder.get_ref(), &error));
            }
        }
        match decoder.try_finish() {
            Ok(()) => Ok(std::mem::take(&mut decoder.get_mut().bytes)),
            Err(error) => Err(gzip_error(decoder.get_ref(), &error)),
        }
    }
}

fn gzip_error(page: &Bounded, error: &io::Error) -> ScrapeError {
    if page.exceeded {
        page.limit_error()
    } else {
        ScrapeError::Gzip(error.to_string())
    }
}

/// A buffer that refuses to reach its limit.
struct Bounded {
    bytes: Vec<u8>,
    limit_bytes: u64,
    exceeded: bool,
}

impl Bounded {
    fn limit_error(&self) -> ScrapeError {
        ScrapeError::BodySizeLimit {
            limit_bytes: self.limit_bytes,
        }
    }
}

impl Write for Bounded {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if (self.bytes.len() + piece.len()) as u64 >= self.limit_bytes {
            self.exceeded = true;
            return Err(io::Error::other("body size limit exceeded"));
        }
        self.bytes.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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
