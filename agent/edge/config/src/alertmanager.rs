//! `alertmanager.yml`: routing, receivers, and what of them is delivered.

use std::collections::BTreeSet;
use std::path::PathBuf;

use jiff::tz::TimeZone;
use narthex_alerting::CheckedConfig;
use narthex_alerting::config::{
    Config as Routing, InhibitRule, NamedTimeIntervals, Receiver, Route, TimeIntervalText,
    TimeRangeText,
};
use narthex_alerting::matchers::{self, Syntax};
use narthex_http_client::{HttpClientConfig, Secret};
use narthex_model::{MatchOp, Matcher};
use narthex_notify::{ReceiverConfig, WebhookConfig, WebhookUrl};

use crate::error::{Faults, Position};
use crate::reading::{Document, Reading, note};
use crate::schema::{self, Kind, alertmanager::INHIBIT_RULE};
use crate::show;
use crate::yaml::Node;

pub(crate) const SHAPE: Kind = Kind::Object(&schema::alertmanager::ALERTMANAGER);

/// What the notifier needs. `external_url` goes into links; templates' files are watched.
pub(crate) fn build(
    document: &Document,
    external_url: &str,
    reading: &mut Reading,
) -> narthex_notify::Config {
    let templates: Vec<PathBuf> = document
        .root
        .strings("templates")
        .iter()
        .map(|pattern| document.resolve(pattern))
        .collect();
    reading.watched.extend(templates);
    reading.build(&document.path, |faults, notices| {
        check_inhibit_rules(&document.root, faults);
        check_credentials(&document.root, faults);
        note_unsupported(&document.root, notices);
        let config = narthex_notify::Config {
            routing: routing(&document.root, faults, notices),
            receivers: receivers(document, notices),
            external_url: external_url.to_owned(),
            original: show::yaml(&document.root, SHAPE),
        };
        if faults.is_empty() {
            check_routing(&config, &document.root, faults, notices);
        }
        config
    })
}

fn routing(root: &Node, faults: &mut Faults, notices: &mut Vec<String>) -> Routing {
    let route = root.part("route");
    match root.get("route") {
        None => faults.push(
            root.at,
            "",
            "no route provided in config: `route` with a `receiver` is required",
        ),
        Some(route) if route.is_null() => {
            faults.push(
                route.at,
                "route",
                "no routes provided: `receiver` is required",
            );
        }
        Some(_) => {}
    }
    let mut routing = Routing::new(self::route(route, faults, notices));
    let rules = root.part("inhibit_rules").items().iter();
    routing.inhibit_rules = rules
        .filter(|rule| !rule.is_null())
        .map(|rule| inhibit_rule(rule, faults, notices))
        .collect();
    routing.time_intervals = ["time_intervals", "mute_time_intervals"]
        .into_iter()
        .flat_map(|name| root.part(name).items())
        .map(time_intervals)
        .collect();
    if let Some(timeout_ms) = root.part("global").duration_ms("resolve_timeout") {
        routing.resolve_timeout_ms = timeout_ms;
    }
    routing
}

fn route(node: &Node, faults: &mut Faults, notices: &mut Vec<String>) -> Route {
    let list = |name: &str| node.get(name).filter(|list| !list.is_null());
    Route {
        receiver: node.string("receiver").map(str::to_owned),
        group_by: list("group_by").map(|_| node.strings("group_by")),
        matchers: matchers_of(node, "", faults, notices),
        continue_matching: node.boolean("continue").unwrap_or(false),
        group_wait_ms: node.duration_ms("group_wait"),
        group_interval_ms: node.duration_ms("group_interval"),
        repeat_interval_ms: node.duration_ms("repeat_interval"),
        mute_time_intervals: node.strings("mute_time_intervals"),
        active_time_intervals: node.strings("active_time_intervals"),
        labels: node
            .pairs("labels")
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        routes: node
            .part("routes")
            .items()
            .iter()
            .map(|child| route(child, faults, notices))
            .collect(),
    }
}

