//! A cache of numbers, and calls whose source the test holds in its hand.

use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use buttress_cache::{Cache, Event, Fill, FillError, Hit, State};
use tokio::sync::oneshot;
use tokio_test::task::{self, Spawn};
use tokio_test::{assert_pending, assert_ready};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) type Answer = Result<Option<Hit<u32>>, FillError<&'static str>>;
pub(crate) type Call = Spawn<Pin<Box<dyn Future<Output = Answer> + Send>>>;

/// What a source says, when the test says so.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Says {
    Fails,
    Nothing,
    NotModified,
    Panics,
    Value(u32),
}

/// A fill that has begun, in the hand of the test.
pub(crate) struct Source {
    fill: Fill<u32>,
    says: oneshot::Sender<Says>,
}

/// The fills of a cache, in the order in which they begin.
#[derive(Clone, Default)]
pub(crate) struct Sources(Arc<Mutex<Vec<Source>>>);

impl Sources {
    /// A call for `key`, polled once.
    #[track_caller]
    pub(crate) fn begin(&self, cache: &Cache<u32>, key: &'static str) -> Call {
        let mut call = self.call(cache, key);
        assert_pending!(call.poll());
        call
    }

    /// The same, not polled yet.
    pub(crate) fn call(&self, cache: &Cache<u32>, key: &'static str) -> Call {
        let (cache, sources) = (cache.clone(), self.clone());
        let call = async move {
            let fill = move |fill: Fill<u32>| async move { sources.fill(fill).await };
            cache.get_or_set(key, fill).await
        };
        task::spawn(Box::pin(call))
    }

    pub(crate) async fn fill(&self, fill: Fill<u32>) -> Result<Option<u32>, &'static str> {
        let (says, said) = oneshot::channel();
        let source = Source {
            fill: fill.clone(),
            says,
        };
        self.0.lock().unwrap().push(source);
        match said.await.expect("it is not asked and forgotten") {
            Says::Fails => Err("down"),
            Says::Nothing => Ok(None),
            Says::NotModified => fill.not_modified(),
            Says::Panics => resume_unwind(Box::new("on purpose")),
            Says::Value(value) => Ok(Some(value)),
        }
    }

    /// How many fills have begun and not been answered.
    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// The fill that began first.
    #[track_caller]
    pub(crate) fn next(&self) -> Source {
        let mut sources = self.0.lock().unwrap();
        assert!(!sources.is_empty(), "the source was not asked");
        sources.remove(0)
    }
}

impl Source {
    pub(crate) fn says(self, says: Says) {
        // The caller may be gone.
        let _ = self.says.send(says);
    }

    /// Says a value, and of it what `say` says.
    pub(crate) fn tagged(self, value: u32, say: impl FnOnce(&Fill<u32>)) {
        say(&self.fill);
        self.says(Says::Value(value));
    }

    pub(crate) fn fill(&self) -> &Fill<u32> {
        &self.fill
    }
}

/// What a call has come to: its value and state, or its error.
#[track_caller]
pub(crate) fn done(call: &mut Call) -> Result<Option<(u32, State)>, FillError<&'static str>> {
    plain(assert_ready!(call.poll()))
}

pub(crate) fn plain(answer: Answer) -> Result<Option<(u32, State)>, FillError<&'static str>> {
    answer.map(|hit| hit.map(|hit| (*hit, hit.state())))
}

/// Has `value` filled in at once.
#[track_caller]
pub(crate) fn fill(cache: &Cache<u32>, key: &'static str, value: u32) -> (u32, State) {
    fill_with(cache, key, value, |_| {})
}

/// The same, and what the fill says.
#[track_caller]
pub(crate) fn fill_with(
    cache: &Cache<u32>,
    key: &'static str,
    value: u32,
    say: impl FnOnce(&Fill<u32>) + Send + 'static,
) -> (u32, State) {
    let cache = cache.clone();
    let mut call = task::spawn(Box::pin(async move {
        let fill = move |fill: Fill<u32>| async move {
            say(&fill);
            Ok::<_, &str>(Some(value))
        };
        cache.get_or_set(key, fill).await
    }));
    let hit = assert_ready!(call.poll()).unwrap().unwrap();
    (*hit, hit.state())
}

/// Has the source fail at once.
#[track_caller]
pub(crate) fn fail(cache: &Cache<u32>, key: &'static str) -> Result<(u32, State), &'static str> {
    let cache = cache.clone();
    let mut call = task::spawn(Box::pin(async move {
        let fill = |_| async { Err::<Option<u32>, _>("down") };
        cache.get_or_set(key, fill).await
    }));
    let answer = assert_ready!(call.poll());
    plain(answer)
        .map(Option::unwrap)
        .map_err(|error| *error.inner().unwrap())
}

/// Whether nothing is left to be done within this time.
pub(crate) async fn drained<V: Send + Sync + 'static>(cache: &Cache<V>, within: Duration) -> bool {
    tokio::time::timeout(within, cache.drain()).await.is_ok()
}

/// What is in memory and fresh.
pub(crate) fn fresh(cache: &Cache<u32>, key: &str) -> Option<u32> {
    cache.get(key).now().map(|hit| *hit)
}

/// The names of events, as they happen.
#[derive(Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<Vec<&'static str>>>);

impl Heard {
    pub(crate) fn observer(&self) -> impl Fn(&Event<'_>) + Send + Sync + use<> {
        let heard = Arc::clone(&self.0);
        move |event: &Event<'_>| heard.lock().unwrap().push(event.name())
    }

    /// Those since the last time.
    pub(crate) fn take(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}
