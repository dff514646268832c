//! An instance as a target.
//!
//! Keeps true: names and values are Prometheus's. A label without a value is left out, which is the
//! same.

use std::collections::BTreeMap;

use crate::instance::{Instance, Interface};

/// The labels of a target, by name.
pub type Target = Vec<(String, String)>;

/// The ids of availability zones by their names.
pub type Zones = BTreeMap<String, String>;

/// None for an instance that has no address to reach it by.
pub fn target(instance: Instance, region: &str, zones: &Zones, port: u16) -> Option<Target> {
    let addresses = Ipv6Addresses::of(&instance);
    let default_ipv6 = addresses.preferred();
    let address = match (&instance.private_ip, default_ipv6) {
        (Some(ip), _) if ip.contains(':') => format!("[{ip}]:{port}"),
        (Some(ip), _) => format!("{ip}:{port}"),
        (None, Some(ip)) => format!("[{ip}]:{port}"),
        (None, None) => return None,
    };
    let mut labels = Labels::default();
    labels.put("default_ipv6_address", default_ipv6);
    labels.put_list("ipv6_addresses", &addresses.all);
    labels.put_list("primary_ipv6_addresses", &addresses.primary);
    if instance.vpc_id.is_some() {
        labels.put("primary_subnet_id", instance.subnet_id.as_deref());
        labels.put_all("subnet_id", list(&subnets(&instance.interfaces)));
    }
    if instance.public_ip.is_some() {
        labels.put("public_dns_name", instance.public_dns_name.as_deref());
    }
    let zone = instance.availability_zone.as_ref();
    let zone_id = zone.and_then(|zone| zones.get(zone));
    labels.put("availability_zone_id", zone_id.map(String::as_str));
    labels.put("region", Some(region));
    for (name, value) in [
        ("ami", instance.ami),
        ("architecture", instance.architecture),
        ("availability_zone", instance.availability_zone),
        ("instance_id", instance.id),
        ("instance_lifecycle", instance.lifecycle),
        ("instance_state", instance.state),
        ("instance_type", instance.kind),
        ("owner_id", instance.owner_id),
        ("platform", instance.platform),
        ("private_dns_name", instance.private_dns_name),
        ("private_ip", instance.private_ip),
        ("public_ip", instance.public_ip),
        ("vpc_id", instance.vpc_id),
    ] {
        labels.put_all(name, value.unwrap_or_default());
    }
    for (key, value) in instance.tags {
        labels.put_all(&format!("tag_{}", sanitised(&key)), value);
    }
    labels.0.insert("__address__".to_owned(), address);
    Some(
        labels
            .0
            .into_iter()
            .filter(|(_, v)| !v.is_empty())
            .collect(),
    )
}

/// Values by name. Of tags whose names become the same, the last counts, even if it is empty.
#[derive(Default)]
struct Labels(BTreeMap<String, String>);

impl Labels {
    fn put(&mut self, name: &str, value: Option<&str>) {
        self.put_all(name, value.unwrap_or_default().to_owned());
    }

    fn put_list(&mut self, name: &str, values: &[&str]) {
        if !values.is_empty() {
            self.put_all(name, list(values));
        }
    }

    fn put_all(&mut self, name: &str, value: String) {
        self.0.insert(format!("__meta_ec2_{name}"), value);
    }
}

/// With a comma at both ends, so that a regular expression finds each value between two.
fn list(values: &[&str]) -> String {
    format!(",{},", values.join(","))
}

fn sanitised(name: &str) -> String {
    let is_good = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
    name.chars()
        .map(|c| if is_good(&c) { c } else { '_' })
        .collect()
}

/// Each once, in the order of the interfaces.
fn subnets(interfaces: &[Interface]) -> Vec<&str> {
    let mut found: Vec<&str> = Vec::new();
    for subnet in interfaces.iter().filter_map(|one| one.subnet_id.as_deref()) {
        if !found.contains(&subnet) {
            found.push(subnet);
        }
    }
    found
}

