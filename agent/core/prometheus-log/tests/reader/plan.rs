//! What is read of a folder, told by names.

use narthex_prometheus_log::{Gap, LogFile, WhyIgnored, plan};

/// Path, first byte and whether the end may be torn.
fn brief(files: &[LogFile]) -> Vec<(&str, u64, bool)> {
    files
        .iter()
        .map(|file| (&*file.path, file.from_offset, file.last))
        .collect()
}

#[test]
fn a_folder_as_prometheus_leaves_it() {
    let plan = plan([
        "01GQ0000000000000000000000/meta.json",
        "01GQ0000000000000000000000/chunks/000001",
        "lock",
        "queries.active",
        "chunks_head/000012",
        "chunks_head/000011",
        "wal/00000010",
        "wal/00000008",
        "wal/00000009",
        "wal/checkpoint.00000007",
        "wal/checkpoint.00000007/00000000",
        "wal/checkpoint.00000007/00000001",
        "wbl/00000003",
        "wbl/00000004",
    ]);
    assert_eq!(
        brief(&plan.whole_log()),
        [
            ("wal/checkpoint.00000007/00000000", 0, false),
            ("wal/checkpoint.00000007/00000001", 0, false),
            ("wal/00000008", 0, false),
            ("wal/00000009", 0, false),
            ("wal/00000010", 0, true),
        ]
    );
    assert_eq!(plan.log_after_snapshot(), plan.whole_log());
    assert_eq!(
        brief(&plan.out_of_order),
        [("wbl/00000003", 0, false), ("wbl/00000004", 0, true)]
    );
    let chunks: Vec<_> = plan
        .head_chunks
        .iter()
        .map(|file| (&*file.path, file.number, file.last))
        .collect();
    assert_eq!(
        chunks,
        [
            ("chunks_head/000011", 11, false),
            ("chunks_head/000012", 12, true)
        ]
    );
    assert_eq!(
        (plan.snapshot, plan.gaps, plan.ignored),
        (None, vec![], vec![])
    );
}

#[test]
fn an_empty_folder_needs_nothing() {
    assert_eq!(plan::<&str>([]), plan(["wal", "wbl/", "chunks_head"]));
    assert_eq!(plan::<&str>([]).whole_log(), []);
}

#[test]
fn after_a_snapshot_the_log_goes_on_where_it_was_taken() {
    let plan = plan([
        "chunk_snapshot.000009.0000032768/00000000",
        "chunk_snapshot.000009.0000000100/00000000",
        "chunk_snapshot.000004.0000099999/00000000",
        "chunk_snapshot.000010.0000000000.tmp/00000000",
        "wal/checkpoint.00000007/00000000",
        "wal/00000008",
        "wal/00000009",
        "wal/00000010",
    ]);
    let snapshot = plan.snapshot.as_ref().unwrap();
    assert_eq!(snapshot.folder, "chunk_snapshot.000009.0000032768");
    assert_eq!((snapshot.segment, snapshot.offset), (9, 32768));
    assert_eq!(
        brief(&snapshot.files),
        [("chunk_snapshot.000009.0000032768/00000000", 0, false)]
    );
    assert_eq!(
        brief(&plan.log_after_snapshot()),
        [("wal/00000009", 32768, false), ("wal/00000010", 0, true)]
    );
    assert_eq!(plan.whole_log().len(), 4);
    let ignored: Vec<_> = plan.ignored.iter().map(|i| (&*i.path, i.why)).collect();
    assert_eq!(
        ignored,
        [
            (
                "chunk_snapshot.000010.0000000000.tmp/00000000",
                WhyIgnored::Unfinished
            ),
            ("chunk_snapshot.000004.0000099999", WhyIgnored::Superseded),
            ("chunk_snapshot.000009.0000000100", WhyIgnored::Superseded),
        ]
    );
}

#[test]
fn a_checkpoint_newer_than_the_snapshot_is_read_as_well() {
    let plan = plan([
        "chunk_snapshot.000005.0000000100/00000000",
        "wal/checkpoint.00000007/00000000",
        "wal/00000008",
    ]);
    assert_eq!(
        brief(&plan.log_after_snapshot()),
        [
            ("wal/checkpoint.00000007/00000000", 0, false),
            ("wal/00000008", 0, true)
        ]
    );
}

