//! What is accepted and what is refused.

use super::*;

fn error(config: &Value) -> String {
    let made = testing::discovery::<KubernetesDiscovery>(&config.to_string(), "/");
    made.err()
        .map(|error| error.to_string())
        .unwrap_or_default()
}

fn selectors(role: &str, selectors: Value) -> Value {
    json!({ "role": role, "selectors": selectors })
}

#[test]
fn configurations_are_checked() {
    let _host = Host::install();
    let server = "https://localhost:1234";
    let choice = |role: &str| json!([{ "role": role, "label": "foo=bar", "field": "a.b=c" }]);
    for (config, expected) in [
        (json!({ "role": "endpoints" }), ""),
        (json!({ "role": "endpoints", "api_server": "" }), ""),
        (json!({ "role": "pod", "api_server": "kubernetes:443" }), ""),
        (
            json!({ "role": "endpoints", "kubeconfig_file": "/user1/.kube/config" }),
            "",
        ),
        (
            json!({
                "role": "pod", "api_server": server, "authorization": { "credentials": "x" },
                "tls_config": { "insecure_skip_verify": true }, "follow_redirects": false,
            }),
            "",
        ),
        // What is the default anyway stands nowhere in the way.
        (
            json!({
                "role": "pod", "follow_redirects": true, "enable_http2": true, "proxy_url": "",
                "tls_config": { "insecure_skip_verify": false }, "no_proxy": null,
            }),
            "",
        ),
        (
            json!({ "role": "pod", "namespaces": { "own_namespace": true, "names": ["a"] } }),
            "",
        ),
        (
            json!({ "role": "pod", "attach_metadata": {
                "node": true, "namespace": true, "deployment": true, "job": true, "cronjob": true,
            } }),
            "",
        ),
        (
            json!({ "role": "pod", "namespaces": null, "selectors": null, "attach_metadata": null }),
            "",
        ),
        (
            json!({}),
            "role: expected one of node, service, pod, endpoints, endpointslice, ingress",
        ),
        (
            json!({ "role": "vacation" }),
            "role: unknown variant `vacation`",
        ),
        (
            json!({ "role": "pod", "rule": "x" }),
            "rule: unknown field `rule`",
        ),
        (
            json!({ "role": "endpoints", "namespaces": { "foo": "bar" } }),
            "namespaces.foo: unknown field `foo`",
        ),
        (
            json!({ "role": "pod", "namespaces": { "names": ["a", ""] } }),
            "namespaces.names[1]: expected the name",
        ),
        (
            json!({ "role": "pod", "attach_metadata": { "nodes": true } }),
            "attach_metadata.nodes: unknown field",
        ),
        (
            json!({ "role": "pod", "api_server": server, "kubeconfig_file": "a" }),
            "kubeconfig_file: stands beside api_server",
        ),
        (
            json!({ "role": "pod", "api_server": server, "namespaces": { "own_namespace": true } }),
            "namespaces.own_namespace: is known only inside of a cluster",
        ),
        (
            json!({ "role": "pod", "kubeconfig_file": "a", "namespaces": { "own_namespace": true } }),
            "namespaces.own_namespace: is known only inside of a cluster",
        ),
        (
            json!({ "role": "pod", "authorization": { "credentials": "1234" } }),
            "authorization: needs api_server",
        ),
        (
            json!({ "role": "pod", "enable_http2": false }),
            "enable_http2: needs api_server",
        ),
        (
            json!({
                "role": "pod", "kubeconfig_file": "a",
                "basic_auth": { "username": "user", "password": "password" },
            }),
            "basic_auth: stands beside kubeconfig_file",
        ),
        (
            json!({ "role": "pod", "api_server": "ftp://a" }),
            "api_server: \"ftp://a\" begins neither with http:// nor https://",
        ),
        (
            json!({ "role": "pod", "api_server": "https:///a" }),
            "api_server: \"https:///a\" has no host",
        ),
        (selectors("pod", choice("pod")), ""),
        (selectors("pod", choice("node")), ""),
        (selectors("node", choice("node")), ""),
        (selectors("service", choice("service")), ""),
        (selectors("ingress", choice("ingress")), ""),
        (selectors("endpoints", choice("endpoints")), ""),
        (selectors("endpointslice", choice("endpointslice")), ""),
        (
            selectors(
                "pod",
                json!([{ "role": "pod", "label": "foo in (bar,baz)" }]),
            ),
            "",
        ),
        (
            selectors("node", choice("pod")),
            "selectors[0].role: role node has no use for pod: expected one of node",
        ),
        (
            selectors("endpoints", choice("node")),
            "selectors[0].role: role endpoints has no use for node: expected one of pod, service, \
             endpoints",
        ),
        (
            selectors("endpointslice", choice("endpoints")),
            "selectors[0].role: role endpointslice has no use for endpoints",
        ),
        (
            selectors("endpoints", json!([{ "role": "pod" }, { "role": "pod" }])),
            "selectors[1].role: there is another selector of role pod before",
        ),
        (
            selectors(
                "endpoints",
                json!([{ "role": "pod", "field": "metadata.status-Running" }]),
            ),
            "selectors[0].field: \"metadata.status-Running\" has none of =, == and !=",
        ),
        (
            selectors("pod", json!([{ "role": "pod", "label": "a in b" }])),
            "selectors[0].label: found \"b\", expected values in parentheses",
        ),
        (
            selectors("pod", json!([{ "role": "pods" }])),
            "selectors[0].role: unknown variant `pods`",
        ),
    ] {
        let error = error(&config);
        assert!(error.starts_with(expected), "{config}: {error}");
        assert_eq!(error.is_empty(), expected.is_empty(), "{config}: {error}");
    }
}

