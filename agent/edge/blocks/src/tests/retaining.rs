//! Which blocks are too much.

use crate::Ulid;
use crate::retention::{BlockSize, Limits, Usage, disk_size_bytes, expired};

fn blocks(ends: &[(i64, u64)]) -> Vec<BlockSize> {
    let block = |(number, (max_ms, size_bytes)): (usize, &(i64, u64))| BlockSize {
        ulid: Ulid::new(number as u64, [0; 10]),
        max_ms: *max_ms,
        size_bytes: *size_bytes,
    };
    ends.iter().enumerate().map(block).collect()
}

#[test]
fn by_time_and_by_size() {
    let none = Limits::default();
    let time = |time_ms| Limits {
        time_ms: Some(time_ms),
        ..none
    };
    let size = |size_bytes| Limits {
        size_bytes: Some(size_bytes),
        ..none
    };
    let share = |percent| Limits {
        disk_percent: Some(percent),
        ..none
    };
    let both = Limits {
        size_bytes: Some(400),
        ..time(150)
    };
    let cases: [(&str, Limits, &[u64], &[u64]); 11] = [
        ("no limit", none, &[], &[]),
        (
            "zero is no limit",
            Limits {
                size_bytes: Some(0),
                disk_percent: Some(0.0),
                ..time(0)
            },
            &[],
            &[],
        ),
        ("all young", time(201), &[], &[]),
        ("just too old", time(200), &[0], &[]),
        ("two too old", time(100), &[1, 0], &[]),
        ("room for all", size(700), &[], &[]),
        ("room for two", size(699), &[], &[0]),
        ("room for none", size(100), &[], &[2, 1, 0]),
        ("a share of the disk", share(50.0), &[], &[0]),
        (
            "the stricter one",
            Limits {
                disk_percent: Some(99.0),
                ..size(400)
            },
            &[],
            &[1, 0],
        ),
        ("old ones do not count twice", both, &[0], &[1]),
    ];
    let usage = Usage {
        other_bytes: 100,
        disk_bytes: 1000,
    };
    let blocks = blocks(&[(100, 200), (200, 200), (300, 200)]);
    for (what, limits, by_time, by_size) in cases {
        let found = expired(&blocks, &limits, &usage);
        let times = |ulids: &[Ulid]| ulids.iter().map(|ulid| ulid.time_ms()).collect::<Vec<_>>();
        assert_eq!(
            (times(&found.by_time), times(&found.by_size)),
            (by_time.to_vec(), by_size.to_vec()),
            "{what}"
        );
    }
}

#[test]
fn disks_have_a_size() {
    assert!(disk_size_bytes(std::path::Path::new(".")).unwrap() > 1 << 20);
}
