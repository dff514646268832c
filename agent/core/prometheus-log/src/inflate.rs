//! Decompression of one record, never beyond a limit.

use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

use crate::Cause;

/// Snappy makes at most 64 bytes of 3. A record that claims more lies.
const SNAPPY_RATIO_LIMIT: usize = 22;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Snappy,
    Zstd,
}

/// Keeps its buffers from record to record.
pub(crate) struct Inflater {
    limit_bytes: usize,
    buffer: Vec<u8>,
    snappy: snap::raw::Decoder,
    /// Made when the first such record comes.
    zstd: Option<Decoder<'static>>,
}

impl Inflater {
    pub(crate) fn new(limit_bytes: usize) -> Self {
        Inflater {
            limit_bytes,
            buffer: Vec::new(),
            snappy: snap::raw::Decoder::new(),
            zstd: None,
        }
    }

    pub(crate) fn inflate<'b>(
        &'b mut self,
        compression: Compression,
        record: &'b [u8],
    ) -> Result<&'b [u8], Cause> {
        match compression {
            // Prometheus has no compressed form of an empty record.
            _ if record.is_empty() => Ok(record),
            Compression::None => Ok(record),
            Compression::Snappy => self.inflate_snappy(record),
            Compression::Zstd => self.inflate_zstd(record),
        }
    }

    fn inflate_snappy(&mut self, record: &[u8]) -> Result<&[u8], Cause> {
        let length = snap::raw::decompress_len(record).map_err(refused)?;
        if length > self.limit_bytes {
            return Err(self.too_large());
        }
        if length > record.len().saturating_mul(SNAPPY_RATIO_LIMIT) {
            return Err(Cause::Decompress("its length cannot be true".to_owned()));
        }
        if self.buffer.len() < length {
            self.buffer.resize(length, 0);
        }
        let length = self
            .snappy
            .decompress(record, &mut self.buffer)
            .map_err(refused)?;
        Ok(self.buffer.get(..length).unwrap_or(&[]))
    }

    fn inflate_zstd(&mut self, record: &[u8]) -> Result<&[u8], Cause> {
        let decoder = match &mut self.zstd {
            Some(decoder) => {
                decoder.reinit().map_err(refused)?;
                decoder
            }
            none => none.insert(Decoder::new().map_err(refused)?),
        };
        self.buffer.clear();
        let mut input = InBuffer::around(record);
        loop {
            let written = self.buffer.len();
            // One byte more than allowed tells a record at the limit from one beyond it.
            let room = record.len().saturating_mul(4).max(written);
            let room = room.min(self.limit_bytes.saturating_add(1) - written);
            self.buffer.reserve_exact(room);
            let mut output = OutBuffer::around_pos(&mut self.buffer, written);
            let missing = decoder.run(&mut input, &mut output).map_err(refused)?;
            if self.buffer.len() > self.limit_bytes {
                return Err(self.too_large());
            }
            let all_read = input.pos() == record.len();
            if all_read && missing == 0 {
                return Ok(&self.buffer);
            }
            if all_read && self.buffer.len() < self.buffer.capacity() {
                return Err(Cause::Decompress("it is cut off".to_owned()));
            }
        }
    }

    fn too_large(&self) -> Cause {
        Cause::TooLarge {
            limit_bytes: self.limit_bytes,
        }
    }
}

fn refused(error: impl std::fmt::Display) -> Cause {
    Cause::Decompress(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::bulk::compress(bytes, 3).unwrap()
    }

    fn snappy(bytes: &[u8]) -> Vec<u8> {
        snap::raw::Encoder::new().compress_vec(bytes).unwrap()
    }

    #[test]
    fn gives_back_what_was_compressed_record_after_record() {
        let mut inflater = Inflater::new(1 << 20);
        for length in [1, 10, 1000, 100_000, 3, 1 << 20] {
            let record: Vec<u8> = (0..length).map(|at| (at / 7) as u8).collect();
            for (compression, bytes) in [
                (Compression::None, record.clone()),
                (Compression::Snappy, snappy(&record)),
                (Compression::Zstd, zstd(&record)),
            ] {
                let inflated = inflater.inflate(compression, &bytes);
                assert_eq!(inflated, Ok(&record[..]), "{compression:?} {length}");
            }
        }
    }

    #[test]
    fn stops_at_the_limit() {
        let mut inflater = Inflater::new(1000);
        for length in [1000, 1001, 10_000_000] {
            let zeros = vec![0; length];
            for (compression, bytes) in [
                (Compression::Snappy, snappy(&zeros)),
                (Compression::Zstd, zstd(&zeros)),
            ] {
                let expected = match length {
                    1000 => Ok(&zeros[..]),
                    _ => Err(Cause::TooLarge { limit_bytes: 1000 }),
                };
                assert!(
                    inflater.inflate(compression, &bytes) == expected,
                    "{length}"
                );
            }
        }
        assert!(inflater.buffer.capacity() <= 2002);
    }

    #[test]
    fn refuses_what_is_cut_off_or_lies() {
        let record: Vec<u8> = (0..=255).cycle().take(5000).collect();
        let mut inflater = Inflater::new(1 << 30);
        for (compression, bytes) in [
            (Compression::Snappy, snappy(&record)),
            (Compression::Zstd, zstd(&record)),
        ] {
            for length in 1..bytes.len() {
                assert!(inflater.inflate(compression, &bytes[..length]).is_err());
            }
        }
        // 512 MiB, it says.
        let lie = [0x80, 0x80, 0x80, 0x80, 0x02, 0x00, 0x61];
        assert!(inflater.inflate(Compression::Snappy, &lie).is_err());
        assert!(inflater.buffer.capacity() < 1 << 20);
    }
}
