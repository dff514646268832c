//! Takes over what Prometheus keeps beside its blocks: its log, its out-of-order log, its head
//! chunks and snapshots.
//!
//! Read in the order that `narthex-prometheus-log` asks for. What ends before the newest block does
//! is in the blocks and passed over, but for samples that came late.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use narthex_head::Import;
use narthex_mapped_file::MappedFile;
use narthex_model::{Labels, MetricType};
use narthex_prometheus_log::head_chunks;
use narthex_prometheus_log::{
    HeadChunkFile, LogFile, MetadataEntry, Plan, Record, RecordError, SegmentReader,
    SeriesExemplar, Snapshot, SnapshotRecord, Tombstone, WhyIgnored, plan,
};

use crate::disk::with_path;

/// What was taken over.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) series: u64,
    pub(crate) samples: u64,
    /// Places that could not be read.
    pub(crate) damages: u64,
    /// Samples and chunks whose series is not defined anywhere.
    pub(crate) unknown: u64,
}

/// Files and folders in the data folder that are Prometheus's head, without its blocks.
pub(crate) fn entries(data: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(data).map_err(|e| with_path(&e, data))? {
        let path = entry.map_err(|e| with_path(&e, data))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_head = matches!(&*name, "wal" | "wbl" | "chunks_head");
        if path.is_dir() && (is_head || name.starts_with("chunk_snapshot.")) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Reads them into the head. `between` is called now and then.
pub(crate) fn take_over(
    data: &Path,
    blocks_end_ms: Option<i64>,
    import: &Import<'_>,
    between: &mut dyn FnMut(),
) -> io::Result<Taken> {
    let mut paths = Vec::new();
    for entry in entries(data)? {
        collect(data, &entry, &mut paths)?;
    }
    let plan = plan(&paths);
    report(&plan);
    let mut files = Vec::new();
    for source in &plan.head_chunks {
        let path = data.join(&source.path);
        let bytes = MappedFile::open(&path).map_err(|e| with_path(&e, &path))?;
        files.push((source.clone(), bytes));
    }
    let mut taker = Taker {
        data,
        import,
        between,
        min_ms: blocks_end_ms.unwrap_or(i64::MIN),
        waiting: HashMap::new(),
        series: HashMap::new(),
        taken: Taken::default(),
    };
    taker.plan(&plan, &files)?;
    Ok(taker.taken)
}

/// Paths of the files below a folder, relative to the data folder and with slashes.
fn collect(data: &Path, path: &Path, paths: &mut Vec<String>) -> io::Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path).map_err(|e| with_path(&e, path))? {
            let entry = entry.map_err(|e| with_path(&e, path))?;
            collect(data, &entry.path(), paths)?;
        }
    } else if let Ok(inside) = path.strip_prefix(data) {
        paths.push(inside.to_string_lossy().into_owned());
    }
    Ok(())
}

fn report(plan: &Plan) {
    for gap in &plan.gaps {
        tracing::warn!(%gap, "a part of Prometheus's data is missing");
    }
    for ignored in &plan.ignored {
        if ignored.why == WhyIgnored::Foreign {
            tracing::warn!(
                file = ignored.path,
                "a file that Prometheus does not write is left out"
            );
        }
    }
}

/// A head chunk until its series is defined.
struct WaitingChunk<'a> {
    max_ms: i64,
    encoding: u8,
    out_of_order: bool,
    data: &'a [u8],
}

/// A series as Prometheus refers to it.
struct Known {
    id: u32,
    /// What the log has up to this time is in a chunk that was taken.
    chunks_end_ms: i64,
}

struct Taker<'a, 'h> {
    data: &'a Path,
    import: &'a Import<'h>,
    between: &'a mut dyn FnMut(),
    /// What is older is in the blocks.
    min_ms: i64,
    /// By the reference of their series.
    waiting: HashMap<u64, Vec<WaitingChunk<'a>>>,
    series: HashMap<u64, Known>,
    taken: Taken,
}

/// Which log a record is of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Log,
    /// Samples that came late.
    LateLog,
}

/// Calls of `between` come after so many records.
const RECORDS_AT_ONCE: u64 = 10_000;

