//! Durations between `[` and `]` and after `offset`: literals and arithmetic on them.

use super::ast::{BinaryOp, DurationExpr, Span, UnaryOp};
use super::error::Fault;
use super::literal;
use super::parser::{Failure, Parsed, Parser};
use super::token::{QueryWord, TokenKind};

impl DurationExpr {
    /// More seconds than that don't fit into 64 bits of nanoseconds.
    pub(crate) const MAX_SECONDS: f64 = 9_223_372_036.854_776;

    /// The value for a query from `start_ms` to `end_ms` in steps of `step_ms`, cut to whole
    /// milliseconds; it may be negative or 0, as offsets may.
    pub fn eval_ms(&self, start_ms: i64, end_ms: i64, step_ms: i64) -> Result<i64, String> {
        if let DurationExpr::LiteralMs(ms) = self {
            return Ok(*ms);
        }
        let seconds = self.eval_seconds(&QueryTimes {
            step: seconds(if start_ms == end_ms { 0 } else { step_ms }),
            range: seconds(end_ms.saturating_sub(start_ms)),
        })?;
        if !seconds.is_finite() {
            return Err("duration is NaN or infinite".to_owned());
        }
        if seconds.abs() > Self::MAX_SECONDS {
            return Err("duration is out of range".to_owned());
        }
        // In range: checked above.
        Ok((seconds * 1000.0) as i64)
    }

    /// As [`DurationExpr::eval_ms`], for ranges and steps, which must be greater than 0.
    pub fn eval_positive_ms(
        &self,
        start_ms: i64,
        end_ms: i64,
        step_ms: i64,
    ) -> Result<i64, String> {
        let ms = self.eval_ms(start_ms, end_ms, step_ms)?;
        if ms > 0 {
            Ok(ms)
        } else {
            Err("duration must be greater than 0".to_owned())
        }
    }

    /// The seconds of a plain literal.
    fn literal_seconds(&self) -> Option<f64> {
        match self {
            DurationExpr::LiteralMs(ms) => Some(seconds(*ms)),
            DurationExpr::Number(value) => Some(*value),
            _ => None,
        }
    }

    fn eval_seconds(&self, times: &QueryTimes) -> Result<f64, String> {
        Ok(match self {
            DurationExpr::LiteralMs(ms) => seconds(*ms),
            DurationExpr::Number(value) => *value,
            DurationExpr::Step => times.step,
            DurationExpr::Range => times.range,
            DurationExpr::Paren(expr)
            | DurationExpr::Unary {
                op: UnaryOp::Plus,
                expr,
            } => expr.eval_seconds(times)?,
            DurationExpr::Unary { expr, .. } => -expr.eval_seconds(times)?,
            DurationExpr::MinOf(left, right) => {
                minimum(left.eval_seconds(times)?, right.eval_seconds(times)?)
            }
            DurationExpr::MaxOf(left, right) => {
                -minimum(-left.eval_seconds(times)?, -right.eval_seconds(times)?)
            }
            DurationExpr::Binary { op, left, right } => {
                let (left, right) = (left.eval_seconds(times)?, right.eval_seconds(times)?);
                match op {
                    BinaryOp::Add => left + right,
                    BinaryOp::Sub => left - right,
                    BinaryOp::Mul => left * right,
                    BinaryOp::Div if right == 0.0 => return Err("division by zero".to_owned()),
                    BinaryOp::Div => left / right,
                    BinaryOp::Mod if right == 0.0 => return Err("modulo by zero".to_owned()),
                    BinaryOp::Mod => left % right,
                    BinaryOp::Pow => left.powf(right),
                    _ => return Err(format!("unexpected duration operator {:?}", op.as_str())),
                }
            }
        })
    }
}

/// In seconds.
struct QueryTimes {
    step: f64,
    range: f64,
}

/// A duration with its place in the text.
type Duration = Parsed<DurationExpr>;

