//! Which URLs a grant means: `https://api.example.com/v1/*`, by scheme, host, port and path.
//!
//! Keeps true: what is not written in a pattern is not meant, but for two things that are left out
//! on purpose: no path means any, and no port the scheme's own (any, where the host is `*`).

use std::net::IpAddr;

use url::{Host, Url};

use super::address::special;
use super::{glob, globs_meet};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pattern<'a> {
    scheme: &'a str,
    host: &'a str,
    port: Option<&'a str>,
    path: Option<&'a str>,
}

impl<'a> Pattern<'a> {
    pub(crate) fn parse(text: &'a str) -> Option<Pattern<'a>> {
        let (scheme, rest) = text.split_once("://")?;
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at_checked(at)?,
            None => (rest, ""),
        };
        let path = Some(path).filter(|path| !path.is_empty());
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']')?;
                (host, rest.strip_prefix(':'))
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        Some(Pattern {
            scheme,
            host,
            port,
            path,
        })
    }

    pub(crate) fn matches(&self, url: &Url) -> bool {
        glob(self.scheme, url.scheme())
            && self.matches_host(url)
            && self.matches_port(url)
            && self.path.is_none_or(|path| glob(path, url.path()))
    }

    /// Whether it names one host, as places that matter have to be named.
    pub(crate) fn names_host(&self) -> bool {
        !self.host.contains('*')
    }

    /// Whether there is a URL that both mean.
    pub(crate) fn meets(&self, other: &Pattern<'_>) -> bool {
        let ports = match (self.port, other.port) {
            (Some(one), Some(other)) => globs_meet(one, other),
            // Whether the scheme's own port is the one that is named is left to the calls.
            _ => true,
        };
        let paths = match (self.path, other.path) {
            (Some(one), Some(other)) => globs_meet(one, other),
            _ => true,
        };
        let hosts = globs_meet(&self.host.to_lowercase(), &other.host.to_lowercase());
        globs_meet(self.scheme, other.scheme) && hosts && ports && paths
    }

    fn matches_host(&self, url: &Url) -> bool {
        let address = |address: IpAddr| match self.host.parse::<IpAddr>() {
            Ok(named) => named == address,
            Err(_) => glob(self.host, &address.to_string()),
        };
        match url.host() {
            Some(Host::Domain(name)) => {
                let pattern = self.host.to_lowercase();
                glob(&pattern, &name.trim_end_matches('.').to_lowercase())
            }
            Some(Host::Ipv4(v4)) => address(v4.into()),
            Some(Host::Ipv6(v6)) => address(v6.into()),
            None => false,
        }
    }

    fn matches_port(&self, url: &Url) -> bool {
        match self.port {
            Some(pattern) => url
                .port_or_known_default()
                .is_some_and(|port| glob(pattern, &port.to_string())),
            // Whoever means any host means any port.
            None => self.host == "*" || url.port().is_none(),
        }
    }
}

/// What the URL's host is, if it is a place that a grant has to name: `loopback`, `link-local`, …
pub(crate) fn special_host(url: &Url) -> Option<&'static str> {
    match url.host()? {
        Host::Domain(name) => is_localhost(name).then_some("loopback"),
        Host::Ipv4(v4) => special(v4.into()),
        Host::Ipv6(v6) => special(v6.into()),
    }
}

/// The names that mean the machine itself, whatever a server of names says.
pub(crate) fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// Without credentials and query, for messages and for grants.
pub(crate) fn shown(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}"));
    format!(
        "{}://{}{}{}",
        url.scheme(),
        url.host_str().unwrap_or_default(),
        port.unwrap_or_default(),
        url.path()
    )
}

/// Whether a server could read the path as one that climbs out of what a pattern means, by `..`
/// hidden behind encoded slashes.
pub(crate) fn climbs(url: &Url) -> bool {
    let path = url.path().to_lowercase();
    let path = path.replace("%2f", "/").replace("%5c", "/");
    let path = path.replace("%2e", ".").replace('\\', "/");
    path.split('/').any(|segment| segment == "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_say() {
        for (pattern, url, expected) in [
            ("https://a.test/v1/*", "https://a.test/v1/x/y?z=1", true),
            ("https://a.test/v1/*", "https://a.test/v2/x", false),
            ("https://a.test/v1/*", "https://a.test/v1/../v2/x", false),
            ("https://a.test/v1/*", "http://a.test/v1/x", false),
            ("https://a.test", "https://a.test/anything", true),
            ("https://a.test", "https://a.test:8443/", false),
            ("https://a.test:*", "https://a.test:8443/", true),
            ("https://a.test:443", "https://a.test/", true),
            ("https://a.test/", "https://a.test/x", false),
            ("https://A.test", "https://a.TEST/", true),
            ("https://a.test", "https://a.test.", true),
            ("https://*.a.test", "https://b.c.a.test/", true),
            ("https://*.a.test", "https://a.test/", false),
            ("https://*.a.test", "https://evil.test/.a.test", false),
            ("https://a.test", "https://a.test@evil.test/", false),
            ("https://a.test*", "https://a.test.evil.test/", true),
            ("*://*", "http://10.0.0.1:99/x", true),
            ("*://*/", "http://10.0.0.1:99/x", false),
            ("http://10.0.0.*:99", "http://10.0.0.1:99/x", true),
            ("http://[::1]:80", "http://[0:0::1]/", true),
            ("http://127.0.0.1", "http://0x7f.1/", true),
            ("a.test", "http://a.test/", false),
            ("", "http://a.test/", false),
        ] {
            let url = Url::parse(url).unwrap();
            let matches = Pattern::parse(pattern).is_some_and(|pattern| pattern.matches(&url));
            assert_eq!(matches, expected, "{pattern} {url}");
        }
    }

    #[test]
    fn wants_and_grants_meet_where_a_url_is_of_both() {
        for (one, other, expected) in [
            ("*://*", "https://a.test/v1/*", true),
            ("https://*.a.test/x/*", "https://b.*/x/y", true),
            ("https://a.test", "https://b.test", false),
            ("https://a.test/x", "https://a.test/y", false),
            ("http://*", "https://*", false),
        ] {
            let parse = |text| Pattern::parse(text).unwrap();
            assert_eq!(parse(one).meets(&parse(other)), expected, "{one} {other}");
            assert_eq!(parse(other).meets(&parse(one)), expected, "{other} {one}");
        }
    }

    #[test]
    fn special_hosts_are_recognised_however_they_are_written() {
        for (url, expected) in [
            ("http://localhost/", Some("loopback")),
            ("http://LOCALHOST./", Some("loopback")),
            ("http://x.localhost:1/", Some("loopback")),
            ("http://127.1/", Some("loopback")),
            ("http://2130706433/", Some("loopback")),
            ("http://[::ffff:127.0.0.1]/", Some("loopback")),
            ("http://0xa9fea9fe/latest", Some("link-local")),
            ("http://localhost.example.com/", None),
            ("http://10.0.0.1/", None),
        ] {
            assert_eq!(special_host(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }

    #[test]
    fn hidden_climbing_is_seen() {
        for (url, expected) in [
            ("http://a/v1/..%2f..%2fadmin", true),
            ("http://a/v1/%2e%2e%5cadmin", true),
            ("http://a/v1/x..y/..z", false),
            ("http://a/v1/a%2fb", false),
        ] {
            assert_eq!(climbs(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }
}
