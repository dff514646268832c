//! `narthex query …`: what promtool's commands of these names do, of any server that has
//! Prometheus's HTTP API.

mod print;
mod result;

use std::io::Write;

use anyhow::{Context, ensure};
use clap::{Args, Subcommand, ValueEnum};
use narthex_model::{duration, number};

use super::server::{Answer, Connection, DEFAULT_ADDRESS, Server};
use crate::machine;
use result::{QueryResult, Texts};

/// How far back a range query goes that says no start.
const RANGE_DEFAULT_MS: i64 = 5 * 60_000;
/// Steps, about, that a range query gets that says no step.
const STEPS_DEFAULT: i64 = 250;

#[derive(Args, Debug)]
pub(crate) struct QueryTool {
    /// How the result is printed.
    #[arg(
        short = 'o',
        long,
        value_enum,
        default_value_t = Format::Promql,
        global = true
    )]
    format: Format,
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: Query,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Format {
    Promql,
    Json,
}

#[derive(Subcommand, Debug)]
enum Query {
    /// The value of an expression at one time.
    #[command(allow_missing_positional = true)]
    Instant {
        /// The server's URL.
        #[arg(default_value = DEFAULT_ADDRESS)]
        server: String,
        expr: String,
        /// When, as RFC 3339 or in seconds since 1970 [default: now].
        #[arg(long, allow_hyphen_values = true)]
        time: Option<String>,
    },
    /// The values of an expression over a range of time.
    #[command(allow_missing_positional = true)]
    Range {
        /// The server's URL.
        #[arg(default_value = DEFAULT_ADDRESS)]
        server: String,
        expr: String,
        #[command(flatten)]
        times: Times,
        /// From one value to the next, as in 30s or 1m30s [default: about 250 steps, at least 1s].
        #[arg(long, value_parser = step_ms)]
        step: Option<i64>,
    },
    /// The labels of the series that a selector gives.
    Series {
        /// The server's URL.
        #[arg(default_value = DEFAULT_ADDRESS)]
        server: String,
        /// A series selector; may be given several times.
        #[arg(long = "match", value_name = "SELECTOR", required = true)]
        selectors: Vec<String>,
        #[command(flatten)]
        times: Times,
    },
    /// The values of a label.
    #[command(allow_missing_positional = true)]
    Labels {
        /// The server's URL.
        #[arg(default_value = DEFAULT_ADDRESS)]
        server: String,
        /// The label's name.
        name: String,
        /// Only of the series that this gives; may be given several times.
        #[arg(long = "match", value_name = "SELECTOR")]
        selectors: Vec<String>,
        #[command(flatten)]
        times: Times,
    },
}

#[derive(Args, Debug)]
struct Times {
    /// From when on, as RFC 3339 or in seconds since 1970.
    #[arg(long, allow_hyphen_values = true)]
    start: Option<String>,
    /// Until when, likewise.
    #[arg(long, allow_hyphen_values = true)]
    end: Option<String>,
}

impl QueryTool {
    pub(crate) fn run(self, out: &mut dyn Write) -> anyhow::Result<()> {
        let connect = |address: &str| Server::new(address, &self.connection);
        let format = self.format;
        match &self.command {
            Query::Instant { server, expr, time } => {
                let mut parameters = vec![("query", expr.clone())];
                if let Some(time) = time {
                    parameters.push(("time", seconds(time_ms("time", time)?)));
                }
                let result: QueryResult = ask(&connect(server)?, "query", &parameters)?;
                print::value(&result, format, out)
            }
            Query::Range {
                server,
                expr,
                times,
                step,
            } => {
                let mut parameters = vec![("query", expr.clone())];
                parameters.extend(range_parameters(times, *step)?);
                let result: QueryResult = ask(&connect(server)?, "query_range", &parameters)?;
                print::value(&result, format, out)
            }
            Query::Series {
                server,
                selectors,
                times,
            } => {
                let parameters = look_up_parameters(selectors, times)?;
                let series: Vec<Texts> = ask(&connect(server)?, "series", &parameters)?;
                print::series(&series, format, out)
            }
            Query::Labels {
                server,
                name,
                selectors,
                times,
            } => {
                ensure!(!name.is_empty(), "the label's name is empty");
                let parameters = look_up_parameters(selectors, times)?;
                let path = ["label", name, "values"];
                let answer = connect(server)?.get(&path, &borrowed(&parameters))?;
                let values: Vec<String> = told(answer);
                print::values(&values, format, out)
            }
        }
    }
}

