//! Publishes what has changed.
//!
//! Keeps true: groups that are as they were are not published again; only a bounded part of all
//! groups is in memory at a time; a group that the host refuses holds up no other one.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use narthex_plugin_sdk::events::sleep_ms;
use narthex_plugin_sdk::{Error, TargetGroup, publisher, random, tracing};

use futures_util::future::{Either, select};
use std::pin::pin;

use crate::cluster::Cluster;
use crate::shared::Shared;

/// How long the first publication waits for namespaces that take longer than others: targets of
/// former runs that it does not name are gone.
const GRACE_MS: u64 = 10_000;

/// What changes within so long is published together.
const PAUSE_MS: u64 = 200;

/// Groups of this size, in memory and on the way to the host, are published at once.
const BATCH_BYTES: usize = 12 << 20;

/// Publishes what there is, and then what changes, for ever.
pub(crate) async fn run(shared: &Shared) -> Result<(), Error> {
    first(shared).await?;
    let mut published = Published::new();
    loop {
        let outdated = shared.take_outdated();
        published.update(&shared.cluster.borrow(), outdated);
        sleep_ms(PAUSE_MS).await?;
        shared.changed().await;
    }
}

/// Waits until there is all to begin with, or some of it and the rest takes its time.
async fn first(shared: &Shared) -> Result<(), Error> {
    while !shared.is_any_ready() {
        shared.changed().await;
    }
    let mut grace = sleep_ms(GRACE_MS);
    while !shared.is_all_ready() {
        match select(pin!(shared.changed()), grace).await {
            Either::Left(((), rest)) => grace = rest,
            Either::Right((slept, _)) => return Ok(slept?),
        }
    }
    Ok(())
}

/// What was published, as fingerprints by source.
struct Published {
    known: HashMap<String, u64>,
    has_begun: bool,
    /// Fingerprints of this run are like those of no other.
    seed: u64,
}

impl Published {
    fn new() -> Self {
        Published {
            known: HashMap::new(),
            has_begun: false,
            seed: random::next(),
        }
    }

    fn update(&mut self, cluster: &Cluster, outdated: BTreeSet<String>) {
        let mut refused = Refused::default();
        let mut batch = Vec::new();
        let mut bytes = 0;
        for at in outdated {
            let Some(group) = cluster.group(&at).filter(|group| self.is_news(group)) else {
                continue;
            };
            bytes += size_bytes(&group);
            batch.push(group);
            if bytes >= BATCH_BYTES {
                self.send(&batch, &mut refused);
                batch.clear();
                bytes = 0;
            }
        }
        // The first call says all, even if that is nothing.
        if !batch.is_empty() || !self.has_begun {
            self.send(&batch, &mut refused);
        }
        refused.tell();
    }

    /// Notes the group.
    fn is_news(&mut self, group: &TargetGroup) -> bool {
        if group.targets.is_empty() {
            return self.known.remove(&group.source).is_some();
        }
        let mut hasher = DefaultHasher::new();
        (self.seed, &group.targets, &group.labels).hash(&mut hasher);
        let fingerprint = hasher.finish();
        match self.known.get_mut(&group.source) {
            Some(known) => std::mem::replace(known, fingerprint) != fingerprint,
            None => {
                self.known.insert(group.source.clone(), fingerprint);
                true
            }
        }
    }

    /// Of a call that is refused, nothing is taken: so each half is tried alone.
    fn send(&mut self, groups: &[TargetGroup], refused: &mut Refused) {
        match publisher::publish(groups) {
            Ok(()) => self.has_begun = true,
            Err(error) if groups.len() < 2 => {
                refused.note(groups.first().map(|group| group.source.as_str()), &error);
            }
            Err(_) => {
                let (first, second) = groups.split_at(groups.len() / 2);
                self.send(first, refused);
                self.send(second, refused);
            }
        }
    }
}

/// Groups that the host did not take.
#[derive(Default)]
struct Refused {
    count: usize,
    first: String,
}

impl Refused {
    fn note(&mut self, source: Option<&str>, error: &impl std::fmt::Display) {
        self.count += 1;
        if self.count == 1 {
            self.first = format!("{}: {error}", source.unwrap_or("nothing at all"));
        }
    }

    fn tell(self) {
        match self.count {
            0 => {}
            1 => tracing::error!("not published: {}", self.first),
            count => tracing::error!("{count} groups are not published, as {}", self.first),
        }
    }
}

/// About what a group takes in memory, and again while it is handed over.
fn size_bytes(group: &TargetGroup) -> usize {
    const A_PAIR: usize = 64;
    let labels = |labels: &[(String, String)]| -> usize {
        let sizes = labels
            .iter()
            .map(|(name, value)| name.len() + value.len() + A_PAIR);
        sizes.sum()
    };
    let targets: usize = group
        .targets
        .iter()
        .map(|target| labels(target) + A_PAIR)
        .sum();
    group.source.len() + labels(&group.labels) + targets + A_PAIR
}
