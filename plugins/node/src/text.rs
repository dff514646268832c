//! Reading the kernel's texts.

use narthex_plugin_sdk::{FileError, files};

use crate::failure::{At, Failure};

/// A file that must be there.
pub(crate) fn read(path: &str) -> Result<String, Failure> {
    files::read_text(path).at(path)
}

/// A file that need not be there.
pub(crate) fn read_if_there(path: &str) -> Result<String, Failure> {
    files::read_text(path).at_if_there(path)
}

/// The attributes of /sys that can be read, trimmed, by their places in `paths`. All come in one
/// crossing. One that the kernel refuses is as good as none.
pub(crate) fn attributes(paths: &[String]) -> Vec<Option<String>> {
    files::read_many(paths)
        .into_iter()
        .map(|content: Result<Vec<u8>, FileError>| {
            let text = files::text(content.ok()?);
            Some(text.trim().to_owned())
        })
        .collect()
}

/// A decimal number, whole or broken.
pub(crate) fn number(text: &str) -> Result<f64, String> {
    text.parse()
        .map_err(|_| format!("expected a number, not {text:?}"))
}

/// A whole number: decimal, or hexadecimal after `0x`.
pub(crate) fn integer(text: &str) -> Option<f64> {
    match text.strip_prefix("0x") {
        Some(digits) => Some(u64::from_str_radix(digits, 16).ok()? as f64),
        None => Some(text.parse::<i64>().ok()? as f64),
    }
}

/// A hexadecimal number without `0x`.
pub(crate) fn hex(text: &str) -> Result<f64, String> {
    u64::from_str_radix(text, 16)
        .map(|number| number as f64)
        .map_err(|_| format!("expected a hexadecimal number, not {text:?}"))
}

/// CPUs or the like, as `0-3,5`.
pub(crate) fn ranges(text: &str) -> Result<Vec<u32>, String> {
    let mut numbers = Vec::new();
    for part in text.trim().split(',').filter(|part| !part.is_empty()) {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        let read = |text: &str| text.trim().parse::<u32>().ok();
        match (read(low), read(high)) {
            (Some(low), Some(high)) if high - low.min(high) < 65_536 => numbers.extend(low..=high),
            _ => return Err(format!("expected numbers as in 0-3,5, not {text:?}")),
        }
    }
    Ok(numbers)
}

/// Whether the name is the prefix with nothing but digits after it; gives the digits.
pub(crate) fn numbered<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    let digits = name.strip_prefix(prefix)?;
    let all = !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit());
    all.then_some(digits)
}

/// The entries of a folder that are the prefix and a number, in the order of the numbers.
pub(crate) fn numbered_entries(folder: &str, prefix: &str) -> Result<Vec<String>, FileError> {
    let entries = files::entries(folder)?;
    let mut numbers: Vec<String> = entries
        .iter()
        .filter_map(|entry| numbered(&entry.name, prefix))
        .map(str::to_owned)
        .collect();
    numbers.sort_by_key(|number| (number.len(), number.clone()));
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(integer("0x1003"), Some(4099.0));
        assert_eq!(integer("-1"), Some(-1.0));
        assert_eq!(integer(""), None);
        assert_eq!(hex("ff"), Ok(255.0));
        assert!(hex("xyz").is_err());
        assert_eq!(ranges("1,3-5,9\n").unwrap(), [1, 3, 4, 5, 9]);
        assert_eq!(ranges("\n").unwrap(), [0_u32; 0]);
        for bad in ["a", "1-", "0-4294967295", "5--1"] {
            assert!(ranges(bad).is_err(), "{bad}");
        }
        assert_eq!(numbered("cpu10", "cpu"), Some("10"));
        assert_eq!(numbered("cpufreq", "cpu"), None);
    }
}
