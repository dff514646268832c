//! Writing a block's chunk segments, one file after another.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use narthex_block_format::{Chunk, ChunkRef, SegmentWriter};

use crate::folder::NewFile;
use crate::{Error, folder};

const BUFFER_BYTES: usize = 256 << 10;

pub(crate) struct Segments {
    block: PathBuf,
    /// No segment gets larger.
    limit_bytes: u64,
    current: Option<SegmentWriter<BufWriter<NewFile>>>,
    /// Segments begun so far.
    begun: u32,
}

impl Segments {
    /// `block` is where the block is made.
    pub(crate) fn create(block: &Path, limit_bytes: u64) -> Result<Self, Error> {
        folder::create_folder(&block.join(folder::CHUNKS))?;
        Ok(Segments {
            block: block.to_owned(),
            limit_bytes,
            current: None,
            begun: 0,
        })
    }

    pub(crate) fn write(&mut self, encoding: u8, data: &[u8]) -> Result<ChunkRef, Error> {
        self.put(data.len(), |segment| segment.write_chunk(encoding, data))
    }

    pub(crate) fn copy(&mut self, chunk: &Chunk<'_>) -> Result<ChunkRef, Error> {
        self.put(chunk.record.len(), |segment| segment.copy_chunk(chunk))
    }

    /// Makes sure that all is on disk.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        self.close()?;
        folder::sync_folder(&self.block.join(folder::CHUNKS))
    }

    fn put(
        &mut self,
        size_bytes: usize,
        write: impl FnOnce(
            &mut SegmentWriter<BufWriter<NewFile>>,
        ) -> Result<(u32, u32), narthex_block_format::WriteError>,
    ) -> Result<ChunkRef, Error> {
        let limit_bytes = self.limit_bytes;
        let has_room = |segment: &SegmentWriter<BufWriter<NewFile>>| {
            let after = u64::from(segment.size_bytes()).saturating_add(size_bytes as u64);
            segment.fits(size_bytes) && after <= limit_bytes
        };
        if !self.current.as_ref().is_some_and(has_room) {
            self.close()?;
            self.begin()?;
        }
        let number = self.begun.saturating_sub(1);
        let path = folder::segment_path(&self.block, number);
        let Some(segment) = &mut self.current else {
            return Err(Error::io(&path)(std::io::ErrorKind::NotFound.into()));
        };
        let (offset, _) = write(segment).map_err(Error::write(&path))?;
        Ok(ChunkRef::new(number, offset))
    }

    fn begin(&mut self) -> Result<(), Error> {
        let path = folder::segment_path(&self.block, self.begun);
        let file = BufWriter::with_capacity(BUFFER_BYTES, folder::create(&path)?);
        self.current = Some(SegmentWriter::new(file).map_err(Error::write(&path))?);
        self.begun += 1;
        Ok(())
    }

    fn close(&mut self) -> Result<(), Error> {
        let Some(segment) = self.current.take() else {
            return Ok(());
        };
        let path = folder::segment_path(&self.block, self.begun.saturating_sub(1));
        sync(segment.into_inner(), &path)
    }
}

/// Writes out what is buffered and waits until it is on disk.
pub(crate) fn sync(mut file: BufWriter<NewFile>, path: &Path) -> Result<(), Error> {
    file.flush().map_err(Error::io(path))?;
    file.get_ref().sync().map_err(Error::io(path))
}
