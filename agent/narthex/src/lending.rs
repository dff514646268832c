//! What queries may use of the machine: threads and memory, shared by all of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, Builder};

use narthex_promql::engine::{Engine, EngineOptions, QueryMemory, Workers};

/// Of the machine's memory, what all queries and rules may hold together.
const MEMORY_SHARE: u64 = 4;
/// Of that, what one may hold, and what is kept for rules.
const ONE_QUERY_SHARE: u64 = 2;
const RULES_SHARE: u64 = 5;

/// Made once, so that a reload does not forget what running queries hold.
#[derive(Clone)]
pub(crate) struct Lending {
    workers: Arc<dyn Workers>,
    memory: Arc<QueryMemory>,
}

impl Lending {
    /// What this machine allows. Without a figure for its memory, nothing but samples is bounded.
    pub(crate) fn of_machine() -> Self {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let memory = match memory_bytes() {
            Some(machine_bytes) => {
                let all_bytes = machine_bytes / MEMORY_SHARE;
                QueryMemory::new(
                    all_bytes / ONE_QUERY_SHARE,
                    all_bytes,
                    all_bytes / RULES_SHARE,
                )
            }
            None => QueryMemory::unlimited(),
        };
        Lending {
            workers: Arc::new(Threads(threads)),
            memory: Arc::new(memory),
        }
    }

    pub(crate) fn engine(&self, options: EngineOptions) -> Engine {
        Engine::new(options)
            .with_workers(self.workers.clone())
            .with_memory(self.memory.clone())
    }
}

/// So many threads a query, the caller's among them.
#[derive(Debug)]
struct Threads(usize);

impl Workers for Threads {
    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
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
            for _ in 1..self.0.min(tasks) {
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

/// The machine's memory, or what its control group leaves of it.
fn memory_bytes() -> Option<u64> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let total = info.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let total_kib: u64 = total?.split_whitespace().next()?.parse().ok()?;
    let total_bytes = total_kib.saturating_mul(1024);
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max").unwrap_or_default();
    let group_bytes = group.trim().parse().unwrap_or(u64::MAX);
    Some(total_bytes.min(group_bytes))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn each_task_is_done_once() {
        for (threads, tasks) in [(1, 5), (4, 0), (4, 1), (3, 100)] {
            let done: Vec<AtomicU64> = (0..tasks).map(|_| AtomicU64::new(0)).collect();
            Threads(threads).run(tasks, &|number| {
                done[number].fetch_add(1, Ordering::Relaxed);
            });
            assert!(done.iter().all(|count| count.load(Ordering::Relaxed) == 1));
        }
    }

    #[test]
    fn this_machine_has_memory() {
        assert!(memory_bytes().is_some_and(|bytes| bytes > 1 << 20));
    }
}
