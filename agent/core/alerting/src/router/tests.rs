//! What holds after any sequence of events.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::PostedAlert;
use crate::config::{Config, Route};
use crate::matchers::{Syntax, parse};

#[derive(Clone, Debug)]
enum Op {
    /// An alert, reported to end after some time.
    Report {
        number: u8,
        ends_in_ms: i64,
    },
    Wait,
    /// The outcome of the notification that has waited longest.
    Answer {
        delivered: bool,
    },
    /// The configuration of this number.
    Configure(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..6u8, 0..20_000i64).prop_map(|(number, ends_in_ms)| Op::Report { number, ends_in_ms }),
        3 => Just(Op::Wait),
        4 => any::<bool>().prop_map(|delivered| Op::Answer { delivered }),
        1 => (0..3usize).prop_map(Op::Configure),
    ]
}

/// Three configurations that differ in grouping, routes and receivers.
fn config(number: usize) -> CheckedConfig {
    let route = |receiver: &str, matchers: &str, group_by: &[&str]| Route {
        receiver: Some(receiver.to_owned()),
        matchers: parse(matchers, Syntax::Utf8).unwrap().matchers,
        group_by: Some(group_by.iter().map(|name| (*name).to_owned()).collect()),
        group_wait_ms: Some(500),
        group_interval_ms: Some(2000),
        repeat_interval_ms: Some(7000),
        ..Route::default()
    };
    let receivers = ["a", "b"].map(|name| Receiver {
        name: name.to_owned(),
        integrations: [true, false][..=number % 2]
            .iter()
            .map(|&send_resolved| Integration {
                kind: "webhook".to_owned(),
                identity: format!("{name}-{send_resolved}"),
                revision: u64::try_from(number).unwrap(),
                send_resolved,
            })
            .collect(),
    });
    let mut root = route("a", "", [&["odd"][..], &["..."], &[]][number]);
    root.routes = vec![Route {
        continue_matching: number == 1,
        ..route("b", "odd=1", &["n"])
    }];
    CheckedConfig::new(&Config::new(root), receivers.into(), &|_| None).unwrap()
}

fn alert(number: u8, now_ms: i64, ends_in_ms: i64) -> Alert {
    let labels = [
        ("n".to_owned(), number.to_string()),
        ("odd".to_owned(), (number % 2).to_string()),
    ];
    let posted = PostedAlert {
        labels: BTreeMap::from(labels),
        starts_at_ms: Some(now_ms),
        ends_at_ms: Some(now_ms + ends_in_ms),
        ..PostedAlert::default()
    };
    Alert::admit(posted, now_ms, 1000, LabelNames::Utf8).unwrap()
}

/// Everything that must hold between two steps.
fn check(router: &Router, now_ms: i64, waiting: &[NotificationId]) {
    assert!(router.next_wake_ms() > now_ms, "time would stand still");
    for (id, group) in &router.groups {
        assert!(
            !group.alerts.is_empty() || group.in_flight.is_some(),
            "{id:?} is empty but stays"
        );
        let node = &router.config.routes[group.route];
        assert_eq!(node.id, id.route);
        for alert in group.alerts.values() {
            assert_eq!(node.group_by.labels_of(&alert.labels), id.labels);
        }
        let answers = group.in_flight.iter().flat_map(|flush| &flush.waiting_for);
        for id in answers {
            assert!(waiting.contains(id), "waits for an answer that nobody owes");
        }
    }
    // Every alert that fires is in a group, or nobody would ever be told.
    for alert in router.alerts.values().filter(|a| !a.is_resolved(now_ms)) {
        for route in router.config.routes_of(&alert.labels) {
            let id = group_id(&router.config.routes[route], &alert.labels);
            assert!(router.groups[&id].alerts.contains_key(&alert.fingerprint()));
        }
    }
}

proptest! {
    #[test]
    fn nothing_is_lost_and_time_goes_on(ops in prop::collection::vec((0..3000i64, op()), 1..60)) {
        let mut now_ms = 1_000_000;
        let mut router = Router::new(config(0), now_ms, now_ms);
        let mut waiting: Vec<NotificationId> = Vec::new();
        for (wait_ms, op) in ops {
            now_ms += wait_ms;
            let event = match op {
                Op::Report { number, ends_in_ms } => {
                    Event::Alerts(vec![alert(number, now_ms, ends_in_ms)])
                }
                Op::Wait => Event::Tick,
                Op::Answer { .. } if waiting.is_empty() => Event::Tick,
                Op::Answer { delivered } => Event::NotifyResult {
                    id: waiting.remove(0),
                    delivered,
                },
                Op::Configure(number) => Event::ConfigChanged(Box::new(config(number))),
            };
            for action in router.step(now_ms, event) {
                if let Action::Notify(notification) = action {
                    prop_assert!(!notification.alerts.is_empty());
                    prop_assert!(notification.deadline_ms > now_ms);
                    waiting.push(notification.id);
                }
            }
            check(&router, now_ms, &waiting);
        }
        prop_assert_eq!(router.pending.len(), waiting.len());
        // When all has ended and everybody has been told, nothing is left.
        now_ms += 30_000;
        for _ in 0..20 {
            now_ms += 2000;
            let mut actions = router.step(now_ms, Event::Tick);
            for id in waiting.drain(..) {
                actions.extend(router.step(now_ms, Event::NotifyResult { id, delivered: true }));
            }
            waiting.extend(actions.into_iter().filter_map(|action| match action {
                Action::Notify(notification) => Some(notification.id),
                _ => None,
            }));
        }
        prop_assert_eq!(router.group_count(), 0);
        prop_assert!(router.pending.is_empty());
    }
}
