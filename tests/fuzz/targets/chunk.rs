//! Any bytes as a chunk of any encoding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use narthex_chunk::{Encoding, decode_floats, decode_histograms};

fuzz_target!(|data: &[u8]| {
    let Some((&code, chunk)) = data.split_first() else {
        return;
    };
    let Ok(encoding) = Encoding::from_code(code % 8) else {
        return;
    };
    let mut times = Vec::new();
    if encoding.is_floats() {
        let mut values = Vec::new();
        if decode_floats(encoding, chunk, &mut times, &mut values).is_err() {
            assert!(times.is_empty() && values.is_empty());
        }
    } else {
        let mut values = Vec::new();
        if decode_histograms(encoding, chunk, &mut times, &mut values).is_err() {
            assert!(times.is_empty() && values.is_empty());
        }
    }
});
