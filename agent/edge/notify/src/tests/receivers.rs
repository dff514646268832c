//! Receivers that answer, refuse, are slow or away.

use std::io;

use narthex_alerting::AlertFilter;

use super::*;

const FAILED: &str = "alertmanager_notifications_failed_total";
const REQUESTS_FAILED: &str = "alertmanager_notification_requests_failed_total";

async fn failed(registry: &Registry, reason: &str, times: f64) {
    let labels = [("integration", "webhook"), ("reason", reason)];
    counted_at(registry, FAILED, &labels, times).await;
}

#[tokio::test]
async fn an_alert_and_its_end_arrive() {
    let server = Server::start([]).await;
    let (handle, registry) = start(config(vec![webhook(&server.url())]));
    handle.post_alerts(vec![alert("a")]).unwrap();
    let first = server.wait_for(1).await;
    assert_eq!(names(&first[0]), ["a"]);
    assert_eq!(
        (first[0].path.as_str(), &first[0].body["version"]),
        ("/hook", &"4".into())
    );
    assert_eq!(first[0].body["status"], "firing");
    handle.post_alerts(vec![resolved("a")]).unwrap();
    let both = server.wait_for(2).await;
    assert_eq!(names(&both[1]), ["a!"]);
    assert_eq!(both[1].body["notification_reason"], "all alerts resolved");
    eventually(|| handle.groups(&AlertFilter::default()).is_empty()).await;
    counted(&registry, "alertmanager_notifications_total", 2.0).await;
    counted(&registry, "alertmanager_alerts_received_total", 2.0).await;
    counted(&registry, "alertmanager_notification_latency_seconds", 2.0).await;
    assert_eq!(metric(&registry, FAILED, &[]), 0.0);
}

#[tokio::test]
async fn a_server_that_recovers_gets_it_once() {
    let server = Server::start([Answer::status(500), Answer::status(503)]).await;
    let (handle, registry) = start(config(vec![webhook(&server.url())]));
    handle.post_alerts(vec![alert("a")]).unwrap();
    server.wait_for(1).await;
    assert_eq!(server.received().len(), 3);
    counted(&registry, REQUESTS_FAILED, 2.0).await;
    assert_eq!(metric(&registry, FAILED, &[]), 0.0);
    counted(&registry, "alertmanager_notifications_total", 1.0).await;
}

#[tokio::test]
async fn a_refusal_is_final_until_the_next_flush() {
    let server = Server::start([Answer::status(400), Answer::status(403)]).await;
    let (handle, registry) = start(config(vec![webhook(&server.url())]));
    handle.post_alerts(vec![alert("a")]).unwrap();
    server.wait_for(1).await;
    assert_eq!(server.received().len(), 3);
    failed(&registry, "clientError", 1.0).await;
    failed(&registry, "authError", 1.0).await;
    counted(&registry, "alertmanager_notifications_total", 3.0).await;
}

#[tokio::test]
async fn who_asks_for_a_pause_gets_it() {
    let busy = Answer {
        retry_after: Some(2),
        ..Answer::status(429)
    };
    let server = Server::start([busy]).await;
    let (handle, registry) = start(config(vec![webhook(&server.url())]));
    let started = Instant::now();
    handle.post_alerts(vec![alert("a")]).unwrap();
    server.wait_for(1).await;
    assert!(started.elapsed() >= Duration::from_secs(2));
    assert_eq!(metric(&registry, FAILED, &[]), 0.0);
}

#[tokio::test]
async fn a_slow_server_is_tried_again_after_the_timeout() {
    let slow = Answer {
        after: Duration::from_secs(60),
        ..Answer::status(200)
    };
    let server = Server::start([slow]).await;
    let hook = WebhookConfig {
        timeout_ms: 200,
        ..webhook(&server.url())
    };
    let (handle, registry) = start(config(vec![hook]));
    handle.post_alerts(vec![alert("a")]).unwrap();
    eventually(|| server.received().len() == 2).await;
    counted(&registry, REQUESTS_FAILED, 1.0).await;
    assert_eq!(metric(&registry, FAILED, &[]), 0.0);
}

