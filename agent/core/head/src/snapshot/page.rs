//! A page in a snapshot.
//!
//! One byte whether births follow, 256 of them. Then the series that have something: slot (one
//! byte), and the line: state of the open chunk (37 bytes), its first time (8), where to cut (4),
//! flags (1), its full words (a part); the full chunks, oldest first; one byte whether there is
//! more: an open chunk of histograms (encoding or 0, where to cut, a part), the last histogram
//! (encoding or 0, a part), late samples (number; each a time, then 0 and 8 bytes or an encoding
//! and a part), late chunks (number; each the time from which it counts, and a chunk), deleted
//! intervals (number; first and last time).
//!
//! Starts: the number of the page; for each series that has some its slot (one byte), and the
//! changes (number; each the time from which on it counts, and that less the start, signed).
//!
//! A chunk: first time (signed), span, encoding, then 0 and a part, or 1 and file and offset.

use narthex_chunk::{Encoding, HistogramEncoder, XOR_STATE_BYTES, XorState};
use narthex_model::SampleValue;

use crate::bytes::{Reader, put_bytes, put_signed, put_varint};
use crate::counters::Tally;
use crate::hot::{Hot, HotParts};
use crate::page::{PAGE, PageInner};
use crate::record::others::{decode_histogram, encode_histogram};
use crate::sealed::{END_OF_LIST, Place, SealedEntry, is_valid};
use crate::side::{LateChunk, OpenHistograms, Side};
use crate::{ChunkRef, DamagedRecord};

/// An open chunk has fewer bytes.
const MOST_CHAIN_BYTES: usize = 4096;

/// Writes a page; false if there is nothing to write.
pub(super) fn write(page: &PageInner, out: &mut Vec<u8>) -> bool {
    let has_births = page.births.iter().any(|birth| *birth != 0);
    out.push(u8::from(has_births));
    if has_births {
        out.extend_from_slice(&page.births);
    }
    let before = out.len();
    for slot in 0..=u8::MAX {
        let hot = &page.hot[usize::from(slot)];
        let side = page.side(slot);
        if hot.has_seen() || side.is_some() {
            out.push(slot);
            write_line(page, hot, out);
            write_list(page, hot.sealed, out);
            out.push(u8::from(side.is_some()));
            if let Some(side) = side {
                write_side(page, side, out);
            }
        }
    }
    has_births || out.len() > before
}

/// Fills an empty page.
pub(super) fn read(
    page: &mut PageInner,
    body: &mut Reader<'_>,
    tally: &mut Tally,
) -> Result<(), DamagedRecord> {
    if body.byte()? != 0 {
        page.births = body.array::<PAGE>()?;
    }
    while !body.is_empty() {
        let slot = body.byte()?;
        let line = &mut page.hot[usize::from(slot)];
        if line.has_seen() || page.side(slot).is_some() {
            return Err(body.damaged("a series comes twice"));
        }
        page.hot[usize::from(slot)] = read_line(page, body)?;
        let mut list = END_OF_LIST;
        let result = read_list(page, &mut list, body);
        page.hot[usize::from(slot)].sealed = list;
        result?;
        if body.byte()? != 0 {
            read_side(page, slot, body)?;
        }
        tally.stale_series += i64::from(page.hot[usize::from(slot)].is_stale());
        tally.chunks_created += page.chunk_count(slot);
        if let Some((oldest_ms, newest_ms)) = page.times_ms(slot) {
            tally.stretch_to(oldest_ms);
            tally.stretch_to(newest_ms);
        }
    }
    Ok(())
}

/// Writes when counters started, if any is known.
pub(super) fn write_starts(page: &PageInner, number: usize, out: &mut Vec<u8>) {
    let Some(starts) = page.starts.as_ref().filter(|starts| !starts.is_empty()) else {
        return;
    };
    put_varint(out, number as u64);
    for slot in 0..=u8::MAX {
        let changes = starts.of(slot);
        if !changes.is_empty() {
            out.push(slot);
            put_varint(out, changes.len() as u64);
        }
        for change in changes {
            put_signed(out, change.from_ms);
            put_signed(out, change.from_ms.wrapping_sub(change.start_ms));
        }
    }
}

