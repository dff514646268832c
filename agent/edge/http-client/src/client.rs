//! The client: requests with a deadline, redirects, bodies up to a limit.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION,
};
use reqwest::{Method, StatusCode};
use tokio::time::{Instant, timeout_at};
use url::Url;

use crate::config::{HttpClientConfig, SecretSource};
use crate::error::{BuildError, Error};
use crate::resolver::{Hook, Resolver};
use crate::tls::{self, Material};

/// Connections that are not used for so long are closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
const REDIRECT_LIMIT: usize = 10;

#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    config: HttpClientConfig,
    resolver: Option<Arc<dyn Resolver>>,
    /// The client as the certificates' files last were.
    built: Mutex<Built>,
}

#[derive(Clone)]
struct Built {
    material: Material,
    client: reqwest::Client,
}

/// What to ask for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub url: &'a str,
    /// Besides the ones of the configuration.
    pub headers: &'a [(&'a str, &'a str)],
    /// For everything: connecting, redirects, the answer, its body.
    pub timeout: Duration,
}

/// An answer whose body may still be on its way.
pub struct Response {
    host: String,
    timeout: Duration,
    /// None: the body may take as long as it likes.
    deadline: Option<Instant>,
    inner: reqwest::Response,
}

/// Where an answer says that what was asked for is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    pub url: String,
    /// Method and body stay; else it is to be asked for with GET.
    pub keeps_method: bool,
}

impl Client {
    /// Builds the client; reads the certificates that the configuration names.
    pub fn new(config: HttpClientConfig) -> Result<Self, BuildError> {
        Self::build(config, None)
    }

    /// As [`Client::new`]; hosts that are names are looked up by `resolver`.
    pub fn with_resolver(
        config: HttpClientConfig,
        resolver: Arc<dyn Resolver>,
    ) -> Result<Self, BuildError> {
        Self::build(config, Some(resolver))
    }

    fn build(
        config: HttpClientConfig,
        resolver: Option<Arc<dyn Resolver>>,
    ) -> Result<Self, BuildError> {
        let material = Material::read(&config.tls)?;
        let client = build(&config, &material, resolver.clone())?;
        let built = Mutex::new(Built { material, client });
        Ok(Client(Arc::new(Inner {
            config,
            resolver,
            built,
        })))
    }

    pub fn config(&self) -> &HttpClientConfig {
        &self.0.config
    }

    pub async fn get(&self, request: &Request<'_>) -> Result<Response, Error> {
        self.send(Method::GET, request, None).await
    }

    /// Sends `body`; its type belongs into the request's headers.
    pub async fn post(&self, request: &Request<'_>, body: Bytes) -> Result<Response, Error> {
        self.send(Method::POST, request, Some(body)).await
    }

    /// Sends a request of any method; without a body, an empty one.
    pub async fn request(
        &self,
        method: &str,
        request: &Request<'_>,
        body: Option<Bytes>,
    ) -> Result<Response, Error> {
        let method = Method::from_bytes(method.as_bytes())
            .map_err(|_| Error::Configuration(format!("{method:?} is not a valid method")))?;
        self.send(method, request, body).await
    }

    async fn send(
        &self,
        method: Method,
        request: &Request<'_>,
        body: Option<Bytes>,
    ) -> Result<Response, Error> {
        let deadline = Instant::now() + request.timeout;
        let url = parse_url(request.url)?;
        let host = host_of(&url);
        let sent = self.follow(method, request, url, body);
        match timeout_at(deadline, sent).await {
            Ok(inner) => Ok(Response {
                inner: inner?,
                host,
                timeout: request.timeout,
                deadline: Some(deadline),
            }),
            Err(_) => Err(Error::Timeout {
                host,
                what: "answer",
                limit: request.timeout,
            }),
        }
    }

