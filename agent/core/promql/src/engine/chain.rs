//! Chains of binary operators: `a + b - c …`, evaluated link by link, however long they are.
//!
//! A chain leans to the left, so evaluating each side within the other would take stack for every
//! link, and so would asking operator within operator for values.

use super::binary::matching::{Operation, vectors};
use super::binary::scalar::{ScalarSide, VectorScalar, scalars, vector_scalar};
use super::binary::set::{Keep, filter, union};
use super::error::QueryError;
use super::evaluate::{Evaluator, wrong_type};
use super::invariant::is_step_invariant;
use super::operator::{Ready, Vector, collect};
use super::scalar::Scalar;
use crate::syntax::ast::{BinaryExpr, BinaryOp, Expr, ExprKind, ValueType};

/// So many operators may stand within one another before their values are worked out and kept.
const MAX_NESTED_OPERATORS: usize = 32;

/// What a side of an operator gives.
enum Side<'q> {
    Scalar(Scalar),
    Vector(Vector<'q>),
}

type Result<T> = std::result::Result<T, QueryError>;

/// An operator, and what evaluates its sides.
struct Link<'q> {
    expr: &'q Expr,
    binary: &'q BinaryExpr,
    sides: Evaluator<'q>,
}

impl<'q> Evaluator<'q> {
    pub(super) fn vector_chain(self, binary: &'q BinaryExpr, expr: &'q Expr) -> Result<Vector<'q>> {
        match self.chain(binary, expr)? {
            Side::Vector(vector) => Ok(vector),
            Side::Scalar(_) => Err(wrong_type(expr)),
        }
    }

    pub(super) fn scalar_chain(self, binary: &'q BinaryExpr, expr: &'q Expr) -> Result<Scalar> {
        match self.chain(binary, expr)? {
            Side::Scalar(scalar) => Ok(scalar),
            Side::Vector(_) => Err(wrong_type(expr)),
        }
    }

    /// A binary expression with everything that hangs on its left side. `self` is what evaluates
    /// its sides.
    fn chain(self, binary: &'q BinaryExpr, expr: &'q Expr) -> Result<Side<'q>> {
        let (first, links) = self.links(binary, expr);
        let last = links.last().map_or(self, |link| link.sides);
        let mut left = last.side(first)?;
        for (count, link) in links.into_iter().rev().enumerate() {
            self.query.check_canceled()?;
            let right = link.sides.side(&link.binary.right)?;
            left = link.combine(left, right)?;
            if let Side::Vector(vector) = left {
                let nested = count % MAX_NESTED_OPERATORS;
                left = Side::Vector(if nested == MAX_NESTED_OPERATORS - 1 {
                    Ready::boxed(collect(vector)?)
                } else {
                    vector
                });
            }
        }
        Ok(left)
    }

    /// The links from the outermost in, and what stands on the very left. A part that gives the
    /// same at every step is no link but is evaluated on its own, once.
    fn links(self, binary: &'q BinaryExpr, expr: &'q Expr) -> (&'q Expr, Vec<Link<'q>>) {
        let mut links = vec![Link {
            expr,
            binary,
            sides: self,
        }];
        let mut first = &binary.left;
        while let ExprKind::Binary(binary) = &first.kind {
            let sides = links.last().map_or(self, |link| link.sides);
            links.push(Link {
                expr: first,
                binary,
                sides: sides.inside(first),
            });
            first = &binary.left;
        }
        if self.steps.count <= 1 || !is_step_invariant(first) {
            return (first, links);
        }
        let innermost_varying = links
            .iter()
            .rposition(|link| !is_step_invariant(&link.binary.right));
        if let Some(at) = innermost_varying {
            links.truncate(at + 1);
            first = links.last().map_or(first, |link| &link.binary.left);
        }
        (first, links)
    }

    fn side(self, expr: &'q Expr) -> Result<Side<'q>> {
        if expr.value_type() == ValueType::Scalar {
            self.scalar(expr).map(Side::Scalar)
        } else {
            self.vector(expr).map(Side::Vector)
        }
    }
}

impl<'q> Link<'q> {
    fn combine(&self, left: Side<'q>, right: Side<'q>) -> Result<Side<'q>> {
        let (binary, query) = (self.binary, self.sides.query);
        let operation = |side| VectorScalar {
            op: binary.op,
            return_bool: binary.return_bool,
            side,
            span: self.expr.span,
        };
        Ok(match (left, right) {
            (Side::Scalar(left), Side::Scalar(right)) => {
                Side::Scalar(scalars(binary.op, left, right)?)
            }
            (Side::Scalar(scalar), Side::Vector(vector)) => {
                let operation = operation(ScalarSide::Left);
                Side::Vector(vector_scalar(query, operation, vector, scalar))
            }
            (Side::Vector(vector), Side::Scalar(scalar)) => {
                let operation = operation(ScalarSide::Right);
                Side::Vector(vector_scalar(query, operation, vector, scalar))
            }
            (Side::Vector(left), Side::Vector(right)) => Side::Vector(self.vectors(left, right)?),
        })
    }

    fn vectors(&self, left: Vector<'q>, right: Vector<'q>) -> Result<Vector<'q>> {
        let binary = self.binary;
        let Evaluator { query, steps, .. } = self.sides;
        let Some(matching) = &binary.matching else {
            return Err(wrong_type(self.expr));
        };
        match binary.op {
            BinaryOp::And => filter(steps, Keep::Matched, matching, left, right),
            BinaryOp::Unless => filter(steps, Keep::Unmatched, matching, left, right),
            BinaryOp::Or => Ok(union(steps, matching, left, right)),
            op => {
                let operation = Operation {
                    op,
                    return_bool: binary.return_bool,
                    matching,
                    span: self.expr.span,
                };
                vectors(query, steps, operation, left, right)
            }
        }
    }
}
