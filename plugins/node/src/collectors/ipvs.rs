//! Virtual servers of the kernel's load balancer.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use narthex_plugin_sdk::{ConfigError, Metrics};

use super::Collector;
use crate::descriptor::{Descriptor, counter, gauge};
use crate::failure::{At, Failure};
use crate::machine::Machine;
use crate::options::Options;
use crate::text::{hex, number, read, read_if_there};

/// In the order of the columns.
const TOTALS: [Descriptor; 5] = [
    counter(
        "node_ipvs_connections_total",
        "The total number of connections made.",
    ),
    counter(
        "node_ipvs_incoming_packets_total",
        "The total number of incoming packets.",
    ),
    counter(
        "node_ipvs_outgoing_packets_total",
        "The total number of outgoing packets.",
    ),
    counter(
        "node_ipvs_incoming_bytes_total",
        "The total amount of incoming data.",
    ),
    counter(
        "node_ipvs_outgoing_bytes_total",
        "The total amount of outgoing data.",
    ),
];
const ACTIVE: Descriptor = gauge(
    "node_ipvs_backend_connections_active",
    "The current active connections by local and remote address.",
);
const INACTIVE: Descriptor = gauge(
    "node_ipvs_backend_connections_inactive",
    "The current inactive connections by local and remote address.",
);
const WEIGHT: Descriptor = gauge(
    "node_ipvs_backend_weight",
    "The current backend weight by local and remote address.",
);

const LABELS: [&str; 6] = [
    "local_address",
    "local_mark",
    "local_port",
    "proto",
    "remote_address",
    "remote_port",
];

pub(crate) struct Ipvs {
    /// Which of the labels are given; backends that are alike in them are summed.
    given: [bool; LABELS.len()],
}

impl Ipvs {
    pub(crate) fn new(options: &Options) -> Result<Self, ConfigError> {
        const NAME: &str = "collector.ipvs.backend-labels";
        let Some(list) = options.text(NAME)? else {
            return Ok(Ipvs {
                given: [true; LABELS.len()],
            });
        };
        let wanted: Vec<&str> = list.split(',').filter(|label| !label.is_empty()).collect();
        if let Some(unknown) = wanted.iter().find(|label| !LABELS.contains(label)) {
            let known = LABELS.join(", ");
            let message = format!("there is no label {unknown:?}; there are {known}");
            return Err(ConfigError::new(NAME, message));
        }
        Ok(Ipvs {
            given: LABELS.map(|label| wanted.contains(&label)),
        })
    }
}

impl Collector for Ipvs {
    fn collect(&mut self, machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
        let path = machine.proc("net/ip_vs_stats");
        let totals = parse_totals(&read_if_there(&path)?).at(&path)?;
        for (family, total) in TOTALS.iter().zip(totals) {
            family.set(metrics, total);
        }
        let path = machine.proc("net/ip_vs");
        let backends = parse_backends(&read(&path)?).at(&path)?;
        for (labels, [weight, active, inactive]) in self.sum(backends) {
            let labels = labels.each_ref().map(String::as_str);
            ACTIVE.add(metrics, LABELS, labels, active);
            INACTIVE.add(metrics, LABELS, labels, inactive);
            WEIGHT.add(metrics, LABELS, labels, weight);
        }
        Ok(())
    }
}

/// Values of the labels, in their order. An empty one is as good as none.
type Labels = [String; LABELS.len()];

/// Weight, active and inactive connections.
type Counts = [f64; 3];

impl Ipvs {
    fn sum(&self, backends: Vec<(Labels, Counts)>) -> BTreeMap<Labels, Counts> {
        let mut sums: BTreeMap<Labels, Counts> = BTreeMap::new();
        for (mut labels, counts) in backends {
            for (label, given) in labels.iter_mut().zip(self.given) {
                if !given {
                    label.clear();
                }
            }
            let sum = sums.entry(labels).or_default();
            for (sum, count) in sum.iter_mut().zip(counts) {
                *sum += count;
            }
        }
        sums
    }
}

/// Two lines of headings, then five hexadecimal numbers.
fn parse_totals(text: &str) -> Result<Vec<f64>, String> {
    let line = text.lines().nth(2).ok_or("too few lines")?;
    let totals: Vec<f64> = line
        .split_ascii_whitespace()
        .map(hex)
        .collect::<Result<_, String>>()?;
    match totals.len() {
        5 => Ok(totals),
        _ => Err(format!("expected five numbers, not {line:?}")),
    }
}

/// A line for each service, followed by one for each of its backends.
fn parse_backends(text: &str) -> Result<Vec<(Labels, Counts)>, String> {
    let mut service = [const { String::new() }; 4];
    let mut backends = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words.as_slice() {
            [protocol @ ("TCP" | "UDP"), local, ..] => {
                let (address, port) = address(local)?;
                service = [address, String::new(), port, (*protocol).to_owned()];
            }
            ["FWM", mark, ..] => {
                let [mark, port, protocol] = [*mark, "0", "FWM"].map(str::to_owned);
                service = [String::new(), mark, port, protocol];
            }
            ["->", "RemoteAddress:Port", ..] => {}
            ["->", remote, _, weight, active, inactive, ..] => {
                let (address, port) = address(remote)?;
                let [local_address, mark, local_port, protocol] = service.clone();
                let labels = [local_address, mark, local_port, protocol, address, port];
                let counts = [number(weight)?, number(active)?, number(inactive)?];
                backends.push((labels, counts));
            }
            _ => {}
        }
    }
    Ok(backends)
}

/// `C0A80016:0CEA`, or `[2620:0000:…:0001]:0CEA`.
fn address(text: &str) -> Result<(String, String), String> {
    let wrong = || format!("expected an address and a port, not {text:?}");
    let (address, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port = u16::from_str_radix(port, 16).map_err(|_| wrong())?;
    let address = match address
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        Some(v6) => {
            let v6: Ipv6Addr = v6.parse().map_err(|_| wrong())?;
            match v6.to_ipv4_mapped() {
                Some(v4) => v4.to_string(),
                None => v6.to_string(),
            }
        }
        None if address.len() == 8 => {
            let bits = u32::from_str_radix(address, 16).map_err(|_| wrong())?;
            Ipv4Addr::from_bits(bits).to_string()
        }
        None => return Err(wrong()),
    };
    Ok((address, port.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses() {
        for (text, expected) in [
            ("C0A80016:0CEA", Some(("192.168.0.22", "3306"))),
            (
                "[2620:0000:0000:0000:0000:0000:0000:0001]:0050",
                Some(("2620::1", "80")),
            ),
            ("C0A800:0CEA", None),
            ("C0A80016", None),
            ("C0A80016:CAFEE", None),
            ("[1:2]:0050", None),
            ("ÄÖÜß:0050", None),
        ] {
            let found = address(text).ok();
            let found = found.as_ref().map(|(a, p)| (a.as_str(), p.as_str()));
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn labels_that_are_not_there_are_refused() {
        let json = r#"{"collector.ipvs.backend-labels": "proto,colour"}"#;
        let options = Options::new(narthex_plugin_sdk::config::parse(json).unwrap()).unwrap();
        let error = Ipvs::new(&options).err().unwrap().to_string();
        assert!(
            error.contains("there is no label \"colour\"; there are"),
            "{error}"
        );
    }
}
