//! Queries over the same stored hour: CPU time, time to answer and highest memory of each server,
//! and whether their answers say the same.
//!
//! Each query has a server that has just started, so that no query pays for the memory of another.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::answers::{Precision, difference};
use crate::arguments::Arguments;
use crate::history::{self, Shape};
use crate::load::print;
use crate::questions::{QUESTIONS, Question};
use crate::server::Server;
use crate::stored;
use crate::tsdb::progress;

/// A round asks again and again for so long, as the kernel counts CPU time in hundredths of seconds.
const ROUND_SECONDS: f64 = 0.15;
const REPEATED_AT_MOST: f64 = 300.0;
const PRECISION: Precision = Precision {
    relative: 1e-9,
    ordered: false,
};

struct Figures {
    cpu_ms: f64,
    /// Median.
    wall_ms: f64,
    peak_mb: f64,
    answer: String,
}

struct Row {
    question: &'static Question,
    ours: Figures,
    peer: Figures,
    difference: Option<String>,
}

pub(crate) fn compare(arguments: &Arguments) -> Result<()> {
    let shape = Shape::of(arguments)?;
    let data = arguments.path("data")?;
    let rounds: usize = arguments.number("rounds", 5)?;
    let wanted = arguments.text("only").unwrap_or_default();
    let blocks = history::folder(&data, &shape)?;
    print(&format!(
        "{} series, {} samples; each query {rounds} times in turn after one that is not counted\n",
        shape.series_in_all(),
        shape.samples()
    ));
    let programs = [
        arguments.path("narthex")?,
        arguments.path("tools")?.join("prometheus"),
    ];
    print(
        "| query | | CPU ms, Narthex | Prometheus | ratio | ms to answer | Prometheus | MB at most | Prometheus | ratio | answers |",
    );
    print("|---|---|--:|--:|--:|--:|--:|--:|--:|--:|---|");
    let mut rows = Vec::new();
    let chosen = QUESTIONS
        .iter()
        .filter(|question| question.name.contains(wanted));
    for question in chosen {
        let [ours, peer] = programs.each_ref().map(|program| {
            progress(&format!("{}: {}", program.display(), question.name));
            measure(program, &blocks, &data, question, rounds)
        });
        progress("");
        let row = Row::new(question, ours?, peer?)?;
        print(&row.to_markdown());
        rows.push(row);
    }
    summarise(&rows);
    Ok(())
}

fn measure(
    program: &Path,
    blocks: &Path,
    data: &Path,
    question: &Question,
    rounds: usize,
) -> Result<Figures> {
    let folder = tempfile::tempdir_in(data)?;
    std::fs::write(folder.path().join("prometheus.yml"), "")?;
    stored::link(blocks, &folder.path().join("data"))?;
    let mut server = Server::start(program, folder.path())?;
    server.wait_ready()?;
    server.reset_peak()?;
    let path = question.path();
    let start = Instant::now();
    let (status, answer) = server.ask(&path)?;
    let repeated = (ROUND_SECONDS / start.elapsed().as_secs_f64()).ceil();
    let repeated = repeated.clamp(1.0, REPEATED_AT_MOST) as usize;
    let asked = rounds * repeated;
    let mut walls = Vec::with_capacity(asked);
    let before = server.cpu_seconds()?;
    for _ in 0..asked {
        let start = Instant::now();
        let again = server.ask(&path)?;
        walls.push(start.elapsed().as_secs_f64());
        ensure!(
            is_alike(&again, &(status, &answer)),
            "{} answered {status} with {} bytes, then {} with {} bytes: {}",
            program.display(),
            answer.len(),
            again.0,
            again.1.len(),
            again.1.chars().take(200).collect::<String>()
        );
    }
    let cpu = server.cpu_seconds()? - before;
    let peak_mb = server.memory_bytes("VmHWM:")? / 1e6;
    server.terminate()?;
    walls.sort_by(f64::total_cmp);
    let wall = walls.get(walls.len() / 2).context("no rounds")?;
    Ok(Figures {
        cpu_ms: cpu / asked as f64 * 1e3,
        wall_ms: wall * 1e3,
        peak_mb,
        answer,
    })
}

/// Whether an answer is of the same kind as the first: a refusal would pass for a very fast answer.
/// Prometheus gives last digits that vary.
fn is_alike((status, answer): &(u16, String), (first_status, first): &(u16, &String)) -> bool {
    status == first_status && answer.len().abs_diff(first.len()) <= first.len() / 10
}

impl Row {
    fn new(question: &'static Question, mut ours: Figures, mut peer: Figures) -> Result<Self> {
        let read = |name: &str, figures: &mut Figures| -> Result<Value> {
            let text = std::mem::take(&mut figures.answer);
            let shown: String = text.chars().take(200).collect();
            serde_json::from_str(&text).with_context(|| format!("{name} answered: {shown}"))
        };
        let answers = (read("Narthex", &mut ours)?, read("Prometheus", &mut peer)?);
        let is_error = answers.1.get("status").and_then(Value::as_str) != Some("success");
        let difference = match is_error {
            true => Some(format!("Prometheus has an error: {}", answers.1)),
            false => difference(&answers.0, &answers.1, PRECISION),
        };
        Ok(Row {
            question,
            ours,
            peer,
            difference,
        })
    }

    fn cpu_ratio(&self) -> f64 {
        self.ours.cpu_ms / self.peer.cpu_ms
    }

    fn memory_ratio(&self) -> f64 {
        self.ours.peak_mb / self.peer.peak_mb
    }

    fn to_markdown(&self) -> String {
        let difference = self.difference.as_ref();
        format!(
            "| {} | {} | {:.2} | {:.2} | {:.3} | {:.2} | {:.2} | {:.0} | {:.0} | {:.2} | {} |",
            self.question.name,
            self.question.kind(),
            self.ours.cpu_ms,
            self.peer.cpu_ms,
            self.cpu_ratio(),
            self.ours.wall_ms,
            self.peer.wall_ms,
            self.ours.peak_mb,
            self.peer.peak_mb,
            self.memory_ratio(),
            difference.map_or("same".to_owned(), |what| format!("**DIFFERENT**: {what}"))
        )
    }
}

fn summarise(rows: &[Row]) {
    let logarithms: f64 = rows.iter().map(|row| row.cpu_ratio().ln()).sum();
    let mean = (logarithms / rows.len() as f64).exp();
    let highest = |of: fn(&Row) -> f64| rows.iter().map(of).fold(0.0, f64::max);
    let worst = rows
        .iter()
        .max_by(|a, b| a.cpu_ratio().total_cmp(&b.cpu_ratio()));
    let different = rows.iter().filter(|row| row.difference.is_some()).count();
    let (ours, peer) = (
        highest(|row| row.ours.peak_mb),
        highest(|row| row.peer.peak_mb),
    );
    print(&format!(
        "\nCPU time, geometric mean of the ratios: {mean:.3}; worst: {:.3} ({})",
        worst.map_or(f64::NAN, Row::cpu_ratio),
        worst.map_or("none", |row| row.question.name)
    ));
    print(&format!(
        "highest memory of any query: {ours:.0} MB, {peer:.0} MB, ratio {:.3}; worst ratio of a query: {:.3}",
        ours / peer,
        highest(Row::memory_ratio)
    ));
    print(&match different {
        0 => "all answers are the same\n".to_owned(),
        _ => format!("{different} ANSWERS ARE DIFFERENT\n"),
    });
    for row in rows {
        print(&format!("- {}: `{}`", row.question.name, row.question.text));
    }
}