    async fn follow(
        &self,
        mut method: Method,
        request: &Request<'_>,
        mut url: Url,
        mut body: Option<Bytes>,
    ) -> Result<reqwest::Response, Error> {
        let client = self.current().await?;
        let mut headers = header_map(request.headers)?;
        let own = self.own_headers().await?;
        let first = url.clone();
        for _ in 0..=REDIRECT_LIMIT {
            let mut builder = client.request(method.clone(), url.clone());
            builder = builder.headers(headers.clone());
            if may_have_secrets(&first, &url) {
                builder = self.authorize(builder.headers(own.clone())).await?;
            }
            if let Some(body) = &body {
                builder = builder.body(body.clone());
            }
            let response = builder
                .send()
                .await
                .map_err(|e| Error::from_reqwest(&e, &host_of(&url)))?;
            let redirect = match self.0.config.follow_redirects {
                true => redirect_of(&response)?,
                false => None,
            };
            let Some(redirect) = redirect else {
                return Ok(response);
            };
            if !redirect.keeps_method && method != Method::GET {
                method = Method::GET;
                body = None;
                headers.remove(CONTENT_TYPE);
                headers.remove(CONTENT_LENGTH);
            }
            url = parse_url(&redirect.url)?;
        }
        Err(Error::TooManyRedirects {
            host: host_of(&first),
            limit: REDIRECT_LIMIT,
        })
    }

    /// The client for the certificates as their files are now.
    async fn current(&self) -> Result<reqwest::Client, Error> {
        let inner = self.0.clone();
        if !tls::has_files(&inner.config.tls) {
            return Ok(inner.built().client);
        }
        let renew = move || inner.renew();
        match tokio::task::spawn_blocking(renew).await {
            Ok(client) => Ok(client?),
            Err(error) => Err(Error::Configuration(error.to_string())),
        }
    }

    async fn authorize(
        &self,
        builder: reqwest::RequestBuilder,
    ) -> Result<reqwest::RequestBuilder, Error> {
        let config = &self.0.config;
        if let Some(basic) = &config.basic_auth {
            let username = secret(&basic.username).await?;
            let password = match &basic.password {
                Some(source) => secret(source).await?,
                None => String::new(),
            };
            return Ok(builder.basic_auth(username, Some(password)));
        }
        if let Some(authorization) = &config.authorization {
            let credentials = secret(&authorization.credentials).await?;
            let value = format!("{} {credentials}", authorization.kind);
            return Ok(builder.header(AUTHORIZATION, header_value(&value, "authorization")?));
        }
        Ok(builder)
    }

    async fn own_headers(&self) -> Result<HeaderMap, Error> {
        let mut headers = HeaderMap::new();
        for (name, sources) in &self.0.config.headers {
            for source in sources {
                let value = secret(source).await?;
                headers.append(header_name(name)?, header_value(&value, name)?);
            }
        }
        Ok(headers)
    }
}

impl Inner {
    fn built(&self) -> Built {
        self.built
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Reads the files again; blocks.
    fn renew(&self) -> Result<reqwest::Client, BuildError> {
        let material = Material::read(&self.config.tls)?;
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        if built.material != material {
            built.client = build(&self.config, &material, self.resolver.clone())?;
            built.material = material;
        }
        Ok(built.client.clone())
    }
}

impl Response {
    pub fn status(&self) -> u16 {
        self.inner.status().as_u16()
    }

    pub fn is_success(&self) -> bool {
        self.inner.status().is_success()
    }

    /// Code and reason, as in `503 Service Unavailable`.
    pub fn status_text(&self) -> String {
        let status: StatusCode = self.inner.status();
        match status.canonical_reason() {
            Some(reason) => format!("{} {reason}", status.as_u16()),
            None => status.as_u16().to_string(),
        }
    }

    /// A header as text; None too if it is not one.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.inner.headers().get(name)?.to_str().ok()
    }

