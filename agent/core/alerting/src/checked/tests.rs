//! What of a configuration is refused, and what is inherited.

use super::*;
use crate::config::{NamedTimeIntervals, TimeIntervalText};
use crate::matchers::{Syntax, parse};

fn receivers(names: &[&str]) -> Vec<Receiver> {
    let receiver = |name: &&str| Receiver {
        name: (*name).to_owned(),
        integrations: Vec::new(),
    };
    names.iter().map(receiver).collect()
}

fn check_with(config: &Config, names: &[&str]) -> Result<CheckedConfig, ConfigError> {
    CheckedConfig::new(config, receivers(names), &|name| TimeZone::get(name).ok())
}

/// A route with matchers in the UTF-8 grammar and a receiver ("" to inherit it).
fn route(matchers: &str, receiver: &str, change: impl FnOnce(&mut Route)) -> Route {
    let mut route = Route {
        receiver: (!receiver.is_empty()).then(|| receiver.to_owned()),
        matchers: parse(matchers, Syntax::Utf8).unwrap().matchers,
        ..Route::default()
    };
    change(&mut route);
    route
}

fn names(list: &[&str]) -> Option<Vec<String>> {
    Some(list.iter().map(|name| (*name).to_owned()).collect())
}

fn labels(text: &str) -> Labels {
    let pairs = text.split(',').filter(|pair| !pair.is_empty());
    Labels::from_pairs(pairs.map(|pair| pair.split_once('=').unwrap()))
}

fn seconds(count: u64) -> Option<u64> {
    Some(count * 1000)
}

/// The tree that Alertmanager's own routing test uses.
fn tree() -> CheckedConfig {
    let env = vec![
        route("env=testing", "notify-testing", |r| {
            r.group_by = names(&["..."]);
        }),
        route("env=production", "notify-productionA", |r| {
            r.group_wait_ms = seconds(60);
            r.continue_matching = true;
        }),
        route("", "notify-productionB", |r| {
            let regex = |name: &str, text| Route::match_re(name, text).unwrap();
            r.matchers = vec![regex("env", "produ.*"), regex("job", ".*")];
            r.group_wait_ms = seconds(30);
            r.group_interval_ms = seconds(300);
            r.repeat_interval_ms = seconds(3600);
            r.group_by = names(&["job"]);
        }),
    ];
    let wait = route("wait=long", "", |r| r.group_wait_ms = seconds(120));
    let testing = route("env=testing", "notify-testing", |r| r.routes = vec![wait]);
    let root = route("", "notify-def", |r| {
        r.routes = vec![
            route("owner=team-A", "notify-A", |r| r.routes = env),
            route("", "notify-BC", |r| {
                r.matchers = vec![Route::match_re("owner", "team-(B|C)").unwrap()];
                r.group_by = names(&["foo", "bar"]);
                r.group_wait_ms = seconds(120);
            }),
            route("group_by=role", "", |r| {
                r.group_by = names(&["role"]);
                r.routes = vec![testing];
            }),
        ];
    });
    let receivers = [
        "notify-def",
        "notify-A",
        "notify-BC",
        "notify-testing",
        "notify-productionA",
        "notify-productionB",
    ];
    check_with(&Config::new(root), &receivers).unwrap()
}

fn describe(config: &CheckedConfig, route: usize) -> String {
    let node = &config.routes[route];
    let group_by = match &node.group_by {
        GroupBy::EveryLabel => "...".to_owned(),
        GroupBy::Labels(names) => names.iter().cloned().collect::<Vec<_>>().join(","),
    };
    let text = |ms: i64| duration::format_ms(u64::try_from(ms).unwrap());
    let timers = [
        text(node.group_wait_ms),
        text(node.group_interval_ms),
        text(node.repeat_interval_ms),
    ];
    format!(
        "{} [{group_by}] {} {}",
        node.receiver,
        timers.join(" "),
        node.id
    )
}

