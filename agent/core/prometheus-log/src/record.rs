//! The records of the logs: series definitions, samples, histograms, exemplars, metadata,
//! tombstones, markers.
//!
//! A record is read entry by entry, so what precedes a damaged entry is given out, and nothing of a
//! record is copied but labels' places and histograms.

use std::marker::PhantomData;
use std::sync::Arc;

use narthex_model::{Exemplar, Histogram, Labels, Metadata, MetricType};

use crate::RecordError;
use crate::cursor::Cursor;
use crate::histogram;

/// A record of `wal`, a checkpoint or `wbl`.
#[derive(Clone, Debug)]
pub enum Record<'a> {
    Series(Entries<'a, SeriesDefinition<'a>>),
    Samples(Entries<'a, FloatSample>),
    /// Of integer, float and custom buckets alike.
    Histograms(Entries<'a, HistogramSample>),
    Exemplars(Entries<'a, SeriesExemplar>),
    Metadata(Entries<'a, MetadataEntry<'a>>),
    Tombstones(Entries<'a, Tombstone>),
    MmapMarkers(Entries<'a, MmapMarker>),
    /// Of a type that no version up to 3.14 writes, or without any byte (0). To be passed over and
    /// counted.
    Unknown(u8),
}

impl<'a> Record<'a> {
    pub fn decode(bytes: &'a [u8]) -> Self {
        let Some((&kind, body)) = bytes.split_first() else {
            return Record::Unknown(0);
        };
        let (fixed, chained) = (Stamps::FixedUnread, Stamps::ChainedUnread);
        match kind {
            1 => Record::Series(Entries::new(body, fixed)),
            2 => Record::Samples(Entries::new(body, fixed)),
            3 => Record::Tombstones(Entries::new(body, fixed)),
            4 => Record::Exemplars(Entries::new(body, fixed)),
            5 => Record::MmapMarkers(Entries::new(body, fixed)),
            6 => Record::Metadata(Entries::new(body, fixed)),
            7 | 9 => Record::Histograms(Entries::new(body, fixed).with_integers()),
            8 | 10 => Record::Histograms(Entries::new(body, fixed)),
            11 => Record::Samples(Entries::new(body, chained)),
            12 => Record::Histograms(Entries::new(body, chained).with_integers()),
            13 => Record::Histograms(Entries::new(body, chained)),
            kind => Record::Unknown(kind),
        }
    }
}

/// A reference and the labels it stands for in what follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesDefinition<'a> {
    pub series: u64,
    /// Sorted by name, each name once, no value empty, whatever the record holds.
    pub labels: Vec<(&'a str, &'a str)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FloatSample {
    pub series: u64,
    pub timestamp_ms: i64,
    pub start_timestamp_ms: Option<i64>,
    pub value: f64,
}

/// Its buckets fit its spans; whether its counts make sense is for the store to judge, as with any
/// histogram. A stale marker is a histogram whose sum is the stale NaN.
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramSample {
    pub series: u64,
    pub timestamp_ms: i64,
    pub start_timestamp_ms: Option<i64>,
    pub histogram: Arc<Histogram>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct SeriesExemplar {
    pub series: u64,
    pub exemplar: Exemplar,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataEntry<'a> {
    pub series: u64,
    pub kind: MetricType,
    pub unit: &'a str,
    pub help: &'a str,
}

/// The samples of a series from `min_ms` to `max_ms`, both included, were deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tombstone {
    pub series: u64,
    pub min_ms: i64,
    pub max_ms: i64,
}

/// The out-of-order samples that the series has in `wbl` before this record were moved to a head
/// chunk. Who passes over samples it has already can pass over these markers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MmapMarker {
    pub series: u64,
    /// Of the head-chunk file; 0 where there was nothing to move.
    pub file: u32,
    /// Of the chunk in it.
    pub offset: u32,
}

/// The entries of a record. An entry that cannot be used is an error in its place; where the next
/// one begins is unknown after some errors, then the iterator ends.
#[derive(Clone, Debug)]
pub struct Entries<'a, T> {
    cursor: Cursor<'a>,
    layout: Layout,
    entry: PhantomData<T>,
}

impl SeriesDefinition<'_> {
    pub fn to_labels(&self) -> Labels {
        Labels::from_pairs(self.labels.iter().copied())
    }
}

impl MetadataEntry<'_> {
    pub fn to_metadata(&self) -> Metadata {
        Metadata {
            kind: self.kind,
            help: self.help.to_owned(),
            unit: self.unit.to_owned(),
        }
    }
}

impl Tombstone {
    /// Whether Prometheus dropped the series here, instead of deleting samples: its samples had
    /// gone to a block. What follows under the same labels is a new series, what is in blocks
    /// stays.
    pub fn drops_series(&self) -> bool {
        self.min_ms == i64::MIN && self.max_ms == i64::MAX
    }
}

