//! SIGKILL at random moments under load, start again, and compare what is stored with what was
//! served: nothing that was stored before the kill may be lost, changed or holed.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::arguments::Arguments;
use crate::load::{Load, print};
use crate::pages::{SEQUENCE, mix};
use crate::server::Server;
use crate::tsdb::progress;

/// A scrape may be answered but not stored yet when the server dies.
const IN_FLIGHT: u64 = 1;
const FIRST_SCRAPES: Duration = Duration::from_secs(30);

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let narthex = arguments.path("narthex")?;
    let rounds: u64 = arguments.number("rounds", 100)?;
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let seed: u64 = arguments.number("seed", u64::from(clock.subsec_nanos()))?;
    let targets = arguments.number("targets", 20)?;
    let series = arguments.number("series", 500)?;
    print(&format!("{rounds} rounds, --seed {seed}"));

    let load = Load::start("127.0.0.1:0", targets, series)?;
    let folder = tempfile::tempdir()?;
    let yml = load.prometheus_yml("500ms");
    std::fs::write(folder.path().join("prometheus.yml"), yml)?;
    let mut server = Server::start(&narthex, folder.path())?;
    server.wait_ready()?;
    let start = Instant::now();
    while sequences(&server, targets)?.iter().any(Vec::is_empty) {
        ensure!(
            start.elapsed() < FIRST_SCRAPES,
            "not every target is scraped"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    let mut checked = 0;
    for round in 0..rounds {
        server.wait_ready()?;
        let before_kill = Duration::from_millis(50 + mix(seed ^ round) % 3000);
        std::thread::sleep(before_kill);
        // What a query shows has been stored: exactly that has to be there after the kill.
        let shown = sequences(&server, targets)?;
        std::thread::sleep(Duration::from_millis(mix(seed ^ !round) % 400));
        server.kill()?;
        server.restart()?;
        server.wait_ready()?;
        let stored = sequences(&server, targets)?;
        for (target, (shown, stored)) in shown.iter().zip(&stored).enumerate() {
            check_sequence(shown, stored)
                .with_context(|| format!("round {round}, target {target}, --seed {seed}"))?;
        }
        let target = (mix(seed ^ round << 1) % targets as u64) as usize;
        checked += check_values(&server, &load, target)
            .with_context(|| format!("round {round}, target {target}, --seed {seed}"))?;
        progress(&format!("round {} of {rounds}", round + 1));
    }
    progress("");
    print(&format!("nothing was lost; {checked} values were compared"));
    server.terminate()
}

/// Of each target, the times and numbers of the scrapes that are stored.
fn sequences(server: &Server, targets: usize) -> Result<Vec<Vec<(f64, u64)>>> {
    let answer = server.get(&format!("/api/v1/query?query={SEQUENCE}%5B1h%5D"))?;
    let mut found = vec![Vec::new(); targets];
    let result = answer.pointer("/data/result").and_then(Value::as_array);
    for series in result.with_context(|| format!("an odd answer: {answer}"))? {
        let instance = series.pointer("/metric/instance").and_then(Value::as_str);
        let target = instance.and_then(|name| name.strip_prefix("target-")?.parse::<usize>().ok());
        let of_target = target.and_then(|target| found.get_mut(target));
        if let Some(of_target) = of_target {
            let numbers = points(series).map(|(time, value)| (time, value as u64));
            *of_target = numbers.collect();
        }
    }
    Ok(found)
}

fn points(series: &Value) -> impl Iterator<Item = (f64, f64)> {
    let values = series.pointer("/values").and_then(Value::as_array);
    let point = |point: &Value| {
        let time = point.get(0)?.as_f64()?;
        Some((time, point.get(1)?.as_str()?.parse().ok()?))
    };
    values.into_iter().flatten().filter_map(point)
}

/// All that was shown is there, and no scrape between two that are stored is missing, but for the
/// ones in flight at a kill.
fn check_sequence(shown: &[(f64, u64)], stored: &[(f64, u64)]) -> Result<()> {
    let mut rest = stored.iter();
    for sample in shown {
        ensure!(
            rest.any(|other| other == sample),
            "sample {sample:?} was shown before the kill and is gone"
        );
    }
    for pair in stored.windows(2) {
        if let [(_, before), (time, after)] = pair {
            ensure!(
                *after > *before && after - before <= 1 + IN_FLIGHT,
                "scrapes {} to {} before time {time} are missing",
                before + 1,
                after - 1
            );
        }
    }
    Ok(())
}

/// Every stored value of a target is what was served. Gives how many were compared.
fn check_values(server: &Server, load: &Load, target: usize) -> Result<u64> {
    let query = format!("%7Binstance%3D%22target-{target}%22,job%3D%22load%22%7D%5B1m%5D");
    let answer = server.get(&format!("/api/v1/query?query={query}"))?;
    let page = load.page(target).context("no such target")?;
    let scrapes: Vec<(f64, u64)> = sequences(server, target + 1)?.pop().unwrap_or_default();
    let result = answer.pointer("/data/result").and_then(Value::as_array);
    let mut compared = 0;
    for series in result.context("an odd answer")? {
        let name = line_of(series)?;
        let Some(at) = page.values(0).position(|(line, _)| line == name) else {
            // The series about the scrape itself.
            continue;
        };
        for (time, value) in points(series) {
            let scrape = scrapes.iter().find(|(other, _)| *other == time);
            let Some((_, scrape)) = scrape else {
                bail!("{name} has a sample at {time}, but that scrape's number is not stored");
            };
            let served = page.values(*scrape).nth(at).map(|(_, value)| value);
            if served.map(f64::to_bits) != Some(value.to_bits()) {
                bail!("{name} is {value} at {time}, but {served:?} was served");
            }
            compared += 1;
        }
    }
    ensure!(compared > 0, "no values");
    Ok(compared)
}

/// The series as its page writes it.
fn line_of(series: &Value) -> Result<String> {
    let labels = series.pointer("/metric").and_then(Value::as_object);
    let labels = labels.context("a series without labels")?;
    let name = labels
        .get("__name__")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let of_config = ["__name__", "instance", "job", "cluster", "zone"];
    let mut parts: Vec<(&str, &str)> = labels
        .iter()
        .filter(|(name, _)| !of_config.contains(&name.as_str()))
        .filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
        .collect();
    // Bucket bounds come last on the page.
    parts.sort_by_key(|(name, _)| (*name == "le", *name));
    let parts: Vec<String> = parts.iter().map(|(n, v)| format!(r#"{n}="{v}""#)).collect();
    Ok(match parts.is_empty() {
        true => name.to_owned(),
        false => format!("{name}{{{}}}", parts.join(",")),
    })
}
