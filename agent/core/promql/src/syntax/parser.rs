//! From tokens to the tree, by recursive descent with operator precedence.
//!
//! Keeps true: no tree is higher than [`MAX_DEPTH`], neither while it is read nor when it is done,
//! so reading, checking, printing and dropping it take a bounded stack. Types are checked
//! afterwards, by `check`.

use std::sync::Arc;

use narthex_model::{Labels, METRIC_NAME, MatchOp, Matcher};

use super::ParserOptions;
use super::ast::{
    AggregateExpr, AggregateOp, AtModifier, BinaryExpr, BinaryOp, Call, Cardinality, DurationExpr,
    Expr, ExprKind, MatrixSelector, NumberLiteral, Span, Subquery, TimeModifiers, UnaryOp,
    VectorMatching, VectorSelector,
};
use super::error::Fault;
use super::functions::{self, Function};
use super::suggest;
use super::token::{Keyword, QueryWord, Token, TokenKind};
use super::{lexer, literal};

/// Levels that an expression may have; a chain of operators that group to the left is one. Reading one takes up to 3.3 KB of stack a level where the
/// code is not optimised, and a thread may have no more than 2 MB.
pub const MAX_DEPTH: usize = 400;

pub(crate) struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    at: usize,
    pub(crate) options: ParserOptions,
    depth: usize,
}

/// A piece of the tree with its place in the text and the number of its levels.
pub(crate) struct Parsed<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
    pub(crate) height: usize,
}

pub(crate) enum Failure {
    /// The next token fits nowhere; the innermost construct that has a word for it adds it.
    Unexpected,
    Fault(Fault),
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Failure::Fault(fault)
    }
}

type Result<T> = std::result::Result<T, Failure>;

/// An expression under construction, with the number of its levels. In a box, as many of them
/// are on the stack while nested expressions are read.
struct Node {
    expr: Box<Expr>,
    height: usize,
}

impl<T> Parsed<T> {
    pub(crate) fn leaf(value: T, span: Span) -> Self {
        Parsed {
            value,
            span,
            height: 1,
        }
    }
}

impl Node {
    fn new(kind: ExprKind, span: Span, height: usize) -> Result<Self> {
        if height > MAX_DEPTH {
            return Err(too_deep(span));
        }
        let expr = Box::new(Expr { kind, span });
        Ok(Node { expr, height })
    }

    fn span(&self) -> Span {
        self.expr.span
    }
}

/// A whole expression, types unchecked.
pub(crate) fn expression(text: &str, options: ParserOptions) -> std::result::Result<Expr, Fault> {
    let mut parser = Parser::new(text, lexer::tokens(text), options);
    if parser.kind() == &TokenKind::End {
        return Err(Fault::new(Span::default(), "no expression found in input"));
    }
    parser.whole(|parser| parser.expression(0).map(|node| *node.expr))
}

/// The matchers of a selector without modifiers.
pub(crate) fn selector(text: &str) -> std::result::Result<Vec<Matcher>, Fault> {
    let mut parser = Parser::new(text, lexer::tokens(text), ParserOptions::default());
    parser.whole(|parser| {
        if !parser.token().is_metric_name() && parser.kind() != &TokenKind::LeftBrace {
            return Err(parser.unexpected_here());
        }
        let node = parser.vector_selector()?;
        Ok(node.value.matchers)
    })
}

