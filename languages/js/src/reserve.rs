//! Memory for the runtime itself where the program has taken all there is. QuickJS makes an error of that, which the runtime has
//! to be able to print; Rust's own library would end the program instead.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// More than printing an error takes.
const LAYOUT: Layout = Layout::new::<[u8; 256 << 10]>();

/// Rust's allocator, which gives a block back that it has kept before it gives up. QuickJS has one of its own.
pub(crate) struct Reserve(AtomicPtr<u8>);

impl Reserve {
    pub(crate) const fn new() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    /// Keeps the block, as long as there is memory.
    pub(crate) fn fill(&self) {
        // SAFETY: the layout is not of size zero.
        self.0.store(unsafe { System.alloc(LAYOUT) }, Ordering::Relaxed);
    }

    /// Whether there was something to give back.
    fn is_given_back(&self) -> bool {
        let kept = self.0.swap(ptr::null_mut(), Ordering::Relaxed);
        if !kept.is_null() {
            // SAFETY: it was allocated with this layout, and nobody else has it.
            unsafe { System.dealloc(kept, LAYOUT) };
        }
        !kept.is_null()
    }
}

// SAFETY: all is done by the system's allocator.
unsafe impl GlobalAlloc for Reserve {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps to what is asked of it.
        match unsafe { System.alloc(layout) } {
            none if none.is_null() && self.is_given_back() => unsafe { System.alloc(layout) },
            block => block,
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: as above; a block that could not be made larger is still there.
        match unsafe { System.realloc(block, layout, bytes) } {
            none if none.is_null() && self.is_given_back() => unsafe { System.realloc(block, layout, bytes) },
            block => block,
        }
    }
}
