//! What each configuration costs, by one thread, and by two where they share something: windows, rules, clocks and keys of a breaker, keys and bodies of flights, lifetimes, keys, tags and sizes of values, codecs
//! and compression, first levels of both caches, replays, formats, clocks, samplers and sinks; and an observer that does nothing. The other side of `rows`, which has one row for each promise.
#![allow(clippy::unwrap_used)]

mod cache;
mod circuit;
mod dedup;
mod http_cache;
mod idempotency;
mod negotiate;
mod second_level;
#[path = "../support/threads.rs"]
mod threads;
mod trace_ctx;
#[path = "../support/two_threads.rs"]
mod two_threads;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    circuit::windows(&mut criterion);
    circuit::clocks(&mut criterion);
    circuit::rules(&mut criterion);
    circuit::keys(&mut criterion);
    circuit::observers(&mut criterion);
    dedup::keys(&mut criterion);
    dedup::observers(&mut criterion);
    dedup::bodies(&mut criterion);
    cache::first_levels(&mut criterion);
    cache::lifetimes(&mut criterion);
    cache::stale(&mut criterion);
    cache::keys(&mut criterion);
    cache::tags(&mut criterion);
    cache::values(&mut criterion);
    cache::observers(&mut criterion);
    second_level::codecs(&mut criterion);
    second_level::compression(&mut criterion);
    http_cache::hits(&mut criterion);
    idempotency::replays(&mut criterion);
    idempotency::observers(&mut criterion);
    negotiate::collections(&mut criterion);
    trace_ctx::clocks(&mut criterion);
    trace_ctx::samplers(&mut criterion);
    trace_ctx::sinks(&mut criterion);
    criterion.final_summary();
}
