//! A plugin's exports, whichever version of the contract it was built for.

use wasmtime::Store;
use wasmtime::component::{Component, HasSelf, Linker};

use crate::adapter;
use crate::bindings::metrics::Family;
use crate::bindings::plugin::{ConfigError, Manifest};
use crate::bindings::targets::Request;
use crate::bindings::{discovery, exporter, v0_1};
use crate::host::{State, wasi};

/// The versions of the contract that this host speaks, the newest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Contract {
    V0_1,
    V1_0,
}

impl Contract {
    pub(crate) const ALL: [Contract; 2] = [Contract::V0_1, Contract::V1_0];
    pub(crate) const NEWEST: Contract = Contract::V1_0;

    /// Major and minor.
    pub(crate) fn number(self) -> (u64, u64) {
        match self {
            Contract::V0_1 => (0, 1),
            Contract::V1_0 => (1, 0),
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Contract::V0_1 => "0.1",
            Contract::V1_0 => "1.0",
        }
    }
}

/// An exporter's code, ready to be instantiated.
#[derive(Clone)]
pub(crate) enum ExporterCode {
    V0_1(v0_1::exporter::ExporterPre<State>),
    V1_0(exporter::ExporterPre<State>),
}

/// An exporter's instance.
pub(crate) enum Exporter {
    V0_1(v0_1::exporter::Exporter),
    V1_0(exporter::Exporter),
}

/// A discovery's code, ready to be instantiated.
#[derive(Clone)]
pub(crate) enum DiscoveryCode {
    V0_1(v0_1::discovery::DiscoveryPre<State>),
    V1_0(discovery::DiscoveryPre<State>),
}

/// A discovery's instance.
pub(crate) enum Discovery {
    V0_1(v0_1::discovery::Discovery),
    V1_0(discovery::Discovery),
}

impl ExporterCode {
    pub(crate) fn link(
        component: &Component,
        contract: Contract,
        wants_wasi: bool,
    ) -> wasmtime::Result<Self> {
        let mut linker = linker(component, wants_wasi)?;
        Ok(match contract {
            Contract::V0_1 => {
                let add = v0_1::exporter::Exporter::add_to_linker::<_, HasSelf<State>>;
                add(&mut linker, |state| state)?;
                let pre = linker.instantiate_pre(component)?;
                ExporterCode::V0_1(v0_1::exporter::ExporterPre::new(pre)?)
            }
            Contract::V1_0 => {
                let add = exporter::Exporter::add_to_linker::<_, HasSelf<State>>;
                add(&mut linker, |state| state)?;
                let pre = linker.instantiate_pre(component)?;
                ExporterCode::V1_0(exporter::ExporterPre::new(pre)?)
            }
        })
    }

    pub(crate) fn instantiate(&self, store: &mut Store<State>) -> wasmtime::Result<Exporter> {
        Ok(match self {
            ExporterCode::V0_1(pre) => Exporter::V0_1(pre.instantiate(store)?),
            ExporterCode::V1_0(pre) => Exporter::V1_0(pre.instantiate(store)?),
        })
    }
}

impl Exporter {
    pub(crate) fn describe(&self, store: &mut Store<State>) -> wasmtime::Result<Manifest> {
        match self {
            Exporter::V0_1(old) => {
                let manifest = old.narthex_plugin_metrics().call_describe(store);
                manifest.map(adapter::manifest)
            }
            Exporter::V1_0(new) => new.narthex_plugin_metrics().call_describe(store),
        }
    }

    pub(crate) fn configure(
        &self,
        store: &mut Store<State>,
        config: &str,
    ) -> wasmtime::Result<Result<(), ConfigError>> {
        match self {
            Exporter::V0_1(old) => {
                let configured = old.narthex_plugin_metrics().call_configure(store, config)?;
                Ok(configured.map_err(adapter::config_error))
            }
            Exporter::V1_0(new) => new.narthex_plugin_metrics().call_configure(store, config),
        }
    }

    pub(crate) fn collect(
        &self,
        store: &mut Store<State>,
    ) -> wasmtime::Result<Result<Vec<Family>, String>> {
        match self {
            Exporter::V0_1(old) => {
                let collected = old.narthex_plugin_metrics().call_collect(store)?;
                Ok(collected.and_then(adapter::families))
            }
            Exporter::V1_0(new) => new.narthex_plugin_metrics().call_collect(store),
        }
    }
}

impl DiscoveryCode {
    pub(crate) fn link(
        component: &Component,
        contract: Contract,
        wants_wasi: bool,
    ) -> wasmtime::Result<Self> {
        let mut linker = linker(component, wants_wasi)?;
        Ok(match contract {
            Contract::V0_1 => {
                let add = v0_1::discovery::Discovery::add_to_linker::<_, HasSelf<State>>;
                add(&mut linker, |state| state)?;
                let pre = linker.instantiate_pre(component)?;
                DiscoveryCode::V0_1(v0_1::discovery::DiscoveryPre::new(pre)?)
            }
            Contract::V1_0 => {
                let add = discovery::Discovery::add_to_linker::<_, HasSelf<State>>;
                add(&mut linker, |state| state)?;
                let pre = linker.instantiate_pre(component)?;
                DiscoveryCode::V1_0(discovery::DiscoveryPre::new(pre)?)
            }
        })
    }

    pub(crate) fn instantiate(&self, store: &mut Store<State>) -> wasmtime::Result<Discovery> {
        Ok(match self {
            DiscoveryCode::V0_1(pre) => Discovery::V0_1(pre.instantiate(store)?),
            DiscoveryCode::V1_0(pre) => Discovery::V1_0(pre.instantiate(store)?),
        })
    }
}

impl Discovery {
    pub(crate) fn describe(&self, store: &mut Store<State>) -> wasmtime::Result<Manifest> {
        match self {
            Discovery::V0_1(old) => {
                let manifest = old.narthex_plugin_targets().call_describe(store);
                manifest.map(adapter::manifest)
            }
            Discovery::V1_0(new) => new.narthex_plugin_targets().call_describe(store),
        }
    }

    pub(crate) fn validate(
        &self,
        store: &mut Store<State>,
        request: &Request,
    ) -> wasmtime::Result<Result<(), ConfigError>> {
        match self {
            Discovery::V0_1(old) => {
                let request = adapter::request(request);
                let valid = old
                    .narthex_plugin_targets()
                    .call_validate(store, &request)?;
                Ok(valid.map_err(adapter::config_error))
            }
            Discovery::V1_0(new) => new.narthex_plugin_targets().call_validate(store, request),
        }
    }

    pub(crate) fn run(
        &self,
        store: &mut Store<State>,
        request: &Request,
    ) -> wasmtime::Result<Result<(), String>> {
        match self {
            Discovery::V0_1(old) => {
                let request = adapter::request(request);
                old.narthex_plugin_targets().call_run(store, &request)
            }
            Discovery::V1_0(new) => new.narthex_plugin_targets().call_run(store, request),
        }
    }
}

fn linker(component: &Component, wants_wasi: bool) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(component.engine());
    if wants_wasi {
        wasi::add_to_linker(&mut linker)?;
    }
    Ok(linker)
}
