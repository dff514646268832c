//! Loops against small servers.
//!
//! Times are real and short; what is waited for may take as long as a slow machine needs.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;
use narthex_extension::{BoxFuture, Exporter, ExporterError, ExporterHandle};
use narthex_http_client::{HttpClientConfig, Secret, SecretSource, TlsConfig};
use narthex_model::family::Metadata;
use narthex_model::{Labels, Metric, MetricFamily, MetricType, MetricValue, TargetGroup};
use narthex_relabel::RelabelRule;
use narthex_storage::memory::MemoryStore;

use crate::config::{Config, ExporterConfig, ExporterJob, JobConfig, Limits, ScrapeProtocol};
use crate::ingest::tests::dump;
use crate::{Health, Manager, Options, TargetStatus};

/// A job with Prometheus's defaults.
pub(crate) fn job(name: &str) -> JobConfig {
    JobConfig {
        job_name: name.to_owned(),
        scrape_interval_ms: 60_000,
        scrape_timeout_ms: 10_000,
        scrape_protocols: vec![
            ScrapeProtocol::OpenMetricsText1_0_0,
            ScrapeProtocol::OpenMetricsText0_0_1,
            ScrapeProtocol::PrometheusText1_0_0,
            ScrapeProtocol::PrometheusText0_0_4,
        ],
        fallback_scrape_protocol: None,
        metrics_path: "/metrics".to_owned(),
        scheme: "http".to_owned(),
        params: BTreeMap::new(),
        honor_labels: false,
        honor_timestamps: true,
        track_timestamps_staleness: false,
        enable_compression: true,
        extra_scrape_metrics: false,
        legacy_names: false,
        limits: Limits::default(),
        relabel: Vec::new(),
        metric_relabel: Vec::new(),
        http: HttpClientConfig::default(),
    }
}

/// A job that is scraped often.
fn quick(name: &str) -> JobConfig {
    JobConfig {
        scrape_interval_ms: 600,
        scrape_timeout_ms: 600,
        ..job(name)
    }
}

fn config(jobs: Vec<JobConfig>) -> Config {
    let exporter = ExporterJob {
        interval_ms: None,
        timeout_ms: None,
        global_interval_ms: 600,
        global_timeout_ms: 600,
        labels: Labels::from_pairs([("zone", "z")]),
        limits: Limits::default(),
        metric_relabel: Vec::new(),
    };
    Config {
        jobs,
        exporters: ExporterConfig {
            defaults: exporter,
            jobs: BTreeMap::new(),
            instance: "here".to_owned(),
        },
        external_labels: Labels::empty(),
    }
}

fn group(addresses: &[&str]) -> Vec<TargetGroup> {
    let target = |address: &&str| Labels::from_pairs([("__address__", *address)]);
    vec![TargetGroup {
        source: "test".to_owned(),
        targets: addresses.iter().map(target).collect(),
        labels: Labels::empty(),
    }]
}

struct World {
    store: Arc<MemoryStore>,
    registry: prometheus::Registry,
    manager: Manager,
}

impl World {
    fn new(jobs: Vec<JobConfig>) -> Self {
        let store = Arc::new(MemoryStore::default());
        let registry = prometheus::Registry::new();
        let manager = Manager::new(store.clone(), &registry, Options::default()).unwrap();
        manager.apply_config(config(jobs)).unwrap();
        World {
            store,
            registry,
            manager,
        }
    }

    /// Values of a series, oldest first; `stale` where one ended.
    fn values(&self, series: &str) -> Vec<String> {
        let lines = dump(&self.store).into_iter();
        lines
            .filter_map(|line| {
                let (name, rest) = line.split_once(" @")?;
                let (_, value) = rest.split_once(' ')?;
                (name == series).then(|| value.to_owned())
            })
            .collect()
    }

    fn target(&self, job: &str) -> Option<TargetStatus> {
        let mut targets = self.manager.targets().active.into_iter();
        targets.find(|target| target.scrape_pool == job)
    }

    fn counter(&self, name: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name);
        family.map_or(f64::NAN, |f| f.get_metric()[0].get_counter().get_value())
    }
}

