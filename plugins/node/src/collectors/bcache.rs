//! Block devices that are cached by bcache.

use narthex_plugin_sdk::{ConfigError, FileError, Metrics};

use super::Collector;
use crate::descriptor::{Descriptor, counter, gauge};
use crate::failure::{At, Failure};
use crate::machine::Machine;
use crate::options::Options;
use crate::text::{folders_if_there, numbered_if_there, parse, read, read_attributes};

const SET: [(&str, Descriptor); 10] = [
    (
        "average_key_size",
        gauge(
            "node_bcache_average_key_size_sectors",
            "Average data per key in the btree (sectors).",
        ),
    ),
    (
        "btree_cache_size",
        gauge(
            "node_bcache_btree_cache_size_bytes",
            "Amount of memory currently used by the btree cache.",
        ),
    ),
    (
        "cache_available_percent",
        gauge(
            "node_bcache_cache_available_percent",
            "Percentage of cache device without dirty data, usable for writeback (may contain clean cached data).",
        ),
    ),
    ("congested", gauge("node_bcache_congested", "Congestion.")),
    (
        "root_usage_percent",
        gauge(
            "node_bcache_root_usage_percent",
            "Percentage of the root btree node in use (tree depth increases if too high).",
        ),
    ),
    (
        "tree_depth",
        gauge("node_bcache_tree_depth", "Depth of the btree."),
    ),
    (
        "internal/active_journal_entries",
        gauge(
            "node_bcache_active_journal_entries",
            "Number of journal entries that are newer than the index.",
        ),
    ),
    (
        "internal/btree_nodes",
        gauge("node_bcache_btree_nodes", "Total nodes in the btree."),
    ),
    (
        "internal/btree_read_average_duration_us",
        gauge(
            "node_bcache_btree_read_average_duration_seconds",
            "Average btree read duration.",
        ),
    ),
    (
        "internal/cache_read_races",
        counter(
            "node_bcache_cache_read_races_total",
            "Counts instances where while data was being read from the cache, the bucket was reused and invalidated - i.e. where the pointer was stale after the read completed.",
        ),
    ),
];

/// Upstream takes it for nanoseconds, whatever it is called.
const AVERAGE_DURATION: &str = "internal/btree_read_average_duration_us";

const BACKING: [(&str, Descriptor); 8] = [
    (
        "dirty_data",
        gauge(
            "node_bcache_dirty_data_bytes",
            "Amount of dirty data for this backing device in the cache.",
        ),
    ),
    (
        "stats_total/bypassed",
        counter(
            "node_bcache_bypassed_bytes_total",
            "Amount of IO (both reads and writes) that has bypassed the cache.",
        ),
    ),
    (
        "stats_total/cache_hits",
        counter(
            "node_bcache_cache_hits_total",
            "Hits counted per individual IO as bcache sees them.",
        ),
    ),
    (
        "stats_total/cache_misses",
        counter(
            "node_bcache_cache_misses_total",
            "Misses counted per individual IO as bcache sees them.",
        ),
    ),
    (
        "stats_total/cache_bypass_hits",
        counter(
            "node_bcache_cache_bypass_hits_total",
            "Hits for IO intended to skip the cache.",
        ),
    ),
    (
        "stats_total/cache_bypass_misses",
        counter(
            "node_bcache_cache_bypass_misses_total",
            "Misses for IO intended to skip the cache.",
        ),
    ),
    (
        "stats_total/cache_miss_collisions",
        counter(
            "node_bcache_cache_miss_collisions_total",
            "Instances where data insertion from cache miss raced with write (data already present).",
        ),
    ),
    (
        "stats_total/cache_readaheads",
        counter(
            "node_bcache_cache_readaheads_total",
            "Count of times readahead occurred.",
        ),
    ),
];

/// Newer kernels don't read ahead, so it is only given where it counts something.
const READ_AHEADS: &str = "stats_total/cache_readaheads";

/// By the words that begin the lines of `writeback_rate_debug`.
const WRITE_BACK: [(&str, Descriptor); 5] = [
    (
        "rate:",
        gauge(
            "node_bcache_writeback_rate",
            "Current writeback rate for this backing device in bytes.",
        ),
    ),
    (
        "target:",
        gauge(
            "node_bcache_dirty_target_bytes",
            "Current dirty data target threshold for this backing device in bytes.",
        ),
    ),
    (
        "proportional:",
        gauge(
            "node_bcache_writeback_rate_proportional_term",
            "Current result of proportional controller, part of writeback rate",
        ),
    ),
    (
        "integral:",
        gauge(
            "node_bcache_writeback_rate_integral_term",
            "Current result of integral controller, part of writeback rate",
        ),
    ),
    (
        "change:",
        gauge(
            "node_bcache_writeback_change",
            "Last writeback rate change step for this backing device.",
        ),
    ),
];

const CACHE: [(&str, Descriptor); 3] = [
    (
        "io_errors",
        gauge(
            "node_bcache_io_errors",
            "Number of errors that have occurred, decayed by io_error_halflife.",
        ),
    ),
    (
        "metadata_written",
        counter(
            "node_bcache_metadata_written_bytes_total",
            "Sum of all non data writes (btree writes and all other metadata).",
        ),
    ),
    (
        "written",
        counter(
            "node_bcache_written_bytes_total",
            "Sum of all data that has been written to the cache.",
        ),
    ),
];

