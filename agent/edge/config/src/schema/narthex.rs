//! The shape of `narthex.yml`.

use super::http::{HTTP_CLIENT, check_http_client};
use super::prometheus::RELABEL;
use super::{Field, Kind, Object, any_key, checked, count, field, flag, required, text, texts};

pub(crate) static NARTHEX: Object = Object::new(
    "narthex.yml",
    &[&[
        field("plugins", Kind::Object(&PLUGINS)),
        field("exporters", Kind::Objects(&EXPORTER)),
        field("scripts", Kind::Object(&SCRIPTS)),
        field("storage", Kind::Object(&STORAGE)),
        field("query", Kind::Object(&QUERY)),
    ]],
);

/// A bound that is a count of its own and may not be 0: nothing runs without.
const fn bound(name: &'static str) -> Field {
    field(name, Kind::Whole(1, i64::MAX))
}

static PLUGINS: Object = Object::new(
    "plugins",
    &[&[
        text("directory"),
        field("limits", Kind::Object(&PLUGIN_LIMITS)),
        field("grants", Kind::Map(is_plugin_name, &Kind::Object(&GRANT))),
        field("disabled", Kind::List(&Kind::Checked(is_plugin_name))),
        field("dns_servers", Kind::List(&Kind::Checked(is_dns_server))),
    ]],
);

static PLUGIN_LIMITS: Object = Object::new(
    "plugins.limits",
    &[&[
        field("memory", Kind::Checked(is_positive_size)),
        field("total_memory", Kind::Checked(is_positive_size)),
        field("call_timeout", Kind::PositiveDuration),
        bound("series"),
        bound("targets"),
        bound("labels"),
        field("label_name_bytes", Kind::Checked(is_positive_size)),
        field("label_value_bytes", Kind::Checked(is_positive_size)),
        field("transfer_bytes", Kind::Checked(is_positive_size)),
        field("file_bytes", Kind::Checked(is_positive_size)),
        bound("http_requests"),
        field("http_bytes", Kind::Checked(is_positive_size)),
        bound("subscriptions"),
        field("log_lines", Kind::Whole(0, 1_000_000)),
    ]],
);

static STORAGE: Object = Object::new("storage", &[&[flag("seal_on_stop")]]);

static QUERY: Object = Object::new(
    "query",
    &[&[
        checked("memory", is_share),
        checked("memory_per_query", is_share),
        checked("memory_for_rules", is_share),
        field("threads", Kind::Whole(1, 1024)),
    ]],
);

/// A size, or a part of the machine's memory.
fn is_share(text: &str) -> Result<(), String> {
    crate::scalar::share(text).map(|_| ())
}

/// As [`Kind::Size`], or a plain number of bytes; never 0.
fn is_positive_size(text: &str) -> Result<(), String> {
    match crate::scalar::bytes(text)? {
        0 => Err("must be larger than 0".to_owned()),
        _ => Ok(()),
    }
}

/// What a plugin may do.
pub(crate) static GRANT: Object = Object::new(
    "a grant (files, http, dns, env, system, query)",
    &[&[
        field("files", Kind::ListOrOne(&Kind::Checked(is_granted_path))),
        field(
            "http",
            Kind::ListOrOne(&Kind::CheckedOr(is_granted_url, &HTTP_GRANT)),
        ),
        field("dns", Kind::ListOrOne(&Kind::Checked(is_granted_name))),
        texts("env"),
        flag("system"),
        flag("query"),
    ]],
);

/// Requests that a plugin may send, and what is added to them.
static HTTP_GRANT: Object = Object::new(
    "a grant of requests (url, methods, basic_auth, authorization, …)",
    &[
        &[
            required("url", Kind::Checked(is_granted_url)),
            field("methods", Kind::List(&Kind::Checked(is_method))),
        ],
        HTTP_CLIENT,
    ],
)
.with(&[check_http_client]);

