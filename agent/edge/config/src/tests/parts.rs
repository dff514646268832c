//! What the files become: each part's plain configuration.

use std::path::Path;

use narthex_discovery::SdConfig;
use narthex_http_client::{HttpClientConfig, Secret, SecretSource};
use narthex_scrape::config::ScrapeProtocol;

use super::{folder, load_files, load_folder, overrides};
use crate::{Loaded, Overrides, Paths, load};

fn prometheus(text: &str) -> Loaded {
    load_files(&[("prometheus.yml", text)]).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn nothing_at_all() {
    let nowhere = tempfile::tempdir().unwrap();
    let paths = Paths {
        prometheus: None,
        alertmanager: Some(nowhere.path().join("am.yml")),
        narthex: None,
    };
    let error = load(&paths, &overrides()).map(|_| ()).unwrap_err();
    assert!(
        error.to_string().contains("am.yml: there is no such file"),
        "{error}"
    );

    let paths = Paths::default();
    let overrides = Overrides {
        self_address: "here:1".to_owned(),
        ..overrides()
    };
    let loaded = load(&paths, &overrides).unwrap_or_else(|error| panic!("{error}"));
    let SdConfig::Static(groups) = &loaded.prometheus.discovery.jobs["narthex"][0] else {
        panic!("not static");
    };
    assert_eq!(groups[0].targets[0].get("__address__"), Some("here:1"));
    assert!(loaded.notices[0].contains("there is no prometheus.yml"));
    assert_eq!(loaded.notify, None);
    assert_eq!(loaded.plugin_host.directory, Path::new("plugins"));
    assert!(loaded.watched.contains(&"alertmanager.yml".into()));
}

#[test]
fn defaults_of_an_empty_file() {
    let loaded = prometheus("");
    let global = &loaded.prometheus.global;
    assert_eq!(
        (
            global.scrape_interval_ms,
            global.scrape_timeout_ms,
            global.evaluation_interval_ms
        ),
        (60_000, 10_000, 60_000)
    );
    assert!(loaded.prometheus.scrape.jobs.is_empty());
    assert_eq!(loaded.prometheus.storage.retention_ms, None);
    assert_eq!(loaded.script_interval_ms, 60_000);
    assert_eq!(loaded.yaml, "");
    assert!(loaded.notices.is_empty());
}

#[test]
fn the_query_log_is_beside_the_file() {
    for (text, expected) in [
        ("", None),
        ("global: {query_log_file: }", None),
        ("global: {query_log_file: ''}", None),
        ("global: {query_log_file: logs/q.log}", Some("logs/q.log")),
        ("global: {query_log_file: /dev/stdout}", Some("/dev/stdout")),
    ] {
        let folder = folder(&[("prometheus.yml", text)]);
        let loaded = load_folder(folder.path()).unwrap();
        let expected = expected.map(|path| folder.path().join(path));
        assert_eq!(loaded.prometheus.global.query_log_file, expected, "{text}");
    }
}

#[test]
fn jobs_take_over_what_global_says() {
    let loaded = prometheus(
        "
global:
  scrape_interval: 5s
  sample_limit: 100
  body_size_limit: 1KB
  scrape_protocols: [PrometheusText0.0.4]
  external_labels: {env: $TEST, n: 1, yes: on}
scrape_configs:
- job_name: a
- job_name: b
  scrape_interval: 1m
  sample_limit: 7
  scrape_protocols: [OpenMetricsText1.0.0, PrometheusText0.0.4]
  fallback_scrape_protocol: PrometheusText0.0.4
  params: {x: [1, 2], y: [one]}
  honor_timestamps: no
  basic_auth: {username: me, password_file: secret.txt}
  tls_config: {ca: PEM}
  http_headers: {X-A: {values: [1], files: [h.txt]}}
  metric_relabel_configs: [{action: labeldrop, regex: x}]
- job_name: c
  scrape_interval: 1s
  bearer_token: hush
",
    );
    let scrape = &loaded.prometheus.scrape;
    assert_eq!(
        scrape.external_labels.to_string(),
        "{env=\"TestValue\", n=\"1\", yes=\"on\"}"
    );
    let [a, b, c] = scrape.jobs.as_slice() else {
        panic!("not three jobs");
    };
    assert_eq!((a.scrape_interval_ms, a.scrape_timeout_ms), (5_000, 5_000));
    assert_eq!((a.limits.samples, a.limits.body_size_bytes), (100, 1024));
    assert_eq!(a.scrape_protocols, [ScrapeProtocol::PrometheusText0_0_4]);
    assert!(a.honor_timestamps && a.enable_compression && a.http.follow_redirects);
    assert_eq!((b.scrape_interval_ms, b.scrape_timeout_ms), (60_000, 5_000));
    assert_eq!(b.limits.samples, 7);
    assert_eq!(b.scrape_protocols.len(), 2);
    assert_eq!(
        b.fallback_scrape_protocol,
        Some(ScrapeProtocol::PrometheusText0_0_4)
    );
    assert_eq!(b.params["x"], ["1", "2"]);
    assert_eq!(b.params["y"], ["one"]);
    assert!(!b.honor_timestamps);
    assert_eq!(b.metric_relabel.len(), 1);
    let auth = b.http.basic_auth.as_ref().unwrap();
    assert!(
        matches!(&auth.password, Some(SecretSource::File(path)) if path.ends_with("secret.txt"))
    );
    assert_eq!(b.http.headers["X-A"].len(), 2);
    assert_eq!(
        b.http.tls.ca,
        Some(SecretSource::Inline(Secret("PEM".to_owned())))
    );
    assert_eq!((c.scrape_interval_ms, c.scrape_timeout_ms), (1_000, 1_000));
    assert_eq!(c.http.authorization.as_ref().unwrap().kind, "Bearer");
    assert!(!loaded.yaml.contains("hush"));
}

#[test]
fn anchors_and_merge_keys() {
    let loaded = prometheus(
        "
scrape_configs:
- &base
  job_name: a
  scrape_interval: 7s
  static_configs: [{targets: ['x:1']}]
- <<: *base
  job_name: b
",
    );
    let b = &loaded.prometheus.scrape.jobs[1];
    assert_eq!((b.job_name.as_str(), b.scrape_interval_ms), ("b", 7_000));
    assert_eq!(loaded.prometheus.discovery.jobs["b"].len(), 1);
}

#[test]
fn discovery_as_plugins_get_it() {
    let files = folder(&[(
        "prometheus.yml",
        "
scrape_configs:
- job_name: a
  static_configs:
  - targets: ['x:1', 'y:1']
    labels: {a: 1, b: true}
  - targets: []
  file_sd_configs:
  - files: [a.json, 'b*.yml']
    refresh_interval: 10m
  consul_sd_configs:
  - {token: 123, allow_stale: yes, tags: [1]}
  mine_sd_configs:
  - {n: 1, s: '1', b: true, l: [x, 1.5], nothing: }
alerting:
  alert_relabel_configs: [{action: labeldrop, regex: replica}]
  alertmanagers:
  - path_prefix: /am
    scheme: https
    timeout: 3s
    static_configs: [{targets: ['am:9093']}]
  - file_sd_configs: [{files: [am.json]}]
",
    )]);
    let loaded = load_folder(files.path()).unwrap_or_else(|error| panic!("{error}"));
    let entries = &loaded.prometheus.discovery.jobs["a"];
    let SdConfig::Static(groups) = &entries[0] else {
        panic!("not static");
    };
    assert_eq!(groups.len(), 2);
    assert_eq!(groups[0].labels.to_string(), "{a=\"1\", b=\"true\"}");
    let requests: Vec<(&str, serde_json::Value)> = entries[1..]
        .iter()
        .map(|entry| match entry {
            SdConfig::Provider { name, request } => {
                assert_eq!(
                    request.base_directory,
                    std::path::absolute(files.path()).unwrap()
                );
                (name.as_str(), request.config.clone())
            }
            SdConfig::Static(_) => panic!("a second static entry"),
        })
        .collect();
    assert_eq!(
        requests,
        [
            (
                "file",
                serde_json::json!({"files": ["a.json", "b*.yml"], "refresh_interval": "10m"})
            ),
            (
                "consul",
                serde_json::json!({"token": "123", "allow_stale": true, "tags": ["1"]})
            ),
            (
                "mine",
                serde_json::json!({"n": 1, "s": "1", "b": true, "l": ["x", 1.5], "nothing": null})
            ),
        ]
    );
    assert!(
        loaded
            .notices
            .iter()
            .any(|notice| notice.contains("the plugin mine.wasm must serve it"))
    );

    let alerting = &loaded.prometheus.alerting;
    assert_eq!(alerting.relabel.len(), 1);
    let first = &alerting.alertmanagers[0];
    assert_eq!(
        (
            first.job.as_str(),
            first.scheme.as_str(),
            first.path_prefix.as_str(),
            first.timeout_ms
        ),
        ("alertmanager/0", "https", "/am", 3_000)
    );
    assert_eq!(alerting.discovery.jobs.len(), 2);
}

#[test]
fn rules_from_patterns_and_scrape_files() {
    let rules =
        |name: &str| format!("groups: [{{name: {name}, rules: [{{record: r, expr: up}}]}}]");
    let loaded = load_files(&[
        (
            "prometheus.yml",
            "global: {evaluation_interval: 5s, rule_query_offset: 1s}
rule_files: ['rules/*.yml', none.yml, first.rules, rules/a.yml]
scrape_config_files: ['more/*.yml']
scrape_configs: [{job_name: a}]",
        ),
        ("rules/b.yml", &rules("b")),
        ("rules/a.yml", &rules("a")),
        ("rules/c.txt", "not read"),
        (
            "first.rules",
            "groups: [{name: f, interval: 7s, query_offset: 2s, limit: 3, labels: {l: 1}, rules: [{alert: A, expr: up == 0, for: 1m, annotations: {x: '{{ $value }}'}}]}]",
        ),
        (
            "more/x.yml",
            "scrape_configs: [{job_name: b, bearer_token_file: token, static_configs: [{targets: ['x:1']}]}]",
        ),
    ])
    .unwrap_or_else(|error| panic!("{error}"));
    let groups = &loaded.prometheus.rule_groups;
    let shown: Vec<(&str, u64, u64)> = groups
        .iter()
        .map(|group| {
            (
                group.name.as_str(),
                group.interval_ms,
                group.query_offset_ms,
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("a", 5_000, 1_000),
            ("b", 5_000, 1_000),
            ("f", 7_000, 2_000)
        ]
    );
    assert!(groups[0].file.ends_with("rules/a.yml"));
    assert_eq!(groups[2].limit, 3);
    assert_eq!(loaded.prometheus.scrape.jobs.len(), 2);
    let token = loaded.prometheus.scrape.jobs[1]
        .http
        .authorization
        .as_ref()
        .unwrap();
    assert!(matches!(&token.credentials, SecretSource::File(path) if path.ends_with("more/token")));
    assert!(
        loaded
            .notices
            .iter()
            .any(|notice| notice.contains("rule_files[1]: matches no file"))
    );
    for watched in [
        "prometheus.yml",
        "rules/*.yml",
        "rules/a.yml",
        "none.yml",
        "more/x.yml",
        "narthex.yml",
        "alertmanager.yml",
    ] {
        assert!(
            loaded.watched.iter().any(|path| path.ends_with(watched)),
            "{watched}"
        );
    }
}

#[test]
fn what_has_no_function_yet_is_said() {
    let loaded = prometheus(
        "
global: {scrape_native_histograms: true, metric_name_escaping_scheme: dots, scrape_protocols: [PrometheusProto]}
runtime: {gogc: 50}
remote_write: [{url: 'http://a/write'}]
remote_read: [{url: 'http://a/read'}]
tracing: {endpoint: 'a:1'}
otlp: {promote_scope_metadata: true}
storage: {tsdb: {out_of_order_time_window: 1h, retention: {time: 2d, size: 1GB, percentage: 5}}, exemplars: {max_exemplars: 1}}
scrape_configs: [{job_name: a, oauth2: {client_id: a, token_url: 'http://a'}}]
",
    );
    for part in [
        "scrape_native_histograms",
        "gogc",
        "remote_write is not supported yet: nothing will be sent",
        "remote_read is",
        "tracing is",
        "OTLP is",
        "escaping is not supported yet",
        "the protobuf format is not read yet",
        "scrape_configs[0].oauth2: OAuth 2.0 is not supported yet",
    ] {
        let said = loaded.notices.iter().any(|notice| notice.contains(part));
        assert!(said, "{part} in {:?}", loaded.notices);
    }
    assert_eq!(loaded.prometheus.storage.retention_ms, Some(2 * 86_400_000));
    assert_eq!(
        loaded.prometheus.storage.retention_size_bytes,
        Some(1 << 30)
    );
    let storage = &loaded.prometheus.storage;
    assert_eq!(storage.retention_percentage, Some(5.0));
    assert_eq!(storage.out_of_order_time_window_ms, 3_600_000);
    assert_eq!(storage.exemplar_limit, Some(1));
    let quiet = prometheus("global: {scrape_native_histograms: false}\notlp:\nremote_write: []\n");
    assert!(quiet.notices.is_empty(), "{:?}", quiet.notices);
}

#[test]
fn narthex_yml() {
    let files = folder(&[
        (
            "prometheus.yml",
            "global: {scrape_interval: 20s, sample_limit: 50}\nscrape_configs: [{job_name: taken}]",
        ),
        (
            "narthex.yml",
            "
plugins:
  directory: ../p
  limits: {memory: 1MB, call_timeout: 2s, series: 10, label_value_bytes: 100}
  grants:
    node: {files: [/proc, ./x], system: true, env: [HOME]}
    web: {http: 'https://a.example/*', query: yes, dns: '*.example'}
    api:
      http:
      - https://b.example
      - {url: 'https://c.example/v1/*', methods: [GET], authorization: {credentials_file: token}}
  dns_servers: [10.0.0.2, '10.0.0.3:5353']
  disabled: [old]
exporters:
- plugin: node
- plugin: mysql
  job: db
  interval: 1m
  timeout: 5s
  labels: {team: 1}
  config: {dsn: a, n: 1}
  metric_relabel_configs: [{action: drop, source_labels: [__name__], regex: x}]
- plugin: mysql
  job: taken
scripts:
  directory: s
  interval: 30s
  limits: {operations: 7, time: 1s, memory: 2MB, alerts: 3}
  params: {disk: {warning: 4h, n: 1.5}}
",
        ),
    ]);
    let loaded = load_folder(files.path()).unwrap_or_else(|error| panic!("{error}"));
    let host = &loaded.plugin_host;
    assert_eq!(host.directory, files.path().join("../p"));
    assert_eq!(host.cache_directory, Path::new("data/plugin-cache"));
    assert_eq!(
        (host.limits.memory_bytes, host.limits.series),
        (1 << 20, 10)
    );
    assert_eq!(
        (host.limits.call_timeout_ms, host.limits.label_value_bytes),
        (2_000, 100)
    );
    let node = &host.grants["node"].capabilities;
    let paths: Vec<&str> = node.files.iter().map(|file| file.path.as_str()).collect();
    let absolute = std::path::absolute(files.path().join("x")).unwrap();
    assert_eq!(paths, ["/proc", absolute.to_str().unwrap()]);
    assert!(node.system && !node.query);
    let web = &host.grants["web"];
    assert_eq!(web.capabilities.http[0].url, "https://a.example/*");
    assert_eq!(web.capabilities.dns, ["*.example"]);
    assert!(web.capabilities.query && host.disabled.contains("old"));
    assert!(web.http.is_empty());
    let api = &host.grants["api"];
    let granted = &api.capabilities.http;
    assert_eq!(
        (granted.len(), granted[0].url.as_str()),
        (2, "https://b.example")
    );
    assert_eq!(granted[1].methods, ["GET"]);
    let added = &api.http["https://c.example/v1/*"];
    let credentials = &added.authorization.as_ref().unwrap().credentials;
    let token = files.path().join("token");
    assert_eq!(*credentials, SecretSource::File(token));
    let servers: Vec<String> = host.dns_servers.iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["10.0.0.2:53", "10.0.0.3:5353"]);
    let exporters: Vec<(&str, &str, Option<u64>)> = host
        .exporters
        .iter()
        .map(|exporter| {
            (
                exporter.plugin.as_str(),
                exporter.job.as_str(),
                exporter.interval_ms,
            )
        })
        .collect();
    assert_eq!(
        exporters,
        [
            ("node", "node", None),
            ("mysql", "db", Some(60_000)),
            ("mysql", "taken", None)
        ]
    );
    assert_eq!(host.exporters[0].config, serde_json::json!({}));
    assert_eq!(
        host.exporters[1].config,
        serde_json::json!({"dsn": "a", "n": 1})
    );

    let jobs = &loaded.prometheus.scrape.exporters;
    let db = &jobs.jobs["db"];
    assert_eq!(
        (db.timeout_ms, db.global_interval_ms),
        (Some(5_000), 20_000)
    );
    assert_eq!(
        (db.labels.get("team"), db.metric_relabel.len()),
        (Some("1"), 1)
    );
    assert_eq!(
        (jobs.defaults.limits.samples, jobs.defaults.interval_ms),
        (50, None)
    );
    assert!(
        loaded
            .notices
            .iter()
            .any(|n| n.contains("the job \"taken\" is also in prometheus.yml"))
    );

    let scripts = &loaded.script_host;
    assert_eq!(scripts.directory, files.path().join("s"));
    assert_eq!(
        (scripts.limits.operations, scripts.limits.time_ms),
        (7, 1_000)
    );
    assert_eq!(
        (scripts.limits.memory_bytes, scripts.limits.alerts),
        (2 << 20, 3)
    );
    assert_eq!(
        scripts.params["disk"],
        serde_json::json!({"warning": "4h", "n": 1.5})
    );
    assert_eq!(loaded.script_interval_ms, 30_000);
}

#[test]
fn what_queries_may_take() {
    // The machine has 16,000 bytes.
    for (query, memory_bytes, memory_per_query_bytes, memory_for_rules_bytes, threads) in [
        ("", 4_000, 2_000, 800, None),
        ("memory: 50%, threads: 3", 8_000, 4_000, 1_600, Some(3)),
        ("memory: 10KB", 10_240, 5_120, 2_048, None),
        ("memory_per_query: 12.5%", 4_000, 2_000, 800, None),
        ("memory_per_query: 4000", 4_000, 4_000, 800, None),
        ("memory: 100%, memory_for_rules: 1B", 16_000, 8_000, 1, None),
    ] {
        let text = format!("query: {{{query}}}");
        let files = [("prometheus.yml", ""), ("narthex.yml", text.as_str())];
        let expected = crate::QueryBudget {
            memory_bytes,
            memory_per_query_bytes,
            memory_for_rules_bytes,
            threads,
        };
        assert_eq!(load_files(&files).unwrap().query, expected, "{query}");
    }
}

#[test]
fn an_http_client_in_a_file_of_its_own() {
    let files = folder(&[
        (
            "good.yml",
            "basic_auth: {username: a, password_file: secret}",
        ),
        ("empty.yml", ""),
        ("bad.yml", "basic_auth: {usernam: a}"),
    ]);
    let read = |name: &str| crate::http_client_config(&files.path().join(name));
    let (config, notices) = read("good.yml").unwrap();
    let basic = config.basic_auth.unwrap();
    let secret = SecretSource::File(files.path().join("secret"));
    assert_eq!(basic.password, Some(secret));
    assert_eq!(notices, Vec::<String>::new());
    assert_eq!(read("empty.yml").unwrap().0, HttpClientConfig::default());
    let error = read("bad.yml").unwrap_err().to_string();
    assert!(
        error.contains("bad.yml:1:14: basic_auth.usernam"),
        "{error}"
    );
    let error = read("none.yml").unwrap_err().to_string();
    assert!(
        error.ends_with("none.yml: there is no such file"),
        "{error}"
    );
}

#[test]
fn a_reload_of_the_same_is_the_same() {
    let files = folder(&[
        (
            "prometheus.yml",
            "scrape_configs: [{job_name: a, static_configs: [{targets: ['x:1']}], relabel_configs: [{target_label: x, replacement: y}]}]\nrule_files: [r.yml]",
        ),
        (
            "r.yml",
            "groups: [{name: g, rules: [{record: r, expr: up}]}]",
        ),
        (
            "alertmanager.yml",
            "route: {receiver: a}\nreceivers: [{name: a}]",
        ),
        ("narthex.yml", "plugins: {grants: {a: {system: true}}}"),
    ]);
    let first = load_folder(files.path()).unwrap();
    assert_eq!(first, load_folder(files.path()).unwrap());
    std::fs::write(files.path().join("r.yml"), "groups: []").unwrap();
    let second = load_folder(files.path()).unwrap();
    assert_ne!(first.prometheus.rule_groups, second.prometheus.rule_groups);
    assert_eq!(first.prometheus.scrape, second.prometheus.scrape);
    assert_eq!(first.notify, second.notify);
}

#[test]
fn cut_off_files_are_refused_or_loaded_but_never_a_panic() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../config");
    for name in [
        "prometheus.yml",
        "alertmanager.yml",
        "narthex.yml",
        "rules/node.yml",
    ] {
        let whole = std::fs::read_to_string(samples.join(name)).unwrap();
        let files = folder(&[("prometheus.yml", "rule_files: ['rules/*.yml']")]);
        std::fs::create_dir(files.path().join("rules")).unwrap();
        for end in (0..whole.len()).step_by(3) {
            std::fs::write(files.path().join(name), &whole[..end]).unwrap();
            if let Err(error) = load_folder(files.path()) {
                assert!(!error.faults.is_empty(), "{name} up to {end}");
            }
        }
    }
}

#[test]
fn options_of_requests_are_read_from_json() {
    let read = |json: &str| crate::http_config(json, Path::new("/base"));
    let read_well = read(
        r#"{"basic_auth": {"username": "u", "password_file": "p"}, "follow_redirects": false}"#,
    );
    let config = read_well.unwrap();
    let basic = config.basic_auth.unwrap();
    let file = SecretSource::File("/base/p".into());
    assert_eq!(
        (basic.password, config.follow_redirects),
        (Some(file), false)
    );
    for (json, field, message) in [
        (
            r#"{"basic_auth": {"user": "u"}}"#,
            "basic_auth.user",
            "unknown field",
        ),
        (r#"{"proxy_url": []}"#, "proxy_url", "expected text"),
        (
            r#"{"tls_config": {"cert_file": "c"}}"#,
            "tls_config",
            "a client certificate needs",
        ),
        ("{", "", ""),
        ("[]", "", "expected a mapping"),
    ] {
        let (at, said) = read(json).unwrap_err();
        assert_eq!(at, field, "{json}: {said}");
        assert!(said.contains(message), "{json}: {said}");
    }
}
