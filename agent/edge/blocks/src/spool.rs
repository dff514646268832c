//! The series of a block that is being written, kept in a file until all their symbols are known.
//!
//! An index starts with its symbols, sorted, and refers to them by rank. So series are written to a
//! temporary file first, with symbols numbered as they were met; once all are there, the symbols
//! are sorted and the series are read back with the ranks. In memory are the symbols alone.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use narthex_block_format::{ChunkMeta, ChunkRef};
use narthex_model::Labels;

use crate::folder::NewFile;
use crate::{Error, folder};

/// In the folder where the block is made.
const FILE: &str = "series.tmp";

pub(crate) struct Spool {
    path: PathBuf,
    file: BufWriter<NewFile>,
    symbols: HashMap<Arc<str>, u32>,
    /// Of the series before: most of its names and many values come again.
    previous: Vec<(Arc<str>, u32)>,
    series: u64,
}

/// What [`Spool::read`] gives of each series.
#[derive(Default)]
pub(crate) struct Spooled {
    /// Ranks of names and values.
    pub(crate) labels: Vec<(u32, u32)>,
    pub(crate) chunks: Vec<ChunkMeta>,
}

impl Spool {
    pub(crate) fn create(block: &Path) -> Result<Self, Error> {
        let path = block.join(FILE);
        Ok(Spool {
            file: BufWriter::new(folder::create(&path)?),
            path,
            symbols: HashMap::new(),
            previous: Vec::new(),
            series: 0,
        })
    }

    pub(crate) fn series(&self) -> u64 {
        self.series
    }

    pub(crate) fn push(&mut self, labels: &Labels, chunks: &[ChunkMeta]) -> Result<(), Error> {
        let mut numbers = Vec::with_capacity(2 * labels.len());
        let texts = labels.iter().flat_map(|label| [&label.name, &label.value]);
        for (place, text) in texts.enumerate() {
            numbers.push(self.symbol(place, text));
        }
        self.series += 1;
        let written = write_entry(&mut self.file, &numbers, chunks);
        written.map_err(Error::io(&self.path))
    }

    fn symbol(&mut self, place: usize, text: &Arc<str>) -> u32 {
        if let Some((known, number)) = self.previous.get(place)
            && (Arc::ptr_eq(known, text) || known == text)
        {
            return *number;
        }
        let next = self.symbols.len() as u32;
        let number = match self.symbols.get(text) {
            Some(number) => *number,
            None => {
                self.symbols.insert(text.clone(), next);
                next
            }
        };
        match self.previous.get_mut(place) {
            Some(previous) => *previous = (text.clone(), number),
            None => self.previous.push((text.clone(), number)),
        }
        number
    }

    /// Ends writing: gives the sorted symbols and what reads the series back.
    pub(crate) fn finish(mut self) -> Result<(Vec<Arc<str>>, SpoolReader), Error> {
        self.file.flush().map_err(Error::io(&self.path))?;
        let file = File::open(&self.path).map_err(Error::io(&self.path))?;
        let mut sorted: Vec<(Arc<str>, u32)> = self.symbols.into_iter().collect();
        sorted.sort_unstable();
        let mut ranks = vec![0; sorted.len()];
        for (rank, (_, number)) in (0..).zip(&sorted) {
            if let Some(slot) = ranks.get_mut(*number as usize) {
                *slot = rank;
            }
        }
        let reader = SpoolReader {
            path: self.path,
            file: BufReader::new(file),
            ranks,
            left: self.series,
        };
        Ok((sorted.into_iter().map(|(text, _)| text).collect(), reader))
    }
}

pub(crate) struct SpoolReader {
    path: PathBuf,
    file: BufReader<File>,
    /// By number.
    ranks: Vec<u32>,
    left: u64,
}

impl SpoolReader {
    /// Reads the next series; false behind the last one.
    pub(crate) fn read(&mut self, series: &mut Spooled) -> Result<bool, Error> {
        if self.left == 0 {
            return Ok(false);
        }
        self.left -= 1;
        let read = read_entry(&mut self.file, &self.ranks, series);
        read.map(|()| true).map_err(Error::io(&self.path))
    }

    pub(crate) fn remove(self) -> Result<(), Error> {
        folder::remove_file(&self.path)
    }
}

fn write_entry(out: &mut impl Write, numbers: &[u32], chunks: &[ChunkMeta]) -> io::Result<()> {
    out.write_all(&(numbers.len() as u32).to_le_bytes())?;
    out.write_all(&(chunks.len() as u32).to_le_bytes())?;
    for number in numbers {
        out.write_all(&number.to_le_bytes())?;
    }
    for chunk in chunks {
        out.write_all(&chunk.min_ms.to_le_bytes())?;
        out.write_all(&chunk.max_ms.to_le_bytes())?;
        out.write_all(&chunk.chunk_ref.0.to_le_bytes())?;
    }
    Ok(())
}

fn read_entry(from: &mut impl Read, ranks: &[u32], series: &mut Spooled) -> io::Result<()> {
    let numbers = u32::from_le_bytes(array(from)?);
    let chunks = u32::from_le_bytes(array(from)?);
    series.labels.clear();
    for _ in 0..numbers / 2 {
        let mut rank = || -> io::Result<u32> {
            let number = u32::from_le_bytes(array(from)?);
            let rank = ranks.get(number as usize);
            rank.copied().ok_or(io::ErrorKind::InvalidData.into())
        };
        series.labels.push((rank()?, rank()?));
    }
    series.chunks.clear();
    for _ in 0..chunks {
        series.chunks.push(ChunkMeta {
            min_ms: i64::from_le_bytes(array(from)?),
            max_ms: i64::from_le_bytes(array(from)?),
            chunk_ref: ChunkRef(u64::from_le_bytes(array(from)?)),
        });
    }
    Ok(())
}

fn array<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}
