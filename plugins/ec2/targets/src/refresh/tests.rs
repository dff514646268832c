//! Refreshing, with a cloud that does as a test says.

use std::cell::RefCell;
use std::collections::VecDeque;

use narthex_plugin_sdk::fake::{Host, Level};
use narthex_plugin_sdk::testing::{self, Outcome};
use narthex_plugin_sdk::{CallError, ConfigError, Discovery, Manifest};

use super::*;
use crate::config::Config;

/// What a refresh finds: an instance for each address, or an error.
type Found = Result<Vec<&'static str>, Failure>;

#[derive(Default)]
struct Script {
    connects: VecDeque<Result<&'static str, Error>>,
    zones: VecDeque<Result<Zones, Error>>,
    found: VecDeque<Found>,
    asked: Vec<String>,
}

thread_local! {
    static SCRIPT: RefCell<Script> = RefCell::default();
}

fn script<R>(change: impl FnOnce(&mut Script) -> R) -> R {
    SCRIPT.with_borrow_mut(change)
}

fn finds<const N: usize>(found: [Found; N]) -> Script {
    Script {
        found: found.into(),
        ..Script::default()
    }
}

struct FakeCloud;
struct FakeApi(&'static str);

impl Cloud for FakeCloud {
    type Api = FakeApi;

    async fn connect(&self) -> Result<FakeApi, Error> {
        script(|script| {
            script.asked.push("connect".to_owned());
            script.connects.pop_front().unwrap_or(Ok("eu-west-1"))
        })
        .map(FakeApi)
    }
}

impl Api for FakeApi {
    fn region(&self) -> &str {
        self.0
    }

    async fn zones(&self) -> Result<Zones, Error> {
        script(|script| {
            script.asked.push("zones".to_owned());
            script.zones.pop_front().unwrap_or(Ok(Zones::new()))
        })
    }

    async fn instances(
        &self,
        filters: &[Filter],
        take: &mut impl FnMut(Instance),
    ) -> Result<(), Failure> {
        let found = script(|script| {
            script.asked.push(format!("instances {}", filters.len()));
            script.found.pop_front().unwrap()
        })?;
        for ip in found {
            take(Instance {
                private_ip: Some(ip.to_owned()),
                availability_zone: Some("a".to_owned()),
                ..Instance::default()
            });
            if ip == "broken" {
                return Err(failure("the second page is missing", false));
            }
        }
        Ok(())
    }
}

/// Stands for the plugin.
struct Finder(Settings);

impl Discovery for Finder {
    type Config = Config;

    fn manifest() -> Manifest {
        Manifest::new("")
    }

    fn new(config: Config, _: &str) -> Result<Self, ConfigError> {
        config.check().map(Finder)
    }

    async fn run(self) -> Result<(), Error> {
        run(&self.0, &FakeCloud).await
    }
}

fn failure(message: &str, is_refused: bool) -> Failure {
    Failure {
        error: Error::new(message),
        is_refused,
    }
}

/// Refreshes as often as the script has something to be found.
fn refresh(host: &Host, script: Script) -> Vec<Vec<String>> {
    for _ in 1..script.found.len() {
        host.then_pass_ms(30_000);
    }
    SCRIPT.set(script);
    let config = r#"{"refresh_interval": "30s", "filters": [{"name": "a", "values": ["b"]}]}"#;
    let finder: Finder = testing::discovery(config, "/").unwrap();
    assert_eq!(testing::run(finder), Outcome::Waits);
    assert!(SCRIPT.with_borrow(|script| script.found.is_empty()));
    let told = |groups: Vec<TargetGroup>| groups.iter().map(told).collect();
    host.published().into_iter().map(told).collect()
}

fn told(group: &TargetGroup) -> String {
    let addresses = group.targets.iter().map(|target| target[0].1.as_str());
    let addresses: Vec<&str> = addresses.collect();
    format!("{}: {}", group.source, addresses.join(" "))
}

fn errors(host: &Host) -> Vec<String> {
    let logged = host.logged().into_iter();
    logged
        .filter(|(level, _)| *level == Level::Error)
        .map(|(_, text)| text)
        .collect()
}

#[test]
fn what_has_changed_is_published_and_errors_change_nothing() {
    let host = Host::install();
    let published = refresh(
        &host,
        finds([
            Err(failure("no answer", false)),
            Ok(vec!["1", "2"]),
            Ok(vec!["1", "2"]),
            Ok(vec!["3", "broken"]),
            Ok(vec!["2"]),
            Ok(vec![]),
        ]),
    );
    let expected = [
        ["eu-west-1: 1:80 2:80"],
        ["eu-west-1: 2:80"],
        ["eu-west-1: "],
    ];
    assert_eq!(published, expected);
    assert_eq!(errors(&host), ["no answer", "the second page is missing"]);
    let failures = ("prometheus_sd_refresh_failures_total".to_owned(), 2.0);
    assert_eq!(host.telemetry(), [failures].into());
    let asked = SCRIPT.with_borrow(|script| script.asked.clone());
    let expected = ["connect", "zones"].into_iter();
    let expected: Vec<&str> = expected.chain(["instances 1"; 6]).collect();
    assert_eq!(asked, expected);
}

#[test]
fn an_empty_region_is_published_as_well() {
    let host = Host::install();
    assert_eq!(refresh(&host, finds([Ok(vec![])])), [["eu-west-1: "]]);
}

#[test]
fn without_permission_everything_begins_anew() {
    let host = Host::install();
    let refused = Err(failure("AuthFailure", true));
    let script = Script {
        connects: [Ok("a"), Err(Error::new("no keys")), Ok("b")].into(),
        ..finds([Ok(vec!["1"]), refused, Ok(vec!["1"])])
    };
    // The refresh that gets no connection asks for nothing.
    host.then_pass_ms(30_000);
    let published = refresh(&host, script);
    assert_eq!(published, [vec!["a: 1:80"], vec!["b: 1:80", "a: "]]);
    assert_eq!(errors(&host), ["AuthFailure", "no keys"]);
}

#[test]
fn zones_are_asked_for_until_they_are_known() {
    let host = Host::install();
    let zones = Zones::from([("a".to_owned(), "az1".to_owned())]);
    let script = Script {
        zones: [
            Err(Error::new("not allowed")),
            Err(Error::new("not allowed")),
            Ok(zones),
        ]
        .into(),
        ..finds([Ok(vec!["1"]), Ok(vec!["1"]), Ok(vec!["1"]), Ok(vec!["1"])])
    };
    refresh(&host, script);
    let ids: Vec<Option<String>> = host
        .published()
        .iter()
        .map(|groups| {
            let mut labels = groups[0].targets[0].iter();
            let zone = labels.find(|(name, _)| name == "__meta_ec2_availability_zone_id");
            zone.map(|(_, value)| value.clone())
        })
        .collect();
    assert_eq!(ids, [None, Some("az1".to_owned())]);
    let told = [(
        Level::Warn,
        "targets lack their availability_zone_id: not allowed".to_owned(),
    )];
    assert_eq!(host.logged(), told);
}

#[test]
fn what_the_host_refuses_is_published_later() {
    let host = Host::install();
    host.fail_publishing(Some(CallError::Limit("too many targets".to_owned())));
    host.then(|host| {
        host.fail_publishing(None);
    });
    let published = refresh(&host, finds([Ok(vec!["1"]), Ok(vec!["1"])]));
    assert_eq!(published, [["eu-west-1: 1:80"]]);
    assert_eq!(errors(&host), ["too many targets"]);
}
