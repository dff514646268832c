//! `static_configs` and the `<name>_sd_configs` that Prometheus knows.
//!
//! Their fields are checked here, so that a fault shows at load and not when a plugin starts. Names
//! outside the table are plugins of the user's: what they take, only they know.

use super::http::{AUTHENTICATION, HTTP_CLIENT, TLS, check_http_client};
use super::{
    Field, Kind, Object, Open, PORT, TEXT_MAP, at_least_one, at_most_one, checked, choice,
    duration, field, flag, is_http_url, is_label_name, is_url, required, secret, text, texts,
};
use crate::error::{Faults, nearest};
use crate::yaml::Node;

pub(crate) static STATIC_CONFIG: Object = Object::new(
    "a target group (targets, labels)",
    &[&[
        texts("targets"),
        field("labels", Kind::Map(is_label_name, &Kind::Text)),
    ]],
);

const REFRESH: Field = field("refresh_interval", Kind::PositiveDuration);
const PORT_FIELD: Field = field("port", PORT);
const AWS_KEYS: &[Field] = &[
    text("endpoint"),
    text("region"),
    text("access_key"),
    secret("secret_key"),
    text("profile"),
    text("role_arn"),
    text("external_id"),
    REFRESH,
    PORT_FIELD,
];
const ECS_KEYS: &[Field] = &[
    texts("clusters"),
    field("request_concurrency", Kind::Whole(1, 1000)),
];

static EC2_FILTER: Object = Object::new(
    "a filter (name, values)",
    &[&[text("name"), texts("values")]],
)
.with(&[|node, faults| {
    if node.part("values").items().is_empty() {
        faults.push(
            node.at,
            &node.path,
            "a filter needs values: `values` is empty",
        );
    }
}]);

const FILTERS: Field = field("filters", Kind::Objects(&EC2_FILTER));

static AWS: Object = Object::new(
    "aws_sd_config",
    &[
        &[required(
            "role",
            Kind::Choice(&["ec2", "lightsail", "ecs", "msk", "elasticache", "rds"]),
        )],
        AWS_KEYS,
        ECS_KEYS,
        &[FILTERS],
        HTTP_CLIENT,
    ],
)
.with(&[check_http_client]);

static EC2: Object =
    Object::new("ec2_sd_config", &[AWS_KEYS, &[FILTERS], HTTP_CLIENT]).with(&[check_http_client]);
static LIGHTSAIL: Object =
    Object::new("lightsail_sd_config", &[AWS_KEYS, HTTP_CLIENT]).with(&[check_http_client]);
static ECS: Object =
    Object::new("ecs_sd_config", &[AWS_KEYS, ECS_KEYS, HTTP_CLIENT]).with(&[check_http_client]);
static MSK: Object =
    Object::new("msk_sd_config", &[AWS_KEYS, ECS_KEYS, HTTP_CLIENT]).with(&[check_http_client]);
static ELASTICACHE: Object =
    Object::new("elasticache_sd_config", &[AWS_KEYS, ECS_KEYS, HTTP_CLIENT])
        .with(&[check_http_client]);
static RDS: Object =
    Object::new("rds_sd_config", &[AWS_KEYS, ECS_KEYS, HTTP_CLIENT]).with(&[check_http_client]);

static AZURE: Object = Object::new(
    "azure_sd_config",
    &[
        &[
            text("environment"),
            choice(
                "authentication_method",
                &["OAuth", "ManagedIdentity", "SDK", "WorkloadIdentity"],
            ),
            required("subscription_id", Kind::Text),
            text("tenant_id"),
            text("client_id"),
            secret("client_secret"),
            text("resource_group"),
            REFRESH,
            PORT_FIELD,
        ],
        HTTP_CLIENT,
    ],
)
.with(&[check_http_client, |node, faults| {
    let method = node.string("authentication_method").unwrap_or("OAuth");
    let needed: &[&str] = match method {
        "OAuth" => &["tenant_id", "client_id", "client_secret"],
        "WorkloadIdentity" => &["tenant_id", "client_id"],
        _ => &[],
    };
    for name in needed {
        at_least_one(node, &[name], faults);
    }
}]);

