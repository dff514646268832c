//! An entry of `kubernetes_sd_configs`, and what is refused in one.

use narthex_plugin_sdk::ConfigError;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::resource::Resource;
use crate::selectors;

/// The fields beside those of `http_config`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub(crate) role: Option<Role>,
    #[serde(default)]
    pub(crate) api_server: Option<String>,
    #[serde(default)]
    pub(crate) kubeconfig_file: Option<String>,
    #[serde(default)]
    pub(crate) namespaces: Option<Namespaces>,
    #[serde(default)]
    pub(crate) selectors: Option<Vec<SelectorConfig>>,
    #[serde(default)]
    pub(crate) attach_metadata: Option<AttachMetadata>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    Node,
    Service,
    Pod,
    Endpoints,
    EndpointSlice,
    Ingress,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Namespaces {
    pub(crate) own_namespace: bool,
    pub(crate) names: Option<Vec<String>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SelectorConfig {
    role: Role,
    #[serde(default)]
    label: Option<String>,
    #[serde(default)]
    field: Option<String>,
}

/// Which objects of a kind are asked for. Empty: all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selector {
    pub(crate) label: String,
    pub(crate) field: String,
}

/// What else is put on targets.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AttachMetadata {
    pub(crate) node: bool,
    pub(crate) namespace: bool,
    pub(crate) deployment: bool,
    pub(crate) job: bool,
    pub(crate) cronjob: bool,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Role::Node => "node",
            Role::Service => "service",
            Role::Pod => "pod",
            Role::Endpoints => "endpoints",
            Role::EndpointSlice => "endpointslice",
            Role::Ingress => "ingress",
        }
    }

    /// What becomes target groups.
    pub(crate) fn resource(self) -> Resource {
        match self {
            Role::Node => Resource::Nodes,
            Role::Service => Resource::Services,
            Role::Pod => Resource::Pods,
            Role::Endpoints => Resource::Endpoints,
            Role::EndpointSlice => Resource::EndpointSlices,
            Role::Ingress => Resource::Ingresses,
        }
    }

    /// The name of the group of the object of this key.
    pub(crate) fn source(self, at: &str) -> String {
        let kind = match self {
            Role::Service => "svc",
            role => role.name(),
        };
        format!("{kind}/{at}")
    }

    /// The kinds of objects that a selector may choose from.
    fn selectable(self) -> &'static [Role] {
        match self {
            Role::Node => &[Role::Node],
            Role::Service => &[Role::Service],
            Role::Pod => &[Role::Pod, Role::Node],
            Role::Endpoints => &[Role::Pod, Role::Service, Role::Endpoints],
            Role::EndpointSlice => &[Role::Pod, Role::Service, Role::EndpointSlice],
            Role::Ingress => &[Role::Ingress],
        }
    }
}

/// What is read, as it was configured.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) role: Role,
    pub(crate) attach: AttachMetadata,
    pub(crate) own_namespace: bool,
    /// None: all of them.
    pub(crate) namespaces: Vec<String>,
    selectors: Vec<SelectorConfig>,
}

impl Plan {
    /// What is asked for of a kind of objects.
    pub(crate) fn selector(&self, resource: Resource) -> Selector {
        let role = match resource {
            Resource::Nodes | Resource::NodeMetadata => Role::Node,
            Resource::Pods => Role::Pod,
            Resource::Services => Role::Service,
            Resource::Endpoints => Role::Endpoints,
            Resource::EndpointSlices => Role::EndpointSlice,
            Resource::Ingresses => Role::Ingress,
            Resource::Namespaces | Resource::ReplicaSets | Resource::Jobs => {
                return Selector::default();
            }
        };
        let mut selectors = self.selectors.iter();
        let found = selectors.find(|selector| selector.role == role);
        found.map_or_else(Selector::default, |found| Selector {
            label: found.label.clone().unwrap_or_default(),
            field: found.field.clone().unwrap_or_default(),
        })
    }
}

/// How the API server is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The one of the cluster that the agent runs in.
    InCluster,
    /// As this file says.
    Kubeconfig(String),
    At(String),
}

