//! The language: lexer, parser, types, printer.

pub mod ast;
pub mod functions;
