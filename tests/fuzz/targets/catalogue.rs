//! Any bytes as the catalogue's part of a snapshot.
#![no_main]

use libfuzzer_sys::fuzz_target;
use narthex_catalogue::Catalogue;

fuzz_target!(|data: &[u8]| {
    let Ok(catalogue) = Catalogue::import(data) else {
        return;
    };
    let mut out = Vec::new();
    assert!(catalogue.export(&mut out).is_ok());
    assert!(Catalogue::import(&out).is_ok());
    for id in 0..64 {
        if let Some(labels) = catalogue.labels(id) {
            assert_eq!(catalogue.find(&labels), Some(id));
        }
    }
});
