//! Writing a whole column at once, with windows chosen by looking ahead.

use super::distance_change_bits;
use super::plan::Planner;
use crate::ChunkError;
use crate::bits::{BitWriter, unsigned_varint_bytes, varint_bytes};
use crate::window::Window;

/// Encodes columns; keeps its memory from one to the next.
///
/// Of the ways to write a column that Prometheus reads, this takes the one with the fewest bits, so
/// a chunk is never larger than the one [`XorState`](crate::XorState) gives.
#[derive(Debug, Default)]
pub struct XorEncoder {
    planner: Planner,
    changes: Vec<Window>,
    /// By descending index of the change.
    plan: Vec<(usize, Window)>,
}

impl XorEncoder {
    /// Appends one chunk to `out`. The columns should have one length; what one has more is left out.
    pub fn encode(
        &mut self,
        timestamps_ms: &[i64],
        values: &[f64],
        out: &mut Vec<u8>,
    ) -> Result<(), ChunkError> {
        let count = timestamps_ms.len().min(values.len());
        let count = u16::try_from(count).map_err(|_| ChunkError::TooManySamples)?;
        let bits = || {
            values
                .iter()
                .take(usize::from(count))
                .map(|value| value.to_bits())
        };
        self.changes.clear();
        let changes = bits()
            .zip(bits().skip(1))
            .map(|(before, after)| before ^ after);
        let changes = changes.filter(|change| *change != 0);
        self.changes.extend(changes.map(Window::of));
        self.planner.plan(&self.changes, &mut self.plan);

        out.extend(count.to_be_bytes());
        let mut writer = BitWriter::behind(std::mem::take(out));
        let samples = timestamps_ms.iter().copied().zip(bits());
        write_samples(samples, &mut self.plan, &mut writer);
        *out = writer.finish();
        Ok(())
    }
}

/// One chunk of a whole column, as by [`XorEncoder`].
pub fn encode_xor(timestamps_ms: &[i64], values: &[f64]) -> Result<Vec<u8>, ChunkError> {
    let mut chunk = Vec::new();
    XorEncoder::default().encode(timestamps_ms, values, &mut chunk)?;
    Ok(chunk)
}

fn write_samples(
    mut samples: impl Iterator<Item = (i64, u64)>,
    plan: &mut Vec<(usize, Window)>,
    writer: &mut BitWriter,
) {
    let Some((mut last_ms, mut last_bits)) = samples.next() else {
        return;
    };
    varint_bytes(last_ms, |byte| writer.write_byte(byte));
    writer.write(last_bits, 64);
    let mut last_distance = None;
    let mut window = Window::NONE;
    let mut change_index = 0;
    for (timestamp_ms, bits) in samples {
        let distance = timestamp_ms.wrapping_sub(last_ms) as u64;
        match last_distance {
            None => unsigned_varint_bytes(distance, |byte| writer.write_byte(byte)),
            Some(last) => {
                let change = distance.wrapping_sub(last) as i64;
                distance_change_bits(change, |bits, count| writer.write(bits, count));
            }
        }
        let change = bits ^ last_bits;
        (last_ms, last_bits, last_distance) = (timestamp_ms, bits, Some(distance));
        if change == 0 {
            writer.write(0, 1);
            continue;
        }
        if let Some((_, planned)) = plan.pop_if(|(index, _)| *index == change_index) {
            window = planned;
            writer.write(window.head(), Window::NEW_BITS);
        } else {
            writer.write(0b10, 2);
        }
        writer.write(change >> window.trailing, window.length());
        change_index += 1;
    }
}
