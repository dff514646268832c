//! The plugins that come with Narthex, as `plugins/build.sh` leaves them.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use narthex_extension::Capabilities;
use narthex_model::MetricValue;

use super::discoveries::{run, until_groups};
use super::requests::{requesting, serve, serve_names};
use super::{Bench, reading, until, value_of};
use crate::{PluginState, World};

/// Where cargo and the scripts leave what they make.
pub(super) fn target_directory() -> PathBuf {
    let workspace = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../target");
    let named = std::env::var_os("CARGO_TARGET_DIR");
    named.map_or(PathBuf::from(workspace), PathBuf::from)
}

/// The built plugin, or none with a line that says so.
pub(super) fn built(name: &str) -> Option<Vec<u8>> {
    let path = target_directory().join(format!("plugins/{name}.wasm"));
    let path = path.display().to_string();
    match std::fs::read(&path) {
        Ok(bytes) => Some(bytes),
        Err(_) => {
            println!("skipped: {path} is not there; plugins/build.sh builds it");
            None
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn custom_metric_gives_a_value() {
    let Some(wasm) = built("custom-metric") else {
        return;
    };
    let bench = Bench::start();
    bench.install("custom-metric", &wasm);
    let families = bench.collect("custom-metric").await.unwrap();
    assert_eq!(families.len(), 1);
    assert_eq!(families[0].name, "custom_metric_example");
    assert_eq!(families[0].metadata.help, "An example custom metric");
    let mut values = Vec::new();
    for _ in 0..20 {
        let value = value_of(&bench.collect("custom-metric").await).unwrap();
        assert!(
            (0.0..=99.0).contains(&value) && value.fract() == 0.0,
            "{value}"
        );
        values.push(value);
    }
    assert!(values.iter().any(|value| *value != values[0]), "{values:?}");
    let status = bench
        .until_state("custom-metric", PluginState::Running)
        .await;
    let manifest = status.manifest.unwrap();
    assert_eq!(manifest.interval_ms, Some(5000));
    assert_eq!(manifest.version, env!("CARGO_PKG_VERSION"));
    let plugins = bench.handle.plugins();
    assert_eq!(plugins.borrow().exporters[0].interval_ms, Some(5000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn file_finds_targets_and_follows_them() {
    let Some(wasm) = built("file") else {
        return;
    };
    let mut bench = Bench::start();
    let targets = bench.path("targets");
    std::fs::create_dir(&targets).unwrap();
    let write = |name: &str, text: &str| std::fs::write(targets.join(name), text).unwrap();
    write(
        "a.json",
        r#"[{"targets": ["a:1", "a:2"], "labels": {"group": "production"}}]"#,
    );
    write("b.yml", "- targets: ['b:1']\n  labels: {group: develop}\n");
    bench.install("file", &wasm);
    let status = bench
        .until_state("file", PluginState::WaitingForGrant)
        .await;
    assert_eq!(status.world, Some(World::Discovery));
    bench
        .apply(|config| {
            config
                .grants
                .insert("file".to_owned(), reading(&[&targets]).into());
        })
        .await;

    let config = serde_json::json!({"files": ["targets/*.json", "targets/*.yml"]});
    let base = bench.folder.path().to_owned();
    let (running, groups) = run(&bench, "file", config, base).await;
    let path = |name: &str| targets.join(name).display().to_string();
    let (a, b) = (path("a.json"), path("b.yml"));
    until_groups(&groups, &format!("{a}:0=a:1 {a}:0=a:2 {b}:0=b:1")).await;
    assert_eq!(
        groups.labels()[0],
        format!(r#"{{__meta_filepath="{a}", group="production"}}"#)
    );

    write("a.json", "[{");
    write("b.yml", "- targets: ['b:2', 'b:3']\n");
    until_groups(&groups, &format!("{a}:0=a:1 {a}:0=a:2 {b}:0=b:2 {b}:0=b:3")).await;
    std::fs::remove_file(targets.join("a.json")).unwrap();
    until_groups(&groups, &format!("{b}:0=b:2 {b}:0=b:3")).await;
    // Replaced as Kubernetes does it: by pointing a link elsewhere.
    let c = path("c.json");
    std::fs::write(bench.path("targets/.1"), r#"[{"targets": ["c:1"]}]"#).unwrap();
    std::fs::write(bench.path("targets/.2"), r#"[{"targets": ["c:2"]}]"#).unwrap();
    std::os::unix::fs::symlink(".1", &c).unwrap();
    until_groups(&groups, &format!("{b}:0=b:2 {b}:0=b:3 {c}:0=c:1")).await;
    std::os::unix::fs::symlink(".2", bench.path("targets/.new")).unwrap();
    std::fs::rename(bench.path("targets/.new"), &c).unwrap();
    until_groups(&groups, &format!("{b}:0=b:2 {b}:0=b:3 {c}:0=c:2")).await;
    let told = |name: &str, path: &str| bench.metric(name, &[("filename", path)]);
    let seconds = |path: &str| {
        let modified = std::fs::metadata(path).unwrap().modified().unwrap();
        let since_1970 = modified.duration_since(std::time::UNIX_EPOCH).unwrap();
        Some(since_1970.as_secs() as f64)
    };
    let mtime = "prometheus_sd_file_mtime_seconds";
    assert_eq!(told(mtime, &b), seconds(&b));
    assert_eq!(told(mtime, &a), None, "it is gone");
    let errors = bench.metric("prometheus_sd_file_read_errors_total", &[]);
    assert!(errors >= Some(1.0), "{errors:?}");
    running.abort();
    until("its times end with it", || {
        told(mtime, &b).is_none().then_some(())
    })
    .await;
    let errors_later = bench.metric("prometheus_sd_file_read_errors_total", &[]);
    assert_eq!(errors_later, errors);

    let outside = serde_json::json!({"files": ["/etc/passwd.json"]});
    let (running, groups) = run(&bench, "file", outside, "/".into()).await;
    until("the first publication", || groups.published().then_some(())).await;
    assert_eq!(groups.text(), "");
    running.abort();

    for (config, expected) in [
        (
            serde_json::json!({"files": ["a.txt"]}),
            "file_sd_configs: field files[0]: \"a.txt\" does not end in .json, .yml or .yaml",
        ),
        (
            serde_json::json!({"flies": []}),
            "file_sd_configs: field flies: unknown field `flies`, expected `files` or",
        ),
    ] {
        let (running, _) = run(&bench, "file", config, "/".into()).await;
        let error = running.await.unwrap().unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_asks_a_server_for_targets() {
    let Some(wasm) = built("http") else {
        return;
    };
    let count = AtomicUsize::new(0);
    let port = serve(move |_| {
        let number = count.fetch_add(1, Ordering::Relaxed);
        let body = format!(r#"[{{"targets": ["a:{}"]}}]"#, number.min(1));
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close";
        format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    });
    let url = format!("http://127.0.0.1:{port}/targets");
    let mut bench = Bench::start();
    bench.install("http", &wasm);
    bench
        .apply(|config| {
            config.grants.insert("http".to_owned(), requesting(&[&url]));
        })
        .await;
    let config = serde_json::json!({"url": url, "refresh_interval": "1s"});
    let (running, groups) = run(&bench, "http", config, "/".into()).await;
    let last = |text: &str| groups.text().ends_with(text);
    until("the first answer", || last("=a:0").then_some(())).await;
    until("the second answer", || last("=a:1").then_some(())).await;
    running.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dns_makes_targets_of_names() {
    let Some(wasm) = built("dns") else {
        return;
    };
    let names = serve_names(&[("a.example.test", [10, 0, 0, 7])]);
    let mut bench = Bench::start_with(|config| config.dns_servers = vec![names]);
    bench.install("dns", &wasm);
    bench
        .apply(|config| {
            let granted = Capabilities {
                dns: vec!["*.example.test".to_owned()],
                ..Capabilities::default()
            };
            config.grants.insert("dns".to_owned(), granted.into());
        })
        .await;
    let config = serde_json::json!({"names": ["a.example.test"], "type": "A", "port": 9100});
    let (running, groups) = run(&bench, "dns", config, "/".into()).await;
    until("the target", || {
        groups.text().ends_with("=10.0.0.7:9100").then_some(())
    })
    .await;
    running.abort();
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_tells_of_this_machine() {
    let Some(wasm) = built("node") else {
        return;
    };
    let mut bench = Bench::start();
    bench.install("node", &wasm);
    let status = bench
        .until_state("node", PluginState::WaitingForGrant)
        .await;
    assert_eq!(
        status.missing_yaml,
        "plugins:\n  grants:\n    node: { files: [/proc, /sys, /etc/os-release, \
         /usr/lib/os-release, /run/udev/data], system: true }\n"
    );
    bench
        .apply(|config| {
            let mut grants = reading(&["/proc", "/sys", "/etc/os-release"].map(Path::new));
            grants.system = true;
            config.grants.insert("node".to_owned(), grants.into());
        })
        .await;
    let families = bench.collect("node").await.unwrap();
    let value = |name: &str| {
        let family = families.iter().find(|family| family.name == name);
        let metric = family.and_then(|family| family.metrics.first());
        match metric.map(|metric| &metric.value) {
            Some(MetricValue::Float(value)) => *value,
            _ => panic!("no {name}"),
        }
    };
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap();
    let total = meminfo.lines().next().unwrap();
    let total: f64 = total
        .split_ascii_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(value("node_memory_MemTotal_bytes"), total * 1024.0);
    assert!(value("node_memory_MemAvailable_bytes") > 0.0);
    assert!(value("node_cpu_seconds_total") > 0.0);
    assert!(value("node_boot_time_seconds") > 1e9);
    assert!(value("node_time_seconds") > value("node_boot_time_seconds"));
    assert!(value("node_filesystem_size_bytes") > 0.0);
    assert!(value("node_load1") >= 0.0);
    assert_eq!(value("node_uname_info"), 1.0);
    let success = families
        .iter()
        .find(|family| family.name == "node_scrape_collector_success")
        .unwrap();
    for metric in &success.metrics {
        let collector = metric.labels.value_or_empty("collector");
        // These files are there on every Linux.
        if [
            "cpu",
            "meminfo",
            "loadavg",
            "filesystem",
            "netdev",
            "stat",
            "uname",
            "time",
        ]
        .contains(&collector)
        {
            assert_eq!(metric.value, MetricValue::Float(1.0), "{collector}");
        }
    }
    // Again: by now the instance is warm.
    let began = std::time::Instant::now();
    let families = bench.collect("node").await.unwrap();
    let series: usize = families.iter().map(|family| family.metrics.len()).sum();
    println!("{series} series in {:?}", began.elapsed());
}
