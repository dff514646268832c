//! Any bytes as records of the head's log, or as its snapshot: taken or refused, and the head can be
//! read, written to and snapshotted afterwards.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use narthex_head::{Head, NoChunks, Options};
use narthex_model::{CancelToken, Labels};
use narthex_storage::SelectQuery;

fn head() -> Arc<Head> {
    let options = Options {
        chunk_range_ms: 7_200_000,
        out_of_order_window_ms: 600_000,
        exemplar_limit: 16,
    };
    Arc::new(Head::new(options, Arc::new(NoChunks)))
}

fuzz_target!(|data: &[u8]| {
    let Some((&kind, data)) = data.split_first() else {
        return;
    };
    let mut head_under_test = head();
    if kind % 2 == 0 {
        // Records, each behind its length.
        let mut rest = data;
        while let Some((&[low, high], after)) = rest.split_first_chunk::<2>() {
            let length = usize::from(u16::from_le_bytes([low, high])).min(after.len());
            let (record, next) = after.split_at(length);
            let _ = head_under_test.replay_definitions(record);
            for part in 0..2 {
                let _ = head_under_test.replay_samples(record, part, 2);
            }
            rest = next;
        }
        head_under_test.finish_replay();
    } else if head_under_test.read_snapshot(data).is_err() {
        head_under_test = head();
    }
    use_it(&head_under_test);
});

fn use_it(head: &Arc<Head>) {
    let query = SelectQuery {
        matchers: &[],
        start_ms: i64::MIN,
        end_ms: i64::MAX,
        cancel: CancelToken::default(),
    };
    for series in head.select(&query).unwrap_or_default() {
        let _ = series.visit_with_starts(&mut |_, _| {});
    }
    let import = head.import();
    if let Ok(id) = import.series(&Labels::from_pairs([("fuzz", "1")])) {
        import.float(id, 1_700_000_000_000, 1.0);
    }
    let mut bytes = Vec::new();
    assert!(head.write_snapshot(&mut bytes).is_ok());
    let copy = self::head();
    assert!(copy.read_snapshot(&bytes).is_ok());
    assert_eq!(copy.stats().series, head.stats().series);
}
