//! The API as clients meet it: a server on a free port over a small store and parts that answer the
//! same always.

mod explaining;
mod running;
mod streaming;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use narthex_model::family::Metadata;
use narthex_model::{Exemplar, Labels, Matcher, MetricFamily, MetricType, Regexp};
use narthex_promql::engine::{Engine, EngineOptions};
use narthex_promql::syntax::ParserOptions;
use narthex_query_log::Queries;
use narthex_storage::memory::MemoryStore;
use narthex_storage::{
    Appendable, ExemplarQueryable, ReplayProgress, SeriesExemplars, StorageError, StoreAdmin,
    StoreStatus, TsdbStats,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::backend::{
    ActiveTarget, Agent, AlertFilter, AlertGroup, AlertRouting, AlertingRule, BoxFuture, BuildInfo,
    DroppedTarget, Extensions, Parts, PostedAlert, RoutedAlert, Rule, RuleAlert, RuleGroup, Rules,
    RuntimeInfo, Scraping, Targets,
};
use crate::{Listeners, Options, serve};

struct Fixed {
    ready: bool,
    deleted: Mutex<Vec<String>>,
}

impl Scraping for Fixed {
    fn targets(&self) -> Targets {
        Targets {
            active: vec![ActiveTarget {
                discovered_labels: Labels::from_pairs([("__address__", "a:1")]),
                labels: Labels::from_pairs([("job", "j"), ("instance", "a:1")]),
                pool: "j".to_owned(),
                url: "http://a:1/metrics".to_owned(),
                global_url: "http://a:1/metrics".to_owned(),
                last_error: String::new(),
                last_scrape_ms: Some(1_500),
                last_scrape_duration_seconds: 0.25,
                health: "up",
                interval_ms: 15_000,
                timeout_ms: 10_000,
            }],
            dropped: vec![DroppedTarget {
                discovered_labels: Labels::from_pairs([("__address__", "b:1")]),
                pool: "j".to_owned(),
            }],
            dropped_counts: BTreeMap::from([("j".to_owned(), 1)]),
        }
    }

    fn metadata(&self) -> BTreeMap<String, Vec<Metadata>> {
        let metadata = Metadata {
            kind: MetricType::Counter,
            help: "Help.".to_owned(),
            unit: String::new(),
        };
        let two = vec![
            metadata.clone(),
            Metadata {
                help: "Other.".to_owned(),
                ..metadata
            },
        ];
        BTreeMap::from([
            ("a_total".to_owned(), two.clone()),
            ("b_total".to_owned(), two),
        ])
    }

    fn target_metadata(&self) -> Vec<(Labels, String, Metadata)> {
        let target = Labels::from_pairs([("job", "j"), ("instance", "a:1")]);
        vec![(target, "a_total".to_owned(), Metadata::default())]
    }
}

impl Rules for Fixed {
    fn groups(&self) -> Vec<RuleGroup> {
        let rule = |name: &str, alerting| Rule {
            name: name.to_owned(),
            query: "up".to_owned(),
            labels: BTreeMap::from([("severity".to_owned(), "page".to_owned())]),
            health: "ok",
            last_error: None,
            evaluation_seconds: 0.5,
            last_evaluation_ms: Some(0),
            alerting,
        };
        let alerting = AlertingRule {
            state: "firing",
            for_ms: 60_000,
            keep_firing_for_ms: 0,
            annotations: BTreeMap::new(),
            alerts: vec![RuleAlert {
                labels: Labels::from_pairs([("alertname", "A")]),
                annotations: BTreeMap::new(),
                state: "firing",
                active_at_ms: 1_000,
                keep_firing_since_ms: None,
                value: 1.0,
            }],
        };
        let group = |name: &str, rules| RuleGroup {
            name: name.to_owned(),
            file: "rules.yml".to_owned(),
            rules,
            interval_ms: 15_000,
            limit: 0,
            evaluation_seconds: 0.5,
            last_evaluation_ms: None,
        };
        vec![
            group("first", vec![rule("r", None), rule("A", Some(alerting))]),
            group("second", vec![rule("s", None)]),
        ]
    }
}

impl AlertRouting for Fixed {
    fn alerts(&self, filter: &AlertFilter) -> Result<Vec<RoutedAlert>, String> {
        if filter.matchers.iter().any(|matcher| matcher == "bad") {
            return Err("bad matcher format: bad".to_owned());
        }
        Ok(vec![RoutedAlert {
            labels: BTreeMap::from([("alertname".to_owned(), "A".to_owned())]),
            annotations: BTreeMap::new(),
            starts_at_ms: 0,
            ends_at_ms: 60_000,
            updated_at_ms: 1,
            generator_url: "http://g".to_owned(),
            fingerprint: "00000000000000ff".to_owned(),
            receivers: vec!["hook".to_owned()],
            state: "active",
            silenced_by: Vec::new(),
            inhibited_by: Vec::new(),
            muted_by: Vec::new(),
        }])
    }

    fn groups(&self, filter: &AlertFilter) -> Result<Vec<AlertGroup>, String> {
        let alerts = AlertRouting::alerts(self, filter)?;
        Ok(vec![AlertGroup {
            labels: BTreeMap::new(),
            receiver: "hook".to_owned(),
            alerts,
        }])
    }

    fn receivers(&self) -> Vec<String> {
        vec!["hook".to_owned()]
    }

    fn config_yaml(&self) -> String {
        "route: {}".to_owned()
    }

    fn post(&self, alerts: Vec<PostedAlert>) -> BoxFuture<'_, Result<(), String>> {
        let all_named = alerts
            .iter()
            .all(|alert| alert.labels.contains_key("alertname"));
        let result = if all_named {
            Ok(())
        } else {
            Err("no alertname".to_owned())
        };
        Box::pin(async move { result })
    }

    fn external_alertmanagers(&self) -> Vec<String> {
        vec!["http://am:9093/api/v2/alerts".to_owned()]
    }
}

