//! Chunks that the real Prometheus wrote.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::columns::{MIX, Random, column};
use narthex_chunk::{Encoding, XorEncoder, decode_floats};

/// The chunks of a segment file: a header of eight bytes, then each with its length as a varint, the
/// number of its encoding, its bytes and a checksum.
fn chunks(segment: &Path) -> Vec<(Encoding, Vec<u8>)> {
    let file = std::fs::read(segment).unwrap();
    assert_eq!(file[..5], [0x85, 0xbd, 0x40, 0xdd, 1]);
    let mut rest = &file[8..];
    let mut chunks = Vec::new();
    while !rest.is_empty() {
        let varint = rest.iter().position(|byte| *byte < 0x80).unwrap();
        let bytes = rest[..=varint].iter().rev();
        let length = bytes.fold(0, |length, byte| length << 7 | usize::from(byte & 0x7f));
        let start = varint + 2;
        let encoding = Encoding::from_code(rest[varint + 1]).unwrap();
        chunks.push((encoding, rest[start..start + length].to_vec()));
        rest = &rest[start + length + 4..];
    }
    chunks
}

fn read(encoding: Encoding, chunk: &[u8]) -> (Vec<i64>, Vec<f64>) {
    let (mut times, mut values) = (Vec::new(), Vec::new());
    decode_floats(encoding, chunk, &mut times, &mut values).unwrap();
    (times, values)
}

fn assert_not_larger(chunk: &[u8], times: &[i64], values: &[f64]) -> usize {
    let mut own = Vec::new();
    XorEncoder::default()
        .encode(times, values, &mut own)
        .unwrap();
    assert!(own.len() <= chunk.len());
    assert_eq!(read(Encoding::Xor, &own).0, times);
    own.len()
}

#[test]
fn a_block_of_an_early_version_is_read() {
    let Ok(folder) = std::env::var("CONFORMANCE_DIR") else {
        println!("skipped: CONFORMANCE_DIR is not set");
        return;
    };
    let segment = Path::new(&folder).join("tsdb/index_format_v1/chunks/000001");
    let chunks = chunks(&segment);
    assert!(!chunks.is_empty());
    for (encoding, chunk) in chunks {
        let (times, values) = read(encoding, &chunk);
        assert!(!times.is_empty() && times.is_sorted());
        assert_not_larger(&chunk, &times, &values);
    }
}

#[test]
fn what_promtool_writes_comes_back() {
    let Some(tools) = std::env::var_os("NARTHEX_TEST_TOOLS") else {
        println!("skipped: NARTHEX_TEST_TOOLS is not set");
        return;
    };
    let mut random = Random::new(3);
    let mut columns: Vec<_> = MIX
        .iter()
        .map(|(kind, _)| column(*kind, 450, &mut random))
        .collect();
    for (times, _) in &mut columns {
        // Within one block's two hours.
        let shift = 1_699_999_200_000 - times[0];
        times.iter_mut().for_each(|time| *time += shift);
    }
    columns[0].1[7] = f64::NEG_INFINITY;
    columns[0].1[8] = -0.0;
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("input.om");
    std::fs::write(&input, open_metrics(&columns)).unwrap();
    let done = Command::new(PathBuf::from(tools).join("promtool"))
        .args(["tsdb", "create-blocks-from", "openmetrics"])
        .args([&input, folder.path()])
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );

    let blocks = std::fs::read_dir(folder.path()).unwrap();
    let segments = blocks.map(|block| block.unwrap().path().join("chunks/000001"));
    let mut found = vec![(Vec::new(), Vec::new()); columns.len()];
    let (mut theirs, mut ours) = (0, 0);
    // Series are in the order of their names; a series' chunks follow each other.
    for segment in segments.filter(|segment| segment.exists()) {
        let mut series = usize::MAX;
        let mut last_ms = i64::MAX;
        for (encoding, chunk) in chunks(&segment) {
            assert_eq!(encoding, Encoding::Xor);
            let (times, values) = read(encoding, &chunk);
            theirs += chunk.len();
            ours += assert_not_larger(&chunk, &times, &values);
            if times[0] <= last_ms {
                series = series.wrapping_add(1);
            }
            last_ms = *times.last().unwrap();
            found[series].0.extend(times);
            found[series].1.extend(values);
        }
    }
    for ((times, values), (found_times, found_values)) in columns.iter().zip(&found) {
        assert_eq!(times, found_times);
        let bits = |values: &[f64]| -> Vec<u64> { values.iter().map(|v| v.to_bits()).collect() };
        assert_eq!(bits(values), bits(found_values));
    }
    println!("{ours} bytes for Prometheus's {theirs}");
}

/// One gauge a column.
fn open_metrics(columns: &[(Vec<i64>, Vec<f64>)]) -> String {
    let mut text = String::new();
    for (index, (times, values)) in columns.iter().enumerate() {
        writeln!(text, "# TYPE column_{index} gauge").unwrap();
        for (time, value) in times.iter().zip(values) {
            let value = match value.is_infinite() {
                true => "-Inf".to_owned(),
                false => format!("{value:?}"),
            };
            let (seconds, millis) = (time / 1000, time % 1000);
            writeln!(text, "column_{index} {value} {seconds}.{millis:03}").unwrap();
        }
    }
    text + "# EOF\n"
}
