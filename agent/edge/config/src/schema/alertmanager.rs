//! The shape of `alertmanager.yml`. What depends on `global` or on other parts of the tree is the
//! builder's.

use super::http::{HTTP_CONFIG, SIGV4, TLS};
use super::{
    Field, Kind, Object, TEXT_MAP, any_key, at_least_one, at_most_one, checked, choice, count,
    duration, field, flag, is_http_url, is_label_name, required, secret, text, texts,
};
use crate::error::Faults;
use crate::yaml::Node;

pub(crate) static ALERTMANAGER: Object = Object::new(
    "alertmanager.yml",
    &[&[
        field("global", Kind::Object(&GLOBAL)),
        field("route", Kind::Object(&ROUTE)),
        field("receivers", Kind::Objects(&RECEIVER)),
        field("inhibit_rules", Kind::List(&Kind::Anything)),
        texts("templates"),
        field("time_intervals", Kind::Objects(&TIME_INTERVALS)),
        field("mute_time_intervals", Kind::Objects(&TIME_INTERVALS)),
        field("tracing", Kind::Object(&TRACING)),
        field("event_recorder", Kind::Object(&EVENT_RECORDER)),
    ]],
);

static GLOBAL: Object = Object::new(
    "global",
    &[&[
        field("resolve_timeout", Kind::PositiveDuration),
        field("http_config", Kind::Object(&HTTP_CONFIG)),
        text("smtp_from"),
        text("smtp_auth_username"),
        secret("smtp_auth_password"),
        text("smtp_auth_password_file"),
        secret("smtp_auth_secret"),
        text("smtp_auth_secret_file"),
        text("smtp_auth_identity"),
        checked("smtp_smarthost", is_host_port),
        text("smtp_hello"),
        flag("smtp_require_tls"),
        field("smtp_tls_config", Kind::Object(&TLS)),
        flag("smtp_force_implicit_tls"),
        field("slack_api_url", SECRET_URL),
        text("slack_api_url_file"),
        secret("slack_app_token"),
        text("slack_app_token_file"),
        checked("slack_app_url", is_http_url),
        checked("pagerduty_url", is_http_url),
        checked("opsgenie_api_url", is_http_url),
        secret("opsgenie_api_key"),
        text("opsgenie_api_key_file"),
        checked("wechat_api_url", is_http_url),
        secret("wechat_api_secret"),
        text("wechat_api_secret_file"),
        text("wechat_api_corp_id"),
        checked("victorops_api_url", is_http_url),
        secret("victorops_api_key"),
        text("victorops_api_key_file"),
        checked("telegram_api_url", is_http_url),
        secret("telegram_bot_token"),
        text("telegram_bot_token_file"),
        checked("webex_api_url", is_http_url),
        checked("rocketchat_api_url", is_http_url),
        secret("rocketchat_token"),
        text("rocketchat_token_file"),
        secret("rocketchat_token_id"),
        text("rocketchat_token_id_file"),
        field("mattermost_webhook_url", SECRET_URL),
        text("mattermost_webhook_url_file"),
        checked("jira_api_url", is_http_url),
    ]],
)
.with(&[|node, faults| {
    for name in [
        "smtp_auth_password",
        "smtp_auth_secret",
        "slack_api_url",
        "slack_app_token",
        "opsgenie_api_key",
        "wechat_api_secret",
        "victorops_api_key",
        "telegram_bot_token",
        "rocketchat_token",
        "rocketchat_token_id",
        "mattermost_webhook_url",
    ] {
        at_most_one(node, &[name, &format!("{name}_file")], faults);
    }
    let has_token = node.is_set("slack_app_token") || node.is_set("slack_app_token_file");
    let app_url = node.string("slack_app_url").unwrap_or(SLACK_APP_URL);
    let is_app = node.string("slack_api_url") == Some(app_url);
    let has_url = node.is_set("slack_api_url") || node.is_set("slack_api_url_file");
    if has_token && has_url && !is_app {
        faults.push(
            node.place_of("slack_api_url"),
            &node.path,
            "at most one of `slack_api_url` and `slack_app_token` may be set",
        );
    }
}]);

pub(crate) const SLACK_APP_URL: &str = "https://slack.com/api/chat.postMessage";

const SECRET_URL: Kind = Kind::CheckedSecret(is_http_url);

/// What the literal `<secret>` in a dumped configuration may stand for is not checked again.
fn is_secret_url(text: &str) -> Result<(), String> {
    match text {
        "<secret>" => Ok(()),
        text => is_templated_url(text),
    }
}

