//! Processes and threads, by their states.

use std::collections::BTreeMap;

use narthex_plugin_sdk::{FileError, Metrics, files};

use crate::descriptor::{Descriptor, gauge};
use crate::failure::{At, Failure};
use crate::machine::Machine;
use crate::text::{number, numbered_entries, parse, read, read_many};

const THREADS: Descriptor = gauge("node_processes_threads", "Allocated threads in system");
const MAX_THREADS: Descriptor = gauge(
    "node_processes_max_threads",
    "Limit of threads in the system",
);
const STATE: Descriptor = gauge("node_processes_state", "Number of processes in each state.");
const THREADS_STATE: Descriptor = gauge(
    "node_processes_threads_state",
    "Number of threads in each state.",
);
const PIDS: Descriptor = gauge("node_processes_pids", "Number of PIDs");
const MAX_PROCESSES: Descriptor = gauge("node_processes_max_processes", "Number of max PIDs limit");

pub(crate) fn collect(machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
    let mut census = Census::default();
    census.take(machine)?;
    THREADS.set(metrics, census.threads);
    let limit = |file: &str| -> Result<f64, Failure> {
        let path = machine.proc(file);
        number(read(&path)?.trim()).at(&path)
    };
    MAX_THREADS.set(metrics, limit("sys/kernel/threads-max")?);
    for (state, count) in &census.processes {
        STATE.add(metrics, ["state"], [state], *count);
    }
    for (state, count) in &census.thread_states {
        THREADS_STATE.add(metrics, ["thread_state"], [state], *count);
    }
    PIDS.set(metrics, census.processes.values().sum());
    MAX_PROCESSES.set(metrics, limit("sys/kernel/pid_max")?);
    Ok(())
}

#[derive(Default)]
struct Census {
    processes: BTreeMap<String, f64>,
    thread_states: BTreeMap<String, f64>,
    threads: f64,
}

impl Census {
    fn take(&mut self, machine: &Machine) -> Result<(), Failure> {
        let folder = machine.proc("");
        let folder = folder.trim_end_matches('/');
        let pids = numbered_entries(folder, "").at(folder)?;
        let paths: Vec<String> = pids
            .iter()
            .map(|pid| format!("{folder}/{pid}/stat"))
            .collect();
        let mut others = Vec::new();
        for (pid, (path, text)) in pids.iter().zip(paths.iter().zip(read_many(&paths))) {
            let Some(status) = status(path, text)? else {
                continue;
            };
            *self.processes.entry(status.state.clone()).or_default() += 1.0;
            // The first thread is the process itself; only who has more is asked for them.
            *self.thread_states.entry(status.state).or_default() += 1.0;
            self.threads += status.threads;
            if status.threads > 1.0 {
                others.extend(other_threads(folder, pid));
            }
        }
        for (path, text) in others.iter().zip(read_many(&others)) {
            if let Some(status) = status(path, text)? {
                *self.thread_states.entry(status.state).or_default() += 1.0;
            }
        }
        Ok(())
    }
}

/// The status files of a process's threads but the first.
fn other_threads(folder: &str, pid: &str) -> Vec<String> {
    let folder = format!("{folder}/{pid}/task");
    let threads = files::entries(&folder).unwrap_or_default().into_iter();
    threads
        .filter(|thread| thread.name != pid)
        .map(|thread| format!("{folder}/{}/stat", thread.name))
        .collect()
}

struct Status {
    state: String,
    threads: f64,
}

/// None where the process has ended meanwhile.
fn status(path: &str, text: Result<String, FileError>) -> Result<Option<Status>, Failure> {
    let text = match text {
        Err(error) if error.is_not_found() || error.message.contains("no such process") => {
            return Ok(None);
        }
        text => text.at(path)?,
    };
    parse_status(&text).at(path).map(Some)
}

/// A number, a name in brackets that may hold anything, the state, and many numbers.
fn parse_status(text: &str) -> Result<Status, String> {
    let wrong = || format!("expected a process, not {text:?}");
    let (_, rest) = text.rsplit_once(')').ok_or_else(wrong)?;
    let mut words = rest.split_ascii_whitespace();
    let state = words.next().ok_or_else(wrong)?.to_owned();
    let threads = words.nth(16).and_then(parse).ok_or_else(wrong)?;
    Ok(Status { state, threads })
}

#[cfg(test)]
mod tests {
    use narthex_plugin_sdk::{fake, testing};

    use super::*;
    use crate::options::Options;

    #[test]
    fn threads_are_counted_too() {
        let host = fake::Host::install();
        let stat = |name: &str, state: &str, threads: u32| {
            format!("1 ({name}) {state} 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 {threads} 0 0\n")
        };
        host.write("/proc/1/stat", stat("a) b (c", "S", 1));
        host.write("/proc/20/stat", stat("d", "R", 2));
        host.write("/proc/20/task/20/stat", stat("d", "R", 2));
        host.write("/proc/20/task/21/stat", stat("d", "D", 2));
        host.write("/proc/meminfo", "");
        host.write("/proc/sys/kernel/threads-max", "100\n");
        host.write("/proc/sys/kernel/pid_max", "200\n");
        let machine = Machine::new(&Options::new(crate::Config::default()).unwrap()).unwrap();
        let mut metrics = Metrics::new();
        collect(&machine, &mut metrics).unwrap();
        assert_eq!(
            testing::lines(&metrics.finish().unwrap()),
            [
                "node_processes_threads 3",
                "node_processes_max_threads 100",
                "node_processes_state{state=\"R\"} 1",
                "node_processes_state{state=\"S\"} 1",
                "node_processes_threads_state{thread_state=\"D\"} 1",
                "node_processes_threads_state{thread_state=\"R\"} 1",
                "node_processes_threads_state{thread_state=\"S\"} 1",
                "node_processes_pids 2",
                "node_processes_max_processes 200",
            ]
        );
        assert!(parse_status("1 (a) S 1 2").is_err());
        assert!(parse_status("").is_err());
    }
}
