//! The tree of an expression: what the parser gives, the printer prints and the engine runs.
//!
//! After [`super::parse`] a tree is type-checked. Duration expressions stay as they were written in
//! [`DurationExpr`]; the engine evaluates them, as `step()` and `range()` depend on the query.

use std::sync::Arc;

use narthex_model::{Labels, Matcher, SampleValue};

use crate::syntax::functions::Function;

pub use super::string_literal::StringLiteral;

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
/// `Debug` shows it as it is printed.
#[derive(Clone)]
pub struct Expr {
    pub kind: ExprKind,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub enum ExprKind {
    Number(NumberLiteral),
    String(StringLiteral),
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

/// Operators that group to the left make chains, `a + b + c …`, of any length: what goes down a tree
/// must not take stack for each link. See [`Expr::chain`].
#[derive(Debug)]
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

impl ValueType {
    /// As messages to users call it.
    pub fn documented(self) -> &'static str {
        match self {
            ValueType::InstantVector => "instant vector",
            ValueType::RangeVector => "range vector",
            ValueType::Scalar | ValueType::String => self.as_str(),
        }
    }

    /// As the HTTP API calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            ValueType::Scalar => "scalar",
            ValueType::String => "string",
            ValueType::InstantVector => "vector",
            ValueType::RangeVector => "matrix",
        }
    }
}

impl UnaryOp {
    pub fn as_str(self) -> &'static str {
        match self {
            UnaryOp::Plus => "+",
            UnaryOp::Minus => "-",
        }
    }
}

impl BinaryOp {
    pub fn as_str(self) -> &'static str {
        match self {
            BinaryOp::Add => "+",
            BinaryOp::Sub => "-",
            BinaryOp::Mul => "*",
            BinaryOp::Div => "/",
            BinaryOp::Mod => "%",
            BinaryOp::Pow => "^",
            BinaryOp::Atan2 => "atan2",
            BinaryOp::Equal => "==",
            BinaryOp::NotEqual => "!=",
            BinaryOp::Greater => ">",
            BinaryOp::Less => "<",
            BinaryOp::GreaterOrEqual => ">=",
            BinaryOp::LessOrEqual => "<=",
            BinaryOp::TrimUpper => "</",
            BinaryOp::TrimLower => ">/",
            BinaryOp::And => "and",
            BinaryOp::Or => "or",
            BinaryOp::Unless => "unless",
        }
    }

    /// Comparisons filter, or give 0 and 1 with `bool`.
    pub fn is_comparison(self) -> bool {
        matches!(
            self,
            BinaryOp::Equal
                | BinaryOp::NotEqual
                | BinaryOp::Greater
                | BinaryOp::Less
                | BinaryOp::GreaterOrEqual
                | BinaryOp::LessOrEqual
        )
    }

    pub fn is_set_operator(self) -> bool {
        matches!(self, BinaryOp::And | BinaryOp::Or | BinaryOp::Unless)
    }

    /// Higher binds tighter.
    pub(crate) fn precedence(self) -> u8 {
        match self {
            BinaryOp::Or => 1,
            BinaryOp::And | BinaryOp::Unless => 2,
            BinaryOp::Add | BinaryOp::Sub => 4,
            BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod | BinaryOp::Atan2 => 5,
            BinaryOp::Pow => 6,
            _ => 3,
        }
    }
}

impl Cardinality {
    pub fn as_str(self) -> &'static str {
        match self {
            Cardinality::OneToOne => "one-to-one",
            Cardinality::ManyToOne => "many-to-one",
            Cardinality::OneToMany => "one-to-many",
            Cardinality::ManyToMany => "many-to-many",
        }
    }
}

impl AggregateOp {
    pub const ALL: [AggregateOp; 14] = [
        AggregateOp::Sum,
        AggregateOp::Avg,
        AggregateOp::Count,
        AggregateOp::Min,
        AggregateOp::Max,
        AggregateOp::Group,
        AggregateOp::Stddev,
        AggregateOp::Stdvar,
        AggregateOp::TopK,
        AggregateOp::BottomK,
        AggregateOp::CountValues,
        AggregateOp::Quantile,
        AggregateOp::LimitK,
        AggregateOp::LimitRatio,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            AggregateOp::Sum => "sum",
            AggregateOp::Avg => "avg",
            AggregateOp::Count => "count",
            AggregateOp::Min => "min",
            AggregateOp::Max => "max",
            AggregateOp::Group => "group",
            AggregateOp::Stddev => "stddev",
            AggregateOp::Stdvar => "stdvar",
            AggregateOp::TopK => "topk",
            AggregateOp::BottomK => "bottomk",
            AggregateOp::CountValues => "count_values",
            AggregateOp::Quantile => "quantile",
            AggregateOp::LimitK => "limitk",
            AggregateOp::LimitRatio => "limit_ratio",
        }
    }

    /// From the word in lower case.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|op| op.as_str() == word)
    }

    /// The type of its parameter, if it takes one.
    pub fn param_type(self) -> Option<ValueType> {
        match self {
            AggregateOp::TopK
            | AggregateOp::BottomK
            | AggregateOp::Quantile
            | AggregateOp::LimitK
            | AggregateOp::LimitRatio => Some(ValueType::Scalar),
            AggregateOp::CountValues => Some(ValueType::String),
            _ => None,
        }
    }

    /// Needs the option `experimental_functions`.
    pub fn is_experimental(self) -> bool {
        matches!(self, AggregateOp::LimitK | AggregateOp::LimitRatio)
    }
}

impl BinaryExpr {
    /// The same without its left side.
    fn link(&self, left: Expr) -> Self {
        BinaryExpr {
            op: self.op,
            op_span: self.op_span,
            left,
            right: self.right.clone(),
            return_bool: self.return_bool,
            matching: self.matching.clone(),
        }
    }
}

