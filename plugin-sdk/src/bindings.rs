//! What wit-bindgen makes of `wit/plugin.wit`, and nothing else. Both worlds share the interfaces of
//! `host`, so that the rest of this crate meets each type once.
//!
//! Each world's `export` macro carries that world's component type; a plugin expands one of them
//! and so says which world it is of.

#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::semicolon_if_nothing_returned,
    clippy::allow_attributes_without_reason,
    reason = "generated"
)]
pub mod host {
    wit_bindgen::generate!({
        path: "wit",
        world: "host",
        additional_derives: [PartialEq],
        generate_all,
    });
}

#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::semicolon_if_nothing_returned,
    clippy::allow_attributes_without_reason,
    reason = "generated"
)]
pub mod exporter {
    wit_bindgen::generate!({
        path: "wit",
        world: "exporter",
        pub_export_macro: true,
        export_macro_name: "export_exporter",
        default_bindings_module: "narthex_plugin_sdk::bindings::exporter",
        with: {
            "narthex:plugin/log@1.0.0": crate::bindings::host::narthex::plugin::log,
            "narthex:plugin/clock@1.0.0": crate::bindings::host::narthex::plugin::clock,
            "narthex:plugin/random@1.0.0": crate::bindings::host::narthex::plugin::random,
            "narthex:plugin/environment@1.0.0": crate::bindings::host::narthex::plugin::environment,
            "narthex:plugin/files@1.0.0": crate::bindings::host::narthex::plugin::files,
            "narthex:plugin/system@1.0.0": crate::bindings::host::narthex::plugin::system,
            "narthex:plugin/events@1.0.0": crate::bindings::host::narthex::plugin::events,
            "narthex:plugin/http@1.0.0": crate::bindings::host::narthex::plugin::http,
            "narthex:plugin/dns@1.0.0": crate::bindings::host::narthex::plugin::dns,
            "narthex:plugin/query@1.0.0": crate::bindings::host::narthex::plugin::query,
            "narthex:plugin/plugin@1.0.0": crate::bindings::host::narthex::plugin::plugin,
        },
        additional_derives: [PartialEq],
        generate_all,
    });
}

#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::semicolon_if_nothing_returned,
    clippy::allow_attributes_without_reason,
    reason = "generated"
)]
pub mod discovery {
    wit_bindgen::generate!({
        path: "wit",
        world: "discovery",
        pub_export_macro: true,
        export_macro_name: "export_discovery",
        default_bindings_module: "narthex_plugin_sdk::bindings::discovery",
        with: {
            "narthex:plugin/log@1.0.0": crate::bindings::host::narthex::plugin::log,
            "narthex:plugin/clock@1.0.0": crate::bindings::host::narthex::plugin::clock,
            "narthex:plugin/random@1.0.0": crate::bindings::host::narthex::plugin::random,
            "narthex:plugin/environment@1.0.0": crate::bindings::host::narthex::plugin::environment,
            "narthex:plugin/files@1.0.0": crate::bindings::host::narthex::plugin::files,
            "narthex:plugin/system@1.0.0": crate::bindings::host::narthex::plugin::system,
            "narthex:plugin/events@1.0.0": crate::bindings::host::narthex::plugin::events,
            "narthex:plugin/http@1.0.0": crate::bindings::host::narthex::plugin::http,
            "narthex:plugin/dns@1.0.0": crate::bindings::host::narthex::plugin::dns,
            "narthex:plugin/query@1.0.0": crate::bindings::host::narthex::plugin::query,
            "narthex:plugin/plugin@1.0.0": crate::bindings::host::narthex::plugin::plugin,
        },
        additional_derives: [PartialEq],
        generate_all,
    });
}