/// `matchers`, `match` and `match_re`, each with `prefix` before its name.
fn matchers_of(
    node: &Node,
    prefix: &str,
    faults: &mut Faults,
    notices: &mut Vec<String>,
) -> Vec<Matcher> {
    let mut found = Vec::new();
    for (name, op) in [("match", MatchOp::Equal), ("match_re", MatchOp::Regex)] {
        for entry in node.part(&format!("{prefix}{name}")).entries() {
            let value = entry.value.text().unwrap_or_default();
            let matcher = match op {
                MatchOp::Regex => Route::match_re(&entry.key, value),
                op => Matcher::new(entry.key.as_str(), op, value),
            };
            match matcher {
                Ok(matcher) => found.push(matcher),
                Err(error) => {
                    faults.push(entry.value.at, &entry.value.path, error.to_string());
                }
            }
        }
    }
    let list = node.part(&format!("{prefix}matchers"));
    let single = list
        .text()
        .is_some_and(|text| !text.is_empty())
        .then_some(list);
    for item in list.items().iter().chain(single) {
        let text = item.text().unwrap_or_default();
        match matchers::parse(text, Syntax::Fallback) {
            Ok(parsed) => {
                if let Some(warning) = parsed.warning {
                    note(notices, item, &warning);
                }
                found.extend(parsed.matchers);
            }
            Err(error) => faults.push(item.at, &item.path, error.to_string()),
        }
    }
    found
}

fn check_inhibit_rules(root: &Node, faults: &mut Faults) {
    for rule in root.part("inhibit_rules").items() {
        schema::check(rule, Kind::Object(&INHIBIT_RULE), faults);
    }
}

fn inhibit_rule(node: &Node, faults: &mut Faults, notices: &mut Vec<String>) -> InhibitRule {
    InhibitRule {
        name: node.string("name").map(str::to_owned),
        source_matchers: matchers_of(node, "source_", faults, notices),
        target_matchers: matchers_of(node, "target_", faults, notices),
        equal: node.strings("equal").into_iter().collect::<BTreeSet<_>>(),
    }
}

fn time_intervals(node: &Node) -> NamedTimeIntervals {
    let interval = |node: &Node| TimeIntervalText {
        times: node
            .part("times")
            .items()
            .iter()
            .map(|range| TimeRangeText {
                start_time: range.string("start_time").unwrap_or_default().to_owned(),
                end_time: range.string("end_time").unwrap_or_default().to_owned(),
            })
            .collect(),
        weekdays: node.strings("weekdays"),
        days_of_month: node.strings("days_of_month"),
        months: node.strings("months"),
        years: node.strings("years"),
        location: node.string("location").map(str::to_owned),
    };
    NamedTimeIntervals {
        name: node.string("name").unwrap_or_default().to_owned(),
        intervals: node
            .part("time_intervals")
            .items()
            .iter()
            .map(interval)
            .collect(),
    }
}

/// What the router finds wrong, brought back to its line.
fn check_routing(
    config: &narthex_notify::Config,
    root: &Node,
    faults: &mut Faults,
    notices: &mut Vec<String>,
) {
    let receivers = config
        .receivers
        .iter()
        .map(|receiver| Receiver {
            name: receiver.name.clone(),
            integrations: Vec::new(),
        })
        .collect();
    match CheckedConfig::new(&config.routing, receivers, &zone) {
        Ok(checked) => {
            let warnings = checked.warnings().iter();
            notices.extend(warnings.map(|warning| format!(" {warning}")));
        }
        Err(error) => {
            let field = in_file(&error.field, root);
            let (at, path) = place(root, &field);
            faults.push(at, &path, error.message);
        }
    }
}

pub(crate) fn zone(name: &str) -> Option<TimeZone> {
    match name {
        "Local" => Some(TimeZone::system()),
        name => TimeZone::get(name).ok(),
    }
}

