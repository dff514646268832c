//! Any bytes as a file that Prometheus keeps beside its blocks, or as one record of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use narthex_prometheus_log::{
    HeadChunkFile, LogFile, Record, SegmentReader, SnapshotRecord, head_chunks,
};

fuzz_target!(|data: &[u8]| {
    let Some((&kind, data)) = data.split_first() else {
        return;
    };
    let last = kind & 0x80 != 0;
    match kind % 4 {
        0 => decode(data),
        1 => {
            let _ = SnapshotRecord::decode(data);
        }
        2 => {
            let path = "wal/00000001".to_owned();
            let (number, from_offset) = (1, 0);
            let file = LogFile { path, number, from_offset, last };
            let mut reader = SegmentReader::new(&file, data);
            while let Some(record) = reader.next_record() {
                if let Ok(record) = record {
                    decode(record.bytes);
                }
            }
        }
        _ => {
            let path = "chunks_head/000001".to_owned();
            let file = HeadChunkFile { path, number: 1, last };
            if let Ok(chunks) = head_chunks::read(&file, data) {
                let _ = chunks.count();
            }
        }
    }
});

fn decode(record: &[u8]) {
    let _ = match Record::decode(record) {
        Record::Series(entries) => entries.count(),
        Record::Samples(entries) => entries.count(),
        Record::Histograms(entries) => entries.count(),
        Record::Exemplars(entries) => entries.count(),
        Record::Metadata(entries) => entries.count(),
        Record::Tombstones(entries) => entries.count(),
        Record::MmapMarkers(entries) => entries.count(),
        Record::Unknown(_) => 0,
    };
}
