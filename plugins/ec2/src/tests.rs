//! The plugin against servers that the fake host plays: what is asked of them, with whose
//! credentials, and what becomes of what they answer.

mod api;
mod configuration;
mod credentials;
mod servers;
