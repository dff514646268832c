//! The EC2 API of one region, asked by the AWS SDK.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ec2::types::{self, InstanceIpv6Address, InstanceNetworkInterface, Tag};
use narthex_plugin_ec2_targets::{Api, Failure, Filter, Instance, Interface, Ipv6Address, Zones};
use narthex_plugin_sdk::Error;

use crate::credentials::error_text;

/// Error codes by which the API says that credentials are not, or no longer, good for this.
const REFUSALS: [&str; 2] = ["AuthFailure", "UnauthorizedOperation"];

/// Instances of one page, which all lie in memory at once. Each is some 4 KB of XML.
const PAGE: i32 = 250;

pub(crate) struct Ec2 {
    client: Client,
    region: String,
}

impl Ec2 {
    pub(crate) fn new(client: Client, region: String) -> Self {
        Ec2 { client, region }
    }
}

impl Api for Ec2 {
    fn region(&self) -> &str {
        &self.region
    }

    async fn zones(&self) -> Result<Zones, Error> {
        let answer = self.client.describe_availability_zones().send().await;
        let answer = answer.map_err(|error| sdk_error(&error))?;
        let zones = answer.availability_zones.unwrap_or_default().into_iter();
        Ok(zones
            .filter_map(|zone| Some((zone.zone_name?, zone.zone_id?)))
            .collect())
    }

    async fn instances(
        &self,
        filters: &[Filter],
        take: &mut impl FnMut(Instance),
    ) -> Result<(), Failure> {
        let filters = filters.iter().map(|filter| {
            let builder = types::Filter::builder().name(&filter.name);
            builder.set_values(Some(filter.values.clone())).build()
        });
        let filters: Vec<types::Filter> = filters.collect();
        let asked = self.client.describe_instances();
        let asked = asked.set_filters((!filters.is_empty()).then_some(filters));
        let mut pages = asked.into_paginator().page_size(PAGE).send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| Failure {
                is_refused: error.code().is_some_and(|code| REFUSALS.contains(&code)),
                error: sdk_error(&error).context("could not describe instances"),
            })?;
            for reservation in page.reservations.unwrap_or_default() {
                let owner_id = reservation.owner_id;
                for found in reservation.instances.unwrap_or_default() {
                    take(instance(found, owner_id.clone()));
                }
            }
        }
        Ok(())
    }
}

/// What the API said, else why it was not asked.
fn sdk_error<E>(error: &SdkError<E>) -> Error
where
    SdkError<E>: std::error::Error + ProvideErrorMetadata,
{
    match (error.code(), error.message(), error.raw_response()) {
        (Some(code), Some(message), _) => Error::new(format!("{code}: {message}")),
        (Some(code), None, _) => Error::new(code),
        (None, _, Some(response)) => {
            let status = response.status().as_u16();
            error_text(error).context(format!("an answer of status {status}"))
        }
        (None, _, None) => error_text(error),
    }
}

fn instance(found: types::Instance, owner_id: Option<String>) -> Instance {
    let text = |name: &str| name.to_owned();
    Instance {
        id: found.instance_id,
        owner_id,
        ami: found.image_id,
        architecture: found.architecture.map(|value| text(value.as_str())),
        availability_zone: found
            .placement
            .and_then(|placement| placement.availability_zone),
        kind: found.instance_type.map(|value| text(value.as_str())),
        lifecycle: found.instance_lifecycle.map(|value| text(value.as_str())),
        platform: found.platform.map(|value| text(value.as_str())),
        private_dns_name: found.private_dns_name,
        private_ip: found.private_ip_address,
        public_dns_name: found.public_dns_name,
        public_ip: found.public_ip_address,
        state: found
            .state
            .and_then(|state| state.name)
            .map(|name| text(name.as_str())),
        subnet_id: found.subnet_id,
        vpc_id: found.vpc_id,
        interfaces: all(found.network_interfaces, interface),
        tags: found
            .tags
            .unwrap_or_default()
            .into_iter()
            .filter_map(tag)
            .collect(),
    }
}

fn interface(found: InstanceNetworkInterface) -> Interface {
    Interface {
        subnet_id: found.subnet_id,
        device_index: found
            .attachment
            .and_then(|attachment| attachment.device_index),
        ipv6_addresses: all(found.ipv6_addresses, ipv6_address)
            .into_iter()
            .flatten()
            .collect(),
    }
}

fn ipv6_address(found: InstanceIpv6Address) -> Option<Ipv6Address> {
    Some(Ipv6Address {
        is_primary: found.is_primary_ipv6 == Some(true),
        address: found.ipv6_address?,
    })
}

fn tag(found: Tag) -> Option<(String, String)> {
    Some((found.key?, found.value?))
}

fn all<A, B>(list: Option<Vec<A>>, turn: impl Fn(A) -> B) -> Vec<B> {
    list.unwrap_or_default().into_iter().map(turn).collect()
}
