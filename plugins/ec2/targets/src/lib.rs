//! What `ec2_sd_configs` say, what targets EC2 instances become, and when they are looked for.
//!
//! Keeps true: labels are Prometheus's; a refresh that fails in any part changes no targets, and the
//! log says why. Doesn't know the AWS SDK: whoever asks Amazon implements [`Cloud`] and [`Api`].

mod config;
mod instance;
mod labels;
mod refresh;

pub use config::{Config, Filter, Keys, Role, Settings};
pub use instance::{Instance, Interface, Ipv6Address};
pub use labels::{Target, Zones, target};
pub use refresh::{Api, Cloud, Failure, run};
