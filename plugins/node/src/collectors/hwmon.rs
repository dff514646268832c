//! Sensors: temperatures, fans, voltages, currents, power.

use std::collections::{BTreeMap, HashMap};

use narthex_plugin_sdk::files::FileKind;
use narthex_plugin_sdk::{ConfigError, MetricType, Metrics, files};

use super::Collector;
use crate::descriptor::{Descriptor, gauge};
use crate::failure::{At, Failure};
use crate::filter::Filter;
use crate::machine::Machine;
use crate::options::Options;
use crate::text::{attributes_of, parse, read_lines_of};

const CHIP_NAME: Descriptor = gauge(
    "node_hwmon_chip_names",
    "Annotation metric for human-readable chip names",
);
const LABEL: Descriptor = gauge("node_hwmon_sensor_label", "Label for given chip and sensor");

const LABELS: [&str; 2] = ["chip", "sensor"];

/// The kinds of sensor that are known.
const KINDS: [&str; 14] = [
    "vrm",
    "beep_enable",
    "update_interval",
    "in",
    "cpu",
    "fan",
    "pwm",
    "temp",
    "curr",
    "power",
    "energy",
    "humidity",
    "intrusion",
    "freq",
];

pub(crate) struct HwMon {
    chips: Filter,
    sensors: Filter,
}

impl HwMon {
    pub(crate) fn new(options: &Options) -> Result<Self, ConfigError> {
        Ok(HwMon {
            chips: Filter::new(options, "collector.hwmon.chip", None)?,
            sensors: Filter::new(options, "collector.hwmon.sensor", None)?,
        })
    }
}

impl Collector for HwMon {
    fn collect(&mut self, machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
        let mut outcome = Ok(());
        for chip in find_chips(machine)? {
            if self.chips.takes(&chip.name)
                && let Err(failure) = self.give(&chip, metrics)
            {
                outcome = Err(failure);
            }
        }
        outcome
    }
}

struct Chip {
    folder: String,
    /// Unique.
    name: String,
    /// What its driver calls it; empty where it doesn't.
    driver_name: String,
}

/// The properties of each sensor, as `temp1` with `input`, `crit`, …
type Sensors = BTreeMap<String, BTreeMap<String, String>>;

impl HwMon {
    fn give(&self, chip: &Chip, metrics: &mut Metrics) -> Result<(), Failure> {
        let sensors = read_sensors(&chip.folder)?;
        let name = clean(&chip.driver_name);
        if !name.is_empty() {
            CHIP_NAME.add(metrics, ["chip", "chip_name"], [&chip.name, &name], 1.0);
        }
        for (sensor, properties) in &sensors {
            if !self.sensors.takes(&format!("{};{sensor}", chip.name)) {
                continue;
            }
            if let Some(label) = properties.get("label") {
                let values = [&chip.name, label, sensor];
                LABEL.add(
                    metrics,
                    ["chip", "label", "sensor"],
                    values.map(|v| &**v),
                    1.0,
                );
            }
            for (property, value) in properties {
                give_property(&chip.name, sensor, property, value, properties, metrics);
            }
        }
        Ok(())
    }
}

fn find_chips(machine: &Machine) -> Result<Vec<Chip>, Failure> {
    let class = machine.sys("class/hwmon");
    let mut chips = Vec::new();
    for entry in files::entries(&class).at_if_there(&class)? {
        let folder = format!("{class}/{}", entry.name);
        if !is_folder(&folder, entry.kind) {
            continue;
        }
        let [driver_name] = attributes_of(&folder, ["name"]).map(Option::unwrap_or_default);
        if let Some(name) = chip_name(&folder, &driver_name) {
            chips.push(Chip {
                folder,
                name,
                driver_name,
            });
        }
    }
    make_unique(&mut chips);
    Ok(chips)
}

fn is_folder(path: &str, kind: FileKind) -> bool {
    match kind {
        FileKind::Directory => true,
        FileKind::Symlink => {
            files::stat(path).is_ok_and(|metadata| metadata.kind == FileKind::Directory)
        }
        _ => false,
    }
}

/// The number of a chip depends on the order in which drivers are loaded; the place of its device
/// doesn't.
fn chip_name(folder: &str, driver_name: &str) -> Option<String> {
    if let Ok(device) = files::real_path(&format!("{folder}/device")) {
        let mut parts = device.rsplit('/').map(clean);
        let (device, bus) = (parts.next()?, parts.next().unwrap_or_default());
        if !device.is_empty() {
            return Some(match bus.as_str() {
                "" => device,
                bus => format!("{bus}_{device}"),
            });
        }
    }
    let name = clean(driver_name);
    if !name.is_empty() {
        return Some(name);
    }
    let real = files::real_path(folder).ok()?;
    let name = clean(real.rsplit('/').next()?);
    (!name.is_empty()).then_some(name)
}