/// Waits until `value` is what it should be.
async fn eventually<T>(what: &str, value: impl Fn() -> Option<T>) -> T {
    for _ in 0..1500 {
        if let Some(value) = value() {
            return value;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never: {what}");
}

async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// A server whose page can be changed.
async fn serve_page(page: &Arc<Mutex<String>>) -> String {
    let page = page.clone();
    let handler = move || {
        let page = page.lock().unwrap().clone();
        async move { page }
    };
    serve(Router::new().route("/metrics", get(handler))).await
}

/// Answers every connection with what `answer` writes.
fn serve_raw(answer: impl Fn(&mut dyn Write) -> std::io::Result<()> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            // The scraper hangs up when it has had enough.
            let _ = answer(&mut stream);
        }
    });
    address
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_target_is_scraped_as_configured() {
    let seen = Arc::new(Mutex::new(Vec::<HeaderMap>::new()));
    let log = seen.clone();
    let handler = move |headers: HeaderMap| {
        log.lock().unwrap().push(headers);
        async {
            let headers = [
                ("content-type", "application/openmetrics-text"),
                ("content-encoding", "gzip"),
            ];
            (
                headers,
                gzip(b"# TYPE a_s gauge\n# UNIT a_s s\n# HELP a_s text\na_s{b=\"c\"} 5\n# EOF\n"),
            )
        }
    };
    let address = serve(Router::new().route("/metrics", get(handler))).await;
    let world = World::new(vec![JobConfig {
        extra_scrape_metrics: true,
        ..quick("j")
    }]);
    world.manager.set_targets("j", group(&[&address]));
    assert_eq!(world.target("j").unwrap().health, Health::Unknown);

    let series = |name: &str| format!("{name}{{instance=\"{address}\", job=\"j\"}}");
    eventually("up", || {
        (world.values(&series("up")).len() >= 2).then_some(())
    })
    .await;
    assert_eq!(world.values(&series("up"))[..2], ["1", "1"]);
    let sample = format!("a_s{{b=\"c\", instance=\"{address}\", job=\"j\"}}");
    assert_eq!(world.values(&sample)[..2], ["5", "5"]);
    assert_eq!(
        world.values(&series("scrape_series_added"))[..2],
        ["1", "0"]
    );
    assert_eq!(world.values(&series("scrape_timeout_seconds"))[0], "0.6");
    assert_eq!(world.values(&series("scrape_body_size_bytes"))[0], "65");

    let target = world.target("j").unwrap();
    assert_eq!(
        (target.health, target.last_error.as_str()),
        (Health::Up, "")
    );
    assert_eq!(target.scrape_url, format!("http://{address}/metrics"));
    assert!(target.last_scrape_ms.is_some() && target.last_scrape_duration_seconds > 0.0);
    assert_eq!(
        (target.scrape_interval_ms, target.scrape_timeout_ms),
        (600, 600)
    );
    let metadata = Metadata {
        kind: MetricType::Gauge,
        help: "text".to_owned(),
        unit: "s".to_owned(),
    };
    let metrics = vec![("a_s".to_owned(), metadata)];
    assert_eq!(world.manager.metadata()[0].metrics, metrics);

    let headers = seen.lock().unwrap()[0].clone();
    let header = |name: &str| headers.get(name).unwrap().to_str().unwrap().to_owned();
    assert!(header("accept").starts_with("application/openmetrics-text;version=1.0.0;"));
    assert_eq!(header("accept-encoding"), "gzip");
    assert!(header("user-agent").starts_with("Narthex/"));
    assert_eq!(header("x-prometheus-scrape-timeout-seconds"), "0.6");
    world.manager.shutdown().await;
}

