//! Writes small good files of every kind into `corpus/`, for the fuzzer to start from. They are made
//! with the checksums of the fuzzing build, so nothing else can read them.

#[path = "../../../agent/edge/tsdb/src/disk.rs"]
#[allow(dead_code, reason = "it is shared with the store, which needs more of it")]
mod disk;
#[path = "../../../agent/edge/tsdb/src/file_header.rs"]
#[allow(dead_code, reason = "it is shared with the store, which needs more of it")]
mod file_header;
#[path = "../../../agent/edge/tsdb/src/head_chunks.rs"]
#[allow(dead_code, reason = "it is shared with the store, which needs more of it")]
mod head_chunks;
#[path = "../../../agent/edge/tsdb/src/log/segment.rs"]
#[allow(dead_code, reason = "it is shared with the store, which needs more of it")]
mod segment;

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use narthex_block_format::{
    BlockMeta, ChunkMeta, ChunkRef, IndexWriter, Interval, SegmentWriter, Tombstones, Ulid,
};
use narthex_chunk::{ChunkLimits, encode_histograms, encode_xor};
use narthex_head::{Head, Log, LogError, NoChunks, Options, SealedChunk};
use narthex_model::histogram::{CUSTOM_BOUNDS_SCHEMA, Span};
use narthex_model::{Exemplar, Histogram, Labels, Metadata};

type Done = Result<(), Box<dyn Error>>;

fn main() -> Done {
    chunks()?;
    index()?;
    block_files()?;
    log_frames()?;
    head_chunks()?;
    head()
}

fn write(target: &str, name: &str, bytes: &[u8]) -> Done {
    let folder = Path::new("corpus").join(target);
    fs::create_dir_all(&folder)?;
    Ok(fs::write(folder.join(name), bytes)?)
}

fn with_first(first: u8, bytes: &[u8]) -> Vec<u8> {
    [&[first], bytes].concat()
}

fn histograms() -> Vec<Arc<Histogram>> {
    let span = |offset, length| Span { offset, length };
    (0..6)
        .map(|i| {
            let i = f64::from(i);
            Arc::new(Histogram {
                schema: 1,
                zero_threshold: 0.001,
                zero_count: i,
                count: 7.0 * i,
                sum: 18.4 * i,
                positive_spans: vec![span(0, 2), span(1, 1)],
                positive_buckets: vec![i, i, 2.0 * i],
                negative_spans: vec![span(1, 2)],
                negative_buckets: vec![i, i],
                ..Histogram::default()
            })
        })
        .collect()
}

fn custom() -> Arc<Histogram> {
    let spans = vec![Span { offset: 0, length: 3 }];
    Arc::new(Histogram {
        schema: CUSTOM_BOUNDS_SCHEMA,
        count: 3.0,
        sum: 5.0,
        positive_spans: spans,
        positive_buckets: vec![1.0, 1.5, 0.5],
        custom_values: vec![1.0, 2.5],
        ..Histogram::default()
    })
}

fn times(count: i64) -> Vec<i64> {
    (0..count).map(|i| 1_700_000_000_000 + i * 15_000 + i % 3).collect()
}

fn chunks() -> Done {
    let values: Vec<f64> = (0..40).map(|i| f64::from(i * i) / 8.0).collect();
    let xor = encode_xor(&times(40), &values);
    write("chunk", "xor", &with_first(1, &xor?))?;
    for (name, values) in [("histograms", histograms()), ("custom", vec![custom()])] {
        let limits = ChunkLimits {
            samples: 4,
            bytes: 1024,
        };
        for chunk in encode_histograms(&times(values.len() as i64), &values, limits)? {
            write("chunk", name, &with_first(chunk.encoding.code(), &chunk.bytes))?;
        }
    }
    Ok(())
}

fn index() -> Done {
    let symbols = ["__name__", "a", "b", "job", "node", "up"];
    let mut writer = IndexWriter::new(Vec::new(), &symbols)?;
    let label = |writer: &IndexWriter<_>, name, value| {
        Some((writer.symbol(name)?, writer.symbol(value)?))
    };
    for value in ["a", "b"] {
        let labels = [("__name__", "up"), ("job", value)];
        let labels = labels.map(|(name, value)| label(&writer, name, value).unwrap_or_default());
        let chunk = |number: i64| ChunkMeta {
            min_ms: number * 1000,
            max_ms: number * 1000 + 900,
            chunk_ref: ChunkRef::new(0, 8 + number as u32 * 50),
        };
        writer.add_series(&labels, &[chunk(0), chunk(1)])?;
    }
    write("index", "small", &writer.finish()?.0)
}

