//! How the API server is found, and who asks it.

use super::fixtures::*;
use super::*;

const PODS: &str = r#"{"role": "pod"}"#;

fn in_cluster(host: &Host) {
    host.set_environment("KUBERNETES_SERVICE_HOST", "10.0.0.1");
    host.set_environment("KUBERNETES_SERVICE_PORT", "443");
    for (name, content) in [
        ("token", "t0ken"),
        ("ca.crt", "PEM"),
        ("namespace", "mine\n"),
    ] {
        host.write(&format!("{}/{name}", connection::ACCOUNT), content);
    }
}

fn ends(json: &str) -> String {
    match testing::run(discovery(json)) {
        Outcome::Ended(Err(error)) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

fn asked(host: &Host) -> Vec<(String, Value)> {
    let asked = host.asked().into_iter();
    asked
        .map(|asked| (asked.url, asked.options.unwrap()))
        .collect()
}

#[test]
fn in_a_cluster() {
    let host = Host::install();
    in_cluster(&host);
    run(r#"{"role": "pod", "namespaces": {"own_namespace": true, "names": ["other"]}}"#);
    let (urls, options): (Vec<String>, Vec<Value>) = asked(&host).into_iter().unzip();
    assert_eq!(
        urls,
        [
            "https://10.0.0.1:443/api/v1/namespaces/mine/pods?limit=500",
            "https://10.0.0.1:443/api/v1/namespaces/other/pods?limit=500"
        ]
    );
    // The host reads the file at each request, so a token that is replaced is taken up.
    let expected = json!({
        "authorization": { "credentials_file": format!("{}/token", connection::ACCOUNT) },
        "tls_config": { "ca_file": format!("{}/ca.crt", connection::ACCOUNT) },
        "proxy_from_environment": true,
    });
    assert_eq!(options, [expected.clone(), expected]);
}

#[test]
fn in_a_cluster_of_ipv6_without_an_authority_of_its_own() {
    let host = Host::install();
    in_cluster(&host);
    host.set_environment("KUBERNETES_SERVICE_HOST", "fd00::1");
    host.remove(&format!("{}/ca.crt", connection::ACCOUNT));
    run(PODS);
    let (url, options) = asked(&host).remove(0);
    assert_eq!(url, "https://[fd00::1]:443/api/v1/pods?limit=500");
    assert_eq!(options["tls_config"], json!({}));
    assert!(
        complaints(&host)[0].contains("ca.crt"),
        "{:?}",
        complaints(&host)
    );
}

#[test]
fn outside_of_a_cluster_the_run_ends_and_says_why() {
    let host = Host::install();
    assert_eq!(
        ends(PODS),
        "KUBERNETES_SERVICE_HOST is not set; this seems to be no pod of a cluster: set api_server \
         or kubeconfig_file"
    );
    in_cluster(&host);
    host.remove(&format!("{}/namespace", connection::ACCOUNT));
    let error = ends(r#"{"role": "pod", "namespaces": {"own_namespace": true}}"#);
    assert!(error.contains("serviceaccount/namespace"), "{error}");
    host.remove(&format!("{}/token", connection::ACCOUNT));
    let error = ends(PODS);
    assert!(error.contains("serviceaccount/token"), "{error}");
}

const KUBECONFIG: &str = "
current-context: a
contexts: [{name: a, context: {cluster: a, user: a}}]
clusters: [{name: a, cluster: {server: 'http://k8s.test', certificate-authority: pki/ca.crt}}]
users: [{name: a, user: {token: TOKEN, as: jane}}]
";

#[test]
fn by_a_kubeconfig() {
    let host = Host::install();
    host.write("/etc/narthex/kube/config", KUBECONFIG);
    run(r#"{"role": "pod", "kubeconfig_file": "./kube/config"}"#);
    let asked = host.asked().remove(0);
    assert_eq!(asked.url, "http://k8s.test/api/v1/pods?limit=500");
    assert_eq!(asked.header("impersonate-user"), Some("jane"));
    assert_eq!(
        asked.options.unwrap(),
        json!({
            "authorization": { "credentials": "TOKEN" },
            "tls_config": { "ca_file": "pki/ca.crt" },
            "proxy_from_environment": true,
        })
    );
}

#[test]
fn a_kubeconfig_that_cannot_be_used_ends_the_run() {
    let host = Host::install();
    let config = r#"{"role": "pod", "kubeconfig_file": "/kube/config"}"#;
    let error = ends(config);
    assert!(error.starts_with("/kube/config: "), "{error}");
    host.write(
        "/kube/config",
        KUBECONFIG.replace("{token: TOKEN, as: jane}", "{exec: {command: aws}}"),
    );
    let error = ends(config);
    assert!(
        error.starts_with("/kube/config: the user \"a\": gets its credentials by running"),
        "{error}"
    );
}

/// Its token has run out, and someone has put another one into the file.
#[test]
fn a_kubeconfig_is_read_again_when_the_server_knows_its_user_no_longer() {
    let host = Host::install();
    host.write("/kube/config", KUBECONFIG);
    let token = |asked: &narthex_plugin_sdk::fake::Asked| {
        let options = asked.options.clone().unwrap_or_default();
        options["authorization"]["credentials"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    host.answer_with(
        "GET",
        &list_url("/api/v1/pods"),
        move |asked| match token(asked).as_str() {
            "new" => list(10, &[pod()]),
            _ => Reply::new(401).body(status(401, "Unauthorized", "Unauthorized").to_string()),
        },
    );
    host.answer(
        "GET",
        &watch_url("/api/v1/pods", 10),
        Reply::new(200).stays_open(),
    );
    host.then(|host| {
        host.write("/kube/config", KUBECONFIG.replace("TOKEN", "new"));
    });
    host.then_pass_ms(10_000);
    run(r#"{"role": "pod", "kubeconfig_file": "/kube/config"}"#);
    assert_eq!(sources(&host), [["pod/default/testpod 3"]]);
    assert_eq!(
        complaints(&host),
        ["cannot list pods: the server answers 401: Unauthorized; trying again"]
    );
}
