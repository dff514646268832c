//! ZFS: what its module counts, and its pools.

use narthex_plugin_sdk::{MetricType, Metrics, files};

use crate::descriptor::{Descriptor, gauge};
use crate::failure::{At, Failure};
use crate::machine::Machine;
use crate::text::{is_file, number, read_many};

/// The files, and what the names of their families begin with. Which there are depends on the
/// version.
const FILES: [(&str, &str); 11] = [
    ("abdstats", "zfs_abd"),
    ("arcstats", "zfs_arc"),
    ("dbufstats", "zfs_dbuf"),
    ("dmu_tx", "zfs_dmu_tx"),
    ("dnodestats", "zfs_dnode"),
    ("fm", "zfs_fm"),
    ("vdev_cache_stats", "zfs_vdev_cache"),
    ("vdev_mirror_stats", "zfs_vdev_mirror"),
    ("xuio_stats", "zfs_xuio"),
    ("zfetchstats", "zfs_zfetch"),
    ("zil", "zfs_zil"),
];

const STATE: Descriptor = gauge("node_zfs_zpool_state", "kstat.zfs.misc.state");

const STATES: [&str; 7] = [
    "online",
    "degraded",
    "faulted",
    "offline",
    "removed",
    "unavail",
    "suspended",
];

pub(crate) fn collect(machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
    let folder = machine.proc("spl/kstat/zfs");
    let entries = files::entries(&folder).at_if_there(&folder)?;
    let paths = FILES.map(|(file, _)| format!("{folder}/{file}"));
    for (((file, prefix), path), text) in FILES.iter().zip(&paths).zip(read_many(&paths)) {
        let Ok(text) = text else {
            continue;
        };
        for (field, value) in rows(&text, &["3", "4"]).at(path)? {
            let value = number(value).at(path)?;
            untyped(metrics, prefix, file, field).set(value);
        }
    }
    for entry in entries.iter().filter(|entry| !is_file(entry)) {
        pool(&format!("{folder}/{}", entry.name), &entry.name, metrics)?;
    }
    Ok(())
}

fn pool(folder: &str, pool: &str, metrics: &mut Metrics) -> Result<(), Failure> {
    let entries = files::entries(folder).at(folder)?;
    let wanted = |name: &str| name == "io" || name == "state" || name.starts_with("objset-");
    let names: Vec<&str> = entries
        .iter()
        .map(|entry| entry.name.as_str())
        .filter(|name| wanted(name))
        .collect();
    let paths: Vec<String> = names
        .iter()
        .map(|name| format!("{folder}/{name}"))
        .collect();
    for ((name, path), text) in names.iter().zip(&paths).zip(read_many(&paths)) {
        let text = text.at_if_there(path)?;
        match *name {
            "io" => io(&text, pool, metrics).at(path)?,
            "state" => state(&text, pool, metrics),
            _ => data_set(&text, pool, metrics).at(path)?,
        }
    }
    Ok(())
}

/// A line of names, then one of values.
fn io(text: &str, pool: &str, metrics: &mut Metrics) -> Result<(), String> {
    let mut lines = text.lines().skip_while(|line| !line.starts_with("nread"));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else {
        return Ok(());
    };
    let mut values = values.split_ascii_whitespace();
    for name in names.split_ascii_whitespace() {
        let value = values.next().ok_or("fewer values than names")?;
        let value = number(value)?;
        untyped(metrics, "zfs_zpool", "io", name)
            .labels(["zpool"])
            .add([pool], value);
    }
    Ok(())
}

fn state(text: &str, pool: &str, metrics: &mut Metrics) {
    let actual = text.lines().next().unwrap_or_default().to_lowercase();
    for state in STATES {
        let is = f64::from(state == actual);
        STATE.add(metrics, ["state", "zpool"], [state, pool], is);
    }
}

fn data_set(text: &str, pool: &str, metrics: &mut Metrics) -> Result<(), String> {
    let rows = rows(text, &["4", "7"])?;
    // A name may hold blanks, so it goes to the end of the line.
    let name = rows.iter().find(|(field, _)| *field == "dataset_name");
    let name = name.map_or("", |(_, name)| *name);
    for (field, value) in rows.iter().filter(|(field, _)| *field != "dataset_name") {
        let value = number(value)?;
        untyped(metrics, "zfs_zpool_dataset", "objset", field)
            .labels(["dataset", "zpool"])
            .add([name, pool], value);
    }
    Ok(())
}

/// The names and values of the rows of these types, below the heading.
fn rows<'a>(text: &'a str, kinds: &[&str]) -> Result<Vec<(&'a str, &'a str)>, String> {
    let is_heading = |line: &str| line.split_ascii_whitespace().eq(["name", "type", "data"]);
    let mut lines = text.lines();
    if !lines.any(is_heading) {
        return Err("no heading: name type data".to_owned());
    }
    let rows = lines.filter_map(|line| {
        let (name, rest) = line.trim().split_once(char::is_whitespace)?;
        let (kind, data) = rest.trim_start().split_once(char::is_whitespace)?;
        kinds.contains(&kind).then(|| (name, data.trim()))
    });
    Ok(rows.collect())
}

fn untyped<'a>(
    metrics: &'a mut Metrics,
    prefix: &str,
    file: &str,
    field: &str,
) -> narthex_plugin_sdk::metrics::FamilyBuilder<'a, narthex_plugin_sdk::Value, 0> {
    metrics.family(
        &format!("node_{prefix}_{}", field.replace('-', "_")),
        &format!("kstat.zfs.misc.{file}.{field}"),
        MetricType::Unknown,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_rows_below_the_heading() {
        let text = "1 2 3\nname  type data\nhits 4    7\nx-y 3 -1\nother 7 text\n";
        assert_eq!(
            rows(text, &["3", "4"]),
            Ok(vec![("hits", "7"), ("x-y", "-1")])
        );
        assert!(rows("hits 4 7\n", &["4"]).is_err());
    }
}
