//! Errors of memory, as the memory controllers find them.

use narthex_plugin_sdk::{FileError, Metrics, files};

use crate::descriptor::{Descriptor, counter};
use crate::failure::{At, Failure};
use crate::machine::Machine;
use crate::text::{number, numbered, numbered_if_there, read_attributes};

const CORRECTED: Descriptor = counter(
    "node_edac_correctable_errors_total",
    "Total correctable memory errors.",
);
const UNCORRECTED: Descriptor = counter(
    "node_edac_uncorrectable_errors_total",
    "Total uncorrectable memory errors.",
);
const ROW_CORRECTED: Descriptor = counter(
    "node_edac_csrow_correctable_errors_total",
    "Total correctable memory errors for this csrow.",
);
const ROW_UNCORRECTED: Descriptor = counter(
    "node_edac_csrow_uncorrectable_errors_total",
    "Total uncorrectable memory errors for this csrow.",
);
const CHANNEL_CORRECTED: Descriptor = counter(
    "node_edac_channel_correctable_errors_total",
    "Total correctable memory errors for this channel.",
);
const CHANNEL_UNCORRECTED: Descriptor = counter(
    "node_edac_channel_uncorrectable_errors_total",
    "Total uncorrectable memory errors for this channel.",
);

const ROW_LABELS: [&str; 2] = ["controller", "csrow"];

pub(crate) fn collect(machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
    let folder = machine.sys("devices/system/edac/mc");
    for controller in numbered_if_there(&folder, "mc")? {
        let folder = format!("{folder}/mc{controller}");
        let files = ["ce_count", "ue_count", "ce_noinfo_count", "ue_noinfo_count"];
        let [corrected, uncorrected, row_corrected, row_uncorrected] = counts(&folder, files)?;
        CORRECTED.add(metrics, ["controller"], [&controller], corrected);
        UNCORRECTED.add(metrics, ["controller"], [&controller], uncorrected);
        let unknown = [controller.as_str(), "unknown"];
        ROW_CORRECTED.add(metrics, ROW_LABELS, unknown, row_corrected);
        ROW_UNCORRECTED.add(metrics, ROW_LABELS, unknown, row_uncorrected);
        for row in numbered_if_there(&folder, "csrow")? {
            let folder = format!("{folder}/csrow{row}");
            let [corrected, uncorrected] = counts(&folder, ["ce_count", "ue_count"])?;
            ROW_CORRECTED.add(metrics, ROW_LABELS, [&controller, &row], corrected);
            ROW_UNCORRECTED.add(metrics, ROW_LABELS, [&controller, &row], uncorrected);
            channels(&folder, &controller, &row, metrics)?;
        }
    }
    Ok(())
}

fn channels(
    folder: &str,
    controller: &str,
    row: &str,
    metrics: &mut Metrics,
) -> Result<(), Failure> {
    const LABELS: [&str; 4] = ["channel", "controller", "csrow", "dimm_label"];
    for entry in files::entries(folder).at(folder)? {
        let channel = entry.name.strip_suffix("_ce_count");
        let Some(channel) = channel.and_then(|name| numbered(name, "ch")) else {
            continue;
        };
        let [corrected, uncorrected, label] = ["ce_count", "ue_count", "dimm_label"]
            .map(|file| format!("{folder}/ch{channel}_{file}"));
        let paths = [corrected, uncorrected, label];
        let mut texts = read_attributes(&paths).into_iter();
        let (Some(corrected), Some(uncorrected)) = (texts.next(), texts.next()) else {
            continue;
        };
        let label = match texts.next() {
            Some(Ok(label)) => dimm_label(&label),
            _ => "unknown".to_owned(),
        };
        let values = [channel, controller, row, &label];
        let corrected = count(corrected, folder)?;
        CHANNEL_CORRECTED.add(metrics, LABELS, values, corrected);
        // Not all controllers count these by channel.
        if let Ok(uncorrected) = count(uncorrected, folder) {
            CHANNEL_UNCORRECTED.add(metrics, LABELS, values, uncorrected);
        }
    }
    Ok(())
}

/// `mc#0csrow#0channel#1` as `mc0_csrow0_channel1`.
fn dimm_label(label: &str) -> String {
    label
        .replace('#', "")
        .replace("csrow", "_csrow")
        .replace("channel", "_channel")
}

fn counts<const N: usize>(folder: &str, names: [&str; N]) -> Result<[f64; N], Failure> {
    let mut counts = [0.0; N];
    let paths = names.map(|name| format!("{folder}/{name}"));
    for ((value, path), text) in counts.iter_mut().zip(&paths).zip(read_attributes(&paths)) {
        *value = count(text, path)?;
    }
    Ok(counts)
}

fn count(text: Result<String, FileError>, path: &str) -> Result<f64, Failure> {
    number(&text.at(path)?).at(path)
}
