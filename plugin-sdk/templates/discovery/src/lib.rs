//! The my-plugin discovery: asks an inventory for machines, and gives those as targets.

use narthex_plugin_sdk::events::sleep_ms;
use narthex_plugin_sdk::http::Client;
use narthex_plugin_sdk::target_groups::Published;
use narthex_plugin_sdk::{
    ConfigError, Discovery, Duration, Error, Manifest, TargetGroup, WithHttp, tracing,
};
use serde::Deserialize;

/// An entry of `my-plugin_sd_configs`. The fields of Prometheus's `http_config` (`basic_auth`,
/// `tls_config`, …) may stand beside these. A misspelt field is an error that names it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    url: String,
    #[serde(default = "default_refresh_interval")]
    refresh_interval: Duration,
}

fn default_refresh_interval() -> Duration {
    Duration { ms: 60_000 }
}

struct MyPlugin {
    config: Config,
    client: Client,
}

narthex_plugin_sdk::discovery!(MyPlugin);

impl Discovery for MyPlugin {
    type Config = WithHttp<Config>;

    /// What the plugin is for, and what it wants to be allowed. This one asks whatever its
    /// configuration names; whoever runs Narthex grants the part of that he means.
    fn manifest() -> Manifest {
        Manifest::new("machines of the inventory").requests("*://*")
    }

    fn new(config: WithHttp<Config>, base_directory: &str) -> Result<Self, ConfigError> {
        Ok(MyPlugin {
            client: Client::with_options(&config.http, base_directory)?,
            config: config.own,
        })
    }

    /// Never ends. Any number of things may be awaited at once: requests, timers, watches of files.
    async fn run(self) -> Result<(), Error> {
        let mut published = Published::new();
        loop {
            let next = sleep_ms(self.config.refresh_interval.ms);
            match self.machines().await {
                // Only what has changed is told to the agent.
                Ok(groups) => published.set_all(groups)?,
                // The targets that are known stay.
                Err(error) => tracing::error!("{}: {error}", self.config.url),
            }
            next.await?;
        }
    }
}

impl MyPlugin {
    async fn machines(&self) -> Result<Vec<TargetGroup>, Error> {
        let incoming = self.client.get(&self.config.url).send().await?;
        let machines: Vec<Machine> = incoming.whole().await?.ok()?.json()?;
        let group = |machine: Machine| {
            TargetGroup::of_addresses(machine.name.clone(), [machine.address])
                .label("__meta_my_plugin_name", machine.name)
                .label("__meta_my_plugin_rack", machine.rack)
        };
        Ok(machines.into_iter().map(group).collect())
    }
}

/// What the inventory answers, a list of these.
#[derive(Deserialize)]
struct Machine {
    name: String,
    address: String,
    rack: String,
}

/// These run on your own machine, against a host that does what the test says.
#[cfg(test)]
mod tests {
    use narthex_plugin_sdk::fake::{Host, Reply};
    use narthex_plugin_sdk::testing::{self, Outcome};

    use super::*;

    const URL: &str = "http://inventory/machines";
    const CONFIG: &str = r#"{"url": "http://inventory/machines"}"#;

    #[test]
    fn follows_the_inventory() {
        let host = Host::install();
        let recorded = include_str!("../fixtures/inventory-fails-once/machines.json");
        host.answer("GET", URL, Reply::json(recorded))
            .answer("GET", URL, Reply::new(500))
            .answer("GET", URL, Reply::json("[]"));
        // What happens while the plugin waits.
        host.then_pass_ms(120_000);
        let plugin: MyPlugin = testing::discovery(CONFIG, "/etc/narthex").unwrap();
        assert_eq!(testing::run(plugin), Outcome::Waits);
        let bread = TargetGroup::of_addresses("bread", ["10.0.0.7:9100"])
            .label("__meta_my_plugin_name", "bread")
            .label("__meta_my_plugin_rack", "a3");
        assert_eq!(
            host.published(),
            [vec![bread], vec![TargetGroup::none("bread")]]
        );
        let (_, line) = &host.logged()[0];
        assert!(line.ends_with("answered with status 500"), "{line}");
    }

    #[test]
    fn names_the_field_that_is_wrong() {
        let error = testing::discovery::<MyPlugin>(r#"{"ulr": "x"}"#, "/").err();
        let error = error.unwrap().to_string();
        assert!(error.starts_with("ulr: unknown field `ulr`"), "{error}");
    }
}
