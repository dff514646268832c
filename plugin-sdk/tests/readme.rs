//! The exporter that the README shows: it compiles, its own tests pass, and the README shows it.

#![allow(
    dead_code,
    reason = "what the macro would export is only there in WebAssembly"
)]

#[path = "readme/uptime.rs"]
mod uptime;

#[test]
fn the_readme_shows_it() {
    let readme = include_str!("../README.md");
    assert!(readme.contains(include_str!("readme/uptime.rs")));
}
