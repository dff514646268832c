//! What the templates of notifications may use: Alertmanager's functions, and its lists and maps
//! with their methods.
//!
//! `routeLabels` is not here: it needs the route, so the notifier adds it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use narthex_model::number;

use crate::escape::url_query_unescape;
use crate::functions::{Functions, Param, text, value};
use crate::humanize as readable;
use crate::time::Time;
use crate::value::{BoundedText, TooLong, Value};

/// Whether a notification template may call a function of that name, besides the built-in ones.
pub fn is_function(name: &str) -> bool {
    name == "routeLabels" || functions(0).get(name).is_some()
}

/// The functions for one expansion; `now_ms` is the only clock they have.
pub fn functions(now_ms: i64) -> Functions<'static> {
    let mut functions = Functions::default();
    add_text_functions(&mut functions);
    add_time_functions(&mut functions, now_ms);
    add_container_functions(&mut functions);
    functions.add("toJson", &[Param::Any], |args| {
        let mut out = BoundedText::new(crate::MAX_OUTPUT_BYTES);
        write_json(&mut out, value(args, 0))?;
        Ok(out.into_string().into())
    });
    functions
}

/// Labels or annotations, with Alertmanager's methods.
pub fn key_values<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Value {
    Value::typed_string_map("template.KV", pairs, Some(key_value_methods))
}

/// Alerts (structs with a field `Status`), with the methods `Firing` and `Resolved`.
pub fn alerts(alerts: Vec<Value>) -> Value {
    Value::typed_list("template.Alerts", alerts, Some(alerts_methods))
}

const TEXT: &[Param] = &[Param::String];
const TIME: Param = Param::Type("time.Time");

fn add_text_functions(functions: &mut Functions<'_>) {
    let mut add = |name, change: fn(&str) -> Result<String, String>| {
        functions.add(name, TEXT, move |args| {
            change(text(args, 0)).map(Value::from)
        });
    };
    add("toUpper", |t| Ok(readable::to_upper(t)));
    add("toLower", |t| Ok(readable::to_lower(t)));
    add("title", |t| Ok(readable::title_lowering(t)));
    add("trimSpace", |t| Ok(t.trim().to_owned()));
    add("safeHtml", |t| Ok(t.to_owned()));
    add("safeUrl", |t| Ok(t.to_owned()));
    add("urlUnescape", |t| {
        url_query_unescape(t).ok_or_else(|| "invalid URL escape".to_owned())
    });
    add("base64encode", |t| Ok(base64_encode(t.as_bytes())));
    add("base64decode", |t| {
        base64_decode(t).ok_or_else(|| "illegal base64 data".to_owned())
    });
    functions.add("match", &[Param::String, Param::String], |args| {
        readable::is_match(text(args, 0), text(args, 1)).map(Value::Bool)
    });
    let three_texts = &[Param::String, Param::String, Param::String];
    functions.add("reReplaceAll", three_texts, |args| {
        let replaced = readable::replace_all(text(args, 0), text(args, 1), text(args, 2));
        replaced.map(Value::from)
    });
    functions.add("join", &[Param::String, Param::Any], |args| {
        join(text(args, 0), value(args, 1))
    });
}

fn add_time_functions(functions: &mut Functions<'_>, now_ms: i64) {
    // A time that can't be told is the zero time, as where none is given.
    let now = move || Time::from_unix_ms(now_ms).unwrap_or_else(Time::zero);
    functions.add("now", &[], move |_| Ok(Value::Time(now())));
    functions.add("since", &[TIME], move |args| {
        let Value::Time(then) = value(args, 0) else {
            return Err("there is no time: the value is nil".to_owned());
        };
        let ns = now().unix_ns() - then.unix_ns();
        Ok(Value::DurationNs(i64::try_from(ns).unwrap_or(i64::MAX)))
    });
    functions.add("date", &[Param::String, TIME], |args| {
        match value(args, 1) {
            Value::Time(time) => Ok(time.format(text(args, 0)).into()),
            _ => Err("there is no time: the value is nil".to_owned()),
        }
    });
    functions.add("tz", &[Param::String, TIME], |args| {
        let Value::Time(time) = value(args, 1) else {
            return Err("there is no time: the value is nil".to_owned());
        };
        let zone = text(args, 0);
        let moved = time.in_zone(zone);
        moved
            .map(Value::Time)
            .ok_or_else(|| format!("unknown time zone {zone}"))
    });
    functions.add("toDate", &[Param::String, Param::String], |args| {
        let parsed = Time::parse(text(args, 0), text(args, 1));
        Ok(Value::Time(parsed.unwrap_or_else(Time::zero)))
    });
    functions.add("mustToDate", &[Param::String, Param::String], |args| {
        let (layout, given) = (text(args, 0), text(args, 1));
        let parsed = Time::parse(layout, given);
        parsed.map(Value::Time).ok_or_else(|| {
            format!("parsing time {given:?} as {layout:?}: the text does not follow the layout")
        })
    });
    functions.add("humanizeDuration", &[Param::Any], |args| {
        let seconds = readable::to_float(value(args, 0))?;
        Ok(readable::humanize_duration(seconds).into())
    });
}

