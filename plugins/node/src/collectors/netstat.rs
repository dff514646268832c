//! What the network's protocols count.

use std::collections::HashMap;

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
    /// The kernel writes the same names each time, so it is decided once which of them are given.
    known: HashMap<String, Vec<Column>>,
}

/// A field that is given.
#[derive(Clone)]
struct Column {
    /// Its place in the line.
    at: usize,
    name: String,
    help: String,
}

/// More lines of names than any kernel has.
const REMEMBERED: usize = 1024;

impl NetStat {
    pub(crate) fn new(options: &Options) -> Result<Self, ConfigError> {
        Ok(NetStat {
            fields: Filter::only(options, "collector.netstat.fields", DEFAULT_FIELDS)?,
            known: HashMap::new(),
        })
    }
}

impl Collector for NetStat {
    fn collect(&mut self, machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
        let paths = ["net/netstat", "net/snmp", "net/snmp6"].map(|path| machine.proc(path));
        for (path, text) in paths.iter().zip(read_many(&paths)) {
            match text {
                Ok(text) if path.ends_with('6') => self.read_snmp6(&text, metrics).at(path)?,
                Ok(text) => self.read_pairs(&text, metrics).at(path)?,
                // A machine need not have the new protocol.
                Err(error) if path.ends_with('6') && error.is_not_found() => {}
                Err(error) => return Err(error).at(path),
            }
        }
        Ok(())
    }
}

impl NetStat {
    /// Pairs of lines `Proto: names` and `Proto: values`.
    fn read_pairs(&mut self, text: &str, metrics: &mut Metrics) -> Result<(), String> {
        let mut lines = text.lines();
        while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
            let (Some((protocol, fields)), Some((_, values))) =
                (names.split_once(':'), values.split_once(':'))
            else {
                return Err(format!("expected a protocol, not {names:?}"));
            };
            let values: Vec<&str> = values.split_ascii_whitespace().collect();
            let count = fields.split_ascii_whitespace().count();
            if count != values.len() {
                return Err(format!(
                    "{count} names and {} values of {protocol}",
                    values.len()
                ));
            }
            for column in self.columns(names, protocol, fields) {
                give(column, &values, metrics)?;
            }
        }
        Ok(())
    }

    /// Lines `Ip6InReceives 7`: the protocol ends with its 6.
    fn read_snmp6(&mut self, text: &str, metrics: &mut Metrics) -> Result<(), String> {
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            let (Some(name), Some(value)) = (words.next(), words.next()) else {
                continue;
            };
            if let Some(six) = name.find('6') {
                let (protocol, field) = name.split_at(six + 1);
                for column in self.columns(name, protocol, field) {
                    give(column, &[value], metrics)?;
                }
            }
        }
        Ok(())
    }

    /// Which of the fields are given, remembered by the text that names them.
    fn columns(&mut self, key: &str, protocol: &str, fields: &str) -> &[Column] {
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        if !self.known.contains_key(key) {
            let fields = fields.split_ascii_whitespace().enumerate();
            let taken =
                fields.filter(|(_, field)| self.fields.takes(&format!("{protocol}_{field}")));
            let columns = taken.map(|(at, field)| Column {
                at,
                name: format!("node_netstat_{protocol}_{field}"),
                help: format!("Statistic {protocol}{field}."),
            });
            let columns = columns.collect();
            self.known.insert(key.to_owned(), columns);
        }
        self.known.get(key).map_or(&[], Vec::as_slice)
    }
}

fn give(column: &Column, values: &[&str], metrics: &mut Metrics) -> Result<(), String> {
    let value = values.get(column.at).copied().unwrap_or_default();
    let value = number(value)?;
    let family = metrics.family(&column.name, &column.help, MetricType::Unknown);
    family.set(value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use narthex_plugin_sdk::testing;

    use super::*;

    fn read(
        read: impl Fn(&mut NetStat, &mut Metrics) -> Result<(), String>,
    ) -> Result<Vec<String>, String> {
        let config = r#"{"collector.netstat.fields": "^[^B]*$"}"#;
        let config = narthex_plugin_sdk::config::parse(config).unwrap();
        let mut netstat = NetStat::new(&Options::new(config).unwrap()).unwrap();
        // Twice, as the names are remembered.
        read(&mut netstat, &mut Metrics::new())?;
        let mut metrics = Metrics::new();
        read(&mut netstat, &mut metrics)?;
        Ok(testing::lines(&metrics.finish().unwrap()))
    }

    #[test]
    fn reads_names_and_values() {
        let text = "Tcp: A B C\nTcp: 1 2 -1\nUdp: A\nUdp: 7\n";
        assert_eq!(
            read(|netstat, metrics| netstat.read_pairs(text, metrics)).unwrap(),
            [
                "node_netstat_Tcp_A 1",
                "node_netstat_Tcp_C -1",
                "node_netstat_Udp_A 7"
            ]
        );
        for (text, expected) in [
            ("Tcp: A B\nTcp: 1\n", "2 names and 1 values of Tcp"),
            ("Tcp A\nTcp 1\n", "expected a protocol, not \"Tcp A\""),
            ("Tcp: A\nTcp: x\n", "expected a number, not \"x\""),
        ] {
            let error = read(|netstat, metrics| netstat.read_pairs(text, metrics)).unwrap_err();
            assert_eq!(error, expected, "{text}");
        }
        let text = "Ip6InReceives  7\nUdpLite6InErrors 1\nIp6B 2\nx 3\n";
        assert_eq!(
            read(|netstat, metrics| netstat.read_snmp6(text, metrics)).unwrap(),
            [
                "node_netstat_Ip6_InReceives 7",
                "node_netstat_UdpLite6_InErrors 1"
            ]
        );
    }
}
