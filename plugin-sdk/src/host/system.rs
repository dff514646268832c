//! Facts about the machine, where the plugin wants `system` and the user grants it.

use super::backend::system;
use crate::CallError;
pub use crate::bindings::host::narthex::plugin::system::{
    ClockState, Disk, Identity, Memory, Network, Usage, Zone,
};

pub fn cpu_count() -> Result<u32, CallError> {
    system::cpu_count().map_err(CallError::from)
}

pub fn page_bytes() -> Result<u32, CallError> {
    system::page_bytes().map_err(CallError::from)
}

/// The machine's time zone, as it is now.
pub fn time_zone() -> Result<Zone, CallError> {
    system::time_zone().map_err(CallError::from)
}

pub fn boot_time_seconds() -> Result<u64, CallError> {
    system::boot_time_seconds().map_err(CallError::from)
}

/// What uname(2) knows.
pub fn identify() -> Result<Identity, CallError> {
    system::identify().map_err(CallError::from)
}

/// What adjtimex(2) knows.
pub fn clock_adjustment() -> Result<ClockState, CallError> {
    system::clock_adjustment().map_err(CallError::from)
}

pub fn memory_usage() -> Result<Memory, CallError> {
    system::memory_usage().map_err(CallError::from)
}

pub fn disks() -> Result<Vec<Disk>, CallError> {
    system::disks().map_err(CallError::from)
}

pub fn networks() -> Result<Vec<Network>, CallError> {
    system::networks().map_err(CallError::from)
}

/// How full the file systems at these mount points are. One that does not answer in time gives
/// the error `mountpoint timeout`.
pub fn file_system_usage(
    mount_points: &[String],
    timeout_ms: u64,
) -> Result<Vec<Result<Usage, String>>, CallError> {
    system::file_system_usage(mount_points, timeout_ms).map_err(CallError::from)
}