#[test]
fn a_snapshot_that_the_log_does_not_reach_is_not_used() {
    for log in [&["wal/00000003"][..], &[]] {
        let snapshot = "chunk_snapshot.000004.0000000000/00000000";
        let plan = plan(log.iter().chain([&snapshot]));
        assert_eq!(plan.snapshot, None);
        assert_eq!(plan.log_after_snapshot(), plan.whole_log());
        assert_eq!(plan.ignored[0].why, WhyIgnored::Superseded);
    }
}

#[test]
fn the_newest_checkpoint_that_holds_anything_counts() {
    let plan = plan([
        "wal/checkpoint.000002/00000000",
        "wal/checkpoint.000005/00000000",
        "wal/checkpoint.000009",
        "wal/checkpoint.000011.tmp/00000000",
        "wal/000004",
        "wal/000005",
        "wal/000006",
    ]);
    assert_eq!(
        brief(&plan.whole_log()),
        [
            ("wal/checkpoint.000005/00000000", 0, false),
            ("wal/000006", 0, true)
        ]
    );
    assert_eq!(plan.gaps, []);
    let ignored: Vec<_> = plan.ignored.iter().map(|i| (&*i.path, i.why)).collect();
    assert_eq!(
        ignored,
        [
            ("wal/checkpoint.000011.tmp/00000000", WhyIgnored::Unfinished),
            ("wal/checkpoint.000002", WhyIgnored::Superseded),
            ("wal/checkpoint.000009", WhyIgnored::Superseded),
            ("wal/000004", WhyIgnored::Superseded),
            ("wal/000005", WhyIgnored::Superseded),
        ]
    );
}

#[test]
fn missing_numbers_are_named() {
    for (paths, expected) in [
        (&["wal/2"][..], &[("wal", 0, 1)][..]),
        (&["wal/0", "wal/2"], &[("wal", 1, 1)]),
        (
            &["wal/checkpoint.3/0", "wal/checkpoint.3/2", "wal/7", "wal/9"],
            &[("wal/checkpoint.3", 1, 1), ("wal", 4, 6), ("wal", 8, 8)],
        ),
        (&["wal/checkpoint.3/0"], &[]),
        // These two are cut off at the front as time goes.
        (&["wbl/5", "wbl/7", "wbl/8"], &[("wbl", 6, 6)]),
        (
            &["chunks_head/5", "chunks_head/9"],
            &[("chunks_head", 6, 8)],
        ),
    ] {
        let gaps = plan(paths).gaps;
        let gaps: Vec<_> = gaps
            .iter()
            .map(|gap| (&*gap.folder, gap.first, gap.last))
            .collect();
        assert_eq!(gaps, expected, "{paths:?}");
    }
    let gap = |first, last| {
        let folder = "wal".to_owned();
        Gap {
            folder,
            first,
            last,
        }
    };
    assert_eq!(gap(3, 3).to_string(), "wal: file 3 is missing");
    assert_eq!(gap(3, 5).to_string(), "wal: files 3 to 5 are missing");
}

#[test]
fn foreign_names_are_named_and_a_segment_under_repair_is_read_whole() {
    let plan = plan([
        "wal/00000000",
        "wal/00000001",
        "wal/00000001.repair",
        "wal/series_state.json",
        "wal/notes.txt",
        "wal/+5",
        "wal/99999999999",
        "wal/checkpoint.x/00000000",
        "wal/0",
        "wal/other/0",
        "chunk_snapshot.5/0",
    ]);
    assert_eq!(
        brief(&plan.whole_log()),
        [("wal/0", 0, false), ("wal/00000001.repair", 0, true)]
    );
    let mut foreign: Vec<_> = plan.ignored.iter().map(|i| (&*i.path, i.why)).collect();
    foreign.sort_unstable_by_key(|(path, _)| *path);
    let expected = [
        "chunk_snapshot.5/0",
        "wal/+5",
        "wal/00000000",
        "wal/99999999999",
        "wal/checkpoint.x/00000000",
        "wal/notes.txt",
        "wal/other/0",
    ];
    assert_eq!(foreign, expected.map(|path| (path, WhyIgnored::Foreign)));
}
