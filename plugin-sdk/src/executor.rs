//! Runs futures by the host's `events.wait`: one thread, no timer of its own.
//!
//! Keeps true: a future that awaits a subscription is woken once the host says that it has fired,
//! and a future that is dropped closes what it awaited. Any number of subscriptions may be awaited
//! at once, by the usual combinators (`futures_util::future::join`, `select`, `FuturesUnordered`).

use std::cell::RefCell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use crate::host::backend::events;

/// Runs a future to its end. While it waits, so does the plugin. May be called inside of another
/// one, which stands still meanwhile.
pub fn block_on<F: Future>(future: F) -> F::Output {
    #[cfg(target_arch = "wasm32")]
    let wait = || Ok::<_, Infallible>(events::wait());
    #[cfg(not(target_arch = "wasm32"))]
    let wait = || match crate::fake::wait(crate::fake::Patience::UntilNothingCanCome) {
        Some(fired) => Ok::<_, Infallible>(fired),
        None => end_of_test(),
    };
    match drive(future, wait) {
        Ok(output) => output,
        Err(never) => match never {},
    }
}

/// Runs a future until it ends or `wait` gives up.
pub(crate) fn drive<F: Future, E>(
    future: F,
    mut wait: impl FnMut() -> Result<Vec<u64>, E>,
) -> Result<F::Output, E> {
    let mut future = pin!(future);
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker = Waker::from(woken.clone());
    let mut context = Context::from_waker(&waker);
    let mut polls_in_a_row = 0;
    loop {
        if !woken.0.swap(false, Ordering::Relaxed) {
            polls_in_a_row = 0;
            fire(&wait()?);
            continue;
        }
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Ok(output);
        }
        polls_in_a_row += 1;
        // A future that always wakes itself must not keep out what the host has to tell.
        if polls_in_a_row == POLLS_BEFORE_LISTENING {
            polls_in_a_row = 0;
            if woken.0.load(Ordering::Relaxed) && events::timer(0).is_ok() {
                fire(&wait()?);
            }
        }
    }
}

const POLLS_BEFORE_LISTENING: u32 = 64;

/// An open subscription; closed when dropped.
#[derive(Debug)]
pub(crate) struct Subscription(u64);

impl Subscription {
    pub(crate) fn new(id: u64) -> Self {
        with_awaited(|awaited| awaited.insert(id, Awaited::default()));
        Subscription(id)
    }

    pub(crate) fn id(&self) -> u64 {
        self.0
    }

    /// Ready when it has fired since it was ready last; else wakes the caller when it does.
    pub(crate) fn poll_fired(&self, context: &Context<'_>) -> Poll<()> {
        // What is replaced may be the last hold on a future, whose end comes back here.
        let (poll, _replaced) = with_awaited(|awaited| {
            let Some(awaited) = awaited.get_mut(&self.0) else {
                return (Poll::Pending, None);
            };
            if std::mem::take(&mut awaited.has_fired) {
                return (Poll::Ready(()), awaited.waker.take());
            }
            if let Some(waker) = &awaited.waker
                && waker.will_wake(context.waker())
            {
                return (Poll::Pending, None);
            }
            let replaced = awaited.waker.replace(context.waker().clone());
            (Poll::Pending, replaced)
        })
        .unwrap_or((Poll::Pending, None));
        poll
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let _awaited = with_awaited(|awaited| awaited.remove(&self.0));
        events::close(self.0);
    }
}

#[derive(Default)]
struct Awaited {
    has_fired: bool,
    waker: Option<Waker>,
}

thread_local! {
    static AWAITED: RefCell<HashMap<u64, Awaited>> = RefCell::default();
}

/// None only while the thread ends.
fn with_awaited<R>(run: impl FnOnce(&mut HashMap<u64, Awaited>) -> R) -> Option<R> {
    AWAITED
        .try_with(|awaited| run(&mut awaited.borrow_mut()))
        .ok()
}

fn fire(subscriptions: &[u64]) {
    let wakers = with_awaited(|awaited| {
        let fired = subscriptions.iter().filter_map(|id| {
            let awaited = awaited.get_mut(id)?;
            awaited.has_fired = true;
            awaited.waker.take()
        });
        fired.collect::<Vec<Waker>>()
    });
    for waker in wakers.unwrap_or_default() {
        waker.wake();
    }
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(not(target_arch = "wasm32"))]
#[expect(clippy::panic, reason = "a test that would wait for ever")]
fn end_of_test() -> ! {
    panic!(
        "the plugin waits, but the test's script is over and no timer runs: nothing would ever \
         happen"
    )
}
