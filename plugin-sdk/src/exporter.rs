//! Exporters: plugins that give metrics.

use serde::de::DeserializeOwned;

use crate::{ConfigError, Error, Manifest, Metrics};

/// A plugin that gives metrics. One value lives for as long as its configuration stays the same
/// and it does not trap, and may remember things between collections.
pub trait Exporter: Sized {
    /// What `config:` of its entry in `narthex.yml` holds; [`crate::NoConfig`] for nothing. A
    /// plugin that is just dropped into the folder gets `{}`.
    type Config: DeserializeOwned;

    /// What the plugin is for and what it wants. Calls nothing of the host.
    fn manifest() -> Manifest;

    fn new(config: Self::Config) -> Result<Self, ConfigError>;

    /// Collects once. An error says why there are no metrics this time. To ask several servers at
    /// once, use [`crate::block_on`].
    fn collect(&mut self, metrics: &mut Metrics) -> Result<(), Error>;
}

/// Makes the crate an exporter plugin: `exporter!(MyExporter);`, once, beside the type.
#[macro_export]
macro_rules! exporter {
    ($plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct NarthexGuest;
            ::std::thread_local! {
                static PLUGIN: ::std::cell::RefCell<::std::option::Option<$plugin>> =
                    const { ::std::cell::RefCell::new(::std::option::Option::None) };
            }
            impl $crate::guest::ExporterGuest for NarthexGuest {
                type Plugin = $plugin;
                const VERSION: &'static str = ::std::env!("CARGO_PKG_VERSION");
                fn with_plugin<R>(run: impl FnOnce(&mut ::std::option::Option<$plugin>) -> R) -> R {
                    PLUGIN.with_borrow_mut(run)
                }
            }
            $crate::bindings::exporter::export_exporter!(
                NarthexGuest with_types_in $crate::bindings::exporter
            );
        };

        #[cfg(not(target_arch = "wasm32"))]
        const _: fn() = || {
            fn is_an_exporter<T: $crate::Exporter>() {}
            is_an_exporter::<$plugin>();
        };
    };
}
