//! Software RAID: /proc/mdstat, and what /sys says of the arrays.

use narthex_plugin_sdk::Metrics;

use crate::descriptor::{Descriptor, gauge};
use crate::failure::{At, Failure};
use crate::machine::Machine;
use crate::text::{attributes_of, folders_if_there, number, parse, read_if_there};

const REQUIRED: Descriptor = gauge("node_md_disks_required", "Total number of disks of device.");
const DISKS: Descriptor = gauge(
    "node_md_disks",
    "Number of active/failed/spare disks of device.",
);
const STATE: Descriptor = gauge("node_md_state", "Indicates the state of md-device.");
const BLOCKS: Descriptor = gauge("node_md_blocks", "Total number of blocks on device.");
const SYNCED: Descriptor = gauge(
    "node_md_blocks_synced",
    "Number of blocks synced on device.",
);
const RAID_DISKS: Descriptor = gauge("node_md_raid_disks", "Number of raid disks on device.");
const DEGRADED: Descriptor = gauge("node_md_degraded", "Number of degraded disks on device.");

/// While an array is reshaped it is in none of them.
const STATES: [&str; 5] = ["active", "check", "inactive", "recovering", "resync"];

pub(crate) fn collect(machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
    let path = machine.proc("mdstat");
    for array in parse_mdstat(&read_if_there(&path)?).at(&path)? {
        let device = [array.name.as_str()];
        REQUIRED.add(metrics, ["device"], device, array.required);
        BLOCKS.add(metrics, ["device"], device, array.blocks);
        SYNCED.add(metrics, ["device"], device, array.synced);
        let labels = ["device", "state"];
        for (state, count) in [
            ("active", array.active),
            ("failed", array.failed),
            ("spare", array.spare),
        ] {
            DISKS.add(metrics, labels, [&array.name, state], count);
        }
        for state in STATES {
            let is = f64::from(array.state == state);
            STATE.add(metrics, labels, [&array.name, state], is);
        }
    }
    from_sysfs(machine, metrics)
}

fn from_sysfs(machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
    let folder = machine.sys("block");
    for device in folders_if_there(&folder, |name| name.starts_with("md"))? {
        let folder = format!("{folder}/{device}/md");
        let [level, disks, degraded] = attributes_of(&folder, ["level", "raid_disks", "degraded"]);
        let Some(level) = level else {
            continue;
        };
        // A container holds arrays, and has no disks of its own. While the number of disks is
        // changed, it is followed by the former one.
        let disks = disks.filter(|_| !["", "container", "imsm", "ddf"].contains(&level.as_str()));
        let disks = disks.as_deref().and_then(|text| text.split(' ').next());
        if let Some(disks) = disks.and_then(parse) {
            RAID_DISKS.add(metrics, ["device"], [&device], disks);
        }
        // Levels without redundancy have no such file.
        let degraded = degraded.as_deref().and_then(parse).unwrap_or(0.0);
        DEGRADED.add(metrics, ["device"], [&device], degraded);
    }
    Ok(())
}

#[derive(Debug, Default, PartialEq)]
struct Array {
    name: String,
    state: String,
    required: f64,
    active: f64,
    failed: f64,
    spare: f64,
    blocks: f64,
    synced: f64,
}

/// A line for each array, followed by indented ones: its size and disks, perhaps a bitmap, perhaps
/// how far it is with getting in step.
fn parse_mdstat(text: &str) -> Result<Vec<Array>, String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut arrays = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let other = ["Personalities", "unused", " "];
        if line.trim().is_empty() || other.iter().any(|start| line.starts_with(start)) {
            continue;
        }
        let below = lines.get(at + 1..).unwrap_or_default();
        arrays.push(parse_array(line, below)?);
    }
    Ok(arrays)
}

