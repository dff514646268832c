//! Amazon's servers, played.

use std::collections::BTreeMap;

use narthex_plugin_sdk::fake::{Asked, Host, Level, Reply};
use narthex_plugin_sdk::testing::{self, Outcome};

use crate::Ec2Discovery;

pub(crate) const EC2: &str = "https://ec2.eu-west-1.amazonaws.com/";
pub(crate) const STS: &str = "https://sts.eu-west-1.amazonaws.com/";
pub(crate) const METADATA: &str = "http://169.254.169.254/latest/";

/// 2026-01-01T00:00:00Z.
pub(crate) const NOW_S: u64 = 1_767_225_600;

/// A machine on which nothing is set up, and an EC2 API with one instance.
pub(crate) fn host() -> Host {
    let host = Host::install();
    host.set_now_ns(NOW_S * 1_000_000_000);
    serve_ec2(&host, EC2);
    host
}

pub(crate) fn serve_ec2(host: &Host, url: &str) {
    host.answer_with("POST", url, |asked| {
        match parameter(asked, "Action").as_str() {
            "DescribeAvailabilityZones" => xml(ZONES),
            "DescribeInstances" => xml(&instances(&["10.0.0.1"], None)),
            other => panic!("asked for {other}"),
        }
    });
}

pub(crate) fn xml(body: &str) -> Reply {
    Reply::new(200)
        .header("content-type", "text/xml")
        .body(body)
}

pub(crate) const ZONES: &str = "<DescribeAvailabilityZonesResponse><availabilityZoneInfo><item>\
    <zoneName>eu-west-1a</zoneName><zoneId>euw1-az2</zoneId></item></availabilityZoneInfo>\
    </DescribeAvailabilityZonesResponse>";

/// A page with an instance for each address.
pub(crate) fn instances(addresses: &[&str], next: Option<&str>) -> String {
    let items: String = addresses
        .iter()
        .map(|ip| format!("<item><privateIpAddress>{ip}</privateIpAddress></item>"))
        .collect();
    let next = next.map(|token| format!("<nextToken>{token}</nextToken>"));
    format!(
        "<DescribeInstancesResponse><reservationSet><item><instancesSet>{items}</instancesSet>\
         </item></reservationSet>{}</DescribeInstancesResponse>",
        next.unwrap_or_default()
    )
}

pub(crate) fn ec2_error(status: u16, code: &str, message: &str) -> Reply {
    Reply::new(status).body(format!(
        "<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>\
         <RequestID>r</RequestID></Response>"
    ))
}

/// An answer of STS: credentials of this name that are good for so long.
pub(crate) fn sts_answer(action: &str, name: &str, seconds: u64, now_s: u64) -> Reply {
    let end = time(now_s + seconds);
    xml(&format!(
        "<{action}Response><{action}Result><Credentials><AccessKeyId>{name}</AccessKeyId>\
         <SecretAccessKey>s</SecretAccessKey><SessionToken>t-{name}</SessionToken>\
         <Expiration>{end}</Expiration></Credentials></{action}Result></{action}Response>"
    ))
}

/// Within the first day of 2026.
pub(crate) fn time(at_s: u64) -> String {
    let s = at_s - NOW_S;
    assert!(s < 86_400);
    format!(
        "2026-01-01T{:02}:{:02}:{:02}Z",
        s / 3600,
        s / 60 % 60,
        s % 60
    )
}

/// A parameter of a request's form; empty where there is none.
pub(crate) fn parameter(asked: &Asked, name: &str) -> String {
    form(asked).remove(name).unwrap_or_default()
}

pub(crate) fn form(asked: &Asked) -> BTreeMap<String, String> {
    let text = String::from_utf8(asked.body.clone()).unwrap();
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(name, value)| (name.to_owned(), decoded(value)))
        .collect()
}

fn decoded(value: &str) -> String {
    let mut parts = value.split('%');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (code, rest) = part.split_at(2);
        text.push(u8::from_str_radix(code, 16).unwrap().into());
        text.push_str(rest);
    }
    text
}

/// Runs the plugin until the script is over, with a configuration beside the region.
pub(crate) fn run(config: &str) {
    let comma = if config.is_empty() { "" } else { ", " };
    run_as_is(&format!(r#"{{"region": "eu-west-1"{comma}{config}}}"#));
}

pub(crate) fn run_as_is(config: &str) {
    let discovery: Ec2Discovery = testing::discovery(config, "/etc/narthex").unwrap();
    assert_eq!(testing::run(discovery), Outcome::Waits);
}

/// Who asked for instances, each time: access key and, after a space, session token.
pub(crate) fn askers(host: &Host) -> Vec<String> {
    let asked = host.asked().into_iter();
    asked
        .filter(|asked| parameter(asked, "Action") == "DescribeInstances")
        .map(|asked| signer(&asked))
        .collect()
}

pub(crate) fn signer(asked: &Asked) -> String {
    let authorization = asked.header("authorization").unwrap_or("nobody");
    let (_, key) = authorization
        .split_once("Credential=")
        .unwrap_or(("", authorization));
    let key = key.split('/').next().unwrap_or_default();
    match asked.header("x-amz-security-token") {
        Some(token) => format!("{key} {token}"),
        None => key.to_owned(),
    }
}

/// Requests so far, as `METHOD URL`, each once.
pub(crate) fn requests(host: &Host) -> Vec<String> {
    let mut requests: Vec<String> = Vec::new();
    for asked in host.asked() {
        let line = format!("{} {}", asked.method, asked.url);
        if !requests.contains(&line) {
            requests.push(line);
        }
    }
    requests
}

pub(crate) fn errors(host: &Host) -> Vec<String> {
    let logged = host.logged().into_iter();
    logged
        .filter(|(level, _)| *level == Level::Error)
        .map(|(_, text)| text)
        .collect()
}

/// The addresses of each publication.
pub(crate) fn addresses(host: &Host) -> Vec<Vec<String>> {
    let published = host.published().into_iter();
    published
        .map(|groups| {
            let targets = groups.into_iter().flat_map(|group| group.targets);
            let address = |target: Vec<(String, String)>| target[0].1.clone();
            targets.map(address).collect()
        })
        .collect()
}