/// A URL, or a template that gives one: that is known only when it is filled in.
fn is_templated_url(text: &str) -> Result<(), String> {
    match text.contains("{{") {
        true => super::is_template(text),
        false => is_http_url(text),
    }
}

/// `host:port`; the host may be missing, the port may not.
fn is_host_port(text: &str) -> Result<(), String> {
    let wanted = || Err(format!("expected host:port, got `{text}`"));
    if text.is_empty() {
        return Ok(());
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return wanted();
    };
    let bare_v6 = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
    match port.is_empty() || bare_v6 {
        true => wanted(),
        false => Ok(()),
    }
}

static ROUTE: Object = Object::new(
    "a route",
    &[&[
        text("receiver"),
        texts("group_by"),
        field("matchers", MATCHERS),
        field("match", Kind::Map(is_label_name, &Kind::Text)),
        field(
            "match_re",
            Kind::Map(is_label_name, &Kind::Checked(is_regex)),
        ),
        flag("continue"),
        duration("group_wait"),
        duration("group_interval"),
        duration("repeat_interval"),
        texts("mute_time_intervals"),
        texts("active_time_intervals"),
        field("labels", Kind::Map(is_label_name, &Kind::Text)),
        field("routes", Kind::Objects(&ROUTE)),
    ]],
)
.with(&[|node, faults| check_no_null(node.part("match_re"), faults)]);

const MATCHERS: Kind = Kind::ListOrOne(&Kind::Text);

/// A regex that is not there matches nothing that anyone meant.
fn check_no_null(map: &Node, faults: &mut Faults) {
    for entry in map.entries().iter().filter(|entry| entry.value.is_null()) {
        faults.push(
            entry.value.at,
            &entry.value.path,
            "the regular expression is missing",
        );
    }
}

pub(crate) fn is_regex(text: &str) -> Result<(), String> {
    narthex_model::Regexp::anchored(text)
        .map(|_| ())
        .map_err(|error| error.to_string())
}

/// An entry of `inhibit_rules`; an empty one is let pass, as Alertmanager does.
pub(crate) static INHIBIT_RULE: Object = Object::new(
    "an inhibit rule",
    &[&[
        text("name"),
        field("source_match", Kind::Map(is_label_name, &Kind::Text)),
        field(
            "source_match_re",
            Kind::Map(is_label_name, &Kind::Checked(is_regex)),
        ),
        field("source_matchers", MATCHERS),
        field("target_match", Kind::Map(is_label_name, &Kind::Text)),
        field(
            "target_match_re",
            Kind::Map(is_label_name, &Kind::Checked(is_regex)),
        ),
        field("target_matchers", MATCHERS),
        texts("equal"),
    ]],
)
.with(&[|node, faults| {
    check_no_null(node.part("source_match_re"), faults);
    check_no_null(node.part("target_match_re"), faults);
}]);

static TIME_INTERVALS: Object = Object::new(
    "a time interval (name, time_intervals)",
    &[&[
        required("name", Kind::Text),
        field("time_intervals", Kind::Objects(&TIME_INTERVAL)),
    ]],
);
static TIME_INTERVAL: Object = Object::new(
    "an element of time_intervals",
    &[&[
        field("times", Kind::Objects(&TIME_RANGE)),
        texts("weekdays"),
        texts("days_of_month"),
        texts("months"),
        texts("years"),
        text("location"),
    ]],
);
static TIME_RANGE: Object = Object::new(
    "a time range (start_time, end_time)",
    &[&[
        required("start_time", Kind::Text),
        required("end_time", Kind::Text),
    ]],
);

static TRACING: Object = Object::new(
    "tracing",
    &[&[
        choice("client_type", &["grpc", "http"]),
        required("endpoint", Kind::Text),
        field("sampling_fraction", Kind::Number(0.0, 1.0)),
        flag("insecure"),
        field("tls_config", Kind::Object(&TLS)),
        field("headers", Kind::Map(any_key, &Kind::Secret)),
        choice("compression", &["", "gzip"]),
        duration("timeout"),
    ]],
);

