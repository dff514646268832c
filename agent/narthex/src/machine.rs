//! What the binary asks of the machine: its name, the time, its memory.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) fn hostname() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() {
        "localhost".to_owned()
    } else {
        name.to_owned()
    }
}

/// Milliseconds since 1970; a clock before that counts as then.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The machine's memory, or what control groups leave of it.
pub(crate) fn memory_bytes() -> Option<u64> {
    let info = fs::read_to_string("/proc/meminfo").ok()?;
    let total = info.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let total_kib: u64 = total?.split_whitespace().next()?.parse().ok()?;
    let total_bytes = total_kib.saturating_mul(1024);
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = group_limits(&groups, Path::new("/sys/fs/cgroup"));
    Some(limits.into_iter().fold(total_bytes, u64::min))
}

/// The limits of the groups that this process is in, and of those above them. `groups` has a line
/// for each hierarchy, as in `0::/system.slice/narthex.service` or `7:memory:/docker/1`.
fn group_limits(groups: &str, mounted: &Path) -> Vec<u64> {
    let mut limits = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else {
            continue;
        };
        let (top, file) = if controllers.is_empty() {
            (mounted.to_owned(), "memory.max")
        } else if controllers.split(',').any(|name| name == "memory") {
            (mounted.join("memory"), "memory.limit_in_bytes")
        } else {
            continue;
        };
        let group = Path::new(group.trim_start_matches('/'));
        // In a container the group may be named as from outside, where only the top is to be seen.
        let files = group.ancestors().map(|group| top.join(group).join(file));
        let texts = files.filter_map(|file| fs::read_to_string(file).ok());
        // No limit is told in words, or as a number that no machine has.
        limits.extend(texts.filter_map(|text| text.trim().parse::<u64>().ok()));
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_memory() {
        assert!(memory_bytes().is_some_and(|bytes| bytes > 1 << 20));
    }

    #[test]
    fn limits_of_control_groups() {
        let folder = tempfile::tempdir().unwrap();
        for (file, text) in [
            ("a/b.service/memory.max", "max\n"),
            ("a/memory.max", "5000\n"),
            ("memory/x/memory.limit_in_bytes", "7000\n"),
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ] {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        for (groups, expected) in [
            ("0::/a/b.service\n", vec![5000]),
            ("0::/elsewhere\n", vec![]),
            (
                "3:cpu,memory:/x\n1:cpu:/y\n",
                vec![7000, 9_223_372_036_854_771_712],
            ),
            ("nonsense", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(group_limits(groups, folder.path()), expected, "{groups}");
        }
    }
}
