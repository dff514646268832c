//! Scenarios on a virtual clock: what is reported over time, and who is told what when.
//!
//! They are written in the files of the folder `scenarios`, whose README tells the language. The
//! timeline that a run gives is compared with the one in the file, line by line.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use narthex_model::matcher::all_match;
use narthex_model::{Labels, Matcher};

use crate::config::{
    Config, InhibitRule, Integration, NamedTimeIntervals, Receiver, Route, TimeIntervalText,
    TimeRangeText,
};
use crate::matchers::{Syntax, parse};
use crate::{Action, Alert, AlertFilter, CheckedConfig, Event, Notification, PostedAlert, Router};

/// How soon the simulated sender tries again.
const RETRY_MS: i64 = 500;

struct Scenario {
    title: String,
    start_ms: i64,
    config: Config,
    receivers: Vec<Receiver>,
    start_delay_ms: i64,
    outages: Vec<Outage>,
    events: Vec<(i64, Input)>,
    end_ms: i64,
    expected: Vec<String>,
}

enum Input {
    Push(Vec<PostedAlert>),
    /// A change to the root route, or nothing: a reload.
    Config(Vec<(String, String)>),
    ShowAlerts,
    ShowGroups,
}

struct Outage {
    integration: String,
    from_ms: i64,
    to_ms: i64,
    /// The sender tries again until the deadline.
    retried: bool,
}

#[test]
fn every_scenario_ends_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let (mut count, mut wrong) = (0, String::new());
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "txt") {
            continue;
        }
        for scenario in read_scenarios(&fs::read_to_string(path).unwrap()) {
            let (title, expected) = (scenario.title.clone(), scenario.expected.join("\n"));
            let timeline = Run::new(scenario).run().join("\n");
            if timeline != expected {
                let _ = writeln!(wrong, "# {title}\n{timeline}\n# instead of\n{expected}\n");
            }
            count += 1;
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(count > 20, "only {count} scenarios were found");
}

struct Run {
    scenario: Scenario,
    router: Router,
    /// Notifications that failed and are tried again at a time.
    retries: Vec<(i64, Notification)>,
    timeline: Vec<String>,
}

impl Run {
    fn new(scenario: Scenario) -> Run {
        let start_ms = scenario.start_ms;
        let config = check(&scenario);
        let not_before_ms = start_ms + scenario.start_delay_ms;
        Run {
            router: Router::new(config, start_ms, not_before_ms),
            scenario,
            retries: Vec::new(),
            timeline: Vec::new(),
        }
    }

    fn run(mut self) -> Vec<String> {
        let mut events = std::mem::take(&mut self.scenario.events)
            .into_iter()
            .peekable();
        loop {
            let event_ms = events.peek().map(|(at, _)| *at);
            let retry_ms = self.retries.iter().map(|(at, _)| *at).min();
            let wake_ms = Some(self.router.next_wake_ms());
            let times = [wake_ms, event_ms, retry_ms];
            let now_ms = times.into_iter().flatten().min().unwrap();
            if now_ms > self.scenario.end_ms {
                return self.timeline;
            }
            if retry_ms == Some(now_ms) {
                self.retry(now_ms);
            } else if event_ms == Some(now_ms) {
                let (_, input) = events.next().unwrap();
                self.take(now_ms, input);
            } else {
                self.step(now_ms, Event::Tick);
            }
        }
    }

