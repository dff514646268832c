//! Which names are allowed. These checks can run in constants.

/// `[a-zA-Z_:][a-zA-Z0-9_:]*`: what every reader of metrics understands.
pub const fn is_metric_name(name: &str) -> bool {
    is_name(name.as_bytes(), true)
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`, not starting with the two underscores that are Prometheus's own.
pub const fn is_label_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let is_reserved = bytes.len() >= 2 && bytes[0] == b'_' && bytes[1] == b'_';
    !is_reserved && is_name(bytes, false)
}

const fn is_name(name: &[u8], colons: bool) -> bool {
    let mut at = 0;
    while at < name.len() {
        let c = name[at];
        let letter = c.is_ascii_alphabetic() || c == b'_' || (colons && c == b':');
        if !letter && (at == 0 || !c.is_ascii_digit()) {
            return false;
        }
        at += 1;
    }
    !name.is_empty()
}

pub(super) const fn are_equal(a: &str, b: &str) -> bool {
    ends_with(a, b) && a.len() == b.len()
}

pub(super) const fn ends_with(name: &str, end: &str) -> bool {
    let (name, end) = (name.as_bytes(), end.as_bytes());
    if name.len() < end.len() {
        return false;
    }
    let mut at = 0;
    while at < end.len() {
        if name[name.len() - end.len() + at] != end[at] {
            return false;
        }
        at += 1;
    }
    true
}

pub(super) fn check_metric(name: &str, fault: &mut Option<String>) {
    if !is_metric_name(name) {
        fault.get_or_insert_with(|| format!("invalid metric name {name:?}"));
    }
}

pub(super) fn check_labels(metric: &str, names: &[&str], fault: &mut Option<String>) {
    for (at, name) in names.iter().enumerate() {
        if !is_label_name(name) {
            fault.get_or_insert_with(|| format!("metric {metric}: invalid label name {name:?}"));
        }
        if names[..at].contains(name) {
            fault.get_or_insert_with(|| format!("metric {metric}: label {name:?} is named twice"));
        }
    }
}

/// `{name="value",…}`, empty where there are no labels.
pub(crate) fn label_text(names: &[String], values: &[String]) -> String {
    let mut text = String::new();
    for (name, value) in names.iter().zip(values) {
        if !value.is_empty() {
            text.push(if text.is_empty() { '{' } else { ',' });
            text.push_str(&format!("{name}={value:?}"));
        }
    }
    if !text.is_empty() {
        text.push('}');
    }
    text
}
