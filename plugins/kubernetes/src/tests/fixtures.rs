//! Objects for tests, with the facts of Prometheus's own tests.

use serde_json::{Value, json};

pub(super) fn pod() -> Value {
    json!({
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {
            "name": "testpod", "namespace": "default", "uid": "abc123", "resourceVersion": "5",
            "creationTimestamp": "2026-01-02T03:04:05Z",
            "labels": { "test/label": "testvalue" },
            "annotations": { "test/annotation": "testannotationvalue" },
            "ownerReferences": [
                { "apiVersion": "v1", "kind": "other", "name": "other", "uid": "1" },
                {
                    "apiVersion": "v1", "kind": "testcontrollerkind",
                    "name": "testcontrollername", "uid": "2", "controller": true,
                },
            ],
            "managedFields": [{
                "manager": "kubelet", "operation": "Update", "apiVersion": "v1",
                "fieldsType": "FieldsV1", "fieldsV1": { "f:metadata": { "f:labels": {} } },
            }],
        },
        "spec": {
            "nodeName": "testnode",
            "containers": [
                {
                    "name": "testcontainer0", "image": "testcontainer0:latest",
                    "ports": [
                        { "name": "testport0", "protocol": "TCP", "containerPort": 9000 },
                        { "name": "testport1", "protocol": "UDP", "containerPort": 9001 },
                    ],
                    "resources": { "limits": { "cpu": "500m", "memory": "1Gi" } },
                    "livenessProbe": { "httpGet": { "path": "/", "port": "testport0" } },
                },
                { "name": "testcontainer1", "image": "testcontainer1:latest" },
            ],
        },
        "status": {
            "podIP": "1.2.3.4", "hostIP": "2.3.4.5", "phase": "Running",
            "conditions": [
                { "type": "Initialized", "status": "True" },
                { "type": "Ready", "status": "True", "lastProbeTime": null },
            ],
            "containerStatuses": [
                {
                    "name": "testcontainer0", "containerID": "docker://a1b2c3d4e5f6",
                    "image": "", "imageID": "", "ready": true, "restartCount": 0,
                },
                {
                    "name": "testcontainer1", "containerID": "containerd://6f5e4d3c2b1a",
                    "image": "", "imageID": "", "ready": true, "restartCount": 0,
                },
            ],
        },
    })
}

/// A pod with a container that only prepares.
pub(super) fn starting_pod() -> Value {
    json!({
        "metadata": { "name": "starting", "namespace": "default", "uid": "abc124" },
        "spec": {
            "nodeName": "testnode",
            "containers": [{
                "name": "testcontainer", "image": "testcontainer:latest",
                "ports": [{ "name": "testport", "protocol": "TCP", "containerPort": 9000 }],
            }],
            "initContainers": [{ "name": "initcontainer", "image": "initcontainer:latest" }],
        },
        "status": {
            "podIP": "2001:db8::4", "hostIP": "2.3.4.5", "phase": "Pending",
            "conditions": [{ "type": "Ready", "status": "False" }],
            "containerStatuses": [{
                "name": "testcontainer", "containerID": "docker://a1b2c3d4e5f6",
                "image": "", "imageID": "", "ready": false, "restartCount": 0,
            }],
            "initContainerStatuses": [{
                "name": "initcontainer", "containerID": "containerd://6f5e4d3c2b1a",
                "image": "", "imageID": "", "ready": false, "restartCount": 0,
            }],
        },
    })
}

/// A small pod.
pub(super) fn small_pod(name: &str, ip: &str) -> Value {
    json!({
        "metadata": { "name": name, "namespace": "default", "uid": name, "resourceVersion": "5" },
        "spec": {
            "nodeName": "testnode",
            "containers": [{
                "name": "c", "image": "c:1", "ports": [{ "containerPort": 80, "protocol": "TCP" }],
            }],
        },
        "status": { "podIP": ip, "phase": "Running" },
    })
}

/// The pod that stands behind addresses.
pub(super) fn backend_pod() -> Value {
    json!({
        "metadata": { "name": "testpod", "namespace": "default", "uid": "deadbeef" },
        "spec": {
            "nodeName": "testnode",
            "containers": [
                {
                    "name": "c1", "image": "c1:latest",
                    "ports": [{ "name": "mainport", "containerPort": 9000, "protocol": "TCP" }],
                },
                {
                    "name": "c2", "image": "c2:latest",
                    "ports": [{ "name": "sideport", "containerPort": 9001, "protocol": "TCP" }],
                },
            ],
        },
        "status": { "hostIP": "2.3.4.5", "podIP": "1.2.3.4" },
    })
}

pub(super) fn node() -> Value {
    json!({
        "metadata": {
            "name": "test", "resourceVersion": "7",
            "labels": { "test-label": "testvalue" },
            "annotations": { "test-annotation": "testannotationvalue" },
        },
        "spec": { "providerID": "aws:///nl-north-7b/i-03149834983492827" },
        "status": {
            "addresses": [
                { "type": "Hostname", "address": "test.host" },
                { "type": "InternalIP", "address": "1.2.3.4" },
                { "type": "InternalIP", "address": "2001:db8::1" },
                { "type": "ExternalIP", "address": "5.6.7.8" },
            ],
            "conditions": [
                { "type": "Ready", "status": "True", "reason": "KubeletReady" },
                { "type": "MemoryPressure", "status": "False" },
                { "type": "DiskPressure", "status": "Unknown" },
            ],
            "daemonEndpoints": { "kubeletEndpoint": { "Port": 10250 } },
            "images": [{ "names": ["a:1"], "sizeBytes": 12345 }],
            "capacity": { "cpu": "4", "memory": "16Gi" },
        },
    })
}

