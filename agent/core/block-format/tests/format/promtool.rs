//! Blocks that Prometheus's own tool writes are read, and it reads ours.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use narthex_block_format::segment::{check_header, read_chunk, walk};
use narthex_block_format::{
    BlockMeta, BlockStats, ChunkMeta, ChunkRef, Compaction, IndexLayout, IndexVersion,
    SegmentWriter, Tombstones, Ulid,
};
use narthex_chunk::{Encoding, decode_floats, encode_xor};
use narthex_model::Labels;
use tempfile::TempDir;

use crate::model::{Content, Series, write_index};

type Samples = BTreeMap<Labels, Vec<(i64, f64)>>;

fn promtool() -> Option<PathBuf> {
    let Some(tools) = std::env::var_os("NARTHEX_TEST_TOOLS") else {
        println!("skipped: NARTHEX_TEST_TOOLS is not set");
        return None;
    };
    Some(Path::new(&tools).join("promtool"))
}

fn run(promtool: &Path, arguments: &[&str]) -> String {
    let output = Command::new(promtool).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    assert!(
        output.status.success(),
        "promtool {arguments:?}: {out}{error}"
    );
    out
}

/// Two block ranges of some series, with label values that have to be escaped.
fn source() -> Samples {
    let mut samples = Samples::new();
    for number in 0..150i64 {
        let labels = Labels::from_pairs([
            ("__name__", format!("metric_{}", number % 3)),
            ("instance", format!("host-{number}:9100")),
            (
                "job",
                ["node", "back\\slash", "qu\"ote", "line\nbreak", "世界"][number as usize % 5]
                    .to_owned(),
            ),
        ]);
        let step_ms = 30_000 + 1000 * (number % 7);
        let series = (0..300).map(|step| {
            let value = (number * step % 1013) as f64 / 8.0;
            (step * step_ms, value)
        });
        samples.insert(labels, series.collect());
    }
    samples
}

fn open_metrics(samples: &Samples) -> String {
    let mut out = String::new();
    let mut lines: Vec<_> = samples.iter().collect();
    lines.sort_by_key(|(labels, _)| labels.metric_name().map(str::to_owned));
    for (labels, series) in lines {
        let pairs = labels.iter().filter(|label| &*label.name != "__name__");
        let escaped = |text: &str| {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"");
            text.replace('\n', "\\n")
        };
        let pairs: Vec<String> = pairs
            .map(|label| format!("{}=\"{}\"", label.name, escaped(&label.value)))
            .collect();
        let name = labels.metric_name().unwrap();
        for (time_ms, value) in series {
            let seconds = *time_ms as f64 / 1000.0;
            writeln!(out, "{name}{{{}}} {value} {seconds}", pairs.join(",")).unwrap();
        }
    }
    out.push_str("# EOF\n");
    out
}

/// Reads a block by every means the format has and adds its samples.
fn read_block(folder: &Path, samples: &mut Samples) -> BlockMeta {
    let file = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let meta = BlockMeta::read(&file("meta.json")).unwrap();
    assert!(folder.ends_with(meta.ulid.to_string()));
    assert!(Tombstones::read(&file("tombstones")).unwrap().is_empty());
    let segment = file("chunks/000001");
    check_header(&segment).unwrap();
    let bytes = file("index");
    let layout = IndexLayout::open(&bytes).unwrap();
    assert_eq!(layout.version(), IndexVersion::V2);
    let mut content = Content::read(&layout.reader(&bytes)).unwrap();
    // Prometheus lists the empty text as a symbol, though no label has it.
    content.symbols.retain(|symbol| !symbol.is_empty());
    assert!(content == Content::of(&content.series), "{content:?}");
    assert_eq!(content.series.len() as u64, meta.stats.num_series);
    assert_eq!(walk(&segment).count() as u64, meta.stats.num_chunks);
    let mut count = 0;
    for (labels, chunks) in content.series {
        for chunk in chunks {
            assert_eq!(chunk.chunk_ref.segment(), 0);
            let read = read_chunk(&segment, chunk.chunk_ref.offset()).unwrap();
            let (mut timestamps_ms, mut values) = (Vec::new(), Vec::new());
            let encoding = Encoding::from_code(read.encoding).unwrap();
            decode_floats(encoding, read.data, &mut timestamps_ms, &mut values).unwrap();
            assert_eq!(timestamps_ms.first(), Some(&chunk.min_ms));
            assert_eq!(timestamps_ms.last(), Some(&chunk.max_ms));
            count += values.len() as u64;
            let series = samples.entry(labels.clone()).or_default();
            series.extend(timestamps_ms.into_iter().zip(values));
        }
    }
    assert_eq!(count, meta.stats.num_samples);
    meta
}

