//! Any bytes as a file of the head's full chunks, read at any place: a chunk or nothing; what is
//! added beside it can be read.
#![no_main]

#[path = "../../../agent/edge/tsdb/src/disk.rs"]
#[allow(dead_code, reason = "it is shared with the store, which needs more of it")]
mod disk;
#[path = "../../../agent/edge/tsdb/src/file_header.rs"]
#[allow(dead_code, reason = "it is shared with the store, which needs more of it")]
mod file_header;
#[path = "../../../agent/edge/tsdb/src/head_chunks.rs"]
#[allow(dead_code, reason = "it is shared with the store, which needs more of it")]
mod head_chunks;

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use head_chunks::HeadChunks;
use libfuzzer_sys::fuzz_target;
use narthex_chunk::{Encoding, decode_floats, decode_histograms};
use narthex_head::{ChunkRef, ChunkSource, SealedChunk};

static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let name = format!("narthex-fuzz-{}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).expect("a folder for the fuzzer");
    folder
});

fuzz_target!(|data: &[u8]| {
    let Some((&[low, high], file)) = data.split_first_chunk::<2>() else {
        return;
    };
    for entry in std::fs::read_dir(&*FOLDER).expect("the folder") {
        let _ = std::fs::remove_file(entry.expect("an entry").path());
    }
    std::fs::write(FOLDER.join("00000001"), file).expect("room for a file");
    let Ok(chunks) = HeadChunks::open(&FOLDER, Arc::new(disk::RealDisk)) else {
        return;
    };
    let anywhere = u32::from(u16::from_le_bytes([low, high]));
    for offset in [anywhere, 24, 0, u32::MAX] {
        let at = ChunkRef { file: 1, offset };
        assert!(chunks.read(at, &mut decode).is_ok());
    }
    let added = SealedChunk {
        series: 1,
        start_ms: 2,
        end_ms: 3,
        encoding: 1,
        out_of_order: false,
        bytes: file,
    };
    let at = chunks.add(&added).expect("room for a chunk");
    assert!(at.file > 1);
    let mut found = None;
    let mut take = |bytes: &[u8]| found = Some(bytes.to_vec());
    assert!(chunks.read(at, &mut take).is_ok());
    assert_eq!(found.as_deref(), Some(file));
});

/// As the head does with what it gets.
fn decode(bytes: &[u8]) {
    for code in 0..8 {
        let Ok(encoding) = Encoding::from_code(code) else {
            continue;
        };
        let mut times = Vec::new();
        let _ = match encoding.is_floats() {
            true => decode_floats(encoding, bytes, &mut times, &mut Vec::new()),
            false => decode_histograms(encoding, bytes, &mut times, &mut Vec::new()),
        };
    }
}
