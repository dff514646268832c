//! Inhibition: alerts that are not worth telling while another one fires.
//!
//! For each rule the alerts that match its source side are kept by the values of the rule's `equal`
//! labels, so that asking for one target costs no walk over all alerts. Whether a source fires is
//! asked of the alerts themselves, as that changes with time alone.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use narthex_model::Labels;
use narthex_model::matcher::all_match;

use crate::alert::Alert;
use crate::config::InhibitRule;

/// The values of a rule's `equal` labels, in order; "" for a missing one.
type EqualValues = Vec<Arc<str>>;

#[derive(Debug, Default)]
pub(crate) struct Inhibitor {
    rules: Vec<IndexedRule>,
}

#[derive(Debug)]
struct IndexedRule {
    rule: InhibitRule,
    /// Fingerprints of the alerts that match the source side.
    sources: HashMap<EqualValues, BTreeSet<u64>>,
}

impl Inhibitor {
    pub(crate) fn new(rules: &[InhibitRule], alerts: &BTreeMap<u64, Arc<Alert>>) -> Inhibitor {
        let rules = rules.iter().map(|rule| IndexedRule {
            rule: rule.clone(),
            sources: HashMap::new(),
        });
        let mut inhibitor = Inhibitor {
            rules: rules.collect(),
        };
        for (fingerprint, alert) in alerts {
            inhibitor.add(*fingerprint, &alert.labels);
        }
        inhibitor
    }

    /// An alert is known now. Adding it again changes nothing.
    pub(crate) fn add(&mut self, fingerprint: u64, labels: &Labels) {
        for indexed in &mut self.rules {
            if all_match(&indexed.rule.source_matchers, labels) {
                let key = equal_values(&indexed.rule, labels);
                indexed.sources.entry(key).or_default().insert(fingerprint);
            }
        }
    }

    /// An alert is forgotten.
    pub(crate) fn remove(&mut self, fingerprint: u64, labels: &Labels) {
        for indexed in &mut self.rules {
            let key = equal_values(&indexed.rule, labels);
            if let Some(sources) = indexed.sources.get_mut(&key) {
                sources.remove(&fingerprint);
                if sources.is_empty() {
                    indexed.sources.remove(&key);
                }
            }
        }
    }

    /// The fingerprint of a firing alert that inhibits `target`, if there is one.
    ///
    /// Two alerts that both match both sides of a rule never inhibit each other. A source counts
    /// whatever its own fate: silenced, inhibited or routed elsewhere.
    pub(crate) fn inhibited_by(
        &self,
        target: &Labels,
        alerts: &BTreeMap<u64, Arc<Alert>>,
        now_ms: i64,
    ) -> Option<u64> {
        self.rules
            .iter()
            .filter(|indexed| all_match(&indexed.rule.target_matchers, target))
            .find_map(|indexed| indexed.source_of(target, alerts, now_ms))
    }
}

impl IndexedRule {
    /// `target` is known to match the target side; matching the source side too makes it two-sided.
    fn source_of(
        &self,
        target: &Labels,
        alerts: &BTreeMap<u64, Arc<Alert>>,
        now_ms: i64,
    ) -> Option<u64> {
        let sources = self.sources.get(&equal_values(&self.rule, target))?;
        let two_sided = all_match(&self.rule.source_matchers, target);
        let inhibits = |source: &Alert| {
            let both_two_sided = two_sided && all_match(&self.rule.target_matchers, &source.labels);
            !source.is_resolved(now_ms) && !both_two_sided
        };
        let mut sources = sources.iter();
        sources
            .find(|source| alerts.get(source).is_some_and(|alert| inhibits(alert)))
            .copied()
    }
}