static CONSUL: Object = Object::new(
    "consul_sd_config",
    &[
        &[
            text("server"),
            text("path_prefix"),
            secret("token"),
            text("datacenter"),
            text("namespace"),
            text("partition"),
            choice("scheme", &["", "http", "https"]),
            text("username"),
            secret("password"),
            texts("services"),
            text("filter"),
            text("health_filter"),
            texts("tags"),
            field("node_meta", TEXT_MAP),
            text("tag_separator"),
            flag("allow_stale"),
            REFRESH,
        ],
        HTTP_CLIENT,
    ],
)
.with(&[check_http_client, |node, faults| {
    let has_login = node.is_set("username") || node.is_set("password");
    if has_login && node.is_set("basic_auth") {
        faults.push(
            node.place_of("basic_auth"),
            &node.field_of("basic_auth"),
            "`username` and `password` exclude `basic_auth`",
        );
    }
    let ways = AUTHENTICATION.iter().filter(|name| **name != "basic_auth");
    if node.is_set("token") && ways.clone().any(|name| node.is_set(name)) {
        faults.push(
            node.place_of("token"),
            &node.field_of("token"),
            "`token` excludes `authorization`, `oauth2` and `bearer_token`",
        );
    }
}]);

static DIGITALOCEAN: Object = Object::new(
    "digitalocean_sd_config",
    &[
        &[
            choice("role", &["droplets", "databases"]),
            REFRESH,
            PORT_FIELD,
        ],
        HTTP_CLIENT,
    ],
)
.with(&[check_http_client]);

static DNS: Object = Object::new(
    "dns_sd_config",
    &[&[
        required("names", Kind::List(&Kind::Text)),
        field("type", Kind::Checked(is_dns_type)),
        PORT_FIELD,
        REFRESH,
    ]],
)
.with(&[|node, faults| {
    let kind = node.string("type").unwrap_or("SRV");
    if !kind.eq_ignore_ascii_case("SRV") && node.whole("port").unwrap_or(0) == 0 {
        faults.push(
            node.at,
            &node.path,
            format!("`port` is missing: records of type {kind} don't tell it"),
        );
    }
}]);

fn is_dns_type(text: &str) -> Result<(), String> {
    match text.to_ascii_uppercase().as_str() {
        "SRV" | "A" | "AAAA" | "MX" | "NS" => Ok(()),
        _ => Err(format!(
            "expected one of SRV, A, AAAA, MX, NS, got `{text}`"
        )),
    }
}

static DOCKER_FILTER: Object = Object::new(
    "a filter (name, values)",
    &[&[
        required("name", Kind::Text),
        required("values", Kind::List(&Kind::Text)),
    ]],
);
const DOCKER_FILTERS: Field = field("filters", Kind::Objects(&DOCKER_FILTER));

static DOCKER: Object = Object::new(
    "docker_sd_config",
    &[
        &[
            required("host", Kind::Checked(is_url)),
            text("host_networking_host"),
            flag("match_first_network"),
            DOCKER_FILTERS,
            REFRESH,
            PORT_FIELD,
        ],
        HTTP_CLIENT,
    ],
)
.with(&[check_http_client]);

static DOCKERSWARM: Object = Object::new(
    "dockerswarm_sd_config",
    &[
        &[
            required("host", Kind::Checked(is_url)),
            required("role", Kind::Choice(&["services", "tasks", "nodes"])),
            DOCKER_FILTERS,
            REFRESH,
            PORT_FIELD,
        ],
        HTTP_CLIENT,
    ],
)
.with(&[check_http_client]);

static EUREKA: Object = Object::new(
    "eureka_sd_config",
    &[
        &[required("server", Kind::Checked(is_http_url)), REFRESH],
        HTTP_CLIENT,
    ],
)
.with(&[check_http_client]);

static FILE: Object = Object::new(
    "file_sd_config",
    &[&[
        required("files", Kind::List(&Kind::Checked(is_target_file))),
        REFRESH,
    ]],
);

