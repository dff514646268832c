//! Addresses that must be named to be reached: a request to them gets to what trusts the machine
//! itself, like the services that hand out its credentials.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why an address is one that only a grant which names it allows.
pub(crate) fn special(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => special_v4(v4),
        IpAddr::V6(v6) => match embedded(v6) {
            Some(v4) => special_v4(v4),
            None => special_v6(v6),
        },
    }
}

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    /// Of Alibaba, Azure and Oracle; those of others are link-local.
    const METADATA: [Ipv4Addr; 3] = [
        Ipv4Addr::new(100, 100, 100, 200),
        Ipv4Addr::new(168, 63, 129, 16),
        Ipv4Addr::new(192, 0, 0, 192),
    ];
    if address.is_loopback() {
        Some("loopback")
    } else if address.octets()[0] == 0 {
        // Connecting to it reaches the machine itself.
        Some("unspecified")
    } else if address.is_link_local() {
        Some("link-local")
    } else if METADATA.contains(&address) {
        Some("metadata")
    } else if address.is_multicast() || address.is_broadcast() {
        Some("multicast")
    } else {
        None
    }
}

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    /// Of Amazon and Google.
    const METADATA: [Ipv6Addr; 2] = [
        Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
        Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    ];
    if address.is_loopback() {
        Some("loopback")
    } else if address.is_unspecified() {
        Some("unspecified")
    } else if address.is_unicast_link_local() {
        Some("link-local")
    } else if METADATA.contains(&address) {
        Some("metadata")
    } else if address.is_multicast() {
        Some("multicast")
    } else {
        None
    }
}

/// The address of version 4 that one of version 6 leads to: mapped, compatible, through NAT64 or
/// 6to4.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let v4 = |high: u16, low: u16| {
        let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
        Some(Ipv4Addr::new(a, b, c, d))
    };
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0xffff] => v4(g, h),
        // `::` and `::1` are no addresses of version 4.
        [0, 0, 0, 0, 0, 0] if (g, h) > (0, 1) => v4(g, h),
        [0x64, 0xff9b, 0, 0, 0, 0] => v4(g, h),
        [0x2002, high, low, ..] => v4(high, low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_that_must_be_named() {
        for (address, expected) in [
            ("127.0.0.1", Some("loopback")),
            ("127.255.0.3", Some("loopback")),
            ("0.0.0.0", Some("unspecified")),
            ("0.1.2.3", Some("unspecified")),
            ("169.254.169.254", Some("link-local")),
            ("169.254.170.2", Some("link-local")),
            ("100.100.100.200", Some("metadata")),
            ("168.63.129.16", Some("metadata")),
            ("224.0.0.1", Some("multicast")),
            ("255.255.255.255", Some("multicast")),
            ("10.0.0.1", None),
            ("8.8.8.8", None),
            ("::1", Some("loopback")),
            ("::", Some("unspecified")),
            ("fe80::1", Some("link-local")),
            ("fd00:ec2::254", Some("metadata")),
            ("ff02::1", Some("multicast")),
            ("::ffff:169.254.169.254", Some("link-local")),
            ("::ffff:10.0.0.1", None),
            ("::127.0.0.1", Some("loopback")),
            ("64:ff9b::a9fe:a9fe", Some("link-local")),
            ("2002:7f00:1::", Some("loopback")),
            ("fd00::1", None),
            ("2001:db8::1", None),
        ] {
            assert_eq!(special(address.parse().unwrap()), expected, "{address}");
        }
    }
}