pub(super) fn service(spec: Value) -> Value {
    json!({
        "metadata": {
            "name": "testservice", "namespace": "default",
            "labels": { "test-label": "testvalue" },
            "annotations": { "test-annotation": "testannotationvalue" },
        },
        "spec": spec,
    })
}

pub(super) fn endpoints() -> Value {
    json!({
        "metadata": {
            "name": "testendpoints", "namespace": "default",
            "annotations": { "test.annotation": "test" },
        },
        "subsets": [
            {
                "addresses": [{
                    "ip": "1.2.3.4", "hostname": "testendpoint1", "nodeName": "foobar",
                }],
                "ports": [{ "name": "testport", "port": 9000, "protocol": "TCP" }],
            },
            {
                "addresses": [{ "ip": "2.3.4.5" }],
                "notReadyAddresses": [{ "ip": "2.3.4.5" }],
                "ports": [{ "name": "testport", "port": 9001, "protocol": "TCP" }],
            },
            {
                "addresses": [{
                    "ip": "6.7.8.9", "targetRef": { "kind": "Node", "name": "barbaz" },
                }],
                "ports": [{ "name": "testport", "port": 9002, "protocol": "TCP" }],
            },
        ],
    })
}

/// Endpoints that lead to [`backend_pod`].
pub(super) fn endpoints_of_pod() -> Value {
    json!({
        "metadata": { "name": "testendpoints", "namespace": "default" },
        "subsets": [{
            "addresses": [{
                "ip": "4.3.2.1",
                "targetRef": { "kind": "Pod", "name": "testpod", "namespace": "default" },
            }],
            "ports": [{ "name": "testport", "port": 9000, "protocol": "TCP" }],
        }],
    })
}

pub(super) fn slice() -> Value {
    json!({
        "metadata": {
            "name": "testendpoints", "namespace": "default",
            "labels": { "kubernetes.io/service-name": "testendpoints" },
            "annotations": { "test.annotation": "test" },
        },
        "addressType": "IPv4",
        "ports": [{ "name": "testport", "port": 9000, "protocol": "TCP", "appProtocol": "http" }],
        "endpoints": [
            {
                "addresses": ["1.2.3.4"],
                "conditions": { "ready": true, "serving": true, "terminating": false },
                "hostname": "testendpoint1", "targetRef": {}, "nodeName": "foobar",
                "deprecatedTopology": { "topology": "value" }, "zone": "us-east-1a",
            },
            {
                "addresses": ["3.4.5.6"],
                "conditions": { "ready": false, "serving": true, "terminating": true },
                "zone": "us-east-1c",
            },
            {
                "addresses": ["4.5.6.7"],
                "conditions": { "ready": true },
                "targetRef": { "kind": "Node", "name": "barbaz" },
            },
        ],
    })
}

/// A slice that leads to [`backend_pod`].
pub(super) fn slice_of_pod() -> Value {
    json!({
        "metadata": { "name": "testendpoints", "namespace": "default" },
        "addressType": "IPv4",
        "ports": [{ "name": "testport", "port": 9000, "protocol": "TCP" }],
        "endpoints": [{
            "addresses": ["4.3.2.1"],
            "conditions": { "ready": false },
            "targetRef": { "kind": "Pod", "name": "testpod", "namespace": "default" },
        }],
    })
}

pub(super) fn ingress(tls_hosts: &[&str]) -> Value {
    json!({
        "metadata": {
            "name": "testingress", "namespace": "default",
            "labels": { "test/label": "testvalue" },
            "annotations": { "test/annotation": "testannotationvalue" },
        },
        "spec": {
            "ingressClassName": "testclass",
            "tls": [{ "hosts": tls_hosts }],
            "rules": [
                {
                    "host": "example.com",
                    "http": { "paths": [
                        { "path": "/", "pathType": "Prefix", "backend": {} },
                        { "path": "/foo", "pathType": "Prefix", "backend": {} },
                    ] },
                },
                { "host": "nobackend.example.com", "http": { "paths": [] } },
                {
                    "host": "test.example.com",
                    "http": { "paths": [{ "pathType": "Prefix", "backend": {} }] },
                },
                { "host": "all.example.com" },
            ],
        },
    })
}

pub(super) fn described(name: &str, labels: Value, annotations: Value) -> Value {
    json!({ "metadata": {
        "name": name, "resourceVersion": "3", "labels": labels, "annotations": annotations,
    } })
}

/// A replica set or a job, and whose it is.
pub(super) fn owned(name: &str, kind: &str, owner: &str) -> Value {
    json!({ "metadata": {
        "name": name, "namespace": "default", "resourceVersion": "3",
        "ownerReferences": [{
            "apiVersion": "v1", "kind": kind, "name": owner, "uid": "1", "controller": true,
        }],
    } })
}
