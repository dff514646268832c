//! A body while it arrives: decompressed at once, and no longer than is allowed.

use std::io::{self, Write};

use flate2::write::MultiGzDecoder;

use crate::error::ScrapeError;

pub(crate) enum Body {
    Plain(Bounded),
    Gzip(Box<MultiGzDecoder<Bounded>>),
}

impl Body {
    /// `encoding` is the header Content-Encoding; `size_hint_bytes` how long the last body was.
    pub(crate) fn new(encoding: &str, size_hint_bytes: usize, limit_bytes: u64) -> Self {
        let bounded = Bounded {
            // Pages grow a little when their numbers do.
            bytes: Vec::with_capacity(size_hint_bytes + size_hint_bytes / 16),
            limit_bytes,
            exceeded: false,
        };
        if encoding.trim().eq_ignore_ascii_case("gzip") {
            Body::Gzip(Box::new(MultiGzDecoder::new(bounded)))
        } else {
            Body::Plain(bounded)
        }
    }

    pub(crate) fn add(&mut self, piece: &[u8]) -> Result<(), ScrapeError> {
        match self {
            Body::Plain(bounded) => bounded.write_all(piece).map_err(|_| bounded.limit_error()),
            Body::Gzip(decoder) => decoder
                .write_all(piece)
                .map_err(|error| gzip_error(decoder.get_ref(), &error)),
        }
    }

    pub(crate) fn finish(self) -> Result<Vec<u8>, ScrapeError> {
        match self {
            Body::Plain(bounded) => Ok(bounded.bytes),
            Body::Gzip(mut decoder) => match decoder.try_finish() {
                Ok(()) => Ok(std::mem::take(&mut decoder.get_mut().bytes)),
                Err(error) => Err(gzip_error(decoder.get_ref(), &error)),
            },
        }
    }
}

fn gzip_error(body: &Bounded, error: &io::Error) -> ScrapeError {
    if body.exceeded {
        body.limit_error()
    } else {
        ScrapeError::Gzip(error.to_string())
    }
}

/// A buffer that refuses to reach its limit.
pub(crate) struct Bounded {
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

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn read(encoding: &str, sent: &[u8], piece_bytes: usize) -> Result<Vec<u8>, String> {
        let mut body = Body::new(encoding, 0, 1000);
        for piece in sent.chunks(piece_bytes) {
            body.add(piece).map_err(|e| e.to_string())?;
        }
        body.finish().map_err(|e| e.to_string())
    }

    #[test]
    fn bodies_are_read_in_whatever_pieces_they_come() {
        let text: Vec<u8> = (0..900_u32).map(|i| (i * i % 251) as u8).collect();
        let (first, second) = text.split_at(400);
        let two_members = [gzip(first), gzip(second)].concat();
        let too_much = "body size limit exceeded: more than 1000 bytes (body_size_limit)";
        for piece_bytes in [1, 7, 5000] {
            for (encoding, sent, expected) in [
                ("", text.clone(), Ok(())),
                ("identity", text.clone(), Ok(())),
                ("gzip", gzip(&text), Ok(())),
                (" GZIP", two_members.clone(), Ok(())),
                ("", vec![0; 1000], Err(too_much)),
                ("gzip", gzip(&[0; 1000]), Err(too_much)),
                ("gzip", text.clone(), Err("the body is not valid gzip: ")),
            ] {
                let read = read(encoding, &sent, piece_bytes);
                match expected {
                    Ok(()) => assert_eq!(read.as_ref(), Ok(&text), "{encoding}"),
                    Err(start) => assert!(read.unwrap_err().starts_with(start), "{encoding}"),
                }
            }
            let whole = gzip(&text);
            for length in 1..whole.len() {
                assert!(
                    read("gzip", &whole[..length], piece_bytes).is_err(),
                    "{length}"
                );
            }
        }
    }
}
