//! Each role's groups, label by label.

use super::fixtures::*;
use super::*;

/// What is published of these objects.
fn groups(fields: Value, served: &[(&str, &[Value])]) -> Vec<String> {
    let host = Host::install();
    for (path, items) in served {
        serve(&host, path, items);
    }
    run(&config(fields));
    assert_eq!(complaints(&host), [""; 0]);
    let mut published = published(&host);
    assert_eq!(published.len(), 1);
    published.remove(0)
}

const PODS: &str = "/api/v1/pods";
const NODES: &str = "/api/v1/nodes";
const NAMESPACES: &str = "/api/v1/namespaces";
const SERVICES: &str = "/api/v1/services";
const ENDPOINTS: &str = "/api/v1/endpoints";
const SLICES: &str = "/apis/discovery.k8s.io/v1/endpointslices";
const INGRESSES: &str = "/apis/networking.k8s.io/v1/ingresses";
const REPLICA_SETS: &str = "/apis/apps/v1/replicasets";
const JOBS: &str = "/apis/batch/v1/jobs";

#[test]
fn node_role() {
    let nowhere = json!({ "metadata": { "name": "nowhere" } });
    let named = json!({
        "metadata": { "name": "named" },
        "status": { "addresses": [{ "type": "Hostname", "address": "named.host" }] },
    });
    let host = Host::install();
    serve(&host, NODES, &[node(), nowhere, named]);
    run(&config(json!({ "role": "node" })));
    assert_eq!(complaints(&host), ["the node nowhere has no address"]);
    assert_eq!(
        published(&host),
        [[
            "node/named node_name=named",
            "  __address__=named.host:0 node_address_Hostname=named.host instance=named",
            "node/test node_annotation_test_annotation=testannotationvalue \
             node_annotationpresent_test_annotation=true node_condition_diskpressure=unknown \
             node_condition_memorypressure=false node_condition_ready=true \
             node_label_test_label=testvalue node_labelpresent_test_label=true node_name=test \
             node_provider_id=aws:///nl-north-7b/i-03149834983492827",
            "  __address__=1.2.3.4:10250 node_address_ExternalIP=5.6.7.8 \
             node_address_Hostname=test.host node_address_InternalIP=1.2.3.4 instance=test",
        ]]
    );
}

#[test]
fn service_role() {
    let ports = json!([
        { "name": "testport0", "protocol": "TCP", "port": 30900 },
        { "name": "testport1", "protocol": "UDP", "port": 30901 },
    ]);
    let labels = "svc/default/testservice namespace=default \
        service_annotation_test_annotation=testannotationvalue \
        service_annotationpresent_test_annotation=true service_label_test_label=testvalue \
        service_labelpresent_test_label=true service_name=testservice";
    for (spec, status, at_end) in [
        (
            json!({ "type": "ClusterIP", "clusterIP": "10.0.0.1" }),
            Value::Null,
            ["service_cluster_ip=10.0.0.1 ", "service_type=ClusterIP"],
        ),
        (
            json!({ "type": "ExternalName", "externalName": "a.example", "clusterIP": "x" }),
            Value::Null,
            [
                "service_external_name=a.example ",
                "service_type=ExternalName",
            ],
        ),
        (
            json!({ "type": "LoadBalancer", "clusterIP": "10.0.0.1", "loadBalancerIP": "1.1.1.1" }),
            Value::Null,
            [
                "service_cluster_ip=10.0.0.1 service_loadbalancer_ip=1.1.1.1 ",
                "service_type=LoadBalancer",
            ],
        ),
        (
            json!({ "type": "LoadBalancer", "clusterIP": "10.0.0.1", "loadBalancerIP": "1.1.1.1" }),
            json!({ "loadBalancer": { "ingress": [
                { "ip": "2.2.2.2" }, { "hostname": "a" }, { "ip": "3.3.3.3" },
            ] } }),
            [
                "service_cluster_ip=10.0.0.1 service_loadbalancer_ip=2.2.2.2,3.3.3.3 ",
                "service_type=LoadBalancer",
            ],
        ),
    ] {
        let mut service = service(spec);
        service["spec"]["ports"] = ports.clone();
        service["status"] = status;
        let [before, after] = at_end;
        let port = |number: u16, name: &str, protocol: &str| {
            format!(
                "  __address__=testservice.default.svc:{number} {before}service_port_name={name} \
                 service_port_number={number} service_port_protocol={protocol} {after}"
            )
        };
        assert_eq!(
            groups(json!({ "role": "service" }), &[(SERVICES, &[service])]),
            [
                labels.to_owned(),
                port(30900, "testport0", "TCP"),
                port(30901, "testport1", "UDP")
            ]
        );
    }
}

