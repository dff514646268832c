//! Any bytes as a segment of the store's log, of this release or the first: all of it is gone
//! through once, in order, and what is taken for a frame is one.
#![no_main]

#[path = "../../../agent/edge/tsdb/src/file_header.rs"]
#[allow(dead_code, reason = "it is shared with the store, which needs more of it")]
mod file_header;
#[path = "../../../agent/edge/tsdb/src/log/segment.rs"]
#[allow(dead_code, reason = "it is shared with the store, which needs more of it")]
mod segment;

use libfuzzer_sys::fuzz_target;
use segment::{FRAME_HEADER_BYTES, FrameReader, HEADER_BYTES, Item, write_frame};

const SEGMENT: u64 = 1;

fuzz_target!(|data: &[u8]| {
    let _ = segment::KIND.check(data, SEGMENT);
    for item in FrameReader::former(data, SEGMENT) {
        assert!(offset_of(&item) <= data.len());
    }
    let mut end = (HEADER_BYTES as usize).min(data.len());
    let mut whole = true;
    for item in FrameReader::new(data, SEGMENT) {
        assert!(whole, "something follows the torn end");
        assert_eq!(offset_of(&item), end);
        match item {
            Item::Frame {
                offset,
                kind,
                record,
            } => {
                let mut written = Vec::new();
                write_frame(&mut written, SEGMENT, offset as u64, kind, record);
                assert_eq!(data.get(offset..offset + written.len()), Some(&*written));
                end += FRAME_HEADER_BYTES + record.len();
            }
            Item::Unreadable { length, .. } => {
                assert!(length > 0);
                end += length;
            }
            Item::Torn { .. } => whole = false,
        }
    }
    assert!(!whole || end == data.len());
});

fn offset_of(item: &Item<'_>) -> usize {
    match item {
        Item::Frame { offset, .. } | Item::Unreadable { offset, .. } | Item::Torn { offset } => {
            *offset
        }
    }
}