fn add_container_functions(functions: &mut Functions<'_>) {
    functions.add_variadic("stringSlice", &[], Param::String, |args| {
        Ok(Value::typed_list("[]string", args.to_vec(), None))
    });
    functions.add_variadic("list", &[], Param::Any, |args| {
        Ok(Value::list(args.to_vec()))
    });
    functions.add_variadic("append", &[Param::Any], Param::Any, |args| {
        let mut items = match value(args, 0) {
            Value::List(list) => list.items.clone(),
            Value::Nil => Vec::new(),
            other => return Err(format!("can't append to {}", other.type_name())),
        };
        items.extend_from_slice(args.get(1..).unwrap_or(&[]));
        Ok(Value::list(items))
    });
    functions.add_variadic("dict", &[], Param::Any, |args| {
        let mut entries: BTreeMap<Arc<str>, Value> = BTreeMap::new();
        for pair in args.chunks(2) {
            match pair {
                [Value::String(key), value] => entries.insert(key.clone(), value.clone()),
                [_, _] => return Err("dict keys must be strings".to_owned()),
                _ => return Err("dict requires an even number of arguments".to_owned()),
            };
        }
        Ok(Value::map(entries))
    });
}

fn join(separator: &str, list: &Value) -> Result<Value, String> {
    let Value::List(list) = list else {
        let type_name = list.type_name();
        return Err(format!("can't join {type_name}, only lists of strings"));
    };
    let mut out = BoundedText::new(crate::MAX_OUTPUT_BYTES);
    for (at, item) in list.items.iter().enumerate() {
        if at > 0 {
            out.push_str(separator)?;
        }
        item.print(&mut out)?;
    }
    Ok(out.into_string().into())
}

fn key_value_methods(
    receiver: &Value,
    name: &str,
    args: &[Value],
) -> Option<Result<Value, String>> {
    let Value::Map(map) = receiver else {
        return None;
    };
    let pairs = || sorted_pairs(&map.entries);
    let value = match (name, args) {
        ("SortedPairs", []) => pairs(),
        ("Names" | "Values" | "String", []) => return pairs_methods(&pairs(), name, args),
        ("Remove", [Value::List(names)]) => {
            let removed = |key: &str| names.items.iter().any(|n| n.as_str() == Some(key));
            let kept = map.entries.iter().filter(|(key, _)| !removed(key));
            key_values(kept.map(|(key, value)| (&**key, value.as_str().unwrap_or(""))))
        }
        _ => return None,
    };
    Some(Ok(value))
}

/// `alertname` first, then by name.
fn sorted_pairs(entries: &BTreeMap<Arc<str>, Value>) -> Value {
    const FIRST: &str = "alertname";
    let first = entries.get_key_value(FIRST).into_iter();
    let others = entries.iter().filter(|(key, _)| &***key != FIRST);
    let pair = |(key, value): (&Arc<str>, &Value)| {
        let fields = vec![
            ("Name", Value::String(key.clone())),
            ("Value", value.clone()),
        ];
        Value::structure("template.Pair", fields, None)
    };
    let pairs = first.chain(others).map(pair).collect();
    Value::typed_list("template.Pairs", pairs, Some(pairs_methods))
}

fn pairs_methods(receiver: &Value, name: &str, args: &[Value]) -> Option<Result<Value, String>> {
    let Value::List(list) = receiver else {
        return None;
    };
    if !args.is_empty() {
        return None;
    }
    let pairs = list
        .items
        .iter()
        .map(|pair| (field(pair, "Name"), field(pair, "Value")));
    let value = match name {
        "Names" => Value::typed_list("[]string", pairs.map(|(name, _)| name).collect(), None),
        "Values" => Value::typed_list("[]string", pairs.map(|(_, value)| value).collect(), None),
        "String" => {
            let shown: Vec<String> = pairs
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            shown.join(", ").into()
        }
        _ => return None,
    };
    Some(Ok(value))
}