#[test]
fn a_block_of_promtool_is_read() {
    let Some(promtool) = promtool() else {
        return;
    };
    let folder = TempDir::new().unwrap();
    let text = folder.path().join("samples.om");
    let blocks = folder.path().join("blocks");
    std::fs::write(&text, open_metrics(&source())).unwrap();
    let (text, blocks) = (text.to_str().unwrap(), blocks.to_str().unwrap());
    run(
        &promtool,
        &["tsdb", "create-blocks-from", "openmetrics", text, blocks],
    );
    let mut samples = Samples::new();
    let mut folders: Vec<PathBuf> = std::fs::read_dir(blocks)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("meta.json").is_file())
        .collect();
    folders.sort();
    assert!(folders.len() > 1, "{folders:?}");
    for block in folders {
        read_block(&block, &mut samples);
    }
    for series in samples.values_mut() {
        series.sort_by_key(|(time_ms, _)| *time_ms);
    }
    assert!(samples == source(), "the samples differ from the source");
}

/// Writes all samples as one block.
fn write_block(folder: &Path, samples: &Samples) {
    let mut segment = SegmentWriter::new(Vec::new()).unwrap();
    let mut series = Series::new();
    let mut stats = BlockStats::default();
    for (labels, samples) in samples {
        let mut chunks = Vec::new();
        for part in samples.chunks(120) {
            let (timestamps_ms, values): (Vec<i64>, Vec<f64>) = part.iter().copied().unzip();
            let data = encode_xor(&timestamps_ms, &values).unwrap();
            let (offset, _) = segment.write_chunk(Encoding::Xor.code(), &data).unwrap();
            chunks.push(ChunkMeta {
                min_ms: part[0].0,
                max_ms: part[part.len() - 1].0,
                chunk_ref: ChunkRef::new(0, offset),
            });
            stats.num_samples += part.len() as u64;
        }
        stats.num_chunks += chunks.len() as u64;
        series.insert(labels.clone(), chunks);
    }
    stats.num_series = series.len() as u64;
    let ulid = Ulid::new(1_700_000_000_000, *b"not random");
    let meta = BlockMeta {
        ulid,
        min_time_ms: 0,
        max_time_ms: 14_400_000,
        stats,
        compaction: Compaction {
            level: 1,
            sources: vec![ulid],
            ..Compaction::default()
        },
        version: 1,
        other: Default::default(),
    };
    let block = folder.join(ulid.to_string());
    std::fs::create_dir_all(block.join("chunks")).unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(block.join(name), bytes).unwrap();
    write("chunks/000001", &segment.into_inner());
    write("index", &write_index(&series).unwrap().0);
    write("tombstones", &Tombstones::default().to_bytes());
    write("meta.json", &meta.to_json().unwrap());
}

#[test]
fn promtool_reads_our_block() {
    let Some(promtool) = promtool() else {
        return;
    };
    let folder = TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("wal")).unwrap();
    write_block(folder.path(), &source());
    let path = folder.path().to_str().unwrap();
    let list = run(&promtool, &["tsdb", "list", path]);
    assert!(list.contains("45000") && list.contains("150"), "{list}");
    let analysis = run(&promtool, &["tsdb", "analyze", "--extended", path]);
    for expected in [
        "Series: 150",
        "Label names: 3",
        "Postings (unique label pairs): 158",
    ] {
        assert!(analysis.contains(expected), "no {expected:?} in {analysis}");
    }
    let dump = run(&promtool, &["tsdb", "dump", path]);
    assert_eq!(dump.lines().count(), 45000);
    for (labels, samples) in source() {
        let mut expected = String::new();
        for (time_ms, value) in &samples[..5] {
            let pairs: Vec<String> = labels
                .iter()
                .map(|label| format!("{}={:?}", label.name, &*label.value))
                .collect();
            writeln!(expected, "{{{}}} {value} {time_ms}", pairs.join(", ")).unwrap();
        }
        assert!(dump.contains(&expected), "no {expected}");
    }
    let one = [
        "tsdb",
        "dump",
        "--match",
        "metric_1{instance=~\"host-4.*\",job!=\"node\"}",
        path,
    ];
    let one = run(&promtool, &one);
    let expected = source()
        .keys()
        .filter(|labels| {
            labels.metric_name() == Some("metric_1")
                && labels.value_or_empty("instance").starts_with("host-4")
                && labels.get("job") != Some("node")
        })
        .count();
    assert_eq!(one.lines().count(), expected * 300);
}
