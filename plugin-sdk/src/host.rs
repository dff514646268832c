//! What the host offers, a module for each interface of the contract.
//!
//! In a plugin these are calls to Narthex. Compiled for your own machine they are calls to
//! [`crate::fake`], so a plugin's tests need neither WebAssembly nor a running agent.

pub mod clock;
pub mod dns;
pub mod environment;
pub mod events;
pub mod files;
pub mod http;
pub mod log;
pub mod publisher;
pub mod query;
pub mod random;
pub mod system;
pub mod telemetry;

/// The functions of the contract: the real ones, or the fake host's.
pub(crate) mod backend {
    #[cfg(target_arch = "wasm32")]
    pub(crate) use crate::bindings::discovery::narthex::plugin::{publisher, telemetry};
    #[cfg(target_arch = "wasm32")]
    pub(crate) use crate::bindings::host::narthex::plugin::{
        clock, dns, environment, events, files, http, log, query, random, system,
    };
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) use crate::fake::backend::{
        clock, dns, environment, events, files, http, log, publisher, query, random, system,
        telemetry,
    };
}
