//! What configurations are taken, and what the plugin says of itself.

use narthex_plugin_sdk::{ConfigError, Discovery, testing};

use super::servers::{host, requests, run};
use crate::Ec2Discovery;

fn error(json: &str) -> String {
    let made = testing::discovery::<Ec2Discovery>(json, "/");
    made.err().unwrap().to_string()
}

#[test]
fn errors_name_the_field() {
    let host = host();
    assert_eq!(
        error(r#"{"filters": [{"name": "a", "values": []}]}"#),
        "filters[0].values: a filter's values cannot be empty"
    );
    assert!(error(r#"{"regions": "a"}"#).starts_with("regions: unknown field"));
    host.fail_clients(Some(ConfigError::new("tls_config.ca_file", "no such file")));
    assert_eq!(
        error(r#"{"tls_config": {"ca_file": "x"}}"#),
        "tls_config.ca_file: no such file"
    );
}

#[test]
fn nothing_is_asked_before_it_runs() {
    let host = host();
    testing::discovery::<Ec2Discovery>("{}", "/").unwrap();
    assert_eq!(requests(&host), [""; 0]);
}

#[test]
fn requests_are_made_as_http_config_says() {
    let host = host();
    run(r#""access_key": "a", "secret_key": "s", "proxy_url": "http://proxy""#);
    let asked = host.asked();
    assert!(!asked.is_empty());
    for asked in asked {
        assert_eq!(asked.options.unwrap()["proxy_url"], "http://proxy");
    }
}

#[test]
fn wants() {
    let manifest = Ec2Discovery::manifest();
    // It depends on the configuration what it cannot do without.
    assert!(manifest.wants.http.is_empty());
    for url in ["https://ec2.*.amazonaws.com/*", "*://*"] {
        assert!(manifest.optional.http.contains(&url.to_owned()), "{url}");
    }
    assert!(manifest.wants.files.is_empty() && manifest.wants.environment.is_empty());
    let names = manifest.optional.environment;
    assert!(names.contains(&"AWS_WEB_IDENTITY_TOKEN_FILE".to_owned()));
}
