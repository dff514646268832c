//! Asks a running server, through Prometheus's HTTP API.
//!
//! Doesn't know what the answers mean; whoever asks says what type they have.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::Args;
use narthex_http_client::{Client, HttpClientConfig, Request, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;
use url::{Url, form_urlencoded};

/// The server that is asked where none is named.
pub(crate) const DEFAULT_ADDRESS: &str = "http://127.0.0.1:9090";

/// As promtool has it: longer than a server takes by default before it gives a query up.
const TIMEOUT: Duration = Duration::from_secs(125);
/// Far beyond what anybody reads on a terminal, and less than fills a machine.
const ANSWER_BYTES_MAX: usize = 1 << 30;
/// Of an answer that is none of the API's.
const FOREIGN_CHARS_SHOWN: usize = 200;

#[derive(Args, Debug)]
pub(crate) struct Connection {
    /// A file that says how to connect: the fields of Prometheus's http_config.
    #[arg(long = "http.config.file", value_name = "FILE", global = true)]
    http_config_file: Option<PathBuf>,
    /// A header to send along; may be given several times.
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = name_and_value, global = true)]
    headers: Vec<(String, String)>,
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=');
    let (name, value) = pair.ok_or_else(|| format!("expected NAME=VALUE, got {text:?}"))?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(crate) struct Server {
    address: Url,
    client: Client,
    headers: Vec<(String, String)>,
    runtime: Runtime,
}

/// What a server said, with what it said beside it.
pub(crate) struct Answer<T> {
    pub(crate) data: T,
    pub(crate) warnings: Vec<String>,
    pub(crate) infos: Vec<String>,
}

impl Server {
    /// `address` is a URL, also with a path before the API's, or just `host:port`.
    pub(crate) fn new(address: &str, connection: &Connection) -> anyhow::Result<Server> {
        let address = parse_address(address)?;
        let config = match &connection.http_config_file {
            Some(file) => {
                ensure!(
                    address.username().is_empty(),
                    "--http.config.file and a user name in the server's URL exclude each other"
                );
                let (config, notices) = narthex_config::http_client_config(file)?;
                for notice in notices {
                    tracing::warn!("{notice}");
                }
                config
            }
            None => HttpClientConfig::default(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("starting to connect")?;
        Ok(Server {
            address,
            client: Client::new(config).context("the HTTP client")?,
            headers: connection.headers.clone(),
            runtime,
        })
    }

    /// Asks with the parameters in the URL.
    pub(crate) fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        parameters: &[(&str, &str)],
    ) -> anyhow::Result<Answer<T>> {
        let url = self.url(path);
        let answered = self.runtime.block_on(self.send_get(&url, parameters));
        answered.and_then(read).with_context(|| asking(&url))
    }

    /// Asks with the parameters in the body, as they can be long. A server that takes none is asked
    /// with the URL.
    pub(crate) fn post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        parameters: &[(&str, &str)],
    ) -> anyhow::Result<Answer<T>> {
        let url = self.url(path);
        let answered = self.runtime.block_on(async {
            let posted = self.send_post(&url, parameters).await?;
            match posted.status {
                405 | 501 => self.send_get(&url, parameters).await,
                _ => Ok(posted),
            }
        });
        answered.and_then(read).with_context(|| asking(&url))
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.address.clone();
        // An address of HTTP can always be a base.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["api", "v1"]).extend(path);
        }
        url
    }

    async fn send_get(&self, url: &Url, parameters: &[(&str, &str)]) -> anyhow::Result<Raw> {
        let mut url = url.clone();
        url.query_pairs_mut().extend_pairs(parameters);
        let headers = self.headers(&[]);
        Raw::of(self.client.get(&request(&url, &headers)).await?).await
    }

    async fn send_post(&self, url: &Url, parameters: &[(&str, &str)]) -> anyhow::Result<Raw> {
        let form = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(parameters)
            .finish();
        let headers = self.headers(&[("Content-Type", "application/x-www-form-urlencoded")]);
        let request = request(url, &headers);
        Raw::of(self.client.post(&request, form.into()).await?).await
    }

    fn headers<'a>(&'a self, own: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let given = self.headers.iter();
        let given = given.map(|(name, value)| (name.as_str(), value.as_str()));
        own.iter().copied().chain(given).collect()
    }
}

