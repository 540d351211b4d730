//! Dropping values outside of a store that drops them where it likes: under its own locks, too.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::sync::Arc;

use crate::entry::Entry;

/// An entry as such a store keeps it. What is dropped [inside](within) of the store is set aside, and dropped when this thread comes out of it: the
/// value is the user's, and its drop may use the cache.
pub(super) struct Kept<V: Send + Sync + 'static>(Option<Arc<Entry<V>>>);

impl<V: Send + Sync + 'static> Kept<V> {
    pub(super) fn new(entry: Arc<Entry<V>>) -> Self {
        Self(Some(entry))
    }

    pub(super) fn weight(&self) -> u32 {
        self.0.as_ref().map_or(0, |entry| entry.weight)
    }

    pub(super) fn into_inner(mut self) -> Option<Arc<Entry<V>>> {
        self.0.take()
    }
}

impl<V: Send + Sync + 'static> Clone for Kept<V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<V: Send + Sync + 'static> Drop for Kept<V> {
    fn drop(&mut self) {
        let is_inside = DEPTH.try_with(|depth| depth.get() > 0).unwrap_or(false);
        if let Some(entry) = self.0.take_if(|_| is_inside) {
            ANY.set(true);
            // A thread that is torn down drops it here.
            let _ = ASIDE.try_with(|aside| aside.borrow_mut().push(entry));
        }
    }
}

/// Does something in the store.
pub(super) fn within<T>(work: impl FnOnce() -> T) -> T {
    let _inside = Inside::enter();
    work()
}

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    static ANY: Cell<bool> = const { Cell::new(false) };
    static ASIDE: RefCell<Vec<Arc<dyn Any + Send + Sync>>> = const { RefCell::new(Vec::new()) };
}

/// Drops what was set aside, which may set something aside. The room for it stays, if that is little.
fn empty(aside: &RefCell<Vec<Arc<dyn Any + Send + Sync>>>) {
    let mut gone = aside.take();
    gone.clear();
    if gone.capacity() <= ROOM {
        aside.replace(gone);
    }
}

const ROOM: usize = 64;

struct Inside;

impl Inside {
    fn enter() -> Self {
        DEPTH.set(DEPTH.get() + 1);
        Self
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let depth = DEPTH.get() - 1;
        DEPTH.set(depth);
        if depth == 0 && ANY.replace(false) {
            let _ = ASIDE.try_with(empty);
        }
    }
}