fn log_frames() -> Done {
    let mut file = segment::KIND.header(1).to_vec();
    let kinds = [segment::FrameKind::Continues, segment::FrameKind::Record, segment::FrameKind::SyncMark];
    for (kind, length) in kinds.into_iter().zip([16, 5, 16]) {
        let offset = file.len() as u64;
        segment::write_frame(&mut file, 1, offset, kind, &vec![7; length]);
    }
    write("log_frames", "three", &file)
}

fn head_chunks() -> Done {
    let folder = std::env::temp_dir().join(format!("narthex-seeds-{}", std::process::id()));
    let chunks = head_chunks::HeadChunks::open(&folder, Arc::new(disk::RealDisk))?;
    let bytes = encode_xor(&times(5), &[1.0; 5])?;
    for series in 0..2 {
        chunks.add(&SealedChunk {
            series,
            start_ms: 1_700_000_000_000,
            end_ms: 1_700_000_060_000,
            encoding: 1,
            out_of_order: series == 1,
            bytes: &bytes,
        })?;
    }
    chunks.sync()?;
    let file = fs::read(folder.join("00000001"))?;
    fs::remove_dir_all(&folder)?;
    write("head_chunks", "two", &[&[24, 0], &*file].concat())
}

fn block_files() -> Done {
    let mut segment = SegmentWriter::new(Vec::new())?;
    for count in [1, 5] {
        let values = vec![1.0; count as usize];
        segment.write_chunk(1, &encode_xor(&times(count), &values)?)?;
    }
    write("block_files", "segment", &with_first(0, &segment.into_inner()))?;
    let mut tombstones = Tombstones::default();
    for (series, min_ms, max_ms) in [(1, 0, 10), (1, 20, 30), (7, -5, 5)] {
        tombstones.add(series, Interval { min_ms, max_ms });
    }
    write("block_files", "tombstones", &with_first(1, &tombstones.to_bytes()))?;
    let ulid = Ulid::new(1_700_000_000_000, [7; 10]);
    let json = format!(
        r#"{{"ulid":"{ulid}","minTime":1,"maxTime":2,"stats":{{"numSamples":3}},"compaction":{{"level":2,"sources":["{ulid}"],"parents":[{{"ulid":"{ulid}","minTime":1,"maxTime":2}}]}},"version":1,"thanos":{{"labels":{{}}}}}}"#
    );
    BlockMeta::read(json.as_bytes())?;
    write("block_files", "meta", &with_first(2, json.as_bytes()))
}

#[derive(Default)]
struct Records(Mutex<Vec<u8>>);

impl Log for Records {
    fn epoch(&self) -> u32 {
        1
    }

    fn write(&self, _: u32, record: &[u8]) -> Result<(), LogError> {
        if let Ok(mut all) = self.0.lock() {
            all.extend_from_slice(&(record.len() as u16).to_le_bytes());
            all.extend_from_slice(record);
        }
        Ok(())
    }
}

fn head() -> Done {
    let options = Options {
        chunk_range_ms: 7_200_000,
        out_of_order_window_ms: 600_000,
        exemplar_limit: 16,
    };
    let head = Arc::new(Head::new(options, Arc::new(NoChunks)));
    let log = Records::default();
    for step in 0..4 {
        let time_ms = 1_700_000_000_000 + step * 15_000;
        let mut batch = head.batch();
        for (value, series) in [("a", 1.0), ("b", 0.25), ("c", f64::NAN)] {
            let labels = Labels::from_pairs([("__name__", "up"), ("job", value)]);
            let id = batch.append(&labels, time_ms, series * step as f64)?;
            let exemplar = Exemplar {
                labels: Labels::from_pairs([("trace", "x")]),
                value: 1.0,
                timestamp_ms: time_ms,
            };
            batch.append_exemplar(id, &exemplar)?;
        }
        let late = Labels::from_pairs([("__name__", "up"), ("job", "a")]);
        batch.append(&late, time_ms - 40_000, 9.0)?;
        for (name, histogram) in [("h", histograms().swap_remove(3)), ("c", custom())] {
            let labels = Labels::from_pairs([("__name__", name)]);
            batch.append_histogram(&labels, time_ms, histogram)?;
        }
        batch.set_start(0, time_ms - 1000 * (step / 2));
        batch.set_metadata("up", &Metadata::default());
        batch.commit(&log)?;
    }
    head.delete(&[Vec::new()], 1_700_000_015_000, 1_700_000_016_000, &log)?;
    let mut snapshot = Vec::new();
    head.write_snapshot(&mut snapshot)?;
    head.truncate(1_700_000_020_000, &log)?;
    let records = log.0.into_inner().map_err(|error| error.to_string())?;
    write("head", "records", &with_first(0, &records))?;
    write("head", "snapshot", &with_first(1, &snapshot))
}
