//! Memory: /proc/meminfo and /proc/vmstat.

use narthex_plugin_sdk::{ConfigError, MetricType, Metrics};

use super::Collector;
use crate::descriptor::{Descriptor, gauge};
use crate::failure::{At, Failure};
use crate::filter::Filter;
use crate::machine::Machine;
use crate::options::Options;
use crate::text::{number, read};

/// The fields that are given, as the kernel names them; newer kernels have more.
const FIELDS: [(&str, Descriptor); 51] = [
    (
        "Active",
        gauge(
            "node_memory_Active_bytes",
            "Memory information field Active_bytes.",
        ),
    ),
    (
        "Active(anon)",
        gauge(
            "node_memory_Active_anon_bytes",
            "Memory information field Active_anon_bytes.",
        ),
    ),
    (
        "Active(file)",
        gauge(
            "node_memory_Active_file_bytes",
            "Memory information field Active_file_bytes.",
        ),
    ),
    (
        "AnonHugePages",
        gauge(
            "node_memory_AnonHugePages_bytes",
            "Memory information field AnonHugePages_bytes.",
        ),
    ),
    (
        "AnonPages",
        gauge(
            "node_memory_AnonPages_bytes",
            "Memory information field AnonPages_bytes.",
        ),
    ),
    (
        "Bounce",
        gauge(
            "node_memory_Bounce_bytes",
            "Memory information field Bounce_bytes.",
        ),
    ),
    (
        "Buffers",
        gauge(
            "node_memory_Buffers_bytes",
            "Memory information field Buffers_bytes.",
        ),
    ),
    (
        "Cached",
        gauge(
            "node_memory_Cached_bytes",
            "Memory information field Cached_bytes.",
        ),
    ),
    (
        "CmaFree",
        gauge(
            "node_memory_CmaFree_bytes",
            "Memory information field CmaFree_bytes.",
        ),
    ),
    (
        "CmaTotal",
        gauge(
            "node_memory_CmaTotal_bytes",
            "Memory information field CmaTotal_bytes.",
        ),
    ),
    (
        "CommitLimit",
        gauge(
            "node_memory_CommitLimit_bytes",
            "Memory information field CommitLimit_bytes.",
        ),
    ),
    (
        "Committed_AS",
        gauge(
            "node_memory_Committed_AS_bytes",
            "Memory information field Committed_AS_bytes.",
        ),
    ),
    (
        "DirectMap1G",
        gauge(
            "node_memory_DirectMap1G_bytes",
            "Memory information field DirectMap1G_bytes.",
        ),
    ),
    (
        "DirectMap2M",
        gauge(
            "node_memory_DirectMap2M_bytes",
            "Memory information field DirectMap2M_bytes.",
        ),
    ),
    (
        "DirectMap4k",
        gauge(
            "node_memory_DirectMap4k_bytes",
            "Memory information field DirectMap4k_bytes.",
        ),
    ),
    (
        "Dirty",
        gauge(
            "node_memory_Dirty_bytes",
            "Memory information field Dirty_bytes.",
        ),
    ),
    (
        "HardwareCorrupted",
        gauge(
            "node_memory_HardwareCorrupted_bytes",
            "Memory information field HardwareCorrupted_bytes.",
        ),
    ),
    (
        "HugePages_Free",
        gauge(
            "node_memory_HugePages_Free",
            "Memory information field HugePages_Free.",
        ),
    ),
    (
        "HugePages_Rsvd",
        gauge(
            "node_memory_HugePages_Rsvd",
            "Memory information field HugePages_Rsvd.",
        ),
    ),
    (
        "HugePages_Surp",
        gauge(
            "node_memory_HugePages_Surp",
            "Memory information field HugePages_Surp.",
        ),
    ),
    (
        "HugePages_Total",
        gauge(
            "node_memory_HugePages_Total",
            "Memory information field HugePages_Total.",
        ),
    ),
    (
        "Hugepagesize",
        gauge(
            "node_memory_Hugepagesize_bytes",
            "Memory information field Hugepagesize_bytes.",
        ),
    ),
    (
        "Inactive",
        gauge(
            "node_memory_Inactive_bytes",
            "Memory information field Inactive_bytes.",
        ),
    ),
    (
        "Inactive(anon)",
        gauge(
            "node_memory_Inactive_anon_bytes",
            "Memory information field Inactive_anon_bytes.",
        ),
    ),
    (
        "Inactive(file)",
        gauge(
            "node_memory_Inactive_file_bytes",
            "Memory information field Inactive_file_bytes.",
        ),
    ),
    (
        "KernelStack",
        gauge(
            "node_memory_KernelStack_bytes",
            "Memory information field KernelStack_bytes.",
        ),
    ),
    (
        "Mapped",
        gauge(
            "node_memory_Mapped_bytes",
            "Memory information field Mapped_bytes.",
        ),
    ),
    (
        "MemAvailable",
        gauge(
            "node_memory_MemAvailable_bytes",
            "Memory information field MemAvailable_bytes.",
        ),
    ),
    (
        "MemFree",
        gauge(
            "node_memory_MemFree_bytes",
            "Memory information field MemFree_bytes.",
        ),
    ),
    (
        "MemTotal",
        gauge(
            "node_memory_MemTotal_bytes",
            "Memory information field MemTotal_bytes.",
        ),
    ),
    (
        "Mlocked",
        gauge(
            "node_memory_Mlocked_bytes",
            "Memory information field Mlocked_bytes.",
        ),
    ),
    (
        "NFS_Unstable",
        gauge(
            "node_memory_NFS_Unstable_bytes",
            "Memory information field NFS_Unstable_bytes.",
        ),
    ),
    (
        "PageTables",
        gauge(
            "node_memory_PageTables_bytes",
            "Memory information field PageTables_bytes.",
        ),
    ),
    (
        "Percpu",
        gauge(
            "node_memory_Percpu_bytes",
            "Memory information field Percpu_bytes.",
        ),
    ),
    (
        "SReclaimable",
        gauge(
            "node_memory_SReclaimable_bytes",
            "Memory information field SReclaimable_bytes.",
        ),
    ),
    (
        "SUnreclaim",
        gauge(
            "node_memory_SUnreclaim_bytes",
            "Memory information field SUnreclaim_bytes.",
        ),
    ),
    (
        "Shmem",
        gauge(
            "node_memory_Shmem_bytes",
            "Memory information field Shmem_bytes.",
        ),
    ),
    (
        "ShmemHugePages",
        gauge(
            "node_memory_ShmemHugePages_bytes",
            "Memory information field ShmemHugePages_bytes.",
        ),
    ),
    (
        "ShmemPmdMapped",
        gauge(
            "node_memory_ShmemPmdMapped_bytes",
            "Memory information field ShmemPmdMapped_bytes.",
        ),
    ),
    (
        "Slab",
        gauge(
            "node_memory_Slab_bytes",
            "Memory information field Slab_bytes.",
        ),
    ),
    (
        "SwapCached",
        gauge(
            "node_memory_SwapCached_bytes",
            "Memory information field SwapCached_bytes.",
        ),
    ),
    (
        "SwapFree",
        gauge(
            "node_memory_SwapFree_bytes",
            "Memory information field SwapFree_bytes.",
        ),
    ),
    (
        "SwapTotal",
        gauge(
            "node_memory_SwapTotal_bytes",
            "Memory information field SwapTotal_bytes.",
        ),
    ),
    (
        "Unevictable",
        gauge(
            "node_memory_Unevictable_bytes",
            "Memory information field Unevictable_bytes.",
        ),
    ),
    (
        "VmallocChunk",
        gauge(
            "node_memory_VmallocChunk_bytes",
            "Memory information field VmallocChunk_bytes.",
        ),
    ),
    (
        "VmallocTotal",
        gauge(
            "node_memory_VmallocTotal_bytes",
            "Memory information field VmallocTotal_bytes.",
        ),
    ),
    (
        "VmallocUsed",
        gauge(
            "node_memory_VmallocUsed_bytes",
            "Memory information field VmallocUsed_bytes.",
        ),
    ),
    (
        "Writeback",
        gauge(
            "node_memory_Writeback_bytes",
            "Memory information field Writeback_bytes.",
        ),
    ),
    (
        "WritebackTmp",
        gauge(
            "node_memory_WritebackTmp_bytes",
            "Memory information field WritebackTmp_bytes.",
        ),
    ),
    (
        "Zswap",
        gauge(
            "node_memory_Zswap_bytes",
            "Memory information field Zswap_bytes.",
        ),
    ),
    (
        "Zswapped",
        gauge(
            "node_memory_Zswapped_bytes",
            "Memory information field Zswapped_bytes.",
        ),
    ),
];

