//! Finds EC2 instances: `ec2_sd_configs`.
//!
//! What is asked and how it is signed is the AWS SDK's; its requests, its clock and its sleep are the
//! agent's (`world`), its environment variables and files those that are granted (`surroundings`).
//! What instances become, and when they are asked for, is the crate `targets`.

mod api;
mod cloud;
mod credentials;
mod surroundings;
mod world;

use narthex_plugin_ec2_targets::{Config, Settings, run};
use narthex_plugin_sdk::http::Client;
use narthex_plugin_sdk::{ConfigError, Discovery, Error, Manifest, WithHttp, random};

use cloud::Aws;
use world::Http;

narthex_plugin_sdk::discovery!(Ec2Discovery);

pub struct Ec2Discovery {
    settings: Settings,
    client: Client,
}

impl Discovery for Ec2Discovery {
    type Config = WithHttp<Config>;

    fn manifest() -> Manifest {
        let manifest = Manifest::new("finds EC2 instances")
            // Which of them is needed, a configuration says; what is refused is told by its URL.
            .may_request("https://ec2.*.amazonaws.com/*")
            .may_request("https://sts.*.amazonaws.com/*")
            // What machines and containers know of themselves.
            .may_request("http://169.254.169.254/*")
            .may_request("http://169.254.170.2/*")
            // Whatever a configuration has elsewhere.
            .may_request("*://*")
            // What AWS's tools share, tokens, and certificates and passwords of `http_config`.
            .may_read("/");
        let names = surroundings::VARIABLES.iter();
        names.fold(manifest, |manifest, name| {
            manifest.may_read_environment(*name)
        })
    }

    fn new(config: WithHttp<Config>, base_directory: &str) -> Result<Self, ConfigError> {
        Ok(Ec2Discovery {
            settings: config.own.check()?,
            client: Client::with_options(&config.http, base_directory)?,
        })
    }

    async fn run(self) -> Result<(), Error> {
        // Without it, the SDK's jitter and the ids of its requests would be the same in each run.
        fastrand::seed(random::next());
        let aws = Aws::new(self.settings.clone(), Http::new(self.client));
        run(&self.settings, &aws).await
    }
}

#[cfg(test)]
mod tests;
