//! Every case runs twice: with the system's notifications alone, and with polling alone.

use std::fs;
use std::path::Path;
use std::slice;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::timeout;

use super::*;

const NOTIFICATIONS_ONLY: Options = Options {
    debounce_ms: 60,
    max_delay_ms: 1000,
    poll_ms: 3_600_000,
};

const POLLING_ONLY: Options = Options {
    poll_ms: 40,
    ..NOTIFICATIONS_ONLY
};

/// Long enough for a busy machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

/// Long enough that a wrong report would have come.
const SILENCE: Duration = Duration::from_millis(400);

struct Case {
    name: &'static str,
    prepare: fn(&Path),
    watched: &'static [&'static str],
    change: fn(&Path),
    reported: &'static [&'static str],
}

fn write(path: impl AsRef<Path>, text: &str) {
    fs::write(path, text).unwrap();
}

fn symlink(target: &str, link: impl AsRef<Path>) {
    std::os::unix::fs::symlink(target, link).unwrap();
}

fn nothing(_: &Path) {}

/// As Kubernetes lays a ConfigMap out.
fn kubernetes_mount(root: &Path) {
    fs::create_dir(root.join("..v1")).unwrap();
    write(root.join("..v1/a.yml"), "one");
    symlink("..v1", root.join("..data"));
    symlink("..data/a.yml", root.join("a.yml"));
}

fn kubernetes_update(root: &Path) {
    fs::create_dir(root.join("..v2")).unwrap();
    write(root.join("..v2/a.yml"), "two");
    symlink("..v2", root.join("..data_tmp"));
    fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    fs::remove_dir_all(root.join("..v1")).unwrap();
}

const CASES: &[Case] = &[
    Case {
        name: "written in place",
        prepare: |root| write(root.join("a.yml"), "one"),
        watched: &["a.yml"],
        change: |root| write(root.join("a.yml"), "two"),
        reported: &["a.yml"],
    },
    Case {
        name: "replaced by a rename, size and all the same",
        prepare: |root| write(root.join("a.yml"), "one"),
        watched: &["a.yml"],
        change: |root| {
            write(root.join(".a.yml.tmp"), "two");
            fs::rename(root.join(".a.yml.tmp"), root.join("a.yml")).unwrap();
        },
        reported: &["a.yml"],
    },
    Case {
        name: "created later",
        prepare: nothing,
        watched: &["a.yml"],
        change: |root| write(root.join("a.yml"), "one"),
        reported: &["a.yml"],
    },
    Case {
        name: "created later together with its folders",
        prepare: nothing,
        watched: &["x/y/a.yml"],
        change: |root| {
            fs::create_dir_all(root.join("x/y")).unwrap();
            write(root.join("x/y/a.yml"), "one");
        },
        reported: &["x/y/a.yml"],
    },
    Case {
        name: "removed",
        prepare: |root| write(root.join("a.yml"), "one"),
        watched: &["a.yml", "b.yml"],
        change: |root| fs::remove_file(root.join("a.yml")).unwrap(),
        reported: &["a.yml"],
    },
    Case {
        name: "a symlink's target written",
        prepare: |root| {
            fs::create_dir(root.join("elsewhere")).unwrap();
            write(root.join("elsewhere/a.yml"), "one");
            symlink("elsewhere/a.yml", root.join("a.yml"));
        },
        watched: &["a.yml"],
        change: |root| write(root.join("elsewhere/a.yml"), "two"),
        reported: &["a.yml"],
    },
    Case {
        name: "a chain of symlinked folders re-pointed",
        prepare: kubernetes_mount,
        watched: &["a.yml"],
        change: kubernetes_update,
        reported: &["a.yml"],
    },
    Case {
        name: "a chain of symlinked folders re-pointed, watched as a folder",
        prepare: kubernetes_mount,
        watched: &["."],
        change: kubernetes_update,
        reported: &["./a.yml"],
    },
    Case {
        name: "a symlinked parent re-pointed",
        prepare: |root| {
            for (folder, text) in [("v1", "one"), ("v2", "two")] {
                fs::create_dir(root.join(folder)).unwrap();
                write(root.join(folder).join("a.yml"), text);
            }
            symlink("v1", root.join("current"));
        },
        watched: &["current/a.yml"],
        change: |root| {
            symlink("v2", root.join("next"));
            fs::rename(root.join("next"), root.join("current")).unwrap();
        },
        reported: &["current/a.yml"],
    },
    Case {
        name: "a folder's entries: new, changed and gone",
        prepare: |root| {
            fs::create_dir(root.join("plugins")).unwrap();
            for name in ["changed", "gone", "same"] {
                write(root.join("plugins").join(name), name);
            }
        },
        watched: &["plugins"],
        change: |root| {
            write(root.join("plugins/new"), "new");
            write(root.join("plugins/changed"), "otherwise");
            fs::remove_file(root.join("plugins/gone")).unwrap();
        },
        reported: &["plugins/changed", "plugins/gone", "plugins/new"],
    },
    Case {
        name: "a folder that comes later",
        prepare: nothing,
        watched: &["scripts"],
        change: |root| {
            fs::create_dir(root.join("scripts")).unwrap();
            write(root.join("scripts/a.rhai"), "1");
        },
        reported: &["scripts", "scripts/a.rhai"],
    },
    Case {
        name: "a pattern's matches",
        prepare: |root| {
            for name in ["a.yml", "b.yml", "c.txt"] {
                write(root.join(name), name);
            }
        },
        watched: &["*.yml"],
        change: |root| {
            fs::remove_file(root.join("a.yml")).unwrap();
            write(root.join("d.yml"), "new");
            write(root.join("c.txt"), "unwatched");
        },
        reported: &["a.yml", "d.yml"],
    },
    Case {
        name: "a pattern over folders",
        prepare: |root| fs::create_dir(root.join("one")).unwrap(),
        watched: &["*/rules-?.yml"],
        change: |root| {
            write(root.join("one/rules-1.yml"), "1");
            fs::create_dir(root.join("two")).unwrap();
            write(root.join("two/rules-2.yml"), "2");
        },
        reported: &["one/rules-1.yml", "two/rules-2.yml"],
    },
    Case {
        name: "a file whose name looks like a pattern",
        prepare: |root| write(root.join("a[1].yml"), "one"),
        watched: &["a[1].yml"],
        change: |root| write(root.join("a[1].yml"), "two"),
        reported: &["a[1].yml"],
    },
    Case {
        name: "the same content written again is no change",
        prepare: |root| {
            write(root.join("a.yml"), "one");
            write(root.join("b.yml"), "one");
        },
        watched: &["a.yml", "b.yml"],
        change: |root| {
            write(root.join("b.tmp"), "one");
            fs::rename(root.join("b.tmp"), root.join("b.yml")).unwrap();
            write(root.join("a.yml"), "two");
        },
        reported: &["a.yml"],
    },
];

