//! Facts about the machine.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::bindings::plugin::CallError;
use crate::bindings::system::{ClockState, Disk, Host, Identity, Memory, Network, Usage, Zone};

use crate::replay::{Known, Replay};

use super::State;
use super::files::system_message;

/// A plugin can't make the host wait longer for one file system.
const LONGEST_TIMEOUT_MS: u64 = 60_000;

/// Threads that may hang in a file system at once; past that, further ones are not asked.
const MAX_HANGING: usize = 16;

impl Host for State {
    fn cpu_count(&mut self) -> Result<u32, CallError> {
        if let Some((replay, known)) = self.recorded_facts()? {
            return replay.fact("cpu_count", &known.cpu_count);
        }
        let count = std::thread::available_parallelism()
            .map_err(|e| CallError::Failed(system_message(&e)))?;
        Ok(u32::try_from(count.get()).unwrap_or(u32::MAX))
    }

    fn page_bytes(&mut self) -> Result<u32, CallError> {
        if let Some((replay, known)) = self.recorded_facts()? {
            return replay.fact("page_bytes", &known.page_bytes);
        }
        Ok(u32::try_from(rustix::param::page_size()).unwrap_or(u32::MAX))
    }

    fn time_zone(&mut self) -> Result<Zone, CallError> {
        if let Some((replay, known)) = self.recorded_facts()? {
            return replay.fact("time_zone", &known.time_zone);
        }
        let now = jiff::Zoned::now();
        let now_here = now.time_zone().to_offset_info(now.timestamp());
        Ok(Zone {
            abbreviation: now_here.abbreviation().to_owned(),
            offset_seconds: now_here.offset().seconds(),
        })
    }

    fn boot_time_seconds(&mut self) -> Result<u64, CallError> {
        if let Some((replay, known)) = self.recorded_facts()? {
            return replay.fact("boot_time_seconds", &known.boot_time_seconds);
        }
        sysinfo::System::boot_time().map_err(unknown)
    }

    fn identify(&mut self) -> Result<Identity, CallError> {
        if let Some((replay, known)) = self.recorded_facts()? {
            return replay.fact("identity", &known.identity);
        }
        let uname = rustix::system::uname();
        let text = |c: &std::ffi::CStr| c.to_string_lossy().into_owned();
        #[cfg(target_os = "linux")]
        let domainname = text(uname.domainname());
        #[cfg(not(target_os = "linux"))]
        let domainname = String::new();
        Ok(Identity {
            sysname: text(uname.sysname()),
            release: text(uname.release()),
            version: text(uname.version()),
            machine: text(uname.machine()),
            nodename: text(uname.nodename()),
            domainname,
        })
    }

    #[cfg(target_os = "linux")]
    fn clock_adjustment(&mut self) -> Result<ClockState, CallError> {
        if let Some((replay, known)) = self.recorded_facts()? {
            return replay.fact("clock_adjustment", &known.clock_adjustment);
        }
        super::clock_adjustment::read().map_err(|error| CallError::Failed(system_message(&error)))
    }

    #[cfg(not(target_os = "linux"))]
    fn clock_adjustment(&mut self) -> Result<ClockState, CallError> {
        self.may_see_system()?;
        let text = "only Linux tells how its clock is adjusted".to_owned();
        Err(CallError::Failed(text))
    }

    fn memory_usage(&mut self) -> Result<Memory, CallError> {
        if let Some((replay, known)) = self.recorded_facts()? {
            return replay.fact("memory", &known.memory);
        }
        let mut system = sysinfo::System::new().map_err(unknown)?;
        system.refresh_memory();
        Ok(Memory {
            total_bytes: system.total_memory(),
            available_bytes: system.available_memory(),
            free_bytes: system.free_memory(),
            swap_total_bytes: system.total_swap(),
            swap_free_bytes: system.free_swap(),
        })
    }

    fn disks(&mut self) -> Result<Vec<Disk>, CallError> {
        if let Some((replay, known)) = self.recorded_facts()? {
            return replay.fact("disks", &known.disks);
        }
        let disks = sysinfo::Disks::new_with_refreshed_list().map_err(unknown)?;
        Ok(disks.iter().map(disk).collect())
    }

