//! What is said on standard output once the agent is ready: where to look, what is running.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use narthex_config::Loaded;
use narthex_discovery::EntryState;
use narthex_plugin_host::{PluginState, PluginStatus};

use crate::cli::Flags;
use crate::parts::Parts;

/// How long plugins may take to load before the announcement is made without them.
const PATIENCE: Duration = Duration::from_secs(20);

/// From a discovery's first targets to their loops.
const SETTLING: Duration = Duration::from_millis(300);

/// Waits until plugins are loaded and discoveries have given their first targets.
pub(crate) async fn settled(parts: &Parts, loaded: &Loaded) {
    let directory = &loaded.plugin_host.directory;
    let settled = async {
        while !is_settled(parts, plugin_files(directory)) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        tokio::time::sleep(SETTLING).await;
    };
    if tokio::time::timeout(PATIENCE, settled).await.is_err() {
        tracing::warn!("some plugins or discoveries are still starting");
    }
}

fn is_settled(parts: &Parts, plugin_files: usize) -> bool {
    let plugins = parts.plugins.status();
    let is_there = |name: &str| plugins.iter().any(|p| p.name == name && is_alive(p.state));
    plugins.len() >= plugin_files
        && !plugins
            .iter()
            .any(|plugin| plugin.state == PluginState::Loading)
        && !parts
            .discovery
            .status()
            .iter()
            .any(|entry| match entry.state {
                EntryState::Starting => true,
                EntryState::WaitingForPlugin => is_there(&entry.provider),
                _ => false,
            })
}

fn is_alive(state: PluginState) -> bool {
    matches!(state, PluginState::Loading | PluginState::Running)
}

fn plugin_files(directory: &Path) -> usize {
    let Ok(listing) = std::fs::read_dir(directory) else {
        return 0;
    };
    let is_plugin = |path: &Path| path.extension().is_some_and(|ending| ending == "wasm");
    listing
        .flatten()
        .filter(|entry| is_plugin(&entry.path()))
        .count()
}

/// Ends with an empty line, so that a reader knows where it ends.
pub(crate) fn announce(parts: &Parts, loaded: &Loaded, flags: &Flags, addresses: &[SocketAddr]) {
    let text = text(parts, loaded, flags, addresses);
    let mut out = std::io::stdout().lock();
    // Nobody may be reading; that harms nothing.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn text(parts: &Parts, loaded: &Loaded, flags: &Flags, addresses: &[SocketAddr]) -> String {
    let urls: Vec<String> = addresses
        .iter()
        .map(|address| format!("http://{address}/"))
        .collect();
    let mut text = format!(
        "Narthex {} is ready: {}\n",
        env!("CARGO_PKG_VERSION"),
        urls.join(" ")
    );
    let plugins = parts.plugins.status();
    let scripts = parts.scripts.status();
    let rules: usize = loaded
        .prometheus
        .rule_groups
        .iter()
        .map(|group| group.rules.len())
        .sum();
    let groups = loaded.prometheus.rule_groups.len();
    let lines = [
        ("scraping", jobs(parts)),
        (
            "plugins",
            plugins.iter().map(plugin).collect::<Vec<_>>().join(", "),
        ),
        (
            "scripts",
            scripts
                .iter()
                .map(|s| s.name.clone())
                .collect::<Vec<_>>()
                .join(", "),
        ),
        ("rules", format!("{rules} in {groups} groups")),
        ("alerts to", receivers(parts, loaded)),
        ("data in", flags.storage_path.display().to_string()),
    ];
    for (name, what) in lines {
        // Writing into a String does not fail.
        let _ = writeln!(
            text,
            "  {name:<10} {}",
            if what.is_empty() { "none" } else { &what }
        );
    }
    text.push('\n');
    text
}

/// Each job with its targets.
fn jobs(parts: &Parts) -> String {
    let mut jobs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for target in parts.scrape.targets().active {
        jobs.entry(target.scrape_pool)
            .or_default()
            .insert(target.scrape_url);
    }
    let shown = |urls: &BTreeSet<String>| match urls.len() {
        0..=3 => urls.iter().cloned().collect::<Vec<_>>().join(" "),
        more => format!("{more} targets"),
    };
    let jobs: Vec<String> = jobs
        .iter()
        .map(|(job, urls)| format!("{job} ({})", shown(urls)))
        .collect();
    jobs.join(", ")
}

fn plugin(status: &PluginStatus) -> String {
    match status.state {
        PluginState::Running => status.name.clone(),
        state => format!("{} ({state})", status.name),
    }
}

/// The receivers of `alertmanager.yml`, and the Alertmanagers that alerts are forwarded to.
fn receivers(parts: &Parts, loaded: &Loaded) -> String {
    let own = loaded.notify.iter().flat_map(|notify| &notify.receivers);
    let mut names: Vec<String> = own.map(|receiver| receiver.name.clone()).collect();
    names.extend(parts.notify.alertmanagers());
    names.join(", ")
}
