//! What the host offers, a module for each interface of the contract.
//!
//! In a plugin these are calls to Narthex. Compiled for your own machine they are calls to
//! [`crate::fake`], so a plugin's tests need neither WebAssembly nor a running agent.

#[cfg(target_arch = "wasm32")]
use crate::bindings::discovery::narthex::plugin as discovery_backend;
#[cfg(target_arch = "wasm32")]
use crate::bindings::exporter::narthex::plugin as backend;
#[cfg(not(target_arch = "wasm32"))]
use crate::fake::backend;
#[cfg(not(target_arch = "wasm32"))]
use crate::fake::backend as discovery_backend;

/// Lines in the agent's log, marked with the plugin's name.
pub mod log {
    use super::backend::log;
    pub use crate::bindings::exporter::narthex::plugin::log::Level;

    pub fn write(level: Level, message: impl AsRef<str>) {
        log::write(level, message.as_ref());
    }

    pub fn debug(message: impl AsRef<str>) {
        write(Level::Debug, message);
    }

    pub fn info(message: impl AsRef<str>) {
        write(Level::Info, message);
    }

    pub fn warn(message: impl AsRef<str>) {
        write(Level::Warn, message);
    }

    pub fn error(message: impl AsRef<str>) {
        write(Level::Error, message);
    }
}

/// Time.
pub mod clock {
    use super::backend::clock;

    /// Nanoseconds since 1970, UTC.
    pub fn now_ns() -> u64 {
        clock::now_ns()
    }

    /// Nanoseconds since some moment before the plugin started; never goes back.
    pub fn monotonic_ns() -> u64 {
        clock::monotonic_ns()
    }
}

/// Random numbers from the operating system.
pub mod random {
    use super::backend::random;

    pub fn next() -> u64 {
        random::next()
    }

    /// Evenly spread over 0 to `bound - 1`; 0 where `bound` is 0.
    pub fn below(bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        // What lies above the last whole multiple of `bound` would favour the small numbers.
        let usable = u64::MAX - u64::MAX % bound;
        loop {
            let number = next();
            if number < usable {
                return number % bound;
            }
        }
    }
}

/// Environment variables that are declared and granted.
pub mod environment {
    use super::backend::environment;
    use crate::Error;

    /// None where the variable is not set.
    pub fn get(name: &str) -> Result<Option<String>, Error> {
        environment::get(name).map_err(Error::new)
    }
}

/// Reading files that are declared and granted. Paths are absolute.
pub mod files {
    use super::backend::files;
    pub use crate::bindings::exporter::narthex::plugin::files::{Entry, FileKind, Metadata};
    use crate::error::FileError;

    /// The whole content.
    pub fn read(path: &str) -> Result<Vec<u8>, FileError> {
        files::read(path).map_err(FileError::from)
    }

    /// As [`read`], with what is no UTF-8 replaced by U+FFFD.
    pub fn read_text(path: &str) -> Result<String, FileError> {
        read(path).map(text)
    }

    /// As [`read`], for many small files in one crossing.
    pub fn read_many(paths: &[String]) -> Vec<Result<Vec<u8>, FileError>> {
        files::read_many(paths)
            .into_iter()
            .map(|result| result.map_err(FileError::from))
            .collect()
    }

    /// A folder's entries, by name in byte order.
    pub fn entries(path: &str) -> Result<Vec<Entry>, FileError> {
        files::entries(path).map_err(FileError::from)
    }

    /// What a path leads to, symbolic links followed.
    pub fn stat(path: &str) -> Result<Metadata, FileError> {
        files::stat(path).map_err(FileError::from)
    }

    /// The text of a symbolic link.
    pub fn read_link(path: &str) -> Result<String, FileError> {
        files::read_link(path).map_err(FileError::from)
    }

    /// Where a path really lies, all symbolic links followed.
    pub fn real_path(path: &str) -> Result<String, FileError> {
        files::real_path(path).map_err(FileError::from)
    }

    /// Bytes as text, with what is no UTF-8 replaced by U+FFFD.
    pub fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }
}

/// Facts about the machine, where the plugin wants `system` and the user grants it.
pub mod system {
    use super::backend::system;
    use crate::Error;
    pub use crate::bindings::exporter::narthex::plugin::system::{
        Disk, Identity, Memory, Network, Usage, Zone,
    };

    pub fn cpu_count() -> Result<u32, Error> {
        system::cpu_count().map_err(Error::new)
    }

    pub fn page_bytes() -> Result<u32, Error> {
        system::page_bytes().map_err(Error::new)
    }

    /// The machine's time zone, as it is now.
    pub fn time_zone() -> Result<Zone, Error> {
        system::time_zone().map_err(Error::new)
    }

    pub fn boot_time_seconds() -> Result<u64, Error> {
        system::boot_time_seconds().map_err(Error::new)
    }

    /// What uname(2) knows.
    pub fn identify() -> Result<Identity, Error> {
        system::identify().map_err(Error::new)
    }

    pub fn memory_usage() -> Result<Memory, Error> {
        system::memory_usage().map_err(Error::new)
    }

    pub fn disks() -> Result<Vec<Disk>, Error> {
        system::disks().map_err(Error::new)
    }

    pub fn networks() -> Result<Vec<Network>, Error> {
        system::networks().map_err(Error::new)
    }

    /// How full the file systems at these mount points are. One that does not answer in time gives
    /// the error `mountpoint timeout`.
    pub fn file_system_usage(
        mount_points: &[String],
        timeout_ms: u64,
    ) -> Result<Vec<Result<Usage, String>>, Error> {
        system::file_system_usage(mount_points, timeout_ms).map_err(Error::new)
    }
}

/// Waiting for the world; discoveries only.
pub mod events {
    use super::discovery_backend::events;
    use crate::Error;
    use crate::error::FileError;

    /// Names a subscription, until it is closed.
    pub type Subscription = u64;

    /// Fires when what `path` leads to has changed, appeared or gone; a folder, when one of its
    /// entries does. A last segment with `*` stands for whatever it matches. Nothing of it need be
    /// there yet.
    pub fn watch(path: &str) -> Result<Subscription, FileError> {
        events::watch(path).map_err(FileError::from)
    }

    /// Fires once, so much later.
    pub fn timer(after_ms: u64) -> Result<Subscription, Error> {
        events::timer(after_ms).map_err(Error::new)
    }

    pub fn close(subscription: Subscription) {
        events::close(subscription);
    }

    /// Sleeps until subscriptions fire; gives those that have. The host ends an instance that is
    /// no longer wanted in here. An error comes only in tests, where the script is over: pass it
    /// on with `?`.
    #[cfg(target_arch = "wasm32")]
    pub fn wait() -> Result<Vec<Subscription>, Error> {
        Ok(events::wait())
    }

    #[cfg(not(target_arch = "wasm32"))]
    pub fn wait() -> Result<Vec<Subscription>, Error> {
        events::wait().map_err(Error::new)
    }
}

/// Where a discovery's targets go.
pub mod publisher {
    use super::discovery_backend::publisher;
    use crate::Error;
    pub use crate::bindings::discovery::narthex::plugin::publisher::TargetGroup;

    /// Publishes groups. The first call of a run gives all that was found, even if that is
    /// nothing; later ones give what changed. A group replaces the former one of its source; one
    /// without targets removes it.
    pub fn publish(groups: &[TargetGroup]) -> Result<(), Error> {
        publisher::publish(groups).map_err(Error::new)
    }
}
