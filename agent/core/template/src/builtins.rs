//! The functions that every template may call: Go's.

use crate::functions::{Param, text, value};
use crate::printf::{sprint, sprintf, sprintln};
use crate::value::{BoundedText, Value};
use crate::{MAX_OUTPUT_BYTES, escape};

pub(crate) struct Builtin {
    pub(crate) params: &'static [Param],
    pub(crate) variadic: Option<Param>,
    pub(crate) call: fn(&[Value]) -> Result<Value, String>,
}

/// Whether a name is that of a built-in function, `and` and `or` included, which are run by the
/// engine because they don't evaluate all their arguments.
pub(crate) fn is_builtin(name: &str) -> bool {
    matches!(name, "and" | "or") || find(name).is_some()
}

pub(crate) fn find(name: &str) -> Option<Builtin> {
    use Param::{Any, String};
    let builtin = |params, call| Builtin {
        params,
        variadic: None,
        call,
    };
    let variadic = |params, rest, call| Builtin {
        params,
        variadic: Some(rest),
        call,
    };
    Some(match name {
        "call" => variadic(&[Any], Any, call),
        "eq" => variadic(&[Any], Any, eq),
        "ge" => builtin(&[Any, Any], |args| order(args, |less, _| !less)),
        "gt" => builtin(&[Any, Any], |args| {
            order(args, |less, equal| !(less || equal))
        }),
        "html" => variadic(&[], Any, |args| {
            printed(args).map(|t| escape::html(&t).into())
        }),
        "index" => variadic(&[Any], Any, index),
        "js" => variadic(&[], Any, |args| {
            printed(args).map(|t| escape::js(&t).into())
        }),
        "le" => builtin(&[Any, Any], |args| order(args, |less, equal| less || equal)),
        "len" => builtin(&[Any], len),
        "lt" => builtin(&[Any, Any], |args| order(args, |less, _| less)),
        "ne" => builtin(&[Any, Any], |args| {
            equal(value(args, 0), value(args, 1)).map(|equal| Value::Bool(!equal))
        }),
        "not" => builtin(&[Any], |args| Ok(Value::Bool(!value(args, 0).is_true()))),
        "print" => variadic(&[], Any, |args| {
            let mut out = BoundedText::new(MAX_OUTPUT_BYTES);
            sprint(args, &mut out)?;
            Ok(out.into_string().into())
        }),
        "printf" => variadic(&[String], Any, |args| {
            let rest = args.get(1..).unwrap_or(&[]);
            Ok(sprintf(text(args, 0), rest, MAX_OUTPUT_BYTES)?.into())
        }),
        "println" => variadic(&[], Any, |args| {
            let mut out = BoundedText::new(MAX_OUTPUT_BYTES);
            sprintln(args, &mut out)?;
            Ok(out.into_string().into())
        }),
        "slice" => variadic(&[Any], Any, slice),
        "urlquery" => variadic(&[], Any, |args| {
            printed(args).map(|t| escape::url_query(&t).into())
        }),
        _ => return None,
    })
}

/// What the escaping functions escape: the arguments as they would be printed.
fn printed(args: &[Value]) -> Result<String, String> {
    let mut out = BoundedText::new(MAX_OUTPUT_BYTES);
    let shown = |arg: &Value| match arg {
        Value::Nil => Value::string("<no value>"),
        arg => arg.clone(),
    };
    let args: Vec<Value> = args.iter().map(shown).collect();
    sprint(&args, &mut out)?;
    Ok(out.into_string())
}

/// Values here are never functions.
fn call(args: &[Value]) -> Result<Value, String> {
    match value(args, 0) {
        Value::Nil => Err("call of nil".to_owned()),
        other => Err(format!("non-function of type {}", other.type_name())),
    }
}

/// Kinds that compare with each other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bool,
    Int,
    Float,
    String,
    Other,
}

fn kind(value: &Value) -> Kind {
    match value {
        Value::Bool(_) => Kind::Bool,
        Value::Int(_) | Value::DurationNs(_) => Kind::Int,
        Value::Float(_) => Kind::Float,
        Value::String(_) => Kind::String,
        _ => Kind::Other,
    }
}

