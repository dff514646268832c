//! Any text as an expression: what is printed, on one line or over several, parses to the same
//! tree; and any text as a selector, a metric and a series of a test.
#![no_main]

use libfuzzer_sys::fuzz_target;
use narthex_promql::syntax::ast::Expr;
use narthex_promql::syntax::{
    ParserOptions, parse, parse_any_selector, parse_metric, parse_series_description, pretty,
    to_json,
};

/// The letters of the tree: matchers are printed in order, so their order is no part of it.
fn tree(expr: &Expr) -> Vec<u8> {
    let mut letters = to_json(expr).into_bytes();
    letters.sort_unstable();
    letters
}

fuzz_target!(|text: &str| {
    let _ = parse_any_selector(text);
    let _ = parse_metric(text);
    // A short text may stand for a long series.
    if !text.contains('x') {
        let _ = parse_series_description(text);
    }
    let options = ParserOptions::everything();
    let Ok(expr) = parse(text, &options) else {
        return;
    };
    let (printed, tree) = (expr.to_string(), tree(&expr));
    for again in [&printed, &pretty(&expr)] {
        match parse(again, &options) {
            Ok(reread) => {
                assert_eq!(reread.to_string(), printed);
                assert_eq!(crate::tree(&reread), tree);
            }
            Err(error) => panic!("{error}: {again}"),
        }
    }
});
