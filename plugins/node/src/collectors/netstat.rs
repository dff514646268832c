//! What the network's protocols count.

use std::collections::BTreeMap;

use narthex_plugin_sdk::{ConfigError, MetricType, Metrics};

use super::Collector;
use crate::failure::{At, Failure};
use crate::filter::Filter;
use crate::machine::Machine;
use crate::options::Options;
use crate::text::{number, read_many};

const DEFAULT_FIELDS: &str = "^(.*_(InErrors|InErrs)|Ip_Forwarding|Ip(6|Ext)_(InOctets|OutOctets)|Icmp6?_(InMsgs|OutMsgs)|TcpExt_(Listen.*|Syncookies.*|TCPSynRetrans|TCPTimeouts|TCPOFOQueue|TCPRcvQDrop)|Tcp_(ActiveOpens|InSegs|OutSegs|OutRsts|PassiveOpens|RetransSegs|CurrEstab)|Udp6?_(InDatagrams|OutDatagrams|NoPorts|RcvbufErrors|SndbufErrors))$";

pub(crate) struct NetStat {
    fields: Filter,
}

impl NetStat {
    pub(crate) fn new(options: &Options) -> Result<Self, ConfigError> {
        Ok(NetStat {
            fields: Filter::only(options, "collector.netstat.fields", DEFAULT_FIELDS)?,
        })
    }
}

impl Collector for NetStat {
    fn collect(&mut self, machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
        let paths = ["net/netstat", "net/snmp", "net/snmp6"].map(|path| machine.proc(path));
        let mut counts = Counts {
            fields: &self.fields,
            by_name: BTreeMap::new(),
        };
        for (path, text) in paths.iter().zip(read_many(&paths)) {
            match text {
                Ok(text) if path.ends_with('6') => counts.read_snmp6(&text).at(path)?,
                Ok(text) => counts.read_pairs(&text).at(path)?,
                // A machine need not have the new protocol.
                Err(error) if path.ends_with('6') && error.is_not_found() => {}
                Err(error) => return Err(error).at(path),
            }
        }
        for ((protocol, name), value) in counts.by_name {
            metrics
                .family(
                    &format!("node_netstat_{protocol}_{name}"),
                    &format!("Statistic {protocol}{name}."),
                    MetricType::Unknown,
                )
                .set(value);
        }
        Ok(())
    }
}

/// What is asked for, by protocol and name.
struct Counts<'f> {
    fields: &'f Filter,
    by_name: BTreeMap<(String, String), f64>,
}

impl Counts<'_> {
    /// Pairs of lines `Proto: names` and `Proto: values`.
    fn read_pairs(&mut self, text: &str) -> Result<(), String> {
        let mut lines = text.lines();
        while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
            let (Some((protocol, names)), Some((_, values))) =
                (names.split_once(':'), values.split_once(':'))
            else {
                return Err(format!("expected a protocol, not {names:?}"));
            };
            let names: Vec<&str> = names.split_ascii_whitespace().collect();
            let values: Vec<&str> = values.split_ascii_whitespace().collect();
            if names.len() != values.len() {
                return Err(format!(
                    "{} names and {} values of {protocol}",
                    names.len(),
                    values.len()
                ));
            }
            for (name, value) in names.iter().zip(values) {
                self.add(protocol, name, value)?;
            }
        }
        Ok(())
    }

    /// Lines `Ip6InReceives 7`: the protocol ends with its 6.
    fn read_snmp6(&mut self, text: &str) -> Result<(), String> {
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            let (Some(name), Some(value)) = (words.next(), words.next()) else {
                continue;
            };
            if let Some(six) = name.find('6') {
                let (protocol, name) = name.split_at(six + 1);
                self.add(protocol, name, value)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, protocol: &str, name: &str, value: &str) -> Result<(), String> {
        let whole = [protocol, "_", name].concat();
        if self.fields.takes(&whole) {
            let key = (protocol.to_owned(), name.to_owned());
            self.by_name.insert(key, number(value)?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(read: impl Fn(&mut Counts<'_>) -> Result<(), String>) -> Result<String, String> {
        let options = Options::new(crate::Config::default()).unwrap();
        let mut counts = Counts {
            fields: &Filter::only(&options, "fields", "").unwrap(),
            by_name: BTreeMap::new(),
        };
        read(&mut counts)?;
        let pairs = counts.by_name.iter();
        let texts = pairs.map(|((protocol, name), value)| format!("{protocol} {name} {value}"));
        Ok(texts.collect::<Vec<String>>().join(", "))
    }

    #[test]
    fn reads_names_and_values() {
        for (text, expected) in [
            ("Tcp: A B\nTcp: 1 -1\n", Ok("Tcp A 1, Tcp B -1")),
            ("Tcp: A B\nTcp: 1\n", Err("2 names and 1 values of Tcp")),
            ("Tcp A\nTcp 1\n", Err("expected a protocol, not \"Tcp A\"")),
            ("Tcp: A\nTcp: x\n", Err("expected a number, not \"x\"")),
        ] {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(read(|counts| counts.read_pairs(text)), expected, "{text}");
        }
        let text = "Ip6InReceives  7\nUdpLite6InErrors 1\n";
        assert_eq!(
            read(|counts| counts.read_snmp6(text)).unwrap(),
            "Ip6 InReceives 7, UdpLite6 InErrors 1"
        );
    }
}