    fn networks(&mut self) -> Result<Vec<Network>, CallError> {
        if let Some((replay, known)) = self.recorded_facts()? {
            return replay.fact("networks", &known.networks);
        }
        let networks = sysinfo::Networks::new_with_refreshed_list().map_err(unknown)?;
        let mut networks: Vec<Network> = networks
            .iter()
            .map(|(name, data)| Network {
                name: name.to_string_lossy().into_owned(),
                received_bytes: data.total_received(),
                received_packets: data.total_packets_received(),
                received_errors: data.total_errors_on_received(),
                transmitted_bytes: data.total_transmitted(),
                transmitted_packets: data.total_packets_transmitted(),
                transmitted_errors: data.total_errors_on_transmitted(),
            })
            .collect();
        networks.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(networks)
    }

    fn file_system_usage(
        &mut self,
        mount_points: Vec<String>,
        timeout_ms: u64,
    ) -> Result<Vec<Result<Usage, String>>, CallError> {
        if let Some((_, known)) = self.recorded_facts()? {
            let usage = |mount_point: &String| {
                let usage = known.file_systems.get(mount_point).copied();
                usage.ok_or_else(|| "no such file or directory".to_owned())
            };
            return Ok(mount_points.iter().map(usage).collect());
        }
        let timeout = Duration::from_millis(timeout_ms.min(LONGEST_TIMEOUT_MS));
        Ok(self
            .shared
            .services
            .file_systems
            .ask(mount_points, timeout, statfs))
    }
}

impl State {
    /// What is recorded of a machine, where that stands in for this one.
    fn recorded_facts(&self) -> Result<Option<(&Replay, &Known)>, CallError> {
        self.may_see_system()?;
        let replay = self.shared.replay.as_deref();
        Ok(replay.map(|replay| (replay, &replay.facts().known)))
    }

    fn may_see_system(&self) -> Result<(), CallError> {
        let permits = self.shared.permits.load();
        let refused = |_: &String| self.shared.metrics.note_refusal("system");
        let allowed = permits.system().inspect_err(refused);
        allowed.map_err(CallError::NotGranted)
    }
}

fn disk(disk: &sysinfo::Disk) -> Disk {
    Disk {
        name: disk.name().to_string_lossy().into_owned(),
        mount_point: disk.mount_point().to_string_lossy().into_owned(),
        file_system: disk.file_system().to_string_lossy().into_owned(),
        total_bytes: disk.total_space(),
        available_bytes: disk.available_space(),
        removable: disk.is_removable(),
        read_only: disk.is_read_only(),
    }
}

fn unknown(error: impl std::fmt::Debug) -> CallError {
    CallError::Failed(format!("the machine does not tell: {error:?}"))
}

fn statfs(mount_point: &str) -> Result<Usage, String> {
    let answer = rustix::fs::statfs(mount_point).map_err(|e| system_message(&e.into()))?;
    let unsigned = |value: i64| u64::try_from(value).unwrap_or(0);
    Ok(Usage {
        block_bytes: unsigned(answer.f_bsize as i64),
        blocks: answer.f_blocks as u64,
        blocks_free: answer.f_bfree as u64,
        blocks_available: unsigned(answer.f_bavail as i64),
        files: answer.f_files as u64,
        files_free: answer.f_ffree as u64,
    })
}

/// Asks file systems how full they are, without being held up by one that hangs: a network file
/// system whose server is gone keeps the asking thread for as long as it likes.
#[derive(Clone, Default)]
pub(crate) struct FileSystems {
    /// Mount points at which a call is under way that nobody waits for any longer.
    hanging: Arc<Mutex<BTreeSet<String>>>,
    /// Has nothing to do, and is kept for the next who asks.
    idle: Arc<Mutex<Option<Asker>>>,
}

/// A thread that asks. When it is dropped, it ends as soon as it can.
struct Asker(Sender<Box<dyn FnOnce() + Send>>);

impl Asker {
    fn start() -> Option<Asker> {
        let (jobs, todo) = channel::<Box<dyn FnOnce() + Send>>();
        let started = std::thread::Builder::new()
            .name("plugin-statfs".to_owned())
            .spawn(move || todo.into_iter().for_each(|job| job()));
        match started {
            Ok(_) => Some(Asker(jobs)),
            Err(error) => {
                tracing::error!(%error, "no thread for asking file systems");
                None
            }
        }
    }
}

type Ask<A> = fn(&str) -> Result<A, String>;

