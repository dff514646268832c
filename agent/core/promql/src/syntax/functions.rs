//! The table of functions: names, argument types, result types.

use super::ast::ValueType;

#[derive(Debug, PartialEq)]
pub struct Function {
    pub name: &'static str,
    pub args: &'static [ValueType],
    /// 0: exactly `args`. n > 0: the last n arguments may be left out. −1: the last may repeat.
    pub variadic: i32,
    pub returns: ValueType,
    /// Needs the option `experimental_functions`.
    pub experimental: bool,
}
