//! Any bytes as a block's index: opened, searched and read through.
#![no_main]

use libfuzzer_sys::fuzz_target;
use narthex_block_format::{IndexLayout, SeriesEntry, matching};
use narthex_model::{MatchOp, Matcher};

fuzz_target!(|data: &[u8]| {
    let Ok(layout) = IndexLayout::open(data) else {
        return;
    };
    let index = layout.reader(data);
    for symbol in index.symbols() {
        if symbol.is_err() {
            break;
        }
    }
    let names: Vec<String> = index
        .label_names()
        .map_while(Result::ok)
        .take(100)
        .map(str::to_owned)
        .collect();
    for name in &names {
        let Ok(values) = index.label_values(name) else {
            continue;
        };
        for value in values.map_while(Result::ok).take(100) {
            let _ = index.postings(name, value).map(|ids| ids.take(1000).count());
        }
        for (op, value) in [
            (MatchOp::Equal, ""),
            (MatchOp::NotEqual, "a"),
            (MatchOp::Regex, "a|b.*"),
            (MatchOp::NotRegex, ".+"),
        ] {
            if let Ok(matcher) = Matcher::new(name.as_str(), op, value) {
                let _ = matching(&index, &[matcher]);
            }
        }
    }
    let mut entry = SeriesEntry::default();
    if let Ok(all) = index.all_postings() {
        for series in all.take(1000) {
            if index.series(series, &mut entry).is_ok() {
                let _ = index.labels(&entry).count();
            }
        }
    }
});
