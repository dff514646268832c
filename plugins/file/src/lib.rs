//! The file plugin.
