//! Thermal zones, and what cools them.

use narthex_plugin_sdk::{FileErrorCode, Metrics};

use crate::descriptor::{Descriptor, gauge};
use crate::failure::{At, Failure};
use crate::machine::Machine;
use crate::text::{attributes_of, number, numbered_if_there, parse, read_attributes};

const TEMPERATURE: Descriptor = gauge("node_thermal_zone_temp", "Zone temperature in Celsius");
const STATE: Descriptor = gauge(
    "node_cooling_device_cur_state",
    "Current throttle state of the cooling device",
);
const HIGHEST_STATE: Descriptor = gauge(
    "node_cooling_device_max_state",
    "Maximum throttle state of the cooling device",
);

pub(crate) fn collect(machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
    let class = machine.sys("class/thermal");
    for zone in numbered_if_there(&class, "thermal_zone")? {
        let folder = format!("{class}/thermal_zone{zone}");
        let [kind, temperature] = attributes_of(&folder, ["type", "temp"]);
        // A sensor that is switched off gives an error.
        let temperature = temperature.as_deref().and_then(parse::<f64>);
        if let (Some(kind), Some(millidegrees)) = (kind, temperature) {
            let celsius = millidegrees / 1000.0;
            TEMPERATURE.add(metrics, ["type", "zone"], [&kind, &zone], celsius);
        }
    }
    for device in numbered_if_there(&class, "cooling_device")? {
        cooling_device(&format!("{class}/cooling_device{device}"), &device, metrics)?;
    }
    Ok(())
}

fn cooling_device(folder: &str, name: &str, metrics: &mut Metrics) -> Result<(), Failure> {
    let paths = ["type", "max_state", "cur_state"].map(|file| format!("{folder}/{file}"));
    let mut texts = [const { String::new() }; 3];
    for ((text, path), read) in texts.iter_mut().zip(&paths).zip(read_attributes(&paths)) {
        *text = match read {
            Err(error) if is_absent(error.code) => return Ok(()),
            read => read.at(path)?,
        };
    }
    let [kind, highest, state] = texts;
    let labels = ["name", "type"];
    STATE.add(metrics, labels, [name, &kind], number(&state).at(folder)?);
    HIGHEST_STATE.add(metrics, labels, [name, &kind], number(&highest).at(folder)?);
    Ok(())
}

fn is_absent(code: FileErrorCode) -> bool {
    use FileErrorCode::{Invalid, NoData, NotFound, TryAgain};
    matches!(code, Invalid | NoData | NotFound | TryAgain)
}
