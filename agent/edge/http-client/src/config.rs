//! The plain configuration of a client; `narthex-config` fills it from YAML.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// Where a secret comes from; a file is read again at each use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    Inline(Secret),
    File(PathBuf),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasicAuth {
    pub username: SecretSource,
    /// None where the file gives neither `password` nor `password_file`: an empty password.
    pub password: Option<SecretSource>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// The scheme, `Bearer` by default.
    pub kind: String,
    pub credentials: SecretSource,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsConfig {
    pub ca: Option<SecretSource>,
    pub cert: Option<SecretSource>,
    pub key: Option<SecretSource>,
    pub server_name: Option<String>,
    pub insecure_skip_verify: bool,
    /// `TLS12` or `TLS13`.
    pub min_version: Option<String>,
    pub max_version: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpClientConfig {
    pub basic_auth: Option<BasicAuth>,
    pub authorization: Option<Authorization>,
    pub tls: TlsConfig,
    pub follow_redirects: bool,
    pub enable_http2: bool,
    pub proxy_url: Option<String>,
    pub proxy_from_environment: bool,
    pub no_proxy: Option<String>,
    /// Headers that every request carries.
    pub headers: BTreeMap<String, Vec<SecretSource>>,
}

impl Default for HttpClientConfig {
    fn default() -> Self {
        HttpClientConfig {
            basic_auth: None,
            authorization: None,
            tls: TlsConfig::default(),
            follow_redirects: true,
            enable_http2: true,
            proxy_url: None,
            proxy_from_environment: false,
            no_proxy: None,
            headers: BTreeMap::new(),
        }
    }
}
