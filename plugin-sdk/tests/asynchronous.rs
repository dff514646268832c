//! What plugins rely on when they wait: several things at once, in any order, given up at any time.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use futures_util::future::{self, Either};
use futures_util::stream::{FuturesUnordered, SelectAll, StreamExt};
use narthex_plugin_sdk::events::{TimeoutError, Watch, sleep_ms, timeout_ms};
use narthex_plugin_sdk::fake::{Host, Reply};
use narthex_plugin_sdk::testing::{self, Outcome};
use narthex_plugin_sdk::{
    ConfigError, Discovery, Error, HttpErrorCode, Manifest, NoConfig, TargetGroup, block_on, clock,
    http, publisher,
};

fn now_ms() -> u64 {
    clock::monotonic_ns() / 1_000_000
}

#[test]
fn sleeps_run_side_by_side() {
    let host = Host::install();
    let order = block_on(async {
        let sleeps = [30, 10, 20].map(|ms| async move {
            sleep_ms(ms).await.unwrap();
            (ms, now_ms())
        });
        let all: FuturesUnordered<_> = sleeps.into_iter().collect();
        all.collect::<Vec<_>>().await
    });
    assert_eq!(order, [(10, 10), (20, 20), (30, 30)]);
    assert_eq!(host.open_subscriptions(), 0);
}

#[test]
fn what_loses_a_race_is_closed() {
    let host = Host::install();
    host.answer("GET", "http://slow/", Reply::new(200).after_ms(500));
    block_on(async {
        let asked = pin!(http::get("http://slow/").send());
        match future::select(asked, sleep_ms(20)).await {
            Either::Left(_) => panic!("the answer came too early"),
            Either::Right((slept, _asked)) => slept.unwrap(),
        }
    });
    assert_eq!(host.open_subscriptions(), 0);
    assert_eq!(now_ms(), 20);
}

#[test]
fn timeouts_give_up() {
    let host = Host::install();
    host.answer(
        "GET",
        "http://slow/",
        Reply::new(200).body("x").after_ms(500),
    );
    let given = |limit_ms| {
        block_on(async {
            let incoming = timeout_ms(limit_ms, http::get("http://slow/").send()).await?;
            Ok::<_, TimeoutError>(incoming.unwrap().whole().await.unwrap().body)
        })
    };
    let error = given(499).unwrap_err();
    assert_eq!(error, TimeoutError::Elapsed { limit_ms: 499 });
    assert_eq!(error.to_string(), "no answer within 499ms");
    assert_eq!(host.open_subscriptions(), 0);
    assert_eq!(given(500).unwrap(), b"x");
    assert_eq!(host.open_subscriptions(), 0);
}

/// Pieces of several streams, in the order in which they come.
#[test]
fn several_streams_are_open_at_once() {
    let host = Host::install();
    let urls = ["http://a/", "http://b/", "http://c/"];
    for url in urls {
        host.answer("GET", url, Reply::new(200).stays_open());
    }
    host.then(|host| {
        host.push("http://b/", "b1").push("http://c/", "c1");
    });
    host.then(|host| {
        host.push("http://b/", "b2");
        host.push("http://b/", "b3");
        host.end("http://b/");
    });
    host.then(|host| {
        host.cut("http://c/", HttpErrorCode::Connection, "reset");
    });
    host.then(|host| {
        host.push("http://a/", "a1").end("http://a/");
    });
    let log = std::cell::RefCell::new(Vec::new());
    block_on(async {
        let read = |url: &'static str| {
            let log = &log;
            async move {
                let mut incoming = http::get(url).send().await.unwrap();
                loop {
                    let line = match incoming.chunk().await {
                        Ok(Some(piece)) => String::from_utf8(piece).unwrap(),
                        Ok(None) => break,
                        Err(error) => {
                            assert_eq!(incoming.chunk().await, Ok(None));
                            format!("{url} {error}")
                        }
                    };
                    log.borrow_mut().push(line);
                }
                log.borrow_mut().push(format!("{url} ended"));
            }
        };
        future::join_all(urls.map(read)).await;
    });
    assert_eq!(
        log.into_inner(),
        [
            "b1",
            "c1",
            "b2",
            "b3",
            "http://b/ ended",
            "http://c/ reset",
            "http://c/ ended",
            "a1",
            "http://a/ ended",
        ]
    );
    assert_eq!(host.open_streams(), [""; 0]);
}

#[test]
fn a_stream_that_nobody_reads_holds_up_nobody() {
    let host = Host::install();
    host.answer("GET", "http://a/", Reply::new(200).body("x").stays_open());
    block_on(async {
        let mut incoming = http::get("http://a/").send().await.unwrap();
        // It has a piece to give all the while.
        sleep_ms(10).await.unwrap();
        sleep_ms(10).await.unwrap();
        assert_eq!(incoming.chunk().await.unwrap().unwrap(), b"x");
        drop(incoming);
    });
    assert_eq!(host.open_streams(), [""; 0]);
    assert_eq!(now_ms(), 20);
}