pub(crate) fn meminfo(machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
    let path = machine.proc("meminfo");
    for (field, value) in parse_meminfo(&read(&path)?).at(&path)? {
        if let Ok(at) = FIELDS.binary_search_by_key(&field, |(name, _)| name)
            && let Some((_, family)) = FIELDS.get(at)
        {
            family.set(metrics, value);
        }
    }
    Ok(())
}

/// Lines `Name:   123 kB`; kilobytes become bytes.
fn parse_meminfo(text: &str) -> Result<Vec<(&str, f64)>, String> {
    let mut fields = Vec::new();
    for line in text.lines() {
        let Some((name, rest)) = line.split_once(':') else {
            continue;
        };
        let mut words = rest.split_ascii_whitespace();
        let value = number(words.next().unwrap_or(""))?;
        let scale = match words.next() {
            Some("kB") => 1024.0,
            _ => 1.0,
        };
        fields.push((name, value * scale));
    }
    Ok(fields)
}

const DEFAULT_FIELDS: &str = "^(oom_kill|pgpg|pswp|pg.*fault).*";

pub(crate) struct VmStat {
    fields: Filter,
}

impl VmStat {
    pub(crate) fn new(options: &Options) -> Result<Self, ConfigError> {
        Ok(VmStat {
            fields: Filter::only(options, "collector.vmstat.fields", DEFAULT_FIELDS)?,
        })
    }
}