impl Parser<'_> {
    /// A range or step: what is known to be 0 or less is refused.
    pub(crate) fn positive_duration(&mut self) -> Result<Duration, Failure> {
        let mut duration = self.duration(0)?;
        if let Some(seconds) = duration.value.literal_seconds() {
            if seconds <= 0.0 {
                let message = "duration must be greater than 0";
                return Err(self.fault_before_next(duration.span, message));
            }
            duration.value = DurationExpr::LiteralMs(whole_ms(seconds));
        }
        Ok(duration)
    }

    /// What follows `offset`. Arithmetic needs parentheses here, as an operator behind a plain
    /// offset goes on with the whole expression.
    pub(crate) fn offset_duration(&mut self) -> Result<Duration, Failure> {
        let mut duration = match self.sign() {
            Some((op, span)) if self.sign_follows() => {
                let signed = self.duration(BinaryOp::Pow.precedence())?;
                let first = apply_sign(op, span, signed);
                self.duration_operators(first, 0)?
            }
            Some((op, span)) => apply_sign(op, span, self.duration_operand()?),
            None if self.kind() == &TokenKind::LeftParen => {
                let first = self.duration_operand()?;
                if self.duration_goes_on() {
                    self.duration_operators(first, 0)?
                } else {
                    first
                }
            }
            None => self.duration_operand()?,
        };
        if let Some(seconds) = duration.value.literal_seconds() {
            duration.value = DurationExpr::LiteralMs(whole_ms(seconds));
        }
        Ok(duration)
    }

    fn sign_follows(&self) -> bool {
        matches!(
            self.kind(),
            TokenKind::Operator(BinaryOp::Add | BinaryOp::Sub)
        )
    }

    /// Whether an operator and the beginning of a duration follow.
    fn duration_goes_on(&self) -> bool {
        matches!(self.kind(), TokenKind::Operator(_))
            && matches!(
                self.kind_after(1),
                TokenKind::Number
                    | TokenKind::Duration
                    | TokenKind::LeftParen
                    | TokenKind::Word(_)
                    | TokenKind::Operator(BinaryOp::Add | BinaryOp::Sub)
            )
    }

    fn duration(&mut self, min_precedence: u8) -> Result<Duration, Failure> {
        self.nested(|parser| {
            let first = match parser.sign() {
                Some((op, span)) => {
                    let operand = parser.duration(BinaryOp::Pow.precedence())?;
                    apply_sign(op, span, operand)
                }
                None => parser.duration_operand()?,
            };
            parser.duration_operators(first, min_precedence)
        })
    }

    fn duration_operators(
        &mut self,
        first: Duration,
        min_precedence: u8,
    ) -> Result<Duration, Failure> {
        let mut left = first;
        while let Some(op) = self.duration_operator(min_precedence) {
            let op_span = self.advance();
            let right_precedence = op.precedence() + u8::from(op != BinaryOp::Pow);
            let right = self.duration(right_precedence)?;
            self.require_duration_expressions(left.span)?;
            if right.value.literal_seconds() == Some(0.0) {
                match op {
                    BinaryOp::Div => return Err(Fault::new(op_span, "division by zero").into()),
                    BinaryOp::Mod => return Err(Fault::new(op_span, "modulo by zero").into()),
                    _ => {}
                }
            }
            let height = left.height.max(right.height) + 1;
            let span = left.span.to(right.span);
            let value = DurationExpr::Binary {
                op,
                left: Box::new(left.value),
                right: Box::new(right.value),
            };
            left = self.limited(value, span, height)?;
        }
        Ok(left)
    }

    fn duration_operator(&self, min_precedence: u8) -> Option<BinaryOp> {
        match self.kind() {
            TokenKind::Operator(op)
                if matches!(
                    op,
                    BinaryOp::Add
                        | BinaryOp::Sub
                        | BinaryOp::Mul
                        | BinaryOp::Div
                        | BinaryOp::Mod
                        | BinaryOp::Pow
                ) && op.precedence() >= min_precedence =>
            {
                Some(*op)
            }
            _ => None,
        }
    }

    fn duration_operand(&mut self) -> Result<Duration, Failure> {
        match self.kind() {
            TokenKind::Number | TokenKind::Duration => self.duration_literal(),
            TokenKind::Word(QueryWord::Step) => self.duration_word(DurationExpr::Step),
            TokenKind::Word(QueryWord::Range) => self.duration_word(DurationExpr::Range),
            TokenKind::Word(QueryWord::MinOf) => self.duration_choice(DurationExpr::MinOf),
            TokenKind::Word(QueryWord::MaxOf) => self.duration_choice(DurationExpr::MaxOf),
            TokenKind::LeftParen => {
                let start = self.advance();
                let inner = self.duration(0)?;
                let end = self.expect(&TokenKind::RightParen)?;
                self.require_duration_expressions(inner.span)?;
                let (height, span) = (inner.height + 1, start.to(end));
                // Doubled parentheses are one pair, as the printed form has it.
                let value = match inner.value {
                    DurationExpr::Paren(_) => inner.value,
                    value => DurationExpr::Paren(Box::new(value)),
                };
                self.limited(value, span, height)
            }
            _ => Err(self.unexpected_here()),
        }
    }

    fn duration_literal(&mut self) -> Result<Duration, Failure> {
        let is_duration = self.kind() == &TokenKind::Duration;
        let (text, span) = self.take_text();
        let value = if is_duration {
            literal::duration_ms(text).map(DurationExpr::LiteralMs)
        } else {
            literal::number(text).map(DurationExpr::Number)
        }
        .map_err(|message| Fault::new(span, message))?;
        if value
            .literal_seconds()
            .is_some_and(literal::is_duration_out_of_range)
        {
            return Err(Fault::new(span, "duration out of range").into());
        }
        Ok(Parsed::leaf(value, span))
    }

    /// `step()` or `range()`
    fn duration_word(&mut self, value: DurationExpr) -> Result<Duration, Failure> {
        let start = self.advance();
        self.expect(&TokenKind::LeftParen)?;
        let span = start.to(self.expect(&TokenKind::RightParen)?);
        self.require_duration_expressions(span)?;
        Ok(Parsed::leaf(value, span))
    }

    /// `min_of(a, b)` or `max_of(a, b)`
    fn duration_choice(
        &mut self,
        build: fn(Box<DurationExpr>, Box<DurationExpr>) -> DurationExpr,
    ) -> Result<Duration, Failure> {
        let start = self.advance();
        self.expect(&TokenKind::LeftParen)?;
        let left = self.duration(0)?;
        self.expect(&TokenKind::Comma)?;
        let right = self.duration(0)?;
        let span = start.to(self.expect(&TokenKind::RightParen)?);
        self.require_duration_expressions(left.span)?;
        let height = left.height.max(right.height) + 1;
        self.limited(
            build(Box::new(left.value), Box::new(right.value)),
            span,
            height,
        )
    }

    fn require_duration_expressions(&self, span: Span) -> Result<(), Failure> {
        if self.options.duration_expressions {
            Ok(())
        } else {
            Err(Fault::new(span, "experimental duration expression is not enabled").into())
        }
    }
}

fn apply_sign(op: UnaryOp, op_span: Span, operand: Duration) -> Duration {
    let value = match (op, operand.value) {
        (UnaryOp::Plus, value) => value,
        (UnaryOp::Minus, DurationExpr::LiteralMs(ms)) => DurationExpr::LiteralMs(-ms),
        (UnaryOp::Minus, DurationExpr::Number(value)) => DurationExpr::Number(-value),
        (UnaryOp::Minus, value) => DurationExpr::Unary {
            op,
            expr: Box::new(value),
        },
    };
    Parsed {
        value,
        span: op_span.to(operand.span),
        height: operand.height + 1,
    }
}

fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

/// Rounded to nanoseconds first, so that 0.001 is one millisecond.
fn whole_ms(seconds: f64) -> i64 {
    (seconds * 1e9).round() as i64 / 1_000_000
}

/// NaN if one is NaN.
fn minimum(left: f64, right: f64) -> f64 {
    if left.is_nan() || right.is_nan() {
        f64::NAN
    } else {
        left.min(right)
    }
}
