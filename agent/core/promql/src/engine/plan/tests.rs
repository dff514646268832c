//! Each pass on its own.

use super::*;
use crate::syntax::{ParserOptions, parse};

const STEPS: (i64, i64, i64) = (600_000, 1_200_000, 60_000);

fn setting() -> Setting {
    let (start_ms, end_ms, step_ms) = STEPS;
    Setting {
        times: QueryTimes {
            start_ms,
            end_ms,
            step_ms,
        },
        steps: Steps::range(start_ms, end_ms, step_ms),
        lookback_ms: 300_000,
        default_subquery_step_ms: 60_000,
        optimise: true,
    }
}

fn parsed(text: &str) -> Expr {
    parse(text, &ParserOptions::everything()).unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// Without any pass.
fn lowered(expr: &Expr) -> Plan<'_> {
    lower::lower(expr, &setting()).unwrap()
}

/// Without the passes that save work.
fn placed(expr: &Expr) -> Plan<'_> {
    let mut plan = lowered(expr);
    let invariant = invariant::find(&plan);
    place::place(&mut plan, setting().steps, &invariant);
    plan
}

fn shown(plan: &Plan<'_>) -> String {
    let nodes = plan.nodes.iter().enumerate().map(|(id, node)| {
        let inputs: Vec<String> = node.inputs.iter().map(ToString::to_string).collect();
        format!("{id}: {} <- {}", node.operation, inputs.join(" "))
    });
    nodes.collect::<Vec<_>>().join("\n")
}

#[test]
fn inputs_stand_before_what_they_go_into() {
    for (text, expected) in [
        (
            "sum by (x) (rate(a[5m])) / (2)",
            "0: a over 5m <- \n1: rate <- 0\n2: sum by (x) <- 1\n3: 2 <- \n4: / <- 2 3",
        ),
        (
            "a - b * on (x) c unless -d",
            "0: a <- \n1: b <- \n2: c <- \n3: * on (x) <- 1 2\n4: - <- 0 3\n5: d <- \n\
             6: negate <- 5\n7: unless <- 4 6",
        ),
        // Parameters go first.
        (
            "topk(3, label_join(a, 'x', ','))",
            "0: 3 <- \n1: a <- \n2: \"x\" <- \n3: \",\" <- \n4: label_join <- 1 2 3\n\
             5: topk <- 0 4",
        ),
        (
            "info(timestamp(a), {x='1'}) + min_over_time(a[1h:])",
            "0: a (times) <- \n1: timestamp <- 0\n2: labels {x=\"1\"} <- \n3: info <- 1 2\n\
             4: a <- \n5: subquery over 1h every 1m <- 4\n6: min_over_time <- 5\n7: + <- 3 6",
        ),
    ] {
        assert_eq!(shown(&lowered(&parsed(text))), expected, "{text}");
    }
}

#[test]
fn what_is_pinned_is_the_same_at_every_step() {
    for (text, expected) in [
        ("a @ 5", true),
        ("a", false),
        ("1 + 2", true),
        ("time()", false),
        ("sum(rate(a[5m] @ start())) + 1", true),
        ("sum(rate(a[5m] @ start())) + time()", false),
        ("max_over_time(a[1h:1m] @ 7)", true),
        ("max_over_time((a @ 7)[1h:1m])", false),
        ("timestamp(a @ 5)", true),
        ("timestamp(-(a @ 5))", false),
        ("hour(a @ 5)", false),
        ("topk(2, a @ 5)", true),
        ("topk(time(), a @ 5)", false),
        ("label_replace(a @ 5, 'x', '$1', 'y', '.*')", true),
    ] {
        let expr = parsed(text);
        let plan = lowered(&expr);
        assert_eq!(invariant::find(&plan).last(), Some(&expected), "{text}");
    }
}

#[test]
fn every_node_knows_its_steps() {
    let expr = parsed("sum(a @ 5) + max_over_time(histogram_count(b)[10m:2m])");
    let plan = placed(&expr);
    let steps = |operation: &str| {
        let mut nodes = plan.nodes.iter();
        let node = nodes.find(|node| node.operation.to_string() == operation);
        let node = node.unwrap_or_else(|| panic!("{operation}"));
        (
            node.steps.start_ms,
            node.steps.count,
            node.result_steps().count,
        )
    };
    assert_eq!(steps("+"), (600_000, 11, 11));
    // Evaluated once.
    assert_eq!(steps("sum"), (600_000, 1, 11));
    assert_eq!(steps("a @ 5.000"), (600_000, 1, 1));
    // From after 0 s to 1,200 s every two minutes.
    assert_eq!(steps("b"), (120_000, 10, 10));
    let wanted: Vec<Use> = plan.nodes.iter().map(|node| node.wanted).collect();
    assert_eq!(wanted.first(), Some(&Use::Anything));
    assert_eq!(wanted.get(2), Some(&Use::Buckets));
}