/// One device may have several chips: their drivers' names tell them apart, else their numbers.
fn make_unique(chips: &mut [Chip]) {
    let mut by_name: HashMap<String, usize> = HashMap::new();
    let mut by_both: HashMap<(String, String), usize> = HashMap::new();
    for chip in chips.iter() {
        *by_name.entry(chip.name.clone()).or_default() += 1;
        let both = (chip.name.clone(), chip.driver_name.clone());
        *by_both.entry(both).or_default() += 1;
    }
    for chip in chips {
        if by_name.get(&chip.name).is_none_or(|count| *count < 2) {
            continue;
        }
        let both = (chip.name.clone(), chip.driver_name.clone());
        let mut suffix = clean(&chip.driver_name);
        if suffix.is_empty() || by_both.get(&both).is_some_and(|count| *count > 1) {
            suffix = clean(chip.folder.rsplit('/').next().unwrap_or_default());
        }
        chip.name = format!("{}_{suffix}", chip.name);
    }
}

/// As part of a name: lower case, letters, digits, colons and underscores.
fn clean(text: &str) -> String {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == ':' || c == '_';
    let lower = text.to_lowercase();
    let replaced = lower.chars().map(|c| if fits(c) { c } else { '_' });
    replaced.collect::<String>().trim_matches('_').to_owned()
}

/// The attributes of the chip and, with older drivers, of its device.
fn read_sensors(folder: &str) -> Result<Sensors, Failure> {
    let device = format!("{folder}/device");
    let mut found: Vec<(Attribute, String)> = attributes_in(folder)?;
    if files::stat(&device).is_ok() {
        found.extend(attributes_in(&device)?);
    }
    let (attributes, paths): (Vec<Attribute>, Vec<String>) = found.into_iter().unzip();
    let mut sensors = Sensors::new();
    for (attribute, text) in attributes.into_iter().zip(read_lines_of(&paths)) {
        // Drivers give errors for sensors that aren't connected.
        if let Ok(text) = text {
            let properties = sensors.entry(attribute.sensor).or_default();
            properties.insert(attribute.property, text);
        }
    }
    Ok(sensors)
}

fn attributes_in(folder: &str) -> Result<Vec<(Attribute, String)>, Failure> {
    let entries = files::entries(folder).at(folder)?;
    let found = entries.iter().filter_map(|entry| {
        let attribute = Attribute::parse(&entry.name)?;
        Some((attribute, format!("{folder}/{}", entry.name)))
    });
    Ok(found.collect())
}

/// A file `temp1_crit`: what it is of, and what it says of it.
#[derive(Debug, PartialEq)]
struct Attribute {
    sensor: String,
    property: String,
}

impl Attribute {
    fn parse(file: &str) -> Option<Attribute> {
        let (kind, rest) = split_kind(file);
        let (digits, rest) = rest.split_at(rest.bytes().take_while(u8::is_ascii_digit).count());
        let number: u64 = match digits {
            "" => 0,
            digits => parse(digits)?,
        };
        let property = match rest {
            "" => "",
            rest => rest
                .strip_prefix('_')
                .filter(|property| !property.is_empty())?,
        };
        KINDS.contains(&kind).then(|| Attribute {
            sensor: format!("{kind}{number}"),
            property: property.to_owned(),
        })
    }
}

/// The letters before the first digit, and the rest.
fn split_kind(name: &str) -> (&str, &str) {
    let end = name.find(|c: char| c.is_ascii_digit());
    name.split_at(end.unwrap_or(name.len()))
}

/// What becomes of a property: the end of the family's name, its help, and by what the value is
/// divided.
struct Unit {
    suffix: &'static str,
    help: String,
    divisor: f64,
}

impl Unit {
    fn new(suffix: &'static str, help: String, divisor: f64) -> Unit {
        Unit {
            suffix,
            help,
            divisor,
        }
    }
}

fn give_property(
    chip: &str,
    sensor: &str,
    property: &str,
    value: &str,
    others: &BTreeMap<String, String>,
    metrics: &mut Metrics,
) {
    let (kind, _) = split_kind(sensor);
    if property == "label" {
        return;
    }
    if let "beep_enable" | "vrm" | "update_interval" = kind {
        if property.is_empty() {
            give_setting(chip, sensor, kind, value, metrics);
        }
        return;
    }
    let Some(value) = parse::<f64>(value) else {
        return;
    };
    let mut sensor = sensor.to_owned();
    if (kind, property) == ("freq", "input") {
        match others.get("label") {
            Some(label) => sensor = clean(label),
            None => return,
        }
    }
    let middle = match property {
        "" => String::new(),
        // What is measured needs no name, unless the driver gives something else without one.
        "input" if !others.contains_key("") => String::new(),
        property => format!("_{}", clean(property)),
    };
    let unit = unit(kind, property);
    let name = format!("node_hwmon_{kind}{middle}{}", unit.suffix);
    let family_kind = match kind {
        "energy" => MetricType::Counter,
        _ => MetricType::Gauge,
    };
    metrics
        .family(&name, &unit.help, family_kind)
        .labels(LABELS)
        .add([chip, &sensor], scale(value, unit.divisor));
}

