//! Plans by what blocks there are.

use crate::Ulid;
use crate::plan::{BlockFacts, Class, Reason, block_ranges_ms, max_block_ms, plan};

const RANGES: [i64; 4] = [20, 60, 180, 540];

fn ulid(number: usize) -> Ulid {
    Ulid::new(number as u64, [0; 10])
}

fn blocks(ranges: &[(i64, i64)]) -> Vec<BlockFacts> {
    let block = |(number, range): (usize, &(i64, i64))| BlockFacts {
        ulid: ulid(number),
        min_ms: range.0,
        max_ms: range.1,
        series: 100,
        tombstones: 0,
        failed: false,
        class: Class::Regular,
    };
    ranges.iter().enumerate().map(block).collect()
}

fn check(blocks: &[BlockFacts], expected: Option<(Reason, &[usize])>, what: &str) {
    let found = plan(blocks, &RANGES, true).map(|plan| (plan.reason, plan.blocks));
    let expected = expected.map(|(reason, numbers)| {
        (
            reason,
            numbers
                .iter()
                .map(|number| ulid(*number))
                .collect::<Vec<Ulid>>(),
        )
    });
    assert_eq!(found, expected, "{what}");
}

#[test]
fn levels() {
    use Reason::Level;
    type Case<'a> = (&'a str, &'a [(i64, i64)], Option<(Reason, &'a [usize])>);
    let cases: [Case<'_>; 12] = [
        ("nothing", &[], None),
        ("one block", &[(0, 20)], None),
        ("two", &[(0, 20), (20, 40)], None),
        (
            "the newest is left alone",
            &[(0, 20), (20, 40), (40, 60)],
            None,
        ),
        (
            "three and a newer one",
            &[(0, 20), (20, 40), (40, 60), (60, 80)],
            Some((Level, &[0, 1, 2])),
        ),
        (
            "a gap in a full range",
            &[(0, 20), (40, 60), (60, 80)],
            Some((Level, &[0, 1])),
        ),
        (
            "a past range that is not full",
            &[(0, 20), (20, 40), (60, 80), (80, 100)],
            Some((Level, &[0, 1])),
        ),
        (
            "the range goes on",
            &[(60, 80), (80, 100), (100, 120)],
            None,
        ),
        ("not aligned", &[(10, 30), (50, 70), (130, 150)], None),
        (
            "the next level",
            &[(0, 60), (60, 120), (120, 180), (180, 200)],
            Some((Level, &[0, 1, 2])),
        ),
        (
            "short ones first",
            &[
                (0, 60),
                (60, 120),
                (120, 140),
                (140, 160),
                (160, 180),
                (180, 200),
            ],
            Some((Level, &[2, 3, 4])),
        ),
        (
            "before 1970",
            &[(-60, -40), (-40, -20), (-20, 0), (0, 20)],
            Some((Level, &[0, 1, 2])),
        ),
    ];
    for (what, ranges, expected) in cases {
        check(&blocks(ranges), expected, what);
    }
}

#[test]
fn overlaps_come_first() {
    use Reason::Overlap;
    type Case<'a> = (&'a str, &'a [(i64, i64)], Option<(Reason, &'a [usize])>);
    let cases: [Case<'_>; 6] = [
        ("borders do not overlap", &[(0, 20), (20, 40)], None),
        ("two", &[(0, 20), (19, 40)], Some((Overlap, &[0, 1]))),
        (
            "the newest too",
            &[(0, 20), (20, 40), (30, 60)],
            Some((Overlap, &[1, 2])),
        ),
        (
            "a long one below short ones",
            &[(0, 100), (10, 20), (30, 40), (100, 120)],
            Some((Overlap, &[0, 1, 2])),
        ),
        (
            "the first run",
            &[(0, 20), (10, 30), (40, 60), (50, 70)],
            Some((Overlap, &[0, 1])),
        ),
        (
            "the same range",
            &[(0, 20), (0, 20)],
            Some((Overlap, &[0, 1])),
        ),
    ];
    for (what, ranges, expected) in cases {
        check(&blocks(ranges), expected, what);
    }
    let overlapping = blocks(&[(0, 20), (10, 30)]);
    assert_eq!(plan(&overlapping, &RANGES, false), None, "not wanted");
}

#[test]
fn deletions_and_failures() {
    let with = |ranges: &[(i64, i64)], number: usize, tombstones: u64, failed: bool| {
        let mut blocks = blocks(ranges);
        blocks[number].tombstones = tombstones;
        blocks[number].failed = failed;
        blocks
    };
    let long = [(0, 540), (540, 1080)];
    let short = [(0, 20), (20, 40)];
    check(
        &with(&long, 0, 6, false),
        Some((Reason::Deletions, &[0])),
        "much deleted",
    );
    check(&with(&long, 0, 5, false), None, "little deleted");
    check(&with(&long, 0, 50, true), None, "failed before");
    check(&with(&long, 1, 50, false), None, "the newest");
    check(&with(&short, 0, 50, false), None, "short");
    check(
        &with(&short, 0, 100, false),
        Some((Reason::Deletions, &[0])),
        "all deleted",
    );
    let full = [(0, 20), (20, 40), (40, 60), (60, 80)];
    check(&with(&full, 1, 0, true), None, "a group with a failed one");
    check(
        &with(&[(0, 20), (10, 30)], 1, 0, true),
        None,
        "a failed overlap",
    );
}

#[test]
fn classes_are_not_mixed() {
    let mut mixed = blocks(&[(0, 20), (0, 20), (20, 40), (40, 60), (60, 80)]);
    mixed[1].class = Class::Stale;
    check(
        &mixed,
        Some((Reason::Level, &[0, 2, 3])),
        "a stale block among others",
    );
}

#[test]
fn ranges() {
    const HOUR: i64 = 3_600_000;
    const DAY: i64 = 24 * HOUR;
    assert_eq!(max_block_ms(2 * HOUR, Some(15 * DAY)), 36 * HOUR);
    assert_eq!(max_block_ms(2 * HOUR, Some(5 * HOUR)), 2 * HOUR);
    assert_eq!(max_block_ms(2 * HOUR, Some(9999 * DAY)), 31 * DAY);
    assert_eq!(max_block_ms(2 * HOUR, None), 31 * DAY);
    assert_eq!(
        block_ranges_ms(2 * HOUR, 36 * HOUR),
        [2 * HOUR, 6 * HOUR, 18 * HOUR]
    );
    assert_eq!(
        block_ranges_ms(2 * HOUR, 31 * DAY).last(),
        Some(&(486 * HOUR))
    );
    assert_eq!(block_ranges_ms(i64::MAX, i64::MAX), [i64::MAX]);
}
