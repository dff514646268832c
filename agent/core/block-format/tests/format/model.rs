//! An index as plain maps: what the tests write, and what they compare with what was read.

use std::collections::{BTreeMap, BTreeSet};

use narthex_block_format::{
    ChunkMeta, ChunkRef, IndexReader, IndexWriter, ReadError, SeriesEntry, WriteError,
};
use narthex_model::Labels;
use proptest::prelude::*;

pub(crate) type Series = BTreeMap<Labels, Vec<ChunkMeta>>;

/// All that can be asked of an index without matchers, in plain types.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Content {
    pub(crate) symbols: Vec<String>,
    pub(crate) series: Series,
    /// By name and value, the ranks of the series that have them; "" and "" is all series.
    pub(crate) postings: BTreeMap<(String, String), Vec<usize>>,
}

impl Content {
    pub(crate) fn of(series: &Series) -> Self {
        let mut content = Content {
            series: series.clone(),
            ..Content::default()
        };
        let mut symbols = BTreeSet::new();
        let all = (0..series.len()).collect();
        content.postings.insert((String::new(), String::new()), all);
        for (rank, labels) in series.keys().enumerate() {
            for label in labels.iter() {
                let (name, value) = (label.name.to_string(), label.value.to_string());
                symbols.extend([name.clone(), value.clone()]);
                content
                    .postings
                    .entry((name, value))
                    .or_default()
                    .push(rank);
            }
        }
        content.symbols = symbols.into_iter().collect();
        content
    }

    /// Asks everything, by every way.
    pub(crate) fn read(index: &IndexReader<'_>) -> Result<Self, ReadError> {
        let mut content = Content::default();
        for symbol in index.symbols() {
            let (reference, text) = symbol?;
            assert_eq!(index.symbol(reference)?, text);
            assert_eq!(index.find_symbol(text)?, Some(reference));
            content.symbols.push(text.to_owned());
        }
        let all: Vec<u32> = index.all_postings()?.collect();
        let mut entry = SeriesEntry::default();
        for &series in &all {
            index.series(series, &mut entry)?;
            let labels: Result<Vec<_>, _> = index.labels(&entry).collect();
            let labels = Labels::from_pairs(labels?);
            content.series.insert(labels, entry.chunks.clone());
        }
        let rank = |series: &u32| all.binary_search(series).unwrap_or(usize::MAX);
        let key = (String::new(), String::new());
        content.postings.insert(key, (0..all.len()).collect());
        for name in index.label_names() {
            let name = name?;
            for value in index.label_values(name)? {
                let value = value?;
                let postings: Vec<u32> = index.postings(name, value)?.collect();
                let ranks = postings.iter().map(rank).collect();
                content
                    .postings
                    .insert((name.to_owned(), value.to_owned()), ranks);
            }
        }
        Ok(content)
    }
}

/// The bytes of an index with these series, and what refers to each.
pub(crate) fn write_index(series: &Series) -> Result<(Vec<u8>, Vec<u32>), WriteError> {
    let mut writer = IndexWriter::new(Vec::new(), Content::of(series).symbols)?;
    let mut references = Vec::new();
    for (labels, chunks) in series {
        let symbol = |text: &str| writer.symbol(text).expect("all symbols were given");
        let pairs: Vec<_> = labels
            .iter()
            .map(|label| (symbol(&label.name), symbol(&label.value)))
            .collect();
        references.push(writer.add_series(&pairs, chunks)?);
    }
    let (bytes, stats) = writer.finish()?;
    assert_eq!(stats.series, series.len() as u64);
    assert_eq!(stats.size_bytes, bytes.len() as u64);
    Ok((bytes, references))
}

pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied())
}

/// A few series that have every kind of number and text in them.
pub(crate) fn sample_series() -> Series {
    let chunk = |min_ms, max_ms, segment, offset| ChunkMeta {
        min_ms,
        max_ms,
        chunk_ref: ChunkRef::new(segment, offset),
    };
    Series::from([
        (
            labels(&[("__name__", "up"), ("instance", "a:9100"), ("job", "node")]),
            vec![chunk(1000, 2000, 0, 8), chunk(2001, 900_000, 0, 300)],
        ),
        (
            labels(&[("__name__", "up"), ("instance", "b:9100"), ("job", "node")]),
            vec![chunk(-5, 1, 0, 900), chunk(2, 2, 3, 8)],
        ),
        (
            labels(&[("__name__", "up"), ("instance", "ü:9100")]),
            vec![chunk(i64::MIN, i64::MAX, u32::MAX, u32::MAX)],
        ),
        (labels(&[("only", "one")]), Vec::new()),
    ])
}

