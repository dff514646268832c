//! Whether two answers of the query API say the same.
//!
//! What has an order is compared in order, what has none by labels. Texts of errors and warnings are
//! each server's own; that there is an error, and of which type, is compared.

use std::collections::BTreeMap;

use serde_json::Value;

/// How exactly, and in which order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Precision {
    /// Differences of two values relative to the larger; 0 asks for the same digits. What is next to
    /// nothing is compared as a millionth is: sums of which nothing should be left may leave that.
    pub(crate) relative: f64,
    /// Whether the order of an instant vector's elements counts.
    pub(crate) ordered: bool,
}

/// What is different; nothing if nothing is.
pub(crate) fn difference(ours: &Value, peer: &Value, precision: Precision) -> Option<String> {
    let fields = ["/status", "/errorType", "/data/resultType"];
    for field in fields {
        let (ours, peer) = (ours.pointer(field), peer.pointer(field));
        if ours != peer {
            return Some(format!("{field} is {}, not {}", show(ours), show(peer)));
        }
    }
    let (ours, peer) = (ours.get("data"), peer.get("data"));
    let kind = peer.and_then(|data| data.get("resultType")?.as_str());
    let result = |data: Option<&Value>| data.and_then(|data| data.get("result").cloned());
    match kind {
        None => of_metadata(ours, peer),
        Some("vector" | "matrix") => of_series(
            &result(ours)?,
            &result(peer)?,
            precision,
            kind == Some("vector"),
        ),
        Some(_) => of_points(&result(ours)?, &result(peer)?, precision),
    }
}

/// Of lists of names or label sets, which are sorted where the API sorts them.
fn of_metadata(ours: Option<&Value>, peer: Option<&Value>) -> Option<String> {
    let (Some(Value::Array(ours)), Some(Value::Array(peer))) = (ours, peer) else {
        return (ours != peer).then(|| format!("{}, not {}", show(ours), show(peer)));
    };
    let sorted = |list: &[Value]| {
        let is_sorted = list.iter().all(Value::is_string);
        let mut texts: Vec<String> = list.iter().map(Value::to_string).collect();
        if !is_sorted {
            texts.sort_unstable();
        }
        texts
    };
    let (ours, peer) = (sorted(ours), sorted(peer));
    if ours.len() != peer.len() {
        return Some(format!("{} entries, not {}", ours.len(), peer.len()));
    }
    let mut pairs = ours.iter().zip(&peer);
    let (ours, peer) = pairs.find(|(ours, peer)| ours != peer)?;
    Some(format!("{ours}, not {peer}"))
}

fn of_series(ours: &Value, peer: &Value, precision: Precision, is_vector: bool) -> Option<String> {
    let (Some(ours), Some(peer)) = (ours.as_array(), peer.as_array()) else {
        return Some("the result is no list".to_owned());
    };
    if precision.ordered || !is_vector {
        let names = |list: &[Value]| list.iter().map(metric).collect::<Vec<_>>();
        let (ours, peer) = (names(ours), names(peer));
        let (mut of_ours, mut of_peer) = (ours.clone(), peer.clone());
        of_ours.sort_unstable();
        of_peer.sort_unstable();
        if ours != peer && of_ours == of_peer {
            return Some(format!("the order of series: {ours:?}, not {peer:?}"));
        }
    }
    let by_metric = |list: &[Value]| -> BTreeMap<String, Value> {
        let entries = list.iter().map(|series| (metric(series), points(series)));
        entries.collect()
    };
    if by_metric(ours).len() != ours.len() {
        return Some("a label set twice".to_owned());
    }
    let (ours, peer) = (by_metric(ours), by_metric(peer));
    for (metric, peer) in &peer {
        let Some(ours) = ours.get(metric) else {
            return Some(format!("{metric} is missing (of {})", ours.len()));
        };
        if let Some(difference) = of_points(ours, peer, precision) {
            return Some(format!("{metric}: {difference}"));
        }
    }
    let more = ours.keys().find(|metric| !peer.contains_key(*metric))?;
    Some(format!("{more} should not be there"))
}

fn metric(series: &Value) -> String {
    series
        .get("metric")
        .map(Value::to_string)
        .unwrap_or_default()
}

fn points(series: &Value) -> Value {
    let mut parts = Vec::new();
    for field in ["value", "values", "histogram", "histograms"] {
        parts.extend(series.get(field).cloned());
    }
    Value::Array(parts)
}