/// By the words that begin the lines of `priority_stats`.
const PRIORITY: [(&str, Descriptor); 2] = [
    (
        "Unused:",
        gauge(
            "node_bcache_priority_stats_unused_percent",
            "The percentage of the cache that doesn't contain any data.",
        ),
    ),
    (
        "Metadata:",
        gauge(
            "node_bcache_priority_stats_metadata_percent",
            "Bcache's metadata overhead.",
        ),
    ),
];

pub(crate) struct Bcache {
    /// They make the kernel walk through all of a cache.
    priority_stats: bool,
}

impl Bcache {
    pub(crate) fn new(options: &Options) -> Result<Self, ConfigError> {
        Ok(Bcache {
            priority_stats: options.flag("collector.bcache.priorityStats", false)?,
        })
    }
}

impl Collector for Bcache {
    fn collect(&mut self, machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
        let folder = machine.sys("fs/bcache");
        for uuid in folders_if_there(&folder, |name| name.contains('-'))? {
            let set = format!("{folder}/{uuid}");
            for (file, family, value) in values(&set, &SET)? {
                let value = if file == AVERAGE_DURATION {
                    value * 1e-9
                } else {
                    value
                };
                family.add(metrics, ["uuid"], [&uuid], value);
            }
            for number in numbered_if_there(&set, "bdev")? {
                backing(&set, &format!("bdev{number}"), &uuid, metrics)?;
            }
            for number in numbered_if_there(&set, "cache")? {
                self.cache(&set, &format!("cache{number}"), &uuid, metrics)?;
            }
        }
        Ok(())
    }
}

impl Bcache {
    fn cache(
        &self,
        set: &str,
        name: &str,
        uuid: &str,
        metrics: &mut Metrics,
    ) -> Result<(), Failure> {
        let labels = ["cache_device", "uuid"];
        let folder = format!("{set}/{name}");
        for (_, family, value) in values(&folder, &CACHE)? {
            family.add(metrics, labels, [name, uuid], value);
        }
        if self.priority_stats {
            let path = format!("{folder}/priority_stats");
            let text = read(&path)?;
            for (start, family) in PRIORITY {
                let value = last_word(&text, start).map_or(Ok(0.0), size).at(&path)?;
                family.add(metrics, labels, [name, uuid], value);
            }
        }
        Ok(())
    }
}

fn backing(set: &str, name: &str, uuid: &str, metrics: &mut Metrics) -> Result<(), Failure> {
    let labels = ["backing_device", "uuid"];
    let folder = format!("{set}/{name}");
    for (file, family, value) in values(&folder, &BACKING)? {
        if file != READ_AHEADS || value != 0.0 {
            family.add(metrics, labels, [name, uuid], value);
        }
    }
    let path = format!("{folder}/writeback_rate_debug");
    let text = read(&path)?;
    for (start, family) in WRITE_BACK {
        let value = last_word(&text, start).map_or(Ok(0.0), size).at(&path)?;
        family.add(metrics, labels, [name, uuid], value);
    }
    Ok(())
}

/// The values of these files, 0 for one that is not there.
fn values<'a>(
    folder: &str,
    files: &'a [(&'a str, Descriptor)],
) -> Result<Vec<(&'a str, &'a Descriptor, f64)>, Failure> {
    let paths: Vec<String> = files
        .iter()
        .map(|(file, _)| format!("{folder}/{file}"))
        .collect();
    let texts = read_attributes(&paths);
    files
        .iter()
        .zip(paths.iter().zip(texts))
        .map(|((file, family), (path, text))| Ok((*file, family, value(path, text)?)))
        .collect()
}

fn value(path: &str, text: Result<String, FileError>) -> Result<f64, Failure> {
    match text {
        Err(error) if error.is_not_found() => Ok(0.0),
        text => size(&text.at(path)?).at(path),
    }
}

/// The last word of the line that starts so, without the unit that follows the number.
fn last_word<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(start))?;
    let word = line.split_ascii_whitespace().next_back()?;
    Some(word.trim_end_matches("/sec").trim_end_matches('%'))
}

/// A size as bcache writes it: powers of 1024, and after the dot not tenths, but 1024ths divided by
/// a hundred.
fn size(text: &str) -> Result<f64, String> {
    let wrong = || format!("expected a size, not {text:?}");
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let units = ['k', 'M', 'G', 'T', 'P', 'E', 'Z', 'Y']
        .into_iter()
        .zip(1..);
    let mut scaled = units.filter_map(|(unit, power)| Some((digits.strip_suffix(unit)?, power)));
    let value = match scaled.next() {
        None => parse::<f64>(digits).ok_or_else(wrong)?,
        Some((mantissa, power)) => {
            let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
            let whole: f64 = parse(whole).ok_or_else(wrong)?;
            let part: f64 = parse(part).ok_or_else(wrong)?;
            (whole + part / 10.24) * 1024_f64.powi(power)
        }
    };
    let value = value.trunc();
    Ok(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_sizes() {
        for (text, expected) in [
            ("0", Some(0.0)),
            ("546", Some(546.0)),
            ("1.1M", Some(1_150_976.0)),
            ("20.4G", Some(21_894_266_880.0)),
            ("-427.5k", Some(-437_748.0)),
            ("", None),
            ("k", None),
            ("1.x", None),
            ("1q", None),
        ] {
            assert_eq!(size(text).ok(), expected, "{text}");
        }
    }
}
