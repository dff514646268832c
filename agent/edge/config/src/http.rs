//! The fields of an HTTP client to its plain configuration.

use std::collections::BTreeMap;
use std::path::Path;

use narthex_http_client::{
    Authorization, BasicAuth, HttpClientConfig, Secret, SecretSource, TlsConfig,
};

use crate::reading::{note, resolve};
use crate::schema::{self, Kind};
use crate::yaml::Node;

/// The fields alone.
pub(crate) const SHAPE: Kind = Kind::Object(&schema::http::HTTP_CONFIG);

/// `node` holds the fields, whatever else it holds. Relative paths are below `directory`.
pub(crate) fn client(node: &Node, directory: &Path, notices: &mut Vec<String>) -> HttpClientConfig {
    for (name, text) in [
        (
            "oauth2",
            "OAuth 2.0 is not supported yet: requests go out without it",
        ),
        (
            "proxy_connect_header",
            "headers for the proxy are not supported yet: they are not sent",
        ),
    ] {
        if let Some(field) = node.get(name).filter(|_| node.is_set(name)) {
            note(notices, field, text);
        }
    }
    HttpClientConfig {
        basic_auth: node
            .get("basic_auth")
            .filter(|basic| !basic.is_null())
            .map(|basic| basic_auth(basic, directory)),
        authorization: authorization(node, directory),
        tls: tls(node.part("tls_config"), directory, notices),
        follow_redirects: node.boolean("follow_redirects").unwrap_or(true),
        enable_http2: node.boolean("enable_http2").unwrap_or(true),
        proxy_url: node.string("proxy_url").map(str::to_owned),
        proxy_from_environment: node.boolean("proxy_from_environment").unwrap_or(false),
        no_proxy: node.string("no_proxy").map(str::to_owned),
        headers: headers(node.part("http_headers"), directory),
    }
}

/// The secret in the field `name`, or in the file that `<name>_file` names.
fn source(node: &Node, name: &str, directory: &Path) -> Option<SecretSource> {
    node.string(name).map(inline).or_else(|| {
        let path = node.string(&format!("{name}_file"))?;
        Some(SecretSource::File(resolve(directory, path)))
    })
}

fn inline(text: &str) -> SecretSource {
    SecretSource::Inline(Secret(text.to_owned()))
}

fn basic_auth(node: &Node, directory: &Path) -> BasicAuth {
    BasicAuth {
        username: source(node, "username", directory).unwrap_or_else(|| inline("")),
        password: source(node, "password", directory),
    }
}

/// `authorization`, or its older form `bearer_token`.
fn authorization(node: &Node, directory: &Path) -> Option<Authorization> {
    let part = node.part("authorization");
    let modern = source(part, "credentials", directory).map(|credentials| Authorization {
        kind: part.string("type").unwrap_or("Bearer").trim().to_owned(),
        credentials,
    });
    modern.or_else(|| {
        Some(Authorization {
            kind: "Bearer".to_owned(),
            credentials: source(node, "bearer_token", directory)?,
        })
    })
}

fn tls(node: &Node, directory: &Path, notices: &mut Vec<String>) -> TlsConfig {
    let mut version = |name: &str| {
        let text = node.string(name)?;
        if matches!(text, "TLS10" | "TLS11") {
            if let Some(field) = node.get(name) {
                note(
                    notices,
                    field,
                    "TLS below 1.2 is not supported: TLS12 is taken",
                );
            }
            return Some("TLS12".to_owned());
        }
        Some(text.to_owned())
    };
    TlsConfig {
        min_version: version("min_version"),
        max_version: version("max_version"),
        ca: source(node, "ca", directory),
        cert: source(node, "cert", directory),
        key: source(node, "key", directory),
        server_name: node.string("server_name").map(str::to_owned),
        insecure_skip_verify: node.boolean("insecure_skip_verify").unwrap_or(false),
    }
}

fn headers(node: &Node, directory: &Path) -> BTreeMap<String, Vec<SecretSource>> {
    let header = |node: &Node| {
        let values = node.strings("values").into_iter();
        let secrets = node.strings("secrets").into_iter();
        let files = node.strings("files").into_iter();
        values
            .chain(secrets)
            .map(|text| inline(&text))
            .chain(files.map(|path| SecretSource::File(resolve(directory, &path))))
            .collect()
    };
    node.entries()
        .iter()
        .map(|entry| (entry.key.clone(), header(&entry.value)))
        .collect()
}
