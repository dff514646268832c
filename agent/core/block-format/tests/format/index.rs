//! Indexes that are written are read as they were written.

use std::collections::BTreeSet;

use narthex_block_format::{
    ChunkMeta, ChunkRef, IndexLayout, IndexVersion, IndexWriter, Part, ReadError, WriteError,
    intersect, merge, without,
};
use narthex_model::Labels;
use proptest::prelude::*;

use crate::model::{
    Content, Series, any_series, labels, put_number, put_section, put_text, sample_series,
    write_index, write_version_1,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn version_2_comes_back(series in any_series(60)) {
        let (bytes, references) = write_index(&series).unwrap();
        let layout = IndexLayout::open(&bytes).unwrap();
        prop_assert_eq!(layout.version(), IndexVersion::V2);
        let index = layout.reader(&bytes);
        prop_assert_eq!(Content::read(&index), Ok(Content::of(&series)));
        prop_assert_eq!(index.all_postings().unwrap().collect::<Vec<_>>(), references);
    }

    #[test]
    fn version_1_comes_back(series in any_series(60)) {
        let bytes = write_version_1(&series);
        let layout = IndexLayout::open(&bytes).unwrap();
        prop_assert_eq!(layout.version(), IndexVersion::V1);
        let read = Content::read(&layout.reader(&bytes));
        prop_assert_eq!(read, Ok(Content::of(&series)));
    }

    #[test]
    fn sets_of_series(lists in proptest::collection::vec(any_list(), 1..6)) {
        // Each list becomes the series that have a label.
        let series = series_with_lists(&lists);
        let (bytes, references) = write_index(&series).unwrap();
        let layout = IndexLayout::open(&bytes).unwrap();
        let index = layout.reader(&bytes);
        let postings: Vec<_> = (0..lists.len())
            .map(|list| index.postings(&format!("list{list}"), "y").unwrap())
            .collect();
        let of = |accept: &dyn Fn(usize) -> bool| {
            let found = (0..SETS).filter(|&rank| accept(rank));
            found.map(|rank| references[rank]).collect::<Vec<u32>>()
        };
        let any = |rank: usize| lists.iter().any(|list| list.contains(&rank));
        prop_assert_eq!(merge(&postings), of(&any));
        let all = |rank: usize| lists.iter().all(|list| list.contains(&rank));
        prop_assert_eq!(intersect(&postings), of(&all));
        let rest = without(references.clone(), &postings[0]);
        prop_assert_eq!(rest, of(&|rank| !lists[0].contains(&rank)));
        for at_least in [0, references[SETS / 2], references[SETS / 2] + 1, u32::MAX] {
            let mut skipped = postings[0];
            skipped.seek(at_least);
            let expected: Vec<u32> = postings[0].filter(|&r| r >= at_least).collect();
            prop_assert_eq!(skipped.collect::<Vec<_>>(), expected);
        }
    }
}

const SETS: usize = 300;

fn any_list() -> impl Strategy<Value = BTreeSet<usize>> {
    prop_oneof![
        proptest::collection::btree_set(0..SETS, 0..4),
        proptest::collection::btree_set(0..SETS, 0..SETS),
    ]
}

fn series_with_lists(lists: &[BTreeSet<usize>]) -> Series {
    let one = |rank: usize| {
        let has = lists
            .iter()
            .enumerate()
            .filter(|(_, list)| list.contains(&rank));
        let pairs = has.map(|(list, _)| (format!("list{list}"), "y".to_owned()));
        let number = [("a".to_owned(), format!("{rank:04}"))];
        (
            Labels::from_pairs(number.into_iter().chain(pairs)),
            Vec::new(),
        )
    };
    (0..SETS).map(one).collect()
}

