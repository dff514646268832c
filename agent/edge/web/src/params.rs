//! Parameters: those of the URL and those of a form in the body, together, as Prometheus has it.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{Method, header};
use narthex_model::{Matcher, duration, number};
use narthex_promql::syntax;

use crate::respond::ApiError;

/// The largest form that is read.
const FORM_BYTES_MAX: usize = 10 << 20;

/// The earliest and the latest time that upstream writes where it has none.
pub(crate) const MIN_TIME_MS: i64 = -9_223_309_901_257_974_000;
pub(crate) const MAX_TIME_MS: i64 = 9_223_309_901_257_974_999;

pub(crate) struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequest<S> for Params {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let mut pairs = parse_pairs(request.uri().query().unwrap_or("").as_bytes());
        let is_form = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.starts_with("application/x-www-form-urlencoded"));
        if request.method() == Method::POST && is_form {
            let limited = request.map(|body| {
                axum::body::Body::new(http_body_util::Limited::new(body, FORM_BYTES_MAX))
            });
            let body = Bytes::from_request(limited, state)
                .await
                .map_err(|e| ApiError::bad_data(format!("error parsing form values: {e}")))?;
            // The body goes first: a single-valued parameter is taken from there.
            let mut form = parse_pairs(&body);
            form.append(&mut pairs);
            pairs = form;
        }
        Ok(Params(pairs))
    }
}

fn parse_pairs(encoded: &[u8]) -> Vec<(String, String)> {
    url::form_urlencoded::parse(encoded).into_owned().collect()
}

impl Params {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(n, _)| n == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// The text of a parameter that must be there.
    pub(crate) fn required(&self, name: &str) -> &str {
        self.get(name).unwrap_or("")
    }

    /// A time that may be absent.
    pub(crate) fn time_ms_or(&self, name: &str, absent_ms: i64) -> Result<i64, ApiError> {
        let Some(text) = self.get(name) else {
            return Ok(absent_ms);
        };
        parse_time_ms(text).map_err(|why| {
            ApiError::bad_parameter(name, format!("invalid time value for '{name}': {why}"))
        })
    }

    pub(crate) fn required_time_ms(&self, name: &str) -> Result<i64, ApiError> {
        parse_time_ms(self.required(name)).map_err(|e| ApiError::bad_parameter(name, e))
    }

    pub(crate) fn duration_ms(&self, name: &str) -> Result<Option<i64>, ApiError> {
        self.duration_ms_plain(name)
            .map_err(|why| ApiError::bad_parameter(name, why))
    }

    /// With no more than the reason as the error.
    pub(crate) fn duration_ms_plain(&self, name: &str) -> Result<Option<i64>, String> {
        self.get(name).map(parse_duration_ms).transpose()
    }

    /// 0 and absence mean no limit.
    pub(crate) fn limit(&self, name: &str) -> Result<usize, ApiError> {
        let Some(text) = self.get(name) else {
            return Ok(0);
        };
        match text.parse::<i64>() {
            Ok(limit) if limit >= 0 => Ok(usize::try_from(limit).unwrap_or(usize::MAX)),
            Ok(_) => Err(ApiError::bad_parameter(name, "limit must be non-negative")),
            Err(_) => Err(ApiError::bad_parameter(
                name,
                format!("strconv.Atoi: parsing {text:?}: invalid syntax"),
            )),
        }
    }

    /// As [`Params::limit`] for lists of metadata: absence and less than 0 mean no limit, 0 means
    /// nothing.
    pub(crate) fn metadata_limit(&self, name: &str) -> Result<usize, ApiError> {
        let Some(text) = self.get(name) else {
            return Ok(usize::MAX);
        };
        let limit: i64 = text
            .parse()
            .map_err(|_| ApiError::bad_data(format!("{name} must be a number")))?;
        Ok(usize::try_from(limit).unwrap_or(usize::MAX))
    }

    /// `true` or `false` (also 1, 0, t, f); absence gives `default`.
    pub(crate) fn flag(&self, name: &str, default: bool) -> Result<bool, ApiError> {
        match self.get(name).map(str::to_ascii_lowercase).as_deref() {
            None => Ok(default),
            Some("true" | "1" | "t") => Ok(true),
            Some("false" | "0" | "f") => Ok(false),
            Some(other) => Err(ApiError::bad_parameter(
                name,
                format!("{other:?} is not true or false"),
            )),
        }
    }

    /// The selectors given as `match[]`. Each must ask for something.
    pub(crate) fn matcher_sets(&self) -> Result<Vec<Vec<Matcher>>, ApiError> {
        let sets = self.selectors("match[]")?;
        let asks = |set: &Vec<Matcher>| set.iter().any(|matcher| !matcher.matches_empty());
        if sets.iter().all(asks) {
            Ok(sets)
        } else {
            let message = "match[] must contain at least one non-empty matcher";
            Err(ApiError::bad_data(message))
        }
    }

    /// Selectors that may ask for everything.
    pub(crate) fn selectors(&self, name: &str) -> Result<Vec<Vec<Matcher>>, ApiError> {
        let parse =
            |text| syntax::parse_any_selector(text).map_err(|e| ApiError::bad_data(e.to_string()));
        self.all(name).map(parse).collect()
    }
}

/// A time as the API takes it: Unix seconds with a fraction, or RFC 3339.
pub fn parse_time_ms(text: &str) -> Result<i64, String> {
    match text {
        "-292273086-05-16T16:47:06Z" => return Ok(MIN_TIME_MS),
        "292277025-08-18T07:12:54.999999999Z" => return Ok(MAX_TIME_MS),
        _ => {}
    }
    let error = || format!("cannot parse {text:?} to a valid timestamp");
    if let Some(seconds) = number::parse_float(text) {
        let ms = (seconds * 1000.0).round();
        return if ms.abs() < 9.2e18 {
            Ok(ms as i64)
        } else {
            Err(error())
        };
    }
    let time: jiff::Timestamp = text.parse().map_err(|_| error())?;
    Ok(time.as_millisecond())
}

/// Seconds with a fraction, or a Prometheus duration.
fn parse_duration_ms(text: &str) -> Result<i64, String> {
    if let Some(seconds) = number::parse_float(text) {
        let ms = seconds * 1000.0;
        return if ms.abs() < 9.2e15 {
            Ok(ms as i64)
        } else {
            Err(format!(
                "cannot parse {text:?} to a valid duration. It overflows int64"
            ))
        };
    }
    match duration::parse_ms(text) {
        Ok(ms) => Ok(i64::try_from(ms).unwrap_or(i64::MAX)),
        Err(_) => Err(format!("cannot parse {text:?} to a valid duration")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1.5", Some(1500)),
            ("1.0006", Some(1001)),
            ("-3", Some(-3000)),
            ("2015-07-01T20:10:51.781Z", Some(1_435_781_451_781)),
            ("2015-07-01T20:10:51+02:00", Some(1_435_774_251_000)),
            ("-292273086-05-16T16:47:06Z", Some(MIN_TIME_MS)),
            ("292277025-08-18T07:12:54.999999999Z", Some(MAX_TIME_MS)),
            ("", None),
            ("abc", None),
            ("30s", None),
            ("NaN", None),
            ("1e300", None),
        ] {
            assert_eq!(parse_time_ms(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, expected) in [
            ("0.5", Some(500)),
            ("5m", Some(300_000)),
            ("x", None),
            ("1e300", None),
            ("NaN", None),
        ] {
            assert_eq!(parse_duration_ms(text).ok(), expected, "{text}");
        }
    }
}