#[test]
fn pod_role() {
    let mut without_address = small_pod("without-address", "");
    without_address["status"] = json!({ "phase": "Pending" });
    let pods = [pod(), starting_pod(), without_address];
    assert_eq!(
        groups(json!({ "role": "pod" }), &[(PODS, &pods)]),
        [
            "pod/default/starting namespace=default pod_host_ip=2.3.4.5 pod_ip=2001:db8::4 \
             pod_name=starting pod_node_name=testnode pod_phase=Pending pod_ready=false \
             pod_uid=abc124",
            "  __address__=[2001:db8::4]:9000 pod_container_id=docker://a1b2c3d4e5f6 \
             pod_container_image=testcontainer:latest pod_container_init=false \
             pod_container_name=testcontainer pod_container_port_name=testport \
             pod_container_port_number=9000 pod_container_port_protocol=TCP",
            "  __address__=2001:db8::4 pod_container_id=containerd://6f5e4d3c2b1a \
             pod_container_image=initcontainer:latest pod_container_init=true \
             pod_container_name=initcontainer",
            "pod/default/testpod namespace=default \
             pod_annotation_test_annotation=testannotationvalue \
             pod_annotationpresent_test_annotation=true pod_controller_kind=testcontrollerkind \
             pod_controller_name=testcontrollername pod_host_ip=2.3.4.5 pod_ip=1.2.3.4 \
             pod_label_test_label=testvalue pod_labelpresent_test_label=true pod_name=testpod \
             pod_node_name=testnode pod_phase=Running pod_ready=true pod_uid=abc123",
            "  __address__=1.2.3.4:9000 pod_container_id=docker://a1b2c3d4e5f6 \
             pod_container_image=testcontainer0:latest pod_container_init=false \
             pod_container_name=testcontainer0 pod_container_port_name=testport0 \
             pod_container_port_number=9000 pod_container_port_protocol=TCP",
            "  __address__=1.2.3.4:9001 pod_container_id=docker://a1b2c3d4e5f6 \
             pod_container_image=testcontainer0:latest pod_container_init=false \
             pod_container_name=testcontainer0 pod_container_port_name=testport1 \
             pod_container_port_number=9001 pod_container_port_protocol=UDP",
            "  __address__=1.2.3.4 pod_container_id=containerd://6f5e4d3c2b1a \
             pod_container_image=testcontainer1:latest pod_container_init=false \
             pod_container_name=testcontainer1",
        ]
    );
}