    fn take(&mut self, now_ms: i64, input: Input) {
        match input {
            Input::Push(alerts) => {
                let timeout_ms = self.router.resolve_timeout_ms();
                let names = self.router.label_names();
                let admit = |alert| Alert::admit(alert, now_ms, timeout_ms, names).unwrap();
                let alerts = alerts.into_iter().map(admit).collect();
                self.step(now_ms, Event::Alerts(alerts));
            }
            Input::Config(changes) => {
                for (key, value) in changes {
                    match key.as_str() {
                        "revision" => set_revision(&mut self.scenario.receivers, &value),
                        key => set_route(&mut self.scenario.config.route, key, &value),
                    }
                }
                let config = check(&self.scenario);
                self.step(now_ms, Event::ConfigChanged(Box::new(config)));
            }
            Input::ShowAlerts => {
                for view in self.router.alerts(&AlertFilter::default(), now_ms) {
                    let alert = self.text(&view.alert, false);
                    let receivers = view.receivers.join(" ");
                    let state = view.state.as_str();
                    self.note(now_ms, &format!("alert {alert} {state} {receivers}"));
                }
            }
            Input::ShowGroups => {
                for group in self.router.groups(&AlertFilter::default(), now_ms) {
                    let views = group.alerts.iter();
                    let alerts: Vec<String> = views
                        .map(|v| format!("{} {}", self.text(&v.alert, false), v.state.as_str()))
                        .collect();
                    let text = format!("group {} {}: ", group.receiver, group.labels);
                    self.note(now_ms, &(text + &alerts.join(" ")));
                }
            }
        }
    }

    fn step(&mut self, now_ms: i64, event: Event) {
        for action in self.router.step(now_ms, event) {
            match action {
                Action::Notify(notification) => self.send(now_ms, notification),
                Action::NothingToSend { .. } => {}
                Action::Suppressed { reason, alerts } => {
                    self.note(now_ms, &format!("suppressed {alerts} {}", reason.as_str()));
                }
            }
        }
    }

    fn retry(&mut self, now_ms: i64) {
        let retries = std::mem::take(&mut self.retries);
        let (due, later) = retries.into_iter().partition(|(at, _)| *at == now_ms);
        self.retries = later;
        for (_, notification) in due {
            self.send(now_ms, notification);
        }
    }

    fn send(&mut self, now_ms: i64, notification: Notification) {
        let integration = self.integration_of(&notification);
        let outage = self.scenario.outages.iter().find(|outage| {
            outage.integration == integration && (outage.from_ms..outage.to_ms).contains(&now_ms)
        });
        let retried = outage.map(|outage| outage.retried);
        let again_ms = now_ms + RETRY_MS;
        if retried == Some(true) && again_ms < notification.deadline_ms {
            self.retries.push((again_ms, notification));
            return;
        }
        let id = notification.id;
        if retried.is_none() {
            let alerts: Vec<String> = notification
                .alerts
                .iter()
                .map(|told| self.text(&told.alert, told.resolved))
                .collect();
            let reason = notification.reason.as_str();
            let text = format!("{integration} {} ({reason})", alerts.join(" "));
            self.note(now_ms, &text);
        } else {
            self.note(now_ms, &format!("{integration} failed"));
        }
        let delivered = retried.is_none();
        self.step(now_ms, Event::NotifyResult { id, delivered });
    }

    fn integration_of(&self, notification: &Notification) -> String {
        let receivers = &self.scenario.receivers;
        let receiver = receivers
            .iter()
            .find(|receiver| *receiver.name == *notification.receiver);
        let integrations = &receiver.unwrap().integrations;
        integrations[notification.integration].identity.clone()
    }

    fn note(&mut self, now_ms: i64, text: &str) {
        let at = seconds(now_ms - self.scenario.start_ms);
        self.timeline.push(format!("{at} {text}"));
    }

    /// `name{labels}[start,end]/annotation`, the end only of a resolved alert.
    fn text(&self, alert: &Alert, resolved: bool) -> String {
        let mut out = alert.name().to_owned();
        let labels = alert.labels.without("alertname");
        if !labels.is_empty() {
            let pairs = labels.iter();
            let pairs: Vec<String> = pairs.map(|l| format!("{}={}", l.name, l.value)).collect();
            let _ = write!(out, "{{{}}}", pairs.join(","));
        }
        let since = |ms: i64| seconds(ms - self.scenario.start_ms);
        let _ = write!(out, "[{}", since(alert.starts_at_ms));
        if resolved {
            let _ = write!(out, ",{}", since(alert.ends_at_ms));
        }
        out.push(']');
        if let Some(annotation) = alert.annotations.get("ann") {
            let _ = write!(out, "/{annotation}");
        }
        out
    }
}

fn check(scenario: &Scenario) -> CheckedConfig {
    let zone = |name: &str| TimeZone::get(name).ok();
    CheckedConfig::new(&scenario.config, scenario.receivers.clone(), &zone).unwrap()
}