/// `*` only in the last part of the path, and an ending that says how to read it.
fn is_target_file(path: &str) -> Result<(), String> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    if folder.contains('*') {
        return Err(format!(
            "`{path}` has a `*` before its last part: only file names may have one"
        ));
    }
    let known = [".json", ".yml", ".yaml", ".JSON", ".YML", ".YAML"];
    match known.iter().any(|ending| name.ends_with(ending)) {
        true => Ok(()),
        false => Err(format!(
            "`{path}` must end in .json, .yml or .yaml, which says how to read it"
        )),
    }
}

static GCE: Object = Object::new(
    "gce_sd_config",
    &[&[
        required("project", Kind::Text),
        required("zone", Kind::Text),
        text("filter"),
        text("tag_separator"),
        REFRESH,
        PORT_FIELD,
    ]],
);

static HETZNER: Object = Object::new(
    "hetzner_sd_config",
    &[
        &[
            required("role", Kind::Choice(&["hcloud", "robot"])),
            text("label_selector"),
            REFRESH,
            PORT_FIELD,
        ],
        HTTP_CLIENT,
    ],
)
.with(&[check_http_client]);

static HTTP: Object = Object::new(
    "http_sd_config",
    &[
        &[required("url", Kind::Checked(is_http_url)), REFRESH],
        HTTP_CLIENT,
    ],
)
.with(&[check_http_client]);

static IONOS: Object = Object::new(
    "ionos_sd_config",
    &[
        &[required("datacenter_id", Kind::Text), REFRESH, PORT_FIELD],
        HTTP_CLIENT,
    ],
)
.with(&[check_http_client]);

const KUBERNETES_ROLES: &[&str] = &[
    "node",
    "pod",
    "service",
    "endpoints",
    "endpointslice",
    "ingress",
];
static KUBERNETES_NAMESPACES: Object =
    Object::new("namespaces", &[&[flag("own_namespace"), texts("names")]]);
static KUBERNETES_SELECTOR: Object = Object::new(
    "a selector (role, label, field)",
    &[&[
        required("role", Kind::Choice(KUBERNETES_ROLES)),
        checked("label", is_label_selector),
        checked("field", is_field_selector),
    ]],
);
static KUBERNETES_METADATA: Object = Object::new(
    "attach_metadata",
    &[&[
        flag("node"),
        flag("namespace"),
        flag("deployment"),
        flag("job"),
        flag("cronjob"),
    ]],
);
static KUBERNETES: Object = Object::new(
    "kubernetes_sd_config",
    &[
        &[
            checked("api_server", is_url),
            required("role", Kind::Choice(KUBERNETES_ROLES)),
            text("kubeconfig_file"),
            field("namespaces", Kind::Object(&KUBERNETES_NAMESPACES)),
            field("selectors", Kind::Objects(&KUBERNETES_SELECTOR)),
            field("attach_metadata", Kind::Object(&KUBERNETES_METADATA)),
        ],
        HTTP_CLIENT,
    ],
)
.with(&[
    check_http_client,
    check_kubernetes_access,
    check_kubernetes_selectors,
]);

fn check_kubernetes_access(node: &Node, faults: &mut Faults) {
    let has_kubeconfig = node.is_set("kubeconfig_file");
    let has_server = node.is_set("api_server");
    let has_client = HTTP_CLIENT.iter().any(|field| {
        node.is_set(field.name) && !matches!(field.name, "follow_redirects" | "enable_http2")
    });
    let own = node.part("namespaces").boolean("own_namespace") == Some(true);
    let mut refuse = |name: &str, message: &str| {
        faults.push(node.place_of(name), &node.field_of(name), message);
    };
    if has_kubeconfig && has_server {
        refuse("api_server", "excludes `kubeconfig_file`");
    }
    if has_kubeconfig && has_client {
        refuse(
            "kubeconfig_file",
            "excludes fields of the HTTP client: the kubeconfig file says how to connect",
        );
    }
    if !has_kubeconfig && !has_server && has_client {
        refuse(
            "api_server",
            "is missing: to set fields of the HTTP client, name the server as well",
        );
    }
    if has_kubeconfig && own {
        refuse("namespaces", "`own_namespace` excludes `kubeconfig_file`");
    }
    if has_server && own {
        refuse("namespaces", "`own_namespace` excludes `api_server`");
    }
}

