//! A stored past of the load generator's targets: what a server holds after scraping them.
//!
//! Made once and kept. A target is scraped at a moment of its own within the interval that is no
//! whole second, as it is in life: no sample lies on a border of a query's window, where Prometheus
//! 3 and the versions before it differ.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use narthex_model::Labels;

use crate::arguments::Arguments;
use crate::load::print;
use crate::pages::{Page, mix, of_target};
use crate::stored::{self, Computed, START_MS};
use crate::tsdb::progress;

pub(crate) struct Shape {
    pub(crate) targets: usize,
    pub(crate) series: usize,
    pub(crate) minutes: i64,
    pub(crate) interval_seconds: i64,
}

impl Shape {
    pub(crate) fn of(arguments: &Arguments) -> Result<Self> {
        Ok(Shape {
            targets: arguments.number("targets", 300)?,
            series: arguments.number("series", 1000)?,
            minutes: arguments.number("minutes", 60)?,
            interval_seconds: arguments.number("interval", 15)?,
        })
    }

    fn scrapes(&self) -> i64 {
        self.minutes * 60 / self.interval_seconds
    }

    pub(crate) fn series_in_all(&self) -> usize {
        self.targets * self.series
    }

    pub(crate) fn samples(&self) -> usize {
        self.series_in_all() * self.scrapes() as usize
    }
}

/// The folder with the block, below `cache`; it is made if it is not there.
pub(crate) fn folder(cache: &Path, shape: &Shape) -> Result<PathBuf> {
    let name = format!(
        "{}-targets-{}-series-{}-minutes-{}-seconds",
        shape.targets, shape.series, shape.minutes, shape.interval_seconds
    );
    let folder = cache.join(name);
    let is_made = |path: &PathBuf| path.join("meta.json").exists();
    let mut entries = fs::read_dir(&folder).into_iter().flatten().flatten();
    if !entries.any(|entry| is_made(&entry.path())) {
        print(&format!("writing {}", folder.display()));
        write(&folder, shape)?;
    }
    Ok(folder)
}

fn write(folder: &Path, shape: &Shape) -> Result<()> {
    let pages = (0..shape.targets).map(|target| Page::new(target as u64, shape.series));
    let pages: Arc<[Page]> = pages.collect();
    let mut all: Vec<(Labels, usize, usize)> = Vec::with_capacity(shape.series_in_all());
    for (target, page) in pages.iter().enumerate() {
        for at in 0..page.len() {
            all.push((labels(page.line(at), target), target, at));
        }
    }
    all.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let (scrapes, interval_ms) = (shape.scrapes(), shape.interval_seconds * 1000);
    let count = all.len();
    let series = all.into_iter().enumerate();
    let series = series.map(|(number, (labels, target, at))| {
        if number % 1000 == 0 {
            progress(&format!("{number} of {count} series"));
        }
        let pages = pages.clone();
        let samples = move || {
            let Some(page) = pages.get(target) else {
                return Default::default();
            };
            let times = (0..scrapes).map(|scrape| time_ms(target, scrape, interval_ms));
            let values = (0..scrapes).map(|scrape| page.value(at, scrape as u64));
            (times.collect(), values.collect())
        };
        Computed { labels, samples }
    });
    let range_ms = (START_MS, START_MS + shape.minutes * 60_000);
    stored::write(folder, range_ms, series)?;
    progress("");
    Ok(())
}

/// When a target was scraped. Most scrapes are on time, one in twenty some milliseconds late.
fn time_ms(target: usize, scrape: i64, interval_ms: i64) -> i64 {
    let seconds = (interval_ms / 1000).max(1) as u64;
    let of_target = mix(target as u64);
    let moment_ms = (of_target % seconds * 1000 + 1 + (of_target >> 32) % 990) as i64;
    let late_ms = if scrape % 20 == 7 { 3 } else { 0 };
    START_MS + scrape * interval_ms + moment_ms + late_ms
}

/// Labels from a line of a page, `name{label="value",…}`, with those of its target.
fn labels(line: &str, target: usize) -> Labels {
    let (name, rest) = line.split_once('{').unwrap_or((line, ""));
    let rest = rest.strip_suffix(r#""}"#).unwrap_or(rest);
    let own = rest
        .split(r#"","#)
        .filter_map(|pair| pair.split_once(r#"=""#));
    let target = of_target(target);
    let target = target.iter().map(|(name, value)| (*name, value.as_str()));
    Labels::from_pairs(own.chain(target).chain([("__name__", name)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_lines() {
        let labels = labels(r#"a_total{path="/x",code="200"}"#, 4);
        let text = r#"{__name__="a_total", cluster="load", code="200", instance="target-4", job="load", path="/x", zone="zone-1"}"#;
        assert_eq!(labels.to_string(), text);
        assert_eq!(super::labels("up", 0).metric_name(), Some("up"));
    }

    #[test]
    fn no_sample_is_at_a_whole_second() {
        for target in 0..1000 {
            for scrape in 0..40 {
                let time_ms = time_ms(target, scrape, 15_000);
                assert_ne!(time_ms % 1000, 0);
                assert!((0..15_000).contains(&(time_ms - START_MS - scrape * 15_000)));
            }
        }
    }

    #[test]
    fn a_folder_is_made_once() {
        let cache = tempfile::tempdir().unwrap();
        let shape = Shape {
            targets: 2,
            series: 30,
            minutes: 10,
            interval_seconds: 15,
        };
        let made = folder(cache.path(), &shape).unwrap();
        let blocks = || fs::read_dir(&made).unwrap().count();
        assert_eq!(blocks(), 1);
        assert_eq!(folder(cache.path(), &shape).unwrap(), made);
        assert_eq!(blocks(), 1);
    }
}