/// The router sees both lists of time intervals as one.
fn in_file(field: &str, root: &Node) -> String {
    let own = root.part("time_intervals").items().len();
    let split = field
        .strip_prefix("time_intervals[")
        .and_then(|rest| rest.split_once(']'));
    if let Some((index, rest)) = split
        && let Ok(index) = index.parse::<usize>()
        && index >= own
    {
        return format!("mute_time_intervals[{}]{rest}", index - own);
    }
    field.to_owned()
}

/// Where the field stands, or the nearest part around it that is there.
fn place(root: &Node, field: &str) -> (Position, String) {
    let mut node = root;
    for step in field.split(['.', '[']) {
        let next = match step.strip_suffix(']') {
            Some(index) => index
                .parse::<usize>()
                .ok()
                .and_then(|index| node.items().get(index)),
            None => node.get(step),
        };
        match next {
            Some(next) => node = next,
            None => break,
        }
    }
    (node.at, field.to_owned())
}

fn receivers(document: &Document, notices: &mut Vec<String>) -> Vec<ReceiverConfig> {
    let global = document.root.part("global").part("http_config");
    let global = crate::http::client(global, &document.directory, notices);
    document
        .root
        .part("receivers")
        .items()
        .iter()
        .map(|node| {
            note_undelivered(node, notices);
            ReceiverConfig {
                name: node.string("name").unwrap_or_default().to_owned(),
                webhooks: node
                    .part("webhook_configs")
                    .items()
                    .iter()
                    .map(|webhook| self::webhook(webhook, document, &global, notices))
                    .collect(),
            }
        })
        .collect()
}

fn webhook(
    node: &Node,
    document: &Document,
    global: &HttpClientConfig,
    notices: &mut Vec<String>,
) -> WebhookConfig {
    if let Some(payload) = node.get("payload").filter(|payload| !payload.is_null()) {
        note(
            notices,
            payload,
            "a payload of one's own is not supported yet: the standard one is sent",
        );
    }
    let file = || WebhookUrl::File(document.resolve(node.string("url_file").unwrap_or_default()));
    let inline = |url: &str| WebhookUrl::Inline(Secret(url.to_owned()));
    WebhookConfig {
        send_resolved: node.boolean("send_resolved").unwrap_or(true),
        url: node.string("url").map_or_else(file, inline),
        // A receiver's own block replaces the global one as a whole.
        http: match node.get("http_config").filter(|own| !own.is_null()) {
            Some(own) => crate::http::client(own, &document.directory, notices),
            None => global.clone(),
        },
        max_alerts: node.whole("max_alerts").unwrap_or(0),
        timeout_ms: node.duration_ms("timeout").unwrap_or(0),
    }
}

/// A credential of a receiver that `global` may have instead: the receiver's fields, the global
/// ones, and what it is.
const INHERITED: [(&str, &[&str], &[&str], &str); 12] = [
    (
        "slack_configs",
        &["api_url", "api_url_file", "app_token", "app_token_file"],
        &[
            "slack_api_url",
            "slack_api_url_file",
            "slack_app_token",
            "slack_app_token_file",
        ],
        "Slack API URL or app token",
    ),
    (
        "opsgenie_configs",
        &["api_key", "api_key_file"],
        &["opsgenie_api_key", "opsgenie_api_key_file"],
        "OpsGenie API key",
    ),
    (
        "victorops_configs",
        &["api_key", "api_key_file"],
        &["victorops_api_key", "victorops_api_key_file"],
        "VictorOps API key",
    ),
    (
        "wechat_configs",
        &["api_secret", "api_secret_file"],
        &["wechat_api_secret", "wechat_api_secret_file"],
        "WeChat API secret",
    ),
    (
        "wechat_configs",
        &["corp_id"],
        &["wechat_api_corp_id"],
        "WeChat corp ID",
    ),
    (
        "telegram_configs",
        &["bot_token", "bot_token_file"],
        &["telegram_bot_token", "telegram_bot_token_file"],
        "Telegram bot token",
    ),
    (
        "rocketchat_configs",
        &["token", "token_file"],
        &["rocketchat_token", "rocketchat_token_file"],
        "Rocket.Chat token",
    ),
    (
        "rocketchat_configs",
        &["token_id", "token_id_file"],
        &["rocketchat_token_id", "rocketchat_token_id_file"],
        "Rocket.Chat token ID",
    ),
    (
        "mattermost_configs",
        &["webhook_url", "webhook_url_file"],
        &["mattermost_webhook_url", "mattermost_webhook_url_file"],
        "Mattermost webhook URL",
    ),
    (
        "jira_configs",
        &["api_url"],
        &["jira_api_url"],
        "Jira API URL",
    ),
    (
        "email_configs",
        &["smarthost"],
        &["smtp_smarthost"],
        "SMTP smarthost",
    ),
    ("email_configs", &["from"], &["smtp_from"], "SMTP from"),
];

