//! The language: lexer, parser, types, printer.
//!
//! [`parse`] gives a type-checked tree ([`ast`]); `Display` writes it on one line and [`pretty`]
//! over several, both exactly as Prometheus writes it; [`to_json`] writes the tree itself. [`parse_selector`] reads the `match[]` of
//! the HTTP API, [`parse_series_description`] the series of PromQL tests and rule unit tests.
//!
//! Keeps true: what is printed parses to the same tree; a tree has at most [`MAX_DEPTH`] levels;
//! any text gives a tree or an error in time that grows with its length alone.
//!
//! Doesn't know what an expression is worth (that is the engine's).

pub mod ast;
mod check;
mod duration;
mod error;
pub mod functions;
mod json;
mod lexer;
mod literal;
mod parser;
mod pretty;
mod print;
mod series;
mod string_literal;
mod suggest;
#[cfg(test)]
mod tests;
mod token;

use narthex_model::{Labels, Matcher};

use ast::{AggregateExpr, BinaryExpr, Expr, Span};

pub use error::ParseError;
pub use json::to_json;
pub use parser::MAX_DEPTH;
pub use pretty::pretty;
pub use series::parse_series_description;

use error::Fault;

/// What of the language is switched on. The default is that of production.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParserOptions {
    pub experimental_functions: bool,
    /// `anchored` and `smoothed`.
    pub extended_range_selectors: bool,
    /// `fill(…)`, `fill_left(…)`, `fill_right(…)`.
    pub binop_fill_modifiers: bool,
    /// Arithmetic in ranges, steps and offsets.
    pub duration_expressions: bool,
}

impl Default for ParserOptions {
    fn default() -> Self {
        ParserOptions {
            experimental_functions: false,
            extended_range_selectors: false,
            binop_fill_modifiers: false,
            duration_expressions: true,
        }
    }
}

impl ParserOptions {
    /// Everything there is, as tests of the language have it.
    pub fn everything() -> Self {
        ParserOptions {
            experimental_functions: true,
            extended_range_selectors: true,
            binop_fill_modifiers: true,
            duration_expressions: true,
        }
    }
}

/// An operator with its modifiers, as it is printed: `/ on (job) group_left ()`.
pub(crate) fn operator_in_words(binary: &BinaryExpr) -> String {
    print::Operation(binary).to_string()
}

/// An aggregation without what it aggregates, as it is printed: `sum by (job)`.
pub(crate) fn aggregate_in_words(aggregate: &AggregateExpr) -> String {
    print::AggregateHead(aggregate)
        .to_string()
        .trim_end()
        .to_owned()
}

/// Reads and checks an expression.
pub fn parse(text: &str, options: &ParserOptions) -> Result<Expr, ParseError> {
    parser::expression(text, *options)
        .and_then(|mut expr| check::check(&mut expr).map(|_| expr))
        .map_err(|fault| ParseError::new(text, fault))
}

/// Reads a selector without range and modifiers, as in `match[]`. It must not select everything.
pub fn parse_selector(text: &str) -> Result<Vec<Matcher>, ParseError> {
    let matchers = parse_any_selector(text)?;
    if check::has_non_empty_matcher(&matchers) {
        return Ok(matchers);
    }
    let span = Span::new(0, text.len());
    let fault = Fault::new(span, "match[] must contain at least one non-empty matcher");
    Err(ParseError::new(text, fault))
}

/// As [`parse_selector`], for where everything may be selected.
pub fn parse_any_selector(text: &str) -> Result<Vec<Matcher>, ParseError> {
    parser::selector(text).map_err(|fault| ParseError::new(text, fault))
}

/// Reads the labels of one series: `name{label="value"}`.
pub fn parse_metric(text: &str) -> Result<Labels, ParseError> {
    parser::metric(text, lexer::tokens(text)).map_err(|fault| ParseError::new(text, fault))
}
