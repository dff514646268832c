//! The fake host's subscriptions, and the test's script, which says what happens while the plugin
//! waits.

use std::collections::BTreeMap;

use super::http::Stream;
use super::{Host, World, current};

/// What `wait` does when the script is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Gives up.
    UntilTheScriptIsOver,
    /// Lets time pass until the next thing is due, and gives up only where nothing is.
    UntilNothingCanCome,
}

pub(super) enum Step {
    Do(Box<dyn FnOnce(&Host)>),
    Pass { ns: u64 },
}

pub(super) enum Awaited {
    Path(String),
    Timer { at_ns: u64 },
    Stream(Stream),
}

impl Host {
    /// What happens when the plugin waits and nothing fires that came before. Watches whose path a
    /// step changes fire, as do timers whose time it lets pass and requests that get an answer; if
    /// nothing fires, the next step follows.
    pub fn then(&self, step: impl FnOnce(&Host) + 'static) -> &Self {
        self.edit(|world| world.steps.push_back(Step::Do(Box::new(step))))
    }

    /// As [`Host::then`]: so much time passes, and each timer within it fires at its own moment.
    pub fn then_pass_ms(&self, ms: u64) -> &Self {
        let ns = ms * 1_000_000;
        self.edit(|world| world.steps.push_back(Step::Pass { ns }))
    }

    /// How many watches, timers and requests are open.
    pub fn open_subscriptions(&self) -> usize {
        self.0.borrow().subscriptions.len()
    }
}

/// What has fired; none where the plugin would wait for ever.
pub(crate) fn wait(patience: Patience) -> Option<Vec<u64>> {
    let host = current();
    loop {
        let fired = host.0.borrow_mut().take_fired();
        if !fired.is_empty() {
            return Some(fired);
        }
        let step = host.0.borrow_mut().steps.pop_front();
        match step {
            Some(Step::Do(step)) => {
                let before = host.0.borrow().fingerprints();
                step(&host);
                host.0.borrow_mut().note_changes(&before);
            }
            Some(Step::Pass { ns }) => host.0.borrow_mut().pass(ns),
            None => {
                let mut world = host.0.borrow_mut();
                let due = world.next_due_ns()?;
                if patience == Patience::UntilTheScriptIsOver {
                    return None;
                }
                let ns = due.saturating_sub(world.monotonic_ns);
                world.advance_ns(ns);
            }
        }
    }
}

impl World {
    /// Each firing is given once.
    fn take_fired(&mut self) -> Vec<u64> {
        let now_ns = self.monotonic_ns;
        let mut fired = std::mem::take(&mut self.changed_paths);
        for (id, awaited) in &mut self.subscriptions {
            let fires = match awaited {
                Awaited::Path(_) => false,
                Awaited::Timer { at_ns } => *at_ns <= now_ns,
                Awaited::Stream(stream) => stream.fires(now_ns),
            };
            if fires {
                fired.insert(*id);
            }
        }
        self.subscriptions
            .retain(|_, awaited| !matches!(awaited, Awaited::Timer { at_ns } if *at_ns <= now_ns));
        fired.into_iter().collect()
    }

    /// Lets time pass up to the next thing that is due, and puts what is left back into the script.
    fn pass(&mut self, ns: u64) {
        let due_in_ns = self
            .next_due_ns()
            .map_or(u64::MAX, |due| due.saturating_sub(self.monotonic_ns));
        let passes_ns = due_in_ns.min(ns);
        self.advance_ns(passes_ns);
        if ns > passes_ns {
            self.steps.push_front(Step::Pass { ns: ns - passes_ns });
        }
    }

    /// By the monotonic clock.
    fn next_due_ns(&self) -> Option<u64> {
        let due = self
            .subscriptions
            .values()
            .filter_map(|awaited| match awaited {
                Awaited::Path(_) => None,
                Awaited::Timer { at_ns } => Some(*at_ns),
                Awaited::Stream(stream) => stream.next_at_ns(),
            });
        due.min()
    }

    fn fingerprints(&self) -> BTreeMap<u64, BTreeMap<String, Vec<u8>>> {
        self.subscriptions
            .iter()
            .filter_map(|(id, awaited)| match awaited {
                Awaited::Path(path) => Some((*id, self.fingerprint(path))),
                Awaited::Timer { .. } | Awaited::Stream(_) => None,
            })
            .collect()
    }

    fn note_changes(&mut self, before: &BTreeMap<u64, BTreeMap<String, Vec<u8>>>) {
        for (id, after) in self.fingerprints() {
            if before.get(&id) != Some(&after) {
                self.changed_paths.insert(id);
            }
        }
    }

    pub(super) fn subscribe(&mut self, awaited: Awaited) -> u64 {
        self.next_subscription += 1;
        self.subscriptions.insert(self.next_subscription, awaited);
        self.next_subscription
    }
}

/// As wit-bindgen writes them for WebAssembly; waiting is [`wait`].
pub(crate) mod backend {
    use super::super::current;
    use super::Awaited;
    use crate::bindings::host::narthex::plugin::files::FileError;
    use crate::bindings::host::narthex::plugin::plugin::CallError;

    pub(crate) fn watch(path: &str) -> Result<u64, FileError> {
        let host = current();
        let mut world = host.0.borrow_mut();
        Ok(world.subscribe(Awaited::Path(path.to_owned())))
    }

    pub(crate) fn timer(after_ms: u64) -> Result<u64, CallError> {
        let host = current();
        let mut world = host.0.borrow_mut();
        let after_ns = after_ms.saturating_mul(1_000_000);
        let at_ns = world.monotonic_ns.saturating_add(after_ns);
        Ok(world.subscribe(Awaited::Timer { at_ns }))
    }

    pub(crate) fn close(subscription: u64) {
        current().edit(|world| {
            world.changed_paths.remove(&subscription);
            world.subscriptions.remove(&subscription)
        });
    }
}
