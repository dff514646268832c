//! Targets and metadata for the API.

use std::collections::BTreeMap;
use std::sync::Arc;

use narthex_model::Labels;
use narthex_model::family::Metadata;
use narthex_scrape::{Manager, TargetStatus};
use narthex_web::backend::{ActiveTarget, DroppedTarget, Scraping, Targets};

pub(crate) struct ScrapingView {
    pub(crate) manager: Arc<Manager>,
    pub(crate) hostname: String,
}

impl Scraping for ScrapingView {
    fn targets(&self) -> Targets {
        let targets = self.manager.targets();
        let dropped = targets.dropped.into_iter().map(|target| DroppedTarget {
            discovered_labels: target.discovered_labels,
            pool: target.scrape_pool,
        });
        Targets {
            active: targets
                .active
                .into_iter()
                .map(|target| self.active(target))
                .collect(),
            dropped: dropped.collect(),
            dropped_counts: targets.dropped_counts,
        }
    }

    fn metadata(&self) -> BTreeMap<String, Vec<Metadata>> {
        let mut all: BTreeMap<String, Vec<Metadata>> = BTreeMap::new();
        for (_, name, metadata) in self.target_metadata() {
            let known = all.entry(name).or_default();
            if !known.contains(&metadata) {
                known.push(metadata);
            }
        }
        all
    }

    fn target_metadata(&self) -> Vec<(Labels, String, Metadata)> {
        let targets = self.manager.metadata().into_iter();
        targets
            .flat_map(|target| {
                let labels = target.target;
                target
                    .metrics
                    .into_iter()
                    .map(move |(name, metadata)| (labels.clone(), name, metadata))
            })
            .collect()
    }
}

impl ScrapingView {
    fn active(&self, target: TargetStatus) -> ActiveTarget {
        ActiveTarget {
            global_url: global_url(&target.scrape_url, &self.hostname),
            discovered_labels: target.discovered_labels,
            labels: target.labels,
            pool: target.scrape_pool,
            url: target.scrape_url,
            last_error: target.last_error,
            last_scrape_ms: target.last_scrape_ms,
            last_scrape_duration_seconds: target.last_scrape_duration_seconds,
            health: target.health.as_str(),
            interval_ms: target.scrape_interval_ms,
            timeout_ms: target.scrape_timeout_ms,
        }
    }
}

/// The URL as it is reached from another machine: a loopback host becomes this machine's name.
fn global_url(url: &str, hostname: &str) -> String {
    for host in ["://localhost", "://127.0.0.1", "://[::1]"] {
        if let Some((scheme, rest)) = url.split_once(host)
            && (rest.is_empty() || rest.starts_with([':', '/']))
        {
            return format!("{scheme}://{hostname}{rest}");
        }
    }
    url.to_owned()
}

#[cfg(test)]
mod tests {
    use super::global_url;

    #[test]
    fn loopback_hosts_become_the_machines_name() {
        for (url, expected) in [
            ("http://localhost:9090/metrics", "http://box:9090/metrics"),
            ("http://127.0.0.1/metrics", "http://box/metrics"),
            ("http://[::1]:1/", "http://box:1/"),
            (
                "http://localhost.example.com/",
                "http://localhost.example.com/",
            ),
            ("plugin:node", "plugin:node"),
        ] {
            assert_eq!(global_url(url, "box"), expected);
        }
    }
}
