//! From a discovered target to one that can be scraped: defaults, relabelling, checks. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use narthex_model::{Labels, LabelsBuilder, TargetGroup, duration};
use xxhash_rust::xxh64::Xxh64;

use crate::config::JobConfig;

const ADDRESS: &str = "__address__";
const SCHEME: &str = "__scheme__";
const PATH: &str = "__metrics_path__";
const INTERVAL: &str = "__scrape_interval__";
const TIMEOUT: &str = "__scrape_timeout__";
const PARAM: &str = "__param_";
const META: &str = "__meta_";

/// A target as its job's rules made it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Target {
    /// Before relabelling, defaults included.
    pub discovered: Labels,
    /// After relabelling, without `__meta_…`: what makes it this target.
    pub identity: Labels,
    /// What its series get: no label that starts with two underscores.
    pub labels: Labels,
    pub url: String,
    pub interval_ms: u64,
    pub timeout_ms: u64,
}

/// A target that is not scraped.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refused {
    pub discovered: Labels,
    /// What is wrong with it; None where a rule dropped it.
    pub error: Option<String>,
}

/// The targets of a group, as the job wants them.
pub(crate) fn from_group<'a>(
    job: &'a JobConfig,
    group: &'a TargetGroup,
) -> impl Iterator<Item = Result<Target, Refused>> + 'a {
    group.targets.iter().map(|target| {
        let discovered = with_defaults(job, target, &group.labels);
        resolve(job, discovered)
    })
}

impl Target {
    /// Where in the interval it is scraped: the same on each start, different between agents.
    pub(crate) fn spread(&self, seed: u64) -> u64 {
        let mut hasher = Xxh64::new(seed);
        hasher.update(&self.identity.fingerprint().to_le_bytes());
        hasher.update(self.url.as_bytes());
        hasher.digest()
    }
}

fn with_defaults(job: &JobConfig, target: &Labels, group: &Labels) -> Labels {
    let mut labels = LabelsBuilder::from(target);
    let mut default = |name: &str, value: &str| {
        if labels.get(name).is_none() {
            labels.set(name, value);
        }
    };
    for label in group.iter() {
        default(&label.name, &label.value);
    }
    default("job", &job.job_name);
    default(INTERVAL, &duration::format_ms(job.scrape_interval_ms));
    default(TIMEOUT, &duration::format_ms(job.scrape_timeout_ms));
    default(PATH, &job.metrics_path);
    default(SCHEME, &job.scheme);
    for (name, values) in &job.params {
        if let Some(first) = values.first() {
            default(&format!("{PARAM}{name}"), first);
        }
    }
    labels.build()
}

fn resolve(job: &JobConfig, discovered: Labels) -> Result<Target, Refused> {
    let Some(relabeled) = narthex_relabel::apply(&job.relabel, discovered.clone()) else {
        return Err(Refused {
            discovered,
            error: None,
        });
    };
    match finish(job, &discovered, &relabeled) {
        Ok(target) => Ok(target),
        Err(error) => Err(Refused {
            discovered,
            error: Some(error),
        }),
    }
}

fn finish(job: &JobConfig, discovered: &Labels, relabeled: &Labels) -> Result<Target, String> {
    let address = relabeled
        .get(ADDRESS)
        .ok_or("the target has no address (__address__ is empty)")?;
    if address.contains('/') {
        return Err(format!(
            "{address:?} is not a valid hostname: it holds a '/'"
        ));
    }
    let (interval_ms, timeout_ms) = interval_and_timeout(relabeled)?;
    let url = url(job, relabeled)?;
    let mut identity = LabelsBuilder::from(relabeled);
    identity.retain(|label| !label.name.starts_with(META));
    if identity.get("instance").is_none() {
        identity.set("instance", address);
    }
    let identity = identity.build();
    Ok(Target {
        discovered: discovered.clone(),
        labels: identity.filtered(|label| !label.name.starts_with("__")),
        identity,
        url,
        interval_ms,
        timeout_ms,
    })
}

fn interval_and_timeout(labels: &Labels) -> Result<(u64, u64), String> {
    let read = |name: &str, what: &str| {
        let text = labels.value_or_empty(name);
        match duration::parse_ms(text) {
            Ok(0) => Err(format!("the scrape {what} (label {name}) cannot be 0")),
            Ok(ms) => Ok(ms),
            Err(error) => Err(format!("the scrape {what} (label {name}): {error}")),
        }
    };
    let interval_ms = read(INTERVAL, "interval")?;
    let timeout_ms = read(TIMEOUT, "timeout")?;
    if timeout_ms > interval_ms {
        return Err(format!(
            "the scrape timeout cannot be greater than the scrape interval ({} > {})",
            duration::format_ms(timeout_ms),
            duration::format_ms(interval_ms)
        ));
    }
    Ok((interval_ms, timeout_ms))
}

fn url(job: &JobConfig, labels: &Labels) -> Result<String, String> {
    let scheme = labels.value_or_empty(SCHEME);
    if scheme != "http" && scheme != "https" {
        return Err(format!("the scheme {scheme:?} is not http or https"));
    }
    let mut url = format!("{scheme}://{}", labels.value_or_empty(ADDRESS));
    let path = labels.value_or_empty(PATH);
    if !path.starts_with('/') {
        url.push('/');
    }
    encode(path, "-_.~/:@!$&'()*+,;=", "%20", &mut url);
    let mut separator = '?';
    for (name, values) in params(job, labels) {
        for value in values {
            url.push(separator);
            separator = '&';
            encode(name, "-_.~", "+", &mut url);
            url.push('=');
            encode(value, "-_.~", "+", &mut url);
        }
    }
    Ok(url)
}