#[test]
fn pod_role_with_metadata() {
    let owned_pod = |name: &str, kind: &str, owner: &str| {
        let mut pod = small_pod(name, "1.1.1.1");
        pod["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "v1", "kind": kind, "name": owner, "uid": "1", "controller": true,
        }]);
        pod
    };
    let mut elsewhere = small_pod("elsewhere", "1.1.1.1");
    elsewhere["spec"]["nodeName"] = "not-selected".into();
    let groups = groups(
        json!({ "role": "pod", "attach_metadata": {
            "node": true, "namespace": true, "deployment": true, "job": true, "cronjob": true,
        } }),
        &[
            (
                PODS,
                &[
                    owned_pod("a", "ReplicaSet", "web-123"),
                    owned_pod("b", "Job", "backup-456"),
                    owned_pod("c", "Job", "by-hand"),
                    owned_pod("d", "ReplicaSet", "gone"),
                    elsewhere,
                ],
            ),
            (
                NODES,
                &[described(
                    "testnode",
                    json!({ "zone": "a" }),
                    json!({ "n": "m" }),
                )],
            ),
            (
                NAMESPACES,
                &[described(
                    "default",
                    json!({ "team": "x" }),
                    json!({ "o": "p" }),
                )],
            ),
            (REPLICA_SETS, &[owned("web-123", "Deployment", "web")]),
            (
                JOBS,
                &[
                    owned("backup-456", "CronJob", "backup"),
                    json!({ "metadata": { "name": "by-hand", "namespace": "default" } }),
                ],
            ),
        ],
    );
    let labels = |name: &str, owner: &str, deployment: &str, above: &str| {
        format!(
            "pod/default/{name} namespace=default namespace_annotation_o=p \
             namespace_annotationpresent_o=true namespace_label_team=x \
             namespace_labelpresent_team=true node_annotation_n=m node_annotationpresent_n=true \
             node_label_zone=a node_labelpresent_zone=true node_name=testnode \
             pod_controller_{owner}{deployment} pod_ip=1.1.1.1{above} pod_name={name} \
             pod_node_name=testnode pod_phase=Running pod_ready=unknown pod_uid={name}"
        )
    };
    let found: Vec<String> = groups
        .into_iter()
        .filter(|line| !line.starts_with(' '))
        .collect();
    let of = |kind: &str, owner: &str| format!("kind={kind} pod_controller_name={owner}");
    assert_eq!(
        found,
        [
            labels(
                "a",
                &of("ReplicaSet", "web-123"),
                " pod_deployment_name=web",
                ""
            ),
            // Between the controller and the address stands the cron job's name.
            labels(
                "b",
                &of("Job", "backup-456"),
                "",
                " pod_job_name=backup-456"
            )
            .replace(" pod_ip=", " pod_cronjob_name=backup pod_ip="),
            labels("c", &of("Job", "by-hand"), "", " pod_job_name=by-hand"),
            labels("d", &of("ReplicaSet", "gone"), "", ""),
        ]
    );
}

const POD_LABELS: &str = "pod_host_ip=2.3.4.5 pod_ip=1.2.3.4 pod_name=testpod \
    pod_node_name=testnode pod_ready=unknown pod_uid=deadbeef";

fn container(number: u8, port: u16, name: &str) -> String {
    format!(
        "pod_container_image=c{number}:latest pod_container_init=false \
         pod_container_name=c{number} pod_container_port_name={name} \
         pod_container_port_number={port} pod_container_port_protocol=TCP"
    )
}

#[test]
fn endpoints_role() {
    let of_port = "endpoint_port_name=testport endpoint_port_protocol=TCP";
    assert_eq!(
        groups(
            json!({ "role": "endpoints" }),
            &[(ENDPOINTS, &[endpoints()]), (SERVICES, &[]), (PODS, &[])]
        ),
        [
            "endpoints/default/testendpoints endpoints_annotation_test_annotation=test \
             endpoints_annotationpresent_test_annotation=true endpoints_name=testendpoints \
             namespace=default"
                .to_owned(),
            format!(
                "  __address__=1.2.3.4:9000 endpoint_hostname=testendpoint1 \
                 endpoint_node_name=foobar {of_port} endpoint_ready=true"
            ),
            format!("  __address__=2.3.4.5:9001 {of_port} endpoint_ready=true"),
            format!("  __address__=2.3.4.5:9001 {of_port} endpoint_ready=false"),
            format!(
                "  __address__=6.7.8.9:9002 endpoint_address_target_kind=Node \
                 endpoint_address_target_name=barbaz {of_port} endpoint_ready=true"
            ),
        ]
    );
}

