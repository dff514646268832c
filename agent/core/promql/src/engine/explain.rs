//! How a query is, or was, evaluated: its plan as a tree, with what each part of it cost.
//!
//! The tree is that of the expression. A part that is the same as an earlier one, and is therefore
//! not evaluated again, stands in it as a leaf that names the earlier one.
//!
//! Doesn't know: clocks (see [`Clock`]), how a plan is made, JSON.

use crate::syntax::ast::Span;

use super::RangeParams;
use super::output::{QueryOutput, QueryStats};

/// Tells how time passes; the engine has no clock of its own.
pub trait Clock {
    /// Nanoseconds since some moment, never less than before.
    fn now_ns(&self) -> u64;
}

/// When an expression is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvaluationTimes {
    /// Once, at this time in milliseconds.
    Instant(i64),
    Range(RangeParams),
}

/// A query that ran with meters on.
#[derive(Clone, Debug)]
pub struct Explained {
    pub output: QueryOutput,
    pub explanation: Explanation,
}

/// A plan as a tree.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// Ascending by id; inputs stand before what they go into. The last one is the root.
    pub nodes: Vec<ExplainedNode>,
    /// Of the whole query, if it ran.
    pub totals: Option<Totals>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ExplainedNode {
    /// The same for the same expression, whatever it is evaluated over.
    pub id: usize,
    /// What is done, in words: `sum by (job)`, `rate`, `up{job="a"}[5m]`, `/ on (job)`.
    pub operation: String,
    /// Where it stands in the query.
    pub span: Span,
    /// The nodes whose results go in, by id.
    pub inputs: Vec<usize>,
    /// At how many steps it is evaluated.
    pub steps: usize,
    /// It is the same at every step: evaluated at the first one only, and repeated.
    pub once: bool,
    /// This is the same as that node, and is not evaluated again. Then there are no inputs.
    pub same_as: Option<usize>,
    /// How many parts of the plan take this node's result.
    pub consumers: usize,
    /// If the query ran.
    pub measured: Option<Measured>,
}

/// What one node cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// Series of all inputs.
    pub series_in: u64,
    /// Series that came out, those without any value included.
    pub series: u64,
    /// Floats and histograms that came out.
    pub values: u64,
    /// Samples read from the store by this node itself.
    pub samples_read: u64,
    /// The most that this node itself held at a time, of what the query's memory is charged for.
    pub peak_bytes: u64,
    /// Time that this node itself took.
    pub own_ns: u64,
    /// The same with all nodes below it; what is the same as another node is counted there.
    pub total_ns: u64,
}

/// What the whole query cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    pub time_ns: u64,
    pub stats: QueryStats,
    pub peak_bytes: u64,
}

impl Explanation {
    pub fn node(&self, id: usize) -> Option<&ExplainedNode> {
        let at = self.nodes.binary_search_by_key(&id, |node| node.id).ok()?;
        self.nodes.get(at)
    }

    pub fn root(&self) -> Option<&ExplainedNode> {
        self.nodes.last()
    }

    /// The nodes from the root down, each with how deep it stands, as they are to be shown.
    pub fn walk(&self) -> Vec<(usize, &ExplainedNode)> {
        let mut waiting: Vec<_> = self.root().map(|root| (0, root)).into_iter().collect();
        let mut found = Vec::with_capacity(self.nodes.len());
        while let Some((depth, node)) = waiting.pop() {
            found.push((depth, node));
            let inputs = node.inputs.iter().rev();
            waiting.extend(inputs.filter_map(|id| Some((depth + 1, self.node(*id)?))));
        }
        found
    }

    /// The tree for a terminal: a line for each node, indented, with its figures in columns.
    pub fn text(&self) -> String {
        let mut rows = vec![self.head()];
        for (depth, node) in self.walk() {
            rows.push(self.row(depth, node));
        }
        let mut text = aligned(&rows);
        if let Some(totals) = &self.totals {
            text.push_str(&totals.text());
        }
        text
    }

