//! Watchdogs, which start a machine anew that hangs.

use narthex_plugin_sdk::Metrics;

use crate::descriptor::{Descriptor, gauge};
use crate::failure::{At, Failure};
use crate::machine::Machine;
use crate::text::{folders_where, integer, is_denied, read_attributes};

const NUMBERS: [(&str, Descriptor); 7] = [
    (
        "bootstatus",
        gauge(
            "node_watchdog_bootstatus",
            "Value of /sys/class/watchdog/<watchdog>/bootstatus",
        ),
    ),
    (
        "fw_version",
        gauge(
            "node_watchdog_fw_version",
            "Value of /sys/class/watchdog/<watchdog>/fw_version",
        ),
    ),
    (
        "nowayout",
        gauge(
            "node_watchdog_nowayout",
            "Value of /sys/class/watchdog/<watchdog>/nowayout",
        ),
    ),
    (
        "timeleft",
        gauge(
            "node_watchdog_timeleft_seconds",
            "Value of /sys/class/watchdog/<watchdog>/timeleft",
        ),
    ),
    (
        "timeout",
        gauge(
            "node_watchdog_timeout_seconds",
            "Value of /sys/class/watchdog/<watchdog>/timeout",
        ),
    ),
    (
        "pretimeout",
        gauge(
            "node_watchdog_pretimeout_seconds",
            "Value of /sys/class/watchdog/<watchdog>/pretimeout",
        ),
    ),
    (
        "access_cs0",
        gauge(
            "node_watchdog_access_cs0",
            "Value of /sys/class/watchdog/<watchdog>/access_cs0",
        ),
    ),
];
const INFO: Descriptor = gauge(
    "node_watchdog_info",
    "Info of /sys/class/watchdog/<watchdog>",
);

/// Labels, which are also the names of files.
const LABELS: [&str; 5] = [
    "identity",
    "options",
    "pretimeout_governor",
    "state",
    "status",
];

pub(crate) fn collect(machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
    let class = machine.sys("class/watchdog");
    let names = match folders_where(&class, |_| true) {
        Err(error) if is_denied(&error) => return Err(Failure::no_data(&class, &error)),
        names => names.at_if_there(&class)?,
    };
    for name in names {
        give(&format!("{class}/{name}"), &name, metrics)?;
    }
    Ok(())
}

fn give(folder: &str, name: &str, metrics: &mut Metrics) -> Result<(), Failure> {
    let files = NUMBERS.iter().map(|(file, _)| *file).chain(LABELS);
    let paths: Vec<String> = files.map(|file| format!("{folder}/{file}")).collect();
    let mut texts = Vec::with_capacity(paths.len());
    for (path, text) in paths.iter().zip(read_attributes(&paths)) {
        texts.push(match text {
            Ok(text) => Some(text),
            Err(error) if error.is_not_found() => None,
            Err(error) if is_denied(&error) => return Err(Failure::no_data(path, &error)),
            Err(error) => return Err(error).at(path),
        });
    }
    for (((_, family), path), text) in NUMBERS.iter().zip(&paths).zip(&texts) {
        if let Some(text) = text {
            let wrong = || format!("expected a whole number, not {text:?}");
            let value = integer(text).ok_or_else(wrong).at(path)?;
            family.add(metrics, ["name"], [name], value);
        }
    }
    let label = |at: usize| {
        let text = texts.get(NUMBERS.len() + at);
        text.and_then(Option::as_deref).unwrap_or_default()
    };
    let [identity, options, governor, state, status] = [0, 1, 2, 3, 4].map(label);
    INFO.add(
        metrics,
        [
            "identity",
            "name",
            "options",
            "pretimeout_governor",
            "state",
            "status",
        ],
        [identity, name, options, governor, state, status],
        1.0,
    );
    Ok(())
}
