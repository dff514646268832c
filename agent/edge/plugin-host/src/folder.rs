//! The plugin folder: which files are there, and which of them have come to rest.
//!
//! Knows nothing of what is in them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// A file that is being copied grows; it counts once it has stayed as it is for this long.
pub(crate) const REST: Duration = Duration::from_millis(200);

/// One `*.wasm` file of the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    pub(crate) stamp: Stamp,
}

/// By which a changed file is told from an unchanged one without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    size_bytes: u64,
    modified: Option<SystemTime>,
    identity: (u64, u64),
}

/// What was seen of the folder before.
#[derive(Default)]
pub(crate) struct Folder {
    seen: BTreeMap<String, (Stamp, Instant)>,
}

/// What the folder holds now.
#[derive(Debug, Default)]
pub(crate) struct View {
    /// All of them by name, those that still change among them.
    pub(crate) paths: BTreeMap<String, PathBuf>,
    /// Those that have come to rest.
    pub(crate) settled: BTreeMap<String, Found>,
}

impl View {
    pub(crate) fn is_settled(&self) -> bool {
        self.paths.len() == self.settled.len()
    }
}

impl Folder {
    pub(crate) fn look(
        &mut self,
        found: BTreeMap<String, Found>,
        now: Instant,
        wall: SystemTime,
    ) -> View {
        self.seen.retain(|name, _| found.contains_key(name));
        let mut view = View::default();
        for (name, found) in found {
            let since = match self.seen.get(&name) {
                Some((stamp, since)) if *stamp == found.stamp => *since,
                _ => now,
            };
            self.seen.insert(name.clone(), (found.stamp.clone(), since));
            let at_rest = now.duration_since(since) >= REST || found.stamp.is_old(wall);
            view.paths.insert(name.clone(), found.path.clone());
            if at_rest {
                view.settled.insert(name, found);
            }
        }
        view
    }
}

impl Stamp {
    /// Untouched for so long that nobody is writing to it: so a start need not wait.
    fn is_old(&self, wall: SystemTime) -> bool {
        self.modified
            .and_then(|modified| wall.duration_since(modified).ok())
            .is_some_and(|age| age > Duration::from_secs(5))
    }
}

/// The folder's plugins by name. A folder that is not there is empty.
pub(crate) fn scan(directory: &Path) -> io::Result<BTreeMap<String, Found>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    let mut found = BTreeMap::new();
    for entry in entries {
        let path = entry?.path();
        let Some(name) = plugin_name(&path) else {
            continue;
        };
        // A file that vanished meanwhile, or a link that leads nowhere, is not there.
        let Ok(metadata) = fs::metadata(&path) else {
            continue;
        };
        if metadata.is_dir() {
            continue;
        }
        let stamp = stamp(&metadata);
        found.insert(name, Found { path, stamp });
    }
    Ok(found)
}

/// `foo` of `foo.wasm`; hidden files are not meant.
fn plugin_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?.strip_suffix(".wasm")?;
    (!name.is_empty() && !name.starts_with('.')).then(|| name.to_owned())
}

fn stamp(metadata: &fs::Metadata) -> Stamp {
    use std::os::unix::fs::MetadataExt;
    Stamp {
        size_bytes: metadata.len(),
        modified: metadata.modified().ok(),
        identity: (metadata.dev(), metadata.ino()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_files() {
        for (path, expected) in [
            ("/p/foo.wasm", Some("foo")),
            ("/p/custom-metric.wasm", Some("custom-metric")),
            ("/p/.foo.wasm", None),
            ("/p/.wasm", None),
            ("/p/foo.wasm.tmp", None),
            ("/p/foo", None),
        ] {
            assert_eq!(plugin_name(Path::new(path)).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn a_file_counts_when_it_has_come_to_rest() {
        let start = Instant::now();
        let wall = SystemTime::now();
        let mut folder = Folder::default();
        let mut look = |ms: u64, files: &[(&str, u64)]| {
            let found = files
                .iter()
                .map(|&(name, size_bytes)| {
                    let stamp = Stamp {
                        size_bytes,
                        modified: Some(wall),
                        identity: (0, 0),
                    };
                    let path = PathBuf::from(name);
                    (name.to_owned(), Found { path, stamp })
                })
                .collect();
            let view = folder.look(found, start + Duration::from_millis(ms), wall);
            let settled: Vec<String> = view.settled.keys().cloned().collect();
            (settled.join(","), view.is_settled())
        };
        assert_eq!(look(0, &[("a", 1)]), (String::new(), false));
        assert_eq!(look(100, &[("a", 2)]), (String::new(), false));
        assert_eq!(look(250, &[("a", 2)]), (String::new(), false));
        assert_eq!(look(300, &[("a", 2), ("b", 1)]), ("a".to_owned(), false));
        assert_eq!(look(500, &[("a", 2), ("b", 1)]), ("a,b".to_owned(), true));
        assert_eq!(look(600, &[("b", 1)]), ("b".to_owned(), true));
    }

    #[test]
    fn an_old_file_counts_at_once() {
        let found = Found {
            path: PathBuf::from("a"),
            stamp: Stamp {
                size_bytes: 1,
                modified: Some(SystemTime::UNIX_EPOCH),
                identity: (0, 0),
            },
        };
        let found = BTreeMap::from([("a".to_owned(), found)]);
        let view = Folder::default().look(found, Instant::now(), SystemTime::now());
        assert!(view.is_settled());
    }

    #[test]
    fn a_folder_that_is_not_there_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        assert!(scan(&folder.path().join("missing")).unwrap().is_empty());
        fs::create_dir(folder.path().join("d.wasm")).unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("l.wasm")).unwrap();
        fs::write(folder.path().join("p.wasm"), "x").unwrap();
        let names: Vec<String> = scan(folder.path()).unwrap().into_keys().collect();
        assert_eq!(names, ["p"]);
    }
}
