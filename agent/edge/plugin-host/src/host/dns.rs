//! The domain name system, asked for plugins.
//!
//! Keeps true: what requests connect to was judged here; an address that a grant has to name is
//! never given for a name, so nobody is led to it by what a server of names answers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData, RecordType as Type};
use narthex_http_client::{Lookup, ResolveError, Resolver};

use crate::bindings::dns::{Answer, DnsError, ErrorCode, Host, RecordType, Service};
use crate::grant::address::special;
use crate::grant::url::is_localhost;

use super::State;

/// How the machine is set up; read again when it has changed.
const SYSTEM_FILE: &str = "/etc/resolv.conf";

/// For servers that the configuration names, a try.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Who is asked for names.
#[derive(Default)]
pub(crate) struct Names {
    /// Empty: as the machine is set up.
    servers: ArcSwap<Vec<SocketAddr>>,
    made: Mutex<Option<Made>>,
}

struct Made {
    servers: Arc<Vec<SocketAddr>>,
    system_changed: Option<SystemTime>,
    resolver: TokioResolver,
}

impl Names {
    pub(crate) fn set_servers(&self, servers: Vec<SocketAddr>) {
        if **self.servers.load() != servers {
            self.servers.store(Arc::new(servers));
        }
    }

    /// Must be called within a tokio runtime.
    fn resolver(&self) -> Result<TokioResolver, NetError> {
        let servers = self.servers.load_full();
        let changed = || std::fs::metadata(SYSTEM_FILE)?.modified();
        let system_changed = servers.is_empty().then(|| changed().ok()).flatten();
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = &*made
            && made.servers == servers
            && made.system_changed == system_changed
        {
            return Ok(made.resolver.clone());
        }
        let resolver = build(&servers)?;
        *made = Some(Made {
            servers,
            system_changed,
            resolver: resolver.clone(),
        });
        Ok(resolver)
    }

    async fn lookup(&self, name: &str, kind: RecordType) -> Result<Vec<Answer>, DnsError> {
        let looked_up = self.resolver().map_err(|error| dns_error(&error))?;
        let kind = match kind {
            RecordType::A => Type::A,
            RecordType::Aaaa => Type::AAAA,
            RecordType::Mx => Type::MX,
            RecordType::Ns => Type::NS,
            RecordType::Srv => Type::SRV,
        };
        match looked_up.lookup(name, kind).await {
            Ok(found) => {
                let records = found.answers().iter();
                let wanted = records.filter(|record| record.record_type() == kind);
                Ok(wanted.filter_map(|record| answer(&record.data)).collect())
            }
            Err(error) if error.is_no_records_found() && !error.is_nx_domain() => Ok(Vec::new()),
            Err(error) => Err(dns_error(&error)),
        }
    }

