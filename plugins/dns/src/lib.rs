//! Finds targets in the domain name system: `dns_sd_configs`.
//!
//! Keeps true: each name is a group of its own. A name that does not exist, or has no such records,
//! has no targets; one that nobody gives an answer for keeps those it had.

use narthex_plugin_sdk::dns::{self, Answer, RecordType};
use narthex_plugin_sdk::events::sleep_ms;
use narthex_plugin_sdk::target_groups::Published;
use narthex_plugin_sdk::telemetry::Counter;
use narthex_plugin_sdk::{
    ConfigError, Discovery, DnsError, DnsErrorCode, Duration, Error, Manifest, TargetGroup, tracing,
};
use serde::Deserialize;

narthex_plugin_sdk::discovery!(DnsDiscovery);

/// An entry of `dns_sd_configs`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    names: Vec<String>,
    #[serde(default = "default_type", rename = "type")]
    kind: String,
    #[serde(default)]
    port: u16,
    #[serde(default = "default_refresh_interval")]
    refresh_interval: Duration,
}

const LOOKUPS: Counter = Counter::new(
    "prometheus_sd_dns_lookups_total",
    "Names that were looked up for their targets.",
);
const LOOKUP_FAILURES: Counter = Counter::new(
    "prometheus_sd_dns_lookup_failures_total",
    "Names that were looked up for their targets in vain: nobody gave an answer.",
);

fn default_type() -> String {
    "SRV".to_owned()
}

fn default_refresh_interval() -> Duration {
    Duration { ms: 30_000 }
}

pub struct DnsDiscovery {
    names: Vec<String>,
    kind: RecordType,
    port: u16,
    refresh_interval_ms: u64,
}

impl Discovery for DnsDiscovery {
    type Config = Config;

    fn manifest() -> Manifest {
        Manifest::new("looks up names and takes what they lead to as targets").looks_up("*")
    }

    fn new(config: Config, _base_directory: &str) -> Result<Self, ConfigError> {
        if config.names.is_empty() {
            return Err(ConfigError::new("names", "expected at least one name"));
        }
        let kind = record_type(&config.kind)?;
        if config.port == 0 && kind != RecordType::Srv {
            return Err(ConfigError::new(
                "port",
                "must be given for all types of records but SRV, which has its own",
            ));
        }
        if config.refresh_interval.ms == 0 {
            return Err(ConfigError::new("refresh_interval", "must be more than 0"));
        }
        Ok(DnsDiscovery {
            names: config.names,
            kind,
            port: config.port,
            refresh_interval_ms: config.refresh_interval.ms,
        })
    }

    async fn run(self) -> Result<(), Error> {
        LOOKUP_FAILURES.add(&[], 0.0);
        let mut published = Published::new();
        loop {
            let next = sleep_ms(self.refresh_interval_ms);
            let groups = self.refresh();
            // Without any answer nothing is known: the host keeps what an earlier run has found.
            if !groups.is_empty()
                && let Err(error) = published.update(groups)
            {
                tracing::error!("{error}");
            }
            next.await?;
        }
    }
}

impl DnsDiscovery {
    /// The groups of the names for which there is an answer.
    fn refresh(&self) -> Vec<TargetGroup> {
        let mut groups = Vec::with_capacity(self.names.len());
        for name in &self.names {
            match lookup(name, self.kind) {
                Ok(answers) => groups.push(self.group(name, answers)),
                Err(error) => {
                    LOOKUP_FAILURES.add(&[], 1.0);
                    tracing::error!("looking up {name}: {error}");
                }
            }
        }
        LOOKUPS.add(&[], self.names.len() as f64);
        groups
    }

    fn group(&self, name: &str, answers: Vec<Answer>) -> TargetGroup {
        let mut group = TargetGroup::none(name);
        for answer in answers {
            let mut labels = vec![("__meta_dns_name".to_owned(), name.to_owned())];
            let address = match answer {
                Answer::Address(address) if address.contains(':') => {
                    format!("[{address}]:{}", self.port)
                }
                Answer::Address(address) => format!("{address}:{}", self.port),
                Answer::Name(target) => {
                    labels.push((self.target_label().to_owned(), rooted(&target)));
                    format!("{target}:{}", self.port)
                }
                Answer::Service(service) => {
                    let port = service.port.to_string();
                    labels.push(("__meta_dns_srv_record_port".to_owned(), port));
                    labels.push((self.target_label().to_owned(), rooted(&service.target)));
                    format!("{}:{}", service.target, service.port)
                }
            };
            labels.insert(0, ("__address__".to_owned(), address));
            group.targets.push(labels);
        }
        // Servers turn the order about; that is no change.
        group.targets.sort();
        group
    }

    fn target_label(&self) -> &'static str {
        match self.kind {
            RecordType::Mx => "__meta_dns_mx_record_target",
            RecordType::Ns => "__meta_dns_ns_record_target",
            _ => "__meta_dns_srv_record_target",
        }
    }
}

/// A name that is not there has no records.
fn lookup(name: &str, kind: RecordType) -> Result<Vec<Answer>, DnsError> {
    match dns::lookup(name, kind) {
        Err(error) if error.code == DnsErrorCode::NotFound => Ok(Vec::new()),
        answer => answer,
    }
}

/// As the record itself has it, and so Prometheus's label.
fn rooted(name: &str) -> String {
    format!("{name}.")
}

fn record_type(text: &str) -> Result<RecordType, ConfigError> {
    match text.to_ascii_uppercase().as_str() {
        "A" => Ok(RecordType::A),
        "AAAA" => Ok(RecordType::Aaaa),
        "MX" => Ok(RecordType::Mx),
        "NS" => Ok(RecordType::Ns),
        "SRV" => Ok(RecordType::Srv),
        _ => Err(ConfigError::new(
            "type",
            format!("no record type {text:?}; there are A, AAAA, MX, NS and SRV"),
        )),
    }
}

#[cfg(test)]
mod tests;
