//! `narthex tsdb list`: a line for each block.

use std::io::Write;
use std::path::Path;

use jiff::Timestamp;
use narthex_blocks::BlockMeta;
use narthex_blocks::list::Listed;
use narthex_model::duration;

const HEADING: [&str; 8] = [
    "BLOCK ULID",
    "MIN TIME",
    "MAX TIME",
    "DURATION",
    "NUM SAMPLES",
    "NUM CHUNKS",
    "NUM SERIES",
    "SIZE",
];

pub(super) fn list(folder: &Path, human_readable: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    let listed = narthex_blocks::list::list(folder)?;
    print(&listed, human_readable, out)?;
    let mut unreadable = listed.iter().filter_map(|block| block.meta.as_ref().err());
    match unreadable.next() {
        None => Ok(()),
        Some(first) => anyhow::bail!("{first}{}", more(unreadable.count())),
    }
}

fn more(count: usize) -> String {
    match count {
        0 => String::new(),
        1 => " (and one more block cannot be read)".to_owned(),
        count => format!(" (and {count} more blocks cannot be read)"),
    }
}

pub(super) fn print(
    blocks: &[Listed],
    human_readable: bool,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let mut rows = vec![HEADING.map(str::to_owned)];
    let readable = blocks
        .iter()
        .filter_map(|block| Some((block, block.meta.as_ref().ok()?)));
    rows.extend(readable.map(|(block, meta)| row(block, meta, human_readable)));
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(String::len).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..HEADING.len()).map(width).collect();
    for row in &rows {
        let cells = row.iter().zip(&widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

fn row(block: &Listed, meta: &BlockMeta, human_readable: bool) -> [String; 8] {
    let length_ms = meta
        .max_time_ms
        .saturating_sub(meta.min_time_ms)
        .unsigned_abs();
    let size = match human_readable {
        true => human_bytes(block.size_bytes),
        false => block.size_bytes.to_string(),
    };
    [
        block.ulid.to_string(),
        time(meta.min_time_ms, human_readable),
        time(meta.max_time_ms, human_readable),
        duration::format_ms(length_ms),
        meta.stats.num_samples.to_string(),
        meta.stats.num_chunks.to_string(),
        meta.stats.num_series.to_string(),
        size,
    ]
}

fn time(time_ms: i64, human_readable: bool) -> String {
    match Timestamp::from_millisecond(time_ms) {
        Ok(time) if human_readable => time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        _ => time_ms.to_string(),
    }
}

fn human_bytes(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let fitting = units.iter().find(|(_, shift)| bytes >> shift > 0);
    match fitting {
        Some((unit, shift)) => format!("{:.1}{unit}", bytes as f64 / (1u64 << shift) as f64),
        None => format!("{bytes}B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_for_people() {
        for (bytes, expected) in [
            (0, "0B"),
            (1023, "1023B"),
            (1536, "1.5KiB"),
            (5 << 20, "5.0MiB"),
            (3 << 30, "3.0GiB"),
        ] {
            assert_eq!(human_bytes(bytes), expected);
        }
    }
}
