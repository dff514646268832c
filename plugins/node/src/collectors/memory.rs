//! Memory: /proc/meminfo and /proc/vmstat.

use narthex_plugin_sdk::{ConfigError, MetricType, Metrics};
use regex_lite::Regex;

use super::Collector;
use crate::config;
use crate::failure::{At, Failure};
use crate::filter::regex;
use crate::text::{number, read};

/// The fields that are given; newer kernels have more.
const FIELDS: [&str; 47] = [
    "Active",
    "Active_anon",
    "Active_file",
    "AnonHugePages",
    "AnonPages",
    "Bounce",
    "Buffers",
    "Cached",
    "CmaFree",
    "CmaTotal",
    "CommitLimit",
    "Committed_AS",
    "DirectMap1G",
    "DirectMap2M",
    "DirectMap4k",
    "Dirty",
    "HardwareCorrupted",
    "Hugepagesize",
    "Inactive",
    "Inactive_anon",
    "Inactive_file",
    "KernelStack",
    "Mapped",
    "MemAvailable",
    "MemFree",
    "MemTotal",
    "Mlocked",
    "NFS_Unstable",
    "PageTables",
    "Percpu",
    "SReclaimable",
    "SUnreclaim",
    "Shmem",
    "ShmemHugePages",
    "ShmemPmdMapped",
    "Slab",
    "SwapCached",
    "SwapFree",
    "SwapTotal",
    "Unevictable",
    "VmallocChunk",
    "VmallocTotal",
    "VmallocUsed",
    "Writeback",
    "WritebackTmp",
    "Zswap",
    "Zswapped",
];

/// These are numbers of pages.
const COUNTS: [&str; 4] = [
    "HugePages_Free",
    "HugePages_Rsvd",
    "HugePages_Surp",
    "HugePages_Total",
];

pub(crate) fn meminfo(metrics: &mut Metrics) -> Result<(), Failure> {
    const PATH: &str = "/proc/meminfo";
    for (field, value) in parse_meminfo(&read(PATH)?).at(PATH)? {
        if FIELDS.contains(&field.as_str()) {
            metrics
                .gauge(
                    &format!("node_memory_{field}_bytes"),
                    &format!("{field} of /proc/meminfo."),
                )
                .set(value);
        } else if COUNTS.contains(&field.as_str()) {
            metrics
                .gauge(
                    &format!("node_memory_{field}"),
                    &format!("{field} of /proc/meminfo, in pages."),
                )
                .set(value);
        }
    }
    Ok(())
}

/// Lines `Name:   123 kB`. `Active(anon)` becomes `Active_anon`, kilobytes become bytes.
fn parse_meminfo(text: &str) -> Result<Vec<(String, f64)>, String> {
    let mut fields = Vec::new();
    for line in text.lines() {
        let Some((name, rest)) = line.split_once(':') else {
            continue;
        };
        let mut words = rest.split_ascii_whitespace();
        let value = number(words.next().unwrap_or(""))?;
        let scale = if words.next() == Some("kB") {
            1024.0
        } else {
            1.0
        };
        let name = name.replace('(', "_").replace(')', "");
        fields.push((name, value * scale));
    }
    Ok(fields)
}

const DEFAULT_FIELDS: &str = "^(oom_kill|pgpg|pswp|pg.*fault).*";

pub(crate) struct VmStat {
    fields: Regex,
}

impl VmStat {
    pub(crate) fn new(config: &config::Fields) -> Result<Self, ConfigError> {
        let fields = config.fields.as_deref().unwrap_or(DEFAULT_FIELDS);
        Ok(VmStat {
            fields: regex("vmstat.fields", fields)?,
        })
    }
}

impl Collector for VmStat {
    fn collect(&mut self, metrics: &mut Metrics) -> Result<(), Failure> {
        const PATH: &str = "/proc/vmstat";
        for line in read(PATH)?.lines() {
            let Some((name, value)) = line.split_once(' ') else {
                continue;
            };
            if self.fields.is_match(name) {
                metrics
                    .family(
                        &format!("node_vmstat_{name}"),
                        &format!("{name} of /proc/vmstat."),
                        MetricType::Unknown,
                    )
                    .set(number(value.trim()).at(PATH)?);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_meminfo() {
        let text = "MemTotal:       16042172 kB\nActive(anon):    100 kB\nHugePages_Total:   7\n";
        assert_eq!(
            parse_meminfo(text).unwrap(),
            [
                ("MemTotal".to_owned(), 16_427_184_128.0),
                ("Active_anon".to_owned(), 102_400.0),
                ("HugePages_Total".to_owned(), 7.0),
            ]
        );
        assert!(parse_meminfo("MemTotal: much kB").is_err());
    }
}