impl Extensions for Fixed {
    fn plugins(&self) -> Value {
        json!([{ "name": "p" }])
    }

    fn scripts(&self) -> Value {
        json!([])
    }

    fn collect(&self, plugin: &str) -> BoxFuture<'_, Option<Result<Vec<MetricFamily>, String>>> {
        let result = match plugin {
            "p" => Some(Ok(Vec::new())),
            "broken" => Some(Err("plugin broken trapped".to_owned())),
            _ => None,
        };
        Box::pin(async move { result })
    }
}

impl Agent for Fixed {
    fn engine(&self) -> Arc<Engine> {
        Arc::new(Engine::new(EngineOptions::default()))
    }

    fn is_ready(&self) -> bool {
        self.ready
    }

    fn external_labels(&self) -> Labels {
        Labels::from_pairs([("zone", "z")])
    }

    fn config_yaml(&self) -> String {
        "global: {}\n".to_owned()
    }

    fn flags(&self) -> BTreeMap<String, String> {
        BTreeMap::from([("config.file".to_owned(), "x".to_owned())])
    }

    fn runtime(&self) -> RuntimeInfo {
        RuntimeInfo {
            start_time_ms: 0,
            working_directory: "/".to_owned(),
            hostname: "h".to_owned(),
            reload_config_success: true,
            last_config_time_ms: 0,
            corruption_count: 0,
            storage_retention: "15d".to_owned(),
        }
    }

    fn build(&self) -> BuildInfo {
        BuildInfo {
            version: "1".to_owned(),
            alertmanager_version: "2".to_owned(),
            product: "Narthex 0".to_owned(),
            revision: String::new(),
            branch: String::new(),
            build_user: String::new(),
            build_date: String::new(),
            compiler: String::new(),
        }
    }

    fn now_ms(&self) -> i64 {
        120_000
    }

    fn reload(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { Err("prometheus.yml:1:1: no".to_owned()) })
    }

    fn quit(&self) {}
}

impl StoreStatus for Fixed {
    fn stats(&self, _limit: usize) -> TsdbStats {
        TsdbStats::default()
    }
}

impl StoreAdmin for Fixed {
    fn delete_series(
        &self,
        matcher_sets: &[Vec<Matcher>],
        start_ms: i64,
        end_ms: i64,
    ) -> Result<(), StorageError> {
        let texts: Vec<String> = matcher_sets
            .iter()
            .flatten()
            .map(|m| m.to_string())
            .collect();
        let asked = format!("{} {start_ms} {end_ms}", texts.join(","));
        self.deleted.lock().unwrap().push(asked);
        Ok(())
    }