#[tokio::test]
async fn bad_targets_are_down_with_the_reason_and_disturb_nobody() {
    let never = TcpListener::bind("127.0.0.1:0").unwrap();
    let never_address = never.local_addr().unwrap().to_string();
    let refused = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let slow = serve_raw(|stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")?;
        loop {
            stream.write_all(b"a 1\n")?;
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let endless = serve_raw(|stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")?;
        loop {
            stream.write_all(&[b'#'; 65536])?;
        }
    });
    let text = |body: &'static [u8]| get(move || async move { body.to_vec() });
    let typed = |content_type: &'static str, body: &'static str| {
        get(move || async move { ([("content-type", content_type)], body) })
    };
    let zipped = |body: Vec<u8>| {
        get(move || async move {
            let headers = [("content-type", "text/plain"), ("content-encoding", "gzip")];
            (headers, body).into_response()
        })
    };
    let mut truncated = gzip(b"a 1\n");
    truncated.truncate(truncated.len() - 4);
    let server = serve(
        Router::new()
            .route("/fine", typed("text/plain", "fine 1"))
            .route("/500", get(|| async { StatusCode::INTERNAL_SERVER_ERROR }))
            .route("/garbage", typed("text/plain", "fine 1\n{}}garbage"))
            .route("/html", typed("text/html", "<html>"))
            .route("/untyped", text(b"a 1"))
            .route("/broken-gzip", zipped(truncated))
            .route("/bomb", zipped(gzip(&[b'#'; 1 << 20])))
            .route("/many", typed("text/plain", "a 1\nb 1\nc 1")),
    )
    .await;
    let limits = Limits {
        body_size_bytes: 100_000,
        samples: 2,
        ..Limits::default()
    };
    let cases = [
        ("fine", &server, String::new()),
        ("never", &never_address, format!("timeout: {never_address} did not answer within 600ms (scrape_timeout)")),
        ("refused", &refused, format!("cannot connect to {refused}: connection refused")),
        ("slow", &slow, format!("timeout: {slow} did not send the whole body within 600ms (scrape_timeout)")),
        ("endless", &endless, "body size limit exceeded: more than 100000 bytes (body_size_limit)".to_owned()),
        ("500", &server, "server returned HTTP status 500 Internal Server Error".to_owned()),
        ("404", &server, "server returned HTTP status 404 Not Found".to_owned()),
        ("garbage", &server, "line 2: expected a number, found \"}garbage\"".to_owned()),
        ("html", &server, "the target sends the unsupported Content-Type \"text/html\" and no fallback_scrape_protocol is set for it".to_owned()),
        ("untyped", &server, "the target sends the unsupported Content-Type \"application/octet-stream\" and no fallback_scrape_protocol is set for it".to_owned()),
        ("broken-gzip", &server, "the body is not valid gzip: ".to_owned()),
        ("bomb", &server, "body size limit exceeded: more than 100000 bytes (body_size_limit)".to_owned()),
        ("many", &server, "sample_limit exceeded: 3 samples, limit 2".to_owned()),
    ];
    let jobs = cases.iter().map(|(name, ..)| JobConfig {
        scrape_interval_ms: 600,
        scrape_timeout_ms: 600,
        metrics_path: format!("/{name}"),
        limits,
        extra_scrape_metrics: true,
        ..job(name)
    });
    let world = World::new(jobs.collect());
    for (name, address, _) in &cases {
        world.manager.set_targets(name, group(&[address.as_str()]));
    }
    for (name, address, expected) in &cases {
        let target = eventually(name, || {
            world.target(name).filter(|t| t.health != Health::Unknown)
        })
        .await;
        assert!(
            target.last_error.starts_with(expected),
            "{name}: {:?}",
            target.last_error
        );
        let health = if expected.is_empty() {
            Health::Up
        } else {
            Health::Down
        };
        assert_eq!(
            (target.health, target.last_error.is_empty()),
            (health, expected.is_empty())
        );
        let series = |metric: &str| format!("{metric}{{instance=\"{address}\", job=\"{name}\"}}");
        let up = world.values(&series("up"));
        assert_eq!(up[0], if expected.is_empty() { "1" } else { "0" }, "{name}");
        if expected.starts_with("body size") {
            assert_eq!(world.values(&series("scrape_body_size_bytes"))[0], "-1");
        }
    }
    // Nothing of the bad pages was stored.
    let stored = dump(&world.store);
    for name in ["a", "b"] {
        assert!(
            !stored
                .iter()
                .any(|line| line.starts_with(&format!("{name}{{")))
        );
    }
    assert!(world.counter("prometheus_target_scrapes_exceeded_body_size_limit_total") >= 2.0);
    assert!(world.counter("prometheus_target_scrapes_exceeded_sample_limit_total") >= 1.0);
    world.manager.shutdown().await;
}

#[tokio::test]
async fn a_vanished_series_and_a_removed_target_become_stale() {
    let page = Arc::new(Mutex::new("a 1\nb 1\n".to_owned()));
    let address = serve_page(&page).await;
    let world = World::new(vec![quick("j")]);
    world.manager.set_targets("j", group(&[&address]));
    let series = |name: &str| format!("{name}{{instance=\"{address}\", job=\"j\"}}");
    let last = |name: &str| world.values(&series(name)).last().cloned();
    eventually("a", || last("a")).await;
    "b 2\n".clone_into(&mut page.lock().unwrap());
    eventually("a stale", || last("a").filter(|v| v == "stale")).await;
    eventually("b goes on", || last("b").filter(|v| v == "2")).await;

    // Gone and back between two ticks: nothing ends.
    world.manager.set_targets("j", Vec::new());
    assert!(world.target("j").is_none());
    world.manager.set_targets("j", group(&[&address]));
    let count = world.values(&series("up")).len();
    eventually("up goes on", || {
        (world.values(&series("up")).len() > count + 1).then_some(())
    })
    .await;
    assert!(!world.values(&series("up")).contains(&"stale".to_owned()));

    world.manager.set_targets("j", Vec::new());
    for name in ["b", "up", "scrape_duration_seconds"] {
        eventually(name, || last(name).filter(|v| v == "stale")).await;
    }
    // Nothing follows the end.
    let count = world.values(&series("up")).len();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(world.values(&series("up")).len(), count);

    // Back later: a new loop, the same series.
    world.manager.set_targets("j", group(&[&address]));
    eventually("up again", || last("up").filter(|v| v == "1")).await;
    // A removed job ends its series at once.
    world.manager.apply_config(config(Vec::new())).unwrap();
    eventually("end of the job", || last("up").filter(|v| v == "stale")).await;
    assert!(world.manager.targets().active.is_empty());
    world.manager.shutdown().await;
}

#[tokio::test]
async fn a_reload_keeps_what_it_does_not_change() {
    let page = Arc::new(Mutex::new("a{job=\"own\"} 1\n".to_owned()));
    let address = serve_page(&page).await;
    let world = World::new(vec![quick("kept"), quick("changed")]);
    world.manager.set_targets("kept", group(&[&address]));
    world.manager.set_targets("changed", group(&[&address]));
    let report = |name: &str, job: &str| {
        world.values(&format!("{name}{{instance=\"{address}\", job=\"{job}\"}}"))
    };
    for job in ["kept", "changed"] {
        eventually("up", || (!report("up", job).is_empty()).then_some(())).await;
    }

    let changed = JobConfig {
        honor_labels: true,
        ..quick("changed")
    };
    world
        .manager
        .apply_config(config(vec![quick("kept"), changed]))
        .unwrap();
    let own = format!("a{{instance=\"{address}\", job=\"own\"}}");
    eventually("honored label", || {
        (world.values(&own).len() > 1).then_some(())
    })
    .await;
    let renamed = |job: &str| {
        world.values(&format!(
            "a{{exported_job=\"own\", instance=\"{address}\", job=\"{job}\"}}"
        ))
    };
    assert_eq!(renamed("changed").last().map(String::as_str), Some("stale"));
    assert!(!renamed("kept").contains(&"stale".to_owned()));
    // Neither loop was started anew: each series was new once.
    let added = |job| {
        let added = report("scrape_series_added", job);
        added.iter().filter(|value| *value != "0").count()
    };
    assert_eq!((added("kept"), added("changed")), (1, 2));
    for job in ["kept", "changed"] {
        assert!(report("up", job).iter().all(|value| value == "1"), "{job}");
    }

    // A client that cannot be built: the whole configuration is refused.
    let ca = Some(SecretSource::Inline(Secret("none".to_owned())));
    let tls = TlsConfig {
        ca,
        ..TlsConfig::default()
    };
    let http = HttpClientConfig {
        tls,
        ..HttpClientConfig::default()
    };
    let broken = JobConfig {
        http,
        ..quick("broken")
    };
    let error = world
        .manager
        .apply_config(config(vec![broken]))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "scrape config \"broken\": tls_config: ca holds no certificate in PEM form"
    );
    assert_eq!(world.manager.targets().active.len(), 2);
    world.manager.shutdown().await;
}