/// Of the interfaces that lie in a subnet of a VPC.
#[derive(Default)]
struct Ipv6Addresses<'a> {
    all: Vec<&'a str>,
    /// By the place of their interface; empty where an interface has none.
    primary: Vec<&'a str>,
}

/// More than any instance has interfaces: a place from outside must not fill the memory.
const MAX_INTERFACES: usize = 1024;

impl<'a> Ipv6Addresses<'a> {
    fn of(instance: &'a Instance) -> Self {
        let mut addresses = Ipv6Addresses::default();
        if instance.vpc_id.is_none() {
            return addresses;
        }
        let in_subnets = |interface: &&Interface| interface.subnet_id.is_some();
        for interface in instance.interfaces.iter().filter(in_subnets) {
            let place = interface
                .device_index
                .and_then(|at| usize::try_from(at).ok());
            let place = place.filter(|at| *at < MAX_INTERFACES);
            for address in &interface.ipv6_addresses {
                addresses.all.push(&address.address);
                if let Some(at) = place.filter(|_| address.is_primary) {
                    addresses.put_primary(at, &address.address);
                }
            }
        }
        addresses
    }

    fn put_primary(&mut self, at: usize, address: &'a str) {
        if self.primary.len() <= at {
            self.primary.resize(at + 1, "");
        }
        if let Some(place) = self.primary.get_mut(at) {
            *place = address;
        }
    }

    /// The first primary one, else the first.
    fn preferred(&self) -> Option<&'a str> {
        let mut all = self.primary.iter().chain(&self.all);
        all.find(|address| !address.is_empty()).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn full() -> Instance {
        Instance {
            id: some("i-1"),
            owner_id: some("123"),
            ami: some("ami-1"),
            architecture: some("arm64"),
            availability_zone: some("eu-west-1a"),
            kind: some("t4g.nano"),
            lifecycle: some("spot"),
            platform: some("windows"),
            private_dns_name: some("ip-10-0-0-1.internal"),
            private_ip: some("10.0.0.1"),
            public_dns_name: some("ec2-1.example.com"),
            public_ip: some("1.2.3.4"),
            state: some("running"),
            subnet_id: some("subnet-a"),
            vpc_id: some("vpc-1"),
            interfaces: vec![
                interface(some("subnet-b"), Some(0), &["fd00::2"]),
                interface(some("subnet-a"), Some(3), &["fd00::3", "!fd00::4"]),
                interface(some("subnet-b"), Some(1), &[]),
                interface(None, Some(2), &["!fd00::9"]),
            ],
            tags: vec![
                (String::from("Name"), String::from("web 1")),
                (String::from("aws:auto-scaling/grüppe"), String::from("x")),
                (String::from("Empty"), String::new()),
                (String::from("a.b"), String::from("first")),
                (String::from("a-b"), String::from("last")),
            ],
        }
    }

    /// An address after `!` is its interface's primary one.
    fn interface(subnet: Option<String>, at: Option<i32>, addresses: &[&str]) -> Interface {
        let address = |text: &&str| crate::Ipv6Address {
            address: text.trim_start_matches('!').to_owned(),
            is_primary: text.starts_with('!'),
        };
        Interface {
            subnet_id: subnet,
            device_index: at,
            ipv6_addresses: addresses.iter().map(address).collect(),
        }
    }

    fn lines(instance: Instance) -> Vec<String> {
        let zones = Zones::from([("eu-west-1a".to_owned(), "euw1-az2".to_owned())]);
        let target = target(instance, "eu-west-1", &zones, 9100).unwrap();
        let short = |name: &str| name.trim_start_matches("__meta_ec2_").to_owned();
        let line = |(name, value): (String, String)| format!("{}={value}", short(&name));
        target.into_iter().map(line).collect()
    }