impl<'a, T> Entries<'a, T> {
    pub(crate) fn new(body: &'a [u8], stamps: Stamps) -> Self {
        let layout = Layout {
            stamps,
            integers: false,
            short_references: false,
        };
        Entries {
            cursor: Cursor::new(body),
            layout,
            entry: PhantomData,
        }
    }

    pub(crate) fn with_short_references(mut self) -> Self {
        self.layout.short_references = true;
        self
    }

    fn with_integers(mut self) -> Self {
        self.layout.integers = true;
        self
    }
}

impl<'a, T: Entry<'a>> Iterator for Entries<'a, T> {
    type Item = Result<T, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.cursor.is_empty() {
            return None;
        }
        let entry = T::read(&mut self.cursor, &mut self.layout);
        if entry.as_ref().is_err_and(RecordError::ends_record) {
            self.cursor.close();
        }
        Some(entry)
    }
}

/// What of a record's layout is not settled by the kind of its entries.
#[derive(Clone, Debug)]
struct Layout {
    stamps: Stamps,
    /// Histograms have integer counts, bucket by bucket as a difference to the one before.
    integers: bool,
    /// Tombstones name their series by a number of variable length.
    short_references: bool,
}

/// How the entries' references and times are written.
#[derive(Clone, Debug)]
pub(crate) enum Stamps {
    /// As differences to a reference and a time at the record's start, which come next.
    FixedUnread,
    Fixed {
        series: u64,
        time_ms: i64,
    },
    /// With start timestamps, each entry against the one before; the first comes next.
    ChainedUnread,
    Chained(Chain),
}

/// References are differences to the entry before, times to the first entry's.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    first_time_ms: i64,
    first_start_ms: i64,
    series: u64,
    start_ms: i64,
}

struct Stamp {
    series: u64,
    timestamp_ms: i64,
    start_timestamp_ms: Option<i64>,
}

impl Stamps {
    fn read(&mut self, cursor: &mut Cursor<'_>) -> Result<Stamp, RecordError> {
        match self {
            Stamps::FixedUnread => {
                let (series, time_ms) = (cursor.big_endian()?, cursor.big_endian()? as i64);
                *self = Stamps::Fixed { series, time_ms };
                read_fixed(cursor, series, time_ms)
            }
            Stamps::Fixed { series, time_ms } => read_fixed(cursor, *series, *time_ms),
            Stamps::ChainedUnread => {
                let (chain, stamp) = Chain::begin(cursor)?;
                *self = Stamps::Chained(chain);
                Ok(stamp)
            }
            Stamps::Chained(chain) => chain.read(cursor),
        }
    }
}

fn read_fixed(cursor: &mut Cursor<'_>, series: u64, time_ms: i64) -> Result<Stamp, RecordError> {
    Ok(Stamp {
        series: series.wrapping_add_signed(cursor.signed()?),
        timestamp_ms: time_ms.wrapping_add(cursor.signed()?),
        start_timestamp_ms: None,
    })
}

impl Chain {
    fn begin(cursor: &mut Cursor<'_>) -> Result<(Self, Stamp), RecordError> {
        let series = cursor.signed()? as u64;
        let (first_time_ms, first_start_ms) = (cursor.signed()?, cursor.signed()?);
        let chain = Chain {
            first_time_ms,
            first_start_ms,
            series,
            start_ms: first_start_ms,
        };
        let stamp = chain.stamp(first_time_ms);
        Ok((chain, stamp))
    }

    fn read(&mut self, cursor: &mut Cursor<'_>) -> Result<Stamp, RecordError> {
        self.series = self.series.wrapping_add_signed(cursor.signed()?);
        let timestamp_ms = self.first_time_ms.wrapping_add(cursor.signed()?);
        self.start_ms = match cursor.byte()? {
            0 => 0,
            1 => self.start_ms,
            _ => self.first_start_ms.wrapping_add(cursor.signed()?),
        };
        Ok(self.stamp(timestamp_ms))
    }

    fn stamp(&self, timestamp_ms: i64) -> Stamp {
        Stamp {
            series: self.series,
            timestamp_ms,
            start_timestamp_ms: Some(self.start_ms).filter(|&start_ms| start_ms != 0),
        }
    }
}

/// What a record is a list of.
trait Entry<'a>: Sized {
    fn read(cursor: &mut Cursor<'a>, layout: &mut Layout) -> Result<Self, RecordError>;
}

impl<'a> Entry<'a> for SeriesDefinition<'a> {
    fn read(cursor: &mut Cursor<'a>, _: &mut Layout) -> Result<Self, RecordError> {
        read_definition(cursor)
    }
}

impl<'a> Entry<'a> for FloatSample {
    fn read(cursor: &mut Cursor<'a>, layout: &mut Layout) -> Result<Self, RecordError> {
        let stamp = layout.stamps.read(cursor)?;
        Ok(FloatSample {
            series: stamp.series,
            timestamp_ms: stamp.timestamp_ms,
            start_timestamp_ms: stamp.start_timestamp_ms,
            value: cursor.float()?,
        })
    }
}