fn under(root: &TempDir, names: &[&str]) -> Vec<PathBuf> {
    names.iter().map(|name| root.path().join(name)).collect()
}

async fn next(watcher: &mut Watcher) -> Vec<PathBuf> {
    timeout(PATIENCE, watcher.changed())
        .await
        .expect("no change was reported")
}

/// Reports until all of `wanted` has come; a slow machine may see one change in two steps.
async fn collect(watcher: &mut Watcher, wanted: usize) -> Vec<PathBuf> {
    let mut all = BTreeSet::new();
    while all.len() < wanted {
        let more = timeout(PATIENCE, watcher.changed()).await;
        all.extend(more.unwrap_or_else(|_| panic!("only these were reported: {all:?}")));
    }
    all.into_iter().collect()
}

async fn run_case(case: &Case, options: Options, notifications: bool) {
    let root = TempDir::new().unwrap();
    (case.prepare)(root.path());
    let mut watcher = Watcher::start(under(&root, case.watched), options, notifications);
    (case.change)(root.path());
    let reported = collect(&mut watcher, case.reported.len()).await;
    assert_eq!(reported, under(&root, case.reported), "{}", case.name);
}

#[tokio::test]
async fn sees_each_change_by_notifications_alone() {
    for case in CASES {
        run_case(case, NOTIFICATIONS_ONLY, true).await;
    }
}

#[tokio::test]
async fn sees_each_change_by_polling_alone() {
    for case in CASES {
        run_case(case, POLLING_ONLY, false).await;
    }
}

#[tokio::test]
async fn stays_silent_while_nothing_changes() {
    let root = TempDir::new().unwrap();
    write(root.path().join("a.yml"), "one");
    let mut watcher = Watcher::new(under(&root, &["a.yml", "none.yml"]), POLLING_ONLY);
    write(root.path().join("stranger.yml"), "one");
    let file = fs::File::open(root.path().join("a.yml")).unwrap();
    file.set_modified(std::time::SystemTime::now()).unwrap();
    assert!(timeout(SILENCE, watcher.changed()).await.is_err());
}

#[tokio::test]
async fn each_change_after_a_report_is_reported_too() {
    let root = TempDir::new().unwrap();
    let path = root.path().join("a.yml");
    let mut watcher = Watcher::new(vec![path.clone()], NOTIFICATIONS_ONLY);
    for round in 0..3 {
        write(&path, &format!("round {round}"));
        assert_eq!(next(&mut watcher).await.as_slice(), slice::from_ref(&path));
        fs::remove_file(&path).unwrap();
        assert_eq!(next(&mut watcher).await.as_slice(), slice::from_ref(&path));
    }
}

#[tokio::test]
async fn a_file_that_never_rests_is_reported_at_last() {
    let root = TempDir::new().unwrap();
    let path = root.path().join("a.yml");
    let options = Options {
        debounce_ms: 100,
        max_delay_ms: 300,
        poll_ms: 50,
    };
    let mut watcher = Watcher::new(vec![path.clone()], options);
    let writer = tokio::spawn({
        let path = path.clone();
        async move {
            for round in 0.. {
                write(&path, &format!("round {round}"));
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    });
    assert_eq!(next(&mut watcher).await, [path]);
    writer.abort();
}

#[tokio::test]
async fn a_dropped_wait_loses_nothing() {
    let root = TempDir::new().unwrap();
    let path = root.path().join("a.yml");
    let mut watcher = Watcher::new(vec![path.clone()], POLLING_ONLY);
    let waits = async {
        loop {
            if let Ok(paths) = timeout(Duration::from_millis(1), watcher.changed()).await {
                return paths;
            }
        }
    };
    write(&path, "one");
    assert_eq!(timeout(PATIENCE, waits).await.unwrap(), [path]);
}

#[tokio::test]
async fn other_paths_can_be_set() {
    let root = TempDir::new().unwrap();
    let [a, b, c] = ["a.yml", "b.yml", "c.yml"].map(|name| root.path().join(name));
    for path in [&a, &b, &c] {
        write(path, "one");
    }
    let mut watcher = Watcher::new(vec![a.clone(), b.clone()], NOTIFICATIONS_ONLY);
    // Still unreported when the paths are set: it must not get lost.
    write(&b, "two");
    watcher.set_paths(vec![b.clone(), c.clone()]);
    assert_eq!(next(&mut watcher).await.as_slice(), slice::from_ref(&b));
    write(&a, "two");
    write(&c, "two");
    assert_eq!(next(&mut watcher).await, [c]);
    assert!(timeout(SILENCE, watcher.changed()).await.is_err());
}