/// Of trees of times, values as texts, and histograms.
fn of_points(ours: &Value, peer: &Value, precision: Precision) -> Option<String> {
    match (ours, peer) {
        (Value::Array(ours), Value::Array(peer)) => {
            if ours.len() != peer.len() {
                let first = ours.iter().zip(peer);
                let first = first
                    .clone()
                    .position(|(ours, peer)| ours.get(0) != peer.get(0));
                let first = first.unwrap_or(ours.len().min(peer.len()));
                return Some(format!(
                    "{} points, not {}; at {first}: {}, not {}",
                    ours.len(),
                    peer.len(),
                    show(ours.get(first)),
                    show(peer.get(first)),
                ));
            }
            let mut pairs = ours.iter().zip(peer);
            pairs.find_map(|(one, other)| {
                let found = of_points(one, other, precision)?;
                let time = ours.first().filter(|first| first.is_number());
                Some(match time {
                    Some(time) => format!("{found} at {time}"),
                    None => found,
                })
            })
        }
        (Value::Object(ours), Value::Object(peer)) => {
            let mut names = peer.keys().chain(ours.keys());
            names.find_map(|name| match (ours.get(name), peer.get(name)) {
                (Some(ours), Some(peer)) => of_points(ours, peer, precision),
                (ours, peer) => Some(format!("{name} is {}, not {}", show(ours), show(peer))),
            })
        }
        (Value::String(ours), Value::String(peer)) if are_equal(ours, peer, precision) => None,
        (ours, peer) => (ours != peer).then(|| format!("{ours}, not {peer}")),
    }
}

fn are_equal(ours: &str, peer: &str, precision: Precision) -> bool {
    if ours == peer {
        return true;
    }
    let (Ok(ours), Ok(peer)) = (ours.parse::<f64>(), peer.parse::<f64>()) else {
        return false;
    };
    let larger = ours.abs().max(peer.abs());
    larger.is_finite() && (ours - peer).abs() <= precision.relative * larger.max(1e-6)
}

fn show(value: Option<&Value>) -> String {
    value.map_or("nothing".to_owned(), Value::to_string)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const EXACT: Precision = Precision {
        relative: 0.0,
        ordered: false,
    };
    const CLOSE: Precision = Precision {
        relative: 1e-9,
        ordered: true,
    };

    fn vector(values: &[(&str, &str)]) -> Value {
        let element =
            |(name, value): &(&str, &str)| json!({"metric": {"a": name}, "value": [1, value]});
        let result: Vec<Value> = values.iter().map(element).collect();
        json!({"status": "success", "data": {"resultType": "vector", "result": result}})
    }

    #[test]
    fn vectors() {
        let two = vector(&[("x", "1"), ("y", "NaN")]);
        let turned = vector(&[("y", "NaN"), ("x", "1")]);
        let near = vector(&[("x", "1.0000000001"), ("y", "NaN")]);
        let far = vector(&[("x", "1.00001"), ("y", "NaN")]);
        assert_eq!(difference(&two, &two, EXACT), None);
        assert_eq!(difference(&two, &turned, EXACT), None);
        assert!(difference(&two, &turned, CLOSE).is_some());
        assert_eq!(difference(&two, &near, CLOSE), None);
        assert!(difference(&two, &near, EXACT).is_some());
        assert!(difference(&two, &far, CLOSE).is_some());
        let (nothing, next_to) = (vector(&[("x", "0")]), vector(&[("x", "1e-17")]));
        assert_eq!(difference(&nothing, &next_to, CLOSE), None);
        assert!(difference(&nothing, &next_to, EXACT).is_some());
        let one = vector(&[("x", "1")]);
        assert!(
            difference(&two, &one, EXACT)
                .unwrap()
                .contains("should not")
        );
        assert!(difference(&one, &two, EXACT).unwrap().contains("missing"));
        let infinite = vector(&[("x", "+Inf")]);
        assert!(difference(&infinite, &vector(&[("x", "-Inf")]), CLOSE).is_some());
        assert!(difference(&infinite, &one, CLOSE).is_some());
    }

    #[test]
    fn errors_and_lists() {
        let error = |kind: &str| json!({"status": "error", "errorType": kind, "error": kind});
        assert_eq!(difference(&error("a"), &error("a"), EXACT), None);
        assert!(difference(&error("a"), &error("b"), EXACT).is_some());
        let list = |list: Value| json!({"status": "success", "data": list});
        let (names, other) = (list(json!(["a", "b"])), list(json!(["b", "a"])));
        assert!(difference(&names, &other, EXACT).is_some());
        let (series, other) = (
            list(json!([{"a": "1"}, {"a": "2"}])),
            list(json!([{"a": "2"}, {"a": "1"}])),
        );
        assert_eq!(difference(&series, &other, EXACT), None);
        assert!(difference(&series, &names, EXACT).is_some());
    }

    #[test]
    fn matrices() {
        let matrix = |values: Value| {
            json!({"status": "success", "data": {"resultType": "matrix",
                "result": [{"metric": {}, "values": values}]}})
        };
        let one = matrix(json!([[1, "1"], [2, "2"]]));
        assert_eq!(difference(&one, &one, EXACT), None);
        for other in [
            json!([[1, "1"]]),
            json!([[1, "1"], [3, "2"]]),
            json!([[1, "1"], [2, "3"]]),
        ] {
            assert!(difference(&one, &matrix(other), EXACT).is_some());
        }
    }
}
