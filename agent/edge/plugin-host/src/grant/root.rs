//! Where a plugin's files lie: on the machine, or below a folder that it sees as `/`.

use std::io;
use std::path::{Component, Path, PathBuf};

use crate::host::files::real_path;

/// Paths are as the plugin sees them, but for [`Root::on_disk`]. Without a folder they are the
/// machine's own.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Root(pub(crate) Option<PathBuf>);

impl Root {
    /// Where a path leads.
    pub(super) fn real(&self, path: &Path) -> io::Result<PathBuf> {
        let real = real_path(&self.on_disk(path))?;
        match &self.0 {
            None => Ok(real),
            Some(root) => match real.strip_prefix(root) {
                Ok(below) => Ok(Path::new("/").join(below)),
                // A link that leads out of the folder.
                Err(_) => Err(io::ErrorKind::NotFound.into()),
            },
        }
    }

    /// Where a path leads, as far as it is there; the rest is taken as it is written.
    pub(super) fn place(&self, path: &Path) -> PathBuf {
        let there = path
            .ancestors()
            .find_map(|ancestor| Some((ancestor, self.real(ancestor).ok()?)));
        let Some((ancestor, real)) = there else {
            return normal(path);
        };
        match path.strip_prefix(ancestor) {
            Ok(rest) if rest.as_os_str().is_empty() => real,
            Ok(rest) => normal(&real.join(rest)),
            Err(_) => normal(path),
        }
    }

    /// Where what lies at a path is to be opened.
    pub(super) fn on_disk(&self, path: &Path) -> PathBuf {
        match &self.0 {
            None => path.to_owned(),
            Some(root) => root.join(path.strip_prefix("/").unwrap_or(path)),
        }
    }

    /// The way back.
    pub(crate) fn seen(&self, on_disk: PathBuf) -> PathBuf {
        match self.0.as_ref().map(|root| on_disk.strip_prefix(root)) {
            Some(Ok(below)) => Path::new("/").join(below),
            _ => on_disk,
        }
    }
}

/// Without `.` and `..`, by text alone: for paths that lead nowhere.
pub(super) fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}
