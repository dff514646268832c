//! A server under measurement: Narthex or Prometheus as a child process.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

const READY_PATIENCE: Duration = Duration::from_secs(300);
const ANSWER_PATIENCE: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(2);
/// What the kernel counts CPU time in, on every Linux that matters.
const TICKS_PER_SECOND: f64 = 100.0;

pub(crate) struct Server {
    program: PathBuf,
    folder: PathBuf,
    port: u16,
    child: Child,
    /// Keeps connections, and takes any status for an answer.
    agent: ureq::Agent,
}

impl Server {
    /// Starts it on `folder/prometheus.yml` and `folder/data`; it may not be ready yet.
    pub(crate) fn start(program: &Path, folder: &Path) -> Result<Self> {
        let port = free_port()?;
        Ok(Server {
            program: program.to_owned(),
            folder: folder.to_owned(),
            port,
            child: spawn(program, folder, port)?,
            agent: ureq::Agent::config_builder()
                .http_status_as_error(false)
                .timeout_global(Some(ANSWER_PATIENCE))
                .build()
                .new_agent(),
        })
    }

    pub(crate) fn restart(&mut self) -> Result<()> {
        self.child = spawn(&self.program, &self.folder, self.port)?;
        Ok(())
    }

    /// Waits until it says that it is ready; gives how long that took.
    pub(crate) fn wait_ready(&mut self) -> Result<Duration> {
        let start = Instant::now();
        let url = self.url("/-/ready");
        loop {
            if ureq::get(&url).call().is_ok() {
                return Ok(start.elapsed());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "{} ended ({status}); {}",
                    self.program.display(),
                    self.log_hint()
                );
            }
            if start.elapsed() > READY_PATIENCE {
                bail!(
                    "{} is not ready; {}",
                    self.program.display(),
                    self.log_hint()
                );
            }
            std::thread::sleep(POLL);
        }
    }

    /// Ends it as power users and the kernel's memory killer do.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Ends it in order.
    pub(crate) fn terminate(&mut self) -> Result<()> {
        let pid = self.child.id().to_string();
        Command::new("kill").arg(&pid).status()?;
        self.child.wait()?;
        Ok(())
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// CPU seconds used so far, of user and system.
    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        cpu_seconds(&self.child)
    }

    /// Resident memory now (`VmRSS`) or at its highest (`VmHWM`).
    pub(crate) fn memory_bytes(&self, field: &str) -> Result<f64> {
        memory_bytes(&self.child, field)
    }

    /// From here on the highest resident memory counts anew.
    pub(crate) fn reset_peak(&self) -> Result<()> {
        const HIGHEST_RESIDENT: &str = "5";
        let path = format!("/proc/{}/clear_refs", self.child.id());
        fs::write(&path, HIGHEST_RESIDENT).with_context(|| path.clone())
    }

    /// The sum over a metric's series on its own metrics page.
    pub(crate) fn own_metric(&self, name: &str) -> Result<f64> {
        let page = ureq::get(self.url("/metrics")).call()?.into_body();
        let page = page.into_with_config().limit(64 << 20).read_to_string()?;
        let of_metric = |line: &&str| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with([' ', '{']))
        };
        let values = page.lines().filter(of_metric);
        let values = values.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
        Ok(values.sum())
    }

    pub(crate) fn get(&self, path_and_query: &str) -> Result<Value> {
        let url = self.url(path_and_query);
        let body = ureq::get(&url).call().with_context(|| url.clone())?;
        let body = body.into_body();
        let text = body.into_with_config().limit(1 << 30).read_to_string()?;
        serde_json::from_str(&text).with_context(|| format!("{url} gave no JSON"))
    }

    /// The body of an answer, whatever its status, which comes with it.
    pub(crate) fn ask(&self, path_and_query: &str) -> Result<(u16, String)> {
        let url = self.url(path_and_query);
        let request = self.agent.get(&url).call();
        let answer = request.with_context(|| format!("{url}; {}", self.log_hint()))?;
        let status = answer.status().as_u16();
        let body = answer.into_body();
        let text = body.into_with_config().limit(4 << 30).read_to_string()?;
        Ok((status, text))
    }

    pub(crate) fn post(&self, path: &str) -> Result<Value> {
        let url = self.url(path);
        let answer = ureq::post(&url).send_empty();
        let text = answer.with_context(|| url.clone())?;
        let text = text.into_body().read_to_string()?;
        serde_json::from_str(&text).with_context(|| format!("{url} gave no JSON"))
    }

    fn log_hint(&self) -> String {
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(5).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        format!("its log ends:\n{}", tail.join("\n"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(program: &Path, folder: &Path, port: u16) -> Result<Child> {
    let log = File::options()
        .create(true)
        .append(true)
        .open(folder.join("log"))?;
    let child = Command::new(program)
        .arg("--config.file=prometheus.yml")
        .arg("--storage.tsdb.path=data")
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg("--web.enable-admin-api")
        // What is compared may be of any time.
        .arg("--storage.tsdb.retention.time=100y")
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn();
    child.with_context(|| format!("starting {}", program.display()))
}

/// CPU seconds that a process has used so far, of user and system.
pub(crate) fn cpu_seconds(process: &Child) -> Result<f64> {
    let stat = proc(process, "stat")?;
    let (_, fields) = stat.rsplit_once(") ").context("an odd /proc/PID/stat")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let field = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok());
    match (field(11), field(12)) {
        (Some(user), Some(system)) => Ok((user + system) / TICKS_PER_SECOND),
        _ => bail!("an odd /proc/PID/stat: {stat}"),
    }
}

/// A process's resident memory now (`VmRSS`) or at its highest (`VmHWM`).
pub(crate) fn memory_bytes(process: &Child, field: &str) -> Result<f64> {
    let status = proc(process, "status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    Ok(kib.with_context(|| format!("no {field} in /proc/PID/status"))? * 1024.0)
}

fn proc(process: &Child, file: &str) -> Result<String> {
    let path = format!("/proc/{}/{file}", process.id());
    fs::read_to_string(&path).with_context(|| path.clone())
}

pub(crate) fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?.port())
}

/// Bytes of all files below a folder; 0 where there is none.
pub(crate) fn folder_bytes(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    let size = |path: PathBuf| match fs::symlink_metadata(&path) {
        Ok(metadata) if metadata.is_dir() => folder_bytes(&path),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.flatten().map(|entry| size(entry.path())).sum()
}
