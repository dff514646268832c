//! Discoveries: plugins that find targets.

use std::future::Future;

use serde::de::DeserializeOwned;

use crate::{ConfigError, Error, Manifest};

pub use crate::host::publisher::TargetGroup;

/// A plugin that finds targets. Each entry of a `<name>_sd_configs` list runs a value of its own.
pub trait Discovery: Sized {
    /// An entry of the `<name>_sd_configs` list.
    type Config: DeserializeOwned;

    /// What the plugin is for and what it wants. Calls nothing of the host.
    fn manifest() -> Manifest;

    /// Checks the configuration; touches nothing. `base_directory` is what its relative paths are
    /// relative to.
    fn new(config: Self::Config, base_directory: &str) -> Result<Self, ConfigError>;

    /// Publishes what there is ([`crate::publisher::publish`]), then waits for changes
    /// ([`crate::events`], [`crate::http`]) and publishes those, for ever. An error ends the run;
    /// the host starts another one after a while and meanwhile keeps the targets.
    fn run(self) -> impl Future<Output = Result<(), Error>>;
}

/// Makes the crate a discovery plugin: `discovery!(MyDiscovery);`, once, beside the type.
#[macro_export]
macro_rules! discovery {
    ($plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct NarthexGuest;
            impl $crate::guest::DiscoveryGuest for NarthexGuest {
                type Plugin = $plugin;
                const VERSION: &'static str = ::std::env!("CARGO_PKG_VERSION");
            }
            $crate::bindings::discovery::export_discovery!(
                NarthexGuest with_types_in $crate::bindings::discovery
            );
        };

        #[cfg(not(target_arch = "wasm32"))]
        const _: fn() = || {
            fn is_a_discovery<T: $crate::Discovery>() {}
            is_a_discovery::<$plugin>();
        };
    };
}