    /// All of them in their order, as text.
    pub fn headers(&self) -> impl Iterator<Item = (&str, String)> {
        let headers = self.inner.headers().iter();
        headers.map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str(), value)
        })
    }

    /// Where it redirects to; also where the client does not follow.
    pub fn redirect(&self) -> Result<Option<Redirect>, Error> {
        redirect_of(&self.inner)
    }

    /// From here on the body may take as long as it likes.
    pub fn without_deadline(mut self) -> Self {
        self.deadline = None;
        self
    }

    /// The next piece of the body; None at its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let chunk = match self.deadline {
            Some(deadline) => timeout_at(deadline, self.inner.chunk()).await,
            None => Ok(self.inner.chunk().await),
        };
        match chunk {
            Ok(chunk) => chunk.map_err(|e| Error::from_reqwest(&e, &self.host)),
            Err(_) => Err(Error::Timeout {
                host: self.host.clone(),
                what: "send the whole body",
                limit: self.timeout,
            }),
        }
    }

    /// The whole body, if it has at most `limit_bytes`.
    pub async fn body(mut self, limit_bytes: usize) -> Result<Vec<u8>, Error> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if chunk.len() > limit_bytes - body.len() {
                return Err(Error::BodyTooLarge { limit_bytes });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

fn redirect_of(response: &reqwest::Response) -> Result<Option<Redirect>, Error> {
    let location = response.headers().get(LOCATION);
    let location = location.map(|location| String::from_utf8_lossy(location.as_bytes()));
    let status = response.status().as_u16();
    redirect(status, location.as_deref(), response.url())
}

/// Where an answer of this status redirects to, that came from `url` with this `Location`.
pub fn redirect(status: u16, location: Option<&str>, url: &Url) -> Result<Option<Redirect>, Error> {
    if !matches!(status, 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let Some(location) = location else {
        return Ok(None);
    };
    match url.join(location) {
        Ok(next) => Ok(Some(Redirect {
            url: next.into(),
            keeps_method: matches!(status, 307 | 308),
        })),
        Err(error) => Err(Error::Broken {
            host: host_of(url),
            reason: format!("it redirects to {location:?}, which is not a valid URL: {error}"),
        }),
    }
}

fn build(
    config: &HttpClientConfig,
    material: &Material,
    resolver: Option<Arc<dyn Resolver>>,
) -> Result<reqwest::Client, BuildError> {
    let tls = tls::client_config(&config.tls, material, config.enable_http2)?;
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .pool_idle_timeout(IDLE_TIMEOUT);
    if !config.enable_http2 {
        builder = builder.http1_only();
    }
    if let Some(resolver) = resolver {
        builder = builder.dns_resolver(Arc::new(Hook(resolver)));
    }
    if let Some(url) = &config.proxy_url {
        let proxy = reqwest::Proxy::all(url)
            .map_err(|_| BuildError::Proxy("not a valid proxy URL".to_owned()))?;
        let excepted = config.no_proxy.as_deref();
        let excepted = excepted.and_then(reqwest::NoProxy::from_string);
        builder = builder.proxy(proxy.no_proxy(excepted));
    } else if !config.proxy_from_environment {
        builder = builder.no_proxy();
    }
    builder
        .build()
        .map_err(|e| BuildError::Client(e.to_string()))
}

fn parse_url(text: &str) -> Result<Url, Error> {
    let invalid = |reason: String| Error::Url {
        url: without_credentials(text),
        reason,
    };
    let url = Url::parse(text).map_err(|e| invalid(e.to_string()))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        scheme => Err(invalid(format!(
            "the scheme {scheme:?} is not http or https"
        ))),
    }
}

/// A URL for messages; it may be broken.
fn without_credentials(text: &str) -> String {
    match (text.find("//"), text.rfind('@')) {
        (Some(start), Some(end)) if start + 2 <= end => {
            let (before, _) = text.split_at(start + 2);
            let (_, after) = text.split_at(end);
            format!("{before}<secret>{after}")
        }
        _ => text.to_owned(),
    }
}

/// Host and port, for messages.
fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port_or_known_default() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Whether what is meant for `first` may be sent to `url`: the same host, and not in the clear
/// where it was encrypted.
fn may_have_secrets(first: &Url, url: &Url) -> bool {
    first.host_str() == url.host_str() && (url.scheme() == "https" || first.scheme() == "http")
}

fn header_map(headers: &[(&str, &str)]) -> Result<HeaderMap, Error> {
    let mut map = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        map.append(header_name(name)?, header_value(value, name)?);
    }
    Ok(map)
}

fn header_name(name: &str) -> Result<HeaderName, Error> {
    HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| Error::Configuration(format!("{name:?} is not a valid header name")))
}

fn header_value(value: &str, name: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(value).map_err(|_| {
        Error::Configuration(format!(
            "the value for header {name:?} cannot be sent in a header"
        ))
    })
}

async fn secret(source: &SecretSource) -> Result<String, Error> {
    let path: &PathBuf = match source {
        SecretSource::Inline(secret) => return Ok(secret.0.clone()),
        SecretSource::File(path) => path,
    };
    match tokio::fs::read_to_string(path).await {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(error) => Err(BuildError::File {
            path: path.clone(),
            reason: tls::plain_io(&error),
        }
        .into()),
    }
}