impl Config {
    /// Checks all of it, together with the fields of `http_config`.
    pub(crate) fn check(self, http: &Map<String, Value>) -> Result<(Plan, Place), ConfigError> {
        let Some(role) = self.role else {
            let expected = "expected one of node, service, pod, endpoints, endpointslice, ingress";
            return Err(ConfigError::new("role", expected));
        };
        let namespaces = self.namespaces.unwrap_or_default();
        let own_namespace = namespaces.own_namespace;
        let place = place(self.api_server, self.kubeconfig_file, own_namespace, http)?;
        let selectors = self.selectors.unwrap_or_default();
        check_selectors(role, &selectors)?;
        let mut names = namespaces.names.unwrap_or_default();
        if let Some(at) = names.iter().position(String::is_empty) {
            let field = format!("namespaces.names[{at}]");
            return Err(ConfigError::new(field, "expected the name of a namespace"));
        }
        names.sort();
        names.dedup();
        let plan = Plan {
            role,
            attach: self.attach_metadata.unwrap_or_default(),
            own_namespace,
            namespaces: names,
            selectors,
        };
        Ok((plan, place))
    }
}

fn place(
    api_server: Option<String>,
    kubeconfig_file: Option<String>,
    own_namespace: bool,
    http: &Map<String, Value>,
) -> Result<Place, ConfigError> {
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let wrong = |field: &str, message: &str| Err(ConfigError::new(field, message));
    let http_field = http.iter().find(|(name, value)| !is_default(name, value));
    let http_field = http_field.map(|(name, _)| name.as_str());
    match (given(api_server), given(kubeconfig_file)) {
        (Some(_), Some(_)) => wrong(
            "kubeconfig_file",
            "stands beside api_server: only one of them can say where the API server is",
        ),
        (Some(_), None) if own_namespace => wrong(
            "namespaces.own_namespace",
            "is known only inside of a cluster: name the namespace in namespaces.names, or leave \
             out api_server",
        ),
        (None, Some(_)) if own_namespace => wrong(
            "namespaces.own_namespace",
            "is known only inside of a cluster: name the namespace in namespaces.names, or leave \
             out kubeconfig_file",
        ),
        (Some(url), None) => match check_url(&url) {
            Ok(()) => Ok(Place::At(url)),
            Err(message) => wrong("api_server", &message),
        },
        (None, file) => match (http_field, file) {
            (Some(field), Some(_)) => wrong(
                field,
                "stands beside kubeconfig_file, which says by itself how to reach the API server",
            ),
            (Some(field), None) => wrong(
                field,
                "needs api_server: without it, the service account of the pod is used",
            ),
            (None, Some(file)) => Ok(Place::Kubeconfig(file)),
            (None, None) => Ok(Place::InCluster),
        },
    }
}

/// Whether a field of `http_config` says what goes without saying.
fn is_default(name: &str, value: &Value) -> bool {
    let is_empty = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        _ => false,
    };
    match (name, value) {
        ("follow_redirects" | "enable_http2", value) => *value == Value::Bool(true),
        ("tls_config", Value::Object(fields)) => fields.values().all(is_empty),
        (_, value) => is_empty(value),
    }
}

fn check_url(url: &str) -> Result<(), String> {
    let rest = match url.split_once("://") {
        None => url,
        Some(("http" | "https", rest)) => rest,
        Some(_) => return Err(format!("{url:?} begins neither with http:// nor https://")),
    };
    match rest.split(['/', '?', '#']).next().unwrap_or_default() {
        "" => Err(format!("{url:?} has no host")),
        _ => Ok(()),
    }
}

fn check_selectors(role: Role, selectors: &[SelectorConfig]) -> Result<(), ConfigError> {
    for (at, selector) in selectors.iter().enumerate() {
        let field = |name: &str| format!("selectors[{at}].{name}");
        let name = selector.role.name();
        let before = selectors.iter().take(at);
        if before.into_iter().any(|other| other.role == selector.role) {
            let message = format!("there is another selector of role {name} before");
            return Err(ConfigError::new(field("role"), message));
        }
        let selectable = role.selectable();
        if !selectable.contains(&selector.role) {
            let names: Vec<&str> = selectable.iter().map(|role| role.name()).collect();
            let message = format!(
                "role {} has no use for {name}: expected one of {}",
                role.name(),
                names.join(", ")
            );
            return Err(ConfigError::new(field("role"), message));
        }
        selectors::check_labels(selector.label.as_deref().unwrap_or_default())
            .map_err(|message| ConfigError::new(field("label"), message))?;
        selectors::check_fields(selector.field.as_deref().unwrap_or_default())
            .map_err(|message| ConfigError::new(field("field"), message))?;
    }
    Ok(())
}