static EVENT_RECORDER: Object = Object::new(
    "event_recorder",
    &[&[field("outputs", Kind::Objects(&EVENT_OUTPUT))]],
);
static EVENT_OUTPUT: Object = Object::new(
    "an output of event_recorder",
    &[&[
        field("file", Kind::Object(&EVENT_FILE)),
        field("webhook", Kind::Object(&EVENT_WEBHOOK)),
        field("kafka", Kind::Object(&EVENT_KAFKA)),
        field("stdout", Kind::Anything),
    ]],
);
static EVENT_FILE: Object = Object::new("file", &[&[required("path", Kind::Text)]]);
static EVENT_WEBHOOK: Object = Object::new(
    "webhook",
    &[&[
        required("url", SECRET_URL),
        field("http_config", Kind::Object(&HTTP_CONFIG)),
        duration("timeout"),
        count("workers"),
        count("max_retries"),
        duration("retry_backoff"),
        flag("batch"),
        count("batch_max_events"),
        count("batch_max_bytes"),
        duration("batch_flush_interval"),
    ]],
);
static EVENT_KAFKA: Object = Object::new(
    "kafka",
    &[&[
        required("brokers", Kind::List(&Kind::Text)),
        required("topic", Kind::Text),
        text("client_id"),
        choice("format", &["json", "protobuf"]),
        text("acks"),
        text("compression"),
        count("buffer_size"),
        field("tls_config", Kind::Object(&TLS)),
    ]],
);

static RECEIVER: Object = Object::new(
    "a receiver",
    &[&[
        required("name", Kind::Text),
        field("labels", TEXT_MAP),
        field("discord_configs", Kind::Objects(&DISCORD)),
        field("email_configs", Kind::Objects(&EMAIL)),
        field("incidentio_configs", Kind::Objects(&INCIDENTIO)),
        field("jira_configs", Kind::Objects(&JIRA)),
        field("mattermost_configs", Kind::Objects(&MATTERMOST)),
        field("msteams_configs", Kind::Objects(&MSTEAMS)),
        field("msteamsv2_configs", Kind::Objects(&MSTEAMSV2)),
        field("opsgenie_configs", Kind::Objects(&OPSGENIE)),
        field("pagerduty_configs", Kind::Objects(&PAGERDUTY)),
        field("pushover_configs", Kind::Objects(&PUSHOVER)),
        field("rocketchat_configs", Kind::Objects(&ROCKETCHAT)),
        field("slack_configs", Kind::Objects(&SLACK)),
        field("sns_configs", Kind::Objects(&SNS)),
        field("telegram_configs", Kind::Objects(&TELEGRAM)),
        field("victorops_configs", Kind::Objects(&VICTOROPS)),
        field("webex_configs", Kind::Objects(&WEBEX)),
        field("webhook_configs", Kind::Objects(&WEBHOOK)),
        field("wechat_configs", Kind::Objects(&WECHAT)),
    ]],
)
.with(&[|node, faults| {
    let name = node.string("name");
    let labels = node.part("labels");
    if labels.is_set("name") && labels.string("name") != name {
        faults.push(
            labels.place_of("name"),
            &labels.field_of("name"),
            "the label `name` is the receiver's name and can't be another",
        );
    }
}]);

const COMMON: &[Field] = &[
    flag("send_resolved"),
    field("http_config", Kind::Object(&HTTP_CONFIG)),
];

static WEBHOOK: Object = Object::new(
    "webhook_config",
    &[
        COMMON,
        &[
            field("url", Kind::CheckedSecret(is_secret_url)),
            text("url_file"),
            count("max_alerts"),
            duration("timeout"),
            field("payload", Kind::Anything),
        ],
    ],
)
.with(&[|node, faults| {
    at_least_one(node, &["url", "url_file"], faults);
    at_most_one(node, &["url", "url_file"], faults);
}]);

static THREADING: Object = Object::new(
    "threading",
    &[&[
        flag("enabled"),
        choice("thread_by_date", &["none", "daily"]),
    ]],
);
static EMAIL: Object = Object::new(
    "email_config",
    &[&[
        flag("send_resolved"),
        required("to", Kind::Text),
        text("from"),
        checked("smarthost", is_host_port),
        text("hello"),
        text("auth_username"),
        secret("auth_password"),
        text("auth_password_file"),
        secret("auth_secret"),
        text("auth_secret_file"),
        text("auth_identity"),
        flag("require_tls"),
        field("tls_config", Kind::Object(&TLS)),
        flag("force_implicit_tls"),
        text("html"),
        text("text"),
        field("headers", TEXT_MAP),
        field("threading", Kind::Object(&THREADING)),
    ]],
)
.with(&[|node, faults| {
    at_most_one(node, &["auth_password", "auth_password_file"], faults);
    at_most_one(node, &["auth_secret", "auth_secret_file"], faults);
    let mut seen: Vec<String> = Vec::new();
    for entry in node.part("headers").entries() {
        let name = entry.key.to_ascii_lowercase();
        if seen.contains(&name) {
            faults.push(
                entry.key_at,
                &entry.value.path,
                format!("the header `{}` stands twice, in other cases", entry.key),
            );
        }
        seen.push(name);
    }
}]);

