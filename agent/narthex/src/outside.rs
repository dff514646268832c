//! What the plugin host is handed of the rest.

use std::sync::Arc;

use narthex_extension::Queries;
use narthex_plugin_host::{FieldFault, Outside};

/// `queries`: the store that plugins may ask, if there is one.
pub(crate) fn outside(queries: Option<Arc<dyn Queries>>) -> Outside {
    Outside {
        http_config: Arc::new(|json, directory| {
            let read = narthex_config::http_config(json, directory);
            read.map_err(|(field, message)| FieldFault { field, message })
        }),
        queries,
    }
}