    /// Where to connect to for a host.
    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, ResolveError> {
        if is_localhost(host) {
            // Whatever a server says of it.
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        let found = self.all_addresses(host).await?;
        if found.is_empty() {
            return Err(ResolveError::Unknown(format!("{host} has no address")));
        }
        let may_be_reached = |address: &&IpAddr| special(**address).is_none();
        let reachable: Vec<IpAddr> = found.iter().filter(may_be_reached).copied().collect();
        let refused = found
            .iter()
            .find_map(|address| Some((*address, special(*address)?)));
        match refused {
            Some((address, kind)) if reachable.is_empty() => Err(ResolveError::Refused(format!(
                "{host} leads to {address}, a {kind} address, which can only be reached by a URL \
                 and a grant that name it"
            ))),
            _ => Ok(reachable),
        }
    }

    async fn all_addresses(&self, host: &str) -> Result<Vec<IpAddr>, ResolveError> {
        if self.servers.load().is_empty() {
            // The way of all programs, with the machine's hosts file and whatever else it knows.
            let found = tokio::net::lookup_host((host, 0)).await;
            let found = found.map_err(|error| {
                ResolveError::Unknown(format!("looking up {host}: {}", plain(&error.to_string())))
            })?;
            return Ok(found.map(|address| address.ip()).collect());
        }
        let unknown =
            |error: &NetError| ResolveError::Unknown(format!("looking up {host}: {error}"));
        let resolver = self.resolver().map_err(|error| unknown(&error))?;
        let found = resolver.lookup_ip(host).await;
        Ok(found.map_err(|error| unknown(&error))?.iter().collect())
    }
}

/// As clients of requests want it.
pub(super) struct Judging(pub(super) Arc<Names>);

impl Resolver for Judging {
    fn resolve(&self, host: &str) -> Lookup {
        let (names, host) = (self.0.clone(), host.to_owned());
        Box::pin(async move { names.addresses(&host).await })
    }
}

impl Host for State {
    fn lookup(
        &mut self,
        name: String,
        kind: RecordType,
    ) -> wasmtime::Result<Result<Vec<Answer>, DnsError>> {
        let refused = |code, message| Ok(Err(DnsError { code, message }));
        if let Err(message) = self.shared.permits.load().dns(&name) {
            self.shared.metrics.note_refusal("dns");
            return refused(ErrorCode::NotGranted, message);
        }
        if name.is_empty() || Name::from_utf8(&name).is_err() {
            let message = format!("{name:?} is no name that can be looked up");
            return refused(ErrorCode::Invalid, message);
        }
        if let Err(message) = self.count_request() {
            return refused(ErrorCode::Limit, message);
        }
        if let Some(replay) = &self.shared.replay {
            return Ok(replay.lookup(&name, kind));
        }
        let names = self.shared.services.names.clone();
        Ok(self.wait_for(async move { names.lookup(&name, kind).await })?)
    }
}

fn build(servers: &[SocketAddr]) -> Result<TokioResolver, NetError> {
    let mut builder = match servers {
        [] => TokioResolver::builder_tokio()?,
        _ => {
            let servers = servers.iter().map(|server| {
                let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
                for connection in &mut connections {
                    connection.port = server.port();
                }
                NameServerConfig::new(server.ip(), true, connections)
            });
            let config = ResolverConfig::from_name_servers(servers.collect());
            let provider = TokioRuntimeProvider::default();
            let mut builder = TokioResolver::builder_with_config(config, provider);
            builder.options_mut().timeout = TIMEOUT;
            builder
        }
    };
    // Discoveries ask at their own pace, and want to know what is so now.
    builder.options_mut().cache_size = 0;
    builder.build()
}

fn answer(data: &RData) -> Option<Answer> {
    let text = |name: &Name| {
        let text = name.to_utf8();
        match text.as_str() {
            "." => text,
            _ => text.trim_end_matches('.').to_owned(),
        }
    };
    Some(match data {
        RData::A(address) => Answer::Address(address.0.to_string()),
        RData::AAAA(address) => Answer::Address(address.0.to_string()),
        RData::MX(mail) => Answer::Name(text(&mail.exchange)),
        RData::NS(server) => Answer::Name(text(&server.0)),
        RData::SRV(service) => Answer::Service(Service {
            target: text(&service.target),
            port: service.port,
            priority: service.priority,
            weight: service.weight,
        }),
        _ => return None,
    })
}

fn dns_error(error: &NetError) -> DnsError {
    let code = match error {
        NetError::Timeout => ErrorCode::Timeout,
        error if error.is_nx_domain() => ErrorCode::NotFound,
        _ => ErrorCode::Other,
    };
    let message = match code {
        ErrorCode::NotFound => "there is no such name".to_owned(),
        ErrorCode::Timeout => "no server of names answered in time".to_owned(),
        _ => plain(&error.to_string()),
    };
    DnsError { code, message }
}

fn plain(text: &str) -> String {
    text.trim_start_matches("failed to lookup address information: ")
        .to_lowercase()
}
