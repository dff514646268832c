//! Errors: what a plugin returns, and what host calls give it.

use std::fmt;

use crate::bindings::exporter::narthex::plugin::files::FileError as RawFileError;

/// Why a collection or a run failed: a sentence for the user. Every standard error turns into it
/// with `?`.
#[derive(Clone, PartialEq, Eq)]
pub struct Error(String);

impl Error {
    pub fn new(message: impl fmt::Display) -> Self {
        Error(message.to_string())
    }

    /// Puts what was being done before what went wrong: `reading /proc/stat: no such file`.
    pub fn context(self, what: impl fmt::Display) -> Self {
        Error(format!("{what}: {}", self.0))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// `Error` itself is no `std::error::Error`, which is what allows this.
impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        Error(error.to_string())
    }
}

/// What is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The field, as `files[2]`; empty where it is the whole.
    pub field: String,
    pub message: String,
}

impl ConfigError {
    pub fn new(field: impl Into<String>, message: impl fmt::Display) -> Self {
        ConfigError {
            field: field.into(),
            message: message.to_string(),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field.as_str() {
            "" => f.write_str(&self.message),
            field => write!(f, "{field}: {}", self.message),
        }
    }
}

impl std::error::Error for ConfigError {}

pub use crate::bindings::exporter::narthex::plugin::files::ErrorCode as FileErrorCode;

/// Why a file could not be read. Its text leaves the path out.
#[derive(Clone, Debug)]
pub struct FileError {
    pub code: FileErrorCode,
    pub message: String,
}

impl FileError {
    /// Whether the file is simply not there.
    pub fn is_not_found(&self) -> bool {
        self.code == FileErrorCode::NotFound
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for FileError {}

impl From<RawFileError> for FileError {
    fn from(error: RawFileError) -> Self {
        FileError {
            code: error.code,
            message: error.message,
        }
    }
}
