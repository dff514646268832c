//! The labels of targets, under the names that Prometheus gives them.

use std::collections::BTreeMap;

use crate::objects::{Meta, Pairs};

const PREFIX: &str = "__meta_kubernetes_";
const ADDRESS: &str = "__address__";

/// Labels by name. Of two of one name, the later counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LabelSet(BTreeMap<String, String>);

impl LabelSet {
    /// Of a target at this address.
    pub(crate) fn at(address: &str) -> Self {
        let mut labels = LabelSet::default();
        labels.0.insert(ADDRESS.to_owned(), address.to_owned());
        labels
    }

    /// A label whose name has no prefix.
    pub(crate) fn set_plain(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), value.to_owned());
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.0.insert(format!("{PREFIX}{name}"), value.to_owned());
    }

    pub(crate) fn set_flag(&mut self, name: &str, value: Option<bool>) {
        if let Some(value) = value {
            self.set(name, if value { "true" } else { "false" });
        }
    }

    pub(crate) fn merge(&mut self, other: LabelSet) {
        self.0.extend(other.0);
    }

    /// The object's name, labels and annotations.
    pub(crate) fn describe(&mut self, kind: &str, name: &str, meta: &Meta) {
        self.set(&format!("{kind}_name"), name);
        self.annotate(kind, meta);
    }

    /// The object's labels and annotations.
    pub(crate) fn annotate(&mut self, kind: &str, meta: &Meta) {
        self.mark(&format!("{kind}_label"), "present", &meta.labels);
        self.mark(&format!("{kind}_annotation"), "present", &meta.annotations);
    }

    /// A label with the value of each pair, and one that says that it is there.
    pub(crate) fn mark(&mut self, what: &str, present: &str, pairs: &Pairs) {
        for (name, value) in pairs {
            let name = sanitize(name);
            self.set(&format!("{what}_{name}"), value);
            self.set(&format!("{what}{present}_{name}"), "true");
        }
    }

    /// An empty value is the same as no label; only the address is always there.
    pub(crate) fn into_pairs(self) -> Vec<(String, String)> {
        let is_kept = |(name, value): &(String, String)| !value.is_empty() || name == ADDRESS;
        self.0.into_iter().filter(is_kept).collect()
    }
}

/// What is not allowed in a label's name becomes an underscore.
pub(crate) fn sanitize(name: &str) -> String {
    let allowed = |c: char| match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '_' => c,
        _ => '_',
    };
    name.chars().map(allowed).collect()
}

/// An address of IPv6 stands in brackets before a port.
pub(crate) fn join_port(host: &str, port: i32) -> String {
    match host.contains([':', '%']) {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses() {
        assert_eq!(sanitize("app.kubernetes.io/é-1"), "app_kubernetes_io___1");
        assert_eq!(join_port("1.2.3.4", 80), "1.2.3.4:80");
        assert_eq!(join_port("2001:db8::1", 80), "[2001:db8::1]:80");
    }

    #[test]
    fn empty_values_are_no_labels() {
        let mut labels = LabelSet::at("");
        labels.set("a", "1");
        labels.set("a", "");
        labels.set("b", "2");
        let pairs = [(ADDRESS, ""), ("__meta_kubernetes_b", "2")];
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(labels.into_pairs(), pairs);
    }
}
