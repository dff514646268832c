//! The fields of an HTTP client, which scraping, discovery, remote storage and receivers share.

use super::{
    Field, Kind, Object, TEXT_MAP, any_key, at_least_one, at_most_one, checked, choice, field,
    flag, is_url, secret, text, texts,
};
use crate::error::Faults;
use crate::yaml::Node;

const TLS_VERSIONS: &[&str] = &["TLS10", "TLS11", "TLS12", "TLS13"];

pub(crate) static TLS: Object = Object::new(
    "tls_config",
    &[&[
        text("ca"),
        text("ca_file"),
        text("cert"),
        text("cert_file"),
        secret("key"),
        text("key_file"),
        text("server_name"),
        flag("insecure_skip_verify"),
        choice("min_version", TLS_VERSIONS),
        choice("max_version", TLS_VERSIONS),
    ]],
)
.with(&[check_tls]);

static BASIC_AUTH: Object = Object::new(
    "basic_auth",
    &[&[
        text("username"),
        text("username_file"),
        secret("password"),
        text("password_file"),
    ]],
)
.with(&[check_basic_auth]);

static AUTHORIZATION: Object = Object::new(
    "authorization",
    &[&[
        text("type"),
        secret("credentials"),
        text("credentials_file"),
    ]],
)
.with(&[check_authorization]);

static OAUTH2: Object = Object::new(
    "oauth2",
    &[
        &[
            text("client_id"),
            secret("client_secret"),
            text("client_secret_file"),
            choice(
                "grant_type",
                &[
                    "client_credentials",
                    "urn:ietf:params:oauth:grant-type:jwt-bearer",
                ],
            ),
            secret("client_certificate_key"),
            text("client_certificate_key_file"),
            text("client_certificate_key_id"),
            choice("signature_algorithm", &["RS256", "RS384", "RS512"]),
            text("iss"),
            text("audience"),
            field("claims", Kind::Map(any_key, &Kind::Anything)),
            texts("scopes"),
            text("token_url"),
            field("endpoint_params", TEXT_MAP),
            field("tls_config", Kind::Object(&TLS)),
        ],
        PROXY,
    ],
)
.with(&[check_oauth2, check_proxy]);

static HEADER: Object = Object::new(
    "a header of http_headers",
    &[&[
        texts("values"),
        field("secrets", Kind::List(&Kind::Secret)),
        texts("files"),
    ]],
);

const PROXY: &[Field] = &[
    PROXY_URL,
    NO_PROXY,
    PROXY_FROM_ENVIRONMENT,
    PROXY_CONNECT_HEADER,
];
const PROXY_URL: Field = checked("proxy_url", is_url);
const NO_PROXY: Field = text("no_proxy");
const PROXY_FROM_ENVIRONMENT: Field = flag("proxy_from_environment");
const PROXY_CONNECT_HEADER: Field = field(
    "proxy_connect_header",
    Kind::Map(any_key, &Kind::List(&Kind::Secret)),
);

/// The fields themselves; whoever uses them also uses [`check_http_client`].
pub(crate) const HTTP_CLIENT: &[Field] = &[
    field("basic_auth", Kind::Object(&BASIC_AUTH)),
    field("authorization", Kind::Object(&AUTHORIZATION)),
    field("oauth2", Kind::Object(&OAUTH2)),
    secret("bearer_token"),
    text("bearer_token_file"),
    field("tls_config", Kind::Object(&TLS)),
    flag("follow_redirects"),
    flag("enable_http2"),
    PROXY_URL,
    NO_PROXY,
    PROXY_FROM_ENVIRONMENT,
    PROXY_CONNECT_HEADER,
    field("http_headers", Kind::Map(is_free_header, &HEADER_KIND)),
];

static HEADER_KIND: Kind = Kind::Object(&HEADER);

/// As a part of its own, for Alertmanager.
pub(crate) static HTTP_CONFIG: Object =
    Object::new("http_config", &[HTTP_CLIENT]).with(&[check_http_client]);

pub(crate) static SIGV4: Object = Object::new(
    "sigv4",
    &[&[
        text("region"),
        text("access_key"),
        secret("secret_key"),
        text("profile"),
        text("role_arn"),
        text("external_id"),
        flag("use_fips_sts_endpoint"),
    ]],
)
.with(&[check_sigv4]);

/// The ways to authenticate that exclude each other.
pub(crate) const AUTHENTICATION: [&str; 5] = [
    "basic_auth",
    "authorization",
    "oauth2",
    "bearer_token",
    "bearer_token_file",
];