#[test]
fn watches_are_a_stream() {
    let host = Host::install();
    host.then(|host| {
        host.write("/a", "1");
    });
    host.then(|host| {
        host.write("/elsewhere", "1");
    });
    host.then(|host| {
        host.write("/b/x.json", "1").write("/a", "2");
    });
    let changes = Rc::new(Cell::new(0));
    let seen = changes.clone();
    block_on(async move {
        let mut all: SelectAll<_> = ["/a", "/b/*.json"]
            .into_iter()
            .map(|path| Watch::new(path).unwrap())
            .collect();
        while seen.get() < 3 {
            all.next().await.unwrap();
            seen.set(seen.get() + 1);
        }
    });
    assert_eq!(changes.get(), 3);
    assert_eq!(host.open_subscriptions(), 0);
}

/// A future that wakes itself at each poll does not keep the others from being told.
#[test]
fn a_restless_future_starves_nobody() {
    let host = Host::install();
    let restless = poll_fn(|context| {
        host.advance_ms(1);
        context.waker().wake_by_ref();
        Poll::<()>::Pending
    });
    let slept = block_on(async {
        match future::select(pin!(sleep_ms(5)), restless).await {
            Either::Left((slept, _)) => slept,
            Either::Right(_) => unreachable!(),
        }
    });
    assert_eq!(slept, Ok(()));
}

#[test]
fn executors_nest() {
    let _host = Host::install();
    let inner = block_on(async {
        let outer = sleep_ms(10);
        block_on(async { sleep_ms(30).await.unwrap() });
        // Fired while the inner one waited.
        outer.await.unwrap();
        now_ms()
    });
    assert_eq!(inner, 30);
}

#[test]
fn futures_may_move_to_other_threads() {
    fn is_send<T: Send>(_: &T) {}
    is_send(&http::get("http://a/").send());
    is_send(&timeout_ms(1, sleep_ms(1)));
}

#[test]
#[should_panic(expected = "nothing would ever happen")]
fn waiting_for_nothing_fails_the_test() {
    let _host = Host::install();
    block_on(std::future::pending::<()>());
}

/// Publishes what a server says, again after every refresh and whenever a file changes.
struct Poller;

impl Discovery for Poller {
    type Config = NoConfig;

    fn manifest() -> Manifest {
        Manifest::new("a test")
    }

    fn new(_: NoConfig, _: &str) -> Result<Self, ConfigError> {
        Ok(Poller)
    }

    async fn run(self) -> Result<(), Error> {
        let mut watch = Watch::new("/now")?;
        loop {
            let text = http::get("http://list/")
                .send()
                .await?
                .whole()
                .await?
                .ok()?
                .text();
            publisher::publish(&[TargetGroup::of_addresses("all", text.split(' '))])?;
            future::select(pin!(watch.changed()), sleep_ms(60_000)).await;
        }
    }
}

fn run(host: &Host) -> (Outcome, Vec<Vec<String>>) {
    let outcome = testing::run(Poller);
    let addresses = |groups: Vec<TargetGroup>| -> Vec<String> {
        let targets = groups.into_iter().flat_map(|group| group.targets);
        targets.map(|target| target[0].1.clone()).collect()
    };
    (
        outcome,
        host.published().into_iter().map(addresses).collect(),
    )
}

#[test]
fn discoveries_run_until_the_script_is_over() {
    let host = Host::install();
    host.answer("GET", "http://list/", Reply::new(200).body("a b"))
        .answer("GET", "http://list/", Reply::new(200).body("c"))
        .answer(
            "GET",
            "http://list/",
            Reply::new(200).body("d").after_ms(10),
        );
    host.then(|host| {
        host.write("/now", "");
    });
    host.then_pass_ms(60_010);
    assert_eq!(
        run(&host),
        (
            Outcome::Waits,
            vec![
                vec!["a".to_owned(), "b".to_owned()],
                vec!["c".to_owned()],
                vec!["d".to_owned()]
            ]
        )
    );
    assert_eq!(host.open_subscriptions(), 0, "the run was dropped");
}

#[test]
fn discoveries_end_by_their_errors() {
    let host = Host::install();
    host.answer("GET", "http://list/", Reply::new(503));
    let failed = Error::new("http://list/ answered with status 503");
    assert_eq!(run(&host).0, Outcome::Ended(Err(failed)));
}

#[test]
fn blocking_requests() {
    let host = Host::install();
    host.answer(
        "POST",
        "http://a/*",
        Reply::json(r#"{"n": 3}"#).after_ms(50),
    );
    let ask = |limit_ms| {
        let request = http::request("POST", "http://a/x?y=[1]").timeout_ms(limit_ms);
        request.header("x-a", "b").json(&[1, 2]).unwrap().fetch()
    };
    assert_eq!(ask(49).unwrap_err().code, HttpErrorCode::Timeout);
    let response = ask(50).unwrap().ok().unwrap();
    assert_eq!(response.header("Content-Type"), Some("application/json"));
    let body: serde_json::Value = response.json().unwrap();
    assert_eq!(body["n"], 3);
    let asked = &host.asked()[1];
    assert_eq!(
        (asked.method.as_str(), asked.body.as_slice()),
        ("POST", &b"[1,2]"[..])
    );
    assert_eq!(asked.header("X-A"), Some("b"));
    let error = http::get("http://a/x").fetch().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the test has set no answer for GET http://a/x"
    );
}