fn read_scenarios(text: &str) -> Vec<Scenario> {
    let mut scenarios: Vec<Scenario> = Vec::new();
    for line in text.lines() {
        let line = line.trim_end();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.strip_prefix("scenario ") {
            Some(title) => scenarios.push(Scenario::new(title)),
            None => scenarios.last_mut().unwrap().read_line(line),
        }
    }
    scenarios
}

impl Scenario {
    fn new(title: &str) -> Scenario {
        Scenario {
            title: title.to_owned(),
            start_ms: 1_700_000_000_000,
            config: Config::new(Route {
                receiver: Some("default".to_owned()),
                ..Route::default()
            }),
            receivers: Vec::new(),
            start_delay_ms: 0,
            outages: Vec::new(),
            events: Vec::new(),
            end_ms: 0,
            expected: Vec::new(),
        }
    }

    fn read_line(&mut self, line: &str) {
        if let Some(expected) = line.strip_prefix("=> ") {
            self.expected.push(expected.to_owned());
            return;
        }
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "start" => self.start_ms = rest.parse::<Timestamp>().unwrap().as_millisecond(),
            "resolve_timeout" => self.config.resolve_timeout_ms = positive(rest),
            "start_delay" => self.start_delay_ms = ms(rest),
            "receiver" => self.receivers.push(read_receiver(rest)),
            "route" => read_pairs(rest)
                .iter()
                .for_each(|(key, value)| set_route(&mut self.config.route, key, value)),
            "child" => {
                let mut child = Route::default();
                for (key, value) in read_pairs(rest) {
                    set_route(&mut child, &key, &value);
                }
                self.config.route.routes.push(child);
            }
            "inhibit" => self.config.inhibit_rules.push(read_inhibit_rule(rest)),
            "interval" => self.config.time_intervals.push(read_interval(rest)),
            "outage" => {
                let outage = read_outage(rest, self.start_ms);
                self.outages.push(outage);
            }
            "at" => {
                let event = self.read_event(rest);
                self.events.push(event);
            }
            "end" => self.end_ms = self.start_ms + ms(rest),
            _ => panic!("{}: what is {line:?}?", self.title),
        }
    }

    fn read_event(&self, text: &str) -> (i64, Input) {
        let (at, rest) = text.split_once(' ').unwrap();
        let (word, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let input = match word {
            "push" => Input::Push(
                rest.split(' ')
                    .map(|text| read_alert(text, self.start_ms))
                    .collect(),
            ),
            "reload" => Input::Config(read_pairs(rest)),
            "alerts" => Input::ShowAlerts,
            "groups" => Input::ShowGroups,
            _ => panic!("{}: what is {text:?}?", self.title),
        };
        (self.start_ms + ms(at), input)
    }
}

fn read_pairs(text: &str) -> Vec<(String, String)> {
    let pairs = text.split(' ').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap();
            (key.to_owned(), value.to_owned())
        })
        .collect()
}

fn set_route(route: &mut Route, key: &str, value: &str) {
    let list = |text: &str| -> Vec<String> {
        let items = text.split(',').filter(|item| !item.is_empty());
        items.map(str::to_owned).collect()
    };
    match key {
        "receiver" => route.receiver = Some(value.to_owned()),
        "group_by" => route.group_by = Some(list(value)),
        "wait" => route.group_wait_ms = Some(positive(value)),
        "interval" => route.group_interval_ms = Some(positive(value)),
        "repeat" => route.repeat_interval_ms = Some(positive(value)),
        "match" => route.matchers = matchers(value),
        "continue" => route.continue_matching = value == "true",
        "mute" => route.mute_time_intervals = list(value),
        "active" => route.active_time_intervals = list(value),
        _ => panic!("what is {key}={value}?"),
    }
}

/// `name integration integration:firing-only …`
fn read_receiver(text: &str) -> Receiver {
    let mut words = text.split(' ');
    let name = words.next().unwrap().to_owned();
    let integrations = words.map(|word| Integration {
        kind: "webhook".to_owned(),
        identity: word.trim_end_matches(":firing-only").to_owned(),
        revision: 0,
        send_resolved: !word.ends_with(":firing-only"),
    });
    Receiver {
        name,
        integrations: integrations.collect(),
    }
}