impl<'a> Taker<'a, '_> {
    fn plan(&mut self, plan: &Plan, files: &'a [(HeadChunkFile, MappedFile)]) -> io::Result<()> {
        for (source, bytes) in files {
            self.find_chunks(source, bytes);
        }
        let snapshot_is_good = match &plan.snapshot {
            Some(snapshot) => self.snapshot(snapshot)?,
            None => false,
        };
        let log = match snapshot_is_good {
            true => plan.log_after_snapshot(),
            false => plan.whole_log(),
        };
        for file in &log {
            self.log_file(file, Source::Log)?;
        }
        for file in &plan.out_of_order {
            self.log_file(file, Source::LateLog)?;
        }
        let left = self.waiting.values().map(|chunks| chunks.len() as u64);
        self.taken.unknown += left.sum::<u64>();
        Ok(())
    }

    /// Notes which series the chunks of a file wait for.
    fn find_chunks(&mut self, source: &HeadChunkFile, bytes: &'a [u8]) {
        let chunks = match head_chunks::read(source, bytes) {
            Ok(chunks) => chunks,
            Err(error) => return self.damage(&source.path, &error.to_string()),
        };
        for chunk in chunks {
            match chunk {
                // The blocks have it.
                Ok(chunk) if !chunk.out_of_order && chunk.max_ms < self.min_ms => {}
                Ok(chunk) => self
                    .waiting
                    .entry(chunk.series)
                    .or_default()
                    .push(WaitingChunk {
                        max_ms: chunk.max_ms,
                        encoding: chunk.encoding,
                        out_of_order: chunk.out_of_order,
                        data: chunk.data,
                    }),
                Err(damage) => self.damage(&source.path, &damage.to_string()),
            }
        }
    }

    /// Gives false if the snapshot is damaged: then all that is in it is read from the log.
    fn snapshot(&mut self, snapshot: &Snapshot) -> io::Result<bool> {
        let mut is_good = true;
        for file in &snapshot.files {
            let bytes = self.open(file)?;
            let mut reader = SegmentReader::new(file, &bytes);
            while let Some(record) = reader.next_record() {
                let taken = match record {
                    Ok(record) => self.snapshot_record(record.bytes),
                    Err(damage) => Err(damage.to_string()),
                };
                if let Err(reason) = taken {
                    self.damage(&file.path, &reason);
                    is_good = false;
                }
            }
            (self.between)();
        }
        Ok(is_good)
    }

    fn snapshot_record(&mut self, bytes: &[u8]) -> Result<(), String> {
        match SnapshotRecord::decode(bytes).map_err(text)? {
            SnapshotRecord::Series(series) => {
                let reference = series.definition.series;
                self.define(reference, &series.definition.to_labels())?;
                if let Some(chunk) = series.chunk {
                    self.chunk(
                        reference,
                        &WaitingChunk {
                            max_ms: chunk.max_ms,
                            encoding: chunk.encoding,
                            out_of_order: false,
                            data: chunk.data,
                        },
                    )?;
                }
                Ok(())
            }
            SnapshotRecord::Tombstones(tombstones) => self.tombstones(tombstones),
            SnapshotRecord::Exemplars(exemplars) => self.exemplars(exemplars),
            SnapshotRecord::Unknown(kind) => {
                Err(format!("unknown kind of record {kind} in the snapshot"))
            }
        }
    }

    fn log_file(&mut self, file: &LogFile, source: Source) -> io::Result<()> {
        let bytes = self.open(file)?;
        bytes.read_ahead();
        let mut reader = SegmentReader::new(file, &bytes);
        let mut records = 0;
        while let Some(record) = reader.next_record() {
            let taken = match record {
                Ok(record) => self.record(record.bytes, source),
                Err(damage) => Err(damage.to_string()),
            };
            if let Err(reason) = taken {
                self.damage(&file.path, &reason);
            }
            records += 1;
            if records % RECORDS_AT_ONCE == 0 {
                (self.between)();
            }
        }
        (self.between)();
        Ok(())
    }

    /// What precedes a damaged entry is taken.
    fn record(&mut self, bytes: &[u8], source: Source) -> Result<(), String> {
        match Record::decode(bytes) {
            Record::Series(definitions) => {
                for definition in definitions {
                    let definition = definition.map_err(text)?;
                    self.define(definition.series, &definition.to_labels())?;
                }
            }
            Record::Samples(samples) => {
                for sample in samples {
                    let sample = sample.map_err(text)?;
                    if let Some(id) = self.wanted(sample.series, sample.timestamp_ms, source) {
                        let start_ms = sample.start_timestamp_ms.unwrap_or(0);
                        let time_ms = sample.timestamp_ms;
                        self.import.float_since(id, time_ms, sample.value, start_ms);
                    }
                }
            }
            Record::Histograms(samples) => {
                for sample in samples {
                    let sample = sample.map_err(text)?;
                    let time_ms = sample.timestamp_ms;
                    if let Some(id) = self.wanted(sample.series, time_ms, source) {
                        let start_ms = sample.start_timestamp_ms.unwrap_or(0);
                        let histogram = sample.histogram;
                        let taken = self
                            .import
                            .histogram_since(id, time_ms, histogram, start_ms);
                        taken.map_err(text)?;
                    }
                }
            }
            Record::Exemplars(exemplars) => self.exemplars(exemplars)?,
            Record::Tombstones(tombstones) => self.tombstones(tombstones)?,
            Record::Metadata(entries) => {
                for entry in entries {
                    self.metadata(&entry.map_err(text)?);
                }
            }
            // They only repeat what is known.
            Record::MmapMarkers(_) => {}
            Record::Unknown(kind) => return Err(format!("unknown kind of record {kind}")),
        }
        Ok(())
    }

    /// Prometheus keeps it by series, we keep it by family.
    fn metadata(&mut self, entry: &MetadataEntry<'_>) {
        let known = self.series.get(&entry.series);
        let Some(labels) = known.and_then(|known| self.import.labels(known.id)) else {
            return;
        };
        if let Some(name) = labels.metric_name() {
            let family = family_of(name, entry.kind);
            self.import.metadata(family, &entry.to_metadata());
        }
    }

    /// Where a sample is to go, unless it is there already.
    fn wanted(&mut self, reference: u64, timestamp_ms: i64, source: Source) -> Option<u32> {
        let Some(known) = self.series.get(&reference) else {
            self.taken.unknown += 1;
            return None;
        };
        let is_new = timestamp_ms >= self.min_ms && timestamp_ms > known.chunks_end_ms;
        if source == Source::Log && !is_new {
            return None;
        }
        self.taken.samples += 1;
        Some(known.id)
    }

    /// A series may be defined again, under the same reference or another.
    fn define(&mut self, reference: u64, labels: &Labels) -> Result<(), String> {
        if self.series.contains_key(&reference) {
            return Ok(());
        }
        let id = self.import.series(labels).map_err(text)?;
        self.taken.series += 1;
        let known = Known {
            id,
            chunks_end_ms: i64::MIN,
        };
        self.series.insert(reference, known);
        let chunks = self.waiting.remove(&reference).unwrap_or_default();
        let results: Vec<_> = chunks
            .iter()
            .map(|chunk| self.chunk(reference, chunk))
            .collect();
        results.into_iter().collect()
    }

    fn chunk(&mut self, reference: u64, chunk: &WaitingChunk<'_>) -> Result<(), String> {
        let Some(known) = self.series.get_mut(&reference) else {
            return Ok(());
        };
        let taken = self.import.chunk(known.id, chunk.encoding, chunk.data);
        self.taken.samples += taken.map_err(text)?;
        if !chunk.out_of_order {
            known.chunks_end_ms = known.chunks_end_ms.max(chunk.max_ms);
        }
        Ok(())
    }

    fn tombstones(
        &mut self,
        tombstones: impl Iterator<Item = Result<Tombstone, RecordError>>,
    ) -> Result<(), String> {
        for tombstone in tombstones {
            let tombstone = tombstone.map_err(text)?;
            if let Some(known) = self.series.get(&tombstone.series) {
                let (min_ms, max_ms) = (tombstone.min_ms, tombstone.max_ms);
                self.import.delete(known.id, min_ms, max_ms);
            }
        }
        Ok(())
    }

    fn exemplars(
        &mut self,
        exemplars: impl Iterator<Item = Result<SeriesExemplar, RecordError>>,
    ) -> Result<(), String> {
        for exemplar in exemplars {
            let exemplar = exemplar.map_err(text)?;
            if let Some(known) = self.series.get(&exemplar.series) {
                self.import.exemplar(known.id, &exemplar.exemplar);
            }
        }
        Ok(())
    }

    fn open(&self, file: &LogFile) -> io::Result<MappedFile> {
        let path = self.data.join(&file.path);
        MappedFile::open(&path).map_err(|e| with_path(&e, &path))
    }

    fn damage(&mut self, path: &str, reason: &str) {
        self.taken.damages += 1;
        tracing::error!(
            file = path,
            reason,
            "a part of Prometheus's data cannot be read and is passed over"
        );
    }
}

/// The family that a series of this name belongs to. A counter's may lack `_total`, which can't be
/// told from here; the next scrape says it.
fn family_of(name: &str, kind: MetricType) -> &str {
    let endings: &[&str] = match kind {
        MetricType::Histogram => &["_bucket", "_count", "_sum"],
        MetricType::GaugeHistogram => &["_bucket", "_gcount", "_gsum"],
        MetricType::Summary => &["_count", "_sum"],
        _ => &[],
    };
    let family = endings.iter().find_map(|ending| name.strip_suffix(ending));
    family.unwrap_or(name)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
