//! How a computation is told to stop. The core has no clock: whoever runs it sets the token when
//! the time is up or the client has gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelReason {
    Timeout,
    Canceled,
}

/// Shared between the one who computes and the one who may stop it. The first reason stays.
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Arc<AtomicU8>);

impl CancelToken {
    pub fn cancel(&self, reason: CancelReason) {
        let code = match reason {
            CancelReason::Timeout => 1,
            CancelReason::Canceled => 2,
        };
        let _ = self
            .0
            .compare_exchange(0, code, Ordering::Relaxed, Ordering::Relaxed);
    }

    pub fn reason(&self) -> Option<CancelReason> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            1 => Some(CancelReason::Timeout),
            _ => Some(CancelReason::Canceled),
        }
    }
}