fn check_kubernetes_selectors(node: &Node, faults: &mut Faults) {
    let role = node.string("role").unwrap_or_default();
    let allowed: &[&str] = match role {
        "pod" => &["pod", "node"],
        "service" => &["service"],
        "endpoints" => &["endpoints", "pod", "service"],
        "endpointslice" => &["endpointslice", "pod", "service"],
        "node" => &["node"],
        "ingress" => &["ingress"],
        _ => return,
    };
    let mut seen = Vec::new();
    for selector in node.part("selectors").items() {
        let Some(of) = selector.string("role") else {
            continue;
        };
        if !allowed.contains(&of) {
            faults.push(
                selector.place_of("role"),
                &selector.field_of("role"),
                format!("a discovery of role `{role}` has no selectors of role `{of}`"),
            );
        }
        if seen.contains(&of) {
            faults.push(
                selector.place_of("role"),
                &selector.field_of("role"),
                format!("a second selector of role `{of}`: join the two with a comma"),
            );
        }
        seen.push(of);
    }
}

/// `a=b,c!=d`.
fn is_field_selector(text: &str) -> Result<(), String> {
    let parts = text.split(',').filter(|part| !part.trim().is_empty());
    for part in parts {
        if !part.contains('=') {
            return Err(format!(
                "`{part}` is no field selector: expected field=value or field!=value"
            ));
        }
    }
    Ok(())
}