fn check_credentials(root: &Node, faults: &mut Faults) {
    let global = root.part("global");
    let any_set = |node: &Node, names: &[&str]| names.iter().any(|name| node.is_set(name));
    for receiver in root.part("receivers").items() {
        for (list, own, inherited, what) in INHERITED {
            for node in receiver.part(list).items() {
                if !any_set(node, own) && !any_set(global, inherited) {
                    let place = inherited.join("` or `global.");
                    faults.push(
                        node.at,
                        &node.path,
                        format!(
                            "no global {what} set: set `{}` here or `global.{place}`",
                            own.join("` or `")
                        ),
                    );
                }
            }
        }
        for node in receiver.part("slack_configs").items() {
            check_slack(node, global, faults);
        }
    }
}

/// A message is changed through the app's API only, never through an incoming webhook.
fn check_slack(node: &Node, global: &Node, faults: &mut Faults) {
    let uses_url = node.is_set("api_url") || node.is_set("api_url_file");
    let uses_token = node.is_set("app_token") || node.is_set("app_token_file");
    if uses_url && uses_token {
        faults.push(
            node.at,
            &node.path,
            "at most one of `api_url` and `app_token` may be set",
        );
    }
    let global_token = global.is_set("slack_app_token") || global.is_set("slack_app_token_file");
    let by_webhook = uses_url || !(uses_token || global_token);
    let is_app_url = |url: &str| url.ends_with("/api/chat.postMessage");
    let url = node.string("api_url").or(global.string("slack_api_url"));
    if node.boolean("update_message") == Some(true) && by_webhook && !url.is_some_and(is_app_url) {
        faults.push(
            node.place_of("update_message"),
            &node.field_of("update_message"),
            "needs `app_token`: an incoming webhook can't change a message",
        );
    }
}

/// Says which receivers will stay silent.
fn note_undelivered(receiver: &Node, notices: &mut Vec<String>) {
    for entry in receiver.entries() {
        let kind = entry.key.strip_suffix("_configs");
        if let Some(kind) = kind.filter(|kind| *kind != "webhook")
            && !entry.value.items().is_empty()
        {
            note(
                notices,
                &entry.value,
                &format!(
                    "{kind} is not supported yet: the receiver \"{}\" sends nothing through it \
                     (webhook_configs are delivered)",
                    receiver.string("name").unwrap_or_default()
                ),
            );
        }
    }
}

fn note_unsupported(root: &Node, notices: &mut Vec<String>) {
    for (name, text) in [
        ("tracing", "tracing is not supported yet: no spans are sent"),
        (
            "event_recorder",
            "the event recorder is not supported yet: nothing is recorded",
        ),
    ] {
        let used = |part: &&Node| !part.items().is_empty() || !part.entries().is_empty();
        if let Some(part) = root.get(name).filter(used) {
            note(notices, part, text);
        }
    }
}
