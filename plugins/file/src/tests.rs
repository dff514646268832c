//! Target files, good and bad, as the plugin meets them.

use narthex_plugin_sdk::CallError;
use narthex_plugin_sdk::fake::{Host, Level};
use narthex_plugin_sdk::testing::{self, Outcome};

use super::*;

/// Runs with this configuration until the host's script is over.
fn run(host: &Host, config: &str) -> Vec<Vec<String>> {
    let discovery: FileDiscovery = testing::discovery(config, "/etc/narthex").unwrap();
    assert_eq!(testing::run(discovery), Outcome::Waits);
    let publications = host.published();
    publications.iter().map(|groups| lines(groups)).collect()
}

/// `source: addresses {labels}` for each group.
fn lines(groups: &[TargetGroup]) -> Vec<String> {
    groups
        .iter()
        .map(|group| {
            let targets: Vec<&str> = group.targets.iter().map(|t| t[0].1.as_str()).collect();
            let labels: Vec<String> = group
                .labels
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            format!(
                "{}: {} {}",
                group.source,
                targets.join(","),
                labels.join(",")
            )
        })
        .collect()
}

fn errors(host: &Host) -> Vec<String> {
    let errors = host.logged().into_iter();
    let errors = errors.filter(|(level, _)| *level == Level::Error);
    errors.map(|(_, message)| message).collect()
}

