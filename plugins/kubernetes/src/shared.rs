//! What those who read from the server and the one who publishes have in common.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::future::poll_fn;
use std::task::{Poll, Waker};

use crate::cluster::{Cluster, is_in};

/// What is read by one feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    /// None: all namespaces, or what lies in none.
    pub(crate) namespace: Option<String>,
    /// Whether groups wait until it has been read once.
    pub(crate) is_awaited: bool,
}

pub(crate) struct Shared {
    pub(crate) cluster: RefCell<Cluster>,
    /// The namespaces of the role's objects; none: all of them, or they lie in none.
    namespaces: Vec<String>,
    /// By the number of the feed.
    scopes: Vec<(Scope, Cell<bool>)>,
    has_changed: Cell<bool>,
    publisher: RefCell<Option<Waker>>,
}

impl Shared {
    pub(crate) fn new(cluster: Cluster, namespaces: Vec<String>, scopes: Vec<Scope>) -> Self {
        Shared {
            cluster: RefCell::new(cluster),
            namespaces,
            scopes: scopes.into_iter().map(|s| (s, Cell::new(false))).collect(),
            has_changed: Cell::new(false),
            publisher: RefCell::new(None),
        }
    }

    /// There is something to publish.
    pub(crate) fn tell(&self) {
        self.has_changed.set(true);
        if let Some(waker) = self.publisher.take() {
            waker.wake();
        }
    }

    /// All there is of a feed has been read.
    pub(crate) fn complete(&self, feed: usize) {
        if let Some((_, is_complete)) = self.scopes.get(feed) {
            is_complete.set(true);
        }
        self.tell();
    }

    /// Waits until there is something to publish.
    pub(crate) async fn changed(&self) {
        poll_fn(|context| {
            if self.has_changed.take() {
                return Poll::Ready(());
            }
            self.publisher.replace(Some(context.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    /// Whether all that groups of this namespace are made of has been read. None stands for all
    /// namespaces at once.
    fn is_ready(&self, namespace: Option<&str>) -> bool {
        let concerns = |scope: &Scope| match (&scope.namespace, namespace) {
            (Some(of), Some(namespace)) => of == namespace,
            _ => true,
        };
        let mut scopes = self.scopes.iter();
        scopes
            .all(|(scope, is_complete)| is_complete.get() || !scope.is_awaited || !concerns(scope))
    }

    pub(crate) fn is_all_ready(&self) -> bool {
        self.is_ready(None)
    }

    pub(crate) fn is_any_ready(&self) -> bool {
        let mut namespaces = self.namespaces.iter();
        self.is_all_ready() || namespaces.any(|namespace| self.is_ready(Some(namespace)))
    }

    /// The keys of the groups that have to be made anew and can be.
    pub(crate) fn take_outdated(&self) -> BTreeSet<String> {
        let mut cluster = self.cluster.borrow_mut();
        if self.is_all_ready() {
            return cluster.take_outdated(|_| true);
        }
        let ready = self.namespaces.iter();
        let ready: Vec<&String> = ready.filter(|of| self.is_ready(Some(of))).collect();
        cluster.take_outdated(|at| ready.iter().any(|namespace| is_in(at, namespace)))
    }
}
