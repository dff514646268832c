//! A real Narthex with the plugin, in a folder of its own.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::http::{ask, free_port};

/// How long anything may take that is expected to happen. Wide, as machines can be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// What tests set.
const VARIABLES: [&str; 7] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ENDPOINT_URL_STS",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
];

pub(crate) struct Agent {
    folder: TempDir,
    address: String,
    variables: BTreeMap<String, String>,
    urls: Vec<String>,
    process: Option<Child>,
}

/// The labels of a target before relabelling.
pub(crate) type Labels = BTreeMap<String, String>;

impl Agent {
    /// A folder; nothing runs yet.
    pub(crate) fn new() -> Self {
        Agent {
            folder: tempfile::tempdir().unwrap(),
            address: format!("127.0.0.1:{}", free_port()),
            variables: BTreeMap::new(),
            urls: Vec::new(),
            process: None,
        }
    }

    pub(crate) fn folder(&self) -> String {
        self.folder
            .path()
            .canonicalize()
            .unwrap()
            .display()
            .to_string()
    }

    pub(crate) fn with(self, file: &str, content: &str) -> Self {
        fs::write(self.folder.path().join(file), content).unwrap();
        self
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The plugin may ask this server.
    pub(crate) fn granted(mut self, url: &str) -> Self {
        self.urls.push(format!("{url}/*"));
        self
    }

    /// None, with a line that says so, where there is no Narthex or no plugin.
    pub(crate) fn start(mut self) -> Option<Self> {
        let found = |name| {
            let path = std::env::var(name);
            path.inspect_err(|_| eprintln!("skipped: {name} is not set"))
                .ok()
        };
        let (program, plugin) = (found("EC2_TEST_NARTHEX")?, found("EC2_TEST_PLUGIN")?);
        let folder = self.folder.path();
        fs::create_dir(folder.join("plugins")).unwrap();
        fs::copy(plugin, folder.join("plugins/ec2.wasm")).unwrap();
        fs::write(folder.join("narthex.yml"), self.grants()).unwrap();
        let log = File::create(folder.join("log")).unwrap();
        let mut command = Command::new(program);
        // Whatever the machine's own are.
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
            command.env_remove(name);
        }
        let process = command
            .envs(&self.variables)
            .arg(format!(
                "--config.file={}",
                folder.join("prometheus.yml").display()
            ))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.join("data").display()
            ))
            .arg(format!("--web.listen-address={}", self.address))
            .stdout(Stdio::from(log.try_clone().unwrap()))
            .stderr(Stdio::from(log))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        self.process = Some(process);
        self.until("ready", |agent| agent.try_get("/-/ready").is_some());
        Some(self)
    }

    /// Requests of `urls`, files of its folder, and what tests set in its environment.
    fn grants(&self) -> String {
        format!(
            "plugins: {{ grants: {{ ec2: {{ http: {:?}, files: [{:?}], env: {VARIABLES:?} }} }} }}\n",
            self.urls,
            self.folder()
        )
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Of the job with this name.
    pub(crate) fn targets(&self, job: &str) -> Vec<Labels> {
        let text = self
            .try_get("/api/v1/targets?state=dropped")
            .unwrap_or_default();
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        let targets = answer["data"]["droppedTargets"].as_array().cloned();
        let labels = targets.unwrap_or_default().into_iter().map(|target| {
            let labels = target["discoveredLabels"].clone();
            serde_json::from_value(labels).unwrap()
        });
        labels
            .filter(|labels: &Labels| labels["job"] == job)
            .collect()
    }

    /// What the plugin has taken.
    pub(crate) fn figures(&self) -> String {
        let metrics = self.try_get("/metrics").unwrap_or_default();
        let named = |line: &&str| {
            let name = line.strip_prefix("narthex_plugin_").unwrap_or_default();
            let names = ["load_duration_", "memory_peak_", "http_requests_total"];
            names.iter().any(|known| name.starts_with(known))
        };
        metrics
            .lines()
            .filter(named)
            .collect::<Vec<&str>>()
            .join("\n")
    }

    /// Waits until `condition` holds; fails with the log and `what` if it never does.
    pub(crate) fn until(&self, what: &str, mut condition: impl FnMut(&Agent) -> bool) {
        let started = Instant::now();
        while !condition(self) {
            let log = || self.log().chars().take(20_000).collect::<String>();
            assert!(started.elapsed() < PATIENCE, "never: {what}\n{}", log());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn try_get(&self, path: &str) -> Option<String> {
        let (status, body) = ask("GET", &self.address, path, &[], "")?;
        (status == 200).then_some(body)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may have ended already.
            let _ended = process.kill();
            let _ended = process.wait();
        }
    }
}