#[test]
fn numbers_are_worked_out() {
    for (text, expected) in [
        ("1 + 2 * 3", Some(7.0)),
        ("-(+2) ^ 2", Some(-4.0)),
        ("0.1 + 0.2", Some(0.1 + 0.2)),
        ("2 > bool 1", Some(1.0)),
        ("max_of(1, pi())", Some(std::f64::consts::PI)),
        ("end() - start() + step() + range()", Some(1260.0)),
        ("time() + 1", None),
        // It fails, and that is for the evaluation to say.
        ("1 </ 2", None),
        ("scalar(a) * 0", None),
        ("vector(1)", None),
    ] {
        let expr = parsed(text);
        let mut plan = placed(&expr);
        constants::fold(&mut plan, &setting().times);
        let value = match plan.nodes.last().map(|node| node.operation) {
            Some(Operation::Number(value)) => Some(value.to_bits()),
            _ => None,
        };
        assert_eq!(value, expected.map(f64::to_bits), "{text}");
    }
    let expr = parsed("a * (60 * 60)");
    let mut plan = placed(&expr);
    constants::fold(&mut plan, &setting().times);
    assert_eq!(plan.below(plan.root), [0, 3, 4]);
}

/// Which nodes are the same as which.
fn same(text: &str) -> Vec<(NodeId, NodeId)> {
    let expr = parsed(text);
    let mut plan = placed(&expr);
    share::share_nodes(&mut plan);
    let live = plan.below(plan.root);
    for (id, node) in plan.nodes.iter().enumerate() {
        let stands = node.same_as.is_none() && !live.contains(&id);
        assert!(
            !stands,
            "{text}: {id} is neither evaluated nor the same as another"
        );
        if let Some(other) = node.same_as {
            assert!(live.contains(&other), "{text}: {other}");
            assert!(plan.nodes[other].places.contains(&id), "{text}: {id}");
        }
    }
    let nodes = plan.nodes.iter().enumerate();
    nodes
        .filter_map(|(id, node)| Some((id, node.same_as?)))
        .collect()
}

#[test]
fn what_is_the_same_is_found_wherever_it_stands() {
    for (text, expected) in [
        ("a / a", vec![(1, 0)]),
        ("a / b", vec![]),
        ("a and (a > 1)", vec![(1, 0)]),
        (
            "sum(rate(a[5m])) / sum(\n rate(a[300s]))",
            vec![(3, 0), (4, 1), (5, 2)],
        ),
        ("sum by (x) (a) / sum by (y) (a)", vec![(2, 0)]),
        ("a > 1 and on () sum(a) > 2", vec![(3, 0)]),
        // A part of what is the same stands elsewhere, too.
        ("sum(a) + sum(a) + a", vec![(2, 0), (3, 1), (5, 0)]),
        ("rate(a[5m]) + increase(a[5m])", vec![]),
        (
            "max_over_time(a[1h:1m]) - min_over_time(a[1h:1m])",
            vec![(3, 0)],
        ),
        // At other times, for another use, of other kinds.
        ("a - a offset 5m", vec![]),
        ("a - a @ 5", vec![]),
        ("a + max_over_time(a[1h:1m])", vec![]),
        ("histogram_count(a) + a", vec![]),
        ("timestamp(a) - a", vec![]),
        ("a{x='1'} / a{x!='1'}", vec![]),
        ("a - on (x) a - on (y) a", vec![(1, 0), (3, 0)]),
        ("(a + on (x) b) * (a + on (y) b)", vec![(3, 0), (4, 1)]),
        ("scalar(a) + scalar(a)", vec![(2, 0), (3, 1)]),
        // Annotations of an aggregation point to its argument with the parentheses.
        ("sum(a) + sum((a))", vec![(2, 0)]),
        ("max(a) + (max(a))", vec![(2, 0), (3, 1)]),
        // What reads nothing is not worth it.
        ("vector(1) + vector(1)", vec![]),
        ("time() + time()", vec![]),
        ("absent(a{x='1',x='2'}) or absent(a{x='2',x='1'})", vec![]),
    ] {
        assert_eq!(same(text), expected, "{text}");
    }
}

#[test]
fn series_are_looked_up_once_for_all_who_read_the_same_samples() {
    for (text, expected) in [
        ("rate(a[5m]) + increase(a[5m])", vec![2]),
        (
            "rate(a{x='1',y='2'}[5m]) + increase(a{y='2',x='1'}[5m])",
            vec![2],
        ),
        // Looks back just as far.
        ("a + timestamp(a) + rate(a[5m])", vec![3]),
        ("rate(a[5m]) + rate(a[10m])", vec![]),
        ("a - a offset 5m", vec![]),
        ("a / a", vec![]),
    ] {
        let expr = parsed(text);
        let plan = Plan::new(&expr, &setting()).unwrap();
        let counts: Vec<usize> = plan.selected.values().copied().collect();
        assert_eq!(counts, expected, "{text}");
    }
}

#[test]
fn spans_are_found_at_other_places() {
    let text = "max((a)) + max( (a) )";
    let expr = parsed(text);
    let plan = Plan::new(&expr, &setting()).unwrap();
    assert_eq!(plan.nodes[3].same_as, Some(1));
    let moved = |start, end| {
        let span = plan.moved(Span::new(start, end), 1, 3);
        &text[span.start..span.end]
    };
    assert_eq!(moved(0, 8), "max( (a) )");
    assert_eq!(moved(4, 7), "(a)");
    assert_eq!(moved(5, 6), "a");
    assert_eq!(plan.moved(Span::new(5, 6), 1, 3), Span::new(17, 18));
}
