//! A disk that fails at a step, and one that remembers what would survive power loss.
//!
//! Of a file that survives what it held at its last sync; of a folder the names at its last sync.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::folder::Change;

thread_local! {
    static DISK: RefCell<Disk> = RefCell::default();
}

#[derive(Default)]
struct Disk {
    failing: Option<Failing>,
    memory: Option<Memory>,
}

struct Failing {
    /// Steps that work before.
    left: u64,
    /// It is this step alone that fails.
    once: bool,
}

/// Runs `task` with so many steps to go. The next one fails, and unless it is this `once`, all
/// behind it too. Tells whether the steps were enough.
pub(crate) fn failing<T>(steps: u64, once: bool, task: impl FnOnce() -> T) -> (T, bool) {
    let failing = Failing { left: steps, once };
    DISK.with_borrow_mut(|disk| disk.failing = Some(failing));
    let result = task();
    let left = DISK.with_borrow_mut(|disk| disk.failing.take());
    (result, left.is_some_and(|failing| failing.left > 0))
}

/// Runs `task` on a folder, of which all that is there is safe; gives what power loss could leave
/// after each step: first what was made safe and nothing else, then with names that were not, in the
/// folder itself, in those below, and in both.
pub(crate) fn losing_power(folder: &Path, task: impl FnOnce()) -> Vec<[Tree; 4]> {
    let memory = Memory::of(folder);
    DISK.with_borrow_mut(|disk| disk.memory = Some(memory));
    task();
    let memory = DISK.with_borrow_mut(|disk| disk.memory.take());
    memory.unwrap().moments
}

pub(crate) fn before() -> io::Result<()> {
    DISK.with_borrow_mut(|disk| {
        let Some(failing) = &mut disk.failing else {
            return Ok(());
        };
        if failing.left > 0 {
            failing.left -= 1;
            return Ok(());
        }
        if failing.once {
            disk.failing = None;
        }
        Err(io::Error::new(
            io::ErrorKind::StorageFull,
            "failed by the test",
        ))
    })
}

pub(crate) fn after(change: &Change<'_>) {
    DISK.with_borrow_mut(|disk| {
        if let Some(memory) = &mut disk.memory {
            memory.note(change);
        }
    });
}

/// Files with their bytes, folders without, below one folder.
pub(crate) type Tree = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// Lays a tree down below a folder.
pub(crate) fn lay_down(tree: &Tree, folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    for (path, content) in tree {
        let path = folder.join(path);
        match content {
            None => std::fs::create_dir_all(&path).unwrap(),
            Some(content) => std::fs::write(&path, content).unwrap(),
        }
    }
}

/// Numbers of what is in a folder.
type Names = BTreeMap<String, usize>;

enum Node {
    File { safe: Vec<u8> },
    Folder { safe: Names, now: Names },
}

struct Memory {
    root: PathBuf,
    /// The first is the root.
    nodes: Vec<Node>,
    moments: Vec<[Tree; 4]>,
}

impl Memory {
    fn of(root: &Path) -> Self {
        let mut memory = Memory {
            root: root.to_owned(),
            nodes: Vec::new(),
            moments: Vec::new(),
        };
        memory.import(root);
        memory
    }

    fn import(&mut self, path: &Path) -> usize {
        let number = self.nodes.len();
        if !path.is_dir() {
            let safe = std::fs::read(path).unwrap();
            self.nodes.push(Node::File { safe });
            return number;
        }
        self.nodes.push(folder(Names::new()));
        let mut names = Names::new();
        for entry in std::fs::read_dir(path).unwrap() {
            let entry = entry.unwrap();
            let node = self.import(&entry.path());
            names.insert(entry.file_name().into_string().unwrap(), node);
        }
        self.nodes[number] = folder(names);
        number
    }

    fn note(&mut self, change: &Change<'_>) {
        match change {
            Change::Create(path) => {
                let node = self.add(Node::File { safe: Vec::new() });
                self.link(path, Some(node));
            }
            Change::Write => return,
            Change::Sync(path) => {
                if let Some(number) = self.find(path) {
                    let safe = std::fs::read(path).unwrap();
                    self.nodes[number] = Node::File { safe };
                }
            }
            Change::Folder(path) => self.make_folders(path),
            Change::SyncFolder(path) => {
                if let Some(number) = self.find(path)
                    && let Node::Folder { safe, now } = &mut self.nodes[number]
                {
                    safe.clone_from(now);
                }
            }
            Change::Rename(from, to) => {
                let node = self.find(from);
                self.link(from, None);
                self.link(to, node);
            }
            Change::Link(from, to) => {
                let node = self.find(from);
                self.link(to, node);
            }
            Change::Remove(path) => self.link(path, None),
        }
        let modes = [(true, true), (false, true), (true, false), (false, false)];
        let trees = modes.map(|(safe, safe_below)| self.tree(safe, safe_below));
        self.moments.push(trees);
    }

    fn add(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn make_folders(&mut self, path: &Path) {
        if self.find(path).is_none() && path.starts_with(&self.root) {
            self.make_folders(path.parent().unwrap());
            let node = self.add(folder(Names::new()));
            self.link(path, Some(node));
        }
    }

    fn find(&self, path: &Path) -> Option<usize> {
        let inside = path.strip_prefix(&self.root).ok()?;
        inside
            .iter()
            .try_fold(0, |number, name| match &self.nodes[number] {
                Node::Folder { now, .. } => now.get(name.to_str().unwrap()).copied(),
                Node::File { .. } => None,
            })
    }

    /// Gives a name to a node, or takes it away.
    fn link(&mut self, path: &Path, node: Option<usize>) {
        let Some(parent) = path.parent().and_then(|parent| self.find(parent)) else {
            return;
        };
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if let Node::Folder { now, .. } = &mut self.nodes[parent] {
            match node {
                Some(node) => now.insert(name, node),
                None => now.remove(&name),
            };
        }
    }

    /// With the safe names only, or all, in the folder itself and in those below it.
    fn tree(&self, only_safe: bool, only_safe_below: bool) -> Tree {
        let mut tree = Tree::new();
        self.add_to(&mut tree, Path::new(""), 0, (only_safe, only_safe_below));
        tree
    }

    fn add_to(&self, tree: &mut Tree, path: &Path, number: usize, only_safe: (bool, bool)) {
        match &self.nodes[number] {
            Node::File { safe } => {
                tree.insert(path.to_owned(), Some(safe.clone()));
            }
            Node::Folder { safe, now } => {
                tree.insert(path.to_owned(), None);
                let below = (only_safe.1, only_safe.1);
                for (name, child) in if only_safe.0 { safe } else { now } {
                    self.add_to(tree, &path.join(name), *child, below);
                }
            }
        }
    }
}

fn folder(names: Names) -> Node {
    Node::Folder {
        safe: names.clone(),
        now: names,
    }
}
