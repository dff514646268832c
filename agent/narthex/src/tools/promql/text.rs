//! Reads expressions from the command line, and shows where they are wrong.

use std::io::Read;

use anyhow::{Context, anyhow};
use narthex_promql::syntax::ast::Expr;
use narthex_promql::syntax::{self, ParseError, ParserOptions};

/// Characters of the line with the fault that are shown before and after it.
const BEFORE: usize = 60;
const AFTER: usize = 30;

/// The text and its tree. Everything that the language has is fine here, as nothing is evaluated.
pub(super) fn parse(argument: &str) -> anyhow::Result<(String, Expr)> {
    let text = given(argument)?;
    let options = ParserOptions::everything();
    match syntax::parse(&text, &options) {
        Ok(expr) => Ok((text, expr)),
        Err(error) => Err(anyhow!("{error}{}", place(&text, &error))),
    }
}

/// What is given as an argument; `-` stands for what standard input gives.
pub(super) fn given(argument: &str) -> anyhow::Result<String> {
    if argument != "-" {
        return Ok(argument.to_owned());
    }
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .context("reading the expression from standard input")?;
    Ok(text)
}

/// The line with the fault, and below it a caret at the fault.
fn place(text: &str, error: &ParseError) -> String {
    let Some(line) = error.line.checked_sub(1).and_then(|n| text.lines().nth(n)) else {
        return String::new();
    };
    let at = line.floor_char_boundary(error.column.saturating_sub(1));
    let (before, after) = line.split_at(at);
    let skipped = before.chars().count().saturating_sub(BEFORE);
    let (mark, before) = match skipped {
        0 => ("", before.to_owned()),
        _ => ("…", before.chars().skip(skipped).collect()),
    };
    let shown: String = after.chars().take(AFTER).collect();
    let end = if shown.len() < after.len() { "…" } else { "" };
    // A tab stays one, so that the caret stands below its place.
    let blank: String = mark
        .chars()
        .chain(before.chars())
        .map(|c| if c == '\t' { '\t' } else { ' ' })
        .collect();
    format!("\n  {mark}{before}{shown}{end}\n  {blank}^")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_shown_where_they_are() {
        let long = format!("{}foo(1) + {}1", "a + ".repeat(100), "a + ".repeat(100));
        let long_shown = format!(
            "1:401: parse error: unknown function with name \"foo\"\n  …{}foo(1) + {}…\n  {}^",
            "a + ".repeat(15),
            &"a + ".repeat(6)[..21],
            " ".repeat(61)
        );
        for (text, expected) in [
            (
                "rate(x",
                "1:7: parse error: unclosed left parenthesis\n  rate(x\n        ^",
            ),
            (
                "a +\n\tfoo(1)",
                "2:2: parse error: unknown function with name \"foo\"\n  \tfoo(1)\n  \t^",
            ),
            (
                "\"ü\" + @",
                "1:8: parse error: unexpected <op:@>\n  \"ü\" + @\n        ^",
            ),
            (
                "",
                "unknown position: parse error: no expression found in input",
            ),
            (long.as_str(), long_shown.as_str()),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert_eq!(error, expected, "{text}");
        }
    }
}