/// The host reads the fields of `http_config`, and says what is wrong with them.
#[test]
fn the_host_judges_the_client() {
    let host = Host::install();
    host.fail_clients(Some(ConfigError::new(
        "basic_auth",
        "stands beside authorization",
    )));
    let config = json!({ "role": "pod", "api_server": SERVER, "basic_auth": {} });
    assert_eq!(error(&config), "basic_auth: stands beside authorization");
}

#[test]
fn what_is_asked_for() {
    let endpoints = |names: &[&str]| -> Vec<String> {
        let all = names.iter();
        all.map(|name| format!("{SERVER}{name}")).collect()
    };
    for (fields, expected) in [
        (json!({ "role": "node" }), &["/api/v1/nodes?limit=500"][..]),
        (
            json!({ "role": "node", "namespaces": { "names": ["a"] }, "attach_metadata": {
                "node": true, "namespace": true, "deployment": true, "job": true } }),
            &["/api/v1/nodes?limit=500"],
        ),
        (
            json!({ "role": "service", "namespaces": { "names": ["b", "a", "b"] } }),
            &[
                "/api/v1/namespaces/a/services?limit=500",
                "/api/v1/namespaces/b/services?limit=500",
            ],
        ),
        (
            json!({
                "role": "pod", "namespaces": { "names": ["a"] },
                "attach_metadata": { "node": true, "deployment": true, "cronjob": true },
                "selectors": [
                    { "role": "pod", "label": "app in (a,b)", "field": "status.phase=Running" },
                    { "role": "node", "label": "zone=x" },
                ],
            }),
            &[
                "/api/v1/nodes?labelSelector=zone%3Dx&limit=500",
                "/api/v1/namespaces/a/pods?labelSelector=app%20in%20%28a%2Cb%29&\
                 fieldSelector=status.phase%3DRunning&limit=500",
                "/apis/apps/v1/namespaces/a/replicasets?limit=500",
                "/apis/batch/v1/namespaces/a/jobs?limit=500",
            ],
        ),
        (
            json!({ "role": "endpointslice", "attach_metadata": { "namespace": true } }),
            &[
                "/api/v1/namespaces?limit=500",
                "/apis/discovery.k8s.io/v1/endpointslices?limit=500",
                "/api/v1/services?limit=500",
                "/api/v1/pods?limit=500",
            ],
        ),
        (
            json!({ "role": "ingress", "api_server": format!("{SERVER}/prefix/") }),
            &["/prefix/apis/networking.k8s.io/v1/ingresses?limit=500"],
        ),
    ] {
        let host = Host::install();
        run(&config(fields));
        let mut asked: Vec<String> = host.asked().into_iter().map(|a| a.url).collect();
        asked.truncate(expected.len());
        assert_eq!(asked, endpoints(expected));
    }
}

/// Where only metadata count, only they are asked for, and a watch's events as well.
#[test]
fn what_form_is_asked_for() {
    let host = Host::install();
    for path in ["/api/v1/pods", "/api/v1/nodes"] {
        serve(&host, path, &[]);
    }
    run(&config(
        json!({ "role": "pod", "attach_metadata": { "node": true } }),
    ));
    let accepted = |path: &str| -> Vec<String> {
        let asked = host.asked().into_iter();
        let asked = asked.filter(|asked| asked.url.contains(path));
        asked
            .map(|asked| asked.header("accept").unwrap().to_owned())
            .collect()
    };
    assert_eq!(accepted("/pods"), ["application/json"; 2]);
    let [list, watch] = &accepted("/nodes")[..] else {
        panic!("expected two requests");
    };
    assert!(list.contains("as=PartialObjectMetadataList;") && list.ends_with(",application/json"));
    assert!(watch.contains("as=PartialObjectMetadata;") && watch.ends_with(",application/json"));
}

#[test]
fn manifest() {
    let manifest = KubernetesDiscovery::manifest();
    assert_eq!(manifest.wants.http, ["*://*"]);
    assert_eq!(manifest.wants.files, [""; 0]);
    assert_eq!(manifest.optional.files, [connection::ACCOUNT, "/"]);
    assert_eq!(
        manifest.optional.environment,
        ["KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"]
    );
}
