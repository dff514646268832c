//! File systems of type bcachefs.

use narthex_plugin_sdk::{Error, Metrics, files};

use crate::descriptor::{Descriptor, counter, gauge};
use crate::failure::{At, Failure};
use crate::machine::Machine;
use crate::text::{
    as_name, folders_where, human_bytes, is_file, number, or_empty, read_many, texts_of,
};

const INFO: Descriptor = gauge("node_bcachefs_info", "Filesystem information.");
const CACHE_SIZE: Descriptor = gauge(
    "node_bcachefs_btree_cache_size_bytes",
    "Btree cache memory usage in bytes.",
);
const COMPRESSED: Descriptor = gauge(
    "node_bcachefs_compression_compressed_bytes",
    "Compressed size by algorithm.",
);
const UNCOMPRESSED: Descriptor = gauge(
    "node_bcachefs_compression_uncompressed_bytes",
    "Uncompressed size by algorithm.",
);
const ERRORS: Descriptor = counter("node_bcachefs_errors_total", "Error count by error type.");
const WRITES: Descriptor = counter(
    "node_bcachefs_btree_writes_total",
    "Number of btree writes by type.",
);
const WRITE_SIZE: Descriptor = gauge(
    "node_bcachefs_btree_write_average_size_bytes",
    "Average btree write size by type.",
);
const DEVICE_INFO: Descriptor = gauge("node_bcachefs_device_info", "Device information.");
const BUCKET_SIZE: Descriptor = gauge(
    "node_bcachefs_device_bucket_size_bytes",
    "Bucket size in bytes.",
);
const BUCKETS: Descriptor = gauge("node_bcachefs_device_buckets", "Total number of buckets.");
const DURABILITY: Descriptor = gauge(
    "node_bcachefs_device_durability",
    "Device durability setting.",
);
const IO_DONE: Descriptor = counter(
    "node_bcachefs_device_io_done_bytes_total",
    "IO bytes by operation type and data type.",
);
const IO_ERRORS: Descriptor = counter(
    "node_bcachefs_device_io_errors_total",
    "IO errors by error type.",
);

pub(crate) fn collect(machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
    let folder = machine.sys("fs/bcachefs");
    let uuids = folders_where(&folder, |_| true).at_if_there(&folder)?;
    if uuids.is_empty() {
        return Err(Failure::NoData(Error::new(format!("{folder} is empty"))));
    }
    for uuid in uuids {
        file_system(&format!("{folder}/{uuid}"), &uuid, metrics)?;
    }
    Ok(())
}

fn file_system(folder: &str, uuid: &str, metrics: &mut Metrics) -> Result<(), Failure> {
    let files = [
        "btree_cache_size",
        "compression_stats",
        "errors",
        "btree_write_stats",
    ];
    let [cache, compression, errors, writes] = texts_of(folder, files)?;
    INFO.add(metrics, ["uuid"], [uuid], 1.0);
    let cache_bytes = match cache.trim() {
        "" => 0.0,
        text => human_bytes(text).at(folder)?,
    };
    CACHE_SIZE.add(metrics, ["uuid"], [uuid], cache_bytes);
    for line in compression.lines().skip(1) {
        if let [algorithm, compressed, plain, ..] = words(line).as_slice() {
            let labels = ["algorithm", "uuid"];
            let values = [algorithm.trim_end_matches(':'), uuid];
            COMPRESSED.add(metrics, labels, values, human_bytes(compressed).at(folder)?);
            UNCOMPRESSED.add(metrics, labels, values, human_bytes(plain).at(folder)?);
        }
    }
    for line in errors.lines() {
        if let [name, count, ..] = words(line).as_slice() {
            let count = number(count).at(folder)?;
            ERRORS.add(metrics, ["error_type", "uuid"], [name, uuid], count);
        }
    }
    counters(folder, uuid, metrics)?;
    for line in writes.lines().skip(1) {
        if let [kind, count, size, ..] = words(line).as_slice() {
            let values = [kind.trim_end_matches(':'), uuid];
            WRITES.add(metrics, ["type", "uuid"], values, number(count).at(folder)?);
            let bytes = human_bytes(size).at(folder)?;
            WRITE_SIZE.add(metrics, ["type", "uuid"], values, bytes);
        }
    }
    for name in folders_where(folder, |name| name.starts_with("dev-")).at(folder)? {
        device(folder, &name, uuid, metrics)?;
    }
    Ok(())
}