#[tokio::test]
async fn another_path_of_the_same_target_continues_its_series() {
    let handler = || async { ([("content-type", "text/plain")], "a 1") };
    let server = Router::new()
        .route("/one", get(handler))
        .route("/two", get(handler));
    let address = serve(server).await;
    let with_path = |path: &str| JobConfig {
        metrics_path: path.to_owned(),
        ..quick("j")
    };
    let world = World::new(vec![with_path("/one")]);
    world.manager.set_targets("j", group(&[&address]));
    let a = format!("a{{instance=\"{address}\", job=\"j\"}}");
    eventually("a", || (!world.values(&a).is_empty()).then_some(())).await;
    world
        .manager
        .apply_config(config(vec![with_path("/two")]))
        .unwrap();
    assert_eq!(
        world.target("j").unwrap().scrape_url,
        format!("http://{address}/two")
    );
    let count = world.values(&a).len();
    eventually("a goes on", || {
        (world.values(&a).len() > count + 2).then_some(())
    })
    .await;
    assert!(world.values(&a).iter().all(|value| value == "1"));
    world.manager.shutdown().await;
}

#[tokio::test]
async fn a_redirect_is_followed_unless_that_is_forbidden() {
    let fine = || async { ([("content-type", "text/plain")], "fine 1") };
    let moved = || async { axum::response::Redirect::permanent("/fine") };
    let server = Router::new()
        .route("/fine", get(fine))
        .route("/metrics", get(moved));
    let address = serve(server).await;
    let forbidden = JobConfig {
        http: HttpClientConfig {
            follow_redirects: false,
            ..HttpClientConfig::default()
        },
        ..quick("forbidden")
    };
    let world = World::new(vec![quick("followed"), forbidden]);
    for (job, error) in [
        ("followed", ""),
        (
            "forbidden",
            "server returned HTTP status 308 Permanent Redirect",
        ),
    ] {
        world.manager.set_targets(job, group(&[&address]));
        let target = eventually(job, || {
            world.target(job).filter(|t| t.health != Health::Unknown)
        });
        assert_eq!(target.await.last_error, error);
    }
    world.manager.shutdown().await;
}