fn parse_array(line: &str, below: &[&str]) -> Result<Array, String> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let ([name, _, state, ..], [size, sync, ..]) = (words.as_slice(), below) else {
        return Err(format!("expected an array, not {line:?}"));
    };
    let sync = match sync.contains("bitmap") {
        true => below.get(2).unwrap_or(sync),
        false => sync,
    };
    let count = |text: &str| line.matches(text).count() as f64;
    let mut array = Array {
        name: (*name).to_owned(),
        state: (*state).to_owned(),
        failed: count("(F)"),
        spare: count("(S)"),
        ..Array::default()
    };
    let blocks = size.split_ascii_whitespace().next().unwrap_or("");
    array.blocks = number(blocks)?;
    array.synced = array.blocks;
    if line.contains("raid0") || line.contains("linear") {
        // There is a number in brackets for each disk only.
        array.required = count("[");
        array.active = array.required;
    } else if !line.contains("inactive") {
        (array.required, array.active) = disks(size)?;
    }
    read_sync(sync, &mut array)?;
    Ok(array)
}

/// `[4/3]` of a line `… [4/3] [UUU_]`.
fn disks(line: &str) -> Result<(f64, f64), String> {
    let wrong = || format!("expected numbers of disks in {line:?}");
    let mut words = line.split_ascii_whitespace();
    let found = words.find_map(|word| {
        let inside = word.strip_prefix('[')?.strip_suffix(']')?;
        let (total, active) = inside.split_once('/')?;
        Some((parse(total)?, parse(active)?))
    });
    found.ok_or_else(wrong)
}

/// What goes on in an array, if anything does, and how far it is.
fn read_sync(line: &str, array: &mut Array) -> Result<(), String> {
    let actions = [
        ("recovery", "recovering"),
        ("reshape", "reshaping"),
        ("check", "check"),
        ("resync", "resync"),
    ];
    let Some((_, state)) = actions.iter().find(|(word, _)| line.contains(word)) else {
        return Ok(());
    };
    array.state = (*state).to_owned();
    if line.contains("PENDING") || line.contains("DELAYED") {
        array.synced = 0.0;
        return Ok(());
    }
    let wrong = || format!("expected numbers of blocks in {line:?}");
    let (_, rest) = line.split_once('(').ok_or_else(wrong)?;
    let (synced, _) = rest.split_once('/').ok_or_else(wrong)?;
    array.synced = number(synced)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_arrays_in_all_states() {
        let text = "\
Personalities : [raid1] [raid0]
md0 : active raid1 sdb1[1] sda1[0](F) sdc1[2](S)
      1000 blocks super 1.2 [2/1] [U_]
      bitmap: 1/1 pages [4KB], 65536KB chunk
      [==>..]  recovery = 12.6% (126/1000) finish=1.0min speed=100K/sec

md1 : inactive sdd1[0]
      500 blocks
       
md2 : active raid0 sda2[0] sdb2[1]
      800 blocks 512k chunks

md3 : active (auto-read-only) raid1 sda3[0] sdb3[1]
      700 blocks [2/2] [UU]
        resync=PENDING

unused devices: <none>
";
        let arrays = parse_mdstat(text).unwrap();
        let short: Vec<String> = arrays
            .iter()
            .map(|a| {
                let disks = [a.required, a.active, a.failed, a.spare].map(|n| n.to_string());
                let disks = disks.join(" ");
                format!("{} {} {disks} {}/{}", a.name, a.state, a.synced, a.blocks)
            })
            .collect();
        assert_eq!(
            short,
            [
                "md0 recovering 2 1 1 1 126/1000",
                "md1 inactive 0 0 0 0 500/500",
                "md2 active 2 2 0 0 800/800",
                "md3 resync 2 2 0 0 0/700",
            ]
        );
        for bad in [
            "md0 : active",
            "md0 : active raid1 a[0]\n x blocks\n\n",
            "md0 : active raid1 a[0]\n 1 blocks\n\n",
            "md0 : active raid1 a[0]\n 1 blocks [1/1] [U]\n resync = x\n",
        ] {
            assert!(parse_mdstat(bad).is_err(), "{bad}");
        }
    }
}
