//! Reading the kernel's files and their texts.

use std::str::FromStr;

use narthex_plugin_sdk::files::{Entry, FileKind};
use narthex_plugin_sdk::{FileError, FileErrorCode, files};

use crate::failure::{At, Failure};

/// The longest attribute of /sys that is read; of longer ones, the beginning.
const ATTRIBUTE_BYTES: usize = 128;

/// A file that must be there.
pub(crate) fn read(path: &str) -> Result<String, Failure> {
    files::read_text(path).at(path)
}

/// A file that need not be there.
pub(crate) fn read_if_there(path: &str) -> Result<String, Failure> {
    files::read_text(path).at_if_there(path)
}

/// Whole files, by their places in `paths`, in one crossing.
pub(crate) fn read_many(paths: &[String]) -> Vec<Result<String, FileError>> {
    let contents = files::read_many(paths).into_iter();
    contents.map(|content| content.map(files::text)).collect()
}

/// Attributes of /sys, trimmed, by their places in `paths`, in one crossing.
pub(crate) fn read_attributes(paths: &[String]) -> Vec<Result<String, FileError>> {
    read_trimmed(paths, str::trim)
}

/// As [`read_attributes`], with only the ends of lines cut off.
pub(crate) fn read_lines_of(paths: &[String]) -> Vec<Result<String, FileError>> {
    read_trimmed(paths, |text| text.trim_matches('\n'))
}

fn read_trimmed(paths: &[String], trim: fn(&str) -> &str) -> Vec<Result<String, FileError>> {
    files::read_many(paths)
        .into_iter()
        .map(|content| {
            let mut content = content?;
            content.truncate(ATTRIBUTE_BYTES);
            let text = text_of(content);
            let trimmed = trim(&text);
            Ok(match trimmed.len() == text.len() {
                true => text,
                false => trimmed.to_owned(),
            })
        })
        .collect()
}

/// As [`read_attributes`], where one that the kernel refuses is as good as none.
pub(crate) fn attributes(paths: &[String]) -> Vec<Option<String>> {
    read_attributes(paths).into_iter().map(Result::ok).collect()
}

/// The attributes of one folder.
pub(crate) fn attributes_of<const N: usize>(folder: &str, names: [&str; N]) -> [Option<String>; N] {
    let mut values = attributes(&names.map(|name| format!("{folder}/{name}"))).into_iter();
    names.map(|_| values.next().flatten())
}

/// The whole texts of files of one folder, empty for one that is not there.
pub(crate) fn texts_of<const N: usize>(
    folder: &str,
    names: [&str; N],
) -> Result<[String; N], Failure> {
    let mut texts = names.map(|_| String::new());
    let paths = names.map(|name| format!("{folder}/{name}"));
    for ((text, path), read) in texts.iter_mut().zip(&paths).zip(read_many(&paths)) {
        *text = or_empty(read).at(path)?;
    }
    Ok(texts)
}

/// A file that is not there is as good as an empty one.
pub(crate) fn or_empty(text: Result<String, FileError>) -> Result<String, FileError> {
    match text {
        Err(error) if error.is_not_found() => Ok(String::new()),
        text => text,
    }
}

/// A number that stands alone in a file, which need not be there.
pub(crate) fn read_number_if_there(path: &str) -> Result<f64, Failure> {
    number(read_if_there(path)?.trim()).at(path)
}

/// As Go replaces it: a run of bytes that are no UTF-8 becomes one U+FFFD.
fn text_of(bytes: Vec<u8>) -> String {
    match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let mut text = String::new();
            for chunk in error.as_bytes().utf8_chunks() {
                text.push_str(chunk.valid());
                let again = chunk.valid().is_empty() && text.ends_with('\u{fffd}');
                if !chunk.invalid().is_empty() && !again {
                    text.push('\u{fffd}');
                }
            }
            text
        }
    }
}

/// Whether the error says that an attribute has nothing to say here, rather than that reading went
/// wrong.
pub(crate) fn is_void(error: &FileError) -> bool {
    matches!(
        error.code,
        FileErrorCode::NotFound
            | FileErrorCode::PermissionDenied
            | FileErrorCode::Invalid
            | FileErrorCode::NotSupported
    )
}

/// Whether the operating system refuses.
pub(crate) fn is_denied(error: &FileError) -> bool {
    error.code == FileErrorCode::PermissionDenied
}

/// The folders in a folder, links to folders among them, whose names are taken.
pub(crate) fn folders_where(
    path: &str,
    takes: impl Fn(&str) -> bool,
) -> Result<Vec<String>, FileError> {
    let entries = files::entries(path)?.into_iter();
    let taken = entries.filter(|entry| entry.kind != FileKind::File && takes(&entry.name));
    Ok(taken.map(|entry| entry.name).collect())
}

/// As [`folders_where`], where no folder is as good as an empty one.
pub(crate) fn folders_if_there(
    path: &str,
    takes: impl Fn(&str) -> bool,
) -> Result<Vec<String>, Failure> {
    match folders_where(path, takes) {
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        folders => folders.at(path),
    }
}

