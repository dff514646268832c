//! Loads WebAssembly plugins, limits them and calls them.
