//! The memory allocator of the process.
//!
//! jemalloc, with one arena for all threads: a query's memory is used again by the next query,
//! whichever thread that runs on. With an arena for each thread, as the C library has them, every
//! thread keeps what its largest query took. Around it is the count of what scripts allocate.

use narthex_script_host::CountingAllocator;
use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: CountingAllocator<Jemalloc> = CountingAllocator(Jemalloc);

/// jemalloc's options, read by it when the process starts. What was free for a second goes back to
/// the system.
#[expect(
    unsafe_code,
    reason = "jemalloc looks for a string of this name; a wrong one would be someone else's symbol"
)]
// SAFETY: jemalloc declares the symbol as a pointer to a string that ends with a zero, which a
// reference to such bytes is; nothing else has the name.
#[unsafe(export_name = "_rjem_malloc_conf")]
pub(crate) static OPTIONS: &[u8; 30] = b"narenas:1,dirty_decay_ms:1000\0";
