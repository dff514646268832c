//! `narthex plugin`: what it says where something is wrong, cases that fail, recording, and writing
//! grants. That it works is shown by the guide, which is followed elsewhere.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::agent::{PATIENCE, plugin};
use crate::server::{Answer, Target};

/// The binary is on the PATH; what cargo builds, and crates it has, are kept from one run to the
/// next.
pub(crate) fn environment(command: &mut Command) {
    let binary = Path::new(env!("CARGO_BIN_EXE_narthex"));
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let own = [binary.parent().unwrap().to_owned()].into_iter();
    let path = std::env::join_paths(own.chain(std::env::split_paths(&path))).unwrap();
    command
        .env("PATH", path)
        .env("CARGO_TARGET_DIR", kept.join("written-plugins"))
        .env("LC_ALL", "C")
        .env("CARGO_NET_OFFLINE", "true")
        // What is built takes less room so.
        .env("CARGO_INCREMENTAL", "0")
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("CARGO_PROFILE_TEST_DEBUG", "0")
        .env("NARTHEX_PLUGIN_SDK", sdk())
        .env("XDG_CACHE_HOME", kept.join("cache"))
        .stdin(Stdio::null());
}

fn sdk() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugin-sdk")
}

/// What a command gave.
struct Done {
    code: i32,
    printed: String,
    said: String,
}

/// An empty folder in which commands are run.
pub(crate) struct Desk {
    pub(crate) folder: PathBuf,
    /// Removes it at the end.
    _temporary: Option<TempDir>,
    /// Keeps other processes from it until the end.
    _lock: Option<File>,
}

impl Desk {
    fn new() -> Desk {
        let folder = tempfile::tempdir().unwrap();
        Desk {
            folder: folder.path().to_owned(),
            _temporary: Some(folder),
            _lock: None,
        }
    }

