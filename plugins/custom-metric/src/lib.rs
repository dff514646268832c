//! The custom-metric plugin.
