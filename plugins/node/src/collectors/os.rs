//! The system itself: its name and its release.

use std::collections::BTreeMap;

use narthex_plugin_sdk::{Metrics, files, system};

use crate::descriptor::{Descriptor, gauge};
use crate::failure::{At, Failure};
use crate::machine::Machine;

const UNAME: Descriptor = gauge(
    "node_uname_info",
    "Labeled system information as provided by the uname system call.",
);

pub(crate) fn uname(_: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
    let identity = system::identify()?;
    let labels = [
        ("domainname", &identity.domainname),
        ("machine", &identity.machine),
        ("nodename", &identity.nodename),
        ("release", &identity.release),
        ("sysname", &identity.sysname),
        ("version", &identity.version),
    ];
    let values = labels.map(|(_, value)| value.as_str());
    UNAME.add(metrics, labels.map(|(name, _)| name), values, 1.0);
    Ok(())
}

const INFO: Descriptor = gauge(
    "node_os_info",
    "A metric with a constant '1' value labeled by build_id, id, id_like, image_id, image_version, name, pretty_name, variant, variant_id, version, version_codename, version_id.",
);
const VERSION: Descriptor = gauge(
    "node_os_version",
    "Metric containing the major.minor part of the OS version.",
);
const SUPPORT_END: Descriptor = gauge(
    "node_os_support_end_timestamp_seconds",
    "Metric containing the end-of-life date timestamp of the OS.",
);

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

pub(crate) fn collect(machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
    let own = machine.root("etc/os-release");
    let text = match files::read_text(&own) {
        Err(error) if error.is_not_found() => {
            let vendors = machine.root("usr/lib/os-release");
            files::read_text(&vendors).at_if_there(&vendors)?
        }
        text => text.at(&own)?,
    };
    let release = parse_release(&text);
    let get = |key: &str| release.get(key).map_or("", String::as_str);
    let labels = RELEASE_LABELS.map(|(label, _)| label);
    INFO.add(
        metrics,
        labels,
        RELEASE_LABELS.map(|(_, key)| get(key)),
        1.0,
    );
    let version = leading_version(get("VERSION_ID"));
    if version > 0.0 {
        let values = [get("ID"), get("ID_LIKE"), get("NAME")];
        VERSION.add(metrics, ["id", "id_like", "name"], values, version);
    }
    if let Some(end) = day_seconds(get("SUPPORT_END")) {
        SUPPORT_END.set(metrics, end);
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
