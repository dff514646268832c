//! The plugin `kubernetes` in the whole agent, beside an API server whose connections break, which
//! forgets, is slow, talks nonsense and changes whom it trusts.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::agent::{Agent, plugin};
use crate::api_server::{ApiServer, Mood};
use crate::server::{Answer, Target};

const PODS: usize = 5000;

/// A cluster, the agent that finds targets in it, and a server that all its watched pods lead to.
struct Bench {
    server: ApiServer,
    target: Target,
    agent: Agent,
}

impl Bench {
    fn start() -> Self {
        let server = ApiServer::start().unwrap();
        server.require_token("first");
        let target = Target::start(Answer::Metrics("m 1\n".to_owned()));
        let prometheus = format!(
            "global: {{ scrape_interval: 1s }}\n\
             scrape_configs:\n\
             - job_name: pods\n  \
               keep_dropped_targets: 1\n  \
               kubernetes_sd_configs:\n  \
               - {{ role: pod, api_server: \"{}\", authorization: {{ credentials_file: token }} }}\n  \
               relabel_configs:\n  \
               - {{ source_labels: [__meta_kubernetes_pod_labelpresent_watched], regex: \"true\", action: keep }}\n  \
               - {{ source_labels: [__meta_kubernetes_pod_name], target_label: pod }}\n  \
               - {{ source_labels: [__meta_kubernetes_pod_label_watched], target_label: state }}\n",
            server.url()
        );
        let agent = Agent::new()
            .with("prometheus.yml", &prometheus)
            .with("token", "first\n");
        let narthex = format!(
            "plugins: {{ grants: {{ kubernetes: {{ http: [\"{}/*\"], files: [\"{}\"] }} }} }}\n",
            server.url(),
            agent.path("token").display()
        );
        agent.write("narthex.yml", &narthex);
        fs::copy(plugin("kubernetes"), agent.path("plugins/kubernetes.wasm")).unwrap();
        Bench {
            server,
            target,
            agent,
        }
    }

    /// One among many, whom nobody scrapes.
    fn put(&self, at: usize) {
        let address = format!("10.0.{}.{}", at / 250, at % 250 + 1);
        self.server.put(
            "pods",
            pod(&format!("pod-{at:05}"), &address, 9100, &json!({})),
        );
    }

    /// One that is scraped, with a state that shows in its label.
    fn watch(&self, name: &str, state: &str) {
        let (address, port) = self.target.address().split_once(':').map(own).unwrap();
        let labels = json!({ "watched": state });
        let pod = pod(name, &address, port.parse().unwrap(), &labels);
        self.server.put("pods", pod);
    }

    fn remove(&self, name: &str) {
        self.server.remove("pods", "default", name);
    }

    fn found(&self) -> f64 {
        self.agent.own_metric("prometheus_sd_discovered_targets")
    }

    /// Pod and state of each target that is scraped.
    fn watched(&self) -> Vec<(String, String)> {
        let answer = self.agent.get("/api/v1/targets?state=active");
        let targets = answer["data"]["activeTargets"].as_array().cloned();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut watched: Vec<(String, String)> = targets
            .unwrap_or_default()
            .iter()
            .map(|target| &target["labels"])
            .map(|labels| (text(&labels["pod"]), text(&labels["state"])))
            .collect();
        watched.sort();
        watched
    }

    /// Waits until just these are scraped, while all others stay; says how long that took.
    fn until_watched(&self, what: &str, expected: &[(&str, &str)]) {
        let began = Instant::now();
        self.agent.until(what, |_| {
            // Whatever happens on the way, nobody loses his targets.
            assert!(self.found() >= PODS as f64, "{what}: {}", self.found());
            let watched = self.watched();
            watched
                .iter()
                .map(|(pod, state)| (&**pod, &**state))
                .eq(expected.iter().copied())
        });
        println!("{what}: seen after {:?}", began.elapsed());
    }

    /// How often everything was asked for.
    fn lists(&self) -> usize {
        let requests = self.server.requests().into_iter();
        let lists = requests.filter(|target| !target.contains("watch=true"));
        lists.filter(|target| !target.contains("continue=")).count()
    }
}

fn own((address, port): (&str, &str)) -> (String, String) {
    (address.to_owned(), port.to_owned())
}

