//! What someone may have meant who misspelt a name.

/// The nearest of the names, if any is near enough to be meant.
pub(crate) fn nearest<'a>(
    name: &str,
    known: impl Iterator<Item = &'a String>,
) -> Option<&'a String> {
    let same = |name: &str| name.replace('_', "-");
    let wanted = same(name);
    let near = |known: &'a String| {
        // The first part is often left out.
        let whole = distance(&wanted, &same(known));
        let rest = known.split_once('.').map_or("", |(_, rest)| rest);
        let distance = whole.min(distance(&wanted, &same(rest)) + 1);
        (distance <= wanted.len() / 4 + 1).then_some((distance, known))
    };
    let (_, known) = known
        .filter_map(near)
        .min_by_key(|(distance, _)| *distance)?;
    Some(known)
}

/// How many letters must be put in, taken out or changed to get from one to the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (b, above) in to.iter().zip(row.iter_mut().skip(1)) {
            let changed = diagonal + usize::from(a != *b);
            diagonal = *above;
            left = changed.min(left + 1).min(*above + 1);
            *above = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        for (from, to, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
            ("exlude", "exclude", 1),
            ("abc", "abc", 0),
        ] {
            assert_eq!(distance(from, to), expected, "{from} {to}");
        }
        let known = [
            "collector.arp",
            "collector.netdev.device-include",
            "path.rootfs",
        ];
        let known: Vec<String> = known.map(str::to_owned).into();
        for (name, expected) in [
            ("collector.arpp", Some("collector.arp")),
            (
                "netdev.device_include",
                Some("collector.netdev.device-include"),
            ),
            ("path.root", Some("path.rootfs")),
            ("gpu", None),
        ] {
            let found = nearest(name, known.iter()).map(String::as_str);
            assert_eq!(found, expected, "{name}");
        }
    }
}