#[test]
fn routing() {
    let config = tree();
    for (alert, expected) in [
        ("", vec!["notify-def [] 30s 5m 4h {}"]),
        (
            "owner=team-A",
            vec![r#"notify-A [] 30s 5m 4h {}/{owner="team-A"}"#],
        ),
        (
            "owner=team-A,env=unset",
            vec![r#"notify-A [] 30s 5m 4h {}/{owner="team-A"}"#],
        ),
        (
            "owner=team-C",
            vec![r#"notify-BC [bar,foo] 2m 5m 4h {}/{owner=~"^(?:team-(B|C))$"}"#],
        ),
        (
            "owner=team-A,env=testing",
            vec![r#"notify-testing [...] 30s 5m 4h {}/{owner="team-A"}/{env="testing"}"#],
        ),
        (
            "owner=team-A,env=production",
            vec![
                r#"notify-productionA [] 1m 5m 4h {}/{owner="team-A"}/{env="production"}"#,
                r#"notify-productionB [job] 30s 5m 1h {}/{owner="team-A"}/{env=~"^(?:produ.*)$",job=~"^(?:.*)$"}"#,
            ],
        ),
        (
            "group_by=role",
            vec![r#"notify-def [role] 30s 5m 4h {}/{group_by="role"}"#],
        ),
        (
            "group_by=role,env=testing",
            vec![r#"notify-testing [role] 30s 5m 4h {}/{group_by="role"}/{env="testing"}"#],
        ),
        (
            "group_by=role,env=testing,wait=long",
            vec![
                r#"notify-testing [role] 2m 5m 4h {}/{group_by="role"}/{env="testing"}/{wait="long"}"#,
            ],
        ),
    ] {
        let routes = config.routes_of(&labels(alert));
        let routes: Vec<String> = routes.into_iter().map(|r| describe(&config, r)).collect();
        assert_eq!(routes, expected, "{alert}");
    }
}

#[test]
fn group_by_is_inherited_until_it_is_written() {
    let root = route("", "r", |r| {
        r.group_by = names(&["..."]);
        r.routes = vec![
            route("a=1", "", |_| {}),
            route("a=2", "", |r| r.group_by = names(&["x"])),
            route("a=3", "", |r| r.group_by = names(&[])),
        ];
    });
    let config = check_with(&Config::new(root), &["r"]).unwrap();
    for (alert, expected) in [
        ("a=1,x=1", r#"{a="1", x="1"}"#),
        ("a=2,x=1", r#"{x="1"}"#),
        ("a=3,x=1", "{}"),
    ] {
        let alert = labels(alert);
        let node = &config.routes[config.routes_of(&alert)[0]];
        assert_eq!(node.group_by.labels_of(&alert).to_string(), expected);
    }
}

#[test]
fn equal_siblings_have_ids_of_their_own() {
    let root = route("", "r", |r| {
        r.routes = vec![
            route("a=1", "", |r| r.continue_matching = true),
            route("a=1", "", |_| {}),
        ];
    });
    let config = check_with(&Config::new(root), &["r"]).unwrap();
    let of = |field: fn(&RouteNode) -> &Arc<str>| -> Vec<String> {
        let routes = config.routes_of(&labels("a=1")).into_iter();
        routes
            .map(|at| field(&config.routes[at]).to_string())
            .collect()
    };
    assert_eq!(of(|r| &r.key), [r#"{}/{a="1"}"#, r#"{}/{a="1"}"#]);
    assert_eq!(of(|r| &r.id), [r#"{}/{a="1"}"#, r#"{}/{a="1"}#2"#]);
}

#[test]
fn receivers_as_amtool_tests_them() {
    let children = |reverse: bool| {
        let mut children = vec![
            route("test=~\"^[12]$\"", "test1", |r| r.continue_matching = true),
            route("test=2", "test2", |r| r.continue_matching = true),
        ];
        if reverse {
            children.reverse();
        }
        route("", "default", |r| r.routes = children)
    };
    for (reverse, alert, expected) in [
        (false, "test=1", "test1"),
        (false, "test=2", "test1,test2"),
        (false, "test=3", "default"),
        (true, "test=2", "test2,test1"),
    ] {
        let config = Config::new(children(reverse));
        let config = check_with(&config, &["default", "test1", "test2"]).unwrap();
        assert_eq!(config.receivers_of(&labels(alert)).join(","), expected);
    }
}

#[test]
fn labels_of_routes_are_merged_downwards() {
    let pairs = |list: &[(&str, &str)]| -> BTreeMap<String, String> {
        let owned = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
        list.iter().map(owned).collect()
    };
    let root = route("", "r", |r| {
        r.labels = pairs(&[("team", "ops"), ("tier", "1")]);
        r.routes = vec![route("a=1", "", |r| r.labels = pairs(&[("tier", "2")]))];
    });
    let config = check_with(&Config::new(root), &["r"]).unwrap();
    assert_eq!(
        *config.routes[1].labels,
        pairs(&[("team", "ops"), ("tier", "2")])
    );
}

#[test]
fn wrong_configurations_are_refused_with_their_place() {
    let root = |change: fn(&mut Route)| route("", "r", change);
    let below = |change: fn(&mut Route)| {
        let children = vec![route("a=1", "", |r| {
            r.routes = vec![route("b=1", "", change)];
        })];
        route("", "r", |r| r.routes = children)
    };
    for (route, expected) in [
        (
            route("", "", |_| {}),
            "route.receiver: root route must specify a default receiver",
        ),
        (
            route("a=1", "r", |_| {}),
            "route.matchers: root route must not have any matchers",
        ),
        (
            root(|r| r.continue_matching = true),
            "route.continue: cannot have continue in root route",
        ),
        (
            root(|r| r.mute_time_intervals = vec!["night".to_owned()]),
            "route.mute_time_intervals: root route must not have any mute time intervals",
        ),
        (
            root(|r| r.active_time_intervals = vec!["night".to_owned()]),
            "route.active_time_intervals: root route must not have any active time intervals",
        ),
        (
            route("", "other", |_| {}),
            "route.receiver: undefined receiver \"other\" used in route",
        ),
        (
            below(|r| r.receiver = Some("other".to_owned())),
            "route.routes[0].routes[0].receiver: undefined receiver \"other\" used in route",
        ),
        (
            below(|r| r.mute_time_intervals = vec!["day".to_owned()]),
            "route.routes[0].routes[0].mute_time_intervals[0]: undefined time interval \"day\" \
             used in route",
        ),
        (
            below(|r| r.active_time_intervals = vec!["night".to_owned(), "day".to_owned()]),
            "route.routes[0].routes[0].active_time_intervals[1]: undefined time interval \"day\" \
             used in route",
        ),
        (
            root(|r| r.group_by = names(&["a", "b", "a"])),
            "route.group_by: duplicated label \"a\" in group_by",
        ),
        (
            root(|r| r.group_by = names(&["...", "a"])),
            "route.group_by: cannot have wildcard group_by (`...`) and other labels at the same \
             time",
        ),
        (
            root(|r| r.group_by = names(&[""])),
            "route.group_by: invalid label name \"\" in group_by list",
        ),
        (
            root(|r| r.group_interval_ms = Some(0)),
            "route.group_interval: group_interval cannot be zero",
        ),
        (
            below(|r| r.repeat_interval_ms = Some(0)),
            "route.routes[0].routes[0].repeat_interval: repeat_interval cannot be zero",
        ),
    ] {
        let mut config = Config::new(route);
        config.time_intervals = vec![NamedTimeIntervals {
            name: "night".to_owned(),
            intervals: Vec::new(),
        }];
        let error = check_with(&config, &["r"]).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn names_must_be_given_and_unique() {
    let config = Config::new(route("", "r", |_| {}));
    for (receivers, expected) in [
        (&["r", ""], "receivers[1].name: missing name in receiver"),
        (
            &["r", "r"],
            "receivers[1].name: notification config name \"r\" is not unique",
        ),
    ] {
        let error = check_with(&config, receivers).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    for (intervals, expected) in [
        (
            [("", ""), ("b", "")],
            "time_intervals[0].name: missing name in time interval",
        ),
        (
            [("a", ""), ("a", "")],
            "time_intervals[1].name: mute time interval \"a\" is not unique",
        ),
        (
            [("a", ""), ("b", "friday:monday")],
            "time_intervals[1].time_intervals[0].weekdays[0]: friday:monday: the end is before \
             the start",
        ),
    ] {
        let interval = |(name, weekdays): &(&str, &str)| NamedTimeIntervals {
            name: (*name).to_owned(),
            intervals: vec![TimeIntervalText {
                weekdays: names(&[weekdays])
                    .unwrap_or_default()
                    .into_iter()
                    .filter(|text| !text.is_empty())
                    .collect(),
                ..TimeIntervalText::default()
            }],
        };
        let mut config = config.clone();
        config.time_intervals = intervals.iter().map(interval).collect();
        let error = check_with(&config, &["r"]).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn classic_mode_is_strict_about_group_by() {
    let root = route("", "r", |r| r.group_by = names(&["-invalid-"]));
    let mut config = Config::new(root);
    assert!(check_with(&config, &["r"]).is_ok());
    config.label_names = LabelNames::Classic;
    let error = check_with(&config, &["r"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "route.group_by: invalid label name \"-invalid-\" in group_by list"
    );
}

#[test]
fn warns_of_intervals_that_are_hardly_meant() {
    let root = route("", "r", |r| {
        r.routes = vec![
            route("a=1", "", |r| r.repeat_interval_ms = seconds(6 * 24 * 3600)),
            route("a=2", "", |r| r.repeat_interval_ms = seconds(60)),
        ];
    });
    let config = check_with(&Config::new(root), &["r"]).unwrap();
    assert_eq!(
        config.warnings(),
        [
            "route.routes[0]: repeat_interval 6d is longer than the data retention 5d; \
             notifications can repeat early",
            "route.routes[1]: repeat_interval 1m is shorter than group_interval 5m; \
             notifications repeat every 5m",
        ]
    );
}