/// The same series as an index of version 1, whose postings table isn't sorted.
pub(crate) fn write_version_1(series: &Series) -> Vec<u8> {
    let content = Content::of(series);
    let mut out = vec![0xba, 0xaa, 0xd7, 0x00, 1];
    let mut body = (content.symbols.len() as u32).to_be_bytes().to_vec();
    let mut symbol_at = BTreeMap::new();
    for symbol in &content.symbols {
        symbol_at.insert(symbol.as_str(), (out.len() + 4 + body.len()) as u64);
        put_text(&mut body, symbol);
    }
    let symbols_start = out.len();
    put_section(&mut out, &body);
    let series_start = out.len();
    let mut references = Vec::new();
    for (labels, chunks) in series {
        references.push(out.len() as u32);
        put_version_1_series(&mut out, labels, chunks, &symbol_at);
    }
    let postings_start = out.len();
    let mut table = Vec::new();
    for (pair, ranks) in &content.postings {
        table.push((pair, out.len()));
        let mut body = (ranks.len() as u32).to_be_bytes().to_vec();
        body.extend(
            ranks
                .iter()
                .flat_map(|&rank| references[rank].to_be_bytes()),
        );
        put_section(&mut out, &body);
    }
    table.reverse();
    let table_start = out.len();
    let mut body = (table.len() as u32).to_be_bytes().to_vec();
    for ((name, value), offset) in table {
        body.push(2);
        put_text(&mut body, name);
        put_text(&mut body, value);
        put_number(&mut body, offset as u64);
    }
    put_section(&mut out, &body);
    let contents = [
        symbols_start,
        series_start,
        0,
        0,
        postings_start,
        table_start,
    ];
    let contents: Vec<u8> = contents
        .iter()
        .flat_map(|&at| (at as u64).to_be_bytes())
        .collect();
    out.extend_from_slice(&contents);
    out.extend_from_slice(&crc32c::crc32c(&contents).to_be_bytes());
    out
}

fn put_version_1_series(
    out: &mut Vec<u8>,
    labels: &Labels,
    chunks: &[ChunkMeta],
    symbol_at: &BTreeMap<&str, u64>,
) {
    let mut body = Vec::new();
    put_number(&mut body, labels.len() as u64);
    for label in labels.iter() {
        put_number(&mut body, symbol_at[&*label.name]);
        put_number(&mut body, symbol_at[&*label.value]);
    }
    put_number(&mut body, chunks.len() as u64);
    let zigzag = |number: i64| ((number << 1) ^ (number >> 63)) as u64;
    let mut previous: Option<&ChunkMeta> = None;
    for chunk in chunks {
        let span = chunk.max_ms.wrapping_sub(chunk.min_ms) as u64;
        match previous {
            None => put_number(&mut body, zigzag(chunk.min_ms)),
            Some(p) => put_number(&mut body, chunk.min_ms.wrapping_sub(p.max_ms) as u64),
        }
        put_number(&mut body, span);
        match previous {
            None => put_number(&mut body, chunk.chunk_ref.0),
            Some(p) => {
                let step = chunk.chunk_ref.0.wrapping_sub(p.chunk_ref.0);
                put_number(&mut body, zigzag(step as i64));
            }
        }
        previous = Some(chunk);
    }
    put_number(out, body.len() as u64);
    out.extend_from_slice(&body);
    out.extend_from_slice(&crc32c::crc32c(&body).to_be_bytes());
}

pub(crate) fn put_section(out: &mut Vec<u8>, body: &[u8]) {
    out.extend_from_slice(&(body.len() as u32).to_be_bytes());
    out.extend_from_slice(body);
    out.extend_from_slice(&crc32c::crc32c(body).to_be_bytes());
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_number(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

pub(crate) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Few names and values, so that series share them.
pub(crate) fn any_labels() -> impl Strategy<Value = Labels> {
    let name = prop_oneof!["[a-d]", "__name__", "[é世]"];
    let value = prop_oneof!["[ab]{1,2}", "[0-9]{1,3}", "[é世x]{1,40}"];
    proptest::collection::btree_map(name, value, 1..5).prop_map(Labels::from_pairs)
}

pub(crate) fn any_chunks() -> impl Strategy<Value = Vec<ChunkMeta>> {
    let steps = proptest::collection::vec((1i64..1 << 40, 0i64..1 << 20, any::<u64>()), 0..5);
    (any::<i32>(), steps).prop_map(|(start_ms, steps)| {
        let mut min_ms = i64::from(start_ms);
        let chunks = steps.into_iter().map(|(gap_ms, span_ms, reference)| {
            let chunk = ChunkMeta {
                min_ms,
                max_ms: min_ms + span_ms,
                chunk_ref: ChunkRef(reference),
            };
            min_ms = chunk.max_ms + gap_ms;
            chunk
        });
        chunks.collect()
    })
}

pub(crate) fn any_series(most: usize) -> impl Strategy<Value = Series> {
    proptest::collection::btree_map(any_labels(), any_chunks(), 0..most)
}
