//! PromQL: syntax, types, printer and engine.

pub mod engine;
pub mod syntax;
pub mod testlang;

pub use engine::{
    Clock, Engine, EngineOptions, EvaluationTimes, Explained, ExplainedNode, Explanation,
    MatrixSeries, Measured, QueryContext, QueryError, QueryMemory, QueryOutput, QueryStats,
    QueryValue, RangeParams, Sequential, Totals, VectorSample, Workers,
};
