//! The guide for those who write plugins, followed word for word: its files are written, its commands
//! run with the real binary, and what they print is compared with what the page shows.
//!
//! `…` on the page stands for anything on its line. A command that ends in `&` goes on running, and
//! one that asks it is repeated until it has the answer. The page's port is replaced by a free one.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::agent::{PATIENCE, free_port};
use crate::plugin_tools::{Desk, environment};

const PAGE: &str = include_str!("../../plugin-sdk/GUIDE.md");

/// What the page has the reader do.
#[derive(Debug, PartialEq)]
enum Step {
    Write { file: String, content: String },
    Run { command: String, shown: String },
}

fn steps(page: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.strip_prefix("```").filter(|info| !info.is_empty()) else {
            continue;
        };
        let content: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        match info.split_once(' ') {
            Some((_, file)) => steps.push(Step::Write {
                file: file.to_owned(),
                content: content.iter().flat_map(|line| [*line, "\n"]).collect(),
            }),
            None if info == "console" => steps.extend(commands(&content)),
            None => {}
        }
    }
    steps
}

fn commands(lines: &[&str]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in lines {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) => steps.push(Step::Run {
                command: command.to_owned(),
                shown: String::new(),
            }),
            (None, Some(Step::Run { shown, .. })) => shown.push_str(&format!("{line}\n")),
            (None, _) => panic!("the page shows output without a command: {line}"),
        }
    }
    steps
}

/// Whether what was printed is what the page shows.
fn is_as_shown(shown: &str, printed: &str) -> bool {
    let (shown, printed): (Vec<&str>, Vec<&str>) =
        (shown.lines().collect(), printed.lines().collect());
    let is_so = |(shown, printed): (&&str, &&str)| matches(shown, printed);
    shown.len() == printed.len() && shown.iter().zip(&printed).all(is_so)
}

fn matches(pattern: &str, line: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('…') else {
        return pattern == line;
    };
    let Some(line) = line.strip_prefix(head) else {
        return false;
    };
    let ends = line.char_indices().map(|(at, _)| at).chain([line.len()]);
    // Something must stand there.
    ends.skip(1).any(|at| matches(rest, &line[at..]))
}

/// Someone who follows the page.
struct Reader {
    folder: PathBuf,
    /// In the place of the page's; taken when it is needed, as it may not stay free for long.
    port: Option<u16>,
    running: Vec<Child>,
}

impl Reader {
    fn follow(&mut self, step: &Step) {
        match step {
            Step::Write { file, content } => {
                let path = self.folder.join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, content).unwrap();
            }
            Step::Run { command, shown } => self.run(command, shown),
        }
    }

    fn run(&mut self, command: &str, shown: &str) {
        println!("$ {command}");
        let mut command = command.to_owned();
        if command.contains(":9090") {
            let port = *self.port.get_or_insert_with(free_port);
            command = command.replace(":9090", &format!(":{port}"));
        }
        if let Some(folder) = command.strip_prefix("cd ") {
            self.folder = self.folder.join(folder).canonicalize().unwrap();
        } else if let Some(command) = command.strip_suffix(" &") {
            let mut shell = self.shell(&format!("exec {command}"));
            self.running
                .push(shell.stdout(Stdio::null()).spawn().unwrap());
        } else {
            let patience = Instant::now() + PATIENCE;
            loop {
                let output = self.shell(&command).output().unwrap();
                let printed = String::from_utf8_lossy(&output.stdout);
                if output.status.success() && is_as_shown(shown, &printed) {
                    return;
                }
                assert!(
                    !self.running.is_empty() && Instant::now() < patience,
                    "{command}\nthe page shows:\n{shown}it printed:\n{printed}and said:\n{}",
                    String::from_utf8_lossy(&output.stderr)
                );
                std::thread::sleep(std::time::Duration::from_millis(200));
            }
        }
    }

    fn shell(&self, command: &str) -> Command {
        let mut shell = Command::new("bash");
        shell.args(["-c", command]).current_dir(&self.folder);
        environment(&mut shell);
        shell
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        for process in &mut self.running {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

#[test]
fn the_guide_does_what_it_says() {
    let desk = Desk::at("guide");
    let mut reader = Reader {
        folder: desk.folder,
        port: None,
        running: Vec::new(),
    };
    let steps = steps(PAGE);
    assert!(steps.len() > 20, "{steps:?}");
    for step in &steps {
        reader.follow(step);
    }
}

#[test]
fn the_page_is_read_as_it_is_meant() {
    let page =
        "text\n```console\n$ a b\nc …\n\n$ cd d\n```\n```rust e.rs\nf\n```\n```yaml\ng\n```\n";
    let run = |command: &str, shown: &str| Step::Run {
        command: command.to_owned(),
        shown: shown.to_owned(),
    };
    let write = Step::Write {
        file: "e.rs".to_owned(),
        content: "f\n".to_owned(),
    };
    assert_eq!(steps(page), [run("a b", "c …\n\n"), run("cd d", ""), write]);
    for (shown, printed, expected) in [
        ("a\n", "a\n", true),
        ("a\n", "a\nb\n", false),
        ("a … c\n", "a b c\n", true),
        ("a … c\n", "a  c\n", false),
        ("…, …\n", "é, é\n", true),
        ("…\n", "\n", false),
        ("a…\n", "b\n", false),
    ] {
        assert_eq!(is_as_shown(shown, printed), expected, "{shown}{printed}");
    }
}
