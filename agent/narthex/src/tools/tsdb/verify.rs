//! `narthex tsdb verify`: every checksum, order and chunk of the blocks of a folder.

use std::io::Write;
use std::path::Path;

use narthex_blocks::list::Listed;
use narthex_blocks::{Block, steady, verify};

use crate::tools::progress::Progress;

pub(super) fn run(folder: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
    let listed = narthex_blocks::list::list(folder)?;
    let mut progress = Progress::new("verifying", listed.len() as u64);
    let mut bad = 0;
    for (done, block) in listed.iter().enumerate() {
        progress.set(done as u64);
        let name = block.ulid.to_string();
        let problems = match check(folder, block) {
            Ok(told) => {
                writeln!(out, "{name}: {}", told.summary)?;
                told.problems
            }
            Err(error) => vec![format!("{error:#}")],
        };
        bad += usize::from(!problems.is_empty());
        for problem in problems {
            writeln!(out, "{name}: {problem}")?;
        }
    }
    drop(progress);
    match bad {
        0 => Ok(()),
        _ => anyhow::bail!("{bad} of {} blocks are not good", listed.len()),
    }
}

struct Told {
    summary: String,
    problems: Vec<String>,
}

fn check(folder: &Path, listed: &Listed) -> anyhow::Result<Told> {
    if let Err(error) = &listed.meta {
        anyhow::bail!("{error}");
    }
    let block = Block::open(&folder.join(listed.ulid.to_string()))?;
    let verified = verify::verify(&block, &steady)?;
    let mut problems = verified.problems.clone();
    if verified.problems_left_out > 0 {
        problems.push(format!("and {} more problems", verified.problems_left_out));
    }
    let state = if verified.is_good() { "good" } else { "bad" };
    Ok(Told {
        summary: format!(
            "{state}: {} series, {} chunks, {} samples",
            verified.series, verified.chunks, verified.samples
        ),
        problems,
    })
}