#[test]
fn endpoints_that_are_too_many_are_told() {
    let host = Host::install();
    let mut full = endpoints();
    let annotations = json!({ "endpoints.kubernetes.io/over-capacity": "truncated" });
    full["metadata"]["annotations"] = annotations;
    serve(&host, ENDPOINTS, &[full.clone()]);
    serve(&host, SERVICES, &[]);
    serve(&host, PODS, &[]);
    // It is the same as before.
    full["subsets"] = json!([]);
    let line = event("MODIFIED", &at_version(&full, 11));
    host.then(move |host| {
        host.push(&watch_url(ENDPOINTS, 10), &line);
    });
    host.then_pass_ms(1000);
    run(&config(json!({ "role": "endpoints" })));
    let complaints = complaints(&host);
    assert_eq!(complaints.len(), 1, "{complaints:?}");
    assert!(
        complaints[0].contains("default/testendpoints") && complaints[0].contains("endpointslice")
    );
}

#[test]
fn endpoints_role_with_pods_services_and_metadata() {
    let mut service = service(json!({}));
    service["metadata"]["name"] = "testendpoints".into();
    let mut of_node = endpoints();
    of_node["metadata"]["name"] = "nodes".into();
    let groups = groups(
        json!({ "role": "endpoints", "attach_metadata": { "node": true, "namespace": true } }),
        &[
            (ENDPOINTS, &[endpoints_of_pod(), of_node]),
            (SERVICES, &[service]),
            (PODS, &[backend_pod()]),
            (
                NODES,
                &[
                    described("barbaz", json!({ "a": "1" }), json!({})),
                    described("foobar", json!({ "a": "2" }), json!({})),
                ],
            ),
            (
                NAMESPACES,
                &[described("default", json!({ "t": "x" }), json!({}))],
            ),
        ],
    );
    let with_node: Vec<&String> = groups
        .iter()
        .filter(|line| line.contains(" node_"))
        .collect();
    assert_eq!(with_node.len(), 2);
    assert!(with_node[0].contains(" node_label_a=2 node_labelpresent_a=true node_name=foobar"));
    assert!(with_node[1].contains(" node_label_a=1 node_labelpresent_a=true node_name=barbaz"));
    let at = groups
        .iter()
        .position(|line| line.contains("testendpoints "))
        .unwrap();
    assert_eq!(
        groups[at..],
        [
            "endpoints/default/testendpoints endpoints_name=testendpoints namespace=default \
             namespace_label_t=x namespace_labelpresent_t=true \
             service_annotation_test_annotation=testannotationvalue \
             service_annotationpresent_test_annotation=true service_label_test_label=testvalue \
             service_labelpresent_test_label=true service_name=testendpoints"
                .to_owned(),
            format!(
                "  __address__=4.3.2.1:9000 endpoint_address_target_kind=Pod \
                 endpoint_address_target_name=testpod endpoint_port_name=testport \
                 endpoint_port_protocol=TCP endpoint_ready=true {} {POD_LABELS}",
                container(1, 9000, "mainport")
            ),
            format!(
                "  __address__=1.2.3.4:9001 {} {POD_LABELS}",
                container(2, 9001, "sideport")
            ),
        ]
    );
}

#[test]
fn endpointslice_role() {
    let of_port = "endpointslice_port=9000 endpointslice_port_app_protocol=http \
        endpointslice_port_name=testport endpointslice_port_protocol=TCP";
    let conditions = |ready: bool, terminating: bool| {
        format!(
            "endpointslice_endpoint_conditions_ready={ready} \
             endpointslice_endpoint_conditions_serving=true \
             endpointslice_endpoint_conditions_terminating={terminating}"
        )
    };
    assert_eq!(
        groups(
            json!({ "role": "endpointslice" }),
            &[(SLICES, &[slice()]), (SERVICES, &[]), (PODS, &[])]
        ),
        [
            "endpointslice/default/testendpoints endpointslice_address_type=IPv4 \
             endpointslice_annotation_test_annotation=test \
             endpointslice_annotationpresent_test_annotation=true \
             endpointslice_label_kubernetes_io_service_name=testendpoints \
             endpointslice_labelpresent_kubernetes_io_service_name=true \
             endpointslice_name=testendpoints namespace=default"
                .to_owned(),
            format!(
                "  __address__=1.2.3.4:9000 {} endpointslice_endpoint_hostname=testendpoint1 \
                 endpointslice_endpoint_node_name=foobar \
                 endpointslice_endpoint_topology_present_topology=true \
                 endpointslice_endpoint_topology_topology=value \
                 endpointslice_endpoint_zone=us-east-1a {of_port}",
                conditions(true, false)
            ),
            format!(
                "  __address__=3.4.5.6:9000 {} endpointslice_endpoint_zone=us-east-1c {of_port}",
                conditions(false, true)
            ),
            format!(
                "  __address__=4.5.6.7:9000 endpointslice_address_target_kind=Node \
                 endpointslice_address_target_name=barbaz \
                 endpointslice_endpoint_conditions_ready=true {of_port}"
            ),
        ]
    );
}