impl Clone for BinaryExpr {
    fn clone(&self) -> Self {
        let (first, links) = self.left.chain();
        let mut left = first.clone();
        let mut spans = Vec::with_capacity(links.len());
        let mut inner = &self.left;
        while let ExprKind::Binary(binary) = &inner.kind {
            spans.push(inner.span);
            inner = &binary.left;
        }
        for (link, span) in links.into_iter().zip(spans.into_iter().rev()) {
            let kind = ExprKind::Binary(Box::new(link.link(left)));
            left = Expr { kind, span };
        }
        self.link(left)
    }
}

impl Drop for BinaryExpr {
    fn drop(&mut self) {
        let mut left = self.left.take();
        while let ExprKind::Binary(binary) = &mut left.kind {
            left = binary.left.take();
        }
    }
}

impl VectorMatching {
    /// What no modifier means.
    pub(crate) fn one_to_one() -> Self {
        VectorMatching {
            cardinality: Cardinality::OneToOne,
            on: false,
            labels: Vec::new(),
            include: Vec::new(),
            fill_left: None,
            fill_right: None,
        }
    }

    pub(crate) fn fills(&self) -> bool {
        self.fill_left.is_some() || self.fill_right.is_some()
    }
}

impl Expr {
    /// Moves the expression out and leaves a number in its place.
    pub(crate) fn take(&mut self) -> Expr {
        let kind = ExprKind::Number(NumberLiteral {
            value: 0.0,
            is_duration: false,
        });
        let span = self.span;
        std::mem::replace(self, Expr { kind, span })
    }

    pub fn value_type(&self) -> ValueType {
        let mut first = self;
        while let ExprKind::Binary(binary) = &first.kind {
            if binary.right.value_type() != ValueType::Scalar {
                return ValueType::InstantVector;
            }
            first = &binary.left;
        }
        match first.own_type() {
            ValueType::Scalar => ValueType::Scalar,
            _ if matches!(self.kind, ExprKind::Binary(_)) => ValueType::InstantVector,
            own => own,
        }
    }

    /// Of anything but a binary expression.
    fn own_type(&self) -> ValueType {
        match &self.kind {
            ExprKind::Number(_) => ValueType::Scalar,
            ExprKind::String(_) => ValueType::String,
            ExprKind::Paren(expr) | ExprKind::Unary { expr, .. } => expr.value_type(),
            ExprKind::Binary(_) | ExprKind::Aggregate(_) | ExprKind::VectorSelector(_) => {
                ValueType::InstantVector
            }
            ExprKind::Call(call) => call.function.returns,
            ExprKind::MatrixSelector(_) | ExprKind::Subquery(_) => ValueType::RangeVector,
        }
    }

    /// A binary expression as the operand on its very left and its operators from there on, each
    /// with its right side. Of another expression itself, and nothing.
    pub fn chain(&self) -> (&Expr, Vec<&BinaryExpr>) {
        let mut links = Vec::new();
        let mut first = self;
        while let ExprKind::Binary(binary) = &first.kind {
            links.push(&**binary);
            first = &binary.left;
        }
        links.reverse();
        (first, links)
    }

    /// What the parentheses around it hold.
    pub fn without_parens(&self) -> &Expr {
        let mut expr = self;
        while let ExprKind::Paren(inner) = &expr.kind {
            expr = inner;
        }
        expr
    }

    /// The expressions right below this one. A range's selector is not one of them.
    pub fn children(&self) -> Vec<&Expr> {
        match &self.kind {
            ExprKind::Paren(expr) | ExprKind::Unary { expr, .. } => vec![expr],
            ExprKind::Binary(binary) => vec![&binary.left, &binary.right],
            ExprKind::Aggregate(aggregate) => std::iter::once(&aggregate.expr)
                .chain(&aggregate.param)
                .collect(),
            ExprKind::Call(call) => call.args.iter().collect(),
            ExprKind::Subquery(subquery) => vec![&subquery.expr],
            ExprKind::Number(_)
            | ExprKind::String(_)
            | ExprKind::VectorSelector(_)
            | ExprKind::MatrixSelector(_) => Vec::new(),
        }
    }

    /// The same, to be changed.
    pub fn children_mut(&mut self) -> Vec<&mut Expr> {
        match &mut self.kind {
            ExprKind::Paren(expr) | ExprKind::Unary { expr, .. } => vec![expr],
            ExprKind::Binary(binary) => vec![&mut binary.left, &mut binary.right],
            ExprKind::Aggregate(aggregate) => std::iter::once(&mut aggregate.expr)
                .chain(&mut aggregate.param)
                .collect(),
            ExprKind::Call(call) => call.args.iter_mut().collect(),
            ExprKind::Subquery(subquery) => vec![&mut subquery.expr],
            ExprKind::Number(_)
            | ExprKind::String(_)
            | ExprKind::VectorSelector(_)
            | ExprKind::MatrixSelector(_) => Vec::new(),
        }
    }

    /// Shows every expression of the tree to `visit`, parents first.
    pub fn walk<'a>(&'a self, visit: &mut impl FnMut(&'a Expr)) {
        let mut waiting = vec![self];
        while let Some(expr) = waiting.pop() {
            visit(expr);
            waiting.extend(expr.children().into_iter().rev());
        }
    }

    /// Every selector of the tree, with and without a range.
    pub fn selectors(&self) -> Vec<&VectorSelector> {
        let mut found = Vec::new();
        self.walk(&mut |expr| match &expr.kind {
            ExprKind::VectorSelector(selector) => found.push(selector),
            ExprKind::MatrixSelector(matrix) => found.push(&matrix.selector),
            _ => {}
        });
        found
    }
}