static FIELD: Object = Object::new(
    "a field (title, value, short)",
    &[&[
        required("title", Kind::Text),
        required("value", Kind::Text),
        flag("short"),
    ]],
);
static CONFIRMATION: Object = Object::new(
    "confirm",
    &[&[
        required("text", Kind::Text),
        text("title"),
        text("ok_text"),
        text("dismiss_text"),
    ]],
);
static ACTION: Object = Object::new(
    "an action (type, text, url or name)",
    &[&[
        required("type", Kind::Text),
        required("text", Kind::Text),
        text("url"),
        text("name"),
        text("value"),
        text("style"),
        field("confirm", Kind::Object(&CONFIRMATION)),
        flag("msg_in_chat_window"),
        text("msg"),
    ]],
)
.with(&[|node, faults| at_least_one(node, &["url", "name", "msg"], faults)]);

static SLACK: Object = Object::new(
    "slack_config",
    &[
        COMMON,
        &[
            field("api_url", Kind::CheckedSecret(is_secret_url)),
            text("api_url_file"),
            secret("app_token"),
            text("app_token_file"),
            checked("app_url", is_http_url),
            text("channel"),
            text("username"),
            text("color"),
            text("title"),
            text("title_link"),
            text("pretext"),
            text("text"),
            text("message_text"),
            field("fields", Kind::Objects(&FIELD)),
            flag("short_fields"),
            text("footer"),
            text("fallback"),
            text("callback_id"),
            text("icon_emoji"),
            text("icon_url"),
            text("image_url"),
            text("thumb_url"),
            flag("link_names"),
            texts("mrkdwn_in"),
            field("actions", Kind::Objects(&ACTION)),
            flag("update_message"),
            duration("timeout"),
        ],
    ],
)
.with(&[|node, faults| {
    at_most_one(node, &["api_url", "api_url_file"], faults);
    at_most_one(node, &["app_token", "app_token_file"], faults);
}]);

static IMAGE: Object = Object::new(
    "an image (href, src, alt)",
    &[&[text("href"), text("src"), text("alt")]],
);
static LINK: Object = Object::new("a link (href, text)", &[&[text("href"), text("text")]]);
static PAGERDUTY: Object = Object::new(
    "pagerduty_config",
    &[
        COMMON,
        &[
            secret("routing_key"),
            text("routing_key_file"),
            secret("service_key"),
            text("service_key_file"),
            checked("url", is_http_url),
            text("client"),
            text("client_url"),
            text("description"),
            text("severity"),
            text("source"),
            field("details", Kind::Map(any_key, &Kind::Anything)),
            field("images", Kind::Objects(&IMAGE)),
            field("links", Kind::Objects(&LINK)),
            text("component"),
            text("group"),
            text("class"),
            duration("timeout"),
        ],
    ],
)
.with(&[|node, faults| {
    let keys = [
        "routing_key",
        "routing_key_file",
        "service_key",
        "service_key_file",
    ];
    at_least_one(node, &keys, faults);
    at_most_one(node, &["routing_key", "routing_key_file"], faults);
    at_most_one(node, &["service_key", "service_key_file"], faults);
}]);

static RESPONDER: Object = Object::new(
    "a responder (id, name or username, and type)",
    &[&[
        text("id"),
        text("name"),
        text("username"),
        required("type", Kind::Text),
    ]],
)
.with(&[|node, faults| at_least_one(node, &["id", "name", "username"], faults)]);
static OPSGENIE: Object = Object::new(
    "opsgenie_config",
    &[
        COMMON,
        &[
            secret("api_key"),
            text("api_key_file"),
            checked("api_url", is_http_url),
            text("message"),
            text("description"),
            text("source"),
            field("details", TEXT_MAP),
            text("entity"),
            field("responders", Kind::Objects(&RESPONDER)),
            text("actions"),
            text("tags"),
            text("note"),
            text("priority"),
            flag("update_alerts"),
        ],
    ],
)
.with(&[|node, faults| at_most_one(node, &["api_key", "api_key_file"], faults)]);

