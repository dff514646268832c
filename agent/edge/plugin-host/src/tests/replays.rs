//! Plugins in recorded worlds: what they meet there, that nothing of the real world gets in, and that
//! grants and limits hold.

use std::os::unix::fs::symlink;

use narthex_extension::{Capabilities, FileAccess, HttpAccess};
use narthex_model::TargetGroup;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::guest::Guest;
use super::outside;
use super::shipped::built;
use super::value_of;
use crate::Limits;
use crate::replay::{
    Answer, Exchange, Failure, LogLevel, Lookup, NameKind, NameRecord, Recording, Said, SystemFacts,
};
use crate::workbench::{Trial, Workbench};

/// What a trial needs to live.
struct Bench {
    folder: TempDir,
    bench: Workbench,
    runtime: tokio::runtime::Runtime,
}

impl Bench {
    fn new(limits: Limits) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let inside = runtime.enter();
        let bench = Workbench::new(&folder.path().join("cache"), limits, outside(), false);
        drop(inside);
        Bench {
            bench: bench.unwrap(),
            folder,
            runtime,
        }
    }

    /// None where the plugin is not built. All that it wants is granted, and this.
    fn trial(&self, plugin: &str, more: Capabilities, recording: Recording) -> Option<Trial> {
        Some(self.trial_of(&built(plugin)?, plugin, more, recording))
    }

    fn trial_of(&self, wasm: &[u8], name: &str, more: Capabilities, recording: Recording) -> Trial {
        let _inside = self.runtime.enter();
        let loaded = self.bench.load(name, wasm).unwrap();
        let mut grant = loaded.all_wants();
        grant.http.extend(more.http);
        grant.files.extend(more.files);
        loaded.trial(grant.into(), Some(recording))
    }

    fn recording(&self) -> Recording {
        Recording {
            root: self.folder.path().join("files"),
            clock_ms: 1_000_000,
            duration_ms: 120_000,
            ..Recording::default()
        }
    }

    fn write(&self, file: &str, content: &str) {
        let path = self.folder.path().join("files").join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn run(&self, trial: &Trial, config: &Value) -> Result<(), String> {
        let _inside = self.runtime.enter();
        trial.run(config, "/etc/narthex")
    }
}

/// What was published, with its times; sources, and the addresses of their targets.
fn published(trial: &Trial) -> Vec<(u64, String)> {
    let group = |group: &TargetGroup| {
        let addresses = group.targets.iter().map(|target| target.get("__address__"));
        let addresses: Vec<&str> = addresses.map(|address| address.unwrap_or("")).collect();
        format!("{}={}", group.source, addresses.join(","))
    };
    let said = trial.take_said().into_iter();
    said.filter_map(|entry| match entry.what {
        Said::Published(groups) => {
            let groups: Vec<String> = groups.iter().map(group).collect();
            Some((entry.after_ms, groups.join(" ")))
        }
        Said::Logged(..) => None,
    })
    .collect()
}

fn exchange(url: &str, status: u16, body: &str) -> Exchange {
    Exchange {
        method: "GET".to_owned(),
        url: url.to_owned(),
        answer: Answer::Given {
            status,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: body.as_bytes().to_vec().into(),
            stays_open: false,
        },
    }
}

fn requests(url: &str) -> Capabilities {
    Capabilities {
        http: vec![HttpAccess {
            url: url.to_owned(),
            methods: Vec::new(),
        }],
        ..Capabilities::default()
    }
}

