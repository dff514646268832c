//! Putting away what was taken over from others: moved, never deleted, with a word on how to undo
//! it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::disk::{Disk, with_path};

/// The folder below the data folder.
pub(crate) const FOLDER: &str = "set-aside";

/// Moves these files or folders, all in the data folder; gives where they are now.
pub(crate) fn set_aside(
    data: &Path,
    entries: &[PathBuf],
    now: SystemTime,
    disk: &dyn Disk,
) -> io::Result<PathBuf> {
    let target = new_folder(data, now)?;
    for entry in entries {
        let name = entry.file_name().unwrap_or_default();
        let to = target.join(name);
        fs::rename(entry, &to).map_err(|e| with_path(&e, entry))?;
    }
    disk.sync_folder(&target)?;
    disk.sync_folder(data)?;
    Ok(target)
}

fn new_folder(data: &Path, now: SystemTime) -> io::Result<PathBuf> {
    let parent = data.join(FOLDER);
    fs::create_dir_all(&parent).map_err(|e| with_path(&e, &parent))?;
    let stamp = time_stamp(now);
    let names = (1..).map(|n| match n {
        1 => stamp.clone(),
        n => format!("{stamp}-{n}"),
    });
    for name in names {
        let path = parent.join(name);
        match fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            created => created.map_err(|e| with_path(&e, &path))?,
        }
        return Ok(path);
    }
    Err(io::Error::other("no name is free"))
}

/// A time in names of folders, in UTC: `20260131T235959Z`.
pub(crate) fn time_stamp(time: SystemTime) -> String {
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let (day, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date_of(day);
    format!(
        "{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// Year, month and day of a day since 1970.
fn date_of(day: u64) -> (u64, u64, u64) {
    // Counted from the 1st of March 0000, so that a leap day is the last of its year.
    let day = day + 719_468;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let of_month = day - (153 * month + 2) / 5 + 1;
    match month < 10 {
        true => (era * 400 + year, month + 3, of_month),
        false => (era * 400 + year + 1, month - 9, of_month),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::disk::RealDisk;

    #[test]
    fn time_stamps() {
        for (seconds, expected) in [
            (0, "19700101T000000Z"),
            (951_782_399, "20000228T235959Z"),
            (951_782_400, "20000229T000000Z"),
            (1_709_251_199, "20240229T235959Z"),
            (1_767_225_600, "20260101T000000Z"),
            (4_107_542_400, "21000301T000000Z"),
        ] {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(time_stamp(time), expected);
        }
    }

    #[test]
    fn what_is_set_aside_keeps_its_name_and_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let wal = folder.path().join("wal");
        let mut targets = Vec::new();
        for content in ["one", "two"] {
            fs::create_dir(&wal).unwrap();
            fs::write(wal.join("00000000"), content).unwrap();
            let target = set_aside(
                folder.path(),
                std::slice::from_ref(&wal),
                UNIX_EPOCH,
                &RealDisk,
            );
            let target = target.unwrap();
            let kept = fs::read_to_string(target.join("wal/00000000")).unwrap();
            assert_eq!(kept, content);
            assert!(!wal.exists());
            targets.push(target);
        }
        assert_ne!(targets[0], targets[1]);
    }
}
