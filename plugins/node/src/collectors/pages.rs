//! Pages of memory: zones, free blocks, slabs, pages that are shared.

use narthex_plugin_sdk::{ConfigError, Metrics};

use super::Collector;
use crate::descriptor::{Descriptor, counter, gauge};
use crate::failure::{At, Failure};
use crate::filter::Filter;
use crate::machine::Machine;
use crate::options::Options;
use crate::text::{number, read, read_attributes};

const BLOCKS: Descriptor = gauge(
    "node_buddyinfo_blocks",
    "Count of free blocks according to size.",
);

/// buddyinfo: lines `Node 0, zone Normal 4381 1093 …`, a count for each size.
pub(crate) fn buddies(machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
    let path = machine.proc("buddyinfo");
    for line in read(&path)?.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let ["Node", node, "zone", zone, counts @ ..] = words.as_slice() else {
            return Err(Failure::new(format!(
                "{path}: expected a zone, not {line:?}"
            )));
        };
        let node = node.trim_end_matches(',');
        for (size, count) in counts.iter().enumerate() {
            let values = [node, &size.to_string(), zone];
            BLOCKS.add(
                metrics,
                ["node", "size", "zone"],
                values,
                number(count).at(&path)?,
            );
        }
    }
    Ok(())
}

/// By the words that the lines begin with.
const ZONE: [(&str, Descriptor); 34] = [
    (
        "nr_free_pages",
        gauge(
            "node_zoneinfo_nr_free_pages",
            "Total number of free pages in the zone",
        ),
    ),
    (
        "min",
        gauge("node_zoneinfo_min_pages", "Zone watermark pages_min"),
    ),
    (
        "low",
        gauge("node_zoneinfo_low_pages", "Zone watermark pages_low"),
    ),
    (
        "high",
        gauge("node_zoneinfo_high_pages", "Zone watermark pages_high"),
    ),
    (
        "scanned",
        gauge(
            "node_zoneinfo_scanned_pages",
            "Pages scanned since last reclaim",
        ),
    ),
    (
        "spanned",
        gauge(
            "node_zoneinfo_spanned_pages",
            "Total pages spanned by the zone, including holes",
        ),
    ),
    (
        "present",
        gauge(
            "node_zoneinfo_present_pages",
            "Physical pages existing within the zone",
        ),
    ),
    (
        "managed",
        gauge(
            "node_zoneinfo_managed_pages",
            "Present pages managed by the buddy system",
        ),
    ),
    (
        "nr_active_anon",
        gauge(
            "node_zoneinfo_nr_active_anon_pages",
            "Number of anonymous pages recently more used",
        ),
    ),
    (
        "nr_inactive_anon",
        gauge(
            "node_zoneinfo_nr_inactive_anon_pages",
            "Number of anonymous pages recently less used",
        ),
    ),
    (
        "nr_isolated_anon",
        gauge(
            "node_zoneinfo_nr_isolated_anon_pages",
            "Temporary isolated pages from anon lru",
        ),
    ),
    (
        "nr_anon_pages",
        gauge(
            "node_zoneinfo_nr_anon_pages",
            "Number of anonymous pages currently used by the system",
        ),
    ),
    (
        "nr_anon_transparent_hugepages",
        gauge(
            "node_zoneinfo_nr_anon_transparent_hugepages",
            "Number of anonymous transparent huge pages currently used by the system",
        ),
    ),
    (
        "nr_active_file",
        gauge(
            "node_zoneinfo_nr_active_file_pages",
            "Number of active pages with file-backing",
        ),
    ),
    (
        "nr_inactive_file",
        gauge(
            "node_zoneinfo_nr_inactive_file_pages",
            "Number of inactive pages with file-backing",
        ),
    ),
    (
        "nr_isolated_file",
        gauge(
            "node_zoneinfo_nr_isolated_file_pages",
            "Temporary isolated pages from file lru",
        ),
    ),
    (
        "nr_file_pages",
        gauge("node_zoneinfo_nr_file_pages", "Number of file pages"),
    ),
    (
        "nr_slab_reclaimable",
        gauge(
            "node_zoneinfo_nr_slab_reclaimable_pages",
            "Number of reclaimable slab pages",
        ),
    ),
    (
        "nr_slab_unreclaimable",
        gauge(
            "node_zoneinfo_nr_slab_unreclaimable_pages",
            "Number of unreclaimable slab pages",
        ),
    ),
    (
        "nr_mlock_stack",
        gauge(
            "node_zoneinfo_nr_mlock_stack_pages",
            "mlock()ed pages found and moved off LRU",
        ),
    ),
    (
        "nr_kernel_stack",
        gauge("node_zoneinfo_nr_kernel_stacks", "Number of kernel stacks"),
    ),
    (
        "nr_mapped",
        gauge("node_zoneinfo_nr_mapped_pages", "Number of mapped pages"),
    ),
    (
        "nr_dirty",
        gauge("node_zoneinfo_nr_dirty_pages", "Number of dirty pages"),
    ),
    (
        "nr_writeback",
        gauge(
            "node_zoneinfo_nr_writeback_pages",
            "Number of writeback pages",
        ),
    ),
    (
        "nr_unevictable",
        gauge(
            "node_zoneinfo_nr_unevictable_pages",
            "Number of unevictable pages",
        ),
    ),
    (
        "nr_shmem",
        gauge(
            "node_zoneinfo_nr_shmem_pages",
            "Number of shmem pages (included tmpfs/GEM pages)",
        ),
    ),
    (
        "nr_dirtied",
        counter(
            "node_zoneinfo_nr_dirtied_total",
            "Page dirtyings since bootup",
        ),
    ),
    (
        "nr_written",
        counter(
            "node_zoneinfo_nr_written_total",
            "Page writings since bootup",
        ),
    ),
    (
        "numa_hit",
        counter("node_zoneinfo_numa_hit_total", "Allocated in intended node"),
    ),
    (
        "numa_miss",
        counter(
            "node_zoneinfo_numa_miss_total",
            "Allocated in non intended node",
        ),
    ),
    (
        "numa_foreign",
        counter(
            "node_zoneinfo_numa_foreign_total",
            "Was intended here, hit elsewhere",
        ),
    ),
    (
        "numa_interleave",
        counter(
            "node_zoneinfo_numa_interleave_total",
            "Interleaver preferred this zone",
        ),
    ),
    (
        "numa_local",
        counter(
            "node_zoneinfo_numa_local_total",
            "Allocation from local node",
        ),
    ),
    (
        "numa_other",
        counter(
            "node_zoneinfo_numa_other_total",
            "Allocation from other node",
        ),
    ),
];

