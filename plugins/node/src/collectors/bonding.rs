//! Bonded network interfaces.

use narthex_plugin_sdk::Metrics;

use crate::descriptor::{Descriptor, gauge};
use crate::failure::{At, Failure};
use crate::machine::Machine;
use crate::text::{read_if_there, read_many};

const SLAVES: Descriptor = gauge(
    "node_bonding_slaves",
    "Number of configured slaves per bonding interface.",
);
const ACTIVE: Descriptor = gauge(
    "node_bonding_active",
    "Number of active slaves per bonding interface.",
);

pub(crate) fn collect(machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
    let folder = machine.sys("class/net");
    let masters = read_if_there(&format!("{folder}/bonding_masters"))?;
    for master in masters.split_ascii_whitespace() {
        let folder = format!("{folder}/{master}");
        let slaves = read_if_there(&format!("{folder}/bonding/slaves"))?;
        let slaves: Vec<&str> = slaves.split_ascii_whitespace().collect();
        let active = count_active(&folder, &slaves)?;
        SLAVES.add(metrics, ["master"], [master], slaves.len() as f64);
        ACTIVE.add(metrics, ["master"], [master], active as f64);
    }
    Ok(())
}

fn count_active(folder: &str, slaves: &[&str]) -> Result<usize, Failure> {
    // Older kernels have another name for the link to a slave.
    let paths: Vec<String> = slaves
        .iter()
        .flat_map(|slave| {
            ["lower", "slave"]
                .map(|link| format!("{folder}/{link}_{slave}/bonding_slave/mii_status"))
        })
        .collect();
    let mut states = read_many(&paths).into_iter();
    let mut active = 0;
    for path in paths.chunks(2).filter_map(<[String]>::last) {
        let (Some(lower), Some(slave)) = (states.next(), states.next()) else {
            break;
        };
        let state = match lower {
            Err(error) if error.is_not_found() => slave,
            lower => lower,
        };
        active += usize::from(state.at_if_there(path)?.trim() == "up");
    }
    Ok(active)
}
