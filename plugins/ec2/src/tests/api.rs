//! What is asked of the EC2 API, and what its answers become.

use narthex_plugin_sdk::HttpErrorCode;
use narthex_plugin_sdk::fake::{Host, Reply};

use super::servers::{
    EC2, ZONES, addresses, askers, ec2_error, errors, form, host, instances, parameter, requests,
    run, serve_ec2, xml,
};

const KEYS: &str = r#""access_key": "a", "secret_key": "s""#;

/// Lets the API answer with these, one after the other, when it is asked for instances.
fn answer(host: &Host, replies: Vec<Reply>) {
    let replies = std::cell::RefCell::new(replies.into_iter());
    host.answer_with("POST", EC2, move |asked| {
        match parameter(asked, "Action") == "DescribeInstances" {
            true => replies.borrow_mut().next().unwrap(),
            false => xml(ZONES),
        }
    });
}

fn forms(host: &Host) -> Vec<Vec<String>> {
    let asked = host.asked().into_iter();
    let asked = asked.filter(|asked| parameter(asked, "Action") == "DescribeInstances");
    asked
        .map(|asked| {
            let fields = form(&asked).into_iter();
            let fields = fields
                .filter(|(name, _)| !["Action", "MaxResults", "Version"].contains(&name.as_str()));
            fields
                .map(|(name, value)| format!("{name}={value}"))
                .collect()
        })
        .collect()
}

#[test]
fn every_field_of_an_answer_becomes_a_label() {
    let host = host();
    answer(&host, vec![xml(include_str!("instances.xml"))]);
    run(&format!(r#"{KEYS}, "port": 9100"#));
    let published = host.published();
    assert_eq!(published.len(), 1);
    let group = &published[0][0];
    assert_eq!(group.source, "eu-west-1");
    assert!(group.labels.is_empty());
    let lines: Vec<Vec<String>> = group
        .targets
        .iter()
        .map(|target| {
            target
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect()
        })
        .collect();
    let expected: Vec<Vec<&str>> = include_str!("targets.txt")
        .trim_end()
        .split("\n\n")
        .map(|target| target.lines().collect())
        .collect();
    assert_eq!(lines, expected);
}

#[test]
fn pages_follow_each_other() {
    let host = host();
    answer(
        &host,
        vec![
            xml(&instances(&["1", "2"], Some("t/1"))),
            xml(&instances(&[], Some("t/2"))),
            xml(&instances(&["3"], None)),
        ],
    );
    run(KEYS);
    assert_eq!(addresses(&host), [["1:80", "2:80", "3:80"]]);
    let expected: [Vec<&str>; 3] = [vec![], vec!["NextToken=t/1"], vec!["NextToken=t/2"]];
    assert_eq!(forms(&host), expected);
    let last = host.asked().pop().unwrap();
    assert_eq!(parameter(&last, "MaxResults"), "250");
}

#[test]
fn filters_are_the_server_s_business() {
    let host = host();
    run(&format!(
        r#"{KEYS}, "filters": [{{"name": "tag:Env", "values": ["a b", "c&d"]}},
            {{"name": "instance-state-name", "values": ["running"]}}]"#
    ));
    let expected = [
        "Filter.1.Name=tag:Env",
        "Filter.1.Value.1=a b",
        "Filter.1.Value.2=c&d",
        "Filter.2.Name=instance-state-name",
        "Filter.2.Value.1=running",
    ];
    assert_eq!(forms(&host), [expected]);
}

#[test]
fn another_endpoint() {
    let host = host();
    serve_ec2(&host, "http://localhost:5000/*");
    run(&format!(r#"{KEYS}, "endpoint": "http://localhost:5000""#));
    assert_eq!(requests(&host), ["POST http://localhost:5000/"]);
    assert_eq!(addresses(&host), [["10.0.0.1:80"]]);
}

#[test]
fn a_busy_or_broken_server_is_asked_again() {
    let host = host();
    answer(
        &host,
        vec![
            ec2_error(503, "RequestLimitExceeded", "slow down"),
            Reply::fails(HttpErrorCode::Connection, "connection reset"),
            xml(&instances(&["1"], Some("t"))),
            Reply::new(500).body("oops"),
            xml(&instances(&["2"], None)),
        ],
    );
    host.then_pass_ms(59_000);
    run(KEYS);
    assert_eq!(addresses(&host), [["1:80", "2:80"]]);
    assert_eq!(errors(&host), [""; 0]);
    assert_eq!(askers(&host).len(), 5);
}

#[test]
fn errors_keep_the_targets_and_are_told() {
    let host = host();
    let busy = || ec2_error(503, "Unavailable", "come back later");
    answer(
        &host,
        vec![
            xml(&instances(&["1"], None)),
            // Three times in one refresh.
            busy(),
            busy(),
            busy(),
            xml("<html>"),
            Reply::fails(HttpErrorCode::NotGranted, "not granted: https://ec2..."),
            xml(&instances(&["2"], None)),
        ],
    );
    host.then_pass_ms(4 * 60_000);
    run(KEYS);
    assert_eq!(addresses(&host), [["1:80"], ["2:80"]]);
    let errors = errors(&host);
    assert_eq!(errors.len(), 3, "{errors:?}");
    assert_eq!(
        errors[0],
        "could not describe instances: Unavailable: come back later"
    );
    assert!(
        errors[1].starts_with("could not describe instances: an answer of status 200: "),
        "{errors:?}"
    );
    assert!(
        errors[2].contains("not granted: https://ec2..."),
        "{errors:?}"
    );
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let host = host();
    let silent = || Reply::new(200).stays_open();
    answer(&host, vec![silent(), xml(&instances(&["1"], None))]);
    host.then_pass_ms(59_000);
    host.then(|host| assert_eq!(host.open_streams(), [EC2]));
    // The first attempt ends after a minute, and the second follows after at most another second.
    host.then_pass_ms(3_000);
    run(&format!(r#"{KEYS}, "refresh_interval": "5m""#));
    assert_eq!(addresses(&host), [["1:80"]]);
}
