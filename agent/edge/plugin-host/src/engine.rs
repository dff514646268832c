//! The wasmtime engine, its cache of compiled code, and the ticker that interrupts computing.
//!
//! Keeps true: while any plugin computes, the epoch moves about every 10 ms; while none does, the
//! ticker sleeps.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use wasmtime::{Cache, CacheConfig, Engine};

/// Fine enough that a call's deadline is met within a percent or so of its length.
const TICK: Duration = Duration::from_millis(10);

/// The engine with its ticker.
pub(crate) struct Machine {
    pub(crate) engine: Engine,
    /// Whether what plugins compute is counted.
    pub(crate) counts_fuel: bool,
    ticker: Arc<Ticker>,
}

impl Machine {
    /// `memory_bytes` is how much address space each memory gets beforehand. More than the limit is
    /// never needed, and four gibibytes, wasmtime's own choice, are more than small machines have.
    pub(crate) fn new(cache_directory: &Path, memory_bytes: u64) -> Result<Machine, String> {
        Machine::with(cache_directory, memory_bytes, false)
    }

    /// Code that counts what it computes is slower.
    pub(crate) fn counting_fuel(
        cache_directory: &Path,
        memory_bytes: u64,
    ) -> Result<Machine, String> {
        Machine::with(cache_directory, memory_bytes, true)
    }

    fn with(
        cache_directory: &Path,
        memory_bytes: u64,
        counts_fuel: bool,
    ) -> Result<Machine, String> {
        let mut config = wasmtime::Config::new();
        config
            .wasm_component_model(true)
            .epoch_interruption(true)
            .consume_fuel(counts_fuel)
            .memory_reservation(memory_bytes.next_multiple_of(64 << 10))
            .cache(cache(cache_directory));
        let engine =
            Engine::new(&config).map_err(|error| format!("cannot start wasmtime: {error:#}"))?;
        let ticker = Arc::new(Ticker::default());
        let (ticking, ticked) = (ticker.clone(), engine.clone());
        std::thread::Builder::new()
            .name("plugin-ticker".to_owned())
            .spawn(move || ticking.run(&ticked))
            .map_err(|error| format!("cannot start the thread that interrupts plugins: {error}"))?;
        Ok(Machine {
            engine,
            counts_fuel,
            ticker,
        })
    }

    /// The epoch moves for as long as the guard lives.
    pub(crate) fn tick(&self) -> Tick {
        self.ticker.change(|beat| beat.computing += 1);
        Tick(self.ticker.clone())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.ticker.change(|beat| beat.stopped = true);
    }
}

pub(crate) struct Tick(Arc<Ticker>);

impl Drop for Tick {
    fn drop(&mut self) {
        self.0.change(|beat| beat.computing -= 1);
    }
}

#[derive(Default)]
struct Ticker {
    beat: Mutex<Beat>,
    changed: Condvar,
}

#[derive(Default)]
struct Beat {
    computing: usize,
    stopped: bool,
}

impl Ticker {
    fn change(&self, change: impl FnOnce(&mut Beat)) {
        change(&mut self.beat.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_one();
    }

    fn run(&self, engine: &Engine) {
        loop {
            let beat = self.beat.lock().unwrap_or_else(PoisonError::into_inner);
            let beat = self
                .changed
                .wait_while(beat, |beat| beat.computing == 0 && !beat.stopped)
                .unwrap_or_else(PoisonError::into_inner);
            if beat.stopped {
                return;
            }
            drop(beat);
            std::thread::sleep(TICK);
            engine.increment_epoch();
        }
    }
}

/// Compiled code is machine code that is trusted, so nobody else may write to its folder. Without
/// a cache, plugins are compiled at every start; that is no reason not to run.
fn cache(directory: &Path) -> Option<Cache> {
    let made = private_folder(directory).and_then(|directory| {
        let mut config = CacheConfig::new();
        config.with_directory(directory);
        Cache::new(config).map_err(|error| format!("{error:#}"))
    });
    match made {
        Ok(cache) => Some(cache),
        Err(error) => {
            tracing::warn!(
                directory = %directory.display(),
                "compiled plugins are not kept: {error}"
            );
            None
        }
    }
}

/// Makes the folder, or refuses one into which others could put code.
fn private_folder(directory: &Path) -> Result<std::path::PathBuf, String> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt};
    let say = |error: std::io::Error| error.to_string();
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(say)?;
    let metadata = std::fs::metadata(directory).map_err(say)?;
    let mode = metadata.mode() & 0o777;
    if mode & 0o022 != 0 {
        return Err(format!(
            "others may write to the folder (mode {mode:o}); chmod go-w it"
        ));
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err("the folder belongs to another user".to_owned());
    }
    directory.canonicalize().map_err(say)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_cache_lies_in_a_private_folder() {
        let folder = tempfile::tempdir().unwrap();
        let made = folder.path().join("a/b");
        private_folder(&made).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&made), 0o700);
        std::fs::set_permissions(&made, PermissionsExt::from_mode(0o777)).unwrap();
        let error = private_folder(&made).unwrap_err();
        assert!(error.starts_with("others may write"), "{error}");
    }
}
