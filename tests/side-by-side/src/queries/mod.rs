//! Generated queries, answered by Narthex and by Prometheus over the same stored series.
//!
//! Their texts follow from a seed, which is printed. Every difference is told, and is an error: what
//! Prometheus 2.42 does not do as its successors is left out by `grammar` and `families`.

mod families;
mod grammar;
mod random;

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::answers::{Precision, difference};
use crate::arguments::Arguments;
use crate::load::print;
use crate::pages::mix;
use crate::questions::encoded;
use crate::server::Server;
use crate::stored::{self, Computed, START_MS};
use crate::tsdb::progress;
use families::{FAMILIES, MINUTES};
use random::Random;

const CLOSE: f64 = 1e-12;

struct Query {
    text: String,
    path: String,
    precision: Precision,
}

pub(crate) fn compare(arguments: &Arguments) -> Result<()> {
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let seed: u64 = arguments.number("seed", u64::from(clock.subsec_nanos()))?;
    let count: u64 = arguments.number("count", 300)?;
    let first: u64 = arguments.number("first", 0)?;
    print(&format!("{count} queries, --seed {seed}"));
    let folder = tempfile::tempdir()?;
    let blocks = folder.path().join("blocks");
    write(&blocks, seed)?;
    let ours = start(&arguments.path("narthex")?, folder.path(), "narthex")?;
    let prometheus = arguments.path("tools")?.join("prometheus");
    let peer = start(&prometheus, folder.path(), "prometheus")?;

    let (mut different, mut refused, mut empty) = (0, 0, 0);
    for number in first..first + count {
        progress(&format!("{number} of {count}"));
        let query = query(seed, number);
        let (answer, expected) = (ask(&ours, &query)?, ask(&peer, &query)?);
        match elements(&expected.1) {
            None => refused += 1,
            Some(0) => empty += 1,
            Some(_) => {}
        }
        if let Some(difference) = compare_one(&answer, &expected, query.precision) {
            different += 1;
            progress("");
            print(&format!(
                "--seed {seed} --first {number} --count 1: {}\n  {}\n  {difference}",
                query.text, query.path
            ));
        }
    }
    progress("");
    print(&format!(
        "{different} of {count} answers are different; {refused} are errors, {empty} empty"
    ));
    if arguments.text("stay") == Some("yes") {
        print(&format!("{} and {}", ours.url("/"), peer.url("/")));
        loop {
            std::thread::park();
        }
    }
    ensure!(different == 0, "answers are different, --seed {seed}");
    // A grammar that asks for nothing finds nothing.
    ensure!(
        count < 100 || refused + empty < count / 2,
        "too few queries have answers"
    );
    Ok(())
}

fn write(blocks: &Path, seed: u64) -> Result<()> {
    let series = families::all(seed).into_iter().map(|series| {
        let samples = (series.times_ms, series.values);
        Computed {
            labels: series.labels,
            samples: move || samples.clone(),
        }
    });
    stored::write(blocks, (START_MS, START_MS + MINUTES * 60_000), series)
}

fn start(program: &Path, folder: &Path, name: &str) -> Result<Server> {
    let own = folder.join(name);
    stored::link(&folder.join("blocks"), &own.join("data"))?;
    std::fs::write(own.join("prometheus.yml"), "")?;
    let mut server = Server::start(program, &own)?;
    server.wait_ready()?;
    Ok(server)
}

fn ask(server: &Server, query: &Query) -> Result<(u16, Value)> {
    let (status, text) = server.ask(&query.path)?;
    let answer = serde_json::from_str(&text);
    Ok((
        status,
        answer.with_context(|| format!("{}: {text}", query.path))?,
    ))
}

fn compare_one(
    (status, answer): &(u16, Value),
    (expected_status, expected): &(u16, Value),
    precision: Precision,
) -> Option<String> {
    if status != expected_status {
        let error = |answer: &Value| answer.get("error").map(Value::to_string);
        return Some(format!(
            "status {status} {}, not {expected_status} {}",
            error(answer).unwrap_or_default(),
            error(expected).unwrap_or_default()
        ));
    }
    difference(answer, expected, precision)
}

/// How many there are in an answer; none if it is an error.
fn elements(answer: &Value) -> Option<usize> {
    let data = answer.get("data")?;
    let list = data.get("result").unwrap_or(data);
    Some(list.as_array().map_or(1, Vec::len))
}

fn query(seed: u64, number: u64) -> Query {
    let mut random = Random::new(seed ^ mix(number));
    match random.below(20) {
        0 => of_labels(&mut random),
        1..10 => instant(&mut random),
        _ => range(&mut random),
    }
}

/// A moment at second 7 or 37 of a minute, mostly where there are samples.
fn moment(random: &mut Random) -> i64 {
    let half_minutes = random.below((MINUTES * 2 + 20) as usize) as i64 - 10;
    START_MS / 1000 + 7 + half_minutes * 30
}

fn instant(random: &mut Random) -> Query {
    let expression = grammar::expression(random);
    let path = format!(
        "/api/v1/query?query={}&time={}",
        encoded(&expression.text),
        moment(random)
    );
    Query::new(expression, path)
}

fn range(random: &mut Random) -> Query {
    let expression = grammar::expression(random);
    let step = [30, 60, 150, 600][random.below(4)];
    let (start, steps) = (moment(random), random.below(40) as i64);
    // Now and then what has to be refused.
    let (step, steps) = match random.below(60) {
        0 => (0, steps),
        1 => (-30, steps),
        2 => (30, 11_001),
        3 => (step, -2),
        _ => (step, steps),
    };
    let path = format!(
        "/api/v1/query_range?query={}&start={start}&end={}&step={step}",
        encoded(&expression.text),
        start + step * steps
    );
    Query::new(expression, path)
}

/// Over the whole time: Prometheus looks at the times of blocks alone where it gives names and
/// values, Narthex at those of chunks.
fn of_labels(random: &mut Random) -> Query {
    let family = &FAMILIES[random.below(FAMILIES.len())];
    let label = family.labels.first().map_or("instance", |(label, _)| label);
    let selectors = [
        family.name.to_owned(),
        format!(r#"{{{label}=~".+"}}"#),
        format!(r#"{}{{{label}!~"a.*"}}"#, family.name),
        r#"{__name__=~"node_.+|up",instance="a:9100"}"#.to_owned(),
        "{".to_owned(),
    ];
    let text = selectors[random.below(selectors.len())].clone();
    let what = [
        "series",
        "labels",
        "label/instance/values",
        "label/__name__/values",
        "label/le/values",
    ];
    let (start, end) = (START_MS / 1000, START_MS / 1000 + MINUTES * 60);
    let path = format!(
        "/api/v1/{}?match[]={}&start={}&end={}",
        random.pick(&what),
        encoded(&text),
        start,
        end
    );
    let precision = Precision {
        relative: 0.0,
        ordered: false,
    };
    Query {
        text,
        path,
        precision,
    }
}

impl Query {
    fn new(expression: grammar::Expression, path: String) -> Self {
        let precision = Precision {
            relative: if expression.is_exact { 0.0 } else { CLOSE },
            ordered: expression.is_ordered,
        };
        Query {
            text: expression.text,
            path,
            precision,
        }
    }
}
