//! Loads Rhai scripts, limits them and calls their hooks.
