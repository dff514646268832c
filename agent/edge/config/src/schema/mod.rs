//! The shape of each file as tables, and the check of a tree against them.
//!
//! Keeps true: after a check without faults, every field is known, is of its kind and within its
//! bounds, so that the builders read it without asking again. What depends on several fields of
//! one object is checked here too; what depends on other objects is the builders' part.

pub(crate) mod alertmanager;
pub(crate) mod discovery;
pub(crate) mod http;
pub(crate) mod narthex;
pub(crate) mod plugin_case;
pub(crate) mod prometheus;
pub(crate) mod rules;

use narthex_model::duration;
use narthex_template::TemplateSet;
use narthex_template::alertmanager_functions::is_function;

use crate::error::{Faults, did_you_mean, nearest};
use crate::scalar;
use crate::yaml::{Entry, Node, Value, join};

/// What a field holds.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Text,
    /// Text that is never shown.
    Secret,
    Bool,
    Whole(i64, i64),
    Number(f64, f64),
    Duration,
    /// A duration that may not be 0.
    PositiveDuration,
    Size,
    Choice(&'static [&'static str]),
    /// Text that a function judges.
    Checked(fn(&str) -> Result<(), String>),
    /// As [`Kind::Checked`], and never shown.
    CheckedSecret(fn(&str) -> Result<(), String>),
    List(&'static Kind),
    /// One value stands for a list of it.
    ListOrOne(&'static Kind),
    /// Keys are free, within what the function says of them.
    Map(fn(&str) -> Result<(), String>, &'static Kind),
    Object(&'static Object),
    /// A list of objects.
    Objects(&'static Object),
    /// Text, or an object.
    TextOr(&'static Object),
    /// Text that a function judges, or an object.
    CheckedOr(fn(&str) -> Result<(), String>, &'static Object),
    Anything,
}

pub(crate) struct Field {
    pub name: &'static str,
    pub kind: Kind,
    pub required: bool,
}

/// A mapping with known fields. Groups of fields that several objects have are shared.
pub(crate) struct Object {
    /// What messages call it.
    pub what: &'static str,
    pub fields: &'static [&'static [Field]],
    /// What several fields must keep among themselves.
    pub checks: &'static [fn(&Node, &mut Faults)],
    /// Fields that are known by a pattern of their name.
    pub open: Option<Open>,
}

pub(crate) struct Open {
    pub kind: fn(&str) -> Option<Kind>,
    /// The field that was probably meant.
    pub meant: fn(&str) -> Option<String>,
}

impl Object {
    pub(crate) const fn new(what: &'static str, fields: &'static [&'static [Field]]) -> Self {
        Object {
            what,
            fields,
            checks: &[],
            open: None,
        }
    }

    pub(crate) const fn with(mut self, checks: &'static [fn(&Node, &mut Faults)]) -> Self {
        self.checks = checks;
        self
    }

    pub(crate) const fn open(mut self, open: Open) -> Self {
        self.open = Some(open);
        self
    }

    fn fields(&self) -> impl Iterator<Item = &'static Field> {
        self.fields.iter().flat_map(|group| group.iter())
    }

    pub(crate) fn kind_of(&self, name: &str) -> Option<Kind> {
        self.fields()
            .find(|field| field.name == name)
            .map(|field| field.kind)
            .or_else(|| self.open.as_ref().and_then(|open| (open.kind)(name)))
    }
}

pub(crate) const fn field(name: &'static str, kind: Kind) -> Field {
    Field {
        name,
        kind,
        required: false,
    }
}

pub(crate) const fn required(name: &'static str, kind: Kind) -> Field {
    Field {
        name,
        kind,
        required: true,
    }
}

pub(crate) const fn text(name: &'static str) -> Field {
    field(name, Kind::Text)
}

pub(crate) const fn secret(name: &'static str) -> Field {
    field(name, Kind::Secret)
}

pub(crate) const fn flag(name: &'static str) -> Field {
    field(name, Kind::Bool)
}

pub(crate) const fn count(name: &'static str) -> Field {
    field(name, Kind::Whole(0, i64::MAX))
}

pub(crate) const fn duration(name: &'static str) -> Field {
    field(name, Kind::Duration)
}

pub(crate) const fn texts(name: &'static str) -> Field {
    field(name, Kind::List(&Kind::Text))
}

pub(crate) const fn choice(name: &'static str, names: &'static [&'static str]) -> Field {
    field(name, Kind::Choice(names))
}

pub(crate) const fn checked(name: &'static str, check: fn(&str) -> Result<(), String>) -> Field {
    field(name, Kind::Checked(check))
}

/// Any key is fine.
pub(crate) fn any_key(_: &str) -> Result<(), String> {
    Ok(())
}

pub(crate) const TEXT_MAP: Kind = Kind::Map(any_key, &Kind::Text);
pub(crate) const PORT: Kind = Kind::Whole(0, 65_535);

/// Judges `node` and all below it.
pub(crate) fn check(node: &Node, kind: Kind, faults: &mut Faults) {
    match kind {
        Kind::Anything => {}
        Kind::Object(object) => check_object(node, object, faults),
        Kind::TextOr(object) => match &node.value {
            Value::Map(_) => check_object(node, object, faults),
            _ => check_scalar(node, Kind::Text, faults),
        },
        Kind::CheckedOr(judge, object) => match &node.value {
            Value::Map(_) => check_object(node, object, faults),
            _ => check_scalar(node, Kind::Checked(judge), faults),
        },
        Kind::Map(key, value) => check_map(node, key, *value, faults),
        Kind::List(item) => check_list(node, *item, faults),
        Kind::Objects(object) => check_list(node, Kind::Object(object), faults),
        Kind::ListOrOne(item) => match &node.value {
            Value::Scalar { .. } => check(node, *item, faults),
            _ => check_list(node, *item, faults),
        },
        scalar => check_scalar(node, scalar, faults),
    }
}

fn check_object(node: &Node, object: &'static Object, faults: &mut Faults) {
    let entries = match &node.value {
        Value::Map(entries) => entries.as_slice(),
        Value::Null => &[],
        _ => {
            faults.push(
                node.at,
                &node.path,
                format!(
                    "expected a mapping (the fields of {}), got {}",
                    object.what,
                    node.kind()
                ),
            );
            return;
        }
    };
    for entry in entries {
        match object.kind_of(&entry.key) {
            Some(kind) => check(&entry.value, kind, faults),
            None => unknown_field(node, entry, object, faults),
        }
    }
    for field in object.fields().filter(|field| field.required) {
        if is_missing(node, field, object) {
            faults.push(
                node.at,
                &node.path,
                format!("`{}` is missing: {} must have it", field.name, object.what),
            );
        }
    }
    for check in object.checks {
        check(node, faults);
    }
}

/// Not there, or empty; a slip of the pen counts as there, as it is told anyway.
fn is_missing(node: &Node, field: &Field, object: &'static Object) -> bool {
    let slip = |entry: &Entry| {
        object.kind_of(&entry.key).is_none() && nearest(&entry.key, [field.name]).is_some()
    };
    match node.get(field.name) {
        Some(value) => value.text() == Some("") || value.is_empty_collection(),
        None => !node.entries().iter().any(slip),
    }
}

fn unknown_field(node: &Node, entry: &Entry, object: &'static Object, faults: &mut Faults) {
    let known = || object.fields().map(|field| field.name);
    let meant = object
        .open
        .as_ref()
        .and_then(|open| (open.meant)(&entry.key));
    let hint = match did_you_mean(&entry.key, known().chain(meant.as_deref())) {
        hint if !hint.is_empty() => hint,
        _ if known().count() <= FEW => {
            format!(
                "; {} has {}",
                object.what,
                known().collect::<Vec<_>>().join(", ")
            )
        }
        _ => format!("; {} has none of this name", object.what),
    };
    faults.push(
        entry.key_at,
        &join(&node.path, &entry.key),
        format!("unknown field{hint}"),
    );
}

/// So many names fit into a message.
const FEW: usize = 14;

fn check_list(node: &Node, item: Kind, faults: &mut Faults) {
    let items = match &node.value {
        Value::List(items) => items,
        Value::Null => return,
        _ => {
            faults.push(
                node.at,
                &node.path,
                format!("expected a list, got {}", node.kind()),
            );
            return;
        }
    };
    for element in items {
        match item {
            Kind::Object(object) if element.is_null() => faults.push(
                element.at,
                &element.path,
                format!("empty entry: expected {}", object.what),
            ),
            _ => check(element, item, faults),
        }
    }
}

fn check_map(node: &Node, key: fn(&str) -> Result<(), String>, value: Kind, faults: &mut Faults) {
    match &node.value {
        Value::Map(entries) => {
            for entry in entries {
                if let Err(message) = key(&entry.key) {
                    faults.push(entry.key_at, &node.path, message);
                }
                check(&entry.value, value, faults);
            }
        }
        Value::Null => {}
        _ => faults.push(
            node.at,
            &node.path,
            format!("expected a mapping, got {}", node.kind()),
        ),
    }
}

fn check_scalar(node: &Node, kind: Kind, faults: &mut Faults) {
    let Some(text) = node.text() else {
        let message = format!("expected {}, got {}", expectation(kind), node.kind());
        faults.push(node.at, &node.path, message);
        return;
    };
    if node.is_null() {
        return;
    }
    let quoted = matches!(node.value, Value::Scalar { quoted: true, .. });
    if let Err(message) = judge(text, quoted, kind) {
        faults.push(node.at, &node.path, message);
    }
}

fn judge(text: &str, quoted: bool, kind: Kind) -> Result<(), String> {
    let expected = || format!("expected {}, got `{text}`", expectation(kind));
    match kind {
        Kind::Bool | Kind::Whole(..) | Kind::Number(..) if quoted => {
            Err(format!("{} as text: leave out the quotes", expected()))
        }
        Kind::Bool => scalar::boolean(text).map(|_| ()).ok_or_else(expected),
        Kind::Whole(low, high) => scalar::whole(text)
            .filter(|value| (low..=high).contains(value))
            .map(|_| ())
            .ok_or_else(expected),
        Kind::Number(low, high) => scalar::float(text)
            .filter(|value| (low..=high).contains(value))
            .map(|_| ())
            .ok_or_else(expected),
        Kind::Duration => duration::parse_ms(text)
            .map(|_| ())
            .map_err(|error| error.to_string()),
        Kind::PositiveDuration => match duration::parse_ms(text) {
            Ok(0) => Err("must be longer than 0".to_owned()),
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        },
        Kind::Size => scalar::size_bytes(text).map(|_| ()),
        Kind::Choice(names) if names.contains(&text) => Ok(()),
        Kind::Choice(names) => Err(format!(
            "{}{}",
            expected(),
            did_you_mean(text, names.iter().copied())
        )),
        Kind::Checked(check) => check(text),
        Kind::CheckedSecret(check) => check(text).map_err(|message| {
            // Not even a message shows it.
            message.replace(text, "<secret>")
        }),
        _ => Ok(()),
    }
}

fn expectation(kind: Kind) -> String {
    match kind {
        Kind::Bool => "true or false".to_owned(),
        Kind::Whole(low, high) => format!("a whole number{}", bounds(low as f64, high as f64)),
        Kind::Number(low, high) => format!("a number{}", bounds(low, high)),
        Kind::Duration | Kind::PositiveDuration => "a duration as in 1h30m".to_owned(),
        Kind::Size => "a size as in 512MB".to_owned(),
        Kind::Choice(names) => {
            let shown: Vec<&str> = names
                .iter()
                .copied()
                .filter(|name| !name.is_empty())
                .collect();
            format!("one of {}", shown.join(", "))
        }
        _ => "text".to_owned(),
    }
}

fn bounds(low: f64, high: f64) -> String {
    const ENDLESS: f64 = i32::MAX as f64;
    match (low > -ENDLESS, high < ENDLESS) {
        (true, true) => format!(" from {low} to {high}"),
        (true, false) => format!(" of at least {low}"),
        (false, true) => format!(" of at most {high}"),
        (false, false) => String::new(),
    }
}

/// Faults if more than one of `names` is set (to something that isn't empty).
pub(crate) fn at_most_one(node: &Node, names: &[&str], faults: &mut Faults) {
    let set: Vec<&str> = names
        .iter()
        .copied()
        .filter(|name| node.is_set(name))
        .collect();
    if let [.., last] = set.as_slice()
        && set.len() > 1
    {
        let shown: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        faults.push(
            node.place_of(last),
            &node.path,
            format!(
                "at most one of {} may be set, here are {}",
                shown.join(", "),
                set.join(" and ")
            ),
        );
    }
}

/// Faults unless at least one of `names` is set.
pub(crate) fn at_least_one(node: &Node, names: &[&str], faults: &mut Faults) {
    if !names.iter().any(|name| node.is_set(name)) {
        let shown: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        faults.push(
            node.at,
            &node.path,
            match shown.as_slice() {
                [only] => format!("{only} is missing"),
                _ => format!("one of {} must be set", shown.join(", ")),
            },
        );
    }
}

pub(crate) fn is_label_name(name: &str) -> Result<(), String> {
    match name {
        "" => Err("a label name may not be empty".to_owned()),
        _ => Ok(()),
    }
}

/// A template with the functions that notifications know.
pub(crate) fn is_template(text: &str) -> Result<(), String> {
    TemplateSet::default()
        .parse("", text, &is_function)
        .map_err(|error| error.to_string())
}

/// An absolute URL of http or https with a host.
pub(crate) fn is_http_url(text: &str) -> Result<(), String> {
    let wanted = |reason: &str| {
        Err(format!(
            "expected a URL as in http://host:9093/path, got `{}`: {reason}",
            without_password(text)
        ))
    };
    if !text.starts_with("http://") && !text.starts_with("https://") {
        return wanted("it must start with http:// or https://");
    }
    match url::Url::parse(text) {
        Ok(url) if url.host_str().is_some_and(|host| !host.is_empty()) => Ok(()),
        Ok(_) => wanted("the host is missing"),
        Err(error) => wanted(&error.to_string()),
    }
}

/// A URL of any scheme, or what Prometheus takes for one: only what cannot be one is refused.
pub(crate) fn is_url(text: &str) -> Result<(), String> {
    let hopeless =
        text.starts_with(':') || text.chars().any(|c| c.is_control() || c.is_whitespace());
    match text.contains("://").then(|| url::Url::parse(text)) {
        _ if hopeless => Err(format!("`{text}` is not a URL")),
        Some(Err(error)) => Err(format!(
            "`{}` is not a URL: {error}",
            without_password(text)
        )),
        _ => Ok(()),
    }
}

/// The URL with its password hidden.
pub(crate) fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    match authority.rsplit_once('@').map(|(user, _)| user) {
        Some(user) => match user.split_once(':') {
            Some((name, _)) => format!("{scheme}://{name}:<secret>{}", &rest[user.len()..]),
            None => text.to_owned(),
        },
        None => text.to_owned(),
    }
}

static NOTHING: Node = Node {
    at: crate::error::Position { line: 0, column: 0 },
    path: String::new(),
    value: Value::Null,
};

/// How builders read a checked tree: what is missing, or was already found at fault, is `None`.
impl Node {
    /// A part that may be missing: then an empty one.
    pub(crate) fn part(&self, name: &str) -> &Node {
        self.get(name).unwrap_or(&NOTHING)
    }

    /// Whether the field is there and not empty.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| match &value.value {
            Value::Null => false,
            Value::Scalar { text, .. } => !text.is_empty(),
            Value::List(_) | Value::Map(_) => true,
        })
    }

    fn is_empty_collection(&self) -> bool {
        match &self.value {
            Value::List(items) => items.is_empty(),
            Value::Map(_) | Value::Scalar { .. } | Value::Null => false,
        }
    }

    /// Where the field's value stands; the object itself where it has none.
    pub(crate) fn place_of(&self, name: &str) -> crate::error::Position {
        self.get(name).map_or(self.at, |value| value.at)
    }

    pub(crate) fn field_of(&self, name: &str) -> String {
        join(&self.path, name)
    }

    /// The text of a field that is there, also if it is empty.
    pub(crate) fn written(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Node::text)
    }

    /// The text of a field that is there and not empty.
    pub(crate) fn string(&self, name: &str) -> Option<&str> {
        self.written(name).filter(|text| !text.is_empty())
    }

    pub(crate) fn boolean(&self, name: &str) -> Option<bool> {
        self.string(name).and_then(scalar::boolean)
    }

    pub(crate) fn whole(&self, name: &str) -> Option<u64> {
        self.string(name)
            .and_then(scalar::whole)
            .and_then(|value| u64::try_from(value).ok())
    }

    pub(crate) fn float(&self, name: &str) -> Option<f64> {
        self.string(name).and_then(scalar::float)
    }

    pub(crate) fn duration_ms(&self, name: &str) -> Option<u64> {
        self.string(name)
            .and_then(|text| duration::parse_ms(text).ok())
    }

    /// Where a plain number of bytes is fine too.
    pub(crate) fn bytes(&self, name: &str) -> Option<u64> {
        self.string(name).and_then(|text| scalar::bytes(text).ok())
    }

    pub(crate) fn size_bytes(&self, name: &str) -> Option<u64> {
        self.string(name)
            .and_then(|text| scalar::size_bytes(text).ok())
    }

    pub(crate) fn strings(&self, name: &str) -> Vec<String> {
        let items = self.part(name).items().iter();
        items.filter_map(Node::text).map(str::to_owned).collect()
    }

    pub(crate) fn pairs(&self, name: &str) -> impl Iterator<Item = (&str, &str)> {
        let entries = self.part(name).entries().iter();
        entries.filter_map(|entry| Some((entry.key.as_str(), entry.value.text()?)))
    }
}

/// As JSON, for those who take their part of the configuration as it stands: numbers and flags
/// where the table says so, text where it says text.
pub(crate) fn to_json(node: &Node, kind: Kind) -> serde_json::Value {
    use serde_json::Value as Json;
    match (&node.value, kind) {
        (Value::Null, _) => Json::Null,
        (Value::List(items), kind) => {
            let item = match kind {
                Kind::List(item) | Kind::ListOrOne(item) => *item,
                Kind::Objects(object) => Kind::Object(object),
                _ => Kind::Anything,
            };
            items.iter().map(|element| to_json(element, item)).collect()
        }
        (Value::Map(entries), kind) => entries
            .iter()
            .map(|entry| {
                let kind = match kind {
                    Kind::Object(object) | Kind::TextOr(object) | Kind::CheckedOr(_, object) => {
                        object.kind_of(&entry.key).unwrap_or(Kind::Anything)
                    }
                    Kind::Map(_, value) => *value,
                    _ => Kind::Anything,
                };
                (entry.key.clone(), to_json(&entry.value, kind))
            })
            .collect(),
        (Value::Scalar { text, quoted, .. }, kind) => match kind {
            Kind::Bool => scalar::boolean(text).map_or(Json::Null, Json::from),
            Kind::Whole(..) => scalar::whole(text).map_or(Json::Null, Json::from),
            Kind::Number(..) => scalar::float(text).map_or(Json::Null, Json::from),
            Kind::ListOrOne(item) => Json::Array(vec![to_json(node, *item)]),
            Kind::Anything if !quoted => resolved(text),
            _ => Json::String(text.clone()),
        },
    }
}

/// A plain scalar as YAML's core schema reads it.
fn resolved(text: &str) -> serde_json::Value {
    match text {
        "true" | "True" | "TRUE" => true.into(),
        "false" | "False" | "FALSE" => false.into(),
        _ => scalar::whole(text)
            .map(Into::into)
            .or_else(|| scalar::float(text).map(Into::into))
            .unwrap_or_else(|| text.into()),
    }
}
