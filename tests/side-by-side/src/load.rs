//! The load server: so many targets with so many series each, at `/t/<target>/metrics`.
//!
//! One thread a connection, answers rendered in one buffer that stays; the server should cost far
//! less than what is measured with it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};

use crate::arguments::Arguments;
use crate::pages::Page;

const THREAD_STACK_BYTES: usize = 256 << 10;

pub(crate) struct Load {
    pages: Vec<Page>,
    /// Scrapes that each target has answered.
    answered: Vec<AtomicU64>,
    address: SocketAddr,
}

impl Load {
    /// Serves until the process ends.
    pub(crate) fn start(listen: &str, targets: usize, series: usize) -> Result<Arc<Self>> {
        let listener =
            TcpListener::bind(listen).with_context(|| format!("listening on {listen}"))?;
        let load = Arc::new(Load {
            pages: (0..targets as u64).map(|t| Page::new(t, series)).collect(),
            answered: (0..targets).map(|_| AtomicU64::new(0)).collect(),
            address: listener.local_addr()?,
        });
        let serving = load.clone();
        spawn(move || {
            for stream in listener.incoming().flatten() {
                let load = serving.clone();
                // A connection that cannot be served is closed; the scraper tells.
                let _ = spawn(move || load.serve(&stream));
            }
        })?;
        Ok(load)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn page(&self, target: usize) -> Option<&Page> {
        self.pages.get(target)
    }

    /// A `prometheus.yml` that scrapes every target.
    pub(crate) fn prometheus_yml(&self, interval: &str) -> String {
        let mut yml = format!(
            "global:\n  scrape_interval: {interval}\n  scrape_timeout: {interval}\n\
             scrape_configs:\n  - job_name: load\n    static_configs:\n"
        );
        for target in 0..self.pages.len() {
            yml.push_str(&format!(
                "      - targets: [\"{}\"]\n        labels: {{__metrics_path__: /t/{target}/metrics, \
                 instance: \"target-{target}\", cluster: load, zone: \"zone-{}\"}}\n",
                self.address,
                target % 3
            ));
        }
        yml
    }

    /// Answers the requests of one connection; an error ends it.
    fn serve(&self, stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        let (mut head, mut body) = (String::new(), String::new());
        while let Some(path) = read_request(&mut reader, &mut head) {
            body.clear();
            let found = self.render(path, &mut body);
            let status = if found { "200 OK" } else { "404 Not Found" };
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            let mut out = stream;
            if out.write_all(head.as_bytes()).is_err() || out.write_all(body.as_bytes()).is_err() {
                return;
            }
        }
    }

    fn render(&self, path: &str, body: &mut String) -> bool {
        let target = path.strip_prefix("/t/");
        let target = target.and_then(|rest| rest.strip_suffix("/metrics")?.parse().ok());
        let Some((page, answered)) =
            target.and_then(|t: usize| Some((self.pages.get(t)?, self.answered.get(t)?)))
        else {
            return false;
        };
        page.render(answered.fetch_add(1, Ordering::SeqCst), body);
        true
    }
}

/// Reads one request's head; gives its path.
fn read_request<'a>(reader: &mut BufReader<&TcpStream>, head: &'a mut String) -> Option<&'a str> {
    head.clear();
    loop {
        let before = head.len();
        let limited = reader.by_ref().take(16 << 10).read_line(head).ok()?;
        if limited == 0 || head.len() > 64 << 10 {
            return None;
        }
        if head.get(before..)?.trim_end().is_empty() {
            break;
        }
    }
    head.split(' ').nth(1)
}

fn spawn(work: impl FnOnce() + Send + 'static) -> Result<()> {
    let thread = std::thread::Builder::new().stack_size(THREAD_STACK_BYTES);
    thread.spawn(work).context("starting a thread")?;
    Ok(())
}

pub(crate) fn serve_forever(arguments: &Arguments) -> Result<()> {
    let listen = arguments.text("listen").unwrap_or("127.0.0.1:9300");
    let (targets, series) = (
        arguments.number("targets", 300)?,
        arguments.number("series", 1000)?,
    );
    let load = Load::start(listen, targets, series)?;
    print(&format!(
        "serving {targets} targets with {series} series each at http://{}/t/0/metrics to /t/{}/metrics",
        load.address(),
        targets.saturating_sub(1)
    ));
    loop {
        std::thread::park();
    }
}

/// A line of this program's own output.
#[expect(clippy::print_stdout, reason = "printing is what this program is for")]
pub(crate) fn print(line: &str) {
    println!("{line}");
}
