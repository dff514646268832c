//! Where the notification log is kept: one file in the data folder, replaced as a whole.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

use narthex_notify::StateStore;

pub(crate) struct StateFile(pub(crate) PathBuf);

impl StateStore for StateFile {
    fn save(&self, bytes: &[u8]) -> io::Result<()> {
        let new = self.0.with_extension("tmp");
        let mut file = File::create(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, &self.0)
    }

    fn load(&self) -> io::Result<Option<Vec<u8>>> {
        match fs::read(&self.0) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
