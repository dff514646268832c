//! Adapters for Fibre Channel.

use narthex_plugin_sdk::Metrics;

use crate::descriptor::{Descriptor, counter, gauge};
use crate::failure::{At, Failure};
use crate::machine::Machine;
use crate::text::{attributes, attributes_of, folders_where, parse};

const INFO: Descriptor = gauge(
    "node_fibrechannel_info",
    "Non-numeric data from /sys/class/fc_host/<host>, value is always 1.",
);

/// Labels, which are also the names of files.
const LABELS: [&str; 10] = [
    "dev_loss_tmo",
    "fabric_name",
    "port_id",
    "port_name",
    "port_state",
    "port_type",
    "speed",
    "supported_classes",
    "supported_speeds",
    "symbolic_name",
];

/// These are hexadecimal numbers.
const WITHOUT_PREFIX: [&str; 3] = ["fabric_name", "port_id", "port_name"];

const COUNTERS: [(&str, Descriptor); 14] = [
    (
        "dumped_frames",
        counter(
            "node_fibrechannel_dumped_frames_total",
            "Number of dumped frames",
        ),
    ),
    (
        "error_frames",
        counter(
            "node_fibrechannel_error_frames_total",
            "Number of errors in frames",
        ),
    ),
    (
        "invalid_crc_count",
        counter(
            "node_fibrechannel_invalid_crc_total",
            "Invalid Cyclic Redundancy Check count",
        ),
    ),
    (
        "rx_frames",
        counter(
            "node_fibrechannel_rx_frames_total",
            "Number of frames received",
        ),
    ),
    (
        "rx_words",
        counter(
            "node_fibrechannel_rx_words_total",
            "Number of words received by host port",
        ),
    ),
    (
        "tx_frames",
        counter(
            "node_fibrechannel_tx_frames_total",
            "Number of frames transmitted by host port",
        ),
    ),
    (
        "tx_words",
        counter(
            "node_fibrechannel_tx_words_total",
            "Number of words transmitted by host port",
        ),
    ),
    (
        "seconds_since_last_reset",
        counter(
            "node_fibrechannel_seconds_since_last_reset_total",
            "Number of seconds since last host port reset",
        ),
    ),
    (
        "invalid_tx_word_count",
        counter(
            "node_fibrechannel_invalid_tx_words_total",
            "Number of invalid words transmitted by host port",
        ),
    ),
    (
        "link_failure_count",
        counter(
            "node_fibrechannel_link_failure_total",
            "Number of times the host port link has failed",
        ),
    ),
    (
        "loss_of_sync_count",
        counter(
            "node_fibrechannel_loss_of_sync_total",
            "Number of failures on either bit or transmission word boundaries",
        ),
    ),
    (
        "loss_of_signal_count",
        counter(
            "node_fibrechannel_loss_of_signal_total",
            "Number of times signal has been lost",
        ),
    ),
    (
        "nos_count",
        counter(
            "node_fibrechannel_nos_total",
            "Number Not_Operational Primitive Sequence received by host port",
        ),
    ),
    (
        "fcp_packet_aborts",
        counter(
            "node_fibrechannel_fcp_packet_aborts_total",
            "Number of aborted packets",
        ),
    ),
];

pub(crate) fn collect(machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
    let folder = machine.sys("class/fc_host");
    for host in folders_where(&folder, |_| true).at_if_there(&folder)? {
        let folder = format!("{folder}/{host}");
        let values = attributes_of(&folder, LABELS);
        let [_, _, _, _, port_state, ..] = &values;
        let counts = match port_state.as_deref() {
            // An adapter that is switched off counts nothing.
            None | Some("Unknown") => vec![Some(0); COUNTERS.len()],
            Some(_) => counts(&folder),
        };
        for ((_, family), count) in COUNTERS.iter().zip(counts) {
            if let Some(count) = count {
                family.add(metrics, ["fc_host"], [&host], count as f64);
            }
        }
        describe(&host, &values, metrics);
    }
    Ok(())
}

fn describe(host: &str, values: &[Option<String>; 10], metrics: &mut Metrics) {
    let mut names = ["fc_host"; 11];
    let mut texts = [host; 11];
    let places = names.iter_mut().zip(&mut texts).skip(1);
    for ((name, text), (label, value)) in places.zip(LABELS.iter().zip(values)) {
        let value = value.as_deref().unwrap_or_default();
        *name = label;
        *text = match WITHOUT_PREFIX.contains(label) {
            true => value
                .get(2..)
                .filter(|rest| !rest.is_empty())
                .unwrap_or(value),
            false => value,
        };
    }
    INFO.add(metrics, names, texts, 1.0);
}

/// What the adapter counts; none for what it does not support.
fn counts(folder: &str) -> Vec<Option<u64>> {
    let paths = COUNTERS.map(|(file, _)| format!("{folder}/statistics/{file}"));
    let read = |text: Option<String>| {
        let text = text?;
        let count = match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok()?,
            None => parse(&text)?,
        };
        (count != u64::MAX).then_some(count)
    };
    attributes(&paths).into_iter().map(read).collect()
}