pub(crate) fn check_http_client(node: &Node, faults: &mut Faults) {
    at_most_one(node, &AUTHENTICATION, faults);
    check_proxy(node, faults);
}

fn check_proxy(node: &Node, faults: &mut Faults) {
    let from_environment = node.boolean("proxy_from_environment") == Some(true);
    let has_url = node.is_set("proxy_url");
    let mut refuse = |name: &str, message: &str| {
        faults.push(node.place_of(name), &node.field_of(name), message);
    };
    if from_environment && has_url {
        refuse(
            "proxy_url",
            "`proxy_url` and `proxy_from_environment` exclude each other",
        );
    }
    if from_environment && node.is_set("no_proxy") {
        refuse(
            "no_proxy",
            "`no_proxy` and `proxy_from_environment` exclude each other",
        );
    }
    if !has_url && !from_environment {
        for name in ["no_proxy", "proxy_connect_header"] {
            if node.is_set(name) {
                refuse(name, "has no effect without `proxy_url`");
            }
        }
    }
}

fn check_tls(node: &Node, faults: &mut Faults) {
    for pair in [
        ["ca", "ca_file"],
        ["cert", "cert_file"],
        ["key", "key_file"],
    ] {
        at_most_one(node, &pair, faults);
    }
    let has_cert = node.is_set("cert") || node.is_set("cert_file");
    let has_key = node.is_set("key") || node.is_set("key_file");
    if has_cert && !has_key {
        faults.push(
            node.at,
            &node.path,
            "a client certificate needs its key: set `key` or `key_file`",
        );
    }
    if has_key && !has_cert {
        faults.push(
            node.at,
            &node.path,
            "a client key needs its certificate: set `cert` or `cert_file`",
        );
    }
    let version = |name: &str| {
        let text = node.string(name)?;
        TLS_VERSIONS.iter().position(|version| *version == text)
    };
    if let (Some(min), Some(max)) = (version("min_version"), version("max_version"))
        && max < min
    {
        faults.push(
            node.place_of("max_version"),
            &node.field_of("max_version"),
            "is lower than `min_version`",
        );
    }
}

fn check_basic_auth(node: &Node, faults: &mut Faults) {
    at_most_one(node, &["username", "username_file"], faults);
    at_most_one(node, &["password", "password_file"], faults);
}

fn check_authorization(node: &Node, faults: &mut Faults) {
    at_most_one(node, &["credentials", "credentials_file"], faults);
    let is_basic = node
        .string("type")
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("basic"));
    if is_basic {
        faults.push(
            node.place_of("type"),
            &node.field_of("type"),
            "`basic` is not possible here: use `basic_auth` instead of `authorization`",
        );
    }
}

fn check_oauth2(node: &Node, faults: &mut Faults) {
    at_least_one(node, &["client_id"], faults);
    at_least_one(node, &["token_url"], faults);
    at_most_one(node, &["client_secret", "client_secret_file"], faults);
    at_most_one(
        node,
        &["client_certificate_key", "client_certificate_key_file"],
        faults,
    );
}

fn check_sigv4(node: &Node, faults: &mut Faults) {
    if node.is_set("access_key") != node.is_set("secret_key") {
        faults.push(
            node.at,
            &node.path,
            "`access_key` and `secret_key` must be set together or not at all",
        );
    }
}

/// Headers that the protocol itself sets.
const RESERVED_HEADERS: [&str; 18] = [
    "authorization",
    "host",
    "content-encoding",
    "content-length",
    "content-type",
    "user-agent",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "www-authenticate",
    "accept-encoding",
    "x-prometheus-remote-write-version",
    "x-prometheus-remote-read-version",
    "x-prometheus-scrape-timeout-seconds",
    "x-amz-date",
    "x-amz-security-token",
    "x-amz-content-sha256",
];

pub(crate) fn is_free_header(name: &str) -> Result<(), String> {
    let lower = name.to_ascii_lowercase();
    if lower == "authorization" {
        return Err(
            "the header `authorization` is set by `basic_auth`, `authorization` or `oauth2`"
                .to_owned(),
        );
    }
    if RESERVED_HEADERS.contains(&lower.as_str()) {
        return Err(format!(
            "the header `{name}` belongs to the protocol and can't be set"
        ));
    }
    if name.is_empty() || !name.bytes().all(is_token_byte) {
        return Err(format!("`{name}` is not the name of a header"));
    }
    Ok(())
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
