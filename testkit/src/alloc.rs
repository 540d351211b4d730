//! Counts what a piece of code allocates, so that a budget can be an ordinary assertion.
//!
//! ```
//! use testkit::alloc::{Counting, count};
//!
//! #[global_allocator]
//! static ALLOCATOR: Counting = Counting;
//!
//! let (allocations, v) = count(|| vec![1_u8; 100]);
//! assert_eq!((allocations.count, allocations.bytes), (1, 100));
//! # drop(v);
//! ```
#![allow(unsafe_code)] // A global allocator cannot be written without it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The system's allocator, with a count per thread. Put it in a test binary as its `#[global_allocator]`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counting;

/// What was allocated. Growing a block counts as an allocation of the new size; freeing counts as nothing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Allocations {
    /// How many times the allocator was asked.
    pub count: u64,
    /// For how many bytes in all.
    pub bytes: u64,
}

/// Runs `f` and tells what it allocated on this thread.
pub fn count<T>(f: impl FnOnce() -> T) -> (Allocations, T) {
    let before = so_far();
    let result = f();
    let after = so_far();
    let spent = Allocations {
        count: after.count - before.count,
        bytes: after.bytes - before.bytes,
    };
    (spent, result)
}

/// What this thread has allocated since it began. Zero for ever unless [`Counting`] is the global allocator.
#[must_use]
pub fn so_far() -> Allocations {
    SO_FAR.get()
}

thread_local! {
    // `const` and without a destructor: reading it never allocates, also while a thread is being torn down.
    static SO_FAR: Cell<Allocations> = const { Cell::new(Allocations { count: 0, bytes: 0 }) };
}

fn record(size: usize) {
    let so_far = SO_FAR.get();
    SO_FAR.set(Allocations {
        count: so_far.count + 1,
        bytes: so_far.bytes + size as u64,
    });
}

// SAFETY: every method hands its arguments on to the system's allocator unchanged; counting touches nothing it owns.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        record(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        record(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        record(size);
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        unsafe { System.dealloc(block, layout) }
    }
}

/// The system's allocator, with a count of what all threads hold. For bounds on memory, where [`Counting`] is for budgets of calls.
#[derive(Clone, Copy, Debug, Default)]
pub struct Holding;

static HELD: AtomicUsize = AtomicUsize::new(0);
static HIGHEST: AtomicUsize = AtomicUsize::new(0);

/// How many bytes are allocated and not freed. Zero for ever unless [`Holding`] is the global allocator.
#[must_use]
pub fn held() -> usize {
    HELD.load(Ordering::Relaxed)
}

/// The most that [`held`] ever was.
#[must_use]
pub fn highest() -> usize {
    HIGHEST.load(Ordering::Relaxed)
}

// SAFETY: every method hands its arguments on to the system's allocator unchanged; counting touches nothing it owns.
unsafe impl GlobalAlloc for Holding {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        if held > HIGHEST.load(Ordering::Relaxed) {
            HIGHEST.fetch_max(held, Ordering::Relaxed);
        }
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(block, layout) }
    }
}