#[test]
fn files_are_those_of_the_recording() {
    let bench = Bench::new(Limits::default());
    bench.write("etc/narthex/a.json", r#"[{"targets": ["a:1"]}]"#);
    bench.write("etc/narthex/real/b.json", r#"[{"targets": ["b:1"]}]"#);
    // A real file, which the recording does not have.
    std::fs::write(bench.folder.path().join("c.json"), "[]").unwrap();
    let within = bench.folder.path().join("files/etc/narthex");
    symlink("real/b.json", within.join("b.json")).unwrap();
    symlink(bench.folder.path().join("c.json"), within.join("c.json")).unwrap();
    let all = Capabilities {
        files: vec![FileAccess {
            path: "/".to_owned(),
        }],
        ..Capabilities::default()
    };
    let Some(trial) = bench.trial("file", all, bench.recording()) else {
        return;
    };
    let real = bench.folder.path().join("c.json");
    let files = json!({ "files": ["a.json", "b.json", "c.json", real] });
    assert_eq!(bench.run(&trial, &files), Ok(()));
    let said = published(&trial);
    let (after_ms, groups) = &said[0];
    assert_eq!(*after_ms, 0);
    let expected = ["/etc/narthex/a.json:0=a:1", "/etc/narthex/b.json:0=b:1"];
    assert!(
        expected.iter().all(|group| groups.contains(group)),
        "{groups}"
    );
    assert!(!groups.contains("c.json"), "{groups}");
}

#[test]
fn answers_come_in_their_order_while_time_passes() {
    let bench = Bench::new(Limits::default());
    let url = "http://inventory.test/targets";
    let mut refused = exchange(url, 0, "");
    refused.answer = Answer::Failed(Failure::Connection);
    let recording = Recording {
        http: vec![
            exchange(url, 200, r#"[{"targets": ["a:1"]}]"#),
            refused,
            exchange(url, 200, r#"[{"targets": ["b:1", "c:1"]}]"#),
        ],
        ..bench.recording()
    };
    let Some(trial) = bench.trial("http", Capabilities::default(), recording) else {
        return;
    };
    let config = json!({ "url": url, "refresh_interval": "30s" });
    assert_eq!(bench.run(&trial, &config), Ok(()));
    let said = published(&trial);
    let source = format!("{url}:0");
    assert_eq!(said[0], (0, format!("{source}=a:1")));
    assert_eq!(said.last(), Some(&(60_000, format!("{source}=b:1,c:1"))));
    assert_eq!(trial.take_unknown(), Vec::<String>::new());

    // What is not recorded is told, and asked of nobody.
    let other = json!({ "url": "http://127.0.0.1:1/x", "refresh_interval": "1m" });
    let Some(trial) = bench.trial("http", requests("http://127.0.0.1:1/*"), bench.recording())
    else {
        return;
    };
    assert_eq!(bench.run(&trial, &other), Ok(()));
    let expected = ["http.yml has no answer to GET http://127.0.0.1:1/x"];
    assert_eq!(trial.take_unknown(), expected);
}

#[test]
fn grants_and_limits_hold() {
    let url = "http://inventory.test/targets";
    let logged = |limits: Limits, url: &str| {
        let bench = Bench::new(limits);
        let recording = Recording {
            http: vec![exchange(url, 200, r#"[{"targets": ["a:1", "b:1"]}]"#)],
            ..bench.recording()
        };
        let config = json!({ "url": url, "refresh_interval": "1h" });
        let trial = bench.trial("http", Capabilities::default(), recording)?;
        let ended = bench.run(&trial, &config);
        let said = trial.take_said().into_iter();
        let errors = said.filter_map(|entry| match entry.what {
            Said::Logged(LogLevel::Error | LogLevel::Warn, text) => Some(text),
            _ => None,
        });
        Some(format!(
            "{ended:?} {}",
            errors.collect::<Vec<_>>().join(" ")
        ))
    };
    let few = || Limits {
        targets: 1,
        ..Limits::default()
    };
    let none = || Limits {
        http_requests: 0,
        ..Limits::default()
    };
    for (limits, url, expected) in [
        (few(), url, "plugins.limits.targets"),
        (none(), url, "plugins.limits.http_requests"),
        (Limits::default(), "http://169.254.169.254/", "link-local"),
    ] {
        let Some(said) = logged(limits, url) else {
            return;
        };
        assert!(said.contains(expected), "{expected}: {said}");
    }
}

#[test]
fn names_and_numbers_are_those_of_the_recording() {
    let bench = Bench::new(Limits::default());
    let record = NameRecord::Service {
        priority: 1,
        weight: 2,
        port: 9100,
        target: "till.shop.test".to_owned(),
    };
    let recording = Recording {
        dns: vec![Lookup {
            name: "_till._tcp.shop.test".to_owned(),
            kind: NameKind::Srv,
            records: Some(vec![record]),
        }],
        ..bench.recording()
    };
    let Some(trial) = bench.trial("dns", Capabilities::default(), recording) else {
        return;
    };
    let names = ["_till._tcp.shop.test", "gone.shop.test"];
    assert_eq!(bench.run(&trial, &json!({ "names": names })), Ok(()));
    let said = published(&trial);
    assert!(said[0].1.contains("=till.shop.test:9100"), "{said:?}");
    let unknown = ["case.yml has nothing under dns for gone.shop.test, SRV"];
    assert_eq!(trial.take_unknown(), unknown);

    // Built for an older version of the contract.
    let numbers = || {
        let wasm = include_bytes!("golden/0.1.0/custom-metric.wasm");
        let trial = bench.trial_of(wasm, "a", Capabilities::default(), bench.recording());
        let _inside = bench.runtime.enter();
        let mut instance = trial.exporter(&json!({})).unwrap();
        let collected = (0..5).map(|_| instance.collect().unwrap());
        let collected = collected.map(|families| format!("{:?}", families[0].metrics));
        collected.collect::<Vec<String>>()
    };
    assert_eq!(numbers(), numbers());
}

#[test]
fn facts_are_those_of_the_recording() {
    let bench = Bench::new(Limits::default());
    bench.write("proc/loadavg", "0.5 1 1.5 1/2 3\n");
    let system = SystemFacts::from_json(json!({
        "identity": {
            "sysname": "Linux", "release": "1.2", "version": "v", "machine": "m",
            "nodename": "recorded", "domainname": "d",
        },
    }));
    let recording = Recording {
        system: system.unwrap(),
        ..bench.recording()
    };
    let Some(trial) = bench.trial("node", Capabilities::default(), recording) else {
        return;
    };
    let _inside = bench.runtime.enter();
    let mut instance = trial.exporter(&json!({})).unwrap();
    let families = instance.collect().unwrap();
    let family = |name: &str| families.iter().find(|family| family.name == name);
    assert_eq!(family("node_load1").map(|load| load.metrics.len()), Some(1));
    let identity = family("node_uname_info").unwrap();
    let labels = &identity.metrics[0].labels;
    assert_eq!(labels.get("nodename"), Some("recorded"));
    // This machine has processors.
    assert!(family("node_cpu_seconds_total").is_none());
}

#[test]
fn clocks_of_wasi_are_those_of_the_recording() {
    const PACKAGES: &str = "
package wasi:clocks@0.2.0 {
  interface monotonic-clock { now: func() -> u64; }
}";
    const CLOCK: &str = "wasi:clocks/monotonic-clock@0.2.0";
    let guest = Guest::exporter()
        .wasi(PACKAGES, "import wasi:clocks/monotonic-clock@0.2.0;")
        .foreign_import(CLOCK, "now", "(func $now (result i64))")
        .function(
            "(func $now_ms (result i32)
               (i32.wrap_i64 (i64.div_u (call $now) (i64.const 1000000))))",
        )
        .gives_result_of("now", "(call $now_ms)");
    let bench = Bench::new(Limits::default());
    let more = Capabilities::default();
    let trial = bench.trial_of(&guest.build(), "a", more, bench.recording());
    let _inside = bench.runtime.enter();
    let mut instance = trial.exporter(&json!({})).unwrap();
    for expected in [0.0, 0.0, 1500.0] {
        if expected > 0.0 {
            trial.pass_ms(1500);
        }
        assert_eq!(value_of(&instance.collect()), Some(expected));
    }
}
