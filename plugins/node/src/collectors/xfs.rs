//! File systems of type XFS.

use std::ops::RangeInclusive;

use narthex_plugin_sdk::{FileError, FileErrorCode, Metrics};

use crate::descriptor::{Descriptor, counter};
use crate::failure::{At, Failure};
use crate::machine::Machine;
use crate::text::{folders_if_there, numbers, read_many};

/// A line of the kernel's statistics: the word that it begins with, how many columns it may have,
/// and what they count.
struct Line {
    word: &'static str,
    columns: RangeInclusive<usize>,
    families: &'static [Descriptor],
}

const LINES: [Line; 8] = [
    Line {
        word: "extent_alloc",
        columns: 4..=4,
        families: &[
            counter(
                "node_xfs_extent_allocation_extents_allocated_total",
                "Number of extents allocated for a filesystem.",
            ),
            counter(
                "node_xfs_extent_allocation_blocks_allocated_total",
                "Number of blocks allocated for a filesystem.",
            ),
            counter(
                "node_xfs_extent_allocation_extents_freed_total",
                "Number of extents freed for a filesystem.",
            ),
            counter(
                "node_xfs_extent_allocation_blocks_freed_total",
                "Number of blocks freed for a filesystem.",
            ),
        ],
    },
    Line {
        word: "abt",
        columns: 4..=4,
        families: &[
            counter(
                "node_xfs_allocation_btree_lookups_total",
                "Number of allocation B-tree lookups for a filesystem.",
            ),
            counter(
                "node_xfs_allocation_btree_compares_total",
                "Number of allocation B-tree compares for a filesystem.",
            ),
            counter(
                "node_xfs_allocation_btree_records_inserted_total",
                "Number of allocation B-tree records inserted for a filesystem.",
            ),
            counter(
                "node_xfs_allocation_btree_records_deleted_total",
                "Number of allocation B-tree records deleted for a filesystem.",
            ),
        ],
    },
    Line {
        word: "blk_map",
        columns: 7..=7,
        families: &[
            counter(
                "node_xfs_block_mapping_reads_total",
                "Number of block map for read operations for a filesystem.",
            ),
            counter(
                "node_xfs_block_mapping_writes_total",
                "Number of block map for write operations for a filesystem.",
            ),
            counter(
                "node_xfs_block_mapping_unmaps_total",
                "Number of block unmaps (deletes) for a filesystem.",
            ),
            counter(
                "node_xfs_block_mapping_extent_list_insertions_total",
                "Number of extent list insertions for a filesystem.",
            ),
            counter(
                "node_xfs_block_mapping_extent_list_deletions_total",
                "Number of extent list deletions for a filesystem.",
            ),
            counter(
                "node_xfs_block_mapping_extent_list_lookups_total",
                "Number of extent list lookups for a filesystem.",
            ),
            counter(
                "node_xfs_block_mapping_extent_list_compares_total",
                "Number of extent list compares for a filesystem.",
            ),
        ],
    },
    Line {
        word: "bmbt",
        columns: 4..=4,
        families: &[
            counter(
                "node_xfs_block_map_btree_lookups_total",
                "Number of block map B-tree lookups for a filesystem.",
            ),
            counter(
                "node_xfs_block_map_btree_compares_total",
                "Number of block map B-tree compares for a filesystem.",
            ),
            counter(
                "node_xfs_block_map_btree_records_inserted_total",
                "Number of block map B-tree records inserted for a filesystem.",
            ),
            counter(
                "node_xfs_block_map_btree_records_deleted_total",
                "Number of block map B-tree records deleted for a filesystem.",
            ),
        ],
    },
    Line {
        word: "dir",
        columns: 4..=4,
        families: &[
            counter(
                "node_xfs_directory_operation_lookup_total",
                "Number of file name directory lookups which miss the operating systems directory name lookup cache.",
            ),
            counter(
                "node_xfs_directory_operation_create_total",
                "Number of times a new directory entry was created for a filesystem.",
            ),
            counter(
                "node_xfs_directory_operation_remove_total",
                "Number of times an existing directory entry was created for a filesystem.",
            ),
            counter(
                "node_xfs_directory_operation_getdents_total",
                "Number of times the directory getdents operation was performed for a filesystem.",
            ),
        ],
    },
    Line {
        word: "ig",
        columns: 7..=7,
        families: &[
            counter(
                "node_xfs_inode_operation_attempts_total",
                "Number of times the OS looked for an XFS inode in the inode cache.",
            ),
            counter(
                "node_xfs_inode_operation_found_total",
                "Number of times the OS looked for and found an XFS inode in the inode cache.",
            ),
            counter(
                "node_xfs_inode_operation_recycled_total",
                "Number of times the OS found an XFS inode in the cache, but could not use it as it was being recycled.",
            ),
            counter(
                "node_xfs_inode_operation_missed_total",
                "Number of times the OS looked for an XFS inode in the cache, but did not find it.",
            ),
            counter(
                "node_xfs_inode_operation_duplicates_total",
                "Number of times the OS tried to add a missing XFS inode to the inode cache, but found it had already been added by another process.",
            ),
            counter(
                "node_xfs_inode_operation_reclaims_total",
                "Number of times the OS reclaimed an XFS inode from the inode cache to free memory for another purpose.",
            ),
            counter(
                "node_xfs_inode_operation_attribute_changes_total",
                "Number of times the OS explicitly changed the attributes of an XFS inode.",
            ),
        ],
    },
    Line {
        word: "rw",
        columns: 2..=2,
        families: &[
            counter(
                "node_xfs_write_calls_total",
                "Number of write(2) system calls made to files in a filesystem.",
            ),
            counter(
                "node_xfs_read_calls_total",
                "Number of read(2) system calls made to files in a filesystem.",
            ),
        ],
    },
    Line {
        word: "vnodes",
        columns: 7..=8,
        families: &[
            counter(
                "node_xfs_vnode_active_total",
                "Number of vnodes not on free lists for a filesystem.",
            ),
            counter(
                "node_xfs_vnode_allocate_total",
                "Number of times vn_alloc called for a filesystem.",
            ),
            counter(
                "node_xfs_vnode_get_total",
                "Number of times vn_get called for a filesystem.",
            ),
            counter(
                "node_xfs_vnode_hold_total",
                "Number of times vn_hold called for a filesystem.",
            ),
            counter(
                "node_xfs_vnode_release_total",
                "Number of times vn_rele called for a filesystem.",
            ),
            counter(
                "node_xfs_vnode_reclaim_total",
                "Number of times vn_reclaim called for a filesystem.",
            ),
            counter(
                "node_xfs_vnode_remove_total",
                "Number of times vn_remove called for a filesystem.",
            ),
        ],
    },
];