#[test]
fn endpointslice_role_with_pods() {
    assert_eq!(
        groups(
            json!({ "role": "endpointslice" }),
            &[
                (SLICES, &[slice_of_pod()]),
                (SERVICES, &[]),
                (PODS, &[backend_pod()])
            ]
        ),
        [
            "endpointslice/default/testendpoints endpointslice_address_type=IPv4 \
             endpointslice_name=testendpoints namespace=default"
                .to_owned(),
            format!(
                "  __address__=4.3.2.1:9000 endpointslice_address_target_kind=Pod \
                 endpointslice_address_target_name=testpod \
                 endpointslice_endpoint_conditions_ready=false endpointslice_port=9000 \
                 endpointslice_port_name=testport endpointslice_port_protocol=TCP {} {POD_LABELS}",
                container(1, 9000, "mainport")
            ),
            format!(
                "  __address__=1.2.3.4:9001 {} {POD_LABELS}",
                container(2, 9001, "sideport")
            ),
        ]
    );
}

/// Of a service of two families, the slices of the second would give every target twice.
#[test]
fn slices_of_the_second_family_are_left_out() {
    let slice_of = |family: &str| {
        let mut slice = slice();
        slice["metadata"]["name"] = family.to_lowercase().into();
        slice["addressType"] = family.into();
        slice
    };
    for (policy, expected) in [
        ("PreferDualStack", vec!["endpointslice/default/ipv6 3"]),
        ("RequireDualStack", vec!["endpointslice/default/ipv6 3"]),
        (
            "SingleStack",
            vec![
                "endpointslice/default/ipv4 3",
                "endpointslice/default/ipv6 3",
            ],
        ),
    ] {
        let host = Host::install();
        let mut service = service(json!({
            "ipFamilyPolicy": policy, "ipFamilies": ["IPv6", "IPv4"],
        }));
        service["metadata"]["name"] = "testendpoints".into();
        serve(&host, SLICES, &[slice_of("IPv4"), slice_of("IPv6")]);
        serve(&host, SERVICES, &[service]);
        serve(&host, PODS, &[]);
        run(&config(json!({ "role": "endpointslice" })));
        assert_eq!(sources(&host), [expected], "{policy}");
    }
}

#[test]
fn ingress_role() {
    for (tls_hosts, schemes) in [
        (&[][..], ["http", "http", "http"]),
        (
            &["example.com", "test.example.com"],
            ["https", "https", "http"],
        ),
        (&["*.example.com"], ["http", "https", "https"]),
    ] {
        let target = |scheme: &str, host: &str, path: &str| {
            format!(
                "  __address__={host} ingress_host={host} ingress_path={path} \
                 ingress_scheme={scheme}"
            )
        };
        assert_eq!(
            groups(
                json!({ "role": "ingress", "attach_metadata": { "namespace": true } }),
                &[(INGRESSES, &[ingress(tls_hosts)]), (NAMESPACES, &[])]
            ),
            [
                "ingress/default/testingress \
                 ingress_annotation_test_annotation=testannotationvalue \
                 ingress_annotationpresent_test_annotation=true ingress_class_name=testclass \
                 ingress_label_test_label=testvalue ingress_labelpresent_test_label=true \
                 ingress_name=testingress namespace=default"
                    .to_owned(),
                target(schemes[0], "example.com", "/"),
                target(schemes[0], "example.com", "/foo"),
                target(schemes[1], "test.example.com", "/"),
                target(schemes[2], "all.example.com", "/"),
            ]
        );
    }
}
