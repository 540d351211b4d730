//! No resurrection, as a property: after an invalidation has returned, no call that begins later gets a value whose fill began
//! before it.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use buttress_cache::{Cache, Fill, FillError, Hit};
use proptest::prelude::*;
use tokio::sync::oneshot;
use tokio_test::task::{self, Spawn};

const KEYS: usize = 3;
const TAGS: [&str; 3] = ["a", "b", "c"];

#[derive(Clone, Debug)]
enum Op {
    /// A call for a key, whose fill will have these tags.
    Begin {
        key: usize,
        tags: Vec<usize>,
    },
    /// A fill that is under way ends.
    Finish(prop::sample::Index),
    /// A call goes away.
    Drop(prop::sample::Index),
    Get {
        key: usize,
    },
    InvalidateTag {
        tag: usize,
    },
    Remove {
        key: usize,
    },
    Clear,
}

fn op() -> impl Strategy<Value = Op> {
    let tags = prop::collection::vec(0..TAGS.len(), 0..3);
    prop_oneof![
        5 => (0..KEYS, tags).prop_map(|(key, tags)| Op::Begin { key, tags }),
        4 => any::<prop::sample::Index>().prop_map(Op::Finish),
        1 => any::<prop::sample::Index>().prop_map(Op::Drop),
        4 => (0..KEYS).prop_map(|key| Op::Get { key }),
        2 => (0..TAGS.len()).prop_map(|tag| Op::InvalidateTag { tag }),
        1 => (0..KEYS).prop_map(|key| Op::Remove { key }),
        1 => Just(Op::Clear),
    ]
}

/// What a value says of itself: when its fill began, by the model's count of steps, and its tags.
#[derive(Clone, Debug, PartialEq)]
struct Value {
    began: usize,
    tags: Vec<usize>,
}

type Filled = Result<Option<Hit<Value>>, FillError<Infallible>>;

struct Call {
    key: usize,
    began: usize,
    future: Spawn<Pin<Box<dyn Future<Output = Filled> + Send>>>,
    finish: Option<oneshot::Sender<()>>,
}

/// The steps at which things were last invalidated.
#[derive(Default)]
struct Model {
    tags: HashMap<usize, usize>,
    keys: HashMap<usize, usize>,
    cleared: usize,
}

impl Model {
    /// Whether a call that begins at `now` may be served `value`.
    fn allows(&self, key: usize, value: &Value, asked: usize) -> bool {
        let before = |step: Option<&usize>| step.is_none_or(|s| *s <= value.began || *s > asked);
        before(self.keys.get(&key))
            && before(Some(&self.cleared))
            && value.tags.iter().all(|tag| before(self.tags.get(tag)))
    }
}

fn begin(cache: &Cache<Value>, clock: &Arc<AtomicUsize>, key: usize, tags: Vec<usize>) -> Call {
    let (finish, finished) = oneshot::channel();
    let now = Arc::clone(clock);
    let fill = move |fill: Fill<Value>| async move {
        let began = now.load(Ordering::SeqCst);
        for tag in &tags {
            fill.tag(TAGS[*tag]);
        }
        let _ = finished.await;
        Ok(Some(Value { began, tags }))
    };
    let cache = cache.clone();
    let call = async move { cache.get_or_set([key as u8], fill).await };
    let began = clock.load(Ordering::SeqCst);
    Call {
        key,
        began,
        future: task::spawn(Box::pin(call)),
        finish: Some(finish),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_was_invalidated_is_served_to_who_comes_later(
        ops in prop::collection::vec(op(), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time().start_paused(true).build().unwrap();
        let _entered = runtime.enter();
        let cache = Cache::<Value>::builder().build();
        let mut model = Model::default();
        let clock = Arc::new(AtomicUsize::new(0));
        let mut calls: Vec<Call> = Vec::new();
        for (step, op) in ops.into_iter().enumerate() {
            let step = step + 1;
            clock.store(step, Ordering::SeqCst);
            match op {
                Op::Begin { key, tags } => calls.push(begin(&cache, &clock, key, tags)),
                Op::Finish(which) if !calls.is_empty() => {
                    let call = which.get_mut(&mut calls);
                    drop(call.finish.take());
                }
                Op::Drop(which) if !calls.is_empty() => {
                    drop(calls.swap_remove(which.index(calls.len())));
                }
                Op::Get { key } => if let Some(hit) = cache.get([key as u8]).now() {
                    prop_assert!(model.allows(key, &hit, step), "{:?} at {step}", *hit);
                },
                Op::InvalidateTag { tag } => {
                    cache.invalidate([TAGS[tag]]).now();
                    model.tags.insert(tag, step);
                }
                Op::Remove { key } => {
                    cache.remove([key as u8]).now();
                    model.keys.insert(key, step);
                }
                Op::Clear => {
                    cache.clear().now();
                    model.cleared = step;
                }
                Op::Finish(_) | Op::Drop(_) => {}
            }
            let mut running = Vec::new();
            for mut call in calls.drain(..) {
                match call.future.poll() {
                    Poll::Pending => running.push(call),
                    Poll::Ready(filled) => {
                        let hit = filled.unwrap().unwrap();
                        prop_assert!(
                            hit.began >= call.began || model.allows(call.key, &hit, call.began),
                            "{:?} for a call of {}", *hit, call.began
                        );
                    }
                }
            }
            calls = running;
        }
        drop(calls);
        prop_assert_eq!(cache.snapshot().filling, 0);
    }
}
