//! Which files of a data folder are to be read, and in which order: told from their names.

use std::collections::BTreeMap;
use std::fmt;

const CHECKPOINT: &str = "checkpoint.";
const SNAPSHOT: &str = "chunk_snapshot.";
const UNFINISHED: &str = ".tmp";
/// A segment that Prometheus was repairing when it was stopped: this is the whole of it.
const UNDER_REPAIR: &str = ".repair";
/// Where fast starts keep what they know of the log. Nothing in it is needed.
const STATE_FILE: &str = "series_state.json";

/// What to read, in the order of the fields; `whole_log` and `log_after_snapshot` give the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The newest one, if the log reaches it.
    pub snapshot: Option<Snapshot>,
    pub head_chunks: Vec<HeadChunkFile>,
    checkpoint: Option<Checkpoint>,
    segments: Vec<LogFile>,
    /// The segments of `wbl`.
    pub out_of_order: Vec<LogFile>,
    pub gaps: Vec<Gap>,
    pub ignored: Vec<Ignored>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    /// As it was given to [`plan`].
    pub path: String,
    pub number: u32,
    /// Where reading begins.
    pub from_offset: u64,
    /// The newest segment of a log that was being written to: its end may be torn.
    pub last: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadChunkFile {
    pub path: String,
    pub number: u32,
    /// The newest: its end may be torn.
    pub last: bool,
}

/// Holds what the log held up to a segment and an offset in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    pub folder: String,
    pub segment: u32,
    pub offset: u64,
    pub files: Vec<LogFile>,
}

