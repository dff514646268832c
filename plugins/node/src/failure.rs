//! Why a collector did not succeed.

use std::fmt;

use narthex_plugin_sdk::{CallError, Error, FileError};

#[derive(Debug)]
pub(crate) enum Failure {
    /// The machine has nothing of this kind; no reason to alarm anyone.
    NoData(Error),
    Failed(Error),
}

impl Failure {
    pub(crate) fn new(message: impl fmt::Display) -> Failure {
        Failure::Failed(Error::new(message))
    }

    /// The operating system keeps it from us, which is no reason for alarm either.
    pub(crate) fn no_data(path: &str, error: &FileError) -> Failure {
        Failure::NoData(Error::new(format!("{path}: {error}")))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::NoData(error) | Failure::Failed(error) => write!(f, "{error}"),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Failed(error)
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Failure::Failed(error.into())
    }
}

/// Names the file in an error about it.
pub(crate) trait At<T> {
    fn at(self, path: &str) -> Result<T, Failure>;

    /// As [`At::at`], where the file need not be there.
    fn at_if_there(self, path: &str) -> Result<T, Failure>;
}

impl<T> At<T> for Result<T, FileError> {
    fn at(self, path: &str) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(format!("{path}: {error}")))
    }

    fn at_if_there(self, path: &str) -> Result<T, Failure> {
        self.map_err(|error| {
            let named = Error::new(format!("{path}: {error}"));
            match error.is_not_found() {
                true => Failure::NoData(named),
                false => Failure::Failed(named),
            }
        })
    }
}

impl<T> At<T> for Result<T, String> {
    fn at(self, path: &str) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(format!("{path}: {error}")))
    }

    fn at_if_there(self, path: &str) -> Result<T, Failure> {
        self.at(path)
    }
}