fn set_revision(receivers: &mut [Receiver], value: &str) {
    for integration in receivers.iter_mut().flat_map(|r| &mut r.integrations) {
        integration.revision = value.parse().unwrap();
    }
}

fn read_inhibit_rule(text: &str) -> InhibitRule {
    let mut rule = InhibitRule::default();
    for (key, value) in read_pairs(text) {
        match key.as_str() {
            "source" => rule.source_matchers = matchers(&value),
            "target" => rule.target_matchers = matchers(&value),
            "equal" => rule.equal = value.split(',').map(str::to_owned).collect(),
            _ => panic!("what is {key}={value}?"),
        }
    }
    rule
}

/// `name 22:00-22:01`
fn read_interval(text: &str) -> NamedTimeIntervals {
    let (name, times) = text.split_once(' ').unwrap();
    let (start, end) = times.split_once('-').unwrap();
    NamedTimeIntervals {
        name: name.to_owned(),
        intervals: vec![TimeIntervalText {
            times: vec![TimeRangeText {
                start_time: start.to_owned(),
                end_time: end.to_owned(),
            }],
            ..TimeIntervalText::default()
        }],
    }
}

/// `integration from-to` or `integration from-to retried`
fn read_outage(text: &str, start_ms: i64) -> Outage {
    let words: Vec<&str> = text.split(' ').collect();
    let (from, to) = words[1].split_once('-').unwrap();
    Outage {
        integration: words[0].to_owned(),
        from_ms: start_ms + ms(from),
        to_ms: start_ms + ms(to),
        retried: words.get(2) == Some(&"retried"),
    }
}

/// `name{label=value,…}[start,end]/annotation`; all but the name may be left out.
fn read_alert(text: &str, start_ms: i64) -> PostedAlert {
    let (text, annotation) = match text.split_once('/') {
        Some((text, annotation)) => (text, Some(annotation)),
        None => (text, None),
    };
    let (text, times) = match text.split_once('[') {
        Some((text, times)) => (text, times.trim_end_matches(']')),
        None => (text, ""),
    };
    let (name, labels) = match text.split_once('{') {
        Some((name, labels)) => (name, labels.trim_end_matches('}')),
        None => (text, ""),
    };
    let mut all = BTreeMap::from([("alertname".to_owned(), name.to_owned())]);
    all.extend(read_pairs(&labels.replace(',', " ")));
    let mut times = times
        .split(',')
        .map(|time| (!time.is_empty()).then(|| start_ms + ms(time)));
    PostedAlert {
        labels: all,
        annotations: annotation
            .map(|text| ("ann".to_owned(), text.to_owned()))
            .into_iter()
            .collect(),
        starts_at_ms: times.next().flatten(),
        ends_at_ms: times.next().flatten(),
        generator_url: String::new(),
    }
}

fn matchers(text: &str) -> Vec<Matcher> {
    parse(text, Syntax::Utf8).unwrap().matchers
}

/// Seconds with a fraction.
fn ms(text: &str) -> i64 {
    let seconds: f64 = text.parse().unwrap();
    (seconds * 1000.0).round() as i64
}

fn positive(text: &str) -> u64 {
    u64::try_from(ms(text)).unwrap()
}

fn seconds(ms: i64) -> String {
    format!("{}", ms as f64 / 1000.0)
}

/// The language's own reading, so that a scenario can't pass by being misread.
#[test]
fn alerts_are_read_as_written() {
    let alert = read_alert("a{x=1,y=2}[1.5,-3]/v1", 0);
    assert_eq!(alert.labels["alertname"], "a");
    let labels = Labels::from_pairs(alert.labels);
    assert!(all_match(&matchers("x=1,y=2"), &labels));
    assert_eq!(
        (alert.starts_at_ms, alert.ends_at_ms),
        (Some(1500), Some(-3000))
    );
    assert_eq!(alert.annotations["ann"], "v1");
    let alert = read_alert("a[,4]", 0);
    assert_eq!((alert.starts_at_ms, alert.ends_at_ms), (None, Some(4000)));
}
