//! Lines in the agent's log, marked with the plugin's name. The macros of [`crate::tracing`] write
//! here too, and are what a plugin should use.

use super::backend::log;
pub use crate::bindings::host::narthex::plugin::log::Level;

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
