//! Binary operators, by the types of their sides.

use super::{Built, Part, Result};
use crate::engine::binary::matching::{Operation, vectors};
use crate::engine::binary::scalar::{ScalarSide, VectorScalar, scalars, vector_scalar};
use crate::engine::binary::set::{Keep, filter, union};
use crate::engine::operator::Vector;
use crate::syntax::ast::{BinaryExpr, BinaryOp};

impl<'q> Part<'q, '_> {
    pub(super) fn binary(self, binary: &'q BinaryExpr) -> Result<Built<'q>> {
        let query = self.query;
        let operation = |side| VectorScalar {
            op: binary.op,
            return_bool: binary.return_bool,
            side,
            span: self.node.expr.span,
        };
        Ok(match (self.inputs.next(), self.inputs.next()) {
            (Some(Built::Scalar(left)), Some(Built::Scalar(right))) => {
                Built::Scalar(scalars(binary.op, left, right)?)
            }
            (Some(Built::Scalar(scalar)), Some(Built::Vector(vector))) => {
                let operation = operation(ScalarSide::Left);
                Built::Vector(vector_scalar(query, operation, vector, scalar))
            }
            (Some(Built::Vector(vector)), Some(Built::Scalar(scalar))) => {
                let operation = operation(ScalarSide::Right);
                Built::Vector(vector_scalar(query, operation, vector, scalar))
            }
            (Some(Built::Vector(left)), Some(Built::Vector(right))) => {
                Built::Vector(self.vectors(binary, left, right)?)
            }
            _ => return Err(self.wrong_type()),
        })
    }

    fn vectors(
        &self,
        binary: &'q BinaryExpr,
        left: Vector<'q>,
        right: Vector<'q>,
    ) -> Result<Vector<'q>> {
        let steps = self.steps;
        let Some(matching) = &binary.matching else {
            return Err(self.wrong_type());
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
                    span: self.node.expr.span,
                };
                vectors(self.query, steps, operation, left, right)
            }
        }
    }
}