fn equal_values(rule: &InhibitRule, labels: &Labels) -> EqualValues {
    let value = |name: &String| labels.get_shared(name).cloned().unwrap_or_default();
    rule.equal.iter().map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::{PostedAlert, fingerprint};
    use crate::config::LabelNames;
    use crate::matchers::{Syntax, parse};

    fn labels(text: &str) -> Labels {
        let pairs = text.split(',').filter(|text| !text.is_empty());
        Labels::from_pairs(pairs.map(|pair| pair.split_once('=').unwrap()))
    }

    fn rule(source: &str, target: &str, equal: &[&str]) -> InhibitRule {
        let matchers = |text| parse(text, Syntax::Utf8).unwrap().matchers;
        InhibitRule {
            name: None,
            source_matchers: matchers(source),
            target_matchers: matchers(target),
            equal: equal.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    /// Alerts that fire at 0 unless their text ends in `!`.
    fn alerts(texts: &[&str]) -> BTreeMap<u64, Arc<Alert>> {
        let alert = |text: &&str| {
            let resolved = text.ends_with('!');
            let labels = labels(text.trim_end_matches('!'));
            let pairs = labels.iter();
            let posted = PostedAlert {
                labels: pairs
                    .map(|l| (l.name.to_string(), l.value.to_string()))
                    .collect(),
                starts_at_ms: Some(-10),
                ends_at_ms: Some(if resolved { -5 } else { 5 }),
                ..PostedAlert::default()
            };
            let alert = Alert::admit(posted, 0, 1, LabelNames::Utf8).unwrap();
            (fingerprint(&labels), Arc::new(alert))
        };
        texts.iter().map(alert).collect()
    }

    fn check(rules: &[InhibitRule], sources: &[&str], table: &[(&str, bool)]) {
        let alerts = alerts(sources);
        let inhibitor = Inhibitor::new(rules, &alerts);
        for (target, expected) in table {
            let by = inhibitor.inhibited_by(&labels(target), &alerts, 0);
            assert_eq!(by.is_some(), *expected, "{target}");
        }
    }

    #[test]
    fn two_rules() {
        let rules = [rule("s1=1", "t1=1", &["e"]), rule("s2=1", "t2=1", &["e"])];
        check(
            &rules,
            &["s1=1,t1=2,e=1", "s2=1,t2=1,e=1"],
            &[
                ("t1=1,e=1", true),
                ("t2=1,e=1", true),
                ("t1=1,t3=1,e=1", true),
                ("t1=1,t2=1,e=1", true),
                ("t1=0,e=1", false),
                ("s1=1,t1=1,e=1", true),
                ("s2=1,t2=1,e=1", false),
                ("t1=1,e=0", false),
            ],
        );
    }

    #[test]
    fn a_negative_target() {
        let rules = [rule("s1=1", "t1!=1", &["e"]), rule("s2=1", "t2=1", &["e"])];
        check(
            &rules,
            &["s1=1,t1=2,e=1", "s2=1,t2=1,e=1"],
            &[
                ("t1=1,e=1", false),
                ("t2=1,e=1", true),
                ("t1=1,t3=1,e=1", false),
                ("t1=1,t2=1,e=1", true),
                ("t1=0,e=1", true),
                ("s1=1,t1=1,e=1", false),
                ("s2=1,t2=1,e=1", true),
                ("t1=1,e=0", false),
            ],
        );
    }

    #[test]
    fn sources() {
        let any = [rule("s=1", "t=1", &[])];
        check(&any, &[], &[("t=1", false)]);
        check(&any, &["s=1,x=y"], &[("t=1", true), ("t=1,a=b", true)]);
        let equal = [rule("s=1", "t=1", &["a", "b"])];
        check(&equal, &["s=1,a=1,b=1!"], &[("t=1,a=1,b=1", false)]);
        check(
            &equal,
            &["s=1,a=1,b=1,x=1!", "s=1,a=1,b=1,x=2"],
            &[("t=1,a=1,b=1", true), ("t=1,a=1,b=2", false)],
        );
        check(
            &equal,
            &["s=1,a=1"],
            &[("t=1,a=1", true), ("t=1,a=1,b=1", false)],
        );
        check(&[InhibitRule::default()], &["a=1"], &[("b=1", false)]);
    }

    #[test]
    fn a_forgotten_source_inhibits_no_more() {
        let rules = [rule("s=1", "t=1", &["e"])];
        let alerts = alerts(&["s=1,e=1"]);
        let mut inhibitor = Inhibitor::new(&rules, &alerts);
        let target = labels("t=1,e=1");
        assert!(inhibitor.inhibited_by(&target, &alerts, 0).is_some());
        assert!(inhibitor.inhibited_by(&target, &alerts, 5).is_none());
        let source = labels("s=1,e=1");
        inhibitor.remove(fingerprint(&source), &source);
        assert!(inhibitor.inhibited_by(&target, &alerts, 0).is_none());
        assert!(inhibitor.rules[0].sources.is_empty());
    }
}