/// Nothing listens at this port, and no test is given it.
const NOWHERE: &str = "http://127.0.0.1:1/";

#[tokio::test]
async fn one_that_is_away_holds_up_nobody_else() {
    let server = Server::start([]).await;
    let away = webhook(NOWHERE);
    let (handle, registry) = start(config(vec![away, webhook(&server.url())]));
    handle.post_alerts(vec![alert("a"), alert("b")]).unwrap();
    server.wait_for(2).await;
    eventually(|| metric(&registry, REQUESTS_FAILED, &[]) >= 2.0).await;
}

#[tokio::test]
async fn a_corrected_address_is_tried_at_once() {
    let server = Server::start([]).await;
    let mut wrong = config(vec![webhook(NOWHERE)]);
    wrong.routing.route.group_interval_ms = Some(3_600_000);
    let mut right = wrong.clone();
    right.receivers[0].webhooks = vec![webhook(&server.url())];
    let (handle, registry) = start(wrong);
    handle.post_alerts(vec![alert("a")]).unwrap();
    eventually(|| metric(&registry, REQUESTS_FAILED, &[]) >= 1.0).await;
    handle.apply(right).unwrap();
    assert_eq!(names(&server.wait_for(1).await[0]), ["a"]);
    failed(&registry, "contextCanceled", 1.0).await;
}

#[tokio::test]
async fn the_address_can_come_from_a_file_and_a_template() {
    let server = Server::start([]).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("url");
    let hook = WebhookConfig {
        url: WebhookUrl::File(path.clone()),
        ..webhook("")
    };
    let (handle, registry) = start(config(vec![hook]));
    handle.post_alerts(vec![alert("a")]).unwrap();
    eventually(|| metric(&registry, FAILED, &[("reason", "other")]) >= 1.0).await;
    let url = format!(
        "http://{}/{{{{ .GroupLabels.alertname }}}}/x\n",
        server.address
    );
    std::fs::write(&path, url).unwrap();
    assert_eq!(server.wait_for(1).await[0].path, "/a/x");
}

#[tokio::test]
async fn the_order_of_integrations_does_not_matter_to_the_log() {
    let (one, two) = (Server::start([]).await, Server::start([]).await);
    let hooks = [webhook(&one.url()), webhook(&two.url())];
    let (handle, _) = start(config(hooks.to_vec()));
    handle.post_alerts(vec![alert("a")]).unwrap();
    one.wait_for(1).await;
    two.wait_for(1).await;
    let reversed = hooks.into_iter().rev().collect();
    handle.apply(config(reversed)).unwrap();
    handle.post_alerts(vec![alert("b")]).unwrap();
    one.wait_for(2).await;
    two.wait_for(2).await;
    for server in [one, two] {
        let told: Vec<String> = server.accepted().iter().flat_map(names).collect();
        assert_eq!(told, ["a", "b"]);
    }
}

#[tokio::test]
async fn a_wrong_configuration_changes_nothing() {
    let server = Server::start([]).await;
    let (handle, registry) = start(config(vec![webhook(&server.url())]));
    let mut wrong = config(vec![webhook("http://127.0.0.1:1/")]);
    wrong.routing.route.receiver = Some("nobody".to_owned());
    let error = handle.apply(wrong).unwrap_err().to_string();
    assert_eq!(
        error,
        "route.receiver: undefined receiver \"nobody\" used in route"
    );
    let mut wrong = config(vec![webhook("http://127.0.0.1:1/")]);
    wrong.receivers[0].webhooks[0].http.proxy_url = Some("http://[".to_owned());
    let error = handle.apply(wrong).unwrap_err().to_string();
    assert!(
        error.starts_with("receiver \"ops\": webhook_configs[0]: proxy_url: "),
        "{error}"
    );
    handle.reload_failed();
    assert_eq!(
        metric(&registry, "alertmanager_config_last_reload_successful", &[]),
        0.0
    );
    handle.post_alerts(vec![alert("a")]).unwrap();
    server.wait_for(1).await;
}

