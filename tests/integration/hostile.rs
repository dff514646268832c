//! Plugins that mean harm, all at once in the whole agent: a plugin that behaves and the scrapes
//! miss nothing, and each of the others is named with what it did.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::agent::{Agent, plugin};
use crate::guest::Guest;
use crate::server::{Answer, Target};

/// For how long they may do what they do.
const TIME: Duration = Duration::from_secs(15);

/// Their names, what they are, and what is said of them.
fn hostile(link: &str) -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let recursion = "(func $deep (param i32) (result i32)
                       (i32.add (call $deep (local.get 0)) (i32.const 1)))";
    let memory = "(loop $again (drop (memory.grow (i32.const 16))) (br $again)) (i32.const 0)";
    let table = "(loop $again (drop (table.grow $t (ref.null func) (i32.const 100000)))
                 (br $again)) (i32.const 0)";
    let mut cut = Guest::exporter().gives("m", 1.0).build();
    cut.truncate(cut.len() / 2);
    let guests = [
        (
            "endless",
            Guest::exporter().collect("(loop $again (br $again)) (i32.const 0)"),
            "it ran for longer than 500 ms (the limit plugins.limits.call_timeout)",
        ),
        (
            "recursion",
            Guest::exporter()
                .function(recursion)
                .collect("(call $deep (i32.const 0))"),
            "plugin recursion trapped: ",
        ),
        (
            "memory",
            Guest::exporter().collect(memory),
            "(plugins.limits.memory)",
        ),
        (
            "table",
            Guest::exporter()
                .function("(table $t 1 funcref)")
                .collect(table),
            "(plugins.limits.memory)",
        ),
        (
            "series",
            Guest::exporter().grows_and_gives_many(5_000_000),
            "5000000 series, and the limit plugins.limits.series is 100000",
        ),
        (
            "label",
            Guest::exporter().grows_and_gives_long_label(10 << 20),
            "10485760 label_value_bytes, and the limit plugins.limits.label_value_bytes is ",
        ),
        (
            "names",
            Guest::exporter().gives("no name", 1.0),
            "invalid metric name \"no name\"",
        ),
        (
            "traps",
            Guest::exporter().collect("unreachable"),
            "plugin traps trapped: ",
        ),
        (
            "shadow",
            Guest::exporter().wants_file("/").reads(link),
            "it leads to /etc/shadow, and reading /etc/shadow is not granted",
        ),
        (
            "metadata",
            Guest::exporter()
                .wants_http("*://*")
                .fetches("http://169.254.169.254/latest/"),
            "is a link-local address, which only a grant that names it allows",
        ),
    ];
    let built = guests.map(|(name, guest, said)| (name, guest.build(), said));
    let cut = ("cut", cut, "the file is not valid WebAssembly: ");
    built.into_iter().chain([cut]).collect()
}

