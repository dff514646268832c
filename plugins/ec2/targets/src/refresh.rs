//! Asks for all instances, again and again, and publishes them as one group.

use std::collections::hash_map::DefaultHasher;
use std::future::Future;
use std::hash::{Hash, Hasher};

use narthex_plugin_sdk::events::sleep_ms;
use narthex_plugin_sdk::telemetry::REFRESH_FAILURES;
use narthex_plugin_sdk::{Error, TargetGroup, log, publisher, tracing};

use crate::config::{Filter, Settings};
use crate::instance::Instance;
use crate::labels::{Zones, target};

/// Where instances are.
pub trait Cloud {
    type Api: Api;

    /// Finds out the region and what the API is asked with. What it gives is kept until it fails
    /// for want of permission.
    fn connect(&self) -> impl Future<Output = Result<Self::Api, Error>>;
}

/// The EC2 API of one region.
pub trait Api {
    fn region(&self) -> &str;

    /// All availability zones.
    fn zones(&self) -> impl Future<Output = Result<Zones, Error>>;

    /// Gives every instance that passes the filters to `take`, page by page.
    fn instances(
        &self,
        filters: &[Filter],
        take: &mut impl FnMut(Instance),
    ) -> impl Future<Output = Result<(), Failure>>;
}

/// Why instances could not be read.
#[derive(Debug)]
pub struct Failure {
    pub error: Error,
    /// Whether it was permission that was lacking: then credentials are looked for anew.
    pub is_refused: bool,
}

/// Goes on for ever. An error is one of the host's.
pub async fn run(settings: &Settings, cloud: &impl Cloud) -> Result<(), Error> {
    let mut refresher = Refresher {
        settings,
        cloud,
        api: None,
        zones: None,
        zones_are_missed: false,
        published: None,
    };
    REFRESH_FAILURES.add(&[], 0.0);
    loop {
        let next = sleep_ms(settings.refresh_interval_ms);
        if let Err(error) = refresher.refresh().await {
            REFRESH_FAILURES.add(&[], 1.0);
            tracing::error!("{error}");
        }
        next.await?;
    }
}

struct Refresher<'a, C: Cloud> {
    settings: &'a Settings,
    cloud: &'a C,
    api: Option<C::Api>,
    /// Read once: zones of a region hardly ever change.
    zones: Option<Zones>,
    /// It is told once that they cannot be read.
    zones_are_missed: bool,
    published: Option<Published>,
}

/// Groups may be large: of what was published there is only this.
#[derive(PartialEq, Eq)]
struct Published {
    source: String,
    hash: u64,
}

impl<C: Cloud> Refresher<'_, C> {
    async fn refresh(&mut self) -> Result<(), Error> {
        let api = match self.api.take() {
            Some(api) => api,
            None => self.cloud.connect().await?,
        };
        let no_zones = self.read_zones(&api).await.err();
        let read = self.read(&api).await;
        let is_refused = read.as_ref().is_err_and(|failure| failure.is_refused);
        if !is_refused {
            self.api = Some(api);
        }
        let group = read.map_err(|failure| failure.error)?;
        if let Some(error) = no_zones.filter(|_| !self.zones_are_missed) {
            let text = format!("targets lack their availability_zone_id: {error}");
            // Past the macros, of which the plugin leaves in no others than those for errors.
            log::write(log::Level::Warn, text);
            self.zones_are_missed = true;
        }
        self.publish(group)
    }

    /// Unless they are known. The account may lack the permission: then targets lack a label.
    async fn read_zones(&mut self, api: &C::Api) -> Result<(), Error> {
        if self.zones.is_none() {
            self.zones = Some(api.zones().await?);
        }
        Ok(())
    }

    async fn read(&self, api: &C::Api) -> Result<TargetGroup, Failure> {
        let none = Zones::new();
        let zones = self.zones.as_ref().unwrap_or(&none);
        let mut group = TargetGroup::none(api.region());
        let port = self.settings.port;
        let mut take = |instance| {
            let target = target(instance, api.region(), zones, port);
            group.targets.extend(target);
        };
        api.instances(&self.settings.filters, &mut take).await?;
        Ok(group)
    }

    /// Unless it is what was published before.
    fn publish(&mut self, group: TargetGroup) -> Result<(), Error> {
        let mut hasher = DefaultHasher::new();
        group.targets.hash(&mut hasher);
        let now = Published {
            source: group.source.clone(),
            hash: hasher.finish(),
        };
        if self.published.as_ref() == Some(&now) {
            return Ok(());
        }
        let mut groups = vec![group];
        if let Some(before) = &self.published
            && before.source != now.source
        {
            groups.push(TargetGroup::none(&before.source));
        }
        publisher::publish(&groups)?;
        self.published = Some(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