    /// For projects that are built: always at the same place, as cargo keeps what it builds by the
    /// place of the sources.
    pub(crate) fn at(name: &str) -> Desk {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("desks");
        fs::create_dir_all(&kept).unwrap();
        let lock = File::create(kept.join(format!("{name}.lock"))).unwrap();
        lock.lock().unwrap();
        let folder = kept.join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        Desk {
            folder,
            _temporary: None,
            _lock: Some(lock),
        }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    fn write(&self, file: &str, content: impl AsRef<[u8]>) {
        let path = self.path(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap()
    }

    fn run(&self, arguments: &[&str]) -> Done {
        self.run_with(arguments, |_| {})
    }

    fn run_with(&self, arguments: &[&str], change: impl FnOnce(&mut Command)) -> Done {
        let mut command = Command::new(env!("CARGO_BIN_EXE_narthex"));
        command.arg("plugin").args(arguments);
        command.current_dir(&self.folder);
        environment(&mut command);
        change(&mut command);
        let output = command.output().unwrap();
        let [printed, said] =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        Done {
            code: output.status.code().unwrap(),
            printed,
            said,
        }
    }

    /// The last line of what it says when it fails.
    fn error(&self, arguments: &[&str]) -> String {
        let done = self.run(arguments);
        assert_eq!(done.code, 1, "{arguments:?}: {}{}", done.printed, done.said);
        done.said
    }

    /// A project that depends on nothing.
    fn project(&self, name: &str, library: &str, source: &str) {
        let manifest = format!(
            "[package]\nname = \"{name}\"\nedition = \"2024\"\n[workspace]\n[lib]\n{library}\n"
        );
        self.write(&format!("{name}/Cargo.toml"), manifest);
        self.write(&format!("{name}/src/lib.rs"), source);
    }
}

const CDYLIB: &str = "crate-type = [\"cdylib\"]";

#[test]
fn what_is_wrong_is_said_with_what_to_do() {
    let desk = Desk::at("wrong");
    fs::create_dir(desk.path("there")).unwrap();
    fs::create_dir(desk.path("empty")).unwrap();
    desk.project("rlib", "", "");
    desk.project("broken", CDYLIB, "pub fn a( {}");
    desk.project("odd", "path = 3", "");
    desk.project("case", CDYLIB, "");
    desk.write("case/fixtures/one/case.yml", "colections: 2\n");
    desk.project("answer", CDYLIB, "");
    desk.write(
        "answer/fixtures/one/http.yml",
        "- url: http://a/\n  body_file: none\n",
    );
    desk.write("void.wasm", "");
    desk.write("text.wasm", "this is no module");
    desk.write("program.wasm", b"\x7fELF\x02\x01\x01\x00\x00\x00");
    desk.write("module.wasm", b"\0asm\x01\0\0\0");
    let shipped = fs::read(plugin("custom-metric")).unwrap();
    desk.write("cut.wasm", &shipped[..shipped.len() / 2]);
    desk.write("newer.wasm", replaced(&shipped, b"@1.0.0", b"@7.3.0"));
    let node = plugin("node").display().to_string();
    let metric = plugin("custom-metric").display().to_string();
    for (arguments, expected) in [
        (
            vec!["new", "Bad Name", "--kind", "exporter"],
            "`Bad Name` is no name for a plugin: small letters",
        ),
        (vec!["new", "fn", "--kind", "exporter"], "a word of Rust"),
        (
            vec!["new", "there", "--kind", "discovery"],
            "there is a there already",
        ),
        (
            vec!["new", "a", "--kind", "exporter", "--sdk", "empty"],
            "--sdk empty: there is no empty/Cargo.toml of narthex-plugin-sdk",
        ),
        (
            vec!["build", "nowhere"],
            "there is no nowhere/Cargo.toml: name a plugin's file, or the folder of its project",
        ),
        (
            vec!["build", "rlib"],
            "[lib] must have crate-type = [\"cdylib\", \"rlib\"]",
        ),
        (
            vec!["build", "broken"],
            "broken was not built; why is said above",
        ),
        (vec!["build", "odd"], "cargo cannot read odd/Cargo.toml"),
        (
            vec!["test", "broken"],
            "the tests of broken failed; why is said above",
        ),
        (
            vec!["test", "case"],
            "case/fixtures/one/case.yml:1:1: colections: unknown field; did you mean `collections`?",
        ),
        (
            vec!["test", "answer"],
            "answer/fixtures/one/http.yml:2:14: [0].body_file: `none` can't be read",
        ),
        (vec!["test", "rlib", "--case", "x"], "cdylib"),
        (
            vec!["inspect", "nowhere.wasm"],
            "nowhere.wasm: No such file",
        ),
        (vec!["inspect", "void.wasm"], "void.wasm: the file is empty"),
        (
            vec!["inspect", "text.wasm"],
            "text.wasm: the file is not WebAssembly",
        ),
        (
            vec!["inspect", "program.wasm"],
            "it is a program for this machine; build it with `cargo build",
        ),
        (vec!["inspect", "module.wasm"], "this is no Narthex plugin"),
        (vec!["inspect", "cut.wasm"], "not valid WebAssembly"),
        (
            vec!["inspect", "newer.wasm"],
            "version 7.3.0 of the contract narthex:plugin, and this Narthex speaks 0.1 and 1.0: update Narthex",
        ),
        (
            vec!["run", &node, "--once"],
            "plugin node waits for a grant: run it with --grant-all, or with --grant '{ files: [",
        ),
        (
            vec!["run", &node, "--once", "--grant", "fils: [/proc]"],
            "--grant: fils: unknown field; did you mean `files`?",
        ),
        (
            vec!["run", &metric, "--once", "--config", "[a]"],
            "--config: expected a mapping",
        ),
        (
            vec!["run", &metric, "--once", "--config", "a: ["],
            "--config: line ",
        ),
        (
            vec!["run", &metric, "--once", "--config", "@none.yml"],
            "--config: none.yml: No such file",
        ),
        (
            vec!["bench", &metric, "--case", "a"],
            "there is no case fixtures/a",
        ),
        (
            vec!["allow", "nothing"],
            "nothing: there is no such file, and no plugins/nothing.wasm in the plugin folder",
        ),
    ] {
        let said = desk.error(&arguments);
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
    for arguments in [
        vec!["new"],
        vec!["new", "a", "--kind", "sword"],
        vec!["run", "--interval", "soon"],
        vec!["fly"],
    ] {
        assert_eq!(desk.run(&arguments).code, 2, "{arguments:?}");
    }
    let no_way = desk.run_with(&["build", "case"], |command| {
        command.env("NARTHEX_WASM_TOOLCHAIN", "sword");
    });
    let expected = "NARTHEX_WASM_TOOLCHAIN is neither rustup nor debian\n";
    assert!(
        no_way.code == 1 && no_way.said.contains(expected),
        "{}",
        no_way.said
    );
    let without_cargo = desk.run_with(&["build", "case"], |command| {
        command.env("PATH", desk.path("empty"));
    });
    let expected = "the program cargo is not there, which builds plugins; it comes with Rust";
    assert!(
        without_cargo.said.contains(expected),
        "{}",
        without_cargo.said
    );
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for at in 0..bytes.len() - from.len() {
        if bytes[at..].starts_with(from) {
            bytes[at..at + to.len()].copy_from_slice(to);
        }
    }
    bytes
}

#[test]
fn a_file_is_measured_and_told_as_json() {
    let desk = Desk::new();
    let file = plugin("custom-metric").display().to_string();
    let done = desk.run(&["inspect", &file, "--json"]);
    let about: Value = serde_json::from_str(&done.printed).unwrap();
    assert_eq!(about["world"], "exporter");
    assert_eq!(about["contract"], "1.0");
    assert_eq!(about["sha256"].as_str().unwrap().len(), 64);
    let done = desk.run(&["bench", &file, "--collections", "3"]);
    for expected in [
        "world         this machine\n",
        "fuel          ",
        "series        1, ",
    ] {
        assert!(
            done.printed.contains(expected),
            "{}{}",
            done.printed,
            done.said
        );
    }
    let done = desk.run(&["run", &file, "--once"]);
    assert!(
        done.printed.contains("\ncustom_metric_example "),
        "{}",
        done.printed
    );
}

#[test]
fn each_command_has_an_example() {
    let desk = Desk::new();
    for command in ["new", "build", "test", "run", "bench", "inspect", "allow"] {
        let help = desk.run(&[command, "--help"]);
        let (_, example) = help.printed.split_once("\nExample").unwrap();
        assert!(
            example.contains(&format!("\n  narthex plugin {command}")),
            "{example}"
        );
    }
}

/// A plugin that runs on the terminal.
struct OnTerminal {
    process: Child,
    seen: Arc<Mutex<String>>,
}

impl OnTerminal {
    fn start(desk: &Desk, arguments: &[&str]) -> OnTerminal {
        let mut command = Command::new(env!("CARGO_BIN_EXE_narthex"));
        command.args(["plugin", "run"]).args(arguments);
        command.current_dir(&desk.folder);
        environment(&mut command);
        let mut process = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let seen = Arc::new(Mutex::new(String::new()));
        let outputs: [Box<dyn Read + Send>; 2] = [
            Box::new(process.stdout.take().unwrap()),
            Box::new(process.stderr.take().unwrap()),
        ];
        for output in outputs {
            let seen = seen.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    *seen.lock().unwrap() += &format!("{line}\n");
                }
            });
        }
        OnTerminal { process, seen }
    }

