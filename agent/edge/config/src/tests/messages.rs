//! What a user gets to read for each kind of bad input: file, line, field, what was expected.

use super::{folder, load_folder};

/// Faults of these files, without the folder's path.
fn faults(files: &[(&str, &str)]) -> String {
    let folder = folder(files);
    let error = load_folder(folder.path()).map(|_| ()).unwrap_err();
    let prefix = format!("{}/", folder.path().display());
    error.to_string().replace(&prefix, "")
}

#[track_caller]
fn check(file: &str, text: &str, expected: &str) {
    let files = match file {
        "prometheus.yml" => vec![(file, text)],
        _ => vec![("prometheus.yml", "rule_files: [rules.yml]"), (file, text)],
    };
    assert_eq!(faults(&files), expected, "{text}");
}

#[test]
fn prometheus_yml() {
    for (text, expected) in [
        (
            "global:\n  evalutaion_interval: 5s\n",
            "prometheus.yml:2:3: global.evalutaion_interval: unknown field; did you mean \
             `evaluation_interval`?",
        ),
        (
            "scrape_config: []\n",
            "prometheus.yml:1:1: scrape_config: unknown field; did you mean `scrape_configs`?",
        ),
        (
            "global:\n\tscrape_interval: 5s\n",
            "prometheus.yml:2:1: line 2 is indented with a tab: YAML wants spaces",
        ),
        (
            "global:\n  scrape_interval: 5s\n  scrape_interval: 6s\n",
            "prometheus.yml:3:3: the key `scrape_interval` stands twice in the same mapping, \
             first in line 2",
        ),
        (
            "global: [\n",
            "prometheus.yml:1:9: not valid YAML: unclosed bracket '['",
        ),
        (
            "- a\n",
            "prometheus.yml:1:1: expected a mapping (the fields of the configuration), got a list",
        ),
        (
            "global:\n  scrape_interval: 15\n",
            "prometheus.yml:2:20: global.scrape_interval: not a valid duration string: \"15\" \
             (expected numbers with the units y, w, d, h, m, s, ms, largest first, as in 1h30m)",
        ),
        (
            "global: {scrape_interval: 5s, scrape_timeout: 10s}\n",
            "prometheus.yml:1:47: global.scrape_timeout: scrape timeout greater than scrape \
             interval (10s > 5s)",
        ),
        (
            "scrape_configs:\n- job_name: a\n  honor_labels: 'true'\n  sample_limit: -1\n",
            "prometheus.yml:3:17: scrape_configs[0].honor_labels: expected true or false, got \
             `true` as text: leave out the quotes\n\
             prometheus.yml:4:17: scrape_configs[0].sample_limit: expected a whole number of at \
             least 0, got `-1`",
        ),
        (
            "scrape_configs:\n- job_name: a\n- job_name: b\n- job_name: a\n",
            "prometheus.yml:4:13: scrape_configs[2].job_name: found multiple scrape configs with \
             job name \"a\", the first in prometheus.yml:2",
        ),
        (
            "scrape_configs:\n- job_name: a\n  relabel_configs:\n  - regex: 'a('\n",
            "prometheus.yml:4:12: scrape_configs[0].relabel_configs[0].regex: invalid regular \
             expression \"a(\": unclosed group",
        ),
        (
            "scrape_configs:\n- job_name: a\n  kuberntes_sd_configs: []\n",
            "prometheus.yml:3:3: scrape_configs[0].kuberntes_sd_configs: unknown field; did you \
             mean `kubernetes_sd_configs`?",
        ),
        (
            "scrape_configs:\n- job_name: a\n  file_sd_configs:\n  - file: [x.json]\n",
            "prometheus.yml:4:5: scrape_configs[0].file_sd_configs[0].file: unknown field; did \
             you mean `files`?",
        ),
        (
            "scrape_configs:\n- job_name: a\n  static_configs:\n  - targets: a:1\n",
            "prometheus.yml:4:14: scrape_configs[0].static_configs[0].targets: expected a list, \
             got a single value",
        ),
        (
            "scrape_configs:\n- job_name: a\n  scheme: htps\n",
            "prometheus.yml:3:11: scrape_configs[0].scheme: expected one of http, https, got \
             `htps`; did you mean `https`?",
        ),
        (
            "alerting:\n  alertmanagers:\n  - static_configs:\n    - targets: ['http://a:1']\n",
            "prometheus.yml:4:17: alerting.alertmanagers[0].static_configs[0].targets[0]: \
             \"http://a:1\" is not a valid hostname: give host:port, and the rest as `scheme` and \
             `metrics_path`",
        ),
    ] {
        check("prometheus.yml", text, expected);
    }
}

#[test]
fn rule_files() {
    for (text, expected) in [
        (
            "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: rate(x[5m]\n",
            "rules.yml:5:21: groups[0].rules[0].expr: rule \"A\": could not parse expression: \
             1:11: parse error: unclosed left parenthesis",
        ),
        (
            "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: |\n      a +\n        b )\n",
            "rules.yml:7:12: groups[0].rules[0].expr: rule \"A\": could not parse expression: 2:6: \
             parse error: unexpected right parenthesis ')'",
        ),
        (
            "groups:\n- name: g\n  rules:\n  - alert: A\n    exrp: up\n",
            "rules.yml:5:5: groups[0].rules[0].exrp: unknown field; did you mean `expr`?",
        ),
        (
            "groups:\n- name: g\n- name: g\n",
            "rules.yml:3:9: groups[1].name: groupname: \"g\" is repeated in the same file",
        ),
        (
            "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: up\n    labels:\n      a: b\n      \
             __name__: x\n",
            "rules.yml:8:7: groups[0].rules[0].labels: rule \"A\": invalid label name: __name__",
        ),
        (
            "groups:\n- name: g\n  rules:\n  -\n",
            "rules.yml:4:4: groups[0].rules[0]: empty entry: expected a rule",
        ),
    ] {
        check("rules.yml", text, expected);
    }
}

