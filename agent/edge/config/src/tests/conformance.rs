//! Other projects' configurations: the good ones load, the bad ones are refused for their fault.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use narthex_promql::syntax::ParserOptions;

use super::{conformance_directory, overrides};
use crate::{Global, Loaded, Paths, check_rule_file, load};

/// What does not pass yet, each with its reason: `suite/file: reason`.
const KNOWN_DIFFERENCES: &str = include_str!("known_differences.txt");

/// What a bad file's message must hold, so that it is refused for the right reason:
/// `file: text`.
const REASONS: &str = include_str!("reasons.txt");

fn table(text: &str) -> BTreeMap<&str, &str> {
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split_once(": ").unwrap())
        .collect()
}

/// All files below `directory` with one of the endings.
fn files(directory: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![directory.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("");
            if path.is_dir() {
                folders.push(path);
            } else if endings.contains(&extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no files in {}", directory.display());
    found
}

/// Compares verdicts with what is expected; `Some` of a message is a refusal.
struct Verdicts {
    suite: &'static str,
    wrong: Vec<String>,
    seen: BTreeSet<String>,
}

impl Verdicts {
    fn new(suite: &'static str) -> Self {
        Verdicts {
            suite,
            wrong: Vec::new(),
            seen: BTreeSet::new(),
        }
    }

    fn judge(&mut self, name: &str, expected_bad: bool, refusal: Option<&str>) {
        let key = format!("{}/{name}", self.suite);
        let is_known = table(KNOWN_DIFFERENCES).contains_key(key.as_str());
        self.seen.insert(key.clone());
        let reason = table(REASONS).get(key.as_str()).copied();
        let fits = match (expected_bad, refusal) {
            (false, None) => true,
            (true, Some(message)) => reason.is_some_and(|part| message.contains(part)),
            _ => false,
        };
        if fits == is_known {
            self.wrong.push(format!(
                "{key}: expected {}{}, got {}",
                if expected_bad {
                    "a refusal"
                } else {
                    "no fault"
                },
                if is_known {
                    " to be a known difference"
                } else {
                    ""
                },
                refusal.unwrap_or("no fault"),
            ));
        }
    }

    fn finish(self) {
        for key in table(KNOWN_DIFFERENCES)
            .into_keys()
            .chain(table(REASONS).into_keys())
        {
            let own = key.starts_with(&format!("{}/", self.suite));
            assert!(
                !own || self.seen.contains(key),
                "{key} is listed but is not there"
            );
        }
        assert!(self.wrong.is_empty(), "{}", self.wrong.join("\n"));
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn prometheus() {
    let Some(directory) = conformance_directory() else {
        return;
    };
    let mut verdicts = Verdicts::new("prometheus");
    for path in files(&directory.join("config/prometheus"), &["yml"]) {
        let name = name_of(&path);
        let expected_bad = name.contains(".bad.")
            || name.contains(".incompatible.")
            || name.starts_with("agent_mode.with_")
            || name == "config_with_deprecated_am_api_config.yml";
        let paths = Paths {
            prometheus: Some(path),
            ..Paths::default()
        };
        let loaded = load(&paths, &overrides());
        if let Ok(loaded) = &loaded {
            reads_back(&name, loaded);
        }
        let refusal = loaded.err().map(|error| error.to_string());
        verdicts.judge(&name, expected_bad, refusal.as_deref());
    }
    verdicts.finish();
}

/// What is shown of a configuration is one itself, and is shown as the same again.
fn reads_back(name: &str, loaded: &Loaded) {
    let shown = super::load_files(&[("prometheus.yml", &loaded.yaml)]);
    match shown {
        Ok(again) => assert_eq!(again.yaml, loaded.yaml, "{name}"),
        Err(error) => panic!("{name}: {error}\n{}", loaded.yaml),
    }
}

#[test]
fn alertmanager() {
    let Some(directory) = conformance_directory() else {
        return;
    };
    const GOOD: [&str; 17] = [
        "good",
        "empty-fields",
        "group-by-all",
        "http-config.good",
        "smtp-no-username-or-password",
        "smtp-password-global-and-local",
        "victorops-default-apikey",
        "victorops-default-apikey-file",
        "telegram-default-bot-token",
        "telegram-default-bot-token-file",
        "opsgenie-default-apikey",
        "opsgenie-default-apikey-file",
        "rocketchat-default-token",
        "rocketchat-default-token-file",
        "slack-default-api-url-file",
        "slack-default-app-token",
        "sns-topic-arn",
    ];
    const MORE_GOOD: [&str; 5] = [
        "wechat-default-api-secret-file",
        "mattermost-default-webhook-url",
        "mattermost-default-webhook-url-file",
        "routing",
        "routing-reverted",
    ];
    let mut verdicts = Verdicts::new("alertmanager");
    for folder in ["alertmanager", "alertmanager-examples", "amtool"] {
        for path in files(&directory.join("config").join(folder), &["yml"]) {
            let name = name_of(&path);
            if name.starts_with("amtool.") {
                continue;
            }
            let stem = name.trim_start_matches("conf.").trim_end_matches(".yml");
            let good = GOOD.contains(&stem) || MORE_GOOD.contains(&stem);
            let expected_bad = folder != "alertmanager-examples" && !good;
            let main = super::folder(&[("prometheus.yml", "")]);
            let paths = Paths {
                prometheus: Some(main.path().join("prometheus.yml")),
                alertmanager: Some(path),
                narthex: None,
            };
            let refusal = load(&paths, &overrides())
                .err()
                .map(|error| error.to_string());
            verdicts.judge(
                &format!("{folder}/{name}"),
                expected_bad,
                refusal.as_deref(),
            );
        }
    }
    verdicts.finish();
}

#[test]
fn rules() {
    let Some(directory) = conformance_directory() else {
        return;
    };
    let mut verdicts = Verdicts::new("rules");
    for folder in ["rulefmt", "rule_fixtures", "rules"] {
        for path in files(&directory.join(folder), &["yml", "yaml"]) {
            let below = path.strip_prefix(&directory).unwrap().display().to_string();
            let expected_bad = below.contains(".bad.") || below.ends_with("invalid_rules.yaml");
            let global = Global {
                legacy_names: below.contains("legacy_validation"),
                ..Global::default()
            };
            let refusal = check_rule_file(&path, &global, &ParserOptions::default())
                .err()
                .map(|error| error.to_string());
            verdicts.judge(&below, expected_bad, refusal.as_deref());
        }
    }
    verdicts.finish();
}

/// What `promtool check config` and `check rules` are tried on.
#[test]
fn promtool() {
    let Some(directory) = conformance_directory() else {
        return;
    };
    // Whether the file is refused. The fault of other bad ones shows only when the files that they
    // name are read or their targets relabelled, which promtool does and a server does not.
    const CONFIGURATIONS: [(&str, bool); 13] = [
        ("prometheus-config.good.yml", false),
        ("prometheus-config.bad.yml", true),
        ("prometheus-config.lint.yml", false),
        ("prometheus-config.lint.too_long_scrape_interval.yml", false),
        ("prometheus-aws-sd-empty-region.good.yml", false),
        ("authorization_credentials_file.good.yml", false),
        ("authorization_credentials_file.bad.yml", false),
        (
            "url_in_alert_targetgroup_with_relabel_config.good.yml",
            false,
        ),
        (
            "url_in_alert_targetgroup_with_relabel_config.bad.yml",
            false,
        ),
        (
            "url_in_scrape_targetgroup_with_relabel_config.good.yml",
            false,
        ),
        (
            "url_in_scrape_targetgroup_with_relabel_config.bad.yml",
            false,
        ),
        ("config_with_service_discovery_files.yml", false),
        ("config_with_tls_files.yml", false),
    ];
    const RULES: [(&str, bool); 8] = [
        ("prometheus-config.rules.good.yml", false),
        ("rules.yml", false),
        ("rules-bad.yml", true),
        ("rules_duplicates.yml", false),
        ("rules_extrafields.yml", true),
        ("rules_large.yml", false),
        ("prometheus-rules.lint.yml", false),
        ("at-modifier.yml", false),
    ];
    let mut verdicts = Verdicts::new("promtool");
    for (name, expected_bad) in CONFIGURATIONS {
        let paths = Paths {
            prometheus: Some(directory.join("promtool").join(name)),
            ..Paths::default()
        };
        let refusal = load(&paths, &overrides())
            .err()
            .map(|error| error.to_string());
        verdicts.judge(name, expected_bad, refusal.as_deref());
    }
    for (name, expected_bad) in RULES {
        let path = directory.join("promtool").join(name);
        let refusal = check_rule_file(&path, &Global::default(), &ParserOptions::default())
            .err()
            .map(|error| error.to_string());
        verdicts.judge(name, expected_bad, refusal.as_deref());
    }
    verdicts.finish();
}
