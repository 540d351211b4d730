//! Criterion on `rows/cache.rs`; and two threads at one cache.

mod support;
#[path = "support/two_threads.rs"]
mod two_threads;

use std::convert::Infallible;
use std::future::ready;
use std::pin::pin;
use std::task::{Context, Waker};

use benches::rows::cache::{KEY, ROWS, cache};
use buttress_cache::{Eviction, Memory};
use criterion::Criterion;

use two_threads::two_threads;

fn main() {
    support::bench(ROWS, both_at_once);
}

fn both_at_once(criterion: &mut Criterion) {
    for (name, memory) in [
        ("ours", Memory::default()),
        ("ours-moka", Memory::Moka(Eviction::TinyLfu)),
    ] {
        let cache = cache(memory);
        two_threads(criterion, &format!("cache/get/{name}"), || {
            || drop(cache.get(KEY).now())
        });
        two_threads(criterion, &format!("cache/get-or-set/{name}"), || {
            || {
                let call = cache.get_or_set(KEY, |_| ready(Ok::<_, Infallible>(Some(8))));
                let polled = pin!(call).poll(&mut Context::from_waker(Waker::noop()));
                assert!(polled.is_ready(), "it is there");
            }
        });
    }
}