impl FileSystems {
    fn ask<A: Send + 'static>(
        &self,
        mount_points: Vec<String>,
        timeout: Duration,
        ask: Ask<A>,
    ) -> Vec<Result<A, String>> {
        let timed_out = || Err("mountpoint timeout".to_owned());
        let mut answers: Vec<Option<Result<A, String>>> = Vec::new();
        let mut open: Vec<(usize, String)> = Vec::new();
        {
            let hanging = self.hanging.lock().unwrap_or_else(PoisonError::into_inner);
            for (at, mount_point) in mount_points.into_iter().enumerate() {
                let refused = hanging.contains(&mount_point) || hanging.len() >= MAX_HANGING;
                answers.push(refused.then(timed_out));
                if !refused {
                    open.push((at, mount_point));
                }
            }
        }
        // One thread asks after the other; one that hangs is left behind with what it hangs in.
        while !open.is_empty() {
            let asker = self.lock_idle().take().or_else(Asker::start);
            let receiver = self.start(asker.as_ref(), open.clone(), ask);
            let mut given_up = None;
            for (done, (at, mount_point)) in open.iter().enumerate() {
                let answer = match receiver.recv_timeout(timeout) {
                    Ok(answer) => Some(answer),
                    Err(RecvTimeoutError::Timeout) => self.leave(mount_point, &receiver),
                    Err(RecvTimeoutError::Disconnected) => {
                        Some(Err("no thread to ask with".to_owned()))
                    }
                };
                answers[*at] = answer;
                if answers[*at].is_none() {
                    given_up = Some(done);
                    break;
                }
            }
            match given_up {
                Some(done) => drop(open.drain(..=done)),
                None => {
                    *self.lock_idle() = asker;
                    break;
                }
            }
        }
        answers
            .into_iter()
            .map(|answer| answer.unwrap_or_else(timed_out))
            .collect()
    }

    fn lock_idle(&self) -> MutexGuard<'_, Option<Asker>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start<A: Send + 'static>(
        &self,
        asker: Option<&Asker>,
        open: Vec<(usize, String)>,
        ask: Ask<A>,
    ) -> Receiver<Result<A, String>> {
        let (sender, receiver) = channel();
        let hanging = self.hanging.clone();
        let run = move || {
            for (_, mount_point) in open {
                let sent = sender.send(ask(&mount_point));
                hanging
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .remove(&mount_point);
                // Nobody listens: this thread was left behind, another one goes on.
                if sent.is_err() {
                    return;
                }
            }
        };
        if let Some(Asker(jobs)) = asker {
            // It takes jobs for as long as there is someone to give them.
            let _ = jobs.send(Box::new(run));
        }
        receiver
    }

    /// Marks a mount point as hanging, unless its answer came at the last moment. The thread sends
    /// before it takes the mark away, so either this sees the answer or the thread sees the mark.
    fn leave<A>(
        &self,
        mount_point: &str,
        receiver: &Receiver<Result<A, String>>,
    ) -> Option<Result<A, String>> {
        let mut hanging = self.hanging.lock().unwrap_or_else(PoisonError::into_inner);
        hanging.insert(mount_point.to_owned());
        let answer = receiver.try_recv().ok()?;
        hanging.remove(mount_point);
        Some(answer)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::time::Instant;

    use super::*;

    static RELEASED: AtomicBool = AtomicBool::new(false);
    static ASKED: AtomicUsize = AtomicUsize::new(0);

    fn fake_statfs(mount_point: &str) -> Result<String, String> {
        if mount_point == "/hangs" {
            ASKED.fetch_add(1, Ordering::SeqCst);
            while !RELEASED.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        match mount_point {
            "/fails" => Err("permission denied".to_owned()),
            other => Ok(other.to_owned()),
        }
    }

    #[test]
    fn one_that_hangs_holds_up_nobody() {
        let file_systems = FileSystems::default();
        let ask = || {
            let mounts = ["/a", "/hangs", "/fails", "/b"].map(str::to_owned).to_vec();
            file_systems.ask(mounts, Duration::from_millis(300), fake_statfs)
        };
        let hanging = [
            Ok("/a".to_owned()),
            Err("mountpoint timeout".to_owned()),
            Err("permission denied".to_owned()),
            Ok("/b".to_owned()),
        ];
        assert_eq!(ask(), hanging);
        assert_eq!(ask(), hanging);
        assert_eq!(ASKED.load(Ordering::SeqCst), 1, "it is not asked again");
        RELEASED.store(true, Ordering::SeqCst);
        let patience = Instant::now() + Duration::from_secs(20);
        while !file_systems.hanging.lock().unwrap().is_empty() {
            assert!(Instant::now() < patience, "it has come back");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(ask()[1], Ok("/hangs".to_owned()));
    }

    #[test]
    fn the_root_has_a_size() {
        let usage = statfs("/").unwrap();
        assert!(usage.blocks > 0 && usage.block_bytes > 0);
        assert_eq!(
            statfs("/no/such/place").unwrap_err(),
            "no such file or directory"
        );
    }
}
