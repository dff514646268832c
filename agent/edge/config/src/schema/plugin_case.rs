//! The shape of a plugin's test case: `case.yml`, and `http.yml` with recorded answers.

use jiff::Timestamp;
use narthex_plugin_host::replay::{Failure, NameKind};

use super::narthex::{GRANT, is_method};
use super::{Kind, Object, TEXT_MAP, any_key, at_most_one, checked, choice, duration, field};
use super::{flag, required, text, texts};

pub(crate) static CASE: Object = Object::new(
    "a case (config, clock, collections, …)",
    &[&[
        field("config", Kind::Map(any_key, &Kind::Anything)),
        text("base_directory"),
        field("grant", Kind::Object(&GRANT)),
        checked("clock", is_time),
        field("collections", Kind::Whole(1, 10_000)),
        field("interval", Kind::PositiveDuration),
        duration("duration"),
        field("environment", TEXT_MAP),
        field("dns", Kind::Objects(&LOOKUP)),
        field("queries", Kind::Objects(&QUERY)),
        field("system", Kind::Anything),
    ]],
);

fn is_time(text: &str) -> Result<(), String> {
    match text.parse::<Timestamp>() {
        Ok(_) => Ok(()),
        Err(_) => Err(format!(
            "expected a time as in 2026-01-01T00:00:00Z, got `{text}`"
        )),
    }
}

static LOOKUP: Object = Object::new(
    "a look-up (name, type, records)",
    &[&[
        required("name", Kind::Text),
        required("type", Kind::Choice(&NameKind::NAMES)),
        texts("records"),
    ]],
);

static QUERY: Object = Object::new(
    "a query (expr, series)",
    &[&[
        required("expr", Kind::Text),
        field("series", Kind::Objects(&SERIES)),
    ]],
);

static SERIES: Object = Object::new(
    "a series (labels, values)",
    &[&[
        field("labels", TEXT_MAP),
        field("values", Kind::List(&Kind::Number(f64::MIN, f64::MAX))),
    ]],
);

pub(crate) static EXCHANGE: Object = Object::new(
    "a recorded answer (url, status, body, …)",
    &[&[
        required("url", Kind::Checked(super::is_http_url)),
        checked("method", is_method),
        field("status", Kind::Whole(100, 599)),
        field("headers", TEXT_MAP),
        text("body"),
        text("body_file"),
        flag("stays_open"),
        choice("error", &Failure::NAMES),
    ]],
)
.with(&[|node, faults| {
    at_most_one(node, &["body", "body_file", "error"], faults);
    at_most_one(node, &["status", "error"], faults);
}]);
