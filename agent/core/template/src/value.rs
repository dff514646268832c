//! The values that a template works on, and how they are printed.
//!
//! They keep Go's distinctions as far as a template can see them: whole numbers and floats don't
//! compare, a map knows what it gives for a missing key, structs have fixed fields. Nesting is
//! bounded when a template builds values, so that printing and dropping them are.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use narthex_model::{Labels, number};

use crate::time::{Time, format_duration};

/// How deep lists and maps built by a template may be nested in each other.
pub(crate) const MAX_VALUE_DEPTH: u32 = 100;

#[derive(Clone)]
pub enum Value {
    /// No value: Go's nil.
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    String(Arc<str>),
    List(Arc<List>),
    Map(Arc<Map>),
    Struct(Arc<Struct>),
    Time(Time),
    DurationNs(i64),
}

/// Methods of a list, map or struct: gives nothing if there is none of that name.
pub type Methods = fn(&Value, &str, &[Value]) -> Option<Result<Value, String>>;

pub struct List {
    pub items: Vec<Value>,
    pub type_name: &'static str,
    pub methods: Option<Methods>,
    depth: u32,
}

pub struct Map {
    pub entries: BTreeMap<Arc<str>, Value>,
    /// What a missing key gives.
    pub missing: Value,
    pub type_name: &'static str,
    pub methods: Option<Methods>,
    depth: u32,
}

/// Fixed fields, as an alert has them.
pub struct Struct {
    pub fields: Vec<(&'static str, Value)>,
    pub type_name: &'static str,
    pub methods: Option<Methods>,
}

impl Value {
    pub fn string(text: impl Into<Arc<str>>) -> Value {
        Value::String(text.into())
    }

    /// A list of anything.
    pub fn list(items: Vec<Value>) -> Value {
        Value::typed_list("[]interface {}", items, None)
    }

    pub fn string_list<T: Into<Arc<str>>>(items: impl IntoIterator<Item = T>) -> Value {
        let items = items.into_iter().map(Value::string).collect();
        Value::typed_list("[]string", items, None)
    }

    pub fn typed_list(
        type_name: &'static str,
        items: Vec<Value>,
        methods: Option<Methods>,
    ) -> Value {
        let depth = 1 + items.iter().map(Value::depth).max().unwrap_or(0);
        Value::List(Arc::new(List {
            items,
            type_name,
            methods,
            depth,
        }))
    }

    /// A map of anything: a missing key gives nil.
    pub fn map(entries: BTreeMap<Arc<str>, Value>) -> Value {
        Value::typed_map("map[string]interface {}", entries, Value::Nil, None)
    }

    /// A map of strings: a missing key gives "".
    pub fn string_map<K: Into<Arc<str>>, V: Into<Arc<str>>>(
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Value {
        Value::typed_string_map("map[string]string", entries, None)
    }

    pub fn typed_string_map<K: Into<Arc<str>>, V: Into<Arc<str>>>(
        type_name: &'static str,
        entries: impl IntoIterator<Item = (K, V)>,
        methods: Option<Methods>,
    ) -> Value {
        let entries = entries
            .into_iter()
            .map(|(key, value)| (key.into(), Value::string(value)))
            .collect();
        Value::typed_map(type_name, entries, Value::string(""), methods)
    }

    pub fn labels(labels: &Labels) -> Value {
        Value::string_map(labels.iter().map(|l| (l.name.clone(), l.value.clone())))
    }

    fn typed_map(
        type_name: &'static str,
        entries: BTreeMap<Arc<str>, Value>,
        missing: Value,
        methods: Option<Methods>,
    ) -> Value {
        let depth = 1 + entries.values().map(Value::depth).max().unwrap_or(0);
        Value::Map(Arc::new(Map {
            entries,
            missing,
            type_name,
            methods,
            depth,
        }))
    }

    pub fn structure(
        type_name: &'static str,
        fields: Vec<(&'static str, Value)>,
        methods: Option<Methods>,
    ) -> Value {
        Value::Struct(Arc::new(Struct {
            fields,
            type_name,
            methods,
        }))
    }

    /// How deep lists and maps are nested in this value.
    pub fn depth(&self) -> u32 {
        match self {
            Value::List(list) => list.depth,
            Value::Map(map) => map.depth,
            _ => 0,
        }
    }

    /// The name of the type as Go's messages have it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Nil => "nil",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float64",
            Value::String(_) => "string",
            Value::List(list) => list.type_name,
            Value::Map(map) => map.type_name,
            Value::Struct(structure) => structure.type_name,
            Value::Time(_) => "time.Time",
            Value::DurationNs(_) => "time.Duration",
        }
    }