/// What stands before the damage is taken.
pub(super) fn read_starts(
    page: &mut PageInner,
    body: &mut Reader<'_>,
) -> Result<(), DamagedRecord> {
    while !body.is_empty() {
        let slot = body.byte()?;
        for _ in 0..body.count(2)? {
            let from_ms = body.signed()?;
            let start_ms = from_ms.wrapping_sub(body.signed()?);
            let starts = page.starts.get_or_insert_default();
            starts.set_from(slot, from_ms, start_ms);
        }
    }
    Ok(())
}

fn write_line(page: &PageInner, hot: &Hot, out: &mut Vec<u8>) {
    let parts = hot.parts();
    out.extend_from_slice(&parts.xor.to_bytes());
    out.extend_from_slice(&parts.start_ms.to_le_bytes());
    out.extend_from_slice(&parts.cut_after_ms.to_le_bytes());
    out.push(parts.flags);
    put_varint(out, u64::from(hot.chain().length_bytes));
    for bytes in page.fragments.bytes(hot.chain()) {
        out.extend_from_slice(bytes);
    }
}

fn read_line(page: &mut PageInner, body: &mut Reader<'_>) -> Result<Hot, DamagedRecord> {
    let xor = XorState::from_bytes(&body.array::<XOR_STATE_BYTES>()?);
    let parts = HotParts {
        xor: xor.ok_or_else(|| body.damaged("an open chunk's state"))?,
        start_ms: i64::from_le_bytes(body.array()?),
        cut_after_ms: u32::from_le_bytes(body.array()?),
        flags: body.byte()?,
    };
    let full = body.part()?;
    let (words, rest) = full.rest().as_chunks::<8>();
    if !rest.is_empty() || full.rest().len() > MOST_CHAIN_BYTES {
        return Err(full.damaged("an open chunk's length"));
    }
    let words = words.iter().copied();
    Ok(Hot::from_parts(parts, words, &mut page.fragments))
}

fn write_list(page: &PageInner, list: u32, out: &mut Vec<u8>) {
    let mut entries: Vec<SealedEntry> = page.sealed.iter(list).collect();
    entries.reverse();
    put_varint(out, entries.len() as u64);
    for entry in &entries {
        write_entry(entry, out);
    }
}

fn read_list(
    page: &mut PageInner,
    list: &mut u32,
    body: &mut Reader<'_>,
) -> Result<(), DamagedRecord> {
    for _ in 0..body.count(4)? {
        let entry = read_entry(body)?;
        page.sealed.push(list, entry);
    }
    Ok(())
}

fn write_entry(entry: &SealedEntry, out: &mut Vec<u8>) {
    put_signed(out, entry.start_ms);
    put_varint(out, entry.end_ms.wrapping_sub(entry.start_ms) as u64);
    out.push(entry.encoding);
    match &entry.place {
        Place::Memory(bytes) => {
            out.push(0);
            put_bytes(out, bytes);
        }
        Place::File(at) => {
            out.push(1);
            put_varint(out, u64::from(at.file));
            put_varint(out, u64::from(at.offset));
        }
    }
}

fn read_entry(body: &mut Reader<'_>) -> Result<SealedEntry, DamagedRecord> {
    let start_ms = body.signed()?;
    let end_ms = start_ms.checked_add(i64::from(body.u32()?));
    let encoding = body.byte()?;
    let place = match body.byte()? {
        0 => Place::Memory(body.part()?.rest().into()),
        _ => Place::File(ChunkRef {
            file: body.u32()?,
            offset: body.u32()?,
        }),
    };
    if matches!(place, Place::File(at) if !is_valid(at)) {
        return Err(body.damaged("the number of a file"));
    }
    Ok(SealedEntry {
        start_ms,
        end_ms: end_ms.ok_or_else(|| body.damaged("the times of a chunk"))?,
        encoding,
        place,
    })
}