pub(crate) fn is_file(entry: &Entry) -> bool {
    entry.kind == FileKind::File
}

/// A decimal number, whole or broken.
pub(crate) fn number(text: &str) -> Result<f64, String> {
    text.parse()
        .map_err(|_| format!("expected a number, not {text:?}"))
}

/// The decimal numbers of a line.
pub(crate) fn numbers<'a>(words: impl Iterator<Item = &'a str>) -> Result<Vec<f64>, String> {
    words.map(number).collect()
}

/// A whole number as C writes it: decimal, hexadecimal after `0x`, octal after `0`.
pub(crate) fn integer(text: &str) -> Option<f64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let value = match digits.strip_prefix('0') {
        None => parse::<u64>(digits)?,
        Some("") => 0,
        Some(rest) => match rest.strip_prefix(['x', 'X']) {
            Some(digits) => u64::from_str_radix(digits, 16).ok()?,
            None => u64::from_str_radix(rest, 8).ok()?,
        },
    };
    Some(if negative {
        -(value as f64)
    } else {
        value as f64
    })
}

/// As [`integer`], of an attribute that may be missing.
pub(crate) fn whole(text: &Option<String>) -> Option<f64> {
    text.as_deref().and_then(integer)
}

/// A hexadecimal number without `0x`.
pub(crate) fn hex(text: &str) -> Result<f64, String> {
    u64::from_str_radix(text, 16)
        .map(|number| number as f64)
        .map_err(|_| format!("expected a hexadecimal number, not {text:?}"))
}

pub(crate) fn parse<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
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
    numbers.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
    Ok(numbers)
}

/// As [`numbered_entries`], where no folder is as good as an empty one.
pub(crate) fn numbered_if_there(folder: &str, prefix: &str) -> Result<Vec<String>, Failure> {
    match numbered_entries(folder, prefix) {
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        entries => entries.at(folder),
    }
}

/// A text as part of a metric's name: what can't stand there becomes an underscore, together with
/// the underscores around it.
pub(crate) fn as_name(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    let mut rest = text;
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    while let Some(at) = rest.find(|c| !fits(c)) {
        let (good, bad) = rest.split_at(at);
        name.push_str(good.trim_end_matches('_'));
        name.push('_');
        rest = bad.trim_start_matches(|c| c == '_' || !fits(c));
    }
    name.push_str(rest);
    name
}

/// A size as people write it, as `2.05G`; the units are powers of 1024.
pub(crate) fn human_bytes(text: &str) -> Result<f64, String> {
    let text = text.trim();
    let wrong = || format!("expected a size, not {text:?}");
    let lower = text.to_ascii_lowercase();
    let units = ["k", "m", "g", "t", "p", "e"].iter().zip(1..);
    let mut scaled = units.filter_map(|(unit, power)| Some((lower.strip_suffix(unit)?, power)));
    let (digits, power) = scaled.next().unwrap_or((&lower, 0));
    let value: f64 = parse(digits.trim()).ok_or_else(wrong)?;
    Ok((value * 1024_f64.powi(power)).trunc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_all_kinds() {
        for (text, expected) in [
            ("0x1003", Some(4099.0)),
            ("-1", Some(-1.0)),
            ("0", Some(0.0)),
            ("010", Some(8.0)),
            ("18446744073709551615", Some(u64::MAX as f64)),
            ("", None),
            ("-", None),
            ("08", None),
            ("1.5", None),
            ("N/A", None),
        ] {
            assert_eq!(integer(text), expected, "{text}");
        }
        assert_eq!(hex("ff"), Ok(255.0));
        assert!(hex("xyz").is_err());
        assert_eq!(ranges("1,3-5,9\n").unwrap(), [1, 3, 4, 5, 9]);
        assert_eq!(ranges("\n").unwrap(), [0_u32; 0]);
        for bad in ["a", "1-", "0-4294967295", "5--1"] {
            assert!(ranges(bad).is_err(), "{bad}");
        }
        assert_eq!(numbered("cpu10", "cpu"), Some("10"));
        assert_eq!(numbered("cpufreq", "cpu"), None);
        for (text, expected) in [
            ("512k", Some(524_288.0)),
            ("2.05G", Some(2_201_170_739.0)),
            ("720", Some(720.0)),
            ("0", Some(0.0)),
            ("k", None),
            ("", None),
        ] {
            assert_eq!(human_bytes(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn names_are_made_of_what_fits() {
        for (text, expected) in [
            ("package", "package"),
            ("a-b", "a_b"),
            ("a_-_b", "a_b"),
            ("a--b", "a_b"),
            ("a__b", "a__b"),
            ("-a", "_a"),
            ("a.", "a_"),
            ("é", "_"),
        ] {
            assert_eq!(as_name(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_text_is_replaced_once_a_run() {
        assert_eq!(text_of(b"\xff\xfe[\xff".to_vec()), "\u{fffd}[\u{fffd}");
        assert_eq!(text_of(b"a\xc3".to_vec()), "a\u{fffd}");
        assert_eq!(text_of("ä".as_bytes().to_vec()), "ä");
    }
}