    fn clean_tombstones(&self) -> Result<(), StorageError> {
        Err(StorageError::Internal("the disk is gone".to_owned()))
    }

    fn snapshot(&self, skip_head: bool) -> Result<String, StorageError> {
        Ok(format!("20260101T000000Z-{skip_head}"))
    }

    fn block_metas(&self) -> Vec<String> {
        vec![r#"{"ulid":"01ARZ3NDEKTSV4RRFFQ69G5FAV","minTime":1}"#.to_owned()]
    }
}

impl ExemplarQueryable for Fixed {
    fn exemplars(
        &self,
        matcher_sets: &[Vec<Matcher>],
        start_ms: i64,
        _end_ms: i64,
    ) -> Result<Vec<SeriesExemplars>, StorageError> {
        let name = &*matcher_sets[0][0].value;
        Ok(vec![SeriesExemplars {
            labels: Labels::from_pairs([("__name__", name)]),
            exemplars: vec![Exemplar {
                labels: Labels::from_pairs([("trace_id", "a\"b")]),
                value: 0.5,
                timestamp_ms: start_ms,
            }],
        }])
    }
}

struct Server {
    address: std::net::SocketAddr,
    _stop: watch::Sender<bool>,
}

async fn start(ready: bool, enable_lifecycle: bool) -> Server {
    let listeners = Listeners::bind(&["127.0.0.1:0".to_owned()]).await.unwrap();
    start_on(listeners, ready, enable_lifecycle)
}

fn start_on(listeners: Listeners, ready: bool, enable_lifecycle: bool) -> Server {
    start_parts_on(listeners, ready, enable_lifecycle).0
}

async fn start_with_parts(ready: bool, enable_lifecycle: bool) -> (Server, Arc<Fixed>) {
    let listeners = Listeners::bind(&["127.0.0.1:0".to_owned()]).await.unwrap();
    start_parts_on(listeners, ready, enable_lifecycle)
}

fn start_parts_on(
    listeners: Listeners,
    ready: bool,
    enable_lifecycle: bool,
) -> (Server, Arc<Fixed>) {
    let fixed = Arc::new(Fixed {
        ready,
        deleted: Mutex::default(),
    });
    let options = Options {
        enable_lifecycle,
        enable_admin_api: enable_lifecycle,
        ..options()
    };
    let server = start_these(listeners, parts(&fixed), options);
    (server, fixed)
}

fn options() -> Options {
    Options {
        enable_lifecycle: false,
        enable_admin_api: false,
        query_timeout: Duration::from_secs(60),
        query_concurrency: 4,
        answer_concurrency: 16,
        per_step_stats: false,
        cross_origin: None,
    }
}

fn small_store() -> Arc<MemoryStore> {
    let store = Arc::new(MemoryStore::default());
    let mut appender = store.appender();
    for minute in 0..3 {
        for (instance, factor) in [("a", 1.0), ("b\"", 10.0)] {
            let labels = Labels::from_pairs([("__name__", "m"), ("instance", instance)]);
            let value = factor * f64::from(minute);
            appender
                .append(&labels, i64::from(minute) * 60_000, value)
                .unwrap();
        }
    }
    appender.commit().unwrap();
    store
}

fn parts(fixed: &Arc<Fixed>) -> Parts {
    let registry = prometheus::Registry::new();
    Parts {
        store: small_store(),
        store_status: fixed.clone(),
        store_admin: fixed.clone(),
        exemplars: fixed.clone(),
        replay: Arc::default(),
        parser: ParserOptions::default(),
        scraping: fixed.clone(),
        rules: fixed.clone(),
        alerts: fixed.clone(),
        extensions: fixed.clone(),
        agent: fixed.clone(),
        queries: Arc::new(Queries::new(&registry, 4).unwrap()),
        registry,
    }
}

fn start_these(listeners: Listeners, parts: Parts, options: Options) -> Server {
    let address = listeners.addresses()[0];
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(serve(listeners, parts, options, stopped));
    Server {
        address,
        _stop: stop,
    }
}

/// A server whose parts and options were changed before.
async fn start_changed(change: impl FnOnce(&mut Parts, &mut Options)) -> Server {
    let fixed = Arc::new(Fixed {
        ready: true,
        deleted: Mutex::default(),
    });
    let (mut parts, mut options) = (parts(&fixed), options());
    change(&mut parts, &mut options);
    let listeners = Listeners::bind(&["127.0.0.1:0".to_owned()]).await.unwrap();
    start_these(listeners, parts, options)
}

/// One request; gives the status, the head and the body.
async fn request(
    server: &Server,
    method: &str,
    path: &str,
    head: &str,
    body: &str,
) -> (u16, String, Vec<u8>) {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let text = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n{head}\r\n{body}",
        body.len()
    );
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (
        status,
        head.to_ascii_lowercase(),
        answer[end + 4..].to_vec(),
    )
}

