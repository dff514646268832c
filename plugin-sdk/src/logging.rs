//! Joins the macros of `tracing` to the host's log.
//!
//! An event becomes one line: its message, then its other fields as `name=value`. The spans it lies
//! in stand before it.

use std::cell::RefCell;
use std::fmt::{self, Write};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::host::log;

/// Lets the macros write here, unless the program has chosen something else before.
pub(crate) fn install() {
    // An error says that it is done already.
    let _done = tracing::subscriber::set_global_default(HostLog);
}

struct HostLog;

thread_local! {
    static SPANS: RefCell<Spans> = RefCell::default();
}

/// There are never many, so lists do; and they keep plugins small.
#[derive(Default)]
struct Spans {
    last_id: u64,
    known: Vec<Span>,
    /// Those that are entered, the innermost last.
    entered: Vec<u64>,
}

impl Spans {
    fn get_mut(&mut self, id: u64) -> Option<&mut Span> {
        self.known.iter_mut().find(|span| span.id == id)
    }
}

struct Span {
    id: u64,
    text: String,
    holders: usize,
}

impl Subscriber for HostLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::DEBUG
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(tracing::level_filters::LevelFilter::DEBUG)
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut line = Line::default();
        attributes.record(&mut line);
        let name = attributes.metadata().name();
        let text = format!("{name}{}", line.fields);
        SPANS.with_borrow_mut(|spans| {
            spans.last_id += 1;
            let id = spans.last_id;
            let holders = 1;
            spans.known.push(Span { id, text, holders });
            Id::from_u64(id)
        })
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let mut line = Line::default();
        values.record(&mut line);
        SPANS.with_borrow_mut(|spans| {
            if let Some(span) = spans.get_mut(span.into_u64()) {
                span.text.push_str(&line.fields);
            }
        });
    }

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        let mut text = String::new();
        SPANS.with_borrow_mut(|spans| {
            for at in 0..spans.entered.len() {
                if let Some(span) = spans.get_mut(spans.entered[at]) {
                    text.push_str(&span.text);
                    text.push_str(": ");
                }
            }
        });
        text.push_str(&line.message);
        // Without a message the fields begin the line.
        text.push_str(match line.message.is_empty() {
            true => line.fields.trim_start(),
            false => &line.fields,
        });
        log::write(level(*event.metadata().level()), text);
    }

    fn enter(&self, span: &Id) {
        SPANS.with_borrow_mut(|spans| spans.entered.push(span.into_u64()));
    }

    fn exit(&self, span: &Id) {
        SPANS.with_borrow_mut(|spans| {
            let id = span.into_u64();
            if let Some(at) = spans.entered.iter().rposition(|entered| *entered == id) {
                spans.entered.remove(at);
            }
        });
    }

    fn clone_span(&self, span: &Id) -> Id {
        SPANS.with_borrow_mut(|spans| {
            if let Some(span) = spans.get_mut(span.into_u64()) {
                span.holders += 1;
            }
        });
        span.clone()
    }

    fn try_close(&self, span: Id) -> bool {
        SPANS.with_borrow_mut(|spans| {
            let id = span.into_u64();
            let Some(span) = spans.get_mut(id) else {
                return false;
            };
            span.holders -= 1;
            let is_last = span.holders == 0;
            if is_last {
                spans.known.retain(|known| known.id != id);
            }
            is_last
        })
    }
}

fn level(level: Level) -> log::Level {
    match level {
        Level::ERROR => log::Level::Error,
        Level::WARN => log::Level::Warn,
        Level::INFO => log::Level::Info,
        _ => log::Level::Debug,
    }
}

#[derive(Default)]
struct Line {
    message: String,
    /// Each with a space before it.
    fields: String,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message.push_str(value),
            _ => self.record_debug(field, &value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail, save where the value itself gives an error; then what
        // it had written stands.
        let _written = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use crate::fake::{Host, Level};

    #[test]
    fn lines_have_message_fields_and_spans() {
        let host = Host::install();
        tracing::info!("found {} targets", 3);
        tracing::warn!(path = "/a b", size = 7, error = %"gone", "cannot read");
        tracing::error!(code = 4);
        tracing::trace!("not this one");
        let span = tracing::info_span!("refresh", url = "x", more = tracing::field::Empty);
        span.record("more", 1);
        let kept = span.clone();
        span.in_scope(|| {
            tracing::debug_span!("page").in_scope(|| tracing::debug!("inside"));
        });
        drop(span);
        kept.in_scope(|| tracing::info!("still"));
        drop(kept);
        tracing::info!("outside");
        assert_eq!(
            host.logged(),
            [
                (Level::Info, "found 3 targets"),
                (Level::Warn, "cannot read path=\"/a b\" size=7 error=gone"),
                (Level::Error, "code=4"),
                (Level::Debug, "refresh url=\"x\" more=1: page: inside"),
                (Level::Info, "refresh url=\"x\" more=1: still"),
                (Level::Info, "outside"),
            ]
            .map(|(level, line)| (level, line.to_owned()))
        );
        super::SPANS.with_borrow(|spans| assert!(spans.known.is_empty()));
    }
}