impl<'a> Entry<'a> for HistogramSample {
    fn read(cursor: &mut Cursor<'a>, layout: &mut Layout) -> Result<Self, RecordError> {
        let stamp = layout.stamps.read(cursor)?;
        let histogram = histogram::read(cursor, layout.integers, stamp.series)?;
        Ok(HistogramSample {
            series: stamp.series,
            timestamp_ms: stamp.timestamp_ms,
            start_timestamp_ms: stamp.start_timestamp_ms,
            histogram: Arc::new(histogram),
        })
    }
}

impl<'a> Entry<'a> for SeriesExemplar {
    fn read(cursor: &mut Cursor<'a>, layout: &mut Layout) -> Result<Self, RecordError> {
        let stamp = layout.stamps.read(cursor)?;
        let value = cursor.float()?;
        let labels = read_labels(cursor, stamp.series)?;
        let exemplar = Exemplar {
            labels: Labels::from_pairs(labels),
            value,
            timestamp_ms: stamp.timestamp_ms,
        };
        Ok(SeriesExemplar {
            series: stamp.series,
            exemplar,
        })
    }
}

impl<'a> Entry<'a> for MetadataEntry<'a> {
    fn read(cursor: &mut Cursor<'a>, _: &mut Layout) -> Result<Self, RecordError> {
        let series = cursor.unsigned()?;
        let kind = metric_type(cursor.byte()?);
        let (mut unit, mut help) = (&b""[..], &b""[..]);
        for _ in 0..cursor.count(2)? {
            let (name, value) = (cursor.bytes()?, cursor.bytes()?);
            match name {
                b"UNIT" => unit = value,
                b"HELP" => help = value,
                _ => {}
            }
        }
        Ok(MetadataEntry {
            series,
            kind,
            unit: text(unit, series)?,
            help: text(help, series)?,
        })
    }
}

impl<'a> Entry<'a> for Tombstone {
    fn read(cursor: &mut Cursor<'a>, layout: &mut Layout) -> Result<Self, RecordError> {
        let series = match layout.short_references {
            true => cursor.unsigned()?,
            false => cursor.big_endian()?,
        };
        Ok(Tombstone {
            series,
            min_ms: cursor.signed()?,
            max_ms: cursor.signed()?,
        })
    }
}

impl<'a> Entry<'a> for MmapMarker {
    fn read(cursor: &mut Cursor<'a>, _: &mut Layout) -> Result<Self, RecordError> {
        let (series, place) = (cursor.big_endian()?, cursor.big_endian()?);
        Ok(MmapMarker {
            series,
            file: (place >> 32) as u32,
            offset: place as u32,
        })
    }
}

/// A reference with its labels, as it is written in the log and in snapshots.
pub(crate) fn read_definition<'a>(
    cursor: &mut Cursor<'a>,
) -> Result<SeriesDefinition<'a>, RecordError> {
    let series = cursor.big_endian()?;
    let labels = read_labels(cursor, series)?;
    if labels.is_empty() {
        return Err(RecordError::NoLabels { series });
    }
    Ok(SeriesDefinition { series, labels })
}

fn read_labels<'a>(
    cursor: &mut Cursor<'a>,
    series: u64,
) -> Result<Vec<(&'a str, &'a str)>, RecordError> {
    let count = cursor.count(2)?;
    let mut labels = Vec::with_capacity(count);
    let mut all_text = true;
    for _ in 0..count {
        let (name, value) = (cursor.bytes()?, cursor.bytes()?);
        match (str::from_utf8(name), str::from_utf8(value)) {
            (Ok(name), Ok(value)) => labels.push((name, value)),
            _ => all_text = false,
        }
    }
    if !all_text {
        return Err(RecordError::NotUtf8 { series });
    }
    put_in_order(&mut labels);
    Ok(labels)
}

/// Of labels with the same name the last counts, and an empty value is no label: what a label set
/// means everywhere else here.
fn put_in_order(labels: &mut Vec<(&str, &str)>) {
    labels.retain(|(_, value)| !value.is_empty());
    if labels.is_sorted_by(|a, b| a.0 < b.0) {
        return;
    }
    labels.reverse();
    labels.sort_by_key(|(name, _)| *name);
    labels.dedup_by_key(|(name, _)| *name);
}

fn text(bytes: &[u8], series: u64) -> Result<&str, RecordError> {
    str::from_utf8(bytes).map_err(|_| RecordError::NotUtf8 { series })
}

fn metric_type(code: u8) -> MetricType {
    match code {
        1 => MetricType::Counter,
        2 => MetricType::Gauge,
        3 => MetricType::Histogram,
        4 => MetricType::GaugeHistogram,
        5 => MetricType::Summary,
        6 => MetricType::Info,
        7 => MetricType::StateSet,
        _ => MetricType::Unknown,
    }
}
