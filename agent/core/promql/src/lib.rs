//! PromQL: syntax, types, printer and engine.

pub mod engine;
pub mod syntax;
pub mod testlang;

pub use engine::{
    Engine, EngineOptions, MatrixSeries, QueryContext, QueryError, QueryMemory, QueryOutput,
    QueryStats, QueryValue, RangeParams, Sequential, VectorSample, Workers,
};