async fn get(server: &Server, path: &str) -> (u16, String) {
    let (status, _, body) = request(server, "GET", path, "", "").await;
    (status, String::from_utf8(body).unwrap())
}

#[tokio::test]
async fn answers() {
    let server = start(true, false).await;
    for (path, expected) in [
        (
            "query?query=m&time=60",
            r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"m","instance":"a"},"value":[60,"1"]},{"metric":{"__name__":"m","instance":"b\""},"value":[60,"10"]}]}}"#,
        ),
        (
            "query?query=m&time=60&limit=1",
            r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"m","instance":"a"},"value":[60,"1"]}]},"warnings":["results truncated due to limit"]}"#,
        ),
        (
            "query?query=1.5",
            r#"{"status":"success","data":{"resultType":"scalar","result":[120,"1.5"]}}"#,
        ),
        (
            "query?query=%22x%22&time=0.5",
            r#"{"status":"success","data":{"resultType":"string","result":[0.500,"x"]}}"#,
        ),
        (
            "query_range?query=sum(m)&start=0&end=120&step=60",
            r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[0,"0"],[60,"11"],[120,"22"]]}]}}"#,
        ),
        (
            "query_range?query=sum(m)&start=0&end=60&step=1m",
            r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[0,"0"],[60,"11"]]}]}}"#,
        ),
        (
            "series?match[]=m",
            r#"{"status":"success","data":[{"__name__":"m","instance":"a"},{"__name__":"m","instance":"b\""}]}"#,
        ),
        (
            "series?match[]=m&limit=1",
            r#"{"status":"success","data":[{"__name__":"m","instance":"a"}],"warnings":["results truncated due to limit"]}"#,
        ),
        (
            "series?match[]=m&start=500",
            r#"{"status":"success","data":[]}"#,
        ),
        (
            "labels",
            r#"{"status":"success","data":["__name__","instance"]}"#,
        ),
        (
            "label/instance/values",
            r#"{"status":"success","data":["a","b\""]}"#,
        ),
        (
            "label/instance/values?match[]={instance=\"a\"}",
            r#"{"status":"success","data":["a"]}"#,
        ),
        (
            "metadata?metric=a_total&limit_per_metric=1",
            r#"{"status":"success","data":{"a_total":[{"help":"Help.","type":"counter","unit":""}]}}"#,
        ),
        (
            "status/config",
            r#"{"status":"success","data":{"yaml":"global: {}\n"}}"#,
        ),
        (
            "status/flags",
            r#"{"status":"success","data":{"config.file":"x"}}"#,
        ),
        (
            "scrape_pools",
            r#"{"status":"success","data":{"scrapePools":["j"]}}"#,
        ),
        (
            "alertmanagers",
            r#"{"status":"success","data":{"activeAlertmanagers":[{"url":"http://am:9093/api/v2/alerts"}],"droppedAlertmanagers":[]}}"#,
        ),
        (
            "narthex/plugins",
            r#"{"status":"success","data":[{"name":"p"}]}"#,
        ),
        (
            "query_exemplars?query=m&start=1&end=2",
            r#"{"status":"success","data":[{"seriesLabels":{"__name__":"m"},"exemplars":[{"labels":{"trace_id":"a\"b"},"value":"0.5","timestamp":1}]}]}"#,
        ),
        ("labels?start=5&end=1", r#"{"status":"success","data":[]}"#),
        (
            "query_range?query=m&start=-292273086-05-16T16:47:06Z&end=292277025-08-18T07:12:54.999999999Z&step=1e12",
            r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#,
        ),
        (
            "status/walreplay",
            r#"{"status":"success","data":{"current":0,"max":0,"min":0}}"#,
        ),
        (
            "status/tsdb/blocks",
            r#"{"status":"success","data":{"blocks":[{"minTime":1,"ulid":"01ARZ3NDEKTSV4RRFFQ69G5FAV"}]}}"#,
        ),
        (
            "parse_query?query=-(1)",
            r#"{"status":"success","data":{"expr":{"expr":{"type":"numberLiteral","val":"1"},"type":"parenExpr"},"op":"-","type":"unaryExpr"}}"#,
        ),
        (
            "format_query?query=sum(m)by(a)",
            r#"{"status":"success","data":"sum by (a) (m)"}"#,
        ),
    ] {
        let path = format!("/api/v1/{}", path.replace('"', "%22"));
        assert_eq!(
            get(&server, &path).await,
            (200, expected.to_owned()),
            "{path}"
        );
    }
}

