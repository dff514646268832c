//! Takes what a discovery publishes, checks it and hands it on.

use std::collections::BTreeMap;

use narthex_model::TargetGroup;
use tokio::sync::mpsc::Sender;

use crate::bindings::plugin::CallError;
use crate::bindings::publisher::{Host, TargetGroup as RawGroup};
use crate::validate;

use super::{State, Stop};

/// One run's way out.
pub(crate) struct Publisher {
    /// Full means that whoever takes the targets is busy: the plugin waits.
    pub(crate) groups: Sender<Vec<TargetGroup>>,
    targets: BTreeMap<String, usize>,
}

impl Publisher {
    pub(crate) fn new(groups: Sender<Vec<TargetGroup>>) -> Self {
        Publisher {
            groups,
            targets: BTreeMap::new(),
        }
    }

    /// How many targets there are once these groups have taken their places.
    fn count_with(&self, groups: &[TargetGroup]) -> (BTreeMap<String, usize>, usize) {
        let mut targets = self.targets.clone();
        for group in groups {
            match group.targets.len() {
                0 => targets.remove(&group.source),
                count => targets.insert(group.source.clone(), count),
            };
        }
        let total = targets.values().sum();
        (targets, total)
    }
}

impl Host for State {
    fn publish(&mut self, groups: Vec<RawGroup>) -> wasmtime::Result<Result<(), CallError>> {
        let limits = self.shared.limits.load_full();
        let taken = validate::groups(groups, &limits).and_then(|groups| match &self.publisher {
            Some(publisher) => {
                let (targets, total) = publisher.count_with(&groups);
                validate::limit("targets", total, limits.targets)?;
                Ok((groups, targets, total))
            }
            None => Err(validate::Fault::Invalid(
                "publish was called outside of a run".to_owned(),
            )),
        });
        let (groups, targets, total) = match taken {
            Ok(taken) => taken,
            Err(fault) => {
                let text = self.shared.note_fault(&fault);
                self.shared.health.note(&text);
                return Ok(Err(match fault {
                    validate::Fault::Limit { .. } => CallError::Limit(text),
                    validate::Fault::Invalid(_) => CallError::Invalid(text),
                }));
            }
        };
        self.shared.metrics.targets.set(total as i64);
        if let Some(replay) = &self.shared.replay {
            replay.publish(groups);
            if let Some(publisher) = &mut self.publisher {
                publisher.targets = targets;
            }
            return Ok(Ok(()));
        }
        self.rest();
        let mut patience = self.patience();
        // The plugin is not to blame for one who takes its time.
        patience.deadline = None;
        if let Some(publisher) = &mut self.publisher {
            publisher.targets = targets;
            let sent = patience.wait_for(publisher.groups.send(groups))?;
            sent.map_err(|_| Stop::Unwanted)?;
        }
        self.begin();
        Ok(Ok(()))
    }
}
