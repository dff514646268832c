//! How an answer is compressed: what the client takes, and the encoders.

use std::convert::Infallible;
use std::io::{self, Write};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

/// Answers below this size are not worth compressing.
pub(crate) const COMPRESS_BYTES_MIN: usize = 1400;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Identity,
    Gzip,
    Deflate,
}

impl Coding {
    /// The first that is known of those that the client takes.
    pub(crate) fn accepted(headers: &HeaderMap) -> Coding {
        let values = headers.get_all(header::ACCEPT_ENCODING).iter();
        let codings = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','));
        codings
            .into_iter()
            .find_map(known)
            .unwrap_or(Coding::Identity)
    }

    /// None for what goes as it is.
    pub(crate) fn header_value(self) -> Option<HeaderValue> {
        match self {
            Coding::Identity => None,
            Coding::Gzip => Some(HeaderValue::from_static("gzip")),
            Coding::Deflate => Some(HeaderValue::from_static("deflate")),
        }
    }

    pub(crate) fn encoder(self) -> Encoder {
        match self {
            Coding::Identity => Encoder::Identity(Vec::new()),
            Coding::Gzip => Encoder::Gzip(GzEncoder::new(Vec::new(), Compression::fast())),
            Coding::Deflate => Encoder::Deflate(ZlibEncoder::new(Vec::new(), Compression::fast())),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Coding {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Coding::accepted(&parts.headers))
    }
}

/// Takes an answer piece by piece, and gives it compressed.
pub(crate) enum Encoder {
    Identity(Vec<u8>),
    Gzip(GzEncoder<Vec<u8>>),
    Deflate(ZlibEncoder<Vec<u8>>),
}

impl Encoder {
    /// Takes all of `piece`, which is empty then; gives what came out, which may be nothing yet.
    pub(crate) fn push(&mut self, piece: &mut Vec<u8>) -> io::Result<Vec<u8>> {
        match self {
            Encoder::Identity(spare) => {
                spare.reserve(piece.capacity());
                std::mem::swap(spare, piece);
                return Ok(std::mem::take(spare));
            }
            Encoder::Gzip(encoder) => encoder.write_all(piece)?,
            Encoder::Deflate(encoder) => encoder.write_all(piece)?,
        }
        piece.clear();
        Ok(match self {
            Encoder::Identity(_) => Vec::new(),
            Encoder::Gzip(encoder) => std::mem::take(encoder.get_mut()),
            Encoder::Deflate(encoder) => std::mem::take(encoder.get_mut()),
        })
    }

    /// The rest.
    pub(crate) fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Encoder::Identity(rest) => Ok(rest),
            Encoder::Gzip(encoder) => encoder.finish(),
            Encoder::Deflate(encoder) => encoder.finish(),
        }
    }
}

fn known(coding: &str) -> Option<Coding> {
    let mut parts = coding.split(';').map(str::trim);
    let name = parts.next()?;
    if parts.any(|quality| matches!(quality, "q=0" | "q=0.0" | "q=0.00" | "q=0.000")) {
        return None;
    }
    match name {
        "gzip" => Some(Coding::Gzip),
        "deflate" => Some(Coding::Deflate),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_known_coding_is_taken() {
        for (accepted, expected) in [
            ("gzip", Coding::Gzip),
            ("br, gzip;q=0.5, deflate", Coding::Gzip),
            ("deflate, gzip", Coding::Deflate),
            ("gzip;q=0, deflate", Coding::Deflate),
            ("br", Coding::Identity),
            ("", Coding::Identity),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, accepted.parse().unwrap());
            assert_eq!(Coding::accepted(&headers), expected, "{accepted}");
        }
    }
}
