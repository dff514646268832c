//! What all instances of one version of a plugin have in common.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use crate::Limits;
use crate::Outside;
use crate::engine::Machine;
use crate::grant::Permits;
use crate::host::Pool;
use crate::host::dns::Names;
use crate::host::system::FileSystems;
use crate::host::watching::Watching;
use crate::metrics::PluginMetrics;
use crate::replay::Replay;
use crate::validate::Fault;

/// What all plugins have in common.
pub(crate) struct Services {
    pub(crate) machine: Machine,
    pub(crate) file_systems: FileSystems,
    pub(crate) watching: Arc<Watching>,
    pub(crate) names: Arc<Names>,
    /// The memory of all instances.
    pub(crate) pool: Arc<Pool>,
    /// Where what instances wait for is run.
    pub(crate) runtime: tokio::runtime::Handle,
    pub(crate) outside: Outside,
}

/// Limits and permits are read at each use, so a changed configuration is in force at once.
pub(crate) struct Shared {
    pub(crate) name: String,
    pub(crate) limits: ArcSwap<Limits>,
    pub(crate) permits: ArcSwap<Permits>,
    pub(crate) metrics: Arc<PluginMetrics>,
    pub(crate) health: Arc<Health>,
    pub(crate) services: Arc<Services>,
    /// What the plugin meets in the place of the world.
    pub(crate) replay: Option<Arc<Replay>>,
}

impl Shared {
    /// Counts a fault in what the plugin gave, and puts it into words.
    pub(crate) fn note_fault(&self, fault: &Fault) -> String {
        match fault {
            Fault::Limit { name, .. } => {
                self.metrics.note_limit(name);
                self.metrics.note_failure("limit");
            }
            Fault::Invalid(_) => self.metrics.note_failure("invalid"),
        }
        match fault {
            Fault::Limit { .. } => format!("plugin {} gave too much: {fault}", self.name),
            Fault::Invalid(_) => format!("plugin {} gave invalid output: {fault}", self.name),
        }
    }
}

/// How the plugin's instances are.
#[derive(Default)]
pub(crate) struct Health {
    /// What the last call has computed, where that is counted.
    pub(crate) fuel: AtomicU64,
    next_pulse: AtomicU64,
    condition: Mutex<Condition>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Condition {
    /// The latest failure, also when all has been well since.
    pub(crate) last_error: Option<LastError>,
    /// Instances that wait to be started again, and whether they are suspended.
    down: BTreeMap<u64, bool>,
}

impl Condition {
    pub(crate) fn is_well(&self) -> bool {
        self.down.is_empty()
    }

    pub(crate) fn is_suspended(&self) -> bool {
        self.down.values().any(|suspended| *suspended)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LastError {
    pub(crate) text: String,
    pub(crate) at_ms: i64,
}

impl Health {
    pub(crate) fn note(&self, text: &str) {
        let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        self.lock().last_error = Some(LastError {
            text: text.to_owned(),
            at_ms: i64::try_from(now.as_millis()).unwrap_or(i64::MAX),
        });
    }

    pub(crate) fn condition(&self) -> Condition {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Condition> {
        self.condition
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// One instance's part of the health; it ends with the instance.
pub(crate) struct Pulse {
    id: u64,
    health: Arc<Health>,
}

impl Pulse {
    pub(crate) fn new(health: &Arc<Health>) -> Pulse {
        Pulse {
            id: health.next_pulse.fetch_add(1, Ordering::Relaxed),
            health: health.clone(),
        }
    }

    /// The instance runs.
    pub(crate) fn set_up(&self) {
        self.health.lock().down.remove(&self.id);
    }

    /// The instance waits to be started again.
    pub(crate) fn set_down(&self, suspended: bool) {
        self.health.lock().down.insert(self.id, suspended);
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.set_up();
    }
}
