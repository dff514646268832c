//! A file as bytes in memory, without reading it first: the system loads the parts that are
//! looked at and drops them again when memory is short.
//!
//! Keeps true: this is the only place that maps files, so the only one that needs `unsafe` for it.
//! To be used for files of the data folder alone, which one process owns by its lock and which are
//! never shortened or rewritten once they are mapped: appended to, renamed or removed at most.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::Path;

use memmap2::{Advice, Mmap};

/// The bytes that a file had when it was mapped. They stay readable when the file is removed.
#[derive(Debug)]
pub struct MappedFile {
    /// None for an empty file, which cannot be mapped.
    map: Option<Mmap>,
}

impl MappedFile {
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        if file.metadata()?.len() == 0 {
            return Ok(MappedFile { map: None });
        }
        let map = map(&file)?;
        Ok(MappedFile { map: Some(map) })
    }

    /// Tells the system that the file will be read once from its start to its end.
    pub fn read_ahead(&self) {
        self.advise(Advice::Sequential);
    }

    /// Tells the system that short pieces in no order will be read, so that it need not read what
    /// lies around them.
    pub fn read_scattered(&self) {
        self.advise(Advice::Random);
    }

    fn advise(&self, advice: Advice) {
        if let Some(map) = &self.map {
            // A hint: without it reading is slower, no more.
            let _ = map.advise(advice);
        }
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.map.as_deref().unwrap_or_default()
    }
}

#[expect(
    unsafe_code,
    reason = "the bytes must not change while they are mapped, which no type can promise of a file; \
              the module's doc says why it holds for ours"
)]
fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: the data folder is locked by this process, and nothing in it shortens or overwrites
    // a file that is mapped.
    unsafe { Mmap::map(file) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_bytes_even_when_the_file_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, b"some bytes").unwrap();
        let mapped = MappedFile::open(&path).unwrap();
        mapped.read_ahead();
        std::fs::remove_file(&path).unwrap();
        mapped.read_scattered();
        assert_eq!(&*mapped, b"some bytes");
    }

    #[test]
    fn an_empty_file_has_no_bytes_and_a_missing_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        assert!(MappedFile::open(&path).is_err());
        std::fs::write(&path, b"").unwrap();
        let mapped = MappedFile::open(&path).unwrap();
        mapped.read_ahead();
        assert!(mapped.is_empty());
    }
}
