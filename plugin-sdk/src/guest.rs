//! Joins the traits that authors implement with the functions that the contract exports. Used by
//! the macros; of no use to anyone else.

use crate::bindings::discovery::exports::narthex::plugin as discovery_exports;
use crate::bindings::exporter::exports::narthex::plugin as exporter_exports;
use crate::bindings::host::narthex::plugin::plugin::{
    ConfigError as RawConfigError, Manifest as RawManifest,
};
use crate::{ConfigError, Discovery, Exporter, Metrics, block_on, config, host, logging};

pub trait ExporterGuest {
    type Plugin: Exporter;
    const VERSION: &'static str;
    fn with_plugin<R>(run: impl FnOnce(&mut Option<Self::Plugin>) -> R) -> R;
}

pub trait DiscoveryGuest {
    type Plugin: Discovery;
    const VERSION: &'static str;
}

impl<G: ExporterGuest> exporter_exports::metrics::Guest for G {
    fn describe() -> RawManifest {
        prepare();
        G::Plugin::manifest().into_raw(G::VERSION)
    }

    fn configure(json: String) -> Result<(), RawConfigError> {
        prepare();
        let plugin = config::parse(&json).and_then(G::Plugin::new)?;
        G::with_plugin(|slot| *slot = Some(plugin));
        Ok(())
    }

    fn collect() -> Result<Vec<exporter_exports::metrics::Family>, String> {
        G::with_plugin(|slot| {
            let plugin = slot.as_mut().ok_or("collect was called before configure")?;
            let mut metrics = Metrics::new();
            plugin
                .collect(&mut metrics)
                .and_then(|()| metrics.finish())
                .map_err(|error| error.to_string())
        })
    }
}

impl<G: DiscoveryGuest> discovery_exports::targets::Guest for G {
    fn describe() -> RawManifest {
        prepare();
        G::Plugin::manifest().into_raw(G::VERSION)
    }

    fn validate(request: discovery_exports::targets::Request) -> Result<(), RawConfigError> {
        prepare();
        make::<G>(&request)?;
        Ok(())
    }

    fn run(request: discovery_exports::targets::Request) -> Result<(), String> {
        prepare();
        let plugin = make::<G>(&request).map_err(|error| error.to_string())?;
        block_on(plugin.run()).map_err(|error| error.to_string())
    }
}

fn make<G: DiscoveryGuest>(
    request: &discovery_exports::targets::Request,
) -> Result<G::Plugin, ConfigError> {
    let parsed = config::parse(&request.config)?;
    G::Plugin::new(parsed, &request.base_directory)
}

/// Each export that may come first does this.
fn prepare() {
    // A panic ends as a trap, which by itself says nothing: its text goes to the log before, where
    // the host picks it up.
    std::panic::set_hook(Box::new(|info| {
        host::log::write(host::log::Level::Error, info.to_string());
    }));
    logging::install();
}