/// `a=b,c!=d,e in (f,g),h notin (i),j,!k`.
fn is_label_selector(text: &str) -> Result<(), String> {
    let mut depth = 0_i32;
    for c in text.chars() {
        depth += match c {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        if !(0..=1).contains(&depth) {
            break;
        }
    }
    match depth {
        0 => Ok(()),
        _ => Err(format!(
            "`{text}` is no label selector: its brackets don't pair"
        )),
    }
}

static KUMA: Object = Object::new(
    "kuma_sd_config",
    &[
        &[
            required("server", Kind::Checked(is_http_url)),
            text("client_id"),
            REFRESH,
            duration("fetch_timeout"),
        ],
        HTTP_CLIENT,
    ],
)
.with(&[check_http_client]);

static LINODE: Object = Object::new(
    "linode_sd_config",
    &[
        &[text("region"), text("tag_separator"), REFRESH, PORT_FIELD],
        HTTP_CLIENT,
    ],
)
.with(&[check_http_client]);

static MARATHON: Object = Object::new(
    "marathon_sd_config",
    &[
        &[
            required("servers", Kind::List(&Kind::Text)),
            secret("auth_token"),
            text("auth_token_file"),
            REFRESH,
        ],
        HTTP_CLIENT,
    ],
)
.with(&[check_http_client, |node, faults| {
    at_most_one(node, &["auth_token", "auth_token_file"], faults);
    let has_token = node.is_set("auth_token") || node.is_set("auth_token_file");
    if let Some(other) = AUTHENTICATION.iter().find(|name| node.is_set(name))
        && has_token
    {
        faults.push(
            node.place_of(other),
            &node.field_of(other),
            "excludes `auth_token` and `auth_token_file`",
        );
    }
}]);

const ZOOKEEPER: &[Field] = &[
    required("servers", Kind::List(&Kind::Text)),
    required("paths", Kind::List(&Kind::Checked(is_zookeeper_path))),
    duration("timeout"),
];

fn is_zookeeper_path(path: &str) -> Result<(), String> {
    match path.starts_with('/') {
        true => Ok(()),
        false => Err(format!("the path `{path}` must begin with `/`")),
    }
}

static NERVE: Object = Object::new("nerve_sd_config", &[ZOOKEEPER]);
static SERVERSET: Object = Object::new("serverset_sd_config", &[ZOOKEEPER]);

static NOMAD: Object = Object::new(
    "nomad_sd_config",
    &[
        &[
            checked("server", is_url),
            text("region"),
            text("namespace"),
            flag("allow_stale"),
            text("tag_separator"),
            REFRESH,
        ],
        HTTP_CLIENT,
    ],
)
.with(&[check_http_client]);

static OCI: Object = Object::new(
    "oci_sd_config",
    &[
        &[
            field("auth", Kind::Choice(&["api_key", "instance_principal"])),
            text("tenancy"),
            text("user"),
            text("fingerprint"),
            text("key_file"),
            secret("key_passphrase"),
            text("key_passphrase_file"),
            required("region", Kind::Text),
            texts("compartments"),
            REFRESH,
            PORT_FIELD,
        ],
        HTTP_CLIENT,
    ],
)
.with(&[check_http_client, |node, faults| {
    at_most_one(node, &["key_passphrase", "key_passphrase_file"], faults);
    if node.string("auth").unwrap_or("api_key") == "api_key" {
        for name in ["tenancy", "user", "fingerprint", "key_file"] {
            at_least_one(node, &[name], faults);
        }
    }
}]);

static OPENSTACK: Object = Object::new(
    "openstack_sd_config",
    &[&[
        required(
            "role",
            Kind::Choice(&["hypervisor", "instance", "loadbalancer"]),
        ),
        required("region", Kind::Text),
        text("identity_endpoint"),
        text("username"),
        text("userid"),
        secret("password"),
        text("domain_name"),
        text("domain_id"),
        text("project_name"),
        text("project_id"),
        text("application_credential_name"),
        text("application_credential_id"),
        secret("application_credential_secret"),
        flag("all_tenants"),
        choice("availability", &["public", "admin", "internal"]),
        field("tls_config", Kind::Object(&TLS)),
        REFRESH,
        PORT_FIELD,
    ]],
);

static OUTSCALE: Object = Object::new(
    "outscale_sd_config",
    &[
        &[
            text("region"),
            required("access_key", Kind::Text),
            secret("secret_key"),
            text("secret_key_file"),
            text("endpoint"),
            REFRESH,
            PORT_FIELD,
        ],
        HTTP_CLIENT,
    ],
)
.with(&[check_http_client, |node, faults| {
    at_least_one(node, &["secret_key", "secret_key_file"], faults);
    at_most_one(node, &["secret_key", "secret_key_file"], faults);
    if node.written("region") == Some("") {
        faults.push(
            node.place_of("region"),
            &node.field_of("region"),
            "may not be empty: leave it out for eu-west-2",
        );
    }
}]);

static OVHCLOUD: Object = Object::new(
    "ovhcloud_sd_config",
    &[&[
        text("endpoint"),
        required("application_key", Kind::Text),
        required("application_secret", Kind::Secret),
        required("consumer_key", Kind::Secret),
        required("service", Kind::Choice(&["vps", "dedicated_server"])),
        REFRESH,
    ]],
);

static PUPPETDB: Object = Object::new(
    "puppetdb_sd_config",
    &[
        &[
            required("url", Kind::Checked(is_http_url)),
            required("query", Kind::Text),
            flag("include_parameters"),
            REFRESH,
            PORT_FIELD,
        ],
        HTTP_CLIENT,
    ],
)
.with(&[check_http_client]);

static SCALEWAY: Object = Object::new(
    "scaleway_sd_config",
    &[
        &[
            required("access_key", Kind::Text),
            secret("secret_key"),
            text("secret_key_file"),
            required("project_id", Kind::Text),
            required("role", Kind::Choice(&["instance", "baremetal"])),
            text("api_url"),
            text("zone"),
            text("name_filter"),
            texts("tags_filter"),
            REFRESH,
            PORT_FIELD,
        ],
        HTTP_CLIENT,
    ],
)
.with(&[check_http_client, |node, faults| {
    at_least_one(node, &["secret_key", "secret_key_file"], faults);
    at_most_one(node, &["secret_key", "secret_key_file"], faults);
}]);

static STACKIT: Object = Object::new(
    "stackit_sd_config",
    &[
        &[
            required("project", Kind::Text),
            text("region"),
            checked("endpoint", is_url),
            secret("private_key"),
            text("private_key_path"),
            secret("service_account_key"),
            text("service_account_key_path"),
            text("credentials_file_path"),
            REFRESH,
            PORT_FIELD,
        ],
        HTTP_CLIENT,
    ],
)
.with(&[check_http_client]);

static TRITON: Object = Object::new(
    "triton_sd_config",
    &[&[
        required("account", Kind::Text),
        choice("role", &["container", "cn"]),
        required("dns_suffix", Kind::Text),
        required("endpoint", Kind::Text),
        texts("groups"),
        PORT_FIELD,
        REFRESH,
        field("version", Kind::Whole(1, 100)),
        field("tls_config", Kind::Object(&TLS)),
    ]],
);

static UYUNI: Object = Object::new(
    "uyuni_sd_config",
    &[
        &[
            required("server", Kind::Checked(is_url)),
            required("username", Kind::Text),
            required("password", Kind::Secret),
            text("entitlement"),
            text("separator"),
            REFRESH,
        ],
        HTTP_CLIENT,
    ],
)
.with(&[check_http_client]);

static VULTR: Object = Object::new("vultr_sd_config", &[&[REFRESH, PORT_FIELD], HTTP_CLIENT])
    .with(&[check_http_client]);

/// Names of discoveries and the shape of their entries.
pub(crate) static PROVIDERS: &[(&str, &Object)] = &[
    ("aws", &AWS),
    ("azure", &AZURE),
    ("consul", &CONSUL),
    ("digitalocean", &DIGITALOCEAN),
    ("dns", &DNS),
    ("docker", &DOCKER),
    ("dockerswarm", &DOCKERSWARM),
    ("ec2", &EC2),
    ("ecs", &ECS),
    ("elasticache", &ELASTICACHE),
    ("eureka", &EUREKA),
    ("file", &FILE),
    ("gce", &GCE),
    ("hetzner", &HETZNER),
    ("http", &HTTP),
    ("ionos", &IONOS),
    ("kubernetes", &KUBERNETES),
    ("kuma", &KUMA),
    ("lightsail", &LIGHTSAIL),
    ("linode", &LINODE),
    ("marathon", &MARATHON),
    ("msk", &MSK),
    ("nerve", &NERVE),
    ("nomad", &NOMAD),
    ("oci", &OCI),
    ("openstack", &OPENSTACK),
    ("outscale", &OUTSCALE),
    ("ovhcloud", &OVHCLOUD),
    ("puppetdb", &PUPPETDB),
    ("rds", &RDS),
    ("scaleway", &SCALEWAY),
    ("serverset", &SERVERSET),
    ("stackit", &STACKIT),
    ("triton", &TRITON),
    ("uyuni", &UYUNI),
    ("vultr", &VULTR),
];

const SUFFIX: &str = "_sd_configs";

/// The name of the discovery that serves the field `field`: `file` for `file_sd_configs`.
pub(crate) fn provider_of(field: &str) -> Option<&str> {
    field.strip_suffix(SUFFIX).filter(|name| !name.is_empty())
}

pub(crate) fn is_known(name: &str) -> bool {
    PROVIDERS.iter().any(|(known, _)| *known == name)
}

/// What one entry holds; of a discovery that only a plugin knows, anything.
pub(crate) fn entry_kind(name: &str) -> Kind {
    PROVIDERS
        .iter()
        .find(|(known, _)| *known == name)
        .map_or(Kind::Anything, |(_, object)| Kind::Object(object))
}

/// The fields `<name>_sd_configs`. A name that nearly is a known one is taken for a slip, not for a
/// plugin.
pub(crate) const LISTS: Open = Open {
    kind: |field| {
        let name = provider_of(field)?;
        match PROVIDERS.iter().find(|(known, _)| *known == name) {
            Some((_, object)) => Some(Kind::Objects(object)),
            None if meant(field).is_none() => Some(Kind::List(&Kind::Anything)),
            None => None,
        }
    },
    meant,
};

fn meant(field: &str) -> Option<String> {
    let name = provider_of(field).or_else(|| field.strip_suffix("_sd_config"))?;
    let near = nearest(name, PROVIDERS.iter().map(|(known, _)| *known))?;
    Some(format!("{near}{SUFFIX}"))
}
