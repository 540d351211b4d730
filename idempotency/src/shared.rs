//! What all services of a layer share.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::event::{Audience, Event, Tally};
use crate::keep::{Keep, default_keep};
use crate::key::RecordKey;
use crate::settings::Settings;
use crate::waiters::Waiters;
use buttress_wire::tasks::Tasks;
use http::response;

pub(crate) struct Shared<St> {
    pub(crate) store: St,
    pub(crate) settings: Settings,
    pub(crate) common: Arc<Common>,
}

/// What does not depend on the store.
pub(crate) struct Common {
    pub(crate) tasks: Tasks,
    pub(crate) tally: Tally,
    pub(crate) audience: Audience,
    pub(crate) waiting: AtomicUsize,
    pub(crate) waiters: Waiters,
    /// How many claims are held, or asked for.
    pub(crate) running: AtomicUsize,
    /// How many claims are being withdrawn.
    withdrawing: AtomicUsize,
}

impl<St> Shared<St> {
    pub(crate) fn new(store: St, settings: Settings, common: Arc<Common>) -> Self {
        Self {
            store,
            settings,
            common,
        }
    }

    pub(crate) fn emit(&self, event: Event<'_>) {
        self.common.emit(event);
    }

    pub(crate) fn apart(&self) -> Apart {
        Apart(Arc::clone(&self.common))
    }

    /// A place among the running claims of the layer, if there are fewer than may be.
    pub(crate) fn run(&self) -> Option<OneOf> {
        let at_most = self.settings.max_running.get();
        OneOf::enter(&self.common, |common| &common.running, at_most)
    }

    pub(crate) fn keep(&self, head: &response::Parts) -> Keep {
        let keep = self.settings.keep.as_ref();
        keep.map_or_else(|| default_keep(head), |keep| keep(head))
    }

    /// Says that a claim of this key was settled, to those of this layer who wait for it.
    pub(crate) fn tell_settled(&self, key: &RecordKey) {
        // Most of the time nobody waits for anything.
        if self.common.waiting.load(Ordering::SeqCst) > 0 {
            self.common.waiters.tell(key);
        }
    }
}

impl Common {
    pub(crate) fn new(tasks: Tasks) -> Self {
        Self {
            tasks,
            tally: Tally::default(),
            audience: Audience::default(),
            waiting: AtomicUsize::new(0),
            waiters: Waiters::default(),
            running: AtomicUsize::new(0),
            withdrawing: AtomicUsize::new(0),
        }
    }

    pub(crate) fn emit(&self, event: Event<'_>) {
        self.tally.count(&event);
        self.audience.tell(event);
    }

    /// A place among those who wait, if there are fewer than `at_most`.
    pub(crate) fn wait(self: &Arc<Self>, at_most: usize) -> Option<OneOf> {
        OneOf::enter(self, |common| &common.waiting, at_most)
    }

    /// A place among the claims that are withdrawn, if there are fewer than `at_most`.
    pub(crate) fn withdraw(self: &Arc<Self>, at_most: usize) -> Option<OneOf> {
        OneOf::enter(self, |common| &common.withdrawing, at_most)
    }
}

/// A place among so many that are counted. Dropping it gives it back.
pub(crate) struct OneOf {
    common: Arc<Common>,
    count: fn(&Common) -> &AtomicUsize,
}

impl OneOf {
    fn enter(
        common: &Arc<Common>,
        count: fn(&Common) -> &AtomicUsize,
        at_most: usize,
    ) -> Option<Self> {
        let enter = |counted| (counted < at_most).then_some(counted + 1);
        let entered = count(common).fetch_update(Ordering::SeqCst, Ordering::SeqCst, enter);
        entered.is_ok().then(|| Self {
            common: Arc::clone(common),
            count,
        })
    }
}

impl Drop for OneOf {
    fn drop(&mut self) {
        (self.count)(&self.common).fetch_sub(1, Ordering::SeqCst);
    }
}

/// Takes work that has lost its caller.
#[derive(Clone)]
pub(crate) struct Apart(Arc<Common>);

impl Apart {
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.0.tasks.spawn(work);
        self.0.emit(Event::Detached);
    }
}
