//! The kinds of objects that are read from an API server, and where they lie.

/// A kind of objects, as it is used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resource {
    Nodes,
    /// Nodes of which only the metadata counts.
    NodeMetadata,
    Namespaces,
    ReplicaSets,
    Jobs,
    Pods,
    Services,
    Endpoints,
    EndpointSlices,
    Ingresses,
}

impl Resource {
    /// As it stands in URLs and in rules of access.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Resource::Nodes | Resource::NodeMetadata => "nodes",
            Resource::Namespaces => "namespaces",
            Resource::ReplicaSets => "replicasets",
            Resource::Jobs => "jobs",
            Resource::Pods => "pods",
            Resource::Services => "services",
            Resource::Endpoints => "endpoints",
            Resource::EndpointSlices => "endpointslices",
            Resource::Ingresses => "ingresses",
        }
    }

    fn api(self) -> &'static str {
        match self {
            Resource::Nodes
            | Resource::NodeMetadata
            | Resource::Namespaces
            | Resource::Pods
            | Resource::Services
            | Resource::Endpoints => "/api/v1",
            Resource::ReplicaSets => "/apis/apps/v1",
            Resource::Jobs => "/apis/batch/v1",
            Resource::EndpointSlices => "/apis/discovery.k8s.io/v1",
            Resource::Ingresses => "/apis/networking.k8s.io/v1",
        }
    }

    /// Of one namespace, or of all.
    pub(crate) fn path(self, namespace: Option<&str>) -> String {
        let (api, name) = (self.api(), self.name());
        match namespace {
            Some(namespace) => format!("{api}/namespaces/{}/{name}", encode(namespace)),
            None => format!("{api}/{name}"),
        }
    }

    /// Whether nothing but the metadata of its objects is looked at. The server then need not send
    /// more.
    pub(crate) fn is_metadata_only(self) -> bool {
        matches!(
            self,
            Resource::NodeMetadata | Resource::Namespaces | Resource::ReplicaSets | Resource::Jobs
        )
    }
}

/// A text as part of a URL.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for (resource, namespace, expected) in [
            (Resource::Nodes, None, "/api/v1/nodes"),
            (Resource::Pods, None, "/api/v1/pods"),
            (Resource::Pods, Some("a"), "/api/v1/namespaces/a/pods"),
            (
                Resource::Ingresses,
                Some("a/../b"),
                "/apis/networking.k8s.io/v1/namespaces/a%2F..%2Fb/ingresses",
            ),
            (
                Resource::EndpointSlices,
                None,
                "/apis/discovery.k8s.io/v1/endpointslices",
            ),
        ] {
            assert_eq!(resource.path(namespace), expected);
        }
    }
}
