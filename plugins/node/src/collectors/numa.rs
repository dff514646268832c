//! Memory by the node that it belongs to.

use narthex_plugin_sdk::{MetricType, Metrics};

use crate::failure::{At, Failure};
use crate::machine::Machine;
use crate::text::{number, numbered_if_there, read};

/// meminfo_numa.
pub(crate) fn collect(machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
    let folder = machine.sys("devices/system/node");
    for node in numbered_if_there(&folder, "node")? {
        let path = format!("{folder}/node{node}/meminfo");
        for line in read(&path)?.lines() {
            if let Some((name, bytes)) = parse_meminfo(line).at(&path)? {
                give(metrics, MetricType::Gauge, &name, &node, bytes);
            }
        }
        let path = format!("{folder}/node{node}/numastat");
        for line in read(&path)?.lines() {
            if let Some((name, count)) = line.trim().split_once(' ') {
                let count = number(count.trim()).at(&path)?;
                give(
                    metrics,
                    MetricType::Counter,
                    &format!("{name}_total"),
                    &node,
                    count,
                );
            }
        }
    }
    Ok(())
}

fn give(metrics: &mut Metrics, kind: MetricType, name: &str, node: &str, value: f64) {
    metrics
        .family(
            &format!("node_memory_numa_{name}"),
            &format!("Memory information field {name}."),
            kind,
        )
        .labels(["node"])
        .add([node], value);
}

/// `Node 0 Active(anon): 123 kB`.
fn parse_meminfo(line: &str) -> Result<Option<(String, f64)>, String> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let (name, value, scale) = match words.as_slice() {
        [] => return Ok(None),
        [_, _, name, value] => (name, value, 1.0),
        [_, _, name, value, "kB"] => (name, value, 1024.0),
        _ => return Err(format!("expected a field of a node, not {line:?}")),
    };
    let name = name
        .trim_end_matches(':')
        .replace('(', "_")
        .replace(')', "");
    Ok(Some((name, number(value)? * scale)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_fields() {
        let field = |name: &str, value| Ok(Some((name.to_owned(), value)));
        assert_eq!(
            parse_meminfo("Node 0 Active(anon):  2 kB"),
            field("Active_anon", 2048.0)
        );
        assert_eq!(
            parse_meminfo("Node 0 HugePages_Free: 3"),
            field("HugePages_Free", 3.0)
        );
        assert_eq!(parse_meminfo("  "), Ok(None));
        assert!(parse_meminfo("Node 0 Active: 2 MB").is_err());
        assert!(parse_meminfo("Active: 2 kB").is_err());
    }
}