pub(crate) fn collect(machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
    let folder = machine.sys("fs/xfs");
    let devices = folders_if_there(&folder, |_| true)?;
    let path = |device: &String| format!("{folder}/{device}/stats/stats");
    let paths: Vec<String> = devices.iter().map(path).collect();
    for ((device, path), text) in devices.iter().zip(&paths).zip(read_many(&paths)) {
        let text = match text {
            Err(error) if is_of_no_file_system(&error) => continue,
            text => text.at(path)?,
        };
        for line in &LINES {
            give(line, device, &text, metrics).at(path)?;
        }
    }
    Ok(())
}

/// Beside the folders of file systems is `stats`, whose `stats` is a file.
fn is_of_no_file_system(error: &FileError) -> bool {
    matches!(
        error.code,
        FileErrorCode::NotFound | FileErrorCode::NotADirectory
    )
}

/// What a kernel doesn't write is 0.
fn give(line: &Line, device: &str, text: &str, metrics: &mut Metrics) -> Result<(), String> {
    let mut found = text.lines().map(str::split_ascii_whitespace);
    let counts = match found.find_map(|mut words| (words.next()? == line.word).then_some(words)) {
        Some(words) => numbers(words)?,
        None => vec![0.0; *line.columns.end()],
    };
    if !line.columns.contains(&counts.len()) {
        return Err(format!("{} columns after {}", counts.len(), line.word));
    }
    for (family, count) in line.families.iter().zip(counts) {
        family.add(metrics, ["device"], [device], count);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use narthex_plugin_sdk::{fake, testing};

    use super::*;
    use crate::options::Options;

    #[test]
    fn the_statistics_of_all_file_systems_are_no_file_system() {
        let host = fake::Host::install();
        host.write("/sys/fs/xfs/stats/stats", "extent_alloc 1 2 3 4\n");
        let config = narthex_plugin_sdk::config::parse("{}").unwrap();
        let machine = Machine::new(&Options::new(config).unwrap()).unwrap();
        let collected = || {
            let mut metrics = Metrics::new();
            collect(&machine, &mut metrics).unwrap();
            testing::lines(&metrics.finish().unwrap())
        };
        assert!(collected().is_empty());
        host.write("/sys/fs/xfs/sda1/stats/stats", "extent_alloc 1 2 3 4\n");
        let lines = collected();
        let first = r#"node_xfs_extent_allocation_extents_allocated_total{device="sda1"} 1"#;
        assert!(lines.iter().any(|line| line == first), "{lines:?}");
    }

    #[test]
    fn columns_are_counted() {
        let [extents, ..] = &LINES;
        for (text, expected) in [
            ("extent_alloc 1 2 3 4\n", Ok(())),
            ("", Ok(())),
            ("extent_alloc 1 2 3\n", Err("3 columns after extent_alloc")),
            (
                "extent_alloc 1 2 3 x\n",
                Err("expected a number, not \"x\""),
            ),
        ] {
            let given = give(extents, "sda1", text, &mut Metrics::new());
            assert_eq!(given, expected.map_err(str::to_owned), "{text}");
        }
    }
}