#[tokio::test]
async fn the_good_of_a_batch_are_taken() {
    let server = Server::start([]).await;
    let (handle, registry) = start(config(vec![webhook(&server.url())]));
    let ends_first = PostedAlert {
        starts_at_ms: Some(2),
        ends_at_ms: Some(1),
        ..alert("b")
    };
    let batch = vec![alert("a"), PostedAlert::default(), ends_first];
    let error = handle.post_alerts(batch).unwrap_err();
    assert_eq!(
        error.to_string(),
        "at least one label pair required; start time must be before end time"
    );
    assert_eq!(names(&server.wait_for(1).await[0]), ["a"]);
    counted(&registry, "alertmanager_alerts_invalid_total", 2.0).await;
}

#[tokio::test]
async fn without_receivers_alerts_are_still_listed() {
    let (handle, _) = start(Config::without_receivers());
    handle.post_alerts(vec![alert("a")]).unwrap();
    let views = handle.alerts(&AlertFilter::default());
    assert_eq!(views.len(), 1);
    assert_eq!(views[0].alert.name(), "a");
    assert_eq!(handle.receivers(), ["none"]);
}

#[derive(Default)]
struct Memory(Mutex<Option<Vec<u8>>>);

impl StateStore for Memory {
    fn save(&self, bytes: &[u8]) -> io::Result<()> {
        *self.0.lock().unwrap() = Some(bytes.to_vec());
        Ok(())
    }

    fn load(&self) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.lock().unwrap().clone())
    }
}

fn start_with(store: &Arc<Memory>, config: Config) -> Handle {
    let options = Options {
        store: Some(store.clone()),
        ..Options::default()
    };
    Manager::start(config, &Registry::new(), options).unwrap()
}

#[tokio::test]
async fn a_restart_tells_nobody_again() {
    let server = Server::start([]).await;
    let store = Arc::new(Memory::default());
    let config = config(vec![webhook(&server.url())]);
    let handle = start_with(&store, config.clone());
    handle.post_alerts(vec![alert("a")]).unwrap();
    server.wait_for(1).await;
    // The result is noted, and saved, a moment after the server has answered.
    eventually(|| store.0.lock().unwrap().is_some()).await;
    handle.shutdown().await;
    let handle = start_with(&store, config);
    handle.post_alerts(vec![alert("a"), alert("b")]).unwrap();
    let told = server.wait_for(2).await;
    assert_eq!(names(&told[1]), ["b"]);
    handle.post_alerts(vec![resolved("a")]).unwrap();
    let told = server.wait_for(3).await;
    assert_eq!(names(&told[2]), ["a!"]);
}

#[tokio::test]
async fn a_broken_log_does_not_keep_it_from_starting() {
    let server = Server::start([]).await;
    let store = Arc::new(Memory(Mutex::new(Some(b"garbage".to_vec()))));
    let handle = start_with(&store, config(vec![webhook(&server.url())]));
    handle.post_alerts(vec![alert("a")]).unwrap();
    server.wait_for(1).await;
}

#[tokio::test]
async fn what_is_under_way_ends_with_the_agent() {
    let hanging = Answer {
        after: Duration::from_secs(3600),
        ..Answer::status(200)
    };
    let server = Server::start([hanging]).await;
    let (handle, registry) = start(config(vec![webhook(&server.url())]));
    handle.post_alerts(vec![alert("a")]).unwrap();
    eventually(|| server.received().len() == 1).await;
    tokio::time::timeout(PATIENCE, handle.shutdown())
        .await
        .unwrap();
    failed(&registry, "contextCanceled", 1.0).await;
}
