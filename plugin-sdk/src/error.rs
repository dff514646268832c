//! Errors: what a plugin returns, and what host calls give it.

use std::fmt;

use crate::bindings::host::narthex::plugin as raw;
pub use crate::bindings::host::narthex::plugin::dns::ErrorCode as DnsErrorCode;
pub use crate::bindings::host::narthex::plugin::files::ErrorCode as FileErrorCode;
pub use crate::bindings::host::narthex::plugin::http::ErrorCode as HttpErrorCode;

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

impl From<raw::plugin::ConfigError> for ConfigError {
    fn from(error: raw::plugin::ConfigError) -> Self {
        ConfigError {
            field: error.field,
            message: error.message,
        }
    }
}

impl From<ConfigError> for raw::plugin::ConfigError {
    fn from(error: ConfigError) -> Self {
        raw::plugin::ConfigError {
            field: error.field,
            message: error.message,
        }
    }
}

/// Why a call of the host gave nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// Not declared, or not granted by the user.
    NotGranted(String),
    /// One of `plugins.limits` is used up.
    Limit(String),
    /// The arguments make no sense.
    Invalid(String),
    /// The machine, or whoever was asked, could not.
    Failed(String),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::NotGranted(message)
            | CallError::Limit(message)
            | CallError::Invalid(message)
            | CallError::Failed(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for CallError {}

impl From<raw::plugin::CallError> for CallError {
    fn from(error: raw::plugin::CallError) -> Self {
        match error {
            raw::plugin::CallError::NotGranted(message) => CallError::NotGranted(message),
            raw::plugin::CallError::Limit(message) => CallError::Limit(message),
            raw::plugin::CallError::Invalid(message) => CallError::Invalid(message),
            raw::plugin::CallError::Failed(message) => CallError::Failed(message),
        }
    }
}

/// Defines an error that has a code to decide by and a text for people.
macro_rules! coded_error {
    ($(#[$doc:meta])* $name:ident, $code:ident, $raw:path) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            pub code: $code,
            pub message: String,
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.message)
            }
        }

        impl std::error::Error for $name {}

        impl From<$raw> for $name {
            fn from(error: $raw) -> Self {
                $name {
                    code: error.code,
                    message: error.message,
                }
            }
        }
    };
}

coded_error! {
    /// Why a file could not be read. Its text leaves the path out.
    FileError, FileErrorCode, raw::files::FileError
}

coded_error! {
    /// Why a request got no answer. Answers of any status are answers.
    HttpError, HttpErrorCode, raw::http::HttpError
}

coded_error! {
    /// Why a name could not be looked up.
    DnsError, DnsErrorCode, raw::dns::DnsError
}

impl FileError {
    /// Whether the file is simply not there.
    pub fn is_not_found(&self) -> bool {
        self.code == FileErrorCode::NotFound
    }
}
