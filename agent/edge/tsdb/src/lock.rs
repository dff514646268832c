//! The lock of the data folder: the file `lock`, locked as Prometheus locks it, so that neither
//! Prometheus nor a second Narthex works in a folder that is in use.
//!
//! The file stays when the lock is released, for a file that is removed could be locked by two. It
//! holds the number of the process that has the lock; empty, it tells of a clean end.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

const FILE: &str = "lock";

pub(crate) struct FolderLock {
    file: File,
    was_clean: bool,
}

#[derive(Debug)]
pub(crate) enum LockError {
    /// Another process has it; its number, where it says so.
    Taken(Option<u32>),
    Io(io::Error),
}

impl FolderLock {
    pub(crate) fn take(folder: &Path) -> Result<Self, LockError> {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(folder.join(FILE)).map_err(LockError::Io)?;
        let locked = file.try_lock();
        let mut text = String::new();
        // What is no text was not written by us and says nothing.
        let _ = file.read_to_string(&mut text);
        match locked {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::Taken(text.trim().parse().ok()));
            }
            Err(TryLockError::Error(error)) => return Err(LockError::Io(error)),
        }
        // The number is a help for people; a full disk is no reason not to start.
        let _ = write_pid(&mut file);
        Ok(FolderLock {
            file,
            was_clean: text.is_empty(),
        })
    }

    /// Whether nobody had died holding the lock.
    pub(crate) fn was_clean(&self) -> bool {
        self.was_clean
    }

    pub(crate) fn release(&self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.unlock()
    }
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = FolderLock::take(folder.path()).unwrap();
        assert!(first.was_clean());
        match FolderLock::take(folder.path()) {
            Err(LockError::Taken(pid)) => assert_eq!(pid, Some(std::process::id())),
            _ => panic!("the lock was given twice"),
        }
        first.release().unwrap();
        let second = FolderLock::take(folder.path()).unwrap();
        assert!(second.was_clean());
        drop(second);
        assert!(!FolderLock::take(folder.path()).unwrap().was_clean());
    }
}
