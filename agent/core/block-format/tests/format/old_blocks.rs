//! Blocks that old Prometheus versions left behind.

use std::path::{Path, PathBuf};

use narthex_block_format::segment::{check_header, read_chunk};
use narthex_block_format::{
    BlockMeta, IndexLayout, IndexVersion, SeriesEntry, Tombstones, matching,
};
use narthex_chunk::{Encoding, decode_floats};
use narthex_model::{Labels, MatchOp, Matcher};

use crate::model::{Content, labels};

fn folder(name: &str) -> Option<PathBuf> {
    let Some(data) = std::env::var_os("CONFORMANCE_DIR") else {
        println!("skipped: CONFORMANCE_DIR is not set");
        return None;
    };
    Some(Path::new(&data).join("tsdb").join(name))
}

#[test]
fn version_1() {
    let Some(folder) = folder("index_format_v1") else {
        return;
    };
    let meta = BlockMeta::read(&std::fs::read(folder.join("meta.json")).unwrap()).unwrap();
    assert_eq!((meta.min_time_ms, meta.max_time_ms), (0, 7_200_000));
    let bytes = std::fs::read(folder.join("index")).unwrap();
    let layout = IndexLayout::open(&bytes).unwrap();
    assert_eq!(layout.version(), IndexVersion::V1);
    let index = layout.reader(&bytes);

    let mut expected: Vec<Labels> = (0..100)
        .map(|number| labels(&[("bar", &number.to_string())]))
        .collect();
    expected.extend([labels(&[("foo", "bar")]), labels(&[("foo", "baz")])]);
    let content = Content::read(&index).unwrap();
    let found: Vec<&Labels> = content.series.keys().collect();
    expected.sort();
    assert_eq!(found.len() as u64, meta.stats.num_series);
    assert_eq!(found, expected.iter().collect::<Vec<_>>());
    let values: Result<Vec<&str>, _> = index.label_values("bar").unwrap().collect();
    let values = values.unwrap();
    assert!(values.is_sorted() && values.len() == 100);

    let sevens = Matcher::new("bar", MatchOp::Regex, "7|.*7").unwrap();
    assert_eq!(matching(&index, &[sevens]).unwrap().len(), 10);

    let segment = std::fs::read(folder.join("chunks/000001")).unwrap();
    check_header(&segment).unwrap();
    let mut samples = 0;
    for chunk in content.series.values().flatten() {
        assert_eq!(chunk.chunk_ref.segment(), 0);
        let read = read_chunk(&segment, chunk.chunk_ref.offset()).unwrap();
        let (mut timestamps_ms, mut values) = (Vec::new(), Vec::new());
        let encoding = Encoding::from_code(read.encoding).unwrap();
        decode_floats(encoding, read.data, &mut timestamps_ms, &mut values).unwrap();
        assert_eq!(timestamps_ms.first(), Some(&chunk.min_ms));
        assert_eq!(timestamps_ms.last(), Some(&chunk.max_ms));
        samples += timestamps_ms.len() as u64;
    }
    assert_eq!(samples, meta.stats.num_samples);
    let tombstones = std::fs::read(folder.join("tombstones")).unwrap();
    assert!(Tombstones::read(&tombstones).unwrap().is_empty());
}

#[test]
fn version_2_that_says_1() {
    let Some(folder) = folder("repair_index_version/01BZJ9WJQPWHGNC2W4J9TA62KC") else {
        return;
    };
    let meta = BlockMeta::read(&std::fs::read(folder.join("meta.json")).unwrap()).unwrap();
    assert!(meta.has_mislabelled_index());
    let bytes = std::fs::read(folder.join("index")).unwrap();
    let layout = IndexLayout::open_as(&bytes, IndexVersion::V2).unwrap();
    let index = layout.reader(&bytes);
    let values: Result<Vec<&str>, _> = index.label_values("b").unwrap().collect();
    assert_eq!(values.unwrap(), ["1"]);
    let found: Vec<u32> = index.postings("b", "1").unwrap().collect();
    let mut entry = SeriesEntry::default();
    let mut read = |reference: u32| {
        index.series(reference, &mut entry).unwrap();
        let pairs: Result<Vec<_>, _> = index.labels(&entry).collect();
        Labels::from_pairs(pairs.unwrap())
    };
    assert_eq!(read(2), labels(&[("a", "1"), ("b", "1")]));
    assert_eq!(read(3), labels(&[("a", "2"), ("b", "1")]));
    assert_eq!(found, [2, 3]);
}
