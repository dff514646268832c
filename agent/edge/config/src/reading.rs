//! One load in progress: reads files, remembers what to watch, collects faults and notices.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Fault, Faults};
use crate::schema::{self, Kind};
use crate::yaml::{self, Node};

/// Longer files are refused: no configuration is, and a device file has no end.
const MAX_FILE_BYTES: u64 = 64 << 20;

#[derive(Default)]
pub(crate) struct Reading {
    faults: Vec<Fault>,
    /// In the order in which they were read, which is that of their faults.
    files: Vec<PathBuf>,
    pub notices: Vec<String>,
    /// Files and patterns whose change means a reload.
    pub watched: BTreeSet<PathBuf>,
}

/// A file that was read and whose shape is right.
pub(crate) struct Document {
    pub path: PathBuf,
    pub root: Node,
    /// What relative paths in it are relative to.
    pub directory: PathBuf,
}

impl Document {
    pub(crate) fn new(path: &Path, root: Node) -> Self {
        Document {
            path: path.to_owned(),
            root,
            directory: directory_of(path),
        }
    }

    /// A path that stands in this document.
    pub(crate) fn resolve(&self, path: &str) -> PathBuf {
        resolve(&self.directory, path)
    }
}

impl Reading {
    /// Reads a file and checks its shape. None: it could not be read, or has faults; they are
    /// noted.
    pub(crate) fn document(&mut self, path: &Path, shape: Kind, hint: &str) -> Option<Document> {
        self.watched.insert(path.to_owned());
        self.files.push(path.to_owned());
        let mut faults = Faults::new(path);
        let text = match read(path) {
            Ok(text) => text,
            Err(reason) => {
                let separator = if hint.is_empty() { "" } else { ": " };
                faults.push_file(format!("{reason}{separator}{hint}"));
                self.faults.extend(faults.into_found());
                return None;
            }
        };
        let root = match yaml::parse(&text) {
            Ok(root) => root,
            Err(error) => {
                faults.push(error.at, "", error.message);
                self.faults.extend(faults.into_found());
                return None;
            }
        };
        schema::check(&root, shape, &mut faults);
        let sound = faults.is_empty();
        self.faults.extend(faults.into_found());
        sound.then(|| Document::new(path, root))
    }

    /// All faults, by file and line.
    pub(crate) fn take_faults(&mut self) -> Vec<Fault> {
        let mut faults = std::mem::take(&mut self.faults);
        let rank = |fault: &Fault| self.files.iter().position(|file| *file == fault.file);
        faults.sort_by_key(|fault| (rank(fault), fault.line, fault.column));
        faults
    }

    /// Runs what builds a part from a document, collecting its faults.
    pub(crate) fn build<T>(
        &mut self,
        path: &Path,
        build: impl FnOnce(&mut Faults, &mut Vec<String>) -> T,
    ) -> T {
        let mut faults = Faults::new(path);
        let mut notices = Vec::new();
        let built = build(&mut faults, &mut notices);
        self.faults.extend(faults.into_found());
        let shown = path.display();
        self.notices.extend(
            notices
                .into_iter()
                .map(|notice| format!("{shown}:{notice}")),
        );
        built
    }
}

/// What the user should know though nothing is wrong: `line: field: text`.
pub(crate) fn note(notices: &mut Vec<String>, node: &Node, text: &str) {
    notices.push(format!("{}: {}: {text}", node.at.line, node.path));
}

pub(crate) fn directory_of(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("")).to_owned()
}

pub(crate) fn resolve(directory: &Path, path: &str) -> PathBuf {
    directory.join(path)
}

/// For those who compare paths: absolute, without `.`.
pub(crate) fn absolute(directory: &Path, path: &str) -> PathBuf {
    let mut joined = resolve(directory, path);
    if joined.as_os_str().is_empty() {
        // The folder of a file that was named without any.
        joined.push(".");
    }
    std::path::absolute(&joined)
        .unwrap_or(joined)
        .components()
        .collect()
}

fn read(path: &Path) -> Result<String, String> {
    let metadata = fs::metadata(path).map_err(|error| reason(&error))?;
    if metadata.is_dir() {
        return Err("is a folder, expected a file".to_owned());
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(format!("is larger than {} MB", MAX_FILE_BYTES >> 20));
    }
    let bytes = fs::read(path).map_err(|error| reason(&error))?;
    String::from_utf8(bytes).map_err(|error| {
        let before = error.as_bytes().get(..error.utf8_error().valid_up_to());
        let line = before.map_or(0, |text| text.iter().filter(|b| **b == b'\n').count()) + 1;
        format!("is not UTF-8 text (line {line})")
    })
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "may not be read (permission denied)".to_owned(),
        _ => format!("can't be read: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_named_without_a_folder_is_in_the_working_directory() {
        let here = std::env::current_dir().unwrap();
        for (directory, path, expected) in [
            ("", "", here.clone()),
            ("", ".", here.clone()),
            ("", "a/b", here.join("a/b")),
            ("./a", "b", here.join("a/b")),
            ("/a", "b", "/a/b".into()),
            ("a", "/b", "/b".into()),
        ] {
            let found = absolute(Path::new(directory), path);
            assert_eq!(found, expected, "{directory:?} {path:?}");
        }
    }
}
