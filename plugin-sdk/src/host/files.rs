//! Reading files that are declared and granted. Paths are absolute.

use super::backend::files;
use crate::FileError;
pub use crate::bindings::host::narthex::plugin::files::{Entry, FileKind, Metadata};

/// The whole content.
pub fn read(path: &str) -> Result<Vec<u8>, FileError> {
    files::read(path).map_err(FileError::from)
}

/// As [`read`], with what is no UTF-8 replaced by U+FFFD.
pub fn read_text(path: &str) -> Result<String, FileError> {
    read(path).map(text)
}

/// As [`read`], for many small files in one crossing.
pub fn read_many(paths: &[String]) -> Vec<Result<Vec<u8>, FileError>> {
    files::read_many(paths)
        .into_iter()
        .map(|result| result.map_err(FileError::from))
        .collect()
}

/// A folder's entries, by name in byte order.
pub fn entries(path: &str) -> Result<Vec<Entry>, FileError> {
    files::entries(path).map_err(FileError::from)
}

/// What a path leads to, symbolic links followed.
pub fn stat(path: &str) -> Result<Metadata, FileError> {
    files::stat(path).map_err(FileError::from)
}

/// The text of a symbolic link. It may lead out of what is granted; reading it does not.
pub fn read_link(path: &str) -> Result<String, FileError> {
    files::read_link(path).map_err(FileError::from)
}

/// Where a path really lies, all symbolic links followed.
pub fn real_path(path: &str) -> Result<String, FileError> {
    files::real_path(path).map_err(FileError::from)
}

/// Bytes as text, with what is no UTF-8 replaced by U+FFFD.
pub fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}