#[test]
fn a_wrong_template_is_found_at_its_line() {
    let rules = "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: up\n    annotations:\n      \
                 a: fine\n      b: '{{ $labels. }}'\n";
    let text = faults(&[
        ("prometheus.yml", "rule_files: ['*.yml']"),
        ("r.yml", rules),
    ]);
    assert!(
        text.contains("r.yml:8:7: groups[0].rules[0].annotations: rule \"A\": "),
        "{text}"
    );
}

#[test]
fn narthex_yml() {
    for (text, expected) in [
        (
            "plugins: {directroy: x}\n",
            "narthex.yml:1:11: plugins.directroy: unknown field; did you mean `directory`?",
        ),
        (
            "plugins:\n  limits: {memory: 64XB, call_timeout: 0, series: 0}\n",
            "narthex.yml:2:20: plugins.limits.memory: expected a size with its unit (B, KB, MB, \
             GB, TB, PB, EB), as in 512MB, got `64XB`\n\
             narthex.yml:2:40: plugins.limits.call_timeout: must be longer than 0\n\
             narthex.yml:2:51: plugins.limits.series: expected a whole number of at least 1, got `0`",
        ),
        (
            "plugins:\n  grants:\n    node: {file: [/proc]}\n    x.wasm: {}\n    y: {http: [ftp://a]}\n",
            "narthex.yml:3:12: plugins.grants.node.file: unknown field; did you mean `files`?\n\
             narthex.yml:4:5: plugins.grants: plugins are named without `.wasm`: `x`\n\
             narthex.yml:5:16: plugins.grants.y.http[0]: expected a URL as in \
             https://api.example.com/v1/*, got `ftp://a`",
        ),
        (
            "exporters:\n- plugin: a\n- plugin: b\n  job: a\n- job: c\n",
            "narthex.yml:5:3: exporters[2]: `plugin` is missing: an exporter (plugin, job, \
             interval, …) must have it",
        ),
        (
            "exporters:\n- plugin: a\n- plugin: b\n  job: a\n",
            "narthex.yml:4:8: exporters[1]: the job \"a\" is there already, in line 2: give each \
             exporter a `job` of its own",
        ),
        (
            "scripts: {params: {a.rhai: {x: 1}}}\n",
            "narthex.yml:1:20: scripts.params: scripts are named without `.rhai`: `a`",
        ),
        (
            "query:\n  memory: 6GX\n  memory_per_query: 120%\n  memory_for_rules: 0\n  threads: 0\n",
            "narthex.yml:2:11: query.memory: expected a size with its unit, as in 6GiB, or a \
             percentage of the machine's memory, as in 25%, got `6GX`\n\
             narthex.yml:3:21: query.memory_per_query: expected a percentage above 0% and up to \
             100%, got `120%`\n\
             narthex.yml:4:21: query.memory_for_rules: must be larger than 0\n\
             narthex.yml:5:12: query.threads: expected a whole number from 1 to 1024, got `0`",
        ),
        (
            "query: {memory: 1000, memory_per_query: 50%, memory_for_rules: 2000}\n",
            "narthex.yml:1:41: query.memory_per_query: 8000 bytes are more than all queries \
             together may take (1000 bytes, `query.memory`)\n\
             narthex.yml:1:64: query.memory_for_rules: 2000 bytes are more than all queries \
             together may take (1000 bytes, `query.memory`)",
        ),
        (
            "query: {memory_per_quer: 1GiB}\n",
            "narthex.yml:1:9: query.memory_per_quer: unknown field; did you mean \
             `memory_per_query`?",
        ),
    ] {
        check("narthex.yml", text, expected);
    }
}

#[test]
fn missing_and_odd_files() {
    assert_eq!(
        faults(&[]),
        "prometheus.yml: there is no such file: give the right path with --config.file"
    );
    assert_eq!(
        faults(&[("prometheus.yml/x", "")]),
        "prometheus.yml: is a folder, expected a file: give the right path with --config.file"
    );
    let binary = folder(&[]);
    let path = binary.path().join("prometheus.yml");
    std::fs::write(path, b"a: 1\nb: \xff\n").unwrap();
    let error = load_folder(binary.path()).map(|_| ()).unwrap_err();
    assert!(
        error.to_string().contains("is not UTF-8 text (line 2)"),
        "{error}"
    );
}

#[test]
fn faults_of_all_files_are_told_at_once() {
    let text = faults(&[
        (
            "prometheus.yml",
            "rule_files: [r.yml]\nscrape_configs: [{job_name: a, relabel_configs: [{regex: '('}]}]",
        ),
        (
            "r.yml",
            "groups: [{name: g, rules: [{record: a, expr: 'b +'}]}]",
        ),
        (
            "alertmanager.yml",
            "route: {receiver: nobody}\nreceivers: [{name: hook}]",
        ),
        ("narthex.yml", "script: {}"),
    ]);
    let files: Vec<&str> = text
        .lines()
        .map(|line| line.split(':').next().unwrap())
        .collect();
    assert_eq!(
        files,
        ["prometheus.yml", "alertmanager.yml", "narthex.yml", "r.yml"],
        "{text}"
    );
}

#[test]
fn many_faults_are_counted() {
    let jobs: String = (0..60).map(|_| "- job_name: a\n  scheme: x\n").collect();
    let text = faults(&[("prometheus.yml", &format!("scrape_configs:\n{jobs}"))]);
    assert_eq!(text.lines().count(), 50);
    assert!(text.ends_with("(and 10 more faults, not shown)"), "{text}");
}
