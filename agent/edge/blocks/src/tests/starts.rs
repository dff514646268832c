//! Start timestamps through everything that is done to blocks.

use std::collections::BTreeMap;

use narthex_block_format::SeriesEntry;
use narthex_chunk::Encoding;
use narthex_model::histogram::CounterReset;
use narthex_model::{Labels, SampleValue};
use narthex_storage::{Column, Queryable, Series, StorageError};
use proptest::prelude::*;

use super::common::*;
use crate::verify::verify;
use crate::{Blocks, NewBlock, WriteOptions, merge, steady};

type Starts = BTreeMap<i64, i64>;

/// A series whose counters' starts are known.
struct Started {
    series: Box<dyn Series>,
    starts: Starts,
}

impl Series for Started {
    fn labels(&self) -> &Labels {
        self.series.labels()
    }

    fn visit(&self, visit: &mut dyn FnMut(Column<'_>)) -> Result<(), StorageError> {
        self.series.visit(visit)
    }

    fn visit_with_starts(
        &self,
        visit: &mut dyn FnMut(Column<'_>, &[i64]),
    ) -> Result<(), StorageError> {
        self.series.visit(&mut |column| {
            let starts: Vec<i64> = times(column).iter().map(|t| self.starts[t]).collect();
            match starts.iter().all(|start| *start == 0) {
                true => visit(column, &[]),
                false => visit(column, &starts),
            }
        })
    }

    fn time_range_ms(&self) -> Option<(i64, i64)> {
        self.series.time_range_ms()
    }
}

fn times<'a>(column: Column<'a>) -> &'a [i64] {
    let (Column::Floats { timestamps_ms, .. } | Column::Histograms { timestamps_ms, .. }) = column;
    timestamps_ms
}

/// Times with what was counted by then and since when, and whether it is a histogram.
type Told = BTreeMap<i64, (u32, i64, bool)>;

fn series(told: &Told) -> Box<dyn Series> {
    let value = |count: u32, is_histogram: bool| match is_histogram {
        true => SampleValue::Histogram(histogram(count, CounterReset::Unknown)),
        false => SampleValue::Float(f64::from(count)),
    };
    let samples = told
        .iter()
        .map(|(t, (count, _, kind))| (*t, value(*count, *kind)));
    Box::new(Started {
        series: TestSeries::boxed(&labels(&[("n", "x")]), &samples.collect()),
        starts: told.iter().map(|(t, (_, start, _))| (*t, *start)).collect(),
    })
}

fn put(blocks: &Blocks, told: &Told, range_ms: (i64, i64)) {
    let new = NewBlock::first_level(range_ms.0, range_ms.1, &[]);
    blocks.write(&new, [Ok(series(told))], &steady).unwrap();
}

fn read(series: &[Box<dyn Series>]) -> Told {
    let mut told = Told::new();
    for series in series {
        let visited = series.visit_with_starts(&mut |column, starts| {
            assert!(starts.is_empty() || starts.len() == times(column).len());
            for (at, time) in times(column).iter().enumerate() {
                let (count, is_histogram) = match column {
                    Column::Floats { values, .. } => (values[at] as u32, false),
                    Column::Histograms { values, .. } => ((values[at].sum / 1.5) as u32, true),
                };
                let start = starts.get(at).copied().unwrap_or(0);
                assert!(told.insert(*time, (count, start, is_histogram)).is_none());
            }
        });
        visited.unwrap();
    }
    told
}

fn all(blocks: &Blocks, start_ms: i64, end_ms: i64) -> Told {
    read(&blocks.select(&select(&[], start_ms, end_ms)).unwrap())
}

fn encodings(blocks: &Blocks) -> Vec<Encoding> {
    let mut encodings = Vec::new();
    for block in blocks.loaded().iter() {
        assert_eq!(
            verify(block, &steady).unwrap().problems,
            Vec::<String>::new()
        );
        let mut entry = SeriesEntry::default();
        let first = block.index().all_postings().unwrap().next().unwrap();
        block.index().series(first, &mut entry).unwrap();
        for chunk in &entry.chunks {
            let chunk = block.chunk(chunk.chunk_ref).unwrap();
            encodings.push(Encoding::from_code(chunk.encoding).unwrap());
        }
    }
    encodings
}

#[test]
fn only_what_has_starts_is_written_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let blocks = Blocks::open(
        folder.path(),
        crate::Options {
            merge_overlaps: true,
            write: WriteOptions::default(),
        },
        metrics(),
    )
    .unwrap();
    let told = |range: std::ops::Range<i64>, start: i64, is_histogram: bool| -> Told {
        range
            .map(|t| (t, (t as u32, start, is_histogram)))
            .collect()
    };
    let mut content = told(0..100, 0, false);
    put(&blocks, &content, (0, 1000));
    assert_eq!(encodings(&blocks), [Encoding::Xor]);
    // A start that stays, another one, none, then histograms with and without.
    for (range, start, is_histogram) in [
        (1000..1100, 7, false),
        (1100..1200, 8, false),
        (1200..1300, 0, false),
        (1300..1400, 1300, true),
        (1400..1500, 0, true),
    ] {
        content.append(&mut told(range, start, is_histogram));
    }
    put(&blocks, &content.clone().split_off(&1000), (1000, 2000));
    let expected = [
        Encoding::Xor,
        Encoding::Xor2,
        Encoding::Xor2,
        Encoding::Xor,
        Encoding::HistogramStart,
    ];
    assert_eq!(encodings(&blocks), expected);
    assert_eq!(all(&blocks, 0, i64::MAX), content);
    let part: Told = content.range(1050..=1350).map(|(t, v)| (*t, *v)).collect();
    assert_eq!(all(&blocks, 1050, 1350), part);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 60, ..ProptestConfig::default() })]

    /// Blocks that overlap, written, read joined, and compacted.
    #[test]
    fn starts_stay_with_their_samples(
        runs in prop::collection::vec((1i64..120, 0i64..4, any::<bool>(), any::<bool>()), 1..30),
    ) {
        let mut parts = [Told::new(), Told::new()];
        let mut whole = Told::new();
        let mut time = 0;
        for (length, start, is_histogram, first) in runs {
            for _ in 0..length.min(2999 - time) {
                time += 1;
                let sample = (time as u32, start, is_histogram);
                parts[usize::from(first)].insert(time, sample);
                whole.insert(time, sample);
            }
        }
        let sources = parts.iter().filter(|part| !part.is_empty());
        let merged = merge(sources.clone().map(|part| vec![series(part)]).collect());
        prop_assert_eq!(&read(&merged), &whole);
        let folder = tempfile::tempdir().unwrap();
        let blocks = open(folder.path());
        for part in sources {
            for start in [0, 1000, 2000] {
                let inside: Told = part.range(start..start + 1000).map(|(t, v)| (*t, *v)).collect();
                if !inside.is_empty() {
                    put(&blocks, &inside, (start, start + 1000));
                }
            }
        }
        prop_assert_eq!(&all(&blocks, 0, i64::MAX), &whole);
        put(&blocks, &Told::from([(9000, (1, 5, false))]), (9000, 10_000));
        blocks.compact(&[1000, 3000, 9000], &steady).unwrap();
        prop_assert!(blocks.loaded().len() <= 4);
        encodings(&blocks);
        prop_assert_eq!(&all(&blocks, 0, 8999), &whole);
        blocks.delete(&[], 500, 1500).unwrap();
        blocks.clean_tombstones(&steady).unwrap();
        whole.retain(|time, _| !(500..=1500).contains(time));
        prop_assert_eq!(&all(&blocks, 0, 8999), &whole);
    }
}