#[tokio::test]
async fn dropped_targets_and_too_many_are_shown() {
    let drop = RelabelRule {
        source_labels: vec!["__address__".into()],
        regex: narthex_model::Regexp::anchored("drop.*").unwrap(),
        action: narthex_relabel::Action::Drop,
        ..RelabelRule::default()
    };
    let limited = JobConfig {
        relabel: vec![drop],
        limits: Limits {
            targets: 1,
            keep_dropped_targets: 2,
            ..Limits::default()
        },
        ..quick("j")
    };
    let world = World::new(vec![limited]);
    let all = ["127.0.0.1:1", "127.0.0.1:2", "drop:1", "drop:2", "bad/path"];
    world.manager.set_targets("j", group(&all));
    let targets = world.manager.targets();
    assert_eq!((targets.active.len(), targets.dropped.len()), (2, 2));
    assert_eq!(
        targets.dropped_counts,
        BTreeMap::from([("j".to_owned(), 3)])
    );
    let target = eventually("limit", || {
        world.target("j").filter(|t| t.health == Health::Down)
    })
    .await;
    assert_eq!(
        target.last_error,
        "target_limit exceeded: 2 targets, limit 1"
    );
    assert_eq!(
        world.counter("prometheus_target_scrape_pool_exceeded_target_limit_total"),
        1.0
    );
    assert_eq!(world.counter("prometheus_target_sync_failed_total"), 1.0);
    world.manager.shutdown().await;
}

