//! From options to clients: what the plugin says and what the grant adds, put together.

use std::sync::{Arc, Mutex, PoisonError};

use narthex_http_client::{Client, HttpClientConfig, Secret, SecretSource, TlsConfig};

use crate::host::dns::{Judging, Names};

/// So many clients are kept, with their connections. Plugins have one or two.
const KEPT: usize = 16;

/// The clients that were used last.
#[derive(Default)]
pub(super) struct Clients(Mutex<Vec<Client>>);

impl Clients {
    /// The one of this configuration. Reads files and blocks, where it is new.
    pub(super) fn of(
        &self,
        config: &HttpClientConfig,
        names: &Arc<Names>,
    ) -> Result<Client, String> {
        if let Some(client) = self.known(config) {
            return Ok(client);
        }
        let resolver = Arc::new(Judging(names.clone()));
        let client = Client::with_resolver(config.clone(), resolver);
        let client = client.map_err(|error| error.to_string())?;
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        clients.truncate(KEPT - 1);
        clients.insert(0, client.clone());
        Ok(client)
    }

    pub(super) fn known(&self, config: &HttpClientConfig) -> Option<Client> {
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = clients
            .iter()
            .position(|client| client.config() == config)?;
        clients.get_mut(..=at)?.rotate_right(1);
        clients.first().cloned()
    }
}

/// Whether a client can be made of the options.
pub(super) fn check(options: HttpClientConfig) -> Result<(), String> {
    let made = Client::new(options);
    made.map(|_| ()).map_err(|error| error.to_string())
}

pub(super) fn inline(text: &str) -> SecretSource {
    SecretSource::Inline(Secret(text.to_owned()))
}

/// All places that may name a file.
pub(super) fn sources(options: &mut HttpClientConfig) -> Vec<&mut SecretSource> {
    let HttpClientConfig {
        basic_auth,
        authorization,
        tls,
        headers,
        ..
    } = options;
    let mut all = Vec::new();
    if let Some(basic) = basic_auth {
        all.push(&mut basic.username);
        all.extend(&mut basic.password);
    }
    if let Some(authorization) = authorization {
        all.push(&mut authorization.credentials);
    }
    all.extend(&mut tls.ca);
    all.extend(&mut tls.cert);
    all.extend(&mut tls.key);
    all.extend(headers.values_mut().flatten());
    all
}

/// The plugin's options without what is meant for the host that was asked first.
pub(super) fn without_secrets(options: &HttpClientConfig) -> HttpClientConfig {
    HttpClientConfig {
        basic_auth: None,
        authorization: None,
        headers: Default::default(),
        tls: TlsConfig {
            cert: None,
            key: None,
            ..options.tls.clone()
        },
        ..options.clone()
    }
}

/// The plugin's options and what the grant adds; where both say something, the grant. Redirects
/// are followed by whoever asks, as each is judged.
pub(super) fn combined(
    options: &HttpClientConfig,
    grant: Option<&HttpClientConfig>,
) -> HttpClientConfig {
    let own = HttpClientConfig {
        follow_redirects: false,
        ..options.clone()
    };
    let Some(grant) = grant else {
        return own;
    };
    let authenticates = grant.basic_auth.is_some() || grant.authorization.is_some();
    // Nobody but the user says whom the secrets of the grant are shown to.
    let rules = has_secrets(grant);
    let (basic_auth, authorization) = match authenticates {
        true => (grant.basic_auth.clone(), grant.authorization.clone()),
        false => (own.basic_auth, own.authorization),
    };
    let tls = match rules || grant.tls != TlsConfig::default() {
        true => grant.tls.clone(),
        false => own.tls,
    };
    let proxy = match rules || grant.proxy_url.is_some() || grant.proxy_from_environment {
        true => grant,
        false => options,
    };
    let mut headers = own.headers;
    headers.retain(|name, _| !names(grant, name));
    headers.extend(grant.headers.clone());
    HttpClientConfig {
        basic_auth,
        authorization,
        tls,
        follow_redirects: false,
        enable_http2: own.enable_http2 && grant.enable_http2,
        proxy_url: proxy.proxy_url.clone(),
        proxy_from_environment: proxy.proxy_from_environment,
        no_proxy: proxy.no_proxy.clone(),
        headers,
    }
}

/// Whether a header is set by the configuration.
pub(super) fn sets(config: &HttpClientConfig, name: &str) -> bool {
    let authenticates = config.basic_auth.is_some() || config.authorization.is_some();
    (authenticates && name.eq_ignore_ascii_case("authorization")) || names(config, name)
}

fn names(config: &HttpClientConfig, name: &str) -> bool {
    config
        .headers
        .keys()
        .any(|own| own.eq_ignore_ascii_case(name))
}

fn has_secrets(grant: &HttpClientConfig) -> bool {
    grant.basic_auth.is_some()
        || grant.authorization.is_some()
        || !grant.headers.is_empty()
        || grant.tls.key.is_some()
}

#[cfg(test)]
mod tests {
    use narthex_http_client::Authorization;

    use super::*;

    fn bearer(token: &str) -> HttpClientConfig {
        HttpClientConfig {
            authorization: Some(Authorization {
                kind: "Bearer".to_owned(),
                credentials: inline(token),
            }),
            ..HttpClientConfig::default()
        }
    }

    #[test]
    fn a_grants_secrets_are_not_for_the_plugins_proxies_and_authorities() {
        let mut plugin = bearer("plugin");
        plugin.proxy_url = Some("http://proxy.test".to_owned());
        plugin.tls.insecure_skip_verify = true;
        plugin
            .headers
            .insert("x-key".to_owned(), vec![inline("plugin")]);
        let alone = combined(&plugin, None);
        assert_eq!(alone.proxy_url, plugin.proxy_url);
        assert_eq!(alone.authorization, plugin.authorization);
        assert!(!alone.follow_redirects);

        let mut grant = bearer("grant");
        grant
            .headers
            .insert("X-Key".to_owned(), vec![inline("grant")]);
        let both = combined(&plugin, Some(&grant));
        assert_eq!(both.authorization, grant.authorization);
        assert_eq!(both.proxy_url, None);
        assert!(!both.tls.insecure_skip_verify);
        assert_eq!(both.headers, grant.headers);
        assert!(sets(&both, "AUTHORIZATION") && sets(&both, "x-KEY"));

        // A grant that adds nothing secret leaves the plugin its ways.
        let mut plain = HttpClientConfig::default();
        plain.tls.server_name = Some("a.test".to_owned());
        let both = combined(&plugin, Some(&plain));
        assert_eq!(both.proxy_url, plugin.proxy_url);
        assert_eq!(both.tls, plain.tls);
        assert_eq!(both.authorization, plugin.authorization);
    }
}