static TELEGRAM: Object = Object::new(
    "telegram_config",
    &[
        COMMON,
        &[
            checked("api_url", is_http_url),
            secret("bot_token"),
            text("bot_token_file"),
            field("chat_id", Kind::Whole(i64::MIN, i64::MAX)),
            text("chat_id_file"),
            field("message_thread_id", Kind::Whole(i64::MIN, i64::MAX)),
            text("message"),
            flag("disable_notifications"),
            choice("parse_mode", &["", "HTML", "Markdown", "MarkdownV2"]),
        ],
    ],
)
.with(&[|node, faults| {
    at_least_one(node, &["chat_id", "chat_id_file"], faults);
    at_most_one(node, &["chat_id", "chat_id_file"], faults);
    at_most_one(node, &["bot_token", "bot_token_file"], faults);
}]);

const WEBHOOK_URL: &[Field] = &[
    field("webhook_url", Kind::CheckedSecret(is_secret_url)),
    text("webhook_url_file"),
];

fn check_webhook_url(node: &Node, faults: &mut Faults) {
    at_least_one(node, &["webhook_url", "webhook_url_file"], faults);
    at_most_one(node, &["webhook_url", "webhook_url_file"], faults);
}

static DISCORD: Object = Object::new(
    "discord_config",
    &[
        COMMON,
        WEBHOOK_URL,
        &[
            text("title"),
            text("message"),
            text("content"),
            text("username"),
            text("avatar_url"),
        ],
    ],
)
.with(&[check_webhook_url]);

static MSTEAMS: Object = Object::new(
    "msteams_config",
    &[
        COMMON,
        WEBHOOK_URL,
        &[text("title"), text("summary"), text("text")],
    ],
)
.with(&[check_webhook_url]);

static MSTEAMSV2: Object = Object::new(
    "msteamsv2_config",
    &[COMMON, WEBHOOK_URL, &[text("title"), text("text")]],
)
.with(&[check_webhook_url]);

static VICTOROPS: Object = Object::new(
    "victorops_config",
    &[
        COMMON,
        &[
            secret("api_key"),
            text("api_key_file"),
            checked("api_url", is_http_url),
            required("routing_key", Kind::Text),
            text("message_type"),
            text("entity_display_name"),
            text("state_message"),
            text("monitoring_tool"),
            field("custom_fields", Kind::Map(is_victorops_field, &Kind::Text)),
        ],
    ],
)
.with(&[|node, faults| at_most_one(node, &["api_key", "api_key_file"], faults)]);

fn is_victorops_field(name: &str) -> Result<(), String> {
    const RESERVED: [&str; 6] = [
        "routing_key",
        "message_type",
        "state_message",
        "entity_display_name",
        "monitoring_tool",
        "entity_id",
    ];
    match RESERVED.contains(&name) {
        true => Err(format!(
            "`{name}` is a field of VictorOps and no custom one"
        )),
        false => Ok(()),
    }
}

static PUSHOVER: Object = Object::new(
    "pushover_config",
    &[
        COMMON,
        &[
            secret("user_key"),
            text("user_key_file"),
            secret("token"),
            text("token_file"),
            text("title"),
            text("message"),
            text("url"),
            text("url_title"),
            text("device"),
            text("sound"),
            text("priority"),
            duration("retry"),
            duration("expire"),
            duration("ttl"),
            flag("html"),
            flag("monospace"),
        ],
    ],
)
.with(&[|node, faults| {
    for name in ["user_key", "token"] {
        let file = format!("{name}_file");
        at_least_one(node, &[name, &file], faults);
        at_most_one(node, &[name, &file], faults);
    }
    if node.boolean("html") == Some(true) && node.boolean("monospace") == Some(true) {
        faults.push(
            node.place_of("monospace"),
            &node.path,
            "at most one of `html` and `monospace` may be true",
        );
    }
}]);

static SNS: Object = Object::new(
    "sns_config",
    &[
        COMMON,
        &[
            text("api_url"),
            field("sigv4", Kind::Object(&SIGV4)),
            text("topic_arn"),
            text("phone_number"),
            text("target_arn"),
            text("subject"),
            text("message"),
            field("attributes", TEXT_MAP),
        ],
    ],
)
.with(&[|node, faults| {
    let ways = ["topic_arn", "phone_number", "target_arn"];
    at_least_one(node, &ways, faults);
    at_most_one(node, &ways, faults);
}]);

static WECHAT: Object = Object::new(
    "wechat_config",
    &[
        COMMON,
        &[
            secret("api_secret"),
            text("api_secret_file"),
            text("corp_id"),
            checked("api_url", is_http_url),
            text("message"),
            choice("message_type", &["", "text", "markdown"]),
            text("to_user"),
            text("to_party"),
            text("to_tag"),
            text("agent_id"),
        ],
    ],
)
.with(&[|node, faults| at_most_one(node, &["api_secret", "api_secret_file"], faults)]);