#[tokio::test]
async fn refuses() {
    let server = start(true, false).await;
    for (path, status, kind, error) in [
        (
            "query?query=",
            400,
            "bad_data",
            "invalid parameter \"query\": ",
        ),
        (
            "query?query=m{",
            400,
            "bad_data",
            "invalid parameter \"query\": 1:3: parse error: ",
        ),
        (
            "query?query=m&time=x",
            400,
            "bad_data",
            "invalid parameter \"time\": invalid time value for 'time': cannot parse \"x\" to a valid timestamp",
        ),
        (
            "query?query=m&limit=-1",
            400,
            "bad_data",
            "invalid parameter \"limit\": limit must be non-negative",
        ),
        (
            "query_range?query=m&start=0&end=1",
            400,
            "bad_data",
            "invalid parameter \"step\"",
        ),
        (
            "query_range?query=m[5m]&start=0&end=1&step=1",
            400,
            "bad_data",
            "invalid expression type \"range vector\" for range query",
        ),
        (
            "query?query=label_replace(m,%22instance%22,%22x%22,%22%22,%22%22)&time=60",
            422,
            "execution",
            "same labelset",
        ),
        (
            "query?query=m&limit=x",
            400,
            "bad_data",
            "invalid parameter \"limit\": strconv.Atoi: parsing \"x\": invalid syntax",
        ),
        (
            "query?query=m&lookback_delta=x",
            400,
            "bad_data",
            "error parsing lookback delta duration: cannot parse \"x\" to a valid duration",
        ),
        (
            "query?query=m&timeout=x",
            400,
            "bad_data",
            "invalid parameter \"timeout\": cannot parse \"x\" to a valid duration",
        ),
        (
            "query?query=m&timeout=0",
            503,
            "timeout",
            "query timed out in ",
        ),
        (
            "query_range?query=m&start=5&end=1&step=1",
            400,
            "bad_data",
            "invalid parameter \"end\": end timestamp must not be before start time",
        ),
        (
            "query_range?query=m&start=0&end=1&step=0",
            400,
            "bad_data",
            "invalid parameter \"step\": zero or negative",
        ),
        (
            "query_range?query=m&start=0&end=11001&step=1",
            400,
            "bad_data",
            "exceeded maximum resolution of 11,000 points per timeseries",
        ),
        (
            "parse_query?query=m{",
            400,
            "bad_data",
            "invalid parameter \"query\": 1:3: parse error: ",
        ),
        (
            "query_exemplars?query=m{",
            400,
            "bad_data",
            "1:3: parse error: ",
        ),
        (
            "query_exemplars?query=m&start=5&end=1",
            400,
            "bad_data",
            "end timestamp must not be before start timestamp",
        ),
        ("series", 400, "bad_data", "no match[] parameter provided"),
        (
            "series?match[]={a=~%22.*%22}",
            400,
            "bad_data",
            "invalid parameter \"match[]\": match[] must contain at least one non-empty matcher",
        ),
        ("label/a/values?match[]={", 400, "bad_data", "parse error"),
        (
            "rules?type=other",
            400,
            "bad_data",
            "not supported value \"other\"",
        ),
        ("rules?group_limit=0", 400, "bad_data", "positive number"),
        ("status/tsdb?limit=0", 400, "bad_data", "positive number"),
    ] {
        let path = format!("/api/v1/{path}")
            .replace('[', "%5B")
            .replace('{', "%7B");
        let (code, text) = get(&server, &path).await;
        let json: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (code, &json["status"], &json["errorType"]),
            (status, &json!("error"), &json!(kind)),
            "{path}: {text}"
        );
        assert!(
            json["error"].as_str().unwrap().contains(error),
            "{path}: {text}"
        );
    }
    let (code, text) = get(&server, "/api/v1/none").await;
    assert_eq!(code, 404);
    assert!(text.contains("404 page not found"), "{text}");
    assert_eq!(
        request(&server, "DELETE", "/api/v1/query", "", "").await.0,
        405
    );
    assert_eq!(request(&server, "POST", "/-/reload", "", "").await.0, 403);
    assert_eq!(get(&server, "/plugins/none/metrics").await.0, 404);
    assert_eq!(
        get(&server, "/plugins/broken/metrics").await,
        (500, "plugin broken trapped\n".to_owned())
    );
}

