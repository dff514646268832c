//! What queries may use of the machine: threads and memory, shared by all of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, Builder};

use narthex_config::QueryBudget;
use narthex_promql::engine::{Engine, EngineOptions, QueryMemory, Workers};

/// Made once, so that a reload does not forget what running queries hold.
#[derive(Clone)]
pub(crate) struct Lending {
    threads: Arc<Threads>,
    memory: Arc<QueryMemory>,
}

impl Lending {
    pub(crate) fn new(budget: &QueryBudget) -> Self {
        let lending = Lending {
            threads: Arc::new(Threads(AtomicUsize::new(1))),
            memory: Arc::new(QueryMemory::unlimited()),
        };
        lending.set_budget(budget);
        lending
    }

    /// In force at once, also for queries that run.
    pub(crate) fn set_budget(&self, budget: &QueryBudget) {
        self.memory.set_limits(
            budget.memory_per_query_bytes,
            budget.memory_bytes,
            budget.memory_for_rules_bytes,
        );
        let cores = || thread::available_parallelism().map_or(1, usize::from);
        let threads = budget.threads.unwrap_or_else(cores);
        self.threads.0.store(threads, Ordering::Relaxed);
    }

    pub(crate) fn engine(&self, options: EngineOptions) -> Engine {
        Engine::new(options)
            .with_workers(self.threads.clone())
            .with_memory(self.memory.clone())
    }
}

/// So many threads a query, the caller's among them.
#[derive(Debug)]
struct Threads(AtomicUsize);

impl Workers for Threads {
    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        let threads = self.0.load(Ordering::Relaxed);
        let next = AtomicUsize::new(0);
        let work = || {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= tasks {
                    return;
                }
                task(number);
            }
        };
        thread::scope(|scope| {
            for _ in 1..threads.min(tasks) {
                let named = Builder::new().name("query".to_owned());
                if named.spawn_scoped(scope, work).is_err() {
                    // No more threads to be had: those that there are do it.
                    break;
                }
            }
            work();
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn each_task_is_done_once() {
        for (threads, tasks) in [(1, 5), (4, 0), (4, 1), (3, 100)] {
            let done: Vec<AtomicU64> = (0..tasks).map(|_| AtomicU64::new(0)).collect();
            Threads(AtomicUsize::new(threads)).run(tasks, &|number| {
                done[number].fetch_add(1, Ordering::Relaxed);
            });
            assert!(done.iter().all(|count| count.load(Ordering::Relaxed) == 1));
        }
    }
}