#[test]
fn many_values_of_many_names() {
    let mut series = Series::new();
    for number in 0..2000 {
        let pairs = [
            ("__name__", format!("metric_{}", number % 70)),
            ("id", format!("{number:x}")),
            ("host", format!("host-{}", number % 33)),
        ];
        series.insert(Labels::from_pairs(pairs), Vec::new());
    }
    for bytes in [write_index(&series).unwrap().0, write_version_1(&series)] {
        let layout = IndexLayout::open(&bytes).unwrap();
        let index = layout.reader(&bytes);
        assert_eq!(Content::read(&index), Ok(Content::of(&series)));
        assert_eq!(index.label_values("id").unwrap().len(), 2000);
        let ids: BTreeSet<String> = (0..2000).map(|number| format!("{number:x}")).collect();
        for prefix in [
            "",
            "1",
            "7c",
            "7cf",
            "7cf0",
            "a",
            "f",
            "fff",
            "g",
            "\u{10ffff}",
        ] {
            let values = index.label_values_with_prefix("id", prefix).unwrap();
            let count = values.len();
            let values: Vec<&str> = values.map(Result::unwrap).collect();
            let expected: Vec<&String> = ids.iter().filter(|id| id.starts_with(prefix)).collect();
            assert_eq!(values, expected, "{prefix}");
            assert_eq!(count, expected.len());
        }
        for (name, value) in [
            ("id", "0x"),
            ("id", ""),
            ("id", "\u{10ffff}"),
            ("host", "host-33"),
            ("ho", "host-1"),
            ("zzz", "host-1"),
            ("", "a"),
        ] {
            let postings = index.postings(name, value).unwrap();
            assert!(postings.is_empty(), "{name}={value}");
        }
        for text in ["", "host-", "host-01", "metric_700", "\u{10ffff}"] {
            assert_eq!(index.find_symbol(text), Ok(None), "{text}");
        }
    }
}

#[test]
fn an_empty_index() {
    let (bytes, _) = write_index(&Series::new()).unwrap();
    let layout = IndexLayout::open(&bytes).unwrap();
    let index = layout.reader(&bytes);
    assert_eq!(Content::read(&index), Ok(Content::of(&Series::new())));
    assert_eq!(index.label_names().count(), 0);
}

#[test]
fn series_are_aligned_and_told_apart() {
    let (bytes, references) = write_index(&sample_series()).unwrap();
    let layout = IndexLayout::open(&bytes).unwrap();
    let index = layout.reader(&bytes);
    assert_eq!(Content::read(&index), Ok(Content::of(&sample_series())));
    let mut entry = Default::default();
    let last = references.last().unwrap();
    let out_of_bounds = |reference: u32| ReadError::OutOfBounds {
        part: Part::Series,
        offset: u64::from(reference) * 16,
    };
    for reference in [0, last + 50, u32::MAX] {
        let read = index.series(reference, &mut entry);
        assert_eq!(read, Err(out_of_bounds(reference)));
    }
}

#[test]
fn a_newer_version_is_named() {
    let (mut bytes, _) = write_index(&sample_series()).unwrap();
    bytes[4] = 3;
    assert_eq!(
        IndexLayout::open(&bytes).unwrap().version(),
        IndexVersion::V2
    );
    bytes[4] = 4;
    let error = IndexLayout::open(&bytes).unwrap_err();
    assert_eq!(
        error.to_string(),
        "index header: version 4 is unknown, versions up to 3 can be read"
    );
}

