//! Waiting for the world: changes of files, and time. All of it is awaited in async code, any number
//! at once; see [`crate::executor`].

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use futures_core::Stream;

use super::backend::events;
use crate::executor::Subscription;
use crate::{CallError, FileError};

/// Tells when what a path leads to has changed, appeared or gone; of a folder, when one of its
/// entries has. A last segment with `*` stands for whatever it matches. Nothing of it need be there
/// yet. As a stream, it gives an item a change and never ends.
///
/// Watch first, then read: then no change falls between.
#[derive(Debug)]
pub struct Watch(Subscription);

impl Watch {
    pub fn new(path: &str) -> Result<Self, FileError> {
        let id = events::watch(path).map_err(FileError::from)?;
        Ok(Watch(Subscription::new(id)))
    }

    /// Waits until something has changed since this was asked last.
    pub fn changed(&mut self) -> impl Future<Output = ()> + Send + '_ {
        poll_fn(|context| self.0.poll_fired(context))
    }
}

impl Stream for Watch {
    type Item = ();

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<()>> {
        self.0.poll_fired(context).map(Some)
    }
}

/// Waits so long, from now on. Fails only where the subscriptions are used up.
pub fn sleep_ms(after_ms: u64) -> Sleep {
    Sleep(match events::timer(after_ms) {
        Ok(id) => State::Runs(Subscription::new(id)),
        Err(error) => State::Failed(CallError::from(error)),
    })
}

/// What [`sleep_ms`] gives.
#[derive(Debug)]
#[must_use = "a future does nothing unless it is awaited"]
pub struct Sleep(State);

#[derive(Debug)]
enum State {
    Runs(Subscription),
    Failed(CallError),
    Over,
}

impl Future for Sleep {
    type Output = Result<(), CallError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let State::Runs(subscription) = &self.0
            && subscription.poll_fired(context).is_pending()
        {
            return Poll::Pending;
        }
        match std::mem::replace(&mut self.0, State::Over) {
            State::Failed(error) => Poll::Ready(Err(error)),
            State::Runs(_) | State::Over => Poll::Ready(Ok(())),
        }
    }
}

/// Gives a future so much time, and drops it if it takes longer, which gives up what it waits for.
pub async fn timeout_ms<F: Future>(limit_ms: u64, future: F) -> Result<F::Output, TimeoutError> {
    let mut future = pin!(future);
    let mut sleep = sleep_ms(limit_ms);
    poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Ok(output));
        }
        Pin::new(&mut sleep).poll(context).map(|slept| match slept {
            Ok(()) => Err(TimeoutError::Elapsed { limit_ms }),
            Err(error) => Err(TimeoutError::NoTimer(error)),
        })
    })
    .await
}

/// Why [`timeout_ms`] gave up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimeoutError {
    Elapsed {
        limit_ms: u64,
    },
    /// The subscriptions are used up.
    NoTimer(CallError),
}

impl fmt::Display for TimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TimeoutError::Elapsed { limit_ms } => {
                write!(f, "no answer within {}", crate::Duration { ms: *limit_ms })
            }
            TimeoutError::NoTimer(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for TimeoutError {}
