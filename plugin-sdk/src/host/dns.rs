//! The domain name system, asked as the machine is set up to, for names that are declared and
//! granted.

use super::backend::dns;
use crate::DnsError;
pub use crate::bindings::host::narthex::plugin::dns::{Answer, RecordType, Service};

/// All records of one type, names without their last dot. A name that has other records only gives
/// nothing; one that is not there at all, the error [`crate::DnsErrorCode::NotFound`].
pub fn lookup(name: &str, kind: RecordType) -> Result<Vec<Answer>, DnsError> {
    dns::lookup(name, kind).map_err(DnsError::from)
}
