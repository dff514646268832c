//! Names and their records, as the plugin meets them.

use narthex_plugin_sdk::dns::Service;
use narthex_plugin_sdk::fake::{Host, Level};
use narthex_plugin_sdk::testing::{self, Outcome};

use super::*;

fn run(host: &Host, config: &str) -> Vec<Vec<String>> {
    let discovery: DnsDiscovery = testing::discovery(config, "/").unwrap();
    assert_eq!(testing::run(discovery), Outcome::Waits);
    let publications = host.published();
    publications.iter().map(|groups| lines(groups)).collect()
}

/// `source: {labels} {labels}` for each group.
fn lines(groups: &[TargetGroup]) -> Vec<String> {
    let line = |group: &TargetGroup| {
        assert_eq!(group.labels, []);
        let mut line = format!("{}:", group.source);
        for target in &group.targets {
            let labels = target.iter().map(|(name, value)| {
                let name = name.trim_start_matches("__meta_dns_");
                format!("{name}={value}")
            });
            let labels: Vec<String> = labels.collect();
            line.push_str(&format!(" {{{}}}", labels.join(" ")));
        }
        line
    };
    groups.iter().map(line).collect()
}

fn errors(host: &Host) -> Vec<String> {
    let errors = host.logged().into_iter();
    let errors = errors.filter(|(level, _)| *level == Level::Error);
    errors.map(|(_, message)| message).collect()
}

fn address(text: &str) -> Answer {
    Answer::Address(text.to_owned())
}

fn service(target: &str, port: u16) -> Answer {
    Answer::Service(Service {
        target: target.to_owned(),
        port,
        priority: 0,
        weight: 0,
    })
}

#[test]
fn configurations_are_checked() {
    for (json, expected) in [
        (r#"{"names": ["a"]}"#, ""),
        (r#"{"names": ["a"], "type": "srv", "port": 0}"#, ""),
        (
            r#"{"names": ["a", "b"], "type": "aaaa", "port": 80, "refresh_interval": "5m"}"#,
            "",
        ),
        (r#"{"names": ["a"], "type": "MX", "port": 80}"#, ""),
        ("{}", "missing field `names`"),
        (r#"{"names": []}"#, "names: expected at least one name"),
        (
            r#"{"names": ["a"], "type": "TXT"}"#,
            "type: no record type \"TXT\"; there are A, AAAA, MX, NS and SRV",
        ),
        (
            r#"{"names": ["a"], "type": "A"}"#,
            "port: must be given for all types",
        ),
        (
            r#"{"names": ["a"], "type": "NS"}"#,
            "port: must be given for all types",
        ),
        (
            r#"{"names": ["a"], "port": 65536}"#,
            "port: invalid value: integer `65536`",
        ),
        (
            r#"{"names": ["a"], "refresh_interval": "0"}"#,
            "refresh_interval: must be more than 0",
        ),
        (
            r#"{"name": "a"}"#,
            "name: unknown field `name`, expected one of",
        ),
    ] {
        let made = testing::discovery::<DnsDiscovery>(json, "/");
        let error = made.err().map(|error| error.to_string());
        let error = error.unwrap_or_default();
        assert!(error.starts_with(expected), "{json}: {error}");
        assert_eq!(error.is_empty(), expected.is_empty(), "{json}: {error}");
    }
}

#[test]
fn each_type_has_its_labels() {
    let name = |target: &str| Answer::Name(target.to_owned());
    for (kind, text, answers, expected) in [
        (
            RecordType::Srv,
            "SRV",
            vec![
                service("db1.example.com", 3306),
                service("db0.example.com", 3307),
            ],
            "x: {__address__=db0.example.com:3307 name=x srv_record_port=3307 \
             srv_record_target=db0.example.com.} {__address__=db1.example.com:3306 name=x \
             srv_record_port=3306 srv_record_target=db1.example.com.}",
        ),
        (
            RecordType::A,
            "a",
            vec![address("192.0.2.2")],
            "x: {__address__=192.0.2.2:80 name=x}",
        ),
        (
            RecordType::Aaaa,
            "AAAA",
            vec![address("2001:db8::1")],
            "x: {__address__=[2001:db8::1]:80 name=x}",
        ),
        (
            RecordType::Mx,
            "MX",
            vec![name("mail.example.com")],
            "x: {__address__=mail.example.com:80 name=x mx_record_target=mail.example.com.}",
        ),
        (
            RecordType::Ns,
            "NS",
            vec![name("ns.example.com")],
            "x: {__address__=ns.example.com:80 name=x ns_record_target=ns.example.com.}",
        ),
    ] {
        let host = Host::install();
        host.set_dns("x", kind, answers);
        let config = format!(r#"{{"names": ["x"], "type": "{text}", "port": 80}}"#);
        assert_eq!(run(&host, &config), [[expected]], "{text}");
    }
}

#[test]
fn what_keeps_targets_and_what_empties_them() {
    let host = Host::install();
    let kind = RecordType::A;
    let names = ["kept", "gone", "other"];
    for name in names {
        host.set_dns(name, kind, vec![address("192.0.2.1")]);
    }
    // Servers that fail say nothing of a name; a name that is not there, or has other records only,
    // has no targets.
    host.then(move |host| {
        host.fail_dns("kept", kind, DnsErrorCode::Timeout, "no server answers");
        host.fail_dns("gone", kind, DnsErrorCode::NotFound, "no such name");
        host.set_dns("other", kind, vec![]);
    });
    host.then_pass_ms(30_000);
    host.then(move |host| {
        host.fail_dns("kept", kind, DnsErrorCode::Limit, "too many requests");
    });
    host.then_pass_ms(30_000);
    host.then(move |host| {
        host.set_dns(
            "kept",
            kind,
            vec![address("192.0.2.2"), address("192.0.2.1")],
        );
        host.set_dns("gone", kind, vec![address("192.0.2.1")]);
    });
    host.then_pass_ms(30_000);
    // In another order: no change.
    host.then(move |host| {
        host.set_dns(
            "kept",
            kind,
            vec![address("192.0.2.1"), address("192.0.2.2")],
        );
    });
    host.then_pass_ms(30_000);
    let one = |name: &str| format!("{name}: {{__address__=192.0.2.1:9 name={name}}}");
    assert_eq!(
        run(
            &host,
            r#"{"names": ["kept", "gone", "other"], "type": "A", "port": 9}"#
        ),
        [
            vec![one("kept"), one("gone"), one("other")],
            vec!["gone:".to_owned(), "other:".to_owned()],
            vec![
                "kept: {__address__=192.0.2.1:9 name=kept} {__address__=192.0.2.2:9 name=kept}"
                    .to_owned(),
                one("gone"),
            ],
        ]
    );
    assert_eq!(
        errors(&host),
        [
            "looking up kept: no server answers",
            "looking up kept: too many requests"
        ]
    );
    let expected = [
        ("prometheus_sd_dns_lookup_failures_total".to_owned(), 2.0),
        ("prometheus_sd_dns_lookups_total".to_owned(), 15.0),
    ];
    assert_eq!(host.telemetry(), expected.into());
}

/// The host keeps the targets of the run before until something is published.
#[test]
fn nothing_is_said_before_the_first_answer() {
    let host = Host::install();
    let kind = RecordType::Srv;
    host.fail_dns("a", kind, DnsErrorCode::Timeout, "no server answers");
    assert_eq!(run(&host, r#"{"names": ["a"]}"#), [[""; 0]; 0]);
    assert_eq!(errors(&host).len(), 1);
}
