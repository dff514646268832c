//! Where the parts of a query that do not depend on each other are done.

use std::fmt;

/// Threads, or none. The engine itself starts none; whoever owns it may lend it some.
pub trait Workers: fmt::Debug + Send + Sync {
    /// Calls `task` once for each number below `tasks`, in any order and on any threads, and
    /// returns when all calls have returned.
    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync));
}

/// One task after the other, on the thread of the caller.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sequential;

impl Workers for Sequential {
    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        for number in 0..tasks {
            task(number);
        }
    }
}