fn write_side(page: &PageInner, side: &Side, out: &mut Vec<u8>) {
    match &side.open {
        Some(open) => {
            out.push(open.encoder.encoding().code());
            put_varint(out, u64::from(open.cut_after_ms));
            put_bytes(out, &open.encoder.snapshot());
        }
        None => out.push(0),
    }
    let last = side.last_histogram.as_ref();
    match last.and_then(|histogram| encode_histogram(0, histogram)) {
        Some((encoding, bytes)) => {
            out.push(encoding.code());
            put_bytes(out, &bytes);
        }
        None => out.push(0),
    }
    write_late(page, side, out);
    put_varint(out, side.deleted.len() as u64);
    for (start_ms, end_ms) in &side.deleted {
        put_signed(out, *start_ms);
        put_signed(out, *end_ms);
    }
}

fn write_late(page: &PageInner, side: &Side, out: &mut Vec<u8>) {
    put_varint(out, side.late.buffer.len() as u64);
    for (time, value) in &side.late.buffer {
        put_signed(out, *time);
        match value {
            SampleValue::Float(value) => {
                out.push(0);
                out.extend_from_slice(&value.to_bits().to_le_bytes());
            }
            SampleValue::Histogram(histogram) => {
                // It was encoded for the log, so it can be.
                let (encoding, bytes) =
                    encode_histogram(*time, histogram).unwrap_or((Encoding::Histogram, Vec::new()));
                out.push(encoding.code());
                put_bytes(out, &bytes);
            }
        }
    }
    put_varint(out, side.late.chunks.len() as u64);
    for chunk in &side.late.chunks {
        put_signed(out, chunk.from_ms);
        for entry in page.sealed.iter(chunk.list) {
            write_entry(&entry, out);
        }
    }
}

fn read_side(page: &mut PageInner, slot: u8, body: &mut Reader<'_>) -> Result<(), DamagedRecord> {
    let mut side = Side {
        open: read_open(body)?,
        last_histogram: match body.byte()? {
            0 => None,
            encoding => {
                let chunk = body.part()?;
                let decoded = decode_histogram(encoding, chunk.rest());
                let decoded = decoded.ok_or_else(|| chunk.damaged("the last histogram"))?;
                Some(decoded.1)
            }
        },
        ..Side::default()
    };
    for _ in 0..body.count(3)? {
        let time = body.signed()?;
        let value = read_late_value(body)?;
        side.late.buffer.push((time, value));
    }
    for _ in 0..body.count(5)? {
        let from_ms = body.signed()?;
        let entry = read_entry(body)?;
        let mut list = END_OF_LIST;
        page.sealed.push(&mut list, entry);
        side.late.chunks.push(LateChunk {
            list,
            newest_commit: 0,
            from_ms,
        });
    }
    for _ in 0..body.count(2)? {
        side.deleted.push((body.signed()?, body.signed()?));
    }
    *page.side_or_new(slot) = side;
    page.drop_empty_side(slot);
    Ok(())
}

fn read_open(body: &mut Reader<'_>) -> Result<Option<OpenHistograms>, DamagedRecord> {
    let encoding = body.byte()?;
    if encoding == 0 {
        return Ok(None);
    }
    let cut_after_ms = body.u32()?;
    let chunk = body.part()?;
    let encoder = Encoding::from_code(encoding)
        .and_then(|encoding| HistogramEncoder::reopen(encoding, chunk.rest()))
        .map_err(|_| chunk.damaged("an open chunk of histograms"))?;
    Ok(Some(OpenHistograms {
        encoder,
        cut_after_ms,
    }))
}

fn read_late_value(body: &mut Reader<'_>) -> Result<SampleValue, DamagedRecord> {
    match body.byte()? {
        0 => {
            let bits = u64::from_le_bytes(body.array()?);
            Ok(SampleValue::Float(f64::from_bits(bits)))
        }
        encoding => {
            let chunk = body.part()?;
            let decoded = decode_histogram(encoding, chunk.rest());
            let decoded = decoded.ok_or_else(|| chunk.damaged("a late histogram"))?;
            Ok(SampleValue::Histogram(decoded.1))
        }
    }
}
