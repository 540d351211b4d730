//! Those of a layer who wait for the first request of their key.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::key::RecordKey;

/// One bell for each key that somebody waits for. As many keys as there are waiters, at most.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waiters(Arc<Mutex<Bells>>);

type Bells = HashMap<RecordKey, (usize, Arc<Notify>)>;

/// Hears of a key while it lives.
#[derive(Debug)]
pub(crate) struct Waiter {
    key: RecordKey,
    bell: Arc<Notify>,
    all: Waiters,
}

impl Waiters {
    pub(crate) fn listen(&self, key: RecordKey) -> Waiter {
        let mut bells = self.lock();
        let (listeners, bell) = bells.entry(key).or_default();
        *listeners += 1;
        Waiter {
            key,
            bell: Arc::clone(bell),
            all: self.clone(),
        }
    }

    pub(crate) fn tell(&self, key: &RecordKey) {
        let bell = self.lock().get(key).map(|(_, bell)| Arc::clone(bell));
        // Not under our lock: it wakes tasks.
        if let Some(bell) = bell {
            bell.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Bells> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter {
    pub(crate) fn key(&self) -> &RecordKey {
        &self.key
    }

    /// Ready once the key was told of after this was called.
    pub(crate) fn told(&self) -> Notified<'_> {
        self.bell.notified()
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut bells = self.all.lock();
        if let Some((listeners, _)) = bells.get_mut(&self.key) {
            *listeners -= 1;
            if *listeners == 0 {
                bells.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio_test::{assert_pending, task};

    use super::*;

    #[test]
    fn who_waits_hears_of_its_key_and_of_no_other_and_leaves_nothing() {
        let waiters = Waiters::default();
        let [one, two] = [1, 2].map(|n| waiters.listen(RecordKey::from_bytes([n; 32])));
        let (mut hears_one, mut hears_two) = (task::spawn(one.told()), task::spawn(two.told()));
        assert_pending!(hears_one.poll());
        assert_pending!(hears_two.poll());
        waiters.tell(one.key());
        assert!(hears_one.is_woken() && !hears_two.is_woken());
        let late = task::spawn(one.told());
        waiters.tell(one.key());
        let mut late = late;
        assert!(late.poll().is_ready(), "told between the two");
        drop((hears_one, hears_two, late));
        drop((one, two));
        assert!(waiters.lock().is_empty());
    }
}
