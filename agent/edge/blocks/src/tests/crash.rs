//! The process ends before any step that changes the disk; what is found afterwards.

use std::path::Path;

use narthex_model::Matcher;
use narthex_storage::Queryable;

use super::common::*;
use super::disk::{failing, lay_down, losing_power};
use crate::{Blocks, Error, steady};

const RANGES_MS: [i64; 3] = [1000, 3000, 9000];

fn some(range_ms: (i64, i64)) -> Content {
    let series = ["a", "b", "c"].map(|name| {
        let times = (range_ms.0..range_ms.1).step_by(50);
        (
            labels(&[("name", name)]),
            floats(times.map(|t| (t, t as f64))),
        )
    });
    series.into_iter().collect()
}

fn all(blocks: &Blocks) -> Content {
    content(&blocks.select(&select(&[], i64::MIN, i64::MAX)).unwrap())
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => std::fs::copy(entry.path(), target).map(|_| ()).unwrap(),
        }
    }
}

/// What each test of steps does: first, what it looks at, and what has to hold of it.
struct Case<P, T, C> {
    prepare: P,
    task: T,
    check: C,
}

/// Ends the process before each step of `task` in turn, lets each fail alone, and takes the power
/// away after each; `check` gets what is there when the folder is opened again.
fn at_each_step(
    prepare: impl Fn(&Blocks),
    task: impl Fn(&Blocks) -> Result<(), Error>,
    check: impl Fn(&Blocks, Content, &str),
) {
    let case = Case {
        prepare,
        task,
        check,
    };
    case.each_step_fails(false);
    case.each_step_fails(true);
    case.power_is_lost();
}

impl<P, T, C> Case<P, T, C>
where
    P: Fn(&Blocks),
    T: Fn(&Blocks) -> Result<(), Error>,
    C: Fn(&Blocks, Content, &str),
{
    fn original(&self) -> tempfile::TempDir {
        let original = tempfile::tempdir().unwrap();
        (self.prepare)(&open(original.path()));
        original
    }

    /// After a step that fails `once` the process goes on, else it ends there.
    fn each_step_fails(&self, once: bool) {
        let original = self.original();
        for steps in 0.. {
            let folder = tempfile::tempdir().unwrap();
            copy(original.path(), folder.path());
            let blocks = open(folder.path());
            let (result, is_done) = failing(steps, once, || (self.task)(&blocks));
            assert!(result.is_ok() || !is_done, "{result:?}");
            // Whoever reads on in a process that could not change the disk sees nothing wrong either.
            let how = if once { "failed in" } else { "killed before" };
            let what = format!("{how} step {steps}");
            (self.check)(&blocks, all(&blocks), &format!("{what}, still running"));
            if once {
                let again = (self.task)(&blocks);
                assert!(again.is_ok() || result.is_ok(), "{what}, again: {again:?}");
                (self.check)(&blocks, all(&blocks), &format!("{what}, again"));
            }
            drop(blocks);
            self.check_after(folder.path(), &what);
            if is_done {
                assert!(steps > 3, "too few steps to be true");
                return;
            }
        }
    }

    fn power_is_lost(&self) {
        let original = self.original();
        let blocks = open(original.path());
        let moments = losing_power(original.path(), || (self.task)(&blocks).unwrap());
        assert!(moments.len() > 3, "too few steps to be true");
        for (step, trees) in moments.iter().enumerate() {
            for (mode, tree) in trees.iter().enumerate() {
                let folder = tempfile::tempdir().unwrap();
                lay_down(tree, folder.path());
                let what = format!("power lost after step {step}, mode {mode}");
                self.check_after(folder.path(), &what);
            }
        }
        // What is done is done.
        let [safe, ..] = moments.last().unwrap();
        let folder = tempfile::tempdir().unwrap();
        lay_down(safe, folder.path());
        let found = all(&open(folder.path()));
        assert_same(&found, &all(&blocks), "power lost at the end");
    }

    /// The folder is opened again.
    fn check_after(&self, folder: &Path, what: &str) {
        let blocks = open(folder);
        assert!(blocks.unreadable().is_empty(), "{what}");
        (self.check)(&blocks, all(&blocks), what);
        drop(blocks);
        let left = std::fs::read_dir(folder).unwrap();
        for name in left.map(|entry| entry.unwrap().file_name()) {
            let name = name.to_str().unwrap();
            assert!(
                name.parse::<crate::Ulid>().is_ok(),
                "{what}: {name} is left"
            );
        }
    }
}

fn disjoint(blocks: &Blocks) -> bool {
    let ranges: Vec<(i64, i64)> = blocks
        .loaded()
        .iter()
        .map(|b| (b.min_ms(), b.max_ms()))
        .collect();
    ranges.is_sorted_by(|a, b| a.1 <= b.0)
}

fn write_three(blocks: &Blocks) {
    for start in [0, 1000, 2000, 3000] {
        write(blocks, &some((start, start + 1000)), (start, start + 1000));
    }
}

#[test]
fn a_new_block_is_there_or_not() {
    at_each_step(
        |blocks| write(blocks, &some((0, 1000)), (0, 1000)),
        |blocks| {
            let new = crate::NewBlock::first_level(1000, 2000, &[]);
            let content = some((1000, 2000));
            let series = content.iter().map(|(l, s)| Ok(TestSeries::boxed(l, s)));
            blocks.write(&new, series, &steady).map(|_| ())
        },
        |_, found, what| {
            let whole = if found == some((0, 1000)) { 1000 } else { 2000 };
            assert_same(&found, &some((0, whole)), what);
        },
    );
}