    /// Waits for a text that comes after what was seen before; gives all that came with it.
    fn until(&self, text: &str) -> String {
        // What is built on the way takes its time.
        let patience = Instant::now() + 10 * PATIENCE;
        loop {
            let mut seen = self.seen.lock().unwrap();
            if seen.contains(text) {
                return std::mem::take(&mut *seen);
            }
            assert!(Instant::now() < patience, "{text} does not come: {seen}");
            drop(seen);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// As by ctrl-C. Gives the exit code.
    fn end(mut self) -> Option<i32> {
        let id = self.process.id().to_string();
        Command::new("kill").args(["-INT", &id]).status().unwrap();
        self.process.wait().unwrap().code()
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_file_runs_until_ctrl_c_and_a_new_one_takes_over() {
    let desk = Desk::new();
    desk.write("a.wasm", fs::read(plugin("custom-metric")).unwrap());
    let running = OnTerminal::start(&desk, &["a.wasm", "--interval", "100ms"]);
    running.until("\ncustom_metric_example ");
    desk.write("a.wasm", "no plugin");
    running.until("a.wasm: the file is not WebAssembly: it starts with");
    running.until("\ncustom_metric_example ");
    // An old one, which is a discovery.
    desk.write("a.wasm", fs::read(plugin("file")).unwrap());
    running.until("plugin a waits for a grant: run it with --grant-all");
    running.until("\ncustom_metric_example ");
    assert_eq!(running.end(), Some(0));
}

#[test]
fn a_discovery_runs_on_the_terminal() {
    let desk = Desk::new();
    desk.write(
        "list/a.json",
        r#"[{"targets": ["a:1"], "labels": {"x": "y"}}]"#,
    );
    let file = plugin("file").display().to_string();
    let config = format!("files: [\"{}\"]", desk.path("list/*.json").display());
    let arguments = [&file, "--grant-all", "--config", &config];
    let running = OnTerminal::start(&desk, &arguments);
    running.until("  {__address__=\"a:1\"}\n");
    desk.write("list/a.json", "[]");
    running.until("a.json:0: gone\n");
    assert_eq!(running.end(), Some(0));
    let once = desk.run(&[&["run"], &arguments[..], &["--once"]].concat());
    assert_eq!(
        (once.code, once.printed.as_str()),
        (0, "# 0 groups\n"),
        "{}",
        once.said
    );
    let refused = desk.run(&["run", &file, "--grant-all", "--once"]);
    assert_eq!(refused.code, 1);
    assert!(
        refused
            .printed
            .contains("# failed: file_sd_configs: missing field `files`"),
        "{}",
        refused.printed
    );
}

#[test]
fn a_project_is_built_again_when_its_sources_change() {
    let desk = Desk::at("changing");
    let made = desk.run(&["new", "changing", "--kind", "exporter"]);
    assert_eq!(made.code, 0, "{}", made.said);
    let status = r#"{"requests": 7, "queues": [{"name": "a", "length": 1}]}"#;
    let target = Target::start(Answer::Metrics(status.to_owned()));
    let port = target.address().replace("127.0.0.1:", "");
    let source = "changing/src/lib.rs";
    let first = desk.read(source).replace("8080", &port);
    desk.write(source, &first);
    let built = desk.run(&["build", "changing"]);
    assert_eq!(built.code, 0, "{}", built.said);
    let arguments = ["changing", "--grant-all", "--interval", "200ms"];
    let running = OnTerminal::start(&desk, &arguments);
    running.until("# HELP changing_queue_length Jobs that wait, by queue.\n");
    desk.write(source, first.replace("Jobs that wait", "Those that wait"));
    running.until("# HELP changing_queue_length Those that wait, by queue.\n");
    // The change comes while it collects, and the collection is not lost.
    let answer = Answer::Metrics(status.to_owned());
    target.set(Answer::Never);
    std::thread::sleep(Duration::from_millis(500));
    desk.write(source, first.replace("fn collect", "fn colect"));
    running.until("changing was not built; why is said above; the former one goes on");
    target.set(answer);
    running.until("# HELP changing_queue_length Those that wait, by queue.\n");
    assert_eq!(running.end(), Some(0));
}

/// The whole life of a project's cases: they differ, ask for what is not there, and are recorded
/// anew.
#[test]
fn cases_fail_and_are_recorded() {
    let desk = Desk::at("recorded");
    let made = desk.run(&["new", "recorded", "--kind", "exporter"]);
    assert_eq!(made.code, 0, "{}", made.said);
    let target = Target::start(Answer::Metrics(
        r#"{"requests": 7, "queues": []}"#.to_owned(),
    ));
    let port = target.address().replace("127.0.0.1:", "");
    for file in ["src/lib.rs", "fixtures/all-well/http.yml"] {
        let file = format!("recorded/{file}");
        desk.write(&file, desk.read(&file).replace("8080", &port));
    }
    let expected = "recorded/fixtures/all-well/expected.txt";
    desk.write(expected, desk.read(expected).replace("1027", "1028"));
    let test = |more: &[&str]| {
        let arguments = [&["test", "recorded", "--case", "all-well"], more].concat();
        desk.run(&arguments)
    };
    let done = test(&[]);
    assert_eq!(done.code, 1);
    let diff = "case all-well: differs (- expected, + given); --update takes what is given\n";
    assert!(
        done.printed.starts_with(diff),
        "{}{}",
        done.printed,
        done.said
    );
    for line in [
        "\n-recorded_requests_total 1028\n",
        "\n+recorded_requests_total 1027\n",
    ] {
        assert!(done.printed.contains(line), "{}", done.printed);
    }
    assert!(
        done.said
            .ends_with("error: 1 of the recorded cases failed\n"),
        "{}",
        done.said
    );

    desk.write("recorded/fixtures/all-well/http.yml", "");
    let done = test(&["--update"]);
    let missing = format!("  http.yml has no answer to GET http://127.0.0.1:{port}/status\n");
    assert!(
        done.code == 1 && done.printed.ends_with(&missing),
        "{}",
        done.printed
    );

    let done = test(&["--record"]);
    assert_eq!(done.printed, "case all-well: written\n", "{}", done.said);
    let line = "# after 0s: warning: the server has no queues url=";
    assert!(
        desk.read(expected).starts_with(line),
        "{}",
        desk.read(expected)
    );
    assert!(desk.read(expected).ends_with("recorded_requests_total 7\n"));
    // From now on nobody is asked.
    target.set(Answer::Status(500));
    let done = test(&[]);
    assert_eq!(done.printed, "case all-well: ok\n", "{}", done.said);

    desk.write(
        "recorded/fixtures/all-well/case.yml",
        "grant: { files: / }\n",
    );
    let done = test(&[]);
    let waits =
        "case.yml: grant: with this the plugin would wait and not run; it wants recorded: {";
    assert!(done.said.contains(waits), "{}", done.said);

    desk.write(
        "recorded/fixtures/all-well/case.yml",
        "config: { ulr: x }\n",
    );
    let done = test(&[]);
    let refused =
        "+# failed: plugin recorded refuses the configuration of job recorded, field ulr: ";
    assert!(done.printed.contains(refused), "{}", done.printed);
}

#[test]
fn a_grant_is_written_and_nothing_else() {
    let desk = Desk::new();
    desk.write("etc/plugins/node.wasm", fs::read(plugin("node")).unwrap());
    let own = "# mine\nplugins:\n  limits: { series: 5000 } # enough\n\nquery: { threads: 2 }\n";
    desk.write("etc/narthex.yml", own);
    let allow = |more: &[&str]| {
        let arguments = [
            &["allow", "node", "--narthex.config.file", "etc/narthex.yml"],
            more,
        ];
        desk.run(&arguments.concat())
    };
    let shown = allow(&[]).printed;
    assert!(
        shown.starts_with("plugins:\n  grants:\n    node: { files: ["),
        "{shown}"
    );
    assert_eq!(desk.read("etc/narthex.yml"), own);
    let done = allow(&["--write"]);
    assert_eq!(done.code, 0, "{}", done.said);
    let line = shown.lines().last().unwrap();
    let with_grant = own.replace("plugins:\n", &format!("plugins:\n  grants:\n{line}\n"));
    assert_eq!(desk.read("etc/narthex.yml"), with_grant);
    let metric = plugin("custom-metric").display().to_string();
    let nothing = desk.run(&["allow", &metric, "--write"]).printed;
    assert_eq!(nothing, "plugin custom-metric needs no grant\n");
    let again = allow(&["--write"]).printed;
    assert!(again.contains("has all that it needs"), "{again}");

    for (text, expected) in [
        (
            "plugins: { directory: plugins }\n",
            "not changed, as `plugins` is written on one line; add these lines by hand:\nplugins:\n  grants:\n    node: {",
        ),
        (
            "plugins:\n  grants:\n    node:\n      files: [/run]\n",
            "the grant of node is written on several lines",
        ),
        (
            "plugins:\n  grnats: {}\n",
            "etc/narthex.yml:2:3: plugins.grnats: unknown field; did you mean `grants`?",
        ),
        (
            "plugins:\n  grants:\n    node: { http: [{ url: 'http://a/', methods: [GET] }] }\n",
            "says more of requests than their URLs",
        ),
    ] {
        desk.write("etc/narthex.yml", text);
        let done = allow(&["--write"]);
        assert!(
            done.code == 1 && done.said.contains(expected),
            "{text}: {}",
            done.said
        );
        assert_eq!(desk.read("etc/narthex.yml"), text);
    }
}
