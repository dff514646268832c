//! What wit-bindgen makes of `wit/plugin.wit`, and nothing else. The discovery world shares the
//! exporter world's host interfaces, so that the rest of this crate meets each type once.
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
pub mod exporter {
    wit_bindgen::generate!({
        path: "wit",
        world: "exporter",
        pub_export_macro: true,
        export_macro_name: "export_exporter",
        default_bindings_module: "narthex_plugin_sdk::bindings::exporter",
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
            "narthex:plugin/log@0.1.0": crate::bindings::exporter::narthex::plugin::log,
            "narthex:plugin/clock@0.1.0": crate::bindings::exporter::narthex::plugin::clock,
            "narthex:plugin/random@0.1.0": crate::bindings::exporter::narthex::plugin::random,
            "narthex:plugin/environment@0.1.0":
                crate::bindings::exporter::narthex::plugin::environment,
            "narthex:plugin/files@0.1.0": crate::bindings::exporter::narthex::plugin::files,
            "narthex:plugin/system@0.1.0": crate::bindings::exporter::narthex::plugin::system,
            "narthex:plugin/plugin@0.1.0": crate::bindings::exporter::narthex::plugin::plugin,
        },
        additional_derives: [PartialEq],
        generate_all,
    });
}
