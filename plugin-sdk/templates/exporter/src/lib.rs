//! The my-plugin exporter: asks a server how it is, and gives that as metrics.

use narthex_plugin_sdk::{ConfigError, Error, Exporter, Manifest, Metric, Metrics, http, tracing};
use serde::Deserialize;

// Names are checked when this is compiled: an invalid one is an error here.
const QUEUE: Metric<f64, 1> = Metric::gauge(
    "my_plugin_queue_length",
    "Jobs that wait, by queue.",
    ["queue"],
);
const REQUESTS: Metric<f64, 0> = Metric::counter(
    "my_plugin_requests_total",
    "Requests that the server has answered.",
    [],
);

/// What stands under `config:` in `narthex.yml`. A misspelt field is an error that names it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    url: String,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            url: "http://127.0.0.1:8080/status".to_owned(),
        }
    }
}

/// Lives on from one collection to the next, and may remember things.
struct MyPlugin {
    config: Config,
}

narthex_plugin_sdk::exporter!(MyPlugin);

impl Exporter for MyPlugin {
    type Config = Config;

    /// What the plugin is for, and what it wants to be allowed. Whoever runs Narthex grants it.
    fn manifest() -> Manifest {
        Manifest::new("how the server is")
            .requests("http://127.0.0.1:8080/status")
            .every_ms(15_000)
    }

    fn new(config: Config) -> Result<Self, ConfigError> {
        if !config.url.starts_with("http") {
            return Err(ConfigError::new("url", "expected an http or https URL"));
        }
        Ok(MyPlugin { config })
    }

    /// An error sets `up` to 0 for this time, and is shown.
    fn collect(&mut self, metrics: &mut Metrics) -> Result<(), Error> {
        let response = http::get(&self.config.url).timeout_ms(5000).fetch()?.ok()?;
        let status: Status = response.json()?;
        metrics.of(&REQUESTS).set(status.requests);
        for queue in &status.queues {
            metrics.of(&QUEUE).add([&queue.name], queue.length);
        }
        if status.queues.is_empty() {
            tracing::warn!(url = self.config.url, "the server has no queues");
        }
        Ok(())
    }
}

/// What the server answers.
#[derive(Deserialize)]
struct Status {
    requests: f64,
    queues: Vec<Queue>,
}

#[derive(Deserialize)]
struct Queue {
    name: String,
    length: f64,
}

/// These run on your own machine, against a host that does what the test says.
#[cfg(test)]
mod tests {
    use narthex_plugin_sdk::fake::{Host, Reply};
    use narthex_plugin_sdk::testing;

    use super::*;

    const URL: &str = "http://127.0.0.1:8080/status";

    #[test]
    fn gives_what_the_server_says() {
        let host = Host::install();
        let recorded = include_str!("../fixtures/all-well/status.json");
        host.answer("GET", URL, Reply::json(recorded));
        let mut plugin: MyPlugin = testing::exporter("{}").unwrap();
        let families = testing::collect(&mut plugin).unwrap();
        assert_eq!(
            testing::lines(&families),
            [
                "my_plugin_requests_total 1027",
                "my_plugin_queue_length{queue=\"mail\"} 3",
                "my_plugin_queue_length{queue=\"print\"} 0",
            ]
        );
    }

    #[test]
    fn fails_where_the_server_does() {
        let host = Host::install();
        host.answer("GET", URL, Reply::new(503));
        let mut plugin: MyPlugin = testing::exporter("{}").unwrap();
        let error = testing::collect(&mut plugin).unwrap_err();
        assert_eq!(
            error.to_string(),
            "http://127.0.0.1:8080/status answered with status 503"
        );
    }

    #[test]
    fn names_the_field_that_is_wrong() {
        let error = testing::exporter::<MyPlugin>(r#"{"url": "x"}"#).err();
        assert_eq!(
            error.unwrap().to_string(),
            "url: expected an http or https URL"
        );
    }
}
