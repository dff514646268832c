//! The log: logfmt or JSON lines on standard error, the same keys in both.

use std::fmt::{self, Write};

use serde_json::{Map, Value};
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
        builder.event_format(Json).try_init()
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
        let mut fields = Fields::default();
        event.record(&mut fields);
        write!(
            writer,
            "time={:.3} level={} part={} msg=",
            jiff::Timestamp::now(),
            level(event),
            part(event)
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

/// `{"time":…,"level":…,"part":…,"msg":…,key:value,…}`
struct Json;

impl<S, N> FormatEvent<S, N> for Json
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
        let mut fields = JsonFields::default();
        event.record(&mut fields);
        let time = format!("{:.3}", jiff::Timestamp::now());
        // Written by hand, as a map would not keep what is read first in front.
        write!(
            writer,
            "{{\"time\":{},\"level\":{},\"part\":{},\"msg\":{}",
            Value::from(time),
            Value::from(level(event)),
            Value::from(part(event)),
            Value::from(fields.message)
        )?;
        for (name, value) in &fields.others {
            write!(writer, ",{}:{value}", Value::from(name.as_str()))?;
        }
        writeln!(writer, "}}")
    }
}

#[derive(Default)]
struct JsonFields {
    message: String,
    others: Map<String, Value>,
}

impl Visit for JsonFields {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message.push_str(value);
        } else {
            self.others.insert(field.name().to_owned(), value.into());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.others.insert(field.name().to_owned(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.others.insert(field.name().to_owned(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.others.insert(field.name().to_owned(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.others.insert(field.name().to_owned(), value.into());
    }
}

fn level(event: &Event<'_>) -> String {
    event.metadata().level().as_str().to_ascii_lowercase()
}

/// The crate that speaks, by its own name.
fn part<'a>(event: &Event<'a>) -> &'a str {
    let target = event.metadata().target();
    let name = target.split("::").next().unwrap_or_default();
    name.strip_prefix("narthex_").unwrap_or(name)
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

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(
        format: impl FormatEvent<
            tracing_subscriber::Registry,
            tracing_subscriber::fmt::format::DefaultFields,
        > + Send
        + Sync
        + 'static,
    ) -> String {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .event_format(format)
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(target: "narthex_tsdb::db", count = 3, path = "a b", "no \"space\"");
        });
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn both_formats_have_the_same_keys() {
        let line = logged(Logfmt);
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(time.starts_with("time=20") && time.ends_with('Z'), "{line}");
        assert_eq!(
            rest,
            "level=warn part=tsdb msg=\"no \\\"space\\\"\" count=3 path=\"a b\"\n"
        );

        let line = logged(Json);
        let (time, rest) = line.split_once(',').unwrap();
        assert!(time.starts_with("{\"time\":\"20"), "{line}");
        assert_eq!(
            rest,
            "\"level\":\"warn\",\"part\":\"tsdb\",\"msg\":\"no \\\"space\\\"\",\"count\":3,\"path\":\"a b\"}\n"
        );
        assert_eq!(line.lines().count(), 1);
    }
}