#[test]
fn a_compaction_loses_nothing_and_leaves_nothing_twice() {
    at_each_step(
        write_three,
        |blocks| blocks.compact(&RANGES_MS, &steady).map(|_| ()),
        |blocks, found, what| {
            assert_same(&found, &some((0, 4000)), what);
            assert!(disjoint(blocks), "{what}");
        },
    );
}

#[test]
fn overlapping_blocks_are_merged_whole_or_not() {
    at_each_step(
        |blocks| {
            write(blocks, &some((0, 1000)), (0, 1000));
            write(blocks, &some((500, 1500)), (500, 1500));
        },
        |blocks| blocks.compact(&RANGES_MS, &steady).map(|_| ()),
        |blocks, found, what| {
            assert_same(&found, &some((0, 1500)), what);
            assert!([1, 2].contains(&blocks.loaded().len()), "{what}");
        },
    );
}

#[test]
fn a_deletion_touches_nothing_else() {
    let without = |content: &mut Content| {
        let doomed = content.get_mut(&labels(&[("name", "b")])).unwrap();
        doomed.retain(|time_ms, _| !(500..=2500).contains(time_ms));
    };
    at_each_step(
        write_three,
        |blocks| blocks.delete(&[vec![Matcher::equal("name", "b")]], 500, 2500),
        |_, found, what| {
            let before = some((0, 4000));
            let mut after = before.clone();
            without(&mut after);
            let mut cleared = found.clone();
            without(&mut cleared);
            assert_same(&cleared, &after, what);
            for (labels, samples) in &found {
                assert!(
                    samples
                        .iter()
                        .all(|(t, v)| before[labels].get(t) == Some(v)),
                    "{what}"
                );
            }
        },
    );
}

#[test]
fn cleaning_brings_nothing_back() {
    let mut expected = some((0, 2000));
    expected
        .get_mut(&labels(&[("name", "b")]))
        .unwrap()
        .retain(|time_ms, _| *time_ms > 1500);
    at_each_step(
        |blocks| {
            write(blocks, &some((0, 1000)), (0, 1000));
            write(blocks, &some((1000, 2000)), (1000, 2000));
            blocks
                .delete(&[vec![Matcher::equal("name", "b")]], 0, 1500)
                .unwrap();
        },
        |blocks| blocks.clean_tombstones(&steady).map(|_| ()),
        |_, found, what| assert_same(&found, &expected, what),
    );
}

#[test]
fn a_block_of_which_all_is_deleted_goes() {
    at_each_step(
        |blocks| {
            write(blocks, &some((0, 1000)), (0, 1000));
            write(blocks, &some((1000, 2000)), (1000, 2000));
            blocks.delete(&[], 0, 999).unwrap();
        },
        |blocks| {
            blocks.clean_tombstones(&steady)?;
            assert_eq!(blocks.loaded().len(), 1);
            Ok(())
        },
        |_, found, what| assert_same(&found, &some((1000, 2000)), what),
    );
}

#[test]
fn removed_blocks_go_one_by_one() {
    at_each_step(
        write_three,
        |blocks| {
            let old: Vec<crate::Ulid> = blocks
                .loaded()
                .iter()
                .filter(|block| block.max_ms() <= 2000)
                .map(|block| block.ulid())
                .collect();
            blocks.remove(&old)
        },
        |blocks, found, what| {
            assert!((2..=4).contains(&blocks.loaded().len()), "{what}");
            let first = 4000 - 1000 * blocks.loaded().len() as i64;
            let mut left = found;
            left.values_mut()
                .for_each(|samples| samples.retain(|t, _| *t >= first.max(2000)));
            assert_same(&left, &some((2000, 4000)), what);
        },
    );
}

#[test]
fn a_stopped_task_leaves_all_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let blocks = open(folder.path());
    write_three(&blocks);
    let asked = std::cell::Cell::new(0);
    let stop = || {
        asked.set(asked.get() + 1);
        match asked.get() < 3 {
            true => std::ops::ControlFlow::Continue(()),
            false => std::ops::ControlFlow::Break(()),
        }
    };
    let result = blocks.compact(&RANGES_MS, &stop);
    assert!(matches!(result, Err(Error::Stopped)), "{result:?}");
    assert_eq!(asked.get(), 3);
    assert_same(&all(&blocks), &some((0, 4000)), "stopped");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 4);
    // It is tried again.
    assert_eq!(blocks.compact(&RANGES_MS, &steady).unwrap().len(), 1);
}

#[test]
fn what_was_taken_stays_readable() {
    let folder = tempfile::tempdir().unwrap();
    let blocks = open(folder.path());
    write_three(&blocks);
    let taken = blocks.select(&select(&[], 0, 5000)).unwrap();
    blocks.compact(&RANGES_MS, &steady).unwrap();
    blocks
        .remove(&blocks.loaded().iter().map(|b| b.ulid()).collect::<Vec<_>>())
        .unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    assert_same(&content(&taken), &some((0, 4000)), "taken before");
    assert!(all(&blocks).is_empty());
}

#[test]
fn a_snapshot_has_what_was_there() {
    let (folder, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let blocks = open(folder.path());
    write_three(&blocks);
    blocks.snapshot(&target.path().join("a")).unwrap();
    blocks.delete(&[], 0, 9999).unwrap();
    assert!(all(&blocks).is_empty());
    assert_same(
        &all(&open(&target.path().join("a"))),
        &some((0, 4000)),
        "snapshot",
    );
}