    fn head(&self) -> Vec<String> {
        let mut head = vec!["node", "id", "steps"];
        if self.totals.is_some() {
            head.extend([
                "series in",
                "series",
                "values",
                "samples",
                "peak KiB",
                "own ms",
                "total ms",
            ]);
        }
        head.into_iter().map(str::to_owned).collect()
    }

    fn row(&self, depth: usize, node: &ExplainedNode) -> Vec<String> {
        // Deeper than this nothing would be left to read in a line.
        const MAX_INDENT: usize = 40;
        let indent = " ".repeat((2 * depth).min(MAX_INDENT));
        let mut row = vec![
            format!("{indent}{}{}", node.operation, node.remark()),
            node.id.to_string(),
            node.steps.to_string(),
        ];
        if let Some(measured) = &node.measured {
            row.extend([
                measured.series_in.to_string(),
                measured.series.to_string(),
                measured.values.to_string(),
                measured.samples_read.to_string(),
                kibibytes(measured.peak_bytes),
                milliseconds(measured.own_ns),
                milliseconds(measured.total_ns),
            ]);
        }
        row
    }
}

impl ExplainedNode {
    /// What is special about it, to stand behind the operation.
    fn remark(&self) -> String {
        let mut remarks = Vec::new();
        if let Some(other) = self.same_as {
            remarks.push(format!("same as {other}"));
        }
        if self.consumers > 1 {
            remarks.push(format!("shared by {}", self.consumers));
        }
        if self.once {
            remarks.push("once".to_owned());
        }
        if remarks.is_empty() {
            return String::new();
        }
        format!("  [{}]", remarks.join(", "))
    }
}

impl Totals {
    fn text(&self) -> String {
        format!(
            "\n{} ms, {} samples read, {} samples looked at, {} samples and {} KiB held at most\n",
            milliseconds(self.time_ns),
            self.stats.samples_read,
            self.stats.total_queryable_samples,
            self.stats.peak_samples,
            kibibytes(self.peak_bytes),
        )
    }
}

fn milliseconds(ns: u64) -> String {
    format!("{:.3}", ns as f64 / 1e6)
}

fn kibibytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1024.0)
}

/// The first column flush left, the others flush right. Rows may be shorter than the first one.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            if column == 0 {
                line.push_str(&format!("{cell:width$}"));
            } else {
                line.push_str(&format!("  {cell:>width$}"));
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: usize, operation: &str, inputs: &[usize]) -> ExplainedNode {
        ExplainedNode {
            id,
            operation: operation.to_owned(),
            span: Span::default(),
            inputs: inputs.to_vec(),
            steps: 3,
            once: false,
            same_as: None,
            consumers: 1,
            measured: None,
        }
    }

    #[test]
    fn a_plan_is_an_indented_tree() {
        let shared = ExplainedNode {
            consumers: 2,
            once: true,
            ..node(0, "up", &[])
        };
        let same = ExplainedNode {
            same_as: Some(0),
            ..node(2, "up", &[])
        };
        let explanation = Explanation {
            nodes: vec![shared, node(1, "sum", &[0]), same, node(3, "/", &[1, 2])],
            totals: None,
        };
        assert_eq!(
            explanation.text(),
            "node                         id  steps\n\
             /                             3      3\n\
             \x20 sum                         1      3\n\
             \x20   up  [shared by 2, once]   0      3\n\
             \x20 up  [same as 0]             2      3\n"
        );
    }

    #[test]
    fn figures_stand_in_columns() {
        let measured = Measured {
            series: 2,
            samples_read: 12_345,
            peak_bytes: 2048,
            own_ns: 1_500_000,
            total_ns: 1_500_000,
            ..Measured::default()
        };
        let explanation = Explanation {
            nodes: vec![ExplainedNode {
                measured: Some(measured),
                ..node(0, "up", &[])
            }],
            totals: Some(Totals {
                time_ns: 2_000_000,
                stats: QueryStats::default(),
                peak_bytes: 4096,
            }),
        };
        let text = explanation.text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0].len(), lines[1].len());
        assert!(
            lines[1].contains("12345") && lines[1].ends_with("1.500"),
            "{text}"
        );
        assert!(lines[3].starts_with("2.000 ms, 0 samples read"), "{text}");
    }
}