static WEBEX: Object = Object::new(
    "webex_config",
    &[
        COMMON,
        &[
            checked("api_url", is_http_url),
            required("room_id", Kind::Text),
            text("message"),
        ],
    ],
)
.with(&[|node, faults| {
    if !node.part("http_config").is_set("authorization") {
        faults.push(
            node.at,
            &node.path,
            "`http_config.authorization` is missing: webex needs it",
        );
    }
}]);

static ROCKETCHAT: Object = Object::new(
    "rocketchat_config",
    &[
        COMMON,
        &[
            checked("api_url", is_http_url),
            text("channel"),
            secret("token"),
            text("token_file"),
            secret("token_id"),
            text("token_id_file"),
            text("color"),
            text("title"),
            text("title_link"),
            text("text"),
            field("fields", Kind::Objects(&FIELD)),
            flag("short_fields"),
            text("emoji"),
            text("icon_url"),
            text("image_url"),
            text("thumb_url"),
            flag("link_names"),
            field("actions", Kind::Objects(&ACTION)),
        ],
    ],
)
.with(&[|node, faults| {
    at_most_one(node, &["token", "token_file"], faults);
    at_most_one(node, &["token_id", "token_id_file"], faults);
}]);

static JIRA_TEXT: Object = Object::new(
    "a field of jira (template, enable_update)",
    &[&[text("template"), flag("enable_update")]],
);
static JIRA: Object = Object::new(
    "jira_config",
    &[
        COMMON,
        &[
            checked("api_url", is_http_url),
            choice("api_type", &["auto", "cloud", "datacenter"]),
            required("project", Kind::Text),
            required("issue_type", Kind::Text),
            field("summary", Kind::TextOr(&JIRA_TEXT)),
            field("description", Kind::TextOr(&JIRA_TEXT)),
            texts("labels"),
            text("priority"),
            text("resolve_transition"),
            text("reopen_transition"),
            duration("reopen_duration"),
            text("wont_fix_resolution"),
            field("fields", Kind::Map(any_key, &Kind::Anything)),
        ],
    ],
);

static INCIDENTIO: Object = Object::new(
    "incidentio_config",
    &[
        COMMON,
        &[
            field("url", Kind::CheckedSecret(is_secret_url)),
            text("url_file"),
            secret("alert_source_token"),
            text("alert_source_token_file"),
            count("max_alerts"),
            duration("timeout"),
        ],
    ],
)
.with(&[|node, faults| {
    at_least_one(node, &["url", "url_file"], faults);
    at_most_one(node, &["url", "url_file"], faults);
    let token = ["alert_source_token", "alert_source_token_file"];
    at_most_one(node, &token, faults);
    let has_header = node.part("http_config").is_set("authorization");
    if !has_header {
        at_least_one(node, &token, faults);
    }
}]);

static ATTACHMENT: Object = Object::new("an attachment", &[MATTERMOST_ATTACHMENT]);
const MATTERMOST_ATTACHMENT: &[Field] = &[
    text("fallback"),
    text("color"),
    text("pretext"),
    text("text"),
    text("author_name"),
    text("author_link"),
    text("author_icon"),
    text("title"),
    text("title_link"),
    field("fields", Kind::Objects(&FIELD)),
    text("thumb_url"),
    text("footer"),
    text("footer_icon"),
    text("image_url"),
];
static MATTERMOST_PROPS: Object = Object::new("props", &[&[text("card")]]);
static MATTERMOST_PRIORITY: Object = Object::new(
    "priority",
    &[&[
        text("priority"),
        flag("requested_ack"),
        flag("persistent_notifications"),
    ]],
);
static MATTERMOST: Object = Object::new(
    "mattermost_config",
    &[
        COMMON,
        WEBHOOK_URL,
        MATTERMOST_ATTACHMENT,
        &[
            text("channel"),
            text("username"),
            text("icon_url"),
            text("icon_emoji"),
            field("attachments", Kind::Objects(&ATTACHMENT)),
            text("type"),
            field("props", Kind::Object(&MATTERMOST_PROPS)),
            field("priority", Kind::Object(&MATTERMOST_PRIORITY)),
        ],
    ],
)
.with(&[|node, faults| {
    at_most_one(node, &["webhook_url", "webhook_url_file"], faults);
}]);
