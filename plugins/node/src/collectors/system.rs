//! The system itself: its name, its release, its clock.

use std::collections::BTreeMap;

use narthex_plugin_sdk::{Metrics, clock, files, system};

use crate::failure::{At, Failure};
use crate::text::{attributes, numbered_entries};

pub(crate) fn uname(metrics: &mut Metrics) -> Result<(), Failure> {
    let identity = system::identify()?;
    metrics
        .gauge("node_uname_info", "1, labelled with what uname says.")
        .labels([
            "domainname",
            "machine",
            "nodename",
            "release",
            "sysname",
            "version",
        ])
        .add(
            [
                &identity.domainname,
                &identity.machine,
                &identity.nodename,
                &identity.release,
                &identity.sysname,
                &identity.version,
            ],
            1.0,
        );
    Ok(())
}

pub(crate) fn time(metrics: &mut Metrics) -> Result<(), Failure> {
    const SOURCES: &str = "/sys/devices/system/clocksource";
    metrics
        .gauge("node_time_seconds", "The machine's clock, since 1970.")
        .set(clock::now_ns() as f64 / 1e9);
    let zone = system::time_zone()?;
    metrics
        .gauge(
            "node_time_zone_offset_seconds",
            "How far the time zone is east of UTC.",
        )
        .labels(["time_zone"])
        .add([&zone.abbreviation], f64::from(zone.offset_seconds));
    let sources = numbered_entries(SOURCES, "clocksource").at(SOURCES)?;
    for (device, source) in sources.iter().enumerate() {
        let device = device.to_string();
        let of_source = |file: &str| format!("{SOURCES}/clocksource{source}/{file}");
        let texts = attributes(&["available_clocksource", "current_clocksource"].map(of_source));
        let text = |at: usize| texts.get(at).and_then(Option::as_deref).unwrap_or("");
        let mut available: Vec<&str> = text(0).split_ascii_whitespace().collect();
        available.dedup();
        for name in available {
            metrics
                .gauge(
                    "node_time_clocksource_available_info",
                    "1 for each source that the clock can have.",
                )
                .labels(["clocksource", "device"])
                .add([name, &device], 1.0);
        }
        if !text(1).is_empty() {
            metrics
                .gauge(
                    "node_time_clocksource_current_info",
                    "1 for the source that the clock has.",
                )
                .labels(["clocksource", "device"])
                .add([text(1), &device], 1.0);
        }
    }
    Ok(())
}

const RELEASE_LABELS: [(&str, &str); 12] = [
    ("build_id", "BUILD_ID"),
    ("id", "ID"),
    ("id_like", "ID_LIKE"),
    ("image_id", "IMAGE_ID"),
    ("image_version", "IMAGE_VERSION"),
    ("name", "NAME"),
    ("pretty_name", "PRETTY_NAME"),
    ("variant", "VARIANT"),
    ("variant_id", "VARIANT_ID"),
    ("version", "VERSION"),
    ("version_codename", "VERSION_CODENAME"),
    ("version_id", "VERSION_ID"),
];

pub(crate) fn os(metrics: &mut Metrics) -> Result<(), Failure> {
    const OWN: &str = "/etc/os-release";
    const VENDOR: &str = "/usr/lib/os-release";
    let text = match files::read_text(OWN) {
        Ok(text) => text,
        Err(_) => files::read_text(VENDOR).at_if_there(VENDOR)?,
    };
    let release = parse_release(&text);
    let get = |key: &str| release.get(key).map_or("", String::as_str);
    metrics
        .gauge("node_os_info", "1, labelled with the system's release.")
        .labels(RELEASE_LABELS.map(|(label, _)| label))
        .add(RELEASE_LABELS.map(|(_, key)| get(key)), 1.0);
    let version = leading_version(get("VERSION_ID"));
    if version > 0.0 {
        metrics
            .gauge(
                "node_os_version",
                "The system's version, as far as it is a number.",
            )
            .labels(["id", "id_like", "name"])
            .add([get("ID"), get("ID_LIKE"), get("NAME")], version);
    }
    if let Some(end) = day_seconds(get("SUPPORT_END")) {
        metrics
            .gauge(
                "node_os_support_end_timestamp_seconds",
                "When the release's support ends.",
            )
            .set(end);
    }
    Ok(())
}

/// Lines `KEY=value`, quoted as a shell would.
fn parse_release(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| {
        let line = line.trim();
        let (key, value) = line.split_once('=')?;
        (!key.starts_with('#')).then(|| (key.to_owned(), unquote(value)))
    });
    pairs.collect()
}

fn unquote(value: &str) -> String {
    let inside = |quote: char| {
        value
            .strip_prefix(quote)
            .and_then(|rest| rest.strip_suffix(quote))
    };
    if let Some(plain) = inside('\'') {
        return plain.to_owned();
    }
    let mut out = String::new();
    let mut chars = inside('"').unwrap_or(value).chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            c => out.push(c),
        }
    }
    out
}

/// `12.04` of `12.04.5`; 0 where there is no number.
fn leading_version(text: &str) -> f64 {
    let mut dots = 0;
    let end = text.find(|c: char| {
        dots += usize::from(c == '.');
        !(c.is_ascii_digit() || c == '.' && dots == 1)
    });
    text[..end.unwrap_or(text.len())].parse().unwrap_or(0.0)
}

/// The start of a day `YYYY-MM-DD`, UTC, since 1970.
fn day_seconds(text: &str) -> Option<f64> {
    let mut parts = text.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years begin in March here, so that the leap day is their last.
    let (year, month) = match month {
        3.. => (year, month - 3),
        _ => (year - 1, month + 9),
    };
    let days_before_year = year * 365 + year / 4 - year / 100 + year / 400;
    let days_before_month = (month * 153 + 2) / 5;
    let days = days_before_year + days_before_month + day - 1 - 719_468;
    Some((days * 86_400) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_releases() {
        let release =
            parse_release("# x=y\nNAME=\"Debian \\\"GNU\\\"\"\nID=debian\nA='b c'\n\nB\n");
        assert_eq!(release["NAME"], "Debian \"GNU\"");
        assert_eq!(release["ID"], "debian");
        assert_eq!(release["A"], "b c");
        assert_eq!(release.len(), 3);
    }

    #[test]
    fn reads_versions_and_days() {
        for (text, expected) in [
            ("12", 12.0),
            ("20.04", 20.04),
            ("20.04.5", 20.04),
            ("", 0.0),
            ("x", 0.0),
        ] {
            assert_eq!(leading_version(text), expected, "{text}");
        }
        for (text, expected) in [
            ("1970-01-01", Some(0.0)),
            ("2000-02-29", Some(951_782_400.0)),
            ("2026-06-30", Some(1_782_777_600.0)),
            ("2026-13-01", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(day_seconds(text), expected, "{text}");
        }
    }
}
