//! The way to the API server: where it is, and by which credentials it is asked.
//!
//! Credentials that lie in files are read by the host at each request, so a token that is replaced,
//! as those of service accounts are every hour, is taken up by itself.

use std::cell::RefCell;

use narthex_plugin_sdk::http::{Client, Request};
use narthex_plugin_sdk::{Error, environment, files, tracing};
use serde_json::{Value, json};

use crate::config::Place;
use crate::kubeconfig;
use crate::resource::Resource;

/// Where Kubernetes puts the account of a pod.
pub(crate) const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
pub(crate) const HOST: &str = "KUBERNETES_SERVICE_HOST";
pub(crate) const PORT: &str = "KUBERNETES_SERVICE_PORT";

/// What only the metadata of objects is asked by. A server that doesn't know it sends all.
const METADATA_ONLY: &str =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
/// The same of a single object, as watches give them.
const METADATA_EVENTS: &str =
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";

#[derive(Clone, Debug)]
struct Route {
    server: String,
    client: Client,
    headers: Vec<(String, String)>,
}

pub(crate) struct Connection {
    route: RefCell<Route>,
    /// Path and content, which may change.
    kubeconfig: Option<(String, RefCell<String>)>,
}

impl Connection {
    /// `client` is the one for an API server that the configuration itself names.
    pub(crate) fn new(place: &Place, client: Client) -> Result<Self, Error> {
        Ok(match place {
            Place::At(url) => Connection {
                route: RefCell::new(Route {
                    server: kubeconfig::with_scheme(url, false),
                    client,
                    headers: Vec::new(),
                }),
                kubeconfig: None,
            },
            Place::InCluster => Connection {
                route: RefCell::new(in_cluster()?),
                kubeconfig: None,
            },
            Place::Kubeconfig(path) => {
                let text = read_kubeconfig(path)?;
                Connection {
                    route: RefCell::new(by_kubeconfig(path, &text)?),
                    kubeconfig: Some((path.clone(), RefCell::new(text))),
                }
            }
        })
    }

    /// A request for objects. `query` begins with a `?`, if there is one.
    pub(crate) fn get(
        &self,
        resource: Resource,
        namespace: Option<&str>,
        query: &str,
        is_watch: bool,
    ) -> Request {
        let route = self.route.borrow();
        let path = resource.path(namespace);
        let accept = match (resource.is_metadata_only(), is_watch) {
            (false, _) => "application/json",
            (true, false) => METADATA_ONLY,
            (true, true) => METADATA_EVENTS,
        };
        let request = route.client.get(format!("{}{path}{query}", route.server));
        let request = request.header("accept", accept);
        let headers = route.headers.iter();
        headers.fold(request, |request, (name, value)| {
            request.header(name, value)
        })
    }

    /// The server does not know who asks: another kubeconfig may have come in place of the one that
    /// was read.
    pub(crate) fn renew(&self) {
        let Some((path, known)) = &self.kubeconfig else {
            return;
        };
        let renewed = read_kubeconfig(path).and_then(|text| {
            if text == *known.borrow() {
                return Ok(());
            }
            let route = by_kubeconfig(path, &text)?;
            tracing::info!("{path} has changed and is used from now on");
            self.route.replace(route);
            known.replace(text);
            Ok(())
        });
        if let Err(error) = renewed {
            tracing::warn!("{error}; going on with what it said before");
        }
    }
}

fn in_cluster() -> Result<Route, Error> {
    let outside = "this seems to be no pod of a cluster: set api_server or kubeconfig_file";
    let variable = |name: &str| {
        let value = environment::get(name)?.filter(|value| !value.is_empty());
        value.ok_or_else(|| Error::new(format!("{name} is not set; {outside}")))
    };
    let (host, port) = (variable(HOST)?, variable(PORT)?);
    let token = format!("{ACCOUNT}/token");
    files::stat(&token).map_err(|error| match error.is_not_found() {
        true => Error::new(format!("{token}: {error}; {outside}")),
        false => Error::new(error).context(&token),
    })?;
    let authority = format!("{ACCOUNT}/ca.crt");
    let mut tls = json!({});
    match files::stat(&authority) {
        Ok(_) => tls["ca_file"] = Value::from(authority),
        Err(error) => {
            tracing::warn!("{authority}: {error}; the system's certificates are used instead");
        }
    }
    let options = json!({
        "authorization": { "credentials_file": token },
        "tls_config": tls,
        "proxy_from_environment": true,
    });
    let host = match host.contains(':') {
        true => format!("[{host}]"),
        false => host,
    };
    Ok(Route {
        server: format!("https://{host}:{port}"),
        client: Client::with_options(&options, "/")?,
        headers: Vec::new(),
    })
}

/// The namespace of the pod that the agent runs in.
pub(crate) fn own_namespace() -> Result<String, Error> {
    let path = format!("{ACCOUNT}/namespace");
    let text = files::read_text(&path).map_err(|error| Error::new(error).context(&path))?;
    match text.trim() {
        "" => Err(Error::new(format!("{path}: the file is empty"))),
        name => Ok(name.to_owned()),
    }
}

fn read_kubeconfig(path: &str) -> Result<String, Error> {
    files::read_text(path).map_err(|error| Error::new(error).context(path))
}

fn by_kubeconfig(path: &str, text: &str) -> Result<Route, Error> {
    let route = kubeconfig::read(text).map_err(|error| error.context(path))?;
    let (folder, _) = path.rsplit_once('/').unwrap_or_default();
    let folder = if folder.is_empty() { "/" } else { folder };
    let client = Client::with_options(&route.http, folder);
    let client = client.map_err(|error| Error::new(error).context(path))?;
    Ok(Route {
        server: route.server,
        client,
        headers: route.headers,
    })
}
