//! Any bytes as a chunk segment, tombstones or a meta.json.
#![no_main]

use libfuzzer_sys::fuzz_target;
use narthex_block_format::segment::{check_header, read_chunk, walk};
use narthex_block_format::{BlockMeta, Tombstones};

fuzz_target!(|data: &[u8]| {
    let Some((&kind, data)) = data.split_first() else {
        return;
    };
    match kind % 3 {
        0 => {
            let _ = check_header(data);
            for chunk in walk(data) {
                let Ok((offset, chunk)) = chunk else { break };
                let again = read_chunk(data, offset).map(|chunk| chunk.data);
                assert_eq!(again.ok(), Some(chunk.data));
            }
        }
        1 => {
            if let Ok(tombstones) = Tombstones::read(data) {
                let again = Tombstones::read(&tombstones.to_bytes());
                assert_eq!(again.ok(), Some(tombstones));
            }
        }
        _ => {
            if let Ok(meta) = BlockMeta::read(data) {
                let again = meta.to_json().ok().and_then(|json| BlockMeta::read(&json).ok());
                assert_eq!(again.map(without_unknown), Some(without_unknown(meta)));
            }
        }
    }
});

/// Numbers under unknown keys may be rounded.
fn without_unknown(mut meta: BlockMeta) -> BlockMeta {
    meta.other.clear();
    meta.stats.other.clear();
    meta.compaction.other.clear();
    meta
}
