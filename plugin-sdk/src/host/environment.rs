//! Environment variables that are declared and granted.

use super::backend::environment;
use crate::CallError;

/// None where the variable is not set.
pub fn get(name: &str) -> Result<Option<String>, CallError> {
    environment::get(name).map_err(CallError::from)
}
