//! What is known of an instance. All of it may be missing: it comes from outside.

/// An EC2 instance, by the names of Amazon's API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instance {
    pub id: Option<String>,
    /// Of the reservation that the instance belongs to.
    pub owner_id: Option<String>,
    pub ami: Option<String>,
    pub architecture: Option<String>,
    pub availability_zone: Option<String>,
    pub kind: Option<String>,
    /// `spot` or `scheduled`.
    pub lifecycle: Option<String>,
    pub platform: Option<String>,
    pub private_dns_name: Option<String>,
    pub private_ip: Option<String>,
    pub public_dns_name: Option<String>,
    pub public_ip: Option<String>,
    pub state: Option<String>,
    pub subnet_id: Option<String>,
    pub vpc_id: Option<String>,
    pub interfaces: Vec<Interface>,
    pub tags: Vec<(String, String)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    pub subnet_id: Option<String>,
    /// Its place among the instance's interfaces.
    pub device_index: Option<i32>,
    pub ipv6_addresses: Vec<Ipv6Address>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ipv6Address {
    pub address: String,
    pub is_primary: bool,
}
