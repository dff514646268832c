//! The log as commits see it: failures are counted, told once, and end when there is room again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use narthex_head::LogError;

use crate::log::Log;
use crate::metrics::Metrics;

pub(crate) struct CommitLog {
    pub(crate) log: Arc<Log>,
    metrics: Arc<Metrics>,
    is_failing: AtomicBool,
}

impl CommitLog {
    pub(crate) fn new(log: Arc<Log>, metrics: Arc<Metrics>) -> Self {
        CommitLog {
            log,
            metrics,
            is_failing: AtomicBool::new(false),
        }
    }

    fn show(&self, written: &Result<(), LogError>) {
        match written {
            Ok(()) => {
                if self.is_failing.load(Ordering::Relaxed)
                    && self.is_failing.swap(false, Ordering::AcqRel)
                {
                    self.metrics.wal_failing.set(0);
                    tracing::info!("writing the log works again");
                }
            }
            Err(LogError::Stale(_)) => {}
            // The log is closed, which is no failure of it.
            Err(LogError::Io(error)) if error.kind() == io::ErrorKind::NotConnected => {}
            Err(error) => {
                self.metrics.wal_writes_failed.inc();
                self.metrics.wal_failing.set(1);
                if !self.is_failing.swap(true, Ordering::AcqRel) {
                    tracing::error!(
                        %error,
                        "writing the log fails; batches are refused until it works"
                    );
                }
            }
        }
    }
}

impl narthex_head::Log for CommitLog {
    fn epoch(&self) -> u32 {
        self.log.epoch()
    }

    fn write(&self, epoch: u32, record: &[u8]) -> Result<(), LogError> {
        let written = self.log.write(epoch, record);
        self.show(&written);
        written
    }
}