struct Fake {
    calls: AtomicUsize,
    fails: bool,
}

impl Exporter for Fake {
    fn collect(&self) -> BoxFuture<'_, Result<Vec<MetricFamily>, ExporterError>> {
        let calls = self.calls.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            if self.fails {
                return Err(ExporterError::Trapped("unreachable".to_owned()));
            }
            if calls == 0 {
                return Ok(Vec::new());
            }
            Ok(vec![MetricFamily {
                name: "calls".to_owned(),
                metadata: Metadata::default(),
                metrics: vec![Metric {
                    labels: Labels::from_pairs([("zone", "own")]),
                    value: MetricValue::Float(calls as f64),
                    timestamp_ms: None,
                    start_timestamp_ms: None,
                }],
            }])
        })
    }
}

#[tokio::test]
async fn exporters_are_jobs_of_their_own() {
    let world = World::new(Vec::new());
    let handle = |job: &str, interval_ms, fails| ExporterHandle {
        job: job.to_owned(),
        plugin: "fake".to_owned(),
        interval_ms,
        exporter: Arc::new(Fake {
            calls: AtomicUsize::new(0),
            fails,
        }),
    };
    let fast = handle("fast", None, false);
    let rare = handle("rare", Some(3_600_000), false);
    let trapped = handle("trapped", None, true);
    world
        .manager
        .set_exporters(vec![fast.clone(), rare, trapped]);
    let series = |name: &str, job: &str| {
        world.values(&format!(
            "{name}{{instance=\"here\", job=\"{job}\", zone=\"z\"}}"
        ))
    };
    // Asked at once, whatever the interval.
    eventually("rare", || (series("up", "rare") == ["1"]).then_some(())).await;
    let calls = "calls{exported_zone=\"own\", instance=\"here\", job=\"fast\", zone=\"z\"}";
    eventually("fast", || (world.values(calls).len() > 1).then_some(())).await;
    eventually("trapped", || {
        (!series("up", "trapped").is_empty()).then_some(())
    })
    .await;
    assert_eq!(series("up", "trapped")[0], "0");
    let target = world.target("trapped").unwrap();
    assert_eq!(
        (target.scrape_url.as_str(), target.last_error.as_str()),
        ("plugin:fake", "unreachable")
    );
    assert_eq!(world.target("rare").unwrap().scrape_interval_ms, 3_600_000);

    // A new labels' set is another series; the former ends.
    let mut changed = config(Vec::new());
    changed.exporters.instance = "there".to_owned();
    world.manager.apply_config(changed).unwrap();
    eventually("there", || {
        let up = "up{instance=\"there\", job=\"rare\", zone=\"z\"}";
        (world.values(up) == ["1"] && series("up", "rare") == ["1", "stale"]).then_some(())
    })
    .await;

    world.manager.set_exporters(vec![fast]);
    let up = "up{instance=\"there\", job=\"rare\", zone=\"z\"}";
    eventually("gone", || {
        (world.values(up) == ["1", "stale"]).then_some(())
    })
    .await;
    assert_eq!(world.manager.targets().active.len(), 1);
    // An end of the agent is no end of the series.
    let calls = calls.replace("here", "there");
    eventually("fast there", || world.values(&calls).pop()).await;
    world.manager.shutdown().await;
    assert!(!world.values(&calls).contains(&"stale".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_large_page_is_read_beside_the_other_tasks() {
    let value = "x".repeat(2000);
    let lines = (0..600).map(|i| format!("a{{n=\"{i}\",v=\"{value}\"}} 1\n"));
    let page = Arc::new(Mutex::new(lines.collect()));
    let address = serve_page(&page).await;
    let world = World::new(vec![quick("j")]);
    world.manager.set_targets("j", group(&[&address]));
    let scraped = format!("scrape_samples_scraped{{instance=\"{address}\", job=\"j\"}}");
    eventually("600", || {
        world.values(&scraped).pop().filter(|v| v == "600")
    })
    .await;
    world.manager.shutdown().await;
}
