//! What wasmtime makes of `plugin-sdk/wit`, and nothing else. The discovery world shares the
//! exporter world's host interfaces, so each is implemented once.

#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::semicolon_if_nothing_returned,
    clippy::allow_attributes_without_reason,
    reason = "generated"
)]
pub(crate) mod exporter {
    wasmtime::component::bindgen!({
        path: "../../../plugin-sdk/wit",
        world: "exporter",
    });
}

#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::semicolon_if_nothing_returned,
    clippy::allow_attributes_without_reason,
    reason = "generated"
)]
pub(crate) mod discovery {
    wasmtime::component::bindgen!({
        path: "../../../plugin-sdk/wit",
        world: "discovery",
        imports: {
            // The end of an instance reaches it here.
            "narthex:plugin/events@0.1.0.wait": trappable,
            "narthex:plugin/publisher@0.1.0.publish": trappable,
        },
        with: {
            "narthex:plugin/log@0.1.0": crate::bindings::exporter::narthex::plugin::log,
            "narthex:plugin/clock@0.1.0": crate::bindings::exporter::narthex::plugin::clock,
            "narthex:plugin/random@0.1.0": crate::bindings::exporter::narthex::plugin::random,
            "narthex:plugin/environment@0.1.0":
                crate::bindings::exporter::narthex::plugin::environment,
            "narthex:plugin/files@0.1.0": crate::bindings::exporter::narthex::plugin::files,
            "narthex:plugin/system@0.1.0": crate::bindings::exporter::narthex::plugin::system,
            "narthex:plugin/plugin@0.1.0": crate::bindings::exporter::narthex::plugin::plugin,
        },
    });
}

pub(crate) use discovery::Discovery;
pub(crate) use discovery::exports::narthex::plugin::targets;
pub(crate) use discovery::narthex::plugin::{events, publisher};
pub(crate) use exporter::Exporter;
pub(crate) use exporter::exports::narthex::plugin::metrics;
pub(crate) use exporter::narthex::plugin::{
    clock, environment, files, log, plugin, random, system,
};
