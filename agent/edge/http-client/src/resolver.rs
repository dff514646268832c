//! Looking up host names in a caller's own way: what a client connects to is what the resolver gave,
//! so one that judges addresses leaves no gap between the judgement and the connection.
//!
//! A host that is an address is never looked up: judging those is for whoever makes the URL.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Why a host name leads to no address that may be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    #[error("{0}")]
    Unknown(String),
    /// It leads somewhere, but not to where one may connect.
    #[error("{0}")]
    Refused(String),
}

pub type Lookup = Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, ResolveError>> + Send>>;

pub trait Resolver: Send + Sync {
    /// The addresses of a host, at least one.
    fn resolve(&self, host: &str) -> Lookup;
}

/// A resolver as reqwest wants it.
pub(crate) struct Hook(pub(crate) Arc<dyn Resolver>);

impl Resolve for Hook {
    fn resolve(&self, name: Name) -> Resolving {
        let lookup = self.0.resolve(name.as_str());
        Box::pin(async move {
            let addresses = lookup.await?.into_iter();
            // The port is the URL's.
            let addresses: Addrs = Box::new(addresses.map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a resolver")
    }
}
