//! Tape drives.

use narthex_plugin_sdk::{ConfigError, Metrics};

use super::Collector;
use crate::descriptor::{Descriptor, counter, gauge};
use crate::failure::{At, Failure};
use crate::filter::Filter;
use crate::machine::Machine;
use crate::options::Options;
use crate::text::{folders_where, numbered, parse, read_attributes};

/// The file in the folder `stats`, and by what the value is multiplied.
const STATISTICS: [(&str, Descriptor, f64); 10] = [
    (
        "in_flight",
        gauge(
            "node_tape_io_now",
            "The number of I/Os currently outstanding to this device.",
        ),
        1.0,
    ),
    (
        "io_ns",
        counter(
            "node_tape_io_time_seconds_total",
            "The amount of time spent waiting for all I/O to complete (including read and write). This includes tape movement commands such as seeking between file or set marks and implicit tape movement such as when rewind on close tape devices are used.",
        ),
        NANO,
    ),
    (
        "other_cnt",
        counter(
            "node_tape_io_others_total",
            "The number of I/Os issued to the tape drive other than read or write commands. The time taken to complete these commands uses the following calculation io_time_seconds_total-read_time_seconds_total-write_time_seconds_total",
        ),
        1.0,
    ),
    (
        "read_byte_cnt",
        counter(
            "node_tape_read_bytes_total",
            "The number of bytes read from the tape drive.",
        ),
        1.0,
    ),
    (
        "read_cnt",
        counter(
            "node_tape_reads_completed_total",
            "The number of read requests issued to the tape drive.",
        ),
        1.0,
    ),
    (
        "read_ns",
        counter(
            "node_tape_read_time_seconds_total",
            "The amount of time spent waiting for read requests to complete.",
        ),
        NANO,
    ),
    (
        "resid_cnt",
        counter(
            "node_tape_residual_total",
            "The number of times during a read or write we found the residual amount to be non-zero. This should mean that a program is issuing a read larger thean the block size on tape. For write not all data made it to tape.",
        ),
        1.0,
    ),
    (
        "write_byte_cnt",
        counter(
            "node_tape_written_bytes_total",
            "The number of bytes written to the tape drive.",
        ),
        1.0,
    ),
    (
        "write_cnt",
        counter(
            "node_tape_writes_completed_total",
            "The number of write requests issued to the tape drive.",
        ),
        1.0,
    ),
    (
        "write_ns",
        counter(
            "node_tape_write_time_seconds_total",
            "The amount of time spent waiting for write requests to complete.",
        ),
        NANO,
    ),
];

const NANO: f64 = 0.000_000_001;

pub(crate) struct Tape {
    devices: Filter,
}

impl Tape {
    pub(crate) fn new(options: &Options) -> Result<Self, ConfigError> {
        Ok(Tape {
            devices: Filter::ignoring(options, "collector.tapestats.ignored-devices")?,
        })
    }
}

impl Collector for Tape {
    fn collect(&mut self, machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
        let class = machine.sys("class/scsi_tape");
        let is_drive = |name: &str| numbered(name, "st").is_some() && self.devices.takes(name);
        for device in folders_where(&class, is_drive).at_if_there(&class)? {
            let paths = STATISTICS.map(|(file, ..)| format!("{class}/{device}/stats/{file}"));
            let values = STATISTICS
                .iter()
                .zip(paths.iter().zip(read_attributes(&paths)));
            for ((_, family, factor), (path, text)) in values {
                let value: f64 = match text {
                    Err(error) if error.is_not_found() => continue,
                    text => parse(&text.at(path)?)
                        .ok_or("expected a number".to_owned())
                        .at(path)?,
                };
                family.add(metrics, ["device"], [&device], value * factor);
            }
        }
        Ok(())
    }
}