#[test]
fn what_the_writer_refuses() {
    let chunk = |min_ms, max_ms| ChunkMeta {
        min_ms,
        max_ms,
        chunk_ref: ChunkRef(8),
    };
    type Given<'a> = (&'a [(u32, u32)], &'a [ChunkMeta]);
    let cases: [(&[&str], &[Given<'_>], &str); 9] = [
        (
            &["b", "a"],
            &[],
            "symbols of the index: entry 1 is not greater",
        ),
        (
            &["a", "a"],
            &[],
            "symbols of the index: entry 1 is not greater",
        ),
        (
            &["a", "b"],
            &[(&[(0, 2)], &[])],
            "entry 0: a label's symbol doesn't exist",
        ),
        (
            &["a", "b"],
            &[(&[(1, 0), (0, 0)], &[])],
            "entry 0: its labels aren't sorted",
        ),
        (
            &["a", "b"],
            &[(&[(0, 0), (0, 1)], &[])],
            "entry 0: its labels aren't sorted",
        ),
        (&["", "b"], &[(&[(1, 0)], &[])], "name or value is empty"),
        (
            &["a", "b"],
            &[(&[(0, 1)], &[]), (&[(0, 1)], &[])],
            "entry 1 is not greater",
        ),
        (
            &["a"],
            &[(&[(0, 0)], &[chunk(2, 1)])],
            "a chunk ends before it starts",
        ),
        (
            &["a"],
            &[(&[(0, 0)], &[chunk(1, 2), chunk(2, 3)])],
            "a chunk starts before the one before it ends",
        ),
    ];
    for (symbols, series, expected) in cases {
        let written = || -> Result<(), WriteError> {
            let mut writer = IndexWriter::new(Vec::new(), symbols)?;
            for (labels, chunks) in series {
                writer.add_series(labels, chunks)?;
            }
            writer.finish().map(|_| ())
        };
        let error = written().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

/// What has right checksums and is wrong all the same.
#[test]
fn wrong_tables_are_named() {
    let index = |symbols: &[&str], pairs: &[(u64, &str, &str)]| {
        let mut out = vec![0xba, 0xaa, 0xd7, 0x00, 2];
        let mut body = (symbols.len() as u32).to_be_bytes().to_vec();
        symbols
            .iter()
            .for_each(|symbol| put_text(&mut body, symbol));
        put_section(&mut out, &body);
        let table = out.len() as u64;
        let mut body = (pairs.len() as u32).to_be_bytes().to_vec();
        for (keys, name, value) in pairs {
            put_number(&mut body, *keys);
            put_text(&mut body, name);
            put_text(&mut body, value);
            put_number(&mut body, 5);
        }
        put_section(&mut out, &body);
        let contents: Vec<u8> = [5, 0, 0, 0, 0, table]
            .into_iter()
            .flat_map(u64::to_be_bytes)
            .collect();
        out.extend_from_slice(&contents);
        out.extend_from_slice(&crc32c::crc32c(&contents).to_be_bytes());
        out
    };
    let open = |bytes: &[u8]| IndexLayout::open(bytes).map(|_| ());
    assert_eq!(open(&index(&["a", "b"], &[(2, "a", "b")])), Ok(()));
    assert_eq!(open(&index(&[], &[(2, "b", "b"), (2, "a", "a")])), Ok(()));
    assert_eq!(
        open(&index(&["b", "a"], &[])),
        Err(ReadError::Unsorted {
            part: Part::Symbols,
            offset: 15
        })
    );
    let error = open(&index(&[], &[(3, "a", "b")])).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("isn't of one name and one value"),
        "{error}"
    );
    let error = open(&index(&[], &[(2, "a", "b"), (2, "a", "b")])).unwrap_err();
    assert!(error.to_string().contains("listed twice"), "{error}");
}

#[test]
fn a_mislabelled_index_is_read_as_what_it_is() {
    let series = Series::from([(labels(&[("a", "1")]), Vec::new())]);
    let (mut bytes, _) = write_index(&series).unwrap();
    bytes[4] = 1;
    let layout = IndexLayout::open_as(&bytes, IndexVersion::V2).unwrap();
    let read = Content::read(&layout.reader(&bytes));
    assert_eq!(read, Ok(Content::of(&series)));
}

/// Prometheus once wrote chunks of a series that overlap.
#[test]
fn chunks_that_overlap_are_read() {
    let chunk = |min_ms, max_ms, offset| ChunkMeta {
        min_ms,
        max_ms,
        chunk_ref: ChunkRef(offset),
    };
    let chunks = vec![
        chunk(0, 100, 900),
        chunk(50, 120, 8),
        chunk(-7, -7, u64::MAX),
    ];
    let series = Series::from([(labels(&[("a", "1")]), chunks)]);
    let bytes = write_version_1(&series);
    let layout = IndexLayout::open(&bytes).unwrap();
    let read = Content::read(&layout.reader(&bytes));
    assert_eq!(read, Ok(Content::of(&series)));
}