fn parse_address(text: &str) -> anyhow::Result<Url> {
    let full = match text.contains("://") {
        true => text.to_owned(),
        false => format!("http://{text}"),
    };
    let url = Url::parse(&full).with_context(|| format!("the server's address {text:?}"))?;
    let is_http = matches!(url.scheme(), "http" | "https");
    ensure!(
        is_http,
        "the server's address {text:?} begins with neither http:// nor https://"
    );
    Ok(url)
}

/// Without what is secret.
fn asking(url: &Url) -> String {
    let mut shown = url.clone();
    // A URL of HTTP has a place for them.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    format!("asking {shown}")
}

fn request<'a>(url: &'a Url, headers: &'a [(&'a str, &'a str)]) -> Request<'a> {
    Request {
        url: url.as_str(),
        headers,
        timeout: TIMEOUT,
    }
}

struct Raw {
    status: u16,
    status_text: String,
    body: Vec<u8>,
}

impl Raw {
    async fn of(response: Response) -> anyhow::Result<Raw> {
        Ok(Raw {
            status: response.status(),
            status_text: response.status_text(),
            body: response.body(ANSWER_BYTES_MAX).await?,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<T> {
    status: String,
    data: Option<T>,
    error_type: Option<String>,
    error: Option<String>,
    #[serde(default)]
    warnings: Vec<String>,
    #[serde(default)]
    infos: Vec<String>,
}

fn read<T: DeserializeOwned>(raw: Raw) -> anyhow::Result<Answer<T>> {
    let envelope: Envelope<T> = match serde_json::from_slice(&raw.body) {
        Ok(envelope) => envelope,
        Err(error) if raw.status == 200 => {
            return Err(error).context("the answer is none of Prometheus's API");
        }
        Err(_) => {
            let text = String::from_utf8_lossy(&raw.body);
            let shown: String = text.trim().chars().take(FOREIGN_CHARS_SHOWN).collect();
            bail!("the server answered {}: {shown}", raw.status_text);
        }
    };
    match envelope {
        Envelope {
            status,
            data: Some(data),
            warnings,
            infos,
            ..
        } if status == "success" => Ok(Answer {
            data,
            warnings,
            infos,
        }),
        failed => bail!(
            "{}: {}",
            failed.error_type.unwrap_or(raw.status_text),
            failed.error.unwrap_or_default()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(address: &str) -> String {
        let connection = Connection {
            http_config_file: None,
            headers: Vec::new(),
        };
        let server = Server::new(address, &connection).unwrap();
        server.url(&["label", "a b/c", "values"]).to_string()
    }

    #[test]
    fn addresses() {
        let path = "api/v1/label/a%20b%2Fc/values";
        for (address, expected) in [
            ("http://a:9090", "http://a:9090/"),
            ("https://a/prom/", "https://a/prom/"),
            ("https://a/prom", "https://a/prom/"),
            ("localhost:9090", "http://localhost:9090/"),
            ("10.0.0.1", "http://10.0.0.1/"),
        ] {
            assert_eq!(url(address), format!("{expected}{path}"));
        }
        for wrong in ["ftp://a", "http://", "a b"] {
            assert!(parse_address(wrong).is_err(), "{wrong}");
        }
        let secret = parse_address("http://me:secret@a").unwrap();
        assert_eq!(asking(&secret), "asking http://a/");
    }

    #[test]
    fn answers() {
        let read = |status: u16, body: &str| {
            let raw = Raw {
                status,
                status_text: format!("{status} Text"),
                body: body.as_bytes().to_vec(),
            };
            match read::<Vec<String>>(raw) {
                Ok(answer) => format!("{:?} {:?}", answer.data, answer.warnings),
                Err(error) => format!("{error:#}"),
            }
        };
        for (status, body, expected) in [
            (
                200,
                r#"{"status":"success","data":["a"],"warnings":["w"]}"#,
                r#"["a"] ["w"]"#,
            ),
            (
                400,
                r#"{"status":"error","errorType":"bad_data","error":"no"}"#,
                "bad_data: no",
            ),
            (
                503,
                "Service Unavailable\n",
                "the server answered 503 Text: Service Unavailable",
            ),
            (404, "", "the server answered 404 Text: "),
        ] {
            assert_eq!(read(status, body), expected);
        }
        let foreign = read(200, "<html>");
        assert!(foreign.starts_with("the answer is none of"), "{foreign}");
        let other = read(200, r#"{"status":"success","data":5}"#);
        assert!(other.starts_with("the answer is none of"), "{other}");
    }
}