pub(crate) fn is_method(method: &str) -> Result<(), String> {
    match !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase()) {
        true => Ok(()),
        false => Err(format!("expected a method as GET, got `{method}`")),
    }
}

fn is_granted_name(name: &str) -> Result<(), String> {
    match name.is_empty() || name.contains(['/', ':', ' ']) {
        true => Err(format!(
            "expected a name as in *.internal.example.com, got `{name}`"
        )),
        false => Ok(()),
    }
}

/// An address, with a port where it is not 53.
fn is_dns_server(text: &str) -> Result<(), String> {
    match crate::narthex::dns_server(text) {
        Some(_) => Ok(()),
        None => Err(format!(
            "expected an address as in 10.0.0.2 or 10.0.0.2:5353, got `{text}`"
        )),
    }
}

fn is_granted_path(path: &str) -> Result<(), String> {
    let climbs = path.split('/').any(|part| part == "..");
    match path {
        "" => Err("an empty path".to_owned()),
        _ if climbs => Err(format!("`{path}` holds `..`: name the folder itself")),
        _ => Ok(()),
    }
}

fn is_granted_url(url: &str) -> Result<(), String> {
    let expected = || {
        Err(format!(
            "expected a URL as in https://api.example.com/v1/*, got `{url}`"
        ))
    };
    let Some((scheme, rest)) = url.split_once("://") else {
        return expected();
    };
    let host = rest.split('/').next().unwrap_or_default();
    if !["http", "https", "*"].contains(&scheme) || host.is_empty() {
        return expected();
    }
    if host.contains('@') || url.contains(['?', '#']) {
        return Err(format!(
            "`{url}` holds more than scheme, host, port and path: leave out credentials, query and \
             fragment"
        ));
    }
    Ok(())
}

fn is_plugin_name(name: &str) -> Result<(), String> {
    if let Some(bare) = name.strip_suffix(".wasm") {
        return Err(format!("plugins are named without `.wasm`: `{bare}`"));
    }
    match name.is_empty() || name.contains(['/', '\\']) {
        true => Err(format!(
            "`{name}` is no plugin's name: that is its file's name without `.wasm`"
        )),
        false => Ok(()),
    }
}

static EXPORTER: Object = Object::new(
    "an exporter (plugin, job, interval, …)",
    &[&[
        required("plugin", Kind::Checked(is_plugin_name)),
        text("job"),
        field("interval", Kind::PositiveDuration),
        field("timeout", Kind::PositiveDuration),
        field("labels", Kind::Map(super::is_label_name, &Kind::Text)),
        field("config", Kind::Map(any_key, &Kind::Anything)),
        field("metric_relabel_configs", Kind::Objects(&RELABEL)),
        count("sample_limit"),
        count("label_limit"),
        count("label_name_length_limit"),
        count("label_value_length_limit"),
    ]],
);

static SCRIPTS: Object = Object::new(
    "scripts",
    &[&[
        text("directory"),
        field("interval", Kind::PositiveDuration),
        field("limits", Kind::Object(&SCRIPT_LIMITS)),
        field(
            "params",
            Kind::Map(is_script_name, &Kind::Map(any_key, &Kind::Anything)),
        ),
    ]],
);

fn is_script_name(name: &str) -> Result<(), String> {
    match name.strip_suffix(".rhai") {
        Some(bare) => Err(format!("scripts are named without `.rhai`: `{bare}`")),
        None => Ok(()),
    }
}

static SCRIPT_LIMITS: Object = Object::new(
    "scripts.limits",
    &[&[
        bound("operations"),
        field("time", Kind::PositiveDuration),
        checked("memory", is_positive_size),
        checked("string_bytes", is_positive_size),
        bound("array_items"),
        bound("map_items"),
        bound("call_depth"),
        bound("variables"),
        bound("alerts"),
        checked("state_bytes", is_positive_size),
    ]],
);
