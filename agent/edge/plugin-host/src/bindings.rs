//! What wasmtime makes of the contract's versions, and nothing else. In each version the discovery
//! world shares the exporter world's host interfaces, so each is implemented once.

/// Version 1.0: `plugin-sdk/wit`.
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
        // Where an instance waits, its end and its deadline reach it.
        imports: {
            "narthex:plugin/events@1.0.0.wait": trappable,
            "narthex:plugin/http@1.0.0.fetch": trappable,
            "narthex:plugin/dns@1.0.0.lookup": trappable,
            "narthex:plugin/query@1.0.0.instant": trappable,
            "narthex:plugin/query@1.0.0.range": trappable,
        },
        // Recorded facts about machines are read into the contract's own types.
        additional_derives: [serde::Deserialize],
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
            "narthex:plugin/publisher@1.0.0.publish": trappable,
        },
        with: {
            "narthex:plugin/log@1.0.0": crate::bindings::exporter::narthex::plugin::log,
            "narthex:plugin/clock@1.0.0": crate::bindings::exporter::narthex::plugin::clock,
            "narthex:plugin/random@1.0.0": crate::bindings::exporter::narthex::plugin::random,
            "narthex:plugin/environment@1.0.0":
                crate::bindings::exporter::narthex::plugin::environment,
            "narthex:plugin/files@1.0.0": crate::bindings::exporter::narthex::plugin::files,
            "narthex:plugin/system@1.0.0": crate::bindings::exporter::narthex::plugin::system,
            "narthex:plugin/events@1.0.0": crate::bindings::exporter::narthex::plugin::events,
            "narthex:plugin/http@1.0.0": crate::bindings::exporter::narthex::plugin::http,
            "narthex:plugin/dns@1.0.0": crate::bindings::exporter::narthex::plugin::dns,
            "narthex:plugin/query@1.0.0": crate::bindings::exporter::narthex::plugin::query,
            "narthex:plugin/plugin@1.0.0": crate::bindings::exporter::narthex::plugin::plugin,
        },
    });
}

/// Version 0.1: `wit/0.1.0`. Only the module `adapter` knows it.
pub(crate) mod v0_1 {
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
            path: "wit/0.1.0",
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
            path: "wit/0.1.0",
            world: "discovery",
            imports: {
                "narthex:plugin/events@0.1.0.wait": trappable,
                "narthex:plugin/publisher@0.1.0.publish": trappable,
            },
            with: {
                "narthex:plugin/log@0.1.0": crate::bindings::v0_1::exporter::narthex::plugin::log,
                "narthex:plugin/clock@0.1.0":
                    crate::bindings::v0_1::exporter::narthex::plugin::clock,
                "narthex:plugin/random@0.1.0":
                    crate::bindings::v0_1::exporter::narthex::plugin::random,
                "narthex:plugin/environment@0.1.0":
                    crate::bindings::v0_1::exporter::narthex::plugin::environment,
                "narthex:plugin/files@0.1.0":
                    crate::bindings::v0_1::exporter::narthex::plugin::files,
                "narthex:plugin/system@0.1.0":
                    crate::bindings::v0_1::exporter::narthex::plugin::system,
                "narthex:plugin/plugin@0.1.0":
                    crate::bindings::v0_1::exporter::narthex::plugin::plugin,
            },
        });
    }
}

pub(crate) use discovery::exports::narthex::plugin::targets;
pub(crate) use discovery::narthex::plugin::{publisher, telemetry};
pub(crate) use exporter::exports::narthex::plugin::metrics;
pub(crate) use exporter::narthex::plugin::{
    clock, dns, environment, events, files, http, log, plugin, query, random, system,
};
