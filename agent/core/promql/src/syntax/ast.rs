//! The tree of an expression: what the parser gives, the printer prints and the engine runs.
//!
//! After [`super::parse`] a tree is type-checked. Duration expressions stay as they were written in
//! [`DurationExpr`]; the engine evaluates them, as `step()` and `range()` depend on the query.

use std::sync::Arc;

use narthex_model::{Labels, Matcher, SampleValue};

use crate::syntax::functions::Function;

/// Bytes of the query text, end exclusive. Line and column are worked out when shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    pub start: usize,
    pub end: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueType {
    Scalar,
    String,
    InstantVector,
    RangeVector,
}

/// Spans are left out of equality of trees by comparing printed forms, not trees.
#[derive(Clone, Debug)]
pub struct Expr {
    pub kind: ExprKind,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub enum ExprKind {
    Number(NumberLiteral),
    String(String),
    Paren(Box<Expr>),
    Unary { op: UnaryOp, expr: Box<Expr> },
    Binary(Box<BinaryExpr>),
    Aggregate(Box<AggregateExpr>),
    Call(Call),
    VectorSelector(VectorSelector),
    MatrixSelector(MatrixSelector),
    Subquery(Box<Subquery>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NumberLiteral {
    pub value: f64,
    /// It was written as a duration (`5m`) and is printed as one.
    pub is_duration: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnaryOp {
    Plus,
    Minus,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    /// `</`: keeps a histogram's observations below a bound.
    TrimUpper,
    /// `>/`: keeps a histogram's observations above a bound.
    TrimLower,
    And,
    Or,
    Unless,
}

#[derive(Clone, Debug)]
pub struct BinaryExpr {
    pub op: BinaryOp,
    pub op_span: Span,
    pub left: Expr,
    pub right: Expr,
    /// `bool` after a comparison.
    pub return_bool: bool,
    /// Present when both sides are instant vectors.
    pub matching: Option<VectorMatching>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cardinality {
    OneToOne,
    ManyToOne,
    OneToMany,
    ManyToMany,
}

#[derive(Clone, Debug, PartialEq)]
pub struct VectorMatching {
    pub cardinality: Cardinality,
    /// `on` (true) or `ignoring` (false, also when neither is written).
    pub on: bool,
    pub labels: Vec<Arc<str>>,
    /// Labels that `group_left`/`group_right` take over from the one side.
    pub include: Vec<Arc<str>>,
    pub fill_left: Option<f64>,
    pub fill_right: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AggregateOp {
    Sum,
    Avg,
    Count,
    Min,
    Max,
    Group,
    Stddev,
    Stdvar,
    TopK,
    BottomK,
    CountValues,
    Quantile,
    LimitK,
    LimitRatio,
}

#[derive(Clone, Debug)]
pub struct AggregateExpr {
    pub op: AggregateOp,
    pub expr: Expr,
    /// `k`, the quantile, the label's name, …
    pub param: Option<Expr>,
    pub grouping: Vec<Arc<str>>,
    pub without: bool,
}

#[derive(Clone, Debug)]
pub struct Call {
    pub function: &'static Function,
    pub args: Vec<Expr>,
}

#[derive(Clone, Debug)]
pub struct VectorSelector {
    /// The name written before the braces, if any; it stands among the matchers too.
    pub name: Option<Arc<str>>,
    pub matchers: Vec<Matcher>,
    pub time: TimeModifiers,
    /// `anchored`, here and in [`MatrixSelector`] when a range follows; without a range it has no
    /// effect.
    pub anchored: bool,
    /// `smoothed`, with or without a range.
    pub smoothed: bool,
}

#[derive(Clone, Debug)]
pub struct MatrixSelector {
    pub selector: VectorSelector,
    /// Span of the selector without its range.
    pub selector_span: Span,
    pub range: DurationExpr,
    pub anchored: bool,
}

#[derive(Clone, Debug)]
pub struct Subquery {
    pub expr: Expr,
    pub range: DurationExpr,
    /// None: the default evaluation interval.
    pub step: Option<DurationExpr>,
    pub time: TimeModifiers,
}

#[derive(Clone, Debug, Default)]
pub struct TimeModifiers {
    pub offset: Option<DurationExpr>,
    pub at: Option<AtModifier>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtModifier {
    TimestampMs(i64),
    Start,
    End,
}

/// A duration as it was written: a literal or arithmetic on literals, `step()` and `range()`.
#[derive(Clone, Debug, PartialEq)]
pub enum DurationExpr {
    /// Milliseconds; negative only in offsets.
    LiteralMs(i64),
    /// A plain number of seconds inside of an expression, where it is a factor (`5m * 2`).
    Number(f64),
    Step,
    Range,
    Unary {
        op: UnaryOp,
        expr: Box<DurationExpr>,
    },
    /// Add, Sub, Mul, Div, Mod, Pow.
    Binary {
        op: BinaryOp,
        left: Box<DurationExpr>,
        right: Box<DurationExpr>,
    },
    MinOf(Box<DurationExpr>, Box<DurationExpr>),
    MaxOf(Box<DurationExpr>, Box<DurationExpr>),
    Paren(Box<DurationExpr>),
}

/// A metric with its values in the language of PromQL tests and rule unit tests.
#[derive(Clone, Debug)]
pub struct SeriesDescription {
    pub labels: Labels,
    pub values: Vec<SequenceValue>,
}

#[derive(Clone, Debug)]
pub enum SequenceValue {
    /// `_`: no sample here.
    Omitted,
    Value {
        value: SampleValue,
        /// The histogram's `counter_reset_hint` was written: a test compares it only then.
        hint_written: bool,
    },
}
