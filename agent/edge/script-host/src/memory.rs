//! Counts what a thread allocates, so that a script's memory can be bounded.
//!
//! Rhai bounds the size of single values, and not where a map grows by `m[key] = value`: a script
//! within all other limits can take gigabytes. The binary installs [`CountingAllocator`]; a run
//! compares the thread's balance now with that at its start. Without the allocator installed the
//! balance stays 0 and nothing is bounded.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;

thread_local! {
    // A plain cell with a constant start: touching it allocates nothing and needs no destructor,
    // so it is safe to use inside the allocator, also while a thread ends.
    static BALANCE_BYTES: Cell<isize> = const { Cell::new(0) };
}

/// An allocator that counts, per thread, bytes allocated less bytes freed.
pub struct CountingAllocator<A>(pub A);

/// Bytes that this thread has allocated and not freed. Memory freed on another thread than it was
/// allocated on makes one balance too high and the other too low: only differences within one
/// thread mean something.
pub(crate) fn balance_bytes() -> isize {
    BALANCE_BYTES.get()
}

fn count(bytes: isize) {
    BALANCE_BYTES.set(BALANCE_BYTES.get().wrapping_add(bytes));
}

#[expect(
    unsafe_code,
    reason = "the trait is unsafe; every call goes to the inner allocator as it is"
)]
// SAFETY: all four methods pass their arguments on unchanged and give back what the inner allocator
// gave; the counting between does not allocate and cannot unwind.
unsafe impl<A: GlobalAlloc> GlobalAlloc for CountingAllocator<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are the inner allocator's.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { self.0.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as above.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size as isize - layout.size() as isize);
        // SAFETY: as above.
        unsafe { self.0.realloc(pointer, layout, new_size) }
    }
}