impl Collector for VmStat {
    fn collect(&mut self, machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
        let path = machine.proc("vmstat");
        for line in read(&path)?.lines() {
            let Some((name, value)) = line.split_once(' ') else {
                continue;
            };
            if self.fields.takes(name) {
                metrics
                    .family(
                        &format!("node_vmstat_{name}"),
                        &format!("/proc/vmstat information field {name}."),
                        MetricType::Unknown,
                    )
                    .set(number(value.trim()).at(&path)?);
            }
        }
        Ok(())
    }
}

const SWAP: [(usize, Descriptor, f64); 3] = [
    (
        2,
        gauge("node_swap_size_bytes", "Swap device size in bytes."),
        1024.0,
    ),
    (
        3,
        gauge("node_swap_used_bytes", "Swap device used in bytes."),
        1024.0,
    ),
    (4, gauge("node_swap_priority", "Swap device priority."), 1.0),
];

/// swap: a line of headings, then device, type, size and use in kilobytes, priority.
pub(crate) fn swap(machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
    let path = machine.proc("swaps");
    for line in read(&path)?.lines().skip(1) {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [device, kind, ..] = words.as_slice() else {
            continue;
        };
        for (column, family, factor) in SWAP {
            let word = words.get(column).ok_or("too few columns".to_owned());
            let value = word.and_then(|word| number(word)).at(&path)?;
            let labels = ["device", "swap_type"];
            family.add(metrics, labels, [device, kind], value * factor);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_sorted_so_that_they_are_found() {
        assert!(FIELDS.is_sorted_by_key(|(name, _)| *name));
    }

    #[test]
    fn reads_meminfo() {
        let text = "MemTotal:       16042172 kB\nActive(anon):    100 kB\nHugePages_Total:   7\n";
        assert_eq!(
            parse_meminfo(text).unwrap(),
            [
                ("MemTotal", 16_427_184_128.0),
                ("Active(anon)", 102_400.0),
                ("HugePages_Total", 7.0),
            ]
        );
        assert!(parse_meminfo("MemTotal: much kB").is_err());
    }
}