/// Files that should be there, by the numbers of those that are. What they held is lost, and with
/// it what later files say of series that were defined there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    pub folder: String,
    pub first: u32,
    pub last: u32,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Gap {
            folder,
            first,
            last,
        } = self;
        match first == last {
            true => write!(f, "{folder}: file {first} is missing"),
            false => write!(f, "{folder}: files {first} to {last} are missing"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    pub path: String,
    pub why: WhyIgnored,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyIgnored {
    /// A newer checkpoint or snapshot holds what is in it, or the log no longer reaches it.
    Superseded,
    /// Prometheus was stopped while it wrote it.
    Unfinished,
    /// Not a name that Prometheus gives.
    Foreign,
}

impl Plan {
    /// The checkpoint and the segments after it: everything the log holds.
    pub fn whole_log(&self) -> Vec<LogFile> {
        let checkpoint = self.checkpoint.iter().flat_map(|found| &found.files);
        checkpoint.chain(&self.segments).cloned().collect()
    }

    /// What the log holds beyond the snapshot.
    pub fn log_after_snapshot(&self) -> Vec<LogFile> {
        let Some(snapshot) = &self.snapshot else {
            return self.whole_log();
        };
        let newer = |found: &&Checkpoint| found.number >= snapshot.segment;
        let checkpoint = self.checkpoint.iter().filter(newer);
        let segments = self
            .segments
            .iter()
            .filter(|file| file.number >= snapshot.segment);
        let mut files: Vec<LogFile> = checkpoint.flat_map(|found| &found.files).cloned().collect();
        files.extend(segments.map(|file| LogFile {
            from_offset: match file.number == snapshot.segment {
                true => snapshot.offset,
                false => 0,
            },
            ..file.clone()
        }));
        files
    }
}

/// Says what to read of a data folder. `paths` are those of its files, relative to it and with
/// slashes; blocks and whatever else is not told of here may be among them. Folders may be named
/// too.
pub fn plan<P: AsRef<str>>(paths: impl IntoIterator<Item = P>) -> Plan {
    let mut paths: Vec<String> = paths.into_iter().map(|path| path.as_ref().into()).collect();
    paths.sort_unstable();
    let mut found = Found::default();
    for path in paths {
        found.sort_in(path);
    }
    found.into_plan()
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Checkpoint {
    folder: String,
    number: u32,
    files: Vec<LogFile>,
}

type Files = BTreeMap<u32, String>;

/// The files by where they are.
#[derive(Default)]
struct Found {
    log: Files,
    out_of_order: Files,
    head_chunks: Files,
    checkpoints: BTreeMap<u32, (String, Files)>,
    snapshots: BTreeMap<(u32, u64), (String, Files)>,
    ignored: Vec<Ignored>,
}

impl Found {
    fn sort_in(&mut self, path: String) {
        let parts: Vec<&str> = path.trim_end_matches('/').split('/').collect();
        let taken = match parts[..] {
            ["wal", STATE_FILE] | ["wal" | "wbl" | "chunks_head"] => Ok(()),
            ["wal", name] if name.starts_with(CHECKPOINT) => self.checkpoint(name).map(|_| ()),
            ["wal", folder, name] if folder.starts_with(CHECKPOINT) => self
                .checkpoint(folder)
                .and_then(|files| insert(files, name, &path)),
            ["wal", name] => insert(&mut self.log, name, &path),
            ["wbl", name] => insert(&mut self.out_of_order, name, &path),
            ["chunks_head", name] => insert(&mut self.head_chunks, name, &path),
            [folder] if folder.starts_with(SNAPSHOT) => self.snapshot(folder).map(|_| ()),
            [folder, name] if folder.starts_with(SNAPSHOT) => self
                .snapshot(folder)
                .and_then(|files| insert(files, name, &path)),
            ["wal" | "wbl" | "chunks_head", ..] => Err(WhyIgnored::Foreign),
            _ => Ok(()),
        };
        if let Err(why) = taken {
            self.ignored.push(Ignored { path, why });
        }
    }

    fn checkpoint(&mut self, folder: &str) -> Result<&mut Files, WhyIgnored> {
        let number = folder.strip_prefix(CHECKPOINT).unwrap_or(folder);
        let number = number_of(number)?;
        let (_, files) = self
            .checkpoints
            .entry(number)
            .or_insert_with(|| (format!("wal/{folder}"), Files::new()));
        Ok(files)
    }

    fn snapshot(&mut self, folder: &str) -> Result<&mut Files, WhyIgnored> {
        let place = folder.strip_prefix(SNAPSHOT).unwrap_or(folder);
        if place.ends_with(UNFINISHED) {
            return Err(WhyIgnored::Unfinished);
        }
        let (segment, offset) = place.split_once('.').ok_or(WhyIgnored::Foreign)?;
        let place = (number_of(segment)?, u64::from(number_of(offset)?));
        let (_, files) = self
            .snapshots
            .entry(place)
            .or_insert_with(|| (folder.to_owned(), Files::new()));
        Ok(files)
    }

    fn into_plan(mut self) -> Plan {
        let mut plan = Plan {
            snapshot: self.newest_snapshot(),
            ..Plan::default()
        };
        plan.checkpoint = self.newest_checkpoint();
        let first = plan.checkpoint.as_ref().map_or(0, |found| found.number + 1);
        for (_, path) in self.log.extract_if(..first, |_, _| true) {
            self.ignored.push(superseded(path));
        }
        plan.gaps = self.gaps(&plan, first);
        plan.segments = log_files(self.log, true);
        plan.out_of_order = log_files(self.out_of_order, true);
        plan.head_chunks = log_files(self.head_chunks, true)
            .into_iter()
            .map(|file| HeadChunkFile {
                path: file.path,
                number: file.number,
                last: file.last,
            })
            .collect();
        plan.ignored = self.ignored;
        plan
    }

    /// Prometheus goes by the newest alone, and only if the log has its segment or a later one.
    fn newest_snapshot(&mut self) -> Option<Snapshot> {
        let newest_segment = self.log.keys().next_back().copied();
        let mut newest = None;
        for ((segment, offset), (folder, files)) in std::mem::take(&mut self.snapshots) {
            let snapshot = Snapshot {
                folder,
                segment,
                offset,
                files: log_files(files, false),
            };
            if let Some(older) = newest.replace(snapshot) {
                self.ignored.push(superseded(older.folder));
            }
        }
        let newest = newest?;
        if newest.files.is_empty() || newest_segment < Some(newest.segment) {
            self.ignored.push(superseded(newest.folder));
            return None;
        }
        Some(newest)
    }

    fn newest_checkpoint(&mut self) -> Option<Checkpoint> {
        let mut newest = None;
        for (number, (folder, files)) in std::mem::take(&mut self.checkpoints) {
            if files.is_empty() {
                self.ignored.push(superseded(folder));
                continue;
            }
            if let Some((_, older, _)) = newest.replace((number, folder, files)) {
                self.ignored.push(superseded(older));
            }
        }
        let (number, folder, files) = newest?;
        let files = log_files(files, false);
        Some(Checkpoint {
            folder,
            number,
            files,
        })
    }

    /// The log begins after its checkpoint or at 0; the other logs are cut off at the front as
    /// Prometheus goes.
    fn gaps(&self, plan: &Plan, first_segment: u32) -> Vec<Gap> {
        let mut gaps = Vec::new();
        let snapshot = plan.snapshot.iter().map(|s| (&s.folder, &s.files));
        let checkpoint = plan.checkpoint.iter().map(|c| (&c.folder, &c.files));
        for (folder, files) in snapshot.chain(checkpoint) {
            gaps_between(folder, 0, files.iter().map(|file| file.number), &mut gaps);
        }
        gaps_between("wal", first_segment, self.log.keys().copied(), &mut gaps);
        for (folder, files) in [
            ("wbl", &self.out_of_order),
            ("chunks_head", &self.head_chunks),
        ] {
            let first = files.keys().next().copied().unwrap_or(0);
            gaps_between(folder, first, files.keys().copied(), &mut gaps);
        }
        gaps
    }
}

fn gaps_between(
    folder: &str,
    mut expected: u32,
    numbers: impl Iterator<Item = u32>,
    gaps: &mut Vec<Gap>,
) {
    for number in numbers {
        if number > expected {
            gaps.push(Gap {
                folder: folder.to_owned(),
                first: expected,
                last: number - 1,
            });
        }
        expected = number.saturating_add(1);
    }
}

fn insert(files: &mut Files, name: &str, path: &str) -> Result<(), WhyIgnored> {
    let under_repair = name.strip_suffix(UNDER_REPAIR);
    let number = number_of(under_repair.unwrap_or(name))?;
    if files.contains_key(&number) && under_repair.is_none() {
        return Err(WhyIgnored::Foreign);
    }
    files.insert(number, path.to_owned());
    Ok(())
}

/// Digits alone; a temporary name is told apart from a foreign one.
fn number_of(name: &str) -> Result<u32, WhyIgnored> {
    if name.ends_with(UNFINISHED) {
        return Err(WhyIgnored::Unfinished);
    }
    let digits = name.bytes().all(|byte| byte.is_ascii_digit());
    // The largest number is kept free, so that there is one after each.
    match name.parse() {
        Ok(number) if digits && number < u32::MAX => Ok(number),
        _ => Err(WhyIgnored::Foreign),
    }
}

fn log_files(files: Files, written_to: bool) -> Vec<LogFile> {
    let newest = files.keys().next_back().copied();
    let file = |(number, path)| LogFile {
        path,
        number,
        from_offset: 0,
        last: written_to && Some(number) == newest,
    };
    files.into_iter().map(file).collect()
}

fn superseded(path: String) -> Ignored {
    let why = WhyIgnored::Superseded;
    Ignored { path, why }
}
