//! The query log's file: opened to append, a whole line at a time.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Default)]
pub(crate) struct LogFile(Mutex<Open>);

#[derive(Default)]
struct Open {
    file: Option<File>,
    /// Told once, not for every query on a full disk.
    failure_is_told: bool,
}

impl LogFile {
    pub(crate) fn set(&self, path: Option<&Path>) -> io::Result<()> {
        let open = |path: &Path| OpenOptions::new().append(true).create(true).open(path);
        let file = path.map(open).transpose()?;
        *self.lock() = Open {
            file,
            failure_is_told: false,
        };
        Ok(())
    }

    pub(crate) fn is_on(&self) -> bool {
        self.lock().file.is_some()
    }

    /// Whether the line is written, or there is no log.
    pub(crate) fn write(&self, line: &[u8]) -> bool {
        let mut open = self.lock();
        let Some(file) = &mut open.file else {
            return true;
        };
        match file.write_all(line) {
            Ok(()) => {
                open.failure_is_told = false;
                true
            }
            Err(error) => {
                if !open.failure_is_told {
                    tracing::error!("writing the query log: {error}; queries go on without it");
                    open.failure_is_told = true;
                }
                false
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