/// The labels of a metric whose tokens these are.
pub(crate) fn metric(text: &str, tokens: Vec<Token>) -> std::result::Result<Labels, Fault> {
    let mut parser = Parser::new(text, tokens, ParserOptions::default());
    parser.whole(Parser::label_set)
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, tokens: Vec<Token>, options: ParserOptions) -> Self {
        Parser {
            text,
            tokens,
            at: 0,
            options,
            depth: 0,
        }
    }

    /// What `parse` reads must be all there is.
    fn whole<T>(
        &mut self,
        parse: impl FnOnce(&mut Self) -> Result<T>,
    ) -> std::result::Result<T, Fault> {
        let result = parse(self).and_then(|value| match self.kind() {
            TokenKind::End => Ok(value),
            _ => Err(Failure::Unexpected),
        });
        result.map_err(|failure| match failure {
            Failure::Fault(fault) => fault,
            Failure::Unexpected => self.unexpected("", ""),
        })
    }

    fn token(&self) -> &Token {
        self.token_after(0)
    }

    fn token_after(&self, count: usize) -> &Token {
        // The last token is never passed, and the lexer gives at least one.
        static END: Token = Token {
            kind: TokenKind::End,
            span: Span { start: 0, end: 0 },
        };
        self.tokens
            .get(self.at + count)
            .or(self.tokens.last())
            .unwrap_or(&END)
    }

    pub(crate) fn kind(&self) -> &TokenKind {
        &self.token().kind
    }

    pub(crate) fn kind_after(&self, count: usize) -> &TokenKind {
        &self.token_after(count).kind
    }

    /// Goes past the token and says where it was.
    pub(crate) fn advance(&mut self) -> Span {
        let span = self.token().span;
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
        span
    }

    pub(crate) fn take_text(&mut self) -> (&'a str, Span) {
        let text = self.token().text(self.text);
        (text, self.advance())
    }

    fn accept(&mut self, kind: &TokenKind) -> Option<Span> {
        (self.kind() == kind).then(|| self.advance())
    }

    pub(crate) fn expect(&mut self, kind: &TokenKind) -> Result<Span> {
        self.accept(kind).ok_or_else(|| self.unexpected_here())
    }

    pub(crate) fn sign(&mut self) -> Option<(UnaryOp, Span)> {
        let op = match self.kind() {
            TokenKind::Operator(BinaryOp::Add) => UnaryOp::Plus,
            TokenKind::Operator(BinaryOp::Sub) => UnaryOp::Minus,
            _ => return None,
        };
        Some((op, self.advance()))
    }

    /// The next token is wrong, and what surrounds it may say more.
    pub(crate) fn unexpected_here(&self) -> Failure {
        match self.kind() {
            TokenKind::Invalid(_) => self.unexpected("", "").into(),
            _ => Failure::Unexpected,
        }
    }

    /// The next token is wrong.
    fn unexpected(&self, context: &str, expected: &str) -> Fault {
        let token = self.token();
        if let TokenKind::Invalid(message) = &token.kind {
            return Fault::new(token.span, message.clone());
        }
        let mut message = format!("unexpected {}", token.description(self.text));
        for (before, words) in [(" in ", context), (", expected ", expected)] {
            if !words.is_empty() {
                message.push_str(before);
                message.push_str(words);
            }
        }
        Fault::new(token.span, message)
    }

    /// The fault of what was just read, unless the text can't be read on: that is reported first,
    /// as Prometheus looks one token ahead.
    pub(crate) fn fault_before_next(&self, span: Span, message: impl Into<String>) -> Failure {
        match self.kind() {
            TokenKind::Invalid(_) => self.unexpected("", "").into(),
            _ => Fault::new(span, message).into(),
        }
    }

    /// Says where an unexpected token stood, if nobody further inside has done so.
    fn within<T>(&self, result: Result<T>, context: &str, expected: &str) -> Result<T> {
        result.map_err(|failure| match failure {
            Failure::Unexpected => self.unexpected(context, expected).into(),
            fault => fault,
        })
    }

    /// Goes one level down.
    pub(crate) fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth >= MAX_DEPTH {
            return Err(too_deep(self.token().span));
        }
        self.depth += 1;
        let result = parse(self);
        self.depth -= 1;
        result
    }

    /// A new piece of the tree, if it is not too high.
    pub(crate) fn limited<T>(&self, value: T, span: Span, height: usize) -> Result<Parsed<T>> {
        if height > MAX_DEPTH {
            return Err(too_deep(span));
        }
        Ok(Parsed {
            value,
            span,
            height,
        })
    }

    fn expression(&mut self, min_precedence: u8) -> Result<Node> {
        self.nested(|parser| {
            let mut left = parser.operand()?;
            while let TokenKind::Operator(op) = *parser.kind() {
                if op.precedence() < min_precedence {
                    break;
                }
                left = parser.binary(left, op)?;
            }
            Ok(left)
        })
    }

    fn binary(&mut self, left: Node, op: BinaryOp) -> Result<Node> {
        let op_span = self.advance();
        let return_bool = self.accept(&TokenKind::Keyword(Keyword::Bool)).is_some();
        let matching = self.vector_matching()?;
        // Only the power operator groups to the right.
        let right = self.expression(op.precedence() + u8::from(op != BinaryOp::Pow))?;
        let span = left.span().to(right.span());
        if matching.fills() && !self.options.binop_fill_modifiers {
            let message = "binop fill modifiers are experimental and not enabled";
            return Err(self.fault_before_next(span, message));
        }
        // A chain is one level, however long it is: nothing goes down it by recursion.
        let left_height = match left.expr.kind {
            ExprKind::Binary(_) => left.height,
            _ => left.height + 1,
        };
        let height = left_height.max(right.height + 1);
        let binary = Box::new(BinaryExpr {
            op,
            op_span,
            left: *left.expr,
            right: *right.expr,
            return_bool,
            matching: Some(*matching),
        });
        Node::new(ExprKind::Binary(binary), span, height)
    }

    fn vector_matching(&mut self) -> Result<Box<VectorMatching>> {
        let mut matching = Box::new(VectorMatching::one_to_one());
        if let TokenKind::Keyword(keyword @ (Keyword::On | Keyword::Ignoring)) = *self.kind() {
            self.advance();
            matching.on = keyword == Keyword::On;
            matching.labels = self.grouping_labels()?;
            self.group_side(&mut matching)?;
        }
        self.fill_values(&mut matching)?;
        Ok(matching)
    }

    fn group_side(&mut self, matching: &mut VectorMatching) -> Result<()> {
        matching.cardinality = match self.kind() {
            TokenKind::Keyword(Keyword::GroupLeft) => Cardinality::ManyToOne,
            TokenKind::Keyword(Keyword::GroupRight) => Cardinality::OneToMany,
            _ => return Ok(()),
        };
        self.advance();
        if self.kind() == &TokenKind::LeftParen {
            matching.include = self.grouping_labels()?;
        }
        Ok(())
    }

    fn fill_values(&mut self, matching: &mut VectorMatching) -> Result<()> {
        if self.accept(&TokenKind::Keyword(Keyword::Fill)).is_some() {
            let value = self.fill_value()?;
            matching.fill_left = Some(value);
            matching.fill_right = Some(value);
            return Ok(());
        }
        loop {
            let side = match self.kind() {
                TokenKind::Keyword(Keyword::FillLeft) => &mut matching.fill_left,
                TokenKind::Keyword(Keyword::FillRight) => &mut matching.fill_right,
                _ => return Ok(()),
            };
            if side.is_some() {
                // A second one for the same side reads as a metric's name.
                return Ok(());
            }
            self.advance();
            *side = Some(self.fill_value()?);
        }
    }

    fn fill_value(&mut self) -> Result<f64> {
        self.expect(&TokenKind::LeftParen)?;
        let value = self.signed_number()?;
        self.expect(&TokenKind::RightParen)?;
        Ok(value)
    }

    /// A number or duration, perhaps with a sign.
    fn signed_number(&mut self) -> Result<f64> {
        let sign = self.sign();
        let value = self.number()?.value.value;
        Ok(match sign {
            Some((UnaryOp::Minus, _)) => -value,
            _ => value,
        })
    }

    /// A number or duration without a sign.
    fn number(&mut self) -> Result<Parsed<NumberLiteral>> {
        let is_duration = match self.kind() {
            TokenKind::Number => false,
            TokenKind::Duration => true,
            _ => return Err(self.unexpected_here()),
        };
        let (text, span) = self.take_text();
        let value = if is_duration {
            literal::duration_ms(text).map(|ms| ms as f64 / 1000.0)
        } else {
            literal::number(text)
        }
        .map_err(|message| Fault::new(span, message))?;
        Ok(Parsed::leaf(NumberLiteral { value, is_duration }, span))
    }

    fn operand(&mut self) -> Result<Node> {
        match self.sign() {
            Some((op, span)) => self.unary(op, span),
            None => {
                let node = self.primary()?;
                self.modifiers(node)
            }
        }
    }

    /// A sign binds like a product, so a power behind it belongs to what is signed.
    fn unary(&mut self, op: UnaryOp, op_span: Span) -> Result<Node> {
        let operand = self.expression(BinaryOp::Pow.precedence())?;
        let span = op_span.to(operand.span());
        if let ExprKind::Number(mut number) = operand.expr.kind {
            if op == UnaryOp::Minus {
                number.value = -number.value;
            }
            return Node::new(ExprKind::Number(number), span, 1);
        }
        let (expr, height) = (operand.expr, operand.height + 1);
        Node::new(ExprKind::Unary { op, expr }, span, height)
    }

    fn primary(&mut self) -> Result<Node> {
        match self.kind() {
            TokenKind::Number | TokenKind::Duration | TokenKind::String(_) => self.literal(),
            TokenKind::LeftParen => self.parentheses(),
            TokenKind::Aggregator(op)
                if matches!(
                    self.kind_after(1),
                    TokenKind::LeftParen | TokenKind::Keyword(Keyword::By | Keyword::Without)
                ) =>
            {
                let op = *op;
                self.aggregate(op)
            }
            TokenKind::Identifier | TokenKind::Word(_)
                if self.kind_after(1) == &TokenKind::LeftParen =>
            {
                self.call()
            }
            TokenKind::LeftBrace => self.selector_node(),
            _ if self.token().is_metric_name() => self.selector_node(),
            _ => Err(self.unexpected_here()),
        }
    }

    fn literal(&mut self) -> Result<Node> {
        if let TokenKind::String(value) = self.kind() {
            let value = value.clone();
            return Node::new(ExprKind::String(value), self.advance(), 1);
        }
        let number = self.number()?;
        Node::new(ExprKind::Number(number.value), number.span, 1)
    }

    fn parentheses(&mut self) -> Result<Node> {
        let start = self.advance();
        let inner = self.expression(0)?;
        let span = start.to(self.expect(&TokenKind::RightParen)?);
        Node::new(ExprKind::Paren(inner.expr), span, inner.height + 1)
    }

    /// The grouping may stand before or behind the arguments.
    fn aggregate(&mut self, op: AggregateOp) -> Result<Node> {
        let start = self.advance();
        let context = "aggregation";
        let before = self.aggregate_grouping();
        let before = self.within(before, context, "")?;
        let args = self.call_args();
        let args = self.within(args, context, "")?;
        let grouping = match before {
            Some(grouping) => Some(grouping),
            None => {
                let behind = self.aggregate_grouping();
                self.within(behind, context, "")?
            }
        };
        let span = start.to(self.last_span());
        let (without, grouping) = grouping.unwrap_or_default();
        self.aggregate_node(op, without, grouping, args, span)
    }

    fn aggregate_node(
        &self,
        op: AggregateOp,
        without: bool,
        grouping: Vec<Arc<str>>,
        args: Vec<Node>,
        span: Span,
    ) -> Result<Node> {
        let height = tallest(&args) + 1;
        let (param, expr) = self.aggregate_args(op, args, span)?;
        let aggregate = Box::new(AggregateExpr {
            op,
            expr,
            param,
            grouping,
            without,
        });
        Node::new(ExprKind::Aggregate(aggregate), span, height)
    }

    /// `without` or not, and the labels.
    fn aggregate_grouping(&mut self) -> Result<Option<(bool, Vec<Arc<str>>)>> {
        let without = match self.kind() {
            TokenKind::Keyword(Keyword::By) => false,
            TokenKind::Keyword(Keyword::Without) => true,
            _ => return Ok(None),
        };
        self.advance();
        Ok(Some((without, self.grouping_labels()?)))
    }

    fn aggregate_args(
        &self,
        op: AggregateOp,
        args: Vec<Node>,
        span: Span,
    ) -> Result<(Option<Expr>, Expr)> {
        let fault = |message: String| self.fault_before_next(span, message);
        if args.is_empty() {
            return Err(fault(
                "no arguments for aggregate expression provided".to_owned(),
            ));
        }
        if op.is_experimental() && !self.options.experimental_functions {
            return Err(fault(format!(
                "{}() is experimental and must be enabled with \
                 --enable-feature=promql-experimental-functions",
                op.as_str()
            )));
        }
        let expected = 1 + usize::from(op.param_type().is_some());
        let got = args.len();
        let mut args = args.into_iter().map(|node| *node.expr);
        let mut next = || args.next();
        let parts = match (expected, got) {
            (1, 1) => next().map(|expr| (None, expr)),
            (2, 2) => next().zip(next()).map(|(param, expr)| (Some(param), expr)),
            _ => None,
        };
        parts.ok_or_else(|| {
            fault(format!(
                "wrong number of arguments for aggregate expression provided, \
                 expected {expected}, got {got}"
            ))
        })
    }

    fn call(&mut self) -> Result<Node> {
        let (name, start) = self.take_text();
        let args = self.call_args()?;
        let function = self.function(name, start)?;
        let height = tallest(&args) + 1;
        let args = args.into_iter().map(|node| *node.expr).collect();
        let call = ExprKind::Call(Call { function, args });
        Node::new(call, start.to(self.last_span()), height)
    }

    fn function(&self, name: &str, span: Span) -> Result<&'static Function> {
        let Some(function) = functions::find(name) else {
            let mut message = format!("unknown function with name {name:?}");
            if let Some(near) = suggest::function(name) {
                message.push_str(&format!(" (did you mean {near:?}?)"));
            }
            return Err(Fault::new(span, message).into());
        };
        if function.experimental && !self.options.experimental_functions {
            let message = format!("function {name:?} is not enabled");
            return Err(Fault::new(span, message).into());
        }
        Ok(function)
    }

    /// Arguments in parentheses.
    fn call_args(&mut self) -> Result<Vec<Node>> {
        self.expect(&TokenKind::LeftParen)?;
        let mut args = Vec::new();
        if self.accept(&TokenKind::RightParen).is_some() {
            return Ok(args);
        }
        loop {
            args.push(self.expression(0)?);
            if self.accept(&TokenKind::RightParen).is_some() {
                return Ok(args);
            }
            let comma = self.expect(&TokenKind::Comma)?;
            if matches!(self.kind(), TokenKind::Invalid(_)) {
                return Err(self.unexpected_here());
            }
            if !self.token().starts_expression() {
                let message = "trailing commas not allowed in function call args";
                return Err(Fault::new(comma, message).into());
            }
        }
    }

    fn grouping_labels(&mut self) -> Result<Vec<Arc<str>>> {
        let context = "grouping opts";
        if self.accept(&TokenKind::LeftParen).is_none() {
            return Err(self.unexpected(context, r#""(""#).into());
        }
        let mut labels = Vec::new();
        while self.accept(&TokenKind::RightParen).is_none() {
            labels.push(self.grouping_label()?);
            let end = self.kind() == &TokenKind::RightParen;
            if !end && self.accept(&TokenKind::Comma).is_none() {
                return Err(self.unexpected(context, r#""," or ")""#).into());
            }
        }
        Ok(labels)
    }

    fn grouping_label(&mut self) -> Result<Arc<str>> {
        if let TokenKind::String(name) = self.kind() {
            let name: Arc<str> = name.text().into();
            let span = self.advance();
            if name.is_empty() {
                let message = "invalid label name for grouping: \"\"";
                return Err(Fault::new(span, message).into());
            }
            return Ok(name);
        }
        if !self.token().is_grouping_label() {
            return Err(self.unexpected("grouping opts", "label").into());
        }
        Ok(self.take_text().0.into())
    }

    fn selector_node(&mut self) -> Result<Node> {
        let selector = self.vector_selector()?;
        Node::new(ExprKind::VectorSelector(selector.value), selector.span, 1)
    }

    fn vector_selector(&mut self) -> Result<Parsed<VectorSelector>> {
        let start = self.token().span;
        let mut end = start;
        let name: Option<Arc<str>> = self.token().is_metric_name().then(|| {
            let (text, _) = self.take_text();
            text.into()
        });
        let mut matchers = Vec::new();
        if self.kind() == &TokenKind::LeftBrace {
            matchers = self.matchers()?;
            end = self.last_span();
        }
        if let Some(name) = &name {
            matchers.push(Matcher::equal(METRIC_NAME, name.clone()));
        }
        let selector = VectorSelector {
            name,
            matchers,
            time: TimeModifiers::default(),
            anchored: false,
            smoothed: false,
        };
        Ok(Parsed::leaf(selector, start.to(end)))
    }

    /// Where the token before this one was.
    fn last_span(&self) -> Span {
        let last = self.at.checked_sub(1).and_then(|at| self.tokens.get(at));
        last.map_or(Span::default(), |token| token.span)
    }

    fn matchers(&mut self) -> Result<Vec<Matcher>> {
        self.advance();
        let mut matchers = Vec::new();
        while self.accept(&TokenKind::RightBrace).is_none() {
            matchers.push(self.matcher()?);
            let end = self.kind() == &TokenKind::RightBrace;
            if !end && self.accept(&TokenKind::Comma).is_none() {
                return Err(self.unexpected("label matching", r#""," or "}""#).into());
            }
        }
        Ok(matchers)
    }

    fn matcher(&mut self) -> Result<Matcher> {
        let context = "label matching";
        let quoted = match self.kind() {
            TokenKind::String(name) => Some(name.text().to_owned()),
            TokenKind::Identifier => None,
            _ => return Err(self.unexpected(context, r#"identifier or "}""#).into()),
        };
        let (text, start) = self.take_text();
        let Some(op) = self.match_operator() else {
            return match quoted {
                Some(name) => Ok(Matcher::equal(METRIC_NAME, name)),
                None => Err(self.unexpected(context, "label matching operator").into()),
            };
        };
        let TokenKind::String(value) = self.kind() else {
            return Err(self.unexpected(context, "string").into());
        };
        let value = value.text().to_owned();
        let span = start.to(self.advance());
        let name = quoted.unwrap_or_else(|| text.to_owned());
        Matcher::new(name, op, value).map_err(|e| {
            let message = format!("error parsing regexp: {}: `{}`", e.reason, e.pattern);
            Fault::new(span, message).into()
        })
    }

    fn match_operator(&mut self) -> Option<MatchOp> {
        let op = match self.kind() {
            TokenKind::Assign => MatchOp::Equal,
            TokenKind::Operator(BinaryOp::NotEqual) => MatchOp::NotEqual,
            TokenKind::RegexMatch => MatchOp::Regex,
            TokenKind::RegexNotMatch => MatchOp::NotRegex,
            _ => return None,
        };
        self.advance();
        Some(op)
    }

    /// The labels of a series: a name and equalities, each optional.
    fn label_set(&mut self) -> Result<Labels> {
        let context = "label set";
        let mut pairs: Vec<(Arc<str>, Arc<str>)> = Vec::new();
        let mut outer_name = None;
        if self.token().is_metric_name() {
            outer_name = Some(self.take_text().0);
        }
        if self.accept(&TokenKind::LeftBrace).is_some() {
            while self.accept(&TokenKind::RightBrace).is_none() {
                pairs.push(self.label_pair()?);
                let end = self.kind() == &TokenKind::RightBrace;
                if !end && self.accept(&TokenKind::Comma).is_none() {
                    return Err(self.unexpected(context, r#""," or "}""#).into());
                }
            }
        }
        pairs.extend(outer_name.map(|name| (METRIC_NAME.into(), name.into())));
        Ok(Labels::from_pairs(pairs))
    }

    fn label_pair(&mut self) -> Result<(Arc<str>, Arc<str>)> {
        let context = "label set";
        let quoted = match self.kind() {
            TokenKind::String(name) => Some(name.text().to_owned()),
            TokenKind::Identifier => None,
            _ => return Err(self.unexpected(context, r#"identifier or "}""#).into()),
        };
        let (text, _) = self.take_text();
        if self.accept(&TokenKind::Assign).is_none() {
            return match quoted {
                Some(name) => Ok((METRIC_NAME.into(), name.into())),
                None => Err(self.unexpected(context, r#""=""#).into()),
            };
        }
        let TokenKind::String(value) = self.kind() else {
            return Err(self.unexpected(context, "string").into());
        };
        let value = value.text().into();
        self.advance();
        let name = quoted.map_or_else(|| text.into(), Into::into);
        Ok((name, value))
    }

    /// What may follow an operand: range, `offset`, `@`, `anchored`, `smoothed`, in any order.
    fn modifiers(&mut self, operand: Node) -> Result<Node> {
        let mut node = operand;
        loop {
            match *self.kind() {
                TokenKind::LeftBracket => node = self.range_or_subquery(node)?,
                TokenKind::Keyword(Keyword::Offset) => self.offset(&mut node)?,
                TokenKind::At => self.at_modifier(&mut node)?,
                TokenKind::Keyword(Keyword::Anchored) => self.extended_range(&mut node, true)?,
                TokenKind::Keyword(Keyword::Smoothed) => self.extended_range(&mut node, false)?,
                _ => return Ok(node),
            }
            node.expr.span = node.span().to(self.last_span());
        }
    }

    fn range_or_subquery(&mut self, node: Node) -> Result<Node> {
        let open = self.advance();
        let range = self.positive_duration();
        let range = self
            .within(
                range,
                "subquery or range selector",
                "number, duration, step(), or range()",
            )?
            .value;
        if let Some(close) = self.accept(&TokenKind::RightBracket) {
            return matrix(node, range, open.to(close));
        }
        if self.accept(&TokenKind::Colon).is_none() {
            return Err(self.unexpected("subquery or range", r#"":" or "]""#).into());
        }
        let step = self.subquery_step()?;
        let end = self.last_span();
        let (span, height) = (node.span().to(end), node.height + 1);
        let subquery = Box::new(Subquery {
            expr: *node.expr,
            range,
            step,
            time: TimeModifiers::default(),
        });
        Node::new(ExprKind::Subquery(subquery), span, height)
    }

    /// What stands between `:` and `]`, and the bracket.
    fn subquery_step(&mut self) -> Result<Option<DurationExpr>> {
        let context = "subquery selector";
        if self.accept(&TokenKind::RightBracket).is_some() {
            return Ok(None);
        }
        let step = self.positive_duration();
        let step = self.within(
            step,
            context,
            r#"number, duration, step(), range(), or "]""#,
        )?;
        if self.accept(&TokenKind::RightBracket).is_none() {
            return Err(self.unexpected(context, r#""]""#).into());
        }
        Ok(Some(step.value))
    }

    fn offset(&mut self, node: &mut Node) -> Result<()> {
        self.advance();
        let offset = self.offset_duration();
        let offset = self.within(offset, "offset", "number, duration, step(), or range()")?;
        let span = node.span();
        let Some(time) = time_modifiers(&mut node.expr.kind) else {
            let message = "offset modifier must be preceded by an instant vector selector \
                           or range vector selector or a subquery";
            return Err(Fault::new(span, message).into());
        };
        if time.offset.is_some() {
            return Err(Fault::new(span, "offset may not be set multiple times").into());
        }
        // No offset and an offset of nothing are the same, and printed the same.
        time.offset = Some(offset.value).filter(|offset| *offset != DurationExpr::LiteralMs(0));
        Ok(())
    }

    fn at_modifier(&mut self, node: &mut Node) -> Result<()> {
        self.advance();
        let point = self.at_point(node.span());
        let point = self.within(point, "@", "timestamp")?;
        let span = node.span();
        let Some(time) = time_modifiers(&mut node.expr.kind) else {
            let message = "@ modifier must be preceded by an instant vector selector \
                           or range vector selector or a subquery";
            return Err(Fault::new(span, message).into());
        };
        if time.at.is_some() {
            return Err(Fault::new(span, "@ <timestamp> may not be set multiple times").into());
        }
        time.at = Some(point);
        Ok(())
    }

    fn at_point(&mut self, span: Span) -> Result<AtModifier> {
        let point = match self.kind() {
            TokenKind::Word(QueryWord::Start) => AtModifier::Start,
            TokenKind::Word(QueryWord::End) => AtModifier::End,
            _ => {
                let seconds = self.signed_number()?;
                // What fits into 64 bits as seconds; NaN does not.
                if seconds.abs() < i64::MAX as f64 {
                    return Ok(AtModifier::TimestampMs((seconds * 1000.0).round() as i64));
                }
                let value = narthex_model::number::format_plain(seconds);
                let message = format!("timestamp out of bounds for @ modifier: {value}");
                return Err(Fault::new(span, message).into());
            }
        };
        self.advance();
        self.expect(&TokenKind::LeftParen)?;
        self.expect(&TokenKind::RightParen)?;
        Ok(point)
    }

    fn extended_range(&mut self, node: &mut Node, anchored: bool) -> Result<()> {
        self.advance();
        let name = if anchored { "anchored" } else { "smoothed" };
        let span = node.span();
        let fault = |message: String| Failure::from(Fault::new(span, message));
        if !self.options.extended_range_selectors {
            return Err(fault(format!(
                "{name} modifier is experimental and not enabled"
            )));
        }
        let (matrix_anchored, selector) = match &mut node.expr.kind {
            ExprKind::VectorSelector(selector) => (None, selector),
            ExprKind::MatrixSelector(matrix) => (Some(&mut matrix.anchored), &mut matrix.selector),
            ExprKind::Subquery(_) => {
                return Err(fault(format!(
                    "{name} modifier is not supported for subqueries"
                )));
            }
            _ => return Err(fault(format!("{name} modifier not implemented"))),
        };
        selector.anchored |= anchored;
        selector.smoothed |= !anchored;
        if let Some(matrix_anchored) = matrix_anchored {
            *matrix_anchored = selector.anchored;
        }
        if selector.anchored && selector.smoothed {
            return Err(fault(
                "anchored and smoothed modifiers cannot be used together".to_owned(),
            ));
        }
        Ok(())
    }
}

/// `brackets` is the place of the range.
fn matrix(node: Node, range: DurationExpr, brackets: Span) -> Result<Node> {
    let fault = |message: &str| Err(Fault::new(brackets, message).into());
    let span = node.span();
    let ExprKind::VectorSelector(selector) = node.expr.kind else {
        return fault("ranges only allowed for vector selectors");
    };
    if selector.time.offset.is_some() {
        return fault("no offset modifiers allowed before range");
    }
    if selector.time.at.is_some() {
        return fault("no @ modifiers allowed before range");
    }
    let matrix = MatrixSelector {
        anchored: selector.anchored,
        selector,
        selector_span: span,
        range,
    };
    Node::new(ExprKind::MatrixSelector(matrix), span.to(brackets), 1)
}

/// Where `offset` and `@` are kept, if the expression can have them.
fn time_modifiers(kind: &mut ExprKind) -> Option<&mut TimeModifiers> {
    match kind {
        ExprKind::VectorSelector(selector) => Some(&mut selector.time),
        ExprKind::MatrixSelector(matrix) => Some(&mut matrix.selector.time),
        ExprKind::Subquery(subquery) => Some(&mut subquery.time),
        _ => None,
    }
}

fn tallest(nodes: &[Node]) -> usize {
    nodes.iter().map(|node| node.height).max().unwrap_or(0)
}

fn too_deep(span: Span) -> Failure {
    let message = format!(
        "expression is nested too deeply: it may have {MAX_DEPTH} levels, \
         move parts of it into recording rules"
    );
    Fault::new(span, message).into()
}
