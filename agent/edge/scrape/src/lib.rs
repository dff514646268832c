//! Target loops: fetch, parse, relabel, append.

pub mod config;