fn alerts_methods(receiver: &Value, name: &str, args: &[Value]) -> Option<Result<Value, String>> {
    let status = match (name, args) {
        ("Firing", []) => "firing",
        ("Resolved", []) => "resolved",
        _ => return None,
    };
    let Value::List(list) = receiver else {
        return None;
    };
    let wanted = |alert: &&Value| field(alert, "Status").as_str() == Some(status);
    Some(Ok(alerts(
        list.items.iter().filter(wanted).cloned().collect(),
    )))
}

fn field(structure: &Value, name: &str) -> Value {
    let Value::Struct(structure) = structure else {
        return Value::Nil;
    };
    let found = structure.fields.iter().find(|(n, _)| *n == name);
    found.map_or(Value::Nil, |(_, value)| value.clone())
}

/// JSON as Go's encoder writes it.
fn write_json(out: &mut BoundedText, value: &Value) -> Result<(), TooLong> {
    match value {
        Value::Nil => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Int(value) | Value::DurationNs(value) => out.push_str(&value.to_string()),
        // JSON has no numbers that are not finite.
        Value::Float(value) if !value.is_finite() => out.push_str("null"),
        Value::Float(value) => out.push_str(&number::format_json(*value)),
        Value::String(text) => write_json_text(out, text),
        Value::Time(time) => {
            write_json_text(out, &time.format("2006-01-02T15:04:05.999999999Z07:00"))
        }
        Value::List(list) => write_json_items(out, ["[", "]"], &list.items, |item, out| {
            write_json(out, item)
        }),
        Value::Map(map) => write_json_items(out, ["{", "}"], &map.entries, |(key, item), out| {
            write_json_text(out, key)?;
            out.push_str(":")?;
            write_json(out, item)
        }),
        Value::Struct(structure) => {
            write_json_items(out, ["{", "}"], &structure.fields, |(name, item), out| {
                write_json_text(out, &json_name(structure.type_name, name))?;
                out.push_str(":")?;
                write_json(out, item)
            })
        }
    }
}

/// Fields are written in lower camel case, as in the webhook's payload; those of a pair as they
/// are.
fn json_name(type_name: &str, field: &str) -> String {
    let mut chars = field.chars();
    match chars.next() {
        Some(first) if type_name != "template.Pair" => first.to_lowercase().chain(chars).collect(),
        _ => field.to_owned(),
    }
}

fn write_json_items<T>(
    out: &mut BoundedText,
    [open, close]: [&str; 2],
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(T, &mut BoundedText) -> Result<(), TooLong>,
) -> Result<(), TooLong> {
    out.push_str(open)?;
    for (at, item) in items.into_iter().enumerate() {
        if at > 0 {
            out.push_str(",")?;
        }
        write(item, out)?;
    }
    out.push_str(close)
}

/// What HTML gives a meaning to is escaped as well.
fn write_json_text(out: &mut BoundedText, text: &str) -> Result<(), TooLong> {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for c in text.chars() {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            '\u{8}' => json.push_str("\\b"),
            '\u{c}' => json.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..' ' => {
                // Writing into a String does not fail.
                let _ = write!(json, "\\u{:04x}", c as u32);
            }
            c => json.push(c),
        }
    }
    json.push('"');
    out.push_str(&json)
}

const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Base 64 in the alphabet for URLs, padded.
fn base64_encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut three = [0; 3];
        three[..chunk.len()].copy_from_slice(chunk);
        let [a, b, c] = three.map(u32::from);
        let bits = a << 16 | b << 8 | c;
        for at in 0..4 {
            if at > chunk.len() {
                out.push('=');
            } else {
                let index = bits >> (18 - 6 * at) & 63;
                out.push(char::from(BASE64_URL[index as usize]));
            }
        }
    }
    out
}

fn base64_decode(text: &str) -> Option<String> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let digits = text
        .strip_suffix("==")
        .or(text.strip_suffix('='))
        .unwrap_or(text);
    let mut out = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    for chunk in digits.as_bytes().chunks(4) {
        let mut bits = 0u32;
        for byte in chunk {
            let value = BASE64_URL.iter().position(|digit| digit == byte)?;
            bits = bits << 6 | u32::try_from(value).ok()?;
        }
        bits <<= 6 * (4 - chunk.len());
        let [_, bytes @ ..] = bits.to_be_bytes();
        out.extend_from_slice(bytes.get(..chunk.len().checked_sub(1)?)?);
    }
    Some(String::from_utf8_lossy(&out).into_owned())
}
