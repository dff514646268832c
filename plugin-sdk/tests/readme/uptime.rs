//! How long the machine has been running.

use narthex_plugin_sdk::{ConfigError, Error, Exporter, Manifest, Metric, Metrics, files};
use serde::Deserialize;

const IDLE: Metric<f64, 1> = Metric::counter(
    "uptime_idle_seconds_total",
    "Time that CPUs were idle.",
    ["cpus"],
);

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// Also give the time that the CPUs were idle.
    idle: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config { idle: true }
    }
}

struct Uptime {
    config: Config,
}

narthex_plugin_sdk::exporter!(Uptime);

impl Exporter for Uptime {
    type Config = Config;

    fn manifest() -> Manifest {
        Manifest::new("how long the machine has been running").reads("/proc/uptime")
    }

    fn new(config: Config) -> Result<Self, ConfigError> {
        Ok(Uptime { config })
    }

    fn collect(&mut self, metrics: &mut Metrics) -> Result<(), Error> {
        let text = files::read_text("/proc/uptime")?;
        let mut words = text.split_whitespace();
        let (up, idle) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        metrics
            .gauge("uptime_seconds", "Time since the machine was started.")
            .set(up.parse::<f64>()?);
        if self.config.idle {
            metrics.of(&IDLE).add(["all"], idle.parse::<f64>()?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use narthex_plugin_sdk::{fake, testing};

    use super::*;

    #[test]
    fn gives_both_times() {
        let host = fake::Host::install();
        host.write("/proc/uptime", "12.5 40\n");
        let mut uptime: Uptime = testing::exporter("{}").unwrap();
        assert_eq!(
            testing::lines(&testing::collect(&mut uptime).unwrap()),
            [
                "uptime_seconds 12.5",
                "uptime_idle_seconds_total{cpus=\"all\"} 40"
            ]
        );
    }
}