    #[test]
    fn all_labels() {
        assert_eq!(
            lines(full()),
            [
                "__address__=10.0.0.1:9100",
                "ami=ami-1",
                "architecture=arm64",
                "availability_zone=eu-west-1a",
                "availability_zone_id=euw1-az2",
                "default_ipv6_address=fd00::4",
                "instance_id=i-1",
                "instance_lifecycle=spot",
                "instance_state=running",
                "instance_type=t4g.nano",
                "ipv6_addresses=,fd00::2,fd00::3,fd00::4,",
                "owner_id=123",
                "platform=windows",
                "primary_ipv6_addresses=,,,,fd00::4,",
                "primary_subnet_id=subnet-a",
                "private_dns_name=ip-10-0-0-1.internal",
                "private_ip=10.0.0.1",
                "public_dns_name=ec2-1.example.com",
                "public_ip=1.2.3.4",
                "region=eu-west-1",
                "subnet_id=,subnet-b,subnet-a,",
                "tag_Name=web 1",
                "tag_a_b=last",
                "tag_aws_auto_scaling_gr_ppe=x",
                "vpc_id=vpc-1",
            ]
        );
    }

    #[test]
    fn the_least_that_an_instance_may_have() {
        let instance = Instance {
            private_ip: some("10.0.0.1"),
            ..Instance::default()
        };
        let expected = [
            "__address__=10.0.0.1:9100",
            "private_ip=10.0.0.1",
            "region=eu-west-1",
        ];
        assert_eq!(lines(instance), expected);
    }

    #[test]
    fn without_a_public_address_there_is_no_public_name() {
        let instance = Instance {
            public_ip: None,
            ..full()
        };
        let lines = lines(instance);
        assert!(!lines.iter().any(|line| line.starts_with("public_")));
    }

    #[test]
    fn addresses() {
        let of = |private: Option<&str>, interfaces: Vec<Interface>, vpc: Option<&str>| {
            let instance = Instance {
                private_ip: private.map(str::to_owned),
                vpc_id: vpc.map(str::to_owned),
                interfaces,
                ..Instance::default()
            };
            let target = target(instance, "r", &Zones::new(), 80)?;
            Some(target[0].1.clone())
        };
        let six = |addresses| vec![interface(some("s"), Some(0), addresses)];
        for (private, interfaces, vpc, expected) in [
            (
                Some("10.0.0.1"),
                six(&["fd00::1"]),
                Some("v"),
                Some("10.0.0.1:80"),
            ),
            (
                None,
                six(&["fd00::1", "!fd00::2"]),
                Some("v"),
                Some("[fd00::2]:80"),
            ),
            (
                None,
                six(&["fd00::1", "fd00::2"]),
                Some("v"),
                Some("[fd00::1]:80"),
            ),
            (None, six(&["fd00::1"]), None, None),
            (
                None,
                vec![interface(None, Some(0), &["fd00::1"])],
                Some("v"),
                None,
            ),
            (None, vec![], Some("v"), None),
        ] {
            let found = of(private, interfaces.clone(), vpc);
            assert_eq!(
                found.as_deref(),
                expected,
                "{private:?} {interfaces:?} {vpc:?}"
            );
        }
    }

    #[test]
    fn places_that_make_no_sense_have_no_primary_address() {
        for place in [None, Some(-1), Some(i32::MAX)] {
            let instance = Instance {
                vpc_id: some("v"),
                interfaces: vec![interface(some("s"), place, &["!fd00::1"])],
                ..Instance::default()
            };
            let lines = lines(instance);
            assert!(lines.contains(&"default_ipv6_address=fd00::1".to_owned()));
            assert!(!lines.iter().any(|line| line.starts_with("primary_ipv6")));
        }
    }

    #[test]
    fn of_an_instance_in_no_subnet_the_list_is_empty_but_there() {
        let instance = Instance {
            private_ip: some("10.0.0.1"),
            vpc_id: some("v"),
            ..Instance::default()
        };
        assert!(lines(instance).contains(&"subnet_id=,,".to_owned()));
    }
}
