//! A real Narthex in a folder of its own, on free ports, for one test.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take that is expected to happen. Wide, as machines can be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Agent {
    folder: TempDir,
    data: PathBuf,
    extra_flags: Vec<String>,
    process: Option<Child>,
    port: u16,
}

impl Agent {
    /// A folder with an empty `prometheus.yml`; nothing runs yet.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("plugins")).unwrap();
        fs::create_dir(folder.path().join("scripts")).unwrap();
        let agent = Agent {
            data: folder.path().join("data"),
            folder,
            extra_flags: Vec::new(),
            process: None,
            port: free_port(),
        };
        agent.write("prometheus.yml", "");
        agent
    }

    pub(crate) fn flag(mut self, flag: &str) -> Self {
        self.extra_flags.push(flag.to_owned());
        self
    }

    /// Another data folder than its own.
    pub(crate) fn data(mut self, folder: PathBuf) -> Self {
        self.data = folder;
        self
    }

    pub(crate) fn with(self, file: &str, content: &str) -> Self {
        self.write(file, content);
        self
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    pub(crate) fn write(&self, file: &str, content: &str) {
        let path = self.path(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Starts it and waits until it is ready.
    pub(crate) fn start(mut self) -> Self {
        self.spawn();
        self.when_ready()
    }

    pub(crate) fn when_ready(mut self) -> Self {
        let ready = self.url("/-/ready");
        let started = Instant::now();
        loop {
            if get_text(&ready).is_ok_and(|(status, _)| status == 200) {
                return self;
            }
            let ended = self.process.as_mut().and_then(|p| p.try_wait().unwrap());
            assert!(ended.is_none(), "ended with {ended:?}:\n{}", self.log());
            assert!(started.elapsed() < PATIENCE, "not ready:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Starts it, expecting it to end by itself; gives its code and what it said.
    pub(crate) fn run_to_end(mut self) -> (ExitStatus, String) {
        self.spawn();
        let status = self.wait_for_end();
        (status, self.log())
    }

    pub(crate) fn wait_for_end(&mut self) -> ExitStatus {
        let process = self.process.as_mut().unwrap();
        let started = Instant::now();
        loop {
            if let Some(status) = process.try_wait().unwrap() {
                self.process = None;
                return status;
            }
            assert!(started.elapsed() < PATIENCE, "still runs");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Starts it without waiting.
    pub(crate) fn spawn(&mut self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.path("log"))
            .unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_narthex"))
            .arg(format!(
                "--config.file={}",
                self.path("prometheus.yml").display()
            ))
            .arg(format!("--storage.tsdb.path={}", self.data.display()))
            .arg(format!("--web.listen-address={}", self.address()))
            .arg("--web.enable-lifecycle")
            .args(&self.extra_flags)
            .stdout(Stdio::from(log.try_clone().unwrap()))
            .stderr(Stdio::from(log))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        self.process = Some(process);
    }

    /// SIGKILL, then a start on the same folder.
    pub(crate) fn kill_and_restart(mut self) -> Self {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
        self.start()
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.process.as_ref().unwrap().id().to_string();
        let status = Command::new("kill")
            .args(["-s", name, &id])
            .status()
            .unwrap();
        assert!(status.success());
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        let (_, text) = get_text(&self.url(path)).unwrap();
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}: {text}"))
    }

    pub(crate) fn text(&self, path: &str) -> (u16, String) {
        get_text(&self.url(path)).unwrap()
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> (u16, String) {
        post_text(&self.url(path), body).unwrap()
    }

    /// Posts a form; gives the code and the answer.
    pub(crate) fn ask(&self, path: &str, form: &[(&str, &str)]) -> (u16, Value) {
        let pairs = form.iter().map(|(name, value)| (*name, *value));
        let response = client().post(&self.url(path)).send_form(pairs).unwrap();
        let (status, text) = answer(response).unwrap();
        let json = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}: {text}"));
        (status, json)
    }

    /// The most memory that it has had.
    pub(crate) fn peak_memory_bytes(&self) -> u64 {
        let id = self.process.as_ref().unwrap().id();
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.unwrap().split_whitespace().next().unwrap();
        kib.parse::<u64>().unwrap() * 1024
    }

    /// The value of a metric of its own that has no labels, or the sum over its labels.
    pub(crate) fn own_metric(&self, name: &str) -> f64 {
        let (_, text) = self.text("/metrics");
        let values = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let is_name = rest.starts_with(['{', ' ']);
            is_name.then(|| rest.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        });
        values.sum()
    }

    /// The result list of an instant query.
    pub(crate) fn query(&self, expr: &str) -> Vec<Value> {
        let answer = self.get(&format!("/api/v1/query?query={}", encode(expr)));
        assert_eq!(answer["status"], "success", "{expr}: {answer}");
        answer["data"]["result"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    }

    /// The value of the one series that a query gives; None if it gives none.
    pub(crate) fn value(&self, expr: &str) -> Option<f64> {
        let result = self.query(expr);
        assert!(result.len() <= 1, "{expr}: {result:?}");
        Some(result.first()?["value"][1].as_str()?.parse().unwrap())
    }

    /// Waits until `condition` holds; fails with the log and `what` if it never does.
    pub(crate) fn until(&self, what: &str, mut condition: impl FnMut(&Agent) -> bool) {
        let started = Instant::now();
        while !condition(self) {
            assert!(
                started.elapsed() < PATIENCE,
                "never: {what}\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may have ended already.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// The plugins that `plugins/build.sh` has built.
pub(crate) fn plugin(name: &str) -> PathBuf {
    let binary = Path::new(env!("CARGO_BIN_EXE_narthex"));
    let target = binary.parent().unwrap().parent().unwrap();
    let path = target.join("plugins").join(format!("{name}.wasm"));
    assert!(
        path.is_file(),
        "{} is missing: run plugins/build.sh (or make test)",
        path.display()
    );
    path
}

fn encode(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    text.bytes()
        .map(|b| {
            if plain(b) {
                (b as char).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

fn get_text(url: &str) -> Result<(u16, String), ureq::Error> {
    answer(client().get(url).call()?)
}

fn post_text(url: &str, body: &str) -> Result<(u16, String), ureq::Error> {
    answer(
        client()
            .post(url)
            .content_type("application/json")
            .send(body)?,
    )
}

fn client() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(PATIENCE))
        .build();
    config.into()
}

fn answer(response: ureq::http::Response<ureq::Body>) -> Result<(u16, String), ureq::Error> {
    let status = response.status().as_u16();
    Ok((status, response.into_body().read_to_string()?))
}