#[test]
fn plugins_that_mean_harm_cost_nobody_a_sample() {
    let target = Target::start(Answer::Metrics("steady 1\n".to_owned()));
    let agent = Agent::new();
    let link = agent.path("granted/link");
    fs::create_dir(agent.path("granted")).unwrap();
    std::os::unix::fs::symlink("/etc/shadow", &link).unwrap();
    agent.write(
        "prometheus.yml",
        &format!(
            "global: {{ scrape_interval: 1s }}\n\
             scrape_configs: [{{ job_name: steady, static_configs: [{{ targets: [\"{}\"] }}] }}]\n",
            target.address()
        ),
    );
    let hostile = hostile(link.to_str().unwrap());
    let jobs = hostile.iter().map(|(name, ..)| *name);
    let jobs: String = jobs
        .chain(["custom-metric"])
        .map(|name| format!("  - {{ plugin: {name}, interval: 1s }}\n"))
        .collect();
    agent.write(
        "narthex.yml",
        &format!(
            "plugins:\n  limits: {{ call_timeout: 500ms }}\n  grants:\n    \
             shadow: {{ files: [\"{}\"] }}\n    metadata: {{ http: [\"*://*\"] }}\n\
             exporters:\n{jobs}",
            agent.path("granted").display()
        ),
    );
    let good = agent.path("plugins/custom-metric.wasm");
    fs::copy(plugin("custom-metric"), good).unwrap();
    let agent = agent.start();
    let both = "{__name__=~\"steady|custom_metric_example\"}";
    agent.until("both are there", |a| a.query(both).len() == 2);

    let began = Instant::now();
    for (name, file, _) in &hostile {
        fs::write(agent.path(&format!("plugins/{name}.wasm")), file).unwrap();
    }
    for (name, _, said) in &hostile {
        let told = |status: &Value| {
            let error = status["lastError"].as_str().unwrap_or_default();
            error.contains(said)
        };
        agent.until(&format!("{name} is named"), |a| told(&status(a, name)));
        // Only a file that is none has no collections to fail.
        let failures = format!("up{{job=\"{name}\"}}");
        agent.until(&failures, |a| {
            *name == "cut" || a.value(&failures) == Some(0.0)
        });
    }
    std::thread::sleep(TIME.saturating_sub(began.elapsed()));

    let seconds = began.elapsed().as_secs();
    for (job, metric) in [
        ("steady", "steady"),
        ("custom-metric", "custom_metric_example"),
    ] {
        let failed = format!("min_over_time(up{{job=\"{job}\"}}[{seconds}s])");
        assert_eq!(agent.value(&failed), Some(1.0), "{job}");
        let longest =
            format!("max_over_time(scrape_duration_seconds{{job=\"{job}\"}}[{seconds}s])");
        let counted = format!("count_over_time({metric}[{seconds}s])");
        let samples = agent.value(&counted).unwrap();
        println!(
            "{job}: {samples} samples in {seconds} s, {:?} s at most",
            agent.value(&longest)
        );
        // One a second, but for what a busy machine shifts.
        assert!(
            samples >= seconds as f64 * 0.8 - 2.0,
            "{job}: {samples} in {seconds} s"
        );
    }
    for (name, capability) in [("shadow", "files"), ("metadata", "http")] {
        let refused = &status(&agent, name)["usage"]["refusedCalls"][capability];
        assert!(refused.as_u64() >= Some(1), "{name}: {refused}");
    }
    let (_, metrics) = agent.text("/metrics");
    for sample in [
        "narthex_plugin_limit_hits_total{limit=\"call_timeout\",plugin=\"endless\"} ",
        "narthex_plugin_limit_hits_total{limit=\"memory\",plugin=\"memory\"} ",
        "narthex_plugin_limit_hits_total{limit=\"memory\",plugin=\"table\"} ",
        "narthex_plugin_limit_hits_total{limit=\"series\",plugin=\"series\"} ",
        "narthex_plugin_limit_hits_total{limit=\"label_value_bytes\",plugin=\"label\"} ",
        "narthex_plugin_failures_total{plugin=\"names\",reason=\"invalid\"} ",
        "narthex_plugin_failures_total{plugin=\"recursion\",reason=\"trap\"} ",
        "narthex_plugin_failures_total{plugin=\"traps\",reason=\"trap\"} ",
        "narthex_plugin_loads_total{plugin=\"cut\",result=\"failure\"} ",
        "narthex_plugin_refused_calls_total{capability=\"files\",plugin=\"shadow\"} ",
        "narthex_plugin_refused_calls_total{capability=\"http\",plugin=\"metadata\"} ",
    ] {
        let line = metrics.lines().find_map(|line| line.strip_prefix(sample));
        assert!(line.is_some_and(|count| count != "0"), "{sample}: {line:?}");
    }
}

fn status(agent: &Agent, name: &str) -> Value {
    let answer = agent.get("/api/v1/narthex/plugins");
    let plugins = answer["data"].as_array().cloned().unwrap_or_default();
    let found = plugins.into_iter().find(|plugin| plugin["name"] == name);
    found.unwrap_or_default()
}
