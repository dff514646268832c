//! Blocks of old versions of Prometheus.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use narthex_block_format::IndexVersion;

use super::common::*;
use crate::{Block, repair};

fn conformance(name: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("CONFORMANCE_DIR") else {
        println!("skipped: CONFORMANCE_DIR is not set");
        return None;
    };
    Some(Path::new(&folder).join("tsdb").join(name))
}

#[test]
fn a_block_with_an_index_of_version_1() {
    let Some(path) = conformance("index_format_v1") else {
        return;
    };
    let block = Arc::new(Block::open(&path).unwrap());
    assert_eq!(block.index_version(), IndexVersion::V1);
    let found = content(&block.select(&select(&[], i64::MIN, i64::MAX)).unwrap());
    let stats = block.meta().stats.clone();
    assert_eq!(found.len() as u64, stats.num_series);
    let samples = found
        .values()
        .map(|samples| samples.len() as u64)
        .sum::<u64>();
    assert_eq!(samples, stats.num_samples);
    let names = block
        .label_names(&label_query(&[], i64::MIN, i64::MAX))
        .unwrap();
    assert!(!names.is_empty());
}

#[test]
fn an_index_of_version_2_that_says_1() {
    const NAME: &str = "01BZJ9WJQPWHGNC2W4J9TA62KC";
    let Some(path) = conformance("repair_index_version") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join(NAME);
    fs::create_dir(&copy).unwrap();
    for file in ["index", "meta.json"] {
        fs::copy(path.join(NAME).join(file), copy.join(file)).unwrap();
    }
    // It can be read as it is, too.
    let b = [narthex_model::Matcher::equal("b", "1")];
    let series = |block: &Block| block.matching(&b).unwrap().len();
    let before = Block::open(&copy).unwrap();
    assert_eq!(series(&before), 2);
    // Its index has no list of all series.
    assert_eq!(before.matching(&[]).unwrap().len(), 0);
    assert_eq!(before.all_series().unwrap().len(), 2);
    let blocks = open(folder.path());
    assert!(blocks.unreadable().is_empty());
    assert_eq!(series(&blocks.loaded()[0]), series(&before));
    assert_eq!(blocks.loaded()[0].meta().version, 1);
    assert_eq!(fs::read(copy.join("index")).unwrap()[4], 2);
    assert!(!repair::repair(&copy).unwrap(), "it is done once");
}
