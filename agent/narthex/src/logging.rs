//! The log: logfmt or JSON lines on standard error.

use std::fmt::{self, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Starts logging. Libraries are heard from warnings on, Narthex's own parts from `level` on.
pub(crate) fn start(level: &str, format: &str) {
    let filter = EnvFilter::new(format!("warn,narthex={level}{}", own_crates(level)));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let started = if format == "json" {
        builder.json().flatten_event(true).try_init()
    } else {
        builder.event_format(Logfmt).try_init()
    };
    if started.is_err() {
        tracing::debug!("a log is set up already");
    }
}

fn own_crates(level: &str) -> String {
    const CRATES: [&str; 13] = [
        "alerting",
        "config",
        "discovery",
        "http_client",
        "notify",
        "plugin_host",
        "promql",
        "ruler",
        "scrape",
        "script_host",
        "tsdb",
        "watch",
        "web",
    ];
    CRATES
        .iter()
        .map(|name| format!(",narthex_{name}={level}"))
        .collect()
}

/// `time=… level=… part=… msg="…" key=value …`
struct Logfmt;

impl<S, N> FormatEvent<S, N> for Logfmt
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let part = metadata.target().split("::").next().unwrap_or_default();
        let part = part.strip_prefix("narthex_").unwrap_or(part);
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = metadata.level().as_str().to_ascii_lowercase();
        write!(
            writer,
            "time={:.3} level={level} part={part} msg=",
            jiff::Timestamp::now()
        )?;
        write_value(&mut writer, &fields.message)?;
        writeln!(writer, "{}", fields.others)
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: String,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message.push_str(value);
            return;
        }
        // Writing into a String does not fail.
        let _ = write!(self.others, " {}=", field.name());
        let _ = write_value(&mut self.others, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// Quoted where it must be.
fn write_value(out: &mut impl Write, value: &str) -> fmt::Result {
    let plain =
        |c: char| !c.is_whitespace() && !c.is_control() && c != '"' && c != '=' && c != '\\';
    if !value.is_empty() && value.chars().all(plain) {
        return out.write_str(value);
    }
    narthex_model::labels::write_quoted(out, value)
}