    /// What `if`, `and`, `or` and `not` see: everything but zero, nil and the empty is true.
    pub fn is_true(&self) -> bool {
        match self {
            Value::Nil => false,
            Value::Bool(value) => *value,
            Value::Int(value) | Value::DurationNs(value) => *value != 0,
            Value::Float(value) => *value != 0.0,
            Value::String(text) => !text.is_empty(),
            Value::List(list) => !list.items.is_empty(),
            Value::Map(map) => !map.entries.is_empty(),
            Value::Struct(_) | Value::Time(_) => true,
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn has_methods(&self) -> bool {
        match self {
            Value::List(list) => list.methods.is_some(),
            Value::Map(map) => map.methods.is_some(),
            Value::Struct(structure) => structure.methods.is_some(),
            Value::Time(_) | Value::DurationNs(_) => true,
            _ => false,
        }
    }

    /// Calls a method; nothing if there is none of that name.
    pub(crate) fn call_method(&self, name: &str, args: &[Value]) -> Option<Result<Value, String>> {
        let methods = match self {
            Value::List(list) => list.methods,
            Value::Map(map) => map.methods,
            Value::Struct(structure) => structure.methods,
            Value::Time(time) => return time.call_method(name, args),
            Value::DurationNs(ns) => return crate::time::call_duration_method(*ns, name, args),
            _ => None,
        };
        methods.and_then(|methods| methods(self, name, args))
    }

    /// Writes the value as Go's `%v` does.
    pub(crate) fn print(&self, out: &mut BoundedText) -> Result<(), TooLong> {
        if let Some(Ok(Value::String(text))) = self.own_text() {
            return out.push_str(&text);
        }
        match self {
            Value::Nil => out.push_str("<nil>"),
            Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Value::Int(value) => out.push_str(&value.to_string()),
            Value::Float(value) => out.push_str(&number::format_general(*value)),
            Value::String(text) => out.push_str(text),
            Value::List(list) => {
                print_between(out, "[", "]", &list.items, |item, out| item.print(out))
            }
            Value::Map(map) => print_between(out, "map[", "]", &map.entries, |entry, out| {
                out.push_str(entry.0)?;
                out.push_str(":")?;
                entry.1.print(out)
            }),
            Value::Struct(structure) => {
                print_between(out, "{", "}", &structure.fields, |field, out| {
                    field.1.print(out)
                })
            }
            Value::Time(time) => out.push_str(&time.to_string()),
            Value::DurationNs(ns) => out.push_str(&format_duration(*ns)),
        }
    }

    /// What the value's own method `String` gives, if it has one.
    fn own_text(&self) -> Option<Result<Value, String>> {
        match self {
            Value::List(_) | Value::Map(_) | Value::Struct(_) => self.call_method("String", &[]),
            _ => None,
        }
    }
}

fn print_between<T>(
    out: &mut BoundedText,
    open: &str,
    close: &str,
    items: impl IntoIterator<Item = T>,
    mut print: impl FnMut(T, &mut BoundedText) -> Result<(), TooLong>,
) -> Result<(), TooLong> {
    out.push_str(open)?;
    for (at, item) in items.into_iter().enumerate() {
        if at > 0 {
            out.push_str(" ")?;
        }
        print(item, out)?;
    }
    out.push_str(close)
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = BoundedText::new(crate::MAX_OUTPUT_BYTES);
        // What is over the bound is left out: this is for messages.
        let _ = self.print(&mut out);
        f.write_str(out.as_str())
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({self})", self.type_name())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::string(text)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::string(text)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Value::Float(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Value::Int(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

/// A text went over its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong {
    pub(crate) limit_bytes: usize,
}

impl From<TooLong> for String {
    fn from(error: TooLong) -> Self {
        format!("the text is longer than {} bytes", error.limit_bytes)
    }
}

/// A text that refuses to grow over a bound.
#[derive(Debug)]
pub(crate) struct BoundedText {
    text: String,
    limit_bytes: usize,
}

impl BoundedText {
    pub(crate) fn new(limit_bytes: usize) -> Self {
        BoundedText {
            text: String::new(),
            limit_bytes,
        }
    }

    pub(crate) fn push_str(&mut self, text: &str) -> Result<(), TooLong> {
        if text.len() > self.limit_bytes.saturating_sub(self.text.len()) {
            return Err(TooLong {
                limit_bytes: self.limit_bytes,
            });
        }
        self.text.push_str(text);
        Ok(())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn into_string(self) -> String {
        self.text
    }
}
