//! What the firmware says of the machine's make.

use narthex_plugin_sdk::{Metrics, files};

use super::Collector;
use crate::descriptor::{Descriptor, gauge};
use crate::failure::{At, Failure};
use crate::machine::Machine;
use crate::text::attributes;

const INFO: Descriptor = gauge(
    "node_dmi_info",
    "A metric with a constant '1' value labeled by bios_date, bios_release, bios_vendor, bios_version, board_asset_tag, board_name, board_serial, board_vendor, board_version, chassis_asset_tag, chassis_serial, chassis_vendor, chassis_version, product_family, product_name, product_serial, product_sku, product_uuid, product_version, system_vendor if provided by DMI.",
);

/// Labels, which are also the names of files, but for the last.
const LABELS: [&str; 20] = [
    "bios_date",
    "bios_release",
    "bios_vendor",
    "bios_version",
    "board_asset_tag",
    "board_name",
    "board_serial",
    "board_vendor",
    "board_version",
    "chassis_asset_tag",
    "chassis_serial",
    "chassis_vendor",
    "chassis_version",
    "product_family",
    "product_name",
    "product_serial",
    "product_sku",
    "product_uuid",
    "product_version",
    "system_vendor",
];

/// Read once: it does not change while the machine runs.
#[derive(Default)]
pub(crate) struct Dmi {
    values: Option<Vec<String>>,
}

impl Collector for Dmi {
    fn collect(&mut self, machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
        let values = match &self.values {
            Some(values) => values,
            None => self.values.insert(read(machine)?),
        };
        let mut values = values.iter();
        let values = LABELS.map(|_| values.next().map_or("", String::as_str));
        INFO.add(metrics, LABELS, values, 1.0);
        Ok(())
    }
}

/// Some of the files only root may read; then the label is empty, which is as good as none.
fn read(machine: &Machine) -> Result<Vec<String>, Failure> {
    let folder = machine.sys("class/dmi/id");
    files::entries(&folder).at_if_there(&folder)?;
    let paths = LABELS.map(|label| match label {
        "system_vendor" => format!("{folder}/sys_vendor"),
        label => format!("{folder}/{label}"),
    });
    let values = attributes(&paths).into_iter();
    Ok(values.map(Option::unwrap_or_default).collect())
}