/// The job's parameters; a label `__param_…` takes the place of the first value of its name.
fn params<'a>(job: &'a JobConfig, labels: &'a Labels) -> BTreeMap<&'a str, Vec<&'a str>> {
    let mut params: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, values) in &job.params {
        params.insert(name, values.iter().map(String::as_str).collect());
    }
    for label in labels.iter() {
        let Some(name) = label.name.strip_prefix(PARAM) else {
            continue;
        };
        let values = params.entry(name).or_default();
        match values.first_mut() {
            Some(first) => *first = &label.value,
            None => values.push(&label.value),
        }
    }
    params
}

fn encode(text: &str, kept: &str, space: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b' ' => out.push_str(space),
            byte if byte.is_ascii_alphanumeric() || kept.as_bytes().contains(&byte) => {
                out.push(char::from(byte));
            }
            byte => {
                // Writing into a String does not fail.
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::job;
    use narthex_model::Regexp;
    use narthex_relabel::{Action, RelabelRule};

    fn one(job: &JobConfig, target: &[(&str, &str)]) -> Result<Target, Refused> {
        let group = TargetGroup {
            source: String::new(),
            targets: vec![Labels::from_pairs(target.iter().copied())],
            labels: Labels::from_pairs([("group", "g"), ("shared", "of the group")]),
        };
        from_group(job, &group).next().unwrap()
    }

    #[test]
    fn defaults_and_what_the_series_get() {
        let mut job = job("j");
        job.params = BTreeMap::from([
            ("module".to_owned(), vec!["a b".to_owned(), "c".to_owned()]),
            ("empty".to_owned(), Vec::new()),
        ]);
        let target = one(
            &job,
            &[(ADDRESS, "host:1"), ("shared", "own"), ("__meta_x", "y")],
        )
        .unwrap();
        assert_eq!(
            target.discovered.to_string(),
            r#"{__address__="host:1", __meta_x="y", __metrics_path__="/metrics", __param_module="a b", __scheme__="http", __scrape_interval__="1m", __scrape_timeout__="10s", group="g", job="j", shared="own"}"#
        );
        assert_eq!(
            target.labels.to_string(),
            r#"{group="g", instance="host:1", job="j", shared="own"}"#
        );
        assert_eq!(target.identity.get("__meta_x"), None);
        assert_eq!(target.url, "http://host:1/metrics?module=a+b&module=c");
        assert_eq!((target.interval_ms, target.timeout_ms), (60_000, 10_000));
    }

    #[test]
    fn relabelling_makes_the_target() {
        let mut job = job("j");
        let set = |target: &str, replacement: &str| RelabelRule {
            target_label: target.to_owned(),
            replacement: replacement.to_owned(),
            ..RelabelRule::default()
        };
        job.relabel = vec![
            set(PATH, "pro be/ü"),
            set(SCHEME, "https"),
            set("__param_target", "x&y"),
            set(INTERVAL, "30s"),
            set("instance", "named"),
            RelabelRule {
                source_labels: vec![ADDRESS.into()],
                regex: Regexp::anchored("bad.*").unwrap(),
                action: Action::Drop,
                ..RelabelRule::default()
            },
        ];
        let target = one(&job, &[(ADDRESS, "[::1]:1")]).unwrap();
        assert_eq!(target.url, "https://[::1]:1/pro%20be/%C3%BC?target=x%26y");
        assert_eq!(target.interval_ms, 30_000);
        assert_eq!(target.labels.get("instance"), Some("named"));
        assert_eq!(one(&job, &[(ADDRESS, "bad:1")]).unwrap_err().error, None);
    }

    #[test]
    fn targets_that_cannot_be_scraped() {
        for (target, error) in [
            (
                &[("a", "b")][..],
                "the target has no address (__address__ is empty)",
            ),
            (
                &[(ADDRESS, "host/path")],
                "\"host/path\" is not a valid hostname: it holds a '/'",
            ),
            (
                &[(ADDRESS, "h"), (INTERVAL, "0s")],
                "the scrape interval (label __scrape_interval__) cannot be 0",
            ),
            (
                &[(ADDRESS, "h"), (TIMEOUT, "2m")],
                "the scrape timeout cannot be greater than the scrape interval (2m > 1m)",
            ),
            (
                &[(ADDRESS, "h"), (SCHEME, "ftp")],
                "the scheme \"ftp\" is not http or https",
            ),
        ] {
            let refused = one(&job("j"), target).unwrap_err();
            assert_eq!(refused.error.as_deref(), Some(error));
        }
        let refused = one(&job("j"), &[(ADDRESS, "h"), (TIMEOUT, "5 s")]).unwrap_err();
        assert!(refused.error.unwrap().contains("__scrape_timeout__"));
    }

    #[test]
    fn phases_differ_by_target_and_by_agent() {
        let target = |address| one(&job("j"), &[(ADDRESS, address)]).unwrap();
        assert_eq!(target("a").spread(1), target("a").spread(1));
        assert_ne!(target("a").spread(1), target("a").spread(2));
        assert_ne!(target("a").spread(1), target("b").spread(1));
    }
}
