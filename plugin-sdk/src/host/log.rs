//! Lines in the agent's log, marked with the plugin's name. A plugin writes them by the macros of
//! [`crate::tracing`], which end here.

use super::backend::log;
pub use crate::bindings::host::narthex::plugin::log::Level;

/// Writes a line. More of them in a second than the limit allows are counted and dropped.
pub fn write(level: Level, message: impl AsRef<str>) {
    log::write(level, message.as_ref());
}
