//! Alert routing: route tree, grouping, notification log; step(now, event) gives actions.

pub mod config;
