//! `narthex tsdb analyze`: what takes the room in a block, and which labels come and go.

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use narthex_blocks::Block;
use narthex_blocks::analyze::{Analysis, Figure, analyze, analyze_chunks};
use narthex_model::{Matcher, duration};

pub(super) struct Wanted<'a> {
    /// The newest block if none is named.
    pub(super) block: Option<&'a str>,
    pub(super) limit: usize,
    pub(super) extended: bool,
    pub(super) matchers: &'a [Matcher],
}

pub(super) fn run(folder: &Path, wanted: &Wanted<'_>, out: &mut dyn Write) -> anyhow::Result<()> {
    let name = match wanted.block {
        Some(name) => name.to_owned(),
        None => newest(folder)?,
    };
    let block = Block::open(&folder.join(&name))?;
    let analysis = analyze(&block, wanted.matchers, wanted.limit)?;
    print(&name, &analysis, out)?;
    if wanted.extended {
        print_chunks(&block, out)?;
    }
    Ok(())
}

fn newest(folder: &Path) -> anyhow::Result<String> {
    let listed = narthex_blocks::list::list(folder)?;
    let newest = listed.iter().rev().find(|block| block.meta.is_ok());
    let newest = newest.with_context(|| format!("{} has no blocks", folder.display()))?;
    Ok(newest.ulid.to_string())
}

fn print(name: &str, analysis: &Analysis, out: &mut dyn Write) -> anyhow::Result<()> {
    let length_ms = analysis.duration_ms.unsigned_abs();
    writeln!(out, "Block ID: {name}")?;
    writeln!(out, "Duration: {}", duration::format_ms(length_ms))?;
    writeln!(out, "Series: {}", analysis.series)?;
    writeln!(out, "Label names: {}", analysis.label_names)?;
    writeln!(
        out,
        "Postings (unique label pairs): {}",
        analysis.label_pairs
    )?;
    writeln!(
        out,
        "Postings entries (total label pairs): {}",
        analysis.label_pair_uses
    )?;
    for (title, figures) in [
        (
            "Label pairs most involved in churning:",
            &analysis.churning_label_pairs,
        ),
        (
            "Label names most involved in churning:",
            &analysis.churning_label_names,
        ),
        ("Most common label pairs:", &analysis.common_label_pairs),
        (
            "Label names with highest cumulative label value length:",
            &analysis.long_label_values,
        ),
        ("Highest cardinality labels:", &analysis.cardinal_labels),
        (
            "Highest cardinality metric names:",
            &analysis.cardinal_metrics,
        ),
    ] {
        print_list(title, figures, out)?;
    }
    Ok(())
}

fn print_list(title: &str, figures: &[Figure], out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "\n{title}")?;
    for figure in figures {
        writeln!(out, "{} {}", figure.value, figure.name)?;
    }
    Ok(())
}

fn print_chunks(block: &Block, out: &mut dyn Write) -> std::io::Result<()> {
    let ranges = [
        "1-30", "31-60", "61-120", "121-240", "241-480", "481-960", "961-",
    ];
    for (encoding, figures) in analyze_chunks(block) {
        writeln!(out, "\nChunks of encoding {encoding}: {}", figures.chunks)?;
        writeln!(
            out,
            "{} samples, {:.2} bytes each",
            figures.samples,
            figures.size_bytes as f64 / figures.samples.max(1) as f64
        )?;
        for (range, chunks) in ranges.iter().zip(figures.by_samples) {
            writeln!(out, "{chunks} chunks of {range} samples")?;
        }
    }
    Ok(())
}
