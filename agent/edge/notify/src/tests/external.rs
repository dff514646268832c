//! Alertmanagers elsewhere.

use narthex_model::{Labels, Regexp};
use narthex_relabel::{Action, RelabelRule};

use super::*;

fn target(url: &str) -> AlertmanagerTarget {
    AlertmanagerTarget {
        url: url.to_owned(),
        timeout_ms: 10_000,
        http: HttpClientConfig::default(),
        alert_relabel: Vec::new(),
    }
}

/// Drops alerts of that name.
fn drop_rule(name: &str) -> RelabelRule {
    RelabelRule {
        source_labels: vec!["alertname".into()],
        separator: ";".to_owned(),
        regex: Regexp::anchored(name).unwrap(),
        modulus: 0,
        target_label: String::new(),
        replacement: "$1".to_owned(),
        action: Action::Drop,
    }
}

fn forwarded(request: &Received) -> Vec<String> {
    let alerts = request.body.as_array().unwrap();
    let name = |alert: &Value| alert["labels"]["alertname"].as_str().unwrap().to_owned();
    alerts.iter().map(name).collect()
}

fn count(registry: &Registry, name: &str, url: &str) -> f64 {
    let name = format!("prometheus_notifications_{name}");
    metric(registry, &name, &[("alertmanager", url)])
}

#[tokio::test]
async fn alerts_are_labelled_routed_and_forwarded() {
    let (receiver, elsewhere) = (Server::start([]).await, Server::start([]).await);
    let (handle, registry) = start(config(vec![webhook(&receiver.url())]));
    handle.set_labelling(Labelling {
        external_labels: Labels::from_pairs([("region", "eu"), ("own", "no")]),
        relabel: vec![drop_rule("secret")],
    });
    let url = elsewhere.url();
    let refused = handle.set_alertmanagers(vec![AlertmanagerTarget {
        alert_relabel: vec![drop_rule("local")],
        ..target(&url)
    }]);
    assert!(refused.is_empty());
    assert_eq!(handle.alertmanagers(), std::slice::from_ref(&url));
    let mut own = alert("a");
    own.labels.insert("own".to_owned(), "yes".to_owned());
    own.annotations.insert("summary".to_owned(), "s".to_owned());
    own.starts_at_ms = Some(1_700_000_000_000);
    own.ends_at_ms = Some(4_000_000_000_500);
    own.generator_url = "http://p/graph".to_owned();
    handle.send_alerts(vec![own, alert("local"), alert("secret")]);
    let request = elsewhere.wait_for(1).await.remove(0);
    assert_eq!(
        request.body,
        serde_json::json!([{
            "labels": {"alertname": "a", "own": "yes", "region": "eu"},
            "annotations": {"summary": "s"},
            "startsAt": "2023-11-14T22:13:20Z",
            "endsAt": "2096-10-02T07:06:40.5Z",
            "generatorURL": "http://p/graph",
        }])
    );
    let told = receiver.wait_for(2).await;
    let mut told: Vec<String> = told.iter().flat_map(names).collect();
    told.sort();
    assert_eq!(told, ["a", "local"]);
    eventually(|| count(&registry, "sent_total", &url) == 1.0).await;
    assert_eq!(count(&registry, "errors_total", &url), 0.0);
}

#[tokio::test]
async fn a_queue_is_bounded_and_sent_in_batches() {
    let holding = Answer {
        after: Duration::from_secs(2),
        ..Answer::status(200)
    };
    let server = Server::start([holding]).await;
    let registry = Registry::new();
    let options = Options {
        queue_capacity: 600,
        ..Options::default()
    };
    let handle = Manager::start(Config::without_receivers(), &registry, options).unwrap();
    let url = server.url();
    handle.set_alertmanagers(vec![target(&url)]);
    handle.send_alerts(vec![alert("first")]);
    eventually(|| server.received().len() == 1).await;
    // While the server holds the first request, more comes than the queue takes.
    let many = (0..700)
        .map(|number| alert(&format!("n{number:03}")))
        .collect();
    handle.send_alerts(many);
    assert_eq!(count(&registry, "queue_length", &url), 600.0);
    assert_eq!(count(&registry, "dropped_total", &url), 100.0);
    let requests = server.wait_for(4).await;
    let sizes: Vec<usize> = requests.iter().map(|r| forwarded(r).len()).collect();
    assert_eq!(sizes, [1, 256, 256, 88]);
    assert_eq!(forwarded(&requests[1])[0], "n100");
    assert_eq!(forwarded(&requests[3])[87], "n699");
    eventually(|| count(&registry, "sent_total", &url) == 601.0).await;
}

#[tokio::test]
async fn what_fails_is_counted_and_not_tried_again() {
    let (bad, good) = (
        Server::start([Answer::status(500)]).await,
        Server::start([]).await,
    );
    let (handle, registry) = start(Config::without_receivers());
    handle.set_alertmanagers(vec![target(&bad.url()), target(&good.url())]);
    handle.send_alerts(vec![alert("a")]);
    eventually(|| count(&registry, "errors_total", &bad.url()) == 1.0).await;
    assert_eq!(count(&registry, "dropped_total", &bad.url()), 1.0);
    assert_eq!(count(&registry, "sent_total", &bad.url()), 1.0);
    good.wait_for(1).await;
    handle.send_alerts(vec![alert("b")]);
    assert_eq!(forwarded(&bad.wait_for(1).await[0]), ["b"]);
}

#[tokio::test]
async fn targets_come_and_go() {
    let (one, two) = (Server::start([]).await, Server::start([]).await);
    let (handle, registry) = start(Config::without_receivers());
    handle.set_alertmanagers(vec![target(&one.url()), target(&one.url())]);
    assert_eq!(handle.alertmanagers(), [one.url()]);
    let broken = AlertmanagerTarget {
        http: HttpClientConfig {
            proxy_url: Some("http://[".to_owned()),
            ..HttpClientConfig::default()
        },
        ..target("http://broken/")
    };
    let refused = handle.set_alertmanagers(vec![target(&two.url()), broken]);
    assert_eq!(refused[0].0.url, "http://broken/");
    let discovered = "prometheus_notifications_alertmanagers_discovered";
    assert_eq!(metric(&registry, discovered, &[]), 1.0);
    handle.send_alerts(vec![alert("a")]);
    two.wait_for(1).await;
    assert!(one.received().is_empty());
}

#[tokio::test]
async fn queues_are_emptied_at_the_end() {
    let slow = || Answer {
        after: Duration::from_millis(200),
        ..Answer::status(200)
    };
    let server = Server::start([slow(), slow()]).await;
    let (handle, _) = start(Config::without_receivers());
    handle.set_alertmanagers(vec![target(&server.url())]);
    handle.send_alerts(vec![alert("a")]);
    eventually(|| server.received().len() == 1).await;
    handle.send_alerts(vec![alert("b")]);
    handle.shutdown().await;
    let all: Vec<String> = server.received().iter().flat_map(forwarded).collect();
    assert_eq!(all, ["a", "b"]);
}
