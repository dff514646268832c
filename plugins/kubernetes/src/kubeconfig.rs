//! Reads a kubeconfig file: which API server, and by which credentials.
//!
//! Of the file, only the current context counts. Credentials that a program would have to be run for
//! are refused: a plugin runs none.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use narthex_plugin_sdk::Error;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// How the API server is reached.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Route {
    pub(crate) server: String,
    /// As in `http_config`.
    pub(crate) http: Map<String, Value>,
    /// On each request.
    pub(crate) headers: Vec<(String, String)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    #[serde(default)]
    current_context: Option<String>,
    #[serde(default)]
    contexts: Option<Vec<Named>>,
    #[serde(default)]
    clusters: Option<Vec<Named>>,
    #[serde(default)]
    users: Option<Vec<Named>>,
}

/// One entry of any of the lists.
#[derive(Deserialize)]
struct Named {
    name: String,
    #[serde(default)]
    context: Option<Context>,
    #[serde(default)]
    cluster: Option<Cluster>,
    #[serde(default)]
    user: Option<User>,
}

#[derive(Deserialize)]
struct Context {
    #[serde(default)]
    cluster: Option<String>,
    #[serde(default)]
    user: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Cluster {
    server: Option<String>,
    tls_server_name: Option<String>,
    insecure_skip_tls_verify: Option<bool>,
    certificate_authority: Option<String>,
    certificate_authority_data: Option<ByteString>,
    proxy_url: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct User {
    client_certificate: Option<String>,
    client_certificate_data: Option<ByteString>,
    client_key: Option<String>,
    client_key_data: Option<ByteString>,
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<String>,
    username: Option<String>,
    password: Option<String>,
    #[serde(rename = "as")]
    as_user: Option<String>,
    as_uid: Option<String>,
    as_groups: Option<Vec<String>>,
    as_user_extra: Option<BTreeMap<String, Vec<String>>>,
    exec: Option<Exec>,
    auth_provider: Option<AuthProvider>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Exec {
    command: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AuthProvider {
    name: Option<String>,
}

/// Relative paths in the result are relative to the file's folder.
pub(crate) fn read(text: &str) -> Result<Route, Error> {
    // By way of JSON: reading each type from YAML itself would take several times the code.
    let value: Value = serde_yaml::from_str(text)?;
    let file: Option<File> = serde_json::from_value(value)?;
    let file = file.ok_or_else(|| Error::new("the file is empty"))?;
    let current = given(file.current_context)
        .ok_or_else(|| Error::new("current-context is not set: it says which context to use"))?;
    let context = find("contexts", file.contexts, &current)?
        .context
        .ok_or_else(|| Error::new(format!("the context {current:?} has no field context")))?;
    let cluster_name = given(context.cluster)
        .ok_or_else(|| Error::new(format!("the context {current:?} names no cluster")))?;
    let cluster = find("clusters", file.clusters, &cluster_name)?.cluster;
    let cluster = cluster.unwrap_or_default();
    let user = match given(context.user) {
        None => User::default(),
        Some(name) => {
            let user = find("users", file.users, &name)?.user.unwrap_or_default();
            refuse(&user).map_err(|error| error.context(format!("the user {name:?}")))?;
            user
        }
    };
    route(&cluster_name, cluster, user)
}

fn find(list: &str, entries: Option<Vec<Named>>, name: &str) -> Result<Named, Error> {
    let mut entries = entries.unwrap_or_default().into_iter();
    entries
        .find(|entry| entry.name == name)
        .ok_or_else(|| Error::new(format!("{name:?} is named, but is not in {list}")))
}

fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// Refuses what cannot be done here, and what contradicts itself.
fn refuse(user: &User) -> Result<(), Error> {
    let instead = "put a token into the file (token, tokenFile), or a client certificate";
    if let Some(exec) = &user.exec {
        let command = exec.command.as_deref().unwrap_or_default();
        return Err(Error::new(format!(
            "gets its credentials by running a program (exec: {command:?}), and a plugin runs \
             none: {instead}"
        )));
    }
    if let Some(provider) = &user.auth_provider {
        let name = provider.name.as_deref().unwrap_or_default();
        return Err(Error::new(format!(
            "gets its credentials by the auth-provider {name:?}, which Kubernetes has given up: \
             {instead}"
        )));
    }
    let has_token = user.token.is_some() || user.token_file.is_some();
    if has_token && given(user.username.clone()).is_some() {
        return Err(Error::new(
            "has a token and a username: only one can be used",
        ));
    }
    Ok(())
}

fn route(cluster_name: &str, cluster: Cluster, user: User) -> Result<Route, Error> {
    let server = given(cluster.server)
        .ok_or_else(|| Error::new(format!("the cluster {cluster_name:?} has no server")))?;
    let mut tls = Map::new();
    for (field, data, file) in [
        (
            "ca",
            cluster.certificate_authority_data,
            cluster.certificate_authority,
        ),
        (
            "cert",
            user.client_certificate_data,
            user.client_certificate,
        ),
        ("key", user.client_key_data, user.client_key),
    ] {
        // What stands in the file itself goes before what it names.
        if let Some(data) = data.filter(|data| !data.0.is_empty()) {
            let text = String::from_utf8(data.0);
            let text = text.map_err(|_| Error::new(format!("the data of {field} are no PEM")))?;
            tls.insert(field.to_owned(), text.into());
        } else if let Some(path) = given(file) {
            tls.insert(format!("{field}_file"), path.into());
        }
    }
    if let Some(name) = given(cluster.tls_server_name) {
        tls.insert("server_name".to_owned(), name.into());
    }
    if cluster.insecure_skip_tls_verify == Some(true) {
        tls.insert("insecure_skip_verify".to_owned(), true.into());
    }
    let has_tls = !tls.is_empty();
    let mut http = Map::new();
    http.insert("tls_config".to_owned(), tls.into());
    match given(cluster.proxy_url) {
        Some(url) => http.insert("proxy_url".to_owned(), url.into()),
        None => http.insert("proxy_from_environment".to_owned(), true.into()),
    };
    if let Some(path) = given(user.token_file) {
        let authorization = json!({ "credentials_file": path });
        http.insert("authorization".to_owned(), authorization);
    } else if let Some(token) = given(user.token) {
        http.insert("authorization".to_owned(), json!({ "credentials": token }));
    } else if let Some(username) = given(user.username) {
        let password = user.password.unwrap_or_default();
        let basic = json!({ "username": username, "password": password });
        http.insert("basic_auth".to_owned(), basic);
    }
    let mut headers = Vec::new();
    for (name, value) in [
        ("Impersonate-User", user.as_user),
        ("Impersonate-Uid", user.as_uid),
    ] {
        headers.extend(given(value).map(|value| (name.to_owned(), value)));
    }
    for group in user.as_groups.unwrap_or_default() {
        headers.push(("Impersonate-Group".to_owned(), group));
    }
    for (name, values) in user.as_user_extra.unwrap_or_default() {
        let name = format!("Impersonate-Extra-{}", crate::resource::encode(&name));
        headers.extend(values.into_iter().map(|value| (name.clone(), value)));
    }
    Ok(Route {
        server: with_scheme(&server, has_tls),
        http,
        headers,
    })
}

/// A server may be given as host and port alone.
pub(crate) fn with_scheme(server: &str, has_tls: bool) -> String {
    let server = server.trim_end_matches('/');
    match server.contains("://") {
        true => server.to_owned(),
        false if has_tls => format!("https://{server}"),
        false => format!("http://{server}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
apiVersion: v1
kind: Config
preferences: {}
current-context: dev
contexts:
- name: prod
  context: {cluster: prod, user: nobody}
- name: dev
  context:
    cluster: dev
    user: USER
    namespace: default
clusters:
- name: dev
  cluster:
    server: https://10.0.0.1:6443/
    certificate-authority-data: Y2E=
    tls-server-name: kubernetes
    extensions: [{name: minikube}]
users:
- name: by-token
  user: {token: abc}
- name: by-file
  user: {token: abc, tokenFile: secrets/token}
- name: by-certificate
  user: {client-certificate-data: Y2VydA==, client-key: keys/dev.key}
- name: by-password
  user: {username: me, password: "0123"}
- name: by-program
  user:
    exec: {apiVersion: client.authentication.k8s.io/v1, command: aws, args: [eks, get-token]}
- name: by-provider
  user: {auth-provider: {name: gcp}}
- name: by-both
  user: {token: a, username: b}
- name: as-another
  user: {token: a, as: jane, as-groups: [a, b], as-user-extra: {"scopes/x": [c]}}
"#;

    fn with_user(name: &str) -> Result<Route, Error> {
        read(&FILE.replace("USER", name))
    }

    #[test]
    fn users() {
        let tls = json!({"ca": "ca", "server_name": "kubernetes"});
        for (user, expected) in [
            ("by-token", json!({"authorization": {"credentials": "abc"}})),
            (
                "by-file",
                json!({"authorization": {"credentials_file": "secrets/token"}}),
            ),
            (
                "by-certificate",
                json!({"tls_config": {
                    "ca": "ca", "server_name": "kubernetes", "cert": "cert",
                    "key_file": "keys/dev.key"
                }}),
            ),
            (
                "by-password",
                json!({"basic_auth": {"username": "me", "password": "0123"}}),
            ),
        ] {
            let route = with_user(user).unwrap();
            let mut all = json!({"tls_config": tls, "proxy_from_environment": true});
            for (name, value) in expected.as_object().unwrap() {
                all[name] = value.clone();
            }
            assert_eq!(Value::Object(route.http), all, "{user}");
            assert_eq!(route.server, "https://10.0.0.1:6443");
            assert_eq!(route.headers, []);
        }
        let headers = with_user("as-another").unwrap().headers;
        let headers: Vec<String> = headers.iter().map(|(n, v)| format!("{n}: {v}")).collect();
        assert_eq!(
            headers,
            [
                "Impersonate-User: jane",
                "Impersonate-Group: a",
                "Impersonate-Group: b",
                "Impersonate-Extra-scopes%2Fx: c"
            ]
        );
    }

    #[test]
    fn what_is_refused() {
        let error = |text: &str| read(text).unwrap_err().to_string();
        for (user, expected) in [
            ("by-program", "a plugin runs none"),
            ("by-provider", "auth-provider \"gcp\""),
            ("by-both", "has a token and a username"),
            ("someone", "\"someone\" is named, but is not in users"),
        ] {
            let error = error(&FILE.replace("USER", user));
            assert!(error.contains(expected), "{error}");
        }
        for (text, expected) in [
            ("", "the file is empty"),
            ("{}", "current-context is not set"),
            (
                "current-context: a",
                "\"a\" is named, but is not in contexts",
            ),
            ("current-context: [", ""),
            (
                "{current-context: a, contexts: [{name: a, context: {cluster: b}}], \
                 clusters: [{name: b, cluster: {}}]}",
                "the cluster \"b\" has no server",
            ),
        ] {
            let error = error(text);
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn servers_without_a_scheme() {
        for (server, has_tls, expected) in [
            ("kubernetes:443", false, "http://kubernetes:443"),
            ("kubernetes:443", true, "https://kubernetes:443"),
            ("https://a/prefix/", false, "https://a/prefix"),
        ] {
            assert_eq!(with_scheme(server, has_tls), expected);
        }
    }
}
