//! An allocator that counts: how many allocations, and how much memory with what the system's allocator adds.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Set as `#[global_allocator]` by a program that wants to know.
pub struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

/// What glibc's malloc takes for a request: 8 bytes of header, rounded up to 16, at least 32.
fn taken(bytes: usize) -> u64 {
    ((bytes + 8).next_multiple_of(16)).max(32) as u64
}

// SAFETY: every call goes to the system's allocator with the arguments it came with.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        BYTES.fetch_add(taken(layout.size()), Relaxed);
        // SAFETY: the caller's promise is System's condition.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        BYTES.fetch_add(taken(layout.size()), Relaxed);
        // SAFETY: the caller's promise is System's condition.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        BYTES.fetch_sub(taken(layout.size()), Relaxed);
        // SAFETY: the caller's promise is System's condition.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        BYTES.fetch_add(taken(bytes), Relaxed);
        BYTES.fetch_sub(taken(layout.size()), Relaxed);
        // SAFETY: the caller's promise is System's condition.
        unsafe { System.realloc(at, layout, bytes) }
    }
}

/// Allocations and reallocations so far.
pub fn allocations() -> u64 {
    ALLOCATIONS.load(Relaxed)
}

/// Bytes taken from the system's allocator now.
pub fn bytes() -> u64 {
    BYTES.load(Relaxed)
}