/// Whatever the kernel counts.
fn counters(folder: &str, uuid: &str, metrics: &mut Metrics) -> Result<(), Failure> {
    let folder = format!("{folder}/counters");
    let entries = match files::entries(&folder) {
        Err(error) if error.is_not_found() => return Ok(()),
        entries => entries.at(&folder)?,
    };
    let names: Vec<&str> = entries
        .iter()
        .filter(|entry| is_file(entry))
        .map(|entry| entry.name.as_str())
        .collect();
    let paths: Vec<String> = names
        .iter()
        .map(|name| format!("{folder}/{name}"))
        .collect();
    for ((name, path), text) in names.iter().zip(&paths).zip(read_many(&paths)) {
        const LINE: &str = "since filesystem creation:";
        let text = or_empty(text).at(path)?;
        let value = text.lines().find_map(|line| line.strip_prefix(LINE));
        let value = value.map_or(Ok(0.0), human_bytes).at(path)?;
        metrics
            .counter(
                &format!("node_bcachefs_{}_total", as_name(name)),
                &format!("Bcachefs counter {name} since filesystem creation."),
            )
            .labels(["uuid"])
            .add([uuid], value);
    }
    Ok(())
}

fn device(folder: &str, name: &str, uuid: &str, metrics: &mut Metrics) -> Result<(), Failure> {
    let folder = format!("{folder}/{name}");
    let device = name.trim_start_matches("dev-");
    let files = [
        "label",
        "state",
        "bucket_size",
        "nbuckets",
        "durability",
        "io_done",
        "io_errors",
    ];
    let [
        label,
        state,
        bucket_size,
        buckets,
        durability,
        io_done,
        io_errors,
    ] = texts_of(&folder, files)?;
    let value = |text: &str| match text.trim() {
        "" => Ok(0.0),
        text => human_bytes(text).at(&folder),
    };
    DEVICE_INFO.add(
        metrics,
        ["device", "label", "state", "uuid"],
        [device, label.trim(), state.trim(), uuid],
        1.0,
    );
    for (family, text) in [
        (BUCKET_SIZE, bucket_size),
        (BUCKETS, buckets),
        (DURABILITY, durability),
    ] {
        family.add(metrics, ["device", "uuid"], [device, uuid], value(&text)?);
    }
    for (operation, kind, bytes) in io_by_kind(&io_done) {
        IO_DONE.add(
            metrics,
            ["data_type", "device", "operation", "uuid"],
            [kind, device, operation, uuid],
            number(bytes).at(&folder)?,
        );
    }
    for (kind, count) in io_errors_by_type(&io_errors) {
        let count = number(count).at(&folder)?;
        IO_ERRORS.add(
            metrics,
            ["device", "type", "uuid"],
            [device, kind, uuid],
            count,
        );
    }
    Ok(())
}

/// Lines `type : bytes` below `read:` and `write:`.
fn io_by_kind(text: &str) -> Vec<(&str, &str, &str)> {
    let mut operation = None;
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        match (line, operation) {
            ("read:" | "write:", _) => operation = Some(line.trim_end_matches(':')),
            (line, Some(operation)) => {
                if let Some((kind, bytes)) = line.split_once(':') {
                    found.push((operation, kind.trim(), bytes.trim()));
                }
            }
            _ => {}
        }
    }
    found
}

/// Lines `type: count` below the heading that speaks of the file system's creation.
fn io_errors_by_type(text: &str) -> Vec<(&str, &str)> {
    const HEADING: &str = "IO errors since filesystem creation";
    text.lines()
        .skip_while(|line| !line.starts_with(HEADING))
        .skip(1)
        .take_while(|line| !line.starts_with("IO errors since "))
        .filter_map(|line| line.split_once(':'))
        .map(|(kind, count)| (kind.trim(), count.trim()))
        .collect()
}

fn words(line: &str) -> Vec<&str> {
    line.split_ascii_whitespace().collect()
}