type Parameters = Vec<(&'static str, String)>;

fn borrowed(parameters: &Parameters) -> Vec<(&'static str, &str)> {
    let pairs = parameters.iter();
    pairs.map(|(name, text)| (*name, text.as_str())).collect()
}

fn ask<T: serde::de::DeserializeOwned>(
    server: &Server,
    path: &str,
    parameters: &Parameters,
) -> anyhow::Result<T> {
    Ok(told(server.post(&[path], &borrowed(parameters))?))
}

/// What is said beside the data goes where it disturbs nobody who reads the data.
pub(crate) fn told<T>(answer: Answer<T>) -> T {
    for warning in &answer.warnings {
        eprint_line("warning", warning);
    }
    for info in &answer.infos {
        eprint_line("info", info);
    }
    answer.data
}

fn eprint_line(kind: &str, text: &str) {
    // There is nowhere else to say it.
    let _ = writeln!(std::io::stderr(), "{kind}: {text}");
}

fn range_parameters(times: &Times, step_ms: Option<i64>) -> anyhow::Result<Parameters> {
    let end_ms = match &times.end {
        Some(text) => time_ms("end", text)?,
        None => machine::now_ms(),
    };
    let start_ms = match &times.start {
        Some(text) => time_ms("start", text)?,
        None => end_ms.saturating_sub(RANGE_DEFAULT_MS),
    };
    ensure!(start_ms < end_ms, "--start is not before --end");
    let step_ms = step_ms.unwrap_or_else(|| {
        let seconds = end_ms.saturating_sub(start_ms) / 1000 / STEPS_DEFAULT;
        seconds.max(1).saturating_mul(1000)
    });
    Ok(vec![
        ("start", seconds(start_ms)),
        ("end", seconds(end_ms)),
        ("step", seconds(step_ms)),
    ])
}

fn look_up_parameters(selectors: &[String], times: &Times) -> anyhow::Result<Parameters> {
    let matches = selectors.iter();
    let mut parameters: Parameters = matches.map(|text| ("match[]", text.clone())).collect();
    for (name, text) in [("start", &times.start), ("end", &times.end)] {
        if let Some(text) = text {
            parameters.push((name, seconds(time_ms(name, text)?)));
        }
    }
    Ok(parameters)
}

pub(crate) fn time_ms(flag: &str, text: &str) -> anyhow::Result<i64> {
    narthex_web::parse_time_ms(text)
        .map_err(anyhow::Error::msg)
        .with_context(|| format!("--{flag}"))
}

pub(crate) fn step_ms(text: &str) -> Result<i64, String> {
    let ms = match number::parse_float(text) {
        Some(seconds) => (seconds * 1000.0) as i64,
        None => {
            let ms = duration::parse_ms(text).map_err(|error| error.to_string())?;
            i64::try_from(ms).unwrap_or(i64::MAX)
        }
    };
    match ms {
        1.. => Ok(ms),
        _ => Err("a step must be at least 1ms".to_owned()),
    }
}

/// As the API reads it without loss.
pub(crate) fn seconds(ms: i64) -> String {
    let sign = if ms < 0 { "-" } else { "" };
    let ms = ms.unsigned_abs();
    format!("{sign}{}.{:03}", ms / 1000, ms % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: Option<&str>, end: Option<&str>, step: Option<i64>) -> anyhow::Result<String> {
        let times = Times {
            start: start.map(str::to_owned),
            end: end.map(str::to_owned),
        };
        let parameters = range_parameters(&times, step)?;
        let texts: Vec<&str> = parameters.iter().map(|(_, text)| text.as_str()).collect();
        Ok(texts.join(" "))
    }

    #[test]
    fn ranges_have_promtools_defaults() {
        for (start, end, step, expected) in [
            (Some("0"), Some("1000"), None, "0.000 1000.000 4.000"),
            (Some("0"), Some("10"), None, "0.000 10.000 1.000"),
            (None, Some("400.5"), None, "100.500 400.500 1.000"),
            (Some("-5"), Some("5"), Some(1500), "-5.000 5.000 1.500"),
            (
                Some("1970-01-01T00:00:01Z"),
                Some("1970-01-01T01:00:00Z"),
                None,
                "1.000 3600.000 14.000",
            ),
        ] {
            assert_eq!(range(start, end, step).unwrap(), expected);
        }
        for (start, end, expected) in [
            ("5", "5", "--start is not before --end"),
            ("x", "5", "--start: cannot parse \"x\" to a valid timestamp"),
        ] {
            let error = range(Some(start), Some(end), None).unwrap_err();
            assert_eq!(format!("{error:#}"), expected);
        }
    }

    #[test]
    fn steps() {
        for (text, expected) in [
            ("30s", Some(30_000)),
            ("1m30s", Some(90_000)),
            ("0.5", Some(500)),
            ("15", Some(15_000)),
            ("0", None),
            ("-1", None),
            ("NaN", None),
            ("x", None),
        ] {
            assert_eq!(step_ms(text).ok(), expected, "{text}");
        }
    }
}
