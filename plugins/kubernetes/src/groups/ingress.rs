//! Role ingress: a target a path of each rule.

use super::{Group, attach_namespace, of_object};
use crate::cluster::Cluster;
use crate::labels::LabelSet;
use crate::objects::Ingress;

pub(super) fn group(cluster: &Cluster, ingress: &Ingress) -> Group {
    let mut labels = of_object("ingress", &ingress.namespace, &ingress.name, &ingress.meta);
    labels.set("ingress_class_name", &ingress.class_name);
    attach_namespace(cluster, &ingress.namespace, &mut labels);
    let mut targets = Vec::new();
    for rule in &ingress.rules {
        let mut hosts = ingress.tls_hosts.iter();
        let scheme = match hosts.any(|pattern| covers(pattern, &rule.host)) {
            true => "https",
            false => "http",
        };
        targets.extend(rule.paths.iter().map(|path| {
            let mut target = LabelSet::at(&rule.host);
            target.set("ingress_scheme", scheme);
            target.set("ingress_host", &rule.host);
            target.set("ingress_path", path);
            target
        }));
    }
    (labels, targets)
}

/// A pattern that begins with `*.` stands for one more name before the rest.
fn covers(pattern: &str, host: &str) -> bool {
    if pattern == host {
        return true;
    }
    match (pattern.split_once('.'), host.split_once('.')) {
        (Some(("*", rest)), Some((_, of_host))) => rest == of_host,
        _ => pattern == "*" && !host.contains('.'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_hosts() {
        for (pattern, host, expected) in [
            ("a.example.com", "a.example.com", true),
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "a.b.example.com", false),
            ("b.example.com", "a.example.com", false),
            ("*", "localhost", true),
            ("*", "a.b", false),
            ("a.*", "a.b", false),
        ] {
            assert_eq!(covers(pattern, host), expected, "{pattern} {host}");
        }
    }
}
