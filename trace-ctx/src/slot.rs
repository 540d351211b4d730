//! Where a context stays while its request is under way, and the memory for the next one.

use std::cell::RefCell;

use crate::{RequestId, TraceContext};

/// Where a context is while its request is under way: a pointer, that moves with futures and bodies, and changes with its thread's at every poll.
/// The context itself stays where it is.
///
/// The memory is kept for the next request: a thread at work asks the allocator for none.
#[derive(Default)]
pub(crate) struct Slot(Option<Box<TraceContext>>);

/// The most slots that are kept on each thread. Those beyond go back to the allocator.
const SPARES: usize = 64;

thread_local! {
    #[expect(
        clippy::vec_box,
        reason = "what is kept is the memory, and not what was in it"
    )]
    static SPARE: RefCell<Vec<Box<TraceContext>>> = const { RefCell::new(Vec::new()) };
}

impl Slot {
    pub(crate) const EMPTY: Self = Self(None);

    #[inline]
    pub(crate) fn of(context: TraceContext) -> Self {
        Self(Some(match spare() {
            Some(mut slot) => {
                *slot = context;
                slot
            }
            None => Box::new(context),
        }))
    }

    /// The same of a copy, which is made where it stays.
    #[inline]
    pub(crate) fn copy_of(context: &TraceContext) -> Self {
        Self(Some(match spare() {
            Some(mut slot) => {
                (*slot).clone_from(context);
                slot
            }
            None => Box::new(context.clone()),
        }))
    }

    #[inline]
    pub(crate) fn get(&self) -> Option<&TraceContext> {
        self.0.as_deref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self) -> Option<&mut TraceContext> {
        self.0.as_deref_mut()
    }
}

impl Drop for Slot {
    #[inline]
    fn drop(&mut self) {
        if let Some(context) = self.0.take() {
            give_back(context);
        }
    }
}

/// None also while the thread is torn down.
#[inline]
fn spare() -> Option<Box<TraceContext>> {
    SPARE.try_with(|spare| spare.borrow_mut().pop()).ok()?
}

fn give_back(mut context: Box<TraceContext>) {
    context.request_id = RequestId::NONE;
    context.forget_rare();
    let _ = SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        if spare.len() < SPARES {
            spare.push(context);
        }
    });
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use http::HeaderValue;

    use super::*;
    use crate::FastIds;

    fn root() -> TraceContext {
        TraceContext::root(&FastIds)
    }

    fn spares() -> usize {
        SPARE.with_borrow(Vec::len)
    }

    #[test]
    fn a_slot_that_is_given_back_keeps_nothing() {
        let user: Arc<str> = "u-17".into();
        let id = Bytes::from(b"req-1".to_vec());
        let value = HeaderValue::from_maybe_shared(id.clone()).unwrap();
        let context = root()
            .with_user(user.clone())
            .with_request_id(RequestId::from_header_value(&value).unwrap());
        drop(value);
        let slot = Slot::of(context);
        assert!(!id.is_unique() && Arc::strong_count(&user) == 2);
        drop(slot);
        assert!(id.is_unique() && Arc::strong_count(&user) == 1);
        assert_eq!(spares(), 1);
    }

    #[test]
    fn a_slot_is_used_again_and_so_many_are_kept() {
        let (one, two) = (root(), root());
        let id = two.span_id();
        drop(Slot::of(one));
        let slot = Slot::of(two);
        assert_eq!(spares(), 0);
        assert_eq!(slot.get().unwrap().span_id(), id);
        let many: Vec<_> = (0..2 * SPARES).map(|_| Slot::of(root())).collect();
        drop(many);
        assert_eq!(spares(), SPARES);
        drop(slot);
        assert_eq!(spares(), SPARES);
        drop(Slot::EMPTY);
    }

    #[test]
    fn a_slot_may_outlive_what_is_kept_on_its_thread() {
        thread_local! {
            static LATE: RefCell<Vec<Slot>> = const { RefCell::new(Vec::new()) };
        }
        let thread = std::thread::spawn(|| {
            LATE.with_borrow_mut(|late| late.push(Slot::of(root())));
            drop(Slot::of(root()));
        });
        thread.join().unwrap();
    }
}
