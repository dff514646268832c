//! `narthex promql …`: expressions, to be formatted, changed and explained.

mod explain;
mod matchers;
mod text;

use std::io::Write;

use clap::{Args, Subcommand};
use narthex_model::MatchOp;
use narthex_promql::syntax;

#[derive(Subcommand, Debug)]
pub(crate) enum PromqlTool {
    /// Print an expression as Prometheus formats it.
    Format {
        /// The expression; - reads it from standard input.
        expr: String,
    },
    /// Print how an expression is evaluated, and what each part of it costs.
    Explain(explain::Explain),
    /// Change what an expression selects.
    #[command(subcommand)]
    LabelMatchers(LabelMatchers),
}

#[derive(Subcommand, Debug)]
pub(crate) enum LabelMatchers {
    /// Give every selector this matcher, instead of what it has for the label.
    Set {
        /// How the label's value is compared.
        #[arg(short = 't', long = "type", default_value = "=", value_parser = operator)]
        operator: MatchOp,
        #[command(flatten)]
        label: Label,
        /// What the label's value is compared with.
        value: String,
    },
    /// Take what selectors have for this label away.
    Delete {
        #[command(flatten)]
        label: Label,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Label {
    /// The expression; - reads it from standard input.
    expr: String,
    /// The label's name.
    name: String,
}

fn operator(text: &str) -> Result<MatchOp, String> {
    let known = [
        MatchOp::Equal,
        MatchOp::NotEqual,
        MatchOp::Regex,
        MatchOp::NotRegex,
    ];
    let found = known.into_iter().find(|known| known.as_str() == text);
    found.ok_or_else(|| "expected one of =, !=, =~, !~".to_owned())
}

impl PromqlTool {
    pub(crate) fn run(self, out: &mut dyn Write) -> anyhow::Result<()> {
        let expr = match &self {
            PromqlTool::Explain(explain) => return explain::run(explain, out),
            PromqlTool::Format { expr } => text::parse(expr)?.1,
            PromqlTool::LabelMatchers(LabelMatchers::Set {
                operator,
                label,
                value,
            }) => {
                let (_, mut expr) = text::parse(&label.expr)?;
                matchers::set(&mut expr, *operator, &label.name, value)?;
                expr
            }
            PromqlTool::LabelMatchers(LabelMatchers::Delete { label }) => {
                let (_, mut expr) = text::parse(&label.expr)?;
                matchers::delete(&mut expr, &label.name)?;
                expr
            }
        };
        Ok(writeln!(out, "{}", syntax::pretty(&expr))?)
    }
}