/// As rich as those of real clusters, of which labels show little.
fn pod(name: &str, address: &str, port: u16, labels: &Value) -> Value {
    let mut all = json!({ "app": "shop", "tier": "backend", "pod-template-hash": "5d9c7b6f4" });
    for (name, value) in labels.as_object().unwrap() {
        all[name] = value.clone();
    }
    let variables: Vec<Value> = (0..30)
        .map(|at| json!({ "name": format!("VARIABLE_{at}"), "value": "a value of some length" }))
        .collect();
    json!({
        "metadata": {
            "name": name, "namespace": "default", "uid": format!("uid-of-{name}"), "labels": all,
            "annotations": { "checksum/config": "0123456789abcdef0123456789abcdef" },
            "ownerReferences": [{ "kind": "ReplicaSet", "name": "shop-5d9c7b6f4", "controller": true }],
        },
        "spec": {
            "nodeName": "node-1",
            "containers": [{
                "name": "web", "image": "registry.test/shop:1.2.3", "env": variables,
                "ports": [{ "name": "metrics", "containerPort": port, "protocol": "TCP" }],
            }],
        },
        "status": {
            "podIP": address, "hostIP": "10.1.0.1", "phase": "Running",
            "conditions": [{ "type": "Ready", "status": "True" }],
            "containerStatuses": [{ "name": "web", "containerID": "containerd://0123456789" }],
        },
    })
}

#[test]
fn five_thousand_pods_are_followed_through_everything_that_breaks() {
    let mut bench = Bench::start();
    (0..PODS).for_each(|at| bench.put(at));
    bench.watch("a", "first");
    let began = Instant::now();
    bench.agent = bench.agent.start();
    bench
        .agent
        .until("all pods", |_| bench.found() == PODS as f64 + 1.0);
    println!(
        "{} targets {:?} after the start, compiling included",
        bench.found(),
        began.elapsed()
    );
    bench.until_watched("the first", &[("a", "first")]);
    bench
        .agent
        .until("a scrape", |a| a.value("m{pod=\"a\"}") == Some(1.0));

    bench.watch("a", "second");
    bench.until_watched("a change", &[("a", "second")]);
    bench.watch("b", "new");
    bench.until_watched("a new pod", &[("a", "second"), ("b", "new")]);
    assert_eq!(bench.lists(), 1);

    // What changes while the connection is broken is seen, and not everything is asked for again.
    bench.server.cut();
    bench.watch("b", "while it was broken");
    bench.remove("a");
    bench.until_watched("after a cut", &[("b", "while it was broken")]);
    assert_eq!(bench.lists(), 1, "it went on from where it was");
    bench
        .agent
        .until("a is stale", |a| a.query("m{pod=\"a\"}").is_empty());

    // The server forgets what has happened: 410 Gone, and a new list.
    bench.server.cut();
    bench.watch("b", "forgotten");
    bench.server.forget();
    bench.until_watched("after 410", &[("b", "forgotten")]);
    assert_eq!(bench.lists(), 2);

    let nonsense = || Mood::Say(200, "this is no JSON".to_owned());
    for mood in [
        Mood::Wait(Duration::from_secs(2)),
        Mood::BreakOff,
        nonsense(),
        Mood::Say(500, "oops".to_owned()),
    ] {
        bench.server.next(mood);
    }
    bench.server.cut();
    bench.watch("b", "answered slowly, by half, in nonsense and not at all");
    bench.server.forget();
    let expected = [("b", "answered slowly, by half, in nonsense and not at all")];
    bench.until_watched("after bad answers", &expected);

    // The account gets a new token, and its file has it somewhat later.
    bench.server.require_token("second");
    bench.server.cut();
    bench.watch("b", "behind a new token");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(bench.watched()[0].1, expected[0].1);
    bench.agent.write("token", "second\n");
    bench.until_watched("after the token", &[("b", "behind a new token")]);

    // As Prometheus tells of it.
    let told = |name: &str| bench.agent.own_metric(name);
    assert!(told("prometheus_sd_kubernetes_events_total") > PODS as f64);
    assert!(told("prometheus_sd_kubernetes_failures_total") >= 4.0);

    let plugins = bench.agent.get("/api/v1/narthex/plugins");
    let status = &plugins["data"][0];
    assert_eq!(status["state"], "running", "{status}");
    let usage = &status["usage"];
    assert_eq!(
        (&usage["restarts"], &usage["failures"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(usage["limitHits"], json!({}));
    println!(
        "the plugin had {} bytes at most, the agent {}",
        usage["memoryPeakBytes"],
        bench.agent.peak_memory_bytes()
    );
}
