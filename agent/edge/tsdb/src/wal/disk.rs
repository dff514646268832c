//! Where the log touches files to write: behind traits, so that a disk that fills up can be tested.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

pub(crate) trait Disk: Send + Sync {
    /// An empty file; one that is there is emptied.
    fn create(&self, path: &Path) -> io::Result<Box<dyn LogFile>>;

    /// A file that is there, as it is.
    fn open(&self, path: &Path) -> io::Result<Box<dyn LogFile>>;
}

pub(crate) trait LogFile: Send + Sync {
    /// Writes all bytes or fails; part of them may be written then.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    fn set_len(&self, length: u64) -> io::Result<()>;

    /// When this returns, what was written survives power loss.
    fn sync(&self) -> io::Result<()>;
}

pub(crate) struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).open(path)?;
        Ok(Box::new(file))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        Ok(Box::new(OpenOptions::new().write(true).open(path)?))
    }
}

impl LogFile for File {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        File::set_len(self, length)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Makes the names in a folder survive power loss.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
pub(crate) mod faulty {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use super::{Disk, LogFile, Path, RealDisk, io};

    /// The real disk, with room for so many bytes more and, on request, failing calls.
    #[derive(Clone)]
    pub(crate) struct FaultyDisk(Arc<Faults>);

    pub(crate) struct Faults {
        pub(crate) room_bytes: AtomicU64,
        pub(crate) cutting_fails: AtomicBool,
        pub(crate) syncing_fails: AtomicBool,
    }

    impl FaultyDisk {
        pub(crate) fn new() -> (Self, Arc<Faults>) {
            let faults = Arc::new(Faults {
                room_bytes: AtomicU64::new(u64::MAX),
                cutting_fails: AtomicBool::new(false),
                syncing_fails: AtomicBool::new(false),
            });
            (FaultyDisk(faults.clone()), faults)
        }
    }

    struct FaultyFile(Box<dyn LogFile>, Arc<Faults>);

    impl Disk for FaultyDisk {
        fn create(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
            Ok(Box::new(FaultyFile(RealDisk.create(path)?, self.0.clone())))
        }

        fn open(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
            Ok(Box::new(FaultyFile(RealDisk.open(path)?, self.0.clone())))
        }
    }

    impl LogFile for FaultyFile {
        fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
            let room = self.1.room_bytes.load(Ordering::SeqCst);
            let fitting = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
            self.0.write_at(&bytes[..fitting], offset)?;
            self.1
                .room_bytes
                .store(room - fitting as u64, Ordering::SeqCst);
            if fitting < bytes.len() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            Ok(())
        }

        fn set_len(&self, length: u64) -> io::Result<()> {
            if self.1.cutting_fails.load(Ordering::SeqCst) {
                return Err(io::Error::other("cutting fails"));
            }
            self.0.set_len(length)
        }

        fn sync(&self) -> io::Result<()> {
            if self.1.syncing_fails.load(Ordering::SeqCst) {
                return Err(io::Error::other("syncing fails"));
            }
            self.0.sync()
        }
    }
}
