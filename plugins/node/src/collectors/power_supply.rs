//! Batteries and other supplies of power.

use narthex_plugin_sdk::files;
use narthex_plugin_sdk::{ConfigError, Metrics};

use super::Collector;
use crate::descriptor::{Descriptor, gauge};
use crate::failure::{At, Failure};
use crate::filter::Filter;
use crate::machine::Machine;
use crate::options::Options;
use crate::text::{folders_where, integer, is_file, is_void, read_attributes};

const INFO: Descriptor = gauge(
    "node_power_supply_info",
    "info of /sys/class/power_supply/<power_supply>.",
);

const PLAIN: f64 = 1.0;
const MICRO: f64 = 1e6;
const DECI: f64 = 10.0;

/// The file, the end of the family's name, and by what the value is divided.
const NUMBERS: [(&str, &str, f64); 49] = [
    ("authentic", "authentic", PLAIN),
    ("calibrate", "calibrate", PLAIN),
    ("capacity", "capacity", PLAIN),
    ("capacity_alert_max", "capacity_alert_max", PLAIN),
    ("capacity_alert_min", "capacity_alert_min", PLAIN),
    ("cycle_count", "cyclecount", PLAIN),
    ("online", "online", PLAIN),
    ("present", "present", PLAIN),
    ("time_to_empty_now", "time_to_empty_seconds", PLAIN),
    ("time_to_full_now", "time_to_full_seconds", PLAIN),
    ("current_boot", "current_boot", MICRO),
    ("current_max", "current_max", MICRO),
    ("current_now", "current_ampere", MICRO),
    ("energy_empty", "energy_empty", MICRO),
    ("energy_empty_design", "energy_empty_design", MICRO),
    ("energy_full", "energy_full", MICRO),
    ("energy_full_design", "energy_full_design", MICRO),
    ("energy_now", "energy_watthour", MICRO),
    ("voltage_boot", "voltage_boot", MICRO),
    ("voltage_max", "voltage_max", MICRO),
    ("voltage_max_design", "voltage_max_design", MICRO),
    ("voltage_min", "voltage_min", MICRO),
    ("voltage_min_design", "voltage_min_design", MICRO),
    ("voltage_now", "voltage_volt", MICRO),
    ("voltage_ocv", "voltage_ocv", MICRO),
    ("charge_control_limit", "charge_control_limit", MICRO),
    (
        "charge_control_limit_max",
        "charge_control_limit_max",
        MICRO,
    ),
    ("charge_counter", "charge_counter", MICRO),
    ("charge_empty", "charge_empty", MICRO),
    ("charge_empty_design", "charge_empty_design", MICRO),
    ("charge_full", "charge_full", MICRO),
    ("charge_full_design", "charge_full_design", MICRO),
    ("charge_now", "charge_ampere", MICRO),
    ("charge_term_current", "charge_term_current", MICRO),
    ("constant_charge_current", "constant_charge_current", MICRO),
    (
        "constant_charge_current_max",
        "constant_charge_current_max",
        MICRO,
    ),
    ("constant_charge_voltage", "constant_charge_voltage", MICRO),
    (
        "constant_charge_voltage_max",
        "constant_charge_voltage_max",
        MICRO,
    ),
    ("precharge_current", "precharge_current", MICRO),
    ("input_current_limit", "input_current_limit", MICRO),
    ("power_now", "power_watt", MICRO),
    ("temp", "temp_celsius", DECI),
    ("temp_alert_max", "temp_alert_max_celsius", DECI),
    ("temp_alert_min", "temp_alert_min_celsius", DECI),
    ("temp_ambient", "temp_ambient_celsius", DECI),
    ("temp_ambient_max", "temp_ambient_max_celsius", DECI),
    ("temp_ambient_min", "temp_ambient_min_celsius", DECI),
    ("temp_max", "temp_max_celsius", DECI),
    ("temp_min", "temp_min_celsius", DECI),
];

/// Labels, which are also the names of files.
const LABELS: [&str; 11] = [
    "capacity_level",
    "charge_type",
    "health",
    "manufacturer",
    "model_name",
    "scope",
    "serial_number",
    "status",
    "technology",
    "type",
    "usb_type",
];

pub(crate) struct PowerSupply {
    supplies: Filter,
}

impl PowerSupply {
    pub(crate) fn new(options: &Options) -> Result<Self, ConfigError> {
        let name = "collector.powersupply.ignored-supplies";
        Ok(PowerSupply {
            supplies: Filter::ignoring(options, name)?,
        })
    }
}

impl Collector for PowerSupply {
    fn collect(&mut self, machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
        let class = machine.sys("class/power_supply");
        let supplies = folders_where(&class, |name| self.supplies.takes(name));
        for supply in supplies.at_if_there(&class)? {
            give(&format!("{class}/{supply}"), &supply, metrics)?;
        }
        Ok(())
    }
}

fn give(folder: &str, supply: &str, metrics: &mut Metrics) -> Result<(), Failure> {
    let known =
        |name: &str| LABELS.contains(&name) || NUMBERS.iter().any(|(file, ..)| *file == name);
    let mut names = Vec::new();
    for entry in files::entries(folder).at(folder)? {
        if is_file(&entry) && known(&entry.name) {
            names.push(entry.name);
        }
    }
    let paths: Vec<String> = names
        .iter()
        .map(|name| format!("{folder}/{name}"))
        .collect();
    let mut labels = [""; LABELS.len()];
    let texts = read_attributes(&paths);
    for ((name, path), text) in names.iter().zip(&paths).zip(&texts) {
        let text = match text {
            Ok(text) => text,
            // What a battery does not know just now.
            Err(error) if is_void(error) || error.message == "no such device" => continue,
            Err(error) => return Err(error.clone()).at(path),
        };
        if let Some((_, family, divisor)) = NUMBERS.iter().find(|(file, ..)| file == name) {
            let value = integer(text)
                .ok_or_else(|| format!("expected a whole number, not {text:?}"))
                .at(path)?;
            metrics
                .gauge(
                    &format!("node_power_supply_{family}"),
                    &format!("{family} value of /sys/class/power_supply/<power_supply>."),
                )
                .labels(["power_supply"])
                .add([supply], value / divisor);
        } else if let Some(at) = LABELS.iter().position(|label| label == name)
            && let Some(label) = labels.get_mut(at)
        {
            *label = text;
        }
    }
    describe(supply, labels, metrics);
    Ok(())
}

fn describe(supply: &str, labels: [&str; LABELS.len()], metrics: &mut Metrics) {
    let mut names = ["power_supply"; LABELS.len() + 1];
    let mut values = [supply; LABELS.len() + 1];
    let places = names.iter_mut().zip(&mut values).skip(1);
    for ((name, value), (label, text)) in places.zip(LABELS.into_iter().zip(labels)) {
        (*name, *value) = (label, text);
    }
    INFO.add(metrics, names, values, 1.0);
}
