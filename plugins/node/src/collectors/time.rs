//! The machine's clock.

use narthex_plugin_sdk::{Metrics, clock, system};

use crate::descriptor::{Descriptor, gauge};
use crate::failure::{At, Failure};
use crate::machine::Machine;
use crate::text::{attributes_of, numbered_entries};

const NOW: Descriptor = gauge(
    "node_time_seconds",
    "System time in seconds since epoch (1970).",
);
const ZONE: Descriptor = gauge(
    "node_time_zone_offset_seconds",
    "System time zone offset in seconds.",
);
const AVAILABLE: Descriptor = gauge(
    "node_time_clocksource_available_info",
    "Available clocksources read from '/sys/devices/system/clocksource'.",
);
const CURRENT: Descriptor = gauge(
    "node_time_clocksource_current_info",
    "Current clocksource read from '/sys/devices/system/clocksource'.",
);

/// What the clock shows, and where.
pub(crate) fn now(metrics: &mut Metrics) -> Result<(), Failure> {
    NOW.set(metrics, clock::now_ns() as f64 / 1e9);
    let zone = system::time_zone()?;
    let offset = f64::from(zone.offset_seconds);
    ZONE.add(metrics, ["time_zone"], [&zone.abbreviation], offset);
    Ok(())
}

pub(crate) fn collect(machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
    now(metrics)?;
    let folder = machine.sys("devices/system/clocksource");
    let sources = numbered_entries(&folder, "clocksource").at(&folder)?;
    for (device, source) in sources.iter().enumerate() {
        let folder = format!("{folder}/clocksource{source}");
        let files = ["available_clocksource", "current_clocksource"];
        let [available, current] = attributes_of(&folder, files).map(Option::unwrap_or_default);
        let device = device.to_string();
        let labels = ["clocksource", "device"];
        let mut names: Vec<&str> = available.split_ascii_whitespace().collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            AVAILABLE.add(metrics, labels, [name, &device], 1.0);
        }
        if !current.is_empty() {
            CURRENT.add(metrics, labels, [&current, &device], 1.0);
        }
    }
    Ok(())
}