fn eq(args: &[Value]) -> Result<Value, String> {
    let Some((first, others)) = args.split_first().filter(|(_, others)| !others.is_empty()) else {
        return Err("missing argument for comparison".to_owned());
    };
    for other in others {
        if equal(first, other)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn equal(a: &Value, b: &Value) -> Result<bool, String> {
    match (a, b) {
        (Value::Nil, other) | (other, Value::Nil) => Ok(matches!(other, Value::Nil)),
        (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
        (Value::Int(a) | Value::DurationNs(a), Value::Int(b) | Value::DurationNs(b)) => Ok(a == b),
        (Value::Float(a), Value::Float(b)) => Ok(a == b),
        (Value::String(a), Value::String(b)) => Ok(a == b),
        (Value::Time(a), Value::Time(b)) => Ok(a == b),
        (a, b) if kind(a) != kind(b) => Err(incompatible(a, b)),
        (_, b) => Err(format!("non-comparable type {b}: {}", b.type_name())),
    }
}

/// Gives what `decide` makes of "less" and "equal". A NaN is neither.
fn order(args: &[Value], decide: fn(bool, bool) -> bool) -> Result<Value, String> {
    let (a, b) = (value(args, 0), value(args, 1));
    let (less, equal) = match (a, b) {
        (Value::Int(a) | Value::DurationNs(a), Value::Int(b) | Value::DurationNs(b)) => {
            (a < b, a == b)
        }
        (Value::Float(a), Value::Float(b)) => (a < b, a == b),
        (Value::String(a), Value::String(b)) => (a < b, a == b),
        (a, b) if kind(a) == Kind::Other || kind(b) == Kind::Other || kind(a) == kind(b) => {
            return Err("invalid type for comparison".to_owned());
        }
        (a, b) => return Err(incompatible(a, b)),
    };
    Ok(Value::Bool(decide(less, equal)))
}

fn incompatible(a: &Value, b: &Value) -> String {
    let (a, b) = (a.type_name(), b.type_name());
    format!("incompatible types for comparison: {a} and {b}")
}

fn len(args: &[Value]) -> Result<Value, String> {
    let length = match value(args, 0) {
        Value::String(text) => text.len(),
        Value::List(list) => list.items.len(),
        Value::Map(map) => map.entries.len(),
        Value::Nil => return Err("len of untyped nil".to_owned()),
        other => return Err(format!("len of type {}", other.type_name())),
    };
    Ok(Value::Int(i64::try_from(length).unwrap_or(i64::MAX)))
}

fn index(args: &[Value]) -> Result<Value, String> {
    let Some((first, indexes)) = args.split_first() else {
        return Ok(Value::Nil);
    };
    if matches!(first, Value::Nil) {
        return Err("index of untyped nil".to_owned());
    }
    let mut item = first.clone();
    for index in indexes {
        item = index_one(&item, index)?;
    }
    Ok(item)
}

fn index_one(item: &Value, index: &Value) -> Result<Value, String> {
    match item {
        Value::List(list) => {
            let at = position(index, list.items.len())?;
            let found = list.items.get(at).cloned();
            found.ok_or_else(|| "reflect: slice index out of range".to_owned())
        }
        Value::String(text) => {
            let at = position(index, text.len())?;
            let byte = text.as_bytes().get(at).copied();
            let byte = byte.ok_or_else(|| "reflect: string index out of range".to_owned())?;
            Ok(Value::Int(i64::from(byte)))
        }
        Value::Map(map) => match index {
            Value::String(key) => Ok(map.entries.get(key).unwrap_or(&map.missing).clone()),
            Value::Nil => Err("value is nil; should be of type string".to_owned()),
            other => Err(format!(
                "value has type {}; should be string",
                other.type_name()
            )),
        },
        Value::Nil => Err("index of nil pointer".to_owned()),
        other => Err(format!("can't index item of type {}", other.type_name())),
    }
}

/// An index into something of that length; the length itself is allowed, as the end of a slice.
fn position(index: &Value, length: usize) -> Result<usize, String> {
    let at = match index {
        Value::Int(at) => *at,
        Value::Nil => return Err("cannot index slice/array with nil".to_owned()),
        other => {
            let type_name = other.type_name();
            return Err(format!("cannot index slice/array with type {type_name}"));
        }
    };
    usize::try_from(at)
        .ok()
        .filter(|at| *at <= length)
        .ok_or_else(|| format!("index out of range: {at}"))
}

fn slice(args: &[Value]) -> Result<Value, String> {
    let Some((item, indexes)) = args.split_first() else {
        return Ok(Value::Nil);
    };
    if indexes.len() > 3 {
        return Err(format!("too many slice indexes: {}", indexes.len()));
    }
    let length = match item {
        Value::String(_) if indexes.len() == 3 => {
            return Err("cannot 3-index slice a string".to_owned());
        }
        Value::String(text) => text.len(),
        Value::List(list) => list.items.len(),
        Value::Nil => return Err("slice of untyped nil".to_owned()),
        other => return Err(format!("can't slice item of type {}", other.type_name())),
    };
    let mut bounds = [0, length, length];
    for (bound, index) in bounds.iter_mut().zip(indexes) {
        *bound = position(index, length)?;
    }
    let [start, end, capacity] = bounds;
    if start > end {
        return Err(format!("invalid slice index: {start} > {end}"));
    }
    if end > capacity {
        return Err(format!("invalid slice index: {end} > {capacity}"));
    }
    Ok(match item {
        Value::List(list) => {
            let items = list.items.get(start..end).unwrap_or(&[]).to_vec();
            Value::typed_list(list.type_name, items, list.methods)
        }
        item => {
            // A cut through a character leaves a replacement character.
            let bytes = item.as_str().unwrap_or("").as_bytes();
            let part = bytes.get(start..end).unwrap_or(&[]);
            Value::string(String::from_utf8_lossy(part))
        }
    })
}
