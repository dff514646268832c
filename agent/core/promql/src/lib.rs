//! PromQL: syntax, types, printer and engine.

pub mod syntax;