#[tokio::test]
async fn a_form_and_the_url_merge() {
    let server = start(true, false).await;
    let head = "content-type: application/x-www-form-urlencoded\r\n";
    let (status, _, body) = request(
        &server,
        "POST",
        "/api/v1/query?time=60",
        head,
        "query=sum%28m%29",
    )
    .await;
    assert_eq!(status, 200);
    assert!(String::from_utf8(body).unwrap().contains(r#"[60,"11"]"#));
}

#[tokio::test]
async fn rules_are_filtered_and_paged() {
    let server = start(true, false).await;
    let names = |json: &Value| -> Vec<String> {
        let groups = json["data"]["groups"].as_array().unwrap();
        let rules = groups
            .iter()
            .flat_map(|group| group["rules"].as_array().unwrap());
        rules
            .map(|rule| rule["name"].as_str().unwrap().to_owned())
            .collect()
    };
    for (parameters, expected) in [
        ("", &["r", "A", "s"][..]),
        ("?type=alert", &["A"]),
        ("?type=record", &["r", "s"]),
        ("?rule_name[]=r&rule_name[]=s", &["r", "s"]),
        ("?rule_group[]=second", &["s"]),
        ("?file[]=none", &[]),
        ("?match[]={severity=%22page%22}", &["r", "A", "s"]),
        ("?match[]={severity=%22x%22}", &[]),
        ("?group_limit=1", &["r", "A"]),
    ] {
        let (_, text) = get(&server, &format!("/api/v1/rules{parameters}")).await;
        let json: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(names(&json), expected, "{parameters}");
    }
    let (_, text) = get(&server, "/api/v1/rules?group_limit=1").await;
    let first: Value = serde_json::from_str(&text).unwrap();
    let token = first["data"]["groupNextToken"].as_str().unwrap();
    let (_, text) = get(
        &server,
        &format!("/api/v1/rules?group_limit=1&group_next_token={token}"),
    )
    .await;
    assert_eq!(names(&serde_json::from_str(&text).unwrap()), ["s"]);
    let alert = &first["data"]["groups"][0]["rules"][1]["alerts"][0];
    assert_eq!(alert["value"], "1e+00");
    assert_eq!(alert["activeAt"], "1970-01-01T00:00:01Z");
    assert_eq!(
        first["data"]["groups"][0]["lastEvaluation"],
        "0001-01-01T00:00:00Z"
    );
    let (_, text) = get(&server, "/api/v1/alerts").await;
    assert!(text.contains(r#""state":"firing""#));
}

#[tokio::test]
async fn the_alertmanager_side() {
    let server = start(true, false).await;
    let (_, text) = get(&server, "/api/v2/alerts").await;
    let alerts: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(alerts[0]["startsAt"], "1970-01-01T00:00:00.000Z");
    assert_eq!(alerts[0]["status"]["state"], "active");
    assert_eq!(
        get(&server, "/api/v2/alerts?filter=bad").await,
        (400, "\"bad matcher format: bad\"".to_owned())
    );
    assert_eq!(
        get(&server, "/api/v2/receivers").await.1,
        r#"[{"name":"hook"}]"#
    );
    assert!(
        get(&server, "/api/v2/status")
            .await
            .1
            .contains(r#""version":"2""#)
    );
    assert!(
        get(&server, "/api/v2/status")
            .await
            .1
            .contains(r#""original":"route: {}""#)
    );
    assert!(
        get(&server, "/api/v2/alerts/groups")
            .await
            .1
            .contains(r#""receiver":{"name":"hook"}"#)
    );
    for (body, status) in [
        (r#"[{"labels":{"alertname":"x"}}]"#, 200),
        (
            r#"[{"labels":{"alertname":"x"},"startsAt":"2026-01-01T00:00:00Z","endsAt":"0001-01-01T00:00:00Z"}]"#,
            200,
        ),
        (r#"[{"labels":{"x":"x"}}]"#, 400),
        (
            r#"[{"labels":{"alertname":"x"},"startsAt":"yesterday"}]"#,
            400,
        ),
        ("{", 400),
    ] {
        assert_eq!(
            request(&server, "POST", "/api/v2/alerts", "", body).await.0,
            status,
            "{body}"
        );
    }
}

#[tokio::test]
async fn what_is_not_ready_says_so() {
    let server = start(false, true).await;
    assert_eq!(get(&server, "/-/healthy").await.0, 200);
    assert_eq!(get(&server, "/-/ready").await.0, 503);
    assert_eq!(get(&server, "/api/v1/query?query=up").await.0, 503);
    let (status, _, body) = request(&server, "POST", "/-/reload", "", "").await;
    let text = String::from_utf8(body).unwrap();
    assert_eq!(
        (status, text.as_str()),
        (500, "failed to reload config: prometheus.yml:1:1: no\n")
    );
}

#[tokio::test]
async fn what_starts_is_healthy_and_not_ready() {
    let listeners = Listeners::bind(&["127.0.0.1:0".to_owned()]).await.unwrap();
    let (stop, _) = watch::channel(false);
    let server = Server {
        address: listeners.addresses()[0],
        _stop: stop,
    };
    let progress = Arc::new(ReplayProgress::default());
    progress.begin(3, 9);
    progress.advance(4);
    let starting = listeners.answer_starting(progress.clone()).unwrap();
    assert_eq!(get(&server, "/-/healthy").await.0, 200);
    assert_eq!(
        get(&server, "/api/v1/status/walreplay").await.1,
        r#"{"status":"success","data":{"current":4,"max":9,"min":3}}"#
    );
    for path in ["/-/ready", "/api/v1/query?query=up", "/metrics", "/none"] {
        assert_eq!(get(&server, path).await.0, 503, "{path}");
    }
    // One that connects and says nothing must not hold up what follows.
    let _silent = TcpStream::connect(server.address).await.unwrap();
    starting.end().await;
    let server = start_on(listeners, true, false);
    assert_eq!(get(&server, "/-/ready").await.0, 200);
    assert_eq!(get(&server, "/api/v1/query?query=up").await.0, 200);
}

#[tokio::test]
async fn headers() {
    let server = start(true, false).await;
    let (_, head, _) = request(&server, "GET", "/api/v1/labels", "origin: http://x\r\n", "").await;
    assert!(head.contains("access-control-allow-origin: *"), "{head}");
    let (status, _, _) = request(&server, "OPTIONS", "/api/v1/query", "", "").await;
    assert_eq!(status, 204);
    let (_, head, body) = request(&server, "GET", "/", "accept-encoding: br, gzip\r\n", "").await;
    assert!(head.contains("content-encoding: gzip"), "{head}");
    assert_eq!(body[..2], [0x1f, 0x8b]);
    let (_, head, _) = request(&server, "GET", "/", "accept-encoding: gzip;q=0\r\n", "").await;
    assert!(!head.contains("content-encoding"), "{head}");
}

#[tokio::test]
async fn origins_that_are_not_allowed_are_told_nothing() {
    let listeners = Listeners::bind(&["127.0.0.1:0".to_owned()]).await.unwrap();
    let fixed = Arc::new(Fixed {
        ready: true,
        deleted: Mutex::default(),
    });
    let options = Options {
        cross_origin: Some(Regexp::anchored("https?://(a|b)\\.example").unwrap()),
        ..options()
    };
    let server = start_these(listeners, parts(&fixed), options);
    for (origin, allowed) in [
        ("http://a.example", true),
        ("https://b.example", true),
        ("https://b.example.evil", false),
        ("null", false),
    ] {
        let header = format!("origin: {origin}\r\n");
        let (_, head, _) = request(&server, "GET", "/api/v1/labels", &header, "").await;
        let told = head.contains(&format!("access-control-allow-origin: {origin}\r\n"));
        assert_eq!(told, allowed, "{origin}: {head}");
        assert!(head.contains("vary: origin"), "{head}");
    }
}

#[tokio::test]
async fn lists_of_metadata_have_limits_of_their_own() {
    let server = start(true, false).await;
    for (path, code, expected) in [
        ("metadata", 200, "b_total"),
        ("metadata?limit=-1", 200, "b_total"),
        ("metadata?limit=0", 200, r#""data":{}"#),
        ("metadata?limit_per_metric=0", 200, "Other."),
        (
            "metadata?limit=x",
            400,
            "\"error\":\"limit must be a number\"",
        ),
        (
            "metadata?limit_per_metric=1.5",
            400,
            "limit_per_metric must be a number",
        ),
        ("targets/metadata?limit=0", 200, r#""data":[]"#),
        ("targets/metadata?limit=1", 200, "a_total"),
        ("targets/metadata?limit=x", 400, "limit must be a number"),
    ] {
        let (status, text) = get(&server, &format!("/api/v1/{path}")).await;
        assert_eq!(status, code, "{path}: {text}");
        assert!(text.contains(expected), "{path}: {text}");
    }
}

#[tokio::test]
async fn targets_by_state() {
    let server = start(true, false).await;
    for (parameters, active, dropped) in [
        ("", 1, 1),
        ("?state=", 1, 1),
        ("?state=Any", 1, 1),
        ("?state=active", 1, 0),
        ("?state=dropped", 0, 1),
        ("?state=other", 0, 0),
        ("?scrapePool=k", 0, 0),
    ] {
        let (_, text) = get(&server, &format!("/api/v1/targets{parameters}")).await;
        let json: Value = serde_json::from_str(&text).unwrap();
        let count = |name: &str| json["data"][name].as_array().unwrap().len();
        assert_eq!(
            (count("activeTargets"), count("droppedTargets")),
            (active, dropped),
            "{parameters}"
        );
    }
}

#[tokio::test]
async fn addresses_that_are_none_say_what_is_expected() {
    for address in ["nonsense", "127.0.0.1:99999", "127.0.0.1"] {
        let error = Listeners::bind(&[address.to_owned()]).await.err().unwrap();
        let text = error.to_string();
        assert!(text.contains(address), "{text}");
        assert!(text.contains("host:port"), "{text}");
        assert!(text.contains("--web.listen-address"), "{text}");
    }
}

#[tokio::test]
async fn an_operator_may_change_the_store_if_a_flag_allows_it() {
    let delete = "/api/v1/admin/tsdb/delete_series?match%5B%5D=m&start=1&end=2";
    let forbidden = start(true, false).await;
    let (status, _, body) = request(&forbidden, "POST", delete, "", "").await;
    let text = String::from_utf8(body).unwrap();
    assert_eq!(status, 500);
    assert!(
        text.contains("admin APIs disabled") && text.contains("\"unavailable\""),
        "{text}"
    );

    let (server, parts) = start_with_parts(true, true).await;
    for (method, path, expected) in [
        ("POST", delete, (204, "")),
        ("PUT", delete, (204, "")),
        ("GET", delete, (405, "")),
        (
            "POST",
            "/api/v1/admin/tsdb/delete_series",
            (400, "no match[] parameter provided"),
        ),
        (
            "POST",
            "/api/v1/admin/tsdb/snapshot?skip_head=true",
            (
                200,
                r#"{"status":"success","data":{"name":"20260101T000000Z-true"}}"#,
            ),
        ),
        (
            "POST",
            "/api/v1/admin/tsdb/snapshot?skip_head=perhaps",
            (400, "skip_head"),
        ),
        (
            "POST",
            "/api/v1/admin/tsdb/clean_tombstones",
            (500, "the disk is gone"),
        ),
    ] {
        let (status, _, body) = request(&server, method, path, "", "").await;
        let text = String::from_utf8(body).unwrap();
        assert_eq!(status, expected.0, "{method} {path}: {text}");
        assert!(text.contains(expected.1), "{method} {path}: {text}");
    }
    let deleted = parts.deleted.lock().unwrap();
    assert_eq!(*deleted, [r#"__name__="m" 1000 2000"#; 2]);
}