/// zoneinfo.
pub(crate) fn zones(machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
    let path = machine.proc("zoneinfo");
    let text = read(&path)?;
    let mut place = ["", ""];
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        match (words.next(), words.next()) {
            (Some("Node"), Some(node)) => {
                let zone = words.nth(1).unwrap_or_default();
                place = [node.trim_end_matches(','), zone];
            }
            (Some("protection:"), _) => protection(line, place, metrics).at(&path)?,
            (Some(word), Some(value)) => {
                if let Some((_, family)) = ZONE.iter().find(|(name, _)| *name == word) {
                    let value = number(value).at(&path)?;
                    family.add(metrics, ["node", "zone"], place, value);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// `protection: (0, 2039, 31932)`.
fn protection(line: &str, place: [&str; 2], metrics: &mut Metrics) -> Result<(), String> {
    let (_, list) = line.split_once('(').ok_or("expected a list in brackets")?;
    for (at, value) in list.trim_end_matches(')').split(',').enumerate() {
        let value = number(value.trim())?;
        metrics
            .gauge(
                &format!("node_zoneinfo_protection_{at}"),
                &format!("Protection array {at}. field"),
            )
            .labels(["node", "zone"])
            .add(place, value);
    }
    Ok(())
}

/// In the order of the columns.
const SLAB: [Descriptor; 5] = [
    gauge(
        "node_slabinfo_active_objects",
        "The number of objects that are currently active (i.e., in use).",
    ),
    gauge(
        "node_slabinfo_objects",
        "The total number of allocated objects (i.e., objects that are both in use and not in use).",
    ),
    gauge(
        "node_slabinfo_object_size_bytes",
        "The size of objects in this slab, in bytes.",
    ),
    gauge(
        "node_slabinfo_objects_per_slab",
        "The number of objects stored in each slab.",
    ),
    gauge(
        "node_slabinfo_pages_per_slab",
        "The number of pages allocated for each slab.",
    ),
];

pub(crate) struct Slabs {
    names: Filter,
}

impl Slabs {
    pub(crate) fn new(options: &Options) -> Result<Self, ConfigError> {
        Ok(Slabs {
            names: Filter::new(options, "collector.slabinfo.slabs", None)?,
        })
    }
}

impl Collector for Slabs {
    fn collect(&mut self, machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
        let path = machine.proc("slabinfo");
        // Two lines of headings.
        for line in read(&path)?.lines().skip(2) {
            let mut words = line.split_ascii_whitespace();
            let Some(slab) = words.next().filter(|slab| self.names.takes(slab)) else {
                continue;
            };
            for family in SLAB {
                let value = words.next().ok_or("too few columns".to_owned());
                let value = value.and_then(number).at(&path)?;
                family.add(metrics, ["slab"], [slab], value);
            }
        }
        Ok(())
    }
}

/// The file, and by what the value is divided.
const SHARED: [(&str, Descriptor, f64); 10] = [
    (
        "full_scans",
        counter(
            "node_ksmd_full_scans_total",
            "How many times all mergeable areas have been scanned.",
        ),
        1.0,
    ),
    (
        "general_profit",
        gauge(
            "node_ksmd_general_profit_bytes",
            "How effective is KSM. ksm_saved_pages * sizeof(page) - (all_rmap_items) * sizeof(rmap_item)",
        ),
        1.0,
    ),
    (
        "merge_across_nodes",
        gauge(
            "node_ksmd_merge_across_nodes",
            "Specifies if pages from different NUMA nodes can be merged.",
        ),
        1.0,
    ),
    (
        "pages_shared",
        gauge(
            "node_ksmd_pages_shared",
            "How many shared pages are being used.",
        ),
        1.0,
    ),
    (
        "pages_sharing",
        gauge(
            "node_ksmd_pages_sharing",
            "How many more sites are sharing them i.e. how much saved.",
        ),
        1.0,
    ),
    (
        "pages_to_scan",
        gauge(
            "node_ksmd_pages_to_scan",
            "How many pages to scan before ksmd goes to sleep.",
        ),
        1.0,
    ),
    (
        "pages_unshared",
        gauge(
            "node_ksmd_pages_unshared",
            "How many pages unique but repeatedly checked for merging.",
        ),
        1.0,
    ),
    (
        "pages_volatile",
        gauge(
            "node_ksmd_pages_volatile",
            "How many pages changing too fast to be placed in a tree.",
        ),
        1.0,
    ),
    (
        "run",
        gauge(
            "node_ksmd_run",
            "The status of ksmd. stopped = 0, running = 1",
        ),
        1.0,
    ),
    (
        "sleep_millisecs",
        gauge(
            "node_ksmd_sleep_seconds",
            "How many seconds ksmd should sleep before next scan.",
        ),
        1000.0,
    ),
];

/// ksmd.
pub(crate) fn shared(machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
    let paths = SHARED.map(|(file, ..)| machine.sys(&format!("kernel/mm/ksm/{file}")));
    let texts = read_attributes(&paths);
    for ((_, family, divisor), (path, text)) in SHARED.iter().zip(paths.iter().zip(texts)) {
        let text = match text {
            Err(error) if error.is_not_found() => continue,
            text => text.at(path)?,
        };
        family.set(metrics, number(&text).at(path)? / divisor);
    }
    Ok(())
}
