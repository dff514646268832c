//! The parts as the HTTP API sees them: plain conversions, a file per trait of `web::backend`.

pub(crate) mod agent;
pub(crate) mod alerts;
pub(crate) mod extensions;
pub(crate) mod rules;
pub(crate) mod scraping;