/// Thousandths are multiplied, millionths divided, as upstream does it: the last digit shows.
fn scale(value: f64, divisor: f64) -> f64 {
    match divisor {
        1000.0 => value * 0.001,
        divisor => value / divisor,
    }
}

/// Of the chip as a whole.
fn give_setting(chip: &str, sensor: &str, kind: &str, value: &str, metrics: &mut Metrics) {
    const BEEP: Descriptor = gauge("node_hwmon_beep_enabled", "Hardware beep enabled");
    const VRM: Descriptor = gauge(
        "node_hwmon_voltage_regulator_version",
        "Hardware voltage regulator",
    );
    const INTERVAL: Descriptor = gauge(
        "node_hwmon_update_interval_seconds",
        "Hardware monitor update interval",
    );
    let number = parse::<f64>(value);
    let (family, value) = match kind {
        "beep_enable" => (BEEP, Some(f64::from(value == "1"))),
        "vrm" => (VRM, number),
        _ => (INTERVAL, number.map(|ms| ms * 0.001)),
    };
    if let Some(value) = value {
        family.add(metrics, LABELS, [chip, sensor], value);
    }
}

fn unit(kind: &str, property: &str) -> Unit {
    const MILLI: f64 = 1000.0;
    const MICRO: f64 = 1_000_000.0;
    let of = |what: &str, property: &str| format!("Hardware monitor {what} ({property})");
    match (kind, property) {
        (_, "fault" | "alarm") => Unit::new(
            "",
            format!("Hardware sensor {property} status ({kind})"),
            1.0,
        ),
        (_, "beep") => {
            let help = "Hardware monitor sensor has beeping enabled".to_owned();
            Unit::new("_enabled", help, 1.0)
        }
        ("in" | "cpu", _) => Unit::new("_volts", of("for voltage", property), MILLI),
        ("temp", property) if property != "type" => {
            let property = if property.is_empty() {
                "input"
            } else {
                property
            };
            Unit::new("_celsius", of("for temperature", property), MILLI)
        }
        ("curr", _) => Unit::new("_amps", of("for current", property), MILLI),
        ("energy", _) => Unit::new(
            "_joule_total",
            of("for joules used so far", property),
            MICRO,
        ),
        ("power", "accuracy") => {
            let help = "Hardware monitor power meter accuracy, as a ratio".to_owned();
            Unit::new("", help, MICRO)
        }
        ("power", "average_interval" | "average_interval_min" | "average_interval_max") => {
            Unit::new(
                "_seconds",
                of("power usage update interval", property),
                MILLI,
            )
        }
        ("power", _) => Unit::new("_watt", of("for power usage in watts", property), MICRO),
        ("humidity", _) => {
            let what = "for humidity, as a ratio (multiply with 100.0 to get the humidity as a \
                        percentage)";
            Unit::new("", of(what, property), MICRO)
        }
        ("fan", "input" | "min" | "max" | "target") => {
            Unit::new("_rpm", of("for fan revolutions per minute", property), 1.0)
        }
        ("freq", "input") => {
            let help = "Hardware monitor for GPU frequency in MHz".to_owned();
            Unit::new("_freq_mhz", help, MICRO)
        }
        _ => Unit::new(
            "",
            format!("Hardware monitor {kind} element {property}"),
            1.0,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_name_sensors_and_properties() {
        for (file, expected) in [
            ("temp1_input", Some(("temp1", "input"))),
            ("temp1", Some(("temp1", ""))),
            ("in00_min", Some(("in0", "min"))),
            ("pwm1_auto_point1_pwm", Some(("pwm1", "auto_point1_pwm"))),
            ("beep_enable", Some(("beep_enable0", ""))),
            ("update_interval", Some(("update_interval0", ""))),
            ("name", None),
            ("temp1x", None),
            ("temp1_", None),
            ("temp_crit", None),
            ("temp99999999999999999999_input", None),
            ("", None),
        ] {
            let found = Attribute::parse(file);
            let found = found
                .as_ref()
                .map(|a| (a.sensor.as_str(), a.property.as_str()));
            assert_eq!(found, expected, "{file}");
        }
        assert_eq!(clean("-Core 0 (Ä)"), "core_0");
    }

    #[test]
    fn chips_of_one_device_are_told_apart() {
        let chip = |number: usize, driver: &str| Chip {
            folder: format!("/sys/class/hwmon/hwmon{number}"),
            name: "platform_asus".to_owned(),
            driver_name: driver.to_owned(),
        };
        let mut chips = [chip(0, "fan"), chip(1, "wmi"), chip(2, ""), chip(3, "wmi")];
        make_unique(&mut chips);
        let names: Vec<&str> = chips.iter().map(|chip| chip.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "platform_asus_fan",
                "platform_asus_hwmon1",
                "platform_asus_hwmon2",
                "platform_asus_hwmon3"
            ]
        );
    }
}
