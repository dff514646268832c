//! Which format the reader wants, by its header `Accept`.

use axum::http::{HeaderMap, HeaderValue, header};

use super::names::Escaping;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Version 0.0.4.
    Text,
    /// `MetricFamily` messages, each after its length.
    Protobuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    pub(super) encoding: Encoding,
    pub(super) escaping: Escaping,
}

impl Accepted {
    /// The best of what can be written; text if that says nothing.
    pub(super) fn of(headers: &HeaderMap) -> Accepted {
        let values = headers.get_all(header::ACCEPT).iter();
        let mut wishes: Vec<Wish<'_>> = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(Wish::of)
            .collect();
        wishes.sort_by(|a, b| b.quality.total_cmp(&a.quality));
        let mut accepted = Accepted {
            encoding: Encoding::Text,
            escaping: Escaping::Underscores,
        };
        for wish in wishes {
            if let Some(escaping) = wish.parameter("escaping").and_then(Escaping::from_name) {
                accepted.escaping = escaping;
            }
            if let Some(encoding) = wish.encoding() {
                accepted.encoding = encoding;
                break;
            }
        }
        accepted
    }

    pub(super) fn content_type(self) -> HeaderValue {
        let media_type = match self.encoding {
            Encoding::Text => "text/plain; version=0.0.4; charset=utf-8",
            Encoding::Protobuf => {
                "application/vnd.google.protobuf; \
                 proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        };
        let text = format!("{media_type}; escaping={}", self.escaping.name());
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("text/plain"))
    }
}

/// One entry of the header.
struct Wish<'a> {
    media_type: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    quality: f64,
}

impl<'a> Wish<'a> {
    fn of(text: &'a str) -> Wish<'a> {
        let mut parts = text.split(';').map(str::trim);
        let mut wish = Wish {
            media_type: parts.next().unwrap_or(""),
            parameters: parts.filter_map(|part| part.split_once('=')).collect(),
            quality: 1.0,
        };
        if let Some(quality) = wish.parameter("q").and_then(|q| q.parse().ok()) {
            wish.quality = quality;
        }
        wish
    }

    fn parameter(&self, name: &str) -> Option<&'a str> {
        let found = self.parameters.iter().find(|(n, _)| *n == name);
        found.map(|(_, value)| *value)
    }

    /// None if it can't be written.
    fn encoding(&self) -> Option<Encoding> {
        match self.media_type {
            "application/vnd.google.protobuf" => {
                let is_known = self.parameter("proto") == Some("io.prometheus.client.MetricFamily")
                    && self.parameter("encoding") == Some("delimited");
                is_known.then_some(Encoding::Protobuf)
            }
            "text/plain" => {
                let version = self.parameter("version");
                matches!(version, None | Some("0.0.4")).then_some(Encoding::Text)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_is_wanted_most() {
        let protobuf = "application/vnd.google.protobuf;\
                        proto=io.prometheus.client.MetricFamily;encoding=delimited";
        for (accept, encoding, escaping) in [
            ("".to_owned(), Encoding::Text, Escaping::Underscores),
            ("*/*".to_owned(), Encoding::Text, Escaping::Underscores),
            (
                protobuf.to_owned(),
                Encoding::Protobuf,
                Escaping::Underscores,
            ),
            (
                format!("text/plain;version=0.0.4;q=0.5,{protobuf};escaping=allow-utf-8;q=0.6"),
                Encoding::Protobuf,
                Escaping::Utf8,
            ),
            (
                format!("text/plain;version=0.0.4;q=0.7,{protobuf};q=0.6"),
                Encoding::Text,
                Escaping::Underscores,
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=dots;q=0.5,\
                 text/plain;version=0.0.4;q=0.2"
                    .to_owned(),
                Encoding::Text,
                Escaping::Dots,
            ),
            (
                "text/plain;escaping=nonsense".to_owned(),
                Encoding::Text,
                Escaping::Underscores,
            ),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            let expected = Accepted { encoding, escaping };
            assert_eq!(Accepted::of(&headers), expected, "{accept}");
        }
    }
}
