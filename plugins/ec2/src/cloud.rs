//! Finds out the region, and makes what its API is asked with.

use std::time::Duration;

use aws_config::identity::IdentityCache;
use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::timeout::TimeoutConfig;
use aws_sdk_ec2::config::{Builder, Region};
use narthex_plugin_ec2_targets::{Cloud, Settings};
use narthex_plugin_sdk::Error;

use crate::api::Ec2;
use crate::credentials::{Source, explained, loader};
use crate::surroundings::Surroundings;
use crate::world::Http;

/// Credentials that end within this time are not used any more.
const RENEWED_BEFORE_END: Duration = Duration::from_secs(300);

/// Several requests may be needed: for a token, for a role, for credentials of another role.
const CREDENTIALS_WITHIN: Duration = Duration::from_secs(60);

/// One attempt at one page.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// Amazon's cloud.
pub(crate) struct Aws {
    settings: Settings,
    http: Http,
}

impl Aws {
    pub(crate) fn new(settings: Settings, http: Http) -> Self {
        Aws { settings, http }
    }

    /// As the environment, the profile of the environment or the machine says.
    async fn region(&self, surroundings: &Surroundings) -> Result<Region, Error> {
        if let Some(name) = &self.settings.region {
            return Ok(Region::new(name.clone()));
        }
        let config = loader(surroundings, &self.http, None).no_credentials();
        let config = config.load().await;
        config.region().cloned().ok_or_else(|| {
            let error = Error::new(
                "could not determine the region: neither the configuration, the environment nor \
                 the metadata of the machine has one",
            );
            explained(&error, surroundings, &self.http)
        })
    }
}

impl Cloud for Aws {
    type Api = Ec2;

    async fn connect(&self) -> Result<Ec2, Error> {
        let surroundings = Surroundings::read();
        let region = self.region(&surroundings).await?;
        let source = Source {
            settings: self.settings.clone(),
            region: region.clone(),
            http: self.http.clone(),
        };
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(ANSWER_WITHIN);
        let profile = self.settings.profile.as_deref();
        let config = loader(&surroundings, &self.http, profile)
            .region(region.clone())
            .credentials_provider(source.shared())
            .identity_cache(
                IdentityCache::lazy()
                    .buffer_time(RENEWED_BEFORE_END)
                    .load_timeout(CREDENTIALS_WITHIN)
                    .build(),
            )
            .timeout_config(timeouts.build())
            .load()
            .await;
        let mut config = Builder::from(&config);
        if let Some(url) = &self.settings.endpoint {
            config = config.endpoint_url(url);
        }
        Ok(Ec2::new(
            Client::from_conf(config.build()),
            region.to_string(),
        ))
    }
}