#[test]
fn configurations_are_checked() {
    let error = |json: &str| {
        let made = testing::discovery::<FileDiscovery>(json, "/");
        made.err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    };
    for (json, expected) in [
        (
            r#"{"files": ["a.json", "/b/*.yml", "c-*.yaml", "d.JSON"]}"#,
            "",
        ),
        (r#"{"files": ["a.json"], "refresh_interval": "30s"}"#, ""),
        ("{}", "missing field `files`"),
        (r#"{"files": []}"#, "files: expected at least one path"),
        (
            r#"{"files": ["a.json", "b.txt"]}"#,
            "files[1]: \"b.txt\" does not end in .json, .yml or .yaml",
        ),
        (r#"{"files": ["a"]}"#, "files[0]: \"a\" does not end in"),
        (
            r#"{"files": ["/a/*/b.json"]}"#,
            "files[0]: \"/a/*/b.json\" has a * before the last /",
        ),
        (
            r#"{"files": ["a.json"], "refresh_interval": "5"}"#,
            "refresh_interval: not a valid duration: \"5\"",
        ),
        (
            r#"{"files": ["a.json"], "refresh_interval": "0"}"#,
            "refresh_interval: must be more than 0",
        ),
        (
            r#"{"file": ["a.json"]}"#,
            "file: unknown field `file`, expected `files` or `refresh_interval`",
        ),
    ] {
        let error = error(json);
        assert!(error.starts_with(expected), "{json}: {error}");
        assert_eq!(error.is_empty(), expected.is_empty(), "{json}: {error}");
    }
}

#[test]
fn reads_json_and_yaml() {
    let host = Host::install();
    host.write(
        "/etc/narthex/a.json",
        r#"[{"targets": ["a:1", "a:2"], "labels": {"env": "x"}}, {"targets": []}]"#,
    );
    host.write(
        "/targets/b.yml",
        "- targets: ['b:1']\n  labels:\n    port: 9100\n    on: true\n- targets:\n    - b:2\n",
    );
    host.write("/targets/empty.yml", "# nothing yet\n");
    host.write("/targets/c.txt", "[]");
    let publications = run(&host, r#"{"files": ["./a.json", "/targets/*.yml"]}"#);
    assert_eq!(errors(&host), [""; 0]);
    assert_eq!(
        publications,
        [[
            "/etc/narthex/a.json:0: a:1,a:2 __meta_filepath=/etc/narthex/a.json,env=x",
            "/etc/narthex/a.json:1:  __meta_filepath=/etc/narthex/a.json",
            "/targets/b.yml:0: b:1 __meta_filepath=/targets/b.yml,on=true,port=9100",
            "/targets/b.yml:1: b:2 __meta_filepath=/targets/b.yml",
        ]]
    );
}

#[test]
fn follows_changes() {
    let host = Host::install();
    host.write(
        "/t/a.json",
        r#"[{"targets": ["a:1"]}, {"targets": ["a:2"]}]"#,
    );
    // One group fewer, and the first one another.
    host.then(|host| {
        host.write("/t/a.json", r#"[{"targets": ["a:3"]}]"#);
    });
    host.then(|host| {
        host.write("/t/b.json", r#"[{"targets": ["b:1"]}]"#);
    });
    // Written anew with the same content.
    host.then(|host| {
        host.write("/t/b.json", r#"[ {"targets": ["b:1"]} ]"#);
    });
    host.then(|host| {
        host.remove("/t/a.json");
    });
    let publications = run(&host, r#"{"files": ["/t/*.json"]}"#);
    assert_eq!(
        publications,
        [
            vec![
                "/t/a.json:0: a:1 __meta_filepath=/t/a.json",
                "/t/a.json:1: a:2 __meta_filepath=/t/a.json",
            ],
            vec![
                "/t/a.json:0: a:3 __meta_filepath=/t/a.json",
                "/t/a.json:1:  "
            ],
            vec!["/t/b.json:0: b:1 __meta_filepath=/t/b.json"],
            vec!["/t/a.json:0:  "],
        ]
    );
}

#[test]
fn a_bad_file_keeps_its_last_good_groups() {
    let cases = [
        ("a.json", "[{\"targets\": [\"a:1\"]", "EOF while parsing"),
        ("a.json", "", "EOF while parsing"),
        ("a.json", "[null]", "group 0 is null"),
        ("a.json", "{}", "invalid type: map, expected a sequence"),
        ("a.json", r#"[{"target": []}]"#, "unknown field `target`"),
        ("a.json", r#"[{"targets": [7]}]"#, "invalid type: integer"),
        (
            "a.json",
            r#"[{"labels": {"": "x"}}]"#,
            "a label without a name",
        ),
        ("a.yml", "- targets: [a:1", ""),
        ("a.yml", "- target: [a:1]", "target"),
        ("a.yml", "- ", "group 0 is null"),
        ("a.yml", "- targets:\n\t- a:1", ""),
    ];
    for (name, bad, expected) in cases {
        let host = Host::install();
        let path = format!("/t/{name}");
        host.write(&path, r#"[{"targets": ["a:1"]}]"#);
        let breaks = path.clone();
        host.then(move |host| {
            host.write(&breaks, bad);
        });
        let mends = path.clone();
        host.then(move |host| {
            host.write(&mends, r#"[{"targets": ["a:2"]}]"#);
        });
        let publications = run(&host, &format!(r#"{{"files": ["{path}"]}}"#));
        let good = |n: u8| vec![format!("{path}:0: a:{n} __meta_filepath={path}")];
        assert_eq!(publications, [good(1), good(2)], "{bad}");
        let errors = errors(&host);
        assert_eq!(errors.len(), 1, "{bad}: {errors:?}");
        assert!(
            errors[0].starts_with(&format!("{path}: ")) && errors[0].contains(expected),
            "{bad}: {errors:?}"
        );
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let host = Host::install();
    host.write("/t/a.json", r#"[{"targets": ["a:1"]}]"#);
    host.then(|host| {
        host.fail(
            "/t/a.json",
            FileErrorCode::PermissionDenied,
            "permission denied",
        );
    });
    let publications = run(&host, r#"{"files": ["/t/a.json"]}"#);
    assert_eq!(publications.len(), 1);
    assert_eq!(errors(&host), ["/t/a.json: permission denied"]);
}

#[test]
fn looks_again_after_the_refresh_interval() {
    let host = Host::install();
    // Nothing is there at first: that is published, too.
    host.then(|host| {
        host.advance_ms(29_999);
    });
    host.then(|host| {
        host.advance_ms(1);
    });
    let config = r#"{"files": ["/t/a.json"], "refresh_interval": "30s"}"#;
    assert_eq!(run(&host, config), [[""; 0]]);
    assert_eq!(errors(&host), [""; 0]);
}

#[test]
fn patterns_stand_in_any_segment() {
    let host = Host::install();
    for path in [
        "/t/a1/x.json",
        "/t/a2/x.json",
        "/t/b1/x.json",
        "/t/a1/y.json",
    ] {
        host.write(path, r#"[{"targets": ["a:1"]}]"#);
    }
    host.write("/t/a3", "no folder");
    host.then(|host| {
        host.fail(
            "/t/a2/x.json",
            FileErrorCode::InputOutput,
            "input/output error",
        );
    });
    host.then_pass_ms(300_000);
    let publications = run(
        &host,
        r#"{"files": ["/t/../t/a[12]/./?.json", "/t//a?/x.json"]}"#,
    );
    let group = |path: &str| format!("{path}:0: a:1 __meta_filepath={path}");
    assert_eq!(
        publications,
        [["/t/a1/x.json", "/t/a1/y.json", "/t/a2/x.json"].map(group)]
    );
    assert_eq!(errors(&host), ["/t/a2/x.json: input/output error"]);
}

#[test]
fn patterns_without_a_star_are_watched() {
    let host = Host::install();
    host.then(|host| {
        host.write("/t/a1.json", r#"[{"targets": ["a:1"]}]"#);
    });
    let publications = run(&host, r#"{"files": ["/t/a?.json"]}"#);
    assert_eq!(publications.len(), 2);
}

#[test]
fn a_folder_that_cannot_be_listed_keeps_its_files() {
    let host = Host::install();
    host.write("/t/a.json", r#"[{"targets": ["a:1"]}]"#);
    host.write("/u/a.json", r#"[{"targets": ["a:1"]}]"#);
    host.then(|host| {
        host.fail("/t", FileErrorCode::PermissionDenied, "permission denied");
        host.remove("/u/a.json");
    });
    let publications = run(&host, r#"{"files": ["/t/*.json", "/u/*.json"]}"#);
    assert_eq!(publications.len(), 2);
    assert_eq!(publications[1], ["/u/a.json:0:  "]);
    assert_eq!(errors(&host), ["cannot list /t/*.json: permission denied"]);
}

#[test]
fn what_the_host_refuses_is_tried_again() {
    let host = Host::install();
    host.write("/t/a.json", r#"[{"targets": ["a:1"]}]"#);
    host.fail_publishing(Some(CallError::Limit("too many targets".to_owned())));
    host.then(|host| {
        host.fail_publishing(None);
    });
    host.then_pass_ms(300_000);
    assert_eq!(run(&host, r#"{"files": ["/t/a.json"]}"#).len(), 1);
    assert_eq!(errors(&host), ["too many targets"]);
}

#[test]
fn ages_and_failures_are_told() {
    let host = Host::install();
    let good = r#"[{"targets": ["a:1"]}]"#;
    host.set_now_ns(1_000_500_000_000);
    host.write("/etc/narthex/a.json", good);
    host.write("/etc/narthex/b.json", good);
    host.then(|host| {
        // It stays as it was, and still its time is known.
        host.set_now_ns(2_000_000_000_000);
        host.write("/etc/narthex/a.json", "[{");
    });
    host.then_pass_ms(1000);
    host.then(|host| {
        host.remove("/etc/narthex/b.json");
    });
    host.then_pass_ms(1000);
    let seen = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let noted = seen.clone();
    host.then(move |host| noted.borrow_mut().push(host.telemetry()));
    run(&host, r#"{"files": ["*.json"]}"#);
    let expected = |failures: f64| {
        let name = |name: &str| format!("prometheus_sd_file_{name}");
        BTreeMap::from([
            (
                name("mtime_seconds{filename=\"/etc/narthex/a.json\"}"),
                2000.0,
            ),
            (name("read_errors_total"), failures),
            (name("watcher_errors_total"), 0.0),
        ])
    };
    // Once when it was broken, and once when the other went.
    assert_eq!(*seen.borrow(), [expected(2.0)]);
}
